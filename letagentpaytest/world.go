package letagentpaytest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/letagentpay/letagentpay-go/money"
)

// world is everything that a scenario sets up. Another scenario replaces all of it.
type world struct {
	clock    *clock
	accounts map[string]*accountState
	agents   atomic.Pointer[directory] // replaced, not changed, so that calls read it without a lock

	mu       sync.Mutex
	rates    map[string]decimal
	txHashes map[string]bool
}

// directory finds agents by name and by token.
type directory struct {
	agents  []*agentState // the main one first
	byName  map[string]*agentState
	byToken map[string]*agentState
}

// ApplyScenario replaces all accounts, agents and requests, the clock and the tokens, and removes faults, calls and the
// scripted human. No other goroutine may read [Server.Token] during the call. An error changes nothing.
//
// Earlier values of [*Agent] and [*Account] are no longer valid. The sweep each minute ends: overdue
// requests expire by [Server.Sweep], by a read or by an approval, so a recorded scenario determines when.
func (s *Server) ApplyScenario(scenario Scenario) error { return s.reset(scenario, false) }

func (s *Server) reset(scenario Scenario, sweeping bool) error {
	w, err := s.newWorld(scenario, sweeping)
	if err != nil {
		return fmt.Errorf("letagentpaytest: %w", err)
	}
	s.world.Store(w)
	s.Token = w.directory().agents[0].token
	s.human.Store(nil)
	s.ClearFaults()
	s.ResetCalls()
	return nil
}

func (s *Server) newWorld(scenario Scenario, sweeping bool) (*world, error) {
	w := &world{
		clock:    newClock(scenario.Start),
		accounts: map[string]*accountState{},
		rates:    map[string]decimal{},
		txHashes: map[string]bool{},
	}
	w.agents.Store(&directory{byName: map[string]*agentState{}, byToken: map[string]*agentState{}})
	addAccount := func(name string, config AccountConfig) error {
		acc := &accountState{
			world:    w,
			name:     name,
			counters: map[string]*counters{},
			history:  s.options.history,
		}
		if sweeping {
			acc.sweepsFrom = w.clock.now()
		}
		w.accounts[name] = acc
		err := acc.apply(config)
		if err == nil {
			acc.rules, err = compileRules(config.BudgetRules)
		}
		if err != nil {
			return fmt.Errorf("account %q: %w", name, err)
		}
		return nil
	}
	if err := addAccount(mainName, scenario.Account); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(scenario.Accounts)) {
		if name == mainName {
			return nil, errors.New(`accounts: "main" is the first account`)
		}
		if err := addAccount(name, scenario.Accounts[name]); err != nil {
			return nil, err
		}
	}
	if _, err := w.addAgent(mainName, s.options.token, scenario.Agent, s.ids); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(scenario.Agents)) {
		if _, err := w.addAgent(name, "", scenario.Agents[name], s.ids); err != nil {
			return nil, err
		}
	}
	if err := w.setRates(scenario.Rates); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *world) directory() *directory { return w.agents.Load() }

// addAgent adds an agent with a fresh token, or with the given one.
func (w *world) addAgent(name, token string, config AgentConfig, ids *idSource) (*agentState, error) {
	acc := w.accounts[cmp.Or(config.Account, mainName)]
	if acc == nil {
		return nil, fmt.Errorf("agent %q: no account is named %q", name, config.Account)
	}
	if token == "" {
		token = ids.token()
	}
	a := &agentState{
		account:  acc,
		name:     name,
		id:       ids.uuid(),
		token:    token,
		counters: map[string]*counters{},
		requests: map[string]*requestState{},
	}
	if err := a.apply(config); err != nil {
		return nil, fmt.Errorf("agent %q: %w", name, err)
	}
	if !w.register(a) {
		return nil, fmt.Errorf("agent %q: the name is taken or empty", name)
	}
	acc.mu.Lock() // not under w.mu, which calls lock while they hold an account's lock
	defer acc.mu.Unlock()
	acc.agents = append(acc.agents, a)
	return a, nil
}

// register adds an agent to the directory. It returns false if the name is taken or empty.
func (w *world) register(a *agentState) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.directory()
	if known.byName[a.name] != nil || a.name == "" {
		return false
	}
	extended := &directory{append(slices.Clone(known.agents), a), maps.Clone(known.byName), maps.Clone(known.byToken)}
	extended.byName[a.name], extended.byToken[a.token] = a, a
	w.agents.Store(extended)
	return true
}

// locked calls do while the account is locked and up to date.
func (w *world) locked(acc *accountState, do func(now time.Time)) {
	acc.mu.Lock()
	defer acc.mu.Unlock()
	now := w.clock.now()
	acc.catchUp(now)
	do(now)
}

// find calls do on the request with an id while its account is locked. It returns false if there is no such request.
func (w *world) find(id string, do func(r *requestState, now time.Time)) bool {
	found := false
	for _, a := range w.directory().agents {
		w.locked(a.account, func(now time.Time) {
			if r := a.requests[id]; r != nil {
				found = true
				do(r, now)
			}
		})
		if found {
			break
		}
	}
	return found
}

// takeHash reserves a transaction hash for one authorisation. It returns false if another one has it.
func (w *world) takeHash(txHash string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.txHashes[txHash] {
		return false
	}
	w.txHashes[txHash] = true
	return true
}

// freeHash releases the hash of an authorisation that is deleted.
func (w *world) freeHash(txHash string) {
	if txHash == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.txHashes, txHash)
}

func (w *world) setRates(rateByPair map[string]string) error {
	parsed := make(map[string]decimal, len(rateByPair))
	for pair, rate := range rateByPair {
		value, finite, ok := parseDecimal(rate)
		if !ok || !finite || value.cmp(money.Amount{}) <= 0 || value.cmp(maxRate) > 0 {
			return fmt.Errorf("rate of %q: %q is not a number between 0 and %v", pair, rate, maxRate)
		}
		parsed[pair] = value
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.rates, parsed)
	return nil
}

func (w *world) rate(pair string) (decimal, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rate, ok := w.rates[pair]
	return rate, ok
}

var maxRate = money.Must("1000000")
