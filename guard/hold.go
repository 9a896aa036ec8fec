package guard

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"holdfast/account"
	"holdfast/permit"
)

// HoldKind says why something is held; it is the stable word of the API.
type HoldKind string

// The kinds of holds.
const (
	HeldPasswordChanged HoldKind = "password_changed"
	HeldPasswordReset   HoldKind = "password_reset"
	HeldMailChanged     HoldKind = "mail_changed"
	HeldPhoneChanged    HoldKind = "phone_changed"
	HeldRestored        HoldKind = "restored"
	HeldUnproven        HoldKind = "unproven_report"
	HeldNewKey          HoldKind = "new_key"
	HeldOperator        HoldKind = "operator"
	HeldScreen          HoldKind = "screen"
	// Frozen is not a hold but stands in its place: only a restore ends it.
	Frozen HoldKind = "frozen"
)

//go:embed holds.json
var holdsFile []byte

// Lengths says how long each kind of hold lasts.
type Lengths map[HoldKind]time.Duration

// DefaultLengths reads the lengths that come with Holdfast, with their sources, from holds.json.
func DefaultLengths() (Lengths, error) {
	var file struct {
		Lengths []struct {
			Kind  HoldKind `json:"kind"`
			Hours int      `json:"hours"`
		} `json:"lengths"`
	}
	if err := json.Unmarshal(holdsFile, &file); err != nil {
		return nil, fmt.Errorf("guard: hold lengths: %w", err)
	}
	lengths := Lengths{}
	for _, l := range file.Lengths {
		lengths[l.Kind] = time.Duration(l.Hours) * time.Hour
	}
	return lengths, nil
}

// Hold is a timed block that somebody placed on one exit.
type Hold struct {
	Exit   permit.Exit
	Kind   HoldKind
	Reason string
	Ends   time.Time
}

// Facts is everything from which it follows what is blocked.
type Facts struct {
	FrozenAt   time.Time
	RestoredAt time.Time
	Account    account.Facts
	Holds      []Hold
}

// Block is one exit that is blocked: until when, why, and what lifts it.
type Block struct {
	Exit permit.Exit
	Kind HoldKind
	// Until is when the block ends by itself; zero when only a restore ends it.
	Until time.Time
	// Sentence says it to the holder; Lifts says what ends it.
	Sentence string
	Lifts    string
}

// Blocked returns what blocks the exit at the given time, and whether anything does. A freeze
// outweighs every hold; of several holds the one that ends last is returned. It is pure.
func (l Lengths) Blocked(f Facts, exit permit.Exit, now time.Time) (Block, bool) {
	if !f.FrozenAt.IsZero() {
		return Block{
			Exit: exit, Kind: Frozen,
			Sentence: "Your account is frozen. Nothing can leave it.",
			Lifts:    "A restore: two people on the platform's side approve it after checking that you are you.",
		}, true
	}
	var longest Block
	offer := func(kind HoldKind, until time.Time) {
		if until.After(now) && until.After(longest.Until) {
			longest = Block{Exit: exit, Kind: kind, Until: until, Sentence: sentence(kind), Lifts: "It ends by itself at the time shown. Nobody can end it early."}
		}
	}
	if e, _ := find(heldAs(exit)); e.moves {
		for _, fact := range []struct {
			kind HoldKind
			at   time.Time
		}{
			{HeldPasswordChanged, f.Account.PasswordChangedAt},
			{HeldPasswordReset, f.Account.PasswordResetAt},
			{HeldMailChanged, f.Account.MailChangedAt},
			{HeldPhoneChanged, f.Account.PhoneChangedAt},
			{HeldRestored, f.RestoredAt},
		} {
			if !fact.at.IsZero() {
				offer(fact.kind, fact.at.Add(l[fact.kind]))
			}
		}
	}
	for _, h := range f.Holds {
		if h.Exit == exit || h.Exit == heldAs(exit) {
			offer(h.Kind, h.Ends)
		}
	}
	return longest, !longest.Until.IsZero()
}

// Blocks returns what is blocked at the given time among the exits given, in their order on
// screens.
func (l Lengths) Blocks(f Facts, among []permit.Exit, now time.Time) []Block {
	var blocks []Block
	for _, exit := range among {
		if b, ok := l.Blocked(f, exit, now); ok {
			blocks = append(blocks, b)
		}
	}
	slices.SortStableFunc(blocks, func(a, b Block) int { return rank(a.Exit, b.Exit) })
	return blocks
}

func sentence(kind HoldKind) string {
	switch kind {
	case HeldPasswordChanged:
		return "Withdrawals wait because the password was changed."
	case HeldPasswordReset:
		return "Withdrawals wait because the password was reset by mail."
	case HeldMailChanged:
		return "Withdrawals wait because the mail address was changed."
	case HeldPhoneChanged:
		return "Withdrawals wait because the phone number was changed."
	case HeldRestored:
		return "Withdrawals wait because the account was frozen and has been restored."
	case HeldUnproven:
		return "Withdrawals wait because somebody reported that this account may be at risk."
	case HeldNewKey:
		return "This API key is new. It cannot withdraw yet."
	case HeldScreen:
		return "Withdrawals wait because a check could not be finished."
	default:
		return "This is held."
	}
}
