package account

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
)

const mail = "holder@holdfast.test"

func TestSignUpOpensOnlyAfterTheLinkIsPressed(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: "  Holder@Holdfast.TEST ", Password: goodPassword, Phone: "+33 1 23 45 67 89"}))
		m := r.box.take(t, mail, "Confirm")
		_, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword})
		wantCode(t, err, "wrong_password")
		if _, found, err := FindMail(t.Context(), r.db, mail); found || err != nil {
			t.Errorf("an unverified address is found: %v", err)
		}

		v, err := r.Verify(t.Context(), r.from, token(t, m, "verify"))
		must(t, err)
		if v.Changed || v.Session.Mode == 0 || !r.live(v.Session) {
			t.Errorf("no session: %+v", v)
		}
		id, _, err := FindFreezeCode(t.Context(), r.db, mail, strings.ToLower(v.Code.Reveal()))
		if err != nil || id != v.Account {
			t.Errorf("freeze code: %q %v", id, err)
		}
		p, err := ReadProfile(t.Context(), r.db, v.Account)
		if err != nil || p.Phone != "+33 1 23 45 67 89" || !p.Verified || p.LimitPercent != 20 || p.Mail != mail {
			t.Errorf("%+v %v", p, err)
		}
		if all := r.told(v.Account); len(all) != 1 || all[0] != mail {
			t.Errorf("security mails would go to %q", all)
		}

		_, err = r.Verify(t.Context(), r.from, token(t, m, "verify"))
		wantCode(t, err, "link_used")
		r.enter(mail)
		entries, err := evidence.Read(t.Context(), r.db, r.db.Keys(), v.Account, 0, 10)
		if err != nil || len(entries) != 3 {
			t.Errorf("%d entries, %v", len(entries), err)
		}
	})
}

// TestAnEarlierSignUpWithSomebodyElsesAddressGainsNothing is about a thief who signs up first with
// the victim's address and waits for the victim to verify it.
func TestAnEarlierSignUpWithSomebodyElsesAddressGainsNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: mail, Password: "Thiefs-Password-1"}))
		theirs := token(t, r.box.take(t, mail, "Confirm"), "verify")
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: mail, Password: goodPassword}))
		own := token(t, r.box.take(t, mail, "Confirm"), "verify")

		_, err := r.Verify(t.Context(), r.from, own)
		must(t, err)
		_, err = r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: "Thiefs-Password-1"})
		wantCode(t, err, "wrong_password")
		_, err = r.Verify(t.Context(), r.from, theirs)
		wantCode(t, err, "link_used")
		r.enter(mail)
	})
}

func TestSignUpWithATakenAddressTellsItsOwnerOnly(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.join(mail)
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: mail, Password: otherPassword}))
		m := r.box.take(t, mail, "tried to sign up")
		if strings.Contains(m.Text, "/verify/") {
			t.Error("the mail carries a link that verifies")
		}
		r.enter(mail)
	})
}

// TestAnUnverifiedSignUpHoldsNoAddress is about somebody who signs up with an address that its owner
// wants to move to.
func TestAnUnverifiedSignUpHoldsNoAddress(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		const wanted = "wanted@holdfast.test"
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: wanted, Password: "Thiefs-Password-1"}))
		squat := token(t, r.box.take(t, wanted, "Confirm"), "verify")
		v := r.join(mail)
		must(t, r.ChangeMail(t.Context(), v.Session.Actor(r.from), v.Account, wanted, goodPassword))
		_, err := r.Verify(t.Context(), r.from, token(t, r.box.take(t, wanted, "Confirm"), "verify"))
		must(t, err)
		_, err = r.Verify(t.Context(), r.from, squat)
		wantCode(t, err, "link_used")
		if s := r.enter(wanted); s.Account != v.Account {
			t.Error("the address signs in to another account")
		}
	})
}

func TestSignUpRefusesByFormAlone(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		for _, c := range []struct{ mail, password, phone, code string }{
			{"nobody", goodPassword, "", "mail_form"},
			{mail, "Short-1", "", "password_short"},
			{mail, "holder@holdfast.test-A1!", "", "password_mail"},
			{mail, goodPassword, "call me", "phone_form"},
		} {
			err := r.SignUp(t.Context(), r.from, SignUp{Mail: c.mail, Password: c.password, Phone: c.phone})
			wantCode(t, err, c.code)
			if fault.KindOf(err) != fault.Invalid || r.Hashes() != 1 { // 1 is the decoy
				t.Errorf("%s: %v, %d hashes", c.code, err, r.Hashes())
			}
		}
	})
}

func TestVerifyRefusesForeignAndExpiredLinks(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: mail, Password: goodPassword}))
		link := token(t, r.box.take(t, mail, "Confirm"), "verify")
		_, err := r.At(time.Now().Add(25*time.Hour)).Verify(t.Context(), r.from, link)
		wantCode(t, err, "link_expired")
		_, err = r.ResetPassword(t.Context(), r.from, link, otherPassword)
		wantCode(t, err, "link_unknown")
		for _, bad := range []string{"", "x", link[1:], link + "A", strings.Repeat("A", len(link))} {
			if _, err := r.Verify(t.Context(), r.from, bad); fault.KindOf(err) != fault.NotFound {
				t.Errorf("%q: %v", bad, err)
			}
		}
	})
}

// TestAFrozenSignUpLeavesTheAddressFree: somebody signs up with a stranger's address, and the stranger
// answers the mail with Freeze, as it says. Later the same person wants an account.
func TestAFrozenSignUpLeavesTheAddressFree(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		must(t, r.SignUp(t.Context(), r.From("198.51.100.9", firefox), SignUp{Mail: mail, Password: "Thiefs-Password-1"}))
		theirs := token(t, r.box.take(t, mail, "Confirm"), "verify")
		id, verified, _, err := r.owner(t.Context(), mail)
		if err != nil || id == "" || verified {
			t.Fatalf("%q %v %v", id, verified, err)
		}
		r.freeze(staff, id)
		v := r.join(mail)
		if v.Account == id {
			t.Error("the frozen sign-up was opened")
		}
		r.enter(mail)
		r.restore(id)
		if _, err := r.Verify(t.Context(), r.from, theirs); fault.KindOf(err) != fault.NotFound {
			t.Errorf("the first sign-up's link: %v", err)
		}
		if s := r.enter(mail); s.Account != v.Account {
			t.Error("the address moved")
		}
	})
}

func TestNobodysMailboxIsFlooded(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		for i := range mailTries.Tries + 3 { // each from elsewhere: one source has a smaller share
			must(t, r.RequestReset(t.Context(), r.From(fmt.Sprintf("198.51.100.%d", i), firefox), mail))
		}
		for range mailTries.Tries {
			r.box.take(t, mail, "Choose a new password")
		}
		// The forms are dealt with in order, so this one's mail comes after any that were too many.
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: "second@holdfast.test", Password: goodPassword}))
		r.box.take(t, "second@holdfast.test", "Confirm")
		n := 0
		must(t, r.db.QueryRow(t.Context(), `SELECT count(*) FROM notice WHERE account_id = $1 AND kind = $2`, string(v.Account), string(notice.KindPasswordReset)).Scan(&n))
		if n != mailTries.Tries {
			t.Errorf("%d reset mails, want %d", n, mailTries.Tries)
		}
	})
}
