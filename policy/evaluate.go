package policy

import (
	"slices"
	"strconv"
	"strings"
	"sync"
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

// The rules, in the order of evaluation. A check of a budget rule is named RuleAccountBudget followed by the rule's
// name.
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

// Check is the verdict of one rule on a purchase.
type Check struct {
	Rule   string `json:"rule"`
	Result Result `json:"result"`
	Detail string `json:"detail"` // a sentence for humans, never empty
}

// Decision is the outcome of an evaluation: the purchase is rejected unless it Passed, approved at once when
// AutoApprove is set too, and left to a human otherwise.
type Decision struct {
	Checks          []Check // in the order of evaluation
	Passed          bool    // no check failed
	AutoApprove     bool    // Passed, and no human is needed
	VelocityLimited bool    // a velocity limit ended the evaluation
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

// RuleType is what a budget rule bounds.
type RuleType string

// The types of budget rules.
const (
	Daily   RuleType = "daily"
	Weekly  RuleType = "weekly"
	Monthly RuleType = "monthly"
	Total   RuleType = "total"
)

// BudgetRule is an owner's limit on an account, over all its agents. Only one rule of each type counts. Of the rules
// that apply now it is the one with the highest priority, among equals the one with the smallest limit, and then the
// first.
type BudgetRule struct {
	Name       string
	Type       RuleType
	Limit      money.Amount // inclusive
	Priority   int          // higher counts more
	Inactive   bool         // does not apply at all
	DaysOfWeek []int        // when it applies, in the account's time zone: 0 is Monday; nil is every day, empty none
	Start, End time.Time    // when it applies, both instants included; zero is open
	// Counted is what all agents of the account have spent and hold in the rule's period: today, this week or this
	// month. For a Total rule it is all that the account has, or what the rule itself has counted if both its Start and
	// End are set.
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
	// AgentStatus must be "active".
	AgentStatus string
	// Amount of the purchase, as requested: before it is rounded to what the service stores.
	Amount money.Amount
	// Category of the account into which the purchase was sorted.
	Category string

	// Now is the instant of the purchase, in any location.
	Now time.Time
	// Location is the account's time zone; nil is UTC.
	Location *time.Location
	// LoadLocation finds the schedule's time zone; nil is time.LoadLocation, which reads the system's database every
	// time. If Evaluate is called concurrently, so is LoadLocation.
	LoadLocation func(string) (*time.Location, error)

	// Budget, Spent and Held are the agent's, over all time.
	Budget, Spent, Held money.Amount
	// Today, ThisWeek and ThisMonth are what the agent spent and holds in these periods of the account's calendar.
	Today, ThisWeek, ThisMonth money.Amount
	// RequestsThisMinute and RequestsThisHour count the agent's purchases that were approved at once or left to a
	// human.
	RequestsThisMinute, RequestsThisHour int

	// Rules are the account's budget rules in the order of their creation, which is that of their checks.
	Rules []BudgetRule
}

// Evaluate decides about a purchase. A nil policy has no rules. It changes nothing, and is safe for concurrent use.
//
// All checks are made and reported, with two exceptions. Velocity is checked only when a limit on it is set, and a
// purchase above that limit ends the evaluation. Budget rules are checked only if everything else passed.
func Evaluate(p *Policy, f Facts) Decision {
	if p == nil {
		p = new(Policy)
	}
	e := evaluations.Get().(*evaluation)
	defer evaluations.Put(e)
	e.checks, e.passed, e.texts, e.ends = make([]Check, 0, 9+min(len(f.Rules), 4)), true, e.texts[:0], e.ends[:0]

	e.status(f.AgentStatus)
	if !e.velocity(p, &f) {
		return Decision{Checks: e.finish(), VelocityLimited: true}
	}
	e.category(p, f.Category)
	e.perRequest(p, f.Amount)
	dailyLimit := e.schedule(p, &f)
	e.period(RuleDailyLimit, "daily", " today", dailyLimit, f.Today, f.Amount)
	e.period(RuleWeeklyLimit, "weekly", " this week", p.WeeklyLimit, f.ThisWeek, f.Amount)
	e.period(RuleMonthlyLimit, "monthly", " this month", p.MonthlyLimit, f.ThisMonth, f.Amount)
	e.budget(&f)
	if e.passed && len(f.Rules) > 0 {
		e.budgetRules(&f)
	}
	return Decision{
		Checks:      e.finish(),
		Passed:      e.passed,
		AutoApprove: e.passed && p.AutoApprove.covers(f.Amount, f.Category),
	}
}

func (a *AutoApprove) covers(amount money.Amount, category string) bool {
	return a != nil && a.Enabled && (a.MaxAmount == nil || !a.MaxAmount.Less(amount)) &&
		(len(a.Categories) == 0 || slices.Contains(a.Categories, category))
}

// evaluation collects the checks. The details are written one after another into texts, and become parts of one string
// at the end: every purchase waits for an evaluation, and a string for each detail would be most of its cost.
type evaluation struct {
	checks []Check
	passed bool
	texts  []byte
	ends   []int // of each check's detail in texts
}

// evaluations keeps the buffers of earlier evaluations, so that only the result is allocated.
var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

// say appends to the detail of the next check.
func (e *evaluation) say(text string) { e.texts = append(e.texts, text...) }

func (e *evaluation) sayAmount(a money.Amount) { e.texts, _ = a.AppendText(e.texts) } // the error is always nil

func (e *evaluation) sayNumber(n int) { e.texts = strconv.AppendInt(e.texts, int64(n), 10) }

// check adds the result of a rule. Its detail is what was said since the previous check.
func (e *evaluation) check(rule string, passed bool) {
	result := Pass
	if !passed {
		result, e.passed = Fail, false
	}
	e.checks = append(e.checks, Check{Rule: rule, Result: result})
	e.ends = append(e.ends, len(e.texts))
}

// finish returns the checks with their details.
func (e *evaluation) finish() []Check {
	checks, texts, start := e.checks, string(e.texts), 0
	for i, end := range e.ends {
		checks[i].Detail = texts[start:end]
		start = end
	}
	e.checks = nil
	return checks
}

func (e *evaluation) status(status string) {
	active := status == "active"
	switch {
	case active:
		e.say("The agent is active")
	case status == "":
		e.say("The agent is not active")
	default:
		e.say("The agent is not active but ")
		e.say(status)
	}
	e.check(RuleStatus, active)
}

// velocity reports whether the evaluation continues.
func (e *evaluation) velocity(p *Policy, f *Facts) bool {
	if p.RequestsPerMinute == nil && p.RequestsPerHour == nil {
		return true
	}
	e.say("With this request, there are ")
	minute := e.rate(p.RequestsPerMinute, f.RequestsThisMinute, " this minute")
	if p.RequestsPerMinute != nil && p.RequestsPerHour != nil {
		e.say(" and ")
	}
	hour := e.rate(p.RequestsPerHour, f.RequestsThisHour, " this hour")
	e.check(RuleVelocityLimit, minute && hour)
	return minute && hour
}

// rate reports whether one more request stays within a limit; nil is no limit.
func (e *evaluation) rate(limit *int, count int, window string) bool {
	if limit == nil {
		return true
	}
	e.sayNumber(count + 1)
	e.say(" of at most ")
	e.sayNumber(*limit)
	e.say(window)
	return count < *limit
}

func (e *evaluation) category(p *Policy, category string) {
	passed, verdict := true, " is allowed"
	switch {
	case len(p.AllowedCategories) > 0:
		if !slices.Contains(p.AllowedCategories, category) {
			passed, verdict = false, " is not among those allowed"
		}
	case slices.Contains(p.BlockedCategories, category):
		passed, verdict = false, " is blocked"
	}
	e.say("Category ")
	e.say(category)
	e.say(verdict)
	e.check(RuleCategory, passed)
}

func (e *evaluation) perRequest(p *Policy, amount money.Amount) {
	if p.PerRequestLimit == nil {
		e.say("No per-request limit is set")
		e.check(RulePerRequestLimit, true)
		return
	}
	e.sayAmount(amount)
	e.check(RulePerRequestLimit, e.within(amount, *p.PerRequestLimit, "per-request"))
}

// within says how the amount that was just said relates to a limit, and reports whether it is within the limit.
func (e *evaluation) within(amount, limit money.Amount, kind string) bool {
	exceeds := limit.Less(amount)
	if exceeds {
		e.say(" exceeds the ")
	} else {
		e.say(" is within the ")
	}
	e.say(kind)
	e.say(" limit of ")
	e.sayAmount(limit)
	return !exceeds
}

// period checks a limit on what was counted in a period, with this purchase added.
func (e *evaluation) period(rule, kind, when string, limit *money.Amount, counted, amount money.Amount) {
	if limit == nil {
		e.say("No ")
		e.say(kind)
		e.say(" limit is set")
		e.check(rule, true)
		return
	}
	total := counted.Add(amount)
	e.sayAmount(total)
	e.say(when)
	e.check(rule, e.within(total, *limit, kind))
}

func (e *evaluation) budget(f *Facts) {
	remaining := f.Budget.Sub(f.Spent).Sub(f.Held)
	e.sayAmount(f.Amount)
	exceeds := remaining.Less(f.Amount)
	if exceeds {
		e.say(" exceeds the ")
	} else {
		e.say(" is within the ")
	}
	e.sayAmount(remaining)
	e.say(" that remain of the budget")
	e.check(RuleBudget, !exceeds)
}

// schedule checks the time of day, and returns the daily limit that applies today.
func (e *evaluation) schedule(p *Policy, f *Facts) (dailyLimit *money.Amount) {
	if p.Schedule == nil {
		e.say("No schedule is set")
		e.check(RuleSchedule, true)
		return p.DailyLimit
	}
	now := f.Now.In(p.Schedule.location(f))
	weekday := now.Weekday()
	name := weekday.String()

	allow, denied := "", false
	for i := range p.Schedule.Overrides {
		o := &p.Schedule.Overrides[i]
		if !o.names(name[:3]) {
			continue
		}
		if dailyLimit == nil {
			dailyLimit = o.DailyLimit
		}
		if allow == "" && !denied {
			allow, denied = o.Allow, o.Deny
		}
	}
	if allow == "" && !denied && p.Schedule.Default != nil {
		allow = p.Schedule.Default.Allow
	}
	if dailyLimit == nil {
		dailyLimit = p.DailyLimit
	}

	switch {
	case denied:
		e.say("The schedule denies purchases on ")
		e.say(name)
		e.check(RuleSchedule, false)
	case allow == "":
		e.say("The schedule sets no hours on ")
		e.say(name)
		e.check(RuleSchedule, true)
	default:
		e.hours(now, allow)
	}
	return dailyLimit
}

func (e *evaluation) hours(now time.Time, allow string) {
	w, ok := parseWindow(allow)
	if !ok {
		e.say("The schedule allows nothing, since ")
		e.texts = strconv.AppendQuote(e.texts, shortened(allow))
		e.say(" is not a window of hours")
		e.check(RuleSchedule, false)
		return
	}
	passed := w.contains(now.Hour()*60 + now.Minute())
	e.texts = now.AppendFormat(e.texts, "15:04")
	if passed {
		e.say(" is within the allowed hours ")
	} else {
		e.say(" is outside the allowed hours ")
	}
	e.say(allow)
	e.check(RuleSchedule, passed)
}

// location returns the time zone of the schedule. "Local" is a name of Go's own that the service does not know.
func (s *Schedule) location(f *Facts) *time.Location {
	if s.Timezone == "" {
		return orUTC(f.Location)
	}
	load := f.LoadLocation
	if load == nil {
		load = time.LoadLocation
	}
	if location, err := load(s.Timezone); err == nil && s.Timezone != "Local" {
		return orUTC(location)
	}
	return time.UTC
}

func orUTC(location *time.Location) *time.Location {
	if location == nil {
		return time.UTC
	}
	return location
}

// names reports whether the override is for a day, given by its three letters.
func (o *Override) names(day string) bool {
	for _, named := range o.Days {
		if len(named) == len(day) && strings.EqualFold(named, day) {
			return true
		}
	}
	return false
}

// window is a time of day in minutes, both included.
type window struct{ start, end int }

// contains reports whether a minute is in the window, which lasts overnight if it ends before it starts.
func (w window) contains(minute int) bool {
	if w.start <= w.end {
		return w.start <= minute && minute <= w.end
	}
	return minute >= w.start || minute <= w.end
}

func parseWindow(text string) (w window, ok bool) {
	from, to, found := strings.Cut(text, "-")
	start, startOK := parseMinute(from)
	end, endOK := parseMinute(to)
	return window{start, end}, found && startOK && endOK
}

// parseMinute reads "HH:MM". It is as lenient as the service, which accepts any numbers: 24:00 is the end of the day,
// and later times never come.
func parseMinute(text string) (minute int, ok bool) {
	hours, minutes, found := strings.Cut(text, ":")
	h, errHours := strconv.ParseUint(strings.TrimSpace(hours), 10, 16)
	m, errMinutes := strconv.ParseUint(strings.TrimSpace(minutes), 10, 16)
	return int(h)*60 + int(m), found && errHours == nil && errMinutes == nil
}

// budgetRules checks the one rule of each type that counts, in the order in which the types first occur.
func (e *evaluation) budgetRules(f *Facts) {
	weekday := (int(f.Now.In(orUTC(f.Location)).Weekday()) + 6) % 7 // from Monday on
	var room [4]*BudgetRule
	counting := room[:0]
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
		total := rule.Counted.Add(f.Amount)
		e.sayAmount(total)
		e.say(" over the whole account")
		e.check(RuleAccountBudget+rule.Name, e.within(total, rule.Limit, string(rule.Type)))
	}
}
