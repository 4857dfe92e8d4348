package otelletagentpay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/operation"
)

// Values of letagentpay.outcome besides the statuses.
const (
	outcomeUnconfirmed    = "unconfirmed"
	outcomeAlreadyHandled = "already_handled"
	outcomeError          = "error"
)

// other stands for every unknown value, as in the semantic conventions, so that attributes have few values.
const other = "_OTHER"

// end is how an operation ended, in the values of the attributes. An unknown value is empty.
type end struct{ decision, outcome, errorType string }

func endOf(o *letagentpay.Observation) end {
	e := end{decision: decision(o), outcome: outcome(o)}
	if o.Err != nil && !regular(o) {
		e.errorType = errorType(o.Err)
	}
	return e
}

// regular reports whether an error is nothing but a decision, or a decision that is still missing. It does not unwrap:
// a wrapped or joined error holds something more, such as the error of a guarded function or of a journal.
func regular(o *letagentpay.Observation) bool {
	if o.Op == operation.Wait {
		return undecided(o.Err)
	}
	switch err := o.Err.(type) {
	case *letagentpay.NotApprovedError:
		return err.Status != letagentpay.StatusPending || err.Err == nil || undecided(err.Err)
	case *letagentpay.AlreadyHandledError:
		return err.Request != nil && err.Request.Status.Final()
	}
	return false
}

// undecided reports whether a wait ended because its time was over or its caller gave up, without a failure.
func undecided(err error) bool {
	_, failed := errors.AsType[*letagentpay.APIError](err)
	return !failed && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled))
}

func decision(o *letagentpay.Observation) string {
	switch {
	case o.Op == operation.Confirm:
		return ""
	case o.Op == operation.Wait && undecided(o.Err):
		return string(letagentpay.StatusPending)
	case o.Status == letagentpay.StatusCompleted || o.Status == letagentpay.StatusFailed:
		return string(letagentpay.StatusApproved)
	case o.Status == "" || o.Status == letagentpay.StatusPending || o.Status.Decided():
		return string(o.Status)
	}
	return other
}

func outcome(o *letagentpay.Observation) string {
	switch o.Op {
	case operation.Confirm:
		if o.Status == letagentpay.StatusCompleted || o.Status == letagentpay.StatusFailed {
			return string(o.Status)
		}
	case operation.Guard:
		if _, ok := o.Err.(*letagentpay.AlreadyHandledError); ok {
			return outcomeAlreadyHandled
		}
		// A guarded function may contain another guarded call, whose errors are not this one's.
		unconfirmed, ok := errors.AsType[*letagentpay.UnconfirmedError](o.Err)
		if ok && unconfirmed.RequestID == o.RequestID {
			return outcomeUnconfirmed
		}
		if o.Status.Final() || o.Status == letagentpay.StatusPending && regular(o) {
			return string(o.Status)
		}
	default:
		return ""
	}
	return outcomeError
}

// errorTypes are the values of error.type for the SDK's errors. The first that matches counts: the state of the money
// comes before the cause, and the cause before a purchase that is pending or a call without an answer.
var errorTypes = []struct {
	name    string
	matches func(error) bool
}{
	{"unconfirmed", is[*letagentpay.UnconfirmedError]},
	{"outcome_unknown", is[*letagentpay.OutcomeUnknownError]},
	{"already_handled", is[*letagentpay.AlreadyHandledError]},
	{"mismatch", is[*letagentpay.MismatchError]},
	{"rejected", refused(letagentpay.StatusRejected)},
	{"expired", refused(letagentpay.StatusExpired)},
	{"overspend", is[*letagentpay.OverspendError]},
	{"settled", matching(letagentpay.ErrSettled)},
	{"malformed_response", matching(letagentpay.ErrMalformedResponse)},
	{"unauthorized", matching(letagentpay.ErrUnauthorized)},
	{"forbidden", matching(letagentpay.ErrForbidden)},
	{"not_found", matching(letagentpay.ErrNotFound)},
	{"conflict", matching(letagentpay.ErrConflict)},
	{"too_many_pending", matching(letagentpay.ErrTooManyPending)},
	{"rate_limited", matching(letagentpay.ErrRateLimited)},
	{"invalid", matching(letagentpay.ErrInvalid)},
	{"server", matching(letagentpay.ErrServer)},
	{"pending", refused(letagentpay.StatusPending)},
	{"canceled", matching(context.Canceled)},
	{"deadline_exceeded", matching(context.DeadlineExceeded)},
	{"no_response", matching(letagentpay.ErrNoResponse)},
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func matching(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// refused matches a purchase that is not approved, with a status.
func refused(status letagentpay.Status) func(error) bool {
	return func(err error) bool {
		refusal, ok := errors.AsType[*letagentpay.NotApprovedError](err)
		return ok && refusal.Status == status
	}
}

func errorType(err error) string {
	for _, known := range errorTypes {
		if known.matches(err) {
			return known.name
		}
	}
	return semconv.ErrorType(unwrapped(err)).Value.AsString()
}

// wrapperTypes are the types of the wrappers that the packages errors and fmt make. They say nothing about the error.
var wrapperTypes = map[reflect.Type]bool{
	reflect.TypeOf(errors.Join(io.EOF)):                  true,
	reflect.TypeOf(fmt.Errorf("%w", io.EOF)):             true,
	reflect.TypeOf(fmt.Errorf("%w, %w", io.EOF, io.EOF)): true,
}

// unwrapped returns the first error below such wrappers.
func unwrapped(err error) error {
	for wrapperTypes[reflect.TypeOf(err)] {
		var inner error
		switch wrapper := err.(type) {
		case interface{ Unwrap() error }:
			inner = wrapper.Unwrap()
		case interface{ Unwrap() []error }:
			inner = wrapper.Unwrap()[0]
		}
		if inner == nil {
			break
		}
		err = inner
	}
	return err
}
