package account

import (
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
)

func TestSessionsEndWhenUnusedAndAfterThirtyDays(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		s := r.join(mail).Session
		start := s.CreatedAt
		open := func(d time.Duration) bool {
			_, err := r.At(start.Add(d)).Session(t.Context(), s.Token.Reveal(), r.from)
			return err == nil
		}
		if open(12 * time.Hour) {
			t.Error("live after 12 h without use")
		}
		var age time.Duration
		for ; age < 30*24*time.Hour; age += 11 * time.Hour {
			if !open(age) {
				t.Fatalf("in use, and ended after %s", age)
			}
		}
		if open(30*24*time.Hour + time.Second) {
			t.Error("live after 30 days")
		}
	})
}

func TestSessionIdleIsAskedAtTheDoorToo(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		_, err := r.At(v.Session.CreatedAt.Add(13*time.Hour)).DeleteAllKeys(t.Context(), v.Session.Actor(r.from), v.Account)
		// The door's own account room looks, with the door's clock.
		wantCode(t, err, "signed_out")
	})
}

func TestLastUseIsKeptToTheMinute(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		at := func() (at int64, address string) {
			must(t, r.db.QueryRow(t.Context(), `SELECT at, address FROM seen WHERE account_id = $1 AND kind = 'session' AND id = $2`, string(v.Account), v.Session.ID).Scan(&at, &address))
			return at, address
		}
		start := time.Now()
		for _, d := range []time.Duration{0, 20 * time.Second, 59 * time.Second} {
			r.At(start.Add(d)).MarkSeen(t.Context(), v.Account, SessionCredential, v.Session.ID, "192.0.2.1")
		}
		first, _ := at()
		r.At(start.Add(2*time.Minute)).MarkSeen(t.Context(), v.Account, SessionCredential, v.Session.ID, "192.0.2.2")
		second, address := at()
		if first > start.UnixMicro() || second <= first || address != "192.0.2.2" {
			t.Errorf("%d %d %s, began %d", first, second, address, start.UnixMicro())
		}
	})
}

func TestDevicesShowWhatIsInUse(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		r.from = r.From("198.51.100.9", chrome)
		s := r.enter(mail)
		devices, err := r.Devices(t.Context(), v.Account, s.ID)
		must(t, err)
		if len(devices) != 2 || !devices[0].This || devices[0].Name != "Chrome on Linux" || devices[0].Address != "198.51.100.9" || devices[1].This || devices[1].Name != "Firefox on Windows" || devices[1].Sessions != 1 {
			t.Fatalf("%+v", devices)
		}

		must(t, r.RemoveDevice(t.Context(), s.Actor(r.from), v.Account, devices[1].ID))
		must(t, r.RemoveDevice(t.Context(), s.Actor(r.from), v.Account, devices[1].ID))
		if r.live(v.Session) || !r.live(s) {
			t.Error("the wrong session ended")
		}
		if got := r.closings(v.Account); got != "session_ended" {
			t.Errorf("announced %q", got)
		}
		if devices, err = r.Devices(t.Context(), v.Account, s.ID); err != nil || len(devices) != 1 {
			t.Errorf("%+v %v", devices, err)
		}
		wantCode(t, r.RemoveDevice(t.Context(), s.Actor(r.from), v.Account, "no such"), "unknown_device")
	})
}

func TestAnotherAccountsDeviceCannotBeRemoved(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		other := r.join("second@holdfast.test")
		wantCode(t, r.RemoveDevice(t.Context(), other.Session.Actor(r.from), other.Account, v.Session.Device), "unknown_device")
		if !r.live(v.Session) {
			t.Error("a stranger ended a session")
		}
	})
}

func TestRemoveAllDevicesEndsEverythingElse(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		first, second := r.enter(mail), r.enter(mail)
		cookie, err := r.Remember(t.Context(), second.Actor(r.from), v.Account)
		must(t, err)
		must(t, r.SignOut(t.Context(), second.Actor(r.from), v.Account)) // remembered, without a session
		n, err := r.RemoveAllDevices(t.Context(), by, v.Account, true)
		if err != nil || n != 2 {
			t.Errorf("%d %v", n, err)
		}
		if r.live(first) || !r.live(v.Session) {
			t.Error("the wrong sessions ended")
		}
		s, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: goodPassword, Remembered: cookie.Reveal()})
		must(t, err)
		if s.Device == second.Device {
			t.Error("a removed device is still remembered")
		}
		if n, err = r.RemoveAllDevices(t.Context(), by, v.Account, false); err != nil || n != 2 || r.live(v.Session) {
			t.Errorf("%d %v, the session that asked lives: %v", n, err, r.live(v.Session))
		}
	})
}

var exchange = evidence.Actor{Kind: evidence.Integrator, ID: "exchange"}

func TestHandOverGivesThePlatformASessionOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		code, err := r.HandOver(t.Context(), by, v.Account, "exchange")
		must(t, err)
		_, err = r.Redeem(t.Context(), evidence.Actor{Kind: evidence.Integrator, ID: "other"}, code.Reveal())
		wantCode(t, err, "unknown_code")
		_, err = r.At(time.Now().Add(2*time.Minute)).Redeem(t.Context(), exchange, code.Reveal())
		wantCode(t, err, "unknown_code")
		s, err := r.Redeem(t.Context(), exchange, code.Reveal())
		must(t, err)
		_, err = r.Redeem(t.Context(), exchange, code.Reveal())
		wantCode(t, err, "unknown_code")
		if s.Mail != mail || s.ExpiresAt.After(v.Session.ExpiresAt) {
			t.Errorf("%+v", s)
		}

		if r.live(s) {
			t.Error("a platform session opens our own pages")
		}
		_, err = r.PlatformSession(t.Context(), r.db, v.Session.Token.Reveal(), "")
		wantCode(t, err, "signed_out")
		_, err = r.PlatformSession(t.Context(), r.db, s.Token.Reveal(), "other")
		wantCode(t, err, "signed_out")
		got, err := r.PlatformSession(t.Context(), r.db, s.Token.Reveal(), "exchange")
		if err != nil || got.ID != s.ID || got.Device != v.Session.Device {
			t.Errorf("%+v %v", got, err)
		}
		// A platform session that poses as the holder's own is not live at the door.
		posing := got.Actor(r.from)
		posing.ID = ""
		_, err = r.DeleteAllKeys(t.Context(), posing, v.Account)
		wantCode(t, err, "signed_out")

		must(t, r.SignOut(t.Context(), by, v.Account))
		_, err = r.PlatformSession(t.Context(), r.db, s.Token.Reveal(), "exchange")
		wantCode(t, err, "signed_out")
		if got := r.closings(v.Account); got != "session_ended session_ended" {
			t.Errorf("announced %q", got)
		}
	})
}

func TestHandOverEndsWithItsSession(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		handOver := func() (evidence.Actor, string) {
			by := r.enter(mail).Actor(r.from)
			code, err := r.HandOver(t.Context(), by, v.Account, "exchange")
			must(t, err)
			return by, code.Reveal()
		}
		by, code := handOver()
		must(t, r.SignOut(t.Context(), by, v.Account))
		_, err := r.Redeem(t.Context(), exchange, code)
		wantCode(t, err, "unknown_code")

		by, code = handOver()
		r.freeze(by, v.Account)
		_, err = r.Redeem(t.Context(), exchange, code)
		wantCode(t, err, "frozen")
		r.restore(v.Account)
		_, err = r.Redeem(t.Context(), exchange, code)
		wantCode(t, err, "unknown_code")
	})
}

func TestThePlatformEndsItsOwnSessionsOnly(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		code, err := r.HandOver(t.Context(), v.Session.Actor(r.from), v.Account, "exchange")
		must(t, err)
		s, err := r.Redeem(t.Context(), exchange, code.Reveal())
		must(t, err)
		for _, token := range []string{v.Session.Token.Reveal(), "", "x"} {
			must(t, r.EndPlatformSession(t.Context(), exchange, token))
		}
		must(t, r.EndPlatformSession(t.Context(), evidence.Actor{Kind: evidence.Integrator, ID: "other"}, s.Token.Reveal()))
		if _, err = r.PlatformSession(t.Context(), r.db, s.Token.Reveal(), "exchange"); err != nil || !r.live(v.Session) {
			t.Fatalf("ended by another: %v", err)
		}
		must(t, r.EndPlatformSession(t.Context(), exchange, s.Token.Reveal()))
		must(t, r.EndPlatformSession(t.Context(), exchange, s.Token.Reveal()))
		_, err = r.PlatformSession(t.Context(), r.db, s.Token.Reveal(), "exchange")
		wantCode(t, err, "signed_out")
		if !r.live(v.Session) {
			t.Error("the platform ended the holder's own session")
		}
	})
}

func TestCredentialsAreAskedInTheStandingsEpoch(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		standing := permit.Standing{Account: v.Account, Epoch: 1}
		for _, c := range []struct {
			kind CredentialKind
			id   string
			want bool
		}{{SessionCredential, v.Session.ID, true}, {SessionCredential, "x", false}, {KeyCredential, v.Session.ID, false}, {PlatformCredential, "", true}} {
			got, err := CredentialLive(t.Context(), r.db, standing, "exchange", c.kind, c.id)
			if err != nil || got != c.want {
				t.Errorf("%s %s: %v %v", c.kind, c.id, got, err)
			}
		}
		standing.Epoch = 2
		if got, err := CredentialLive(t.Context(), r.db, standing, "exchange", SessionCredential, v.Session.ID); got || err != nil {
			t.Errorf("live in another epoch: %v", err)
		}
		if _, err := CredentialLive(t.Context(), r.db, standing, "exchange", "unheard of", "x"); err == nil {
			t.Error("an unknown kind passes")
		}
	})
}

// TestWhatWorksOnceWorksOnceAtTheSameMomentToo uses each one-time thing eight times at once.
func TestWhatWorksOnceWorksOnceAtTheSameMomentToo(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		code, err := r.HandOver(t.Context(), v.Session.Actor(r.from), v.Account, "exchange")
		must(t, err)
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: "second@holdfast.test", Password: goodPassword}))
		link := token(t, r.box.take(t, "second@holdfast.test", "Confirm"), "verify")
		frozen := r.join("third@holdfast.test")
		r.freeze(staff, frozen.Account)
		nonce, err := r.RequestSignInCode(t.Context(), r.from, "third@holdfast.test")
		must(t, err)
		mailed := digits.FindString(r.box.take(t, "third@holdfast.test", "sign-in code").Text)
		for name, use := range map[string]func() error{
			"hand-over": func() error { _, err := r.Redeem(t.Context(), exchange, code.Reveal()); return err },
			"link":      func() error { _, err := r.Verify(t.Context(), r.from, link); return err },
			"mailed code": func() error {
				_, err := r.EnterWithCode(t.Context(), r.from, "third@holdfast.test", mailed, nonce.Reveal())
				return err
			},
		} {
			answers := make(chan error, 8)
			for range 8 {
				go func() { answers <- use() }()
			}
			worked := 0
			for range 8 {
				if err := <-answers; err == nil {
					worked++
				} else if fault.KindOf(err) == fault.Internal {
					t.Errorf("%s: %v", name, err)
				}
			}
			if worked != 1 {
				t.Errorf("%s worked %d times", name, worked)
			}
		}
	})
}
