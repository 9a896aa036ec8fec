package holder

import (
	"net/http"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/notice"
	"holdfast/web/page"
)

// linkPage is where the link of a security mail lands. Opening it changes nothing, because
// mail scanners open links too; a person presses.
type linkPage struct {
	page.Frame
	Heading, Lede string
	Press         page.Part
	Stops         []string
	Acts          page.Actions
}

func link(v view, token string, usable bool) *linkPage {
	p := &linkPage{Frame: v.outside("Freeze"), Stops: stops}
	if !usable {
		p.Heading, p.Lede = "This link does not work any more", "It may be too old, or a part of it may be missing. Nothing was changed. You can still freeze:"
		p.Acts = page.Actions{page.Button{Label: "Use a freeze code or get a new link"}.Freezes().To("/emergency"), page.Button{Label: "Sign in"}.Quiet().To("/sign-in")}
		return p
	}
	p.Heading, p.Lede = "Was it not you? Freeze now", "One press, and nothing can leave your account. You do not need to sign in."
	p.Freeze = page.FreezePress
	p.Press = page.Form{ID: "press", Action: "/freeze/" + token, Press: true, Button: page.Button{Label: "Freeze my account", Wide: true}.Freezes()}
	return p
}

// frozenPage shows the receipts to somebody who froze without a session.
type frozenPage struct {
	page.Frame
	Heading    page.Part
	Lede, Next string
	Receipts   *page.Receipts
	Acts       page.Actions
}

func frozen(v view, p protection) *frozenPage {
	out := &frozenPage{Frame: v.outside("Frozen"), Receipts: receipts(p, "/frozen/receipts"),
		Next: "Change the password, remove devices and delete keys. We mail you a code for it, because sign-in is closed while the account is frozen.",
		Acts: page.Actions{page.Button{Label: "Sign in with a mailed code", Icon: "arrow-right"}.To("/code")}}
	if !p.Frozen() {
		out.Title, out.Heading, out.Lede = "No receipts to show", page.Text("There is nothing to show here"), "Receipts can be seen here for half an hour after a press on the same device. Sign in to see how your account stands."
		return out
	}
	out.Freeze = page.FreezeDone
	out.Heading, out.Lede = frozenHeading(p), frozenLede(p)
	out.Refresh = refresh(p)
	return out
}

// getLink changes nothing, whoever or whatever opens it.
func (p *Pages) getLink(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	token := r.PathValue("token")
	_, err := notice.FindLink(r.Context(), p.cfg.DB, p.cfg.DB.Now(), notice.FreezeLinkPurpose, token)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		p.fail(w, r, nil, err)
		return
	}
	p.writeLink(w, r, token, err)
}

func (p *Pages) writeLink(w http.ResponseWriter, r *http.Request, token string, err error) {
	code := http.StatusOK
	if err != nil {
		code = http.StatusNotFound
	}
	p.set.Write(w, r, code, "link", link(p.guest(r), token, err == nil))
}

func (p *Pages) postLink(w http.ResponseWriter, r *http.Request, from evidence.Actor) {
	token := r.PathValue("token")
	frozen, err := p.cfg.Guard.FreezeByLink(r.Context(), from, token)
	switch {
	case err == nil:
		p.showReceipts(w, r, frozen, false)
	case fault.KindOf(err) == fault.NotFound:
		p.writeLink(w, r, token, err)
	default:
		p.fail(w, r, nil, err)
	}
}

func (p *Pages) getFrozen(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	state, err := p.ticketed(r)
	if err != nil {
		p.fail(w, r, nil, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "frozen", frozen(p.guest(r), state))
}

func (p *Pages) getFrozenReceipts(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	state, err := p.ticketed(r)
	if err != nil {
		p.fail(w, r, nil, err)
		return
	}
	if !state.Frozen() {
		p.set.WriteParts(w, r, page.Receipts{})
		return
	}
	p.set.WriteParts(w, r, *receipts(state, "/frozen/receipts"))
}
