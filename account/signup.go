package account

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// The public forms whose jobs this package deals with.
const (
	signUpForm = "sign_up"
	codeForm   = "sign_in_code"
	resetForm  = "reset_password"
)

// formTries limits what one source sends to the public forms, mailTries what one address is sent by
// them: nobody's mailbox is to be flooded in our name. One source has no more than sourceMails of
// those, so that a stranger cannot use all of them up and leave the holder's own request without a
// mail. A code goes to frozen accounts only, whose holder waits for it, so there may be more of them.
var (
	formTries   = permit.Limit{Tries: 30, Window: time.Hour}
	mailTries   = permit.Limit{Tries: 12, Window: time.Hour}
	codeMails   = permit.Limit{Tries: 30, Window: time.Hour}
	sourceMails = permit.Limit{Tries: 5, Window: time.Hour}
)

// SignUp is what a person types to get an account.
type SignUp struct {
	Mail     string
	Password string
	// Phone is optional, and kept as unverified.
	Phone string
	// Language is that of the pages, such as "en"; optional.
	Language string
}

// signUp is SignUp as its job gets it: the password only as a hash.
type signUp struct {
	Mail     string         `json:"mail"`
	Hash     string         `json:"hash"`
	Phone    string         `json:"phone,omitempty"`
	Language string         `json:"language"`
	From     evidence.Actor `json:"from"`
}

// SignUp takes a sign-up. A password that could be guessed, and what is no mail address, are refused
// at once, by their form alone. Whether the address has an account is not looked up here: the answer
// is the same, and a mail to the address says the rest.
func (a *Accounts) SignUp(ctx context.Context, from evidence.Actor, s SignUp) error {
	mail, err := NormaliseMail(s.Mail)
	if err != nil {
		return err
	}
	phone, err := normalisePhone(s.Phone)
	if err != nil {
		return err
	}
	if err := CheckPassword(s.Password, mail); err != nil {
		return err
	}
	if err := a.door.Attempt(ctx, "form "+Source(from.Address), formTries); err != nil {
		return err
	}
	hash, err := a.hash.make(ctx, s.Password)
	if err != nil {
		return err
	}
	return a.enqueue(ctx, signUpForm, signUp{Mail: mail, Hash: hash, Phone: phone, Language: language(s.Language), From: from})
}

// language keeps a language tag that has the form of one.
func language(tag string) string {
	if tag == "" || len(tag) > 16 || strings.Trim(strings.ToLower(tag), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "en"
	}
	return tag
}

// normalisePhone keeps a number as it was typed, if it has the form of one. Nobody verifies it.
func normalisePhone(phone string) (string, error) {
	phone = strings.Join(strings.Fields(phone), " ")
	digits := 0
	for _, r := range phone {
		if r >= '0' && r <= '9' {
			digits++
		}
	}
	if phone == "" {
		return "", nil
	}
	if len(phone) > 32 || digits < 5 || strings.Trim(phone, "0123456789 -/().+") != "" {
		return "", fault.New(fault.Invalid, "phone_form", "That does not look like a phone number. Write it with the country code, such as +33 1 23 45 67 89, or leave it out.")
	}
	return phone, nil
}

// mailAllowed reports whether a public form may send one more mail to the address, asked for from
// the source.
func (a *Accounts) mailAllowed(ctx context.Context, form, mail, source string) (bool, error) {
	sum, err := a.db.Keys().Hash("form_mail", []byte(mail))
	if err != nil {
		return false, err
	}
	limit := mailTries
	if form == codeForm {
		limit = codeMails
	}
	bucket := form + " mail " + hex.EncodeToString(sum[:16])
	err = a.door.Attempt(ctx, bucket+" "+Source(source), sourceMails)
	if err == nil {
		err = a.door.Attempt(ctx, bucket, limit)
	}
	if fault.KindOf(err) == fault.TooMany {
		a.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "a public form sends no more mails to one address for a while", slog.String("form", form))
		return false, nil
	}
	return err == nil, err
}

// takeSignUp is the job of a sign-up: it makes the account and asks whether the address is right,
// or tells the owner of the address that somebody tried to sign up with it.
func (a *Accounts) takeSignUp(ctx context.Context, payload json.RawMessage, _ time.Time) error {
	var s signUp
	if err := json.Unmarshal(payload, &s); err != nil {
		return fmt.Errorf("read form: %w", err)
	}
	if ok, err := a.mailAllowed(ctx, signUpForm, s.Mail, s.From.Address); !ok || err != nil {
		return err
	}
	for {
		id, verified, frozen, err := a.owner(ctx, s.Mail)
		if err != nil {
			return err
		}
		switch {
		case id == "" || frozen && !verified: // who got the mail of somebody else's sign-up may have frozen it
			err = a.makeAccount(ctx, s)
		case verified:
			err = a.tellOwner(ctx, id, s.From)
		default:
			err = a.do(ctx, s.From, permit.SignUp, id, func(tx *permit.Tx) error { return a.askMail(ctx, tx, s) })
		}
		if !errors.Is(err, errTaken) {
			return err
		}
	}
}

