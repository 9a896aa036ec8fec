package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/fault"
	"holdfast/guard"
)

// restoreCmd opens a frozen account again. It takes two people, each with a key of their own.
type restoreCmd struct {
	Propose proposeCmd `cmd:"" help:"Say that a freeze should end, and why. Opens nothing."`
	Approve approveCmd `cmd:"" help:"Let another operator's proposal take effect."`
}

type proposeCmd struct {
	desk         `embed:""`
	Account      string `arg:"" help:"The account's id or one of its mail addresses."`
	Reason       string `required:"" help:"How you know that it is the holder who asks. The holder is mailed it."`
	KeepPassword bool   `help:"Let the password of before the freeze go on working. Without it the holder has to choose a new one by mail: whoever stole the old one would be back at once."`
	Yes          bool   `help:"Do it. Without it, the command says what it would do."`
}

type approveCmd struct {
	desk `embed:""`
	Plan string `arg:"" help:"Id of the proposal."`
	Yes  bool   `help:"Do it. Without it, the command says what it would do."`
}

type proposeArgs struct {
	freezeArgs
	KeepPassword bool `json:"keep_password"`
}

type approveArgs struct {
	Plan string `json:"plan"`
	Yes  bool   `json:"yes"`
}

type planReply struct {
	confirmable
	ID         string    `json:"id"`
	Account    string    `json:"account"`
	Reason     string    `json:"reason"`
	ProposedBy string    `json:"proposed_by"`
	ProposedAt time.Time `json:"proposed_at"`
	// Held is how long payouts stay held after the restore, in words.
	Held string `json:"held,omitempty"`
}

// Run proposes and prints the proposal's id.
func (p proposeCmd) Run(ctx context.Context, c console) error {
	var r planReply
	if err := p.ask(ctx, "propose", proposeArgs{freezeArgs{p.Account, p.Reason, p.Yes}, p.KeepPassword}, &r); err != nil {
		return err
	}
	if err := r.show(c); err != nil {
		return err
	}
	fmt.Fprintln(c.out, r.ID)
	c.say("Proposed. Another operator approves it within 7 days with:\n  holdfast restore approve %s --key FILE --yes", r.ID)
	return nil
}

// Run approves, and says what is open and what still waits.
func (a approveCmd) Run(ctx context.Context, c console) error {
	var r planReply
	if err := a.ask(ctx, "approve", approveArgs{a.Plan, a.Yes}, &r); err != nil {
		return err
	}
	if err := r.show(c); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "restored %s\n", r.Account)
	c.say("The account is open. Withdrawals and transfers stay held for %s, and every address of the last 30 days is told.\nIts sessions stay ended and its API keys stay suspended until the holder enables or deletes each.", r.Held)
	return nil
}

func (s *socket) propose(ctx context.Context, by operator, raw json.RawMessage) (any, error) {
	args, err := read[proposeArgs](raw)
	if err != nil {
		return nil, err
	}
	if err := mustProve(by); err != nil {
		return nil, err
	}
	if err := account.CountsForRestore(ctx, s.house.db, by.ID); err != nil {
		return nil, err
	}
	id, err := s.find(ctx, args.Account)
	if err != nil {
		return nil, err
	}
	p, err := s.house.guard.Protection(ctx, id)
	if err != nil {
		return nil, err
	}
	if !p.Frozen() {
		return nil, fault.New(fault.Conflict, "not_frozen", "This account is not frozen.")
	}
	r := planReply{Account: string(id), Reason: args.Reason, ProposedBy: by.ID}
	r.Plan = []string{
		fmt.Sprintf("propose to end the freeze of account %s, in your name: %s", id, by.ID),
		"mail the reason to every address that it had in the last 30 days",
		passwordWords(args.KeepPassword),
		"nothing opens before another operator approves",
	}
	if !args.Yes {
		return r, nil
	}
	plan, err := s.house.guard.Propose(ctx, by.Actor, id, args.Reason, args.KeepPassword)
	if err != nil {
		return nil, err
	}
	r.Done, r.ID, r.ProposedAt = true, plan.ID, plan.ProposedAt
	return r, nil
}

func (s *socket) approve(ctx context.Context, by operator, raw json.RawMessage) (any, error) {
	args, err := read[approveArgs](raw)
	if err != nil {
		return nil, err
	}
	if err := mustProve(by); err != nil {
		return nil, err
	}
	if err := account.CountsForRestore(ctx, s.house.db, by.ID); err != nil {
		return nil, err
	}
	plan, err := s.house.guard.Plan(ctx, args.Plan)
	if err != nil {
		return nil, err
	}
	lengths, err := s.house.cfg.holds()
	if err != nil {
		return nil, err
	}
	r := planReply{Held: span(lengths[guard.HeldRestored]), ID: plan.ID, Account: string(plan.Account), Reason: plan.Reason, ProposedBy: plan.ProposedBy, ProposedAt: plan.ProposedAt}
	r.Plan = []string{
		fmt.Sprintf("end the freeze of account %s", plan.Account),
		fmt.Sprintf("proposed by %s at %s: %s", plan.ProposedBy, plan.ProposedAt.Format(clock), oneLine(plan.Reason)),
		"sign-in and trading open at once; withdrawals and transfers stay held for " + r.Held,
		passwordWords(plan.KeepPassword),
		"API keys stay suspended until the holder enables them",
	}
	if !args.Yes {
		return r, nil
	}
	if _, err := s.house.guard.Approve(ctx, by.Actor, args.Plan); err != nil {
		return nil, err
	}
	r.Done = true
	return r, nil
}

// oneLine shows somebody's words on one line of a terminal, without control characters.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// passwordWords says what a restore does with the password.
func passwordWords(keep bool) string {
	if keep {
		return "the password of before the freeze goes on working, for whoever knows it"
	}
	return "a password that was not replaced during the freeze stops working; the holder chooses a new one by mail"
}
