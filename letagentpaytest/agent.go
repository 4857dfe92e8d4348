package letagentpaytest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// agentState is an agent: the holder of one token.
type agentState struct {
	account *accountState
	name    string
	id      string
	token   string

	config AgentConfig
	policy *policy.Policy // parsed from config.Policy

	tally    // the balances, of which config.Budget is the limit
	counters map[string]*counters

	requests map[string]*requestState
	order    []*requestState // by creation
	decided  []*requestState // those that are not pending, in the order they were decided
	pending  int

	purchases, authorizations rateWindow
	replays                   replayCache
	velocity                  velocity
	wallets                   []wallet
}

// add stores a new request.
func (a *agentState) add(r *requestState) {
	a.requests[r.id] = r
	a.order = append(a.order, r)
	if r.status == letagentpay.StatusPending {
		a.pending++
		return
	}
	a.recordDecided(r)
}

// recordDecided lists a request that is no longer pending, and deletes the oldest ones beyond the history.
func (a *agentState) recordDecided(r *requestState) {
	a.decided = append(a.decided, r)
	limit := a.account.history
	if len(a.decided) <= limit+limit/4 { // deletes in batches, because each deletion shifts the lists
		return
	}
	surplus := len(a.decided) - limit
	for _, old := range a.decided[:surplus] {
		delete(a.requests, old.id)
		a.account.world.freeHash(old.txHash)
	}
	a.decided = slices.Delete(a.decided, 0, surplus)
	a.order = slices.DeleteFunc(a.order, func(r *requestState) bool { return a.requests[r.id] == nil })
}

// leavePending moves a pending request to its next status and releases its hold. The release is booked in the periods
// of now, not in those of the purchase.
func (a *agentState) leavePending(r *requestState, next letagentpay.Status, now time.Time) {
	r.status = next
	a.pending--
	a.recordDecided(r)
	a.release(r.amount)
	a.account.release(r.amount)
	for _, t := range a.periods(r.currency, now) {
		t.release(r.amount)
	}
}

// approve approves a pending request: what it holds is spent.
func (a *agentState) approve(r *requestState, now time.Time) {
	a.leavePending(r, letagentpay.StatusApproved, now)
	r.reviewed = now
	a.spend(r.amount, r.currency, now)
	a.replenish(money.Amount{})
}

// rawPolicy returns the policy as GET /policy shows it.
func (a *agentState) rawPolicy() json.RawMessage {
	if a.policy == nil {
		return nil
	}
	return a.config.Policy
}

// Agent is one of the server's agents. It is valid until the next [Server.ApplyScenario].
type Agent struct {
	Name  string
	ID    string
	Token string

	server *Server
	world  *world
	state  *agentState
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

// AddAgent adds an agent while the server runs. [WithAgent] adds one at the start.
func (s *Server) AddAgent(name string, config AgentConfig) (*Agent, error) {
	w := s.world.Load()
	a, err := w.addAgent(name, "", config, s.ids)
	if err != nil {
		return nil, fmt.Errorf("letagentpaytest: %w", err)
	}
	return s.handleOf(w, a), nil
}

func (s *Server) main() *Agent {
	w := s.world.Load()
	return s.handleOf(w, w.directory().agents[0])
}

func (s *Server) handleOf(w *world, a *agentState) *Agent {
	return &Agent{
		Name:   a.name,
		ID:     a.id,
		Token:  a.token,
		server: s,
		world:  w,
		state:  a,
	}
}

// Client returns a client of this agent, as [Server.Client] does for the main one.
func (a *Agent) Client(options ...letagentpay.Option) *letagentpay.Client {
	a.server.helper()
	return a.server.newClient(a.Token, options)
}

// Budget returns the agent's money.
func (a *Agent) Budget() (b Budget) {
	a.world.locked(a.state.account, func(time.Time) {
		b = Budget{a.state.config.Budget, a.state.spent, a.state.held, a.state.remaining()}
	})
	return b
}

// Pause makes the service refuse every call of the agent with a 403, until Resume.
func (a *Agent) Pause() { a.setStatus(AgentPaused) }

// Resume ends Pause and Archive.
func (a *Agent) Resume() { a.setStatus(AgentActive) }

// Archive makes the service refuse every call of the agent with a 403, as if its owner had removed the agent.
func (a *Agent) Archive() { a.setStatus(AgentArchived) }

// SetPolicy replaces the agent's policy. An invalid policy fails the test.
func (a *Agent) SetPolicy(p policy.Policy) {
	a.server.helper()
	raw, err := json.Marshal(p)
	if err != nil {
		a.server.fatalf("letagentpaytest: policy: %v", err)
		return
	}
	a.SetPolicyJSON(string(raw))
}

// SetPolicyJSON replaces the agent's policy with one in the service's JSON. "null" or "" removes the policy, and then
// every purchase is pending. An invalid policy fails the test.
func (a *Agent) SetPolicyJSON(text string) {
	a.server.helper()
	parsed, err := policy.Parse([]byte(text))
	if err != nil {
		a.server.fatalf("letagentpaytest: policy: %v", err)
		return
	}
	a.world.locked(a.state.account, func(time.Time) {
		a.state.policy, a.state.config.Policy = parsed, json.RawMessage(text)
	})
}

// SetBudget replaces the agent's budget. The remaining amount may become negative.
func (a *Agent) SetBudget(budget money.Amount) {
	a.world.locked(a.state.account, func(time.Time) { a.state.config.Budget = budget.Round() })
}

// Patch overwrites fields of the agent from a JSON object: status, budget, spent, held, policy, auto_replenish. An
// unknown key or an invalid value is an error and changes nothing.
func (a *Agent) Patch(fields []byte) error {
	var err error
	a.world.locked(a.state.account, func(time.Time) { err = a.state.patch(fields) })
	return err
}

func (a *Agent) setStatus(status AgentStatus) {
	a.world.locked(a.state.account, func(time.Time) { a.state.config.Status = status })
}

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
