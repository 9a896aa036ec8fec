package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/fault"
)

// serviceCmd keeps the keys with which a platform's own software calls the API.
type serviceCmd struct {
	Add    serviceAddCmd    `cmd:"" help:"Make a key for a service and print its key file."`
	List   serviceListCmd   `cmd:"" help:"List the services' keys."`
	Remove serviceRemoveCmd `cmd:"" help:"End a service's key."`
}

type serviceAddCmd struct {
	desk     `embed:""`
	Name     string   `arg:"" help:"Name of the service: lower-case letters, digits and dashes."`
	ReturnTo []string `placeholder:"URL" help:"Address to which a sign-in on its behalf may come back, letter by letter."`
	Scopes   []string `default:"guard,accounts,sign_in,ledger" help:"What the key may do."`
	Out      string   `placeholder:"FILE" help:"Write the key file here, readable by you only, instead of printing it."`
	Yes      bool     `help:"Do it. Without it, the command says what it would do."`
}

type serviceListCmd struct {
	desk `embed:""`
	JSON bool `name:"json" help:"Print it as JSON."`
}

type serviceRemoveCmd struct {
	desk `embed:""`
	ID   string `arg:"" name:"key" help:"Id of the key, as list shows it."`
	Yes  bool   `help:"Do it. Without it, the command says what it would do."`
}

type serviceArgs struct {
	Name     string   `json:"name,omitempty"`
	KeyID    string   `json:"key_id,omitempty"`
	ReturnTo []string `json:"return_to,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	Yes      bool     `json:"yes"`
}

type serviceReply struct {
	confirmable
	File json.RawMessage `json:"file,omitempty"`
}

// serviceKey is a key as it is listed.
type serviceKey struct {
	Service   string     `json:"service"`
	KeyID     string     `json:"key_id"`
	Scopes    []string   `json:"scopes"`
	ReturnTo  []string   `json:"return_to,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	RemovedAt *time.Time `json:"removed_at,omitempty"`
}

// Run makes a key and prints its file, or writes it.
func (a serviceAddCmd) Run(ctx context.Context, c console) error {
	var r serviceReply
	if err := a.ask(ctx, "service-add", serviceArgs{Name: a.Name, ReturnTo: a.ReturnTo, Scopes: a.Scopes, Yes: a.Yes}, &r); err != nil {
		return err
	}
	if err := r.show(c); err != nil {
		return err
	}
	if a.Out != "" {
		if err := writeSecret(a.Out, r.File); err != nil {
			return withHint(err, "the key was made and is lost; remove it with holdfast service remove")
		}
		c.say("Written to %s. It holds a private key: keep it like a password.", a.Out)
		return nil
	}
	c.say("This is the key file. It holds a private key and is shown this once: keep it like a password.")
	return printJSON(c, r.File)
}

func printJSON(c console, v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Run lists the keys.
func (l serviceListCmd) Run(ctx context.Context, c console) error {
	var all []serviceKey
	if err := l.ask(ctx, "service-list", struct{}{}, &all); err != nil {
		return err
	}
	if l.JSON {
		return json.NewEncoder(c.out).Encode(all)
	}
	for _, k := range all {
		state := "works"
		if k.RemovedAt != nil {
			state = "removed " + k.RemovedAt.Format(clock)
		}
		fmt.Fprintf(c.out, "%-20s %s  %s  made %s  %s\n", k.Service, k.KeyID, strings.Join(k.Scopes, ","), k.CreatedAt.Format(clock), state)
	}
	return nil
}

// Run ends a key.
func (r serviceRemoveCmd) Run(ctx context.Context, c console) error {
	var reply serviceReply
	if err := r.ask(ctx, "service-remove", serviceArgs{KeyID: r.ID, Yes: r.Yes}, &reply); err != nil {
		return err
	}
	if err := reply.show(c); err != nil {
		return err
	}
	c.say("Removed. The key does nothing any more.")
	return nil
}

func (s *socket) addService(ctx context.Context, by operator, raw json.RawMessage) (any, error) {
	args, err := read[serviceArgs](raw)
	if err != nil {
		return nil, err
	}
	r := serviceReply{}
	r.Plan = []string{"make a key for the service " + oneLine(args.Name) + ", which may: " + oneLine(strings.Join(args.Scopes, ", "))}
	if len(args.ReturnTo) > 0 {
		r.Plan = append(r.Plan, "let sign-ins come back to "+oneLine(strings.Join(args.ReturnTo, ", ")))
	}
	if !args.Yes {
		return r, nil
	}
	key, err := account.AddService(ctx, s.house.door, by.Actor, args.Name, args.Scopes, args.ReturnTo)
	if err != nil {
		return nil, err
	}
	r.Done = true
	r.File, err = key.File(s.house.apiURL)
	return r, err
}

func (s *socket) listServices(ctx context.Context, _ operator, _ json.RawMessage) (any, error) {
	keys, err := account.ListServices(ctx, s.house.db)
	if err != nil {
		return nil, err
	}
	all := []serviceKey{}
	for _, k := range keys {
		all = append(all, serviceKey{k.Service, k.ID, k.Scopes, k.ReturnTo, k.CreatedAt, moment(k.RemovedAt)})
	}
	return all, nil
}

func (s *socket) removeService(ctx context.Context, by operator, raw json.RawMessage) (any, error) {
	args, err := read[serviceArgs](raw)
	if err != nil {
		return nil, err
	}
	if args.KeyID == "" {
		return nil, fault.New(fault.Invalid, "key", "Name the key that is to end.")
	}
	r := serviceReply{}
	r.Plan = []string{"end the service key " + oneLine(args.KeyID) + " for good"}
	if args.Yes {
		if err := account.RemoveServiceKey(ctx, s.house.door, by.Actor, args.KeyID); err != nil {
			return nil, err
		}
		r.Done = true
	}
	return r, nil
}
