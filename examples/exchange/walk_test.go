package exchange

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/examples/exchange/standin"
)

// walk is a random run of an exchange: customers trade, cancel, withdraw, are frozen and
// restored, and the exchange stops and starts. After every step all money adds up, no
// frozen account's order fills, and the books in memory are those of the database.
type walk struct {
	t      *rapid.T
	hold   *standin.Server
	cfg    Config
	x      *Exchange
	people []person
}

type person struct {
	account string
	key     standin.APIKey
	frozen  bool
	// fillsAtFreeze is how many fills the account had when its freeze was acknowledged.
	fillsAtFreeze int
}

var background = context.Background()

func (w *walk) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// allowed fails the walk for an error that is not one of the exchange's proper answers.
func (w *walk) allowed(err error) {
	w.t.Helper()
	if err != nil && asAPIError(err, spotSurface).code == errUnknown.code {
		w.t.Fatalf("improper error: %v", err)
	}
}

func (w *walk) open() {
	x, err := Open(background, w.cfg)
	w.must(err)
	w.x = x
	until(w.t, x.Linked)
}

// until polls for what happens in the background.
func until(t interface{ Fatal(...any) }, done func() bool) {
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatal("waited too long")
		case <-tick.C:
		}
	}
}

func (w *walk) draw() *person {
	return &w.people[rapid.IntRange(0, len(w.people)-1).Draw(w.t, "person")]
}

// caller asks Holdfast as the API does, then acts with its answer.
func (w *walk) caller(p *person, exit string) (caller, error) {
	epoch, err := w.x.check(background, p.account, keyCredential(p.key.ID), exit, nil)
	return caller{account: p.account, epoch: epoch, keyID: p.key.ID, credential: keyCredential(p.key.ID)}, err
}

func (w *walk) place() {
	by, err := w.caller(w.draw(), exitOrder)
	if err != nil {
		return
	}
	m := rapid.SampledFrom(symbols).Draw(w.t, "symbol")
	r := orderRequest{symbol: m, side: rapid.SampledFrom([]side{buy, sell}).Draw(w.t, "side"),
		kind:     rapid.SampledFrom([]string{typeLimit, typeLimit, typeLimit, typeMarket}).Draw(w.t, "type"),
		inForce:  rapid.SampledFrom([]string{goodTillCancelled, goodTillCancelled, immediateOrCancel, fillOrKill}).Draw(w.t, "in force"),
		quantity: m.step.Mul(fixedAmount(rapid.Int64Range(1, 3000).Draw(w.t, "steps"), 0)),
		clientID: newID()[:20]}
	if r.kind == typeLimit {
		r.price = m.tick.Mul(fixedAmount(rapid.Int64Range(999_990, 1_000_010).Draw(w.t, "ticks"), 0))
	} else {
		r.inForce = goodTillCancelled
		if rapid.Bool().Draw(w.t, "by quote") {
			r.quote, r.quantity = fixedAmount(rapid.Int64Range(1, 900_000_000).Draw(w.t, "quote"), -6), Amount{}
		}
	}
	_, _, err = w.x.place(background, by, r)
	w.allowed(err)
}

func (w *walk) cancel() {
	by, err := w.caller(w.draw(), exitOpenOrder)
	if err != nil {
		return
	}
	_, err = w.x.cancel(background, by, orderQuery{symbol: rapid.SampledFrom(symbols).Draw(w.t, "symbol")})
	w.allowed(err)
}

func (w *walk) withdraw() {
	by, err := w.caller(w.draw(), exitWithdrawalRequest)
	if err != nil {
		return
	}
	r := withdrawalRequest{asset: mustAsset("BTC"), address: outside, clientID: newID(),
		amount: fixedAmount(rapid.Int64Range(1, 100).Draw(w.t, "amount"), -2)}
	if to := w.draw(); rapid.Bool().Draw(w.t, "internal") {
		r.receiver = to.account
		r.address, err = w.x.DepositAddress(background, to.account, "BTC")
		w.must(err)
	}
	_, err = w.x.withdraw(background, by, r)
	w.allowed(err)
}

