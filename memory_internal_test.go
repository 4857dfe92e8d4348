package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecentKeepsHalfOfItsLimitAtLeastAndItsLimitAtMost(t *testing.T) {
	for _, limit := range []int{2, 10, 4096} {
		r := newRecent[int, int](limit)
		for i := range 3*limit + 1 {
			r.put(i, -i)
			require.LessOrEqual(t, len(r.young)+len(r.old), limit)
			for _, kept := range []int{i, max(0, i-limit/2+1)} {
				value, ok := r.get(kept)
				require.True(t, ok, "entry %d of %d, limit %d", kept, i, limit)
				require.Equal(t, -kept, value)
			}
		}
	}
}

func TestRecentDropsAndReplacesWhateverItsAge(t *testing.T) {
	const limit = 10
	for age := range limit / 2 {
		r := newRecent[int, string](limit)
		r.put(-1, "first")
		for i := range age {
			r.put(i, "other")
		}
		r.put(-1, "second")
		value, ok := r.get(-1)
		assert.True(t, ok)
		assert.Equal(t, "second", value, "after %d others", age)
		for i := range age {
			r.put(limit+i, "other")
		}
		r.drop(-1)
		_, ok = r.get(-1)
		assert.False(t, ok, "after %d others", age)
	}
}

// The first to make a request, by hand or in a guarded call, is the one that spends it.
func TestWhoAskedFirstDecides(t *testing.T) {
	key := requestKey{"https://pay.example", "r1"}
	unread := &requestedPurchase{since: &baseline{taken: true}}
	t.Run("by hand", func(t *testing.T) {
		m := newMemory()
		m.rememberByHand(key)
		m.rememberRequested(key, &requestedPurchase{name: "groceries"})
		standing, requested := m.progressOf(key)
		assert.Equal(t, requestedByHand, standing)
		assert.Nil(t, requested)
	})
	t.Run("by a guarded call, until it is forgotten", func(t *testing.T) {
		m := newMemory()
		m.rememberRequested(key, &requestedPurchase{name: "groceries"})
		m.rememberByHand(key)
		standing, _ := m.progressOf(key)
		assert.Equal(t, requestedHere, standing)
		for i := range maxRequested {
			m.rememberRequested(requestKey{key.service, fmt.Sprint(i)}, unread)
		}
		standing, _ = m.progressOf(key)
		assert.Equal(t, unknownHere, standing)
	})
	t.Run("once read, it stays read", func(t *testing.T) {
		m := newMemory()
		m.rememberRequested(key, unread)
		m.rememberRequested(key, &requestedPurchase{name: "groceries"})
		m.rememberRequested(key, unread)
		_, requested := m.progressOf(key)
		require.NotNil(t, requested)
		assert.Nil(t, requested.since)
	})
	t.Run("started", func(t *testing.T) {
		m := newMemory()
		m.rememberStarted(key)
		m.rememberRequested(key, unread)
		standing, _ := m.progressOf(key)
		assert.Equal(t, startedHere, standing)
	})
}

// A second failure confirmation waits as long as the service may still handle the first.
func TestCooldownIsInProportion(t *testing.T) {
	for lasted, want := range map[time.Duration]time.Duration{
		0:                time.Minute,
		20 * time.Second: time.Minute,
		50 * time.Second: 100 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			m, key := newMemory(), requestKey{"https://pay.example", "r1"}
			assert.False(t, m.coolingDown(key))
			m.coolDownRefund(key, lasted)
			time.Sleep(want - time.Nanosecond)
			assert.True(t, m.coolingDown(key), "%v after an attempt of %v", want-time.Nanosecond, lasted)
			time.Sleep(time.Nanosecond)
			assert.False(t, m.coolingDown(key), "%v after an attempt of %v", want, lasted)
			assert.True(t, m.hasOpenRefund(key), "nothing runs under it afterwards either")
		})
	}
}

func TestRests(t *testing.T) {
	first, second := lockKey{"a", postLock, "1"}, lockKey{"a", postLock, "2"}
	waited := func(t *testing.T, r *cooldowns, key lockKey, limit time.Duration) (time.Duration, error) {
		t.Helper()
		begun := time.Now()
		err := r.wait(t.Context(), key, limit, begun)
		return time.Since(begun), err
	}
	t.Run("each key cools down until its own time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var r cooldowns
			r.coolDown(first, time.Now().Add(3*time.Second))
			r.coolDown(second, time.Now().Add(5*time.Second))
			took, err := waited(t, &r, first, 0)
			require.NoError(t, err)
			assert.Equal(t, 3*time.Second, took)
			took, err = waited(t, &r, second, 0)
			require.NoError(t, err)
			assert.Equal(t, 2*time.Second, took)
		})
	})
	t.Run("an elapsed cooldown is dropped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var r cooldowns
			r.coolDown(first, time.Now().Add(3*time.Second))
			time.Sleep(4 * time.Second)
			r.coolDown(second, time.Now().Add(3*time.Second))
			assert.Len(t, r.until, 1)
			assert.Contains(t, r.until, second)
		})
	})
	t.Run("within a limit, or not at all", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var r cooldowns
			r.coolDown(first, time.Now().Add(11*time.Second))
			took, err := waited(t, &r, first, 10*time.Second)
			require.ErrorIs(t, err, ErrInProgress)
			assert.Zero(t, took)
			took, err = waited(t, &r, first, 11*time.Second)
			require.NoError(t, err)
			assert.Equal(t, 11*time.Second, took)
		})
	})
	t.Run("bounded under any clock", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var r cooldowns
			r.coolDown(first, time.Now().Add(100*time.Hour))
			took, err := waited(t, &r, first, 0)
			require.NoError(t, err)
			assert.Equal(t, maxCooldown, took)
		})
	})
	t.Run("a cancelled caller releases the lock", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, err := New(WithToken("agt_x"), InProcess(NewProcess()))
			require.NoError(t, err)
			client.process.cooldowns.coolDown(first, time.Now().Add(10*time.Second))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = client.lock(ctx, "purchase", first, 0)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			held, err := client.lock(t.Context(), "purchase", first, 0)
			require.NoError(t, err)
			held.Release()
			_, err = client.lock(t.Context(), "purchase", first, time.Nanosecond)
			require.NoError(t, err, "the cooldown is over")
			_, err = client.lock(t.Context(), "purchase", first, time.Second)
			require.ErrorIs(t, err, ErrInProgress)
			require.False(t, errors.Is(err, context.DeadlineExceeded))
		})
	})
}
