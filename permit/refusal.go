package permit

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/store"
)

// refusalKey is what refusals are added up by: actor, act and minute, and why.
type refusalKey struct {
	account, actor, act, code string
	minute                    int64
}

func (k refusalKey) compare(o refusalKey) int {
	for _, c := range []int{strings.Compare(k.account, o.account), strings.Compare(k.act, o.act), int(k.minute - o.minute), strings.Compare(k.actor, o.actor)} {
		if c != 0 {
			return c
		}
	}
	return strings.Compare(k.code, o.code)
}

type refusalSum struct {
	count, last int64
	address     string
}

// refusals writes refusals of this node, one transaction at a time: what is refused while one is
// being written waits and goes into the next, all together. A flood of refused acts thus stands in
// front of a freeze with one short transaction, however wide it is (guarantee, rule 4). Nobody is
// answered before their refusal is written.
type refusals struct {
	mu      sync.Mutex
	next    *refusalBatch // what waits; nil when nothing does; guarded by mu
	writing bool          // guarded by mu
}

type refusalBatch struct {
	rows map[refusalKey]*refusalSum
	done chan struct{} // closed when written, or not; err is set before
	err  error
}

// add puts a refusal into the next batch and waits until it is written, or until ctx ends.
func (r *refusals) add(ctx context.Context, db *store.DB, by evidence.Actor, act Act, why error) error {
	now := db.Now()
	key := refusalKey{string(act.Account), by.Name(), act.Name, fault.CodeOf(why), now.Truncate(time.Minute).UnixMicro()}
	r.mu.Lock()
	if r.next == nil {
		r.next = &refusalBatch{rows: map[refusalKey]*refusalSum{}, done: make(chan struct{})}
	}
	batch := r.next
	sum := batch.rows[key]
	if sum == nil {
		sum = &refusalSum{}
		batch.rows[key] = sum
	}
	sum.count++
	sum.last, sum.address = max(sum.last, store.Micros(now)), by.Address
	if !r.writing {
		r.writing = true
		go r.write(context.WithoutCancel(ctx), db)
	}
	r.mu.Unlock()
	select {
	case <-batch.done:
		return batch.err
	case <-ctx.Done():
		return nil // whoever was refused has gone; it is written all the same
	}
}

// write writes batches until none waits.
func (r *refusals) write(ctx context.Context, db *store.DB) {
	for {
		r.mu.Lock()
		batch := r.next
		r.next = nil
		r.writing = batch != nil
		r.mu.Unlock()
		if batch == nil {
			return
		}
		batch.err = batch.write(ctx, db)
		close(batch.done)
	}
}

func (b *refusalBatch) write(ctx context.Context, db *store.DB) error {
	keys := make([]refusalKey, 0, len(b.rows))
	for k := range b.rows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, refusalKey.compare) // one order, so that two nodes do not wait for each other
	return db.Housekeep(ctx, func(tx *store.Tx) error {
		for _, k := range keys {
			sum := b.rows[k]
			if _, err := tx.Exec(ctx, `INSERT INTO refusal (account_id, actor, act, code, minute, count, last_at, address)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
				ON CONFLICT (account_id, act, minute, actor, code) DO UPDATE SET count = refusal.count + excluded.count, last_at = excluded.last_at, address = excluded.address`,
				k.account, k.actor, k.act, k.code, k.minute, sum.count, sum.last, sum.address); err != nil {
				return err
			}
		}
		return nil
	})
}
