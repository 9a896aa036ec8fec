package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"holdfast/account"
	holdfastv1 "holdfast/api/holdfast/v1"
	c "holdfast/api/holdfast/v1/holdfastv1connect"
	"holdfast/evidence"
	"holdfast/fault"
)

// need is what a method asks of its caller.
type need struct {
	scope  string // a service key with this scope
	holder bool   // a holder's session
	public bool   // nothing: a person who is not signed in calls it
	stream bool
}

// needs names every method there is. One that is missing is refused.
var needs = map[string]need{
	c.GuardServiceCheckProcedure:             {scope: account.ScopeGuard},
	c.GuardServiceAuthenticateProcedure:      {scope: account.ScopeGuard},
	c.GuardServiceRequestWithdrawalProcedure: {scope: account.ScopeGuard},
	c.GuardServiceConfirmWithdrawalProcedure: {scope: account.ScopeGuard},
	c.GuardServiceSettleWithdrawalProcedure:  {scope: account.ScopeGuard},
	c.GuardServiceFailWithdrawalProcedure:    {scope: account.ScopeGuard},
	c.GuardServiceGetWithdrawalProcedure:     {scope: account.ScopeGuard},
	c.GuardServiceFollowProcedure:            {scope: account.ScopeGuard, stream: true},
	c.GuardServiceSubmitReceiptProcedure:     {scope: account.ScopeGuard},
	c.GuardServiceRegisterEnforcerProcedure:  {scope: account.ScopeGuard},
	c.GuardServiceListExitsProcedure:         {scope: account.ScopeGuard},

	c.AccountServiceRegisterAccountProcedure:    {scope: account.ScopeAccounts},
	c.AccountServiceRegisterCredentialProcedure: {scope: account.ScopeAccounts},
	c.AccountServiceEndCredentialProcedure:      {scope: account.ScopeAccounts},
	c.AccountServiceGetProtectionProcedure:      {scope: account.ScopeAccounts},

	c.SignInServiceRedeemProcedure:     {scope: account.ScopeSignIn},
	c.SignInServiceEndSessionProcedure: {scope: account.ScopeSignIn},

	c.LedgerServiceReportMovementsProcedure: {scope: account.ScopeLedger},

	c.HolderServiceSignInProcedure:            {public: true},
	c.HolderServiceFreezeWithCodeProcedure:    {public: true},
	c.HolderServiceRequestFreezeLinkProcedure: {public: true},
	c.HolderServiceFreezeWithLinkProcedure:    {public: true},
	c.HolderServiceSignOutProcedure:           {holder: true},
	c.HolderServiceFreezeProcedure:            {holder: true},
	c.HolderServiceGetStatusProcedure:         {holder: true},
	c.HolderServiceChangePasswordProcedure:    {holder: true},
	c.HolderServiceListDevicesProcedure:       {holder: true},
	c.HolderServiceRemoveDeviceProcedure:      {holder: true},
	c.HolderServiceRemoveAllDevicesProcedure:  {holder: true},
	c.HolderServiceCreateKeyProcedure:         {holder: true},
	c.HolderServiceListKeysProcedure:          {holder: true},
	c.HolderServiceDeleteKeyProcedure:         {holder: true},
	c.HolderServiceDeleteAllKeysProcedure:     {holder: true},
}

func streams(path string) bool { return needs[path].stream }

// caller is who calls, as admit found out.
type caller struct {
	key     account.ServiceKey // of an integrator
	session account.Session    // of a holder
	from    evidence.Actor     // where a holder or a stranger is
}

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	who, _ := ctx.Value(callerKey{}).(caller)
	return who
}

// admit runs before the message is read. It finds out who calls, and refuses whoever may not.
func (a *API) admit(ctx context.Context, spec connect.Spec, _ connect.Peer, header http.Header) (context.Context, error) {
	looking, cancel := context.WithTimeout(ctx, a.c.Timeout)
	defer cancel()
	who, err := a.whoCalls(looking, needs[spec.Procedure], header)
	if err != nil {
		return nil, fail(ctx, err)
	}
	return context.WithValue(ctx, callerKey{}, who), nil
}

func (a *API) whoCalls(ctx context.Context, n need, header http.Header) (caller, error) {
	r := requestOf(ctx)
	var who caller
	var err error
	switch {
	case n.public:
		who.from = a.c.Accounts.From(r.address, header.Get("User-Agent"))
	case n.holder:
		who.from = a.c.Accounts.From(r.address, header.Get("User-Agent"))
		if who.session, err = a.c.Accounts.Session(ctx, bearer(header), who.from); err != nil {
			return who, err
		}
		who.from = who.session.Actor(who.from)
		r.actor = who.from.Name()
	case n.scope != "":
		if who.key, err = a.serviceKey(ctx, bearer(header)); err != nil {
			return who, err
		}
		r.actor = who.key.Actor().Name()
		if !who.key.Covers(n.scope) {
			err = fault.New(fault.Denied, "scope", fmt.Sprintf("This service key does not have the scope %q.", n.scope))
		}
	default:
		err = errors.New("this method is not in the table of needs")
	}
	return who, err
}

