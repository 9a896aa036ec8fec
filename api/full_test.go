package api_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/permit"
)

// TestFullMode: Holdfast keeps the sign-in and the keys; the platform redeems a hand-over and passes
// signed requests on.
func TestFullMode(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		c, _ := w.service("exchange")
		h := w.join(mail)
		in := w.handOver(h, c, "exchange")
		if in.GetAccountId() != string(h.id) || in.GetMail() != mail || in.GetSessionId() == "" || !in.GetExpiresAt().AsTime().After(time.Now()) {
			t.Errorf("redeemed %v", in)
		}
		session := ofSession(in.GetSession())
		for _, exit := range []string{"order", "withdrawal_request", "internal_transfer", "x_lending"} {
			if v := verdict(t, c, byID(h.id), session, exit); v != allow {
				t.Errorf("%s: %s", exit, v)
			}
		}
		if v := verdict(t, c, nil, session, "order"); v != allow {
			t.Errorf("the session names its account: %s", v)
		}
		if ok, d := c.Allowed(ctx, &holdfastv1.CheckRequest{Credential: session, Exit: "order", Origin: origin()}); !ok || d.GetAccountId() != string(h.id) {
			t.Errorf("allowed: %v %v", ok, d)
		}
		public, secret, err := ed25519.GenerateKey(nil)
		must(t, err)
		hm, err := h.app.CreateKey(ctx, ask(&holdfastv1.CreateKeyRequest{Label: "bot", Kind: "hmac-sha256", Scopes: []string{"read", "trade", "withdraw"}, Addresses: []string{"192.0.2.0/24"}, Password: password}))
		must(t, err)
		ed, err := h.app.CreateKey(ctx, ask(&holdfastv1.CreateKeyRequest{Label: "reader", Kind: "ed25519", PublicKey: base64.StdEncoding.EncodeToString(public), Scopes: []string{"read"}, Password: password}))
		must(t, err)
		if hm.Msg.GetSecret() == "" || ed.Msg.GetSecret() != "" || hm.Msg.GetWithdrawsFrom() == nil {
			t.Error("an HMAC key has a secret, shown once, and waits before it withdraws; another has none")
		}
		signed := []byte("symbol=BTCUSDT&timestamp=1")
		mac := hmac.New(sha256.New, []byte(hm.Msg.GetSecret()))
		mac.Write(signed)
		authenticate := func(key string, signature []byte, exit, address string) *holdfastv1.AuthenticateResponse {
			out, err := c.Guard.Authenticate(ctx, ask(&holdfastv1.AuthenticateRequest{KeyId: key, Signed: signed, Signature: signature, Exit: exit, Origin: &holdfastv1.Origin{Address: address}}))
			must(t, err)
			return out.Msg
		}
		hmID, edID := hm.Msg.GetKey().GetKeyId(), ed.Msg.GetKey().GetKeyId()
		got := authenticate(hmID, mac.Sum(nil), "order", home)
		if got.GetDecision().GetVerdict() != allow || got.GetAlgorithm() != holdfastv1.Algorithm_ALGORITHM_HMAC_SHA256 || !got.GetAddressList() || len(got.GetScopes()) != 3 || got.GetKeyCreatedAt() == nil {
			t.Errorf("HMAC: %v", got)
		}
		if got := authenticate(edID, ed25519.Sign(secret, signed), "api_key", home); got.GetDecision().GetVerdict() != allow || got.GetAlgorithm() != holdfastv1.Algorithm_ALGORITHM_ED25519 {
			t.Errorf("Ed25519: %v", got)
		}
		for name, bad := range map[string]*holdfastv1.AuthenticateResponse{
			"signature": authenticate(hmID, bytes.Repeat([]byte{1}, 32), "order", home),
			"key":       authenticate(edID, mac.Sum(nil), "order", home),
			"address":   authenticate(hmID, mac.Sum(nil), "order", "198.51.100.9"),
			"no such":   authenticate("hfk_nothing", mac.Sum(nil), "order", home),
		} {
			if bad.GetDecision().GetVerdict() != unknownCredential || bad.GetDecision().GetAccountId() != "" || len(bad.GetScopes()) != 0 {
				t.Errorf("wrong %s: %v", name, bad)
			}
		}
		if got := authenticate(edID, ed25519.Sign(secret, signed), "order", home); got.GetDecision().GetVerdict() != outOfScope {
			t.Errorf("beyond the scope: %v", got.GetDecision())
		}

		first, err := h.app.Freeze(ctx, ask(&holdfastv1.FreezeRequest{Reason: "unknown_sign_in"}))
		must(t, err)
		if p := first.Msg.GetProtection(); !p.GetFrozen() || first.Msg.GetAlreadyFrozen() || len(p.GetReceipts()) < 8 || !p.GetContained() {
			t.Errorf("frozen: %v", first.Msg)
		}
		again, err := h.app.Freeze(ctx, ask(&holdfastv1.FreezeRequest{}))
		must(t, err)
		if !again.Msg.GetAlreadyFrozen() || !again.Msg.GetProtection().GetFrozenAt().AsTime().Equal(first.Msg.GetProtection().GetFrozenAt().AsTime()) {
			t.Errorf("pressed twice: %v", again.Msg)
		}
		for name, v := range map[string]holdfastv1.Verdict{
			"session":  verdict(t, c, byID(h.id), session, "order"),
			"platform": verdict(t, c, byID(h.id), ofPlatform(), "open_order"),
			"HMAC":     authenticate(hmID, mac.Sum(nil), "order", home).GetDecision().GetVerdict(),
			"Ed25519":  authenticate(edID, ed25519.Sign(secret, signed), "api_key", home).GetDecision().GetVerdict(),
		} {
			if v != frozen {
				t.Errorf("%s after the freeze: %s", name, v)
			}
		}
		if ok, d := c.Allowed(ctx, &holdfastv1.CheckRequest{Account: byID(h.id), Credential: session, Exit: "order"}); ok || d.GetVerdict() != frozen {
			t.Errorf("allowed: %v %v", ok, d)
		}
		_, err = client.Holder(w.http(), w.url, "").SignIn(ctx, ask(&holdfastv1.SignInRequest{Mail: mail, Password: password}))
		refused(t, err, connect.CodeFailedPrecondition, "frozen_sign_in")
		_, err = h.app.CreateKey(ctx, ask(&holdfastv1.CreateKeyRequest{Label: "more", Kind: "hmac-sha256", Scopes: []string{"read"}, Password: password}))
		refused(t, err, connect.CodePermissionDenied, "")
		status, err := h.app.GetStatus(ctx, ask(&holdfastv1.GetStatusRequest{}))
		must(t, err)
		if !status.Msg.GetProtective() || !status.Msg.GetProtection().GetFrozen() || len(status.Msg.GetProtection().GetBlocks()) < 8 {
			t.Errorf("status: %v", status.Msg)
		}
		_, err = c.SignIn.EndSession(ctx, ask(&holdfastv1.EndSessionRequest{Session: in.GetSession()}))
		must(t, err)
	})
}

func TestHandOverIsOneServicesOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		c, _ := w.service("exchange")
		other, _ := w.service("wallet")
		h := w.join(mail)
		code, err := w.accounts.HandOver(ctx, h.session.Actor(h.from), h.id, "exchange")
		must(t, err)
		redeem := func(by *client.Client, code string) (*holdfastv1.RedeemResponse, error) {
			out, err := by.SignIn.Redeem(ctx, ask(&holdfastv1.RedeemRequest{Code: code}))
			if err != nil {
				return nil, err
			}
			return out.Msg, nil
		}
		_, err = redeem(other, code.Reveal())
		refused(t, err, connect.CodePermissionDenied, "unknown_code")
		in, err := redeem(c, code.Reveal())
		must(t, err)
		_, err = redeem(c, code.Reveal())
		refused(t, err, connect.CodePermissionDenied, "unknown_code")
		_, err = redeem(c, "nothing")
		refused(t, err, connect.CodePermissionDenied, "unknown_code")

		session := ofSession(in.GetSession())
		if v := verdict(t, other, byID(h.id), session, "order"); v != unknownCredential {
			t.Errorf("another service's session: %s", v)
		}
		// A platform's session is worth nothing at the holder's own door.
		_, err = client.Holder(w.http(), w.url, in.GetSession()).GetStatus(ctx, ask(&holdfastv1.GetStatusRequest{}))
		refused(t, err, connect.CodeUnauthenticated, "signed_out")
		_, err = other.SignIn.EndSession(ctx, ask(&holdfastv1.EndSessionRequest{Session: in.GetSession()}))
		must(t, err)
		if v := verdict(t, c, byID(h.id), session, "order"); v != allow {
			t.Errorf("ended by another service: %s", v)
		}
		_, err = c.SignIn.EndSession(ctx, ask(&holdfastv1.EndSessionRequest{Session: in.GetSession()}))
		must(t, err)
		if v := verdict(t, c, byID(h.id), session, "order"); v != unknownCredential {
			t.Errorf("after it was ended: %s", v)
		}
	})
}

