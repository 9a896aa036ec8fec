package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"holdfast/account"
	"holdfast/api/client"
	"holdfast/evidence"
	"holdfast/permit"
	"holdfast/store"
)

// The tests in this package that drive the real binary share one folder with what was built.
var buildDir string

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "holdfast-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(buildDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

var builds sync.Map // tags -> func() (string, error)

// binary builds the program, once for each set of tags, and returns its path.
func binary(t testing.TB, tags string) string {
	t.Helper()
	once, _ := builds.LoadOrStore(tags, sync.OnceValues(func() (string, error) {
		path := filepath.Join(buildDir, "holdfast-"+tags)
		out, err := exec.Command("go", "build", "-buildvcs=false", "-tags", tags, "-o", path, ".").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, nil
	}))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// site is a place where a server can run: state folder, database, mail server, service key.
type site struct {
	t    testing.TB
	cfg  Config
	mail *mailServer
	key  client.Key
}

// newSite prepares a site on a database, or on the SQLite file of its folder when dsn is empty.
func newSite(t testing.TB, dsn string) *site {
	t.Helper()
	mail, err := startMailServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mail.close(); err != nil {
			t.Error(err)
		}
	})
	// Not t.TempDir: a test's name may be longer than the path of a socket can be.
	dir, err := os.MkdirTemp("", "hf-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s := &site{t: t, mail: mail, cfg: defaults()}
	s.cfg.State, s.cfg.Database = dir, dsn
	s.cfg.Pages, s.cfg.API = "127.0.0.1:0", "127.0.0.1:0"
	s.cfg.MailHost, s.cfg.MailPort, s.cfg.MailTLS, s.cfg.MailFrom = "127.0.0.1", mail.port, "plain", "Holdfast <security@holdfast.test>"
	if _, err := makeKeys(dir); err != nil {
		t.Fatal(err)
	}
	s.look(func(db *store.DB) {
		door := permit.NewDoor(db, newLog(io.Discard, "text"))
		if err := door.Platform(t.Context()); err != nil {
			t.Fatal(err)
		}
		k, err := account.AddService(t.Context(), door, evidence.Actor{Kind: evidence.Operator, ID: "test"}, "exchange", account.ServiceScopes, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.key = serviceKeyOf(t, k)
	})
	return s
}

func serviceKeyOf(t testing.TB, k account.ServiceKey) client.Key {
	t.Helper()
	file, err := k.File("http://127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	key, _, err := client.ReadKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// look opens the site's database in this process, while no server runs.
func (s *site) look(f func(db *store.DB)) {
	s.t.Helper()
	db, err := openStore(s.t.Context(), s.cfg, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			s.t.Error(err)
		}
	}()
	f(db)
}

// process is a running server.
type process struct {
	cmd   *exec.Cmd
	pages string
	url   string // of the API
	api   *client.Client
	desk  desk
	log   *lockedBuffer
	ended chan struct{}
	err   error // of Wait; read after ended
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var readyLine = regexp.MustCompile(`is ready\. Pages: (\S+) +API: (\S+)`)

// command is the command line of a server of the site.
func (s *site) command(tags string, around ...string) *exec.Cmd {
	s.t.Helper()
	args := append(around, binary(s.t, tags), "serve", "--state", s.cfg.State, "--pages", "127.0.0.1:0", "--api", "127.0.0.1:0",
		"--mail-host", "127.0.0.1", "--mail-port", fmt.Sprint(s.mail.port), "--mail-tls", "plain", "--mail-from", s.cfg.MailFrom)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "HOLDFAST_DATABASE="+s.cfg.Database)
	return cmd
}

// serve starts a server and waits until it is ready; around is a command in which it runs, such as
// strace.
func (s *site) serve(tags string, around ...string) *process {
	s.t.Helper()
	p := &process{cmd: s.command(tags, around...), desk: desk{State: s.cfg.State}, log: &lockedBuffer{}, ended: make(chan struct{})}
	out, in, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	_ = in.Close() // the child has it
	ready := make(chan []string, 1)
	go func() {
		lines := bufio.NewScanner(io.TeeReader(out, p.log))
		for lines.Scan() {
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m
			}
		}
		p.err = p.cmd.Wait()
		_ = out.Close()
		close(p.ended)
	}()
	s.t.Cleanup(p.kill)
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	select {
	case m := <-ready:
		p.pages, p.url = m[1], m[2]
		if p.api, err = client.New(client.Config{URL: m[2], Key: &s.key, Log: newLog(io.Discard, "text")}); err != nil {
			s.t.Fatal(err)
		}
	case <-p.ended:
		s.t.Fatalf("the server ended before it was ready: %v\n%s", p.err, p.log)
	case <-limit.C:
		s.t.Fatalf("the server is not ready\n%s", p.log)
	}
	return p
}

// kill ends the process as a power switch would: it gets no say.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

// interrupt asks the process to stop and returns its exit status.
func (p *process) interrupt(t testing.TB) int {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	return p.status()
}

// status waits until the process has ended and returns its exit status.
func (p *process) status() int {
	<-p.ended
	if exit, ok := errors.AsType[*exec.ExitError](p.err); ok {
		return exit.ExitCode()
	}
	return 0
}

// freeze freezes over the operators' socket, as `holdfast freeze` does.
func (p *process) freeze(ctx context.Context, account string) error {
	var r freezeReply
	return p.desk.ask(ctx, "freeze", freezeArgs{account, "test", true}, &r)
}
