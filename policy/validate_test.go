package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/policy"
)

func TestValidateTakesWhatMakesSense(t *testing.T) {
	require.NoError(t, (*policy.Policy)(nil).Validate())
	for _, document := range []string{
		`{}`, everyRule,
		`{"per_request_limit": 0, "daily_limit": 0, "weekly_limit": 0, "monthly_limit": 0}`,
		`{"requests_per_minute": 0, "requests_per_hour": 0}`,
		`{"allowed_categories": ["food_delivery", "custom:office", "café", "7up"], "blocked_categories": []}`,
		`{"schedule": {}}`, `{"schedule": {"default": {}, "overrides": []}}`, `{"schedule": {"timezone": "UTC"}}`,
		`{"schedule": {"timezone": "America/New_York", "overrides": [{"days": ["MON", "Tue", "wed"], "deny": false}]}}`,
		`{"schedule": {"default": {"allow": "22:00-06:00"}, "overrides": [{"days": ["sun"], "allow": "9:0-24:00"}]}}`,
		`{"auto_approve": {"enabled": true, "max_amount": 0, "categories": []}}`,
		`{"x402": {"allowed_chains": ["base", "eip155:137"], "blocked_domains": [], "max_per_request": 0}}`,
		`{"x402": {"allowed_domains": ["a.example.com", "*.example.com", "localhost", "::1"]}}`,
	} {
		assert.NoError(t, parse(t, document).Validate(), document)
	}
}

