package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"holdfast/fault"
	"holdfast/store"
)

// Facts are the dates from which holds follow. A zero time is "never".
type Facts struct {
	PasswordChangedAt time.Time // account.password_changed_at
	PasswordResetAt   time.Time // account.password_reset_at
	MailChangedAt     time.Time // account.mail_changed_at
	PhoneChangedAt    time.Time // account.phone_changed_at
}

// ReadFacts returns the account's facts in one statement. An account that is not there is a fault
// of kind NotFound: nothing may follow from dates that could not be read.
func ReadFacts(ctx context.Context, q store.Querier, id ID) (Facts, error) {
	var changed, reset, mail, phone int64
	err := q.QueryRow(ctx, `SELECT password_changed_at, password_reset_at, mail_changed_at, phone_changed_at FROM account WHERE account_id = $1`, string(id)).
		Scan(&changed, &reset, &mail, &phone)
	if errors.Is(err, sql.ErrNoRows) {
		return Facts{}, errNoAccount()
	}
	if err != nil {
		return Facts{}, fmt.Errorf("read facts: %w", err)
	}
	return Facts{store.Time(changed), store.Time(reset), store.Time(mail), store.Time(phone)}, nil
}

func errNoAccount() error {
	return fault.New(fault.NotFound, "unknown_account", "There is no such account.")
}

// Profile is what the account's own pages show about its holder.
type Profile struct {
	Account      ID
	Mail         string
	Verified     bool
	Phone        string // as typed in; nobody has verified it
	LimitPercent int64  // a fall of the balance by more than this within a day is a sign
	Language     string
	HasPassword  bool // false where the platform keeps the sign-in
	CreatedAt    time.Time
	Facts        Facts
}

// ReadProfile returns the account's profile.
func ReadProfile(ctx context.Context, q store.Querier, id ID) (Profile, error) {
	p := Profile{Account: id}
	var verified, created, changed, reset, mail, phone int64
	var hash string
	err := q.QueryRow(ctx, `SELECT mail, mail_verified_at, phone, limit_percent, language, password_hash, created_at,
			password_changed_at, password_reset_at, mail_changed_at, phone_changed_at FROM account WHERE account_id = $1`, string(id)).
		Scan(&p.Mail, &verified, &p.Phone, &p.LimitPercent, &p.Language, &hash, &created, &changed, &reset, &mail, &phone)
	if errors.Is(err, sql.ErrNoRows) {
		return Profile{}, errNoAccount()
	}
	if err != nil {
		return Profile{}, fmt.Errorf("read profile: %w", err)
	}
	p.Verified, p.HasPassword, p.CreatedAt = verified != 0, hash != "", store.Time(created)
	p.Facts = Facts{store.Time(changed), store.Time(reset), store.Time(mail), store.Time(phone)}
	return p, nil
}
