package letagentpay

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"
)

// inFlight holds what must not overlap in this process, whichever client it goes through: posts under one key,
// confirmations of one request, and runs under one request.
var inFlight keyedLock

// resting holds what must rest in this process before it is tried again.
var resting rests

// lock keeps writes that the service could not tell apart from overlapping: with each other, and with one that is not
// waited for any more but may still be under way.
func (c *Client) lock(ctx context.Context, op, name string) (*heldLock, error) {
	held, err := inFlight.lock(ctx, c.identity+name)
	if err == nil {
		if err = resting.wait(ctx, c.identity+name); err == nil {
			return held, nil
		}
		held.release()
	}
	key, _ := strings.CutPrefix(name, "key ")
	if key == name {
		key = ""
	}
	return nil, &APIError{Op: op, Err: err, IdempotencyKey: key, waiting: true}
}

// unlock releases a lock after a write whose outcome is err.
func (c *Client) unlock(held *heldLock, name string, err error) {
	c.letRest(name, err)
	held.release()
}

// letRest makes the next write wait until one whose outcome is not known has surely ended at the service.
func (c *Client) letRest(name string, err error) {
	if _, unknown := errors.AsType[*OutcomeUnknownError](err); unknown {
		resting.add(c.identity+name, time.Now().Add(settlePause))
	}
}

// rests are names that are left alone until a time. The zero value is ready.
type rests struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (r *rests) add(name string, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(r.until, func(_ string, until time.Time) bool { return until.Before(now) })
	if r.until == nil {
		r.until = make(map[string]time.Time)
	}
	r.until[name] = until
}

// wait returns when the time of name has come, or with ctx's error.
func (r *rests) wait(ctx context.Context, name string) error {
	r.mu.Lock()
	until := r.until[name]
	r.mu.Unlock()
	// Bounded, because a test's clock may have given the time, and this one's may be another.
	if pause := min(time.Until(until), settlePause); pause > 0 {
		return sleep(ctx, pause)
	}
	return nil
}
