package guard_test

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"regexp"
	"testing"
	"time"

	"holdfast/account"
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

// world is one node with one account, made the way people make them.
type world struct {
	t        testing.TB
	db       *store.DB
	door     *permit.Door
	accounts *account.Accounts
	guard    *guard.Guard
	post     *notice.Post
	inbox    inbox
	from     evidence.Actor

	id      account.ID
	session account.Session
	code    account.FreezeCode
	service evidence.Actor // the integrator
}

// node wires the rooms on a database.
func node(t testing.TB, db *store.DB, screen guard.Screen) *world {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w := &world{t: t, db: db, inbox: make(inbox, 1000)}
	w.door = permit.NewDoor(db, log)
	if err := w.door.Platform(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	w.post, err = notice.NewPost(db, notice.Config{House: notice.House{Base: "https://holdfast.test"}, Sender: w.inbox, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.accounts, err = account.New(w.door, w.post, account.Config{WithdrawWait: time.Microsecond, Cost: account.Cost{Memory: 64, Passes: 1, Lanes: 1}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.guard, err = guard.New(w.door, w.accounts, w.post, screen, log, guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w.door.Join(w.accounts, w.guard)
	w.guard.HandleReports()
	w.from = w.accounts.From(home, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	w.service = evidence.Actor{Kind: evidence.Integrator, ID: "exchange"}
	return w
}

// start is node with its post running and the holder signed up.
func start(t testing.TB, db *store.DB) *world {
	t.Helper()
	w := node(t, db, nil)
	w.run()
	for _, name := range []string{"one", "two", "three"} { // the third has to wait before it counts
		by := evidence.Actor{Kind: evidence.Operator, ID: "one"}
		if _, err := account.AddOperator(t.Context(), w.door, by, name == "three", name, append([]byte(name), make([]byte, ed25519.PublicKeySize-len(name))...)); err != nil {
			t.Fatal(err)
		}
	}
	for _, service := range []string{"exchange", "another"} {
		if _, err := account.AddService(t.Context(), w.door, evidence.Actor{Kind: evidence.Operator, ID: "one"}, service, []string{account.ScopeGuard}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.accounts.SignUp(t.Context(), w.from, account.SignUp{Mail: mail, Password: password}); err != nil {
		t.Fatal(err)
	}
	verified, err := w.accounts.Verify(t.Context(), w.from, w.token("verify", w.mail("")))
	if err != nil {
		t.Fatal(err)
	}
	w.session, w.code, w.id = verified.Session, verified.Code, verified.Session.Account
	return w
}

// run delivers mails until the test ends.
func (w *world) run() {
	w.t.Helper()
	if err := w.post.Start(context.WithoutCancel(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := w.post.Stop(ctx); err != nil {
			w.t.Error(err)
		}
	})
}

// mail returns the next mail whose subject matches.
func (w *world) mail(subject string) notice.Mail {
	w.t.Helper()
	re := regexp.MustCompile(subject)
	timeout := time.After(30 * time.Second)
	for {
		select {
		case m := <-w.inbox:
			if re.MatchString(m.Subject) {
				return m
			}
		case <-timeout:
			w.t.Fatalf("no mail with subject %q", subject)
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

func (w *world) actor() evidence.Actor { return w.session.Actor(w.from) }

// key makes an HMAC key with every scope.
func (w *world) key() account.KeyCreated {
	w.t.Helper()
	made, err := w.accounts.CreateKey(w.t.Context(), w.actor(), w.id, account.NewKey{
		Label: "bot", Kind: account.HMAC, Scopes: []string{"read", "trade", "withdraw"}, Addresses: []string{"203.0.113.0/24"}, Password: password,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// byKey asks as the platform on behalf of a key.
func (w *world) byKey(key string) guard.Request {
	return guard.Request{Credential: guard.Credential{Key: key}, IdempotencyKey: store.NewID(), Asset: "BTC", Amount: "0.05", Address: "bc1qexample", Network: "BTC"}
}

func (w *world) bot() evidence.Actor {
	by := w.service
	by.Address = "203.0.113.7"
	return by
}

func (w *world) freeze() guard.Frozenness {
	w.t.Helper()
	f, err := w.guard.Freeze(w.t.Context(), w.actor(), w.id, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func each(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { f(t, start(t, db)) })
}
