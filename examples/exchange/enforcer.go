package exchange

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
)

// enforcedExits are those that this exchange truly closes itself.
var enforcedExits = []string{exitOrder, exitOpenOrder, exitPendingWithdrawal, exitInternalTransfer}

// enforcer follows Holdfast's closings and carries them out. What it closes and the receipt
// for it are written in one transaction with the position of the stream, so a crash at any
// moment repeats a closing or leaves it done, and the counts stay true.
type enforcer struct {
	bell chan struct{}
	// heard is when the stream last said anything, in microseconds; 0 before the first time.
	heard atomic.Int64
	// halted is set while Holdfast's database has lost closings that were applied here.
	halted atomic.Bool

	mu     sync.Mutex
	epochs map[string]int64 // highest epoch known of each account; never below the stored one
}

func newEnforcer() *enforcer {
	return &enforcer{bell: make(chan struct{}, 1), epochs: map[string]int64{}}
}

const (
	// silentFor is how long the stream may be silent (its heartbeat comes every five
	// seconds) before it counts as lost.
	silentFor = 12 * time.Second
	// reconnectAfter is the pause before a lost stream is opened again; it doubles up to
	// reconnectAtMost.
	reconnectAfter  = 100 * time.Millisecond
	reconnectAtMost = 2 * time.Second
)

// errHalted: a database that has lost history may have lost freezes, so until people have
// put it right nothing that it allows is done.
var errHalted = fmt.Errorf("%w: its database has lost history", errUnavailable)

// epochOf returns the highest epoch that this exchange has heard of for the account.
func (x *Exchange) epochOf(account string) int64 {
	x.enforcer.mu.Lock()
	defer x.enforcer.mu.Unlock()
	return x.enforcer.epochs[account]
}

// raise notes the epoch of a closing and reports whether the closing is not out of date.
func (e *enforcer) raise(c *holdfastv1.Closing) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	known := e.epochs[c.GetAccountId()]
	if c.GetEpoch() < known {
		return false
	}
	if c.GetKind() == "freeze" || c.GetKind() == "restore" {
		e.epochs[c.GetAccountId()] = c.GetEpoch()
	}
	return true
}

func (x *Exchange) loadEpochs(ctx context.Context) error {
	type row struct {
		account string
		epoch   int64
	}
	rows, err := collect(ctx, x.db.read, func(r *sql.Rows) (v row, err error) {
		err = r.Scan(&v.account, &v.epoch)
		return v, err
	}, `SELECT account_id, epoch FROM standing`)
	if err != nil {
		return err
	}
	x.enforcer.mu.Lock()
	defer x.enforcer.mu.Unlock()
	for _, r := range rows {
		x.enforcer.epochs[r.account] = r.epoch
	}
	return nil
}

// run registers and follows until ctx ends, reconnecting for ever.
func (e *enforcer) run(ctx context.Context, x *Exchange) {
	pause := reconnectAfter
	for ctx.Err() == nil {
		before := e.heard.Load()
		err := e.register(ctx, x)
		if err == nil {
			err = e.follow(ctx, x)
		}
		if ctx.Err() != nil {
			return
		}
		if client.CodeOf(err) == "history_lost" {
			e.halted.Store(true)
			x.log.Error("holdfast has lost history: nothing is done until it is put right", "error", err)
		}
		pause = min(pause*2, reconnectAtMost)
		if e.heard.Load() != before {
			pause = reconnectAfter
		}
		x.log.Warn("holdfast stream lost; reconnecting", "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (e *enforcer) register(ctx context.Context, x *Exchange) error {
	ctx, cancel := context.WithTimeout(ctx, x.cfg.HoldfastTimeout)
	defer cancel()
	_, err := x.cfg.Guard.RegisterEnforcer(ctx, connect.NewRequest(&holdfastv1.RegisterEnforcerRequest{
		Title: "Harbour Exchange (example)", Exits: enforcedExits,
	}))
	return err
}

// follow reads one stream to its end. A watchdog ends a stream that has gone silent.
func (e *enforcer) follow(ctx context.Context, x *Exchange) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	positions, err := x.positions(ctx)
	if err != nil {
		return err
	}
	watchdog := time.AfterFunc(silentFor, func() { cancel(errors.New("no heartbeat")) })
	defer watchdog.Stop()
	stream, err := x.cfg.Guard.Follow(ctx, connect.NewRequest(&holdfastv1.FollowRequest{Positions: positions}))
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		watchdog.Reset(silentFor)
		m := stream.Msg()
		if c := m.GetClosing(); c != nil {
			if err := x.apply(ctx, c, m.GetPositions()); err != nil {
				return fmt.Errorf("apply a closing: %w", err)
			}
		} else if len(m.GetPositions()) > 0 && !slices.Equal(positions, m.GetPositions()) {
			if err := x.update(ctx, func(t *txn) error { return t.savePositions(m.GetPositions()) }); err != nil {
				return err
			}
		}
		positions = m.GetPositions()
		e.heard.Store(micros(x.now()))
		e.halted.Store(false)
	}
	return errors.Join(stream.Err(), context.Cause(ctx))
}

// linked reports whether the stream of closings is alive.
func (e *enforcer) linked(now time.Time) bool {
	heard := e.heard.Load()
	return heard != 0 && now.Sub(fromMicros(heard)) < silentFor
}

