package letagentpay

import (
	"context"
	"maps"
	"sync"
	"time"
)

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
