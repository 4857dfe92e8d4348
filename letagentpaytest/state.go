package letagentpaytest

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// sweepInterval is how often the service expires what nobody reads.
const sweepInterval = time.Minute

// account is an owner's side: what its agents share. Its lock guards the account, its agents and their requests.
type account struct {
	mu sync.Mutex

	world      *world
	name       string
	config     AccountConfig
	location   *time.Location
	categories map[string]bool   // the active ones
	listed     []string          // the same, sorted
	aliases    map[string]string // to active categories only
	rules      []*budgetRule
	agents     []*agent

	tally    // of all purchases ever made, which total rules look at
	counters map[string]*counters
	history  int // how many decided requests and idempotency keys are kept for each agent

	sweeps   time.Time // when the sweeps count from, one each minute; zero: only by hand
	soonest  time.Time // no pending request expires before; zero: none is pending
	verdicts []verdictDue
}

// budgetRule is a rule together with its own tally, which only a total rule with both ends uses.
type budgetRule struct {
	policy.BudgetRule
	byCurrency map[string]*tally
}

// temporal reports whether the rule counts for itself instead of looking at the whole account.
func (r *budgetRule) temporal() bool {
	return !r.Inactive && r.Type == policy.Total && !r.Start.IsZero() && !r.End.IsZero()
}

func (r *budgetRule) tallyIn(currency string) *tally {
	t := r.byCurrency[currency]
	if t == nil {
		t = new(tally)
		r.byCurrency[currency] = t
	}
	return t
}

// agent is one token's holder.
type agent struct {
	account *account
	name    string
	id      string
	token   string

	config AgentConfig
	policy *policy.Policy // parsed from config.Policy

	tally    // balances: what is spent and held, against config.Budget
	counters map[string]*counters

	requests map[string]*request
	order    []*request // by creation
	decided  []*request // those that are not pending, in the order they ceased to be
	pending  int

	purchases, authorizations rateWindow
	replays                   replayCache
	velocity                  velocity
	wallets                   []wallet
}

func (a *agent) remaining() money.Amount { return a.config.Budget.Sub(a.total()) }

// request is a purchase request, or an x402 authorisation.
type request struct {
	agent            *agent
	sequence         uint64 // over the whole server
	id               string
	status           letagentpay.Status
	amount           money.Amount
	actual           money.Amount // zero until confirmed with one
	currency         string
	category         string
	original         *string
	merchant         *string
	description      *string
	comment          *string
	key              string
	receipt          *string
	checks           []policy.Check
	created, expires time.Time
	reviewed         time.Time // zero: not yet

	x402   bool
	txHash string
}

// add files a new request.
func (a *agent) add(r *request) {
	a.requests[r.id] = r
	a.order = append(a.order, r)
	if r.status == letagentpay.StatusPending {
		a.pending++
		return
	}
	a.retire(r)
}

// retire files a request that is no longer pending, and forgets those beyond the history.
func (a *agent) retire(r *request) {
	a.decided = append(a.decided, r)
	limit := a.account.history
	if len(a.decided) <= limit+limit/4 { // in batches: removal shifts the lists
		return
	}
	surplus := len(a.decided) - limit
	for _, old := range a.decided[:surplus] {
		delete(a.requests, old.id)
		a.account.world.unclaim(old.txHash)
	}
	a.decided = slices.Delete(a.decided, 0, surplus)
	a.order = slices.DeleteFunc(a.order, func(r *request) bool { return a.requests[r.id] == nil })
}

// leavePending moves a pending request to its next status and returns its amount from the hold. Booked at now: in the
// calendar of the moment the hold is given back, not of the purchase.
func (a *agent) leavePending(r *request, next letagentpay.Status, now time.Time) {
	r.status = next
	a.pending--
	a.retire(r)
	a.release(r.amount)
	a.account.release(r.amount)
	for _, t := range a.periods(r.currency, now) {
		t.release(r.amount)
	}
}

