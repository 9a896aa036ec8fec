package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// unsentCmd lists the mails that have not left: a freeze link that is never sent warns nobody, and
// nothing else on the server shows it.
type unsentCmd struct {
	desk `embed:""`
	JSON bool `name:"json" help:"Print it as JSON."`
}

// unsentMail is one of them. To whom it goes is not shown: an operator who reads logs to others
// should not read out who has an account.
type unsentMail struct {
	Account   string    `json:"account"`
	Kind      string    `json:"kind"`
	Made      time.Time `json:"made"`
	Attempts  int       `json:"attempts"`
	LastError string    `json:"last_error"`
}

// unsentShown bounds the list; the oldest come first.
const unsentShown = 100

// Run prints them, oldest first. It ends with status 1 when there are any, so that a monitor can ask.
func (u unsentCmd) Run(ctx context.Context, c console) error {
	var list []unsentMail
	if err := u.ask(ctx, "unsent", struct{}{}, &list); err != nil {
		return err
	}
	if u.JSON {
		if err := json.NewEncoder(c.out).Encode(list); err != nil {
			return err
		}
	} else {
		for _, m := range list {
			fmt.Fprintf(c.out, "%s  %-22s account %s  %d tries  %s\n", m.Made.UTC().Format(clock), m.Kind, m.Account, m.Attempts, oneLine(m.LastError))
		}
	}
	if len(list) > 0 {
		c.say("%s, at most %d are shown. They are tried again by themselves for 30 days.", waiting(len(list)), unsentShown)
		return errQuiet
	}
	c.say("No mail waits.")
	return nil
}

func (s *socket) unsent(ctx context.Context, _ operator, _ json.RawMessage) (any, error) {
	found, err := s.house.post.Unsent(ctx, unsentShown)
	list := []unsentMail{}
	for _, m := range found {
		list = append(list, unsentMail{string(m.Account), string(m.Kind), m.Made, m.Attempts, m.LastError})
	}
	return list, err
}

func waiting(n int) string {
	if n == 1 {
		return "1 mail waits"
	}
	return fmt.Sprintf("%d mails wait", n)
}
