package account

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"holdfast/fault"
	"holdfast/store"
)

// KeyKind is how an API key signs.
type KeyKind string

// The kinds of keys.
const (
	HMAC    KeyKind = "hmac-sha256"
	Ed25519 KeyKind = "ed25519"
)

// Scopes of a key, in the order in which they are kept.
const (
	Read     = "read"
	Trade    = "trade"
	Withdraw = "withdraw"
)

var allScopes = []string{Read, Trade, Withdraw}

// Key is an API key.
type Key struct {
	ID      string
	Account ID
	Kind    KeyKind
	// Material is the sealed secret of an HMAC key, or the 32 bytes of an Ed25519 public key.
	Material []byte
	Label    string
	Scopes   []string
	// Addresses are where it may be used from; none is anywhere.
	Addresses []netip.Prefix
	Epoch     int64
	CreatedAt time.Time
	// WithdrawFrom is when the scope withdraw begins to count; zero without that scope.
	WithdrawFrom time.Time
	// ExpiresAt is zero for never.
	ExpiresAt   time.Time
	LastUsedAt  time.Time // zero for never; to the minute
	LastAddress string
	// State is "live", "suspended" by a freeze, or "expired".
	State string
}

// Allows reports whether the key may be used from the address. A key with a list refuses an address
// that nobody named. It is pure.
func (k Key) Allows(addr netip.Addr) bool {
	if len(k.Addresses) == 0 {
		return true
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(k.Addresses, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Covers reports whether the key has the scope.
func (k Key) Covers(scope string) bool { return slices.Contains(k.Scopes, scope) }

// Verify reports whether the signature over the signed bytes was made with the key: 32 bytes of
// HMAC-SHA256 (RFC 2104), or 64 of Ed25519 (RFC 8032). The key decides which, never the request. An
// error means that the secret could not be read.
func (k Key) Verify(keys *store.Keyset, signed, signature []byte) (bool, error) {
	switch k.Kind {
	case HMAC:
		secret, err := keys.Open(sealKey+k.ID, string(k.Account), k.Material)
		if err != nil {
			return false, err
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(signed)
		return hmac.Equal(mac.Sum(nil), signature), nil
	case Ed25519:
		if len(k.Material) != ed25519.PublicKeySize {
			return false, fmt.Errorf("account: the public key of %s has %d bytes", k.ID, len(k.Material))
		}
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(k.Material, signed, signature), nil
	default:
		return false, fmt.Errorf("account: key %s is of no known kind", k.ID)
	}
}

const (
	sealKey   = "api_key "
	keyPrefix = "hfk_" // lets people and scanners of leaked secrets tell what they found
	keyChance = 16
)

// newKeyID makes a key id: 47 characters that are safe in URLs and headers. It names the account, so
// that looking the key up begins there. It is not a secret.
func newKeyID(id ID) (string, error) {
	name, err := uuid.Parse(string(id))
	if err != nil {
		return "", fmt.Errorf("account id: %w", err)
	}
	raw := make([]byte, 16+keyChance)
	copy(raw, name[:])
	_, _ = rand.Read(raw[16:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	return keyPrefix + base64.RawURLEncoding.EncodeToString(raw), nil
}

// ParseKeyID returns the account that a key id names. Whether there is such a key is not said.
func ParseKeyID(key string) (ID, error) {
	text, ok := strings.CutPrefix(key, keyPrefix)
	if !ok || len(text) != base64.RawURLEncoding.EncodedLen(16+keyChance) {
		return "", errKey()
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != 16+keyChance {
		return "", errKey()
	}
	return ID(uuid.UUID(raw[:16]).String()), nil
}

func errKey() error { return fault.New(fault.NotFound, "unknown_key", "There is no such key.") }

// ParsePublicKey reads an Ed25519 public key: PEM with a SubjectPublicKeyInfo (RFC 8410), or its
// 32 bytes in base64 of either alphabet.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	refuse := fault.New(fault.Invalid, "public_key", "That is not an Ed25519 public key. Paste the PEM text that begins with -----BEGIN PUBLIC KEY-----, or the 32 bytes of the key in base64.")
	if len(text) > 2048 {
		return nil, refuse
	}
	text = strings.TrimSpace(text)
	if strings.Contains(text, "PRIVATE KEY") {
		return nil, fault.New(fault.Invalid, "private_key", "That is a private key. Keep it to yourself: make a new pair, and paste the public one.")
	}
	if strings.HasPrefix(text, "-----BEGIN ") {
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) > 0 {
			return nil, refuse
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, refuse
		}
		return key, nil
	}
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	raw, err := base64.RawStdEncoding.Strict().DecodeString(plain)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, refuse
	}
	return raw, nil
}

// maxAddresses bounds a key's list: it is read at every request.
const maxAddresses = 50

// ParseAddresses reads a list of addresses and prefixes. Each comes back masked, each once, in
// order. A prefix of everything is refused: it would be a list that is none.
func ParseAddresses(list []string) ([]netip.Prefix, error) {
	if len(list) > maxAddresses {
		return nil, fault.New(fault.Invalid, "address_list", fmt.Sprintf("A key takes at most %d addresses.", maxAddresses))
	}
	var out []netip.Prefix
	for _, text := range list {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		refuse := fault.New(fault.Invalid, "address_list", fmt.Sprintf("%.64q is not an address. Write one such as 203.0.113.7, or a range such as 203.0.113.0/24.", text))
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" {
				return nil, refuse
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if prefix.Addr().Is4In6() {
			if prefix.Bits() < 96 {
				return nil, refuse
			}
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		least := 8
		if prefix.Addr().Is6() {
			least = 16
		}
		if prefix.Bits() < least {
			return nil, fault.New(fault.Invalid, "address_wide", fmt.Sprintf("%s lets in too much of the internet to protect anything. Use a range of /%d or narrower.", text, least))
		}
		out = append(out, prefix.Masked())
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out), nil
}

func joinAddresses(list []netip.Prefix) string {
	var words []string
	for _, p := range list {
		words = append(words, p.String())
	}
	return strings.Join(words, ",")
}

// ReadAddresses reads a key's list as it is kept. One that cannot be read is an error: an empty one
// would let everybody in.
func ReadAddresses(text string) ([]netip.Prefix, error) {
	if text == "" {
		return nil, nil
	}
	var out []netip.Prefix
	for word := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, fmt.Errorf("address list: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

// ParseScopes brings scopes into their order, each once. An unknown one is refused, and so is none.
func ParseScopes(list []string) ([]string, error) {
	var out []string
	for _, s := range allScopes {
		if slices.Contains(list, s) {
			out = append(out, s)
		}
	}
	for _, s := range list {
		if !slices.Contains(allScopes, s) {
			return nil, fault.New(fault.Invalid, "scope", fmt.Sprintf("%.32q is not something a key can be allowed. Choose among read, trade and withdraw.", s))
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "scope", "Choose what the key may do: read, trade or withdraw.")
	}
	return out, nil
}
