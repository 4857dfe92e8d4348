package policy_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// noon is a Wednesday.
var noon = time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)

// facts returns those of a purchase of 10.00 that only a policy can stop, changed by each function.
func facts(changes ...func(*policy.Facts)) policy.Facts {
	f := policy.Facts{
		AgentStatus: "active",
		Amount:      money.Must("10"),
		Category:    "groceries",
		Now:         noon,
		Budget:      money.Must("500"),
	}
	for _, change := range changes {
		change(&f)
	}
	return f
}

func at(now string) func(*policy.Facts) {
	return func(f *policy.Facts) {
		instant, err := time.Parse(time.RFC3339, now)
		if err != nil {
			panic(err)
		}
		f.Now = instant
	}
}

func costing(amount string) func(*policy.Facts) {
	return func(f *policy.Facts) { f.Amount = money.Must(amount) }
}

func of(category string) func(*policy.Facts) {
	return func(f *policy.Facts) { f.Category = category }
}

func in(timezone string) func(*policy.Facts) {
	return func(f *policy.Facts) {
		location, err := time.LoadLocation(timezone)
		if err != nil {
			panic(err)
		}
		f.Location = location
	}
}

// failed returns the names of the rules that failed.
func failed(d policy.Decision) string {
	var names []string
	for _, check := range d.Failed() {
		names = append(names, check.Rule)
	}
	return strings.Join(names, " ")
}

func rulesOf(d policy.Decision) (rules []string) {
	for _, check := range d.Checks {
		rules = append(rules, check.Rule)
	}
	return rules
}

func detail(t testing.TB, d policy.Decision, rule string) string {
	t.Helper()
	i := slices.IndexFunc(d.Checks, func(c policy.Check) bool { return c.Rule == rule })
	require.GreaterOrEqual(t, i, 0, "no check of %s", rule)
	return d.Checks[i].Detail
}

func TestEvaluateReportsEveryCheckInOrder(t *testing.T) {
	every := []string{
		"status", "category", "per_request_limit", "schedule", "daily_limit", "weekly_limit", "monthly_limit", "budget",
	}
	for _, p := range []*policy.Policy{nil, {}} {
		d := policy.Evaluate(p, facts())
		assert.Equal(t, every, rulesOf(d))
		assert.True(t, d.Passed)
		assert.False(t, d.AutoApprove)
		assert.Nil(t, d.Failed())
	}
	d := policy.Evaluate(parse(t, `{
		"per_request_limit": 1, "daily_limit": 1, "weekly_limit": 1, "monthly_limit": 1,
		"blocked_categories": ["groceries"],
		"schedule": {"default": {"allow": "00:00-01:00"}}, "auto_approve": {"enabled": true}
	}`), facts(costing("600"), func(f *policy.Facts) {
		f.AgentStatus = "paused"
		f.Rules = []policy.BudgetRule{{Name: "D", Type: policy.Daily, Limit: money.Must("1000")}}
	}))
	assert.Equal(t, every, rulesOf(d), "one failure ends nothing, but keeps the budget rules out")
	assert.Equal(t, strings.Join(every, " "), failed(d))
	assert.Equal(t, policy.Decision{Checks: d.Checks}, d)
}

func TestEvaluateStatus(t *testing.T) {
	for status, want := range map[string]string{
		"active": "The agent is active",
		"paused": "The agent is not active but paused",
		"":       "The agent is not active",
		"Active": "The agent is not active but Active",
	} {
		d := policy.Evaluate(nil, facts(func(f *policy.Facts) { f.AgentStatus = status }))
		assert.Equal(t, status == "active", d.Passed, status)
		assert.Equal(t, want, detail(t, d, policy.RuleStatus))
	}
}

