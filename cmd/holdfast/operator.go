package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// Operators who may restore are enrolled with a key each: two keys are two people. Who sets the
// server up enrols the first two at once. Every later one has to be enrolled by an operator and
// begins to count for approvals after a wait, so that nobody enrols a second self and approves
// alone before the others have seen it.

// operatorWait is how long a later operator waits before the key counts for approving a restore.
const operatorWait = 48 * time.Hour

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
		c.say("The key counts for approving a restore from %s on.", r.Approves.Format(clock))
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
		fmt.Fprintf(c.out, "%-20s enrolled %s by %s, approves from %s\n", e.Name, e.AddedAt.Format(clock), oneLine(e.AddedBy), e.Approves.Format(clock))
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

// operatorRow is an operator whose key works.
type operatorRow struct {
	name     string
	public   ed25519.PublicKey
	approves time.Time
}

func readOperator(ctx context.Context, q store.Querier, name string) (operatorRow, error) {
	row := operatorRow{name: name}
	var approves int64
	err := q.QueryRow(ctx, `SELECT public_key, approves_from FROM operator WHERE name = $1 AND removed_at = 0`, name).Scan(&row.public, &approves)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fault.New(fault.Denied, "operator_key", "This key is not the one that was enrolled for "+oneLine(name)+".")
	}
	if err != nil {
		return row, fmt.Errorf("read operator: %w", err)
	}
	row.approves = store.Time(approves)
	return row, nil
}

func operatorName(name string) error {
	if name == "" || len(name) > 40 || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		return fault.New(fault.Invalid, "operator_name", "An operator's name has 1 to 40 letters, digits, dots and dashes.")
	}
	return nil
}

func (s *socket) addOperator(ctx context.Context, by operator, raw json.RawMessage) (any, error) {
	args, err := read[operatorArgs](raw)
	if err != nil {
		return nil, err
	}
	if err := operatorName(args.Name); err != nil {
		return nil, err
	}
	if len(args.Public) != ed25519.PublicKeySize {
		return nil, fault.New(fault.Invalid, "public_key", "That is not an Ed25519 public key.")
	}
	var ever int64
	if err := s.house.db.QueryRow(ctx, `SELECT count(*) FROM operator`).Scan(&ever); err != nil {
		return nil, fmt.Errorf("count operators: %w", err)
	}
	if ever >= 2 {
		if err := mustProve(by); err != nil {
			return nil, err
		}
	}
	r := operatorReply{}
	r.Plan = []string{"enrol " + args.Name + " as an operator who can propose and approve restores"}
	if ever >= 2 {
		r.Plan = append(r.Plan, "the key counts for approving after 48 hours")
	}
	if !args.Yes {
		return r, nil
	}
	err = s.house.door.Do(ctx, by.Actor, permit.Act{Name: permit.AddOperator, Account: evidence.Platform}, func(tx *permit.Tx) error {
		var now int64
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM operator`).Scan(&now); err != nil {
			return fmt.Errorf("count operators: %w", err)
		}
		r.Approves = tx.Now()
		if now >= 2 {
			if !by.proven {
				return mustProve(by)
			}
			r.Approves = tx.Now().Add(operatorWait)
		}
		n, err := tx.Exec(ctx, `INSERT INTO operator (name, public_key, added_at, added_by, approves_from, removed_at) VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (name) DO NOTHING`,
			args.Name, args.Public, store.Micros(tx.Now()), by.ID, store.Micros(r.Approves))
		if err != nil {
			return fmt.Errorf("enrol operator: %w", err)
		}
		if n == 0 {
			return fault.New(fault.Conflict, "operator_exists", "There is or was an operator of this name. Names are not used twice, so that old records stay clear.")
		}
		tx.Note("operator", args.Name)
		tx.Note("approves_from", r.Approves)
		return nil
	})
	r.Done = err == nil
	return r, err
}

func (s *socket) listOperators(ctx context.Context, _ operator, _ json.RawMessage) (any, error) {
	rows, err := s.house.db.Query(ctx, `SELECT name, added_at, added_by, approves_from FROM operator WHERE removed_at = 0 ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("read operators: %w", err)
	}
	defer rows.Close()
	all := []enrolled{}
	for rows.Next() {
		var e enrolled
		var added, approves int64
		if err := rows.Scan(&e.Name, &added, &e.AddedBy, &approves); err != nil {
			return nil, fmt.Errorf("read operators: %w", err)
		}
		e.AddedAt, e.Approves = store.Time(added), store.Time(approves)
		all = append(all, e)
	}
	return all, rows.Err()
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
	err = s.house.door.Do(ctx, by.Actor, permit.Act{Name: permit.RemoveOperator, Account: evidence.Platform}, func(tx *permit.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE operator SET removed_at = $2 WHERE name = $1 AND removed_at = 0`, args.Name, store.Micros(tx.Now()))
		if err != nil {
			return fmt.Errorf("remove operator: %w", err)
		}
		if n == 0 {
			return fault.New(fault.NotFound, "unknown_operator", "There is no such operator.")
		}
		tx.Note("operator", args.Name)
		return nil
	})
	r.Done = err == nil
	return r, err
}
