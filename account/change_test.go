package account

import (
	"strings"
	"testing"
	"time"

	"holdfast/evidence"
)

func TestPasswordChangeEndsEveryOtherSession(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		second := r.enter(mail)
		cookie, err := r.Remember(t.Context(), second.Actor(r.from), v.Account)
		must(t, err)
		_, err = r.CreateKey(t.Context(), by, v.Account, NewKey{Label: "bot", Kind: HMAC, Scopes: []string{Read}, Password: goodPassword})
		must(t, err)
		must(t, r.RequestReset(t.Context(), r.from, mail))
		reset := token(t, r.box.take(t, mail, "Choose a new password"), "reset")

		for code, c := range map[string]PasswordChange{
			"wrong_password": {Current: "Wrong-Password-1", Next: otherPassword},
			"password_short": {Current: goodPassword, Next: "Ab1!"},
			"password_same":  {Current: goodPassword, Next: goodPassword},
			"wrong_code":     {Code: "1234 5678", Next: otherPassword},
		} {
			_, err := r.ChangePassword(t.Context(), by, v.Account, c)
			wantCode(t, err, code)
		}
		got, err := r.ChangePassword(t.Context(), by, v.Account, PasswordChange{Current: goodPassword, Next: otherPassword})
		if err != nil || got != (PasswordChanged{SessionsEnded: 1, KeysLeft: 1}) {
			t.Fatalf("%+v %v", got, err)
		}
		m := r.box.take(t, mail, "password was changed")
		token(t, m, "freeze")
		if !r.live(v.Session) || r.live(second) {
			t.Error("the wrong session ended")
		}
		_, err = r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword})
		wantCode(t, err, "wrong_password")
		s, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: otherPassword, Remembered: cookie.Reveal()})
		must(t, err)
		if s.Device == second.Device {
			t.Error("a device is remembered across a new password")
		}
		_, err = r.ResetPassword(t.Context(), r.from, reset, goodPassword)
		wantCode(t, err, "link_used")
		facts, err := ReadFacts(t.Context(), r.db, v.Account)
		if err != nil || facts.PasswordChangedAt.IsZero() || !facts.PasswordResetAt.IsZero() {
			t.Errorf("%+v %v", facts, err)
		}
	})
}

// TestWhileFrozenANewPasswordTakesAMailedCode is about a thief who knows the password and pressed
// Freeze.
func TestWhileFrozenANewPasswordTakesAMailedCode(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		r.freeze(by, v.Account)
		_, err := r.ChangePassword(t.Context(), by, v.Account, PasswordChange{Current: goodPassword, Next: otherPassword})
		wantCode(t, err, "code_needed")
		must(t, r.RequestPasswordCode(t.Context(), by, v.Account))
		code := digits.FindString(r.box.take(t, mail, "code to change your password").Text)

		// The code opens nothing else, and nobody else's session can use it.
		_, err = r.EnterWithCode(t.Context(), r.from, mail, code, by.Session)
		wantCode(t, err, "wrong_code")
		nonce, err := r.RequestSignInCode(t.Context(), r.from, mail)
		must(t, err)
		enter := digits.FindString(r.box.take(t, mail, "sign-in code").Text)
		second, err := r.EnterWithCode(t.Context(), r.from, mail, enter, nonce.Reveal())
		must(t, err)
		_, err = r.ChangePassword(t.Context(), second.Actor(r.from), v.Account, PasswordChange{Code: code, Next: otherPassword})
		wantCode(t, err, "wrong_code")

		got, err := r.ChangePassword(t.Context(), by, v.Account, PasswordChange{Code: code, Next: otherPassword})
		if err != nil || got.SessionsEnded != 1 || r.live(second) || !r.live(v.Session) {
			t.Errorf("%+v %v", got, err)
		}
		_, err = r.ChangePassword(t.Context(), by, v.Account, PasswordChange{Code: code, Next: goodPassword})
		wantCode(t, err, "wrong_code")
		r.restore(v.Account)
		_, err = r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: otherPassword})
		must(t, err)
	})
}

