package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"holdfast/notice"
)

// letter is a mail that somebody received.
type letter struct {
	to, subject, text string
}

// links finds a link of a purpose in a mail.
func (l letter) link(p notice.Purpose) string {
	return regexp.MustCompile(`https?://[^\s]+/` + string(p) + `/[A-Za-z0-9_-]+`).FindString(l.text)
}

// head is the head of the evidence chain that the mail names.
func (l letter) head() string {
	return regexp.MustCompile(`\b[0-9]+:[0-9a-f]{64}\b`).FindString(l.text)
}

// postbox keeps what arrived, and lets somebody wait for more.
type postbox struct {
	mu      sync.Mutex
	letters []letter      // guarded by mu
	more    chan struct{} // closed and replaced at each arrival; guarded by mu
}

func newPostbox() *postbox { return &postbox{more: make(chan struct{})} }

func (b *postbox) put(l letter) {
	b.mu.Lock()
	b.letters = append(b.letters, l)
	close(b.more)
	b.more = make(chan struct{})
	b.mu.Unlock()
}

// count is how many mails have arrived.
func (b *postbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.letters)
}

// wait returns the first mail to an address, at or after place from, that match likes.
func (b *postbox) wait(ctx context.Context, to string, from int, match func(letter) bool) (letter, error) {
	for {
		b.mu.Lock()
		for _, l := range b.letters[min(from, len(b.letters)):] {
			if l.to == to && match(l) {
				b.mu.Unlock()
				return l, nil
			}
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return letter{}, fmt.Errorf("no such mail to %s arrived: %w", to, ctx.Err())
		}
	}
}

// Send takes a mail without a network, while the demonstration's past is planted.
func (b *postbox) Send(_ context.Context, m notice.Mail) error {
	b.put(letter{m.To, m.Subject, m.Text})
	return nil
}

// mailServer receives mails by SMTP, as the holder's own provider would.
type mailServer struct {
	box    *postbox
	server *smtp.Server
	port   int
}

func startMailServer() (*mailServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return nil, errors.Join(errors.New("mail server: no TCP address"), l.Close())
	}
	m := &mailServer{box: newPostbox(), port: addr.Port}
	m.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{box: m.box}, nil }))
	m.server.Domain = "mail.holdfast.test"
	m.server.MaxMessageBytes = 1 << 20
	m.server.ReadTimeout, m.server.WriteTimeout = 10*time.Second, 10*time.Second
	m.server.ErrorLog = log.New(io.Discard, "", 0)
	go func() { _ = m.server.Serve(l) }() // ends with close
	return m, nil
}

func (m *mailServer) close() error { return m.server.Close() }

// delivery is one conversation.
type delivery struct {
	box *postbox
	to  []string
}

func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (d *delivery) Reset()                               { d.to = nil }
func (d *delivery) Logout() error                        { return nil }

func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = append(d.to, to)
	return nil
}

func (d *delivery) Data(r io.Reader) error {
	subject, text, err := readMail(r)
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: "the mail cannot be read"}
	}
	for _, to := range d.to {
		d.box.put(letter{to, subject, text})
	}
	return nil
}

// readMail returns subject and text part of a mail.
func readMail(r io.Reader) (subject, text string, err error) {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return "", "", err
	}
	if subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return "", "", err
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return "", "", err
	}
	if !strings.HasPrefix(kind, "multipart/") {
		return "", "", errors.New("a security mail has two parts")
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return "", "", err
		}
		if !strings.HasPrefix(part.Header.Get("Content-Type"), "text/plain") {
			continue
		}
		body := io.Reader(part)
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(part)
		}
		raw, err := io.ReadAll(io.LimitReader(body, 1<<20))
		return subject, string(raw), err
	}
}
