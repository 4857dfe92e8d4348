package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

func Example() {
	rules, err := policy.Parse([]byte(`{
		"per_request_limit": 200,
		"daily_limit": "500.00",
		"blocked_categories": ["gambling"],
		"schedule": {"timezone": "Europe/Berlin", "default": {"allow": "08:00-20:00"}},
		"auto_approve": {"enabled": true, "max_amount": 50}
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, price := range []string{"49.90", "120", "250"} {
		decision := policy.Evaluate(rules, policy.Facts{
			AgentStatus: "active",
			Amount:      money.Must(price),
			Category:    "groceries",
			Now:         time.Date(2026, time.March, 11, 12, 0, 0, 0, time.UTC),
			Budget:      money.Must("1000"),
			Spent:       money.Must("300"),
			Today:       money.Must("80"),
		})
		switch {
		case !decision.Passed:
			fmt.Println(price, "is rejected:", decision.Failed()[0].Detail)
		case decision.AutoApprove:
			fmt.Println(price, "is approved")
		default:
			fmt.Println(price, "waits for a human")
		}
	}
	// Output:
	// 49.90 is approved
	// 120 waits for a human
	// 250 is rejected: 250.00 exceeds the per-request limit of 200.00
}

func ExampleParse() {
	rules, err := policy.Parse([]byte(`{"daily_limit": "100.50", "requests_per_hour": 20, "a_field_to_come": true}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("a day:", rules.DailyLimit, "- an hour:", *rules.RequestsPerHour)

	_, err = policy.Parse([]byte(`{"daily_limit": "plenty"}`))
	if wrong, ok := errors.AsType[*policy.Error](err); ok {
		fmt.Println("wrong:", wrong.Field)
	}
	// Output:
	// a day: 100.50 - an hour: 20
	// wrong: daily_limit
}

func ExampleEvaluate() {
	limit := money.Must("100")
	rules := &policy.Policy{PerRequestLimit: &limit, AllowedCategories: []string{"groceries"}}
	decision := policy.Evaluate(rules, policy.Facts{
		AgentStatus: "active",
		Amount:      money.Must("80"),
		Category:    "groceries",
		Now:         time.Date(2026, time.March, 11, 12, 0, 0, 0, time.UTC),
		Budget:      money.Must("500"),
		Rules: []policy.BudgetRule{
			{Name: "Team", Type: policy.Monthly, Limit: money.Must("1000"), Counted: money.Must("950")},
		},
	})
	for _, check := range decision.Checks {
		fmt.Printf("%s %s: %s\n", check.Result, check.Rule, check.Detail)
	}
	// Output:
	// pass status: The agent is active
	// pass category: Category groceries is allowed
	// pass per_request_limit: 80.00 is within the per-request limit of 100.00
	// pass schedule: No schedule is set
	// pass daily_limit: No daily limit is set
	// pass weekly_limit: No weekly limit is set
	// pass monthly_limit: No monthly limit is set
	// pass budget: 80.00 is within the 500.00 that remain of the budget
	// fail account_budget:Team: 1030.00 over the whole account exceeds the monthly limit of 1000.00
}

func ExamplePolicy_Validate() {
	rules := &policy.Policy{
		Schedule: &policy.Schedule{Overrides: []policy.Override{{Days: []string{"sunday"}, Deny: true}}},
	}
	fmt.Println(rules.Validate())
	// Output:
	// policy: invalid schedule.overrides.0.days.0 "sunday": want a day of three letters, such as mon
}

func ExamplePolicy_marshal() {
	limit := money.Must("49.90")
	document, err := json.Marshal(&policy.Policy{
		DailyLimit: &limit,
		Schedule:   &policy.Schedule{Default: &policy.Window{Allow: "09:00-18:00"}},
	})
	fmt.Println(string(document), err)
	// Output:
	// {"daily_limit":49.90,"schedule":{"default":{"allow":"09:00-18:00"}}} <nil>
}
