package holder

import (
	"net/http"
	"regexp"
	"strings"

	"holdfast/evidence"
	"holdfast/web/page"
)

// mailboxPage lists the mails that a demonstration keeps instead of sending.
type mailboxPage struct {
	page.Frame
	Mails page.LinkRows
	Empty page.Empty
}

func mailbox(v view, ms []localMail) *mailboxPage {
	p := &mailboxPage{Frame: v.outside("Mailbox"), Empty: page.Empty{Icon: "inbox", Title: "No mail yet", Text: "Sign in, or wait for something to happen. Then reload this page."}}
	for _, m := range ms {
		p.Mails = append(p.Mails, page.LinkRow{Href: "/mailbox/" + m.ID, Icon: "mail", Label: page.Clip(m.Subject, 120), Text: "To " + m.To + ", " + m.Made.UTC().Format("2 January, 15:04:05 UTC")})
	}
	return p
}

// mailPage shows one of them.
type mailPage struct {
	page.Frame
	Facts page.Facts
	Links []page.Link
	Text  string
	HTML  string
}

func mail(v view, m localMail, links []page.Link) *mailPage {
	p := &mailPage{Frame: v.outside(page.Clip(m.Subject, 120)), Links: links, Text: m.Text,
		Facts: page.Facts{{Term: "To", Value: page.Text(m.To)}, {Term: "Made", Value: page.Moment{At: m.Made}}}}
	if m.HTML != "" {
		p.HTML = "/mailbox/" + m.ID + "/html"
	}
	return p
}

// linkNames says what the links in our mails do, by the first word of their path.
var linkNames = map[string]string{"freeze": "Freeze my account", "verify": "Confirm the mail address", "reset": "Choose a new password"}

var address = regexp.MustCompile(`https?://[^\s<>"]+`)

// mailLinks finds the links of ours in a mail's text. Only their paths are kept, so that a mail
// can lead nowhere else.
func mailLinks(base, text string) []page.Link {
	var links []page.Link
	seen := map[string]bool{}
	for _, u := range address.FindAllString(text, 50) {
		path, ok := strings.CutPrefix(u, base+"/")
		verb, _, _ := strings.Cut(path, "/")
		if name := linkNames[verb]; ok && name != "" && !seen[path] {
			seen[path] = true
			links = append(links, page.Link{Href: "/" + path, Label: name})
		}
	}
	return links
}

func (p *Pages) getMailbox(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	ms, err := p.cfg.Mailbox.List(r.Context(), "", 100)
	if err != nil {
		p.fail(w, r, nil, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "mailbox", mailbox(p.guest(r), ms))
}

func (p *Pages) getMail(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	m, err := p.cfg.Mailbox.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		p.fail(w, r, nil, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "mail", mail(p.guest(r), m, mailLinks(p.cfg.Base, m.Text)))
}

// getMailHTML sends the HTML part as a document of its own that can do nothing.
func (p *Pages) getMailHTML(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	m, err := p.cfg.Mailbox.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		p.fail(w, r, nil, err)
		return
	}
	page.Sandbox(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(m.HTML)) // the reader may have gone
}
