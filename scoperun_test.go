package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// placements are ways to place a scope around the attempts at one unit of work.
var placements = map[string]func(ctx context.Context) (attempt func() context.Context){
	"around the loop": func(ctx context.Context) func() context.Context {
		ctx = letagentpay.WithPurchaseScope(ctx, "message 17")
		return func() context.Context { return ctx }
	},
	"inside the loop": func(ctx context.Context) func() context.Context {
		return func() context.Context { return letagentpay.WithPurchaseScope(ctx, "message 17") }
	},
	"runs inside the loop": func(ctx context.Context) func() context.Context {
		ctx = letagentpay.WithPurchaseScope(ctx, "message 17")
		return func() context.Context { return letagentpay.WithScopeRun(ctx) }
	},
	"scopes and runs inside the loop": func(ctx context.Context) func() context.Context {
		return func() context.Context {
			return letagentpay.WithScopeRun(letagentpay.WithPurchaseScope(ctx, "message 17"))
		}
	},
}

// inEachPlacement runs a test for each placement, in one process and in a process for each attempt, with and without a
// journal.
func inEachPlacement(t *testing.T, test func(t *testing.T, server *letagentpaytest.Server,
	client func() *letagentpay.Client, attempt func() context.Context, opts ...letagentpay.GuardOption),
) {
	for name, place := range placements {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restarts ", restarts), func(t *testing.T) {
				withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
					server := serve(t, letagentpaytest.WithAliases(map[string]string{
						"food": "groceries",
						"uber": "taxi",
					}))
					client := func() *letagentpay.Client { return server.Client() }
					if restarts {
						client = func() *letagentpay.Client { return server.Client(elsewhere()) }
					}
					test(t, server, client, place(t.Context()), opts...)
				})
			})
		}
	}
}

func TestRefusalByAHumanIsNotAskedAgain(t *testing.T) {
	inEachPlacement(t, func(t *testing.T, server *letagentpaytest.Server, client func() *letagentpay.Client,
		attempt func() context.Context, opts ...letagentpay.GuardOption,
	) {
		decisions := 0
		server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			decisions++
			return letagentpaytest.Reject().After(time.Minute)
		})
		var runs atomic.Int64
		for range 4 {
			_, err := guardGroceries(client(), &runs, succeed, opts...)(attempt(), whole("60"))
			var rejected *letagentpay.NotApprovedError
			require.ErrorAs(t, err, &rejected)
			require.Equal(t, letagentpay.StatusRejected, rejected.Status)
			assert.Equal(t, server.Requests()[0].RequestID, rejected.RequestID)
		}
		assert.Zero(t, runs.Load())
		assert.Equal(t, 1, decisions, "decisions requested from the human")
		assert.Len(t, server.Requests(), 1)
	})
}

func TestRefusalByThePolicyStands(t *testing.T) {
	inEachPlacement(t, func(t *testing.T, server *letagentpaytest.Server, client func() *letagentpay.Client,
		attempt func() context.Context, opts ...letagentpay.GuardOption,
	) {
		var runs atomic.Int64
		for range 3 {
			_, err := guardGroceries(client(), &runs, succeed, opts...)(attempt(), whole("201"))
			var rejected *letagentpay.NotApprovedError
			require.ErrorAs(t, err, &rejected)
			require.Equal(t, letagentpay.StatusRejected, rejected.Status)
			require.NotEmpty(t, rejected.Checks)
			assert.Equal(t, "per_request_limit", rejected.Checks[0].Rule)
		}
		assert.Len(t, server.Requests(), 1)
		assert.Zero(t, runs.Load())
	})
}

func TestRetryAfterAFailureRunsAgain(t *testing.T) {
	inEachPlacement(t, func(t *testing.T, server *letagentpaytest.Server, client func() *letagentpay.Client,
		attempt func() context.Context, opts ...letagentpay.GuardOption,
	) {
		var runs atomic.Int64
		fails := 3
		fn := func(context.Context) (string, error) {
			if fails > 0 {
				fails--
				return "", errShop
			}
			return "receipt", nil
		}
		for range 3 {
			_, err := guardGroceries(client(), &runs, fn, opts...)(attempt(), whole("30"))
			assert.Equal(t, errShop, err)
			books(t, server, "0.00", "0.00") // refunded: nothing was spent
		}
		_, err := guardGroceries(client(), &runs, fn, opts...)(attempt(), whole("30"))
		require.NoError(t, err, "a retry after the shop was closed")
		assert.EqualValues(t, 4, runs.Load())
		books(t, server, "30.00", "0.00")
	})
}

