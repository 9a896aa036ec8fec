package holder

import (
	"fmt"
	"net/http"

	"holdfast/account"
	"holdfast/guard"
	"holdfast/ledger"
	"holdfast/web/page"
)

// overviewPage answers "what is blocked, until when, why, what lifts it", and leads on.
type overviewPage struct {
	page.Frame
	Heading, Lede string
	// Well shows the mark of an account that has nothing to wait for.
	Well     bool
	Next     page.Part
	Receipts *page.Receipts
	Left     page.Part
	// Going is what waits to leave.
	Going    page.Part
	Balances page.Part
	Rows     page.LinkRows
	Lately   page.Timeline
	Quiet    page.Empty
}

// summary is what the overview tells of the rest.
type summary struct {
	Devices, Keys int
	LastSignIn    happening
	Going         []withdrawal
	Balances      []balance
	Lately        []happening
}

func overview(v view, s summary) *overviewPage {
	p := &overviewPage{Frame: v.frame("Overview", "/"), Quiet: page.Empty{Icon: "inbox", Title: "Nothing yet", Text: "Sign-ins, movements and changes appear here as they happen."}}
	switch {
	case v.Protection.Frozen():
		p.Heading, p.Lede = "Next: make it yours again", "Change the password, remove devices and delete API keys. It takes about five minutes, and nothing can leave meanwhile."
		p.Next = page.Actions{page.Button{Label: "Start with the password", Icon: "arrow-right"}.To("/respond")}
		p.Receipts = receipts(v.Protection, "/freeze/receipts")
		p.Left = left(v.Protection.MayHaveLeft)
		p.Refresh = refresh(v.Protection)
	case len(v.Protection.Blocks) > 0:
		p.Heading, p.Lede = "Some things wait", "Everything else works as usual."
	case len(v.Signs) > 0:
		p.Heading, p.Lede = "Was it you?", "Look at what is said above. If it was not you, freeze now and ask later."
	default:
		p.Well = true
		p.Heading, p.Lede = "Nothing is blocked", "Everything works as usual. If anything looks wrong, freeze first and ask later."
	}
	p.Going = going(s.Going)
	if len(s.Going) > 0 && p.Well {
		p.Well = false
		p.Heading, p.Lede = "Something waits to leave", "If it was not you who asked for it, freeze now. It then stays here."
	}
	if len(s.Balances) > 0 {
		var f page.Facts
		for _, b := range s.Balances {
			f = append(f, page.Fact{Term: b.Asset, Value: page.Amount{Number: b.Amount.String()}})
		}
		p.Balances = page.Pairs(f)
	}
	p.Rows = page.LinkRows{
		{Href: "/devices", Icon: "monitor", Label: count(s.Devices, "device", "devices"), Text: lastSignIn(s.LastSignIn)},
		{Href: "/keys", Icon: "key-round", Label: count(s.Keys, "API key", "API keys"), Text: keysLine(s.Keys, v.Protection.Frozen())},
		{Href: "/security", Icon: "shield", Label: "Security", Text: "Password, freeze code, limits"},
	}
	p.Lately = timeline(s.Lately, v.Protection.Frozen())
	p.Lately = p.Lately[:min(len(p.Lately), lately)]
	return p
}

// lately is how many happenings the overview shows.
const lately = 3

// goingShown is how many waiting withdrawals the overview shows one by one.
const goingShown = 3

// going lists withdrawals that wait to leave: what a freeze still stops.
func going(ws []withdrawal) page.Part {
	var out page.Timeline
	for _, w := range ws {
		if len(out) == goingShown {
			out = append(out, page.Entry{Icon: "hourglass", Tone: page.Wait, Title: fmt.Sprintf("And %d more", len(ws)-goingShown)})
			break
		}
		e := page.Entry{Icon: "hourglass", Tone: page.Wait, Title: page.Amount{Number: w.Amount.String()}.Grouped() + "\u00a0" + w.Asset, At: page.Moment{At: w.RequestedAt}, Lines: []page.Part{page.Address(w.Address)}}
		if w.CredentialKind == account.KeyCredential {
			e.Lines = append(e.Lines, page.Text("Asked for by API key "+page.Clip(w.Credential, 80)))
		}
		out = append(out, e)
	}
	if out == nil {
		return nil
	}
	return out
}

func lastSignIn(h happening) string {
	if h.At.IsZero() {
		return "See where you are signed in"
	}
	return "Last sign-in: " + h.from()
}

func keysLine(n int, frozen bool) string {
	switch {
	case n == 0:
		return "Programs cannot act for you"
	case frozen:
		return "Suspended by the freeze"
	}
	return "Programs that can act for you"
}

func (p *Pages) getOverview(w http.ResponseWriter, r *http.Request, v *visit) {
	s, err := p.summary(r, v)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "overview", overview(v.view, s))
}

// summary reads what the overview tells of the rest.
func (p *Pages) summary(r *http.Request, v *visit) (summary, error) {
	ctx := r.Context()
	ds, err := p.cfg.Accounts.Devices(ctx, v.id, v.session.ID)
	if err != nil {
		return summary{}, err
	}
	ks, err := account.ListKeys(ctx, p.cfg.DB, v.id)
	if err != nil {
		return summary{}, err
	}
	s := summary{Devices: len(ds), Keys: len(ks)}
	if s.Balances, err = ledger.Balances(ctx, p.cfg.DB, v.id); err != nil {
		return summary{}, err
	}
	if s.Lately, _, _, err = happenings(ctx, p.cfg.DB, v.id, "", since{}, 4*lately); err != nil {
		return summary{}, err
	}
	ws, err := p.cfg.Guard.Withdrawals(ctx, v.id, 50)
	if err != nil {
		return summary{}, err
	}
	for _, x := range ws {
		if x.State == guard.Requested {
			s.Going = append(s.Going, x)
		}
	}
	ins, _, _, err := happenings(ctx, p.cfg.DB, v.id, "sign_in", since{}, 1)
	if len(ins) > 0 {
		s.LastSignIn = ins[0]
	}
	return s, err
}

func (p *Pages) postDismiss(w http.ResponseWriter, r *http.Request, v *visit) {
	if p.cfg.Signs.Dismiss != nil {
		if err := p.cfg.Signs.Dismiss(r.Context(), v.by, v.id, r.PostFormValue("sign")); err != nil {
			p.fail(w, r, v, err)
			return
		}
	}
	done(w, r, "/", "sign-dismissed")
}
