package guard

import (
	"net/netip"
	"testing"
	"time"

	"holdfast/account"
	"holdfast/permit"
)

// The decision is pure: every row of this table is one look and one answer.
func TestDecide(t *testing.T) {
	now := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	key := func(change func(*looked)) looked {
		l := looked{id: "a", kind: "api_key", credentialID: "k", epoch: 1, scopes: []string{"read", "trade", "withdraw"},
			standing: permit.Standing{Account: "a", Epoch: 1}, addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
		if change != nil {
			change(&l)
		}
		return l
	}
	freeze := func(l *looked) {
		l.standing.Epoch, l.standing.FrozenAt, l.facts.FrozenAt = 2, now, now
	}
	session := func(change func(*looked)) looked {
		l := key(change)
		l.kind, l.scopes, l.addresses = "session", nil, nil
		return l
	}
	q := Query{Credential: Credential{Key: "k"}, Exit: permit.WithdrawalRequest, Address: "203.0.113.7"}
	with := func(exit permit.Exit) Query { c := q; c.Exit = exit; return c }
	for _, c := range []struct {
		name string
		l    looked
		q    Query
		want Verdict
	}{
		{"a right key", key(nil), q, Allow},
		{"no such account", looked{}, q, UnknownCredential},
		{"no such account by name", looked{}, Query{Account: Ref{ID: "a"}, Credential: Credential{Platform: true}, Exit: permit.OpenOrder}, UnknownAccount},
		{"no such key", looked{id: "a"}, q, UnknownCredential},
		{"a deleted key", key(func(l *looked) { l.ended = true }), q, UnknownCredential},
		{"a deleted key of a frozen account", key(func(l *looked) { l.ended = true; freeze(l) }), q, UnknownCredential},
		{"an expired key", key(func(l *looked) { l.expires = now }), q, UnknownCredential},
		{"a key from another address", key(nil), Query{Credential: q.Credential, Exit: q.Exit, Address: "198.51.100.1"}, UnknownCredential},
		{"a key from no address", key(nil), Query{Credential: q.Credential, Exit: q.Exit}, UnknownCredential},
		{"a key of an earlier epoch", key(func(l *looked) { l.standing.Epoch = 3 }), q, UnknownCredential},
		{"frozen", key(freeze), q, FrozenNow},
		{"frozen, reading", key(freeze), with(permit.APIKey), FrozenNow},
		{"frozen, from another address", key(freeze), Query{Credential: q.Credential, Exit: q.Exit, Address: "198.51.100.1"}, UnknownCredential},
		{"a reading key withdraws", key(func(l *looked) { l.scopes = []string{"read"} }), q, OutOfScope},
		{"a trading key transfers", key(func(l *looked) { l.scopes = []string{"read", "trade"} }), with(permit.InternalTransfer), OutOfScope},
		{"a trading key trades", key(func(l *looked) { l.scopes = []string{"trade"} }), with(permit.Order), Allow},
		{"a key signs in", key(nil), with(permit.SignIn), OutOfScope},
		{"a key changes settings", key(nil), with(permit.SecuritySetting), OutOfScope},
		{"a trading key and an unknown exit", key(func(l *looked) { l.scopes = []string{"trade"} }), with("x_card"), OutOfScope},
		{"a new key withdraws", key(func(l *looked) { l.withdrawFrom = now.Add(time.Hour) }), q, Held},
		{"a new key and an unknown exit", key(func(l *looked) { l.withdrawFrom = now.Add(time.Hour) }), with("x_card"), Held},
		{"a new key trades", key(func(l *looked) { l.withdrawFrom = now.Add(time.Hour) }), with(permit.Order), Allow},
		{"after a password change", key(func(l *looked) { l.facts.Account = account.Facts{PasswordChangedAt: now} }), q, Held},
		{"trading after a password change", key(func(l *looked) { l.facts.Account = account.Facts{PasswordChangedAt: now} }), with(permit.Order), Allow},
		{"a session", session(nil), q, Allow},
		{"a protective session", session(func(l *looked) { l.protective = true }), q, OutOfScope},
		{"a session that a freeze ended", session(func(l *looked) { l.ended, l.endedByUs = true, true; freeze(l) }), q, FrozenNow},
		{"the same after the restore", session(func(l *looked) { l.ended, l.endedByUs = true, true; l.standing.Epoch = 3 }), q, UnknownCredential},
		{"a signed-out session of a frozen account", session(func(l *looked) { l.ended = true; freeze(l) }), q, UnknownCredential},
		{"the platform matches an order", looked{id: "a", kind: "platform", epoch: 1, standing: permit.Standing{Epoch: 1}}, with(permit.OpenOrder), Allow},
		{"the platform withdraws by itself", looked{id: "a", kind: "platform", epoch: 1, standing: permit.Standing{Epoch: 1}}, q, OutOfScope},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := c.l.decide(lengths(t), c.q, now)
			if d.Verdict != c.want {
				t.Fatalf("verdict %d, want %d", d.Verdict, c.want)
			}
			if d.Verdict != Allow && d.Sentence == "" || d.Verdict == Held && !d.Until.After(now) {
				t.Errorf("a refusal without its words or its end: %+v", d)
			}
			if d.Verdict == UnknownCredential && (d.Account != "" || d.Epoch != 0) {
				t.Errorf("an unknown credential learns about the account: %+v", d)
			}
		})
	}
}

func TestKnownExits(t *testing.T) {
	for exit, want := range map[permit.Exit]bool{
		permit.Order: true, "x_card": true, "x_card_2": true, "x_": false, "card": false, "X_card": false, "x_Card": false, "": false, "x_ä": false,
		permit.Exit("x_" + string(make([]byte, 70))): false,
	} {
		if Known(exit) != want {
			t.Errorf("%q", exit)
		}
	}
}
