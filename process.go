package letagentpay

import (
	"context"
	"errors"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/keylock"
	"github.com/letagentpay/letagentpay-go/operation"
)

// thisProcess is the only state that the package keeps outside of clients: all clients of the process share it, because
// the service cannot distinguish their writes. It holds a lock for each key and each request, and remembers requests.
//
// Locks that a call holds together are taken in this order, and released in the opposite one:
//
//	keyLock      a guarded call, from before it requests the purchase until the approval is settled
//	postLock     while the purchase is posted
//	runLock      a guarded call, from the time that it knows the request until the approval is settled
//	confirmLock  while the request is confirmed
//	reportLock   while an x402 authorisation is reported; alone
//
// A call that resumes a request takes its runLock first. When the journal shows that the request was made under a key,
// it releases the runLock and takes keyLock and runLock in order. The mutexes of memory, postings, cooldowns,
// entryWrites and of a scope are taken last and one at a time: no call and no other lock is waited for under them.
var thisProcess = newProcess()

// process is what the clients of one process share.
type process struct {
	*memory
	locks     keylock.Locks[lockKey]
	cooldowns cooldowns
	postings  postings
	writes    entryWrites
}

func newProcess() *process {
	p := &process{memory: newMemory()}
	p.postings.unknown = newRecent[postingContent, []unknownPosting](maxUnknown)
	return p
}

// lockKind is what a lock keeps from overlapping.
type lockKind int

const (
	keyLock     lockKind = iota + 1 // guarded calls under one idempotency key
	postLock                        // posts under one idempotency key
	runLock                         // guarded calls under one request
	confirmLock                     // confirmations of one request
	reportLock                      // reports of one x402 authorisation
)

// lockKey names a lock of the process, whichever client takes it.
type lockKey struct {
	owner string // an agent's identity for a key; the service for an id, which is unique there
	kind  lockKind
	id    string // the idempotency key, or the id of the request or authorisation
}

// heldLock is a lock of the process that is held.
type heldLock = keylock.Held[lockKey]

// idempotencyKey returns the key that the lock is about, empty for a lock on a request.
func (k lockKey) idempotencyKey() string {
	if k.kind == keyLock || k.kind == postLock {
		return k.id
	}
	return ""
}

// lock takes a lock, so that writes that the service cannot distinguish do not overlap: with each other, and with one
// that the service may still handle after the client has given up. After a limit above 0 it returns ErrInProgress.
func (c *Client) lock(ctx context.Context, op operation.Op, key lockKey, limit time.Duration) (*heldLock, error) {
	return c.lockWithin(ctx, op, key, limit, limit)
}

// lockWithin is lock with one limit for the wait for the lock, and one for that wait and the cooldown after it
// together.
func (c *Client) lockWithin(
	ctx context.Context, op operation.Op, key lockKey, limit, totalLimit time.Duration,
) (*heldLock, error) {
	var began time.Time // zero: now
	var err error
	held := c.process.locks.TryLock(key)
	if held == nil {
		began = time.Now()
		held, err = c.waitForLock(ctx, key, limit)
	}
	if err == nil {
		if err = c.process.cooldowns.wait(ctx, key, totalLimit, began); err == nil {
			return held, nil
		}
		held.Release()
	}
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = ErrInProgress
	}
	return nil, &APIError{Op: op, Err: err, IdempotencyKey: key.idempotencyKey(), waiting: true}
}

func (c *Client) waitForLock(ctx context.Context, key lockKey, limit time.Duration) (*heldLock, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return c.process.locks.Lock(ctx, key)
}

// unlock releases a lock after a write that began at a time and whose outcome is err.
func (c *Client) unlock(held *heldLock, key lockKey, began time.Time, err error) {
	if _, unknown := errors.AsType[*OutcomeUnknownError](err); unknown {
		now := time.Now()
		c.process.cooldowns.coolDown(key, now.Add(min(max(settlePause, now.Sub(began)), maxCooldown)))
	}
	held.Release()
}
