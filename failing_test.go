package letagentpay_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

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

// The rerun takes them in another order, both at once.
func TestTwoCategoriesAtTheSameTimeAreTwoPurchasesOfEachRun(t *testing.T) {
	for _, name := range []string{"runs inside the loop", "scopes and runs inside the loop"} {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restarts ", restarts), func(t *testing.T) {
				withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
					for range 25 { // in other interleavings
						buysInTwoCategories(t, placements[name], restarts, true, opts...)
					}
				})
			})
		}
	}
}
