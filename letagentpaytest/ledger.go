package letagentpaytest

import (
	"time"

	"github.com/letagentpay/letagentpay-go/money"
)

// tally is what is spent and held in a balance, in a period, or under a budget rule.
type tally struct{ spent, held money.Amount }

func (t tally) total() money.Amount { return t.spent.Add(t.held) }

// release lowers the hold, but not below zero: a hold from an earlier period is not part of this tally.
func (t *tally) release(amount money.Amount) { t.held = floorZero(t.held.Sub(amount)) }

func floorZero(a money.Amount) money.Amount {
	if a.Sign() < 0 {
		return money.Amount{}
	}
	return a
}

// Budget is the state of an agent's budget. Remaining is Budget minus Spent and Held, and may be negative.
type Budget struct {
	Budget    money.Amount `json:"budget"`
	Spent     money.Amount `json:"spent"`
	Held      money.Amount `json:"held"`
	Remaining money.Amount `json:"remaining"`
}

// Budget does what [Agent.Budget] does, for the main agent.
func (s *Server) Budget() Budget { return s.main().Budget() }

func (a *agentState) remaining() money.Amount { return a.config.Budget.Sub(a.total()) }

// periods returns the current day, week and month of the agent, then of its account.
func (a *agentState) periods(currency string, now time.Time) [6]*tally {
	own := countersOf(a.counters, currency).current(now, a.account.location)
	shared := countersOf(a.account.counters, currency).current(now, a.account.location)
	return [6]*tally{own[0], own[1], own[2], shared[0], shared[1], shared[2]}
}

// hold reserves amount for a pending request.
func (a *agentState) hold(amount money.Amount, currency string, now time.Time) {
	a.held = a.held.Add(amount.Round())
	a.account.held = a.account.held.Add(amount.Round())
	for _, t := range a.periods(currency, now) {
		t.held = t.held.Add(amount.RoundHalfEven())
	}
}

// spend adds amount, which may be negative, to what the agent and the account have spent: rounded half up in the
// balances, half to even in the periods. A correction may take a balance beyond the budget, and one of an earlier day
// may take a period below zero.
func (a *agentState) spend(amount money.Amount, currency string, now time.Time) {
	a.spent = a.spent.Add(amount.Round())
	a.account.spent = a.account.spent.Add(amount.Round())
	for _, t := range a.periods(currency, now) {
		t.spent = t.spent.Add(amount.RoundHalfEven())
	}
}

// refund subtracts a failed purchase from what is spent. The balances stop at zero. The periods do not, because the
// purchase may have been counted on an earlier day.
func (a *agentState) refund(amount money.Amount, currency string, x *exchange) {
	a.spent = floorZero(a.spent.Sub(amount))
	a.account.spent = floorZero(a.account.spent.Sub(amount))
	for _, t := range a.periods(currency, x.now) {
		t.spent = t.spent.Sub(amount)
	}
}

// correct adds delta to what is spent, for an x402 report. Unlike the corrections of a confirmation, these stop at zero
// everywhere.
func (a *agentState) correct(delta money.Amount, currency string, now time.Time) {
	if delta.IsZero() {
		return
	}
	a.spent = floorZero(a.spent.Add(delta.Round()))
	a.account.spent = floorZero(a.account.spent.Add(delta.Round()))
	for _, t := range a.periods(currency, now) {
		moved := t.spent.Add(delta.RoundHalfEven())
		if delta.Sign() < 0 {
			moved = floorZero(moved)
		}
		t.spent = moved
	}
}

// replenish tops up the budget when the remaining amount is below the threshold. unbooked is what the service subtracts
// in addition: the fraction of a cent by which rounding lowered the purchase.
func (a *agentState) replenish(unbooked money.Amount) {
	rule := a.config.AutoReplenish
	if rule == nil || !rule.Enabled || rule.Threshold == nil || rule.Amount == nil {
		return
	}
	if !a.remaining().Sub(unbooked).Less(*rule.Threshold) {
		return
	}
	topUp := *rule.Amount
	if rule.MaxBudget != nil {
		if room := rule.MaxBudget.Sub(a.config.Budget); room.Less(topUp) {
			topUp = room
		}
	}
	if topUp.Sign() > 0 {
		a.config.Budget = a.config.Budget.Add(topUp)
	}
}
