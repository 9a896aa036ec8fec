package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"holdfast/evidence/verify"
	"holdfast/notice"
)

// demoCmd plays the story once, against real parts that are spoken to over the network only, and
// judges it. The thief's client does not know that it is watched.
type demoCmd struct {
	JSON bool `name:"json" help:"Print one object with the result; the story goes to standard error."`
	Log  bool `help:"Show the servers' logs, too."`
}

// demoResult is what --json prints.
type demoResult struct {
	Contained        bool       `json:"contained"`
	TimeToContain    int64      `json:"time_to_contain_ms"`
	Exits            []demoExit `json:"exits"`
	Attempts         int        `json:"attempts_after_freeze"`
	Allowed          int        `json:"allowed_after_freeze"`
	Mails            int        `json:"mails"`
	EvidenceVerified bool       `json:"evidence_verified"`
}

type demoExit struct {
	Exit     string     `json:"exit"`
	Enforcer string     `json:"enforcer"`
	ClosedAt *time.Time `json:"closed_at"`
	Stopped  int64      `json:"stopped"`
}

// good reports whether the promise was kept.
func (r demoResult) good() bool { return r.Contained && r.Allowed == 0 && r.EvidenceVerified }

// story tells what happens, with the time since the beginning.
type story struct {
	to    io.Writer
	began time.Time
}

func (s story) tell(format string, args ...any) {
	fmt.Fprintf(s.to, "%8.3f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s story) chapter(title string) { fmt.Fprintf(s.to, "\n%s\n", title) }

// Run plays the story and prints the result. It ends with status 1 when anything was allowed after
// the freeze, when the account was not contained, and when the story could not be played.
func (d demoCmd) Run(ctx context.Context, c console) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tell := story{c.out, time.Now()}
	if d.JSON {
		tell.to = c.talk
	}
	log := slog.New(slog.DiscardHandler)
	if d.Log {
		log = newLog(c.talk, "text")
	}
	dir, err := os.MkdirTemp("", "holdfast-demo-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	result, err := playIn(ctx, dir, tell, log)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	if d.JSON {
		err = printJSON(c, result)
	} else {
		err = result.print(tell.to)
	}
	if err == nil && !result.good() {
		return errQuiet
	}
	return err
}

func (r demoResult) print(w io.Writer) error {
	exits := map[string]bool{}
	for _, e := range r.Exits {
		exits[e.Exit] = true
	}
	_, err := fmt.Fprintf(w, "\nContained: %v, %d ms after the press. %d exits closed, with %d receipts. %d attempts after the freeze, %d allowed. %d mails. Evidence verified: %v.\n",
		r.Contained, r.TimeToContain, len(exits), len(r.Exits), r.Attempts, r.Allowed, r.Mails, r.EvidenceVerified)
	return err
}

// play is one performance.
type play struct {
	*stage
	story
	mail  *mailServer
	thief *thief
}

// playIn sets the stage in a folder and plays.
func playIn(ctx context.Context, dir string, tell story, log *slog.Logger) (result demoResult, err error) {
	mail, err := startMailServer()
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, mail.close()) }()
	cfg := defaults()
	cfg.State, cfg.Pages, cfg.API = dir, "127.0.0.1:0", "127.0.0.1:0"
	cfg.MailHost, cfg.MailPort, cfg.MailTLS, cfg.MailFrom = "127.0.0.1", mail.port, string(notice.Plain), "Holdfast <security@holdfast.test>"
	tell.chapter("The stage")
	s, err := openStage(ctx, cfg, "127.0.0.1:0", log)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	tell.tell("Holdfast runs: pages %s, API %s, SQLite in %s", s.holds.house.cfg.base(), s.holds.house.apiURL, dir)
	tell.tell("an exchange runs at %s and knows Holdfast by its API only", s.exchangeURL)
	tell.tell("a mail server receives for %s: 1.2 BTC, 30,000 USDT, one API key for a trading server at %s", holderMail, addrBot)
	p := &play{stage: s, story: tell, mail: mail}
	if err := p.theft(ctx); err != nil {
		return result, err
	}
	if err := p.freeze(ctx, &result); err != nil {
		return result, err
	}
	if err := p.attempts(ctx, &result); err != nil {
		return result, err
	}
	if err := p.evidence(ctx, &result); err != nil {
		return result, err
	}
	result.Mails = p.mail.box.count()
	return result, nil
}

