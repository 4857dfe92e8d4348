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

// WaitForDecision polls a request until it is no longer pending, and returns its state then: approved, rejected,
// expired, or already confirmed. A rejection is a result, not an error.
//
// The wait ends early with a [*WaitTimeoutError], which holds the last state seen, at the deadline of ctx or after
// [WaitTimeout]; it polls once more just before. If ctx is cancelled, the error matches [context.Canceled]. Transient
// failures of the service or the network are retried. An [*APIError] that matches [ErrUnauthorized], [ErrForbidden] or
// [ErrNotFound] ends the wait. A status that this version does not know counts as undecided. A nil ctx, an invalid
// requestID or an invalid option is a [*ParamError].
//
// WaitForDecision is safe for concurrent use. All waits of a client share one poller, which lists the pending requests
// once for all of them and reads only those that have left the list. It runs only while there are waits.
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
			o.Status, o.Amount = request.Status, request.Amount
			o.Currency, o.Category = request.Currency, request.Category
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

// wait is one call of WaitForDecision. The fields of the second block belong to the poller, under its lock, until done
// is closed; then they belong to the waiting goroutine.
type wait struct {
	requestID string
	config    *waitConfig
	started   time.Time
	deadline  time.Time       // zero: none
	events    chan *WaitEvent // the latest poll, for WaitProgress; nil: not wanted
	done      chan struct{}

	polls    int       // polls since the pauses began to grow
	next     time.Time // when the next poll is due
	final    bool      // the next poll is the last before the deadline
	last     *Request  // the last state seen
	err      error     // why the last poll failed; nil if it did not
	decided  *Request
	failure  error
	finished bool
}

func newWait(ctx context.Context, requestID string, opts []WaitOption) (*wait, error) {
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	requestID, err := requestIDOf(requestID)
	if err != nil {
		return nil, err
	}
	config, err := newWaitConfig(opts)
	if err != nil {
		return nil, err
	}
	w := &wait{
		requestID: requestID,
		config:    config,
		started:   time.Now(),
		done:      make(chan struct{}),
	}
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

// apply applies the result of a poll that began at the given time, and reports whether the request is decided.
func (w *wait) apply(found pollResult, begun time.Time) bool {
	state, err := found.requests[w.requestID], found.errs[w.requestID]
	if state == nil && err == nil {
		err = found.all
	}
	if state != nil {
		copied := *state // several waits may share it
		state = &copied
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
		select { // replace a poll that was not reported yet
		case <-w.events:
		default:
		}
		w.events <- &WaitEvent{RequestID: w.requestID, Request: state, Err: err}
	}
	if w.final && !begun.Before(w.next) { // the poll was made for this wait
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

// WaitEvent reports one poll of a pending request; see [WaitProgress].
type WaitEvent struct {
	RequestID string
	Elapsed   time.Duration // since the start of the wait
	Request   *Request      // the state seen; nil if the poll failed
	Err       error         // why the poll failed; the next poll is made all the same
}

// WaitOption is an option of one wait; see [Client.WaitForDecision]. A nil option is a [*ParamError].
type WaitOption func(*waitConfig) error

// WaitTimeout ends the wait with a [*WaitTimeoutError] after d, which must be positive, or at the deadline of the
// context if that comes first. Without either, the wait lasts until the request is decided or expires.
func WaitTimeout(d time.Duration) WaitOption {
	return func(config *waitConfig) error {
		if d <= 0 {
			const reason = "want a duration above zero; leave the option out to wait as long as the context allows"
			return paramError("WaitTimeout", d.String(), reason)
		}
		config.timeout = d
		return nil
	}
}

// WaitInterval sets the pause between two polls of the request. It starts at shortest and grows, with jitter, to
// longest; the default is 1 to 15 seconds. Polls for other waits of the same client are made in addition.
func WaitInterval(shortest, longest time.Duration) WaitOption {
	return func(config *waitConfig) error {
		if shortest <= 0 || longest < shortest {
			return paramError("WaitInterval", shortest.String()+" to "+longest.String(),
				"want a shortest pause above zero and a longest one not below it")
		}
		config.min, config.max = shortest, longest
		return nil
	}
}

// WaitProgress sets a function that is called after each poll that does not end the wait, to display progress. It runs
// in the waiting goroutine, so the wait lasts at least as long as report does. If polls are faster than report, only
// the latest is reported.
func WaitProgress(report func(WaitEvent)) WaitOption {
	return func(config *waitConfig) error {
		if report == nil {
			return paramError("WaitProgress", "", "want a function, not nil")
		}
		config.progress = report
		return nil
	}
}

type waitConfig struct {
	timeout  time.Duration // 0: as long as ctx allows
	min, max time.Duration
	progress func(WaitEvent)
}

func newWaitConfig(opts []WaitOption) (*waitConfig, error) {
	config := &waitConfig{min: defaultWaitMin, max: defaultWaitMax}
	for _, option := range opts {
		if option == nil {
			return nil, paramError("WaitOption", "", "want an option, not nil")
		}
		if err := option(config); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// delay returns the pause after n earlier polls. It grows with n within the bounds, and jitter, a number from 0.5 to 1,
// shortens it.
func (config *waitConfig) delay(n int, jitter float64) time.Duration {
	span := math.Min(float64(config.min)*math.Pow(waitGrowth, float64(n)), float64(config.max))
	return max(config.min, time.Duration(span*jitter))
}

func waitJitter() float64 { return 0.5 + rand.Float64()/2 }
