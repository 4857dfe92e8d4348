package letagentpaytest

import (
	"time"
)

// period is the tallies of a kind of period (days, say), the latest first. Only the current one is ever read, but the
// current one may return: a change of timezone can move the calendar back.
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
// from the balances: each amount is rounded half to even here and half up there, so the two may drift by a cent.
type counters struct{ days, weeks, months period }

// current returns the three tallies of the calendar day, ISO week and month that now falls in at location.
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

// countersOf returns the counters of a currency, which a change of the account's currency starts afresh.
func countersOf(byCurrency map[string]*counters, currency string) *counters {
	c := byCurrency[currency]
	if c == nil {
		c = new(counters)
		byCurrency[currency] = c
	}
	return c
}
