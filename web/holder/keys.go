package holder

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/fault"
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
	p := &keysPage{Frame: v.frame("API keys", "/keys"), Keys: keyCards(ks, true, v.Protection.Frozen()),
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

func keyCards(ks []key, acts, frozen bool) page.Cards {
	var cards page.Cards
	for _, k := range ks {
		c := page.Card{Title: page.Clip(k.Label, 120), Icon: "key-round", Tag: keyTag(k.State), Facts: page.Facts{
			{Term: "Key", Value: page.Address(k.ID)},
			{Term: "May", Value: page.Text(mayDo(k.Scopes))},
			{Term: "From", Value: page.Text(from(prefixes(k.Addresses)))},
			{Term: "Last used", Value: lastUse(k)},
			{Term: "Made", Value: page.Moment{At: k.CreatedAt, Never: "Unknown"}},
		}}
		if !k.ExpiresAt.IsZero() {
			c.Facts = append(c.Facts, page.Fact{Term: "Ends", Value: page.Moment{At: k.ExpiresAt}})
		}
		if !k.WithdrawFrom.IsZero() {
			c.Facts = append(c.Facts, page.Fact{Term: "Withdraws from", Value: page.Moment{At: k.WithdrawFrom}})
		}
		if acts {
			c.Acts = page.Actions{page.Button{Label: "Delete", Icon: "trash-2", Opens: "delete-" + k.ID}.Quiet().Smaller().On(k.Label)}
			if k.State == "suspended" && !frozen {
				c.Text = "Suspended by the freeze that has ended. It works again only if you say so."
				c.Acts = append(page.Actions{page.Button{Label: "Let it work again"}.Quiet().Smaller().On(k.Label).To("/keys/enable?key=" + url.QueryEscape(k.ID))}, c.Acts...)
			}
		}
		cards = append(cards, c)
	}
	return cards
}

func keyTag(state string) page.Part {
	switch state {
	case "suspended":
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
	if k.LastAddress == "" {
		return page.Moment{At: k.LastUsedAt}
	}
	return page.Lines{page.Moment{At: k.LastUsedAt}, page.Text("from " + k.LastAddress)}
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
		Label: page.Field{Name: "label", Label: "Name", Hint: "So that you know it again in a year.", Required: true, Max: 60, Value: f.Label, Autocomplete: "off", Error: f.Wrong["label"]},
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
		Facts: page.Facts{{Term: "Name", Value: page.Text(page.Clip(k.Label, 120))}, {Term: "Key", Value: page.Address(k.ID)}, {Term: "May", Value: page.Text(mayDo(k.Scopes))}, {Term: "From", Value: page.Text(from(prefixes(k.Addresses)))}},
		Acts:  page.Actions{page.Button{Label: "Done"}.To("/keys")}}
	if secret != "" {
		p.Lede = "Copy the secret now. It is shown this once, and we cannot show it again."
		p.Secret = &page.CodeSheet{Title: "Secret", Groups: []string{secret}, Long: true, Copy: true}
	}
	if !k.WithdrawFrom.IsZero() {
		p.Facts = append(p.Facts, page.Fact{Term: "Withdraws from", Value: page.Moment{At: k.WithdrawFrom}})
	}
	return p
}

func (p *Pages) getKeys(w http.ResponseWriter, r *http.Request, v *visit) {
	ks, err := account.ListKeys(r.Context(), p.cfg.DB, v.id)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "keys", keys(v.view, ks))
}

func (p *Pages) getKeyNew(w http.ResponseWriter, r *http.Request, v *visit) {
	p.set.Write(w, r, http.StatusOK, "key-new", keyNew(v.view, keyForm{Scopes: []string{account.Read}}))
}

// postKeyNew makes the key and shows its secret, once: the answer is the page itself, because a
// redirect could not carry a secret.
func (p *Pages) postKeyNew(w http.ResponseWriter, r *http.Request, v *visit) {
	f := keyForm{Label: r.PostFormValue("label"), Kind: r.PostFormValue("kind"), Public: r.PostFormValue("public_key"), Addresses: r.PostFormValue("addresses"), Days: r.PostFormValue("days"), Scopes: r.PostForm["scope"]}
	n := account.NewKey{Label: f.Label, Kind: account.KeyKind(f.Kind), PublicKey: f.Public, Scopes: f.Scopes, Addresses: strings.FieldsFunc(f.Addresses, separates), Password: r.PostFormValue("password")}
	if days, err := strconv.Atoi(f.Days); err == nil && days > 0 && days <= 3650 {
		n.ExpiresAt = p.cfg.DB.Now().Add(time.Duration(days) * 24 * time.Hour)
	}
	made, err := p.cfg.Accounts.CreateKey(r.Context(), v.by, v.id, n)
	switch {
	case err == nil:
		p.set.Write(w, r, http.StatusOK, "key-made", keyMade(v.view, made.Key, made.Secret.Reveal()))
	case typed(err):
		f.Wrong = map[string]string{field(err, "password"): fault.Say(err)}
		p.set.Write(w, r, status(err), "key-new", keyNew(v.view, f))
	default:
		p.fail(w, r, v, err)
	}
}

func separates(c rune) bool { return c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func (p *Pages) getKeyEnable(w http.ResponseWriter, r *http.Request, v *visit) {
	p.writeKeyEnable(w, r, v, http.StatusOK, r.URL.Query().Get("key"), "")
}

func (p *Pages) writeKeyEnable(w http.ResponseWriter, r *http.Request, v *visit, code int, id, wrong string) {
	ks, err := account.ListKeys(r.Context(), p.cfg.DB, v.id)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	i := slices.IndexFunc(ks, func(k key) bool { return k.ID == id })
	if i < 0 {
		p.fail(w, r, v, fault.New(fault.NotFound, "unknown_key", "There is no such key. It may have been deleted."))
		return
	}
	p.set.Write(w, r, code, "setting", keyEnable(v.view, ks[i], wrong))
}

func (p *Pages) postKeyEnable(w http.ResponseWriter, r *http.Request, v *visit) {
	id := r.PostFormValue("key")
	_, err := p.cfg.Accounts.EnableKey(r.Context(), v.by, v.id, id, r.PostFormValue("password"))
	switch {
	case err == nil:
		done(w, r, "/keys", "key-enabled")
	case typed(err):
		p.writeKeyEnable(w, r, v, status(err), id, fault.Say(err))
	default:
		p.fail(w, r, v, err)
	}
}

func (p *Pages) postKeyDelete(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := p.cfg.Accounts.DeleteKey(r.Context(), v.by, v.id, r.PostFormValue("key")); err != nil {
		p.fail(w, r, v, err)
		return
	}
	done(w, r, "/keys", "key-deleted")
}

func (p *Pages) postKeyDeleteAll(w http.ResponseWriter, r *http.Request, v *visit) {
	if _, err := p.cfg.Accounts.DeleteAllKeys(r.Context(), v.by, v.id); err != nil {
		p.fail(w, r, v, err)
		return
	}
	done(w, r, "/keys", "keys-deleted")
}
