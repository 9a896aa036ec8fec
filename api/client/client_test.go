package client_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/api/holdfast/v1/holdfastv1connect"
)

// server answers as a test says; what it does not say is unimplemented.
type server struct {
	holdfastv1connect.UnimplementedGuardServiceHandler
	check  func(context.Context, *connect.Request[holdfastv1.CheckRequest]) (*connect.Response[holdfastv1.CheckResponse], error)
	follow func(context.Context, []int64, *connect.ServerStream[holdfastv1.FollowResponse]) error
}

func (s *server) Check(ctx context.Context, r *connect.Request[holdfastv1.CheckRequest]) (*connect.Response[holdfastv1.CheckResponse], error) {
	return s.check(ctx, r)
}

func (s *server) Follow(ctx context.Context, r *connect.Request[holdfastv1.FollowRequest], out *connect.ServerStream[holdfastv1.FollowResponse]) error {
	return s.follow(ctx, r.Msg.GetPositions(), out)
}

func newKey(t testing.TB) *client.Key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &client.Key{Service: "exchange", ID: "hfs_test", Private: private}
}

// dial serves s on port 0 and returns a client of it.
func dial(t *testing.T, s *server) *client.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(holdfastv1connect.NewGuardServiceHandler(s))
	at := httptest.NewServer(mux)
	t.Cleanup(at.Close)
	c, err := client.New(client.Config{URL: at.URL + "/", Key: newKey(t), HTTP: at.Client(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyAClearYesIsAllowed(t *testing.T) {
	var answer *holdfastv1.CheckResponse
	var failure error
	c := dial(t, &server{check: func(context.Context, *connect.Request[holdfastv1.CheckRequest]) (*connect.Response[holdfastv1.CheckResponse], error) {
		if failure != nil {
			return nil, failure
		}
		return connect.NewResponse(answer), nil
	}})
	ask := func() (bool, *holdfastv1.Decision) {
		return c.Allowed(t.Context(), &holdfastv1.CheckRequest{Exit: "order"})
	}
	for v := range holdfastv1.Verdict_name {
		answer = &holdfastv1.CheckResponse{Decision: &holdfastv1.Decision{Verdict: holdfastv1.Verdict(v)}}
		if ok, d := ask(); ok != (v == int32(holdfastv1.Verdict_VERDICT_ALLOW)) || d.GetVerdict() != holdfastv1.Verdict(v) {
			t.Errorf("%s: %v", holdfastv1.Verdict(v), ok)
		}
	}
	answer = &holdfastv1.CheckResponse{Decision: &holdfastv1.Decision{Verdict: 99}} // of a later version
	if ok, _ := ask(); ok {
		t.Error("a verdict that nobody knows is a yes")
	}
	answer = &holdfastv1.CheckResponse{}
	if ok, d := ask(); ok || d == nil {
		t.Errorf("no decision: %v %v", ok, d)
	}
	failure = connect.NewError(connect.CodeInternal, errors.New("broken"))
	if ok, d := ask(); ok || d.GetSentence() == "" {
		t.Errorf("a failure: %v %v", ok, d)
	}
	gone, err := client.New(client.Config{URL: "http://127.0.0.1:1", Key: newKey(t), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if ok, d := gone.Allowed(t.Context(), &holdfastv1.CheckRequest{Exit: "order"}); ok || d.GetSentence() == "" {
		t.Errorf("nobody there: %v %v", ok, d)
	}
}

// TestALateAnswerIsANo: a check without a deadline gets one.
func TestALateAnswerIsANo(t *testing.T) {
	c := dial(t, &server{check: func(ctx context.Context, _ *connect.Request[holdfastv1.CheckRequest]) (*connect.Response[holdfastv1.CheckResponse], error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	began := time.Now()
	if ok, _ := c.Allowed(t.Context(), &holdfastv1.CheckRequest{Exit: "order"}); ok || time.Since(began) > 15*time.Second {
		t.Errorf("%v after %s", ok, time.Since(began))
	}
}

func TestFollowResumesWhereItWas(t *testing.T) {
	var from [][]int64
	c := dial(t, &server{follow: func(_ context.Context, at []int64, out *connect.ServerStream[holdfastv1.FollowResponse]) error {
		from = append(from, at)
		round := int64(len(from))
		send := func(positions ...int64) error {
			return out.Send(&holdfastv1.FollowResponse{Closing: &holdfastv1.Closing{AccountId: fmt.Sprint(round)}, Positions: positions})
		}
		if err := send(); err != nil { // awaited: it moves nothing
			return err
		}
		if round > 1 {
			if err := send(round, 0); err != nil {
				return err
			}
		}
		switch round {
		case 3:
			return nil // a stream that just ends
		case 5:
			return connect.NewError(connect.CodePermissionDenied, errors.New("no"))
		}
		return connect.NewError(connect.CodeUnavailable, errors.New("stopping"))
	}})
	var heard []string
	err := c.Follow(t.Context(), nil, func(c *holdfastv1.Closing) error {
		heard = append(heard, c.GetAccountId())
		return nil
	})
	if connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("ended by %v", err)
	}
	if got, want := fmt.Sprint(from), "[[] [] [2 0] [3 0] [4 0]]"; got != want {
		t.Errorf("followed from %s, want %s", got, want)
	}
	if got := strings.Join(heard, ""); got != "122334455" {
		t.Errorf("heard %s", got)
	}
}

func TestFollowStopsAtTheFollowersOwnFailure(t *testing.T) {
	mine := errors.New("the disk is full")
	c := dial(t, &server{follow: func(ctx context.Context, _ []int64, out *connect.ServerStream[holdfastv1.FollowResponse]) error {
		return errors.Join(out.Send(&holdfastv1.FollowResponse{Closing: &holdfastv1.Closing{}, Positions: []int64{1}}), out.Send(&holdfastv1.FollowResponse{}))
	}})
	calls := 0
	err := c.Follow(t.Context(), nil, func(*holdfastv1.Closing) error { calls++; return mine })
	if err != mine || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = c.Follow(ctx, nil, func(*holdfastv1.Closing) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestASilentStreamIsOpenedAgain runs on a simulated clock, over pipes instead of sockets.
func TestASilentStreamIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		mux := http.NewServeMux()
		mux.Handle(holdfastv1connect.NewGuardServiceHandler(&server{follow: func(ctx context.Context, _ []int64, out *connect.ServerStream[holdfastv1.FollowResponse]) error {
			if opened++; opened == 3 {
				cancel()
				return nil
			}
			if err := out.Send(&holdfastv1.FollowResponse{Positions: []int64{1}}); err != nil {
				return err
			}
			<-ctx.Done() // alive, and says nothing
			return ctx.Err()
		}}))
		c, err := client.New(client.Config{URL: "http://localhost", Key: newKey(t), HTTP: &http.Client{Transport: inside{mux}}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := c.Follow(ctx, nil, func(*holdfastv1.Closing) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if took := time.Since(began); opened != 3 || took < 24*time.Second || took > 30*time.Second {
			t.Errorf("opened %d times in %s", opened, took)
		}
		synctest.Wait()
	})
}

func TestTokensAreRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		mux := http.NewServeMux()
		mux.Handle(holdfastv1connect.NewGuardServiceHandler(&server{check: func(_ context.Context, r *connect.Request[holdfastv1.CheckRequest]) (*connect.Response[holdfastv1.CheckResponse], error) {
			token := r.Header().Get("Authorization")
			if !slices.Contains(seen, token) {
				seen = append(seen, token)
			}
			body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
			if want := fmt.Sprintf(`"exp":%d,`, time.Now().Add(time.Minute).Unix()); err != nil || strings.Contains(string(body), want) {
				t.Errorf("a token with a minute left: %s %v", body, err)
			}
			return connect.NewResponse(&holdfastv1.CheckResponse{Decision: &holdfastv1.Decision{Verdict: holdfastv1.Verdict_VERDICT_ALLOW}}), nil
		}}))
		c, err := client.New(client.Config{URL: "http://localhost", Key: newKey(t), HTTP: &http.Client{Transport: inside{mux}}})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if ok, _ := c.Allowed(t.Context(), &holdfastv1.CheckRequest{}); !ok {
				t.Error("refused")
			}
			time.Sleep(time.Minute)
		}
		if len(seen) != 4 { // one every three minutes
			t.Errorf("%d tokens in ten minutes", len(seen))
		}
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	told := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told = r.Header.Get("Authorization") != "" }))
	t.Cleanup(elsewhere.Close)
	at := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(at.Close)
	c, err := client.New(client.Config{URL: at.URL, Key: newKey(t), HTTP: at.Client(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if ok, _ := c.Allowed(t.Context(), &holdfastv1.CheckRequest{}); ok || told {
		t.Errorf("allowed %v, token told %v", ok, told)
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(dir, fmt.Sprintf("%x.json", len(text)))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	seed := base64.StdEncoding.EncodeToString(make([]byte, 32))
	right := file(`{"service":"exchange","key_id":"hfs_1","private_key":"` + seed + `","url":"https://holdfast.example"}`)
	for name, c := range map[string]client.Config{
		"no key":          {URL: "https://holdfast.example"},
		"half a key":      {URL: "https://holdfast.example", Key: &client.Key{Service: "exchange"}},
		"no file":         {KeyFile: filepath.Join(dir, "nothing")},
		"not JSON":        {KeyFile: file("hello")},
		"short seed":      {KeyFile: file(`{"service":"exchange","key_id":"hfs_1","private_key":"AAAA"}`)},
		"no address":      {Key: newKey(t)},
		"no scheme":       {Key: newKey(t), URL: "holdfast.example"},
		"other scheme":    {Key: newKey(t), URL: "ftp://holdfast.example"},
		"with a password": {Key: newKey(t), URL: "https://a:b@holdfast.example"},
		"plain elsewhere": {Key: newKey(t), URL: "http://holdfast.example"},
	} {
		if _, err := client.New(c); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for name, c := range map[string]client.Config{
		"a key file":     {KeyFile: right},
		"its own URL":    {KeyFile: right, URL: "http://127.0.0.1:8082"},
		"plain, allowed": {Key: newKey(t), URL: "http://holdfast.internal:8082", AllowPlainHTTP: true},
	} {
		if _, err := client.New(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFailuresExplainThemselves(t *testing.T) {
	until := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := dial(t, &server{check: func(context.Context, *connect.Request[holdfastv1.CheckRequest]) (*connect.Response[holdfastv1.CheckResponse], error) {
		e := connect.NewError(connect.CodeResourceExhausted, errors.New("later"))
		e.Meta().Set("Holdfast-Code", "too_often")
		e.Meta().Set("Holdfast-Until", until.Format(time.RFC3339Nano))
		return nil, e
	}})
	_, err := c.Guard.Check(t.Context(), connect.NewRequest(&holdfastv1.CheckRequest{}))
	if at, ok := client.UntilOf(err); client.CodeOf(err) != "too_often" || !ok || !at.Equal(until) {
		t.Errorf("%q %v %v", client.CodeOf(err), at, ok)
	}
	if _, ok := client.UntilOf(errors.New("mine")); ok || client.CodeOf(errors.New("mine")) != "" || client.RequestOf(nil) != "" {
		t.Error("a failure of ours explains itself as Holdfast's")
	}
}
