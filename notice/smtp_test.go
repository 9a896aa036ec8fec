package notice

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"holdfast/store"
	"holdfast/store/storetest"
)

// mood is how a mail server behaves.
type mood int

const (
	well        mood = iota
	busy             // 421 instead of a greeting's end
	refusing         // 550 for every recipient
	dyingInData      // closes the connection in the middle of the mail
	dyingAfter       // takes the whole mail and closes the connection without a word
)

// mailServer is a real SMTP server that can be taken down, made to misbehave and brought back.
type mailServer struct {
	t       testing.TB
	address string
	tls     *tls.Config
	got     chan []byte
	tries   chan struct{}

	mu     sync.Mutex
	mood   mood
	server *smtp.Server
	listen net.Listener
}

func newMailServer(t testing.TB, cfg *tls.Config) *mailServer {
	s := &mailServer{t: t, tls: cfg, address: "127.0.0.1:0", got: make(chan []byte, 100), tries: make(chan struct{}, 1000)}
	s.up()
	t.Cleanup(s.down)
	return s
}

func (s *mailServer) up() {
	s.t.Helper()
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = l.Addr().String()
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.tries <- struct{}{}
		if s.is() == busy {
			return nil, &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "not now"}
		}
		return &mailSession{s: s, conn: c}, nil
	}))
	srv.Domain, srv.TLSConfig = "mail.holdfast.test", s.tls
	srv.ErrorLog = discard{}
	s.mu.Lock()
	s.server, s.listen = srv, l
	s.mu.Unlock()
	go func() { _ = srv.Serve(l) }() // ends with Close
}

func (s *mailServer) down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The server closes what it serves already; the listener may not be there yet. A second close
	// of either says so, and that is fine.
	_ = s.listen.Close()
	_ = s.server.Close()
}

func (s *mailServer) set(m mood) {
	s.mu.Lock()
	s.mood = m
	s.mu.Unlock()
}

func (s *mailServer) is() mood {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mood
}

