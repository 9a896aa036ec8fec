// Package api is the face that programs see: Connect's handlers for the contract in holdfast/v1,
// which speak gRPC, gRPC-Web and plain JSON POST alike.
//
// It parses, calls a room and shapes the answer; it decides nothing itself. What can go wrong here
// is an answer to somebody who may not have it, so who calls is known before a byte of the message
// is read: every method names the scope of the service key, or the session, that it needs, and a
// method that names none is not served. A service key is looked up in the database at every call,
// so that a removed one stops at once. What failed inside is written to the log under the
// request's id; the caller is told the kind, a code word, a sentence and that id.
//
// The package refuses bodies over 1 MiB, to believe a forwarded address from anyone but a
// configured proxy, and to let an integrator speak for another: external ids, credentials,
// withdrawals and platform sessions belong to the service that made them. An account by its own id
// is one platform's, and every service of the platform may name it.
package api

import (
	"context"
	_ "embed"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"connectrpc.com/connect"

	"holdfast/account"
	"holdfast/api/holdfast/v1/holdfastv1connect"
	"holdfast/detect"
	"holdfast/guard"
	"holdfast/store"
)

// Config is what the API stands on.
type Config struct {
	DB       *store.DB
	Accounts *account.Accounts
	Guard    *guard.Guard
	Detect   *detect.Detect
	Log      *slog.Logger
	// TrustedProxies are the addresses from which X-Forwarded-For is believed; none by default.
	// An address that is not a proxy of ours could otherwise write itself another origin, and
	// with it the tries of somebody else.
	TrustedProxies []netip.Prefix
	// Timeout ends a call that is not a stream; 15 s when zero. A client that went away would
	// otherwise hold a connection of the database.
	Timeout time.Duration
	// Heartbeat is how often a stream says that it is alive and asks whether its key still is;
	// 2 s when zero, 5 s at most. An enforcer tells a lost stream by its silence.
	Heartbeat time.Duration
}

const (
	maxBody      = 1 << 20
	maxHeader    = 16 << 10
	maxHeartbeat = 5 * time.Second
	maxStreams   = 32 // of one service; one for each of its programs
)

// API serves the contract. It is safe for concurrent use.
type API struct {
	c        Config
	log      *slog.Logger
	mux      *http.ServeMux
	draining chan struct{} // closed when the server is to stop
	drain    sync.Once

	mu      sync.Mutex
	streams map[string]int // open streams of each service; guarded by mu
}

//go:embed openapi/holdfast.json
var openapi []byte

// New returns the handlers of every service, GET /healthz, which says 200 while the database
// answers, and GET /openapi.json.
func New(c Config) *API {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 2 * time.Second
	}
	c.Heartbeat = min(c.Heartbeat, maxHeartbeat)
	a := &API{c: c, log: c.Log, mux: http.NewServeMux(), draining: make(chan struct{}), streams: map[string]int{}}
	options := connect.WithHandlerOptions(
		connect.WithReadMaxBytes(maxBody),
		connect.WithRequestGate(a.admit),
		connect.WithInterceptors(translate{a}),
	)
	a.mux.Handle(holdfastv1connect.NewGuardServiceHandler(guardService{a}, options))
	a.mux.Handle(holdfastv1connect.NewAccountServiceHandler(accountService{a}, options))
	a.mux.Handle(holdfastv1connect.NewSignInServiceHandler(signInService{a}, options))
	a.mux.Handle(holdfastv1connect.NewLedgerServiceHandler(ledgerService{a}, options))
	a.mux.Handle(holdfastv1connect.NewHolderServiceHandler(holderService{a}, options))
	a.mux.HandleFunc("GET /healthz", a.health)
	a.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openapi) // a reader who went away needs no answer
	})
	return a
}

func (a *API) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := a.c.DB.Ping(ctx); err != nil {
		a.log.LogAttrs(ctx, slog.LevelError, "the database does not answer", slog.Any("error", err))
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("the database does not answer\n"))
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// Drain ends every stream, with an answer that tells its client to come back. Call it when the
// server is to stop; Server does.
func (a *API) Drain() { a.drain.Do(func() { close(a.draining) }) }

// Server returns a server for the handlers with the limits that they count on: 16 KiB of header
// (net/http adds 4 KiB of its own), no slow headers, HTTP/2 also without TLS, because gRPC needs
// it, and streams that end at Shutdown.
func (a *API) Server() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler:           a,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		Protocols:         protocols,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	srv.RegisterOnShutdown(a.Drain)
	return srv
}
