package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/account"
	"holdfast/fault"
	"holdfast/store"
	"holdfast/store/storetest"
)

func amount(t interface {
	Helper()
	Fatalf(string, ...any)
}, s string) Amount {
	t.Helper()
	a, err := ParseAmount(s)
	if err != nil {
		t.Fatalf("%s", err)
	}
	return a
}

func move(t testing.TB, ref, asset, before, after string, at time.Time) Movement {
	t.Helper()
	b, a := amount(t, before), amount(t, after)
	delta, err := a.Sub(b)
	if err != nil {
		t.Fatal(err)
	}
	return Movement{Reference: ref, Asset: asset, Before: b, After: a, Delta: delta, Kind: Trade, At: at, Detail: "fill"}
}

func record(t testing.TB, db *store.DB, id account.ID, m Movement) (got Movement, fresh bool, err error) {
	t.Helper()
	err = db.Write(t.Context(), func(tx *store.Tx) (err error) {
		got, fresh, err = Record(t.Context(), tx, id, m)
		return err
	})
	return got, fresh, err
}

func must(t testing.TB, db *store.DB, id account.ID, m Movement) Movement {
	t.Helper()
	got, fresh, err := record(t, db, id, m)
	if err != nil || !fresh {
		t.Fatalf("record %s: fresh %v, %v", m.Reference, fresh, err)
	}
	return got
}

func TestReportedTwiceIsRecordedOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		id, at := account.ID(store.NewID()), db.Now()
		m := move(t, "t-1", "BTC", "1.2", "1.15", at)
		first := must(t, db, id, m)
		again, fresh, err := record(t, db, id, m)
		if err != nil || fresh || again != first {
			t.Errorf("again: %+v, fresh %v, %v", again, fresh, err)
		}
		for name, change := range map[string]func(*Movement){
			"kind": func(m *Movement) { m.Kind = Fee }, "detail": func(m *Movement) { m.Detail = "" }, "time": func(m *Movement) { m.At = at.Add(-time.Second) },
			"asset": func(m *Movement) { m.Asset = "ETH" }, "amounts": func(m *Movement) { *m = move(t, "t-1", "BTC", "1.2", "1.14", at) },
		} {
			other := m
			change(&other)
			if _, _, err := record(t, db, id, other); fault.KindOf(err) != fault.Conflict {
				t.Errorf("other %s under one reference: %v", name, err)
			}
		}
		if must(t, db, account.ID(store.NewID()), m).Seq != 1 {
			t.Error("another account's movement is counted with ours")
		}
		list, err := Movements(t.Context(), db, id, Place{}, 10)
		if err != nil || len(list) != 1 || list[0] != first {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

func TestBalanceThatDoesNotFollowIsKeptAndMarked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		id, at := account.ID(store.NewID()), db.Now().Add(-time.Hour)
		for i, c := range []struct {
			asset, before, after string
			gap                  bool
		}{
			{"BTC", "1.2", "1.1", false}, // what was before the first report cannot be judged
			{"BTC", "1.1", "1", false},
			{"USDT", "30000", "31000", false},
			{"BTC", "0.7", "0.6", true},
			{"BTC", "0.6", "0.50", false},
			{"BTC", "0.5", "0.4", false}, // another text, the same number
		} {
			m := must(t, db, id, move(t, fmt.Sprint(i), c.asset, c.before, c.after, at.Add(time.Duration(i)*time.Second)))
			if m.Gap != c.gap || m.Seq != int64(i)+1 {
				t.Errorf("movement %d: gap %v, seq %d", i, m.Gap, m.Seq)
			}
		}
		// Reported late: it is judged where it stands in time and does not become the present balance.
		if m := must(t, db, id, move(t, "late", "BTC", "1", "0.7", at.Add(2*time.Second))); m.Gap {
			t.Error("a late report that fits is marked as a gap")
		}
		balances, err := Balances(t.Context(), db, id)
		if err != nil || len(balances) != 2 || balances[0].Amount.String() != "0.4" || balances[1].Amount.String() != "31000" {
			t.Errorf("balances %+v, %v", balances, err)
		}
	})
}

