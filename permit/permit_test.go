package permit_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
)

// everyone is a small stand-in for the account room: every session is live, except "ended".
type everyone struct{}

func (everyone) Look(_ context.Context, _ *permit.Tx, by evidence.Actor) (permit.Mode, error) {
	if by.Session == "ended" {
		return permit.NoMode, fault.New(fault.Denied, "session", "Your session has ended.")
	}
	return permit.Full, nil
}

// shut is a gate that is closed.
type shut struct{}

func (shut) Pass(context.Context, *permit.Tx, evidence.Actor, permit.Mode, permit.Kind) error {
	return fault.New(fault.Denied, "frozen", "Closed.")
}

var holder = evidence.Actor{Kind: evidence.Holder, Session: "s", Address: "192.0.2.7"}

func door(t *testing.T, db *store.DB, gates ...permit.Gate) *permit.Door {
	t.Helper()
	d := permit.NewDoor(db, slog.New(slog.DiscardHandler))
	d.Join(everyone{}, gates...)
	err := d.Do(t.Context(), evidence.Actor{Kind: evidence.System}, permit.Act{Name: permit.SignUp, Account: "a", New: true}, func(*permit.Tx) error { return nil })
	if len(gates) == 0 && err != nil {
		t.Fatal(err)
	}
	return d
}

func TestActsAreRecordedWithTheirChange(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := door(t, db)
		err := d.Do(t.Context(), holder, permit.Act{Name: permit.SetPhone, Account: "a"}, func(tx *permit.Tx) error {
			tx.Note("was", "none")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		entries, err := evidence.Read(t.Context(), db, db.Keys(), "a", 0, 10)
		if err != nil || len(entries) != 2 || entries[0].Act != permit.SetPhone || entries[0].Actor.Session != "s" || entries[0].Detail["was"] != "none" {
			t.Fatalf("%+v %v", entries, err)
		}
	})
}

func TestRefusalsAreRecordedAddedUp(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := door(t, db.At(time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC)))
		for _, c := range []struct {
			by  evidence.Actor
			act string
			err error
		}{
			{evidence.Actor{Kind: evidence.Link, ID: "l"}, permit.SetPhone, nil},            // may not do this at all
			{evidence.Actor{Kind: evidence.Holder, Session: "ended"}, permit.SetPhone, nil}, // is not live
			{holder, permit.SetPhone, fault.New(fault.Invalid, "form", "No.")},              // the act itself refuses
			{holder, permit.SetPhone, fault.New(fault.Invalid, "form", "No.")},
		} {
			err := d.Do(t.Context(), c.by, permit.Act{Name: c.act, Account: "a"}, func(*permit.Tx) error { return c.err })
			if err == nil {
				t.Errorf("%v did %s", c.by, c.act)
			}
		}
		var rows, count int64
		if err := db.QueryRow(t.Context(), `SELECT count(*), CAST(sum(count) AS BIGINT) FROM refusal WHERE account_id = 'a'`).Scan(&rows, &count); err != nil {
			t.Fatal(err)
		}
		if rows != 3 || count != 4 {
			t.Errorf("%d rows with %d refusals", rows, count)
		}
	})
}

// Refusals that come at once are written together; none is lost, and each is there when it is answered.
func TestRefusalsAtOnceAreAllWritten(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d, start := door(t, db), time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC)
		const many, actors = 64, 4
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				by := holder
				by.Session = string(rune('a' + i%actors))
				_ = d.At(start).Refuse(t.Context(), by, permit.Act{Name: permit.SetPhone, Account: "a"}, fault.New(fault.Denied, "no", "No."))
				var count int64
				if err := db.QueryRow(t.Context(), `SELECT COALESCE(sum(count), 0) FROM refusal WHERE actor = $1`, by.Name()).Scan(&count); err != nil || count == 0 {
					t.Errorf("%s was answered before it was written: %v", by.Name(), err)
				}
			})
		}
		wg.Wait()
		var rows, count int64
		if err := db.QueryRow(t.Context(), `SELECT count(*), CAST(sum(count) AS BIGINT) FROM refusal`).Scan(&rows, &count); err != nil || rows != actors || count != many {
			t.Errorf("%d rows with %d refusals: %v", rows, count, err)
		}
	})
}

