package notice

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mileusna/useragent"

	"holdfast/evidence"
)

// Event is where, on what and when something happened, as the mail tells it. Every field but At may
// be empty, and every text may have been chosen by a thief.
type Event struct {
	At      time.Time `json:"at"`
	Place   string    `json:"place,omitempty"`
	Device  string    `json:"device,omitempty"`
	Address string    `json:"address,omitempty"`
}

// EventOf returns the event of an act by by at a time. The device is told from the User-Agent;
// set Device afterwards where a better name is known.
func EventOf(by evidence.Actor, at time.Time) Event {
	return Event{At: at, Place: by.Place, Device: DeviceName(by.Agent), Address: by.Address}
}

// DeviceName tells a browser and system from a User-Agent: "Firefox on Windows". It is a hint for
// people and proves nothing. An agent that is no known browser is named by its first word.
func DeviceName(agent string) string {
	if agent == "" {
		return ""
	}
	ua := useragent.Parse(agent)
	switch {
	case ua.Name != "" && ua.OS != "":
		return clean(ua.Name+" on "+ua.OS, 60)
	case ua.Name != "":
		return clean(ua.Name, 60)
	}
	word, _, _ := strings.Cut(strings.TrimSpace(agent), " ")
	return clean(word, 60)
}

// clean makes a text that somebody else chose fit to stand in a mail: one line, no characters that
// hide or reorder others, at most limit characters, and nothing that a mail program would turn into
// a link. A thief names a device or a key; the name must not become the link that the mail seems
// to recommend.
func clean(s string, limit int) string {
	var b strings.Builder
	count, marks, space := 0, 0, false
	for _, r := range s {
		switch {
		case r == utf8.RuneError, unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs):
			continue // bidi overrides, zero-width characters, private use
		case unicode.IsSpace(r), unicode.IsControl(r):
			space = b.Len() > 0
			continue
		case unicode.Is(unicode.M, r):
			if marks++; marks > 2 {
				continue // towers of marks reach over neighbouring lines
			}
		case strings.ContainsRune("。．｡․", r):
			r, marks = '.', 0 // browsers read these as the dot of a domain name
		default:
			marks = 0
		}
		if space {
			b.WriteByte(' ')
			space = false
			count++
		}
		if count++; count > limit {
			return unlink(b.String()) + "…"
		}
		b.WriteRune(r)
	}
	return unlink(b.String())
}

var (
	scheme = regexp.MustCompile(`:+/+`)
	dotted = regexp.MustCompile(`\.([^\s\d.])`)
)

// unlink breaks what mail programs recognise as a link, in the way that people who handle hostile
// links write them: evil[.]example.
func unlink(s string) string {
	s = scheme.ReplaceAllString(s, "[:]//")
	s = dotted.ReplaceAllString(s, "[.]$1")
	return strings.ReplaceAll(s, "mailto:", "mailto[:]")
}

var plainMail = regexp.MustCompile(`^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+){1,8}$`)

// cleanMail is clean for a mail address, which stays readable when it is an ordinary one.
func cleanMail(s string) string {
	if len(s) <= 254 && plainMail.MatchString(s) {
		return s
	}
	return clean(s, 254)
}

// moment writes a time for a reader whose zone we do not know.
func moment(t time.Time) string {
	return t.UTC().Format("Monday 2 January 2006 at 15:04:05 UTC")
}

// span writes a length of time in words.
func span(d time.Duration) string {
	n, unit := int64(d/time.Minute), "minute"
	switch {
	case d >= 48*time.Hour:
		n, unit = int64(d/(24*time.Hour)), "day"
	case d >= 2*time.Hour:
		n, unit = int64(d/time.Hour), "hour"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
