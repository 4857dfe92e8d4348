package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// oneRun returns a context for a run of a scope.
func oneRun(ctx context.Context) context.Context {
	return letagentpay.WithScopeRun(letagentpay.WithPurchaseScope(ctx, "message 17"))
}

func TestPurchaseThatWasPendingIsTheSameInItsRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, succeed, letagentpay.OnPendingFail())
		ctx := oneRun(t.Context())
		_, err := guarded(ctx, price("60"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		require.NoError(t, server.Approve(pending.RequestID))
		_, err = guarded(ctx, price("60"))
		require.NoError(t, err)
		assert.Len(t, server.Requests(), 1)
	})
}

// unfaithful is a result that a journal cannot keep.
type unfaithful struct{ secret string }

// ranBefore leaves a run of a scope in a journal that could not keep its result. It returns functions that repeat the
// run in another process.
func ranBefore(t *testing.T, client func() *letagentpay.Client) (repeat func(ctx context.Context) error,
	authorize func(ctx context.Context) error, journal *memoryJournal,
) {
	t.Helper()
	journal = new(memoryJournal)
	guarded := func() func(context.Context, letagentpay.PurchaseParams) (unfaithful, error) {
		return letagentpay.Guard(client(), func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p },
			func(context.Context, letagentpay.PurchaseParams) (unfaithful, error) { return unfaithful{"x"}, nil },
			letagentpay.WithJournal(journal))
	}
	_, err := guarded()(oneRun(t.Context()), price("30"))
	require.NoError(t, err)
	again, other := guarded(), client()
	repeat = func(ctx context.Context) error {
		_, err := again(ctx, price("30"))
		return err
	}
	authorize = func(ctx context.Context) error {
		_, err := other.Authorize(ctx, price("30"), letagentpay.WithJournal(journal))
		return err
	}
	return repeat, authorize, journal
}

func TestRunWhoseResultIsGoneIsNotBoughtAgain(t *testing.T) {
	for _, way := range []string{"Guard", "Authorize"} {
		t.Run(way, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				again, authorize, _ := ranBefore(t, func() *letagentpay.Client { return server.Client(elsewhere()) })
				if way == "Authorize" {
					again = authorize
				}
				ctx := oneRun(t.Context())
				for range 3 { // an error does not count as a purchase of the run
					var handled *letagentpay.AlreadyHandledError
					require.ErrorAs(t, again(ctx), &handled)
				}
				assert.Len(t, server.Requests(), 1)
			})
		})
	}
}

func TestAuthorizeConfirmsWhatRanBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := approving(t).on("GET", "/requests", list("")).
			on("GET", "/requests/r1", answer(200, detail("auto_approved"))).
			on("POST", "/requests/r1/confirm", answer(403, `{"detail":"Agent is paused"}`), answer(200, confirmed))
		journal := new(memoryJournal)
		var runs atomic.Int64
		_, err := guardGroceries(s.client(elsewhere()), &runs, succeed, letagentpay.WithJournal(journal))(
			t.Context(), keyed())
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)

		_, err = s.client(elsewhere()).Authorize(t.Context(), keyed(), letagentpay.WithJournal(journal))
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.Equal(t, stateSettled, only(t, journal).State)
	})
}

func TestPanicIsJournaledAsAFailure(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		journal := new(memoryJournal)
		var runs atomic.Int64
		broken := guardGroceries(server.Client(), &runs, func(context.Context) (string, error) { panic("a bug") },
			letagentpay.WithJournal(journal))
		assert.Panics(t, func() { _, _ = broken(t.Context(), underKey("30", "turn-7")) })
		assert.Equal(t, "the guarded function did not return", only(t, journal).Error)
		_, err := broken(t.Context(), underKey("30", "turn-7"))
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.ErrorContains(t, handled, "did not return")
	})
}

func TestFailedRunMakesWayAlthoughItsKeyLeadsElsewhereNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		named := func(text, id string) string { return strings.ReplaceAll(text, `"r1"`, `"`+id+`"`) }
		s := newService(t).on("POST", "/requests", answer(201, autoApproved), answer(201, named(autoApproved, "r2")),
			answer(201, named(autoApproved, "r3"))).
			on("GET", "/requests", list("")).
			on("GET", "/requests/r1", answer(200, detail("auto_approved")), answer(200, detail("failed"))).
			on("POST", "/requests/r1/confirm", answer(200, failedAnswer))
		for _, id := range []string{"r2", "r3"} {
			s.on("GET", "/requests/"+id, answer(200, named(detail("auto_approved"), id))).
				on("POST", "/requests/"+id+"/confirm", answer(200, named(confirmed, id)))
		}
		client := s.client()
		var runs atomic.Int64
		_, err := guardGroceries(client, &runs, failing(errShop))(
			letagentpay.WithPurchaseScope(t.Context(), "message 17"), groceries())
		require.ErrorIs(t, err, errShop)
		time.Sleep(time.Minute)
		_, err = guardGroceries(client, &runs, succeed)(letagentpay.WithPurchaseScope(t.Context(), "message 17"),
			groceries())
		require.NoError(t, err)
		assert.EqualValues(t, 2, runs.Load())
		assert.Equal(t, "POST /requests/r3/confirm", s.paths()[len(s.paths())-1], fmt.Sprint(s.paths()))
	})
}

