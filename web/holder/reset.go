package holder

import (
	"net/http"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/web/page"
)

// resetPage asks where to send the link for a new password.
type resetPage struct {
	page.Frame
	Mend page.Summary
	Mail page.Field
}

func reset(v view, mail, wrong string) *resetPage {
	f := mailField("mail", mail, wrong)
	return &resetPage{Frame: v.outside("Choose a new password"), Mail: f, Mend: page.Summarize(f)}
}

func resetSent(v view) *sentPage {
	return sent(v, "Look at your mail", []string{"If there is an account with this address, a mail with a link is on its way. It works once, for 30 minutes.", "While an account is frozen its password cannot be reset this way."},
		page.Button{Label: "Back to sign-in"}.Quiet().To("/sign-in"), page.Button{Label: "Account frozen? Use a mailed code"}.Quiet().To("/code"))
}

// resetSetPage sets the new password.
type resetSetPage struct {
	page.Frame
	Mend     page.Summary
	Action   string
	Password page.Field
}

func resetSet(v view, token, wrong string) *resetSetPage {
	p := &resetSetPage{Frame: v.outside("Choose a new password"), Action: "/reset/" + token, Password: newPassword(wrong)}
	p.Mend = page.Summarize(p.Password)
	return p
}

func (p *Pages) getReset(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	p.set.Write(w, r, http.StatusOK, "reset", reset(p.guest(r), "", ""))
}

// postReset answers the same for every address.
func (p *Pages) postReset(w http.ResponseWriter, r *http.Request, from evidence.Actor) {
	mail := r.PostFormValue("mail")
	err := p.cfg.Accounts.RequestReset(r.Context(), from, mail)
	switch {
	case err == nil:
		done(w, r, "/reset/sent", "")
	case typed(err):
		p.set.Write(w, r, status(err), "reset", reset(p.guest(r), page.Clip(mail, 254), fault.Say(err)))
	default:
		p.fail(w, r, nil, err)
	}
}

func (p *Pages) getResetSent(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	p.set.Write(w, r, http.StatusOK, "sent", resetSent(p.guest(r)))
}

func (p *Pages) getResetSet(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	p.set.Write(w, r, http.StatusOK, "reset-set", resetSet(p.guest(r), r.PathValue("token"), ""))
}

func (p *Pages) postResetSet(w http.ResponseWriter, r *http.Request, from evidence.Actor) {
	token := r.PathValue("token")
	_, err := p.cfg.Accounts.ResetPassword(r.Context(), from, token, r.PostFormValue("password"))
	switch {
	case err == nil:
		done(w, r, "/sign-in", "password-set")
	case typed(err):
		p.set.Write(w, r, status(err), "reset-set", resetSet(p.guest(r), token, fault.Say(err)))
	default:
		p.fail(w, r, nil, err)
	}
}
