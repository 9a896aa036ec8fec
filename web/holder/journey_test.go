package holder_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestPressOnFreezeShowsReceiptsAndEndsEverySessionElse(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		holder, _ := w.signedUp()
		thief := w.signedIn()
		thief.shows(thief.get("/"), 200, "Nothing is blocked")

		holder.shows(holder.get("/freeze"), 200, "Freeze your account?", "What it takes to open again")
		if w.frozen() {
			t.Fatal("looking at the page froze")
		}
		holder.leads(holder.post("/freeze", "reason", "unknown_sign_in"), "/freeze")
		holder.shows(holder.get("/freeze"), 200, "Frozen at", "exits are closed", "API keys", "closed at")
		holder.leads(holder.post("/freeze"), "/freeze") // again: it says so and changes nothing
		holder.shows(holder.get("/"), 200, "Your account is frozen. Nothing can leave it.", "What lifts it", `id="freeze" href="/freeze"`)

		thief.leads(thief.get("/"), "/sign-in")
		thief.leads(thief.post("/keys/new", "label", "x", "kind", "hmac-sha256", "scope", "read", "password", password), "/sign-in")
		thief.leads(thief.post("/sign-in", "mail", holderMail, "password", password), "/code?said=frozen")

		// Protective: looks and closes, opens nothing.
		refused := holder.post("/keys/new", "label", "x", "kind", "hmac-sha256", "scope", "read", "password", password)
		holder.shows(refused, 403, "frozen")
		refused = holder.post("/security/freeze-code", "password", password)
		holder.shows(refused, 403, "frozen")
		refused = holder.post("/security/mail", "mail", "thief@evil.example", "password", password)
		holder.shows(refused, 403, "frozen")
	})
}

func TestGuidedResponseGoesThroughItsFourSteps(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		b, _ := w.signedUp()
		_ = w.signedIn()
		b.shows(b.post("/keys/new", "label", "Tax report", "kind", "hmac-sha256", "scope", "read", "days", "90", "password", password), 200, "Copy the secret now")
		b.shows(b.get("/respond"), 200, "First, freeze", "Step 1 of 4")
		b.leads(b.post("/freeze", "next", "respond"), "/respond")
		b.shows(b.get("/respond"), 200, "Frozen at", "Step 2 of 4")

		b.shows(b.get("/respond/password"), 200, "Mail me the code")
		b.leads(b.post("/respond/password/code"), "/respond/password?said=code-sent")
		m := w.mail("(?i)code")
		code := w.code(m)
		b.shows(b.get("/respond/password?said=code-sent"), 200, "Code from the mail")
		b.shows(b.post("/respond/password", "code", code, "password", "short"), 422, "Use at least 12")
		b.leads(b.post("/respond/password", "code", code, "password", "Another-Horse-8-Battery"), "/respond/devices")
		b.leads(b.post("/respond/devices"), "/respond/keys")
		b.shows(b.get("/respond/keys"), 200, "Tax report", "Delete")
		b.leads(b.post("/respond/keys"), "/respond/done")
		b.shows(b.get("/respond/done"), 200, "You have done what you can", "Password changed", "No API key is left")
	})
}

func TestFreezeLinkNeedsAPress(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, _ = w.signedUp()
		_ = w.signedIn()
		link := w.link("freeze", w.mail("(?i)sign"))
		scanner := w.browser()
		scanner.shows(scanner.get(link), 200, "Was it not you?", "Opening this page changed nothing")
		scanner.do(http.MethodHead, link, nil)
		scanner.do(http.MethodGet, link, nil, func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") })
		crossSite := scanner.do(http.MethodPost, link, nil, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
		scanner.shows(crossSite, 403, "That came from another site")
		scanner.shows(scanner.do(http.MethodPost, link, nil, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }), 415)
		if w.frozen() {
			t.Fatal("frozen without a press")
		}

		phone := w.browser()
		phone.leads(phone.post(link), "/frozen")
		if !w.frozen() {
			t.Fatal("the press did not freeze")
		}
		phone.shows(phone.get("/frozen"), 200, "Frozen at", "exits are closed", "Signed-in sessions")
		phone.shows(phone.get("/frozen/receipts"), 200, "Signed-in sessions")
		phone.leads(phone.post(link), "/frozen")
		// Another browser has no ticket for the receipts.
		scanner.shows(scanner.get("/frozen"), 200, "There is nothing to show here")
		// A damaged link says that it does not work, and how to freeze all the same.
		phone.shows(phone.get(link[:len(link)-2]), 404, "does not work any more", "/emergency")
		phone.shows(phone.post(link[:len(link)-2]), 404, "does not work any more")
	})
}

