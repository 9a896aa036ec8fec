package account

import (
	"fmt"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
)

func TestSignInFromAnUnknownDeviceIsToldByMail(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		s := r.enter(mail)
		m := r.box.take(t, mail, "New sign-in")
		token(t, m, "freeze")
		if !r.live(s) || s.Mail != mail || s.DeviceName != "Firefox on Windows" || s.Mode != permit.Full {
			t.Errorf("%+v", s)
		}

		// Remembered, the same browser is known; an unknown secret is not.
		cookie, err := r.Remember(t.Context(), s.Actor(r.from), v.Account)
		must(t, err)
		known, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword, Remembered: cookie.Reveal()})
		must(t, err)
		if known.Device != s.Device {
			t.Error("a remembered device was taken for a new one")
		}
		other, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword, Remembered: s.Token.Reveal()})
		must(t, err)
		if other.Device == s.Device {
			t.Error("a session's secret passed for a remembered device's")
		}
		r.box.take(t, mail, "New sign-in")
		var told int
		must(t, r.db.QueryRow(t.Context(), `SELECT count(*) FROM notice WHERE account_id = $1 AND kind = 'new_sign_in'`, string(v.Account)).Scan(&told))
		if told != 2 {
			t.Errorf("%d mails about new sign-ins, want 2", told)
		}
	})
}

func TestARememberedDeviceCountsForItsAccountOnly(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		r.join("second@holdfast.test")
		cookie, err := r.Remember(t.Context(), v.Session.Actor(r.from), v.Account)
		must(t, err)
		s, err := r.SignIn(t.Context(), r.from, Entry{Mail: "second@holdfast.test", Password: goodPassword, Remembered: cookie.Reveal()})
		must(t, err)
		r.box.take(t, "second@holdfast.test", "New sign-in")
		if s.Device == v.Session.Device {
			t.Error("the device of another account")
		}
	})
}

func TestWrongPasswordsMeetTheLimitAndAreRecorded(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		for range 10 {
			_, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: "Wrong-Password-1"})
			wantCode(t, err, "wrong_password")
		}
		_, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword})
		wantCode(t, err, "too_often")
		if until, ok := fault.UntilOf(err); !ok || until.Before(time.Now()) {
			t.Errorf("until %v", until)
		}
		var refused int64
		must(t, r.db.QueryRow(t.Context(), `SELECT CAST(sum(count) AS BIGINT) FROM refusal WHERE account_id = $1 AND act = $2 AND code = 'wrong_password'`, string(v.Account), permit.EnterSession).Scan(&refused))
		if refused != 10 {
			t.Errorf("%d refusals recorded, want 10", refused)
		}
		_, err = r.At(time.Now().Add(17*time.Minute)).SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword})
		must(t, err)
	})
}

// TestStrangersCannotKeepTheHolderOut: neither wrong passwords from elsewhere nor a neighbour on the
// same connection use up what a remembered device has.
func TestStrangersCannotKeepTheHolderOut(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRig(t, db, Config{SourceTries: 12})
		v := r.join(mail)
		cookie, err := r.Remember(t.Context(), v.Session.Actor(r.from), v.Account)
		must(t, err)
		a := r.At(time.Now())
		code := ""
		for range 13 {
			_, err := a.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: "Wrong-Password-1"})
			code = fault.CodeOf(err)
		}
		if code != "too_often" {
			t.Fatalf("the strangers' tries have no end: %s", code)
		}
		_, err = a.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword})
		wantCode(t, err, "too_often")
		_, err = a.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword, Remembered: cookie.Reveal()})
		must(t, err)

		// A stolen device secret has an end of tries too, and opens no more of another account.
		second := r.join("second@holdfast.test")
		for range deviceTries {
			_, err = a.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: "Wrong-Password-1", Remembered: cookie.Reveal()})
		}
		wantCode(t, err, "too_often")
		_, err = a.SignIn(t.Context(), r.from, Entry{Mail: second.Session.Mail, Password: goodPassword, Remembered: cookie.Reveal()})
		wantCode(t, err, "too_often")
	})
}

// TestTriesDoNotTellThatSomebodySignedIn: wrong passwords come to their end after as many tries for
// an address whose holder has just signed in as for one that nobody has.
func TestTriesDoNotTellThatSomebodySignedIn(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.join(mail)
		for range 4 {
			r.enter(mail)
		}
		stranger := r.From("198.51.100.9", firefox)
		tries := func(mail string) (n int) {
			for n = 1; n < 30; n++ {
				if _, err := r.SignIn(t.Context(), stranger, Entry{Mail: mail, Password: "Wrong-Password-1"}); fault.CodeOf(err) == "too_often" {
					break
				}
			}
			return n
		}
		if known, unknown := tries(mail), tries("nobody@holdfast.test"); known != unknown {
			t.Errorf("%d tries for a holder, %d for nobody", known, unknown)
		}
	})
}

