package holder

import (
	"holdfast/web/page"
)

// freezePage asks for the press, and afterwards is the receipts.
type freezePage struct {
	page.Frame
	Heading, Lede string
	Ask           bool
	Because       page.Part
	Press         page.Form
	Stops         []string
	Next          page.Part
	Receipts      *page.Receipts
	Left          page.Part
}

// stops is what a press does, said before it.
var stops = []string{
	"Every other device is signed out",
	"No API key works any more",
	"Waiting withdrawals and transfers are cancelled",
	"No order can be placed, and open orders are cancelled",
	"Nobody can change your password, address or limits to get in",
}

func freeze(v view, because *happening, reason string) *freezePage {
	p := &freezePage{Frame: v.quiet("Freeze", ""), Stops: stops}
	if !v.Protection.Frozen() {
		p.Ask = true
		p.Heading, p.Lede = "Freeze your account?", "Everything stops at once, and nothing can leave it. You need no code and no second device."
		p.Press = page.Form{Action: "/freeze", Press: true, Button: page.Button{Label: "Freeze now", Wide: true}.Freezes()}
		if reason != "" {
			p.Press.Hidden = []page.Hidden{{Name: "reason", Value: reason}}
		}
		if because != nil {
			p.Because = timeline([]happening{*because}, true)
		}
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
