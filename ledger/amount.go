package ledger

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/apd/v3"

	"holdfast/fault"
)

// The bounds of an amount: enough for every asset there is (18 places are ether's), and small
// enough that no input makes arithmetic slow.
const (
	MaxIntegerDigits  = 30
	MaxFractionDigits = 18
)

// Amount is an exact decimal, never a float. The zero value is 0. Amounts are immutable and two are
// equal exactly when == says so, because each number has one text: no leading or trailing zeros, no
// plus, no exponent, no negative zero.
type Amount struct{ text string }

// ParseAmount reads an amount as platforms write it: digits, perhaps a minus, perhaps a point with
// digits on both sides. It refuses exponents, signs of other kinds, NaN, spaces, grouping, and more
// digits than the bounds allow, with a fault of kind Invalid. Leading zeros and trailing zeros are
// accepted and dropped; a number that loses digits never is.
func ParseAmount(s string) (Amount, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if !onlyDigits(whole) || point && !onlyDigits(fraction) {
		return Amount{}, errAmount(s)
	}
	whole, fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	if len(whole) > MaxIntegerDigits || len(fraction) > MaxFractionDigits {
		return Amount{}, fault.New(fault.Invalid, "amount",
			fmt.Sprintf("An amount has at most %d digits before the point and %d after it.", MaxIntegerDigits, MaxFractionDigits))
	}
	return canonical(negative, whole, fraction), nil
}

func errAmount(s string) error {
	return fault.Wrap(fault.Invalid, "amount", "The amount must be written like 12.5: digits and at most one point.", fmt.Errorf("amount %.60q", s))
}

// onlyDigits reports whether s is one or more digits, and not so many that somebody is playing.
func onlyDigits(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// canonical writes the one text of a number from its trimmed parts.
func canonical(negative bool, whole, fraction string) Amount {
	if whole == "" && fraction == "" {
		return Amount{}
	}
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if negative {
		whole = "-" + whole
	}
	return Amount{whole}
}

// String returns the canonical text.
func (a Amount) String() string {
	if a.text == "" {
		return "0"
	}
	return a.text
}

// MarshalText returns the canonical text.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads any text that ParseAmount accepts.
func (a *Amount) UnmarshalText(text []byte) error {
	b, err := ParseAmount(string(text))
	*a = b
	return err
}

// decimal returns the number for arithmetic. It cannot fail: an Amount exists only with a text that
// was checked.
func (a Amount) decimal() *apd.Decimal {
	d, _, err := apd.NewFromString(a.String())
	if err != nil {
		return apd.New(0, 0)
	}
	return d
}

// exact computes without rounding: precision 0 means as many digits as it takes.
var exact = apd.BaseContext

// Sign returns -1, 0 or 1.
func (a Amount) Sign() int {
	switch {
	case a.text == "":
		return 0
	case a.text[0] == '-':
		return -1
	default:
		return 1
	}
}

// Neg returns -a.
func (a Amount) Neg() Amount {
	switch a.Sign() {
	case 0:
		return a
	case -1:
		return Amount{a.text[1:]}
	default:
		return Amount{"-" + a.text}
	}
}

// Cmp returns -1, 0 or 1 as a is less than, equal to or more than b.
func (a Amount) Cmp(b Amount) int { return a.decimal().Cmp(b.decimal()) }

// Add returns a + b, or a fault of kind Invalid when the sum is out of bounds.
func (a Amount) Add(b Amount) (Amount, error) {
	var sum apd.Decimal
	if _, err := exact.Add(&sum, a.decimal(), b.decimal()); err != nil {
		return Amount{}, fmt.Errorf("add amounts: %w", err)
	}
	return ParseAmount(sum.Text('f'))
}

// Sub returns a - b, or a fault of kind Invalid when the difference is out of bounds.
func (a Amount) Sub(b Amount) (Amount, error) { return a.Add(b.Neg()) }

// Percent returns which part of whole a is, in whole percent rounded down, at least 0 and at most
// 1000. Of a whole that is not more than zero it is 0. It is for words; decisions use FellBy.
func (a Amount) Percent(whole Amount) int {
	if whole.Sign() <= 0 || a.Sign() <= 0 {
		return 0
	}
	var hundredfold, quotient apd.Decimal
	ctx := apd.BaseContext.WithPrecision(2 * (MaxIntegerDigits + MaxFractionDigits))
	_, err1 := exact.Mul(&hundredfold, a.decimal(), apd.New(100, 0))
	_, err2 := ctx.QuoInteger(&quotient, &hundredfold, whole.decimal())
	n, err3 := quotient.Int64()
	if err1 != nil || err2 != nil || err3 != nil {
		return 1000
	}
	return int(min(n, 1000))
}

// FellBy reports whether a balance that was before and is now after fell by more than percent of
// before. It divides nothing, so it decides exactly.
func FellBy(before, after Amount, percent int) bool {
	if before.Sign() <= 0 {
		return false
	}
	var lost, limit, hundredfold apd.Decimal
	_, err1 := exact.Sub(&lost, before.decimal(), after.decimal())
	_, err2 := exact.Mul(&hundredfold, &lost, apd.New(100, 0))
	_, err3 := exact.Mul(&limit, before.decimal(), apd.New(int64(percent), 0))
	// Exact arithmetic on bounded numbers has no error; one would be a reason to warn.
	return err1 != nil || err2 != nil || err3 != nil || hundredfold.Cmp(&limit) > 0
}
