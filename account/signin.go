package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// Entry is what a person types to sign in.
type Entry struct {
	Mail     string
	Password string
	// Remembered is the token of the device's cookie, if the browser sent one.
	Remembered string
}

// found is an address as a public door sees it. For an address that nobody has, name is made from
// it, so that limits and refusals behave alike.
type found struct {
	id     ID // empty when there is no such account
	name   ID
	mail   string
	hash   string // empty when there is none
	frozen bool
}

// lookUp finds the account of a normalised address in one statement, the same for every address.
func (a *Accounts) lookUp(ctx context.Context, mail string) (found, error) {
	name, err := nameless(a.db.Keys(), mail)
	if err != nil {
		return found{}, err
	}
	f := found{name: name, mail: mail}
	var id string
	var frozen int64
	err = a.db.QueryRow(ctx, `SELECT a.account_id, a.password_hash, st.frozen_at FROM mail_index i
		JOIN account a ON a.account_id = i.account_id JOIN standing st ON st.account_id = i.account_id
		WHERE i.mail = $1 AND a.mail_verified_at > 0`, mail).Scan(&id, &f.hash, &frozen)
	if errors.Is(err, sql.ErrNoRows) {
		return f, nil
	}
	if err != nil {
		return found{}, fmt.Errorf("look up address: %w", err)
	}
	f.id, f.name, f.frozen = ID(id), ID(id), frozen != 0
	return f, nil
}

func errWrongPassword() error {
	return fault.New(fault.Denied, "wrong_password", "This mail address and this password do not belong together. If you have just signed up, open the link in our mail first.")
}

// signInWindow is the window in which sign-ins from one source are counted, deviceTries how many of
// them a remembered device has.
const (
	signInWindow = 15 * time.Minute
	deviceTries  = 10
)

// SignIn opens a session with a mail address and a password. A wrong password and an unknown address
// get the same answer after the same work: one hash and the same statements. A right password of
// a frozen account is the fault frozen_sign_in, which leads to a mailed code. A sign-in from a
// device that is not remembered, or from a new place, is told by mail. A remembered device has
// tries of its own: whoever knows the address, or shares the connection, could otherwise keep the
// holder out by typing wrong passwords.
func (a *Accounts) SignIn(ctx context.Context, from evidence.Actor, e Entry) (Session, error) {
	mail, err := NormaliseMail(e.Mail)
	if err != nil {
		return Session{}, err
	}
	f, err := a.lookUp(ctx, mail)
	if err != nil {
		return Session{}, err
	}
	device, err := rememberedDevice(ctx, a.db, f.name, e.Remembered)
	if err != nil {
		return Session{}, err
	}
	bucket, tries := "sign in "+Source(from.Address), a.cfg.SourceTries
	if device != "" {
		bucket, tries = "sign in device "+device, deviceTries
	}
	if err := a.door.Attempt(ctx, bucket, permit.Limit{Tries: tries, Window: signInWindow}); err != nil {
		return Session{}, err
	}
	act := permit.Act{Name: permit.EnterSession, Account: f.name, Counted: device != ""}
	allowed := func() error {
		if act.Counted {
			return nil
		}
		return a.door.Allowed(ctx, act)
	}
	if err := allowed(); err != nil {
		return Session{}, a.door.Refuse(ctx, from, act, err)
	}
	hash := f.hash
	if hash == "" {
		hash = a.decoy
	}
	right, err := a.hash.verify(ctx, hash, e.Password)
	if err != nil {
		return Session{}, err
	}
	// Asked again: of many tries at the same moment, those beyond the limit must all get the one
	// answer, or the odd one out would tell which password was right.
	if err := allowed(); err != nil {
		return Session{}, a.door.Refuse(ctx, from, act, err)
	}
	if !right || f.hash == "" {
		return Session{}, a.door.Refuse(ctx, from, act, errWrongPassword())
	}
	return a.enter(ctx, from, act, f, e)
}

// enter opens the session once the password was right.
func (a *Accounts) enter(ctx context.Context, from evidence.Actor, act permit.Act, f found, e Entry) (Session, error) {
	fresh := ""
	if a.hash.stale(f.hash) {
		var err error
		if fresh, err = a.hash.make(ctx, e.Password); err != nil {
			return Session{}, err
		}
	}
	var s Session
	err := a.door.Do(ctx, from, act, func(tx *permit.Tx) error {
		if err := samePassword(ctx, tx, f.hash); err != nil {
			return err
		}
		if fresh != "" {
			if _, err := tx.Exec(ctx, `UPDATE account SET password_hash = $2 WHERE account_id = $1`, string(f.id), fresh); err != nil {
				return fmt.Errorf("renew hash: %w", err)
			}
		}
		device, familiar, err := a.recognise(ctx, tx, e.Remembered)
		if err != nil {
			return err
		}
		if s, err = a.openSession(ctx, tx, f.mail, device, "full"); err != nil {
			return err
		}
		tx.Note("device", device)
		tx.Note("new", !familiar)
		if familiar {
			return nil
		}
		return a.tell(ctx, tx, notice.NewSignIn{Event: notice.EventOf(tx.By, tx.Now())})
	})
	if fault.CodeOf(err) == "frozen" {
		return Session{}, fault.New(fault.Denied, "frozen_sign_in", "Your account is frozen. Nothing can leave it, and nobody can sign in. We can mail you a code that opens a protected view, where you can see and close.")
	}
	return s, err
}

// samePassword refuses when the password was changed since its hash was read.
func samePassword(ctx context.Context, tx *permit.Tx, hash string) error {
	now, err := passwordHash(ctx, tx, tx.Standing.Account)
	if err == nil && now != hash {
		err = errWrongPassword()
	}
	return err
}

func passwordHash(ctx context.Context, q store.Querier, id ID) (string, error) {
	var hash string
	err := scanOne(q.QueryRow(ctx, `SELECT password_hash FROM account WHERE account_id = $1`, string(id)), errNoAccount, &hash)
	return hash, err
}

// rememberedDevice returns the device of the account whose secret a browser showed; empty when there
// is none that counts in the present epoch. It runs the same statement for every account.
func rememberedDevice(ctx context.Context, q store.Querier, id ID, remembered string) (device string, err error) {
	_, hash, err := ParseToken(RememberToken, remembered)
	if err != nil {
		return "", nil
	}
	err = q.QueryRow(ctx, `SELECT d.device_id FROM device d JOIN standing st ON st.account_id = d.account_id AND st.epoch = d.epoch
		WHERE d.account_id = $1 AND d.remembered_hash = $2 AND d.removed_at = 0`, string(id), hash).Scan(&device)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("recognise device: %w", err)
	}
	return device, nil
}

// recognise returns the device of a sign-in, a new one unless the browser showed the secret of a
// remembered one, and whether device and place are familiar.
func (a *Accounts) recognise(ctx context.Context, tx *permit.Tx, remembered string) (device string, familiar bool, err error) {
	id := tx.Standing.Account
	if device, err = rememberedDevice(ctx, tx, id, remembered); err != nil {
		return "", false, err
	}
	if device == "" {
		device, err := newDevice(ctx, tx)
		return device, false, err
	}
	if tx.By.Place == "" {
		return device, true, nil
	}
	var been int64
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM session WHERE account_id = $1 AND device_id = $2 AND place = $3`, string(id), device, tx.By.Place).Scan(&been); err != nil {
		return "", false, fmt.Errorf("recognise place: %w", err)
	}
	return device, been > 0, nil
}
