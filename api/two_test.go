package api_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/store"
	"holdfast/store/storetest"
)

// pair starts two servers on one PostgreSQL database, each with a handle of its own, as two
// processes have.
func pair(t *testing.T) (one, two *world) {
	t.Helper()
	dsn := storetest.PostgresDSN(t)
	handle := func() *store.DB {
		db, err := store.Open(t.Context(), store.Config{DSN: dsn, Keys: storetest.Keys(t)})
		must(t, err)
		t.Cleanup(func() { must(t, db.Close()) })
		return db
	}
	return open(t, handle()), open(t, handle())
}

// TestAFreezeOnOneServerIsSeenOnTheOther: at once, by Check and by Confirm, from the moment in
// which it was acknowledged; and its follower hears of it.
func TestAFreezeOnOneServerIsSeenOnTheOther(t *testing.T) {
	one, two := pair(t)
	ctx := t.Context()
	here, k := one.service("exchange")
	there := two.client(k)
	if v := verdict(t, there, byID("0198c0de-0000-7000-8000-000000000000"), ofPlatform(), "open_order"); v != unknownAccount {
		t.Fatalf("the key of one is not known to two: %s", v)
	}
	for round := range 5 {
		// Which node's queue mails a sign-up is chance, so each holder signs up at one and is
		// waited for at both.
		h := joinAt(one, two, "holder-"+string(rune('a'+round))+"@holdfast.test")
		session := one.handOver(h, here, "exchange").GetSession()
		waiting := request(t, there, wants(session, "1"))
		var acknowledged atomic.Bool
		var group sync.WaitGroup
		var asked, late atomic.Int64
		until := make(chan struct{})
		for range 4 {
			group.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-until:
						return
					default:
					}
					after := acknowledged.Load() // read before the question is asked
					v := verdict(t, there, byID(h.id), ofSession(session), "order")
					asked.Add(1)
					if after && v != frozen {
						t.Errorf("after the acknowledgement: %s", v)
					}
					if after && late.Add(1) >= 20 {
						return
					}
				}
			})
		}
		_, err := h.app.Freeze(ctx, ask(&holdfastv1.FreezeRequest{}))
		acknowledged.Store(true)
		must(t, err)
		out, err := there.Guard.ConfirmWithdrawal(ctx, ask(&holdfastv1.ConfirmWithdrawalRequest{Account: byID(h.id), WithdrawalId: waiting.GetWithdrawalId()}))
		must(t, err)
		if out.Msg.GetDecision().GetVerdict() != frozen || out.Msg.GetWithdrawal().GetState() != cancelled {
			t.Errorf("confirmed at the other server: %v", out.Msg)
		}
		group.Wait()
		close(until)
		if asked.Load() < 20 {
			t.Errorf("only %d questions", asked.Load())
		}
	}
}

// joinAt is world.join where two servers share one queue of mails.
func joinAt(one, two *world, mail string) *holder {
	one.t.Helper()
	both := make(inbox, 1000)
	done := make(chan struct{})
	var group sync.WaitGroup
	for _, w := range []*world{one, two} {
		group.Go(func() {
			for {
				select {
				case m := <-w.inbox:
					both <- m
				case <-done:
					return
				}
			}
		})
	}
	merged := *one
	merged.inbox = both
	h := merged.join(mail)
	close(done)
	group.Wait()
	return h
}

// TestAFollowerHearsOfTheOtherServer: within the time of a poll, not of a timeout.
func TestAFollowerHearsOfTheOtherServer(t *testing.T) {
	one, two := pair(t)
	here, k := one.service("exchange")
	there := two.client(k)
	_, err := here.Guard.RegisterEnforcer(t.Context(), ask(&holdfastv1.RegisterEnforcerRequest{Title: "Exchange", Exits: []string{"order"}}))
	must(t, err)
	h := joinAt(one, two, mail)
	code := h.code
	err = there.FollowFrom(t.Context(), nil, func(m *holdfastv1.FollowResponse) error {
		if m.GetClosing() != nil {
			if d := time.Since(m.GetClosing().GetAt().AsTime()); m.GetClosing().GetAccountId() != string(h.id) || d > 5*time.Second {
				t.Errorf("after %s: %v", d, m)
			}
			return errThrown
		}
		if code != "" {
			_, err := client.Holder(one.http(), one.url, "").FreezeWithCode(t.Context(), ask(&holdfastv1.FreezeWithCodeRequest{Mail: mail, Code: code}))
			must(t, err)
			code = ""
		}
		return nil
	})
	if err != errThrown {
		t.Fatal(err)
	}
}
