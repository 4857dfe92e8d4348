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

	"github.com/letagentpay/letagentpay-go/journal"
)

// NotPaid marks an error of a guarded function. By marking it you assert that the whole call has paid nothing: the
// purchase is then refunded, although the error could hide a payment, such as a timeout before the payment was sent.
// The mark counts anywhere in the tree of the error that the function returns, including errors joined with
// [errors.Join]. [errors.Is] and [errors.As] see err. NotPaid(nil) is nil.
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
// connection that broke after it was made, an [*OutcomeUnknownError], or an error that a nested guarded call returns
// after it has paid. Errors marked with [NotPaid] cannot. Nor can errors that show that this call ran or sent nothing:
// [ErrNotApproved], [*MismatchError], [*ParamError], [*AlreadyHandledError], a connection that could not be made.
//
// MayHavePaid checks every error that err wraps, except inside errors of this package, which decide alone. One joined
// error that can hide a payment is enough, unless another is marked with NotPaid.
func MayHavePaid(err error) bool {
	hides, decided := hidesPayment(err)
	return hides && decided
}

// hidesPayment walks the tree of an error. decided is false if no error in it shows anything.
func hidesPayment(err error) (hides, decided bool) {
	if err == nil {
		return false, false
	}
	switch e := err.(type) { // not errors.As: each error of the tree counts
	case *notPaidError, *NotApprovedError, *MismatchError, *ParamError, *AlreadyHandledError:
		return false, true
	case *UnconfirmedError: // of a nested guarded call
		return e.MayHaveSpent || e.Params.Success, true
	case *JournalError:
		return e.State == journal.Returned || e.State == journal.Settled, true
	case *OutcomeUnknownError, *OverspendError, *DuplicateError:
		return true, true
	case *APIError:
		return !e.waiting && !e.withdrawn && e.mayHaveTakenEffect(), true
	case *net.OpError, *net.DNSError, *tls.CertificateVerificationError:
		return !neverSent(err), true
	case *url.Error: // net/http has begun the exchange, unless the wrapped error shows otherwise
		if hides, decided := hidesPayment(e.Err); decided || e.Op == "parse" {
			return hides, true
		}
		return true, true
	}
	if isAmbiguous(err) {
		// The wrapped error may show more: a timeout while dialling has paid nothing.
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

// anyHidesPayment is hidesPayment for joined errors. One that is marked with NotPaid decides for all.
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

// ambiguous are errors that can occur before or after a payment.
var ambiguous = []error{
	context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded,
	io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed,
	syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
}

// isAmbiguous reports whether an error can hide a payment, apart from the errors that it wraps.
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
