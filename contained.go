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
	// journalLimit is how long one write of a journal may take before the call continues without it.
	journalLimit = 5 * time.Second
	// hookLimit is how long an observer, a codec, or the Error method of a function's error may take.
	hookLimit = 5 * time.Second
	// logLimit is how long a logger may take for one record.
	logLimit = time.Second
)

var (
	errExited  = errors.New("it ended its goroutine")
	errTooSlow = errors.New("it took too long")
)

// contained is containedWithin for what no context ends.
func contained[T any](limit time.Duration, do func() (T, error)) (T, error) {
	return containedWithin(context.Background(), limit, do)
}

// containedWithin runs code of the user's so that neither a panic, nor runtime.Goexit, nor a hang in it keeps the caller
// from its next step. Code that is too slow, or under way when ctx ends, is left to end by itself, and what it returns
// then is dropped.
func containedWithin[T any](ctx context.Context, limit time.Duration, do func() (T, error)) (T, error) {
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

// isTypedNil reports whether err is a nil pointer in an error's clothes: the function most likely meant no error.
func isTypedNil(err error) bool {
	value := reflect.ValueOf(err)
	return value.Kind() == reflect.Pointer && value.IsNil()
}
