// Package store keeps everything that must survive: SQLite and PostgreSQL behind one handle.
//
// Rooms write plain SQL in $n form and run it through *Tx; every difference between the engines
// lives here. What can go wrong here is the promise itself: a change that was acknowledged and is
// not on the disk, or a transaction that half happened. So a write is acknowledged only after a
// commit that the engine made durable, settings that would break this are refused at start, and a
// commit whose outcome is not known is reported as exactly that (ErrUnknownOutcome), never as a
// failure. Only package permit may call Write; housekeeping goes through Housekeep, which can name
// housekeeping tables only.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river/riverdriver"
)

// ErrUnknownOutcome means that a commit was sent and its answer was lost: the change may or may
// not be there. Ask the database before saying anything about it.
var ErrUnknownOutcome = errors.New("store: the outcome of the commit is not known")

// Config says which database to open and how.
type Config struct {
	// DSN is "sqlite:PATH" or a "postgres://" URL.
	DSN string
	// Keys seals what must be read back. Required.
	Keys *Keyset
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// AllowVolatile accepts a database that may forget what it acknowledged (PostgreSQL with
	// fsync, full_page_writes or synchronous_commit off; SQLite below synchronous=FULL). Off by
	// default: a platform that switched syncing off to load data and forgot it would lose
	// freezes in the next power cut. For tests.
	AllowVolatile bool
	// IdleInTransaction ends a PostgreSQL session whose transaction hangs between statements,
	// so that a stopped process does not hold an account's row; 1.5 s when zero, which is
	// shorter than a lease.
	IdleInTransaction time.Duration
	// Connections bounds the pool; 16 when zero.
	Connections int
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	shared *shared
	now    func() time.Time
}

// shared is what all handles on one database have in common.
type shared struct {
	engine     Engine
	write      *sql.DB // SQLite: one connection, so writers queue here and never meet BUSY
	read       *sql.DB
	keys       *Keyset
	jobs       riverdriver.Driver[*sql.Tx]
	unlock     func() error
	warnings   sync.Map // *pgconn.PgConn to the text of its last warning
	statements atomic.Int64
}

// Engine names a database engine.
type Engine string

// The engines.
const (
	SQLite     Engine = "sqlite"
	PostgreSQL Engine = "postgres"
)

// Open opens the database, checks that it keeps what it acknowledges, and brings its tables up to
// date. A SQLite file is locked for this process until Close (guarantee, rule 16).
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.Keys == nil {
		return nil, errors.New("store: no keyset")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.IdleInTransaction == 0 {
		c.IdleInTransaction = 1500 * time.Millisecond
	}
	if c.Connections == 0 {
		c.Connections = 16
	}
	var s *shared
	var err error
	switch {
	case strings.HasPrefix(c.DSN, "sqlite:"):
		s, err = openSQLite(ctx, c)
	case strings.HasPrefix(c.DSN, "postgres://"), strings.HasPrefix(c.DSN, "postgresql://"):
		s, err = openPostgreSQL(ctx, c)
	default:
		return nil, errors.New(`store: the database address must begin with "sqlite:" or "postgres://"`)
	}
	if err != nil {
		return nil, err
	}
	s.keys = c.Keys
	db := &DB{shared: s, now: c.Now}
	if err := db.prepare(ctx, c); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

func (db *DB) prepare(ctx context.Context, c Config) error {
	if !c.AllowVolatile {
		if err := db.checkDurable(ctx); err != nil {
			return err
		}
	}
	if err := db.migrate(ctx); err != nil {
		return fmt.Errorf("store: bring tables up to date: %w", err)
	}
	return db.checkParameters(ctx)
}

// checkParameters makes sure that the driver binds $n by number: one that binds by place would
// silently swap values.
func (db *DB) checkParameters(ctx context.Context) error {
	var a, b string
	row := db.QueryRow(ctx, `SELECT CAST($2 AS TEXT), CAST($1 AS TEXT)`, "one", "two")
	if err := row.Scan(&a, &b); err != nil {
		return fmt.Errorf("store: parameter check: %w", err)
	}
	if a != "two" || b != "one" {
		return errors.New("store: this driver binds parameters by place, not by number")
	}
	return nil
}

// Close ends all connections and gives the SQLite file free.
func (db *DB) Close() error {
	s := db.shared
	errs := []error{s.write.Close()}
	if s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	if s.unlock != nil {
		errs = append(errs, s.unlock())
	}
	return errors.Join(errs...)
}

// At returns a handle on the same database whose clock stands at t. It is for planting a past in
// demonstrations and tests.
func (db *DB) At(t time.Time) *DB {
	return &DB{shared: db.shared, now: func() time.Time { return t }}
}

// Now returns the time by the handle's clock, in UTC, in whole microseconds.
func (db *DB) Now() time.Time { return db.now().UTC().Truncate(time.Microsecond) }

// Engine returns which engine is behind the handle.
func (db *DB) Engine() Engine { return db.shared.engine }

// Keys returns the keyset that seals what must be read back.
func (db *DB) Keys() *Keyset { return db.shared.keys }

// Jobs returns the job queue's driver on this database.
func (db *DB) Jobs() riverdriver.Driver[*sql.Tx] { return db.shared.jobs }

// Statements returns how many statements were run through this database's handles. It lets a test
// show that two requests do equal work.
func (db *DB) Statements() int64 { return db.shared.statements.Load() }

// Ping asks the database for a sign of life.
func (db *DB) Ping(ctx context.Context) error { return db.shared.read.PingContext(ctx) }

// QueryRow runs a one-statement read.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	db.shared.statements.Add(1)
	return db.shared.read.QueryRowContext(ctx, query, args...)
}

