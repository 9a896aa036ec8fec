// Package storetest gives tests real databases: a fresh one on each engine, for each test.
//
// A test that runs on one engine only, or silently on none, proves nothing about the other. So
// Each runs on SQLite and on PostgreSQL always, and a PostgreSQL that cannot be had fails the
// test; nothing here skips. `make test` shares one private server among all test binaries through
// HOLDFAST_TEST_POSTGRES; without it, each test binary starts one of its own, which ends with it.
//
// Each and Open favour speed: these databases do not sync to disk. Tests about what survives a
// crash use SQLiteDSN and PostgresDSN, which sync as a real installation does.
package storetest

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"holdfast/store"
	"holdfast/store/storetest/cluster"
)

// Engines are all engines that the product supports.
var Engines = []store.Engine{store.SQLite, store.PostgreSQL}

// Each runs fn as a subtest on each engine, with an empty database whose tables are up to date. The
// database is closed and removed when the subtest ends.
func Each(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	for _, engine := range Engines {
		t.Run(string(engine), func(t *testing.T) { fn(t, Open(t, engine)) })
	}
}

// EachDSN is Each for tests that open the database themselves, twice, or from another process. The
// databases sync as a real installation does.
func EachDSN(t *testing.T, fn func(t *testing.T, dsn string)) {
	t.Helper()
	t.Run(string(store.SQLite), func(t *testing.T) { fn(t, SQLiteDSN(t)) })
	t.Run(string(store.PostgreSQL), func(t *testing.T) { fn(t, PostgresDSN(t)) })
}

// Open opens an empty database on one engine. It is closed and removed when the test ends.
func Open(t testing.TB, engine store.Engine) *store.DB {
	t.Helper()
	dsn := ""
	if engine == store.PostgreSQL {
		dsn = quick(t).database(t)
	} else {
		dsn = SQLiteDSN(t)
	}
	db, err := store.Open(t.Context(), store.Config{DSN: dsn, Keys: Keys(t), AllowVolatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close %s: %v", engine, err)
		}
	})
	return db
}

// SQLiteDSN returns the address of an empty database file in a folder of the test.
func SQLiteDSN(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holdfast.db")
	file, err := sqliteTemplate()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

// PostgresDSN returns the address of an empty database on a server that syncs to disk.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	return durable(t).database(t)
}

// Cluster starts a server of the test's own, which ends with the test, and returns the address of
// an empty database on it. It is for tests that change, count or break the server itself.
func Cluster(t testing.TB, o cluster.Options) (dsn string, c *cluster.Cluster) {
	t.Helper()
	c, err := cluster.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	s := &server{admin: c.DSN("postgres")}
	t.Cleanup(s.close)
	return s.database(t), c
}

// Runs returns how many runs a seeded test does: usual, a tenth of it with -short, and as many as
// HOLDFAST_RUNS says where that is set (`make soak`).
func Runs(t testing.TB, usual int) int {
	t.Helper()
	if text := os.Getenv("HOLDFAST_RUNS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("HOLDFAST_RUNS=%q is not a number of runs", text)
		}
		return n
	}
	if testing.Short() {
		return max(1, usual/10)
	}
	return usual
}

// Keys returns a keyset, the same for all tests of one test binary.
func Keys(t testing.TB) *store.Keyset {
	t.Helper()
	keys, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

var testKeys = sync.OnceValues(store.NewKeyset)

// sqliteTemplate returns the file of an empty database. Copying it takes a fraction of the time
// that bringing the tables up to date takes, and most of a small test's time was spent there.
var sqliteTemplate = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "holdfast-template-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a leftover temporary folder harms nobody
	keys, err := testKeys()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "template.db")
	db, err := store.Open(context.Background(), store.Config{DSN: "sqlite:" + path, Keys: keys, AllowVolatile: true})
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})
