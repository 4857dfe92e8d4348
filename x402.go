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

// X402Client authorises and reports payments for paid HTTP APIs under the x402 protocol (https://www.x402.org). It
// neither signs nor sends payments; the holder of the wallet does. Use it as [Client.X402]; the zero value is not
// usable. It is safe for concurrent use.
type X402Client struct {
	client *Client
}

// PaymentRequirements is what a paid API requires, as stated in its 402 response.
type PaymentRequirements struct {
	Scheme   string // "exact"; at most 20 characters. Required.
	Network  string // CAIP-2, such as "eip155:8453"; at most 30 characters. Required.
	Amount   string // in atomic units of the asset, such as "1000000"; at most 50 digits. Required.
	Asset    string // its name, such as "USDC", or its contract; at most 100 characters. Required.
	PayTo    string // the address to be paid; at most 64 characters. Required.
	Resource string // the URL to pay for; at most 2000 characters
}

// X402AuthorizeParams describes a payment to authorise.
type X402AuthorizeParams struct {
	Requirements PaymentRequirements
	MaxAmountUSD Amount // the most that the payment may cost in US dollars, above zero and at most 10,000. Required.
	Category     string // at most 50 characters; empty means "api"
}

// X402Authorization is the service's response to an authorisation request. An authorised amount counts as spent at
// once, and is not returned when the authorisation expires.
type X402Authorization struct {
	Authorized             bool
	AuthorizationID        string
	Reason                 string    // of a decline, such as "CHAIN_NOT_ALLOWED" or "BUDGET_EXCEEDED"
	ExpiresAt              time.Time // when the authorisation expires
	RemainingDailyBudget   *Amount   // nil without a daily limit
	RemainingMonthlyBudget *Amount   // nil without a monthly limit
}

// X402ReportParams reports the transaction that settled an authorisation.
type X402ReportParams struct {
	AuthorizationID string // at most 36 characters. Required.
	TxHash          string // 0x and 64 hexadecimal digits, or 87 to 88 base58 characters. Required.
	ActualAmountUSD Amount // what was really paid; zero means as authorised
	ResourceURL     string // at most 2000 characters
}

// X402Report is the service's response to a report.
type X402Report struct {
	TransactionID string
}

// X402Budget is the agent's budget and the limits of its x402 payments.
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

// X402Wallet is a wallet that pays on one chain.
type X402Wallet struct {
	Address   string // in the notation of the chain
	Chain     string // "base", "base-sepolia", "ethereum" or "solana"
	Provider  string // the maker of the wallet; empty if not known
	CreatedAt time.Time
	Active    bool // whether it may pay; set by Wallets and RegisterWallet
}

var (
	maxX402Amount = MustAmount("10000")
	txHash        = regexp.MustCompile(`^(0x[0-9a-fA-F]{64}|[1-9A-HJ-NP-Za-km-z]{87,88})$`)
)

// Authorize requests the authorisation of a payment. A decline is a result, not an error: see Authorized and Reason.
//
// After an [*OutcomeUnknownError], pay nothing: the authorisation may have been declined, or made and its amount spent.
// Authorize does not retry after an unclear attempt, because the API has no idempotency key for authorisations: another
// call requests a second one.
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
		reason := "want an amount above zero and at most " + maxX402Amount.String()
		return paramError("X402AuthorizeParams.MaxAmountUSD", p.MaxAmountUSD.String(), reason)
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
		reason := "want a whole number of atomic units, such as 1000000"
		return paramError("PaymentRequirements.Amount", r.Amount, reason)
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

// checkAuthorization returns an error for an authorisation without an id, or a decline with one.
func checkAuthorization(body *api.X402Authorization) error {
	switch id := deref(body.AuthorizationID); {
	case body.Authorized && id == "":
		return fmt.Errorf("%w: %q", errIncomplete, "authorization_id")
	case body.Authorized && deref(body.Reason) != "":
		return errors.New("authorised, although it has a reason for a decline")
	case !body.Authorized && id != "":
		return errors.New("declined, although it has the id of an authorisation")
	}
	return nil
}

// Report reports the transaction that settled an authorisation, once. Another report of the same authorisation, or of a
// hash that settled another one, is an [*APIError] that matches [ErrConflict]. An unknown authorisation matches
// [ErrNotFound].
//
// A report whose response is lost is retried after a pause, never concurrently with the first attempt. If the service
// then returns that it was already reported, the first attempt has succeeded, and so does Report. If the outcome is
// still unclear after all retries, the error is an [*OutcomeUnknownError]; it is safe to report again.
func (x *X402Client) Report(ctx context.Context, p X402ReportParams) (_ *X402Report, err error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	if err := checkContext(ctx); err != nil {
		return nil, err
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
			return &X402Report{TransactionID: p.AuthorizationID}, nil // the service uses one id for both
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
		reason := "want 0x and 64 hexadecimal digits, or 87 to 88 base58 characters"
		return paramError("X402ReportParams.TxHash", p.TxHash, reason)
	case p.ActualAmountUSD.Sign() < 0:
		reason := "want an amount above zero, or zero for the amount authorised"
		return paramError("X402ReportParams.ActualAmountUSD", p.ActualAmountUSD.String(), reason)
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

// isAlreadyReported reports whether a conflict says that this authorisation was reported before, and not that the hash
// settled another one.
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
		AllowedDomains: derefList(rules.AllowedDomains),
		AllowedChains:  derefList(rules.AllowedChains),
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

// RegisterWallet registers a wallet to pay on a chain. Address and Chain are required, Provider is optional, and the
// other fields are ignored. If the chain has a wallet already, the error is an [*APIError] that matches [ErrConflict].
// If the response is lost, RegisterWallet reads the wallets. If they do not show the wallet, the error is an
// [*OutcomeUnknownError].
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
		if strings.EqualFold(wallets[i].Chain, strings.TrimSpace(wallet.Chain)) &&
			wallets[i].Address == strings.TrimSpace(wallet.Address) {
			return &wallets[i], nil
		}
	}
	return nil, unknown
}

func (wallet *X402Wallet) validate() error {
	return checkTexts([]boundedText{
		{"X402Wallet.Address", wallet.Address, 64, true},
		{"X402Wallet.Chain", wallet.Chain, 20, true},
		{"X402Wallet.Provider", wallet.Provider, 50, false},
	})
}

func (wallet *X402Wallet) body() *api.X402WalletRequest {
	return &api.X402WalletRequest{
		WalletAddress:  wallet.Address,
		Chain:          wallet.Chain,
		WalletProvider: optional(wallet.Provider),
	}
}

// check returns an error if a response is about another wallet than the one registered.
func (wallet *X402Wallet) check(body *api.X402Wallet) error {
	if !strings.EqualFold(body.Chain, strings.TrimSpace(wallet.Chain)) ||
		!strings.EqualFold(body.WalletAddress, strings.TrimSpace(wallet.Address)) {
		return fmt.Errorf("it is about another wallet, %s on %s",
			quoted(body.WalletAddress, shortText), quoted(body.Chain, shortText))
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
	return &X402Wallet{
		Address:   w.WalletAddress,
		Chain:     w.Chain,
		Provider:  deref(w.WalletProvider),
		CreatedAt: w.CreatedAt.Time,
		Active:    w.IsActive,
	}
}
