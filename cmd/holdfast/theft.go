package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	binance "github.com/adshao/go-binance/v2"

	"connectrpc.com/connect"

	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/api/holdfast/v1/holdfastv1connect"
	"holdfast/notice"
)

// thief is who stole the holder's password and API key: a bot on the trading server, and a person
// with a browser somewhere else.
type thief struct {
	bot      *bot
	stream   stream
	order    int64  // an open order
	transfer string // another customer's deposit address

	pages   string // Holdfast's pages and API and the exchange, as seen from the stranger's address
	api     string
	market  string
	browser *browser
	app     holdfastv1connect.HolderServiceClient // signed in
	outside holdfastv1connect.HolderServiceClient // not signed in
	reset   string                                // a reset link, mailed before the freeze

	resetMail func(context.Context) (string, error) // waits for it in the holder's mailbox
}

// try is one attempt on an exit.
type try struct {
	what, exit string
	act        func(ctx context.Context) (allowed bool, answer string, err error)
}

// lair is where withdrawals of the thief's go: an address that a specification uses as its example.
// https://github.com/bitcoin/bips/blob/master/bip-0173.mediawiki
const lair = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"

const thiefPassword = "Mine-Now-99-And-Always"

// theft is the thief's part before the freeze: everything works.
func (p *play) theft(ctx context.Context) error {
	p.chapter("The thief")
	if err := p.stock(ctx); err != nil {
		return err
	}
	t := p.thief
	if err := t.enter(ctx, p.story); err != nil {
		return err
	}
	opened, err := t.bot.stream()
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	t.stream = opened
	if t.order, err = t.bot.order(ctx, binance.SideTypeSell, "0.05000", "99000.00"); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	p.tell("thief's bot: sell 0.05 BTC at 99,000 USDT: accepted, waits in the book")
	if err := t.awaitStream(ctx); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	p.tell("thief's bot: stream of the account's data: open")
	if err := t.bot.buy(ctx, "0.01000"); err != nil {
		return fmt.Errorf("buy: %w", err)
	}
	p.tell("thief's bot: buy 0.01 BTC: filled")
	if err := t.bot.withdraw(ctx, "0.02", t.transfer); err != nil {
		return fmt.Errorf("transfer: %w", err)
	}
	p.tell("thief's bot: transfer 0.02 BTC to another customer: accepted, gone at once")
	for range 2 {
		if err := t.bot.withdraw(ctx, "0.2", lair); err != nil {
			return fmt.Errorf("withdraw: %w", err)
		}
		p.tell("thief's bot: withdraw 0.2 BTC: accepted, leaves in two minutes")
	}
	if err := t.bot.account(ctx); err != nil {
		return fmt.Errorf("account: %w", err)
	}
	return nil
}

// awaitStream lets things happen on the account until the stream tells of one: what happened before
// the exchange had taken the request is not told.
func (t *thief) awaitStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		order, err := t.bot.order(ctx, binance.SideTypeSell, "0.00100", "99500.00")
		if err != nil {
			return err
		}
		if err := t.bot.cancel(ctx, order); err != nil {
			return err
		}
		soon := time.NewTimer(100 * time.Millisecond)
		select {
		case err := <-t.stream.first:
			soon.Stop()
			return err
		case <-ctx.Done():
			soon.Stop()
			return ctx.Err()
		case <-soon.C:
		}
	}
}

// stock gives the thief roads and clients, and has the bystander put offers into the book.
func (p *play) stock(ctx context.Context) error {
	honest, err := p.road(p.exchangeURL, addrBystander)
	if err != nil {
		return err
	}
	stolen, err := p.road(p.exchangeURL, addrBot)
	if err != nil {
		return err
	}
	other := newBot(honest, p.cast.Bystander.KeyID, p.cast.Bystander.Secret)
	if err := other.offer(ctx); err != nil {
		return fmt.Errorf("bystander: %w", err)
	}
	t := &thief{bot: newBot(stolen, p.cast.Holder.KeyID, p.cast.Holder.Secret), browser: newBrowser(stranger)}
	if t.transfer, err = other.depositAddress(ctx); err != nil {
		return fmt.Errorf("bystander: %w", err)
	}
	for _, way := range []struct {
		target string
		into   *string
	}{{p.holds.house.cfg.base(), &t.pages}, {p.holds.house.apiURL, &t.api}, {p.exchangeURL, &t.market}} {
		r, err := p.road(way.target, addrStranger)
		if err != nil {
			return err
		}
		*way.into = r.URL
	}
	t.outside = client.Holder(http.DefaultClient, t.api, "")
	p.thief = t
	t.resetMail = func(ctx context.Context) (string, error) {
		l, err := p.mail.box.wait(ctx, holderMail, 0, func(l letter) bool { return l.link(notice.ResetPurpose) != "" })
		return l.link(notice.ResetPurpose), err
	}
	return nil
}