// bearer returns the token of the Authorization header (RFC 6750 section 2.1), empty without one.
func bearer(header http.Header) string {
	values := header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

const (
	audience    = "holdfast"
	tokenLife   = 5 * time.Minute
	tokenLeeway = 30 * time.Second
	tokenBytes  = 4096
)

// errToken answers for every token that does not count, whyever. The reason goes to the log: to a
// stranger it would tell which keys there are.
func errToken(why error) error {
	return fault.Wrap(fault.Denied, "unauthenticated", "This call carries no service token that counts: it may be missing, expired, made for somebody else or signed with a key that is not in use.", why)
}

// serviceKey returns the key that signed a token, as the database knows it now. A token is a JWT
// (RFC 7519) that the service makes itself: alg EdDSA, kid the key's id, iss the service's name,
// aud "holdfast", iat and exp at most five minutes apart, and a jti.
func (a *API) serviceKey(ctx context.Context, token string) (account.ServiceKey, error) {
	key, why := a.verifyToken(ctx, token)
	if why == nil {
		return key, nil
	}
	if fault.KindOf(why) == fault.Internal && !errors.Is(why, errBadToken) {
		return account.ServiceKey{}, why // could not look is not "unknown"
	}
	a.log.LogAttrs(ctx, slog.LevelWarn, "service token refused", slog.String("request", requestOf(ctx).id), slog.Any("error", why))
	return account.ServiceKey{}, errToken(why)
}

var errBadToken = errors.New("bad token")

func (a *API) verifyToken(ctx context.Context, token string) (account.ServiceKey, error) {
	var none account.ServiceKey
	if token == "" || len(token) > tokenBytes {
		return none, fmt.Errorf("%w: %d bytes", errBadToken, len(token))
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return none, fmt.Errorf("%w: %w", errBadToken, err)
	}
	if len(parsed.Headers) != 1 {
		return none, fmt.Errorf("%w: %d signatures", errBadToken, len(parsed.Headers))
	}
	key, err := account.FindServiceKey(ctx, a.c.DB, parsed.Headers[0].KeyID)
	if err != nil {
		return none, err
	}
	if !key.RemovedAt.IsZero() {
		return none, fmt.Errorf("%w: the key %s was removed", errBadToken, key.ID)
	}
	var claims jwt.Claims
	if err := parsed.Claims(key.Public, &claims); err != nil {
		return none, fmt.Errorf("%w: %w", errBadToken, err)
	}
	switch {
	case claims.Issuer != key.Service:
		return none, fmt.Errorf("%w: issued by %q with a key of %s", errBadToken, claims.Issuer, key.Service)
	case len(claims.Audience) != 1 || claims.Audience[0] != audience:
		return none, fmt.Errorf("%w: made for %q", errBadToken, []string(claims.Audience))
	case claims.Expiry == nil || claims.IssuedAt == nil || claims.ID == "":
		return none, fmt.Errorf("%w: without iat, exp or jti", errBadToken)
	}
	if life := claims.Expiry.Time().Sub(claims.IssuedAt.Time()); life <= 0 || life > tokenLife {
		return none, fmt.Errorf("%w: lives for %s", errBadToken, life)
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Time: a.c.DB.Now()}, tokenLeeway); err != nil {
		return none, fmt.Errorf("%w: %w", errBadToken, err)
	}
	return key, nil
}

// keyCounts reports, by an error, when a stream's key was removed meanwhile.
func (a *API) keyCounts(ctx context.Context, key account.ServiceKey) error {
	now, err := account.FindServiceKey(ctx, a.c.DB, key.ID)
	if err == nil && !now.RemovedAt.IsZero() {
		err = errToken(errBadToken)
	}
	return err
}

// integrator returns the service that calls, acting for a client at the origin that it names.
func (a *API) integrator(ctx context.Context, origin *holdfastv1.Origin) (evidence.Actor, error) {
	address := ""
	if text := origin.GetAddress(); text != "" {
		at, err := netip.ParseAddr(text)
		if err != nil {
			return evidence.Actor{}, fault.New(fault.Invalid, "origin", fmt.Sprintf("%.64q is not an IP address.", text))
		}
		address = at.Unmap().WithZone("").String()
	}
	from := a.c.Accounts.From(address, origin.GetUserAgent())
	by := callerOf(ctx).key.Actor()
	by.Address, by.Agent, by.Place = from.Address, from.Agent, from.Place
	return by, nil
}
