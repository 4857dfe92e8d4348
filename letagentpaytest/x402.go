package letagentpaytest

import (
	"encoding/json"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

const authorizationLifetime = 120 * time.Second

var (
	maxAuthorization = money.Must("10000")
	maxDepeg         = big.NewRat(1, 100) // how far a dollar coin may be from a dollar
	maxReport        = money.FromHundredths(999_999_999_999)

	dollarCoins   = []string{"USDC", "USDT"}
	walletChains  = []string{"base", "base-sepolia", "ethereum", "solana"}
	defaultChains = []string{"base", "base-sepolia"}
	chainNames    = map[string]string{ // of CAIP-2 identifiers; others stand for themselves
		"eip155:8453": "base", "eip155:84532": "base-sepolia", "eip155:1": "ethereum", "solana:mainnet": "solana",
	}

	txHashPattern  = regexp.MustCompile(`^(0x[0-9a-fA-F]{64}|[1-9A-HJ-NP-Za-km-z]{87,88})$`)
	addressPattern = regexp.MustCompile(`^0x[0-9a-fA-F]{40}$`)
)

type authorizeBody struct {
	network, asset string
	resource       *string
	amount         decimal
	category       string
}

func parseAuthorize(body payload) (authorizeBody, *answer) {
	b := authorizeBody{category: "api"}
	f := newForm(body)
	if f.broken() {
		return b, f.refusal()
	}
	if requirements, ok := f.object("payment_requirements"); ok {
		requirements.requiredText("scheme", textRule{max: 20})
		b.network = requirements.requiredText("network", textRule{max: 30})
		requirements.requiredText("amount", textRule{max: 50})
		b.asset = strings.ToUpper(requirements.requiredText("asset", textRule{max: 10}))
		requirements.requiredText("pay_to", textRule{max: 64})
		b.resource = requirements.optionalText("resource", textRule{max: 2000})
	}
	if raw, ok := f.required("max_amount_usd"); ok {
		if amount, ok := f.positive("max_amount_usd", raw, money.Amount{}); ok {
			if amount.cmp(maxAuthorization) > 0 {
				f.valueError("max_amount_usd", "max_amount_usd cannot exceed 10000")
			}
			b.amount = amount
		}
	}
	if raw, ok := f.fields["category"]; ok {
		b.category, _ = f.text("category", raw, textRule{max: 50})
	}
	return b, f.refusal()
}

// authorize decides an x402 payment. An authorised amount counts as spent at once. The account is locked.
func (s *Server) authorize(x *exchange, b authorizeBody) *answer {
	a, acc := x.agent, x.agent.account
	if !a.authorizations.allow(x.now) {
		return errorAnswer(http.StatusTooManyRequests, "Too many requests. Please try again later.")
	}
	usd, decline, refusal := s.inDollars(x, b)
	if refusal != nil {
		return refusal
	}
	var resource string
	if b.resource != nil {
		resource = *b.resource
	}
	domain := hostname(resource)
	chain := b.network
	if name, ok := chainNames[chain]; ok {
		chain = name
	}
	category, _ := acc.resolve(b.category)
	p := a.policy
	if p == nil {
		p = new(policy.Policy)
	}
	var counted [3]money.Amount // today, this week and this month, before this payment
	for i, t := range countersOf(a.counters, "USD").current(x.now, acc.location) {
		counted[i] = t.total()
	}
	if decline == "" {
		decline = a.decline(p, payment{usd, chain, domain, category}, counted)
	}
	if decline != "" {
		return jsonAnswer(http.StatusOK, authorization{X402Authorization: api.X402Authorization{Reason: &decline}})
	}

	amount := usd.amount()
	r := &requestState{
		agent:    a,
		sequence: s.sequence.Add(1),
		id:       s.ids.uuid(),
		status:   letagentpay.StatusAutoApproved,
		amount:   amount.Round(),
		currency: "USD",
		category: category,
		created:  x.now,
		reviewed: x.now,
		expires:  x.now.Add(authorizationLifetime),
		x402:     true,
		checks: []policy.Check{
			{Rule: "x402_chain", Result: policy.Pass, Detail: chain},
			{Rule: "x402_domain", Result: policy.Pass, Detail: domain},
			{Rule: "category", Result: policy.Pass, Detail: category},
			{Rule: "x402_amount", Result: policy.Pass, Detail: usd.text},
		},
	}
	if domain != "" {
		r.merchant = &domain
	}
	if resource != "" {
		r.description = &resource
	}
	a.add(r)
	// Budget rules do not count these payments, except a total rule that counts the account's balance.
	a.spent = a.spent.Add(r.amount)
	acc.spent = acc.spent.Add(r.amount)
	for _, t := range countersOf(a.counters, "USD").current(x.now, acc.location) {
		t.spent = t.spent.Add(amount.RoundHalfEven())
	}
	return jsonAnswer(http.StatusOK, authorization{
		X402Authorization: api.X402Authorization{
			Authorized: true, AuthorizationID: &r.id, ExpiresAt: &api.Time{Time: r.expires},
		},
		RemainingDailyBudget:   remainderOf(p.DailyLimit, counted[0], usd),
		RemainingMonthlyBudget: remainderOf(p.MonthlyLimit, counted[2], usd),
	})
}

// payment is an x402 payment as a policy judges it.
type payment struct {
	usd                     decimal
	chain, domain, category string
}

// decline returns the reason why the policy or the budget forbids a payment, or "". The order is the service's.
func (a *agentState) decline(p *policy.Policy, pay payment, counted [3]money.Amount) string {
	x402 := p.X402
	if x402 == nil {
		x402 = new(policy.X402)
	}
	exceeds := func(limit *money.Amount, counted money.Amount) bool {
		return limit != nil && !limit.IsZero() && pay.usd.cmp(limit.Sub(counted)) > 0 // zero means unlimited here
	}
	switch {
	case pay.chain != "" && !slices.Contains(allowedChains(x402), pay.chain):
		return "CHAIN_NOT_ALLOWED"
	case pay.domain != "" && matchesDomain(pay.domain, x402.BlockedDomains):
		return "DOMAIN_BLOCKED"
	case pay.domain != "" && len(x402.AllowedDomains) > 0 && !matchesDomain(pay.domain, x402.AllowedDomains):
		return "DOMAIN_NOT_ALLOWED"
	case len(p.AllowedCategories) > 0 && !slices.Contains(p.AllowedCategories, pay.category):
		return "CATEGORY_NOT_ALLOWED"
	case len(p.AllowedCategories) == 0 && slices.Contains(p.BlockedCategories, pay.category):
		return "CATEGORY_BLOCKED"
	case x402.MaxPerRequest != nil && pay.usd.cmp(*x402.MaxPerRequest) > 0,
		p.PerRequestLimit != nil && pay.usd.cmp(*p.PerRequestLimit) > 0:
		return "AMOUNT_EXCEEDS_PER_REQUEST_LIMIT"
	case exceeds(p.DailyLimit, counted[0]):
		return "DAILY_BUDGET_EXCEEDED"
	case exceeds(p.WeeklyLimit, counted[1]):
		return "WEEKLY_BUDGET_EXCEEDED"
	case exceeds(p.MonthlyLimit, counted[2]):
		return "MONTHLY_BUDGET_EXCEEDED"
	case pay.usd.cmp(a.remaining()) > 0:
		return "BUDGET_EXCEEDED"
	}
	return ""
}

// inDollars converts an amount by the rate of its asset. A dollar coin that is off its peg is declined.
func (s *Server) inDollars(x *exchange, b authorizeBody) (usd decimal, decline string, refusal *answer) {
	if b.asset == "USD" {
		return b.amount, "", nil
	}
	rate, ok := x.world.rate(b.asset + "/USD")
	if !ok { // where the service fails with a 500
		f := form{path: []any{"body", "payment_requirements"}, problems: new([]problem)}
		f.valueError("asset", "Could not fetch rate for "+b.asset+"/USD")
		return decimal{}, "", f.refusal()
	}
	if slices.Contains(dollarCoins, b.asset) {
		deviation := new(big.Rat).Sub(rate.rat(), big.NewRat(1, 1))
		if deviation.Abs(deviation).Cmp(maxDepeg) > 0 {
			percent := roundHalfEven(deviation.Mul(deviation, big.NewRat(100, 1)), 1)
			return decimal{}, "STABLECOIN_DEPEG: " + b.asset + " deviation " + percent + "%", nil
		}
	}
	return newDecimal(new(big.Rat).Mul(b.amount.rat(), rate.rat())), "", nil
}

// remainderOf returns what remains of a limit after a payment, with all digits, or nil without a limit.
func remainderOf(limit *money.Amount, counted money.Amount, usd decimal) *string {
	if limit == nil || limit.IsZero() {
		return nil
	}
	text := newDecimal(new(big.Rat).Sub(ratOf(limit.Sub(counted)), usd.rat())).text
	return &text
}

func allowedChains(x402 *policy.X402) []string {
	if x402 == nil || x402.AllowedChains == nil {
		return defaultChains
	}
	return x402.AllowedChains
}

func nonZero(a *money.Amount) *money.Amount {
	if a == nil || a.IsZero() {
		return nil
	}
	return a
}

type reportBody struct {
	authorization, txHash string
	actual                *decimal
	resource              *string
}

func parseReport(body payload) (reportBody, *answer) {
	var b reportBody
	f := newForm(body)
	if f.broken() {
		return b, f.refusal()
	}
	b.authorization = f.requiredText("authorization_id", textRule{max: 36})
	b.txHash = f.requiredText("tx_hash", textRule{max: 88, pattern: txHashPattern})
	f.optionalText("actual_amount", textRule{max: 50})
	if raw, ok := f.optional("actual_amount_usd"); ok {
		if actual, ok := f.positive("actual_amount_usd", raw, maxReport); ok {
			b.actual = &actual
		}
	}
	b.resource = f.optionalText("resource_url", textRule{max: 2000})
	return b, f.refusal()
}

// report completes an authorisation with its transaction. The account is locked.
func (s *Server) report(x *exchange, b reportBody) *answer {
	a := x.agent
	r := a.requests[b.authorization]
	switch {
	case r == nil || !r.x402:
		return errorAnswer(http.StatusNotFound, "Authorization not found")
	case r.txHash != "":
		return errorAnswer(http.StatusConflict, "Transaction already reported")
	case !x.world.takeHash(b.txHash):
		return errorAnswer(http.StatusConflict, "Transaction hash already used for another authorization")
	}
	r.txHash = b.txHash
	r.status = letagentpay.StatusCompleted
	if b.resource != nil && *b.resource != "" {
		r.description = b.resource
	}
	if b.actual != nil {
		r.actual = b.actual.amount().Round()
		a.correct(b.actual.minus(r.amount), r.currency, x.now)
	}
	return jsonAnswer(http.StatusOK, api.X402Report{Recorded: true, TransactionID: r.id})
}

func (s *Server) readX402Budget(x *exchange) *answer {
	a := x.agent
	p := a.policy
	if p == nil {
		p = new(policy.Policy)
	}
	periods := countersOf(a.counters, "USD").current(x.now, a.account.location)
	chains := allowedChains(p.X402)
	result := x402Budget{
		X402Budget: api.X402Budget{
			AgentID:   a.id,
			Budget:    decimalString(a.config.Budget),
			Spent:     decimalString(a.spent),
			Remaining: decimalString(a.remaining()),
			Wallets:   make([]api.X402BudgetWallet, len(a.wallets)),
		},
		Policy: x402PolicyState{X402Policy: api.X402Policy{
			DailyLimit:    optionalDecimal(nonZero(p.DailyLimit)),
			DailySpent:    decimalString(periods[0].spent),
			MonthlyLimit:  optionalDecimal(nonZero(p.MonthlyLimit)),
			MonthlySpent:  decimalString(periods[2].spent),
			AllowedChains: &chains,
		}},
	}
	if p.X402 != nil {
		if p.X402.AllowedDomains != nil {
			result.Policy.AllowedDomains = &p.X402.AllowedDomains
		}
		result.Policy.MaxPerRequest = a.x402MaxPerRequest()
	}
	for i, w := range a.wallets {
		result.Wallets[i] = api.X402BudgetWallet{Address: w.address, Chain: w.chain, Provider: w.provider}
	}
	return jsonAnswer(http.StatusOK, result)
}

// x402MaxPerRequest returns the limit in the form of the policy, a number or a string.
func (a *agentState) x402MaxPerRequest() json.RawMessage {
	var written struct {
		X402 struct {
			MaxPerRequest json.RawMessage `json:"max_per_request"`
		} `json:"x402"`
	}
	_ = json.Unmarshal(a.config.Policy, &written) // it was valid when it was set
	return written.X402.MaxPerRequest
}
