package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// Session is a live session, as it was when it was read.
type Session struct {
	Account ID
	// ID is the session's handle. It is not a secret.
	ID string
	// Integrator is to whom a platform session was handed; empty for the holder's own.
	Integrator string
	Mode       permit.Mode
	// Mail is the account's address.
	Mail       string
	Device     string
	DeviceName string
	Epoch      int64
	// Frozen says whether the account is.
	Frozen    bool
	CreatedAt time.Time
	ExpiresAt time.Time
	// Token is the session's secret; only a session that was just made has it.
	Token Secret
}

// Actor returns the holder who acts through the session, from where from describes. For a platform
// session the actor's ID names the integrator, so that it can never pass for a session of the
// holder's own pages.
func (s Session) Actor(from evidence.Actor) evidence.Actor {
	from.Kind, from.ID, from.Session, from.Device = evidence.Holder, s.Integrator, s.ID, s.Device
	return from
}

// errSession answers for every session that is not live, whyever: an answer teaches nothing.
func errSession() error {
	return fault.New(fault.Denied, "signed_out", "You are signed out. Sign in to go on.")
}

// scanOne scans one row; none is the fault that missing makes.
func scanOne(row *sql.Row, missing func() error, into ...any) error {
	err := row.Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return missing()
	}
	return err
}

// Session returns the live session of a token of the holder's own pages, for each page request. It
// reads one statement and notes, at most once a minute, that the session was used.
func (a *Accounts) Session(ctx context.Context, token string, from evidence.Actor) (Session, error) {
	s, err := a.readSession(ctx, a.db, token, "holder", "")
	if err != nil {
		return Session{}, err
	}
	a.MarkSeen(ctx, s.Account, SessionCredential, s.ID, from.Address)
	return s, nil
}

// PlatformSession returns the live session of a token that was handed to the integrator. It reads
// one statement and notes nothing.
func (a *Accounts) PlatformSession(ctx context.Context, q Reader, token, integrator string) (Session, error) {
	return a.readSession(ctx, q, token, "platform", integrator)
}

func (a *Accounts) readSession(ctx context.Context, q Reader, token, kind, integrator string) (Session, error) {
	id, hash, err := ParseToken(SessionToken, token)
	if err != nil {
		return Session{}, errSession()
	}
	s := Session{Account: id}
	var mode string
	var created, expires, used, frozen, epoch, ended int64
	err = scanOne(q.QueryRow(ctx, `SELECT s.session_id, s.integrator, s.mode, s.device_id, COALESCE(d.name, ''), s.epoch, s.created_at, s.expires_at, s.ended_at,
			COALESCE(n.at, s.created_at), a.mail, st.epoch, st.frozen_at
		FROM session s JOIN standing st ON st.account_id = s.account_id JOIN account a ON a.account_id = s.account_id
		LEFT JOIN device d ON d.account_id = s.account_id AND d.device_id = s.device_id
		LEFT JOIN seen n ON n.account_id = s.account_id AND n.kind = 'session' AND n.id = s.session_id
		WHERE s.account_id = $1 AND s.token_hash = $2 AND s.kind = $3 AND s.integrator = $4`, string(id), hash, kind, integrator), errSession,
		&s.ID, &s.Integrator, &mode, &s.Device, &s.DeviceName, &s.Epoch, &created, &expires, &ended, &used, &s.Mail, &epoch, &frozen)
	if err != nil {
		return Session{}, fmt.Errorf("read session: %w", err)
	}
	s.CreatedAt, s.ExpiresAt, s.Mode, s.Frozen = store.Time(created), store.Time(expires), modeOf(mode), frozen != 0
	if !a.live(q.Now(), ended, expires, max(created, used), s.Epoch, epoch) {
		return Session{}, errSession()
	}
	return s, nil
}

// Idle returns how long a session may be unused.
func (a *Accounts) Idle() time.Duration { return a.cfg.Idle }

