package letagentpay_test

import (
	"context"
	"iter"
	"strings"
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

// unrefunded leaves the journal entry of a failed function whose confirmation failed.
func unrefunded(t *testing.T, server *letagentpaytest.Server, journal *memoryJournal, key string) {
	t.Helper()
	server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
	var runs atomic.Int64
	_, err := guardGroceries(server.Client(elsewhere()), &runs, failing(errShop), letagentpay.WithJournal(journal))(
		t.Context(), underKey("30", key))
	var unconfirmed *letagentpay.UnconfirmedError
	require.ErrorAs(t, err, &unconfirmed)
	require.Equal(t, stateReturned, only(t, journal).State)
}

func TestRecoverWaitsAMinuteAtMostWhateverTheClockSays(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		unrefunded(t, server, journal, "turn-7")
		rewrite(t, journal, func(e *journalEntry) { e.UpdatedAt = time.Now().Add(24 * time.Hour) })
		begun := time.Now()
		_, err := server.Client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(begun), 70*time.Second)
		books(t, server, "0.00", "0.00")
	})
}

func TestRefundIsNotSentWhereThereIsNoTimeToWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		unrefunded(t, server, journal, "turn-7")
		server.ResetCalls()
		var runs atomic.Int64
		again := guardGroceries(server.Client(elsewhere()), &runs, succeed, letagentpay.WithJournal(journal))
		_, err := again(t.Context(), underKey("30", "turn-7"))
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.Empty(t, server.Calls().Of(operation.Confirm), "the refund of the earlier process may still be handled")
		time.Sleep(time.Minute)
		_, err = again(t.Context(), underKey("30", "turn-7"))
		require.ErrorAs(t, err, &handled)
		require.NotErrorAs(t, err, &unconfirmed)
		books(t, server, "0.00", "0.00")
	})
}

func TestEntryOfWhatIsOverIsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		var runs atomic.Int64
		_, err := guardGroceries(server.Client(elsewhere()), &runs, succeed, letagentpay.WithJournal(journal),
			letagentpay.OnPendingFail())(t.Context(), price("60"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		require.NoError(t, server.Reject(pending.RequestID))
		interrupted, err := server.Client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.Empty(t, interrupted)
		assert.Empty(t, journal.states())
	})
}

func TestResultIsGivenBackAndConfirmedWhenTheCallerHasGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(journal))
		_, err := guarded(t.Context(), underKey("30", "turn-7"))
		require.Error(t, err)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		result, err := guarded(gone, underKey("30", "turn-7"))
		require.NoError(t, err)
		assert.Equal(t, "receipt", result)
		assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status)
	})
}

// emptyEntries yields nil entries between its entries.
type emptyEntries struct{ memoryJournal }

func (j *emptyEntries) Entries(ctx context.Context) iter.Seq2[*journalEntry, error] {
	return func(yield func(*journalEntry, error) bool) {
		for entry, err := range j.memoryJournal.Entries(ctx) {
			if !yield(nil, nil) || !yield(entry, err) {
				return
			}
		}
	}
}

func TestRecoverPassesOverNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(emptyEntries)
		id := unconfirmedRun(t, server, server.Client(), journal, "25")
		interrupted, err := server.Client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.Empty(t, interrupted)
		request, _ := server.Request(id)
		assert.Equal(t, letagentpay.StatusCompleted, request.Status)
	})
}

func TestJournalThatHangsIsNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		journal := &troubledJournal{trouble: func(op string, _ journalState) {
			if op == "get" {
				time.Sleep(time.Hour)
			}
		}}
		var runs atomic.Int64
		begun := time.Now()
		_, err := guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(journal))(
			t.Context(), underKey("30", "turn-7"))
		var journalErr *letagentpay.JournalError
		require.ErrorAs(t, err, &journalErr)
		assert.Equal(t, "get", journalErr.Op)
		assert.LessOrEqual(t, time.Since(begun), 10*time.Second)
		assert.Zero(t, runs.Load())
	})
}

func TestJournalSharedByTwoServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := new(memoryJournal)
		var runs atomic.Int64
		for range 2 { // two services that use the same id
			s := approving(t).on("GET", "/requests", list(row("r1", "approved", created, ""))).
				on("GET", "/requests/r1", answer(200, detail("approved")))
			_, err := guardGroceries(s.client(), &runs, succeed, letagentpay.WithJournal(journal))(
				letagentpay.ResumeApproval(t.Context(), "r1"), groceries())
			require.NoError(t, err)
		}
		assert.EqualValues(t, 2, runs.Load())
	})
}

func TestOfTwoEntriesOfARequestTheFurthestCounts(t *testing.T) {
	for _, key := range []string{"a", "z"} { // a key that sorts before or after the other one
		synctest.Test(t, func(t *testing.T) {
			s := approving(t).on("GET", "/requests", list(row("r1", "approved", created, ""))).
				on("GET", "/requests/r1", answer(200, detail("approved")))
			journal := new(memoryJournal)
			var runs atomic.Int64
			ctx := letagentpay.ResumeApproval(t.Context(), "r1")
			_, err := guardGroceries(s.client(elsewhere()), &runs, succeed, letagentpay.WithJournal(journal))(
				ctx, groceries())
			require.NoError(t, err)
			requested := *only(t, journal)
			requested.Key = strings.Replace(requested.Key, " request r1", " key "+key, 1)
			requested.IdempotencyKey, requested.State = key, stateRequested
			require.NoError(t, journal.Put(t.Context(), &requested))
			require.Len(t, journal.states(), 2)

			result, err := guardGroceries(s.client(elsewhere()), &runs, succeed, letagentpay.WithJournal(journal))(
				ctx, groceries())
			require.NoError(t, err)
			assert.Equal(t, "receipt", result)
			assert.EqualValues(t, 1, runs.Load())
		})
	}
}

func TestRecoverAfterARestartOfRecoverRefundsOnce(t *testing.T) {
	for name, again := range map[string]func(context.Context, *letagentpay.Client, journalStore){
		"recover": func(ctx context.Context, c *letagentpay.Client, j journalStore) { _, _ = c.Recover(ctx, j) },
		"a call under the key": func(ctx context.Context, c *letagentpay.Client, j journalStore) {
			var runs atomic.Int64
			_, _ = guardGroceries(c, &runs, succeed, letagentpay.WithJournal(j))(ctx, underKey("30", "turn-7"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server, journal := serve(t), new(memoryJournal)
				_, err := server.Client(elsewhere()).Purchase(t.Context(), price("45")) // is booked as well
				require.NoError(t, err)
				unrefunded(t, server, journal, "turn-7")
				time.Sleep(2 * time.Minute)
				server.SetServiceRaces(&letagentpaytest.Races{Confirm: 20 * time.Second})
				ctx, stop := context.WithTimeout(t.Context(), 5*time.Second) // a deployment stops the process
				again(ctx, server.Client(elsewhere()), journal)
				stop()
				again(t.Context(), server.Client(elsewhere()), journal)
				time.Sleep(2 * time.Minute)
				books(t, server, "45.00", "0.00")
			})
		})
	}
}

// Another process would not know of a refund that is not recorded.
func TestRefundThatCannotBeRecordedIsNotSent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		unrefunded(t, server, journal, "turn-7")
		time.Sleep(2 * time.Minute)
		journal.fail = func(op string, _ *journalEntry) error {
			if op == "put" {
				return errDead
			}
			return nil
		}
		_, err := server.Client(elsewhere()).Recover(t.Context(), journal)
		require.ErrorIs(t, err, errDead)
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		books(t, server, "30.00", "0.00")
		journal.fail = nil
		_, err = server.Client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		books(t, server, "0.00", "0.00")
	})
}
