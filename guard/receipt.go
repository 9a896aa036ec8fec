package guard

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// Receipt is an enforcer's answer that an exit is closed for an epoch.
type Receipt struct {
	Exit permit.Exit
	// Enforcer is "holdfast" or an integrator; Title is how people know it.
	Enforcer string
	Title    string
	// ClosedAt is zero while the enforcer has not confirmed.
	ClosedAt time.Time
	// Stopped is how many things it stopped, Detail says them.
	Stopped int64
	Detail  string
}

// Confirmed reports whether the enforcer has returned its receipt.
func (r Receipt) Confirmed() bool { return !r.ClosedAt.IsZero() }

// writeReceipts writes what Holdfast itself closed in this transaction, and a place for every
// answer that is awaited from outside.
func (g *Guard) writeReceipts(ctx context.Context, tx *permit.Tx, s account.Suspended, cancelled []Withdrawal) error {
	stopped := map[permit.Exit]int64{
		permit.Session:          s.Sessions,
		permit.RememberedDevice: s.Devices,
		permit.APIKey:           s.Keys + s.Credentials,
	}
	detail := map[permit.Exit]string{
		permit.Session:          plural(s.Sessions, "session ended", "sessions ended"),
		permit.RememberedDevice: plural(s.Devices, "device forgotten", "devices forgotten"),
		permit.APIKey:           plural(s.Keys+s.Credentials, "key suspended", "keys suspended"),
	}
	var transfers, payouts []Withdrawal
	for _, w := range cancelled {
		if w.Internal {
			transfers = append(transfers, w)
		} else {
			payouts = append(payouts, w)
		}
	}
	stopped[permit.PendingWithdrawal], detail[permit.PendingWithdrawal] = int64(len(payouts)), stayed(payouts, "withdrawal cancelled", "withdrawals cancelled")
	stopped[permit.InternalTransfer], detail[permit.InternalTransfer] = int64(len(transfers)), stayed(transfers, "transfer cancelled", "transfers cancelled")
	for _, e := range exits {
		if !e.own {
			continue
		}
		if err := insertReceipt(ctx, tx, e.exit, ours, tx.Now(), stopped[e.exit], detail[e.exit]); err != nil {
			return err
		}
	}
	rows, err := tx.Query(ctx, `SELECT integrator, exit FROM enforcer ORDER BY integrator, exit`)
	if err != nil {
		return fmt.Errorf("read enforcers: %w", err)
	}
	defer rows.Close()
	type awaited struct{ integrator, exit string }
	var outside []awaited
	for rows.Next() {
		var a awaited
		if err := rows.Scan(&a.integrator, &a.exit); err != nil {
			return fmt.Errorf("read enforcers: %w", err)
		}
		outside = append(outside, a)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read enforcers: %w", err)
	}
	for _, a := range outside {
		if err := insertReceipt(ctx, tx, permit.Exit(a.exit), a.integrator, time.Time{}, 0, ""); err != nil {
			return err
		}
	}
	return nil
}

