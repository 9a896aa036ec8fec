package page

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"
)

// MaxBody is the most that a request's body may hold.
const MaxBody = 1 << 20

// Policy is the content policy of every page: nothing from elsewhere, nothing inline, no
// frame around it, forms only to us.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"manifest-src 'self'; worker-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Sandbox marks an answer as a document that we did not write, such as a mail's HTML part, to
// be shown in a frame of our own: it may style itself, and do nothing.
func Sandbox(w http.ResponseWriter) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox")
	w.Header().Set("X-Frame-Options", "SAMEORIGIN")
}

// AllowFormTo lets the forms of this one page lead on to another origin after our own
// answer. Browsers hold a redirect after a form against form-action too, so a sign-in that
// ends at a registered platform needs it. The caller must have checked the origin against
// what is registered; it is refused here only when it could carry a second directive.
func AllowFormTo(w http.ResponseWriter, origin string) {
	if strings.ContainsAny(origin, " ;,'\"") {
		return
	}
	w.Header().Set("Content-Security-Policy", strings.Replace(Policy, "form-action 'self'", "form-action 'self' "+origin, 1))
}

type requestKey struct{}

// RequestID is the id of the request, which a person can quote and an operator can search.
// It is empty outside Protect.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

func newRequestID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	s := base32.StdEncoding.EncodeToString(b[:])
	return s[:4] + "-" + s[4:]
}

// Protect puts around a door's mux what every request needs: an id, one log line, the
// security headers, a limit on the body, only form posts, only from our own pages, and the
// error page for paths and methods that do not exist. https says that browsers reach us by
// TLS, here or at a proxy; it adds Strict-Transport-Security.
func (s *Set) Protect(mux *http.ServeMux, https bool) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Fail(w, r, CrossSite) }))
	inner := crossOrigin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.route(mux, w, r) }))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := newRequestID()
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, id))
		head(w.Header(), id, https)
		seen := &statusWriter{ResponseWriter: w}
		defer func() {
			if cause := recover(); cause != nil {
				if cause == http.ErrAbortHandler {
					panic(cause) // net/http's own word for "drop the connection"
				}
				s.log.ErrorContext(r.Context(), "handler broke off", "request", id, "cause", fmt.Sprint(cause))
				if seen.status == 0 {
					s.Fail(seen, r, Failed)
				}
			}
			// The pattern, not the path: paths of links carry their tokens.
			s.log.LogAttrs(r.Context(), slog.LevelInfo, "request", slog.String("request", id), slog.String("method", r.Method),
				slog.String("pattern", r.Pattern), slog.Int("status", seen.status), slog.Duration("took", time.Since(start)))
		}()
		if r.Method == http.MethodPost && !isForm(r) {
			s.Fail(seen, r, NotAForm)
			return
		}
		r.Body = http.MaxBytesReader(seen, r.Body, MaxBody)
		inner.ServeHTTP(seen, r)
	})
}

func isForm(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/x-www-form-urlencoded"
}

// route hands the request to the mux, and says in our own words when the mux has nothing.
func (s *Set) route(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	h, pattern := mux.Handler(r)
	if pattern != "" {
		if r.Method == http.MethodPost {
			if err := r.ParseForm(); err != nil {
				s.Fail(w, r, Unreadable)
				return
			}
		}
		mux.ServeHTTP(w, r)
		return
	}
	refusal := &statusWriter{ResponseWriter: discard{http.Header{}}}
	h.ServeHTTP(refusal, r)
	switch refusal.status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", refusal.Header().Get("Allow"))
		s.Fail(w, r, WrongMethod)
	case http.StatusMovedPermanently, http.StatusPermanentRedirect, http.StatusTemporaryRedirect:
		h.ServeHTTP(w, r)
	default:
		s.Fail(w, r, Missing)
	}
}

func head(h http.Header, id string, https bool) {
	h.Set("X-Request-Id", id)
	h.Set("Content-Security-Policy", Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	// Not "no-referrer": that makes browsers send "Origin: null" with our own forms, which
	// old ones without Sec-Fetch-Site then cannot tell from a stranger's.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	if https {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// statusWriter remembers the status for the log line.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// discard takes the mux's own refusal, of which only the status is wanted.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