func TestEvaluateVelocity(t *testing.T) {
	for _, test := range []struct {
		document     string
		minute, hour int
		passed       bool
		detail       string
	}{
		{`{"requests_per_minute": 2}`, 1, 99, true, "With this request, there are 2 of at most 2 this minute"},
		{`{"requests_per_minute": 2}`, 2, 99, false, "With this request, there are 3 of at most 2 this minute"},
		{`{"requests_per_hour": 2}`, 99, 1, true, "With this request, there are 2 of at most 2 this hour"},
		{`{"requests_per_hour": 2}`, 99, 2, false, "With this request, there are 3 of at most 2 this hour"},
		{
			`{"requests_per_minute": 2, "requests_per_hour": 3}`, 0, 2, true,
			"With this request, there are 1 of at most 2 this minute and 3 of at most 3 this hour",
		},
		{
			`{"requests_per_minute": 2, "requests_per_hour": 3}`, 0, 3, false,
			"With this request, there are 1 of at most 2 this minute and 4 of at most 3 this hour",
		},
		{`{"requests_per_minute": 0}`, 0, 0, false, "With this request, there are 1 of at most 0 this minute"},
	} {
		d := policy.Evaluate(parse(t, test.document), facts(func(f *policy.Facts) {
			f.RequestsThisMinute, f.RequestsThisHour = test.minute, test.hour
		}))
		assert.Equal(t, test.passed, d.Passed, test)
		assert.Equal(t, !test.passed, d.VelocityLimited, test)
		assert.Equal(t, test.detail, detail(t, d, policy.RuleVelocityLimit))
		if !test.passed {
			assert.Equal(t, []string{"status", "velocity_limit"}, rulesOf(d), "nothing else is checked")
		}
	}
	d := policy.Evaluate(parse(t, `{"requests_per_minute": 1, "auto_approve": {"enabled": true}}`),
		facts(func(f *policy.Facts) { f.AgentStatus = "archived" }))
	assert.Equal(t, "status", failed(d))
	assert.False(t, d.VelocityLimited)
	assert.Len(t, d.Checks, 9)
}

func TestEvaluateCategory(t *testing.T) {
	for _, test := range []struct{ document, category, failed, detail string }{
		{`{}`, "groceries", "", "Category groceries is allowed"},
		{`{"allowed_categories": ["groceries"]}`, "groceries", "", "Category groceries is allowed"},
		{`{"allowed_categories": ["groceries"]}`, "taxi", "category", "Category taxi is not among those allowed"},
		{
			`{"allowed_categories": ["Groceries", " groceries", "food-delivery"]}`, "groceries", "category",
			"Category groceries is not among those allowed",
		},
		{`{"allowed_categories": ["taxi"], "blocked_categories": ["taxi"]}`, "taxi", "", "Category taxi is allowed"},
		{`{"allowed_categories": [], "blocked_categories": ["taxi"]}`, "taxi", "category", "Category taxi is blocked"},
		{
			`{"allowed_categories": [], "blocked_categories": ["taxi"]}`, "groceries", "",
			"Category groceries is allowed",
		},
		{`{"blocked_categories": []}`, "taxi", "", "Category taxi is allowed"},
		{`{"blocked_categories": ["TAXI"]}`, "taxi", "", "Category taxi is allowed"},
	} {
		d := policy.Evaluate(parse(t, test.document), facts(of(test.category)))
		assert.Equal(t, test.failed, failed(d), test)
		assert.Equal(t, test.detail, detail(t, d, policy.RuleCategory))
	}
}

func TestEvaluateLimits(t *testing.T) {
	counted := func(f *policy.Facts) {
		f.Today, f.ThisWeek, f.ThisMonth = money.Must("60"), money.Must("160"), money.Must("360.50")
	}
	for _, test := range []struct{ document, amount, rule, failed, detail string }{
		{`{}`, "400", "per_request_limit", "", "No per-request limit is set"},
		{
			`{"per_request_limit": 100}`, "100", "per_request_limit", "",
			"100.00 is within the per-request limit of 100.00",
		},
		{
			`{"per_request_limit": 100}`, "100.000001", "per_request_limit", "per_request_limit",
			"100.000001 exceeds the per-request limit of 100.00",
		},
		{
			`{"per_request_limit": 100.0000019}`, "100.000001", "per_request_limit", "",
			"100.000001 is within the per-request limit of 100.000001",
		},
		{
			`{"per_request_limit": 0}`, "0.01", "per_request_limit", "per_request_limit",
			"0.01 exceeds the per-request limit of 0.00",
		},
		{`{}`, "10", "daily_limit", "", "No daily limit is set"},
		{`{"daily_limit": 100}`, "40", "daily_limit", "", "100.00 today is within the daily limit of 100.00"},
		{
			`{"daily_limit": 100}`, "40.01", "daily_limit", "daily_limit",
			"100.01 today exceeds the daily limit of 100.00",
		},
		{`{"daily_limit": 0}`, "0.01", "daily_limit", "daily_limit", "60.01 today exceeds the daily limit of 0.00"},
		{`{}`, "10", "weekly_limit", "", "No weekly limit is set"},
		{`{"weekly_limit": 200}`, "40", "weekly_limit", "", "200.00 this week is within the weekly limit of 200.00"},
		{
			`{"weekly_limit": 200}`, "40.01", "weekly_limit", "weekly_limit",
			"200.01 this week exceeds the weekly limit of 200.00",
		},
		{`{}`, "10", "monthly_limit", "", "No monthly limit is set"},
		{
			`{"monthly_limit": "400.50"}`, "40", "monthly_limit", "",
			"400.50 this month is within the monthly limit of 400.50",
		},
		{
			`{"monthly_limit": "400.50"}`, "40.01", "monthly_limit", "monthly_limit",
			"400.51 this month exceeds the monthly limit of 400.50",
		},
		{
			`{"monthly_limit": 1e300}`, "40", "monthly_limit", "",
			"400.50 this month is within the monthly limit of 999999999999.999999",
		},
		{`{}`, "500", "budget", "", "500.00 is within the 500.00 that remain of the budget"},
		{`{}`, "500.01", "budget", "budget", "500.01 exceeds the 500.00 that remain of the budget"},
	} {
		d := policy.Evaluate(parse(t, test.document), facts(counted, costing(test.amount)))
		assert.Equal(t, test.failed, failed(d), test)
		assert.Equal(t, test.detail, detail(t, d, test.rule))
	}

	// A refund on another day may leave a counter below zero, and correcting the budget may leave less than nothing.
	d := policy.Evaluate(parse(t, `{"daily_limit": 100}`), facts(costing("160"), func(f *policy.Facts) {
		f.Today = money.Must("60").Neg()
	}))
	assert.True(t, d.Passed)
	d = policy.Evaluate(nil, facts(costing("0.01"), func(f *policy.Facts) {
		f.Spent, f.Held = money.Must("490"), money.Must("20")
	}))
	assert.Equal(t, "0.01 exceeds the -10.00 that remain of the budget", detail(t, d, policy.RuleBudget))
}

