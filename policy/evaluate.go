package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/money"
)

// Result is how a check ended.
type Result string

// The results of a check.
const (
	Pass Result = "pass"
	Fail Result = "fail"
)

// The rules, in the order of evaluation. A budget rule's is RuleAccountBudget and its name.
const (
	RuleStatus          = "status"
	RuleVelocityLimit   = "velocity_limit"
	RuleCategory        = "category"
	RulePerRequestLimit = "per_request_limit"
	RuleSchedule        = "schedule"
	RuleDailyLimit      = "daily_limit"
	RuleWeeklyLimit     = "weekly_limit"
	RuleMonthlyLimit    = "monthly_limit"
	RuleBudget          = "budget"
	RuleAccountBudget   = "account_budget:"
)

// Check is what one rule said about a purchase.
type Check struct {
	Rule   string `json:"rule"`
	Result Result `json:"result"`
	Detail string `json:"detail"` // a sentence for humans
}

// Decision is the outcome of an evaluation.
type Decision struct {
	Checks          []Check // in the order of evaluation
	Passed          bool    // no check failed
	AutoApprove     bool    // Passed, and no human is needed
	VelocityLimited bool    // the velocity limit ended the evaluation
}

// Failed returns the checks that failed.
func (d Decision) Failed() []Check {
	var failed []Check
	for _, check := range d.Checks {
		if check.Result == Fail {
			failed = append(failed, check)
		}
	}
	return failed
}

// RuleType is what a budget rule counts.
type RuleType string

// The types of budget rules.
const (
	Daily   RuleType = "daily"
	Weekly  RuleType = "weekly"
	Monthly RuleType = "monthly"
	Total   RuleType = "total"
)

// BudgetRule is an owner's limit on an account, over all its agents. Of each type only one counts: of those that apply
// now the one with the highest priority, and among equals the smallest limit, then the first.
type BudgetRule struct {
	Name       string
	Type       RuleType
	Limit      money.Amount // inclusive
	Priority   int
	Inactive   bool
	DaysOfWeek []int     // the days it applies on, 0 for Monday, in the account's time zone; nil is every day, empty none
	Start, End time.Time // when it applies, both included; zero is open
	// Counted is what the rule's period has spent and held already, over the whole account.
	Counted money.Amount
}

func (r *BudgetRule) applies(now time.Time, weekday int) bool {
	return !r.Inactive && (r.Start.IsZero() || !now.Before(r.Start)) && (r.End.IsZero() || !now.After(r.End)) &&
		(r.DaysOfWeek == nil || slices.Contains(r.DaysOfWeek, weekday))
}

func (r *BudgetRule) outranks(other *BudgetRule) bool {
	if r.Priority != other.Priority {
		return r.Priority > other.Priority
	}
	return r.Limit.Less(other.Limit)
}

// Facts is all that a decision depends on besides the policy.
type Facts struct {
	AgentStatus string // "active" passes
	Amount      money.Amount
	Category    string // resolved to one of the account's

	Now          time.Time
	Location     *time.Location                       // the account's time zone; nil is UTC
	LoadLocation func(string) (*time.Location, error) // of the schedule's time zone; nil is time.LoadLocation

	Budget, Spent, Held        money.Amount // of the agent
	Today, ThisWeek, ThisMonth money.Amount // spent and held by the agent in these periods, in the account's time zone

	RequestsThisMinute, RequestsThisHour int // of the agent, approved or pending

	Rules []BudgetRule // of the account, in the order of their creation
}

