// Package holdfast_test keeps the sentences about this house true: which room may import which, who
// may begin a write, and how a file and a test look. A sentence that no test keeps is a wish.
//
// It reads source text only; nothing is built, so it also speaks when a room does not compile.
package holdfast_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "holdfast"

// floors are the rooms from the ground up. A room imports rooms below its own floor, and itself.
var floors = [][]string{
	{"fault"},
	{"store"},
	{"evidence"},
	{"notice", "permit"},
	{"account"},
	{"ledger"},
	{"guard"},
	{"detect"},
	{"incident"},
	{"web", "api", "ssf", "watch"},
	{"cmd"},
}

// pure rooms take values and return values: they import nothing of ours.
var pure = []string{"forensics", "ledger/trace", "evidence/verify"}

// contract is the generated code that both sides of the network share; it belongs to no floor.
const contract = "api/holdfast/v1"

// client is what an integrator imports. It may know the contract only, so that it can be used
// without the server's rooms.
const client = "api/client"

// exchange is a customer's program that happens to live here.
const exchange = "examples/exchange"

// harness may be imported by any test.
const harness = "store/storetest"

// drivers speak to a database engine.
var drivers = regexp.MustCompile(`^(modernc\.org/sqlite|github\.com/jackc/pgx|github\.com/lib/pq|github\.com/pressly/goose|github\.com/riverqueue/river/riverdriver/.+|github\.com/mattn/go-sqlite3)`)

const longest = 700 // lines of a file

// source is one Go file of the repository.
type source struct {
	path      string // from the root, with slashes
	dir       string // its package
	test      bool
	generated bool
	text      []byte
	file      *ast.File
	set       *token.FileSet
}

func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.set.Position(n.Pos()).Line)
}

// imports returns what the file imports of this module, as paths from the root.
func (s source) imports(t *testing.T) (ours, others []string) {
	t.Helper()
	for _, spec := range s.file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatalf("%s: %v", s.at(spec), err)
		}
		if rest, ok := strings.CutPrefix(name, module+"/"); ok {
			ours = append(ours, rest)
		} else {
			others = append(others, name)
		}
	}
	return ours, others
}

// sources parses every Go file except those of tools/, which is a module of its own.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(name string, text []byte) {
		if path.Ext(name) != ".go" || below(name, "tools") {
			return
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			t.Errorf("%s cannot be read: %v", name, err)
			return
		}
		all = append(all, source{
			path: name, dir: path.Dir(name), text: text, file: file, set: set,
			test:      strings.HasSuffix(name, "_test.go"),
			generated: ast.IsGenerated(file),
		})
	})
	if len(all) == 0 {
		t.Fatal("no Go file was found: this test looks in the wrong place")
	}
	return all
}

// walk calls visit for every file that a person wrote or that is committed.
func walk(t *testing.T, visit func(name string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(name), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// below reports whether a path is dir or inside it.
func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

func floor(dir string) (room string, n int) {
	for n, rooms := range floors {
		for _, room := range rooms {
			if below(dir, room) {
				return room, n
			}
		}
	}
	return "", -1
}

// refusal says why a package may not import another of ours, or "".
func refusal(from, to string, test bool) string {
	room, at := floor(from)
	target, floorOf := floor(to)
	switch {
	case test && below(to, harness):
		return ""
	case slices.ContainsFunc(pure, func(p string) bool { return below(from, p) }):
		if slices.ContainsFunc(pure, func(p string) bool { return below(from, p) && below(to, p) }) || test && from == to {
			return ""
		}
		return "a pure room imports nothing of ours"
	case slices.ContainsFunc(pure, func(p string) bool { return below(to, p) }):
		return "" // values in, values out: anyone may
	case below(from, exchange):
		if below(to, exchange) || below(to, contract) || below(to, client) {
			return ""
		}
		return "the exchange knows the public API only, as a customer would"
	case below(to, "examples"):
		if below(from, "cmd") {
			return ""
		}
		return "only cmd, for the demonstration, and the example itself import an example"
	case below(to, contract):
		return ""
	case below(from, contract):
		return "the contract imports nothing of ours"
	case below(from, client) && !below(to, client) && !test:
		return "the client knows the contract only"
	case below(to, client) && (test || below(from, "cmd") || below(from, client)):
		return ""
	case below(to, harness) && !below(from, harness):
		return "only tests import the harness"
	case at < 0:
		return "this folder is no room: give it a place in floors"
	case floorOf < 0:
		return "that folder is no room: give it a place in floors"
	case room == target || floorOf < at:
		return ""
	case floorOf == at && test:
		return "" // a test may join what stands side by side, as cmd does
	case floorOf == at:
		return room + " and " + target + " stand on the same floor and do not know each other"
	default:
		return target + " is above " + room
	}
}

func TestImportsGoDown(t *testing.T) {
	for _, s := range sources(t) {
		ours, _ := s.imports(t)
		for _, to := range ours {
			if why := refusal(s.dir, to, s.test); why != "" {
				t.Errorf("%s imports %s: %s", s.path, to, why)
			}
		}
	}
}

// TestImportRules tries the rules above on imports that must be refused: a rule with a hole would
// otherwise pass unseen.
func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		from, to string
		test, ok bool
	}{
		{"guard", "account", false, true},
		{"account", "guard", false, false},
		{"account", "guard", true, false},
		{"notice", "permit", false, false},
		{"notice", "permit", true, true},
		{"store", "fault", false, true},
		{"fault", "store", false, false},
		{"evidence", "evidence/verify", false, true},
		{"evidence/verify", "evidence", false, false},
		{"evidence/verify", "fault", false, false},
		{"web/holder", "web/page", false, true},
		{"web/holder", "api", false, false},
		{"web/holder", "guard", false, true},
		{"api", "api/holdfast/v1/holdfastv1connect", false, true},
		{"api/client", "guard", false, false},
		{"api/client", "api/holdfast/v1", false, true},
		{"examples/exchange", "api/client", false, true},
		{"examples/exchange", "guard", false, false},
		{"examples/exchange", "guard", true, false},
		{"cmd/holdfast", "examples/exchange", false, true},
		{"web/holder", "examples/exchange", false, false},
		{"guard", "store/storetest", true, true},
		{"guard", "store/storetest", false, false},
		{"drawer", "fault", false, false},
	} {
		if got := refusal(c.from, c.to, c.test); (got == "") != c.ok {
			t.Errorf("%s imports %s (test %v): %q", c.from, c.to, c.test, got)
		}
	}
}

