package letagentpay

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/policy"
)

// Status is the state of a purchase request. The service may learn new ones: a value that is none of the constants is
// neither approved, nor decided, nor final.
type Status string

// The states of a purchase request: pending until a human approves or rejects it or its time is over, unless the
// policy approves or rejects it at once; completed or failed after its confirmation.
const (
	StatusPending      Status = "pending"
	StatusAutoApproved Status = "auto_approved"
	StatusApproved     Status = "approved"
	StatusRejected     Status = "rejected"
	StatusExpired      Status = "expired"
	StatusCompleted    Status = "completed"
	StatusFailed       Status = "failed"
)

// Approved reports whether the money may be spent now: approved by the policy or by a human, and not yet confirmed.
func (s Status) Approved() bool { return s == StatusApproved || s == StatusAutoApproved }

// Decided reports whether the request is no longer pending, and known.
func (s Status) Decided() bool { return s.Approved() || s.Final() }

// Final reports whether nothing can follow: rejected, expired, completed or failed.
func (s Status) Final() bool {
	return s == StatusRejected || s == StatusExpired || s == StatusCompleted || s == StatusFailed
}

// Check is the outcome of one policy check; see [policy.Check].
type Check = policy.Check

// PolicyCheck is what the policy engine found, check by check.
type PolicyCheck struct {
	Passed bool
	Checks []Check
}

// Failed returns the checks that failed.
func (p PolicyCheck) Failed() []Check {
	var failed []Check
	for _, check := range p.Checks {
		if check.Result == policy.Fail {
			failed = append(failed, check)
		}
	}
	return failed
}

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

// Purchase is the service's answer to a purchase request.
type Purchase struct {
	RequestID        string
	Status           Status
	Currency         string
	Category         string // as the service resolved it
	OriginalCategory string // what was sent, when that was an alias or unknown
	PolicyCheck      PolicyCheck
	AutoApproved     bool
	BudgetRemaining  Amount    // what is left of the budget; known only when auto-approved
	ExpiresAt        time.Time // when a pending request expires; zero unless pending
	IdempotencyKey   string    // the key it was sent under

	// Duplicates are the ids of further requests of this purchase that its attempts seem to have made, because the
	// service was still at work on one when the next arrived. Nothing of this process runs under them. Give their money
	// back with [Client.Confirm] and a zero [ConfirmParams] once they are approved, and not another process's; see
	// [DuplicateError]. Usually empty.
	Duplicates []string

	posting *posting // set when an attempt may have made a request without an answer
}

// ConfirmParams says how an approved purchase ended.
type ConfirmParams struct {
	// Success: the money was spent. Otherwise the purchase failed and its whole amount returns to the budget.
	Success bool
	// ActualAmount is what was really paid, at most 9,999,999, with at most two decimals; zero: as requested. It may be
	// more or less than the amount requested, and must be zero when Success is false.
	ActualAmount Amount
	// ReceiptURL points to the receipt, at most 2000 characters.
	ReceiptURL string
}

// Confirmation is the service's answer to a confirmation.
type Confirmation struct {
	RequestID string
	Status    Status // completed or failed
	// ActualAmount is what was confirmed as paid. It is zero for the amount requested, and where it is not known because
	// the service's answer was lost and the request was read instead: a read has the state alone.
	ActualAmount Amount
}

// Request is a purchase request as it stands. What a read does not return is zero: [Client.Request] returns
// neither Currency, Merchant, Description nor ExpiresAt, [Client.Requests] returns all.
type Request struct {
	RequestID   string
	Status      Status
	Amount      Amount
	Currency    string
	Category    string
	Merchant    string
	Description string
	CreatedAt   time.Time
	ReviewedAt  time.Time // when it was approved or rejected; zero before
	ExpiresAt   time.Time
}

// ListParams selects requests; see [Client.Requests]. The zero value selects all.
type ListParams struct {
	Status   Status // only requests in this state; empty: all
	PageSize int    // how many to ask the service for at a time, 1 to 100; 0 means 100
}

var leastAmount, maxAmount = MustAmount("0.01"), MustAmount("9999999")

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

