package exchange

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// outbox reports movements to Holdfast, oldest first, each at least once. Holdfast knows a
// repeat by its reference. A movement that Holdfast refuses is marked, logged and passed
// over, so that it cannot stop those behind it.
type outbox struct {
	bell chan struct{}
}

func newOutbox() *outbox { return &outbox{bell: make(chan struct{}, 1)} }

func (o *outbox) wake() { ring(o.bell) }

// reportAtOnce is how many movements go into one call: half of what the contract allows.
const reportAtOnce = 250

func (o *outbox) run(ctx context.Context, x *Exchange) {
	for ctx.Err() == nil {
		pause := idleFor
		if err := x.reportMovements(ctx); err != nil {
			x.log.Warn("movements wait", "error", err)
			pause = retryEvery
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-o.bell:
		case <-timer.C:
		}
		timer.Stop()
	}
}

const (
	movementReported = 1
	movementRefused  = 2
)

type waitingMovement struct {
	id int64
	m  *holdfastv1.Movement
}

func scanMovement(r *sql.Rows) (waitingMovement, error) {
	w := waitingMovement{m: &holdfastv1.Movement{}}
	var account string
	var at int64
	err := r.Scan(&w.id, &w.m.Reference, &account, &w.m.Asset, &w.m.Delta, &w.m.BalanceBefore, &w.m.BalanceAfter,
		&w.m.Kind, &at, &w.m.Detail)
	w.m.Account, w.m.At = accountRef(account), timestamppb.New(fromMicros(at))
	return w, err
}

// reportMovements sends everything that waits.
func (x *Exchange) reportMovements(ctx context.Context) error {
	for {
		waiting, err := collect(ctx, x.db.read, scanMovement, `SELECT id, reference, account_id, asset, delta, before,
			after, kind, at, detail FROM movements WHERE reported = 0 ORDER BY id LIMIT $1`, reportAtOnce)
		if err != nil || len(waiting) == 0 {
			return err
		}
		err = x.report(ctx, waiting)
		if refusedForGood(err) && len(waiting) > 1 {
			// One of them is at fault. Sent alone, the others go through.
			for _, one := range waiting {
				if err = x.report(ctx, []waitingMovement{one}); err != nil && !refusedForGood(err) {
					return err
				}
				if err != nil {
					err = x.refuseMovement(ctx, one, err)
				}
				if err != nil {
					return err
				}
			}
			continue
		}
		if refusedForGood(err) {
			err = x.refuseMovement(ctx, waiting[0], err)
		}
		if err != nil {
			return err
		}
	}
}

func refusedForGood(err error) bool {
	var refused *connect.Error
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code() {
	case connect.CodeInvalidArgument, connect.CodeAlreadyExists, connect.CodeNotFound:
		return true
	}
	return false
}

func (x *Exchange) report(ctx context.Context, batch []waitingMovement) error {
	asking, cancel := context.WithTimeout(ctx, x.cfg.HoldfastTimeout)
	defer cancel()
	r := &holdfastv1.ReportMovementsRequest{}
	for _, w := range batch {
		r.Movements = append(r.Movements, w.m)
	}
	if _, err := x.cfg.Ledger.ReportMovements(asking, connect.NewRequest(r)); err != nil {
		return err
	}
	return x.db.update(ctx, x.now(), func(t *txn) error {
		for _, w := range batch {
			if err := t.exec(`UPDATE movements SET reported = $2 WHERE id = $1`, w.id, movementReported); err != nil {
				return err
			}
		}
		return nil
	})
}

func (x *Exchange) refuseMovement(ctx context.Context, w waitingMovement, cause error) error {
	x.log.Error("holdfast refused a movement", "reference", w.m.GetReference(), "error", cause)
	return x.db.update(ctx, x.now(), func(t *txn) error {
		return t.exec(`UPDATE movements SET reported = $2 WHERE id = $1`, w.id, movementRefused)
	})
}