// freeze is the holder's part: the mail arrives, the link is opened, the button is pressed.
func (p *play) freeze(ctx context.Context, result *demoResult) error {
	p.chapter("The holder")
	warning, err := p.mail.box.wait(ctx, holderMail, 0, func(l letter) bool { return l.link(notice.FreezeLinkPurpose) != "" })
	if err != nil {
		return err
	}
	p.tell("a mail arrived: %q", warning.subject)
	home, err := p.road(p.holds.house.cfg.base(), addrHolder)
	if err != nil {
		return err
	}
	link := strings.Replace(warning.link(notice.FreezeLinkPurpose), p.holds.house.cfg.base(), home.URL, 1)
	holder := newBrowser(phone)
	for _, method := range []string{"HEAD", "GET"} {
		a, err := holder.do(ctx, method, link, nil)
		if err != nil {
			return err
		}
		if a.status != 200 {
			return fmt.Errorf("%s of the freeze link answered %d", method, a.status)
		}
	}
	now, err := p.protection(ctx)
	if err != nil {
		return err
	}
	if now.Frozen {
		return errors.New("opening the freeze link froze the account: mail scanners open every link")
	}
	p.tell("opening the link changed nothing, as it must: mail scanners open every link")
	pressed := time.Now()
	a, err := holder.post(ctx, link, map[string][]string{})
	if err != nil {
		return err
	}
	if a.status >= 400 {
		return fmt.Errorf("the press on Freeze answered %d", a.status)
	}
	p.tell("Freeze pressed; acknowledged after %d ms", time.Since(pressed).Milliseconds())
	every := time.NewTicker(2 * time.Millisecond)
	defer every.Stop()
	for {
		if now, err = p.protection(ctx); err != nil {
			return err
		}
		if now.Contained {
			break
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return errors.New("not every enforcer has confirmed")
		}
	}
	result.Contained, result.TimeToContain = true, time.Since(pressed).Milliseconds()
	for _, r := range now.Receipts {
		result.Exits = append(result.Exits, demoExit{r.Exit, r.Enforcer, r.ClosedAt, r.Stopped})
		p.tell("  %-20s closed by %-9s %3d stopped  %s", r.Exit, r.Enforcer, r.Stopped, r.Detail)
	}
	p.tell("contained %d ms after the press", result.TimeToContain)
	return nil
}

// attempts lets the thief try every exit again.
func (p *play) attempts(ctx context.Context, result *demoResult) error {
	p.chapter("The thief, after the freeze")
	for _, try := range p.thief.tries() {
		allowed, answer, err := try.act(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", try.what, err)
		}
		result.Attempts++
		if allowed {
			result.Allowed++
			answer = "ALLOWED: " + answer
		}
		p.tell("thief: %-42s %-18s %s", try.what, try.exit, answer)
	}
	return nil
}

// evidence exports the account's chain and has it checked against the last mail.
func (p *play) evidence(ctx context.Context, result *demoResult) error {
	p.chapter("The evidence")
	told, err := p.mail.box.wait(ctx, holderMail, 0, func(l letter) bool { return l.subject == "Your account is frozen" && l.head() != "" })
	if err != nil {
		return err
	}
	head, err := verify.ParseHead(told.head())
	if err != nil {
		return err
	}
	file := filepath.Join(p.dir, "evidence.ndjson")
	if err := (exportCmd{desk: p.desk(), Account: holderMail, Out: file, Yes: true}).Run(ctx, quiet); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	checked, err := verify.Chain(f, &head)
	if err != nil {
		return err
	}
	result.EvidenceVerified = checked.OK() && checked.ProvenTo == head.Seq
	p.tell("%s", checked.Verdict())
	return nil
}

// defaults is the configuration of a server without addresses, database and mail server.
func defaults() Config {
	var cmd serveCmd
	if err := kong.ApplyDefaults(&cmd); err != nil {
		return Config{} // cannot be: TestConfigDefaults applies them
	}
	cfg := cmd.Config
	// What somebody has set for a real server is not the demonstration's.
	cfg.Database, cfg.PublicURL, cfg.TLSCert, cfg.TLSKey, cfg.BehindProxy = "", "", "", "", false
	cfg.MailHost, cfg.MailUser, cfg.MailPasswordFile = "", "", ""
	return cfg
}
