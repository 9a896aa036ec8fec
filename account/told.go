package account

import (
	"context"
	"fmt"
	"net/netip"

	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// Mails queues what people are told and what public forms were given. *notice.Post implements it.
type Mails interface {
	// Queue MUST write the notice in the given transaction and nowhere else.
	Queue(ctx context.Context, tx notice.Tx, n notice.Notice) error
	// EnqueuePublic MUST run the same statements whatever the payload.
	EnqueuePublic(ctx context.Context, tx *store.Tx, kind string, payload any) error
	// Handle registers what deals with a form; the handler may run more than once.
	Handle(kind string, h notice.Handler)
}

// tell queues a mail to every verified address of the last 30 days: a thief who changed the address
// last week must not be the only one to read it.
func (a *Accounts) tell(ctx context.Context, tx *permit.Tx, vars notice.Vars) error {
	to, err := Addresses(ctx, tx, tx.Standing.Account, tx.Now().Add(-month))
	if err != nil {
		return err
	}
	return a.tellAt(ctx, tx, to, vars)
}

func (a *Accounts) tellAt(ctx context.Context, tx *permit.Tx, to []string, vars notice.Vars) error {
	if err := a.mails.Queue(ctx, tx, notice.Notice{Account: tx.Standing.Account, To: to, Vars: vars}); err != nil {
		return fmt.Errorf("queue mail: %w", err)
	}
	return nil
}

// enqueue hands what a public form was given to its job.
func (a *Accounts) enqueue(ctx context.Context, kind string, payload any) error {
	return a.db.Housekeep(ctx, func(tx *store.Tx) error {
		return a.mails.EnqueuePublic(ctx, tx, kind, payload)
	})
}

// Source names where a try at a public door came from, for counting: an IPv4 address, or the /64 of
// an IPv6 address, because one home has all of it.
func Source(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}

func words(list []netip.Prefix) []string {
	out := make([]string, 0, len(list))
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}
