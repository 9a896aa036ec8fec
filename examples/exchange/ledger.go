package exchange

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Accounts of the house. The chain's balance is minus everything that the exchange holds
// for its customers and itself, so all balances of an asset always add up to zero.
const (
	houseFees  = "house:fees"
	houseChain = "house:chain"
)

func isHouse(account string) bool { return strings.HasPrefix(account, "house:") }

const (
	free   = "free"
	locked = "locked"
)

// errShort is returned when an account has not enough of an asset.
var errShort = errors.New("the account has insufficient balance")

// entry is one line of a journal entry: amount (signed) goes to the bucket of an account.
type entry struct {
	account, asset, bucket string
	amount                 Amount
}

// posting is a journal entry to be written.
type posting struct {
	kind, ref, detail string
	entries           []entry
}

// move is the two entries that carry amount from one place to another.
func move(asset string, amount Amount, fromAccount, fromBucket, toAccount, toBucket string) []entry {
	return []entry{
		{fromAccount, asset, fromBucket, amount.Neg()},
		{toAccount, asset, toBucket, amount},
	}
}

func lock(account, asset string, amount Amount, ref string) posting {
	return posting{kind: "lock", ref: ref, entries: move(asset, amount, account, free, account, locked)}
}

func unlock(account, asset string, amount Amount, ref string) posting {
	return posting{kind: "unlock", ref: ref, entries: move(asset, amount, account, locked, account, free)}
}

