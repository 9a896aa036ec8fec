package holder

import (
	"fmt"
	"net/http"

	"holdfast/account"
	"holdfast/web/page"
)

// The guided response: freeze, change the password, remove devices, delete API keys. One
// thing on each page; the receipts stay in sight.

// progress is how far the four steps have come.
func progress(now int) page.Steps {
	s := page.Steps{Name: "Securing your account"}
	for i, label := range []string{"Freeze", "Password", "Devices", "API keys"} {
		state := ""
		switch {
		case i+1 < now:
			state = "done"
		case i+1 == now:
			state = "now"
		}
		s.List = append(s.List, page.Step{Label: label, State: state})
	}
	return s
}

// respondPage is the first step.
type respondPage struct {
	page.Frame
	Steps    page.Steps
	Heading  page.Part
	Lede     string
	Press    *page.Form
	Next     page.Part
	Receipts *page.Receipts
}

func respond(v view) *respondPage {
	p := &respondPage{Frame: v.quiet("Secure your account", ""), Steps: progress(1)}
	if !v.Protection.Frozen() {
		p.Freeze = page.FreezePress
		p.Heading, p.Lede = page.Text("First, freeze"), "Nothing can leave your account while you do the rest in peace."
		p.Press = &page.Form{ID: "press", Action: "/freeze", Press: true, Hidden: []page.Hidden{{Name: "next", Value: "respond"}}, Button: page.Button{Label: "Freeze now", Wide: true}.Freezes()}
		return p
	}
	p.Steps = progress(2)
	p.Heading, p.Lede = frozenHeading(v.Protection), frozenLede(v.Protection)
	p.Next = page.Actions{page.Button{Label: "Next: change your password", Icon: "arrow-right"}.To("/respond/password")}
	p.Receipts = receipts(v.Protection, "/freeze/receipts")
	p.Refresh = refresh(v.Protection)
	return p
}

// respondPasswordPage is the second step.
type respondPasswordPage struct {
	page.Frame
	Steps page.Steps
	passwordForm
	Receipts *page.Receipts
}

func respondPassword(v view, f passwordForm) *respondPasswordPage {
	return &respondPasswordPage{Frame: v.quiet("Change your password", ""), Steps: progress(2), passwordForm: f, Receipts: folded(v.Protection)}
}

// respondDevicesPage is the third step.
type respondDevicesPage struct {
	page.Frame
	Steps    page.Steps
	Lede     string
	Acts     page.Actions
	Devices  page.Cards
	Receipts *page.Receipts
}

func respondDevices(v view, ds []device) *respondDevicesPage {
	p := &respondDevicesPage{Frame: v.quiet("Remove devices", ""), Steps: progress(3), Receipts: folded(v.Protection)}
	others := 0
	for _, d := range ds {
		if !d.This {
			others++
		}
	}
	if others == 0 {
		p.Lede = "No other device is signed in or remembered. This one stays."
		p.Acts = page.Actions{page.Button{Label: "Next: API keys", Icon: "arrow-right"}.To("/respond/keys")}
	} else {
		p.Lede = "They are signed out and forgotten, so that each has to sign in anew. This one stays."
		p.Acts = page.Actions{
			page.Form{Action: "/respond/devices", Button: page.Button{Label: "Remove " + count(others, "device", "devices"), Icon: "trash-2"}},
			page.Button{Label: "Skip"}.Quiet().To("/respond/keys"),
		}
	}
	p.Devices = deviceCards(ds, false)
	return p
}

// respondKeysPage is the fourth step.
type respondKeysPage struct {
	page.Frame
	Steps    page.Steps
	Lede     string
	Acts     page.Actions
	Keys     page.Cards
	Receipts *page.Receipts
}

func respondKeys(v view, ks []key) *respondKeysPage {
	p := &respondKeysPage{Frame: v.quiet("Delete API keys", ""), Steps: progress(4), Receipts: folded(v.Protection)}
	if len(ks) == 0 {
		p.Lede = "There are no API keys. Nothing can act for you."
		p.Acts = page.Actions{page.Button{Label: "Done", Icon: "arrow-right"}.To("/respond/done")}
		return p
	}
	p.Lede = "The freeze has suspended them. Delete them all, unless you know each one; new ones are quickly made."
	p.Acts = page.Actions{
		page.Form{Action: "/respond/keys", Button: page.Button{Label: "Delete " + count(len(ks), "key", "all keys"), Icon: "trash-2"}},
		page.Button{Label: "Skip"}.Quiet().To("/respond/done"),
	}
	if len(ks) > 1 {
		p.Acts[0] = page.Form{Action: "/respond/keys", Button: page.Button{Label: fmt.Sprintf("Delete all %d keys", len(ks)), Icon: "trash-2"}}
	}
	p.Keys = keyCards(ks, false, true)
	return p
}

// respondDonePage sums up.
type respondDonePage struct {
	page.Frame
	Steps         page.Steps
	Heading, Lede string
	Done          page.Timeline
	Receipts      *page.Receipts
	Acts          page.Actions
}

// reached is what the response has reached, as the rooms show it.
type reached struct {
	PasswordChanged bool
	OtherDevices    int
	Keys            int
}