// periods returns the current day, week and month of the agent, then of its account.
func (a *agent) periods(currency string, now time.Time) [6]*tally {
	own := countersOf(a.counters, currency).current(now, a.account.location)
	shared := countersOf(a.account.counters, currency).current(now, a.account.location)
	return [6]*tally{own[0], own[1], own[2], shared[0], shared[1], shared[2]}
}

// spend adds amount, which may be negative, to what the agent and the account spent: rounded half up in the balances,
// half to even in the periods. Balances may leave the budget behind, and periods may fall below zero: that is how
// corrections of an earlier day show.
func (a *agent) spend(amount money.Amount, currency string, now time.Time) {
	a.spent = a.spent.Add(amount.Round())
	a.account.spent = a.account.spent.Add(amount.Round())
	for _, t := range a.periods(currency, now) {
		t.spent = t.spent.Add(amount.RoundHalfEven())
	}
}

// hold reserves amount for a pending request.
func (a *agent) hold(amount money.Amount, currency string, now time.Time) {
	a.held = a.held.Add(amount.Round())
	a.account.held = a.account.held.Add(amount.Round())
	for _, t := range a.periods(currency, now) {
		t.held = t.held.Add(amount.RoundHalfEven())
	}
}

// approve turns the hold of a pending request into spending.
func (a *agent) approve(r *request, now time.Time) {
	a.leavePending(r, letagentpay.StatusApproved, now)
	r.reviewed = now
	a.spend(r.amount, r.currency, now)
	a.replenish(money.Amount{})
}

// replenish tops the budget up when what remains is below the threshold. unbooked is what the service still subtracts
// beyond the balances: the fraction of a cent that rounding took from the purchase.
func (a *agent) replenish(unbooked money.Amount) {
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

// overdue reports whether a pending request is past its expiry.
func (r *request) overdue(now time.Time) bool {
	return r.status == letagentpay.StatusPending && r.expires.Before(now)
}

// sweep expires the pending requests that are overdue at now.
func (acc *account) sweep(now time.Time) {
	acc.soonest = time.Time{}
	for _, a := range acc.agents {
		if a.pending == 0 {
			continue
		}
		var overdue []*request // first: leavePending may shorten the list
		for _, r := range a.order {
			switch {
			case r.overdue(now):
				overdue = append(overdue, r)
			case r.status == letagentpay.StatusPending:
				acc.expect(r.expires)
			}
		}
		for _, r := range overdue {
			a.leavePending(r, letagentpay.StatusExpired, now)
		}
	}
}

// expect notes when a pending request expires.
func (acc *account) expect(expiry time.Time) {
	if acc.soonest.IsZero() || expiry.Before(acc.soonest) {
		acc.soonest = expiry
	}
}

// catchUp does what has come due since the account was last looked at, in order and each at its own time: the
// decisions of the scripted human, and the sweeps. Doing it on demand needs no goroutine and no ticker, so it works the
// same however the clock gets ahead: by itself, by Advance, or in a synctest bubble.
func (acc *account) catchUp(now time.Time) {
	for {
		due, sweep := acc.nextSweep()
		if len(acc.verdicts) > 0 && !(sweep && due.Before(acc.verdicts[0].at)) {
			next := acc.verdicts[0]
			if next.at.After(now) {
				return
			}
			acc.verdicts = acc.verdicts[1:]
			_ = next.request.decide(next.approve, next.at) // refused when it was decided otherwise meanwhile
			continue
		}
		if !sweep || due.After(now) {
			return
		}
		acc.sweep(due)
	}
}

// nextSweep returns the first sweep that finds something to expire.
func (acc *account) nextSweep() (due time.Time, ok bool) {
	if acc.sweeps.IsZero() || acc.soonest.IsZero() {
		return time.Time{}, false
	}
	passed := max(acc.soonest.Sub(acc.sweeps)/sweepInterval, 0)
	return acc.sweeps.Add((passed + 1) * sweepInterval), true
}

// rawPolicy is the policy as GET /policy shows it.
func (a *agent) rawPolicy() json.RawMessage {
	if a.policy == nil {
		return nil
	}
	return a.config.Policy
}
