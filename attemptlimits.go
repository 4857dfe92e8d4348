package letagentpay

import (
	"context"
	"sync"
	"time"
)

// attemptLimits ends attempts that take longer than a time limit. All attempts share one timer: a timer for each
// attempt would wake the scheduler in every call. The timer stays set after the attempt for which it was set has ended;
// when it fires, it is set for the oldest attempt that is left, if there is one. It is safe for concurrent use.
type attemptLimits struct {
	limit time.Duration

	mu     sync.Mutex
	oldest *limitedAttempt // the attempts under way, in the order of their deadlines
	newest *limitedAttempt
	fires  time.Time // when the timer fires; zero: it is not set
}

// start limits an attempt under ctx, and returns the context for it. The attempt must be ended.
func (l *attemptLimits) start(ctx context.Context, a *limitedAttempt) context.Context {
	cancellable, cancel := context.WithCancelCause(ctx)
	now := time.Now()
	a.limits, a.cancel, a.deadline = l, cancel, now.Add(l.limit)
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.older = l.newest; a.older == nil {
		l.oldest = a
	} else {
		a.older.newer = a
	}
	l.newest, a.isListed = a, true
	// It is not set, late, or of another clock:
	if left := l.fires.Sub(now); l.fires.IsZero() || left <= 0 || left > l.limit {
		l.set(now)
	}
	return attemptContext{cancellable, a.deadline}
}

// set sets a timer for the attempt that is to end first, if there is one. It sets a new one each time, since a timer
// may not be set again under another clock.
func (l *attemptLimits) set(now time.Time) {
	l.fires = time.Time{}
	for a := l.oldest; a != nil; a = a.newer {
		if l.isOnClock(a, now) && (l.fires.IsZero() || a.deadline.Before(l.fires)) {
			l.fires = a.deadline
		}
	}
	if at := l.fires; !at.IsZero() {
		time.AfterFunc(at.Sub(now), func() { l.expire(at) })
	}
}

// otherClock is how far apart two clocks show at least: a synctest bubble starts in the year 2000. A timer may fire
// late, in a process that was stopped even by days, so the distance is not one that an attempt of the same clock can
// have.
const otherClock = 5 * 365 * 24 * time.Hour

// isOnClock reports whether an attempt runs on the clock that shows now: a client may be used in a synctest bubble and
// outside of it.
func (l *attemptLimits) isOnClock(a *limitedAttempt, now time.Time) bool {
	return a.deadline.Sub(now) <= l.limit && now.Sub(a.deadline) < otherClock
}

// end ends the limit of an attempt. Further calls do nothing.
func (l *attemptLimits) end(a *limitedAttempt) {
	l.mu.Lock()
	l.remove(a)
	l.mu.Unlock()
	a.cancel(nil)
}

func (l *attemptLimits) remove(a *limitedAttempt) {
	if !a.isListed {
		return
	}
	if a.older == nil {
		l.oldest = a.newer
	} else {
		a.older.newer = a.newer
	}
	if a.newer == nil {
		l.newest = a.older
	} else {
		a.newer.older = a.older
	}
	a.older, a.newer, a.isListed = nil, nil, false
}

// expire ends the attempts whose time is over. set is the time for which the timer was set: a timer that another one
// has replaced does nothing.
func (l *attemptLimits) expire(set time.Time) {
	l.mu.Lock()
	if !l.fires.Equal(set) {
		l.mu.Unlock()
		return
	}
	now := time.Now()
	var over []*limitedAttempt
	for a := l.oldest; a != nil; {
		next := a.newer
		if l.isOnClock(a, now) && !a.deadline.After(now) {
			a.hasExpired.Store(true)
			l.remove(a)
			over = append(over, a)
		}
		a = next
	}
	l.set(now)
	l.mu.Unlock()
	for _, a := range over {
		a.cancel(&attemptTimeoutError{l.limit})
	}
}

// attemptContext is the context of a limited attempt. It shows the attempt's deadline.
type attemptContext struct {
	context.Context
	deadline time.Time
}

func (c attemptContext) Deadline() (time.Time, bool) { return c.deadline, true }
