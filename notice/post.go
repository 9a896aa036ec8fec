// Package notice tells people what happened to their account: mail, queued in the transaction that
// caused it.
//
// What can go wrong here: a mail that is lost although the thing happened, a mail about a thing that
// did not happen, a link that does more than it says, and a thief's own words (the name of a device
// or key) made to look like ours. So a notice is a row of the causing transaction, with recipients
// fixed there; its text is composed from typed values whose strings are all treated as hostile; and
// every mail carries exactly one freeze link, whose page changes nothing until a button is pressed.
// The job queue holds ids only. What a mail says, secrets of its links included, lies sealed in the
// notice's row and is wiped once the mail server has taken the mail.
//
// This package refuses to decide anything: it does not look accounts up, choose recipients or
// freeze. Nothing that closes an account waits for it.
package notice

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/mail"
	"net/url"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"holdfast/evidence"
	"holdfast/store"
)

// Sender hands a composed mail to whatever carries it.
type Sender interface {
	// Send MUST return nil only when the mail is in somebody else's keeping (accepted by a mail
	// server, committed to the mailbox). It may be called again with the same mail after an error
	// and after a crash, so a mail may arrive twice, with one Message-ID. It is called from several
	// goroutines at once and MUST end when ctx does.
	Send(ctx context.Context, m Mail) error
}

// Config is what a post needs.
type Config struct {
	House  House
	Sender Sender
	Log    *slog.Logger
	// Senders is how many mails may be on their way to the mail server at once; 4 when zero. More
	// would let a slow mail server take connections that the holder's pages need.
	Senders int
	// Retry is the wait after the nth failed delivery; a slowly growing one when nil.
	Retry func(attempt int) time.Duration
	// Poll is how often the queue is looked at without being woken; 1 s when zero. Being woken in
	// this process is the rule, and polling finds what another process left behind.
	Poll time.Duration
}

// Post queues notices and delivers them. It is safe for concurrent use. Register all handlers
// before Start.
type Post struct {
	db       *store.DB
	c        Config
	log      *slog.Logger
	jobs     *river.Client[*sql.Tx]
	bell     *bell
	handlers map[string]Handler
}

// NewPost returns a post on db. It can queue at once; Start makes it deliver.
func NewPost(db *store.DB, c Config) (*Post, error) {
	base, err := url.Parse(c.House.Base)
	if err != nil || (base.Scheme != "https" && base.Scheme != "http") || base.Host == "" || strings.HasSuffix(c.House.Base, "/") || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("notice: the pages' address %q must be like https://holdfast.example, without a slash at its end: mails link to it", c.House.Base)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Senders == 0 {
		c.Senders = 4
	}
	if c.Retry == nil {
		c.Retry = retryAfter
	}
	if c.Poll == 0 {
		c.Poll = time.Second
	}
	p := &Post{db: db, c: c, log: c.Log, bell: newBell(), handlers: map[string]Handler{}}
	if err := p.join(); err != nil {
		return nil, fmt.Errorf("notice: job queue: %w", err)
	}
	return p, nil
}

// Notice is something to be told.
type Notice struct {
	Account evidence.AccountID
	// To are the recipients, fixed now: a change of address a moment later changes nothing about
	// who is told of this.
	To []string
	// Bare are recipients who are told without any link: addresses that have not yet finished
	// their wait, or are tainted.
	Bare []string
	Vars Vars
}

// content is what lies sealed in a notice's row until the mail is sent.
type content struct {
	Vars   json.RawMessage `json:"vars"`
	Freeze string          `json:"freeze,omitempty"`
	Action string          `json:"action,omitempty"`
}

const sealNotice = "notice"

