package ledger

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast/fault"
)

func TestParseAmount(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "0.0": "0", "00012.500": "12.5", "-0.10": "-0.1", "1.2": "1.2", "30000": "30000",
		"0.000000000000000001":                   "0.000000000000000001",
		"0.0000000000000000010000":               "0.000000000000000001",
		strings.Repeat("9", 30):                  strings.Repeat("9", 30),
		"-" + strings.Repeat("9", 30) + ".5":     "-" + strings.Repeat("9", 30) + ".5",
		strings.Repeat("0", 60) + "7":            "7",
		"123456789012345678901234567890.1234567": "123456789012345678901234567890.1234567",
	} {
		a, err := ParseAmount(in)
		if err != nil || a.String() != want {
			t.Errorf("ParseAmount(%q) = %q, %v; want %q", in, a, err, want)
		}
	}
	for _, in := range []string{
		"", "-", ".", ".5", "5.", "+1", "--1", "-+1", "1e3", "1E-7", "0x10", "NaN", "nan", "Inf", "-Infinity", "1,000", "1_000", " 1", "1 ", "1\n",
		"1.2.3", "١٢", "1.٢", "0.0000000000000000001", strings.Repeat("9", 31), strings.Repeat("0", 200), "\x00", "1\x00",
	} {
		if a, err := ParseAmount(in); fault.KindOf(err) != fault.Invalid {
			t.Errorf("ParseAmount(%q) = %q, %v; want it refused", in, a, err)
		}
	}
	if (Amount{}).String() != "0" {
		t.Error("the zero value is not 0")
	}
}

// rat is the oracle: exact rational arithmetic of another implementation.
func rat(a Amount) *big.Rat {
	r, ok := new(big.Rat).SetString(a.String())
	if !ok {
		return nil
	}
	return r
}

var anyAmount = rapid.Custom(func(t *rapid.T) Amount {
	text := rapid.StringMatching(`-?[0-9]{1,12}(\.[0-9]{1,18})?`).Draw(t, "amount")
	a, err := ParseAmount(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return a
})

func TestAmountsAddExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyAmount.Draw(t, "a"), anyAmount.Draw(t, "b")
		sum, err := a.Add(b)
		if err != nil || rat(sum).Cmp(new(big.Rat).Add(rat(a), rat(b))) != 0 {
			t.Fatalf("%s + %s = %s, %v", a, b, sum, err)
		}
		if back, err := sum.Sub(b); err != nil || back != a {
			t.Fatalf("%s + %s - %s = %s, %v", a, b, b, back, err)
		}
		if a.Cmp(b) != rat(a).Cmp(rat(b)) || (a == b) != (a.Cmp(b) == 0) || a.Sign() != rat(a).Sign() {
			t.Fatalf("%s and %s compare wrongly", a, b)
		}
		if a.Neg().Neg() != a || rat(a.Neg()).Cmp(new(big.Rat).Neg(rat(a))) != 0 {
			t.Fatalf("-%s = %s", a, a.Neg())
		}
	})
}

func TestFallIsDecidedExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := anyAmount.Draw(t, "before"), anyAmount.Draw(t, "after")
		percent := rapid.IntRange(0, 100).Draw(t, "percent")
		want := false
		if before.Sign() > 0 {
			lost := new(big.Rat).Sub(rat(before), rat(after))
			part := lost.Quo(lost, rat(before))
			want = part.Cmp(big.NewRat(int64(percent), 100)) > 0
		}
		if got := FellBy(before, after, percent); got != want {
			t.Fatalf("from %s to %s by more than %d %%: %v, want %v", before, after, percent, got, want)
		}
	})
	for _, c := range []struct {
		before, after string
		want          bool
	}{
		{"1", "0.8", false}, // exactly the limit is not more than the limit
		{"1", "0.799999999999999999", true},
		{"0.000000000000000005", "0.000000000000000004", false},
		{"0", "0", false},
		{"0", "-1", false},
		{"1", "-1", true},
		{strings.Repeat("9", 30), "0", true},
	} {
		before, err1 := ParseAmount(c.before)
		after, err2 := ParseAmount(c.after)
		if err1 != nil || err2 != nil || FellBy(before, after, 20) != c.want {
			t.Errorf("from %s to %s: want %v", c.before, c.after, c.want)
		}
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		part, whole string
		want        int
	}{
		{"1", "3", 33}, {"2", "3", 66}, {"0.5", "1.2", 41}, {"1", "1", 100}, {"3", "1", 300}, {"999999999999", "0.000000000000000001", 1000},
		{"1", "0", 0}, {"-1", "2", 0}, {"1", "-2", 0}, {strings.Repeat("9", 30), strings.Repeat("9", 30) + ".999999999999999999", 99},
	} {
		part, err1 := ParseAmount(c.part)
		whole, err2 := ParseAmount(c.whole)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if got := part.Percent(whole); got != c.want {
			t.Errorf("%s of %s is %d %%, want %d", c.part, c.whole, got, c.want)
		}
	}
}

func TestSumOutOfBoundsIsRefused(t *testing.T) {
	most, err := ParseAmount(strings.Repeat("9", 30))
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := most.Add(most); fault.KindOf(err) != fault.Invalid {
		t.Errorf("sum %s, %v", sum, err)
	}
}

// FuzzParseAmount holds that what is accepted keeps its value, has one text, and is within bounds.
func FuzzParseAmount(f *testing.F) {
	for _, s := range []string{"0", "-0", "1.50", "1e3", "NaN", "+1", "0.000000000000000001", strings.Repeat("9", 31), "-.5", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAmount(s)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || a != (Amount{}) {
				t.Fatalf("%q: %q, %v", s, a, err)
			}
			return
		}
		value, ok := new(big.Rat).SetString(s)
		if !ok || value.Cmp(rat(a)) != 0 {
			t.Fatalf("%q became %s", s, a)
		}
		again, err := ParseAmount(a.String())
		if err != nil || again != a {
			t.Fatalf("%q: canonical %s reads back as %s, %v", s, a, again, err)
		}
		whole, fraction, _ := strings.Cut(strings.TrimPrefix(a.String(), "-"), ".")
		if len(whole) > MaxIntegerDigits || len(fraction) > MaxFractionDigits || strings.HasSuffix(fraction, "0") {
			t.Fatalf("%q became %s", s, a)
		}
	})
}