func TestExpiredPurchaseIsAskedForAgain(t *testing.T) {
	inEachPlacement(t, func(t *testing.T, server *letagentpaytest.Server, client func() *letagentpay.Client,
		attempt func() context.Context, opts ...letagentpay.GuardOption,
	) {
		var runs atomic.Int64
		opts = append(opts, letagentpay.OnPendingWait(time.Hour))
		for i := range 2 {
			_, err := guardGroceries(client(), &runs, succeed, opts...)(attempt(), whole("60"))
			var expired *letagentpay.NotApprovedError
			require.ErrorAs(t, err, &expired)
			require.Equal(t, letagentpay.StatusExpired, expired.Status)
			assert.Len(t, server.Requests(), i+1, "the next attempt makes a new request")
		}
		server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			return letagentpaytest.Approve().After(time.Minute)
		})
		_, err := guardGroceries(client(), &runs, succeed, opts...)(attempt(), whole("60"))
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
		books(t, server, "60.00", "0.00")
	})
}

// The price changes, so that it is another purchase. The earlier one stays as it is.
func TestSuccessInAPlainScopeIsNotRepeated(t *testing.T) {
	for _, name := range []string{"around the loop", "inside the loop"} {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restarts ", restarts), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					server := serve(t)
					attempt := placements[name](t.Context())
					client := server.Client()
					var runs atomic.Int64
					_, err := guardGroceries(client, &runs, succeed)(attempt(), whole("30"))
					require.NoError(t, err)
					for range 3 {
						if restarts {
							client = server.Client(elsewhere())
						}
						_, err = guardGroceries(client, &runs, succeed)(attempt(), whole("30"))
						var handled *letagentpay.AlreadyHandledError
						require.ErrorAs(t, err, &handled)
						assert.Equal(t, letagentpay.StatusCompleted, handled.Request.Status)
					}
					_, err = guardGroceries(client, &runs, succeed)(attempt(), whole("31"))
					require.NoError(t, err)
					assert.EqualValues(t, 2, runs.Load())
					books(t, server, "61.00", "0.00")
				})
			})
		}
	}
}

func TestRunCountsIdenticalPurchasesAndItsRerunBuysNothing(t *testing.T) {
	for _, name := range []string{"runs inside the loop", "scopes and runs inside the loop"} {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restarts ", restarts), func(t *testing.T) {
				withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
					server := serve(t)
					attempt := placements[name](t.Context())
					client := server.Client()
					var runs atomic.Int64
					ctx := attempt()
					for range 3 {
						_, err := guardGroceries(client, &runs, succeed, opts...)(ctx, price("5"))
						require.NoError(t, err, "the next identical purchase of a run is another one")
					}
					for range 3 { // reruns
						if restarts {
							client = server.Client(elsewhere())
						}
						ctx := attempt()
						for range 3 {
							result, err := guardGroceries(client, &runs, succeed, opts...)(ctx, price("5"))
							if len(opts) > 0 {
								require.NoError(t, err)
								assert.Equal(t, "receipt", result)
								continue
							}
							var handled *letagentpay.AlreadyHandledError
							require.ErrorAs(t, err, &handled)
							assert.Equal(t, letagentpay.StatusCompleted, handled.Request.Status)
						}
						assert.EqualValues(t, 3, runs.Load())
						assert.Len(t, server.Requests(), 3)
					}
				})
			})
		}
	}
}