func TestEvaluateWindows(t *testing.T) {
	for window, times := range map[string]map[string]bool{
		"09:00-18:00": {"08:59:59": false, "09:00:00": true, "18:00:59": true, "18:01:00": false},
		"22:00-06:00": {
			"21:59:59": false,
			"22:00:00": true,
			"23:59:59": true,
			"00:00:00": true,
			"06:00:59": true,
			"06:01:00": false,
			"12:00:00": false,
		},
		"09:00-09:00":    {"08:59:59": false, "09:00:30": true, "09:01:00": false},
		"00:00-23:59":    {"00:00:00": true, "23:59:59": true},
		"9:0-18:0":       {"08:59:59": false, "09:00:00": true, "18:00:00": true},
		" 9:00 - 18:00 ": {"09:00:00": true, "19:00:00": false},
		"09:00-24:00":    {"08:00:00": false, "23:59:59": true},
		"08:60-09:30":    {"08:59:00": false, "09:00:00": true},
		"25:00-26:00":    {"00:00:00": false, "12:00:00": false, "23:59:00": false},
		"25:00-02:00":    {"01:00:00": true, "03:00:00": false}, // overnight, from a time that never comes
	} {
		for clock, want := range times {
			p := &policy.Policy{Schedule: &policy.Schedule{Default: &policy.Window{Allow: window}}}
			d := policy.Evaluate(p, facts(at("2026-03-11T"+clock+"Z")))
			assert.Equal(t, want, d.Passed, "%s at %s", window, clock)
			relation := map[bool]string{
				true:  " is within the allowed hours ",
				false: " is outside the allowed hours ",
			}[want]
			assert.Equal(t, clock[:5]+relation+window, detail(t, d, policy.RuleSchedule))
		}
	}
}

func TestEvaluateTextThatIsNoWindowAllowsNothing(t *testing.T) {
	for _, window := range []string{
		"-", "09:00", "09:00-", "-18:00", "09:00-18:00-20:00", "09:00–18:00", "-1:00-18:00", "0900-1800", "09-18",
		"a:b-c:d", "09:00:00-18:00:00", " ",
		"09:0x-18:00", "99999:00-18:00", strings.Repeat("9", 200),
	} {
		p := &policy.Policy{Schedule: &policy.Schedule{Default: &policy.Window{Allow: window}}}
		d := policy.Evaluate(p, facts())
		assert.Equal(t, "schedule", failed(d), window)
		assert.Contains(t, detail(t, d, policy.RuleSchedule), "The schedule allows nothing, since ")

		p.Schedule = &policy.Schedule{Overrides: []policy.Override{{Days: []string{"wed"}, Allow: window}}}
		assert.Equal(t, "schedule", failed(policy.Evaluate(p, facts())), window)
	}
	d := policy.Evaluate(parse(t, `{"schedule": {"default": {"allow": ""}}}`), facts())
	assert.Equal(t, "schedule", failed(d), "an empty text in a document is no window")
	assert.Equal(t, `The schedule allows nothing, since "-" is not a window of hours`,
		detail(t, d, policy.RuleSchedule))
}

