package account

import (
	"crypto/ed25519"
	"testing"
)

// TestTwoOperatorsAreTwoKeysAndTwoNames: neither one key under two names nor two names that read alike.
func TestTwoOperatorsAreTwoKeysAndTwoNames(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		add := func(name string, public ed25519.PublicKey) error {
			_, err := AddOperator(t.Context(), r.door, staff, false, name, public)
			return err
		}
		key := func() ed25519.PublicKey {
			public, _, err := ed25519.GenerateKey(nil)
			must(t, err)
			return public
		}
		one := key()
		must(t, add("alice", one))
		wantCode(t, add("bob", one), "operator_key_exists")
		wantCode(t, add("Alice", key()), "operator_exists")
		wantCode(t, add("alice", key()), "operator_exists")
		must(t, add("bob", key()))
	})
}
