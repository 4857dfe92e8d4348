package letagentpay

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"
)

// GuardTransport is an [http.RoundTripper] for paid HTTP APIs: it sends a request that costs money only when that
// purchase is approved. It requires Client and Price; without either, each request fails with a [*ParamError].
//
// A request to which Price gives a price is sent when its purchase is approved, and confirmed as soon as the header of
// the response arrives. The request's body and the response pass through unchanged, streams included. A request that is
// not approved, or whose approval is in doubt, is not sent; the error is one of those of [Guard].
//
// GuardTransport is safe for concurrent use if its fields are. The fields must not change while requests are in
// progress.
//
// # Which purchase a request is
//
// A request without a key, header or scope is a new purchase every time: an SDK that retries it after a lost response
// pays twice.
//
// The idempotency key of the purchase comes from the first row that applies:
//
//	ResumeApproval or Resume applies            the request that it names is continued
//	Price sets IdempotencyKey                   that key
//	the request has an Idempotency-Key header   a key derived from the request's method, its address without the
//	  or an X-Idempotency-Key header              query, and the header's value
//	its context has WithPurchaseScope           a key derived from the scope and the purchase's content, or its Ref;
//	                                              with a header, a Ref is a ParamError
//	none of these                               a random key: every request is a new purchase
//
// Under a header or a scope, a repeated request is not sent if the first attempt was charged or may have been; the
// error is an [*AlreadyHandledError]. If the first attempt was certainly not charged, or its purchase expired before it
// was approved, the repeated request is a new attempt, and is sent when it is approved.
//
// Some SDKs create a new header for each call and repeat it with each retry of that call. That covers the retries, but
// not an agent that runs again and makes the call again. In that case, set the header from something that stays the
// same.
//
// In a run of a scope, see [WithScopeRun], a response with a status below 400 is a success even if its body breaks off,
// and the same request afterwards is another purchase. For an SDK that retries in this case, use a header, or the scope
// without a run.
//
// With an [http.Client], each redirect is a request of its own, with a purchase of its own. [ResumeApproval] and
// [Resume] apply to the first request only.
//
// # What is sent twice
//
// A Next that sends a request again after a response, such as a 503, may pay more than once. GuardTransport cannot
// prevent it.
//
// Otherwise nothing to which Price gives a price is sent twice. [http.Transport] retries some requests when a
// kept-alive connection fails or an HTTP/2 stream is reset. GuardTransport lets it retry a priced request only while
// nothing was sent; afterwards it returns the error, even if an HTTP/2 server reports that it has not processed the
// request.
//
// The same holds for a Next on top of [http.Transport] that retries requests without a response, provided that it
// passes the request's context on and sends in no other way. For any other Next, set Charged: GuardTransport then
// cannot see whether an error came before or after a payment. A response that follows an informational one, such as
// 103, does not count as a response here, so a Next that pays after a 402 is stopped in that case.
type GuardTransport struct {
	// Client requests, polls and confirms the purchases. Required.
	Client *Client
	// Price returns what a request costs. If it returns nil, the request is free, and is sent without a purchase. If it
	// returns an error, the request is not sent. It must not read the request's body. Required.
	Price func(*http.Request) (*PurchaseParams, error)
	// Next sends the requests; nil is [http.DefaultTransport].
	Next http.RoundTripper
	// Charged reports from the response, or from the error if there is none, whether the request was paid for and how
	// much. A zero amount means the amount recorded with [Approval.Spent], or without one the price. Charged must not
	// read the response's body. If it panics, the price counts as paid, and the panic continues after the confirmation.
	// If it takes more than 5 seconds, the price counts as paid, and its result is ignored.
	//
	// A nil Charged treats as paid what may have been paid. That is every response with a status below 300, with 408 or
	// 499, or from 500 on, because a gateway that gives up does not stop the server behind it. It is also every error
	// except one before which nothing was sent: no connection, an untrusted certificate, an unknown scheme, or a
	// context that had already ended. Redirects and other responses from 400 to 499 count as not paid, and the money
	// returns to the budget.
	Charged func(*http.Response, error) (actual Amount, charged bool)
	// Unconfirmed is called after a request was sent, with an [*UnconfirmedError] if its purchase could not be
	// confirmed, and with a [*DuplicateError] if the purchase was requested more than once. The response is returned
	// all the same. If Unconfirmed is nil or panics, the error is logged to the client's logger, or to [slog.Default]
	// without one.
	Unconfirmed func(*http.Request, error)
	// Options are those of [Guard]. A journal stores no responses: a request under a key that was used before is an
	// [*AlreadyHandledError].
	Options []GuardOption
}

var (
	errNothingReturned = errors.New("letagentpay: the next transport returned neither a response nor an error")
	errNeverReturned   = errors.New("the transport did not return")
	errNotSent         = errors.New("not charged: nothing was sent")
)

// RoundTrip sends a request if it is free or its purchase is approved.
func (gt *GuardTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	passedOn := false
	defer func() {
		if !passedOn && request.Body != nil {
			_ = request.Body.Close() // a RoundTripper must close it in every case
		}
	}()
	params, err := priceOf("GuardTransport", gt.Client, gt.Price, request)
	if err != nil {
		return nil, err
	}
	next := gt.Next
	if next == nil {
		next = http.DefaultTransport
	}
	if params == nil {
		passedOn = true
		return next.RoundTrip(request)
	}
	approval, err := gt.authorize(request, *params)
	if err != nil {
		return nil, err
	}
	p := &payment{
		guard:    gt,
		request:  request,
		approval: approval,
		outcome:  errNotSent,
	}
	defer p.settle()
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	passedOn = true
	return p.send(next)
}

