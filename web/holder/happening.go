package holder

import (
	"context"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/ledger"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
	"holdfast/web/page"
)

// happening is one line of the activity: a movement, a sign-in or a change.
type happening struct {
	Kind string // "movement", "sign_in", "change"
	Name string // kind of the movement, or name of the act
	At   time.Time
	// By says who, when it was not a session of the account.
	By string
	// Device, Place and Address say from where.
	Device, Place, Address string
	// About names what was acted on: an amount, a key's name.
	About string
	// Movement is set for a movement.
	Movement *movement
	// seq is the entry's number in the evidence; 0 for a movement.
	seq int64
}

// Of the record, what is not the account's own life: reports that follow a movement, receipts,
// which the freeze shows, and mails.
var unshown = map[string]bool{
	permit.ReportMovements: true, permit.SubmitReceipt: true, permit.QueueMail: true, permit.HandOver: true, permit.RedeemHandOver: true,
	permit.RequestCode: true, permit.SendFreezeLink: true, permit.ExportEvidence: true, permit.SignUp: true,
}

// since is where a page of the activity goes on: after a movement, and below an entry.
type since struct {
	place ledger.Place
	seq   int64
}

// happenings returns up to limit of them, newest first, and where to go on; more is false at the
// end. kind is "" for all.
func happenings(ctx context.Context, db *store.DB, id account.ID, kind string, from since, limit int) (out []happening, next since, more bool, err error) {
	var moved []happening
	if kind == "" || kind == "movement" {
		list, err := ledger.Movements(ctx, db, id, from.place, limit+legs)
		if err != nil {
			return nil, from, false, err
		}
		for i := range list {
			moved = append(moved, happening{Kind: "movement", Name: string(list[i].Kind), At: list[i].At, Movement: &list[i]})
		}
	}
	var changed []happening
	if kind != "movement" {
		if changed, err = changes(ctx, db, id, kind, from.seq, limit+1); err != nil {
			return nil, from, false, err
		}
	}
	next = from
	for len(moved)+len(changed) > 0 && (len(out) < limit || goesOn(out, moved)) {
		if len(changed) == 0 || (len(moved) > 0 && moved[0].At.After(changed[0].At)) {
			out, next.place, moved = append(out, moved[0]), moved[0].Movement.Place(), moved[1:]
		} else {
			out, next.seq, changed = append(out, changed[0]), changed[0].seq, changed[1:]
		}
	}
	return out, next, len(moved)+len(changed) > 0, nil
}

// legs is how many movements of one moment are kept on one page at the least.
const legs = 8

// goesOn reports whether the next movement belongs to the moment of the last one shown, so that a
// trade is not cut in two.
func goesOn(shown, moved []happening) bool {
	return len(moved) > 0 && len(shown) > 0 && shown[len(shown)-1].Movement != nil && shown[len(shown)-1].At.Equal(moved[0].At)
}

// readAtMost bounds how much of a long record one page reads to find what it shows.
const readAtMost = 2000

func changes(ctx context.Context, db *store.DB, id account.ID, kind string, before int64, limit int) ([]happening, error) {
	var out []happening
	for read := 0; read < readAtMost && len(out) < limit; {
		entries, err := evidence.Read(ctx, db, db.Keys(), id, before, 100)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			break
		}
		read += len(entries)
		for _, e := range entries {
			before = e.Seq
			h := fromEntry(e)
			if !unshown[e.Act] && (kind == "" || kind == h.Kind) {
				out = append(out, h)
			}
		}
		if before <= 1 {
			break
		}
	}
	return out[:min(len(out), limit)], nil
}

func fromEntry(e evidence.Entry) happening {
	h := happening{Kind: "change", Name: e.Act, At: e.At, By: who(e.Actor), Place: e.Actor.Place, Address: e.Actor.Address, seq: e.Seq}
	if e.Act == permit.EnterSession || e.Act == permit.EnterProtective {
		h.Kind = "sign_in"
	}
	said := func(key string) string {
		text, _ := e.Detail[key].(string)
		return text
	}
	switch e.Act {
	case permit.RequestWithdrawal, permit.RequestTransfer:
		h.About = page.Amount{Number: said("amount")}.Grouped() + "\u00a0" + said("asset")
		if key, ok := strings.CutPrefix(said("credential"), account.KeyCredential+" "); ok {
			h.By = "API key " + key
		}
	case permit.CreateKey, permit.EnableKey, permit.DeleteKey:
		h.About = said("label")
	case permit.RemoveDevice:
		h.About = said("device")
	}
	if e.Actor.Agent != "" {
		h.Device = notice.DeviceName(e.Actor.Agent)
	}
	return h
}

// who names an actor that is not the holder's own session.
func who(a evidence.Actor) string {
	switch a.Kind {
	case evidence.Operator:
		return "The platform’s staff"
	case evidence.Integrator:
		return "The platform"
	case evidence.Key:
		return "API key " + a.ID
	case evidence.Link:
		return "A link in a mail"
	case evidence.Code:
		return "A code"
	}
	return ""
}
