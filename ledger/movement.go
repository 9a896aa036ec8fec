// Package ledger keeps what the platform says happened to an account's balances: movements, exact
// amounts, and the balances that follow.
//
// The platform's own ledger is the truth about money; this is the holder's view of it and what
// signs of a takeover are read from. What can go wrong here: an amount that changes its value on
// the way through (so amounts are exact decimals with one text), a report that is repeated (so a
// movement is known by its reference, and other content under the same reference is refused), and
// a movement that was never reported (so a balance that does not follow from the one before is
// kept and marked as a gap). This package moves no money and decides nothing.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"holdfast/account"
	"holdfast/fault"
	"holdfast/store"
)

// Kind says what moved an amount.
type Kind string

// The kinds.
const (
	Deposit     Kind = "deposit"
	Withdrawal  Kind = "withdrawal"
	TransferIn  Kind = "transfer_in"
	TransferOut Kind = "transfer_out"
	Trade       Kind = "trade"
	Fee         Kind = "fee"
	Reversal    Kind = "reversal"
)

var kinds = map[Kind]bool{Deposit: true, Withdrawal: true, TransferIn: true, TransferOut: true, Trade: true, Fee: true, Reversal: true}

// Movement is one change of the balance of one asset.
type Movement struct {
	// Reference is the platform's id of it, unique for the account. 1 to 128 bytes.
	Reference string
	Asset     string
	Delta     Amount
	Before    Amount
	After     Amount
	Kind      Kind
	// At is when it happened, by the platform's clock.
	At time.Time
	// Detail is the platform's words about it, such as a trade's price; at most 500 bytes.
	Detail string

	// Seq is the order in which movements were recorded, from 1; set by Record.
	Seq int64
	// Gap says that Before is not what the movement before it left: one was not reported, or the
	// platform's books do not add up. Set by Record.
	Gap bool
}

// clockSlack is how far ahead of ours the platform's clock may be.
const clockSlack = 5 * time.Minute

// Check reports what is wrong with a movement as reported at now, as a fault of kind Invalid. It
// trusts the platform's numbers only as far as they add up.
func (m Movement) Check(now time.Time) error {
	for _, field := range []struct {
		name, value string
		least, most int
	}{
		{"reference", m.Reference, 1, 128}, {"asset", m.Asset, 1, 32}, {"detail", m.Detail, 0, 500},
	} {
		if len(field.value) < field.least || len(field.value) > field.most || !plain(field.value) {
			return fault.New(fault.Invalid, "field", fmt.Sprintf("The %s of a movement must have %d to %d bytes of readable UTF-8.", field.name, field.least, field.most))
		}
	}
	if !kinds[m.Kind] {
		return fault.New(fault.Invalid, "movement_kind", "The kind of a movement must be deposit, withdrawal, transfer_in, transfer_out, trade, fee or reversal.")
	}
	if m.At.IsZero() || m.At.After(now.Add(clockSlack)) || m.At.Year() < 2000 {
		return fault.New(fault.Invalid, "movement_time", "The time of a movement must be the time at which it happened.")
	}
	after, err := m.Before.Add(m.Delta)
	if err != nil {
		return err
	}
	if after != m.After {
		return fault.New(fault.Invalid, "movement_sum", fmt.Sprintf("This movement does not add up: %s and %s make %s, not %s.", m.Before, m.Delta, after, m.After))
	}
	return nil
}

