package holdfast_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fenced returns the blocks of a language in a page.
func fenced(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllSubmatch(text, -1) {
		blocks = append(blocks, string(m[1]))
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block of %s", page, language)
	}
	return blocks
}

// TestReadmeCommandsRun does what the README tells a newcomer to type. A command that nobody taught
// this test to run fails it.
func TestReadmeCommandsRun(t *testing.T) {
	for _, block := range fenced(t, "README.md", "sh") {
		for command := range strings.Lines(block) {
			switch command = strings.TrimSpace(command); command {
			case "":
			case "make run":
				runs(t)
			case "make test": // runs this test, so only its rule is looked at
				out, err := exec.CommandContext(t.Context(), "make", "-n", "test").CombinedOutput()
				if err != nil || !bytes.Contains(out, []byte("scripts/test")) {
					t.Errorf("make -n test: %v\n%s", err, out)
				}
			default:
				t.Errorf("README.md has the command %q, which this test does not run", command)
			}
		}
	}
}

// runs starts what `make run` starts, on free ports and with a state of its own, waits until it is
// ready, and interrupts it as Ctrl-C does.
func runs(t *testing.T) {
	t.Helper()
	rule, err := exec.CommandContext(t.Context(), "make", "-n", "run").CombinedOutput()
	if err != nil || !bytes.Contains(rule, []byte("scripts/run")) {
		t.Fatalf("make -n run: %v\n%s", err, rule)
	}
	script, err := os.ReadFile("scripts/run")
	if err != nil {
		t.Fatal(err)
	}
	// The script's own state folder is the checkout's, where somebody's demonstration may be running.
	if !bytes.Contains(script, []byte("holdfast run --state .run\n")) {
		t.Fatal("scripts/run does not end in holdfast run --state .run, which this test does instead")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	binary := filepath.Join(t.TempDir(), "holdfast")
	if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "./cmd/holdfast").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	state, err := os.MkdirTemp("", "readme-") // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(state) })
	run := exec.CommandContext(ctx, binary, "run", "--state", state)
	run.Env = append(os.Environ(), "HOLDFAST_PAGES=127.0.0.1:0", "HOLDFAST_API=127.0.0.1:0", "HOLDFAST_EXCHANGE=127.0.0.1:0")
	run.Cancel = func() error { return run.Process.Signal(syscall.SIGINT) }
	run.WaitDelay = 30 * time.Second
	said, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var talk bytes.Buffer
	run.Stderr = &talk
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ready, thief := false, false
	for lines := bufio.NewScanner(said); lines.Scan() && !(ready && thief); {
		ready = ready || strings.Contains(lines.Text(), "Holdfast is ready.")
		thief = thief || strings.Contains(lines.Text(), "thief: ") && strings.HasSuffix(lines.Text(), "accepted")
	}
	cancel()
	_, _ = io.Copy(io.Discard, said) // until it ends
	err = run.Wait()
	if !ready || !thief {
		t.Errorf("make run: ready %v, the thief at work %v; %v\n%s", ready, thief, err, talk.String())
	}
	if run.ProcessState.ExitCode() != 0 {
		t.Errorf("after an interrupt it ended with %s\n%s", run.ProcessState, talk.String())
	}
}

// TestReadmeSnippetsCompile builds every Go program of the README.
func TestReadmeSnippetsCompile(t *testing.T) {
	for _, snippet := range fenced(t, "README.md", "go") {
		// Inside the module, so that its packages are found; a name with a dot keeps it out of ./...
		dir, err := os.MkdirTemp(".", ".snippet-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(snippet), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "go", "vet", "./"+dir).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s\n%s", err, out, snippet)
		}
	}
}
