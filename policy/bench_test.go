package policy_test

import (
	"testing"
	"time"

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

const everyRule = `{
	"per_request_limit": 200, "daily_limit": 500, "weekly_limit": 2000, "monthly_limit": "5000.00",
	"allowed_categories": ["groceries", "food_delivery", "taxi"], "requests_per_minute": 5, "requests_per_hour": 50,
	"schedule": {"timezone": "Europe/Berlin", "default": {"allow": "08:00-20:00"},
		"overrides": [
			{"days": ["sat", "sun"], "allow": "10:00-18:00", "daily_limit": 100},
			{"days": ["fri"], "deny": true}
		]},
	"auto_approve": {"enabled": true, "max_amount": 50, "categories": ["groceries"]}
}`

func BenchmarkEvaluate(b *testing.B) {
	full, err := policy.Parse([]byte(everyRule))
	if err != nil {
		b.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	facts := policy.Facts{
		AgentStatus:  "active",
		Amount:       money.Must("19.99"),
		Category:     "groceries",
		Now:          time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC),
		LoadLocation: func(string) (*time.Location, error) { return berlin, nil },
		Budget:       money.Must("1000"),
		Spent:        money.Must("100"),
		Held:         money.Must("20"),
	}
	ruled := facts
	ruled.Rules = []policy.BudgetRule{
		{Name: "Day", Type: policy.Daily, Limit: money.Must("400")},
		{Name: "All", Type: policy.Total, Limit: money.Must("9000")},
	}
	for _, bench := range []struct {
		name   string
		policy *policy.Policy
		facts  policy.Facts
	}{{"none", nil, facts}, {"full", full, facts}, {"budget rules", full, ruled}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				policy.Evaluate(bench.policy, bench.facts)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Parse([]byte(everyRule)); err != nil {
			b.Fatal(err)
		}
	}
}
