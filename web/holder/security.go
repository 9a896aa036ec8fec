package holder

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/fault"
	"holdfast/web/page"
)

// securityPage leads to what protects the account.
type securityPage struct {
	page.Frame
	Rows page.LinkRows
}

func security(v view, a account.Profile, codeMade time.Time) *securityPage {
	changed := "Not changed since the account was made"
	if at := later(a.Facts.PasswordChangedAt, a.Facts.PasswordResetAt); !at.IsZero() {
		changed = "Changed on " + day(at)
	}
	code := "Make one and print it"
	if !codeMade.IsZero() {
		code = "Made on " + day(codeMade)
	}
	phone := "None given"
	if a.Phone != "" {
		phone = a.Phone + " (not verified)"
	}
	return &securityPage{Frame: v.frame("Security", "/security"), Rows: page.LinkRows{
		{Href: "/security/password", Icon: "lock", Label: "Password", Text: changed},
		{Href: "/security/freeze-code", Icon: "printer", Label: "Freeze code", Text: code},
		{Href: "/security/limit", Icon: "scale", Label: "Alert limit", Text: fmt.Sprintf("We write to you when a balance falls by more than %d %% in a day", a.LimitPercent)},
		{Href: "/security/mail", Icon: "mail", Label: "Mail address", Text: a.Mail},
		{Href: "/security/phone", Icon: "smartphone", Label: "Phone number", Text: phone},
	}}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func day(t time.Time) string { return t.UTC().Format("2 January 2006") }

func (p *Pages) getSecurity(w http.ResponseWriter, r *http.Request, v *visit) {
	profile, err := account.ReadProfile(r.Context(), p.cfg.DB, v.id)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	made, err := account.FreezeCodeMadeAt(r.Context(), p.cfg.DB, v.id)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "security", security(v.view, profile, made))
}

// settingPage changes one setting, with the password as step-up.
type settingPage struct {
	page.Frame
	Mend   page.Summary
	Lede   string
	Action string
	Hidden []page.Hidden
	Inputs []page.Part
	Save   page.Button
	Back   page.Button
}

// setting builds the page; wrong says what is wrong, by field.
func setting(v view, title, action, lede, save string, wrong map[string]string, inputs ...page.Part) *settingPage {
	inputs = append(inputs, page.Field{Name: "password", Label: "Your password", Type: "password", Autocomplete: "current-password", Required: true, Max: 1000, Error: wrong["password"]})
	back := "/security"
	if strings.HasPrefix(action, "/keys") {
		back = "/keys"
	}
	return &settingPage{Frame: v.frame(title, back), Action: action, Lede: lede, Inputs: inputs, Mend: page.Summarize(inputs...),
		Save: page.Button{Label: save}, Back: page.Button{Label: "Not now"}.Quiet().To(back)}
}

func limitSetting(v view, percent string, wrong map[string]string) *settingPage {
	return setting(v, "Alert limit", "/security/limit", "When the balance of an asset falls by more than this within a day, we write to you at once, with a freeze link.", "Save", wrong,
		page.Field{Name: "percent", Label: "Per cent in 24 hours", Inputmode: "numeric", Required: true, Max: 3, Value: percent, Error: wrong["percent"], Autocomplete: "off"})
}

func phoneSetting(v view, phone string, wrong map[string]string) *settingPage {
	return setting(v, "Phone number", "/security/phone", "Only so that people at the platform can reach you. It is never used to sign in. A change of number makes withdrawals wait.", "Save", wrong,
		page.Field{Name: "phone", Label: "Phone number", Hint: "With the country, such as +33 6 12 34 56 78. Leave it empty to remove it.", Type: "tel", Autocomplete: "tel", Value: phone, Max: 32, Error: wrong["phone"]})
}

func mailSetting(v view, mail string, wrong map[string]string) *settingPage {
	f := mailField("mail", mail, wrong["mail"])
	f.Label, f.Hint = "New mail address", "We write to it. Nothing changes until you open the link in that mail and press the button."
	return setting(v, "Mail address", "/security/mail", "Your address until now is told, with a freeze link. After the change, withdrawals wait.", "Ask for the change", wrong, f)
}

func freezeCodeSetting(v view, wrong map[string]string) *settingPage {
	return setting(v, "New freeze code", "/security/freeze-code", "A new code is shown once, to print. The old one still freezes for 30 days, so that nobody can make your printed sheet worthless.", "Make a new code", wrong)
}

func keyEnable(v view, k key, wrong string) *settingPage {
	s := setting(v, "Let a key work again", "/keys/enable", "“"+page.Clip(k.Label, 60)+"” was suspended by the freeze. Let it work again only if you made it yourself and know what uses it. If it may withdraw, that waits for a day again.", "Let it work again",
		map[string]string{"password": wrong})
	s.Hidden = []page.Hidden{{Name: "key", Value: k.ID}}
	return s
}

