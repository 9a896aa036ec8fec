package holdfast_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDependenciesEarnTheirPlace: every module that our code imports, every tool and every package
// of the tests stands in docs/decisions/dependencies.md with a reason, and nothing else does.
//
// Which modules are imported is read from the code, not from the comments of go.mod.
func TestDependenciesEarnTheirPlace(t *testing.T) {
	const page = "docs/decisions/dependencies.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllSubmatch(text, -1) {
		said[string(m[1])] = true
	}
	used := map[string]string{} // what, and where it is used
	modules := required(t, "go.mod")
	for _, s := range sources(t) {
		_, others := s.imports(t)
		for _, path := range others {
			module := ""
			for _, m := range modules {
				if below(path, m) && len(m) > len(module) {
					module = m
				}
			}
			if module != "" {
				used[module] = s.path
			} else if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s, which is in no module of go.mod", s.path, path)
			}
		}
	}
	tools, err := os.ReadFile("tools/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllSubmatch(tools, -1) { // not "// indirect"
		used[string(m[1])] = "tools/go.mod"
	}
	block := regexp.MustCompile(`(?s)tool \(\n(.*?)\)`).FindSubmatch(tools)
	if block == nil {
		t.Fatal("tools/go.mod has no block of tools")
	}
	for path := range strings.FieldsSeq(string(block[1])) {
		for _, m := range required(t, "tools/go.mod") {
			if below(path, m) {
				used[m] = "tools/go.mod"
			}
		}
	}
	var npm struct{ Dependencies, DevDependencies, OptionalDependencies map[string]string }
	raw, err := os.ReadFile("package.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &npm); err != nil {
		t.Fatal(err)
	}
	for _, list := range []map[string]string{npm.Dependencies, npm.DevDependencies, npm.OptionalDependencies} {
		for name := range list {
			used[name] = "package.json"
		}
	}
	for name, where := range used {
		if !said[name] {
			t.Errorf("%s does not say why there is %s (%s)", page, name, where)
		}
	}
	for name := range said {
		if used[name] == "" {
			t.Errorf("%s gives a reason for %s, which nothing uses", page, name)
		}
	}
}

// required returns the modules that a go.mod requires.
func required(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+`).FindAllSubmatch(text, -1) {
		modules = append(modules, string(m[1]))
	}
	if len(modules) == 0 {
		t.Fatalf("%s requires nothing", file)
	}
	return modules
}
