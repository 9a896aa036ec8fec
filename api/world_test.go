package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"holdfast/account"
	"holdfast/api"
	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/api/holdfast/v1/holdfastv1connect"
	"holdfast/detect"
	"holdfast/evidence"
	"holdfast/guard"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
)

const (
	mail     = "holder@holdfast.test"
	password = "Correct-Horse-7-Battery"
	home     = "192.0.2.7"
)

var operator = evidence.Actor{Kind: evidence.Operator, ID: "ana"}

// inbox is a mail server that keeps what it is sent.
type inbox chan notice.Mail

func (in inbox) Send(ctx context.Context, m notice.Mail) error {
	select {
	case in <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// journal is where the log goes.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// world is one server on a database, reached over the network only, and the rooms behind it for
// what the API cannot do.
type world struct {
	t        testing.TB
	db       *store.DB
	door     *permit.Door
	accounts *account.Accounts
	guard    *guard.Guard
	post     *notice.Post
	inbox    inbox
	log      *journal
	api      *api.API
	server   *http.Server
	url      string
}

// open starts a server on port 0.
func open(t testing.TB, db *store.DB, change ...func(*api.Config)) *world {
	t.Helper()
	w := &world{t: t, db: db, inbox: make(inbox, 1000), log: &journal{}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	w.door = permit.NewDoor(db, log)
	must(t, w.door.Platform(t.Context()))
	var err error
	w.post, err = notice.NewPost(db, notice.Config{House: notice.House{Base: "https://holdfast.test"}, Sender: w.inbox, Poll: 50 * time.Millisecond})
	must(t, err)
	w.accounts, err = account.New(w.door, w.post, account.Config{WithdrawWait: time.Microsecond, Cost: account.Cost{Memory: 64, Passes: 1, Lanes: 1}, Log: log})
	must(t, err)
	signs := detect.New(w.door, w.post)
	w.guard, err = guard.New(w.door, w.accounts, w.post, signs, log, guard.Config{Poll: 20 * time.Millisecond})
	must(t, err)
	w.door.Join(w.accounts, w.guard)
	w.guard.HandleReports()
	must(t, w.post.Start(context.WithoutCancel(t.Context())))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		must(t, w.post.Stop(ctx))
	})
	c := api.Config{DB: db, Accounts: w.accounts, Guard: w.guard, Detect: signs, Log: log, Heartbeat: 50 * time.Millisecond,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	for _, f := range change {
		f(&c)
	}
	w.api = api.New(c)
	w.server = w.api.Server()
	line, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.url = "http://" + line.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- w.server.Serve(line) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		must(t, w.server.Shutdown(ctx))
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return w
}

// each runs f against a server on each engine.
func each(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { f(t, open(t, db)) })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// service makes a service with all scopes, or those given, and the client of its key file.
func (w *world) service(name string, scopes ...string) (*client.Client, account.ServiceKey) {
	w.t.Helper()
	if len(scopes) == 0 {
		scopes = account.ServiceScopes
	}
	k, err := account.AddService(w.t.Context(), w.door, operator, name, scopes, nil)
	must(w.t, err)
	return w.client(k), k
}

func (w *world) client(k account.ServiceKey) *client.Client {
	w.t.Helper()
	c, err := client.New(client.Config{URL: w.url, Key: private(w.t, k), HTTP: w.http(), Log: slog.New(slog.DiscardHandler)})
	must(w.t, err)
	return c
}

// http returns a client whose connections end with the test.
func (w *world) http() *http.Client {
	line := &http.Transport{}
	w.t.Cleanup(line.CloseIdleConnections)
	return &http.Client{Transport: line}
}

func private(t testing.TB, k account.ServiceKey) *client.Key {
	t.Helper()
	seed, err := base64.StdEncoding.DecodeString(k.Seed.Reveal())
	must(t, err)
	return &client.Key{Service: k.Service, ID: k.ID, Private: ed25519.NewKeyFromSeed(seed)}
}

// holder is a person with an account that Holdfast keeps.
type holder struct {
	id   account.ID
	mail string
	code string // the freeze code
	app  holdfastv1connect.HolderServiceClient
	// session is of the holder's pages; made at sign-up.
	session account.Session
	from    evidence.Actor
}

// join signs a person up by mail, and in on an app through the API.
func (w *world) join(mail string) *holder {
	w.t.Helper()
	ctx := w.t.Context()
	from := w.accounts.From(home, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	must(w.t, w.accounts.SignUp(ctx, from, account.SignUp{Mail: mail, Password: password}))
	v, err := w.accounts.Verify(ctx, from, w.token("verify", w.mail(mail, "Confirm")))
	must(w.t, err)
	h := &holder{id: v.Session.Account, mail: mail, code: v.Code.Reveal(), session: v.Session, from: from}
	h.app = client.Holder(w.http(), w.url, w.signIn(mail))
	return h
}

func (w *world) signIn(mail string) string {
	w.t.Helper()
	in, err := client.Holder(w.http(), w.url, "").SignIn(w.t.Context(), ask(&holdfastv1.SignInRequest{Mail: mail, Password: password}))
	must(w.t, err)
	return in.Msg.GetSession()
}

// handOver gives the service a session of the holder, by way of a code.
func (w *world) handOver(h *holder, c *client.Client, service string) *holdfastv1.RedeemResponse {
	w.t.Helper()
	code, err := w.accounts.HandOver(w.t.Context(), h.session.Actor(h.from), h.id, service)
	must(w.t, err)
	out, err := c.SignIn.Redeem(w.t.Context(), ask(&holdfastv1.RedeemRequest{Code: code.Reveal()}))
	must(w.t, err)
	return out.Msg
}

// mail waits for a mail to an address whose subject matches.
func (w *world) mail(to, subject string) notice.Mail {
	w.t.Helper()
	words := regexp.MustCompile(subject)
	late := time.After(30 * time.Second)
	for {
		select {
		case m := <-w.inbox:
			if m.To == to && words.MatchString(m.Subject) {
				return m
			}
		case <-late:
			w.t.Fatalf("no mail %q to %s", subject, to)
		}
	}
}

// token finds the link of a purpose in a mail.
func (w *world) token(purpose string, m notice.Mail) string {
	w.t.Helper()
	found := regexp.MustCompile(`https://holdfast\.test/` + purpose + `/(\S+)`).FindStringSubmatch(m.Text)
	if found == nil {
		w.t.Fatalf("no %s link in %q:\n%s", purpose, m.Subject, m.Text)
	}
	return found[1]
}

func ask[T any](m *T) *connect.Request[T] { return connect.NewRequest(m) }

func byID[T ~string](id T) *holdfastv1.AccountRef {
	return &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_AccountId{AccountId: string(id)}}
}

func byName(external string) *holdfastv1.AccountRef {
	return &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_ExternalId{ExternalId: external}}
}

func ofSession(secret string) *holdfastv1.Credential {
	return &holdfastv1.Credential{Kind: &holdfastv1.Credential_Session{Session: secret}}
}

func ofPlatform() *holdfastv1.Credential {
	return &holdfastv1.Credential{Kind: &holdfastv1.Credential_Platform{Platform: true}}
}

func outside(id string) *holdfastv1.Credential {
	return &holdfastv1.Credential{Kind: &holdfastv1.Credential_ExternalCredentialId{ExternalCredentialId: id}}
}

func origin() *holdfastv1.Origin { return &holdfastv1.Origin{Address: home, UserAgent: "test"} }

// refused fails the test unless err is a refusal with the Connect code and, where given, the code
// word.
func refused(t testing.TB, err error, code connect.Code, word string) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != code || word != "" && client.CodeOf(err) != word {
		t.Errorf("got %v (%s), want %s (%s)", err, client.CodeOf(err), code, word)
	}
}

