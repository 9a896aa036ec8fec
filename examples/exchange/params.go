package exchange

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// Limits on what a client may send.
const (
	maxQuery      = 8 << 10
	maxBody       = 32 << 10
	maxParameters = 64
)

// params are the parameters of one request, from its query string and its form body. The
// three ways in which clients place them (all in the body, all in the query, signature and
// timestamp in the query with the rest in the body) come out the same.
type params struct {
	values map[string]string
	// signed is what the client signed: the query without its signature, directly followed by
	// the body without its signature, byte for byte as they arrived. Nothing is decoded and
	// encoded again, so a client that signs before percent-encoding fails, as at Binance
	// since 2026-01-15.
	signed []byte
	// canonical is the same with every name and value encoded in the one way of JavaScript's
	// encodeURIComponent. Binance's own client signs this form and sends another (a space is
	// signed as %20 and sent as +), so a signature over it counts as well. It says the same:
	// different parameters never have the same canonical form.
	canonical []byte
	signature string
}

// parseParams reads a raw query and a raw form body. A name may occur only once in both
// together: with two values the signature would not say which one was meant.
func parseParams(query, body string) (*params, error) {
	if len(query) > maxQuery || len(body) > maxBody {
		return nil, errTooLarge
	}
	p := &params{values: map[string]string{}}
	n := 0
	for _, part := range []string{query, body} {
		var kept, canonical []string
		for pair := range strings.SplitSeq(part, "&") {
			rawName, rawValue, _ := strings.Cut(pair, "=")
			if rawName == "signature" {
				if _, twice := p.values["signature"]; twice {
					return nil, errRepeated
				}
			} else {
				kept = append(kept, pair)
			}
			if pair == "" {
				continue
			}
			if n++; n > maxParameters {
				return nil, errTooMany
			}
			name, err := url.QueryUnescape(rawName)
			if err != nil || !printable(name) {
				return nil, illegal("parameter name")
			}
			value, err := url.QueryUnescape(rawValue)
			if err != nil || !printable(value) {
				return nil, illegal(name)
			}
			if name == "" || name == "signature" && rawName != "signature" {
				return nil, illegal("parameter name")
			}
			if _, twice := p.values[name]; twice {
				return nil, errRepeated
			}
			p.values[name] = value
			if name != "signature" {
				canonical = append(canonical, encodeComponent(name)+"="+encodeComponent(value))
			}
		}
		p.signed = append(p.signed, strings.Join(kept, "&")...)
		p.canonical = append(p.canonical, strings.Join(canonical, "&")...)
	}
	p.signature = p.values["signature"]
	return p, nil
}

// encodeComponent is encodeURIComponent (ECMA-262, 19.2.6.4).
func encodeComponent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.!~*'()", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// printable reports whether s has no control characters and is valid UTF-8.
func printable(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == '\uFFFD' {
			return false
		}
	}
	return true
}

func (p *params) get(name string) string { return p.values[name] }

// need returns a mandatory parameter.
func (p *params) need(name string) (string, error) {
	v := p.values[name]
	if v == "" {
		return "", missing(name)
	}
	return v, nil
}

// amount returns a decimal parameter, zero when it is absent.
func (p *params) amount(name string) (Amount, error) {
	v := p.values[name]
	if v == "" {
		return Amount{}, nil
	}
	a, err := ParseAmount(v)
	if err != nil {
		return Amount{}, illegal(name)
	}
	return a, nil
}

// integer returns a whole number between low and high, or otherwise when it is absent.
func (p *params) integer(name string, otherwise, low, high int64) (int64, error) {
	v := p.values[name]
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < low || n > high {
		return 0, illegal(name)
	}
	return n, nil
}

const (
	defaultWindow = 5000
	maxWindow     = 60000
	// maxAhead is how far a client's clock may run before ours.
	maxAhead = time.Second
)

// checkTime applies Binance's rule: the timestamp may be at most one second ahead, and at
// most recvWindow behind. It returns when the request was sent and how long it stays valid.
func (p *params) checkTime(now time.Time) (sent, until time.Time, err error) {
	raw, err := p.need("timestamp")
	if err != nil {
		return sent, until, err
	}
	if len(raw) > 16 {
		return sent, until, illegal("timestamp")
	}
	stamp, err := strconv.ParseInt(raw, 10, 64)
	if err != nil || stamp <= 0 {
		return sent, until, illegal("timestamp")
	}
	window, _, _ := strings.Cut(p.get("recvWindow"), ".") // thousandths of a millisecond are allowed and ignored
	allowed := int64(defaultWindow)
	if window != "" {
		if allowed, err = strconv.ParseInt(window, 10, 64); err != nil || allowed < 0 {
			return sent, until, illegal("recvWindow")
		}
		if allowed > maxWindow {
			return sent, until, errWindow
		}
	}
	sent = time.UnixMilli(stamp)
	if stamp > 1e14 { // microseconds, which Binance takes too
		sent = time.UnixMicro(stamp)
	}
	if sent.After(now.Add(maxAhead)) {
		return sent, until, errClockAhead
	}
	until = sent.Add(time.Duration(allowed) * time.Millisecond)
	if now.After(until) {
		return sent, until, errClockBehind
	}
	return sent, until, nil
}

// decodeSignature reads a signature by its form: 64 hexadecimal digits are an HMAC-SHA256,
// 88 base64 characters an Ed25519 signature. Which algorithm counts is the key's matter.
func decodeSignature(s string) ([]byte, error) {
	switch len(s) {
	case hex.EncodedLen(sha256.Size):
		if b, err := hex.DecodeString(s); err == nil {
			return b, nil
		}
	case base64.StdEncoding.EncodedLen(64):
		if b, err := base64.StdEncoding.Strict().DecodeString(s); err == nil && len(b) == 64 {
			return b, nil
		}
	}
	return nil, errSignature
}

// validKeyID keeps nonsense away from Holdfast.
func validKeyID(s string) bool {
	if len(s) < 8 || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// authenticateRequest is what Holdfast is asked about a signed request.
func (p *params) authenticateRequest(keyID, exit string, origin *holdfastv1.Origin) (*holdfastv1.AuthenticateRequest, error) {
	if keyID == "" || !validKeyID(keyID) {
		return nil, errKeyFormat
	}
	if p.signature == "" {
		return nil, missing("signature")
	}
	signature, err := decodeSignature(p.signature)
	if err != nil {
		return nil, err
	}
	return &holdfastv1.AuthenticateRequest{KeyId: keyID, Signed: p.signed, Signature: signature, Exit: exit, Origin: origin}, nil
}
