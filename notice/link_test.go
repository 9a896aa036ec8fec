package notice

import (
	"strings"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/store"
	"holdfast/store/storetest"
)

func (r *room) link(t testing.TB, p Purpose) string {
	t.Helper()
	var token string
	err := r.do(t, func(tx Tx) (err error) {
		token, err = MakeLink(t.Context(), tx, r.account, p, "holder@holdfast.test")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestLinkWorksForItsPurposeAndTimeOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRoom(t, db, Config{Sender: newTray()})
		made := db.Now()
		for _, p := range []Purpose{FreezeLinkPurpose, VerifyPurpose, ResetPurpose} {
			token := r.link(t, p)
			for _, other := range []Purpose{FreezeLinkPurpose, VerifyPurpose, ResetPurpose} {
				l, err := FindLink(t.Context(), db, made.Add(time.Second), other, token)
				if (err == nil) != (other == p) {
					t.Errorf("%s link as %s: %v", p, other, err)
				}
				if err == nil && (l.Account != r.account || l.Mail != "holder@holdfast.test" || l.Purpose != p) {
					t.Errorf("link %+v", l)
				}
			}
			if _, err := FindLink(t.Context(), db, made.Add(Lifetime(p)-time.Second), p, token); err != nil {
				t.Errorf("%s shortly before its end: %v", p, err)
			}
			if _, err := FindLink(t.Context(), db, made.Add(Lifetime(p)+time.Minute), p, token); fault.CodeOf(err) != "link_expired" {
				t.Errorf("%s after its end: %v", p, err)
			}
		}
	})
}

func TestFreezeLinkIsNotSpentAndTheOthersAre(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRoom(t, db, Config{Sender: newTray()})
		use := func(p Purpose, token string) error {
			return r.do(t, func(tx Tx) error {
				l, err := FindLink(t.Context(), tx, tx.Now(), p, token)
				if err != nil {
					return err
				}
				return UseLink(t.Context(), tx, l)
			})
		}
		for _, p := range []Purpose{FreezeLinkPurpose, VerifyPurpose, ResetPurpose} {
			token := r.link(t, p)
			if err := use(p, token); err != nil {
				t.Errorf("%s, first use: %v", p, err)
			}
			err := use(p, token)
			if p == FreezeLinkPurpose && err != nil {
				t.Errorf("freeze, second use: %v", err)
			}
			if p != FreezeLinkPurpose && fault.CodeOf(err) != "link_used" {
				t.Errorf("%s, second use: %v", p, err)
			}
		}

		token := r.link(t, ResetPurpose)
		var stale Link
		if err := r.do(t, func(tx Tx) (err error) {
			stale, err = FindLink(t.Context(), tx, tx.Now(), ResetPurpose, token)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := r.do(t, func(tx Tx) error {
			n, err := EndLinks(t.Context(), tx, r.account, ResetPurpose)
			if n != 1 {
				t.Errorf("ended %d links, want 1", n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := r.do(t, func(tx Tx) error { return UseLink(t.Context(), tx, stale) }); fault.CodeOf(err) != "link_used" {
			t.Errorf("a link read before it was ended: %v", err)
		}
	})
}

func TestEveryWrongTokenGetsOneAnswer(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRoom(t, db, Config{Sender: newTray()})
		stranger := newRoom(t, db, Config{Sender: newTray()})
		right, foreign := r.link(t, FreezeLinkPurpose), stranger.link(t, FreezeLinkPurpose)
		flip := "A"
		if strings.HasSuffix(right[:30], "A") {
			flip = "B"
		}
		counts := map[int64]bool{}
		for name, token := range map[string]string{
			"empty": "", "rubbish": "%%%", "short": right[:20], "long": right + "AAAA", "secret altered": right[:29] + flip + right[30:],
			"secret of another": right[:22] + foreign[22:], "account that is not": "AAAA" + right[4:], "padded": right + "=", "another purpose": r.link(t, ResetPurpose),
		} {
			before := db.Statements()
			l, err := FindLink(t.Context(), db, db.Now(), FreezeLinkPurpose, token)
			counts[db.Statements()-before] = true
			if err == nil || err.Error() != errNoLink.Error() || l != (Link{}) {
				t.Errorf("%s: %+v, %v", name, l, err)
			}
		}
		if len(counts) != 1 {
			t.Errorf("different numbers of statements: %v", counts)
		}
	})
}

func TestLinkNeedsARealAccount(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRoom(t, db, Config{Sender: newTray()})
		err := r.do(t, func(tx Tx) error {
			_, err := MakeLink(t.Context(), tx, evidence.Platform, FreezeLinkPurpose, "x@holdfast.test")
			return err
		})
		if err == nil {
			t.Error("a link was made for what is no account")
		}
	})
}
