package letagentpay

import (
	"encoding/json"
	"errors"
	"net/http"
)

// GuardHandler is an [http.Handler] that asks before it serves: middleware for endpoints of an agent that spend money.
// A request that Price puts a price on reaches Next only when that purchase is approved; Next finds the approval with
// [ApprovalFromContext], and may call [Approval.Spent].
//
// When Next returns, the purchase is confirmed, by the status that the client was sent: the first that Next wrote, or
// the 200 that comes with the first byte of a body, with a flush, and with a return without a word. Below 400 it is
// completed, and so after Next took the connection over with Hijack; else it has failed, and the money returns to the
// budget, unless Next has called Spent. After a panic, or [runtime.Goexit], it has failed if no status was written
// before. A panic continues after the confirmation.
//
// The fields must not be changed while requests are served.
type GuardHandler struct {
	// Client asks. Required.
	Client *Client
	// Price says what serving a request costs; nil says nothing, and it is served without asking. With an error it is
	// refused. Required.
	Price func(*http.Request) (*PurchaseParams, error)
	// Next serves. Its [http.ResponseWriter] is also an [http.Flusher], an [http.Hijacker] and an [io.ReaderFrom], and
	// works with [http.ResponseController]; what the server's own writer does not support is an
	// [http.ErrNotSupported]. Required.
	Next http.Handler
	// Refuse answers requests that are not served; err is one of [Guard]'s, Price's, or the context's. Nil answers with
	// JSON: 402 for what is not approved, with the request id and its status, without the status for a
	// [*MismatchError]; 409 for an [*AlreadyHandledError]; and 503 for the rest.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
	// Unconfirmed is called when a request was served and the confirmation did not get through, with an [*UnconfirmedError],
	// and when the purchase was made more than once, with a [*DuplicateError]. If it is nil, or panics, the
	// client's logger has the record, or [slog.Default] when there is none.
	Unconfirmed func(*http.Request, error)
	// Options are those of [Guard]. A journal keeps no responses: a request under a key that was used before is an
	// [*AlreadyHandledError].
	Options []GuardOption
}

// ServeHTTP serves a request if it is free or approved.
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
	if err := r.Context().Err(); err != nil { // nobody waits for the answer
		h.settle(r, approval, errNotServed)
		refuse(w, r, err)
		return
	}
	h.serve(w, r, approval)
}

var (
	errNotServed   = errors.New("not served: the client has gone")
	errNotAnswered = errors.New("the handler did not return, and sent no answer")
)

// serve serves an approved request and confirms its purchase, whatever Next does.
func (h *GuardHandler) serve(w http.ResponseWriter, r *http.Request, approval *Approval) {
	seen, returned := &statusWriter{ResponseWriter: w}, false
	defer func() { h.settle(r, approval, seen.outcome(returned)) }()
	h.Next.ServeHTTP(seen, r.WithContext(approval.context()))
	returned = true
}

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
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no answer
}
