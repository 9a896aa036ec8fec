package api_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
)

// TestBesideMode: the platform keeps its own sign-in and keys. It registers them, asks with them,
// hears of the freeze that a link in a mail made, closes its exits and says so.
func TestBesideMode(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		c, _ := w.service("bank")
		enforcer, err := c.Guard.RegisterEnforcer(ctx, ask(&holdfastv1.RegisterEnforcerRequest{Title: "Example bank", Exits: []string{"order", "x_card"}}))
		must(t, err)
		if enforcer.Msg.GetEnforcer() != "bank" {
			t.Errorf("enforcer %v", enforcer.Msg)
		}
		list, err := c.Guard.ListExits(ctx, ask(&holdfastv1.ListExitsRequest{}))
		must(t, err)
		if !slices.ContainsFunc(list.Msg.GetExits(), func(e *holdfastv1.Exit) bool {
			return e.GetName() == "x_card" && e.GetTitle() == "Card" && slices.Equal(e.GetEnforcers(), []string{"bank"})
		}) {
			t.Errorf("exits: %v", list.Msg)
		}

		first, err := c.Accounts.RegisterAccount(ctx, ask(&holdfastv1.RegisterAccountRequest{ExternalId: "user-1", Mail: mail}))
		must(t, err)
		again, err := c.Accounts.RegisterAccount(ctx, ask(&holdfastv1.RegisterAccountRequest{ExternalId: "user-1", Mail: mail}))
		must(t, err)
		if !first.Msg.GetCreated() || again.Msg.GetCreated() || first.Msg.GetAccountId() != again.Msg.GetAccountId() {
			t.Errorf("registered %v, then %v", first.Msg, again.Msg)
		}
		_, err = c.Accounts.RegisterAccount(ctx, ask(&holdfastv1.RegisterAccountRequest{ExternalId: "user-2", Mail: mail}))
		refused(t, err, connect.CodeAlreadyExists, "mail_taken")
		_, err = c.Accounts.RegisterAccount(ctx, ask(&holdfastv1.RegisterAccountRequest{ExternalId: "user-2", Mail: "no mail"}))
		refused(t, err, connect.CodeInvalidArgument, "mail_form")
		account := byName("user-1")
		register := func(m *holdfastv1.RegisterCredentialRequest) error {
			m.Account, m.Origin = account, origin()
			_, err := c.Accounts.RegisterCredential(ctx, ask(m))
			return err
		}
		must(t, register(&holdfastv1.RegisterCredentialRequest{ExternalCredentialId: "s1", Kind: "session", Label: "Firefox"}))
		must(t, register(&holdfastv1.RegisterCredentialRequest{ExternalCredentialId: "s1", Kind: "session", Label: "Firefox"}))
		must(t, register(&holdfastv1.RegisterCredentialRequest{ExternalCredentialId: "s2", Kind: "session"}))
		must(t, register(&holdfastv1.RegisterCredentialRequest{ExternalCredentialId: "k1", Kind: "api_key", Scopes: []string{"order", "x_card"}, ExpiresAt: timestamppb.New(time.Now().Add(time.Hour))}))
		refused(t, register(&holdfastv1.RegisterCredentialRequest{ExternalCredentialId: "k2", Kind: "api_key"}), connect.CodeInvalidArgument, "scope")
		refused(t, register(&holdfastv1.RegisterCredentialRequest{ExternalCredentialId: "k2", Kind: "api_key", Scopes: []string{"everything"}}), connect.CodeInvalidArgument, "scope")
		refused(t, register(&holdfastv1.RegisterCredentialRequest{ExternalCredentialId: "k2", Kind: "cookie"}), connect.CodeInvalidArgument, "credential_kind")
		refused(t, register(&holdfastv1.RegisterCredentialRequest{Kind: "session"}), connect.CodeInvalidArgument, "name")

		for _, try := range []struct {
			credential, exit string
			want             holdfastv1.Verdict
		}{
			{"s1", "order", allow}, {"s1", "withdrawal_request", allow}, {"k1", "order", allow}, {"k1", "x_card", allow},
			{"k1", "withdrawal_request", outOfScope}, {"s9", "order", unknownCredential},
		} {
			if v := verdict(t, c, account, outside(try.credential), try.exit); v != try.want {
				t.Errorf("%s, %s: %s", try.credential, try.exit, v)
			}
		}
		_, err = c.Accounts.EndCredential(ctx, ask(&holdfastv1.EndCredentialRequest{Account: account, ExternalCredentialId: "s2"}))
		must(t, err)
		_, err = c.Accounts.EndCredential(ctx, ask(&holdfastv1.EndCredentialRequest{Account: account, ExternalCredentialId: "s2"}))
		must(t, err)
		if v := verdict(t, c, account, outside("s2"), "order"); v != unknownCredential {
			t.Errorf("an ended session: %s", v)
		}
		refused(t, register(&holdfastv1.RegisterCredentialRequest{ExternalCredentialId: "s2", Kind: "session"}), connect.CodeFailedPrecondition, "credential_ended")

		// Another service knows neither the name nor the credential, and cannot speak for them.
		other, _ := w.service("wallet")
		if v := verdict(t, other, account, outside("s1"), "order"); v != unknownAccount {
			t.Errorf("another service's name: %s", v)
		}
		if v := verdict(t, other, byID(first.Msg.GetAccountId()), outside("s1"), "order"); v != unknownCredential {
			t.Errorf("another service's credential: %s", v)
		}
		_, err = other.Accounts.RegisterCredential(ctx, ask(&holdfastv1.RegisterCredentialRequest{Account: byID(first.Msg.GetAccountId()), ExternalCredentialId: "s9", Kind: "session"}))
		refused(t, err, connect.CodeNotFound, "unknown_account")
		_, err = other.Accounts.EndCredential(ctx, ask(&holdfastv1.EndCredentialRequest{Account: byID(first.Msg.GetAccountId()), ExternalCredentialId: "s1"}))
		refused(t, err, connect.CodeNotFound, "unknown_credential")

		// A withdrawal waits; its mail has the link that freezes.
		m := &holdfastv1.RequestWithdrawalRequest{Account: account, Credential: outside("s1"), Origin: origin(), IdempotencyKey: "1", Asset: "EUR", Amount: "900", Address: "somewhere"}
		waiting := request(t, c, m)
		link := w.token("freeze", w.mail(mail, "(?i)withdraw"))

		closings := make(chan *holdfastv1.Closing, 16)
		following, stop := context.WithCancel(ctx)
		var group sync.WaitGroup
		group.Go(func() {
			err := c.Follow(following, nil, func(c *holdfastv1.Closing) error { closings <- c; return nil })
			if following.Err() == nil {
				t.Errorf("following ended: %v", err)
			}
		})
		defer group.Wait()
		defer stop()
		pressed, err := client.Holder(w.http(), w.url, "").FreezeWithLink(ctx, ask(&holdfastv1.FreezeWithLinkRequest{Token: link}))
		must(t, err)
		if p := pressed.Msg.GetProtection(); !p.GetFrozen() || p.GetContained() {
			t.Errorf("the bank has not answered yet: %v", p)
		}
		for _, credential := range []*holdfastv1.Credential{outside("s1"), outside("k1"), ofPlatform()} {
			if v := verdict(t, c, account, credential, "x_card"); v != frozen {
				t.Errorf("%v after the freeze: %s", credential, v)
			}
		}
		confirmedNot, err := c.Guard.ConfirmWithdrawal(ctx, ask(&holdfastv1.ConfirmWithdrawalRequest{Account: account, WithdrawalId: waiting.GetWithdrawalId()}))
		must(t, err)
		if confirmedNot.Msg.GetDecision().GetVerdict() != frozen {
			t.Errorf("confirmed after the freeze: %v", confirmedNot.Msg)
		}
		refused(t, register(&holdfastv1.RegisterCredentialRequest{ExternalCredentialId: "s3", Kind: "session"}), connect.CodePermissionDenied, "frozen")

		heard := <-closings
		if heard.GetKind() != "freeze" || heard.GetExternalId() != "user-1" || !slices.Equal(heard.GetExits(), []string{"order", "x_card"}) ||
			!slices.Equal(heard.GetCancelledWithdrawalIds(), []string{waiting.GetWithdrawalId()}) {
			t.Errorf("heard %v", heard)
		}
		receipt := func(epoch int64, exit string) error {
			_, err := c.Guard.SubmitReceipt(ctx, ask(&holdfastv1.SubmitReceiptRequest{Account: account, Epoch: epoch, Exit: exit, Stopped: 2, Detail: "2 things stopped"}))
			return err
		}
		refused(t, receipt(heard.GetEpoch()-1, "order"), connect.CodeFailedPrecondition, "epoch")
		refused(t, receipt(heard.GetEpoch(), "open_order"), connect.CodeNotFound, "exit")
		_, err = other.Guard.SubmitReceipt(ctx, ask(&holdfastv1.SubmitReceiptRequest{Account: byID(first.Msg.GetAccountId()), Epoch: heard.GetEpoch(), Exit: "order"}))
		refused(t, err, connect.CodeNotFound, "exit")
		contained := func() bool {
			out, err := c.Accounts.GetProtection(ctx, ask(&holdfastv1.GetProtectionRequest{Account: account}))
			must(t, err)
			return out.Msg.GetProtection().GetContained()
		}
		must(t, receipt(heard.GetEpoch(), "order"))
		if contained() {
			t.Error("contained before the last receipt")
		}
		must(t, receipt(heard.GetEpoch(), "x_card"))
		must(t, receipt(heard.GetEpoch(), "x_card"))
		if !contained() {
			t.Error("not contained after the last receipt")
		}
	})
}
