package holder

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"

	"holdfast/web/page"
)

// shot is one line of the list that e2e/shots.mjs reads.
type shot struct {
	Route    string `json:"route"`
	State    string `json:"state"`
	Path     string `json:"path"`
	SignedIn bool   `json:"signed_in"`
}

// TestShotServer serves every state of every page as the product would send it, and checks
// that each answers. With HOLDFAST_SHOTS set to a file name it writes the address there and
// serves until its standard input ends: that is how e2e/shots.mjs takes its pictures.
func TestShotServer(t *testing.T) {
	set, err := page.Parse(slog.New(slog.NewTextHandler(io.Discard, nil)), pagesFS())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	list := []shot{{"GET /design", "usual", "/design", false}, {"GET /design", "rtl", "/design?dir=rtl", false}, {"failure", "missing", "/nowhere", false}}
	for _, s := range states() {
		mux.HandleFunc("GET "+s.Path, func(w http.ResponseWriter, r *http.Request) { set.Write(w, r, http.StatusOK, s.Page, s.Make()) })
		list = append(list, shot{s.Route, s.Name, s.Path, s.SignedIn})
	}
	mux.HandleFunc("GET /design", set.Gallery)
	mux.HandleFunc("GET /assets/{name}", page.Assets)
	mux.HandleFunc("GET /worker.js", page.ServiceWorker)
	mux.HandleFunc("GET /manifest.webmanifest", page.Manifest)
	mux.HandleFunc("GET /emergency", func(w http.ResponseWriter, r *http.Request) {
		set.Write(w, r, http.StatusOK, "emergency", emergency(guest, "", "", ""))
	})
	mux.HandleFunc("GET /offline", func(w http.ResponseWriter, r *http.Request) {
		set.Write(w, r, http.StatusOK, "offline", offline(guest))
	})
	for _, p := range []string{"/freeze/receipts", "/frozen/receipts"} {
		mux.HandleFunc("GET "+p, func(w http.ResponseWriter, r *http.Request) {
			set.WriteParts(w, r, *receipts(frozenProtection(false), p))
		})
	}
	mux.HandleFunc("GET /mailbox/m1/html", func(w http.ResponseWriter, _ *http.Request) {
		page.Sandbox(w)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><html lang=en><title>Mail</title><body><main><h1>Someone signed in</h1><p>Was it you?</p></main>")
	})
	mux.HandleFunc("GET /shots.json", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(list) })

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: set.Protect(mux, false)}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	base := "http://" + listener.Addr().String()
	for _, s := range list {
		answer, err := http.Get(base + s.Path)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if want := map[bool]int{true: 404, false: 200}[s.Route == "failure"]; answer.StatusCode != want {
			t.Errorf("%s %s: status %d", s.Route, s.State, answer.StatusCode)
		}
	}
	if file := os.Getenv("HOLDFAST_SHOTS"); file != "" {
		if err := os.WriteFile(file, []byte(base), 0o644); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	_ = server.Close()
	<-stopped
}
