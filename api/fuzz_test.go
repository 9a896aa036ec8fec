package api

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/uuid"

	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/store"
	"holdfast/store/storetest"
)

// FuzzServiceToken: nothing that was not signed with a key that is in use counts, whatever its form.
func FuzzServiceToken(f *testing.F) {
	for _, seed := range []string{
		"", "Bearer", "Bearer a.b.c", "bearer eyJhbGciOiJFZERTQSJ9.e30.AAAA", "Bearer eyJhbGciOiJub25lIn0.e30.",
		`Bearer {"payload":"e30","signatures":[{"protected":"e30","signature":"AA"}]}`, "Basic YTpi",
	} {
		f.Add(seed)
	}
	a := New(Config{DB: storetest.Open(f, store.SQLite)})
	f.Fuzz(func(t *testing.T, header string) {
		if key, err := a.serviceKey(t.Context(), bearer(http.Header{"Authorization": {header}})); err == nil {
			t.Fatalf("%q was taken for a token of %s", header, key.Service)
		}
	})
}

// FuzzForwarded: the client's address is an address or nothing, and without a trusted proxy it is
// the connection's, whatever was written.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{"", "203.0.113.9", "203.0.113.9, 127.0.0.1", "::1, ::ffff:1.2.3.4", "fe80::1%eth0", ",,,", "unknown", "203.0.113.9:80"} {
		f.Add(seed, "127.0.0.1:9")
		f.Add(seed, "[::1]:9")
	}
	trusting := New(Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	careful := New(Config{})
	f.Fuzz(func(t *testing.T, forwarded, remote string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		got := trusting.clientAddress(r)
		if at, err := netip.ParseAddr(got); got != "" && (err != nil || at.Is4In6() || at.Zone() != "") {
			t.Errorf("%q from %q is no address: %q", forwarded, remote, got)
		}
		if got := careful.clientAddress(r); got != careful.clientAddress(&http.Request{RemoteAddr: remote}) {
			t.Errorf("believed %q from %q", forwarded, remote)
		}
	})
}

// FuzzAccountName: only a UUID in its one form names an account by our id.
func FuzzAccountName(f *testing.F) {
	for _, seed := range []string{"", "platform", "?ab", "0198c0de-0000-7000-8000-000000000000", "0198C0DE-0000-7000-8000-000000000000", "{0198c0de-0000-7000-8000-000000000000}", "urn:uuid:0198c0de-0000-7000-8000-000000000000"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, err := ref(&holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_AccountId{AccountId: name}})
		if err != nil {
			return
		}
		if id, err := uuid.Parse(name); err != nil || id.String() != name || strings.ToLower(name) != name || string(got.ID) != name || got.External != "" {
			t.Errorf("%q names %+v", name, got)
		}
	})
}