// TestSignInsHaveALimitOfTheirOwn: a thief with the password cannot bury the first mail under a
// hundred others, and nobody else sees that limit.
func TestSignInsHaveALimitOfTheirOwn(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.join(mail)
		for range 10 {
			r.enter(mail)
		}
		_, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword})
		wantCode(t, err, "too_often")
		_, err = r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: "Wrong-Password-1"})
		wantCode(t, err, "wrong_password")
	})
}

// TestAStrangerCannotUseUpTheMails: however often a stranger has asked, the holder's own request
// brings a mail.
func TestAStrangerCannotUseUpTheMails(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		stranger := r.From("198.51.100.9", firefox)
		const fresh = "fresh@holdfast.test"
		for range 20 {
			must(t, r.SignUp(t.Context(), stranger, SignUp{Mail: fresh, Password: "Thiefs-Password-1"}))
		}
		for range sourceMails.Tries {
			r.box.take(t, fresh, "Confirm")
		}
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: fresh, Password: goodPassword}))
		v, err := r.Verify(t.Context(), r.from, token(t, r.box.take(t, fresh, "Confirm"), "verify"))
		must(t, err)
		r.enter(fresh)

		r.freeze(staff, v.Account)
		other := r.From("203.0.113.9", firefox)
		for range 20 {
			_, err := r.RequestSignInCode(t.Context(), other, fresh)
			must(t, err)
		}
		for range sourceMails.Tries {
			r.box.take(t, fresh, "sign-in code")
		}
		nonce, err := r.RequestSignInCode(t.Context(), r.from, fresh)
		must(t, err)
		code := digits.FindString(r.box.take(t, fresh, "sign-in code").Text)
		_, err = r.EnterWithCode(t.Context(), r.from, fresh, code, nonce.Reveal())
		must(t, err)
	})
}

func TestOneSourceCannotTryEverybody(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRig(t, db, Config{SourceTries: 5})
		a := r.At(time.Now())
		code := ""
		for i := range 6 {
			_, err := a.SignIn(t.Context(), r.from, Entry{Mail: fmt.Sprintf("person%d@holdfast.test", i), Password: goodPassword})
			code = fault.CodeOf(err)
		}
		if code != "too_often" {
			t.Errorf("the sixth address from one source got %s", code)
		}
		_, err := a.SignIn(t.Context(), r.From("192.0.2.99", firefox), Entry{Mail: mail, Password: goodPassword})
		wantCode(t, err, "wrong_password")
	})
}

func TestFrozenAccountOpensOnlyItsProtectedView(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		cookie, err := r.Remember(t.Context(), v.Session.Actor(r.from), v.Account)
		must(t, err)
		r.freeze(staff, v.Account)
		if r.live(v.Session) {
			t.Fatal("a session outlived the freeze")
		}
		_, err = r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword, Remembered: cookie.Reveal()})
		wantCode(t, err, "frozen_sign_in")
		_, err = r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: "Wrong-Password-1"})
		wantCode(t, err, "wrong_password")

		nonce, err := r.RequestSignInCode(t.Context(), r.from, mail)
		must(t, err)
		code := digits.FindString(r.box.take(t, mail, "sign-in code").Text)
		_, err = r.EnterWithCode(t.Context(), r.from, mail, code, "another browser")
		wantCode(t, err, "wrong_code")
		_, err = r.EnterWithCode(t.Context(), r.from, "second@holdfast.test", code, nonce.Reveal())
		wantCode(t, err, "wrong_code")
		s, err := r.EnterWithCode(t.Context(), r.from, mail, code, nonce.Reveal())
		must(t, err)
		if s.Mode != permit.Protective || !r.live(s) {
			t.Errorf("%+v", s)
		}
		_, err = r.EnterWithCode(t.Context(), r.from, mail, code, nonce.Reveal())
		wantCode(t, err, "wrong_code")

		// The protected view looks and closes, and nothing else.
		by := s.Actor(r.from)
		_, err = r.Remember(t.Context(), by, v.Account)
		wantCode(t, err, "frozen")
		_, err = r.HandOver(t.Context(), by, v.Account, "exchange")
		wantCode(t, err, "frozen")
		_, err = r.CreateKey(t.Context(), by, v.Account, NewKey{Label: "bot", Kind: HMAC, Scopes: []string{Read}, Password: goodPassword})
		wantCode(t, err, "frozen")
		wantCode(t, r.SetPhone(t.Context(), by, v.Account, "+33 1 23 45 67 89", goodPassword), "frozen")
		wantCode(t, r.ChangeMail(t.Context(), by, v.Account, "new@holdfast.test", goodPassword), "frozen")
		_, err = r.NewFreezeCode(t.Context(), by, v.Account, goodPassword)
		wantCode(t, err, "frozen")
		if _, err := r.DeleteAllKeys(t.Context(), by, v.Account); err != nil {
			t.Error(err)
		}
		if _, err := r.RemoveAllDevices(t.Context(), by, v.Account, true); err != nil {
			t.Error(err)
		}
		if !r.live(s) {
			t.Error("removing the others ended the session that asked")
		}
	})
}

