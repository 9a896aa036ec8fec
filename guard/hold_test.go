package guard

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/account"
	"holdfast/permit"
)

func lengths(t testing.TB) Lengths {
	t.Helper()
	l, err := DefaultLengths()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestBlocked(t *testing.T) {
	now := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	hour := func(h int) time.Time { return now.Add(time.Duration(h) * time.Hour) }
	for _, c := range []struct {
		name  string
		facts Facts
		exit  permit.Exit
		kind  HoldKind // empty when nothing blocks
		until time.Time
	}{
		{"nothing happened", Facts{}, permit.WithdrawalRequest, "", time.Time{}},
		{"a password change holds payouts for a day", Facts{Account: account.Facts{PasswordChangedAt: hour(-1)}}, permit.WithdrawalRequest, HeldPasswordChanged, hour(23)},
		{"and transfers", Facts{Account: account.Facts{PasswordChangedAt: hour(-1)}}, permit.InternalTransfer, HeldPasswordChanged, hour(23)},
		{"and what is pending", Facts{Account: account.Facts{PasswordChangedAt: hour(-1)}}, permit.PendingWithdrawal, HeldPasswordChanged, hour(23)},
		{"and an integrator's own exit", Facts{Account: account.Facts{PasswordChangedAt: hour(-1)}}, "x_card", HeldPasswordChanged, hour(23)},
		{"a restore holds that, too", Facts{RestoredAt: hour(0)}, "x_card", HeldRestored, hour(48)},
		{"and a hold on withdrawals", Facts{Holds: []Hold{{Exit: permit.WithdrawalRequest, Kind: HeldOperator, Ends: hour(3)}}}, "x_card", HeldOperator, hour(3)},
		{"but not trading", Facts{Account: account.Facts{PasswordChangedAt: hour(-1)}}, permit.Order, "", time.Time{}},
		{"it ends to the moment", Facts{Account: account.Facts{PasswordChangedAt: hour(-24)}}, permit.WithdrawalRequest, "", time.Time{}},
		{"a reset holds for two days", Facts{Account: account.Facts{PasswordResetAt: hour(-1)}}, permit.WithdrawalRequest, HeldPasswordReset, hour(47)},
		{"a restore holds for two days", Facts{RestoredAt: hour(0)}, permit.WithdrawalRequest, HeldRestored, hour(48)},
		{"the longest wins", Facts{RestoredAt: hour(-10), Account: account.Facts{PasswordChangedAt: hour(0)}}, permit.WithdrawalRequest, HeldRestored, hour(38)},
		{"a placed hold covers its exit", Facts{Holds: []Hold{{Exit: permit.Order, Kind: HeldOperator, Ends: hour(3)}}}, permit.Order, HeldOperator, hour(3)},
		{"and no other", Facts{Holds: []Hold{{Exit: permit.Order, Kind: HeldOperator, Ends: hour(3)}}}, permit.SignIn, "", time.Time{}},
		{"a freeze outweighs holds", Facts{FrozenAt: hour(-9), RestoredAt: hour(-10)}, permit.WithdrawalRequest, Frozen, time.Time{}},
		{"and closes an integrator's own exit", Facts{FrozenAt: hour(-9)}, "x_card", Frozen, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			block, ok := lengths(t).Blocked(c.facts, c.exit, now)
			if ok != (c.kind != "") || ok && (block.Kind != c.kind || !block.Until.Equal(c.until) || block.Sentence == "" || block.Lifts == "") {
				t.Errorf("got %+v %v", block, ok)
			}
		})
	}
}

// Adding a fact or a hold never lets anything out earlier.
func TestHoldsNeverShorten(t *testing.T) {
	l := lengths(t)
	base := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		return base.Add(time.Duration(rapid.IntRange(-100, 100).Draw(t, "hours")) * time.Hour)
	})
	exit := rapid.SampledFrom([]permit.Exit{permit.WithdrawalRequest, permit.PendingWithdrawal, permit.Order, "x_card"})
	rapid.Check(t, func(t *rapid.T) {
		hold := rapid.Custom(func(t *rapid.T) Hold {
			return Hold{Exit: exit.Draw(t, "exit"), Kind: HeldOperator, Ends: moment.Draw(t, "ends")}
		})
		maybe := func(name string) time.Time {
			if rapid.Bool().Draw(t, name) {
				return moment.Draw(t, name+" at")
			}
			return time.Time{}
		}
		f := Facts{RestoredAt: maybe("restored"), Holds: rapid.SliceOfN(hold, 0, 5).Draw(t, "holds")}
		f.Account.PasswordChangedAt = maybe("changed")
		f.Account.MailChangedAt = maybe("mail")
		x, now := exit.Draw(t, "asked"), moment.Draw(t, "now")
		before, was := l.Blocked(f, x, now)
		more := f
		more.Holds = append(append([]Hold{}, f.Holds...), hold.Draw(t, "another"))
		after, is := l.Blocked(more, x, now)
		if was && (!is || after.Until.Before(before.Until)) {
			t.Fatalf("a further hold shortened %v to %v", before.Until, after.Until)
		}
		more.FrozenAt = now
		if b, ok := l.Blocked(more, x, now); !ok || b.Kind != Frozen {
			t.Fatal("a freeze did not block")
		}
	})
}
