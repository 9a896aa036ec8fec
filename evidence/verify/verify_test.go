package verify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/evidence/verify"
)

// lines makes a sound export of n entries without a database.
func lines(n int) []string {
	header, _ := json.Marshal(verify.Header{Format: verify.Format, Account: "a"})
	out := []string{string(header)}
	prev := verify.Start("a")
	for i := 1; i <= n; i++ {
		text := fmt.Sprintf(`{"account":"a","seq":%d,"at":%d,"act":"freeze"}`, i, i*1000)
		salt := bytes.Repeat([]byte{byte(i)}, 32)
		l := verify.Line{Seq: int64(i), At: int64(i * 1000), Act: "freeze", Salt: salt, Text: text, Commitment: verify.Commit(salt, []byte(text))}
		l.Hash = verify.Link(prev, "a", l.Seq, l.At, l.Act, l.Commitment)
		prev = l.Hash
		raw, _ := json.Marshal(l)
		out = append(out, string(raw))
	}
	return out
}

func run(t *testing.T, in []string, head *verify.Head) verify.Result {
	t.Helper()
	res, err := verify.Chain(strings.NewReader(strings.Join(in, "\n")+"\n"), head)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func headOf(t *testing.T, line string) *verify.Head {
	t.Helper()
	var l verify.Line
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		t.Fatal(err)
	}
	return &verify.Head{Seq: l.Seq, Hash: l.Hash}
}

func TestAlterationsAreNamed(t *testing.T) {
	for _, c := range []struct {
		name  string
		alter func([]string) []string
		first int64
	}{
		{"a word in a text", func(l []string) []string { l[3] = strings.Replace(l[3], `\"seq\":3`, `\"seq\":4`, 1); return l }, 3},
		{"an act beside its text", func(l []string) []string {
			l[2] = strings.Replace(l[2], `"act":"freeze"`, `"act":"freezf"`, 1)
			return l
		}, 2},
		{"a time beside its text", func(l []string) []string { l[2] = strings.Replace(l[2], `"at":2000`, `"at":2001`, 1); return l }, 2},
		{"an entry left out", func(l []string) []string { return slices.Delete(l, 2, 3) }, 2},
		{"two entries swapped", func(l []string) []string { l[2], l[3] = l[3], l[2]; return l }, 2},
		{"an entry twice", func(l []string) []string { return slices.Insert(l, 2, l[1]) }, 2},
		{"another account's chain", func(l []string) []string { l[0] = strings.Replace(l[0], `"a"`, `"b"`, 1); return l }, 1},
		{"a line that is no entry", func(l []string) []string { l[4] = "{"; return l }, 4},
		{"a field that nobody knows", func(l []string) []string { l[4] = strings.Replace(l[4], `{`, `{"more":1,`, 1); return l }, 4},
		{"a text taken away", func(l []string) []string {
			l[5] = l[5][:strings.Index(l[5], `,"salt"`)] + "}"
			return l
		}, 5},
		{"a false text before the true one", func(l []string) []string {
			l[3] = strings.Replace(l[3], `"text":`, `"text":"the holder did it","text":`, 1)
			return l
		}, 3},
		{"a true text under a name that only we read", func(l []string) []string {
			l[3] = strings.Replace(l[3], `"text":`, `"text":"the holder did it","Text":`, 1)
			return l
		}, 3},
		{"a false hash for other readers", func(l []string) []string {
			l[3] = strings.Replace(l[3], `"hash":`, `"hash":"00","HASH":`, 1)
			return l
		}, 3},
		{"spaces", func(l []string) []string { l[3] = strings.Replace(l[3], `"seq":3`, `"seq": 3`, 1); return l }, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := run(t, c.alter(lines(5)), nil)
			if res.OK() || res.FirstAltered != c.first || res.Entries != c.first-1 {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestTextsThatAreMissingAreTold(t *testing.T) {
	l := lines(5)
	l[4] = l[4][:strings.Index(l[4], `,"salt"`)] + `,"erased_at":1}`
	if res := run(t, l, nil); !res.OK() || res.Erased != 1 || !strings.Contains(res.Verdict(), "text of 1 of them is missing") {
		t.Errorf("%+v %s", res, res.Verdict())
	}
	if res := run(t, lines(5), nil); strings.Contains(res.Verdict(), "missing") {
		t.Error(res.Verdict())
	}
}

func TestHeadShowsACutTail(t *testing.T) {
	all := lines(5)
	head := headOf(t, all[5])
	if res := run(t, all[:4], head); res.OK() || !res.Cut || res.Entries != 3 {
		t.Errorf("cut: %+v", res)
	}
	if res := run(t, all, headOf(t, all[3])); !res.OK() || res.ProvenTo != 3 {
		t.Errorf("an older head: %+v", res)
	}
	head.Hash[0] ^= 1
	if res := run(t, all, head); res.OK() || res.FirstAltered != 5 {
		t.Errorf("a rewritten chain: %+v", res)
	}
}

func TestFilesThatAreNoExport(t *testing.T) {
	for _, in := range []string{"", "\n", "{}", "PK\x03\x04", `{"format":"holdfast-evidence/2"}`, strings.Repeat("x", 2<<20)} {
		if _, err := verify.Chain(strings.NewReader(in), nil); err == nil {
			t.Errorf("%.20q was taken for an export", in)
		}
	}
}

// Whatever the bytes, a chain that passes is byte for byte one that could have been exported:
// changing any hash, salt or text of it makes it fail.
func FuzzChain(f *testing.F) {
	f.Add([]byte(strings.Join(lines(3), "\n")), uint16(200))
	f.Fuzz(func(t *testing.T, raw []byte, at uint16) {
		res, err := verify.Chain(bytes.NewReader(raw), nil)
		if err != nil || !res.OK() || res.Entries == 0 {
			return
		}
		ends := bytes.Split(bytes.TrimRight(raw, "\n"), []byte("\n"))
		last := ends[len(ends)-1]
		var l verify.Line
		if json.Unmarshal(last, &l) != nil {
			t.Fatal("a sound chain ends in a line that cannot be read")
		}
		l.Hash[int(at)%len(l.Hash)] ^= 1
		ends[len(ends)-1], _ = json.Marshal(l)
		if again, err := verify.Chain(bytes.NewReader(bytes.Join(ends, []byte("\n"))), nil); err == nil && again.OK() {
			t.Fatal("an altered hash was not noticed")
		}
	})
}
