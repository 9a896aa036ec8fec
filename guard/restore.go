package guard

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// Plan is a restore that one operator proposed and another may approve.
type Plan struct {
	ID         string
	Account    account.ID
	Epoch      int64
	Reason     string
	ProposedBy string
	ProposedAt time.Time
	ApprovedBy string
	ApprovedAt time.Time
	// KeepPassword leaves the password of before the freeze in force. Without it, one that was not
	// replaced during the freeze stops working: whoever stole it would be back at once.
	KeepPassword bool
}

// planLife is how long a proposal can be approved: what was true when it was written may not be a
// week later.
const planLife = 7 * 24 * time.Hour

// Propose writes down that an operator wants to end a freeze and why, and tells every address of
// the last 30 days. It opens nothing.
func (g *Guard) Propose(ctx context.Context, by evidence.Actor, id account.ID, reason string, keepPassword bool) (Plan, error) {
	if reason == "" || len(reason) > 500 || !utf8.ValidString(reason) {
		return Plan{}, fault.New(fault.Invalid, "reason", "Give a reason of 1 to 500 bytes: how do you know that it is the holder who asks?")
	}
	var p Plan
	err := g.door.Do(ctx, by, permit.Act{Name: permit.ProposeRestore, Account: id}, func(tx *permit.Tx) error {
		if err := account.CountsForRestore(ctx, tx, by.ID); err != nil {
			return err
		}
		if !tx.Standing.Frozen() {
			return fault.New(fault.Conflict, "not_frozen", "This account is not frozen.")
		}
		p = Plan{ID: store.NewID(), Account: id, Epoch: tx.Standing.Epoch, Reason: reason, ProposedBy: by.ID, ProposedAt: tx.Now(), KeepPassword: keepPassword}
		if _, err := tx.Exec(ctx, `INSERT INTO restore_plan (account_id, plan_id, epoch, reason, proposed_by, proposed_at, approved_by, approved_at, keep_password)
			VALUES ($1, $2, $3, $4, $5, $6, '', 0, $7)`, string(id), p.ID, p.Epoch, p.Reason, p.ProposedBy, store.Micros(p.ProposedAt), p.KeepPassword); err != nil {
			return fmt.Errorf("keep proposal: %w", err)
		}
		tx.Note("plan", p.ID)
		tx.Note("reason", reason)
		return g.tell(ctx, tx, notice.RestoreProposed{Event: notice.EventOf(by, tx.Now()), Reason: reason})
	})
	return p, err
}

// Plan returns a proposal.
func (g *Guard) Plan(ctx context.Context, planID string) (Plan, error) {
	return readPlan(ctx, g.db, planID)
}

func readPlan(ctx context.Context, q store.Querier, planID string) (Plan, error) {
	p := Plan{ID: planID}
	var proposed, approved int64
	err := q.QueryRow(ctx, `SELECT account_id, epoch, reason, proposed_by, proposed_at, approved_by, approved_at, keep_password FROM restore_plan WHERE plan_id = $1`, planID).
		Scan(&p.Account, &p.Epoch, &p.Reason, &p.ProposedBy, &proposed, &p.ApprovedBy, &approved, &p.KeepPassword)
	if noRows(err) {
		return p, fault.New(fault.NotFound, "unknown_plan", "There is no such proposal.")
	}
	if err != nil {
		return p, fmt.Errorf("read proposal: %w", err)
	}
	p.ProposedAt, p.ApprovedAt = store.Time(proposed), store.Time(approved)
	return p, nil
}