func TestPasswordCodeHasFiveTries(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		r.freeze(by, v.Account)
		must(t, r.RequestPasswordCode(t.Context(), by, v.Account))
		code := digits.FindString(r.box.take(t, mail, "code to change your password").Text)
		for range 5 {
			_, err := r.ChangePassword(t.Context(), by, v.Account, PasswordChange{Code: "0000 0000", Next: otherPassword})
			wantCode(t, err, "wrong_code")
		}
		_, err := r.ChangePassword(t.Context(), by, v.Account, PasswordChange{Code: code, Next: otherPassword})
		wantCode(t, err, "wrong_code")
		// A new code comes with new tries.
		must(t, r.RequestPasswordCode(t.Context(), by, v.Account))
		code = digits.FindString(r.box.take(t, mail, "code to change your password").Text)
		if _, err = r.ChangePassword(t.Context(), by, v.Account, PasswordChange{Code: code, Next: otherPassword}); err != nil {
			t.Error(err)
		}
	})
}

func TestResetByMailEndsEverySession(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		must(t, r.RequestReset(t.Context(), r.from, mail))
		link := token(t, r.box.take(t, mail, "Choose a new password"), "reset")
		_, err := r.ResetPassword(t.Context(), r.from, link, "weak")
		wantCode(t, err, "password_short")
		_, err = r.At(time.Now().Add(31*time.Minute)).ResetPassword(t.Context(), r.from, link, otherPassword)
		wantCode(t, err, "link_expired")
		got, err := r.ResetPassword(t.Context(), r.from, link, otherPassword)
		if err != nil || got.SessionsEnded != 1 || r.live(v.Session) {
			t.Errorf("%+v %v", got, err)
		}
		_, err = r.ResetPassword(t.Context(), r.from, link, goodPassword)
		wantCode(t, err, "link_used")
		_, err = r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: otherPassword})
		must(t, err)
		facts, err := ReadFacts(t.Context(), r.db, v.Account)
		if err != nil || facts.PasswordResetAt.IsZero() {
			t.Errorf("%+v %v", facts, err)
		}
	})
}

func TestResetIsRefusedWhileFrozenAndItsLinkEndsWithTheRestore(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		must(t, r.RequestReset(t.Context(), r.from, mail))
		link := token(t, r.box.take(t, mail, "Choose a new password"), "reset")
		r.freeze(staff, v.Account)
		_, err := r.ResetPassword(t.Context(), r.from, link, otherPassword)
		wantCode(t, err, "frozen")
		r.restore(v.Account)
		_, err = r.ResetPassword(t.Context(), r.from, link, otherPassword)
		wantCode(t, err, "link_used")
	})
}

func TestChangeOfAddressWaitsForItsLinkAndTellsTheOldOne(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		const next = "new@holdfast.test"
		must(t, r.RequestReset(t.Context(), r.from, mail))
		reset := token(t, r.box.take(t, mail, "Choose a new password"), "reset")
		wantCode(t, r.ChangeMail(t.Context(), by, v.Account, next, "Wrong-Password-1"), "wrong_password")
		must(t, r.ChangeMail(t.Context(), by, v.Account, "other@holdfast.test", goodPassword))
		first := token(t, r.box.take(t, "other@holdfast.test", "Confirm"), "verify")
		must(t, r.ChangeMail(t.Context(), by, v.Account, next, goodPassword))
		link := token(t, r.box.take(t, next, "Confirm"), "verify")
		token(t, r.box.take(t, mail, "mail address"), "freeze")
		r.enter(mail)
		_, err := r.Verify(t.Context(), r.from, first)
		wantCode(t, err, "link_used")

		got, err := r.Verify(t.Context(), r.from, link)
		if err != nil || !got.Changed || got.Session.ID != "" || got.Code.characters != "" {
			t.Fatalf("%+v %v", got, err)
		}
		_, err = r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword})
		wantCode(t, err, "wrong_password")
		r.enter(next)
		if all := r.told(v.Account); strings.Join(all, " ") != next+" "+mail {
			t.Errorf("security mails would go to %q", all)
		}
		// The old address still freezes for 30 days, and resets nothing.
		if _, _, err := FindFreezeCode(t.Context(), r.db, mail, v.Code.Reveal()); err != nil {
			t.Error(err)
		}
		if id, ok, err := FindMail(t.Context(), r.db, mail); !ok || id != v.Account || err != nil {
			t.Errorf("%s %v %v", id, ok, err)
		}
		if _, ok, err := FindMail(t.Context(), r.db.At(time.Now().Add(31*24*time.Hour)), mail); ok || err != nil {
			t.Errorf("%v %v", ok, err)
		}
		_, err = r.ResetPassword(t.Context(), r.from, reset, otherPassword)
		wantCode(t, err, "link_used")
		facts, err := ReadFacts(t.Context(), r.db, v.Account)
		if err != nil || facts.MailChangedAt.IsZero() {
			t.Errorf("%+v %v", facts, err)
		}
	})
}

