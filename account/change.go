package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// PasswordChange is what a holder types to change the password.
type PasswordChange struct {
	// Current is the password until now; Code the mailed code that takes its place in protective
	// mode.
	Current string
	Code    string
	Next    string
}

// PasswordChanged says what a new password did.
type PasswordChanged struct {
	// SessionsEnded is how many other sessions were live and are not any more.
	SessionsEnded int64
	// KeysLeft is how many API keys still work: they do not depend on the password.
	KeysLeft int64
}

// ChangePassword replaces the password, ends every other session, forgets every remembered device
// and tells the holder. It takes the present password or, in protective mode, a mailed code: whoever
// pressed Freeze may be a thief who knows the password.
func (a *Accounts) ChangePassword(ctx context.Context, by evidence.Actor, id ID, c PasswordChange) (PasswordChanged, error) {
	act := permit.Act{Name: permit.ChangePassword, Account: id}
	p, err := ReadProfile(ctx, a.db, id)
	if err != nil {
		return PasswordChanged{}, err
	}
	if err := CheckPassword(c.Next, p.Mail); err != nil {
		return PasswordChanged{}, a.door.Refuse(ctx, by, act, err)
	}
	bound := boundTo("session", by.Session)
	byCode := typedCode(c.Code) != ""
	if byCode {
		if err := a.door.Allowed(ctx, act); err != nil {
			return PasswordChanged{}, a.door.Refuse(ctx, by, act, err)
		}
		right, err := a.tryCode(ctx, id, bound, passwordCode, c.Code)
		if err != nil {
			return PasswordChanged{}, err
		}
		if !right {
			return PasswordChanged{}, a.door.Refuse(ctx, by, act, errWrongCode())
		}
	} else if err := a.stepUp(ctx, by, permit.ChangePassword, id, c.Current); err != nil {
		return PasswordChanged{}, err
	}
	old, err := passwordHash(ctx, a.db, id)
	if err != nil {
		return PasswordChanged{}, err
	}
	if same, err := a.hash.verify(ctx, old, c.Next); err != nil {
		return PasswordChanged{}, err
	} else if same {
		return PasswordChanged{}, a.door.Refuse(ctx, by, act, fault.New(fault.Invalid, "password_same", "That is the password you have now. Choose another one."))
	}
	hash, err := a.hash.make(ctx, c.Next)
	if err != nil {
		return PasswordChanged{}, err
	}
	var out PasswordChanged
	err = a.door.Do(ctx, by, act, func(tx *permit.Tx) error {
		switch {
		case tx.Mode == permit.Protective && !byCode:
			return fault.New(fault.Denied, "code_needed", "While your account is frozen, a new password is confirmed with a code that we mail to you. Ask for the code first.")
		case tx.Mode != permit.Protective && byCode:
			return fault.New(fault.Denied, "password_needed", "Confirm with your present password.")
		case byCode:
			if err := a.useCode(ctx, tx, bound, passwordCode, c.Code); err != nil {
				return err
			}
		}
		if err := samePassword(ctx, tx, old); err != nil {
			return err
		}
		out, err = a.putPassword(ctx, tx, hash, "password_changed_at", by.Session)
		return err
	})
	return out, err
}

// putPassword puts a password in force and does what follows. column takes the time of it.
func (a *Accounts) putPassword(ctx context.Context, tx *permit.Tx, hash, column, keep string) (PasswordChanged, error) {
	var out PasswordChanged
	id, now := string(tx.Standing.Account), store.Micros(tx.Now())
	if _, err := tx.Exec(ctx, `UPDATE account SET password_hash = $2, `+column+` = $3 WHERE account_id = $1`, id, hash, now); err != nil {
		return out, fmt.Errorf("keep password: %w", err)
	}
	var err error
	if out.SessionsEnded, err = endSessions(ctx, tx, "password changed", `AND session_id <> $4`, keep); err != nil {
		return out, err
	}
	if _, err := tx.Exec(ctx, `UPDATE device SET remembered_hash = $2 WHERE account_id = $1`, id, []byte{}); err != nil {
		return out, fmt.Errorf("forget devices: %w", err)
	}
	if _, err := notice.EndLinks(ctx, tx, tx.Standing.Account, notice.ResetPurpose); err != nil {
		return out, err
	}
	if out.KeysLeft, err = keysLeft(ctx, tx); err != nil {
		return out, err
	}
	tx.Note("sessions_ended", out.SessionsEnded)
	tx.Note("keys_left", out.KeysLeft)
	return out, a.tell(ctx, tx, notice.PasswordChanged{Event: notice.EventOf(tx.By, tx.Now()), SessionsEnded: int(out.SessionsEnded), KeysLeft: int(out.KeysLeft)})
}