func TestEvaluateSchedule(t *testing.T) {
	for _, test := range []struct{ name, schedule, failed, detail string }{
		{"nothing", `{}`, "", "The schedule sets no hours on Wednesday"},
		{"an empty default", `{"default": {}}`, "", "The schedule sets no hours on Wednesday"},
		{
			"today denied",
			`{"default": {"allow": "00:00-23:59"}, "overrides": [{"days": ["mon", "WED"], "deny": true}]}`, "schedule",
			"The schedule denies purchases on Wednesday",
		},
		{
			"denied in spite of hours", `{"overrides": [{"days": ["wed"], "deny": true, "allow": "00:00-23:59"}]}`,
			"schedule", "The schedule denies purchases on Wednesday",
		},
		{
			"another day denied",
			`{"default": {"allow": "09:00-18:00"}, "overrides": [
				{"days": ["tue", "wednesday", "we", ""], "deny": true}
			]}`,
			"", "12:00 is within the allowed hours 09:00-18:00",
		},
		{
			"hours in place of the default",
			`{"default": {"allow": "09:00-18:00"}, "overrides": [{"days": ["Wed"], "allow": "19:00-21:00"}]}`,
			"schedule", "12:00 is outside the allowed hours 19:00-21:00",
		},
		{
			"not denied", `{"default": {"allow": "13:00-18:00"}, "overrides": [{"days": ["wed"], "deny": false}]}`,
			"schedule", "12:00 is outside the allowed hours 13:00-18:00",
		},
		{
			"without a decision, the next decides",
			`{"overrides": [{"days": ["wed"], "daily_limit": 50}, {"days": ["wed"], "allow": "13:00-14:00"}]}`,
			"schedule", "12:00 is outside the allowed hours 13:00-14:00",
		},
		{
			"an empty window decides nothing",
			`{"default": {"allow": "09:00-18:00"}, "overrides": [{"days": ["wed"], "allow": ""}]}`, "",
			"12:00 is within the allowed hours 09:00-18:00",
		},
		{
			"the first of two decides",
			`{"overrides": [{"days": ["wed"], "allow": "11:00-13:00"}, {"days": ["wed"], "deny": true}]}`, "",
			"12:00 is within the allowed hours 11:00-13:00",
		},
		{
			"denied before hours",
			`{"overrides": [{"days": ["wed"], "deny": true}, {"days": ["wed"], "allow": "11:00-13:00"}]}`, "schedule",
			"The schedule denies purchases on Wednesday",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := policy.Evaluate(parse(t, `{"schedule": `+test.schedule+`}`), facts())
			assert.Equal(t, test.failed, failed(d))
			assert.Equal(t, test.detail, detail(t, d, policy.RuleSchedule))
		})
	}
	assert.Equal(t, "No schedule is set", detail(t, policy.Evaluate(nil, facts()), policy.RuleSchedule))
}

func TestEvaluateEveryDayHasItsName(t *testing.T) {
	for i, day := range []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} {
		p := &policy.Policy{Schedule: &policy.Schedule{Overrides: []policy.Override{{Days: []string{day}, Deny: true}}}}
		for j := range 7 {
			monday := time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)
			d := policy.Evaluate(p, facts(func(f *policy.Facts) { f.Now = monday.AddDate(0, 0, j) }))
			assert.Equal(t, i != j, d.Passed, "%s on day %d", day, j)
		}
	}
}

