package holder_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/account"
	"holdfast/detect"
	"holdfast/evidence"
	"holdfast/guard"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/store/storetest"
	"holdfast/web/holder"
)

const (
	holderMail = "holder@holdfast.test"
	password   = "Correct-Horse-7-Battery"
	base       = "https://holdfast.test"
	firefox    = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
)

// inbox is a mail server that keeps what it is sent.
type inbox chan notice.Mail

func (in inbox) Send(ctx context.Context, m notice.Mail) error {
	select {
	case in <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// world is the pages on real rooms, served over TLS.
type world struct {
	t        *testing.T
	db       *store.DB
	accounts *account.Accounts
	guard    *guard.Guard
	detect   *detect.Detect
	server   *httptest.Server
	inbox    inbox
}

func each(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { f(t, open(t, db)) })
}

func open(t *testing.T, db *store.DB) *world {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	w := &world{t: t, db: db, inbox: make(inbox, 1000)}
	door := permit.NewDoor(db, log)
	if err := door.Platform(t.Context()); err != nil {
		t.Fatal(err)
	}
	post, err := notice.NewPost(db, notice.Config{House: notice.House{Base: base}, Sender: w.inbox, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.accounts, err = account.New(door, post, account.Config{Cost: account.Cost{Memory: 64, Passes: 1, Lanes: 1}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if w.guard, err = guard.New(door, w.accounts, post, nil, log, guard.Config{}); err != nil {
		t.Fatal(err)
	}
	door.Join(w.accounts, w.guard)
	w.detect = detect.New(door, post)
	w.guard.HandleReports()
	if err := post.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := post.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	pages, err := holder.New(holder.Config{DB: db, Accounts: w.accounts, Guard: w.guard, Base: base, Signs: holder.Signs{Open: w.openSigns, Dismiss: w.detect.Dismiss}, Mailbox: notice.NewMailbox(db), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewTLSServer(pages.Handler())
	t.Cleanup(w.server.Close)
	if _, err := account.AddService(t.Context(), door, evidence.Actor{Kind: evidence.Operator, ID: "ops"}, "exchange", account.ServiceScopes, []string{"https://exchange.test/callback"}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) openSigns(ctx context.Context, id account.ID) ([]holder.Sign, error) {
	found, err := detect.Signs(ctx, w.db, id, true, 20)
	var signs []holder.Sign
	for _, s := range found {
		signs = append(signs, holder.Sign{ID: s.ID, Rule: string(s.Rule), Words: s.Sentence(), At: s.At})
	}
	return signs, err
}

// mail returns the next mail whose subject matches.
func (w *world) mail(subject string) notice.Mail {
	w.t.Helper()
	re := regexp.MustCompile(subject)
	timeout := time.After(30 * time.Second)
	for {
		select {
		case m := <-w.inbox:
			if re.MatchString(m.Subject) {
				return m
			}
		case <-timeout:
			w.t.Fatalf("no mail with subject %q", subject)
		}
	}
}

// link finds the path of a link in a mail.
func (w *world) link(purpose string, m notice.Mail) string {
	w.t.Helper()
	found := regexp.MustCompile(base + `(/` + purpose + `/\S+)`).FindStringSubmatch(m.Text)
	if found == nil {
		w.t.Fatalf("no %s link in %q:\n%s", purpose, m.Subject, m.Text)
	}
	return found[1]
}

// code finds the mailed code, which stands alone on its line.
func (w *world) code(m notice.Mail) string {
	w.t.Helper()
	found := regexp.MustCompile(`(?m)^\s+(\d{4} \d{4})$`).FindStringSubmatch(m.Text)
	if found == nil {
		w.t.Fatalf("no code in %q:\n%s", m.Subject, m.Text)
	}
	return found[1]
}

// browser keeps cookies and does not follow redirects, so that a test sees each answer.
type browser struct {
	w      *world
	client *http.Client
}

func (w *world) browser() *browser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	client := *w.server.Client()
	client.Jar = jar
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{w, &client}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// text is what a person reads on the page.
func (a answer) text() string {
	_, main, _ := strings.Cut(a.body, "<main")
	return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString("<main"+main, " ")), " ")
}

func (a answer) to() string { return a.header.Get("Location") }

func (b *browser) do(method, path string, form url.Values, change ...func(*http.Request)) answer {
	b.w.t.Helper()
	r, err := http.NewRequestWithContext(b.w.t.Context(), method, b.w.server.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.w.t.Fatal(err)
	}
	r.Header.Set("User-Agent", firefox)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, f := range change {
		f(r)
	}
	got, err := b.client.Do(r)
	if err != nil {
		b.w.t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return answer{got.StatusCode, got.Header, string(body)}
}

func (b *browser) get(path string) answer { b.w.t.Helper(); return b.do(http.MethodGet, path, nil) }

func (b *browser) post(path string, pairs ...string) answer {
	b.w.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return b.do(http.MethodPost, path, form)
}

// shows fails the test unless the page has the status and each of the words.
func (b *browser) shows(a answer, status int, words ...string) {
	b.w.t.Helper()
	if a.status != status {
		b.w.t.Fatalf("status %d, want %d (to %q)\n%s", a.status, status, a.to(), a.text())
	}
	for _, word := range words {
		if !strings.Contains(a.body, word) {
			b.w.t.Errorf("does not say %q:\n%s", word, a.text())
		}
	}
}

// leads fails the test unless the answer is a redirect to a path that begins so.
func (b *browser) leads(a answer, to string) {
	b.w.t.Helper()
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.to(), to) {
		b.w.t.Fatalf("status %d to %q, want a redirect to %q\n%s", a.status, a.to(), to, a.text())
	}
}

// signedUp makes the holder's account as people do; it returns the browser, signed in, and the
// freeze code.
func (w *world) signedUp() (*browser, string) {
	w.t.Helper()
	b := w.browser()
	b.leads(b.post("/sign-up", "mail", holderMail, "password", password), "/sign-up/sent")
	link := w.link("verify", w.mail(""))
	b.shows(b.get(link), 200, "Confirm your mail address")
	sheet := b.post(link)
	b.shows(sheet, 200, "Print your freeze code", holderMail, base+"/emergency")
	groups := regexp.MustCompile(`<span>([0-9A-Z]{5})</span>`).FindAllStringSubmatch(sheet.body, -1)
	if len(groups) != 4 {
		w.t.Fatalf("%d groups on the code sheet:\n%s", len(groups), sheet.body)
	}
	var code []string
	for _, g := range groups {
		code = append(code, g[1])
	}
	return b, strings.Join(code, "-")
}

func (w *world) signedIn() *browser {
	w.t.Helper()
	b := w.browser()
	b.leads(b.post("/sign-in", "mail", holderMail, "password", password), "/")
	return b
}

// id is the holder's account.
func (w *world) id() account.ID {
	w.t.Helper()
	id, found, err := account.FindMail(w.t.Context(), w.db, holderMail)
	if err != nil || !found {
		w.t.Fatalf("find the holder: %v %v", found, err)
	}
	return id
}

func (w *world) frozen() bool {
	w.t.Helper()
	p, err := w.guard.Protection(w.t.Context(), w.id())
	if err != nil {
		w.t.Fatal(err)
	}
	return p.Frozen()
}