func (s *mailServer) port() int {
	_, port, _ := net.SplitHostPort(s.address)
	var n int
	_, _ = fmt.Sscan(port, &n)
	return n
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

type mailSession struct {
	s    *mailServer
	conn *smtp.Conn
}

func (*mailSession) Reset()                               {}
func (*mailSession) Logout() error                        { return nil }
func (*mailSession) Mail(string, *smtp.MailOptions) error { return nil }
func (*mailSession) AuthMechanisms() []string             { return []string{sasl.Plain} }

func (*mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "holdfast" || password != "correct" {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (m *mailSession) Rcpt(string, *smtp.RcptOptions) error {
	if m.s.is() == refusing {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "relaying denied"}
	}
	return nil
}

func (m *mailSession) Data(r io.Reader) error {
	mood := m.s.is()
	if mood == dyingInData {
		_, _ = io.ReadFull(r, make([]byte, 200))
		return errors.Join(m.conn.Conn().Close(), io.ErrUnexpectedEOF)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.s.got <- raw
	if mood == dyingAfter {
		return errors.Join(m.conn.Conn().Close(), io.ErrUnexpectedEOF)
	}
	return nil
}

func TestDeadMailServerLosesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		server := newMailServer(t, nil)
		sender, err := NewSMTP(SMTPConfig{Host: "127.0.0.1", Port: server.port(), TLS: Plain, From: "Holdfast <security@holdfast.test>", Timeout: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		r := newRoom(t, db, Config{Sender: sender, Poll: 20 * time.Millisecond})
		r.start(t)

		server.down()
		r.queue(t, Notice{To: []string{"holder@holdfast.test"}, Vars: Frozen{Event: testEvent, By: "your session"}})
		trouble := func(words string) func() bool {
			return func() bool {
				unsent, err := r.post.Unsent(t.Context(), 1)
				return err == nil && len(unsent) == 1 && strings.Contains(unsent[0].LastError, words)
			}
		}
		eventually(t, "server down", trouble("connection refused"))
		server.set(busy)
		server.up()
		eventually(t, "server busy", trouble("421"))
		server.set(refusing)
		eventually(t, "server refusing", trouble("550"))
		server.set(dyingInData)
		eventually(t, "server dying in the middle", trouble("data"))
		if len(server.got) != 0 {
			t.Error("a mail arrived early")
		}
		server.set(dyingAfter)
		first := messageID(t, next(t, server.got, "mail"))
		server.set(well)
		for { // tries that were under way may still come from before
			second := messageID(t, next(t, server.got, "mail"))
			if second != first {
				t.Fatalf("one mail came as %s and %s", first, second)
			}
			if len(server.got) == 0 {
				break
			}
		}
		eventually(t, "sent", func() bool {
			unsent, err := r.post.Unsent(t.Context(), 1)
			return err == nil && len(unsent) == 0
		})
	})
}

func messageID(t testing.TB, raw []byte) string {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header.Get("Message-Id")
}

func TestHangingMailServerIsLeft(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sender, err := NewSMTP(SMTPConfig{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLS: Plain, From: "security@holdfast.test", Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), testHouse.Compose(NewSignIn{testEvent}, envelope())); err == nil {
		t.Error("a server that says nothing took a mail")
	}
}

func TestMailOverSMTPIsSignedTwiceAndReadsWell(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		if _, err := ReadDKIM(t.Context(), db, "holdfast.test"); !errors.Is(err, ErrNoDKIM) {
			t.Fatalf("no keys yet: %v", err)
		}
		made, err := NewDKIM(t.Context(), db, "holdfast.test")
		if err != nil {
			t.Fatal(err)
		}
		keys, err := ReadDKIM(t.Context(), db, "holdfast.test")
		if err != nil {
			t.Fatal(err)
		}
		records, err := made.Records()
		if err != nil || len(records) != 2 {
			t.Fatalf("records %v, %v", records, err)
		}
		published := func(name string) ([]string, error) {
			for _, r := range records {
				if r.Name == name {
					return []string{r.Value}, nil
				}
			}
			return nil, fmt.Errorf("no record %s", name)
		}

		server := newMailServer(t, nil)
		sender, err := NewSMTP(SMTPConfig{Host: "127.0.0.1", Port: server.port(), TLS: Plain, From: "Holdfast <security@holdfast.test>", DKIM: keys})
		if err != nil {
			t.Fatal(err)
		}
		r := newRoom(t, db, Config{Sender: sender})
		r.start(t)
		r.queue(t, Notice{To: []string{"holder@holdfast.test"}, Vars: NewSignIn{Event{At: testTime, Place: "Łódź (PL)", Device: "Firefox", Address: "192.0.2.7"}}})
		raw := next(t, server.got, "mail")

		algorithms := map[string]bool{}
		results, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{LookupTXT: published})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range results {
			if v.Err != nil || v.Domain != "holdfast.test" {
				t.Errorf("signature of %s: %v", v.Domain, v.Err)
			}
		}
		for line := range strings.SplitSeq(string(raw), "\n") {
			if _, rest, ok := strings.Cut(line, "a="); ok && strings.Contains(line, "sha256") {
				algorithm, _, _ := strings.Cut(rest, ";")
				algorithms[algorithm] = true
			}
		}
		if len(results) != 2 || !algorithms["rsa-sha256"] || !algorithms["ed25519-sha256"] {
			t.Errorf("%d signatures, algorithms %v", len(results), algorithms)
		}
		for name, altered := range map[string][]byte{
			"body":           bytes.Replace(raw, []byte("freeze"), []byte("thawed"), 1),
			"subject":        bytes.Replace(raw, []byte("Subject: New"), []byte("Subject: Old"), 1),
			"second subject": append([]byte("Subject: You won\r\n"), raw...),
		} {
			results, err := dkim.VerifyWithOptions(bytes.NewReader(altered), &dkim.VerifyOptions{LookupTXT: published})
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range results {
				if v.Err == nil {
					t.Errorf("%s altered, and the signature still holds", name)
				}
			}
		}
		readMail(t, raw)
	})
}

