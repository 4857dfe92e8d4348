package policy_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

func amount(s string) *money.Amount { return new(money.Must(s)) }

// parse reads a document that must be one.
func parse(t testing.TB, document string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(document))
	require.NoError(t, err, document)
	return p
}

func TestParseEveryField(t *testing.T) {
	const document = `{
		"per_request_limit": 200, "daily_limit": "500.50", "weekly_limit": 2e3, "monthly_limit": 5000.0,
		"allowed_categories": ["groceries"], "blocked_categories": [],
		"requests_per_minute": 2, "requests_per_hour": "20",
		"schedule": {"timezone": "Europe/Berlin", "default": {"allow": "08:00-20:00"},
			"overrides": [
				{"days": ["sat", "SUN"], "allow": "10:00-14:00", "daily_limit": 0},
				{"days": ["wed"], "deny": true}
			]},
		"auto_approve": {"enabled": true, "max_amount": 50, "categories": ["groceries"]},
		"x402": {"allowed_chains": [], "allowed_domains": ["*.example.com"], "blocked_domains": ["evil.com"],
			"max_per_request": 2.5}
	}`
	want := &policy.Policy{
		PerRequestLimit:   amount("200"),
		DailyLimit:        amount("500.50"),
		WeeklyLimit:       amount("2000"),
		MonthlyLimit:      amount("5000"),
		AllowedCategories: []string{"groceries"},
		BlockedCategories: []string{},
		RequestsPerMinute: new(2),
		RequestsPerHour:   new(20),
		Schedule: &policy.Schedule{
			Timezone: "Europe/Berlin",
			Default:  &policy.Window{Allow: "08:00-20:00"},
			Overrides: []policy.Override{
				{Days: []string{"sat", "SUN"}, Allow: "10:00-14:00", DailyLimit: amount("0")},
				{Days: []string{"wed"}, Deny: true},
			},
		},
		AutoApprove: &policy.AutoApprove{Enabled: true, MaxAmount: amount("50"), Categories: []string{"groceries"}},
		X402: &policy.X402{
			AllowedChains:  []string{},
			AllowedDomains: []string{"*.example.com"},
			BlockedDomains: []string{"evil.com"},
			MaxPerRequest:  amount("2.5"),
		},
	}
	assert.Equal(t, want, parse(t, document))

	encoded, err := json.Marshal(want)
	require.NoError(t, err)
	assert.JSONEq(t, `{
		"per_request_limit": 200, "daily_limit": 500.5, "weekly_limit": 2000, "monthly_limit": 5000,
		"allowed_categories": ["groceries"], "blocked_categories": [],
		"requests_per_minute": 2, "requests_per_hour": 20,
		"schedule": {"timezone": "Europe/Berlin", "default": {"allow": "08:00-20:00"},
			"overrides": [
				{"days": ["sat", "SUN"], "allow": "10:00-14:00", "daily_limit": 0},
				{"days": ["wed"], "deny": true}
			]},
		"auto_approve": {"enabled": true, "max_amount": 50, "categories": ["groceries"]},
		"x402": {"allowed_chains": [], "allowed_domains": ["*.example.com"], "blocked_domains": ["evil.com"],
			"max_per_request": 2.5}
	}`, string(encoded))
}

func TestParseNoPolicy(t *testing.T) {
	for _, document := range []string{"", " \n", "null", " null "} {
		assert.Nil(t, parse(t, document), "%q", document)
	}
}

