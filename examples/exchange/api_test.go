package exchange

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSignedRequestsThatAreRefused(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	stamp := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).UnixMilli(), 10) }
	sign := func(text string) string {
		s, err := key.Sign(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	get := func(text, signature, keyID string) answer {
		return r.send("GET", "/api/v3/account", text+"&signature="+signature, "", keyID, "")
	}
	now := "timestamp=" + stamp(0)
	other := r.hold.AddHMACKey(account, []string{"read"}, nil)
	tied := r.hold.AddHMACKey(account, allScopes, []string{"203.0.113.9"})
	deleted := r.hold.AddHMACKey(account, allScopes, nil)
	r.hold.DeleteKey(deleted.ID)

	t.Run("right", func(t *testing.T) {
		if a := get(now, sign(now), key.ID); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("no key", func(t *testing.T) { wantCode(t, get(now, sign(now), ""), 401, -2014) })
	t.Run("a key that is none", func(t *testing.T) { wantCode(t, get(now, sign(now), "x"), 401, -2014) })
	t.Run("no signature", func(t *testing.T) {
		wantCode(t, r.send("GET", "/api/v3/account", now, "", key.ID, ""), 400, -1102)
	})
	t.Run("no timestamp", func(t *testing.T) { wantCode(t, get("a=1", sign("a=1"), key.ID), 400, -1102) })
	t.Run("too late", func(t *testing.T) {
		late := "timestamp=" + stamp(-6*time.Second)
		wantCode(t, get(late, sign(late), key.ID), 400, -1021)
	})
	t.Run("too early", func(t *testing.T) {
		early := "timestamp=" + stamp(3*time.Second)
		wantCode(t, get(early, sign(early), key.ID), 400, -1021)
	})
	t.Run("parameters changed after signing", func(t *testing.T) {
		wantCode(t, get(now+"&recvWindow=5000", sign(now), key.ID), 401, -1022)
	})
	t.Run("signed before encoding", func(t *testing.T) {
		wantCode(t, get("note=a%40b&"+now, sign("note=a@b&"+now), key.ID), 401, -1022)
	})
	t.Run("signed as JavaScript encodes, sent with a plus", func(t *testing.T) {
		if a := get("note=a+b&"+now, sign("note=a%20b&"+now), key.ID); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("a signature that is none", func(t *testing.T) { wantCode(t, get(now, "zz", key.ID), 401, -1022) })

	// An unknown key, a deleted one, a wrong signature and a wrong address look the same.
	first := get(now, sign(now+"x"), key.ID)
	for name, a := range map[string]answer{
		"unknown key":   get(now, sign(now), strings.Repeat("a", 64)),
		"deleted key":   r.signed(deleted, "GET", "/api/v3/account"),
		"wrong address": r.signed(tied, "GET", "/api/v3/account"),
	} {
		if a.status != first.status || string(a.body) != string(first.body) {
			t.Errorf("%s: %d %s, wrong signature: %d %s", name, a.status, a.body, first.status, first.body)
		}
	}
	t.Run("out of scope", func(t *testing.T) {
		wantCode(t, r.signed(other, "POST", "/api/v3/order", "symbol", "BTCUSDT"), 401, -2015)
	})
}

func TestReplayOfARequestWithAnEffectIsRefused(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	text := query("coin", "BTC", "address", outside, "amount", "0.1", "timestamp", strconv.FormatInt(time.Now().UnixMilli(), 10))
	signature, err := key.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	send := func(s string) answer {
		return r.send("POST", "/sapi/v1/capital/withdraw/apply", text+"&signature="+s, "", key.ID, "")
	}
	if a := send(signature); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	wantCode(t, send(signature), 400, -1021)
	wantCode(t, send(strings.ToUpper(signature)), 400, -1021)
	r.restart()
	wantCode(t, send(signature), 400, -1021)
	r.wantBalance(account, "BTC", "0.9", "0.1")
}

func TestRequestsOfTheWrongShape(t *testing.T) {
	r := newRig(t, nil)
	_, key := r.holder("1", "")
	wantCode(t, r.send("GET", "/api/v3/nothing", "", "", "", ""), http.StatusNotFound, -5000)
	if a := r.send("PUT", "/api/v3/order", "", "", "", ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST, GET, DELETE" {
		t.Errorf("wrong method: %d %s", a.status, a.header.Get("Allow"))
	}
	wantCode(t, r.send("POST", "/api/v3/order", "", `{"symbol":"BTCUSDT"}`, key.ID, "application/json"), http.StatusUnsupportedMediaType, -1100)
	wantCode(t, r.send("POST", "/api/v3/order", "", strings.Repeat("a", maxBody+1), key.ID, ""), http.StatusRequestEntityTooLarge, -1100)
	wantCode(t, r.send("GET", "/api/v3/depth", "symbol=BTCUSDT&symbol=ETHUSDT", "", "", ""), 400, -1101)
	wantCode(t, r.send("POST", "/api/v3/userDataStream", "", "", key.ID, ""), http.StatusGone, -1020)
}

func TestPublicCalls(t *testing.T) {
	r := newRig(t, nil)
	_, key := r.holder("1", "")
	r.order(key, "BTCUSDT", "SELL", "0.1", "60000")
	for _, path := range []string{"/api/v3/ping", "/api/v3/time", "/api/v3/exchangeInfo", "/api/v3/ticker/price", "/sapi/v1/system/status",
		"/sapi/v1/margin/allPairs", "/sapi/v1/margin/isolated/allPairs", "/fapi/v1/exchangeInfo", "/dapi/v1/exchangeInfo"} {
		if a := r.send("GET", path, "", "", "", ""); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	var d struct {
		Asks [][2]string `json:"asks"`
	}
	r.send("GET", "/api/v3/depth", "symbol=BTCUSDT", "", "", "").into(t, &d)
	if len(d.Asks) != 1 || d.Asks[0] != [2]string{"60000.00000000", "0.10000000"} {
		t.Errorf("asks %v", d.Asks)
	}
}

func TestForwardedAddressCountsOnlyFromATrustedProxy(t *testing.T) {
	for _, c := range []struct {
		name    string
		trusted []netip.Prefix
		want    int
	}{
		{"trusted", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, 200},
		{"not trusted", nil, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *Config) { cfg.TrustedProxies = c.trusted })
			account, _ := r.holder("1", "")
			key := r.hold.AddHMACKey(account, allScopes, []string{"203.0.113.9"})
			text := "timestamp=" + strconv.FormatInt(time.Now().UnixMilli(), 10)
			signature, err := key.Sign(text)
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequest("GET", r.url+"/api/v3/account?"+text+"&signature="+signature, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-MBX-APIKEY", key.ID)
			req.Header.Set("X-Forwarded-For", "198.51.100.7, 203.0.113.9")
			resp, err := r.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("HTTP %d, want %d", resp.StatusCode, c.want)
			}
		})
	}
}
