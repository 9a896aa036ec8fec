package holder

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"holdfast/web/page"
)

// state is one state of one route, as `make shots` pictures it and the tests render it.
type state struct {
	Route string // the pattern in routes.go
	Name  string
	Page  string // the template
	Make  func() page.Framed
	Path  string // where the picture server shows it
	// SignedIn pages are held to Freeze standing in its one place.
	SignedIn bool
	Status   int
}

var now = time.Date(2026, 5, 3, 2, 14, 7, 0, time.UTC)

const (
	longWord = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
	address1 = "bc1q9x3hk7wq5t2m0v4c8z6r1yfj2l5n7p3s9d4g6a8u0e2k4h7mtwaq"
	hostile  = `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}`
)

var (
	me      = view{Mail: "holder@holdfast.test", Demo: true}
	guest   = view{Demo: true}
	laptop  = device{ID: "d1", Browser: "Firefox", System: "Windows", Place: "Lyon (FR)", Address: "192.0.2.14", FirstSeen: now.AddDate(0, -3, 0), LastSeen: now.Add(-time.Minute), This: true}
	phone   = device{ID: "d2", Browser: "Safari", System: "iOS", Place: "Lyon (FR)", Address: "192.0.2.15", FirstSeen: now.AddDate(0, -2, 0), LastSeen: now.Add(-26 * time.Hour)}
	unknown = device{ID: "d3", Browser: "Chrome", System: "Linux", Place: "Riga (LV)", Address: "203.0.113.77", FirstSeen: now.Add(-time.Hour), LastSeen: now.Add(-50 * time.Minute)}
	odd     = device{ID: "d4", Name: longWord, FirstSeen: now, LastSeen: now, Address: "2001:db8:85a3:0000:0000:8a2e:0370:7334"}

	taxKey  = key{ID: "hk_5Q2XW9RTM4K7CVNY", Label: "Tax report", Kind: "hmac-sha256", State: "live", Scopes: []string{"read"}, CreatedAt: now.AddDate(0, -6, 0), LastUsedAt: now.Add(-72 * time.Hour), LastUsedAddress: "192.0.2.14"}
	botKey  = key{ID: "hk_W8NFP3D6HJ1ZBS0A", Label: "Trading bot", Kind: "ed25519", State: "live", Scopes: []string{"read", "trade", "withdraw"}, Addresses: []string{"198.51.100.0/24", "203.0.113.77"}, CreatedAt: now.Add(-2 * time.Hour), WithdrawsFrom: now.Add(22 * time.Hour), ExpiresAt: now.AddDate(0, 3, 0)}
	longKey = key{ID: "hk_0", Label: longWord + " " + longWord, State: "suspended", Scopes: []string{"read", "trade", "withdraw"}, Addresses: strings.Fields("2001:db8::/32 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6")}

	happenings = []happening{
		{Kind: "change", Name: "request_withdrawal", At: now.Add(-3 * time.Minute), Device: unknown},
		{Kind: "sign_in", At: now.Add(-50 * time.Minute), Device: unknown},
		{Kind: "movement", Name: "trade", At: now.Add(-5 * time.Hour), Asset: "BTC", Delta: "0.05", Before: "1.15", After: "1.2", Detail: "Bought at 61,200.00 USDT"},
		{Kind: "movement", Name: "withdrawal", At: now.Add(-30 * time.Hour), Asset: "USDT", Delta: "-1250.5", Before: "31250.5", After: "30000", Detail: "To " + address1},
		{Kind: "change", Name: "create_key", At: now.Add(-31 * time.Hour), Device: laptop},
		{Kind: "sign_in", At: now.Add(-32 * time.Hour), Device: phone, Refused: true},
		{Kind: "movement", Name: "deposit", At: now.Add(-80 * time.Hour), Asset: "USDT", Delta: "30000", Before: "1250.5", After: "31250.5"},
	}
	longHappenings = []happening{
		{Kind: "movement", Name: "withdrawal", At: now, Asset: "LONGASSETNAME1234", Delta: "-123456789012345678.123456789012345678", Before: "999999999999999999.999999999999999999", After: "876543210987654321.876543210987654321", Detail: longWord + hostile, Gap: true},
		{Kind: "sign_in", At: now, Device: odd, Actor: hostile},
	}
)

