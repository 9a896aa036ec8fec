package detect

import (
	"testing"
	"time"

	"holdfast/guard"
	"holdfast/ledger"
)

func amount(t testing.TB, s string) ledger.Amount {
	t.Helper()
	a, err := ledger.ParseAmount(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBalanceFellByMoreThanTheLimit(t *testing.T) {
	for _, c := range []struct {
		peak, now string
		limit     int
		want      bool
		percent   int
	}{
		{"1.2", "0.96", 20, false, 0}, // exactly 20 %
		{"1.2", "0.959999999999999999", 20, true, 20},
		{"1.2", "0.7", 20, true, 41},
		{"1.2", "0.7", 50, false, 0},
		{"1.2", "0", 100, false, 0}, // a limit of 100 % warns of nothing but debt
		{"1.2", "-0.1", 100, true, 100},
		{"1.2", "1.3", 20, false, 0},
		{"0", "0", 20, false, 0},
		{"1", "0.7", 0, true, 30}, // no limit chosen: the default
		{"1", "0.9", -5, false, 0},
		{"1", "0.7", 1000, true, 30},
	} {
		d, ok := fell("BTC", amount(t, c.peak), amount(t, c.now), c.limit)
		if ok != c.want || d.Percent != c.percent {
			t.Errorf("from %s to %s, limit %d: %v, %d %%", c.peak, c.now, c.limit, ok, d.Percent)
		}
	}
}

func TestSourceIsNewForADay(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		kind string
		seen time.Time
		want bool
	}{
		{"session", now, true},
		{"session", now.Add(-Window + time.Microsecond), true},
		{"session", now.Add(-Window), false},
		{"api_key", now.Add(-time.Hour), true},
		{"api_key", now.Add(-30 * 24 * time.Hour), false},
		{"credential", now.Add(-time.Hour), true},
		{"session", time.Time{}, true},          // not known is not old
		{"session", now.Add(time.Minute), true}, // a clock that runs ahead makes nothing old
		{"platform", time.Time{}, false},
		{"", now, false},
	} {
		if _, ok := fresh(guard.Screened{CredentialKind: c.kind, FirstSeen: c.seen}, now); ok != c.want {
			t.Errorf("%q first seen %s: %v", c.kind, c.seen, ok)
		}
	}
}
