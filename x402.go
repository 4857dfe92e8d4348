package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/operation"
)

// X402Client authorises and reports payments of paid HTTP APIs by the x402 protocol (https://www.x402.org). It signs and
// sends none: that is up to the holder of the wallet. Reach it as [Client.X402]. It is safe for concurrent use.
type X402Client struct {
	client *Client
}

// PaymentRequirements is what a paid API wants, as its 402 answer says.
type PaymentRequirements struct {
	Scheme   string // "exact"; at most 20 characters. Required.
	Network  string // CAIP-2, such as "eip155:8453"; at most 30 characters. Required.
	Amount   string // in atomic units of the asset, such as "1000000"; at most 50 characters. Required.
	Asset    string // its name, such as "USDC", or its contract; at most 100 characters. Required.
	PayTo    string // the address to be paid; at most 64 characters. Required.
	Resource string // the URL that is paid for; at most 2000 characters
}

// X402AuthorizeParams says what is to be paid.
type X402AuthorizeParams struct {
	Requirements PaymentRequirements
	MaxAmountUSD Amount // what the payment may cost in US dollars, above 0 and at most 10,000
	Category     string // at most 50 characters; empty is "api"
}

// X402Authorization is the service's answer. What is authorised is spent at once, and does not return by expiring.
type X402Authorization struct {
	Authorized             bool
	AuthorizationID        string
	Reason                 string    // why it was declined: "CHAIN_NOT_ALLOWED", "BUDGET_EXCEEDED", …; empty when authorised
	ExpiresAt              time.Time // when the permission to pay ends
	RemainingDailyBudget   *Amount   // nil without a daily limit
	RemainingMonthlyBudget *Amount   // nil without a monthly limit
}

// X402ReportParams says which transaction has settled an authorisation.
type X402ReportParams struct {
	AuthorizationID string // Required.
	TxHash          string // 0x and 64 hexadecimal digits, or 87 to 88 base58 characters. Required.
	ActualAmountUSD Amount // what was really paid; zero: as authorised
	ResourceURL     string // at most 2000 characters
}

// X402Report is the service's answer to a report.
type X402Report struct {
	TransactionID string
}

// X402Budget is the agent's budget together with what limits its x402 payments.
type X402Budget struct {
	AgentID                  string
	Budget, Spent, Remaining Amount
	MaxPerRequest            *Amount // nil: no limit
	DailyLimit, MonthlyLimit *Amount // nil: no limit
	DailySpent, MonthlySpent Amount
	AllowedDomains           []string // nil: all
	AllowedChains            []string
	Wallets                  []X402Wallet // without CreatedAt and Active
}

// X402Wallet is a wallet that pays on a chain.
type X402Wallet struct {
	Address   string // as the chain writes addresses
	Chain     string // "base", "base-sepolia", "ethereum" or "solana"
	Provider  string // the maker of the wallet, if that is known
	CreatedAt time.Time
	Active    bool // whether it may pay; known from Wallets and RegisterWallet
}

var (
	maxX402Amount = MustAmount("10000")
	txHash        = regexp.MustCompile(`^(0x[0-9a-fA-F]{64}|[1-9A-HJ-NP-Za-km-z]{87,88})$`)
)

// Authorize asks whether a payment may be made. A decline is an answer, not an error: see Authorized and Reason.
//
// The API knows no idempotency key for this, so an unclear attempt is not repeated: it is an [*OutcomeUnknownError], and
// may have used up budget. Pay nothing then; asking again is a second authorisation.
func (x *X402Client) Authorize(ctx context.Context, p X402AuthorizeParams) (*X402Authorization, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	authorize := call{op: operation.X402Authorize, body: p.body()}
	body, err := fetch(ctx, x.client.transport, &authorize, authorizationShape, checkAuthorization)
	if err != nil {
		return nil, authorize.classify(err)
	}
	return &X402Authorization{
		Authorized:             body.Authorized,
		AuthorizationID:        deref(body.AuthorizationID),
		Reason:                 x.client.transport.cleaned(deref(body.Reason), sampleText),
		ExpiresAt:              timeOf(body.ExpiresAt),
		RemainingDailyBudget:   amountOf(body.RemainingDailyBudget),
		RemainingMonthlyBudget: amountOf(body.RemainingMonthlyBudget),
	}, nil
}

func (p *X402AuthorizeParams) validate() error {
	if p.MaxAmountUSD.Sign() <= 0 || maxX402Amount.Less(p.MaxAmountUSD) {
		return paramError("X402AuthorizeParams.MaxAmountUSD", p.MaxAmountUSD.String(), "want an amount above zero and at most "+maxX402Amount.String())
	}
	r := &p.Requirements
	if err := checkTexts([]boundedText{
		{"PaymentRequirements.Scheme", r.Scheme, 20, true},
		{"PaymentRequirements.Network", r.Network, 30, true},
		{"PaymentRequirements.Amount", r.Amount, 50, true},
		{"PaymentRequirements.Asset", r.Asset, 100, true},
		{"PaymentRequirements.PayTo", r.PayTo, 64, true},
		{"PaymentRequirements.Resource", r.Resource, 2000, false},
		{"X402AuthorizeParams.Category", p.Category, 50, false},
	}); err != nil {
		return err
	}
	if strings.ContainsFunc(r.Amount, func(digit rune) bool { return digit < '0' || digit > '9' }) {
		return paramError("PaymentRequirements.Amount", r.Amount, "want a whole number of atomic units, such as 1000000")
	}
	return nil
}

