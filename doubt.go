package letagentpay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"reflect"
	"syscall"
)

// NotPaid marks an error of a guarded function as one that surely did not pay, so that the money returns to the budget
// although the error could hide a payment, such as a timeout before the payment was sent. The mark is a statement about
// the whole call: wherever it is in the tree of the error that the function returns, also beside other errors that
// [errors.Join] has joined, it decides. [errors.Is] and [errors.As] see err. NotPaid(nil) is nil.
func NotPaid(err error) error {
	if err == nil {
		return nil
	}
	return &notPaidError{err}
}

type notPaidError struct{ err error }

func (e *notPaidError) Error() string { return e.err.Error() }

func (e *notPaidError) Unwrap() error { return e.err }

// MayHavePaid reports whether an error of a guarded function can hide a payment: the end of a context, a timeout, a
// connection that broke after it was made, an [*OutcomeUnknownError], or what a guarded call inside returns after it has
// paid. Errors marked with [NotPaid] cannot, nor can errors that say that nothing was run or sent by this call:
// [ErrNotApproved], [*ParamError], [*AlreadyHandledError], a connection that could not be made. It looks at every error
// that err wraps, but not into the errors of this package, which decide by themselves. Of joined errors one that can hide
// a payment is enough, unless another is marked with NotPaid.
func MayHavePaid(err error) bool {
	hides, decided := hidesPayment(err)
	return hides && decided
}

// hidesPayment walks the tree of an error. decided is false where nothing in it says anything.
func hidesPayment(err error) (hides, decided bool) {
	if err == nil {
		return false, false
	}
	switch e := err.(type) { // each error of the tree is looked at by itself
	case *notPaidError, *NotApprovedError, *MismatchError, *ParamError, *AlreadyHandledError:
		return false, true
	case *UnconfirmedError: // of a guarded call inside
		return e.MayHaveSpent || e.Params.Success, true
	case *JournalError:
		return e.State == JournalExecuted || e.State == JournalSettled, true
	case *OutcomeUnknownError, *OverspendError, *DuplicateError:
		return true, true
	case *APIError:
		return !e.waiting && !e.withdrawn && e.mayHaveTakenEffect(), true
	case *net.OpError, *net.DNSError, *tls.CertificateVerificationError:
		return !neverSent(err), true
	case *url.Error: // of an exchange that net/http has begun, unless what it wraps says otherwise
		if hides, decided := hidesPayment(e.Err); decided || e.Op == "parse" {
			return hides, true
		}
		return true, true
	}
	if isAmbiguous(err) {
		// What it wraps may know better: a timeout while dialling has paid nothing.
		if hides, decided := hidesPayment(errors.Unwrap(err)); decided && !hides {
			return false, true
		}
		return true, true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return hidesPayment(e.Unwrap())
	case interface{ Unwrap() []error }:
		return anyHidesPayment(e.Unwrap())
	}
	return false, false
}

// anyHidesPayment is for joined errors. One that is certain, by NotPaid, decides for all.
func anyHidesPayment(errs []error) (hides, decided bool) {
	for _, err := range errs {
		if _, ok := errors.AsType[*notPaidError](err); ok {
			return false, true
		}
		h, d := hidesPayment(err)
		hides, decided = hides || h && d, decided || d
	}
	return hides, decided
}

var ambiguous = []error{
	context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed,
	syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
}

// isAmbiguous looks at one error without what it wraps.
func isAmbiguous(err error) bool {
	if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
		return true
	}
	is, hasIs := err.(interface{ Is(error) bool })
	for _, target := range ambiguous {
		if reflect.TypeOf(err).Comparable() && err == target || hasIs && is.Is(target) {
			return true
		}
	}
	return false
}
