package exchange

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/examples/exchange/standin"
)

const outside = "tb1q0000000000000000000000000000000000000000"

func (r *rig) withdraw(key standin.APIKey, pairs ...string) answer {
	r.t.Helper()
	return r.signed(key, "POST", "/sapi/v1/capital/withdraw/apply", pairs...)
}

func withdrawalID(t *testing.T, a answer) string {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("withdrawal: %d %s", a.status, a.body)
	}
	var w struct {
		ID string `json:"id"`
	}
	a.into(t, &w)
	return w.ID
}

// state returns the state of a withdrawal here.
func (r *rig) state(id string) string {
	r.t.Helper()
	var s string
	if err := r.x.db.read.QueryRow(`SELECT state FROM withdrawals WHERE id = $1`, id).Scan(&s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) sentOnChain() int {
	r.t.Helper()
	var n int
	if err := r.x.db.read.QueryRow(`SELECT count(*) FROM chain`).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

func TestWithdrawalIsConfirmedSentAndSettled(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WithdrawalDelay = time.Millisecond })
	account, key := r.holder("1", "")
	id := withdrawalID(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.4"))
	if !r.hold.WithdrawalIn(id, holdfastv1.WithdrawalState_WITHDRAWAL_STATE_SETTLED, patience) {
		t.Fatalf("not settled; here it is %s", r.state(id))
	}
	r.until("it is done", func() bool { return r.state(id) == withdrawalDone })
	r.wantBalance(account, "BTC", "0.6", "0")
	if n := r.sentOnChain(); n != 1 {
		t.Errorf("%d transactions on the network", n)
	}
	var history []struct {
		ID     string `json:"id"`
		Amount string `json:"amount"`
		Fee    string `json:"transactionFee"`
		Status int    `json:"status"`
		TxID   string `json:"txId"`
	}
	r.signed(key, "GET", "/sapi/v1/capital/withdraw/history").into(t, &history)
	if len(history) != 1 || history[0].Amount != "0.3999" || history[0].Fee != "0.0001" || history[0].Status != 6 || len(history[0].TxID) != 64 {
		t.Errorf("history %+v", history)
	}
	r.wantBooksRight()
}

func TestTransferReachesTheOtherCustomer(t *testing.T) {
	r := newRig(t, nil)
	sender, key := r.holder("1", "")
	receiver, receiverKey := r.holder("", "")
	address, err := r.x.DepositAddress(context.Background(), receiver, "BTC")
	if err != nil {
		t.Fatal(err)
	}
	id := withdrawalID(t, r.withdraw(key, "coin", "BTC", "address", address, "amount", "0.4"))
	if !r.hold.WithdrawalIn(id, holdfastv1.WithdrawalState_WITHDRAWAL_STATE_SETTLED, patience) {
		t.Fatalf("not settled; here it is %s", r.state(id))
	}
	r.wantBalance(sender, "BTC", "0.6", "0")
	r.wantBalance(receiver, "BTC", "0.4", "0")
	var arrived []struct {
		TxID string `json:"txId"`
		Kind int    `json:"transferType"`
	}
	r.signed(receiverKey, "GET", "/sapi/v1/capital/deposit/hisrec").into(t, &arrived)
	if len(arrived) != 1 || arrived[0].Kind != 1 {
		t.Errorf("receiver's deposits: %+v", arrived)
	}
	own, err := r.x.DepositAddress(context.Background(), sender, "BTC")
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.withdraw(key, "coin", "BTC", "address", own, "amount", "0.1"), 400, -4001)
	if n := r.sentOnChain(); n != 0 {
		t.Errorf("%d transactions on the network", n)
	}
	r.wantBooksRight()
}

