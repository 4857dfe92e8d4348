package letagentpaytest

import (
	"sync/atomic"
	"time"
)

// clock is the server's only clock. It starts at the time that the test sets, runs with the process (or with the fake
// time of a testing/synctest bubble), and jumps when the test advances it. It never goes back.
type clock struct {
	origin  time.Time // what the clock shows at began
	began   time.Time // carries the monotonic reading
	skipped atomic.Int64
}

func newClock(origin time.Time) *clock {
	began := time.Now()
	if origin.IsZero() {
		origin = began
	}
	// Times on the wire have microseconds. A finer time would make an answer differ from the state behind it.
	return &clock{origin: origin.Round(0).UTC().Truncate(time.Microsecond), began: began}
}

func (c *clock) now() time.Time {
	return c.origin.Add((time.Since(c.began) + time.Duration(c.skipped.Load())).Truncate(time.Microsecond))
}

func (c *clock) advance(d time.Duration) { c.skipped.Add(int64(d)) }
