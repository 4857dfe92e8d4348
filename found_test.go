package letagentpay_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// only returns the entry of a journal that has exactly one.
func only(t *testing.T, journal *memoryJournal) *journalEntry {
	t.Helper()
	var entries []*journalEntry
	for entry, err := range journal.Entries(t.Context()) {
		require.NoError(t, err)
		entries = append(entries, entry)
	}
	require.Len(t, entries, 1)
	return entries[0]
}

func TestRequestsFoundInDoubtAreDuplicatesOnceOneIsThePurchase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := row("r2", "auto_approved", created, "") + "," + row("r1", "auto_approved", created, "")
		s := newService(t).on("POST", "/requests", broken(syscall.ECONNRESET), answer(201, autoApproved)).
			on("GET", "/requests", list(""), list(both)).
			on("GET", "/requests/r1", answer(200, detail("auto_approved"))).
			on("POST", "/requests/r1/confirm", answer(200, confirmed))
		journal := new(memoryJournal)
		var runs atomic.Int64
		buy := func() error {
			client := s.client(elsewhere(), letagentpay.WithMaxRetries(0))
			_, err := guardGroceries(client, &runs, func(context.Context) (string, error) {
				assert.Equal(t, []string{"r2"}, only(t, journal).Duplicates, "not the request under which this runs")
				return "receipt", nil
			}, letagentpay.WithJournal(journal))(t.Context(), keyed())
			return err
		}
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, buy(), &unknown)
		assert.ElementsMatch(t, []string{"r1", "r2"}, unknown.Found)
		entry := only(t, journal)
		assert.ElementsMatch(t, []string{"r1", "r2"}, entry.Found)
		assert.Empty(t, entry.Duplicates)
		assert.True(t, entry.Unclear)

		var duplicate *letagentpay.DuplicateError
		require.ErrorAs(t, buy(), &duplicate)
		assert.Equal(t, []string{"r2"}, duplicate.Duplicates)
		assert.EqualValues(t, 1, runs.Load())
		entry = only(t, journal)
		assert.Equal(t, stateSettled, entry.State)
		assert.Equal(t, []string{"r2"}, entry.Duplicates)
		assert.Empty(t, entry.Found)
	})
}

func TestJournalKeepsWhatMayHaveBeenBought(t *testing.T) {
	for name, between := range map[string]func(t *testing.T, server *letagentpaytest.Server, call func() error){
		"at once": func(*testing.T, *letagentpaytest.Server, func() error) {},
		"after a call that was refused": func(t *testing.T, server *letagentpaytest.Server, call func() error) {
			server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Status: 403})
			require.ErrorIs(t, call(), letagentpay.ErrForbidden)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				journal := new(memoryJournal)
				var runs atomic.Int64
				call := func() error {
					client := server.Client(elsewhere(), letagentpay.WithMaxRetries(0))
					guarded := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))
					_, err := guarded(t.Context(), underKey("30", "turn-7"))
					return err
				}
				server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: letagentpaytest.DropAfter})
				var unknown *letagentpay.OutcomeUnknownError
				require.ErrorAs(t, call(), &unknown)
				assert.Equal(t, stateRequested, only(t, journal).State)
				time.Sleep(time.Minute)
				between(t, server, call)
				require.NoError(t, call(), "the request found is this purchase's")
				assert.EqualValues(t, 1, runs.Load())
				assert.Len(t, server.Requests(), 1)
			})
		})
	}
}

func TestJournalKnowsWhichRequestsWereThereBefore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		// Another process, which is running now.
		approval, err := server.Client(elsewhere()).Authorize(t.Context(), underKey("30", "turn-7"))
		require.NoError(t, err)
		time.Sleep(time.Minute)

		journal := new(memoryJournal)
		var runs atomic.Int64
		call := func() error {
			client := server.Client(elsewhere(), letagentpay.WithMaxRetries(0))
			guarded := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))
			_, err := guarded(t.Context(), underKey("30", "turn-7"))
			return err
		}
		server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: letagentpaytest.DropBefore})
		require.Error(t, call())
		time.Sleep(time.Minute)
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, call(), &handled)
		assert.Equal(t, approval.RequestID(), handled.Request.RequestID)
		assert.Zero(t, runs.Load())
	})
}

func TestFailedPurchaseIsGivenBackBeforeItsScopeAsksAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		journal := new(memoryJournal)
		ctx := letagentpay.WithPurchaseScope(t.Context(), "message 17")
		buy := func(fn func(context.Context) (string, error)) error {
			var runs atomic.Int64
			guarded := guardGroceries(server.Client(elsewhere()), &runs, fn, letagentpay.WithJournal(journal))
			_, err := guarded(ctx, price("30"))
			return err
		}
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, buy(failing(errShop)), &unconfirmed)
		books(t, server, "30.00", "0.00")
		time.Sleep(2 * time.Minute)

		require.NoError(t, buy(succeed))
		books(t, server, "30.00", "0.00")
		require.Len(t, server.Requests(), 2)
		assert.Equal(t, letagentpay.StatusFailed, server.Requests()[0].Status)
		assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[1].Status)
	})
}