// Evaluate decides about a purchase. A nil policy sets no rules. It is a pure function and safe for concurrent use.
//
// All checks are made and reported, except that a velocity limit that is reached ends the evaluation at once, and that
// budget rules are looked at only when everything else passed.
func Evaluate(p *Policy, f Facts) Decision {
	if p == nil {
		p = &Policy{}
	}
	e := evaluation{Decision: Decision{Checks: make([]Check, 0, 10+len(f.Rules)), Passed: true}}
	if f.AgentStatus == "active" {
		e.pass(RuleStatus, "The agent is active")
	} else {
		e.fail(RuleStatus, "The agent is "+f.AgentStatus)
	}
	if !e.velocity(p, &f) {
		return e.Decision
	}
	e.category(p, f.Category)
	e.limit(RulePerRequestLimit, "this request", p.PerRequestLimit, money.Amount{}, f.Amount)
	dailyLimit := e.schedule(p, &f)
	e.limit(RuleDailyLimit, "today", dailyLimit, f.Today, f.Amount)
	e.limit(RuleWeeklyLimit, "this week", p.WeeklyLimit, f.ThisWeek, f.Amount)
	e.limit(RuleMonthlyLimit, "this month", p.MonthlyLimit, f.ThisMonth, f.Amount)
	if remaining := f.Budget.Sub(f.Spent).Sub(f.Held); remaining.Less(f.Amount) {
		e.fail(RuleBudget, f.Amount.String()+" is more than the "+remaining.String()+" that remain of the budget")
	} else {
		e.pass(RuleBudget, remaining.String()+" remain of the budget")
	}
	if e.Passed {
		e.budgetRules(&f)
	}
	e.AutoApprove = e.Passed && p.AutoApprove.covers(f.Amount, f.Category)
	return e.Decision
}

func (a *AutoApprove) covers(amount money.Amount, category string) bool {
	return a != nil && a.Enabled && (a.MaxAmount == nil || !a.MaxAmount.Less(amount)) &&
		(len(a.Categories) == 0 || slices.Contains(a.Categories, category))
}

type evaluation struct{ Decision }

func (e *evaluation) pass(rule, detail string) {
	e.Checks = append(e.Checks, Check{rule, Pass, detail})
}

func (e *evaluation) fail(rule, detail string) {
	e.Checks = append(e.Checks, Check{rule, Fail, detail})
	e.Passed = false
}

// velocity reports whether the evaluation goes on.
func (e *evaluation) velocity(p *Policy, f *Facts) bool {
	if p.RequestsPerMinute == nil && p.RequestsPerHour == nil {
		return true
	}
	for _, window := range []struct {
		limit *int
		count int
		name  string
	}{{p.RequestsPerMinute, f.RequestsThisMinute, "minute"}, {p.RequestsPerHour, f.RequestsThisHour, "hour"}} {
		if window.limit != nil && window.count >= *window.limit {
			e.fail(RuleVelocityLimit, strconv.Itoa(window.count)+" requests this "+window.name+" reach the limit of "+strconv.Itoa(*window.limit))
			e.VelocityLimited = true
			return false
		}
	}
	e.pass(RuleVelocityLimit, "The velocity limits are not reached")
	return true
}

func (e *evaluation) category(p *Policy, category string) {
	switch {
	case len(p.AllowedCategories) > 0 && !slices.Contains(p.AllowedCategories, category):
		e.fail(RuleCategory, "Category "+category+" is not among the allowed ones")
	case len(p.AllowedCategories) == 0 && slices.Contains(p.BlockedCategories, category):
		e.fail(RuleCategory, "Category "+category+" is blocked")
	default:
		e.pass(RuleCategory, "Category "+category+" is allowed")
	}
}

// limit checks an amount on top of what a period has counted already.
func (e *evaluation) limit(rule, period string, limit *money.Amount, counted, amount money.Amount) {
	if limit == nil {
		e.pass(rule, "No limit is set")
		return
	}
	e.bound(rule, period, *limit, counted, amount)
}

func (e *evaluation) bound(rule, period string, limit, counted, amount money.Amount) {
	total := counted.Add(amount)
	if limit.Less(total) {
		e.fail(rule, total.String()+" for "+period+" would exceed the limit of "+limit.String())
		return
	}
	e.pass(rule, total.String()+" for "+period+" is within the limit of "+limit.String())
}

