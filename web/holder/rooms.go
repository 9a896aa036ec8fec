package holder

import "time"

// What the pages show, as the rooms give it.

type protection struct {
	FrozenAt    time.Time
	Contained   bool
	ContainedAt time.Time
	Blocks      []block
	Receipts    []receipt
	MayHaveLeft []withdrawal
}

func (p protection) Frozen() bool { return !p.FrozenAt.IsZero() }

type block struct {
	Kind, Title, Sentence, Lifts string
	Until                        time.Time
}

type receipt struct {
	Title    string // the exit, as a person would name it
	Closed   string // what is true once it is closed
	Enforcer string // empty for Holdfast itself
	ClosedAt time.Time
	Detail   string
}

type withdrawal struct {
	Amount, Asset, Address string
	ConfirmedAt            time.Time
}

type sign struct {
	ID, Rule, Detail string
	At               time.Time
}

type device struct {
	ID, Name, Browser, System, Address, Place string
	FirstSeen, LastSeen                       time.Time
	This                                      bool
}

type key struct {
	ID, Label, Kind, State    string
	Scopes, Addresses         []string
	CreatedAt, ExpiresAt      time.Time
	LastUsedAt, WithdrawsFrom time.Time
	LastUsedAddress           string
}

type balance struct{ Asset, Amount string }

// happening is one line of the activity: a movement, a sign-in or a change.
type happening struct {
	Kind   string // "movement", "sign_in", "change"
	Name   string // kind of the movement, or name of the act
	At     time.Time
	Actor  string
	Device device
	// Of a movement.
	Asset, Delta, Before, After, Detail string
	Gap                                 bool
	Refused                             bool
}
