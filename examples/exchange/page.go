package exchange

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	holdfastv1 "holdfast/api/holdfast/v1"
)

//go:embed pages
var pageFiles embed.FS

var pageTemplates = template.Must(template.New("").Funcs(template.FuncMap{
	"plain":   func(a Amount) string { return a.String() },
	"grouped": grouped,
	"when":    func(t time.Time) string { return t.Format("2 Jan 2006 15:04:05 UTC") },
	"short": func(s string) string {
		if len(s) <= 20 {
			return s
		}
		return s[:8] + "…" + s[len(s)-6:]
	},
}).ParseFS(pageFiles, "pages/*.html"))

// grouped puts a comma between groups of three digits: "25000.5" becomes "25,000.5".
func grouped(s string) string {
	whole, fraction, pointed := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if pointed {
		return whole + "." + fraction
	}
	return whole
}

const (
	// sessionCookie carries Holdfast's platform session. This exchange keeps only its hash.
	sessionCookie = "__Host-harbour"
	// beginCookie marks a browser that began to sign in here, so that a stranger's link cannot
	// sign a visitor in to the stranger's account.
	beginCookie = "__Host-harbour-begin"
)

// pageRoutes are all pages of the exchange for people.
func (x *Exchange) pageRoutes(mux *http.ServeMux) {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", x.marketPage)
	pages.HandleFunc("GET /harbour.css", stylesheet)
	pages.HandleFunc("GET /sign-in", x.beginSignIn)
	pages.HandleFunc("GET /callback", x.finishSignIn)
	pages.HandleFunc("POST /sign-out", x.signOut)
	pages.HandleFunc("GET /wallet", x.walletPage)
	pages.HandleFunc("POST /orders", x.postOrder)
	pages.HandleFunc("POST /orders/cancel", x.postCancel)
	pages.HandleFunc("POST /withdraw", x.postWithdraw)
	if x.cfg.Faucet {
		pages.HandleFunc("POST /faucet", x.postFaucet)
	}
	safe := http.NewCrossOriginProtection().Handler(pages)
	mux.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Strict-Transport-Security", "max-age=86400")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		safe.ServeHTTP(w, r)
	}))
}

func stylesheet(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=3600")
	http.ServeFileFS(w, r, pageFiles, "pages/harbour.css")
}

// view is what every page shows.
type view struct {
	Title    string
	Signed   bool
	Mail     string
	Holdfast string // address of Holdfast's pages
	Faucet   bool
	Said     string // one line on what just happened
	Failed   bool   // and whether it is bad news
	Page     any
}

