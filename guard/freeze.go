package guard

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// Frozenness is the answer to a press on Freeze.
type Frozenness struct {
	Account account.ID
	// Already says that the account was frozen before this press.
	Already bool
	Epoch   int64
}

// Freeze closes every exit of an account until a restore. It returns once the freeze is
// acknowledged: durable, and from then on refused everywhere. Freezing a frozen account succeeds,
// keeps the freeze's start, and says so. The holder's session that pressed lives on in protective
// mode; every other session and every key is suspended. A press with another proof on a frozen
// account ends the protective sessions that earlier presses left.
func (g *Guard) Freeze(ctx context.Context, by evidence.Actor, id account.ID, reason string) (Frozenness, error) {
	return g.freeze(ctx, by, id, reason, nil)
}

// FreezeByLink freezes with the link of a security mail. The link is not spent: a second press says
// that the account is frozen.
func (g *Guard) FreezeByLink(ctx context.Context, from evidence.Actor, token string) (Frozenness, error) {
	link, err := notice.FindLink(ctx, g.db, g.db.Now(), notice.FreezeLinkPurpose, token)
	if err != nil {
		return Frozenness{}, err
	}
	return g.freeze(ctx, notice.LinkActor(link, from), link.Account, "mail link", func(tx *permit.Tx) error {
		again, err := notice.FindLink(ctx, tx, tx.Now(), notice.FreezeLinkPurpose, token)
		if err != nil {
			return err
		}
		return notice.UseLink(ctx, tx, again)
	})
}

// wrongCodes is how many wrong freeze codes one source may try. Right ones are never limited.
var wrongCodes = permit.Limit{Tries: 10, Window: time.Hour}

// FreezeByCode freezes with a mail address and a freeze code. A right code is honoured before any
// limit; a wrong code and an unknown address get the same answer.
func (g *Guard) FreezeByCode(ctx context.Context, from evidence.Actor, mail, code string) (Frozenness, error) {
	id, codeID, err := account.FindFreezeCode(ctx, g.db, mail, code)
	if err != nil {
		if fault.KindOf(err) == fault.Internal {
			return Frozenness{}, err
		}
		if limit := g.door.Attempt(ctx, "freeze code "+account.Source(from.Address), wrongCodes); limit != nil {
			return Frozenness{}, limit
		}
		return Frozenness{}, err
	}
	from.Kind, from.ID = evidence.Code, codeID
	return g.freeze(ctx, from, id, "freeze code", func(tx *permit.Tx) error {
		_, _, err := account.FindFreezeCode(ctx, tx, mail, code)
		return err
	})
}

// freeze is the one way to a freeze; proof looks again at a link or code inside the transaction.
func (g *Guard) freeze(ctx context.Context, by evidence.Actor, id account.ID, reason string, proof func(*permit.Tx) error) (Frozenness, error) {
	if id == evidence.Platform {
		return Frozenness{}, errUnknownAccount() // the platform's own chain has no exits, and no restore reaches it
	}
	reason = plain(reason)
	press := func(ctx context.Context) (out Frozenness, err error) {
		err = g.door.Do(ctx, by, permit.Act{Name: permit.Freeze, Account: id}, func(tx *permit.Tx) error {
			if proof != nil {
				if err := proof(tx); err != nil {
					return err
				}
			}
			out = Frozenness{Account: id, Already: tx.Standing.Frozen()}
			err := g.close(ctx, tx, reason)
			out.Epoch = tx.Standing.Epoch
			return err
		})
		return out, err
	}
	out, err := press(ctx)
	if unanswered(err) {
		return g.insist(ctx, id, press, err)
	}
	return out, err
}

// reasonBytes is how much of a reason is kept.
const reasonBytes = 200

// plain makes a reason fit to be kept, whatever was typed: a database that refuses half a character
// or a NUL must not refuse the freeze with it.
func plain(reason string) string {
	reason = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(reason, "?"))
	for len(reason) > reasonBytes {
		_, last := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-last]
	}
	return reason
}

// close does the work of a freeze inside the transaction.
func (g *Guard) close(ctx context.Context, tx *permit.Tx, reason string) error {
	keep := ""
	if tx.By.Kind == evidence.Holder {
		keep = tx.By.Session
	}
	if tx.Standing.Frozen() {
		if keep != "" {
			tx.Unchanged() // only the session that pressed, or one opened by a mailed code, is left to press
			return nil
		}
		ended, err := account.EndSessions(ctx, tx, "", "frozen with another proof")
		if err != nil {
			return err
		}
		tx.Note("again", true)
		tx.Note("protective_sessions_ended", ended)
		return g.press(ctx, tx, reason)
	}
	tx.RaiseEpoch()
	tx.Standing.FrozenAt = tx.Now()
	suspended, err := account.SuspendForFreeze(ctx, tx, keep)
	if err != nil {
		return err
	}
	cancelled, err := cancelRequested(ctx, tx)
	if err != nil {
		return err
	}
	left, err := markConfirmed(ctx, tx)
	if err != nil {
		return err
	}
	if err := g.writeReceipts(ctx, tx, suspended, cancelled); err != nil {
		return err
	}
	tx.Note("reason", reason)
	tx.Note("sessions", suspended.Sessions)
	tx.Note("keys", suspended.Keys+suspended.Credentials)
	tx.Note("withdrawals_cancelled", len(cancelled))
	tx.Note("may_already_have_left", len(left))
	tx.Announce("freeze", "")
	if err := g.press(ctx, tx, reason); err != nil {
		return err
	}
	return g.tellFrozen(ctx, tx)
}

// press keeps who pressed and with what proof.
func (g *Guard) press(ctx context.Context, tx *permit.Tx, reason string) error {
	_, err := tx.Exec(ctx, `INSERT INTO freeze_press (account_id, epoch, press_id, at, channel, reason) VALUES ($1, $2, $3, $4, $5, $6)`,
		string(tx.Standing.Account), tx.Standing.Epoch, store.NewID(), store.Micros(tx.Now()), string(tx.By.Kind), reason)
	if err != nil {
		return fmt.Errorf("keep press: %w", err)
	}
	return nil
}
