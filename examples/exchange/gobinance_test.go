package exchange

import (
	"context"
	"errors"
	"testing"

	"github.com/adshao/go-binance/v2"
	"github.com/adshao/go-binance/v2/common"

	"holdfast/examples/exchange/standin"
)

// goBinance is the unmodified third-party client, pointed at the rig.
func (r *rig) goBinance(key standin.APIKey, kind string) *binance.Client {
	c := binance.NewClient(key.ID, key.Secret)
	c.KeyType = kind
	c.BaseURL = r.url
	c.HTTPClient = r.http
	return c
}

func TestGoBinanceRunsUnmodified(t *testing.T) {
	for _, kind := range []string{common.KeyTypeHmac, common.KeyTypeEd25519} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, nil)
			ctx := context.Background()
			account, key := r.holder("1", "30000")
			other, otherKey := r.holder("1", "")
			if kind == common.KeyTypeEd25519 {
				var err error
				if key, err = r.hold.AddEd25519Key(account, allScopes, nil); err != nil {
					t.Fatal(err)
				}
			}
			address, err := r.x.DepositAddress(ctx, other, "BTC")
			if err != nil {
				t.Fatal(err)
			}
			r.order(otherKey, "BTCUSDT", "SELL", "0.1", "60000")
			c := r.goBinance(key, kind)

			order := func() (*binance.CreateOrderResponse, error) {
				return c.NewCreateOrderService().Symbol("BTCUSDT").Side(binance.SideTypeBuy).Type(binance.OrderTypeLimit).
					TimeInForce(binance.TimeInForceTypeGTC).Quantity("0.15").Price("60000").Do(ctx)
			}
			withdraw := func(to string) (*binance.CreateWithdrawResponse, error) {
				return c.NewCreateWithdrawService().Coin("BTC").Address(to).Amount("0.05").Name("my own").Do(ctx)
			}
			if err := c.NewPingService().Do(ctx); err != nil {
				t.Fatal(err)
			}
			info, err := c.NewExchangeInfoService().Do(ctx)
			if err != nil || len(info.Symbols) != 3 {
				t.Fatalf("exchangeInfo: %+v, %v", info, err)
			}
			o, err := order()
			if err != nil || o.Status != binance.OrderStatusTypePartiallyFilled || len(o.Fills) != 1 {
				t.Fatalf("order: %+v, %v", o, err)
			}
			open, err := c.NewListOpenOrdersService().Symbol("BTCUSDT").Do(ctx)
			if err != nil || len(open) != 1 {
				t.Fatalf("open orders: %v, %v", open, err)
			}
			if _, err := c.NewCancelOrderService().Symbol("BTCUSDT").OrderID(o.OrderID).Do(ctx); err != nil {
				t.Fatalf("cancel: %v", err)
			}
			trades, err := c.NewListTradesService().Symbol("BTCUSDT").Do(ctx)
			if err != nil || len(trades) != 1 {
				t.Fatalf("trades: %v, %v", trades, err)
			}
			for _, to := range []string{outside, address} {
				if w, err := withdraw(to); err != nil || w.ID == "" {
					t.Fatalf("withdraw to %s: %+v, %v", to, w, err)
				}
			}
			history, err := c.NewListWithdrawsService().Do(ctx)
			if err != nil || len(history) != 2 {
				t.Fatalf("history: %v, %v", history, err)
			}
			if a, err := c.NewGetAccountService().Do(ctx); err != nil || len(a.Balances) != 3 {
				t.Fatalf("account: %+v, %v", a, err)
			}
			if _, err := c.NewGetAPIKeyPermission().Do(ctx); err != nil {
				t.Fatalf("permissions: %v", err)
			}

			r.hold.Freeze(account)
			refused := func(name string, code int64, err error) {
				t.Helper()
				var e *common.APIError
				if !errors.As(err, &e) || e.Code != code || e.Message != disabledMessage {
					t.Errorf("%s while frozen: %v, want code %d", name, err, code)
				}
			}
			_, err = order()
			refused("order", -2010, err)
			_, err = c.NewCancelOrderService().Symbol("BTCUSDT").OrderID(o.OrderID).Do(ctx)
			refused("cancel", -2011, err)
			_, err = c.NewCancelOpenOrdersService().Symbol("BTCUSDT").Do(ctx)
			refused("cancel all", -2011, err)
			_, err = withdraw(outside)
			refused("withdraw", -3022, err)
			_, err = withdraw(address)
			refused("transfer", -3022, err)
			_, err = c.NewGetAccountService().Do(ctx)
			refused("account", -2010, err)
			r.wantBooksRight()
		})
	}
}
