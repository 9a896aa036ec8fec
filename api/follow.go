package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"

	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/fault"
	"holdfast/guard"
)

// sendWithin is how long a follower may take to read one message. One that does not read is cut off
// and comes back by its positions; nothing is kept for it in memory.
const sendWithin = 10 * time.Second

// follower is one stream of closings.
type follower struct {
	api    *API
	stream *connect.ServerStream[holdfastv1.FollowResponse]
	line   *http.ResponseController
	caller caller
	at     guard.Positions
	beat   time.Time // when the last heartbeat was sent
}

// Follow implements GuardService: first every freeze that still waits for a receipt of the caller,
// then the closings after the caller's positions, or after now when it has none. A message carries
// the position after it; the awaited freezes carry the caller's own, so that whoever breaks off
// among them gets them again.
func (s guardService) Follow(ctx context.Context, req *connect.Request[holdfastv1.FollowRequest], stream *connect.ServerStream[holdfastv1.FollowResponse]) error {
	f := &follower{api: s.API, stream: stream, caller: callerOf(ctx), line: http.NewResponseController(requestOf(ctx).reply)}
	leave, err := s.enter(f.caller.key.Service)
	if err != nil {
		return err
	}
	defer leave()
	// The limit on writing is this stream's; the connection may carry other calls after it.
	defer func() { _ = f.line.SetWriteDeadline(time.Time{}) }()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-s.draining:
			stop(fault.New(fault.Conflict, "stopping", "This server is about to stop. Connect again."))
		case <-ctx.Done():
		}
	}()
	err = f.run(ctx, req.Msg.GetPositions())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// enter counts a stream of a service, and refuses one too many: a program that opens streams and
// forgets them would have each of them read the database for ever.
func (a *API) enter(service string) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.streams[service] >= maxStreams {
		return nil, fault.New(fault.TooMany, "streams", fmt.Sprintf("This service has %d streams open here already. One for each of its programs is enough.", maxStreams))
	}
	a.streams[service]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.streams[service]--; a.streams[service] == 0 {
			delete(a.streams, service)
		}
	}, nil
}

func (f *follower) run(ctx context.Context, from []int64) error {
	g := f.api.c.Guard
	at, given, err := guard.ParsePositions(from)
	if err != nil {
		return err
	}
	head, err := g.Head(ctx) // read before what is awaited, so that nothing falls between
	if err != nil {
		return err
	}
	if !given {
		at = head
	}
	for lane, position := range at {
		if position < 0 {
			return fault.New(fault.Invalid, "positions", "A position is not less than zero.")
		}
		if position > head[lane] {
			// Rule 15 of the guarantee: never go on as if nothing was missing.
			return fault.New(fault.Conflict, "history_lost", "You have seen closings that this database does not have. It has lost history. Refuse everything and tell the people who run it.")
		}
	}
	f.at = at
	awaited, err := g.Awaited(ctx, f.caller.key.Service)
	if err != nil {
		return err
	}
	for _, c := range awaited {
		if err := f.send(&holdfastv1.FollowResponse{Closing: closing(c), Positions: from}); err != nil {
			return err
		}
	}
	if err := f.heartbeat(ctx); err != nil {
		return err
	}
	for {
		changed := g.Changed()
		closings, after, err := g.Closings(ctx, f.caller.key.Service, f.at)
		if err != nil {
			return err
		}
		for i, c := range closings {
			if err := f.send(&holdfastv1.FollowResponse{Closing: closing(c), Positions: after[i][:]}); err != nil {
				return err
			}
			f.at = after[i]
		}
		if time.Since(f.beat) >= f.api.c.Heartbeat {
			if err := f.heartbeat(ctx); err != nil {
				return err
			}
		}
		if len(closings) > 0 {
			continue
		}
		if err := g.Wait(ctx, changed); err != nil {
			return err
		}
	}
}

// heartbeat asks whether the key still counts and tells the follower where it is.
func (f *follower) heartbeat(ctx context.Context) error {
	if err := f.api.keyCounts(ctx, f.caller.key); err != nil {
		return err
	}
	f.beat = time.Now()
	return f.send(&holdfastv1.FollowResponse{Positions: f.at[:]})
}

func (f *follower) send(m *holdfastv1.FollowResponse) error {
	// A server that cannot set it has a limit of its own; see Server.
	_ = f.line.SetWriteDeadline(time.Now().Add(sendWithin))
	return f.stream.Send(m)
}

func closing(c guard.Closing) *holdfastv1.Closing {
	return &holdfastv1.Closing{
		AccountId: string(c.Account), ExternalId: c.External, Kind: c.Kind, Epoch: c.Epoch, At: stamp(c.At), CredentialId: c.Credential,
		Exits: words(c.Exits), RecallWithdrawalIds: c.Recall, CancelledWithdrawalIds: c.Cancelled,
	}
}
