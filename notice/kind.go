package notice

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Kind names what a mail tells.
type Kind string

// Vars is what one kind of mail tells. The types below are all there are; each is the values of one
// kind, so that a mail cannot be queued with another kind's values.
type Vars interface {
	Kind() Kind
	letter() letter
}

// VerifyMail asks whether the address belongs to the person who typed it.
type VerifyMail struct {
	Event
	// Change is set when the address is to become that of an account that exists. Such a mail
	// carries no freeze link: who reads it has not yet shown to be the account's holder.
	Change bool `json:"change,omitempty"`
}

// AccountExists tells a holder that somebody tried to sign up with their address.
type AccountExists struct{ Event }

// NewSignIn tells of a sign-in from a device that was not seen before.
type NewSignIn struct{ Event }

// PasswordChanged tells that the password is another one, and what that ended.
type PasswordChanged struct {
	Event
	SessionsEnded int `json:"sessions_ended"`
	KeysLeft      int `json:"keys_left"`
}

// PasswordReset carries the link to choose a new password.
type PasswordReset struct{ Event }

// KeyCreated tells of a new API key.
type KeyCreated struct {
	Event
	Label     string   `json:"label"`
	KeyID     string   `json:"key_id"`
	Scopes    []string `json:"scopes"`
	Addresses []string `json:"addresses,omitempty"`
	// WithdrawsFrom is when the key may withdraw; zero when it may not.
	WithdrawsFrom time.Time `json:"withdraws_from,omitzero"`
}

// WithdrawalRequested tells that assets are about to leave.
type WithdrawalRequested struct {
	Event
	Amount string `json:"amount"`
	Asset  string `json:"asset"`
	To     string `json:"to"`
	// By names the key or session that asked.
	By string `json:"by,omitempty"`
}

// AddressChanged tells that a contact was changed. It goes to the old address too.
type AddressChanged struct {
	Event
	What string `json:"what"` // "mail address" or "phone number"
	Old  string `json:"old,omitempty"`
	New  string `json:"new"`
	// Asked is set while the new one does not count, because nobody has confirmed it.
	Asked bool `json:"asked,omitempty"`
}

// Frozen tells that every exit is closed.
type Frozen struct {
	Event
	// By says how: "a signed-in session", "a link in a mail", "a freeze code", "our staff".
	By string `json:"by"`
}

// RestoreProposed tells that somebody on the staff asked for the account to be opened.
type RestoreProposed struct {
	Event
	Reason string `json:"reason"`
}

// Restored tells that the account is open again.
type Restored struct {
	Event
	Reason    string    `json:"reason,omitempty"`
	HeldUntil time.Time `json:"held_until,omitzero"` // withdrawals wait until then
	// NewPassword says that the old password does not work any more.
	NewPassword bool `json:"new_password,omitempty"`
}

// FreezeLink is the link that was asked for on the logged-out page.
type FreezeLink struct {
	Event
	// HeldUntil is the end of the short hold that the report placed; zero when it placed none.
	HeldUntil time.Time `json:"held_until,omitzero"`
}

// SignInCode is the mailed code that opens a frozen account's protective mode.
type SignInCode struct {
	Event
	Code  string        `json:"code"`
	Lasts time.Duration `json:"lasts"`
}

// PasswordCode is the mailed code that confirms a new password while the account is frozen.
type PasswordCode struct {
	Event
	Code  string        `json:"code"`
	Lasts time.Duration `json:"lasts"`
}

// SignBalanceFell tells that the balance of an asset fell by more than the holder's limit.
type SignBalanceFell struct {
	Event
	Asset   string `json:"asset"`
	Before  string `json:"before"`
	After   string `json:"after"`
	Percent int    `json:"percent"`
	Limit   int    `json:"limit"`
}

// SignNewSource tells of a withdrawal by a device or key that is hardly a day old.
type SignNewSource struct {
	Event
	What      string    `json:"what"` // "device" or "API key"
	Name      string    `json:"name"`
	FirstSeen time.Time `json:"first_seen,omitzero"` // zero when not known
	Amount    string    `json:"amount"`
	Asset     string    `json:"asset"`
	To        string    `json:"to,omitempty"`
}

