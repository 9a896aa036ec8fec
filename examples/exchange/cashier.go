package exchange

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// cashier sends withdrawals whose time has come, and tells Holdfast how each one ended. It
// is the only part of the program that lets money out.
type cashier struct {
	bell chan struct{}
}

func newCashier() *cashier { return &cashier{bell: make(chan struct{}, 1)} }

// wake makes the cashier look now.
func (c *cashier) wake() { ring(c.bell) }

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // it rings already
	}
}

const (
	// retryEvery is how soon something that Holdfast could not be told is tried again.
	retryEvery = 500 * time.Millisecond
	// idleFor bounds a sleep, so that a clock that was set is noticed.
	idleFor = 30 * time.Second
)

// run works until ctx ends.
func (c *cashier) run(ctx context.Context, x *Exchange) {
	for ctx.Err() == nil {
		pause := c.round(ctx, x)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-c.bell:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// round does what is due and returns how long there is nothing to do.
func (c *cashier) round(ctx context.Context, x *Exchange) time.Duration {
	due, err := collect(ctx, x.db.read, scanWithdrawalRow, `SELECT `+withdrawalColumns+` FROM withdrawals
		WHERE state = $1 AND due_at <= $2 ORDER BY due_at LIMIT 100`, withdrawalPending, micros(x.now()))
	if err != nil {
		x.log.Error("cashier cannot read withdrawals", "error", err)
		return retryEvery
	}
	pause := idleFor
	for _, w := range due {
		if err := x.send(ctx, w); err != nil {
			x.log.Warn("withdrawal waits", "withdrawal", w.id, "error", err)
			pause = retryEvery
		}
	}
	told, err := collect(ctx, x.db.read, scanWithdrawalRow, `SELECT `+withdrawalColumns+` FROM withdrawals
		WHERE report <> '' ORDER BY created_at LIMIT 100`)
	if err != nil {
		x.log.Error("cashier cannot read reports", "error", err)
		return retryEvery
	}
	for _, w := range told {
		if err := x.tell(ctx, w); err != nil {
			x.log.Warn("holdfast was not told how a withdrawal ended", "withdrawal", w.id, "report", w.report, "error", err)
			pause = retryEvery
		}
	}
	var next int64
	err = x.db.read.QueryRowContext(ctx, `SELECT COALESCE(min(due_at), 0) FROM withdrawals WHERE state = $1`,
		withdrawalPending).Scan(&next)
	if err != nil {
		return retryEvery
	}
	if next != 0 {
		pause = min(pause, max(fromMicros(next).Sub(x.now()), 10*time.Millisecond))
	}
	return pause
}

// send is the point of no return. Holdfast is asked last; its yes counts only until
// send_before and only while no later epoch has reached this exchange, which is looked at
// again inside the transaction that lets the money go.
func (x *Exchange) send(ctx context.Context, w withdrawal) error {
	if x.enforcer.halted.Load() {
		return errHalted
	}
	asking, cancel := context.WithTimeout(ctx, x.cfg.HoldfastTimeout)
	defer cancel()
	answer, err := x.cfg.Guard.ConfirmWithdrawal(asking, connect.NewRequest(&holdfastv1.ConfirmWithdrawalRequest{
		Account: accountRef(w.account), WithdrawalId: w.holdfastID,
	}))
	if err != nil {
		switch connect.CodeOf(err) {
		case connect.CodeNotFound, connect.CodeFailedPrecondition: // it has ended there already
			return x.keep(ctx, w, withdrawalFailed, "Not sent", "", 0)
		}
		return err
	}
	state := answer.Msg.GetWithdrawal()
	switch state.GetState() {
	case holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED:
	case holdfastv1.WithdrawalState_WITHDRAWAL_STATE_REQUESTED:
		return x.undecided(ctx, w, answer.Msg.GetDecision())
	case holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CANCELLED, holdfastv1.WithdrawalState_WITHDRAWAL_STATE_REFUSED:
		return x.keep(ctx, w, withdrawalCancelled, "Stopped because the account is frozen", "", answer.Msg.GetDecision().GetEpoch())
	case holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED_BEFORE_FREEZE:
		return x.keep(ctx, w, withdrawalCancelled, "Recalled before it was sent: the account is frozen", reportFail, answer.Msg.GetDecision().GetEpoch())
	case holdfastv1.WithdrawalState_WITHDRAWAL_STATE_FAILED:
		return x.keep(ctx, w, withdrawalFailed, "Not sent", "", 0)
	default:
		return fmt.Errorf("withdrawal %s is %s at Holdfast and pending here", w.id, state.GetState())
	}
	if err := verdict(answer.Msg.GetDecision()); err != nil {
		return fmt.Errorf("confirmed without a yes: %w", err)
	}
	if before := state.GetSendBefore().AsTime(); !x.now().Before(before) {
		return x.keep(ctx, w, withdrawalFailed, "Not sent: the confirmation ran out", reportFail, 0)
	}
	return x.letGo(ctx, w, state)
}

// letGo writes the transaction to the simulated network, or credits the receiver.
func (x *Exchange) letGo(ctx context.Context, w withdrawal, confirmed *holdfastv1.Withdrawal) error {
	left := false
	err := x.update(ctx, func(t *txn) error {
		left = false
		var err error
		if w, err = t.withdrawal(w.id); err != nil || w.state != withdrawalPending {
			return err
		}
		if x.fresh(w.account, confirmed.GetEpoch()) != nil || !t.now.Before(confirmed.GetSendBefore().AsTime()) {
			return t.giveBack(&w, withdrawalCancelled, "Recalled before it was sent", reportFail, 0)
		}
		left = true
		w.state, w.report, w.ended, w.txid = withdrawalSent, reportSettle, t.now, newTxID()
		if w.internal {
			w.txid = "Internal transfer " + w.id
			if err := t.credit(w); err != nil {
				return err
			}
			return t.saveWithdrawal(w, 0)
		}
		err = t.exec(`INSERT INTO chain (txid, withdrawal_id, network, asset, address, amount, at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, w.txid, w.id, w.asset.network, w.asset.name, w.address,
			w.net().String(), micros(t.now))
		if err != nil {
			return err
		}
		entries := append(move(w.asset.name, w.net(), w.account, locked, houseChain, free),
			move(w.asset.name, w.fee, w.account, locked, houseFees, free)...)
		if err := t.post(posting{kind: "withdrawal", ref: w.id, detail: "Withdrawal to " + w.address, entries: entries}); err != nil {
			return err
		}
		return t.saveWithdrawal(w, 0)
	})
	if err != nil {
		return err
	}
	x.outbox.wake()
	if left {
		x.streams.balanceChanged(ctx, x, w.account, w.asset.name, w.amount.Neg())
		if w.internal {
			x.streams.balanceChanged(ctx, x, w.receiver, w.asset.name, w.amount)
		}
	} else {
		x.streams.positionChanged(ctx, x, w.account)
	}
	return nil
}

// credit books an internal transfer at its receiver.
func (t *txn) credit(w withdrawal) error {
	err := t.exec(`INSERT INTO deposits (id, account_id, asset, amount, address, txid, internal, at)
		VALUES ($1, $2, $3, $4, $5, $6, 1, $7)`, newID(), w.receiver, w.asset.name, w.amount.String(), w.address,
		w.txid, micros(t.now))
	if err != nil {
		return err
	}
	return t.post(posting{kind: "transfer", ref: w.id, detail: "Internal transfer to " + w.address,
		entries: move(w.asset.name, w.amount, w.account, locked, w.receiver, free)})
}

// keep ends a pending withdrawal whose money stays.
func (x *Exchange) keep(ctx context.Context, w withdrawal, state, reason, report string, epoch int64) error {
	err := x.update(ctx, func(t *txn) error {
		now, err := t.withdrawal(w.id)
		if err != nil || now.state != withdrawalPending {
			return err
		}
		return t.giveBack(&now, state, reason, report, epoch)
	})
	if err == nil {
		x.streams.positionChanged(ctx, x, w.account)
	}
	return err
}

// undecided handles a no that left the withdrawal requested at Holdfast. A hold ends, and the
// question is put again; anything else does not: what asked for the money is gone.
func (x *Exchange) undecided(ctx context.Context, w withdrawal, d *holdfastv1.Decision) error {
	switch d.GetVerdict() {
	case holdfastv1.Verdict_VERDICT_HELD, holdfastv1.Verdict_VERDICT_TOO_MANY:
		return x.postpone(ctx, w, d)
	case holdfastv1.Verdict_VERDICT_FROZEN:
		return x.keep(ctx, w, withdrawalCancelled, "Stopped because the account is frozen", reportFail, d.GetEpoch())
	case holdfastv1.Verdict_VERDICT_UNKNOWN_CREDENTIAL, holdfastv1.Verdict_VERDICT_OUT_OF_SCOPE, holdfastv1.Verdict_VERDICT_UNKNOWN_ACCOUNT:
		return x.keep(ctx, w, withdrawalFailed, "Not sent: the key or session that asked for it has been removed", reportFail, 0)
	}
	return fmt.Errorf("withdrawal %s is neither confirmed nor refused: %s", w.id, d.GetVerdict())
}

// postpone moves the next question to the end of a hold, at most a minute away: a hold may
// be lifted early.
func (x *Exchange) postpone(ctx context.Context, w withdrawal, d *holdfastv1.Decision) error {
	return x.update(ctx, func(t *txn) error {
		next := t.now.Add(time.Minute)
		if until := d.GetUntil(); until != nil && until.AsTime().Before(next) {
			next = until.AsTime()
		}
		if next.Before(t.now.Add(time.Second)) {
			next = t.now.Add(time.Second)
		}
		return t.exec(`UPDATE withdrawals SET due_at = $2 WHERE id = $1 AND state = $3`, w.id, micros(next), withdrawalPending)
	})
}

// tell reports the end of a withdrawal to Holdfast. It is repeated until it is taken; Holdfast
// knows a repeat by the withdrawal.
func (x *Exchange) tell(ctx context.Context, w withdrawal) error {
	asking, cancel := context.WithTimeout(ctx, x.cfg.HoldfastTimeout)
	defer cancel()
	done := w.state
	var err error
	switch w.report {
	case reportSettle:
		done = withdrawalDone
		_, err = x.cfg.Guard.SettleWithdrawal(asking, connect.NewRequest(&holdfastv1.SettleWithdrawalRequest{
			Account: accountRef(w.account), WithdrawalId: w.holdfastID, Transaction: w.txid,
		}))
	case reportAbandon:
		// Whether the request was recorded is unknown. If it was, asking again with the same
		// key returns it; if not, this records it. Either way it is failed at once, and no
		// money can leave by it: only Confirm lets money go and this exchange will not ask.
		if w.holdfastID, err = x.findAbandoned(asking, w); err != nil || w.holdfastID == "" {
			break
		}
		fallthrough
	case reportFail:
		_, err = x.cfg.Guard.FailWithdrawal(asking, connect.NewRequest(&holdfastv1.FailWithdrawalRequest{
			Account: accountRef(w.account), WithdrawalId: w.holdfastID, Reason: w.reason,
		}))
	}
	if err != nil {
		switch connect.CodeOf(err) {
		case connect.CodeFailedPrecondition, connect.CodeNotFound, connect.CodeInvalidArgument, connect.CodeAlreadyExists:
			// Holdfast has decided otherwise and will not change its mind.
			x.log.Error("holdfast refused the end of a withdrawal", "withdrawal", w.id, "report", w.report, "error", err)
		default:
			return err
		}
	}
	return x.update(ctx, func(t *txn) error {
		return t.exec(`UPDATE withdrawals SET report = '', state = $3 WHERE id = $1 AND report = $2`, w.id, w.report, done)
	})
}

// findAbandoned returns Holdfast's id of a request whose answer was lost, or "" when there is
// none to fail.
func (x *Exchange) findAbandoned(ctx context.Context, w withdrawal) (string, error) {
	if w.keyID == "" {
		return "", nil // asked with a session, whose secret this exchange has not kept
	}
	by := caller{account: w.account, credential: keyCredential(w.keyID)}
	answer, err := x.cfg.Guard.RequestWithdrawal(ctx, connect.NewRequest(w.request(by)))
	if err != nil {
		return "", err
	}
	if answer.Msg.GetWithdrawal().GetState() != holdfastv1.WithdrawalState_WITHDRAWAL_STATE_REQUESTED {
		return "", nil
	}
	return answer.Msg.GetWithdrawal().GetWithdrawalId(), nil
}