// Approve ends the freeze that the plan names. The approver must be another operator than the one
// who proposed it. Sessions stay ended and keys stay suspended: the holder signs in anew and
// enables or deletes each key. Links that would change the address or the password are over, and a
// password that was not replaced during the freeze stops working unless the plan keeps it. Payouts
// stay held, by default for 48 hours, and every address of the last 30 days is told. A plan for an
// earlier freeze opens nothing, and neither does one after which somebody pressed Freeze again: the
// mail about a proposal says that this stops it.
func (g *Guard) Approve(ctx context.Context, by evidence.Actor, planID string) (Plan, error) {
	p, err := readPlan(ctx, g.db, planID)
	if err != nil {
		return Plan{}, err
	}
	err = g.door.Do(ctx, by, permit.Act{Name: permit.ApproveRestore, Account: p.Account}, func(tx *permit.Tx) error {
		var err error
		if p, err = readPlan(ctx, tx, planID); err != nil {
			return err
		}
		for _, name := range []string{by.ID, p.ProposedBy} { // who proposed may have been removed since
			if err := account.CountsForRestore(ctx, tx, name); err != nil {
				return err
			}
		}
		switch {
		case by.ID == p.ProposedBy:
			return fault.New(fault.Denied, "same_person", "Another operator than the one who proposed a restore has to approve it.")
		case !p.ApprovedAt.IsZero():
			return fault.New(fault.Conflict, "approved", "This proposal was approved already.")
		case !tx.Standing.Frozen() || p.Epoch != tx.Standing.Epoch:
			return fault.New(fault.Conflict, "epoch", "This proposal is for an earlier freeze. Propose again.")
		case tx.Now().After(p.ProposedAt.Add(planLife)):
			return fault.New(fault.Conflict, "old_plan", "This proposal is older than 7 days. Propose again.")
		}
		if err := notPressedSince(ctx, tx, p); err != nil {
			return err
		}
		p.ApprovedBy, p.ApprovedAt = by.ID, tx.Now()
		if _, err := tx.Exec(ctx, `UPDATE restore_plan SET approved_by = $3, approved_at = $4 WHERE account_id = $1 AND plan_id = $2`,
			string(p.Account), p.ID, p.ApprovedBy, store.Micros(p.ApprovedAt)); err != nil {
			return fmt.Errorf("keep approval: %w", err)
		}
		if _, err := account.EndSessions(ctx, tx, "", "restored"); err != nil {
			return err
		}
		if err := account.EndWaiting(ctx, tx); err != nil {
			return err
		}
		void := false
		if !p.KeepPassword {
			if void, err = g.accounts.VoidPassword(ctx, tx, tx.Standing.FrozenAt); err != nil {
				return err
			}
		}
		tx.RaiseEpoch()
		tx.Standing.FrozenAt, tx.Standing.RestoredAt = time.Time{}, tx.Now()
		held := tx.Now().Add(g.cfg.Lengths[HeldRestored])
		// The hold is written down too, so that a later change of the configured length cannot
		// shorten it.
		if err := placeHold(ctx, tx, HeldRestored, p.Reason, g.cfg.Lengths[HeldRestored], Payouts()...); err != nil {
			return err
		}
		tx.Note("plan", p.ID)
		tx.Note("password_void", void)
		tx.Note("proposed_by", p.ProposedBy)
		tx.Note("payouts_held_until", held)
		tx.Announce("restore", "")
		return g.tell(ctx, tx, notice.Restored{Event: notice.EventOf(by, tx.Now()), Reason: p.Reason, HeldUntil: held, NewPassword: void})
	})
	return p, err
}

// notPressedSince refuses a plan after which Freeze was pressed with a proof of its own. A session in
// protective mode is none: a thief with the mailbox can have one.
func notPressedSince(ctx context.Context, tx *permit.Tx, p Plan) error {
	var presses int64
	err := tx.QueryRow(ctx, `SELECT count(*) FROM freeze_press WHERE account_id = $1 AND epoch = $2 AND at > $3`,
		string(p.Account), p.Epoch, store.Micros(p.ProposedAt)).Scan(&presses)
	if err != nil {
		return fmt.Errorf("read presses: %w", err)
	}
	if presses > 0 {
		return fault.New(fault.Conflict, "pressed_again", "Freeze was pressed again after this proposal. Find out who pressed, then propose again.")
	}
	return nil
}
