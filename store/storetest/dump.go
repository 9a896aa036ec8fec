package storetest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"testing"

	"holdfast/store"
)

// Dump returns everything that the database holds, as whoever steals its files or a back-up would
// see it: the raw files of SQLite with its log, every row of every table of PostgreSQL.
func Dump(t testing.TB, db *store.DB) []byte {
	t.Helper()
	var out bytes.Buffer
	if db.Engine() == store.SQLite {
		var seq int
		var name, path string
		if err := db.QueryRow(t.Context(), `PRAGMA database_list`).Scan(&seq, &name, &path); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{path, path + "-wal"} {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(raw)
		}
		return out.Bytes()
	}
	for _, table := range column(t, db, `SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename`) {
		for _, row := range column(t, db, fmt.Sprintf(`SELECT CAST(r AS TEXT) FROM %q r`, table)) {
			out.WriteString(table + ": " + row + "\n")
		}
	}
	return out.Bytes()
}

// Contains reports whether a dump shows the secret, in clear or in hexadecimal.
func Contains(dump []byte, secret string) bool {
	return bytes.Contains(dump, []byte(secret)) || bytes.Contains(bytes.ToLower(dump), []byte(hex.EncodeToString([]byte(secret))))
}

func column(t testing.TB, db *store.DB, query string) []string {
	t.Helper()
	rows, err := db.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
