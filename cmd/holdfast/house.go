package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/api"
	"holdfast/detect"
	"holdfast/guard"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// house is the rooms of a server, joined. It listens nowhere by itself.
type house struct {
	cfg      Config
	log      *slog.Logger
	db       *store.DB
	door     *permit.Door
	post     *notice.Post
	accounts *account.Accounts
	guard    *guard.Guard
	detect   *detect.Detect
	clock    *steadyClock
	places   *account.Places
	// mailbox is where a demonstration keeps mails; nil where they are sent.
	mailbox *notice.Mailbox

	pages http.Handler
	api   *api.API
	// apiURL is the address of the API as service keys name it.
	apiURL string
}

// openStore opens the database with the key file. It never makes keys.
func openStore(ctx context.Context, cfg Config, now func() time.Time) (*store.DB, error) {
	keys, err := store.ReadKeyset(cfg.keys())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(err, "holdfast init --dir %s makes a key file; beside an old database, bring its own back from the back-up", cfg.State)
	}
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, store.Config{DSN: cfg.dsn(), Keys: keys, Now: now, AllowVolatile: volatileStore})
}

// sender returns what carries mails: a mail server, or in a demonstration without one the mailbox.
func sender(ctx context.Context, cfg Config, db *store.DB) (notice.Sender, *notice.Mailbox, error) {
	if cfg.MailHost == "" {
		box := notice.NewMailbox(db)
		return box, box, nil
	}
	password, err := cfg.mailPassword()
	if err != nil {
		return nil, nil, err
	}
	from, err := mail.ParseAddress(cfg.MailFrom)
	if err != nil {
		return nil, nil, withHint(fmt.Errorf("--mail-from %q: %w", cfg.MailFrom, err), `write it as "Holdfast <security@example.com>"`)
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	keys, err := notice.ReadDKIM(ctx, db, domain)
	if errors.Is(err, notice.ErrNoDKIM) {
		keys, err = notice.NewDKIM(ctx, db, domain)
	}
	if err != nil {
		return nil, nil, err
	}
	s, err := notice.NewSMTP(notice.SMTPConfig{
		Host: cfg.MailHost, Port: cfg.MailPort, TLS: notice.TLSMode(cfg.MailTLS),
		Username: cfg.MailUser, Password: password, From: cfg.MailFrom, DKIM: keys,
	})
	return s, nil, err
}

// build joins the rooms on an open database: from the ground up, each knowing only what is below it.
func build(cfg Config, db *store.DB, send notice.Sender, log *slog.Logger) (*house, error) {
	h := &house{cfg: cfg, log: log, db: db}
	var err error
	if cfg.GeoIP != "" {
		if h.places, err = account.OpenPlaces(cfg.GeoIP); err != nil {
			return nil, err
		}
	}
	h.door = permit.NewDoor(db, log)
	h.post, err = notice.NewPost(db, notice.Config{House: notice.House{Base: cfg.base(), Name: cfg.Name}, Sender: send, Log: log})
	if err != nil {
		return nil, err
	}
	h.accounts, err = account.New(h.door, h.post, account.Config{
		Idle: cfg.SessionIdle, Longest: cfg.SessionMost, CodeWithin: cfg.MailedCode, WithdrawWait: cfg.KeyWait,
		Cost:    account.Cost{Memory: cfg.HashMemory, Passes: cfg.HashPasses, Lanes: 1},
		Hashers: cfg.Hashers, Places: h.places, Log: log,
	})
	if err != nil {
		return nil, err
	}
	lengths, err := cfg.holds()
	if err != nil {
		return nil, err
	}
	h.detect = detect.New(h.door, h.post)
	h.guard, err = guard.New(h.door, h.accounts, h.post, h.detect, log, guard.Config{Lengths: lengths, SendWindow: cfg.SendWindow})
	if err != nil {
		return nil, err
	}
	h.door.Join(h.accounts, h.guard)
	h.guard.HandleReports()
	return h, nil
}

// close gives back what the house holds of its own. The database is the caller's.
func (h *house) close() error {
	if h.guard != nil {
		h.guard.Close()
	}
	return h.places.Close()
}

// tidyEvery is how often what nobody will ask for any more is dropped.
const tidyEvery = time.Hour

// tidy keeps the tables small until ctx ends. A round that fails is logged: the next one does its
// work too.
func (h *house) tidy(ctx context.Context) {
	every := time.NewTicker(tidyEvery)
	defer every.Stop()
	for {
		if err := errors.Join(h.door.Tidy(ctx), h.accounts.Tidy(ctx), h.post.Tidy(ctx)); err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "tidy", "error", err)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}