// plain reports whether s is valid text without control characters.
func plain(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// same reports whether two reports of one reference say the same.
func (m Movement) same(o Movement) bool {
	return m.Asset == o.Asset && m.Delta == o.Delta && m.Before == o.Before && m.After == o.After && m.Kind == o.Kind &&
		m.Detail == o.Detail && store.Micros(m.At) == store.Micros(o.At)
}

// Tx is a transaction that holds the account's standing row; *permit.Tx is one.
type Tx interface {
	store.Querier
	Exec(ctx context.Context, query string, args ...any) (int64, error)
	Now() time.Time
}

const columns = `seq, reference, asset, delta, balance_before, balance_after, kind, at, detail, gap`

// Record writes the movement down and returns it with Seq and Gap set. One that is known already
// comes back as it was recorded, with fresh false; the same reference with other content is a fault
// of kind Conflict and changes nothing. The caller holds the account's standing row.
func Record(ctx context.Context, tx Tx, id account.ID, m Movement) (recorded Movement, fresh bool, err error) {
	if err := m.Check(tx.Now()); err != nil {
		return Movement{}, false, err
	}
	m.At = m.At.UTC().Truncate(time.Microsecond)
	known, err := scan(tx.QueryRow(ctx, `SELECT `+columns+` FROM movement WHERE account_id = $1 AND reference = $2`, string(id), m.Reference))
	switch {
	case err == nil && m.same(known):
		return known, false, nil
	case err == nil:
		return Movement{}, false, fault.New(fault.Conflict, "movement_reference", fmt.Sprintf("The movement %q is known already, with other content.", m.Reference))
	case !errors.Is(err, sql.ErrNoRows):
		return Movement{}, false, fmt.Errorf("record movement: %w", err)
	}
	var left string
	err = tx.QueryRow(ctx, `SELECT balance_after FROM movement WHERE account_id = $1 AND asset = $2 AND at <= $3 ORDER BY at DESC, seq DESC LIMIT 1`,
		string(id), m.Asset, store.Micros(m.At)).Scan(&left)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Movement{}, false, fmt.Errorf("record movement: %w", err)
	}
	m.Gap = err == nil && left != m.Before.String()
	if err := tx.QueryRow(ctx, `SELECT COALESCE(max(seq), 0) + 1 FROM movement WHERE account_id = $1`, string(id)).Scan(&m.Seq); err != nil {
		return Movement{}, false, fmt.Errorf("record movement: %w", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO movement (account_id, `+columns+`, recorded_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		string(id), m.Seq, m.Reference, m.Asset, m.Delta.String(), m.Before.String(), m.After.String(), string(m.Kind), store.Micros(m.At), m.Detail, m.Gap, store.Micros(tx.Now())); err != nil {
		return Movement{}, false, fmt.Errorf("record movement: %w", err)
	}
	// One that is reported late does not become the present balance.
	if _, err := tx.Exec(ctx, `INSERT INTO balance (account_id, asset, amount, at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account_id, asset) DO UPDATE SET amount = excluded.amount, at = excluded.at WHERE excluded.at >= balance.at`,
		string(id), m.Asset, m.After.String(), store.Micros(m.At)); err != nil {
		return Movement{}, false, fmt.Errorf("record balance: %w", err)
	}
	if err := raisePeak(ctx, tx, id, m); err != nil {
		return Movement{}, false, err
	}
	return m, true, nil
}

type scanner interface{ Scan(...any) error }

func scan(row scanner) (Movement, error) {
	var m Movement
	var delta, before, after string
	var at int64
	if err := row.Scan(&m.Seq, &m.Reference, &m.Asset, &delta, &before, &after, &m.Kind, &at, &m.Detail, &m.Gap); err != nil {
		return Movement{}, err
	}
	m.At = store.Time(at)
	return m, m.amounts(delta, before, after)
}

func (m *Movement) amounts(delta, before, after string) error {
	for _, a := range []struct {
		to   *Amount
		text string
	}{{&m.Delta, delta}, {&m.Before, before}, {&m.After, after}} {
		if err := a.to.UnmarshalText([]byte(a.text)); err != nil {
			return fmt.Errorf("movement %s: %w", m.Reference, err)
		}
	}
	return nil
}

// Place is a place in the list of movements. The zero value is before the newest.
type Place struct {
	At  time.Time
	Seq int64
}

// Place returns where the movement stands, to read on after it.
func (m Movement) Place() Place { return Place{m.At, m.Seq} }

// Movements returns up to limit movements after a place, newest first: pass the last one's place to
// read on. Movements recorded meanwhile do not shift the pages. limit is 1 to 500.
func Movements(ctx context.Context, q store.Querier, id account.ID, after Place, limit int) ([]Movement, error) {
	at, seq := store.Micros(after.At), after.Seq
	if after == (Place{}) {
		at, seq = 1<<63-1, 1<<63-1
	}
	rows, err := q.Query(ctx, `SELECT `+columns+` FROM movement WHERE account_id = $1 AND (at, seq) < ($2, $3) ORDER BY at DESC, seq DESC LIMIT $4`,
		string(id), at, seq, min(max(limit, 1), 500))
	if err != nil {
		return nil, fmt.Errorf("read movements: %w", err)
	}
	return collect(rows)
}

func collect(rows *sql.Rows) ([]Movement, error) {
	defer rows.Close()
	var list []Movement
	for rows.Next() {
		m, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read movements: %w", err)
		}
		list = append(list, m)
	}
	return list, rows.Err()
}

// Balance is the last known balance of one asset.
type Balance struct {
	Asset  string
	Amount Amount
	// At is when the last movement happened.
	At time.Time
}

// Balances returns the account's balances, by asset. They are what the platform last reported.
func Balances(ctx context.Context, q store.Querier, id account.ID) ([]Balance, error) {
	rows, err := q.Query(ctx, `SELECT asset, amount, at FROM balance WHERE account_id = $1 ORDER BY asset`, string(id))
	if err != nil {
		return nil, fmt.Errorf("read balances: %w", err)
	}
	defer rows.Close()
	var list []Balance
	for rows.Next() {
		var b Balance
		var text string
		var at int64
		if err := rows.Scan(&b.Asset, &text, &at); err != nil {
			return nil, fmt.Errorf("read balances: %w", err)
		}
		if err := b.Amount.UnmarshalText([]byte(text)); err != nil {
			return nil, fmt.Errorf("balance of %s: %w", b.Asset, err)
		}
		b.At = store.Time(at)
		list = append(list, b)
	}
	return list, rows.Err()
}
