package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"holdfast/evidence"
	"holdfast/permit"
)

// exportCmd writes an account's evidence chain to a file, in the form that verify reads. It holds
// personal data in clear, so the file is its owner's only, and the export is itself recorded.
type exportCmd struct {
	desk    `embed:""`
	Account string `arg:"" help:"The account's id, one of its mail addresses, or \"platform\"."`
	Out     string `required:"" placeholder:"FILE" help:"File to write; made new, readable by you only. - writes to standard output."`
	Yes     bool   `help:"Do it. Without it, the command says what it would do."`
}

// Run writes the file. A file that broke off is removed.
func (e exportCmd) Run(ctx context.Context, c console) error {
	if !e.Yes {
		c.say("This would do:\n  write everything recorded about %s, names and addresses in clear, to %s\n  record in its chain that you did", e.Account, e.Out)
		return errNothingDone
	}
	if e.Out == "-" {
		return e.ask(ctx, "export", statusArgs{e.Account}, c.out)
	}
	f, err := os.OpenFile(e.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the file: %w", err)
	}
	err = e.ask(ctx, "export", statusArgs{e.Account}, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(e.Out))
	}
	c.say("Written to %s. Check it with: holdfast verify %s", e.Out, e.Out)
	return nil
}

func (s *socket) export(ctx context.Context, by operator, raw json.RawMessage) (any, error) {
	args, err := read[statusArgs](raw)
	if err != nil {
		return nil, err
	}
	id, err := s.find(ctx, args.Account)
	if err != nil {
		return nil, err
	}
	// First the record that somebody took a copy, so that the copy holds it too.
	err = s.house.door.Do(ctx, by.Actor, permit.Act{Name: permit.ExportEvidence, Account: id}, func(tx *permit.Tx) error { return nil })
	if err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		_, err := evidence.Export(ctx, s.house.db, id, w)
		return err
	}, nil
}
