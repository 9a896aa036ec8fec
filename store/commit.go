//go:build !early

package store

import "database/sql"

// commit makes a transaction durable and returns when it is. See commit_early.go.
func commit(tx *sql.Tx) error { return tx.Commit() }
