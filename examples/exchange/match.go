package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// orderRequest is a new order whose numbers have passed the symbol's filters.
type orderRequest struct {
	symbol          symbol
	side            side
	kind, inForce   string
	price, quantity Amount
	quote           Amount // MARKET for an amount of quote
	clientID        string
}

// trade is one fill as its two sides see it.
type trade struct {
	id                     int64
	price, quantity, quote Amount
	takerFee, makerFee     Amount
	maker                  order // after the fill
	at                     time.Time
}

// place matches a new order and rests what is left of it.
//
// All orders are placed under one lock, in four steps: plan the match, ask Holdfast about
// the owner of every order that would fill and about the taker, write everything in one
// durable transaction, and only then change the book in memory. A maker whom Holdfast
// refuses is passed over and its order expires. If Holdfast cannot be reached nothing
// happens at all. A trade carries the time before Holdfast was asked, so a trade is never
// later than a freeze that was acknowledged.
func (x *Exchange) place(ctx context.Context, by caller, r orderRequest) (order, []trade, error) {
	x.lock()
	defer x.mu.Unlock()
	if err := errors.Join(x.whole(ctx), x.fresh(by.account, by.epoch)); err != nil {
		return order{}, nil, err
	}
	b := x.books[r.symbol.name]
	at, by, barred, p, err := x.plan(ctx, by, b, r)
	if err != nil {
		return order{}, nil, err
	}
	if r.kind == typeMarket && p.filled.Sign() == 0 && !slices.ContainsFunc(p.steps, step.leaves) {
		return order{}, nil, errNoMatch
	}
	kill := r.inForce == fillOrKill && !p.full

	var o order
	var trades []trade
	var gone []order
	err = x.db.update(ctx, at, func(t *txn) error {
		o, trades, gone = order{}, nil, nil
		if err := x.fresh(by.account, by.epoch); err != nil {
			return err
		}
		if err := t.admit(by.account, r); err != nil {
			return err
		}
		o = order{account: by.account, clientID: r.clientID, symbol: r.symbol, side: r.side, kind: r.kind,
			inForce: r.inForce, price: r.price, quantity: r.quantity, quote: r.quote, status: statusNew,
			created: at, updated: at}
		if r.kind == typeMarket && r.quantity.Sign() == 0 {
			o.quantity = p.filled
		}
		o.locked = r.holds(p)
		var err error
		if o.id, err = t.insertOrder(o); err != nil {
			return err
		}
		if err := t.post(lock(o.account, o.symbol.pays(o.side), o.locked, fmt.Sprintf("order %d", o.id))); err != nil {
			return err
		}
		for _, s := range p.steps {
			if kill {
				break
			}
			m, err := t.order(s.maker.id)
			if err != nil {
				return err
			}
			if !s.fills() {
				if err := t.stop(&m, statusInMatch, s.expire, barred[m.account]); err != nil {
					return err
				}
				gone = append(gone, m)
				continue
			}
			f, err := t.fill(&o, &m, s.quantity)
			if err != nil {
				return err
			}
			trades = append(trades, f)
		}
		return t.settleTaker(&o, r)
	})
	if err != nil {
		return order{}, nil, x.settleBook(ctx, err)
	}

	for _, m := range gone {
		b.remove(m.side, m.id)
		x.streams.orderChanged(m, execution{kind: "EXPIRED"})
		x.streams.positionChanged(ctx, x, m.account)
	}
	for _, f := range trades {
		b.reduce(f.maker.side, f.maker.id, f.quantity)
	}
	if o.open() {
		b.add(&resting{id: o.id, owner: o.account, side: o.side, price: o.price, left: o.quantity.Sub(o.filled)})
	}
	x.announce(ctx, o, trades)
	if len(trades) > 0 {
		x.outbox.wake()
	}
	return o, trades, nil
}

func (s step) leaves() bool { return !s.fills() }

