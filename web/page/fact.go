package page

import (
	"strings"
	"time"
)

// Text is plain text as a part.
type Text string

func (Text) part() string { return "text" }

// Lines is several parts one under the other.
type Lines []Part

func (Lines) part() string { return "lines" }

// Phrase is several parts on one line: words with a time in them.
type Phrase []Part

func (Phrase) part() string { return "phrase" }

// Link is a link inside text.
type Link struct{ Href, Label string }

func (Link) part() string { return "link" }

// Moment is a point in time. The server writes it in UTC and says so; the page's script
// rewrites it in the reader's zone, with how long ago it was, and back to UTC on demand.
type Moment struct {
	At time.Time
	// Only is "" for date and time, "clock" for the time with seconds, "date" for the day.
	Only string
	// Never is shown when At is zero.
	Never string
}

func (Moment) part() string { return "moment" }

// Machine is the form that a script reads (RFC 3339).
func (m Moment) Machine() string { return m.At.UTC().Format(time.RFC3339) }

// Shown is the form for people without a script.
func (m Moment) Shown() string {
	switch m.Only {
	case "clock":
		return m.At.UTC().Format("15:04:05 UTC")
	case "date":
		return m.At.UTC().Format("2 January 2006")
	}
	return m.At.UTC().Format("2 January 2006, 15:04 UTC")
}

// Missing reports that there is no time to show.
func (m Moment) Missing() bool { return m.At.IsZero() }

// Amount is a decimal number of an asset. Signed shows "+" for what came in.
type Amount struct {
	Number string
	Asset  string
	Signed bool
}

func (Amount) part() string { return "amount" }

// Out reports whether the amount left.
func (a Amount) Out() bool { return strings.HasPrefix(a.Number, "-") }

// Grouped is the number with its digits in threes and a true minus sign. Text that is not a
// plain decimal is returned as it is.
func (a Amount) Grouped() string {
	n := a.Number
	sign := ""
	switch {
	case strings.HasPrefix(n, "-"):
		sign, n = "\u2212", n[1:]
	case strings.HasPrefix(n, "+"):
		n = n[1:]
		fallthrough
	case a.Signed:
		sign = "+"
	}
	whole, rest, point := strings.Cut(n, ".")
	if whole == "" || strings.Trim(whole, "0123456789") != "" || strings.Trim(rest, "0123456789") != "" {
		return a.Number
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, d := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	if point {
		b.WriteByte('.')
		b.WriteString(rest)
	}
	return b.String()
}

// Address is a destination on a network, or any id that people compare: first and last six
// characters strong, with a button that copies it.
type Address string

func (Address) part() string { return "address" }

// First, Middle and Last are the pieces of the address; a short one is all First.
func (a Address) First() string { f, _, _ := a.cut(); return f }

// Middle is what stands between the strong ends.
func (a Address) Middle() string { _, m, _ := a.cut(); return m }

// Last is the strong end.
func (a Address) Last() string { _, _, l := a.cut(); return l }

func (a Address) cut() (first, middle, last string) {
	r := []rune(string(a))
	if len(r) <= 14 {
		return string(r), "", ""
	}
	return string(r[:6]), string(r[6 : len(r)-6]), string(r[len(r)-6:])
}

// Device is a browser on a system at a place, in one line: "Firefox on Windows, Lyon (FR),
// first seen 3 May".
type Device struct {
	Browser, System, Place, Address string
	FirstSeen                       time.Time
}

func (Device) part() string { return "device" }

// Name is the browser and system, or what is known of them.
func (d Device) Name() string {
	switch {
	case d.Browser != "" && d.System != "":
		return d.Browser + " on " + d.System
	case d.Browser != "":
		return d.Browser
	case d.System != "":
		return d.System
	}
	return "Unknown device"
}

// First is when it was first seen.
func (d Device) First() Moment { return Moment{At: d.FirstSeen, Only: "date"} }
