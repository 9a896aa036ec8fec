package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"holdfast/account"
	"holdfast/api"
	"holdfast/detect"
	"holdfast/web/holder"
)

// openSigns is how many signs the holder's pages show at once.
const openSigns = 20

// face makes the two faces of the house: the holders' pages and the API.
func (h *house) face() error {
	proxies, err := h.cfg.proxies()
	if err != nil {
		return err
	}
	pages, err := holder.New(holder.Config{
		DB: h.db, Accounts: h.accounts, Guard: h.guard, Base: h.cfg.base(), Mailbox: h.mailbox, Log: h.log,
		Address: clientAddress(proxies),
		Signs:   holder.Signs{Open: h.openSigns, Dismiss: h.detect.Dismiss},
	})
	if err != nil {
		return err
	}
	h.pages = pages.Handler()
	h.api = api.New(api.Config{DB: h.db, Accounts: h.accounts, Guard: h.guard, Detect: h.detect, Log: h.log, TrustedProxies: proxies})
	scheme := "http"
	if h.cfg.TLSCert != "" {
		scheme = "https"
	}
	h.apiURL = scheme + "://" + h.cfg.API
	return nil
}

// openSigns reads the signs that the holder has not answered, as the pages show them.
func (h *house) openSigns(ctx context.Context, id account.ID) ([]holder.Sign, error) {
	found, err := detect.Signs(ctx, h.db, id, true, openSigns)
	if err != nil {
		return nil, err
	}
	var signs []holder.Sign
	for _, s := range found {
		signs = append(signs, holder.Sign{ID: s.ID, Rule: string(s.Rule), Words: s.Sentence(), At: s.At})
	}
	return signs, nil
}

// clientAddress finds the client's address of a request. X-Forwarded-For is read from its end, past
// every proxy of ours: what stands before the last stranger was written by the stranger.
func clientAddress(proxies []netip.Prefix) func(*http.Request) string {
	ours := func(addr netip.Addr) bool {
		for _, p := range proxies {
			if p.Contains(addr) {
				return true
			}
		}
		return false
	}
	return func(r *http.Request) string {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return host
		}
		addr = addr.Unmap().WithZone("")
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for i := len(hops) - 1; i >= 0 && ours(addr); i-- {
			before, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
			if err != nil {
				break
			}
			addr = before.Unmap().WithZone("")
		}
		return addr.String()
	}
}
