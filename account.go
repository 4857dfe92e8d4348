package letagentpay

import (
	"context"
	"fmt"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/operation"
	"github.com/letagentpay/letagentpay-go/policy"
)

// Budget is the total budget of an agent, in the account's currency.
type Budget struct {
	Budget    Amount // granted so far
	Spent     Amount // paid, or approved and not yet confirmed
	Held      Amount // reserved for pending requests
	Remaining Amount // Budget − Spent − Held; negative after an overspend or a budget cut
	Currency  string // ISO 4217; empty if the response has none
}

// Budget reads the agent's budget.
func (c *Client) Budget(ctx context.Context) (*Budget, error) {
	body, err := fetch[api.Budget](ctx, c.transport, &call{op: operation.Budget}, budgetShape, nil)
	if err != nil {
		return nil, err
	}
	return &Budget{
		Budget:    body.Budget.Amount,
		Spent:     body.Spent.Amount,
		Held:      body.Held.Amount,
		Remaining: body.Remaining.Amount,
		Currency:  body.Currency,
	}, nil
}

// Policy reads the agent's spending policy. A nil policy without an error means that no rules are set: every purchase
// that the budget allows is then pending until a human decides.
func (c *Client) Policy(ctx context.Context) (rules *policy.Policy, err error) {
	parse := func(body *api.PolicyDocument) (err error) {
		if rules, err = policy.Parse(body.Policy); err != nil {
			return fmt.Errorf("policy: %w", err)
		}
		return nil
	}
	if _, err = fetch(ctx, c.transport, &call{op: operation.Policy}, policyShape, parse); err != nil {
		return nil, err
	}
	return rules, nil
}

// Categories lists the names of the account's purchase categories, sorted.
func (c *Client) Categories(ctx context.Context) ([]string, error) {
	body, err := fetch[api.CategoryList](ctx, c.transport, &call{op: operation.Categories}, categoriesShape, nil)
	if err != nil {
		return nil, err
	}
	return body.Categories, nil
}
