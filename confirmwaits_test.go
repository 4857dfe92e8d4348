package letagentpay_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
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

func TestConfirmationOfWhatIsPendingDoesNotEndIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, succeed, letagentpay.OnPendingFail())
		_, err := guarded(t.Context(), underKey("60", "turn-7"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		_, err = server.Client().Confirm(t.Context(), pending.RequestID, letagentpay.ConfirmParams{})
		require.ErrorIs(t, err, letagentpay.ErrConflict)
		require.NoError(t, server.Approve(pending.RequestID))
		_, err = guarded(t.Context(), underKey("60", "turn-7"))
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
	})
}

func TestAfterAnUnclearRefund(t *testing.T) {
	const conflict = `{"detail":"Cannot confirm request with status 'completed'"}`
	t.Run("a success is sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests/r1/confirm", broken(syscall.ECONNRESET), answer(200, confirmed)).
				on("GET", "/requests/r1", answer(200, detail("approved")))
			client := s.client(letagentpay.WithMaxRetries(1))
			_, err := client.Confirm(t.Context(), "r1", letagentpay.ConfirmParams{})
			var unknown *letagentpay.OutcomeUnknownError
			require.ErrorAs(t, err, &unknown)
			_, err = client.Confirm(t.Context(), "r1", completed())
			require.NoError(t, err)
		})
	})
	t.Run("a second one is a conflict once the first took effect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const twice = `{"detail":"Cannot confirm request with status 'failed'"}`
			s := newService(t).on("POST", "/requests/r1/confirm", broken(syscall.ECONNRESET), answer(400, twice)).
				on("GET", "/requests/r1", answer(200, detail("failed")))
			client := s.client()
			confirmation, err := client.Confirm(t.Context(), "r1", letagentpay.ConfirmParams{})
			require.NoError(t, err)
			assert.Equal(t, letagentpay.StatusFailed, confirmation.Status)
			_, err = client.Confirm(t.Context(), "r1", letagentpay.ConfirmParams{})
			require.ErrorIs(t, err, letagentpay.ErrConflict)
		})
	})
	t.Run("a conflict while the request is approved leaves the outcome unknown", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).
				on("POST", "/requests", answer(201, autoApproved)).
				on("POST", "/requests/r1/confirm",
					answer(504, ""), answer(409, `{"detail":"Conflict"}`), answer(400, conflict)).
				on("GET", "/requests/r1",
					answer(200, detail("approved")), answer(200, detail("approved")), answer(200, detail("completed")))
			approval, err := s.client().Authorize(t.Context(), groceries())
			require.NoError(t, err)
			var unknown *letagentpay.OutcomeUnknownError
			require.ErrorAs(t, approval.Settle(t.Context(), nil), &unknown)
			require.NoError(t, approval.Settle(t.Context(), nil), "the first attempt took effect")
		})
	})
	t.Run("it is a conflict after a success", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests/r1/confirm", broken(syscall.ECONNRESET), answer(400, conflict)).
				on("GET", "/requests/r1", answer(200, detail("approved")), answer(200, detail("approved")),
					answer(200, detail("completed")))
			client := s.client(letagentpay.WithMaxRetries(1))
			_, err := client.Confirm(t.Context(), "r1", letagentpay.ConfirmParams{})
			require.Error(t, err)
			_, err = client.Confirm(t.Context(), "r1", letagentpay.ConfirmParams{})
			require.ErrorIs(t, err, letagentpay.ErrConflict)
		})
	})
}

func TestUnclearConfirmationIsLeftAloneAsLongAsItLasted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent, read time.Time
		client := newClient(t, nil, elsewhere(), letagentpay.WithHTTPClient(&http.Client{
			Timeout: 20 * time.Second,
			Transport: exchange(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPost {
					sent = time.Now()
					return hangs(r)
				}
				read = time.Now()
				return answer(200, detail("completed"))(r)
			}),
		}))
		_, err := client.Confirm(t.Context(), "r1", completed())
		require.NoError(t, err)
		assert.GreaterOrEqual(t, read.Sub(sent), 40*time.Second,
			"20 s for the attempt, and as long again for the cooldown")
	})
}

func TestGuardedCallWaitsForAnotherConfirmationWithinItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := approving(t).on("POST", "/requests/r1/confirm", hangs).
			on("GET", "/requests/r1", answer(200, detail("approved")))
		client := s.client()
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		var runs atomic.Int64
		_, err := guardGroceries(client, &runs, func(context.Context) (string, error) {
			group.Go(func() { _, _ = client.Confirm(ctx, "r1", completed()) })
			synctest.Wait()
			return "receipt", nil
		})(t.Context(), groceries())
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		require.ErrorIs(t, err, letagentpay.ErrInProgress)
		cancel()
		group.Wait()
	})
}

func TestErrorsThatSayWhetherSomethingWasPaid(t *testing.T) {
	for err, hides := range map[error]bool{
		&letagentpay.UnconfirmedError{Params: completed(), Err: errShop}: true,
		&letagentpay.UnconfirmedError{MayHaveSpent: true, Err: errShop}:  true,
		// The function failed, and the refund did not take effect.
		&letagentpay.UnconfirmedError{Err: errShop}:                            false,
		&letagentpay.JournalError{State: stateRequested}:                       false,
		&letagentpay.JournalError{State: stateStarted}:                         false,
		&letagentpay.JournalError{State: stateReturned}:                        true,
		&letagentpay.JournalError{State: stateSettled}:                         true,
		&letagentpay.DuplicateError{RequestID: "r1", Duplicates: []string{""}}: true,
		syscall.ECONNRESET: true, // without the wrapping of package net
		syscall.EPIPE:      true,
	} {
		assert.Equal(t, hides, letagentpay.MayHavePaid(err), "%v", err)
		assert.Equal(t, hides, letagentpay.MayHavePaid(errors.Join(errShop, err)), "%v", err)
	}
}

func TestSettleBehindAnotherConfirmationKeepsItsLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		approval, err := client.Authorize(t.Context(), price("30"))
		require.NoError(t, err)
		server.SetServiceRaces(&letagentpaytest.Races{Confirm: 9 * time.Second})
		go func() {
			_, _ = client.Confirm(context.WithoutCancel(t.Context()), approval.RequestID(),
				letagentpay.ConfirmParams{Success: true})
		}()
		time.Sleep(time.Millisecond)
		server.SetServiceRaces(nil)
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Delay: time.Hour, Times: -1})
		begun := time.Now()
		_ = approval.Settle(t.Context(), nil)
		assert.LessOrEqual(t, time.Since(begun), 10*time.Second)
		time.Sleep(time.Hour)
	})
}
