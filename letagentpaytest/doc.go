// Package letagentpaytest is the LetAgentPay service in a box, for tests of programs that spend through it.
//
//	func TestBuysTheTicket(t *testing.T) {
//		srv := letagentpaytest.NewServer(t, letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
//		agent := NewTravelAgent(srv.Client())
//
//		require.NoError(t, agent.Book(ctx, "Lisbon"))
//		require.Equal(t, letagentpay.StatusCompleted, srv.Requests()[0].Status)
//	}
//
// The server behaves as the real service was recorded to: the same checks in the same order, the same answers and
// errors, the same bookkeeping of budgets, days, weeks and months. It has one account with one agent, named "main",
// unless [WithAgent] and [WithAccount] add more.
//
// # Who decides
//
// A purchase that the policy approves by itself is approved at once. Without a policy nothing is: every purchase within
// the budget is pending, as on a new account. Then somebody has to decide, and in a test that is the test:
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
// The server has one clock. It runs with the process, and [Server.Advance] moves it, and with it everything that
// depends on time: expiry, the budget of the day, schedules, rate limits, delayed verdicts. The clock of the code under
// test is another matter: code that waits for a decision waits for real, unless the test runs in a [testing/synctest]
// bubble. There, with an [InMemory] server made inside the bubble, both clocks are the bubble's, and half an hour
// passes in no time.
//
// What comes due while nobody looks is done when somebody does, in order and each thing at its own time: the verdicts
// with a delay, and the service's sweep each minute, which expires what is overdue. [Server.Sweep] does the latter at
// once. In between the service shows an overdue request as pending, and so does this server; reading it by its id
// expires it.
//
// # What happened
//
// [Server.Requests], [Server.Request] and [Server.Budget] show the state behind the API, [Server.Calls] each call that
// came in and its answer.
//
// # When things go wrong
//
// [Server.Fail] orders an outage: an error status, a page of HTML, a connection that breaks before or after the call
// was carried out, an answer that is late, slow or cut off; for one operation or all, for the next call or the next n.
// [Server.Pause], [Server.Archive], [Server.Block] and [Server.PauseAll] are what an owner can do, [Server.SetPolicy]
// and [Server.SetBudget] too. Running out of budget, being too fast and having too much pending need no order: they
// happen as they do at the service.
//
// # Calls that overlap
//
// By default each call is carried out at one instant: of two purchases at once under one Idempotency-Key one buys, and
// of two confirmations one counts. The running service makes its checks first, commits later without checking again,
// and continues when its client or a gateway has given up. [WithServiceRaces] makes the server do the same:
//
//	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
//		letagentpaytest.WithServiceRaces(letagentpaytest.Races{
//			Purchase: 6 * time.Second,       // from the check of the key to the commit
//			Confirm:  50 * time.Millisecond, // from the check of the status to the commit
//		}))
//
// Then a client that gives up on a purchase after three seconds and repeats it at once has bought twice, and the key
// replays the answer that was stored last. Four failure confirmations at once give the money back four times. A correct
// client does not depend on the default: if it has time-outs, retries or several processes, test it under races too.
// [Races] sets the times, and can choose one for each call or hold a call between its check and its commit.
//
// A [Fault] with a GatewayTimeout is a gateway that gives up, with or without races: it answers 504, or cuts the
// connection, and the call is carried out later.
//
//	srv.Fail(letagentpaytest.Fault{
//		Op: operation.Purchase, Delay: 6 * time.Second, GatewayTimeout: 3 * time.Second,
//	})
//
// # Sockets or none
//
// By default the server listens on a loopback port, and anything that speaks HTTP can call it at [Server.URL] with
// [Server.Token]. With [InMemory] only its own clients reach it, faster and without sockets. [Start] is the same
// outside of tests, and [Server.Handler] the service for a server of one's own.
//
// # Where it differs from the service
//
// Where the service fails with a 500, this server answers with a 422: a negative page offset, NUL in a text, a payment
// in an asset without a rate. Where the service fails outright, this server does what was meant: an approval tops up a
// budget with auto-replenish, and an x402 report takes the hash of a Solana transaction. A category that the account
// does not know is "other" here; the service asks a language model, which takes seconds and may choose any category of
// the account. The service sets the counters of the day, week and month anew each hour, from the requests; here they
// keep the cents by which rounding moves them. The texts of the checks' details differ.
//
// Without [WithServiceRaces], calls that overlap are carried out one after the other. With it, purchases and
// confirmations race; an x402 authorization or report is still carried out at one instant. How long a call takes, and
// so whether two overlap, is for the test to say; at the service it depends on the load, and on whether the account
// knows the category.
package letagentpaytest
