package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"time"

	"holdfast/account"
	"holdfast/notice"
	"holdfast/store"
)

// The demonstration begins with people who have had their accounts for a while: new keys and new
// accounts wait before they may do much, and a newcomer should not have to. So the past is planted,
// once, before the server starts: the same rooms, with a clock that stands 90 days ago, and the same
// steps that a person takes, mailed link and all.

// pastDays is how long ago the demonstration's people signed up.
const pastDays = 90

// person is somebody of the demonstration's cast.
type person struct {
	Mail       string `json:"mail"`
	Password   string `json:"password"`
	Account    string `json:"account"`
	FreezeCode string `json:"freeze_code"`
	// KeyID and Secret are those of the person's API key.
	KeyID  string `json:"key_id"`
	Secret string `json:"secret"`
}

// cast is everybody; it is kept in the state folder so that the next start finds them again.
type cast struct {
	Holder    person `json:"holder"`
	Bystander person `json:"bystander"`
}

const (
	holderMail        = "holder@holdfast.test"
	holderPassword    = "Tall-Lamp-7-River-Stone"
	bystanderMail     = "bystander@holdfast.test"
	bystanderPassword = "Quiet-Field-4-Amber-Road"
)

const (
	laptop    = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	phone     = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
	stranger  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
	keyLabel  = "trading bot"
	operatorA = "operator-1"
	operatorB = "operator-2"
)

// plantPast makes the people's accounts 90 days ago.
func plantPast(ctx context.Context, cfg Config, db *store.DB, log *slog.Logger) (c cast, err error) {
	then := db.Now().AddDate(0, 0, -pastDays)
	box := newPostbox()
	h, err := build(cfg, db.At(then), box, log)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.post.Start(ctx); err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, h.post.Stop(context.WithoutCancel(ctx))) }()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c.Holder = person{Mail: holderMail, Password: holderPassword}
	c.Bystander = person{Mail: bystanderMail, Password: bystanderPassword}
	if err := h.plant(ctx, box, &c.Holder, addrHolder, laptop, addrBot+"/32"); err != nil {
		return c, err
	}
	return c, h.plant(ctx, box, &c.Bystander, addrBystander, phone, addrBystander+"/32")
}

// plant lets one person sign up, verify the address, remember the device and make an API key.
func (h *house) plant(ctx context.Context, box *postbox, p *person, address, agent, keyFrom string) error {
	from := h.accounts.From(address, agent)
	if err := h.accounts.SignUp(ctx, from, account.SignUp{Mail: p.Mail, Password: p.Password}); err != nil {
		return fmt.Errorf("plant %s: %w", p.Mail, err)
	}
	asked, err := box.wait(ctx, p.Mail, 0, func(l letter) bool { return l.link(notice.VerifyPurpose) != "" })
	if err != nil {
		return err
	}
	done, err := h.accounts.Verify(ctx, from, path.Base(asked.link(notice.VerifyPurpose)))
	if err != nil {
		return fmt.Errorf("plant %s: %w", p.Mail, err)
	}
	p.Account, p.FreezeCode = string(done.Account), done.Code.Reveal()
	by := done.Session.Actor(from)
	if _, err := h.accounts.Remember(ctx, by, done.Account); err != nil {
		return fmt.Errorf("plant %s: %w", p.Mail, err)
	}
	key, err := h.accounts.CreateKey(ctx, by, done.Account, account.NewKey{
		Label: keyLabel, Kind: account.HMAC, Scopes: []string{"read", "trade", "withdraw"}, Addresses: []string{keyFrom}, Password: p.Password,
	})
	if err != nil {
		return fmt.Errorf("plant %s: %w", p.Mail, err)
	}
	p.KeyID, p.Secret = key.Key.ID, key.Secret.Reveal()
	return h.mailed(ctx)
}

// mailed waits until no mail is left to send. One of the past that the present server would send
// carries a link that has expired.
func (h *house) mailed(ctx context.Context) error {
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for {
		left, err := h.post.Unsent(ctx, 1)
		if err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return fmt.Errorf("plant: a mail of kind %s is not sent: %w", left[0].Kind, ctx.Err())
		}
	}
}
