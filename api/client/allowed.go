package client

import (
	"context"
	"time"

	"connectrpc.com/connect"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// checkWithin bounds a check whose context has no deadline.
const checkWithin = 2 * time.Second

// Allowed asks whether an act may happen now. Only a clear yes is true: when Holdfast cannot be
// reached, is late or says something that this program does not know, the answer is no, with an
// unspecified verdict and a sentence for the person. The decision is never nil.
func (c *Client) Allowed(ctx context.Context, q *holdfastv1.CheckRequest) (bool, *holdfastv1.Decision) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, checkWithin)
		defer cancel()
	}
	answer, err := c.Guard.Check(ctx, connect.NewRequest(q))
	if err != nil {
		c.log.WarnContext(ctx, "no answer to a check: refused", "exit", q.GetExit(), "error", err)
		return false, &holdfastv1.Decision{Sentence: "This cannot be checked right now, so it was not done. Try again in a moment."}
	}
	d := answer.Msg.GetDecision()
	if d == nil {
		d = &holdfastv1.Decision{}
	}
	return d.GetVerdict() == holdfastv1.Verdict_VERDICT_ALLOW, d
}
