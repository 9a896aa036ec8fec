package api

import (
	"context"

	"connectrpc.com/connect"

	"holdfast/account"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/guard"
)

// RequestWithdrawal implements GuardService.
func (s guardService) RequestWithdrawal(ctx context.Context, req *connect.Request[holdfastv1.RequestWithdrawalRequest]) (*connect.Response[holdfastv1.RequestWithdrawalResponse], error) {
	m := req.Msg
	by, err := s.integrator(ctx, m.GetOrigin())
	if err != nil {
		return nil, err
	}
	named, err := ref(m.GetAccount())
	if fault.KindOf(err) == fault.NotFound {
		return connect.NewResponse(&holdfastv1.RequestWithdrawalResponse{Decision: unknownAccount()}), nil
	}
	if err != nil {
		return nil, err
	}
	d, w, err := s.c.Guard.Request(ctx, by, guard.Request{
		Account: named, Credential: credential(m.GetCredential()), IdempotencyKey: m.GetIdempotencyKey(),
		Asset: m.GetAsset(), Amount: m.GetAmount(), Address: m.GetAddress(), Network: m.GetNetwork(), Internal: m.GetInternal(),
		Reference: m.GetReference(),
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.RequestWithdrawalResponse{Decision: decision(d), Withdrawal: withdrawal(w)}), nil
}

// ConfirmWithdrawal implements GuardService.
func (s guardService) ConfirmWithdrawal(ctx context.Context, req *connect.Request[holdfastv1.ConfirmWithdrawalRequest]) (*connect.Response[holdfastv1.ConfirmWithdrawalResponse], error) {
	by, id, err := s.of(ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	d, w, err := s.c.Guard.Confirm(ctx, by, id, req.Msg.GetWithdrawalId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.ConfirmWithdrawalResponse{Decision: decision(d), Withdrawal: withdrawal(w)}), nil
}

// SettleWithdrawal implements GuardService.
func (s guardService) SettleWithdrawal(ctx context.Context, req *connect.Request[holdfastv1.SettleWithdrawalRequest]) (*connect.Response[holdfastv1.SettleWithdrawalResponse], error) {
	by, id, err := s.of(ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	w, err := s.c.Guard.Settle(ctx, by, id, req.Msg.GetWithdrawalId(), req.Msg.GetTransaction())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.SettleWithdrawalResponse{Withdrawal: withdrawal(w)}), nil
}

// FailWithdrawal implements GuardService.
func (s guardService) FailWithdrawal(ctx context.Context, req *connect.Request[holdfastv1.FailWithdrawalRequest]) (*connect.Response[holdfastv1.FailWithdrawalResponse], error) {
	by, id, err := s.of(ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	w, err := s.c.Guard.Fail(ctx, by, id, req.Msg.GetWithdrawalId(), req.Msg.GetReason())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.FailWithdrawalResponse{Withdrawal: withdrawal(w)}), nil
}

// GetWithdrawal implements GuardService.
func (s guardService) GetWithdrawal(ctx context.Context, req *connect.Request[holdfastv1.GetWithdrawalRequest]) (*connect.Response[holdfastv1.GetWithdrawalResponse], error) {
	by, id, err := s.of(ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	w, err := s.c.Guard.Withdrawal(ctx, by, id, req.Msg.GetWithdrawalId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.GetWithdrawalResponse{Withdrawal: withdrawal(w)}), nil
}

// of returns who asks about a withdrawal of which account.
func (s guardService) of(ctx context.Context, m interface{ GetAccount() *holdfastv1.AccountRef }) (evidence.Actor, account.ID, error) {
	by, err := s.integrator(ctx, nil)
	if err != nil {
		return evidence.Actor{}, "", err
	}
	id, err := s.account(ctx, m.GetAccount())
	return by, id, err
}
