package letagentpay_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func TestRefOfAnotherCategoryIsAMismatch(t *testing.T) {
	for name, buy := range map[string]func(context.Context, *letagentpay.Client, letagentpay.PurchaseParams) error{
		"guarded": func(ctx context.Context, client *letagentpay.Client, p letagentpay.PurchaseParams) error {
			_, err := guardGroceries(client, new(atomic.Int64), succeed, letagentpay.OnPendingFail())(ctx, p)
			return err
		},
		"with a journal": func(ctx context.Context, client *letagentpay.Client, p letagentpay.PurchaseParams) error {
			_, err := guardGroceries(client, new(atomic.Int64), succeed, letagentpay.OnPendingFail(),
				letagentpay.WithJournal(new(memoryJournal)))(ctx, p)
			return err
		},
		"by hand": func(ctx context.Context, client *letagentpay.Client, p letagentpay.PurchaseParams) error {
			_, err := client.Purchase(ctx, p)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			ctx, cancel := context.WithCancel(letagentpay.WithPurchaseScope(t.Context(), "message 17"))
			defer cancel()
			client := server.Client(through(atMost(30, cancel, server.HTTPClient().Transport)))
			p := whole("60")
			p.Ref = "lunch"
			_ = buy(ctx, client, p)
			p.Category = "transport"
			var mismatch *letagentpay.MismatchError
			require.ErrorAs(t, buy(ctx, client, p), &mismatch)
			assert.Equal(t, "Category", mismatch.Field)
			assert.Less(t, len(server.Calls()), 20, "it is not asked for again and again")
			assert.Len(t, server.Requests(), 1)
		})
	}
}

// The ordinal that the purchase has is the only one that it can have.
func TestScopedPurchaseThatChangesWhileItIsWaitedForDoesNotRun(t *testing.T) {
	for what, replaced := range changedMeanwhile {
		t.Run(what, func(t *testing.T) { changesWhileWaitedFor(t, replaced, "", waysToAsk["scope"]) })
	}
}

func TestErrorMethodsDoNotHoldALoggedCall(t *testing.T) {
	for name, do := range mischief {
		t.Run(name, func(t *testing.T) {
			misbehavingError(t, do, true, letagentpay.WithLogger(logTo(new(lockedBuffer))))
		})
	}
}

// From the function's return on, whatever the logger does.
func TestLoggersThatDoNotReturnCannotStopTheConfirmation(t *testing.T) {
	for _, name := range []string{"ends", "hangs for 11 s", "hangs for an hour"} {
		for _, method := range []string{"Enabled", "Handle"} {
			for _, lost := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " in ", method, ", first confirmation lost ", lost), func(t *testing.T) {
					withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
						server := serve(t)
						var ran atomic.Bool
						client := server.Client(letagentpay.WithLogger(slog.New(badHandler{method, func() {
							if ran.Load() {
								mischief[name]()
							}
						}})))
						if lost {
							server.Fail(letagentpaytest.Fault{Op: letagentpaytest.OpConfirm, Drop: letagentpaytest.DropBefore})
						}
						var runs atomic.Int64
						begun, returned := time.Now(), false
						assert.Nil(t, alone(func() {
							_, err := guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
								ran.Store(true)
								reportSpent(ctx, "25")
								return "receipt", nil
							}, opts...)(t.Context(), underKey("30", "turn-7"))
							assert.NoError(t, err)
							returned = true
						}))
						assert.True(t, returned)
						assert.Less(t, time.Since(begun), 5*time.Minute)
						assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status)
						books(t, server, "25.00", "0.00")
						ran.Store(false)
						usable(t, server, "turn-7")
					})
				})
			}
		}
	}
}

// endedContexts gives operations a context that has ended.
type endedContexts struct{ op string }

func (o endedContexts) Begin(ctx context.Context, op string) (context.Context, func(letagentpay.Observation)) {
	if op == o.op {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		ctx = ended
	}
	return ctx, func(letagentpay.Observation) {}
}

func TestContextsOfObserversCannotStopTheConfirmation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		client := server.Client(letagentpay.WithObserver(endedContexts{letagentpay.OpConfirm}))
		_, err := guardGroceries(client, &runs, spending("25", nil))(t.Context(), price("30"))
		require.NoError(t, err)
		confirmedOnce(t, server, letagentpay.StatusCompleted, "25.00")
	})
}

// The process was restarted while the service was still busy with the first failure confirmation.
func TestRecoverAfterARestartDoesNotRefundBesideAnEarlierConfirmation(t *testing.T) {
	for _, commit := range []time.Duration{20 * time.Second, 50 * time.Second} {
		t.Run(commit.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, journal := &slowRefunds{status: "auto_approved", commit: commit}, new(memoryJournal)
				client := s.client(t)
				var runs atomic.Int64
				_, err := guardGroceries(client, &runs, func(context.Context) (string, error) { return "", errShop },
					letagentpay.WithJournal(journal))(t.Context(), groceries())
				require.ErrorIs(t, err, errShop)
				restarted := s.client(t, letagentpay.WithBaseURL(client.BaseURL()), elsewhere())
				_, _ = restarted.Recover(t.Context(), journal)
				time.Sleep(2 * time.Minute)
				_, err = restarted.Recover(t.Context(), journal)
				require.NoError(t, err)
				assert.Equal(t, 1, s.refunds)
				assert.Equal(t, []string{"settled"}, journal.states())
			})
		})
	}
}

