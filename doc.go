// Package letagentpay is the Go SDK for LetAgentPay, the policy layer between AI agents and money.
//
// An agent asks before it spends. The service's policy engine approves the purchase at once, rejects it, or leaves it
// to a human. What is approved the agent pays by its own means, and then confirms what it really paid.
//
// # Guard
//
// The shortest way is to wrap the functions that spend money. [Guard] returns a function that runs yours only when the
// purchase is approved, waits for the human where one is needed, and always reports to the service how it ended:
//
//	buy := letagentpay.Guard(client, describe, order)
//	receipt, err := buy(ctx, basket)
//
// [Client.Authorize] and [Approval.Settle] are the same in two steps, for middleware and workflows. [GuardTransport] and
// [GuardHandler] guard paid HTTP requests and paid endpoints.
//
// # Step by step
//
// [Client.Purchase] asks, [Client.WaitForDecision] waits for the human, [Client.Confirm] reports the end. A request
// goes through these states:
//
//	              ┌─ auto_approved ─────────────┐
//	Purchase ─────┼─ pending ─┬─ approved ──────┼─ Confirm ─┬─ completed
//	              │           ├─ rejected       │           └─ failed (refunded)
//	              │           └─ expired
//	              └─ rejected
//
// [Client.Request], [Client.Requests], [Client.Budget], [Client.Policy] and [Client.Categories] read. [Client.X402]
// authorises and reports x402 payments.
//
// # Money
//
// An [Amount] is exact and never a float: [ParseAmount], [MustAmount]. Amounts are in the account's currency.
//
// # What cannot happen
//
// A purchase is sent under an idempotency key, the same on all its retries, and retries follow one another within the
// bounds described at [WithMaxRetries]: one call runs at most one purchase. Should a slow service make a second request
// of it, that is found and named, and not run. A confirmation whose answer is lost is settled by reading the request. A
// turn that is retried asks under the same keys ([WithPurchaseScope]), a crash is settled from a journal ([WithJournal]),
// and nothing runs again. What was approved is what runs: another merchant or amount is a [*MismatchError]. An error
// that can hide a payment ([MayHavePaid]) refunds nothing. What stays unknown is never reported as a success or a
// failure, but as an [*OutcomeUnknownError] or an [*UnconfirmedError].
//
// # Errors
//
// Sentinels such as [ErrNotApproved], [ErrRateLimited] and [ErrInvalid] are matched with [errors.Is]; structs such as
// [*RejectedError], [*APIError] and [*ParamError] carry the details and are reached with [errors.As]. The token is in
// none of them.
//
// # Testing
//
// Package [github.com/letagentpay/letagentpay-go/letagentpaytest] is the service in a box: the same lifecycle in your
// tests, with scripted humans, one clock to move, and faults on demand.
package letagentpay
