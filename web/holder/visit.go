package holder

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/guard"
	"holdfast/permit"
	"holdfast/web/page"
)

// visit is one request of somebody who is signed in.
type visit struct {
	view
	id      account.ID
	by      evidence.Actor
	session account.Session
}

// in serves only somebody with a live session; everybody else is led to sign-in. The session is
// looked at again inside every act, so this look is only for what the page shows.
func (p *Pages) in(serve func(http.ResponseWriter, *http.Request, *visit)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := p.visit(r)
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				p.fail(w, r, nil, err)
				return
			}
			if r.Method == http.MethodPost && r.URL.Path == "/freeze" {
				done(w, r, "/emergency", "not-frozen") // whoever pressed must not believe that it is done
				return
			}
			http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
			return
		}
		serve(w, r, v)
	}
}

// out serves somebody who is not, or need not be, signed in.
func (p *Pages) out(serve func(http.ResponseWriter, *http.Request, evidence.Actor)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { serve(w, r, p.from(r)) }
}

func (p *Pages) from(r *http.Request) evidence.Actor {
	return p.cfg.Accounts.From(p.cfg.Address(r), r.UserAgent())
}

// visit reads who is signed in and how the account stands.
func (p *Pages) visit(r *http.Request) (*visit, error) {
	from := p.from(r)
	s, err := p.cfg.Accounts.Session(r.Context(), p.cookie(r, sessionCookie), from)
	if err != nil {
		return nil, err
	}
	v := &visit{id: s.Account, by: s.Actor(from), session: s}
	v.view = view{Mail: s.Mail, Protective: s.Mode == permit.Protective, Demo: p.demo(), Said: r.URL.Query().Get("said")}
	if v.Protection, err = p.cfg.Guard.Protection(r.Context(), s.Account); err != nil {
		return nil, err
	}
	if p.cfg.Signs.Open != nil {
		if v.Signs, err = p.cfg.Signs.Open(r.Context(), s.Account); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (p *Pages) demo() bool { return p.cfg.Mailbox != nil }

// guest is the view of somebody who is not signed in.
func (p *Pages) guest(r *http.Request) view {
	return view{Demo: p.demo(), Said: r.URL.Query().Get("said")}
}

// The cookies. On https their names carry the prefix with which browsers bind them to this host.
const (
	sessionCookie  = "holdfast"
	deviceCookie   = "holdfast-device"
	codeCookie     = "holdfast-code"
	receiptsCookie = "holdfast-receipts"
)

func (p *Pages) cookie(r *http.Request, name string) string {
	c, err := r.Cookie(p.cookieName(name))
	if err != nil {
		return ""
	}
	return c.Value
}

func (p *Pages) cookieName(name string) string {
	if p.https {
		return "__Host-" + name
	}
	return name
}

// setCookie keeps a value for so long; with 0 until the browser closes, below 0 it is removed.
// Lax, not Strict: a link in a mail has to find the session.
func (p *Pages) setCookie(w http.ResponseWriter, name, value string, lasts time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: p.cookieName(name), Value: value, Path: "/", MaxAge: int(lasts / time.Second), HttpOnly: true, Secure: p.https, SameSite: http.SameSiteLaxMode})
}

func (p *Pages) enter(w http.ResponseWriter, s account.Session) {
	p.setCookie(w, sessionCookie, s.Token.Reveal(), time.Until(s.ExpiresAt))
}

// receiptsLast is how long somebody who froze without a session can look at the receipts.
const receiptsLast = 30 * time.Minute

// ticket lets a browser read the receipts of one account for a while, and nothing else.
type ticket struct {
	Until time.Time `json:"until"`
	// Bare hides what was stopped: a freeze code closes and reveals nothing, not even how much
	// there is to steal.
	Bare bool `json:"bare,omitempty"`
}

const ticketPurpose = "receipts"

// showReceipts hands the browser that pressed a ticket and leads it to the receipts.
func (p *Pages) showReceipts(w http.ResponseWriter, r *http.Request, f guard.Frozenness, bare bool) {
	id := f.Account
	raw, err := json.Marshal(ticket{p.cfg.DB.Now().Add(receiptsLast), bare})
	if err == nil {
		raw, err = p.cfg.DB.Keys().Seal(ticketPurpose, string(id), raw)
	}
	if err != nil {
		// The freeze stands; only the list cannot be shown.
		p.cfg.Log.ErrorContext(r.Context(), "no ticket for receipts", "request", page.RequestID(r.Context()), "error", err)
	} else {
		p.setCookie(w, receiptsCookie, string(id)+"."+base64.RawURLEncoding.EncodeToString(raw), receiptsLast)
	}
	done(w, r, "/frozen", again(f))
}

