package api

import (
	"context"
	"log/slog"
	"slices"

	"connectrpc.com/connect"

	"holdfast/account"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/guard"
	"holdfast/permit"
)

// holderService is what a holder's own app calls.
type holderService struct{ *API }

// SignIn implements HolderService. The session is for an app that keeps it; no cookie is set.
func (s holderService) SignIn(ctx context.Context, req *connect.Request[holdfastv1.SignInRequest]) (*connect.Response[holdfastv1.SignInResponse], error) {
	session, err := s.c.Accounts.SignIn(ctx, callerOf(ctx).from, account.Entry{Mail: req.Msg.GetMail(), Password: req.Msg.GetPassword()})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.SignInResponse{Session: session.Token.Reveal(), ExpiresAt: stamp(session.ExpiresAt)}), nil
}

// SignOut implements HolderService.
func (s holderService) SignOut(ctx context.Context, _ *connect.Request[holdfastv1.SignOutRequest]) (*connect.Response[holdfastv1.SignOutResponse], error) {
	who := callerOf(ctx)
	if err := s.c.Accounts.SignOut(ctx, who.from, who.session.Account); err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.SignOutResponse{}), nil
}

// freezeReasons are the words that an app may give; the record keeps them.
var freezeReasons = []string{"", "lost_device", "unknown_sign_in", "missing_money", "mistake_possible", "other"}

// Freeze implements HolderService.
func (s holderService) Freeze(ctx context.Context, req *connect.Request[holdfastv1.FreezeRequest]) (*connect.Response[holdfastv1.FreezeResponse], error) {
	who, reason := callerOf(ctx), req.Msg.GetReason()
	if !slices.Contains(freezeReasons, reason) {
		reason = "other" // nobody's freeze fails for a word
	}
	f, err := s.c.Guard.Freeze(ctx, who.from, who.session.Account, reason)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.FreezeResponse{Protection: s.frozen(ctx, f), AlreadyFrozen: f.Already}), nil
}

// FreezeWithCode implements HolderService.
func (s holderService) FreezeWithCode(ctx context.Context, req *connect.Request[holdfastv1.FreezeWithCodeRequest]) (*connect.Response[holdfastv1.FreezeWithCodeResponse], error) {
	f, err := s.c.Guard.FreezeByCode(ctx, callerOf(ctx).from, req.Msg.GetMail(), req.Msg.GetCode())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.FreezeWithCodeResponse{Protection: outside(s.frozen(ctx, f)), AlreadyFrozen: f.Already}), nil
}

// RequestFreezeLink implements HolderService.
func (s holderService) RequestFreezeLink(ctx context.Context, req *connect.Request[holdfastv1.RequestFreezeLinkRequest]) (*connect.Response[holdfastv1.RequestFreezeLinkResponse], error) {
	if err := s.c.Guard.RequestLink(ctx, callerOf(ctx).from, req.Msg.GetMail()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.RequestFreezeLinkResponse{}), nil
}

// FreezeWithLink implements HolderService.
func (s holderService) FreezeWithLink(ctx context.Context, req *connect.Request[holdfastv1.FreezeWithLinkRequest]) (*connect.Response[holdfastv1.FreezeWithLinkResponse], error) {
	f, err := s.c.Guard.FreezeByLink(ctx, callerOf(ctx).from, req.Msg.GetToken())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.FreezeWithLinkResponse{Protection: outside(s.frozen(ctx, f)), AlreadyFrozen: f.Already}), nil
}

// frozen returns the protection after a press. The freeze is acknowledged by now, so a reading that
// fails must not look like a freeze that did.
func (s holderService) frozen(ctx context.Context, f guard.Frozenness) *holdfastv1.Protection {
	p, err := s.c.Guard.Protection(ctx, f.Account)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "frozen, but the protection could not be read", slog.String("request", requestOf(ctx).id), slog.Any("error", err))
		return &holdfastv1.Protection{AccountId: string(f.Account), Epoch: f.Epoch, Frozen: true}
	}
	return protection(p)
}

// GetStatus implements HolderService.
func (s holderService) GetStatus(ctx context.Context, _ *connect.Request[holdfastv1.GetStatusRequest]) (*connect.Response[holdfastv1.GetStatusResponse], error) {
	session := callerOf(ctx).session
	p, err := s.c.Guard.Protection(ctx, session.Account)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.GetStatusResponse{Protection: protection(p), Protective: session.Mode == permit.Protective}), nil
}