// The kinds.
const (
	KindVerifyMail          Kind = "verify_mail"
	KindAccountExists       Kind = "account_exists"
	KindNewSignIn           Kind = "new_sign_in"
	KindPasswordChanged     Kind = "password_changed"
	KindPasswordReset       Kind = "password_reset_link"
	KindKeyCreated          Kind = "api_key_created"
	KindWithdrawalRequested Kind = "withdrawal_requested"
	KindAddressChanged      Kind = "address_changed"
	KindFrozen              Kind = "freeze"
	KindRestoreProposed     Kind = "restore_proposed"
	KindRestored            Kind = "restore"
	KindFreezeLink          Kind = "freeze_link"
	KindSignInCode          Kind = "sign_in_code"
	KindPasswordCode        Kind = "password_code"
	KindSignBalanceFell     Kind = "sign_balance_fell"
	KindSignNewSource       Kind = "sign_new_source"
)

// kindInfo is what the post has to know about a kind before it composes it.
type kindInfo struct {
	read   func([]byte) (Vars, error)
	action Purpose // the link beside the freeze link, if any
	urgent bool    // somebody waits for it, or money leaves meanwhile
}

var kinds = map[Kind]kindInfo{
	KindVerifyMail:          {read: readVars[VerifyMail], action: VerifyPurpose, urgent: true},
	KindAccountExists:       {read: readVars[AccountExists]},
	KindNewSignIn:           {read: readVars[NewSignIn], urgent: true},
	KindPasswordChanged:     {read: readVars[PasswordChanged], urgent: true},
	KindPasswordReset:       {read: readVars[PasswordReset], action: ResetPurpose, urgent: true},
	KindKeyCreated:          {read: readVars[KeyCreated], urgent: true},
	KindWithdrawalRequested: {read: readVars[WithdrawalRequested], urgent: true},
	KindAddressChanged:      {read: readVars[AddressChanged], urgent: true},
	KindFrozen:              {read: readVars[Frozen], urgent: true},
	KindRestoreProposed:     {read: readVars[RestoreProposed]},
	KindRestored:            {read: readVars[Restored]},
	KindFreezeLink:          {read: readVars[FreezeLink], urgent: true},
	KindSignInCode:          {read: readVars[SignInCode], urgent: true},
	KindPasswordCode:        {read: readVars[PasswordCode], urgent: true},
	KindSignBalanceFell:     {read: readVars[SignBalanceFell], urgent: true},
	KindSignNewSource:       {read: readVars[SignNewSource], urgent: true},
}

func readVars[T Vars](raw []byte) (Vars, error) {
	var v T
	err := json.Unmarshal(raw, &v)
	return v, err
}

// Kind implementations.

func (VerifyMail) Kind() Kind          { return KindVerifyMail }
func (AccountExists) Kind() Kind       { return KindAccountExists }
func (NewSignIn) Kind() Kind           { return KindNewSignIn }
func (PasswordChanged) Kind() Kind     { return KindPasswordChanged }
func (PasswordReset) Kind() Kind       { return KindPasswordReset }
func (KeyCreated) Kind() Kind          { return KindKeyCreated }
func (WithdrawalRequested) Kind() Kind { return KindWithdrawalRequested }
func (AddressChanged) Kind() Kind      { return KindAddressChanged }
func (Frozen) Kind() Kind              { return KindFrozen }
func (RestoreProposed) Kind() Kind     { return KindRestoreProposed }
func (Restored) Kind() Kind            { return KindRestored }
func (FreezeLink) Kind() Kind          { return KindFreezeLink }
func (SignInCode) Kind() Kind          { return KindSignInCode }
func (PasswordCode) Kind() Kind        { return KindPasswordCode }
func (SignBalanceFell) Kind() Kind     { return KindSignBalanceFell }
func (SignNewSource) Kind() Kind       { return KindSignNewSource }

// facts returns extra and then when, where and on what it happened. A fact that is not known says
// so: a blank would read as "here".
func (e Event) facts(extra ...fact) []fact {
	place, device := clean(e.Place, 80), clean(e.Device, 60)
	if place == "" {
		place = "not known"
	}
	if e.Address != "" {
		place += " (address " + clean(e.Address, 45) + ")"
	}
	if device == "" {
		device = "not known"
	}
	return append(extra, fact{"When", moment(e.At)}, fact{"Where", place}, fact{"Device", device})
}

func (v VerifyMail) letter() letter {
	if v.Change {
		return letter{
			subject: "Confirm your new mail address",
			lead:    []string{"The holder of an account asked to use this mail address from now on. If it was you, confirm the address."},
			facts:   v.facts(),
			action:  "Confirm this address", path: string(VerifyPurpose),
			after:  "The link works once, for " + span(Lifetime(VerifyPurpose)) + ".",
			freeze: "If it was not you, do nothing: without the link nothing changes.",
		}
	}
	return letter{
		subject: "Confirm your mail address",
		lead:    []string{"Somebody opened an account with this mail address. If it was you, confirm the address."},
		facts:   v.facts(),
		action:  "Confirm this address", path: string(VerifyPurpose),
		after: "The link works once, for " + span(Lifetime(VerifyPurpose)) + ". If it was not you, do not open it: without it the account stays shut.",
	}
}

