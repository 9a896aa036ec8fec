package holder

import (
	"strings"
	"testing"
)

// A place in the activity comes back from the address bar: whatever stands there is a place or the
// beginning, and what a place prints is read back.
func FuzzPlace(f *testing.F) {
	for _, seed := range []string{"", "1.2.3", "1777774447000000.3.7", "-1.0.0", "1.2", "9223372036854775807.9223372036854775807.9223372036854775807"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := parseSince(text)
		if s.seq < 0 || s.place.Seq < 0 {
			t.Fatalf("%q became %v", text, s)
		}
		if again := parseSince(s.String()); again.seq != s.seq || again.place.Seq != s.place.Seq || !again.place.At.Equal(s.place.At) {
			t.Fatalf("%q: %v became %v", text, s, again)
		}
	})
}

// Mails carry what strangers wrote; a link found in one leads to our own pages or is not shown.
func FuzzMailLinks(f *testing.F) {
	f.Add("Freeze: https://holdfast.test/freeze/ABC\n")
	f.Add("https://holdfast.test//evil.example/freeze/ https://holdfast.test/freeze/..//evil")
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range mailLinks("https://holdfast.test", text) {
			if !strings.HasPrefix(l.Href, "/freeze/") && !strings.HasPrefix(l.Href, "/verify/") && !strings.HasPrefix(l.Href, "/reset/") && l.Href != "/freeze" && l.Href != "/verify" && l.Href != "/reset" {
				t.Fatalf("%q leads to %q", text, l.Href)
			}
		}
	})
}
