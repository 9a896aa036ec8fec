package holder

import (
	"strings"

	"holdfast/web/page"
)

// keysPage lists the API keys.
type keysPage struct {
	page.Frame
	Keys   page.Cards
	Make   page.Part
	Asks   []page.Dialog
	All    page.Button
	AskAll page.Dialog
	Empty  page.Empty
}

func keys(v view, ks []key) *keysPage {
	p := &keysPage{Frame: v.frame("API keys", "/keys"), Keys: keyCards(ks, true),
		All: page.Button{Label: "Delete all keys", Icon: "trash-2", Opens: "delete-all"}.Quiet(),
		AskAll: page.Dialog{ID: "delete-all", Title: "Delete every API key?", Text: "Programs that use them stop at once. You can make new ones.", Cancel: "Keep them",
			Form: page.Form{Action: "/keys/delete-all", Button: page.Button{Label: "Delete them all"}.Danger()}},
		Empty: page.Empty{Icon: "key-round", Title: "No API keys", Text: "Programs cannot act for you. Make a key only when one needs to."},
	}
	if !v.Protective && !v.Protection.Frozen() {
		p.Make = page.Button{Label: "Make a key", Icon: "plus"}.Quiet().To("/keys/new")
	}
	for _, k := range ks {
		p.Asks = append(p.Asks, page.Dialog{ID: "delete-" + k.ID, Title: "Delete “" + page.Clip(k.Label, 60) + "”?", Text: "Programs that use this key stop at once. It does not come back by itself.", Cancel: "Keep it",
			Form: page.Form{Action: "/keys/delete", Hidden: []page.Hidden{{Name: "key", Value: k.ID}}, Button: page.Button{Label: "Delete it"}.Danger()}})
	}
	return p
}

func keyCards(ks []key, acts bool) page.Cards {
	var cards page.Cards
	for _, k := range ks {
		c := page.Card{Title: page.Clip(k.Label, 120), Icon: "key-round", Tag: keyTag(k.State), Facts: page.Facts{
			{Term: "Key", Value: page.Address(k.ID)},
			{Term: "May", Value: page.Text(mayDo(k.Scopes))},
			{Term: "From", Value: page.Text(from(k.Addresses))},
			{Term: "Last used", Value: lastUse(k)},
			{Term: "Made", Value: page.Moment{At: k.CreatedAt}},
		}}
		if !k.ExpiresAt.IsZero() {
			c.Facts = append(c.Facts, page.Fact{Term: "Ends", Value: page.Moment{At: k.ExpiresAt}})
		}
		if !k.WithdrawsFrom.IsZero() {
			c.Facts = append(c.Facts, page.Fact{Term: "Withdraws from", Value: page.Moment{At: k.WithdrawsFrom}})
		}
		if acts {
			c.Acts = page.Actions{page.Button{Label: "Delete", Icon: "trash-2", Opens: "delete-" + k.ID}.Quiet().Smaller().On(k.Label)}
			if k.State == "restored" {
				c.Text = "Suspended by the freeze that has ended. It works again only if you say so."
				c.Acts = append(page.Actions{page.Form{Action: "/keys/enable", Hidden: []page.Hidden{{Name: "key", Value: k.ID}}, Button: page.Button{Label: "Let it work again"}.Quiet().Smaller().On(k.Label)}}, c.Acts...)
			}
		}
		cards = append(cards, c)
	}
	return cards
}

func keyTag(state string) page.Part {
	switch state {
	case "suspended", "restored":
		return page.Tag{Tone: page.Wait, Icon: "lock", Text: "Suspended"}
	case "expired":
		return page.Tag{Icon: "clock", Text: "Expired"}
	}
	return page.Tag{Tone: page.Safe, Icon: "check", Text: "Works"}
}

func mayDo(scopes []string) string {
	words := map[string]string{"read": "read", "trade": "trade", "withdraw": "withdraw"}
	var may []string
	for _, s := range scopes {
		if w, ok := words[s]; ok {
			may = append(may, w)
		} else {
			may = append(may, s)
		}
	}
	if len(may) == 0 {
		return "Nothing"
	}
	s := list(may)
	return strings.ToUpper(s[:1]) + s[1:]
}

func from(addresses []string) string {
	if len(addresses) == 0 {
		return "Any address"
	}
	return strings.Join(addresses, ", ")
}

func lastUse(k key) page.Part {
	if k.LastUsedAt.IsZero() {
		return page.Text("Never")
	}
	if k.LastUsedAddress == "" {
		return page.Moment{At: k.LastUsedAt}
	}
	return page.Lines{page.Moment{At: k.LastUsedAt}, page.Text("from " + k.LastUsedAddress)}
}

