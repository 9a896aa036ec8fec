package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/store"
)

func open(t *testing.T, path string) *store.DB {
	t.Helper()
	keys, err := store.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + path, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestOneProcessOwnsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	first := open(t, path)
	keys, _ := store.NewKeyset()
	if _, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + path, Keys: keys}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("second open: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

func TestHousekeepingNamesHousekeepingTablesOnly(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "holdfast.db"))
	for _, query := range []string{
		`UPDATE standing SET epoch = 9`,
		`INSERT INTO attempt (bucket, start, count) VALUES ('a', 1, 1); DELETE FROM entry`,
		"delete\n from entry_text",
	} {
		err := db.Housekeep(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), query)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "not a housekeeping table") {
			t.Errorf("%q: %v", query, err)
		}
	}
	err := db.Housekeep(t.Context(), func(tx *store.Tx) error {
		var count int64
		return tx.QueryRow(t.Context(), `INSERT INTO attempt (bucket, start, count) VALUES ('a', 1, 1)
			ON CONFLICT (bucket, start) DO UPDATE SET count = attempt.count + 1 RETURNING count`).Scan(&count)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTransactionThatFailsLeavesNothing(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "holdfast.db"))
	ran, boom := false, errors.New("boom")
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		tx.AfterCommit(func() { ran = true })
		if _, err := tx.Exec(t.Context(), `UPDATE lane SET position = 7`); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) || ran {
		t.Fatalf("err %v, after-commit ran %v", err, ran)
	}
	var sum int64
	if err := db.QueryRow(t.Context(), `SELECT CAST(sum(position) AS BIGINT) FROM lane`).Scan(&sum); err != nil || sum != 0 {
		t.Fatalf("sum %d, %v", sum, err)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	keys, err := store.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Create(path); err != nil {
		t.Fatal(err)
	}
	if err := keys.Create(path); err == nil {
		t.Error("an existing key file was overwritten")
	}
	again, err := store.ReadKeyset(path)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := keys.Seal("hmac", "a", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := again.Open("hmac", "a", sealed); err != nil || string(plain) != "secret" {
		t.Errorf("open: %q %v", plain, err)
	}
	if _, err := again.Open("hmac", "b", sealed); err == nil {
		t.Error("a sealed value moved to another account was opened")
	}
	h1, _ := keys.Hash("freeze code", []byte("x"))
	h2, _ := again.Hash("freeze code", []byte("x"))
	h3, _ := again.Hash("identity", []byte("x"))
	if string(h1) != string(h2) || string(h1) == string(h3) || len(h1) != 32 {
		t.Error("keyed hash is not a function of purpose and data alone")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ReadKeyset(path); err == nil {
		t.Error("a key file that others can read was accepted")
	}
}

func TestRenderedMigrations(t *testing.T) {
	in := "CREATE TABLE a (\n    b TEXT NOT NULL,\n    c BYTEA,\n    d BOOLEAN\n);\n-- only: sqlite\nX;\n-- end\n-- only: postgres\nY;\n-- end\n"
	if got := store.Render(in, store.SQLite); got != "CREATE TABLE a (\n    b TEXT NOT NULL,\n    c BLOB,\n    d INTEGER\n) STRICT;\nX;\n" {
		t.Errorf("sqlite:\n%s", got)
	}
	if got := store.Render(in, store.PostgreSQL); got != "CREATE TABLE a (\n    b TEXT COLLATE \"C\" NOT NULL,\n    c BYTEA,\n    d BOOLEAN\n);\nY;\n" {
		t.Errorf("postgres:\n%s", got)
	}
}

func TestOpenRefusesWhatItCannotName(t *testing.T) {
	keys, _ := store.NewKeyset()
	for _, dsn := range []string{"", "mysql://x", "holdfast.db"} {
		if _, err := store.Open(context.Background(), store.Config{DSN: dsn, Keys: keys}); err == nil {
			t.Errorf("%q was opened", dsn)
		}
	}
}
