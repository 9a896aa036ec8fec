package holdfast_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are the documents that a person wrote, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	walk(t, func(name string, text []byte) {
		if path.Ext(name) == ".md" && (path.Dir(name) == "." || below(name, "docs")) {
			all[name] = string(text)
		}
	})
	if len(all) < 5 {
		t.Fatalf("only %d pages: this test looks in the wrong place", len(all))
	}
	return all
}

// TestDocsNameTestsThatExist: a page that says "this is tested" must not outlive the test.
func TestDocsNameTestsThatExist(t *testing.T) {
	have := map[string]bool{}
	for _, s := range sources(t) {
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(s.text, -1) {
			have[string(m[1])] = true
		}
	}
	for name, text := range pages(t) {
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`").FindAllStringSubmatch(text, -1) {
			if !have[m[1]] {
				t.Errorf("%s names %s, and there is no such test", name, m[1])
			}
		}
	}
}

// TestDocsLinksLeadSomewhere follows every link inside the repository.
func TestDocsLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)|<img src="([^"]+)"`)
	for name, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to := m[1] + m[2]
			if strings.Contains(to, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(path.Dir(name), to)); err != nil {
				t.Errorf("%s links to %s: %v", name, to, err)
			}
		}
	}
}

// TestDocsShowVerbsThatExist: a command that somebody types at night has to be one.
func TestDocsShowVerbsThatExist(t *testing.T) {
	text, err := os.ReadFile("cmd/holdfast/main.go")
	if err != nil {
		t.Fatal(err)
	}
	verbs := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\t([A-Z]\\w+) +\\w+Cmd +`cmd:\"\"").FindAllSubmatch(text, -1) {
		verbs[strings.ToLower(string(m[1]))] = true
	}
	if len(verbs) < 10 {
		t.Fatalf("only %d verbs were found in main.go", len(verbs))
	}
	for name, text := range pages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:^|[`$] ?)holdfast ([a-z]+)").FindAllStringSubmatch(text, -1) {
			if !verbs[m[1]] {
				t.Errorf("%s shows holdfast %s, which is no command", name, m[1])
			}
		}
	}
}