// Query runs a one-statement read. The caller closes the rows and asks rows.Err.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	db.shared.statements.Add(1)
	return db.shared.read.QueryContext(ctx, query, args...)
}

// Querier is what can answer a question: a handle or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, query string, args ...any) *sql.Row
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Tx is a transaction. It carries one fixed time.
type Tx struct {
	tx    *sql.Tx
	db    *DB
	now   time.Time
	after []func()
	house bool
}

// Now returns the transaction's time: UTC, whole microseconds, the same for its whole length.
func (tx *Tx) Now() time.Time { return tx.now }

// Keys returns the database's keyset.
func (tx *Tx) Keys() *Keyset { return tx.db.Keys() }

// SQL returns the driver's transaction. It is for the job queue only.
func (tx *Tx) SQL() *sql.Tx { return tx.tx }

// AfterCommit runs f once the transaction is durably committed, before the caller gets its
// answer. f must be quick and must not touch the database.
func (tx *Tx) AfterCommit(f func()) { tx.after = append(tx.after, f) }

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if tx.house {
		if err := housekeeping(query); err != nil {
			return 0, err
		}
	}
	tx.db.shared.statements.Add(1)
	res, err := tx.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// QueryRow runs a statement that returns at most one row.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	tx.db.shared.statements.Add(1)
	if tx.house && housekeeping(query) != nil {
		// A row can only report its error when scanned; this statement names the reason there.
		return tx.tx.QueryRowContext(ctx, `SELECT refused FROM not_a_housekeeping_table`)
	}
	return tx.tx.QueryRowContext(ctx, query, args...)
}

// Query runs a statement that returns rows. The caller closes them and asks rows.Err.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if tx.house {
		if err := housekeeping(query); err != nil {
			return nil, err
		}
	}
	tx.db.shared.statements.Add(1)
	return tx.tx.QueryContext(ctx, query, args...)
}

// Read runs f on one consistent view of the database. f must not write.
func (db *DB) Read(ctx context.Context, f func(*Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if db.shared.engine == PostgreSQL {
		opts.Isolation = sql.LevelRepeatableRead
	}
	return db.run(ctx, db.shared.read, opts, false, f)
}

// Write runs f in a transaction and commits it durably. It may run f again after a failure that
// another transaction caused, so f does nothing but database work. Only package permit calls it.
func (db *DB) Write(ctx context.Context, f func(*Tx) error) error {
	return db.retry(ctx, false, f)
}

// Housekeep is Write for tables that hold no account's state: queues, leases, counters. A
// statement that would change another table is refused.
func (db *DB) Housekeep(ctx context.Context, f func(*Tx) error) error {
	return db.retry(ctx, true, f)
}

const writeTries = 8

func (db *DB) retry(ctx context.Context, house bool, f func(*Tx) error) error {
	var err error
	for try := range writeTries {
		err = db.run(ctx, db.shared.write, nil, house, f)
		if !again(err) {
			return err
		}
		if err := pause(ctx, time.Duration(try+1)*3*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("store: gave up after %d tries: %w", writeTries, err)
}

func (db *DB) run(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, house bool, f func(*Tx) error) error {
	b, err := db.shared.begin(ctx, pool, opts)
	if err != nil {
		return fmt.Errorf("store: begin: %w", err)
	}
	sound := false
	defer func() { // also when f panics, so that no row stays locked
		if !sound {
			_ = b.tx.Rollback() // the first failure is the one worth telling
			b.release()
		}
	}()
	tx := &Tx{tx: b.tx, db: db, now: db.Now(), house: house}
	if err := f(tx); err != nil {
		return err
	}
	sound = true
	if err := commit(b); err != nil {
		if commitRefused(err) {
			return fmt.Errorf("store: commit: %w", err)
		}
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	for _, after := range tx.after {
		after()
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// NewID returns a new UUIDv7 as text: unique, and ordered by the time it was made.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// Micros returns t as the databases keep it: microseconds since 1970 UTC, 0 for the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is the inverse of Micros.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
