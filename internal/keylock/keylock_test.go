package keylock

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLockIsHandedOnInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks Locks[string]
		held, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		other, err := locks.Lock(t.Context(), "b")
		require.NoError(t, err, "another name is another lock")
		other.Release()

		var mu sync.Mutex
		var order []int
		var group sync.WaitGroup
		for i := range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			group.Go(func() {
				held, err := locks.Lock(ctx, "a")
				if i == 2 {
					assert.ErrorIs(t, err, context.Canceled)
					return
				}
				assert.NoError(t, err)
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Second)
				held.Release()
				held.Release() // harmless
			})
			synctest.Wait()
			if i == 2 {
				cancel()
				synctest.Wait()
			}
		}
		held.Release()
		group.Wait()
		assert.Equal(t, []int{0, 1, 3, 4}, order)
		assert.Empty(t, locks.held, "nothing is kept")
	})
}

func TestLockPassesOnATurnThatCameTooLate(t *testing.T) {
	for range 200 {
		var locks Locks[string]
		held, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if held, err := locks.Lock(ctx, "a"); err == nil {
				held.Release()
			}
		})
		group.Go(cancel)
		group.Go(held.Release)
		group.Wait()
		cancel()
		again, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		again.Release()
		assert.Empty(t, locks.held)
	}
}

func TestLockPassesOnATurnThatComesAsTheCallGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks Locks[string]
		_, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() {
			_, err := locks.Lock(ctx, "a")
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
		again := locks.TryLock("a")
		require.NotNil(t, again)
		again.Release()
		assert.Empty(t, locks.held)
	})
}
