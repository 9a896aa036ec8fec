package exchange

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
)

// object is a JSON object whose fields have no type of their own elsewhere.
type object = map[string]any

func ping(*call) (any, error) { return object{}, nil }

func serverTime(c *call) (any, error) { return object{"serverTime": millis(c.x.now())}, nil }

func emptyList(*call) (any, error) { return []any{}, nil }

func gone(*call) (any, error) { return nil, errGone }

// noFutures tells clients that ask for derivatives while loading markets that there are none.
func noFutures(c *call) (any, error) {
	return object{"timezone": "UTC", "serverTime": millis(c.x.now()), "rateLimits": []any{}, "exchangeFilters": []any{},
		"assets": []any{}, "symbols": []any{}}, nil
}

func exchangeInfo(c *call) (any, error) {
	wanted, err := wantedSymbols(c.params)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, s := range wanted {
		list = append(list, object{
			"symbol": s.name, "status": "TRADING",
			"baseAsset": s.base, "baseAssetPrecision": 8, "quoteAsset": s.quote, "quotePrecision": 8, "quoteAssetPrecision": 8,
			"baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
			"orderTypes":     []string{typeLimit, typeMarket},
			"icebergAllowed": false, "ocoAllowed": false, "otoAllowed": false, "quoteOrderQtyMarketAllowed": true,
			"allowTrailingStop": false, "cancelReplaceAllowed": false, "amendAllowed": false, "pegInstructionsAllowed": false,
			"isSpotTradingAllowed": true, "isMarginTradingAllowed": false,
			"filters": []any{
				object{"filterType": "PRICE_FILTER", "minPrice": s.tick, "maxPrice": s.maxPrice, "tickSize": s.tick},
				object{"filterType": "LOT_SIZE", "minQty": s.step, "maxQty": s.maxQuantity, "stepSize": s.step},
				object{"filterType": "NOTIONAL", "minNotional": s.leastNotional, "applyMinToMarket": true,
					"maxNotional": fixedAmount(9, 6), "applyMaxToMarket": false, "avgPriceMins": 0},
				object{"filterType": "MAX_NUM_ORDERS", "maxNumOrders": maxOpenOrders},
			},
			"permissions": []string{}, "permissionSets": [][]string{{"SPOT"}},
			"defaultSelfTradePreventionMode": "EXPIRE_MAKER", "allowedSelfTradePreventionModes": []string{"EXPIRE_MAKER"},
		})
	}
	return object{
		"timezone": "UTC", "serverTime": millis(c.x.now()),
		"rateLimits":      []any{object{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weightLimit}},
		"exchangeFilters": []any{}, "symbols": list,
	}, nil
}

// wantedSymbols reads symbol or symbols (a JSON list); neither means all.
func wantedSymbols(p *params) ([]symbol, error) {
	var names []string
	if one := p.get("symbol"); one != "" {
		names = []string{one}
	}
	if many := p.get("symbols"); many != "" {
		if err := json.Unmarshal([]byte(many), &names); err != nil {
			return nil, illegal("symbols")
		}
	}
	if names == nil {
		return symbols, nil
	}
	var wanted []symbol
	for _, name := range names {
		s, ok := findSymbol(name)
		if !ok {
			return nil, errSymbol
		}
		wanted = append(wanted, s)
	}
	return wanted, nil
}

// needSymbol reads the mandatory symbol.
func needSymbol(p *params) (symbol, error) {
	name, err := p.need("symbol")
	if err != nil {
		return symbol{}, err
	}
	s, ok := findSymbol(name)
	if !ok {
		return symbol{}, errSymbol
	}
	return s, nil
}

