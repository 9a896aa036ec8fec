// Package evidence keeps the tamper-evident log: one hash chain per account.
//
// Every entry is committed in the transaction that caused it. The chain holds commitments, HMACs
// of the entry's text under a random salt of its own; text and salt lie beside, sealed, so that
// personal data can be erased while the rest still verifies. What a reader must know: a chain by
// itself proves order and content, not completeness. Whoever controls the database can cut its
// tail; the entry number and head in each security mail are what show that. Package verify checks
// an exported chain and trusts only the file.
package evidence

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"holdfast/evidence/verify"
	"holdfast/store"
)

// Head is the end of a chain: how many entries it has and the hash of the last.
type Head struct {
	Seq  int64
	Hash []byte
}

// String prints the head as mails carry it and verify --head reads it: "41:9f3c...".
func (h Head) String() string { return fmt.Sprintf("%d:%s", h.Seq, hex.EncodeToString(h.Hash)) }

// Start returns the head of a chain without entries.
func Start(account AccountID) Head {
	return Head{Hash: verify.Start(string(account))}
}

// Entry is one thing that happened.
type Entry struct {
	Account AccountID
	At      time.Time
	Act     string
	Actor   Actor
	// Detail holds what the act says about itself; keys are sorted when it is written.
	Detail map[string]any
	// Seq is the entry's number in its chain, from 1; set by Read.
	Seq int64
}

// text is the part of an entry that can be erased.
type text struct {
	Account AccountID      `json:"account"`
	Seq     int64          `json:"seq"`
	At      int64          `json:"at"`
	Act     string         `json:"act"`
	Actor   Actor          `json:"actor"`
	Detail  map[string]any `json:"detail,omitempty"`
}

// sealed is what lies encrypted beside an entry.
type sealed struct {
	Salt []byte          `json:"salt"`
	Text json.RawMessage `json:"text"`
}

const purpose = "evidence"

// Append adds e to its account's chain, which ends at head, and returns the new head. The caller
// holds the account's standing row and stores the head there.
func Append(ctx context.Context, tx *store.Tx, head Head, e Entry) (Head, error) {
	seq := head.Seq + 1
	at := store.Micros(e.At)
	words, err := json.Marshal(text{e.Account, seq, at, e.Act, e.Actor, e.Detail})
	if err != nil {
		return Head{}, fmt.Errorf("write entry: %w", err)
	}
	salt := make([]byte, 32)
	_, _ = rand.Read(salt) // never fails: https://pkg.go.dev/crypto/rand#Read
	commitment := verify.Commit(salt, words)
	hash := verify.Link(head.Hash, string(e.Account), seq, at, e.Act, commitment)
	beside, err := json.Marshal(sealed{salt, words})
	if err != nil {
		return Head{}, fmt.Errorf("write entry: %w", err)
	}
	closed, err := tx.Keys().Seal(purpose, string(e.Account), beside)
	if err != nil {
		return Head{}, fmt.Errorf("seal entry: %w", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO entry (account_id, seq, at, act, commitment, hash) VALUES ($1, $2, $3, $4, $5, $6)`,
		string(e.Account), seq, at, e.Act, commitment, hash); err != nil {
		return Head{}, fmt.Errorf("append entry: %w", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO entry_text (account_id, seq, sealed, erased_at, erased_why) VALUES ($1, $2, $3, 0, '')`,
		string(e.Account), seq, closed); err != nil {
		return Head{}, fmt.Errorf("append entry: %w", err)
	}
	return Head{Seq: seq, Hash: hash}, nil
}

// Read returns up to limit entries of the account with a number below before, newest first.
// before = 0 begins at the end. Erased entries come without actor and detail.
func Read(ctx context.Context, q store.Querier, keys *store.Keyset, account AccountID, before int64, limit int) ([]Entry, error) {
	if before <= 0 {
		before = 1<<63 - 1
	}
	rows, err := q.Query(ctx, `SELECT e.seq, e.at, e.act, t.sealed FROM entry e JOIN entry_text t ON t.account_id = e.account_id AND t.seq = e.seq
		WHERE e.account_id = $1 AND e.seq < $2 ORDER BY e.seq DESC LIMIT $3`, string(account), before, limit)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	defer rows.Close()
	var entries []Entry
	for rows.Next() {
		var at int64
		var closed []byte
		e := Entry{Account: account}
		if err := rows.Scan(&e.Seq, &at, &e.Act, &closed); err != nil {
			return nil, fmt.Errorf("read entries: %w", err)
		}
		e.At = store.Time(at)
		if len(closed) > 0 {
			_, words, err := open(keys, account, closed)
			if err != nil {
				return nil, err
			}
			var t text
			if err := json.Unmarshal(words, &t); err != nil {
				return nil, fmt.Errorf("read entry: %w", err)
			}
			e.Actor, e.Detail = t.Actor, t.Detail
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

func open(keys *store.Keyset, account AccountID, closed []byte) (salt, words []byte, err error) {
	beside, err := keys.Open(purpose, string(account), closed)
	if err != nil {
		return nil, nil, err
	}
	var s sealed
	if err := json.Unmarshal(beside, &s); err != nil {
		return nil, nil, fmt.Errorf("read entry: %w", err)
	}
	return s.Salt, s.Text, nil
}

// ErrNoChain means that the account has no entries.
var ErrNoChain = errors.New("evidence: this account has no chain")

// Export writes the account's chain to w as NDJSON, in the form that package verify reads. It
// reads one consistent view.
func Export(ctx context.Context, db *store.DB, account AccountID, w io.Writer) (Head, error) {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	head := Start(account)
	err := db.Read(ctx, func(tx *store.Tx) error {
		if err := enc.Encode(verify.Header{Format: verify.Format, Account: string(account), ExportedAt: db.Now()}); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT e.seq, e.at, e.act, e.commitment, e.hash, t.sealed, t.erased_at, t.erased_why
			FROM entry e LEFT JOIN entry_text t ON t.account_id = e.account_id AND t.seq = e.seq
			WHERE e.account_id = $1 ORDER BY e.seq`, string(account))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var line verify.Line
			var closed []byte
			var erasedAt *int64
			var why *string
			if err := rows.Scan(&line.Seq, &line.At, &line.Act, &line.Commitment, &line.Hash, &closed, &erasedAt, &why); err != nil {
				return err
			}
			if len(closed) > 0 {
				salt, words, err := open(db.Keys(), account, closed)
				if err != nil {
					return fmt.Errorf("entry %d: %w", line.Seq, err)
				}
				line.Salt, line.Text = salt, string(words)
			} else if erasedAt != nil && why != nil {
				line.ErasedAt, line.ErasedWhy = *erasedAt, *why
			}
			if err := enc.Encode(line); err != nil {
				return err
			}
			head = Head{Seq: line.Seq, Hash: line.Hash}
		}
		return rows.Err()
	})
	if err != nil {
		return Head{}, fmt.Errorf("export chain: %w", err)
	}
	if head.Seq == 0 {
		return Head{}, ErrNoChain
	}
	return head, out.Flush()
}
