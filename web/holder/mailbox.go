package holder

import (
	"time"

	"holdfast/web/page"
)

// mailboxPage lists the mails that a demonstration keeps instead of sending.
type mailboxPage struct {
	page.Frame
	Mails page.LinkRows
	Empty page.Empty
}

type localMail struct {
	ID, To, From, Subject, Text, HTML string
	At                                time.Time
}

func mailbox(v view, ms []localMail) *mailboxPage {
	p := &mailboxPage{Frame: v.outside("Mailbox"), Empty: page.Empty{Icon: "inbox", Title: "No mail yet", Text: "Sign in, or wait for something to happen. Then reload this page."}}
	for _, m := range ms {
		p.Mails = append(p.Mails, page.LinkRow{Href: "/mailbox/" + m.ID, Icon: "mail", Label: page.Clip(m.Subject, 120), Text: "To " + m.To + ", " + m.At.UTC().Format("2 January, 15:04:05 UTC")})
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
		Facts: page.Facts{{Term: "From", Value: page.Text(m.From)}, {Term: "To", Value: page.Text(m.To)}, {Term: "Sent", Value: page.Moment{At: m.At}}}}
	if m.HTML != "" {
		p.HTML = "/mailbox/" + m.ID + "/html"
	}
	return p
}