func (v AccountExists) letter() letter {
	return letter{
		subject: "Somebody tried to sign up with your address",
		lead: []string{
			"You already have an account with this mail address. Somebody tried to open another one with it. Nothing was changed, and they were not told that you have an account.",
		},
		facts: v.facts(),
		next:  []string{"If it was you, sign in as usual. If you forgot your password, choose \"Forgot password\" on the sign-in page."},
	}
}

func (v NewSignIn) letter() letter {
	return letter{
		subject: "New sign-in to your account",
		lead:    []string{"Someone signed in from a device we have not seen before. Was it you?"},
		facts:   v.facts(),
		next:    []string{"If it was you, there is nothing to do."},
	}
}

func (v PasswordChanged) letter() letter {
	ended := "Every other session was ended."
	if v.SessionsEnded == 1 {
		ended = "1 other session was ended."
	} else if v.SessionsEnded > 1 {
		ended = fmt.Sprintf("%d other sessions were ended.", v.SessionsEnded)
	}
	lead := []string{"The password of your account was changed. " + ended}
	if v.KeysLeft > 0 {
		lead = append(lead, fmt.Sprintf("API keys do not depend on the password. Keys that still work: %d. Delete those you did not make.", v.KeysLeft))
	}
	return letter{subject: "Your password was changed", lead: lead, facts: v.facts(), next: []string{"If it was you, there is nothing to do."}}
}

func (v PasswordReset) letter() letter {
	return letter{
		subject: "Choose a new password",
		lead:    []string{"Somebody asked to reset the password of your account. Nothing has changed yet."},
		facts:   v.facts(),
		action:  "Choose a new password", path: string(ResetPurpose),
		after: "The link works once, for " + span(Lifetime(ResetPurpose)) + ". Whoever has it can change your password, so do not pass it on.",
	}
}

func (v KeyCreated) letter() letter {
	scopes := make([]string, 0, len(v.Scopes))
	for _, s := range v.Scopes {
		scopes = append(scopes, clean(s, 20))
	}
	extra := []fact{{"Name of the key", quoted(v.Label, 60)}, {"Key", clean(v.KeyID, 80)}, {"It may", strings.Join(scopes, ", ")}}
	if len(v.Addresses) > 0 {
		addresses := make([]string, 0, len(v.Addresses))
		for _, a := range v.Addresses {
			addresses = append(addresses, clean(a, 45))
		}
		extra = append(extra, fact{"Works from", clean(strings.Join(addresses, ", "), 400)})
	}
	lead := []string{"An API key was created on your account. Software that has this key can act for you without signing in."}
	if !v.WithdrawsFrom.IsZero() {
		lead = append(lead, "It can withdraw from "+moment(v.WithdrawsFrom)+".")
	}
	return letter{subject: "New API key on your account", lead: lead, facts: v.facts(extra...)}
}

func (v WithdrawalRequested) letter() letter {
	const lead = "A withdrawal from your account was requested. It leaves unless the account is frozen first."
	extra := []fact{{"Amount", money(v.Amount, v.Asset)}, {"To", clean(v.To, 120)}}
	if v.By != "" {
		extra = append(extra, fact{"Requested by", clean(v.By, 80)})
	}
	return letter{subject: "Withdrawal requested", lead: []string{lead}, facts: v.facts(extra...)}
}

func (v AddressChanged) letter() letter {
	what := clean(v.What, 40)
	subject := "The " + what + " of your account was changed"
	lead := []string{subject + ". Security mails go to the old and the new one for 30 days."}
	if v.Asked {
		subject = "Somebody asked to change the " + what + " of your account"
		lead = []string{subject + ". Nothing has changed yet. The new one counts as soon as it is confirmed; freezing the account before then stops the change."}
	}
	extra := []fact{{"New " + what, cleanMail(v.New)}}
	if v.Old != "" {
		extra = append([]fact{{"Old " + what, cleanMail(v.Old)}}, extra...)
	}
	return letter{subject: subject, lead: lead, facts: v.facts(extra...)}
}

func (v Frozen) letter() letter {
	lead := []string{
		"Your account is frozen. Nothing can leave it: no sign-in, order, transfer or withdrawal, with any password or key.",
		"What had already been handed over before the freeze is listed on your page as \"may already have left\".",
	}
	return letter{
		subject: "Your account is frozen",
		lead:    lead,
		facts:   v.facts(fact{"Frozen by", clean(v.By, 80)}),
		next: []string{
			"Next, sign in with a code sent to this address: change your password, remove devices and delete API keys you did not make. Only our staff can open the account again, after they have checked that it is you.",
		},
		freeze: freezeAgain,
	}
}

