package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// streamRequests answers the requests of one WebSocket connection.
type streamRequests struct {
	x       *Exchange
	c       *connection
	origin  *holdfastv1.Origin
	address string
}

type streamRequest struct {
	ID     json.RawMessage            `json:"id"`
	Method string                     `json:"method"`
	Params map[string]json.RawMessage `json:"params"`
}

// answer handles one message and returns the reply.
func (r *streamRequests) answer(ctx context.Context, message []byte) []byte {
	var req streamRequest
	id := json.RawMessage("null")
	result, err := any(nil), error(nil)
	used, wait := r.x.limits.take(r.address, 2, r.x.now())
	switch {
	case wait > 0:
		e := fail(429, -1003, "Too much request weight used; please slow down.")
		err = e
	case json.Unmarshal(message, &req) != nil || !validRequestID(req.ID):
		err = fail(400, -1100, "The message is not a valid request.")
	default:
		if req.ID != nil {
			id = req.ID
		}
		result, err = r.serve(ctx, req)
	}
	limits := []any{object{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weightLimit, "count": used}}
	reply := object{"id": id, "status": 200, "result": result, "rateLimits": limits}
	if err != nil {
		e := asAPIError(err, spotSurface)
		reply = object{"id": id, "status": e.status, "error": object{"code": e.code, "msg": e.msg}, "rateLimits": limits}
	}
	m, err := json.Marshal(reply)
	if err != nil {
		return []byte(`{"id":null,"status":500,"error":{"code":-1000,"msg":"The answer could not be written."}}`)
	}
	return m
}

// validRequestID allows what Binance does: a number, a string of at most 36 characters, null.
func validRequestID(raw json.RawMessage) bool {
	if raw == nil || bytes.Equal(raw, []byte("null")) {
		return true
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return len(s) <= 36
	}
	var n int64
	return json.Unmarshal(raw, &n) == nil
}

func (r *streamRequests) serve(ctx context.Context, req streamRequest) (any, error) {
	p, err := streamParams(req.Params)
	if err != nil {
		return nil, err
	}
	switch req.Method {
	case "ping":
		return object{}, nil
	case "time":
		return object{"serverTime": millis(r.x.now())}, nil
	case "session.logon":
		by, err := r.signed(ctx, p)
		if err != nil {
			return nil, err
		}
		err = r.join(by, func() any {
			r.c.logon = subscription{account: by.account, keyID: by.keyID}
			return nil
		}, nil)
		return r.session(by.keyID), err
	case "session.status":
		return r.session(r.loggedOn().keyID), nil
	case "session.logout":
		r.x.streams.mu.Lock()
		r.c.logon = subscription{}
		r.x.streams.mu.Unlock()
		return r.session(""), nil
	case "userDataStream.subscribe.signature":
		by, err := r.signed(ctx, p)
		if err != nil {
			return nil, err
		}
		return r.subscribe(by)
	case "userDataStream.subscribe":
		on := r.loggedOn()
		if on.account == "" {
			return nil, fail(401, -2015, "Use session.logon first.")
		}
		epoch, err := r.x.check(ctx, on.account, keyCredential(on.keyID), exitAPIKey, r.origin)
		if err != nil {
			return nil, err
		}
		return r.subscribe(caller{account: on.account, epoch: epoch, keyID: on.keyID})
	case "userDataStream.unsubscribe":
		return r.unsubscribe(p)
	case "userDataStream.start", "userDataStream.ping", "userDataStream.stop":
		return nil, errGone
	}
	return nil, fail(400, -1020, "This operation is not supported.")
}

// streamParams reads a request's parameters. What is signed is all of them but the
// signature, sorted by name and written as name=value.
func streamParams(raw map[string]json.RawMessage) (*params, error) {
	if len(raw) > maxParameters {
		return nil, errTooMany
	}
	p := &params{values: map[string]string{}}
	var names []string
	for name, value := range raw {
		text := string(value)
		if strings.HasPrefix(text, `"`) {
			if json.Unmarshal(value, &text) != nil {
				return nil, illegal(name)
			}
		} else if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
			return nil, illegal(name)
		}
		// A separator in a value would make one signed text of two different requests.
		if !printable(name) || !printable(text) || strings.ContainsAny(name, "&=") || strings.Contains(text, "&") {
			return nil, illegal("parameter name")
		}
		p.values[name] = text
		if name != "signature" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for i, name := range names {
		if i > 0 {
			p.signed = append(p.signed, '&')
		}
		p.signed = append(p.signed, name+"="+p.values[name]...)
	}
	p.signature = p.values["signature"]
	return p, nil
}

// signed authenticates a signed request for reading.
func (r *streamRequests) signed(ctx context.Context, p *params) (caller, error) {
	c := &call{ctx: ctx, x: r.x, params: p}
	err := r.x.authorize(c, p.get("apiKey"), exitAPIKey, r.origin, false)
	return c.by, err
}

// join runs fn on the connection while no freeze can be applied, and refuses when one has
// been since Holdfast's yes. Without it a stream could begin between a freeze and the
// closing of the account's connections.
func (r *streamRequests) join(by caller, fn func() any, result *any) error {
	x := r.x
	x.lock()
	defer x.mu.Unlock()
	if err := x.fresh(by.account, by.epoch); err != nil {
		return err
	}
	if !x.enforcer.linked(x.now()) {
		return errUnavailable // a freeze could not be heard
	}
	x.streams.mu.Lock()
	defer x.streams.mu.Unlock()
	v := fn()
	if result != nil {
		*result = v
	}
	return nil
}

const maxSubscriptions = 20

func (r *streamRequests) subscribe(by caller) (any, error) {
	var result any
	full := false
	err := r.join(by, func() any {
		if len(r.c.subscriptions) >= maxSubscriptions {
			full = true
			return nil
		}
		s := &subscription{id: r.c.nextID, account: by.account, keyID: by.keyID}
		r.c.nextID++
		r.c.subscriptions = append(r.c.subscriptions, s)
		return object{"subscriptionId": s.id}
	}, &result)
	if full {
		return nil, fail(400, -1013, "Too many subscriptions on this connection.")
	}
	return result, err
}

func (r *streamRequests) unsubscribe(p *params) (any, error) {
	id, err := p.integer("subscriptionId", -1, 0, 1<<31)
	if err != nil {
		return nil, err
	}
	r.x.streams.mu.Lock()
	defer r.x.streams.mu.Unlock()
	r.c.subscriptions = slices.DeleteFunc(r.c.subscriptions, func(s *subscription) bool { return id < 0 || s.id == int(id) })
	return object{}, nil
}

func (r *streamRequests) loggedOn() subscription {
	r.x.streams.mu.Lock()
	defer r.x.streams.mu.Unlock()
	return r.c.logon
}

func (r *streamRequests) session(keyID string) any {
	now := millis(r.x.now())
	s := object{"apiKey": nil, "authorizedSince": nil, "connectedSince": now, "returnRateLimits": true, "serverTime": now,
		"userDataStream": len(keyID) > 0}
	if keyID != "" {
		s["apiKey"], s["authorizedSince"] = keyID, now
	}
	return s
}
