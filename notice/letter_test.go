package notice

import (
	"bytes"
	"encoding/json"
	"net/mail"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"

	"holdfast/evidence"
)

var (
	testHouse  = House{Base: "https://pages.example.test", Name: "Holdfast"}
	testRecord = evidence.Head{Seq: 41, Hash: bytes.Repeat([]byte{0x9f, 0x3c}, 16)}
	testTime   = time.Date(2026, 11, 23, 2, 14, 7, 0, time.UTC)
	testEvent  = Event{At: testTime, Place: "Lyon (FR)", Device: "Firefox on Windows", Address: "192.0.2.7"}
)

func envelope() Envelope {
	return Envelope{ID: "0198c0de-0000-7000-8000-000000000001", To: "holder@holdfast.test", Made: testTime,
		FreezeToken: "FREEZETOKEN", ActionToken: "ACTIONTOKEN", Record: testRecord}
}

// every returns one value of each kind.
func every(e Event, s string) []Vars {
	soon := testTime.Add(24 * time.Hour)
	return []Vars{
		VerifyMail{Event: e}, AccountExists{e}, NewSignIn{e}, PasswordChanged{e, 2, 1}, PasswordReset{e},
		KeyCreated{e, s, s, []string{"read", s}, []string{s, "192.0.2.1"}, soon},
		WithdrawalRequested{e, s, s, s, s},
		AddressChanged{e, "mail address", s, s, true},
		Frozen{e, s}, RestoreProposed{e, s}, Restored{e, s, soon, true}, FreezeLink{e, soon},
		SignInCode{e, "482 913", 10 * time.Minute},
		PasswordCode{e, "4829 1357", 10 * time.Minute},
		SignBalanceFell{e, s, "1.2", "0.7", 41, 20},
		SignNewSource{e, "API key", s, testTime, s, s, s},
	}
}

func TestEveryKindHasAValueHere(t *testing.T) {
	seen := map[Kind]bool{}
	for _, v := range every(testEvent, "x") {
		seen[v.Kind()] = true
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		back, err := kinds[v.Kind()].read(raw)
		if err != nil || !reflect.DeepEqual(back, v) {
			t.Errorf("%s: read back %+v (%v), want %+v", v.Kind(), back, err, v)
		}
	}
	if len(seen) != len(kinds) {
		t.Errorf("%d kinds have a value here, %d exist", len(seen), len(kinds))
	}
}

func TestMailSaysWhereWhenAndOnWhat(t *testing.T) {
	for _, v := range every(testEvent, "bc1qexampleaddress") {
		m := testHouse.Compose(v, envelope())
		if v.Kind() != KindRestored && v.Kind() != KindRestoreProposed { // those are acts of the staff
			for _, want := range []string{"Lyon (FR)", "192.0.2.7", "Firefox on Windows"} {
				for form, text := range map[string]string{"text": m.Text, "html": m.HTML} {
					if !strings.Contains(text, want) {
						t.Errorf("%s, %s: %q is missing", v.Kind(), form, want)
					}
				}
			}
		}
		for _, want := range []string{"23 November 2026 at 02:14:07 UTC", "Record 41 · 9f3c…", "--head " + testRecord.String(), "changes nothing until you press the button", neverAskWords} {
			for form, text := range map[string]string{"text": m.Text, "html": m.HTML} {
				if !strings.Contains(text, want) {
					t.Errorf("%s, %s: %q is missing", v.Kind(), form, want)
				}
			}
		}
	}
}

func TestMailHasOneFreezeLinkAndNoOtherButItsOwn(t *testing.T) {
	const freeze = "https://pages.example.test/freeze/FREEZETOKEN"
	for _, v := range every(testEvent, "x") {
		m := testHouse.Compose(v, envelope())
		want := []string{freeze}
		switch v.Kind() {
		case KindVerifyMail:
			want = []string{"https://pages.example.test/verify/ACTIONTOKEN", freeze}
		case KindPasswordReset:
			want = []string{"https://pages.example.test/reset/ACTIONTOKEN", freeze}
		}
		if got := urls.FindAllString(m.Text, -1); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: text links to %q, want %q", v.Kind(), got, want)
		}
		if got := hrefs(t, m.HTML); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: html links to %q, want %q", v.Kind(), got, want)
		}
	}
}

func TestNewAddressIsAskedWithoutAFreezeLink(t *testing.T) {
	e := envelope()
	e.FreezeToken = ""
	m := testHouse.Compose(VerifyMail{testEvent, true}, e)
	want := []string{"https://pages.example.test/verify/ACTIONTOKEN"}
	if text, page := urls.FindAllString(m.Text, -1), hrefs(t, m.HTML); !reflect.DeepEqual(text, want) || !reflect.DeepEqual(page, want) {
		t.Errorf("links %q and %q", text, page)
	}
	if strings.Contains(m.Text, "Somebody opened an account") || strings.Contains(m.Text, "has no link") || !strings.Contains(m.Text, "do nothing") {
		t.Errorf("the mail reads:\n%s", m.Text)
	}
}

