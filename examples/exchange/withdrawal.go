package exchange

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// States of a withdrawal. Money is locked in the first two and nowhere else.
const (
	withdrawalRequesting = "requesting" // Holdfast is being asked
	withdrawalPending    = "pending"    // allowed, waiting for its time
	withdrawalSent       = "sent"       // on the network, or credited to the receiver
	withdrawalDone       = "done"       // and Holdfast knows
	withdrawalCancelled  = "cancelled"  // stopped by a freeze
	withdrawalRejected   = "rejected"   // refused when it was requested
	withdrawalFailed     = "failed"     // not sent for another reason
)

// What is still to be told to Holdfast of a withdrawal that ended here.
const (
	reportSettle  = "settle"
	reportFail    = "fail"
	reportAbandon = "abandon" // its request may or may not have been recorded
)

// withdrawal is money on its way out, or to another customer.
type withdrawal struct {
	id, account, clientID           string
	asset                           asset
	amount, fee                     Amount
	address, receiver, keyID        string
	internal                        bool
	state, reason, holdfastID, txid string
	report                          string
	due, created, ended             time.Time
}

// net is what arrives.
func (w withdrawal) net() Amount { return w.amount.Sub(w.fee) }

const withdrawalColumns = `id, account_id, client_id, asset, amount, fee, address, internal, receiver, key_id, state,
	reason, holdfast_id, txid, report, due_at, created_at, ended_at`

func scanWithdrawal(r interface{ Scan(...any) error }) (w withdrawal, err error) {
	var name string
	var due, created, ended int64
	err = r.Scan(&w.id, &w.account, &w.clientID, &name, &w.amount, &w.fee, &w.address, &w.internal, &w.receiver,
		&w.keyID, &w.state, &w.reason, &w.holdfastID, &w.txid, &w.report, &due, &created, &ended)
	if err != nil {
		return w, err
	}
	w.asset = mustAsset(name)
	w.due, w.created = fromMicros(due), fromMicros(created)
	if ended != 0 {
		w.ended = fromMicros(ended)
	}
	return w, nil
}

func scanWithdrawalRow(r *sql.Rows) (withdrawal, error) { return scanWithdrawal(r) }

func (t *txn) withdrawal(id string) (withdrawal, error) {
	return scanWithdrawal(t.row(`SELECT `+withdrawalColumns+` FROM withdrawals WHERE id = $1`, id))
}

func (t *txn) saveWithdrawal(w withdrawal, stopEpoch int64) error {
	ended := int64(0)
	if !w.ended.IsZero() {
		ended = micros(w.ended)
	}
	return t.exec(`UPDATE withdrawals SET state = $2, reason = $3, holdfast_id = $4, txid = $5, report = $6,
		due_at = $7, ended_at = $8, stop_epoch = $9 WHERE id = $1`,
		w.id, w.state, w.reason, w.holdfastID, w.txid, w.report, micros(w.due), ended, stopEpoch)
}

// giveBack ends a withdrawal that has not left and returns its money.
func (t *txn) giveBack(w *withdrawal, state, reason, report string, epoch int64) error {
	if err := t.post(unlock(w.account, w.asset.name, w.amount, "withdrawal "+w.id)); err != nil {
		return err
	}
	w.state, w.reason, w.report, w.ended = state, reason, report, t.now
	if state == withdrawalRejected {
		// A refused request had no effect, so its id may be used again: a client that repeats it
		// must not be told that it was accepted.
		w.clientID += refusedMark + w.id
		if err := t.exec(`UPDATE withdrawals SET client_id = $2 WHERE id = $1`, w.id, w.clientID); err != nil {
			return err
		}
	}
	return t.saveWithdrawal(*w, epoch)
}

// refusedMark ends the client's id of a refused request.
const refusedMark = "\x1frefused\x1f"

// withdrawalRequest is a request with its fields checked.
type withdrawalRequest struct {
	asset    asset
	amount   Amount
	address  string
	receiver string // the account behind the address, when it is one of ours
	// clientID is the idempotency key: the client's own id, or one made for this request.
	clientID string
}

