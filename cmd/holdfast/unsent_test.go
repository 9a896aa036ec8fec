package main

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"
)

// TestUnsentMailsAreShown: with a dead mail server the freeze goes through, and an operator sees which
// mail did not.
func TestUnsentMailsAreShown(t *testing.T) {
	s := newSite(t, "")
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr, ok := gone.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no TCP address")
	}
	must(t, gone.Close())
	s.mail.port = addr.Port // nobody is there
	p := s.serve("")
	t.Setenv("HOLDFAST_STATE", s.cfg.State)
	if out := succeeds(t, "unsent"); out != "" {
		t.Errorf("before anything happened: %s", out)
	}
	id := register(t, p, "holder@holdfast.test")
	succeeds(t, "freeze", id, "--reason", "the holder called", "--yes")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		status, out, _ := holdfast(t, "unsent", "--json")
		var list []unsentMail
		if err := json.Unmarshal([]byte(out), &list); err != nil || status != statusFailed || len(list) != 1 || list[0].Account != id || list[0].Kind != "freeze" {
			t.Fatalf("status %d, %v: %s", status, err, out)
		}
		if list[0].LastError != "" && list[0].Attempts > 0 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("no reason is given: %s", out)
		}
	}
	refuses(t, statusFailed, "1 mail waits", "unsent")
	if status := p.interrupt(t); status != 0 {
		t.Errorf("the server ended with %d\n%s", status, p.log)
	}
}
