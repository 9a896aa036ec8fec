package exchange

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// call is one request to the API, read and, where the route asks for it, authenticated.
type call struct {
	ctx    context.Context
	x      *Exchange
	by     caller
	params *params
	key    *holdfastv1.AuthenticateResponse // what Holdfast said of the key
}

// route is one call of the API.
type route struct {
	pattern string // method and path
	weight  int    // against the limit per address and minute
	on      surface
	// exit to ask Holdfast about; empty for a public call.
	exit string
	// exitOf, if set, picks the exit by the parameters.
	exitOf func(*call) (string, error)
	// changes says that the call has an effect, so that a second use of the same signature is
	// refused.
	changes bool
	serve   func(*call) (any, error)
}

// routes is the whole Binance-compatible REST API.
func routes() []route {
	return []route{
		{pattern: "GET /api/v3/ping", weight: 1, serve: ping},
		{pattern: "GET /api/v3/time", weight: 1, serve: serverTime},
		{pattern: "GET /api/v3/exchangeInfo", weight: 20, serve: exchangeInfo},
		{pattern: "GET /api/v3/depth", weight: 5, serve: depth},
		{pattern: "GET /api/v3/ticker/price", weight: 4, serve: tickerPrice},
		{pattern: "GET /api/v3/account", weight: 20, exit: exitAPIKey, serve: account},
		{pattern: "POST /api/v3/order", weight: 1, exit: exitOrder, changes: true, serve: placeOrder},
		{pattern: "GET /api/v3/order", weight: 4, exit: exitAPIKey, serve: getOrder},
		{pattern: "DELETE /api/v3/order", weight: 1, on: cancelSurface, exit: exitOpenOrder, changes: true, serve: cancelOrder},
		{pattern: "GET /api/v3/openOrders", weight: 6, exit: exitAPIKey, serve: listOpenOrders},
		{pattern: "DELETE /api/v3/openOrders", weight: 1, on: cancelSurface, exit: exitOpenOrder, changes: true, serve: cancelAll},
		{pattern: "GET /api/v3/myTrades", weight: 20, exit: exitAPIKey, serve: myTrades},
		{pattern: "POST /api/v3/userDataStream", weight: 2, serve: gone},
		{pattern: "PUT /api/v3/userDataStream", weight: 2, serve: gone},
		{pattern: "DELETE /api/v3/userDataStream", weight: 2, serve: gone},

		{pattern: "GET /sapi/v1/system/status", weight: 1, serve: systemStatus},
		{pattern: "GET /sapi/v1/capital/config/getall", weight: 10, on: sapiSurface, exit: exitAPIKey, serve: coins},
		{pattern: "GET /sapi/v1/capital/deposit/address", weight: 10, on: sapiSurface, exit: exitAPIKey, serve: depositAddress},
		{pattern: "GET /sapi/v1/capital/deposit/hisrec", weight: 1, on: sapiSurface, exit: exitAPIKey, serve: depositHistory},
		{pattern: "POST /sapi/v1/capital/withdraw/apply", weight: 600, on: sapiSurface, exitOf: withdrawExit, changes: true, serve: applyWithdrawal},
		{pattern: "GET /sapi/v1/capital/withdraw/history", weight: 10, on: sapiSurface, exit: exitAPIKey, serve: withdrawHistory},
		{pattern: "GET /sapi/v1/capital/withdraw/address/list", weight: 10, on: sapiSurface, exit: exitAPIKey, serve: emptyList},
		{pattern: "GET /sapi/v1/account/status", weight: 1, on: sapiSurface, exit: exitAPIKey, serve: accountStatus},
		{pattern: "GET /sapi/v1/account/apiTradingStatus", weight: 1, on: sapiSurface, exit: exitAPIKey, serve: tradingStatus},
		{pattern: "GET /sapi/v1/account/apiRestrictions", weight: 1, on: sapiSurface, exit: exitAPIKey, serve: restrictions},
		{pattern: "POST /sapi/v1/account/disableFastWithdrawSwitch", weight: 1, on: sapiSurface, exit: exitOpenOrder, changes: true, serve: disableFast},
		{pattern: "GET /sapi/v1/margin/allPairs", weight: 1, serve: emptyList},
		{pattern: "GET /sapi/v1/margin/isolated/allPairs", weight: 10, serve: emptyList},
		{pattern: "POST /sapi/v1/userDataStream", weight: 1, serve: gone},
		{pattern: "PUT /sapi/v1/userDataStream", weight: 1, serve: gone},
		{pattern: "DELETE /sapi/v1/userDataStream", weight: 1, serve: gone},

		{pattern: "GET /fapi/v1/exchangeInfo", weight: 1, serve: noFutures},
		{pattern: "GET /dapi/v1/exchangeInfo", weight: 1, serve: noFutures},
	}
}