// enter signs the thief in everywhere with the stolen password.
func (t *thief) enter(ctx context.Context, tell story) error {
	a, err := t.browser.post(ctx, t.pages+"/sign-in", t.password())
	if err != nil {
		return err
	}
	if a.refused() {
		return fmt.Errorf("sign-in on the pages: %s", a)
	}
	tell.tell("unknown device at %s: sign-in with the stolen password: accepted", addrStranger)
	in, err := t.signIn(ctx)
	if err != nil {
		return fmt.Errorf("sign-in by the API: %w", err)
	}
	t.app = client.Holder(http.DefaultClient, t.api, in)
	if err := t.visitExchange(ctx); err != nil {
		return err
	}
	tell.tell("unknown device: signed in to the exchange, sees the wallet")
	if _, err := t.app.CreateKey(ctx, connect.NewRequest(&holdfastv1.CreateKeyRequest{Label: "backup", Kind: "hmac-sha256", Scopes: []string{"read", "trade"}, Password: holderPassword})); err != nil {
		return fmt.Errorf("create key: %w", err)
	}
	tell.tell("unknown device: made an API key of its own")
	if a, err := t.browser.post(ctx, t.pages+"/reset", url.Values{"mail": {holderMail}}); err != nil || a.refused() {
		return errors.Join(fmt.Errorf("ask for a reset link: %s", a), err)
	}
	if t.reset, err = t.resetMail(ctx); err != nil {
		return err
	}
	tell.tell("unknown device: has read the holder's mail and holds a password reset link")
	return nil
}

func (t *thief) password() url.Values {
	return url.Values{"mail": {holderMail}, "password": {holderPassword}}
}

func (t *thief) signIn(ctx context.Context) (session string, err error) {
	req := connect.NewRequest(&holdfastv1.SignInRequest{Mail: holderMail, Password: holderPassword})
	req.Header().Set("User-Agent", stranger)
	res, err := t.outside.SignIn(ctx, req)
	if err != nil {
		return "", err
	}
	return res.Msg.GetSession(), nil
}

// visitExchange goes the way of a browser that signs in to the exchange: there, to Holdfast, back.
func (t *thief) visitExchange(ctx context.Context) error {
	begin, err := t.browser.get(ctx, t.market+"/sign-in")
	if err != nil {
		return err
	}
	to, err := url.Parse(begin.location)
	if err != nil {
		return err
	}
	back, err := t.browser.post(ctx, t.pages+"/sign-in/go-on", url.Values{"return_to": {to.Query().Get("return_to")}, "state": {to.Query().Get("state")}})
	if err != nil {
		return err
	}
	if to, err = url.Parse(back.location); err != nil || to.Query().Get("code") == "" {
		return errors.Join(fmt.Errorf("no hand-over to the exchange: %s", back), err)
	}
	if _, err = t.browser.get(ctx, t.market+"/callback?"+to.RawQuery); err != nil {
		return err
	}
	wallet, err := t.browser.get(ctx, t.market+"/wallet")
	if err == nil && wallet.status != http.StatusOK {
		err = fmt.Errorf("wallet on the exchange: %s", wallet)
	}
	return err
}

