package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
)

const (
	passwordLeast = 12
	passwordMost  = 256 // bytes; longer ones would only serve to keep our hashers busy
)

// CheckPassword refuses a password that could be guessed: the fault's sentences say everything
// that is missing, its code names the first. mail is the holder's address; a password that contains
// it is refused.
func CheckPassword(password, mail string) error {
	if len(password) > passwordMost {
		return fault.New(fault.Invalid, "password_long", fmt.Sprintf("That is %d bytes. Use at most %d.", len(password), passwordMost))
	}
	if !utf8.ValidString(password) {
		return fault.New(fault.Invalid, "password_form", "That password has characters that cannot be read. Type it again.")
	}
	password = norm.NFC.String(password)
	var upper, lower, digit, symbol bool
	count := 0
	for _, r := range password {
		count++
		switch {
		case unicode.IsUpper(r):
			upper = true
		case unicode.IsLower(r):
			lower = true
		case unicode.IsDigit(r):
			digit = true
		case !unicode.IsLetter(r):
			symbol = true
		}
	}
	var code string
	var say []string
	refuse := func(bad bool, c, sentence string) {
		if bad {
			if code == "" {
				code = c
			}
			say = append(say, sentence)
		}
	}
	length := fmt.Sprintf("That is %d characters.", count)
	if count == 1 {
		length = "That is 1 character."
	}
	refuse(count < passwordLeast, "password_short", fmt.Sprintf("%s Use at least %d, so that it cannot be guessed.", length, passwordLeast))
	refuse(!upper, "password_upper", "Add an upper-case letter, such as A.")
	refuse(!lower, "password_lower", "Add a lower-case letter, such as a.")
	refuse(!digit, "password_digit", "Add a digit, such as 7.")
	refuse(!symbol, "password_symbol", "Add a symbol, such as ! or #.")
	refuse(containsMail(password, mail), "password_mail", "Leave your mail address out of it: that is the first thing a thief tries.")
	if code == "" {
		return nil
	}
	return fault.New(fault.Invalid, code, strings.Join(say, " "))
}

// containsMail reports whether the password has the address in it, or the part before the @ when
// that is long enough to matter.
func containsMail(password, mail string) bool {
	mail, err := NormaliseMail(mail)
	if err != nil {
		return false
	}
	password = strings.ToLower(password)
	local, _, _ := strings.Cut(mail, "@")
	return strings.Contains(password, mail) || len(local) >= 5 && strings.Contains(password, local)
}

// Cost is the work of one argon2id hash (RFC 9106).
type Cost struct {
	Memory uint32 // KiB
	Passes uint32
	Lanes  uint8
}

const (
	saltBytes = 16
	hashBytes = 32
)

// hasher hashes passwords, a few at a time. Hashing costs memory by design, so an unbounded number
// at once would let anybody stop the server with sign-ins.
type hasher struct {
	cost    Cost
	waiting chan struct{} // a place in the queue, or at work
	working chan struct{}
	count   atomic.Int64
}

func newHasher(c Config) *hasher {
	return &hasher{cost: c.Cost, waiting: make(chan struct{}, c.Hashers+c.HashQueue), working: make(chan struct{}, c.Hashers)}
}

// enter takes a place at work and returns how to leave it. A full queue is a fault of kind TooMany
// at once: whoever waits longer than that has gone.
func (h *hasher) enter(ctx context.Context) (func(), error) {
	select {
	case h.waiting <- struct{}{}:
	default:
		return nil, fault.New(fault.TooMany, "busy", "We are busy. Nothing was changed. Try again in a few seconds.")
	}
	select {
	case h.working <- struct{}{}:
		return func() { <-h.working; <-h.waiting }, nil
	case <-ctx.Done():
		<-h.waiting
		return nil, ctx.Err()
	}
}

// make hashes a new password.
func (h *hasher) make(ctx context.Context, password string) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	return h.of(password)
}

func (h *hasher) of(password string) (string, error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails: https://pkg.go.dev/crypto/rand#Read
	sum := h.sum(password, salt, h.cost)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.Memory, h.cost.Passes, h.cost.Lanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum)), nil
}

func (h *hasher) sum(password string, salt []byte, c Cost) []byte {
	h.count.Add(1)
	return argon2.IDKey([]byte(hashForm(password)), salt, c.Passes, c.Memory, c.Lanes, hashBytes)
}

// hashForm is the form of a password that is hashed: NFC, so that two keyboards type the same one
// (RFC 8265 section 4.2).
func hashForm(password string) string { return norm.NFC.String(password) }

// verify reports whether the password is the one of the hash. A hash that cannot be read is an
// error, not a wrong password.
func (h *hasher) verify(ctx context.Context, hash, password string) (bool, error) {
	if len(password) > passwordMost {
		password = "" // no password has this form; the work stays the same
	}
	leave, err := h.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	cost, salt, want, err := parseHash(hash)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(h.sum(password, salt, cost), want) == 1, nil
}

// stale reports whether the hash was made at another cost than new ones are.
func (h *hasher) stale(hash string) bool {
	cost, _, _, err := parseHash(hash)
	return err == nil && cost != h.cost
}

var errHashForm = errors.New("account: a stored password hash cannot be read")

// parseHash reads the PHC form. Costs beyond reason are refused: a row that somebody altered must
// not take the server's memory.
func parseHash(s string) (c Cost, salt, sum []byte, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, errHashForm
	}
	var lanes uint32
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.Memory, &c.Passes, &lanes); err != nil ||
		fmt.Sprintf("m=%d,t=%d,p=%d", c.Memory, c.Passes, lanes) != parts[3] {
		return c, nil, nil, errHashForm
	}
	if c.Memory > 1<<20 || c.Passes < 1 || c.Passes > 64 || lanes < 1 || lanes > 64 {
		return c, nil, nil, errHashForm
	}
	c.Lanes = uint8(lanes)
	if salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil || len(salt) != saltBytes {
		return c, nil, nil, errHashForm
	}
	if sum, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil || len(sum) != hashBytes {
		return c, nil, nil, errHashForm
	}
	return c, salt, sum, nil
}

// clean makes a text of somebody else's fit to be kept and shown on one line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf) {
			return -1
		}
		return r
	}, s)
}

// stepUps is how often an account's password may be asked for again in an hour.
const stepUps = 30

// stepUp asks for the password once more before an act that opens. Tries count against the act's
// limit, before the costly work and again in the door. A wrong password is recorded as a refusal.
func (a *Accounts) stepUp(ctx context.Context, by evidence.Actor, act string, id ID, password string) error {
	what := permit.Act{Name: act, Account: id}
	if err := a.door.Allowed(ctx, what); err != nil {
		return a.door.Refuse(ctx, by, what, err)
	}
	// Together, whatever the acts: a stolen session must not guess at each of them in turn.
	if err := a.door.Attempt(ctx, "step up "+string(id), permit.Limit{Tries: stepUps, Window: time.Hour}); err != nil {
		return a.door.Refuse(ctx, by, what, err)
	}
	hash, err := passwordHash(ctx, a.db, id)
	if err != nil {
		return err
	}
	if hash == "" {
		return a.door.Refuse(ctx, by, what, fault.New(fault.Denied, "no_password", "This account has no password here. Its platform keeps the sign-in."))
	}
	ok, err := a.hash.verify(ctx, hash, password)
	if err != nil {
		return err
	}
	if !ok {
		return a.door.Refuse(ctx, by, what, fault.New(fault.Denied, "wrong_password", "That is not your password. Nothing was changed."))
	}
	return nil
}