// An error of the function may be one of this package's that somebody has made by hand.
func TestZeroErrorsOfTheFunctionAreSettled(t *testing.T) {
	for _, err := range []error{
		new(letagentpay.AlreadyHandledError), new(letagentpay.RejectedError), new(letagentpay.PendingError), new(letagentpay.ExpiredError),
		new(letagentpay.MismatchError), new(letagentpay.ConfirmError), new(letagentpay.ParamError), new(letagentpay.OverspendError),
		new(letagentpay.JournalError), new(letagentpay.DuplicateError),
	} {
		t.Run(fmt.Sprintf("%T", err), func(t *testing.T) {
			server := serve(t)
			var runs atomic.Int64
			var got error
			assert.Nil(t, alone(func() { _, got = guardGroceries(server.Client(), &runs, failing(err))(t.Context(), price("30")) }))
			require.ErrorIs(t, got, err)
			assert.Len(t, server.Calls().Of(letagentpaytest.OpConfirm), 1)
		})
	}
}

func TestErrorsThatCannotBeAskedAreDoubtful(t *testing.T) {
	for name, do := range mischief {
		for _, method := range []string{"As", "Unwrap"} {
			t.Run(name+" in "+method, func(t *testing.T) { settledWithBadMethods(t, method, do) })
		}
	}
}

// The purchase was answered, and the context ended before the request could be read, which an own key takes.
func TestContextThatEndsBeforeAnOwnPurchaseIsReadCostsNothing(t *testing.T) {
	for name, begin := range waysToLoop {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				var runs atomic.Int64
				for i := range 10 {
					ctx, cancel := context.WithCancel(t.Context())
					ctx, p := begin(ctx, i)
					client := server.Client(letagentpay.WithObserver(endings(func(op string) {
						if op == letagentpay.OpPurchase {
							cancel()
						}
					})))
					_, err := guardGroceries(client, &runs, succeed)(ctx, p)
					cancel()
					require.Error(t, err)
					time.Sleep(2 * time.Minute)
				}
				assert.Zero(t, runs.Load())
				books(t, server, "0.00", "0.00")
			})
		})
	}
}

func TestTwoCategoriesAreTwoPurchasesInAJournal(t *testing.T) {
	for name, place := range placements {
		for _, restarts := range []bool{false, true} {
			for _, together := range []bool{false, true} {
				t.Run(fmt.Sprint(name, ", restarts ", restarts, ", together ", together), func(t *testing.T) {
					inBubble(t, func(t *testing.T) {
						buysInTwoCategories(t, place, restarts, together, letagentpay.WithJournal(new(memoryJournal)))
					})
				})
			}
		}
	}
}

// The process was restarted with the agent's next token: the journal still knows what was run.
func TestJournalKnowsWhatRanBeforeTheTokenWasRotated(t *testing.T) {
	for again, how := range map[string]func(ctx context.Context, id string) context.Context{
		"resumed":       letagentpay.ResumeApproval,
		"under its key": func(ctx context.Context, _ string) context.Context { return ctx },
	} {
		t.Run(again, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				journal := new(memoryJournal)
				server.Fail(letagentpaytest.Fault{Op: letagentpaytest.OpConfirm, Status: 403})
				var runs atomic.Int64
				_, err := guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(journal))(t.Context(), underKey("30", "turn-7"))
				var unconfirmed *letagentpay.ConfirmError
				require.ErrorAs(t, err, &unconfirmed)
				guarded := guardGroceries(rotated(server, elsewhere()), &runs, succeed, letagentpay.WithJournal(journal))
				_, _ = guarded(how(t.Context(), unconfirmed.RequestID), underKey("30", "turn-7"))
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}

// The outcome of a doubtful run was told to the service by another process, such as an operator's.
func TestDoubtThatAnotherProcessResolvedMakesWay(t *testing.T) {
	withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
		server := serve(t)
		var runs atomic.Int64
		scope := func() context.Context { return letagentpay.WithPurchaseScope(t.Context(), "message 17") }
		_, err := guardGroceries(server.Client(), &runs, failing(context.DeadlineExceeded), opts...)(scope(), price("30"))
		var unconfirmed *letagentpay.ConfirmError
		require.ErrorAs(t, err, &unconfirmed)
		_, err = server.Client(elsewhere()).Confirm(t.Context(), unconfirmed.RequestID, letagentpay.ConfirmParams{})
		require.NoError(t, err)
		_, err = guardGroceries(server.Client(), &runs, succeed, opts...)(scope(), price("30"))
		require.NoError(t, err, "nothing was paid, and the service knows")
		assert.EqualValues(t, 2, runs.Load())
		books(t, server, "30.00", "0.00")
	})
}

// The late post commits after the confirmation, when nobody looks at the list for this call any more. The journal knows
// that an attempt was unclear.
func TestRecoverFindsADuplicateThatCameAfterTheConfirmation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		service, journal := &overlapping{lasts: []time.Duration{11 * time.Second}}, new(memoryJournal)
		var runs atomic.Int64
		_, err := guardGroceries(impatient(server, service), &runs, succeed, letagentpay.WithJournal(journal))(t.Context(), price("30"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Len(t, server.Requests(), 2)
		interrupted, err := server.Client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		require.Len(t, interrupted, 1)
		assert.True(t, interrupted[0].Duplicate)
	})
}
