package letagentpay

import (
	"encoding/json"
	"errors"
	"net/http"
)

// GuardHandler is middleware for an agent's endpoints that spend money: an [http.Handler] that serves a request that
// costs money only when that purchase is approved. It requires Client, Price and Next; without any of them, each
// request is refused with a [*ParamError].
//
// A request to which Price gives a price reaches Next only when its purchase is approved. Next gets the approval from
// [ApprovalFromContext] and may call [Approval.Spent].
//
// After Next returns, the purchase is confirmed by the status that was sent to the client. That is the first status
// that Next wrote, or 200 if it wrote or flushed a body without one or returned without writing anything. A status
// below 400 completes the purchase, and so does a connection taken over with Hijack. With any other status the purchase
// has failed, and the money returns to the budget, unless Next has called Spent. If Next panics or calls
// [runtime.Goexit], the purchase has failed if no status was written before. A panic continues after the confirmation.
//
// GuardHandler is safe for concurrent use if its fields are. The fields must not change while requests are served.
type GuardHandler struct {
	// Client requests, polls and confirms the purchases. Required.
	Client *Client
	// Price returns what serving a request costs. If it returns nil, the request is free, and is served without a
	// purchase. If it returns an error, the request is refused. Required.
	Price func(*http.Request) (*PurchaseParams, error)
	// Next serves the requests. Its [http.ResponseWriter] is also an [http.Flusher], an [http.Hijacker] and an
	// [io.ReaderFrom], and works with [http.ResponseController]. What the server's own writer does not support fails
	// with [http.ErrNotSupported]. Required.
	Next http.Handler
	// Refuse answers requests that are not served; err is one of [Guard]'s, Price's or the context's. A nil Refuse
	// answers with JSON: status 402 if the purchase is not approved, 409 for an [*AlreadyHandledError] or a
	// [*MismatchError], and 503 for any other error. The body has the purchase's request id and status, if they are
	// known.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
	// Unconfirmed is called after a request was served, with an [*UnconfirmedError] if its purchase could not be
	// confirmed, and with a [*DuplicateError] if the purchase was requested more than once. If Unconfirmed is nil or
	// panics, the error is logged to the client's logger, or to [slog.Default] without one.
	Unconfirmed func(*http.Request, error)
	// Options are those of [Guard]. A journal stores no responses: a request under a key that was used before is an
	// [*AlreadyHandledError].
	Options []GuardOption
}

// ServeHTTP serves a request if it is free or its purchase is approved.
func (h *GuardHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := h.Refuse
	if refuse == nil {
		refuse = refuseWithJSON
	}
	params, err := priceOf("GuardHandler", h.Client, h.Price, r)
	if err == nil && h.Next == nil {
		err = paramError("GuardHandler.Next", "", "want a handler, not nil")
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	if params == nil {
		h.Next.ServeHTTP(w, r)
		return
	}
	approval, err := h.Client.Authorize(r.Context(), *params, h.Options...)
	if err != nil {
		refuse(w, r, err)
		return
	}
	if err := r.Context().Err(); err != nil { // the client has gone
		h.settle(r, approval, errNotServed)
		refuse(w, r, err)
		return
	}
	h.serve(w, r, approval)
}

var (
	errNotServed   = errors.New("not served: the client has gone")
	errNotAnswered = errors.New("the handler did not return, and sent no response")
)

// serve serves an approved request. It confirms the purchase even if Next panics.
func (h *GuardHandler) serve(w http.ResponseWriter, r *http.Request, approval *Approval) {
	seen, returned := &statusWriter{ResponseWriter: w}, false
	defer func() { h.settle(r, approval, seen.outcome(returned)) }()
	h.Next.ServeHTTP(seen, r.WithContext(approval.context()))
	returned = true
}

// settle confirms the purchase and reports an unconfirmed one.
func (h *GuardHandler) settle(r *http.Request, approval *Approval, outcome error) {
	err := approval.Settle(approval.callContext, outcome)
	h.Client.reportUnconfirmed(r, approval, err, h.Unconfirmed)
}

func refuseWithJSON(w http.ResponseWriter, _ *http.Request, err error) {
	body := struct {
		Error     string `json:"error"`
		RequestID string `json:"request_id,omitempty"`
		Status    Status `json:"status,omitempty"`
	}{Error: "the purchase could not be requested"}
	code := http.StatusServiceUnavailable
	decision := decisionOf(err)
	body.RequestID, body.Status = decision.requestID, decision.status
	switch {
	case as[*NotApprovedError](err) != nil:
		code, body.Error = http.StatusPaymentRequired, "the purchase is not approved"
	case as[*AlreadyHandledError](err) != nil:
		code, body.Error = http.StatusConflict, "the purchase was handled by an earlier request"
	case as[*MismatchError](err) != nil:
		code, body.Error = http.StatusConflict, "another purchase has the key or the id of this one"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}