// keyNewPage asks for what a new key needs.
type keyNewPage struct {
	page.Frame
	Mend      page.Summary
	Label     page.Field
	Kind      page.Choice
	Public    page.Field
	Scopes    page.Choice
	Addresses page.Field
	Expires   page.Choice
	Password  page.Field
}

// keyForm is what was typed into the page, and what is wrong with it, by field.
type keyForm struct {
	Label, Kind, Public, Addresses, Days string
	Scopes                               []string
	Wrong                                map[string]string
}

func keyNew(v view, f keyForm) *keyNewPage {
	has := func(scope string) bool {
		for _, s := range f.Scopes {
			if s == scope {
				return true
			}
		}
		return false
	}
	p := &keyNewPage{Frame: v.frame("Make an API key", "/keys"),
		Label: page.Field{Name: "label", Label: "Name", Hint: "So that you know it again in a year.", Required: true, Max: 80, Value: f.Label, Autocomplete: "off", Error: f.Wrong["label"]},
		Kind: page.Choice{Name: "kind", Legend: "How does the program sign?", Error: f.Wrong["kind"], Options: []page.Option{
			{Value: "hmac-sha256", Label: "With a secret from us", Hint: "HMAC-SHA256. We show the secret once.", Chosen: f.Kind != "ed25519"},
			{Value: "ed25519", Label: "With its own private key", Hint: "Ed25519. You give us the public key, and no secret ever leaves the program.", Chosen: f.Kind == "ed25519"}}},
		Public: page.Field{Name: "public_key", Label: "Public key", Hint: "Only for Ed25519: as PEM text.", Rows: 3, Value: f.Public, Max: 4000, Error: f.Wrong["public_key"]},
		Scopes: page.Choice{Name: "scope", Legend: "What may it do?", Many: true, Error: f.Wrong["scope"], Options: []page.Option{
			{Value: "read", Label: "Read balances and history", Chosen: has("read")},
			{Value: "trade", Label: "Trade", Chosen: has("trade")},
			{Value: "withdraw", Label: "Withdraw", Hint: "Only from addresses that you list below, and only 24 hours after the key is made.", Chosen: has("withdraw")}}},
		Addresses: page.Field{Name: "addresses", Label: "From which addresses may it be used?", Hint: "One IP address or network on each line. Needed for withdrawals, wise for everything.", Rows: 3, Value: f.Addresses, Max: 4000, Error: f.Wrong["addresses"]},
		Expires: page.Choice{Name: "days", Legend: "When does it end?", Error: f.Wrong["days"], Options: []page.Option{
			{Value: "30", Label: "In 30 days", Chosen: f.Days == "30"}, {Value: "90", Label: "In 90 days", Chosen: f.Days == "90" || f.Days == ""}, {Value: "0", Label: "Never", Chosen: f.Days == "0"}}},
		Password: page.Field{Name: "password", Label: "Your password", Hint: "A key can act in your name, so we ask once more.", Type: "password", Autocomplete: "current-password", Required: true, Max: 1000, Error: f.Wrong["password"]},
	}
	p.Mend = page.Summarize(p.Label, p.Kind, p.Public, p.Scopes, p.Addresses, p.Expires, p.Password)
	return p
}

// keyMadePage shows a new key and, once, its secret.
type keyMadePage struct {
	page.Frame
	Heading, Lede string
	Secret        *page.CodeSheet
	Facts         page.Facts
	Acts          page.Actions
}

func keyMade(v view, k key, secret string) *keyMadePage {
	p := &keyMadePage{Frame: v.frame("The key is made", "/keys"), Heading: "The key is made", Lede: "The program signs with its own private key. There is nothing to copy but the id.",
		Facts: page.Facts{{Term: "Name", Value: page.Text(page.Clip(k.Label, 120))}, {Term: "Key", Value: page.Address(k.ID)}, {Term: "May", Value: page.Text(mayDo(k.Scopes))}, {Term: "From", Value: page.Text(from(k.Addresses))}},
		Acts:  page.Actions{page.Button{Label: "Done"}.To("/keys")}}
	if secret != "" {
		p.Lede = "Copy the secret now. It is shown this once, and we cannot show it again."
		p.Secret = &page.CodeSheet{Title: "Secret", Groups: []string{secret}, Long: true, Copy: true}
	}
	if !k.WithdrawsFrom.IsZero() {
		p.Facts = append(p.Facts, page.Fact{Term: "Withdraws from", Value: page.Moment{At: k.WithdrawsFrom}})
	}
	return p
}