// tries is every exit, one after the other.
func (t *thief) tries() []try {
	key := func(act func(context.Context) error) func(context.Context) (bool, string, error) {
		return func(ctx context.Context) (bool, string, error) { return answerOf(act(ctx)) }
	}
	page := func(method, address string, form url.Values) func(context.Context) (bool, string, error) {
		return func(ctx context.Context) (bool, string, error) {
			a, err := t.browser.do(ctx, method, address, form)
			if err == nil && a.status >= 500 {
				err = fmt.Errorf("%s %s", method, a)
			}
			return !a.refused(), a.String(), err
		}
	}
	call := func(act func(context.Context) error) func(context.Context) (bool, string, error) {
		return func(ctx context.Context) (bool, string, error) {
			err := act(ctx)
			switch code := connect.CodeOf(err); {
			case err == nil:
				return true, "accepted", nil
			case code == connect.CodeUnknown || code == connect.CodeInternal || code == connect.CodeUnavailable:
				return false, "", err // no answer is no refusal
			default:
				return false, fmt.Sprintf("refused (%s, %s)", code, client.CodeOf(err)), nil
			}
		}
	}
	return []try{
		{"sell 0.05 BTC with the stolen key", "order", key(func(ctx context.Context) error {
			_, err := t.bot.order(ctx, binance.SideTypeSell, "0.05000", "98000.00")
			return err
		})},
		{"buy 0.01 BTC with the stolen key", "order", key(func(ctx context.Context) error { return t.bot.buy(ctx, "0.01000") })},
		{"cancel the open order", "open_order", key(func(ctx context.Context) error { return t.bot.cancel(ctx, t.order) })},
		{"cancel all open orders", "open_order", key(t.bot.cancelAll)},
		{"withdraw 0.2 BTC", "withdrawal_request", key(func(ctx context.Context) error { return t.bot.withdraw(ctx, "0.2", lair) })},
		{"transfer 0.02 BTC to another customer", "internal_transfer", key(func(ctx context.Context) error { return t.bot.withdraw(ctx, "0.02", t.transfer) })},
		{"read balances with the stolen key", "api_key", key(t.bot.account)},
		{"go on listening on the open stream", "api_key", t.listen},
		{"open another stream", "api_key", t.another},
		{"sign in on the pages with the password", "sign_in", func(ctx context.Context) (bool, string, error) {
			fresh := newBrowser(stranger)
			a, err := fresh.post(ctx, t.pages+"/sign-in", t.password())
			return err == nil && len(fresh.cookies) > 0, a.String(), err
		}},
		{"sign in by the API with the password", "sign_in", call(func(ctx context.Context) error {
			_, err := t.signIn(ctx)
			return err
		})},
		{"open the keys page with the stolen session", "session", page(http.MethodGet, t.pages+"/keys", nil)},
		{"open the wallet with the exchange's session", "session", page(http.MethodGet, t.market+"/wallet", nil)},
		{"withdraw on the exchange's page", "session", page(http.MethodPost, t.market+"/withdraw", url.Values{"asset": {"BTC"}, "amount": {"0.1"}, "address": {lair}})},
		{"list devices by the API", "session", call(func(ctx context.Context) error {
			_, err := t.app.ListDevices(ctx, connect.NewRequest(&holdfastv1.ListDevicesRequest{}))
			return err
		})},
		{"make a new API key", "security_setting", call(func(ctx context.Context) error {
			_, err := t.app.CreateKey(ctx, connect.NewRequest(&holdfastv1.CreateKeyRequest{Label: "again", Kind: "hmac-sha256", Scopes: []string{"read"}, Password: holderPassword}))
			return err
		})},
		{"change the mail address", "security_setting", page(http.MethodPost, t.pages+"/security/mail", url.Values{"mail": {"thief@holdfast.test"}, "password": {holderPassword}})},
		{"use the reset link from the mailbox", "security_setting", page(http.MethodPost, t.reset, url.Values{"password": {thiefPassword}, "next": {thiefPassword}})},
	}
}

// listen waits for the stream that was open before the freeze to end: the exchange says that it is
// over and closes it.
func (t *thief) listen(ctx context.Context) (bool, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-t.stream.ended:
		return false, "closed by the exchange", nil
	case <-ctx.Done():
		return true, "still open", nil
	}
}

func (t *thief) another(ctx context.Context) (bool, string, error) {
	s, err := t.bot.stream()
	if err != nil {
		return answerOf(err)
	}
	select {
	case err := <-s.first:
		return answerOf(err)
	case <-s.ended:
		return false, "closed by the exchange", nil
	case <-ctx.Done():
		return false, "", ctx.Err()
	}
}

// offer puts offers into the book from which others can buy.
func (b *bot) offer(ctx context.Context) error {
	for i, price := range []string{"60010.00", "60020.00", "60050.00", "60100.00"} {
		if _, err := b.order(ctx, binance.SideTypeSell, fmt.Sprintf("0.%d0000", i+1), price); err != nil {
			return err
		}
	}
	for i, price := range []string{"59990.00", "59980.00", "59950.00", "59900.00"} {
		if _, err := b.order(ctx, binance.SideTypeBuy, fmt.Sprintf("0.%d0000", i+1), price); err != nil {
			return err
		}
	}
	return nil
}

// depositAddress is where the key's account receives bitcoin.
func (b *bot) depositAddress(ctx context.Context) (string, error) {
	res, err := b.client.NewGetDepositAddressService().Coin("BTC").Network("BTC").Do(ctx)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(res.Address, "tb1") && !strings.HasPrefix(res.Address, "bc1") {
		return "", fmt.Errorf("%q is no deposit address", res.Address)
	}
	return res.Address, nil
}