func TestSameWithdrawOrderIDWithdrawsOnce(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	a := withdrawalID(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.4", "withdrawOrderId", "rent"))
	b := withdrawalID(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.4", "withdrawOrderId", "rent", "name", "again"))
	if a != b {
		t.Errorf("two withdrawals %s and %s", a, b)
	}
	wantCode(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.5", "withdrawOrderId", "rent"), 400, -4001)
	r.wantBalance(account, "BTC", "0.6", "0.4")
	r.wantBooksRight()
}

func TestWithdrawalRefusals(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	for _, c := range []struct {
		name   string
		code   int
		params []string
	}{
		{"more than there is", -4026, []string{"coin", "BTC", "address", outside, "amount", "2"}},
		{"no address of this network", -4002, []string{"coin", "BTC", "address", "0x1", "amount", "0.1"}},
		{"too little", -4022, []string{"coin", "BTC", "address", outside, "amount", "0.0001"}},
		{"too fine", -4021, []string{"coin", "BTC", "address", outside, "amount", "0.123456789"}},
		{"unknown coin", -4018, []string{"coin", "DOGE", "address", outside, "amount", "1"}},
		{"other network", -4007, []string{"coin", "BTC", "network", "ETH", "address", outside, "amount", "0.1"}},
		{"a tag", -4106, []string{"coin", "BTC", "addressTag", "7", "address", outside, "amount", "0.1"}},
		{"no amount", -1102, []string{"coin", "BTC", "address", outside}},
		{"negative", -1100, []string{"coin", "BTC", "address", outside, "amount", "-0.1"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantCode(t, r.withdraw(key, c.params...), 400, c.code) })
	}
	r.hold.Hold(account, exitWithdrawalRequest, "password_changed")
	wantCode(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.1"), 400, -4016)
	r.hold.Hold(account, exitWithdrawalRequest, "unproven_report")
	wantCode(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.1"), 400, -4015)
	r.wantBalance(account, "BTC", "1", "0")
	r.wantBooksRight()
}

func TestFreezeStopsEverythingAndCountsIt(t *testing.T) {
	r := newRig(t, func(c *Config) { c.TransferDelay = time.Hour })
	account, key := r.holder("1.2", "30000")
	other, otherKey := r.holder("1", "30000")
	address, err := r.x.DepositAddress(context.Background(), other, "USDT")
	if err != nil {
		t.Fatal(err)
	}
	r.order(key, "BTCUSDT", "SELL", "0.1", "70000")
	r.order(key, "BTCUSDT", "BUY", "0.1", "50000")
	w := withdrawalID(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.05"))
	withdrawalID(t, r.withdraw(key, "coin", "USDT", "address", address, "amount", "100"))
	r.order(otherKey, "BTCUSDT", "SELL", "0.1", "80000")

	r.hold.Freeze(account)
	if !r.hold.Contained(account, patience) {
		t.Fatal("not contained")
	}
	for exit, want := range map[string]struct {
		stopped int64
		detail  string
	}{
		exitOrder:             {0, "No new orders"},
		exitOpenOrder:         {2, "2 open orders cancelled: 0.1 BTC, 5000 USDT stayed here"},
		exitPendingWithdrawal: {1, "1 pending withdrawal cancelled: 0.05 BTC stayed here"},
		exitInternalTransfer:  {1, "1 pending transfer cancelled: 100 USDT stayed here"},
	} {
		if got := r.hold.Receipt(account, exit); got.GetStopped() != want.stopped || got.GetDetail() != want.detail {
			t.Errorf("%s: %d, %q; want %d, %q", exit, got.GetStopped(), got.GetDetail(), want.stopped, want.detail)
		}
	}
	r.wantBalance(account, "BTC", "1.2", "0")
	r.wantBalance(account, "USDT", "30000", "0")
	r.wantBalance(other, "BTC", "0.9", "0.1") // another account's order stays
	if s := r.state(w); s != withdrawalCancelled {
		t.Errorf("the withdrawal is %s", s)
	}
	for _, c := range []struct {
		method, path string
		code         int
		params       []string
	}{
		{"GET", "/api/v3/account", -2010, nil},
		{"GET", "/api/v3/openOrders", -2010, nil},
		{"GET", "/api/v3/myTrades", -2010, []string{"symbol", "BTCUSDT"}},
		{"POST", "/api/v3/order", -2010, []string{"symbol", "BTCUSDT", "side", "SELL", "type", "MARKET", "quantity", "0.1"}},
		{"DELETE", "/api/v3/order", -2011, []string{"symbol", "BTCUSDT", "orderId", "1"}},
		{"DELETE", "/api/v3/openOrders", -2011, []string{"symbol", "BTCUSDT"}},
		{"POST", "/sapi/v1/capital/withdraw/apply", -3022, []string{"coin", "BTC", "address", outside, "amount", "0.1"}},
		{"POST", "/sapi/v1/capital/withdraw/apply", -3022, []string{"coin", "USDT", "address", address, "amount", "100"}},
		{"GET", "/sapi/v1/capital/withdraw/history", -3022, nil},
		{"GET", "/sapi/v1/capital/config/getall", -3022, nil},
		{"GET", "/sapi/v1/capital/deposit/address", -3022, []string{"coin", "BTC"}},
		{"GET", "/sapi/v1/account/status", -3022, nil},
		{"GET", "/sapi/v1/account/apiRestrictions", -3022, nil},
		{"POST", "/sapi/v1/account/disableFastWithdrawSwitch", -3022, nil},
	} {
		wantCode(t, r.signed(key, c.method, c.path, c.params...), 400, c.code)
	}
	r.wantBooksRight()

	r.hold.Restore(account)
	r.until("the restore is heard", func() bool { return r.x.epochOf(account) == 3 })
	r.order(key, "BTCUSDT", "SELL", "0.1", "70000")
}

func TestFreezeAfterConfirmRecallsWhatIsNotSent(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	id := withdrawalID(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.4"))
	// Confirm at Holdfast, as the cashier would, and freeze before anything is sent.
	w, err := collect(context.Background(), r.x.db.read, scanWithdrawalRow, `SELECT `+withdrawalColumns+` FROM withdrawals WHERE id = $1`, id)
	if err != nil {
		t.Fatal(err)
	}
	confirmed := r.hold.Confirm(account, w[0].holdfastID)
	r.hold.Freeze(account)
	if !r.hold.Contained(account, patience) {
		t.Fatal("not contained")
	}
	if err := r.x.letGo(context.Background(), w[0], confirmed); err != nil {
		t.Fatal(err)
	}
	if n := r.sentOnChain(); n != 0 {
		t.Errorf("%d transactions on the network", n)
	}
	if !r.hold.WithdrawalIn(id, holdfastv1.WithdrawalState_WITHDRAWAL_STATE_FAILED, patience) {
		t.Error("Holdfast was not told that it did not leave")
	}
	if got := r.hold.Receipt(account, exitPendingWithdrawal); got.GetStopped() != 1 {
		t.Errorf("receipt: %d, %s", got.GetStopped(), got.GetDetail())
	}
	r.wantBalance(account, "BTC", "1", "0")
	r.wantBooksRight()
}

func TestOldYesDoesNotAct(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "10000")
	by := caller{account: account, epoch: 1, keyID: key.ID, credential: keyCredential(key.ID)}
	r.hold.Freeze(account)
	if !r.hold.Contained(account, patience) {
		t.Fatal("not contained")
	}
	btc, _ := findAsset("BTC")
	m, _ := findSymbol("BTCUSDT")
	_, _, err := r.x.place(context.Background(), by, orderRequest{symbol: m, side: sell, kind: typeLimit, inForce: goodTillCancelled,
		price: fixedAmount(60000, 0), quantity: fixedAmount(1, -1), clientID: "old"})
	if e := asAPIError(err, spotSurface); e.code != -2010 {
		t.Errorf("order with an old yes: %v", err)
	}
	_, err = r.x.withdraw(context.Background(), by, withdrawalRequest{asset: btc, amount: fixedAmount(1, -1), address: outside, clientID: "old"})
	if e := asAPIError(err, sapiSurface); e.code != -3022 {
		t.Errorf("withdrawal with an old yes: %v", err)
	}
	r.wantBalance(account, "BTC", "1", "0")
}

func TestClosingOfAnEarlierEpochIsIgnored(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	r.hold.Freeze(account)
	r.hold.Restore(account)
	r.until("the restore is heard", func() bool { return r.x.epochOf(account) == 3 })
	r.order(key, "BTCUSDT", "SELL", "0.1", "60000")
	err := r.x.apply(context.Background(), &holdfastv1.Closing{AccountId: account, Kind: "freeze", Epoch: 2, Exits: enforcedExits}, []int64{1})
	if err != nil {
		t.Fatal(err)
	}
	r.wantBalance(account, "BTC", "0.9", "0.1")
}

func TestRestartKeepsEverything(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "30000")
	buyer, buyerKey := r.holder("", "100000")
	r.order(key, "BTCUSDT", "SELL", "0.1", "60000")
	r.order(buyerKey, "BTCUSDT", "BUY", "0.04", "60000")
	w := withdrawalID(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.3"))
	address, err := r.x.DepositAddress(context.Background(), account, "BTC")
	if err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.wantBooksRight()
	r.wantBalance(account, "BTC", "0.6", "0.36")
	if again, err := r.x.DepositAddress(context.Background(), account, "BTC"); err != nil || again != address {
		t.Errorf("address %s became %s (%v)", address, again, err)
	}
	if s := r.state(w); s != withdrawalPending {
		t.Errorf("the withdrawal is %s", s)
	}
	// The rest of the order is still in the book, first in its queue.
	if o := r.order(buyerKey, "BTCUSDT", "BUY", "0.06", "60000"); o.Status != "FILLED" {
		t.Errorf("after the restart the order is %s", o.Status)
	}
	r.wantBalance(buyer, "BTC", "0.0999", "0")

	// A freeze while the exchange is down is carried out as soon as it is up.
	r.stop()
	r.hold.Freeze(account)
	r.start()
	if !r.hold.Contained(account, patience) {
		t.Fatal("not contained after the restart")
	}
	if s := r.state(w); s != withdrawalCancelled {
		t.Errorf("the withdrawal is %s", s)
	}
	r.wantBalance(account, "BTC", "0.9", "0")
	r.wantBooksRight()
}

func TestFreezeIsHeardAfterHoldfastWasAway(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	r.order(key, "BTCUSDT", "SELL", "0.1", "60000")
	r.hold.SetDown(true)
	r.hold.Freeze(account)
	r.hold.SetDown(false)
	if !r.hold.Contained(account, patience) {
		t.Fatal("not contained")
	}
	r.wantBalance(account, "BTC", "1", "0")
}

func TestLostRequestReturnsTheMoneyAndNeverLeaves(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WithdrawalDelay = time.Millisecond })
	account, key := r.holder("1", "")
	r.hold.LoseNextRequest()
	a := r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.4", "withdrawOrderId", "lost")
	wantCode(t, a, http.StatusServiceUnavailable, -1001)
	r.wantBalance(account, "BTC", "1", "0")
	var id string
	if err := r.x.db.read.QueryRow(`SELECT id FROM withdrawals WHERE client_id LIKE 'client:lost%'`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if !r.hold.WithdrawalIn(id, holdfastv1.WithdrawalState_WITHDRAWAL_STATE_FAILED, patience) {
		t.Error("the lost request is still open at Holdfast")
	}
	if n := r.sentOnChain(); n != 0 {
		t.Errorf("%d transactions on the network", n)
	}
	r.wantBooksRight()
}

func TestDisableFastWithdrawMakesTransfersWait(t *testing.T) {
	r := newRig(t, nil)
	sender, key := r.holder("1", "")
	receiver, _ := r.holder("", "")
	address, err := r.x.DepositAddress(context.Background(), receiver, "BTC")
	if err != nil {
		t.Fatal(err)
	}
	if a := r.signed(key, "POST", "/sapi/v1/account/disableFastWithdrawSwitch"); a.status != 200 || strings.TrimSpace(string(a.body)) != "{}" {
		t.Fatalf("switch: %d %s", a.status, a.body)
	}
	id := withdrawalID(t, r.withdraw(key, "coin", "BTC", "address", address, "amount", "0.4"))
	r.x.cashier.round(context.Background(), r.x)
	if s := r.state(id); s != withdrawalPending {
		t.Errorf("transfer is %s", s)
	}
	r.wantBalance(sender, "BTC", "0.6", "0.4")
}

func TestNothingIsDoneOnAHoldfastThatLostHistory(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	other, _ := r.holder("1", "")
	r.hold.Freeze(other)
	r.until("the freeze is heard", func() bool { return r.x.epochOf(other) == 2 })
	r.hold.LoseHistory()
	r.until("the loss is noticed", r.x.enforcer.halted.Load)
	wantCode(t, r.signed(key, "POST", "/api/v3/order", "symbol", "BTCUSDT", "side", "SELL", "type", "LIMIT", "timeInForce", "GTC",
		"quantity", "0.1", "price", "60000"), http.StatusServiceUnavailable, -1001)
	wantCode(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.1"), http.StatusServiceUnavailable, -1001)
	r.wantBalance(account, "BTC", "1", "0")
	r.hold.FindHistory(1, other)
	r.until("it goes on", func() bool { return !r.x.enforcer.halted.Load() })
	r.order(key, "BTCUSDT", "SELL", "0.1", "60000")
}

func TestWithdrawalOfADeletedKeyIsNotSent(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WithdrawalDelay = 300 * time.Millisecond })
	account, key := r.holder("1", "")
	id := withdrawalID(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.4"))
	r.hold.DeleteKey(key.ID)
	if !r.hold.WithdrawalIn(id, holdfastv1.WithdrawalState_WITHDRAWAL_STATE_FAILED, patience) {
		t.Fatalf("Holdfast was not told; here it is %s", r.state(id))
	}
	if n := r.sentOnChain(); n != 0 {
		t.Errorf("%d transactions on the network", n)
	}
	r.wantBalance(account, "BTC", "1", "0")
	r.wantBooksRight()
}

func TestStreamsEndWhenAFreezeCouldNotBeHeard(t *testing.T) {
	r := newRig(t, nil)
	_, key := r.holder("1", "")
	s := r.socket()
	if f := s.ask("userDataStream.subscribe.signature", signedParams(t, key)); f.Status != 200 {
		t.Fatalf("subscribe: %+v", f)
	}
	r.x.enforcer.heard.Store(micros(r.x.now().Add(-silentFor))) // as if nothing had come since
	r.hold.SetDown(true)
	r.x.enforcer.heard.Store(micros(r.x.now().Add(-silentFor)))
	if e := s.next().Event; e["e"] != "eventStreamTerminated" {
		t.Errorf("got %v", e)
	}
}

func TestRefusedRequestMayBeRepeatedAndIsNotTakenForAccepted(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	again := []string{"coin", "BTC", "address", outside, "amount", "0.4", "withdrawOrderId", "rent"}
	r.hold.HoldNextRequest("screen")
	wantCode(t, r.withdraw(key, again...), 400, -4015)
	r.wantBalance(account, "BTC", "1", "0")
	id := withdrawalID(t, r.withdraw(key, again...))
	if s := r.state(id); s != withdrawalPending {
		t.Errorf("the repeat is %s", s)
	}
	var history []struct {
		Status int    `json:"status"`
		ID     string `json:"withdrawOrderId"`
	}
	r.signed(key, "GET", "/sapi/v1/capital/withdraw/history", "withdrawOrderId", "rent").into(t, &history)
	if len(history) != 2 {
		t.Errorf("history: %+v", history)
	}
	r.wantBalance(account, "BTC", "0.6", "0.4")
	r.wantBooksRight()
}

// Between hearing of a freeze and getting the lock to carry it out there is a moment. What
// was confirmed before does not leave in it.
func TestNothingLeavesOnceAFreezeIsHeard(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	id := withdrawalID(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.4"))
	w, err := collect(context.Background(), r.x.db.read, scanWithdrawalRow, `SELECT `+withdrawalColumns+` FROM withdrawals WHERE id = $1`, id)
	if err != nil {
		t.Fatal(err)
	}
	confirmed := r.hold.Confirm(account, w[0].holdfastID)
	r.x.enforcer.raise(&holdfastv1.Closing{AccountId: account, Kind: "freeze", Epoch: 2})
	if err := r.x.letGo(context.Background(), w[0], confirmed); err != nil {
		t.Fatal(err)
	}
	if n := r.sentOnChain(); n != 0 {
		t.Errorf("%d transactions on the network", n)
	}
	wantCode(t, r.withdraw(key, "coin", "BTC", "address", outside, "amount", "0.1"), 400, -3022)
	wantCode(t, r.signed(key, "DELETE", "/api/v3/openOrders", "symbol", "BTCUSDT"), 400, -2011)
	r.wantBalance(account, "BTC", "1", "0")
	r.wantBooksRight()
}
