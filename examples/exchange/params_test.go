package exchange

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestThreePlacementsComeOutTheSame(t *testing.T) {
	const all = "symbol=BTCUSDT&side=BUY&note=a%20b%2Bc&timestamp=1"
	for name, c := range map[string]struct{ query, body, signed string }{
		"all in the query": {all + "&signature=abc", "", all},
		"all in the body":  {"", all + "&signature=abc", all},
		"split": {"timestamp=1&signature=abc", "symbol=BTCUSDT&side=BUY&note=a%20b%2Bc",
			"timestamp=1symbol=BTCUSDT&side=BUY&note=a%20b%2Bc"},
	} {
		p, err := parseParams(c.query, c.body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if string(p.signed) != c.signed || p.signature != "abc" {
			t.Errorf("%s: signed %q with %q", name, p.signed, p.signature)
		}
		if p.get("note") != "a b+c" || p.get("symbol") != "BTCUSDT" || p.get("timestamp") != "1" {
			t.Errorf("%s: values %v", name, p.values)
		}
	}
}

// Binance's documents work this example out: the key's secret, the parameters and the
// signature they come to. It pins which bytes are signed.
func TestPayloadOfBinancesExample(t *testing.T) {
	const query = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
	const body = "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
	p, err := parseParams(query, body+"&signature=0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77")
	if err != nil {
		t.Fatal(err)
	}
	if want := query + body; string(p.signed) != want {
		t.Errorf("signed %q, want %q", p.signed, want)
	}
}

func TestParamsRefused(t *testing.T) {
	for name, c := range map[string]struct{ query, body string }{
		"twice in the query":      {"a=1&a=2", ""},
		"in the query and body":   {"a=1", "a=2"},
		"two signatures":          {"signature=a", "signature=b"},
		"an encoded name":         {"%73ignature=a", ""},
		"a broken escape":         {"a=%zz", ""},
		"a control character":     {"a=%00", ""},
		"invalid UTF-8":           {"a=%ff", ""},
		"no name":                 {"=1", ""},
		"too many":                {strings.Repeat("a&", 0) + many(maxParameters+1), ""},
		"a query that is too big": {"a=" + strings.Repeat("x", maxQuery), ""},
		"a body that is too big":  {"", "a=" + strings.Repeat("x", maxBody)},
	} {
		if p, err := parseParams(c.query, c.body); err == nil {
			t.Errorf("%s: %v", name, p.values)
		}
	}
}

func many(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, "p"+strconv.Itoa(i)+"=1")
	}
	return strings.Join(parts, "&")
}

