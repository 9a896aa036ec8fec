package notice

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"holdfast/store"
)

// DKIM signs outgoing mails, with an RSA and an Ed25519 key: RSA is what every receiver can check,
// Ed25519 is what a receiver should prefer (RFC 8463 section 3 says to send both). It is safe for
// concurrent use and holds private keys in memory only.
type DKIM struct {
	domain string
	keys   []dkimKey
}

type dkimKey struct {
	selector string
	signer   crypto.Signer
}

// String keeps the keys out of logs.
func (d *DKIM) String() string { return "dkim keys of " + d.domain + " [redacted]" }

// GoString keeps the keys out of %#v.
func (d *DKIM) GoString() string { return d.String() }

// rsaBits is what RFC 8301 section 3.2 asks for: receivers refuse fewer than 1024, and a longer key's
// record is cut short by some name servers.
const rsaBits = 2048

const sealDKIM = "dkim_key"

// NewDKIM makes a new pair of keys for the domain of the mails' sender and keeps them, sealed. It
// signs with them only after a restart has read them with ReadDKIM, which gives time to publish
// their records. Older keys stay until RemoveDKIM.
func NewDKIM(ctx context.Context, db *store.DB, domain string) (*DKIM, error) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("make dkim key: %w", err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make dkim key: %w", err)
	}
	d := &DKIM{domain: domain}
	err = db.Housekeep(ctx, func(tx *store.Tx) error {
		stamp := tx.Now().Format("20060102150405")
		d.keys = []dkimKey{{"hfr" + stamp, rsaKey}, {"hfe" + stamp, edKey}}
		for _, k := range d.keys {
			raw, err := x509.MarshalPKCS8PrivateKey(k.signer)
			if err != nil {
				return err
			}
			sealed, err := tx.Keys().Seal(sealDKIM, domain+"/"+k.selector, raw)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `INSERT INTO dkim_key (domain, selector, algorithm, sealed, made_at) VALUES ($1, $2, $3, $4, $5)`,
				domain, k.selector, k.algorithm(), sealed, store.Micros(tx.Now())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keep dkim keys: %w", err)
	}
	return d, nil
}

// ErrNoDKIM means that no keys were made for the domain.
var ErrNoDKIM = errors.New("notice: there are no DKIM keys for this domain")

// ReadDKIM returns the newest pair of keys of the domain, or ErrNoDKIM.
func ReadDKIM(ctx context.Context, db *store.DB, domain string) (*DKIM, error) {
	rows, err := db.Query(ctx, `SELECT selector, sealed FROM dkim_key WHERE domain = $1 AND made_at = (SELECT max(made_at) FROM dkim_key WHERE domain = $1) ORDER BY algorithm DESC`, domain)
	if err != nil {
		return nil, fmt.Errorf("read dkim keys: %w", err)
	}
	defer rows.Close()
	d := &DKIM{domain: domain}
	for rows.Next() {
		var k dkimKey
		var sealed []byte
		if err := rows.Scan(&k.selector, &sealed); err != nil {
			return nil, fmt.Errorf("read dkim keys: %w", err)
		}
		raw, err := db.Keys().Open(sealDKIM, domain+"/"+k.selector, sealed)
		if err != nil {
			return nil, err
		}
		key, err := x509.ParsePKCS8PrivateKey(raw)
		if err != nil {
			return nil, fmt.Errorf("read dkim key %s: %w", k.selector, err)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("read dkim key %s: %T cannot sign", k.selector, key)
		}
		k.signer = signer
		d.keys = append(d.keys, k)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read dkim keys: %w", err)
	}
	if len(d.keys) == 0 {
		return nil, ErrNoDKIM
	}
	return d, nil
}

// RemoveDKIM deletes the domain's keys made before a time and returns how many.
func RemoveDKIM(ctx context.Context, db *store.DB, domain string, before time.Time) (int64, error) {
	var n int64
	err := db.Housekeep(ctx, func(tx *store.Tx) error {
		var err error
		n, err = tx.Exec(ctx, `DELETE FROM dkim_key WHERE domain = $1 AND made_at < $2`, domain, store.Micros(before))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("remove dkim keys: %w", err)
	}
	return n, nil
}

func (k dkimKey) algorithm() string {
	if _, ok := k.signer.(*rsa.PrivateKey); ok {
		return "rsa"
	}
	return "ed25519"
}

// Record is a DNS TXT record to publish.
type Record struct {
	Name  string
	Value string
}

// Zone writes the record as a line of a zone file. A text of DNS holds at most 255 bytes, so a long
// value is several texts, which receivers join (RFC 6376 section 3.6.2.2).
func (r Record) Zone() string {
	var parts []string
	for rest := r.Value; rest != ""; {
		n := min(len(rest), 255)
		parts = append(parts, `"`+rest[:n]+`"`)
		rest = rest[n:]
	}
	return r.Name + ". IN TXT " + strings.Join(parts, " ")
}

// Records returns the records to publish before the first mail is signed: without them a signature
// is worth less than none.
func (d *DKIM) Records() ([]Record, error) {
	var records []Record
	for _, k := range d.keys {
		var public []byte
		var err error
		switch key := k.signer.Public().(type) {
		case *rsa.PublicKey:
			public, err = x509.MarshalPKIXPublicKey(key) // RFC 6376 section 3.6.1, tag p
		case ed25519.PublicKey:
			public = key // RFC 8463 section 4.2: the key itself, not wrapped
		}
		if err != nil {
			return nil, fmt.Errorf("dkim record: %w", err)
		}
		records = append(records, Record{
			Name:  k.selector + "._domainkey." + d.domain,
			Value: "v=DKIM1; k=" + k.algorithm() + "; p=" + base64.StdEncoding.EncodeToString(public),
		})
	}
	return records, nil
}

// signed are the headers under the signature. From, To and Subject stand once more than the mail has
// them, so that nobody adds a second one on the way (RFC 6376 section 8.15).
var signed = []string{
	"From", "From", "To", "To", "Subject", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Auto-Submitted",
}

// sign returns the mail with one signature of each key on top.
func (d *DKIM) sign(raw []byte) ([]byte, error) {
	var headers bytes.Buffer
	for _, k := range d.keys {
		s, err := dkim.NewSigner(&dkim.SignOptions{
			Domain: d.domain, Selector: k.selector, Signer: k.signer, Hash: crypto.SHA256,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed,
			BodyCanonicalization:   dkim.CanonicalizationRelaxed,
			HeaderKeys:             signed,
		})
		if err != nil {
			return nil, fmt.Errorf("sign mail: %w", err)
		}
		_, err = s.Write(raw)
		if err := errors.Join(err, s.Close()); err != nil {
			return nil, fmt.Errorf("sign mail: %w", err)
		}
		headers.WriteString(s.Signature())
	}
	headers.Write(raw)
	return headers.Bytes(), nil
}
