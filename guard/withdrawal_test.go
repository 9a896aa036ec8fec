package guard_test

import (
	"context"
	"errors"
	"sync"
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

func TestRepeatReturnsTheFirstDecisionAndTheStateNow(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.byKey(w.key().Key.ID)
		_, first, err := w.guard.Request(ctx, w.bot(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, again, err := w.guard.Request(ctx, w.bot(), r); err != nil || again.ID != first.ID {
			t.Errorf("%+v %v", again, err)
		}
		for _, other := range []func(*guard.Request){
			func(r *guard.Request) { r.Amount = "0.06" },
			func(r *guard.Request) { r.Address = "bc1qthief" },
			func(r *guard.Request) { r.Internal = true },
		} {
			changed := r
			other(&changed)
			if _, _, err := w.guard.Request(ctx, w.bot(), changed); fault.KindOf(err) != fault.Conflict {
				t.Errorf("the same key with other content: %v", err)
			}
		}
		same := r
		same.Amount = "0.0500" // the same amount in other words
		if _, again, err := w.guard.Request(ctx, w.bot(), same); err != nil || again.ID != first.ID {
			t.Errorf("%+v %v", again, err)
		}
		w.freeze()
		d, now, err := w.guard.Request(ctx, w.bot(), r)
		if err != nil || d.Verdict != guard.Allow || now.State != guard.Cancelled {
			t.Errorf("a repeat after the freeze: %+v %s %v", d, now.State, err)
		}
	})
}

func TestWithdrawalStates(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		key := w.key().Key.ID
		request := func() guard.Withdrawal {
			d, out, err := w.guard.Request(ctx, w.bot(), w.byKey(key))
			if err != nil || d.Verdict != guard.Allow {
				t.Fatalf("%+v %v", d, err)
			}
			return out
		}
		confirm := func(x guard.Withdrawal) error {
			_, _, err := w.guard.Confirm(ctx, w.service, w.id, x.ID)
			return err
		}
		settle := func(x guard.Withdrawal) error { _, err := w.guard.Settle(ctx, w.service, w.id, x.ID, "tx"); return err }
		fail := func(x guard.Withdrawal) error { _, err := w.guard.Fail(ctx, w.service, w.id, x.ID, "no"); return err }
		for _, c := range []struct {
			name  string
			moves []func(guard.Withdrawal) error
			state guard.State
			last  fault.Kind // of the last move; -1 for success
		}{
			{"confirmed", []func(guard.Withdrawal) error{confirm}, guard.Confirmed, -1},
			{"confirmed twice", []func(guard.Withdrawal) error{confirm, confirm}, guard.Confirmed, -1},
			{"settled", []func(guard.Withdrawal) error{confirm, settle}, guard.Settled, -1},
			{"settled twice", []func(guard.Withdrawal) error{confirm, settle, settle}, guard.Settled, -1},
			{"settled without a confirm", []func(guard.Withdrawal) error{settle}, guard.Requested, fault.Conflict},
			{"failed", []func(guard.Withdrawal) error{confirm, fail}, guard.Failed, -1},
			{"failed before the confirm", []func(guard.Withdrawal) error{fail}, guard.Failed, -1},
			{"confirmed after it failed", []func(guard.Withdrawal) error{fail, confirm}, guard.Failed, fault.Conflict},
			{"failed after it settled", []func(guard.Withdrawal) error{confirm, settle, fail}, guard.Settled, fault.Conflict},
		} {
			x := request()
			var err error
			for _, move := range c.moves {
				err = move(x)
			}
			if (c.last < 0) != (err == nil) || err != nil && fault.KindOf(err) != c.last {
				t.Errorf("%s: %v", c.name, err)
			}
			if now, err := w.guard.Withdrawal(ctx, w.service, w.id, x.ID); err != nil || now.State != c.state {
				t.Errorf("%s: is %s, %v", c.name, now.State, err)
			}
		}
		x := request()
		if _, _, err := w.guard.Confirm(ctx, evidence.Actor{Kind: evidence.Integrator, ID: "another"}, w.id, x.ID); fault.KindOf(err) != fault.NotFound {
			t.Errorf("another integrator confirmed: %v", err)
		}
	})
}

