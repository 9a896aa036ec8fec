package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// openSQLite opens the embedded engine: one connection that writes, a few that read.
func openSQLite(ctx context.Context, c Config) (*shared, error) {
	path, err := filepath.Abs(strings.TrimPrefix(c.DSN, "sqlite:"))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	sync := "FULL"
	if c.AllowVolatile {
		sync = "OFF"
	}
	address := func(readOnly bool) string {
		q := url.Values{}
		q.Add("_pragma", "busy_timeout(10000)")
		q.Add("_pragma", "journal_mode(WAL)")
		q.Add("_pragma", "synchronous("+sync+")")
		q.Add("_pragma", "foreign_keys(1)")
		if readOnly {
			q.Add("_pragma", "query_only(1)")
		} else {
			q.Set("_txlock", "immediate")
		}
		return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
	}
	write, err := sql.Open("sqlite", address(false))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: open %s: %w", path, err), unlock())
	}
	write.SetMaxOpenConns(1)
	if err := write.PingContext(ctx); err != nil { // creates the file, so that readers find it
		return nil, errors.Join(fmt.Errorf("store: open %s: %w", path, err), write.Close(), unlock())
	}
	read, err := sql.Open("sqlite", address(true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: open %s: %w", path, err), write.Close(), unlock())
	}
	read.SetMaxOpenConns(max(2, c.Connections/2))
	read.SetMaxIdleConns(max(2, c.Connections/2))
	return &shared{engine: SQLite, write: write, read: read, jobs: riversqlite.New(write), unlock: unlock}, nil
}

// lockFile takes an OS lock that the kernel gives back when the process ends, however it ends.
func lockFile(path string) (func() error, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("store: another process has this database open (%s): stop it first, or send commands through its socket", path)
	}
	return f.Close, nil
}

// openPostgreSQL opens a pool on a PostgreSQL server, 14 or later.
func openPostgreSQL(_ context.Context, c Config) (*shared, error) {
	cfg, err := pgx.ParseConfig(c.DSN)
	if err != nil {
		return nil, errors.New("store: the PostgreSQL address cannot be read") // the cause would print its password
	}
	if !c.AllowVolatile {
		cfg.RuntimeParams["synchronous_commit"] = "on"
	}
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(c.IdleInTransaction.Milliseconds(), 10)
	cfg.RuntimeParams["timezone"] = "UTC"
	cfg.RuntimeParams["application_name"] = "holdfast"
	s := &shared{engine: PostgreSQL}
	cfg.OnNotice = func(conn *pgconn.PgConn, n *pgconn.Notice) {
		if strings.HasPrefix(n.Code, "01") {
			s.warnings.Store(conn, n.Message)
		}
	}
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxOpenConns(c.Connections)
	pool.SetMaxIdleConns(c.Connections)
	s.write, s.read, s.jobs = pool, pool, riverdatabasesql.New(pool)
	return s, nil
}

// begun is a transaction with what is to be asked and done after its end.
type begun struct {
	tx *sql.Tx
	// warning returns what PostgreSQL warned of during the transaction: a commit whose wait for a
	// standby was cancelled succeeds with a warning (SQLSTATE class 01) and is not where it was
	// promised to be (guarantee, rule 14).
	warning func() string
	// release gives the connection back.
	release func()
}

func (s *shared) begin(ctx context.Context, pool *sql.DB, opts *sql.TxOptions) (begun, error) {
	if s.engine != PostgreSQL || opts != nil && opts.ReadOnly {
		tx, err := pool.BeginTx(ctx, opts)
		return begun{tx, func() string { return "" }, func() {}}, err
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return begun{}, err
	}
	said := ""
	take := func(driver any) error {
		c, ok := driver.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("store: %T is not a connection of pgx", driver)
		}
		said = ""
		if w, ok := s.warnings.LoadAndDelete(c.Conn().PgConn()); ok {
			said, _ = w.(string)
		}
		return nil
	}
	var tx *sql.Tx
	if err = conn.Raw(take); err == nil { // what another transaction was warned of is not ours
		tx, err = conn.BeginTx(ctx, opts)
	}
	if err != nil {
		return begun{}, errors.Join(err, conn.Close())
	}
	warning := func() string {
		if err := conn.Raw(take); err != nil {
			return err.Error() // the connection is gone with what it had to say
		}
		return said
	}
	return begun{tx, warning, func() { _ = conn.Close() }}, nil
}

// checkDurable refuses settings under which an acknowledged change could be forgotten
// (guarantee, rule 14).
func (db *DB) checkDurable(ctx context.Context) error {
	if db.shared.engine == SQLite {
		var level int
		if err := db.shared.write.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&level); err != nil {
			return fmt.Errorf("store: read synchronous: %w", err)
		}
		if level < 2 { // 2 is FULL: https://www.sqlite.org/pragma.html#pragma_synchronous
			return errors.New("store: SQLite runs below synchronous=FULL and could forget a freeze in a power cut")
		}
		return nil
	}
	var version int
	if err := db.QueryRow(ctx, `SELECT CAST(current_setting('server_version_num') AS INTEGER)`).Scan(&version); err != nil {
		return fmt.Errorf("store: ask the server's version: %w", err)
	}
	if version < 140000 {
		return fmt.Errorf("store: PostgreSQL 14 or later is needed, this is %d", version/10000)
	}
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		var value string
		if err := db.QueryRow(ctx, `SELECT current_setting($1)`, name).Scan(&value); err != nil {
			return fmt.Errorf("store: read %s: %w", name, err)
		}
		if value == "off" || value == "local" && name == "synchronous_commit" {
			return fmt.Errorf("store: PostgreSQL runs with %s=%s and could forget a freeze in a power cut; set it on", name, value)
		}
	}
	return nil
}

// again reports whether another transaction caused err, so that the same work may succeed now.
func again(err error) bool {
	if err == nil || errors.Is(err, ErrUnknownOutcome) {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == "40001" || e.Code == "40P01"
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		code := e.Code() & 0xff
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
	}
	return false
}

// commitRefused reports whether the engine answered a commit with a plain no: nothing happened.
// Everything else, such as a lost connection or a cancelled wait, leaves the outcome open.
func commitRefused(err error) bool {
	if errors.Is(err, driver.ErrBadConn) {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		// Class 40 is a rollback, 23 a broken rule, 25 a transaction that had already failed.
		return strings.HasPrefix(e.Code, "40") && e.Code != "40003" || strings.HasPrefix(e.Code, "23") || strings.HasPrefix(e.Code, "25")
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		code := e.Code() & 0xff
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_CONSTRAINT
	}
	return errors.Is(err, pgx.ErrTxCommitRollback)
}
