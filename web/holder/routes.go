package holder

import (
	"net/http"

	"holdfast/web/page"
)

// route is a pattern with what serves it. bare ones are no pages: they need no picture.
type route struct {
	pattern string
	serve   http.HandlerFunc
	bare    bool
}

// routes is every way into these pages.
func (p *Pages) routes() []route {
	all := []route{
		{"GET /{$}", p.in(p.getOverview), false},
		{"POST /signs/dismiss", p.in(p.postDismiss), true},

		{"GET /freeze", p.in(p.getFreeze), false},
		{"POST /freeze", p.in(p.postFreeze), true},
		{"GET /freeze/receipts", p.in(p.getReceipts), true},
		{"GET /freeze/{token}", p.out(p.getLink), false},
		{"POST /freeze/{token}", p.out(p.postLink), true},
		{"GET /emergency", p.out(p.getEmergency), false},
		{"POST /emergency", p.out(p.postEmergency), true},
		{"POST /emergency/link", p.out(p.postEmergencyLink), true},
		{"GET /emergency/sent", p.out(p.getEmergencySent), false},
		{"GET /offline", p.out(p.getOffline), false},
		{"GET /frozen", p.out(p.getFrozen), false},
		{"GET /frozen/receipts", p.out(p.getFrozenReceipts), true},

		{"GET /respond", p.in(p.getRespond), false},
		{"GET /respond/password", p.in(p.getRespondPassword), false},
		{"POST /respond/password", p.in(p.postRespondPassword), true},
		{"POST /respond/password/code", p.in(p.postRespondCode), true},
		{"GET /respond/devices", p.in(p.getRespondDevices), false},
		{"POST /respond/devices", p.in(p.postRespondDevices), true},
		{"GET /respond/keys", p.in(p.getRespondKeys), false},
		{"POST /respond/keys", p.in(p.postRespondKeys), true},
		{"GET /respond/done", p.in(p.getRespondDone), false},

		{"GET /devices", p.in(p.getDevices), false},
		{"POST /devices/remove", p.in(p.postRemoveDevice), true},
		{"POST /devices/remove-all", p.in(p.postRemoveAllDevices), true},
		{"GET /keys", p.in(p.getKeys), false},
		{"GET /keys/new", p.in(p.getKeyNew), false},
		{"POST /keys/new", p.in(p.postKeyNew), false},
		{"GET /keys/enable", p.in(p.getKeyEnable), false},
		{"POST /keys/enable", p.in(p.postKeyEnable), true},
		{"POST /keys/delete", p.in(p.postKeyDelete), true},
		{"POST /keys/delete-all", p.in(p.postKeyDeleteAll), true},
		{"GET /activity", p.in(p.getActivity), false},
		{"GET /security", p.in(p.getSecurity), false},
		{"GET /security/password", p.in(p.getPassword), false},
		{"POST /security/password", p.in(p.postPassword), true},
		{"POST /security/password/code", p.in(p.postPasswordCode), true},
		{"GET /security/password/keys", p.in(p.getPasswordKeys), false},
		{"POST /security/password/keys", p.in(p.postPasswordKeys), true},
		{"GET /security/mail", p.in(p.getMailSetting), false},
		{"POST /security/mail", p.in(p.postMailSetting), true},
		{"GET /security/phone", p.in(p.getPhone), false},
		{"POST /security/phone", p.in(p.postPhone), true},
		{"GET /security/limit", p.in(p.getLimit), false},
		{"POST /security/limit", p.in(p.postLimit), true},
		{"GET /security/freeze-code", p.in(p.getFreezeCode), false},
		{"POST /security/freeze-code", p.in(p.postFreezeCode), false},

		{"GET /sign-up", p.out(p.getSignUp), false},
		{"POST /sign-up", p.out(p.postSignUp), true},
		{"GET /sign-up/sent", p.out(p.getSignUpSent), false},
		{"GET /verify/{token}", p.out(p.getVerify), false},
		{"POST /verify/{token}", p.out(p.postVerify), false},
		{"GET /sign-in", p.out(p.getSignIn), false},
		{"POST /sign-in", p.out(p.postSignIn), true},
		{"POST /sign-in/go-on", p.in(p.postGoOn), true},
		{"POST /sign-out", p.in(p.postSignOut), true},
		{"GET /code", p.out(p.getCode), false},
		{"POST /code", p.out(p.postCode), true},
		{"GET /code/enter", p.out(p.getCodeEnter), false},
		{"POST /code/enter", p.out(p.postCodeEnter), true},
		{"GET /reset", p.out(p.getReset), false},
		{"POST /reset", p.out(p.postReset), true},
		{"GET /reset/sent", p.out(p.getResetSent), false},
		{"GET /reset/{token}", p.out(p.getResetSet), false},
		{"POST /reset/{token}", p.out(p.postResetSet), true},

		{"GET /assets/{name}", page.Assets, true},
		{"GET /worker.js", page.ServiceWorker, true},
		{"GET /manifest.webmanifest", page.Manifest, true},
	}
	if p.cfg.Mailbox != nil {
		all = append(all,
			route{"GET /mailbox", p.out(p.getMailbox), false},
			route{"GET /mailbox/{id}", p.out(p.getMail), false},
			route{"GET /mailbox/{id}/html", p.out(p.getMailHTML), true},
			route{"GET /design", p.set.Gallery, false})
	}
	return all
}
