package holder

import (
	"fmt"
	"net/http"

	"holdfast/account"
	"holdfast/fault"
	"holdfast/web/page"
)

// passwordForm is the new password with its proof: the present password, or, while frozen, a
// code that was mailed for this change.
type passwordForm struct {
	Mend     page.Summary
	Lede     string
	Send     *page.Form
	Current  *page.Field
	Code     *page.Field
	Password page.Field
	Again    *page.Form
}

// newPasswordForm asks for the proof that the session needs. sent says that a code is on its
// way; wrong has what is wrong, by field.
func newPasswordForm(v view, action string, sent bool, wrong map[string]string) passwordForm {
	f := passwordForm{Lede: "Every other device is signed out, and withdrawals wait for 24 hours.", Password: newPassword(wrong["password"])}
	if !v.Protective {
		current := page.Field{Name: "current", Label: "Present password", Type: "password", Autocomplete: "current-password", Required: true, Max: 1000, Error: wrong["current"]}
		f.Current = &current
		f.Mend = page.Summarize(current, f.Password)
		return f
	}
	send := page.Form{Action: action + "/code", Button: page.Button{Label: "Mail me the code", Icon: "mail"}}
	if !sent && len(wrong) == 0 {
		f.Lede = "Your account is frozen, so we mail you a code that confirms this change. A thief who has only your password cannot do it."
		f.Send = &send
		return f
	}
	f.Lede = "Type the code from the mail and a new password. The code lasts 10 minutes."
	code := mailedCode(wrong["code"])
	f.Code = &code
	send.Button = page.Button{Label: "Send another code"}.Quiet().Smaller()
	f.Again = &send
	f.Mend = page.Summarize(code, f.Password)
	return f
}

func newPassword(wrong string) page.Field {
	return page.Field{Name: "password", Label: "New password", Hint: "Never use one that you use elsewhere.", Type: "password", Autocomplete: "new-password", Required: true, Max: 1000, Rules: page.PasswordRules, Error: wrong}
}

func mailedCode(wrong string) page.Field {
	return page.Field{Name: "code", Label: "Code from the mail", Code: true, Inputmode: "numeric", Autocomplete: "one-time-code", Required: true, Max: 20, Error: wrong}
}

// passwordPage changes the password.
type passwordPage struct {
	page.Frame
	passwordForm
}

func password(v view, f passwordForm) *passwordPage {
	return &passwordPage{Frame: v.frame("Change your password", "/security"), passwordForm: f}
}

// passwordKeysPage asks, after a change, what to do with the keys: a thief may have made one.
type passwordKeysPage struct {
	page.Frame
	Mend page.Summary
	Lede string
	What page.Choice
}

func passwordKeys(v view, n int, wrong string) *passwordKeysPage {
	p := &passwordKeysPage{Frame: v.frame("What about your API keys?", "/security"),
		Lede: fmt.Sprintf("Your password is changed. %s with it, and whoever made one can still use it.", count(n, "API key did not change", "API keys did not change")),
		What: page.Choice{Name: "what", Legend: "What should happen to them?", Error: wrong, Options: []page.Option{
			{Value: "delete", Label: "Delete all of them", Hint: "The safe answer when you changed the password because something was wrong."},
			{Value: "look", Label: "Let me look at them"},
			{Value: "keep", Label: "Keep them", Hint: "You made each of them, and know what uses it."}}},
	}
	p.Mend = page.Summarize(p.What)
	return p
}

// changePassword reads the form and changes the password. wrong is set when the form is to be
// shown again.
func (p *Pages) changePassword(r *http.Request, v *visit) (account.PasswordChanged, map[string]string, error) {
	c := account.PasswordChange{Current: r.PostFormValue("current"), Code: r.PostFormValue("code"), Next: r.PostFormValue("password")}
	changed, err := p.cfg.Accounts.ChangePassword(r.Context(), v.by, v.id, c)
	if err == nil || !typed(err) {
		return changed, nil, err
	}
	about := field(err, "password")
	if code := fault.CodeOf(err); code == "wrong_password" || code == "password_needed" {
		about = "current"
	}
	return changed, map[string]string{about: fault.Say(err)}, err
}

func (p *Pages) getPassword(w http.ResponseWriter, r *http.Request, v *visit) {
	sent := r.URL.Query().Get("said") == "code-sent"
	p.set.Write(w, r, http.StatusOK, "password", password(v.view, newPasswordForm(v.view, "/security/password", sent, nil)))
}

func (p *Pages) postPassword(w http.ResponseWriter, r *http.Request, v *visit) {
	changed, wrong, err := p.changePassword(r, v)
	switch {
	case err == nil && changed.KeysLeft > 0:
		done(w, r, "/security/password/keys", "")
	case err == nil:
		done(w, r, "/security", "password")
	case wrong != nil:
		p.set.Write(w, r, status(err), "password", password(v.view, newPasswordForm(v.view, "/security/password", true, wrong)))
	default:
		p.fail(w, r, v, err)
	}
}

func (p *Pages) postPasswordCode(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := p.cfg.Accounts.RequestPasswordCode(r.Context(), v.by, v.id); err != nil {
		p.fail(w, r, v, err)
		return
	}
	done(w, r, "/security/password", "code-sent")
}

func (p *Pages) getPasswordKeys(w http.ResponseWriter, r *http.Request, v *visit) {
	p.writePasswordKeys(w, r, v, http.StatusOK, "")
}

func (p *Pages) writePasswordKeys(w http.ResponseWriter, r *http.Request, v *visit, code int, wrong string) {
	ks, err := account.ListKeys(r.Context(), p.cfg.DB, v.id)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	if len(ks) == 0 {
		done(w, r, "/security", "password")
		return
	}
	p.set.Write(w, r, code, "password-keys", passwordKeys(v.view, len(ks), wrong))
}

func (p *Pages) postPasswordKeys(w http.ResponseWriter, r *http.Request, v *visit) {
	switch r.PostFormValue("what") {
	case "delete":
		if _, err := p.cfg.Accounts.DeleteAllKeys(r.Context(), v.by, v.id); err != nil {
			p.fail(w, r, v, err)
			return
		}
		done(w, r, "/security", "keys-deleted")
	case "look":
		done(w, r, "/keys", "")
	case "keep":
		done(w, r, "/security", "keys-kept")
	default:
		p.writePasswordKeys(w, r, v, http.StatusUnprocessableEntity, "Choose one of these.")
	}
}