func frozenProtection(contained bool) protection {
	at := now
	lifts := "A restore: two people on the platform’s side approve it after checking that you are you."
	p := protection{FrozenAt: at, Contained: contained}
	for _, r := range []receipt{
		{Title: "Pending withdrawals", Detail: "2 withdrawals cancelled, 0.41 BTC stayed here"},
		{Title: "New withdrawals", Closed: "No withdrawal can be requested"},
		{Title: "Transfers to other users", Closed: "No transfer can be made"},
		{Title: "API keys", Detail: "3 keys suspended"},
		{Title: "Signed-in sessions", Detail: "1 session ended"},
		{Title: "Sign-in", Closed: "Nobody can sign in, except to protect the account"},
		{Title: "Remembered devices", Detail: "2 devices forgotten"},
		{Title: "Security settings", Closed: "Nothing that opens the account can be changed"},
		{Title: "Changes by support", Closed: "No single person can open the account"},
		{Title: "New orders", Enforcer: "Harbour Exchange", Closed: "No order can be placed"},
		{Title: "Open orders", Enforcer: "Harbour Exchange", Detail: "3 orders cancelled: 0.41 BTC, 1,200 USDT"},
	} {
		r.ClosedAt = at
		if r.Enforcer != "" {
			r.ClosedAt = at.Add(400 * time.Millisecond)
			if !contained {
				r.ClosedAt, r.Detail = time.Time{}, ""
			}
		}
		p.Receipts = append(p.Receipts, r)
		p.Blocks = append(p.Blocks, block{Kind: "frozen", Title: r.Title, Sentence: "Your account is frozen. Nothing can leave it.", Lifts: lifts})
	}
	return p
}

func heldProtection() protection {
	ends := "It ends by itself at the time shown. Nobody can end it early."
	var p protection
	for _, t := range []string{"Pending withdrawals", "New withdrawals", "Transfers to other users"} {
		p.Blocks = append(p.Blocks, block{Kind: "password_changed", Title: t, Sentence: "Withdrawals wait because the password was changed.", Lifts: ends, Until: now.Add(21 * time.Hour)})
	}
	return p
}

func (v view) with(f func(*view)) view { f(&v); return v }

var (
	frozenMe  = me.with(func(v *view) { v.Protection, v.Protective = frozenProtection(true), true })
	waitingMe = me.with(func(v *view) { v.Protection, v.Protective = frozenProtection(false), true })
	leftMe    = frozenMe.with(func(v *view) {
		v.Protection.MayHaveLeft = []withdrawal{{Amount: "0.05", Asset: "BTC", Address: address1, ConfirmedAt: now.Add(-20 * time.Second)}}
	})
	heldMe = me.with(func(v *view) { v.Protection = heldProtection() })
	signMe = me.with(func(v *view) {
		v.Signs = []sign{{ID: "s1", Rule: "new_source", Detail: "Chrome on Linux, Riga (LV), first seen an hour ago, asked to withdraw 0.05 BTC.", At: now.Add(-3 * time.Minute)}}
	})
	rtlMe   = signMe.with(func(v *view) { v.Dir = "rtl"; v.Protection = heldProtection() })
	rtlIce  = waitingMe.with(func(v *view) { v.Dir = "rtl" })
	longMe  = me.with(func(v *view) { v.Mail = strings.ToLower(longWord) + "@" + strings.ToLower(longWord) + ".example" })
	rtlRead = summary{Devices: 2, Keys: 1, LastSignIn: happening{At: now, Device: device{Browser: "فايرفوكس", System: "Windows", Place: "القاهرة"}}, Lately: happenings[:3], Balances: []balance{{"BTC", "1.2"}, {"USDT", "30000"}}}
	usual   = summary{Devices: 3, Keys: 2, LastSignIn: happenings[1], Balances: []balance{{"BTC", "1.2"}, {"USDT", "30000"}}, Lately: happenings[:3]}

	passwordWrong = map[string]string{"current": "That is not your present password.", "password": "That is 9 characters. Use at least 12, so that it cannot be guessed."}
	codeWrong     = map[string]string{"code": "That is not the code, or it is too old. You have 4 tries left.", "password": "Add a symbol, such as ! or ?"}
	keyWrong      = keyForm{Label: "Trading bot", Scopes: []string{"read", "withdraw"}, Wrong: map[string]string{"addresses": "A key that may withdraw needs at least one address.", "password": "That is not your password."}}
	groups        = []string{"7KQ2M", "XW4RD", "9TFHP", "C3VNY"}
)