func (x *Exchange) show(w http.ResponseWriter, status int, name string, v view) {
	v.Holdfast, v.Faucet = x.cfg.HoldfastPages, x.cfg.Faucet
	var page bytes.Buffer
	if err := pageTemplates.ExecuteTemplate(&page, name, v); err != nil {
		x.log.Error("page failed", "page", name, "error", err)
		http.Error(w, "This page could not be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // the visitor has gone; nothing to tell them
}

// notice shows a page with one sentence.
func (x *Exchange) notice(w http.ResponseWriter, status int, title, sentence string, signed bool) {
	x.show(w, status, "notice.html", view{Title: title, Signed: signed, Said: sentence, Failed: status >= 400})
}

func hashSession(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

// visitor is a signed-in person, allowed by Holdfast for this request.
type visitor struct {
	caller
	mail string
}

var errSignedOut = errors.New("not signed in")

// visitorOf finds out who sends the request and asks Holdfast whether the session may do
// what exit names.
func (x *Exchange) visitorOf(r *http.Request, exit string) (visitor, error) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || cookie.Value == "" {
		return visitor{}, errSignedOut
	}
	v := visitor{caller: caller{credential: sessionCredential(cookie.Value), origin: x.origin(r)}}
	err = x.db.read.QueryRowContext(r.Context(), `SELECT s.account_id, u.mail FROM sessions s
		JOIN users u ON u.account_id = s.account_id WHERE s.hash = $1 AND s.expires_at > $2`,
		hashSession(cookie.Value), micros(x.now())).Scan(&v.account, &v.mail)
	if errors.Is(err, sql.ErrNoRows) {
		return v, errSignedOut
	}
	if err != nil {
		return v, err
	}
	v.epoch, err = x.check(r.Context(), v.account, v.credential, exit, v.origin)
	return v, err
}

// refuse answers a request whose visitor may not do what they asked.
func (x *Exchange) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var no *refusal
	switch {
	case errors.Is(err, errSignedOut):
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case errors.As(err, &no):
		switch no.decision.GetVerdict() {
		case holdfastv1.Verdict_VERDICT_FROZEN, holdfastv1.Verdict_VERDICT_HELD, holdfastv1.Verdict_VERDICT_TOO_MANY:
			title := "This is blocked for now"
			if no.decision.GetVerdict() == holdfastv1.Verdict_VERDICT_FROZEN {
				title = "Your account is frozen"
			}
			x.notice(w, http.StatusForbidden, title, no.decision.GetSentence(), false)
		default:
			http.SetCookie(w, endCookie(sessionCookie))
			x.notice(w, http.StatusUnauthorized, "You are signed out", "Sign in again.", false)
		}
	case errors.Is(err, errUnavailable):
		x.notice(w, http.StatusServiceUnavailable, "We cannot do this right now",
			"We could not check your account's protection, so nothing was done. Try again in a minute.", false)
	default:
		x.log.Error("page request failed", "path", r.URL.Path, "error", err)
		x.notice(w, http.StatusInternalServerError, "Something went wrong",
			"We are not sure whether this was done. Look at your wallet before you try again.", false)
	}
}

func endCookie(name string) *http.Cookie {
	return &http.Cookie{Name: name, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
}

func (x *Exchange) beginSignIn(w http.ResponseWriter, r *http.Request) {
	state := newID()
	http.SetCookie(w, &http.Cookie{Name: beginCookie, Value: state, Path: "/", MaxAge: 900, HttpOnly: true, Secure: true,
		SameSite: http.SameSiteLaxMode})
	back := strings.TrimSuffix(x.cfg.PublicURL, "/") + "/callback"
	http.Redirect(w, r, strings.TrimSuffix(x.cfg.HoldfastPages, "/")+"/sign-in?return_to="+url.QueryEscape(back)+"&state="+url.QueryEscape(state), http.StatusSeeOther)
}

// finishSignIn redeems the one-time code that Holdfast sent the browser back with. The state must be
// the one that this browser was sent away with: otherwise somebody could have it follow a link of
// their own and sign in to their account.
func (x *Exchange) finishSignIn(w http.ResponseWriter, r *http.Request) {
	begun, err := r.Cookie(beginCookie)
	if err != nil || begun.Value == "" || subtle.ConstantTimeCompare([]byte(begun.Value), []byte(r.URL.Query().Get("state"))) != 1 {
		x.notice(w, http.StatusBadRequest, "Sign-in was not finished", "Start again from this page.", false)
		return
	}
	http.SetCookie(w, endCookie(beginCookie))
	code := r.URL.Query().Get("code")
	if code == "" || len(code) > 512 {
		x.notice(w, http.StatusBadRequest, "Sign-in was not finished", "Start again from this page.", false)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), x.cfg.HoldfastTimeout)
	defer cancel()
	answer, err := x.cfg.SignIn.Redeem(ctx, connect.NewRequest(&holdfastv1.RedeemRequest{Code: code}))
	if err != nil {
		x.log.Info("sign-in code was not redeemed", "error", err)
		x.notice(w, http.StatusForbidden, "Sign-in was not finished", "The code has run out or was used. Sign in again.", false)
		return
	}
	m := answer.Msg
	err = x.db.update(r.Context(), x.now(), func(t *txn) error {
		if err := t.ensureUser(m.GetAccountId(), m.GetMail()); err != nil {
			return err
		}
		if err := t.exec(`DELETE FROM sessions WHERE expires_at < $1`, micros(t.now)); err != nil {
			return err
		}
		return t.exec(`INSERT INTO sessions (hash, account_id, session_id, expires_at) VALUES ($1, $2, $3, $4)`,
			hashSession(m.GetSession()), m.GetAccountId(), m.GetSessionId(), micros(m.GetExpiresAt().AsTime()))
	})
	if err != nil {
		x.refuse(w, r, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: m.GetSession(), Path: "/", Expires: m.GetExpiresAt().AsTime(),
		HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/wallet", http.StatusSeeOther)
}

func (x *Exchange) signOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), x.cfg.HoldfastTimeout)
		defer cancel()
		if _, err := x.cfg.SignIn.EndSession(ctx, connect.NewRequest(&holdfastv1.EndSessionRequest{Session: cookie.Value})); err != nil {
			x.log.Warn("session was not ended at holdfast", "error", err)
		}
		err := x.db.update(r.Context(), x.now(), func(t *txn) error {
			return t.exec(`DELETE FROM sessions WHERE hash = $1`, hashSession(cookie.Value))
		})
		if err != nil {
			x.refuse(w, r, err)
			return
		}
	}
	http.SetCookie(w, endCookie(sessionCookie))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

