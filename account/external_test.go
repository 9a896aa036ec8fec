package account

import (
	"strings"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/permit"
)

func TestThePlatformsAccountIsMadeOnceAndOpensNoSignInHere(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		id, made, err := r.RegisterAccount(t.Context(), exchange, "user-1", "Holder@Holdfast.test", "")
		if err != nil || !made {
			t.Fatal(err)
		}
		again, made, err := r.RegisterAccount(t.Context(), exchange, "user-1", mail, "")
		if err != nil || made || again != id {
			t.Errorf("%s %v %v", again, made, err)
		}
		_, _, err = r.RegisterAccount(t.Context(), exchange, "user-2", mail, "")
		wantCode(t, err, "mail_taken")
		_, _, err = r.RegisterAccount(t.Context(), exchange, "", mail, "")
		wantCode(t, err, "name")
		_, _, err = r.RegisterAccount(t.Context(), exchange, strings.Repeat("x", 129), mail, "")
		wantCode(t, err, "name")
		if all := r.told(id); len(all) != 1 {
			t.Errorf("security mails would go to %q", all)
		}
		_, err = r.SignIn(t.Context(), r.from, Entry{Mail: mail})
		wantCode(t, err, "wrong_password")
		must(t, r.RequestReset(t.Context(), r.from, mail))
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: mail, Password: goodPassword}))
		if m := r.box.take(t, mail, "tried to sign up"); strings.Contains(m.Text, "/reset/") {
			t.Error("a mail would give the platform's account a password here")
		}
		if external, err := ExternalID(t.Context(), r.db, "exchange", id); err != nil || external != "user-1" {
			t.Errorf("%q %v", external, err)
		}
		if external, err := ExternalID(t.Context(), r.db, "other", id); err != nil || external != "" {
			t.Errorf("%q %v", external, err)
		}
	})
}

func TestARegisteredCredentialDiesWithTheFreeze(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		id, _, err := r.RegisterAccount(t.Context(), exchange, "user-1", mail, "")
		must(t, err)
		key := External{ID: "k1", Kind: KeyCredential, Scopes: []permit.Exit{permit.Order}, Label: "bot"}
		session := External{ID: "s1", Kind: SessionCredential, ExpiresAt: time.Now().Add(time.Hour)}
		must(t, r.RegisterCredential(t.Context(), exchange, id, key))
		must(t, r.RegisterCredential(t.Context(), exchange, id, key))
		must(t, r.RegisterCredential(t.Context(), exchange, id, session))
		live := func(want string) {
			t.Helper()
			var standing permit.Standing
			standing.Account = id
			must(t, r.db.QueryRow(t.Context(), `SELECT epoch FROM standing WHERE account_id = $1`, string(id)).Scan(&standing.Epoch))
			var got []string
			for _, c := range []string{"k1", "s1"} {
				ok, err := CredentialLive(t.Context(), r.db, standing, exchange.ID, ExternalCredential, c)
				must(t, err)
				if ok {
					got = append(got, c)
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("live: %q, want %q", got, want)
			}
		}
		live("k1 s1")
		must(t, r.EndCredential(t.Context(), exchange, id, "s1"))
		must(t, r.EndCredential(t.Context(), exchange, id, "s1"))
		wantCode(t, r.RegisterCredential(t.Context(), exchange, id, session), "credential_ended")
		live("k1")
		if got := r.freeze(staff, id); got.Credentials != 1 {
			t.Errorf("%+v", got)
		}
		live("")
		wantCode(t, r.RegisterCredential(t.Context(), exchange, id, External{ID: "k2", Kind: KeyCredential, Scopes: key.Scopes}), "frozen")
		r.restore(id)
		live("")
		wantCode(t, r.RegisterCredential(t.Context(), exchange, id, key), "credential_ended")
		must(t, r.RegisterCredential(t.Context(), exchange, id, External{ID: "k2", Kind: KeyCredential, Scopes: key.Scopes}))
	})
}

func TestAnIntegratorSpeaksForItsOwnAccountsOnly(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		c := External{ID: "k1", Kind: KeyCredential, Scopes: []permit.Exit{permit.Order}}
		wantCode(t, r.RegisterCredential(t.Context(), exchange, v.Account, c), "unknown_account")
		wantCode(t, r.EndCredential(t.Context(), exchange, v.Account, "k1"), "unknown_credential")
		id, _, err := r.RegisterAccount(t.Context(), exchange, "user-1", "second@holdfast.test", "")
		must(t, err)
		other := evidence.Actor{Kind: evidence.Integrator, ID: "other"}
		wantCode(t, r.RegisterCredential(t.Context(), other, id, c), "unknown_account")
		must(t, r.RegisterCredential(t.Context(), exchange, id, c))
		wantCode(t, r.EndCredential(t.Context(), other, id, "k1"), "unknown_credential")
		for code, bad := range map[string]External{
			"name":            {ID: "a\nb", Kind: KeyCredential, Scopes: c.Scopes},
			"credential_kind": {ID: "k2", Kind: "card"},
			"scope":           {ID: "k2", Kind: KeyCredential},
		} {
			wantCode(t, r.RegisterCredential(t.Context(), exchange, id, bad), code)
		}
	})
}
