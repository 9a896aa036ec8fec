package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"
)

// road is the way of one actor of the demonstration to a server: a proxy on this machine that says,
// as any proxy does, from which address the request came. The demonstration's servers believe
// proxies on loopback; a real server believes none but those in its settings. So the actors have
// addresses of their own without a door in the servers that only the demonstration needs, and the
// thief's client runs unmodified.
type road struct {
	// URL is where the actor finds the server.
	URL    string
	server *http.Server
}

// layRoad opens a road to target for an actor at an address. roots are the authorities that may
// vouch for the target.
func layRoad(target, address string, roots *x509.CertPool) (*road, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("road: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("road: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = to.Host
			r.Out.Header.Set("X-Forwarded-For", address)
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	r := &road{URL: "http://" + l.Addr().String(), server: &http.Server{Handler: proxy, ReadHeaderTimeout: 5 * time.Second}}
	go func() { _ = r.server.Serve(l) }() // ends with close
	return r, nil
}

// close ends the road; open connections on it break.
func (r *road) close() error { return r.server.Close() }

// readRoots reads a CA file.
func readRoots(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("read the CA: no certificate in it")
	}
	return roots, nil
}