func depth(c *call) (any, error) {
	s, err := needSymbol(c.params)
	if err != nil {
		return nil, err
	}
	limit, err := c.params.integer("limit", 100, 1, 5000)
	if err != nil {
		return nil, err
	}
	c.x.lock()
	bids, asks := c.x.books[s.name].depth(buy, int(limit)), c.x.books[s.name].depth(sell, int(limit))
	c.x.mu.Unlock()
	pairs := func(levels []level) [][2]Amount {
		out := make([][2]Amount, len(levels))
		for i, l := range levels {
			out[i] = [2]Amount{l.price, l.quantity}
		}
		return out
	}
	return object{"lastUpdateId": c.x.now().UnixMicro(), "bids": pairs(bids), "asks": pairs(asks)}, nil
}

func tickerPrice(c *call) (any, error) {
	wanted, err := wantedSymbols(c.params)
	if err != nil {
		return nil, err
	}
	prices := []any{}
	for _, s := range wanted {
		p, err := c.x.lastPrice(c.ctx, s)
		if err != nil {
			return nil, err
		}
		prices = append(prices, object{"symbol": s.name, "price": p})
	}
	if c.params.get("symbol") != "" {
		return prices[0], nil
	}
	return prices, nil
}

// lastPrice of a symbol, zero before its first trade.
func (x *Exchange) lastPrice(ctx context.Context, s symbol) (Amount, error) {
	found, err := collect(ctx, x.db.read, func(r *sql.Rows) (a Amount, err error) { return a, r.Scan(&a) },
		`SELECT price FROM trades WHERE symbol = $1 ORDER BY id DESC LIMIT 1`, s.name)
	if err != nil || len(found) == 0 {
		return Amount{}, err
	}
	return found[0], nil
}

func account(c *call) (any, error) {
	all, err := c.x.balances(c.ctx, c.by.account)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, h := range all {
		if c.params.get("omitZeroBalances") == "true" && h.total().Sign() == 0 {
			continue
		}
		list = append(list, object{"asset": h.asset, "free": h.free, "locked": h.locked})
	}
	var uid, created int64
	err = c.x.db.read.QueryRowContext(c.ctx, `SELECT uid, created_at FROM users WHERE account_id = $1`, c.by.account).Scan(&uid, &created)
	if err != nil {
		return nil, err
	}
	scopes := c.key.GetScopes()
	rate := fixedAmount(1, -3)
	return object{
		"makerCommission": 10, "takerCommission": 10, "buyerCommission": 0, "sellerCommission": 0,
		"commissionRates": object{"maker": rate, "taker": rate, "buyer": Amount{}, "seller": Amount{}},
		"canTrade":        slices.Contains(scopes, "trade"), "canWithdraw": slices.Contains(scopes, "withdraw"), "canDeposit": true,
		"brokered": false, "requireSelfTradePrevention": false, "preventSor": false,
		"updateTime": millis(c.x.now()), "accountType": "SPOT", "balances": list, "permissions": []string{"SPOT"}, "uid": uid,
	}, nil
}

// readOrder checks a new order against the filters of its symbol.
func readOrder(p *params) (orderRequest, error) {
	r := orderRequest{}
	var err error
	if r.symbol, err = needSymbol(p); err != nil {
		return r, err
	}
	if r.side, err = parseSide(p.get("side")); err != nil {
		return r, fail(400, -1117, "Invalid side.")
	}
	if m := p.get("selfTradePreventionMode"); m != "" && m != "EXPIRE_MAKER" {
		return r, fail(400, -1013, "Only selfTradePreventionMode EXPIRE_MAKER is supported.")
	}
	for _, name := range []string{"stopPrice", "trailingDelta", "icebergQty"} {
		if p.get(name) != "" {
			return r, fail(400, -1106, "Parameter '"+name+"' sent when not required.")
		}
	}
	for name, into := range map[string]*Amount{"quantity": &r.quantity, "quoteOrderQty": &r.quote, "price": &r.price} {
		if *into, err = p.amount(name); err != nil {
			return r, err
		}
	}
	r.clientID = p.get("newClientOrderId")
	if r.clientID == "" {
		r.clientID = newID()[:22]
	}
	if !validClientID(r.clientID) {
		return r, illegal("newClientOrderId")
	}
	r.kind, r.inForce = p.get("type"), p.get("timeInForce")
	switch r.kind {
	case typeLimit:
		return r, r.checkLimit()
	case typeMarket:
		return r, r.checkMarket()
	}
	return r, fail(400, -1116, "Invalid orderType.")
}

