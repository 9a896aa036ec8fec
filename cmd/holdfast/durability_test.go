//go:build linux

package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/evidence/verify"
	"holdfast/store"
	"holdfast/store/storetest"
	"holdfast/store/storetest/cluster"
)

// Killing a process keeps what the system has not written to the disk yet, so no kill finds a
// missing sync. These tests look for the sync itself: between the arrival of a freeze and its
// acknowledgement one must have begun and returned (guarantee, rule 25). The same checks must fail
// on two builds that are planted to be bad: "early" answers before the commit, "volatile" does not
// sync. A check that those passed would show nothing.

// Presses one after the other, and then at once, so that commits meet.
const (
	inTurn   = 10
	together = 8
)

// freezable makes accounts and returns their ids.
func (s *site) freezable(t *testing.T, many int) []string {
	t.Helper()
	p := s.serve("")
	var ids []string
	for i := range many {
		r, err := ask(t.Context(), p.api.Accounts.RegisterAccount, &holdfastv1.RegisterAccountRequest{
			ExternalId: fmt.Sprintf("durable-%d", i), Mail: fmt.Sprintf("durable-%d@holdfast.test", i)})
		must(t, err)
		ids = append(ids, r.GetAccountId())
	}
	if status := p.interrupt(t); status != 0 {
		t.Fatalf("the server stopped with status %d\n%s", status, p.log)
	}
	return ids
}

// pressOn freezes accounts, in turn and then together, with a marker of its own in each request.
// around is called for each, with a function that does it.
func pressOn(t *testing.T, p *process, ids []string, around func(id string, do func() error) error) {
	t.Helper()
	one := func(ctx context.Context, id string) error {
		return around(id, func() error {
			var r freezeReply
			return p.desk.ask(ctx, "freeze", freezeArgs{id, markerOf(id), true}, &r)
		})
	}
	for _, id := range ids[:inTurn] {
		must(t, one(t.Context(), id))
	}
	all, ctx := errgroup.WithContext(t.Context())
	for _, id := range ids[inTurn:] {
		all.Go(func() error { return one(ctx, id) })
	}
	must(t, all.Wait())
}

// markerOf is the reason of a freeze. It is kept as it is, so it can be found in the log.
func markerOf(id string) string { return "because-" + id }

// planted are the builds: how each is made and whether it keeps its word.
var planted = []struct {
	tags string
	good bool
}{{"", true}, {"early", false}, {"volatile", false}}

// compare says whether a check found in a build what it had to find.
func compare(t *testing.T, tags string, good bool, unsynced, all int) {
	t.Helper()
	t.Logf("build %q: %d of %d freezes acknowledged without a sync", tags, unsynced, all)
	if good && unsynced > 0 {
		t.Errorf("%d of %d freezes were acknowledged before they were on the disk", unsynced, all)
	}
	if !good && unsynced == 0 {
		t.Errorf("the build that is planted to be bad (%s) passes: this check shows nothing", tags)
	}
}

func TestDurabilitySQLite(t *testing.T) {
	s := newSite(t, "")
	const each = inTurn + together
	ids := s.freezable(t, each*len(planted))
	for i, build := range planted {
		mine := ids[i*each : (i+1)*each]
		p, end := s.underStrace(t, build.tags, "-e", traceCalls)
		pressOn(t, p, mine, func(_ string, do func() error) error { return do() })
		var markers []string
		for _, id := range mine {
			markers = append(markers, markerOf(id))
		}
		tr := readTrace(t, end(), markers, mine)
		unsynced := 0
		for _, id := range mine {
			ok, seen := tr.synced(markerOf(id), id)
			if !seen {
				t.Fatalf("the trace does not show the freeze of %s: arrival on line %d, answer on line %d", id, tr.arrived[markerOf(id)], tr.answers[id])
			}
			if !ok {
				unsynced++
			}
		}
		compare(t, build.tags, build.good, unsynced, each)
	}
}

