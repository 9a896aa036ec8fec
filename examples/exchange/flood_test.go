package exchange

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A thief floods the exchange while others trade against the victim's orders. After the
// freeze is acknowledged no request that begins then succeeds, no trade of the account is
// decided later, and the receipts do not wait for the flood to end.
func TestFreezeInAFloodOfOrders(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WithdrawalDelay = time.Millisecond })
	account, key := r.holder("50", "900000")
	_, makerKey := r.holder("50", "900000")
	var frozenAt atomic.Int64 // nanoseconds; 0 until the freeze is acknowledged
	var late, done atomic.Int64
	stop := make(chan struct{})
	enough := make(chan struct{})
	var once sync.Once
	var flood sync.WaitGroup
	keepAt := func(act func() answer, victim bool) {
		flood.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				begun := time.Now().UnixNano()
				a := act()
				if at := frozenAt.Load(); victim && at != 0 && begun > at && a.status == http.StatusOK {
					late.Add(1)
				}
				if done.Add(1) == 150 {
					once.Do(func() { close(enough) })
				}
			}
		})
	}
	limit := func(side, price string) []string {
		return []string{"symbol", "BTCUSDT", "side", side, "type", "LIMIT", "timeInForce", "GTC", "quantity", "0.001", "price", price}
	}
	for range 4 {
		keepAt(func() answer { return r.signed(key, "POST", "/api/v3/order", limit("SELL", "60000")...) }, true)
	}
	keepAt(func() answer {
		return r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.002")
	}, true)
	keepAt(func() answer { return r.signed(key, "GET", "/api/v3/account") }, true)
	for range 2 {
		keepAt(func() answer { return r.signed(makerKey, "POST", "/api/v3/order", limit("BUY", "60000")...) }, false)
	}
	<-enough
	r.hold.Freeze(account)
	at := time.Now()
	frozenAt.Store(at.UnixNano())
	contained := r.hold.Contained(account, patience)
	took := time.Since(at)
	fillsThen := r.fillsOf(account)
	close(stop)
	flood.Wait()
	if !contained {
		t.Fatal("not contained")
	}
	t.Logf("contained %v after the acknowledgement, in a flood of %d requests", took, done.Load())
	if n := late.Load(); n != 0 {
		t.Errorf("%d requests that began after the freeze succeeded", n)
	}
	if n := r.fillsOf(account); n != fillsThen {
		t.Errorf("%d fills when contained, %d later", fillsThen, n)
	}
	var after int
	err := r.x.db.read.QueryRow(`SELECT count(*) FROM fills f JOIN trades t ON t.id = f.trade_id WHERE f.account_id = $1 AND t.at > $2`,
		account, micros(at)).Scan(&after)
	if err != nil || after != 0 {
		t.Errorf("%d trades decided after the acknowledgement (%v)", after, err)
	}
	if _, l := r.balance(account, "BTC"); l != "0" {
		t.Errorf("%s BTC still locked", l)
	}
	r.wantBooksRight()
}

func (r *rig) fillsOf(account string) int {
	r.t.Helper()
	var n int
	if err := r.x.db.read.QueryRow(`SELECT count(*) FROM fills WHERE account_id = $1`, account).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}
