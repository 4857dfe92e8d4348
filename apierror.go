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

// APIError reports a call that the service refused, or that got no usable response.
//
// Use [errors.Is] for its category: [ErrUnauthorized], [ErrForbidden], [ErrNotFound], [ErrConflict], [ErrInvalid],
// [ErrRateLimited], [ErrTooManyPending], [ErrServer], [ErrNoResponse], [ErrMalformedResponse].
type APIError struct {
	Op             operation.Op // what was called
	Method         string       // the HTTP method
	Path           string       // the path called, without host and query
	StatusCode     int          // the HTTP status; 0 if no response arrived or nothing was sent
	Detail         string       // the service's reason, or a sample of a response not in JSON; at most 500 characters
	Fields         []FieldError // the fields refused, for a 422; at most 20
	Attempts       int          // how often the request was sent
	IdempotencyKey string       // the key that a purchase was sent under
	Err            error        // the cause, if known: a network error, context.Canceled, a JSON error; without tokens

	retryAfter time.Duration
	malformed  bool
	unsent     bool // the request certainly did not reach the service
	explained  bool // the service itself has given a reason
	answered   bool // a complete JSON object arrived; for a 2xx, one that only the service can have written
	untrusted  bool // the server could not prove its identity
	waiting    bool // nothing was sent, because another call that must not overlap this one had not ended
	withdrawn  bool // the purchase was approved, nothing ran, and it was refunded
}

func (e *APIError) Error() string {
	var b strings.Builder
	b.WriteString("letagentpay: " + string(e.Op) + ": ")
	switch {
	case e.waiting:
		b.WriteString("not sent")
	case e.withdrawn:
		b.WriteString("approved, not run and refunded")
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
	b.WriteString(causeSuffix(e.Err))
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
	detailTooManyPending = "pending" // two kinds of 429 differ only in their text
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
		return e.StatusCode == http.StatusConflict ||
			e.StatusCode == http.StatusBadRequest && strings.HasPrefix(e.Detail, detailCannotConfirm)
	case ErrInvalid:
		return e.StatusCode == http.StatusBadRequest || e.StatusCode == http.StatusUnprocessableEntity
	case ErrTooManyPending:
		return e.StatusCode == http.StatusTooManyRequests &&
			strings.Contains(strings.ToLower(e.Detail), detailTooManyPending)
	case ErrRateLimited:
		return e.StatusCode == http.StatusTooManyRequests && !e.Is(ErrTooManyPending)
	case ErrServer:
		return e.StatusCode >= 500
	}
	return false
}

// Unwrap returns the cause, or nil.
func (e *APIError) Unwrap() error { return e.Err }

// because returns a copy of e with another cause, which also wraps the previous one. e may be nil.
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

// mayHaveTakenEffect reports whether the service may have carried out the call although it did not confirm that. A
// redirected write may have taken effect, because servers redirect after a form that they accepted.
func (e *APIError) mayHaveTakenEffect() bool {
	if e.unsent {
		return false
	}
	if e.StatusCode/100 == 3 {
		return e.Method != http.MethodGet
	}
	return e.StatusCode == 0 || e.StatusCode >= 500 || e.StatusCode == http.StatusRequestTimeout || e.malformed
}

// isRetryable reports whether another attempt may succeed.
func (e *APIError) isRetryable() bool {
	return e.StatusCode != http.StatusNotImplemented && e.StatusCode/100 != 3 && !errors.Is(e, errTooLarge)
}

// fate returns what is known of the attempt. It does not cover the effect: an attempt that ended may have taken effect,
// for example with a 500, and one that may still run may never have arrived.
func (e *APIError) fate() fate {
	switch {
	case e.unsent || e.waiting:
		return neverArrived
	case e.StatusCode == http.StatusRequestTimeout || e.StatusCode == statusClientClosed:
		return mayStillRun // an intermediary has given up
	case gatewayStatus(e.StatusCode):
		return mayStillRun // even with a JSON body, because the service never returns these
	case e.explained:
		return ended
	case e.answered && (e.StatusCode/100 == 2 || e.StatusCode/100 == 4):
		return ended
	default:
		return mayStillRun
	}
}

// fate is what is known of a failed attempt: whether the service may still be working on it.
type fate int

const (
	// neverArrived: nothing reached the service, and nothing will.
	neverArrived fate = iota
	// ended: the service itself has responded, so it has finished the attempt.
	ended
	// mayStillRun: the service may be working on the attempt, or may receive it later.
	mayStillRun
)

// statusClientClosed is nginx's status for a client that has closed the connection.
const statusClientClosed = 499

// gatewayStatus reports whether a gateway returns this status for a service that has not responded. Some of these
// responses have a JSON body with a "detail", such as problem details (RFC 9457).
func gatewayStatus(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusGatewayTimeout ||
		status >= 520 && status <= 530 || status >= 598
}

// FieldError is one field that the service refused (422).
type FieldError struct {
	Field   string // its path in the body, such as "payment_requirements.network"; empty for the whole body
	Type    string // the kind of mistake, such as "missing", "greater_than" or "string_too_long"
	Message string // the service's text
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
