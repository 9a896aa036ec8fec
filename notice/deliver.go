package notice

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"holdfast/evidence"
	"holdfast/store"
)

// The queues. Forms have their own, so that a dead mail server never delays the answer that
// somebody locked out of their account is waiting for.
const (
	mailQueue = "mail"
	formQueue = "form"
)

// giveUpAfter is how long a mail is tried for. A mail server that was down for a fortnight still
// gets everything.
const giveUpAfter = 30 * 24 * time.Hour

// jobTimeout bounds one delivery; rescueAfter is when a job that was running in a process that died
// is taken up by another.
const (
	jobTimeout  = 45 * time.Second
	rescueAfter = 2 * time.Minute
)

// deliverArgs is what the job queue holds of a notice.
type deliverArgs struct {
	Account string `json:"account"`
	Notice  string `json:"notice"`
}

// Kind names the job.
func (deliverArgs) Kind() string { return "notice" }

// InsertOpts says where and how often the job runs. Tries that the mail server refused do not count:
// the age of the notice is their limit. Those that our own database refused do.
func (deliverArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: mailQueue, MaxAttempts: 1000}
}

// join connects the post with the job queue.
func (p *Post) join() error {
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &deliverWorker{post: p}); err != nil {
		return err
	}
	if err := river.AddWorkerSafely(workers, &formWorker{post: p}); err != nil {
		return err
	}
	jobs, err := river.NewClient(rung{p.db.Jobs(), p.bell}, &river.Config{
		Queues: map[string]river.QueueConfig{
			mailQueue: {MaxWorkers: p.c.Senders},
			formQueue: {MaxWorkers: 4},
		},
		Workers: workers,
		// A burst of commits is one look at the queue; the first is looked for at once.
		FetchCooldown:               5 * time.Millisecond,
		FetchPollInterval:           p.c.Poll,
		JobTimeout:                  jobTimeout,
		RescueStuckJobsAfter:        rescueAfter,
		CompletedJobRetentionPeriod: time.Hour,
		DiscardedJobRetentionPeriod: 7 * 24 * time.Hour,
		RetryPolicy:                 retries(p.c.Retry),
		ErrorHandler:                failed{p.log},
		Logger:                      slog.New(quiet{p.log.Handler()}),
	})
	p.jobs = jobs
	return err
}

// Start begins to deliver. It returns at once; delivering goes on until Stop, whatever becomes of
// ctx.
func (p *Post) Start(ctx context.Context) error {
	if err := p.takeBack(ctx); err != nil {
		return fmt.Errorf("notice: take up what was interrupted: %w", err)
	}
	if err := p.jobs.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("notice: start delivery: %w", err)
	}
	return nil
}

