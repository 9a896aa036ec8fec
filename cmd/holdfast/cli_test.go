package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// holdfast runs one command line in this process.
func holdfast(t testing.TB, args ...string) (status int, out, talk string) {
	t.Helper()
	var o, e bytes.Buffer
	status = execute(t.Context(), args, console{&o, &e})
	return status, o.String(), e.String()
}

// succeeds runs a command line that has to succeed and returns its output.
func succeeds(t testing.TB, args ...string) string {
	t.Helper()
	status, out, talk := holdfast(t, args...)
	if status != statusDone {
		t.Fatalf("holdfast %s: status %d\n%s%s", strings.Join(args, " "), status, out, talk)
	}
	return strings.TrimSpace(out)
}

// refuses runs a command line that has to fail with a status and words.
func refuses(t testing.TB, status int, words string, args ...string) {
	t.Helper()
	got, out, talk := holdfast(t, args...)
	if got != status || !strings.Contains(talk, words) {
		t.Errorf("holdfast %s: status %d, want %d with %q\n%s%s", strings.Join(args, " "), got, status, words, out, talk)
	}
}

func TestUnknownCommandsAreUsageErrors(t *testing.T) {
	refuses(t, statusUsage, "hint: holdfast --help", "unfreeze")
	refuses(t, statusUsage, "hint: holdfast --help", "freeze", "somebody@holdfast.test")
	if status, out, _ := holdfast(t, "--help"); status != statusDone || !strings.Contains(out, "serve") {
		t.Errorf("--help: status %d\n%s", status, out)
	}
}

func TestInitMakesKeysOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	path := succeeds(t, "init", "--dir", dir)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %o", info.Mode().Perm())
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, statusFailed, "never overwritten", "init", "--dir", dir)
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Error("a second init changed the key file")
	}
}

func TestServeDoesNotStartWeakened(t *testing.T) {
	dir := t.TempDir()
	mail := []string{"--mail-host", "127.0.0.1", "--mail-from", "Holdfast <security@holdfast.test>"}
	serve := func(args ...string) []string {
		return append(append([]string{"serve", "--state", dir}, mail...), args...)
	}
	refuses(t, statusFailed, "holdfast init --dir", serve("--pages", "127.0.0.1:0", "--api", "127.0.0.1:0")...)
	refuses(t, statusFailed, "in clear", serve("--pages", "0.0.0.0:0")...)
	refuses(t, statusFailed, "no mail server", "serve", "--state", dir)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	refuses(t, statusFailed, "--pages or the variable HOLDFAST_PAGES", serve("--pages", busy.Addr().String())...)
	refuses(t, statusFailed, "--api or the variable HOLDFAST_API", serve("--pages", "127.0.0.1:0", "--api", busy.Addr().String())...)
	succeeds(t, "init", "--dir", dir)
	if err := os.Chmod(filepath.Join(dir, keysFile), 0o644); err != nil {
		t.Fatal(err)
	}
	refuses(t, statusFailed, "others can read it", serve("--pages", "127.0.0.1:0", "--api", "127.0.0.1:0")...)
}

// register makes an account on a running server and returns its id.
func register(t testing.TB, p *process, mail string) string {
	t.Helper()
	r, err := p.api.Accounts.RegisterAccount(t.Context(), connect.NewRequest(&holdfastv1.RegisterAccountRequest{ExternalId: mail, Mail: mail}))
	if err != nil {
		t.Fatal(err)
	}
	return r.Msg.GetAccountId()
}

