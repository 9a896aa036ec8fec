package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/go-jose/go-jose/v4"

	"holdfast/account"
	"holdfast/api"
	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/api/holdfast/v1/holdfastv1connect"
	"holdfast/store"
	"holdfast/store/storetest"
)

// bearer makes a token of a key.
func bearer(t testing.TB, k account.ServiceKey) string {
	return sign(t, jose.EdDSA, private(t, k).Private, k.ID, good(k), nil)
}

// TestPlainJSON: any program that can POST can ask.
func TestPlainJSON(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c, k := w.service("exchange")
		h := w.join(mail)
		token, session := bearer(t, k), w.handOver(h, c, "exchange").GetSession()
		body := `{"account":{"accountId":"` + string(h.id) + `"},"credential":{"session":"` + session + `"},"exit":"order","origin":{"address":"192.0.2.7"},"not_known_yet":[1]}`
		status, header, answer := w.postJSON("GuardService/Check", token, body)
		decision, _ := answer["decision"].(map[string]any)
		if status != http.StatusOK || decision["verdict"] != "VERDICT_ALLOW" || decision["epoch"] != "1" || decision["accountId"] != string(h.id) {
			t.Errorf("%d %v", status, answer)
		}
		if header.Get("Holdfast-Request") == "" || header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("headers: %v", header)
		}
		status, header, answer = w.postJSON("GuardService/Check", token, `{"exit":"no_such"}`)
		if status != http.StatusBadRequest || answer["code"] != "invalid_argument" || header.Get("Holdfast-Code") != "exit" || answer["message"] == "" {
			t.Errorf("%d %v", status, answer)
		}
		status, header, answer = w.postJSON("GuardService/Check", token, `{"exit":"order","origin":{"address":"my house"}}`)
		if status != http.StatusBadRequest || header.Get("Holdfast-Code") != "origin" {
			t.Errorf("%d %v", status, answer)
		}
		if log := w.log.String(); strings.Contains(log, session) || strings.Contains(log, token) || strings.Contains(log, password) {
			t.Error("a secret is in the log")
		}
	})
}

func TestWhatIsNoCallIsRefused(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, k := w.service("exchange")
		token := bearer(t, k)
		send := func(method, path, kind, body string, header ...string) (int, map[string]any) {
			req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
			must(t, err)
			req.Header.Set("Content-Type", kind)
			req.Header.Set("Authorization", "Bearer "+token)
			for i := 0; i+1 < len(header); i += 2 {
				req.Header.Set(header[i], header[i+1])
			}
			status, _, answer := w.do(req)
			return status, answer
		}
		const check, plain = "/holdfast.v1.GuardService/Check", "application/json"
		var bomb bytes.Buffer
		zip := gzip.NewWriter(&bomb)
		_, err := zip.Write(bytes.Repeat([]byte(" "), 3<<20))
		must(t, err)
		must(t, zip.Close())
		for name, c := range map[string]struct {
			method, path, kind, body string
			header                   []string
			status                   int
			code                     string
		}{
			"malformed":            {"POST", check, plain, `{"exit":`, nil, 400, "invalid_argument"},
			"another type":         {"POST", check, plain, `{"exit":7}`, nil, 400, "invalid_argument"},
			"two names":            {"POST", check, plain, `{"account":{"accountId":"a","externalId":"b"}}`, nil, 400, "invalid_argument"},
			"deep":                 {"POST", check, plain, `{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, nil, 400, "invalid_argument"},
			"not text":             {"POST", check, plain, "{\"exit\":\"\xff\"}", nil, 400, "invalid_argument"},
			"oversized":            {"POST", check, plain, `{"exit":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 429, "resource_exhausted"},
			"oversized unpacked":   {"POST", check, plain, bomb.String(), []string{"Content-Encoding", "gzip"}, 429, "resource_exhausted"},
			"not what it says":     {"POST", check, plain, "hello", []string{"Content-Encoding", "gzip"}, 400, "invalid_argument"},
			"unknown encoding":     {"POST", check, plain, "{}", []string{"Content-Encoding", "br"}, 501, "unimplemented"},
			"a form":               {"POST", check, "application/x-www-form-urlencoded", "exit=order", nil, 415, ""},
			"text":                 {"POST", check, "text/plain", `{"exit":"order"}`, nil, 415, ""}, // what a page elsewhere can send unasked
			"GET":                  {"GET", check + "?exit=order", plain, "", nil, 405, ""},
			"PUT":                  {"PUT", check, plain, "{}", nil, 405, ""},
			"no such method":       {"POST", "/holdfast.v1.GuardService/Open", plain, "{}", nil, 404, ""},
			"no such service":      {"POST", "/holdfast.v1.VaultService/Open", plain, "{}", nil, 404, ""},
			"no such page":         {"GET", "/", plain, "", nil, 404, ""},
			"health by POST":       {"POST", "/healthz", plain, "{}", nil, 405, ""},
			"a stream as one call": {"POST", "/holdfast.v1.GuardService/Follow", plain, "{}", nil, 415, ""},
			"header over 20 KiB":   {"POST", check, plain, "{}", []string{"X-Long", strings.Repeat("x", 21<<10)}, 431, ""},
			"a broken timeout":     {"POST", check, plain, "{}", []string{"Connect-Timeout-Ms", "soon"}, 400, "invalid_argument"},
		} {
			status, answer := send(c.method, c.path, c.kind, c.body, c.header...)
			if got, _ := answer["code"].(string); status != c.status || got != c.code {
				t.Errorf("%s: %d %v", name, status, answer)
			}
		}
		if status, answer := send("POST", check, plain, `{"exit":"order"}`); status != 200 {
			t.Errorf("after all that: %d %v", status, answer)
		}
	})
}

