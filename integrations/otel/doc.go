// Package otelletagentpay traces and measures a LetAgentPay client with OpenTelemetry:
//
//	observer, err := otelletagentpay.New()
//	...
//	client, err := letagentpay.New(letagentpay.WithObserver(observer))
//
// # Spans
//
// Every operation is a span below the one in its context: a guarded call contains its purchase, its wait, its
// confirmation, and the spans of the guarded function. After [letagentpay.Client.Authorize], the confirmation belongs
// to the context given to [letagentpay.Approval.Settle].
//
//	letagentpay.purchase   client     requesting a purchase, all attempts
//	letagentpay.wait       internal   waiting for the decision of a human
//	letagentpay.confirm    client     reporting the outcome of a purchase, all attempts
//	letagentpay.guard      internal   a call of a guarded function, or the time from Authorize to Settle
//
// Their attributes, where they are known:
//
//	letagentpay.request.id       the id of the purchase request
//	letagentpay.decision         not on confirm; see below
//	letagentpay.outcome          on confirm and guard; see below
//	letagentpay.amount           exact, as text: "49.99"
//	letagentpay.currency         "USD"
//	letagentpay.category         as the service resolved it, or else as requested
//	error.type                   what went wrong; see below
//	http.response.status_code    on purchase, wait and confirm: the status of an answer that was an error
//
// A span has the status Error only when something went wrong, for example when the guarded function failed. A purchase
// that is rejected, expires, or is still pending when its time is over or its caller gives up, is a decision and not an
// error, although the guarded call returns an error. [letagentpay.AlreadyHandledError] is a decision too if the outcome
// of the earlier call is known. If it is unknown, somebody should look into it, and the span has the status Error.
//
// # Metrics
//
//	letagentpay.operations            counter      operations ended
//	letagentpay.operation.duration    histogram    how long they took, in seconds
//	letagentpay.purchase.amount       histogram    amounts of purchases that are decided or pending
//	letagentpay.guard.calls           counter      guarded calls
//
// The first two have the attributes letagentpay.operation (purchase, wait, confirm, guard), letagentpay.decision,
// letagentpay.outcome and error.type; the third letagentpay.currency and letagentpay.decision; the fourth
// letagentpay.outcome. Each of these has few values: ids, categories and merchants are not among them.
//
// The sums of letagentpay.purchase.amount are approximate, because OpenTelemetry measures in floating point: use them
// for dashboards, not for accounts. Amounts are exact in the SDK and on spans. An answer that the service repeats
// because of an idempotency key is measured each time.
//
// # Values
//
// letagentpay.decision is auto_approved (by the policy), approved, rejected, expired or pending. _OTHER stands for a
// decision that this version does not know. A guarded call that was approved has the decision approved.
//
// letagentpay.outcome is completed or failed, as was confirmed to the service, or error. A guarded call whose function
// did not run has rejected, expired, pending or already_handled, or error when there was no decision. One whose
// function ran, but could not be confirmed, has unconfirmed.
//
// error.type is one word for an error of the SDK: unauthorized, forbidden, not_found, conflict, invalid, rate_limited,
// too_many_pending, server, no_response, malformed_response, outcome_unknown, unconfirmed, already_handled, mismatch,
// rejected, expired, pending, overspend or settled. It is canceled or deadline_exceeded for an error of a context. For
// any other error it is what the error's method ErrorType() string returns, or else its Go type, below the wrappers of
// the packages errors and fmt.
//
// # What is not recorded
//
// The token, idempotency keys, merchants, descriptions, comments and receipts are never recorded. Messages of errors
// are not recorded, because the message of a guarded function may say anything; [WithErrorMessages] adds them to spans.
//
// This package makes no spans for HTTP requests. To get them, give the client a traced transport with
// [letagentpay.WithHTTPClient].
package otelletagentpay
