package holder

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"holdfast/ledger"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/web/page"
)

// activityPage is what moved, who signed in and what was changed.
type activityPage struct {
	page.Frame
	Kind  string
	Kinds []page.Way
	Days  []activityDay
	Empty page.Empty
	Older page.Part
}

type activityDay struct {
	Day     page.Moment
	Entries page.Timeline
}

var activityKinds = []page.Way{
	{Href: "/activity", Label: "All"},
	{Href: "/activity?kind=movement", Label: "Movements"},
	{Href: "/activity?kind=sign_in", Label: "Sign-ins"},
	{Href: "/activity?kind=change", Label: "Changes"},
}

func activity(v view, kind string, hs []happening, older string) *activityPage {
	p := &activityPage{Frame: v.frame("Activity", "/activity"), Kind: "All", Kinds: activityKinds,
		Empty: page.Empty{Icon: "inbox", Title: "Nothing here yet", Text: "What happens from now on is recorded here and cannot be removed."}}
	switch kind {
	case "movement":
		p.Kind = "Movements"
	case "sign_in":
		p.Kind = "Sign-ins"
	case "change":
		p.Kind = "Changes"
	}
	var day []happening
	flush := func() {
		if len(day) > 0 {
			p.Days = append(p.Days, activityDay{page.Moment{At: day[0].At, Only: "date"}, timeline(day, v.Protection.Frozen())})
			day = nil
		}
	}
	for _, h := range hs {
		if len(day) > 0 && !sameDay(day[0].At, h.At) {
			flush()
		}
		day = append(day, h)
	}
	flush()
	if older != "" {
		p.Older = page.Button{Label: "Show older"}.Quiet().To(older)
	}
	return p
}

func sameDay(a, b time.Time) bool {
	return a.UTC().Truncate(24 * time.Hour).Equal(b.UTC().Truncate(24 * time.Hour))
}

// timeline shows happenings; those that a thief could have done carry "This wasn't me", as
// long as the account is not frozen yet.
func timeline(hs []happening, frozen bool) page.Timeline {
	var out page.Timeline
	for i := 0; i < len(hs); i++ {
		h := hs[i]
		if n := oneTrade(hs[i:]); n > 1 {
			e := tradeEntry(hs[i : i+n])
			if !frozen {
				e.Acts = wasNotMe(e, "missing_money")
			}
			out = append(out, e)
			i += n - 1
			continue
		}
		var e page.Entry
		because := ""
		switch h.Kind {
		case "movement":
			e, because = movementEntry(*h.Movement)
		case "sign_in":
			e.Icon, e.Title, because = "log-in", "Signed in", "unknown_sign_in"
			if h.Name == permit.EnterProtective {
				e.Title, because = "Signed in with a mailed code", ""
			}
		default:
			e.Icon, e.Title, because = changeWords(h.Name)
			if h.About != "" {
				e.Title += ": " + page.Clip(h.About, 120)
			}
		}
		e.At = page.Moment{At: h.At}
		if from := h.from(); from != "" {
			e.Lines = append(e.Lines, page.Text(from))
		}
		if because != "" && !frozen {
			e.Acts = wasNotMe(e, because)
		}
		out = append(out, e)
	}
	return out
}

func wasNotMe(e page.Entry, because string) page.Actions {
	return page.Actions{page.Button{Label: "This wasn’t me", Icon: "user-x"}.Quiet().Smaller().On(": " + e.Title).To("/freeze?because=" + because)}
}

// oneTrade counts how many of the first happenings are legs and fees of one trade: they come from
// the platform as movements of the same moment.
func oneTrade(hs []happening) int {
	n := 0
	for n < len(hs) && hs[n].Movement != nil && hs[n].At.Equal(hs[0].At) && (hs[n].Movement.Kind == ledger.Trade || hs[n].Movement.Kind == ledger.Fee) {
		n++
	}
	return n
}

// tradeEntry says a trade in one entry: what came, what went, the balances, and the fees.
func tradeEntry(hs []happening) page.Entry {
	e := page.Entry{Icon: "repeat", Title: "Trade", At: page.Moment{At: hs[0].At}}
	var legs []string
	var fees []page.Part
	for _, h := range hs {
		m := *h.Movement
		said := page.Amount{Number: m.Delta.String(), Signed: true}.Grouped() + "\u00a0" + m.Asset
		one, _ := movementEntry(m)
		if m.Kind == ledger.Fee {
			fees = append(fees, page.Text("Fee "+said))
			continue
		}
		legs = append(legs, said)
		e.Lines = append(e.Lines, one.Lines[0])
		if one.Tone != page.Plain {
			e.Tone, e.Lines = one.Tone, append(e.Lines, one.Lines[len(one.Lines)-1])
		}
	}
	e.Lines = append(e.Lines, fees...)
	if len(legs) > 0 {
		e.Title = "Trade: " + strings.Join(legs, ", ")
	}
	return e
}

// from says who and from where in one line: "Firefox on Windows, Lyon (FR), 192.0.2.14".
func (h happening) from() string {
	var said []string
	for _, s := range []string{h.By, h.Device, h.Place, h.Address} {
		if s != "" {
			said = append(said, page.Clip(s, 120))
		}
	}
	return strings.Join(said, ", ")
}