func (r withdrawalRequest) internal() bool { return r.receiver != "" }

var (
	errOwnAddress  = errors.New("the address belongs to the same account")
	errOtherBody   = errors.New("the id was used for another withdrawal")
	errInProgress  = errors.New("the same withdrawal is being asked for at this moment")
	errNotRecorded = errors.New("Holdfast did not record the request")
)

// receiverOf returns the account that an address belongs to, or "" for one outside.
func (x *Exchange) receiverOf(ctx context.Context, a asset, address string) (string, error) {
	var account string
	err := x.db.read.QueryRowContext(ctx, `SELECT account_id FROM deposit_addresses WHERE asset = $1 AND address = $2`,
		a.name, a.normal(address)).Scan(&account)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return account, err
}

// withdraw takes a request as far as pending: it locks the money, asks Holdfast, and gives
// the money back when the answer is no or no answer came. The same client id with the same
// content returns the withdrawal it named the first time.
func (x *Exchange) withdraw(ctx context.Context, by caller, r withdrawalRequest) (withdrawal, error) {
	if r.receiver == by.account {
		return withdrawal{}, errOwnAddress
	}
	w, created, err := x.openWithdrawal(ctx, by, r)
	if err != nil || !created {
		return w, err
	}
	// From here on the client's going away changes nothing.
	ctx = context.WithoutCancel(ctx)
	recorded, err := x.requestWithdrawal(ctx, w, by)
	if err != nil {
		state, report := withdrawalRejected, ""
		if errors.Is(err, errUnavailable) {
			report = reportAbandon
		}
		if undo := x.endRequest(ctx, w.id, state, err.Error(), report); undo != nil {
			// The row stays "requesting" with its money locked; the next start abandons it.
			x.log.Error("refused withdrawal could not be undone", "withdrawal", w.id, "error", undo)
		}
		x.cashier.wake()
		return w, err
	}
	var no error
	err = x.update(ctx, func(t *txn) error {
		if w, err = t.withdrawal(w.id); err != nil {
			return err
		}
		if w.state != withdrawalRequesting {
			// A freeze overtook the answer and has ended it here already.
			no = frozenRefusal(recorded.GetEpoch())
			w.holdfastID = recorded.GetWithdrawalId()
			return t.exec(`UPDATE withdrawals SET holdfast_id = $2 WHERE id = $1`, w.id, w.holdfastID)
		}
		w.state, w.holdfastID = withdrawalPending, recorded.GetWithdrawalId()
		return t.saveWithdrawal(w, 0)
	})
	if err != nil {
		return w, err
	}
	x.streams.positionChanged(ctx, x, by.account)
	x.cashier.wake()
	return w, no
}

