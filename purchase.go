package letagentpay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/operation"
	"github.com/letagentpay/letagentpay-go/policy"
)

// PurchaseParams says what is to be bought.
type PurchaseParams struct {
	// Amount is the price, in the account's currency: positive, at most 9,999,999, with at most two decimals. Required.
	Amount Amount
	// Category says what kind of purchase it is, at most 50 characters. The service ignores case, knows aliases, and
	// files what it does not know under "other"; [Client.Categories] lists what it knows. Required.
	Category string
	// Currency is an ISO 4217 code such as "USD"; when given it must be the account's.
	Currency string
	// MerchantName is who is paid, at most 255 characters.
	MerchantName string
	// Description is what is bought, at most 2000 characters.
	Description string
	// AgentComment explains to the human who reviews the purchase why the agent wants it, at most 2000 characters.
	AgentComment string
	// IdempotencyKey names this purchase, so that the same purchase under the same key within 24 hours is not made again
	// but answered with the first: printable ASCII, at most 255 characters, no spaces around. Another purchase under the
	// key is a [*MismatchError]. Empty: a key of the context's scope, see [WithPurchaseScope], else a random one, which
	// makes the retries of one call safe.
	IdempotencyKey string
	// Ref names this purchase within the scope of the context, in place of its content: a repetition under the same Ref is
	// the same purchase, and two Refs are two purchases even if they are identical. At most 255 characters. It is not
	// sent. Without a scope, or with an IdempotencyKey, it is a [*ParamError].
	Ref string `json:",omitempty"`
}

func (p *PurchaseParams) validate() error {
	if err := checkAmount("PurchaseParams.Amount", p.Amount); err != nil {
		return err
	}
	if trimText(p.Category) == "" {
		return paramError("PurchaseParams.Category", p.Category, "want a category, such as groceries; Client.Categories lists the account's")
	}
	if p.Currency != "" && !isCurrency(p.Currency) {
		return paramError("PurchaseParams.Currency", p.Currency, "want a three-letter ISO 4217 code such as USD, or nothing for the account's")
	}
	if err := checkTexts([]boundedText{
		{"PurchaseParams.Category", p.Category, 50, true},
		{"PurchaseParams.MerchantName", p.MerchantName, 255, false},
		{"PurchaseParams.Description", p.Description, 2000, false},
		{"PurchaseParams.AgentComment", p.AgentComment, 2000, false},
		{"PurchaseParams.Ref", p.Ref, 255, false},
	}); err != nil {
		return err
	}
	if strings.ContainsFunc(trimText(p.Category), unicode.IsControl) {
		return paramError("PurchaseParams.Category", p.Category, "want a category without control characters")
	}
	if code := strings.ToUpper(p.Currency); slices.Contains(zeroDecimalCurrencies, code) && p.Amount.Decimals() > 0 {
		return paramError("PurchaseParams.Amount", p.Amount.String(), "want a whole number: "+code+" has no decimals")
	}
	return checkIdempotencyKey("PurchaseParams.IdempotencyKey", p.IdempotencyKey)
}

// body returns what is sent.
func (p *PurchaseParams) body() *api.PurchaseRequest {
	currency := strings.ToUpper(p.Currency)
	return &api.PurchaseRequest{
		Amount:       p.Amount,
		Category:     p.Category,
		Currency:     optional(currency),
		MerchantName: optional(p.MerchantName),
		Description:  optional(p.Description),
		AgentComment: optional(p.AgentComment),
	}
}

// Check is the outcome of one policy check; see [policy.Check].
type Check = policy.Check

// PolicyCheck is what the policy engine found, check by check.
type PolicyCheck struct {
	Passed bool
	Checks []Check
}

// Failed returns the checks that failed.
func (check PolicyCheck) Failed() []Check {
	var failed []Check
	for _, check := range check.Checks {
		if check.Result == policy.Fail {
			failed = append(failed, check)
		}
	}
	return failed
}

// Purchase is the service's answer to a purchase request.
type Purchase struct {
	RequestID        string
	Status           Status
	Amount           Amount // as requested
	Currency         string
	Category         string // as the service resolved it
	OriginalCategory string // what was sent, when that was an alias or unknown
	MerchantName     string // as requested
	Description      string // as requested
	PolicyCheck      PolicyCheck
	AutoApproved     bool
	BudgetRemaining  *Amount   // what is left of the budget; nil unless auto-approved
	ExpiresAt        time.Time // when a pending request expires; zero unless pending
	IdempotencyKey   string    // the key it was sent under

	// Duplicates are the ids of further requests of this purchase that its attempts seem to have made, because the
	// service was still at work on one when the next arrived. Nothing of this process runs under them. Give their money
	// back with [Client.Confirm] and a zero [ConfirmParams] once they are approved, and not another process's; see
	// [DuplicateError]. Usually empty.
	Duplicates []string

	posting *posting // set when an attempt may have made a request without an answer
}

