// Package cluster starts a private PostgreSQL server for tests and makes sure that it ends.
//
// The danger here is a server that outlives its test: on a developer's machine it eats memory, in
// CI it hangs the job. So the server's only parent is a small shell that waits for the end of a
// pipe which this process holds. When this process ends, in whatever way (kill -9 included), the
// kernel closes the pipe, and the shell stops the server and removes its files. The server listens
// on a Unix socket in a folder of its own and on no network address. A missing PostgreSQL is
// installed where that is possible and is an error otherwise: this package never lets a test pass
// without its database.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// startLimit bounds how long a server may take from initdb to its first answer. A loaded CI
// machine with a slow disk needs a fraction of it.
const startLimit = 2 * time.Minute

// Options say what kind of server is wanted.
type Options struct {
	// Durable keeps fsync, full_page_writes and synchronous_commit on, for tests about what
	// survives. Without it they are off and the tests run several times faster.
	Durable bool
	// Settings are added to the server's configuration and win over all others.
	Settings map[string]string
}

// Cluster is a running server. It is safe for concurrent use.
type Cluster struct {
	dir  string
	held io.Closer // the watching shell ends when this closes
	done chan struct{}
}

// watch starts the server, waits until its standard input ends, stops the server and removes its
// files. initdb runs in here too, so that nothing is left behind when the owner dies during it.
const watch = `
bin=$1 dir=$2 sync=$3; shift 3
trap '' INT TERM HUP
"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C $sync >"$dir/log" 2>&1 </dev/null && {
	"$bin/postgres" -D "$dir/data" "$@" >>"$dir/log" 2>&1 </dev/null &
	cat >/dev/null
	kill -QUIT $!
	wait $!
} 2>/dev/null
rm -rf "$dir"
`

// Start makes a new server and returns when it answers. It runs as the user postgres when this
// process is root, because PostgreSQL refuses to run as root, and as this user otherwise.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	bin, err := Binaries(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(home(o.Durable), "holdfast-pg-")
	if err != nil {
		return nil, fmt.Errorf("private PostgreSQL: %w", err)
	}
	c, err := start(ctx, bin, dir, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("private PostgreSQL: %w", err), os.RemoveAll(dir))
	}
	return c, nil
}

func start(ctx context.Context, bin, dir string, o Options) (*Cluster, error) {
	attr := &syscall.SysProcAttr{Setsid: true} // Ctrl-C reaches us; we then end the server in order
	if os.Getuid() == 0 {
		uid, gid, err := server("postgres")
		if err != nil {
			return nil, err
		}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	noSync := "--no-sync"
	if o.Durable {
		noSync = ""
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", watch, "sh", bin, dir, noSync}, arguments(dir, o)...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = attr
	held, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, held: held, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // a server that was told to stop at once says so in its exit status
		close(c.done)
	}()
	if err := c.wait(ctx); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log")) // the log only explains the failure
		c.Stop()
		return nil, fmt.Errorf("%w\n%s", err, tail(log, 20))
	}
	return c, nil
}

func arguments(dir string, o Options) []string {
	set := map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": dir,
		"max_connections":         "300",
		"shared_buffers":          "64MB",
		"jit":                     "off",
		"autovacuum":              "off", // databases here live for seconds
		"timezone":                "UTC",
		"log_min_messages":        "warning",
	}
	if !o.Durable {
		for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
			set[name] = "off"
		}
		set["wal_level"] = "minimal"
		set["max_wal_senders"] = "0"
		set["max_wal_size"] = "256MB"
	}
	for name, value := range o.Settings {
		set[name] = value
	}
	var args []string
	for name, value := range set {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

// wait returns when the server answers a question.
func (c *Cluster) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-again.C:
			if failed(filepath.Join(c.dir, "log")) {
				return errors.New("the server did not start")
			}
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", err)
		}
	}
}

// failed reports whether the log tells of a start that will not succeed.
func failed(log string) bool {
	text, err := os.ReadFile(log)
	return err == nil && (bytes.Contains(text, []byte("initdb: error")) ||
		bytes.Contains(text, []byte("FATAL:  could not")) ||
		bytes.Contains(text, []byte("FATAL:  invalid value")) ||
		bytes.Contains(text, []byte("FATAL:  unrecognized")))
}

// DSN returns the address of a database of this server. The user is a superuser without password:
// who may open the socket's folder is decided by the file system.
func (c *Cluster) DSN(database string) string {
	q := url.Values{"host": {c.dir}}
	return (&url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database, RawQuery: q.Encode()}).String()
}

// Log returns what the server has written.
func (c *Cluster) Log() ([]byte, error) { return os.ReadFile(filepath.Join(c.dir, "log")) }

// Stop ends the server at once, without a last checkpoint, and returns when its files are gone.
// Stopping twice is fine.
func (c *Cluster) Stop() {
	_ = c.held.Close() // a second close says so, which is no news
	<-c.done
}

// memory is the free space, in bytes, that makes the memory file system worth using: databases of
// tests are about 8 MB each, and few live at the same time.
const memory = 1 << 30

// home is where servers keep their files. One that need not be durable lives in memory where there
// is room, because making a database means making a thousand files. Otherwise the path must be
// short, because a socket's whole path may have 107 bytes, and open to the user postgres.
func home(durable bool) string {
	var shm unix.Statfs_t
	if !durable && unix.Statfs("/dev/shm", &shm) == nil && shm.Bavail*uint64(shm.Bsize) >= memory &&
		unix.Access("/dev/shm", unix.W_OK) == nil {
		return "/dev/shm"
	}
	if dir := os.TempDir(); os.Getuid() != 0 && len(dir) <= 60 {
		return dir
	}
	return "/tmp"
}

// server returns the ids of the user that PostgreSQL runs as.
func server(name string) (uid, gid uint32, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("tests run as root and need the user %s, which the Debian package postgresql makes: %w", name, err)
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return 0, 0, err
	}
	group, err := strconv.ParseUint(u.Gid, 10, 32)
	return uint32(id), uint32(group), err
}

// Binaries returns the folder that holds PostgreSQL's programs, newest version first, installing
// them where Debian's package manager may be used.
func Binaries(ctx context.Context) (string, error) {
	if dir, ok := binaries(); ok {
		return dir, nil
	}
	_, here, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(here), "..", "..", "..", "scripts", "deps")
	out, err := exec.CommandContext(ctx, script, "postgresql").CombinedOutput()
	if dir, ok := binaries(); ok {
		return dir, nil
	}
	if err == nil {
		err = errors.New("it is still not in /usr/lib/postgresql or on PATH")
	}
	return "", fmt.Errorf("PostgreSQL is missing and could not be installed: install the Debian package postgresql (14 or later): %w\n%s", err, tail(out, 5))
}

func binaries() (string, bool) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is a constant, so it cannot be bad
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), true
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", false
	}
	if real, err := filepath.EvalSymlinks(initdb); err == nil {
		initdb = real
	}
	return filepath.Dir(initdb), true
}

// version reads the 15 of /usr/lib/postgresql/15/bin/initdb.
func version(initdb string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	if err != nil {
		return 0
	}
	return n
}

// tail returns the last lines of a text.
func tail(text []byte, lines int) string {
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