func TestEvaluateScheduleTimezones(t *testing.T) {
	const hours = `"default": {"allow": "09:00-18:00"}`
	for _, test := range []struct {
		name, schedule string
		account        string
		now            string
		passed         bool
	}{
		{"its own, closed", `{"timezone": "America/New_York", ` + hours + `}`, "UTC", "2026-03-11T12:59:59Z", false},
		{"its own, open", `{"timezone": "America/New_York", ` + hours + `}`, "UTC", "2026-03-11T13:00:00Z", true},
		{
			"its own, before summer time", `{"timezone": "America/New_York", ` + hours + `}`, "UTC",
			"2026-03-06T13:59:59Z", false,
		},
		{"half an hour off", `{"timezone": "Asia/Kolkata", ` + hours + `}`, "UTC", "2026-03-11T03:30:00Z", true},
		{"the account's", `{` + hours + `}`, "America/New_York", "2026-03-11T12:00:00Z", false},
		{
			"the account's, in place of an empty one", `{"timezone": "", ` + hours + `}`, "Asia/Tokyo",
			"2026-03-11T00:00:00Z", true,
		},
		{
			"unknown, so UTC and not the account's", `{"timezone": "Mars/Olympus", ` + hours + `}`, "Asia/Tokyo",
			"2026-03-11T12:00:00Z", true,
		},
		{
			"Go's Local is unknown too", `{"timezone": "Local", ` + hours + `}`, "Asia/Tokyo", "2026-03-11T12:00:00Z",
			true,
		},
		{
			"the day of its own", `{"timezone": "America/New_York", "overrides": [{"days": ["wed"], "deny": true}]}`,
			"UTC", "2026-03-12T03:59:59Z", false,
		},
		{
			"the next day of its own",
			`{"timezone": "America/New_York", "overrides": [{"days": ["wed"], "deny": true}]}`, "UTC",
			"2026-03-12T04:00:00Z", true,
		},
		{
			"the instant counts, not its location", `{"timezone": "UTC", ` + hours + `}`, "UTC",
			"2026-03-11T19:00:00+09:00", true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := policy.Evaluate(parse(t, `{"schedule": `+test.schedule+`}`), facts(in(test.account), at(test.now)))
			assert.Equal(t, test.passed, d.Passed, detail(t, d, policy.RuleSchedule))
		})
	}
}

func TestEvaluateLoadsLocationsAsTold(t *testing.T) {
	p := parse(t, `{"schedule": {"timezone": "Ship/Time", "default": {"allow": "20:00-21:00"}}}`)
	asked := ""
	eightHoursOn := func(name string) (*time.Location, error) {
		asked = name
		return time.FixedZone(name, 8*60*60), nil
	}
	assert.True(t, policy.Evaluate(p, facts(func(f *policy.Facts) { f.LoadLocation = eightHoursOn })).Passed)
	assert.Equal(t, "Ship/Time", asked)
	for name, load := range map[string]func(string) (*time.Location, error){
		"an error": func(string) (*time.Location, error) {
			return time.FixedZone("", 8*60*60), errors.New("no such time zone")
		},
		"nothing": func(string) (*time.Location, error) { return nil, nil },
	} {
		loading := func(f *policy.Facts) { f.LoadLocation = load }
		assert.False(t, policy.Evaluate(p, facts(loading)).Passed, "%s is UTC", name)
		assert.True(t, policy.Evaluate(p, facts(at("2026-03-11T20:00:00Z"), loading)).Passed, "%s is UTC", name)
	}
}

// Go has a zone "Local" besides those that the service knows: which it is depends on the machine.
func TestEvaluateTakesNoZoneOfTheMachine(t *testing.T) {
	p := parse(t, `{"schedule": {"timezone": "Local", "default": {"allow": "12:00-12:00"}}}`)
	assert.True(t, policy.Evaluate(p, facts(func(f *policy.Facts) {
		f.LoadLocation = func(string) (*time.Location, error) { return time.FixedZone("", 8*60*60), nil }
	})).Passed)
}

func TestEvaluateOverridesTheDailyLimit(t *testing.T) {
	for _, test := range []struct {
		name, document, amount string
		passed                 bool
	}{
		{"up", `{"daily_limit": 10, "schedule": {"overrides": [{"days": ["wed"], "daily_limit": 200}]}}`, "200", true},
		{
			"up, but no further",
			`{"daily_limit": 10, "schedule": {"overrides": [{"days": ["wed"], "daily_limit": 200}]}}`, "200.01", false,
		},
		{
			"down", `{"daily_limit": 10, "schedule": {"overrides": [{"days": ["wed"], "daily_limit": 5}]}}`, "5.01",
			false,
		},
		{
			"to nothing", `{"daily_limit": 10, "schedule": {"overrides": [{"days": ["wed"], "daily_limit": 0}]}}`,
			"0.01", false,
		},
		{"where there was none", `{"schedule": {"overrides": [{"days": ["wed"], "daily_limit": 5}]}}`, "5.01", false},
		{
			"on another day", `{"daily_limit": 10, "schedule": {"overrides": [{"days": ["thu"], "daily_limit": 5}]}}`,
			"10", true,
		},
		{
			"not at all", `{"daily_limit": 10, "schedule": {"overrides": [{"days": ["wed"], "allow": "00:00-23:59"}]}}`,
			"10.01", false,
		},
		{
			"from the first that has one", `{"schedule": {"overrides": [
				{"days": ["wed"]}, {"days": ["wed"], "daily_limit": 5}, {"days": ["wed"], "daily_limit": 50}
			]}}`,
			"5.01", false,
		},
		{
			"from one after that which decides the hours",
			`{"schedule": {"overrides": [
				{"days": ["wed"], "allow": "00:00-23:59"}, {"days": ["wed"], "daily_limit": 5}
			]}}`,
			"5.01", false,
		},
		{
			"on the schedule's day, not the account's", `{"daily_limit": 10, "schedule": {
				"timezone": "Pacific/Auckland", "overrides": [{"days": ["thu"], "daily_limit": 5}]
			}}`,
			"5.01", false,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := policy.Evaluate(parse(t, test.document), facts(costing(test.amount)))
			want := map[bool]string{true: "", false: "daily_limit"}[test.passed]
			assert.Equal(t, want, failed(d))
		})
	}
}

