package api

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"holdfast/store"
)

// request is what is known of one request, for its answer and its line in the log. It belongs to
// the request's goroutine.
type request struct {
	id      string
	address string // the client's, as a trusted party gave it
	actor   string
	code    string
	cause   error
	reply   *reply
}

type requestKey struct{}

// requestOf returns the request of a context that ServeHTTP made.
func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// reply remembers what was answered.
type reply struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *reply) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *reply) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Flush implements http.Flusher, which streams need.
func (w *reply) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP gives a request its id and its line in the log, and turns a panic into an answer.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	q := &request{id: store.NewID(), address: a.clientAddress(r), reply: &reply{ResponseWriter: w}}
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, q))
	h := w.Header()
	h.Set(headerRequest, q.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if !streams(r.URL.Path) {
		// A body that trickles in holds a connection no longer than a call may take. Where the
		// server cannot set it, its own limits stand.
		_ = http.NewResponseController(w).SetReadDeadline(began.Add(a.c.Timeout))
	}
	defer func() {
		broken := recover()
		if broken != nil && broken != http.ErrAbortHandler {
			failure := fail(r.Context(), fmt.Errorf("panic: %v", broken))
			if q.reply.status == 0 {
				_ = connect.NewErrorWriter().Write(q.reply, r, failure)
			} else {
				broken = http.ErrAbortHandler // half an answer must not look whole
			}
		}
		a.logRequest(r, q, time.Since(began))
		if broken == http.ErrAbortHandler {
			panic(broken) // net/http's own way to end a connection
		}
	}()
	a.mux.ServeHTTP(q.reply, r)
}

func (a *API) logRequest(r *http.Request, q *request, took time.Duration) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("request", q.id), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.String("client", q.address), slog.String("by", q.actor), slog.Int("status", q.reply.status),
		slog.String("code", q.code), slog.Duration("took", took),
	}
	if q.cause != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.Any("error", q.cause))
	}
	a.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// clientAddress returns the address from which the request came: the connection's, or, when that
// is a trusted proxy, the last one in X-Forwarded-For that is not a trusted proxy too. What stands
// before it was written by the client, and is not believed.
func (a *API) clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	at = at.Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && a.trusted(at); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = next.Unmap().WithZone("")
	}
	return at.String()
}

func (a *API) trusted(at netip.Addr) bool {
	return slices.ContainsFunc(a.c.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(at) })
}