// verdict asks whether an act may happen now.
func verdict(t testing.TB, c *client.Client, account *holdfastv1.AccountRef, by *holdfastv1.Credential, exit string) holdfastv1.Verdict {
	t.Helper()
	out, err := c.Guard.Check(t.Context(), ask(&holdfastv1.CheckRequest{Account: account, Credential: by, Exit: exit, Origin: origin()}))
	must(t, err)
	return out.Msg.GetDecision().GetVerdict()
}

const (
	allow             = holdfastv1.Verdict_VERDICT_ALLOW
	frozen            = holdfastv1.Verdict_VERDICT_FROZEN
	unknownCredential = holdfastv1.Verdict_VERDICT_UNKNOWN_CREDENTIAL
	unknownAccount    = holdfastv1.Verdict_VERDICT_UNKNOWN_ACCOUNT
	outOfScope        = holdfastv1.Verdict_VERDICT_OUT_OF_SCOPE
)

// post sends a JSON body as any program would, without our client.
func (w *world) postJSON(method, token, body string, header ...string) (int, http.Header, map[string]any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+"/holdfast.v1."+method, strings.NewReader(body))
	must(w.t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.do(req)
}

func (w *world) do(req *http.Request) (int, http.Header, map[string]any) {
	w.t.Helper()
	res, err := w.http().Do(req)
	must(w.t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	must(w.t, err)
	out := map[string]any{}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		must(w.t, json.Unmarshal(text, &out))
	}
	return res.StatusCode, res.Header, out
}
