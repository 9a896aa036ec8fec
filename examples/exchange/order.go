package exchange

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Types, times in force and states of orders, in Binance's words.
const (
	typeLimit  = "LIMIT"
	typeMarket = "MARKET"

	goodTillCancelled = "GTC"
	immediateOrCancel = "IOC"
	fillOrKill        = "FOK"

	statusNew      = "NEW"
	statusPartial  = "PARTIALLY_FILLED"
	statusFilled   = "FILLED"
	statusCanceled = "CANCELED"
	statusExpired  = "EXPIRED"
	statusInMatch  = "EXPIRED_IN_MATCH"
)

// order is one order as the exchange keeps it.
type order struct {
	id                               int64
	account, clientID, kind, inForce string
	symbol                           symbol
	side                             side
	price, quantity, quote           Amount
	filled, filledQuote, locked      Amount
	status, stopReason               string
	created, updated                 time.Time
}

func (o order) open() bool { return o.status == statusNew || o.status == statusPartial }

const orderColumns = `id, account_id, client_order_id, symbol, side, type, time_in_force, price, quantity,
	quote_quantity, filled, filled_quote, locked, status, stop_reason, created_at, updated_at`

func scanOrder(r interface{ Scan(...any) error }) (o order, err error) {
	var name string
	var created, updated int64
	err = r.Scan(&o.id, &o.account, &o.clientID, &name, &o.side, &o.kind, &o.inForce, &o.price, &o.quantity,
		&o.quote, &o.filled, &o.filledQuote, &o.locked, &o.status, &o.stopReason, &created, &updated)
	if err != nil {
		return o, err
	}
	o.created, o.updated = fromMicros(created), fromMicros(updated)
	var ok bool
	if o.symbol, ok = findSymbol(name); !ok {
		return o, fmt.Errorf("order %d is of unknown symbol %q", o.id, name)
	}
	return o, nil
}

func scanOrderRow(r *sql.Rows) (order, error) { return scanOrder(r) }

func (t *txn) order(id int64) (order, error) {
	return scanOrder(t.row(`SELECT `+orderColumns+` FROM orders WHERE id = $1`, id))
}

func (t *txn) insertOrder(o order) (int64, error) {
	var id int64
	err := t.row(`INSERT INTO orders (account_id, client_order_id, symbol, side, type, time_in_force, price, quantity,
		quote_quantity, filled, filled_quote, locked, status, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING id`,
		o.account, o.clientID, o.symbol.name, o.side, o.kind, o.inForce, o.price.String(), o.quantity.String(),
		o.quote.String(), o.filled.String(), o.filledQuote.String(), o.locked.String(), o.status,
		micros(t.now), micros(t.now)).Scan(&id)
	return id, err
}

// saveOrder writes what changes in an order's life.
func (t *txn) saveOrder(o order, stopEpoch int64) error {
	return t.exec(`UPDATE orders SET filled = $2, filled_quote = $3, locked = $4, status = $5, stop_reason = $6,
		stop_epoch = $7, quantity = $8, updated_at = $9 WHERE id = $1`,
		o.id, o.filled.String(), o.filledQuote.String(), o.locked.String(), o.status, o.stopReason,
		stopEpoch, o.quantity.String(), micros(t.now))
}

// stop ends an open order unfilled and gives back what it held.
func (t *txn) stop(o *order, status, reason string, epoch int64) error {
	if o.locked.Sign() > 0 {
		err := t.post(unlock(o.account, o.symbol.pays(o.side), o.locked, fmt.Sprintf("order %d", o.id)))
		if err != nil {
			return err
		}
	}
	o.locked, o.status, o.stopReason, o.updated = Amount{}, status, reason, t.now
	return t.saveOrder(*o, epoch)
}

var (
	errNoOrder   = errors.New("no such order")
	errDuplicate = errors.New("an open order has this client order id")
	errNoMatch   = errors.New("the market has no order to match")
	errBookFull  = errors.New("the account has too many open orders")
)

// maxOpenOrders an account may have in one symbol; Binance's MAX_NUM_ORDERS filter.
const maxOpenOrders = 200

// orderQuery names one order of an account.
type orderQuery struct {
	symbol   symbol
	id       int64
	clientID string
}

// findOrder returns the order that the query names, or errNoOrder. Another account's order
// is not found.
func findOrder(ctx context.Context, q querier, account string, want orderQuery) (order, error) {
	o, err := scanOrder(q.QueryRowContext(ctx, `SELECT `+orderColumns+` FROM orders
		WHERE account_id = $1 AND symbol = $2 AND ($3 = 0 OR id = $3) AND ($4 = '' OR client_order_id = $4)
		ORDER BY id DESC LIMIT 1`, account, want.symbol.name, want.id, want.clientID))
	if errors.Is(err, sql.ErrNoRows) {
		return o, errNoOrder
	}
	return o, err
}

// openOrders returns an account's open orders, oldest first, of one symbol or of all.
func openOrders(ctx context.Context, q querier, account, symbol string) ([]order, error) {
	return collect(ctx, q, scanOrderRow, `SELECT `+orderColumns+` FROM orders
		WHERE account_id = $1 AND ($2 = '' OR symbol = $2) AND status IN ('NEW', 'PARTIALLY_FILLED') ORDER BY id`,
		account, symbol)
}

// cancel takes open orders of the caller out of the book: the one named, or all of a symbol
// when the query names none.
func (x *Exchange) cancel(ctx context.Context, by caller, want orderQuery) ([]order, error) {
	x.lock()
	defer x.mu.Unlock()
	if err := x.whole(ctx); err != nil {
		return nil, err
	}
	var stopped []order
	err := x.db.update(ctx, x.now(), func(t *txn) error {
		stopped = nil
		if err := x.fresh(by.account, by.epoch); err != nil {
			return err
		}
		if want.id == 0 && want.clientID == "" {
			var err error
			if stopped, err = openOrders(ctx, t, by.account, want.symbol.name); err != nil {
				return err
			}
		} else {
			o, err := findOrder(ctx, t, by.account, want)
			if err != nil {
				return err
			}
			if o.open() {
				stopped = []order{o}
			}
		}
		if len(stopped) == 0 {
			return errNoOrder
		}
		for i := range stopped {
			if err := t.stop(&stopped[i], statusCanceled, "", 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, x.settleBook(ctx, err)
	}
	for _, o := range stopped {
		x.books[o.symbol.name].remove(o.side, o.id)
		x.streams.orderChanged(o, execution{kind: "CANCELED"})
	}
	x.streams.positionChanged(ctx, x, by.account)
	return stopped, nil
}
