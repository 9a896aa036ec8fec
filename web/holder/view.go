package holder

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/guard"
	"holdfast/web/page"
)

// view is who looks at a page and how their account stands: what every signed-in page shows
// around its own content.
type view struct {
	Mail       string
	Protective bool
	Protection protection
	Signs      []Sign
	Demo       bool
	Dir        string
	// Said is the code of what was just done, from the address.
	Said string
}

var ways = []page.Way{
	{Href: "/", Label: "Overview", Icon: "house"},
	{Href: "/activity", Label: "Activity", Icon: "activity"},
	{Href: "/devices", Label: "Devices", Icon: "monitor"},
	{Href: "/keys", Label: "API keys", Icon: "key-round"},
	{Href: "/security", Label: "Security", Icon: "shield"},
}

// frame is the page around the content for somebody who is signed in.
func (v view) frame(title, here string) page.Frame {
	f := page.Frame{Title: title, Holder: v.Mail, Here: here, Ways: ways, Freeze: page.FreezeOpen, Demo: v.Demo, Dir: v.Dir}
	if v.Protection.Frozen() {
		f.Freeze = page.FreezeDone
	}
	f.States = append(v.said(), v.states(here == "/")...)
	return f
}

// quiet is the frame of the guided response and of the receipts, which say the state themselves.
func (v view) quiet(title, here string) page.Frame {
	v.Signs = nil // of this copy
	f := v.frame(title, here)
	f.States = v.said()
	return f
}

// outside is the frame for somebody who is not signed in.
func (v view) outside(title string) page.Frame {
	return page.Frame{Title: title, Demo: v.Demo, Dir: v.Dir, States: v.said()}
}

// said is what was just done, as a banner.
func (v view) said() []page.Banner {
	if words, ok := saids[v.Said]; ok {
		return []page.Banner{{Title: words}}
	}
	return nil
}

// saids is what a page says after a press that led back to it. The address carries the code,
// never the words.
var saids = map[string]string{
	"not-frozen":      "You are signed out here, so nothing was frozen yet. Freeze below.",
	"already":         "Your account was already frozen. Nothing can leave it.",
	"signed-out":      "You are signed out.",
	"device-removed":  "Removed. That device is signed out.",
	"devices-removed": "Removed. Every other device is signed out.",
	"key-deleted":     "Deleted. Programs that used that key have stopped working.",
	"keys-deleted":    "Deleted. No key works any more.",
	"key-enabled":     "The key works again.",
	"password":        "Your password is changed. Every other device is signed out.",
	"password-set":    "Your password is set. Sign in with it.",
	"keys-kept":       "Your API keys are as they were.",
	"sign-dismissed":  "Thank you. We have noted that it was you.",
	"limit":           "Saved.",
	"phone":           "Saved.",
	"mail-asked":      "We have written to the new address. Nothing changes until the button behind the link in that mail is pressed.",
	"mail-changed":    "Your mail address is changed. Sign in with it.",
	"frozen":          "Your account is frozen, so nobody can sign in. A mailed code opens a protected view, where you can see and close.",
}

// states are the banners on top: frozen, held, or a sign that wants an answer.
func (v view) states(full bool) []page.Banner {
	var out []page.Banner
	if p := v.Protection; p.Frozen() {
		out = append(out, frozenBanner(p, full))
	} else {
		for _, s := range v.Signs {
			out = append(out, signBanner(s))
		}
		out = append(out, heldBanners(p.Blocks)...)
	}
	return out
}

func frozenBanner(p protection, full bool) page.Banner {
	b := page.Banner{Tone: page.Safe, Title: "Your account is frozen. Nothing can leave it."}
	if !p.Contained {
		b.Tone = page.Wait
		b.Text = []string{waitingFor(p)}
	}
	b.Facts = page.Facts{{Term: "Since", Value: page.Moment{At: p.FrozenAt}}}
	if len(p.Blocks) > 0 {
		b.Facts = append(b.Facts, page.Fact{Term: "What lifts it", Value: page.Text(p.Blocks[0].Lifts)})
	}
	if full {
		b.Facts = append(page.Facts{{Term: "What", Value: page.Text(fmt.Sprintf("Every exit: %d of them, listed below", len(byExit(p.Receipts))))}}, b.Facts...)
	}
	return b
}

// waitingFor names who has not confirmed yet.
func waitingFor(p protection) string {
	var names []string
	open := 0
	for _, of := range byExit(p.Receipts) {
		waits := false
		for _, r := range of {
			if r.Confirmed() {
				continue
			}
			waits = true
			if who := enforcer(r); who != "" && !slices.Contains(names, who) {
				names = append(names, who)
			}
		}
		if waits {
			open++
		}
	}
	return fmt.Sprintf("%s not confirmed yet. We are waiting for %s.", count(open, "exit is", "exits are"), list(names))
}

