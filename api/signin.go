package api

import (
	"context"

	"connectrpc.com/connect"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// signInService hands people who signed in here over to the platform.
type signInService struct{ *API }

// Redeem implements SignInService.
func (s signInService) Redeem(ctx context.Context, req *connect.Request[holdfastv1.RedeemRequest]) (*connect.Response[holdfastv1.RedeemResponse], error) {
	by, err := s.integrator(ctx, nil)
	if err != nil {
		return nil, err
	}
	session, err := s.c.Accounts.Redeem(ctx, by, req.Msg.GetCode())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.RedeemResponse{
		AccountId: string(session.Account), Mail: session.Mail, Session: session.Token.Reveal(), SessionId: session.ID, ExpiresAt: stamp(session.ExpiresAt),
	}), nil
}

// EndSession implements SignInService.
func (s signInService) EndSession(ctx context.Context, req *connect.Request[holdfastv1.EndSessionRequest]) (*connect.Response[holdfastv1.EndSessionResponse], error) {
	by, err := s.integrator(ctx, nil)
	if err != nil {
		return nil, err
	}
	if err := s.c.Accounts.EndPlatformSession(ctx, by, req.Msg.GetSession()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.EndSessionResponse{}), nil
}
