package letagentpay_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

func TestWaitForDecision(t *testing.T) {
	pending := answer(200, detail("pending"))
	for name, c := range map[string]struct {
		answers []httpmock.Responder
		status  letagentpay.Status
		is      error
	}{
		"decided already": {[]httpmock.Responder{answer(200, detail("approved"))}, letagentpay.StatusApproved, nil},
		"approved": {
			[]httpmock.Responder{pending, pending, answer(200, detail("approved"))}, letagentpay.StatusApproved, nil,
		},
		"rejected": {
			[]httpmock.Responder{pending, answer(200, detail("rejected"))}, letagentpay.StatusRejected, nil,
		},
		"expired": {
			[]httpmock.Responder{pending, answer(200, detail("expired"))}, letagentpay.StatusExpired, nil,
		},
		"completed": {
			[]httpmock.Responder{answer(200, detail("completed"))}, letagentpay.StatusCompleted, nil,
		},
		"unknown in between": {
			[]httpmock.Responder{pending, answer(200, detail("escalated")), answer(200, detail("approved"))},
			letagentpay.StatusApproved, nil,
		},
		"trouble in between": {
			[]httpmock.Responder{
				answer(500, ``), broken(errReset), answer(200, `{`), answer(429, `{}`), broken(errRefused),
				answer(200, detail("approved")),
			},
			letagentpay.StatusApproved, nil,
		},
		"unauthorized": {
			[]httpmock.Responder{pending, answer(401, `{"detail":"Invalid agent token"}`)},
			"",
			letagentpay.ErrUnauthorized,
		},
		"forbidden": {
			[]httpmock.Responder{pending, answer(403, `{"detail":"Agent is paused"}`)}, "", letagentpay.ErrForbidden,
		},
		"unknown id": {
			[]httpmock.Responder{answer(404, `{"detail":"Request not found"}`)}, "", letagentpay.ErrNotFound,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/requests/r1", c.answers...)
				request, err := s.client().WaitForDecision(t.Context(), "r1")
				require.ErrorIs(t, err, c.is)
				assert.Len(t, s.recorded(), len(c.answers))
				if c.is == nil {
					assert.Equal(t, c.status, request.Status)
				}
			})
		})
	}
}

func TestWaitTimesOutWithTheLastState(t *testing.T) {
	for name, wait := range map[string]func(*testing.T, *letagentpay.Client) (*letagentpay.Request, error){
		"option": func(t *testing.T, c *letagentpay.Client) (*letagentpay.Request, error) {
			return c.WaitForDecision(t.Context(), "r1", letagentpay.WaitTimeout(time.Minute))
		},
		"context": func(t *testing.T, c *letagentpay.Client) (*letagentpay.Request, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return c.WaitForDecision(ctx, "r1", letagentpay.WaitTimeout(time.Hour))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/requests/r1", answer(200, detail("pending")))
				begun := time.Now()
				_, err := wait(t, s.client())
				var timeout *letagentpay.WaitTimeoutError
				require.ErrorAs(t, err, &timeout)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, "r1", timeout.RequestID)
				assert.Equal(t, letagentpay.StatusPending, timeout.Last.Status)
				calls := s.recorded()
				last := calls[len(calls)-1].At.Sub(begun)
				assert.Greater(t, last, 59*time.Second-time.Millisecond, "a last poll fits before the deadline")
				assert.Less(t, last, time.Minute)
				assert.LessOrEqual(t, time.Since(begun), time.Minute)
				assert.Less(t, len(calls), 20, "polls become rarer")
				for i, call := range calls[1:] {
					pause := call.At.Sub(calls[i].At)
					assert.LessOrEqual(t, pause, 15*time.Second)
					if i < len(calls)-2 {
						assert.GreaterOrEqual(t, pause, time.Second)
					}
				}
			})
		})
	}
}

func TestWaitTimeoutWithoutAnyAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := newService(t).on("GET", "/requests/r1", answer(502, "")).
			client().WaitForDecision(t.Context(), "r1", letagentpay.WaitTimeout(10*time.Second))
		var timeout *letagentpay.WaitTimeoutError
		require.ErrorAs(t, err, &timeout)
		assert.Nil(t, timeout.Last)
		require.ErrorIs(t, err, letagentpay.ErrServer, "why nothing was seen")
	})
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		_, err := newService(t).on("GET", "/requests/r1", hangs).
			client().WaitForDecision(t.Context(), "r1", letagentpay.WaitTimeout(10*time.Second))
		var timeout *letagentpay.WaitTimeoutError
		require.ErrorAs(t, err, &timeout)
		assert.Equal(t, 10*time.Second, time.Since(begun))
	})
}

func TestWaitTimeoutNamesTheFailureOfTheLastLookOnly(t *testing.T) {
	pending, unavailable := answer(200, detail("pending")), answer(503, `{}`)
	for name, c := range map[string]struct {
		answers []httpmock.Responder
		is      error
	}{
		"over":         {[]httpmock.Responder{unavailable, pending}, nil},
		"over again":   {[]httpmock.Responder{pending, unavailable, unavailable, pending}, nil},
		"still lasts":  {[]httpmock.Responder{pending, unavailable}, letagentpay.ErrServer},
		"another kind": {[]httpmock.Responder{unavailable, pending, answer(429, `{}`)}, letagentpay.ErrRateLimited},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/requests/r1", c.answers...)
				_, err := s.client().WaitForDecision(t.Context(), "r1", letagentpay.WaitTimeout(20*time.Second))
				var timeout *letagentpay.WaitTimeoutError
				require.ErrorAs(t, err, &timeout)
				require.ErrorIs(t, timeout.Err, c.is)
				require.NotNil(t, timeout.Last)
				assert.Equal(t, letagentpay.StatusPending, timeout.Last.Status)
			})
		})
	}
}

func TestWaitIsCancelledAtOnce(t *testing.T) {
	for name, responder := range map[string]httpmock.Responder{
		"between polls": answer(200, detail("pending")),
		"during a poll": hangs,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(2500*time.Millisecond, cancel)
				begun := time.Now()
				_, err := newService(t).on("GET", "/requests/r1", responder).client().WaitForDecision(ctx, "r1")
				require.ErrorIs(t, err, context.Canceled)
				var timeout *letagentpay.WaitTimeoutError
				assert.NotErrorAs(t, err, &timeout)
				assert.Equal(t, 2500*time.Millisecond, time.Since(begun))
			})
		})
	}
}

func TestWaitInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("GET", "/requests/r1", answer(200, detail("pending")))
		_, err := s.client().WaitForDecision(t.Context(), "r1", letagentpay.WaitInterval(2*time.Second, 2*time.Second),
			letagentpay.WaitTimeout(11*time.Second))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Len(t, s.recorded(), 7, "at 0, 2, 4, 6, 8, 10 and just before 11 seconds")
	})
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("GET", "/requests/r1", answer(503, `{}`, "Retry-After", "30"),
			answer(200, detail("approved")))
		begun := time.Now()
		_, err := s.client().WaitForDecision(t.Context(), "r1")
		require.NoError(t, err)
		assert.Equal(t, 30*time.Second, time.Since(begun), "the service may request longer pauses")
	})
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("GET", "/requests/r1",
			answer(503, `{}`, "Retry-After", "30"), answer(200, detail("pending")), answer(200, detail("approved")))
		begun := time.Now()
		_, err := s.client().WaitForDecision(t.Context(), "r1", letagentpay.WaitInterval(time.Second, time.Second))
		require.NoError(t, err)
		assert.Equal(t, 31*time.Second, time.Since(begun), "until it has recovered")
	})
}

func TestBadWaitOptions(t *testing.T) {
	client := newService(t).client()
	for name, option := range map[string]letagentpay.WaitOption{
		"no time":         letagentpay.WaitTimeout(0),
		"negative time":   letagentpay.WaitTimeout(-1),
		"no pause":        letagentpay.WaitInterval(0, time.Second),
		"reversed":        letagentpay.WaitInterval(2*time.Second, time.Second),
		"nil wait option": nil,
	} {
		_, err := client.WaitForDecision(t.Context(), "r1", option)
		require.ErrorIs(t, err, letagentpay.ErrInvalid, name)
	}
}
