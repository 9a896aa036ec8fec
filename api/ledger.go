package api

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	"holdfast/account"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/detect"
	"holdfast/fault"
	"holdfast/ledger"
)

// ledgerService takes what happened on the platform's ledger.
type ledgerService struct{ *API }

// ReportMovements implements LedgerService. The movements of one account are recorded together or
// not at all; a report about several accounts that fails among them is repeated as a whole, and
// what was recorded is skipped.
func (s ledgerService) ReportMovements(ctx context.Context, req *connect.Request[holdfastv1.ReportMovementsRequest]) (*connect.Response[holdfastv1.ReportMovementsResponse], error) {
	by, err := s.integrator(ctx, nil)
	if err != nil {
		return nil, err
	}
	reported := req.Msg.GetMovements()
	if len(reported) == 0 || len(reported) > detect.MaxMovements {
		return nil, fault.New(fault.Invalid, "movements", fmt.Sprintf("A report holds 1 to %d movements.", detect.MaxMovements))
	}
	var order []account.ID
	of := map[account.ID][]ledger.Movement{}
	for _, m := range reported {
		id, err := s.account(ctx, m.GetAccount())
		if err != nil {
			return nil, err
		}
		moved, err := movement(m)
		if err != nil {
			return nil, err
		}
		if len(of[id]) == 0 {
			order = append(order, id)
		}
		of[id] = append(of[id], moved)
	}
	out := &holdfastv1.ReportMovementsResponse{}
	for _, id := range order {
		recorded, known, err := s.c.Detect.Report(ctx, by, id, of[id])
		if err != nil {
			return nil, err
		}
		out.Recorded += int32(recorded) // at most 500 together
		out.Known += int32(known)
	}
	return connect.NewResponse(out), nil
}

func movement(m *holdfastv1.Movement) (ledger.Movement, error) {
	at, err := moment(m.GetAt())
	if err != nil {
		return ledger.Movement{}, err
	}
	out := ledger.Movement{Reference: m.GetReference(), Asset: m.GetAsset(), Kind: ledger.Kind(m.GetKind()), At: at, Detail: m.GetDetail()}
	for _, amount := range []struct {
		to   *ledger.Amount
		text string
	}{{&out.Delta, m.GetDelta()}, {&out.Before, m.GetBalanceBefore()}, {&out.After, m.GetBalanceAfter()}} {
		if *amount.to, err = ledger.ParseAmount(amount.text); err != nil {
			return ledger.Movement{}, err
		}
	}
	return out, nil
}