// heldBanners says each hold once, with all that it covers.
func heldBanners(blocks []block) []page.Banner {
	var out []page.Banner
	var seen []block
next:
	for _, b := range blocks {
		for _, s := range seen {
			if s.Kind == b.Kind && s.Until.Equal(b.Until) {
				continue next
			}
		}
		seen = append(seen, b)
		var same []block
		for _, o := range blocks {
			if o.Kind == b.Kind && o.Until.Equal(b.Until) {
				same = append(same, o)
			}
		}
		out = append(out, page.Banner{Tone: page.Wait, Title: b.Sentence, Facts: page.Facts{
			{Term: "What waits", Value: page.Text(blocked(same))},
			{Term: "Until", Value: page.Moment{At: b.Until, Never: "a restore"}},
			{Term: "What lifts it", Value: page.Text(b.Lifts)},
		}})
	}
	return out
}

func blocked(blocks []block) string {
	var titles []string
	for _, b := range blocks {
		titles = append(titles, lower(guard.Title(b.Exit)))
	}
	if len(titles) == 0 {
		return "Every exit"
	}
	s := list(titles)
	return strings.ToUpper(s[:1]) + s[1:]
}

// lower makes the first letter small, except in names such as API.
func lower(s string) string {
	if len(s) < 2 || (s[1] >= 'A' && s[1] <= 'Z') {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

func signBanner(s Sign) page.Banner {
	return page.Banner{Tone: page.Danger, Title: s.Words,
		Facts: page.Facts{{Term: "When", Value: page.Moment{At: s.At}}},
		Acts: page.Actions{
			page.Button{Label: "It was not me", Icon: "snowflake"}.Danger().To("/freeze?because=" + s.Rule),
			page.Form{Action: "/signs/dismiss", Hidden: []page.Hidden{{Name: "sign", Value: s.ID}}, Button: page.Button{Label: "It was me"}.Quiet()},
		}}
}

// receipts turns a freeze's answers into the list that is shown. live is where a script asks
// for it again, while something is not confirmed.
func receipts(p protection, live string) *page.Receipts { return receiptList(p, live, false) }

// folded is receipts for pages whose subject is something else.
func folded(p protection) *page.Receipts { return receiptList(p, "/freeze/receipts?folded=1", true) }

func receiptList(p protection, live string, fold bool) *page.Receipts {
	if !p.Frozen() {
		return nil
	}
	r := &page.Receipts{Frozen: p.FrozenAt, Folded: fold}
	if !p.Contained {
		r.Live = live
	}
	for _, of := range byExit(p.Receipts) {
		r.List = append(r.List, exit(of))
	}
	return r
}

// byExit groups receipts, which come sorted by exit: several enforcers may close the same one.
func byExit(all []receipt) [][]receipt {
	var groups [][]receipt
	for i, r := range all {
		if i == 0 || r.Exit != all[i-1].Exit {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], r)
	}
	return groups
}

// exit is one exit with the words of everyone who closes it: closed only when all of them have
// said so.
func exit(of []receipt) page.Receipt {
	item := page.Receipt{Exit: guard.Title(of[0].Exit), State: page.Closed}
	for _, x := range of {
		item.Answers = append(item.Answers, page.Answer{Enforcer: enforcer(x), Closed: x.Confirmed()})
		if !x.Confirmed() {
			item.State, item.Enforcer = page.Waiting, enforcer(x)
			continue
		}
		if x.ClosedAt.After(item.At) {
			item.At = x.ClosedAt
		}
		if x.Detail != "" && (item.What == "" || x.Stopped > 0 && enforcer(x) == "") {
			item.What = x.Detail
		}
	}
	switch {
	case item.State == page.Waiting:
		item.What = "" // the page says for whom it waits
	case item.What == "":
		item.What = guard.Closed(of[0].Exit)
	}
	return item
}

// refresh is how often a page without a script loads itself again.
func refresh(p protection) int {
	if p.Frozen() && !p.Contained {
		return 3
	}
	return 0
}

// left lists what may already have left before the freeze.
func left(ws []withdrawal) page.Part {
	if len(ws) == 0 {
		return nil
	}
	var out page.Cards
	for _, w := range ws {
		out = append(out, page.Card{Title: page.Amount{Number: w.Amount.String()}.Grouped() + " " + w.Asset, Icon: "triangle-alert",
			Tag:   page.Tag{Tone: page.Danger, Icon: "triangle-alert", Text: "May have left"},
			Facts: page.Facts{{Term: "To", Value: page.Address(w.Address)}, {Term: "Confirmed", Value: page.Moment{At: w.ConfirmedAt}}}})
	}
	return out
}

func frozenHeading(p protection) page.Part {
	return page.Phrase{page.Text("Frozen at "), page.Moment{At: p.FrozenAt, Only: "clock"}}
}

// frozenLede says what is true now, and keeps "frozen" and "contained" apart.
func frozenLede(p protection) string {
	if p.Contained {
		return fmt.Sprintf("Nothing can leave your account. %s.", allClosed(len(byExit(p.Receipts))))
	}
	return "Nothing that Holdfast decides can leave your account. " + waitingFor(p)
}

func allClosed(n int) string {
	if n == 1 {
		return "Its exit is closed"
	}
	return fmt.Sprintf("All %d exits are closed", n)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// list joins names as people do.
func list(names []string) string {
	switch len(names) {
	case 0:
		return "an answer"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func shownDevice(d device) page.Device {
	return page.Device{Browser: d.Browser, System: d.System, Place: d.Place, Address: d.Address, FirstSeen: d.FirstSeen}
}