func TestUnconfirmedAddressGetsNoLink(t *testing.T) {
	e := envelope()
	e.FreezeToken, e.ActionToken = "", ""
	for _, v := range every(testEvent, "x") {
		m := testHouse.Compose(v, e)
		if got := append(urls.FindAllString(m.Text, -1), hrefs(t, m.HTML)...); len(got) > 0 {
			t.Errorf("%s: links to %q", v.Kind(), got)
		}
		if !strings.Contains(m.Text, "Freeze without signing in") {
			t.Errorf("%s: does not say how to freeze", v.Kind())
		}
	}
}

var urls = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://\S+`)

// hrefs returns the links of an HTML mail and fails for anything that loads or runs.
func hrefs(t testing.TB, text string) []string {
	t.Helper()
	var found []string
	allowed := map[string]bool{"html": true, "head": true, "meta": true, "title": true, "body": true, "div": true, "h1": true,
		"p": true, "strong": true, "br": true, "a": true, "hr": true, "code": true}
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return found
		case html.StartTagToken, html.SelfClosingTagToken:
			tok := z.Token()
			if !allowed[tok.Data] {
				t.Errorf("html mail has a <%s>", tok.Data)
			}
			for _, a := range tok.Attr {
				switch a.Key {
				case "href":
					found = append(found, a.Val)
				case "style":
					if strings.Contains(a.Val, "url(") {
						t.Errorf("style loads something: %s", a.Val)
					}
				case "lang", "charset", "name", "content":
				default:
					t.Errorf("<%s> has an attribute %s", tok.Data, a.Key)
				}
			}
		}
	}
}

var hostile = []string{
	"https://evil.example/freeze/x", "www.evil.example", "evil.example", "evil。example", "e\u200bvil.exam\u00adple",
	"</p><a href=https://evil.example>Freeze my account</a>", "<script>alert(1)</script>", "<img src=//evil.example/x>",
	"x\r\nBcc: thief@evil.example", "x\nhttps://evil.example", "\u202egnp.exe", "javascript:alert(1)", "mailto:thief@evil.example",
	"FREEZETOKEN", "{{.FreezeURL}}", strings.Repeat("z\u0301\u0302\u0303\u0304", 500), "ftp:///evil.example", "\x00\x1b[31m", "\xff\xfe", "",
}

func TestHostileWordsStayWords(t *testing.T) {
	for _, s := range hostile {
		checkHostile(t, s)
	}
}

// FuzzHostileWords looks for a text that gets a link, a line or a tag of its own into a mail.
func FuzzHostileWords(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkHostile(t, s) })
}

func checkHostile(t *testing.T, s string) {
	t.Helper()
	sender, err := NewSMTP(SMTPConfig{Host: "127.0.0.1", Port: 25, TLS: Plain, From: "Holdfast <security@holdfast.test>"})
	if err != nil {
		t.Fatal(err)
	}
	e := Event{At: testTime, Place: s, Device: s, Address: s}
	for i, v := range every(e, s) {
		m := testHouse.Compose(v, envelope())
		tame := testHouse.Compose(every(testEvent, "x")[i], envelope())
		if m.Subject != tame.Subject {
			t.Errorf("%s: %q reached the subject %q", v.Kind(), s, m.Subject)
		}
		for _, u := range append(urls.FindAllString(m.Text, -1), hrefs(t, m.HTML)...) {
			if !strings.HasPrefix(u, testHouse.Base+"/") {
				t.Errorf("%s: %q made the link %q", v.Kind(), s, u)
			}
		}
		if got, want := strings.Count(m.Text, "\n"), strings.Count(tame.Text, "\n"); got > want {
			t.Errorf("%s: %q made %d lines, want %d", v.Kind(), s, got, want)
		}
		if got, want := strings.Count(m.HTML, "<"), strings.Count(tame.HTML, "<"); got > want {
			t.Errorf("%s: %q made %d tags, want %d", v.Kind(), s, got, want)
		}
		for _, r := range m.Text {
			if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Errorf("%s: %q left %U in the mail", v.Kind(), s, r)
			}
		}
		if i > 1 {
			continue // writing the message out is the same for all kinds
		}
		raw, err := sender.message(m)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if len(msg.Header) != 8 {
			t.Errorf("%q: headers %v", s, msg.Header)
		}
	}
}

func TestDeviceName(t *testing.T) {
	for agent, want := range map[string]string{
		"": "",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0": "Firefox on Windows",
		"go-binance/2.8.7":                   "go-binance",
		"https://evil.example/click Mozilla": "https[:]//evil[.]example/click Mozilla",
	} {
		if got := DeviceName(agent); got != want {
			t.Errorf("DeviceName(%q) = %q, want %q", agent, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Minute: "1 minute", 10 * time.Minute: "10 minutes", time.Hour: "60 minutes", 24 * time.Hour: "24 hours", 60 * 24 * time.Hour: "60 days",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "999": "999", "1000": "1,000", "30000.5": "30,000.5", "-123456": "-123,456", "1234567.123456": "1,234,567.123456", "x1000": "x1000", "": "",
	} {
		if got := grouped(in); got != want {
			t.Errorf("grouped(%q) = %q, want %q", in, got, want)
		}
	}
}
