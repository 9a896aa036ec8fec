package exchange

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// writeReceipts records what was stopped for each exit that Holdfast waits for. The counts
// are read from the rows that this freeze stopped, so a repeat of the closing comes to the
// same ones; only connections are counted as they close.
func (t *txn) writeReceipts(account string, c *holdfastv1.Closing, streams int) error {
	for _, exit := range c.GetExits() {
		var n int
		var what []string
		var err error
		switch exit {
		case exitOrder:
			n = streams
			what = []string{"No new orders"}
			if streams > 0 {
				what = []string{"No new orders. " + count(streams, "open connection") + " closed"}
			}
		case exitOpenOrder:
			n, what, err = t.stoppedOrders(account, c.GetEpoch())
		case exitPendingWithdrawal:
			n, what, err = t.stoppedWithdrawals(account, c.GetEpoch(), false)
		case exitInternalTransfer:
			n, what, err = t.stoppedWithdrawals(account, c.GetEpoch(), true)
		default:
			continue // not ours to answer for
		}
		if err != nil {
			return err
		}
		err = t.exec(`INSERT INTO receipts (account_id, epoch, exit, stopped, detail, state) VALUES ($1, $2, $3, $4, $5, 'waiting')
			ON CONFLICT (account_id, epoch, exit) DO UPDATE SET state = 'waiting',
			stopped = max(stopped, excluded.stopped),
			detail = CASE WHEN excluded.stopped < stopped THEN detail ELSE excluded.detail END`,
			account, c.GetEpoch(), exit, n, strings.Join(what, ""))
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) stoppedOrders(account string, epoch int64) (int, []string, error) {
	orders, err := collect(t.ctx, t, scanOrderRow, `SELECT `+orderColumns+` FROM orders
		WHERE account_id = $1 AND stop_epoch = $2`, account, epoch)
	if err != nil {
		return 0, nil, err
	}
	sums := map[string]Amount{}
	for _, o := range orders {
		left := o.quantity.Sub(o.filled)
		asset := o.symbol.pays(o.side)
		if o.side == buy {
			left = left.Mul(o.price)
		}
		sums[asset] = sums[asset].Add(left)
	}
	return len(orders), tally(len(orders), "open order", sums), nil
}

func (t *txn) stoppedWithdrawals(account string, epoch int64, internal bool) (int, []string, error) {
	all, err := collect(t.ctx, t, scanWithdrawalRow, `SELECT `+withdrawalColumns+` FROM withdrawals
		WHERE account_id = $1 AND stop_epoch = $2 AND internal = $3 AND state = $4`, account, epoch, internal, withdrawalCancelled)
	if err != nil {
		return 0, nil, err
	}
	sums := map[string]Amount{}
	for _, w := range all {
		sums[w.asset.name] = sums[w.asset.name].Add(w.amount)
	}
	noun := "pending withdrawal"
	if internal {
		noun = "pending transfer"
	}
	return len(all), tally(len(all), noun, sums), nil
}

// tally writes "2 open orders cancelled: 0.41 BTC, 1200 USDT stayed here".
func tally(n int, noun string, sums map[string]Amount) []string {
	if n == 0 {
		return []string{"No " + noun + " was waiting"}
	}
	var parts []string
	for _, a := range assets {
		if s := sums[a.name]; s.Sign() > 0 {
			parts = append(parts, s.String()+" "+a.name)
		}
	}
	return []string{count(n, noun), " cancelled: ", strings.Join(parts, ", "), " stayed here"}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// deliver sends waiting receipts until ctx ends.
func (e *enforcer) deliver(ctx context.Context, x *Exchange) {
	for ctx.Err() == nil {
		pause := idleFor
		if err := x.sendReceipts(ctx); err != nil {
			x.log.Warn("receipts wait", "error", err)
			pause = retryEvery
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-e.bell:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (x *Exchange) sendReceipts(ctx context.Context) error {
	waiting, err := collect(ctx, x.db.read, func(r *sql.Rows) (*holdfastv1.SubmitReceiptRequest, error) {
		m := &holdfastv1.SubmitReceiptRequest{}
		var account string
		err := r.Scan(&account, &m.Epoch, &m.Exit, &m.Stopped, &m.Detail)
		m.Account = accountRef(account)
		return m, err
	}, `SELECT account_id, epoch, exit, stopped, detail FROM receipts WHERE state = 'waiting' ORDER BY rowid`)
	if err != nil || len(waiting) == 0 {
		return err
	}
	states := make([]string, len(waiting))
	var failure error
	for i, m := range waiting {
		asking, cancel := context.WithTimeout(ctx, x.cfg.HoldfastTimeout)
		_, err := x.cfg.Guard.SubmitReceipt(asking, connect.NewRequest(m))
		cancel()
		switch {
		case err == nil:
			states[i] = "sent"
		case connect.CodeOf(err) == connect.CodeFailedPrecondition, connect.CodeOf(err) == connect.CodeNotFound,
			connect.CodeOf(err) == connect.CodeInvalidArgument:
			// Another epoch holds by now: its own receipts follow.
			x.log.Info("receipt no longer wanted", "exit", m.GetExit(), "epoch", m.GetEpoch(), "error", err)
			states[i] = "refused"
		default:
			failure = errors.Join(failure, err)
		}
		if c := connect.CodeOf(err); err != nil && (c == connect.CodeUnavailable || c == connect.CodeDeadlineExceeded) {
			break // the others would fare no better
		}
	}
	err = x.db.update(ctx, x.now(), func(t *txn) error {
		for i, m := range waiting {
			if states[i] == "" {
				continue
			}
			err := t.exec(`UPDATE receipts SET state = $4 WHERE account_id = $1 AND epoch = $2 AND exit = $3 AND stopped = $5`,
				m.GetAccount().GetAccountId(), m.GetEpoch(), m.GetExit(), states[i], m.GetStopped())
			if err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(failure, err)
}
