// Package keylock provides one lock for each key. Waiting for a lock ends with a context.
package keylock

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// Locks is a set of locks, one for each key. A lock passes to waiting calls in the order of their requests. The zero
// value is ready to use. Locks is safe for concurrent use.
type Locks[K comparable] struct {
	mu   sync.Mutex
	held map[K][]chan struct{} // the keys of held locks, each with its queue
}

// Held is a lock that is held. It is safe for concurrent use.
type Held[K comparable] struct {
	locks    *Locks[K]
	key      K
	released atomic.Bool
}

// Release passes the lock to the next waiting call, or frees it. Further calls do nothing.
func (h *Held[K]) Release() {
	if !h.released.Swap(true) {
		h.locks.pass(h.key)
	}
}

// TryLock takes the lock of key, or returns nil if it is held.
func (l *Locks[K]) TryLock(key K) *Held[K] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := l.held[key]; taken {
		return nil
	}
	if l.held == nil {
		l.held = make(map[K][]chan struct{})
	}
	l.held[key] = nil
	return &Held[K]{locks: l, key: key}
}

// Lock waits until the lock of key is free, and takes it. If ctx ends first, it returns ctx's error.
func (l *Locks[K]) Lock(ctx context.Context, key K) (*Held[K], error) {
	if held := l.TryLock(key); held != nil {
		return held, nil
	}
	l.mu.Lock()
	queue, taken := l.held[key]
	if !taken { // released in the meantime
		l.held[key] = nil
		l.mu.Unlock()
		return &Held[K]{locks: l, key: key}, nil
	}
	turn := make(chan struct{})
	l.held[key] = append(queue, turn)
	l.mu.Unlock()

	select {
	case <-turn:
		return &Held[K]{locks: l, key: key}, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	i := slices.Index(l.held[key], turn)
	if i >= 0 {
		l.held[key] = slices.Delete(l.held[key], i, i+1)
	}
	l.mu.Unlock()
	if i < 0 {
		l.pass(key) // ctx ended and the lock was passed at the same time
	}
	return nil, ctx.Err()
}

// pass passes the lock to the first call in the queue, or frees it.
func (l *Locks[K]) pass(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.held[key]
	if len(queue) == 0 {
		delete(l.held, key)
		return
	}
	l.held[key] = queue[1:]
	close(queue[0])
}