func TestFreezeCodeFreezesSignedOut(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, code := w.signedUp()
		b := w.browser()
		wrong := code[:len(code)-5] + "00000"
		if a := b.post("/emergency", "mail", holderMail, "code", wrong); a.status/100 != 4 || !strings.Contains(a.body, `value="`+holderMail+`"`) {
			t.Errorf("a mistyped code: status %d", a.status)
		}
		if a := b.post("/emergency", "mail", "no address", "code", code); a.status/100 != 4 || !strings.Contains(a.body, `id="f-mail-error"`) {
			t.Errorf("a mistyped address: status %d", a.status)
		}
		b.shows(b.post("/emergency", "mail", "stranger@holdfast.test", "code", code), 403, "do not belong together")
		if w.frozen() {
			t.Fatal("frozen by a wrong address")
		}
		b.leads(b.post("/emergency", "mail", holderMail, "code", strings.ToLower(strings.ReplaceAll(code, "-", " "))), "/frozen")
		b.shows(b.get("/frozen"), 200, "Frozen at")
		b.leads(b.get("/"), "/sign-in") // the code opened nothing
	})
}

func TestMailedCodeOpensTheProtectedView(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		first, _ := w.signedUp()
		first.leads(first.post("/freeze"), "/freeze")
		b := w.browser()
		b.leads(b.get("/code/enter"), "/code")
		b.leads(b.post("/code", "mail", holderMail), "/code/enter")
		m := w.mail("(?i)code")
		code := w.code(m)
		other := w.browser()
		other.leads(other.post("/code", "mail", "stranger@holdfast.test"), "/code/enter")
		other.shows(other.post("/code/enter", "code", code), 403, "does not work here")
		b.shows(b.get("/code/enter"), 200, "Type the code")
		b.leads(b.post("/code/enter", "code", code), "/")
		b.shows(b.get("/"), 200, "Your account is frozen")
		b.shows(b.get("/security/password"), 200, "Mail me the code")
	})
}

func TestPublicFormsAnswerAlikeForEveryAddress(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, _ = w.signedUp()
		id := regexp.MustCompile(`[A-Z2-7]{4}-[A-Z2-7]{4}`)
		for _, f := range []struct{ path, field, follow string }{
			{"/sign-up", "mail", "/sign-up/sent"}, {"/reset", "mail", "/reset/sent"}, {"/emergency/link", "link_mail", "/emergency/sent"}, {"/code", "mail", "/code/enter"},
		} {
			known, unknown := w.browser(), w.browser()
			a := known.post(f.path, f.field, holderMail, "password", password)
			b := unknown.post(f.path, f.field, "hobler@holdfast.test", "password", password)
			for _, got := range []*answer{&a, &b} {
				got.body = id.ReplaceAllString(got.body, "")
			}
			if a.status != b.status || a.to() != f.follow || b.to() != f.follow || a.body != b.body {
				t.Errorf("%s: %d to %q, and %d to %q", f.path, a.status, a.to(), b.status, b.to())
			}
			if x, y := known.get(f.follow), unknown.get(f.follow); x.body != y.body || x.status != y.status {
				t.Errorf("%s differs for a known address", f.follow)
			}
		}
		known := w.browser().post("/sign-in", "mail", holderMail, "password", "Wrong-Horse-7-Battery")
		unknown := w.browser().post("/sign-in", "mail", "hobler@holdfast.test", "password", "Wrong-Horse-7-Battery")
		if known.status != unknown.status || strings.ReplaceAll(known.body, holderMail, "") != strings.ReplaceAll(unknown.body, "hobler@holdfast.test", "") {
			t.Errorf("sign-in differs: %d and %d", known.status, unknown.status)
		}
	})
}