// schedule checks the time of day and returns the daily limit that holds today.
func (e *evaluation) schedule(p *Policy, f *Facts) (dailyLimit *money.Amount) {
	if p.Schedule == nil {
		e.pass(RuleSchedule, "No schedule is set")
		return p.DailyLimit
	}
	now := f.Now.In(p.Schedule.location(f))
	today := strings.ToLower(now.Weekday().String()[:3])
	minute := now.Hour()*60 + now.Minute()

	window, set, denied, decided := "", false, false, false
	for i := range p.Schedule.Overrides {
		o := &p.Schedule.Overrides[i]
		if !slices.ContainsFunc(o.Days, func(day string) bool { return strings.EqualFold(day, today) }) {
			continue
		}
		if dailyLimit == nil {
			dailyLimit = o.DailyLimit
		}
		if !decided && (o.Deny || o.Allow != "" || o.set) {
			window, set, denied, decided = o.Allow, true, o.Deny, true
		}
	}
	if !decided && p.Schedule.Default != nil {
		window, set = p.Schedule.Default.Allow, p.Schedule.Default.set || p.Schedule.Default.Allow != ""
	}
	switch {
	case denied:
		e.fail(RuleSchedule, "Purchases are not allowed on "+now.Weekday().String())
	case !set:
		e.pass(RuleSchedule, "The schedule does not restrict today")
	case !within(window, minute):
		e.fail(RuleSchedule, now.Format("15:04")+" is outside the allowed "+strconv.Quote(window))
	default:
		e.pass(RuleSchedule, now.Format("15:04")+" is within the allowed "+window)
	}
	if dailyLimit == nil {
		dailyLimit = p.DailyLimit
	}
	return dailyLimit
}

func (s *Schedule) location(f *Facts) *time.Location {
	if s.Timezone == "" {
		if f.Location == nil {
			return time.UTC
		}
		return f.Location
	}
	load := f.LoadLocation
	if load == nil {
		load = time.LoadLocation
	}
	location, err := load(s.Timezone)
	if err != nil || location == nil {
		return time.UTC
	}
	return location
}

// within reports whether a minute of the day is inside a window, both ends included. A text that is no window contains
// nothing.
func within(window string, minute int) bool {
	from, to, ok := strings.Cut(window, "-")
	start, startOK := minuteOfDay(from)
	end, endOK := minuteOfDay(to)
	switch {
	case !ok || !startOK || !endOK:
		return false
	case start <= end:
		return start <= minute && minute <= end
	default:
		return minute >= start || minute <= end
	}
}

// minuteOfDay reads "HH:MM", with or without leading zeros. The hours are not bounded: the service takes 24:00 for
// midnight at the end of the day, and anything later for a time that never comes.
func minuteOfDay(text string) (int, bool) {
	hourText, minuteText, ok := strings.Cut(text, ":")
	hour, hourErr := strconv.ParseUint(strings.TrimSpace(hourText), 10, 16)
	minute, minuteErr := strconv.ParseUint(strings.TrimSpace(minuteText), 10, 16)
	return int(hour)*60 + int(minute), ok && hourErr == nil && minuteErr == nil
}

// budgetRules checks the rule that counts of each type, in the order in which the types first occur.
func (e *evaluation) budgetRules(f *Facts) {
	if len(f.Rules) == 0 {
		return
	}
	location := f.Location
	if location == nil {
		location = time.UTC
	}
	weekday := (int(f.Now.In(location).Weekday()) + 6) % 7
	var counting []*BudgetRule // one of each type
	for i := range f.Rules {
		rule := &f.Rules[i]
		if !rule.applies(f.Now, weekday) {
			continue
		}
		same := slices.IndexFunc(counting, func(other *BudgetRule) bool { return other.Type == rule.Type })
		switch {
		case same < 0:
			counting = append(counting, rule)
		case rule.outranks(counting[same]):
			counting[same] = rule
		}
	}
	for _, rule := range counting {
		e.bound(RuleAccountBudget+rule.Name, string(rule.Type)+" account budget", rule.Limit, rule.Counted, f.Amount)
	}
}
