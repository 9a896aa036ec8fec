package guard_test

import (
	"testing"

	"holdfast/evidence"
	"holdfast/guard"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
)

// onEach runs a benchmark on both engines, on databases that sync as a real installation does.
func onEach(b *testing.B, f func(b *testing.B, w *world)) {
	b.Helper()
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": storetest.SQLiteDSN, "postgres": storetest.PostgresDSN} {
		b.Run(name, func(b *testing.B) {
			db, err := store.Open(b.Context(), store.Config{DSN: dsn(b), Keys: storetest.Keys(b)})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = db.Close() })
			f(b, start(b, db))
		})
	}
}

// BenchmarkCheck is one question answered from the database.
func BenchmarkCheck(b *testing.B) {
	onEach(b, func(b *testing.B, w *world) {
		q := guard.Query{Integrator: "exchange", Credential: guard.Credential{Key: w.key().Key.ID}, Exit: permit.Order, Address: "203.0.113.7"}
		for b.Loop() {
			if d, err := w.guard.Check(b.Context(), w.bot(), q); err != nil || d.Verdict != guard.Allow {
				b.Fatal(d, err)
			}
		}
	})
}

// BenchmarkFreeze is one freeze from the press to its acknowledgement: durable, with its receipts,
// its entry in the evidence and its queued mail. Each is of an account of its own.
func BenchmarkFreeze(b *testing.B) {
	onEach(b, func(b *testing.B, w *world) {
		operator := evidence.Actor{Kind: evidence.Operator, ID: "one"}
		for b.Loop() {
			b.StopTimer()
			id, _, err := w.accounts.RegisterAccount(b.Context(), w.service, store.NewID(), store.NewID()+"@holdfast.test", "")
			if err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if f, err := w.guard.Freeze(b.Context(), operator, id, "bench"); err != nil || f.Already {
				b.Fatal(f, err)
			}
		}
	})
}

// BenchmarkWithdrawal is one withdrawal from Request over Confirm to Settle, each durable.
func BenchmarkWithdrawal(b *testing.B) {
	onEach(b, func(b *testing.B, w *world) {
		key := w.key().Key.ID
		for b.Loop() {
			_, x, err := w.guard.Request(b.Context(), w.bot(), w.byKey(key))
			if err != nil {
				b.Fatal(err)
			}
			if d, _, err := w.guard.Confirm(b.Context(), w.service, w.id, x.ID); err != nil || d.Verdict != guard.Allow {
				b.Fatal(d, err)
			}
			if _, err := w.guard.Settle(b.Context(), w.service, w.id, x.ID, "tx"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
