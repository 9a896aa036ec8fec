package api_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"holdfast/account"
	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/permit"
)

// many registers accounts that the platform keeps.
func many(t testing.TB, c *client.Client, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		out, err := c.Accounts.RegisterAccount(t.Context(), ask(&holdfastv1.RegisterAccountRequest{ExternalId: fmt.Sprint("user-", i), Mail: fmt.Sprintf("user-%d@holdfast.test", i)}))
		must(t, err)
		ids[i] = out.Msg.GetAccountId()
	}
	return ids
}

// TestFollowMissesNothing freezes many accounts at once while a follower is thrown off its stream
// again and again: every freeze arrives, and positions only grow.
func TestFollowMissesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c, _ := w.service("exchange")
		_, err := c.Guard.RegisterEnforcer(t.Context(), ask(&holdfastv1.RegisterEnforcerRequest{Title: "Exchange", Exits: []string{"order"}}))
		must(t, err)
		ids := many(t, c, 40)
		head, err := w.guard.Head(t.Context())
		must(t, err)
		ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
		defer stop()
		seen, messages := map[string]int{}, 0
		at := head[:]
		followed := make(chan error, 1)
		go func() {
			// The function fails on purpose, and follows again from what it had kept.
			for len(seen) < len(ids) && ctx.Err() == nil {
				err := c.FollowFrom(ctx, at, func(m *holdfastv1.FollowResponse) error {
					if messages++; messages%7 == 0 {
						return errThrown
					}
					if freeze := m.GetClosing(); freeze != nil {
						seen[freeze.GetAccountId()]++
						if freeze.GetExternalId() == "" {
							return fmt.Errorf("without our name: %v", m)
						}
						// What is answered is not awaited any more, or the same few would begin
						// every stream.
						_, err := c.Guard.SubmitReceipt(ctx, ask(&holdfastv1.SubmitReceiptRequest{Account: byID(freeze.GetAccountId()), Epoch: freeze.GetEpoch(), Exit: "order"}))
						if err != nil {
							return err
						}
					}
					for lane, position := range m.GetPositions() {
						if position < at[lane] {
							return fmt.Errorf("lane %d went back from %d to %d", lane, at[lane], position)
						}
					}
					at = slices.Clone(m.GetPositions())
					if len(seen) == len(ids) {
						return errThrown
					}
					return nil
				})
				if err != errThrown {
					followed <- err
					return
				}
			}
			followed <- ctx.Err()
		}()
		var group sync.WaitGroup
		for _, id := range ids {
			group.Go(func() {
				if _, err := w.guard.Freeze(t.Context(), operator, account.ID(id), "test"); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		must(t, <-followed)
		for _, id := range ids {
			if seen[id] == 0 {
				t.Errorf("the freeze of %s never arrived", id)
			}
		}
	})
}

var errThrown = fmt.Errorf("thrown off")

// TestFollowBeginsWithWhatIsAwaited: an enforcer that was down when the freeze happened is told.
func TestFollowBeginsWithWhatIsAwaited(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		c, _ := w.service("exchange")
		_, err := c.Guard.RegisterEnforcer(ctx, ask(&holdfastv1.RegisterEnforcerRequest{Title: "Exchange", Exits: []string{"order", "open_order"}}))
		must(t, err)
		ids := many(t, c, 3)
		for _, id := range ids {
			_, err := w.guard.Freeze(ctx, operator, account.ID(id), "test")
			must(t, err)
		}
		awaited := func() (names []string) {
			err := c.FollowFrom(ctx, nil, func(m *holdfastv1.FollowResponse) error {
				if m.GetClosing() == nil {
					if len(m.GetPositions()) != permit.Lanes {
						t.Errorf("a heartbeat with %d positions", len(m.GetPositions()))
					}
					return errThrown // what is awaited comes before the first heartbeat
				}
				if len(m.GetPositions()) != 0 {
					t.Errorf("an awaited freeze moves the position: %v", m)
				}
				for _, exit := range m.GetClosing().GetExits() {
					names = append(names, m.GetClosing().GetExternalId()+" "+exit)
				}
				return nil
			})
			if err != errThrown {
				t.Fatal(err)
			}
			return names
		}
		if got := awaited(); len(got) != 6 {
			t.Errorf("awaited: %v", got)
		}
		p, err := w.guard.Protection(ctx, account.ID(ids[0]))
		must(t, err)
		for _, exit := range []string{"order", "open_order"} {
			_, err := c.Guard.SubmitReceipt(ctx, ask(&holdfastv1.SubmitReceiptRequest{Account: byName("user-0"), Epoch: p.Epoch, Exit: exit}))
			must(t, err)
		}
		if got := awaited(); len(got) != 4 || slices.Contains(got, "user-0 order") {
			t.Errorf("awaited after two receipts: %v", got)
		}
	})
}

// TestFollowEndsWithItsKey: a removed key hears nothing more.
func TestFollowEndsWithItsKey(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c, k := w.service("exchange")
		err := c.FollowFrom(t.Context(), nil, func(m *holdfastv1.FollowResponse) error {
			return account.RemoveServiceKey(t.Context(), w.door, operator, k.ID)
		})
		refused(t, err, connect.CodeUnauthenticated, "unauthenticated")
	})
}

// TestFollowEndsWhenTheServerDrains: and the client, told to come back, tries again.
func TestFollowEndsWhenTheServerDrains(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c, _ := w.service("exchange")
		stream, err := c.Guard.Follow(t.Context(), ask(&holdfastv1.FollowRequest{}))
		must(t, err)
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
		w.api.Drain()
		for stream.Receive() {
		}
		refused(t, stream.Err(), connect.CodeUnavailable, "stopping")
		must(t, stream.Close())
	})
}

func TestFollowRefusesWhatCannotBe(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c, _ := w.service("exchange")
		small, _ := w.service("books", "ledger")
		never := func(*holdfastv1.FollowResponse) error { t.Error("told something"); return errThrown }
		refused(t, small.FollowFrom(t.Context(), nil, never), connect.CodePermissionDenied, "scope")
		refused(t, c.FollowFrom(t.Context(), []int64{1, 2, 3}, never), connect.CodeInvalidArgument, "positions")
		negative, ahead := make([]int64, permit.Lanes), make([]int64, permit.Lanes)
		negative[3], ahead[3] = -1, 1000
		refused(t, c.FollowFrom(t.Context(), negative, never), connect.CodeInvalidArgument, "positions")
		refused(t, c.FollowFrom(t.Context(), ahead, never), connect.CodeFailedPrecondition, "history_lost")
	})
}

// TestStreamsOfAServiceAreCounted: the one too many is refused, and one that ends makes room.
func TestStreamsOfAServiceAreCounted(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c, _ := w.service("exchange")
		other, _ := w.service("wallet")
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		open := func(c *client.Client) error {
			stream, err := c.Guard.Follow(ctx, ask(&holdfastv1.FollowRequest{}))
			must(t, err)
			if stream.Receive() {
				return nil
			}
			return stream.Err()
		}
		for range 32 {
			must(t, open(c))
		}
		refused(t, open(c), connect.CodeResourceExhausted, "streams")
		must(t, open(other))
		stop()
		ctx = t.Context()
		late := time.Now().Add(20 * time.Second)
		for err := open(c); err != nil; err = open(c) { // the server hears of the ends a moment later
			if refused(t, err, connect.CodeResourceExhausted, "streams"); time.Now().After(late) {
				t.Fatal(err)
			}
		}
		w.api.Drain()
	})
}
