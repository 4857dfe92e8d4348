package letagentpay_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/operation"
)

func completed() letagentpay.ConfirmParams {
	return letagentpay.ConfirmParams{Success: true, ActualAmount: letagentpay.MustAmount("47.50")}
}

func TestConfirm(t *testing.T) {
	s := newService(t).on("POST", "/requests/r1/confirm", answer(200, confirmed),
		answer(200, `{"request_id":"r1","status":"failed","actual_amount":null}`))
	confirmation, err := s.client().Confirm(t.Context(), "r1", letagentpay.ConfirmParams{
		Success:      true,
		ActualAmount: letagentpay.MustAmount("47.5"),
		ReceiptURL:   "https://shop.example/r/1",
	})
	require.NoError(t, err)
	assert.Equal(t, &letagentpay.Confirmation{
		RequestID:    "r1",
		Status:       letagentpay.StatusCompleted,
		ActualAmount: letagentpay.MustAmount("47.50"),
	}, confirmation)
	confirmation, err = s.client().Confirm(t.Context(), "r1", letagentpay.ConfirmParams{})
	require.NoError(t, err)
	assert.Equal(t, &letagentpay.Confirmation{RequestID: "r1", Status: letagentpay.StatusFailed}, confirmation)
	assert.JSONEq(t, `{"success":true,"actual_amount":47.50,"receipt_url":"https://shop.example/r/1"}`,
		s.recorded()[0].Body)
	assert.JSONEq(t, `{"success":false}`, s.recorded()[1].Body)
	assert.Empty(t, s.recorded()[0].Header.Get("Idempotency-Key"))
}

func TestBadConfirmationsAreNotSent(t *testing.T) {
	client := newService(t).client()
	for field, p := range map[string]letagentpay.ConfirmParams{
		"ConfirmParams.ActualAmount": {Success: true, ActualAmount: letagentpay.MustAmount("1").Neg()},
		"ConfirmParams.ReceiptURL":   {Success: true, ReceiptURL: strings.Repeat("u", 2001)},
	} {
		_, err := client.Confirm(t.Context(), "r1", p)
		var param *letagentpay.ParamError
		require.ErrorAs(t, err, &param)
		assert.Equal(t, field, param.Field)
	}
	for _, p := range []letagentpay.ConfirmParams{
		{ActualAmount: letagentpay.MustAmount("1")},
		{Success: true, ActualAmount: letagentpay.MustAmount("0.001")},
		{Success: true, ActualAmount: letagentpay.MustAmount("9999999.01")},
	} {
		_, err := client.Confirm(t.Context(), "r1", p)
		require.ErrorIs(t, err, letagentpay.ErrInvalid)
	}
}

func TestConfirmOfAnUnapprovedRequestIsAConflict(t *testing.T) {
	s := newService(t).on("POST", "/requests/r1/confirm",
		answer(400, `{"detail":"Cannot confirm request with status 'completed'"}`))
	_, err := s.client().Confirm(t.Context(), "r1", completed())
	require.ErrorIs(t, err, letagentpay.ErrConflict)
	require.ErrorIs(t, err, letagentpay.ErrInvalid)
	assert.Len(t, s.recorded(), 1)
}

