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
		`{"per_request_limit": 0, "daily_limit": 0, "weekly_limit": 0, "monthly_limit": 0, "requests_per_minute": 0, "requests_per_hour": 0}`,
		`{"allowed_categories": ["food_delivery", "custom:office", "café", "7up"], "blocked_categories": []}`,
		`{"schedule": {}}`, `{"schedule": {"default": {}, "overrides": []}}`, `{"schedule": {"timezone": "UTC"}}`,
		`{"schedule": {"timezone": "America/New_York", "overrides": [{"days": ["MON", "Tue", "wed"], "deny": false}]}}`,
		`{"schedule": {"default": {"allow": "22:00-06:00"}, "overrides": [{"days": ["sun"], "allow": "9:0-24:00"}]}}`,
		`{"auto_approve": {"enabled": true, "max_amount": 0, "categories": []}}`,
		`{"x402": {"allowed_chains": ["base", "eip155:137"], "allowed_domains": ["a.example.com", "*.example.com", "localhost", "::1"], "blocked_domains": [], "max_per_request": 0}}`,
	} {
		assert.NoError(t, parse(t, document).Validate(), document)
	}
}

func TestValidateFindsMistakes(t *testing.T) {
	const zeroOrMore, window = "want 0 or more", "want hours as HH:MM-HH:MM"
	const category = "want a name in lower case, with underscores in place of spaces and dashes: purchases have no other"
	const domain = "want a domain in lower case, such as api.example.com or *.example.com"
	for document, want := range map[string]policy.Error{
		`{"per_request_limit": -1}`:                 {Field: "per_request_limit", Value: "-1.00", Reason: zeroOrMore},
		`{"daily_limit": "-0.0000001"}`:             {Field: "daily_limit", Value: "-0.000001", Reason: zeroOrMore},
		`{"weekly_limit": -5}`:                      {Field: "weekly_limit", Value: "-5.00", Reason: zeroOrMore},
		`{"monthly_limit": -5}`:                     {Field: "monthly_limit", Value: "-5.00", Reason: zeroOrMore},
		`{"requests_per_minute": -1}`:               {Field: "requests_per_minute", Value: "-1", Reason: zeroOrMore},
		`{"requests_per_hour": -1}`:                 {Field: "requests_per_hour", Value: "-1", Reason: zeroOrMore},
		`{"allowed_categories": ["a", ""]}`:         {Field: "allowed_categories.1", Value: "", Reason: category},
		`{"blocked_categories": ["Taxi"]}`:          {Field: "blocked_categories.0", Value: "Taxi", Reason: category},
		`{"blocked_categories": ["food-delivery"]}`: {Field: "blocked_categories.0", Value: "food-delivery", Reason: category},
		`{"blocked_categories": ["food delivery"]}`: {Field: "blocked_categories.0", Value: "food delivery", Reason: category},
		`{"blocked_categories": ["taxi\n"]}`:        {Field: "blocked_categories.0", Value: "taxi\n", Reason: category},

		`{"schedule": {"timezone": "Mars/Olympus"}}`: {Field: "schedule.timezone", Value: "Mars/Olympus", Reason: "want a known IANA time zone, such as Europe/Berlin"},
		`{"schedule": {"timezone": "Local"}}`:        {Field: "schedule.timezone", Value: "Local", Reason: "want a known IANA time zone, such as Europe/Berlin"},
		`{"schedule": {"timezone": "../etc"}}`:       {Field: "schedule.timezone", Value: "../etc", Reason: "want a known IANA time zone, such as Europe/Berlin"},

		`{"schedule": {"default": {"allow": ""}}}`:                  {Field: "schedule.default.allow", Value: "-", Reason: window},
		`{"schedule": {"default": {"allow": "09:00"}}}`:             {Field: "schedule.default.allow", Value: "09:00", Reason: window},
		`{"schedule": {"default": {"allow": "09:00–18:00"}}}`:       {Field: "schedule.default.allow", Value: "09:00–18:00", Reason: window},
		`{"schedule": {"default": {"allow": "09:00-18:00-20:00"}}}`: {Field: "schedule.default.allow", Value: "09:00-18:00-20:00", Reason: window},
		`{"schedule": {"default": {"allow": "25:00-26:00"}}}`:       {Field: "schedule.default.allow", Value: "25:00-26:00", Reason: window},
		`{"schedule": {"default": {"allow": "25:00-06:00"}}}`:       {Field: "schedule.default.allow", Value: "25:00-06:00", Reason: window},
		`{"schedule": {"default": {"allow": "09:00-24:01"}}}`:       {Field: "schedule.default.allow", Value: "09:00-24:01", Reason: window},
		`{"schedule": {"default": {"allow": "08:60-10:00"}}}`:       {Field: "schedule.default.allow", Value: "08:60-10:00", Reason: window},
		`{"schedule": {"default": {"allow": "08:00-10:99"}}}`:       {Field: "schedule.default.allow", Value: "08:00-10:99", Reason: window},

		`{"schedule": {"overrides": [{"deny": true}]}}`:                               {Field: "schedule.overrides.0.days", Value: "", Reason: "want at least one day"},
		`{"schedule": {"overrides": [{"days": ["mon"]}, {"days": ["tue", "tues"]}]}}`: {Field: "schedule.overrides.1.days.1", Value: "tues", Reason: "want a day of three letters, such as mon"},
		`{"schedule": {"overrides": [{"days": ["mon"], "allow": "all"}]}}`:            {Field: "schedule.overrides.0.allow", Value: "all", Reason: window},
		`{"schedule": {"overrides": [{"days": ["mon"], "daily_limit": -2}]}}`:         {Field: "schedule.overrides.0.daily_limit", Value: "-2.00", Reason: zeroOrMore},
		`{"auto_approve": {"max_amount": -1}}`:                                        {Field: "auto_approve.max_amount", Value: "-1.00", Reason: zeroOrMore},
		`{"auto_approve": {"categories": ["Taxi"]}}`:                                  {Field: "auto_approve.categories.0", Value: "Taxi", Reason: category},
		`{"x402": {"allowed_chains": [" base"]}}`:                                     {Field: "x402.allowed_chains.0", Value: " base", Reason: "want the service's name of a chain, such as base"},
		`{"x402": {"allowed_chains": [""]}}`:                                          {Field: "x402.allowed_chains.0", Value: "", Reason: "want the service's name of a chain, such as base"},
		`{"x402": {"allowed_domains": ["https://example.com"]}}`:                      {Field: "x402.allowed_domains.0", Value: "https://example.com", Reason: domain},
		`{"x402": {"allowed_domains": ["example.com:8080"]}}`:                         {Field: "x402.allowed_domains.0", Value: "example.com:8080", Reason: domain},
		`{"x402": {"blocked_domains": ["*"]}}`:                                        {Field: "x402.blocked_domains.0", Value: "*", Reason: domain},
		`{"x402": {"blocked_domains": ["*."]}}`:                                       {Field: "x402.blocked_domains.0", Value: "*.", Reason: domain},
		`{"x402": {"blocked_domains": ["Evil.com"]}}`:                                 {Field: "x402.blocked_domains.0", Value: "Evil.com", Reason: domain},
		`{"x402": {"blocked_domains": ["evil.com "]}}`:                                {Field: "x402.blocked_domains.0", Value: "evil.com ", Reason: domain},
		`{"x402": {"max_per_request": -0.01}}`:                                        {Field: "x402.max_per_request", Value: "-0.01", Reason: zeroOrMore},
		`{"x402": {"max_per_request": -1}, "daily_limit": -2}`:                        {Field: "daily_limit", Value: "-2.00", Reason: zeroOrMore},
		`{"blocked_categories": ["` + strings.Repeat("X", 100) + `"]}`:                {Field: "blocked_categories.0", Value: strings.Repeat("X", 80) + "…", Reason: category},
	} {
		err := parse(t, document).Validate()
		wrong, ok := errors.AsType[*policy.Error](err)
		require.True(t, ok, "%s: %v", document, err)
		assert.Equal(t, want, *wrong, document)
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
