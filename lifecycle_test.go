package letagentpay_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

const approveUpTo50 = `{"per_request_limit": 200, "auto_approve": {"enabled": true, "max_amount": 50}}`

func serve(t *testing.T, opts ...letagentpaytest.Option) *letagentpaytest.Server {
	t.Helper()
	return letagentpaytest.NewServer(t, append([]letagentpaytest.Option{
		letagentpaytest.InMemory(), letagentpaytest.WithBudget(letagentpay.MustAmount("500")),
		letagentpaytest.WithPolicyJSON(approveUpTo50),
	}, opts...)...)
}

func price(amount string) letagentpay.PurchaseParams {
	return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount(amount), Category: "groceries"}
}

// books checks the amounts that the server has as spent and as held.
func books(t *testing.T, server *letagentpaytest.Server, spent, held string) {
	t.Helper()
	budget := server.Budget()
	assert.Equal(t, spent+" spent, "+held+" held", budget.Spent.String()+" spent, "+budget.Held.String()+" held")
}

func TestLifecycleAgainstTheServer(t *testing.T) {
	for name, opts := range map[string][]letagentpaytest.Option{
		"in memory":   nil,
		"with a seed": {letagentpaytest.WithSeed(7)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t, opts...)
				client := server.Client()
				server.OnPending(func(r letagentpaytest.Request) letagentpaytest.Verdict {
					if r.Amount.Less(letagentpay.MustAmount("100")) {
						return letagentpaytest.Approve().After(2 * time.Minute)
					}
					return letagentpaytest.Reject().After(time.Minute)
				})

				purchase, err := client.Purchase(t.Context(), price("49.99"))
				require.NoError(t, err)
				assert.Equal(t, letagentpay.StatusAutoApproved, purchase.Status)
				assert.Equal(t, letagentpay.MustAmount("450.01"), *purchase.BudgetRemaining)
				_, err = client.Confirm(t.Context(), purchase.RequestID, letagentpay.ConfirmParams{
					Success:      true,
					ActualAmount: letagentpay.MustAmount("47.50"),
				})
				require.NoError(t, err)
				books(t, server, "47.50", "0.00")

				purchase, err = client.Purchase(t.Context(), price("80"))
				require.NoError(t, err)
				assert.Equal(t, letagentpay.StatusPending, purchase.Status)
				books(t, server, "47.50", "80.00")
				decided, err := client.WaitForDecision(t.Context(), purchase.RequestID)
				require.NoError(t, err)
				assert.Equal(t, letagentpay.StatusApproved, decided.Status)
				assert.False(t, decided.ReviewedAt.IsZero())
				_, err = client.Confirm(t.Context(), purchase.RequestID, letagentpay.ConfirmParams{})
				require.NoError(t, err)
				books(t, server, "47.50", "0.00")
				_, err = client.Confirm(t.Context(), purchase.RequestID, letagentpay.ConfirmParams{})
				require.ErrorIs(t, err, letagentpay.ErrConflict)

				_, err = client.Authorize(t.Context(), price("150"))
				var rejected *letagentpay.NotApprovedError
				require.ErrorAs(t, err, &rejected)
				require.Equal(t, letagentpay.StatusRejected, rejected.Status)
				assert.Empty(t, rejected.Checks, "the rejection of a human names no rule")
				_, err = client.Authorize(t.Context(), price("201"))
				require.ErrorAs(t, err, &rejected)
				require.Equal(t, letagentpay.StatusRejected, rejected.Status)
				assert.Equal(t, "per_request_limit", rejected.Checks[0].Rule)

				server.OnPending(nil)
				begun := time.Now()
				_, err = client.Authorize(t.Context(), price("60"), letagentpay.OnPendingWait(time.Hour))
				var expired *letagentpay.NotApprovedError
				require.ErrorAs(t, err, &expired)
				require.Equal(t, letagentpay.StatusExpired, expired.Status)
				assert.InDelta(t, 30*60, time.Since(begun).Seconds(), 20, "the request expires after half an hour")
				books(t, server, "47.50", "0.00")

				server.Pause()
				_, err = client.Budget(t.Context())
				require.ErrorIs(t, err, letagentpay.ErrForbidden)
			})
		})
	}
}

