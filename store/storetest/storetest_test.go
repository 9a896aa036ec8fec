package storetest_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/store"
	"holdfast/store/storetest"
	"holdfast/store/storetest/cluster"
)

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	for range 2 {
		storetest.Each(t, func(t *testing.T, db *store.DB) {
			var count int
			if err := db.QueryRow(t.Context(), `SELECT count(*) FROM standing`).Scan(&count); err != nil || count != 0 {
				t.Fatalf("%d rows, %v", count, err)
			}
			err := db.Write(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(t.Context(), `INSERT INTO standing (account_id, version, epoch, frozen_at, restored_at, chain_seq, chain_head)
					VALUES ($1, 0, 0, 0, 0, 0, $2)`, store.NewID(), []byte{})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestDatabasesForCrashTestsSync(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		// Open refuses a database that may forget what it acknowledged.
		db, err := store.Open(t.Context(), store.Config{DSN: dsn, Keys: storetest.Keys(t)})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOwnClusterTakesSettings(t *testing.T) {
	dsn, _ := storetest.Cluster(t, cluster.Options{Durable: true, Settings: map[string]string{"fsync": "off"}})
	_, err := store.Open(t.Context(), store.Config{DSN: dsn, Keys: storetest.Keys(t)})
	if err == nil || !strings.Contains(err.Error(), "fsync=off") {
		t.Fatalf("a server without fsync was accepted: %v", err)
	}
}

// TestServerEndsWithItsOwner kills the owner of a server as nothing in it could prepare for.
func TestServerEndsWithItsOwner(t *testing.T) {
	if os.Getenv("HOLDFAST_TEST_OWNER") != "" {
		c, err := cluster.Start(t.Context(), cluster.Options{})
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString(c.DSN("postgres") + "\n")
		select {} // until killed
	}
	owner := exec.Command(os.Args[0], "-test.run=^TestServerEndsWithItsOwner$")
	owner.Env = append(os.Environ(), "HOLDFAST_TEST_OWNER=1")
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, socket, _ := strings.Cut(strings.TrimSpace(line), "host=")
	dir := strings.ReplaceAll(socket, "%2F", "/")
	if _, err := os.Stat(filepath.Join(dir, ".s.PGSQL.5432")); err != nil {
		t.Fatal(err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // killed, as it says
	deadline := time.After(30 * time.Second)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			return
		}
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("%s is still there", dir)
		}
	}
}
