package letagentpaytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// Option configures a server. An option about an agent or an account is about the main one, unless it is inside
// [WithAgent] or [WithAccount]. A nil option is a [*letagentpay.ParamError].
type Option func(*settings) error

// settings collects the options: a scenario, and the settings of the server itself.
type settings struct {
	scenario Scenario
	seed     uint64
	token    string
	memory   bool
	history  int
	races    *Races

	target target
}

// target is the account and the agent that options apply to.
type target struct {
	account     *AccountConfig // nil inside WithAgent
	accountName string         // empty inside WithAgent
	agent       *AgentConfig   // nil inside WithAccount
	nested      bool           // inside either
}

func newSettings(options []Option) (*settings, error) {
	o := &settings{
		scenario: Scenario{
			Agent: AgentConfig{Budget: defaultBudget},
			Rates: map[string]string{"USDC/USD": "1", "USDT/USD": "1"},
		},
		seed:    rand.Uint64(),
		history: 100_000,
	}
	o.target = target{account: &o.scenario.Account, accountName: mainName, agent: &o.scenario.Agent}
	err := o.apply("letagentpaytest.Option", options)
	if _, isNil := errors.AsType[*letagentpay.ParamError](err); isNil {
		return nil, err // its text begins with a package already
	}
	if err != nil {
		return nil, fmt.Errorf("letagentpaytest: %w", err)
	}
	for _, account := range append(slices.Collect(maps.Values(o.scenario.Accounts)), o.scenario.Account) {
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
	return o, nil
}

// apply applies options to the target. A nil option is a [*letagentpay.ParamError] with the given field.
func (o *settings) apply(field string, options []Option) error {
	for i, option := range options {
		if option == nil {
			return &letagentpay.ParamError{Field: field, Reason: "option " + strconv.Itoa(i) + " is nil"}
		}
		if err := option(o); err != nil {
			return err
		}
	}
	return nil
}

// applyInside applies the options inside a named option, to their own target.
func (o *settings) applyInside(name string, inner target, options []Option) error {
	outer := o.target
	inner.nested = true
	o.target = inner
	err := o.apply(name, options)
	o.target = outer
	if _, isNil := errors.AsType[*letagentpay.ParamError](err); err == nil || isNil {
		return err // a nil option carries the name already
	}
	return fmt.Errorf("%s: %w", name, err)
}

func onAgent(name string, set func(*AgentConfig) error) Option {
	return func(o *settings) error {
		if o.target.agent == nil {
			return errors.New(name + " inside WithAccount belongs in a WithAgent there")
		}
		return set(o.target.agent)
	}
}

func onAccount(name string, set func(*AccountConfig) error) Option {
	return func(o *settings) error {
		if o.target.account == nil {
			return errors.New(name + " is about an account and does not belong inside WithAgent")
		}
		return set(o.target.account)
	}
}

func onServer(name string, set func(*settings) error) Option {
	return func(o *settings) error {
		if o.target.nested {
			return errors.New(name + " is about the whole server and does not belong inside WithAgent or WithAccount")
		}
		return set(o)
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

// WithPolicyJSON gives the agent a policy in the service's JSON, as the dashboard stores it.
func WithPolicyJSON(text string) Option {
	return onAgent("WithPolicyJSON", func(a *AgentConfig) error {
		if _, err := policy.Parse([]byte(text)); err != nil {
			return fmt.Errorf("WithPolicyJSON: %w", err)
		}
		a.Policy = json.RawMessage(text)
		return nil
	})
}

// WithBudget sets how much the agent may spend in total. The default is 1000.00.
func WithBudget(budget money.Amount) Option {
	return onAgent("WithBudget", func(a *AgentConfig) error {
		if budget.Sign() < 0 {
			return fmt.Errorf("WithBudget: %v is below zero", budget)
		}
		a.Budget = budget
		return nil
	})
}

// WithAutoReplenish adds amount to the agent's budget whenever an approval leaves less than threshold. The budget does
// not grow beyond maxBudget; a zero maxBudget means unlimited.
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

// WithTimezone sets the timezone in which the account's days, weeks and months begin, as in "Europe/Berlin". The
// default is UTC.
func WithTimezone(name string) Option {
	return onAccount("WithTimezone", func(a *AccountConfig) error {
		if name == "" {
			return errors.New("WithTimezone: the name is empty")
		}
		a.Timezone = name
		return nil
	})
}

// WithCategories sets the account's categories. A purchase in any other category is booked as "other". The default is
// the service's own list of sixteen, from accommodation to transport.
func WithCategories(names ...string) Option {
	return onAccount("WithCategories", func(a *AccountConfig) error {
		a.Categories = categoriesOf(names)
		return nil
	})
}

// WithAliases sets aliases of the account's categories, in lower case with underscores, as in {"uber": "taxi"}.
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

// WithBudgetRules limits what all agents of the account may spend together.
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
			return fmt.Errorf("WithRequestExpiry: %v is not a whole number of minutes above zero", d)
		}
		a.RequestExpiryMinutes = int(d / time.Minute)
		return nil
	})
}

