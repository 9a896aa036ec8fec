package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast/store"
	"holdfast/store/storetest"
	"holdfast/store/storetest/cluster"
)

// A commit that was promised to be on a standby, and whose wait for it was cancelled, answers with
// success and a warning. It must not count as a commit.
func TestCommitWithAWarningHasAnUnknownOutcome(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dsn, _ := storetest.Cluster(t, cluster.Options{Durable: true})
	open := func() *store.DB {
		db, err := store.Open(ctx, store.Config{DSN: dsn, Keys: storetest.Keys(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	db, admin := open(), open()
	write := func() error {
		return db.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE lane SET position = position + 1 WHERE lane = 0`)
			return err
		})
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{`ALTER SYSTEM SET synchronous_standby_names = 'absent'`, `SELECT pg_reload_conf()`} {
		rows, err := admin.Query(ctx, set)
		if err != nil {
			t.Fatal(err)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var standby string
	for standby != "absent" {
		if err := admin.QueryRow(ctx, `SHOW synchronous_standby_names`).Scan(&standby); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- write() }()
	for cancelled := false; !cancelled; {
		err := admin.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM (SELECT pg_cancel_backend(pid) AS sent FROM pg_stat_activity WHERE wait_event = 'SyncRep') a WHERE sent)`).Scan(&cancelled)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; !errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("a commit whose wait for the standby was cancelled: %v", err)
	}
	// The warning belongs to that commit; the next one, without a standby to wait for, is sound.
	for _, set := range []string{`ALTER SYSTEM RESET synchronous_standby_names`, `SELECT pg_reload_conf()`} {
		rows, err := admin.Query(ctx, set)
		if err != nil {
			t.Fatal(err)
		}
		_ = rows.Close()
	}
	for standby != "" {
		if err := admin.QueryRow(ctx, `SHOW synchronous_standby_names`).Scan(&standby); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(); err != nil {
		t.Errorf("the next commit: %v", err)
	}
}
