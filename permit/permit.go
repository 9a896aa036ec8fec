// Package permit is the one door to a write.
//
// Every change to an account takes the same way: who may do this at all, how often, is the account
// open to it, is the actor still who they were; then the change, its record in the evidence chain
// and its place in the change feed, all in one transaction that begins by taking the account's
// standing row. What could go wrong without it: a change that nobody can attribute, or one that
// slips in beside a freeze. The door refuses rather than guesses, records refusals too, and is the
// only caller of store.Write.
package permit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/store"
)

// Act is one thing somebody wants to do to one account.
type Act struct {
	// Name is one of the names in Acts.
	Name    string
	Account evidence.AccountID
	// New makes the account's standing row; the act fails if it is there already.
	New bool
	// Counted says that the caller has counted this try with Attempt, in a bucket that strangers
	// cannot use up, so that the act's own limit is not asked.
	Counted bool
}

// Standing is the account's row that orders everything that happens to it.
type Standing struct {
	Account evidence.AccountID
	Version int64
	// Epoch is raised by each freeze and each restore. What was given out in an earlier epoch
	// counts no more.
	Epoch int64
	// FrozenAt is when the present freeze began; zero when the account is not frozen.
	FrozenAt time.Time
	// RestoredAt is when the last restore took effect; zero before the first.
	RestoredAt time.Time
	Chain      evidence.Head
}

// Frozen reports whether every exit is closed.
func (s Standing) Frozen() bool { return !s.FrozenAt.IsZero() }

// Mode is what an actor's session may do.
type Mode int

// The modes.
const (
	NoMode     Mode = iota // not a session
	Full                   // everything the account is open to
	Protective             // see and close; nothing that opens, adds or reveals
)

// Actors answers, inside the transaction, whether an actor is still live. Package account
// implements it.
type Actors interface {
	// Look MUST read the actor's session, key or service key in the transaction, MUST refuse one
	// that was ended, has expired or belongs to another epoch or account, and MUST NOT answer from
	// memory.
	Look(ctx context.Context, tx *Tx, by evidence.Actor) (Mode, error)
}

// Gate is asked inside the transaction before an act that opens. It returns a fault of kind Denied
// to refuse. Gates MUST NOT write.
type Gate interface {
	Pass(ctx context.Context, tx *Tx, by evidence.Actor, mode Mode, kind Kind) error
}

// Tx is a transaction on one account, whose standing row it holds.
type Tx struct {
	*store.Tx
	Standing Standing
	// By is the actor, as the door looked at it.
	By   evidence.Actor
	Mode Mode

	detail   map[string]any
	closings []closing
	silent   bool
}

type closing struct{ kind, credential string }

// Note adds a detail to the act's entry in the evidence chain.
func (tx *Tx) Note(key string, value any) {
	if tx.detail == nil {
		tx.detail = map[string]any{}
	}
	tx.detail[key] = value
}

// Unchanged says that the act found everything as it should be and wrote nothing, so that no entry
// is added to the chain.
func (tx *Tx) Unchanged() { tx.silent = true }

// Announce puts the change into the feed that replicas and enforcers follow. kind is "freeze",
// "restore", "session_ended", "key_deleted" or "hold"; credential names the session or key, if one.
func (tx *Tx) Announce(kind, credential string) {
	tx.closings = append(tx.closings, closing{kind, credential})
}

// RaiseEpoch begins a new epoch: every session, key and decision of the old one counts no more.
func (tx *Tx) RaiseEpoch() { tx.Standing.Epoch++ }

// Next returns the head that the chain will have with this act's entry, as far as its number: mails
// queued in the transaction name the entry by it.
func (tx *Tx) Next() int64 { return tx.Standing.Chain.Seq + 1 }

// Door is the way to every write. It is safe for concurrent use.
type Door struct {
	db     *store.DB
	log    *slog.Logger
	actors Actors
	gates  []Gate
	closed func()

	refusals *refusals
}