func TestSignInGoesOnOnlyToRegisteredPlatforms(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, _ = w.signedUp()
		b := w.browser()
		for _, to := range []string{"https://evil.example/", "https://exchange.test/callback/x", "https://exchange.test/callback?x=1", "javascript:alert(1)"} {
			b.shows(b.get("/sign-in?return_to="+strings.ReplaceAll(to, "?", "%3F")), 404, "not one that we know")
			b.shows(b.post("/sign-in", "return_to", to, "mail", holderMail, "password", password), 404)
		}
		b.leads(b.get("/"), "/sign-in")
		shown := b.get("/sign-in?return_to=https://exchange.test/callback")
		b.shows(shown, 200, "You go on to exchange")
		if policy := shown.header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' https://exchange.test;") {
			t.Errorf("the policy stops the way back: %s", policy)
		}
		b.leads(b.post("/sign-in", "return_to", "https://exchange.test/callback", "mail", holderMail, "password", password), "https://exchange.test/callback?code=")
		b.shows(b.get("/sign-in?return_to=https://exchange.test/callback"), 200, "Go on to exchange?")
		b.leads(b.post("/sign-in/go-on", "return_to", "https://exchange.test/callback"), "https://exchange.test/callback?code=")
		went := b.post("/sign-in/go-on", "return_to", "https://exchange.test/callback", "state", "a-State_1.~").to()
		if u, err := url.Parse(went); err != nil || u.Query().Get("state") != "a-State_1.~" || u.Query().Get("code") == "" {
			t.Errorf("the platform's own state came back in %q, %v", went, err)
		}
		b.shows(b.get("/sign-in?return_to=https://exchange.test/callback&state=a%20b"), 422)
		b.leads(b.post("/freeze"), "/freeze")
		b.shows(b.post("/sign-in/go-on", "return_to", "https://exchange.test/callback"), 403)
	})
}

func TestPasswordChangeAsksAboutKeys(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		b, _ := w.signedUp()
		other := w.signedIn()
		b.shows(b.post("/keys/new", "label", `<script>alert(1)</script>`, "kind", "hmac-sha256", "scope", "read", "days", "30", "password", password), 200, "&lt;script&gt;")
		b.shows(b.post("/keys/new", "label", "x", "kind", "hmac-sha256", "scope", "withdraw", "days", "30", "password", password), 422, `id="f-addresses-error"`)
		b.shows(b.post("/security/password", "current", "Wrong-Horse-7-Battery", "password", "Another-Horse-8-Battery"), 403, `id="f-current-error"`)
		b.leads(b.post("/security/password", "current", password, "password", "Another-Horse-8-Battery"), "/security/password/keys")
		b.shows(b.post("/security/password/keys"), 422, "Choose one of these")
		b.leads(b.post("/security/password/keys", "what", "delete"), "/security?said=keys-deleted")
		b.shows(b.get("/keys"), 200, "No API keys")
		b.shows(b.get("/"), 200, "Withdrawals wait because the password was changed.", "What waits", "Until")
		b.shows(b.get("/activity?kind=change"), 200, "Password changed", "API key made", "wasn’t me")
		other.leads(other.get("/"), "/sign-in")
	})
}

func TestSettingsTakeThePassword(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		b, _ := w.signedUp()
		b.shows(b.post("/security/limit", "percent", "30", "password", "wrong"), 403, `id="f-password-error"`)
		b.shows(b.post("/security/limit", "percent", "many", "password", password), 422, `id="f-percent-error"`)
		b.leads(b.post("/security/limit", "percent", "30", "password", password), "/security?said=limit")
		b.leads(b.post("/security/phone", "phone", "+33 6 12 34 56 78", "password", password), "/security?said=phone")
		b.shows(b.get("/security"), 200, "more than 30", "not verified")
		b.shows(b.post("/security/freeze-code", "password", password), 200, "Print your freeze code")
		b.leads(b.post("/sign-out"), "/sign-in?said=signed-out")
		b.leads(b.get("/security"), "/sign-in")
	})
}

func TestOnePersonsIdsDoNothingForAnother(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mine, _ := w.signedUp()
		mine.shows(mine.post("/keys/new", "label", "Tax report", "kind", "hmac-sha256", "scope", "read", "days", "30", "password", password), 200)
		key := regexp.MustCompile(`name="key" value="([^"]+)"`).FindStringSubmatch(mine.get("/keys").body)
		if key == nil {
			t.Fatal("no key id on the page")
		}
		stranger := w.browser()
		stranger.leads(stranger.post("/sign-up", "mail", "stranger@holdfast.test", "password", password), "/sign-up/sent")
		stranger.shows(stranger.post(w.link("verify", w.mail("(?i)confirm"))), 200)
		if a := stranger.post("/keys/delete", "key", key[1]); a.status != 404 {
			t.Errorf("another's key: %d", a.status)
		}
		if a := stranger.post("/devices/remove", "device", "d1"); a.status != 404 {
			t.Errorf("another's device: %d", a.status)
		}
		mine.shows(mine.get("/keys"), 200, "Tax report", "Works")
	})
}
