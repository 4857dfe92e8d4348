package letagentpay

import (
	"context"
	"maps"
	"sync"
	"time"
)

// longestCooldown bounds how long a write rests after an unknown outcome.
const longestCooldown = 2 * defaultAttemptTimeout

// cooldowns are names that are left alone until a time. The zero value is ready.
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

// wait returns when the time of key has come, or with ctx's error, or at once with ErrInProgress when it does not come
// within a limit, if that is above 0. The limit counts from began, or from now where that is zero.
func (cd *cooldowns) wait(ctx context.Context, key lockKey, limit time.Duration, began time.Time) error {
	cd.mu.Lock()
	until, cooling := cd.until[key]
	cd.mu.Unlock()
	if !cooling { // mostly, and reading the clock takes time
		return nil
	}
	if began.IsZero() {
		began = time.Now()
	}
	// Bounded, because a test's clock may have given the time, and this one's may be another.
	pause := min(time.Until(until), longestCooldown)
	switch {
	case pause <= 0:
		return nil
	case limit > 0 && pause > time.Until(began.Add(limit)):
		return ErrInProgress
	}
	return sleep(ctx, pause)
}