const demoToken = "AGMZ6QZ5JE7TTK4W3C5UQH7S2Q"

// states is the list: a route without one fails the tests.
func states() []state {
	var all []state
	add := func(route, template string, signedIn bool, list ...any) {
		for i := 0; i < len(list); i += 2 {
			make, name := list[i+1].(func() page.Framed), list[i].(string)
			all = append(all, state{Route: route, Page: template, Name: name, Make: make, SignedIn: signedIn, Status: http.StatusOK})
		}
	}
	add("GET /{$}", "overview", true,
		"usual", func() page.Framed { return overview(me, usual) },
		"empty", func() page.Framed { return overview(me, summary{Devices: 1}) },
		"sign", func() page.Framed { return overview(signMe, usual) },
		"held", func() page.Framed { return overview(heldMe, usual) },
		"frozen-waiting", func() page.Framed { return overview(waitingMe, usual) },
		"frozen", func() page.Framed { return overview(leftMe, usual) },
		"long", func() page.Framed {
			return overview(longMe, summary{Devices: 1, Keys: 1, LastSignIn: happening{At: now, Device: odd}, Lately: longHappenings, Balances: []balance{{"LONGASSETNAME1234", "999999999999999999.999999999999999999"}}})
		},
		"rtl", func() page.Framed { return overview(rtlMe, rtlRead) })
	add("GET /freeze", "freeze", true,
		"ask", func() page.Framed { return freeze(me, nil, "") },
		"because", func() page.Framed { return freeze(signMe, &happenings[1], "unknown_sign_in") },
		"waiting", func() page.Framed { return freeze(waitingMe, nil, "") },
		"contained", func() page.Framed { return freeze(frozenMe, nil, "") },
		"may-have-left", func() page.Framed { return freeze(leftMe, nil, "") },
		"rtl", func() page.Framed { return freeze(rtlIce, nil, "") })
	add("GET /emergency", "emergency", false,
		"usual", func() page.Framed { return emergency(guest, "", "", "") },
		"failed", func() page.Framed {
			return emergency(guest, "holder@holdfast.test", "", "That code and that address do not belong together. Look at the sheet again: each group has five characters.")
		},
		"long", func() page.Framed { return emergency(guest, longWord+"@"+longWord, "That is not a mail address.", "") },
		"rtl", func() page.Framed { return emergency(guest.with(func(v *view) { v.Dir = "rtl" }), "", "", "") })
	add("GET /emergency/sent", "sent", false, "usual", func() page.Framed { return linkSent(guest) })
	add("GET /offline", "offline", false, "usual", func() page.Framed { return offline(guest) })
	add("GET /f/{token}", "link", false,
		"ask", func() page.Framed { return link(guest, demoToken, true) },
		"failed", func() page.Framed { return link(guest, demoToken, false) },
		"rtl", func() page.Framed { return link(guest.with(func(v *view) { v.Dir = "rtl" }), demoToken, true) })
	add("GET /frozen", "frozen", false,
		"waiting", func() page.Framed { return frozen(guest, frozenProtection(false)) },
		"contained", func() page.Framed { return frozen(guest, frozenProtection(true)) },
		"empty", func() page.Framed { return frozen(guest, protection{}) })
	add("GET /respond", "respond", true,
		"open", func() page.Framed { return respond(me) },
		"waiting", func() page.Framed { return respond(waitingMe) },
		"contained", func() page.Framed { return respond(frozenMe) })
	add("GET /respond/password", "respond-password", true,
		"send", func() page.Framed {
			return respondPassword(frozenMe, newPasswordForm(frozenMe, "/respond/password", false, nil))
		},
		"code", func() page.Framed {
			return respondPassword(frozenMe, newPasswordForm(frozenMe, "/respond/password", true, nil))
		},
		"failed", func() page.Framed {
			return respondPassword(frozenMe, newPasswordForm(frozenMe, "/respond/password", true, codeWrong))
		},
		"open", func() page.Framed { return respondPassword(me, newPasswordForm(me, "/respond/password", false, nil)) })
	add("GET /respond/devices", "respond-devices", true,
		"many", func() page.Framed { return respondDevices(frozenMe, []device{laptop, phone, unknown, odd}) },
		"alone", func() page.Framed { return respondDevices(waitingMe, []device{laptop}) })
	add("GET /respond/keys", "respond-keys", true,
		"many", func() page.Framed { return respondKeys(frozenMe, []key{taxKey, botKey, longKey}) },
		"empty", func() page.Framed { return respondKeys(frozenMe, nil) })
	add("GET /respond/done", "respond-done", true,
		"all", func() page.Framed { return respondDone(frozenMe, done{PasswordChanged: true}) },
		"some", func() page.Framed { return respondDone(waitingMe, done{OtherDevices: 2, Keys: 1}) },
		"open", func() page.Framed { return respondDone(me, done{}) })
	add("GET /devices", "devices", true,
		"many", func() page.Framed { return devices(me, []device{laptop, phone, unknown}) },
		"alone", func() page.Framed { return devices(me, []device{laptop}) },
		"long", func() page.Framed { return devices(longMe, []device{odd, laptop}) },
		"frozen", func() page.Framed { return devices(frozenMe, []device{laptop, unknown}) },
		"said", func() page.Framed {
			return devices(me.with(func(v *view) { v.Said = "device-removed" }), []device{laptop, phone})
		},
		"rtl", func() page.Framed {
			return devices(me.with(func(v *view) { v.Dir = "rtl" }), []device{laptop, unknown})
		})
	add("GET /keys", "keys", true,
		"many", func() page.Framed { return keys(me, []key{taxKey, botKey}) },
		"empty", func() page.Framed { return keys(me, nil) },
		"long", func() page.Framed { return keys(longMe, []key{longKey}) },
		"frozen", func() page.Framed { return keys(frozenMe, []key{longKey}) },
		"rtl", func() page.Framed { return keys(me.with(func(v *view) { v.Dir = "rtl" }), []key{botKey}) })
	add("GET /keys/new", "key-new", true,
		"usual", func() page.Framed { return keyNew(me, keyForm{Scopes: []string{"read"}}) },
		"failed", func() page.Framed { return keyNew(me, keyWrong) })
	add("POST /keys/new", "key-made", true,
		"secret", func() page.Framed {
			return keyMade(me, botKey, "vWz1H0pXy8QkT3s9mB6fR2nL5cJ7dG4aE8uK1oI0vWz1H0pXy8QkT3s9mB6fR2nL")
		},
		"public", func() page.Framed { return keyMade(me, taxKey, "") })
	add("GET /activity", "activity", true,
		"usual", func() page.Framed { return activity(me, "", happenings, "/activity?before=7") },
		"empty", func() page.Framed { return activity(me, "movement", nil, "") },
		"long", func() page.Framed { return activity(longMe, "", longHappenings, "") },
		"frozen", func() page.Framed { return activity(frozenMe, "change", happenings, "") },
		"rtl", func() page.Framed { return activity(me.with(func(v *view) { v.Dir = "rtl" }), "", happenings, "") })
	add("GET /security", "security", true,
		"usual", func() page.Framed {
			return security(me, settings{LimitPercent: 20, FreezeCodeMadeAt: now, PasswordChangedAt: now, Phone: "+33 6 12 34 56 78"})
		},
		"empty", func() page.Framed { return security(me, settings{LimitPercent: 20}) },
		"frozen", func() page.Framed { return security(frozenMe, settings{LimitPercent: 20}) })
	add("GET /security/password", "password", true,
		"usual", func() page.Framed { return password(me, newPasswordForm(me, "/security/password", false, nil)) },
		"failed", func() page.Framed {
			return password(me, newPasswordForm(me, "/security/password", false, passwordWrong))
		},
		"frozen", func() page.Framed {
			return password(frozenMe, newPasswordForm(frozenMe, "/security/password", false, nil))
		})
	add("GET /security/password/keys", "password-keys", true,
		"usual", func() page.Framed { return passwordKeys(me, 3, "") },
		"failed", func() page.Framed { return passwordKeys(me, 1, "Choose one of these.") })
	add("GET /security/limit", "setting", true,
		"usual", func() page.Framed { return limitSetting(me, "20", "") },
		"failed", func() page.Framed { return limitSetting(me, "200", "Give a number from 1 to 100.") })
	add("GET /security/phone", "setting", true, "usual", func() page.Framed { return phoneSetting(me, "", "") })
	add("GET /security/freeze-code", "setting", true, "usual", func() page.Framed { return freezeCodeSetting(me, "") })
	add("POST /security/freeze-code", "code-sheet", true, "usual", func() page.Framed {
		return codeSheet(me.frame("", "/security"), me.Mail, groups, now, "https://holdfast.test/emergency", page.Button{Label: "I have it on paper"}.Quiet().To("/security"))
	})
	add("GET /sign-up", "sign-up", false,
		"usual", func() page.Framed { return signUp(guest, "", "", nil) },
		"failed", func() page.Framed {
			return signUp(guest, "holder@holdfast", "", map[string]string{"mail": "That is not a mail address.", "password": "That is 9 characters. Use at least 12, so that it cannot be guessed."})
		})
	add("GET /sign-up/sent", "sent", false, "usual", func() page.Framed { return signUpSent(guest) })
	add("GET /verify/{token}", "verify", false, "usual", func() page.Framed { return verify(guest, demoToken) })
	add("POST /verify/{token}", "code-sheet", false, "usual", func() page.Framed {
		return codeSheet(guest.outside(""), me.Mail, groups, now, "https://holdfast.test/emergency", page.Button{Label: "Go on to sign-in"}.Quiet().To("/sign-in"))
	})
	add("GET /sign-in", "sign-in", false,
		"usual", func() page.Framed { return signIn(guest, "", "", "", "") },
		"failed", func() page.Framed {
			return signIn(guest, "holder@holdfast.test", "The mail address or the password is not right.", "", "")
		},
		"platform", func() page.Framed {
			return signIn(guest, "", "", "Harbour Exchange", "https://exchange.test/")
		},
		"rtl", func() page.Framed {
			return signIn(guest.with(func(v *view) { v.Dir = "rtl"; v.Said = "signed-out" }), "", "", "", "")
		})
	add("GET /code", "code", false, "usual", func() page.Framed { return codeAsk(guest, "", "") })
	add("GET /code/enter", "code", false,
		"usual", func() page.Framed { return codeEnter(guest, "") },
		"failed", func() page.Framed { return codeEnter(guest, "That is not the code, or it is too old.") })
	add("GET /reset", "reset", false,
		"usual", func() page.Framed { return reset(guest, "", "") },
		"failed", func() page.Framed { return reset(guest, "holder", "That is not a mail address.") })
	add("GET /reset/sent", "sent", false, "usual", func() page.Framed { return resetSent(guest) })
	add("GET /reset/{token}", "reset-set", false,
		"usual", func() page.Framed { return resetSet(guest, demoToken, "") },
		"failed", func() page.Framed { return resetSet(guest, demoToken, "Add a number.") })
	letters := []localMail{
		{ID: "m1", To: me.Mail, From: "Holdfast <notice@holdfast.test>", Subject: "Someone signed in from a new device. Was it you?", At: now, Text: "Someone signed in from a device we have not seen before.\n\nDevice: Chrome on Linux\nPlace: Riga (LV)\n\nWas it not you? Freeze now:\nhttp://127.0.0.1:8080/f/" + demoToken + "\n", HTML: "<p>Someone signed in.</p>"},
		{ID: "m2", To: me.Mail, From: "Holdfast <notice@holdfast.test>", Subject: longWord + " " + hostile, At: now.Add(-time.Hour), Text: strings.Repeat("x", 300) + hostile},
	}
	add("GET /mailbox", "mailbox", false,
		"usual", func() page.Framed { return mailbox(guest, letters) },
		"empty", func() page.Framed { return mailbox(guest, nil) })
	add("GET /mailbox/{id}", "mail", false,
		"usual", func() page.Framed {
			return mail(guest, letters[0], []page.Link{{Href: "/f/" + demoToken, Label: "Freeze my account"}})
		},
		"long", func() page.Framed { return mail(guest, letters[1], nil) })
	for i := range all {
		s := &all[i]
		s.Path = fmt.Sprintf("/shot/%d-%s-%s", i, s.Page, s.Name)
	}
	return all
}