// Each fault hits one call of a guarded purchase. In every case the function runs once, and the budget matches its
// outcome.
func TestGuardSurvivesFaults(t *testing.T) {
	faults := map[string]letagentpaytest.Fault{
		"connection dropped before": {Drop: letagentpaytest.DropBefore},
		"connection dropped after":  {Drop: letagentpaytest.DropAfter},
		"server error":              {Status: 500},
		"error after the commit":    {Status: 502, AfterCommit: true, NonJSON: true},
		"truncated":                 {Truncate: 20},
		"no JSON":                   {NonJSON: true},
		"rate limited":              {Status: 429},
		"unavailable":               {Status: 503, Times: 2},
		"slow":                      {Delay: 3 * time.Second},
	}
	for name, fault := range faults {
		for op, times := range map[operation.Op]int{operation.Purchase: 1, operation.Confirm: 1, operation.Request: 1} {
			for _, result := range []error{nil, errShop} {
				t.Run(name+" on "+string(op), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						server := serve(t)
						server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
							return letagentpaytest.Approve().After(5 * time.Second)
						})
						fault := fault
						fault.Op, fault.Times = op, max(fault.Times, times)
						server.Fail(fault)
						var runs atomic.Int64
						client := server.Client()
						_, err := guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
							if result != nil {
								return "", result
							}
							return spending("75", nil)(ctx)
						})(t.Context(), price("80"))
						require.ErrorIs(t, err, result)
						assert.EqualValues(t, 1, runs.Load())
						require.Len(t, server.Requests(), 1, "bought once")
						if op == operation.Confirm && result != nil && fault.Drop == letagentpaytest.DropBefore {
							// The first confirmation may still arrive, so a second one has to wait.
							var unconfirmed *letagentpay.UnconfirmedError
							require.ErrorAs(t, err, &unconfirmed)
							_, err = client.Confirm(t.Context(), unconfirmed.RequestID, unconfirmed.Params)
							require.Error(t, err)
							time.Sleep(time.Minute)
							_, err = client.Confirm(t.Context(), unconfirmed.RequestID, unconfirmed.Params)
							require.NoError(t, err)
						}
						if result == nil {
							require.NoError(t, err)
							assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status)
							books(t, server, "75.00", "0.00")
						} else {
							assert.Equal(t, letagentpay.StatusFailed, server.Requests()[0].Status)
							books(t, server, "0.00", "0.00")
						}
					})
				})
			}
		}
	}
}

func TestReplayedTurnBuysNothingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		p := price("30")
		p.IdempotencyKey = "turn-7"
		var runs atomic.Int64
		for i := range 3 {
			guarded := guardGroceries(server.Client(), &runs, succeed) // a new client, as in a new process
			_, err := guarded(t.Context(), p)
			if i == 0 {
				require.NoError(t, err)
				continue
			}
			var handled *letagentpay.AlreadyHandledError
			require.ErrorAs(t, err, &handled)
			assert.Equal(t, letagentpay.StatusCompleted, handled.Request.Status)
		}
		assert.EqualValues(t, 1, runs.Load())
		books(t, server, "30.00", "0.00")
	})
}

// After a crash between approval and confirmation, the request may or may not have run.
func TestCrashBeforeConfirmationIsNotRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		p := price("30")
		p.IdempotencyKey = "turn-7"
		crashed, err := server.Client().Purchase(t.Context(), p) // and then the process dies
		require.NoError(t, err)

		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, succeed)
		_, err = guarded(t.Context(), p)
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.Equal(t, crashed.RequestID, handled.Request.RequestID)
		assert.Zero(t, runs.Load())

		_, err = guarded(letagentpay.ResumeApproval(t.Context(), crashed.RequestID), p)
		require.NoError(t, err, "resuming is the explicit way to run it")
		assert.EqualValues(t, 1, runs.Load())
		books(t, server, "30.00", "0.00")
	})
}

func TestCrashWhileWaitingIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		p := price("80")
		p.IdempotencyKey = "turn-7"
		pending, err := server.Client().Purchase(t.Context(), p) // and then the process dies
		require.NoError(t, err)
		time.AfterFunc(5*time.Minute, func() { assert.NoError(t, server.Approve(pending.RequestID)) })
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, succeed, letagentpay.OnPendingWait(time.Hour))
		_, err = guarded(t.Context(), p)
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled, "the first caller may still wait for it")
		assert.Equal(t, letagentpay.StatusPending, handled.Request.Status)
		assert.False(t, handled.MayHaveRun)
		_, err = guarded(letagentpay.ResumeApproval(t.Context(), handled.Request.RequestID), p)
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
		books(t, server, "80.00", "0.00")
	})
}

func TestKeyOfAnotherPurchaseRunsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, succeed)
		p := price("30")
		p.IdempotencyKey = "turn-7"
		_, err := guarded(t.Context(), p)
		require.NoError(t, err)
		for _, change := range []func(*letagentpay.PurchaseParams){
			func(p *letagentpay.PurchaseParams) { p.Amount = letagentpay.MustAmount("40") },
			func(p *letagentpay.PurchaseParams) { p.Category = "taxi" },
			func(p *letagentpay.PurchaseParams) { p.Category = "no such thing" },
		} {
			other := p
			change(&other)
			_, err = guarded(t.Context(), other)
			var mismatch *letagentpay.MismatchError
			require.ErrorAs(t, err, &mismatch)
			require.ErrorIs(t, err, letagentpay.ErrConflict)
		}
		assert.EqualValues(t, 1, runs.Load())
	})
}

func TestKeyWithAnAliasedOrUnknownCategory(t *testing.T) {
	for _, category := range []string{"uber", "Unknown Thing", " Groceries "} {
		synctest.Test(t, func(t *testing.T) {
			server := serve(t, letagentpaytest.WithAliases(map[string]string{"uber": "taxi"}),
				letagentpaytest.WithCategories("groceries", "other", "taxi"))
			var runs atomic.Int64
			p := price("30")
			p.IdempotencyKey, p.Category = "turn-7", category
			_, err := guardGroceries(server.Client(), &runs, succeed)(t.Context(), p)
			require.NoError(t, err, category)
			assert.EqualValues(t, 1, runs.Load())
		})
	}
}

func TestPausedWhileTheFunctionRuns(t *testing.T) {
	server := serve(t)
	approval, err := server.Client().Authorize(t.Context(), price("30"))
	require.NoError(t, err)
	server.Pause()
	var confirm *letagentpay.UnconfirmedError
	require.ErrorAs(t, approval.Settle(t.Context(), errShop), &confirm)
	require.ErrorIs(t, confirm, letagentpay.ErrForbidden)
	books(t, server, "30.00", "0.00")
	server.Resume()
	require.NoError(t, approval.Settle(t.Context(), nil), "the first call decides the outcome")
	books(t, server, "0.00", "0.00")
}

// Many goroutines share a budget over real sockets.
func TestCrowdOverSockets(t *testing.T) {
	server := letagentpaytest.NewServer(t, letagentpaytest.WithBudget(letagentpay.MustAmount("100")),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
	client := server.Client()
	var bought, refused atomic.Int64
	guarded := letagentpay.Guard(client, price, func(ctx context.Context, amount string) (string, error) {
		bought.Add(1)
		return spending("4", nil)(ctx)
	})
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if _, err := guarded(t.Context(), "5"); err != nil {
				assert.ErrorIs(t, err, letagentpay.ErrNotApproved)
				refused.Add(1)
			}
		})
	}
	group.Wait()
	assert.EqualValues(t, 50, bought.Load()+refused.Load())
	assert.GreaterOrEqual(t, bought.Load(), int64(20),
		"the budget covers at least 20, and more as confirmations lower the amounts")
	var spent letagentpay.Amount
	for range bought.Load() {
		spent = spent.Add(letagentpay.MustAmount("4"))
	}
	books(t, server, spent.String(), "0.00")
}
