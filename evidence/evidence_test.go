package evidence_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"holdfast/evidence"
	"holdfast/evidence/verify"
	"holdfast/store"
	"holdfast/store/storetest"
)

// chain writes n entries and returns the export and its head.
func chain(t *testing.T, db *store.DB, id evidence.AccountID, n int) (string, evidence.Head) {
	t.Helper()
	ctx := t.Context()
	head := evidence.Start(id)
	err := db.Write(ctx, func(tx *store.Tx) error {
		head = evidence.Start(id)
		for i := range n {
			var err error
			head, err = evidence.Append(ctx, tx, head, evidence.Entry{
				Account: id, At: tx.Now(), Act: "freeze", Actor: evidence.Actor{Kind: evidence.Holder, Address: "192.0.2.7"},
				Detail: map[string]any{"n": i, "reason": "lost <phone> \u2028"},
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	exported, err := evidence.Export(ctx, db, id, &out)
	if err != nil {
		t.Fatal(err)
	}
	if exported.String() != head.String() {
		t.Fatalf("exported head %s, written %s", exported, head)
	}
	return out.String(), head
}

func TestExportVerifies(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		text, head := chain(t, db, "a", 5)
		res, err := verify.Chain(strings.NewReader(text), nil)
		if err != nil || !res.OK() || res.Entries != 5 || !strings.Contains(res.Verdict(), "not proven complete") {
			t.Fatalf("%+v %v", res, err)
		}
		at, err := verify.ParseHead(head.String())
		if err != nil {
			t.Fatal(err)
		}
		if res, err = verify.Chain(strings.NewReader(text), &at); err != nil || !res.OK() || res.ProvenTo != 5 {
			t.Fatalf("%+v %v", res, err)
		}
	})
}

func TestEntriesReadBackNewestFirst(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		chain(t, db, "a", 5)
		entries, err := evidence.Read(t.Context(), db, db.Keys(), "a", 0, 2)
		if err != nil || len(entries) != 2 || entries[0].Detail["n"] != 4.0 || entries[1].Detail["n"] != 3.0 || entries[0].Actor.Address != "192.0.2.7" {
			t.Fatalf("%+v %v", entries, err)
		}
	})
}

func TestTheChainIsOnlyAddedTo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		chain(t, db, "a", 2)
		for _, change := range []string{`UPDATE entry SET act = 'x'`, `DELETE FROM entry`} {
			err := db.Write(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(t.Context(), change)
				return err
			})
			if err == nil {
				t.Errorf("%s was let through", change)
			}
		}
	})
}

// A text can be erased; everything else still verifies.
func TestErasedTextLeavesTheChainSound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		chain(t, db, "a", 3)
		err := db.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE entry_text SET sealed = $1, erased_at = $2, erased_why = 'asked by the holder' WHERE account_id = 'a' AND seq = 2`,
				[]byte{}, store.Micros(tx.Now()))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := evidence.Export(t.Context(), db, "a", &out); err != nil {
			t.Fatal(err)
		}
		res, err := verify.Chain(&out, nil)
		if err != nil || !res.OK() || res.Entries != 3 || res.Erased != 1 {
			t.Fatalf("%+v %v", res, err)
		}
	})
}

func TestNoSecretInADump(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		const planted = "planted-secret-8c1f"
		err := db.Write(t.Context(), func(tx *store.Tx) error {
			_, err := evidence.Append(t.Context(), tx, evidence.Start("a"), evidence.Entry{Account: "a", At: time.Unix(1, 0), Act: "x", Detail: map[string]any{"s": planted}})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		dump := storetest.Dump(t, db)
		if storetest.Contains(dump, planted) {
			t.Error("the text of an entry lies readable in the database")
		}
		if !storetest.Contains(dump, "entry_text") && !storetest.Contains(dump, "CREATE TABLE") {
			t.Error("the dump is empty")
		}
	})
}
