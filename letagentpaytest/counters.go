package letagentpaytest

import (
	"time"
)

// period holds the tallies of one kind of period, days for example, the latest first. Only the current one is read.
// Earlier ones are kept because a change of timezone can make one of them the current one again.
type period struct {
	keys    [4]int
	tallies [4]tally
}

func (p *period) at(key int) *tally {
	for i, k := range p.keys {
		if k == key {
			return &p.tallies[i]
		}
	}
	copy(p.keys[1:], p.keys[:])
	copy(p.tallies[1:], p.tallies[:])
	p.keys[0], p.tallies[0] = key, tally{}
	return &p.tallies[0]
}

// counters keeps the daily, weekly and monthly tallies of an agent or an account in one currency. They are kept apart
// from the balances: amounts are rounded half to even here and half up there, so the two may differ by cents.
type counters struct{ days, weeks, months period }

// current returns the three tallies of the calendar day, ISO week and month that contain now at location.
func (c *counters) current(now time.Time, location *time.Location) [3]*tally {
	local := now.In(location)
	year, month, day := local.Date()
	isoYear, isoWeek := local.ISOWeek()
	return [3]*tally{
		c.days.at(year*10000 + int(month)*100 + day),
		c.weeks.at(isoYear*100 + isoWeek),
		c.months.at(year*100 + int(month)),
	}
}

// countersOf returns the counters of a currency. They are empty at first, so a change of currency starts with empty
// counters.
func countersOf(byCurrency map[string]*counters, currency string) *counters {
	c := byCurrency[currency]
	if c == nil {
		c = new(counters)
		byCurrency[currency] = c
	}
	return c
}
