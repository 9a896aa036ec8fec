package detect_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"holdfast/account"
	"holdfast/detect"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/guard"
	"holdfast/ledger"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
)

const (
	mail     = "holder@holdfast.test"
	password = "Correct-Horse-7-Battery"
)

// town is the rooms on a database, with one holder who signed up.
type town struct {
	t        testing.TB
	db       *store.DB
	door     *permit.Door
	accounts *account.Accounts
	guard    *guard.Guard
	detect   *detect.Detect
	mails    chan notice.Mail
	from     evidence.Actor
	service  evidence.Actor
	holder   account.Session
	limit    time.Duration
}

// Send makes the town its own mail server.
func (w *town) Send(ctx context.Context, m notice.Mail) error {
	select {
	case w.mails <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func build(t *testing.T, db *store.DB) *town {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	w := &town{t: t, db: db, mails: make(chan notice.Mail, 1000), service: evidence.Actor{Kind: evidence.Integrator, ID: "exchange"}, limit: 20 * time.Second}
	w.door = permit.NewDoor(db, log)
	if err := w.door.Platform(t.Context()); err != nil {
		t.Fatal(err)
	}
	post, err := notice.NewPost(db, notice.Config{House: notice.House{Base: "https://holdfast.test"}, Sender: w, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.accounts, err = account.New(w.door, post, account.Config{Cost: account.Cost{Memory: 64, Passes: 1, Lanes: 1}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.detect = detect.New(w.door, post)
	w.guard, err = guard.New(w.door, w.accounts, post, w.detect, log, guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w.door.Join(w.accounts, w.guard)
	if _, err := account.AddService(t.Context(), w.door, evidence.Actor{Kind: evidence.Operator, ID: "one"}, w.service.ID, []string{account.ScopeLedger}, nil); err != nil {
		t.Fatal(err)
	}
	w.from = w.accounts.From("192.0.2.7", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	if err := post.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), w.limit)
		defer cancel()
		if err := post.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := w.accounts.SignUp(t.Context(), w.from, account.SignUp{Mail: mail, Password: password}); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(w.mail("Confirm your mail address").Text, "https://holdfast.test/verify/")
	token, _, _ := strings.Cut(rest, "\n")
	verified, err := w.accounts.Verify(t.Context(), w.from, token)
	if err != nil {
		t.Fatal(err)
	}
	w.holder = verified.Session
	return w
}

func each(t *testing.T, f func(t *testing.T, w *town)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { f(t, build(t, db)) })
}

// mail returns the next mail with a subject.
func (w *town) mail(subject string) notice.Mail {
	w.t.Helper()
	timeout := time.After(w.limit)
	for {
		select {
		case m := <-w.mails:
			if m.Subject == subject {
				return m
			}
		case <-timeout:
			w.t.Fatalf("no mail %q", subject)
		}
	}
}

func (w *town) move(ref, asset, before, after string, at time.Time) ledger.Movement {
	w.t.Helper()
	b, err1 := ledger.ParseAmount(before)
	a, err2 := ledger.ParseAmount(after)
	delta, err3 := a.Sub(b)
	if err1 != nil || err2 != nil || err3 != nil {
		w.t.Fatal(err1, err2, err3)
	}
	return ledger.Movement{Reference: ref, Asset: asset, Before: b, After: a, Delta: delta, Kind: ledger.Withdrawal, At: at}
}

func (w *town) report(movements ...ledger.Movement) (recorded, known int) {
	w.t.Helper()
	recorded, known, err := w.detect.Report(w.t.Context(), w.service, w.holder.Account, movements)
	if err != nil {
		w.t.Fatal(err)
	}
	return recorded, known
}

func (w *town) signs(open bool) []detect.Sign {
	w.t.Helper()
	signs, err := detect.Signs(w.t.Context(), w.db, w.holder.Account, open, 10)
	if err != nil {
		w.t.Fatal(err)
	}
	return signs
}

func (w *town) entries() int64 {
	w.t.Helper()
	var n int64
	if err := w.db.QueryRow(w.t.Context(), `SELECT chain_seq FROM standing WHERE account_id = $1`, string(w.holder.Account)).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestFallingBalanceRaisesOneSignADay(t *testing.T) {
	each(t, func(t *testing.T, w *town) {
		now := w.db.Now()
		w.report(
			w.move("d-1", "BTC", "0", "1.2", now.Add(-30*24*time.Hour)),
			w.move("d-2", "USDT", "0", "30000", now.Add(-30*24*time.Hour)),
			w.move("w-1", "BTC", "1.2", "1.1", now.Add(-3*time.Hour)),
			w.move("w-2", "BTC", "1.1", "1", now.Add(-2*time.Hour)),
		)
		if signs := w.signs(true); len(signs) != 0 {
			t.Fatalf("a fall of 16 %% is a sign: %+v", signs)
		}
		w.report(w.move("w-3", "BTC", "1", "0.9", now.Add(-time.Hour))) // together 25 %
		signs := w.signs(true)
		if len(signs) != 1 || signs[0].Rule != detect.BalanceFell || signs[0].Detail.Percent != 25 || signs[0].Detail.Before.String() != "1.2" || signs[0].Detail.After.String() != "0.9" {
			t.Fatalf("signs %+v", signs)
		}
		m := w.mail("Your balance fell")
		if m.To != mail || !strings.Contains(m.Text, "fell by 25 %") || strings.Count(m.Text, "https://holdfast.test/freeze/") != 1 {
			t.Errorf("mail to %s:\n%s", m.To, m.Text)
		}
		if !strings.Contains(m.Text, fmt.Sprintf("Record %d ·", w.entries())) {
			t.Errorf("the mail does not name entry %d:\n%s", w.entries(), m.Text)
		}
		if words := signs[0].Sentence(); words != "Your balance of BTC fell by 25 % within 24 hours, from 1.2 to 0.9. Was it you?" {
			t.Error(words)
		}
		w.report(w.move("w-4", "BTC", "0.9", "0.1", now), w.move("w-5", "USDT", "30000", "1", now))
		if signs := w.signs(false); len(signs) != 1 {
			t.Errorf("the rule spoke %d times in a day", len(signs))
		}
		tomorrow := w.detect.At(now.Add(24 * time.Hour))
		if _, _, err := tomorrow.Report(t.Context(), w.service, w.holder.Account, []ledger.Movement{w.move("w-6", "BTC", "0.1", "0", now.Add(24*time.Hour))}); err != nil {
			t.Fatal(err)
		}
		if signs := w.signs(false); len(signs) != 2 || signs[0].Detail.Percent != 100 {
			t.Errorf("the next day: %+v", signs)
		}
	})
}

func TestOldFallIsNoSign(t *testing.T) {
	each(t, func(t *testing.T, w *town) {
		now := w.db.Now()
		w.report(w.move("w-1", "BTC", "1.2", "0.5", now.Add(-25*time.Hour)))
		w.report(w.move("w-2", "BTC", "0.5", "0.45", now))
		if signs := w.signs(false); len(signs) != 0 {
			t.Errorf("signs %+v", signs)
		}
	})
}

func TestHolderChoosesTheLimit(t *testing.T) {
	each(t, func(t *testing.T, w *town) {
		by := w.holder.Actor(w.from)
		if err := w.accounts.SetLimit(t.Context(), by, w.holder.Account, 60, password); err != nil {
			t.Fatal(err)
		}
		now := w.db.Now()
		w.report(w.move("w-1", "BTC", "1", "0.5", now))
		if signs := w.signs(false); len(signs) != 0 {
			t.Errorf("below the limit: %+v", signs)
		}
		w.report(w.move("w-2", "BTC", "0.5", "0.3", now))
		if signs := w.signs(false); len(signs) != 1 || signs[0].Detail.Limit != 60 {
			t.Errorf("above the limit: %+v", signs)
		}
	})
}

func TestReportIsAllOrNothingAndLeavesOneEntry(t *testing.T) {
	each(t, func(t *testing.T, w *town) {
		now := w.db.Now()
		a, b := w.move("1", "BTC", "1", "0.9", now), w.move("2", "BTC", "0.9", "0.95", now)
		before := w.entries()
		if recorded, known := w.report(a, b); recorded != 2 || known != 0 {
			t.Errorf("recorded %d, known %d", recorded, known)
		}
		if got := w.entries(); got != before+1 {
			t.Errorf("%d entries for one report", got-before)
		}
		if recorded, known := w.report(b, a); recorded != 0 || known != 2 {
			t.Errorf("again: recorded %d, known %d", recorded, known)
		}
		if got := w.entries(); got != before+1 {
			t.Error("a repeat left an entry")
		}
		other := w.move("1", "BTC", "1", "0.8", now)
		for name, c := range map[string]struct {
			list []ledger.Movement
			kind fault.Kind
		}{
			"other content": {[]ledger.Movement{w.move("3", "BTC", "0.95", "0.9", now), other}, fault.Conflict},
			"bad sum":       {[]ledger.Movement{w.move("3", "BTC", "0.95", "0.9", now), {Reference: "4", Asset: "BTC", Kind: ledger.Fee, At: now, After: a.After}}, fault.Invalid},
			"nothing":       {nil, fault.Invalid},
			"too many":      {make([]ledger.Movement, detect.MaxMovements+1), fault.Invalid},
		} {
			if _, _, err := w.detect.Report(t.Context(), w.service, w.holder.Account, c.list); fault.KindOf(err) != c.kind {
				t.Errorf("%s: %v", name, err)
			}
		}
		if list, err := ledger.Movements(t.Context(), w.db, w.holder.Account, ledger.Place{}, 10); err != nil || len(list) != 2 {
			t.Errorf("%d movements, %v", len(list), err)
		}
	})
}

func TestOnlyThePlatformReports(t *testing.T) {
	each(t, func(t *testing.T, w *town) {
		by := w.holder.Actor(w.from)
		if _, _, err := w.detect.Report(t.Context(), by, w.holder.Account, []ledger.Movement{w.move("1", "BTC", "1", "0.9", w.db.Now())}); fault.KindOf(err) != fault.Denied {
			t.Errorf("a holder reported a movement: %v", err)
		}
		if _, _, err := w.detect.Report(t.Context(), w.service, account.ID(store.NewID()), []ledger.Movement{w.move("1", "BTC", "1", "0.9", w.db.Now())}); fault.KindOf(err) != fault.NotFound {
			t.Errorf("a movement of no account: %v", err)
		}
	})
}

func TestWithdrawalByNewDeviceIsASign(t *testing.T) {
	each(t, func(t *testing.T, w *town) {
		by := w.holder.Actor(w.from)
		code, err := w.accounts.HandOver(t.Context(), by, w.holder.Account, w.service.ID)
		if err != nil {
			t.Fatal(err)
		}
		session, err := w.accounts.Redeem(t.Context(), w.service, code.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		request := func(key string) {
			t.Helper()
			d, _, err := w.guard.Request(t.Context(), w.service, guard.Request{
				Credential: guard.Credential{Session: session.Token.Reveal()}, IdempotencyKey: key, Asset: "BTC", Amount: "0.05", Address: "bc1qthief",
			})
			if err != nil || d.Verdict != guard.Allow {
				t.Fatalf("%+v, %v", d, err)
			}
		}
		request("1")
		request("1") // a repeat is not a second withdrawal
		request("2")
		signs := w.signs(true)
		if len(signs) != 1 || signs[0].Rule != detect.NewSource || signs[0].Detail.Kind != "session" || signs[0].Detail.Name != "Firefox on Linux" || signs[0].Detail.Address != "bc1qthief" {
			t.Fatalf("signs %+v", signs)
		}
		if m := w.mail("Withdrawal by a new device"); !strings.Contains(m.Text, "Firefox on Linux") || !strings.Contains(m.Text, "0.05 BTC") {
			t.Errorf("mail:\n%s", m.Text)
		}

		if err := w.detect.Dismiss(t.Context(), by, w.holder.Account, signs[0].ID); err != nil {
			t.Fatal(err)
		}
		if err := w.detect.Dismiss(t.Context(), by, w.holder.Account, signs[0].ID); err != nil {
			t.Errorf("dismissing twice: %v", err)
		}
		if err := w.detect.Dismiss(t.Context(), by, w.holder.Account, "none"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("a sign that is not there: %v", err)
		}
		if open, all := w.signs(true), w.signs(false); len(open) != 0 || len(all) != 1 || all[0].Seen.IsZero() {
			t.Errorf("open %+v, all %+v", open, all)
		}
	})
}
