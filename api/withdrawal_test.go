package api_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
)

const (
	requested = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_REQUESTED
	confirmed = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED
	settled   = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_SETTLED
	failed    = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_FAILED
	cancelled = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CANCELLED
	tooLate   = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED_BEFORE_FREEZE
)

// wants is a withdrawal that a session asks for.
func wants(session, key string) *holdfastv1.RequestWithdrawalRequest {
	return &holdfastv1.RequestWithdrawalRequest{
		Credential: ofSession(session), Origin: origin(), IdempotencyKey: key,
		Asset: "BTC", Amount: "0.050", Address: "bc1qexample", Network: "BTC", Reference: "w" + key,
	}
}

// request asks for a withdrawal that is allowed.
func request(t testing.TB, c *client.Client, m *holdfastv1.RequestWithdrawalRequest) *holdfastv1.Withdrawal {
	t.Helper()
	out, err := c.Guard.RequestWithdrawal(t.Context(), ask(m))
	must(t, err)
	if out.Msg.GetDecision().GetVerdict() != allow {
		t.Fatalf("refused: %v", out.Msg.GetDecision())
	}
	return out.Msg.GetWithdrawal()
}

func TestWithdrawalsFromRequestToSettled(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		c, _ := w.service("exchange")
		h := w.join(mail)
		account, session := byID(h.id), w.handOver(h, c, "exchange").GetSession()
		one := request(t, c, wants(session, "1"))
		if one.GetState() != requested || one.GetAmount() != "0.05" || one.GetAccountId() != string(h.id) || one.GetReference() != "w1" || one.GetSendBefore() != nil {
			t.Errorf("requested: %v", one)
		}
		if again := request(t, c, wants(session, "1")); again.GetWithdrawalId() != one.GetWithdrawalId() {
			t.Errorf("a repeat made another: %v", again)
		}
		other := wants(session, "1")
		other.Amount = "5"
		_, err := c.Guard.RequestWithdrawal(ctx, ask(other))
		refused(t, err, connect.CodeAlreadyExists, "idempotency_key")
		other.IdempotencyKey = ""
		_, err = c.Guard.RequestWithdrawal(ctx, ask(other))
		refused(t, err, connect.CodeInvalidArgument, "")
		for _, amount := range []string{"", "0", "-1", "1e3", "NaN", "0.0000000000000000001"} {
			bad := wants(session, "2")
			bad.Amount = amount
			_, err := c.Guard.RequestWithdrawal(ctx, ask(bad))
			refused(t, err, connect.CodeInvalidArgument, "amount")
		}
		confirm := func(id string) *holdfastv1.ConfirmWithdrawalResponse {
			out, err := c.Guard.ConfirmWithdrawal(ctx, ask(&holdfastv1.ConfirmWithdrawalRequest{Account: account, WithdrawalId: id}))
			must(t, err)
			return out.Msg
		}
		yes := confirm(one.GetWithdrawalId())
		if yes.GetDecision().GetVerdict() != allow || yes.GetWithdrawal().GetState() != confirmed || !yes.GetWithdrawal().GetSendBefore().AsTime().After(time.Now()) {
			t.Errorf("confirmed: %v", yes)
		}
		done, err := c.Guard.SettleWithdrawal(ctx, ask(&holdfastv1.SettleWithdrawalRequest{Account: account, WithdrawalId: one.GetWithdrawalId(), Transaction: "tx"}))
		must(t, err)
		if done.Msg.GetWithdrawal().GetState() != settled {
			t.Errorf("settled: %v", done.Msg)
		}
		_, err = c.Guard.FailWithdrawal(ctx, ask(&holdfastv1.FailWithdrawalRequest{Account: account, WithdrawalId: one.GetWithdrawalId(), Reason: "no"}))
		refused(t, err, connect.CodeFailedPrecondition, "state")

		inside := wants(session, "3")
		inside.Internal = true
		three := request(t, c, inside)
		gone, err := c.Guard.FailWithdrawal(ctx, ask(&holdfastv1.FailWithdrawalRequest{Account: account, WithdrawalId: three.GetWithdrawalId(), Reason: "no such receiver"}))
		must(t, err)
		if gone.Msg.GetWithdrawal().GetState() != failed || !three.GetInternal() {
			t.Errorf("failed: %v", gone.Msg)
		}

		waiting, sent := request(t, c, wants(session, "4")), request(t, c, wants(session, "5"))
		confirm(sent.GetWithdrawalId())
		_, err = h.app.Freeze(ctx, ask(&holdfastv1.FreezeRequest{}))
		must(t, err)
		for id, state := range map[string]holdfastv1.WithdrawalState{waiting.GetWithdrawalId(): cancelled, sent.GetWithdrawalId(): tooLate} {
			no := confirm(id)
			if no.GetDecision().GetVerdict() != frozen || no.GetWithdrawal().GetState() != state {
				t.Errorf("after the freeze: %v", no)
			}
			now, err := c.Guard.GetWithdrawal(ctx, ask(&holdfastv1.GetWithdrawalRequest{Account: account, WithdrawalId: id}))
			must(t, err)
			if now.Msg.GetWithdrawal().GetState() != state {
				t.Errorf("it stands as %v", now.Msg)
			}
		}
		out, err := c.Guard.RequestWithdrawal(ctx, ask(wants(session, "6")))
		must(t, err)
		if out.Msg.GetDecision().GetVerdict() != frozen || out.Msg.GetWithdrawal() != nil {
			t.Errorf("requested after the freeze: %v", out.Msg)
		}
	})
}

