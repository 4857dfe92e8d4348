package letagentpaytest

import (
	"time"

	"github.com/letagentpay/letagentpay-go/policy"
)

const (
	callsPerWindow = 60 // purchases, and apart from them x402 authorisations
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

// velocity counts the purchases that a policy's requests_per_minute and requests_per_hour look at, by the calendar.
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

// refusedIn returns the window that a purchase beyond p's limits is recorded in: the narrower one when both are full.
func (v *velocity) refusedIn(p *policy.Policy, now time.Time) *velocityWindow {
	minute, hour := v.at(now)
	if p.RequestsPerMinute != nil && minute.accepted >= *p.RequestsPerMinute {
		return minute
	}
	return hour
}