func TestLostConfirmationsAreSettledByReading(t *testing.T) {
	type answers = []httpmock.Responder
	const post, get = "POST /requests/r1/confirm", "GET /requests/r1"
	conflict := answer(400, `{"detail":"Cannot confirm request with status 'failed'"}`)
	for name, c := range map[string]struct {
		confirms, reads answers
		paths           []string
		want            error // nil: confirmed
		unknown         bool
	}{
		"took effect": {
			answers{broken(errReset)},
			answers{answer(200, detail("completed"))},
			[]string{post, get},
			nil, false,
		},
		"took effect, malformed": {
			answers{answer(200, `{"request`)},
			answers{answer(200, detail("completed"))},
			[]string{post, get},
			nil, false,
		},
		"took effect, bad gateway": {
			answers{answer(502, ``)},
			answers{answer(503, ``), answer(200, detail("completed"))},
			[]string{post, get, get},
			nil, false,
		},
		"had no effect": {
			answers{broken(errReset), answer(200, confirmed)},
			answers{answer(200, detail("approved"))},
			[]string{post, get, post},
			nil, false,
		},
		"took effect, seen late": {
			answers{broken(errReset), answer(400, `{"detail":"Cannot confirm request with status 'completed'"}`)},
			answers{answer(200, detail("approved")), answer(200, detail("completed"))},
			[]string{post, get, post, get},
			nil, false,
		},
		"never connected at first": {
			answers{broken(errRefused), answer(200, confirmed)},
			nil,
			[]string{post, post},
			nil, false,
		},
		"rate limited at first": {
			answers{answer(429, `{"detail":"Too many requests. Please try again later."}`), answer(200, confirmed)},
			nil,
			[]string{post, post},
			nil, false,
		},
		"another caller's failure": {
			answers{broken(errReset), conflict},
			answers{answer(200, detail("failed"))},
			[]string{post, get, post, get},
			letagentpay.ErrConflict, false,
		},
		"refused the second time": {
			answers{broken(errReset), answer(403, `{"detail":"Agent is paused"}`)},
			answers{answer(200, detail("approved"))},
			[]string{post, get, post},
			letagentpay.ErrForbidden, true,
		},
		"the request cannot be read": {
			answers{broken(errReset)},
			answers{answer(403, `{"detail":"Agent is paused"}`)},
			[]string{post, get},
			letagentpay.ErrForbidden, true,
		},
		"never gets through": {
			answers{broken(errReset)},
			answers{answer(200, detail("approved"))},
			[]string{post, get, post, get, post, get},
			letagentpay.ErrNoResponse, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests/r1/confirm", c.confirms...)
				if c.reads != nil {
					s.on("GET", "/requests/r1", c.reads...)
				}
				confirmation, err := s.client(letagentpay.WithMaxRetries(2)).Confirm(t.Context(), "r1", completed())
				assert.Equal(t, c.paths, s.paths())
				for i, call := range s.recorded()[1:] {
					if previous := s.recorded()[i]; call.Method == "GET" && previous.Method == "POST" &&
						!strings.Contains(name, "late") && name != "another caller's failure" {
						assert.GreaterOrEqual(t, call.At.Sub(previous.At), 2*time.Second,
							"the read waits until the confirmation is over")
					}
				}
				if c.want == nil {
					require.NoError(t, err)
					assert.Equal(t, letagentpay.StatusCompleted, confirmation.Status)
					if strings.HasPrefix(c.paths[len(c.paths)-1], "GET") {
						assert.Zero(t, confirmation.ActualAmount, "a read does not report it")
					} else {
						assert.Equal(t, letagentpay.MustAmount("47.5"), confirmation.ActualAmount)
					}
					return
				}
				require.ErrorIs(t, err, c.want)
				var unknown *letagentpay.OutcomeUnknownError
				if assert.Equal(t, c.unknown, assert.ErrorAs(discard{}, err, &unknown)) && c.unknown {
					assert.Equal(t, operation.Confirm, unknown.Op)
					assert.Equal(t, "r1", unknown.RequestID)
				}
			})
		})
	}
}

func TestConfirmUnderADeadlineLooksBeforeItEnds(t *testing.T) {
	for range 10 { // without time for the read, which of the two comes first is left to chance
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests/r1/confirm", broken(errReset)).
				on("GET", "/requests/r1", answer(200, detail("completed")), answer(200, detail("approved")))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := s.client().Confirm(ctx, "r1", completed())
			require.NoError(t, err)

			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = s.client().Confirm(ctx, "r1", completed())
			var unknown *letagentpay.OutcomeUnknownError
			require.ErrorAs(t, err, &unknown, "an approved status this early proves nothing, and nothing is sent again")
			assert.Equal(t, []string{
				"POST /requests/r1/confirm", "GET /requests/r1", "POST /requests/r1/confirm", "GET /requests/r1",
			}, s.paths())
		})
	}
}

func TestCancelledConfirmReturnsAtOnce(t *testing.T) {
	for name, answer := range map[string]httpmock.Responder{
		"during the attempt":  hangs,
		"during the cooldown": broken(errReset),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				begun := time.Now()
				_, err := newService(t).on("POST", "/requests/r1/confirm", answer).client().Confirm(ctx, "r1",
					completed())
				assert.Equal(t, time.Second, time.Since(begun))
				var unknown *letagentpay.OutcomeUnknownError
				require.ErrorAs(t, err, &unknown)
			})
		})
	}
}

func TestConfirmationsOfOneRequestNeverOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		under, refunds := 0, 0
		s := newService(t).on("POST", "/requests/r1/confirm", func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			under++
			overlap, first := under > 1, refunds == 0
			mu.Unlock()
			assert.False(t, overlap)
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			under--
			if !first {
				return answer(400, `{"detail":"Cannot confirm request with status 'failed'"}`)(r)
			}
			refunds++
			return answer(200, `{"request_id":"r1","status":"failed","actual_amount":null}`)(r)
		})
		var group sync.WaitGroup
		var conflicts sync.Map
		for i := range 5 {
			group.Go(func() {
				if _, err := s.client().Confirm(t.Context(), "r1", letagentpay.ConfirmParams{}); err != nil {
					assert.ErrorIs(t, err, letagentpay.ErrConflict)
					conflicts.Store(i, true)
				}
			})
		}
		group.Wait()
		n := 0
		conflicts.Range(func(any, any) bool { n++; return true })
		assert.Equal(t, 4, n)
		assert.Equal(t, 1, refunds)
	})
}

func TestRepeatedConfirmationWaitsForTheCancelledOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("POST", "/requests/r1/confirm", hangs, answer(200, confirmed))
		client := s.client()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Confirm(ctx, "r1", completed())
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		_, err = client.Confirm(t.Context(), "r1", completed())
		require.NoError(t, err)
		assert.Equal(t, 3*time.Second, s.recorded()[1].At.Sub(s.recorded()[0].At))
	})
}
