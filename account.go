package letagentpay

import (
	"context"
	"fmt"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/policy"
)

// Budget is what an agent may spend in total, in the account's currency.
type Budget struct {
	Budget    Amount // granted so far
	Spent     Amount // paid, or approved and not yet confirmed
	Held      Amount // reserved for pending requests
	Remaining Amount // Budget − Spent − Held; negative after an overspend or a cut
	Currency  string // ISO 4217
}

// Budget reads the agent's budget.
func (c *Client) Budget(ctx context.Context) (*Budget, error) {
	request, err := api.NewGetBudgetRequest(placeholder)
	if err != nil {
		return nil, err
	}
	var body api.Budget
	err = c.transport.do(ctx, request, &call{op: "budget", maxRetries: -1, decode: func(data []byte) error {
		body = api.Budget{}
		if err := decodeObject(data, &body, budgetShape); err != nil {
			return err
		}
		if body.Currency == "" {
			return errIncomplete
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return &Budget{Budget: body.Budget.Amount, Spent: body.Spent.Amount, Held: body.Held.Amount, Remaining: body.Remaining.Amount, Currency: body.Currency}, nil
}

// Policy reads the agent's spending policy. A nil policy without an error means that no rules are set: every purchase
// that the budget allows is pending until a human decides.
func (c *Client) Policy(ctx context.Context) (*policy.Policy, error) {
	request, err := api.NewGetPolicyRequest(placeholder)
	if err != nil {
		return nil, err
	}
	var rules *policy.Policy
	err = c.transport.do(ctx, request, &call{op: "policy", maxRetries: -1, decode: func(data []byte) error {
		var body api.PolicyDocument
		if err := decodeObject(data, &body, policyShape); err != nil {
			return err
		}
		var err error
		if rules, err = policy.Parse(body.Policy); err != nil {
			return fmt.Errorf("policy: %w", err)
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return rules, nil
}

// Categories lists the names of the purchase categories that the account knows, sorted.
func (c *Client) Categories(ctx context.Context) ([]string, error) {
	request, err := api.NewListCategoriesRequest(placeholder)
	if err != nil {
		return nil, err
	}
	var body api.CategoryList
	err = c.transport.do(ctx, request, &call{op: "categories", maxRetries: -1, decode: func(data []byte) error {
		body = api.CategoryList{}
		if err := decodeObject(data, &body, categoriesShape); err != nil {
			return err
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return body.Categories, nil
}
