package account

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	"holdfast/store"
)

// dump returns everything that the database holds, as whoever steals a back-up would read it.
func (r *rig) dump() []byte {
	r.t.Helper()
	tables := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if r.db.Engine() == store.PostgreSQL {
		tables = `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'`
	}
	rows, err := r.db.Query(r.t.Context(), tables)
	must(r.t, err)
	var names []string
	for rows.Next() {
		var name string
		must(r.t, rows.Scan(&name))
		names = append(names, name)
	}
	must(r.t, rows.Err())
	must(r.t, rows.Close())
	var out bytes.Buffer
	for _, name := range names {
		rows, err := r.db.Query(r.t.Context(), `SELECT * FROM "`+name+`"`)
		must(r.t, err)
		columns, err := rows.Columns()
		must(r.t, err)
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			must(r.t, rows.Scan(values...))
			for _, v := range values {
				switch v := (*v.(*any)).(type) {
				case []byte:
					out.Write(v)
				default:
					fmt.Fprint(&out, v)
				}
				out.WriteByte('\n')
			}
		}
		must(r.t, rows.Err())
		must(r.t, rows.Close())
	}
	return out.Bytes()
}

// TestNoSecretIsInTheDatabase plants one of each secret and looks for it in everything stored, as
// text and as the bytes behind it.
func TestNoSecretIsInTheDatabase(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		v := r.join(mail)
		by := v.Session.Actor(r.from)
		key, err := r.CreateKey(t.Context(), by, v.Account, NewKey{Label: "findable label", Kind: HMAC, Scopes: []string{Read}, Password: goodPassword})
		must(t, err)
		cookie, err := r.Remember(t.Context(), by, v.Account)
		must(t, err)
		over, err := r.HandOver(t.Context(), by, v.Account, "exchange")
		must(t, err)
		must(t, r.RequestReset(t.Context(), r.from, mail))
		reset := token(t, r.box.take(t, mail, "Choose a new password"), "reset")
		r.freeze(by, v.Account)
		nonce, err := r.RequestSignInCode(t.Context(), r.from, mail)
		must(t, err)
		code := digits.FindString(r.box.take(t, mail, "sign-in code").Text)
		r.rest()

		all := r.dump()
		if r.db.Engine() == store.SQLite { // what was deleted may still lie in the file
			for _, suffix := range []string{"", "-wal"} {
				var path string
				must(t, r.db.QueryRow(t.Context(), `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path))
				raw, err := os.ReadFile(path + suffix)
				must(t, err)
				all = append(all, raw...)
			}
		}
		if !bytes.Contains(all, []byte("findable label")) || !bytes.Contains(all, []byte(mail)) {
			t.Fatal("the dump does not hold what it should")
		}
		for name, secret := range map[string]string{
			"password": goodPassword, "session": v.Session.Token.Reveal(), "HMAC secret": key.Secret.Reveal(), "cookie": cookie.Reveal(),
			"hand-over": over.Reveal(), "reset link": reset, "freeze code": v.Code.Reveal(), "freeze code's characters": v.Code.characters,
			"browser's nonce": nonce.Reveal(), "mailed code": code, "mailed code's digits": strings.ReplaceAll(code, " ", ""),
		} {
			if bytes.Contains(all, []byte(secret)) {
				t.Errorf("the %s is stored in clear", name)
			}
			if raw, err := base64.RawURLEncoding.DecodeString(secret); err == nil && len(raw) >= 48 && bytes.Contains(all, raw[16:]) {
				t.Errorf("the bytes of the %s are stored in clear", name)
			}
		}
	})
}
