package letagentpay

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
)

// redactError returns another party's error with its text cleaned, and without access to causes that hold a token.
func (t *transport) redactError(err error) error {
	err = panicSafe(err)
	return withText(err, t.cleaned(err.Error(), causeText))
}

// withoutToken is redactError for an error whose text needs no other cleaning.
func withoutToken(err error) error {
	return withText(err, redact("", err.Error()))
}

// withText returns err itself if it has the text shown and holds no token. Otherwise it returns an error with that
// text.
func withText(err error, shown string) error {
	if shown == err.Error() && !errorHoldsToken(err) {
		return err
	}
	hidden := redactedError{text: shown, cause: func() error { return err }}
	if network, ok := errors.AsType[net.Error](err); ok {
		return &redactedNetError{hidden, network.Timeout()}
	}
	return &hidden
}

// redactedError replaces an error whose text must not be shown. errors.Is finds all that the error wraps, errors.As
// finds what holds no token. The cause is behind a function, as in a secret, so that printing does not show it.
type redactedError struct {
	text  string
	cause func() error
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return errors.Is(e.cause(), target) }

// As implements the method that [errors.As] looks for.
func (e *redactedError) As(target any) bool {
	return asWithoutToken(e.cause(), reflect.ValueOf(target).Elem())
}

// redactedNetError replaces a [net.Error].
type redactedNetError struct {
	redactedError
	timeout bool
}

// Timeout and Temporary make it a [net.Error].
func (e *redactedNetError) Timeout() bool   { return e.timeout }
func (e *redactedNetError) Temporary() bool { return e.timeout }

// asWithoutToken is errors.As, limited to errors that hold no token.
func asWithoutToken(err error, target reflect.Value) bool {
	if !errorHoldsToken(err) {
		return errors.As(err, target.Addr().Interface()) && !clearIfHoldsToken(target)
	}
	for _, cause := range causes(err) {
		if asWithoutToken(cause, target) {
			return true
		}
	}
	return false
}

// errorHoldsToken reports whether the text of err, or of an error that it wraps, holds a token.
func errorHoldsToken(err error) bool {
	if holdsToken(err.Error()) {
		return true
	}
	for _, cause := range causes(err) {
		if errorHoldsToken(cause) {
			return true
		}
	}
	return false
}

// clearIfHoldsToken clears target, and returns true, if an As method has set it to an error that holds a token.
func clearIfHoldsToken(target reflect.Value) bool {
	err, ok := target.Interface().(error)
	if !ok || !errorHoldsToken(err) {
		return false
	}
	target.SetZero()
	return true
}

// causes returns the errors that err wraps directly.
func causes(err error) []error {
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		if cause := wrapper.Unwrap(); cause != nil {
			return []error{cause}
		}
	case interface{ Unwrap() []error }:
		return slices.DeleteFunc(slices.Clone(wrapper.Unwrap()), func(cause error) bool { return cause == nil })
	}
	return nil
}

// panicSafe returns err. If a method of err, or of an error that it wraps, panics, it returns an error with the text of
// err instead.
func panicSafe(err error) (safe error) {
	defer func() {
		if recover() != nil {
			safe = errors.New(errorText(err))
		}
	}()
	callMethods(err)
	return err
}

// callMethods calls the methods of err and of everything that it wraps.
func callMethods(err error) {
	_ = err.Error()
	for _, cause := range causes(err) {
		callMethods(cause)
	}
}

// errorText returns the text of err. It survives an Error method that panics, such as that of a nil pointer.
func errorText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("an error without a text (%T)", err)
		}
	}()
	return err.Error()
}

// causeSuffix returns err as the end of a text: a colon and its own text, or nothing if err is nil.
func causeSuffix(err error) string {
	if err == nil {
		return ""
	}
	return ": " + errorText(err)
}
