package holder

import (
	"bytes"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"holdfast/account"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
	"holdfast/web/page"
)

// bareDoor is the pages with everything registered, on an empty database.
func bareDoor(t *testing.T) *Pages {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	db := storetest.Open(t, store.SQLite)
	door := permit.NewDoor(db, log)
	post, err := notice.NewPost(db, notice.Config{House: notice.House{Base: "https://holdfast.test"}, Sender: notice.NewMailbox(db), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := account.New(door, post, account.Config{Cost: account.Cost{Memory: 64, Passes: 1, Lanes: 1}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{DB: db, Accounts: accounts, Base: "https://holdfast.test", Mailbox: notice.NewMailbox(db), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryPageHasItsStates(t *testing.T) {
	p := bareDoor(t)
	seen := map[string]bool{"GET /design": true} // the picture server shows the gallery itself
	templates := map[string]bool{}
	for _, s := range states() {
		seen[s.Route], templates[s.Page] = true, true
		if !p.set.Has(s.Page) {
			t.Errorf("%s [%s]: no template %q", s.Route, s.Name, s.Page)
		}
	}
	patterns := map[string]bool{}
	for _, r := range p.routes() {
		patterns[r.pattern] = true
		if !r.bare && !seen[r.pattern] {
			t.Errorf("%s has no list of states in states_test.go", r.pattern)
		}
	}
	for route := range seen {
		if !patterns[route] {
			t.Errorf("states for %s, which is no route", route)
		}
	}
	files, err := fs.Glob(pagesFS(), "*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !templates[strings.TrimSuffix(f, ".html")] {
			t.Errorf("template %s is shown in no state", f)
		}
	}
}

func TestEveryRouteIsProtected(t *testing.T) {
	p := bareDoor(t)
	h := p.Handler()
	for _, r := range p.routes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.NewReplacer("{$}", "", "{token}", "x", "{id}", "x", "{name}", "x").Replace(path)
		ask := func(method string, change func(*http.Request)) *httptest.ResponseRecorder {
			q := httptest.NewRequest(method, path, nil)
			q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			change(q)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, q)
			if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors ") {
				t.Errorf("%s %s: policy %q", method, path, policy)
			}
			return w
		}
		if method == http.MethodPost {
			if w := ask(method, func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "cross-site") }); w.Code != http.StatusForbidden {
				t.Errorf("%s from another site: %d", r.pattern, w.Code)
			}
			if w := ask(method, func(q *http.Request) { q.Header.Set("Content-Type", "multipart/form-data; boundary=x") }); w.Code != http.StatusUnsupportedMediaType {
				t.Errorf("%s with another type: %d", r.pattern, w.Code)
			}
		} else if w := ask(method, func(*http.Request) {}); w.Code >= 500 {
			t.Errorf("%s: %d", r.pattern, w.Code)
		}
		if w := ask(http.MethodDelete, func(*http.Request) {}); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("DELETE %s: %d", path, w.Code)
		}
	}
}

func TestEveryStateEscapesAndHoldsNothingInline(t *testing.T) {
	set, err := page.Parse(slog.New(slog.NewTextHandler(io.Discard, nil)), pagesFS())
	if err != nil {
		t.Fatal(err)
	}
	inline := regexp.MustCompile(`(?i)<[^>]*\s(style|on[a-z]+)=|<style|<script[^>]*>[^<]`)
	for _, s := range states() {
		w := httptest.NewRecorder()
		set.Write(w, httptest.NewRequest("GET", "/", nil), s.Status, s.Page, s.Make())
		body := w.Body.Bytes()
		if w.Code != s.Status {
			t.Errorf("%s [%s]: status %d", s.Route, s.Name, w.Code)
		}
		if found := inline.Find(body); found != nil {
			t.Errorf("%s [%s]: %s", s.Route, s.Name, found)
		}
		if bytes.Contains(body, []byte("<script>")) || bytes.Contains(body, []byte("ZgotmplZ")) {
			t.Errorf("%s [%s]: text became markup", s.Route, s.Name)
		}
		if n := bytes.Count(body, []byte("<h1")); n != 1 {
			t.Errorf("%s [%s]: %d first headings", s.Route, s.Name, n)
		}
	}
}

func TestMailLinksLeadOnlyToOurPages(t *testing.T) {
	got := mailLinks("https://holdfast.test", "https://holdfast.test/freeze/A https://evil.example/freeze/B https://holdfast.test.evil.example/freeze/C\nhttps://holdfast.test/verify/D https://holdfast.test/elsewhere https://holdfast.test/freeze/A")
	if len(got) != 2 || got[0].Href != "/freeze/A" || got[1].Href != "/verify/D" {
		t.Errorf("%v", got)
	}
}

func TestPlaceInTheActivityIsReadBack(t *testing.T) {
	s := since{seq: 7}
	s.place.At, s.place.Seq = now, 3
	if got := parseSince(s.String()); got.seq != 7 || got.place.Seq != 3 || !got.place.At.Equal(now) {
		t.Errorf("%v became %v", s, got)
	}
	for _, hostile := range []string{"", "x", "1.2", "1.2.x", "-1.2.3", "99999999999999999999.1.1", strings.Repeat("9.", 100)} {
		if got := parseSince(hostile); got.seq < 0 || got.place.Seq < 0 {
			t.Errorf("%q became %v", hostile, got)
		}
	}
}
