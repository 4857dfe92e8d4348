package letagentpay

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/operation"
)

// APIError is a call that the service refused or that got no usable answer.
//
// Ask with [errors.Is] for the category: [ErrUnauthorized], [ErrForbidden], [ErrNotFound], [ErrConflict],
// [ErrInvalid], [ErrRateLimited], [ErrTooManyPending], [ErrServer], [ErrNoResponse], [ErrMalformedResponse].
type APIError struct {
	Op             operation.Op // what was called
	Method         string       // the HTTP method
	Path           string       // the path called, without host and query
	StatusCode     int          // the HTTP status; 0 when no answer arrived, or nothing was sent
	Detail         string       // the service's explanation, at most 500 characters; for an answer that is no JSON, a sample of it
	Fields         []FieldError // the fields refused, for a 422; at most 20
	Attempts       int          // how often the request was sent
	IdempotencyKey string       // the key the purchase was sent under, if it was one
	Err            error        // the cause when there is one: a network error, context.Canceled, a JSON error; without tokens

	retryAfter time.Duration
	malformed  bool
	unsent     bool // the request is known not to have reached the service
	explained  bool // the service itself has said why
	answered   bool // a whole JSON object arrived, and for a 2xx one that the service itself must have written
	untrusted  bool // the server could not prove who it is
	waiting    bool // nothing was sent, because another call that it must not overlap was not over
	withdrawn  bool // the purchase was approved, nothing was run, and its money was given back
}

func (e *APIError) Error() string {
	var b strings.Builder
	b.WriteString("letagentpay: " + string(e.Op) + ": ")
	switch {
	case e.waiting:
		b.WriteString("not sent")
	case e.withdrawn:
		b.WriteString("approved, not run and given back")
	case e.StatusCode == 0:
		b.WriteString("no response")
	default:
		b.WriteString(strconv.Itoa(e.StatusCode))
		if text := http.StatusText(e.StatusCode); text != "" {
			b.WriteString(" " + text)
		}
	}
	if e.malformed {
		b.WriteString(": malformed response")
	}
	b.WriteString(becauseOf(e.Err))
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	for i, field := range e.Fields {
		b.WriteString([]string{": ", "; "}[min(i, 1)] + field.String())
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (after %d attempts)", e.Attempts)
	}
	return b.String()
}

const (
	detailTooManyPending = "pending" // the two 429s differ in their text alone
	detailCannotConfirm  = "Cannot confirm request with status"
)

// Is reports whether target is the category of this error.
func (e *APIError) Is(target error) bool {
	switch target {
	case ErrMalformedResponse:
		return e.malformed
	case ErrNoResponse:
		return e.StatusCode == 0 && !e.waiting && !e.withdrawn
	case ErrUnauthorized:
		return e.StatusCode == http.StatusUnauthorized
	case ErrForbidden:
		return e.StatusCode == http.StatusForbidden
	case ErrNotFound:
		return e.StatusCode == http.StatusNotFound
	case ErrConflict:
		return e.StatusCode == http.StatusConflict || e.StatusCode == http.StatusBadRequest && strings.HasPrefix(e.Detail, detailCannotConfirm)
	case ErrInvalid:
		return e.StatusCode == http.StatusBadRequest || e.StatusCode == http.StatusUnprocessableEntity
	case ErrTooManyPending:
		return e.StatusCode == http.StatusTooManyRequests && strings.Contains(strings.ToLower(e.Detail), detailTooManyPending)
	case ErrRateLimited:
		return e.StatusCode == http.StatusTooManyRequests && !e.Is(ErrTooManyPending)
	case ErrServer:
		return e.StatusCode >= 500
	}
	return false
}

// Unwrap returns the cause, or nil.
func (e *APIError) Unwrap() error { return e.Err }

// because returns a copy of e, which may be nil, with one more cause.
func (e *APIError) because(cause error) *APIError {
	if e == nil {
		return &APIError{Err: cause}
	}
	copied := *e
	copied.Err = cause
	if e.Err != nil {
		copied.Err = fmt.Errorf("%w (last: %w)", cause, e.Err)
	}
	return &copied
}

// mayHaveTakenEffect reports whether the service may have done what was asked although it did not say so. A redirect is
// how a form is answered that was taken.
func (e *APIError) mayHaveTakenEffect() bool {
	if e.unsent {
		return false
	}
	if e.StatusCode/100 == 3 {
		return e.Method != http.MethodGet
	}
	return e.StatusCode == 0 || e.StatusCode >= 500 || e.StatusCode == http.StatusRequestTimeout || e.malformed
}

// isRetryable reports whether another attempt may fare better.
func (e *APIError) isRetryable() bool {
	return e.StatusCode != http.StatusNotImplemented && e.StatusCode/100 != 3 && !errors.Is(e, errTooLarge)
}

// fate tells what may have become of the attempt. It says nothing about its effect: an attempt that ended may have
// taken effect, as a 500 may, and one that may still run may never have arrived.
func (e *APIError) fate() fate {
	switch {
	case e.unsent || e.waiting:
		return neverArrived
	case e.StatusCode == http.StatusRequestTimeout || e.StatusCode == statusClientClosed:
		return mayStillRun // somebody on the way has given up
	case gatewayStatus(e.StatusCode):
		return mayStillRun // whatever the body says: the service does not answer so
	case e.explained:
		return ended
	case e.answered && (e.StatusCode/100 == 2 || e.StatusCode/100 == 4):
		return ended
	default:
		return mayStillRun
	}
}

// fate is what is known of an attempt that ended in an error: whether the service may still be at work on it.
type fate int

const (
	// neverArrived: nothing reached the service, and nothing will.
	neverArrived fate = iota
	// ended: the service itself has answered, so it is done with the attempt.
	ended
	// mayStillRun: the service may have taken the attempt and be at work on it, or get to it yet.
	mayStillRun
)

// statusClientClosed is nginx's own status for a client that has hung up.
const statusClientClosed = 499

// gatewayStatus reports whether a status is one of those with which a gateway answers for a service that it has not heard
// of. Some of them come with a JSON body and a "detail", as problem details (RFC 9457) have one.
func gatewayStatus(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusGatewayTimeout || status >= 520 && status <= 530 || status >= 598
}

// FieldError is one field that the service refused (422).
type FieldError struct {
	Field   string // path inside the body: "amount", "payment_requirements.network"; empty for the body as a whole
	Type    string // the kind of mistake: "missing", "greater_than", "string_too_long", …
	Message string // the service's own words
}

func (e FieldError) String() string {
	text := e.Message
	if text == "" {
		text = e.Type
	}
	if e.Field == "" {
		return text
	}
	return e.Field + ": " + text
}