// h2c returns a client that speaks HTTP/2 without TLS, as gRPC does.
func (w *world) h2c() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	line := &http.Transport{Protocols: protocols}
	w.t.Cleanup(line.CloseIdleConnections)
	return &http.Client{Transport: line}
}

// TestGRPC: the same handlers speak gRPC and gRPC-Web, with the explanation in the trailers.
func TestGRPC(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, k := w.service("exchange")
		token := bearer(t, k)
		h := w.join(mail)
		for name, option := range map[string]connect.ClientOption{"gRPC": connect.WithGRPC(), "gRPC-Web": connect.WithGRPCWeb()} {
			guard := holdfastv1connect.NewGuardServiceClient(w.h2c(), w.url, option)
			with := func(r *connect.Request[holdfastv1.CheckRequest]) *connect.Request[holdfastv1.CheckRequest] {
				r.Header().Set("Authorization", "Bearer "+token)
				return r
			}
			out, err := guard.Check(t.Context(), with(ask(&holdfastv1.CheckRequest{Account: byID(h.id), Credential: ofPlatform(), Exit: "open_order"})))
			must(t, err)
			if out.Msg.GetDecision().GetVerdict() != allow {
				t.Errorf("%s: %v", name, out.Msg)
			}
			_, err = guard.Check(t.Context(), with(ask(&holdfastv1.CheckRequest{Exit: "no_such"})))
			refused(t, err, connect.CodeInvalidArgument, "exit")
			_, err = guard.Check(t.Context(), ask(&holdfastv1.CheckRequest{Exit: "order"}))
			refused(t, err, connect.CodeUnauthenticated, "unauthenticated")
			if client.RequestOf(err) == "" {
				t.Errorf("%s: a refusal without an id to quote", name)
			}
			ctx, cancel := context.WithCancel(t.Context())
			follow := ask(&holdfastv1.FollowRequest{})
			follow.Header().Set("Authorization", "Bearer "+token)
			stream, err := guard.Follow(ctx, follow)
			must(t, err)
			if !stream.Receive() || len(stream.Msg().GetPositions()) == 0 {
				t.Errorf("%s: no heartbeat: %v", name, stream.Err())
			}
			cancel()
			_ = stream.Close() // its end was asked for
		}
	})
}

func TestHealthAndTheDocument(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		get := func(path string) (int, string, string) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, nil)
			must(t, err)
			res, err := w.http().Do(req)
			must(t, err)
			defer func() { _ = res.Body.Close() }()
			text, err := io.ReadAll(res.Body)
			must(t, err)
			return res.StatusCode, res.Header.Get("Content-Type"), string(text)
		}
		if status, _, text := get("/healthz"); status != 200 || text != "ok\n" {
			t.Errorf("%d %q", status, text)
		}
		status, kind, text := get("/openapi.json")
		var document struct {
			OpenAPI string                    `json:"openapi"`
			Paths   map[string]map[string]any `json:"paths"`
		}
		if err := json.Unmarshal([]byte(text), &document); err != nil || status != 200 || kind != "application/json" {
			t.Fatalf("%d %s %v", status, kind, err)
		}
		if !strings.HasPrefix(document.OpenAPI, "3.1") || document.Paths["/holdfast.v1.GuardService/Check"]["post"] == nil || len(document.Paths) < 30 {
			t.Errorf("OpenAPI %s with %d paths", document.OpenAPI, len(document.Paths))
		}
	})
}