func TestTimestampRules(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	for _, c := range []struct {
		name, stamp, window string
		ok                  bool
	}{
		{"now", "1700000000000", "", true},
		{"in microseconds", "1700000000000000", "", true},
		{"just old enough", "1699999995000", "", true},
		{"too old", "1699999994999", "", false},
		{"old within a wide window", "1699999940000", "60000", true},
		{"a window too wide", "1700000000000", "60001", false},
		{"a second ahead", "1700000001000", "", true},
		{"more than a second ahead", "1700000001001", "60000", false},
		{"no number", "now", "", false},
		{"negative", "-1700000000000", "", false},
		{"missing", "", "", false},
		{"far too long", "17000000000000000000000", "", false},
	} {
		p := &params{values: map[string]string{"timestamp": c.stamp, "recvWindow": c.window}}
		if _, _, err := p.checkTime(now); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// FuzzParams holds parsing against two facts: taking the signature away and putting it back
// anywhere gives the same signed bytes, and the values are those that net/url reads.
func FuzzParams(f *testing.F) {
	f.Add("symbol=BTCUSDT&timestamp=1", "quantity=0.1&note=a%20b", uint8(1))
	f.Add("", "a=1&b=2&c=3", uint8(3))
	f.Add("a=%2B&&b", "", uint8(0))
	f.Fuzz(func(t *testing.T, query, body string, place uint8) {
		p, err := parseParams(query, body)
		if err != nil {
			return
		}
		if strings.Contains(query, ";") || strings.Contains(body, ";") {
			return // net/url refuses these; here they are a part of the value
		}
		for _, part := range []string{query, body} {
			values, err := url.ParseQuery(part)
			if err != nil {
				t.Fatalf("net/url refuses %q, which was taken: %v", part, err)
			}
			for name, list := range values {
				if len(list) != 1 || p.get(name) != list[0] {
					t.Fatalf("%q is %q here and %q in net/url", name, p.get(name), list)
				}
			}
		}
		// The canonical form says the same and is its own canonical form.
		if again, err := parseParams(string(p.canonical), ""); len(query) == 0 || len(body) == 0 {
			if err == nil && string(again.canonical) != string(p.canonical) {
				t.Fatalf("canonical %q of canonical %q", again.canonical, p.canonical)
			}
			for name, value := range p.values {
				if err == nil && name != "signature" && again.get(name) != value {
					t.Fatalf("canonical %q has %q for %q", p.canonical, again.get(name), value)
				}
			}
		}
		if p.signature != "" || strings.Contains(query, "signature") || strings.Contains(body, "signature") {
			return
		}
		if string(p.signed) != query+body {
			t.Fatalf("signed %q, want %q", p.signed, query+body)
		}
		// Put a signature between two parameters of the query, or of the body.
		target, rest := query, body
		if place%2 == 1 {
			target, rest = body, query
		}
		parts := strings.Split(target, "&")
		at := int(place) % (len(parts) + 1)
		with := strings.Join(append(append(append([]string{}, parts[:at]...), "signature=ff"), parts[at:]...), "&")
		if len(with) > maxQuery || len(p.values) >= maxParameters {
			return
		}
		q, b := with, rest
		if place%2 == 1 {
			q, b = rest, with
		}
		again, err := parseParams(q, b)
		if err != nil {
			t.Fatalf("with a signature: %v", err)
		}
		if target == "" {
			return // an empty part and one empty parameter differ by a separator only
		}
		if string(again.signed) != string(p.signed) || again.signature != "ff" {
			t.Fatalf("signed %q with a signature and %q without", again.signed, p.signed)
		}
	})
}

// FuzzAmount: what is read prints as the same value, in one text only.
func FuzzAmount(f *testing.F) {
	for _, s := range []string{"0", "1.50", "007", "0.000000000000000001", "-1", "1e9", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAmount(s)
		if err != nil {
			return
		}
		if a.Sign() < 0 || a.Places() > maxFractionDigits {
			t.Fatalf("%q is read as %s", s, a)
		}
		b, err := ParseAmount(a.String())
		if err != nil || b.Cmp(a) != 0 || b.String() != a.String() {
			t.Fatalf("%q is read as %s, which is read as %s, %v", s, a, b, err)
		}
	})
}

// FuzzStreamRequest: whatever is sent as a message, the parameters that are signed are sorted,
// and read back they are the parameters that were sent.
func FuzzStreamRequest(f *testing.F) {
	f.Add([]byte(`{"id":1,"method":"ping","params":{"timestamp":1700000000000,"apiKey":"k","signature":"s"}}`))
	f.Add([]byte(`{"id":"a","method":"x","params":{"b":"1","a":true,"c":null}}`))
	f.Add([]byte(`{"id":{},"params":[]}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		var r streamRequest
		if json.Unmarshal(message, &r) != nil || !validRequestID(r.ID) {
			return
		}
		p, err := streamParams(r.Params)
		if err != nil {
			return
		}
		if len(p.signed) == 0 {
			return
		}
		last := ""
		n := 0
		for pair := range strings.SplitSeq(string(p.signed), "&") {
			name, value, _ := strings.Cut(pair, "=")
			if strings.ContainsAny(string(p.signed), "\n\x00") || name < last || name == "signature" {
				t.Fatalf("signed %q", p.signed)
			}
			if p.get(name) != value {
				t.Fatalf("%q is %q in the signed text and %q as a parameter", name, value, p.get(name))
			}
			last = name
			n++
		}
		if want := len(p.values); n != want && n != want-1 {
			t.Fatalf("%d parameters signed of %d", n, want)
		}
	})
}