// A rerun that gets further than the first run buys only the remaining items.
func TestRerunBuysWhatTheFirstRunHadNotBought(t *testing.T) {
	withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
		server := serve(t)
		var runs atomic.Int64
		run := func() context.Context {
			return letagentpay.WithScopeRun(letagentpay.WithPurchaseScope(t.Context(), "message 17"))
		}
		guarded := guardGroceries(server.Client(), &runs, succeed, opts...)
		ctx := run()
		for range 2 {
			_, err := guarded(ctx, price("5"))
			require.NoError(t, err)
		}
		bought := 0
		for ctx := run(); bought < 3; { // each purchase until it succeeds, as a retry within the run does
			_, err := guarded(ctx, price("5"))
			var handled *letagentpay.AlreadyHandledError
			if err != nil {
				require.ErrorAs(t, err, &handled)
				require.Equal(t, letagentpay.StatusCompleted, handled.Request.Status)
			}
			bought++
		}
		if len(opts) > 0 {
			assert.EqualValues(t, 3, runs.Load(), "replayed results count as successes of this run")
		}
		assert.LessOrEqual(t, runs.Load(), int64(3))
	})
}

// Errors do not count: a retry within a run repeats the same purchase.
func TestErrorDoesNotUseUpAPurchase(t *testing.T) {
	for name, fault := range map[string]letagentpaytest.Fault{
		"confirmation lost":         {Op: operation.Confirm, Status: 503, Times: -1},
		"purchase unanswered":       {Op: operation.Purchase, Drop: letagentpaytest.DropAfter, Times: -1},
		"purchase refused":          {Op: operation.Purchase, Status: 403, Times: -1},
		"request unreadable":        {Op: operation.Request, Status: 503, Times: -1},
		"list unreadable":           {Op: operation.Requests, Status: 503, Times: -1},
		"nothing answers":           {Drop: letagentpaytest.DropBefore, Times: -1},
		"the gateway loses answers": {Status: 502, AfterCommit: true, NonJSON: true, Times: -1},
		"rate limited":              {Op: operation.Purchase, Status: 429, Times: -1},
	} {
		t.Run(name, func(t *testing.T) {
			_ = defaultLog(t)
			inEachPlacement(t, func(t *testing.T, server *letagentpaytest.Server, client func() *letagentpay.Client,
				attempt func() context.Context, opts ...letagentpay.GuardOption,
			) {
				var runs atomic.Int64
				for range 2 {
					server.Fail(fault)
					_, err := guardGroceries(client(), &runs, succeed, opts...)(attempt(), whole("30"))
					require.Error(t, err)
					server.ClearFaults()
					time.Sleep(10 * time.Minute)
					assert.LessOrEqual(t, runs.Load(), int64(1))
					assert.LessOrEqual(t, len(server.Requests()), 1)
				}
				for range 3 {
					_, _ = guardGroceries(client(), &runs, succeed, opts...)(attempt(), whole("30"))
				}
				assert.LessOrEqual(t, runs.Load(), int64(1))
				assert.Len(t, server.Requests(), 1)
			})
		})
	}
}

func TestRetryLoopBuysOnce(t *testing.T) {
	inEachPlacement(t, func(t *testing.T, server *letagentpaytest.Server, client func() *letagentpay.Client,
		attempt func() context.Context, opts ...letagentpay.GuardOption,
	) {
		var runs atomic.Int64
		for i := range 5 {
			switch i {
			case 0:
				server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Status: 429, Times: 10})
			case 1:
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 503, Times: 10})
			}
			_, err := guardGroceries(client(), &runs, succeed, opts...)(attempt(), whole("30"))
			server.ClearFaults()
			time.Sleep(2 * time.Minute)
			assert.Equal(t, min(int64(i), 1), runs.Load(), "attempt %d: %v", i, err)
		}
		assert.Len(t, server.Requests(), 1)
	})
}

// This process knows that nothing has run under the request that it could not read.
func TestPurchaseThatCouldNotBeReadIsContinued(t *testing.T) {
	for name, place := range placements {
		t.Run(name, func(t *testing.T) {
			withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
				server := serve(t)
				attempt := place(t.Context())
				var runs atomic.Int64
				guarded := guardGroceries(server.Client(letagentpay.WithMaxRetries(0)), &runs, succeed, opts...)
				for range 3 {
					server.Fail(letagentpaytest.Fault{Op: operation.Request, Times: 1, Status: 503})
					_, err := guarded(attempt(), price("30"))
					var unknown *letagentpay.OutcomeUnknownError
					require.ErrorAs(t, err, &unknown)
				}
				_, err := guarded(attempt(), price("30"))
				require.NoError(t, err)
				assert.EqualValues(t, 1, runs.Load())
				assert.Len(t, server.Requests(), 1)
				books(t, server, "30.00", "0.00")
			})
		})
	}
}

