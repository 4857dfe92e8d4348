package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/money"
)

// Validate finds mistakes in a policy written by hand: a negative limit, an invalid window, an unknown day or time
// zone, a category or domain that can never match. The error is an [*Error] about the first mistake. A nil policy is
// valid. The service accepts policies with mistakes, and [Evaluate] applies them as the service does.
//
// Time zones are looked up with time.LoadLocation, in the database of the system or of the program.
func (p *Policy) Validate() error {
	if p == nil {
		return nil
	}
	v := new(validator)
	v.limit("per_request_limit", p.PerRequestLimit)
	v.limit("daily_limit", p.DailyLimit)
	v.limit("weekly_limit", p.WeeklyLimit)
	v.limit("monthly_limit", p.MonthlyLimit)
	v.each("allowed_categories", p.AllowedCategories, isCategory, categoryForm)
	v.each("blocked_categories", p.BlockedCategories, isCategory, categoryForm)
	v.count("requests_per_minute", p.RequestsPerMinute)
	v.count("requests_per_hour", p.RequestsPerHour)
	if p.Schedule != nil {
		v.schedule(p.Schedule)
	}
	if a := p.AutoApprove; a != nil {
		v.limit("auto_approve.max_amount", a.MaxAmount)
		v.each("auto_approve.categories", a.Categories, isCategory, categoryForm)
	}
	if x := p.X402; x != nil {
		v.each("x402.allowed_chains", x.AllowedChains, isChain, "want the service's name of a chain, such as base")
		v.each("x402.allowed_domains", x.AllowedDomains, isDomain, domainForm)
		v.each("x402.blocked_domains", x.BlockedDomains, isDomain, domainForm)
		v.limit("x402.max_per_request", x.MaxPerRequest)
	}
	if v.err == nil {
		return nil // not a nil *Error
	}
	return v.err
}

const (
	categoryForm = "want a name in lower case, with underscores in place of spaces and dashes: purchases have no other"
	domainForm   = "want a domain in lower case, such as api.example.com or *.example.com"
)

// validator keeps the first mistake.
type validator struct{ err *Error }

func (v *validator) demand(valid bool, field, value, reason string) {
	if !valid && v.err == nil {
		v.err = &Error{Field: field, Value: shortened(value), Reason: reason}
	}
}

func (v *validator) limit(field string, limit *money.Amount) {
	if limit != nil {
		v.demand(limit.Sign() >= 0, field, limit.String(), "want 0 or more")
	}
}

func (v *validator) count(field string, limit *int) {
	if limit != nil {
		v.demand(*limit >= 0, field, strconv.Itoa(*limit), "want 0 or more")
	}
}

func (v *validator) each(field string, values []string, valid func(string) bool, reason string) {
	for i, value := range values {
		v.demand(valid(value), field+"."+strconv.Itoa(i), value, reason)
	}
}

func (v *validator) schedule(s *Schedule) {
	if s.Timezone != "" {
		_, err := time.LoadLocation(s.Timezone)
		v.demand(err == nil && s.Timezone != "Local", "schedule.timezone", s.Timezone,
			"want a known IANA time zone, such as Europe/Berlin")
	}
	if s.Default != nil {
		v.window("schedule.default.allow", s.Default.Allow)
	}
	for i, o := range s.Overrides {
		field := "schedule.overrides." + strconv.Itoa(i)
		v.demand(len(o.Days) > 0, field+".days", "", "want at least one day")
		v.each(field+".days", o.Days, isDay, "want a day of three letters, such as mon")
		v.window(field+".allow", o.Allow)
		v.limit(field+".daily_limit", o.DailyLimit)
	}
}

func (v *validator) window(field, allow string) {
	if allow != "" {
		v.demand(isWindow(allow), field, allow, "want hours as HH:MM-HH:MM")
	}
}

func isWindow(allow string) bool {
	w, ok := parseWindow(allow)
	const endOfDay = 24 * 60
	if !ok || w.start > endOfDay || w.end > endOfDay {
		return false
	}
	from, to, _ := strings.Cut(allow, "-")
	for _, clock := range []string{from, to} {
		_, minutes, _ := strings.Cut(clock, ":")
		if m, _ := strconv.Atoi(strings.TrimSpace(minutes)); m > 59 {
			return false
		}
	}
	return true
}

func isDay(day string) bool {
	return slices.Contains([]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}, strings.ToLower(day))
}

// isCategory reports whether a purchase can have a category: the service sorts purchases by names in this form only.
func isCategory(name string) bool {
	return name != "" && name == strings.TrimSpace(strings.ToLower(name)) && !strings.ContainsAny(name, " -")
}

func isChain(name string) bool { return name != "" && name == strings.TrimSpace(name) }

// isDomain reports whether a pattern can match a host name, which has no scheme, port or path.
func isDomain(pattern string) bool {
	name := strings.TrimPrefix(pattern, "*.")
	return name != "" && name == strings.ToLower(name) && !strings.ContainsAny(name, "*/ \t\r\n") &&
		strings.Count(name, ":") != 1
}
