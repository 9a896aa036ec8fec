package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/store"
)

// serveCmd runs the server.
type serveCmd struct {
	Config `embed:""`
}

// Run serves until ctx ends, then lets open requests finish.
func (s serveCmd) Run(ctx context.Context, c console) error {
	if err := s.check(false); err != nil {
		return err
	}
	log := newLog(c.talk, s.LogFormat)
	run, err := start(ctx, s.Config, log)
	if err != nil {
		return err
	}
	c.say("Holdfast is ready. Pages: %s   API: %s   operators: %s", run.house.cfg.base(), run.house.apiURL, s.socket())
	return run.wait(ctx)
}

func newLog(w io.Writer, format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// running is a server that listens.
type running struct {
	house   *house
	servers []*http.Server
	work    *errgroup.Group
	failed  <-chan struct{} // closed when a part ended by itself
	forget  context.CancelFunc
}

// start opens the database, joins the rooms and listens. When it returns without an error, a
// request sent to any of the addresses is answered.
func start(ctx context.Context, cfg Config, log *slog.Logger) (*running, error) {
	// Listeners first: a busy port is found before the database is opened and locked.
	var open []net.Listener
	undo := func(err error) (*running, error) {
		for _, l := range open {
			err = errors.Join(err, l.Close())
		}
		return nil, err
	}
	pages, err := listen("--pages", "HOLDFAST_PAGES", cfg.Pages)
	if err != nil {
		return undo(err)
	}
	open = append(open, pages)
	api, err := listen("--api", "HOLDFAST_API", cfg.API)
	if err != nil {
		return undo(err)
	}
	open = append(open, api)
	cfg.Pages, cfg.API = pages.Addr().String(), api.Addr().String() // port 0 has become a number
	if cfg.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		if err != nil {
			return undo(fmt.Errorf("certificate: %w", err))
		}
		pages = tls.NewListener(pages, tlsConfig(pair))
		api = tls.NewListener(api, tlsConfig(pair))
	}
	clock, err := openClock(cfg.State, log)
	if err != nil {
		return undo(err)
	}
	db, err := openStore(ctx, cfg, clock.Now)
	if err != nil {
		return undo(err)
	}
	h, err := openHouse(ctx, cfg, db, log)
	if err != nil {
		return undo(errors.Join(err, db.Close()))
	}
	h.clock = clock
	if err := h.checkHistory(ctx); err != nil {
		return undo(errors.Join(err, h.close(), db.Close()))
	}
	commands, err := listenSocket(cfg.socket())
	if err != nil {
		return undo(errors.Join(err, h.close(), db.Close()))
	}
	if err := h.post.Start(ctx); err != nil {
		return undo(errors.Join(err, commands.Close(), h.close(), db.Close()))
	}
	r := &running{house: h}
	remembering, forget := context.WithCancel(context.WithoutCancel(ctx))
	r.forget = forget
	work, lost := errgroup.WithContext(context.WithoutCancel(ctx))
	r.work, r.failed = work, lost.Done()
	work.Go(func() error { return h.remember(remembering) })
	work.Go(func() error { h.tidy(remembering); return nil })
	r.serve(pages, pagesServer(h))
	r.serve(api, h.api.Server())
	r.serve(commands, newSocket(h).server())
	return r, nil
}

// openHouse chooses who carries mails, joins the rooms and makes the platform's own chain.
func openHouse(ctx context.Context, cfg Config, db *store.DB, log *slog.Logger) (*house, error) {
	send, box, err := sender(ctx, cfg, db)
	if err != nil {
		return nil, err
	}
	h, err := build(cfg, db, send, log)
	if err != nil {
		return nil, err
	}
	h.mailbox = box
	if err := h.door.Platform(ctx); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, h.face()
}

func tlsConfig(pair tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// pagesServer is the server of the holders' pages, with its limits.
func pagesServer(h *house) *http.Server {
	return &http.Server{
		Handler:           h.pages,
		MaxHeaderBytes:    16 << 10,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(h.log.Handler(), slog.LevelWarn),
	}
}

func (r *running) serve(l net.Listener, srv *http.Server) {
	r.servers = append(r.servers, srv)
	r.work.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("listener %s: %w", l.Addr(), err)
		}
		return nil
	})
}

// wait serves until ctx ends or a listener fails, then stops in good order.
func (r *running) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-r.failed:
	}
	return r.stop(context.WithoutCancel(ctx))
}

// stop takes no new requests, lets the open ones finish, ends the delivery of mails, and closes the
// database last.
func (r *running) stop(ctx context.Context) error {
	h := r.house
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Drain)
	defer cancel()
	var errs []error
	for _, srv := range r.servers {
		if err := srv.Shutdown(ctx); err != nil {
			errs = append(errs, srv.Close()) // whoever is still reading is cut off
		}
	}
	r.forget()
	errs = append(errs, r.work.Wait(), h.post.Stop(ctx), h.close(), h.db.Close())
	return errors.Join(errs...)
}

// listen opens a TCP address, and says how to choose another when it is taken.
func listen(flag, variable, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, withHint(fmt.Errorf("the address %s is in use by another program", addr), "stop it, or choose another with %s or the variable %s, as in %s=127.0.0.1:9080", flag, variable, variable)
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, withHint(fmt.Errorf("the address %s needs more rights than this user has", addr), "use a port above 1023 with %s or the variable %s", flag, variable)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return l, nil
}
