package letagentpay

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
)

// GuardTransport is an [http.RoundTripper] that asks before it sends: for paid HTTP APIs. A request that Price puts a
// price on is sent only when that purchase is approved, and confirmed as soon as the head of the response is there. The
// body of the request and the response are passed on untouched, streams included.
//
// A request that is not approved, or not certain to be, is not sent: the error is one of [Guard]'s. The fields must not
// be changed while requests are under way; GuardTransport is then safe for concurrent use if they are.
//
// With an [http.Client], each redirect is a request of its own, and asked about.
type GuardTransport struct {
	// Client asks. Required.
	Client *Client
	// Price says what a request costs; nil says that it is free, and it is sent without asking. With an error it is not
	// sent. It must not read the request's body. Required.
	Price func(*http.Request) (*PurchaseParams, error)
	// Next sends; nil is [http.DefaultTransport]. One that repeats requests by itself may pay more than once.
	Next http.RoundTripper
	// Charged says from the response, or from the error in its place, whether the request was paid for, and how much; a
	// zero amount is the price asked for. It must not read the response's body. Nil takes every response below 400 as
	// paid, and every error but one to connect, because a lost response may have cost money.
	Charged func(*http.Response, error) (actual Amount, charged bool)
	// Unconfirmed is told when the request was sent and the confirmation did not get through: usually a *ConfirmError.
	// The response is returned all the same. Nil leaves it to the client's log.
	Unconfirmed func(*http.Request, error)
	// Options are those of [Guard]. A journal keeps no responses: a request under a key that was used before is an
	// [*AlreadyHandledError].
	Options []GuardOption
}

// RoundTrip sends a request if it is free or approved.
func (t *GuardTransport) RoundTrip(request *http.Request) (response *http.Response, err error) {
	sent := false
	defer func() {
		if !sent && request.Body != nil {
			_ = request.Body.Close() // as a RoundTripper must, whatever happens
		}
	}()
	params, err := price("GuardTransport", t.Client, t.Price, request)
	if err != nil {
		return nil, err
	}
	next := t.Next
	if next == nil {
		next = http.DefaultTransport
	}
	if params == nil {
		sent = true
		return next.RoundTrip(request)
	}
	approval, err := t.Client.Authorize(request.Context(), *params, t.Options...)
	if err != nil {
		return nil, err
	}
	settled := false
	defer func() {
		if !settled { // Next or Charged panicked; that goes on
			t.Client.unconfirmed(request, approval, approval.Settle(approval.callContext, errDidNotReturn), t.Unconfirmed)
		}
	}()
	sent = true
	response, err = next.RoundTrip(request.WithContext(approval.context()))
	if response != nil {
		response.Request = request
	}
	charged := t.Charged
	if charged == nil {
		charged = chargedBelow400
	}
	outcome := err
	if actual, paid := charged(response, err); paid {
		if actual.IsZero() {
			actual = approval.Amount()
		}
		if spentErr := approval.Spent(actual, ""); spentErr != nil {
			t.Client.transport.warn(request.Context(), "letagentpay.spent", slog.String("request_id", approval.RequestID()), slog.String("error", spentErr.Error()))
		}
	} else if outcome == nil {
		outcome = fmt.Errorf("not charged: %s", response.Status)
	}
	settled = true
	t.Client.unconfirmed(request, approval, approval.Settle(approval.callContext, outcome), t.Unconfirmed)
	return response, err
}

func chargedBelow400(response *http.Response, err error) (Amount, bool) {
	if err == nil {
		return Amount{}, response.StatusCode < 400
	}
	dial, ok := errors.AsType[*net.OpError](err)
	return Amount{}, !(ok && dial.Op == "dial") && !untrusted(err)
}

// price asks what a request costs.
func price(what string, c *Client, of func(*http.Request) (*PurchaseParams, error), request *http.Request) (*PurchaseParams, error) {
	switch {
	case c == nil:
		return nil, paramError(what+".Client", "", "want a client, not nil")
	case of == nil:
		return nil, paramError(what+".Price", "", "want a function, not nil")
	}
	return of(request)
}

// unconfirmed tells whoever wants to know that a confirmation did not get through.
func (c *Client) unconfirmed(request *http.Request, approval *Approval, err error, tell func(*http.Request, error)) {
	if err == nil {
		return
	}
	if tell != nil {
		tell(request, err)
		return
	}
	c.transport.warn(request.Context(), "letagentpay.unconfirmed", slog.String("request_id", approval.RequestID()), slog.String("error", err.Error()))
}

// GuardHandler is an [http.Handler] that asks before it serves: middleware for endpoints of an agent that spend money. A
// request that Price puts a price on reaches Next only when that purchase is approved; Next finds the approval with
// [ApprovalFromContext], and may call [Approval.Spent]. When Next returns, the purchase is confirmed: as completed after
// a status below 400 or a call of Spent, else as failed, and so after a panic, which goes on.
//
// The fields must not be changed while requests are served.
type GuardHandler struct {
	// Client asks. Required.
	Client *Client
	// Price says what serving a request costs; nil says nothing, and it is served without asking. With an error it is
	// refused. Required.
	Price func(*http.Request) (*PurchaseParams, error)
	// Next serves. Required.
	Next http.Handler
	// Refuse answers requests that are not served; err is one of [Guard]'s, or Price's. Nil answers with JSON: 402 for
	// what is not approved, with the request id and its status, 409 for an [*AlreadyHandledError], and 503 for the rest.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
	// Unconfirmed is told when a request was served and the confirmation did not get through: usually a *ConfirmError.
	// Nil leaves it to the client's log.
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
	params, err := price("GuardHandler", h.Client, h.Price, r)
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
	seen := &statusWriter{ResponseWriter: w}
	outcome := errDidNotReturn
	defer func() {
		h.Client.unconfirmed(r, approval, approval.Settle(approval.callContext, outcome), h.Unconfirmed)
	}()
	h.Next.ServeHTTP(seen, r.WithContext(approval.context()))
	outcome = nil
	if seen.status >= 400 {
		outcome = fmt.Errorf("answered with status %d", seen.status)
	}
}

func refuseWithJSON(w http.ResponseWriter, _ *http.Request, err error) {
	body := struct {
		Error     string `json:"error"`
		RequestID string `json:"request_id,omitempty"`
		Status    Status `json:"status,omitempty"`
	}{Error: "the purchase could not be asked for"}
	code := http.StatusServiceUnavailable
	switch rejected, pending, expired, handled := as[*RejectedError](err), as[*PendingError](err), as[*ExpiredError](err), as[*AlreadyHandledError](err); {
	case rejected != nil:
		body.RequestID, body.Status = rejected.RequestID, StatusRejected
	case pending != nil:
		body.RequestID, body.Status = pending.RequestID, StatusPending
	case expired != nil:
		body.RequestID, body.Status = expired.RequestID, StatusExpired
	case handled != nil:
		code = http.StatusConflict
		body.Error, body.RequestID, body.Status = "the purchase was handled by an earlier request", handled.Request.RequestID, handled.Request.Status
	}
	if errors.Is(err, ErrNotApproved) {
		code, body.Error = http.StatusPaymentRequired, "the purchase is not approved"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no answer
}

// as returns the first error of a type in a chain, or its zero value.
func as[E error](err error) E {
	found, _ := errors.AsType[E](err)
	return found
}

// statusWriter notes the status of a response. Everything else goes through: what a handler wants of the underlying
// writer it finds with [http.ResponseController].
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status < 200 { // an informational status is followed by the real one
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Flush sends what is buffered, for handlers that look for an [http.Flusher].
func (w *statusWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap returns the underlying writer, for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
