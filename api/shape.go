package api

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdfast/account"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/fault"
	"holdfast/guard"
	"holdfast/permit"
)

// stamp returns a time as the contract has it: absent for the zero time.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// moment reads a time of a message; absent is the zero time.
func moment(t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, fault.New(fault.Invalid, "time", "A time in this request is not one.")
	}
	return t.AsTime(), nil
}

func errUnknownAccount() error {
	return fault.New(fault.NotFound, "unknown_account", "There is no such account.")
}

// ref reads the name of an account. Only a UUID can be an id of ours: the platform's own chain has
// a name of another form, and no call reaches it by naming it.
func ref(r *holdfastv1.AccountRef) (guard.Ref, error) {
	switch name := r.GetName().(type) {
	case *holdfastv1.AccountRef_AccountId:
		id, err := uuid.Parse(name.AccountId)
		if err != nil || id.String() != name.AccountId {
			return guard.Ref{}, errUnknownAccount()
		}
		return guard.Ref{ID: account.ID(name.AccountId)}, nil
	case *holdfastv1.AccountRef_ExternalId:
		if name.ExternalId == "" || len(name.ExternalId) > 128 {
			return guard.Ref{}, errUnknownAccount()
		}
		return guard.Ref{External: name.ExternalId}, nil
	default:
		return guard.Ref{}, nil
	}
}

// account returns the account that a message names, for the service that calls.
func (a *API) account(ctx context.Context, r *holdfastv1.AccountRef) (account.ID, error) {
	named, err := ref(r)
	switch {
	case err != nil:
		return "", err
	case named.External != "":
		return account.FindExternal(ctx, a.c.DB, callerOf(ctx).key.Service, named.External)
	case named.ID != "":
		return named.ID, nil
	default:
		return "", fault.New(fault.Invalid, "account", "Name the account, by account_id or by external_id.")
	}
}

func credential(c *holdfastv1.Credential) guard.Credential {
	return guard.Credential{Session: c.GetSession(), Key: c.GetKeyId(), External: c.GetExternalCredentialId(), Platform: c.GetPlatform()}
}

// verdicts names each verdict of the guard. One that is missing is no yes.
var verdicts = map[guard.Verdict]holdfastv1.Verdict{
	guard.Allow:             holdfastv1.Verdict_VERDICT_ALLOW,
	guard.FrozenNow:         holdfastv1.Verdict_VERDICT_FROZEN,
	guard.Held:              holdfastv1.Verdict_VERDICT_HELD,
	guard.UnknownCredential: holdfastv1.Verdict_VERDICT_UNKNOWN_CREDENTIAL,
	guard.OutOfScope:        holdfastv1.Verdict_VERDICT_OUT_OF_SCOPE,
	guard.UnknownAccount:    holdfastv1.Verdict_VERDICT_UNKNOWN_ACCOUNT,
	guard.TooMany:           holdfastv1.Verdict_VERDICT_TOO_MANY,
}

func decision(d guard.Decision) *holdfastv1.Decision {
	out := &holdfastv1.Decision{
		Verdict: verdicts[d.Verdict], AccountId: string(d.Account), ExternalId: d.External, Epoch: d.Epoch,
		Until: stamp(d.Until), Sentence: d.Sentence,
	}
	if d.Verdict == guard.Held {
		out.Hold = string(d.Hold)
	}
	return out
}

var states = map[guard.State]holdfastv1.WithdrawalState{
	guard.Requested:             holdfastv1.WithdrawalState_WITHDRAWAL_STATE_REQUESTED,
	guard.Confirmed:             holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED,
	guard.Settled:               holdfastv1.WithdrawalState_WITHDRAWAL_STATE_SETTLED,
	guard.Failed:                holdfastv1.WithdrawalState_WITHDRAWAL_STATE_FAILED,
	guard.Cancelled:             holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CANCELLED,
	guard.ConfirmedBeforeFreeze: holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED_BEFORE_FREEZE,
}

// withdrawal returns nothing for a withdrawal that was not recorded.
func withdrawal(w guard.Withdrawal) *holdfastv1.Withdrawal {
	if w.ID == "" {
		return nil
	}
	return &holdfastv1.Withdrawal{
		WithdrawalId: w.ID, AccountId: string(w.Account), State: states[w.State], Asset: w.Asset, Amount: w.Amount.String(),
		Address: w.Address, Network: w.Network, Internal: w.Internal, RequestedAt: stamp(w.RequestedAt), ConfirmedAt: stamp(w.ConfirmedAt),
		SendBefore: stamp(w.SendBefore), EndedAt: stamp(w.EndedAt), Epoch: w.Epoch, Reference: w.Reference,
	}
}

func protection(p guard.Protection) *holdfastv1.Protection {
	out := &holdfastv1.Protection{
		AccountId: string(p.Account), Epoch: p.Epoch, Frozen: p.Frozen(), FrozenAt: stamp(p.FrozenAt), Contained: p.Contained,
	}
	for _, b := range p.Blocks {
		out.Blocks = append(out.Blocks, &holdfastv1.Block{
			Exit: string(b.Exit), Title: guard.Title(b.Exit), Until: stamp(b.Until), Reason: string(b.Kind), Sentence: b.Sentence, Lifts: b.Lifts,
		})
	}
	for _, r := range p.Receipts {
		out.Receipts = append(out.Receipts, &holdfastv1.Receipt{
			Exit: string(r.Exit), Title: guard.Title(r.Exit), Enforcer: r.Enforcer, ClosedAt: stamp(r.ClosedAt), Stopped: r.Stopped, Detail: r.Detail,
		})
	}
	return out
}

// outside is what somebody who proved nothing but a close-only secret sees of a protection: that
// the account is frozen and which exits are closed, but not whose it is, what was in it or what
// was about to leave it.
func outside(p *holdfastv1.Protection) *holdfastv1.Protection {
	out := &holdfastv1.Protection{Frozen: p.GetFrozen(), FrozenAt: p.GetFrozenAt(), Contained: p.GetContained()}
	for _, r := range p.GetReceipts() {
		out.Receipts = append(out.Receipts, &holdfastv1.Receipt{Exit: r.GetExit(), Title: r.GetTitle(), Enforcer: r.GetEnforcer(), ClosedAt: r.GetClosedAt()})
	}
	return out
}

func exits(names []string) []permit.Exit {
	out := make([]permit.Exit, len(names))
	for i, name := range names {
		out[i] = permit.Exit(name)
	}
	return out
}

func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}