// settle finishes the change of a setting: on to the security page, the form again, or a failure.
func (p *Pages) settle(w http.ResponseWriter, r *http.Request, v *visit, err error, said string, again func(map[string]string) *settingPage) {
	switch {
	case err == nil:
		done(w, r, "/security", said)
	case typed(err):
		p.set.Write(w, r, status(err), "setting", again(map[string]string{field(err, "password"): fault.Say(err)}))
	default:
		p.fail(w, r, v, err)
	}
}

func (p *Pages) getLimit(w http.ResponseWriter, r *http.Request, v *visit) {
	profile, err := account.ReadProfile(r.Context(), p.cfg.DB, v.id)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "setting", limitSetting(v.view, strconv.FormatInt(profile.LimitPercent, 10), nil))
}

func (p *Pages) postLimit(w http.ResponseWriter, r *http.Request, v *visit) {
	text := strings.TrimSpace(r.PostFormValue("percent"))
	percent, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		percent = 0 // the room says what is wrong with it
	}
	err = p.cfg.Accounts.SetLimit(r.Context(), v.by, v.id, percent, r.PostFormValue("password"))
	p.settle(w, r, v, err, "limit", func(wrong map[string]string) *settingPage { return limitSetting(v.view, page.Clip(text, 20), wrong) })
}

func (p *Pages) getPhone(w http.ResponseWriter, r *http.Request, v *visit) {
	profile, err := account.ReadProfile(r.Context(), p.cfg.DB, v.id)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "setting", phoneSetting(v.view, profile.Phone, nil))
}

func (p *Pages) postPhone(w http.ResponseWriter, r *http.Request, v *visit) {
	phone := r.PostFormValue("phone")
	err := p.cfg.Accounts.SetPhone(r.Context(), v.by, v.id, phone, r.PostFormValue("password"))
	p.settle(w, r, v, err, "phone", func(wrong map[string]string) *settingPage { return phoneSetting(v.view, page.Clip(phone, 32), wrong) })
}

func (p *Pages) getMailSetting(w http.ResponseWriter, r *http.Request, v *visit) {
	p.set.Write(w, r, http.StatusOK, "setting", mailSetting(v.view, "", nil))
}

func (p *Pages) postMailSetting(w http.ResponseWriter, r *http.Request, v *visit) {
	address := r.PostFormValue("mail")
	err := p.cfg.Accounts.ChangeMail(r.Context(), v.by, v.id, address, r.PostFormValue("password"))
	p.settle(w, r, v, err, "mail-asked", func(wrong map[string]string) *settingPage { return mailSetting(v.view, page.Clip(address, 254), wrong) })
}

func (p *Pages) getFreezeCode(w http.ResponseWriter, r *http.Request, v *visit) {
	p.set.Write(w, r, http.StatusOK, "setting", freezeCodeSetting(v.view, nil))
}

// postFreezeCode shows the new code, once: the answer is the page itself.
func (p *Pages) postFreezeCode(w http.ResponseWriter, r *http.Request, v *visit) {
	code, err := p.cfg.Accounts.NewFreezeCode(r.Context(), v.by, v.id, r.PostFormValue("password"))
	if err != nil {
		p.settle(w, r, v, err, "", func(wrong map[string]string) *settingPage { return freezeCodeSetting(v.view, wrong) })
		return
	}
	p.set.Write(w, r, http.StatusOK, "code-sheet", codeSheet(v.frame("", "/security"), v.Mail, code.Reveal(), p.cfg.DB.Now(), p.emergencyURL(),
		page.Button{Label: "I have it on paper"}.Quiet().To("/security")))
}

func (p *Pages) emergencyURL() string {
	u, err := url.JoinPath(p.cfg.Base, "/emergency")
	if err != nil {
		return "/emergency"
	}
	return u
}

// codeSheetPage shows the freeze code, once.
type codeSheetPage struct {
	page.Frame
	Heading, Lede string
	Sheet         page.CodeSheet
	Acts          page.Actions
}

func codeSheet(f page.Frame, mail, code string, made time.Time, emergencyURL string, next page.Button) *codeSheetPage {
	f.Title = "Your freeze code"
	return &codeSheetPage{Frame: f, Heading: "Print your freeze code", Lede: "It is shown this once. It can freeze your account and can do nothing else, so you may give a copy to someone you trust.",
		Sheet: page.CodeSheet{Title: "Holdfast freeze code", Groups: strings.Split(code, "-"),
			Facts: page.Facts{{Term: "Account", Value: page.Text(mail)}, {Term: "Page", Value: page.Text(emergencyURL)}, {Term: "Made", Value: page.Moment{At: made}}},
			Steps: []string{"Open the page above on any phone or computer. You need no password.", "Type your mail address and this code.", "Press Freeze. Nothing can leave the account from then on.", "Ask the platform to check that you are you. Two people open it again."}},
		Acts: page.Actions{page.Button{Label: "Print this page", Icon: "printer", Print: true}, next}}
}
