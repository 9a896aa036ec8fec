package account

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestFreezeCodeIsReadAsPeopleTypeIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := newFreezeCode()
		printed := code.Reveal()
		if len(printed) != 23 || strings.Count(printed, "-") != 3 {
			t.Fatalf("printed as %q", printed)
		}
		var typed strings.Builder
		for _, r := range printed {
			switch {
			case r == '-':
				typed.WriteString(rapid.SampledFrom([]string{"", " ", "-", " - ", "\u2013", "\u00a0"}).Draw(t, "between"))
				continue
			case r == '0' && rapid.Bool().Draw(t, "letter O"):
				r = 'o'
			case r == '1':
				r = rapid.SampledFrom([]rune("1iIlL")).Draw(t, "one")
			case rapid.Bool().Draw(t, "lower"):
				r = []rune(strings.ToLower(string(r)))[0]
			}
			typed.WriteRune(r)
		}
		got, err := ParseFreezeCode(typed.String())
		if err != nil || got != code {
			t.Fatalf("%q for %q: %v", typed.String(), printed, err)
		}
	})
}

func TestSlipsOfTheFingerAreSeenInFreezeCodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := newFreezeCode().characters
		i := rapid.IntRange(0, codeLength-1).Draw(t, "i")
		wrong := []byte(code)
		if rapid.Bool().Draw(t, "exchange") {
			j := rapid.IntRange(0, codeLength-1).Draw(t, "j")
			wrong[i], wrong[j] = wrong[j], wrong[i]
		} else {
			wrong[i] = alphabet[rapid.IntRange(0, 31).Draw(t, "character")]
		}
		_, err := ParseFreezeCode(string(wrong))
		if (err == nil) != (string(wrong) == code) {
			t.Fatalf("%s typed as %s: %v", code, wrong, err)
		}
	})
}

func FuzzParseFreezeCode(f *testing.F) {
	f.Add(newFreezeCode().Reveal())
	f.Add("K7Q2M-9XA4B-T3HCE-51RVD")
	f.Add("OOOOO-IIIII-LLLLL-00000")
	f.Add(strings.Repeat("-", 99))
	f.Fuzz(func(t *testing.T, typed string) {
		code, err := ParseFreezeCode(typed)
		if err != nil {
			return
		}
		again, err := ParseFreezeCode(code.Reveal())
		if err != nil || again != code {
			t.Fatalf("%q is read as %q, and that as %q, %v", typed, code.Reveal(), again.Reveal(), err)
		}
		if strings.Contains(fmt.Sprintf("%v %s %#v %+v", code, code, code, []any{code}), code.characters) {
			t.Fatal("a code prints itself")
		}
	})
}

func TestFreezeCodeIsFoundByItsAddressOnly(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		other := r.join("second@holdfast.test")
		find := func(mail, code string) error {
			_, _, err := FindFreezeCode(t.Context(), r.db, mail, code)
			return err
		}
		must(t, find(mail, v.Code.Reveal()))
		wantCode(t, find("second@holdfast.test", v.Code.Reveal()), "wrong_code")
		wantCode(t, find(mail, other.Code.Reveal()), "wrong_code")
		wantCode(t, find("nobody@holdfast.test", v.Code.Reveal()), "wrong_code")
		wantCode(t, find(mail, v.Code.Reveal()[1:]), "code_form")
	})
}

// TestAReplacedFreezeCodeStillFreezesForAWhile is about a thief who makes a new code to render the
// printed one worthless.
func TestAReplacedFreezeCodeStillFreezesForAWhile(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		_, err := r.NewFreezeCode(t.Context(), v.Session.Actor(r.from), v.Account, "Wrong-Password-1")
		wantCode(t, err, "wrong_password")
		code, err := r.NewFreezeCode(t.Context(), v.Session.Actor(r.from), v.Account, goodPassword)
		must(t, err)
		for _, c := range []struct {
			code FreezeCode
			at   time.Duration
			want bool
		}{{code, 0, true}, {v.Code, 0, true}, {v.Code, 29 * 24 * time.Hour, true}, {v.Code, 31 * 24 * time.Hour, false}, {code, 400 * 24 * time.Hour, true}} {
			_, _, err := FindFreezeCode(t.Context(), r.db.At(time.Now().Add(c.at)), mail, c.code.Reveal())
			if (err == nil) != c.want {
				t.Errorf("after %s: %v", c.at, err)
			}
		}
	})
}
