package account

import (
	"context"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"holdfast/fault"
)

func TestPasswordRefusalsSayWhatIsMissing(t *testing.T) {
	for _, c := range []struct{ password, code, say string }{
		{"Abcdefg-1", "password_short", "That is 9 characters. Use at least 12, so that it cannot be guessed."},
		{"", "password_short", "That is 0 characters."},
		{"x", "password_short", "That is 1 character."},
		{"abcdefghijk-1", "password_upper", "Add an upper-case letter"},
		{"ABCDEFGHIJK-1", "password_lower", "Add a lower-case letter"},
		{"Abcdefghijk-x", "password_digit", "Add a digit"},
		{"Abcdefghijk1x", "password_symbol", "Add a symbol"},
		{"abc", "password_short", "Add a symbol"},
		{"Holder@Holdfast.Test-1", "password_mail", "Leave your mail address out of it"},
		{"My-holder-Password-1", "password_mail", "Leave your mail address out of it"},
		{strings.Repeat("Aa1-", 65), "password_long", "That is 260 bytes. Use at most 256."},
		{"Abcdefghij-1\xff", "password_form", "cannot be read"},
	} {
		err := CheckPassword(c.password, mail)
		if fault.CodeOf(err) != c.code || !strings.Contains(fault.Say(err), c.say) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v: %s", c.password, err, fault.Say(err))
		}
	}
	for _, good := range []string{goodPassword, "Ünïcödé-Wörter-7", "a B3 with spaces in it", strings.Repeat("Aa1-", 64)} {
		if err := CheckPassword(good, mail); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestHashesAreOfTheirPasswordOnly(t *testing.T) {
	h := newHasher(Config{Cost: cheap, Hashers: 2, HashQueue: 2})
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.StringN(1, 40, 200).Draw(t, "password")
		other := rapid.StringN(1, 40, 200).Draw(t, "other")
		hash, err := h.of(password)
		if err != nil {
			t.Fatal(err)
		}
		cost, _, _, err := parseHash(hash)
		if err != nil || cost != cheap || strings.Contains(hash, password) && len(password) > 8 {
			t.Fatalf("%q: %v", hash, err)
		}
		if ok, err := h.verify(context.Background(), hash, password); !ok || err != nil {
			t.Fatalf("the right password fails: %v", err)
		}
		if ok, err := h.verify(context.Background(), hash, other); err != nil || ok && other != password && !sameForm(other, password) {
			t.Fatalf("%q passes for %q: %v", other, password, err)
		}
	})
}

// sameForm reports whether two passwords are one to a person: the same in NFC.
func sameForm(a, b string) bool {
	return hashForm(a) == hashForm(b)
}

func FuzzParseHash(f *testing.F) {
	h := newHasher(Config{Cost: cheap, Hashers: 1})
	hash, err := h.of("x")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hash)
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=1$AAAA$AAAA")
	f.Add("$argon2id$v=19$m=64,t=1,p=0$" + strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, text string) {
		c, salt, sum, err := parseHash(text)
		if err != nil {
			return
		}
		if c.Memory > 1<<20 || c.Passes < 1 || c.Passes > 64 || c.Lanes < 1 || c.Lanes > 64 || len(salt) != saltBytes || len(sum) != hashBytes {
			t.Fatalf("%q is read as %+v", text, c)
		}
	})
}

// TestHashingIsBounded fills the pool in random ways: never more at work than may be, never more
// waiting than may, the rest is told at once, and nothing is left behind.
func TestHashingIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers, queue := rapid.IntRange(1, 4).Draw(t, "workers"), rapid.IntRange(1, 5).Draw(t, "queue")
		people := rapid.IntRange(0, 20).Draw(t, "people")
		giveUp := rapid.SliceOfN(rapid.Bool(), people, people).Draw(t, "give up")
		h := newHasher(Config{Cost: cheap, Hashers: workers, HashQueue: queue})
		gate := make(chan struct{})
		ctx, cancel := context.WithCancel(context.Background())
		entered := make(chan struct{}, people)
		var mu sync.Mutex
		var atWork, most, busy, gone, done int
		var all sync.WaitGroup
		for i := range people {
			own := context.Background()
			if giveUp[i] {
				own = ctx
			}
			all.Go(func() {
				leave, err := h.enter(own)
				mu.Lock()
				switch {
				case fault.CodeOf(err) == "busy":
					busy++
				case err != nil:
					gone++
				default:
					atWork++
					most = max(most, atWork)
				}
				mu.Unlock()
				entered <- struct{}{}
				if err != nil {
					return
				}
				<-gate
				mu.Lock()
				atWork--
				done++
				mu.Unlock()
				leave()
			})
		}
		// Everybody who gets an answer now has it: those at work, and those who were turned away.
		for range min(people, workers+max(0, people-workers-queue)) {
			<-entered
		}
		mu.Lock()
		if turned := max(0, people-workers-queue); busy != turned || most > workers {
			t.Fatalf("%d turned away, want %d; %d at work of %d", busy, turned, most, workers)
		}
		mu.Unlock()
		cancel()
		close(gate)
		all.Wait()
		if most > workers || done+busy+gone != people || len(h.waiting) != 0 || len(h.working) != 0 {
			t.Fatalf("%d at once of %d; %d done, %d busy, %d gone of %d; %d and %d places not given back", most, workers, done, busy, gone, people, len(h.waiting), len(h.working))
		}
	})
}

func TestAFloodOfSignInsIsToldThatWeAreBusy(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.join(mail)
		var leave []func()
		for range cap(r.hash.working) {
			l, err := r.hash.enter(t.Context())
			must(t, err)
			leave = append(leave, l)
		}
		for len(r.hash.waiting) < cap(r.hash.waiting) {
			r.hash.waiting <- struct{}{}
		}
		for _, m := range []string{mail, "nobody@holdfast.test"} {
			_, err := r.SignIn(t.Context(), r.from, Entry{Mail: m, Password: goodPassword})
			wantCode(t, err, "busy")
			if fault.KindOf(err) != fault.TooMany {
				t.Error(err)
			}
		}
		for _, l := range leave {
			l()
		}
	})
}

func TestAStaleHashIsRenewedAtSignIn(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		r.hash.cost = Cost{Memory: 128, Passes: 1, Lanes: 1}
		r.enter(mail)
		hash, err := passwordHash(t.Context(), r.db, v.Account)
		if err != nil || !strings.Contains(hash, "$m=128,") {
			t.Errorf("%s %v", hash, err)
		}
		r.enter(mail)
	})
}
