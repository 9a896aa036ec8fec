package notice

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"holdfast/fault"
	"holdfast/store"
)

// Mailbox keeps mails on this machine instead of sending them. It is for demonstrations on
// loopback: whoever can open its page can read every link. It is safe for concurrent use.
type Mailbox struct{ db *store.DB }

// NewMailbox returns the mailbox of db.
func NewMailbox(db *store.DB) *Mailbox { return &Mailbox{db} }

const sealMailbox = "mailbox"

// Send keeps m. Keeping it twice keeps it once.
func (b *Mailbox) Send(ctx context.Context, m Mail) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("keep mail: %w", err)
	}
	sealed, err := b.db.Keys().Seal(sealMailbox, m.ID, raw)
	if err != nil {
		return fmt.Errorf("keep mail: %w", err)
	}
	err = b.db.Housekeep(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO mailbox (mail_id, recipient, sealed, made_at) VALUES ($1, $2, $3, $4) ON CONFLICT (mail_id) DO NOTHING`,
			m.ID, m.To, sealed, store.Micros(m.Made))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep mail: %w", err)
	}
	return nil
}

// List returns up to limit mails, newest first; those to one recipient when to is not empty.
func (b *Mailbox) List(ctx context.Context, to string, limit int) ([]Mail, error) {
	rows, err := b.db.Query(ctx, `SELECT mail_id, sealed FROM mailbox WHERE recipient = $1 OR CAST($1 AS TEXT) = '' ORDER BY made_at DESC, mail_id DESC LIMIT $2`, to, limit)
	if err != nil {
		return nil, fmt.Errorf("read mailbox: %w", err)
	}
	defer rows.Close()
	var mails []Mail
	for rows.Next() {
		var id string
		var sealed []byte
		if err := rows.Scan(&id, &sealed); err != nil {
			return nil, fmt.Errorf("read mailbox: %w", err)
		}
		m, err := b.open(id, sealed)
		if err != nil {
			return nil, err
		}
		mails = append(mails, m)
	}
	return mails, rows.Err()
}

// Get returns one mail.
func (b *Mailbox) Get(ctx context.Context, id string) (Mail, error) {
	var sealed []byte
	err := b.db.QueryRow(ctx, `SELECT sealed FROM mailbox WHERE mail_id = $1`, id).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return Mail{}, fault.New(fault.NotFound, "unknown_mail", "There is no such mail.")
	}
	if err != nil {
		return Mail{}, fmt.Errorf("read mailbox: %w", err)
	}
	return b.open(id, sealed)
}

func (b *Mailbox) open(id string, sealed []byte) (Mail, error) {
	raw, err := b.db.Keys().Open(sealMailbox, id, sealed)
	if err != nil {
		return Mail{}, err
	}
	var m Mail
	if err := json.Unmarshal(raw, &m); err != nil {
		return Mail{}, fmt.Errorf("read mail %s: %w", id, err)
	}
	return m, nil
}
