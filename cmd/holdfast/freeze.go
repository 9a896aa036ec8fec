package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdfast/account"
	"holdfast/fault"
	"holdfast/guard"
	"holdfast/store"
)

// freezeCmd closes every exit of an account. It needs no key: closing is never made hard.
type freezeCmd struct {
	desk    `embed:""`
	Account string `arg:"" help:"The account's id or one of its mail addresses."`
	Reason  string `required:"" help:"Why; it is recorded, and the holder can read it."`
	Yes     bool   `help:"Do it. Without it, the command says what it would do."`
}

type freezeArgs struct {
	Account string `json:"account"`
	Reason  string `json:"reason"`
	Yes     bool   `json:"yes"`
}

type freezeReply struct {
	confirmable
	Account string `json:"account"`
	Already bool   `json:"already"`
	statusReply
}

// Run freezes and prints how the account stands then.
func (f freezeCmd) Run(ctx context.Context, c console) error {
	var r freezeReply
	if err := f.ask(ctx, "freeze", freezeArgs{f.Account, f.Reason, f.Yes}, &r); err != nil {
		return err
	}
	if err := r.show(c); err != nil {
		return err
	}
	if r.Already {
		c.say("The account was frozen already. It stays so.")
	}
	return r.print(c)
}

func (s *socket) freeze(ctx context.Context, by operator, raw json.RawMessage) (any, error) {
	args, err := read[freezeArgs](raw)
	if err != nil {
		return nil, err
	}
	if args.Reason == "" {
		return nil, fault.New(fault.Invalid, "reason", "Give a reason.")
	}
	id, err := s.find(ctx, args.Account)
	if err != nil {
		return nil, err
	}
	r := freezeReply{Account: string(id)}
	r.Plan = []string{
		fmt.Sprintf("close every exit of account %s", id),
		"cancel its pending withdrawals and open orders, end its sessions, suspend its API keys",
		"mail every address that it had in the last 30 days",
		"only a restore by two operators opens it again",
	}
	if args.Yes {
		// The wait belongs to the freeze, not to the terminal that asked for it.
		done, err := s.house.guard.Freeze(context.WithoutCancel(ctx), by.Actor, id, args.Reason)
		if errors.Is(err, store.ErrUnknownOutcome) {
			return nil, withHint(fault.Wrap(fault.Internal, "not_known_yet",
				"The database has not answered. The account is closed on this server meanwhile, and the press is tried again until it is answered.", err),
				"look with holdfast status %s; a full disk or a lost database is the usual cause", id)
		}
		if err != nil {
			return nil, err
		}
		r.Done, r.Already = true, done.Already
	}
	r.statusReply, err = s.protection(ctx, id)
	return r, err
}

// statusCmd shows how an account is protected.
type statusCmd struct {
	desk    `embed:""`
	Account string `arg:"" help:"The account's id or one of its mail addresses."`
	JSON    bool   `name:"json" help:"Print it as JSON."`
}

type statusArgs struct {
	Account string `json:"account"`
}

// statusReply is how an account is protected, as scripts read it.
type statusReply struct {
	ID          string          `json:"id"`
	Frozen      bool            `json:"frozen"`
	FrozenAt    *time.Time      `json:"frozen_at,omitempty"`
	Contained   bool            `json:"contained"`
	Receipts    []statusReceipt `json:"receipts"`
	Blocks      []string        `json:"blocks"`
	MayHaveLeft []string        `json:"may_have_left"`
	Head        string          `json:"head"`
}

type statusReceipt struct {
	Exit     string     `json:"exit"`
	Enforcer string     `json:"enforcer"`
	ClosedAt *time.Time `json:"closed_at"`
	Stopped  int64      `json:"stopped"`
	Detail   string     `json:"detail,omitempty"`
}

// Run prints the account's protection.
func (s statusCmd) Run(ctx context.Context, c console) error {
	var r statusReply
	if err := s.ask(ctx, "status", statusArgs{s.Account}, &r); err != nil {
		return err
	}
	if s.JSON {
		return json.NewEncoder(c.out).Encode(r)
	}
	return r.print(c)
}

func (s *socket) status(ctx context.Context, _ operator, raw json.RawMessage) (any, error) {
	args, err := read[statusArgs](raw)
	if err != nil {
		return nil, err
	}
	id, err := s.find(ctx, args.Account)
	if err != nil {
		return nil, err
	}
	return s.protection(ctx, id)
}

func (s *socket) protection(ctx context.Context, id account.ID) (statusReply, error) {
	p, err := s.house.guard.Protection(ctx, id)
	if err != nil {
		return statusReply{}, err
	}
	r := statusReply{ID: string(id), Frozen: p.Frozen(), FrozenAt: moment(p.FrozenAt), Contained: p.Contained, Head: p.Chain.String(),
		Receipts: []statusReceipt{}, Blocks: []string{}, MayHaveLeft: []string{}}
	for _, e := range p.Receipts {
		r.Receipts = append(r.Receipts, statusReceipt{string(e.Exit), e.Enforcer, moment(e.ClosedAt), e.Stopped, e.Detail})
	}
	for _, b := range p.Blocks {
		said := guard.Title(b.Exit) + ": " + b.Sentence
		if !b.Until.IsZero() {
			said += " Until " + b.Until.UTC().Format(clock) + "."
		}
		r.Blocks = append(r.Blocks, said)
	}
	for _, w := range p.MayHaveLeft {
		r.MayHaveLeft = append(r.MayHaveLeft, fmt.Sprintf("%s %s to %s", w.Amount, w.Asset, w.Address))
	}
	return r, nil
}

// moment is a time as JSON shows it; nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

const clock = "2006-01-02 15:04:05 UTC"

// print writes the status for people. What is confirmed and what is not stay two kinds of lines.
func (r statusReply) print(c console) error {
	p := func(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }
	p("account   %s", r.ID)
	switch {
	case r.Contained:
		p("state     frozen since %s, contained: every exit is confirmed closed", r.FrozenAt.UTC().Format(clock))
	case r.Frozen:
		p("state     frozen since %s; not every enforcer has confirmed yet", r.FrozenAt.UTC().Format(clock))
	default:
		p("state     not frozen")
	}
	for _, e := range r.Receipts {
		if e.ClosedAt == nil {
			p("  %-20s %-12s NOT CONFIRMED", e.Exit, e.Enforcer)
			continue
		}
		p("  %-20s %-12s closed %s  %s", e.Exit, e.Enforcer, e.ClosedAt.UTC().Format("15:04:05"), e.Detail)
	}
	for _, w := range r.MayHaveLeft {
		p("may already have left: %s", w)
	}
	if !r.Frozen {
		for _, b := range r.Blocks {
			p("blocked   %s", b)
		}
	}
	p("evidence  %s", r.Head)
	return nil
}