// Two agents make the same purchase in one scope: each has its own, in either order.
func TestScopeOfTwoAgents(t *testing.T) {
	for name, place := range placements {
		for _, restarts := range []bool{false, true} {
			for _, together := range []bool{false, true} {
				t.Run(fmt.Sprint(name, ", restarts ", restarts, ", together ", together), func(t *testing.T) {
					inBubble(t, func(t *testing.T) {
						server := serve(t, letagentpaytest.WithAgent("second",
							letagentpaytest.WithBudget(letagentpay.MustAmount("500")),
							letagentpaytest.WithPolicyJSON(approveUpTo50)))
						attempt := place(t.Context())
						var runs [2]atomic.Int64
						buy := func(order ...int) {
							var opts []letagentpay.Option
							if restarts {
								opts = append(opts, elsewhere())
							}
							clients := [2]*letagentpay.Client{
								server.Client(opts...), server.Agent("second").Client(opts...),
							}
							ctx := attempt()
							var group sync.WaitGroup
							for _, i := range order {
								group.Go(func() {
									_, err := guardGroceries(clients[i], &runs[i],
										func(context.Context) (string, error) {
											time.Sleep(time.Second)
											return "receipt", nil
										})(ctx, price("5"))
									var handled *letagentpay.AlreadyHandledError
									assert.True(t, err == nil || errors.As(err, &handled), "%v", err)
								})
								if !together {
									group.Wait()
								}
							}
							group.Wait()
						}
						for _, order := range [][]int{{0, 1}, {1, 0}, {0, 1}, {1}, {0}} {
							buy(order...)
							assert.EqualValues(t, 1, runs[0].Load())
							assert.EqualValues(t, 1, runs[1].Load())
						}
					})
				})
			}
		}
	}
}

func TestAliasInARerunIsTheSamePurchase(t *testing.T) {
	for _, names := range [][2]string{
		{"groceries", "food"},
		{"food", "groceries"},
		{"food", "Food "},
		{"Gift Cards", "other"},
		{"other", "gift cards"},
		{"gift-cards", "GIFT CARDS"},
	} {
		t.Run(strings.Join(names[:], ", then "), func(t *testing.T) {
			inEachPlacement(t, func(t *testing.T, server *letagentpaytest.Server, client func() *letagentpay.Client,
				attempt func() context.Context, opts ...letagentpay.GuardOption,
			) {
				var runs atomic.Int64
				for i, name := range []string{names[0], names[1], names[0], names[1]} {
					p := whole("30")
					p.Category = name
					_, err := guardGroceries(client(), &runs, succeed, opts...)(attempt(), p)
					if i == 0 || len(opts) > 0 && err == nil {
						require.NoError(t, err)
					} else {
						require.Error(t, err)
					}
					assert.EqualValues(t, 1, runs.Load(), "call %d, %q: %v", i, name, err)
				}
				assert.Len(t, server.Requests(), 1)
			})
		})
	}
}

func TestTwoCategoriesAreTwoPurchases(t *testing.T) {
	for name, place := range placements {
		for _, restarts := range []bool{false, true} {
			for _, together := range []bool{false, true} {
				if together && strings.Contains(name, "runs") {
					continue // see TestTwoCategoriesAtTheSameTimeAreTwoPurchasesOfEachRun
				}
				t.Run(fmt.Sprint(name, ", restarts ", restarts, ", together ", together), func(t *testing.T) {
					withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
						buysInTwoCategories(t, place, restarts, together, opts...)
					})
				})
			}
		}
	}
}

