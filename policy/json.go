package policy

import (
	"cmp"
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"

	"github.com/letagentpay/letagentpay-go/money"
)

// The wire form. Pointers and nil slices are left out when not set; an empty list is kept, since it may mean another
// thing than none.
type (
	wirePolicy struct {
		PerRequestLimit   *limit        `json:"per_request_limit,omitempty"`
		DailyLimit        *limit        `json:"daily_limit,omitempty"`
		WeeklyLimit       *limit        `json:"weekly_limit,omitempty"`
		MonthlyLimit      *limit        `json:"monthly_limit,omitempty"`
		AllowedCategories []string      `json:"allowed_categories,omitzero"`
		BlockedCategories []string      `json:"blocked_categories,omitzero"`
		RequestsPerMinute *int          `json:"requests_per_minute,omitempty"`
		RequestsPerHour   *int          `json:"requests_per_hour,omitempty"`
		Schedule          *wireSchedule `json:"schedule,omitempty"`
		AutoApprove       *wireApprove  `json:"auto_approve,omitempty"`
		X402              *wireX402     `json:"x402,omitempty"`
	}
	wireSchedule struct {
		Timezone  string         `json:"timezone,omitempty"`
		Default   *wireWindow    `json:"default,omitempty"`
		Overrides []wireOverride `json:"overrides,omitzero"`
	}
	wireWindow struct {
		Allow *string `json:"allow,omitempty"`
	}
	wireOverride struct {
		Days       []string `json:"days,omitzero"`
		Deny       truth    `json:"deny,omitempty"`
		Allow      *string  `json:"allow,omitempty"`
		DailyLimit *limit   `json:"daily_limit,omitempty"`
	}
	wireApprove struct {
		Enabled    truth    `json:"enabled"`
		MaxAmount  *limit   `json:"max_amount,omitempty"`
		Categories []string `json:"categories,omitzero"`
	}
	wireX402 struct {
		AllowedChains  []string `json:"allowed_chains,omitzero"`
		AllowedDomains []string `json:"allowed_domains,omitzero"`
		BlockedDomains []string `json:"blocked_domains,omitzero"`
		MaxPerRequest  *limit   `json:"max_per_request,omitempty"`
	}
)

// UnmarshalJSON reads a policy document; see [Parse]. The error is an [*Error], and p is then unchanged.
func (p *Policy) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var w wirePolicy
	if err := json.Unmarshal(data, &w); err != nil {
		return decodeError(err, data)
	}
	*p = Policy{
		PerRequestLimit: w.PerRequestLimit.amount(), DailyLimit: w.DailyLimit.amount(), WeeklyLimit: w.WeeklyLimit.amount(), MonthlyLimit: w.MonthlyLimit.amount(),
		AllowedCategories: w.AllowedCategories, BlockedCategories: w.BlockedCategories,
		RequestsPerMinute: w.RequestsPerMinute, RequestsPerHour: w.RequestsPerHour,
	}
	if s := w.Schedule; s != nil {
		p.Schedule = &Schedule{Timezone: s.Timezone}
		if s.Default != nil {
			p.Schedule.Default = &Window{}
			p.Schedule.Default.Allow, p.Schedule.Default.set = text(s.Default.Allow)
		}
		for _, o := range s.Overrides {
			override := Override{Days: o.Days, Deny: bool(o.Deny), DailyLimit: o.DailyLimit.amount()}
			override.Allow, override.set = text(o.Allow)
			p.Schedule.Overrides = append(p.Schedule.Overrides, override)
		}
	}
	if a := w.AutoApprove; a != nil {
		p.AutoApprove = &AutoApprove{Enabled: bool(a.Enabled), MaxAmount: a.MaxAmount.amount(), Categories: a.Categories}
	}
	if x := w.X402; x != nil {
		p.X402 = &X402{AllowedChains: x.AllowedChains, AllowedDomains: x.AllowedDomains, BlockedDomains: x.BlockedDomains, MaxPerRequest: x.MaxPerRequest.amount()}
	}
	return nil
}

// MarshalJSON returns the policy document, with limits as numbers and without what is not set.
func (p Policy) MarshalJSON() ([]byte, error) {
	w := wirePolicy{
		PerRequestLimit: wireLimit(p.PerRequestLimit), DailyLimit: wireLimit(p.DailyLimit), WeeklyLimit: wireLimit(p.WeeklyLimit), MonthlyLimit: wireLimit(p.MonthlyLimit),
		AllowedCategories: p.AllowedCategories, BlockedCategories: p.BlockedCategories,
		RequestsPerMinute: p.RequestsPerMinute, RequestsPerHour: p.RequestsPerHour,
	}
	if s := p.Schedule; s != nil {
		w.Schedule = &wireSchedule{Timezone: s.Timezone}
		if s.Default != nil {
			w.Schedule.Default = &wireWindow{Allow: wireText(s.Default.Allow, s.Default.set)}
		}
		for _, o := range s.Overrides {
			w.Schedule.Overrides = append(w.Schedule.Overrides, wireOverride{Days: o.Days, Deny: truth(o.Deny), Allow: wireText(o.Allow, o.set), DailyLimit: wireLimit(o.DailyLimit)})
		}
	}
	if a := p.AutoApprove; a != nil {
		w.AutoApprove = &wireApprove{Enabled: truth(a.Enabled), MaxAmount: wireLimit(a.MaxAmount), Categories: a.Categories}
	}
	if x := p.X402; x != nil {
		w.X402 = &wireX402{AllowedChains: x.AllowedChains, AllowedDomains: x.AllowedDomains, BlockedDomains: x.BlockedDomains, MaxPerRequest: wireLimit(x.MaxPerRequest)}
	}
	return json.Marshal(w)
}