func TestEvaluateBudgetRules(t *testing.T) {
	type rule = policy.BudgetRule
	type rules []rule
	limited := func(name string, kind policy.RuleType, limit string, changes ...func(*rule)) rule {
		r := rule{Name: name, Type: kind, Limit: money.Must(limit)}
		for _, change := range changes {
			change(&r)
		}
		return r
	}
	counted := func(amount string) func(*rule) { return func(r *rule) { r.Counted = money.Must(amount) } }
	priority := func(n int) func(*rule) { return func(r *rule) { r.Priority = n } }
	inactive := func(r *rule) { r.Inactive = true }
	from := func(start time.Time) func(*rule) { return func(r *rule) { r.Start = start } }
	until := func(end time.Time) func(*rule) { return func(r *rule) { r.End = end } }
	on := func(days ...int) func(*rule) { return func(r *rule) { r.DaysOfWeek = append([]int{}, days...) } }
	const nanosecond = time.Nanosecond
	for _, test := range []struct {
		name  string
		rules rules
		want  string // checks of budget rules, of a purchase of 10.00
	}{
		{"at the limit", rules{limited("D", policy.Daily, "30", counted("20"))}, "pass D"},
		{"above the limit", rules{limited("D", policy.Daily, "29.99", counted("20"))}, "fail D"},
		{"in the order in which the types occur", rules{
			limited("T", policy.Total, "5"), limited("M", policy.Monthly, "10"), limited("D", policy.Daily, "10"),
			limited("W", policy.Weekly, "9"),
		}, "fail T, pass M, pass D, fail W"},
		{"a higher priority wins, even if looser", rules{
			limited("strict", policy.Daily, "5", priority(1)), limited("loose", policy.Daily, "10", priority(2)),
		}, "pass loose"},
		{"a lower priority loses, even if stricter", rules{
			limited("loose", policy.Daily, "10"), limited("strict", policy.Daily, "5", priority(-1)),
		}, "pass loose"},
		{"among equals the smallest limit", rules{
			limited("A", policy.Daily, "50"), limited("B", policy.Daily, "10"), limited("C", policy.Daily, "20"),
		}, "pass B"},
		{"then the first", rules{limited("A", policy.Daily, "10"), limited("B", policy.Daily, "10")}, "pass A"},
		{"the place is that of the type, not of the rule that wins", rules{
			limited("A", policy.Daily, "50"), limited("W", policy.Weekly, "50"), limited("B", policy.Daily, "10"),
		}, "pass B, pass W"},
		{"what does not apply does not outrank", rules{
			limited("off", policy.Daily, "5", priority(9), inactive), limited("on", policy.Daily, "10"),
		}, "pass on"},
		{"inactive", rules{limited("D", policy.Daily, "5", inactive)}, ""},
		{"from its start on", rules{limited("D", policy.Daily, "5", from(noon))}, "fail D"},
		{"before its start", rules{limited("D", policy.Daily, "5", from(noon.Add(nanosecond)))}, ""},
		{"to its end", rules{limited("D", policy.Daily, "5", until(noon))}, "fail D"},
		{"after its end", rules{limited("D", policy.Daily, "5", until(noon.Add(-nanosecond)))}, ""},
		{"on its day", rules{limited("D", policy.Daily, "5", on(0, 2))}, "fail D"},
		{"on other days", rules{limited("D", policy.Daily, "5", on(0, 1, 3, 4, 5, 6))}, ""},
		{"on no day", rules{limited("D", policy.Daily, "5", on())}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := policy.Evaluate(parse(t, `{"auto_approve": {"enabled": true}}`),
				facts(func(f *policy.Facts) { f.Rules = test.rules }))
			var checks []string
			for _, check := range d.Checks[8:] {
				name, ok := strings.CutPrefix(check.Rule, policy.RuleAccountBudget)
				require.True(t, ok)
				checks = append(checks, string(check.Result)+" "+name)
			}
			assert.Equal(t, test.want, strings.Join(checks, ", "))
			assert.Equal(t, !strings.Contains(test.want, "fail"), d.Passed)
			assert.Equal(t, d.Passed, d.AutoApprove)
		})
	}
	d := policy.Evaluate(nil, facts(func(f *policy.Facts) {
		f.Rules = []policy.BudgetRule{
			{Name: "Ünï: x", Type: policy.Total, Limit: money.Must("100"), Counted: money.Must("60")},
		}
	}))
	assert.Equal(t, "70.00 over the whole account is within the total limit of 100.00",
		detail(t, d, "account_budget:Ünï: x"))
}

