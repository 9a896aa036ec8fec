package account

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// NewKey is what a holder asks for.
type NewKey struct {
	Label string // at most 60 characters
	Kind  KeyKind
	// PublicKey of an Ed25519 key, as ParsePublicKey reads it.
	PublicKey string
	Scopes    []string
	// Addresses as ParseAddresses reads them; required for the scope withdraw.
	Addresses []string
	// ExpiresAt is zero for never.
	ExpiresAt time.Time
	// Password is the step-up.
	Password string
}

// KeyCreated is a new key with, for HMAC, its secret of 64 characters, which is shown this once.
type KeyCreated struct {
	Key    Key
	Secret Secret
}

// validate returns the key that is asked for, without id and material, and its public key.
func (n NewKey) validate(now time.Time) (Key, []byte, error) {
	k := Key{Kind: n.Kind, Label: strings.TrimSpace(clean(n.Label)), ExpiresAt: n.ExpiresAt, State: "live"}
	if k.Label == "" || len([]rune(k.Label)) > 60 {
		return Key{}, nil, fault.New(fault.Invalid, "label", "Give the key a name of 1 to 60 characters, so that you recognise it later.")
	}
	var err error
	if k.Scopes, err = ParseScopes(n.Scopes); err != nil {
		return Key{}, nil, err
	}
	if k.Addresses, err = ParseAddresses(n.Addresses); err != nil {
		return Key{}, nil, err
	}
	if k.Covers(Withdraw) && len(k.Addresses) == 0 {
		return Key{}, nil, fault.New(fault.Invalid, "withdraw_needs_addresses", "A key that may withdraw needs a list of addresses. Without one, whoever steals the key can empty the account from anywhere.")
	}
	if !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(now) {
		return Key{}, nil, fault.New(fault.Invalid, "expiry", "That date has passed. Choose one that lies ahead, or none.")
	}
	switch n.Kind {
	case HMAC:
		return k, nil, nil
	case Ed25519:
		public, err := ParsePublicKey(n.PublicKey)
		return k, public, err
	default:
		return Key{}, nil, fault.New(fault.Invalid, "key_kind", "Choose how the key signs: HMAC-SHA256 or Ed25519.")
	}
}

// CreateKey makes an API key, with the password as step-up, and tells the holder. The scope
// withdraw begins to count after a wait, in which the mail can be read.
func (a *Accounts) CreateKey(ctx context.Context, by evidence.Actor, id ID, n NewKey) (KeyCreated, error) {
	k, public, err := n.validate(a.db.Now())
	if err != nil {
		return KeyCreated{}, a.door.Refuse(ctx, by, permit.Act{Name: permit.CreateKey, Account: id}, err)
	}
	if err := a.stepUp(ctx, by, permit.CreateKey, id, n.Password); err != nil {
		return KeyCreated{}, err
	}
	var out KeyCreated
	err = a.do(ctx, by, permit.CreateKey, id, func(tx *permit.Tx) error {
		out = KeyCreated{Key: k}
		if err := a.writeKey(ctx, tx, &out, public); err != nil {
			return err
		}
		return a.tell(ctx, tx, notice.KeyCreated{Event: notice.EventOf(tx.By, tx.Now()), Label: out.Key.Label, KeyID: out.Key.ID,
			Scopes: out.Key.Scopes, Addresses: words(out.Key.Addresses), WithdrawsFrom: out.Key.WithdrawFrom})
	})
	if err != nil {
		return KeyCreated{}, err
	}
	return out, nil
}

