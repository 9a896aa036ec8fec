package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"holdfast/account"
)

// operatorCmd enrols and removes operators.
type operatorCmd struct {
	Add    operatorAddCmd    `cmd:"" help:"Make a key for an operator and enrol it."`
	List   operatorListCmd   `cmd:"" help:"List the operators."`
	Remove operatorRemoveCmd `cmd:"" help:"End an operator's key."`
}

type operatorAddCmd struct {
	desk `embed:""`
	Name string `arg:"" help:"The person's name: letters, digits, dots and dashes."`
	Out  string `placeholder:"FILE" help:"Where to write the key; NAME.key without it."`
	Yes  bool   `help:"Do it. Without it, the command says what it would do."`
}

type operatorListCmd struct {
	desk `embed:""`
	JSON bool `name:"json" help:"Print it as JSON."`
}

type operatorRemoveCmd struct {
	desk `embed:""`
	Name string `arg:"" help:"The operator's name."`
	Yes  bool   `help:"Do it. Without it, the command says what it would do."`
}

type operatorArgs struct {
	Name   string `json:"name"`
	Public []byte `json:"public,omitempty"`
	Yes    bool   `json:"yes"`
}

type operatorReply struct {
	confirmable
	Approves time.Time `json:"approves"`
}

// Run makes the key, enrols its public half, and keeps the private one in a file.
func (o operatorAddCmd) Run(ctx context.Context, c console) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make the key: %w", err)
	}
	path := o.Out
	if path == "" {
		path = o.Name + ".key"
	}
	if o.Yes { // the file first: an enrolled key that was lost would stay enrolled
		if err := (operatorKey{o.Name, private.Seed()}).write(path); err != nil {
			return err
		}
	}
	var r operatorReply
	if err := o.ask(ctx, "operator-add", operatorArgs{o.Name, public, o.Yes}, &r); err != nil {
		if o.Yes {
			err = withHint(err, "%s holds a key that was not enrolled; remove it before you try again", path)
		}
		return err
	}
	if err := r.show(c); err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	fmt.Fprintln(c.out, path)
	c.say("Enrolled %s. Give the file to that person only, and keep no copy.", o.Name)
	if r.Approves.After(time.Now()) {
		c.say("The key counts for restores from %s on.", r.Approves.Format(clock))
	}
	return nil
}

// Run lists the operators.
func (o operatorListCmd) Run(ctx context.Context, c console) error {
	var all []enrolled
	if err := o.ask(ctx, "operator-list", struct{}{}, &all); err != nil {
		return err
	}
	if o.JSON {
		return json.NewEncoder(c.out).Encode(all)
	}
	for _, e := range all {
		fmt.Fprintf(c.out, "%-20s enrolled %s by %s, counts for restores from %s\n", e.Name, e.AddedAt.Format(clock), oneLine(e.AddedBy), e.Approves.Format(clock))
	}
	return nil
}

// Run removes an operator.
func (o operatorRemoveCmd) Run(ctx context.Context, c console) error {
	var r operatorReply
	if err := o.ask(ctx, "operator-remove", operatorArgs{Name: o.Name, Yes: o.Yes}, &r); err != nil {
		return err
	}
	if err := r.show(c); err != nil {
		return err
	}
	c.say("Removed %s. The key does nothing any more.", o.Name)
	return nil
}

// enrolled is an operator as it is listed.
type enrolled struct {
	Name     string    `json:"name"`
	AddedAt  time.Time `json:"added_at"`
	AddedBy  string    `json:"added_by"`
	Approves time.Time `json:"approves"`
}

func (s *socket) addOperator(ctx context.Context, by operator, raw json.RawMessage) (any, error) {
	args, err := read[operatorArgs](raw)
	if err != nil {
		return nil, err
	}
	if err := account.CheckOperator(args.Name, args.Public); err != nil {
		return nil, err
	}
	later, err := account.OperatorsNeedProof(ctx, s.house.db)
	if err != nil {
		return nil, err
	}
	r := operatorReply{}
	r.Plan = []string{"enrol " + args.Name + " as an operator who can propose and approve restores"}
	if later {
		if err := mustProve(by); err != nil {
			return nil, err
		}
		r.Plan = append(r.Plan, "the key counts for restores after 48 hours")
	}
	if !args.Yes {
		return r, nil
	}
	o, err := account.AddOperator(ctx, s.house.door, by.Actor, by.proven, args.Name, args.Public)
	r.Done, r.Approves = err == nil, o.CountsFrom
	return r, err
}

func (s *socket) listOperators(ctx context.Context, _ operator, _ json.RawMessage) (any, error) {
	found, err := account.ListOperators(ctx, s.house.db)
	all := []enrolled{}
	for _, o := range found {
		all = append(all, enrolled{o.Name, o.AddedAt, o.AddedBy, o.CountsFrom})
	}
	return all, err
}

func (s *socket) removeOperator(ctx context.Context, by operator, raw json.RawMessage) (any, error) {
	args, err := read[operatorArgs](raw)
	if err != nil {
		return nil, err
	}
	if err := mustProve(by); err != nil {
		return nil, err
	}
	r := operatorReply{}
	r.Plan = []string{"end the key of " + oneLine(args.Name)}
	if !args.Yes {
		return r, nil
	}
	err = account.RemoveOperator(ctx, s.house.door, by.Actor, args.Name)
	r.Done = err == nil
	return r, err
}
