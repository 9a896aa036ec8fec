package account

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"

	"github.com/google/uuid"

	"holdfast/fault"
)

// Secret is a text that must not be printed. It prints as [redacted]; Reveal gives it to the one
// who is to have it.
type Secret string

// String keeps the secret out of logs.
func (Secret) String() string { return "[redacted]" }

// GoString keeps the secret out of %#v.
func (Secret) GoString() string { return "[redacted]" }

// LogValue keeps the secret out of structured logs.
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON keeps the secret out of JSON that was made of a whole struct.
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal("[redacted]") }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// TokenKind separates tokens, so that one found in a cookie is worth nothing in a link.
type TokenKind string

// The kinds of tokens.
const (
	SessionToken  TokenKind = "session"
	RememberToken TokenKind = "remember"
	LinkToken     TokenKind = "link"
	HandOverToken TokenKind = "handover"
)

const (
	tokenSecret = 32 // bytes of chance in a token
	tokenBytes  = 16 + tokenSecret
)

// newToken makes a token of the account and the hash by which it is recognised. A token is 64
// characters of base64url: the account's id, so that looking it up begins with the account, and
// 256 random bits.
func newToken(kind TokenKind, id ID) (Secret, []byte, error) {
	name, err := uuid.Parse(string(id))
	if err != nil {
		return "", nil, err
	}
	raw := make([]byte, tokenBytes)
	copy(raw, name[:])
	_, _ = rand.Read(raw[16:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	return Secret(base64.RawURLEncoding.EncodeToString(raw)), tokenHash(kind, raw), nil
}

// ParseToken returns the account that a token names and the hash by which its row is found. A
// token that cannot be one is refused as unknown.
func ParseToken(kind TokenKind, token string) (ID, []byte, error) {
	if len(token) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return "", nil, errToken()
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != tokenBytes {
		return "", nil, errToken()
	}
	return ID(uuid.UUID(raw[:16]).String()), tokenHash(kind, raw), nil
}

func errToken() error {
	return fault.New(fault.Denied, "unknown_token", "This is not known here, or does not work any more.")
}

// tokenHash needs no key and no slowness: 256 random bits cannot be tried out.
func tokenHash(kind TokenKind, raw []byte) []byte {
	sum := sha256.New()
	sum.Write([]byte("holdfast " + string(kind) + "\x00"))
	sum.Write(raw)
	return sum.Sum(nil)
}
