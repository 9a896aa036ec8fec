package exchange

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/examples/exchange/standin"
)

// rig is an exchange served over TLS beside a stand-in for Holdfast.
type rig struct {
	t    *testing.T
	hold *standin.Server
	dir  string
	cfg  Config
	x    *Exchange
	url  string
	http *http.Client
	stop func()
}

const patience = 20 * time.Second

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, hold: standin.New(), dir: t.TempDir()}
	t.Cleanup(r.hold.Close)
	r.cfg = Config{
		StateDir: r.dir, Guard: r.hold.Guard(), SignIn: r.hold.SignIn(), Ledger: r.hold.Ledger(),
		HoldfastPages: "http://holdfast.test", PublicURL: "https://localhost",
		WithdrawalDelay: time.Hour, HoldfastTimeout: 5 * time.Second,
	}
	if testing.Verbose() {
		r.cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if change != nil {
		change(&r.cfg)
	}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// start opens the exchange on the state that is there.
func (r *rig) start() {
	r.t.Helper()
	x, err := Open(context.Background(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- x.Serve(ctx, l) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		r.http.CloseIdleConnections()
		if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
			r.t.Errorf("serve: %v", err)
		}
		if err := x.Close(); err != nil {
			r.t.Errorf("close: %v", err)
		}
	}
	pem, err := os.ReadFile(x.CAFile())
	if err != nil {
		r.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	r.x, r.url = x, "https://localhost:"+port
	r.http = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if !r.hold.Enforced(patience) {
		r.t.Fatal("the exchange did not register as an enforcer")
	}
	r.until("the stream is up", x.Linked)
}

// restart stops the exchange and opens it again on the same files.
func (r *rig) restart() {
	r.stop()
	r.start()
}

// until waits for something that happens in the background.
func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			r.t.Fatalf("still waiting until %s", what)
		case <-tick.C:
		}
	}
}

var allScopes = []string{"read", "trade", "withdraw"}

// holder makes an account with money and a key.
func (r *rig) holder(btc, usdt string) (account string, key standin.APIKey) {
	r.t.Helper()
	account = r.hold.AddAccount("holder@holdfast.test")
	for asset, amount := range map[string]string{"BTC": btc, "USDT": usdt} {
		if amount != "" {
			r.deposit(account, asset, amount)
		}
	}
	return account, r.hold.AddHMACKey(account, allScopes, nil)
}

func (r *rig) deposit(account, asset, amount string) {
	r.t.Helper()
	if err := r.x.Deposit(context.Background(), account, asset, amount, newTxID()); err != nil {
		r.t.Fatal(err)
	}
}

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	body   []byte
	Code   int    `json:"code"`
	Msg    string `json:"msg"`
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("answer %d %s: %v", a.status, a.body, err)
	}
}

// list of name=value pairs, in order.
func query(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(pairs[i]) + "=" + url.QueryEscape(pairs[i+1]))
	}
	return b.String()
}

// signed sends a signed request with all parameters in the query.
func (r *rig) signed(key standin.APIKey, method, path string, pairs ...string) answer {
	r.t.Helper()
	text := query(append(pairs, "timestamp", strconv.FormatInt(time.Now().UnixMilli(), 10))...)
	signature, err := key.Sign(text)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.send(method, path, text+"&signature="+url.QueryEscape(signature), "", key.ID, "")
}

// send sends a request as it stands.
func (r *rig) send(method, path, query, body, keyID, contentType string) answer {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path+"?"+query, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if keyID != "" {
		req.Header.Set("X-MBX-APIKEY", keyID)
	}
	if body != "" && contentType == "" {
		contentType = "application/x-www-form-urlencoded"
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		r.t.Fatal(err)
	}
	_ = json.Unmarshal(a.body, &a) // lists have no code
	return a
}

// order places a LIMIT order and returns its state.
func (r *rig) order(key standin.APIKey, symbol, side, quantity, price string) placed {
	r.t.Helper()
	a := r.signed(key, "POST", "/api/v3/order", "symbol", symbol, "side", side, "type", "LIMIT", "timeInForce", "GTC",
		"quantity", quantity, "price", price)
	if a.status != http.StatusOK {
		r.t.Fatalf("order: %d %s", a.status, a.body)
	}
	var p placed
	a.into(r.t, &p)
	return p
}

type placed struct {
	ID       int64  `json:"orderId"`
	Status   string `json:"status"`
	Executed string `json:"executedQty"`
	Fills    []struct {
		Price string `json:"price"`
		Qty   string `json:"qty"`
		Fee   string `json:"commission"`
		Asset string `json:"commissionAsset"`
	} `json:"fills"`
}

func (r *rig) balance(account, asset string) (freeAmount, lockedAmount string) {
	r.t.Helper()
	all, err := r.x.balances(context.Background(), account)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, h := range all {
		if h.asset == asset {
			return h.free.String(), h.locked.String()
		}
	}
	r.t.Fatalf("no asset %s", asset)
	return "", ""
}

func (r *rig) wantBalance(account, asset, wantFree, wantLocked string) {
	r.t.Helper()
	if f, l := r.balance(account, asset); f != wantFree || l != wantLocked {
		r.t.Errorf("%s: %s free and %s locked, want %s and %s", asset, f, l, wantFree, wantLocked)
	}
}

func (r *rig) wantBooksRight() {
	r.t.Helper()
	faults, err := r.x.Imbalance(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range faults {
		r.t.Error(f)
	}
}

func wantCode(t *testing.T, a answer, status, code int) {
	t.Helper()
	if a.status != status || a.Code != code {
		t.Errorf("answer %d %s, want HTTP %d with code %d", a.status, a.body, status, code)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