func (a *Accounts) writeKey(ctx context.Context, tx *permit.Tx, out *KeyCreated, public []byte) error {
	id := string(tx.Standing.Account)
	var count int64
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM api_key WHERE account_id = $1 AND deleted_at = 0`, id).Scan(&count); err != nil {
		return fmt.Errorf("count keys: %w", err)
	}
	if count >= a.cfg.Keys {
		return fault.New(fault.Conflict, "too_many_keys", fmt.Sprintf("You have %d keys, which is the most. Delete one that you no longer use.", count))
	}
	k := &out.Key
	k.Account, k.Epoch, k.CreatedAt, k.Material = tx.Standing.Account, tx.Standing.Epoch, tx.Now(), public
	if k.Covers(Withdraw) {
		k.WithdrawFrom = tx.Now().Add(a.cfg.WithdrawWait)
	}
	var err error
	if k.ID, err = newKeyID(k.Account); err != nil {
		return err
	}
	if k.Kind == HMAC {
		raw := make([]byte, 48) // 64 characters of base64url
		_, _ = rand.Read(raw)   // never fails: https://pkg.go.dev/crypto/rand#Read
		out.Secret = Secret(base64.RawURLEncoding.EncodeToString(raw))
		if k.Material, err = tx.Keys().Seal(sealKey+k.ID, id, []byte(out.Secret)); err != nil {
			return fmt.Errorf("seal key: %w", err)
		}
	}
	var device string
	if tx.By.Session != "" {
		if err := scanOne(tx.QueryRow(ctx, `SELECT device_id FROM session WHERE account_id = $1 AND session_id = $2`, id, tx.By.Session), errSession, &device); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO api_key (account_id, key_id, kind, material, label, scopes, addresses, epoch, created_at, created_session, created_device, withdraw_from, expires_at, deleted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0)`,
		id, k.ID, string(k.Kind), k.Material, k.Label, strings.Join(k.Scopes, ","), joinAddresses(k.Addresses), k.Epoch,
		store.Micros(k.CreatedAt), tx.By.Session, device, store.Micros(k.WithdrawFrom), store.Micros(k.ExpiresAt))
	if err != nil {
		return fmt.Errorf("keep key: %w", err)
	}
	tx.Note("key", k.ID)
	tx.Note("label", k.Label)
	tx.Note("scopes", k.Scopes)
	return nil
}

const keyColumns = `k.key_id, k.kind, k.material, k.label, k.scopes, k.addresses, k.epoch, k.created_at, k.withdraw_from, k.expires_at,
	COALESCE(n.at, 0), COALESCE(n.address, ''), st.epoch
	FROM api_key k JOIN standing st ON st.account_id = k.account_id
	LEFT JOIN seen n ON n.account_id = k.account_id AND n.kind = 'api_key' AND n.id = k.key_id`

func scanKey(scan func(...any) error, id ID, now time.Time) (Key, error) {
	k := Key{Account: id}
	var kind, scopes, addresses string
	var created, withdraw, expires, used, standing int64
	if err := scan(&k.ID, &kind, &k.Material, &k.Label, &scopes, &addresses, &k.Epoch, &created, &withdraw, &expires, &used, &k.LastAddress, &standing); err != nil {
		return Key{}, err
	}
	k.Kind, k.Scopes = KeyKind(kind), strings.Split(scopes, ",")
	k.CreatedAt, k.WithdrawFrom, k.ExpiresAt, k.LastUsedAt = store.Time(created), store.Time(withdraw), store.Time(expires), store.Time(used)
	var err error
	if k.Addresses, err = ReadAddresses(addresses); err != nil {
		return Key{}, fmt.Errorf("key %s: %w", k.ID, err)
	}
	switch {
	case expires != 0 && !now.Before(k.ExpiresAt):
		k.State = "expired"
	case k.Epoch != standing:
		k.State = "suspended"
	default:
		k.State = "live"
	}
	return k, nil
}