func TestParseLeavesUnset(t *testing.T) {
	for _, document := range []string{
		`{}`,
		`{"version": "1.1", "metadata": {"daily_limit": 5}, "surprise": [1, {}]}`,
		`{"daily_limit": null, "allowed_categories": null, "requests_per_hour": null}`,
		`{"schedule": null, "auto_approve": null, "x402": null}`,
		`{"Daily_Limit": 5, "DAILY_LIMIT": 5, "x402_": {}}`, // names are exact
	} {
		assert.Equal(t, new(policy.Policy), parse(t, document), document)
	}
	assert.Equal(t, &policy.Policy{
		Schedule:    &policy.Schedule{Default: &policy.Window{}},
		AutoApprove: &policy.AutoApprove{},
		X402:        &policy.X402{},
	}, parse(t, `{
		"schedule": {"timezone": null, "default": {"allow": null, "deny": "x"}, "overrides": null},
		"auto_approve": {"max_amount": null, "categories": null},
		"x402": {"allowed_chains": null, "max_per_request": null}
	}`))
}

func TestParseLastOfTwoFieldsCounts(t *testing.T) {
	p := parse(t, `{
		"schedule": {"timezone": "Asia/Tokyo"}, "daily_limit": 1,
		"daily_limit": 2, "schedule": {"default": {}}
	}`)
	assert.Equal(t, &policy.Policy{DailyLimit: amount("2"), Schedule: &policy.Schedule{Default: &policy.Window{}}}, p)
}

func TestParseLimits(t *testing.T) {
	for literal, want := range map[string]string{
		`0`: "0.00", `"0"`: "0.00", `-0`: "0.00", `0e99`: "0.00",
		`50`:       "50.00",
		`"50.00"`:  "50.00",
		`" 50.5 "`: "50.50",
		`"+5"`:     "5.00",
		`".5"`:     "0.50",
		`"5."`:     "5.00",
		`"007"`:    "7.00",
		`1e2`:      "100.00", `1.5E+3`: "1500.00", `12345e-2`: "123.45", `"1e2"`: "100.00", `0.00012e4`: "1.20",
		`0.1234567`:               "0.123456",
		`0.0000009`:               "0.00",
		`99.9999999`:              "99.999999",
		`1e-400`:                  "0.00",
		`1.0000000000000000001`:   "1.00",
		`-5`:                      "-5.00",
		`-0.1234561`:              "-0.123457",
		`-0.0000001`:              "-0.000001",
		`-1e-400`:                 "-0.000001",
		`-0.12345600`:             "-0.123456",
		`999999999999.999999`:     "999999999999.999999",
		`123456789012.5`:          "123456789012.50",
		`1e12`:                    "999999999999.999999",
		`1e400`:                   "999999999999.999999",
		`-1e400`:                  "-999999999999.999999",
		`-999999999999.9999999`:   "-999999999999.999999",
		`1e99999999999999999999`:  "999999999999.999999",
		`1e-99999999999999999999`: "0.00", `"00000000000000000000001e-1"`: "0.10", `10000000000000000e-16`: "1.00",
	} {
		p := parse(t, `{"daily_limit": `+literal+`}`)
		assert.Equal(t, want, p.DailyLimit.String(), literal)
	}
}

func TestParseCounts(t *testing.T) {
	for literal, want := range map[string]int{
		`0`:    0,
		`5`:    5,
		`"5"`:  5,
		`5.0`:  5,
		`5.9`:  5,
		`1e3`:  1000,
		`-1`:   -1,
		`-0.5`: -1,
		`-1.5`: -2,
		`1e30`: 999999999999,
	} {
		p := parse(t, `{"requests_per_minute": `+literal+`}`)
		assert.Equal(t, want, *p.RequestsPerMinute, literal)
	}
}

func TestParseTruths(t *testing.T) {
	type flags struct{ deny, enabled bool }
	on, off, doubtful := flags{true, true}, flags{}, flags{deny: true} // doubt permits less
	for literal, want := range map[string]flags{
		`true`:      on,
		`1`:         on,
		`1.0`:       on,
		`"true"`:    on,
		`"TRUE"`:    on,
		`"yes"`:     on,
		`"on"`:      on,
		`"1"`:       on,
		`"t"`:       on,
		`"y"`:       on,
		`false`:     off,
		`0`:         off,
		`0.0`:       off,
		`"false"`:   off,
		`"False"`:   off,
		`"no"`:      off,
		`"off"`:     off,
		`"0"`:       off,
		`""`:        off,
		`null`:      off,
		`[]`:        off,
		`{}`:        off,
		`"perhaps"`: doubtful, `2`: doubtful, `-1`: doubtful, `[0]`: doubtful, `{"a": 1}`: doubtful,
	} {
		p := parse(t, `{
			"schedule": {"overrides": [{"days": ["mon"], "deny": `+literal+`}]},
			"auto_approve": {"enabled": `+literal+`}
		}`)
		assert.Equal(t, want, flags{p.Schedule.Overrides[0].Deny, p.AutoApprove.Enabled}, literal)
	}
}

