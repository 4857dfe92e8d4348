package letagentpaytest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// budgetRule is a rule together with its own tally, which only a total rule with both ends uses.
type budgetRule struct {
	policy.BudgetRule
	byCurrency map[string]*tally
}

var ruleTypes = []policy.RuleType{policy.Daily, policy.Weekly, policy.Monthly, policy.Total}

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
				Name: r.Name, Type: r.Type, Limit: r.Limit.RoundHalfUp(), Priority: r.Priority, Inactive: r.Inactive,
				DaysOfWeek: r.Days, Start: r.Start, End: r.End,
			},
			byCurrency: map[string]*tally{},
		})
	}
	return compiled, nil
}

// temporal reports whether the rule counts for itself instead of looking at the whole account.
func (r *budgetRule) temporal() bool {
	return !r.Inactive && r.Type == policy.Total && !r.Start.IsZero() && !r.End.IsZero()
}

func (r *budgetRule) tallyIn(currency string) *tally {
	t := r.byCurrency[currency]
	if t == nil {
		t = new(tally)
		r.byCurrency[currency] = t
	}
	return t
}

// ruleFacts returns the account's budget rules with what each has counted so far.
func (acc *account) ruleFacts(currency string, today, week, month money.Amount) []policy.BudgetRule {
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
		case rule.temporal():
			facts[i].Counted = rule.tallyIn(currency).total()
		default:
			facts[i].Counted = acc.total()
		}
	}
	return facts
}
