package guard_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/guard"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
)

func TestFreezeClosesEverythingAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		key := w.key()
		d, pending, err := w.guard.Request(ctx, w.bot(), w.byKey(key.Key.ID))
		if err != nil || d.Verdict != guard.Allow || pending.State != guard.Requested {
			t.Fatalf("%+v %+v %v", d, pending, err)
		}
		_, left, err := w.guard.Request(ctx, w.bot(), w.byKey(key.Key.ID))
		if err != nil {
			t.Fatal(err)
		}
		if d, left, err = w.guard.Confirm(ctx, w.service, w.id, left.ID); err != nil || d.Verdict != guard.Allow || left.State != guard.Confirmed {
			t.Fatalf("%+v %+v %v", d, left, err)
		}

		if f := w.freeze(); f.Already || f.Epoch != 2 {
			t.Errorf("%+v", f)
		}

		if d, now, err := w.guard.Confirm(ctx, w.service, w.id, pending.ID); err != nil || d.Verdict != guard.FrozenNow || now.State != guard.Cancelled {
			t.Errorf("confirm after the freeze: %+v %s %v", d, now.State, err)
		}
		if d, now, err := w.guard.Confirm(ctx, w.service, w.id, left.ID); err != nil || d.Verdict != guard.FrozenNow || now.State != guard.ConfirmedBeforeFreeze {
			t.Errorf("a second confirm after the freeze: %+v %s %v", d, now.State, err)
		}
		if d, _, err := w.guard.Request(ctx, w.bot(), w.byKey(key.Key.ID)); err != nil || d.Verdict != guard.FrozenNow {
			t.Errorf("request after the freeze: %+v %v", d, err)
		}
		p, err := w.guard.Protection(ctx, w.id)
		if err != nil || !p.Frozen() || !p.Contained || len(p.MayHaveLeft) != 1 || p.MayHaveLeft[0].ID != left.ID {
			t.Errorf("%+v %v", p, err)
		}
		for _, r := range p.Receipts {
			want := map[permit.Exit]int64{permit.PendingWithdrawal: 1, permit.APIKey: 1}[r.Exit]
			if !r.Confirmed() || r.Stopped != want {
				t.Errorf("receipt %+v", r)
			}
		}
		w.mail("frozen")
	})
}

func TestFreezingTwiceIsFine(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		first := w.freeze()
		second := w.freeze()
		if first.Already || !second.Already || first.Epoch != second.Epoch {
			t.Errorf("%+v, then %+v", first, second)
		}
	})
}

func TestEveryChannelFreezes(t *testing.T) {
	channels := map[string]func(context.Context, *world) (guard.Frozenness, error){
		"session": func(ctx context.Context, w *world) (guard.Frozenness, error) {
			return w.guard.Freeze(ctx, w.actor(), w.id, "")
		},
		"operator": func(ctx context.Context, w *world) (guard.Frozenness, error) {
			return w.guard.Freeze(ctx, evidence.Actor{Kind: evidence.Operator, ID: "one"}, w.id, "called us")
		},
		"code": func(ctx context.Context, w *world) (guard.Frozenness, error) {
			return w.guard.FreezeByCode(ctx, w.from, mail, w.code.Reveal())
		},
		"mailed link": func(ctx context.Context, w *world) (guard.Frozenness, error) {
			if err := w.guard.RequestLink(ctx, w.from, mail); err != nil {
				return guard.Frozenness{}, err
			}
			return w.guard.FreezeByLink(ctx, w.from, w.token("freeze", w.mail("(?i)freeze")))
		},
	}
	for name, freeze := range channels {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				key := w.key()
				f, err := freeze(t.Context(), w)
				if err != nil || f.Account != w.id {
					t.Fatalf("%+v %v", f, err)
				}
				if d, err := w.guard.Check(t.Context(), w.bot(), guard.Query{Integrator: "exchange", Credential: guard.Credential{Key: key.Key.ID}, Exit: permit.Order, Address: "203.0.113.7"}); err != nil || d.Verdict != guard.FrozenNow {
					t.Errorf("%+v %v", d, err)
				}
			})
		})
	}
}

// wrongCode returns a code that could be one and is nobody's.
func wrongCode(t *testing.T) string {
	t.Helper()
	for _, check := range "0123456789ABCDEFGHJKMNPQRSTVWXYZ" {
		if code := "00000-00000-00000-0000" + string(check); func() bool { _, err := account.ParseFreezeCode(code); return err == nil }() {
			return code
		}
	}
	t.Fatal("no check character fits")
	return ""
}

func TestWrongProofFreezesNothingAndTellsNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, known := w.guard.FreezeByCode(t.Context(), w.from, mail, wrongCode(t))
		_, unknown := w.guard.FreezeByCode(t.Context(), w.from, "nobody@holdfast.test", w.code.Reveal())
		if known == nil || unknown == nil || fault.Say(known) != fault.Say(unknown) || fault.CodeOf(known) != fault.CodeOf(unknown) {
			t.Errorf("known address: %v; unknown address: %v", known, unknown)
		}
		if _, err := w.guard.FreezeByLink(t.Context(), w.from, "AAAA"); err == nil {
			t.Error("a link that does not exist froze")
		}
		if p, err := w.guard.Protection(t.Context(), w.id); err != nil || p.Frozen() {
			t.Errorf("%+v %v", p, err)
		}
	})
}

// A flood of wrong codes from one place does not keep the right one out.
func TestRightCodeIsHonouredBeforeAnyLimit(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var last error
		for range 15 {
			_, last = w.guard.FreezeByCode(t.Context(), w.from, mail, wrongCode(t))
		}
		if fault.KindOf(last) != fault.TooMany {
			t.Errorf("after 15 wrong codes: %v", last)
		}
		if _, err := w.guard.FreezeByCode(t.Context(), w.from, mail, w.code.Reveal()); err != nil {
			t.Error(err)
		}
	})
}

func TestPressingSessionLivesOnOnlyToProtect(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.freeze()
		s, err := w.accounts.Session(t.Context(), w.session.Token.Reveal(), w.from)
		if err != nil || s.Mode != permit.Protective {
			t.Fatalf("%+v %v", s, err)
		}
		if _, err := w.accounts.DeleteAllKeys(t.Context(), s.Actor(w.from), w.id); err != nil {
			t.Errorf("deleting keys while frozen: %v", err)
		}
		_, err = w.accounts.CreateKey(t.Context(), s.Actor(w.from), w.id, account.NewKey{Label: "x", Kind: account.HMAC, Scopes: []string{"read"}, Password: password})
		if fault.CodeOf(err) != "frozen" {
			t.Errorf("making a key while frozen: %v", err)
		}
		// Another proof ends the protective session: it may have been the thief who pressed.
		if _, err := w.guard.FreezeByCode(t.Context(), w.from, mail, w.code.Reveal()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.accounts.Session(t.Context(), w.session.Token.Reveal(), w.from); err == nil {
			t.Error("the first protective session outlived a press with another proof")
		}
		if p, err := w.guard.Protection(t.Context(), w.id); err != nil || !p.Frozen() || p.Epoch != 2 {
			t.Errorf("%+v %v", p, err)
		}
	})
}

func TestReportWithoutProofHoldsOnceAWeek(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for range 3 {
			if err := w.guard.RequestLink(t.Context(), w.from, mail); err != nil {
				t.Fatal(err)
			}
			w.mail("(?i)freeze")
		}
		var holds int64
		if err := w.db.QueryRow(t.Context(), `SELECT count(DISTINCT hold_id) FROM hold WHERE account_id = $1`, string(w.id)).Scan(&holds); err != nil || holds != 1 {
			t.Errorf("%d holds, %v", holds, err)
		}
		d, _, err := w.guard.Request(t.Context(), w.bot(), w.byKey(w.key().Key.ID))
		if err != nil || d.Verdict != guard.Held || d.Hold != guard.HeldUnproven || d.Until.IsZero() {
			t.Errorf("%+v %v", d, err)
		}
	})
}

func TestOutsideEnforcersConfirmForTheirEpochOnly(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		if err := w.guard.RegisterEnforcer(ctx, w.service, "Matching engine", []permit.Exit{permit.Order, permit.OpenOrder, "x_card"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.guard.SubmitReceipt(ctx, w.service, w.id, 1, permit.Order, 0, ""); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a receipt without a freeze: %v", err)
		}
		f := w.freeze()
		awaited, err := w.guard.Awaited(ctx, "exchange")
		if err != nil || len(awaited) != 1 || awaited[0].Account != w.id || len(awaited[0].Exits) != 3 {
			t.Fatalf("%+v %v", awaited, err)
		}
		for _, wrong := range []struct {
			by    evidence.Actor
			epoch int64
			exit  permit.Exit
		}{
			{w.service, f.Epoch - 1, permit.Order},
			{w.service, f.Epoch + 1, permit.Order},
			{w.service, f.Epoch, permit.SignIn},
			{evidence.Actor{Kind: evidence.Integrator, ID: "another"}, f.Epoch, permit.Order},
		} {
			if _, err := w.guard.SubmitReceipt(ctx, wrong.by, w.id, wrong.epoch, wrong.exit, 1, ""); err == nil {
				t.Errorf("accepted %+v", wrong)
			}
		}
		for i, exit := range awaited[0].Exits {
			if p, err := w.guard.Protection(ctx, w.id); err != nil || p.Contained {
				t.Errorf("contained after %d receipts, %v", i, err)
			}
			first, err := w.guard.SubmitReceipt(ctx, w.service, w.id, f.Epoch, exit, 2, "2 orders cancelled")
			if err != nil {
				t.Fatal(err)
			}
			again, err := w.guard.SubmitReceipt(ctx, w.service, w.id, f.Epoch, exit, 0, "")
			if err != nil || !again.Equal(first) {
				t.Errorf("a repeat: %v, first %v, %v", again, first, err)
			}
		}
		if p, err := w.guard.Protection(ctx, w.id); err != nil || !p.Contained || p.ContainedAt.IsZero() {
			t.Errorf("%+v %v", p, err)
		}
	})
}