// TestHolderService: what an app can do besides freezing.
func TestHolderService(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		h, bystander := w.join(mail), w.join("bystander@holdfast.test")
		devices, err := h.app.ListDevices(ctx, ask(&holdfastv1.ListDevicesRequest{}))
		must(t, err)
		if list := devices.Msg.GetDevices(); len(list) != 2 || !list[0].GetThisDevice() || list[0].GetAddress() != "127.0.0.1" || list[1].GetAddress() != home {
			t.Errorf("devices: %v", list)
		}
		_, err = bystander.app.RemoveDevice(ctx, ask(&holdfastv1.RemoveDeviceRequest{DeviceId: devices.Msg.GetDevices()[1].GetDeviceId()}))
		refused(t, err, connect.CodeNotFound, "unknown_device")
		_, err = h.app.RemoveDevice(ctx, ask(&holdfastv1.RemoveDeviceRequest{DeviceId: devices.Msg.GetDevices()[1].GetDeviceId()}))
		must(t, err)

		make := func(label string) string {
			out, err := h.app.CreateKey(ctx, ask(&holdfastv1.CreateKeyRequest{Label: label, Kind: "hmac-sha256", Scopes: []string{"trade", "read"}, ExpiresAt: timestamppb.New(time.Now().Add(time.Hour)), Password: password}))
			must(t, err)
			return out.Msg.GetKey().GetKeyId()
		}
		one, _ := make("one"), make("two")
		_, err = h.app.CreateKey(ctx, ask(&holdfastv1.CreateKeyRequest{Label: "x", Kind: "hmac-sha256", Scopes: []string{"withdraw"}, Password: password}))
		refused(t, err, connect.CodeInvalidArgument, "withdraw_needs_addresses")
		_, err = h.app.CreateKey(ctx, ask(&holdfastv1.CreateKeyRequest{Label: "x", Kind: "hmac-sha256", Scopes: []string{"read"}, Password: "wrong"}))
		refused(t, err, connect.CodePermissionDenied, "wrong_password")
		_, err = h.app.CreateKey(ctx, ask(&holdfastv1.CreateKeyRequest{Label: "x", Kind: "hmac-sha256", Scopes: []string{"read"}, ExpiresAt: &timestamppb.Timestamp{Nanos: -1}, Password: password}))
		refused(t, err, connect.CodeInvalidArgument, "time")
		keys, err := h.app.ListKeys(ctx, ask(&holdfastv1.ListKeysRequest{}))
		must(t, err)
		if list := keys.Msg.GetKeys(); len(list) != 2 || !slices.ContainsFunc(list, func(k *holdfastv1.Key) bool { return k.GetKeyId() == one && k.GetState() == "live" }) {
			t.Errorf("keys: %v", list)
		}
		_, err = bystander.app.DeleteKey(ctx, ask(&holdfastv1.DeleteKeyRequest{KeyId: one}))
		refused(t, err, connect.CodeNotFound, "unknown_key")
		_, err = h.app.DeleteKey(ctx, ask(&holdfastv1.DeleteKeyRequest{KeyId: one}))
		must(t, err)
		all, err := h.app.DeleteAllKeys(ctx, ask(&holdfastv1.DeleteAllKeysRequest{}))
		must(t, err)
		if all.Msg.GetDeleted() != 1 {
			t.Errorf("%d keys deleted", all.Msg.GetDeleted())
		}

		second := client.Holder(w.http(), w.url, w.signIn(mail))
		changed, err := h.app.ChangePassword(ctx, ask(&holdfastv1.ChangePasswordRequest{Current: password, Next: "Another-Horse-8-Battery"}))
		must(t, err)
		if changed.Msg.GetSessionsEnded() != 1 {
			t.Errorf("changed: %v", changed.Msg)
		}
		_, err = second.GetStatus(ctx, ask(&holdfastv1.GetStatusRequest{}))
		refused(t, err, connect.CodeUnauthenticated, "signed_out")
		_, err = client.Holder(w.http(), w.url, "").SignIn(ctx, ask(&holdfastv1.SignInRequest{Mail: mail, Password: password}))
		refused(t, err, connect.CodePermissionDenied, "wrong_password")
		removed, err := h.app.RemoveAllDevices(ctx, ask(&holdfastv1.RemoveAllDevicesRequest{KeepThis: true}))
		must(t, err)
		if removed.Msg.GetRemoved() != 0 {
			t.Errorf("removed: %v", removed.Msg)
		}
		_, err = h.app.SignOut(ctx, ask(&holdfastv1.SignOutRequest{}))
		must(t, err)
		_, err = h.app.SignOut(ctx, ask(&holdfastv1.SignOutRequest{}))
		refused(t, err, connect.CodeUnauthenticated, "signed_out")
		if entered, err := w.guard.Protection(ctx, bystander.id); err != nil || entered.Frozen() {
			t.Errorf("the bystander: %v %v", entered, err)
		}
	})
}

