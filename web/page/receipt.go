package page

import (
	"fmt"
	"time"
)

// ReceiptState is where an exit stands after a freeze.
type ReceiptState string

// A closed exit has a filled disc with a tick, a waiting one a broken ring, and one whose
// assets may already have left a triangle: three shapes, not only three colours.
const (
	Closed  ReceiptState = "closed"
	Waiting ReceiptState = "waiting"
	Left    ReceiptState = "left"
)

// Receipt is one exit after a freeze.
type Receipt struct {
	// Exit is its name for people: "API keys".
	Exit string
	// Enforcer is who closes it; empty for Holdfast itself.
	Enforcer string
	State    ReceiptState
	// At is when it was confirmed closed.
	At time.Time
	// What says what it stopped: "2 withdrawals cancelled, 0.41 BTC stayed here".
	What string
	// Answers are the words of all enforcers where several close the exit; none means that the
	// one named above answers alone.
	Answers []Answer
}

// Answer is one enforcer's word about an exit.
type Answer struct {
	Enforcer string // empty for Holdfast itself
	Closed   bool
}

func (r Receipt) answers() []Answer {
	if len(r.Answers) > 0 {
		return r.Answers
	}
	return []Answer{{r.Enforcer, r.State == Closed}}
}

// Icon is the shape of the state.
func (r Receipt) Icon() string {
	switch r.State {
	case Closed:
		return "check"
	case Left:
		return "triangle-alert"
	}
	return "circle-dashed"
}

// Clock is the time of the receipt.
func (r Receipt) Clock() Moment { return Moment{At: r.At, Only: "clock"} }

// Receipts is the list of a freeze. Holdfast's own word and the enforcers' are counted apart.
type Receipts struct {
	// Frozen is when the freeze was acknowledged.
	Frozen time.Time
	List   []Receipt
	// Live is the address from which a script fetches this list again; empty when all is said.
	Live string
	// Folded shows the count alone, and the list when it is opened: for pages whose subject is
	// something else.
	Folded bool
}

func (Receipts) part() string { return "receipts" }

// All and Done count exits, Waits says how many are not confirmed.
func (r Receipts) All() int { return len(r.List) }

// Done counts the exits that are confirmed closed.
func (r Receipts) Done() int {
	n := 0
	for _, x := range r.List {
		if x.State == Closed {
			n++
		}
	}
	return n
}

// Contained reports whether every exit is confirmed.
func (r Receipts) Contained() bool { return r.All() > 0 && r.Done() == r.All() }

// Moment is the time of the freeze.
func (r Receipts) Moment() Moment { return Moment{At: r.Frozen, Only: "clock"} }

// Lines keep two sentences apart: what Holdfast has closed, and what others have confirmed.
func (r Receipts) Lines() []string {
	var own, ownDone int
	var order []string
	done, all := map[string]int{}, map[string]int{}
	for _, x := range r.List {
		for _, a := range x.answers() {
			if a.Enforcer == "" {
				own++
				if a.Closed {
					ownDone++
				}
				continue
			}
			if all[a.Enforcer] == 0 {
				order = append(order, a.Enforcer)
			}
			all[a.Enforcer]++
			if a.Closed {
				done[a.Enforcer]++
			}
		}
	}
	var lines []string
	if own > 0 {
		lines = append(lines, fmt.Sprintf("Holdfast has closed %d of %d", ownDone, own))
	}
	for _, name := range order {
		lines = append(lines, fmt.Sprintf("%s has confirmed %d of %d", name, done[name], all[name]))
	}
	return lines
}

// Timeline is what happened, newest first.
type Timeline []Entry

// Entry is one thing that happened.
type Entry struct {
	Icon  string
	Tone  Tone
	Title string
	At    Moment
	Lines []Part
	Acts  Actions
}

func (Timeline) part() string { return "timeline" }
