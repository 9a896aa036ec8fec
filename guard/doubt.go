package guard

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"holdfast/account"
	"holdfast/fault"
	"holdfast/store"
)

// doubt is a freeze that was pressed with a right proof and that the database has not answered for:
// the disk is full, the connection was lost in the commit. Until it answers, the account is closed in
// the memory of this node, and the press is tried again (guarantee, rules 5 and 25). The wait belongs
// to the freeze, not to who pressed: it goes on when they hang up.
type doubt struct {
	known chan struct{} // closed once the database has answered
	out   Frozenness    // set before known is closed
	err   error         // set before known is closed
}

const (
	doubtWait  = 5 * time.Second // how long somebody who pressed is kept waiting
	firstTry   = 10 * time.Millisecond
	longestTry = time.Second
)

// doubted reports whether a freeze of the account was pressed here whose outcome is not known.
func (g *Guard) doubted(id account.ID) bool {
	_, ok := g.doubts.Load(id)
	return ok
}

// insist closes the account on this node and tries the press again until the database answers. It
// returns that answer, or after a while that there is none; never that the account is frozen before
// it is. All who press meanwhile wait for the same answer.
func (g *Guard) insist(ctx context.Context, id account.ID, press func(context.Context) (Frozenness, error), why error) (Frozenness, error) {
	mine := &doubt{known: make(chan struct{})}
	known, there := g.doubts.LoadOrStore(id, mine)
	d, ok := known.(*doubt)
	if !ok {
		return Frozenness{}, fmt.Errorf("freeze: %T among the doubts", known)
	}
	if !there {
		g.log.ErrorContext(ctx, "freeze not recorded yet: closed on this node and tried again", "account", string(id), "error", why)
		g.work.Go(func() { g.settle(context.WithoutCancel(ctx), id, d, press) })
	}
	limit := time.NewTimer(doubtWait)
	defer limit.Stop()
	select {
	case <-d.known:
		return d.out, d.err
	case <-limit.C:
	case <-ctx.Done():
	}
	return Frozenness{}, fmt.Errorf("freeze: %w: %w", store.ErrUnknownOutcome, why)
}

// settle tries the press until the database says yes or no. When the node ends first, the account
// stays closed on it, and nothing was acknowledged.
func (g *Guard) settle(ctx context.Context, id account.ID, d *doubt, press func(context.Context) (Frozenness, error)) {
	for pause := firstTry; ; pause = min(2*pause, longestTry) {
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-g.ending:
			t.Stop()
			d.err = store.ErrUnknownOutcome
			close(d.known)
			return
		}
		if d.out, d.err = press(ctx); !unanswered(d.err) {
			break
		}
	}
	g.doubts.Delete(id)
	close(d.known)
	g.log.LogAttrs(ctx, slog.LevelInfo, "freeze answered for", slog.String("account", string(id)), slog.Any("error", d.err))
}

// unanswered reports whether an error leaves open what the database would have said.
func unanswered(err error) bool { return err != nil && fault.KindOf(err) == fault.Internal }
