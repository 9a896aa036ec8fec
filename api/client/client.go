// Package client is how a platform's program talks to Holdfast.
//
// It makes and renews the service tokens that every call carries, offers the typed clients of the
// contract, follows closings without a gap, and answers a check with a plain yes or no. What can go
// wrong on this side of the network is to go on when Holdfast cannot be asked: so Allowed says no
// whenever there is no clear yes, Follow ends with an error rather than pretend to listen, and
// nothing here keeps an answer for later. An answer counts for the moment in which it was given.
//
// The package refuses plain HTTP to another machine, and redirects: the token would go where it
// must not. It imports nothing of Holdfast but the contract.
package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"holdfast/api/holdfast/v1/holdfastv1connect"
)

// Config says where Holdfast is and who calls.
type Config struct {
	// URL of the API, such as https://holdfast.example; that of the key file when empty.
	URL string
	// KeyFile is the file that "holdfast service add NAME" printed; Key takes its place.
	KeyFile string
	Key     *Key
	// HTTP carries the calls; a client of its own when nil. It must not have a Timeout, which would
	// end Follow: give each call a context with a deadline instead.
	HTTP *http.Client
	// AllowPlainHTTP permits http:// to another machine than this one. Off by default: whoever
	// reads the network could use a token until it expires. For a network that is encrypted below.
	AllowPlainHTTP bool
	// Log takes what Allowed and Follow swallow; slog.Default when nil.
	Log *slog.Logger
}

// Key is a service key.
type Key struct {
	Service string
	ID      string
	Private ed25519.PrivateKey
}

// keyFile is a Key as "holdfast service add" prints it.
type keyFile struct {
	Service    string `json:"service"`
	KeyID      string `json:"key_id"`
	PrivateKey string `json:"private_key"`
	URL        string `json:"url"`
}

// ReadKeyFile reads a key file, and the API's address that it names.
func ReadKeyFile(name string) (Key, string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return Key{}, "", fmt.Errorf("client: %w", err)
	}
	var f keyFile
	if err := json.Unmarshal(text, &f); err != nil {
		return Key{}, "", fmt.Errorf("client: %s is not a key file: %w", name, err)
	}
	seed, err := base64.StdEncoding.DecodeString(f.PrivateKey)
	if err != nil || len(seed) != ed25519.SeedSize || f.Service == "" || f.KeyID == "" {
		return Key{}, "", fmt.Errorf("client: %s is not a key file: it needs service, key_id and a private_key of %d bytes in base64", name, ed25519.SeedSize)
	}
	return Key{Service: f.Service, ID: f.KeyID, Private: ed25519.NewKeyFromSeed(seed)}, f.URL, nil
}

// Client calls Holdfast. It is safe for concurrent use.
type Client struct {
	Guard    holdfastv1connect.GuardServiceClient
	Accounts holdfastv1connect.AccountServiceClient
	SignIn   holdfastv1connect.SignInServiceClient
	Ledger   holdfastv1connect.LedgerServiceClient

	http *http.Client
	url  string
	log  *slog.Logger
}

// New returns a client. It makes no call: a wrong key shows at the first one.
func New(c Config) (*Client, error) {
	var key Key
	switch {
	case c.Key != nil:
		key = *c.Key
	case c.KeyFile != "":
		k, at, err := ReadKeyFile(c.KeyFile)
		if err != nil {
			return nil, err
		}
		if key = k; c.URL == "" {
			c.URL = at
		}
	default:
		return nil, errors.New("client: a service key is needed: set KeyFile or Key")
	}
	if len(key.Private) != ed25519.PrivateKeySize || key.ID == "" || key.Service == "" {
		return nil, errors.New("client: the service key is not complete")
	}
	at, err := url.Parse(c.URL)
	if err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http" || at.User != nil || at.RawQuery != "" || at.Fragment != "" {
		return nil, fmt.Errorf("client: %q is not the address of an API: it should look like https://holdfast.example", c.URL)
	}
	if at.Scheme == "http" && !c.AllowPlainHTTP && !loopback(at.Hostname()) {
		return nil, fmt.Errorf("client: %s is not encrypted: use https, or AllowPlainHTTP on a network that is", c.URL)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	hc := http.Client{Transport: transport()}
	if c.HTTP != nil {
		hc = *c.HTTP
	}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	out := &Client{http: &hc, url: strings.TrimRight(c.URL, "/"), log: c.Log}
	signed := connect.WithInterceptors(&bearer{token: (&tokens{key: key}).token})
	out.Guard = holdfastv1connect.NewGuardServiceClient(out.http, out.url, signed)
	out.Accounts = holdfastv1connect.NewAccountServiceClient(out.http, out.url, signed)
	out.SignIn = holdfastv1connect.NewSignInServiceClient(out.http, out.url, signed)
	out.Ledger = holdfastv1connect.NewLedgerServiceClient(out.http, out.url, signed)
	return out, nil
}

