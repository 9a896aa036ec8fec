package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/emersion/go-smtp"
	"golang.org/x/sync/errgroup"

	"holdfast/account"
	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/evidence"
	"holdfast/evidence/verify"
	"holdfast/ledger"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
)

// TestCrash kills the real server with SIGKILL at random moments, sometimes again while it starts,
// and compares what its clients were told with what they find afterwards: over the network after
// every kill, and in the database at the end. HOLDFAST_RUNS asks for more runs (make soak), and
// HOLDFAST_SEED repeats the choices of a run that failed, as far as a crash can be repeated.
func TestCrash(t *testing.T) {
	t.Setenv("HOLDFAST_HASH_MEMORY", "1024") // passwords are not what is tested here
	t.Setenv("HOLDFAST_HASH_PASSES", "1")
	seed := rand.Uint64()
	if text := os.Getenv("HOLDFAST_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		must(t, err)
	}
	runs := storetest.Runs(t, 50)
	for _, engine := range storetest.Engines {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			dsn := ""
			if engine == store.PostgreSQL {
				dsn = storetest.PostgresDSN(t)
			}
			newOrdeal(t, dsn, seed, runs).run(t)
		})
	}
}

// ordeal is a server that is killed again and again, and all its customers.
type ordeal struct {
	*site
	seed     uint64
	runs     int
	chance   *rand.Rand
	mailDead *atomic.Bool
	holders  []*person

	p         *process
	customers []*customer
	positions []int64             // how far the feed was followed
	followed  map[string]struct{} // accounts whose freeze was in it
	again     int                 // kills during a start
	longest   time.Duration       // start
}

func newOrdeal(t *testing.T, dsn string, seed uint64, runs int) *ordeal {
	t.Helper()
	o := &ordeal{site: newSite(t, dsn), seed: seed, runs: runs, chance: rand.New(rand.NewPCG(seed, 0)),
		positions: make([]int64, permit.Lanes), followed: map[string]struct{}{}, mailDead: new(atomic.Bool)}
	// The mail server of the site, but one that can be dead.
	o.mail.server.Backend = smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		if o.mailDead.Load() {
			return nil, &smtp.SMTPError{Code: 421, Message: "not now"}
		}
		return &delivery{box: o.mail.box}, nil
	})
	o.mail.server.ErrorLog = log.New(io.Discard, "", 0)
	o.look(func(db *store.DB) {
		cfg := o.cfg
		cfg.HashMemory, cfg.HashPasses = 1024, 1
		box := newPostbox()
		h, err := build(cfg, db.At(db.Now().AddDate(0, 0, -pastDays)), box, newLog(io.Discard, "text"))
		must(t, err)
		must(t, h.post.Start(t.Context()))
		for n := range runs {
			p := &person{Mail: fmt.Sprintf("holder-%d@holdfast.test", n), Password: holderPassword}
			must(t, h.plant(t.Context(), box, p, fmt.Sprintf("10.%d.%d.7", n/250, n%250), laptop, addrHolder))
			o.holders = append(o.holders, p)
		}
		must(t, errors.Join(h.post.Stop(context.WithoutCancel(t.Context())), h.close()))
	})
	return o
}

func (o *ordeal) run(t *testing.T) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("HOLDFAST_SEED=%d repeats this; the server's words:\n%s", o.seed, o.p.log)
		}
	})
	o.p = o.serve("")
	for run := range o.runs {
		o.chance = rand.New(rand.NewPCG(o.seed, uint64(run)))
		o.mailDead.Store(o.chance.IntN(6) == 0)
		now := o.crash(t, run)
		o.customers = append(o.customers, now...)
		o.restart(t)
		for range 3 { // and some of earlier runs
			if c := o.customers[o.chance.IntN(len(o.customers))]; !slices.Contains(now, c) {
				now = append(now, c)
			}
		}
		o.find(t, now)
		o.follow(t)
		if t.Failed() {
			t.Fatalf("run %d of seed %d", run, o.seed)
		}
	}
	o.mailDead.Store(false)
	o.deliver(t)
	o.find(t, o.customers)
	o.p.kill()
	o.look(func(db *store.DB) { o.audit(t, db) })
	o.sum(t)
}

