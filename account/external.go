package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// checkName refuses an id of the platform's that is empty, too long or not text.
func checkName(what, s string) error {
	if s == "" || len(s) > 128 || !utf8.ValidString(s) || clean(s) != s {
		return fault.New(fault.Invalid, "name", fmt.Sprintf("The %s must have 1 to 128 bytes of printable UTF-8.", what))
	}
	return nil
}

// RegisterAccount makes an account that the platform keeps itself known under its own id, or returns
// the one that is known already. The platform vouches for the mail address, which gets security
// mails with freeze links; it opens no sign-in here.
func (a *Accounts) RegisterAccount(ctx context.Context, by evidence.Actor, external, mail, phone string) (ID, bool, error) {
	if err := checkName("external id", external); err != nil {
		return "", false, err
	}
	mail, err := NormaliseMail(mail)
	if err != nil {
		return "", false, err
	}
	if phone, err = normalisePhone(phone); err != nil {
		return "", false, err
	}
	for {
		id, err := FindExternal(ctx, a.db, by.ID, external)
		if err == nil || fault.KindOf(err) != fault.NotFound {
			return id, false, err
		}
		id = ID(store.NewID())
		err = a.door.Do(ctx, by, permit.Act{Name: permit.RegisterAccount, Account: id, New: true}, func(tx *permit.Tx) error {
			n, err := tx.Exec(ctx, `INSERT INTO external_account (integrator, external_id, account_id) VALUES ($1, $2, $3) ON CONFLICT (integrator, external_id) DO NOTHING`,
				by.ID, external, string(id))
			if err != nil {
				return fmt.Errorf("keep external id: %w", err)
			}
			if n == 0 {
				return errKnown
			}
			if err := writeAccount(ctx, tx, mail, phone, "en", true); errors.Is(err, errTaken) {
				return fault.New(fault.Conflict, "mail_taken", "Another account has this mail address.")
			} else if err != nil {
				return err
			}
			tx.Note("external_id", external)
			return nil
		})
		if errors.Is(err, errKnown) {
			continue
		}
		return id, err == nil, err
	}
}

// errKnown means that somebody else registered the same id meanwhile.
var errKnown = errors.New("account: registered meanwhile")

// FindExternal returns the account under an integrator's own id. None is a fault of kind NotFound.
func FindExternal(ctx context.Context, q store.Querier, integrator, external string) (ID, error) {
	var id string
	err := q.QueryRow(ctx, `SELECT account_id FROM external_account WHERE integrator = $1 AND external_id = $2`, integrator, external).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", errNoAccount()
	}
	if err != nil {
		return "", fmt.Errorf("find external id: %w", err)
	}
	return ID(id), nil
}

// ExternalID returns the integrator's own id of an account; empty when it has none.
func ExternalID(ctx context.Context, q store.Querier, integrator string, id ID) (string, error) {
	var external string
	err := q.QueryRow(ctx, `SELECT external_id FROM external_account WHERE account_id = $1 AND integrator = $2`, string(id), integrator).Scan(&external)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read external id: %w", err)
	}
	return external, nil
}

// External is a session or API key that the platform keeps itself.
type External struct {
	// ID is the platform's: 1 to 128 bytes, never the secret.
	ID   string
	Kind CredentialKind // SessionCredential or KeyCredential
	// Scopes are the exits that it may use; none is all, for a session only.
	Scopes    []permit.Exit
	Label     string
	ExpiresAt time.Time // zero for never
	// Address and Agent are those of the client, as the platform saw it.
	Address string
	Agent   string
}

