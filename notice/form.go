package notice

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"holdfast/store"
)

// Handler deals with what was typed into a public form. It MUST be able to run again with the same
// data: a crash may come between its work and the note that it was done. Returning an error has it
// tried again; returning nil ends the matter, also when the form named no account.
type Handler func(ctx context.Context, payload json.RawMessage, at time.Time) error

// formAge is how old a form may be when it is still acted upon. Somebody who asked for a link an
// hour ago has asked again, and a mail that comes out of nowhere frightens.
const formAge = time.Hour

const sealForm = "public_request"

// Handle registers what deals with a kind of form. Call it before Start.
func (p *Post) Handle(kind string, h Handler) { p.handlers[kind] = h }

type formArgs struct {
	Request string `json:"request"`
}

// Kind names the job.
func (formArgs) Kind() string { return "public_request" }

// InsertOpts says where and how often the job runs.
func (formArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: formQueue, MaxAttempts: 10, Priority: 1}
}

// EnqueuePublic keeps what was typed into a public form, sealed, for its handler, and wakes it after
// the commit. It runs the same statements whatever was typed, which is what keeps the form from
// telling whether an account exists. payload is written as JSON and must be bounded by the caller.
// tx may be a housekeeping transaction.
func (p *Post) EnqueuePublic(ctx context.Context, tx *store.Tx, kind string, payload any) error {
	if _, ok := p.handlers[kind]; !ok {
		return fmt.Errorf("notice: nothing deals with the form %q", kind)
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("keep form: %w", err)
	}
	id := store.NewID()
	sealed, err := tx.Keys().Seal(sealForm, id, raw)
	if err != nil {
		return fmt.Errorf("keep form: %w", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO public_request (request_id, kind, sealed, made_at) VALUES ($1, $2, $3, $4)`,
		id, kind, sealed, store.Micros(tx.Now())); err != nil {
		return fmt.Errorf("keep form: %w", err)
	}
	if _, err := p.jobs.InsertTx(ctx, tx.SQL(), formArgs{Request: id}, nil); err != nil {
		return fmt.Errorf("queue form: %w", err)
	}
	tx.AfterCommit(func() { p.bell.ring(formQueue) })
	return nil
}

type formWorker struct {
	river.WorkerDefaults[formArgs]
	post *Post
}

// Work deals with one form.
func (w *formWorker) Work(ctx context.Context, job *river.Job[formArgs]) error {
	return w.post.form(ctx, job.Args.Request)
}

func (p *Post) form(ctx context.Context, id string) error {
	var kind string
	var sealed []byte
	var made int64
	err := p.db.QueryRow(ctx, `SELECT kind, sealed, made_at FROM public_request WHERE request_id = $1`, id).Scan(&kind, &sealed, &made)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // dealt with; the job's end was lost
	}
	if err != nil {
		return fmt.Errorf("read form: %w", err)
	}
	handler, ok := p.handlers[kind]
	if !ok {
		return fmt.Errorf("nothing deals with the form %q", kind)
	}
	raw, err := p.db.Keys().Open(sealForm, id, sealed)
	if err != nil {
		return err
	}
	if p.db.Now().Sub(store.Time(made)) < formAge {
		if err := handler(ctx, raw, store.Time(made)); err != nil {
			return fmt.Errorf("form %s: %w", kind, err)
		}
	}
	ctx = context.WithoutCancel(ctx)
	return p.db.Housekeep(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM public_request WHERE request_id = $1`, id)
		return err
	})
}

// noticesKept is how long it stays written down that a mail was sent, and to whom.
const noticesKept = 400 * 24 * time.Hour

// Tidy drops forms whose jobs have given up, with what was typed into them, and notices that were
// sent more than a year ago. Call it now and then; hourly is plenty.
func (p *Post) Tidy(ctx context.Context) error {
	return p.db.Housekeep(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM public_request WHERE made_at < $1`, store.Micros(tx.Now().Add(-24*formAge))); err != nil {
			return fmt.Errorf("tidy forms: %w", err)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM notice WHERE sent_at <> 0 AND sent_at < $1`, store.Micros(tx.Now().Add(-noticesKept))); err != nil {
			return fmt.Errorf("tidy notices: %w", err)
		}
		return nil
	})
}
