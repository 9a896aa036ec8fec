package account

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// FreezeCode is a secret that can freeze the account and nothing else: four groups of five
// characters of base32, 95 random bits and a check character. It is shown once, to be printed.
type FreezeCode struct{ characters string }

// alphabet is Crockford's base32: no I, L, O and U, which are misread or make words.
// https://www.crockford.com/base32.html
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	codeLength   = 20
	replacedCode = 30 * 24 * time.Hour
)

// newFreezeCode makes a code.
func newFreezeCode() FreezeCode {
	raw := make([]byte, codeLength-1)
	_, _ = rand.Read(raw) // never fails: https://pkg.go.dev/crypto/rand#Read
	var b strings.Builder
	for _, r := range raw {
		b.WriteByte(alphabet[r&31]) // 256 is a multiple of 32, so no character is likelier
	}
	return FreezeCode{b.String() + string(checkCharacter(b.String()))}
}

// Reveal returns the code in groups, as it is printed: "K7Q2M-....".
func (c FreezeCode) Reveal() string {
	var groups []string
	for s := c.characters; len(s) >= 5; s = s[5:] {
		groups = append(groups, s[:5])
	}
	return strings.Join(groups, "-")
}

// String keeps the code out of logs.
func (FreezeCode) String() string { return "[redacted]" }

// GoString keeps the code out of %#v.
func (FreezeCode) GoString() string { return "[redacted]" }

// ParseFreezeCode reads a code as people type it: in any case, with O for 0 and I or L for 1, with
// spaces and dashes anywhere. A wrong check character is told, because it means a slip of the
// finger and nothing else: it says nothing about any account.
func ParseFreezeCode(typed string) (FreezeCode, error) {
	if len(typed) > 100 {
		return FreezeCode{}, errCodeForm()
	}
	var b strings.Builder
	for _, r := range strings.ToUpper(typed) {
		switch r {
		case ' ', '-', '\t', '\u00a0', '\u2010', '\u2011', '\u2012', '\u2013', '\u2014':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		if !strings.ContainsRune(alphabet, r) {
			return FreezeCode{}, errCodeForm()
		}
		b.WriteRune(r)
	}
	s := b.String()
	if len(s) != codeLength {
		return FreezeCode{}, errCodeForm()
	}
	if s[codeLength-1] != checkCharacter(s[:codeLength-1]) {
		return FreezeCode{}, fault.New(fault.Invalid, "code_typing", "One character of the code is mistyped. Compare it with your sheet, group by group.")
	}
	return FreezeCode{s}, nil
}

func errCodeForm() error {
	return fault.New(fault.Invalid, "code_form", "A freeze code has four groups of five letters and digits, such as K7Q2M-9XA4B-T3HCE-51RVD.")
}

// checkCharacter is a weighted sum over the field of 32 elements (x^5 + x^2 + 1). The weights are
// different powers of x, so every single wrong character and every exchange of two shows.
func checkCharacter(data string) byte {
	sum := byte(0)
	for i := range len(data) {
		// Horner: sum = (sum + digit) * x.
		sum ^= byte(strings.IndexByte(alphabet, data[i]))
		sum <<= 1
		if sum&32 != 0 {
			sum ^= 0b100101
		}
	}
	return alphabet[sum&31]
}

func freezeCodeHash(keys *store.Keyset, code FreezeCode) ([]byte, error) {
	return keys.Hash("freeze_code", []byte(code.characters))
}

// FindFreezeCode returns the account that the code freezes, and a name of the code for the record.
// mail is the account's address, or a verified one of the last 30 days. Code and address are
// looked up in one statement, by the code's keyed hash; a wrong code and an unknown address are
// the same fault of kind Denied. A code that cannot be one is Invalid.
func FindFreezeCode(ctx context.Context, q Reader, mail, code string) (ID, string, error) {
	c, err := ParseFreezeCode(code)
	if err != nil {
		return "", "", err
	}
	mail, err = NormaliseMail(mail)
	if err != nil {
		return "", "", err
	}
	hash, err := freezeCodeHash(q.Keys(), c)
	if err != nil {
		return "", "", err
	}
	rows, err := q.Query(ctx, `SELECT c.account_id FROM freeze_code c
		JOIN account_mail m ON m.account_id = c.account_id AND m.mail = $2 AND (m.until_at = 0 OR m.until_at >= $3)
		WHERE c.hash = $1 AND (c.replaced_at = 0 OR c.replaced_at >= $4) LIMIT 1`,
		hash, mail, store.Micros(q.Now().Add(-month)), store.Micros(q.Now().Add(-replacedCode)))
	if err != nil {
		return "", "", fmt.Errorf("find freeze code: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return "", "", fmt.Errorf("find freeze code: %w", err)
		}
		return "", "", fault.New(fault.Denied, "wrong_code", "This address and this code do not belong together. Nothing was changed. Compare the code with your sheet, group by group.")
	}
	var id string
	if err := rows.Scan(&id); err != nil {
		return "", "", fmt.Errorf("find freeze code: %w", err)
	}
	return ID(id), hex.EncodeToString(hash[:4]), rows.Err()
}

// giveFreezeCode makes a code for the account and marks those before it as replaced.
func giveFreezeCode(ctx context.Context, tx *permit.Tx) (FreezeCode, error) {
	code := newFreezeCode()
	hash, err := freezeCodeHash(tx.Keys(), code)
	if err != nil {
		return FreezeCode{}, err
	}
	id, now := string(tx.Standing.Account), store.Micros(tx.Now())
	if _, err := tx.Exec(ctx, `UPDATE freeze_code SET replaced_at = $2 WHERE account_id = $1 AND replaced_at = 0`, id, now); err != nil {
		return FreezeCode{}, fmt.Errorf("replace freeze code: %w", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO freeze_code (account_id, hash, made_at, replaced_at) VALUES ($1, $2, $3, 0)`, id, hash, now); err != nil {
		return FreezeCode{}, fmt.Errorf("keep freeze code: %w", err)
	}
	return code, nil
}

// NewFreezeCode makes a new code, with the password as step-up. The one before it still freezes
// for 30 days, so that a thief with a stolen session cannot make the printed sheet worthless.
func (a *Accounts) NewFreezeCode(ctx context.Context, by evidence.Actor, id ID, password string) (FreezeCode, error) {
	if err := a.stepUp(ctx, by, permit.NewFreezeCode, id, password); err != nil {
		return FreezeCode{}, err
	}
	var code FreezeCode
	err := a.do(ctx, by, permit.NewFreezeCode, id, func(tx *permit.Tx) (err error) {
		code, err = giveFreezeCode(ctx, tx)
		return err
	})
	return code, err
}

// FreezeCodeMadeAt returns when the present freeze code was made; zero when there is none.
func FreezeCodeMadeAt(ctx context.Context, q store.Querier, id ID) (time.Time, error) {
	var at int64
	err := q.QueryRow(ctx, `SELECT COALESCE(max(made_at), 0) FROM freeze_code WHERE account_id = $1 AND replaced_at = 0`, string(id)).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("read freeze code: %w", err)
	}
	return store.Time(at), nil
}