func TestRestoreNeedsTwoOperatorsAndHoldsPayouts(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		key := w.key()
		one, two := evidence.Actor{Kind: evidence.Operator, ID: "one"}, evidence.Actor{Kind: evidence.Operator, ID: "two"}
		if _, err := w.guard.Propose(ctx, one, w.id, "identity checked", false); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a proposal for an open account: %v", err)
		}
		w.freeze()
		plan, err := w.guard.Propose(ctx, one, w.id, "identity checked in person", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.guard.Approve(ctx, one, plan.ID); fault.CodeOf(err) != "same_person" {
			t.Errorf("approved by the one who proposed: %v", err)
		}
		if _, err := w.guard.Approve(ctx, w.actor(), plan.ID); err == nil {
			t.Error("a holder approved a restore")
		}
		if _, err := w.guard.Approve(ctx, two, plan.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := w.guard.Approve(ctx, two, plan.ID); fault.KindOf(err) != fault.Conflict {
			t.Errorf("approved twice: %v", err)
		}
		p, err := w.guard.Protection(ctx, w.id)
		if err != nil || p.Frozen() || p.Epoch != 3 || len(p.Blocks) != 3 || p.Blocks[0].Kind != guard.HeldRestored {
			t.Errorf("%+v %v", p, err)
		}
		if _, err := w.accounts.Session(ctx, w.session.Token.Reveal(), w.from); err == nil {
			t.Error("a session came back with the restore")
		}
		if d, err := w.guard.Check(ctx, w.bot(), guard.Query{Integrator: "exchange", Credential: guard.Credential{Key: key.Key.ID}, Exit: permit.Order, Address: "203.0.113.7"}); err != nil || d.Verdict != guard.UnknownCredential {
			t.Errorf("a key came back with the restore: %+v %v", d, err)
		}
		// A plan for this freeze opens no later one.
		again := evidence.Actor{Kind: evidence.Operator, ID: "one"}
		if _, err := w.guard.Freeze(ctx, again, w.id, "again"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.guard.Approve(ctx, two, plan.ID); fault.KindOf(err) != fault.Conflict {
			t.Errorf("an old plan: %v", err)
		}
		w.mail("(?i)restore|open")
	})
}

// The mail about a proposal says that pressing Freeze again stops it.
func TestAPressStopsAProposal(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		one, two := evidence.Actor{Kind: evidence.Operator, ID: "one"}, evidence.Actor{Kind: evidence.Operator, ID: "two"}
		w.freeze()
		plan, err := w.guard.Propose(ctx, one, w.id, "identity checked in person", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.guard.FreezeByLink(ctx, w.from, w.token("freeze", w.mail("(?i)asked for"))); err != nil {
			t.Fatal(err)
		}
		if _, err := w.guard.Approve(ctx, two, plan.ID); fault.CodeOf(err) != "pressed_again" {
			t.Errorf("approved after a press: %v", err)
		}
		if plan, err = w.guard.Propose(ctx, one, w.id, "the holder pressed by mistake", false); err != nil {
			t.Fatal(err)
		}
		if _, err := w.guard.Approve(ctx, two, plan.ID); err != nil {
			t.Error(err)
		}
	})
}

