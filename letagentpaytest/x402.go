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

// wallet is an address registered for one chain.
type wallet struct {
	address, chain string
	provider       *string
	created        time.Time
}

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
		requirements.requiredText("scheme", textRule{most: 20})
		b.network = requirements.requiredText("network", textRule{most: 30})
		requirements.requiredText("amount", textRule{most: 50})
		b.asset = strings.ToUpper(requirements.requiredText("asset", textRule{most: 10}))
		requirements.requiredText("pay_to", textRule{most: 64})
		b.resource = requirements.optionalText("resource", textRule{most: 2000})
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
		b.category, _ = f.text("category", raw, textRule{most: 50})
	}
	return b, f.refusal()
}

// authorize decides an x402 payment. What it authorises counts as spent at once. The account is locked.
func (s *Server) authorize(c *call, b authorizeBody) *answer {
	a, acc := c.agent, c.agent.account
	if !a.authorizations.allow(c.now) {
		return errorAnswer(http.StatusTooManyRequests, "Too many requests. Please try again later.")
	}
	usd, decline, refusal := s.dollars(c, b)
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
	today, week, month := tally{}, tally{}, tally{}
	for i, t := range countersOf(a.counters, "USD").current(c.now, acc.location) {
		*[]*tally{&today, &week, &month}[i] = *t
	}
	if decline == "" {
		decline = a.decline(p, usd, chain, domain, category, [3]money.Amount{today.total(), week.total(), month.total()})
	}
	if decline != "" {
		return jsonAnswer(http.StatusOK, authorization{X402Authorization: api.X402Authorization{Reason: &decline}})
	}

	amount := usd.amount()
	r := &request{
		agent: a, sequence: s.sequence.Add(1), id: s.ids.uuid(), status: letagentpay.StatusAutoApproved,
		amount: amount.Round(), currency: "USD", category: category,
		created: c.now, reviewed: c.now, expires: c.now.Add(authorizationLifetime), x402: true,
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
	// Budget rules do not see these payments, so only a total over the account does, through its balance.
	a.spent = a.spent.Add(r.amount)
	acc.spent = acc.spent.Add(r.amount)
	for _, t := range countersOf(a.counters, "USD").current(c.now, acc.location) {
		t.spent = t.spent.Add(amount.RoundHalfEven())
	}
	return jsonAnswer(http.StatusOK, authorization{
		X402Authorization: api.X402Authorization{
			Authorized: true, AuthorizationID: &r.id, ExpiresAt: &api.Time{Time: r.expires},
		},
		RemainingDailyBudget:   left(p.DailyLimit, today.total(), usd),
		RemainingMonthlyBudget: left(p.MonthlyLimit, month.total(), usd),
	})
}

// decline returns why a policy or the budget forbids a payment, or "". The order is the service's.
func (a *agent) decline(p *policy.Policy, usd decimal, chain, domain, category string, counted [3]money.Amount) string {
	x402 := p.X402
	if x402 == nil {
		x402 = new(policy.X402)
	}
	exceeds := func(limit *money.Amount, counted money.Amount) bool {
		return limit != nil && !limit.IsZero() && usd.cmp(limit.Sub(counted)) > 0 // a limit of zero is none here
	}
	switch {
	case chain != "" && !slices.Contains(allowedChains(x402), chain):
		return "CHAIN_NOT_ALLOWED"
	case domain != "" && matchesDomain(domain, x402.BlockedDomains):
		return "DOMAIN_BLOCKED"
	case domain != "" && len(x402.AllowedDomains) > 0 && !matchesDomain(domain, x402.AllowedDomains):
		return "DOMAIN_NOT_ALLOWED"
	case len(p.AllowedCategories) > 0 && !slices.Contains(p.AllowedCategories, category):
		return "CATEGORY_NOT_ALLOWED"
	case len(p.AllowedCategories) == 0 && slices.Contains(p.BlockedCategories, category):
		return "CATEGORY_BLOCKED"
	case x402.MaxPerRequest != nil && usd.cmp(*x402.MaxPerRequest) > 0,
		p.PerRequestLimit != nil && usd.cmp(*p.PerRequestLimit) > 0:
		return "AMOUNT_EXCEEDS_PER_REQUEST_LIMIT"
	case exceeds(p.DailyLimit, counted[0]):
		return "DAILY_BUDGET_EXCEEDED"
	case exceeds(p.WeeklyLimit, counted[1]):
		return "WEEKLY_BUDGET_EXCEEDED"
	case exceeds(p.MonthlyLimit, counted[2]):
		return "MONTHLY_BUDGET_EXCEEDED"
	case usd.cmp(a.remaining()) > 0:
		return "BUDGET_EXCEEDED"
	}
	return ""
}

// dollars converts the asked amount by the rate of its asset. A dollar coin off its peg is declined.
func (s *Server) dollars(c *call, b authorizeBody) (usd decimal, decline string, refusal *answer) {
	if b.asset == "USD" {
		return b.amount, "", nil
	}
	rate, ok := c.world.rate(b.asset + "/USD")
	if !ok { // where the service fails with a 500
		f := form{path: []any{"body", "payment_requirements"}, faults: new([]fieldError)}
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

// left returns what remains of a limit after a payment, with all its digits, or nil without a limit.
func left(limit *money.Amount, counted money.Amount, usd decimal) *string {
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

// matchesDomain reports whether domain is one of patterns, of which "*.example.com" stands for example.com too.
func matchesDomain(domain string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if parent, ok := strings.CutPrefix(pattern, "*."); ok {
			return domain == parent || strings.HasSuffix(domain, "."+parent)
		}
		return domain == pattern
	})
}

// hostname returns the lower-case host of a URL, or "" when there is none: the checks of domains are then passed over.
// It is as lenient as the service, where url.Parse would refuse.
func hostname(resource string) string {
	resource = strings.TrimLeftFunc(resource, func(r rune) bool { return r <= ' ' })
	resource = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(resource)
	if scheme, rest, ok := strings.Cut(resource, ":"); ok && isScheme(scheme) {
		resource = rest
	}
	authority, ok := strings.CutPrefix(resource, "//")
	if !ok {
		return ""
	}
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority = authority[:end]
	}
	if strings.Contains(authority, "[") != strings.Contains(authority, "]") {
		return ""
	}
	host := authority[strings.LastIndex(authority, "@")+1:]
	if _, bracketed, ok := strings.Cut(host, "["); ok {
		host, _, _ = strings.Cut(bracketed, "]")
	} else {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.ToLower(host)
}

func isScheme(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
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
	b.authorization = f.requiredText("authorization_id", textRule{most: 36})
	b.txHash = f.requiredText("tx_hash", textRule{most: 88, pattern: txHashPattern})
	f.optionalText("actual_amount", textRule{most: 50})
	if raw, ok := f.optional("actual_amount_usd"); ok {
		if actual, ok := f.positive("actual_amount_usd", raw, maxReport); ok {
			b.actual = &actual
		}
	}
	b.resource = f.optionalText("resource_url", textRule{most: 2000})
	return b, f.refusal()
}

// report closes an authorisation with its transaction. The account is locked.
func (s *Server) report(c *call, b reportBody) *answer {
	a := c.agent
	r := a.requests[b.authorization]
	switch {
	case r == nil || !r.x402:
		return errorAnswer(http.StatusNotFound, "Authorization not found")
	case r.txHash != "":
		return errorAnswer(http.StatusConflict, "Transaction already reported")
	case !c.world.claim(b.txHash):
		return errorAnswer(http.StatusConflict, "Transaction hash already used for another authorization")
	}
	r.txHash = b.txHash
	r.status = letagentpay.StatusCompleted
	if b.resource != nil && *b.resource != "" {
		r.description = b.resource
	}
	if b.actual != nil {
		r.actual = b.actual.amount().Round()
		a.correct(b.actual.minus(r.amount), r.currency, c.now)
	}
	return jsonAnswer(http.StatusOK, api.X402Report{Recorded: true, TransactionID: r.id})
}

// correct moves what was spent by delta. Unlike a confirmation's, these corrections stop at zero everywhere.
func (a *agent) correct(delta money.Amount, currency string, now time.Time) {
	if delta.IsZero() {
		return
	}
	a.spent = floorZero(a.spent.Add(delta.Round()))
	a.account.spent = floorZero(a.account.spent.Add(delta.Round()))
	for _, t := range a.periods(currency, now) {
		moved := t.spent.Add(delta.RoundHalfEven())
		if delta.Sign() < 0 {
			moved = floorZero(moved)
		}
		t.spent = moved
	}
}

func (s *Server) readX402Budget(c *call) *answer {
	a := c.agent
	p := a.policy
	if p == nil {
		p = new(policy.Policy)
	}
	periods := countersOf(a.counters, "USD").current(c.now, a.account.location)
	chains := allowedChains(p.X402)
	result := x402Budget{
		X402Budget: api.X402Budget{
			AgentID: a.id, Budget: decimalString(a.config.Budget), Spent: decimalString(a.spent),
			Remaining: decimalString(a.remaining()), Wallets: make([]api.X402BudgetWallet, len(a.wallets)),
		},
		Policy: x402PolicyState{X402Policy: api.X402Policy{
			DailyLimit: optionalDecimal(nonZero(p.DailyLimit)), DailySpent: decimalString(periods[0].spent),
			MonthlyLimit: optionalDecimal(nonZero(p.MonthlyLimit)), MonthlySpent: decimalString(periods[2].spent),
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

// x402MaxPerRequest returns the limit as the policy writes it: this answer repeats it, a number or a string.
func (a *agent) x402MaxPerRequest() json.RawMessage {
	var written struct {
		X402 struct {
			MaxPerRequest json.RawMessage `json:"max_per_request"`
		} `json:"x402"`
	}
	_ = json.Unmarshal(a.config.Policy, &written) // it was parsed when it was set
	return written.X402.MaxPerRequest
}

func nonZero(a *money.Amount) *money.Amount {
	if a == nil || a.IsZero() {
		return nil
	}
	return a
}

type walletBody struct {
	address, chain string
	provider       *string
}

func parseWallet(body payload) (walletBody, *answer) {
	var b walletBody
	f := newForm(body)
	if f.broken() {
		return b, f.refusal()
	}
	// An address is held against the form of an EVM address whatever the chain, as in the service, which reads the
	// address before the chain.
	b.address = f.requiredText("wallet_address", textRule{least: 1, most: 64, convert: func(address string) (normal, complaint string) {
		address = trimSpace(address)
		if !addressPattern.MatchString(address) {
			return "", "Invalid EVM wallet address format"
		}
		return address, ""
	}})
	b.chain = f.requiredText("chain", textRule{most: 20, convert: func(chain string) (normal, complaint string) {
		chain = trimSpace(strings.ToLower(chain))
		if !slices.Contains(walletChains, chain) {
			return "", "Unsupported chain: " + chain
		}
		return chain, ""
	}})
	b.provider = f.optionalText("wallet_provider", textRule{most: 50})
	return b, f.refusal()
}

func (s *Server) registerWallet(c *call, b walletBody) *answer {
	a := c.agent
	if slices.ContainsFunc(a.wallets, func(w wallet) bool { return w.chain == b.chain }) {
		return errorAnswer(http.StatusConflict, "Wallet already registered for chain "+b.chain)
	}
	w := wallet{address: b.address, chain: b.chain, provider: b.provider, created: c.now}
	a.wallets = append(a.wallets, w)
	return jsonAnswer(http.StatusCreated, w.result())
}

func (s *Server) listWallets(c *call) *answer {
	results := make([]api.X402Wallet, len(c.agent.wallets))
	for i, w := range c.agent.wallets {
		results[i] = w.result()
	}
	return jsonAnswer(http.StatusOK, results)
}
