package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keyset seals what must be read back (HMAC secrets, DKIM keys, texts of the log) and hashes what
// must only be recognised (freeze codes). It lives in a file of mode 0600 outside the database, so
// that neither a dump nor a back-up of the database holds a secret in clear. It is safe for
// concurrent use and prints as [redacted].
type Keyset struct {
	aead tink.AEAD
	prf  *prf.Set
	raw  []byte
}

// String keeps the keys out of logs.
func (*Keyset) String() string { return "[redacted]" }

// GoString keeps the keys out of %#v.
func (*Keyset) GoString() string { return "[redacted]" }

// keyFile is the file's form: two tink keysets.
type keyFile struct {
	Seal json.RawMessage `json:"seal"`
	Hash json.RawMessage `json:"hash"`
}

// NewKeyset makes a keyset that exists nowhere yet.
func NewKeyset() (*Keyset, error) {
	seal, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make sealing key: %w", err)
	}
	hash, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make hashing key: %w", err)
	}
	var sealed, hashed bytes.Buffer
	if err := insecurecleartextkeyset.Write(seal, keyset.NewJSONWriter(&sealed)); err != nil {
		return nil, fmt.Errorf("write sealing key: %w", err)
	}
	if err := insecurecleartextkeyset.Write(hash, keyset.NewJSONWriter(&hashed)); err != nil {
		return nil, fmt.Errorf("write hashing key: %w", err)
	}
	raw, err := json.MarshalIndent(keyFile{Seal: sealed.Bytes(), Hash: hashed.Bytes()}, "", "  ")
	if err != nil {
		return nil, err
	}
	return parseKeyset(raw)
}

func parseKeyset(raw []byte) (*Keyset, error) {
	var f keyFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, errors.New("the key file is not a Holdfast key file") // the cause could quote a key
	}
	seal, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(f.Seal)))
	if err != nil {
		return nil, errors.New("the key file holds no readable sealing key")
	}
	hash, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(f.Hash)))
	if err != nil {
		return nil, errors.New("the key file holds no readable hashing key")
	}
	k := &Keyset{raw: raw}
	if k.aead, err = aead.New(seal); err != nil {
		return nil, errors.New("the key file's sealing key cannot seal")
	}
	if k.prf, err = prf.NewPRFSet(hash); err != nil {
		return nil, errors.New("the key file's hashing key cannot hash")
	}
	return k, nil
}

// Create writes the keyset to a new file of mode 0600 and syncs it and its folder. It never
// overwrites: a lost keyset makes every sealed secret unreadable.
func (k *Keyset) Create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	_, err = f.Write(k.raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync key folder: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ReadKeyset reads a key file. A file that others may read is refused: it has to be treated as
// known to them.
func ReadKeyset(path string) (*Keyset, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o: others can read it; run chmod 600 and think about who did", path, mode)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return parseKeyset(raw)
}

// Seal encrypts plain so that only Open with the same purpose and account reads it: a sealed value
// moved to another row or column is refused.
func (k *Keyset) Seal(purpose, account string, plain []byte) ([]byte, error) {
	return k.aead.Encrypt(plain, []byte(purpose+"\x00"+account))
}

// Open is the inverse of Seal.
func (k *Keyset) Open(purpose, account string, sealed []byte) ([]byte, error) {
	plain, err := k.aead.Decrypt(sealed, []byte(purpose+"\x00"+account))
	if err != nil {
		return nil, fmt.Errorf("open sealed %s: the key file does not belong to this database, or the row was altered", purpose)
	}
	return plain, nil
}

// Hash returns a keyed hash of 32 bytes: equal inputs are recognised, and without the key file
// nobody can try inputs out.
func (k *Keyset) Hash(purpose string, data []byte) ([]byte, error) {
	input := make([]byte, 0, len(purpose)+1+len(data))
	input = append(append(append(input, purpose...), 0), data...)
	return k.prf.ComputePrimaryPRF(input, 32)
}
