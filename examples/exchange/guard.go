package exchange

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// Exits of Holdfast that this exchange asks about.
const (
	exitAPIKey            = "api_key"
	exitSession           = "session"
	exitOrder             = "order"
	exitOpenOrder         = "open_order"
	exitWithdrawalRequest = "withdrawal_request"
	exitInternalTransfer  = "internal_transfer"
	exitPendingWithdrawal = "pending_withdrawal"
)

// errUnavailable means that Holdfast could not be asked. Nothing trades and nothing leaves
// on it; whoever asked is told that the act did not happen.
var errUnavailable = errors.New("Holdfast cannot be reached")

// refusal is Holdfast's no.
type refusal struct{ decision *holdfastv1.Decision }

func (r *refusal) Error() string {
	return fmt.Sprintf("refused by Holdfast: %s", r.decision.GetVerdict())
}

// frozenRefusal is this exchange's own no when it knows of a freeze that a decision, given
// earlier, does not carry yet.
func frozenRefusal(epoch int64) *refusal {
	return &refusal{&holdfastv1.Decision{
		Verdict:  holdfastv1.Verdict_VERDICT_FROZEN,
		Epoch:    epoch,
		Sentence: "Your account is frozen. Nothing can leave it.",
	}}
}

// caller is who an act is done for, after Holdfast allowed it.
type caller struct {
	account    string
	epoch      int64
	keyID      string
	credential *holdfastv1.Credential
	origin     *holdfastv1.Origin
}

func accountRef(account string) *holdfastv1.AccountRef {
	return &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_AccountId{AccountId: account}}
}

func keyCredential(id string) *holdfastv1.Credential {
	return &holdfastv1.Credential{Kind: &holdfastv1.Credential_KeyId{KeyId: id}}
}

func sessionCredential(secret string) *holdfastv1.Credential {
	return &holdfastv1.Credential{Kind: &holdfastv1.Credential_Session{Session: secret}}
}

var platformCredential = &holdfastv1.Credential{Kind: &holdfastv1.Credential_Platform{Platform: true}}

// verdict turns a decision into nil for a yes and an error for everything else, answers of
// a later version that this program does not know included.
func verdict(d *holdfastv1.Decision) error {
	switch d.GetVerdict() {
	case holdfastv1.Verdict_VERDICT_ALLOW:
		return nil
	case holdfastv1.Verdict_VERDICT_FROZEN, holdfastv1.Verdict_VERDICT_HELD,
		holdfastv1.Verdict_VERDICT_UNKNOWN_CREDENTIAL, holdfastv1.Verdict_VERDICT_OUT_OF_SCOPE,
		holdfastv1.Verdict_VERDICT_UNKNOWN_ACCOUNT, holdfastv1.Verdict_VERDICT_TOO_MANY:
		return &refusal{d}
	}
	return fmt.Errorf("%w: undecided answer %s", errUnavailable, d.GetVerdict())
}

// check asks whether an act may happen now. It returns the epoch of the yes.
func (x *Exchange) check(ctx context.Context, account string, by *holdfastv1.Credential, exit string, origin *holdfastv1.Origin) (int64, error) {
	if x.enforcer.halted.Load() {
		return 0, errHalted
	}
	ctx, cancel := context.WithTimeout(ctx, x.cfg.HoldfastTimeout)
	defer cancel()
	answer, err := x.cfg.Guard.Check(ctx, connect.NewRequest(&holdfastv1.CheckRequest{
		Account: accountRef(account), Credential: by, Exit: exit, Origin: origin,
	}))
	if err != nil {
		x.log.Warn("holdfast check failed", "exit", exit, "error", err)
		return 0, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	return answer.Msg.GetDecision().GetEpoch(), verdict(answer.Msg.GetDecision())
}

// authenticate passes a signed request to Holdfast, which knows the key's secret; this
// exchange never sees one.
func (x *Exchange) authenticate(ctx context.Context, r *holdfastv1.AuthenticateRequest) (*holdfastv1.AuthenticateResponse, error) {
	if x.enforcer.halted.Load() {
		return nil, errHalted
	}
	ctx, cancel := context.WithTimeout(ctx, x.cfg.HoldfastTimeout)
	defer cancel()
	answer, err := x.cfg.Guard.Authenticate(ctx, connect.NewRequest(r))
	if err != nil {
		if connect.CodeOf(err) == connect.CodeInvalidArgument {
			return nil, &refusal{&holdfastv1.Decision{Verdict: holdfastv1.Verdict_VERDICT_UNKNOWN_CREDENTIAL}}
		}
		x.log.Warn("holdfast authenticate failed", "exit", r.GetExit(), "error", err)
		return nil, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	return answer.Msg, verdict(answer.Msg.GetDecision())
}

// unknownCredential reports whether Holdfast did not accept the key or its signature.
func unknownCredential(err error) bool {
	var no *refusal
	return errors.As(err, &no) && no.decision.GetVerdict() == holdfastv1.Verdict_VERDICT_UNKNOWN_CREDENTIAL
}

// fresh refuses an allowance that was given in an earlier epoch than the highest this
// exchange has heard of. Asked under the lock by whatever acts, it closes the gap between
// Holdfast's yes and the act: a freeze raises the epoch first and counts what it stopped
// afterwards.
func (x *Exchange) fresh(account string, epoch int64) error {
	if known := x.epochOf(account); epoch < known {
		return frozenRefusal(known)
	}
	return nil
}