// crash lets clients work on new accounts and kills the server in the middle. The moment is counted
// in steps of the clients, so that a run with the same seed dies at about the same place.
func (o *ordeal) crash(t *testing.T, run int) []*customer {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	now := []*customer{{n: run, mail: o.holders[run].Mail, person: o.holders[run]}}
	for i := range 3 {
		name := fmt.Sprintf("user-%d-%d", run, i)
		now = append(now, &customer{n: run, name: name, mail: name + "@holdfast.test"})
	}
	for _, c := range now {
		if err := c.enter(ctx, o.p); err != nil {
			t.Fatalf("open %s: %v\n%s", c.mail, err, o.p.log)
		}
	}
	var steps atomic.Int64
	last, now1 := int64(o.chance.IntN(60)), make(chan struct{})
	var once sync.Once
	step := func() {
		if steps.Add(1) > last {
			once.Do(func() { close(now1) })
		}
	}
	var clients sync.WaitGroup
	for i, c := range now {
		chance := rand.New(rand.NewPCG(o.seed, uint64(run)<<8|uint64(i+1)))
		if c.person != nil {
			clients.Go(func() { c.tend(ctx, o.p, chance, step) })
		} else {
			clients.Go(func() { c.bank(ctx, o.p, chance, step) })
			clients.Go(func() { c.report(ctx, o.p, step) })
		}
		if own := rand.New(rand.NewPCG(o.seed, uint64(run)<<8|uint64(i+100))); own.IntN(4) > 0 {
			delay := time.Duration(own.IntN(60)) * time.Millisecond
			clients.Go(func() {
				if pass(ctx, delay) {
					step()
					c.press(ctx, o.p, own, o.mail.box)
				}
			})
		}
	}
	select {
	case <-now1:
		pass(ctx, time.Duration(o.chance.IntN(4000))*time.Microsecond)
	case <-ctx.Done():
		t.Errorf("the clients got no further than step %d of %d", steps.Load(), last)
	}
	o.p.kill()
	cancel()
	clients.Wait()
	return now
}