func TestEvaluateBudgetRuleDaysAreTheAccounts(t *testing.T) {
	thursday := func(f *policy.Facts) {
		f.Rules = []policy.BudgetRule{{Name: "D", Type: policy.Daily, Limit: money.Must("5"), DaysOfWeek: []int{3}}}
	}
	assert.True(t, policy.Evaluate(nil, facts(thursday, in("Asia/Tokyo"), at("2026-03-11T14:59:59Z"))).Passed)
	assert.False(t, policy.Evaluate(nil, facts(thursday, in("Asia/Tokyo"), at("2026-03-11T15:00:00Z"))).Passed)
	assert.True(t, policy.Evaluate(nil, facts(thursday, at("2026-03-11T23:59:59Z"))).Passed,
		"without a time zone, UTC's")
}

func TestEvaluateAutoApprove(t *testing.T) {
	for _, test := range []struct {
		autoApprove, amount, category string
		want                          string
	}{
		{`null`, "1", "groceries", "pending"},
		{`{}`, "1", "groceries", "pending"},
		{`{"enabled": false, "max_amount": 100}`, "1", "groceries", "pending"},
		{`{"enabled": true}`, "500", "groceries", "auto_approved"},
		{`{"enabled": true}`, "500.01", "groceries", "rejected"},
		{`{"enabled": true, "max_amount": 20}`, "20", "groceries", "auto_approved"},
		{`{"enabled": true, "max_amount": 20}`, "20.001", "groceries", "pending"},
		{`{"enabled": true, "max_amount": 0}`, "0.01", "groceries", "pending"},
		{`{"enabled": true, "categories": ["taxi"]}`, "1", "taxi", "auto_approved"},
		{`{"enabled": true, "categories": ["taxi", "Groceries"]}`, "1", "groceries", "pending"},
		{`{"enabled": true, "categories": []}`, "1", "taxi", "auto_approved"},
		{`{"enabled": true, "max_amount": 5, "categories": ["taxi"]}`, "6", "taxi", "pending"},
	} {
		d := policy.Evaluate(parse(t, `{"auto_approve": `+test.autoApprove+`}`),
			facts(costing(test.amount), of(test.category)))
		assert.Equal(t, test.want, status(d), test)
	}
}

func TestEvaluateManyChecks(t *testing.T) {
	var rules []policy.BudgetRule
	for _, kind := range []policy.RuleType{"a", "b", "c", "d", "e", "f"} { // more than the service has
		rules = append(rules, policy.BudgetRule{
			Name:  strings.Repeat("long ", 100) + string(kind),
			Type:  kind,
			Limit: money.Must("5"),
		})
	}
	d := policy.Evaluate(parse(t, everyRule), facts(func(f *policy.Facts) { f.Rules = rules }))
	require.Len(t, d.Checks, 15)
	assert.Len(t, d.Failed(), 6)
	assert.Equal(t, "10.00 over the whole account exceeds the f limit of 5.00", d.Checks[14].Detail)
}

