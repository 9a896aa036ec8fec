package account

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// Scopes of a service key. Each call of the API names the one that it needs.
const (
	ScopeGuard    = "guard"    // checks, withdrawals, closings and receipts
	ScopeAccounts = "accounts" // registering accounts and credentials, reading protection
	ScopeSignIn   = "sign_in"  // taking over a person who signed in here
	ScopeLedger   = "ledger"   // reporting movements
)

// ServiceScopes are all of them, in the order in which they are kept.
var ServiceScopes = []string{ScopeGuard, ScopeAccounts, ScopeSignIn, ScopeLedger}

// ServiceKey is one key of a service: a program of the platform's that calls the API. The service's
// name is the ID of the integrator that acts. Only the public half of the key is kept.
type ServiceKey struct {
	Service string
	ID      string
	Public  ed25519.PublicKey
	Scopes  []string
	// ReturnTo are the addresses to which a sign-in on behalf of the service may come back.
	ReturnTo  []string
	CreatedAt time.Time
	// RemovedAt is zero while the key works.
	RemovedAt time.Time
	// Seed is the private half, base64 of 32 bytes; only a key that was just made has it.
	Seed Secret
}

// Covers reports whether the key has the scope.
func (k ServiceKey) Covers(scope string) bool { return slices.Contains(k.Scopes, scope) }

// Actor returns the integrator who acts with the key.
func (k ServiceKey) Actor() evidence.Actor {
	return evidence.Actor{Kind: evidence.Integrator, ID: k.Service}
}

// File returns the key file of a key that was just made, in the form that the client reads. It
// holds the private half: keep it like a password.
func (k ServiceKey) File(apiURL string) ([]byte, error) {
	return json.MarshalIndent(struct {
		Service    string `json:"service"`
		KeyID      string `json:"key_id"`
		PrivateKey string `json:"private_key"`
		URL        string `json:"url"`
	}{k.Service, k.ID, k.Seed.Reveal(), apiURL}, "", "  ")
}

const (
	serviceKeyPrefix = "hfs_" // lets people and scanners of leaked secrets tell what they found
	liveServiceKeys  = 2      // one in use and one that takes its place
	mostReturnTo     = 16
)

// AddService makes a key for a service and returns it with its private half, which is shown this
// once. A service that has one key gets a second, so that it can change over without a gap; a third
// is refused until one is removed. The act is an operator's, on the platform's own chain.
func AddService(ctx context.Context, door *permit.Door, by evidence.Actor, name string, scopes, returnTo []string) (ServiceKey, error) {
	k := ServiceKey{Service: name}
	var err error
	if err = checkServiceName(name); err != nil {
		return ServiceKey{}, err
	}
	if k.Scopes, err = parseServiceScopes(scopes); err != nil {
		return ServiceKey{}, err
	}
	if k.ReturnTo, err = parseReturnTo(returnTo); err != nil {
		return ServiceKey{}, err
	}
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails: https://pkg.go.dev/crypto/rand#Read
	k.ID = serviceKeyPrefix + base64.RawURLEncoding.EncodeToString(raw)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return ServiceKey{}, fmt.Errorf("make service key: %w", err)
	}
	k.Public, k.Seed = public, Secret(base64.StdEncoding.EncodeToString(private.Seed()))
	err = door.Do(ctx, by, permit.Act{Name: permit.AddService, Account: evidence.Platform}, func(tx *permit.Tx) error {
		live, err := readServices(ctx, tx, `WHERE removed_at = 0 ORDER BY name, created_at`)
		if err != nil {
			return err
		}
		own := 0
		for _, other := range live {
			if other.Service == name {
				own++
				continue
			}
			for _, address := range k.ReturnTo {
				if slices.Contains(other.ReturnTo, address) {
					return fault.New(fault.Conflict, "return_to_taken", fmt.Sprintf("%s belongs to the service %s.", address, other.Service))
				}
			}
		}
		if own >= liveServiceKeys {
			return fault.New(fault.Conflict, "service_keys", fmt.Sprintf("%s has %d keys. Remove the one that it no longer uses first.", name, own))
		}
		k.CreatedAt = tx.Now()
		if _, err := tx.Exec(ctx, `INSERT INTO service (key_id, name, public_key, scopes, return_to, created_at, removed_at) VALUES ($1, $2, $3, $4, $5, $6, 0)`,
			k.ID, k.Service, []byte(k.Public), strings.Join(k.Scopes, ","), strings.Join(k.ReturnTo, " "), store.Micros(k.CreatedAt)); err != nil {
			return fmt.Errorf("keep service key: %w", err)
		}
		tx.Note("service", name)
		tx.Note("key", k.ID)
		tx.Note("scopes", k.Scopes)
		tx.Note("return_to", k.ReturnTo)
		return nil
	})
	if err != nil {
		return ServiceKey{}, err
	}
	return k, nil
}

