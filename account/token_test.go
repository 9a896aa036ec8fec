package account

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"holdfast/store"
)

func FuzzParseToken(f *testing.F) {
	token, _, err := newToken(SessionToken, ID(store.NewID()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token.Reveal())
	f.Add(token.Reveal()[1:])
	f.Add(token.Reveal() + "=")
	f.Fuzz(func(t *testing.T, text string) {
		id, hash, err := ParseToken(SessionToken, text)
		if err != nil {
			return
		}
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || base64.RawURLEncoding.EncodeToString(raw) != text || len(id) != 36 || len(hash) != 32 {
			t.Fatalf("%q is read as %q", text, id)
		}
		_, other, err := ParseToken(RememberToken, text)
		if err != nil || string(other) == string(hash) {
			t.Fatal("a session's token is worth something as another kind")
		}
	})
}

func TestATokenNamesItsAccount(t *testing.T) {
	id := ID(store.NewID())
	token, hash, err := newToken(SessionToken, id)
	must(t, err)
	got, gotHash, err := ParseToken(SessionToken, token.Reveal())
	if err != nil || got != id || string(gotHash) != string(hash) || len(token.Reveal()) != 64 {
		t.Errorf("%s %v", got, err)
	}
	if _, _, err := newToken(SessionToken, "not a uuid"); err == nil {
		t.Error("a token of no account")
	}
}

func TestSecretsDoNotPrintThemselves(t *testing.T) {
	s := struct{ Token Secret }{"hidden-thing"}
	text, err := json.Marshal(s)
	must(t, err)
	if all := fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s.Token, s.Token) + string(text); strings.Contains(all, "hidden-thing") {
		t.Error(all)
	}
}

func FuzzNormaliseMail(f *testing.F) {
	for _, s := range []string{"Holder@Holdfast.test", " a@b ", "a@@b", "a b@c", "ü@exämple.test", "\"a b\"@c.d", "a@b..c", "a\r\nBcc: x@y.z", strings.Repeat("a", 300) + "@b.c", "a@-b.c", "İ@x.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		mail, err := NormaliseMail(text)
		if err != nil {
			return
		}
		again, err := NormaliseMail(mail)
		if err != nil || again != mail {
			t.Fatalf("%q becomes %q and that %q, %v", text, mail, again, err)
		}
		if strings.ContainsAny(mail, "\r\n\t <>,;\"\x00") || strings.Count(mail, "@") != 1 || len(mail) > 254 {
			t.Fatalf("%q is no address for a header", mail)
		}
	})
}

func TestOneAddressHasOneForm(t *testing.T) {
	for text, want := range map[string]string{
		"Holder@Holdfast.TEST":              "holder@holdfast.test",
		"  a@b.test\n":                      "a@b.test",
		"u\u0308@x.test":                    "ü@x.test",
		"a@ex\u00e4mple.test":               "a@xn--exmple-cua.test",
		"a@XN--EXMPLE-CUA.test":             "a@xn--exmple-cua.test",
		"first.last+tag@x.y.test":           "first.last+tag@x.y.test",
		"holder@localhost":                  "holder@localhost",
		"a@b@c.test":                        "",
		".a@b.test":                         "",
		"a..b@c.test":                       "",
		"a@b_c.test":                        "",
		"a@[192.0.2.1]":                     "",
		"a\u202e@b.test":                    "",
		"holder@holdfast.test.":             "",
		"Someone <a@b.test>":                "",
		strings.Repeat("a", 65) + "@b.test": "",
	} {
		got, err := NormaliseMail(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v, want %q", text, got, err, want)
		}
	}
}
