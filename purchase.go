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

// PurchaseParams describes a purchase. Amount and Category are required.
type PurchaseParams struct {
	// Amount is the price in the account's currency: above zero, at most 9,999,999, with at most two decimals, or none
	// if the currency has no minor unit.
	Amount Amount
	// Category is the kind of purchase, at most 50 characters. The service ignores case, resolves aliases, and files an
	// unknown category under "other". [Client.Categories] lists the known ones.
	Category string
	// Currency is an ISO 4217 code such as "USD". It must be the account's currency; empty means that one.
	Currency string
	// MerchantName is who is paid, at most 255 characters.
	MerchantName string
	// Description is what is bought, at most 2000 characters.
	Description string
	// AgentComment explains to the human reviewer why the agent wants the purchase, at most 2000 characters.
	AgentComment string
	// IdempotencyKey identifies this purchase: within 24 hours, the service makes no second request for the same
	// purchase under the same key, and returns the first. A different purchase under the key is a [*MismatchError]. The
	// key is printable ASCII, at most 255 characters, without leading or trailing spaces. If it is empty, the key is
	// derived from the context's scope, see [WithPurchaseScope], or is random without a scope. A random key makes only
	// the retries of one call safe.
	IdempotencyKey string
	// Ref identifies this purchase within the scope of the context, in place of its content: calls with the same Ref
	// are one purchase, and calls with different Refs are different purchases, even with identical content. At most 255
	// characters. It is not sent. Without a scope, or with an IdempotencyKey, it is a [*ParamError].
	Ref string `json:",omitempty"`
}

func (p *PurchaseParams) validate() error {
	if err := checkAmount("PurchaseParams.Amount", p.Amount); err != nil {
		return err
	}
	if trimText(p.Category) == "" {
		reason := "want a category, such as groceries; Client.Categories lists the account's"
		return paramError("PurchaseParams.Category", p.Category, reason)
	}
	if p.Currency != "" && !isCurrency(p.Currency) {
		reason := "want a three-letter ISO 4217 code such as USD, or nothing for the account's"
		return paramError("PurchaseParams.Currency", p.Currency, reason)
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

// body returns the body of the request.
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

// PolicyCheck is the result of the policy engine, with all its checks.
type PolicyCheck struct {
	Passed bool
	Checks []Check
}

// Failed returns the checks that failed.
func (check PolicyCheck) Failed() []Check {
	var failed []Check
	for _, item := range check.Checks {
		if item.Result == policy.Fail {
			failed = append(failed, item)
		}
	}
	return failed
}

// Purchase is the service's response to a purchase request.
type Purchase struct {
	RequestID        string
	Status           Status
	Amount           Amount // as requested
	Currency         string
	Category         string // as resolved by the service
	OriginalCategory string // as requested, if that was an alias or unknown; otherwise empty
	MerchantName     string // as requested
	Description      string // as requested
	PolicyCheck      PolicyCheck
	AutoApproved     bool
	BudgetRemaining  *Amount   // the budget left; nil unless auto-approved
	ExpiresAt        time.Time // when the pending request expires; zero unless pending
	IdempotencyKey   string    // the key that the purchase was sent under

	// Duplicates are the ids of further requests that the attempts at this purchase seem to have made, because the
	// service was still working on one attempt when the next arrived. Usually empty.
	//
	// A duplicate may be an identical purchase of another process, which may be paying for it; see [DuplicateError]. If
	// it is not, refund it once it is approved, with [Client.Confirm] and a zero [ConfirmParams]. Nothing in this
	// process runs under it.
	Duplicates []string

	posting *posting // set if an attempt without a response may have made a request
}

// Purchase requests approval of a purchase. It does not move money: pay once Status.Approved reports true, then call
// [Client.Confirm]. [Guard] does all of this.
//
// A rejection is a result, not an error: see Status, and PolicyCheck.Failed for the reasons.
//
// An attempt whose response is lost is retried under the same idempotency key; see [WithMaxRetries]. If the outcome is
// still unclear then, the error is an [*OutcomeUnknownError]: retry the purchase under the key in it. The service
// answers a known key with its first response. So under a key of the caller or of a scope, Purchase also reads the
// request, and Status is the current one. The error is a [*MismatchError] if the key belongs to another purchase, and
// an [*AlreadyHandledError] if a guarded call of this process has requested it. It is a [*ParamError] if nothing was
// sent, and an [*APIError] if the service refused.
func (c *Client) Purchase(ctx context.Context, p PurchaseParams) (purchase *Purchase, err error) {
	if err := checkContext(ctx); err != nil {
		return nil, err
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
		reason := scoped.nextKeyReason(err)
		if purchase != nil {
			scoped.answered(purchase.Category, purchase.OriginalCategory)
		}
		if reason == nil {
			if err = withoutNextKey(err); err != nil {
				return nil, err
			}
			return purchase, nil
		}
		if err := scoped.next(ctx, &p, reason.ended); err != nil {
			return nil, err
		}
	}
}

// purchaseByHand makes a purchase whose caller pays without a guarded call, so no guarded call may use the approval.
// reusable reports that an earlier call may have used the key.
func (c *Client) purchaseByHand(ctx context.Context, p *PurchaseParams, reusable bool) (*Purchase, error) {
	purchase, err := c.post(ctx, p, postParams{freshKey: !reusable, answered: func(purchase *Purchase) {
		c.process.rememberByHand(c.requestKey(purchase.RequestID))
	}})
	if err == nil && reusable && purchase.Status != StatusRejected {
		if err = c.refresh(ctx, p, purchase); err == nil {
			err = c.checkNotGuarded(p, purchase)
		}
	}
	if _, moved := errors.AsType[*nextKeyError](err); err != nil && !moved {
		return nil, err
	}
	return purchase, err
}

// checkNotGuarded returns an error if a guarded call of this process has requested the purchase: that call pays.
func (c *Client) checkNotGuarded(p *PurchaseParams, purchase *Purchase) error {
	known := c.progress(purchase.RequestID)
	if known != requestedHere && known != startedHere {
		return nil
	}
	return &AlreadyHandledError{
		Request: &Request{
			RequestID: purchase.RequestID,
			Status:    purchase.Status,
			Amount:    p.Amount,
			Currency:  purchase.Currency,
			Category:  purchase.Category,
		},
		IdempotencyKey: p.IdempotencyKey,
		MayHaveRun:     known == startedHere,
		Reason:         reasonGuarded,
	}
}

// refresh reads the request of a response that may repeat an earlier one, checks that it matches p, and updates the
// purchase to its current state.
func (c *Client) refresh(ctx context.Context, p *PurchaseParams, purchase *Purchase) error {
	read, err := c.findInList(ctx, purchase.RequestID, "")
	if err == nil && read == nil {
		read, err = c.Request(ctx, purchase.RequestID)
	}
	if err != nil {
		return &OutcomeUnknownError{
			Op:             operation.Purchase,
			IdempotencyKey: p.IdempotencyKey,
			RequestID:      purchase.RequestID,
			Err:            err,
		}
	}
	if err := c.checkSamePurchase(ctx, p, read, purchase.OriginalCategory); err != nil {
		return err
	}
	purchase.Status, purchase.AutoApproved = read.Status, read.Status == StatusAutoApproved
	if !purchase.AutoApproved {
		purchase.BudgetRemaining = nil
	}
	if read.Status != StatusPending {
		purchase.ExpiresAt = time.Time{}
	}
	if read.Status == StatusFailed || read.Status == StatusExpired {
		return &nextKeyError{ended: true}
	}
	return nil
}

// checkSamePurchase returns an error if a request is for another purchase than p. requestedAs are the names that its
// category was requested under, if known.
func (c *Client) checkSamePurchase(ctx context.Context, p *PurchaseParams, read *Request, requestedAs ...string) error {
	described, requested := contentOf(p), contentOfRequest(read)
	if read.Currency == "" { // a read by id returns neither merchant nor description
		requested.merchant, requested.description = described.merchant, described.description
	}
	if err := described.mismatch(read.RequestID, requested); err != nil {
		return err
	}
	return c.sameCategory(ctx, read.RequestID, read.Category, p.Category, requestedAs...)
}

// newPurchase returns the purchase of a response, or an error if the response is incomplete or contradicts itself.
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
		checks = append(checks, Check{
			Rule:   check.Rule,
			Result: policy.Result(check.Result),
			Detail: cleaned(check.Detail, longText),
		})
	}
	return checks
}

