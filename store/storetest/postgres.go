package storetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"holdfast/store"
	"holdfast/store/storetest/cluster"
)

// environment names the address of a server that this whole run of tests shares.
const environment = "HOLDFAST_TEST_POSTGRES"

// templateLock is the advisory lock under which one process makes the template.
const templateLock = 0x686f6c64 // "hold"

// server makes databases on a PostgreSQL server.
type server struct {
	admin string // address of its database postgres

	mu   sync.Mutex
	conn *pgx.Conn // guarded by mu; nil before the first use
	from string    // guarded by mu; name of the template, "" before the first use
}

var (
	quickServer = sync.OnceValues(func() (*server, error) {
		// Not os.Getenv: go test notes what that reads and would run every test again because the
		// server has another address, which says nothing about the test.
		admin, _ := syscall.Getenv(environment)
		return begin(admin, false)
	})
	durableServer = sync.OnceValues(func() (*server, error) { return begin("", true) })
)

func quick(t testing.TB) *server   { return must(t, quickServer) }
func durable(t testing.TB) *server { return must(t, durableServer) }

func must(t testing.TB, get func() (*server, error)) *server {
	t.Helper()
	s, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// begin uses the server at admin, or starts one that ends with this process.
func begin(admin string, durable bool) (*server, error) {
	if admin == "" {
		c, err := cluster.Start(context.Background(), cluster.Options{Durable: durable})
		if err != nil {
			return nil, err
		}
		admin = c.DSN("postgres")
	}
	return &server{admin: admin}, nil
}

// database makes an empty database with all tables and drops it when the test ends.
func (s *server) database(t testing.TB) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	if err := s.create(context.Background(), name); err != nil {
		t.Fatalf("make a PostgreSQL database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec(context.Background(), `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return s.dsn(name)
}

func (s *server) create(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.template(ctx); err != nil {
		return err
	}
	_, err := s.conn.Exec(ctx, `CREATE DATABASE `+name+` TEMPLATE `+s.from)
	return err
}

func (s *server) exec(ctx context.Context, query string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.conn.Exec(ctx, query)
	return err
}

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close(context.Background()) // the server ends next
	}
}

// template connects and makes the database that others are copied from, unless another process has
// made it already. It is built under another name and renamed when complete, so that a process that
// dies half-way leaves no half template. The caller holds mu.
func (s *server) template(ctx context.Context) (err error) {
	if s.from != "" {
		return nil
	}
	if s.conn == nil {
		if s.conn, err = pgx.Connect(ctx, s.admin); err != nil {
			return err
		}
	}
	sum, err := sourceHash()
	if err != nil {
		return err
	}
	name := "template_" + sum
	if _, err := s.conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, templateLock); err != nil {
		return err
	}
	defer func() {
		_, e := s.conn.Exec(ctx, `SELECT pg_advisory_unlock($1)`, templateLock)
		err = errors.Join(err, e)
	}()
	var there bool
	if err := s.conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&there); err != nil {
		return err
	}
	if !there {
		if err := s.build(ctx, name); err != nil {
			return fmt.Errorf("make the template: %w", err)
		}
	}
	s.from = name
	return nil
}

func (s *server) build(ctx context.Context, name string) error {
	draft := "draft_" + strings.ToLower(rand.Text())
	if _, err := s.conn.Exec(ctx, `CREATE DATABASE `+draft); err != nil {
		return err
	}
	keys, err := testKeys()
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{DSN: s.dsn(draft), Keys: keys, AllowVolatile: true})
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	// A backend leaves a moment after its connection closed; RENAME and TEMPLATE need it gone.
	for range 100 {
		if _, err = s.conn.Exec(ctx, `ALTER DATABASE `+draft+` RENAME TO `+name); err == nil {
			return nil
		}
		if _, e := s.conn.Exec(ctx, `SELECT pg_sleep(0.01)`); e != nil {
			return e
		}
	}
	return err
}

func (s *server) dsn(database string) string {
	u, err := url.Parse(s.admin)
	if err != nil { // pgx has connected with it, so it can be read
		return s.admin
	}
	u.Path = "/" + database
	return u.String()
}

// sourceHash identifies what makes the tables: the files of package store, and the versions of the
// libraries that it migrates with.
func sourceHash() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..")
	sum := sha256.New()
	add := func(path string) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n", path, len(text))
		_, err = sum.Write(text)
		return err
	}
	if err := add(filepath.Join(root, "go.mod")); err != nil {
		return "", err
	}
	err := filepath.WalkDir(filepath.Join(root, "store"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "storetest" {
			return filepath.SkipDir
		}
		if d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		return add(path)
	})
	return hex.EncodeToString(sum.Sum(nil)[:8]), err
}
