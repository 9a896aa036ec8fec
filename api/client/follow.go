package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"connectrpc.com/connect"

	holdfastv1 "holdfast/api/holdfast/v1"
)

const (
	silentFor    = 12 * time.Second // heartbeats come every five at most; then the stream counts as lost
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// Follow calls do with every closing of the platform's accounts, in order within an account, until
// ctx ends or do fails. from are the positions of a FollowResponse that was applied, or nothing to
// begin now; either way every freeze that still waits for a receipt of the caller comes first. A
// lost or silent stream is opened again with growing pauses, from the last closing that do accepted:
// none is skipped, one may come twice, so do must be able to apply it again.
//
// It returns what do returned, ctx's error, or a refusal that no repeat mends, such as a removed
// key or a database that has lost history. Whenever it is not running, treat Holdfast as
// unreachable: let nothing leave.
//
// A program that must not miss what happened while it was down keeps positions; see FollowFrom.
func (c *Client) Follow(ctx context.Context, from []int64, do func(*holdfastv1.Closing) error) error {
	return c.FollowFrom(ctx, from, func(m *holdfastv1.FollowResponse) error {
		if m.GetClosing() == nil {
			return nil
		}
		return do(m.GetClosing())
	})
}

// FollowFrom is Follow with all that the stream says. do gets each message, heartbeats too, which
// have no closing, and keeps its positions together with what it did, to begin from them after a
// restart.
func (c *Client) FollowFrom(ctx context.Context, from []int64, do func(*holdfastv1.FollowResponse) error) error {
	pause := firstPause
	for {
		heard, err := c.followOnce(ctx, &from, do)
		var own *stopped
		switch {
		case errors.As(err, &own):
			return own.err
		case ctx.Err() != nil:
			return ctx.Err()
		case final(err):
			return fmt.Errorf("follow: %w", err)
		}
		if heard {
			pause = firstPause
		}
		c.log.WarnContext(ctx, "the stream of closings was lost; connecting again", "error", err)
		// Jitter, so that not all followers come back at the same moment.
		t := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		pause = min(pause*2, longestPause)
	}
}

// stopped is a failure of the follower's own function.
type stopped struct{ err error }

func (s *stopped) Error() string { return s.err.Error() }
func (s *stopped) Unwrap() error { return s.err }

// followOnce reads one stream to its end and moves from along with what was applied. heard says
// whether anything came.
func (c *Client) followOnce(ctx context.Context, from *[]int64, do func(*holdfastv1.FollowResponse) error) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silentFor, func() { cancel(errSilent) })
	defer watchdog.Stop()
	stream, err := c.Guard.Follow(ctx, connect.NewRequest(&holdfastv1.FollowRequest{Positions: *from}))
	if err != nil {
		return false, errors.Join(err, context.Cause(ctx))
	}
	defer func() { _ = stream.Close() }() // what it says was read above
	for stream.Receive() {
		heard = true
		watchdog.Stop() // the function may take its time
		m := stream.Msg()
		if err := do(m); err != nil {
			return heard, &stopped{err}
		}
		if len(m.GetPositions()) > 0 {
			*from = append([]int64(nil), m.GetPositions()...)
		}
		watchdog.Reset(silentFor)
	}
	if err := stream.Err(); err != nil {
		return heard, errors.Join(err, context.Cause(ctx))
	}
	return heard, errEnded
}

var (
	errSilent = errors.New("no heartbeat")
	errEnded  = errors.New("the stream ended")
)

// final reports whether trying again cannot help.
func final(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument, connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeFailedPrecondition, connect.CodeUnimplemented:
		return !errors.Is(err, errSilent)
	}
	return false
}
