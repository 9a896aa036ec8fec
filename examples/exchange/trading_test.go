package exchange

import (
	"net/http"
	"slices"
	"testing"

	holdfastv1 "holdfast/api/holdfast/v1"
)

func TestOrdersMatchByPriceAndTime(t *testing.T) {
	r := newRig(t, nil)
	seller, sellerKey := r.holder("1", "")
	other, otherKey := r.holder("1", "")
	buyer, buyerKey := r.holder("", "100000")

	first := r.order(sellerKey, "BTCUSDT", "SELL", "0.1", "60000")
	better := r.order(otherKey, "BTCUSDT", "SELL", "0.1", "59000")
	later := r.order(otherKey, "BTCUSDT", "SELL", "0.1", "60000")
	if first.Status != "NEW" || better.Status != "NEW" || later.Status != "NEW" {
		t.Fatalf("resting orders are %s, %s, %s", first.Status, better.Status, later.Status)
	}
	got := r.order(buyerKey, "BTCUSDT", "BUY", "0.25", "60000")
	if got.Status != "FILLED" || len(got.Fills) != 3 {
		t.Fatalf("taker is %s with %d fills", got.Status, len(got.Fills))
	}
	for i, want := range []string{"59000.00000000 0.10000000", "60000.00000000 0.10000000", "60000.00000000 0.05000000"} {
		if f := got.Fills[i]; f.Price+" "+f.Qty != want {
			t.Errorf("fill %d is %s %s, want %s", i, f.Price, f.Qty, want)
		}
	}
	// 0.1 x 59000 + 0.15 x 60000 = 14900; the taker's better price comes back to it.
	r.wantBalance(buyer, "USDT", "85100", "0")
	r.wantBalance(buyer, "BTC", "0.24975", "0") // less a thousandth
	r.wantBalance(seller, "USDT", "5994", "0")  // 6000 less 6: first in time at 60000
	r.wantBalance(other, "USDT", "8891.1", "0") // 5900 + 3000 less 8.9
	r.wantBalance(other, "BTC", "0.8", "0.05")  // half of the later order still rests
	r.wantBooksRight()
}

func TestTimesInForce(t *testing.T) {
	r := newRig(t, nil)
	_, sellerKey := r.holder("1", "")
	buyer, buyerKey := r.holder("", "100000")
	r.order(sellerKey, "BTCUSDT", "SELL", "0.1", "60000")

	place := func(pairs ...string) placed {
		t.Helper()
		a := r.signed(buyerKey, "POST", "/api/v3/order", append([]string{"symbol", "BTCUSDT", "side", "BUY"}, pairs...)...)
		if a.status != http.StatusOK {
			t.Fatalf("order: %d %s", a.status, a.body)
		}
		var p placed
		a.into(t, &p)
		return p
	}
	if o := place("type", "LIMIT", "timeInForce", "FOK", "quantity", "0.2", "price", "60000"); o.Status != "EXPIRED" || len(o.Fills) != 0 {
		t.Errorf("FOK that cannot fill whole is %s with %d fills", o.Status, len(o.Fills))
	}
	if o := place("type", "LIMIT", "timeInForce", "IOC", "quantity", "0.2", "price", "50000"); o.Status != "EXPIRED" {
		t.Errorf("IOC below the market is %s", o.Status)
	}
	if o := place("type", "MARKET", "quoteOrderQty", "1000"); o.Status != "FILLED" || o.Executed != "0.01666000" {
		t.Errorf("market order for 1000 USDT is %s with %s", o.Status, o.Executed)
	}
	if o := place("type", "LIMIT", "timeInForce", "IOC", "quantity", "0.2", "price", "60000"); o.Status != "EXPIRED" || o.Executed != "0.08334000" {
		t.Errorf("IOC takes %s and is %s", o.Executed, o.Status)
	}
	r.wantBalance(buyer, "USDT", "94000", "0")
	r.wantBooksRight()
}

func TestAnAccountNeverTradesWithItself(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "100000")
	r.order(key, "BTCUSDT", "SELL", "0.1", "60000")
	if o := r.order(key, "BTCUSDT", "BUY", "0.1", "60000"); o.Status != "NEW" || len(o.Fills) != 0 {
		t.Errorf("own order was taken: %s with %d fills", o.Status, len(o.Fills))
	}
	r.wantBalance(account, "BTC", "1", "0") // the resting order expired
	r.wantBooksRight()
}

func TestOrderRefusals(t *testing.T) {
	r := newRig(t, nil)
	_, key := r.holder("", "1000")
	limit := func(pairs ...string) []string {
		return append([]string{"type", "LIMIT", "timeInForce", "GTC"}, pairs...)
	}
	for _, c := range []struct {
		name   string
		code   int
		params []string
	}{
		{"unknown symbol", -1121, limit("symbol", "NOPEUSDT", "side", "BUY", "quantity", "1", "price", "1")},
		{"no side", -1117, limit("symbol", "BTCUSDT", "quantity", "1", "price", "1")},
		{"price off the tick", -1013, limit("symbol", "BTCUSDT", "side", "BUY", "quantity", "0.01", "price", "60000.001")},
		{"quantity off the step", -1013, limit("symbol", "BTCUSDT", "side", "BUY", "quantity", "0.000001", "price", "60000")},
		{"too small", -1013, limit("symbol", "BTCUSDT", "side", "BUY", "quantity", "0.00001", "price", "60000")},
		{"negative", -1100, limit("symbol", "BTCUSDT", "side", "BUY", "quantity", "-1", "price", "60000")},
		{"exponent", -1100, limit("symbol", "BTCUSDT", "side", "BUY", "quantity", "1e3", "price", "60000")},
		{"not a number", -1100, limit("symbol", "BTCUSDT", "side", "BUY", "quantity", "NaN", "price", "60000")},
		{"no price", -1102, limit("symbol", "BTCUSDT", "side", "BUY", "quantity", "1")},
		{"too dear", -2010, limit("symbol", "BTCUSDT", "side", "BUY", "quantity", "1", "price", "60000")},
		{"unknown type", -1116, []string{"symbol", "BTCUSDT", "side", "BUY", "type", "STOP_LOSS", "quantity", "1"}},
		{"nobody to trade with", -2010, []string{"symbol", "BTCUSDT", "side", "BUY", "type", "MARKET", "quantity", "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantCode(t, r.signed(key, "POST", "/api/v3/order", c.params...), http.StatusBadRequest, c.code)
		})
	}
	wantCode(t, r.signed(key, "DELETE", "/api/v3/order", "symbol", "BTCUSDT", "orderId", "1"), 400, -2011)
	wantCode(t, r.signed(key, "GET", "/api/v3/order", "symbol", "BTCUSDT", "orderId", "1"), 400, -2013)
	r.wantBooksRight()
}

