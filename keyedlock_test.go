package letagentpay

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKeyedLockIsHandedOnInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks keyedLock[string]
		held, err := locks.lock(t.Context(), "a")
		require.NoError(t, err)
		other, err := locks.lock(t.Context(), "b")
		require.NoError(t, err, "another name is another lock")
		other.release()

		var mu sync.Mutex
		var order []int
		var group sync.WaitGroup
		for i := range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			group.Go(func() {
				held, err := locks.lock(ctx, "a")
				if i == 2 {
					assert.ErrorIs(t, err, context.Canceled)
					return
				}
				assert.NoError(t, err)
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Second)
				held.release()
				held.release() // harmless
			})
			synctest.Wait()
			if i == 2 {
				cancel()
				synctest.Wait()
			}
		}
		held.release()
		group.Wait()
		assert.Equal(t, []int{0, 1, 3, 4}, order)
		assert.Empty(t, locks.held, "nothing is kept")
	})
}

func TestKeyedLockPassesOnATurnThatCameTooLate(t *testing.T) {
	for range 200 {
		var locks keyedLock[string]
		held, err := locks.lock(t.Context(), "a")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if held, err := locks.lock(ctx, "a"); err == nil {
				held.release()
			}
		})
		group.Go(cancel)
		group.Go(held.release)
		group.Wait()
		cancel()
		again, err := locks.lock(t.Context(), "a")
		require.NoError(t, err)
		again.release()
		assert.Empty(t, locks.held)
	}
}

func TestKeyedLockPassesOnATurnThatComesAsTheCallGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks keyedLock[string]
		_, err := locks.lock(t.Context(), "a")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() {
			_, err := locks.lock(ctx, "a")
			gaveUp <- err
		}()
		synctest.Wait()
		// The call has seen the end of its context, and the turn comes before it can say so.
		locks.mu.Lock()
		cancel()
		turn := locks.held["a"][0]
		locks.held["a"] = nil
		close(turn)
		locks.mu.Unlock()
		require.ErrorIs(t, <-gaveUp, context.Canceled)
		again := locks.tryLock("a")
		require.NotNil(t, again)
		again.release()
		assert.Empty(t, locks.held)
	})
}
