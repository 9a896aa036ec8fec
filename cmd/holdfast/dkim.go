package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/mail"
	"strings"

	"holdfast/fault"
	"holdfast/notice"
)

// dkimCmd prints what has to stand in the DNS. The server signs from its first mail on, and a
// signature whose record cannot be found makes receivers trust a mail less than none would.
type dkimCmd struct {
	desk `embed:""`
}

// Run prints the records, one line of a zone file each.
func (d dkimCmd) Run(ctx context.Context, c console) error {
	var lines []string
	if err := d.ask(ctx, "dkim", struct{}{}, &lines); err != nil {
		return err
	}
	for _, line := range lines {
		fmt.Fprintln(c.out, line)
	}
	return nil
}

func (s *socket) dkim(ctx context.Context, _ operator, _ json.RawMessage) (any, error) {
	if s.house.mailbox != nil {
		return nil, fault.New(fault.Conflict, "no_mail_server", "This server sends no mail, so there is nothing to sign.")
	}
	from, err := mail.ParseAddress(s.house.cfg.MailFrom)
	if err != nil {
		return nil, fmt.Errorf("read the sender: %w", err)
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	keys, err := notice.ReadDKIM(ctx, s.house.db, domain)
	if err != nil {
		return nil, err
	}
	records, err := keys.Records()
	if err != nil {
		return nil, err
	}
	lines := make([]string, 0, len(records))
	for _, r := range records {
		lines = append(lines, r.Zone())
	}
	return lines, nil
}
