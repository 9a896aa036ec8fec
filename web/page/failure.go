package page

import (
	"net/http"
	"time"
)

// Failure is an error page: what happened, what is safe, what to do next. No cause.
type Failure struct {
	Status int
	Title  string
	Say    []string
	// Acts are the ways on; the overview when empty.
	Acts Actions
	// Until is when it can be tried again; zero when that is not known.
	Until time.Time
	// Frame is what stands around it for somebody who is signed in; nil for everybody else.
	Frame *Frame
}

// The failures that a door itself can give.
var (
	Missing = Failure{Status: http.StatusNotFound, Title: "There is no page here",
		Say: []string{"The address may be mistyped or out of date. Nothing was changed."}}
	WrongMethod = Failure{Status: http.StatusMethodNotAllowed, Title: "That cannot be done this way",
		Say: []string{"Nothing was changed. Go back and use the button on the page."}}
	NotAForm = Failure{Status: http.StatusUnsupportedMediaType, Title: "That cannot be done this way",
		Say: []string{"These pages only take their own forms. Nothing was changed."}}
	Unreadable = Failure{Status: http.StatusBadRequest, Title: "That could not be read",
		Say: []string{"What was sent is too large or damaged. Nothing was changed. Go back and try again."}}
	CrossSite = Failure{Status: http.StatusForbidden, Title: "That came from another site",
		Say: []string{"Another page tried to act in your name. It was stopped, and nothing was changed.", "If you pressed a button on this site, go back, reload the page and press again."}}
	Failed = Failure{Status: http.StatusInternalServerError, Title: "Something failed on our side",
		Say: []string{"We do not know whether your last press counted. Look at the overview before you press again. Freezing twice does no harm."}}
)

type failurePage struct {
	Frame
	Say   []string
	Until Moment
	Quote string
	Acts  Actions
}

// Fail sends an error page with the id of the request to quote.
func (s *Set) Fail(w http.ResponseWriter, r *http.Request, f Failure) {
	acts := f.Acts
	if acts == nil {
		acts = Actions{Button{Label: "Go to the overview", Href: "/"}.Quiet(), Button{Label: "Freeze without signing in", Href: "/emergency"}.Quiet()}
	}
	p := &failurePage{Say: f.Say, Until: Moment{At: f.Until}, Quote: RequestID(r.Context()), Acts: acts}
	if f.Frame != nil {
		p.Frame = *f.Frame
	}
	p.Title = f.Title
	s.Write(w, r, f.Status, "failure", p)
}