// live is the one rule about sessions; the columns' comments say it too.
func (a *Accounts) live(now time.Time, ended, expires, used, epoch, standing int64) bool {
	return ended == 0 && epoch == standing && now.Before(store.Time(expires)) && now.Before(store.Time(used).Add(a.cfg.Idle))
}

func modeOf(mode string) permit.Mode {
	switch mode {
	case "full":
		return permit.Full
	case "protective":
		return permit.Protective
	default:
		return permit.NoMode
	}
}

// Look implements permit.Actors: it reads the actor's session, key or service key in the
// transaction. A holder is live with a session of this account and epoch that has not ended, run
// out or been idle for too long; a key as long as it is not deleted or run out and belongs to the
// epoch; a service as long as one of its keys is in use.
func (a *Accounts) Look(ctx context.Context, tx *permit.Tx, by evidence.Actor) (permit.Mode, error) {
	if by.Kind == evidence.Integrator {
		return permit.NoMode, serviceLive(ctx, tx, by.ID)
	}
	if by.Kind == evidence.Key {
		live, err := CredentialLive(ctx, tx, tx.Standing, "", KeyCredential, by.ID)
		if err != nil {
			return permit.NoMode, err
		}
		if !live {
			return permit.NoMode, fault.New(fault.Denied, "unknown_credential", "This key does not work.")
		}
		return permit.Full, nil
	}
	var mode, kind string
	var expires, used, epoch, ended int64
	err := scanOne(tx.QueryRow(ctx, `SELECT s.kind, s.mode, s.epoch, s.expires_at, s.ended_at, CASE WHEN n.at > s.created_at THEN n.at ELSE s.created_at END
		FROM session s LEFT JOIN seen n ON n.account_id = s.account_id AND n.kind = 'session' AND n.id = s.session_id
		WHERE s.account_id = $1 AND s.session_id = $2 AND s.integrator = $3`, string(tx.Standing.Account), by.Session, by.ID), errSession,
		&kind, &mode, &epoch, &expires, &ended, &used)
	if err != nil {
		return permit.NoMode, fmt.Errorf("look at session: %w", err)
	}
	if !a.live(tx.Now(), ended, expires, used, epoch, tx.Standing.Epoch) || (kind == "platform") != (by.ID != "") {
		return permit.NoMode, errSession()
	}
	return modeOf(mode), nil
}

// CredentialKind says what sort of credential an id names.
type CredentialKind = string

// The kinds of credentials, as guard keeps them with a withdrawal.
const (
	SessionCredential  CredentialKind = "session"    // a platform session, by its handle
	KeyCredential      CredentialKind = "api_key"    // a key of ours, by its id
	ExternalCredential CredentialKind = "credential" // the platform's own, by its id there
	PlatformCredential CredentialKind = "platform"   // the platform's own work; always live
)

// CredentialLive reports whether a credential, by its handle or id, is live in the standing's epoch:
// what was recorded about it earlier does not count. An external credential is the integrator's own.
// How long a session was idle is not asked: a withdrawal that waits for days is not undone by its
// holder's absence.
func CredentialLive(ctx context.Context, q Reader, s permit.Standing, integrator string, kind CredentialKind, id string) (bool, error) {
	var query string
	args := []any{string(s.Account), id, s.Epoch, store.Micros(q.Now())}
	switch kind {
	case PlatformCredential:
		return true, nil
	case SessionCredential:
		query = `SELECT count(*) FROM session WHERE account_id = $1 AND session_id = $2 AND epoch = $3 AND ended_at = 0 AND expires_at > $4`
	case KeyCredential:
		query = `SELECT count(*) FROM api_key WHERE account_id = $1 AND key_id = $2 AND epoch = $3 AND deleted_at = 0 AND (expires_at = 0 OR expires_at > $4)`
	case ExternalCredential:
		query = `SELECT count(*) FROM credential WHERE account_id = $1 AND external_credential_id = $2 AND epoch = $3 AND ended_at = 0 AND (expires_at = 0 OR expires_at > $4) AND integrator = $5`
		args = append(args, integrator)
	default:
		return false, fmt.Errorf("account: no kind of credential is called %q", kind)
	}
	var n int64
	if err := q.QueryRow(ctx, query, args...).Scan(&n); err != nil {
		return false, fmt.Errorf("look at credential: %w", err)
	}
	return n > 0, nil
}