func respondDone(v view, d reached) *respondDonePage {
	p := &respondDonePage{Frame: v.quiet("Done", ""), Steps: progress(5), Receipts: folded(v.Protection)}
	p.Refresh = refresh(v.Protection)
	p.Heading, p.Lede = "You have done what you can", "Your account is frozen and cleaned up. Nothing can leave it."
	ok := func(did bool, icon, yes, no, href string) page.Entry {
		if did {
			return page.Entry{Icon: "check", Tone: page.Safe, Title: yes}
		}
		return page.Entry{Icon: icon, Tone: page.Wait, Title: no, Acts: page.Actions{page.Button{Label: "Do it now"}.Quiet().Smaller().On(no).To(href)}}
	}
	p.Done = page.Timeline{
		ok(v.Protection.Frozen(), "snowflake", "Account frozen", "The account is not frozen", "/freeze"),
		ok(d.PasswordChanged, "lock", "Password changed", "The password is still the old one", "/respond/password"),
		ok(d.OtherDevices == 0, "monitor", "No other device is left", count(d.OtherDevices, "other device is", "other devices are")+" left", "/respond/devices"),
		ok(d.Keys == 0, "key-round", "No API key is left", count(d.Keys, "API key is", "API keys are")+" left, suspended", "/respond/keys"),
	}
	for i, e := range p.Done {
		if e.Tone == page.Wait {
			p.Steps.List[i].State = ""
			p.Heading, p.Lede = "Almost done", "What is still open is marked. Nothing can leave your account meanwhile."
		}
	}
	if !v.Protection.Frozen() {
		p.Heading, p.Lede = "Your account is not frozen", "Freeze it before you do the rest."
	}
	p.Acts = page.Actions{page.Button{Label: "Look at the activity"}.To("/activity"), page.Button{Label: "Overview"}.Quiet().To("/")}
	return p
}

func (p *Pages) getRespond(w http.ResponseWriter, r *http.Request, v *visit) {
	p.set.Write(w, r, http.StatusOK, "respond", respond(v.view))
}

func (p *Pages) getRespondPassword(w http.ResponseWriter, r *http.Request, v *visit) {
	sent := r.URL.Query().Get("said") == "code-sent"
	p.set.Write(w, r, http.StatusOK, "respond-password", respondPassword(v.view, newPasswordForm(v.view, "/respond/password", sent, nil)))
}

func (p *Pages) postRespondPassword(w http.ResponseWriter, r *http.Request, v *visit) {
	_, wrong, err := p.changePassword(r, v)
	switch {
	case err == nil:
		done(w, r, "/respond/devices", "")
	case wrong != nil:
		p.set.Write(w, r, status(err), "respond-password", respondPassword(v.view, newPasswordForm(v.view, "/respond/password", true, wrong)))
	default:
		p.fail(w, r, v, err)
	}
}

func (p *Pages) postRespondCode(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := p.cfg.Accounts.RequestPasswordCode(r.Context(), v.by, v.id); err != nil {
		p.fail(w, r, v, err)
		return
	}
	done(w, r, "/respond/password", "code-sent")
}

func (p *Pages) getRespondDevices(w http.ResponseWriter, r *http.Request, v *visit) {
	ds, err := p.cfg.Accounts.Devices(r.Context(), v.id, v.session.ID)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "respond-devices", respondDevices(v.view, ds))
}

func (p *Pages) postRespondDevices(w http.ResponseWriter, r *http.Request, v *visit) {
	if _, err := p.cfg.Accounts.RemoveAllDevices(r.Context(), v.by, v.id, true); err != nil {
		p.fail(w, r, v, err)
		return
	}
	done(w, r, "/respond/keys", "")
}

func (p *Pages) getRespondKeys(w http.ResponseWriter, r *http.Request, v *visit) {
	ks, err := account.ListKeys(r.Context(), p.cfg.DB, v.id)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "respond-keys", respondKeys(v.view, ks))
}

func (p *Pages) postRespondKeys(w http.ResponseWriter, r *http.Request, v *visit) {
	if _, err := p.cfg.Accounts.DeleteAllKeys(r.Context(), v.by, v.id); err != nil {
		p.fail(w, r, v, err)
		return
	}
	done(w, r, "/respond/done", "")
}

func (p *Pages) getRespondDone(w http.ResponseWriter, r *http.Request, v *visit) {
	state, err := p.reached(r, v)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "respond-done", respondDone(v.view, state))
}

// reached reads how far the response has come: what is true now, not what was pressed.
func (p *Pages) reached(r *http.Request, v *visit) (reached, error) {
	ctx := r.Context()
	ds, err := p.cfg.Accounts.Devices(ctx, v.id, v.session.ID)
	if err != nil {
		return reached{}, err
	}
	ks, err := account.ListKeys(ctx, p.cfg.DB, v.id)
	if err != nil {
		return reached{}, err
	}
	profile, err := account.ReadProfile(ctx, p.cfg.DB, v.id)
	if err != nil {
		return reached{}, err
	}
	out := reached{Keys: len(ks)}
	for _, d := range ds {
		if !d.This {
			out.OtherDevices++
		}
	}
	out.PasswordChanged = v.Protection.Frozen() && profile.Facts.PasswordChangedAt.After(v.Protection.FrozenAt)
	return out, nil
}