// TestDurabilityPostgreSQL asks the server how far its log is on the disk in the moment of each
// acknowledgement, and looks for the freeze's commit in the log between arrival and there. What is
// there was written after the arrival, so it was also synced after it. The server's own count of
// syncs has to say the same. Everything that would sync without being asked is slowed down, and
// synchronous_commit is off unless Holdfast asks for it.
func TestDurabilityPostgreSQL(t *testing.T) {
	dsn, _ := storetest.Cluster(t, cluster.Options{Durable: true, Settings: map[string]string{
		"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_writer_flush_after": "1GB", "checkpoint_timeout": "1h",
	}})
	s := newSite(t, dsn)
	const each = inTurn + together
	ids := s.freezable(t, each*len(planted))
	// One connection: it bears the same name as those of the server, which are counted below.
	db, err := store.Open(t.Context(), store.Config{DSN: dsn, Keys: storetest.Keys(t), AllowVolatile: true, Connections: 1})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	must(t, db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `CREATE EXTENSION pg_walinspect`)
		return err
	}))
	for i, build := range planted {
		mine := ids[i*each : (i+1)*each]
		counted := walSyncs(t, db)
		p := s.serve(build.tags)
		from, to := make([]string, each), make([]string, each)
		place := map[string]int{}
		for n, id := range mine {
			place[id] = n
		}
		pressOn(t, p, mine, func(id string, do func() error) error {
			if err := db.QueryRow(t.Context(), `SELECT CAST(pg_current_wal_insert_lsn() AS TEXT)`).Scan(&from[place[id]]); err != nil {
				return err
			}
			if err := do(); err != nil {
				return err
			}
			return db.QueryRow(t.Context(), `SELECT CAST(pg_current_wal_flush_lsn() AS TEXT)`).Scan(&to[place[id]])
		})
		p.interrupt(t)
		counted = walSyncs(t, db) - counted
		unsynced := 0
		for n, id := range mine {
			if !committed(t, db, id, from[n], to[n]) {
				unsynced++
			}
		}
		compare(t, build.tags, build.good, unsynced, each)
		t.Logf("build %q: pg_stat_wal counts %d syncs", build.tags, counted)
		if enough := counted >= inTurn; enough != (build.tags != "volatile") {
			t.Errorf("build %q: pg_stat_wal counts %d syncs for %d freezes in turn", build.tags, counted, inTurn)
		}
	}
}

// walSyncs is how often the log was synced since the server began. A connection adds its own count
// when it ends, so those of Holdfast must have ended.
func walSyncs(t *testing.T, db *store.DB) (n int64) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for {
		var left int
		must(t, db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast' AND pid <> pg_backend_pid()`).Scan(&left))
		if left == 0 {
			break
		}
		select {
		case <-again.C:
		case <-limit.C:
			t.Fatalf("%d connections of the server have not ended", left)
		}
	}
	must(t, db.QueryRow(t.Context(), `SELECT CAST(wal_sync AS BIGINT) FROM pg_stat_wal`).Scan(&n))
	return n
}

// committed reports whether the log between two places holds the commit that froze the account.
func committed(t *testing.T, db *store.DB, id, from, to string) bool {
	t.Helper()
	var xid string
	var frozen int
	must(t, db.QueryRow(t.Context(), `SELECT COALESCE(min(CAST(xmin AS TEXT)), ''), count(*) FROM closing WHERE account_id = $1 AND kind = 'freeze'`, id).Scan(&xid, &frozen))
	var forward bool
	must(t, db.QueryRow(t.Context(), `SELECT CAST(CAST($1 AS TEXT) AS pg_lsn) < CAST(CAST($2 AS TEXT) AS pg_lsn)`, from, to).Scan(&forward))
	if frozen == 0 || !forward {
		return false
	}
	var commits int
	must(t, db.QueryRow(t.Context(), `SELECT count(*) FROM pg_get_wal_records_info(CAST(CAST($1 AS TEXT) AS pg_lsn), CAST(CAST($2 AS TEXT) AS pg_lsn))
		WHERE CAST(xid AS TEXT) = $3 AND resource_manager = 'Transaction' AND record_type LIKE 'COMMIT%'`, from, to, xid).Scan(&commits))
	return commits == 1
}

// TestDurabilityPlantedFaultsAreInNoRelease reads what a build says about itself.
func TestDurabilityPlantedFaultsAreInNoRelease(t *testing.T) {
	for _, build := range planted {
		info, err := buildinfo.ReadFile(binary(t, build.tags))
		must(t, err)
		tags := ""
		for _, setting := range info.Settings {
			if setting.Key == "-tags" {
				tags = setting.Value
			}
		}
		if tags != build.tags {
			t.Errorf("a build with tags %q says %q", build.tags, tags)
		}
	}
}

