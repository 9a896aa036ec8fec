package evidence

import "log/slog"

// AccountID names an account: a UUIDv7 as text.
type AccountID string

// Platform is the account whose chain records what concerns no single holder: services,
// enforcers, operators' acts on the server itself.
const Platform AccountID = "platform"

// Kind says what sort of actor acts.
type Kind string

// The kinds of actors. Link and Code act for whoever holds them, which is why they can only close.
const (
	Holder     Kind = "holder"     // a person with a live session
	Operator   Kind = "operator"   // runs the server; acts through its socket
	Integrator Kind = "integrator" // the platform's own software, with a service key
	Key        Kind = "key"        // an API key of the account
	Link       Kind = "link"       // whoever holds a mailed link
	Code       Kind = "code"       // whoever holds a freeze code
	Nobody     Kind = "nobody"     // not signed in
	System     Kind = "system"     // Holdfast itself
)

// Actor is who does something and from where. An edge makes it; rooms pass it on.
type Actor struct {
	Kind Kind `json:"kind"`
	// ID names the actor within its kind: operator's name, service, key id, link id.
	ID string `json:"id,omitempty"`
	// Session and Device are ids, never secrets.
	Session string `json:"session,omitempty"`
	Device  string `json:"device,omitempty"`
	// Address is the client's IP address as a trusted party gave it, Agent its User-Agent, Place
	// the place found for the address; each may be empty.
	Address string `json:"address,omitempty"`
	Agent   string `json:"agent,omitempty"`
	Place   string `json:"place,omitempty"`
}

// Name is a short name of the actor for adding up refusals: kind and id, without where.
func (a Actor) Name() string {
	switch {
	case a.ID != "":
		return string(a.Kind) + ":" + a.ID
	case a.Session != "":
		return string(a.Kind) + ":" + a.Session
	case a.Address != "":
		return string(a.Kind) + "@" + a.Address
	default:
		return string(a.Kind)
	}
}

// LogValue prints the actor in logs.
func (a Actor) LogValue() slog.Value { return slog.StringValue(a.Name()) }