// pass waits, and reports whether the time has passed.
func pass(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// restart starts the server again; one time in four it is killed while it starts, too.
func (o *ordeal) restart(t *testing.T) {
	for o.chance.IntN(4) == 0 {
		cmd := o.command("")
		must(t, cmd.Start())
		pass(t.Context(), time.Duration(o.chance.IntN(150))*time.Millisecond)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed, as it says
		o.again++
	}
	began := time.Now()
	o.p = o.serve("")
	o.longest = max(o.longest, time.Since(began))
}

// find looks, over the network, for what customers were told.
func (o *ordeal) find(t *testing.T, customers []*customer) {
	t.Helper()
	at, ctx := errgroup.WithContext(t.Context())
	at.SetLimit(8)
	for _, c := range customers {
		at.Go(func() error {
			if err := o.findOne(ctx, c); err != nil {
				return fmt.Errorf("%s: %w", c.mail, err)
			}
			return nil
		})
	}
	must(t, at.Wait())
	for _, c := range customers {
		for _, problem := range c.problems {
			t.Error(problem)
		}
		c.problems = nil
	}
}

func (o *ordeal) findOne(ctx context.Context, c *customer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var status statusReply
	if err := o.p.desk.ask(ctx, "status", statusArgs{c.id}, &status); err != nil {
		return err
	}
	switch {
	case c.frozen && !status.Frozen:
		c.wrong("an acknowledged freeze was lost")
	case status.Frozen && !c.asked:
		c.wrong("nobody froze it and it is frozen")
	}
	c.frozen = status.Frozen // what has been shown may not be taken back either
	look := []func(context.Context, *customer) error{o.findKeys}
	if c.person == nil {
		look = []func(context.Context, *customer) error{o.findDraws, o.findMovements}
	}
	for _, f := range look {
		if err := f(ctx, c); err != nil {
			return err
		}
	}
	if err := c.learn(status.Head); err != nil {
		return err
	}
	for _, l := range o.mail.box.to(c.mail) {
		if err := c.learn(l.head()); err != nil {
			return err
		}
	}
	var chain bytes.Buffer
	if err := o.p.desk.ask(ctx, "export", statusArgs{c.id}, &chain); err != nil {
		return err
	}
	for _, head := range c.heads {
		result, err := verify.Chain(bytes.NewReader(chain.Bytes()), &head)
		if err != nil {
			return err
		}
		if !result.OK() || result.ProvenTo != head.Seq {
			c.wrong("head %d: %s", head.Seq, result.Verdict())
		}
	}
	return nil
}

// learn keeps a head of the evidence chain. One known already is the same or a lie.
func (c *customer) learn(text string) error {
	if text == "" {
		return nil // a mail from before the account's first entry
	}
	head, err := verify.ParseHead(text)
	if err != nil {
		return err
	}
	for _, known := range c.heads {
		if known.Seq == head.Seq {
			if !bytes.Equal(known.Hash, head.Hash) {
				c.wrong("entry %d has had two hashes", head.Seq)
			}
			return nil
		}
	}
	c.heads = append(c.heads, head)
	return nil
}

// findDraws repeats every request, answered or not: the first decision must come back.
func (o *ordeal) findDraws(ctx context.Context, c *customer) error {
	r, err := ask(ctx, o.p.api.Guard.Check, &holdfastv1.CheckRequest{Account: c.ref(), Credential: byBrowser, Exit: "order"})
	if err != nil {
		return err
	}
	if verdict := r.GetDecision().GetVerdict(); c.frozen && verdict != ice || !c.frozen && verdict != yes {
		c.wrong("check: %s; frozen: %v", verdict, c.frozen)
	}
	for i, d := range c.draws {
		if err := c.request(ctx, o.p, d); err != nil {
			return err
		}
		if d.id == "" {
			continue // refused then, or never heard of: refused now
		}
		if c.frozen && (d.state == requested || d.state == confirmed) {
			c.wrong("withdrawal %s is %s and the account is frozen", d.key, d.state)
		}
		if c.frozen && d.state != settled {
			if err := c.confirm(ctx, o.p, d); err != nil { // tells it if money may leave now
				return err
			}
		}
		if i == 0 {
			other := c.drawing(d)
			other.Amount = "7"
			if _, err := ask(ctx, o.p.api.Guard.RequestWithdrawal, other); client.CodeOf(err) != "idempotency_key" {
				c.wrong("another withdrawal under the same key: %v", err)
			}
		}
	}
	return nil
}

// findMovements reports the last acknowledged deposit once more, which must be known, and the next,
// which may be.
func (o *ordeal) findMovements(ctx context.Context, c *customer) error {
	if c.moved > 0 {
		r, err := ask(ctx, o.p.api.Ledger.ReportMovements, &holdfastv1.ReportMovementsRequest{Movements: []*holdfastv1.Movement{c.deposit(c.moved - 1)}})
		if err != nil || r.GetKnown() != 1 {
			c.wrong("deposit %d was acknowledged and is not known: %v %v", c.moved-1, r, err)
		}
	}
	if c.moving {
		if _, err := ask(ctx, o.p.api.Ledger.ReportMovements, &holdfastv1.ReportMovementsRequest{Movements: []*holdfastv1.Movement{c.deposit(c.moved)}}); err != nil {
			c.wrong("deposit %d again: %v", c.moved, err)
		}
		c.moved, c.moving = c.moved+1, false
	}
	return nil
}

// findKeys asks about every key that was made.
func (o *ordeal) findKeys(ctx context.Context, c *customer) error {
	for _, k := range c.keys {
		r, err := ask(ctx, o.p.api.Guard.Check, &holdfastv1.CheckRequest{Account: c.ref(),
			Credential: &holdfastv1.Credential{Kind: &holdfastv1.Credential_KeyId{KeyId: k.id}}, Exit: "order"})
		if err != nil {
			return err
		}
		verdict := r.GetDecision().GetVerdict()
		lives := yes
		if c.frozen {
			lives = ice
		}
		switch {
		case k.ended && verdict != unknown:
			c.wrong("key %s was deleted and is answered with %s", k.id, verdict)
		case !k.ending && verdict != lives, k.ending && verdict != lives && verdict != unknown:
			c.wrong("key %s is answered with %s", k.id, verdict)
		}
		k.ended = verdict == unknown
	}
	return nil
}

// follow reads the feed of closings from where it was left, and finds in it, without a gap, every
// freeze that a customer knows of.
func (o *ordeal) follow(t *testing.T) {
	t.Helper()
	missing := map[string]bool{}
	for _, c := range o.customers {
		if _, ok := o.followed[c.id]; c.frozen && !ok {
			missing[c.id] = true
		}
	}
	if len(missing) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream, err := o.p.api.Guard.Follow(ctx, connect.NewRequest(&holdfastv1.FollowRequest{Positions: o.positions}))
	must(t, err)
	defer func() { _ = stream.Close() }() // what it says was read
	for len(missing) > 0 && stream.Receive() {
		m := stream.Msg()
		if m.GetClosing() == nil {
			continue
		}
		var on int64
		for lane, position := range m.GetPositions() {
			on += position - o.positions[lane]
			if position < o.positions[lane] {
				t.Errorf("lane %d went back from %d to %d", lane, o.positions[lane], position)
			}
		}
		if on != 1 {
			t.Errorf("a closing moved the feed on by %d", on)
		}
		o.positions = m.GetPositions()
		if id := m.GetClosing().GetAccountId(); m.GetClosing().GetKind() == "freeze" {
			if _, twice := o.followed[id]; twice {
				t.Errorf("the freeze of %s is in the feed twice", id)
			}
			o.followed[id] = struct{}{}
			delete(missing, id)
		}
	}
	if len(missing) > 0 {
		t.Errorf("freezes that the feed does not tell of: %v (%v)", missing, stream.Err())
	}
}

// deliver waits until everybody whose account is frozen has been told by mail. A delivery that was
// running when a server died is taken up after a while by another, where more than one can run; here
// that while passes at once.
func (o *ordeal) deliver(t *testing.T) {
	t.Helper()
	if status := o.p.interrupt(t); status != 0 {
		t.Errorf("the server stopped with status %d\n%s", status, o.p.log)
	}
	o.look(func(db *store.DB) {
		if db.Engine() == store.PostgreSQL {
			must(t, db.Housekeep(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(t.Context(), `UPDATE river_job SET attempted_at = attempted_at - INTERVAL '1 hour' WHERE state = 'running'`)
				return err
			}))
		}
	})
	o.p = o.serve("")
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for _, c := range o.customers {
		if !c.frozen {
			continue
		}
		if _, err := o.mail.box.wait(ctx, c.mail, 0, func(l letter) bool { return l.subject == frozenSubject }); err != nil {
			t.Errorf("nobody told %s: %v", c.mail, err)
		}
	}
	// A kill between the mail server's yes and the mark has a mail sent once more: it is over when
	// nothing about a freeze waits any more.
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for waits := true; waits; <-every.C {
		var left []unsentMail
		must(t, o.p.desk.ask(ctx, "unsent", struct{}{}, &left))
		waits = slices.ContainsFunc(left, func(m unsentMail) bool { return m.Kind == string(notice.KindFrozen) })
	}
	t.Logf("the last mail about a freeze came %.1f s after the last start", time.Since(began).Seconds())
}