type resetRequest struct {
	Mail string         `json:"mail"`
	From evidence.Actor `json:"from"`
}

// RequestReset has a link mailed with which a new password can be chosen. The answer is the same for
// every address, and nothing is looked up here.
func (a *Accounts) RequestReset(ctx context.Context, from evidence.Actor, mail string) error {
	mail, err := NormaliseMail(mail)
	if err != nil {
		return err
	}
	if err := a.door.Attempt(ctx, "form "+Source(from.Address), formTries); err != nil {
		return err
	}
	return a.enqueue(ctx, resetForm, resetRequest{Mail: mail, From: from})
}

// takeResetRequest is the job of RequestReset.
func (a *Accounts) takeResetRequest(ctx context.Context, payload json.RawMessage, _ time.Time) error {
	var r resetRequest
	if err := json.Unmarshal(payload, &r); err != nil {
		return fmt.Errorf("read form: %w", err)
	}
	if ok, err := a.mailAllowed(ctx, resetForm, r.Mail, r.From.Address); !ok || err != nil {
		return err
	}
	f, err := a.lookUp(ctx, r.Mail)
	if err != nil || f.id == "" || f.hash == "" {
		return err
	}
	r.From.Kind = evidence.System
	return a.do(ctx, r.From, permit.QueueMail, f.id, func(tx *permit.Tx) error {
		tx.Note("mail", notice.KindPasswordReset)
		return a.tellAt(ctx, tx, []string{f.mail}, notice.PasswordReset{Event: notice.EventOf(r.From, tx.Now())})
	})
}

// ResetPassword replaces the password with the link of a reset mail, ends every session, forgets
// every remembered device and tells the holder. The door's gates refuse it while the account is
// frozen, and the restore ends the link.
func (a *Accounts) ResetPassword(ctx context.Context, from evidence.Actor, token, next string) (PasswordChanged, error) {
	link, err := notice.FindLink(ctx, a.db, a.db.Now(), notice.ResetPurpose, token)
	if err != nil {
		return PasswordChanged{}, err
	}
	by, act := notice.LinkActor(link, from), permit.Act{Name: permit.ResetPassword, Account: link.Account}
	if err := CheckPassword(next, link.Mail); err != nil {
		return PasswordChanged{}, err
	}
	if err := a.door.Allowed(ctx, act); err != nil {
		return PasswordChanged{}, a.door.Refuse(ctx, by, act, err)
	}
	hash, err := a.hash.make(ctx, next)
	if err != nil {
		return PasswordChanged{}, err
	}
	var out PasswordChanged
	err = a.door.Do(ctx, by, act, func(tx *permit.Tx) error {
		link, err := notice.FindLink(ctx, tx, tx.Now(), notice.ResetPurpose, token)
		if err != nil {
			return err
		}
		p, err := ReadProfile(ctx, tx, link.Account)
		if err != nil {
			return err
		}
		if p.Mail != link.Mail || !p.HasPassword {
			return fault.New(fault.NotFound, "link_unknown", "This link was sent to an address that the account does not have any more. Nothing was changed.")
		}
		if err := notice.UseLink(ctx, tx, link); err != nil {
			return err
		}
		out, err = a.putPassword(ctx, tx, hash, "password_reset_at", "")
		return err
	})
	return out, err
}

// ChangeMail asks the new address whether it is right, with the password as step-up, and tells the
// addresses until now, with a freeze link. Nothing changes until the link in the new mailbox is
// pressed. Whether the new address has an account is not looked up: the answer is the same.
func (a *Accounts) ChangeMail(ctx context.Context, by evidence.Actor, id ID, mail, password string) error {
	mail, err := NormaliseMail(mail)
	if err != nil {
		return a.door.Refuse(ctx, by, permit.Act{Name: permit.ChangeMail, Account: id}, err)
	}
	if err := a.stepUp(ctx, by, permit.ChangeMail, id, password); err != nil {
		return err
	}
	return a.do(ctx, by, permit.ChangeMail, id, func(tx *permit.Tx) error {
		p, err := ReadProfile(ctx, tx, id)
		if err != nil {
			return err
		}
		if p.Mail == mail {
			return fault.New(fault.Invalid, "mail_same", "That is the address you have now.")
		}
		// One change waits at a time; a second one ends the link of the first.
		if err := forgetWaiting(ctx, tx); err != nil {
			return err
		}
		if n, err := wait(ctx, tx, mail, "change", "", ""); err != nil || n == 0 {
			return err
		}
		tx.Note("new", mail)
		event := notice.EventOf(tx.By, tx.Now())
		if err := a.tellAt(ctx, tx, []string{mail}, notice.VerifyMail{Event: event, Change: true}); err != nil {
			return err
		}
		return a.tell(ctx, tx, notice.AddressChanged{Event: event, What: "mail address", Old: p.Mail, New: mail, Asked: true})
	})
}