// TestNobodyTouchesAnothersWithdrawal: neither another service, nor under another account.
func TestNobodyTouchesAnothersWithdrawal(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		c, _ := w.service("exchange")
		other, _ := w.service("wallet")
		h, bystander := w.join(mail), w.join("bystander@holdfast.test")
		session := w.handOver(h, c, "exchange").GetSession()
		id := request(t, c, wants(session, "1")).GetWithdrawalId()
		for name, try := range map[string]struct {
			by      *client.Client
			account *holdfastv1.AccountRef
			id      string
		}{
			"another service":  {other, byID(h.id), id},
			"another account":  {c, byID(bystander.id), id},
			"no such account":  {c, byID("0198c0de-0000-7000-8000-000000000000"), id},
			"no account of us": {c, byID("platform"), id},
			"no such id":       {c, byID(h.id), "0198c0de-0000-7000-8000-000000000000"},
			"no such name":     {c, byName("user-1"), id},
		} {
			_, err := try.by.Guard.ConfirmWithdrawal(ctx, ask(&holdfastv1.ConfirmWithdrawalRequest{Account: try.account, WithdrawalId: try.id}))
			if connect.CodeOf(err) != connect.CodeNotFound {
				t.Errorf("%s confirms: %v", name, err)
			}
			_, err = try.by.Guard.SettleWithdrawal(ctx, ask(&holdfastv1.SettleWithdrawalRequest{Account: try.account, WithdrawalId: try.id}))
			if connect.CodeOf(err) != connect.CodeNotFound {
				t.Errorf("%s settles: %v", name, err)
			}
			_, err = try.by.Guard.FailWithdrawal(ctx, ask(&holdfastv1.FailWithdrawalRequest{Account: try.account, WithdrawalId: try.id}))
			if connect.CodeOf(err) != connect.CodeNotFound {
				t.Errorf("%s fails it: %v", name, err)
			}
			_, err = try.by.Guard.GetWithdrawal(ctx, ask(&holdfastv1.GetWithdrawalRequest{Account: try.account, WithdrawalId: try.id}))
			if connect.CodeOf(err) != connect.CodeNotFound {
				t.Errorf("%s reads: %v", name, err)
			}
		}
		_, err := c.Guard.ConfirmWithdrawal(ctx, ask(&holdfastv1.ConfirmWithdrawalRequest{WithdrawalId: id}))
		refused(t, err, connect.CodeInvalidArgument, "account")
		// The same key of another service is another request.
		if second := request(t, other, wants(w.handOver(h, other, "wallet").GetSession(), "1")); second.GetWithdrawalId() == id {
			t.Error("two services share an idempotency key")
		}
		if v := verdict(t, c, byID(bystander.id), ofSession(session), "order"); v != unknownCredential {
			t.Errorf("a session under another account: %s", v)
		}
		foreign := wants(session, "2")
		foreign.Account = byID(bystander.id)
		out, err := c.Guard.RequestWithdrawal(ctx, ask(foreign))
		must(t, err)
		if out.Msg.GetDecision().GetVerdict() != unknownCredential || out.Msg.GetWithdrawal() != nil {
			t.Errorf("requested for another account: %v", out.Msg)
		}
		for _, name := range []*holdfastv1.AccountRef{byID("platform"), byID("0198c0de-0000-7000-8000-000000000000"), byName("user-1")} {
			if v := verdict(t, c, name, ofPlatform(), "open_order"); v != unknownAccount {
				t.Errorf("%v: %s", name, v)
			}
		}
		_, err = bystander.app.Freeze(ctx, ask(&holdfastv1.FreezeRequest{}))
		must(t, err)
		_, err = h.app.Freeze(ctx, ask(&holdfastv1.FreezeRequest{}))
		must(t, err)
		for _, a := range []*holdfastv1.AccountRef{byID(h.id), byID(bystander.id)} {
			_, err := other.Guard.ConfirmWithdrawal(ctx, ask(&holdfastv1.ConfirmWithdrawalRequest{Account: a, WithdrawalId: id}))
			refused(t, err, connect.CodeNotFound, "unknown_withdrawal")
		}
	})
}

// TestOneKeyManyRequestsAtOnce: a storm of repeats leaves one withdrawal.
func TestOneKeyManyRequestsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c, _ := w.service("exchange")
		h := w.join(mail)
		session := w.handOver(h, c, "exchange").GetSession()
		var mu sync.Mutex
		ids, conflicts := map[string]bool{}, 0
		var group sync.WaitGroup
		for i := range 16 {
			group.Go(func() {
				m := wants(session, "1")
				m.Amount = strconv.Itoa(1 + i%2) // half of them say something else
				out, err := c.Guard.RequestWithdrawal(t.Context(), ask(m))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					ids[out.Msg.GetWithdrawal().GetWithdrawalId()] = true
				case connect.CodeOf(err) == connect.CodeAlreadyExists:
					conflicts++
				default:
					t.Error(err)
				}
			})
		}
		group.Wait()
		if len(ids) != 1 || conflicts != 8 {
			t.Errorf("%d withdrawals, %d conflicts", len(ids), conflicts)
		}
	})
}
