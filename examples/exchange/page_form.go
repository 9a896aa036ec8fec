package exchange

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// form reads a posted form and the visitor who sent it. It answers the request itself and
// returns false when there is nothing to do.
func (x *Exchange) form(w http.ResponseWriter, r *http.Request, exit string) (visitor, bool) {
	if err := r.ParseForm(); err != nil {
		x.notice(w, http.StatusBadRequest, "The form could not be read", "Go back and try again.", true)
		return visitor{}, false
	}
	v, err := x.visitorOf(r, exit)
	if err != nil {
		x.refuse(w, r, err)
		return v, false
	}
	return v, true
}

// asParams lets the pages use the same readers as the API.
func asParams(r *http.Request, names ...string) *params {
	p := &params{values: map[string]string{}}
	for _, name := range names {
		p.values[name] = strings.TrimSpace(r.PostForm.Get(name))
	}
	return p
}

// outcome redirects after success, or says what is wrong.
func (x *Exchange) outcome(w http.ResponseWriter, r *http.Request, err error, said string) {
	var known *apiError
	switch {
	case err == nil:
		http.Redirect(w, r, "/wallet?said="+said, http.StatusSeeOther)
	case errors.As(err, &known):
		x.notice(w, known.status, "That did not work", known.msg+" Nothing was done.", true)
	case errors.Is(err, errShort):
		x.notice(w, http.StatusBadRequest, "You do not have that much", "Nothing was done. Your wallet shows what is free.", true)
	case errors.Is(err, errNoOrder), errors.Is(err, errNoMatch), errors.Is(err, errDuplicate), errors.Is(err, errBookFull),
		errors.Is(err, errOwnAddress), errors.Is(err, errOtherBody), errors.Is(err, errInProgress), errors.Is(err, errNotRecorded):
		x.notice(w, http.StatusBadRequest, "That did not work", "Nothing was done: "+err.Error()+".", true)
	default:
		x.refuse(w, r, err)
	}
}

func (x *Exchange) postOrder(w http.ResponseWriter, r *http.Request) {
	v, ok := x.form(w, r, exitOrder)
	if !ok {
		return
	}
	p := asParams(r, "symbol", "side", "price", "quantity", "newClientOrderId")
	p.values["type"], p.values["timeInForce"] = typeLimit, goodTillCancelled
	if p.values["price"] == "" {
		p.values["type"] = typeMarket
	}
	req, err := readOrder(p)
	if err == nil {
		_, _, err = x.place(r.Context(), v.caller, req)
	}
	x.outcome(w, r, err, "placed")
}

func (x *Exchange) postCancel(w http.ResponseWriter, r *http.Request) {
	v, ok := x.form(w, r, exitOpenOrder)
	if !ok {
		return
	}
	id, err := strconv.ParseInt(r.PostForm.Get("order"), 10, 64)
	s, known := findSymbol(r.PostForm.Get("symbol"))
	if err != nil || id <= 0 || !known {
		x.outcome(w, r, errNoOrder, "")
		return
	}
	_, err = x.cancel(r.Context(), v.caller, orderQuery{symbol: s, id: id})
	x.outcome(w, r, err, "cancelled")
}

func (x *Exchange) postWithdraw(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		x.notice(w, http.StatusBadRequest, "The form could not be read", "Go back and try again.", true)
		return
	}
	p := asParams(r, "coin", "amount", "address")
	c := &call{ctx: r.Context(), x: x, params: p}
	exit, err := withdrawExit(c)
	if err != nil {
		x.refuse(w, r, err)
		return
	}
	v, ok := x.form(w, r, exit)
	if !ok {
		return
	}
	req, err := readWithdrawal(c)
	if err == nil {
		token := r.PostForm.Get("token")
		if token == "" || len(token) > 64 {
			err = missing("token")
		} else {
			req.clientID = "page:" + token
			_, err = x.withdraw(r.Context(), v.caller, req)
		}
	}
	said := "withdrawn"
	if req.internal() {
		said = "sent"
	}
	x.outcome(w, r, err, said)
}

// postFaucet exists only where Config.Faucet is set.
func (x *Exchange) postFaucet(w http.ResponseWriter, r *http.Request) {
	v, ok := x.form(w, r, exitSession)
	if !ok {
		return
	}
	token := r.PostForm.Get("token")
	if token == "" || len(token) > 64 {
		x.outcome(w, r, missing("token"), "")
		return
	}
	amounts := map[string]string{"BTC": "0.5", "ETH": "5", "USDT": "10000"}
	for _, a := range assets {
		if err := x.Deposit(r.Context(), v.account, a.name, amounts[a.name], "faucet "+a.name+" "+v.account+" "+token); err != nil {
			x.outcome(w, r, err, "")
			return
		}
	}
	x.outcome(w, r, nil, "credited")
}
