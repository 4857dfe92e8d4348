package letagentpaytest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // so that timezones resolve on every machine a test runs on

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

const mainName = "main" // of the first account, and of the first agent

var (
	defaultBudget     = money.Must("1000")
	defaultCategories = categoriesOf(strings.Fields(`accommodation clothing education electronics entertainment flights
		food_delivery gas groceries health household other restaurants subscriptions taxi transport`))

	maxBalance = money.FromHundredths(999_999_999_999) // what the service's columns hold
)

func categoriesOf(names []string) []Category {
	categories := make([]Category, len(names))
	for i, name := range names {
		categories[i].Name = name
	}
	return categories
}

// Scenario is a set-up of accounts and agents, in the JSON that language-neutral tests of the service use. Its zero
// value is one account with one agent that has no budget.
type Scenario struct {
	Start    time.Time                `json:"start"`    // what the clock shows first; zero: the present
	Account  AccountConfig            `json:"account"`  // named "main"
	Agent    AgentConfig              `json:"agent"`    // named "main", of the account "main"
	Agents   map[string]AgentConfig   `json:"agents"`   // further ones
	Accounts map[string]AccountConfig `json:"accounts"` // further ones
	Rates    map[string]string        `json:"rates"`    // exchange rates by pair, as in "USDC/USD"; others are unknown
}

// AccountConfig sets up an account.
type AccountConfig struct {
	Currency             string            `json:"currency"`               // empty: USD
	Timezone             string            `json:"timezone"`               // whose days, weeks and months count; empty: UTC
	RequestExpiryMinutes int               `json:"request_expiry_minutes"` // how long a purchase stays pending; 0: 30
	Categories           []Category        `json:"categories"`             // nil: the service's sixteen
	Aliases              map[string]string `json:"aliases"`                // other names of categories
	BudgetRules          []BudgetRule      `json:"budget_rules"`
	Blocked              bool              `json:"blocked"`
	AllAgentsPaused      bool              `json:"all_agents_paused"`
}

// Category is one of an account's categories. In JSON it is a name, or an object of a name and is_active.
type Category struct {
	Name     string
	Inactive bool
}

// AgentConfig sets up an agent.
type AgentConfig struct {
	Account       string          `json:"account"` // the name of the account it belongs to; empty: "main"
	Status        AgentStatus     `json:"status"`  // empty: active
	Budget        money.Amount    `json:"budget"`  // what it may spend in all
	Spent         money.Amount    `json:"spent"`
	Held          money.Amount    `json:"held"`
	Policy        json.RawMessage `json:"policy"` // kept as written; null: every purchase is pending
	AutoReplenish *AutoReplenish  `json:"auto_replenish"`
}

// AgentStatus says whether an agent's calls are served.
type AgentStatus string

// The statuses of an agent.
const (
	AgentActive   AgentStatus = "active"
	AgentPaused   AgentStatus = "paused"
	AgentArchived AgentStatus = "archived"
)

// AutoReplenish tops up a budget by Amount, at most to MaxBudget, whenever an approval leaves less than Threshold.
// Without a threshold or an amount it does nothing.
type AutoReplenish struct {
	Enabled   bool          `json:"enabled"`
	Threshold *money.Amount `json:"threshold"`
	Amount    *money.Amount `json:"amount"`
	MaxBudget *money.Amount `json:"max_budget"`
}

// BudgetRule is an owner's limit on what all agents of an account spend together. Of each type only the rule with the
// highest priority counts, and of several such the one with the smallest limit.
type BudgetRule struct {
	Name     string          `json:"name"`
	Type     policy.RuleType `json:"limit_type"` // daily, weekly, monthly, total
	Limit    money.Amount    `json:"limit_amount"`
	Priority int             `json:"priority"`
	Inactive bool            `json:"-"`            // in JSON: "is_active": false
	Days     []int           `json:"days_of_week"` // 0 is Monday; nil: every day; empty: never
	Start    time.Time       `json:"start_at"`     // zero: no start
	End      time.Time       `json:"end_at"`       // zero: no end
}