// TestCloseOnlySecretsRevealNothing: code and link freeze, and say neither whose account it is nor
// what was in it.
func TestCloseOnlySecretsRevealNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		c, _ := w.service("exchange")
		h := w.join(mail)
		in := w.handOver(h, c, "exchange")
		_, err := c.Guard.RequestWithdrawal(ctx, ask(&holdfastv1.RequestWithdrawalRequest{Credential: ofSession(in.GetSession()), Origin: origin(), IdempotencyKey: "1", Asset: "BTC", Amount: "0.41", Address: "bc1q"}))
		must(t, err)
		nobody := client.Holder(w.http(), w.url, "")
		_, err = nobody.FreezeWithCode(ctx, ask(&holdfastv1.FreezeWithCodeRequest{Mail: "other@holdfast.test", Code: h.code}))
		refused(t, err, connect.CodePermissionDenied, "wrong_code")
		_, err = nobody.FreezeWithCode(ctx, ask(&holdfastv1.FreezeWithCodeRequest{Mail: mail, Code: "hello"}))
		refused(t, err, connect.CodeInvalidArgument, "code_form")
		_, err = nobody.FreezeWithLink(ctx, ask(&holdfastv1.FreezeWithLinkRequest{Token: "hello"}))
		refused(t, err, connect.CodeNotFound, "")
		if v := verdict(t, c, byID(h.id), ofSession(in.GetSession()), "order"); v != allow {
			t.Fatalf("a wrong code changed something: %s", v)
		}
		_, err = nobody.RequestFreezeLink(ctx, ask(&holdfastv1.RequestFreezeLinkRequest{Mail: mail}))
		must(t, err)
		_, err = nobody.RequestFreezeLink(ctx, ask(&holdfastv1.RequestFreezeLinkRequest{Mail: "nobody@holdfast.test"}))
		must(t, err)
		link := w.token("freeze", w.mail(mail, "(?i)link"))
		byCode, err := nobody.FreezeWithCode(ctx, ask(&holdfastv1.FreezeWithCodeRequest{Mail: mail, Code: h.code}))
		must(t, err)
		byLink, err := nobody.FreezeWithLink(ctx, ask(&holdfastv1.FreezeWithLinkRequest{Token: link}))
		must(t, err)
		if byCode.Msg.GetAlreadyFrozen() || !byLink.Msg.GetAlreadyFrozen() {
			t.Errorf("code %v, then link %v", byCode.Msg.GetAlreadyFrozen(), byLink.Msg.GetAlreadyFrozen())
		}
		for _, p := range []*holdfastv1.Protection{byCode.Msg.GetProtection(), byLink.Msg.GetProtection()} {
			if !p.GetFrozen() || len(p.GetReceipts()) < 8 || p.GetAccountId() != "" || p.GetEpoch() != 0 || len(p.GetBlocks()) != 0 {
				t.Errorf("told: %v", p)
			}
			for _, r := range p.GetReceipts() {
				if r.GetDetail() != "" || r.GetStopped() != 0 || r.GetClosedAt() == nil {
					t.Errorf("told: %v", r)
				}
			}
		}
		whole, err := c.Accounts.GetProtection(ctx, ask(&holdfastv1.GetProtectionRequest{Account: byID(h.id)}))
		must(t, err)
		if !slices.ContainsFunc(whole.Msg.GetProtection().GetReceipts(), func(r *holdfastv1.Receipt) bool {
			return r.GetExit() == string(permit.PendingWithdrawal) && r.GetStopped() == 1 && r.GetDetail() != ""
		}) {
			t.Errorf("the platform is told: %v", whole.Msg)
		}
	})
}

// TestSignInTellsNothing: a wrong password and an unknown address get the same bytes.
func TestSignInTellsNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.join(mail)
		answer := func(body string) string {
			status, header, out := w.postJSON("HolderService/SignIn", "", body)
			header.Del("Holdfast-Request")
			header.Del("Date")
			return fmt.Sprint(status, header, out)
		}
		known := answer(`{"mail":"` + mail + `","password":"Wrong-Horse-7-Battery"}`)
		if unknown := answer(`{"mail":"nobody@holdfast.test","password":"Wrong-Horse-7-Battery"}`); unknown != known {
			t.Errorf("told apart:\n%s\n%s", known, unknown)
		}
	})
}