type marketRow struct {
	Symbol, Base, Quote string
	Last                Amount
	Bid, Ask            []level
}

// Price and Quantity let templates read a level.
func (l level) Price() string    { return l.price.String() }
func (l level) Quantity() string { return l.quantity.String() }

func (x *Exchange) marketPage(w http.ResponseWriter, r *http.Request) {
	var rows []marketRow
	for _, s := range symbols {
		last, err := x.lastPrice(r.Context(), s)
		if err != nil {
			x.refuse(w, r, err)
			return
		}
		x.lock()
		rows = append(rows, marketRow{s.name, s.base, s.quote, last, x.books[s.name].depth(buy, 3), x.books[s.name].depth(sell, 3)})
		x.mu.Unlock()
	}
	cookie, err := r.Cookie(sessionCookie)
	x.show(w, http.StatusOK, "market.html", view{Title: "Markets", Signed: err == nil && cookie.Value != "", Page: rows})
}

// walletView is what the wallet page shows of an account.
type walletView struct {
	Balances    []balanceRow
	Orders      []orderRow
	Withdrawals []withdrawalRow
	Symbols     []string
	Assets      []string
	// Token makes a form that is sent twice count once.
	Token string
}

type balanceRow struct {
	Asset, Title, Free, Locked, Address string
}

type orderRow struct {
	ID                                    int64
	Symbol, Side, Price, Quantity, Filled string
	At                                    time.Time
}

type withdrawalRow struct {
	At                                          time.Time
	Kind, Asset, Amount, Address, State, Reason string
}

func (x *Exchange) walletPage(w http.ResponseWriter, r *http.Request) {
	v, err := x.visitorOf(r, exitSession)
	if err != nil {
		x.refuse(w, r, err)
		return
	}
	page, err := x.walletOf(r.Context(), v.account)
	if err != nil {
		x.refuse(w, r, err)
		return
	}
	said := sayings[r.URL.Query().Get("said")]
	x.show(w, http.StatusOK, "wallet.html", view{Title: "Wallet", Signed: true, Mail: v.mail, Said: said, Page: page})
}

// sayings are the outcomes that a redirect may carry: fixed words only.
var sayings = map[string]string{
	"placed":    "Your order was placed.",
	"cancelled": "Your order was cancelled.",
	"withdrawn": "Your withdrawal was accepted. It is sent when its waiting time is over.",
	"sent":      "Your transfer was accepted.",
	"credited":  "The test money is in your account.",
}

func (x *Exchange) walletOf(ctx context.Context, account string) (walletView, error) {
	page := walletView{Token: newID()}
	all, err := x.balances(ctx, account)
	if err != nil {
		return page, err
	}
	for i, a := range assets {
		address, err := x.DepositAddress(ctx, account, a.name)
		if err != nil {
			return page, err
		}
		page.Balances = append(page.Balances, balanceRow{a.name, a.title, all[i].free.String(), all[i].locked.String(), address})
		page.Assets = append(page.Assets, a.name)
	}
	for _, s := range symbols {
		page.Symbols = append(page.Symbols, s.name)
	}
	open, err := openOrders(ctx, x.db.read, account, "")
	if err != nil {
		return page, err
	}
	slices.Reverse(open)
	for _, o := range open {
		page.Orders = append(page.Orders, orderRow{o.id, o.symbol.name, strings.ToLower(o.side.String()), o.price.String(),
			o.quantity.String(), o.filled.String(), o.created})
	}
	moved, err := x.withdrawals(ctx, account, 20)
	if err != nil {
		return page, err
	}
	for _, w := range moved {
		kind := "Withdrawal"
		if w.internal {
			kind = "Transfer"
		}
		page.Withdrawals = append(page.Withdrawals, withdrawalRow{w.created, kind, w.asset.name, w.amount.String(), w.address,
			stateWords[w.state], w.reason})
	}
	return page, nil
}

var stateWords = map[string]string{
	withdrawalRequesting: "Being checked",
	withdrawalPending:    "Waiting",
	withdrawalSent:       "Sent",
	withdrawalDone:       "Sent",
	withdrawalCancelled:  "Stopped, your money stayed here",
	withdrawalRejected:   "Refused, your money stayed here",
	withdrawalFailed:     "Not sent, your money stayed here",
}
