package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
)

// socket is the server's side of the operators' commands. It listens on a file of mode 0600 in the
// state folder: who may open it is who may run the server.
type socket struct {
	house *house
	log   *slog.Logger

	mu     sync.Mutex
	nonces map[string]time.Time // given out and not used, with their end; guarded by mu
}

func newSocket(h *house) *socket {
	return &socket{house: h, log: h.log, nonces: map[string]time.Time{}}
}

// listenSocket opens the socket. A file that a killed server left is replaced, a socket that answers
// is not.
func listenSocket(path string) (net.Listener, error) {
	if len(path) > 100 {
		return nil, withHint(fmt.Errorf("the path of the operators' socket is longer than the system allows: %s", path), "use a state folder with a shorter path")
	}
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return nil, withHint(fmt.Errorf("another server answers on %s", path), "stop it first, or give this one another --state")
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("operators' socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("operators' socket: %w", err)
	}
	// Between bind and chmod the file would have the mode of the umask, so the umask is narrowed: it
	// belongs to the process, and nothing else makes files at this moment of the start.
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("operators' socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("operators' socket: %w", err), l.Close())
	}
	return l, nil
}

type peerKey struct{}

// server returns the HTTP server of the socket.
func (s *socket) server() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/nonce", s.verb("nonce", s.nonce))
	mux.Handle("POST /v1/freeze", s.verb("freeze", s.freeze))
	mux.Handle("POST /v1/clock", s.verb("clock", s.clock))
	mux.Handle("POST /v1/status", s.verb("status", s.status))
	mux.Handle("POST /v1/propose", s.verb("propose", s.propose))
	mux.Handle("POST /v1/approve", s.verb("approve", s.approve))
	mux.Handle("POST /v1/export", s.verb("export", s.export))
	mux.Handle("POST /v1/service-add", s.verb("service-add", s.addService))
	mux.Handle("POST /v1/service-list", s.verb("service-list", s.listServices))
	mux.Handle("POST /v1/service-remove", s.verb("service-remove", s.removeService))
	mux.Handle("POST /v1/operator-add", s.verb("operator-add", s.addOperator))
	mux.Handle("POST /v1/operator-list", s.verb("operator-list", s.listOperators))
	mux.Handle("POST /v1/operator-remove", s.verb("operator-remove", s.removeOperator))
	mux.Handle("POST /v1/unsent", s.verb("unsent", s.unsent))
	mux.Handle("POST /v1/dkim", s.verb("dkim", s.dkim))
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if unix, ok := conn.(*net.UnixConn); ok {
				if uid, err := peerUID(unix); err == nil {
					return context.WithValue(ctx, peerKey{}, userName(uid))
				}
			}
			return ctx
		},
	}
}

// userName is the name of a unix user, or its number where it has none.
func userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return "uid " + number
}

// verb reads a command, finds out who sends it, and answers with what serve returns.
func (s *socket) verb(name string, serve func(ctx context.Context, by operator, args json.RawMessage) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var cmd command
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&cmd)
		if err != nil {
			s.refuse(w, name, fault.Wrap(fault.Invalid, "command", "The command cannot be read.", err))
			return
		}
		by, err := s.who(r.Context(), name, cmd)
		if err != nil {
			s.refuse(w, name, err)
			return
		}
		answer, err := serve(r.Context(), by, cmd.Args)
		if err != nil {
			s.refuse(w, name, err)
			return
		}
		if stream, ok := answer.(func(io.Writer) error); ok {
			s.stream(w, name, stream)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			s.log.Warn("operator did not get the answer", "verb", name, "error", err)
		}
	})
}

// counter counts what passes through.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// stream writes an answer of any length; the trailer tells a whole one from one that broke off.
func (s *socket) stream(w http.ResponseWriter, name string, write func(io.Writer) error) {
	w.Header().Set("Trailer", "Holdfast-Length")
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &counter{w: w}
	if err := write(out); err != nil {
		s.log.Error("operator's answer broke off", "verb", name, "error", err)
		return
	}
	w.Header().Set("Holdfast-Length", strconv.FormatInt(out.n, 10))
}

