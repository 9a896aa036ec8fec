package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// What a mailed code is for. A code never opens more than the protected view.
const (
	signInCode   = "sign_in"
	passwordCode = "password"
)

const codeDigits = 8

// newMailedCode returns a code of eight digits.
func newMailedCode() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(100_000_000))
	if err != nil {
		return "", fmt.Errorf("make code: %w", err)
	}
	return fmt.Sprintf("%0*d", codeDigits, n.Int64()), nil
}

// typedCode returns the digits of a code as people type it: with spaces and dashes.
func typedCode(typed string) string {
	if len(typed) > 64 {
		return ""
	}
	return strings.NewReplacer(" ", "", "-", "", "\u00a0", "", "\t", "").Replace(typed)
}

func mailedCodeHash(keys *store.Keyset, id ID, bound []byte, purpose, code string) ([]byte, error) {
	return keys.Hash("mailed_code "+purpose, fmt.Appendf(nil, "%s\x00%x\x00%s", id, bound, code))
}

// boundTo names what a code is tied to: the browser that asked, by its nonce, or a session.
func boundTo(kind, nonce string) []byte {
	sum := sha256.Sum256([]byte("holdfast " + kind + "\x00" + nonce))
	return sum[:]
}

type codeRequest struct {
	Mail  string         `json:"mail"`
	Bound []byte         `json:"bound"`
	From  evidence.Actor `json:"from"`
}

// RequestSignInCode has a code mailed that opens the protected view of a frozen account. The answer
// is the same for every address, and nothing is looked up here. It returns a nonce for the browser
// that asked: the code works only together with it.
func (a *Accounts) RequestSignInCode(ctx context.Context, from evidence.Actor, mail string) (Secret, error) {
	mail, err := NormaliseMail(mail)
	if err != nil {
		return "", err
	}
	if err := a.door.Attempt(ctx, "form "+Source(from.Address), formTries); err != nil {
		return "", err
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: https://pkg.go.dev/crypto/rand#Read
	nonce := base64.RawURLEncoding.EncodeToString(raw)
	err = a.enqueue(ctx, codeForm, codeRequest{Mail: mail, Bound: boundTo("browser", nonce), From: from})
	return Secret(nonce), err
}

// takeCodeRequest is the job of RequestSignInCode. An account that is not frozen needs no code.
func (a *Accounts) takeCodeRequest(ctx context.Context, payload json.RawMessage, at time.Time) error {
	var r codeRequest
	if err := json.Unmarshal(payload, &r); err != nil {
		return fmt.Errorf("read form: %w", err)
	}
	if ok, err := a.mailAllowed(ctx, codeForm, r.Mail, r.From.Address); !ok || err != nil {
		return err
	}
	f, err := a.lookUp(ctx, r.Mail)
	if err != nil || f.id == "" || !f.frozen {
		return err
	}
	if a.db.Now().Sub(at) >= a.cfg.CodeWithin {
		return nil // whoever asked has given up or asked again
	}
	r.From.Kind = evidence.System
	return a.do(ctx, r.From, permit.QueueMail, f.id, func(tx *permit.Tx) error {
		if !tx.Standing.Frozen() {
			tx.Unchanged()
			return nil
		}
		tx.Note("mail", notice.KindSignInCode)
		code, err := a.giveMailedCode(ctx, tx, r.Bound, signInCode)
		if err != nil {
			return err
		}
		return a.tellAt(ctx, tx, []string{f.mail}, notice.SignInCode{Event: notice.EventOf(r.From, tx.Now()), Code: code, Lasts: a.cfg.CodeWithin})
	})
}

// giveMailedCode keeps a new code, with all its tries, and ends those before it that are tied to the same browser or
// session. Codes of other browsers go on: a thief who asks too does not end the holder's.
func (a *Accounts) giveMailedCode(ctx context.Context, tx *permit.Tx, bound []byte, purpose string) (string, error) {
	id := tx.Standing.Account
	code, err := newMailedCode()
	if err != nil {
		return "", err
	}
	hash, err := mailedCodeHash(tx.Keys(), id, bound, purpose, code)
	if err != nil {
		return "", err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM mailed_code WHERE account_id = $1 AND (bound_hash = $2 OR expires_at <= $3)`, string(id), bound, store.Micros(tx.Now())); err != nil {
		return "", fmt.Errorf("end codes: %w", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO mailed_code (account_id, bound_hash, purpose, code_hash, made_at, expires_at, used_at) VALUES ($1, $2, $3, $4, $5, $6, 0)`,
		string(id), bound, purpose, hash, store.Micros(tx.Now()), store.Micros(tx.Now().Add(a.cfg.CodeWithin))); err != nil {
		return "", fmt.Errorf("keep code: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM code_try WHERE account_id = $1 AND bound_hash = $2`, string(id), bound); err != nil {
		return "", fmt.Errorf("forget tries: %w", err)
	}
	return code[:4] + " " + code[4:], nil
}

func errWrongCode() error {
	return fault.New(fault.Denied, "wrong_code", "This code does not work here. Compare it with the mail, and use it in the browser where you asked for it. After 5 tries or 10 minutes, ask for a new one.")
}

// tryCode counts a try and reports whether the code is right, not used and not too old. It runs the
// same two statements whatever is asked for. name is the account, or what stands for an address
// that nobody has.
func (a *Accounts) tryCode(ctx context.Context, name ID, bound []byte, purpose, typed string) (bool, error) {
	var tries int64
	err := a.db.Housekeep(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `INSERT INTO code_try (account_id, bound_hash, tries, at) VALUES ($1, $2, 1, $3)
			ON CONFLICT (account_id, bound_hash) DO UPDATE SET tries = code_try.tries + 1, at = excluded.at RETURNING tries`,
			string(name), bound, store.Micros(tx.Now())).Scan(&tries)
	})
	if err != nil {
		return false, fmt.Errorf("count tries: %w", err)
	}
	right, err := a.codeRight(ctx, a.db, name, bound, purpose, typed)
	return right && tries <= a.cfg.CodeTries, err
}