func (p *X402AuthorizeParams) body() *api.X402AuthorizeRequest {
	r := &p.Requirements
	return &api.X402AuthorizeRequest{
		MaxAmountUSD: p.MaxAmountUSD,
		Category:     optional(p.Category),
		PaymentRequirements: api.X402PaymentRequirements{
			Scheme:   r.Scheme,
			Network:  r.Network,
			Amount:   r.Amount,
			Asset:    r.Asset,
			PayTo:    r.PayTo,
			Resource: optional(r.Resource),
		},
	}
}

// checkAuthorization wants an id with an authorisation, and none with a decline.
func checkAuthorization(body *api.X402Authorization) error {
	switch id := deref(body.AuthorizationID); {
	case body.Authorized && id == "":
		return fmt.Errorf("%w: %q", errIncomplete, "authorization_id")
	case body.Authorized && deref(body.Reason) != "":
		return errors.New("authorised, although there is a reason for a decline")
	case !body.Authorized && id != "":
		return errors.New("declined, although there is an id of an authorisation")
	}
	return nil
}

// Report reports which transaction has settled an authorisation, once. Another report of the same
// authorisation, or of a hash that settled another one, is an [*APIError] that matches [ErrConflict]; an unknown
// authorisation matches [ErrNotFound].
//
// A report whose answer is lost is sent again after a pause, never beside the first: that it was reported already is
// then the answer that was lost. What stays unclear is an [*OutcomeUnknownError]; it is safe to report again.
func (x *X402Client) Report(ctx context.Context, p X402ReportParams) (_ *X402Report, err error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	if ctx == nil {
		return nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	key, began := lockKey{x.client.service, reportLock, canonicalID(p.AuthorizationID)}, time.Now()
	held, err := x.client.lock(ctx, operation.X402Report, key, 0)
	if err != nil {
		return nil, err
	}
	defer func() { x.client.unlock(held, key, began, err) }()
	for n, mayBeRecorded := 0, false; ; n++ {
		report, unclear, err := x.sendReport(ctx, p)
		switch {
		case err == nil:
			return report, nil
		case mayBeRecorded && errors.Is(err, ErrConflict) && isAlreadyReported(err):
			return &X402Report{TransactionID: p.AuthorizationID}, nil // the service gives the two one id
		case !unclear:
			return nil, err
		}
		mayBeRecorded = true
		fullPause, pauseErr := pauseWithinHalf(ctx, n, 0)
		if pauseErr != nil || !fullPause || n >= x.client.transport.maxRetries {
			return nil, &OutcomeUnknownError{Op: operation.X402Report, RequestID: p.AuthorizationID, Err: err}
		}
	}
}

func (x *X402Client) sendReport(ctx context.Context, p X402ReportParams) (report *X402Report, unclear bool, err error) {
	attempt := call{op: operation.X402Report, body: p.body()}
	body, err := fetch(ctx, x.client.transport, &attempt, reportShape, checkReport)
	if err != nil {
		return nil, attempt.unclear, err
	}
	return &X402Report{TransactionID: body.TransactionID}, false, nil
}

func (p *X402ReportParams) validate() error {
	switch {
	case p.AuthorizationID == "":
		return paramError("X402ReportParams.AuthorizationID", "", "want the id of an authorisation")
	case !txHash.MatchString(p.TxHash):
		return paramError("X402ReportParams.TxHash", p.TxHash, "want 0x and 64 hexadecimal digits, or 87 to 88 base58 characters")
	case p.ActualAmountUSD.Sign() < 0:
		return paramError("X402ReportParams.ActualAmountUSD", p.ActualAmountUSD.String(), "want an amount above zero, or zero for what was authorised")
	}
	return checkTexts([]boundedText{
		{"X402ReportParams.AuthorizationID", p.AuthorizationID, 36, true},
		{"X402ReportParams.ResourceURL", p.ResourceURL, 2000, false},
	})
}

func (p *X402ReportParams) body() *api.X402ReportRequest {
	body := &api.X402ReportRequest{
		AuthorizationID: p.AuthorizationID,
		TxHash:          p.TxHash,
		ResourceURL:     optional(p.ResourceURL),
	}
	if !p.ActualAmountUSD.IsZero() {
		body.ActualAmountUSD = &p.ActualAmountUSD
	}
	return body
}

func checkReport(body *api.X402Report) error {
	if !body.Recorded || body.TransactionID == "" {
		return errIncomplete
	}
	return nil
}

// isAlreadyReported tells the two conflicts of a report apart: this authorisation was reported, or this hash settled
// another one.
func isAlreadyReported(err error) bool {
	failure, ok := errors.AsType[*APIError](err)
	return ok && strings.Contains(failure.Detail, "already reported")
}

// Budget reads the agent's budget and the limits of its x402 payments.
func (x *X402Client) Budget(ctx context.Context) (*X402Budget, error) {
	body, err := fetch(ctx, x.client.transport, &call{op: operation.X402Budget}, x402BudgetShape, checkX402Budget)
	if err != nil {
		return nil, err
	}
	rules := &body.X402Policy
	budget := &X402Budget{
		AgentID:        body.AgentID,
		Budget:         body.Budget.Amount,
		Spent:          body.Spent.Amount,
		Remaining:      body.Remaining.Amount,
		MaxPerRequest:  rules.MaxPerRequest,
		DailyLimit:     amountOf(rules.DailyLimit),
		MonthlyLimit:   amountOf(rules.MonthlyLimit),
		DailySpent:     rules.DailySpent.Amount,
		MonthlySpent:   rules.MonthlySpent.Amount,
		AllowedDomains: listIn(rules.AllowedDomains),
		AllowedChains:  listIn(rules.AllowedChains),
	}
	for _, wallet := range body.Wallets {
		budget.Wallets = append(budget.Wallets, X402Wallet{
			Address:  wallet.Address,
			Chain:    wallet.Chain,
			Provider: deref(wallet.Provider),
		})
	}
	return budget, nil
}

func checkX402Budget(body *api.X402Budget) error {
	if body.AgentID == "" {
		return errIncomplete
	}
	return nil
}

// RegisterWallet registers the wallet that pays on a chain; Address and Chain are required, and CreatedAt is ignored. A
// chain that has a wallet is an [*APIError] that matches [ErrConflict]. Where the answer was lost, the wallets are read.
func (x *X402Client) RegisterWallet(ctx context.Context, wallet X402Wallet) (*X402Wallet, error) {
	if err := wallet.validate(); err != nil {
		return nil, err
	}
	register := call{op: operation.X402RegisterWallet, body: wallet.body()}
	body, err := fetch(ctx, x.client.transport, &register, walletShape, wallet.check)
	if err == nil {
		return walletOf(body), nil
	}
	if !register.unclear {
		return nil, err
	}
	unknown := &OutcomeUnknownError{Op: operation.X402RegisterWallet, Err: err}
	if _, pauseErr := pauseWithinHalf(ctx, 0, 0); pauseErr != nil {
		return nil, unknown
	}
	wallets, readErr := x.Wallets(ctx)
	if readErr != nil {
		unknown.Err = fmt.Errorf("%w; reading the wallets: %w", err, readErr)
		return nil, unknown
	}
	for i := range wallets {
		if strings.EqualFold(wallets[i].Chain, strings.TrimSpace(wallet.Chain)) && wallets[i].Address == strings.TrimSpace(wallet.Address) {
			return &wallets[i], nil
		}
	}
	return nil, unknown
}

func (wallet *X402Wallet) validate() error {
	return checkTexts([]boundedText{
		{"X402Wallet.Address", wallet.Address, 64, true}, {"X402Wallet.Chain", wallet.Chain, 20, true}, {"X402Wallet.Provider", wallet.Provider, 50, false},
	})
}

func (wallet *X402Wallet) body() *api.X402WalletRequest {
	return &api.X402WalletRequest{WalletAddress: wallet.Address, Chain: wallet.Chain, WalletProvider: optional(wallet.Provider)}
}

// check compares an answer with the wallet that was registered.
func (wallet *X402Wallet) check(body *api.X402Wallet) error {
	if !strings.EqualFold(body.Chain, strings.TrimSpace(wallet.Chain)) || !strings.EqualFold(body.WalletAddress, strings.TrimSpace(wallet.Address)) {
		return fmt.Errorf("it is about another wallet, %s on %s", quoted(body.WalletAddress, shortText), quoted(body.Chain, shortText))
	}
	return nil
}

// Wallets lists the agent's wallets.
func (x *X402Client) Wallets(ctx context.Context) ([]X402Wallet, error) {
	body, err := fetch[[]api.X402Wallet](ctx, x.client.transport, &call{op: operation.X402Wallets}, walletsShape, nil)
	if err != nil {
		return nil, err
	}
	wallets := make([]X402Wallet, len(*body))
	for i := range *body {
		wallets[i] = *walletOf(&(*body)[i])
	}
	return wallets, nil
}

func walletOf(w *api.X402Wallet) *X402Wallet {
	return &X402Wallet{Address: w.WalletAddress, Chain: w.Chain, Provider: deref(w.WalletProvider), CreatedAt: w.CreatedAt.Time, Active: w.IsActive}
}
