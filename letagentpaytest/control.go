package letagentpaytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// Why a decision was refused, for [errors.Is].
var (
	ErrNotFound   = errors.New("no such request")
	ErrNotPending = errors.New("the request is not pending")
	ErrExpired    = errors.New("the request was past its expiry, and has expired now")
)

// DecisionError reports that a request could not be approved or rejected. It matches [ErrNotFound], [ErrNotPending] or
// [ErrExpired] with [errors.Is].
type DecisionError struct {
	RequestID string
	Status    letagentpay.Status // what the request is; empty when there is none
	Err       error              // ErrNotFound, ErrNotPending or ErrExpired
}

func (e *DecisionError) Error() string {
	if e.Status == "" {
		return fmt.Sprintf("letagentpaytest: request %s: %v", e.RequestID, e.Err)
	}
	return fmt.Sprintf("letagentpaytest: request %s (%s): %v", e.RequestID, e.Status, e.Err)
}

// Unwrap returns the sentinel.
func (e *DecisionError) Unwrap() error { return e.Err }

// Budget is an agent's money: Remaining is Budget less Spent and Held, and may be negative.
type Budget struct {
	Budget    money.Amount `json:"budget"`
	Spent     money.Amount `json:"spent"`
	Held      money.Amount `json:"held"`
	Remaining money.Amount `json:"remaining"`
}

// locked runs do with an account locked and up to date.
func (w *world) locked(acc *account, do func(now time.Time)) {
	acc.mu.Lock()
	defer acc.mu.Unlock()
	now := w.clock.now()
	acc.catchUp(now)
	do(now)
}

