package exchange

import (
	"regexp"
	"slices"
	"strings"
)

// asset is something that accounts hold. Every asset here lives on one network.
type asset struct {
	name, title, network, networkTitle string
	// places is how many digits after the point a balance of it may have.
	places int32
	// fee is what the network takes from a withdrawal; internal transfers are free.
	fee Amount
	// least is the smallest withdrawal.
	least Amount
	// address is the form of an address on its network. The networks are simulated, so the
	// forms carry no checksum.
	address       *regexp.Regexp
	addressPrefix string
	addressDigits string
	addressLength int
}

const (
	bech32Digits = "023456789acdefghjklmnpqrstuvwxyz"
	hexDigits    = "0123456789abcdef"
)

var (
	bitcoinAddress  = regexp.MustCompile(`^(tb1|bc1)[02-9ac-hj-np-z]{11,71}$`)
	ethereumAddress = regexp.MustCompile(`^0x[0-9a-fA-F]{40}$`)
)

var assets = []asset{
	{name: "BTC", title: "Bitcoin", network: "BTC", networkTitle: "Bitcoin (simulated)", places: 8,
		fee: fixedAmount(1, -4), least: fixedAmount(1, -3),
		address: bitcoinAddress, addressPrefix: "tb1q", addressDigits: bech32Digits, addressLength: 38},
	{name: "ETH", title: "Ether", network: "ETH", networkTitle: "Ethereum (simulated)", places: 8,
		fee: fixedAmount(1, -3), least: fixedAmount(1, -2),
		address: ethereumAddress, addressPrefix: "0x", addressDigits: hexDigits, addressLength: 40},
	{name: "USDT", title: "Tether USD", network: "ETH", networkTitle: "Ethereum (simulated)", places: 8,
		fee: fixedAmount(1, 0), least: fixedAmount(10, 0),
		address: ethereumAddress, addressPrefix: "0x", addressDigits: hexDigits, addressLength: 40},
}

func findAsset(name string) (asset, bool) {
	i := slices.IndexFunc(assets, func(a asset) bool { return a.name == name })
	if i < 0 {
		return asset{}, false
	}
	return assets[i], true
}

// symbol is a market: base is bought and sold, quote pays for it.
type symbol struct {
	name, base, quote string
	// tick divides every price, step every quantity. tick x step never needs more than eight
	// places, so that every fill is an exact amount of both assets.
	tick, step Amount
	// most bounds a price and a quantity from above.
	maxPrice, maxQuantity Amount
	// leastNotional is the smallest price x quantity of an order.
	leastNotional Amount
}

var symbols = []symbol{
	{name: "BTCUSDT", base: "BTC", quote: "USDT", tick: fixedAmount(1, -2), step: fixedAmount(1, -5),
		maxPrice: fixedAmount(1, 6), maxQuantity: fixedAmount(9, 3), leastNotional: fixedAmount(5, 0)},
	{name: "ETHUSDT", base: "ETH", quote: "USDT", tick: fixedAmount(1, -2), step: fixedAmount(1, -4),
		maxPrice: fixedAmount(1, 6), maxQuantity: fixedAmount(9, 4), leastNotional: fixedAmount(5, 0)},
	{name: "ETHBTC", base: "ETH", quote: "BTC", tick: fixedAmount(1, -5), step: fixedAmount(1, -3),
		maxPrice: fixedAmount(1, 3), maxQuantity: fixedAmount(1, 5), leastNotional: fixedAmount(1, -4)},
}

func findSymbol(name string) (symbol, bool) {
	i := slices.IndexFunc(symbols, func(s symbol) bool { return s.name == name })
	if i < 0 {
		return symbol{}, false
	}
	return symbols[i], true
}

// fee is what the house keeps of what a side receives in a fill: a thousandth, cut to the
// asset's places in the customer's favour. Makers and takers pay the same.
func (a asset) tradeFee(received Amount) Amount {
	return received.Mul(fixedAmount(1, -3)).CutTo(a.places)
}

// mustAsset returns an asset named by a symbol of this file.
func mustAsset(name string) asset {
	a, _ := findAsset(name)
	return a
}

func (a asset) validAddress(address string) bool {
	return len(address) <= 128 && a.address.MatchString(address)
}

// normal is the one spelling of an address under which it is stored and compared.
func (a asset) normal(address string) string {
	if a.network == "ETH" {
		return strings.ToLower(address)
	}
	return address
}