// again is what a page says to a press on an account that was frozen already.
func again(f guard.Frozenness) string {
	if f.Already {
		return "already"
	}
	return ""
}

// ticketed returns the protection of the account that the browser froze; the zero value when it
// has no valid ticket.
func (p *Pages) ticketed(r *http.Request) (protection, error) {
	id, sealed, ok := strings.Cut(p.cookie(r, receiptsCookie), ".")
	if !ok {
		return protection{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return protection{}, nil
	}
	if raw, err = p.cfg.DB.Keys().Open(ticketPurpose, id, raw); err != nil {
		return protection{}, nil
	}
	var t ticket
	if err := json.Unmarshal(raw, &t); err != nil || p.cfg.DB.Now().After(t.Until) {
		return protection{}, nil
	}
	state, err := p.cfg.Guard.Protection(r.Context(), account.ID(id))
	if t.Bare {
		for i := range state.Receipts {
			state.Receipts[i].Detail, state.Receipts[i].Stopped = "", 0
		}
		state.MayHaveLeft = nil
	}
	return state, err
}

// fail shows what may be said about err, in the frame of the visit if there is one.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	f := page.Failure{Say: []string{fault.Say(err)}}
	switch fault.KindOf(err) {
	case fault.Invalid:
		f.Status, f.Title = http.StatusUnprocessableEntity, "That cannot be done"
	case fault.Denied:
		f.Status, f.Title = http.StatusForbidden, "That is not possible now"
	case fault.NotFound:
		f.Status, f.Title = http.StatusNotFound, "That is not here"
	case fault.Conflict:
		f.Status, f.Title = http.StatusConflict, "That does not fit any more"
	case fault.TooMany:
		f.Status, f.Title = http.StatusTooManyRequests, "Too often for now"
	default:
		p.cfg.Log.ErrorContext(r.Context(), "request failed", "request", page.RequestID(r.Context()), "pattern", r.Pattern, "error", err)
		f = page.Failed
	}
	if until, ok := fault.UntilOf(err); ok {
		f.Until = until
	}
	if fault.CodeOf(err) == "frozen" {
		f.Acts = page.Actions{page.Button{Label: "Sign in with a mailed code"}.To("/code")}
	}
	if v != nil {
		frame := v.frame(f.Title, "")
		f.Frame = &frame
		f.Acts = page.Actions{page.Button{Label: "Go to the overview"}.Quiet().To("/")}
	}
	p.set.Fail(w, r, f)
}

// done leads on after a press, with a code for what to say there.
func done(w http.ResponseWriter, r *http.Request, to, said string) {
	if said != "" {
		to += "?said=" + url.QueryEscape(said)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// status is the status of a page that shows a form again with what is wrong.
func status(err error) int {
	switch fault.KindOf(err) {
	case fault.Denied:
		return http.StatusForbidden
	case fault.TooMany:
		return http.StatusTooManyRequests
	}
	return http.StatusUnprocessableEntity
}

// fields says which field of a form a fault is about.
var fields = map[string]string{
	"mail_form": "mail", "mail_same": "mail", "mail_taken": "mail", "phone_form": "phone", "limit": "percent",
	"label": "label", "key_kind": "kind", "public_key": "public_key", "private_key": "public_key", "scope": "scope",
	"address_list": "addresses", "address_wide": "addresses", "withdraw_needs_addresses": "addresses", "expiry": "days", "too_many_keys": "label",
	"wrong_code": "code", "code_needed": "code", "code_typing": "code", "code_form": "code",
}

// field returns the field that err is about, or otherwise when the fault's code names none.
func field(err error, otherwise string) string {
	if f, ok := fields[fault.CodeOf(err)]; ok {
		return f
	}
	return otherwise
}

// typed reports whether err is about what was typed, so that the form is shown again.
func typed(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Conflict, fault.TooMany:
		return true
	case fault.Denied:
		switch fault.CodeOf(err) {
		case "wrong_password", "wrong_code", "password_needed", "code_needed":
			return true
		}
	}
	return false
}