// buysInTwoCategories makes purchases that differ only in their category, in either order.
func buysInTwoCategories(t *testing.T, place func(context.Context) func() context.Context, restarts, together bool,
	opts ...letagentpay.GuardOption,
) {
	server := serve(t)
	runs := map[string]*atomic.Int64{"groceries": new(atomic.Int64), "taxi": new(atomic.Int64)}
	limited, cancel := context.WithCancel(t.Context())
	defer cancel()
	attempt := place(limited)
	buy := func(categories ...string) {
		clientOpts := []letagentpay.Option{through(atMost(100, cancel, server.HTTPClient().Transport))}
		if restarts {
			clientOpts = append(clientOpts, elsewhere())
		}
		client, ctx := server.Client(clientOpts...), attempt()
		var group sync.WaitGroup
		for _, category := range categories {
			p := price("5")
			p.Category = category
			group.Go(func() {
				_, err := guardGroceries(client, runs[category], func(context.Context) (string, error) {
					time.Sleep(time.Second)
					return "receipt", nil
				}, opts...)(ctx, p)
				var handled *letagentpay.AlreadyHandledError
				assert.True(t, err == nil || errors.As(err, &handled), "%s: %v", category, err)
			})
			if !together {
				group.Wait()
			}
		}
		group.Wait()
	}
	for _, order := range [][]string{
		{"groceries", "taxi"}, {"taxi", "groceries"}, {"groceries", "taxi"}, {"taxi"}, {"groceries"},
	} {
		buy(order...)
		require.EqualValues(t, 1, runs["groceries"].Load())
		require.EqualValues(t, 1, runs["taxi"].Load())
		require.NoError(t, limited.Err(), "the call does not repeat without end")
	}
	assert.Len(t, server.Requests(), 2)
}

func TestRefNamesOnePurchase(t *testing.T) {
	ref := func(p letagentpay.PurchaseParams, name string) letagentpay.PurchaseParams {
		p.Ref = name
		return p
	}
	t.Run("two are two, each once", func(t *testing.T) {
		inEachPlacement(t, func(t *testing.T, server *letagentpaytest.Server, client func() *letagentpay.Client,
			attempt func() context.Context, opts ...letagentpay.GuardOption,
		) {
			var runs atomic.Int64
			for range 3 {
				ctx := attempt()
				for _, name := range []string{"lunch", "dinner", "lunch"} {
					_, err := guardGroceries(client(), &runs, succeed, opts...)(ctx, ref(price("5"), name))
					var handled *letagentpay.AlreadyHandledError
					assert.True(t, err == nil || errors.As(err, &handled), "%v", err)
				}
				assert.EqualValues(t, 2, runs.Load())
			}
			_, err := guardGroceries(client(), &runs, succeed, opts...)(attempt(), price("5"))
			require.NoError(t, err, "without a Ref it is another purchase")
			assert.Len(t, server.Requests(), 3)
			for _, call := range server.Calls() {
				assert.NotContains(t, call.Body, "lunch", "a Ref is not sent")
			}
		})
	})
	t.Run("at the same time", func(t *testing.T) {
		for name, place := range placements {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					server := serve(t)
					ctx, client := place(t.Context())(), server.Client()
					var runs atomic.Int64
					var group sync.WaitGroup
					for i := range 8 {
						group.Go(func() {
							_, _ = guardGroceries(client, &runs, func(context.Context) (string, error) {
								time.Sleep(time.Second)
								return "", nil
							})(ctx, ref(price("5"), fmt.Sprint("meal ", i%2)))
						})
					}
					group.Wait()
					assert.EqualValues(t, 2, runs.Load())
					assert.Len(t, server.Requests(), 2)
				})
			})
		}
	})
	t.Run("again after a failure", func(t *testing.T) {
		inEachPlacement(t, func(t *testing.T, server *letagentpaytest.Server, client func() *letagentpay.Client,
			attempt func() context.Context, opts ...letagentpay.GuardOption,
		) {
			var runs atomic.Int64
			_, err := guardGroceries(client(), &runs, failing(errShop), opts...)(attempt(), ref(price("5"), "lunch"))
			require.ErrorIs(t, err, errShop)
			_, err = guardGroceries(client(), &runs, succeed, opts...)(attempt(), ref(price("5"), "lunch"))
			require.NoError(t, err)
			assert.EqualValues(t, 2, runs.Load())
			_, _ = guardGroceries(client(), &runs, succeed, opts...)(attempt(), ref(price("5"), "lunch"))
			assert.EqualValues(t, 2, runs.Load())
			books(t, server, "5.00", "0.00")
		})
	})
	t.Run("refused", func(t *testing.T) {
		server := serve(t)
		scope := letagentpay.WithPurchaseScope(t.Context(), "message 17")
		for name, c := range map[string]struct {
			ctx context.Context
			p   letagentpay.PurchaseParams
		}{
			"without a scope":  {t.Context(), ref(price("5"), "lunch")},
			"with a key":       {scope, ref(underKey("5", "turn-7"), "lunch")},
			"too long":         {scope, ref(price("5"), strings.Repeat("x", 256))},
			"no UTF-8":         {scope, ref(price("5"), "\xff")},
			"in an empty name": {letagentpay.WithPurchaseScope(t.Context(), ""), ref(price("5"), "lunch")},
			"run of no scope":  {letagentpay.WithScopeRun(t.Context()), ref(price("5"), "lunch")},
			"run without Ref":  {letagentpay.WithScopeRun(t.Context()), price("5")},
		} {
			var runs atomic.Int64
			_, err := guardGroceries(server.Client(), &runs, succeed)(c.ctx, c.p)
			var param *letagentpay.ParamError
			require.ErrorAs(t, err, &param, name)
			_, err = server.Client().Purchase(c.ctx, c.p)
			require.ErrorAs(t, err, &param, name)
			assert.Zero(t, runs.Load())
		}
		assert.Empty(t, server.Calls())
	})
}