// apiRoutes puts the API on a mux. Paths and methods that do not exist get Binance's answer.
func (x *Exchange) apiRoutes(mux *http.ServeMux) {
	methods := map[string][]string{}
	for _, r := range routes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		methods[path] = append(methods[path], method)
		mux.Handle(r.pattern, x.handle(r))
	}
	unknown := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusNotFound
		if allowed := methods[r.URL.Path]; allowed != nil && !slices.Contains(allowed, r.Method) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			status = http.StatusMethodNotAllowed
		}
		writeError(w, fail(status, -5000, "Path "+r.URL.Path+", Method "+r.Method+" is invalid"))
	})
	for _, prefix := range []string{"/api/", "/sapi/", "/fapi/", "/dapi/"} {
		mux.Handle(prefix, unknown)
	}
}

func (x *Exchange) handle(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		used, wait := x.limits.take(x.clientAddress(req), r.weight, x.now())
		w.Header().Set("X-MBX-USED-WEIGHT-1M", strconv.Itoa(used))
		if wait > 0 {
			e := fail(http.StatusTooManyRequests, -1003, "Too much request weight used; please slow down.")
			e.retry = wait
			writeError(w, e)
			return
		}
		answer, err := x.answer(w, req, r)
		if err != nil {
			e := asAPIError(err, r.on)
			if e == errUnknown {
				x.log.Error("request failed", "route", r.pattern, "error", err)
			}
			writeError(w, e)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

// answer reads, authenticates and serves one request.
func (x *Exchange) answer(w http.ResponseWriter, req *http.Request, r route) (any, error) {
	body, err := readForm(w, req)
	if err != nil {
		return nil, err
	}
	c := &call{ctx: req.Context(), x: x}
	if c.params, err = parseParams(req.URL.RawQuery, body); err != nil {
		return nil, err
	}
	exit := r.exit
	if r.exitOf != nil {
		if exit, err = r.exitOf(c); err != nil {
			return nil, err
		}
	}
	if exit != "" {
		if err := x.authorize(c, req.Header.Get("X-MBX-APIKEY"), exit, x.origin(req), r.changes); err != nil {
			return nil, err
		}
	}
	return r.serve(c)
}

// authorize checks the time of a signed request, has Holdfast verify and decide it, and uses
// its signature up.
func (x *Exchange) authorize(c *call, keyID, exit string, origin *holdfastv1.Origin, changes bool) error {
	ask, err := c.params.authenticateRequest(keyID, exit, origin)
	if err != nil {
		return err
	}
	sent, until, err := c.params.checkTime(x.now())
	if err != nil {
		return err
	}
	c.key, err = x.authenticate(c.ctx, ask)
	if unknownCredential(err) && c.params.canonical != nil && !bytes.Equal(c.params.canonical, c.params.signed) {
		ask.Signed = c.params.canonical
		c.key, err = x.authenticate(c.ctx, ask)
	}
	if err != nil {
		return err
	}
	if changes && !x.replays.first(ask, sent, until, x.now()) {
		return errReplayed
	}
	d := c.key.GetDecision()
	c.by = caller{account: d.GetAccountId(), epoch: d.GetEpoch(), keyID: ask.GetKeyId(),
		credential: keyCredential(ask.GetKeyId()), origin: origin}
	if c.by.account == "" {
		return errUnavailable // a yes for nobody
	}
	return x.visit(c.ctx, c.by.account)
}

// visit makes sure that the account has its row; it writes only the first time.
func (x *Exchange) visit(ctx context.Context, account string) error {
	if _, known := x.visited.Load(account); known {
		return nil
	}
	err := x.db.update(ctx, x.now(), func(t *txn) error { return t.ensureUser(account, "") })
	if err == nil {
		x.visited.Store(account, true)
	}
	return err
}

// readForm returns the raw body. The official clients send a JSON content type with an empty
// body, which is fine; a body of any other type than a form is not.
func readForm(w http.ResponseWriter, req *http.Request) (string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return "", errTooLarge
		}
		return "", fail(http.StatusBadRequest, -1100, "The request could not be read.")
	}
	if len(body) == 0 {
		return "", nil
	}
	kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return "", errContentType
	}
	return string(body), nil
}