// TestOperatorsFreezeAndRestore is a day of two operators at the command line of a running server.
func TestOperatorsFreezeAndRestore(t *testing.T) {
	s := newSite(t, "")
	p := s.serve("")
	t.Setenv("HOLDFAST_STATE", s.cfg.State)
	keys := t.TempDir()
	key := func(name string) string { return filepath.Join(keys, name+".key") }
	const holder = "holder@holdfast.test"
	id := register(t, p, holder)

	if info, err := os.Stat(s.cfg.socket()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the operators' socket: %v %v", info.Mode(), err)
	}

	// Without --yes a command says what it would do, and does not.
	refuses(t, statusUsage, "close every exit of account "+id, "freeze", holder, "--reason", "the holder called")
	refuses(t, statusUsage, "enrol first", "operator", "add", "first", "--out", key("first"))
	if out := succeeds(t, "status", holder); !strings.Contains(out, "not frozen") {
		t.Errorf("status: %s", out)
	}
	refuses(t, statusFailed, "No account has the address", "freeze", "nobody@holdfast.test", "--reason", "x", "--yes")

	// Whoever sets up enrols two; a third needs an operator, and waits.
	succeeds(t, "operator", "add", "first", "--out", key("first"), "--yes")
	succeeds(t, "operator", "add", "second", "--out", key("second"), "--yes")
	refuses(t, statusFailed, "signed with an operator's key", "operator", "add", "third", "--out", key("nobody"), "--yes")
	succeeds(t, "operator", "add", "third", "--out", key("third"), "--key", key("first"), "--yes")
	refuses(t, statusFailed, "is or was an operator of this name", "operator", "add", "second", "--out", key("again"), "--key", key("first"), "--yes")

	// Closing takes no key. Doing it again is fine and says so.
	succeeds(t, "freeze", id, "--reason", "the holder called", "--as", "somebody", "--yes")
	if _, out, talk := holdfast(t, "freeze", holder, "--reason", "again", "--yes"); !strings.Contains(talk, "frozen already") || !strings.Contains(out, "contained") {
		t.Errorf("second freeze: %s%s", out, talk)
	}

	// Opening takes two people, proven by their keys.
	refuses(t, statusFailed, "signed with an operator's key", "restore", "propose", holder, "--reason", "met the holder", "--as", "first", "--yes")
	refuses(t, statusUsage, "nothing opens before another operator approves", "restore", "propose", holder, "--reason", "met the holder", "--key", key("first"))
	plan := succeeds(t, "restore", "propose", holder, "--reason", "met the holder", "--key", key("first"), "--yes")
	refuses(t, statusFailed, "Another operator", "restore", "approve", plan, "--key", key("first"), "--yes")
	refuses(t, statusFailed, "enrolled a short while ago", "restore", "approve", plan, "--key", key("third"), "--yes")
	refuses(t, statusUsage, "proposed by first", "restore", "approve", plan, "--key", key("second"))
	forged := operatorKey{Operator: "second", Seed: bytes.Repeat([]byte{7}, ed25519.SeedSize)}
	if err := forged.write(key("forged")); err != nil {
		t.Fatal(err)
	}
	refuses(t, statusFailed, "not the one that was enrolled", "restore", "approve", plan, "--key", key("forged"), "--yes")
	succeeds(t, "restore", "approve", plan, "--key", key("second"), "--yes")
	if out := succeeds(t, "status", holder); !strings.Contains(out, "not frozen") || !strings.Contains(out, "blocked") {
		t.Errorf("status after the restore: %s", out)
	}
	refuses(t, statusFailed, "approved already", "restore", "approve", plan, "--key", key("second"), "--yes")

	// A removed operator is nobody.
	succeeds(t, "operator", "remove", "third", "--key", key("second"), "--yes")
	refuses(t, statusFailed, "not the one that was enrolled", "operator", "remove", "first", "--key", key("third"), "--yes")

	// What was done is in the chain, and the chain holds.
	file := filepath.Join(keys, "chain.ndjson")
	refuses(t, statusUsage, "names and addresses in clear", "export", holder, "--out", file)
	succeeds(t, "export", holder, "--out", file, "--yes")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the export: %v %v", info, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{`"act":"freeze"`, `claims to be somebody`, `"act":"approve_restore"`, `"act":"export_evidence"`} {
		if !strings.Contains(string(text), word) && !strings.Contains(string(text), strings.ReplaceAll(word, `"`, `\"`)) {
			t.Errorf("the chain does not say %s", word)
		}
	}
	succeeds(t, "verify", file)

	// An operator's mails warn the holder, and their heads check the export.
	told, err := s.mail.box.wait(within(t), holder, 0, func(l letter) bool { return l.subject == "Your account is frozen" })
	if err != nil {
		t.Fatal(err)
	}
	if out := succeeds(t, "verify", file, "--head", told.head()); !strings.Contains(out, "proven complete up to entry") {
		t.Errorf("verify --head: %s", out)
	}
	if status := p.interrupt(t); status != 0 {
		t.Errorf("the server ended with %d when it was asked to stop\n%s", status, p.log)
	}
	refuses(t, statusFailed, "no server is running", "status", holder)
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestSignedCommandCountsOnce: who has seen a signed command cannot send it again, or as another.
func TestSignedCommandCountsOnce(t *testing.T) {
	s := newSite(t, "")
	p := s.serve("")
	key := filepath.Join(t.TempDir(), "first.key")
	succeeds(t, "operator", "add", "first", "--state", s.cfg.State, "--out", key, "--yes")
	id := register(t, p, "holder@holdfast.test")
	if err := p.freeze(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	k, err := readOperatorKey(key)
	if err != nil {
		t.Fatal(err)
	}
	args, err := json.Marshal(freezeArgs{id, "met the holder", true})
	if err != nil {
		t.Fatal(err)
	}
	cmd := command{Args: args, Operator: k.Operator}
	if err := p.desk.send(t.Context(), "nonce", command{Args: json.RawMessage("{}")}, &cmd.Nonce); err != nil {
		t.Fatal(err)
	}
	cmd.Signature = ed25519.Sign(k.private(), signedBytes("propose", cmd.Nonce, args))
	var r planReply
	if err := p.desk.send(t.Context(), "propose", cmd, &r); err != nil {
		t.Fatal(err)
	}
	if err := p.desk.send(t.Context(), "propose", cmd, &r); err == nil {
		t.Error("a signed command was taken twice")
	}
	if err := p.desk.send(t.Context(), "nonce", command{Args: json.RawMessage("{}")}, &cmd.Nonce); err != nil {
		t.Fatal(err)
	}
	if err := p.desk.send(t.Context(), "propose", cmd, &r); err == nil {
		t.Error("a signature counted for another nonce")
	}
	cmd.Signature = ed25519.Sign(k.private(), signedBytes("approve", cmd.Nonce, args))
	if err := p.desk.send(t.Context(), "propose", cmd, &r); err == nil {
		t.Error("a signature counted for another verb")
	}
}

// TestOneServerForEachDatabase: two servers on one SQLite file would write over each other.
func TestOneServerForEachDatabase(t *testing.T) {
	s := newSite(t, "")
	s.serve("")
	refuses(t, statusFailed, "another process has this database open", "serve", "--state", s.cfg.State, "--pages", "127.0.0.1:0", "--api", "127.0.0.1:0",
		"--mail-host", "127.0.0.1", "--mail-tls", "plain", "--mail-from", "Holdfast <security@holdfast.test>")
}

func TestServicesComeAndGo(t *testing.T) {
	s := newSite(t, "")
	p := s.serve("")
	t.Setenv("HOLDFAST_STATE", s.cfg.State)
	refuses(t, statusUsage, "make a key for the service wallet", "service", "add", "wallet")
	file := filepath.Join(t.TempDir(), "wallet.json")
	succeeds(t, "service", "add", "wallet", "--return-to", "https://wallet.example/back", "--out", file, "--yes")
	var all []serviceKey
	if err := json.Unmarshal([]byte(succeeds(t, "service", "list", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	var id string
	for _, k := range all {
		if k.Service == "wallet" && k.RemovedAt == nil {
			id = k.KeyID
		}
	}
	if id == "" {
		t.Fatalf("the service is not listed: %+v", all)
	}
	refuses(t, statusFailed, "is not a scope", "service", "add", "other", "--scopes", "everything", "--yes")
	succeeds(t, "service", "remove", id, "--yes")
	if out := succeeds(t, "service", "list"); !strings.Contains(out, "removed") {
		t.Errorf("list: %s", out)
	}
	p.kill()
}

// TestVerifySaysWhatIsWrong goes through the exact words and the exit statuses.
func TestVerifySaysWhatIsWrong(t *testing.T) {
	s := newSite(t, "")
	p := s.serve("")
	t.Setenv("HOLDFAST_STATE", s.cfg.State)
	id := register(t, p, "holder@holdfast.test")
	if err := p.freeze(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "chain.ndjson")
	succeeds(t, "export", id, "--out", file, "--yes")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(string(raw)), "\n") // the first line is the header
	write := func(name string, lines []string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var last struct {
		Seq  int64  `json:"seq"`
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	head := strings.Join([]string{itoa(last.Seq), last.Hash}, ":")

	if out := succeeds(t, "verify", file); !strings.HasPrefix(out, "Consistent, not proven complete: ") {
		t.Errorf("sound: %s", out)
	}
	if out := succeeds(t, "verify", file, "--head", head); !strings.HasSuffix(out, "proven complete up to entry "+itoa(last.Seq)+".") {
		t.Errorf("with head: %s", out)
	}
	cut := write("cut", lines[:len(lines)-1])
	succeeds(t, "verify", cut)
	if status, out, _ := holdfast(t, "verify", cut, "--head", head); status != statusFailed || !strings.HasPrefix(out, "CUT: the mail names entry") {
		t.Errorf("cut: status %d, %s", status, out)
	}
	// A time that is moved by years: what stands beside the text is protected as the text is.
	altered := write("altered", append(append([]string{}, lines[:2]...), append([]string{strings.Replace(lines[2], `"at":1`, `"at":2`, 1)}, lines[3:]...)...))
	if status, out, _ := holdfast(t, "verify", altered); status != statusFailed || !strings.HasPrefix(out, "ALTERED: entry 2 ") {
		t.Errorf("altered: status %d, %s", status, out)
	}
	missing := write("missing", append(append([]string{}, lines[:2]...), lines[3:]...))
	status, out, _ := holdfast(t, "verify", missing, "--json")
	var v verdict
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if status != statusFailed || v.OK || v.FirstAltered != 2 {
		t.Errorf("missing: status %d, %+v", status, v)
	}
	refuses(t, statusFailed, "this is not a Holdfast evidence export", "verify", write("nonsense", []string{"nonsense\n"}))
	refuses(t, statusFailed, "copy it from the end of a security mail", "verify", file, "--head", "41")
	p.kill()
}

func itoa(n int64) string {
	raw, err := json.Marshal(n)
	if err != nil {
		return ""
	}
	return string(raw)
}

// TestDemo plays the whole story and reads the object that scripts read.
func TestDemo(t *testing.T) {
	status, out, talk := holdfast(t, "demo", "--json")
	if status != statusDone {
		t.Fatalf("status %d\n%s", status, talk)
	}
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	var r demoResult
	if err := d.Decode(&r); err != nil || d.More() {
		t.Fatalf("not one object: %v\n%s", err, out)
	}
	exits := map[string]bool{}
	for _, e := range r.Exits {
		exits[e.Exit] = true
		if e.ClosedAt == nil {
			t.Errorf("%s is not closed", e.Exit)
		}
	}
	if !r.good() || r.Attempts < 10 || len(exits) < 8 || r.Mails < 3 || r.TimeToContain <= 0 {
		t.Errorf("%s\n%s", out, talk)
	}
	if !strings.Contains(talk, "thief: ") {
		t.Error("the story is not told")
	}
	t.Logf("contained %d ms after the press", r.TimeToContain)
}