// post writes one journal entry, the balances it changes, and for each customer whose
// holdings changed the movement to be reported to Holdfast: all in t's transaction. It
// refuses entries that do not add up to zero and balances below zero (errShort).
func (t *txn) post(p posting) error {
	sums := map[string]Amount{}
	for _, e := range p.entries {
		sums[e.asset] = sums[e.asset].Add(e.amount)
	}
	for asset, sum := range sums {
		if sum.Sign() != 0 {
			return fmt.Errorf("journal entry %s %s is out of balance by %s %s", p.kind, p.ref, sum, asset)
		}
	}
	if !slices.ContainsFunc(p.entries, func(e entry) bool { return e.amount.Sign() != 0 }) {
		return nil
	}
	var id int64
	if err := t.row(`INSERT INTO journal (kind, ref, at) VALUES ($1, $2, $3) RETURNING id`,
		p.kind, p.ref, micros(t.now)).Scan(&id); err != nil {
		return err
	}
	type holding struct{ account, asset string }
	deltas := map[holding]Amount{}
	var order []holding // the order of entries, so that movements come out the same every time
	for _, e := range p.entries {
		if e.amount.Sign() == 0 {
			continue
		}
		if err := t.exec(`INSERT INTO postings (journal_id, account_id, asset, bucket, amount) VALUES ($1, $2, $3, $4, $5)`,
			id, e.account, e.asset, e.bucket, e.amount.String()); err != nil {
			return err
		}
		if err := t.change(e); err != nil {
			return err
		}
		h := holding{e.account, e.asset}
		if _, seen := deltas[h]; !seen {
			order = append(order, h)
		}
		deltas[h] = deltas[h].Add(e.amount)
	}
	for _, h := range order {
		delta := deltas[h]
		if isHouse(h.account) || delta.Sign() == 0 {
			continue
		}
		after, err := t.balance(h.account, h.asset)
		if err != nil {
			return err
		}
		total := after.total()
		kind := p.kind
		if kind == "transfer" {
			kind = "transfer_in"
			if delta.Sign() < 0 {
				kind = "transfer_out"
			}
		}
		if err := t.exec(`INSERT INTO movements (reference, account_id, asset, delta, before, after, kind, at, detail)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			"movement-"+newID(), h.account, h.asset, delta.String(),
			total.Sub(delta).String(), total.String(), kind, micros(t.now), p.detail); err != nil {
			return err
		}
	}
	return nil
}

// holdings of one account in one asset.
type holdings struct {
	asset        string
	free, locked Amount
}

func (h holdings) total() Amount { return h.free.Add(h.locked) }

func (t *txn) balance(account, asset string) (holdings, error) {
	h := holdings{asset: asset}
	err := t.row(`SELECT free, locked FROM balances WHERE account_id = $1 AND asset = $2`, account, asset).
		Scan(&h.free, &h.locked)
	if errors.Is(err, sql.ErrNoRows) {
		return h, nil
	}
	return h, err
}

func (t *txn) change(e entry) error {
	h, err := t.balance(e.account, e.asset)
	if err != nil {
		return err
	}
	switch e.bucket {
	case free:
		h.free = h.free.Add(e.amount)
	case locked:
		h.locked = h.locked.Add(e.amount)
	default:
		return fmt.Errorf("no bucket %q", e.bucket)
	}
	if !isHouse(e.account) && (h.free.Sign() < 0 || h.locked.Sign() < 0) {
		return errShort
	}
	return t.exec(`INSERT INTO balances (account_id, asset, free, locked) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account_id, asset) DO UPDATE SET free = excluded.free, locked = excluded.locked`,
		e.account, e.asset, h.free.String(), h.locked.String())
}

// balances returns what an account holds, in the order of the asset list, zeros included.
func (x *Exchange) balances(ctx context.Context, account string) ([]holdings, error) {
	stored, err := collect(ctx, x.db.read, func(r *sql.Rows) (h holdings, err error) {
		err = r.Scan(&h.asset, &h.free, &h.locked)
		return h, err
	}, `SELECT asset, free, locked FROM balances WHERE account_id = $1`, account)
	if err != nil {
		return nil, err
	}
	all := make([]holdings, len(assets))
	for i, a := range assets {
		all[i].asset = a.name
		for _, h := range stored {
			if h.asset == a.name {
				all[i] = h
			}
		}
	}
	return all, nil
}

// ensureUser makes an account known on its first visit; mail may be empty.
func (t *txn) ensureUser(account, mail string) error {
	return t.exec(`INSERT INTO users (account_id, uid, mail, created_at)
		VALUES ($1, (SELECT COALESCE(max(uid), 354937868) + 1 FROM users), $2, $3)
		ON CONFLICT (account_id) DO UPDATE SET mail = CASE WHEN excluded.mail = '' THEN mail ELSE excluded.mail END`,
		account, mail, micros(t.now))
}

// depositAddress returns the account's address for an asset, made on first use.
func (t *txn) depositAddress(account string, a asset) (string, error) {
	var address string
	err := t.row(`SELECT address FROM deposit_addresses WHERE account_id = $1 AND asset = $2`, account, a.name).Scan(&address)
	if !errors.Is(err, sql.ErrNoRows) {
		return address, err
	}
	address = a.addressPrefix + randomDigits(a.addressDigits, a.addressLength)
	return address, t.exec(`INSERT INTO deposit_addresses (asset, address, account_id) VALUES ($1, $2, $3)`,
		a.name, address, account)
}

// randomDigits draws n digits. Both alphabets have a length that divides 256 or nearly so;
// an address needs to be unique, not uniform.
func randomDigits(alphabet string, n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

// newID returns a random id of 32 hexadecimal digits.
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// newTxID returns the id of a transaction on a simulated network.
func newTxID() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// DepositAddress returns the address at which the account receives an asset.
func (x *Exchange) DepositAddress(ctx context.Context, account, assetName string) (string, error) {
	a, ok := findAsset(assetName)
	if !ok {
		return "", fmt.Errorf("no asset %q", assetName)
	}
	var address string
	err := x.update(ctx, func(t *txn) error {
		if err := t.ensureUser(account, ""); err != nil {
			return err
		}
		var err error
		address, err = t.depositAddress(account, a)
		return err
	})
	return address, err
}

// Deposit credits assets that arrived on a (simulated) network. txid names the arrival: a
// second call with the same txid changes nothing. It is how a test or a demonstration puts
// money into an account; nothing reachable over the network calls it unless Config.Faucet
// is set.
func (x *Exchange) Deposit(ctx context.Context, account, assetName, amount, txid string) error {
	a, ok := findAsset(assetName)
	if !ok {
		return fmt.Errorf("no asset %q", assetName)
	}
	sum, err := ParseAmount(amount)
	if err != nil || sum.Sign() == 0 || sum.Places() > int(a.places) {
		return fmt.Errorf("deposit of %q %s: %w", amount, assetName, errAmount)
	}
	err = x.update(ctx, func(t *txn) error {
		if err := t.ensureUser(account, ""); err != nil {
			return err
		}
		address, err := t.depositAddress(account, a)
		if err != nil {
			return err
		}
		n, err := t.count(`INSERT INTO deposits (id, account_id, asset, amount, address, txid, internal, at)
			VALUES ($1, $2, $3, $4, $5, $6, 0, $7) ON CONFLICT (txid) DO NOTHING`,
			newID(), account, assetName, sum.String(), address, txid, micros(t.now))
		if err != nil || n == 0 {
			return err
		}
		return t.post(posting{kind: "deposit", ref: txid, detail: "Deposit from " + a.networkTitle,
			entries: move(assetName, sum, houseChain, free, account, free)})
	})
	if err != nil {
		return err
	}
	x.outbox.wake()
	x.streams.balanceChanged(ctx, x, account, assetName, sum)
	return nil
}

// Imbalance recomputes every balance from the postings and returns one line for each
// thing that does not add up; none means that the books are right.
func (x *Exchange) Imbalance(ctx context.Context) ([]string, error) {
	type key struct{ account, asset, bucket string }
	sums, kept := map[key]Amount{}, map[key]Amount{}
	byAsset := map[string]Amount{}
	byLine := map[string]Amount{}
	var faults []string
	tx, err := x.db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	_, err = collect(ctx, tx, func(r *sql.Rows) (struct{}, error) {
		var k key
		var line int64
		var a Amount
		if err := r.Scan(&line, &k.account, &k.asset, &k.bucket, &a); err != nil {
			return struct{}{}, err
		}
		sums[k] = sums[k].Add(a)
		byAsset[k.asset] = byAsset[k.asset].Add(a)
		l := fmt.Sprintf("journal %d %s", line, k.asset)
		byLine[l] = byLine[l].Add(a)
		return struct{}{}, nil
	}, `SELECT journal_id, account_id, asset, bucket, amount FROM postings`)
	if err != nil {
		return nil, err
	}
	_, err = collect(ctx, tx, func(r *sql.Rows) (struct{}, error) {
		var k key
		var f, l Amount
		if err := r.Scan(&k.account, &k.asset, &f, &l); err != nil {
			return struct{}{}, err
		}
		k.bucket = free
		kept[k] = f
		k.bucket = locked
		kept[k] = l
		if !isHouse(k.account) && (f.Sign() < 0 || l.Sign() < 0) {
			faults = append(faults, fmt.Sprintf("%s has %s free and %s locked %s", k.account, f, l, k.asset))
		}
		return struct{}{}, nil
	}, `SELECT account_id, asset, free, locked FROM balances`)
	if err != nil {
		return nil, err
	}
	for k, sum := range sums {
		if kept[k].Cmp(sum) != 0 {
			faults = append(faults, fmt.Sprintf("%s %s %s: balance %s, postings %s", k.account, k.asset, k.bucket, kept[k], sum))
		}
	}
	for k, sum := range kept {
		if _, posted := sums[k]; !posted && sum.Sign() != 0 {
			faults = append(faults, fmt.Sprintf("%s %s %s: balance %s without postings", k.account, k.asset, k.bucket, sum))
		}
	}
	for asset, sum := range byAsset {
		if sum.Sign() != 0 {
			faults = append(faults, fmt.Sprintf("all %s adds up to %s", asset, sum))
		}
	}
	for line, sum := range byLine {
		if sum.Sign() != 0 {
			faults = append(faults, fmt.Sprintf("%s adds up to %s", line, sum))
		}
	}
	// What orders and withdrawals hold is what the accounts have locked.
	held := map[key]Amount{}
	_, err = collect(ctx, tx, func(r *sql.Rows) (struct{}, error) {
		var k key
		var name string
		var s side
		var a Amount
		if err := r.Scan(&k.account, &name, &s, &a); err != nil {
			return struct{}{}, err
		}
		m, _ := findSymbol(name)
		k.asset, k.bucket = m.pays(s), locked
		held[k] = held[k].Add(a)
		return struct{}{}, nil
	}, `SELECT account_id, symbol, side, locked FROM orders WHERE locked <> '0'`)
	if err != nil {
		return nil, err
	}
	_, err = collect(ctx, tx, func(r *sql.Rows) (struct{}, error) {
		k := key{bucket: locked}
		var a Amount
		if err := r.Scan(&k.account, &k.asset, &a); err != nil {
			return struct{}{}, err
		}
		held[k] = held[k].Add(a)
		return struct{}{}, nil
	}, `SELECT account_id, asset, amount FROM withdrawals WHERE state IN ($1, $2)`, withdrawalRequesting, withdrawalPending)
	if err != nil {
		return nil, err
	}
	for k, sum := range kept {
		if k.bucket == locked && !isHouse(k.account) && held[k].Cmp(sum) != 0 {
			faults = append(faults, fmt.Sprintf("%s %s: %s locked, %s held by orders and withdrawals", k.account, k.asset, sum, held[k]))
		}
	}
	return faults, nil
}

// pays returns the asset that an order of this side gives.
func (m symbol) pays(s side) string {
	if s == buy {
		return m.quote
	}
	return m.base
}

// gets returns the asset that an order of this side receives.
func (m symbol) gets(s side) string { return m.pays(s.other()) }

// lock takes the exchange's lock in the ordinary queue. A freeze takes x.mu itself and so
// stands in front of everyone but the one who holds it and the first who waits.
func (x *Exchange) lock() {
	x.queue.Lock()
	x.mu.Lock()
	x.queue.Unlock()
}

// update runs a write transaction under the exchange's lock: whatever is decided about
// money is decided one thing after the other.
func (x *Exchange) update(ctx context.Context, fn func(*txn) error) error {
	x.lock()
	defer x.mu.Unlock()
	return x.db.update(ctx, x.now(), fn)
}

func (x *Exchange) now() time.Time { return x.cfg.Now().UTC().Truncate(time.Microsecond) }