func (r *orderRequest) checkLimit() error {
	s := r.symbol
	switch r.inForce {
	case goodTillCancelled, immediateOrCancel, fillOrKill:
	case "":
		return missing("timeInForce")
	default:
		return fail(400, -1115, "Invalid timeInForce.")
	}
	switch {
	case r.quote.Sign() != 0:
		return fail(400, -1106, "Parameter 'quoteOrderQty' sent when not required.")
	case r.quantity.Sign() == 0:
		return missing("quantity")
	case r.price.Sign() == 0:
		return missing("price")
	case r.price.Cmp(s.maxPrice) > 0 || !r.price.MultipleOf(s.tick):
		return filter("PRICE_FILTER")
	case r.quantity.Cmp(s.maxQuantity) > 0 || !r.quantity.MultipleOf(s.step):
		return filter("LOT_SIZE")
	case r.price.Mul(r.quantity).Cmp(s.leastNotional) < 0:
		return filter("NOTIONAL")
	}
	return nil
}

func (r *orderRequest) checkMarket() error {
	s := r.symbol
	r.inForce = goodTillCancelled // what Binance reports for a market order
	switch {
	case r.price.Sign() != 0:
		return fail(400, -1106, "Parameter 'price' sent when not required.")
	case (r.quantity.Sign() == 0) == (r.quote.Sign() == 0):
		return missing("quantity")
	case r.quantity.Cmp(s.maxQuantity) > 0 || !r.quantity.MultipleOf(s.step):
		return filter("LOT_SIZE")
	case r.quote.Sign() > 0 && (r.quote.Cmp(s.leastNotional) < 0 || r.quote.Cmp(fixedAmount(9, 6)) > 0):
		return filter("NOTIONAL")
	case r.quote.Places() > 8:
		return illegal("quoteOrderQty")
	}
	return nil
}

// validClientID follows Binance's pattern ^[a-zA-Z0-9-_]{1,36}$.
func validClientID(s string) bool {
	if s == "" || len(s) > 36 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}) < 0
}

func placeOrder(c *call) (any, error) {
	r, err := readOrder(c.params)
	if err != nil {
		return nil, err
	}
	o, trades, err := c.x.place(c.ctx, c.by, r)
	if err != nil {
		return nil, err
	}
	answer := o.answer()
	answer["transactTime"] = millis(o.updated)
	fills := []any{}
	for _, f := range trades {
		fills = append(fills, object{"price": f.price, "qty": f.quantity, "commission": f.takerFee,
			"commissionAsset": o.symbol.gets(o.side), "tradeId": f.id})
	}
	answer["fills"] = fills
	return answer, nil
}

// answer is an order as the API shows it.
func (o order) answer() object {
	price := o.price
	return object{
		"symbol": o.symbol.name, "orderId": o.id, "orderListId": -1, "clientOrderId": o.clientID,
		"price": price, "origQty": o.quantity, "executedQty": o.filled, "cummulativeQuoteQty": o.filledQuote,
		"origQuoteOrderQty": o.quote, "status": o.status, "timeInForce": o.inForce, "type": o.kind, "side": o.side.String(),
		"stopPrice": Amount{}, "icebergQty": Amount{}, "time": millis(o.created), "updateTime": millis(o.updated),
		"isWorking": true, "workingTime": millis(o.created), "selfTradePreventionMode": "EXPIRE_MAKER",
	}
}

