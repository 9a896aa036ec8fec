package guard

import (
	"slices"
	"strings"

	"holdfast/permit"
)

// ours is the enforcer's name under which Holdfast itself closes an exit.
const ours = "holdfast"

// exitInfo is what people read about an exit.
type exitInfo struct {
	exit permit.Exit
	// title is the exit as a person would name it.
	title string
	// closed is what is true once it is closed.
	closed string
	// own says that Holdfast itself closes it, in the transaction of the freeze.
	own bool
	// moves says that assets leave through it, so that holds on payouts cover it.
	moves bool
}

// exits lists every standard exit in the order in which screens show them. An exit that neither
// Holdfast nor an enforcer closes is not one that the account has, and is not counted.
var exits = []exitInfo{
	{exit: permit.PendingWithdrawal, title: "Pending withdrawals", closed: "Nothing that waited will be sent", own: true, moves: true},
	{exit: permit.WithdrawalRequest, title: "New withdrawals", closed: "No withdrawal can be requested", own: true, moves: true},
	{exit: permit.InternalTransfer, title: "Transfers to other users", closed: "No transfer can be made", own: true, moves: true},
	{exit: permit.APIKey, title: "API keys", closed: "No key works", own: true},
	{exit: permit.Session, title: "Signed-in sessions", closed: "Everyone else is signed out", own: true},
	{exit: permit.SignIn, title: "Sign-in", closed: "Nobody can sign in, except to protect the account", own: true},
	{exit: permit.RememberedDevice, title: "Remembered devices", closed: "No device is trusted any more", own: true},
	{exit: permit.SecuritySetting, title: "Security settings", closed: "Nothing that opens the account can be changed", own: true},
	{exit: permit.SupportChange, title: "Changes by support", closed: "No single person can open the account", own: true},
	{exit: permit.Order, title: "New orders", closed: "No order can be placed"},
	{exit: permit.OpenOrder, title: "Open orders", closed: "No order is left that could fill"},
	{exit: permit.AddressBook, title: "Withdrawal addresses", closed: "No address can be added"},
}

func find(exit permit.Exit) (exitInfo, bool) {
	i := slices.IndexFunc(exits, func(e exitInfo) bool { return e.exit == exit })
	if i < 0 {
		return exitInfo{}, false
	}
	return exits[i], true
}

// heldAs is the exit whose holds cover this one, too. What an integrator's own exit lets out is not
// known here, so it counts as one through which assets leave: a card or a loan would otherwise stay
// open while withdrawals wait after a reset or a restore.
func heldAs(exit permit.Exit) permit.Exit {
	if !standard(exit) {
		return permit.WithdrawalRequest
	}
	return exit
}

// Known reports whether exit can be named in a check: a standard exit, or an integrator's own,
// which begins with "x_" and has at most 64 letters, digits and underscores.
func Known(exit permit.Exit) bool {
	if _, ok := find(exit); ok {
		return true
	}
	own, ok := strings.CutPrefix(string(exit), "x_")
	return ok && own != "" && len(exit) <= 64 && strings.Trim(own, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// Title returns the exit as a person would name it.
func Title(exit permit.Exit) string {
	if e, ok := find(exit); ok {
		return e.title
	}
	own := strings.TrimPrefix(string(exit), "x_")
	return strings.ToUpper(own[:1]) + strings.ReplaceAll(own[1:], "_", " ")
}

// Closed returns what is true once the exit is closed, in one sentence.
func Closed(exit permit.Exit) string {
	if e, ok := find(exit); ok {
		return e.closed
	}
	return "Closed"
}

// rank orders exits on screens: standard ones in their order, then integrators' own by name.
func rank(a, b permit.Exit) int {
	place := func(x permit.Exit) int {
		i := slices.IndexFunc(exits, func(e exitInfo) bool { return e.exit == x })
		if i < 0 {
			return len(exits)
		}
		return i
	}
	if d := place(a) - place(b); d != 0 {
		return d
	}
	return strings.Compare(string(a), string(b))
}
