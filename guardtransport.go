package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"
)

// GuardTransport is an [http.RoundTripper] that asks before it sends: for paid HTTP APIs. A request that Price puts a
// priceOf on is sent only when that purchase is approved, and confirmed as soon as the head of the response is there. The
// body of the request and the response are passed on untouched, streams included.
//
// A request that is not approved, or not certain to be, is not sent: the error is one of [Guard]'s. The fields must not
// be changed while requests are under way; GuardTransport is then safe for concurrent use if they are.
//
// # Which purchase a request is
//
// The purchase's idempotency key decides whether a request that is made again, by an SDK that retries or by an agent
// that runs again, is a new purchase or the one that was made before. It comes from the first of these that applies:
//
//	the request's context has ResumeApproval    the request that it names is continued
//	Price sets IdempotencyKey                   that key
//	the request has an Idempotency-Key header   a key derived from the request's method, its address without the
//	  or an X-Idempotency-Key header              query, and the header's value
//	its context has WithPurchaseScope           a key derived from the scope and the purchase's content, or its Ref;
//	                                              with a header, a Ref is a ParamError
//	none of these                               a random key: every request is a new purchase
//
// Under a header or a scope, a repeated request whose first attempt was charged, or may have been, is not sent; the
// error is an [*AlreadyHandledError]. In a run of a scope, see [WithScopeRun], a response below 400 is a success, after
// which the same request is another purchase, even when its body breaks off: use a header for an SDK that retries then,
// or the scope alone. One whose first attempt was certainly not charged, or expired before somebody
// approved it, is a new attempt, and sent when it is approved. Without any of these, an SDK that retries after a lost
// answer asks for another purchase, and pays twice. Some SDKs make a new header for each call and repeat it with each
// retry of it: that covers the retries, but not an agent that runs again and calls again. Set the header from
// something that stays the same then.
//
// With an [http.Client], each redirect is a request of its own, and asked about; [ResumeApproval] counts for the first.
//
// # What is sent twice
//
// Nothing that Price puts a price on. [http.Transport] repeats some requests when a kept-alive connection fails or an
// HTTP/2 stream is reset; priced ones it repeats only while nothing was sent. After that the error is returned, even
// where an HTTP/2 server says that it has not looked at the request. The same holds for a Next on top of
// [http.Transport] that repeats requests which got no answer, as long as it passes the request's context on and sends in
// no other way. With a Next that does, set Charged: whether an error came before or after a payment cannot be seen then.
// A Next that sends again after an answer, such as a 503, may pay more than once. An answer that follows an informational
// one, such as 103, counts as none: a Next that pays after a 402 is not let through then.
type GuardTransport struct {
	// Client asks. Required.
	Client *Client
	// Price says what a request costs; nil says that it is free, and it is sent without asking. With an error it is not
	// sent. It must not read the request's body. Required.
	Price func(*http.Request) (*PurchaseParams, error)
	// Next sends; nil is [http.DefaultTransport].
	Next http.RoundTripper
	// Charged says from the response, or from the error in its place, whether the request was paid for, and how much; a
	// zero amount is what [Approval.Spent] has recorded, or else the price asked for. It must not read the response's
	// body. If it panics, the price counts as paid, and the panic continues after the confirmation; if it takes more than
	// 5 seconds, the price counts as paid, and it is left alone.
	//
	// Nil takes as paid what may have been paid: responses below 300, 408, 499 and from 500 on, because a gateway that
	// gives up does not stop what is behind it; and every error but those before which nothing was sent, such as no
	// connection, a certificate that is not trusted, an unknown scheme, or a context that ended before. It takes
	// redirects and other responses from 400 to 499 as not paid: the money returns to the budget.
	Charged func(*http.Response, error) (actual Amount, charged bool)
	// Unconfirmed is called when a request was sent and the confirmation did not get through, with an [*UnconfirmedError], and
	// when the purchase was made more than once, with a [*DuplicateError]. The response is returned all the same. If
	// it is nil, or panics, the client's logger has the record, or [slog.Default] when there is none.
	Unconfirmed func(*http.Request, error)
	// Options are those of [Guard]. A journal keeps no responses: a request under a key that was used before is an
	// [*AlreadyHandledError].
	Options []GuardOption
}

var (
	errNothingReturned = errors.New("letagentpay: the next transport returned neither a response nor an error")
	errNeverReturned   = errors.New("the transport did not return")
	errNotSent         = errors.New("not charged: nothing was sent")
)

