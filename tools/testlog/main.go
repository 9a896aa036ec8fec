// Command testlog reads `go test -json` and prints what a person needs: each package as it ends,
// the whole output of what failed, and at the end the ten slowest tests.
//
// It exits with 1 when anything failed, when the stream was cut short, and when it holds no test:
// a log that shows nothing must not look like success.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

type event struct {
	Action      string
	Package     string
	ImportPath  string // of a build
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

type test struct {
	name    string
	seconds float64
}

const slowest = 10

func main() {
	ok, err := report(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

// log is what has been read so far.
type log struct {
	out    io.Writer
	output map[[2]string][]string // by package and test, or by build
	open   map[string]bool        // packages that began and have not ended
	tests  []test
	passed int
	failed []string
}

func report(in io.Reader, out io.Writer) (bool, error) {
	l := &log{out: out, output: map[[2]string][]string{}, open: map[string]bool{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			l.line(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	return l.end(), nil
}

func (l *log) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		fmt.Fprint(l.out, line) // go itself said something
		return
	}
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "start":
		l.open[e.Package] = true
	case "output":
		l.output[key] = append(l.output[key], e.Output)
	case "build-output":
		build := [2]string{e.ImportPath, "build"}
		l.output[build] = append(l.output[build], e.Output)
	case "pass", "skip", "fail":
		l.ended(e, key)
	}
}

func (l *log) ended(e event, key [2]string) {
	if e.Test == "" {
		l.packageEnded(e, key)
		return
	}
	if !strings.Contains(e.Test, "/") {
		l.tests = append(l.tests, test{strings.TrimPrefix(e.Package, "holdfast/") + " " + e.Test, e.Elapsed})
	}
	if e.Action == "fail" {
		l.failed = append(l.failed, e.Package+" "+e.Test)
		fmt.Fprint(l.out, strings.Join(l.output[key], ""))
	} else {
		l.passed++
	}
	delete(l.output, key)
}

func (l *log) packageEnded(e event, key [2]string) {
	delete(l.open, e.Package)
	switch {
	case e.Action == "fail":
		l.failed = append(l.failed, e.Package)
		build := [2]string{e.FailedBuild, "build"}
		fmt.Fprint(l.out, strings.Join(l.output[build], ""))
		l.unfinished(e.Package)
		fmt.Fprint(l.out, strings.Join(l.output[key], ""))
		fmt.Fprintf(l.out, "FAIL %-40s %7.1f s\n", e.Package, e.Elapsed)
	case e.Action == "pass":
		fmt.Fprintf(l.out, "ok   %-40s %7.1f s\n", e.Package, e.Elapsed)
	}
	delete(l.output, key)
}

// unfinished prints what tests wrote that were still running when their package failed: a panic or
// a timeout says its reason there.
func (l *log) unfinished(pkg string) {
	for key, lines := range l.output {
		if key[0] == pkg && key[1] != "" {
			fmt.Fprint(l.out, strings.Join(lines, ""))
			delete(l.output, key)
		}
	}
}

// end prints the summary and says whether everything passed.
func (l *log) end() bool {
	slices.SortStableFunc(l.tests, func(a, b test) int { return cmp.Compare(b.seconds, a.seconds) })
	fmt.Fprintln(l.out, "\nThe slowest tests:")
	for _, t := range l.tests[:min(slowest, len(l.tests))] {
		fmt.Fprintf(l.out, "  %6.1f s  %s\n", t.seconds, t.name)
	}
	for pkg := range l.open {
		l.failed = append(l.failed, pkg+" (did not end)")
	}
	fmt.Fprintf(l.out, "%d passed, %d failed\n", l.passed, len(l.failed))
	for _, name := range l.failed {
		fmt.Fprintln(l.out, "  failed:", name)
	}
	return len(l.failed) == 0 && l.passed > 0
}
