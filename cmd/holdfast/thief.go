package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	binance "github.com/adshao/go-binance/v2"
	"github.com/adshao/go-binance/v2/common"
)

// bot is a program that trades with an API key: the thief's with the stolen one, and another
// customer's with their own. It is the unmodified third-party client, told nothing but where the
// exchange is.
type bot struct {
	client *binance.Client
	road   *road
}

const market = "BTCUSDT"

// newBot returns a bot that speaks to the exchange over a road of its own.
func newBot(r *road, keyID, secret string) *bot {
	c := binance.NewClient(keyID, secret)
	c.BaseURL = r.URL
	c.Logger = log.New(io.Discard, "", 0)
	c.HTTPClient = &http.Client{Timeout: 10 * time.Second}
	return &bot{c, r}
}

// order places a limit order that stays in the book, and returns its id.
func (b *bot) order(ctx context.Context, side binance.SideType, quantity, price string) (int64, error) {
	res, err := b.client.NewCreateOrderService().Symbol(market).Side(side).Type(binance.OrderTypeLimit).
		TimeInForce(binance.TimeInForceTypeGTC).Quantity(quantity).Price(price).Do(ctx)
	if err != nil {
		return 0, err
	}
	return res.OrderID, nil
}

// buy buys at once, at whatever price the book has.
func (b *bot) buy(ctx context.Context, quantity string) error {
	_, err := b.client.NewCreateOrderService().Symbol(market).Side(binance.SideTypeBuy).Type(binance.OrderTypeMarket).Quantity(quantity).Do(ctx)
	return err
}

func (b *bot) cancel(ctx context.Context, order int64) error {
	_, err := b.client.NewCancelOrderService().Symbol(market).OrderID(order).Do(ctx)
	return err
}

func (b *bot) cancelAll(ctx context.Context) error {
	_, err := b.client.NewCancelOpenOrdersService().Symbol(market).Do(ctx)
	return err
}

func (b *bot) account(ctx context.Context) error {
	_, err := b.client.NewGetAccountService().Do(ctx)
	return err
}

func (b *bot) openOrders(ctx context.Context) (int, error) {
	list, err := b.client.NewListOpenOrdersService().Symbol(market).Do(ctx)
	return len(list), err
}

// withdraw asks for a withdrawal; to another customer's deposit address it is a transfer.
func (b *bot) withdraw(ctx context.Context, amount, to string) error {
	_, err := b.client.NewCreateWithdrawService().Coin("BTC").Network("BTC").Amount(amount).Address(to).Do(ctx)
	return err
}

// stream is an open stream of an account's data.
type stream struct {
	// first gets nil with the first event, or why there is none.
	first chan error
	// ended is closed when the stream has ended.
	ended <-chan struct{}
	stop  chan struct{}
}

var errStreamRefused = errors.New("the stream was refused")

// stream asks for the stream of the account's data. The client says nothing of an accepted request,
// so the first event that happens on the account is the answer; a refusal arrives as an event
// without a name.
func (b *bot) stream() (stream, error) {
	// The client keeps this address for the whole program, not for each client; the demonstration
	// has one bot that streams.
	binance.BaseWsApiMainURL = "ws" + strings.TrimPrefix(b.road.URL, "http") + "/ws-api/v3"
	s := stream{first: make(chan error, 1)}
	var err error
	s.ended, s.stop, err = binance.WsUserDataServeSignature(b.client.APIKey, b.client.SecretKey, common.KeyTypeHmac, 0,
		func(e *binance.WsUserDataEvent) {
			if e.Event == "" {
				offer(s.first, errStreamRefused)
				return
			}
			offer(s.first, nil)
		},
		func(err error) { offer(s.first, err) })
	return s, err
}

// offer sends where there is room; what is not read by then is not missed.
func offer[T any](to chan<- T, v T) {
	select {
	case to <- v:
	default:
	}
}

// answerOf says how the exchange answered, and whether it allowed. An error that is not the
// exchange's own is returned: a demonstration that could not ask has shown nothing.
func answerOf(err error) (allowed bool, answer string, failed error) {
	if err == nil {
		return true, "accepted", nil
	}
	if errors.Is(err, errStreamRefused) {
		return false, "refused", nil
	}
	no, ok := errors.AsType[*common.APIError](err)
	if !ok || no.Code > -1010 {
		return false, "", err // -1000 to -1009 are failures of the exchange, not its answer
	}
	return false, fmt.Sprintf("refused (%d)", no.Code), nil
}