// openSession writes a session of the actor on a device, in the present epoch.
func (a *Accounts) openSession(ctx context.Context, tx *permit.Tx, mail, device, mode string) (Session, error) {
	name, _, _ := describe(tx.By.Agent)
	s := Session{Account: tx.Standing.Account, ID: store.NewID(), Mode: modeOf(mode), Mail: mail, Device: device, DeviceName: name, Epoch: tx.Standing.Epoch,
		Frozen: tx.Standing.Frozen(), CreatedAt: tx.Now(), ExpiresAt: tx.Now().Add(a.cfg.Longest)}
	return s, a.writeSession(ctx, tx, &s, "holder", "", mode)
}

// writeSession keeps a session and gives it its token.
func (a *Accounts) writeSession(ctx context.Context, tx *permit.Tx, s *Session, kind, parent, mode string) error {
	token, hash, err := newToken(SessionToken, s.Account)
	if err != nil {
		return err
	}
	s.Token = token
	if _, err := tx.Exec(ctx, `INSERT INTO session (account_id, session_id, token_hash, kind, parent, integrator, epoch, mode, device_id, address, agent, place, created_at, expires_at, ended_at, end_reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, '')`,
		string(s.Account), s.ID, hash, kind, parent, s.Integrator, s.Epoch, mode, s.Device, tx.By.Address, tx.By.Agent, tx.By.Place,
		store.Micros(s.CreatedAt), store.Micros(s.ExpiresAt)); err != nil {
		return fmt.Errorf("keep session: %w", err)
	}
	tx.Note("session", s.ID)
	return nil
}

// SignOut ends the actor's own session, and the platform sessions that it handed over.
func (a *Accounts) SignOut(ctx context.Context, by evidence.Actor, id ID) error {
	return a.do(ctx, by, permit.LeaveSession, id, func(tx *permit.Tx) error {
		_, err := endSessions(ctx, tx, "signed out", `AND (session_id = $4 OR parent = $4)`, by.Session)
		return err
	})
}

const (
	markEvery = time.Minute
	markMost  = 100_000 // marks kept in memory, so that a flood of ids takes no more
)

// MarkSeen notes that a session, key or external credential was used, at most once a minute. It never
// fails the act that it notes: a lost mark costs a minute of the last use shown, and a session that is
// in use a minute of its idle time.
func (a *Accounts) MarkSeen(ctx context.Context, id ID, kind CredentialKind, credential, address string) {
	now := a.db.Now()
	mark := string(id) + "\x00" + kind + "\x00" + credential
	a.mu.Lock()
	last, ok := a.seen[mark]
	if ok && now.Sub(last) < markEvery && !last.After(now) {
		a.mu.Unlock()
		return
	}
	if len(a.seen) >= markMost {
		clear(a.seen)
	}
	a.seen[mark] = now
	a.mu.Unlock()
	err := a.db.Housekeep(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO seen (account_id, kind, id, at, address) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (account_id, kind, id) DO UPDATE SET at = excluded.at, address = excluded.address WHERE seen.at <= excluded.at - $6`,
			string(id), kind, credential, store.Micros(tx.Now()), address, markEvery.Microseconds())
		return err
	})
	if err != nil {
		a.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "last use not noted", slog.Any("error", err))
	}
}

// Tidy drops tries at mailed codes that have long run out. Call it now and then; hourly is plenty.
func (a *Accounts) Tidy(ctx context.Context) error {
	return a.db.Housekeep(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM code_try WHERE at < $1`, store.Micros(tx.Now().Add(-24*time.Hour)))
		return err
	})
}