func (w *walk) fills(account string) int {
	var n int
	w.must(w.x.db.read.QueryRow(`SELECT count(*) FROM fills WHERE account_id = $1`, account).Scan(&n))
	return n
}

func (w *walk) freeze() {
	p := w.draw()
	if p.frozen {
		return
	}
	w.hold.Freeze(p.account)
	p.frozen, p.fillsAtFreeze = true, w.fills(p.account)
}

func (w *walk) restore() {
	p := w.draw()
	if !p.frozen {
		return
	}
	if !w.hold.Contained(p.account, patience) {
		w.t.Fatal("no receipts")
	}
	w.hold.Restore(p.account)
	p.frozen = false
}

func (w *walk) restart() {
	w.must(w.x.Close())
	w.open()
}

func (w *walk) check() {
	faults, err := w.x.Imbalance(background)
	w.must(err)
	for _, f := range faults {
		w.t.Error(f)
	}
	for i := range w.people {
		if p := &w.people[i]; p.frozen && w.fills(p.account) != p.fillsAtFreeze {
			w.t.Errorf("a frozen account had %d fills and has %d", p.fillsAtFreeze, w.fills(p.account))
		}
	}
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	inMemory := fmt.Sprint(describe(w.x.books))
	before := w.x.books
	w.must(w.x.loadBooks(background))
	if stored := fmt.Sprint(describe(w.x.books)); stored != inMemory {
		w.t.Errorf("the book is %s, the database says %s", inMemory, stored)
	}
	w.x.books = before
	for name, b := range w.x.books {
		if len(b.bids) > 0 && len(b.asks) > 0 && b.bids[0].price.Cmp(b.asks[0].price) >= 0 {
			w.t.Errorf("%s is crossed: %s bid, %s asked", name, b.bids[0].price, b.asks[0].price)
		}
	}
}

func describe(books map[string]*book) (lines []string) {
	for _, s := range symbols {
		for _, o := range append(append([]*resting{}, books[s.name].bids...), books[s.name].asks...) {
			lines = append(lines, fmt.Sprintf("%d %s %s %s %s", o.id, o.owner, o.side, o.price, o.left))
		}
	}
	return lines
}

// fewer lowers the number of random walks, each of which syncs the disk hundreds of times,
// unless the command line asks for a number.
func fewer(t *testing.T, n string) {
	f := flag.Lookup("rapid.checks")
	if f == nil || f.Value.String() != f.DefValue {
		return
	}
	if err := flag.Set("rapid.checks", n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.checks", f.DefValue) })
}

func TestMoneyAddsUpOnARandomWalk(t *testing.T) {
	fewer(t, "30")
	rapid.Check(t, func(rt *rapid.T) {
		hold := standin.New()
		defer hold.Close()
		w := &walk{t: rt, hold: hold, cfg: Config{StateDir: t.TempDir(), Guard: hold.Guard(), SignIn: hold.SignIn(),
			Ledger: hold.Ledger(), WithdrawalDelay: time.Millisecond, HoldfastTimeout: 5 * time.Second}}
		w.open()
		defer func() {
			if err := w.x.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				rt.Errorf("close: %v", err)
			}
		}()
		for i := range 3 {
			account := hold.AddAccount(fmt.Sprintf("walker%d@holdfast.test", i))
			w.people = append(w.people, person{account: account, key: hold.AddHMACKey(account, allScopes, nil)})
			for _, a := range []string{"BTC", "ETH", "USDT"} {
				w.must(w.x.Deposit(background, account, a, "100", newTxID()))
			}
		}
		steps := []func(){w.place, w.place, w.place, w.place, w.cancel, w.withdraw, w.freeze, w.restore, w.restore, w.restart}
		for range rapid.IntRange(5, 25).Draw(rt, "steps") {
			steps[rapid.IntRange(0, len(steps)-1).Draw(rt, "step")]()
			w.check()
		}
	})
}
