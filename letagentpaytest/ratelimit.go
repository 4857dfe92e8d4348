package letagentpaytest

import (
	"time"

	"github.com/letagentpay/letagentpay-go/policy"
)

const (
	callsPerWindow = 60 // of purchases, and separately of x402 authorisations
	rateWindowSpan = time.Minute
	pendingCap     = 100
)

// rateWindow counts calls in a window that opens with the first of them.
type rateWindow struct {
	opened time.Time
	calls  int
}

// allow counts a call and reports whether it is within the limit.
func (w *rateWindow) allow(now time.Time) bool {
	if now.Sub(w.opened) >= rateWindowSpan {
		w.opened, w.calls = now, 0
	}
	w.calls++
	return w.calls <= callsPerWindow
}

// velocity counts purchases by calendar minute and hour, for requests_per_minute and requests_per_hour of a policy.
type velocity struct{ minute, hour velocityWindow }

type velocityWindow struct {
	number   int64  // of the minute or hour since 1970
	accepted int    // purchases that ended approved or pending
	rejected string // the id of the first purchase refused in it
}

func (w *velocityWindow) at(now time.Time, span time.Duration) *velocityWindow {
	if number := now.Unix() / int64(span/time.Second); number != w.number {
		*w = velocityWindow{number: number}
	}
	return w
}

func (v *velocity) at(now time.Time) (minute, hour *velocityWindow) {
	return v.minute.at(now, time.Minute), v.hour.at(now, time.Hour)
}

func (v *velocity) accept(now time.Time) {
	minute, hour := v.at(now)
	minute.accepted++
	hour.accepted++
}

// refusedIn returns the window in which a purchase beyond p's limits is recorded: the minute when both windows are
// full.
func (v *velocity) refusedIn(p *policy.Policy, now time.Time) *velocityWindow {
	minute, hour := v.at(now)
	if p.RequestsPerMinute != nil && minute.accepted >= *p.RequestsPerMinute {
		return minute
	}
	return hour
}