func insertReceipt(ctx context.Context, tx *permit.Tx, exit permit.Exit, enforcer string, closed time.Time, stopped int64, detail string) error {
	_, err := tx.Exec(ctx, `INSERT INTO receipt (account_id, epoch, exit, enforcer, closed_at, stopped, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		string(tx.Standing.Account), tx.Standing.Epoch, string(exit), enforcer, store.Micros(closed), stopped, detail)
	if err != nil {
		return fmt.Errorf("write receipt for %s: %w", exit, err)
	}
	return nil
}

func plural(n int64, one, many string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 " + one
	default:
		return fmt.Sprintf("%d %s", n, many)
	}
}

// stayed says what did not leave: "2 withdrawals cancelled: 0.41 BTC and 300 USDT stayed here".
func stayed(ws []Withdrawal, one, many string) string {
	if len(ws) == 0 {
		return ""
	}
	return plural(int64(len(ws)), one, many) + ": " + strings.Join(sums(ws), " and ") + " stayed here"
}

// SubmitReceipt records an enforcer's word that an exit is closed for the epoch. A receipt for
// another epoch than the present one, for an account that is not frozen, or for an exit that the
// integrator never declared is refused. A repeat keeps the first time.
func (g *Guard) SubmitReceipt(ctx context.Context, by evidence.Actor, id account.ID, epoch int64, exit permit.Exit, stopped int64, detail string) (time.Time, error) {
	if stopped < 0 {
		return time.Time{}, fault.New(fault.Invalid, "stopped", "A receipt cannot have stopped fewer than nothing.")
	}
	if len(detail) > 200 || !utf8.ValidString(detail) {
		return time.Time{}, fault.New(fault.Invalid, "detail", "The detail of a receipt is at most 200 bytes of UTF-8.")
	}
	var at time.Time
	err := g.door.Do(ctx, by, permit.Act{Name: permit.SubmitReceipt, Account: id}, func(tx *permit.Tx) error {
		if epoch != tx.Standing.Epoch || !tx.Standing.Frozen() {
			return fault.New(fault.Conflict, "epoch", "This receipt is for another epoch than the present one. Follow the closings and answer the newest.")
		}
		var closed int64
		err := tx.QueryRow(ctx, `UPDATE receipt SET
				stopped = CASE WHEN closed_at = 0 THEN $5 ELSE stopped END,
				detail = CASE WHEN closed_at = 0 THEN $6 ELSE detail END,
				closed_at = CASE WHEN closed_at = 0 THEN $7 ELSE closed_at END
			WHERE account_id = $1 AND epoch = $2 AND exit = $3 AND enforcer = $4 RETURNING closed_at`,
			string(id), epoch, string(exit), by.ID, stopped, detail, store.Micros(tx.Now())).Scan(&closed)
		if noRows(err) {
			return fault.New(fault.NotFound, "exit", "No receipt is awaited from you for this exit. Declare it with RegisterEnforcer first.")
		}
		if err != nil {
			return fmt.Errorf("write receipt: %w", err)
		}
		at = store.Time(closed)
		if !at.Equal(tx.Now()) {
			tx.Unchanged()
		}
		tx.Note("exit", exit)
		tx.Note("epoch", epoch)
		tx.Note("stopped", stopped)
		tx.AfterCommit(g.hint)
		return nil
	})
	return at, err
}

// RegisterEnforcer declares the exits that an integrator closes. From then on a freeze waits for
// its receipts before it is called contained. Declaring again replaces the title and adds exits;
// what was declared is not taken back here, because that would make a freeze look contained.
func (g *Guard) RegisterEnforcer(ctx context.Context, by evidence.Actor, title string, among []permit.Exit) error {
	if title == "" || len(title) > 80 || !utf8.ValidString(title) {
		return fault.New(fault.Invalid, "title", "An enforcer needs a title of 1 to 80 bytes.")
	}
	if len(among) == 0 || len(among) > 64 {
		return fault.New(fault.Invalid, "exits", "An enforcer declares 1 to 64 exits.")
	}
	for _, exit := range among {
		if !Known(exit) {
			return fault.New(fault.Invalid, "exit", fmt.Sprintf("%.64q is not an exit. Your own exits begin with x_.", string(exit)))
		}
	}
	return g.door.Do(ctx, by, permit.Act{Name: permit.AddEnforcer, Account: evidence.Platform}, func(tx *permit.Tx) error {
		for _, exit := range among {
			if _, err := tx.Exec(ctx, `INSERT INTO enforcer (integrator, exit, title, since) VALUES ($1, $2, $3, $4)
				ON CONFLICT (integrator, exit) DO UPDATE SET title = excluded.title`,
				by.ID, string(exit), title, store.Micros(tx.Now())); err != nil {
				return fmt.Errorf("register enforcer: %w", err)
			}
		}
		tx.Note("title", title)
		tx.Note("exits", among)
		return nil
	})
}

// ExitOf is an exit that accounts here have, and who closes it.
type ExitOf struct {
	Exit      permit.Exit
	Title     string
	Enforcers []string
}

// Exits returns every exit that accounts here have.
func (g *Guard) Exits(ctx context.Context) ([]ExitOf, error) {
	by := map[permit.Exit][]string{}
	for _, e := range exits {
		if e.own {
			by[e.exit] = []string{ours}
		}
	}
	rows, err := g.db.Query(ctx, `SELECT exit, integrator FROM enforcer ORDER BY exit, integrator`)
	if err != nil {
		return nil, fmt.Errorf("read enforcers: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var exit permit.Exit
		var integrator string
		if err := rows.Scan(&exit, &integrator); err != nil {
			return nil, fmt.Errorf("read enforcers: %w", err)
		}
		by[exit] = append(by[exit], integrator)
	}
	var out []ExitOf
	for exit, enforcers := range by {
		out = append(out, ExitOf{exit, Title(exit), enforcers})
	}
	slices.SortFunc(out, func(a, b ExitOf) int { return rank(a.Exit, b.Exit) })
	return out, rows.Err()
}

// Protection is how an account is protected at one moment.
type Protection struct {
	Account  account.ID
	Epoch    int64
	FrozenAt time.Time
	// Contained says that the account is frozen and every enforcer has confirmed.
	Contained bool
	// ContainedAt is when the last receipt arrived; zero before.
	ContainedAt time.Time
	Blocks      []Block
	Receipts    []Receipt
	// MayHaveLeft are the withdrawals that were confirmed before the freeze and not settled.
	MayHaveLeft []Withdrawal
	// Seq and Head name the end of the evidence chain.
	Chain evidence.Head
}

// Frozen reports whether every exit is closed.
func (p Protection) Frozen() bool { return !p.FrozenAt.IsZero() }

// Protection returns how the account is protected now, from one consistent view.
func (g *Guard) Protection(ctx context.Context, id account.ID) (Protection, error) {
	p := Protection{Account: id}
	err := g.db.Read(ctx, func(tx *store.Tx) error {
		s, err := readStanding(ctx, tx, id)
		if err != nil {
			return err
		}
		p.Epoch, p.FrozenAt, p.Chain = s.Epoch, s.FrozenAt, s.Chain
		f, err := g.facts(ctx, tx, s, "")
		if err != nil {
			return err
		}
		among := make([]permit.Exit, 0, len(exits))
		for _, e := range exits {
			among = append(among, e.exit)
		}
		p.Blocks = g.cfg.Lengths.Blocks(f, among, g.db.Now())
		if !p.Frozen() {
			return nil
		}
		if p.Receipts, err = readReceipts(ctx, tx, id, p.Epoch); err != nil {
			return err
		}
		p.MayHaveLeft, err = readWithdrawals(ctx, tx, id, ConfirmedBeforeFreeze)
		return err
	})
	if err != nil {
		return Protection{}, fmt.Errorf("read protection: %w", err)
	}
	p.Contained = p.Frozen()
	for _, r := range p.Receipts {
		p.Contained = p.Contained && r.Confirmed()
		if r.ClosedAt.After(p.ContainedAt) {
			p.ContainedAt = r.ClosedAt
		}
	}
	if !p.Contained {
		p.ContainedAt = time.Time{}
	}
	return p, nil
}

func readStanding(ctx context.Context, q store.Querier, id account.ID) (permit.Standing, error) {
	s := permit.Standing{Account: id}
	var frozen, restored int64
	err := q.QueryRow(ctx, `SELECT version, epoch, frozen_at, restored_at, chain_seq, chain_head FROM standing WHERE account_id = $1`, string(id)).
		Scan(&s.Version, &s.Epoch, &frozen, &restored, &s.Chain.Seq, &s.Chain.Hash)
	if noRows(err) {
		return s, errUnknownAccount()
	}
	if err != nil {
		return s, fmt.Errorf("read standing: %w", err)
	}
	s.FrozenAt, s.RestoredAt = store.Time(frozen), store.Time(restored)
	return s, nil
}

func errUnknownAccount() error {
	return fault.New(fault.NotFound, "unknown_account", "There is no such account.")
}

func readReceipts(ctx context.Context, q store.Querier, id account.ID, epoch int64) ([]Receipt, error) {
	rows, err := q.Query(ctx, `SELECT r.exit, r.enforcer, COALESCE(e.title, ''), r.closed_at, r.stopped, r.detail
		FROM receipt r LEFT JOIN enforcer e ON e.integrator = r.enforcer AND e.exit = r.exit
		WHERE r.account_id = $1 AND r.epoch = $2`, string(id), epoch)
	if err != nil {
		return nil, fmt.Errorf("read receipts: %w", err)
	}
	defer rows.Close()
	var receipts []Receipt
	for rows.Next() {
		var r Receipt
		var closed int64
		if err := rows.Scan(&r.Exit, &r.Enforcer, &r.Title, &closed, &r.Stopped, &r.Detail); err != nil {
			return nil, fmt.Errorf("read receipts: %w", err)
		}
		r.ClosedAt = store.Time(closed)
		if r.Enforcer == ours {
			r.Title = "Holdfast"
		}
		receipts = append(receipts, r)
	}
	slices.SortStableFunc(receipts, func(a, b Receipt) int {
		if d := rank(a.Exit, b.Exit); d != 0 {
			return d
		}
		return strings.Compare(a.Enforcer, b.Enforcer)
	})
	return receipts, rows.Err()
}
