package letagentpaytest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	_ "time/tzdata" // for machines without a timezone database

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// apply checks a configuration and applies all of it except the budget rules.
func (acc *accountState) apply(c AccountConfig) error {
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
		return fmt.Errorf(
			"a request expiry of %d minutes is not between 1 and %d", c.RequestExpiryMinutes, maxExpiryMinutes)
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
	acc.categories, acc.categoryNames, acc.aliases = categories, listed, aliases
	return nil
}

// maxExpiryMinutes is a year: longer than any owner can set, and short enough not to overflow a time.
const maxExpiryMinutes = 365 * 24 * 60

func (c *AccountConfig) expiry() time.Duration {
	return time.Duration(c.RequestExpiryMinutes) * time.Minute
}

// patch overwrites fields of the configuration. The account is locked. New budget rules start with empty tallies.
func (acc *accountState) patch(fields []byte) error {
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

// apply checks a configuration and applies it.
func (a *agentState) apply(c AgentConfig) error {
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

// patch overwrites fields of the configuration. The account is locked.
func (a *agentState) patch(fields []byte) error {
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

// overlay decodes an object over a value. An unknown key is an error. clear empties fields before they are decoded:
// decoding would otherwise write into maps and slices that are in use.
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

// locations caches timezones, because loading one reads and parses its table.
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
