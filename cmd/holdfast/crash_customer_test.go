package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/api/holdfast/v1/holdfastv1connect"
	"holdfast/evidence/verify"
	"holdfast/notice"
)

// customer is one account and what its clients were told about it. What was answered must be there
// after a crash; what was asked and not answered may be either way; what nobody asked for may not.
type customer struct {
	n    int
	name string // the platform's id of the account; empty for a holder who signed up at Holdfast
	mail string
	id   string

	// A holder has these.
	person *person
	app    holdfastv1connect.HolderServiceClient

	mu       sync.Mutex
	asked    bool    // somebody pressed Freeze
	frozen   bool    // and was answered
	draws    []*draw // in the order of their requests
	keys     []*apiKey
	moved    int  // movements whose report was answered
	moving   bool // one more may have been recorded
	heads    []verify.Head
	problems []string
}

// draw is one withdrawal.
type draw struct {
	key, amount string
	id          string // empty until a request was answered with a yes
	epoch       int64
	state       holdfastv1.WithdrawalState // the last that was told
	asked       map[holdfastv1.WithdrawalState]bool
}

// apiKey is an API key whose creation was answered.
type apiKey struct {
	id            string
	ending, ended bool // deletion asked for, answered
}

const (
	requested = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_REQUESTED
	confirmed = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED
	settled   = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_SETTLED
	failed    = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_FAILED
	cancelled = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CANCELLED
	stranded  = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED_BEFORE_FREEZE

	yes     = holdfastv1.Verdict_VERDICT_ALLOW
	ice     = holdfastv1.Verdict_VERDICT_FROZEN
	unknown = holdfastv1.Verdict_VERDICT_UNKNOWN_CREDENTIAL
)

// moves are the moves that a withdrawal can make.
var moves = map[holdfastv1.WithdrawalState][]holdfastv1.WithdrawalState{
	requested: {confirmed, cancelled, failed},
	confirmed: {settled, failed, stranded},
	stranded:  {settled, failed},
}

// reaches reports whether a withdrawal can have come from one state to another by what was asked.
func (c *customer) reaches(d *draw, from, to holdfastv1.WithdrawalState) bool {
	if from == to {
		return true
	}
	return slices.ContainsFunc(moves[from], func(next holdfastv1.WithdrawalState) bool {
		if next == cancelled || next == stranded {
			return c.asked && c.reaches(d, next, to)
		}
		return d.asked[next] && c.reaches(d, next, to)
	})
}

// tell notes what an answer says about a withdrawal. The caller holds mu.
func (c *customer) tell(d *draw, w *holdfastv1.Withdrawal) {
	if d.id == "" {
		d.id, d.epoch, d.state = w.GetWithdrawalId(), w.GetEpoch(), requested
	}
	switch {
	case d.id != w.GetWithdrawalId() || d.epoch != w.GetEpoch() || d.amount != w.GetAmount():
		c.wrong("withdrawal %s of %s in epoch %d became %s of %s in epoch %d", d.id, d.amount, d.epoch, w.GetWithdrawalId(), w.GetAmount(), w.GetEpoch())
	case !c.reaches(d, d.state, w.GetState()):
		c.wrong("withdrawal %s was %s and is %s; asked for: %v, freeze: %v", d.id, d.state, w.GetState(), d.asked, c.asked)
	}
	d.state = w.GetState()
}

// wrong notes that a promise was broken. The caller holds mu or is alone with the customer.
func (c *customer) wrong(format string, args ...any) {
	c.problems = append(c.problems, c.mail+": "+fmt.Sprintf(format, args...))
}

func (c *customer) hold(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *customer) ref() *holdfastv1.AccountRef {
	return &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_AccountId{AccountId: c.id}}
}

var byBrowser = &holdfastv1.Credential{Kind: &holdfastv1.Credential_ExternalCredentialId{ExternalCredentialId: "browser"}}

// ask is one call.
func ask[Q, A any](ctx context.Context, call func(context.Context, *connect.Request[Q]) (*connect.Response[A], error), q *Q) (*A, error) {
	r, err := call(ctx, connect.NewRequest(q))
	if err != nil {
		return nil, err
	}
	return r.Msg, nil
}

// gone reports whether a call failed because the server is not there any more. Every other failure
// has Holdfast's own word for it.
func gone(err error) bool { return err != nil && client.CodeOf(err) == "" }

// enter opens the account on the platform, or signs the holder in.
func (c *customer) enter(ctx context.Context, p *process) error {
	if c.person == nil {
		r, err := ask(ctx, p.api.Accounts.RegisterAccount, &holdfastv1.RegisterAccountRequest{ExternalId: c.name, Mail: c.mail})
		if err != nil {
			return err
		}
		c.id = r.GetAccountId()
		_, err = ask(ctx, p.api.Accounts.RegisterCredential, &holdfastv1.RegisterCredentialRequest{
			Account: c.ref(), ExternalCredentialId: "browser", Kind: "session", Origin: &holdfastv1.Origin{Address: addrHolder, UserAgent: laptop}})
		return err
	}
	c.id = c.person.Account
	door := client.Holder(c.own(), p.url, "")
	r, err := ask(ctx, door.SignIn, &holdfastv1.SignInRequest{Mail: c.mail, Password: c.person.Password})
	if err != nil {
		return err
	}
	c.app = client.Holder(c.own(), p.url, r.GetSession())
	return nil
}

