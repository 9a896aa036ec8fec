package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"holdfast/account"
	"holdfast/store"
)

// hour numbers the hours since 1970.
func hour(t time.Time) int64 { return t.Unix() / 3600 }

// higher returns the greater of two amounts.
func higher(a, b Amount) Amount {
	if a.Cmp(b) < 0 {
		return b
	}
	return a
}

// raisePeak notes the balances around m in its hour.
func raisePeak(ctx context.Context, tx Tx, id account.ID, m Movement) error {
	top := higher(m.Before, m.After)
	var text string
	err := tx.QueryRow(ctx, `SELECT amount FROM peak WHERE account_id = $1 AND asset = $2 AND hour = $3`, string(id), m.Asset, hour(m.At)).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read peak: %w", err)
	}
	if err == nil {
		known, err := ParseAmount(text)
		if err != nil {
			return fmt.Errorf("read peak: %w", err)
		}
		if top.Cmp(known) <= 0 {
			return nil
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO peak (account_id, asset, hour, amount) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account_id, asset, hour) DO UPDATE SET amount = excluded.amount`, string(id), m.Asset, hour(m.At), top.String())
	if err != nil {
		return fmt.Errorf("record peak: %w", err)
	}
	return nil
}

// Peak returns the highest balance of the asset at any time since from, the balance that stood at
// from included. It is zero for an asset that was never reported.
func Peak(ctx context.Context, q store.Querier, id account.ID, asset string, from time.Time) (Amount, error) {
	next := (hour(from) + 1) * 3600
	// The balance at from, the movements of the hour that from cuts, and the whole hours after it.
	rows, err := q.Query(ctx, `SELECT balance_after, balance_after FROM (SELECT balance_after FROM movement
			WHERE account_id = $1 AND asset = $2 AND at < $3 ORDER BY at DESC, seq DESC LIMIT 1) AS standing
		UNION ALL SELECT balance_before, balance_after FROM movement WHERE account_id = $1 AND asset = $2 AND at >= $3 AND at < $4
		UNION ALL SELECT amount, amount FROM peak WHERE account_id = $1 AND asset = $2 AND hour >= $5`,
		string(id), asset, store.Micros(from), time.Unix(next, 0).UnixMicro(), next/3600)
	if err != nil {
		return Amount{}, fmt.Errorf("read peak: %w", err)
	}
	defer rows.Close()
	var top Amount
	for rows.Next() {
		var a, b Amount
		var texts [2]string
		if err := rows.Scan(&texts[0], &texts[1]); err != nil {
			return Amount{}, fmt.Errorf("read peak: %w", err)
		}
		if err := errors.Join(a.UnmarshalText([]byte(texts[0])), b.UnmarshalText([]byte(texts[1]))); err != nil {
			return Amount{}, fmt.Errorf("read peak: %w", err)
		}
		top = higher(top, higher(a, b))
	}
	return top, rows.Err()
}