// One person with two names is one person: a second self, enrolled a moment ago or not at all, can
// neither propose nor approve, and a proposal ends with the operator who made it.
func TestASecondSelfRestoresNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		one, two, three := evidence.Actor{Kind: evidence.Operator, ID: "one"}, evidence.Actor{Kind: evidence.Operator, ID: "two"}, evidence.Actor{Kind: evidence.Operator, ID: "three"}
		w.freeze()
		for _, self := range []evidence.Actor{three, {Kind: evidence.Operator, ID: "nobody enrolled"}} {
			if _, err := w.guard.Propose(ctx, self, w.id, "trust me", false); fault.KindOf(err) != fault.Denied {
				t.Errorf("%s proposed: %v", self.ID, err)
			}
		}
		plan, err := w.guard.Propose(ctx, one, w.id, "identity checked in person", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.guard.Approve(ctx, three, plan.ID); fault.CodeOf(err) != "new_operator" {
			t.Errorf("a second self approved: %v", err)
		}
		if err := account.RemoveOperator(ctx, w.door, two, "one"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.guard.Approve(ctx, two, plan.ID); fault.KindOf(err) != fault.Denied {
			t.Errorf("approved what a removed operator proposed: %v", err)
		}
		if p, err := w.guard.Protection(ctx, w.id); err != nil || !p.Frozen() {
			t.Errorf("%+v %v", p, err)
		}
	})
}

// Two processes on one PostgreSQL: a freeze acknowledged by one is seen by every question that is
// asked of the other after it.
func TestTwoNodesDecideAlike(t *testing.T) {
	dsn := storetest.PostgresDSN(t)
	keys := storetest.Keys(t)
	open := func() *store.DB {
		db, err := store.Open(t.Context(), store.Config{DSN: dsn, Keys: keys, AllowVolatile: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	here := start(t, open())
	there := node(t, open(), nil)
	key := here.key()
	made := key.Secret.Reveal()
	signed := []byte("symbol=BTCUSDT&timestamp=1")
	mac := hmac.New(sha256.New, []byte(made))
	mac.Write(signed)
	signature := mac.Sum(nil)
	ask := func(ctx context.Context) (guard.Verdict, error) {
		a, err := there.guard.Authenticate(ctx, there.bot(), guard.Signed{KeyID: key.Key.ID, Bytes: signed, Signature: signature, Exit: permit.Order, Address: "203.0.113.7"})
		return a.Verdict, err
	}
	if v, err := ask(t.Context()); err != nil || v != guard.Allow {
		t.Fatalf("before: %v %v", v, err)
	}
	var acknowledged atomic.Bool
	var wg sync.WaitGroup
	var asked, wrong atomic.Int64
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	after := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for range 200 {
				was := acknowledged.Load() // the question begins after this
				v, err := ask(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				if was {
					asked.Add(1)
					if v == guard.Allow {
						wrong.Add(1)
					}
				}
			}
			select {
			case <-after:
			case <-ctx.Done():
			}
		})
	}
	here.freeze()
	acknowledged.Store(true)
	for range 50 {
		if v, err := ask(ctx); err != nil || v != guard.FrozenNow {
			t.Fatalf("after: %v %v", v, err)
		}
	}
	close(after)
	wg.Wait()
	if wrong.Load() != 0 {
		t.Errorf("%d of %d questions asked after the acknowledgement were allowed", wrong.Load(), asked.Load())
	}
}

// The password that a thief knew does not open the account again after the restore, unless the plan
// says that it should; one that was replaced during the freeze does.
func TestRestoreVoidsAPasswordThatWasNotReplaced(t *testing.T) {
	for _, c := range []struct {
		name          string
		keep, replace bool
		works         string
	}{
		{"not replaced", false, false, ""},
		{"kept on purpose", true, false, password},
		{"replaced during the freeze", false, true, "Another-Horse-8-Battery"},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				ctx := t.Context()
				one, two := evidence.Actor{Kind: evidence.Operator, ID: "one"}, evidence.Actor{Kind: evidence.Operator, ID: "two"}
				w.freeze()
				if c.replace {
					if err := w.accounts.RequestPasswordCode(ctx, w.actor(), w.id); err != nil {
						t.Fatal(err)
					}
					code := strings.TrimSpace(regexp.MustCompile(`(?m)^    (\S.*)$`).FindString(w.mail("code to change").Text))
					if _, err := w.accounts.ChangePassword(ctx, w.actor(), w.id, account.PasswordChange{Code: code, Next: c.works}); err != nil {
						t.Fatal(err)
					}
				}
				plan, err := w.guard.Propose(ctx, one, w.id, "identity checked in person", c.keep)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.guard.Approve(ctx, two, plan.ID); err != nil {
					t.Fatal(err)
				}
				for _, try := range []string{password, "Another-Horse-8-Battery"} {
					_, err := w.accounts.SignIn(ctx, w.from, account.Entry{Mail: mail, Password: try})
					if (err == nil) != (try == c.works) {
						t.Errorf("sign-in with %q: %v", try, err)
					}
				}
			})
		})
	}
}
