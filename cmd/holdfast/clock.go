package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"holdfast/evidence"
	"holdfast/permit"
)

// steadyClock is the server's time. Holds, waits and codes end by it, so whoever can set the
// machine's clock ahead could open everything that waits: a clock 25 h ahead would end a wait of a
// day. It follows the system's clock only as long as that runs as evenly as the boot clock, which
// nobody can set. After a jump it goes on as if there had been none, says so, and waits for an
// operator (guarantee, rule 23). It is safe for concurrent use.
//
// It cannot see a jump that came while the machine was off: then it believes the system, but never
// an earlier time than it has seen.
type steadyClock struct {
	wall func() time.Time
	boot func() (time.Duration, error)
	log  *slog.Logger

	mu     sync.Mutex
	offset time.Duration // system time at boot, as it was trusted last; guarded by mu
	from   time.Duration // boot clock when offset began to count; guarded by mu
	first  time.Duration // offset then; guarded by mu
	jumped time.Duration // how far the system's clock is off; guarded by mu
	said   time.Duration // boot clock when that was last logged; guarded by mu
}

// epoch is from where offsets are counted.
var epoch = time.Unix(0, 0).UTC()

const (
	// jump is how far the system's clock may leave its way at once.
	jump = time.Second
	// slew is how much faster or slower than the boot clock it may run: what time services do to
	// correct a clock, RFC 5905 section 11.3.
	slew = 5e-4
	// sayEvery is how often an unconfirmed jump is logged.
	sayEvery = time.Minute
)

// clockFile is what is kept in the state folder, so that a jump between two starts shows.
type clockFile struct {
	Boot   string        `json:"boot_id"`
	Since  time.Duration `json:"since_boot"`
	Offset time.Duration `json:"offset"`
}

// openClock returns the clock of a state folder.
func openClock(state string, log *slog.Logger) (*steadyClock, error) {
	c := &steadyClock{wall: func() time.Time { return time.Now().Round(0) }, boot: sinceBoot, log: log}
	id, err := bootID()
	if err != nil {
		return nil, err
	}
	return c, c.begin(state, id)
}

// begin takes up what the folder remembers.
func (c *steadyClock) begin(state, id string) error {
	now, err := c.boot()
	if err != nil {
		return err
	}
	c.from, c.offset = now, c.wall().Sub(epoch)-now
	c.first = c.offset
	raw, err := os.ReadFile(filepath.Join(state, "clock.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the clock's file: %w", err)
	}
	var known clockFile
	if err := json.Unmarshal(raw, &known); err != nil {
		return fmt.Errorf("read the clock's file: %w", err)
	}
	switch last := known.Since + known.Offset; {
	case known.Boot == id && now >= known.Since:
		c.from, c.first, c.offset = known.Since, known.Offset, known.Offset
	case now+c.offset < last: // the machine was off and its clock stands before what was seen
		c.first, c.offset = last-now, last-now
	}
	return nil
}

// Now returns the time by which things end.
func (c *steadyClock) Now() time.Time {
	wall := c.wall().Sub(epoch)
	boot, err := c.boot()
	if err != nil {
		// It was read at the start; a system that no longer gives it has no time to trust.
		c.log.Error("the boot clock cannot be read", "error", err)
		boot = c.from
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := wall - boot
	off := now - c.first
	if limit := jump + time.Duration(float64(boot-c.from)*slew); off.Abs() <= limit {
		c.offset, c.jumped = now, 0
		return epoch.Add(boot + c.offset)
	}
	c.jumped = now - c.offset
	if c.said == 0 || boot-c.said > sayEvery {
		c.said = boot
		c.log.Error("the system's clock has jumped; times that open something go on as if it had not, until an operator confirms it with: holdfast clock --accept",
			"jump", c.jumped.String())
	}
	return epoch.Add(boot + c.offset)
}

// state says the clock's time and how far the system's is off; 0 when it is trusted.
func (c *steadyClock) state() (now time.Time, jumped time.Duration) {
	now = c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return now, c.jumped
}

// accept makes the system's time the clock's.
func (c *steadyClock) accept() error {
	boot, err := c.boot()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = c.wall().Sub(epoch) - boot
	c.first, c.from, c.jumped, c.said = c.offset, boot, 0, 0
	return nil
}

// keep writes the clock's file.
func (c *steadyClock) keep(state string) error {
	id, err := bootID()
	if err != nil {
		return err
	}
	boot, err := c.boot()
	if err != nil {
		return err
	}
	c.mu.Lock()
	f := clockFile{Boot: id, Since: boot, Offset: c.offset}
	c.mu.Unlock()
	return replaceFile(filepath.Join(state, "clock.json"), f)
}

// replaceFile writes v as JSON so that a crash leaves the old file or the new one.
func replaceFile(path string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

// clockCmd shows the server's time, and confirms a jump of the system's clock.
type clockCmd struct {
	desk   `embed:""`
	Accept bool `help:"Confirm that the system's clock is right after a jump. Needs your key."`
	Yes    bool `help:"Do it. Without it, the command says what it would do."`
}

type clockArgs struct {
	Accept bool `json:"accept"`
	Yes    bool `json:"yes"`
}

type clockReply struct {
	confirmable
	Now    time.Time     `json:"now"`
	Jumped time.Duration `json:"jumped"`
}

// Run prints the server's time.
func (k clockCmd) Run(ctx context.Context, c console) error {
	var r clockReply
	if err := k.ask(ctx, "clock", clockArgs{k.Accept, k.Yes}, &r); err != nil {
		return err
	}
	if k.Accept {
		if err := r.show(c); err != nil {
			return err
		}
	}
	fmt.Fprintln(c.out, r.Now.Format(clock))
	if r.Jumped != 0 {
		c.say("The system's clock has jumped by %s. Until it is confirmed, nothing opens by it.", r.Jumped)
	}
	return nil
}

func (s *socket) clock(ctx context.Context, by operator, raw json.RawMessage) (any, error) {
	args, err := read[clockArgs](raw)
	if err != nil {
		return nil, err
	}
	steady := s.house.clock
	r := clockReply{}
	r.Now, r.Jumped = steady.state()
	if !args.Accept {
		return r, nil
	}
	if err := mustProve(by); err != nil {
		return nil, err
	}
	r.Plan = []string{fmt.Sprintf("trust the system's clock again, which has jumped by %s", r.Jumped), "holds and waits that end by it then end"}
	if r.Jumped == 0 {
		r.Plan = []string{"trust the system's clock, which has not jumped: this changes nothing"}
	}
	if !args.Yes {
		return r, nil
	}
	err = s.house.door.Do(ctx, by.Actor, permit.Act{Name: permit.AcceptClock, Account: evidence.Platform}, func(tx *permit.Tx) error {
		tx.Note("jump", r.Jumped.String())
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(steady.accept(), steady.keep(s.house.cfg.State)); err != nil {
		return nil, err
	}
	r.Done = true
	r.Now, r.Jumped = steady.state()
	return r, nil
}