func TestAnAddressOfAnotherAccountIsNotTaken(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		other := r.join("second@holdfast.test")
		must(t, r.ChangeMail(t.Context(), v.Session.Actor(r.from), v.Account, "second@holdfast.test", goodPassword))
		_, err := r.Verify(t.Context(), r.from, token(t, r.box.take(t, "second@holdfast.test", "Confirm"), "verify"))
		wantCode(t, err, "mail_taken")
		s := r.enter("second@holdfast.test")
		if s.Account != other.Account {
			t.Error("the address moved")
		}
	})
}

func TestAddressCannotMoveWhileFrozen(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		must(t, r.ChangeMail(t.Context(), by, v.Account, "new@holdfast.test", goodPassword))
		link := token(t, r.box.take(t, "new@holdfast.test", "Confirm"), "verify")
		r.freeze(staff, v.Account)
		_, err := r.Verify(t.Context(), r.from, link)
		wantCode(t, err, "frozen")
		r.restore(v.Account)
		_, err = r.Verify(t.Context(), r.from, link)
		wantCode(t, err, "link_used")
	})
}

func TestPhoneAndLimitTakeThePassword(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		wantCode(t, r.SetPhone(t.Context(), by, v.Account, "+33 1 23 45 67 89", otherPassword), "wrong_password")
		must(t, r.SetPhone(t.Context(), by, v.Account, "+33 1 23 45 67 89", goodPassword))
		p, err := ReadProfile(t.Context(), r.db, v.Account)
		if err != nil || p.Phone != "+33 1 23 45 67 89" || !p.Facts.PhoneChangedAt.IsZero() {
			t.Errorf("a first number counts as a change: %+v %v", p, err)
		}
		must(t, r.SetPhone(t.Context(), by, v.Account, "", goodPassword))
		p, err = ReadProfile(t.Context(), r.db, v.Account)
		if err != nil || p.Phone != "" || p.Facts.PhoneChangedAt.IsZero() {
			t.Errorf("%+v %v", p, err)
		}
		r.box.take(t, mail, "phone number")

		wantCode(t, r.SetLimit(t.Context(), by, v.Account, 0, goodPassword), "limit")
		wantCode(t, r.SetLimit(t.Context(), by, v.Account, 101, goodPassword), "limit")
		wantCode(t, r.SetLimit(t.Context(), by, v.Account, 90, otherPassword), "wrong_password")
		must(t, r.SetLimit(t.Context(), by, v.Account, 35, goodPassword))
		if p, err = ReadProfile(t.Context(), r.db, v.Account); err != nil || p.LimitPercent != 35 {
			t.Errorf("%+v %v", p, err)
		}
	})
}

func TestStepUpMeetsTheLimitOfItsAct(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		for range 20 {
			_, err := r.ChangePassword(t.Context(), by, v.Account, PasswordChange{Current: "Wrong-Password-1", Next: otherPassword})
			wantCode(t, err, "wrong_password")
		}
		_, err := r.ChangePassword(t.Context(), by, v.Account, PasswordChange{Current: goodPassword, Next: otherPassword})
		wantCode(t, err, "too_often")
	})
}

func TestNobodyElseChangesAnAccount(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		other := r.join("second@holdfast.test")
		for name, by := range map[string]evidence.Actor{
			"another's session": other.Session.Actor(r.from),
			"no session":        {Kind: evidence.Holder},
			"a stranger":        r.from,
			"the platform":      exchange,
		} {
			if _, err := r.ChangePassword(t.Context(), by, v.Account, PasswordChange{Current: goodPassword, Next: otherPassword}); err == nil {
				t.Errorf("%s changed the password", name)
			}
			if err := r.ChangeMail(t.Context(), by, v.Account, "x@holdfast.test", goodPassword); err == nil {
				t.Errorf("%s changed the address", name)
			}
			if _, err := r.CreateKey(t.Context(), by, v.Account, NewKey{Label: "bot", Kind: HMAC, Scopes: []string{Read}, Password: goodPassword}); err == nil {
				t.Errorf("%s made a key", name)
			}
			if err := r.RequestPasswordCode(t.Context(), by, v.Account); err == nil {
				t.Errorf("%s had a code mailed", name)
			}
		}
	})
}
