// Package account keeps a person and every way in: password, sessions, devices, API keys, codes.
//
// What can go wrong here is a way in that outlives its end, or an answer that tells a stranger who
// has an account. So everything given out carries the epoch in which it lives and dies with it;
// every secret is kept as a hash, or sealed where it must be read back, and names its account, so
// that looking it up begins there; public forms never look an account up while they answer, they
// hand what was typed to a job that does; and sign-in, which must answer, does the same work for
// an address that nobody has. The package refuses to open anything that the door's gates close: it
// writes facts, such as when the password changed, and never decides what follows from them.
package account

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"holdfast/evidence"
	"holdfast/permit"
	"holdfast/store"
)

// ID names an account.
type ID = evidence.AccountID

// Config is what an operator can set. The zero value of each field stands for its default.
type Config struct {
	// Idle ends a session that was not used; 12 h. A forgotten session on a borrowed machine
	// would stay a way in.
	Idle time.Duration
	// Longest ends a session whatever happens; 30 days. A stolen session that is kept warm would
	// never end.
	Longest time.Duration
	// CodeWithin is how long a mailed code works; 10 min.
	CodeWithin time.Duration
	// CodeTries is how often a mailed code may be tried; 5.
	CodeTries int64
	// HandOverWithin is how long the code of a hand-over works; 1 min.
	HandOverWithin time.Duration
	// WithdrawWait is how long a new key waits before it may withdraw; 24 h. It is the time in
	// which the holder can read the mail about a key that a thief made.
	WithdrawWait time.Duration
	// Cost of a password hash.
	Cost Cost
	// Hashers is how many passwords are hashed at once; the number of CPUs. HashQueue is how many
	// wait; 64. Beyond it the answer is "busy": a flood of sign-ins would otherwise take all
	// memory.
	Hashers, HashQueue int
	// SourceTries limits sign-ins from one source in 15 min, whatever the address; 100. It slows
	// down trying one password on everybody.
	SourceTries int
	// Keys is how many API keys an account may have; 30.
	Keys int64
	// Places finds the place of an address; nil finds none.
	Places *Places
	// Log takes what an operator should see; slog.Default when nil.
	Log *slog.Logger
}

func (c *Config) fill() {
	set(&c.Idle, 12*time.Hour)
	set(&c.Longest, 30*24*time.Hour)
	set(&c.CodeWithin, 10*time.Minute)
	set(&c.CodeTries, 5)
	set(&c.HandOverWithin, time.Minute)
	set(&c.WithdrawWait, 24*time.Hour)
	set(&c.Cost, Cost{Memory: 19 * 1024, Passes: 2, Lanes: 1})
	set(&c.Hashers, runtime.NumCPU())
	set(&c.HashQueue, 64)
	set(&c.SourceTries, 100)
	set(&c.Keys, 30)
	if c.Log == nil {
		c.Log = slog.Default()
	}
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Accounts is the room. It is safe for concurrent use.
type Accounts struct {
	door  *permit.Door
	db    *store.DB
	mails Mails
	cfg   Config
	hash  *hasher
	decoy string // a hash that no password matches, for addresses that nobody has

	mu   sync.Mutex
	seen map[string]time.Time // when a mark was last written; guarded by mu
}

// New returns the accounts behind the door, and registers the jobs of their public forms with mails.
func New(door *permit.Door, mails Mails, cfg Config) (*Accounts, error) {
	cfg.fill()
	a := &Accounts{door: door, db: door.DB(), mails: mails, cfg: cfg, hash: newHasher(cfg), seen: map[string]time.Time{}}
	var err error
	if a.decoy, err = a.hash.of(rand.Text()); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	mails.Handle(signUpForm, a.takeSignUp)
	mails.Handle(codeForm, a.takeCodeRequest)
	mails.Handle(resetForm, a.takeResetRequest)
	return a, nil
}

// At returns the same accounts with a clock that stands at t, for planting a past.
func (a *Accounts) At(t time.Time) *Accounts {
	door := a.door.At(t)
	return &Accounts{door: door, db: door.DB(), mails: a.mails, cfg: a.cfg, hash: a.hash, decoy: a.decoy, seen: map[string]time.Time{}}
}

// Hashes returns how many passwords were hashed. It lets a test show that two requests do equal
// work.
func (a *Accounts) Hashes() int64 { return a.hash.count.Load() }

// From describes a stranger at a client address with a User-Agent; the place is looked up. Both
// are shortened to what is worth keeping.
func (a *Accounts) From(address, agent string) evidence.Actor {
	if len(agent) > 512 {
		agent = agent[:512]
	}
	return evidence.Actor{Kind: evidence.Nobody, Address: short(address), Agent: clean(agent), Place: a.cfg.Places.Name(address)}
}

// Reader is what can answer a question here: a handle or a transaction.
type Reader interface {
	store.Querier
	Now() time.Time
	Keys() *store.Keyset
}

// nameless is the account id under which tries at an address that nobody has are counted.
func nameless(keys *store.Keyset, mail string) (ID, error) {
	sum, err := keys.Hash("nameless", []byte(mail))
	if err != nil {
		return "", err
	}
	return ID("?" + hex.EncodeToString(sum)), nil
}

var errTaken = errors.New("account: the address was taken meanwhile")

// do is door.Do on an account that exists.
func (a *Accounts) do(ctx context.Context, by evidence.Actor, act string, id ID, f func(tx *permit.Tx) error) error {
	return a.door.Do(ctx, by, permit.Act{Name: act, Account: id}, f)
}