// The service answers a rejection for its velocity limit with the first rejection's id.
func TestVelocityLimitUnderOwnKeysIsARejection(t *testing.T) {
	for name, begin := range waysToLoop {
		if strings.Contains(name, "one scope") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
				server := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
					letagentpaytest.WithBudget(letagentpay.MustAmount("500")),
					letagentpaytest.WithPolicyJSON(`{"requests_per_minute":1,"auto_approve":{"enabled":true}}`))
				var runs atomic.Int64
				for i, amount := range []string{"5", "6", "7", "6"} {
					ctx, p := begin(t.Context(), i)
					p.Amount = letagentpay.MustAmount(amount)
					_, err := guardGroceries(server.Client(), &runs, succeed, opts...)(ctx, p)
					if i == 0 {
						require.NoError(t, err)
						continue
					}
					var rejected *letagentpay.NotApprovedError
					require.ErrorAs(t, err, &rejected, "the velocity limit has rejected %s", amount)
					require.Equal(t, letagentpay.StatusRejected, rejected.Status)
				}
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}

// A purchase by hand in a scope returns the scope's request for it. In a run, an approval counts as a success.
func TestPurchasesByHandInAScope(t *testing.T) {
	for name, place := range placements {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				client, attempt := server.Client(), place(t.Context())
				ctx := attempt()
				first, err := client.Purchase(ctx, price("5"))
				require.NoError(t, err)
				second, err := client.Purchase(ctx, price("5"))
				require.NoError(t, err)
				counted := strings.Contains(name, "runs")
				assert.Equal(t, counted, first.RequestID != second.RequestID)
				ctx = attempt()
				for _, want := range []*letagentpay.Purchase{first, second} {
					again, err := client.Purchase(ctx, price("5"))
					require.NoError(t, err)
					assert.Equal(t, want.RequestID, again.RequestID)
				}
				_, err = client.Confirm(t.Context(), first.RequestID, letagentpay.ConfirmParams{})
				require.NoError(t, err)
				again, err := client.Purchase(attempt(), price("5"))
				require.NoError(t, err)
				assert.NotEqual(t, first.RequestID, again.RequestID, "a failed request is replaced by a new one")
				assert.True(t, again.Status.Approved())
			})
		})
	}
}

