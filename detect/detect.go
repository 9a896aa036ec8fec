// Package detect reads signs of a takeover from what happens on an account: movements that the
// platform reports, and withdrawals that somebody wants to request.
//
// What can go wrong here: a sign that nobody sees, so it is stored and mailed in the transaction
// that caused it; and so many signs that nobody reads them, so a rule speaks once a day for an
// account. Rules are pure functions over what was read. A sign stops nothing by itself and accuses
// nobody: it asks the holder, with the link that freezes. This package refuses to freeze, to hold
// and to decide about a withdrawal; guard does.
package detect

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/guard"
	"holdfast/ledger"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// Post queues mails; *notice.Post is one.
type Post interface {
	// Queue MUST write the notice in the given transaction and nowhere else.
	Queue(ctx context.Context, tx notice.Tx, n notice.Notice) error
}

// Detect looks for signs. It is safe for concurrent use.
type Detect struct {
	door *permit.Door
	db   *store.DB
	post Post
}

var _ guard.Screen = (*Detect)(nil)

// New returns a Detect behind the door.
func New(door *permit.Door, post Post) *Detect {
	return &Detect{door: door, db: door.DB(), post: post}
}

// At returns a Detect whose clock stands at t, for planting a past.
func (d *Detect) At(t time.Time) *Detect { return New(d.door.At(t), d.post) }

// MaxMovements is how many movements one report may hold.
const MaxMovements = 500

// Report records movements of one account as the platform reports them, all or none, and returns
// how many were new and how many known. It looks at every balance that moved. A report that says
// only what is known changes nothing and leaves no entry.
func (d *Detect) Report(ctx context.Context, by evidence.Actor, id account.ID, movements []ledger.Movement) (recorded, known int, err error) {
	if len(movements) == 0 || len(movements) > MaxMovements {
		return 0, 0, fault.New(fault.Invalid, "movements", fmt.Sprintf("A report holds 1 to %d movements.", MaxMovements))
	}
	for _, m := range movements { // before the account's row is taken
		if err := m.Check(d.db.Now()); err != nil {
			return 0, 0, err
		}
	}
	err = d.door.Do(ctx, by, permit.Act{Name: permit.ReportMovements, Account: id}, func(tx *permit.Tx) error {
		recorded, known = 0, 0 // the function may run again
		gaps := 0
		var assets []string
		moved := map[string]bool{}
		for _, m := range movements {
			m, isNew, err := ledger.Record(ctx, tx, id, m)
			if err != nil {
				return err
			}
			if !isNew {
				known++
				continue
			}
			recorded++
			if m.Gap {
				gaps++
			}
			if !moved[m.Asset] {
				moved[m.Asset] = true
				assets = append(assets, m.Asset)
			}
		}
		if recorded == 0 {
			tx.Unchanged()
			return nil
		}
		tx.Note("recorded", recorded)
		tx.Note("known", known)
		if gaps > 0 {
			tx.Note("gaps", gaps)
		}
		return d.balances(ctx, tx, assets)
	})
	if err != nil {
		return 0, 0, err
	}
	return recorded, known, nil
}

// balances asks the rule BalanceFell about every asset that moved.
func (d *Detect) balances(ctx context.Context, tx *permit.Tx, assets []string) error {
	id := tx.Standing.Account
	profile, err := account.ReadProfile(ctx, tx, id)
	if err != nil {
		return err
	}
	now, err := ledger.Balances(ctx, tx, id)
	if err != nil {
		return err
	}
	present := map[string]ledger.Amount{}
	for _, b := range now {
		present[b.Asset] = b.Amount
	}
	for _, asset := range assets {
		peak, err := ledger.Peak(ctx, tx, id, asset, tx.Now().Add(-Window))
		if err != nil {
			return err
		}
		detail, ok := fell(asset, peak, present[asset], int(profile.LimitPercent))
		if !ok {
			continue
		}
		// The platform reported it; who moved the money, and on what device, it did not say.
		event := notice.Event{At: tx.Now()}
		if err := d.raise(ctx, tx, BalanceFell, detail, notice.SignBalanceFell{
			Event: event, Asset: asset, Before: detail.Before.String(), After: detail.After.String(), Percent: detail.Percent, Limit: detail.Limit,
		}); err != nil {
			return err
		}
	}
	return nil
}

// Screen implements guard.Screen: it asks the rule NewSource about a withdrawal before it is
// requested, and writes the sign down in the transaction that records the request.
func (d *Detect) Screen(_ context.Context, s guard.Screened) (func(ctx context.Context, tx *permit.Tx) error, error) {
	detail, ok := fresh(s, d.db.Now())
	if !ok {
		return nil, nil
	}
	return func(ctx context.Context, tx *permit.Tx) error {
		detail := detail
		var err error
		if detail.Name, err = sourceName(ctx, tx, s); err != nil {
			return err
		}
		return d.raise(ctx, tx, NewSource, detail, notice.SignNewSource{
			Event: notice.EventOf(tx.By, tx.Now()), What: detail.What(), Name: detail.Name, FirstSeen: detail.FirstSeen,
			Amount: detail.Amount.String(), Asset: detail.Asset, To: detail.Address,
		})
	}, nil
}

