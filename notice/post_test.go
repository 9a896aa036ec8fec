package notice

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/store"
	"holdfast/store/storetest"
)

const waitLimit = 20 * time.Second

// tray is a sender that keeps mails in memory and can be told to fail.
type tray struct {
	mails chan Mail
	mu    sync.Mutex
	fail  error
	tries chan struct{}
}

func newTray() *tray { return &tray{mails: make(chan Mail, 100), tries: make(chan struct{}, 1000)} }

func (s *tray) Send(_ context.Context, m Mail) error {
	s.mu.Lock()
	err := s.fail
	s.mu.Unlock()
	s.tries <- struct{}{}
	if err == nil {
		s.mails <- m
	}
	return err
}

func (s *tray) setFail(err error) {
	s.mu.Lock()
	s.fail = err
	s.mu.Unlock()
}

func next[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(waitLimit):
		t.Fatalf("no %s within %s", what, waitLimit)
		return *new(T)
	}
}

// room is an account and a post on a database.
type room struct {
	db      *store.DB
	post    *Post
	account evidence.AccountID
	head    evidence.Head
}

// cause is a causing transaction as package permit makes them: its entry is appended after the act.
type cause struct {
	*store.Tx
	head evidence.Head
}

func (c cause) Next() int64 { return c.head.Seq + 1 }

func newRoom(t testing.TB, db *store.DB, c Config) *room {
	t.Helper()
	if c.House.Base == "" {
		c.House = testHouse
	}
	if c.Retry == nil {
		c.Retry = func(int) time.Duration { return 10 * time.Millisecond }
	}
	post, err := NewPost(db, c)
	if err != nil {
		t.Fatal(err)
	}
	r := &room{db: db, post: post, account: evidence.AccountID(store.NewID())}
	r.head = evidence.Start(r.account)
	return r
}

func (r *room) start(t testing.TB) {
	t.Helper()
	if err := r.post.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.stop(t) })
}

func (r *room) stop(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.post.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// do runs f in a causing transaction.
func (r *room) do(t testing.TB, f func(tx Tx) error) error {
	t.Helper()
	var head evidence.Head
	err := r.db.Write(t.Context(), func(tx *store.Tx) error {
		if err := f(cause{tx, r.head}); err != nil {
			return err
		}
		var err error
		head, err = evidence.Append(t.Context(), tx, r.head, evidence.Entry{Account: r.account, At: tx.Now(), Act: "test"})
		return err
	})
	if err == nil {
		r.head = head
	}
	return err
}

func (r *room) queue(t testing.TB, n Notice) {
	t.Helper()
	n.Account = r.account
	if err := r.do(t, func(tx Tx) error { return r.post.Queue(t.Context(), tx, n) }); err != nil {
		t.Fatal(err)
	}
}

// eventually asks until ok says yes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(waitLimit)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not within %s", what, waitLimit)
		}
	}
}

func TestNoticeGoesToEveryRecipientWithItsRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		out := newTray()
		r := newRoom(t, db, Config{Sender: out})
		r.start(t)
		r.queue(t, Notice{To: []string{"new@holdfast.test", "old@holdfast.test"}, Bare: []string{"unproven@holdfast.test"}, Vars: NewSignIn{testEvent}})

		got := map[string]Mail{}
		for range 3 {
			m := next(t, out.mails, "mail")
			got[m.To] = m
		}
		head := r.head
		r.queue(t, Notice{Vars: NewSignIn{testEvent}}) // what happens later is not what the mail names
		tokens := map[string]bool{}
		for _, to := range []string{"new@holdfast.test", "old@holdfast.test"} {
			m := got[to]
			if !strings.Contains(m.Text, "--head "+head.String()) {
				t.Errorf("%s: the mail does not name the entry of its own cause, %s:\n%s", to, head, m.Text)
			}
			token := tokenIn(t, m, FreezeLinkPurpose)
			tokens[token] = true
			l, err := FindLink(t.Context(), db, db.Now(), FreezeLinkPurpose, token)
			if err != nil || l.Account != r.account || l.Mail != to {
				t.Errorf("%s: link %+v, %v", to, l, err)
			}
		}
		if len(tokens) != 2 {
			t.Error("two mails share one secret")
		}
		if text := got["unproven@holdfast.test"].Text; text == "" || strings.Contains(text, "/freeze/") {
			t.Errorf("mail to an unconfirmed address:\n%s", text)
		}
	})
}