// Purchase asks for the approval of a purchase. A rejection is an answer, not an error: look at Status, and at
// PolicyCheck.Failed for the reasons. The money is not moved by this call; spend it once Status.Approved, then call
// [Client.Confirm]. [Guard] does all of it.
//
// An attempt whose answer is lost is repeated under the same idempotency key, as described at [WithMaxRetries], and what
// stays unclear is an [*OutcomeUnknownError] with the key to repeat the purchase with. Under a key of the caller's or of
// a scope, the service repeats the first answer; the request is then read, so that Status is what it is now, and another
// purchase than the first is a [*MismatchError]. One that a guarded call of this process has asked for is an
// [*AlreadyHandledError]. Other errors: [*ParamError] when nothing was sent, [*APIError] when the service refused.
func (c *Client) Purchase(ctx context.Context, p PurchaseParams) (purchase *Purchase, err error) {
	if ctx == nil {
		return nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	if err := p.validate(); err != nil {
		return nil, err
	}
	scoped, err := c.scoped(ctx, &p)
	if err != nil {
		return nil, err
	}
	defer func() { scoped.done(purchase != nil && purchase.Status.Approved(), false) }()
	if p.IdempotencyKey == "" {
		p.IdempotencyKey = rand.Text()
		return c.purchaseByHand(ctx, &p, false)
	}
	for {
		purchase, err = c.purchaseByHand(ctx, &p, true)
		reason := scoped.movesOn(err)
		if purchase != nil {
			scoped.answered(purchase.Category, purchase.OriginalCategory)
		}
		if reason == nil {
			if err = plainly(err); err != nil {
				return nil, err
			}
			return purchase, nil
		}
		if err := scoped.next(ctx, &p, reason.ended); err != nil {
			return nil, err
		}
	}
}

// purchaseByHand makes a purchase whose caller spends by itself, so that no guarded call takes its approval. reusable
// says that the key may have been used before.
func (c *Client) purchaseByHand(ctx context.Context, p *PurchaseParams, reusable bool) (*Purchase, error) {
	purchase, err := c.post(ctx, p, baseline{}, !reusable, 0, func(purchase *Purchase) {
		c.process.rememberByHand(c.requestKey(purchase.RequestID))
	})
	if err == nil && reusable && purchase.Status != StatusRejected {
		if err = c.refresh(ctx, p, purchase); err == nil {
			err = c.checkNotGuarded(p, purchase)
		}
	}
	if _, moved := errors.AsType[*errMovesOn](err); err != nil && !moved {
		return nil, err
	}
	return purchase, err
}

// checkNotGuarded refuses a request that a guarded call of this process has asked for: that one spends.
func (c *Client) checkNotGuarded(p *PurchaseParams, purchase *Purchase) error {
	known := c.progress(purchase.RequestID)
	if known != askedFor && known != startedHere {
		return nil
	}
	request := &Request{RequestID: purchase.RequestID, Status: purchase.Status, Amount: p.Amount, Currency: purchase.Currency, Category: purchase.Category}
	return &AlreadyHandledError{
		Request:        request,
		IdempotencyKey: p.IdempotencyKey,
		MayHaveRun:     known == startedHere,
		Reason:         reasonGuarded,
	}
}

// refresh brings an answer that may be an old one repeated up to date, and compares it with what was asked.
func (c *Client) refresh(ctx context.Context, p *PurchaseParams, purchase *Purchase) error {
	read, err := c.findInList(ctx, purchase.RequestID, "")
	if err == nil && read == nil {
		read, err = c.Request(ctx, purchase.RequestID)
	}
	if err != nil {
		return &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: p.IdempotencyKey, RequestID: purchase.RequestID, Err: err}
	}
	if err := c.checkMatch(ctx, p, read, purchase.OriginalCategory); err != nil {
		return err
	}
	purchase.Status, purchase.AutoApproved = read.Status, read.Status == StatusAutoApproved
	if read.Status != StatusPending {
		purchase.ExpiresAt = time.Time{}
	}
	if read.Status == StatusFailed || read.Status == StatusExpired {
		return &errMovesOn{ended: true}
	}
	return nil
}

