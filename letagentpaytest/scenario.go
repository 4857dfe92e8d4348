package letagentpaytest

import (
	"encoding/json"
	"strings"
	"time"

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

// Scenario is a set-up of accounts and agents, in the JSON of language-neutral tests of the service. Its zero value is
// one account with one agent without a budget.
type Scenario struct {
	Start    time.Time                `json:"start"`    // the clock's starting time; zero: the present time
	Account  AccountConfig            `json:"account"`  // named "main"
	Agent    AgentConfig              `json:"agent"`    // named "main", of the account "main"
	Agents   map[string]AgentConfig   `json:"agents"`   // further ones
	Accounts map[string]AccountConfig `json:"accounts"` // further ones
	Rates    map[string]string        `json:"rates"`    // exchange rates by pair, as in "USDC/USD"; others are unknown
}

// AccountConfig sets up an account.
type AccountConfig struct {
	Currency             string            `json:"currency"`               // empty: USD
	Timezone             string            `json:"timezone"`               // of days, weeks and months; empty: UTC
	RequestExpiryMinutes int               `json:"request_expiry_minutes"` // how long a purchase stays pending; 0: 30
	Categories           []Category        `json:"categories"`             // nil: the service's sixteen
	Aliases              map[string]string `json:"aliases"`                // category by alias
	BudgetRules          []BudgetRule      `json:"budget_rules"`
	Blocked              bool              `json:"blocked"`
	AllAgentsPaused      bool              `json:"all_agents_paused"`
}

// AgentConfig sets up an agent.
type AgentConfig struct {
	Account       string          `json:"account"` // the name of the account it belongs to; empty: "main"
	Status        AgentStatus     `json:"status"`  // empty: active
	Budget        money.Amount    `json:"budget"`  // how much it may spend in total
	Spent         money.Amount    `json:"spent"`
	Held          money.Amount    `json:"held"`
	Policy        json.RawMessage `json:"policy"` // kept as written; null: every purchase is pending
	AutoReplenish *AutoReplenish  `json:"auto_replenish"`
}

// AgentStatus states whether the service accepts an agent's calls.
type AgentStatus string

// The statuses of an agent.
const (
	AgentActive   AgentStatus = "active"
	AgentPaused   AgentStatus = "paused"
	AgentArchived AgentStatus = "archived"
)

// AutoReplenish adds Amount to a budget, up to MaxBudget, whenever an approval leaves less than Threshold. Without a
// threshold or an amount it has no effect.
type AutoReplenish struct {
	Enabled   bool          `json:"enabled"`
	Threshold *money.Amount `json:"threshold"`
	Amount    *money.Amount `json:"amount"`
	MaxBudget *money.Amount `json:"max_budget"`
}

// BudgetRule is an owner's limit on what all agents of an account spend together. Of each type, only the rule with the
// highest priority counts. Among equal priorities, it is the one with the smallest limit.
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

// UnmarshalJSON reads a rule, which is active unless is_active says otherwise.
func (rule *BudgetRule) UnmarshalJSON(data []byte) error {
	type plain BudgetRule
	read := struct {
		plain
		IsActive *bool `json:"is_active"`
	}{}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*rule = BudgetRule(read.plain)
	rule.Inactive = read.IsActive != nil && !*read.IsActive
	return nil
}