func TestNewAddressGetsNoWayToFreeze(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		out := newTray()
		r := newRoom(t, db, Config{Sender: out})
		r.start(t)
		r.queue(t, Notice{To: []string{"new@holdfast.test"}, Vars: VerifyMail{testEvent, true}})
		m := next(t, out.mails, "mail")
		if _, err := FindLink(t.Context(), db, db.Now(), VerifyPurpose, tokenIn(t, m, VerifyPurpose)); err != nil {
			t.Error(err)
		}
		var links int
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM link`).Scan(&links); err != nil || links != 1 {
			t.Errorf("%d links were made (%v)", links, err)
		}
	})
}

// tokenIn finds the token of a link in a mail.
func tokenIn(t testing.TB, m Mail, p Purpose) string {
	t.Helper()
	_, rest, ok := strings.Cut(m.Text, testHouse.Base+"/"+string(p)+"/")
	if !ok {
		t.Fatalf("no %s link in:\n%s", p, m.Text)
	}
	token, _, _ := strings.Cut(rest, "\n")
	return token
}

func TestNothingIsToldOfWhatDidNotHappen(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		out := newTray()
		r := newRoom(t, db, Config{Sender: out})
		boom := fault.New(fault.Denied, "no", "No.")
		err := r.do(t, func(tx Tx) error {
			if err := r.post.Queue(t.Context(), tx, Notice{Account: r.account, To: []string{"holder@holdfast.test"}, Vars: Frozen{Event: testEvent}}); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
		var rows int
		if err := db.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM notice) + (SELECT count(*) FROM link) + (SELECT count(*) FROM river_job)`).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("%d rows were left by a change that was refused (%v)", rows, err)
		}
	})
}

func TestRefusingServerLosesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		out := newTray()
		out.setFail(errors.New("451 try later"))
		r := newRoom(t, db, Config{Sender: out, Poll: 20 * time.Millisecond})
		r.start(t)
		for i := range 5 {
			r.queue(t, Notice{To: []string{fmt.Sprintf("holder%d@holdfast.test", i)}, Vars: NewSignIn{testEvent}})
		}
		for range 12 {
			next(t, out.tries, "try")
		}
		unsent, err := r.post.Unsent(t.Context(), 10)
		if err != nil || len(unsent) != 5 {
			t.Fatalf("%d notices are listed as unsent, want 5 (%v)", len(unsent), err)
		}
		var kept int
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE errors IS NOT NULL`).Scan(&kept); err != nil || kept != 0 {
			t.Errorf("%d jobs pile up the errors of their tries (%v)", kept, err)
		}
		out.setFail(nil)
		got := map[string]bool{}
		for range 5 {
			got[next(t, out.mails, "mail").To] = true
		}
		if len(got) != 5 {
			t.Errorf("mails to %d of 5 holders", len(got))
		}
		eventually(t, "all marked sent", func() bool {
			unsent, err := r.post.Unsent(t.Context(), 10)
			return err == nil && len(unsent) == 0
		})
	})
}

func TestMailIsGivenUpAfterAMonthAndStaysListed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		first := newRoom(t, db, Config{Sender: newTray()})
		first.queue(t, Notice{To: []string{"holder@holdfast.test"}, Vars: Frozen{Event: testEvent}})
		out := newTray()
		out.setFail(errors.New("451 try later"))
		late, err := NewPost(db.At(db.Now().Add(giveUpAfter+time.Hour)), Config{House: testHouse, Sender: out, Retry: func(int) time.Duration { return 0 }})
		if err != nil {
			t.Fatal(err)
		}
		r := &room{db: db, post: late}
		r.start(t)
		next(t, out.tries, "last try")
		eventually(t, "given up", func() bool {
			var n int
			err := db.QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE state = 'cancelled'`).Scan(&n)
			return err == nil && n == 1
		})
		if unsent, err := late.Unsent(t.Context(), 10); err != nil || len(unsent) != 1 || unsent[0].LastError != "451 try later" {
			t.Errorf("unsent %+v, %v", unsent, err)
		}
	})
}

