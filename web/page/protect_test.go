package page

import (
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func door(t *testing.T) (*Set, http.Handler) {
	t.Helper()
	set, err := Parse(quiet(), fstest.MapFS{
		"broken.html": {Data: []byte(`{{define "main"}}begin {{.Nothing}}{{end}}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /design", set.Gallery)
	mux.HandleFunc("GET /assets/{name}", Assets)
	mux.HandleFunc("GET /worker.js", ServiceWorker)
	mux.HandleFunc("GET /manifest.webmanifest", Manifest)
	mux.HandleFunc("POST /act", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "acted "+r.PostFormValue("x")) })
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, r *http.Request) { set.Write(w, r, http.StatusOK, "broken", &galleryPage{}) })
	//lint:ignore SA5000 the handler breaks on purpose
	mux.HandleFunc("GET /breaks", func(http.ResponseWriter, *http.Request) { var m map[string]int; m["x"] = 1 })
	return set, set.Protect(mux, true)
}

func request(t *testing.T, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for name, want := range map[string]string{"Content-Security-Policy": Policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Strict-Transport-Security": "max-age=31536000"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s %s: %s is %q", r.Method, r.URL, name, got)
		}
	}
	if !regexp.MustCompile(`^[A-Z2-7]{4}-[A-Z2-7]{4}$`).MatchString(w.Header().Get("X-Request-Id")) {
		t.Errorf("request id %q", w.Header().Get("X-Request-Id"))
	}
	return w
}

func form(body string) *http.Request {
	r := httptest.NewRequest("POST", "/act", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestWhatIsRefusedChangesNothingAndSaysSo(t *testing.T) {
	_, h := door(t)
	crossSite := form("x=1")
	crossSite.Header.Set("Sec-Fetch-Site", "cross-site")
	foreign := form("x=1")
	foreign.Header.Set("Origin", "https://evil.example")
	asJSON := httptest.NewRequest("POST", "/act", strings.NewReader(`{"x":1}`))
	asJSON.Header.Set("Content-Type", "application/json")
	for name, c := range map[string]struct {
		r      *http.Request
		status int
	}{
		"cross-site":   {crossSite, 403},
		"foreign":      {foreign, 403},
		"json":         {asJSON, 415},
		"no type":      {httptest.NewRequest("POST", "/act", strings.NewReader("x=1")), 415},
		"wrong method": {httptest.NewRequest("GET", "/act", nil), 405},
		"delete":       {httptest.NewRequest("DELETE", "/act", nil), 405},
		"no page":      {httptest.NewRequest("GET", "/nowhere", nil), 404},
		"too large":    {form("x=" + strings.Repeat("a", MaxBody)), 400},
		"damaged":      {form("x=%zz"), 400},
		"broken page":  {httptest.NewRequest("GET", "/broken", nil), 500},
		"broken off":   {httptest.NewRequest("GET", "/breaks", nil), 500},
	} {
		w := request(t, h, c.r)
		body := w.Body.String()
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d", name, w.Code, c.status)
		}
		if strings.Contains(body, "acted") || strings.Contains(body, "begin ") || strings.Contains(body, "Nothing}}") || strings.Contains(body, "nil map") {
			t.Errorf("%s: %s", name, body)
		}
		if !strings.Contains(body, w.Header().Get("X-Request-Id")) {
			t.Errorf("%s: no id to quote", name)
		}
	}
	if w := request(t, h, form("x=1")); w.Code != 200 || w.Body.String() != "acted 1" {
		t.Errorf("our own form: %d %s", w.Code, w.Body)
	}
	if w := request(t, h, httptest.NewRequest("GET", "/act", nil)); w.Header().Get("Allow") != "POST" {
		t.Errorf("Allow is %q", w.Header().Get("Allow"))
	}
}

func TestPagesLoadOnlyWhatIsServed(t *testing.T) {
	_, h := door(t)
	loads := regexp.MustCompile(`(?:src|href)="?(/assets/[^"]+)"|"(/assets/[^"]+)"`)
	for _, path := range []string{"/design", "/worker.js", "/manifest.webmanifest"} {
		w := request(t, h, httptest.NewRequest("GET", path, nil))
		found := loads.FindAllStringSubmatch(w.Body.String(), -1)
		if w.Code != 200 || len(found) == 0 {
			t.Fatalf("%s: status %d, %d assets", path, w.Code, len(found))
		}
		for _, m := range found {
			if a := request(t, h, httptest.NewRequest("GET", m[1]+m[2], nil)); a.Code != 200 || !strings.Contains(a.Header().Get("Cache-Control"), "immutable") {
				t.Errorf("%s loads %s: %d", path, m[1]+m[2], a.Code)
			}
		}
	}
}

func TestTemplatesHaveNothingInline(t *testing.T) {
	inline := regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<style|<script(?:>|\s[^>]*>[^<])`)
	err := fs.WalkDir(ownTemplates, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(ownTemplates, p)
		if found := inline.Find(text); found != nil {
			t.Errorf("%s: %s", p, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAllowFormToTakesOneOrigin(t *testing.T) {
	w := httptest.NewRecorder()
	head(w.Header(), "", false)
	AllowFormTo(w, "https://exchange.test:8443")
	if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, "form-action 'self' https://exchange.test:8443;") {
		t.Error(got)
	}
	w = httptest.NewRecorder()
	head(w.Header(), "", false)
	AllowFormTo(w, "https://evil.example; script-src *")
	if got := w.Header().Get("Content-Security-Policy"); got != Policy {
		t.Error(got)
	}
}