// readOrderQuery reads symbol with orderId or origClientOrderId.
func readOrderQuery(p *params) (orderQuery, error) {
	var q orderQuery
	var err error
	if q.symbol, err = needSymbol(p); err != nil {
		return q, err
	}
	if q.id, err = p.integer("orderId", 0, 1, 1<<53); err != nil {
		return q, err
	}
	q.clientID = p.get("origClientOrderId")
	if q.id == 0 && q.clientID == "" {
		return q, fail(400, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
	}
	return q, nil
}

func getOrder(c *call) (any, error) {
	q, err := readOrderQuery(c.params)
	if err != nil {
		return nil, err
	}
	o, err := findOrder(c.ctx, c.x.db.read, c.by.account, q)
	if err != nil {
		return nil, err
	}
	return o.answer(), nil
}

func cancelOrder(c *call) (any, error) {
	q, err := readOrderQuery(c.params)
	if err != nil {
		return nil, err
	}
	stopped, err := c.x.cancel(c.ctx, c.by, q)
	if err != nil {
		return nil, err
	}
	return cancelled(stopped[0]), nil
}

func cancelled(o order) object {
	a := o.answer()
	a["origClientOrderId"], a["clientOrderId"], a["transactTime"] = o.clientID, newID()[:22], millis(o.updated)
	return a
}

func cancelAll(c *call) (any, error) {
	s, err := needSymbol(c.params)
	if err != nil {
		return nil, err
	}
	stopped, err := c.x.cancel(c.ctx, c.by, orderQuery{symbol: s})
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, o := range stopped {
		list = append(list, cancelled(o))
	}
	return list, nil
}

func listOpenOrders(c *call) (any, error) {
	name := c.params.get("symbol")
	if name != "" {
		if _, err := needSymbol(c.params); err != nil {
			return nil, err
		}
	}
	open, err := openOrders(c.ctx, c.x.db.read, c.by.account, name)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, o := range open {
		list = append(list, o.answer())
	}
	return list, nil
}

func myTrades(c *call) (any, error) {
	s, err := needSymbol(c.params)
	if err != nil {
		return nil, err
	}
	limit, err := c.params.integer("limit", 500, 1, 1000)
	if err != nil {
		return nil, err
	}
	from, err := c.params.integer("fromId", 0, 0, 1<<53)
	if err != nil {
		return nil, err
	}
	only, err := c.params.integer("orderId", 0, 1, 1<<53)
	if err != nil {
		return nil, err
	}
	list, err := collect(c.ctx, c.x.db.read, scanFill(s), `SELECT t.id, f.order_id, t.price, t.quantity, t.quote_quantity,
		f.fee, f.fee_asset, t.at, f.side, f.maker FROM fills f JOIN trades t ON t.id = f.trade_id
		WHERE f.account_id = $1 AND f.symbol = $2 AND t.id >= $3 AND ($4 = 0 OR f.order_id = $4)
		ORDER BY CASE WHEN $3 > 0 THEN t.id ELSE -t.id END LIMIT $5`, c.by.account, s.name, from, only, limit)
	if err != nil {
		return nil, err
	}
	if list == nil {
		list = []object{}
	}
	slices.SortFunc(list, func(a, b object) int { return cmp.Compare(a["id"].(int64), b["id"].(int64)) })
	return list, nil
}

func scanFill(s symbol) func(*sql.Rows) (object, error) {
	return func(r *sql.Rows) (object, error) {
		var id, orderID, at int64
		var price, quantity, quote, fee Amount
		var feeAsset string
		var sd side
		var maker bool
		err := r.Scan(&id, &orderID, &price, &quantity, &quote, &fee, &feeAsset, &at, &sd, &maker)
		return object{"symbol": s.name, "id": id, "orderId": orderID, "orderListId": -1, "price": price, "qty": quantity,
			"quoteQty": quote, "commission": fee, "commissionAsset": feeAsset, "time": millis(fromMicros(at)),
			"isBuyer": sd == buy, "isMaker": maker, "isBestMatch": true}, err
	}
}
