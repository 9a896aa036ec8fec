package guard_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"holdfast/guard"
	"holdfast/store"
)

// TestPressOutlivesWhoPressed: somebody presses Freeze and is gone before the database has answered.
// They are told that it is not known; the account is closed at once all the same, and soon recorded.
func TestPressOutlivesWhoPressed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		key := w.key()
		// What goes on after the answer may write to the log after the test.
		g, err := guard.New(w.door, w.accounts, w.post, nil, slog.New(slog.DiscardHandler), guard.Config{})
		if err != nil {
			t.Fatal(err)
		}
		recorded := g.Changed()
		gone, hangUp := context.WithCancel(t.Context())
		hangUp()
		if f, err := g.Freeze(gone, w.actor(), w.id, "test"); !errors.Is(err, store.ErrUnknownOutcome) {
			t.Fatalf("%+v %v", f, err)
		}
		if d, _, err := g.Request(t.Context(), w.bot(), w.byKey(key.Key.ID)); err != nil || d.Verdict != guard.FrozenNow {
			t.Errorf("after the press: %+v %v", d, err)
		}
		select {
		case <-recorded:
		case <-time.After(30 * time.Second):
			t.Fatal("the freeze was never recorded")
		}
		if p, err := g.Protection(t.Context(), w.id); err != nil || !p.Frozen() {
			t.Errorf("%+v %v", p, err)
		}
	})
}
