package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	binance "github.com/adshao/go-binance/v2"

	"holdfast/account"
	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/evidence"
	"holdfast/guard"
	"holdfast/notice"
	"holdfast/permit"
)

// The test bed is the whole product on loopback, server, exchange and mail server, driven by tests
// that are written in another language: e2e/*.test.mjs. They build this package's test binary, run
// TestBed alone with HOLDFAST_TESTBED_SERVE=1, read one JSON line from its standard output, and end
// it by closing its standard input. Its control server answers these calls, all POST with JSON:
//
//	/scene       {}                             a new holder with money, keys, a freeze code
//	/freeze      {"account"}                    freezes with the freeze code; answers when acknowledged
//	/protection  {"account"}                    waits until contained; the receipts
//	/take        {"symbol","side","price"}      somebody else tries to fill what rests there
//	/delete-key  {"key"}                        the holder deletes an API key
//	/hold        {"account","exit","reason"}    holds one exit
//	/mail        {"mail","subject"}             waits for a mail received by SMTP: its text and links
//	/password    {"account","password"}         a thief with a session changes the password

// TestBed shows that the bed stands, or lets another program use it.
func TestBed(t *testing.T) {
	ctx := t.Context()
	b := openBed(t)
	if os.Getenv("HOLDFAST_TESTBED_SERVE") == "" {
		var scene sceneReply
		b.ask(t, "scene", map[string]string{}, &scene)
		b.ask(t, "freeze", map[string]string{"account": scene.Account}, &struct{}{})
		var p protectionReply
		b.ask(t, "protection", map[string]string{"account": scene.Account}, &p)
		if !p.Contained || len(p.Receipts) == 0 {
			t.Errorf("%+v", p)
		}
		return
	}
	must(t, json.NewEncoder(os.Stdout).Encode(b.description()))
	done := make(chan struct{})
	go func() { // the other program's end of the pipe closes when it dies
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

type bed struct {
	*stage
	mail    *mailServer
	control string
	maker   *bot
	mailers atomic.Int64
	people  map[string]*account.Session // by account id; written by one scene at a time
	codes   map[string]string
}

func openBed(t *testing.T) *bed {
	t.Helper()
	mail, err := startMailServer()
	must(t, err)
	t.Cleanup(func() { must(t, mail.close()) })
	cfg := defaults()
	cfg.State, cfg.Pages, cfg.API, cfg.HashMemory, cfg.HashPasses = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", 1024, 1
	cfg.MailHost, cfg.MailPort, cfg.MailTLS, cfg.MailFrom = "127.0.0.1", mail.port, string(notice.Plain), "Holdfast <security@holdfast.test>"
	s, err := openStage(t.Context(), cfg, "127.0.0.1:0", slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	must(t, err)
	t.Cleanup(func() { must(t, s.close(context.Background())) })
	b := &bed{stage: s, mail: mail, people: map[string]*account.Session{}, codes: map[string]string{}}
	way, err := b.road(b.exchangeURL, addrBystander)
	must(t, err)
	b.maker = newBot(way, b.cast.Bystander.KeyID, b.cast.Bystander.Secret)
	for asset, amount := range map[string]string{"BTC": "1000", "USDT": "90000000"} {
		must(t, b.exchange.Deposit(t.Context(), b.cast.Bystander.Account, asset, amount, "test bed "+asset))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	b.control = "http://" + l.Addr().String()
	server := &http.Server{Handler: b.routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }() // ends with the cleanup
	t.Cleanup(func() { must(t, server.Close()) })
	return b
}

// description is what the other program needs to find everything.
func (b *bed) description() map[string]string {
	port := b.exchangeURL[strings.LastIndexByte(b.exchangeURL, ':')+1:]
	return map[string]string{
		"hostname": "localhost:" + port, "rest": "https://api.localhost:" + port, "stream": "wss://api.localhost:" + port + "/ws-api/v3",
		"ca": b.caFile, "control": b.control, "pages": b.holds.house.cfg.base(), "api": b.holds.house.apiURL, "exchange": b.exchangeURL,
	}
}

type bedRequest struct {
	Account, Symbol, Side, Price, Key, Exit, Reason, Mail, Subject, Password string
}

func (b *bed) routes() http.Handler {
	mux := http.NewServeMux()
	for name, serve := range map[string]func(context.Context, bedRequest) (any, error){
		"scene": b.scene, "freeze": b.freeze, "protection": b.protection, "take": b.take,
		"delete-key": b.deleteKey, "hold": b.hold, "mail": b.read, "password": b.changePassword,
	} {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
			defer cancel()
			var in bedRequest
			err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in)
			var out any
			if err == nil {
				out, err = serve(ctx, in)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_ = json.NewEncoder(w).Encode(out) // the test sees a cut answer
		})
	}
	return mux
}

// ask calls the control server as another program would.
func (b *bed) ask(t *testing.T, call string, in, out any) {
	t.Helper()
	raw, err := json.Marshal(in)
	must(t, err)
	resp, err := http.Post(b.control+"/"+call, "application/json", strings.NewReader(string(raw)))
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", call, resp.Status, body)
	}
	must(t, json.Unmarshal(body, out))
}

type bedKey struct {
	Key    string `json:"key"`
	Secret string `json:"secret"`
}

type sceneReply struct {
	Account  string            `json:"account"`
	Mail     string            `json:"mail"`
	Password string            `json:"password"`
	Code     string            `json:"freeze_code"`
	Keys     map[string]bedKey `json:"keys"`
	Outside  string            `json:"outside"`
	Transfer string            `json:"transfer"`
}

// scene makes a holder with 1.2 BTC and 30,000 USDT, one old key of each kind with every scope, and
// somebody to trade with.
func (b *bed) scene(ctx context.Context, _ bedRequest) (any, error) {
	h := b.holds.house
	mail := fmt.Sprintf("holder-%d@holdfast.test", b.mailers.Add(1))
	from := h.accounts.From(addrHolder, laptop)
	if err := h.accounts.SignUp(ctx, from, account.SignUp{Mail: mail, Password: holderPassword}); err != nil {
		return nil, err
	}
	asked, err := b.mail.box.wait(ctx, mail, 0, func(l letter) bool { return l.link(notice.VerifyPurpose) != "" })
	if err != nil {
		return nil, err
	}
	done, err := h.accounts.Verify(ctx, from, path.Base(asked.link(notice.VerifyPurpose)))
	if err != nil {
		return nil, err
	}
	id := string(done.Account)
	out := sceneReply{Account: id, Mail: mail, Password: holderPassword, Code: done.Code.Reveal(), Keys: map[string]bedKey{}, Outside: lair}
	b.people[id], b.codes[id] = &done.Session, out.Code
	// The keys are old: a new one would wait a day before it may withdraw.
	past := h.accounts.At(h.db.Now().AddDate(0, 0, -pastDays))
	scopes, here := []string{"read", "trade", "withdraw"}, []string{"127.0.0.1"}
	made, err := past.CreateKey(ctx, done.Session.Actor(from), done.Account, account.NewKey{Label: "bot", Kind: account.HMAC, Scopes: scopes, Addresses: here, Password: holderPassword})
	if err != nil {
		return nil, err
	}
	out.Keys["hmac"] = bedKey{made.Key.ID, made.Secret.Reveal()}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	made, err = past.CreateKey(ctx, done.Session.Actor(from), done.Account, account.NewKey{Label: "bot", Kind: account.Ed25519,
		PublicKey: base64.StdEncoding.EncodeToString(public), Scopes: scopes, Addresses: here, Password: holderPassword})
	if err != nil {
		return nil, err
	}
	out.Keys["ed25519"] = bedKey{made.Key.ID, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}
	for asset, amount := range map[string]string{"BTC": "1.2", "USDT": "30000"} {
		if err := b.exchange.Deposit(ctx, id, asset, amount, "scene "+id+" "+asset); err != nil {
			return nil, err
		}
	}
	if out.Transfer, err = b.exchange.DepositAddress(ctx, b.cast.Bystander.Account, "BTC"); err != nil {
		return nil, err
	}
	_, err = b.maker.order(ctx, binance.SideTypeSell, "0.01", "60000")
	return out, err
}

func (b *bed) freeze(ctx context.Context, r bedRequest) (any, error) {
	s, ok := b.people[r.Account]
	if !ok {
		return nil, errors.New("no such scene")
	}
	app := client.Holder(http.DefaultClient, b.holds.house.apiURL, "")
	res, err := app.FreezeWithCode(ctx, connect.NewRequest(&holdfastv1.FreezeWithCodeRequest{Mail: s.Mail, Code: b.codes[r.Account]}))
	if err != nil {
		return nil, err
	}
	return map[string]int64{"epoch": res.Msg.GetProtection().GetEpoch()}, nil
}

type protectionReply struct {
	Contained bool                      `json:"contained"`
	Receipts  map[string]receiptOfScene `json:"receipts"`
}

type receiptOfScene struct {
	Stopped int64  `json:"stopped"`
	Detail  string `json:"detail"`
}

// protection waits until the account is contained, and returns the exchange's receipts.
func (b *bed) protection(ctx context.Context, r bedRequest) (any, error) {
	for {
		changed := b.holds.house.guard.Changed()
		p, err := b.holds.house.guard.Protection(ctx, account.ID(r.Account))
		if err != nil {
			return nil, err
		}
		if p.Contained {
			out := protectionReply{true, map[string]receiptOfScene{}}
			for _, x := range p.Receipts {
				if x.Enforcer == "exchange" {
					out.Receipts[string(x.Exit)] = receiptOfScene{x.Stopped, x.Detail}
				}
			}
			return out, nil
		}
		if err := b.holds.house.guard.Wait(ctx, changed); err != nil {
			return nil, err
		}
	}
}

// take has somebody else try to fill an order that rests at a price.
func (b *bed) take(ctx context.Context, r bedRequest) (any, error) {
	res, err := b.maker.client.NewCreateOrderService().Symbol(r.Symbol).Side(binance.SideType(r.Side)).Type(binance.OrderTypeLimit).
		TimeInForce(binance.TimeInForceTypeIOC).Quantity("0.01").Price(r.Price).Do(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"executedQty": res.ExecutedQuantity}, nil
}

func (b *bed) deleteKey(ctx context.Context, r bedRequest) (any, error) {
	id, err := account.ParseKeyID(r.Key)
	if err != nil {
		return nil, err
	}
	s, ok := b.people[string(id)]
	if !ok {
		return nil, errors.New("no such scene")
	}
	h := b.holds.house
	return struct{}{}, h.accounts.DeleteKey(ctx, s.Actor(h.accounts.From(addrHolder, laptop)), id, r.Key)
}

func (b *bed) hold(ctx context.Context, r bedRequest) (any, error) {
	by := evidence.Actor{Kind: evidence.Operator, ID: operatorA}
	kind := guard.HoldKind(r.Reason)
	if r.Reason == "restore" {
		kind = guard.HeldRestored
	}
	return struct{}{}, b.holds.house.guard.Hold(ctx, by, account.ID(r.Account), kind, "test", time.Hour, permit.Exit(r.Exit))
}

// read waits for a mail that arrived by SMTP.
func (b *bed) read(ctx context.Context, r bedRequest) (any, error) {
	l, err := b.mail.box.wait(ctx, r.Mail, 0, func(l letter) bool { return strings.Contains(l.subject, r.Subject) })
	return map[string]string{"subject": l.subject, "text": l.text, "freeze": l.link(notice.FreezeLinkPurpose), "head": l.head()}, err
}

// changePassword is what a thief with the password does first.
func (b *bed) changePassword(ctx context.Context, r bedRequest) (any, error) {
	h := b.holds.house
	s, ok := b.people[r.Account]
	if !ok {
		return nil, errors.New("no such scene")
	}
	from := h.accounts.From(addrStranger, stranger)
	theirs, err := h.accounts.SignIn(ctx, from, account.Entry{Mail: s.Mail, Password: holderPassword})
	if err != nil {
		return nil, err
	}
	_, err = h.accounts.ChangePassword(ctx, theirs.Actor(from), theirs.Account, account.PasswordChange{Current: holderPassword, Next: r.Password})
	return struct{}{}, err
}
