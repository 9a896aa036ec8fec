package holder

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/web/page"
)

// codePage signs in to a frozen account with a mailed code: first the address, then the code.
type codePage struct {
	page.Frame
	Mend          page.Summary
	Heading, Lede string
	Action        string
	Mail, Code    *page.Field
	Press         page.Button
	Again         bool
}

func codeAsk(v view, mail, wrong string) *codePage {
	f := mailField("mail", mail, wrong)
	return &codePage{Frame: v.outside("Sign in with a mailed code"), Heading: "Sign in with a mailed code", Action: "/code",
		Lede: "For a frozen account. You can look at everything, remove devices and keys, and change the password. Nothing can be opened.",
		Mail: &f, Press: page.Button{Label: "Mail me the code"}, Mend: page.Summarize(f)}
}

func codeEnter(v view, wrong string) *codePage {
	f := mailedCode(wrong)
	f.Focus = true
	return &codePage{Frame: v.outside("Type the code"), Heading: "Type the code", Action: "/code/enter", Again: true,
		Lede: "If there is an account with this address, a mail with a code is on its way. The code lasts 10 minutes and works only in this browser.",
		Code: &f, Press: page.Button{Label: "Sign in"}, Mend: page.Summarize(f)}
}

// codeLasts is how long the browser keeps what belongs to a mailed code; the room account decides
// how long the code itself works.
const codeLasts = 15 * time.Minute

func (p *Pages) getCode(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	p.set.Write(w, r, http.StatusOK, "code", codeAsk(p.guest(r), "", ""))
}

// postCode has a code mailed. The answer is the same for every address. The code works only
// together with what this browser now keeps.
func (p *Pages) postCode(w http.ResponseWriter, r *http.Request, from evidence.Actor) {
	mail := r.PostFormValue("mail")
	nonce, err := p.cfg.Accounts.RequestSignInCode(r.Context(), from, mail)
	switch {
	case err == nil:
		p.setCookie(w, codeCookie, base64.RawURLEncoding.EncodeToString([]byte(mail))+"."+nonce.Reveal(), codeLasts)
		done(w, r, "/code/enter", "")
	case typed(err):
		p.set.Write(w, r, status(err), "code", codeAsk(p.guest(r), page.Clip(mail, 254), fault.Say(err)))
	default:
		p.fail(w, r, nil, err)
	}
}

func (p *Pages) getCodeEnter(w http.ResponseWriter, r *http.Request, _ evidence.Actor) {
	if p.cookie(r, codeCookie) == "" {
		done(w, r, "/code", "")
		return
	}
	p.set.Write(w, r, http.StatusOK, "code", codeEnter(p.guest(r), ""))
}

func (p *Pages) postCodeEnter(w http.ResponseWriter, r *http.Request, from evidence.Actor) {
	encoded, nonce, _ := strings.Cut(p.cookie(r, codeCookie), ".")
	mail, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || nonce == "" {
		done(w, r, "/code", "")
		return
	}
	s, err := p.cfg.Accounts.EnterWithCode(r.Context(), from, string(mail), r.PostFormValue("code"), nonce)
	switch {
	case err == nil:
		p.enter(w, s)
		p.setCookie(w, codeCookie, "", -time.Second)
		done(w, r, "/", "")
	case typed(err):
		p.set.Write(w, r, status(err), "code", codeEnter(p.guest(r), fault.Say(err)))
	default:
		p.fail(w, r, nil, err)
	}
}
