package exchange

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdfast/examples/exchange/standin"
)

// socket is a client's connection to /ws-api/v3.
type socket struct {
	t  *testing.T
	ws *websocket.Conn
	id int
}

func (r *rig) socket() *socket {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "wss"+strings.TrimPrefix(r.url, "https")+"/ws-api/v3", &websocket.DialOptions{HTTPClient: r.http})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = ws.CloseNow() })
	return &socket{t: r.t, ws: ws}
}

type frame struct {
	ID     *int           `json:"id"`
	Status int            `json:"status"`
	Result map[string]any `json:"result"`
	Error  struct {
		Code int    `json:"code"`
		Msg  string `json:"msg"`
	} `json:"error"`
	Event map[string]any `json:"event"`
}

func (s *socket) read() (frame, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var f frame
	_, m, err := s.ws.Read(ctx)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(m, &f)
}

func (s *socket) next() frame {
	s.t.Helper()
	f, err := s.read()
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

func (s *socket) ask(method string, params map[string]any) frame {
	s.t.Helper()
	s.id++
	m, err := json.Marshal(map[string]any{"id": s.id, "method": method, "params": params})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.ws.Write(ctx, websocket.MessageText, m); err != nil {
		s.t.Fatal(err)
	}
	for {
		if f := s.next(); f.ID != nil && *f.ID == s.id {
			return f
		}
	}
}

// signedParams are the parameters of a signed WebSocket request.
func signedParams(t *testing.T, key standin.APIKey) map[string]any {
	t.Helper()
	now := time.Now().UnixMilli()
	v := url.Values{"apiKey": {key.ID}, "timestamp": {strconv.FormatInt(now, 10)}}
	signature, err := key.Sign(v.Encode()) // sorted by name
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"apiKey": key.ID, "timestamp": now, "signature": signature}
}

func TestStreamTellsOrdersAndBalancesUntilTheFreeze(t *testing.T) {
	r := newRig(t, nil)
	account, _ := r.holder("1", "")
	key, err := r.hold.AddEd25519Key(account, allScopes, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, otherKey := r.holder("1", "")
	bystander := r.socket()
	if f := bystander.ask("userDataStream.subscribe.signature", signedParams(t, otherKey)); f.Status != 200 {
		t.Fatalf("bystander: %+v", f)
	}
	s := r.socket()
	if f := s.ask("ping", nil); f.Status != 200 {
		t.Fatalf("ping: %+v", f)
	}
	if f := s.ask("userDataStream.subscribe.signature", signedParams(t, key)); f.Status != 200 || f.Result["subscriptionId"] == nil {
		t.Fatalf("subscribe: %+v", f)
	}
	r.order(key, "BTCUSDT", "SELL", "0.1", "60000")
	if e := s.next().Event; e["e"] != "executionReport" || e["x"] != "NEW" || e["q"] != "0.10000000" {
		t.Errorf("first event: %v", e)
	}
	if e := s.next().Event; e["e"] != "outboundAccountPosition" {
		t.Errorf("second event: %v", e)
	}
	r.deposit(account, "BTC", "0.5")
	if e := s.next().Event; e["e"] != "balanceUpdate" || e["a"] != "BTC" || e["d"] != "0.50000000" {
		t.Errorf("third event: %v", e)
	}
	s.next()

	r.hold.Freeze(account)
	if e := s.next().Event; e["e"] != "eventStreamTerminated" {
		t.Errorf("after the freeze: %v", e)
	}
	if f, err := s.read(); err == nil {
		t.Errorf("the connection goes on: %+v", f)
	}
	if !r.hold.Contained(account, patience) {
		t.Fatal("not contained")
	}
	if got := r.hold.Receipt(account, exitOrder); got.GetStopped() != 1 {
		t.Errorf("receipt counts %d connections", got.GetStopped())
	}
	again := r.socket()
	if f := again.ask("userDataStream.subscribe.signature", signedParams(t, key)); f.Status != 400 || f.Error.Code != -2010 {
		t.Errorf("subscription of a frozen account: %+v", f)
	}
	r.deposit(other, "BTC", "0.5")
	if e := bystander.next().Event; e["e"] != "balanceUpdate" {
		t.Errorf("bystander's stream: %v", e)
	}
}

func TestStreamSession(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	s := r.socket()
	if f := s.ask("userDataStream.subscribe", nil); f.Error.Code != -2015 {
		t.Errorf("subscribe before logon: %+v", f)
	}
	if f := s.ask("session.logon", signedParams(t, key)); f.Status != 200 || f.Result["apiKey"] != key.ID {
		t.Errorf("logon: %+v", f)
	}
	if f := s.ask("userDataStream.subscribe", nil); f.Status != 200 {
		t.Errorf("subscribe: %+v", f)
	}
	if f := s.ask("userDataStream.unsubscribe", nil); f.Status != 200 {
		t.Errorf("unsubscribe: %+v", f)
	}
	r.hold.Freeze(account)
	if e := s.next().Event; e["e"] != "eventStreamTerminated" {
		t.Errorf("a logged-on connection got %v", e)
	}
}

func TestDeletedKeysStreamEnds(t *testing.T) {
	r := newRig(t, nil)
	account, key := r.holder("1", "")
	second := r.hold.AddHMACKey(account, allScopes, nil)
	ends, stays := r.socket(), r.socket()
	ends.ask("userDataStream.subscribe.signature", signedParams(t, key))
	stays.ask("userDataStream.subscribe.signature", signedParams(t, second))
	r.hold.DeleteKey(key.ID)
	if e := ends.next().Event; e["e"] != "eventStreamTerminated" {
		t.Errorf("got %v", e)
	}
	if f := stays.ask("ping", nil); f.Status != 200 {
		t.Errorf("the other key's connection: %+v", f)
	}
	wantCode(t, r.signed(key, "GET", "/api/v3/account"), 401, -1022)
}

func TestStreamRefusesNonsense(t *testing.T) {
	r := newRig(t, nil)
	_, key := r.holder("1", "")
	s := r.socket()
	bad := signedParams(t, key)
	bad["timestamp"] = bad["timestamp"].(int64) + 1
	if f := s.ask("userDataStream.subscribe.signature", bad); f.Status != 401 || f.Error.Code != -1022 {
		t.Errorf("wrong signature: %+v", f)
	}
	if f := s.ask("order.place", nil); f.Error.Code != -1020 {
		t.Errorf("unknown method: %+v", f)
	}
	if f := s.ask("ping", map[string]any{"x": map[string]any{}}); f.Error.Code != -1100 {
		t.Errorf("nested parameter: %+v", f)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.ws.Write(ctx, websocket.MessageText, []byte(`{"id":[1]`)); err != nil {
		t.Fatal(err)
	}
	if f := s.next(); f.Error.Code != -1100 || f.ID != nil {
		t.Errorf("broken JSON: %+v", f)
	}
}
