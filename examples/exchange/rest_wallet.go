package exchange

import (
	"database/sql"
	"slices"
	"strings"
	"time"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// systemStatus says "maintenance" while Holdfast's stream is lost: nothing would be done.
func systemStatus(c *call) (any, error) {
	if !c.x.enforcer.linked(c.x.now()) {
		return object{"status": 1, "msg": "system_maintenance"}, nil
	}
	return object{"status": 0, "msg": "normal"}, nil
}

func coins(c *call) (any, error) {
	all, err := c.x.balances(c.ctx, c.by.account)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for i, a := range assets {
		list = append(list, object{
			"coin": a.name, "name": a.title, "free": all[i].free, "locked": all[i].locked,
			"freeze": Amount{}, "withdrawing": Amount{}, "ipoing": Amount{}, "ipoable": Amount{}, "storage": Amount{},
			"depositAllEnable": true, "withdrawAllEnable": true, "isLegalMoney": false, "trading": true,
			"networkList": []any{object{
				"network": a.network, "coin": a.name, "name": a.networkTitle, "isDefault": true,
				"depositEnable": true, "withdrawEnable": true, "depositDesc": "", "withdrawDesc": "",
				"specialTips": "", "specialWithdrawTips": "", "resetAddressStatus": false,
				"addressRegex": a.address.String(), "memoRegex": "", "withdrawTag": false, "addressRule": "",
				"withdrawFee": a.fee, "withdrawMin": a.least, "withdrawMax": fixedAmount(1, 9), "depositDust": Amount{},
				"withdrawInternalMin": a.least, "withdrawIntegerMultiple": fixedAmount(1, -a.places),
				"minConfirm": 1, "unLockConfirm": 1, "sameAddress": false, "estimatedArrivalTime": 1, "busy": false,
				"country": "", "contractAddressUrl": "", "contractAddress": "",
			}},
		})
	}
	return list, nil
}

// needCoin reads the coin and, if given, its network.
func needCoin(p *params) (asset, error) {
	name, err := p.need("coin")
	if err != nil {
		return asset{}, err
	}
	a, ok := findAsset(name)
	if !ok {
		return asset{}, fail(400, -4018, "There is no such asset.")
	}
	if n := p.get("network"); n != "" && n != a.network {
		return asset{}, fail(400, -4007, "This network is not open for "+a.name+".")
	}
	return a, nil
}

func depositAddress(c *call) (any, error) {
	a, err := needCoin(c.params)
	if err != nil {
		return nil, err
	}
	address, err := c.x.DepositAddress(c.ctx, c.by.account, a.name)
	if err != nil {
		return nil, err
	}
	return object{"address": address, "coin": a.name, "tag": "", "url": ""}, nil
}

func depositHistory(c *call) (any, error) {
	from, to, err := period(c)
	if err != nil {
		return nil, err
	}
	limit, err := c.params.integer("limit", 1000, 1, 1000)
	if err != nil {
		return nil, err
	}
	list, err := collect(c.ctx, c.x.db.read, func(r *sql.Rows) (object, error) {
		var id, name, address, txid string
		var amount Amount
		var internal bool
		var at int64
		err := r.Scan(&id, &name, &amount, &address, &txid, &internal, &at)
		kind := 0
		if internal {
			kind = 1
		}
		return object{"id": id, "amount": amount.String(), "coin": name, "network": mustAsset(name).network, "status": 1,
			"address": address, "addressTag": "", "txId": txid, "insertTime": millis(fromMicros(at)),
			"completeTime": millis(fromMicros(at)), "transferType": kind, "confirmTimes": "1/1", "unlockConfirm": 1,
			"walletType": 0}, err
	}, `SELECT id, asset, amount, address, txid, internal, at FROM deposits
		WHERE account_id = $1 AND ($2 = '' OR asset = $2) AND at BETWEEN $3 AND $4 ORDER BY at DESC, id LIMIT $5`,
		c.by.account, c.params.get("coin"), micros(from), micros(to), limit)
	if list == nil {
		list = []object{}
	}
	return list, err
}

// period reads startTime and endTime; the default is the last 90 days, which is also the
// longest.
func period(c *call) (from, to time.Time, err error) {
	const longest = 90 * 24 * time.Hour
	now := c.x.now()
	end, err := c.params.integer("endTime", now.Add(time.Minute).UnixMilli(), 0, 1<<52)
	if err != nil {
		return from, to, err
	}
	to = time.UnixMilli(end)
	start, err := c.params.integer("startTime", to.Add(-longest).UnixMilli(), 0, 1<<52)
	if err != nil {
		return from, to, err
	}
	from = time.UnixMilli(start)
	if to.Sub(from) > longest+time.Hour || to.Before(from) {
		return from, to, fail(400, -4047, "Time interval must be within 0-90 days.")
	}
	return from, to, nil
}

// readWithdrawal checks a request for a withdrawal or an internal transfer.
func readWithdrawal(c *call) (withdrawalRequest, error) {
	p := c.params
	var r withdrawalRequest
	var err error
	if r.asset, err = needCoin(p); err != nil {
		return r, err
	}
	if p.get("addressTag") != "" {
		return r, fail(400, -4106, "This coin does not take an address tag.")
	}
	address, err := p.need("address")
	if err != nil {
		return r, err
	}
	if _, err := p.need("amount"); err != nil {
		return r, err
	}
	if r.amount, err = p.amount("amount"); err != nil {
		return r, err
	}
	if r, err = c.x.checkWithdrawal(c, r, address); err != nil {
		return r, err
	}
	if id := p.get("withdrawOrderId"); id != "" {
		if len(id) > 100 {
			return r, illegal("withdrawOrderId")
		}
		r.clientID = "client:" + id
	} else {
		r.clientID = "made:" + newID()
	}
	return r, nil
}

// checkWithdrawal applies the asset's rules and finds out whose address it is.
func (x *Exchange) checkWithdrawal(c *call, r withdrawalRequest, address string) (withdrawalRequest, error) {
	if !r.asset.validAddress(address) {
		return r, fail(400, -4002, "Invalid address.")
	}
	r.address = r.asset.normal(address)
	if r.amount.Places() > int(r.asset.places) {
		return r, fail(400, -4021, "Asset withdrawal must be a multiple of "+fixedAmount(1, -r.asset.places).String()+".")
	}
	if r.amount.Cmp(r.asset.least) < 0 {
		return r, fail(400, -4022, "Withdrawal must be at least "+r.asset.least.String()+" "+r.asset.name+".")
	}
	var err error
	r.receiver, err = x.receiverOf(c.ctx, r.asset, r.address)
	return r, err
}

// withdrawExit tells a withdrawal from an internal transfer before Holdfast is asked.
func withdrawExit(c *call) (string, error) {
	a, ok := findAsset(c.params.get("coin"))
	if !ok {
		return exitWithdrawalRequest, nil
	}
	receiver, err := c.x.receiverOf(c.ctx, a, c.params.get("address"))
	if err != nil {
		return "", err
	}
	if receiver != "" {
		return exitInternalTransfer, nil
	}
	return exitWithdrawalRequest, nil
}

func applyWithdrawal(c *call) (any, error) {
	r, err := readWithdrawal(c)
	if err != nil {
		return nil, err
	}
	w, err := c.x.withdraw(c.ctx, c.by, r)
	if err != nil {
		return nil, err
	}
	return object{"id": w.id}, nil
}

// statusNumber is the state in Binance's numbers.
func (w withdrawal) statusNumber() int {
	switch w.state {
	case withdrawalRequesting:
		return 2
	case withdrawalPending:
		return 4
	case withdrawalSent, withdrawalDone:
		return 6
	case withdrawalCancelled:
		return 1
	case withdrawalRejected:
		return 3
	}
	return 5
}

const walletTime = "2006-01-02 15:04:05"

func (w withdrawal) answer() object {
	kind := 0
	if w.internal {
		kind = 1
	}
	done := ""
	if w.statusNumber() == 6 {
		done = w.ended.Format(walletTime)
	}
	clientID, _, _ := strings.Cut(strings.TrimPrefix(w.clientID, "client:"), refusedMark)
	if strings.HasPrefix(w.clientID, "made:") {
		clientID = ""
	}
	return object{"id": w.id, "amount": w.net().String(), "transactionFee": w.fee.String(), "coin": w.asset.name,
		"status": w.statusNumber(), "address": w.address, "txId": w.txid, "applyTime": w.created.Format(walletTime),
		"network": w.asset.network, "transferType": kind, "withdrawOrderId": clientID, "info": w.reason,
		"confirmNo": 1, "walletType": 0, "txKey": "", "completeTime": done}
}

func withdrawHistory(c *call) (any, error) {
	from, to, err := period(c)
	if err != nil {
		return nil, err
	}
	limit, err := c.params.integer("limit", 1000, 1, 1000)
	if err != nil {
		return nil, err
	}
	status, err := c.params.integer("status", -1, 0, 6)
	if err != nil {
		return nil, err
	}
	all, err := c.x.withdrawals(c.ctx, c.by.account, 10000)
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, w := range all {
		a := w.answer()
		if w.created.Before(from) || w.created.After(to) || int64(len(list)) >= limit ||
			(c.params.get("coin") != "" && c.params.get("coin") != w.asset.name) ||
			(status >= 0 && int64(w.statusNumber()) != status) ||
			(c.params.get("withdrawOrderId") != "" && c.params.get("withdrawOrderId") != a["withdrawOrderId"]) {
			continue
		}
		list = append(list, a)
	}
	return list, nil
}

func accountStatus(*call) (any, error) { return object{"data": "Normal"}, nil }

func tradingStatus(c *call) (any, error) {
	return object{"data": object{"isLocked": false, "plannedRecoverTime": 0,
		"triggerCondition": object{"GCR": 150, "IFER": 150, "UFR": 300}, "updateTime": millis(c.x.now())}}, nil
}

// restrictions tells what the calling key may do, as Holdfast knows it.
func restrictions(c *call) (any, error) {
	may := func(scope string) bool { return slices.Contains(c.key.GetScopes(), scope) }
	return object{
		"ipRestrict": c.key.GetAddressList(), "createTime": millis(createdAt(c.key)),
		"enableReading": may("read"), "enableSpotAndMarginTrading": may("trade"),
		"enableWithdrawals": may("withdraw"), "enableInternalTransfer": may("withdraw"),
		"permitsUniversalTransfer": false, "enableMargin": false, "enableFutures": false, "enableVanillaOptions": false,
		"enableFixApiTrade": false, "enableFixReadOnly": false, "enablePortfolioMarginTrading": false,
	}, nil
}

func createdAt(k *holdfastv1.AuthenticateResponse) time.Time {
	if k.GetKeyCreatedAt() == nil {
		return time.Time{}
	}
	return k.GetKeyCreatedAt().AsTime()
}

// disableFast makes internal transfers of the account wait as long as withdrawals do. It
// only closes; nothing in the API switches it back.
func disableFast(c *call) (any, error) {
	err := c.x.update(c.ctx, func(t *txn) error {
		if err := c.x.fresh(c.by.account, c.by.epoch); err != nil {
			return err
		}
		return t.exec(`UPDATE users SET fast = 0 WHERE account_id = $1`, c.by.account)
	})
	return object{}, err
}