func (x *Exchange) positions(ctx context.Context) ([]int64, error) {
	var text string
	err := x.db.read.QueryRowContext(ctx, `SELECT positions FROM follow WHERE id = 1`).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var p []int64
	return p, json.Unmarshal([]byte(text), &p)
}

func (t *txn) savePositions(p []int64) error {
	if len(p) == 0 {
		return nil // freezes that come first repeat what the request said, which may be nothing
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return t.exec(`INSERT INTO follow (id, positions) VALUES (1, $1)
		ON CONFLICT (id) DO UPDATE SET positions = excluded.positions`, string(text))
}

// apply carries out one closing. It holds the exchange's lock throughout: when it returns,
// every order and withdrawal that was allowed in an earlier epoch has either happened
// before or will be refused by its epoch.
func (x *Exchange) apply(ctx context.Context, c *holdfastv1.Closing, positions []int64) error {
	account := c.GetAccountId()
	// The epoch is raised before the lock is waited for: whatever of this account queues for
	// the lock is then refused as soon as it gets it, and a flood of orders delays nothing.
	current := x.enforcer.raise(c)
	x.mu.Lock()
	defer x.mu.Unlock()
	if !current {
		// Out of date: something newer has been applied. Only the place in the stream counts.
		return x.db.update(ctx, x.now(), func(t *txn) error { return t.savePositions(positions) })
	}
	streams := 0
	switch c.GetKind() {
	case "freeze":
		streams = x.streams.terminate(x.now(), func(s *subscription) bool { return s.account == account })
	case "key_deleted":
		streams = x.streams.terminate(x.now(), func(s *subscription) bool { return s.account == account && s.keyID == c.GetCredentialId() })
	}
	var stopped []order
	var gone []withdrawal
	err := x.db.update(ctx, x.now(), func(t *txn) error {
		stopped, gone = nil, nil
		frozen := c.GetKind() == "freeze"
		if c.GetKind() == "freeze" || c.GetKind() == "restore" {
			err := t.exec(`INSERT INTO standing (account_id, epoch, frozen) VALUES ($1, $2, $3)
				ON CONFLICT (account_id) DO UPDATE SET epoch = excluded.epoch, frozen = excluded.frozen`,
				account, c.GetEpoch(), frozen)
			if err != nil {
				return err
			}
		}
		if c.GetKind() == "session_ended" {
			err := t.exec(`DELETE FROM sessions WHERE account_id = $1 AND session_id = $2`, account, c.GetCredentialId())
			if err != nil {
				return err
			}
		}
		if frozen {
			var err error
			if stopped, err = t.stopOrders(account, c.GetEpoch()); err != nil {
				return err
			}
			if gone, err = t.stopWithdrawals(account, c); err != nil {
				return err
			}
			if err := t.writeReceipts(account, c, streams); err != nil {
				return err
			}
		}
		return t.savePositions(positions)
	})
	if err != nil {
		return x.settleBook(ctx, err)
	}
	for _, o := range stopped {
		x.books[o.symbol.name].remove(o.side, o.id)
	}
	if c.GetKind() == "freeze" {
		x.log.Info("account frozen", "account", account, "epoch", c.GetEpoch(), "orders", len(stopped),
			"withdrawals", len(gone), "connections", streams)
		x.cashier.wake()
		ring(x.enforcer.bell)
	}
	return nil
}

// stopOrders cancels every open order of the account.
func (t *txn) stopOrders(account string, epoch int64) ([]order, error) {
	open, err := openOrders(t.ctx, t, account, "")
	if err != nil {
		return nil, err
	}
	for i := range open {
		if err := t.stop(&open[i], statusCanceled, "FROZEN", epoch); err != nil {
			return nil, err
		}
	}
	return open, nil
}

// stopWithdrawals ends everything of the account that has not left, whether Holdfast has
// cancelled it or asks for its recall, and marks what was ended earlier for this freeze.
func (t *txn) stopWithdrawals(account string, c *holdfastv1.Closing) ([]withdrawal, error) {
	open, err := collect(t.ctx, t, scanWithdrawalRow, `SELECT `+withdrawalColumns+` FROM withdrawals
		WHERE account_id = $1 AND state IN ($2, $3)`, account, withdrawalRequesting, withdrawalPending)
	if err != nil {
		return nil, err
	}
	for i := range open {
		report, reason := "", "Stopped because the account is frozen"
		if slices.Contains(c.GetRecallWithdrawalIds(), open[i].holdfastID) {
			report, reason = reportFail, "Recalled before it was sent: the account is frozen"
		}
		if err := t.giveBack(&open[i], withdrawalCancelled, reason, report, c.GetEpoch()); err != nil {
			return nil, err
		}
	}
	for _, id := range slices.Concat(c.GetCancelledWithdrawalIds(), c.GetRecallWithdrawalIds()) {
		err := t.exec(`UPDATE withdrawals SET stop_epoch = $3 WHERE account_id = $1 AND holdfast_id = $2 AND state = $4`,
			account, id, c.GetEpoch(), withdrawalCancelled)
		if err != nil {
			return nil, err
		}
	}
	return open, nil
}
