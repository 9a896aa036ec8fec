// Package holder is the pages of the person to whom an account belongs: signing up and in, what
// is blocked and what lifts it, Freeze with its receipts, the guided response, devices, API keys,
// activity and security.
//
// A page is one Go file, one template of the same name and one typed struct; routes.go has all
// routes. A handler reads what was typed, calls a room and shows the answer: what is allowed is
// decided by the rooms, behind permit's door, and no page checks for a freeze itself. Every page
// works without a script.
//
// What can go wrong here: a link that a mail scanner opens (so opening one never changes
// anything, only a press does), a public form that tells strangers who has an account (so it
// answers the same for every address), a press that looks sent and was not (so the page says it),
// and words that frighten or blame. The package refuses to show the cause of a failure.
package holder

import (
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"holdfast/account"
	"holdfast/guard"
	"holdfast/notice"
	"holdfast/store"
	"holdfast/web/page"
)

//go:embed pages/*.html
var pageFiles embed.FS

// pagesFS is the templates, one for each page.
func pagesFS() fs.FS {
	sub, err := fs.Sub(pageFiles, "pages")
	if err != nil {
		return pageFiles // cannot be: the folder is part of the binary, and a missing page fails at its first use
	}
	return sub
}

// Config is what the pages stand on.
type Config struct {
	DB       *store.DB
	Accounts *account.Accounts
	Guard    *guard.Guard
	Signs    Signs
	// Base is the address under which browsers reach the pages, such as "https://holdfast.example",
	// without a slash at its end. With https, cookies are bound to it and HSTS is sent.
	Base string
	// Address returns the client's address of a request; the connection's when nil. Behind a proxy
	// it must read only what that proxy set.
	Address func(*http.Request) string
	// Mailbox is shown in demonstrations; nil otherwise.
	Mailbox *notice.Mailbox
	Log     *slog.Logger
}

// Pages is the holder's door. It is safe for concurrent use.
type Pages struct {
	cfg   Config
	set   *page.Set
	https bool
}

// New returns the pages. An error is a defect of the templates.
func New(cfg Config) (*Pages, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Address == nil {
		cfg.Address = connected
	}
	set, err := page.Parse(cfg.Log, pagesFS())
	if err != nil {
		return nil, fmt.Errorf("holder pages: %w", err)
	}
	return &Pages{cfg: cfg, set: set, https: strings.HasPrefix(cfg.Base, "https://")}, nil
}

// Handler serves the pages, with everything around them that a request needs.
func (p *Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range p.routes() {
		mux.HandleFunc(r.pattern, r.serve)
	}
	return p.set.Protect(mux, p.https)
}

func connected(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