// In a document an empty window allows nothing, while the Go type has it allow the whole day.
func TestParseEmptyWindow(t *testing.T) {
	p := parse(t, `{"schedule": {"default": {"allow": ""}, "overrides": [{"days": ["mon"], "allow": ""}]}}`)
	assert.Equal(t, "-", p.Schedule.Default.Allow)
	assert.Empty(t, p.Schedule.Overrides[0].Allow, "of an override it decides nothing")
}

func TestParseErrors(t *testing.T) {
	const number, object = "want a number or a numeric string, such as 49.99", "want a JSON object"
	const text, texts = "want a string", "want a list of strings"
	long := strings.Repeat("é", 100)
	for _, want := range []struct{ document, field, value, reason string }{
		{`[]`, "document", `[]`, object},
		{`5`, "document", `5`, object},
		{`{"a":`, "document", `{"a":`, "want a JSON object: unexpected end of JSON input"},

		{`{"per_request_limit": "fifty"}`, "per_request_limit", `"fifty"`, number},
		{`{"daily_limit": true}`, "daily_limit", `true`, number},
		{`{"daily_limit": ""}`, "daily_limit", `""`, number},
		{`{"weekly_limit": "0x10"}`, "weekly_limit", `"0x10"`, number},
		{`{"weekly_limit": "1_000"}`, "weekly_limit", `"1_000"`, number},
		{`{"monthly_limit": "1e"}`, "monthly_limit", `"1e"`, number},
		{`{"monthly_limit": "1.2.3"}`, "monthly_limit", `"1.2.3"`, number},
		{`{"monthly_limit": "NaN"}`, "monthly_limit", `"NaN"`, number},
		{`{"monthly_limit": "Infinity"}`, "monthly_limit", `"Infinity"`, number},
		{`{"monthly_limit": "--1"}`, "monthly_limit", `"--1"`, number},
		{`{"monthly_limit": "."}`, "monthly_limit", `"."`, number},
		{`{"requests_per_hour": "many"}`, "requests_per_hour", `"many"`, "want a whole number"},
		{`{"allowed_categories": "a"}`, "allowed_categories", `"a"`, texts},
		{`{"blocked_categories": [1]}`, "blocked_categories", `[1]`, texts},
		{`{"blocked_categories": [null]}`, "blocked_categories", `[null]`, texts},
		{`{"schedule": "always"}`, "schedule", `"always"`, object},
		{`{"schedule": {"timezone": 1}}`, "schedule.timezone", `1`, text},
		{`{"schedule": {"default": "all"}}`, "schedule.default", `"all"`, object},

		{`{"schedule": {"default": {"allow": 9}}}`, "schedule.default.allow", `9`, text},
		{`{"schedule": {"overrides": {}}}`, "schedule.overrides", `{}`, "want a list of objects"},
		{`{"schedule": {"overrides": [{}, 1]}}`, "schedule.overrides.1", `1`, object},
		{`{"schedule": {"overrides": [null]}}`, "schedule.overrides.0", `null`, object},
		{`{"schedule": {"overrides": [{"days": "mon"}]}}`, "schedule.overrides.0.days", `"mon"`, texts},
		{`{"schedule": {"overrides": [{"allow": []}]}}`, "schedule.overrides.0.allow", `[]`, text},
		{`{"schedule": {"overrides": [{}, {"daily_limit":""}]}}`, "schedule.overrides.1.daily_limit", `""`, number},

		{`{"auto_approve": true}`, "auto_approve", `true`, object},
		{`{"auto_approve": {"max_amount": []}}`, "auto_approve.max_amount", `[]`, number},
		{`{"auto_approve": {"categories": {}}}`, "auto_approve.categories", `{}`, texts},
		{`{"x402": []}`, "x402", `[]`, object},
		{`{"x402": {"allowed_chains": "base"}}`, "x402.allowed_chains", `"base"`, texts},
		{`{"x402": {"allowed_domains": [[]]}}`, "x402.allowed_domains", `[[]]`, texts},
		{`{"x402": {"blocked_domains": 1}}`, "x402.blocked_domains", `1`, texts},
		{`{"x402": {"max_per_request": "cheap"}}`, "x402.max_per_request", `"cheap"`, number},

		{`{"daily_limit": "` + long + `"}`, "daily_limit", `"` + long[:78] + "…", number},
	} {
		p, err := policy.Parse([]byte(want.document))
		assert.Nil(t, p, want.document)
		wrong, ok := errors.AsType[*policy.Error](err)
		require.True(t, ok, "%s: %v", want.document, err)
		assert.Equal(t, policy.Error{Field: want.field, Value: want.value, Reason: want.reason}, *wrong, want.document)
	}
	_, err := policy.Parse([]byte(`{"daily_limit": "a lot"}`))
	assert.EqualError(t, err, `policy: invalid daily_limit "\"a lot\"": `+number)
}