func TestMovementsComeInPagesNewestFirst(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		id, at := account.ID(store.NewID()), db.Now().Add(-time.Hour)
		for i := range 25 {
			must(t, db, id, move(t, fmt.Sprint(i), "BTC", fmt.Sprint(100-i), fmt.Sprint(99-i), at.Add(time.Duration(i/3)*time.Second))) // three share a time
		}
		var got []string
		var place Place
		for page := 0; ; page++ {
			list, err := Movements(t.Context(), db, id, place, 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			if page == 0 { // what comes meanwhile does not shift the pages
				must(t, db, id, move(t, "new", "BTC", "75", "74", at.Add(time.Minute)))
			}
			for _, m := range list {
				got = append(got, m.Reference)
			}
			place = list[len(list)-1].Place()
		}
		var want []string
		for i := 24; i >= 0; i-- {
			want = append(want, fmt.Sprint(i))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("got %v", got)
		}
	})
}

func TestMovementThatCannotBeIsRefused(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	good := move(t, "t-1", "BTC", "1.2", "1.15", now)
	if err := good.Check(now); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Movement){
		"no reference":        func(m *Movement) { m.Reference = "" },
		"long reference":      func(m *Movement) { m.Reference = strings.Repeat("x", 129) },
		"control character":   func(m *Movement) { m.Reference = "a\nb" },
		"not text":            func(m *Movement) { m.Detail = "\xff" },
		"no asset":            func(m *Movement) { m.Asset = "" },
		"long detail":         func(m *Movement) { m.Detail = strings.Repeat("x", 501) },
		"no kind":             func(m *Movement) { m.Kind = "" },
		"kind that is not":    func(m *Movement) { m.Kind = "gift" },
		"no time":             func(m *Movement) { m.At = time.Time{} },
		"tomorrow":            func(m *Movement) { m.At = now.Add(24 * time.Hour) },
		"1970":                func(m *Movement) { m.At = time.Unix(1, 0) },
		"does not add up":     func(m *Movement) { m.After = m.Before },
		"does not add up (2)": func(m *Movement) { m.Delta = m.Delta.Neg() },
	} {
		m := good
		change(&m)
		if err := m.Check(now); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPeakIsTheHighestBalanceInTheWindow compares the hourly notes with a plain walk over all
// movements, for random histories and windows.
func TestPeakIsTheHighestBalanceInTheWindow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		rapid.Check(t, func(rt *rapid.T) {
			id, now := account.ID(store.NewID()), db.Now()
			steps := rapid.SliceOfN(rapid.IntRange(0, 1000), 0, 25).Draw(rt, "balances")
			ages := rapid.SliceOfN(rapid.IntRange(0, 3*24*60), len(steps), len(steps)).Draw(rt, "minutes ago")
			from := now.Add(-time.Duration(rapid.IntRange(0, 3*24*60).Draw(rt, "window")) * time.Minute)
			var all []Movement
			for i, after := range steps {
				before := rapid.IntRange(0, 1000).Draw(rt, "before")
				m := move(t, fmt.Sprint(i), "BTC", fmt.Sprint(before), fmt.Sprint(after), now.Add(-time.Duration(ages[i])*time.Minute))
				all = append(all, must(t, db, id, m))
			}
			var want, standing Amount
			var last Place
			for _, m := range all {
				if m.At.Before(from) {
					if m.At.After(last.At) || m.At.Equal(last.At) && m.Seq > last.Seq {
						last, standing = m.Place(), m.After
					}
					continue
				}
				want = higher(want, higher(m.Before, m.After))
			}
			want = higher(want, standing)
			got, err := Peak(t.Context(), db, id, "BTC", from)
			if err != nil || got != want {
				rt.Fatalf("peak %s, %v; want %s", got, err, want)
			}
		})
	})
}

func TestClosedDatabaseIsNotAnEmptyLedger(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err1 := Movements(ctx, db, "x", Place{}, 10)
		_, err2 := Balances(ctx, db, "x")
		_, err3 := Peak(ctx, db, "x", "BTC", db.Now())
		if err1 == nil || err2 == nil || err3 == nil || fault.KindOf(errors.Join(err1, err2, err3)) != fault.Internal {
			t.Errorf("%v, %v, %v", err1, err2, err3)
		}
	})
}