// purchaseByHand makes a purchase whose caller spends by itself, so that no guarded call takes its approval. repeated
// says that the key may have been used before.
func (c *Client) purchaseByHand(ctx context.Context, p *PurchaseParams, repeated bool) (*Purchase, error) {
	purchase, err := c.post(ctx, p, baseline{}, !repeated, 0, func(purchase *Purchase) {
		c.process.askByHand(c.requestKey(purchase.RequestID))
	})
	if err == nil && repeated && purchase.Status != StatusRejected {
		if err = c.refresh(ctx, p, purchase); err == nil {
			err = c.guardedHere(p, purchase)
		}
	}
	if _, moved := errors.AsType[*errMovesOn](err); err != nil && !moved {
		return nil, err
	}
	return purchase, err
}

// guardedHere refuses a request that a guarded call of this process has asked for: that one spends.
func (c *Client) guardedHere(p *PurchaseParams, purchase *Purchase) error {
	standing := c.standing(purchase.RequestID)
	if standing != askedFor && standing != startedHere {
		return nil
	}
	request := &Request{RequestID: purchase.RequestID, Status: purchase.Status, Amount: p.Amount, Currency: purchase.Currency, Category: purchase.Category}
	return &AlreadyHandledError{
		Request: request, IdempotencyKey: p.IdempotencyKey, MayHaveRun: standing == startedHere,
		Err: errors.New("a guarded call of this process has asked for it"),
	}
}

// refresh brings an answer that may be an old one repeated up to date, and compares it with what was asked.
func (c *Client) refresh(ctx context.Context, p *PurchaseParams, purchase *Purchase) error {
	row, err := c.row(ctx, purchase.RequestID, "")
	if err == nil && row == nil {
		row, err = c.Request(ctx, purchase.RequestID)
	}
	if err != nil {
		return &OutcomeUnknownError{Op: "purchase", IdempotencyKey: p.IdempotencyKey, RequestID: purchase.RequestID, Err: err}
	}
	if err := c.compare(ctx, p, row, purchase.OriginalCategory); err != nil {
		return err
	}
	purchase.Status, purchase.AutoApproved = row.Status, row.Status == StatusAutoApproved
	if row.Status != StatusPending {
		purchase.ExpiresAt = time.Time{}
	}
	if row.Status == StatusFailed || row.Status == StatusExpired {
		return &errMovesOn{ended: true}
	}
	return nil
}

// compare holds a request as it was read against what the call describes.
func (c *Client) compare(ctx context.Context, p *PurchaseParams, read *Request, askedUnder ...string) error {
	described, requested := contentOf(p), contentOfRequest(read)
	if read.Currency == "" { // a read by id tells neither
		requested.merchant, requested.description = described.merchant, described.description
	}
	if err := described.mismatch(read.RequestID, requested); err != nil {
		return err
	}
	return c.sameCategory(ctx, read.RequestID, read.Category, p.Category, askedUnder...)
}

func contentOfRequest(r *Request) content {
	return content{r.Amount, strings.ToUpper(r.Currency), normalCategory(r.Category), trimText(r.Merchant), trimText(r.Description)}
}

// content is what was asked for, as the answer resolved it.
func (p *Purchase) content(asked *PurchaseParams) content {
	resolved := contentOf(asked)
	resolved.currency, resolved.category = p.Currency, normalCategory(p.Category)
	return resolved
}

func decodePurchase(data []byte, key string) (*Purchase, error) {
	var body api.PurchaseResult
	if err := decodeObject(data, &body, purchaseShape); err != nil {
		return nil, err
	}
	if body.RequestID == "" || body.Status == "" || body.Currency == "" || body.Category == "" {
		return nil, errIncomplete
	}
	if err := checkAnsweredID(body.RequestID); err != nil {
		return nil, err
	}
	purchase := &Purchase{
		RequestID: canonicalID(body.RequestID), Status: Status(body.Status), Currency: body.Currency, Category: body.Category,
		OriginalCategory: deref(body.OriginalCategory), AutoApproved: body.AutoApproved, IdempotencyKey: key,
		PolicyCheck: PolicyCheck{Passed: body.PolicyCheck.Passed, Checks: checksOf(body.PolicyCheck.Checks)},
	}
	if err := purchase.contradicts(); err != nil {
		return nil, err
	}
	if body.BudgetRemaining != nil {
		purchase.BudgetRemaining = body.BudgetRemaining.Amount
	}
	if body.ExpiresAt != nil {
		purchase.ExpiresAt = body.ExpiresAt.Time
	}
	return purchase, nil
}

