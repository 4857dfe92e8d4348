// Package letagentpaytest is the LetAgentPay service as a server for tests of programs that spend through it.
//
//	func TestBuysTheTicket(t *testing.T) {
//		srv := letagentpaytest.NewServer(t, letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
//		agent := NewTravelAgent(srv.Client())
//
//		require.NoError(t, agent.Book(ctx, "Lisbon"))
//		srv.CheckSpent(t, money.Must("120"))
//		srv.CheckStatus(t, srv.Requests()[0].RequestID, letagentpay.StatusCompleted)
//	}
//
// The server behaves as recordings of the real service do: the same checks in the same order, the same answers and
// errors, the same bookkeeping of budgets, days, weeks and months. It has one account with one agent, named "main",
// unless [WithAgent] and [WithAccount] add more.
//
// # Who decides
//
// A purchase that the policy approves is approved at once. Without a policy, every purchase within the budget is
// pending, as on a new account, and the test decides it:
//
//	err := srv.Approve(requestID)                                     // now
//	srv.OnPending(func(r letagentpaytest.Request) letagentpaytest.Verdict { // from now on
//		if r.Amount.Less(money.Must("100")) {
//			return letagentpaytest.Approve().After(2 * time.Minute)
//		}
//		return letagentpaytest.Reject()
//	})
//
// # Time
//
// The server has one clock. It runs with the process, and [Server.Advance] moves it forward. Everything that depends on
// time follows it: expiry, the budget of the day, schedules, rate limits, delayed verdicts. The code under test has its
// own clock: code that waits for a decision waits in real time, unless the test runs in a [testing/synctest] bubble. In
// a bubble, with an [InMemory] server made inside it, both clocks are the bubble's, and half an hour takes no real
// time.
//
// Delayed verdicts and the service's expiry sweep each minute are carried out when the server is next used, in order
// and each at its own time. [Server.Sweep] expires overdue requests at once. Between two sweeps, lists show an overdue
// request as pending, as the service does. Reading the request by its id expires it.
//
// # What happened
//
// [Server.Requests], [Server.Request] and [Server.Budget] show the state behind the API. [Server.Calls] shows each call
// that arrived, with its answer. [Server.CheckSpent] and [Server.CheckStatus] are assertions in one line.
//
// # When things go wrong
//
// [Server.Fail] injects a [Fault]: an error status, a page of HTML, a connection that breaks before or after the call
// is carried out, an answer that is late, slow or cut off. A fault is for one operation or for all, for the next call
// or the next n. [Server.Pause], [Server.Archive], [Server.Block] and [Server.PauseAll] do what an owner can do, as do
// [Server.SetPolicy] and [Server.SetBudget]. An exhausted budget, a rate limit and too many pending requests need no
// fault: they occur as they do at the service.
//
// # Calls that overlap
//
// By default each call is carried out at one instant: of two overlapping purchases under one Idempotency-Key one buys,
// and of two overlapping confirmations one counts. The real service makes its checks first and commits later without
// checking again. It also continues when its client or a gateway has given up. [WithServiceRaces] makes the server do
// the same:
//
//	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
//		letagentpaytest.WithServiceRaces(letagentpaytest.Races{
//			Purchase: 6 * time.Second,       // from the check of the key to the commit
//			Confirm:  50 * time.Millisecond, // from the check of the status to the commit
//		}))
//
// Then a client that gives up on a purchase after three seconds and repeats it at once buys twice, and the key replays
// the answer that was stored last. Four overlapping failure confirmations refund the money four times. A correct client
// does not depend on the default: if it has timeouts, retries or several processes, test it under races too. [Races]
// sets the times, can choose a time for each call, and can hold a call between its check and its commit.
//
// A [Fault] with a GatewayTimeout is a gateway that gives up, with or without races. The gateway answers 504 or cuts
// the connection, and the call is carried out later.
//
//	srv.Fail(letagentpaytest.Fault{
//		Op: operation.Purchase, Delay: 6 * time.Second, GatewayTimeout: 3 * time.Second,
//	})
//
// # Sockets or none
//
// By default the server listens on a loopback port, and any HTTP client can call it at [Server.URL] with
// [Server.Token]. An [InMemory] server is faster and uses no sockets, but only its own clients reach it. [Start] starts
// a server outside a test. [Server.Handler] is the service as a handler for another HTTP server.
//
// # Where it differs from the service
//
// Where the service fails with a 500, this server answers with a 422: a negative page offset, NUL in a text, a payment
// in an asset without a rate. Where the service fails outright, this server does what was meant: an approval tops up a
// budget with auto-replenish, and an x402 report accepts the hash of a Solana transaction. A category that the account
// does not know is "other" here. The service asks a language model, which takes seconds and may choose any category of
// the account. The service recomputes the counters of the day, week and month each hour from the requests. Here they
// keep the cents by which rounding moves them. The texts of the checks' details differ.
//
// Without [WithServiceRaces], calls that overlap are carried out one after the other. With it, purchases and
// confirmations race. An x402 authorisation or report is still carried out at one instant. A test sets how long a call
// takes, and so whether two overlap. At the service that depends on the load, and on whether the account knows the
// category.
package letagentpaytest