// refuse writes what went wrong. An operator is told causes: the log is theirs too.
func (s *socket) refuse(w http.ResponseWriter, name string, err error) {
	no := refusedCommand{Code: fault.CodeOf(err), Say: sentence(err)}
	if h, ok := errors.AsType[hinted](err); ok {
		no.Hint = h.hint
	}
	status := http.StatusUnprocessableEntity
	if fault.KindOf(err) == fault.Internal {
		status = http.StatusInternalServerError
		s.log.Error("operator's command failed", "verb", name, "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(no) // the command has failed already
}

// nonceLife is how long a nonce can be used: the time between two requests of one command.
const nonceLife = time.Minute

func (s *socket) nonce(_ context.Context, _ operator, _ json.RawMessage) (any, error) {
	n := rand.Text()
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, end := range s.nonces {
		if now.After(end) {
			delete(s.nonces, old)
		}
	}
	s.nonces[n] = now.Add(nonceLife)
	return n, nil
}

// spend takes a nonce out, and reports whether it was there.
func (s *socket) spend(n string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.nonces[n]
	delete(s.nonces, n)
	return ok && time.Now().Before(end)
}

// operator is who sends a command.
type operator struct {
	evidence.Actor
	// proven says that the command was signed with an enrolled key.
	proven bool
}

// who finds out who sends a command. Without a signature it is the unix user, which is enough for
// what closes and for what looks.
func (s *socket) who(ctx context.Context, verb string, cmd command) (operator, error) {
	peer, _ := ctx.Value(peerKey{}).(string)
	if peer == "" {
		return operator{}, fault.New(fault.Denied, "peer", "The system does not say who is calling.")
	}
	by := operator{Actor: evidence.Actor{Kind: evidence.Operator, ID: "unix user " + peer, Device: "unix user " + peer}}
	if len(cmd.As) > 100 {
		return operator{}, fault.New(fault.Invalid, "as", "--as takes at most 100 bytes.")
	}
	if cmd.Operator == "" {
		if cmd.As != "" {
			by.ID += ", claims to be " + cmd.As
		}
		return by, nil
	}
	o, err := account.FindOperator(ctx, s.house.db, cmd.Operator)
	if err != nil {
		return operator{}, err
	}
	if !s.spend(cmd.Nonce) {
		return operator{}, fault.New(fault.Denied, "nonce", "This command was sent before, or waited too long. Send it again.")
	}
	if err := o.Proves(signedBytes(verb, cmd.Nonce, cmd.Args), cmd.Signature); err != nil {
		return operator{}, err
	}
	by.ID, by.proven = o.Name, true
	return by, nil
}

// mustProve refuses an operator whose command was not signed.
func mustProve(by operator) error {
	if by.proven {
		return nil
	}
	return withHint(fault.New(fault.Denied, "operator_key_needed", "This opens something, so it has to be signed with an operator's key: two people are needed, and a name that anyone can type is nobody."),
		"give --key FILE; holdfast operator add NAME makes one")
}

// find returns the account that an operator names by its id or one of its addresses.
func (s *socket) find(ctx context.Context, name string) (account.ID, error) {
	for _, r := range name {
		if r == '@' {
			id, ok, err := account.FindMail(ctx, s.house.db, name)
			if err == nil && !ok {
				err = fault.New(fault.NotFound, "unknown_account", "No account has the address "+name+".")
			}
			return id, err
		}
	}
	if name == string(evidence.Platform) {
		return evidence.Platform, nil
	}
	_, err := account.ReadProfile(ctx, s.house.db, account.ID(name))
	return account.ID(name), err
}

// read reads a verb's arguments.
func read[T any](args json.RawMessage) (T, error) {
	var v T
	if err := json.Unmarshal(args, &v); err != nil {
		return v, fault.Wrap(fault.Invalid, "command", "The command cannot be read.", err)
	}
	return v, nil
}