// Request reads one purchase request. A pending one whose time is over expires by being read. An unknown id, or
// another agent's, is an [*APIError] that matches [ErrNotFound].
func (c *Client) Request(ctx context.Context, requestID string) (*Request, error) {
	return c.request(ctx, requestID, -1)
}

func (c *Client) request(ctx context.Context, id string, maxRetries int) (*Request, error) {
	requestID, err := requestIDOf(id)
	if err != nil {
		return nil, err
	}
	request, err := api.NewGetRequestRequest(placeholder, requestID)
	if err != nil {
		return nil, err
	}
	var body api.RequestDetail
	err = c.transport.do(ctx, request, &call{op: "request", maxRetries: maxRetries, decode: func(data []byte) error {
		body = api.RequestDetail{}
		if err := decodeObject(data, &body, requestShape); err != nil {
			return err
		}
		if body.RequestID == "" || body.Status == "" {
			return errIncomplete
		}
		if canonicalID(body.RequestID) != requestID {
			return errors.New("it is about another request")
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	read := &Request{RequestID: requestID, Status: Status(body.Status), Amount: body.Amount, Category: body.Category, CreatedAt: body.CreatedAt.Time}
	if body.ReviewedAt != nil {
		read.ReviewedAt = body.ReviewedAt.Time
	}
	return read, nil
}

// Requests lists the agent's requests, newest first, fetching pages as the loop goes on. An error ends the list: it is
// the second value of the last pair, and the first is nil then. Requests made meanwhile do not appear, and nothing
// appears twice; with a Status, a request that changes its state meanwhile may be missed.
//
// The sequence may be ranged over more than once, and each time starts afresh.
func (c *Client) Requests(ctx context.Context, p ListParams) iter.Seq2[*Request, error] {
	return func(yield func(*Request, error) bool) {
		if err := p.validate(); err != nil {
			yield(nil, err)
			return
		}
		size := p.PageSize
		if size == 0 {
			size = maxPageSize
		}
		seen := make(map[string]bool)
		for offset, stale := 0, 0; ; {
			page, err := c.page(ctx, p.Status, size, offset, -1)
			if err != nil {
				yield(nil, err)
				return
			}
			stale++
			for i := range page {
				if seen[page[i].RequestID] {
					continue // new requests have pushed it from the last page onto this one
				}
				seen[page[i].RequestID], stale = true, 0
				if !yield(&page[i], nil) {
					return
				}
			}
			if len(page) < size {
				return
			}
			if stale == mostStalePages {
				yield(nil, &APIError{Op: "requests", Method: http.MethodGet, StatusCode: http.StatusOK, malformed: true, Detail: "the same requests again and again, whatever the offset"})
				return
			}
			offset += len(page)
		}
	}
}

const (
	maxPageSize    = 100
	mostStalePages = 10 // pages without anything new, after which the list is taken to have no end
)

const mostRows = 1000 // how far back one request is looked for in the list

// row finds a request in the list, which returns what a read by id does not: currency, merchant and description. A nil
// row without an error was not found.
func (c *Client) row(ctx context.Context, requestID string, status Status) (*Request, error) {
	size := lookPage // it is mostly one of the newest
	for offset := 0; offset < mostRows; size = maxPageSize {
		page, err := c.page(ctx, status, size, offset, -1)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if page[i].RequestID == requestID {
				return &page[i], nil
			}
		}
		if len(page) < size {
			break
		}
		offset += len(page)
	}
	return nil, nil
}

func (c *Client) page(ctx context.Context, status Status, limit, offset, maxRetries int) ([]Request, error) {
	return c.datedPage(ctx, status, limit, offset, maxRetries, nil)
}

// datedPage reads one page of the list, and what the service's clock showed. The answer's total counts that page alone,
// so nobody looks at it.
func (c *Client) datedPage(ctx context.Context, status Status, limit, offset, maxRetries int, date *time.Time) ([]Request, error) {
	params := api.ListRequestsParams{Limit: &limit, Offset: &offset}
	if status != "" {
		params.Status = (*string)(&status)
	}
	request, err := api.NewListRequestsRequest(placeholder, &params)
	if err != nil {
		return nil, err
	}
	var body api.RequestList
	list := call{op: "requests", maxRetries: maxRetries, dated: date != nil, decode: func(data []byte) error {
		body = api.RequestList{}
		if err := decodeObject(data, &body, listShape); err != nil {
			return err
		}
		for i := range body.Requests {
			if err := checkAnsweredID(body.Requests[i].RequestID); err != nil {
				return err
			}
			if body.Requests[i].Status == "" {
				return errIncomplete
			}
		}
		return nil
	}}
	if err := c.transport.do(ctx, request, &list); err != nil {
		return nil, err
	}
	if date != nil {
		*date = list.date
	}
	page := make([]Request, len(body.Requests))
	for i := range body.Requests {
		item := &body.Requests[i]
		page[i] = Request{
			RequestID: canonicalID(item.RequestID), Status: Status(item.Status), Amount: item.Amount, Currency: item.Currency, Category: item.Category,
			Merchant: deref(item.Merchant), Description: deref(item.Description), CreatedAt: item.CreatedAt.Time,
		}
		if item.ReviewedAt != nil {
			page[i].ReviewedAt = item.ReviewedAt.Time
		}
		if item.ExpiresAt != nil {
			page[i].ExpiresAt = item.ExpiresAt.Time
		}
	}
	return page, nil
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
	return checkIdempotencyKey("PurchaseParams.IdempotencyKey", p.IdempotencyKey)
}

func (p *ListParams) validate() error {
	if p.PageSize < 0 || p.PageSize > maxPageSize {
		return paramError("ListParams.PageSize", strconv.Itoa(p.PageSize), "want 1 to 100, or 0 for 100")
	}
	if p.Status != "" && p.Status != StatusPending && !p.Status.Decided() {
		return paramError("ListParams.Status", string(p.Status), "want one of the Status constants, or nothing for all")
	}
	return nil
}

// checkAmount wants an amount that the service takes and stores as it is.
func checkAmount(field string, a Amount) error {
	switch {
	case a.Sign() <= 0:
		return paramError(field, a.String(), "want an amount above zero")
	case maxAmount.Less(a):
		return paramError(field, a.String(), "want at most "+maxAmount.String())
	case a.Decimals() > 2:
		return paramError(field, a.String(), "want at most two decimals: the service would round it; see Amount.RoundHalfUp")
	}
	return nil
}

func checkText(field, value string, longest int) error {
	if !utf8.ValidString(value) {
		return paramError(field, strings.ToValidUTF8(value, "�"), "want valid UTF-8")
	}
	if strings.ContainsRune(value, 0) {
		return paramError(field, value, "want text without NUL characters")
	}
	if n := utf8.RuneCountInString(value); n > longest {
		return paramError(field, value, "want at most "+strconv.Itoa(longest)+" characters, got "+strconv.Itoa(n))
	}
	return nil
}

func checkIdempotencyKey(field, key string) error {
	const longest = 255
	if holdsToken(key) {
		return paramError(field, "", "want a key without an agent's token in it")
	}
	if len(key) > longest || !printableASCII(key) || strings.TrimSpace(key) != key {
		return paramError(field, key, "want at most 255 printable ASCII characters without spaces around, or nothing for a random key")
	}
	return nil
}

// requestIDOf returns the canonical spelling of a request's id.
func requestIDOf(id string) (string, error) {
	if err := checkRequestID(id); err != nil {
		return "", err
	}
	return canonicalID(id), nil
}

func checkRequestID(id string) error {
	const longest = 255
	reason := ""
	switch {
	case isCanonical(id):
		return nil
	case id == "":
		reason = "want the id of a request"
	case len(id) > longest:
		reason = "want at most 255 characters"
	case id == "." || strings.Contains(id, "..") || strings.ContainsFunc(id, func(r rune) bool {
		return strings.ContainsRune(`/\?#%`, r) || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}):
		reason = "want an id as the service gave it, without slashes, dots in a row and special characters"
	default:
		return nil
	}
	return paramError("requestID", id, reason)
}

func isCurrency(code string) bool {
	for i := range len(code) {
		if letter := code[i] | 0x20; letter < 'a' || letter > 'z' {
			return false
		}
	}
	return len(code) == 3
}
