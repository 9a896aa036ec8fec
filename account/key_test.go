package account

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/store"
)

func TestKeysSignOnlyForThemselves(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		public, private, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		shared, err := r.CreateKey(t.Context(), by, v.Account, NewKey{Label: "bot", Kind: HMAC, Scopes: []string{Trade, Read}, Password: goodPassword})
		must(t, err)
		pair, err := r.CreateKey(t.Context(), by, v.Account, NewKey{Label: "pair", Kind: Ed25519, PublicKey: base64.StdEncoding.EncodeToString(public), Scopes: []string{Read}, Password: goodPassword})
		must(t, err)
		if len(shared.Secret.Reveal()) != 64 || pair.Secret != "" || len(shared.Key.ID) > 64 || strings.Join(shared.Key.Scopes, ",") != "read,trade" {
			t.Errorf("%+v %+v", shared, pair)
		}
		if owner, err := ParseKeyID(shared.Key.ID); err != nil || owner != v.Account {
			t.Errorf("the id names %q, %v", owner, err)
		}

		text := []byte("symbol=BTCUSDT&timestamp=1")
		mac := hmac.New(sha256.New, []byte(shared.Secret.Reveal()))
		mac.Write(text)
		right := map[string][]byte{shared.Key.ID: mac.Sum(nil), pair.Key.ID: ed25519.Sign(private, text)}
		keys, err := ListKeys(t.Context(), r.db, v.Account)
		must(t, err)
		for _, k := range keys {
			for id, signature := range right {
				got, err := k.Verify(r.db.Keys(), text, signature)
				if err != nil || got != (id == k.ID) {
					t.Errorf("%s with the signature of %s: %v %v", k.Label, id, got, err)
				}
			}
			for _, bad := range [][]byte{nil, {}, right[k.ID][1:], append(bytes.Clone(right[k.ID]), 0)} {
				if got, err := k.Verify(r.db.Keys(), text, bad); got || err != nil {
					t.Errorf("%s: %x passes, %v", k.Label, bad, err)
				}
			}
			if got, _ := k.Verify(r.db.Keys(), append(text, '0'), right[k.ID]); got {
				t.Errorf("%s: another text passes", k.Label)
			}
		}

		// A sealed secret that somebody moved to another key is refused, not used.
		moved := shared.Key
		moved.ID, moved.Material = pair.Key.ID, keys[1].Material
		if keys[1].ID != shared.Key.ID {
			moved.Material = keys[0].Material
		}
		if _, err := moved.Verify(r.db.Keys(), text, right[shared.Key.ID]); err == nil {
			t.Error("a secret worked under another id")
		}
		r.box.take(t, mail, "New API key")
	})
}

func TestKeysAreRefusedWithAReason(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		good := NewKey{Label: "bot", Kind: HMAC, Scopes: []string{Read}, Password: goodPassword}
		for code, change := range map[string]func(*NewKey){
			"label":                    func(n *NewKey) { n.Label = " \x00 " },
			"scope":                    func(n *NewKey) { n.Scopes = []string{"admin"} },
			"withdraw_needs_addresses": func(n *NewKey) { n.Scopes = []string{Withdraw} },
			"address_list":             func(n *NewKey) { n.Addresses = []string{"home"} },
			"address_wide":             func(n *NewKey) { n.Addresses = []string{"0.0.0.0/0"} },
			"expiry":                   func(n *NewKey) { n.ExpiresAt = time.Now().Add(-time.Second) },
			"key_kind":                 func(n *NewKey) { n.Kind = "rsa" },
			"public_key":               func(n *NewKey) { n.Kind = Ed25519; n.PublicKey = "AAAA" },
			"wrong_password":           func(n *NewKey) { n.Password = otherPassword },
		} {
			n := good
			change(&n)
			_, err := r.CreateKey(t.Context(), by, v.Account, n)
			wantCode(t, err, code)
		}
		if keys, err := ListKeys(t.Context(), r.db, v.Account); err != nil || len(keys) != 0 {
			t.Errorf("%+v %v", keys, err)
		}
	})
}

func TestANewKeyWaitsBeforeItWithdraws(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		c, err := r.CreateKey(t.Context(), by, v.Account, NewKey{Label: "bot", Kind: HMAC, Scopes: []string{Read, Withdraw}, Addresses: []string{"198.51.100.0/24"}, Password: goodPassword})
		must(t, err)
		if wait := c.Key.WithdrawFrom.Sub(c.Key.CreatedAt); wait != 24*time.Hour {
			t.Errorf("withdraws after %s", wait)
		}
		m := r.box.take(t, mail, "New API key")
		if !strings.Contains(m.Text, "198[.]51") && !strings.Contains(m.Text, "198.51.100.0/24") {
			t.Errorf("the mail does not name the addresses:\n%s", m.Text)
		}
		r.freeze(by, v.Account)
		r.restore(v.Account)
		s := r.enter(mail)
		k, err := r.EnableKey(t.Context(), s.Actor(r.from), v.Account, c.Key.ID, goodPassword)
		if err != nil || !k.WithdrawFrom.After(c.Key.WithdrawFrom) {
			t.Errorf("enabled again, it withdraws from %s, %v", k.WithdrawFrom, err)
		}
	})
}