func TestAnotherAccountsOrderIsNotFound(t *testing.T) {
	r := newRig(t, nil)
	_, key := r.holder("1", "")
	_, strangerKey := r.holder("1", "")
	o := r.order(key, "BTCUSDT", "SELL", "0.1", "60000")
	id := []string{"symbol", "BTCUSDT", "orderId", itoa(o.ID)}
	wantCode(t, r.signed(strangerKey, "GET", "/api/v3/order", id...), 400, -2013)
	wantCode(t, r.signed(strangerKey, "DELETE", "/api/v3/order", id...), 400, -2011)
	if a := r.signed(key, "DELETE", "/api/v3/order", id...); a.status != 200 {
		t.Errorf("owner's cancel: %s", a.body)
	}
}

func TestNothingTradesWhileHoldfastIsAway(t *testing.T) {
	r := newRig(t, nil)
	seller, sellerKey := r.holder("1", "")
	_, buyerKey := r.holder("", "100000")
	r.order(sellerKey, "BTCUSDT", "SELL", "0.1", "60000")
	r.hold.SetDown(true)
	a := r.signed(buyerKey, "POST", "/api/v3/order", "symbol", "BTCUSDT", "side", "BUY", "type", "LIMIT", "timeInForce", "GTC",
		"quantity", "0.1", "price", "60000")
	wantCode(t, a, http.StatusServiceUnavailable, -1001)
	wantCode(t, r.signed(sellerKey, "GET", "/api/v3/account"), http.StatusServiceUnavailable, -1001)
	r.hold.SetDown(false)
	r.wantBalance(seller, "BTC", "0.9", "0.1")
	r.wantBooksRight()
}

func TestOrderOfFrozenOwnerIsPassedOver(t *testing.T) {
	r := newRig(t, nil)
	frozen, frozenKey := r.holder("1", "")
	honest, honestKey := r.holder("1", "")
	_, buyerKey := r.holder("", "100000")
	r.order(frozenKey, "BTCUSDT", "SELL", "0.1", "59000")
	r.order(honestKey, "BTCUSDT", "SELL", "0.1", "60000")
	// The freeze is acknowledged at Holdfast in the middle of the match, before it answers
	// about the owner; this exchange cannot have heard of it, for it holds its own lock.
	done := false
	r.hold.OnCheck(func(m *holdfastv1.CheckRequest) {
		if m.GetExit() == exitOpenOrder && m.GetAccount().GetAccountId() == frozen && !done {
			done = true
			r.hold.Freeze(frozen)
		}
	})
	o := r.order(buyerKey, "BTCUSDT", "BUY", "0.1", "60000")
	if len(o.Fills) != 1 || o.Fills[0].Price != "60000.00000000" {
		t.Fatalf("filled with %+v, want the honest seller's 60000", o.Fills)
	}
	if !r.hold.Contained(frozen, patience) {
		t.Fatal("no receipts")
	}
	if got := r.hold.Receipt(frozen, exitOpenOrder); got.GetStopped() != 1 {
		t.Errorf("receipt counts %d orders (%s), want the one that left the book in the match", got.GetStopped(), got.GetDetail())
	}
	r.wantBalance(frozen, "BTC", "1", "0")
	r.wantBalance(honest, "BTC", "0.9", "0")
	r.wantBooksRight()
}

func TestMovementsAreReportedOnceWithTheirBalances(t *testing.T) {
	r := newRig(t, nil)
	seller, sellerKey := r.holder("1", "")
	_, buyerKey := r.holder("", "100000")
	r.order(sellerKey, "BTCUSDT", "SELL", "0.1", "60000")
	r.hold.SetDown(true)
	r.deposit(seller, "BTC", "0.5")
	r.hold.SetDown(false)
	r.until("Holdfast is back", r.x.Linked)
	r.order(buyerKey, "BTCUSDT", "BUY", "0.1", "60000")
	if !r.hold.Reported(3+6, patience) {
		t.Fatalf("%d movements reported", len(r.hold.Movements()))
	}
	last := map[string]string{}
	var kinds []string
	for _, m := range r.hold.Movements() {
		k := m.GetAccount().GetAccountId() + m.GetAsset()
		if before, ok := last[k]; ok && before != m.GetBalanceBefore() {
			t.Errorf("%s begins with %s, the one before ended with %s", m.GetDetail(), m.GetBalanceBefore(), before)
		}
		last[k] = m.GetBalanceAfter()
		kinds = append(kinds, m.GetKind())
	}
	slices.Sort(kinds)
	if want := []string{"deposit", "deposit", "deposit", "fee", "fee", "trade", "trade", "trade", "trade"}; !slices.Equal(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
}