func (v RestoreProposed) letter() letter {
	return letter{
		subject: "Opening your account was asked for",
		lead:    []string{"Your account is still frozen. A member of our staff proposed to open it again; a second one has to agree."},
		facts:   []fact{{"When", moment(v.At)}, {"By", "our staff"}, {"Reason given", quoted(v.Reason, 300)}},
		next:    []string{"If you did not ask for this, freeze again with the link below: that stops the proposal."},
	}
}

func (v Restored) letter() letter {
	lead := []string{"Your account is open again. Sessions and keys from before do not come back by themselves."}
	if !v.HeldUntil.IsZero() {
		lead = append(lead, "Withdrawals stay held until "+moment(v.HeldUntil)+".")
	}
	if v.NewPassword {
		lead = append(lead, "Your old password does not work any more, because somebody else may know it. Open our site yourself, choose \"Forgot the password?\" and set a new one.")
	}
	facts := []fact{{"When", moment(v.At)}, {"By", "our staff, two people"}}
	if v.Reason != "" {
		facts = append(facts, fact{"Reason given", quoted(v.Reason, 300)})
	}
	return letter{subject: "Your account is open again", lead: lead, facts: facts}
}

func (v FreezeLink) letter() letter {
	lead := []string{"Somebody asked on our site for a link to freeze your account. The account is not frozen yet."}
	if !v.HeldUntil.IsZero() {
		lead = append(lead, "To be safe, withdrawals wait until "+moment(v.HeldUntil)+".")
	}
	return letter{
		subject: "Your link to freeze your account",
		lead:    lead,
		facts:   v.facts(),
		next:    []string{"If it was not you who asked, you need not do anything. The link can freeze the account and can do nothing else."},
		freeze:  freezeAsked,
	}
}

func (v SignInCode) letter() letter {
	return letter{
		subject: "Your sign-in code",
		lead: []string{
			"Enter this code on the page where you asked for it. It opens the protected view of your frozen account, in that browser only.",
		},
		facts: v.facts(),
		code:  clean(v.Code, 20),
		next:  []string{"The code works for " + span(v.Lasts) + ". Nobody from our staff will ever ask you for it. If you did not ask for it, do not pass it on."},
	}
}

func (v PasswordCode) letter() letter {
	return letter{
		subject: "Your code to change your password",
		lead: []string{
			"Somebody who is signed in to the protected view of your frozen account asked to change its password. Enter this code on that page if it was you.",
		},
		facts: v.facts(),
		code:  clean(v.Code, 20),
		next:  []string{"The code works for " + span(v.Lasts) + ", in that session only. Nobody from our staff will ever ask you for it. If you did not ask for it, do not pass it on."},
	}
}

func (v SignBalanceFell) letter() letter {
	return letter{
		subject: "Your balance fell",
		lead: []string{fmt.Sprintf("Your balance of %s fell by %d %% within 24 hours. Your limit for this warning is %d %%. Was it you?",
			clean(v.Asset, 20), v.Percent, v.Limit)},
		facts: v.facts(fact{"Before", money(v.Before, v.Asset)}, fact{"Now", money(v.After, v.Asset)}),
		next:  []string{"If it was you, there is nothing to do."},
	}
}

func (v SignNewSource) letter() letter {
	what := clean(v.What, 20)
	extra := []fact{{"Amount", money(v.Amount, v.Asset)}}
	if v.To != "" {
		extra = append(extra, fact{"To", clean(v.To, 120)})
	}
	first := "not known"
	if !v.FirstSeen.IsZero() {
		first = moment(v.FirstSeen)
	}
	extra = append(extra, fact{"Name of the " + what, quoted(v.Name, 80)}, fact{"First seen", first})
	return letter{
		subject: "Withdrawal by a new " + what,
		lead:    []string{"A withdrawal was requested by a " + what + " that is less than a day old. Was it you?"},
		facts:   v.facts(extra...),
	}
}

func quoted(s string, limit int) string {
	if s = clean(s, limit); s == "" {
		return "none"
	}
	return "\"" + s + "\""
}

// money writes an amount with its asset, its digits in groups of three.
func money(amount, asset string) string { return grouped(clean(amount, 60)) + " " + clean(asset, 20) }

var number = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// grouped puts commas into the digits before the point; what is no number stays as it is.
func grouped(s string) string {
	if !number.MatchString(s) {
		return s
	}
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return whole
}
