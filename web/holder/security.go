package holder

import (
	"fmt"
	"time"

	"holdfast/web/page"
)

// securityPage leads to what protects the account.
type securityPage struct {
	page.Frame
	Rows page.LinkRows
}

// settings is how the protection is set.
type settings struct {
	PasswordChangedAt time.Time
	FreezeCodeMadeAt  time.Time
	LimitPercent      int
	Phone             string
}

func security(v view, s settings) *securityPage {
	changed := "Not changed since you made the account"
	if !s.PasswordChangedAt.IsZero() {
		changed = "Changed on " + s.PasswordChangedAt.UTC().Format("2 January 2006")
	}
	code := "Make one and print it"
	if !s.FreezeCodeMadeAt.IsZero() {
		code = "Made on " + s.FreezeCodeMadeAt.UTC().Format("2 January 2006")
	}
	phone := "None given"
	if s.Phone != "" {
		phone = s.Phone + " (not verified)"
	}
	return &securityPage{Frame: v.frame("Security", "/security"), Rows: page.LinkRows{
		{Href: "/security/password", Icon: "lock", Label: "Password", Text: changed},
		{Href: "/security/freeze-code", Icon: "printer", Label: "Freeze code", Text: code},
		{Href: "/security/limit", Icon: "scale", Label: "Alert limit", Text: fmt.Sprintf("We write to you when a balance falls by more than %d %% in a day", s.LimitPercent)},
		{Href: "/security/phone", Icon: "smartphone", Label: "Phone number", Text: phone},
		{Href: "/devices", Icon: "monitor", Label: "Devices", Text: "Where you are signed in"},
		{Href: "/keys", Icon: "key-round", Label: "API keys", Text: "Programs that can act for you"},
	}}
}

// settingPage changes one setting.
type settingPage struct {
	page.Frame
	Mend   page.Summary
	Lede   string
	Action string
	Inputs []page.Part
	Save   page.Button
}

func limitSetting(v view, percent, wrong string) *settingPage {
	f := page.Field{Name: "percent", Label: "Per cent in 24 hours", Inputmode: "numeric", Required: true, Max: 3, Value: percent, Error: wrong, Autocomplete: "off"}
	return &settingPage{Frame: v.frame("Alert limit", "/security"), Action: "/security/limit", Lede: "When the balance of an asset falls by more than this within a day, we write to you at once, with a freeze link.",
		Inputs: []page.Part{f}, Mend: page.Summarize(f), Save: page.Button{Label: "Save"}}
}

func phoneSetting(v view, phone, wrong string) *settingPage {
	f := page.Field{Name: "phone", Label: "Phone number", Hint: "With the country, such as +33 6 12 34 56 78. Leave it empty to remove it.", Type: "tel", Autocomplete: "tel", Value: phone, Max: 32, Error: wrong}
	return &settingPage{Frame: v.frame("Phone number", "/security"), Action: "/security/phone", Lede: "Only so that people at the platform can reach you. It is never used to sign in.",
		Inputs: []page.Part{f}, Mend: page.Summarize(f), Save: page.Button{Label: "Save"}}
}

func freezeCodeSetting(v view, wrong string) *settingPage {
	f := page.Field{Name: "password", Label: "Your password", Type: "password", Autocomplete: "current-password", Required: true, Max: 1000, Error: wrong}
	return &settingPage{Frame: v.frame("New freeze code", "/security"), Action: "/security/freeze-code", Lede: "A new code is shown once, to print. The old one still freezes for a while, so that nobody can make your printed sheet worthless.",
		Inputs: []page.Part{f}, Mend: page.Summarize(f), Save: page.Button{Label: "Make a new code", Icon: "printer"}}
}

// codeSheetPage shows the freeze code, once.
type codeSheetPage struct {
	page.Frame
	Heading, Lede string
	Sheet         page.CodeSheet
	Acts          page.Actions
}

func codeSheet(f page.Frame, mail string, groups []string, made time.Time, emergencyURL string, next page.Button) *codeSheetPage {
	f.Title = "Your freeze code"
	return &codeSheetPage{Frame: f, Heading: "Print your freeze code", Lede: "It is shown this once. It can freeze your account and can do nothing else, so you may give a copy to someone you trust.",
		Sheet: page.CodeSheet{Title: "Freeze code", Groups: groups,
			Facts: page.Facts{{Term: "Account", Value: page.Text(mail)}, {Term: "Page", Value: page.Text(emergencyURL)}, {Term: "Made", Value: page.Moment{At: made}}},
			Steps: []string{"Open the page above on any phone or computer. You need no password.", "Type your mail address and this code.", "Press Freeze. Nothing can leave the account from then on.", "Ask the platform to check that you are you. Two people open it again."}},
		Acts: page.Actions{page.Button{Label: "Print this page", Icon: "printer", Print: true}, next}}
}