// NewDoor returns a door on db. Actors and gates are joined before the first act.
func NewDoor(db *store.DB, log *slog.Logger) *Door {
	return &Door{db: db, log: log, closed: func() {}, refusals: &refusals{}}
}

// Join hands the door what it must know of the rooms above it. Call it once, before any act.
func (d *Door) Join(actors Actors, gates ...Gate) {
	d.actors, d.gates = actors, gates
}

// OnClosing has f called, on this node, after a closing change was committed. It is a hint that
// spares a poll; f must not block.
func (d *Door) OnClosing(f func()) { d.closed = f }

// At returns a door on the same database whose clock stands at t, for planting a past.
func (d *Door) At(t time.Time) *Door {
	past := *d
	past.db = d.db.At(t)
	return &past
}

// DB returns the database behind the door, for reading.
func (d *Door) DB() *store.DB { return d.db }

// Do lets by do act: it takes the account's standing row, looks again, runs f and records. f may
// run more than once and does nothing but database work. A refusal, by the door or by f, is
// recorded in a transaction of its own and returned.
func (d *Door) Do(ctx context.Context, by evidence.Actor, act Act, f func(tx *Tx) error) error {
	kind, ok := Find(act.Name)
	if !ok {
		return fmt.Errorf("permit: %q is not in the table of acts", act.Name)
	}
	err := d.db.Write(ctx, func(raw *store.Tx) error { return d.do(ctx, raw, by, act, kind, f) })
	if err != nil {
		return d.Refuse(ctx, by, act, err)
	}
	return nil
}

func (d *Door) do(ctx context.Context, raw *store.Tx, by evidence.Actor, act Act, kind Kind, f func(tx *Tx) error) error {
	tx := &Tx{Tx: raw, By: by}
	if err := tx.lock(ctx, act); err != nil {
		return err
	}
	if !slices.Contains(kind.By, by.Kind) {
		return fault.New(fault.Denied, "not_allowed", "You are not allowed to do this.")
	}
	switch by.Kind {
	case evidence.Holder, evidence.Key, evidence.Integrator:
		mode, err := d.actors.Look(ctx, tx, by)
		if err != nil {
			return err
		}
		tx.Mode = mode
	}
	if kind.Class == Opens {
		for _, gate := range d.gates {
			if err := gate.Pass(ctx, tx, by, tx.Mode, kind); err != nil {
				return err
			}
		}
	}
	if !act.Counted {
		if err := d.limit(ctx, raw, act.Account, kind); err != nil {
			return err
		}
	}
	if err := f(tx); err != nil {
		return err
	}
	if tx.silent {
		return nil
	}
	return d.finish(ctx, tx, act)
}

// lock takes the standing row, so that writers of one account queue here.
func (tx *Tx) lock(ctx context.Context, act Act) error {
	s := &tx.Standing
	s.Account = act.Account
	if act.New {
		s.Version, s.Epoch, s.Chain = 1, 1, evidence.Start(act.Account)
		n, err := tx.Exec(ctx, `INSERT INTO standing (account_id, version, epoch, frozen_at, restored_at, chain_seq, chain_head)
			VALUES ($1, 1, 1, 0, 0, 0, $2) ON CONFLICT (account_id) DO NOTHING`, string(act.Account), s.Chain.Hash)
		if err == nil && n == 0 {
			return fault.New(fault.Conflict, "exists", "This account exists already.")
		}
		return err
	}
	var frozen, restored int64
	err := tx.QueryRow(ctx, `UPDATE standing SET version = version + 1 WHERE account_id = $1
		RETURNING version, epoch, frozen_at, restored_at, chain_seq, chain_head`, string(act.Account)).
		Scan(&s.Version, &s.Epoch, &frozen, &restored, &s.Chain.Seq, &s.Chain.Hash)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "unknown_account", "There is no such account.")
	}
	if err != nil {
		return fmt.Errorf("permit: take the standing row: %w", err)
	}
	s.FrozenAt, s.RestoredAt = store.Time(frozen), store.Time(restored)
	return nil
}

