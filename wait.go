package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

const (
	defaultWaitMin = time.Second
	defaultWaitMax = 15 * time.Second
	waitGrowth     = 1.5
)

// WaitOption adjusts one wait; see [Client.WaitForDecision].
type WaitOption func(*waitConfig) error

type waitConfig struct {
	timeout  time.Duration // 0: as long as ctx allows
	min, max time.Duration
}

func newWaitConfig(opts []WaitOption) (*waitConfig, error) {
	w := &waitConfig{min: defaultWaitMin, max: defaultWaitMax}
	for _, option := range opts {
		if option == nil {
			return nil, paramError("WaitOption", "", "want an option, not nil")
		}
		if err := option(w); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// WaitTimeout bounds the wait: after d it ends with a [*WaitTimeoutError]. A deadline of the context bounds it too,
// whichever comes first. Without either, the wait lasts until the request is decided or expires.
func WaitTimeout(d time.Duration) WaitOption {
	return func(w *waitConfig) error {
		if d <= 0 {
			return paramError("WaitTimeout", d.String(), "want a duration above zero; leave the option out to wait as long as the context allows")
		}
		w.timeout = d
		return nil
	}
}

// WaitInterval bounds the pause between two looks at the request. It begins at shortest and grows, with jitter, to
// longest; the default is 1 to 15 seconds.
func WaitInterval(shortest, longest time.Duration) WaitOption {
	return func(w *waitConfig) error {
		if shortest <= 0 || longest < shortest {
			return paramError("WaitInterval", shortest.String()+" to "+longest.String(), "want a shortest pause above zero and a longest one not below it")
		}
		w.min, w.max = shortest, longest
		return nil
	}
}

// delay returns the pause after the nth look, counted from 0: between half and the whole of a growing span, within the
// bounds.
func (w *waitConfig) delay(n int) time.Duration {
	full := w.max
	if span := float64(w.min) * math.Pow(waitGrowth, float64(n)); span < float64(w.max) {
		full = time.Duration(span)
	}
	least := max(w.min, full/2)
	return least + rand.N(full-least+1)
}

// WaitForDecision polls a request until it is no longer pending, and returns it as it then is: approved, rejected,
// expired, or confirmed already. A rejection is an answer here, not an error.
//
// The wait ends early with a [*WaitTimeoutError], which holds the last state seen, when the deadline of ctx or
// [WaitTimeout] passes; a last look is fitted in before. When ctx is cancelled, the error matches [context.Canceled].
// Passing failures of the service or the network are waited out; an [*APIError] that matches [ErrUnauthorized],
// [ErrForbidden] or [ErrNotFound] ends the wait. A status that this version does not know counts as undecided.
func (c *Client) WaitForDecision(ctx context.Context, requestID string, opts ...WaitOption) (*Request, error) {
	if ctx == nil {
		return nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	if err := checkRequestID(requestID); err != nil {
		return nil, err
	}
	w, err := newWaitConfig(opts)
	if err != nil {
		return nil, err
	}
	return c.poll(ctx, requestID, w)
}

func (c *Client) poll(ctx context.Context, requestID string, w *waitConfig) (*Request, error) {
	bounded := ctx
	if w.timeout > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	deadline, limited := bounded.Deadline()
	timeout := &WaitTimeoutError{RequestID: requestID}
	for n, final := 0, false; ; n++ {
		asked := time.Now()
		read, err := c.request(bounded, requestID, 0)
		latency := time.Since(asked)
		switch {
		case err == nil && read.Status.Decided():
			return read, nil
		case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
			return nil, waitCancelled(requestID, ctx.Err())
		case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden), errors.Is(err, ErrNotFound):
			return nil, err
		case err == nil:
			timeout.Last, timeout.Err = read, nil
		case bounded.Err() == nil:
			timeout.Err = err // a poll that the deadline cut short says nothing
		}
		if final || bounded.Err() != nil {
			return nil, timeout
		}
		pause := w.delay(n)
		if failure, ok := errors.AsType[*APIError](err); ok {
			pause = max(pause, failure.retryAfter)
		}
		if limited {
			remaining := time.Until(deadline)
			if last := remaining - lastLook(remaining, latency); pause >= last {
				pause, final = last, true
			}
		}
		if err := sleep(bounded, pause); err != nil && ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, waitCancelled(requestID, ctx.Err())
		}
	}
}

// lastLook returns how long before the deadline the last look begins: time enough for an answer, judged by the one
// before.
func lastLook(remaining, latency time.Duration) time.Duration {
	return min(max(2*latency, 50*time.Millisecond), time.Second, remaining/2)
}

func waitCancelled(requestID string, err error) error {
	return fmt.Errorf("letagentpay: wait for request %s: %w", requestID, err)
}
