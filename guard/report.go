package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// A report is what somebody who is not signed in says: this account may be at risk. It proves
// nothing, so it reveals nothing and closes little: the account's addresses get a freeze link, and
// payouts are held for an hour, at most once in seven days for the account, whoever asks. After
// that a report is a mail and no more, so that nobody can hold a stranger's money by typing.

const linkForm = "freeze_link"

// report is what the logged-out page was given.
type report struct {
	Mail string         `json:"mail"`
	From evidence.Actor `json:"from"`
}

// linkRequests is how often one source may ask for freeze links. It slows down who would fill
// strangers' mailboxes; a holder in need asks once or twice.
var linkRequests = permit.Limit{Tries: 20, Window: time.Hour}

// unprovenEvery is how long after a hold from a report the next one can follow.
const unprovenEvery = 7 * 24 * time.Hour

// RequestLink has a freeze link mailed to the address, if it is an account's. It looks nothing up:
// whatever the address, it queues one job and answers alike.
func (g *Guard) RequestLink(ctx context.Context, from evidence.Actor, mail string) error {
	mail, err := account.NormaliseMail(mail)
	if err != nil {
		return err
	}
	if err := g.door.Attempt(ctx, "freeze link "+account.Source(from.Address), linkRequests); err != nil {
		return err
	}
	err = g.db.Housekeep(ctx, func(tx *store.Tx) error {
		return g.post.EnqueuePublic(ctx, tx, linkForm, report{Mail: mail, From: from})
	})
	if err != nil {
		return fmt.Errorf("request freeze link: %w", err)
	}
	return nil
}

// HandleReports has the post's jobs bring reports here. Call it once, before the post starts.
func (g *Guard) HandleReports() { g.post.Handle(linkForm, g.handleReport) }

func (g *Guard) handleReport(ctx context.Context, payload json.RawMessage, _ time.Time) error {
	var r report
	if err := json.Unmarshal(payload, &r); err != nil {
		return fmt.Errorf("read report: %w", err)
	}
	id, found, err := account.FindMail(ctx, g.db, r.Mail)
	if err != nil || !found {
		return err
	}
	by := r.From
	by.Kind, by.ID = evidence.System, "report"
	err = g.door.Do(ctx, by, permit.Act{Name: permit.SendFreezeLink, Account: id}, func(tx *permit.Tx) error {
		held, err := g.holdUnproven(ctx, tx)
		if err != nil {
			return err
		}
		tx.Note("held", held)
		link := notice.FreezeLink{Event: notice.EventOf(r.From, tx.Now())}
		if held {
			link.HeldUntil = tx.Now().Add(g.cfg.Lengths[HeldUnproven])
		}
		return g.post.Queue(ctx, tx, notice.Notice{
			Account: id, To: []string{r.Mail}, Vars: link,
		})
	})
	if fault.KindOf(err) == fault.TooMany {
		return nil // the mailbox has links enough; the refusal is recorded
	}
	return err
}

// holdUnproven places the short hold of a report unless the quota is used up.
func (g *Guard) holdUnproven(ctx context.Context, tx *permit.Tx) (bool, error) {
	if tx.Standing.Frozen() {
		return false, nil
	}
	var last int64
	err := tx.QueryRow(ctx, `SELECT COALESCE(max(began_at), 0) FROM hold WHERE account_id = $1 AND kind = $2`,
		string(tx.Standing.Account), string(HeldUnproven)).Scan(&last)
	if err != nil {
		return false, fmt.Errorf("read reports: %w", err)
	}
	if last != 0 && tx.Now().Before(store.Time(last).Add(unprovenEvery)) {
		return false, nil
	}
	return true, placeHold(ctx, tx, HeldUnproven, "report without proof", g.cfg.Lengths[HeldUnproven], Payouts()...)
}
