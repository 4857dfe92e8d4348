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

// text is the state as an error shows it.
func (s Status) text() string { return cleaned(string(s), shortText) }

// Request is a purchase request as it stands. What a read does not return is zero: [Client.Request] returns
// neither Currency, Merchant, Description nor ExpiresAt, [Client.Requests] returns all.
type Request struct {
	RequestID    string
	Status       Status
	Amount       Amount
	Currency     string
	Category     string
	MerchantName string
	Description  string
	CreatedAt    time.Time
	ReviewedAt   time.Time // when it was approved or rejected; zero before
	ExpiresAt    time.Time
}

// ListParams selects requests; see [Client.Requests]. The zero value selects all.
type ListParams struct {
	Status   Status // only requests in this state; empty: all
	PageSize int    // how many to ask the service for at a time, 1 to 100; 0 means 100
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

// Request reads one purchase request. A pending one whose time is over expires by being read. An unknown id, or
// another agent's, is an [*APIError] that matches [ErrNotFound].
func (c *Client) Request(ctx context.Context, requestID string) (*Request, error) {
	return c.request(ctx, requestID, false)
}

// request is Request, without retries if wanted.
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
	maxStalePages = 10   // pages without anything new, after which the list is taken to have no end
	maxListed     = 1000 // how far back one request is looked for in the list
)

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
			page, err := c.page(ctx, pageParams{status: p.Status, limit: size, offset: offset})
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
			if stale == maxStalePages {
				yield(nil, &APIError{Op: operation.Requests, Method: http.MethodGet, StatusCode: http.StatusOK, malformed: true, Detail: "the same requests again and again, whatever the offset"})
				return
			}
			offset += len(page)
		}
	}
}

// findInList finds a request in the list, which returns what a read by id does not: currency, merchant and description. A nil
// row without an error was not found.
func (c *Client) findInList(ctx context.Context, requestID string, status Status) (*Request, error) {
	size := listSample // it is mostly one of the newest
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

// datedPage reads one page of the list, and what the service's clock showed. The answer's total counts that page alone,
// so nobody looks at it.
func (c *Client) datedPage(ctx context.Context, p pageParams, dated bool) ([]Request, time.Time, error) {
	query := url.Values{"limit": {strconv.Itoa(p.limit)}, "offset": {strconv.Itoa(p.offset)}}
	if p.status != "" {
		query.Set("status", string(p.status))
	}
	list := call{op: operation.Requests, query: query, once: p.once, dated: dated}
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
	return content{r.Amount, strings.ToUpper(r.Currency), normalCategory(r.Category), trimText(r.MerchantName), trimText(r.Description)}
}
