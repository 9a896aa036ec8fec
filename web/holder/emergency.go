package holder

import (
	"net/http"

	"holdfast/evidence"
	"holdfast/fault"
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
	p.Freeze = page.FreezeHere
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

func (p *Pages) getEmergency(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	w.Header().Set("Cache-Control", "no-cache") // nothing of a person is on it, and going back must not lose what was typed
	p.set.Write(w, r, http.StatusOK, "emergency", emergency(p.guest(r), "", "", ""))
}

// postEmergency freezes with a freeze code. A wrong code and an unknown address get one answer.
func (p *Pages) postEmergency(w http.ResponseWriter, r *http.Request, from evidence.Actor) {
	mail := r.PostFormValue("mail")
	frozen, err := p.cfg.Guard.FreezeByCode(r.Context(), from, mail, r.PostFormValue("code"))
	switch {
	case err == nil:
		p.showReceipts(w, r, frozen, true)
	case !typed(err):
		p.fail(w, r, nil, err)
	case field(err, "code") == "mail":
		p.set.Write(w, r, status(err), "emergency", emergency(p.guest(r), page.Clip(mail, 254), fault.Say(err), ""))
	default:
		p.set.Write(w, r, status(err), "emergency", emergency(p.guest(r), page.Clip(mail, 254), "", fault.Say(err)))
	}
}

// postEmergencyLink has a freeze link mailed. The answer is the same for every address.
func (p *Pages) postEmergencyLink(w http.ResponseWriter, r *http.Request, from evidence.Actor) {
	mail := r.PostFormValue("link_mail")
	if err := p.cfg.Guard.RequestLink(r.Context(), from, mail); err != nil {
		if !typed(err) {
			p.fail(w, r, nil, err)
			return
		}
		e := emergency(p.guest(r), "", "", "")
		e.LinkMail = mailField("link_mail", page.Clip(mail, 254), fault.Say(err))
		e.Mend = page.Summarize(e.LinkMail)
		p.set.Write(w, r, status(err), "emergency", e)
		return
	}
	done(w, r, "/emergency/sent", "")
}

func (p *Pages) getEmergencySent(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	p.set.Write(w, r, http.StatusOK, "sent", linkSent(p.guest(r)))
}

func (p *Pages) getOffline(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	w.Header().Set("Cache-Control", "no-cache")
	p.set.Write(w, r, http.StatusOK, "offline", offline(p.guest(r)))
}