func TestValidateFindsMistakes(t *testing.T) {
	const zeroOrMore, window = "want 0 or more", "want hours as HH:MM-HH:MM"
	const category = "want a name in lower case, with underscores in place of spaces and dashes: " +
		"purchases have no other"
	const timezone = "want a known IANA time zone, such as Europe/Berlin"
	const chain = "want the service's name of a chain, such as base"
	const domain = "want a domain in lower case, such as api.example.com or *.example.com"
	for _, want := range []struct{ document, field, value, reason string }{
		{`{"per_request_limit": -1}`, "per_request_limit", "-1.00", zeroOrMore},
		{`{"daily_limit": "-0.0000001"}`, "daily_limit", "-0.000001", zeroOrMore},
		{`{"weekly_limit": -5}`, "weekly_limit", "-5.00", zeroOrMore},
		{`{"monthly_limit": -5}`, "monthly_limit", "-5.00", zeroOrMore},
		{`{"requests_per_minute": -1}`, "requests_per_minute", "-1", zeroOrMore},
		{`{"requests_per_hour": -1}`, "requests_per_hour", "-1", zeroOrMore},
		{`{"allowed_categories": ["a", ""]}`, "allowed_categories.1", "", category},
		{`{"blocked_categories": ["Taxi"]}`, "blocked_categories.0", "Taxi", category},
		{`{"blocked_categories": ["food-delivery"]}`, "blocked_categories.0", "food-delivery", category},
		{`{"blocked_categories": ["food delivery"]}`, "blocked_categories.0", "food delivery", category},
		{`{"blocked_categories": ["taxi\n"]}`, "blocked_categories.0", "taxi\n", category},

		{`{"schedule": {"timezone": "Mars/Olympus"}}`, "schedule.timezone", "Mars/Olympus", timezone},
		{`{"schedule": {"timezone": "Local"}}`, "schedule.timezone", "Local", timezone},
		{`{"schedule": {"timezone": "../etc"}}`, "schedule.timezone", "../etc", timezone},

		{`{"schedule": {"default": {"allow": ""}}}`, "schedule.default.allow", "-", window},
		{`{"schedule": {"default": {"allow": "09:00"}}}`, "schedule.default.allow", "09:00", window},
		{`{"schedule": {"default": {"allow": "09:00–18:00"}}}`, "schedule.default.allow", "09:00–18:00", window},
		{
			`{"schedule": {"default": {"allow": "09:00-18:00-20:00"}}}`, "schedule.default.allow", "09:00-18:00-20:00",
			window,
		},
		{`{"schedule": {"default": {"allow": "25:00-26:00"}}}`, "schedule.default.allow", "25:00-26:00", window},
		{`{"schedule": {"default": {"allow": "25:00-06:00"}}}`, "schedule.default.allow", "25:00-06:00", window},
		{`{"schedule": {"default": {"allow": "09:00-24:01"}}}`, "schedule.default.allow", "09:00-24:01", window},
		{`{"schedule": {"default": {"allow": "08:60-10:00"}}}`, "schedule.default.allow", "08:60-10:00", window},
		{`{"schedule": {"default": {"allow": "08:00-10:99"}}}`, "schedule.default.allow", "08:00-10:99", window},

		{`{"schedule": {"overrides": [{"deny": true}]}}`, "schedule.overrides.0.days", "", "want at least one day"},
		{
			`{"schedule": {"overrides": [{"days": ["mon"]}, {"days": ["tue", "tues"]}]}}`,
			"schedule.overrides.1.days.1", "tues", "want a day of three letters, such as mon",
		},
		{
			`{"schedule": {"overrides": [{"days": ["mon"], "allow": "all"}]}}`, "schedule.overrides.0.allow", "all",
			window,
		},
		{
			`{"schedule": {"overrides": [{"days": ["mon"], "daily_limit": -2}]}}`, "schedule.overrides.0.daily_limit",
			"-2.00", zeroOrMore,
		},
		{`{"auto_approve": {"max_amount": -1}}`, "auto_approve.max_amount", "-1.00", zeroOrMore},
		{`{"auto_approve": {"categories": ["Taxi"]}}`, "auto_approve.categories.0", "Taxi", category},
		{`{"x402": {"allowed_chains": [" base"]}}`, "x402.allowed_chains.0", " base", chain},
		{`{"x402": {"allowed_chains": [""]}}`, "x402.allowed_chains.0", "", chain},
		{
			`{"x402": {"allowed_domains": ["https://example.com"]}}`, "x402.allowed_domains.0", "https://example.com",
			domain,
		},
		{`{"x402": {"allowed_domains": ["example.com:8080"]}}`, "x402.allowed_domains.0", "example.com:8080", domain},
		{`{"x402": {"blocked_domains": ["*"]}}`, "x402.blocked_domains.0", "*", domain},
		{`{"x402": {"blocked_domains": ["*."]}}`, "x402.blocked_domains.0", "*.", domain},
		{`{"x402": {"blocked_domains": ["Evil.com"]}}`, "x402.blocked_domains.0", "Evil.com", domain},
		{`{"x402": {"blocked_domains": ["evil.com "]}}`, "x402.blocked_domains.0", "evil.com ", domain},
		{`{"x402": {"max_per_request": -0.01}}`, "x402.max_per_request", "-0.01", zeroOrMore},
		{`{"x402": {"max_per_request": -1}, "daily_limit": -2}`, "daily_limit", "-2.00", zeroOrMore},
		{
			`{"blocked_categories": ["` + strings.Repeat("X", 100) + `"]}`, "blocked_categories.0",
			strings.Repeat("X", 80) + "…", category,
		},
	} {
		err := parse(t, want.document).Validate()
		wrong, ok := errors.AsType[*policy.Error](err)
		require.True(t, ok, "%s: %v", want.document, err)
		assert.Equal(t, policy.Error{Field: want.field, Value: want.value, Reason: want.reason}, *wrong, want.document)
	}
}

// What the service understands as hours is refused only when it is out of the clock's range.
func TestValidateTakesEveryWindowOfTheClock(t *testing.T) {
	for minute := range 24 * 60 {
		window := fmt.Sprintf("%02d:%02d-24:00", minute/60, minute%60)
		p := &policy.Policy{Schedule: &policy.Schedule{Default: &policy.Window{Allow: window}}}
		require.NoError(t, p.Validate())
		d := policy.Evaluate(p, facts())
		require.Equal(t, minute <= 12*60, d.Passed, window)
	}
}
