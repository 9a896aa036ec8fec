package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/guard"
	"holdfast/store"
	"holdfast/store/storetest"
)

// machine is a machine whose clocks a test turns.
type machine struct {
	wall time.Time
	boot time.Duration
}

func (m *machine) pass(d time.Duration) { m.wall, m.boot = m.wall.Add(d), m.boot+d }

func (m *machine) clock(t *testing.T, state, id string) *steadyClock {
	t.Helper()
	c := &steadyClock{wall: func() time.Time { return m.wall }, boot: func() (time.Duration, error) { return m.boot, nil }, log: slog.New(slog.DiscardHandler)}
	if err := c.begin(state, id); err != nil {
		t.Fatal(err)
	}
	return c
}

func newMachine() *machine {
	return &machine{wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), boot: time.Hour}
}

// TestClockThatJumpsOpensNothing: a clock set 25 h ahead ends no wait of a day, and one set back
// does not go back.
func TestClockThatJumpsOpensNothing(t *testing.T) {
	for name, by := range map[string]time.Duration{"ahead": 25 * time.Hour, "back": -25 * time.Hour, "a little": 1100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			c := m.clock(t, t.TempDir(), "boot")
			m.pass(time.Minute)
			before := c.Now()
			if !before.Equal(m.wall) {
				t.Fatalf("an even clock is not followed: %s, %s", before, m.wall)
			}
			m.wall = m.wall.Add(by)
			m.pass(time.Minute)
			now, jumped := c.state()
			if got := now.Sub(before); got != time.Minute {
				t.Errorf("a minute took %s", got)
			}
			if jumped != by {
				t.Errorf("jumped by %s, want %s", jumped, by)
			}
			if err := c.accept(); err != nil {
				t.Fatal(err)
			}
			if now, jumped := c.state(); !now.Equal(m.wall) || jumped != 0 {
				t.Errorf("after the operator confirmed: %s, off by %s", now, jumped)
			}
		})
	}
}

// TestClockIsCorrectedAsTimeServicesDo: small corrections and slow drift are followed, and a jump
// that goes back by itself needs nobody.
func TestClockIsCorrectedAsTimeServicesDo(t *testing.T) {
	m := newMachine()
	c := m.clock(t, t.TempDir(), "boot")
	for range 1000 { // 400 parts in a million, for eleven days
		m.pass(16 * time.Minute)
		m.wall = m.wall.Add(384 * time.Millisecond)
		if now := c.Now(); !now.Equal(m.wall) {
			t.Fatalf("a clock that is slewed is not followed: %s, %s", now, m.wall)
		}
	}
	m.wall = m.wall.Add(time.Hour)
	if _, jumped := c.state(); jumped == 0 {
		// Eleven days of drift allow minutes, not an hour.
		t.Error("an hour was taken for a correction")
	}
	m.wall = m.wall.Add(-time.Hour)
	if now, jumped := c.state(); jumped != 0 || !now.Equal(m.wall) {
		t.Errorf("the jump went back, and the clock is off by %s", jumped)
	}
}

// TestClockRemembersAcrossStarts: stopping the server before turning the clock helps nobody.
func TestClockRemembersAcrossStarts(t *testing.T) {
	state := t.TempDir()
	m := newMachine()
	c := m.clock(t, state, "boot")
	keep := func(id string) {
		if err := replaceFile(filepath.Join(state, "clock.json"), clockFile{Boot: id, Since: m.boot, Offset: c.offset}); err != nil {
			t.Fatal(err)
		}
	}
	m.pass(time.Minute)
	kept := c.Now()
	keep("boot")
	m.pass(time.Minute)
	m.wall = m.wall.Add(25 * time.Hour)
	if now, jumped := m.clock(t, state, "boot").state(); now.Sub(kept) != time.Minute || jumped != 25*time.Hour {
		t.Errorf("a start later: %s after, off by %s", now.Sub(kept), jumped)
	}
	m.wall = m.wall.Add(-25 * time.Hour)
	if now, jumped := m.clock(t, state, "boot").state(); now.Sub(kept) != time.Minute || jumped != 0 {
		t.Errorf("a start later, nothing turned: %s after, off by %s", now.Sub(kept), jumped)
	}
	// The machine was off for a day; that cannot be told from a clock that was turned.
	m.boot, m.wall = time.Minute, m.wall.Add(24*time.Hour)
	if now := m.clock(t, state, "another boot").Now(); !now.Equal(m.wall) {
		t.Errorf("after a night: %s, want %s", now, m.wall)
	}
	// But never back behind what was seen.
	m.wall = kept.Add(-time.Hour)
	if now, jumped := m.clock(t, state, "another boot").state(); now.Before(kept) || jumped == 0 {
		t.Errorf("after a night with the clock set back: %s, before %s", now, kept)
	}
}