// UnmarshalJSON reads a name, or an object of name and is_active.
func (c *Category) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, &c.Name)
	}
	read := struct {
		Name     string `json:"name"`
		IsActive bool   `json:"is_active"`
	}{IsActive: true}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*c = Category{Name: read.Name, Inactive: !read.IsActive}
	return nil
}

// UnmarshalJSON reads a rule, which is active unless is_active says otherwise.
func (r *BudgetRule) UnmarshalJSON(data []byte) error {
	type plain BudgetRule
	read := struct {
		plain
		IsActive *bool `json:"is_active"`
	}{}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*r = BudgetRule(read.plain)
	r.Inactive = read.IsActive != nil && !*read.IsActive
	return nil
}

// ApplyScenario replaces all accounts, agents and requests, the clock and the tokens, and forgets faults, calls and the
// scripted human. From then on overdue requests expire by [Server.Sweep], by a read, or by an approval, and not by a
// sweep each minute, so that a recorded scenario says itself when they do. Handles of agents and accounts got before are
// no longer valid. An error changes nothing. Nothing else may use [Server.Token] meanwhile.
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
		clock: newClock(scenario.Start), accounts: map[string]*account{},
		rates: map[string]decimal{}, txHashes: map[string]bool{},
	}
	w.agents.Store(&directory{byName: map[string]*agent{}, byToken: map[string]*agent{}})
	addAccount := func(name string, config AccountConfig) error {
		acc := &account{world: w, name: name, counters: map[string]*counters{}, history: s.options.history}
		if sweeping {
			acc.sweeps = w.clock.now()
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

// apply checks a configuration and takes it over, except for the budget rules.
func (acc *account) apply(c AccountConfig) error {
	c.Currency = cmp.Or(c.Currency, "USD")
	c.Timezone = cmp.Or(c.Timezone, "UTC")
	c.RequestExpiryMinutes = cmp.Or(c.RequestExpiryMinutes, 30)
	if c.Categories == nil {
		c.Categories = defaultCategories
	}
	currency, complaint := checkCurrency(c.Currency)
	if complaint != "" {
		return errors.New(complaint)
	}
	location, err := loadLocation(c.Timezone)
	switch {
	case err != nil:
		return fmt.Errorf("unknown timezone %q", c.Timezone)
	case c.RequestExpiryMinutes <= 0 || c.RequestExpiryMinutes > maxExpiryMinutes:
		return fmt.Errorf("a request expiry of %d minutes is not between 1 and %d", c.RequestExpiryMinutes, maxExpiryMinutes)
	}
	c.Currency = currency
	categories, listed := map[string]bool{}, []string{}
	for _, category := range c.Categories {
		if category.Name == "" {
			return errors.New("a category has no name")
		}
		if !category.Inactive && !categories[category.Name] {
			categories[category.Name] = true
			listed = append(listed, category.Name)
		}
	}
	slices.Sort(listed)
	aliases := map[string]string{}
	for alias, name := range c.Aliases {
		if categories[name] {
			aliases[alias] = name
		}
	}
	acc.config, acc.location = c, location
	acc.categories, acc.listed, acc.aliases = categories, listed, aliases
	return nil
}

// maxExpiryMinutes is a year: longer than any owner can set, short enough for every calendar.
const maxExpiryMinutes = 365 * 24 * 60

func (c *AccountConfig) expiry() time.Duration {
	return time.Duration(c.RequestExpiryMinutes) * time.Minute
}

// compileRules checks budget rules and starts their tallies.
func compileRules(rules []BudgetRule) ([]*budgetRule, error) {
	var compiled []*budgetRule
	for _, r := range rules {
		switch {
		case r.Name == "":
			return nil, errors.New("a budget rule has no name")
		case !slices.Contains(ruleTypes, r.Type):
			return nil, fmt.Errorf("budget rule %q: %q is not one of daily, weekly, monthly, total", r.Name, r.Type)
		}
		compiled = append(compiled, &budgetRule{
			BudgetRule: policy.BudgetRule{
				Name: r.Name, Type: r.Type, Limit: r.Limit.Round(), Priority: r.Priority, Inactive: r.Inactive,
				DaysOfWeek: r.Days, Start: r.Start, End: r.End,
			},
			byCurrency: map[string]*tally{},
		})
	}
	return compiled, nil
}

var ruleTypes = []policy.RuleType{policy.Daily, policy.Weekly, policy.Monthly, policy.Total}

// apply checks a configuration and takes it over.
func (a *agent) apply(c AgentConfig) error {
	c.Account = cmp.Or(c.Account, mainName)
	c.Status = cmp.Or(c.Status, AgentActive)
	switch c.Status {
	case AgentActive, AgentPaused, AgentArchived:
	default:
		return fmt.Errorf("status %q is not one of active, paused, archived", c.Status)
	}
	for field, amount := range map[string]money.Amount{"budget": c.Budget, "spent": c.Spent, "held": c.Held} {
		if maxBalance.Less(amount) || amount.Less(maxBalance.Neg()) {
			return fmt.Errorf("%s: %v is beyond %v", field, amount, maxBalance)
		}
	}
	parsed, err := policy.Parse(c.Policy)
	if err != nil {
		return err
	}
	c.Budget = c.Budget.Round()
	a.config, a.policy = c, parsed
	a.spent, a.held = c.Spent.Round(), c.Held.Round()
	return nil
}

// patch reads fields over the present configuration. The account is locked.
func (a *agent) patch(fields []byte) error {
	type plain AgentConfig
	merged := plain(a.config)
	merged.Spent, merged.Held = a.spent, a.held
	err := overlay(fields, &merged, map[string]func(){
		"policy":         func() { merged.Policy = nil },
		"auto_replenish": func() { merged.AutoReplenish = nil },
	})
	if err == nil && merged.Account != a.config.Account {
		err = errors.New("an agent does not change its account")
	}
	if err == nil {
		err = a.apply(AgentConfig(merged))
	}
	if err != nil {
		return fmt.Errorf("letagentpaytest: agent %q: %w", a.name, err)
	}
	return nil
}

// patch reads fields over the present configuration. The account is locked. New budget rules start new tallies.
func (acc *account) patch(fields []byte) error {
	type plain AccountConfig
	merged, rules := plain(acc.config), acc.rules
	ruled := false
	err := overlay(fields, &merged, map[string]func(){
		"categories":   func() { merged.Categories = nil },
		"aliases":      func() { merged.Aliases = nil },
		"budget_rules": func() { merged.BudgetRules, ruled = nil, true },
	})
	if err == nil && ruled {
		rules, err = compileRules(merged.BudgetRules)
	}
	if err == nil {
		err = acc.apply(AccountConfig(merged))
	}
	if err != nil {
		return fmt.Errorf("letagentpaytest: account %q: %w", acc.name, err)
	}
	acc.rules = rules
	return nil
}

// overlay decodes an object without unknown keys over a value. clear empties fields that are about to be decoded:
// what they refer to is in use, and decoding would write into it.
func overlay(data []byte, into any, clear map[string]func()) error {
	var present map[string]json.RawMessage
	if err := json.Unmarshal(data, &present); err != nil {
		return err
	}
	for key, empty := range clear {
		if _, ok := present[key]; ok {
			empty()
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// locations caches timezones: resolving one reads and parses its table.
var locations sync.Map // of name to *time.Location

func loadLocation(name string) (*time.Location, error) {
	if cached, ok := locations.Load(name); ok {
		return cached.(*time.Location), nil
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	locations.Store(name, location)
	return location, nil
}