// readMail reads a received mail as a mail program does.
func readMail(t *testing.T, raw []byte) {
	t.Helper()
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"From": `"Holdfast" <security@holdfast.test>`, "To": "<holder@holdfast.test>", "Subject": "New sign-in to your account", "Auto-Submitted": "auto-generated", "Mime-Version": "1.0",
	} {
		if got := msg.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if id := msg.Header.Get("Message-Id"); !strings.HasSuffix(id, "@holdfast.test>") {
		t.Errorf("Message-ID %q", id)
	}
	if _, err := msg.Header.Date(); err != nil {
		t.Error(err)
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("content type %q, %v", kind, err)
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for _, want := range []string{"text/plain; charset=UTF-8", "text/html; charset=UTF-8"} { // RFC 2046 section 5.1.4: best last
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if got := part.Header.Get("Content-Type"); got != want {
			t.Errorf("part %q, want %q", got, want)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil || !strings.Contains(string(text), "Łódź (PL)") {
			t.Errorf("part %s does not read well: %v", want, err)
		}
	}
	for line := range strings.SplitSeq(string(raw), "\r\n") {
		if len(line) > 998 { // RFC 5322 section 2.1.1
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

func TestZoneLinesFitDNS(t *testing.T) {
	db := storetest.Open(t, store.SQLite)
	keys, err := NewDKIM(t.Context(), db, "holdfast.test")
	if err != nil {
		t.Fatal(err)
	}
	records, err := keys.Records()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		joined := ""
		for i, part := range strings.Split(r.Zone(), `"`) {
			if i%2 == 1 {
				joined += part
				if len(part) > 255 {
					t.Errorf("a text of %d bytes", len(part))
				}
			}
		}
		if joined != r.Value {
			t.Errorf("zone line says %q, record %q", joined, r.Value)
		}
	}
	if s := fmt.Sprintf("%v %#v", keys, keys); !strings.Contains(s, "redacted") || strings.Contains(s, "PrivateKey") {
		t.Errorf("keys print as %s", s)
	}
	if n, err := RemoveDKIM(t.Context(), db, "holdfast.test", db.Now().Add(time.Hour)); err != nil || n != 2 {
		t.Errorf("removed %d keys, %v", n, err)
	}
}

func TestMailLeavesOnlyProtected(t *testing.T) {
	for name, c := range map[string]SMTPConfig{
		"plain to elsewhere":     {Host: "mail.example.test", TLS: Plain, From: "a@holdfast.test"},
		"plain with a password":  {Host: "127.0.0.1", TLS: Plain, From: "a@holdfast.test", Username: "holdfast"},
		"no mode":                {Host: "mail.example.test", From: "a@holdfast.test"},
		"opportunistic":          {Host: "mail.example.test", TLS: "opportunistic", From: "a@holdfast.test"},
		"foreign signature":      {Host: "mail.example.test", TLS: StartTLS, From: "a@notholdfast.test", DKIM: &DKIM{domain: "holdfast.test"}},
		"sender with a new line": {Host: "mail.example.test", TLS: StartTLS, From: "a@holdfast.test\r\nBcc: b@evil.test"},
	} {
		if _, err := NewSMTP(c); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}

	cfg, roots := certificate(t)
	m := testHouse.Compose(NewSignIn{testEvent}, envelope())
	send := func(server *mailServer, mode TLSMode, password string, roots *x509.CertPool) error {
		c := SMTPConfig{Host: "127.0.0.1", Port: server.port(), TLS: mode, From: "security@holdfast.test", Roots: roots, Timeout: 2 * time.Second}
		if password != "" {
			c.Username, c.Password = "holdfast", password
		}
		s, err := NewSMTP(c)
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%v %+v %#v", s, s, s); password != "" && strings.Contains(text, password) {
			t.Errorf("the password prints: %s", text)
		}
		return s.Send(t.Context(), m)
	}
	protected, open := newMailServer(t, cfg), newMailServer(t, nil)
	for _, password := range []string{"", "correct"} {
		if err := send(protected, StartTLS, password, roots); err != nil {
			t.Errorf("starttls, password %q: %v", password, err)
		}
	}
	if err := send(protected, StartTLS, "wrong", roots); err == nil {
		t.Error("a wrong password was accepted")
	}
	if err := send(protected, StartTLS, "", nil); err == nil {
		t.Error("a certificate that nobody vouches for was accepted")
	}
	if err := send(open, StartTLS, "", roots); err == nil {
		t.Error("a mail went without TLS although starttls is configured")
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	implicit := &mailServer{t: t, address: l.Addr().String(), got: make(chan []byte, 10), tries: make(chan struct{}, 10)}
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &mailSession{implicit, c}, nil }))
	srv.ErrorLog = discard{}
	go func() { _ = srv.Serve(l) }() // ends with Close
	defer srv.Close()
	for _, password := range []string{"", "correct"} {
		if err := send(implicit, ImplicitTLS, password, roots); err != nil {
			t.Errorf("tls, password %q: %v", password, err)
		}
	}
}

// certificate makes a certificate for 127.0.0.1 and the pool that vouches for it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}
