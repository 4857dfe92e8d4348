package letagentpay

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// keyedLock is a set of locks by name, handed on in the order of asking, that can be waited for under a context. The
// zero value is ready.
type keyedLock[K comparable] struct {
	mu   sync.Mutex
	held map[K][]chan struct{} // names that are taken, each with its queue
}

// heldLock is one lock of a keyedLock, taken.
type heldLock[K comparable] struct {
	locks    *keyedLock[K]
	name     K
	released atomic.Bool
}

// release hands the lock on. It may be called more than once.
func (h *heldLock[K]) release() {
	if !h.released.Swap(true) {
		h.locks.pass(h.name)
	}
}

// tryLock takes name if it is free, and returns nil if not.
func (l *keyedLock[K]) tryLock(name K) *heldLock[K] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := l.held[name]; taken {
		return nil
	}
	if l.held == nil {
		l.held = make(map[K][]chan struct{})
	}
	l.held[name] = nil
	return &heldLock[K]{locks: l, name: name}
}

// lock waits until name is free and takes it. It fails with ctx's error.
func (l *keyedLock[K]) lock(ctx context.Context, name K) (*heldLock[K], error) {
	if held := l.tryLock(name); held != nil {
		return held, nil
	}
	l.mu.Lock()
	queue, taken := l.held[name]
	if !taken { // since then
		l.held[name] = nil
		l.mu.Unlock()
		return &heldLock[K]{locks: l, name: name}, nil
	}
	turn := make(chan struct{})
	l.held[name] = append(queue, turn)
	l.mu.Unlock()

	select {
	case <-turn:
		return &heldLock[K]{locks: l, name: name}, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	i := slices.Index(l.held[name], turn)
	if i >= 0 {
		l.held[name] = slices.Delete(l.held[name], i, i+1)
	}
	l.mu.Unlock()
	if i < 0 {
		l.pass(name) // the turn came at the same moment
	}
	return nil, ctx.Err()
}

// pass hands the lock to the first in the queue, or frees it.
func (l *keyedLock[K]) pass(name K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.held[name]
	if len(queue) == 0 {
		delete(l.held, name)
		return
	}
	l.held[name] = queue[1:]
	close(queue[0])
}