// authorize returns the approval of the purchase that a request makes.
func (gt *GuardTransport) authorize(request *http.Request, p PurchaseParams) (*Approval, error) {
	ctx := request.Context()
	g, err := newGuardConfig(gt.Options)
	if err != nil {
		return nil, err
	}
	if request.Response != nil { // a redirect, which has the context of the first request
		ctx, g.resumed = withoutResumption(ctx), nil
	}
	header := idempotencyHeader(request.Header)
	resumption := g.resumption(ctx, &p)
	if resumption != nil || p.IdempotencyKey != "" || header == "" {
		return gt.Client.authorizeOnce(ctx, p, g, resumption)
	}
	for failed := 0; ; failed++ {
		p.IdempotencyKey = httpRequestKey(request, header, failed)
		approval, err := gt.Client.authorizeOnce(ctx, p, g, nil)
		if !endedUnpaid(err) || failed == maxFurtherPurchases {
			return approval, err
		}
	}
}

// endedUnpaid reports whether an error proves that an earlier purchase ended without a payment, so that another attempt
// is not a second purchase.
func endedUnpaid(err error) bool {
	if as[*UnconfirmedError](err) != nil {
		return false // the service does not know yet that it failed
	}
	status := decisionOf(err).status
	return status == StatusFailed || status == StatusExpired
}

// payment is one priced request, from its approval to its confirmation.
type payment struct {
	guard    *GuardTransport
	request  *http.Request
	approval *Approval
	charged  bool   // certainly or possibly
	actual   Amount // zero: the price
	outcome  error  // how the request ended
}

// send sends the request once. It counts as charged until the outcome is known.
func (pay *payment) send(next http.RoundTripper) (response *http.Response, err error) {
	pay.charged, pay.outcome = true, errNeverReturned
	once := newSingleSend(pay.approval.context())
	returned := false
	defer func() {
		if !returned { // Next or Charged has panicked or ended the goroutine
			_, _ = once.fail(pay.request, errNeverReturned)
			closeBody(response)
		}
	}()
	request := pay.request.WithContext(once.ctx)
	request.GetBody = nil // with it, net/http could rewind the body and send it again
	response, err = next.RoundTrip(request)
	unsent := false
	if err == nil && response == nil {
		err = errNothingReturned
	}
	if err != nil {
		closeBody(response)
		response = nil
		err, unsent = once.fail(pay.request, err)
	} else {
		response.Request, response.Body = pay.request, once.body(response.Body)
	}
	pay.decideCharged(response, err, unsent)
	returned = true
	return response, err
}

func closeBody(response *http.Response) {
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
}

// decideCharged decides whether the request was charged, and sets the outcome of the purchase.
func (pay *payment) decideCharged(response *http.Response, err error, unsent bool) {
	pay.outcome = err
	switch charged := pay.guard.Charged; {
	case charged != nil:
		pay.charged = true
		pay.actual, pay.charged = callCharged(hookLimit, charged, response, err)
	case err != nil:
		pay.charged = !unsent
	default:
		pay.charged = mayBeCharged(response.StatusCode)
	}
	switch {
	case pay.charged && err == nil && response.StatusCode >= 400:
		// Not a success, so that a retry in the same scope is the same purchase.
		pay.outcome = fmt.Errorf("charged, and answered with status %d", response.StatusCode)
	case pay.charged:
	case unsent:
		pay.outcome = errNotSent
	case err != nil:
		pay.outcome = errors.New("not charged: the request failed without a payment")
	default:
		pay.outcome = fmt.Errorf("not charged: status %d", response.StatusCode)
	}
}

// callCharged calls the user's function. A panic or exit in it continues in the caller. If the function exceeds the
// limit, callCharged does not wait for it, and the price counts as paid.
func callCharged(
	limit time.Duration, charged func(*http.Response, error) (Amount, bool), response *http.Response, err error,
) (Amount, bool) {
	type result struct {
		actual   Amount
		charged  bool
		returned bool
		panicked any
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if !r.returned {
				r.panicked = recover()
			}
			done <- r
		}()
		r.actual, r.charged = charged(response, err)
		r.returned = true
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-done:
		switch {
		case r.returned:
		case r.panicked != nil:
			panic(r.panicked)
		default:
			runtime.Goexit()
		}
		return r.actual, r.charged
	case <-timer.C:
		return Amount{}, true
	}
}

// mayBeCharged reports whether the server may have carried out a request that it answered with status.
func mayBeCharged(status int) bool {
	return status < 300 || status >= 500 || status == http.StatusRequestTimeout || status == statusClientClosed
}

// settle confirms the purchase and reports an unconfirmed one.
func (pay *payment) settle() {
	c := pay.guard.Client
	if pay.charged {
		pay.recordSpent()
	}
	err := pay.approval.Settle(pay.approval.callContext, pay.outcome)
	c.reportUnconfirmed(pay.request, pay.approval, err, pay.guard.Unconfirmed)
}

// recordSpent records what was paid.
func (pay *payment) recordSpent() {
	actual := pay.actual
	if actual.IsZero() {
		if pay.approval.hasSpent() {
			return
		}
		actual = pay.approval.Amount()
	}
	if err := pay.approval.Spent(actual, ""); err != nil {
		c := pay.guard.Client
		c.alert(pay.request.Context(), "letagentpay.spent",
			slog.String("request_id", pay.approval.RequestID()), slog.String("error", userErrorText(err)))
	}
}
