package exchange

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	caFile      = "ca.pem"
	leafFile    = "leaf.pem"
	leafKeyFile = "leaf-key.pem"
)

// certificates returns a server certificate for this machine's names, signed by a CA that
// exists nowhere else: both are made in dir on first use and kept. The CA may only sign for
// these names, so that trusting it for a trial puts nothing else at risk. caPath is the CA
// in PEM, for clients.
func certificates(dir string, now time.Time) (leaf tls.Certificate, caPath string, err error) {
	caPath = filepath.Join(dir, caFile)
	leafPath, leafKeyPath := filepath.Join(dir, leafFile), filepath.Join(dir, leafKeyFile)
	leaf, err = tls.LoadX509KeyPair(leafPath, leafKeyPath)
	if err == nil && leaf.Leaf != nil && now.Before(leaf.Leaf.NotAfter.AddDate(0, 0, -7)) {
		return leaf, caPath, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return leaf, "", err
	}
	ca, caKey, err := makeCA(dir, now)
	if err != nil {
		return leaf, "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return leaf, "", err
	}
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Harbour Exchange (example)"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 365),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "api.localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
	if err != nil {
		return leaf, "", err
	}
	if err := errors.Join(writeKey(leafKeyPath, key), writePEM(leafPath, "CERTIFICATE", der, 0o644)); err != nil {
		return leaf, "", err
	}
	leaf, err = tls.LoadX509KeyPair(leafPath, leafKeyPath)
	return leaf, caPath, err
}

// makeCA makes a new CA. Its key is needed once and then forgotten.
func makeCA(dir string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Harbour Exchange test CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"localhost"},
		PermittedIPRanges: []*net.IPNet{{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)}},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	if err := writePEM(filepath.Join(dir, caFile), "CERTIFICATE", der, 0o644); err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	return ca, key, err
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "PRIVATE KEY", der, 0o600)
}

func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