// TestDurabilityFullDisk takes the room to write away from a running server: nothing is acknowledged,
// nothing is called frozen, the account is closed on this node all the same; and with room again a
// press succeeds and lasts.
func TestDurabilityFullDisk(t *testing.T) {
	s := newSite(t, "")
	c := &customer{name: "full", mail: "full@holdfast.test"}
	p := s.serve("")
	must(t, c.enter(t.Context(), p))
	check := func() holdfastv1.Verdict {
		t.Helper()
		r, err := ask(t.Context(), p.api.Guard.Check, &holdfastv1.CheckRequest{Account: c.ref(), Credential: byBrowser, Exit: "order"})
		must(t, err)
		return r.GetDecision().GetVerdict()
	}
	status := func() (r statusReply) {
		t.Helper()
		must(t, p.desk.ask(t.Context(), "status", statusArgs{c.id}, &r))
		return r
	}
	if v := check(); v != yes {
		t.Fatalf("before: %s", v)
	}
	must(t, room(p.cmd.Process.Pid, 0))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := p.freeze(ctx, c.id); err == nil {
		t.Error("a freeze was acknowledged that could not be written")
	}
	if r := status(); r.Frozen {
		t.Errorf("called frozen: %+v", r)
	}
	if v := check(); v == yes {
		t.Error("the account is open on the node whose press was not written")
	}
	must(t, room(p.cmd.Process.Pid, unix.RLIM_INFINITY))
	must(t, p.freeze(t.Context(), c.id))
	if r := status(); !r.Frozen {
		t.Errorf("not frozen with room again: %+v", r)
	}
	p.kill()
	p = s.serve("")
	if r := status(); !r.Frozen || check() != ice {
		t.Errorf("after a restart: %+v", r)
	}
	s.verifies(t, p, c.id)
}

// room sets how large the files may become that a process writes. With none, every write to a file
// fails, as on a full disk; sockets and pipes go on.
func room(pid int, bytes uint64) error {
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil)
}

// verifies checks the evidence chain of an account.
func (s *site) verifies(t *testing.T, p *process, id string) {
	t.Helper()
	var chain bytes.Buffer
	must(t, p.desk.ask(t.Context(), "export", statusArgs{id}, &chain))
	result, err := verify.Chain(&chain, nil)
	must(t, err)
	if !result.OK() {
		t.Error(result.Verdict())
	}
}

// TestDurabilityFailingSyncs has syncs fail from the fifteenth of each thread on, as on a disk that is
// about to die. A freeze whose sync failed is not acknowledged, whatever is tried again meanwhile; and
// a server on a sound disk finds every one that was.
func TestDurabilityFailingSyncs(t *testing.T) {
	t.Setenv("HOLDFAST_DRAIN", "1s") // deliveries that cannot be written do not end by themselves
	s := newSite(t, "")
	ids := s.freezable(t, 80)
	p, end := s.underStrace(t, "", "-e", traceCalls, "-e", "inject=fsync,fdatasync:error=EIO:when=15+")
	var markers, frozen []string
	var refused error
	for _, id := range ids {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		var r freezeReply
		refused = p.desk.ask(ctx, "freeze", freezeArgs{id, markerOf(id), true}, &r)
		cancel()
		if refused != nil {
			break
		}
		markers, frozen = append(markers, markerOf(id)), append(frozen, id)
	}
	tr := readTrace(t, end(), markers, frozen)
	t.Logf("%d freezes acknowledged, then: %v", len(frozen), refused)
	if refused == nil || len(frozen) == 0 {
		t.Error("syncs did not begin to fail in the middle: this test shows nothing")
	}
	for _, id := range frozen {
		if ok, _ := tr.synced(markerOf(id), id); !ok {
			t.Errorf("the freeze of %s was acknowledged without a sync", id)
		}
	}
	p = s.serve("")
	for _, id := range frozen {
		var r statusReply
		must(t, p.desk.ask(t.Context(), "status", statusArgs{id}, &r))
		if !r.Frozen {
			t.Errorf("an acknowledged freeze was lost: %+v", r)
		}
	}
	next := ids[len(frozen)]
	must(t, p.freeze(t.Context(), next))
	s.verifies(t, p, next)
}
