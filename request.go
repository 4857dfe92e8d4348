package letagentpay

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/operation"
)

// Status is the state of a purchase request. The service may add new states: an unknown value is neither approved, nor
// decided, nor final.
type Status string

// The states of a purchase request. It is pending until a human approves or rejects it, or it expires, unless the
// policy approves or rejects it at once. A confirmation of an approved request makes it completed or failed.
const (
	StatusPending      Status = "pending"
	StatusAutoApproved Status = "auto_approved"
	StatusApproved     Status = "approved"
	StatusRejected     Status = "rejected"
	StatusExpired      Status = "expired"
	StatusCompleted    Status = "completed"
	StatusFailed       Status = "failed"
)

// Approved reports whether the money may be spent now: the policy or a human has approved the request, and it is not
// confirmed yet.
func (s Status) Approved() bool { return s == StatusApproved || s == StatusAutoApproved }

// Decided reports whether the status is known and no longer pending.
func (s Status) Decided() bool { return s.Approved() || s.Final() }

// Final reports whether the status cannot change any more: rejected, expired, completed or failed.
func (s Status) Final() bool {
	return s == StatusRejected || s == StatusExpired || s == StatusCompleted || s == StatusFailed
}

// text returns the status as an error shows it.
func (s Status) text() string { return cleaned(string(s), shortText) }

// Request is the current state of a purchase request. Fields that a read does not return are zero: [Client.Request]
// returns no Currency, MerchantName, Description or ExpiresAt, and [Client.Requests] returns all fields.
type Request struct {
	RequestID    string
	Status       Status
	Amount       Amount
	Currency     string
	Category     string
	MerchantName string
	Description  string
	CreatedAt    time.Time
	ReviewedAt   time.Time // when it was approved or rejected; zero before that
	ExpiresAt    time.Time
}

// ListParams selects requests; see [Client.Requests]. The zero value selects all.
type ListParams struct {
	Status   Status // only requests in this state; empty means all
	PageSize int    // requests per page, 1 to 100; 0 means 100
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

// Request reads one purchase request. A pending one whose time is over expires when it is read. An unknown id, or
// another agent's, is an [*APIError] that matches [ErrNotFound]. A malformed id is a [*ParamError], and nothing is
// sent.
func (c *Client) Request(ctx context.Context, requestID string) (*Request, error) {
	return c.request(ctx, requestID, false)
}

// request is Request, without retries if once is true.
func (c *Client) request(ctx context.Context, id string, once bool) (*Request, error) {
	requestID, err := requestIDOf(id)
	if err != nil {
		return nil, err
	}
	read := call{op: operation.Request, requestID: requestID, once: once}
	body, err := fetch(ctx, c.transport, &read, requestShape, func(body *api.RequestDetail) error {
		if body.RequestID == "" || body.Status == "" {
			return errIncomplete
		}
		if canonicalID(body.RequestID) != requestID {
			return errors.New("it is about another request")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Request{
		RequestID:  requestID,
		Status:     Status(body.Status),
		Amount:     body.Amount,
		Category:   body.Category,
		CreatedAt:  body.CreatedAt.Time,
		ReviewedAt: timeOf(body.ReviewedAt),
	}, nil
}

const (
	maxPageSize   = 100
	maxStalePages = 10   // pages in a row without a new request, after which the list counts as endless
	maxListed     = 1000 // how many of the newest requests a search reads
)

// Requests lists the agent's requests, newest first. It fetches pages as the loop advances. An error ends the list: it
// is the second value of the last pair, and the first value is nil. Requests made during the loop do not appear, and no
// request appears twice. With a Status, a request that changes its state during the loop may be missed.
//
// The sequence can be iterated more than once, and each time starts at the newest request. Invalid params are a
// [*ParamError].
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
			page, err := c.page(ctx, pageParams{status: p.Status, limit: size, offset: offset})
			if err != nil {
				yield(nil, err)
				return
			}
			stale++
			for i := range page {
				if seen[page[i].RequestID] {
					continue // new requests have moved it from the previous page to this one
				}
				seen[page[i].RequestID], stale = true, 0
				if !yield(&page[i], nil) {
					return
				}
			}
			if len(page) < size {
				return
			}
			if stale == maxStalePages {
				yield(nil, &APIError{
					Op:         operation.Requests,
					Method:     http.MethodGet,
					StatusCode: http.StatusOK,
					malformed:  true,
					Detail:     "the same requests at every offset",
				})
				return
			}
			offset += len(page)
		}
	}
}

// findInList finds a request in the list. Unlike a read by id, the list has the currency, merchant and description.
// Without an error, nil means that the request was not found.
func (c *Client) findInList(ctx context.Context, requestID string, status Status) (*Request, error) {
	size := listSample // usually it is one of the newest
	for offset := 0; offset < maxListed; size = maxPageSize {
		page, err := c.page(ctx, pageParams{status: status, limit: size, offset: offset})
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

// pageParams selects a page of the list of requests.
type pageParams struct {
	status        Status // empty: all
	limit, offset int
	once          bool // no retries
}

func (c *Client) page(ctx context.Context, p pageParams) ([]Request, error) {
	page, _, err := c.datedPage(ctx, p, false)
	return page, err
}

// datedPage reads one page of the list and, if dated is true, the service's time. The total in the response is ignored,
// because it counts only that page.
func (c *Client) datedPage(ctx context.Context, p pageParams, dated bool) ([]Request, time.Time, error) {
	query := url.Values{"limit": {strconv.Itoa(p.limit)}, "offset": {strconv.Itoa(p.offset)}}
	if p.status != "" {
		query.Set("status", string(p.status))
	}
	list := call{
		op:    operation.Requests,
		query: query,
		once:  p.once,
		dated: dated,
	}
	body, err := fetch(ctx, c.transport, &list, listShape, checkList)
	if err != nil {
		return nil, time.Time{}, err
	}
	page := make([]Request, len(body.Requests))
	for i := range body.Requests {
		page[i] = requestOf(&body.Requests[i])
	}
	return page, list.date, nil
}

func checkList(body *api.RequestList) error {
	for i := range body.Requests {
		if err := checkAnsweredID(body.Requests[i].RequestID); err != nil {
			return err
		}
		if body.Requests[i].Status == "" {
			return errIncomplete
		}
	}
	return nil
}

func requestOf(item *api.RequestListItem) Request {
	return Request{
		RequestID:    canonicalID(item.RequestID),
		Status:       Status(item.Status),
		Amount:       item.Amount,
		Currency:     item.Currency,
		Category:     item.Category,
		MerchantName: deref(item.Merchant),
		Description:  deref(item.Description),
		CreatedAt:    item.CreatedAt.Time,
		ReviewedAt:   timeOf(item.ReviewedAt),
		ExpiresAt:    timeOf(item.ExpiresAt),
	}
}

func contentOfRequest(r *Request) content {
	return content{
		amount:      r.Amount,
		currency:    strings.ToUpper(r.Currency),
		category:    normalCategory(r.Category),
		merchant:    trimText(r.MerchantName),
		description: trimText(r.Description),
	}
}