func TestMailedCodeRunsOut(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		r.freeze(staff, v.Account)
		ask := func() (string, string) {
			nonce, err := r.RequestSignInCode(t.Context(), r.from, mail)
			must(t, err)
			return digits.FindString(r.box.take(t, mail, "sign-in code").Text), nonce.Reveal()
		}
		code, nonce := ask()
		_, err := r.At(time.Now().Add(11*time.Minute)).EnterWithCode(t.Context(), r.from, mail, code, nonce)
		wantCode(t, err, "wrong_code")
		for range 4 { // with the late one: five tries
			_, err := r.EnterWithCode(t.Context(), r.from, mail, "0000 0000", nonce)
			wantCode(t, err, "wrong_code")
		}
		_, err = r.EnterWithCode(t.Context(), r.from, mail, code, nonce)
		wantCode(t, err, "wrong_code")

		// Tries that a stranger wastes are not the holder's.
		second, own := ask()
		for range 20 {
			_, err := r.EnterWithCode(t.Context(), r.from, mail, "0000 0000", "a thief's browser")
			wantCode(t, err, "wrong_code")
		}
		if _, err := r.EnterWithCode(t.Context(), r.from, mail, second, own); err != nil {
			t.Error(err)
		}
	})
}

func TestMailedCodeOpensNothingOnceRestored(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		r.freeze(staff, v.Account)
		nonce, err := r.RequestSignInCode(t.Context(), r.from, mail)
		must(t, err)
		code := digits.FindString(r.box.take(t, mail, "sign-in code").Text)
		r.restore(v.Account)
		_, err = r.EnterWithCode(t.Context(), r.from, mail, code, nonce.Reveal())
		wantCode(t, err, "not_frozen")
	})
}

func TestNothingOfBeforeTheFreezeComesBackWithTheRestore(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		cookie, err := r.Remember(t.Context(), by, v.Account)
		must(t, err)
		second := r.enter(mail)
		key, err := r.CreateKey(t.Context(), by, v.Account, NewKey{Label: "bot", Kind: HMAC, Scopes: []string{Read}, Password: goodPassword})
		must(t, err)

		got := r.freeze(by, v.Account)
		if (got != Suspended{Sessions: 1, Devices: 1, Keys: 1}) {
			t.Errorf("suspended %+v", got)
		}
		kept, err := r.Session(t.Context(), v.Session.Token.Reveal(), r.from)
		if err != nil || kept.Mode != permit.Protective || !kept.Frozen {
			t.Fatalf("the session that pressed: %+v %v", kept, err)
		}
		r.restore(v.Account)
		if r.live(v.Session) || r.live(second) {
			t.Error("a session came back")
		}
		s, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword, Remembered: cookie.Reveal()})
		must(t, err)
		if s.Device == v.Session.Device {
			t.Error("a remembered device came back")
		}
		keys, err := ListKeys(t.Context(), r.db, v.Account)
		must(t, err)
		if keys[0].State != "suspended" {
			t.Errorf("key is %s", keys[0].State)
		}
		_, err = r.EnableKey(t.Context(), s.Actor(r.from), v.Account, key.Key.ID, "Wrong-Password-1")
		wantCode(t, err, "wrong_password")
		k, err := r.EnableKey(t.Context(), s.Actor(r.from), v.Account, key.Key.ID, goodPassword)
		if err != nil || k.State != "live" {
			t.Errorf("%+v %v", k, err)
		}
	})
}

func TestLookRefusesActorsThatAreNotLive(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		other := r.join("second@holdfast.test")
		by := v.Session.Actor(r.from)
		act := func(by evidence.Actor, id ID) error {
			_, err := r.DeleteAllKeys(t.Context(), by, id)
			return err
		}
		must(t, act(by, v.Account))
		wantCode(t, act(by, other.Account), "signed_out")
		invented := by
		invented.Session = store.NewID()
		wantCode(t, act(invented, v.Account), "signed_out")
		posing := by
		posing.ID = "exchange"
		wantCode(t, act(posing, v.Account), "signed_out")
		must(t, r.SignOut(t.Context(), by, v.Account))
		wantCode(t, act(by, v.Account), "signed_out")
	})
}
