//go:build linux

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// trace is what strace saw of a server, line by line. strace stops a thread at the beginning and at
// the end of each call and writes a line at each; so if one call happened after another had returned
// in the server, its line stands after the other's. No clock is needed, and none is read.
type trace struct {
	arrived map[string]int // line on which a request had been read, by its marker
	logged  map[string]int // line on which what it changed was written to SQLite's log, by its marker
	answers map[string]int // line on which the answer about an account began to be written
	syncs   []syncCall     // of SQLite's files
}

type syncCall struct{ began, returned int }

// traceCalls are the calls that strace shows.
const traceCalls = "trace=read,recvfrom,write,sendto,pwrite64,fsync,fdatasync"

// underStrace starts a server that strace watches. end stops the server, waits for strace and
// returns the trace.
func (s *site) underStrace(t *testing.T, tags string, more ...string) (p *process, end func() string) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is missing: scripts/deps strace installs it")
	}
	dir := t.TempDir()
	file, number := filepath.Join(dir, "trace"), filepath.Join(dir, "pid")
	// The shell names its process and becomes the server, so that the server can be told to stop:
	// strace itself hears no signal while it writes to a file.
	around := append([]string{"strace", "-f", "--seccomp-bpf", "-y", "-s", "16384", "-e", "signal=none", "-o", file}, more...)
	around = append(around, "/bin/sh", "-c", `echo $$ >"$0"; exec "$@"`, number)
	stop := func(signal syscall.Signal) {
		text, err := os.ReadFile(number)
		must(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		must(t, err)
		_ = syscall.Kill(pid, signal) // it may have ended already
	}
	p = s.serve(tags, around...)
	ended := false
	t.Cleanup(func() {
		if !ended {
			stop(syscall.SIGKILL)
			<-p.ended
		}
	})
	return p, func() string {
		stop(syscall.SIGTERM)
		<-p.ended
		ended = true
		return file
	}
}

var (
	syncWhole  = regexp.MustCompile(`^\d+ +f(?:data)?sync\(\d+<([^>]*)>\) += 0`)
	syncBegins = regexp.MustCompile(`^(\d+) +f(?:data)?sync\(\d+<([^>]*)> <unfinished`)
	syncEnds   = regexp.MustCompile(`^(\d+) +<\.\.\. f(?:data)?sync resumed>\) += 0`)
	reading    = regexp.MustCompile(`^\d+ +(?:read|recvfrom|<\.\.\. (?:read|recvfrom) resumed)[(>]`)
	logging    = regexp.MustCompile(`^\d+ +p?write(?:64)?\(\d+<([^>]*)>, "`)
	answering  = regexp.MustCompile(`^\d+ +(?:write|sendto)\(\d+<[^>]*>+, "HTTP/1\.1 200 `)
)

// readTrace reads what matters of a trace: markers are words in requests that the database keeps as
// they are, accounts are words in answers.
func readTrace(t *testing.T, file string, markers, accounts []string) trace {
	t.Helper()
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	out := trace{arrived: map[string]int{}, logged: map[string]int{}, answers: map[string]int{}}
	begun := map[string]int{} // by thread
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, 1<<20), 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch {
		case reading.MatchString(line):
			first(out.arrived, line, n, markers)
		case answering.MatchString(line):
			first(out.answers, line, n, accounts)
		default:
			if m := logging.FindStringSubmatch(line); m != nil && ofSQLite(m[1]) {
				first(out.logged, line, n, markers)
			}
		}
		if m := syncWhole.FindStringSubmatch(line); m != nil && ofSQLite(m[1]) {
			out.syncs = append(out.syncs, syncCall{n, n})
		} else if m := syncBegins.FindStringSubmatch(line); m != nil && ofSQLite(m[2]) {
			begun[m[1]] = n
		} else if m := syncEnds.FindStringSubmatch(line); m != nil && begun[m[1]] > 0 {
			out.syncs = append(out.syncs, syncCall{begun[m[1]], n})
			delete(begun, m[1])
		}
	}
	must(t, lines.Err())
	return out
}

func ofSQLite(path string) bool {
	return strings.HasSuffix(path, sqliteFile) || strings.HasSuffix(path, sqliteFile+"-wal")
}

// first notes the line as the first for each of the words that it contains.
func first(lines map[string]int, line string, n int, words []string) {
	for _, word := range words {
		if _, known := lines[word]; !known && strings.Contains(line, word) {
			lines[word] = n
		}
	}
}

// synced reports whether, between the arrival of a request and its answer, what it changed was written
// to the log and a sync began after that and returned. A sync of something else does not count.
func (tr trace) synced(marker, account string) (ok, seen bool) {
	from, written, answered := tr.arrived[marker], tr.logged[marker], tr.answers[account]
	if from == 0 || answered == 0 {
		return false, false
	}
	for _, s := range tr.syncs {
		if from < written && written < s.began && s.returned < answered {
			return true, true
		}
	}
	return false, true
}
