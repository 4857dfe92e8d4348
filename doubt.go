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
	"strings"
	"syscall"
	"unicode/utf8"
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

// OnError sets which errors of a guarded function can hide a payment. After such an error the purchase stays booked and
// unconfirmed, and the call returns a [*ConfirmError] with MayHaveSpent; after any other the money returns to the budget.
// [NotPaid] and [Approval.Spent] have precedence over it.
//
// The default, [MayHavePaid], takes timeouts, cancellations, broken connections and unknown outcomes for such errors. A
// function that returns false for every error refunds after all of them. When mayHavePaid panics, ends its goroutine or
// takes more than 5 seconds, the error counts as one that can hide a payment, and so does a nil pointer returned as an
// error, whatever mayHavePaid says. Calls of the guarded function at the same time call mayHavePaid at the same time.
func OnError(mayHavePaid func(error) bool) GuardOption {
	return func(g *guardConfig) error {
		if mayHavePaid == nil {
			return paramError("OnError", "", "want a function; leave the option out for MayHavePaid")
		}
		g.mayHavePaid = mayHavePaid
		return nil
	}
}

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
	case *notPaidError, *RejectedError, *PendingError, *ExpiredError, *MismatchError, *ParamError, *AlreadyHandledError:
		return false, true
	case *ConfirmError: // of a guarded call inside
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
	if hidesByItself(err) {
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

var doubtful = []error{
	context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed,
	syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
}

// hidesByItself looks at one error without what it wraps.
func hidesByItself(err error) bool {
	if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
		return true
	}
	is, hasIs := err.(interface{ Is(error) bool })
	for _, doubt := range doubtful {
		if reflect.TypeOf(err).Comparable() && err == doubt || hasIs && is.Is(doubt) {
			return true
		}
	}
	return false
}

// inDoubt judges an error of the guarded function. It calls code of the user's: the error's methods and OnError.
func (g *guardConfig) inDoubt(err error) bool {
	if err == errDidNotReturn {
		return false
	}
	doubt, failure := contained(hookLimit, func() (bool, error) {
		if _, ok := errors.AsType[*notPaidError](err); ok {
			return false, nil
		}
		if g.mayHavePaid != nil {
			return g.mayHavePaid(err), nil
		}
		return MayHavePaid(err), nil
	})
	return doubt || failure != nil || isTypedNil(err)
}

// isTypedNil reports whether err is a nil pointer in an error's clothes: the function most likely meant no error.
func isTypedNil(err error) bool {
	value := reflect.ValueOf(err)
	return value.Kind() == reflect.Pointer && value.IsNil()
}

const maxErrorText = 64 << 10 // how much of an error's text is kept

// textOfUsers returns the text of an error of the user's, whose Error method may panic, and cut to a bearable length.
func textOfUsers(err error) string {
	text, failure := contained(hookLimit, func() (string, error) { return err.Error(), nil })
	if failure != nil {
		return "an error whose text cannot be had: " + failure.Error()
	}
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "…"
	}
	if text = strings.ToValidUTF8(text, string(utf8.RuneError)); text == "" {
		text = "failed"
	}
	return text
}