// ChangePassword implements HolderService.
func (s holderService) ChangePassword(ctx context.Context, req *connect.Request[holdfastv1.ChangePasswordRequest]) (*connect.Response[holdfastv1.ChangePasswordResponse], error) {
	who := callerOf(ctx)
	done, err := s.c.Accounts.ChangePassword(ctx, who.from, who.session.Account, account.PasswordChange{
		Current: req.Msg.GetCurrent(), Code: req.Msg.GetMailedCode(), Next: req.Msg.GetNext(),
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.ChangePasswordResponse{SessionsEnded: done.SessionsEnded, KeysLeft: done.KeysLeft}), nil
}

// ListDevices implements HolderService.
func (s holderService) ListDevices(ctx context.Context, _ *connect.Request[holdfastv1.ListDevicesRequest]) (*connect.Response[holdfastv1.ListDevicesResponse], error) {
	session := callerOf(ctx).session
	devices, err := s.c.Accounts.Devices(ctx, session.Account, session.ID)
	if err != nil {
		return nil, err
	}
	out := &holdfastv1.ListDevicesResponse{}
	for _, d := range devices {
		out.Devices = append(out.Devices, &holdfastv1.Device{
			DeviceId: d.ID, Name: d.Name, Browser: d.Browser, System: d.System, Address: d.Address, Place: d.Place,
			FirstSeen: stamp(d.FirstSeen), LastSeen: stamp(d.LastSeen), ThisDevice: d.This,
		})
	}
	return connect.NewResponse(out), nil
}

// RemoveDevice implements HolderService.
func (s holderService) RemoveDevice(ctx context.Context, req *connect.Request[holdfastv1.RemoveDeviceRequest]) (*connect.Response[holdfastv1.RemoveDeviceResponse], error) {
	who := callerOf(ctx)
	if err := s.c.Accounts.RemoveDevice(ctx, who.from, who.session.Account, req.Msg.GetDeviceId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.RemoveDeviceResponse{}), nil
}

// RemoveAllDevices implements HolderService.
func (s holderService) RemoveAllDevices(ctx context.Context, req *connect.Request[holdfastv1.RemoveAllDevicesRequest]) (*connect.Response[holdfastv1.RemoveAllDevicesResponse], error) {
	who := callerOf(ctx)
	removed, err := s.c.Accounts.RemoveAllDevices(ctx, who.from, who.session.Account, req.Msg.GetKeepThis())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.RemoveAllDevicesResponse{Removed: removed}), nil
}

// CreateKey implements HolderService.
func (s holderService) CreateKey(ctx context.Context, req *connect.Request[holdfastv1.CreateKeyRequest]) (*connect.Response[holdfastv1.CreateKeyResponse], error) {
	who, m := callerOf(ctx), req.Msg
	expires, err := moment(m.GetExpiresAt())
	if err != nil {
		return nil, err
	}
	made, err := s.c.Accounts.CreateKey(ctx, who.from, who.session.Account, account.NewKey{
		Label: m.GetLabel(), Kind: account.KeyKind(m.GetKind()), PublicKey: m.GetPublicKey(), Scopes: m.GetScopes(),
		Addresses: m.GetAddresses(), ExpiresAt: expires, Password: m.GetPassword(),
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.CreateKeyResponse{
		Key: key(made.Key), Secret: made.Secret.Reveal(), WithdrawsFrom: stamp(made.Key.WithdrawFrom),
	}), nil
}

// ListKeys implements HolderService.
func (s holderService) ListKeys(ctx context.Context, _ *connect.Request[holdfastv1.ListKeysRequest]) (*connect.Response[holdfastv1.ListKeysResponse], error) {
	keys, err := account.ListKeys(ctx, s.c.DB, callerOf(ctx).session.Account)
	if err != nil {
		return nil, err
	}
	out := &holdfastv1.ListKeysResponse{}
	for _, k := range keys {
		out.Keys = append(out.Keys, key(k))
	}
	return connect.NewResponse(out), nil
}

func key(k account.Key) *holdfastv1.Key {
	out := &holdfastv1.Key{
		KeyId: k.ID, Label: k.Label, Kind: string(k.Kind), Scopes: k.Scopes, CreatedAt: stamp(k.CreatedAt), ExpiresAt: stamp(k.ExpiresAt),
		LastUsedAt: stamp(k.LastUsedAt), LastUsedAddress: k.LastAddress, State: k.State,
	}
	for _, p := range k.Addresses {
		out.Addresses = append(out.Addresses, p.String())
	}
	return out
}

// DeleteKey implements HolderService.
func (s holderService) DeleteKey(ctx context.Context, req *connect.Request[holdfastv1.DeleteKeyRequest]) (*connect.Response[holdfastv1.DeleteKeyResponse], error) {
	who := callerOf(ctx)
	if err := s.c.Accounts.DeleteKey(ctx, who.from, who.session.Account, req.Msg.GetKeyId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.DeleteKeyResponse{}), nil
}

// DeleteAllKeys implements HolderService.
func (s holderService) DeleteAllKeys(ctx context.Context, _ *connect.Request[holdfastv1.DeleteAllKeysRequest]) (*connect.Response[holdfastv1.DeleteAllKeysResponse], error) {
	who := callerOf(ctx)
	deleted, err := s.c.Accounts.DeleteAllKeys(ctx, who.from, who.session.Account)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&holdfastv1.DeleteAllKeysResponse{Deleted: deleted}), nil
}
