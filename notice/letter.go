package notice

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"holdfast/evidence"
)

// Mail is a composed mail, ready to be sent or kept.
type Mail struct {
	// ID names the mail; its Message-ID is made from it, so that a mail that had to be sent twice
	// is one mail to the receiving program.
	ID      string    `json:"id"`
	To      string    `json:"to"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	HTML    string    `json:"html"`
	Made    time.Time `json:"made"`
}

// House is what all mails of one installation share.
type House struct {
	// Base is the address of the holder's pages, such as "https://holdfast.example", without a
	// slash at its end. Every link in a mail begins with it.
	Base string
	// Name is what the mails call the service; "Holdfast" when empty.
	Name string
}

// Envelope is what makes one mail out of what is told: for whom, with which links.
type Envelope struct {
	ID   string
	To   string
	Made time.Time
	// FreezeToken is the secret of the mail's freeze link, ActionToken that of the one other link
	// that a verification or reset mail has. An empty token means no link: the address has not yet
	// shown that it belongs to the holder.
	FreezeToken string
	ActionToken string
	// Record is the head of the account's evidence chain with the entry of what happened.
	Record evidence.Head
}

// letter is a mail before it has a form: plain sentences and cleaned facts. Only words from this
// package and cleaned values go into it.
type letter struct {
	subject string
	lead    []string // what happened, and what is safe now
	facts   []fact
	code    string // shown large, by itself
	action  string // words of the action link, if there is one
	path    string
	after   string   // what to know about the action link
	next    []string // what to do
	freeze  string   // words before the freeze link, where "if this was not you" does not fit
}

type fact struct{ Name, Value string }

const (
	freezeWords   = "If this was not you, freeze your account: opening the link changes nothing until you press the button."
	freezeAsked   = "To freeze your account, use the link below: opening it changes nothing until you press the button."
	freezeAgain   = "Keep this mail. Should somebody open your account again and it was not you, this link freezes it once more: opening it changes nothing until you press the button."
	noLinkWords   = "If this was not you, open our site yourself and choose \"Freeze without signing in\". This mail has no link, because this address is not yet confirmed for your account."
	freezeButton  = "Freeze my account"
	neverAskWords = "We never ask for your password or a code by mail, phone or chat."
)

// Compose writes the mail. It is pure: the same values give the same mail.
func (h House) Compose(v Vars, e Envelope) Mail {
	l := v.letter()
	p := parts{letter: l, Name: h.name(), Never: neverAskWords}
	switch {
	case l.freeze != "":
		p.FreezeWords = l.freeze
	case e.FreezeToken != "":
		p.FreezeWords = freezeWords
	default:
		p.FreezeWords = noLinkWords
	}
	if e.FreezeToken != "" {
		p.FreezeURL = h.Base + Path(FreezeLinkPurpose, e.FreezeToken)
	} else if l.path == "" || e.ActionToken == "" {
		p.FreezeWords = noLinkWords
	}
	if l.path != "" && e.ActionToken != "" {
		p.ActionURL = h.Base + Path(Purpose(l.path), e.ActionToken)
	}
	if e.Record.Seq > 0 {
		head := e.Record.String()
		_, digits, _ := strings.Cut(head, ":")
		p.Record = fmt.Sprintf("Record %d · %.4s…", e.Record.Seq, digits)
		p.Head = head
	}
	return Mail{ID: e.ID, To: e.To, Subject: l.subject, Text: p.text(), HTML: p.html(), Made: e.Made}
}

func (h House) name() string {
	if h.Name == "" {
		return "Holdfast"
	}
	return clean(h.Name, 60)
}

// parts is a letter with its links, as both forms show it.
type parts struct {
	letter
	Name, Never            string
	FreezeURL, FreezeWords string
	ActionURL              string
	Record, Head           string
}

func (p parts) text() string {
	var b strings.Builder
	block := func(s string) { b.WriteString(s + "\n\n") }
	block(p.subject)
	for _, s := range p.lead {
		block(s)
	}
	for _, f := range p.facts {
		b.WriteString(f.Name + ": " + f.Value + "\n")
	}
	if len(p.facts) > 0 {
		b.WriteByte('\n')
	}
	if p.code != "" {
		block("    " + p.code)
	}
	if p.ActionURL != "" {
		block(p.action + ":\n" + p.ActionURL)
		block(p.after)
	}
	for _, s := range p.next {
		block(s)
	}
	block(p.FreezeWords)
	if p.FreezeURL != "" {
		block(freezeButton + ":\n" + p.FreezeURL)
	}
	b.WriteString("--\n" + p.Name + ". " + p.Never + "\n")
	if p.Record != "" {
		b.WriteString(p.Record + "\nTo check your record later: holdfast verify FILE --head " + p.Head + "\n")
	}
	return b.String()
}

// page is the HTML form: no picture, no script, nothing from outside, no colour of its own but the
// buttons', so that a dark mail program shows it dark.
var page = template.Must(template.New("mail").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">
<title>{{.Subject}}</title></head>
<body style="margin:0;padding:24px 16px;overflow-wrap:anywhere;font:18px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif">
<div style="max-width:36em;margin:0 auto">
<h1 style="font-size:26px;line-height:1.25;margin:0 0 16px">{{.Subject}}</h1>
{{range .Lead}}<p style="margin:0 0 16px">{{.}}</p>
{{end}}{{range .Facts}}<p style="margin:0 0 8px"><strong>{{.Name}}</strong><br>{{.Value}}</p>
{{end}}{{with .Code}}<p style="margin:24px 0;font:700 32px/1.2 ui-monospace,Menlo,Consolas,monospace;letter-spacing:4px">{{.}}</p>
{{end}}{{with .ActionURL}}<p style="margin:24px 0"><a href="{{.}}" style="display:inline-block;padding:16px 24px;border:1px solid #ffffff;border-radius:8px;background:#1e3a5f;color:#ffffff;font-weight:600;text-decoration:none">{{$.Action}}</a></p>
<p style="margin:0 0 16px">{{$.After}}</p>
{{end}}{{range .Next}}<p style="margin:16px 0">{{.}}</p>
{{end}}<p style="margin:24px 0 16px">{{.FreezeWords}}</p>
{{with .FreezeURL}}<p style="margin:0 0 24px"><a href="{{.}}" style="display:inline-block;padding:16px 24px;border:1px solid #ffffff;border-radius:8px;background:#8f1414;color:#ffffff;font-weight:600;text-decoration:none">{{$.Freeze}}</a></p>
{{end}}<hr style="border:0;border-top:1px solid #808080;margin:24px 0 16px">
<p style="margin:0 0 8px;font-size:15px">{{.Name}}. {{.Never}}</p>
{{with .Record}}<p style="margin:0;font-size:15px">{{.}}<br>To check your record later: <code>holdfast verify FILE --head {{$.Head}}</code></p>
{{end}}</div></body></html>
`))

func (p parts) html() string {
	var b strings.Builder
	// The template and its values are our own, and a strings.Builder takes every write.
	_ = page.Execute(&b, map[string]any{
		"Subject": p.subject, "Lead": p.lead, "Facts": p.facts, "Code": p.code,
		"ActionURL": p.ActionURL, "Action": p.action, "After": p.after, "Next": p.next,
		"FreezeWords": p.FreezeWords, "FreezeURL": p.FreezeURL, "Freeze": freezeButton,
		"Name": p.Name, "Never": p.Never, "Record": p.Record, "Head": p.Head,
	})
	return b.String()
}
