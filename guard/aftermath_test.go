package guard_test

import (
	"strings"
	"testing"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/guard"
	"holdfast/permit"
)

// TestRestoreOpensNothingThatWaited: what a thief set going before the freeze, or while it lasted,
// is over once the account is restored.
func TestRestoreOpensNothingThatWaited(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		const theirs = "thief@holdfast.test"
		if err := w.accounts.ChangeMail(ctx, w.actor(), w.id, theirs, password); err != nil {
			t.Fatal(err)
		}
		m := w.mail("(?i)confirm")
		if m.To != theirs {
			t.Fatalf("the new address was not asked, but %s", m.To)
		}
		links := map[string]string{"change of address": w.token("verify", m)}
		if err := w.accounts.RequestReset(ctx, w.from, mail); err != nil {
			t.Fatal(err)
		}
		links["reset from before"] = w.token("reset", w.mail("(?i)password"))
		handOver, err := w.accounts.HandOver(ctx, w.actor(), w.id, "exchange")
		if err != nil {
			t.Fatal(err)
		}
		w.freeze()
		if err := w.accounts.RequestReset(ctx, w.from, mail); err != nil {
			t.Fatal(err)
		}
		links["reset from meanwhile"] = w.token("reset", w.mail("(?i)password"))
		restore(t, w)

		if _, err := w.accounts.Verify(ctx, w.from, links["change of address"]); fault.KindOf(err) != fault.NotFound {
			t.Errorf("the thief's change of address: %v", err)
		}
		for _, name := range []string{"reset from before", "reset from meanwhile"} {
			if _, err := w.accounts.ResetPassword(ctx, w.from, links[name], "Another-Horse-8-Battery"); fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.accounts.Redeem(ctx, w.service, handOver.Reveal()); fault.KindOf(err) != fault.Denied {
			t.Errorf("the hand-over: %v", err)
		}
		if _, err := w.accounts.Session(ctx, w.session.Token.Reveal(), w.from); fault.KindOf(err) != fault.Denied {
			t.Errorf("the session: %v", err)
		}
		p, err := account.ReadProfile(ctx, w.db, w.id)
		if err != nil || p.Mail != mail {
			t.Errorf("the address is %s %v", p.Mail, err)
		}
		// The holder goes on: a link that is asked for now works.
		if err := w.accounts.RequestReset(ctx, w.from, mail); err != nil {
			t.Fatal(err)
		}
		if _, err := w.accounts.ResetPassword(ctx, w.from, w.token("reset", w.mail("(?i)password")), "Another-Horse-8-Battery"); err != nil {
			t.Error(err)
		}
	})
}

// TestAReportHoldsAnIntegratorsOwnExits: a hold on withdrawals that is kept as a row covers them.
func TestAReportHoldsAnIntegratorsOwnExits(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		key := w.key()
		ask := guard.Query{Integrator: "exchange", Credential: guard.Credential{Key: key.Key.ID}, Exit: "x_card", Address: "203.0.113.7"}
		if d, err := w.guard.Check(ctx, w.bot(), ask); err != nil || d.Verdict != guard.Allow {
			t.Fatalf("%+v %v", d, err)
		}
		if err := w.guard.RequestLink(ctx, w.from, mail); err != nil {
			t.Fatal(err)
		}
		w.mail("(?i)freeze")
		if d, err := w.guard.Check(ctx, w.bot(), ask); err != nil || d.Verdict != guard.Held || d.Hold != guard.HeldUnproven {
			t.Errorf("%+v %v", d, err)
		}
		ask.Exit = permit.Order
		if d, err := w.guard.Check(ctx, w.bot(), ask); err != nil || d.Verdict != guard.Allow {
			t.Errorf("trading: %+v %v", d, err)
		}
	})
}

// TestNoReasonStopsAFreeze: whatever stands in the reason, the account is frozen.
func TestNoReasonStopsAFreeze(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		operator := evidence.Actor{Kind: evidence.Operator, ID: "one"}
		for _, reason := range []string{"x" + strings.Repeat("é", 300), "a\x00b", "\xff\xfe", strings.Repeat("\U0001F9CA", 80)} {
			if f, err := w.guard.Freeze(t.Context(), operator, w.id, reason); err != nil || f.Account != w.id {
				t.Fatalf("%.10q: %+v %v", reason, f, err)
			}
		}
		if p, err := w.guard.Protection(t.Context(), w.id); err != nil || !p.Frozen() {
			t.Errorf("%+v %v", p, err)
		}
	})
}

// TestThePlatformsChainIsNoAccount: a freeze of it would close nothing and could not be ended.
func TestThePlatformsChainIsNoAccount(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		operator := evidence.Actor{Kind: evidence.Operator, ID: "one"}
		if _, err := w.guard.Freeze(t.Context(), operator, evidence.Platform, "stop everything"); fault.CodeOf(err) != "unknown_account" {
			t.Errorf("%v", err)
		}
		var frozen int64
		if err := w.db.QueryRow(t.Context(), `SELECT frozen_at FROM standing WHERE account_id = $1`, string(evidence.Platform)).Scan(&frozen); err != nil || frozen != 0 {
			t.Errorf("%d %v", frozen, err)
		}
	})
}

func restore(t *testing.T, w *world) {
	t.Helper()
	plan, err := w.guard.Propose(t.Context(), evidence.Actor{Kind: evidence.Operator, ID: "one"}, w.id, "identity checked", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.guard.Approve(t.Context(), evidence.Actor{Kind: evidence.Operator, ID: "two"}, plan.ID); err != nil {
		t.Fatal(err)
	}
}