func TestMailLeftByAnotherProcessIsSent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		first := newRoom(t, db, Config{Sender: newTray()})
		first.queue(t, Notice{To: []string{"holder@holdfast.test"}, Vars: Frozen{Event: testEvent}}) // and never starts

		out := newTray()
		second := &room{db: db, post: nil}
		post, err := NewPost(db, Config{House: testHouse, Sender: out})
		if err != nil {
			t.Fatal(err)
		}
		second.post = post
		second.start(t)
		if m := next(t, out.mails, "mail"); m.Subject != "Your account is frozen" {
			t.Errorf("got %q", m.Subject)
		}
	})
}

func TestInterruptedDeliveryIsTakenUp(t *testing.T) {
	db := storetest.Open(t, store.SQLite) // on PostgreSQL another process may be at it, so the queue waits there
	out := newTray()
	r := newRoom(t, db, Config{Sender: out})
	r.queue(t, Notice{To: []string{"holder@holdfast.test"}, Vars: Frozen{Event: testEvent}})
	if err := db.Housekeep(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE river_job SET state = 'running', attempt = 1`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	next(t, out.mails, "mail")
}

func TestCommitWakesTheDelivery(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		out := newTray()
		r := newRoom(t, db, Config{Sender: out, Poll: time.Hour})
		r.post.Handle("reset", func(context.Context, json.RawMessage, time.Time) error { return nil })
		r.start(t)
		for range 3 {
			r.queue(t, Notice{To: []string{"holder@holdfast.test"}, Vars: NewSignIn{testEvent}})
			next(t, out.mails, "mail")
		}
	})
}

// stuck is a mail server that never answers.
type stuck struct{ began chan struct{} }

func (s stuck) Send(ctx context.Context, _ Mail) error {
	s.began <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func TestStuckMailServerDelaysNoForm(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		out := stuck{make(chan struct{}, 100)}
		r := newRoom(t, db, Config{Sender: out, Senders: 2})
		done := make(chan struct{}, 1)
		r.post.Handle("reset", func(context.Context, json.RawMessage, time.Time) error {
			done <- struct{}{}
			return nil
		})
		if err := r.post.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			r.queue(t, Notice{To: []string{"holder@holdfast.test"}, Vars: NewSignIn{testEvent}})
		}
		next(t, out.began, "try")
		next(t, out.began, "try") // both senders hang now
		if err := db.Housekeep(t.Context(), func(tx *store.Tx) error { return r.post.EnqueuePublic(t.Context(), tx, "reset", "x") }); err != nil {
			t.Fatal(err)
		}
		next(t, done, "answer to the form")
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := r.post.Stop(ctx); err != nil {
			t.Errorf("stop while mails hang: %v", err)
		}
	})
}

func TestSentMailLeavesNoSecretBehind(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		out := newTray()
		r := newRoom(t, db, Config{Sender: out})
		r.queue(t, Notice{To: []string{"holder@holdfast.test"}, Vars: SignInCode{testEvent, "PLANTED-CODE", 10 * time.Minute}})
		before := dump(t, db)
		r.start(t)
		m := next(t, out.mails, "mail")
		token := tokenIn(t, m, FreezeLinkPurpose)
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "marked sent", func() bool {
			var wiped int
			err := db.QueryRow(t.Context(), `SELECT count(*) FROM notice WHERE sent_at > 0 AND length(sealed) = 0`).Scan(&wiped)
			return err == nil && wiped == 1
		})
		for when, text := range map[string]string{"before": before, "after": dump(t, db)} {
			for _, secret := range []string{token, string(raw[16:]), fmt.Sprintf("%x", raw[16:]), "PLANTED-CODE", "Firefox"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s sending, the database holds %q in clear", when, secret)
				}
			}
		}
	})
}

// dump returns all values of the tables that mails pass through.
func dump(t testing.TB, db *store.DB) string {
	t.Helper()
	var b strings.Builder
	for _, table := range []string{"notice", "link", "mailbox", "public_request", "dkim_key", "river_job"} {
		rows, err := db.Query(t.Context(), `SELECT * FROM `+table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				if raw, ok := (*v.(*any)).([]byte); ok {
					b.Write(raw)
					fmt.Fprintf(&b, " %x", raw)
				} else {
					fmt.Fprint(&b, " ", *v.(*any))
				}
			}
			b.WriteByte('\n')
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestWrongAddressDoesNotStopTheChange(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		out := newTray()
		r := newRoom(t, db, Config{Sender: out})
		r.start(t)
		bad := []string{"", "no-at-sign", "a@b.test\r\nBcc: x@evil.test", "Name <a@b.test>", "a@b.test,c@d.test", strings.Repeat("a", 300) + "@b.test"}
		r.queue(t, Notice{To: append(bad, "holder@holdfast.test"), Vars: Frozen{Event: testEvent}})
		if m := next(t, out.mails, "mail"); m.To != "holder@holdfast.test" {
			t.Errorf("mail to %q", m.To)
		}
		eventually(t, "only the bad ones left", func() bool {
			unsent, err := r.post.Unsent(t.Context(), 20)
			if err != nil || len(unsent) != len(bad) {
				return false
			}
			for _, u := range unsent {
				if u.LastError == "" {
					return false
				}
			}
			return true
		})
	})
}

func TestFormReachesItsHandlerOnceAndIsForgotten(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		type form struct{ Mail, Address string }
		r := newRoom(t, db, Config{Sender: newTray(), Poll: 20 * time.Millisecond})
		got := make(chan form, 10)
		failures := 2
		r.post.Handle("reset", func(_ context.Context, raw json.RawMessage, _ time.Time) error {
			var f form
			if err := json.Unmarshal(raw, &f); err != nil {
				return err
			}
			if failures--; failures >= 0 {
				return errors.New("not now")
			}
			got <- f
			return nil
		})
		r.start(t)
		want := form{"PLANTED@holdfast.test", "192.0.2.1"}
		if err := db.Housekeep(t.Context(), func(tx *store.Tx) error {
			return r.post.EnqueuePublic(t.Context(), tx, "reset", want)
		}); err != nil {
			t.Fatal(err)
		}
		if text := dump(t, db); strings.Contains(text, "PLANTED") {
			t.Error("what was typed lies in clear")
		}
		if f := next(t, got, "form"); f != want {
			t.Errorf("got %+v", f)
		}
		eventually(t, "form forgotten", func() bool {
			var n int
			err := db.QueryRow(t.Context(), `SELECT count(*) FROM public_request`).Scan(&n)
			return err == nil && n == 0
		})
		if err := db.Housekeep(t.Context(), func(tx *store.Tx) error {
			return r.post.EnqueuePublic(t.Context(), tx, "unheard_of", want)
		}); err == nil {
			t.Error("a form that nothing deals with was accepted")
		}
	})
}

func TestFormsRunTheSameStatements(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRoom(t, db, Config{Sender: newTray()})
		r.post.Handle("reset", func(context.Context, json.RawMessage, time.Time) error { return nil })
		counts := map[int64]bool{}
		for _, mail := range []string{"holder@holdfast.test", "nobody@holdfast.test", ""} {
			before := db.Statements()
			if err := db.Housekeep(t.Context(), func(tx *store.Tx) error { return r.post.EnqueuePublic(t.Context(), tx, "reset", mail) }); err != nil {
				t.Fatal(err)
			}
			counts[db.Statements()-before] = true
		}
		if len(counts) != 1 {
			t.Errorf("different numbers of statements: %v", counts)
		}
	})
}

func TestMailboxKeepsMails(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		box := NewMailbox(db)
		r := newRoom(t, db, Config{Sender: box})
		r.start(t)
		r.queue(t, Notice{To: []string{"holder@holdfast.test"}, Vars: NewSignIn{testEvent}})
		r.queue(t, Notice{To: []string{"other@holdfast.test"}, Vars: PasswordReset{testEvent}})
		eventually(t, "two mails", func() bool {
			all, err := box.List(t.Context(), "", 10)
			return err == nil && len(all) == 2
		})
		list, err := box.List(t.Context(), "holder@holdfast.test", 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d mails (%v)", len(list), err)
		}
		m, err := box.Get(t.Context(), list[0].ID)
		if err != nil || m != list[0] || m.To != "holder@holdfast.test" {
			t.Errorf("got %+v (%v)", m, err)
		}
		if err := box.Send(t.Context(), m); err != nil {
			t.Errorf("keeping it twice: %v", err)
		}
		if _, err := box.Get(t.Context(), "none"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("unknown mail: %v", err)
		}
		if text := dump(t, db); strings.Contains(text, tokenIn(t, m, FreezeLinkPurpose)) {
			t.Error("the mailbox holds a token in clear")
		}
	})
}

func TestPostWantsAnAddressForItsLinks(t *testing.T) {
	db := storetest.Open(t, store.SQLite)
	for _, base := range []string{"", "holdfast.example", "ftp://holdfast.example", "https://holdfast.example/", "https://", "https://holdfast.example?x"} {
		if _, err := NewPost(db, Config{House: House{Base: base}}); err == nil {
			t.Errorf("base %q was accepted", base)
		}
	}
}

// BenchmarkDelivery measures, on databases that sync as in earnest, the time from the return of the
// commit to the hand-over to the mail server, one mail at a time.
func BenchmarkDelivery(b *testing.B) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": storetest.SQLiteDSN, "postgres": storetest.PostgresDSN} {
		b.Run(name, func(b *testing.B) {
			db, err := store.Open(b.Context(), store.Config{DSN: dsn(b), Keys: storetest.Keys(b)})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := db.Close(); err != nil {
					b.Error(err)
				}
			}()
			out := newTray()
			r := newRoom(b, db, Config{Sender: out})
			if err := r.post.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer r.stop(b)
			var waits []time.Duration
			for b.Loop() {
				r.queue(b, Notice{To: []string{"holder@holdfast.test"}, Vars: NewSignIn{testEvent}})
				begin := time.Now()
				next(b, out.mails, "mail")
				waits = append(waits, time.Since(begin))
			}
			slices.Sort(waits)
			b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "ms/median")
			b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "ms/p99")
		})
	}
}

func TestTidyDropsFormsThatGaveUp(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC)
		for _, age := range []time.Duration{0, 23 * time.Hour, 25 * time.Hour} {
			past := db.At(now.Add(-age))
			post, err := NewPost(past, Config{House: House{Base: "https://holdfast.test"}, Sender: NewMailbox(past)})
			if err != nil {
				t.Fatal(err)
			}
			post.Handle("reset", func(context.Context, json.RawMessage, time.Time) error { return nil })
			if err := past.Housekeep(t.Context(), func(tx *store.Tx) error { return post.EnqueuePublic(t.Context(), tx, "reset", "x") }); err != nil {
				t.Fatal(err)
			}
			if age == 25*time.Hour {
				present, err := NewPost(db.At(now), Config{House: House{Base: "https://holdfast.test"}, Sender: NewMailbox(db)})
				if err != nil {
					t.Fatal(err)
				}
				if err := present.Tidy(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		var left int64
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM public_request`).Scan(&left); err != nil || left != 2 {
			t.Errorf("%d forms are left, %v", left, err)
		}
	})
}
