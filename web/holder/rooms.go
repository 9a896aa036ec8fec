package holder

import (
	"context"
	"net/netip"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/guard"
	"holdfast/ledger"
	"holdfast/notice"
)

// Sign is something unusual that wants the holder's answer.
type Sign struct {
	ID string
	// Rule is "balance_fell" or "new_source".
	Rule string
	// Words say what was seen, and ask whether it was the holder.
	Words string
	At    time.Time
}

// Signs reads and answers signs. It is functions, so that the pages do not depend on how signs are
// found; a nil function means that nothing looks for signs.
type Signs struct {
	// Open returns the signs that the holder has not answered, newest first.
	Open func(ctx context.Context, id account.ID) ([]Sign, error)
	// Dismiss records that it was the holder. Dismissing twice MUST succeed.
	Dismiss func(ctx context.Context, by evidence.Actor, id account.ID, sign string) error
}

// What the pages show, as the rooms give it.
type (
	protection = guard.Protection
	block      = guard.Block
	receipt    = guard.Receipt
	withdrawal = guard.Withdrawal
	device     = account.Device
	key        = account.Key
	balance    = ledger.Balance
	movement   = ledger.Movement
	localMail  = notice.Mail
)

// prefixes says a list of addresses as people wrote it: a single address without its length.
func prefixes(list []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
		} else {
			out = append(out, p.String())
		}
	}
	return out
}

// enforcer is who closes an exit beside Holdfast itself; empty for Holdfast.
func enforcer(r receipt) string {
	switch {
	case r.Enforcer == "holdfast":
		return ""
	case r.Title != "":
		return r.Title
	}
	return r.Enforcer
}