func text(s *string) (value string, set bool) {
	if s == nil {
		return "", false
	}
	return *s, true
}

func wireText(value string, set bool) *string {
	if value == "" && !set {
		return nil
	}
	return &value
}

// limit is an amount that is read leniently and rounded down to what an amount can be: compared with amounts, which
// are no finer, the result is the same.
type limit money.Amount

func (l *limit) amount() *money.Amount { return (*money.Amount)(l) }

func wireLimit(a *money.Amount) *limit { return (*limit)(a) }

func (l limit) MarshalJSON() ([]byte, error) { return money.Amount(l).MarshalJSON() }

func (l *limit) UnmarshalJSON(data []byte) error {
	literal := string(data)
	if literal == "null" {
		return nil
	}
	if literal[0] == '"' {
		if err := json.Unmarshal(data, &literal); err != nil {
			return err
		}
		literal = strings.TrimSpace(literal)
	}
	if (*money.Amount)(l).UnmarshalText([]byte(literal)) == nil {
		return nil
	}
	const longest, largestExponent = 64, 18 // a number of a few characters can fill the memory
	_, exponent, _ := strings.Cut(strings.ToLower(literal), "e")
	if n, err := strconv.Atoi(exponent); exponent != "" && (err != nil || n > largestExponent || n < -longest) {
		return errNoLimit
	}
	value, ok := new(big.Rat).SetString(literal)
	if !ok || len(literal) > longest || strings.ContainsAny(literal, "/_xXpPbBoO") {
		return errNoLimit
	}
	millionths := value.Mul(value, big.NewRat(1_000_000, 1))
	floor := new(big.Int).Div(millionths.Num(), millionths.Denom()) // Euclidean, which is down for a positive divisor
	if !floor.IsInt64() {
		return errNoLimit
	}
	whole, rest := new(big.Int).QuoRem(floor, big.NewInt(1_000_000), new(big.Int))
	sign := ""
	if floor.Sign() < 0 {
		sign = "-"
	}
	fraction := strconv.FormatInt(1_000_000+rest.Abs(rest).Int64(), 10)[1:]
	if (*money.Amount)(l).UnmarshalText([]byte(sign+whole.Abs(whole).String()+"."+fraction)) != nil {
		return errNoLimit
	}
	return nil
}

var errNoLimit = errors.New("want a number or a numeric string, such as 49.99")

// truth is a boolean of the service's own language, where a text, a number or a list counts as true unless empty or
// zero.
type truth bool

func (t *truth) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "null", "false", `""`, "[]", "{}":
		*t = false
		return nil
	}
	number, err := strconv.ParseFloat(string(data), 64)
	*t = truth(err != nil || number != 0)
	return nil
}

// decodeError names the field as far as encoding/json tells.
func decodeError(err error, data []byte) *Error {
	e := &Error{Field: "document", Value: string(data), Reason: "want a policy as a JSON object: " + err.Error()}
	if typeError, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		e.Field, e.Value, e.Reason = typeError.Field, typeError.Value, "want "+typeError.Type.String()
		if e.Field == "" {
			e.Field, e.Reason = "document", "want a policy as a JSON object"
		}
	}
	if errors.Is(err, errNoLimit) {
		e.Field, e.Value, e.Reason = wrongLimit(data), "", errNoLimit.Error()
	}
	const longest = 80
	if len(e.Value) > longest {
		e.Value = strings.ToValidUTF8(e.Value[:longest], "") + "…"
	}
	return e
}

// wrongLimit finds the first limit that is none, which encoding/json does not tell.
func wrongLimit(data []byte) string {
	type object = map[string]json.RawMessage
	wrong := func(o object, prefix string, names ...string) string {
		for _, name := range names {
			if raw, ok := o[name]; ok && json.Unmarshal(raw, new(limit)) != nil {
				return prefix + name
			}
		}
		return ""
	}
	var top, approve, x402 object
	var schedule struct{ Overrides []object }
	_ = json.Unmarshal(data, &top)
	_ = json.Unmarshal(top["auto_approve"], &approve)
	_ = json.Unmarshal(top["x402"], &x402)
	_ = json.Unmarshal(top["schedule"], &schedule)
	fields := []string{
		wrong(top, "", "per_request_limit", "daily_limit", "weekly_limit", "monthly_limit"), wrong(approve, "auto_approve.", "max_amount"), wrong(x402, "x402.", "max_per_request"),
	}
	for i, o := range schedule.Overrides {
		fields = append(fields, wrong(o, "schedule.overrides."+strconv.Itoa(i)+".", "daily_limit"))
	}
	return cmp.Or(fields...)
}
