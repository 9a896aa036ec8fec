// Package guard stops assets from leaving.
//
// It owns what is closed: exits, freezes and their receipts, holds, withdrawals up to the point of
// no return, and Check, the question a platform asks before anything moves. Its promise: once a
// freeze is acknowledged, no check and no confirmation succeeds for that account, through any
// credential, until a restore is acknowledged. The danger is the forgotten exit and the answer
// from yesterday: so every act that opens names its exit in permit's table and passes the gate
// here inside its own transaction, a decision about money leaving is made in the database, and
// what cannot be decided is refused. Guard never opens anything by itself or by time alone except
// holds, whose ends are compared, never scheduled.
package guard

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// Config is what an operator can set.
type Config struct {
	// Lengths of holds; DefaultLengths when nil.
	Lengths Lengths
	// SendWindow is how long after Confirm a withdrawal may still be sent; 30 s when zero. A long
	// one lets a platform send, after a freeze, what was confirmed well before it.
	SendWindow time.Duration
	// ScreenTime bounds how long a withdrawal request waits for Screen; 500 ms when zero.
	ScreenTime time.Duration
	// Poll is how often the change feed is read when no hint arrives; 200 ms when zero.
	Poll time.Duration
}

// Guard decides. It is safe for concurrent use; several processes on one database decide alike.
type Guard struct {
	door     *permit.Door
	db       *store.DB
	keys     *store.Keyset
	accounts *account.Accounts
	post     *notice.Post
	log      *slog.Logger
	screen   Screen
	cfg      Config
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each closing on this node; guarded by mu
	ending   chan struct{} // closed by Close
	work     sync.WaitGroup
	doubts   sync.Map // account.ID to *doubt: presses that the database has not answered for
}

// New returns a guard behind the door. Screen may be nil: then nothing is screened. The caller
// hands the guard to the door as a gate (permit.Door.Join) before the first act.
func New(door *permit.Door, accounts *account.Accounts, post *notice.Post, screen Screen, log *slog.Logger, cfg Config) (*Guard, error) {
	if cfg.Lengths == nil {
		lengths, err := DefaultLengths()
		if err != nil {
			return nil, err
		}
		cfg.Lengths = lengths
	}
	if cfg.SendWindow == 0 {
		cfg.SendWindow = 30 * time.Second
	}
	if cfg.ScreenTime == 0 {
		cfg.ScreenTime = 500 * time.Millisecond
	}
	if cfg.Poll == 0 {
		cfg.Poll = 200 * time.Millisecond
	}
	g := &Guard{
		door: door, db: door.DB(), keys: door.DB().Keys(), accounts: accounts, post: post, log: log,
		screen: screen, cfg: cfg, changed: make(chan struct{}), ending: make(chan struct{}),
	}
	door.OnClosing(g.hint)
	return g, nil
}

// Close ends what the guard still tries by itself. Call it once, before the database is closed.
func (g *Guard) Close() {
	close(g.ending)
	g.work.Wait()
}

// hint wakes everyone who follows the change feed on this node.
func (g *Guard) hint() {
	g.mu.Lock()
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
}

func (g *Guard) next() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// Pass implements permit.Gate: it refuses an act that opens while the account is frozen, while a
// hold covers its exit, and from a session in protective mode.
func (g *Guard) Pass(ctx context.Context, tx *permit.Tx, by evidence.Actor, mode permit.Mode, kind permit.Kind) error {
	if tx.Standing.Account == evidence.Platform || kind.Name == permit.ApproveRestore {
		return nil // a restore is what ends a freeze; its own rules stand in Approve
	}
	if kind.Protective && (mode == permit.Protective || by.Kind != evidence.Holder) {
		return nil
	}
	if tx.Standing.Frozen() || g.doubted(tx.Standing.Account) {
		return errFrozen()
	}
	if mode == permit.Protective {
		return fault.New(fault.Denied, "protective", "This session can only look and close. Sign in again to do this.")
	}
	if tx.Standing.Chain.Seq == 0 {
		return nil // the account is being made: nothing of it can be held yet
	}
	facts, err := g.facts(ctx, tx, tx.Standing, kind.Exit)
	if err != nil {
		return err
	}
	if block, ok := g.cfg.Lengths.Blocked(facts, kind.Exit, tx.Now()); ok {
		return heldFault(block)
	}
	return nil
}

func errFrozen() error {
	return fault.New(fault.Denied, "frozen", "Your account is frozen. Nothing can leave it.")
}

func heldFault(b Block) error {
	return &fault.Error{Kind: fault.Denied, Code: "held", Say: b.Sentence, Until: b.Until, Cause: holdCause(b.Kind)}
}

// holdCause carries the kind of a hold inside an error.
type holdCause HoldKind

func (c holdCause) Error() string { return "hold: " + string(c) }

// facts reads what follows for one exit, in the transaction.
func (g *Guard) facts(ctx context.Context, q store.Querier, s permit.Standing, exit permit.Exit) (Facts, error) {
	f := Facts{FrozenAt: s.FrozenAt, RestoredAt: s.RestoredAt}
	var err error
	if f.Account, err = account.ReadFacts(ctx, q, s.Account); err != nil {
		return Facts{}, err
	}
	if f.Holds, err = readHolds(ctx, q, s.Account, exit); err != nil {
		return Facts{}, err
	}
	return f, nil
}

// readHolds returns the holds on an exit, or on all exits when it is empty, ended ones too.
func readHolds(ctx context.Context, q store.Querier, id account.ID, exit permit.Exit) ([]Hold, error) {
	rows, err := q.Query(ctx, `SELECT exit, kind, reason, ends_at FROM hold WHERE account_id = $1 AND ($2 = '' OR exit = $2) ORDER BY ends_at`, string(id), string(exit))
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	defer rows.Close()
	var holds []Hold
	for rows.Next() {
		var h Hold
		var ends int64
		if err := rows.Scan(&h.Exit, &h.Kind, &h.Reason, &ends); err != nil {
			return nil, fmt.Errorf("read holds: %w", err)
		}
		h.Ends = store.Time(ends)
		holds = append(holds, h)
	}
	return holds, rows.Err()
}

// Hold blocks exits of an account until a time. A hold that would end before one that is there is
// written too and changes nothing: holds combine to the longest.
func (g *Guard) Hold(ctx context.Context, by evidence.Actor, id account.ID, kind HoldKind, reason string, length time.Duration, among ...permit.Exit) error {
	return g.door.Do(ctx, by, permit.Act{Name: permit.PlaceHold, Account: id}, func(tx *permit.Tx) error {
		tx.Note("kind", kind)
		tx.Note("hours", length.Hours())
		return placeHold(ctx, tx, kind, reason, length, among...)
	})
}

func placeHold(ctx context.Context, tx *permit.Tx, kind HoldKind, reason string, length time.Duration, among ...permit.Exit) error {
	id := store.NewID()
	for _, exit := range among {
		if _, err := tx.Exec(ctx, `INSERT INTO hold (account_id, exit, hold_id, kind, reason, began_at, ends_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			string(tx.Standing.Account), string(exit), id, string(kind), reason, store.Micros(tx.Now()), store.Micros(tx.Now().Add(length))); err != nil {
			return fmt.Errorf("place hold: %w", err)
		}
	}
	tx.Announce("hold", "")
	return nil
}

// Payouts are the exits through which assets leave.
func Payouts() []permit.Exit {
	var out []permit.Exit
	for _, e := range exits {
		if e.moves {
			out = append(out, e.exit)
		}
	}
	return out
}
