// Command testbed runs the example exchange beside a stand-in for Holdfast, for tests of
// unmodified clients. It prints one JSON object on standard output, then serves until its
// standard input ends or it is interrupted.
//
// The object has the addresses of the exchange, its CA file, and the address of a control
// server on loopback with these calls, all POST with and answering JSON:
//
//	/scene       {}                             a new account with money, keys and addresses
//	/freeze      {"account"}                    freezes; answers when acknowledged
//	/protection  {"account"}                    waits until contained; the receipts
//	/take        {"symbol","side","price"}      someone else tries to fill what rests there
//	/delete-key  {"key"}                        deletes an API key
//	/hold        {"account","exit","reason"}    holds one exit
//
// A test bed on the real product that answers the same calls may take its place.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"crypto/tls"
	"crypto/x509"

	"holdfast/examples/exchange"
	"holdfast/examples/exchange/standin"
)

const patience = 20 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the parent's end of the pipe closes when it dies
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := run(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		os.Exit(1)
	}
}

// bed is the running test bed.
type bed struct {
	hold *standin.Server
	x    *exchange.Exchange
	rest string
	http *http.Client
	// maker is a customer with deep pockets on the other side of every trade.
	maker standin.APIKey
	other string // account that receives transfers
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "holdfast-testbed-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bed{hold: standin.New()}
	defer b.hold.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	b.rest = "https://localhost:" + port
	b.x, err = exchange.Open(ctx, exchange.Config{
		StateDir: dir, Guard: b.hold.Guard(), SignIn: b.hold.SignIn(), Ledger: b.hold.Ledger(),
		PublicURL: b.rest, WithdrawalDelay: 10 * time.Minute,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, b.x.Close()) }()
	pem, err := os.ReadFile(b.x.CAFile())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	b.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}, Timeout: patience}

	served := make(chan error, 1)
	go func() { served <- b.x.Serve(ctx, listener) }()
	if !b.hold.Enforced(patience) {
		return errors.New("the exchange did not register")
	}
	for deadline := time.Now().Add(patience); !b.x.Linked(); {
		if time.Now().After(deadline) {
			return errors.New("the exchange does not follow")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	maker := b.hold.AddAccount("maker@holdfast.test")
	if err := b.fund(ctx, maker, map[string]string{"BTC": "1000", "ETH": "10000", "USDT": "90000000"}); err != nil {
		return err
	}
	b.maker = b.hold.AddHMACKey(maker, []string{"read", "trade"}, nil)
	b.other = b.hold.AddAccount("bystander@holdfast.test")

	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: b.routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(control) }() // its end is ours
	defer func() { _ = server.Close() }()
	err = json.NewEncoder(os.Stdout).Encode(map[string]string{
		"hostname": "localhost:" + port,
		"rest":     "https://api.localhost:" + port,
		"stream":   "wss://api.localhost:" + port + "/ws-api/v3",
		"ca":       b.x.CAFile(),
		"control":  "http://" + control.Addr().String(),
	})
	if err != nil {
		return err
	}
	return <-served
}

func (b *bed) fund(ctx context.Context, account string, amounts map[string]string) error {
	for asset, amount := range amounts {
		if err := b.x.Deposit(ctx, account, asset, amount, "testbed "+account+" "+asset); err != nil {
			return err
		}
	}
	return nil
}

// request is what the control calls take.
type request struct {
	Account string `json:"account"`
	Symbol  string `json:"symbol"`
	Side    string `json:"side"`
	Price   string `json:"price"`
	Key     string `json:"key"`
	Exit    string `json:"exit"`
	Reason  string `json:"reason"`
}

func (b *bed) routes() http.Handler {
	mux := http.NewServeMux()
	for path, serve := range map[string]func(context.Context, request) (any, error){
		"POST /scene":      b.scene,
		"POST /freeze":     b.freeze,
		"POST /protection": b.protection,
		"POST /take":       b.take,
		"POST /delete-key": func(_ context.Context, r request) (any, error) { b.hold.DeleteKey(r.Key); return struct{}{}, nil },
		"POST /hold": func(_ context.Context, r request) (any, error) {
			b.hold.Hold(r.Account, r.Exit, r.Reason)
			return struct{}{}, nil
		},
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
			var r request
			err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<16)).Decode(&r)
			var answer any
			if err == nil {
				answer, err = serve(req.Context(), r)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer) // the test sees a cut answer
		})
	}
	return mux
}

// scene makes a victim: 1.2 BTC and 30,000 USDT, one key of each kind with every scope, tied
// to the loopback address, and someone to trade with at 60,000 and 40,000.
func (b *bed) scene(ctx context.Context, _ request) (any, error) {
	account := b.hold.AddAccount("holder@holdfast.test")
	if err := b.fund(ctx, account, map[string]string{"BTC": "1.2", "USDT": "30000"}); err != nil {
		return nil, err
	}
	scopes, here := []string{"read", "trade", "withdraw"}, []string{"127.0.0.1"}
	ed25519, err := b.hold.AddEd25519Key(account, scopes, here)
	if err != nil {
		return nil, err
	}
	transfer, err := b.x.DepositAddress(ctx, b.other, "BTC")
	if err != nil {
		return nil, err
	}
	if _, err := b.order("SELL", "60000", "GTC"); err != nil {
		return nil, err
	}
	return map[string]any{
		"account": account,
		"keys":    map[string]any{"hmac": b.hold.AddHMACKey(account, scopes, here), "ed25519": ed25519},
		"outside": "tb1q" + strings.Repeat("0", 38), "transfer": transfer,
	}, nil
}

func (b *bed) freeze(_ context.Context, r request) (any, error) {
	return map[string]int64{"epoch": b.hold.Freeze(r.Account)}, nil
}

func (b *bed) protection(_ context.Context, r request) (any, error) {
	receipts := map[string]any{}
	contained := b.hold.Contained(r.Account, patience)
	for _, exit := range []string{"order", "open_order", "pending_withdrawal", "internal_transfer"} {
		if got := b.hold.Receipt(r.Account, exit); got != nil {
			receipts[exit] = map[string]any{"stopped": got.GetStopped(), "detail": got.GetDetail()}
		}
	}
	return map[string]any{"contained": contained, "receipts": receipts}, nil
}

// take has the maker try to fill an order that rests at a price.
func (b *bed) take(_ context.Context, r request) (any, error) { return b.order(r.Side, r.Price, "IOC") }

func (b *bed) order(side, price, inForce string) (json.RawMessage, error) {
	v := url.Values{"symbol": {"BTCUSDT"}, "side": {side}, "type": {"LIMIT"}, "timeInForce": {inForce}, "quantity": {"0.01"},
		"price": {price}, "timestamp": {strconv.FormatInt(time.Now().UnixMilli(), 10)}}
	signature, err := b.maker.Sign(v.Encode())
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodPost, b.rest+"/api/v3/order?"+v.Encode()+"&signature="+signature, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-MBX-APIKEY", b.maker.ID)
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("maker's order: %s %s", resp.Status, body)
	}
	return body, err
}
