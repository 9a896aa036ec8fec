package guard

import (
	"context"
	"fmt"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// mailDays is how far back addresses are told of what opens or closes an account: a thief who
// changed the address last week must not be the only one to read about it.
const mailDays = 30 * 24 * time.Hour

// tell queues a mail to every address of the last 30 days, in the transaction that caused it.
func (g *Guard) tell(ctx context.Context, tx *permit.Tx, what notice.Vars) error {
	to, err := account.Addresses(ctx, tx, tx.Standing.Account, tx.Now().Add(-mailDays))
	if err != nil {
		return err
	}
	if err := g.post.Queue(ctx, tx, notice.Notice{Account: tx.Standing.Account, To: to, Vars: what}); err != nil {
		return fmt.Errorf("queue mail: %w", err)
	}
	return nil
}

// tellFrozen tells that the account was frozen, and how.
func (g *Guard) tellFrozen(ctx context.Context, tx *permit.Tx) error {
	how := map[evidence.Kind]string{
		evidence.Holder:     "a signed-in session",
		evidence.Link:       "a link in a mail",
		evidence.Code:       "a freeze code",
		evidence.Operator:   "our staff",
		evidence.Integrator: "the platform",
	}
	return g.tell(ctx, tx, notice.Frozen{Event: notice.EventOf(tx.By, tx.Now()), By: how[tx.By.Kind]})
}

// mailsAnHour is how many mails an hour an account gets about withdrawals. A stolen key could
// otherwise bury the one that warns under thousands.
const mailsAnHour = 10

// tellRequested tells that assets are about to leave, as long as the mailbox is not full of it.
func (g *Guard) tellRequested(ctx context.Context, tx *permit.Tx, w Withdrawal, by looked) error {
	var lately int64
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM (SELECT made_at FROM notice WHERE account_id = $1 AND kind = $2 AND made_at > $3 LIMIT $4) n`,
		string(w.Account), string(notice.KindWithdrawalRequested), store.Micros(tx.Now().Add(-time.Hour)), mailsAnHour).Scan(&lately); err != nil {
		return fmt.Errorf("count mails: %w", err)
	}
	if lately >= mailsAnHour {
		tx.Note("not_mailed", "ten mails about withdrawals went out in the last hour")
		return nil
	}
	with := "a signed-in session"
	if by.kind == "api_key" {
		with = "API key " + by.credentialID
	}
	return g.tell(ctx, tx, notice.WithdrawalRequested{
		Event: notice.EventOf(tx.By, tx.Now()), Amount: w.Amount.String(), Asset: w.Asset, To: w.Address, By: with,
	})
}
