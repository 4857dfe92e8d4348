package letagentpaytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// Option configures a server. Options about an agent or an account mean the main one, unless they stand inside
// [WithAgent] or [WithAccount].
type Option func(*config) error

// config collects the options: a scenario, and what is about the server itself.
type config struct {
	scenario Scenario
	seed     uint64
	token    string
	memory   bool
	history  int
	races    *Races

	account     *AccountConfig // what options about an account apply to; nil inside WithAgent
	accountName string
	agent       *AgentConfig // the same for an agent; nil inside WithAccount
	nested      bool
}

func newConfig(options []Option) (*config, error) {
	c := &config{
		scenario: Scenario{
			Agent: AgentConfig{Budget: defaultBudget},
			Rates: map[string]string{"USDC/USD": "1", "USDT/USD": "1"},
		},
		seed:        rand.Uint64(),
		history:     100_000,
		accountName: mainName,
	}
	c.account, c.agent = &c.scenario.Account, &c.scenario.Agent
	for _, option := range options {
		if err := option(c); err != nil {
			return nil, fmt.Errorf("letagentpaytest: %w", err)
		}
	}
	for _, account := range append(slices.Collect(maps.Values(c.scenario.Accounts)), c.scenario.Account) {
		for alias, name := range account.Aliases {
			categories := account.Categories
			if categories == nil {
				categories = defaultCategories
			}
			if !slices.Contains(categories, Category{Name: name}) {
				return nil, fmt.Errorf("letagentpaytest: WithAliases: %q: the account has no category %q", alias, name)
			}
		}
	}
	return c, nil
}

// inside applies options to another agent or account of the same scenario.
func (c *config) inside(where string, target config, options []Option) error {
	target.scenario, target.nested = c.scenario, true
	for _, option := range options {
		if err := option(&target); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	c.scenario.Agents = target.scenario.Agents
	return nil
}

func onAgent(name string, set func(*AgentConfig) error) Option {
	return func(c *config) error {
		if c.agent == nil {
			return errors.New(name + " inside WithAccount belongs into a WithAgent there")
		}
		return set(c.agent)
	}
}

func onAccount(name string, set func(*AccountConfig) error) Option {
	return func(c *config) error {
		if c.account == nil {
			return errors.New(name + " is about an account and does not belong inside WithAgent")
		}
		return set(c.account)
	}
}

func onServer(name string, set func(*config) error) Option {
	return func(c *config) error {
		if c.nested {
			return errors.New(name + " is about the whole server and does not belong inside WithAgent or WithAccount")
		}
		return set(c)
	}
}

// WithPolicy gives the agent a policy. Without one, every purchase within the budget is pending until it is approved.
func WithPolicy(p policy.Policy) Option {
	return onAgent("WithPolicy", func(a *AgentConfig) error {
		raw, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("WithPolicy: %w", err)
		}
		a.Policy = raw
		return nil
	})
}

// WithPolicyJSON gives the agent a policy in the service's JSON, as its dashboard stores it.
func WithPolicyJSON(text string) Option {
	return onAgent("WithPolicyJSON", func(a *AgentConfig) error {
		if _, err := policy.Parse([]byte(text)); err != nil {
			return fmt.Errorf("WithPolicyJSON: %w", err)
		}
		a.Policy = json.RawMessage(text)
		return nil
	})
}

// WithBudget sets what the agent may spend in all. The default is 1000.00.
func WithBudget(budget money.Amount) Option {
	return onAgent("WithBudget", func(a *AgentConfig) error {
		if budget.Sign() < 0 {
			return fmt.Errorf("WithBudget: %v is below zero", budget)
		}
		a.Budget = budget
		return nil
	})
}

// WithAutoReplenish tops the agent's budget up by amount whenever an approval leaves less than threshold, as long as
// the budget stays within most; a zero most is no bound.
func WithAutoReplenish(threshold, amount, maxBudget money.Amount) Option {
	return onAgent("WithAutoReplenish", func(a *AgentConfig) error {
		if threshold.Sign() <= 0 || amount.Sign() <= 0 || maxBudget.Sign() < 0 {
			return errors.New("WithAutoReplenish: the amounts must be above zero")
		}
		a.AutoReplenish = &AutoReplenish{Enabled: true, Threshold: &threshold, Amount: &amount}
		if !maxBudget.IsZero() {
			a.AutoReplenish.MaxBudget = &maxBudget
		}
		return nil
	})
}

// WithCurrency sets the account's currency. The default is USD.
func WithCurrency(code string) Option {
	return onAccount("WithCurrency", func(a *AccountConfig) error {
		if code == "" {
			return errors.New("WithCurrency: the code is empty")
		}
		a.Currency = code
		return nil
	})
}

// WithTimezone sets the timezone, as in "Europe/Berlin", by whose calendar the account's days, weeks and months begin.
// The default is UTC.
func WithTimezone(name string) Option {
	return onAccount("WithTimezone", func(a *AccountConfig) error {
		if name == "" {
			return errors.New("WithTimezone: the name is empty")
		}
		a.Timezone = name
		return nil
	})
}

// WithCategories sets the account's categories. A purchase in any other is booked as "other". The default is the
// service's own list of sixteen, from accommodation to transport.
func WithCategories(names ...string) Option {
	return onAccount("WithCategories", func(a *AccountConfig) error {
		a.Categories = categoriesOf(names)
		return nil
	})
}

