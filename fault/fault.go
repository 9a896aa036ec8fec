// Package fault says in what way something failed and what may be said about it aloud.
//
// An error that crosses a room's door is a *Error: a Kind for code, a stable Code word for
// clients, a sentence for the person, and a cause for the operator. The danger here is that a
// cause, which may name tables, files or other people's accounts, ends up on a screen: Say never
// returns a cause, and an error of another type is always Internal with a fixed sentence.
package fault

import (
	"errors"
	"time"
)

// Kind is the way in which something failed. The faces map it to HTTP and Connect codes in one
// table each.
type Kind int

// The kinds. Internal is the zero value, so that a forgotten kind says the least.
const (
	Internal Kind = iota // our failure; the person can only try again
	Invalid              // the input can never succeed as it is
	Denied               // understood, and not allowed
	NotFound             // there is no such thing, or not for this actor
	Conflict             // contradicts what is already there
	TooMany              // allowed, but not so often; see Until
)

// String names the kind as logs and metrics do.
func (k Kind) String() string {
	switch k {
	case Invalid:
		return "invalid"
	case Denied:
		return "denied"
	case NotFound:
		return "not found"
	case Conflict:
		return "conflict"
	case TooMany:
		return "too many"
	default:
		return "internal"
	}
}

// Error is a failure that may be shown.
type Error struct {
	Kind Kind
	// Code is a stable word for programs, such as "frozen" or "password_short".
	Code string
	// Say is one or two sentences for the person: what happened, what is safe, what to do next.
	Say string
	// Until is when the refusal ends by itself; zero when it does not.
	Until time.Time
	// Cause is for operators and logs only.
	Cause error
}

// Error returns the code and the cause; it is for logs, not for people.
func (e *Error) Error() string {
	s := e.Kind.String() + " (" + e.Code + ")"
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New returns a failure with nothing to hide.
func New(kind Kind, code, say string) error {
	return &Error{Kind: kind, Code: code, Say: say}
}

// Wrap returns a failure whose cause is kept for operators.
func Wrap(kind Kind, code, say string, cause error) error {
	return &Error{Kind: kind, Code: code, Say: say, Cause: cause}
}

// Until returns a failure that ends by itself at the given time.
func Until(kind Kind, code, say string, until time.Time) error {
	return &Error{Kind: kind, Code: code, Say: say, Until: until}
}

// KindOf returns the kind of err; Internal for an error that is not ours.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// CodeOf returns the code word of err, "internal" for an error that is not ours.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Code != "" {
		return e.Code
	}
	return "internal"
}

// Say returns what may be said about err to the person who caused it.
func Say(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Say != "" {
		return e.Say
	}
	return "Something went wrong on our side. Nothing was changed. Try again in a moment."
}

// UntilOf returns when the refusal ends by itself, and whether it does.
func UntilOf(err error) (time.Time, bool) {
	if e, ok := errors.AsType[*Error](err); ok && !e.Until.IsZero() {
		return e.Until, true
	}
	return time.Time{}, false
}
