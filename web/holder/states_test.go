package holder

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/guard"
	"holdfast/ledger"
	"holdfast/permit"
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
	laptop  = device{ID: "d1", Name: "Firefox on Windows", Browser: "Firefox", System: "Windows", Place: "Lyon (FR)", Address: "192.0.2.14", FirstSeen: now.AddDate(0, -3, 0), LastSeen: now.Add(-time.Minute), This: true}
	phone   = device{ID: "d2", Name: "Safari on iOS", Browser: "Safari", System: "iOS", Place: "Lyon (FR)", Address: "192.0.2.15", FirstSeen: now.AddDate(0, -2, 0), LastSeen: now.Add(-26 * time.Hour)}
	unknown = device{ID: "d3", Name: "Chrome on Linux", Browser: "Chrome", System: "Linux", Place: "Riga (LV)", Address: "203.0.113.77", FirstSeen: now.Add(-time.Hour), LastSeen: now.Add(-50 * time.Minute)}
	odd     = device{ID: "d4", Name: longWord, FirstSeen: now, LastSeen: now, Address: "2001:db8:85a3:0000:0000:8a2e:0370:7334"}

	taxKey  = key{ID: "5Q2XW9RTM4K7CVNY5Q2XW9RTM4K7CVNY", Label: "Tax report", Kind: "hmac-sha256", State: "live", Scopes: []string{"read"}, CreatedAt: now.AddDate(0, -6, 0), LastUsedAt: now.Add(-72 * time.Hour), LastAddress: "192.0.2.14"}
	botKey  = key{ID: "W8NFP3D6HJ1ZBS0AW8NFP3D6HJ1ZBS0A", Label: "Trading bot", Kind: "ed25519", State: "live", Scopes: []string{"read", "trade", "withdraw"}, Addresses: nets("198.51.100.0/24", "203.0.113.77/32"), CreatedAt: now.Add(-2 * time.Hour), WithdrawFrom: now.Add(22 * time.Hour), ExpiresAt: now.AddDate(0, 3, 0)}
	longKey = key{ID: "0", Label: longWord + " " + longWord, State: "suspended", Scopes: []string{"read", "trade", "withdraw"}, Addresses: nets("2001:db8::/32", "192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "192.0.2.4/32", "192.0.2.5/32")}

	asked    = happening{Kind: "change", Name: "request_withdrawal", At: now.Add(-3 * time.Minute), By: "API key W8NFP3D6", Place: "Riga (LV)", Address: "203.0.113.77"}
	signedIn = happening{Kind: "sign_in", Name: "sign_in", At: now.Add(-50 * time.Minute), Device: "Chrome on Linux", Place: "Riga (LV)", Address: "203.0.113.77"}
	happened = []happening{asked, signedIn, moved("trade", "BTC", "0.05", "1.15", "1.2", "Bought at 61,200.00 USDT", 5), moved("trade", "USDT", "-3060", "34310.5", "31250.5", "", 5), moved("fee", "BTC", "-0.00005", "1.20005", "1.2", "", 5), moved("withdrawal", "USDT", "-1250.5", "31250.5", "30000", "To "+address1, 30),
		{Kind: "change", Name: "create_key", At: now.Add(-31 * time.Hour), Device: "Firefox on Windows", Place: "Lyon (FR)", Address: "192.0.2.14"},
		{Kind: "change", Name: "place_hold", At: now.Add(-32 * time.Hour), By: "The platform’s staff"}, moved("deposit", "USDT", "30000", "1250.5", "31250.5", "", 80)}
	longHappened = []happening{
		gap(moved("withdrawal", "LONGASSETNAME1234", "-123456789012345678.123456789012345678", "999999999999999999.999999999999999999", "876543210987654321.876543210987654321", longWord+hostile, 0)),
		{Kind: "sign_in", At: now, Device: longWord, By: hostile},
	}
)

func suspended(k key) key {
	k.State = "suspended"
	return k
}

func nets(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// amount is a constant of these tests; one that does not parse shows as 0.
func amount(s string) ledger.Amount {
	a, _ := ledger.ParseAmount(s)
	return a
}

func moved(kind ledger.Kind, asset, delta, before, after, detail string, hours int) happening {
	m := movement{Kind: kind, Asset: asset, Delta: amount(delta), Before: amount(before), After: amount(after), Detail: detail, At: now.Add(-time.Duration(hours) * time.Hour)}
	return happening{Kind: "movement", Name: string(kind), At: m.At, Movement: &m}
}

func gap(h happening) happening {
	h.Movement.Gap = true
	return h
}

func frozenProtection(contained bool) protection {
	p := protection{FrozenAt: now, Contained: contained}
	detail := map[permit.Exit]string{permit.PendingWithdrawal: "2 withdrawals cancelled, 0.41 BTC stayed here", permit.APIKey: "3 keys suspended", permit.Session: "1 session ended",
		permit.RememberedDevice: "2 devices forgotten", permit.OpenOrder: "3 orders cancelled: 0.41 BTC, 1,200 USDT"}
	for _, exit := range []permit.Exit{permit.PendingWithdrawal, permit.WithdrawalRequest, permit.InternalTransfer, permit.APIKey, permit.Session, permit.SignIn,
		permit.RememberedDevice, permit.SecuritySetting, permit.SupportChange, permit.Order, permit.OpenOrder} {
		r := receipt{Exit: exit, Enforcer: "holdfast", Title: "Holdfast", ClosedAt: now, Detail: detail[exit]}
		if exit == permit.Order || exit == permit.OpenOrder {
			r.Enforcer, r.Title, r.ClosedAt = "exchange", "Harbour Exchange", now.Add(400*time.Millisecond)
			if !contained {
				r.ClosedAt, r.Detail = time.Time{}, ""
			}
		}
		p.Receipts = append(p.Receipts, r)
		p.Blocks = append(p.Blocks, block{Exit: exit, Kind: guard.Frozen, Sentence: "Your account is frozen. Nothing can leave it.", Lifts: "A restore: two people on the platform’s side approve it after checking that you are you."})
	}
	return p
}

func heldProtection() protection {
	var p protection
	for _, exit := range guard.Payouts() {
		p.Blocks = append(p.Blocks, block{Exit: exit, Kind: guard.HeldPasswordChanged, Sentence: "Withdrawals wait because the password was changed.", Lifts: "It ends by itself at the time shown. Nobody can end it early.", Until: now.Add(21 * time.Hour)})
	}
	return p
}

func (v view) with(f func(*view)) view { f(&v); return v }

var (
	frozenMe  = me.with(func(v *view) { v.Protection, v.Protective = frozenProtection(true), true })
	waitingMe = me.with(func(v *view) { v.Protection, v.Protective = frozenProtection(false), true })
	leftMe    = frozenMe.with(func(v *view) {
		v.Protection.MayHaveLeft = []withdrawal{{Amount: amount("0.05"), Asset: "BTC", Address: address1, ConfirmedAt: now.Add(-20 * time.Second)}}
	})
	heldMe = me.with(func(v *view) { v.Protection = heldProtection() })
	signMe = me.with(func(v *view) {
		v.Signs = []Sign{{ID: "s1", Rule: "new_source", Words: "A withdrawal of 0.05 BTC was requested by an API key (“Trading bot”) that is less than a day old. Was it you?", At: now.Add(-3 * time.Minute)}}
	})
	rtlMe   = signMe.with(func(v *view) { v.Dir = "rtl"; v.Protection = heldProtection() })
	rtlIce  = waitingMe.with(func(v *view) { v.Dir = "rtl" })
	longMe  = me.with(func(v *view) { v.Mail = strings.ToLower(longWord) + "@" + strings.ToLower(longWord) + ".example" })
	rtlRead = summary{Devices: 2, Keys: 1, LastSignIn: happening{At: now, Device: "فايرفوكس", Place: "القاهرة"}, Lately: happened[:3], Balances: owned}
	usual   = summary{Devices: 3, Keys: 2, LastSignIn: signedIn, Balances: owned, Lately: happened[:3]}
	leaving = summary{Devices: 3, Keys: 2, LastSignIn: signedIn, Balances: owned, Lately: happened[:3], Going: []withdrawal{pending, pending, pending, pending, pending}}
	pending = withdrawal{Amount: amount("0.05"), Asset: "BTC", Address: address1, RequestedAt: now.Add(-time.Minute), CredentialKind: account.KeyCredential, Credential: "W8NFP3D6HJ1ZBS0A"}
	owned   = []balance{{Asset: "BTC", Amount: amount("1.2")}, {Asset: "USDT", Amount: amount("30000")}}

	passwordWrong = map[string]string{"current": "That is not your present password.", "password": "That is 9 characters. Use at least 12, so that it cannot be guessed."}
	codeWrong     = map[string]string{"code": "That is not the code, or it is too old. You have 4 tries left.", "password": "Add a symbol, such as ! or ?"}
	keyWrong      = keyForm{Label: "Trading bot", Scopes: []string{"read", "withdraw"}, Wrong: map[string]string{"addresses": "A key that may withdraw needs at least one address.", "password": "That is not your password."}}
	printed       = "7KQ2M-XW4RD-9TFHP-C3VNY"
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
		"leaving", func() page.Framed { return overview(me, leaving) },
		"empty", func() page.Framed { return overview(me, summary{Devices: 1}) },
		"sign", func() page.Framed { return overview(signMe, usual) },
		"held", func() page.Framed { return overview(heldMe, usual) },
		"frozen-waiting", func() page.Framed { return overview(waitingMe, usual) },
		"frozen", func() page.Framed { return overview(leftMe, usual) },
		"long", func() page.Framed {
			return overview(longMe, summary{Devices: 1, Keys: 1, LastSignIn: happening{At: now, Device: longWord}, Lately: longHappened, Balances: []balance{{Asset: "LONGASSETNAME1234", Amount: amount("999999999999999999.999999999999999999")}}})
		},
		"rtl", func() page.Framed { return overview(rtlMe, rtlRead) })
	add("GET /freeze", "freeze", true,
		"ask", func() page.Framed { return freeze(me, "") },
		"because", func() page.Framed { return freeze(signMe, "unknown_sign_in") },
		"waiting", func() page.Framed { return freeze(waitingMe, "") },
		"contained", func() page.Framed { return freeze(frozenMe, "") },
		"may-have-left", func() page.Framed { return freeze(leftMe, "") },
		"rtl", func() page.Framed { return freeze(rtlIce, "") })
	add("GET /emergency", "emergency", false,
		"usual", func() page.Framed { return emergency(guest, "", "", "") },
		"failed", func() page.Framed {
			return emergency(guest, "holder@holdfast.test", "", "That code and that address do not belong together. Look at the sheet again: each group has five characters.")
		},
		"long", func() page.Framed { return emergency(guest, longWord+"@"+longWord, "That is not a mail address.", "") },
		"rtl", func() page.Framed { return emergency(guest.with(func(v *view) { v.Dir = "rtl" }), "", "", "") })
	add("GET /emergency/sent", "sent", false, "usual", func() page.Framed { return linkSent(guest) })
	add("GET /offline", "offline", false, "usual", func() page.Framed { return offline(guest) })
	add("GET /freeze/{token}", "link", false,
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
		"many", func() page.Framed { return respondKeys(frozenMe, []key{suspended(taxKey), suspended(botKey), longKey}) },
		"empty", func() page.Framed { return respondKeys(frozenMe, nil) })
	add("GET /respond/done", "respond-done", true,
		"all", func() page.Framed { return respondDone(frozenMe, reached{PasswordChanged: true}) },
		"some", func() page.Framed { return respondDone(waitingMe, reached{OtherDevices: 2, Keys: 1}) },
		"open", func() page.Framed { return respondDone(me, reached{}) })
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
		"usual", func() page.Framed { return activity(me, "", happened, "/activity?before=7") },
		"empty", func() page.Framed { return activity(me, "movement", nil, "") },
		"long", func() page.Framed { return activity(longMe, "", longHappened, "") },
		"frozen", func() page.Framed { return activity(frozenMe, "change", happened, "") },
		"rtl", func() page.Framed { return activity(me.with(func(v *view) { v.Dir = "rtl" }), "", happened, "") })
	add("GET /security", "security", true,
		"usual", func() page.Framed {
			return security(me, account.Profile{Mail: me.Mail, LimitPercent: 20, Phone: "+33 6 12 34 56 78", Facts: account.Facts{PasswordChangedAt: now}}, now)
		},
		"empty", func() page.Framed {
			return security(longMe, account.Profile{Mail: longMe.Mail, LimitPercent: 20}, time.Time{})
		},
		"frozen", func() page.Framed { return security(frozenMe, account.Profile{Mail: me.Mail, LimitPercent: 20}, now) })
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
		"usual", func() page.Framed { return limitSetting(me, "20", nil) },
		"failed", func() page.Framed {
			return limitSetting(me, "200", map[string]string{"percent": "Choose a number from 1 to 100."})
		})
	add("GET /security/phone", "setting", true, "usual", func() page.Framed { return phoneSetting(me, "", nil) })
	add("GET /security/mail", "setting", true, "usual", func() page.Framed { return mailSetting(me, "", nil) })
	add("GET /keys/enable", "setting", true, "usual", func() page.Framed { return keyEnable(me, longKey, "") })
	add("GET /security/freeze-code", "setting", true, "usual", func() page.Framed { return freezeCodeSetting(me, nil) })
	add("POST /security/freeze-code", "code-sheet", true, "usual", func() page.Framed {
		return codeSheet(me.frame("", "/security"), me.Mail, printed, now, "https://holdfast.test/emergency", page.Button{Label: "I have it on paper"}.Quiet().To("/security"))
	})
	add("GET /sign-up", "sign-up", false,
		"usual", func() page.Framed { return signUp(guest, "", "", nil) },
		"failed", func() page.Framed {
			return signUp(guest, "holder@holdfast", "", map[string]string{"mail": "That is not a mail address.", "password": "That is 9 characters. Use at least 12, so that it cannot be guessed."})
		})
	add("GET /sign-up/sent", "sent", false, "usual", func() page.Framed { return signUpSent(guest) })
	add("GET /verify/{token}", "verify", false, "usual", func() page.Framed { return verify(guest, demoToken) })
	add("POST /verify/{token}", "code-sheet", true, "usual", func() page.Framed {
		return codeSheet(me.frame("", ""), me.Mail, printed, now, "https://holdfast.test/emergency", page.Button{Label: "I have it on paper"}.Quiet().To("/"))
	})
	add("GET /sign-in", "sign-in", false,
		"usual", func() page.Framed { return signIn(guest, "", "", onward{}) },
		"failed", func() page.Framed {
			return signIn(guest, "holder@holdfast.test", "The mail address or the password is not right.", onward{})
		},
		"platform", func() page.Framed {
			return signIn(guest, "", "", onward{Service: "exchange", To: "https://exchange.test/callback"})
		},
		"rtl", func() page.Framed {
			return signIn(guest.with(func(v *view) { v.Dir = "rtl"; v.Said = "signed-out" }), "", "", onward{})
		})
	add("GET /sign-in", "go-on", true, "signed-in", func() page.Framed { return goOn(me, onward{Service: "exchange", To: "https://exchange.test/callback"}) })
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
		{ID: "m1", To: me.Mail, Subject: "Someone signed in from a new device. Was it you?", Made: now, Text: "Someone signed in from a device we have not seen before.\n\nDevice: Chrome on Linux\nPlace: Riga (LV)\n\nWas it not you? Freeze now:\nhttp://127.0.0.1:8080/freeze/" + demoToken + "\n", HTML: "<p>Someone signed in.</p>"},
		{ID: "m2", To: me.Mail, Subject: longWord + " " + hostile, Made: now.Add(-time.Hour), Text: strings.Repeat("x", 300) + hostile},
	}
	add("GET /mailbox", "mailbox", false,
		"usual", func() page.Framed { return mailbox(guest, letters) },
		"empty", func() page.Framed { return mailbox(guest, nil) })
	add("GET /mailbox/{id}", "mail", false,
		"usual", func() page.Framed {
			return mail(guest, letters[0], []page.Link{{Href: "/freeze/" + demoToken, Label: "Freeze my account"}})
		},
		"long", func() page.Framed { return mail(guest, letters[1], nil) })
	for i := range all {
		s := &all[i]
		s.Path = fmt.Sprintf("/shot/%d-%s-%s", i, s.Page, s.Name)
	}
	return all
}
