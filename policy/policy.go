// Package policy holds spending policies of the Agent Spending Policy Specification (ASPS) 1.1, as LetAgentPay serves
// and applies them: the document's types, and [Evaluate], which decides about a purchase.
//
// A policy says what an agent may spend on its own:
//
//	{
//	  "per_request_limit": 200,
//	  "daily_limit": "500.00",
//	  "blocked_categories": ["gambling"],
//	  "requests_per_hour": 20,
//	  "schedule": {"timezone": "Europe/Berlin", "default": {"allow": "08:00-20:00"}},
//	  "auto_approve": {"enabled": true, "max_amount": 50}
//	}
//
// A purchase that breaks a rule is rejected. One that breaks none is approved at once if auto_approve covers it, and
// left to a human otherwise. A rule that is not set does not restrict; without auto_approve every purchase that passes
// waits for a human.
//
// The package does no I/O and has no clock: all that a decision depends on is in [Facts].
package policy

import (
	"bytes"
	"strconv"

	"github.com/letagentpay/letagentpay-go/money"
)

// Policy is an agent's spending policy. The zero value restricts nothing and approves nothing by itself. A nil limit
// is not set; amounts are in the account's currency. All limits are inclusive.
type Policy struct {
	// PerRequestLimit bounds a single purchase.
	PerRequestLimit *money.Amount
	// DailyLimit, WeeklyLimit and MonthlyLimit bound what is spent and held in a calendar day, a week that begins on
	// Monday, and a calendar month, in the account's time zone.
	DailyLimit, WeeklyLimit, MonthlyLimit *money.Amount
	// AllowedCategories, when not empty, are the only ones allowed; BlockedCategories count only when it is empty. The
	// names are those of the account's categories, and case matters.
	AllowedCategories, BlockedCategories []string
	// RequestsPerMinute and RequestsPerHour bound the purchases approved or pending in a calendar minute and hour.
	RequestsPerMinute, RequestsPerHour *int
	// Schedule says when purchases are allowed; nil is always.
	Schedule *Schedule
	// AutoApprove says what needs no human; nil is nothing.
	AutoApprove *AutoApprove
	// X402 rules the payments of paid HTTP APIs; nil sets no rules of its own.
	X402 *X402
}

// Schedule says when purchases are allowed.
type Schedule struct {
	// Timezone is an IANA name such as "Europe/Berlin"; empty is the account's time zone, and an unknown one is UTC.
	Timezone string
	// Default holds on days without an override; nil allows the whole day.
	Default *Window
	// Overrides are looked through in order for the first that names the day and either denies or allows.
	Overrides []Override
}

// Window is a time of day.
type Window struct {
	// Allow is "HH:MM-HH:MM", both ends included; a window that ends before it begins lasts overnight. Empty allows the
	// whole day. A text that is no window allows nothing.
	Allow string

	// set tells an empty text, which is no window and allows nothing, from none.
	set bool
}

// Override is a rule for some days of the week.
type Override struct {
	// Days are three-letter names, "mon" to "sun", in any case.
	Days []string
	// Deny forbids these days.
	Deny bool
	// Allow is a window as in [Window]; empty leaves the decision to later overrides and the default.
	Allow string
	// DailyLimit replaces the policy's on these days; the first override that names the day and has one counts.
	DailyLimit *money.Amount

	set bool // as in Window
}

// AutoApprove says which purchases need no human.
type AutoApprove struct {
	Enabled bool
	// MaxAmount bounds them; nil does not.
	MaxAmount *money.Amount
	// Categories they must be of; empty is any.
	Categories []string
}

// X402 rules the payments of paid HTTP APIs.
type X402 struct {
	// AllowedChains are the service's names of chains; nil is base and base-sepolia, empty is none.
	AllowedChains []string
	// AllowedDomains, when not empty, are the only ones allowed; "*.example.com" covers every name below example.com.
	AllowedDomains []string
	// BlockedDomains are never allowed.
	BlockedDomains []string
	// MaxPerRequest bounds a single payment, in US dollars; nil and 0 do not.
	MaxPerRequest *money.Amount
}

// Error reports a policy that is wrong.
type Error struct {
	Field  string // the path in the document: "schedule.overrides.0.allow"
	Value  string // what stands there
	Reason string // what is accepted instead
}

func (e *Error) Error() string {
	return "policy: invalid " + e.Field + " " + strconv.Quote(e.Value) + ": " + e.Reason
}

// Parse reads a policy document. A null or an empty document is no policy: nil without an error. Fields that this
// version does not know are ignored, and null is the same as not set. Limits may be numbers or numeric strings; what
// is finer than an amount can be is rounded down, which changes no decision. The error is an [*Error].
func Parse(data []byte) (*Policy, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	p := new(Policy)
	if err := p.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return p, nil
}
