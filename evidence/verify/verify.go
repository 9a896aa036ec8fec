// Package verify checks an exported evidence chain. It stands alone: it needs no server, no
// database and no key, and trusts nothing but the bytes it is given.
//
// What it can and cannot say: it finds any entry that was altered, moved, inserted or left out in
// the middle, and names the first. Whether entries were cut from the end it can only say against a
// head from elsewhere, such as a security mail; without one a sound chain is "consistent, not
// proven complete".
package verify

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Format names the export format in its first line.
const Format = "holdfast-evidence/1"

const maxLine = 1 << 20

// Header is the first line of an export. Nothing in it is protected by the chain but Account.
type Header struct {
	Format     string    `json:"format"`
	Account    string    `json:"account"`
	ExportedAt time.Time `json:"exported_at"`
}

// Line is one entry of an export. At is in microseconds since 1970 UTC.
type Line struct {
	Seq        int64  `json:"seq"`
	At         int64  `json:"at"`
	Act        string `json:"act"`
	Commitment Bytes  `json:"commitment"`
	Hash       Bytes  `json:"hash"`
	// Salt and Text open the commitment; both are empty once the text was erased.
	Salt      Bytes  `json:"salt,omitempty"`
	Text      string `json:"text,omitempty"`
	ErasedAt  int64  `json:"erased_at,omitempty"`
	ErasedWhy string `json:"erased_why,omitempty"`
}

// Bytes prints as lower-case hexadecimal.
type Bytes []byte

// MarshalText returns the bytes in hexadecimal.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

// UnmarshalText reads hexadecimal. Only lower case is accepted, so that a file has one form.
func (b *Bytes) UnmarshalText(text []byte) error {
	if bytes.ContainsAny(text, "ABCDEF") {
		return errors.New("hexadecimal must be lower case")
	}
	raw, err := hex.DecodeString(string(text))
	*b = raw
	return err
}

// Start returns the hash before the first entry of an account's chain.
func Start(account string) []byte {
	h := sha256.New()
	writeField(h, "holdfast chain v1")
	writeField(h, account)
	return h.Sum(nil)
}

// Commit returns the commitment to an entry's text: HMAC-SHA256 under the entry's own salt.
func Commit(salt, text []byte) []byte {
	m := hmac.New(sha256.New, salt)
	m.Write(text)
	return m.Sum(nil)
}

// Link returns the hash of an entry that follows prev.
func Link(prev []byte, account string, seq, at int64, act string, commitment []byte) []byte {
	h := sha256.New()
	writeField(h, "holdfast entry v1")
	writeField(h, string(prev))
	writeField(h, account)
	var n [16]byte
	binary.BigEndian.PutUint64(n[:8], uint64(seq))
	binary.BigEndian.PutUint64(n[8:], uint64(at))
	writeField(h, string(n[:]))
	writeField(h, act)
	writeField(h, string(commitment))
	return h.Sum(nil)
}

// writeField writes the length before the bytes, so that no two lists of fields look alike.
func writeField(w io.Writer, s string) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(s)))
	_, _ = w.Write(n[:]) // a hash never fails to take bytes
	_, _ = io.WriteString(w, s)
}

// Head is an entry number and its hash, as security mails carry them.
type Head struct {
	Seq  int64
	Hash []byte
}

// ParseHead reads "41:9f3c..." with all 64 hexadecimal digits.
func ParseHead(s string) (Head, error) {
	number, digits, ok := strings.Cut(strings.TrimSpace(s), ":")
	if !ok {
		return Head{}, errors.New(`a head looks like "41:9f3c…": the entry number, a colon and 64 hexadecimal digits`)
	}
	seq, err := strconv.ParseInt(number, 10, 64)
	if err != nil || seq < 1 {
		return Head{}, fmt.Errorf("%q is not an entry number", number)
	}
	hash, err := hex.DecodeString(digits)
	if err != nil || len(hash) != sha256.Size {
		return Head{}, fmt.Errorf("the head of entry %d needs 64 hexadecimal digits, this has %d characters", seq, len(digits))
	}
	return Head{seq, hash}, nil
}

// Result says what a chain shows.
type Result struct {
	Account string `json:"account"`
	// Entries is how many entries are sound, from the first on.
	Entries int64 `json:"entries"`
	Erased  int64 `json:"erased"`
	// FirstAltered is the number of the first entry that does not belong, 0 if all do.
	FirstAltered int64 `json:"first_altered,omitempty"`
	// Why says what is wrong with it, or with the end of the chain.
	Why string `json:"why,omitempty"`
	// Cut says that entries are missing at the end, shown by the head that was given.
	Cut bool `json:"cut,omitempty"`
	// ProvenTo is the entry up to which a head from elsewhere proves the chain complete.
	ProvenTo int64 `json:"proven_to,omitempty"`
	// Last is the hash of the last sound entry.
	Last Bytes `json:"last"`
}

