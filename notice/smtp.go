package notice

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// TLSMode is how the connection to the mail server is protected. There is no "if it can be had":
// whoever sits between would simply say that it cannot.
type TLSMode string

// The modes.
const (
	StartTLS    TLSMode = "starttls" // must succeed before anything is said; the usual port is 587
	ImplicitTLS TLSMode = "tls"      // from the first byte; the usual port is 465
	Plain       TLSMode = "plain"    // to a server on this machine only
)

// SMTPConfig says how mails leave.
type SMTPConfig struct {
	Host string
	Port int
	TLS  TLSMode
	// Username and Password, if the server wants them. They are never sent without TLS.
	Username string
	Password string
	// From is the sender: "Holdfast <security@holdfast.example>".
	From string
	// Helo is the name this machine gives itself; the domain of From when empty.
	Helo string
	// Roots are the authorities that may vouch for the server; the system's when nil.
	Roots *x509.CertPool
	// DKIM signs what is sent; nothing is signed when nil.
	DKIM *DKIM
	// Timeout bounds each step of the conversation; 15 s when zero.
	Timeout time.Duration
}

// SMTP sends mails through one mail server. It opens a connection for each mail: security mails are
// few, and a kept connection is one more thing that has died unnoticed. It is safe for concurrent
// use.
type SMTP struct {
	c      SMTPConfig
	from   mail.Address
	domain string
}

// String keeps the password out of logs.
func (s *SMTP) String() string { return fmt.Sprintf("smtp %s:%d %s", s.c.Host, s.c.Port, s.c.TLS) }

// GoString keeps the password out of %#v.
func (s *SMTP) GoString() string { return s.String() }

// NewSMTP checks c and returns its sender. It does not connect.
func NewSMTP(c SMTPConfig) (*SMTP, error) {
	from, err := mail.ParseAddress(c.From)
	if err != nil {
		return nil, fmt.Errorf("mail sender %q: %w", c.From, err)
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	switch c.TLS {
	case StartTLS, ImplicitTLS:
	case Plain:
		if !loopback(c.Host) {
			return nil, fmt.Errorf("mail server %s: mails with freeze links may leave this machine only with TLS; set starttls or tls", c.Host)
		}
		if c.Username != "" {
			return nil, errors.New("mail server: a password is never sent without TLS")
		}
	default:
		return nil, fmt.Errorf("mail server: TLS must be starttls, tls or plain, not %q", c.TLS)
	}
	if c.DKIM != nil && domain != c.DKIM.domain && !strings.HasSuffix(domain, "."+c.DKIM.domain) {
		// RFC 7489 section 3.1.1: a signature of another domain does not vouch for the sender.
		return nil, fmt.Errorf("mail sender %s: the DKIM keys are of %s, which does not vouch for it", from.Address, c.DKIM.domain)
	}
	if c.Helo == "" {
		c.Helo = domain
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	return &SMTP{c: c, from: *from, domain: domain}, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Send hands m to the mail server. An error means that the server did not say that it took the
// mail, though it may have.
func (s *SMTP) Send(ctx context.Context, m Mail) error {
	raw, err := s.message(m)
	if err != nil {
		return err
	}
	client, end, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("mail server: %w", err)
	}
	defer end()
	if err := client.Mail("<" + s.from.Address + ">"); err != nil {
		return fmt.Errorf("mail server, sender: %w", err)
	}
	if err := client.Rcpt("<" + m.To + ">"); err != nil {
		return fmt.Errorf("mail server, recipient: %w", err)
	}
	if err := client.UpdateDeadline(s.c.Timeout); err != nil {
		return fmt.Errorf("mail server: %w", err)
	}
	w, err := client.Data()
	if err != nil {
		return fmt.Errorf("mail server, data: %w", err)
	}
	if _, err := w.Write(raw); err != nil {
		return fmt.Errorf("mail server, data: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("mail server, after data: %w", err)
	}
	_ = client.Quit() // the mail is the server's now; how it says goodbye changes nothing
	return nil
}

// dial connects, greets, protects the connection and signs in. end closes it, and so does the end
// of ctx, whatever the conversation waits for.
func (s *SMTP) dial(ctx context.Context) (client *smtp.Client, end func(), err error) {
	var conn net.Conn
	opts := []gomail.Option{
		gomail.WithPort(s.c.Port),
		gomail.WithTimeout(s.c.Timeout),
		gomail.WithHELO(s.c.Helo),
	}
	cfg := &tls.Config{ServerName: s.c.Host, RootCAs: s.c.Roots, MinVersion: tls.VersionTLS12}
	opts = append(opts, gomail.WithTLSConfig(cfg))
	switch s.c.TLS {
	case StartTLS:
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case ImplicitTLS:
		opts = append(opts, gomail.WithSSL())
	default:
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	// The library does not close a connection whose greeting failed, so we keep hold of it.
	opts = append(opts, gomail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
		var err error
		if s.c.TLS == ImplicitTLS {
			conn, err = (&tls.Dialer{Config: cfg}).DialContext(ctx, network, address)
		} else {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		}
		return conn, err
	}))
	if s.c.Username != "" {
		opts = append(opts, gomail.WithOpportunisticSMTPAuth(
			gomail.SMTPAuthSCRAMSHA256PLUS, gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin,
		), gomail.WithUsername(s.c.Username), gomail.WithPassword(s.c.Password))
	}
	c, err := gomail.NewClient(s.c.Host, opts...)
	if err != nil {
		return nil, nil, err
	}
	raw, err := c.DialToSMTPClientWithContext(ctx)
	if err != nil {
		if conn != nil {
			_ = conn.Close() // the greeting's failure is the one worth telling
		}
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return raw, func() {
		stop()
		_ = conn.Close() // after Quit there is nothing left to lose on it
	}, nil
}

// message writes m as it goes over the wire: RFC 5322 and MIME, signed.
func (s *SMTP) message(m Mail) ([]byte, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	msg.FromMailAddress(&s.from)
	if !deliverable(m.To) {
		return nil, errors.New("the recipient is no mail address")
	}
	if err := msg.To(m.To); err != nil {
		return nil, fmt.Errorf("recipient: %w", err)
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(m.Made)
	msg.SetMessageIDWithValue(m.ID + "@" + s.domain)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 section 5: keeps out-of-office replies away
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("write mail: %w", err)
	}
	if s.c.DKIM == nil {
		return b.Bytes(), nil
	}
	return s.c.DKIM.sign(b.Bytes())
}
