package api

import (
	"context"

	"connectrpc.com/connect"

	"holdfast/account"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/fault"
	"holdfast/guard"
	"holdfast/permit"
)

// guardService is what a platform asks before anything leaves.
type guardService struct{ *API }

// Check implements GuardService.
func (s guardService) Check(ctx context.Context, req *connect.Request[holdfastv1.CheckRequest]) (*connect.Response[holdfastv1.CheckResponse], error) {
	m := req.Msg
	by, err := s.integrator(ctx, m.GetOrigin())
	if err != nil {
		return nil, err
	}
	named, err := ref(m.GetAccount())
	if fault.KindOf(err) == fault.NotFound {
		return connect.NewResponse(&holdfastv1.CheckResponse{Decision: unknownAccount()}), nil
	}
	if err != nil {
		return nil, err
	}
	d, err := s.c.Guard.Check(ctx, by, guard.Query{
		Integrator: by.ID, Account: named, Credential: credential(m.GetCredential()), Exit: permit.Exit(m.GetExit()), Address: by.Address,
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.CheckResponse{Decision: decision(d)}), nil
}

func unknownAccount() *holdfastv1.Decision {
	return &holdfastv1.Decision{Verdict: holdfastv1.Verdict_VERDICT_UNKNOWN_ACCOUNT, Sentence: fault.Say(errUnknownAccount())}
}

var algorithms = map[account.KeyKind]holdfastv1.Algorithm{
	account.HMAC:    holdfastv1.Algorithm_ALGORITHM_HMAC_SHA256,
	account.Ed25519: holdfastv1.Algorithm_ALGORITHM_ED25519,
}

// Authenticate implements GuardService.
func (s guardService) Authenticate(ctx context.Context, req *connect.Request[holdfastv1.AuthenticateRequest]) (*connect.Response[holdfastv1.AuthenticateResponse], error) {
	m := req.Msg
	by, err := s.integrator(ctx, m.GetOrigin())
	if err != nil {
		return nil, err
	}
	got, err := s.c.Guard.Authenticate(ctx, by, guard.Signed{
		KeyID: m.GetKeyId(), Bytes: m.GetSigned(), Signature: m.GetSignature(), Exit: permit.Exit(m.GetExit()), Address: by.Address,
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.AuthenticateResponse{
		Decision: decision(got.Decision), Scopes: got.Scopes, Algorithm: algorithms[got.Kind], AddressList: got.AddressList,
		KeyCreatedAt: stamp(got.CreatedAt),
	}), nil
}

// SubmitReceipt implements GuardService.
func (s guardService) SubmitReceipt(ctx context.Context, req *connect.Request[holdfastv1.SubmitReceiptRequest]) (*connect.Response[holdfastv1.SubmitReceiptResponse], error) {
	m := req.Msg
	by, err := s.integrator(ctx, nil)
	if err != nil {
		return nil, err
	}
	id, err := s.account(ctx, m.GetAccount())
	if err != nil {
		return nil, err
	}
	at, err := s.c.Guard.SubmitReceipt(ctx, by, id, m.GetEpoch(), permit.Exit(m.GetExit()), m.GetStopped(), m.GetDetail())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.SubmitReceiptResponse{ReceivedAt: stamp(at)}), nil
}

// RegisterEnforcer implements GuardService.
func (s guardService) RegisterEnforcer(ctx context.Context, req *connect.Request[holdfastv1.RegisterEnforcerRequest]) (*connect.Response[holdfastv1.RegisterEnforcerResponse], error) {
	by, err := s.integrator(ctx, nil)
	if err != nil {
		return nil, err
	}
	if err := s.c.Guard.RegisterEnforcer(ctx, by, req.Msg.GetTitle(), exits(req.Msg.GetExits())); err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.RegisterEnforcerResponse{Enforcer: by.ID}), nil
}

// ListExits implements GuardService.
func (s guardService) ListExits(ctx context.Context, _ *connect.Request[holdfastv1.ListExitsRequest]) (*connect.Response[holdfastv1.ListExitsResponse], error) {
	list, err := s.c.Guard.Exits(ctx)
	if err != nil {
		return nil, err
	}
	out := &holdfastv1.ListExitsResponse{}
	for _, e := range list {
		out.Exits = append(out.Exits, &holdfastv1.Exit{Name: string(e.Exit), Title: e.Title, Enforcers: e.Enforcers})
	}
	return connect.NewResponse(out), nil
}
