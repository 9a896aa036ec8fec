//go:build early

package store

import "time"

// commit answers before it commits. It is in a build that is planted to be bad: the durability tests
// have to find it. No release is built with this tag.
func commit(b begun) error {
	time.AfterFunc(50*time.Millisecond, func() {
		_ = b.tx.Commit()
		b.release()
	})
	return nil
}