// own returns an HTTP client that calls from an address of the holder's own: all of 127.0.0.0/8 is
// this machine, and sign-ins from one source are limited.
func (c *customer) own() *http.Client {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(c.n/250), byte(1+c.n%250))}}
	return &http.Client{Transport: &http.Transport{DialContext: from.DialContext, DisableKeepAlives: true}}
}

// bank requests, confirms and ends one withdrawal after the other until the server is gone.
func (c *customer) bank(ctx context.Context, p *process, chance *rand.Rand, step func()) {
	for n := 0; ctx.Err() == nil; n++ {
		step()
		d := &draw{key: fmt.Sprint(n), amount: fmt.Sprintf("0.%d1", n+1), asked: map[holdfastv1.WithdrawalState]bool{}}
		c.hold(func() { c.draws = append(c.draws, d) })
		if n > 0 && chance.IntN(4) == 0 { // a repeat of an earlier request, as after a lost answer
			c.hold(func() { d = c.draws[chance.IntN(n)] })
		}
		if c.request(ctx, p, d) != nil || c.carry(ctx, p, chance, d, step) != nil {
			return
		}
	}
}

// request requests a withdrawal and compares the answer with what was told before.
func (c *customer) request(ctx context.Context, p *process, d *draw) error {
	var before bool
	c.hold(func() { before = c.frozen })
	r, err := ask(ctx, p.api.Guard.RequestWithdrawal, c.drawing(d))
	if gone(err) {
		return err
	}
	c.hold(func() {
		verdict := r.GetDecision().GetVerdict()
		switch {
		case err != nil:
			c.wrong("request %s: %v", d.key, err)
		case verdict == yes:
			if before && d.id == "" && r.GetWithdrawal().GetState() == requested {
				c.wrong("withdrawal %s was decided after an acknowledged freeze", d.key)
			}
			c.tell(d, r.GetWithdrawal())
		case d.id != "":
			c.wrong("the decision about %s was yes and is %s", d.key, verdict)
		case verdict != ice || !c.asked:
			c.wrong("request %s: %s", d.key, verdict)
		}
	})
	return nil
}

func (c *customer) drawing(d *draw) *holdfastv1.RequestWithdrawalRequest {
	return &holdfastv1.RequestWithdrawalRequest{
		Account: c.ref(), Credential: byBrowser, Origin: &holdfastv1.Origin{Address: addrHolder, UserAgent: laptop},
		IdempotencyKey: d.key, Asset: "BTC", Amount: d.amount, Address: lair, Network: "BTC", Reference: "draw " + d.key,
	}
}

// carry takes a withdrawal on to confirmation and to an end, or leaves it where it is.
func (c *customer) carry(ctx context.Context, p *process, chance *rand.Rand, d *draw, step func()) error {
	var state holdfastv1.WithdrawalState
	c.hold(func() { state = d.state })
	if d.id == "" || chance.IntN(8) == 0 {
		return nil
	}
	if state == requested {
		step()
		if err := c.confirm(ctx, p, d); err != nil {
			return err
		}
		c.hold(func() { state = d.state })
	}
	if state != confirmed || chance.IntN(6) == 0 {
		return nil
	}
	step()
	end := settled
	if chance.IntN(5) == 0 {
		end = failed
	}
	return c.end(ctx, p, d, end)
}

// confirm asks the last question before money leaves.
func (c *customer) confirm(ctx context.Context, p *process, d *draw) error {
	var before bool
	c.hold(func() { before, d.asked[confirmed] = c.frozen, true })
	r, err := ask(ctx, p.api.Guard.ConfirmWithdrawal, &holdfastv1.ConfirmWithdrawalRequest{Account: c.ref(), WithdrawalId: d.id})
	if gone(err) {
		return err
	}
	c.hold(func() {
		if err != nil {
			if client.CodeOf(err) != "state" {
				c.wrong("confirm %s: %v", d.key, err)
			}
			return
		}
		c.tell(d, r.GetWithdrawal())
		if before && d.state == confirmed {
			c.wrong("withdrawal %s was confirmed after an acknowledged freeze", d.key)
		}
	})
	return nil
}