// find runs do on the request with an id, its account locked, and reports whether there is one.
func (w *world) find(id string, do func(r *request, now time.Time)) bool {
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

// Approve approves a pending request as its owner would. One past its expiry expires instead. The error is a
// [*DecisionError].
func (s *Server) Approve(requestID string) error { return s.decide(requestID, true) }

// Reject rejects a pending request as its owner would, even past its expiry as long as nothing has expired it. The
// error is a [*DecisionError].
func (s *Server) Reject(requestID string) error { return s.decide(requestID, false) }

func (s *Server) decide(id string, approve bool) error {
	var err error
	if !s.world.Load().find(id, func(r *request, now time.Time) { err = r.decide(approve, now) }) {
		return &DecisionError{RequestID: id, Err: ErrNotFound}
	}
	return err
}

// Now returns what the server's clock shows.
func (s *Server) Now() time.Time { return s.world.Load().clock.now() }

// Advance moves the server's clock forward by d, and everything with it: expiry, budgets of the day, rate limits,
// schedules, delayed verdicts, the lifetime of idempotency keys. It moves no other clock: a client that waits for a
// tick of its own still waits. A negative d fails the test.
func (s *Server) Advance(d time.Duration) {
	s.helper()
	if d < 0 {
		s.fatalf("letagentpaytest: Advance(%v): the clock does not go back", d)
		return
	}
	s.world.Load().clock.advance(d)
}

// Sweep expires every overdue request at once, where the service would do so within a minute.
func (s *Server) Sweep() {
	w := s.world.Load()
	for _, acc := range w.accounts {
		w.locked(acc, acc.sweep)
	}
}

// Agent is one of the server's agents. It is valid until the next [Server.ApplyScenario].
type Agent struct {
	Name  string
	ID    string
	Token string

	server *Server
	world  *world
	agent  *agent
}

func (s *Server) handleOf(w *world, a *agent) *Agent {
	return &Agent{Name: a.name, ID: a.id, Token: a.token, server: s, world: w, agent: a}
}

// Agent returns the agent that [WithAgent] named, or the main one for "main". An unknown name fails the test.
func (s *Server) Agent(name string) *Agent {
	s.helper()
	w := s.world.Load()
	a := w.directory().byName[name]
	if a == nil {
		s.fatalf("letagentpaytest: no agent is named %q", name)
		return nil
	}
	return s.handleOf(w, a)
}

// Agents returns all agents, the main one first.
func (s *Server) Agents() []*Agent {
	w := s.world.Load()
	known := w.directory().agents
	agents := make([]*Agent, len(known))
	for i, a := range known {
		agents[i] = s.handleOf(w, a)
	}
	return agents
}

func (s *Server) main() *Agent {
	w := s.world.Load()
	return s.handleOf(w, w.directory().agents[0])
}

// AddAgent adds an agent while the server runs; see [WithAgent] for agents known from the start.
func (s *Server) AddAgent(name string, config AgentConfig) (*Agent, error) {
	w := s.world.Load()
	a, err := w.addAgent(name, "", config, s.ids)
	if err != nil {
		return nil, fmt.Errorf("letagentpaytest: %w", err)
	}
	return s.handleOf(w, a), nil
}

// Client returns a client of this agent, like [Server.Client].
func (a *Agent) Client(options ...letagentpay.Option) *letagentpay.Client {
	a.server.helper()
	return a.server.client(a.Token, options)
}

// Budget returns the agent's money.
func (a *Agent) Budget() (b Budget) {
	a.world.locked(a.agent.account, func(time.Time) {
		b = Budget{a.agent.config.Budget, a.agent.spent, a.agent.held, a.agent.remaining()}
	})
	return b
}

func (a *Agent) setStatus(status AgentStatus) {
	a.world.locked(a.agent.account, func(time.Time) { a.agent.config.Status = status })
}

// Pause makes the service refuse every call of the agent with a 403 until Resume.
func (a *Agent) Pause() { a.setStatus(AgentPaused) }

// Resume ends Pause and Archive.
func (a *Agent) Resume() { a.setStatus(AgentActive) }

// Archive makes the service refuse every call of the agent with a 403, as an agent that its owner removed.
func (a *Agent) Archive() { a.setStatus(AgentArchived) }

// SetPolicy replaces the agent's policy. A policy that is not valid fails the test.
func (a *Agent) SetPolicy(p policy.Policy) {
	a.server.helper()
	raw, err := json.Marshal(p)
	if err != nil {
		a.server.fatalf("letagentpaytest: policy: %v", err)
		return
	}
	a.SetPolicyJSON(string(raw))
}

// SetPolicyJSON replaces the agent's policy, given as the service's JSON; "null" or "" takes it away, and then every
// purchase is pending. A policy that is not valid fails the test.
func (a *Agent) SetPolicyJSON(text string) {
	a.server.helper()
	parsed, err := policy.Parse([]byte(text))
	if err != nil {
		a.server.fatalf("letagentpaytest: policy: %v", err)
		return
	}
	a.world.locked(a.agent.account, func(time.Time) {
		a.agent.policy, a.agent.config.Policy = parsed, json.RawMessage(text)
	})
}

// SetBudget replaces the agent's budget, which may leave less than nothing.
func (a *Agent) SetBudget(budget money.Amount) {
	a.world.locked(a.agent.account, func(time.Time) { a.agent.config.Budget = budget.Round() })
}

// Patch overwrites fields of the agent from a JSON object: status, budget, spent, held, policy, auto_replenish. Other
// keys and values that are not valid are an error, and change nothing.
func (a *Agent) Patch(fields []byte) error {
	var err error
	a.world.locked(a.agent.account, func(time.Time) { err = a.agent.patch(fields) })
	return err
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
	return &Account{Name: name, world: w, account: acc}
}

// Account is the owner's side of one or more agents. It is valid until the next [Server.ApplyScenario].
type Account struct {
	Name string

	world   *world
	account *account
}

func (acc *Account) change(do func(*AccountConfig)) {
	acc.world.locked(acc.account, func(time.Time) { do(&acc.account.config) })
}

// Block makes the service refuse every call of the account's agents with a 403 until Unblock.
func (acc *Account) Block() { acc.change(func(c *AccountConfig) { c.Blocked = true }) }

// Unblock ends Block.
func (acc *Account) Unblock() { acc.change(func(c *AccountConfig) { c.Blocked = false }) }

// PauseAll is the owner's emergency stop: every call of the account's agents gets a 403 until ResumeAll.
func (acc *Account) PauseAll() { acc.change(func(c *AccountConfig) { c.AllAgentsPaused = true }) }

// ResumeAll ends PauseAll.
func (acc *Account) ResumeAll() { acc.change(func(c *AccountConfig) { c.AllAgentsPaused = false }) }

// Patch overwrites fields of the account from a JSON object, named as in [AccountConfig]. Other keys and values that
// are not valid are an error, and change nothing.
func (acc *Account) Patch(fields []byte) error {
	var err error
	acc.world.locked(acc.account, func(time.Time) { err = acc.account.patch(fields) })
	return err
}

// Budget returns the main agent's money.
func (s *Server) Budget() Budget { return s.main().Budget() }

// Pause does what [Agent.Pause] does, to the main agent.
func (s *Server) Pause() { s.main().Pause() }

// Resume does what [Agent.Resume] does, to the main agent.
func (s *Server) Resume() { s.main().Resume() }

// Archive does what [Agent.Archive] does, to the main agent.
func (s *Server) Archive() { s.main().Archive() }

// SetPolicy does what [Agent.SetPolicy] does, to the main agent.
func (s *Server) SetPolicy(p policy.Policy) {
	s.helper()
	s.main().SetPolicy(p)
}

// SetPolicyJSON does what [Agent.SetPolicyJSON] does, to the main agent.
func (s *Server) SetPolicyJSON(text string) {
	s.helper()
	s.main().SetPolicyJSON(text)
}

// SetBudget does what [Agent.SetBudget] does, to the main agent.
func (s *Server) SetBudget(budget money.Amount) { s.main().SetBudget(budget) }

// Block does what [Account.Block] does, to the main account.
func (s *Server) Block() { s.Account(mainName).Block() }

// Unblock does what [Account.Unblock] does, to the main account.
func (s *Server) Unblock() { s.Account(mainName).Unblock() }

// PauseAll does what [Account.PauseAll] does, to the main account.
func (s *Server) PauseAll() { s.Account(mainName).PauseAll() }

// ResumeAll does what [Account.ResumeAll] does, to the main account.
func (s *Server) ResumeAll() { s.Account(mainName).ResumeAll() }
