package holder

import (
	"net/http"

	"holdfast/web/page"
)

// devicesPage lists from where the account was used.
type devicesPage struct {
	page.Frame
	Devices page.Cards
	Others  bool
	All     page.Button
	AskAll  page.Dialog
	Alone   page.Empty
}

func devices(v view, ds []device) *devicesPage {
	p := &devicesPage{Frame: v.frame("Devices", "/devices"), Devices: deviceCards(ds, true),
		All: page.Button{Label: "Remove every other device", Icon: "trash-2", Opens: "remove-all"}.Quiet(),
		AskAll: page.Dialog{ID: "remove-all", Title: "Remove every other device?", Text: "They are signed out at once and have to sign in anew. This one stays.", Cancel: "Keep them",
			Form: page.Form{Action: "/devices/remove-all", Button: page.Button{Label: "Remove them"}.Danger()}},
		Alone: page.Empty{Icon: "shield-check", Title: "Only this device", Text: "No other browser or app is signed in or remembered."},
	}
	for _, d := range ds {
		p.Others = p.Others || !d.This
	}
	return p
}

func deviceCards(ds []device, removable bool) page.Cards {
	var cards page.Cards
	for _, d := range ds {
		c := page.Card{Title: shownDevice(d).Name(), Icon: "monitor", Facts: page.Facts{
			{Term: "Place", Value: page.Text(place(d))},
			{Term: "Last seen", Value: page.Moment{At: d.LastSeen, Never: "Not yet"}},
			{Term: "First seen", Value: page.Moment{At: d.FirstSeen, Only: "date", Never: "Unknown"}},
		}}
		switch d.System {
		case "Android", "iOS":
			c.Icon = "smartphone"
		}
		if d.Name != "" && d.Name != c.Title {
			c.Text = page.Clip(d.Name, 80)
		}
		switch {
		case d.This:
			c.Tag = page.Tag{Tone: page.Safe, Icon: "check", Text: "This device"}
		case removable:
			c.Acts = page.Actions{page.Form{Action: "/devices/remove", Hidden: []page.Hidden{{Name: "device", Value: d.ID}}, Button: page.Button{Label: "Remove", Icon: "trash-2"}.Quiet().Smaller().On(c.Title)},
				page.Button{Label: "This wasn’t me", Icon: "user-x"}.Quiet().Smaller().On(c.Title).To("/freeze?because=unknown_sign_in")}
		}
		cards = append(cards, c)
	}
	return cards
}

func place(d device) string {
	switch {
	case d.Place != "" && d.Address != "":
		return d.Place + ", " + d.Address
	case d.Place != "":
		return d.Place
	case d.Address != "":
		return d.Address
	}
	return "Unknown"
}

func (p *Pages) getDevices(w http.ResponseWriter, r *http.Request, v *visit) {
	ds, err := p.cfg.Accounts.Devices(r.Context(), v.id, v.session.ID)
	if err != nil {
		p.fail(w, r, v, err)
		return
	}
	p.set.Write(w, r, http.StatusOK, "devices", devices(v.view, ds))
}

func (p *Pages) postRemoveDevice(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := p.cfg.Accounts.RemoveDevice(r.Context(), v.by, v.id, r.PostFormValue("device")); err != nil {
		p.fail(w, r, v, err)
		return
	}
	done(w, r, "/devices", "device-removed")
}

func (p *Pages) postRemoveAllDevices(w http.ResponseWriter, r *http.Request, v *visit) {
	if _, err := p.cfg.Accounts.RemoveAllDevices(r.Context(), v.by, v.id, true); err != nil {
		p.fail(w, r, v, err)
		return
	}
	done(w, r, "/devices", "devices-removed")
}
