package policy

import (
	"strconv"

	"github.com/letagentpay/letagentpay-go/money"
)

// Policy is an agent's spending policy. The zero value restricts nothing, and leaves every purchase to a human. A nil
// limit is not set. Amounts are in the account's currency, and limits are inclusive. A policy that is not changed is
// safe for concurrent use.
type Policy struct {
	// PerRequestLimit bounds a single purchase.
	PerRequestLimit *money.Amount `json:"per_request_limit,omitempty"`
	// DailyLimit, WeeklyLimit and MonthlyLimit bound what is spent and held in a calendar day, a week that begins on
	// Monday, and a calendar month, in the account's time zone. A limit of 0 rejects every purchase. For an x402
	// payment it is the same as no limit.
	DailyLimit   *money.Amount `json:"daily_limit,omitempty"`
	WeeklyLimit  *money.Amount `json:"weekly_limit,omitempty"`
	MonthlyLimit *money.Amount `json:"monthly_limit,omitempty"`
	// AllowedCategories, when not empty, are the only ones allowed, and BlockedCategories are then ignored. Names must
	// equal those of the account's categories, such as "food_delivery".
	AllowedCategories []string `json:"allowed_categories,omitzero"`
	BlockedCategories []string `json:"blocked_categories,omitzero"`
	// RequestsPerMinute and RequestsPerHour bound the purchases that are approved at once or left to a human in a
	// calendar minute and hour.
	RequestsPerMinute *int `json:"requests_per_minute,omitempty"`
	RequestsPerHour   *int `json:"requests_per_hour,omitempty"`
	// Schedule says when purchases are allowed; nil allows them at any time.
	Schedule *Schedule `json:"schedule,omitempty"`
	// AutoApprove says which purchases need no human; nil leaves all of them to a human.
	AutoApprove *AutoApprove `json:"auto_approve,omitempty"`
	// X402 holds the rules for payments of paid HTTP APIs alone; nil is no such rules.
	X402 *X402 `json:"x402,omitempty"`
}

// Schedule says when purchases are allowed. The zero value allows them at any time.
type Schedule struct {
	// Timezone is an IANA name such as "Europe/Berlin"; empty is the account's time zone, and an unknown one is UTC.
	Timezone string `json:"timezone,omitempty"`
	// Default applies on days on which no override decides; nil allows the whole day.
	Default *Window `json:"default,omitempty"`
	// Overrides are tried in order. The first that names today, and denies or has a window, decides. The daily limit
	// comes from the first that names today and has one, which may be another override.
	Overrides []Override `json:"overrides,omitzero"`
}

// Window is a time of day.
type Window struct {
	// Allow is "HH:MM-HH:MM", from the start of the first minute to the end of the last. A window that ends before it
	// begins lasts overnight: "22:00-06:00". Empty allows the whole day. Any text that is not a window allows nothing.
	//
	// In a document, an empty Allow allows nothing. Parse stores it as "-".
	Allow string `json:"allow,omitempty"`
}

// Override is the rule for some days of the week.
type Override struct {
	// Days are three-letter names, "mon" to "sun", in any case.
	Days []string `json:"days,omitzero"`
	// Deny forbids these days, whatever Allow says.
	Deny bool `json:"deny,omitempty"`
	// Allow is a window as in Window; empty leaves the decision to later overrides and to the default.
	Allow string `json:"allow,omitempty"`
	// DailyLimit replaces the policy's on these days, up or down; nil keeps the policy's.
	DailyLimit *money.Amount `json:"daily_limit,omitempty"`
}

// AutoApprove says which purchases need no human. The zero value leaves all of them to a human.
type AutoApprove struct {
	// Enabled turns it on; the other fields only narrow it.
	Enabled bool `json:"enabled"`
	// MaxAmount bounds the purchases that need no human; nil is no bound.
	MaxAmount *money.Amount `json:"max_amount,omitempty"`
	// Categories are those that need no human; empty is all of them.
	Categories []string `json:"categories,omitzero"`
}

// X402 holds the rules for payments of paid HTTP APIs alone. [Evaluate] decides about purchases, and ignores them.
type X402 struct {
	// AllowedChains are the service's names of chains; nil is base and base-sepolia, empty is none.
	AllowedChains []string `json:"allowed_chains,omitzero"`
	// AllowedDomains, when not empty, are the only ones allowed. "*.example.com" matches example.com and every name
	// below it.
	AllowedDomains []string `json:"allowed_domains,omitzero"`
	// BlockedDomains are never allowed, with wildcards as in AllowedDomains.
	BlockedDomains []string `json:"blocked_domains,omitzero"`
	// MaxPerRequest bounds a single payment, in US dollars; nil is no bound, and 0 allows no payment.
	MaxPerRequest *money.Amount `json:"max_per_request,omitempty"`
}

// Error reports what is wrong with a policy.
type Error struct {
	Field  string // where, as a path in the document: "schedule.overrides.0.allow"; "document" for the whole
	Value  string // what stands there, shortened when very long
	Reason string // what is accepted instead
}

func (e *Error) Error() string {
	return "policy: invalid " + e.Field + " " + strconv.Quote(e.Value) + ": " + e.Reason
}