func TestDoubtIsNotBoughtAgainInItsRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		ctx := oneRun(t.Context())
		_, err := guardGroceries(server.Client(), &runs, failing(context.DeadlineExceeded))(ctx, price("30"))
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		require.True(t, unconfirmed.MayHaveSpent)
		_, err = guardGroceries(server.Client(), &runs, succeed)(ctx, price("30"))
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.EqualValues(t, 1, runs.Load())
		assert.Len(t, server.Requests(), 1)
	})
}

func TestNeitherTheJournalNorTheServiceKnows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
		full := errors.New("disk full")
		journal := &memoryJournal{fail: func(op string, entry *journalEntry) error {
			if op == "put" && entry.State == stateReturned {
				return full
			}
			return nil
		}}
		var runs atomic.Int64
		_, err := guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(journal))(
			t.Context(), price("30"))
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		var journalErr *letagentpay.JournalError
		require.ErrorAs(t, err, &journalErr)
		assert.ErrorIs(t, journalErr, full)
	})
}

func TestOneRequestRunsOnceWhicheverTokenResumesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("GET", "/requests/r1", answer(200, detail("approved"))).
			on("GET", "/requests", list(row("r1", "approved", created, ""))).
			on("POST", "/requests/r1/confirm", answer(200, confirmed))
		slow := &memoryJournal{fail: func(op string, entry *journalEntry) error {
			if op == "put" && entry.State == stateStarted {
				time.Sleep(3 * time.Second) // between the approval and the run
			}
			return nil
		}}
		var runs atomic.Int64
		ctx := letagentpay.ResumeApproval(t.Context(), "r1")
		var group sync.WaitGroup
		group.Go(func() {
			_, err := guardGroceries(s.client(), &runs, succeed, letagentpay.WithJournal(slow))(ctx, groceries())
			assert.NoError(t, err)
		})
		time.Sleep(time.Second)
		_, err := guardGroceries(s.client(letagentpay.WithToken("agt_the-next-one-of-the-same-agent")), &runs, succeed)(
			ctx, groceries())
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		group.Wait()
		assert.EqualValues(t, 1, runs.Load())
	})
}

func TestNextAttemptAsksUnderANewKeyAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		ctx := letagentpay.WithPurchaseScope(t.Context(), "message 17")
		_, err := guardGroceries(server.Client(), &runs, failing(errShop))(ctx, price("30"))
		require.ErrorIs(t, err, errShop)
		_, err = guardGroceries(server.Client(), &runs, succeed)(ctx, price("30"))
		require.NoError(t, err)
		assert.Len(t, server.Calls().Of(operation.Purchase), 2)
	})
}

func TestPurchaseByHandInARun(t *testing.T) {
	t.Run("rejected, it is not made again", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			server := serve(t)
			client, ctx := server.Client(), oneRun(t.Context())
			for range 2 {
				purchase, err := client.Purchase(ctx, price("201"))
				require.NoError(t, err)
				assert.Equal(t, letagentpay.StatusRejected, purchase.Status)
			}
			assert.Len(t, server.Requests(), 1)
		})
	})
	t.Run("in another category, it is requested under another key", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			server := serve(t)
			client, ctx := server.Client(), letagentpay.WithPurchaseScope(t.Context(), "message 17")
			for _, category := range []string{"groceries", "taxi"} {
				p := price("30")
				p.Category = category
				purchase, err := client.Purchase(ctx, p)
				require.NoError(t, err)
				assert.Equal(t, category, purchase.Category)
			}
			assert.Len(t, server.Requests(), 2)
			assert.Len(t, server.Calls().Of(operation.Purchase), 2)
		})
	})
}

func TestPurchaseByHandLeavesGuardedCallsAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		byHand := func() *letagentpay.AlreadyHandledError {
			t.Helper()
			purchase, err := client.Purchase(t.Context(), underKey("60", "turn-7"))
			assert.Nil(t, purchase)
			var handled *letagentpay.AlreadyHandledError
			require.ErrorAs(t, err, &handled)
			return handled
		}
		var runs atomic.Int64
		guarded := guardGroceries(client, &runs, func(context.Context) (string, error) {
			assert.True(t, byHand().MayHaveRun, "it is running")
			return "receipt", nil
		}, letagentpay.OnPendingFail())
		_, err := guarded(t.Context(), underKey("60", "turn-7"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		handled := byHand()
		assert.False(t, handled.MayHaveRun, "it awaits its approval")
		assert.Equal(t, pending.RequestID, handled.Request.RequestID)
		require.NoError(t, server.Approve(pending.RequestID))
		_, err = guarded(t.Context(), underKey("60", "turn-7"))
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
	})
}

// ends is an observer that records the outcomes of guarded calls.
type ends []letagentpay.Observation

func (e *ends) Begin(ctx context.Context, op operation.Op) (context.Context, func(letagentpay.Observation)) {
	return ctx, func(o letagentpay.Observation) {
		if op == operation.Guard {
			*e = append(*e, o)
		}
	}
}

func TestDoubtIsObservedAsApproved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		var observed ends
		var runs atomic.Int64
		client := server.Client(letagentpay.WithObserver(&observed))
		_, err := guardGroceries(client, &runs, failing(context.DeadlineExceeded))(t.Context(), price("30"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, observed, 1)
		assert.Equal(t, letagentpay.StatusApproved, observed[0].Status, "nothing is confirmed")
	})
}

func TestFailureWithoutATextIsJournaledAsAFailure(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, failing(errors.New("")), letagentpay.WithJournal(journal))
		_, err := guarded(t.Context(), underKey("30", "turn-7"))
		require.Error(t, err)
		assert.NotEmpty(t, only(t, journal).Error)
		assert.False(t, only(t, journal).Success)
	})
}