func TestDeletedKeysStayDeleted(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		other := r.join("second@holdfast.test")
		by := v.Session.Actor(r.from)
		var ids []string
		for range 3 {
			c, err := r.CreateKey(t.Context(), by, v.Account, NewKey{Label: "bot", Kind: HMAC, Scopes: []string{Read}, Password: goodPassword})
			must(t, err)
			ids = append(ids, c.Key.ID)
		}
		wantCode(t, r.DeleteKey(t.Context(), other.Session.Actor(r.from), other.Account, ids[0]), "unknown_key")
		must(t, r.DeleteKey(t.Context(), by, v.Account, ids[0]))
		must(t, r.DeleteKey(t.Context(), by, v.Account, ids[0]))
		n, err := r.DeleteAllKeys(t.Context(), by, v.Account)
		if err != nil || n != 2 {
			t.Errorf("%d %v", n, err)
		}
		if got := r.closings(v.Account); got != "key_deleted key_deleted key_deleted" {
			t.Errorf("announced %q", got)
		}
		_, err = r.EnableKey(t.Context(), by, v.Account, ids[0], goodPassword)
		wantCode(t, err, "unknown_key")
		_, err = r.DeleteAllKeys(t.Context(), evidence.Actor{Kind: evidence.Key, ID: ids[0]}, v.Account)
		wantCode(t, err, "not_allowed")
	})
}

func TestAnAccountHasAMostOfKeys(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.cfg.Keys = 2
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		n := NewKey{Label: "bot", Kind: HMAC, Scopes: []string{Read}, Password: goodPassword}
		for range 2 {
			_, err := r.CreateKey(t.Context(), by, v.Account, n)
			must(t, err)
		}
		_, err := r.CreateKey(t.Context(), by, v.Account, n)
		wantCode(t, err, "too_many_keys")
	})
}

func TestAllowsOnlyListedAddresses(t *testing.T) {
	list, err := ParseAddresses([]string{"203.0.113.7", "198.51.100.0/24", "::ffff:192.0.2.1", "2001:db8::/32", "198.51.100.9/24"})
	must(t, err)
	if len(list) != 4 {
		t.Errorf("%v", list)
	}
	k := Key{Addresses: list}
	for address, want := range map[string]bool{
		"203.0.113.7": true, "203.0.113.8": false, "198.51.100.200": true, "::ffff:198.51.100.1": true, "192.0.2.1": true,
		"2001:db8::1": true, "2001:db8::1%eth0": true, "2001:db9::1": false,
	} {
		if got := k.Allows(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if k.Allows(netip.Addr{}) {
		t.Error("an unknown address passes a list")
	}
	if !(Key{}).Allows(netip.Addr{}) {
		t.Error("a key without a list refuses")
	}
}

func TestPublicKeysInEveryForm(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	good := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	for _, text := range []string{good, "\n" + good + "\n", base64.StdEncoding.EncodeToString(public), base64.RawURLEncoding.EncodeToString(public)} {
		if got, err := ParsePublicKey(text); err != nil || !got.Equal(public) {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, err = ParsePublicKey(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	wantCode(t, err, "private_key")
	for _, text := range []string{"", good + good, strings.Repeat("A", 3000), base64.StdEncoding.EncodeToString(public[1:])} {
		_, err := ParsePublicKey(text)
		wantCode(t, err, "public_key")
	}
}

func FuzzParseAddresses(f *testing.F) {
	for _, s := range []string{"203.0.113.7", "2001:db8::/32", "::ffff:192.0.2.1/120", "fe80::1%eth0", "1.2.3.4/8 ", "0/0", "", ",", "10.0.0.1/33"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseAddresses(strings.Split(text, ","))
		if err != nil {
			return
		}
		// What was accepted survives being kept, and lets in what it names and nothing of the
		// other family.
		back, err := ReadAddresses(joinAddresses(list))
		if err != nil || len(back) != len(list) {
			t.Fatalf("%v came back as %v, %v", list, back, err)
		}
		for i, p := range list {
			if back[i] != p || p != p.Masked() || p.Addr().Is4In6() || p.Bits() < 8 {
				t.Fatalf("%v %v", p, back[i])
			}
			if !(Key{Addresses: list}).Allows(p.Addr()) {
				t.Fatalf("%v refuses its own %v", list, p)
			}
		}
	})
}

func FuzzParseKeyID(f *testing.F) {
	id, err := newKeyID(ID(store.NewID()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(id)
	f.Add("hfk_")
	f.Add(id + "=")
	f.Fuzz(func(t *testing.T, key string) {
		owner, err := ParseKeyID(key)
		if err != nil {
			return
		}
		// One key has one spelling: two that lead to one account differ in what follows its name.
		raw, err := base64.RawURLEncoding.DecodeString(key[len(keyPrefix):])
		if err != nil || keyPrefix+base64.RawURLEncoding.EncodeToString(raw) != key || len(owner) != 36 {
			t.Fatalf("%q is read as %q", key, owner)
		}
	})
}
