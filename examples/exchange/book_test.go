package exchange

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawBook makes a book of one side and the list of its orders in the order of their ids.
func drawBook(t *rapid.T, s side) (*book, []*resting) {
	b := &book{}
	var all []*resting
	n := rapid.IntRange(0, 12).Draw(t, "orders")
	for i := range n {
		o := &resting{
			id: int64(i + 1), side: s,
			owner: rapid.SampledFrom([]string{"ann", "bob", "eve", "taker"}).Draw(t, "owner"),
			price: fixedAmount(rapid.Int64Range(1, 5).Draw(t, "price"), 0),
			left:  fixedAmount(rapid.Int64Range(1, 9).Draw(t, "left"), -1),
		}
		all = append(all, o)
	}
	for _, i := range rapid.Permutation(indexes(n)).Draw(t, "arrival") {
		b.add(all[i])
	}
	return b, all
}

func indexes(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// The plan of a match is compared with the rule said in other words: go through the orders
// sorted by price and age, skip what may not be taken, stop at the limit or when full.
func TestMatchKeepsPriceAndTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		takes := rapid.SampledFrom([]side{buy, sell}).Draw(t, "side")
		b, all := drawBook(t, takes.other())
		barred := map[string]bool{}
		if rapid.Bool().Draw(t, "eve is frozen") {
			barred["eve"] = true
		}
		want := taker{owner: "taker", side: takes, quantity: fixedAmount(rapid.Int64Range(1, 60).Draw(t, "quantity"), -1)}
		if rapid.Bool().Draw(t, "limited") {
			want.limit = fixedAmount(rapid.Int64Range(1, 5).Draw(t, "limit"), 0)
		}
		p := b.match(want, fixedAmount(1, -1), barred)

		slices.SortStableFunc(all, func(x, y *resting) int {
			c := x.price.Cmp(y.price)
			if takes == sell {
				c = -c
			}
			return cmp.Or(c, cmp.Compare(x.id, y.id))
		})
		left := want.quantity
		var fills []step
		for _, s := range p.steps {
			if s.fills() {
				fills = append(fills, s)
			}
		}
		for _, o := range all {
			worse := want.limit.Sign() > 0 && (takes == buy && o.price.Cmp(want.limit) > 0 || takes == sell && o.price.Cmp(want.limit) < 0)
			if left.Sign() == 0 || worse {
				break
			}
			if o.owner == "taker" || barred[o.owner] {
				continue
			}
			if len(fills) == 0 {
				t.Fatalf("order %d at %s was passed over", o.id, o.price)
			}
			q := left.Min(o.left)
			if fills[0].maker != o || fills[0].quantity.Cmp(q) != 0 {
				t.Fatalf("took %s of order %d, want %s of order %d", fills[0].quantity, fills[0].maker.id, q, o.id)
			}
			fills, left = fills[1:], left.Sub(q)
		}
		if len(fills) != 0 {
			t.Fatalf("took %d fills too many", len(fills))
		}
		if got := want.quantity.Sub(p.filled); got.Cmp(left) != 0 || p.full != (left.Sign() == 0) {
			t.Fatalf("left over %s (full %v), want %s", got, p.full, left)
		}
	})
}

func TestMatchByQuoteNeverOverspends(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		takes := rapid.SampledFrom([]side{buy, sell}).Draw(t, "side")
		b, _ := drawBook(t, takes.other())
		budget := fixedAmount(rapid.Int64Range(1, 200).Draw(t, "quote"), -1)
		p := b.match(taker{owner: "taker", side: takes, quote: budget}, fixedAmount(1, -1), nil)
		if p.spent.Cmp(budget) > 0 {
			t.Fatalf("spent %s of %s", p.spent, budget)
		}
		if !p.filled.MultipleOf(fixedAmount(1, -1)) {
			t.Fatalf("filled %s, not a whole number of steps", p.filled)
		}
	})
}

func TestAmountTextIsCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "0.0": "0", "000": "0", "1": "1", "01.50": "1.5", "10": "10", "100.000": "100",
		"0.000000000000000001": "0.000000000000000001", "12345678901234567890.123456789012345678": "12345678901234567890.123456789012345678",
	} {
		a, err := ParseAmount(in)
		if err != nil || a.String() != want {
			t.Errorf("ParseAmount(%q) = %s, %v; want %s", in, a, err, want)
		}
	}
	for _, in := range []string{"", ".", ".5", "5.", "-1", "+1", "1e3", "0x1", " 1", "1 ", "1,5", "NaN", "Infinity", "١",
		"123456789012345678901", "0.1234567890123456789"} {
		if a, err := ParseAmount(in); err == nil {
			t.Errorf("ParseAmount(%q) = %s, want an error", in, a)
		}
	}
}

func TestAmountsAreExact(t *testing.T) {
	draw := func(t *rapid.T, name string) Amount {
		return fixedAmount(rapid.Int64Range(0, 1e18).Draw(t, name), -int32(rapid.IntRange(0, 18).Draw(t, name+" places")))
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := draw(t, "a"), draw(t, "b"), draw(t, "c")
		if a.Add(b).Sub(b).Cmp(a) != 0 {
			t.Fatalf("%s + %s - %s is not the first", a, b, b)
		}
		if a.Add(b).Mul(c).Cmp(a.Mul(c).Add(b.Mul(c))) != 0 {
			t.Fatalf("(%s + %s) x %s is not the sum of the products", a, b, c)
		}
		read, err := ParseAmount(a.String())
		if err != nil || read.Cmp(a) != 0 || read.String() != a.String() {
			t.Fatalf("%s reads as %s, %v", a, read, err)
		}
		step := fixedAmount(1, -8)
		if f := a.FloorTo(step); f.Cmp(a) > 0 || a.Sub(f).Cmp(step) >= 0 || !f.MultipleOf(step) {
			t.Fatalf("%s cut to %s gives %s", a, step, f)
		}
	})
}