// owner returns the account that signs in with the address, whether it was ever verified, and
// whether it is frozen; no account is an empty id.
func (a *Accounts) owner(ctx context.Context, mail string) (id ID, verified, frozen bool, err error) {
	var verifiedAt, frozenAt int64
	err = a.db.QueryRow(ctx, `SELECT a.account_id, a.mail_verified_at, st.frozen_at FROM mail_index i
		JOIN account a ON a.account_id = i.account_id JOIN standing st ON st.account_id = i.account_id WHERE i.mail = $1`, mail).Scan(&id, &verifiedAt, &frozenAt)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, false, nil
	}
	if err != nil {
		return "", false, false, fmt.Errorf("find owner: %w", err)
	}
	return id, verifiedAt != 0, frozenAt != 0, nil
}

// makeAccount makes an account that nobody can enter until its address is verified.
func (a *Accounts) makeAccount(ctx context.Context, s signUp) error {
	id := ID(store.NewID())
	return a.door.Do(ctx, s.From, permit.Act{Name: permit.SignUp, Account: id, New: true}, func(tx *permit.Tx) error {
		if err := writeAccount(ctx, tx, s.Mail, "", s.Language, false); err != nil {
			return err
		}
		return a.askMail(ctx, tx, s)
	})
}

// writeAccount writes a new account and its address. An address that was taken meanwhile is errTaken.
func writeAccount(ctx context.Context, tx *permit.Tx, mail, phone, language string, verified bool) error {
	id, now := string(tx.Standing.Account), store.Micros(tx.Now())
	if err := takeMail(ctx, tx, mail, verified); err != nil {
		return err
	}
	verifiedAt := int64(0)
	if verified {
		verifiedAt = now
		if err := keepMail(ctx, tx, mail); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO account (account_id, mail, mail_verified_at, phone, password_hash, password_changed_at, password_reset_at, mail_changed_at, phone_changed_at, limit_percent, language, created_at)
		VALUES ($1, $2, $3, $4, '', 0, 0, 0, 0, 20, $5, $6)`, id, mail, verifiedAt, phone, language, now)
	if err != nil {
		return fmt.Errorf("keep account: %w", err)
	}
	return nil
}

// takeMail has an address sign in to the account, unless it is verified as another's: then it is
// errTaken. A verified address takes the place of one that somebody only typed in, and so does any
// other once that sign-up was frozen: nothing can come of it any more.
func takeMail(ctx context.Context, tx *permit.Tx, mail string, verified bool) error {
	at := int64(0)
	if verified {
		at = store.Micros(tx.Now())
	}
	n, err := tx.Exec(ctx, `INSERT INTO mail_index (mail, account_id, verified_at) VALUES ($1, $2, $3)
		ON CONFLICT (mail) DO UPDATE SET account_id = excluded.account_id, verified_at = excluded.verified_at
		WHERE mail_index.verified_at = 0 AND (excluded.verified_at > 0
			OR EXISTS (SELECT 1 FROM standing st WHERE st.account_id = mail_index.account_id AND st.frozen_at <> 0))`, mail, string(tx.Standing.Account), at)
	if err != nil {
		return fmt.Errorf("take address: %w", err)
	}
	if n == 0 {
		return errTaken
	}
	return nil
}

// keepMail begins the time of a verified address.
func keepMail(ctx context.Context, tx *permit.Tx, mail string) error {
	_, err := tx.Exec(ctx, `INSERT INTO account_mail (account_id, mail, from_at, until_at) VALUES ($1, $2, $3, 0)`,
		string(tx.Standing.Account), mail, store.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("keep address: %w", err)
	}
	return nil
}

// askMail mails a verification link. The sign-up's password waits beside the link: were it put in
// force at once, whoever signs up first with somebody else's address would own the account that
// this person opens later.
func (a *Accounts) askMail(ctx context.Context, tx *permit.Tx, s signUp) error {
	if n, err := wait(ctx, tx, s.Mail, "sign_up", s.Phone, s.Hash); err != nil || n == 0 {
		return err
	}
	return a.tellAt(ctx, tx, []string{s.Mail}, notice.VerifyMail{Event: notice.EventOf(s.From, tx.Now())})
}

// wait keeps what the link that is made in this transaction will put in force.
func wait(ctx context.Context, tx *permit.Tx, mail, purpose, phone, hash string) (int64, error) {
	n, err := tx.Exec(ctx, `INSERT INTO pending_mail (account_id, mail, made_at, purpose, phone, password_hash) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (account_id, mail, made_at) DO NOTHING`, string(tx.Standing.Account), mail, store.Micros(tx.Now()), purpose, phone, hash)
	if err != nil {
		return 0, fmt.Errorf("keep address: %w", err)
	}
	if n == 0 {
		tx.Unchanged()
	}
	return n, nil
}

// tellOwner tells a holder that somebody tried to sign up with their address.
func (a *Accounts) tellOwner(ctx context.Context, id ID, from evidence.Actor) error {
	from.Kind = evidence.System
	return a.do(ctx, from, permit.QueueMail, id, func(tx *permit.Tx) error {
		tx.Note("mail", notice.KindAccountExists)
		return a.tell(ctx, tx, notice.AccountExists{Event: notice.EventOf(from, tx.Now())})
	})
}

// Verified is what a press on a verification link did.
type Verified struct {
	Account ID
	// Session and Code are given once, when the press finished a sign-up.
	Session Session
	Code    FreezeCode
	// Changed says that the press finished a change of address instead.
	Changed bool
}

// Verify finishes a sign-up, or a change of address, with the link that was mailed to the new
// address. A sign-up's press opens the first session and gives the freeze code, once.
func (a *Accounts) Verify(ctx context.Context, from evidence.Actor, token string) (Verified, error) {
	link, err := notice.FindLink(ctx, a.db, a.db.Now(), notice.VerifyPurpose, token)
	if err != nil {
		return Verified{}, err
	}
	purpose, _, _, err := waiting(ctx, a.db, link)
	if err != nil {
		return Verified{}, err
	}
	act := permit.VerifyMail
	if purpose == "change" {
		act = permit.ConfirmMail
	}
	out := Verified{Account: link.Account, Changed: purpose == "change"}
	err = a.do(ctx, notice.LinkActor(link, from), act, link.Account, func(tx *permit.Tx) error {
		link, err := notice.FindLink(ctx, tx, tx.Now(), notice.VerifyPurpose, token)
		if err != nil {
			return err
		}
		_, phone, hash, err := waiting(ctx, tx, link)
		if err != nil {
			return err
		}
		if err := notice.UseLink(ctx, tx, link); err != nil {
			return err
		}
		if out.Changed {
			return a.moveMail(ctx, tx, link.Mail)
		}
		out.Session, out.Code, err = a.finishSignUp(ctx, tx, link.Mail, phone, hash)
		return err
	})
	if err != nil {
		return Verified{}, err
	}
	return out, nil
}

// waiting returns what a link puts in force. Nothing is left of it once an address was verified.
func waiting(ctx context.Context, q store.Querier, l notice.Link) (purpose, phone, hash string, err error) {
	err = scanOne(q.QueryRow(ctx, `SELECT purpose, phone, password_hash FROM pending_mail WHERE account_id = $1 AND mail = $2 AND made_at = $3`,
		string(l.Account), l.Mail, store.Micros(l.Made)), errUsed, &purpose, &phone, &hash)
	return purpose, phone, hash, err
}

func errUsed() error {
	return fault.New(fault.NotFound, "link_used", "This link was used already, or a newer one took its place. Nothing was changed. Try to sign in.")
}

func (a *Accounts) finishSignUp(ctx context.Context, tx *permit.Tx, mail, phone, hash string) (Session, FreezeCode, error) {
	n, err := tx.Exec(ctx, `UPDATE account SET mail_verified_at = $2, password_hash = $3, phone = $4 WHERE account_id = $1 AND mail_verified_at = 0`,
		string(tx.Standing.Account), store.Micros(tx.Now()), hash, phone)
	if err != nil {
		return Session{}, FreezeCode{}, fmt.Errorf("verify address: %w", err)
	}
	if n == 0 {
		return Session{}, FreezeCode{}, errUsed()
	}
	if err := takeMail(ctx, tx, mail, true); errors.Is(err, errTaken) {
		return Session{}, FreezeCode{}, errUsed() // verified as another account's meanwhile
	} else if err != nil {
		return Session{}, FreezeCode{}, err
	}
	if err := keepMail(ctx, tx, mail); err != nil {
		return Session{}, FreezeCode{}, err
	}
	if err := forgetWaiting(ctx, tx); err != nil {
		return Session{}, FreezeCode{}, err
	}
	code, err := giveFreezeCode(ctx, tx)
	if err != nil {
		return Session{}, FreezeCode{}, err
	}
	device, err := newDevice(ctx, tx)
	if err != nil {
		return Session{}, FreezeCode{}, err
	}
	s, err := a.openSession(ctx, tx, mail, device, "full")
	return s, code, err
}

// forgetWaiting drops every address and password that waits, with their links.
func forgetWaiting(ctx context.Context, tx *permit.Tx) error {
	if _, err := tx.Exec(ctx, `DELETE FROM pending_mail WHERE account_id = $1`, string(tx.Standing.Account)); err != nil {
		return fmt.Errorf("forget waiting addresses: %w", err)
	}
	_, err := notice.EndLinks(ctx, tx, tx.Standing.Account, notice.VerifyPurpose)
	return err
}