// drawFacts draws facts near the limits of everyRule.
func drawFacts(t *rapid.T) policy.Facts {
	some := func(name string, most int64) money.Amount {
		return money.FromHundredths(rapid.Int64Range(0, most).Draw(t, name))
	}
	f := policy.Facts{
		AgentStatus:        rapid.SampledFrom([]string{"active", "active", "active", "paused"}).Draw(t, "status"),
		Amount:             some("amount", 25000).Add(money.Must("0.01")),
		Category:           rapid.SampledFrom([]string{"groceries", "taxi", "gambling"}).Draw(t, "category"),
		Now:                noon.Add(time.Duration(rapid.IntRange(0, 14*24*60).Draw(t, "minutes")) * time.Minute),
		Budget:             some("budget", 1000000),
		Spent:              some("spent", 500000),
		Held:               some("held", 50000),
		Today:              some("today", 50000),
		ThisWeek:           some("this week", 200000),
		ThisMonth:          some("this month", 500000),
		RequestsThisMinute: rapid.IntRange(0, 6).Draw(t, "this minute"),
		RequestsThisHour:   rapid.IntRange(0, 60).Draw(t, "this hour"),
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "rules") {
		f.Rules = append(f.Rules, policy.BudgetRule{
			Name: strconv.Itoa(i),
			Type: rapid.SampledFrom([]policy.RuleType{
				policy.Daily, policy.Weekly, policy.Monthly, policy.Total,
			}).Draw(t, "type"),
			Limit:      some("limit", 100000),
			Priority:   rapid.IntRange(0, 2).Draw(t, "priority"),
			Inactive:   rapid.Bool().Draw(t, "inactive"),
			DaysOfWeek: rapid.SampledFrom([][]int{nil, {}, {0, 1, 2}, {5, 6}}).Draw(t, "days"),
			Counted:    some("counted", 100000),
		})
	}
	return f
}

func TestEvaluateIsPure(t *testing.T) {
	p := parse(t, everyRule)
	before, err := json.Marshal(p)
	require.NoError(t, err)
	rapid.Check(t, func(rt *rapid.T) {
		f := drawFacts(rt)
		rules := slices.Clone(f.Rules)
		first := policy.Evaluate(p, f)
		require.Equal(rt, first, policy.Evaluate(p, f))
		require.Equal(rt, rules, f.Rules)
		require.Equal(rt, len(first.Failed()) == 0, first.Passed)
		require.True(rt, first.Passed || !first.AutoApprove)
		for _, check := range first.Checks {
			require.NotEmpty(rt, check.Rule)
			require.NotEmpty(rt, check.Detail)
			require.Contains(rt, []policy.Result{policy.Pass, policy.Fail}, check.Result)
		}
	})
	after, err := json.Marshal(p)
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
}

// Whatever a limit is raised to, or a counter lowered to, no check that passed fails.
func TestEvaluateIsMonotonic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p, loose := parse(t, everyRule), parse(t, everyRule)
		f := drawFacts(rt)
		f.AgentStatus = "active"
		more := money.FromHundredths(rapid.Int64Range(1, 100000).Draw(rt, "more"))
		for _, limit := range []*money.Amount{
			loose.PerRequestLimit, loose.DailyLimit, loose.WeeklyLimit, loose.MonthlyLimit,
			loose.Schedule.Overrides[0].DailyLimit, loose.AutoApprove.MaxAmount,
		} {
			if rapid.Bool().Draw(rt, "raise") {
				*limit = limit.Add(more)
			}
		}
		*loose.RequestsPerMinute += rapid.IntRange(0, 3).Draw(rt, "more a minute")
		relaxed := f
		relaxed.Budget = f.Budget.Add(more)
		relaxed.Rules = slices.Clone(f.Rules)
		for i := range relaxed.Rules {
			relaxed.Rules[i].Limit = relaxed.Rules[i].Limit.Add(more) // all, lest another rule comes to count
		}
		strict, loosened := policy.Evaluate(p, f), policy.Evaluate(loose, relaxed)
		results := map[string]policy.Result{}
		for _, check := range loosened.Checks {
			results[check.Rule] = check.Result
		}
		for _, check := range strict.Checks {
			if check.Result == policy.Pass {
				require.Equal(rt, policy.Pass, results[check.Rule], "%s: %s", check.Rule, check.Detail)
			}
		}
		require.True(rt, loosened.Passed || !strict.Passed)
		require.True(rt, loosened.AutoApprove || !strict.AutoApprove)
	})
}

func TestEvaluateConcurrently(t *testing.T) {
	p := parse(t, everyRule)
	want := policy.Evaluate(p, facts())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				policy.Evaluate(nil, facts(costing("600")))
				if d := policy.Evaluate(p, facts()); !assert.ObjectsAreEqual(want, d) {
					t.Errorf("%+v", d)
					return
				}
			}
		})
	}
	group.Wait()
	assert.Equal(t, want, policy.Evaluate(p, facts()), "a decision is not touched by later ones")
}

func TestDecisionJSON(t *testing.T) {
	encoded, err := json.Marshal(policy.Evaluate(nil, facts()).Checks[0])
	require.NoError(t, err)
	assert.JSONEq(t, `{"rule": "status", "result": "pass", "detail": "The agent is active"}`, string(encoded))
}