var frozenSubject = "Your account is frozen"

// audit rechecks the whole in the database.
func (o *ordeal) audit(t *testing.T, db *store.DB) {
	t.Helper()
	ctx := t.Context()
	var broken int
	must(t, db.QueryRow(ctx, `SELECT count(*) FROM lane l WHERE l.position <> (SELECT count(*) FROM closing c WHERE c.lane = l.lane)
		OR l.position <> (SELECT COALESCE(max(c.position), 0) FROM closing c WHERE c.lane = l.lane)`).Scan(&broken))
	if broken > 0 {
		t.Errorf("%d lanes have gaps", broken)
	}
	for _, c := range o.customers {
		o.auditMoney(t, db, c)
		var notices, unsent int
		must(t, db.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE sent_at = 0) FROM notice WHERE account_id = $1 AND kind = $2`,
			c.id, string(notice.KindFrozen)).Scan(&notices, &unsent))
		if unsent > 0 || (notices > 0) != c.frozen {
			t.Errorf("%s: %d notices of a freeze, %d not sent; frozen: %v", c.mail, notices, unsent, c.frozen)
		}
		var chain bytes.Buffer
		_, err := evidence.Export(ctx, db, account.ID(c.id), &chain)
		must(t, err)
		if result, err := verify.Chain(&chain, nil); err != nil || !result.OK() {
			t.Errorf("%s: %v %s", c.mail, err, result.Verdict())
		}
	}
}

// auditMoney adds up: what was asked for is what is settled, pending, cancelled and failed; nothing
// is there that nobody asked for; and the deposits follow each other to the balance.
func (o *ordeal) auditMoney(t *testing.T, db *store.DB, c *customer) {
	t.Helper()
	ctx := t.Context()
	var want, have ledger.Amount
	var err error
	drawn := map[string]string{}
	for _, d := range c.draws {
		if d.id != "" {
			drawn[d.id] = d.amount
			want, err = want.Add(amount(t, d.amount))
			must(t, err)
		}
	}
	rows, err := db.Query(ctx, `SELECT withdrawal_id, amount FROM withdrawal WHERE account_id = $1`, c.id)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var id, text string
		must(t, rows.Scan(&id, &text))
		if drawn[id] != text {
			t.Errorf("%s: withdrawal %s of %s; the client knows of %q", c.mail, id, text, drawn[id])
		}
		have, err = have.Add(amount(t, text))
		must(t, err)
	}
	must(t, rows.Err())
	if want.Cmp(have) != 0 {
		t.Errorf("%s: %s BTC were requested, %s are there", c.mail, want, have)
	}
	list, err := ledger.Movements(ctx, db, account.ID(c.id), ledger.Place{}, 10_000)
	must(t, err)
	for i, m := range list { // newest first
		if n := len(list) - i; m.Gap || m.After.String() != fmt.Sprint(2*n) {
			t.Errorf("%s: deposit %d of %d ends at %s", c.mail, n, len(list), m.After)
		}
	}
	if len(list) != c.moved {
		t.Errorf("%s: %d deposits were acknowledged, %d are there", c.mail, c.moved, len(list))
	}
}

func amount(t *testing.T, text string) ledger.Amount {
	t.Helper()
	a, err := ledger.ParseAmount(text)
	must(t, err)
	return a
}

// sum says how much was put to the test.
func (o *ordeal) sum(t *testing.T) {
	t.Helper()
	var freezes, draws, keys, moved int
	states := map[holdfastv1.WithdrawalState]int{}
	for _, c := range o.customers {
		if c.frozen {
			freezes++
		}
		for _, d := range c.draws {
			if d.id != "" {
				draws++
				states[d.state]++
			}
		}
		keys += len(c.keys)
		moved += c.moved
	}
	t.Logf("seed %d: %d kills and %d during a start (longest start %.2f s); %d freezes, %d withdrawals %v, %d keys, %d deposits, %d mails: none lost",
		o.seed, o.runs, o.again, o.longest.Seconds(), freezes, draws, states, keys, moved, o.mail.box.count())
	if least := cmp.Compare(freezes, o.runs/4) + cmp.Compare(draws, o.runs/4) + cmp.Compare(keys, o.runs/10); o.runs >= 20 && least < 3 {
		t.Error("the clients were told too little for this to show anything")
	}
}

// to returns the mails to an address.
func (b *postbox) to(address string) []letter {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []letter
	for _, l := range b.letters {
		if l.to == address {
			all = append(all, l)
		}
	}
	return all
}