func TestOnlyStoreNamesADriver(t *testing.T) {
	for _, s := range sources(t) {
		if below(s.dir, "store") || below(s.dir, "examples") {
			continue
		}
		_, others := s.imports(t)
		for _, to := range others {
			if drivers.MatchString(to) {
				t.Errorf("%s imports %s: only store names a driver", s.path, to)
			}
		}
	}
}

// TestOnlyPermitBeginsAWrite looks for calls that begin a transaction that may change an account.
// db.Write is told from io.Writer's by its two arguments, a context and a function.
func TestOnlyPermitBeginsAWrite(t *testing.T) {
	for _, s := range sources(t) {
		if below(s.dir, "store") || below(s.dir, "examples") || s.dir == "permit" || s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch name := method.Sel.Name; {
			case name == "Write" && len(call.Args) == 2:
				t.Errorf("%s calls Write: only permit begins a write; go through its door", s.at(call))
			case name == "BeginTx" || name == "Begin" && len(call.Args) == 0:
				t.Errorf("%s calls %s: only store begins a transaction", s.at(call), name)
			}
			return true
		})
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	said := map[string]bool{}
	for _, s := range sources(t) {
		if s.generated || s.test && s.dir != "." {
			continue
		}
		said[s.dir] = said[s.dir] || s.file.Doc != nil && len(s.file.Doc.Text()) > 80
	}
	for dir, ok := range said {
		if !ok {
			t.Errorf("package %s has no doc comment that says what it is for, what can go wrong and what it refuses to do", dir)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	kinds := []string{".go", ".sql", ".html", ".css", ".js", ".mjs", ".proto", ".sh"}
	walk(t, func(name string, text []byte) {
		if !slices.Contains(kinds, path.Ext(name)) || bytes.Contains(text[:min(len(text), 300)], []byte("DO NOT EDIT")) {
			return
		}
		if n := bytes.Count(text, []byte("\n")); n > longest {
			t.Errorf("%s has %d lines, more than %d: which two nouns are in it?", name, n, longest)
		}
	})
}

// TestTestsNeitherSleepNorSkip: a sleep is slow on a fast machine and wrong on a slow one; a skipped
// test is a pass that nobody earned.
func TestTestsNeitherSleepNorSkip(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			on, _ := method.X.(*ast.Ident)
			switch method.Sel.Name {
			case "Sleep":
				if on != nil && on.Name == "time" && !insideSynctest(s.file, call) {
					t.Errorf("%s sleeps: wait for the thing itself", s.at(call))
				}
			case "Skip", "Skipf", "SkipNow":
				t.Errorf("%s skips: fail, or do not write the test", s.at(call))
			}
			return true
		})
	}
	skips := regexp.MustCompile(`\b(?:test|it|describe|t)\.skip\(|\bskip:`)
	walk(t, func(name string, text []byte) {
		if (strings.HasSuffix(name, ".mjs") || strings.HasSuffix(name, ".js")) && below(name, "e2e") && skips.Match(text) {
			t.Errorf("%s skips a test", name)
		}
	})
}

// insideSynctest reports whether a call stands in a function given to synctest.Test, where time is
// simulated and sleeping is how it moves.
func insideSynctest(file *ast.File, call *ast.CallExpr) bool {
	inside := false
	ast.Inspect(file, func(n ast.Node) bool {
		outer, ok := n.(*ast.CallExpr)
		if !ok || inside {
			return !inside
		}
		method, ok := outer.Fun.(*ast.SelectorExpr)
		if !ok || method.Sel.Name != "Test" {
			return true
		}
		if on, ok := method.X.(*ast.Ident); ok && on.Name == "synctest" {
			inside = outer.Pos() <= call.Pos() && call.End() <= outer.End()
		}
		return !inside
	})
	return inside
}