func TestInternalFailureIsNotARefusal(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d, boom := door(t, db), errors.New("boom")
		err := d.Do(t.Context(), holder, permit.Act{Name: permit.SetPhone, Account: "a"}, func(*permit.Tx) error { return boom })
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
		var rows int64
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM refusal`).Scan(&rows); err != nil || rows != 0 {
			t.Fatalf("%d %v", rows, err)
		}
	})
}

func TestGatesCloseWhatOpensAndNothingElse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		door(t, db)
		d := permit.NewDoor(db, slog.New(slog.DiscardHandler))
		d.Join(everyone{}, shut{})
		for _, kind := range permit.Acts() {
			by := evidence.Actor{Kind: kind.By[0], ID: "x", Session: "s"}
			ran := false
			err := d.Do(t.Context(), by, permit.Act{Name: kind.Name, Account: "a"}, func(tx *permit.Tx) error {
				ran = true
				tx.Unchanged()
				return nil
			})
			if opens := kind.Class == permit.Opens; ran == opens || (err == nil) == opens {
				t.Errorf("%s: ran %v, %v", kind.Name, ran, err)
			}
		}
	})
}

func TestLimitCountsWhatWasDoneAndRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		start := time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC)
		try := func(at time.Time, why error) error {
			return door(t, db.At(at), shut{}).At(at).Refuse(t.Context(), holder, permit.Act{Name: permit.EnterSession, Account: "a"}, why)
		}
		door(t, db.At(start))
		d := permit.NewDoor(db, slog.New(slog.DiscardHandler))
		d.Join(everyone{})
		wrong := fault.New(fault.Denied, "wrong", "Wrong.")
		for range 9 {
			_ = try(start, wrong)
		}
		act := permit.Act{Name: permit.EnterSession, Account: "a"}
		if err := d.At(start).Allowed(t.Context(), act); err != nil {
			t.Fatalf("after 9: %v", err)
		}
		_ = try(start.Add(time.Minute), wrong)
		err := d.At(start.Add(2*time.Minute)).Allowed(t.Context(), act)
		until, ok := fault.UntilOf(err)
		if fault.KindOf(err) != fault.TooMany || !ok {
			t.Fatalf("after 10: %v", err)
		}
		for range 50 { // being refused for the limit does not push its end away
			_ = try(start.Add(3*time.Minute), err)
		}
		if err := d.At(until).Allowed(t.Context(), act); err != nil {
			t.Errorf("at the end that was named: %v", err)
		}
	})
}

func TestAttemptsOfOneSource(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := door(t, db).At(time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC))
		limit := permit.Limit{Tries: 3, Window: time.Hour}
		for i := range 5 {
			err := d.Attempt(t.Context(), "sign in 192.0.2.7", limit)
			if want := i >= 3; (err != nil) != want {
				t.Errorf("try %d: %v", i+1, err)
			}
		}
		if err := d.Attempt(t.Context(), "sign in 192.0.2.8", limit); err != nil {
			t.Errorf("another source: %v", err)
		}
	})
}

// Writers of one account queue on its standing row; none fails and none is lost.
func TestWritersOfOneAccountQueue(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := door(t, db)
		const writers, each = 8, 10
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					err := d.Do(t.Context(), holder, permit.Act{Name: permit.RemoveDevice, Account: "a"}, func(tx *permit.Tx) error {
						tx.Announce("session_ended", "s")
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var seq, position, rows int64
		err := db.QueryRow(t.Context(), `SELECT s.chain_seq, l.position, (SELECT count(*) FROM closing WHERE lane = $1)
			FROM standing s, lane l WHERE s.account_id = 'a' AND l.lane = $1`, permit.Lane("a")).Scan(&seq, &position, &rows)
		if err != nil {
			t.Fatal(err)
		}
		if seq != writers*each+1 || position != writers*each || rows != writers*each {
			t.Errorf("chain %d, lane at %d with %d rows", seq, position, rows)
		}
	})
}

func TestEveryActIsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range permit.Acts() {
		if k.Name == "" || seen[k.Name] || len(k.By) == 0 {
			t.Errorf("%+v: no name, a name that is taken, or nobody who may do it", k)
		}
		seen[k.Name] = true
		if (k.Class == permit.Opens) != (k.Exit != "") {
			t.Errorf("%s: an act that opens names its exit, and no other does", k.Name)
		}
		if k.Class == permit.Closes && k.Limit != (permit.Limit{}) && k.Name != permit.SendFreezeLink {
			t.Errorf("%s: closing is never limited", k.Name)
		}
	}
}

func TestTidyKeepsWhatIsStillAskedFor(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC)
		d := door(t, db)
		for _, age := range []time.Duration{0, 24 * time.Hour, 72 * time.Hour, 500 * 24 * time.Hour} {
			then := d.At(now.Add(-age))
			if err := then.Attempt(t.Context(), "source", permit.Limit{Tries: 9, Window: time.Hour}); err != nil {
				t.Fatal(err)
			}
			_ = then.Refuse(t.Context(), holder, permit.Act{Name: permit.EnterSession, Account: "a"}, fault.New(fault.Denied, "wrong", "Wrong."))
		}
		if err := d.At(now).Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		var attempts, refusals int64
		if err := db.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM refusal)`).Scan(&attempts, &refusals); err != nil {
			t.Fatal(err)
		}
		if attempts != 2 || refusals != 3 {
			t.Errorf("%d attempts and %d refusals are left", attempts, refusals)
		}
	})
}
