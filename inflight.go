package letagentpay

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"
)

// lockKey names what must not overlap in this process, whichever client it goes through: posts under one key,
// confirmations of one request, and runs under one key or request. Where several are held, they are taken in this order:
// "authorize" with the idempotency key of a guarded call, "key" while that is posted, "run" with the id of its request,
// "confirm" while that is confirmed.
type lockKey struct {
	identity string // of service and agent; of the service alone where a request's id names it
	kind     string
	name     string
}

// idempotencyKey returns the key that the lock is about, if it is about one.
func (k lockKey) idempotencyKey() string {
	if k.kind == "key" || k.kind == "authorize" {
		return k.name
	}
	return ""
}

// lock keeps writes that the service could not tell apart from overlapping: with each other, and with one that is not
// waited for any more but may still be under way. With a limit above 0 it fails with ErrInProgress after that time.
func (c *Client) lock(ctx context.Context, op string, key lockKey, limit time.Duration) (*heldLock[lockKey], error) {
	return c.lockWithin(ctx, op, key, limit, limit)
}

// lockWithin is lock with a limit for another write that is waited for, and one for both that and the rest of one that is
// not.
func (c *Client) lockWithin(ctx context.Context, op string, key lockKey, limit, restLimit time.Duration) (*heldLock[lockKey], error) {
	var began time.Time // zero: now
	var err error
	held := c.process.inFlight.tryLock(key)
	if held == nil {
		began = time.Now()
		held, err = c.waitForLock(ctx, key, limit)
	}
	if err == nil {
		if err = c.process.resting.wait(ctx, key, restLimit, began); err == nil {
			return held, nil
		}
		held.release()
	}
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = ErrInProgress
	}
	return nil, &APIError{Op: op, Err: err, IdempotencyKey: key.idempotencyKey(), waiting: true}
}

func (c *Client) waitForLock(ctx context.Context, key lockKey, limit time.Duration) (*heldLock[lockKey], error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return c.process.inFlight.lock(ctx, key)
}

// unlock releases a lock after a write that began at a time and whose outcome is err.
func (c *Client) unlock(held *heldLock[lockKey], key lockKey, began time.Time, err error) {
	if _, unknown := errors.AsType[*OutcomeUnknownError](err); unknown {
		now := time.Now()
		c.process.resting.add(key, now.Add(min(max(settlePause, now.Sub(began)), mostRest)))
	}
	held.release()
}

// mostRest bounds how long a write rests after an unknown outcome.
const mostRest = 2 * defaultAttemptTimeout

// rests are names that are left alone until a time. The zero value is ready.
type rests struct {
	mu    sync.Mutex
	until map[lockKey]time.Time
}

func (r *rests) add(key lockKey, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(r.until, func(_ lockKey, until time.Time) bool { return until.Before(now) })
	if r.until == nil {
		r.until = make(map[lockKey]time.Time)
	}
	r.until[key] = until
}

// wait returns when the time of key has come, or with ctx's error, or at once with ErrInProgress when it does not come
// within a limit, if that is above 0. The limit counts from began, or from now where that is zero.
func (r *rests) wait(ctx context.Context, key lockKey, limit time.Duration, began time.Time) error {
	r.mu.Lock()
	until, rests := r.until[key]
	r.mu.Unlock()
	if !rests { // mostly, and reading the clock takes time
		return nil
	}
	if began.IsZero() {
		began = time.Now()
	}
	// Bounded, because a test's clock may have given the time, and this one's may be another.
	pause := min(time.Until(until), mostRest)
	switch {
	case pause <= 0:
		return nil
	case limit > 0 && pause > time.Until(began.Add(limit)):
		return ErrInProgress
	}
	return sleep(ctx, pause)
}

// leastCooldown is how long a service is given to end the handling of a failure confirmation that nobody waits for any
// more. A second one beside it refunds twice.
const leastCooldown = time.Minute

// coolDown notes that an attempt at a failure confirmation, which lasted for a time, may still be handled.
func (m *memory) coolDown(key requestKey, lasted time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refunds.put(key, time.Now().Add(max(leastCooldown, 2*lasted)))
}

// noteRefund notes that a request is to be given back, so that nothing runs under it.
func (m *memory) noteRefund(key requestKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.refunds.get(key); !ok {
		m.refunds.put(key, time.Time{})
	}
}

// refundSent reports whether a failure confirmation was sent whose outcome is unknown, or is still to be sent.
func (m *memory) refundSent(key requestKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.refunds.get(key)
	return ok
}

// coolingDown reports whether an earlier failure confirmation may still be handled.
func (m *memory) coolingDown(key requestKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.refunds.get(key)
	return ok && time.Until(until) > 0
}
