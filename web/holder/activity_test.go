package holder_test

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/ledger"
)

// report tells the pages of movements as the platform does.
func (w *world) report(ms ...ledger.Movement) {
	w.t.Helper()
	by := evidence.Actor{Kind: evidence.Integrator, ID: "exchange"}
	if recorded, _, err := w.detect.Report(w.t.Context(), by, w.id(), ms); err != nil || recorded != len(ms) {
		w.t.Fatalf("recorded %d of %d: %v", recorded, len(ms), err)
	}
}

func number(t *testing.T, s string) ledger.Amount {
	t.Helper()
	a, err := ledger.ParseAmount(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestActivityShowsEveryTradeOnceAndWhole(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		b, _ := w.signedUp()
		const trades = 35
		at := w.db.Now().Add(-time.Hour)
		btc, usdt := "0", "1000000"
		w.report(ledger.Movement{Reference: "d", Asset: "USDT", Kind: ledger.Deposit, Delta: number(t, usdt), Before: number(t, "0"), After: number(t, usdt), At: at})
		for i := range trades {
			at = at.Add(time.Second)
			nextBTC, nextUSDT := fmt.Sprint(i+1), fmt.Sprint(1000000-(i+1)*10)
			w.report(
				ledger.Movement{Reference: fmt.Sprintf("b%d", i), Asset: "BTC", Kind: ledger.Trade, Delta: number(t, "1"), Before: number(t, btc), After: number(t, nextBTC), At: at},
				ledger.Movement{Reference: fmt.Sprintf("u%d", i), Asset: "USDT", Kind: ledger.Trade, Delta: number(t, "-10"), Before: number(t, usdt), After: number(t, nextUSDT), At: at})
			btc, usdt = nextBTC, nextUSDT
		}
		shown := map[string]int{}
		older := regexp.MustCompile(`href="(/activity\?[^"]*before=[^"]*)"`)
		path, pages := "/activity?kind=movement", 0
		for path != "" {
			a := b.get(path)
			b.shows(a, 200, "Activity")
			for _, m := range regexp.MustCompile(`Balance ([0-9,]+) → ([0-9,]+)\x{a0}BTC`).FindAllStringSubmatch(a.body, -1) {
				shown[m[2]]++
			}
			whole := regexp.MustCompile(`entry__title">Trade: [^<]*BTC[^<]*USDT|entry__title">Trade: [^<]*USDT[^<]*BTC`)
			if n, all := len(whole.FindAllString(a.body, -1)), strings.Count(a.body, `entry__title">Trade`); n != all {
				t.Errorf("page %d: %d of %d trades are whole", pages, n, all)
			}
			pages++
			path = ""
			if m := older.FindStringSubmatch(a.body); m != nil {
				path = html.UnescapeString(m[1])
			}
			if pages > 20 {
				t.Fatal("the list does not end")
			}
		}
		if len(shown) != trades || pages < 3 {
			t.Errorf("%d trades on %d pages, want %d", len(shown), pages, trades)
		}
		for after, times := range shown {
			if times != 1 {
				t.Errorf("the trade to %s BTC is shown %d times", after, times)
			}
		}
	})
}

func TestFallOfTheBalanceAsksTheHolder(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		b, _ := w.signedUp()
		at := w.db.Now().Add(-time.Hour)
		w.report(ledger.Movement{Reference: "1", Asset: "BTC", Kind: ledger.Deposit, Delta: number(t, "10"), Before: number(t, "0"), After: number(t, "10"), At: at},
			ledger.Movement{Reference: "2", Asset: "BTC", Kind: ledger.Withdrawal, Delta: number(t, "-6"), Before: number(t, "10"), After: number(t, "4"), At: at.Add(time.Minute), Detail: `to <img src=x onerror=alert(1)>`})
		a := b.get("/")
		b.shows(a, 200, "Was it you?", "It was not me", "It was me", "/freeze?because=balance_fell", "to &lt;img src=x")
		sign := regexp.MustCompile(`name="sign" value="([^"]+)"`).FindStringSubmatch(a.body)
		if sign == nil {
			t.Fatal("no sign on the page")
		}
		b.shows(b.get("/freeze?because=balance_fell"), 200, "Your balance fell, and it was not you.", `name="reason" value="balance_fell"`)
		b.shows(b.get("/freeze?because=%3Cscript%3E"), 200)
		b.leads(b.post("/signs/dismiss", "sign", sign[1]), "/?said=sign-dismissed")
		if again := b.get("/"); strings.Contains(again.body, "It was not me") {
			t.Error("the answered sign is still asked")
		}
	})
}
