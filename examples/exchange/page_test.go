package exchange

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// browser keeps cookies by hand, so that each step is seen.
type browser struct {
	r       *rig
	cookies map[string]string
}

func (b *browser) do(method, path string, form url.Values, headers ...string) (*http.Response, string) {
	b.r.t.Helper()
	req, err := http.NewRequest(method, b.r.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.r.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	for name, value := range b.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	resp, err := b.r.http.Do(req)
	if err != nil {
		b.r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.r.t.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return resp, string(body)
}

// signIn goes through Holdfast as a browser does.
func (r *rig) signIn(account string) *browser {
	r.t.Helper()
	b := &browser{r: r, cookies: map[string]string{}}
	resp, _ := b.do("GET", "/sign-in", nil)
	sent, want := resp.Header.Get("Location"), "http://holdfast.test/sign-in?return_to=https%3A%2F%2Flocalhost%2Fcallback&state="
	state, ok := strings.CutPrefix(sent, want)
	if !ok || len(state) < 20 {
		r.t.Fatalf("sent to %s, want %s and a state", sent, want)
	}
	resp, body := b.do("GET", "/callback?code="+r.hold.Code(account)+"&state="+state, nil)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/wallet" {
		r.t.Fatalf("callback: %d %s", resp.StatusCode, body)
	}
	return b
}

func TestPagesTransferAndFreeze(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Faucet = true })
	account, key := r.holder("1", "")
	other, _ := r.holder("", "")
	address, err := r.x.DepositAddress(context.Background(), other, "BTC")
	if err != nil {
		t.Fatal(err)
	}
	b := r.signIn(account)
	if resp, body := b.do("GET", "/wallet", nil); resp.StatusCode != 200 || !strings.Contains(body, "Bitcoin (BTC)") {
		t.Fatalf("wallet: %d %s", resp.StatusCode, body)
	}
	form := url.Values{"coin": {"BTC"}, "amount": {"0.25"}, "address": {address}, "token": {"once"}}
	for range 2 { // a second press of the same form counts once
		if resp, body := b.do("POST", "/withdraw", form); resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("transfer: %d %s", resp.StatusCode, body)
		}
	}
	r.until("the transfer arrives", func() bool { f, _ := r.balance(other, "BTC"); return f == "0.25" })
	if resp, _ := b.do("POST", "/orders", url.Values{"symbol": {"BTCUSDT"}, "side": {"SELL"}, "quantity": {"0.1"}, "price": {"60000"}}); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("order: %d", resp.StatusCode)
	}
	r.wantBalance(account, "BTC", "0.65", "0.1")
	if resp, body := b.do("POST", "/orders/cancel", url.Values{"symbol": {"BTCUSDT"}, "order": {"1"}}); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("cancel: %d %s", resp.StatusCode, body)
	}
	if resp, _ := b.do("POST", "/faucet", url.Values{"token": {"x"}}); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("faucet: %d", resp.StatusCode)
	}
	r.wantBalance(account, "BTC", "1.25", "0")

	r.hold.Freeze(account)
	form.Set("token", "another")
	for _, step := range []func() (*http.Response, string){
		func() (*http.Response, string) { return b.do("GET", "/wallet", nil) },
		func() (*http.Response, string) { return b.do("POST", "/withdraw", form) },
		func() (*http.Response, string) {
			return b.do("POST", "/orders", url.Values{"symbol": {"BTCUSDT"}, "side": {"SELL"}, "quantity": {"0.1"}, "price": {"60000"}})
		},
	} {
		if resp, body := step(); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "Your account is frozen") {
			t.Errorf("while frozen: %d %s", resp.StatusCode, body)
		}
	}
	_ = key
	r.wantBooksRight()
}

func TestPagesRefuseStrangers(t *testing.T) {
	r := newRig(t, nil)
	account, _ := r.holder("1", "")
	stranger := &browser{r: r, cookies: map[string]string{}}
	for _, c := range []struct{ method, path string }{
		{"GET", "/wallet"}, {"POST", "/withdraw"}, {"POST", "/orders"}, {"POST", "/orders/cancel"},
	} {
		if resp, _ := stranger.do(c.method, c.path, url.Values{"coin": {"BTC"}}); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("%s %s without a session: %d", c.method, c.path, resp.StatusCode)
		}
	}
	// A link made by someone else does not sign this browser in.
	if resp, _ := stranger.do("GET", "/callback?code="+r.hold.Code(account), nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("callback out of the blue: %d", resp.StatusCode)
	}
	// Nor does one that comes while it is on its way to sign in by itself.
	stranger.do("GET", "/sign-in", nil)
	if resp, _ := stranger.do("GET", "/callback?code="+r.hold.Code(account)+"&state=another", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("callback with another's state: %d", resp.StatusCode)
	}
	if resp, _ := stranger.do("POST", "/faucet", url.Values{"token": {"x"}}); resp.StatusCode == http.StatusSeeOther {
		t.Error("there is a faucet without Config.Faucet")
	}
	b := r.signIn(account)
	if resp, _ := b.do("POST", "/orders", url.Values{}, "Sec-Fetch-Site", "cross-site", "Origin", "https://elsewhere.test"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("form from another site: %d", resp.StatusCode)
	}
	session := b.cookies[sessionCookie]
	b.do("POST", "/sign-out", url.Values{})
	b.cookies[sessionCookie] = session
	if resp, _ := b.do("GET", "/wallet", nil); resp.StatusCode == http.StatusOK {
		t.Error("the session lives on after signing out")
	}
}

func TestMarketPageShowsTheBook(t *testing.T) {
	r := newRig(t, nil)
	_, key := r.holder("1", "100000")
	_, otherKey := r.holder("1", "100000")
	r.order(key, "BTCUSDT", "SELL", "0.1", "60000")
	r.order(otherKey, "BTCUSDT", "BUY", "0.03", "60000")
	visitor := &browser{r: r, cookies: map[string]string{}}
	resp, body := visitor.do("GET", "/", nil)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "60,000 USDT") || !strings.Contains(body, "0.07 for sale") {
		t.Errorf("market page: %d %s", resp.StatusCode, body)
	}
	if !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("policy %q", resp.Header.Get("Content-Security-Policy"))
	}
	if resp, _ := visitor.do("GET", "/harbour.css", nil); resp.Header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("stylesheet is %q", resp.Header.Get("Content-Type"))
	}
	if resp, _ := visitor.do("GET", "/nothing", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("unknown page: %d", resp.StatusCode)
	}
}