// openWithdrawal writes the request and locks its money, or finds the same one made before.
func (x *Exchange) openWithdrawal(ctx context.Context, by caller, r withdrawalRequest) (w withdrawal, created bool, err error) {
	err = x.update(ctx, func(t *txn) error {
		created = false
		if err := x.fresh(by.account, by.epoch); err != nil {
			return err
		}
		w, err = scanWithdrawal(t.row(`SELECT `+withdrawalColumns+` FROM withdrawals
			WHERE account_id = $1 AND client_id = $2`, by.account, r.clientID))
		switch {
		case err == nil:
			if w.asset.name != r.asset.name || w.amount.Cmp(r.amount) != 0 || w.address != r.address {
				return errOtherBody
			}
			if w.state == withdrawalRequesting {
				return errInProgress
			}
			return nil
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		created = true
		w = withdrawal{id: newID(), account: by.account, clientID: r.clientID, asset: r.asset, amount: r.amount,
			fee: r.asset.fee, address: r.address, receiver: r.receiver, internal: r.internal(), keyID: by.keyID,
			state: withdrawalRequesting, created: t.now}
		delay := x.cfg.WithdrawalDelay
		if w.internal {
			w.fee = Amount{}
			if delay, err = t.transferDelay(x.cfg, by.account); err != nil {
				return err
			}
		}
		w.due = t.now.Add(delay)
		if err := t.post(lock(w.account, w.asset.name, w.amount, "withdrawal "+w.id)); err != nil {
			return err
		}
		return t.exec(`INSERT INTO withdrawals (id, account_id, client_id, asset, amount, fee, address, internal,
			receiver, key_id, state, due_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			w.id, w.account, w.clientID, w.asset.name, w.amount.String(), w.fee.String(), w.address, w.internal,
			w.receiver, w.keyID, w.state, micros(w.due), micros(w.created))
	})
	return w, created, err
}

// transferDelay is short for internal transfers unless the account switched fast
// withdrawals off.
func (t *txn) transferDelay(cfg Config, account string) (time.Duration, error) {
	fast := true
	err := t.row(`SELECT fast FROM users WHERE account_id = $1`, account).Scan(&fast)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if fast {
		return cfg.TransferDelay, nil
	}
	return max(cfg.WithdrawalDelay, cfg.TransferDelay), nil
}

// requestWithdrawal asks Holdfast to decide and record. Only a yes whose state is still
// "requested" is returned without an error.
func (x *Exchange) requestWithdrawal(ctx context.Context, w withdrawal, by caller) (*holdfastv1.Withdrawal, error) {
	ctx, cancel := context.WithTimeout(ctx, x.cfg.HoldfastTimeout)
	defer cancel()
	answer, err := x.cfg.Guard.RequestWithdrawal(ctx, connect.NewRequest(w.request(by)))
	if err != nil {
		x.log.Warn("holdfast request withdrawal failed", "withdrawal", w.id, "error", err)
		switch connect.CodeOf(err) {
		case connect.CodeInvalidArgument, connect.CodeAlreadyExists, connect.CodeFailedPrecondition:
			return nil, fmt.Errorf("%w: %w", errNotRecorded, err)
		}
		return nil, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	if err := verdict(answer.Msg.GetDecision()); err != nil {
		return nil, err
	}
	recorded := answer.Msg.GetWithdrawal()
	if recorded.GetState() != holdfastv1.WithdrawalState_WITHDRAWAL_STATE_REQUESTED {
		return nil, frozenRefusal(recorded.GetEpoch())
	}
	return recorded, nil
}

// request is what Holdfast is asked about a withdrawal, the same each time.
func (w withdrawal) request(by caller) *holdfastv1.RequestWithdrawalRequest {
	return &holdfastv1.RequestWithdrawalRequest{
		Account: accountRef(w.account), Credential: by.credential, Origin: by.origin,
		IdempotencyKey: w.id, Asset: w.asset.name, Amount: w.amount.String(), Address: w.address,
		Network: w.asset.network, Internal: w.internal, Reference: w.id,
	}
}

// endRequest ends a request that has not become pending.
func (x *Exchange) endRequest(ctx context.Context, id, state, reason, report string) error {
	return x.update(ctx, func(t *txn) error {
		w, err := t.withdrawal(id)
		if err != nil || w.state != withdrawalRequesting {
			return err
		}
		return t.giveBack(&w, state, reason, report, 0)
	})
}

// abandonRequests ends what was being asked when the program stopped: nobody got an answer.
func (x *Exchange) abandonRequests(ctx context.Context) error {
	return x.update(ctx, func(t *txn) error {
		left, err := collect(ctx, t, scanWithdrawalRow, `SELECT `+withdrawalColumns+` FROM withdrawals WHERE state = $1`,
			withdrawalRequesting)
		if err != nil {
			return err
		}
		for i := range left {
			if err := t.giveBack(&left[i], withdrawalRejected, "the exchange stopped", reportAbandon, 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// withdrawals returns an account's withdrawals, newest first.
func (x *Exchange) withdrawals(ctx context.Context, account string, limit int) ([]withdrawal, error) {
	return collect(ctx, x.db.read, scanWithdrawalRow, `SELECT `+withdrawalColumns+` FROM withdrawals
		WHERE account_id = $1 ORDER BY created_at DESC, id LIMIT $2`, account, limit)
}
