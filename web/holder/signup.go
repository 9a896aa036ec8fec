package holder

import (
	"net/http"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/web/page"
)

// signUpPage makes an account.
type signUpPage struct {
	page.Frame
	Mend                  page.Summary
	Mail, Password, Phone page.Field
}

func signUp(v view, mail, phone string, wrong map[string]string) *signUpPage {
	p := &signUpPage{Frame: v.outside("Make an account"), Mail: mailField("mail", mail, wrong["mail"]), Password: newPassword(wrong["password"]),
		Phone: page.Field{Name: "phone", Label: "Phone number (if you like)", Hint: "Only so that people at the platform can reach you. It is never used to sign in.", Type: "tel", Autocomplete: "tel", Max: 32, Value: phone, Error: wrong["phone"]}}
	p.Password.Label = "Password"
	p.Mail.Hint = "Best one that you use for nothing else."
	p.Mend = page.Summarize(p.Mail, p.Password, p.Phone)
	return p
}

func signUpSent(v view) *sentPage {
	return sent(v, "Look at your mail", []string{"We have written to this address. Open the link in the mail to confirm that it is yours.", "The link works for 24 hours."},
		page.Button{Label: "Back to sign-in"}.Quiet().To("/sign-in"))
}

// verifyPage is where the link of the first mail lands; a press confirms.
type verifyPage struct {
	page.Frame
	Action string
}

func verify(v view, token string) *verifyPage {
	return &verifyPage{Frame: v.outside("Confirm your mail address"), Action: "/verify/" + token}
}

func (p *Pages) getSignUp(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	p.set.Write(w, r, http.StatusOK, "sign-up", signUp(p.guest(r), "", "", nil))
}

// postSignUp answers the same for every address.
func (p *Pages) postSignUp(w http.ResponseWriter, r *http.Request, from evidence.Actor) {
	s := account.SignUp{Mail: r.PostFormValue("mail"), Password: r.PostFormValue("password"), Phone: r.PostFormValue("phone"), Language: "en"}
	err := p.cfg.Accounts.SignUp(r.Context(), from, s)
	switch {
	case err == nil:
		done(w, r, "/sign-up/sent", "")
	case typed(err):
		p.set.Write(w, r, status(err), "sign-up", signUp(p.guest(r), page.Clip(s.Mail, 254), page.Clip(s.Phone, 32), map[string]string{field(err, "password"): fault.Say(err)}))
	default:
		p.fail(w, r, nil, err)
	}
}

func (p *Pages) getSignUpSent(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	p.set.Write(w, r, http.StatusOK, "sent", signUpSent(p.guest(r)))
}

// getVerify changes nothing: programs that scan mails open links too.
func (p *Pages) getVerify(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	p.set.Write(w, r, http.StatusOK, "verify", verify(p.guest(r), r.PathValue("token")))
}

// postVerify finishes a sign-up and shows the freeze code, once, or finishes a change of address.
func (p *Pages) postVerify(w http.ResponseWriter, r *http.Request, from evidence.Actor) {
	verified, err := p.cfg.Accounts.Verify(r.Context(), from, r.PathValue("token"))
	if err != nil {
		p.fail(w, r, nil, err)
		return
	}
	if verified.Changed {
		done(w, r, "/sign-in", "mail-changed")
		return
	}
	p.enter(w, verified.Session)
	v := view{Mail: verified.Session.Mail, Demo: p.demo()}
	p.set.Write(w, r, http.StatusOK, "code-sheet", codeSheet(v.frame("", ""), v.Mail, verified.Code.Reveal(), p.cfg.DB.Now(), p.emergencyURL(),
		page.Button{Label: "I have it on paper"}.Quiet().To("/")))
}
