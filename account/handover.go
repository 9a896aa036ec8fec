package account

import (
	"context"
	"fmt"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// HandOver makes a one-time code with which the integrator gets a session of its own for the person
// who is signed in here. It works once, for one minute, for that integrator.
func (a *Accounts) HandOver(ctx context.Context, by evidence.Actor, id ID, integrator string) (Secret, error) {
	var code Secret
	err := a.do(ctx, by, permit.HandOver, id, func(tx *permit.Tx) error {
		if tx.Mode != permit.Full || by.ID != "" {
			return fault.New(fault.Denied, "protective", "This session can only look and close. Sign in again to do this.")
		}
		var hash []byte
		var err error
		if code, hash, err = newToken(HandOverToken, id); err != nil {
			return err
		}
		now := store.Micros(tx.Now())
		if _, err := tx.Exec(ctx, `DELETE FROM handover WHERE account_id = $1 AND expires_at <= $2`, string(id), now); err != nil {
			return fmt.Errorf("drop old hand-overs: %w", err)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO handover (account_id, code_hash, integrator, session_id, made_at, expires_at, used_at) VALUES ($1, $2, $3, $4, $5, $6, 0)`,
			string(id), hash, integrator, by.Session, now, store.Micros(tx.Now().Add(a.cfg.HandOverWithin))); err != nil {
			return fmt.Errorf("keep hand-over: %w", err)
		}
		tx.Note("integrator", integrator)
		return nil
	})
	return code, err
}

func errHandOver() error {
	return fault.New(fault.Denied, "unknown_code", "This code is not known, was used, or is too old.")
}

// Redeem turns the code of a hand-over into a platform session of the integrator that asks. The
// session ends with the holder's own, and can do nothing on Holdfast's pages.
func (a *Accounts) Redeem(ctx context.Context, by evidence.Actor, code string) (Session, error) {
	id, hash, err := ParseToken(HandOverToken, code)
	if err != nil {
		return Session{}, errHandOver()
	}
	var s Session
	err = a.do(ctx, by, permit.RedeemHandOver, id, func(tx *permit.Tx) error {
		var parent string
		err := scanOne(tx.QueryRow(ctx, `UPDATE handover SET used_at = $4 WHERE account_id = $1 AND code_hash = $2 AND integrator = $3 AND used_at = 0 AND expires_at > $4
			RETURNING session_id`, string(id), hash, by.ID, store.Micros(tx.Now())), errHandOver, &parent)
		if err != nil {
			return err
		}
		var expires int64
		s = Session{Account: id, ID: store.NewID(), Integrator: by.ID, Mode: permit.Full, Epoch: tx.Standing.Epoch, Frozen: tx.Standing.Frozen(), CreatedAt: tx.Now()}
		err = scanOne(tx.QueryRow(ctx, `SELECT s.device_id, s.expires_at, s.address, s.agent, s.place, a.mail FROM session s JOIN account a ON a.account_id = s.account_id
			WHERE s.account_id = $1 AND s.session_id = $2 AND s.kind = 'holder' AND s.mode = 'full' AND s.ended_at = 0 AND s.epoch = $3 AND s.expires_at > $4`,
			string(id), parent, tx.Standing.Epoch, store.Micros(tx.Now())), errHandOver,
			&s.Device, &expires, &tx.By.Address, &tx.By.Agent, &tx.By.Place, &s.Mail)
		if err != nil {
			return err
		}
		s.ExpiresAt = store.Time(expires)
		tx.Note("parent", parent)
		return a.writeSession(ctx, tx, &s, "platform", parent, "full")
	})
	if fault.CodeOf(err) == "unknown_account" {
		err = errHandOver()
	}
	return s, err
}

// EndPlatformSession ends a platform session of the integrator that asks: a sign-out on the
// platform. Ending an ended or unknown one succeeds: it is not live.
func (a *Accounts) EndPlatformSession(ctx context.Context, by evidence.Actor, token string) error {
	id, hash, err := ParseToken(SessionToken, token)
	if err != nil {
		return nil
	}
	err = a.do(ctx, by, permit.LeaveSession, id, func(tx *permit.Tx) error {
		var session string
		if err := scanOne(tx.QueryRow(ctx, `SELECT session_id FROM session WHERE account_id = $1 AND token_hash = $2 AND kind = 'platform' AND integrator = $3 AND ended_at = 0`,
			string(id), hash, by.ID), errSession, &session); err != nil {
			return err
		}
		_, err := endSessions(ctx, tx, "signed out at the platform", `AND session_id = $4`, session)
		tx.Note("session", session)
		return err
	})
	if code := fault.CodeOf(err); code == "signed_out" || code == "unknown_account" {
		return nil
	}
	return err
}
