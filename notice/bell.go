package notice

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/riverqueue/river/riverdriver"
)

// bell wakes the job queue in this process after a commit.
//
// River learns of new jobs from PostgreSQL's LISTEN, which database/sql does not offer, or by
// polling. A commit happens in this very process, so we hand River a listener that is rung by us.
// Nothing is lost when a ring is: the queue is also polled, which finds what other processes left.
type bell struct{ rings chan string }

func newBell() *bell { return &bell{rings: make(chan string, 16)} }

// ring never blocks: a full channel means that the queue is about to look anyway.
func (b *bell) ring(queue string) {
	select {
	case b.rings <- queue:
	default:
	}
}

// rung is River's driver for our database with the bell as its listener, and without sending
// notifications through the database: NOTIFY takes one lock for all commits of a server.
type rung struct {
	riverdriver.Driver[*sql.Tx]
	bell *bell
}

func (d rung) SupportsListener() bool                                            { return true }
func (d rung) SupportsListenNotify() bool                                        { return false }
func (d rung) GetListener(*riverdriver.GetListenenerParams) riverdriver.Listener { return ear{d.bell} }

// ear implements River's listener. Only the wait does anything.
type ear struct{ bell *bell }

func (ear) Close(context.Context) error            { return nil }
func (ear) Connect(context.Context) error          { return nil }
func (ear) Listen(context.Context, string) error   { return nil }
func (ear) Ping(context.Context) error             { return nil }
func (ear) Schema() string                         { return "" }
func (ear) SetAfterConnectExec(string)             {}
func (ear) Unlisten(context.Context, string) error { return nil }

// insertTopic is what River calls the news of a new job.
const insertTopic = "river_insert"

// WaitForNotification blocks until the bell rings or ctx ends.
func (e ear) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case queue := <-e.bell.rings:
		payload, err := json.Marshal(map[string]string{"queue": queue})
		if err != nil {
			return nil, err
		}
		return &riverdriver.Notification{Topic: insertTopic, Payload: string(payload)}, nil
	}
}
