package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	binance "github.com/adshao/go-binance/v2"
	"github.com/adshao/go-binance/v2/common"
)

// runCmd is the demonstration that stays: `make run`. Its state survives Ctrl-C.
type runCmd struct {
	State    string `default:".run" env:"HOLDFAST_STATE" placeholder:"DIR" help:"Folder for everything that it makes."`
	Pages    string `default:"127.0.0.1:8080" env:"HOLDFAST_PAGES" placeholder:"ADDR" help:"Where the holders' pages listen."`
	API      string `name:"api" default:"127.0.0.1:8082" env:"HOLDFAST_API" placeholder:"ADDR" help:"Where the API listens."`
	Exchange string `default:"127.0.0.1:8443" env:"HOLDFAST_EXCHANGE" placeholder:"ADDR" help:"Where the exchange listens (TLS)."`
}

const (
	orderEvery    = 5 * time.Second
	withdrawEvery = 20 * time.Second
	watchEvery    = 300 * time.Millisecond
)

// Run sets the stage, tells what to try, and lets the thief work until ctx ends.
func (r runCmd) Run(ctx context.Context, c console) error {
	if err := os.MkdirAll(r.State, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	file, err := os.OpenFile(r.State+"/holdfast.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer file.Close()
	cfg := defaults()
	cfg.State, cfg.Pages, cfg.API = r.State, r.Pages, r.API
	s, err := openStage(ctx, cfg, r.Exchange, slog.New(slog.NewTextHandler(file, nil)))
	if err != nil {
		return err
	}
	err = (&evening{stage: s, c: c}).spend(ctx)
	c.say("\nStopped. Everything is kept in %s; start again to go on, or with FRESH=1 to start over.", r.State)
	return errors.Join(err, s.close(ctx))
}

// evening is one run of the demonstration.
type evening struct {
	*stage
	mu sync.Mutex // guards the lines on c
	c  console
}

func (e *evening) line(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fmt.Fprintf(e.c.out, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func (e *evening) spend(ctx context.Context) error {
	stolen, err := e.road(e.exchangeURL, addrBot)
	if err != nil {
		return err
	}
	honest, err := e.road(e.exchangeURL, addrBystander)
	if err != nil {
		return err
	}
	unknown, err := e.road(e.holds.house.cfg.base(), addrStranger)
	if err != nil {
		return err
	}
	now, err := e.protection(ctx)
	if err != nil {
		return err
	}
	e.welcome(now.Frozen)
	var work sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work.Go(func() { e.watch(ctx, now.Frozen) })
	work.Go(func() { e.sellers(ctx, newBot(honest, e.cast.Bystander.KeyID, e.cast.Bystander.Secret)) })
	if !now.Frozen {
		e.signInAsStranger(ctx, unknown.URL)
	}
	work.Go(func() { e.thieve(ctx, newBot(stolen, e.cast.Holder.KeyID, e.cast.Holder.Secret)) })
	select {
	case <-ctx.Done():
	case <-e.holds.failed:
		err = errors.New("a listener ended by itself; see holdfast.log")
	}
	stop()
	work.Wait()
	return err
}

// port returns the port of an address.
func port(address string) string {
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return p
}

// command is how this binary was started, for lines that somebody copies.
func (e *evening) command() string { return os.Args[0] }

func (e *evening) welcome(frozen bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	pages := "http://127.0.0.1:" + port(e.holds.house.cfg.Pages)
	p := func(format string, args ...any) { fmt.Fprintf(e.c.out, format+"\n", args...) }
	p("Holdfast is ready.\n")
	p("  pages     %s", pages)
	p("  mailbox   %s/mailbox", pages)
	p("  API       %s", e.holds.house.apiURL)
	p("  exchange  %s   (certificate signed by %s, made for this trial)\n", e.exchangeURL, e.caFile)
	p("%s has 1.2 BTC and 30,000 USDT on the exchange. A thief has stolen the password and the", holderMail)
	p("key of a trading bot, and drives it with an unmodified exchange client: an order every 5 seconds, and every")
	p("20 seconds a withdrawal of 0.05 BTC, which leaves two minutes later. Stop it:\n")
	p("  1. Open %s/mailbox, open a mail to the holder and press Freeze in it.", pages)
	p("  2. Sign in at %s/sign-in as %s, password %s, and press Freeze.", pages, holderMail, e.cast.Holder.Password)
	p("  3. Without signing in, at %s/emergency: address %s, freeze code %s.", pages, holderMail, e.cast.Holder.FreezeCode)
	p("  4. In another terminal: %s freeze %s --state %s --reason \"it was not me\" --yes\n", e.command(), holderMail, e.dir)
	p("Ctrl-C stops it and keeps everything in %s.\n", e.dir)
	if frozen {
		p("The account is frozen, as you left it.")
		e.howToRestore()
	}
}

// howToRestore prints the commands that open the account again. The caller holds mu.
func (e *evening) howToRestore() {
	fmt.Fprintf(e.c.out, `
To restore it, two operators are needed, each with a key of their own:
  %[1]s restore propose %[2]s --state %[3]s --key %[4]s --reason "spoke to the holder in person" --keep-password --yes
  %[1]s restore approve PLAN --state %[3]s --key %[5]s --yes     (PLAN is what propose printed)
Withdrawals stay held for 48 hours after that, and the stolen key stays suspended.

`, e.command(), holderMail, e.dir, e.operatorKeyFile(operatorA), e.operatorKeyFile(operatorB))
}

// protection is how the holder's account stands.
func (s *stage) protection(ctx context.Context) (statusReply, error) {
	var r statusReply
	err := s.desk().ask(ctx, "status", statusArgs{holderMail}, &r)
	return r, err
}

// watch tells when the account is frozen, contained and restored.
func (e *evening) watch(ctx context.Context, frozen bool) {
	contained := frozen
	every(ctx, watchEvery, func() {
		now, err := e.protection(ctx)
		if err != nil {
			return // the next look will say it; a stop of the server ends all of this
		}
		if now.Frozen && !frozen {
			e.line("FROZEN at %s. Nothing can leave the account.", now.FrozenAt.Local().Format("15:04:05"))
		}
		if now.Contained && !contained {
			for _, r := range now.Receipts {
				e.line("  %-20s closed by %-9s %s", r.Exit, r.Enforcer, r.Detail)
			}
			e.line("Every exit is confirmed closed.")
			e.mu.Lock()
			e.howToRestore()
			e.mu.Unlock()
		}
		if !now.Frozen && frozen {
			e.line("RESTORED. Withdrawals stay held for 48 hours; the stolen key stays suspended until the holder enables it.")
		}
		frozen, contained = now.Frozen, now.Contained
	})
}

// every runs f now and at each interval until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		f()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// signInAsStranger is what causes the first mail.
func (e *evening) signInAsStranger(ctx context.Context, pages string) {
	a, err := newBrowser(stranger).post(ctx, pages+"/sign-in", map[string][]string{"mail": {holderMail}, "password": {e.cast.Holder.Password}})
	switch {
	case err != nil:
		e.line("unknown device: sign-in with the stolen password: no answer")
	case a.refused():
		e.line("unknown device: sign-in with the stolen password: refused")
	default:
		e.line("unknown device at %s: sign-in with the stolen password: accepted", addrStranger)
	}
}

// sellers keeps offers in the book, so that the thief finds something to buy.
func (e *evening) sellers(ctx context.Context, b *bot) {
	every(ctx, time.Minute, func() {
		if n, err := b.openOrders(ctx); err != nil || n >= 4 {
			return
		}
		if err := b.offer(ctx); err != nil && ctx.Err() == nil {
			e.log.Warn("the bystander's offers were not taken", "error", err)
		}
	})
}

// thieve is the bot: it turns the holder's money into bitcoin and withdraws it.
func (e *evening) thieve(ctx context.Context, b *bot) {
	n := 0
	every(ctx, orderEvery, func() {
		if time.Duration(n)*orderEvery%withdrawEvery == 0 {
			e.told(ctx, "withdraw 0.05 BTC", b.withdraw(ctx, "0.05", lair))
		}
		if n++; n%3 != 1 {
			e.told(ctx, "buy 0.002 BTC", b.buy(ctx, "0.00200"))
			return
		}
		if open, err := b.openOrders(ctx); err == nil && open >= 4 {
			e.told(ctx, "buy 0.002 BTC", b.buy(ctx, "0.00200"))
			return
		}
		_, err := b.order(ctx, binance.SideTypeSell, "0.00500", "99000.00")
		e.told(ctx, "offer 0.005 BTC at 99,000 USDT", err)
	})
}

// told writes one line about an attempt of the thief's.
func (e *evening) told(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	e.line("thief: %s: %s", what, outcome(err))
}

// outcome says an answer of the exchange in a few words.
func outcome(err error) string {
	no, ok := errors.AsType[*common.APIError](err)
	switch {
	case err == nil:
		return "accepted"
	case !ok:
		return "no answer"
	case no.Message == "This action is disabled on this account.":
		return "refused, account frozen"
	case no.Code == -4026 || no.Code == -2010:
		return "refused, not enough left"
	case no.Code == -1022 || no.Code == -2015:
		return "refused, the key does not work any more"
	default:
		return fmt.Sprintf("refused (%d %s)", no.Code, no.Message)
	}
}
