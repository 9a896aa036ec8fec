package client_test

import (
	"context"
	"log"
	"time"

	"connectrpc.com/connect"

	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
)

// A platform asks before anything leaves, asks once more at the point of no return, and closes its
// own exits when Holdfast says so.
func Example() {
	hold, err := client.New(client.Config{KeyFile: "/etc/exchange/holdfast.json"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	account := &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_ExternalId{ExternalId: "user-4711"}}
	session := &holdfastv1.Credential{Kind: &holdfastv1.Credential_ExternalCredentialId{ExternalCredentialId: "session-81f2"}}
	origin := &holdfastv1.Origin{Address: "203.0.113.7", UserAgent: "Firefox"}

	// Before an order: one question. No answer is a no.
	ok, decision := hold.Allowed(ctx, &holdfastv1.CheckRequest{Account: account, Credential: session, Exit: "order", Origin: origin})
	if !ok {
		log.Print(decision.GetSentence())
		return
	}

	// A withdrawal: decided and recorded under a key of ours, so that a repeat is no second one.
	asked, err := hold.Guard.RequestWithdrawal(ctx, connect.NewRequest(&holdfastv1.RequestWithdrawalRequest{
		Account: account, Credential: session, Origin: origin, IdempotencyKey: "withdrawal-1003",
		Asset: "BTC", Amount: "0.05", Address: "bc1q...", Network: "BTC",
	}))
	if err != nil || asked.Msg.GetDecision().GetVerdict() != holdfastv1.Verdict_VERDICT_ALLOW {
		return
	}
	// The last question, at the point of no return; then send before the time given, or not at all.
	id := asked.Msg.GetWithdrawal().GetWithdrawalId()
	last, err := hold.Guard.ConfirmWithdrawal(ctx, connect.NewRequest(&holdfastv1.ConfirmWithdrawalRequest{Account: account, WithdrawalId: id}))
	if err != nil || last.Msg.GetWithdrawal().GetState() != holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED ||
		time.Now().After(last.Msg.GetWithdrawal().GetSendBefore().AsTime()) {
		return
	}
	sent, why := broadcast(asked.Msg.GetWithdrawal())
	if why != nil {
		_, err = hold.Guard.FailWithdrawal(ctx, connect.NewRequest(&holdfastv1.FailWithdrawalRequest{Account: account, WithdrawalId: id, Reason: why.Error()}))
	} else {
		_, err = hold.Guard.SettleWithdrawal(ctx, connect.NewRequest(&holdfastv1.SettleWithdrawalRequest{Account: account, WithdrawalId: id, Transaction: sent}))
	}
	if err != nil {
		log.Print(err) // report again later: both can be repeated
	}
}

// An enforcer declares what it closes, follows, and answers for each exit with what it stopped.
func ExampleClient_Follow() {
	hold, err := client.New(client.Config{KeyFile: "/etc/exchange/holdfast.json"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if _, err := hold.Guard.RegisterEnforcer(ctx, connect.NewRequest(&holdfastv1.RegisterEnforcerRequest{
		Title: "Example exchange", Exits: []string{"order", "open_order"},
	})); err != nil {
		log.Fatal(err)
	}
	err = hold.Follow(ctx, nil, func(c *holdfastv1.Closing) error {
		if c.GetKind() != "freeze" {
			return nil
		}
		account := &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_AccountId{AccountId: c.GetAccountId()}}
		for _, exit := range c.GetExits() {
			stopped, detail := shut(exit, c.GetExternalId())
			if _, err := hold.Guard.SubmitReceipt(ctx, connect.NewRequest(&holdfastv1.SubmitReceiptRequest{
				Account: account, Epoch: c.GetEpoch(), Exit: exit, Stopped: stopped, Detail: detail,
			})); err != nil && connect.CodeOf(err) != connect.CodeFailedPrecondition { // another epoch: its own closing follows
				return err
			}
		}
		return nil
	})
	log.Fatal(err) // nobody listens for freezes now: stop serving
}

func broadcast(*holdfastv1.Withdrawal) (string, error) { return "", nil }

func shut(exit, user string) (int64, string) { return 0, "" }