// clientAddress is the address that the request came from. A forwarded address counts only
// from a proxy named in the configuration, and then only the last hop, which the proxy wrote
// itself.
func (x *Exchange) clientAddress(req *http.Request) string {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		host = req.RemoteAddr
	}
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	peer = peer.Unmap()
	if slices.ContainsFunc(x.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(peer) }) {
		hops := req.Header.Values("X-Forwarded-For")
		if len(hops) > 0 {
			last := hops[len(hops)-1]
			if i := strings.LastIndexByte(last, ','); i >= 0 {
				last = last[i+1:]
			}
			if a, err := netip.ParseAddr(strings.TrimSpace(last)); err == nil {
				return a.Unmap().String()
			}
		}
	}
	return peer.String()
}

func (x *Exchange) origin(req *http.Request) *holdfastv1.Origin {
	agent := strings.ToValidUTF8(req.UserAgent(), "")
	if len(agent) > 512 {
		agent = strings.ToValidUTF8(agent[:512], "")
	}
	return &holdfastv1.Origin{Address: x.clientAddress(req), UserAgent: agent}
}

// replays remembers the signatures of requests with an effect for as long as their time
// window lets them be sent again. It is kept in memory: a request stamped before this
// process started is refused, so a restart opens no gap.
type replays struct {
	mu      sync.Mutex
	started time.Time
	until   map[string]time.Time
	swept   time.Time
}

// first reports whether a request is seen for the first time, and remembers it. It goes by
// the signature's bytes, not by the way they were written.
func (r *replays) first(ask *holdfastv1.AuthenticateRequest, sent, until, now time.Time) bool {
	if sent.Before(r.started) {
		return false
	}
	signature := ask.GetKeyId() + "|" + string(ask.GetSignature())
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.swept) > time.Second {
		for s, end := range r.until {
			if now.After(end) {
				delete(r.until, s)
			}
		}
		r.swept = now
	}
	if _, seen := r.until[signature]; seen {
		return false
	}
	r.until[signature] = until
	return true
}

// limits is the weight used by each address in the current minute.
type limits struct {
	mu     sync.Mutex
	minute int64
	used   map[string]int
}

// weightLimit is Binance's for one address and minute.
const weightLimit = 60000

// take counts a request and returns the weight used, and how long to wait if it is too much.
func (l *limits) take(address string, weight int, now time.Time) (used int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := now.Unix() / 60; m != l.minute {
		l.minute, l.used = m, map[string]int{}
	}
	l.used[address] += weight
	if l.used[address] > weightLimit {
		wait = now.Truncate(time.Minute).Add(time.Minute).Sub(now)
	}
	return l.used[address], wait
}