// RegisterCredential makes a credential that the platform issued known, so that it can be asked
// about and a freeze suspends it. The account must be the integrator's. Registering the same one
// again changes nothing; an ended one does not come back.
func (a *Accounts) RegisterCredential(ctx context.Context, by evidence.Actor, id ID, c External) error {
	act := permit.Act{Name: permit.RegisterKey, Account: id}
	if err := c.validate(); err != nil {
		return a.door.Refuse(ctx, by, act, err)
	}
	return a.door.Do(ctx, by, act, func(tx *permit.Tx) error {
		if err := own(ctx, tx, by.ID); err != nil {
			return err
		}
		scopes := make([]string, 0, len(c.Scopes))
		for _, s := range c.Scopes {
			scopes = append(scopes, string(s))
		}
		n, err := tx.Exec(ctx, `INSERT INTO credential (account_id, integrator, external_credential_id, kind, scopes, label, epoch, address, agent, created_at, expires_at, ended_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0) ON CONFLICT (account_id, integrator, external_credential_id) DO NOTHING`,
			string(id), by.ID, c.ID, c.Kind, strings.Join(scopes, ","), c.Label, tx.Standing.Epoch, c.Address, c.Agent, store.Micros(tx.Now()), store.Micros(c.ExpiresAt))
		if err != nil {
			return fmt.Errorf("keep credential: %w", err)
		}
		tx.Note("credential", c.ID)
		tx.Note("kind", c.Kind)
		if n > 0 {
			return nil
		}
		var ended, epoch int64
		if err := tx.QueryRow(ctx, `SELECT ended_at, epoch FROM credential WHERE account_id = $1 AND integrator = $2 AND external_credential_id = $3`, string(id), by.ID, c.ID).Scan(&ended, &epoch); err != nil {
			return fmt.Errorf("read credential: %w", err)
		}
		if ended != 0 || epoch != tx.Standing.Epoch {
			return fault.New(fault.Conflict, "credential_ended", "This credential was ended or suspended. Issue a new one under a new id.")
		}
		tx.Unchanged()
		return nil
	})
}

func (c *External) validate() error {
	if err := checkName("credential's id", c.ID); err != nil {
		return err
	}
	if c.Kind != SessionCredential && c.Kind != KeyCredential {
		return fault.New(fault.Invalid, "credential_kind", `The kind of a credential is "session" or "api_key".`)
	}
	if c.Kind == KeyCredential && len(c.Scopes) == 0 || len(c.Scopes) > 32 {
		return fault.New(fault.Invalid, "scope", "Name the 1 to 32 exits that the key may use.")
	}
	for _, s := range c.Scopes {
		if s == "" || len(s) > 64 || strings.Trim(string(s), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return fault.New(fault.Invalid, "scope", fmt.Sprintf("%.64q is not an exit.", string(s)))
		}
	}
	if c.Label = short(c.Label); len(c.Agent) > 512 {
		c.Agent = c.Agent[:512]
	}
	c.Agent, c.Address = clean(c.Agent), short(c.Address)
	return nil
}

// own refuses an account that is not the integrator's to speak for.
func own(ctx context.Context, tx *permit.Tx, integrator string) error {
	external, err := ExternalID(ctx, tx, integrator, tx.Standing.Account)
	if err == nil && external == "" {
		err = errNoAccount()
	}
	return err
}

// EndCredential ends a registered credential. Ending an ended one succeeds and changes nothing.
func (a *Accounts) EndCredential(ctx context.Context, by evidence.Actor, id ID, external string) error {
	return a.do(ctx, by, permit.EndKey, id, func(tx *permit.Tx) error {
		missing := func() error {
			return fault.New(fault.NotFound, "unknown_credential", "There is no such credential.")
		}
		var ended int64
		var kind string
		if err := scanOne(tx.QueryRow(ctx, `SELECT ended_at, kind FROM credential WHERE account_id = $1 AND integrator = $2 AND external_credential_id = $3`,
			string(id), by.ID, external), missing, &ended, &kind); err != nil {
			return err
		}
		if ended != 0 {
			tx.Unchanged()
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE credential SET ended_at = $4 WHERE account_id = $1 AND integrator = $2 AND external_credential_id = $3`,
			string(id), by.ID, external, store.Micros(tx.Now())); err != nil {
			return fmt.Errorf("end credential: %w", err)
		}
		tx.Note("credential", external)
		what := "session_ended"
		if kind == KeyCredential {
			what = "key_deleted"
		}
		tx.Announce(what, external)
		return nil
	})
}
