package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// browser is as much of a browser as the demonstration's actors need: it keeps cookies, sends forms
// and follows nothing by itself, so that every answer can be looked at.
type browser struct {
	agent   string
	cookies map[string]string
	client  *http.Client
}

func newBrowser(agent string) *browser {
	return &browser{agent: agent, cookies: map[string]string{}, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is what came back.
type answer struct {
	status   int
	location string
	body     string
}

// refused reports whether a page was not given or a form not carried out: an error, or the way to
// the sign-in.
func (a answer) refused() bool {
	return a.status >= 400 || a.status >= 300 && (strings.HasPrefix(a.location, "/sign-in") || strings.HasPrefix(a.location, "/code"))
}

// String is the answer in a line of the story.
func (a answer) String() string {
	switch {
	case a.location != "":
		to, _, _ := strings.Cut(a.location, "?")
		if u, err := url.Parse(to); err == nil {
			to = u.Path
		}
		return fmt.Sprintf("sent to %s (%d)", to, a.status)
	case a.status >= 400:
		return fmt.Sprintf("refused (%d)", a.status)
	default:
		return fmt.Sprintf("accepted (%d)", a.status)
	}
}

// do sends a request: a form when there is one. Cookies of all servers lie in one jar, which only a
// thief who is on loopback with all of them can afford.
func (b *browser) do(ctx context.Context, method, address string, form url.Values) (answer, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", b.agent)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range b.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value, Quoted: false})
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return answer{}, err
	}
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 || c.Value == "" {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c.Value
	}
	return answer{resp.StatusCode, resp.Header.Get("Location"), string(raw)}, nil
}

func (b *browser) get(ctx context.Context, address string) (answer, error) {
	return b.do(ctx, http.MethodGet, address, nil)
}

func (b *browser) post(ctx context.Context, address string, form url.Values) (answer, error) {
	return b.do(ctx, http.MethodPost, address, form)
}