func (a *Accounts) codeRight(ctx context.Context, q Reader, name ID, bound []byte, purpose, typed string) (bool, error) {
	hash, err := mailedCodeHash(q.Keys(), name, bound, purpose, typedCode(typed))
	if err != nil {
		return false, err
	}
	rows, err := q.Query(ctx, `SELECT code_hash FROM mailed_code WHERE account_id = $1 AND bound_hash = $2 AND purpose = $3 AND used_at = 0 AND expires_at > $4`,
		string(name), bound, purpose, store.Micros(q.Now()))
	if err != nil {
		return false, fmt.Errorf("read code: %w", err)
	}
	defer rows.Close()
	right := false
	for rows.Next() {
		var want []byte
		if err := rows.Scan(&want); err != nil {
			return false, fmt.Errorf("read code: %w", err)
		}
		right = right || subtle.ConstantTimeCompare(want, hash) == 1
	}
	return right, rows.Err()
}

// useCode spends a code that tryCode found right; of two uses at once one is refused.
func (a *Accounts) useCode(ctx context.Context, tx *permit.Tx, bound []byte, purpose, typed string) error {
	right, err := a.codeRight(ctx, tx, tx.Standing.Account, bound, purpose, typed)
	if err != nil {
		return err
	}
	if !right {
		return errWrongCode()
	}
	if _, err := tx.Exec(ctx, `UPDATE mailed_code SET used_at = $3 WHERE account_id = $1 AND bound_hash = $2 AND used_at = 0`,
		string(tx.Standing.Account), bound, store.Micros(tx.Now())); err != nil {
		return fmt.Errorf("use code: %w", err)
	}
	return nil
}

// EnterWithCode opens a session in protective mode with a mailed code, in the browser that asked
// for it. It works only while the account is frozen. A wrong code and an unknown address get the
// same answer after the same statements. Wrong tries are counted against the browser's nonce, never
// against the account: a stranger cannot use up the holder's tries.
func (a *Accounts) EnterWithCode(ctx context.Context, from evidence.Actor, mail, code, nonce string) (Session, error) {
	mail, err := NormaliseMail(mail)
	if err != nil {
		return Session{}, err
	}
	if err := a.door.Attempt(ctx, "code "+Source(from.Address), permit.Limit{Tries: a.cfg.SourceTries, Window: signInWindow}); err != nil {
		return Session{}, err
	}
	f, err := a.lookUp(ctx, mail)
	if err != nil {
		return Session{}, err
	}
	bound := boundTo("browser", nonce)
	right, err := a.tryCode(ctx, f.name, bound, signInCode, code)
	if err != nil {
		return Session{}, err
	}
	if !right || f.id == "" {
		name, err := nameless(a.db.Keys(), mail)
		if err != nil {
			return Session{}, err
		}
		return Session{}, a.door.Refuse(ctx, from, permit.Act{Name: permit.EnterProtective, Account: name}, errWrongCode())
	}
	from.Kind = evidence.Code
	var s Session
	err = a.do(ctx, from, permit.EnterProtective, f.id, func(tx *permit.Tx) error {
		if !tx.Standing.Frozen() {
			return fault.New(fault.Denied, "not_frozen", "Your account is not frozen any more. Sign in with your password.")
		}
		if err := a.useCode(ctx, tx, bound, signInCode, code); err != nil {
			return err
		}
		device, err := newDevice(ctx, tx)
		if err != nil {
			return err
		}
		s, err = a.openSession(ctx, tx, f.mail, device, "protective")
		return err
	})
	return s, err
}

// RequestPasswordCode mails a code with which the session, in protective mode, may change the
// password. It goes to the present address, and to no other: contact data cannot change meanwhile.
func (a *Accounts) RequestPasswordCode(ctx context.Context, by evidence.Actor, id ID) error {
	return a.do(ctx, by, permit.RequestCode, id, func(tx *permit.Tx) error {
		p, err := ReadProfile(ctx, tx, id)
		if err != nil {
			return err
		}
		if !p.Verified || !p.HasPassword {
			return fault.New(fault.Denied, "no_password", "This account has no password here. Its platform keeps the sign-in.")
		}
		code, err := a.giveMailedCode(ctx, tx, boundTo("session", by.Session), passwordCode)
		if err != nil {
			return err
		}
		return a.tellAt(ctx, tx, []string{p.Mail}, notice.PasswordCode{Event: notice.EventOf(tx.By, tx.Now()), Code: code, Lasts: a.cfg.CodeWithin})
	})
}
