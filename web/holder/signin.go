package holder

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/web/page"
)

// signInPage signs in, and leads to what is open to those who cannot.
type signInPage struct {
	page.Frame
	Mend     page.Summary
	On       onward
	Mail     page.Field
	Password page.Field
	Remember page.Choice
}

// onward is where a sign-in goes on to; its zero value is nowhere else.
type onward struct {
	// Service is the platform's name, To an address that it has registered.
	Service, To string
	// State is the platform's own and comes back to it as it was: by it the platform knows that
	// the browser which comes back is the one that it sent.
	State string
}

func signIn(v view, mail, wrong string, on onward) *signInPage {
	p := &signInPage{Frame: v.outside("Sign in"), On: on,
		Mail:     mailField("mail", mail, ""),
		Password: page.Field{Name: "password", Label: "Password", Type: "password", Autocomplete: "current-password", Required: true, Max: 1000},
		Remember: page.Choice{Name: "remember", Legend: "Is this your own device?", Many: true, Options: []page.Option{{Value: "yes", Label: "Remember this device", Hint: "Then a sign-in from it is no surprise to us."}}},
	}
	p.Mail.Autocomplete = "username"
	if wrong != "" {
		p.Mend = page.Summary{{Field: p.Mail.ID(), Say: wrong}}
	}
	return p
}

// goOnPage asks somebody who is signed in already whether to go on to the platform.
type goOnPage struct {
	page.Frame
	Lede  string
	Press page.Form
}

func goOn(v view, on onward) *goOnPage {
	return &goOnPage{Frame: v.frame("Go on to "+on.Service+"?", ""), Lede: "You are signed in as " + v.Mail + ".",
		Press: page.Form{Action: "/sign-in/go-on", Hidden: []page.Hidden{{Name: "return_to", Value: on.To}, {Name: "state", Value: on.State}}, Button: page.Button{Label: "Go on", Icon: "arrow-right"}}}
}

// onward reads to which platform a sign-in goes on. It is a fault when the address is not one that
// a service has registered, letter by letter.
func (p *Pages) onward(w http.ResponseWriter, r *http.Request, given url.Values) (on onward, err error) {
	on = onward{To: given.Get("return_to"), State: given.Get("state")}
	if on.To == "" {
		return onward{}, nil
	}
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~" // RFC 3986 section 2.3
	if len(on.State) > 128 || strings.Trim(on.State, plain) != "" {
		return onward{}, fault.New(fault.Invalid, "state", "The page that sent you here made a mistake in its address. Go back to it and start again.")
	}
	if on.Service, err = account.FindReturnTo(r.Context(), p.cfg.DB, on.To); err != nil {
		return onward{}, err
	}
	u, err := url.Parse(on.To)
	if err != nil {
		return onward{}, fault.Wrap(fault.NotFound, "return_to", "The page that sent you here is not one that we know.", err)
	}
	page.AllowFormTo(w, u.Scheme+"://"+u.Host)
	return on, nil
}

func (p *Pages) getSignIn(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	on, err := p.onward(w, r, r.URL.Query())
	if err != nil {
		p.fail(w, r, nil, err)
		return
	}
	v, err := p.visit(r)
	switch {
	case err != nil && fault.KindOf(err) == fault.Internal:
		p.fail(w, r, nil, err)
	case err == nil && on.Service == "":
		done(w, r, "/", "")
	case err == nil && !v.Protective && !v.Protection.Frozen():
		p.set.Write(w, r, http.StatusOK, "go-on", goOn(v.view, on))
	case err == nil:
		done(w, r, "/", "")
	default:
		p.set.Write(w, r, http.StatusOK, "sign-in", signIn(p.guest(r), "", "", on))
	}
}

func (p *Pages) postSignIn(w http.ResponseWriter, r *http.Request, from evidence.Actor) {
	mail := r.PostFormValue("mail") // reads the form
	on, err := p.onward(w, r, r.PostForm)
	if err != nil {
		p.fail(w, r, nil, err)
		return
	}
	s, err := p.cfg.Accounts.SignIn(r.Context(), from, account.Entry{Mail: mail, Password: r.PostFormValue("password"), Remembered: p.cookie(r, deviceCookie)})
	switch {
	case err == nil:
	case fault.CodeOf(err) == "frozen_sign_in":
		done(w, r, "/code", "frozen")
		return
	case typed(err):
		p.set.Write(w, r, status(err), "sign-in", signIn(p.guest(r), page.Clip(mail, 254), fault.Say(err), on))
		return
	default:
		p.fail(w, r, nil, err)
		return
	}
	p.enter(w, s)
	by := s.Actor(from)
	if r.PostFormValue("remember") == "yes" {
		p.remember(w, r, by, s.Account)
	}
	if on.Service == "" {
		done(w, r, "/", "")
		return
	}
	p.handOver(w, r, nil, by, s.Account, on)
}

// remember keeps the device's secret in the browser. That it could not be kept costs a mail at the
// next sign-in and nothing else, so the sign-in goes on.
func (p *Pages) remember(w http.ResponseWriter, r *http.Request, by evidence.Actor, id account.ID) {
	secret, err := p.cfg.Accounts.Remember(r.Context(), by, id)
	if err != nil {
		p.cfg.Log.WarnContext(r.Context(), "device not remembered", "request", page.RequestID(r.Context()), "error", err)
		return
	}
	p.setCookie(w, deviceCookie, secret.Reveal(), 365*24*time.Hour)
}

func (p *Pages) postGoOn(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := r.ParseForm(); err != nil {
		p.fail(w, r, v, fault.Wrap(fault.Invalid, "form", "The form could not be read. Nothing was changed.", err))
		return
	}
	on, err := p.onward(w, r, r.PostForm)
	if err == nil && on.Service == "" {
		err = errors.New("go on without an address")
	}
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.handOver(w, r, v, v.by, v.id, on)
}

// handOver sends the browser back to the platform with a one-time code.
func (p *Pages) handOver(w http.ResponseWriter, r *http.Request, v *visit, by evidence.Actor, id account.ID, on onward) {
	code, err := p.cfg.Accounts.HandOver(r.Context(), by, id, on.Service)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	u, err := url.Parse(on.To)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	q := u.Query()
	q.Set("code", code.Reveal())
	if on.State != "" {
		q.Set("state", on.State)
	}
	u.RawQuery = q.Encode()
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

func (p *Pages) postSignOut(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := p.cfg.Accounts.SignOut(r.Context(), v.by, v.id); err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.setCookie(w, sessionCookie, "", -time.Second)
	done(w, r, "/sign-in", "signed-out")
}
