package letagentpay

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
)

// redactError returns err, the error of somebody else, with a text that may be shown, and without what would tell a token.
func (t *transport) redactError(err error) error {
	err = panicSafe(err)
	return withText(err, t.cleaned(err.Error(), causeText))
}

// withoutToken is foreign for an error whose text is all right unless it tells a token.
func withoutToken(err error) error {
	return withText(err, redact("", err.Error()))
}

// shownAs returns err as it is if it may be shown so, and with another text otherwise.
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

// redactedError takes the place of an error whose text may not be shown. What it wraps is found by errors.Is, and by
// errors.As as far as it tells no token. Like a secret, the cause is out of reach for whoever prints it.
type redactedError struct {
	text  string
	cause func() error
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return errors.Is(e.cause(), target) }

// As implements what [errors.As] asks for.
func (e *redactedError) As(target any) bool {
	return asWithoutToken(e.cause(), reflect.ValueOf(target).Elem())
}

// redactedNetError is a redactedError of a [net.Error].
type redactedNetError struct {
	redactedError
	timeout bool
}

// Timeout and Temporary make it a [net.Error].
func (e *redactedNetError) Timeout() bool   { return e.timeout }
func (e *redactedNetError) Temporary() bool { return e.timeout }

// handOut is errors.As for the errors that tell no token.
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

// tells reports whether the text of err, or of an error that it wraps, holds a token.
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

// tellsValue reports whether target, as an As method has set it, is an error that tells a token. It is emptied then.
func clearIfHoldsToken(target reflect.Value) bool {
	err, ok := target.Interface().(error)
	if !ok || !errorHoldsToken(err) {
		return false
	}
	target.SetZero()
	return true
}

// causes returns what err wraps.
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

// sound returns err, or where it or what it wraps cannot be asked without a panic, an error with its text alone.
func panicSafe(err error) (whole error) {
	defer func() {
		if recover() != nil {
			whole = errors.New(errorText(err))
		}
	}()
	callMethods(err)
	return err
}

// ask calls the methods of err and of all that it wraps.
func callMethods(err error) {
	_ = err.Error()
	for _, cause := range causes(err) {
		callMethods(cause)
	}
}

// errorText returns the text of err, whose Error method may panic: it may be a nil pointer in an interface.
func errorText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("an error without a text (%T)", err)
		}
	}()
	return err.Error()
}

// becauseOf returns err as the end of a text, or nothing when it is nil.
func becauseOf(err error) string {
	if err == nil {
		return ""
	}
	return ": " + errorText(err)
}