// What requested a withdrawal and was removed since takes it along: no freeze is needed.
func TestDeletedKeyConfirmsNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		key := w.key().Key.ID
		_, x, err := w.guard.Request(t.Context(), w.bot(), w.byKey(key))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.accounts.DeleteKey(t.Context(), w.actor(), w.id, key); err != nil {
			t.Fatal(err)
		}
		if d, _, err := w.guard.Confirm(t.Context(), w.service, w.id, x.ID); err != nil || d.Verdict != guard.UnknownCredential {
			t.Errorf("%+v %v", d, err)
		}
		if d, _, err := w.guard.Request(t.Context(), w.bot(), w.byKey(key)); err != nil || d.Verdict != guard.UnknownCredential {
			t.Errorf("%+v %v", d, err)
		}
	})
}

func TestRequestsThatCannotBe(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		key := w.key().Key.ID
		for name, spoil := range map[string]func(*guard.Request){
			"no amount":          func(r *guard.Request) { r.Amount = "" },
			"zero":               func(r *guard.Request) { r.Amount = "0.000" },
			"negative":           func(r *guard.Request) { r.Amount = "-1" },
			"an exponent":        func(r *guard.Request) { r.Amount = "1e3" },
			"not a number":       func(r *guard.Request) { r.Amount = "NaN" },
			"19 places":          func(r *guard.Request) { r.Amount = "0.0000000000000000001" },
			"no key":             func(r *guard.Request) { r.IdempotencyKey = "" },
			"a long key":         func(r *guard.Request) { r.IdempotencyKey = string(make([]byte, 129)) },
			"no asset":           func(r *guard.Request) { r.Asset = "" },
			"bytes that are not": func(r *guard.Request) { r.Address = "\xff" },
		} {
			r := w.byKey(key)
			spoil(&r)
			if _, _, err := w.guard.Request(t.Context(), w.bot(), r); fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestPasswordChangeHoldsWhatIsPending(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, x, err := w.guard.Request(t.Context(), w.bot(), w.byKey(w.key().Key.ID))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.accounts.ChangePassword(t.Context(), w.actor(), w.id, account.PasswordChange{Current: password, Next: "Another-Horse-8-Battery"}); err != nil {
			t.Fatal(err)
		}
		d, now, err := w.guard.Confirm(t.Context(), w.service, w.id, x.ID)
		if err != nil || d.Verdict != guard.Held || d.Hold != guard.HeldPasswordChanged || now.State != guard.Requested {
			t.Errorf("%+v %s %v", d, now.State, err)
		}
	})
}

// slow is a screen that does not answer in time.
type slow struct{}

func (slow) Screen(ctx context.Context, _ guard.Screened) (func(context.Context, *permit.Tx) error, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

type broken struct{}

func (broken) Screen(context.Context, guard.Screened) (func(context.Context, *permit.Tx) error, error) {
	return nil, errors.New("broken")
}

func TestScreenThatFailsIsAHold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := start(t, db)
		key := w.key().Key.ID
		for _, screen := range []guard.Screen{slow{}, broken{}} {
			screened := node(t, db, screen)
			d, _, err := screened.guard.Request(t.Context(), w.bot(), w.byKey(key))
			if err != nil || d.Verdict != guard.Held || d.Hold != guard.HeldScreen {
				t.Errorf("%T: %+v %v", screen, d, err)
			}
		}
		var n int64
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM withdrawal`).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d withdrawals were recorded, %v", n, err)
		}
	})
}

// While withdrawals race with a freeze, each one is either confirmed before it or never: none is
// confirmed after the acknowledgement, and none is left waiting.
func TestWithdrawalsRacingAFreeze(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		key := w.key().Key.ID
		frozen := make(chan struct{})
		var wg sync.WaitGroup
		started := make(chan struct{}, 100)
		for range 4 {
			wg.Go(func() {
				for {
					after := false
					select {
					case <-frozen:
						after = true
					default:
					}
					d, x, err := w.guard.Request(ctx, w.bot(), w.byKey(key))
					if err != nil {
						t.Error(err)
						return
					}
					if after {
						if d.Verdict != guard.FrozenNow {
							t.Errorf("requested after the acknowledgement: %+v", d)
						}
						return
					}
					if d.Verdict != guard.Allow {
						continue
					}
					if _, _, err := w.guard.Confirm(ctx, w.service, w.id, x.ID); err != nil {
						t.Error(err)
						return
					}
					select {
					case started <- struct{}{}:
					default:
					}
				}
			})
		}
		<-started
		<-started
		w.freeze()
		close(frozen)
		wg.Wait()
		all, err := w.guard.Withdrawals(ctx, w.id, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			if x.State != guard.Cancelled && x.State != guard.ConfirmedBeforeFreeze {
				t.Errorf("%s is %s", x.ID, x.State)
			}
		}
	})
}
