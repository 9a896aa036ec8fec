package account

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/store"
	"holdfast/store/storetest"
)

// work is what a try at a public door costs and answers, as far as a stranger could see it.
type work struct {
	answer     string
	hashes     int64
	statements int64
	forms      int64
	jobs       int64
}

// measure runs one try.
func (r *rig) measure(try func() (any, error)) work {
	r.t.Helper()
	var w work
	count := func(table string) (n int64) {
		must(r.t, r.db.QueryRow(r.t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
		return n
	}
	forms, jobs := count("public_request"), count("river_job")
	hashes, statements := r.Hashes(), r.db.Statements()
	result, err := try()
	w.hashes, w.statements = r.Hashes()-hashes, r.db.Statements()-statements
	w.forms, w.jobs = count("public_request")-forms, count("river_job")-jobs
	until, _ := fault.UntilOf(err)
	text, errJSON := json.Marshal([]any{result, err != nil, fault.KindOf(err), fault.CodeOf(err), fault.Say(err), until})
	must(r.t, errJSON)
	w.answer = string(text)
	return w
}

// TestNoPublicFormTellsWhetherAnAccountExists compares, for each public form, an address that has an
// account with one that has none: answers, password hashes, statements and queued jobs.
func TestNoPublicFormTellsWhetherAnAccountExists(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRig(t, db, Config{})
		r.join("known@holdfast.test")
		r.freeze(staff, r.join("frozen@holdfast.test").Account)
		must(t, r.SignUp(t.Context(), r.from, SignUp{Mail: "unverified@holdfast.test", Password: goodPassword}))
		r.box.take(t, "unverified@holdfast.test", "Confirm")
		r.rest()

		// Each address is tried from a source of its own, so that limits by source end alike.
		addresses := []string{"nobody@holdfast.test", "known@holdfast.test", "frozen@holdfast.test", "unverified@holdfast.test"}
		from := func(mail string) evidence.Actor {
			return r.From(fmt.Sprintf("198.51.100.%d", slices.Index(addresses, mail)), firefox)
		}
		forms := map[string]func(a *Accounts, mail string) (any, error){
			"sign up": func(a *Accounts, mail string) (any, error) {
				return nil, a.SignUp(t.Context(), from(mail), SignUp{Mail: mail, Password: goodPassword})
			},
			"reset": func(a *Accounts, mail string) (any, error) { return nil, a.RequestReset(t.Context(), from(mail), mail) },
			"sign-in code": func(a *Accounts, mail string) (any, error) {
				nonce, err := a.RequestSignInCode(t.Context(), from(mail), mail)
				return len(nonce), err
			},
			"sign-in": func(a *Accounts, mail string) (any, error) {
				return a.SignIn(t.Context(), from(mail), Entry{Mail: mail, Password: "Wrong-Password-1"})
			},
			"sign-in with a remembered device": func(a *Accounts, mail string) (any, error) {
				return a.SignIn(t.Context(), from(mail), Entry{Mail: mail, Password: "Wrong-Password-1", Remembered: "AAAA"})
			},
			"mailed code": func(a *Accounts, mail string) (any, error) {
				return a.EnterWithCode(t.Context(), from(mail), mail, "1234 5678", "a browser's nonce")
			},
			"freeze code": func(a *Accounts, mail string) (any, error) {
				id, _, err := FindFreezeCode(t.Context(), a.db, mail, newFreezeCode().Reveal())
				return id, err
			},
		}
		now := time.Now().Truncate(time.Hour).Add(-24 * time.Hour)
		for name, form := range forms {
			now = now.Add(time.Hour) // each form with all its limits
			a := r.At(now)
			// More tries than every limit allows, so that the refusals for it are compared too.
			for try := range 35 {
				want := r.measure(func() (any, error) { return form(a, addresses[0]) })
				for _, mail := range addresses[1:] {
					if got := r.measure(func() (any, error) { return form(a, mail) }); got != want {
						t.Fatalf("%s, try %d, %s:\n%+v\nnobody:\n%+v", name, try, mail, got, want)
					}
				}
			}
		}
	})
}

// TestManyTriesAtOnceDoNotTellTheRightPassword tries the right password among many wrong ones, all at
// the same moment and beyond the limit: it must not be the one that is answered otherwise.
func TestManyTriesAtOnceDoNotTellTheRightPassword(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.join(mail)
		for range 10 {
			_, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: "Wrong-Password-1"})
			wantCode(t, err, "wrong_password")
		}
		answers := make(chan string, 8)
		for i := range 8 {
			go func() {
				password := fmt.Sprintf("Wrong-Password-%d", i)
				if i == 3 {
					password = goodPassword
				}
				_, err := r.SignIn(t.Context(), r.from, Entry{Mail: mail, Password: password})
				answers <- fault.CodeOf(err)
			}()
		}
		for range 8 {
			if code := <-answers; code != "too_often" {
				t.Errorf("a try beyond the limit got %s", code)
			}
		}
	})
}

// BenchmarkExistence prints the ratio of the median times of a sign-in that fails for an address
// with an account and one without, over interleaved tries.
func BenchmarkExistence(b *testing.B) {
	for _, engine := range storetest.Engines {
		b.Run(string(engine), func(b *testing.B) {
			const tries = 2000
			r := newRig(b, storetest.Open(b, engine), Config{Cost: Cost{Memory: 1024, Passes: 1, Lanes: 1}, SourceTries: 1 << 30})
			r.join(mail)
			r.rest()
			var known, unknown []time.Duration
			at := time.Now().Add(time.Minute)
			for b.Loop() {
				known, unknown = known[:0], unknown[:0]
				for i := range tries {
					// A new hour before the limit of tries is reached, so that each is a whole one.
					a := r.At(at.Add(time.Duration(i/8) * time.Hour))
					pair := []string{mail, "nobody@holdfast.test"}
					if i%2 == 1 {
						slices.Reverse(pair)
					}
					for _, m := range pair {
						began := time.Now()
						_, err := a.SignIn(b.Context(), r.from, Entry{Mail: m, Password: "Wrong-Password-1"})
						took := time.Since(began)
						wantCode(b, err, "wrong_password")
						if m == mail {
							known = append(known, took)
						} else {
							unknown = append(unknown, took)
						}
					}
				}
				at = at.Add((tries/8 + 1) * time.Hour)
			}
			slices.Sort(known)
			slices.Sort(unknown)
			b.ReportMetric(float64(known[len(known)/2])/float64(unknown[len(unknown)/2]), "known/unknown")
			b.ReportMetric(float64(known[len(known)/2].Microseconds()), "µs/known")
		})
	}
}
