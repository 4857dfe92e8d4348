package letagentpaytest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// ruleState is a budget rule with a tally of its own, which only a total rule with both a start and an end uses.
type ruleState struct {
	policy.BudgetRule
	byCurrency map[string]*tally
}

var ruleTypes = []policy.RuleType{policy.Daily, policy.Weekly, policy.Monthly, policy.Total}

// compileRules checks budget rules and gives them empty tallies.
func compileRules(rules []BudgetRule) ([]*ruleState, error) {
	var compiled []*ruleState
	for _, rule := range rules {
		switch {
		case rule.Name == "":
			return nil, errors.New("a budget rule has no name")
		case !slices.Contains(ruleTypes, rule.Type):
			return nil, fmt.Errorf(
				"budget rule %q: %q is not one of daily, weekly, monthly, total", rule.Name, rule.Type)
		}
		compiled = append(compiled, &ruleState{
			BudgetRule: policy.BudgetRule{
				Name:       rule.Name,
				Type:       rule.Type,
				Limit:      rule.Limit.Round(),
				Priority:   rule.Priority,
				Inactive:   rule.Inactive,
				DaysOfWeek: rule.Days,
				Start:      rule.Start,
				End:        rule.End,
			},
			byCurrency: map[string]*tally{},
		})
	}
	return compiled, nil
}

// countsAlone reports whether the rule has a count of its own instead of the account's.
func (rule *ruleState) countsAlone() bool {
	return !rule.Inactive && rule.Type == policy.Total && !rule.Start.IsZero() && !rule.End.IsZero()
}

func (rule *ruleState) tallyIn(currency string) *tally {
	t := rule.byCurrency[currency]
	if t == nil {
		t = new(tally)
		rule.byCurrency[currency] = t
	}
	return t
}

// ruleFacts returns the account's budget rules with what each has counted so far.
func (acc *accountState) ruleFacts(currency string, today, week, month money.Amount) []policy.BudgetRule {
	if len(acc.rules) == 0 {
		return nil
	}
	facts := make([]policy.BudgetRule, len(acc.rules))
	for i, rule := range acc.rules {
		facts[i] = rule.BudgetRule
		switch {
		case rule.Type == policy.Daily:
			facts[i].Counted = today
		case rule.Type == policy.Weekly:
			facts[i].Counted = week
		case rule.Type == policy.Monthly:
			facts[i].Counted = month
		case rule.countsAlone():
			facts[i].Counted = rule.tallyIn(currency).total()
		default:
			facts[i].Counted = acc.total()
		}
	}
	return facts
}