// sourceName reads what the device or key is called.
func sourceName(ctx context.Context, q store.Querier, s guard.Screened) (string, error) {
	var name string
	err := q.QueryRow(ctx, `SELECT COALESCE(
			(SELECT d.name FROM session s JOIN device d ON d.account_id = s.account_id AND d.device_id = s.device_id WHERE s.account_id = $1 AND s.session_id = $2),
			(SELECT label FROM api_key WHERE account_id = $1 AND key_id = $2),
			(SELECT max(label) FROM credential WHERE account_id = $1 AND external_credential_id = $2), '')`,
		string(s.Account), s.Credential).Scan(&name)
	if err != nil {
		return "", fmt.Errorf("read name of %s: %w", s.CredentialKind, err)
	}
	return name, nil
}

// mailDays is how far back addresses are told: a thief who changed the address last week must not be
// the only one to read it.
const mailDays = 30 * 24 * time.Hour

// raise stores the sign and queues its mails, unless the rule has spoken today.
func (d *Detect) raise(ctx context.Context, tx *permit.Tx, rule Rule, detail Detail, vars notice.Vars) error {
	raw, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("raise sign: %w", err)
	}
	id := store.NewID()
	n, err := tx.Exec(ctx, `INSERT INTO sign (account_id, sign_id, rule, day, at, detail, seen_at) VALUES ($1, $2, $3, $4, $5, $6, 0)
		ON CONFLICT (account_id, rule, day) DO NOTHING`,
		string(tx.Standing.Account), id, string(rule), tx.Now().Unix()/86400, store.Micros(tx.Now()), string(raw))
	if err != nil {
		return fmt.Errorf("raise sign: %w", err)
	}
	if n == 0 {
		return nil
	}
	tx.Note("sign", string(rule))
	to, err := account.Addresses(ctx, tx, tx.Standing.Account, tx.Now().Add(-mailDays))
	if err != nil {
		return err
	}
	return d.post.Queue(ctx, tx, notice.Notice{Account: tx.Standing.Account, To: to, Vars: vars})
}

// Signs returns up to limit signs of the account, newest first; with open, only those that the
// holder has not answered.
func Signs(ctx context.Context, q store.Querier, id account.ID, open bool, limit int) ([]Sign, error) {
	rows, err := q.Query(ctx, `SELECT sign_id, rule, at, detail, seen_at FROM sign WHERE account_id = $1 AND (seen_at = 0 OR $2 = 0) ORDER BY at DESC, sign_id DESC LIMIT $3`,
		string(id), map[bool]int64{true: 1}[open], limit)
	if err != nil {
		return nil, fmt.Errorf("read signs: %w", err)
	}
	defer rows.Close()
	var signs []Sign
	for rows.Next() {
		s := Sign{Account: id}
		var at, seen int64
		var raw string
		if err := rows.Scan(&s.ID, &s.Rule, &at, &raw, &seen); err != nil {
			return nil, fmt.Errorf("read signs: %w", err)
		}
		if err := json.Unmarshal([]byte(raw), &s.Detail); err != nil {
			return nil, fmt.Errorf("read sign %s: %w", s.ID, err)
		}
		s.At, s.Seen = store.Time(at), store.Time(seen)
		signs = append(signs, s)
	}
	return signs, rows.Err()
}

// Dismiss notes that the holder has seen a sign and that it was them. Dismissing it again succeeds
// and changes nothing. A sign that was not the holder is answered by freezing, and stays open.
func (d *Detect) Dismiss(ctx context.Context, by evidence.Actor, id account.ID, sign string) error {
	return d.door.Do(ctx, by, permit.Act{Name: permit.DismissSign, Account: id}, func(tx *permit.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE sign SET seen_at = $3 WHERE account_id = $1 AND sign_id = $2 AND seen_at = 0`, string(id), sign, store.Micros(tx.Now()))
		if err != nil {
			return fmt.Errorf("dismiss sign: %w", err)
		}
		if n == 1 {
			tx.Note("sign", sign)
			return nil
		}
		tx.Unchanged()
		var there int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM sign WHERE account_id = $1 AND sign_id = $2`, string(id), sign).Scan(&there); err != nil {
			return fmt.Errorf("dismiss sign: %w", err)
		}
		if there == 0 {
			return fault.New(fault.NotFound, "unknown_sign", "There is no such warning on your account.")
		}
		return nil
	})
}