// WithAliases sets other names of the account's categories, in lower case with underscores, as in {"uber": "taxi"}.
func WithAliases(categoryByAlias map[string]string) Option {
	return onAccount("WithAliases", func(a *AccountConfig) error {
		for alias := range categoryByAlias {
			if separators.Replace(strings.ToLower(trimSpace(alias))) != alias {
				return fmt.Errorf("WithAliases: %q never matches: aliases are in lower case with underscores", alias)
			}
		}
		a.Aliases = maps.Clone(categoryByAlias)
		return nil
	})
}

// WithBudgetRules limits what all agents of the account spend together.
func WithBudgetRules(rules ...BudgetRule) Option {
	return onAccount("WithBudgetRules", func(a *AccountConfig) error {
		for _, rule := range rules {
			if rule.Limit.Sign() <= 0 {
				return fmt.Errorf("WithBudgetRules: %q: the limit must be above zero", rule.Name)
			}
			if slices.ContainsFunc(rule.Days, func(day int) bool { return day < 0 || day > 6 }) {
				return fmt.Errorf("WithBudgetRules: %q: days are 0 (Monday) to 6 (Sunday)", rule.Name)
			}
		}
		a.BudgetRules = slices.Clone(rules)
		return nil
	})
}

// WithRequestExpiry sets how long a purchase stays pending, in whole minutes. The default is 30 minutes.
func WithRequestExpiry(d time.Duration) Option {
	return onAccount("WithRequestExpiry", func(a *AccountConfig) error {
		if d <= 0 || d%time.Minute != 0 {
			return fmt.Errorf("WithRequestExpiry: %v is no whole number of minutes above zero", d)
		}
		a.RequestExpiryMinutes = int(d / time.Minute)
		return nil
	})
}

// WithAgent adds an agent with its own token and budget to the account, besides the main one. Get it with
// [Server.Agent].
func WithAgent(name string, options ...Option) Option {
	return func(c *config) error {
		if c.accountName == "" {
			return errors.New("WithAgent does not belong inside WithAgent")
		}
		if _, taken := c.scenario.Agents[name]; taken || name == mainName || name == "" {
			return fmt.Errorf("WithAgent: the name %q is taken or empty", name)
		}
		agent := AgentConfig{Account: c.accountName, Budget: defaultBudget}
		if err := c.inside("WithAgent("+name+")", config{agent: &agent}, options); err != nil {
			return err
		}
		if c.scenario.Agents == nil {
			c.scenario.Agents = map[string]AgentConfig{}
		}
		c.scenario.Agents[name] = agent
		return nil
	}
}

// WithAccount adds an account of another owner. Its agents stand inside, as [WithAgent].
func WithAccount(name string, options ...Option) Option {
	return onServer("WithAccount", func(c *config) error {
		if _, taken := c.scenario.Accounts[name]; taken || name == mainName || name == "" {
			return fmt.Errorf("WithAccount: the name %q is taken or empty", name)
		}
		account := AccountConfig{}
		if err := c.inside("WithAccount("+name+")", config{account: &account, accountName: name}, options); err != nil {
			return err
		}
		if c.scenario.Accounts == nil {
			c.scenario.Accounts = map[string]AccountConfig{}
		}
		c.scenario.Accounts[name] = account
		return nil
	})
}

// WithStart sets what the server's clock shows first. The default is the present. The clock runs on from there.
func WithStart(t time.Time) Option {
	return onServer("WithStart", func(c *config) error {
		c.scenario.Start = t
		return nil
	})
}

// WithSeed makes the ids and tokens the same in every run. Calls that run at the same time still take them in any
// order.
func WithSeed(seed uint64) Option {
	return onServer("WithSeed", func(c *config) error {
		c.seed = seed
		return nil
	})
}

// WithToken sets the token of the main agent, which begins with "agt_".
func WithToken(token string) Option {
	return onServer("WithToken", func(c *config) error {
		if len(token) <= len("agt_") || !strings.HasPrefix(token, "agt_") {
			return errors.New(`WithToken: a token begins with "agt_"`) // without the token: it may be a real one
		}
		c.token = token
		return nil
	})
}

// InMemory runs the server without sockets: the clients of the server call it directly, in their own goroutine unless a
// call may outlive its client. Use it inside a [testing/synctest] bubble, where sockets do not work, and for speed.
func InMemory() Option {
	return onServer("InMemory", func(c *config) error {
		c.memory = true
		return nil
	})
}

// WithRates sets the exchange rates of the x402 API by pair, as in {"USDC/USD": "1", "EURC/USD": "1.08"}. The default
// is one dollar for USDC and USDT. A payment in an asset without a rate is refused.
func WithRates(rateByPair map[string]string) Option {
	return onServer("WithRates", func(c *config) error {
		c.scenario.Rates = maps.Clone(rateByPair)
		return nil
	})
}

// WithMaxHistory bounds the server's memory: of each agent it keeps all pending requests, the last n decided ones and the
// answers under the last n idempotency keys, and in all the last n calls. The default is 100,000.
func WithMaxHistory(n int) Option {
	return onServer("WithMaxHistory", func(c *config) error {
		if n <= 0 {
			return fmt.Errorf("WithMaxHistory: %d is not above zero", n)
		}
		c.history = n
		return nil
	})
}
