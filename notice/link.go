package notice

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/store"
)

// Purpose is the one thing that a link is for. A secret made for one purpose does nothing else: a
// freeze link found in an old mail never changes a password.
type Purpose string

// The purposes.
const (
	FreezeLinkPurpose Purpose = "freeze" // freezes; lives long, and is not spent by its use
	VerifyPurpose     Purpose = "verify" // confirms a mail address, once
	ResetPurpose      Purpose = "reset"  // chooses a new password, once
)

// Lifetime returns how long a link of the purpose works. A freeze link lives for 60 days: the mail
// that warned somebody is often read weeks later. A reset link opens the account to whoever reads
// the mail, so it lives for 30 minutes.
func Lifetime(p Purpose) time.Duration {
	switch p {
	case FreezeLinkPurpose:
		return 60 * 24 * time.Hour
	case VerifyPurpose:
		return 24 * time.Hour
	default:
		return 30 * time.Minute
	}
}

// Path returns the path of a link's page: "/freeze/TOKEN", "/verify/TOKEN" or "/reset/TOKEN".
// Opening it MUST change nothing; mail scanners open every link.
func Path(p Purpose, token string) string { return "/" + string(p) + "/" + token }

// Link is a link as the database knows it.
type Link struct {
	Account evidence.AccountID
	ID      string
	Purpose Purpose
	// Mail is the address that it was sent to.
	Mail    string
	Made    time.Time
	Expires time.Time
	// Used is when it was used first; zero before.
	Used time.Time
}

// secretLen is 128 bits: design, "Defaults".
const secretLen = 16

// Tx is the causing transaction, as package permit hands it out. Next is the number that the
// transaction's entry in the evidence chain will have.
type Tx interface {
	store.Querier
	Exec(ctx context.Context, query string, args ...any) (int64, error)
	Now() time.Time
	Keys() *store.Keyset
	SQL() *sql.Tx
	AfterCommit(func())
	Next() int64
}

// MakeLink makes a link for the account and returns its token, which exists nowhere else: the
// database keeps a hash. mail is the address that will get it.
func MakeLink(ctx context.Context, tx Tx, account evidence.AccountID, purpose Purpose, mail string) (token string, err error) {
	id, err := uuid.Parse(string(account))
	if err != nil {
		return "", fmt.Errorf("make link: account id: %w", err)
	}
	secret := make([]byte, secretLen)
	_, _ = rand.Read(secret) // never fails: https://pkg.go.dev/crypto/rand#Read
	hash := sha256.Sum256(secret)
	if _, err := tx.Exec(ctx, `INSERT INTO link (account_id, link_id, purpose, secret_hash, made_at, expires_at, used_at, mail) VALUES ($1, $2, $3, $4, $5, $6, 0, $7)`,
		string(account), store.NewID(), string(purpose), hash[:], store.Micros(tx.Now()), store.Micros(tx.Now().Add(Lifetime(purpose))), mail); err != nil {
		return "", fmt.Errorf("make link: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(append(id[:], secret...)), nil
}

// errNoLink is the one answer to every token that is not a link of ours for this purpose, so that
// a guesser learns nothing about accounts.
var errNoLink = fault.New(fault.NotFound, "link_unknown",
	"This link does not work. It may be incomplete: copy all of it from the mail, or ask for a new one.")

// FindLink returns the live link of that token and purpose. It runs the same statement whatever
// the token, and answers a malformed, unknown or foreign one alike. Only someone who has a real
// link is told that it has expired or was used (codes link_expired, link_used).
func FindLink(ctx context.Context, q store.Querier, now time.Time, purpose Purpose, token string) (Link, error) {
	account, hash := splitToken(token)
	l := Link{Account: account}
	var found string
	var made, expires, used int64
	err := q.QueryRow(ctx, `SELECT link_id, purpose, mail, made_at, expires_at, used_at FROM link WHERE account_id = $1 AND secret_hash = $2`,
		string(account), hash).Scan(&l.ID, &found, &l.Mail, &made, &expires, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return Link{}, errNoLink
	}
	if err != nil {
		return Link{}, fmt.Errorf("find link: %w", err)
	}
	if Purpose(found) != purpose {
		return Link{}, errNoLink
	}
	l.Purpose, l.Made, l.Expires, l.Used = purpose, store.Time(made), store.Time(expires), store.Time(used)
	if !now.Before(l.Expires) {
		return Link{}, fault.New(fault.NotFound, "link_expired", "This link has expired. Nothing was changed. Ask for a new one.")
	}
	if purpose != FreezeLinkPurpose && used != 0 {
		return Link{}, fault.New(fault.NotFound, "link_used", "This link was used already and works only once. If it was not you who used it, freeze your account now.")
	}
	return l, nil
}

// splitToken takes a token apart. A malformed one comes back as an account and a hash that do not
// exist, so that it takes the same way as an unknown one.
func splitToken(token string) (evidence.AccountID, []byte) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != 16+secretLen {
		raw = make([]byte, 16+secretLen)
	}
	hash := sha256.Sum256(raw[16:])
	return evidence.AccountID(uuid.UUID(raw[:16]).String()), hash[:]
}

// UseLink marks a link that works once as used. Of two uses at the same time one fails with
// link_used. For a freeze link it only notes the first use: a frightened person presses twice.
func UseLink(ctx context.Context, tx Tx, l Link) error {
	n, err := tx.Exec(ctx, `UPDATE link SET used_at = $3 WHERE account_id = $1 AND link_id = $2 AND used_at = 0`,
		string(l.Account), l.ID, store.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("use link: %w", err)
	}
	if n == 0 && l.Purpose != FreezeLinkPurpose {
		return fault.New(fault.NotFound, "link_used", "This link was used already and works only once. If it was not you who used it, freeze your account now.")
	}
	return nil
}

// EndLinks ends the account's unused links of a purpose, such as reset links after the password
// was changed in another way, and returns how many.
func EndLinks(ctx context.Context, tx Tx, account evidence.AccountID, purpose Purpose) (int64, error) {
	n, err := tx.Exec(ctx, `UPDATE link SET used_at = $3 WHERE account_id = $1 AND purpose = $2 AND used_at = 0`,
		string(account), string(purpose), store.Micros(tx.Now()))
	if err != nil {
		return 0, fmt.Errorf("end links: %w", err)
	}
	return n, nil
}

// LinkActor returns the actor that acts by a link: it can do what the link is for and no more.
func LinkActor(l Link, from evidence.Actor) evidence.Actor {
	from.Kind, from.ID, from.Session, from.Device = evidence.Link, l.ID, "", ""
	return from
}
