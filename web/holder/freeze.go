package holder

import (
	"net/http"

	"holdfast/web/page"
)

// freezePage asks for the press, and afterwards is the receipts.
type freezePage struct {
	page.Frame
	Heading  page.Part
	Lede     string
	Ask      bool
	Because  string
	Press    page.Form
	Stops    []string
	Next     page.Part
	Receipts *page.Receipts
	Left     page.Part
}

// stops is what a press does, said before it.
var stops = []string{
	"Every other device is signed out",
	"No API key works any more",
	"Waiting withdrawals and transfers are cancelled",
	"No order can be placed, and open orders are cancelled",
	"Nobody can change your password, address or limits to get in",
}

func freeze(v view, reason string) *freezePage {
	p := &freezePage{Frame: v.quiet("Freeze", ""), Stops: stops}
	if !v.Protection.Frozen() {
		p.Ask = true
		p.Freeze = page.FreezePress
		p.Heading, p.Lede = page.Text("Freeze your account?"), "Everything stops at once, and nothing can leave it. You need no code and no second device."
		p.Press = page.Form{ID: "press", Action: "/freeze", Press: true, Button: page.Button{Label: "Freeze now", Wide: true}.Freezes()}
		if reason != "" {
			p.Press.Hidden = []page.Hidden{{Name: "reason", Value: reason}}
		}
		p.Because = because[reason]
		return p
	}
	p.Title = "Frozen"
	p.Heading, p.Lede = frozenHeading(v.Protection), frozenLede(v.Protection)
	p.Next = page.Actions{page.Button{Label: "Go on: change your password", Icon: "arrow-right"}.To("/respond")}
	p.Receipts = receipts(v.Protection, "/freeze/receipts")
	p.Left = left(v.Protection.MayHaveLeft)
	p.Refresh = refresh(v.Protection)
	return p
}

// because says the same to the person.
var because = map[string]string{
	"unknown_sign_in": "A sign-in or a device that was not you.",
	"missing_money":   "A movement that was not you.",
	"balance_fell":    "Your balance fell, and it was not you.",
	"new_source":      "A withdrawal by a new device or key that was not you.",
	"other":           "A change that was not you.",
}

// reasons are what a press may say about itself; anything else is dropped.
var reasons = map[string]string{
	"unknown_sign_in": "a sign-in or device that was not the holder's",
	"missing_money":   "a movement that was not the holder's",
	"balance_fell":    "the balance fell",
	"new_source":      "a withdrawal by a new device or key",
	"other":           "a change that was not the holder's",
}

func (p *Pages) getFreeze(w http.ResponseWriter, r *http.Request, v *visit) {
	reason := r.URL.Query().Get("because")
	if reasons[reason] == "" {
		reason = ""
	}
	p.set.Write(w, r, http.StatusOK, "freeze", freeze(v.view, reason))
}

func (p *Pages) postFreeze(w http.ResponseWriter, r *http.Request, v *visit) {
	f, err := p.cfg.Guard.Freeze(r.Context(), v.by, v.id, reasons[r.PostFormValue("reason")])
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	if r.PostFormValue("next") == "respond" {
		done(w, r, "/respond", again(f))
		return
	}
	done(w, r, "/freeze", again(f))
}

// getReceipts is what the page's script fetches while receipts are arriving.
func (p *Pages) getReceipts(w http.ResponseWriter, r *http.Request, v *visit) {
	if !v.Protection.Frozen() {
		p.set.WriteParts(w, r, page.Receipts{})
		return
	}
	if r.URL.Query().Has("folded") {
		p.set.WriteParts(w, r, *folded(v.Protection))
		return
	}
	p.set.WriteParts(w, r, *receipts(v.Protection, "/freeze/receipts"))
}
