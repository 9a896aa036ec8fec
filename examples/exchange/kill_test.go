package exchange

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"holdfast/api/holdfast/v1/holdfastv1connect"
	"holdfast/examples/exchange/standin"
)

var kills = flag.Int("kills", 6, "how often TestKillLosesNothing kills the exchange")

// TestKillLosesNothing runs the exchange in another process, kills it at a random moment
// while it works, and opens its files again: what it said it had done is there, money adds
// up, and a freeze that comes in between is carried out.
func TestKillLosesNothing(t *testing.T) {
	hold := standin.New()
	defer hold.Close()
	account := hold.AddAccount("holder@holdfast.test")
	maker := hold.AddAccount("maker@holdfast.test")
	key, makerKey := hold.AddHMACKey(account, allScopes, nil), hold.AddHMACKey(maker, allScopes, nil)
	dir := t.TempDir()
	cfg := Config{StateDir: dir, Guard: hold.Guard(), SignIn: hold.SignIn(), Ledger: hold.Ledger(), WithdrawalDelay: time.Millisecond}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	said := map[string]bool{} // what the killed processes said they had done
	for round := range *kills {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledExchange$", "-test.count=1")
		child.Env = append(os.Environ(), "HARBOUR_KILL_DIR="+dir, "HARBOUR_KILL_URL="+hold.URL(),
			"HARBOUR_KILL_WHO="+strings.Join([]string{account, key.ID, maker, makerKey.ID}, ","))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		left := 5 + dice.IntN(60)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if line := lines.Text(); strings.HasPrefix(line, "did ") {
				said[strings.TrimPrefix(line, "did ")] = true
				if left--; left == 0 {
					_ = child.Process.Kill()
				}
			}
		}
		_ = child.Wait() // it was killed
		if left > 0 {
			t.Fatalf("round %d: the exchange ended by itself", round)
		}
		if round == *kills-1 {
			hold.Freeze(account)
		}
		x, err := Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		check := func() {
			faults, err := x.Imbalance(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range faults {
				t.Errorf("round %d: %s", round, f)
			}
		}
		check()
		for what := range said {
			var n int
			kind, id, _ := strings.Cut(what, " ")
			query := map[string]string{"order": `SELECT count(*) FROM orders WHERE client_order_id = $1`,
				"withdrawal": `SELECT count(*) FROM withdrawals WHERE id = $1`, "deposit": `SELECT count(*) FROM deposits WHERE txid = $1`}[kind]
			if err := x.db.read.QueryRow(query, id).Scan(&n); err != nil || n != 1 {
				t.Fatalf("round %d: %s was done and is there %d times (%v)", round, what, n, err)
			}
		}
		if round == *kills-1 {
			if !hold.Contained(account, patience) {
				t.Error("not contained")
			}
			if open, err := openOrders(context.Background(), x.db.read, account, ""); err != nil || len(open) != 0 {
				t.Errorf("%d open orders after the freeze (%v)", len(open), err)
			}
			check()
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var twice int
	x, err := openDatabase(context.Background(), dir+"/exchange.db")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.close() }()
	err = x.read.QueryRow(`SELECT count(*) FROM withdrawals w WHERE internal = 0 AND
		(state IN ('sent', 'done')) <> ((SELECT count(*) FROM chain c WHERE c.withdrawal_id = w.id) = 1)`).Scan(&twice)
	if err != nil || twice != 0 {
		t.Errorf("%d withdrawals whose state and transaction do not agree (%v)", twice, err)
	}
}

// TestKilledExchange is the process that TestKillLosesNothing kills; by itself it does
// nothing.
func TestKilledExchange(t *testing.T) {
	dir := os.Getenv("HARBOUR_KILL_DIR")
	if dir == "" {
		return
	}
	url, who := os.Getenv("HARBOUR_KILL_URL"), strings.Split(os.Getenv("HARBOUR_KILL_WHO"), ",")
	ctx := context.Background()
	x, err := Open(ctx, Config{StateDir: dir, WithdrawalDelay: time.Millisecond,
		Guard:  holdfastv1connect.NewGuardServiceClient(http.DefaultClient, url),
		SignIn: holdfastv1connect.NewSignInServiceClient(http.DefaultClient, url),
		Ledger: holdfastv1connect.NewLedgerServiceClient(http.DefaultClient, url)})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := findSymbol("BTCUSDT")
	for i := 0; ; i++ {
		account, keyID := who[i%2*2], who[i%2*2+1]
		by := caller{account: account, epoch: 1, keyID: keyID, credential: keyCredential(keyID)}
		if i%20 < 2 {
			for asset, amount := range map[string]string{"BTC": "1", "USDT": "60000"} {
				txid := newTxID()
				if err := x.Deposit(ctx, account, asset, amount, txid); err != nil {
					t.Fatal(err)
				}
				fmt.Println("did deposit", txid)
			}
		}
		r := orderRequest{symbol: m, side: buy + side(i%2), kind: typeLimit, inForce: goodTillCancelled,
			price: fixedAmount(60000+int64(i%3), 0), quantity: fixedAmount(1, -2), clientID: newID()[:20]}
		if _, _, err := x.place(ctx, by, r); err == nil {
			fmt.Println("did order", r.clientID)
		}
		if i%5 == 0 {
			w, err := x.withdraw(ctx, by, withdrawalRequest{asset: mustAsset("BTC"), amount: fixedAmount(2, -3), address: outside, clientID: newID()})
			if err == nil {
				fmt.Println("did withdrawal", w.id)
			}
		}
	}
}
