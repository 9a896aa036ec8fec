package store

import (
	"fmt"
	"regexp"
	"strings"
)

// housekeepingTables hold no account's state: losing or doubling a row here costs work, never a
// holder's protection.
var housekeepingTables = map[string]bool{
	"refusal":        true, // refused acts, added up
	"attempt":        true, // counters of the public doors
	"public_request": true, // what a public form was given, until its job has read it
	"notice":         true, // delivery marks; the rows themselves are queued by their cause
	"mailbox":        true, // the demonstration's local mails
	"dkim_key":       true,
	"seen":           true, // when and where a session, device or key was last used
	"code_try":       true, // tries at mailed codes
	"river_job":      true,
}

var writes = regexp.MustCompile(`(?is)\b(?:insert\s+into|update|delete\s+from)\s+([a-z_]+)`)

// housekeeping refuses a statement that changes a table of another kind. It reads the statement's
// words, which is enough because statements are constants in our own code, not input.
func housekeeping(query string) error {
	for _, m := range writes.FindAllStringSubmatch(query, -1) {
		table := strings.ToLower(m[1])
		if table == "set" { // "ON CONFLICT ... DO UPDATE SET" names the table of its INSERT
			continue
		}
		if !housekeepingTables[table] {
			return fmt.Errorf("store: %q is not a housekeeping table", table)
		}
	}
	return nil
}
