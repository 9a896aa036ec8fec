package account_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
)

var operator = evidence.Actor{Kind: evidence.Operator, ID: "ana"}

// eachDoor runs f with a door on which no account room stands: services need none.
func eachDoor(t *testing.T, f func(t *testing.T, door *permit.Door)) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		door := permit.NewDoor(db, slog.New(slog.DiscardHandler))
		if err := door.Platform(t.Context()); err != nil {
			t.Fatal(err)
		}
		f(t, door)
	})
}

func addService(t *testing.T, door *permit.Door, name string, scopes, returnTo []string) account.ServiceKey {
	t.Helper()
	k, err := account.AddService(t.Context(), door, operator, name, scopes, returnTo)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestServiceKeysRotate(t *testing.T) {
	eachDoor(t, func(t *testing.T, door *permit.Door) {
		first := addService(t, door, "exchange", []string{"ledger", "guard"}, []string{"https://exchange.example/in"})
		if got := strings.Join(first.Scopes, " "); got != "guard ledger" || !first.Covers("guard") || first.Covers("accounts") {
			t.Errorf("scopes %q", got)
		}
		second := addService(t, door, "exchange", []string{"guard"}, []string{"https://exchange.example/in"})
		if _, err := account.AddService(t.Context(), door, operator, "exchange", []string{"guard"}, nil); fault.CodeOf(err) != "service_keys" {
			t.Errorf("a third key: %v", err)
		}
		for range 2 { // the second time changes nothing
			if err := account.RemoveServiceKey(t.Context(), door, operator, first.ID); err != nil {
				t.Fatal(err)
			}
		}
		removed, err := account.FindServiceKey(t.Context(), door.DB(), first.ID)
		if err != nil || removed.RemovedAt.IsZero() || removed.Service != "exchange" || !slices.Equal(removed.Public, first.Public) {
			t.Errorf("%+v %v", removed, err)
		}
		addService(t, door, "exchange", []string{"guard"}, nil)
		all, err := account.ListServices(t.Context(), door.DB())
		if err != nil || len(all) != 3 || all[0].ID != first.ID || all[1].ID != second.ID {
			t.Errorf("%v %v", all, err)
		}
		if err := account.RemoveServiceKey(t.Context(), door, operator, "hfs_other"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("an unknown key: %v", err)
		}
		entries, err := evidence.Read(t.Context(), door.DB(), door.DB().Keys(), evidence.Platform, 0, 10)
		if err != nil || len(entries) != 4 || entries[1].Act != permit.RemoveService || entries[1].Actor.ID != "ana" || entries[1].Detail["key"] != first.ID {
			t.Errorf("%+v %v", entries, err)
		}
	})
}

func TestOnlyAnOperatorAddsServices(t *testing.T) {
	eachDoor(t, func(t *testing.T, door *permit.Door) {
		by := evidence.Actor{Kind: evidence.Integrator, ID: "exchange"}
		if _, err := account.AddService(t.Context(), door, by, "wallet", []string{"guard"}, nil); fault.KindOf(err) != fault.Denied {
			t.Errorf("a service made a service: %v", err)
		}
		k := addService(t, door, "exchange", []string{"guard"}, nil)
		if err := account.RemoveServiceKey(t.Context(), door, by, k.ID); fault.KindOf(err) != fault.Denied {
			t.Errorf("a service removed a key: %v", err)
		}
	})
}

func TestAtMostTwoKeysWhenManyAddAtOnce(t *testing.T) {
	eachDoor(t, func(t *testing.T, door *permit.Door) {
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if _, err := account.AddService(t.Context(), door, operator, "exchange", []string{"guard"}, nil); err != nil && fault.CodeOf(err) != "service_keys" {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if all, err := account.ListServices(t.Context(), door.DB()); err != nil || len(all) != 2 {
			t.Errorf("%d keys, %v", len(all), err)
		}
	})
}

func TestServiceKeyFileHoldsTheKeyAndTheDatabaseDoesNot(t *testing.T) {
	eachDoor(t, func(t *testing.T, door *permit.Door) {
		k := addService(t, door, "exchange", []string{"guard"}, nil)
		text, err := k.File("http://127.0.0.1:8082")
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Service    string `json:"service"`
			KeyID      string `json:"key_id"`
			PrivateKey string `json:"private_key"`
			URL        string `json:"url"`
		}
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		seed, err := base64.StdEncoding.DecodeString(file.PrivateKey)
		if err != nil || file.Service != "exchange" || file.KeyID != k.ID || file.URL != "http://127.0.0.1:8082" {
			t.Fatalf("%+v %v", file, err)
		}
		kept, err := account.FindServiceKey(t.Context(), door.DB(), k.ID)
		if err != nil || !kept.Public.Equal(ed25519.NewKeyFromSeed(seed).Public()) {
			t.Errorf("the file's key is not the one that is kept: %v", err)
		}
		if kept.Seed != "" {
			t.Error("the private half came out of the database")
		}
		var dump bytes.Buffer
		if _, err := evidence.Export(t.Context(), door.DB(), evidence.Platform, &dump); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(dump.String(), file.PrivateKey) || strings.Contains(fmt.Sprintf("%v %+v", k, k), file.PrivateKey) {
			t.Error("the private half is in the record or prints")
		}
	})
}

func TestReturnToIsFoundLetterByLetter(t *testing.T) {
	eachDoor(t, func(t *testing.T, door *permit.Door) {
		const at = "https://exchange.example/in"
		k := addService(t, door, "exchange", []string{"sign_in"}, []string{at, at})
		if service, err := account.FindReturnTo(t.Context(), door.DB(), at); err != nil || service != "exchange" {
			t.Errorf("%q %v", service, err)
		}
		for _, other := range []string{"", at + "/", at + "?x=1", "https://exchange.example", "http://exchange.example/in", "https://EXCHANGE.example/in"} {
			if service, err := account.FindReturnTo(t.Context(), door.DB(), other); fault.KindOf(err) != fault.NotFound {
				t.Errorf("%q is %q's: %v", other, service, err)
			}
		}
		if _, err := account.AddService(t.Context(), door, operator, "wallet", []string{"sign_in"}, []string{at}); fault.CodeOf(err) != "return_to_taken" {
			t.Errorf("two services share an address: %v", err)
		}
		if err := account.RemoveServiceKey(t.Context(), door, operator, k.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := account.FindReturnTo(t.Context(), door.DB(), at); fault.KindOf(err) != fault.NotFound {
			t.Errorf("a removed key's address counts: %v", err)
		}
	})
}

func TestServicesAreRefusedByForm(t *testing.T) {
	eachDoor(t, func(t *testing.T, door *permit.Door) {
		for _, c := range []struct {
			name, code       string
			scopes, returnTo []string
		}{
			{"x", "service_name", []string{"guard"}, nil},
			{"Exchange", "service_name", []string{"guard"}, nil},
			{"9exchange", "service_name", []string{"guard"}, nil},
			{"exchange-", "service_name", []string{"guard"}, nil},
			{strings.Repeat("x", 33), "service_name", []string{"guard"}, nil},
			{"holdfast", "service_name", []string{"guard"}, nil}, // would sign receipts in our name
			{"exchange", "scope", nil, nil},
			{"exchange", "scope", []string{"guard", "everything"}, nil},
			{"exchange", "return_to", []string{"sign_in"}, []string{"http://exchange.example/in"}},
			{"exchange", "return_to", []string{"sign_in"}, []string{"https://user@exchange.example/in"}},
			{"exchange", "return_to", []string{"sign_in"}, []string{"https://exchange.example/in#here"}},
			{"exchange", "return_to", []string{"sign_in"}, []string{"javascript:alert(1)"}},
			{"exchange", "return_to", []string{"sign_in"}, []string{"https://exchange.example/a b"}},
		} {
			if _, err := account.AddService(t.Context(), door, operator, c.name, c.scopes, c.returnTo); fault.CodeOf(err) != c.code || fault.KindOf(err) != fault.Invalid {
				t.Errorf("%q %q %q: %v", c.name, c.scopes, c.returnTo, err)
			}
		}
		addService(t, door, "x2", []string{"sign_in"}, []string{"http://127.0.0.1:8443/in", "http://localhost/in", "https://api.localhost:8443/in"})
	})
}