// transport keeps connections open between calls: by default net/http keeps two to a host, and a
// platform that asks before each order would spend its time on new ones.
func transport() http.RoundTripper {
	usual, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport // the program has put its own in place
	}
	t := usual.Clone()
	t.MaxIdleConnsPerHost = t.MaxIdleConns
	return t
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// Holder returns a client for a holder's own calls, with the session that SignIn gave; an empty
// session serves for SignIn itself and for freezing without one. No service key goes with it.
func (c *Client) Holder(session string) holdfastv1connect.HolderServiceClient {
	return Holder(c.http, c.url, session)
}

// Holder is Client.Holder for a program that has no service key, such as a holder's app.
func Holder(hc connect.HTTPClient, url, session string) holdfastv1connect.HolderServiceClient {
	var with []connect.ClientOption
	if session != "" {
		with = append(with, connect.WithInterceptors(&bearer{token: func() (string, error) { return session, nil }}))
	}
	return holdfastv1connect.NewHolderServiceClient(hc, strings.TrimRight(url, "/"), with...)
}

// CodeOf returns the stable word with which Holdfast explains a failed call, such as "frozen" or
// "idempotency_key"; empty when the failure is not Holdfast's own.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return e.Meta().Get("Holdfast-Code")
	}
	return ""
}

// UntilOf returns when the refusal of a failed call ends by itself, and whether it does.
func UntilOf(err error) (time.Time, bool) {
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return time.Time{}, false
	}
	until, errParse := time.Parse(time.RFC3339Nano, e.Meta().Get("Holdfast-Until"))
	return until, errParse == nil
}

// RequestOf returns the id that Holdfast gave to a failed call, to quote to who runs it.
func RequestOf(err error) string {
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return e.Meta().Get("Holdfast-Request")
	}
	return ""
}

// bearer puts a token on every call.
type bearer struct{ token func() (string, error) }

// WrapUnary implements connect.Interceptor.
func (b *bearer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		token, err := b.token()
		if err != nil {
			return nil, err
		}
		req.Header().Set("Authorization", "Bearer "+token)
		return next(ctx, req)
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (b *bearer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		if token, err := b.token(); err == nil { // without one the call is refused
			conn.RequestHeader().Set("Authorization", "Bearer "+token)
		}
		return conn
	}
}

// WrapStreamingHandler implements connect.Interceptor; nothing is handled here.
func (b *bearer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

const (
	tokenLife  = 4 * time.Minute // Holdfast takes 5 at most; the rest is for clocks that differ
	tokenSpare = time.Minute     // renewed when less is left
)

// tokens makes service tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037).
type tokens struct {
	key Key

	mu   sync.Mutex
	last string    // guarded by mu
	ends time.Time // of last; guarded by mu
}

// token returns a token that will live for a while yet.
func (t *tokens) token() (string, error) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ends.Sub(now) > tokenSpare && t.ends.Sub(now) <= tokenLife { // a clock that was set back makes a new one
		return t.last, nil
	}
	ends := now.Add(tokenLife)
	head, err := json.Marshal(map[string]string{"alg": "EdDSA", "typ": "JWT", "kid": t.key.ID})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]any{
		"iss": t.key.Service, "aud": "holdfast", "iat": now.Unix(), "exp": ends.Unix(), "jti": rand.Text(),
	})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	text += "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(t.key.Private, []byte(text)))
	t.last, t.ends = text, ends
	return text, nil
}
