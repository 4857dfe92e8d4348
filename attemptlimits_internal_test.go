package letagentpay

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hanging is a transport whose responses take a time each, and that stops when the request's context ends.
type hanging struct{ times chan time.Duration }

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := sleep(r.Context(), <-h.times); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

// attemptOf makes an attempt whose response takes d, and returns how long it took and its error.
func attemptOf(t *testing.T, at *attemptTransport, d time.Duration) (time.Duration, error) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://pay.example", nil)
	require.NoError(t, err)
	began := time.Now()
	at.next.(hanging).times <- d
	response, err := at.RoundTrip(request)
	if err == nil {
		err = response.Body.Close()
	}
	return time.Since(began), err
}

func TestEachAttemptHasItsOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := &attemptTransport{next: hanging{make(chan time.Duration, 1)}, limits: attemptLimits{limit: time.Minute}}
		var group sync.WaitGroup
		for i := range 5 { // the first and every other one respond, after the timer for the first was set
			group.Go(func() {
				took, wait := time.Minute, time.Hour
				if i%2 == 0 {
					took, wait = 10*time.Second, 10*time.Second
				}
				got, err := attemptOf(t, at, wait)
				assert.Equal(t, took, got)
				if i%2 == 0 {
					assert.NoError(t, err)
					return
				}
				var limit *attemptTimeoutError
				assert.ErrorAs(t, err, &limit)
				assert.True(t, limit.Timeout())
			})
			time.Sleep(7 * time.Second)
		}
		group.Wait()
		assert.Nil(t, at.limits.oldest, "nothing is kept")
		assert.Nil(t, at.limits.newest, "nothing is kept")
		time.Sleep(time.Hour)
		assert.Zero(t, at.limits.fires, "no timer without an attempt")
		got, err := attemptOf(t, at, time.Hour)
		assert.Error(t, err)
		assert.Equal(t, time.Minute, got)
	})
}

// A client that was used on one clock has limits on another one too.
func TestLimitsHoldOnEveryClock(t *testing.T) {
	at := &attemptTransport{next: hanging{make(chan time.Duration, 1)}, limits: attemptLimits{limit: time.Minute}}
	_, err := attemptOf(t, at, 0)
	require.NoError(t, err, "outside of a bubble")
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Hour)
			got, err := attemptOf(t, at, 2*time.Hour)
			var limit *attemptTimeoutError
			require.ErrorAs(t, err, &limit)
			assert.Equal(t, time.Minute, got)
		})
	}
	_, err = attemptOf(t, at, 0)
	require.NoError(t, err)
	assert.False(t, at.limits.fires.IsZero())
}

// A timer may fire late by any time: in a process without a processor, or one that was stopped.
func TestAttemptEndsHoweverLateTheTimerFires(t *testing.T) {
	for _, late := range []time.Duration{time.Microsecond, time.Minute, 30 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			limits := attemptLimits{limit: time.Millisecond}
			a, next := new(limitedAttempt), new(limitedAttempt)
			ctx := limits.start(t.Context(), a)
			a.deadline = time.Now().Add(-late) // as if that much more time had passed
			limits.fires = a.deadline
			nextCtx := limits.start(t.Context(), next)
			synctest.Wait()
			time.Sleep(time.Nanosecond)
			assert.True(t, a.hasExpired.Load(), late)
			assert.Error(t, ctx.Err())
			assert.NoError(t, nextCtx.Err())
			time.Sleep(time.Millisecond)
			synctest.Wait()
			assert.True(t, next.hasExpired.Load(), "and the next one in its own time")
		})
	}
}

func TestLimitedAttemptShowsItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := attemptLimits{limit: time.Minute}
		a := new(limitedAttempt)
		ctx := limits.start(t.Context(), a)
		deadline, ok := ctx.Deadline()
		assert.True(t, ok)
		assert.Equal(t, time.Now().Add(time.Minute), deadline)
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		limits.end(a)
		limits.end(a)
		synctest.Wait()
		assert.ErrorIs(t, child.Err(), context.Canceled)
		assert.False(t, a.hasExpired.Load())
	})
}
