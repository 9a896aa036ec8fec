package api_test

import (
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "holdfast/api/holdfast/v1"
)

func TestReportMovements(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		c, _ := w.service("exchange")
		h, bystander := w.join(mail), w.join("bystander@holdfast.test")
		at := timestamppb.New(time.Now().Add(-time.Minute))
		moved := func(who *holder, reference, before, delta, after string) *holdfastv1.Movement {
			return &holdfastv1.Movement{Reference: reference, Account: byID(who.id), Asset: "BTC", BalanceBefore: before, Delta: delta, BalanceAfter: after, Kind: "deposit", At: at}
		}
		report := func(list ...*holdfastv1.Movement) (*holdfastv1.ReportMovementsResponse, error) {
			out, err := c.Ledger.ReportMovements(ctx, ask(&holdfastv1.ReportMovementsRequest{Movements: list}))
			if err != nil {
				return nil, err
			}
			return out.Msg, nil
		}
		one := moved(h, "1", "0", "1.2", "1.2")
		out, err := report(one, moved(bystander, "1", "0", "3", "3"), moved(h, "2", "1.2", "-0.2", "1.0"))
		must(t, err)
		if out.GetRecorded() != 3 || out.GetKnown() != 0 {
			t.Errorf("first: %v", out)
		}
		out, err = report(one, moved(h, "3", "1", "1", "2"))
		must(t, err)
		if out.GetRecorded() != 1 || out.GetKnown() != 1 {
			t.Errorf("again: %v", out)
		}
		_, err = report(moved(h, "1", "0", "1.3", "1.3"))
		refused(t, err, connect.CodeAlreadyExists, "movement_reference")
		_, err = report(moved(h, "9", "0", "1", "2"))
		refused(t, err, connect.CodeInvalidArgument, "movement_sum")
		_, err = report(moved(h, "9", "0", "1e3", "1000"))
		refused(t, err, connect.CodeInvalidArgument, "amount")
		_, err = report()
		refused(t, err, connect.CodeInvalidArgument, "movements")
		stranger := proto.Clone(one).(*holdfastv1.Movement)
		stranger.Account = byName("user-1")
		_, err = report(stranger)
		refused(t, err, connect.CodeNotFound, "unknown_account")
		timeless := proto.Clone(one).(*holdfastv1.Movement)
		timeless.At = nil
		_, err = report(timeless)
		refused(t, err, connect.CodeInvalidArgument, "")
		many := make([]*holdfastv1.Movement, 501)
		for i := range many {
			many[i] = moved(h, fmt.Sprint("m", i), "0", "0", "0")
		}
		_, err = report(many...)
		refused(t, err, connect.CodeInvalidArgument, "movements")
	})
}
