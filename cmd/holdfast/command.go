package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A command travels to the running server over the operators' socket as one HTTP request. What it
// carries that opens something is signed with the operator's own key: the socket's file mode and
// the kernel's word on who is calling tell one unix user from another, and on most servers all
// operators are the same unix user, so neither can tell two people apart.

// command is the body of every request on the socket.
type command struct {
	// Args is the verb's own part, kept as the bytes that were signed.
	Args json.RawMessage `json:"args"`
	// As is the name that an operator without a key gives. It is recorded as claimed.
	As string `json:"as,omitempty"`
	// Operator, Nonce and Signature are there when the command was signed.
	Operator  string `json:"operator,omitempty"`
	Nonce     string `json:"nonce,omitempty"`
	Signature []byte `json:"signature,omitempty"`
}

// signedBytes is what an operator signs: the verb, the server's nonce and the arguments.
func signedBytes(verb, nonce string, args []byte) []byte {
	return bytes.Join([][]byte{[]byte("holdfast operator command v1"), []byte(verb), []byte(nonce), args}, []byte("\n"))
}

// refusedCommand is the body of every answer that is not 200.
type refusedCommand struct {
	Code string `json:"code"`
	Say  string `json:"say"`
	Hint string `json:"hint,omitempty"`
}

// operatorKey is an operator's key file.
type operatorKey struct {
	Operator string `json:"operator"`
	Seed     []byte `json:"private_key"`
}

func (k operatorKey) private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.Seed) }

// String keeps the key out of logs.
func (k operatorKey) String() string { return "operator key of " + k.Operator + " [redacted]" }

// readOperatorKey reads a key file. One that others may read is refused: then it is no longer one
// person's.
func readOperatorKey(path string) (operatorKey, error) {
	var k operatorKey
	info, err := os.Stat(path)
	if err != nil {
		return k, fmt.Errorf("operator key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return k, withHint(fmt.Errorf("operator key %s has mode %04o: others can read it", path, mode), "chmod 600 %s, and think about who did", path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return k, fmt.Errorf("operator key: %w", err)
	}
	if err := json.Unmarshal(raw, &k); err != nil || len(k.Seed) != ed25519.SeedSize || k.Operator == "" {
		return k, fmt.Errorf("operator key %s: this is not an operator's key file", path) // the cause could quote the key
	}
	return k, nil
}

// write keeps the key in a new file of mode 0600.
func (k operatorKey) write(path string) error { return writeSecret(path, k) }

// writeSecret writes v as JSON to a new file of mode 0600 and never overwrites.
func writeSecret(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	_, err = f.Write(append(raw, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	return nil
}

// desk is what all verbs that speak to a running server have in common.
type desk struct {
	State string `default:"holdfast-state" env:"HOLDFAST_STATE" placeholder:"DIR" help:"State folder of the running server."`
	Key   string `env:"HOLDFAST_OPERATOR_KEY" placeholder:"FILE" help:"Your operator key; restore needs it."`
	As    string `placeholder:"NAME" help:"Your name, where you have no key. It is recorded as claimed, not as proven."`
}

// client returns an HTTP client that speaks to the socket, whatever the URL's host. It is made for one
// request, so its connection ends with that.
func (d desk) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", filepath.Join(d.State, socketFile))
	}}}
}

// ask sends one command and decodes the answer into reply, or copies it when reply is an io.Writer.
func (d desk) ask(ctx context.Context, verb string, args, reply any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	cmd := command{Args: raw, As: d.As}
	if d.Key != "" {
		key, err := readOperatorKey(d.Key)
		if err != nil {
			return err
		}
		cmd.Operator = key.Operator
		if err := d.send(ctx, "nonce", command{Args: json.RawMessage("{}")}, &cmd.Nonce); err != nil {
			return err
		}
		cmd.Signature = ed25519.Sign(key.private(), signedBytes(verb, cmd.Nonce, raw))
	}
	return d.send(ctx, verb, cmd, reply)
}

func (d desk) send(ctx context.Context, verb string, cmd command, reply any) error {
	body, err := json.Marshal(cmd)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://operator/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.client().Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return withHint(fmt.Errorf("no server is running on %s", d.State), "start it with holdfast serve, or name its folder with --state")
	case errors.Is(err, fs.ErrPermission):
		return withHint(fmt.Errorf("the socket in %s is not open to you", d.State), "run this as the user that runs the server")
	case err != nil:
		return fmt.Errorf("ask the server: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var no refusedCommand
		if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&no); err != nil || no.Say == "" {
			return fmt.Errorf("the server answered %s", resp.Status)
		}
		if no.Hint != "" {
			return withHint(errors.New(no.Say), "%s", no.Hint)
		}
		return errors.New(no.Say)
	}
	if w, ok := reply.(io.Writer); ok {
		n, err := io.Copy(w, resp.Body)
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if want := resp.Trailer.Get("Holdfast-Length"); want != strconv.FormatInt(n, 10) {
			return errors.New("the server broke off in the middle")
		}
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(reply); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// confirmable is part of every answer to a command that changes something.
type confirmable struct {
	// Plan says what the command does, in lines; Done whether it was done.
	Plan []string `json:"plan"`
	Done bool     `json:"done"`
}

// show prints the plan of a command that was not yet confirmed, and ends it.
func (r confirmable) show(c console) error {
	if r.Done {
		return nil
	}
	c.say("This would do:\n  %s", strings.Join(r.Plan, "\n  "))
	return errNothingDone
}
