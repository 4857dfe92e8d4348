package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// journalLimit is the time for one write to a journal. After it the call continues without the journal.
	journalLimit = 5 * time.Second
	// hookLimit is the time for an observer, a codec, or the Error method of a user's error.
	hookLimit = 5 * time.Second
	// logLimit is the time for a logger to log one record.
	logLimit = time.Second
)

var (
	errExited  = errors.New("it ended its goroutine")
	errTooSlow = errors.New("it took too long")
)

// runContained is runContainedWithin without a context.
func runContained[T any](limit time.Duration, do func() (T, error)) (T, error) {
	return runContainedWithin(context.Background(), limit, do)
}

// runContainedWithin runs a user's code. A panic, runtime.Goexit or a hang in it does not stop the caller. Code that
// exceeds the limit, or still runs when ctx ends, is left running, and its result is dropped.
func runContainedWithin[T any](ctx context.Context, limit time.Duration, do func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		o := outcome{err: errExited}
		defer func() {
			if r := recover(); r != nil {
				o.err = fmt.Errorf("it panicked: %v", r)
			}
			done <- o
		}()
		o.value, o.err = do()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.value, o.err
	case <-timer.C:
		var none T
		return none, errTooSlow
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

const maxErrorText = 64 << 10 // longer texts of errors are cut

// userErrorText returns the text of a user's error as valid UTF-8 of limited length. The error's Error method may panic
// or hang.
func userErrorText(err error) string {
	text, failure := runContained(hookLimit, func() (string, error) { return err.Error(), nil })
	if failure != nil {
		return "an error whose text is not available: " + failure.Error()
	}
	isLong := len(text) > maxErrorText
	text = strings.ToValidUTF8(text[:min(len(text), maxErrorText)], string(utf8.RuneError))
	if isLong || len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:min(len(text), maxErrorText)], "") + "…"
	}
	if text == "" {
		return "failed"
	}
	return text
}

// isTypedNil reports whether err is a nil pointer in a non-nil interface. The function most likely meant no error.
func isTypedNil(err error) bool {
	value := reflect.ValueOf(err)
	return value.Kind() == reflect.Pointer && value.IsNil()
}
