package holder

import (
	"fmt"

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
