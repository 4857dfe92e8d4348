// Package letagentpay is the Go SDK for LetAgentPay, the policy layer between AI agents and money.
//
// Pay only after an approval: when a guarded function runs, or when [Status.Approved] is true. Any error, and any other
// status, means that nothing may be paid.
//
// An agent requests a purchase. The agent's policy approves or rejects it at once, or leaves it to a human. The agent
// pays for what is approved by its own means, and confirms what it really paid. This package moves no money.
//
// # Guard
//
// [New] returns a [Client] for one agent. [Guard] wraps a function that spends money: each call requests approval,
// waits for a human if necessary, runs the function only if the purchase is approved, and confirms the outcome:
//
//	buy := letagentpay.Guard(client, describe, order)
//	receipt, err := buy(ctx, basket)
//
// [Client.Authorize] and [Approval.Settle] are Guard in two steps, for middleware and workflows. [GuardTransport]
// guards the requests of an HTTP client, and [GuardHandler] those of an HTTP server. [OnPendingWait] and
// [OnPendingFail] choose how long a call waits for a human, and [Resume] and [ResumeApproval] continue a pending
// purchase later.
//
// # Step by step
//
// [Client.Purchase] requests a purchase, [Client.WaitForDecision] waits for a human, and [Client.Confirm] reports the
// outcome. A request goes through these states:
//
//	              ┌─ auto_approved ─────────────┐
//	Purchase ─────┼─ pending ─┬─ approved ──────┼─ Confirm ─┬─ completed
//	              │           ├─ rejected       │           └─ failed (refunded)
//	              │           └─ expired
//	              └─ rejected
//
// [Client.Request] and [Client.Requests] read requests. [Client.Budget], [Client.Policy] and [Client.Categories] read
// what the agent may spend. [X402Client] authorises and reports x402 payments; reach it as Client.X402.
//
// # Words
//
//   - Request: one purchase at the service, with an id and a [Status]. To request means to send [Client.Purchase].
//   - Purchase: what the agent wants to buy, as [PurchaseParams] describe it: amount, category, currency, merchant and
//     description. These five identify it.
//   - Approval: the permission to pay once for a request. [Approval] is what a guarded function runs under.
//   - Spent: what was really paid. [Approval.Spent] records it. In a [Budget], money is spent from the approval on.
//   - Held: money that a pending request reserves in the [Budget].
//   - Confirm: report the outcome of an approved request to the service, once: completed or failed. A failure returns
//     the money to the budget.
//   - Settle: end an [Approval]. [Approval.Settle] decides the outcome and confirms it, or leaves the money booked if
//     the outcome is in doubt.
//   - Scope: a unit of work that may be retried as a whole, such as an agent's turn; see [WithPurchaseScope]. Its
//     purchases get the same idempotency keys in each run.
//   - Duplicate: a further request that retries of one purchase have made at a slow service. It is reported, and
//     nothing runs under it; see [DuplicateError].
//   - Resume: continue a request by its id in place of making a new one.
//
// # Money
//
// An [Amount] is exact and never a float: [ParseAmount], [MustAmount]. Amounts are in the account's currency.
//
// # Safety
//
// A purchase is sent under an idempotency key, which is the same for all its retries. Retries follow one another,
// within the bounds that [WithMaxRetries] describes. So one call runs at most one purchase; a second request that a
// slow service makes is found, reported and not run. A confirmation whose answer is lost is settled by reading the
// request.
//
// A turn that is retried sends the same keys with [WithPurchaseScope]. After a crash, [Client.Recover] brings a journal
// ([WithJournal]) and the service together. What was approved is what runs: another merchant or amount is a
// [*MismatchError]. An error that can hide a payment, see [MayHavePaid] and [NotPaid], refunds nothing. An unknown
// outcome is an [*OutcomeUnknownError] or an [*UnconfirmedError], never a guess.
//
// The file docs/design.md of the repository has the rules and the reasons.
//
// # Errors
//
// Match sentinels such as [ErrNotApproved], [ErrRateLimited] and [ErrInvalid] with [errors.Is]. Get structs such as
// [*NotApprovedError], [*AlreadyHandledError], [*UnconfirmedError], [*APIError] and [*ParamError], which carry the
// details, with [errors.As]. No error contains the token.
//
// # Observing
//
// [WithLogger] logs attempts and failures. [WithObserver] adds an [Observer] of all operations, whose names are in
// package [github.com/letagentpay/letagentpay-go/operation].
//
// # Testing
//
// Package [github.com/letagentpay/letagentpay-go/letagentpaytest] is the service as a server for tests, with scripted
// humans, one clock to move, and faults to inject.
package letagentpay
