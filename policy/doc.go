// Package policy reads spending policies, and decides about purchases by them.
//
// A policy says what an agent may spend, and what of it needs no human. It is a JSON document, as defined by the Agent
// Spending Policy Specification ([ASPS]) 1.1 in the way LetAgentPay applies it. Every field is optional:
//
//	{
//	  "per_request_limit": 200,
//	  "daily_limit": 500, "weekly_limit": 2000, "monthly_limit": 5000,
//	  "allowed_categories": ["groceries", "taxi"],
//	  "requests_per_minute": 2, "requests_per_hour": 20,
//	  "schedule": {
//	    "timezone": "Europe/Berlin",
//	    "default": {"allow": "08:00-20:00"},
//	    "overrides": [
//	      {"days": ["sat"], "allow": "10:00-14:00", "daily_limit": 100},
//	      {"days": ["sun"], "deny": true}
//	    ]
//	  },
//	  "auto_approve": {"enabled": true, "max_amount": 50, "categories": ["groceries"]}
//	}
//
// A field that is not set is no restriction. A purchase that fails a check is rejected. One that passes them all is
// approved at once if auto_approve covers it, and waits for a human otherwise. Limits are inclusive: with the policy
// above, a purchase of exactly 200.00 passes and one of exactly 50.00 needs no human.
//
// [Parse] reads such a document as leniently as the service does, [json.Marshal] writes one, [Policy.Validate] finds
// mistakes in one written by hand, and [Evaluate] makes the decision, check by check.
//
// The package has no clock and no state. A decision depends on the policy and on [Facts] alone: the same arguments give
// the same decision, and an application can find out what would happen before it spends anything.
//
// [ASPS]: https://github.com/LetAgentPay/letagentpay/blob/main/docs/agent_spending_policy_spec.md
package policy
