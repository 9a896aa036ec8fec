package exchange

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// streams are the open WebSocket connections and what each is subscribed to.
type streams struct {
	mu    sync.Mutex
	conns map[*connection]struct{}
}

func newStreams() *streams { return &streams{conns: map[*connection]struct{}{}} }

// subscription sends one account's events to one connection.
type subscription struct {
	id      int
	account string
	keyID   string
}

// connection is one WebSocket. Its subscriptions belong to streams.mu.
type connection struct {
	ws   *websocket.Conn
	out  chan []byte   // written by writer alone
	over chan struct{} // closed when the connection must end
	done chan struct{} // closed when it has ended
	end  sync.Once

	subscriptions []*subscription
	nextID        int
	// logon is who session.logon signed in; its account is empty for nobody.
	logon   subscription
	address string
	last    []byte // final message, set before over is closed
}

const (
	// queueLength is how many events may wait for a slow reader before it is cut off.
	queueLength = 256
	// maxConnections of one address; Binance allows 300 new ones in five minutes.
	maxConnections = 100
	writeWithin    = 2 * time.Second
	// closeWithin bounds how long a freeze waits for a connection to end; then it is cut.
	closeWithin = 300 * time.Millisecond
)

// shut ends the connection, after a last message if there is one.
func (c *connection) shut(last []byte) {
	c.end.Do(func() {
		c.last = last
		close(c.over)
	})
}

// write is the only goroutine that writes to the socket.
func (c *connection) write(ctx context.Context) {
	defer close(c.done)
	send := func(m []byte, within time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		return c.ws.Write(ctx, websocket.MessageText, m)
	}
	for {
		select { // an ended connection sends nothing of what still waits
		case <-c.over:
		default:
			select {
			case <-c.over:
			case <-ctx.Done():
				c.shut(nil)
			case m := <-c.out:
				if send(m, writeWithin) != nil {
					c.shut(nil)
				}
				continue
			}
		}
		if c.last != nil && send(c.last, closeWithin) == nil {
			// Say goodbye without waiting for the other side to answer.
			polite := time.AfterFunc(closeWithin, func() { _ = c.ws.CloseNow() })
			_ = c.ws.Close(websocket.StatusPolicyViolation, "stream terminated")
			polite.Stop()
		}
		_ = c.ws.CloseNow()
		return
	}
}

// push queues a message and cuts off a reader that is too slow, because a gap in a stream of
// balances is worse than its end.
func (c *connection) push(m []byte) {
	select {
	case c.out <- m:
	default:
		c.shut(nil)
	}
}

// publish sends an event to every subscription of an account.
func (s *streams) publish(account string, event func() object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body object
	for c := range s.conns {
		for _, sub := range c.subscriptions {
			if sub.account != account {
				continue
			}
			if body == nil {
				if body = event(); body == nil {
					return
				}
			}
			c.push(wrapEvent(sub.id, body))
		}
	}
}

func wrapEvent(id int, event object) []byte {
	m, err := json.Marshal(object{"subscriptionId": id, "event": event})
	if err != nil {
		return nil // amounts, texts and numbers always marshal
	}
	return m
}

// from counts the connections of an address.
func (s *streams) from(address string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := range s.conns {
		if c.address == address {
			n++
		}
	}
	return n
}

// has reports whether anyone listens to an account.
func (s *streams) has(account string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		for _, sub := range c.subscriptions {
			if sub.account == account {
				return true
			}
		}
	}
	return false
}

// terminate ends every connection with a matching subscription or logon: each gets the event
// eventStreamTerminated and is closed. It returns how many connections it ended, when they
// have ended.
func (s *streams) terminate(now time.Time, matches func(*subscription) bool) int {
	s.mu.Lock()
	var ended []*connection
	for c := range s.conns {
		hit := c.logon.account != "" && matches(&c.logon)
		id := 0
		for _, sub := range c.subscriptions {
			if matches(sub) {
				hit, id = true, sub.id
			}
		}
		if hit {
			ended = append(ended, c)
			c.subscriptions, c.logon = nil, subscription{}
			c.shut(wrapEvent(id, object{"e": "eventStreamTerminated", "E": millis(now)}))
		}
	}
	s.mu.Unlock()
	for _, c := range ended {
		<-c.done // the writer bounds its own time
	}
	return len(ended)
}