// TestClockOfTheServerIsAskedAndConfirmed goes through the verb: asking is free, confirming takes an
// operator with a key.
func TestClockOfTheServerIsAskedAndConfirmed(t *testing.T) {
	s := newSite(t, "")
	p := s.serve("")
	t.Setenv("HOLDFAST_STATE", s.cfg.State)
	key := filepath.Join(t.TempDir(), "first.key")
	succeeds(t, "operator", "add", "first", "--out", key, "--yes")
	if out := succeeds(t, "clock"); !strings.HasSuffix(out, "UTC") {
		t.Errorf("clock: %s", out)
	}
	refuses(t, statusFailed, "signed with an operator's key", "clock", "--accept", "--yes")
	refuses(t, statusUsage, "trust the system's clock", "clock", "--accept", "--key", key)
	succeeds(t, "clock", "--accept", "--key", key, "--yes")
	if status := p.interrupt(t); status != 0 {
		t.Errorf("the server ended with %d\n%s", status, p.log)
	}
	if _, err := os.Stat(filepath.Join(s.cfg.State, "clock.json")); err != nil {
		t.Errorf("the clock's file: %v", err)
	}
}

// TestDatabaseFromABackUpIsRefused: a back-up from before a freeze has the account open.
func TestDatabaseFromABackUpIsRefused(t *testing.T) {
	s := newSite(t, "")
	p := s.serve("")
	id := register(t, p, "holder@holdfast.test")
	if status := p.interrupt(t); status != 0 {
		t.Fatalf("status %d\n%s", status, p.log)
	}
	file := filepath.Join(s.cfg.State, sqliteFile)
	backUp, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p = s.serve("")
	if err := p.freeze(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if status := p.interrupt(t); status != 0 {
		t.Fatalf("status %d\n%s", status, p.log)
	}
	for _, tail := range []string{"-wal", "-shm"} {
		if err := os.Remove(file + tail); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, backUp, 0o600); err != nil {
		t.Fatal(err)
	}
	serve := []string{"serve", "--state", s.cfg.State, "--pages", "127.0.0.1:0", "--api", "127.0.0.1:0",
		"--mail-host", "127.0.0.1", "--mail-tls", "plain", "--mail-from", "Holdfast <security@holdfast.test>"}
	refuses(t, statusFailed, "has lost history: 1 closings", serve...)
	t.Setenv("HOLDFAST_ACCEPT_LOST_HISTORY", "true")
	p = s.serve("")
	if err := p.freeze(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	p.interrupt(t)
	s.look(func(db *store.DB) {
		var n int
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM entry WHERE act = 'accept_lost_history'`).Scan(&n); err != nil || n != 1 {
			t.Errorf("recorded %d times (%v)", n, err)
		}
	})
}

// TestServerEndsWhenItsDatabaseFallsBack: a standby that took over without the last commits.
func TestServerEndsWhenItsDatabaseFallsBack(t *testing.T) {
	s := newSite(t, storetest.PostgresDSN(t))
	p := s.serve("")
	if err := p.freeze(t.Context(), register(t, p, "holder@holdfast.test")); err != nil {
		t.Fatal(err)
	}
	// The file is written after the answer.
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for known, err := readHistory(s.cfg.State); known.missing([16]int64{}) == 0; known, err = readHistory(s.cfg.State) {
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatal("the highest positions were not kept")
		}
	}
	s.look(func(db *store.DB) {
		err := db.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE lane SET position = 0`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	select {
	case <-p.ended:
	case <-deadline.C:
		t.Fatalf("the server goes on\n%s", p.log)
	}
	if !strings.Contains(p.log.String(), "has lost history") || p.status() != statusFailed {
		t.Errorf("status %d\n%s", p.status(), p.log)
	}
}

// A database that falls back while the server runs must not take along what the next start needs to
// notice it.
func TestPositionsNeverGoBack(t *testing.T) {
	seen := history{guard.Positions{5, 2}}
	for _, c := range []struct {
		head guard.Positions
		want guard.Positions
		lost int64
	}{
		{guard.Positions{5, 2}, guard.Positions{5, 2}, 0},
		{guard.Positions{6, 2, 1}, guard.Positions{6, 2, 1}, 0},
		{guard.Positions{4, 1}, guard.Positions{5, 2}, 2},
		{guard.Positions{9, 0}, guard.Positions{5, 2}, 2}, // ahead in one lane makes up for nothing
	} {
		if got, lost := seen.next(c.head); got.Positions != c.want || lost != c.lost {
			t.Errorf("%v: %v, %d lost", c.head, got.Positions, lost)
		}
	}
}