// ListKeys returns the keys that are not deleted, the newest first.
func ListKeys(ctx context.Context, q Reader, id ID) ([]Key, error) {
	rows, err := q.Query(ctx, `SELECT `+keyColumns+` WHERE k.account_id = $1 AND k.deleted_at = 0 ORDER BY k.created_at DESC, k.key_id`, string(id))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	defer rows.Close()
	var keys []Key
	for rows.Next() {
		k, err := scanKey(rows.Scan, id, q.Now())
		if err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// readKey returns a key that is not deleted; its absence is a fault of kind NotFound.
func readKey(ctx context.Context, q Reader, id ID, key string) (Key, error) {
	var k Key
	err := scanOne(q.QueryRow(ctx, `SELECT key_id FROM api_key WHERE account_id = $1 AND key_id = $2 AND deleted_at = 0`, string(id), key), errKey, &k.ID)
	if err != nil {
		return Key{}, err
	}
	return scanKey(q.QueryRow(ctx, `SELECT `+keyColumns+` WHERE k.account_id = $1 AND k.key_id = $2 AND k.deleted_at = 0`, string(id), key).Scan, id, q.Now())
}

// EnableKey puts a key that a freeze suspended back to work, with the password as step-up. It is an
// opening change, so the scope withdraw waits again, and the holder is told.
func (a *Accounts) EnableKey(ctx context.Context, by evidence.Actor, id ID, key, password string) (Key, error) {
	if err := a.stepUp(ctx, by, permit.EnableKey, id, password); err != nil {
		return Key{}, err
	}
	var k Key
	err := a.do(ctx, by, permit.EnableKey, id, func(tx *permit.Tx) error {
		var err error
		if k, err = readKey(ctx, tx, id, key); err != nil {
			return err
		}
		switch k.State {
		case "live":
			tx.Unchanged()
			return nil
		case "expired":
			return fault.New(fault.Conflict, "key_expired", "This key has expired. Make a new one.")
		}
		k.Epoch, k.State = tx.Standing.Epoch, "live"
		if k.Covers(Withdraw) {
			k.WithdrawFrom = tx.Now().Add(a.cfg.WithdrawWait)
		}
		if _, err := tx.Exec(ctx, `UPDATE api_key SET epoch = $3, withdraw_from = $4 WHERE account_id = $1 AND key_id = $2`,
			string(id), key, k.Epoch, store.Micros(k.WithdrawFrom)); err != nil {
			return fmt.Errorf("enable key: %w", err)
		}
		tx.Note("key", k.ID)
		tx.Note("label", k.Label)
		return a.tell(ctx, tx, notice.KeyCreated{Event: notice.EventOf(tx.By, tx.Now()), Label: k.Label, KeyID: k.ID,
			Scopes: k.Scopes, Addresses: words(k.Addresses), WithdrawsFrom: k.WithdrawFrom})
	})
	return k, err
}

// DeleteKey deletes a key. It never works again: no restore brings it back. Deleting a deleted key
// succeeds and changes nothing.
func (a *Accounts) DeleteKey(ctx context.Context, by evidence.Actor, id ID, key string) error {
	return a.do(ctx, by, permit.DeleteKey, id, func(tx *permit.Tx) error {
		var deleted int64
		var label string
		if err := scanOne(tx.QueryRow(ctx, `SELECT deleted_at, label FROM api_key WHERE account_id = $1 AND key_id = $2`, string(id), key), errKey, &deleted, &label); err != nil {
			return err
		}
		if deleted != 0 {
			tx.Unchanged()
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE api_key SET deleted_at = $3 WHERE account_id = $1 AND key_id = $2`, string(id), key, store.Micros(tx.Now())); err != nil {
			return fmt.Errorf("delete key: %w", err)
		}
		tx.Note("key", key)
		tx.Note("label", label)
		tx.Announce("key_deleted", key)
		return nil
	})
}

// DeleteAllKeys deletes every key and returns how many there were.
func (a *Accounts) DeleteAllKeys(ctx context.Context, by evidence.Actor, id ID) (int64, error) {
	var deleted int64
	err := a.do(ctx, by, permit.DeleteAllKeys, id, func(tx *permit.Tx) error {
		deleted = 0
		rows, err := tx.Query(ctx, `UPDATE api_key SET deleted_at = $2 WHERE account_id = $1 AND deleted_at = 0 RETURNING key_id`, string(id), store.Micros(tx.Now()))
		if err != nil {
			return fmt.Errorf("delete keys: %w", err)
		}
		defer rows.Close()
		var keys []string
		for rows.Next() {
			var key string
			if err := rows.Scan(&key); err != nil {
				return fmt.Errorf("delete keys: %w", err)
			}
			keys = append(keys, key)
			tx.Announce("key_deleted", key)
		}
		deleted = int64(len(keys))
		tx.Note("keys", keys)
		return rows.Err()
	})
	return deleted, err
}

// keysLeft counts the keys that work.
func keysLeft(ctx context.Context, tx *permit.Tx) (n int64, err error) {
	err = tx.QueryRow(ctx, `SELECT count(*) FROM api_key WHERE account_id = $1 AND deleted_at = 0 AND epoch = $2 AND (expires_at = 0 OR expires_at > $3)`,
		string(tx.Standing.Account), tx.Standing.Epoch, store.Micros(tx.Now())).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count keys: %w", err)
	}
	return n, nil
}