// guard ends all streams while Holdfast's own stream is lost: a freeze could not be heard.
func (s *streams) guard(ctx context.Context, x *Exchange) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if now := x.now(); !x.enforcer.linked(now) {
				s.terminate(now, func(*subscription) bool { return true })
			}
		}
	}
}

// balanceChanged tells of money that came or went otherwise than by a trade.
func (s *streams) balanceChanged(ctx context.Context, x *Exchange, account, asset string, delta Amount) {
	now := millis(x.now())
	s.publish(account, func() object {
		return object{"e": "balanceUpdate", "E": now, "a": asset, "d": delta, "T": now}
	})
	s.positionChanged(ctx, x, account)
}

// positionChanged tells an account's streams what it holds now.
func (s *streams) positionChanged(ctx context.Context, x *Exchange, account string) {
	if !s.has(account) {
		return
	}
	all, err := x.balances(context.WithoutCancel(ctx), account)
	if err != nil {
		x.log.Error("balances for a stream", "error", err)
		return
	}
	list := []any{}
	for _, h := range all {
		list = append(list, object{"a": h.asset, "f": h.free, "l": h.locked})
	}
	now := millis(x.now())
	s.publish(account, func() object {
		return object{"e": "outboundAccountPosition", "E": now, "u": now, "B": list}
	})
}

// execution is what happened to an order.
type execution struct {
	kind  string // NEW, TRADE, CANCELED, EXPIRED
	trade trade
	fee   Amount
	maker bool
}

func (s *streams) orderChanged(o order, e execution) {
	s.publish(o.account, func() object {
		m := object{
			"e": "executionReport", "E": millis(o.updated), "s": o.symbol.name, "c": o.clientID, "S": o.side.String(),
			"o": o.kind, "f": o.inForce, "q": o.quantity, "p": o.price, "P": Amount{}, "F": Amount{}, "g": -1, "C": "",
			"x": e.kind, "X": o.status, "r": "NONE", "i": o.id, "l": Amount{}, "z": o.filled, "L": Amount{}, "n": Amount{},
			"N": nil, "T": millis(o.updated), "t": -1, "I": o.id, "w": o.open(), "m": false, "M": false, "O": millis(o.created),
			"Z": o.filledQuote, "Y": Amount{}, "Q": o.quote, "W": millis(o.created), "V": "EXPIRE_MAKER",
		}
		if e.kind == "TRADE" {
			m["l"], m["L"], m["Y"], m["t"], m["m"] = e.trade.quantity, e.trade.price, e.trade.quote, e.trade.id, e.maker
			m["n"], m["N"] = e.fee, o.symbol.gets(o.side)
		}
		if e.kind == "CANCELED" {
			m["C"] = o.clientID
		}
		return m
	})
}

// serveStream answers /ws-api/v3.
func (x *Exchange) serveStream(w http.ResponseWriter, req *http.Request) {
	address := x.clientAddress(req)
	if x.streams.from(address) >= maxConnections {
		e := fail(http.StatusTooManyRequests, -1003, "Too many connections from your address.")
		e.retry = time.Minute
		writeError(w, e)
		return
	}
	ws, err := websocket.Accept(w, req, nil)
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(maxBody)
	c := &connection{ws: ws, address: address, out: make(chan []byte, queueLength), over: make(chan struct{}), done: make(chan struct{})}
	x.streams.mu.Lock()
	x.streams.conns[c] = struct{}{}
	x.streams.mu.Unlock()
	ctx, cancel := context.WithCancel(x.life)
	defer func() {
		x.streams.mu.Lock()
		delete(x.streams.conns, c)
		x.streams.mu.Unlock()
		c.shut(nil)
		cancel()
		<-c.done
	}()
	go c.write(ctx)
	r := &streamRequests{x: x, c: c, origin: x.origin(req), address: address}
	for {
		kind, message, err := ws.Read(ctx)
		if err != nil {
			return
		}
		if kind != websocket.MessageText {
			return
		}
		c.push(r.answer(ctx, message))
	}
}
