package letagentpay

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/letagentpay/letagentpay-go/operation"
)

const (
	defaultWaitMin = time.Second
	defaultWaitMax = 15 * time.Second
	waitGrowth     = 1.5
)

// WaitForDecision polls a request until it is no longer pending, and returns it as it then is: approved, rejected,
// expired, or confirmed already. A rejection is an answer here, not an error.
//
// The wait ends early with a [*WaitTimeoutError], which holds the last state seen, when the deadline of ctx or
// [WaitTimeout] passes; a last look is fitted in before. When ctx is cancelled, the error matches [context.Canceled].
// Passing failures of the service or the network are waited out; an [*APIError] that matches [ErrUnauthorized],
// [ErrForbidden] or [ErrNotFound] ends the wait. A status that this version does not know counts as undecided.
//
// Any number of waits of one client share one poller, which lists the pending requests once for all and reads only
// those that have left the list. It runs while there are waits.
func (c *Client) WaitForDecision(ctx context.Context, requestID string, opts ...WaitOption) (*Request, error) {
	w, err := newWait(ctx, requestID, opts)
	if err != nil {
		return nil, err
	}
	if len(c.observers) > 0 || c.transport.logger != nil {
		return c.observedWait(ctx, w)
	}
	return c.wait(ctx, w)
}

func (c *Client) observedWait(ctx context.Context, w *wait) (request *Request, err error) {
	ctx, end := c.observe(ctx, operation.Wait)
	defer func() {
		o := Observation{RequestID: w.requestID, Err: err}
		if request != nil {
			o.Status, o.Amount, o.Currency, o.Category = request.Status, request.Amount, request.Currency, request.Category
		}
		end(o)
	}()
	return c.wait(ctx, w)
}

func (c *Client) wait(ctx context.Context, w *wait) (*Request, error) {
	if ctx.Err() == nil {
		c.poller.add(w)
		defer c.poller.remove(w)
	}
	return c.poller.await(ctx, w)
}

// wait is one WaitForDecision. Fields below the line are the watcher's, under its lock; after done is closed they are
// the waiter's.
type wait struct {
	requestID string
	config    *waitConfig
	started   time.Time
	deadline  time.Time       // zero: none
	events    chan *WaitEvent // latest look, for progress; nil: not wanted
	done      chan struct{}

	polls    int       // looks since the pauses began to grow
	next     time.Time // when a look is due
	final    bool      // that look is the last before the deadline
	last     *Request  // the last state seen
	err      error     // how the last look failed, if it did
	decided  *Request
	failure  error
	finished bool
}

func newWait(ctx context.Context, requestID string, opts []WaitOption) (*wait, error) {
	if ctx == nil {
		return nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	requestID, err := requestIDOf(requestID)
	if err != nil {
		return nil, err
	}
	config, err := newWaitConfig(opts)
	if err != nil {
		return nil, err
	}
	w := &wait{requestID: requestID, config: config, started: time.Now(), done: make(chan struct{})}
	w.deadline, _ = ctx.Deadline()
	if config.timeout > 0 {
		if deadline := w.started.Add(config.timeout); w.deadline.IsZero() || deadline.Before(w.deadline) {
			w.deadline = deadline
		}
	}
	if config.progress != nil {
		w.events = make(chan *WaitEvent, 1)
	}
	return w, nil
}

// apply takes over what a look found, and reports whether the request is decided.
func (w *wait) apply(found pollResult, begun time.Time) bool {
	state, err := found.requests[w.requestID], found.errs[w.requestID]
	if state == nil && err == nil {
		err = found.all
	}
	if state != nil {
		own := *state // others may wait for the same
		state = &own
	}
	switch {
	case state != nil && state.Status.Decided():
		w.finish(state, nil)
		return true
	case state != nil:
		w.last, w.err = state, nil
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden), errors.Is(err, ErrNotFound):
		w.finish(nil, err)
		return false
	case err != nil:
		w.err = err
	}
	if w.events != nil && (state != nil || err != nil) {
		select { // a look that was not reported yet gives way
		case <-w.events:
		default:
		}
		w.events <- &WaitEvent{RequestID: w.requestID, Request: state, Err: err}
	}
	if w.final && !begun.Before(w.next) { // not one that another wait has occasioned
		w.finish(nil, w.timeoutError())
	}
	return false
}

func (w *wait) report(event *WaitEvent) {
	event.Elapsed = time.Since(w.started)
	w.config.progress(*event)
}

func (w *wait) finish(decided *Request, failure error) {
	w.decided, w.failure, w.finished = decided, failure, true
	close(w.done)
}

func (w *wait) timeoutError() error {
	return &WaitTimeoutError{RequestID: w.requestID, Last: w.last, Err: w.err}
}

// WaitEvent is one look at a request that is waited for.
type WaitEvent struct {
	RequestID string
	Elapsed   time.Duration // since the wait began
	Request   *Request      // the state seen; nil when the look failed
	Err       error         // why it failed; it is repeated
}

// WaitOption adjusts one wait; see [Client.WaitForDecision].
type WaitOption func(*waitConfig) error

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
// longest; the default is 1 to 15 seconds. A look that another wait of the same client occasions comes on top.
func WaitInterval(shortest, longest time.Duration) WaitOption {
	return func(w *waitConfig) error {
		if shortest <= 0 || longest < shortest {
			return paramError("WaitInterval", shortest.String()+" to "+longest.String(), "want a shortest pause above zero and a longest one not below it")
		}
		w.min, w.max = shortest, longest
		return nil
	}
}

// WaitProgress calls report after each look that did not end the wait, for a display of progress. It is called in the
// goroutine that waits, so the wait lasts as long as report takes; when looks come faster, only the latest is reported.
func WaitProgress(report func(WaitEvent)) WaitOption {
	return func(w *waitConfig) error {
		if report == nil {
			return paramError("WaitProgress", "", "want a function, not nil")
		}
		w.progress = report
		return nil
	}
}

type waitConfig struct {
	timeout  time.Duration // 0: as long as ctx allows
	min, max time.Duration
	progress func(WaitEvent)
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

// delay returns the pause after the nth look, counted from 0: a growing span within the bounds, shortened by jitter, a
// number from 0.5 to 1.
func (config *waitConfig) delay(n int, jitter float64) time.Duration {
	span := math.Min(float64(config.min)*math.Pow(waitGrowth, float64(n)), float64(config.max))
	return max(config.min, time.Duration(span*jitter))
}

func waitJitter() float64 { return 0.5 + rand.Float64()/2 }
