//go:build !early

package store

import "fmt"

// commit makes a transaction durable and returns when it is. See commit_early.go.
func commit(b begun) error {
	defer b.release()
	if err := b.tx.Commit(); err != nil {
		return err
	}
	if said := b.warning(); said != "" {
		return fmt.Errorf("the server warned: %s", said)
	}
	return nil
}
