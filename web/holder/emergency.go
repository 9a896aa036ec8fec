package holder

import (
	"holdfast/web/page"
)

// emergencyPage freezes without a session. It is the same for everybody and kept for times
// without a connection, so nothing about a person may be on it.
type emergencyPage struct {
	page.Frame
	Mend     page.Summary
	Mail     page.Field
	Code     page.Field
	Press    page.Button
	LinkMail page.Field
}

func emergency(v view, mail, mailError, codeError string) *emergencyPage {
	p := &emergencyPage{
		Frame: v.outside("Freeze without signing in"),
		Mail:  mailField("mail", mail, mailError),
		Code: page.Field{Name: "code", Label: "Freeze code", Hint: "Four groups of five, from your printed sheet. Small letters and spaces do not matter.", Code: true,
			Placeholder: "ABCDE-FGHJK-MNPQR-STVWX", Autocomplete: "off", Required: true, Max: 60, Error: codeError},
		Press:    page.Button{Label: "Freeze my account", Wide: true}.Freezes(),
		LinkMail: mailField("link_mail", "", ""),
	}
	p.Mend = page.Summarize(p.Mail, p.Code)
	return p
}

func mailField(name, value, wrong string) page.Field {
	return page.Field{Name: name, Label: "Mail address", Type: "email", Inputmode: "email", Autocomplete: "email", Required: true, Max: 254, Value: value, Error: wrong}
}

// sentPage says that something is on its way, in the same words whether or not an account exists.
type sentPage struct {
	page.Frame
	Say  []string
	Acts page.Actions
}

func sent(v view, title string, say []string, acts ...page.Part) *sentPage {
	return &sentPage{Frame: v.outside(title), Say: say, Acts: acts}
}

func linkSent(v view) *sentPage {
	return sent(v, "Look at your mail", []string{
		"If there is an account with this address, a mail with a freeze link is on its way. Open it and press Freeze on the page.",
		"Nothing is frozen before that press.",
	}, page.Button{Label: "Use a freeze code instead"}.Quiet().To("/emergency"))
}

// offlinePage is what the service worker shows for a press that did not get through.
type offlinePage struct {
	page.Frame
	Acts page.Actions
}

func offline(v view) *offlinePage {
	return &offlinePage{Frame: v.outside("Not sent"), Acts: page.Actions{
		page.Button{Label: "Go back and try again", Back: true},
		page.Button{Label: "Open the emergency page"}.Quiet().To("/emergency"),
	}}
}