// An alias that is not resolved yet may be refused beside another category. Nothing is bought twice.
func TestAliasesAtTheSameTimeBuyNothingTwice(t *testing.T) {
	for _, name := range []string{"around the loop", "inside the loop"} {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restarts ", restarts), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					server := serve(t, letagentpaytest.WithAliases(map[string]string{
						"food": "groceries",
						"uber": "taxi",
					}))
					attempt := placements[name](t.Context())
					var runs atomic.Int64
					for _, order := range [][]string{
						{"food", "groceries", "Food ", "uber", "taxi"},
						{"taxi", "uber", "food", "groceries"},
						{"groceries", "taxi", "food", "uber"},
					} {
						var opts []letagentpay.Option
						if restarts {
							opts = append(opts, elsewhere())
						}
						client, ctx := server.Client(opts...), attempt()
						var group sync.WaitGroup
						for _, category := range order {
							p := price("5")
							p.Category = category
							group.Go(func() {
								_, err := guardGroceries(client, &runs, func(context.Context) (string, error) {
									time.Sleep(time.Second)
									return "receipt", nil
								})(ctx, p)
								var handled *letagentpay.AlreadyHandledError
								var mismatch *letagentpay.MismatchError
								assert.True(t, err == nil || errors.As(err, &handled) || errors.As(err, &mismatch),
									"%s: %v", category, err)
							})
						}
						group.Wait()
						assert.EqualValues(t, 2, runs.Load(), "%v", order)
					}
					assert.Len(t, server.Requests(), 2)
				})
			})
		}
	}
}

// The outcome of a doubtful purchase is confirmed, and the next attempt acts on it.
func TestDoubtThatIsResolvedDecidesTheNextAttempt(t *testing.T) {
	for paid, want := range map[bool]int64{true: 1, false: 2} {
		t.Run(fmt.Sprint("paid ", paid), func(t *testing.T) {
			inEachPlacement(t, func(t *testing.T, server *letagentpaytest.Server, client func() *letagentpay.Client,
				attempt func() context.Context, opts ...letagentpay.GuardOption,
			) {
				var runs atomic.Int64
				_, err := guardGroceries(client(), &runs, failing(context.DeadlineExceeded), opts...)(
					attempt(), whole("30"))
				var unconfirmed *letagentpay.UnconfirmedError
				require.ErrorAs(t, err, &unconfirmed)
				var handled *letagentpay.AlreadyHandledError
				for range 2 {
					_, err = guardGroceries(client(), &runs, succeed, opts...)(attempt(), whole("30"))
					require.ErrorAs(t, err, &handled, "until its outcome is confirmed")
					assert.True(t, handled.MayHaveRun)
				}
				_, err = server.Client().Confirm(t.Context(), unconfirmed.RequestID,
					letagentpay.ConfirmParams{Success: paid})
				require.NoError(t, err)
				_, err = guardGroceries(client(), &runs, succeed, opts...)(attempt(), whole("30"))
				if paid {
					require.ErrorAs(t, err, &handled)
				} else {
					require.NoError(t, err)
				}
				assert.Equal(t, want, runs.Load())
				books(t, server, "30.00", "0.00")
			})
		})
	}
}

func TestEndedContextAsksForNothing(t *testing.T) {
	for name, begin := range waysToLoop {
		t.Run(name, func(t *testing.T) {
			withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
				server := serve(t)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				ctx, p := begin(ctx, 0)
				var runs atomic.Int64
				_, err := guardGroceries(server.Client(), &runs, succeed, opts...)(ctx, p)
				require.ErrorIs(t, err, context.Canceled)
				assert.Zero(t, runs.Load())
				assert.Empty(t, server.Calls())
			})
		})
	}
}

// Another process, such as an operator's, confirms the outcome of a doubtful run.
func TestDoubtThatAnotherProcessResolvedMakesWay(t *testing.T) {
	withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
		server := serve(t)
		var runs atomic.Int64
		scope := func() context.Context { return letagentpay.WithPurchaseScope(t.Context(), "message 17") }
		_, err := guardGroceries(server.Client(), &runs, failing(context.DeadlineExceeded), opts...)(
			scope(), price("30"))
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		_, err = server.Client(elsewhere()).Confirm(t.Context(), unconfirmed.RequestID, letagentpay.ConfirmParams{})
		require.NoError(t, err)
		_, err = guardGroceries(server.Client(), &runs, succeed, opts...)(scope(), price("30"))
		require.NoError(t, err, "nothing was paid, and the service knows it")
		assert.EqualValues(t, 2, runs.Load())
		books(t, server, "30.00", "0.00")
	})
}

