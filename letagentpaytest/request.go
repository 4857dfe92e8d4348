package letagentpaytest

import (
	"slices"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// requestState is a purchase request, or an x402 authorisation.
type requestState struct {
	agent            *agentState
	sequence         uint64 // over the whole server
	id               string
	status           letagentpay.Status
	amount           money.Amount
	actual           money.Amount // zero until one is confirmed or reported
	currency         string
	category         string
	original         *string
	merchant         *string
	description      *string
	comment          *string
	key              string
	receipt          *string
	checks           []policy.Check
	created, expires time.Time
	reviewed         time.Time // zero: not yet

	x402   bool
	txHash string
}

// overdue reports whether a pending request is past its expiry.
func (r *requestState) overdue(now time.Time) bool {
	return r.status == letagentpay.StatusPending && r.expires.Before(now)
}

// decide approves or rejects a pending request. An approval past the expiry expires the request; a rejection past it
// rejects the request.
func (r *requestState) decide(approve bool, now time.Time) error {
	switch {
	case r.status != letagentpay.StatusPending:
		return &DecisionError{RequestID: r.id, Status: r.status, Err: ErrNotPending}
	case !approve:
		r.agent.leavePending(r, letagentpay.StatusRejected, now)
		r.reviewed = now
	case r.overdue(now):
		r.agent.leavePending(r, letagentpay.StatusExpired, now)
		return &DecisionError{RequestID: r.id, Status: r.status, Err: ErrExpired}
	default:
		r.agent.approve(r, now)
	}
	return nil
}

// Request is a purchase request or an x402 authorisation, as the server stores it: more than an agent can read. A value
// that was not sent is zero.
type Request struct {
	RequestID        string             `json:"request_id"`
	Agent            string             `json:"agent"` // the name of the agent
	Status           letagentpay.Status `json:"status"`
	Amount           money.Amount       `json:"amount"`        // rounded to cents, as the service stores it
	ActualAmount     money.Amount       `json:"actual_amount"` // as confirmed or reported; otherwise zero
	Currency         string             `json:"currency"`
	Category         string             `json:"category"`                    // as resolved
	OriginalCategory string             `json:"original_category,omitempty"` // as sent, if an alias or unknown
	MerchantName     string             `json:"merchant_name,omitempty"`
	Description      string             `json:"description,omitempty"`
	AgentComment     string             `json:"agent_comment,omitempty"`
	IdempotencyKey   string             `json:"idempotency_key,omitempty"`
	ReceiptURL       string             `json:"receipt_url,omitempty"`
	TxHash           string             `json:"tx_hash,omitempty"` // of an x402 report
	Checks           []policy.Check     `json:"checks"`            // of the decision
	CreatedAt        time.Time          `json:"created_at"`
	ReviewedAt       time.Time          `json:"reviewed_at,omitzero"` // zero if pending or expired
	ExpiresAt        time.Time          `json:"expires_at"`           // CreatedAt, if never pending
}

// snapshot copies r. The account is locked.
func (r *requestState) snapshot() Request {
	return Request{
		RequestID:        r.id,
		Agent:            r.agent.name,
		Status:           r.status,
		Amount:           r.amount,
		ActualAmount:     r.actual,
		Currency:         r.currency,
		Category:         r.category,
		OriginalCategory: deref(r.original),
		MerchantName:     deref(r.merchant),
		Description:      deref(r.description),
		AgentComment:     deref(r.comment),
		IdempotencyKey:   r.key,
		ReceiptURL:       deref(r.receipt),
		TxHash:           r.txHash,
		Checks:           slices.Clone(r.checks),
		CreatedAt:        r.created,
		ReviewedAt:       r.reviewed,
		ExpiresAt:        r.expires,
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Requests returns the requests of all agents, the oldest first.
func (s *Server) Requests() []Request {
	type numbered struct {
		sequence uint64
		request  Request
	}
	var all []numbered
	w := s.world.Load()
	for _, a := range w.directory().agents {
		w.locked(a.account, func(time.Time) {
			for _, r := range a.order {
				all = append(all, numbered{r.sequence, r.snapshot()})
			}
		})
	}
	slices.SortFunc(all, func(a, b numbered) int {
		if a.sequence < b.sequence {
			return -1
		}
		return 1
	})
	requests := make([]Request, len(all))
	for i, n := range all {
		requests[i] = n.request
	}
	return requests
}

// Request returns the request with an id, of any agent. ok is false if there is no such request.
func (s *Server) Request(id string) (Request, bool) {
	var snapshot Request
	found := s.world.Load().find(id, func(r *requestState, _ time.Time) { snapshot = r.snapshot() })
	return snapshot, found
}