// plan works out the match and gets Holdfast's word on everyone in it. It returns the
// moment before the last round of questions, the caller with the epoch of its newest yes,
// the owners that were refused with the epoch of the refusal, and the plan without them.
func (x *Exchange) plan(ctx context.Context, by caller, b *book, r orderRequest) (time.Time, caller, map[string]int64, plan, error) {
	refused := map[string]int64{}
	barred := map[string]bool{}
	t := taker{owner: by.account, side: r.side, limit: r.price, quantity: r.quantity, quote: r.quote}
	for {
		at := x.now()
		p := b.match(t, r.symbol.step, barred)
		owners := p.makers()
		if len(owners) == 0 || (r.inForce == fillOrKill && !p.full) {
			return at, by, refused, p, nil
		}
		epochs := make([]int64, len(owners))
		failures := make([]error, len(owners))
		var asked sync.WaitGroup
		for i, owner := range owners {
			asked.Go(func() {
				epochs[i], failures[i] = x.check(ctx, owner, platformCredential, exitOpenOrder, nil)
			})
		}
		epoch, err := x.check(ctx, by.account, by.credential, exitOrder, by.origin)
		asked.Wait()
		if err != nil {
			return at, by, nil, plan{}, err
		}
		by.epoch = epoch
		again := false
		for i, owner := range owners {
			var no *refusal
			switch {
			case errors.As(failures[i], &no):
				barred[owner], refused[owner], again = true, no.decision.GetEpoch(), true
			case failures[i] != nil:
				return at, by, nil, plan{}, failures[i]
			case epochs[i] < x.epochOf(owner):
				barred[owner], refused[owner], again = true, x.epochOf(owner), true
			}
		}
		if !again {
			return at, by, refused, p, nil
		}
	}
}

// holds is what the account must set aside when the order is accepted.
func (r orderRequest) holds(p plan) Amount {
	switch {
	case r.kind == typeLimit && r.side == buy:
		return r.price.Mul(r.quantity)
	case r.kind == typeLimit:
		return r.quantity
	case r.side == buy:
		return p.spent
	default:
		return p.filled
	}
}

// admit looks at what the account already has in the book.
func (t *txn) admit(account string, r orderRequest) error {
	var open, same int
	err := t.row(`SELECT count(*), COALESCE(sum(client_order_id = $3), 0) FROM orders
		WHERE account_id = $1 AND symbol = $2 AND status IN ('NEW', 'PARTIALLY_FILLED')`,
		account, r.symbol.name, r.clientID).Scan(&open, &same)
	switch {
	case err != nil:
		return err
	case same > 0:
		return errDuplicate
	case open >= maxOpenOrders:
		return errBookFull
	}
	return nil
}

