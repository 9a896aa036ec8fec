package exchange

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	holdfastv1 "holdfast/api/holdfast/v1"
)

// apiError is a refusal in Binance's form. The codes are chosen so that clients written for
// Binance raise the right class of error; README.md has the table.
type apiError struct {
	status int
	code   int
	msg    string
	retry  time.Duration // for Retry-After; 0 for none
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s", e.code, e.msg) }

func fail(status, code int, msg string) *apiError {
	return &apiError{status: status, code: code, msg: msg}
}

func illegal(name string) *apiError {
	return fail(http.StatusBadRequest, -1100, fmt.Sprintf("Illegal characters found in parameter '%s'.", name))
}

func missing(name string) *apiError {
	return fail(http.StatusBadRequest, -1102, fmt.Sprintf("Mandatory parameter '%s' was not sent, was empty/null, or malformed.", name))
}

func filter(name string) *apiError {
	return fail(http.StatusBadRequest, -1013, "Filter failure: "+name)
}

const disabledMessage = "This action is disabled on this account."

var (
	errTooLarge    = fail(http.StatusRequestEntityTooLarge, -1100, "The request is too large.")
	errTooMany     = fail(http.StatusBadRequest, -1101, "Too many parameters sent for this endpoint.")
	errRepeated    = fail(http.StatusBadRequest, -1101, "Duplicate values for a parameter detected.")
	errContentType = fail(http.StatusUnsupportedMediaType, -1100, "The body must be application/x-www-form-urlencoded.")
	errClockAhead  = fail(http.StatusBadRequest, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
	errClockBehind = fail(http.StatusBadRequest, -1021, "Timestamp for this request is outside of the recvWindow.")
	errReplayed    = fail(http.StatusBadRequest, -1021, "This signed request has been used already.")
	errWindow      = fail(http.StatusBadRequest, -1131, "recvWindow must be less than 60000.")
	errKeyFormat   = fail(http.StatusUnauthorized, -2014, "API-key format invalid.")
	errScope       = fail(http.StatusUnauthorized, -2015, "Invalid API-key, IP, or permissions for action.")
	errSymbol      = fail(http.StatusBadRequest, -1121, "Invalid symbol.")
	errGone        = fail(http.StatusGone, -1020, "This operation is not supported. Use userDataStream.subscribe.signature on /ws-api/v3.")

	// errSignature answers an unknown, deleted, expired or wrongly signed key and a wrong
	// address alike, so that it tells a thief nothing. It is -1022 and not -2015 because ccxt
	// takes -2015 for a temporary ban once a call of the client has succeeded, and would go on
	// trying with a deleted key; -1022 is always its AuthenticationError.
	errSignature = fail(http.StatusUnauthorized, -1022, "Signature for this request is not valid.")

	// errInternal is an outcome that is certain: nothing was done. Binance uses 503 with this
	// very message for a request that failed, against its other 5xx, which mean "unknown".
	errInternal = fail(http.StatusServiceUnavailable, -1001, "Internal error; unable to process your request. Please try again.")

	// errUnknown is a fault of ours after which the outcome is not certain.
	errUnknown = fail(http.StatusInternalServerError, -1000, "An unknown error occurred while processing the request.")
)

// surface is a part of the API with its own codes for a refused account.
type surface int

const (
	spotSurface   surface = iota // /api/v3
	cancelSurface                // cancels on /api/v3
	sapiSurface                  // /sapi
)

// asAPIError gives the answer for an error of the exchange.
func asAPIError(err error, on surface) *apiError {
	var known *apiError
	var no *refusal
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &no):
		return refusalAnswer(no.decision, on)
	case errors.Is(err, errShort) && on == sapiSurface:
		return fail(http.StatusBadRequest, -4026, "You have insufficient balance.")
	case errors.Is(err, errShort):
		return fail(http.StatusBadRequest, -2010, "Account has insufficient balance for requested action.")
	case errors.Is(err, errDuplicate):
		return fail(http.StatusBadRequest, -2010, "Duplicate order sent.")
	case errors.Is(err, errNoMatch):
		return fail(http.StatusBadRequest, -2010, "No orders on opposite side of the book.")
	case errors.Is(err, errBookFull):
		return filter("MAX_NUM_ORDERS")
	case errors.Is(err, errNoOrder) && on == cancelSurface:
		return fail(http.StatusBadRequest, -2011, "Unknown order sent.")
	case errors.Is(err, errNoOrder):
		return fail(http.StatusBadRequest, -2013, "Order does not exist.")
	case errors.Is(err, errOwnAddress):
		return fail(http.StatusBadRequest, -4001, "The address belongs to your own account.")
	case errors.Is(err, errOtherBody):
		return fail(http.StatusBadRequest, -4001, "withdrawOrderId was used for another withdrawal.")
	case errors.Is(err, errInProgress):
		return fail(http.StatusBadRequest, -4001, "The same withdrawal is being processed.")
	case errors.Is(err, errNotRecorded):
		return fail(http.StatusBadRequest, -4001, "The withdrawal was refused.")
	}
	if errors.Is(err, errUnavailable) {
		return errInternal
	}
	return errUnknown
}

// refusalAnswer is Holdfast's no in Binance's words.
func refusalAnswer(d *holdfastv1.Decision, on surface) *apiError {
	switch d.GetVerdict() {
	case holdfastv1.Verdict_VERDICT_FROZEN:
		switch on {
		case cancelSurface:
			return fail(http.StatusBadRequest, -2011, disabledMessage)
		case sapiSurface:
			return fail(http.StatusBadRequest, -3022, disabledMessage)
		default:
			return fail(http.StatusBadRequest, -2010, disabledMessage)
		}
	case holdfastv1.Verdict_VERDICT_HELD:
		code := -4015
		msg := "Withdraw is limited."
		if d.GetHold() == "password_changed" || d.GetHold() == "password_reset" {
			code, msg = -4016, "Within 24 hours after changing your password, withdrawals are prohibited."
		}
		if s := d.GetSentence(); s != "" {
			msg = s
		}
		return fail(http.StatusBadRequest, code, msg)
	case holdfastv1.Verdict_VERDICT_OUT_OF_SCOPE:
		return errScope
	case holdfastv1.Verdict_VERDICT_TOO_MANY:
		e := fail(http.StatusTooManyRequests, -1003, "Too many requests.")
		e.retry = time.Minute
		if until := d.GetUntil(); until != nil {
			e.retry = max(time.Until(until.AsTime()), time.Second)
		}
		return e
	}
	return errSignature
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone; nothing to tell it
}

func writeError(w http.ResponseWriter, e *apiError) {
	if e.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(e.retry.Seconds()+0.999)))
	}
	writeJSON(w, e.status, map[string]any{"code": e.code, "msg": e.msg})
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
