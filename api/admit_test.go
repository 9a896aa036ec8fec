package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/go-jose/go-jose/v4"
	"google.golang.org/protobuf/reflect/protoreflect"

	"holdfast/account"
	holdfastv1 "holdfast/api/holdfast/v1"
)

// claims are what a service writes into a token; changed by tests.
type claims map[string]any

func good(k account.ServiceKey) claims {
	now := time.Now()
	return claims{"iss": k.Service, "aud": "holdfast", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": "one"}
}

// sign makes a token with go-jose, so that the client's own is not the only maker that is tested.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, c claims, options *jose.SignerOptions) string {
	t.Helper()
	if options == nil {
		options = &jose.SignerOptions{}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, options.WithType("JWT"))
	must(t, err)
	body, err := json.Marshal(c)
	must(t, err)
	signed, err := signer.Sign(body)
	must(t, err)
	text, err := signed.CompactSerialize()
	must(t, err)
	return text
}

func TestTokensThatDoNotCount(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, k := w.service("exchange")
		_, other := w.service("wallet")
		mine, theirs := private(t, k).Private, private(t, other).Private
		with := func(change claims) string {
			c := good(k)
			for name, value := range change {
				if c[name] = value; value == nil {
					delete(c, name)
				}
			}
			return sign(t, jose.EdDSA, mine, k.ID, c, nil)
		}
		right := with(nil)
		if status, _, _ := w.postJSON("GuardService/ListExits", right, `{}`); status != http.StatusOK {
			t.Fatalf("the right token: %d", status)
		}
		now := time.Now()
		at := func(d time.Duration) int64 { return now.Add(d).Unix() }
		if status, _, _ := w.postJSON("GuardService/ListExits", with(claims{"iat": at(20 * time.Second), "exp": at(2 * time.Minute)}), `{}`); status != http.StatusOK {
			t.Errorf("a clock that is 20 s ahead: %d", status)
		}
		removed, err := account.AddService(t.Context(), w.door, operator, "exchange", []string{"guard"}, nil)
		must(t, err)
		must(t, account.RemoveServiceKey(t.Context(), w.door, operator, removed.ID))
		head, rest, _ := strings.Cut(right, ".")
		body, signature, _ := strings.Cut(rest, ".")
		embedded := (&jose.SignerOptions{}).WithHeader("jwk", jose.JSONWebKey{Key: theirs.Public()})
		var said string
		for name, token := range map[string]string{
			"none":                       "",
			"not a token":                "hello",
			"too long":                   strings.Repeat("x", 5000),
			"without signature":          head + "." + body + ".",
			"other signature":            head + "." + body + "." + strings.Repeat("A", len(signature)),
			"alg none":                   "eyJhbGciOiJub25lIn0." + body + ".",
			"alg HMAC, public key":       sign(t, jose.HS256, []byte(k.Public), k.ID, good(k), nil),
			"signed by another key":      sign(t, jose.EdDSA, theirs, k.ID, good(k), nil),
			"key in the header":          sign(t, jose.EdDSA, theirs, k.ID, good(k), embedded),
			"unknown key id":             sign(t, jose.EdDSA, mine, "hfs_unknown", good(k), nil),
			"no key id":                  sign(t, jose.EdDSA, mine, "", good(k), nil),
			"removed key":                sign(t, jose.EdDSA, private(t, removed).Private, removed.ID, good(removed), nil),
			"in another service's name":  with(claims{"iss": "wallet"}),
			"for another audience":       with(claims{"aud": "https://bank.example"}),
			"for two audiences":          with(claims{"aud": []string{"holdfast", "bank"}}),
			"for nobody":                 with(claims{"aud": nil}),
			"expired":                    with(claims{"iat": at(-10 * time.Minute), "exp": at(-6 * time.Minute)}),
			"from the future":            with(claims{"iat": at(time.Minute), "exp": at(2 * time.Minute)}),
			"not yet":                    with(claims{"nbf": at(time.Minute)}),
			"lives too long":             with(claims{"exp": at(6 * time.Minute)}),
			"ends before it begins":      with(claims{"iat": at(20 * time.Second), "exp": at(10 * time.Second)}),
			"never ends":                 with(claims{"exp": nil}),
			"never began":                with(claims{"iat": nil}),
			"without id":                 with(claims{"jti": nil}),
			"times are words":            with(claims{"exp": "tomorrow"}),
			"body is no claims":          sign(t, jose.EdDSA, mine, k.ID, nil, nil),
			"a holder's session":         w.join(mail).session.Token.Reveal(),
			"right, with a second after": right + " " + right,
		} {
			status, header, answer := w.postJSON("GuardService/ListExits", token, `{}`)
			if status != http.StatusUnauthorized || header.Get("Holdfast-Code") != "unauthenticated" || answer["code"] != "unauthenticated" {
				t.Errorf("%s: %d %v", name, status, answer)
				continue
			}
			if message, _ := answer["message"].(string); said == "" {
				said = message
			} else if message != said {
				t.Errorf("%s: told apart by %q", name, message)
			}
		}
		if strings.Contains(w.log.String(), right) {
			t.Error("a token is in the log")
		}
	})
}

func TestARemovedKeyStopsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c, k := w.service("exchange")
		_, err := c.Guard.ListExits(t.Context(), ask(&holdfastv1.ListExitsRequest{}))
		must(t, err)
		second, err := account.AddService(t.Context(), w.door, operator, "exchange", []string{"guard"}, nil)
		must(t, err)
		must(t, account.RemoveServiceKey(t.Context(), w.door, operator, k.ID))
		_, err = c.Guard.ListExits(t.Context(), ask(&holdfastv1.ListExitsRequest{}))
		refused(t, err, connect.CodeUnauthenticated, "unauthenticated")
		_, err = w.client(second).Guard.ListExits(t.Context(), ask(&holdfastv1.ListExitsRequest{}))
		must(t, err)
	})
}

// TestEveryMethodHasItsScope calls every method of the contract with a key that has all scopes but
// one, with none at all, and as a holder.
func TestEveryMethodHasItsScope(t *testing.T) {
	scopes := map[protoreflect.Name]string{"GuardService": "guard", "AccountService": "accounts", "SignInService": "sign_in", "LedgerService": "ledger"}
	public := "SignIn FreezeWithCode RequestFreezeLink FreezeWithLink"
	each(t, func(t *testing.T, w *world) {
		without := map[string]string{}
		for _, scope := range account.ServiceScopes {
			var rest []string
			for _, other := range account.ServiceScopes {
				if other != scope {
					rest = append(rest, other)
				}
			}
			_, k := w.service("no-"+strings.ReplaceAll(scope, "_", "-"), rest...)
			without[scope] = sign(t, jose.EdDSA, private(t, k).Private, k.ID, good(k), nil)
		}
		session := w.join(mail).session.Token.Reveal()
		methods := 0
		for _, file := range []protoreflect.FileDescriptor{holdfastv1.File_holdfast_v1_guard_proto, holdfastv1.File_holdfast_v1_account_proto, holdfastv1.File_holdfast_v1_holder_proto} {
			for i := range file.Services().Len() {
				service := file.Services().Get(i)
				for j := range service.Methods().Len() {
					method := service.Methods().Get(j)
					methods++
					if method.IsStreamingServer() {
						continue // TestFollowNeedsTheScope
					}
					path := string(service.Name()) + "/" + string(method.Name())
					status, _, answer := w.postJSON(path, "", `{}`)
					if strings.Contains(" "+public+" ", " "+string(method.Name())+" ") && service.Name() == "HolderService" {
						if status == http.StatusUnauthorized || status >= 500 {
							t.Errorf("%s without a session: %d %v", path, status, answer)
						}
						continue
					}
					if status != http.StatusUnauthorized {
						t.Errorf("%s by nobody: %d %v", path, status, answer)
					}
					if service.Name() == "HolderService" {
						if status, _, answer := w.postJSON(path, without["guard"], `{}`); status != http.StatusUnauthorized {
							t.Errorf("%s with a service key: %d %v", path, status, answer)
						}
						continue
					}
					status, header, answer := w.postJSON(path, without[scopes[service.Name()]], `{}`)
					if status != http.StatusForbidden || header.Get("Holdfast-Code") != "scope" {
						t.Errorf("%s without its scope: %d %v", path, status, answer)
					}
					if status, _, answer := w.postJSON(path, session, `{}`); status != http.StatusUnauthorized {
						t.Errorf("%s with a holder's session: %d %v", path, status, answer)
					}
				}
			}
		}
		if methods < 30 {
			t.Errorf("only %d methods were found", methods)
		}
	})
}