// checkMatch holds a request as it was read against what the call describes.
func (c *Client) checkMatch(ctx context.Context, p *PurchaseParams, read *Request, requestedAs ...string) error {
	described, requested := contentOf(p), contentOfRequest(read)
	if read.Currency == "" { // a read by id tells neither
		requested.merchant, requested.description = described.merchant, described.description
	}
	if err := described.mismatch(read.RequestID, requested); err != nil {
		return err
	}
	return c.sameCategory(ctx, read.RequestID, read.Category, p.Category, requestedAs...)
}

// newPurchase returns what the answer to a purchase reports, which must not contradict itself.
func newPurchase(body *api.PurchaseResult, requested *PurchaseParams) (*Purchase, error) {
	if body.RequestID == "" || body.Status == "" || body.Currency == "" || body.Category == "" {
		return nil, errIncomplete
	}
	if err := checkAnsweredID(body.RequestID); err != nil {
		return nil, err
	}
	purchase := &Purchase{
		RequestID:        canonicalID(body.RequestID),
		Status:           Status(body.Status),
		Amount:           requested.Amount,
		Currency:         body.Currency,
		Category:         body.Category,
		OriginalCategory: deref(body.OriginalCategory),
		MerchantName:     requested.MerchantName,
		Description:      requested.Description,
		PolicyCheck:      PolicyCheck{Passed: body.PolicyCheck.Passed, Checks: checksOf(body.PolicyCheck.Checks)},
		AutoApproved:     body.AutoApproved,
		BudgetRemaining:  amountOf(body.BudgetRemaining),
		ExpiresAt:        timeOf(body.ExpiresAt),
		IdempotencyKey:   requested.IdempotencyKey,
	}
	if err := purchase.checkConsistent(); err != nil {
		return nil, err
	}
	return purchase, nil
}

func checksOf(items []api.Check) []Check {
	checks := slices.Grow([]Check(nil), len(items))
	for _, check := range items {
		checks = append(checks, Check{Rule: check.Rule, Result: policy.Result(check.Result), Detail: cleaned(check.Detail, longText)})
	}
	return checks
}

// checkConsistent reports where the answer contradicts itself. States that the service may learn, and those in which nothing
// can be spent any more, are taken as they are.
func (purchase *Purchase) checkConsistent() error {
	failed := slices.ContainsFunc(purchase.PolicyCheck.Checks, func(check Check) bool {
		return strings.EqualFold(string(check.Result), string(policy.Fail))
	})
	automatic := purchase.Status == StatusAutoApproved
	switch {
	case purchase.Status.Approved() && !purchase.PolicyCheck.Passed:
		return errors.New("approved, although the policy check did not pass")
	case purchase.Status.Approved() && failed:
		return errors.New("approved, although a check failed")
	case purchase.Status == StatusPending && failed && purchase.PolicyCheck.Passed:
		return errors.New("the policy check passed, although a check failed")
	case purchase.AutoApproved != automatic && (purchase.Status.Approved() || purchase.Status == StatusPending || purchase.Status == StatusRejected):
		return fmt.Errorf("%s, although auto_approved is %t", purchase.Status, purchase.AutoApproved)
	}
	return nil
}

// checkAgainst compares an answer with the question. A rejection need not agree: nothing runs, and beyond a velocity limit the
// service repeats the first one of the minute.
func (purchase *Purchase) checkAgainst(requested *PurchaseParams, status int) error {
	expected, contradiction := contentOf(requested), ""
	switch {
	case purchase.Status == StatusRejected:
		return nil
	case expected.currency != "" && expected.currency != strings.ToUpper(purchase.Currency):
		contradiction = "it is in another currency"
	case expected.category != normalCategory(purchase.Category) && expected.category != normalCategory(purchase.OriginalCategory):
		contradiction = "it is in another category"
	default:
		return nil
	}
	return &APIError{
		Op: operation.Purchase, IdempotencyKey: purchase.IdempotencyKey, StatusCode: status, malformed: true,
		Err: errors.New("the answer contradicts the question: " + contradiction),
	}
}

// content is what was asked for, as the answer resolved it.
func (purchase *Purchase) content(requested *PurchaseParams) content {
	resolved := contentOf(requested)
	resolved.currency, resolved.category = purchase.Currency, normalCategory(purchase.Category)
	return resolved
}