func TestUnmarshalReplacesOrLeaves(t *testing.T) {
	var holder struct{ Policy policy.Policy }
	require.NoError(t, json.Unmarshal([]byte(`{"Policy": {"daily_limit": 5}}`), &holder))
	require.NoError(t, json.Unmarshal([]byte(`{"Policy": {"weekly_limit": 6}}`), &holder))
	want := policy.Policy{WeeklyLimit: amount("6")}
	assert.Equal(t, want, holder.Policy, "replaced, not merged")

	require.NoError(t, json.Unmarshal([]byte(`{"Policy": null}`), &holder))
	assert.Equal(t, want, holder.Policy)
	err := json.Unmarshal([]byte(`{"Policy": {"daily_limit": 1, "weekly_limit": "?"}}`), &holder)
	wrong, ok := errors.AsType[*policy.Error](err)
	require.True(t, ok)
	assert.Equal(t, "weekly_limit", wrong.Field)
	assert.Equal(t, want, holder.Policy)
}

func FuzzParse(f *testing.F) {
	for _, document := range []string{
		everyRule, "", "null", "{}", "[]", `{"a": "\ud800"}`,
		`{"daily_limit": -1.00000001e-3}`, `{"requests_per_minute": "1e9"}`, `{"daily_limit": 1e999999999}`,
		`{"schedule": {
			"default": {"allow": ""}, "overrides": [{"days": ["mon"], "deny": "x", "daily_limit": "+0.5"}]
		}}`,
		`{"x402": {"allowed_chains": [], "max_per_request": "0"}, "auto_approve": {"enabled": 1, "max_amount": 20}}`,
	} {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := policy.Parse(document)
		if err != nil {
			wrong, ok := errors.AsType[*policy.Error](err)
			require.True(t, ok)
			require.NotEmpty(t, wrong.Field)
			require.NotEmpty(t, wrong.Reason)
			return
		}
		encoded, err := json.Marshal(p)
		require.NoError(t, err)
		again, err := policy.Parse(encoded)
		require.NoError(t, err)
		require.Equal(t, p, again, "%s", encoded)
		f := policy.Facts{AgentStatus: "active", Category: "groceries", Amount: money.Must("1")}
		require.Equal(t, policy.Evaluate(p, f), policy.Evaluate(again, f))
		if p.Validate() == nil {
			require.NoError(t, again.Validate())
		}
	})
}
