package letagentpaytest

import (
	"encoding/json"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/money"
)

func decimalString(a money.Amount) api.DecimalString { return api.DecimalString{Amount: a} }

func optionalDecimal(a *money.Amount) *api.DecimalString {
	if a == nil {
		return nil
	}
	return &api.DecimalString{Amount: *a}
}

func offsetTime(t time.Time) *api.OffsetTime {
	if t.IsZero() {
		return nil
	}
	return &api.OffsetTime{Time: t}
}

func (r *requestState) purchaseResult() api.PurchaseResult {
	result := api.PurchaseResult{
		RequestID:        r.id,
		Status:           string(r.status),
		Currency:         r.currency,
		Category:         r.category,
		OriginalCategory: r.original,
		PolicyCheck:      api.PolicyCheck{Passed: r.status != letagentpay.StatusRejected},
		AutoApproved:     r.status == letagentpay.StatusAutoApproved,
	}
	result.PolicyCheck.Checks = make([]api.Check, len(r.checks))
	for i, check := range r.checks {
		result.PolicyCheck.Checks[i] = api.Check{Rule: check.Rule, Result: string(check.Result), Detail: check.Detail}
	}
	switch r.status {
	case letagentpay.StatusAutoApproved:
		remaining := r.agent.remaining()
		result.BudgetRemaining = optionalDecimal(&remaining)
	case letagentpay.StatusPending:
		result.ExpiresAt = &api.Time{Time: r.expires}
	}
	return result
}

// confirmation repeats the amount with all the digits that were sent.
type confirmation struct {
	api.Confirmation
	ActualAmount *string `json:"actual_amount"`
}

func (r *requestState) confirmation(actual *decimal) confirmation {
	c := confirmation{Confirmation: api.Confirmation{RequestID: r.id, Status: string(r.status)}}
	if actual != nil {
		c.ActualAmount = &actual.text
	}
	return c
}

func (r *requestState) detail() api.RequestDetail {
	return api.RequestDetail{
		RequestID:  r.id,
		Status:     string(r.status),
		Amount:     r.amount,
		Category:   r.category,
		CreatedAt:  api.OffsetTime{Time: r.created},
		ReviewedAt: offsetTime(r.reviewed),
	}
}

func (r *requestState) listItem() api.RequestListItem {
	return api.RequestListItem{
		RequestID:   r.id,
		Status:      string(r.status),
		Amount:      r.amount,
		Currency:    r.currency,
		Category:    r.category,
		Merchant:    r.merchant,
		Description: r.description,
		CreatedAt:   api.OffsetTime{Time: r.created},
		ReviewedAt:  offsetTime(r.reviewed),
		ExpiresAt:   offsetTime(r.expires),
	}
}

func (a *agentState) budgetResult() api.Budget {
	return api.Budget{
		Budget:    decimalString(a.config.Budget),
		Spent:     decimalString(a.spent),
		Held:      decimalString(a.held),
		Remaining: decimalString(a.remaining()),
		Currency:  a.account.config.Currency,
	}
}

// authorization has the remaining amounts with all the digits that an exchange rate gives them.
type authorization struct {
	api.X402Authorization
	RemainingDailyBudget   *string `json:"remaining_daily_budget"`
	RemainingMonthlyBudget *string `json:"remaining_monthly_budget"`
}

// x402Budget repeats a limit in the form of the policy, a number or a string.
type x402Budget struct {
	api.X402Budget
	Policy x402PolicyState `json:"x402_policy"`
}

type x402PolicyState struct {
	api.X402Policy
	MaxPerRequest json.RawMessage `json:"max_per_request"`
}