// WithAgent adds an agent with its own token and budget to the account. [Server.Agent] returns it.
func WithAgent(name string, options ...Option) Option {
	return func(o *settings) error {
		if o.target.accountName == "" {
			return errors.New("WithAgent does not belong inside WithAgent")
		}
		if _, taken := o.scenario.Agents[name]; taken || name == mainName || name == "" {
			return fmt.Errorf("WithAgent: the name %q is taken or empty", name)
		}
		agent := AgentConfig{Account: o.target.accountName, Budget: defaultBudget}
		if err := o.applyInside("WithAgent("+name+")", target{agent: &agent}, options); err != nil {
			return err
		}
		if o.scenario.Agents == nil {
			o.scenario.Agents = map[string]AgentConfig{}
		}
		o.scenario.Agents[name] = agent
		return nil
	}
}

// WithAccount adds an account of another owner. [WithAgent] inside it adds an agent to that account.
func WithAccount(name string, options ...Option) Option {
	return onServer("WithAccount", func(o *settings) error {
		if _, taken := o.scenario.Accounts[name]; taken || name == mainName || name == "" {
			return fmt.Errorf("WithAccount: the name %q is taken or empty", name)
		}
		account := AccountConfig{}
		inner := target{account: &account, accountName: name}
		if err := o.applyInside("WithAccount("+name+")", inner, options); err != nil {
			return err
		}
		if o.scenario.Accounts == nil {
			o.scenario.Accounts = map[string]AccountConfig{}
		}
		o.scenario.Accounts[name] = account
		return nil
	})
}

// WithStart sets the clock's starting time. The default is the present time. The clock runs from there.
func WithStart(t time.Time) Option {
	return onServer("WithStart", func(o *settings) error {
		o.scenario.Start = t
		return nil
	})
}

// WithSeed makes the ids and tokens the same in every run. Concurrent calls still get them in any order.
func WithSeed(seed uint64) Option {
	return onServer("WithSeed", func(o *settings) error {
		o.seed = seed
		return nil
	})
}

// WithToken sets the token of the main agent, which begins with "agt_".
func WithToken(token string) Option {
	return onServer("WithToken", func(o *settings) error {
		if len(token) <= len("agt_") || !strings.HasPrefix(token, "agt_") {
			return errors.New(`WithToken: a token begins with "agt_"`) // not the token, which may be a real one
		}
		o.token = token
		return nil
	})
}

// InMemory runs the server without sockets. The clients of the server call it directly, in their own goroutine unless
// the call may outlive its client. Use it for speed, and inside a [testing/synctest] bubble, where sockets do not work.
func InMemory() Option {
	return onServer("InMemory", func(o *settings) error {
		o.memory = true
		return nil
	})
}

// WithRates sets the exchange rates of the x402 API by pair, as in {"USDC/USD": "1", "EURC/USD": "1.08"}. The default
// is one dollar for USDC and USDT. A payment in an asset without a rate is refused.
func WithRates(rateByPair map[string]string) Option {
	return onServer("WithRates", func(o *settings) error {
		o.scenario.Rates = maps.Clone(rateByPair)
		return nil
	})
}

// WithMaxHistory limits the server's memory. The server keeps the last n calls, and for each agent all pending
// requests, the last n decided ones and the answers under the last n idempotency keys. The default is 100,000.
func WithMaxHistory(n int) Option {
	return onServer("WithMaxHistory", func(o *settings) error {
		if n <= 0 {
			return fmt.Errorf("WithMaxHistory: %d is not above zero", n)
		}
		o.history = n
		return nil
	})
}
