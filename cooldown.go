package letagentpay

import (
	"context"
	"maps"
	"sync"
	"time"
)

// maxCooldown bounds the cooldown after a write with an unknown outcome.
const maxCooldown = 2 * defaultAttemptTimeout

// cooldowns hold the keys under which nothing is sent until a time, because the service may still handle an earlier
// write. The zero value is ready to use. It is safe for concurrent use.
type cooldowns struct {
	mu    sync.Mutex
	until map[lockKey]time.Time
}

func (cd *cooldowns) coolDown(key lockKey, until time.Time) {
	cd.mu.Lock()
	defer cd.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(cd.until, func(_ lockKey, until time.Time) bool { return until.Before(now) })
	if cd.until == nil {
		cd.until = make(map[lockKey]time.Time)
	}
	cd.until[key] = until
}

// wait waits until the cooldown of key is over. It returns ctx's error when ctx ends first, and ErrInProgress at once
// when the cooldown ends after a limit above 0, which counts from began, or from now when began is zero.
func (cd *cooldowns) wait(ctx context.Context, key lockKey, limit time.Duration, began time.Time) error {
	cd.mu.Lock()
	until, cooling := cd.until[key]
	cd.mu.Unlock()
	if !cooling { // the usual case, without the cost of reading the clock
		return nil
	}
	if began.IsZero() {
		began = time.Now()
	}
	// Bounded: the time may come from another clock, such as that of a synctest bubble.
	pause := min(time.Until(until), maxCooldown)
	switch {
	case pause <= 0:
		return nil
	case limit > 0 && pause > time.Until(began.Add(limit)):
		return ErrInProgress
	}
	return sleep(ctx, pause)
}
