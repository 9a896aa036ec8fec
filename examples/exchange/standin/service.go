package standin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// decide answers for an account, a credential's scopes and an exit. The caller holds mu.
func (s *Server) decide(a *account, scopes []string, exit string) *holdfastv1.Decision {
	if a == nil {
		return &holdfastv1.Decision{Verdict: holdfastv1.Verdict_VERDICT_UNKNOWN_ACCOUNT}
	}
	d := &holdfastv1.Decision{Verdict: holdfastv1.Verdict_VERDICT_ALLOW, AccountId: a.id, Epoch: a.epoch}
	needs := map[string]string{"order": "trade", "open_order": "trade", "withdrawal_request": "withdraw", "internal_transfer": "withdraw"}
	switch scope, scoped := needs[exit]; {
	case a.frozen:
		d.Verdict, d.Sentence = holdfastv1.Verdict_VERDICT_FROZEN, "Your account is frozen. Nothing can leave it."
	case scopes != nil && scoped && !slices.Contains(scopes, scope):
		d.Verdict, d.Sentence = holdfastv1.Verdict_VERDICT_OUT_OF_SCOPE, "This key may not do that."
	case a.held[exit] != "":
		d.Verdict, d.Hold = holdfastv1.Verdict_VERDICT_HELD, a.held[exit]
		d.Sentence, d.Until = "Withdrawals are held.", timestamppb.New(time.Now().Add(time.Hour))
	}
	return d
}

var unknownCredential = &holdfastv1.Decision{Verdict: holdfastv1.Verdict_VERDICT_UNKNOWN_CREDENTIAL}

func (k *key) allows(o *holdfastv1.Origin) bool {
	return k != nil && !k.deleted && (len(k.addresses) == 0 || slices.Contains(k.addresses, o.GetAddress()))
}

// credential returns the decision for an account and what acts on it. The caller holds mu.
func (s *Server) credential(account string, c *holdfastv1.Credential, exit string, o *holdfastv1.Origin) *holdfastv1.Decision {
	a := s.accounts[account]
	switch {
	case c.GetPlatform():
		return s.decide(a, nil, exit)
	case c.GetKeyId() != "":
		k := s.keys[c.GetKeyId()]
		if !k.allows(o) || k.account != account {
			return unknownCredential
		}
		return s.decide(a, k.scopes, exit)
	}
	e := s.sessions[c.GetSession()]
	if e == nil || e.ended || e.account != account {
		return unknownCredential
	}
	if d := s.decide(a, nil, exit); d.GetVerdict() != holdfastv1.Verdict_VERDICT_ALLOW || e.epoch == a.epoch {
		return d
	}
	return unknownCredential
}