func movementEntry(m movement) (page.Entry, string) {
	a := page.Amount{Number: m.Delta.String(), Signed: true}
	e := page.Entry{Icon: "arrow-down-left"}
	because := ""
	if a.Out() {
		e.Icon, because = "arrow-up-right", "missing_money"
	}
	name := map[ledger.Kind]string{ledger.Deposit: "Deposit", ledger.Withdrawal: "Withdrawal", ledger.TransferIn: "Transfer received", ledger.TransferOut: "Transfer sent",
		ledger.Trade: "Trade", ledger.Fee: "Fee", ledger.Reversal: "Reversal"}[m.Kind]
	if name == "" {
		name = "Movement"
	}
	if m.Kind == ledger.Trade {
		e.Icon = "repeat"
	}
	e.Title = name + ": " + a.Grouped() + "\u00a0" + m.Asset
	e.Lines = []page.Part{page.Text("Balance " + page.Amount{Number: m.Before.String()}.Grouped() + " → " + page.Amount{Number: m.After.String()}.Grouped() + "\u00a0" + m.Asset)}
	if m.Detail != "" {
		e.Lines = append(e.Lines, page.Text(page.Clip(m.Detail, 200)))
	}
	if m.Gap {
		e.Tone = page.Wait
		e.Lines = append(e.Lines, page.Text("The balance before it is not what the last movement left. Something is missing from this list."))
	}
	return e, because
}

// changeWords says an act in the evidence as people do, and whether it is a reason to freeze.
func changeWords(act string) (icon, words, because string) {
	switch act {
	case "freeze":
		return "snowflake", "Account frozen", ""
	case "approve_restore":
		return "shield", "Account opened again", "other"
	case "propose_restore":
		return "shield", "Opening the account was proposed", "other"
	case "change_password":
		return "lock", "Password changed", "other"
	case "reset_password":
		return "lock", "Password reset by mail", "other"
	case "create_key":
		return "key-round", "API key made", "other"
	case "enable_key":
		return "key-round", "API key put to work again", "other"
	case "delete_key":
		return "trash-2", "API key deleted", ""
	case "delete_all_keys":
		return "trash-2", "All API keys deleted", ""
	case "remove_device":
		return "monitor", "Device removed", ""
	case "remove_all_devices":
		return "monitor", "All other devices removed", ""
	case "remember_device":
		return "monitor", "Device remembered", "unknown_sign_in"
	case "change_mail":
		return "mail", "Change of mail address asked for", "other"
	case "set_phone":
		return "smartphone", "Phone number set", "other"
	case "set_limit":
		return "scale", "Alert limit changed", "other"
	case "new_freeze_code":
		return "printer", "New freeze code made", "other"
	case "verify_mail":
		return "mail", "Mail address confirmed", ""
	case "confirm_mail":
		return "mail", "New mail address confirmed", "other"
	case "register_account":
		return "shield", "Account made by the platform", ""
	case "register_credential":
		return "key-round", "Key or session made at the platform", "other"
	case "end_credential":
		return "trash-2", "Key or session ended at the platform", ""
	case "sign_out":
		return "log-out", "Signed out", ""
	case "request_withdrawal":
		return "arrow-up-right", "Withdrawal requested", "missing_money"
	case "request_transfer":
		return "arrow-up-right", "Transfer requested", "missing_money"
	case "confirm_withdrawal":
		return "arrow-up-right", "Withdrawal confirmed", "missing_money"
	case "settle_withdrawal":
		return "arrow-up-right", "Withdrawal sent", "missing_money"
	case "fail_withdrawal":
		return "x", "Withdrawal not sent", ""
	case "place_hold":
		return "hourglass", "Withdrawals held", ""
	case "raise_sign":
		return "triangle-alert", "Something unusual was noticed", "other"
	case "dismiss_sign":
		return "check", "You said it was you", "other"
	}
	return "info", "Account changed", ""
}

// perPage is how many happenings one page shows.
const perPage = 30

func (p *Pages) getActivity(w http.ResponseWriter, r *http.Request, v *visit) {
	kind := r.URL.Query().Get("kind")
	switch kind {
	case "", "movement", "sign_in", "change":
	default:
		kind = ""
	}
	list, next, more, err := happenings(r.Context(), p.cfg.DB, v.id, kind, parseSince(r.URL.Query().Get("before")), perPage)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	older := ""
	if more {
		older = "/activity?" + url.Values{"kind": {kind}, "before": {next.String()}}.Encode()
	}
	p.set.Write(w, r, http.StatusOK, "activity", activity(v.view, kind, list, older))
}

// String and parseSince carry a place in an address; what cannot be read begins at the newest.
func (s since) String() string {
	return strconv.FormatInt(store.Micros(s.place.At), 10) + "." + strconv.FormatInt(s.place.Seq, 10) + "." + strconv.FormatInt(s.seq, 10)
}

func parseSince(text string) since {
	var n [3]int64
	for i, part := range strings.SplitN(text, ".", 3) {
		v, err := strconv.ParseInt(part, 10, 64)
		if err != nil || v < 0 {
			return since{}
		}
		n[i] = v
	}
	s := since{seq: n[2]}
	if n[0] > 0 {
		s.place = ledger.Place{At: store.Time(n[0]), Seq: n[1]}
	}
	return s
}
