package detect

import (
	"fmt"
	"time"

	"holdfast/account"
	"holdfast/guard"
	"holdfast/ledger"
)

// Rule names what was seen.
type Rule string

// The rules.
const (
	// BalanceFell: the balance of an asset fell by more than the holder's limit within the window.
	BalanceFell Rule = "balance_fell"
	// NewSource: a withdrawal by a device or key first seen within the window.
	NewSource Rule = "new_source"
)

// Window is how far back the rules look.
const Window = 24 * time.Hour

// DefaultLimit is the fall, in percent, that is a sign when the holder chose none.
const DefaultLimit = 20

// Detail is what a sign is about. Which fields are set follows from the rule.
type Detail struct {
	Asset string `json:"asset,omitempty"`

	// Of BalanceFell: the highest balance in the window, the one now, the fall in whole percent
	// rounded down, and the limit.
	Before  ledger.Amount `json:"before,omitzero"`
	After   ledger.Amount `json:"after,omitzero"`
	Percent int           `json:"percent,omitempty"`
	Limit   int           `json:"limit,omitempty"`

	// Of NewSource: "session", "api_key" or "credential", its id and name, when its device or key
	// was first seen (zero when not known), and the withdrawal.
	Kind       string        `json:"kind,omitempty"`
	Credential string        `json:"credential,omitempty"`
	Name       string        `json:"name,omitempty"`
	FirstSeen  time.Time     `json:"first_seen,omitzero"`
	Amount     ledger.Amount `json:"amount,omitzero"`
	Address    string        `json:"address,omitempty"`
	Internal   bool          `json:"internal,omitempty"`
}

// fell is the rule BalanceFell. peak is the highest balance in the window. It is pure.
func fell(asset string, peak, now ledger.Amount, limit int) (Detail, bool) {
	if limit <= 0 || limit > 100 {
		limit = DefaultLimit
	}
	if !ledger.FellBy(peak, now, limit) {
		return Detail{}, false
	}
	percent := 100
	if lost, err := peak.Sub(now); err == nil {
		percent = min(lost.Percent(peak), 100)
	}
	return Detail{Asset: asset, Before: peak, After: now, Percent: percent, Limit: limit}, true
}

// fresh is the rule NewSource. A device or key whose first use is not known counts as new: the
// sign is a mail, and a mail too many is the cheaper mistake. The platform acting by itself is
// neither a device nor a key. It is pure.
func fresh(s guard.Screened, now time.Time) (Detail, bool) {
	if s.CredentialKind == "" || s.CredentialKind == "platform" || !s.FirstSeen.IsZero() && now.Sub(s.FirstSeen) >= Window {
		return Detail{}, false
	}
	return Detail{
		Asset: s.Asset, Kind: s.CredentialKind, Credential: s.Credential, FirstSeen: s.FirstSeen,
		Amount: s.Amount, Address: s.Address, Internal: s.Internal,
	}, true
}

// What is the word for a new source.
func (d Detail) What() string {
	switch d.Kind {
	case "session":
		return "device"
	case "api_key":
		return "API key"
	default:
		return "key or session"
	}
}

// Sign is something that a takeover looks like. It accuses nobody: the holder is asked.
type Sign struct {
	ID      string
	Account account.ID
	Rule    Rule
	At      time.Time
	Detail  Detail
	// Seen is when the holder answered it; zero before.
	Seen time.Time
}

// Sentence is the sign in one sentence for the holder. Names in it are the words of whoever chose
// them; a page must escape them.
func (s Sign) Sentence() string {
	d := s.Detail
	switch s.Rule {
	case BalanceFell:
		return fmt.Sprintf("Your balance of %s fell by %d %% within 24 hours, from %s to %s. Was it you?", d.Asset, d.Percent, d.Before, d.After)
	case NewSource:
		how := "A withdrawal"
		if d.Internal {
			how = "A transfer"
		}
		name := ""
		if d.Name != "" {
			name = fmt.Sprintf(" (%q)", d.Name)
		}
		return fmt.Sprintf("%s of %s %s was requested by a %s%s that is less than a day old. Was it you?", how, d.Amount, d.Asset, d.What(), name)
	default:
		return "Something unusual happened on your account. Was it you?"
	}
}
