package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"holdfast/fault"
	"holdfast/store"
)

// The headers (trailers in gRPC) that explain a failure to programs.
const (
	headerCode    = "Holdfast-Code"    // a stable word, such as "frozen"
	headerUntil   = "Holdfast-Until"   // RFC 3339; when the refusal ends by itself, if it does
	headerRequest = "Holdfast-Request" // the id to quote; on every answer
)

// codeOf is the table from kinds of failure to Connect codes. A code word that says more than its
// kind stands before the kinds.
func codeOf(kind fault.Kind, word string) connect.Code {
	switch word {
	case "unauthenticated", "signed_out":
		return connect.CodeUnauthenticated
	case "frozen_sign_in": // the password was right; a mailed code is the way in
		return connect.CodeFailedPrecondition
	case "idempotency_key", "movement_reference", "exists", "mail_taken":
		return connect.CodeAlreadyExists
	case "unknown_outcome", "stopping":
		return connect.CodeUnavailable
	case "timeout":
		return connect.CodeDeadlineExceeded
	}
	switch kind {
	case fault.Invalid:
		return connect.CodeInvalidArgument
	case fault.Denied:
		return connect.CodePermissionDenied
	case fault.NotFound:
		return connect.CodeNotFound
	case fault.Conflict:
		return connect.CodeFailedPrecondition
	case fault.TooMany:
		return connect.CodeResourceExhausted
	default:
		return connect.CodeInternal
	}
}

// fail shapes an error for the caller and keeps it for the request's line in the log. A cause never
// leaves: whoever has the request's id finds it there.
func fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	r := requestOf(ctx)
	if own, ok := errors.AsType[*connect.Error](err); ok && fault.CodeOf(err) == "internal" {
		r.code = own.Code().String() // the protocol's own refusal: malformed, too large
		return own
	}
	switch {
	case errors.Is(err, store.ErrUnknownOutcome):
		err = fault.Wrap(fault.Internal, "unknown_outcome", "We cannot tell yet whether this was done. Ask again: a repeat does no harm.", err)
	case errors.Is(err, context.DeadlineExceeded):
		err = fault.Wrap(fault.Internal, "timeout", "This took too long. Ask whether it was done before you repeat it.", err)
	case errors.Is(err, context.Canceled):
		r.code = "canceled"
		return connect.NewError(connect.CodeCanceled, errors.New("canceled"))
	}
	kind, word, say := fault.KindOf(err), fault.CodeOf(err), fault.Say(err)
	r.code = word
	if kind == fault.Internal {
		r.cause = err
		say = fmt.Sprintf("%s Quote %s when you ask us about it.", say, r.id)
	}
	out := connect.NewError(codeOf(kind, word), errors.New(say))
	out.Meta().Set(headerCode, word)
	if until, ok := fault.UntilOf(err); ok {
		out.Meta().Set(headerUntil, until.UTC().Format(time.RFC3339Nano))
	}
	return out
}

// translate is the interceptor: it bounds each call that is not a stream and shapes what failed.
type translate struct{ a *API }

// WrapUnary implements connect.Interceptor.
func (t translate) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, t.a.c.Timeout)
		defer cancel()
		res, err := next(ctx, req)
		if err != nil {
			return nil, fail(ctx, err)
		}
		return res, nil
	}
}

// WrapStreamingClient implements connect.Interceptor; no client passes here.
func (translate) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (translate) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return fail(ctx, next(ctx, conn))
	}
}
