package account

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
)

const (
	goodPassword  = "Correct-Horse-42"
	otherPassword = "Another-Horse-43"
	firefox       = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
	chrome        = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)

// cheap makes hashing quick: these tests are about what happens around it.
var cheap = Cost{Memory: 64, Passes: 1, Lanes: 1}

// box is a mail server's other end: it keeps what arrives and lets a test wait for it.
type box struct {
	mu    sync.Mutex
	mails []notice.Mail
	news  chan struct{} // closed and replaced at each arrival; guarded by mu
}

func (b *box) Send(_ context.Context, m notice.Mail) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = append(b.mails, m)
	close(b.news)
	b.news = make(chan struct{})
	return nil
}

// take waits for the first mail to an address whose subject has the words, and takes it out.
func (b *box) take(t testing.TB, to, subject string) notice.Mail {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		b.mu.Lock()
		for i, m := range b.mails {
			if m.To == to && strings.Contains(m.Subject, subject) {
				b.mails = append(b.mails[:i:i], b.mails[i+1:]...)
				b.mu.Unlock()
				return m
			}
		}
		news := b.news
		b.mu.Unlock()
		select {
		case <-news:
		case <-deadline:
			t.Fatalf("no mail %q to %s", subject, to)
		}
	}
}

// shut is what guard does at the door, as far as these tests need it.
type shut struct{}

func (shut) Pass(_ context.Context, tx *permit.Tx, by evidence.Actor, mode permit.Mode, kind permit.Kind) error {
	switch {
	case kind.Protective && (mode == permit.Protective || by.Kind != evidence.Holder):
		return nil
	case tx.Standing.Frozen():
		return fault.New(fault.Denied, "frozen", "Your account is frozen.")
	case mode == permit.Protective:
		return fault.New(fault.Denied, "protective", "This session can only look and close.")
	}
	return nil
}

// rig is the room on a database, with a real post whose mails end in a box.
type rig struct {
	*Accounts
	t    testing.TB
	db   *store.DB
	post *notice.Post
	box  *box
	from evidence.Actor
	stop sync.Once
}

func newRig(t testing.TB, db *store.DB, cfg Config) *rig {
	t.Helper()
	if cfg.Cost == (Cost{}) {
		cfg.Cost = cheap
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	in := &box{news: make(chan struct{})}
	post, err := notice.NewPost(db, notice.Config{House: notice.House{Base: "https://holdfast.test"}, Sender: in, Poll: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	door := permit.NewDoor(db, cfg.Log)
	a, err := New(door, post, cfg)
	if err != nil {
		t.Fatal(err)
	}
	door.Join(a, shut{})
	if err := door.Platform(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"exchange", "other"} {
		if _, err := AddService(t.Context(), door, evidence.Actor{Kind: evidence.Operator, ID: "one"}, service, []string{ScopeGuard}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := post.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &rig{Accounts: a, t: t, db: db, post: post, box: in, from: a.From("192.0.2.7", firefox)}
	t.Cleanup(r.rest)
	return r
}

// rest stops the post, so that nothing runs beside the test any more.
func (r *rig) rest() {
	r.stop.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.post.Stop(ctx); err != nil {
			r.t.Error(err)
		}
	})
}

func each(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { f(t, newRig(t, db, Config{})) })
}

var tokens = regexp.MustCompile(`https://holdfast\.test/(verify|reset|freeze)/([A-Za-z0-9_-]+)`)

// token returns the token of the link for a purpose in a mail.
func token(t testing.TB, m notice.Mail, purpose string) string {
	t.Helper()
	for _, found := range tokens.FindAllStringSubmatch(m.Text, -1) {
		if found[1] == purpose {
			return found[2]
		}
	}
	t.Fatalf("no %s link in:\n%s", purpose, m.Text)
	return ""
}

var digits = regexp.MustCompile(`\b\d{4} \d{4}\b`)

// join signs a person up and verifies the address.
func (r *rig) join(mail string) Verified {
	r.t.Helper()
	if err := r.SignUp(r.t.Context(), r.from, SignUp{Mail: mail, Password: goodPassword}); err != nil {
		r.t.Fatal(err)
	}
	v, err := r.Verify(r.t.Context(), r.from, token(r.t, r.box.take(r.t, mail, "Confirm"), "verify"))
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// enter signs in and must succeed.
func (r *rig) enter(mail string) Session {
	r.t.Helper()
	s, err := r.SignIn(r.t.Context(), r.from, Entry{Mail: mail, Password: goodPassword})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// freeze does what guard does: a new epoch, and what the freeze suspends.
func (r *rig) freeze(by evidence.Actor, id ID) Suspended {
	r.t.Helper()
	keep := ""
	if by.Kind == evidence.Holder {
		keep = by.Session
	}
	var s Suspended
	err := r.door.Do(r.t.Context(), by, permit.Act{Name: permit.Freeze, Account: id}, func(tx *permit.Tx) (err error) {
		tx.RaiseEpoch()
		tx.Standing.FrozenAt = tx.Now()
		s, err = SuspendForFreeze(r.t.Context(), tx, keep)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

var staff = evidence.Actor{Kind: evidence.Operator, ID: "ops"}

// restore does what guard does: a new epoch, and nothing that waited.
func (r *rig) restore(id ID) {
	r.t.Helper()
	err := r.door.Do(r.t.Context(), staff, permit.Act{Name: permit.ProposeRestore, Account: id}, func(tx *permit.Tx) error {
		tx.RaiseEpoch()
		tx.Standing.FrozenAt, tx.Standing.RestoredAt = time.Time{}, tx.Now()
		return EndWaiting(r.t.Context(), tx)
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// live reports whether a session's token opens a page.
func (r *rig) live(s Session) bool {
	r.t.Helper()
	_, err := r.Session(r.t.Context(), s.Token.Reveal(), r.from)
	if err != nil && fault.CodeOf(err) != "signed_out" {
		r.t.Fatal(err)
	}
	return err == nil
}

// wantCode fails unless err carries the code.
func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil || fault.CodeOf(err) != code {
		t.Fatalf("got %v, want a fault with code %s", err, code)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// closings returns the kinds of the account's closings, oldest first.
func (r *rig) closings(id ID) string {
	r.t.Helper()
	rows, err := r.db.Query(r.t.Context(), `SELECT kind FROM closing WHERE account_id = $1 ORDER BY position`, string(id))
	must(r.t, err)
	defer rows.Close()
	var kinds []string
	for rows.Next() {
		var kind string
		must(r.t, rows.Scan(&kind))
		kinds = append(kinds, kind)
	}
	must(r.t, rows.Err())
	return strings.Join(kinds, " ")
}

// told returns the addresses to which a security mail would go now.
func (r *rig) told(id ID) []string {
	r.t.Helper()
	all, err := Addresses(r.t.Context(), r.db, id, r.db.Now().Add(-month))
	must(r.t, err)
	return all
}
