package guard

import (
	"context"
	"fmt"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// Closing is one change that an enforcer follows, in commit order within its account.
type Closing struct {
	Account    account.ID
	External   string
	Kind       string
	Epoch      int64
	At         time.Time
	Credential string
	// Exits are those for which a receipt of the follower is awaited.
	Exits []permit.Exit
	// Recall are the withdrawals that may already have left; Cancelled those that a freeze stopped.
	Recall    []string
	Cancelled []string
}

// Positions say how far a follower has come: one number a lane.
type Positions [permit.Lanes]int64

// ParsePositions reads positions from a message; none is allowed and means "from now, and what
// still waits for me".
func ParsePositions(numbers []int64) (p Positions, some bool, err error) {
	if len(numbers) == 0 {
		return p, false, nil
	}
	if len(numbers) != permit.Lanes {
		return p, false, fault.New(fault.Invalid, "positions", fmt.Sprintf("A position is %d numbers.", permit.Lanes))
	}
	copy(p[:], numbers)
	return p, true, nil
}

// Head returns the present end of the feed.
func (g *Guard) Head(ctx context.Context) (Positions, error) {
	var p Positions
	rows, err := g.db.Query(ctx, `SELECT lane, position FROM lane`)
	if err != nil {
		return p, fmt.Errorf("read lanes: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var lane, position int64
		if err := rows.Scan(&lane, &position); err != nil {
			return p, fmt.Errorf("read lanes: %w", err)
		}
		if lane < 0 || lane >= permit.Lanes {
			return p, fmt.Errorf("read lanes: there is no lane %d", lane)
		}
		p[lane] = position
	}
	return p, rows.Err()
}

const feedPage = 256

var feedStatement = func() string {
	var lanes []string
	for lane := range permit.Lanes {
		lanes = append(lanes, fmt.Sprintf("(c.lane = %d AND c.position > $%d)", lane, lane+2))
	}
	return `SELECT c.lane, c.position, c.account_id, COALESCE(x.external_id, ''), c.kind, c.epoch, c.at, c.credential_id
		FROM closing c LEFT JOIN external_account x ON x.account_id = c.account_id AND x.integrator = $1
		WHERE ` + strings.Join(lanes, " OR ") + fmt.Sprintf(` ORDER BY c.lane, c.position LIMIT %d`, feedPage)
}()

// Closings returns the closings after from, at most a page, and the position after them.
func (g *Guard) Closings(ctx context.Context, integrator string, from Positions) ([]Closing, []Positions, error) {
	args := []any{integrator}
	for _, p := range from {
		args = append(args, p)
	}
	rows, err := g.db.Query(ctx, feedStatement, args...)
	if err != nil {
		return nil, nil, fmt.Errorf("read the feed: %w", err)
	}
	defer rows.Close()
	var closings []Closing
	var after []Positions
	for rows.Next() {
		var c Closing
		var lane, position, at int64
		if err := rows.Scan(&lane, &position, &c.Account, &c.External, &c.Kind, &c.Epoch, &at, &c.Credential); err != nil {
			return nil, nil, fmt.Errorf("read the feed: %w", err)
		}
		if lane < 0 || lane >= permit.Lanes || position != from[lane]+1 {
			return nil, nil, fmt.Errorf("read the feed: lane %d goes from %d to %d", lane, from[lane], position)
		}
		c.At = store.Time(at)
		from[lane] = position
		closings, after = append(closings, c), append(after, from)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("read the feed: %w", err)
	}
	for i := range closings {
		if err := g.complete(ctx, integrator, &closings[i]); err != nil {
			return nil, nil, err
		}
	}
	return closings, after, nil
}

// Awaited returns a freeze for every account that still waits for a receipt of the integrator.
func (g *Guard) Awaited(ctx context.Context, integrator string) ([]Closing, error) {
	rows, err := g.db.Query(ctx, `SELECT DISTINCT r.account_id, COALESCE(x.external_id, ''), s.epoch, s.frozen_at
		FROM receipt r JOIN standing s ON s.account_id = r.account_id AND s.epoch = r.epoch AND s.frozen_at <> 0
		LEFT JOIN external_account x ON x.account_id = r.account_id AND x.integrator = $1
		WHERE r.enforcer = $1 AND r.closed_at = 0 ORDER BY s.frozen_at`, integrator)
	if err != nil {
		return nil, fmt.Errorf("read awaited receipts: %w", err)
	}
	defer rows.Close()
	var closings []Closing
	for rows.Next() {
		c := Closing{Kind: "freeze"}
		var at int64
		if err := rows.Scan(&c.Account, &c.External, &c.Epoch, &at); err != nil {
			return nil, fmt.Errorf("read awaited receipts: %w", err)
		}
		c.At = store.Time(at)
		closings = append(closings, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read awaited receipts: %w", err)
	}
	for i := range closings {
		if err := g.complete(ctx, integrator, &closings[i]); err != nil {
			return nil, err
		}
	}
	return closings, nil
}

// complete adds to a freeze what its follower has to do.
func (g *Guard) complete(ctx context.Context, integrator string, c *Closing) error {
	if c.Kind != "freeze" {
		return nil
	}
	receipts, err := readReceipts(ctx, g.db, c.Account, c.Epoch)
	if err != nil {
		return err
	}
	for _, r := range receipts {
		if r.Enforcer == integrator && !r.Confirmed() {
			c.Exits = append(c.Exits, r.Exit)
		}
	}
	rows, err := g.db.Query(ctx, `SELECT withdrawal_id, state FROM withdrawal WHERE account_id = $1 AND integrator = $2
		AND (state = $3 OR state = $4 AND ended_at >= $5) ORDER BY withdrawal_id`,
		string(c.Account), integrator, string(ConfirmedBeforeFreeze), string(Cancelled), store.Micros(c.At))
	if err != nil {
		return fmt.Errorf("read stopped withdrawals: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var state State
		if err := rows.Scan(&id, &state); err != nil {
			return fmt.Errorf("read stopped withdrawals: %w", err)
		}
		if state == Cancelled {
			c.Cancelled = append(c.Cancelled, id)
		} else {
			c.Recall = append(c.Recall, id)
		}
	}
	return rows.Err()
}

// Wait returns when something may have been closed since the caller last looked, after the poll
// interval at the latest, or when ctx ends. Take the channel of Changed before looking.
func (g *Guard) Wait(ctx context.Context, changed <-chan struct{}) error {
	t := time.NewTimer(g.cfg.Poll)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Changed returns a channel that is closed at the next closing or receipt on this node.
func (g *Guard) Changed() <-chan struct{} { return g.next() }
