package letagentpaytest

import "time"

// replayLifetime is how long the first answer under an Idempotency-Key is repeated.
const replayLifetime = 24 * time.Hour

// replayCache holds the answers to an agent's purchases by Idempotency-Key, for each the one stored last. It is read
// and written under the account's lock together with the purchase itself, so of two calls with one key at the same time
// exactly one buys, unless the lock is released in between as under service races.
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

// store keeps the answer under key. Beyond most answers (0: no limit) the oldest go.
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
		if oldest := c.order[n]; c.answers[oldest.key] == oldest.answer { // else another was stored since
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