// moveMail puts a new address in force once its link was pressed.
func (a *Accounts) moveMail(ctx context.Context, tx *permit.Tx, mail string) error {
	p, err := ReadProfile(ctx, tx, tx.Standing.Account)
	if err != nil {
		return err
	}
	id, now := string(tx.Standing.Account), store.Micros(tx.Now())
	if err := takeMail(ctx, tx, mail, true); errors.Is(err, errTaken) {
		// Only someone who reads this mailbox gets here, so nothing is given away.
		return fault.New(fault.Conflict, "mail_taken", "You have another account with this address. One address can have one account.")
	} else if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM mail_index WHERE account_id = $1 AND mail <> $2`, id, mail); err != nil {
		return fmt.Errorf("give up old address: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE account_mail SET until_at = $2 WHERE account_id = $1 AND until_at = 0`, id, now); err != nil {
		return fmt.Errorf("end old address: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE account SET mail = $2, mail_changed_at = $3 WHERE account_id = $1`, id, mail, now); err != nil {
		return fmt.Errorf("change address: %w", err)
	}
	if err := keepMail(ctx, tx, mail); err != nil {
		return err
	}
	if err := forgetWaiting(ctx, tx); err != nil {
		return err
	}
	if _, err := notice.EndLinks(ctx, tx, tx.Standing.Account, notice.ResetPurpose); err != nil {
		return err
	}
	tx.Note("old", p.Mail)
	tx.Note("new", mail)
	return a.tell(ctx, tx, notice.AddressChanged{Event: notice.EventOf(tx.By, tx.Now()), What: "mail address", Old: p.Mail, New: mail})
}

// SetPhone keeps a phone number, or none, with the password as step-up. Nobody verifies it.
// Replacing or removing one that was there counts as a change, from which a hold follows.
func (a *Accounts) SetPhone(ctx context.Context, by evidence.Actor, id ID, phone, password string) error {
	phone, err := normalisePhone(phone)
	if err != nil {
		return a.door.Refuse(ctx, by, permit.Act{Name: permit.SetPhone, Account: id}, err)
	}
	if err := a.stepUp(ctx, by, permit.SetPhone, id, password); err != nil {
		return err
	}
	return a.do(ctx, by, permit.SetPhone, id, func(tx *permit.Tx) error {
		p, err := ReadProfile(ctx, tx, id)
		if err != nil {
			return err
		}
		if p.Phone == phone {
			tx.Unchanged()
			return nil
		}
		changed := p.Facts.PhoneChangedAt
		if p.Phone != "" {
			changed = tx.Now()
		}
		if _, err := tx.Exec(ctx, `UPDATE account SET phone = $2, phone_changed_at = $3 WHERE account_id = $1`, string(id), phone, store.Micros(changed)); err != nil {
			return fmt.Errorf("keep phone: %w", err)
		}
		shown := phone
		if shown == "" {
			shown = "none"
		}
		return a.tell(ctx, tx, notice.AddressChanged{Event: notice.EventOf(tx.By, tx.Now()), What: "phone number", Old: p.Phone, New: shown})
	})
}

// SetLimit sets by how many percent the balance may fall within a day without a warning: 1 to 100.
// Raising it weakens the account, so it takes the password.
func (a *Accounts) SetLimit(ctx context.Context, by evidence.Actor, id ID, percent int64, password string) error {
	if percent < 1 || percent > 100 {
		return a.door.Refuse(ctx, by, permit.Act{Name: permit.SetLimit, Account: id}, fault.New(fault.Invalid, "limit", "Choose a number from 1 to 100."))
	}
	if err := a.stepUp(ctx, by, permit.SetLimit, id, password); err != nil {
		return err
	}
	return a.do(ctx, by, permit.SetLimit, id, func(tx *permit.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE account SET limit_percent = $2 WHERE account_id = $1 AND limit_percent <> $2`, string(id), percent)
		if err != nil {
			return fmt.Errorf("keep limit: %w", err)
		}
		if n == 0 {
			tx.Unchanged()
		}
		tx.Note("percent", percent)
		return nil
	})
}

// VoidPassword makes a password that was set before a moment match nothing any more, and reports
// whether there was one. The holder chooses a new one by mail. It runs in the act of a restore.
func (a *Accounts) VoidPassword(ctx context.Context, tx *permit.Tx, before time.Time) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE account SET password_hash = $2 WHERE account_id = $1 AND password_hash <> '' AND password_changed_at < $3 AND password_reset_at < $3`,
		string(tx.Standing.Account), a.decoy, store.Micros(before))
	if err != nil {
		return false, fmt.Errorf("void password: %w", err)
	}
	return n > 0, nil
}
