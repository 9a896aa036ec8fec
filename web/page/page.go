// Package page is the design system of Holdfast's pages: the tokens and styles, a dozen
// components, the layout with Freeze in its place, and what stands around every request
// (content policy, cross-origin protection, limits, request ids, the error page).
//
// The doors (holder, agent) own their routes, templates and words; here is only how they
// look and what keeps them safe. A component is a typed struct that implements Part; a page
// is a typed struct that embeds Frame. There are no untyped maps.
//
// What can go wrong here: a template that fails half-way (so pages are rendered into memory
// first, and a failure becomes the error page), hostile text in a value (so everything goes
// through html/template, and no component takes ready-made HTML), a page that works only
// with a script (so the script only adds to what the server sent).
//
// It refuses to show the cause of an error, to run inline scripts or styles, to be framed
// by another site, and to load anything from elsewhere.
package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
)

//go:embed layout.html failure.html gallery.html fragment.html parts/*.html
var ownTemplates embed.FS

// Frame is what every page has around its content. A page struct embeds it.
type Frame struct {
	// Title is the page's name, for the window and, by default, the first heading.
	Title string
	// Lang and Dir are the language and direction of the text: "en" and "ltr" when empty.
	Lang, Dir string
	// Holder is the mail address of whoever is signed in; empty on a logged-out page.
	Holder string
	// Here is the path of the way (navigation entry) that this page belongs to.
	Here string
	// Ways are the entries of the navigation.
	Ways []Way
	// Freeze is the button that is always in the same place.
	Freeze FreezeButton
	// States are the banners on top: what is blocked, until when, why, what lifts it; and
	// what was just done.
	States []Banner
	// Wide lets an agent's desk and the gallery use the full width.
	Wide bool
	// Refresh makes the page load itself again after so many seconds where no script runs;
	// 0 means never. Used while receipts are still arriving.
	Refresh int
	// Demo says that this is a demonstration with a local mailbox.
	Demo bool
}

func (f *Frame) frame() *Frame { return f }

// Framed is implemented by embedding Frame.
type Framed interface{ frame() *Frame }

// Way is an entry of the navigation.
type Way struct{ Href, Label, Icon string }

// FreezeButton says how the button in the header stands. Its zero value leads a signed-out
// person to the emergency page, because that is what Freeze means for them.
type FreezeButton int

const (
	// FreezeSignedOut leads to the emergency page.
	FreezeSignedOut FreezeButton = iota
	// FreezeOpen is the red button: the account is open.
	FreezeOpen
	// FreezeDone leads to the receipts: the account is frozen.
	FreezeDone
	// FreezePress is the press itself, on a page whose form has the id "press".
	FreezePress
	// FreezeHere leads to the form of the emergency page, on that page.
	FreezeHere
)

// SignedOut, Open and Done let templates ask without knowing numbers.
func (b FreezeButton) SignedOut() bool { return b == FreezeSignedOut }

// Press reports whether the button is the press itself.
func (b FreezeButton) Press() bool { return b == FreezePress }

// Here reports whether the button leads to the form on the same page.
func (b FreezeButton) Here() bool { return b == FreezeHere }

// Open reports whether the account is open, so that the button freezes.
func (b FreezeButton) Open() bool { return b == FreezeOpen }

// Done reports whether the account is frozen.
func (b FreezeButton) Done() bool { return b == FreezeDone }

// Set is a parsed set of pages. It is safe for concurrent use.
type Set struct {
	pages    map[string]*template.Template
	fragment *template.Template
	log      *slog.Logger
}

// Parse reads every *.html file of pages as a page of that name (without suffix) and joins
// it with the layout. A template that does not parse is a defect of the build, so it is
// returned for the caller to stop at start.
func Parse(log *slog.Logger, pages fs.FS) (*Set, error) {
	base, err := template.New("layout.html").Funcs(functions).ParseFS(ownTemplates, "layout.html")
	if err != nil {
		return nil, fmt.Errorf("parse layout: %w", err)
	}
	s := &Set{pages: map[string]*template.Template{}, log: log}
	if err := s.add(base, ownTemplates, "failure.html", "gallery.html"); err != nil {
		return nil, err
	}
	if s.fragment, err = template.New("fragment.html").Funcs(functions).ParseFS(ownTemplates, "fragment.html"); err != nil {
		return nil, fmt.Errorf("parse fragment: %w", err)
	}
	names, err := fs.Glob(pages, "*.html")
	if err != nil {
		return nil, fmt.Errorf("list pages: %w", err)
	}
	if err := s.add(base, pages, names...); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Set) add(base *template.Template, from fs.FS, names ...string) error {
	for _, file := range names {
		t, err := template.Must(base.Clone()).ParseFS(from, file)
		if err != nil {
			return fmt.Errorf("parse page %s: %w", file, err)
		}
		s.pages[strings.TrimSuffix(path.Base(file), ".html")] = t
	}
	return nil
}

// Has reports whether the set has a page of this name.
func (s *Set) Has(name string) bool { return s.pages[name] != nil }

// Write renders the page and sends it with the status. When rendering fails nothing of the
// half-made page is sent; the person gets the error page and the operator gets the cause.
func (s *Set) Write(w http.ResponseWriter, r *http.Request, status int, name string, p Framed) {
	body, err := s.render(name, p)
	if err != nil {
		s.log.ErrorContext(r.Context(), "page not rendered", "page", name, "request", RequestID(r.Context()), "error", err)
		if name == "failure" {
			http.Error(w, "Something failed on our side.", http.StatusInternalServerError)
			return
		}
		s.Fail(w, r, Failed)
		return
	}
	send(w, r, status, body)
}

// WriteParts sends components alone, without the layout: what a live region fetches.
func (s *Set) WriteParts(w http.ResponseWriter, r *http.Request, parts ...Part) {
	var b bytes.Buffer
	if err := s.fragment.Execute(&b, parts); err != nil {
		s.log.ErrorContext(r.Context(), "fragment not rendered", "request", RequestID(r.Context()), "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	send(w, r, http.StatusOK, b.Bytes())
}

func (s *Set) render(name string, p Framed) ([]byte, error) {
	t := s.pages[name]
	if t == nil {
		return nil, fmt.Errorf("no page %q", name)
	}
	f := p.frame()
	if f.Lang == "" {
		f.Lang = "en"
	}
	if f.Dir == "" {
		f.Dir = "ltr"
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the reader may have gone; there is nobody left to tell
	}
}
