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

// currencies are the codes the service takes for a purchase or an account.
var currencies = strings.Fields(`
	AED AMD ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP GEL GHS HKD HRK HUF IDR ILS INR JPY KES KRW KZT
	MXN MYR NGN NOK NZD PEN PHP PLN RON RUB SAR SEK SGD THB TRY TWD UAH USD UYU VND ZAR`)

var separators = strings.NewReplacer(" ", "_", "-", "_")

// checkCurrency normalises a code, or says what is wrong with it.
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
	b.currency = f.optionalText("currency", textRule{most: 3, convert: checkCurrency})
	b.category = f.requiredText("category", textRule{most: 50})
	b.merchant = f.optionalText("merchant_name", textRule{most: 255})
	b.description = f.optionalText("description", textRule{most: 2000})
	b.comment = f.optionalText("agent_comment", textRule{most: 2000})
	return b, f.refusal()
}

// purchase decides a purchase request, and returns nil when Close has ended the call. The account is locked.
func (s *Server) purchase(c *call, b purchaseBody) *answer {
	a, acc := c.agent, c.agent.account
	if !a.purchases.allow(c.now) {
		return errorAnswer(http.StatusTooManyRequests, "Too many requests. Please try again later.")
	}
	key := trimSpace(c.header.Get("Idempotency-Key"))
	if key != "" {
		if first := a.replays.find(key, c.now); first != nil {
			return first
		}
	}
	if !c.work(func(r *Races) time.Duration { return r.Purchase }) {
		return nil
	}
	category, original := acc.resolve(b.category)
	if a.pending >= pendingCap {
		return errorAnswer(http.StatusTooManyRequests, "Too many pending requests. Wait for existing requests to be resolved.")
	}
	currency := acc.config.Currency
	if b.currency != nil && *b.currency != currency {
		return errorAnswer(http.StatusBadRequest, "Currency mismatch: expected "+currency)
	}

	amount := b.amount.amount()
	decision := policy.Evaluate(a.policy, a.facts(amount, category, currency, c))
	r := &request{
		agent: a, sequence: s.sequence.Add(1), id: s.ids.uuid(), amount: amount.Round(), currency: currency,
		category: category, original: original, merchant: b.merchant, description: b.description, comment: b.comment,
		key: key, checks: decision.Checks, created: c.now, expires: c.now,
	}
	switch {
	case !decision.Passed:
		r.status, r.reviewed = letagentpay.StatusRejected, c.now
	case decision.AutoApprove:
		r.status, r.reviewed = letagentpay.StatusAutoApproved, c.now
	default:
		r.status, r.expires = letagentpay.StatusPending, c.now.Add(acc.config.expiry())
	}

	if decision.VelocityLimited {
		// A runaway loop leaves one record a window; the later answers point at it.
		if window := a.velocity.refusedIn(a.policy, c.now); window.rejected != "" {
			r.id = window.rejected
		} else {
			window.rejected = r.id
			a.add(r)
		}
	} else {
		a.add(r)
	}
	if r.status != letagentpay.StatusRejected {
		a.book(r, amount, c)
	}
	reply := jsonAnswer(http.StatusCreated, r.purchaseResult())
	if key != "" {
		if !c.store() {
			return nil
		}
		a.replays.store(key, reply, c.now, acc.history)
	}
	return reply
}

// book counts a purchase that was approved or is pending. amount is as it was sent, r.amount rounded.
func (a *agent) book(r *request, amount money.Amount, c *call) {
	a.velocity.accept(c.now)
	for _, rule := range a.account.rules {
		if !rule.temporal() {
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
		a.hold(amount, r.currency, c.now)
		a.account.expect(r.expires)
		c.pending = r
		return
	}
	a.spend(amount, r.currency, c.now)
	a.replenish(amount.Sub(r.amount))
}

// facts gathers what a decision depends on.
func (a *agent) facts(amount money.Amount, category, currency string, c *call) policy.Facts {
	minute, hour := a.velocity.at(c.now)
	periods := a.periods(currency, c.now)
	return policy.Facts{
		AgentStatus: string(a.config.Status), Amount: amount, Category: category,
		Now: c.now, Location: a.account.location, LoadLocation: loadLocation,
		Budget: a.config.Budget, Spent: a.spent, Held: a.held,
		Today: periods[0].total(), ThisWeek: periods[1].total(), ThisMonth: periods[2].total(),
		RequestsThisMinute: minute.accepted, RequestsThisHour: hour.accepted,
		Rules: a.account.ruleFacts(currency, periods[3].total(), periods[4].total(), periods[5].total()),
	}
}

// ruleFacts returns the account's budget rules with what each has counted so far.
func (acc *account) ruleFacts(currency string, today, week, month money.Amount) []policy.BudgetRule {
	if len(acc.rules) == 0 {
		return nil
	}
	facts := make([]policy.BudgetRule, len(acc.rules))
	for i, rule := range acc.rules {
		facts[i] = rule.BudgetRule
		switch {
		case rule.Type == policy.Daily:
			facts[i].Counted = today
		case rule.Type == policy.Weekly:
			facts[i].Counted = week
		case rule.Type == policy.Monthly:
			facts[i].Counted = month
		case rule.temporal():
			facts[i].Counted = rule.tallyIn(currency).total()
		default:
			facts[i].Counted = acc.total()
		}
	}
	return facts
}

// resolve maps what an agent called a category to one of the account's. original is what was sent, unless that was
// the category itself, give or take spaces, dashes and case.
func (acc *account) resolve(sent string) (category string, original *string) {
	name := separators.Replace(strings.ToLower(trimSpace(sent)))
	if acc.categories[name] {
		return name, nil
	}
	if target, ok := acc.aliases[name]; ok {
		return target, &sent
	}
	return "other", &sent
}