func TestRequestThatAnotherCallHasTakenIsNoDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := row("r2", "auto_approved", created, "") + "," + row("r1", "auto_approved", created, "")
		second := strings.NewReplacer(`"r1"`, `"r2"`)
		s := newService(t).on("POST", "/requests", broken(syscall.ECONNRESET), answer(201, autoApproved)).
			on("GET", "/requests", list(""), list(both)).
			on("GET", "/requests/r1", answer(200, detail("auto_approved"))).
			on("GET", "/requests/r2", answer(200, second.Replace(detail("auto_approved")))).
			on("POST", "/requests/r1/confirm", answer(200, confirmed)).
			on("POST", "/requests/r2/confirm", answer(200, second.Replace(confirmed)))
		journal := new(memoryJournal)
		client := s.client(elsewhere(), letagentpay.WithMaxRetries(0))
		var runs atomic.Int64
		_, err := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))(t.Context(), keyed())
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		require.Len(t, unknown.Found, 2)

		s.on("POST", "/requests", answer(201, autoApproved), answer(201, second.Replace(autoApproved)))
		_, err = guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
			_, err := client.Purchase(ctx, groceries())
			return "receipt", err
		}, letagentpay.WithJournal(journal))(t.Context(), keyed())
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
		assert.Empty(t, only(t, journal).Duplicates)
	})
}

func TestNothingRunsAfterARestartWhileItIsGivenBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		journal.fail = func(op string, e *journalEntry) error {
			if op == "put" && e.State != stateRequested {
				return errors.New("no space left on device")
			}
			return nil
		}
		server.SetServiceRaces(&letagentpaytest.Races{Confirm: 25 * time.Second})
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(elsewhere()), &runs, succeed, letagentpay.WithJournal(journal))
		_, err := guarded(t.Context(), underKey("30", "turn-7"))
		var journalErr *letagentpay.JournalError
		require.ErrorAs(t, err, &journalErr)
		require.Zero(t, runs.Load())

		journal.fail = nil // the disk has space again, and the process restarts
		client := server.Client(elsewhere())
		_, err = client.Recover(t.Context(), journal)
		require.NoError(t, err)
		_, _ = guardGroceries(client, &runs, func(context.Context) (string, error) {
			time.Sleep(30 * time.Second)
			return "receipt", nil
		}, letagentpay.WithJournal(journal))(t.Context(), underKey("30", "turn-7"))
		assert.Zero(t, runs.Load())
		time.Sleep(time.Minute)
		books(t, server, "0.00", "0.00")
	})
}

func TestScopeAfterARestartWhileItsPurchaseIsGivenBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		journal.fail = func(op string, e *journalEntry) error {
			if op == "put" && e.State != stateRequested {
				return errDead
			}
			return nil
		}
		server.SetServiceRaces(&letagentpaytest.Races{Confirm: 25 * time.Second})
		ctx := letagentpay.WithPurchaseScope(t.Context(), "message 17")
		var runs atomic.Int64
		journaled := letagentpay.WithJournal(journal)
		guarded := guardGroceries(server.Client(elsewhere()), &runs, spending("30", nil), journaled)
		_, err := guarded(ctx, price("30"))
		require.Error(t, err)
		journal.fail = nil
		slow := func(ctx context.Context) (string, error) {
			time.Sleep(30 * time.Second)
			return spending("30", nil)(ctx)
		}
		ctx = letagentpay.WithPurchaseScope(t.Context(), "message 17")
		_, _ = guardGroceries(server.Client(elsewhere()), &runs, slow, journaled)(ctx, price("30"))
		time.Sleep(time.Minute)
		if runs.Load() > 0 {
			assert.Equal(t, "30.00", server.Budget().Spent.String(), "fn spent 30.00")
		}
	})
}

func TestCallThatMeetsAGiveBackLeavesNothingToContinue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		failed := make(map[journalState]bool)
		journal.fail = func(op string, e *journalEntry) error {
			if op == "put" && e.State != stateRequested && !failed[e.State] { // each state once
				failed[e.State] = true
				return errDead
			}
			return nil
		}
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: http.StatusForbidden})
		client := server.Client(elsewhere())
		var runs atomic.Int64
		guarded := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))
		_, err := guarded(t.Context(), underKey("30", "k"))
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		assert.False(t, unconfirmed.Params.Success)
		_, err = guarded(t.Context(), underKey("30", "k"))
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.Zero(t, runs.Load())
		interrupted, err := server.Client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.Empty(t, interrupted, "the first error requires a confirmation as failed")
		_, err = client.Confirm(t.Context(), unconfirmed.RequestID, unconfirmed.Params)
		require.NoError(t, err)
		books(t, server, "0.00", "0.00")
	})
}