// TestCausesStayInside: what failed inside goes to the log, under the id that the caller gets.
func TestCausesStayInside(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, k := w.service("exchange")
		token := bearer(t, k)
		must(t, w.db.Housekeep(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `DROP TABLE enforcer`)
			return err
		}))
		status, header, answer := w.postJSON("GuardService/ListExits", token, `{}`)
		id, _ := answer["message"].(string)
		if status != 500 || answer["code"] != "internal" || header.Get("Holdfast-Code") != "internal" || strings.Contains(id, "enforcer") || strings.Contains(id, "SQL") {
			t.Errorf("%d %v", status, answer)
		}
		request := header.Get("Holdfast-Request")
		if request == "" || !strings.Contains(id, request) {
			t.Errorf("no id to quote in %q", id)
		}
		var line string
		for text := range strings.Lines(w.log.String()) {
			if strings.Contains(text, request) {
				line += text
			}
		}
		for _, want := range []string{"level=ERROR", "path=/holdfast.v1.GuardService/ListExits", "by=integrator:exchange", "status=500", "enforcer"} {
			if !strings.Contains(line, want) {
				t.Errorf("the log does not say %s: %s", want, line)
			}
		}
	})
}

func TestAPanicIsAnAnswer(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := open(t, db, func(c *api.Config) { c.Guard = nil })
		c, k := w.service("exchange")
		status, header, answer := w.postJSON("GuardService/ListExits", bearer(t, k), `{}`)
		if status != 500 || answer["code"] != "internal" || header.Get("Holdfast-Request") == "" || !strings.Contains(w.log.String(), "panic: ") {
			t.Errorf("%d %v", status, answer)
		}
		grpc := holdfastv1connect.NewGuardServiceClient(w.h2c(), w.url, connect.WithGRPC())
		r := ask(&holdfastv1.ListExitsRequest{})
		r.Header().Set("Authorization", "Bearer "+bearer(t, k))
		_, err := grpc.ListExits(t.Context(), r)
		refused(t, err, connect.CodeInternal, "internal")
		if ok, d := c.Allowed(t.Context(), &holdfastv1.CheckRequest{Exit: "order"}); ok || d.GetVerdict() != holdfastv1.Verdict_VERDICT_UNSPECIFIED || d.GetSentence() == "" {
			t.Errorf("allowed by a panic: %v %v", ok, d)
		}
	})
}

// TestASlowBodyIsCutOff: a call holds its connection no longer than it may take.
func TestASlowBodyIsCutOff(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := open(t, db, func(c *api.Config) { c.Timeout = 200 * time.Millisecond })
		_, k := w.service("exchange")
		at, err := url.Parse(w.url)
		must(t, err)
		line, err := net.Dial("tcp", at.Host)
		must(t, err)
		defer func() { _ = line.Close() }()
		must(t, line.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = io.WriteString(line, "POST /holdfast.v1.GuardService/Check HTTP/1.1\r\nHost: "+at.Host+"\r\nAuthorization: Bearer "+bearer(t, k)+
			"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		must(t, err)
		answer, err := io.ReadAll(line) // until the server closes
		must(t, err)
		if strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Errorf("answered %q", answer)
		}
	})
}

// TestTheClientsAddress: X-Forwarded-For counts from a trusted proxy only, and there its last hop.
func TestTheClientsAddress(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		proxied := open(t, db)
		proxied.join(mail)
		for _, c := range []struct{ forwarded, want string }{
			{"", "127.0.0.1"},
			{"203.0.113.9", "203.0.113.9"},
			{"198.51.100.1, 203.0.113.9", "203.0.113.9"},            // the first was written by the client
			{"198.51.100.1, 203.0.113.9, 127.0.0.1", "203.0.113.9"}, // two proxies of ours
			{"::ffff:203.0.113.9", "203.0.113.9"},
			{"hello", "127.0.0.1"},
		} {
			status, _, in := proxied.postJSON("HolderService/SignIn", "", `{"mail":"`+mail+`","password":"`+password+`"}`, "X-Forwarded-For", c.forwarded)
			token, _ := in["session"].(string)
			_, _, devices := proxied.postJSON("HolderService/ListDevices", token, `{}`, "X-Forwarded-For", c.forwarded)
			list, _ := devices["devices"].([]any)
			if status != 200 || len(list) == 0 {
				t.Fatalf("%d %v %v", status, in, devices)
			}
			first, _ := list[0].(map[string]any)
			if first["address"] != c.want || first["thisDevice"] != true {
				t.Errorf("%q: %v", c.forwarded, first)
			}
		}
	})
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		direct := open(t, db, func(c *api.Config) { c.TrustedProxies = nil })
		_, _, _ = direct.postJSON("HolderService/FreezeWithLink", "", `{"token":"x"}`, "X-Forwarded-For", "203.0.113.9")
		if log := direct.log.String(); strings.Contains(log, "203.0.113.9") || !strings.Contains(log, "client=127.0.0.1") {
			t.Errorf("believed a stranger: %s", log)
		}
	})
}
