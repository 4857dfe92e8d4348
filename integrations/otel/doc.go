// Package otelletagentpay traces and measures a LetAgentPay client with OpenTelemetry:
//
//	observer, err := otelletagentpay.New()
//	...
//	client, err := letagentpay.New(letagentpay.WithObserver(observer))
//
// # Spans
//
// Every operation is a span under the one in its context, so that a guarded call contains its purchase, its wait, its
// confirmation, and what the guarded function itself traces. After [letagentpay.Client.Authorize] the confirmation
// belongs to the context given to [letagentpay.Approval.Settle].
//
//	letagentpay.purchase   client     asking for a purchase, all attempts
//	letagentpay.wait       internal   waiting for the decision of a human
//	letagentpay.confirm    client     telling the service how a purchase ended, all attempts
//	letagentpay.guard      internal   a call of a guarded function, or the time from Authorize to Settle
//
// Their attributes, each where it is known:
//
//	letagentpay.request.id       the id of the purchase request
//	letagentpay.decision         not on confirm; see below
//	letagentpay.outcome          on confirm and guard; see below
//	letagentpay.amount           exact, as text: "49.99"
//	letagentpay.currency         "USD"
//	letagentpay.category         as the service resolved it; as asked, when it did not get that far
//	error.type                   what went wrong; see below
//	http.response.status_code    on purchase, wait and confirm: the status of the answer that was an error
//
// A span has the status Error when something went wrong, and only then. That a purchase is rejected, expires, or is
// still pending when the time to wait is over or its caller gives up, is a decision and no error, although the guarded
// call returns one; so is [letagentpay.AlreadyHandledError] when the end of the earlier call is known. When it is not
// known, somebody should look, and the span has the status Error. So it has when the guarded function failed.
//
// # Metrics
//
//	letagentpay.operations            counter      operations ended
//	letagentpay.operation.duration    histogram    how long they took, in seconds
//	letagentpay.purchase.amount       histogram    amounts of the purchases that were decided about or are pending
//	letagentpay.guard.calls           counter      guarded calls
//
// The first two have the attributes letagentpay.operation (purchase, wait, confirm, guard), letagentpay.decision,
// letagentpay.outcome and error.type; the third letagentpay.currency and letagentpay.decision; the fourth
// letagentpay.outcome. All have few values, whatever is bought: ids, categories and merchants are not among them.
//
// Amounts are exact in the SDK and on spans. OpenTelemetry measures in floating point, so the sums of
// letagentpay.purchase.amount are approximate, for dashboards and not for accounts. An answer that the service repeats
// because of an idempotency key is measured each time.
//
// # Values
//
// letagentpay.decision is auto_approved (by the policy), approved, rejected, expired or pending; _OTHER stands for one
// that this version does not know. Of a guarded call that got an approval it is approved.
//
// letagentpay.outcome is completed or failed, as was confirmed to the service, or error. A guarded call that did not run
// has rejected, expired, pending, already_handled, or error when it did not come to a decision; one that ran and could
// not be confirmed has unconfirmed.
//
// error.type is one word for the errors of the SDK (unauthorized, forbidden, not_found, conflict, invalid, rate_limited,
// too_many_pending, server, no_response, malformed_response, outcome_unknown, unconfirmed, already_handled, mismatch,
// rejected, expired, pending, overspend, settled), canceled and deadline_exceeded for those of a context, and the Go
// type for any other, beneath the wrappers of the packages errors and fmt, unless that type names itself with a method
// ErrorType() string.
//
// # What is not recorded
//
// The token, idempotency keys, merchants, descriptions, comments and receipts are never recorded. Neither are the
// messages of errors, because that of a guarded function may say anything; [WithErrorMessages] adds them to spans.
//
// HTTP requests have no spans here. For those, give the client a traced transport with [letagentpay.WithHTTPClient].
package otelletagentpay
