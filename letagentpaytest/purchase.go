package letagentpaytest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

var maxAmount = money.Must("9999999")

// currencies are the codes that the service accepts for a purchase or an account.
var currencies = strings.Fields(`
	AED AMD ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP GEL GHS HKD HRK HUF IDR ILS INR JPY KES KRW KZT
	MXN MYR NGN NOK NZD PEN PHP PLN RON RUB SAR SEK SGD THB TRY TWD UAH USD UYU VND ZAR`)

// checkCurrency returns the normal form of a code, or what is wrong with it.
func checkCurrency(code string) (normal, complaint string) {
	code = trimSpace(strings.ToUpper(code))
	if !slices.Contains(currencies, code) {
		return "", "Unsupported currency: " + code
	}
	return code, ""
}

type purchaseBody struct {
	amount                         decimal
	currency                       *string
	category                       string
	merchant, description, comment *string
}

func parsePurchase(body payload) (purchaseBody, *answer) {
	var b purchaseBody
	f := newForm(body)
	if f.broken() {
		return b, f.refusal()
	}
	if raw, ok := f.required("amount"); ok {
		b.amount, _ = f.positive("amount", raw, maxAmount)
	}
	b.currency = f.optionalText("currency", textRule{max: 3, convert: checkCurrency})
	b.category = f.requiredText("category", textRule{max: 50})
	b.merchant = f.optionalText("merchant_name", textRule{max: 255})
	b.description = f.optionalText("description", textRule{max: 2000})
	b.comment = f.optionalText("agent_comment", textRule{max: 2000})
	return b, f.refusal()
}

// purchase decides a purchase request. It returns nil when Close has ended the call. The account is locked.
func (s *Server) purchase(x *exchange, b purchaseBody) *answer {
	a, acc := x.agent, x.agent.account
	if !a.purchases.allow(x.now) {
		return errorAnswer(http.StatusTooManyRequests, "Too many requests. Please try again later.")
	}
	key := trimSpace(x.header.Get("Idempotency-Key"))
	if key != "" {
		if first := a.replays.find(key, x.now); first != nil {
			return first
		}
	}
	if !x.pauseBeforeCommit(func(races *Races) time.Duration { return races.Purchase }) {
		return nil
	}
	category, original := acc.resolve(b.category)
	if a.pending >= pendingCap {
		return errorAnswer(http.StatusTooManyRequests,
			"Too many pending requests. Wait for existing requests to be resolved.")
	}
	currency := acc.config.Currency
	if b.currency != nil && *b.currency != currency {
		return errorAnswer(http.StatusBadRequest, "Currency mismatch: expected "+currency)
	}

	amount := b.amount.amount()
	decision := policy.Evaluate(a.policy, a.facts(amount, category, currency, x))
	r := &requestState{
		agent:       a,
		sequence:    s.sequence.Add(1),
		id:          s.ids.uuid(),
		amount:      amount.Round(),
		currency:    currency,
		category:    category,
		original:    original,
		merchant:    b.merchant,
		description: b.description,
		comment:     b.comment,
		key:         key,
		checks:      decision.Checks,
		created:     x.now,
		expires:     x.now,
	}
	switch {
	case !decision.Passed:
		r.status, r.reviewed = letagentpay.StatusRejected, x.now
	case decision.AutoApprove:
		r.status, r.reviewed = letagentpay.StatusAutoApproved, x.now
	default:
		r.status, r.expires = letagentpay.StatusPending, x.now.Add(acc.config.expiry())
	}

	if decision.VelocityLimited {
		// One record for each window, however many calls a runaway loop makes; later answers have its id.
		if window := a.velocity.refusedIn(a.policy, x.now); window.rejected != "" {
			r.id = window.rejected
		} else {
			window.rejected = r.id
			a.add(r)
		}
	} else {
		a.add(r)
	}
	if r.status != letagentpay.StatusRejected {
		a.book(r, amount, x)
	}
	reply := jsonAnswer(http.StatusCreated, r.purchaseResult())
	if key != "" {
		if !x.pauseBeforeStore() {
			return nil
		}
		a.replays.store(key, reply, x.now, acc.history)
	}
	return reply
}

// book counts a purchase that is approved or pending. amount is the amount as sent; r.amount is rounded.
func (a *agentState) book(r *requestState, amount money.Amount, x *exchange) {
	a.velocity.accept(x.now)
	for _, rule := range a.account.rules {
		if !rule.countsAlone() {
			continue
		}
		t := rule.tallyIn(r.currency)
		if r.status == letagentpay.StatusPending {
			t.held = t.held.Add(amount.RoundHalfEven())
		} else {
			t.spent = t.spent.Add(amount.RoundHalfEven())
		}
	}
	if r.status == letagentpay.StatusPending {
		a.hold(amount, r.currency, x.now)
		a.account.noteExpiry(r.expires)
		x.pending = r
		return
	}
	a.spend(amount, r.currency, x.now)
	a.replenish(amount.Sub(r.amount))
}

// facts returns what the decision on a purchase depends on.
func (a *agentState) facts(amount money.Amount, category, currency string, x *exchange) policy.Facts {
	minute, hour := a.velocity.at(x.now)
	periods := a.periods(currency, x.now)
	return policy.Facts{
		AgentStatus:        string(a.config.Status),
		Amount:             amount,
		Category:           category,
		Now:                x.now,
		Location:           a.account.location,
		LoadLocation:       loadLocation,
		Budget:             a.config.Budget,
		Spent:              a.spent,
		Held:               a.held,
		Today:              periods[0].total(),
		ThisWeek:           periods[1].total(),
		ThisMonth:          periods[2].total(),
		RequestsThisMinute: minute.accepted,
		RequestsThisHour:   hour.accepted,
		Rules:              a.account.ruleFacts(currency, periods[3].total(), periods[4].total(), periods[5].total()),
	}
}