// OK reports whether nothing is wrong with the chain.
func (r Result) OK() bool { return r.FirstAltered == 0 && !r.Cut }

// Verdict is the result in a few sentences.
func (r Result) Verdict() string {
	switch {
	case r.FirstAltered != 0:
		return fmt.Sprintf("ALTERED: entry %d %s. Entries 1 to %d are sound.", r.FirstAltered, r.Why, r.Entries)
	case r.Cut:
		return "CUT: " + r.Why
	case r.ProvenTo != 0:
		return fmt.Sprintf("Consistent: %d entries, proven complete up to entry %d.", r.Entries, r.ProvenTo) + r.erased()
	default:
		return fmt.Sprintf("Consistent, not proven complete: %d entries. Give --head from a security mail to see whether the end was cut.", r.Entries) + r.erased()
	}
}

// erased says what a chain with erased texts does not show. Whoever passes a file on can take a
// text out and write that it was erased: the chain still proves that the entry is there, when and
// what act it was, but not who did it, and not when or why the text went.
func (r Result) erased() string {
	if r.Erased == 0 {
		return ""
	}
	return fmt.Sprintf(" The text of %d of them is missing: it was erased, or taken out of this file.", r.Erased)
}

// Chain reads an export and checks it, against head too when it is not nil. An error means that
// the bytes are no export; a bad chain is a Result.
func Chain(r io.Reader, head *Head) (Result, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	if !lines.Scan() {
		return Result{}, errors.Join(errors.New("the file is empty or its first line is longer than 1 MiB"), lines.Err())
	}
	var header Header
	if err := strict(lines.Bytes(), &header); err != nil || header.Format != Format {
		return Result{}, fmt.Errorf("this is not a Holdfast evidence export: its first line does not say %q", Format)
	}
	res := Result{Account: header.Account}
	prev := Start(header.Account)
	for lines.Scan() {
		want := res.Entries + 1
		var line Line
		why := ""
		if err := strict(lines.Bytes(), &line); err != nil {
			why = "cannot be read (" + err.Error() + ")"
		} else if !oneForm(lines.Bytes(), line) {
			why = "is not written as an export writes it, so that another program could read something else in it"
		} else {
			why = check(header.Account, prev, want, line)
		}
		if why != "" {
			res.FirstAltered, res.Why, res.Last = want, why, prev
			return res, nil
		}
		if line.Text == "" {
			res.Erased++
		}
		prev = line.Hash
		res.Entries = want
		if head != nil && head.Seq == want {
			if !hmac.Equal(head.Hash, line.Hash) {
				res.Entries, res.FirstAltered, res.Last = want-1, want, prev
				res.Why = "is not the one that the mail names: the chain was rewritten at or before it"
				return res, nil
			}
			res.ProvenTo = want
		}
	}
	if err := lines.Err(); err != nil {
		res.FirstAltered, res.Why = res.Entries+1, "cannot be read ("+err.Error()+")"
	}
	res.Last = prev
	if res.FirstAltered == 0 && head != nil && head.Seq > res.Entries {
		res.Cut = true
		res.Why = fmt.Sprintf("the mail names entry %d, the file ends at entry %d. %d or more entries are missing at the end.",
			head.Seq, res.Entries, head.Seq-res.Entries)
	}
	return res, nil
}

// check returns what is wrong with a line, empty if nothing.
func check(account string, prev []byte, want int64, line Line) string {
	if line.Seq != want {
		return fmt.Sprintf("is missing: entry %d stands in its place", line.Seq)
	}
	if !hmac.Equal(Link(prev, account, line.Seq, line.At, line.Act, line.Commitment), line.Hash) {
		return "does not follow from the one before it"
	}
	if line.Text == "" {
		if line.ErasedAt == 0 {
			return "has no text and does not say that it was erased"
		}
		return ""
	}
	if !hmac.Equal(Commit(line.Salt, []byte(line.Text)), line.Commitment) {
		return "has a text that is not the one committed to"
	}
	var inside struct {
		Account string `json:"account"`
		Seq     int64  `json:"seq"`
		At      int64  `json:"at"`
		Act     string `json:"act"`
	}
	if err := json.Unmarshal([]byte(line.Text), &inside); err != nil {
		return "has a text that cannot be read"
	}
	if inside.Account != account || inside.Seq != line.Seq || inside.At != line.At || inside.Act != line.Act {
		return "says something else in its text than beside it"
	}
	return ""
}

// oneForm reports whether a line has the one form that an export gives it. JSON lets a name stand
// twice, and this reader takes "Text" for "text" where others do not: a file that says one thing to
// verify and another to everybody else is an altered one.
func oneForm(raw []byte, line Line) bool {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	return enc.Encode(line) == nil && bytes.Equal(bytes.TrimSuffix(b.Bytes(), []byte("\n")), raw)
}

func strict(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value on a line")
	}
	return nil
}
