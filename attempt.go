package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// attemptTransport limits the time of each attempt, from connecting to the last byte of the body.
type attemptTransport struct {
	next   http.RoundTripper
	limits attemptLimits
}

func (at *attemptTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	a := &limitedAttempt{caller: request.Context()}
	if deadline, ok := a.caller.Deadline(); !ok || time.Until(deadline) > at.limits.limit {
		request = request.WithContext(at.limits.start(a.caller, a))
	}
	response, err := at.roundTrip(request)
	if err != nil {
		err = a.explainTimeout(err)
		a.end()
		return nil, err
	}
	a.body, response.Body = response.Body, a
	return response, nil
}

// roundTrip turns panics and invalid results of the caller's transport into errors.
func (at *attemptTransport) roundTrip(request *http.Request) (response *http.Response, err error) {
	defer panicAsError("the transport", &err)
	response, err = at.next.RoundTrip(request)
	switch {
	case err != nil:
		return nil, err
	case response == nil:
		return nil, errors.New("the transport returned neither a response nor an error")
	case response.Body == nil:
		response.Body = http.NoBody
	}
	return response, nil
}

// limitedAttempt is one attempt under its time limit. It is also the body of the response; closing it ends the attempt.
type limitedAttempt struct {
	caller     context.Context
	body       io.ReadCloser
	limits     *attemptLimits // nil: the caller's deadline comes before the limit
	cancel     context.CancelCauseFunc
	deadline   time.Time
	hasExpired atomic.Bool

	older, newer *limitedAttempt // in the list of limits
	isListed     bool
}

func (la *limitedAttempt) end() {
	if la.limits != nil {
		la.limits.end(la)
	}
}

func (la *limitedAttempt) Read(p []byte) (n int, err error) {
	defer panicAsError("the body of the response", &err)
	if n, err = la.body.Read(p); err != nil && err != io.EOF {
		err = la.explainTimeout(err)
	}
	return n, err
}

func (la *limitedAttempt) Close() (err error) {
	defer la.end()
	defer panicAsError("the body of the response", &err)
	return la.body.Close()
}

// explainTimeout returns an *attemptTimeoutError if the attempt's limit has ended, not the caller's context; otherwise
// err.
func (la *limitedAttempt) explainTimeout(err error) error {
	if la.hasExpired.Load() && la.caller.Err() == nil {
		return &attemptTimeoutError{la.limits.limit}
	}
	return err
}

// attemptTimeoutError reports that one attempt took too long.
type attemptTimeoutError struct {
	limit time.Duration
}

func (e *attemptTimeoutError) Error() string { return "no answer within " + e.limit.String() }

// Timeout returns true. With Temporary it makes the error a [net.Error].
func (e *attemptTimeoutError) Timeout() bool { return true }

// Temporary is part of [net.Error].
func (e *attemptTimeoutError) Temporary() bool { return true }

// panicAsError turns a panic in the caller's code into an error. It must be deferred.
func panicAsError(who string, err *error) {
	if value := recover(); value != nil {
		*err = &panicError{who: who, value: value}
	}
}

// panicError reports a panic of the caller's code, such as the transport set by [WithHTTPClient].
type panicError struct {
	who   string
	value any
}

func (e *panicError) Error() string { return fmt.Sprintf("%s panicked: %v", e.who, e.value) }

// Unwrap returns the value of the panic if it is an error.
func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}
