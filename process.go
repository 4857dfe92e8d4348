package letagentpay

import (
	"context"
	"errors"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/keylock"
	"github.com/letagentpay/letagentpay-go/operation"
)

// thisProcess is what all clients of this process share, whichever way they were made.
var thisProcess = newProcess()

// process is what clients of one process share, so that they never do together what one of them would not do alone: what
// they remember, which writes are under way, and which rest.
type process struct {
	*memory
	locks     keylock.Locks[lockKey]
	cooldowns cooldowns
	postings  postings
	writes    entryWrites
}

func newProcess() *process {
	p := &process{memory: newMemory()}
	p.postings.unknown = newRecent[postingContent, []unknownPosting](mostUnknown)
	return p
}

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
func (c *Client) lock(ctx context.Context, op operation.Op, key lockKey, limit time.Duration) (*keylock.Held[lockKey], error) {
	return c.lockWithin(ctx, op, key, limit, limit)
}

// lockWithin is lock with a limit for another write that is waited for, and one for both that and the rest of one that is
// not.
func (c *Client) lockWithin(ctx context.Context, op operation.Op, key lockKey, limit, restLimit time.Duration) (*keylock.Held[lockKey], error) {
	var began time.Time // zero: now
	var err error
	held := c.process.locks.TryLock(key)
	if held == nil {
		began = time.Now()
		held, err = c.waitForLock(ctx, key, limit)
	}
	if err == nil {
		if err = c.process.cooldowns.wait(ctx, key, restLimit, began); err == nil {
			return held, nil
		}
		held.Release()
	}
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = ErrInProgress
	}
	return nil, &APIError{Op: op, Err: err, IdempotencyKey: key.idempotencyKey(), waiting: true}
}

func (c *Client) waitForLock(ctx context.Context, key lockKey, limit time.Duration) (*keylock.Held[lockKey], error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return c.process.locks.Lock(ctx, key)
}

// unlock releases a lock after a write that began at a time and whose outcome is err.
func (c *Client) unlock(held *keylock.Held[lockKey], key lockKey, began time.Time, err error) {
	if _, unknown := errors.AsType[*OutcomeUnknownError](err); unknown {
		now := time.Now()
		c.process.cooldowns.coolDown(key, now.Add(min(max(settlePause, now.Sub(began)), longestCooldown)))
	}
	held.Release()
}
