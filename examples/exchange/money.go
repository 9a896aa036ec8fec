package exchange

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// Amount is an exact decimal: a quantity, a price or a sum of money. It is immutable, its
// zero value is 0, and no operation on it rounds unless its name says so. Amounts are kept
// in the database and sent over the wire as plain text, never as binary floats.
type Amount struct{ d *apd.Decimal }

// exact has no precision limit: addition, subtraction and multiplication in it are exact.
// They can then fail only when an exponent leaves +-100000, which the limits of ParseAmount
// keep far away; that is why the methods below need no error.
var exact = apd.BaseContext

// wide is for the operations that need a precision. 120 digits hold the product of two of
// the largest amounts that ParseAmount takes with room to spare.
var wide = apd.BaseContext.WithPrecision(120)

var errAmount = errors.New("not a plain decimal number")

const (
	maxIntegerDigits  = 20
	maxFractionDigits = 18
)

// ParseAmount reads an unsigned plain decimal such as "0.05": at most 20 digits before the
// point and 18 after it, no sign, no exponent, no spaces.
func ParseAmount(s string) (Amount, error) {
	whole, fraction, pointed := strings.Cut(s, ".")
	if whole == "" || len(whole) > maxIntegerDigits || !digits(whole) ||
		len(fraction) > maxFractionDigits || !digits(fraction) || (pointed && fraction == "") {
		return Amount{}, errAmount
	}
	d, _, err := apd.NewFromString(s)
	if err != nil {
		return Amount{}, fmt.Errorf("%w: %w", errAmount, err)
	}
	return Amount{d}, nil
}

// parseSigned reads an amount that this program wrote itself and that may be negative.
func parseSigned(s string) (Amount, error) {
	rest, negative := strings.CutPrefix(s, "-")
	a, err := ParseAmount(rest)
	if err != nil {
		return Amount{}, fmt.Errorf("stored amount %q: %w", s, err)
	}
	if negative {
		a = a.Neg()
	}
	return a, nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (a Amount) dec() *apd.Decimal {
	if a.d == nil {
		return new(apd.Decimal)
	}
	return a.d
}

// Add returns a + b.
func (a Amount) Add(b Amount) Amount {
	var d apd.Decimal
	_, _ = exact.Add(&d, a.dec(), b.dec())
	return Amount{&d}
}

// Sub returns a - b.
func (a Amount) Sub(b Amount) Amount {
	var d apd.Decimal
	_, _ = exact.Sub(&d, a.dec(), b.dec())
	return Amount{&d}
}

// Mul returns a * b.
func (a Amount) Mul(b Amount) Amount {
	var d apd.Decimal
	_, _ = exact.Mul(&d, a.dec(), b.dec())
	return Amount{&d}
}

// Neg returns -a.
func (a Amount) Neg() Amount { return Amount{}.Sub(a) }

// Cmp returns -1, 0 or 1 as a is less than, equal to or more than b.
func (a Amount) Cmp(b Amount) int { return a.dec().Cmp(b.dec()) }

// Sign returns -1, 0 or 1.
func (a Amount) Sign() int { return a.dec().Sign() }

// Min returns the lesser of a and b.
func (a Amount) Min(b Amount) Amount {
	if b.Cmp(a) < 0 {
		return b
	}
	return a
}

// FloorTo cuts a (not negative) down to a multiple of step (more than zero).
func (a Amount) FloorTo(step Amount) Amount { return a.units(step).Mul(step) }

// units returns how many whole times step fits into a.
func (a Amount) units(step Amount) Amount {
	var n apd.Decimal
	if _, err := wide.QuoInteger(&n, a.dec(), step.dec()); err != nil {
		return Amount{} // only for a step of zero, which no filter has
	}
	return Amount{&n}
}

// MultipleOf reports whether a is a whole number of steps.
func (a Amount) MultipleOf(step Amount) bool { return a.FloorTo(step).Cmp(a) == 0 }

// CutTo drops every digit after the given number of places.
func (a Amount) CutTo(places int32) Amount {
	return a.FloorTo(Amount{apd.New(1, -places)})
}

// Places returns how many digits after the point a needs.
func (a Amount) Places() int {
	_, fraction, _ := strings.Cut(a.String(), ".")
	return len(fraction)
}

// String returns the canonical text: plain digits, no trailing zeros after the point, and
// one text only for each value.
func (a Amount) String() string {
	if a.Sign() == 0 {
		return "0"
	}
	s := a.dec().Text('f')
	if strings.Contains(s, ".") {
		s = strings.TrimRight(s, "0")
		s = strings.TrimSuffix(s, ".")
	}
	return s
}

// Fixed returns the text with at least eight places, the form in which Binance's API writes
// amounts.
func (a Amount) Fixed() string {
	s := a.String()
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) < 8 {
		fraction += strings.Repeat("0", 8-len(fraction))
	}
	return whole + "." + fraction
}

// MarshalJSON writes the amount as a JSON string in the form of Fixed.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(`"` + a.Fixed() + `"`), nil }

// Scan reads an amount from a TEXT column.
func (a *Amount) Scan(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("stored amount has type %T", v)
	}
	read, err := parseSigned(s)
	if err != nil {
		return err
	}
	*a = read
	return nil
}

// fixedAmount is for the constants of this program.
func fixedAmount(coefficient int64, exponent int32) Amount {
	return Amount{apd.New(coefficient, exponent)}
}
