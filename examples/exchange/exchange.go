// Package exchange is a small exchange that shows how a platform integrates Holdfast: the
// way a customer would, through Holdfast's public API alone. It keeps balances in double
// entry, matches orders by price and time, pays out to a simulated network, and speaks a
// subset of Binance's REST and WebSocket API, so that unmodified clients run against it.
//
// It runs Holdfast in full mode: accounts, sessions and API keys are Holdfast's, and this
// program never sees a password or an API secret. Every act asks Holdfast before it happens,
// and the acts that cannot be undone ask again at the last moment. As an external enforcer
// it follows Holdfast's closings, carries them out and signs them off with receipts.
//
// What can go wrong here, and what is done about it:
//
//   - A freeze arrives between Holdfast's yes and the act. Every yes carries an epoch, and
//     the transaction that acts looks whether a later one has been heard of.
//   - Holdfast cannot be reached. Then nothing trades and nothing leaves; the client is told
//     that its request was not carried out.
//   - The process stops at any moment. All state, its debts to Holdfast included, is in one
//     SQLite file with synced commits; the books are built from it at the start.
//
// It refuses to round money, to trade an account with itself, to take a signed request with
// an effect twice, and to serve without TLS. It is an example: networks are simulated and
// there is no fiat money.
package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"holdfast/api/holdfast/v1/holdfastv1connect"
)

// Config is what an exchange needs to run.
type Config struct {
	// StateDir holds the database, the CA and the server's certificate. It is made if absent,
	// readable by its owner only. One process at a time may use it.
	StateDir string

	// Guard, SignIn and Ledger are clients of Holdfast's API that carry the service key.
	// All are required.
	Guard  holdfastv1connect.GuardServiceClient
	SignIn holdfastv1connect.SignInServiceClient
	Ledger holdfastv1connect.LedgerServiceClient

	// HoldfastPages is the address of Holdfast's pages, such as http://localhost:8080.
	HoldfastPages string
	// PublicURL is this exchange's own address, such as https://localhost:8443. Holdfast sends
	// people back to PublicURL + "/callback", which must be registered there.
	PublicURL string

	// HoldfastTimeout bounds one question to Holdfast; default 2 s. Longer than that and the
	// answer is no: an order that hangs holds up everyone's.
	HoldfastTimeout time.Duration
	// WithdrawalDelay is how long a withdrawal waits before it is confirmed and sent; default
	// 2 min. It is the time in which a freeze still saves the money.
	WithdrawalDelay time.Duration
	// TransferDelay is the same for transfers to another customer; default 0, sent at once.
	TransferDelay time.Duration

	// Faucet lets signed-in visitors credit themselves. For demonstrations only: with it, money
	// means nothing.
	Faucet bool
	// TrustedProxies may name the client's address in X-Forwarded-For. Default none: with a
	// wrong entry anyone can pretend to come from an address on a key's list.
	TrustedProxies []netip.Prefix

	// Log takes operators' messages; default discards them.
	Log *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Exchange is a running exchange. Its methods may be called concurrently.
type Exchange struct {
	cfg  Config
	log  *slog.Logger
	db   *database
	leaf tls.Certificate
	ca   string

	// mu serialises everything that is decided about money. It guards books and broken.
	mu     sync.Mutex
	queue  sync.Mutex // waited in for mu; see lock
	books  map[string]*book
	broken error

	streams  *streams
	enforcer *enforcer
	outbox   *outbox
	cashier  *cashier
	limits   *limits
	replays  *replays
	visited  sync.Map // account ids that have a row

	life    context.Context
	stop    context.CancelFunc
	workers sync.WaitGroup
}

// Open opens or makes the exchange in cfg.StateDir and starts its work: following Holdfast,
// sending withdrawals that are due, reporting. It does not wait for Holdfast to answer; until
// it does, everything is refused. The exchange stops with Close, or when ctx ends.
func Open(ctx context.Context, cfg Config) (*Exchange, error) {
	if cfg.Guard == nil || cfg.SignIn == nil || cfg.Ledger == nil {
		return nil, errors.New("exchange: the clients of Holdfast are missing")
	}
	if cfg.HoldfastTimeout <= 0 {
		cfg.HoldfastTimeout = 2 * time.Second
	}
	if cfg.WithdrawalDelay <= 0 {
		cfg.WithdrawalDelay = 2 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("exchange: %w", err)
	}
	x := &Exchange{cfg: cfg, log: cfg.Log, streams: newStreams(), enforcer: newEnforcer(), outbox: newOutbox(),
		cashier: newCashier(), limits: &limits{used: map[string]int{}}}
	now := x.now()
	x.replays = &replays{started: now.Truncate(time.Millisecond), until: map[string]time.Time{}}
	var err error
	if x.leaf, x.ca, err = certificates(cfg.StateDir, now); err != nil {
		return nil, fmt.Errorf("exchange: certificates: %w", err)
	}
	if x.db, err = openDatabase(ctx, filepath.Join(cfg.StateDir, "exchange.db")); err != nil {
		return nil, fmt.Errorf("exchange: %w", err)
	}
	if err := errors.Join(x.loadBooks(ctx), x.loadEpochs(ctx), x.abandonRequests(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("exchange: %w", err), x.db.close())
	}
	x.life, x.stop = context.WithCancel(ctx)
	for _, work := range []func(context.Context, *Exchange){
		x.enforcer.run, x.enforcer.deliver, x.outbox.run, x.cashier.run, x.streams.guard,
	} {
		x.workers.Go(func() { work(x.life, x) })
	}
	return x, nil
}

// CAFile is the path of the CA certificate (PEM) that clients must trust.
func (x *Exchange) CAFile() string { return x.ca }

// Linked reports whether the stream of Holdfast's closings is alive, that is, whether this
// exchange would hear of a freeze now.
func (x *Exchange) Linked() bool { return x.enforcer.linked(x.now()) }

// Handler serves the API, the WebSocket API and the pages.
func (x *Exchange) Handler() http.Handler {
	mux := http.NewServeMux()
	x.apiRoutes(mux)
	mux.HandleFunc("GET /ws-api/v3", x.serveStream)
	mux.HandleFunc("GET /ws-api/v3/", x.serveStream)
	x.pageRoutes(mux)
	return mux
}

// Serve serves Handler over TLS on l until ctx ends, and then gives open requests a few
// seconds. It closes l.
func (x *Exchange) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           x.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(x.log.Handler(), slog.LevelDebug),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{x.leaf}, MinVersion: tls.VersionTLS12},
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	case <-x.life.Done():
	}
	x.streams.terminate(x.now(), func(*subscription) bool { return true })
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := server.Shutdown(closing)
	<-ended
	return err
}

// Close stops the exchange's work and closes its database. What it still owes Holdfast is
// kept and sent after the next Open. Close the listeners first.
func (x *Exchange) Close() error {
	x.stop()
	x.workers.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.db.close()
}