// fill carries one trade through: money, both orders, the trade's rows. The price is the
// maker's.
func (t *txn) fill(taker, maker *order, quantity Amount) (trade, error) {
	m := taker.symbol
	f := trade{price: maker.price, quantity: quantity, quote: quantity.Mul(maker.price), at: t.now}
	buyer, seller := taker, maker
	if taker.side == sell {
		buyer, seller = maker, taker
	}
	buyerFee := mustAsset(m.base).tradeFee(quantity)
	sellerFee := mustAsset(m.quote).tradeFee(f.quote)
	f.takerFee, f.makerFee = buyerFee, sellerFee
	if taker.side == sell {
		f.takerFee, f.makerFee = sellerFee, buyerFee
	}
	err := t.row(`INSERT INTO trades (symbol, price, quantity, quote_quantity, buyer_is_maker, at)
		VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`, m.name, f.price.String(), quantity.String(), f.quote.String(),
		maker.side == buy, micros(t.now)).Scan(&f.id)
	if err != nil {
		return f, err
	}
	ref := fmt.Sprintf("trade %d", f.id)
	detail := fmt.Sprintf("Traded %s %s at %s %s", quantity, m.base, f.price, m.quote)
	swap := append(move(m.base, quantity, seller.account, locked, buyer.account, free),
		move(m.quote, f.quote, buyer.account, locked, seller.account, free)...)
	if err := t.post(posting{kind: "trade", ref: ref, detail: detail, entries: swap}); err != nil {
		return f, err
	}
	fees := append(move(m.base, buyerFee, buyer.account, free, houseFees, free),
		move(m.quote, sellerFee, seller.account, free, houseFees, free)...)
	if err := t.post(posting{kind: "fee", ref: ref, detail: "Fee for " + ref, entries: fees}); err != nil {
		return f, err
	}
	for _, part := range []struct {
		o       *order
		fee     Amount
		isMaker bool
	}{{taker, f.takerFee, false}, {maker, f.makerFee, true}} {
		err := t.exec(`INSERT INTO fills (trade_id, account_id, symbol, order_id, side, maker, fee, fee_asset)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, f.id, part.o.account, m.name, part.o.id, part.o.side,
			part.isMaker, part.fee.String(), m.gets(part.o.side))
		if err != nil {
			return f, err
		}
		part.o.take(f)
	}
	// A buyer whose limit was higher than the price gets the difference back at the end of
	// the order; a resting buyer fills at its own price, so nothing is over.
	if err := t.saveOrder(*maker, 0); err != nil {
		return f, err
	}
	f.maker = *maker
	return f, nil
}

// take books a trade into one side's order.
func (o *order) take(f trade) {
	o.filled, o.filledQuote = o.filled.Add(f.quantity), o.filledQuote.Add(f.quote)
	if o.side == buy {
		o.locked = o.locked.Sub(f.quote)
	} else {
		o.locked = o.locked.Sub(f.quantity)
	}
	o.status, o.updated = statusPartial, f.at
	if o.filled.Cmp(o.quantity) == 0 {
		o.status = statusFilled
	}
}

// settleTaker gives the new order its state after matching, returns what it no longer has
// to hold, and writes it.
func (t *txn) settleTaker(o *order, r orderRequest) error {
	left := o.quantity.Sub(o.filled)
	rests := r.kind == typeLimit && r.inForce == goodTillCancelled && left.Sign() > 0
	keep := Amount{}
	switch {
	case rests && o.side == buy:
		keep = o.price.Mul(left)
	case rests:
		keep = left
	case left.Sign() > 0 || o.filled.Sign() == 0:
		o.status = statusExpired
	}
	if over := o.locked.Sub(keep); over.Sign() > 0 {
		if err := t.post(unlock(o.account, o.symbol.pays(o.side), over, fmt.Sprintf("order %d", o.id))); err != nil {
			return err
		}
	}
	o.locked = keep
	return t.saveOrder(*o, 0)
}

// settleBook is called when a transaction on orders failed. The books are read again from
// the database, because a failed commit may have happened after all. It returns the error.
func (x *Exchange) settleBook(ctx context.Context, cause error) error {
	var no *refusal
	if errors.As(cause, &no) || errors.Is(cause, errNoOrder) || errors.Is(cause, errShort) ||
		errors.Is(cause, errDuplicate) || errors.Is(cause, errBookFull) {
		return cause // our own no, given before the commit
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := x.loadBooks(ctx); err != nil {
		x.log.Error("books could not be read again; trading stops", "error", err)
		x.books = emptyBooks()
		x.broken = err
	}
	return cause
}

// whole reads the books again if that failed before; until it succeeds nothing trades.
func (x *Exchange) whole(ctx context.Context) error {
	if x.broken == nil {
		return nil
	}
	if err := x.loadBooks(ctx); err != nil {
		return fmt.Errorf("%w: %w", errUnavailable, err)
	}
	x.broken = nil
	return nil
}

func emptyBooks() map[string]*book {
	books := map[string]*book{}
	for _, s := range symbols {
		books[s.name] = &book{}
	}
	return books
}

// loadBooks fills the books from the open orders in the database.
func (x *Exchange) loadBooks(ctx context.Context) error {
	open, err := collect(ctx, x.db.write, scanOrderRow, `SELECT `+orderColumns+` FROM orders
		WHERE status IN ('NEW', 'PARTIALLY_FILLED') ORDER BY id`)
	if err != nil {
		return err
	}
	books := emptyBooks()
	for _, o := range open {
		books[o.symbol.name].add(&resting{id: o.id, owner: o.account, side: o.side, price: o.price, left: o.quantity.Sub(o.filled)})
	}
	x.books = books
	return nil
}

// announce tells both sides' streams what happened to their orders.
func (x *Exchange) announce(ctx context.Context, o order, trades []trade) {
	begun := o
	begun.status, begun.filled, begun.filledQuote = statusNew, Amount{}, Amount{}
	x.streams.orderChanged(begun, execution{kind: "NEW"})
	running := begun
	told := []string{o.account}
	for _, f := range trades {
		running.take(f)
		x.streams.orderChanged(running, execution{kind: "TRADE", trade: f, fee: f.takerFee})
		x.streams.orderChanged(f.maker, execution{kind: "TRADE", trade: f, fee: f.makerFee, maker: true})
		if !slices.Contains(told, f.maker.account) {
			told = append(told, f.maker.account)
		}
	}
	if o.status == statusExpired {
		x.streams.orderChanged(o, execution{kind: "EXPIRED"})
	}
	for _, account := range told {
		x.streams.positionChanged(ctx, x, account)
	}
}
