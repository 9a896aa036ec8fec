package exchange

import (
	"fmt"
	"slices"
)

// side of an order.
type side int8

const (
	buy  side = 1
	sell side = 2
)

func (s side) String() string {
	if s == buy {
		return "BUY"
	}
	return "SELL"
}

func (s side) other() side { return buy + sell - s }

func parseSide(s string) (side, error) {
	switch s {
	case "BUY":
		return buy, nil
	case "SELL":
		return sell, nil
	}
	return 0, fmt.Errorf("side %q", s)
}

// resting is an order that waits in the book.
type resting struct {
	id    int64
	owner string
	side  side
	price Amount
	left  Amount
}

// book holds the waiting orders of one symbol, best price first and, within a price, oldest
// first: ids grow with time. It decides nothing about money and talks to nobody. Its user
// serialises access.
type book struct {
	bids, asks []*resting
}

func (b *book) of(s side) *[]*resting {
	if s == buy {
		return &b.bids
	}
	return &b.asks
}

// before orders two resting orders of one side by price, then by age.
func before(a, b *resting) int {
	c := a.price.Cmp(b.price)
	if a.side == buy {
		c = -c
	}
	if c != 0 {
		return c
	}
	switch {
	case a.id < b.id:
		return -1
	case a.id > b.id:
		return 1
	}
	return 0
}

// add puts an order into its place.
func (b *book) add(o *resting) {
	list := b.of(o.side)
	i, _ := slices.BinarySearchFunc(*list, o, before)
	*list = slices.Insert(*list, i, o)
}

// remove takes an order out. Removing one that is not there does nothing.
func (b *book) remove(s side, id int64) {
	list := b.of(s)
	*list = slices.DeleteFunc(*list, func(o *resting) bool { return o.id == id })
}

// reduce takes a filled quantity off an order and removes it when nothing is left.
func (b *book) reduce(s side, id int64, filled Amount) {
	for _, o := range *b.of(s) {
		if o.id == id {
			o.left = o.left.Sub(filled)
			if o.left.Sign() <= 0 {
				b.remove(s, id)
			}
			return
		}
	}
}

// taker is an order that arrives and takes what it can.
type taker struct {
	owner string
	side  side
	// limit is the worst price taken; zero takes any (a market order).
	limit Amount
	// quantity to fill, in the base asset; zero when the order is for an amount of quote.
	quantity Amount
	// quote is how much of the quote asset to spend or to receive when quantity is zero.
	quote Amount
}

// step is one thing that matching would do to a resting order: fill part of it, or take it
// out of the book without a fill.
type step struct {
	maker    *resting
	quantity Amount
	// expire says why the maker leaves the book unfilled; empty for a fill.
	expire string
}

const (
	// expireSelfTrade: an account never trades with itself. The resting order goes and the
	// arriving one carries on (EXPIRE_MAKER of Binance's self-trade prevention).
	expireSelfTrade = "SELF_TRADE"
	// expireRefused: Holdfast refuses the owner at the moment the order would fill.
	expireRefused = "REFUSED"
)

// plan is what matching an order would do. Nothing has been done yet.
type plan struct {
	steps []step
	// filled is the base quantity of all fills, spent their quote amount.
	filled, spent Amount
	// full says whether the whole order would be filled.
	full bool
}

// match works out how t would be filled, best price first and oldest first within a price.
// Orders whose owner is barred are passed over and marked to expire. The book is unchanged.
func (b *book) match(t taker, step Amount, barred map[string]bool) plan {
	var p plan
	left, budget := t.quantity, t.quote
	byQuote := t.quantity.Sign() == 0
	for _, m := range *b.of(t.side.other()) {
		if byQuote {
			left = budget.units(m.price.Mul(step)).Mul(step)
		}
		if left.Sign() == 0 {
			break
		}
		if t.limit.Sign() > 0 {
			if c := m.price.Cmp(t.limit); (t.side == buy && c > 0) || (t.side == sell && c < 0) {
				break
			}
		}
		if m.owner == t.owner {
			p.steps = append(p.steps, stepOut(m, expireSelfTrade))
			continue
		}
		if barred[m.owner] {
			p.steps = append(p.steps, stepOut(m, expireRefused))
			continue
		}
		q := left.Min(m.left)
		cost := q.Mul(m.price)
		p.steps = append(p.steps, stepFill(m, q))
		p.filled, p.spent = p.filled.Add(q), p.spent.Add(cost)
		left, budget = left.Sub(q), budget.Sub(cost)
	}
	p.full = !byQuote && left.Sign() == 0 || byQuote && p.filled.Sign() > 0
	return p
}

func stepOut(m *resting, why string) step { return step{maker: m, expire: why} }
func stepFill(m *resting, q Amount) step  { return step{maker: m, quantity: q} }
func (s step) fills() bool                { return s.expire == "" }

// makers returns the owners whose orders the plan would fill, each once.
func (p plan) makers() []string {
	var owners []string
	for _, s := range p.steps {
		if s.fills() && !slices.Contains(owners, s.maker.owner) {
			owners = append(owners, s.maker.owner)
		}
	}
	return owners
}

// level is one price of the book with all that waits at it.
type level struct{ price, quantity Amount }

// depth adds up the first n prices of a side.
func (b *book) depth(s side, n int) []level {
	var levels []level
	for _, o := range *b.of(s) {
		if k := len(levels); k > 0 && levels[k-1].price.Cmp(o.price) == 0 {
			levels[k-1].quantity = levels[k-1].quantity.Add(o.left)
			continue
		}
		if len(levels) == n {
			break
		}
		levels = append(levels, level{o.price, o.left})
	}
	return levels
}