// checkConsistent returns an error if the response contradicts itself. It accepts unknown states, and states in which
// nothing can be spent any more.
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
	case purchase.AutoApproved != automatic &&
		(purchase.Status.Approved() || purchase.Status == StatusPending || purchase.Status == StatusRejected):
		return fmt.Errorf("%s, although auto_approved is %t", purchase.Status, purchase.AutoApproved)
	}
	return nil
}

// checkAgainst returns an error if the response has another currency or category than requested. A rejection need not
// match: nothing runs, and beyond a velocity limit the service returns the first rejection of the minute again.
func (purchase *Purchase) checkAgainst(requested *PurchaseParams, status int) error {
	expected, contradiction := contentOf(requested), ""
	switch {
	case purchase.Status == StatusRejected:
		return nil
	case expected.currency != "" && expected.currency != strings.ToUpper(purchase.Currency):
		contradiction = "it is in another currency"
	case expected.category != normalCategory(purchase.Category) &&
		expected.category != normalCategory(purchase.OriginalCategory):
		contradiction = "it is in another category"
	default:
		return nil
	}
	return &APIError{
		Op:             operation.Purchase,
		IdempotencyKey: purchase.IdempotencyKey,
		StatusCode:     status,
		malformed:      true,
		Err:            errors.New("the response contradicts the request: " + contradiction),
	}
}

// content returns what was requested, with currency and category as resolved by the service.
func (purchase *Purchase) content(requested *PurchaseParams) content {
	resolved := contentOf(requested)
	resolved.currency, resolved.category = purchase.Currency, normalCategory(purchase.Category)
	return resolved
}
