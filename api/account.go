package api

import (
	"context"

	"connectrpc.com/connect"

	"holdfast/account"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/fault"
	"holdfast/guard"
)

// accountService registers what a platform keeps itself.
type accountService struct{ *API }

// RegisterAccount implements AccountService.
func (s accountService) RegisterAccount(ctx context.Context, req *connect.Request[holdfastv1.RegisterAccountRequest]) (*connect.Response[holdfastv1.RegisterAccountResponse], error) {
	by, err := s.integrator(ctx, nil)
	if err != nil {
		return nil, err
	}
	id, created, err := s.c.Accounts.RegisterAccount(ctx, by, req.Msg.GetExternalId(), req.Msg.GetMail(), req.Msg.GetPhone())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.RegisterAccountResponse{AccountId: string(id), Created: created}), nil
}

// RegisterCredential implements AccountService.
func (s accountService) RegisterCredential(ctx context.Context, req *connect.Request[holdfastv1.RegisterCredentialRequest]) (*connect.Response[holdfastv1.RegisterCredentialResponse], error) {
	m := req.Msg
	by, err := s.integrator(ctx, m.GetOrigin())
	if err != nil {
		return nil, err
	}
	id, err := s.account(ctx, m.GetAccount())
	if err != nil {
		return nil, err
	}
	expires, err := moment(m.GetExpiresAt())
	if err != nil {
		return nil, err
	}
	scopes := exits(m.GetScopes())
	for _, exit := range scopes {
		if !guard.Known(exit) {
			return nil, fault.New(fault.Invalid, "scope", "One of the scopes is not an exit. Your own exits begin with x_.")
		}
	}
	err = s.c.Accounts.RegisterCredential(ctx, by, id, account.External{
		ID: m.GetExternalCredentialId(), Kind: m.GetKind(), Scopes: scopes, Label: m.GetLabel(), ExpiresAt: expires,
		Address: by.Address, Agent: by.Agent,
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.RegisterCredentialResponse{}), nil
}

// EndCredential implements AccountService.
func (s accountService) EndCredential(ctx context.Context, req *connect.Request[holdfastv1.EndCredentialRequest]) (*connect.Response[holdfastv1.EndCredentialResponse], error) {
	by, err := s.integrator(ctx, nil)
	if err != nil {
		return nil, err
	}
	id, err := s.account(ctx, req.Msg.GetAccount())
	if err != nil {
		return nil, err
	}
	if err := s.c.Accounts.EndCredential(ctx, by, id, req.Msg.GetExternalCredentialId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.EndCredentialResponse{}), nil
}

// GetProtection implements AccountService.
func (s accountService) GetProtection(ctx context.Context, req *connect.Request[holdfastv1.GetProtectionRequest]) (*connect.Response[holdfastv1.GetProtectionResponse], error) {
	id, err := s.account(ctx, req.Msg.GetAccount())
	if err != nil {
		return nil, err
	}
	p, err := s.c.Guard.Protection(ctx, id)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.GetProtectionResponse{Protection: protection(p)}), nil
}