// takeBack makes jobs that were running when this process's predecessor died ready at once. Only an
// SQLite file has one process at a time, so only there is every running job an interrupted one; on
// PostgreSQL they wait for rescueAfter.
func (p *Post) takeBack(ctx context.Context) error {
	if p.db.Engine() != store.SQLite {
		return nil
	}
	return p.db.Housekeep(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE river_job SET state = 'available' WHERE state = 'running'`)
		return err
	})
}

// Stop ends delivering. A mail that is on its way is given until ctx ends; one that is cut off is
// tried again after the next start.
func (p *Post) Stop(ctx context.Context) error {
	if err := p.jobs.Stop(ctx); err != nil {
		if err := p.jobs.StopAndCancel(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("notice: stop delivery: %w", err)
		}
	}
	return nil
}

// retryAfter is the wait after a failed try: soon at first, since most failures are a restart, and
// never longer than ten minutes, so that a repaired mail server is used soon.
func retryAfter(attempt int) time.Duration {
	waits := []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}
	if attempt >= 1 && attempt <= len(waits) {
		return waits[attempt-1]
	}
	return 10 * time.Minute
}

// retries is the job queue's retry policy.
type retries func(attempt int) time.Duration

// NextRetry tells when a failed job is tried again.
func (r retries) NextRetry(job *rivertype.JobRow) time.Time {
	return time.Now().UTC().Add(r(job.Attempt))
}

type deliverWorker struct {
	river.WorkerDefaults[deliverArgs]
	post *Post
}

// Work delivers one notice.
func (w *deliverWorker) Work(ctx context.Context, job *river.Job[deliverArgs]) error {
	return w.post.deliver(ctx, evidence.AccountID(job.Args.Account), job.Args.Notice)
}

// deliver composes and sends the notice, once: one that is marked sent is left alone.
func (p *Post) deliver(ctx context.Context, account evidence.AccountID, id string) error {
	var kind, to string
	var seq, made, sent int64
	var sealed []byte
	err := p.db.QueryRow(ctx, `SELECT kind, recipient, entry_seq, sealed, made_at, sent_at FROM notice WHERE account_id = $1 AND notice_id = $2`,
		string(account), id).Scan(&kind, &to, &seq, &sealed, &made, &sent)
	if errors.Is(err, sql.ErrNoRows) {
		return river.JobCancel(errors.New("there is no such notice"))
	}
	if err != nil {
		return fmt.Errorf("read notice: %w", err)
	}
	if sent != 0 {
		return nil
	}
	m, err := p.compose(ctx, account, id, Kind(kind), to, seq, sealed, store.Time(made))
	if err == nil {
		err = p.c.Sender.Send(ctx, m)
	}
	if err != nil {
		return p.notDelivered(ctx, account, id, store.Time(made), err)
	}
	return p.delivered(ctx, account, id)
}

// compose opens the notice's content and writes the mail. The head of the evidence chain is looked
// up here, because the entry was appended after the notice was queued.
func (p *Post) compose(ctx context.Context, account evidence.AccountID, id string, kind Kind, to string, seq int64, sealed []byte, made time.Time) (Mail, error) {
	raw, err := p.db.Keys().Open(sealNotice, string(account)+"/"+id, sealed)
	if err != nil {
		return Mail{}, err
	}
	var c content
	if err := json.Unmarshal(raw, &c); err != nil {
		return Mail{}, fmt.Errorf("read notice: %w", err)
	}
	info, ok := kinds[kind]
	if !ok {
		return Mail{}, fmt.Errorf("read notice: no kind %q", kind)
	}
	vars, err := info.read(c.Vars)
	if err != nil {
		return Mail{}, fmt.Errorf("read notice: %w", err)
	}
	var head evidence.Head
	err = p.db.QueryRow(ctx, `SELECT seq, hash FROM entry WHERE account_id = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1`,
		string(account), seq).Scan(&head.Seq, &head.Hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Mail{}, fmt.Errorf("read record: %w", err)
	}
	return p.c.House.Compose(vars, Envelope{ID: id, To: to, Made: made, FreezeToken: c.Freeze, ActionToken: c.Action, Record: head}), nil
}

// delivered marks the notice as sent and wipes what it said: the tokens of its links now exist in
// the mail alone. It is written even when the process is being stopped, or the mail would go twice.
func (p *Post) delivered(ctx context.Context, account evidence.AccountID, id string) error {
	ctx = context.WithoutCancel(ctx)
	return p.db.Housekeep(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE notice SET sent_at = $3, sealed = $4, attempts = attempts + 1, last_error = '' WHERE account_id = $1 AND notice_id = $2`,
			string(account), id, store.Micros(tx.Now()), []byte{})
		return err
	})
}

// notDelivered notes why, and has the mail tried again until the notice is too old to help. It puts
// the job off instead of failing it: a failed job keeps the error of every try, and a mail server
// that is down for weeks would fill the database.
func (p *Post) notDelivered(ctx context.Context, account evidence.AccountID, id string, made time.Time, why error) error {
	ctx = context.WithoutCancel(ctx)
	var attempts int
	err := p.db.Housekeep(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `UPDATE notice SET attempts = attempts + 1, last_error = $3 WHERE account_id = $1 AND notice_id = $2 RETURNING attempts`,
			string(account), id, clean(why.Error(), 300)).Scan(&attempts)
	})
	if err != nil {
		return fmt.Errorf("note that a mail did not go (%w): %w", why, err)
	}
	age := p.db.Now().Sub(made)
	level := slog.LevelWarn
	if attempts > 3 {
		level = slog.LevelError
	}
	p.log.LogAttrs(ctx, level, "mail not delivered", slog.String("notice", id), slog.Int("attempt", attempts), slog.Duration("age", age), slog.Any("error", why))
	if age > giveUpAfter {
		return river.JobCancel(fmt.Errorf("given up after %s: %w", span(giveUpAfter), why))
	}
	return river.JobSnooze(p.c.Retry(attempts))
}

// failed logs what a job died of, one line each.
type failed struct{ log *slog.Logger }

// HandleError logs a failed try; it will be tried again.
func (f failed) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	level := slog.LevelWarn
	if job.Attempt > 3 {
		level = slog.LevelError
	}
	f.log.LogAttrs(ctx, level, "job failed, will be tried again", slog.String("job", job.Kind), slog.Int64("id", job.ID), slog.Int("attempt", job.Attempt), slog.Any("error", err))
	return nil
}

// HandlePanic logs a panic; River tries the job again.
func (f failed) HandlePanic(ctx context.Context, job *rivertype.JobRow, value any, trace string) *river.ErrorHandlerResult {
	f.log.LogAttrs(ctx, slog.LevelError, "job panicked, will be tried again", slog.String("job", job.Kind), slog.Int64("id", job.ID), slog.Any("value", value), slog.String("trace", trace))
	return nil
}

// quiet keeps the queue's own chatter out of the operator's log: failed jobs are logged by failed.
type quiet struct{ slog.Handler }

// Enabled lets errors through only.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && q.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the handler quiet.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup keeps the handler quiet.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
