package exchange

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", pure Go
)

//go:embed schema.sql
var schema string

const schemaVersion = 1

// database is the exchange's own file. One connection writes, a few read, so that a reader
// never waits for the matching engine.
type database struct {
	write, read *sql.DB
}

// openDatabase opens or creates the file. Every commit is synced to disk before it returns
// (synchronous FULL): an order or withdrawal that was answered survives a power cut.
func openDatabase(ctx context.Context, path string) (*database, error) {
	dsn := func(mode string) string {
		v := url.Values{}
		for _, p := range []string{"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)", "foreign_keys(1)"} {
			v.Add("_pragma", p)
		}
		v.Set("_txlock", mode)
		return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: v.Encode()}).String()
	}
	w, err := sql.Open("sqlite", dsn("immediate"))
	if err != nil {
		return nil, err
	}
	w.SetMaxOpenConns(1)
	db := &database{write: w}
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), w.Close())
	}
	if db.read, err = sql.Open("sqlite", dsn("deferred")); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	db.read.SetMaxOpenConns(4)
	return db, nil
}

func (db *database) migrate(ctx context.Context) error {
	var version int
	if err := db.write.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	switch version {
	case schemaVersion:
		return nil
	case 0:
	default:
		return fmt.Errorf("the file has schema version %d; this program knows %d", version, schemaVersion)
	}
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, schemaVersion)); err != nil {
		return err
	}
	return tx.Commit()
}

func (db *database) close() error { return errors.Join(db.read.Close(), db.write.Close()) }

// txn is one write transaction with the moment at which it happens.
type txn struct {
	*sql.Tx
	ctx context.Context
	now time.Time
}

func (t *txn) exec(query string, args ...any) error {
	_, err := t.ExecContext(t.ctx, query, args...)
	return err
}

// count is exec that returns how many rows changed.
func (t *txn) count(query string, args ...any) (int64, error) {
	r, err := t.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t *txn) row(query string, args ...any) *sql.Row {
	return t.QueryRowContext(t.ctx, query, args...)
}

// update runs fn in one write transaction and commits it durably. When it returns an error
// nothing was changed, or, after a failed commit, the outcome is unknown: callers that keep
// a copy in memory read it again from the database.
func (db *database) update(ctx context.Context, now time.Time, fn func(*txn) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := fn(&txn{Tx: tx, ctx: ctx, now: now}); err != nil {
		return err
	}
	return tx.Commit()
}

// querier is what reading needs: a transaction or the pool of readers.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(m int64) time.Time { return time.UnixMicro(m).UTC() }