// finish appends the act's entry, writes the standing row and numbers what was closed. The lane is
// taken last, so that its row is held for no longer than the commit.
func (d *Door) finish(ctx context.Context, tx *Tx, act Act) error {
	s := &tx.Standing
	head, err := evidence.Append(ctx, tx.Tx, s.Chain, evidence.Entry{
		Account: s.Account, At: tx.Now(), Act: act.Name, Actor: tx.By, Detail: tx.detail,
	})
	if err != nil {
		return err
	}
	s.Chain = head
	if _, err := tx.Exec(ctx, `UPDATE standing SET epoch = $2, frozen_at = $3, restored_at = $4, chain_seq = $5, chain_head = $6 WHERE account_id = $1`,
		string(s.Account), s.Epoch, store.Micros(s.FrozenAt), store.Micros(s.RestoredAt), head.Seq, head.Hash); err != nil {
		return fmt.Errorf("permit: write the standing row: %w", err)
	}
	if len(tx.closings) == 0 {
		return nil
	}
	lane := Lane(s.Account)
	var last int64
	if err := tx.QueryRow(ctx, `UPDATE lane SET position = position + $2 WHERE lane = $1 RETURNING position`,
		lane, len(tx.closings)).Scan(&last); err != nil {
		return fmt.Errorf("permit: number the closing: %w", err)
	}
	first := last - int64(len(tx.closings)) + 1
	for i, c := range tx.closings {
		if _, err := tx.Exec(ctx, `INSERT INTO closing (lane, position, account_id, epoch, kind, credential_id, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			lane, first+int64(i), string(s.Account), s.Epoch, c.kind, c.credential, store.Micros(tx.Now())); err != nil {
			return fmt.Errorf("permit: announce the closing: %w", err)
		}
	}
	tx.AfterCommit(d.closed)
	return nil
}

// Refuse records that by was refused act and returns why. An internal failure is logged, not
// recorded: it says nothing about the actor.
func (d *Door) Refuse(ctx context.Context, by evidence.Actor, act Act, why error) error {
	if fault.KindOf(why) == fault.Internal {
		return fmt.Errorf("%s: %w", act.Name, why)
	}
	err := d.refusals.add(ctx, d.db, by, act, why)
	if err != nil {
		// The refusal stands whether or not it could be written down.
		d.log.LogAttrs(ctx, slog.LevelError, "refusal not recorded", slog.String("act", act.Name), slog.Any("by", by), slog.Any("error", err))
	}
	return why
}

// Allowed asks, outside a transaction, whether the act's limit on the account is used up. It is
// for the doors that do costly work before the transaction, such as hashing a password; it runs
// the same statement whether or not the account exists.
func (d *Door) Allowed(ctx context.Context, act Act) error {
	kind, ok := Find(act.Name)
	if !ok {
		return fmt.Errorf("permit: %q is not in the table of acts", act.Name)
	}
	return d.limitAt(ctx, d.db, d.db.Now(), act.Account, kind, false)
}

func (d *Door) limit(ctx context.Context, tx *store.Tx, account evidence.AccountID, kind Kind) error {
	return d.limitAt(ctx, tx, tx.Now(), account, kind, true)
}

// limitAt counts the act's entries and refusals in the window. Refusals for this very limit do not
// count, so that asking again does not push the end away. inside says that the door asks, after the
// proof was found right.
func (d *Door) limitAt(ctx context.Context, q store.Querier, now time.Time, account evidence.AccountID, kind Kind, inside bool) error {
	if kind.Limit.Tries == 0 {
		return nil
	}
	since := store.Micros(now.Add(-kind.Limit.Window))
	var done, refused, oldest int64
	err := q.QueryRow(ctx, `SELECT
			(SELECT count(*) FROM (SELECT at FROM entry WHERE account_id = $1 AND act = $2 ORDER BY seq DESC LIMIT $5) newest WHERE at > $3),
			(SELECT CAST(COALESCE(sum(count), 0) AS BIGINT) FROM refusal WHERE account_id = $1 AND act = $2 AND minute > $4 AND code <> 'too_often'),
			(SELECT COALESCE(min(minute), 0) FROM refusal WHERE account_id = $1 AND act = $2 AND minute > $4 AND code <> 'too_often')`,
		string(account), kind.Name, since, since-time.Minute.Microseconds(), kind.Limit.Tries).Scan(&done, &refused, &oldest)
	if err != nil {
		return fmt.Errorf("permit: count tries: %w", err)
	}
	used := done + refused
	if kind.WrongOnly {
		used = refused
		if inside {
			used = max(done, refused)
		}
	}
	if used < int64(kind.Limit.Tries) {
		return nil
	}
	until := now.Add(kind.Limit.Window)
	if oldest > 0 {
		until = store.Time(oldest).Add(time.Minute + kind.Limit.Window)
	}
	return fault.Until(fault.TooMany, "too_often", "That was tried too often. Nothing was changed. Wait a while, then try again. You can freeze the account at any time.", until)
}

// Attempt counts a try at a public door from one source and refuses when the source has used up
// its share of the window. Nothing that freezes with a valid proof asks it.
func (d *Door) Attempt(ctx context.Context, bucket string, limit Limit) error {
	var count int64
	var until time.Time
	err := d.db.Housekeep(ctx, func(tx *store.Tx) error {
		start := tx.Now().Truncate(limit.Window)
		until = start.Add(limit.Window)
		return tx.QueryRow(ctx, `INSERT INTO attempt (bucket, start, count) VALUES ($1, $2, 1)
			ON CONFLICT (bucket, start) DO UPDATE SET count = attempt.count + 1 RETURNING count`,
			bucket, store.Micros(start)).Scan(&count)
	})
	if err != nil {
		return fmt.Errorf("permit: count attempts: %w", err)
	}
	if count > int64(limit.Tries) {
		return fault.Until(fault.TooMany, "too_often", "Too many tries from this connection. Nothing was changed. Wait a while, then try again.", until)
	}
	return nil
}

// Lanes is how many lanes the change feed has.
const Lanes = 16

// Lane returns the lane of an account's closings: the same on every node.
func Lane(account evidence.AccountID) int64 {
	var h uint32 = 2166136261 // FNV-1a
	for i := range len(account) {
		h = (h ^ uint32(account[i])) * 16777619
	}
	return int64(h % Lanes)
}

// Platform makes sure that the platform's own chain exists.
func (d *Door) Platform(ctx context.Context) error {
	return d.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO standing (account_id, version, epoch, frozen_at, restored_at, chain_seq, chain_head)
			VALUES ($1, 1, 1, 0, 0, 0, $2) ON CONFLICT (account_id) DO NOTHING`,
			string(evidence.Platform), evidence.Start(evidence.Platform).Hash)
		return err
	})
}

const (
	attemptsKept = 48 * time.Hour
	refusalsKept = 400 * 24 * time.Hour // as long as an investigation may ask for them
)

// Tidy drops counters that no limit looks at any more, and refusals of more than a year ago. Call
// it now and then; hourly is plenty.
func (d *Door) Tidy(ctx context.Context) error {
	return d.db.Housekeep(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM attempt WHERE start < $1`, store.Micros(tx.Now().Add(-attemptsKept))); err != nil {
			return fmt.Errorf("tidy attempts: %w", err)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM refusal WHERE last_at < $1`, store.Micros(tx.Now().Add(-refusalsKept))); err != nil {
			return fmt.Errorf("tidy refusals: %w", err)
		}
		return nil
	})
}