// RemoveServiceKey ends a key. From the commit on no call with it is answered, and streams that it
// opened end within a heartbeat. Removing a removed key succeeds and changes nothing.
func RemoveServiceKey(ctx context.Context, door *permit.Door, by evidence.Actor, keyID string) error {
	return door.Do(ctx, by, permit.Act{Name: permit.RemoveService, Account: evidence.Platform}, func(tx *permit.Tx) error {
		k, err := FindServiceKey(ctx, tx, keyID)
		if err != nil {
			return err
		}
		if !k.RemovedAt.IsZero() {
			tx.Unchanged()
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE service SET removed_at = $2 WHERE key_id = $1`, keyID, store.Micros(tx.Now())); err != nil {
			return fmt.Errorf("remove service key: %w", err)
		}
		tx.Note("service", k.Service)
		tx.Note("key", keyID)
		return nil
	})
}

// ListServices returns every service key, removed ones too, by name and age.
func ListServices(ctx context.Context, q store.Querier) ([]ServiceKey, error) {
	return readServices(ctx, q, `ORDER BY name, created_at`)
}

// FindServiceKey returns the key of that id, also when it was removed: the caller asks RemovedAt.
// It reads the database, so that a removed key stops at once.
func FindServiceKey(ctx context.Context, q store.Querier, keyID string) (ServiceKey, error) {
	keys, err := readServices(ctx, q, `WHERE key_id = $1`, keyID)
	if err != nil {
		return ServiceKey{}, err
	}
	if len(keys) == 0 {
		return ServiceKey{}, fault.New(fault.NotFound, "unknown_service_key", "There is no such service key.")
	}
	return keys[0], nil
}

// FindReturnTo returns the service to which a sign-in may come back at the address. The address has
// to be registered letter by letter: a prefix would let a page elsewhere on the host take the code.
func FindReturnTo(ctx context.Context, q store.Querier, address string) (service string, err error) {
	live, err := readServices(ctx, q, `WHERE removed_at = 0 ORDER BY name, created_at`)
	if err != nil {
		return "", err
	}
	for _, k := range live {
		if k.Covers(ScopeSignIn) && slices.Contains(k.ReturnTo, address) {
			return k.Service, nil
		}
	}
	return "", fault.New(fault.NotFound, "return_to", "The page that sent you here is not one that we know. Do not sign in from there. Open your platform yourself and sign in again.")
}

func readServices(ctx context.Context, q store.Querier, which string, args ...any) ([]ServiceKey, error) {
	rows, err := q.Query(ctx, `SELECT key_id, name, public_key, scopes, return_to, created_at, removed_at FROM service `+which, args...)
	if err != nil {
		return nil, fmt.Errorf("read service keys: %w", err)
	}
	defer rows.Close()
	var keys []ServiceKey
	for rows.Next() {
		var k ServiceKey
		var public []byte
		var scopes, returnTo string
		var created, removed int64
		if err := rows.Scan(&k.ID, &k.Service, &public, &scopes, &returnTo, &created, &removed); err != nil {
			return nil, fmt.Errorf("read service keys: %w", err)
		}
		if len(public) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("read service keys: the key %s has %d bytes", k.ID, len(public))
		}
		k.Public, k.Scopes, k.ReturnTo = public, strings.Split(scopes, ","), strings.Fields(returnTo)
		k.CreatedAt, k.RemovedAt = store.Time(created), store.Time(removed)
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// checkServiceName keeps names fit for logs, records and claims. "holdfast" would sign receipts in
// our own name.
func checkServiceName(name string) error {
	ok := len(name) >= 2 && len(name) <= 32 && name[0] >= 'a' && name[0] <= 'z' && name[len(name)-1] != '-' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	if !ok {
		return fault.New(fault.Invalid, "service_name", "A service's name has 2 to 32 lower-case letters, digits and dashes, and begins with a letter.")
	}
	if name == "holdfast" {
		return fault.New(fault.Invalid, "service_name", "That name is Holdfast's own. Choose another.")
	}
	return nil
}

func parseServiceScopes(list []string) ([]string, error) {
	var out []string
	for _, scope := range ServiceScopes {
		if slices.Contains(list, scope) {
			out = append(out, scope)
		}
	}
	for _, scope := range list {
		if !slices.Contains(ServiceScopes, scope) {
			return nil, fault.New(fault.Invalid, "scope", fmt.Sprintf("%.32q is not a scope. There are %s.", scope, strings.Join(ServiceScopes, ", ")))
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "scope", "A service needs a scope: "+strings.Join(ServiceScopes, ", ")+".")
	}
	return out, nil
}

// parseReturnTo accepts plain https addresses, and http ones of this very machine. A fragment or
// user would be lost or misread by a browser on the way.
func parseReturnTo(list []string) ([]string, error) {
	if len(list) > mostReturnTo {
		return nil, fault.New(fault.Invalid, "return_to", fmt.Sprintf("A service has at most %d addresses to return to.", mostReturnTo))
	}
	var out []string
	for _, text := range list {
		u, err := url.Parse(text)
		ok := err == nil && len(text) <= 512 && u.Host != "" && u.User == nil && u.Fragment == "" && u.Opaque == "" && u.String() == text &&
			(u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
		if !ok {
			return nil, fault.New(fault.Invalid, "return_to", fmt.Sprintf("%.80q is not an address to return to. Write one such as https://exchange.example/signed-in.", text))
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// serviceLive refuses a service that has no key any more.
func serviceLive(ctx context.Context, q store.Querier, name string) error {
	var keys int64
	if err := q.QueryRow(ctx, `SELECT count(*) FROM service WHERE name = $1 AND removed_at = 0`, name).Scan(&keys); err != nil {
		return fmt.Errorf("look at service: %w", err)
	}
	if keys == 0 {
		return fault.New(fault.Denied, "unauthenticated", "This service has no key that is in use.")
	}
	return nil
}