// end reports what became of a withdrawal.
func (c *customer) end(ctx context.Context, p *process, d *draw, to holdfastv1.WithdrawalState) error {
	c.hold(func() { d.asked[to] = true })
	var w *holdfastv1.Withdrawal
	var err error
	if to == settled {
		var r *holdfastv1.SettleWithdrawalResponse
		r, err = ask(ctx, p.api.Guard.SettleWithdrawal, &holdfastv1.SettleWithdrawalRequest{Account: c.ref(), WithdrawalId: d.id, Transaction: "tx " + d.key})
		w = r.GetWithdrawal()
	} else {
		var r *holdfastv1.FailWithdrawalResponse
		r, err = ask(ctx, p.api.Guard.FailWithdrawal, &holdfastv1.FailWithdrawalRequest{Account: c.ref(), WithdrawalId: d.id, Reason: "no funds"})
		w = r.GetWithdrawal()
	}
	if gone(err) {
		return err
	}
	c.hold(func() {
		if err != nil {
			c.wrong("end %s: %v", d.key, err)
			return
		}
		c.tell(d, w)
	})
	return nil
}

// report reports a few deposits, each on top of the one before.
func (c *customer) report(ctx context.Context, p *process, step func()) {
	for range 5 {
		step()
		var n int
		c.hold(func() { n, c.moving = c.moved, true })
		if _, err := ask(ctx, p.api.Ledger.ReportMovements, &holdfastv1.ReportMovementsRequest{Movements: []*holdfastv1.Movement{c.deposit(n)}}); err != nil {
			if !gone(err) {
				c.hold(func() { c.wrong("report deposit %d: %v", n, err) })
			}
			return
		}
		c.hold(func() { c.moved, c.moving = n+1, false })
	}
}

func (c *customer) deposit(n int) *holdfastv1.Movement {
	return &holdfastv1.Movement{Reference: fmt.Sprintf("deposit %d", n), Account: c.ref(), Asset: "EUR", Delta: "2",
		BalanceBefore: fmt.Sprint(2 * n), BalanceAfter: fmt.Sprint(2*n + 2), Kind: "deposit", At: timestamppb.New(time.Unix(1_700_000_000+int64(n), 0))}
}

// tend makes and deletes API keys until the server is gone or the session may not any more.
func (c *customer) tend(ctx context.Context, p *process, chance *rand.Rand, step func()) {
	for n := 0; ctx.Err() == nil && n < 8; n++ {
		step()
		r, err := ask(ctx, c.app.CreateKey, &holdfastv1.CreateKeyRequest{Label: fmt.Sprintf("key %d", n), Kind: "hmac-sha256",
			Scopes: []string{"read", "trade"}, Password: c.person.Password})
		if err != nil {
			c.refused("make a key", err)
			return
		}
		k := &apiKey{id: r.GetKey().GetKeyId()}
		c.hold(func() { c.keys = append(c.keys, k) })
		if chance.IntN(2) == 0 {
			continue
		}
		step()
		c.hold(func() { k.ending = true })
		if _, err := ask(ctx, c.app.DeleteKey, &holdfastv1.DeleteKeyRequest{KeyId: k.id}); err != nil {
			c.refused("delete a key", err)
			return
		}
		c.hold(func() { k.ended = true })
	}
}

// refused notes a refusal that only a freeze explains.
func (c *customer) refused(what string, err error) {
	c.hold(func() {
		if !gone(err) && !c.asked {
			c.wrong("%s: %v", what, err)
		}
	})
}

// press presses Freeze by one of the ways that the account has.
func (c *customer) press(ctx context.Context, p *process, chance *rand.Rand, box *postbox) {
	var err error
	way := chance.IntN(4)
	c.hold(func() { c.asked = true })
	letter, mailed := box.find(c.mail, func(l letter) bool { return l.link(notice.FreezeLinkPurpose) != "" })
	switch {
	case c.person != nil && way == 0:
		_, err = ask(ctx, c.app.Freeze, &holdfastv1.FreezeRequest{Reason: "lost_device"})
	case c.person != nil && way == 1:
		_, err = ask(ctx, client.Holder(c.own(), p.url, "").FreezeWithCode, &holdfastv1.FreezeWithCodeRequest{Mail: c.mail, Code: c.person.FreezeCode})
	case mailed && way <= 2:
		token := path.Base(letter.link(notice.FreezeLinkPurpose))
		_, err = ask(ctx, client.Holder(c.own(), p.url, "").FreezeWithLink, &holdfastv1.FreezeWithLinkRequest{Token: token})
	default:
		err = p.freeze(ctx, c.id)
		if err != nil && !errors.Is(err, context.Canceled) {
			return // the socket's own failures have no word of Holdfast's; none of them is an answer
		}
	}
	c.hold(func() {
		switch {
		case err == nil:
			c.frozen = true
		case !gone(err):
			c.wrong("freeze: %v", err)
		}
	})
}

// find returns the first mail to an address that match likes, and whether there is one.
func (b *postbox) find(to string, match func(letter) bool) (letter, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.letters {
		if l.to == to && match(l) {
			return l, true
		}
	}
	return letter{}, false
}