// Check implements GuardService.
func (s *Server) Check(_ context.Context, r *connect.Request[holdfastv1.CheckRequest]) (*connect.Response[holdfastv1.CheckResponse], error) {
	s.mu.Lock()
	hook := s.onCheck
	s.mu.Unlock()
	if hook != nil {
		hook(r.Msg)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.credential(r.Msg.GetAccount().GetAccountId(), r.Msg.GetCredential(), r.Msg.GetExit(), r.Msg.GetOrigin())
	return connect.NewResponse(&holdfastv1.CheckResponse{Decision: d}), nil
}

// Authenticate implements GuardService.
func (s *Server) Authenticate(_ context.Context, r *connect.Request[holdfastv1.AuthenticateRequest]) (*connect.Response[holdfastv1.AuthenticateResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[r.Msg.GetKeyId()]
	if !k.allows(r.Msg.GetOrigin()) || !k.verify(r.Msg.GetSigned(), r.Msg.GetSignature()) {
		return connect.NewResponse(&holdfastv1.AuthenticateResponse{Decision: unknownCredential}), nil
	}
	algorithm := holdfastv1.Algorithm_ALGORITHM_HMAC_SHA256
	if k.public != nil {
		algorithm = holdfastv1.Algorithm_ALGORITHM_ED25519
	}
	return connect.NewResponse(&holdfastv1.AuthenticateResponse{
		Decision: s.decide(s.accounts[k.account], k.scopes, r.Msg.GetExit()), Scopes: k.scopes, Algorithm: algorithm,
		AddressList: len(k.addresses) > 0, KeyCreatedAt: timestamppb.New(k.created),
	}), nil
}

// RequestWithdrawal implements GuardService.
func (s *Server) RequestWithdrawal(_ context.Context, r *connect.Request[holdfastv1.RequestWithdrawalRequest]) (*connect.Response[holdfastv1.RequestWithdrawalResponse], error) {
	m := r.Msg
	s.mu.Lock()
	defer s.mu.Unlock()
	account := m.GetAccount().GetAccountId()
	id := account + "/" + m.GetIdempotencyKey()
	body := fmt.Sprint(m.GetAsset(), m.GetAmount(), m.GetAddress(), m.GetNetwork(), m.GetInternal(), m.GetReference())
	if known, ok := s.requested[id]; ok {
		if s.bodies[id] != body {
			return nil, connect.NewError(connect.CodeAlreadyExists, fmt.Errorf("the key was used for another request"))
		}
		return connect.NewResponse(&holdfastv1.RequestWithdrawalResponse{
			Decision:   &holdfastv1.Decision{Verdict: holdfastv1.Verdict_VERDICT_ALLOW, AccountId: account, Epoch: s.withdrawals[known].GetEpoch()},
			Withdrawal: copyOf(s.withdrawals[known]),
		}), nil
	}
	exit := "withdrawal_request"
	if m.GetInternal() {
		exit = "internal_transfer"
	}
	d := s.credential(account, m.GetCredential(), exit, m.GetOrigin())
	if s.holdNext != "" {
		d = &holdfastv1.Decision{Verdict: holdfastv1.Verdict_VERDICT_HELD, AccountId: account, Epoch: d.GetEpoch(), Hold: s.holdNext,
			Sentence: "This withdrawal is being looked at."}
		s.holdNext = ""
	}
	if d.GetVerdict() != holdfastv1.Verdict_VERDICT_ALLOW {
		return connect.NewResponse(&holdfastv1.RequestWithdrawalResponse{Decision: d}), nil
	}
	w := &holdfastv1.Withdrawal{
		WithdrawalId: "wd-" + random(8), AccountId: account, State: holdfastv1.WithdrawalState_WITHDRAWAL_STATE_REQUESTED,
		Asset: m.GetAsset(), Amount: m.GetAmount(), Address: m.GetAddress(), Network: m.GetNetwork(), Internal: m.GetInternal(),
		RequestedAt: timestamppb.Now(), Epoch: d.GetEpoch(), Reference: m.GetReference(),
	}
	s.withdrawals[w.GetWithdrawalId()] = w
	s.requesters[w.GetWithdrawalId()] = m.GetCredential().GetKeyId()
	s.requested[id], s.bodies[id] = w.GetWithdrawalId(), body
	s.changed.Broadcast()
	if s.lose {
		s.lose = false
		return nil, connect.NewError(connect.CodeUnavailable, fmt.Errorf("the answer was lost"))
	}
	return connect.NewResponse(&holdfastv1.RequestWithdrawalResponse{Decision: d, Withdrawal: copyOf(w)}), nil
}

// copyOf returns what may leave the lock.
func copyOf(w *holdfastv1.Withdrawal) *holdfastv1.Withdrawal {
	return &holdfastv1.Withdrawal{
		WithdrawalId: w.GetWithdrawalId(), AccountId: w.GetAccountId(), State: w.GetState(), Asset: w.GetAsset(), Amount: w.GetAmount(),
		Address: w.GetAddress(), Network: w.GetNetwork(), Internal: w.GetInternal(), RequestedAt: w.GetRequestedAt(),
		ConfirmedAt: w.GetConfirmedAt(), SendBefore: w.GetSendBefore(), EndedAt: w.GetEndedAt(), Epoch: w.GetEpoch(), Reference: w.GetReference(),
	}
}

// find returns a withdrawal of the account. The caller holds mu.
func (s *Server) find(account *holdfastv1.AccountRef, id string) (*holdfastv1.Withdrawal, error) {
	w := s.withdrawals[id]
	if w == nil || w.GetAccountId() != account.GetAccountId() {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no such withdrawal"))
	}
	return w, nil
}

// ConfirmWithdrawal implements GuardService.
func (s *Server) ConfirmWithdrawal(_ context.Context, r *connect.Request[holdfastv1.ConfirmWithdrawalRequest]) (*connect.Response[holdfastv1.ConfirmWithdrawalResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.find(r.Msg.GetAccount(), r.Msg.GetWithdrawalId())
	if err != nil {
		return nil, err
	}
	d := s.decide(s.accounts[w.GetAccountId()], nil, "pending_withdrawal")
	if k := s.keys[s.requesters[w.GetWithdrawalId()]]; k != nil && k.deleted {
		d = unknownCredential
	}
	if d.GetVerdict() == holdfastv1.Verdict_VERDICT_ALLOW && w.GetState() == holdfastv1.WithdrawalState_WITHDRAWAL_STATE_REQUESTED {
		w.State, w.ConfirmedAt, w.Epoch = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED, timestamppb.Now(), d.GetEpoch()
		w.SendBefore = timestamppb.New(time.Now().Add(10 * time.Second))
		s.changed.Broadcast()
	}
	return connect.NewResponse(&holdfastv1.ConfirmWithdrawalResponse{Decision: d, Withdrawal: copyOf(w)}), nil
}

// SettleWithdrawal implements GuardService.
func (s *Server) SettleWithdrawal(_ context.Context, r *connect.Request[holdfastv1.SettleWithdrawalRequest]) (*connect.Response[holdfastv1.SettleWithdrawalResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.find(r.Msg.GetAccount(), r.Msg.GetWithdrawalId())
	if err != nil {
		return nil, err
	}
	w.State, w.EndedAt = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_SETTLED, timestamppb.Now()
	s.changed.Broadcast()
	return connect.NewResponse(&holdfastv1.SettleWithdrawalResponse{Withdrawal: copyOf(w)}), nil
}

// FailWithdrawal implements GuardService.
func (s *Server) FailWithdrawal(_ context.Context, r *connect.Request[holdfastv1.FailWithdrawalRequest]) (*connect.Response[holdfastv1.FailWithdrawalResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.find(r.Msg.GetAccount(), r.Msg.GetWithdrawalId())
	if err != nil {
		return nil, err
	}
	w.State, w.EndedAt = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_FAILED, timestamppb.Now()
	s.changed.Broadcast()
	return connect.NewResponse(&holdfastv1.FailWithdrawalResponse{Withdrawal: copyOf(w)}), nil
}

// RegisterEnforcer implements GuardService.
func (s *Server) RegisterEnforcer(_ context.Context, r *connect.Request[holdfastv1.RegisterEnforcerRequest]) (*connect.Response[holdfastv1.RegisterEnforcerResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exits = r.Msg.GetExits()
	s.changed.Broadcast()
	return connect.NewResponse(&holdfastv1.RegisterEnforcerResponse{Enforcer: "exchange"}), nil
}

// Follow implements GuardService, with one lane.
func (s *Server) Follow(ctx context.Context, r *connect.Request[holdfastv1.FollowRequest], stream *connect.ServerStream[holdfastv1.FollowResponse]) error {
	next := 0
	if p := r.Msg.GetPositions(); len(p) == 1 {
		next = int(p[0])
	}
	s.mu.Lock()
	lost := next > len(s.feed)
	s.mu.Unlock()
	if lost {
		err := connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("the database has lost history"))
		err.Meta().Set("Holdfast-Code", "history_lost")
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		s.changed.Broadcast()
		s.mu.Unlock()
	})
	defer stop()
	// A heartbeat at once tells the follower that it is connected.
	if err := stream.Send(&holdfastv1.FollowResponse{Positions: []int64{int64(next)}}); err != nil {
		return err
	}
	for {
		beat := time.AfterFunc(2*time.Second, func() {
			s.mu.Lock()
			s.changed.Broadcast()
			s.mu.Unlock()
		})
		s.mu.Lock()
		if next >= len(s.feed) && ctx.Err() == nil && !s.closed && !s.down {
			s.changed.Wait()
		}
		var c *holdfastv1.Closing
		if next < len(s.feed) {
			c = s.feed[next]
			next++
		}
		over := ctx.Err() != nil || s.closed || s.down
		s.mu.Unlock()
		beat.Stop()
		if over {
			return connect.NewError(connect.CodeUnavailable, fmt.Errorf("the stream ends"))
		}
		if err := stream.Send(&holdfastv1.FollowResponse{Closing: c, Positions: []int64{int64(next)}}); err != nil {
			return err
		}
	}
}

// SubmitReceipt implements GuardService.
func (s *Server) SubmitReceipt(_ context.Context, r *connect.Request[holdfastv1.SubmitReceiptRequest]) (*connect.Response[holdfastv1.SubmitReceiptResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[r.Msg.GetAccount().GetAccountId()]
	if a == nil {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no such account"))
	}
	if r.Msg.GetEpoch() != a.epoch {
		return nil, connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("a receipt for another epoch"))
	}
	s.receipts = append(s.receipts, r.Msg)
	s.changed.Broadcast()
	return connect.NewResponse(&holdfastv1.SubmitReceiptResponse{ReceivedAt: timestamppb.Now()}), nil
}

// Redeem implements SignInService.
func (s *Server) Redeem(_ context.Context, r *connect.Request[holdfastv1.RedeemRequest]) (*connect.Response[holdfastv1.RedeemResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.codes[r.Msg.GetCode()]
	if e == nil {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no such code"))
	}
	delete(s.codes, r.Msg.GetCode())
	s.sessions[e.secret] = e
	return connect.NewResponse(&holdfastv1.RedeemResponse{AccountId: e.account, Mail: s.accounts[e.account].mail, Session: e.secret,
		SessionId: e.id, ExpiresAt: timestamppb.New(time.Now().Add(time.Hour))}), nil
}

// EndSession implements SignInService.
func (s *Server) EndSession(_ context.Context, r *connect.Request[holdfastv1.EndSessionRequest]) (*connect.Response[holdfastv1.EndSessionResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.sessions[r.Msg.GetSession()]; e != nil {
		e.ended = true
	}
	return connect.NewResponse(&holdfastv1.EndSessionResponse{}), nil
}

// ReportMovements implements LedgerService.
func (s *Server) ReportMovements(_ context.Context, r *connect.Request[holdfastv1.ReportMovementsRequest]) (*connect.Response[holdfastv1.ReportMovementsResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &holdfastv1.ReportMovementsResponse{}
	for _, m := range r.Msg.GetMovements() {
		if _, known := s.movements[m.GetReference()]; known {
			answer.Known++
			continue
		}
		s.movements[m.GetReference()] = m
		s.order = append(s.order, m.GetReference())
		answer.Recorded++
	}
	s.changed.Broadcast()
	return connect.NewResponse(answer), nil
}
