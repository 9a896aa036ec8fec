package guard

import (
	"context"
	"time"

	"holdfast/account"
	"holdfast/ledger"
	"holdfast/permit"
)

// Screened is a withdrawal that somebody wants to request.
type Screened struct {
	Account account.ID
	// CredentialKind is "session", "api_key" or "credential"; FirstSeen is when its device or key
	// was first seen, zero when not known.
	CredentialKind string
	Credential     string
	FirstSeen      time.Time
	Asset          string
	Amount         ledger.Amount
	Address        string
	Internal       bool
}

// Screen looks at a withdrawal before it is requested. Package detect implements it.
type Screen interface {
	// Screen MUST answer within the context's time; an error is a hold, never an allow. The
	// function it returns, which may be nil, is run in the transaction that records the request
	// and MUST do nothing but database work; it writes down the signs that were seen.
	Screen(ctx context.Context, s Screened) (record func(ctx context.Context, tx *permit.Tx) error, err error)
}

func (g *Guard) askScreen(ctx context.Context, s Screened) (func(context.Context, *permit.Tx) error, error) {
	if g.screen == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.ScreenTime)
	defer cancel()
	return g.screen.Screen(ctx, s)
}
