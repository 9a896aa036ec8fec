package account

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"holdfast/fault"
	"holdfast/store"
)

// NormaliseMail returns the form in which an address is kept and looked up: without space around
// it, in lower case and NFC, its domain in ASCII. It refuses what is not one plain address.
func NormaliseMail(mail string) (string, error) {
	refuse := fault.New(fault.Invalid, "mail_form", "That does not look like a mail address. It should look like name@example.com.")
	if len(mail) > 400 || !utf8.ValidString(mail) {
		return "", refuse
	}
	mail = norm.NFC.String(strings.ToLower(norm.NFC.String(strings.TrimSpace(mail))))
	at := strings.LastIndexByte(mail, '@')
	if at < 1 || at > 64 || at == len(mail)-1 {
		return "", refuse
	}
	local, domain := mail[:at], mail[at+1:]
	for _, r := range local {
		// A quoted local part is legal (RFC 5321 section 4.1.2) and in practice an attack on
		// whoever parses it next.
		if unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`"(),:;<>@[\]`, r) {
			return "", refuse
		}
	}
	if strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return "", refuse
	}
	domain, err := idna.Lookup.ToASCII(domain)
	if err != nil || domain == "" || strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(domain, "..") {
		return "", refuse
	}
	if mail = local + "@" + domain; len(mail) > 254 { // RFC 5321 section 4.5.3.1.3
		return "", refuse
	}
	return mail, nil
}

// month is how long a former address is still told of what happens.
const month = 30 * 24 * time.Hour

// Addresses returns every address that the account had at any time since then, the present one
// first. An address that never finished verification was never the holder's, and is not among
// them.
func Addresses(ctx context.Context, q store.Querier, id ID, since time.Time) ([]string, error) {
	rows, err := q.Query(ctx, `SELECT mail, CAST(max(CASE WHEN until_at = 0 THEN 1 ELSE 0 END) AS BIGINT), max(from_at) FROM account_mail
		WHERE account_id = $1 AND (until_at = 0 OR until_at >= $2) GROUP BY mail ORDER BY 2 DESC, 3 DESC`, string(id), store.Micros(since))
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	defer rows.Close()
	var mails []string
	for rows.Next() {
		var mail string
		var present, from int64
		if err := rows.Scan(&mail, &present, &from); err != nil {
			return nil, fmt.Errorf("read addresses: %w", err)
		}
		mails = append(mails, mail)
	}
	return mails, rows.Err()
}

// FindMail returns the account that has the address now, or had it, verified, in the last 30 days:
// a thief who changed the address must not cut the holder off from freezing. It reports whether
// there is one; public forms ask it only from their jobs.
func FindMail(ctx context.Context, q Reader, mail string) (ID, bool, error) {
	mail, err := NormaliseMail(mail)
	if err != nil {
		return "", false, nil
	}
	rows, err := q.Query(ctx, `SELECT account_id FROM account_mail WHERE mail = $1 AND (until_at = 0 OR until_at >= $2)
		ORDER BY CASE WHEN until_at = 0 THEN 0 ELSE 1 END, until_at DESC LIMIT 1`, mail, store.Micros(q.Now().Add(-month)))
	if err != nil {
		return "", false, fmt.Errorf("find address: %w", err)
	}
	defer rows.Close()
	var id string
	if !rows.Next() {
		return "", false, rows.Err()
	}
	if err := rows.Scan(&id); err != nil {
		return "", false, fmt.Errorf("find address: %w", err)
	}
	return ID(id), true, rows.Err()
}