// Queue writes the notice into the causing transaction and wakes the delivery after its commit. It
// makes the links that the mail carries. A recipient that is no mail address is written down as
// failed and does not fail the transaction: a freeze must not depend on a typing error.
func (p *Post) Queue(ctx context.Context, tx Tx, n Notice) error {
	kind := n.Vars.Kind()
	info, ok := kinds[kind]
	if !ok {
		return fmt.Errorf("queue notice: no kind %q", kind)
	}
	vars, err := json.Marshal(n.Vars)
	if err != nil {
		return fmt.Errorf("queue notice %s: %w", kind, err)
	}
	queue := func(to string, linked bool) error {
		c := content{Vars: vars}
		if linked {
			if v, ok := n.Vars.(VerifyMail); !ok || !v.Change {
				if c.Freeze, err = MakeLink(ctx, tx, n.Account, FreezeLinkPurpose, to); err != nil {
					return err
				}
			}
			if info.action != "" {
				if c.Action, err = MakeLink(ctx, tx, n.Account, info.action, to); err != nil {
					return err
				}
			}
		}
		return p.queueOne(ctx, tx, n.Account, to, kind, info, c)
	}
	for _, to := range n.To {
		if err := queue(to, true); err != nil {
			return fmt.Errorf("queue notice %s: %w", kind, err)
		}
	}
	for _, to := range n.Bare {
		if err := queue(to, false); err != nil {
			return fmt.Errorf("queue notice %s: %w", kind, err)
		}
	}
	return nil
}

func (p *Post) queueOne(ctx context.Context, tx Tx, account evidence.AccountID, to string, kind Kind, info kindInfo, c content) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	id := store.NewID()
	sealed, err := tx.Keys().Seal(sealNotice, string(account)+"/"+id, raw)
	if err != nil {
		return err
	}
	trouble := ""
	if !deliverable(to) {
		trouble = "not a mail address"
	}
	if _, err := tx.Exec(ctx, `INSERT INTO notice (account_id, notice_id, kind, recipient, entry_seq, sealed, made_at, sent_at, attempts, last_error) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, $8)`,
		string(account), id, string(kind), to, tx.Next(), sealed, store.Micros(tx.Now()), trouble); err != nil {
		return err
	}
	if trouble != "" {
		p.log.LogAttrs(ctx, slog.LevelWarn, "notice to what is no mail address", slog.String("notice", id), slog.String("kind", string(kind)))
		return nil
	}
	opts := &river.InsertOpts{Priority: 2}
	if info.urgent {
		opts.Priority = 1
	}
	if _, err := p.jobs.InsertTx(ctx, tx.SQL(), deliverArgs{Account: string(account), Notice: id}, opts); err != nil {
		return err
	}
	tx.AfterCommit(func() { p.bell.ring(mailQueue) })
	return nil
}

// deliverable reports whether to is one bare mail address that can stand in a header and in SMTP.
func deliverable(to string) bool {
	a, err := mail.ParseAddress(to)
	return err == nil && a.Name == "" && a.Address == to && len(to) <= 254 && !strings.ContainsAny(to, "\r\n<> \t")
}

// Unsent is a notice that has not been delivered.
type Unsent struct {
	Account   evidence.AccountID
	ID        string
	Kind      Kind
	Recipient string
	Made      time.Time
	Attempts  int
	// LastError is why the last delivery failed, for operators; empty before the first.
	LastError string
}

// Unsent returns up to limit notices that are not delivered, oldest first.
func (p *Post) Unsent(ctx context.Context, limit int) ([]Unsent, error) {
	rows, err := p.db.Query(ctx, `SELECT account_id, notice_id, kind, recipient, made_at, attempts, last_error FROM notice WHERE sent_at = 0 ORDER BY made_at LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("read unsent notices: %w", err)
	}
	defer rows.Close()
	var list []Unsent
	for rows.Next() {
		var u Unsent
		var made int64
		if err := rows.Scan(&u.Account, &u.ID, &u.Kind, &u.Recipient, &made, &u.Attempts, &u.LastError); err != nil {
			return nil, fmt.Errorf("read unsent notices: %w", err)
		}
		u.Made = store.Time(made)
		list = append(list, u)
	}
	return list, rows.Err()
}
