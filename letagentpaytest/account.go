package letagentpaytest

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/letagentpay/letagentpay-go"
)

// sweepInterval is the time between two of the service's sweeps, which expire overdue requests.
const sweepInterval = time.Minute

// accountState is what the agents of one owner share. Its lock guards the account, its agents and their requests.
type accountState struct {
	mu sync.Mutex

	world         *world
	name          string
	config        AccountConfig
	location      *time.Location
	categories    map[string]bool   // the active ones
	categoryNames []string          // the active ones, sorted
	aliases       map[string]string // to active categories only
	rules         []*ruleState
	agents        []*agentState

	tally    // of all purchases ever made, for total rules
	counters map[string]*counters
	history  int // decided requests and idempotency keys kept for each agent

	sweepsFrom time.Time // start of the sweeps, one each minute; zero: only by Server.Sweep
	nextExpiry time.Time // no pending request expires earlier; zero: none is pending
	verdicts   []verdictDue
}

// sweep expires the pending requests that are overdue at now.
func (acc *accountState) sweep(now time.Time) {
	acc.nextExpiry = time.Time{}
	for _, a := range acc.agents {
		if a.pending == 0 {
			continue
		}
		var overdue []*requestState // collected first, because leavePending may shorten the list
		for _, r := range a.order {
			switch {
			case r.overdue(now):
				overdue = append(overdue, r)
			case r.status == letagentpay.StatusPending:
				acc.noteExpiry(r.expires)
			}
		}
		for _, r := range overdue {
			a.leavePending(r, letagentpay.StatusExpired, now)
		}
	}
}

// noteExpiry records the expiry of a pending request.
func (acc *accountState) noteExpiry(expiry time.Time) {
	if acc.nextExpiry.IsZero() || expiry.Before(acc.nextExpiry) {
		acc.nextExpiry = expiry
	}
}

// catchUp carries out what has come due since the account was last used, in order and each at its own time: the delayed
// verdicts and the sweeps. It is called on demand, so it needs no goroutine and no ticker, and works the same whether
// the clock runs, is advanced, or belongs to a synctest bubble.
func (acc *accountState) catchUp(now time.Time) {
	for {
		due, sweep := acc.nextSweep()
		if len(acc.verdicts) > 0 && !(sweep && due.Before(acc.verdicts[0].at)) {
			next := acc.verdicts[0]
			if next.at.After(now) {
				return
			}
			acc.verdicts = acc.verdicts[1:]
			_ = next.request.decide(next.approve, next.at) // fails if the request has been decided otherwise
			continue
		}
		if !sweep || due.After(now) {
			return
		}
		acc.sweep(due)
	}
}

// nextSweep returns the first sweep that finds something to expire.
func (acc *accountState) nextSweep() (due time.Time, ok bool) {
	if acc.sweepsFrom.IsZero() || acc.nextExpiry.IsZero() {
		return time.Time{}, false
	}
	passed := max(acc.nextExpiry.Sub(acc.sweepsFrom)/sweepInterval, 0)
	return acc.sweepsFrom.Add((passed + 1) * sweepInterval), true
}

// Account is the owner's side of one or more agents. It is valid until the next [Server.ApplyScenario].
type Account struct {
	Name string

	world *world
	state *accountState
}

// Account returns the account that [WithAccount] named, or the main one for "main". An unknown name fails the test.
func (s *Server) Account(name string) *Account {
	s.helper()
	w := s.world.Load()
	acc := w.accounts[name]
	if acc == nil {
		s.fatalf("letagentpaytest: no account is named %q", name)
		return nil
	}
	return &Account{Name: name, world: w, state: acc}
}

// Accounts returns all accounts, the main one first and the others by name.
func (s *Server) Accounts() []*Account {
	w := s.world.Load()
	accounts := []*Account{{Name: mainName, world: w, state: w.accounts[mainName]}}
	for _, name := range slices.Sorted(maps.Keys(w.accounts)) {
		if name != mainName {
			accounts = append(accounts, &Account{Name: name, world: w, state: w.accounts[name]})
		}
	}
	return accounts
}

// Block makes the service refuse every call of the account's agents with a 403, until Unblock.
func (acc *Account) Block() { acc.change(func(c *AccountConfig) { c.Blocked = true }) }

// Unblock ends Block.
func (acc *Account) Unblock() { acc.change(func(c *AccountConfig) { c.Blocked = false }) }

// PauseAll is the owner's emergency stop: every call of the account's agents gets a 403 until ResumeAll.
func (acc *Account) PauseAll() { acc.change(func(c *AccountConfig) { c.AllAgentsPaused = true }) }

// ResumeAll ends PauseAll.
func (acc *Account) ResumeAll() { acc.change(func(c *AccountConfig) { c.AllAgentsPaused = false }) }

// Patch overwrites fields of the account from a JSON object, named as in [AccountConfig]. An unknown key or an invalid
// value is an error and changes nothing.
func (acc *Account) Patch(fields []byte) error {
	var err error
	acc.world.locked(acc.state, func(time.Time) { err = acc.state.patch(fields) })
	return err
}

func (acc *Account) change(do func(*AccountConfig)) {
	acc.world.locked(acc.state, func(time.Time) { do(&acc.state.config) })
}

// Block does what [Account.Block] does, to the main account.
func (s *Server) Block() { s.Account(mainName).Block() }

// Unblock does what [Account.Unblock] does, to the main account.
func (s *Server) Unblock() { s.Account(mainName).Unblock() }

// PauseAll does what [Account.PauseAll] does, to the main account.
func (s *Server) PauseAll() { s.Account(mainName).PauseAll() }

// ResumeAll does what [Account.ResumeAll] does, to the main account.
func (s *Server) ResumeAll() { s.Account(mainName).ResumeAll() }
