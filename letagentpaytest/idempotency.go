package letagentpaytest

import "time"

// replayLifetime is how long an answer is replayed under its Idempotency-Key.
const replayLifetime = 24 * time.Hour

// replayCache holds the answers to an agent's purchases by Idempotency-Key, the last one stored for each key. It is
// read and written under the same lock as the purchase, so of two overlapping calls with one key exactly one buys.
// Under service races the lock is released in between, and both buy.
type replayCache struct {
	answers map[string]*answer
	order   []storedKey // by expiry
}

type storedKey struct {
	key     string
	answer  *answer
	expires time.Time
}

func (c *replayCache) find(key string, now time.Time) *answer {
	c.forget(now, 0)
	return c.answers[key]
}

// store keeps the answer under key. The oldest answers beyond limit are deleted; a limit of zero is unlimited.
func (c *replayCache) store(key string, a *answer, now time.Time, limit int) {
	if c.answers == nil {
		c.answers = make(map[string]*answer)
	}
	c.answers[key] = a
	c.order = append(c.order, storedKey{key, a, now.Add(replayLifetime)})
	c.forget(now, limit)
}

func (c *replayCache) forget(now time.Time, limit int) {
	n := 0
	for n < len(c.order) && (!now.Before(c.order[n].expires) || limit > 0 && len(c.order)-n > limit) {
		if oldest := c.order[n]; c.answers[oldest.key] == oldest.answer { // otherwise a later answer is stored
			delete(c.answers, oldest.key)
		}
		n++
	}
	if n == len(c.order) {
		c.order = c.order[:0]
	} else {
		c.order = c.order[n:]
	}
}
