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
// # Sockets or none
//
// By default the server listens on a loopback port, and anything that speaks HTTP can call it at [Server.URL] with
// [Server.Token]. With [InMemory] only its own clients reach it, faster and without sockets. [Start] is the same
// outside of tests, and [Server.Handler] the service for a server of one's own.
//
// # Where it differs from the service
//
// Where the service fails with a 500, this server answers with a 422: a negative page offset, a payment in an asset
// without a rate. Two purchases at once under one idempotency key are one purchase here; at the service they may be
// two. An approval tops up a budget with auto-replenish in every case.
package letagentpaytest