// The rerun makes both purchases at the same time and in another order.
func TestTwoCategoriesAtTheSameTimeAreTwoPurchasesOfEachRun(t *testing.T) {
	for _, name := range []string{"runs inside the loop", "scopes and runs inside the loop"} {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restarts ", restarts), func(t *testing.T) {
				withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
					for range 25 { // to get different interleavings
						buysInTwoCategories(t, placements[name], restarts, true, opts...)
					}
				})
			})
		}
	}
}

func TestRunHasAtMost64IdenticalPurchases(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		ctx := letagentpay.WithScopeRun(letagentpay.WithPurchaseScope(t.Context(), "message 17"))
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, succeed)
		for range 64 {
			_, err := guarded(ctx, price("1"))
			require.NoError(t, err)
			time.Sleep(2 * time.Second) // the service accepts 60 purchases a minute
		}
		_, err := guarded(ctx, price("1"))
		var invalid *letagentpay.ParamError
		require.ErrorAs(t, err, &invalid)
		assert.Equal(t, "scope", invalid.Field)
		assert.EqualValues(t, 64, runs.Load())
		_, err = guarded(ctx, price("2"))
		require.NoError(t, err, "another purchase")
	})
}

// The journal's entry was written before an answer gave the category of the first purchase.
func TestPurchaseIsTakenForNoOtherThatHasHadNoAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		call := func(category string) error {
			p := price("5")
			p.Category = category
			ctx := letagentpay.WithPurchaseScope(t.Context(), "message 17")
			client := server.Client(elsewhere(), letagentpay.WithMaxRetries(0))
			var runs atomic.Int64
			_, err := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))(ctx, p)
			return err
		}
		server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Times: 1, Drop: letagentpaytest.DropBefore})
		require.Error(t, call("taxi"))
		require.NoError(t, call("groceries"))
		require.NoError(t, call("taxi"))
		requests := server.Requests()
		require.Len(t, requests, 2)
		assert.ElementsMatch(t, []string{"taxi", "groceries"}, []string{requests[0].Category, requests[1].Category})
		books(t, server, "10.00", "0.00")
	})
}

// A call takes a key that turns out to belong to another purchase. A second call then takes the same key while the
// first still holds it.
func TestPurchasesOfARunAtTheSameTimeAreSeveralWhateverTheirKeysLeadTo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		scope := letagentpay.WithPurchaseScope(t.Context(), "message 17")
		inner := server.HTTPClient().Transport
		var read atomic.Pointer[func()]
		transport := exchange(func(r *http.Request) (*http.Response, error) {
			if first := read.Load(); first != nil && r.Method == http.MethodGet &&
				strings.Contains(r.URL.Path, "/requests/") && read.CompareAndSwap(first, nil) {
				(*first)()
			}
			return inner.RoundTrip(r)
		})
		client := server.Client(letagentpay.WithHTTPClient(&http.Client{Transport: transport}))
		var runs atomic.Int64
		buy := func(ctx context.Context, category string, opts ...letagentpay.GuardOption) error {
			p := price("60")
			p.Category = category
			_, err := guardGroceries(client, &runs, func(context.Context) (string, error) {
				time.Sleep(20 * time.Second)
				return "receipt", nil
			}, opts...)(ctx, p)
			return err
		}
		// The first key of the scope belongs to a taxi.
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, buy(letagentpay.WithScopeRun(scope), "taxi", letagentpay.OnPendingFail()), &pending)
		require.NoError(t, server.Approve(pending.RequestID))
		server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict { return letagentpaytest.Approve() })

		run := letagentpay.WithScopeRun(scope)
		var group sync.WaitGroup
		errs := make([]error, 3)
		taxi := func() {
			group.Go(func() { errs[1] = buy(run, "taxi") })
			time.Sleep(time.Second)
		}
		read.Store(&taxi)
		group.Go(func() { errs[0] = buy(run, "groceries") })
		time.Sleep(5 * time.Second)
		group.Go(func() { errs[2] = buy(run, "taxi") })
		group.Wait()
		for i, err := range errs {
			require.NoError(t, err, "call %d", i)
		}
		assert.EqualValues(t, 3, runs.Load())
		books(t, server, "180.00", "0.00")
	})
}
