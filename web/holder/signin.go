package holder

import "holdfast/web/page"

// signInPage signs in, and leads to what is open to those who cannot.
type signInPage struct {
	page.Frame
	Mend          page.Summary
	For, ReturnTo string
	Mail          page.Field
	Password      page.Field
	Remember      page.Choice
}

func signIn(v view, mail, wrong, platform, returnTo string) *signInPage {
	p := &signInPage{Frame: v.outside("Sign in"), For: platform, ReturnTo: returnTo,
		Mail:     mailField("mail", mail, ""),
		Password: page.Field{Name: "password", Label: "Password", Type: "password", Autocomplete: "current-password", Required: true, Max: 1000},
		Remember: page.Choice{Name: "remember", Legend: "Is this your own device?", Many: true, Options: []page.Option{{Value: "yes", Label: "Remember this device", Hint: "Then a sign-in from it is no surprise to us."}}},
	}
	p.Mail.Autocomplete = "username"
	if wrong != "" {
		p.Mend = page.Summary{{Field: p.Mail.ID(), Say: wrong}}
	}
	return p
}

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

// codePage signs in to a frozen account with a mailed code: first the address, then the code.
type codePage struct {
	page.Frame
	Mend          page.Summary
	Heading, Lede string
	Action        string
	Mail, Code    *page.Field
	Press         page.Button
	Again         bool
}

func codeAsk(v view, mail, wrong string) *codePage {
	f := mailField("mail", mail, wrong)
	return &codePage{Frame: v.outside("Sign in with a mailed code"), Heading: "Sign in with a mailed code", Action: "/code",
		Lede: "For a frozen account. You can look at everything, remove devices and keys, and change the password. Nothing can be opened.",
		Mail: &f, Press: page.Button{Label: "Mail me the code"}, Mend: page.Summarize(f)}
}

func codeEnter(v view, wrong string) *codePage {
	f := mailedCode(wrong)
	f.Focus = true
	return &codePage{Frame: v.outside("Type the code"), Heading: "Type the code", Action: "/code/enter", Again: true,
		Lede: "If there is an account with this address, a mail with a code is on its way. The code lasts 10 minutes and works only in this browser.",
		Code: &f, Press: page.Button{Label: "Sign in"}, Mend: page.Summarize(f)}
}

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