// RoundTrip sends a request if it is free or approved.
func (gt *GuardTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	handedOn := false
	defer func() {
		if !handedOn && request.Body != nil {
			_ = request.Body.Close() // as a RoundTripper must, whatever happens
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
		handedOn = true
		return next.RoundTrip(request)
	}
	approval, err := gt.authorize(request, *params)
	if err != nil {
		return nil, err
	}
	p := &payment{guard: gt, request: request, approval: approval, outcome: errNotSent}
	defer p.settle()
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	handedOn = true
	return p.send(next)
}

// authorize asks for the purchase that a request makes.
func (gt *GuardTransport) authorize(request *http.Request, p PurchaseParams) (*Approval, error) {
	ctx := request.Context()
	if request.Response != nil { // a redirect, with the context of the request before it
		ctx = context.WithValue(ctx, resumeKey{}, nil)
	}
	_, resumed := ctx.Value(resumeKey{}).(string)
	header := idempotencyHeader(request.Header)
	if resumed || p.IdempotencyKey != "" || header == "" {
		return gt.Client.Authorize(ctx, p, gt.Options...)
	}
	for failed := 0; ; failed++ {
		p.IdempotencyKey = httpRequestKey(request, header, failed)
		approval, err := gt.Client.Authorize(ctx, p, gt.Options...)
		if !endedUnpaid(err) || failed == maxPurchasesPerHeader {
			return approval, err
		}
	}
}

// makesWay reports whether an error says that an earlier purchase ended without a payment, so that another attempt is
// not a second purchase.
func endedUnpaid(err error) bool {
	if as[*UnconfirmedError](err) != nil {
		return false // the service does not know that it failed
	}
	status := decisionOf(err).status
	return status == StatusFailed || status == StatusExpired
}

// payment is one priced request from its approval to its confirmation.
type payment struct {
	guard    *GuardTransport
	request  *http.Request
	approval *Approval
	charged  bool   // known to be, or possibly
	actual   Amount // zero: the price
	outcome  error  // how the request ended
}

// send sends the request once. Until the outcome is known it counts as charged.
func (pay *payment) send(next http.RoundTripper) (response *http.Response, err error) {
	pay.charged, pay.outcome = true, errNeverReturned
	once := newSingleSend(pay.approval.context())
	returned := false
	defer func() {
		if !returned { // Next or Charged panicked, or ended the goroutine
			_, _ = once.fail(pay.request, errNeverReturned)
			closeBody(response)
		}
	}()
	request := pay.request.WithContext(once.ctx)
	request.GetBody = nil // a body that is rewound would be sent again
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

// judge decides whether the request was charged.
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
	case pay.charged && err == nil && response.StatusCode >= 400: // no success, so that a retry in its scope is the same purchase
		pay.outcome = fmt.Errorf("charged, and answered with status %d", response.StatusCode)
	case pay.charged:
	case unsent:
		pay.outcome = errNotSent
	case err != nil:
		pay.outcome = errors.New("not charged, for all the error")
	default:
		pay.outcome = fmt.Errorf("not charged: status %d", response.StatusCode)
	}
}

// chargedWithin calls the user's function, whose panic or exit is the caller's. One that takes too long is left alone, and
// the price counts as paid: the confirmation does not wait for it.
func callCharged(limit time.Duration, charged func(*http.Response, error) (Amount, bool), response *http.Response, err error) (Amount, bool) {
	type verdict struct {
		actual   Amount
		charged  bool
		returned bool
		panicked any
	}
	done := make(chan verdict, 1)
	go func() {
		var v verdict
		defer func() {
			if !v.returned {
				v.panicked = recover()
			}
			done <- v
		}()
		v.actual, v.charged = charged(response, err)
		v.returned = true
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case v := <-done:
		switch {
		case v.returned:
		case v.panicked != nil:
			panic(v.panicked)
		default:
			runtime.Goexit()
		}
		return v.actual, v.charged
	case <-timer.C:
		return Amount{}, true
	}
}

// mayBeCharged reports whether an answer leaves it possible that the request was carried out.
func mayBeCharged(status int) bool {
	return status < 300 || status >= 500 || status == http.StatusRequestTimeout || status == statusClientClosed
}

// settle confirms the purchase.
func (pay *payment) settle() {
	c := pay.guard.Client
	if pay.charged {
		pay.recordSpent()
	}
	err := pay.approval.Settle(pay.approval.callContext, pay.outcome)
	c.reportUnconfirmed(pay.request, pay.approval, err, pay.guard.Unconfirmed)
}

// spend records what was paid.
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
			slog.String("request_id", pay.approval.RequestID()), slog.String("error", textOfUsers(err)))
	}
}
