package letagentpaytest

import "sync"

// gate counts the running handlers, so that Close can wait for all of them.
type gate struct {
	mu     sync.Mutex
	inside int
	closed bool
	empty  chan struct{} // set by close if handlers are running; closed when the last one leaves
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.closed {
		close(g.empty)
	}
}

// close lets no further handler in, and waits for those that are running.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	inside := g.inside
	if inside > 0 {
		g.empty = make(chan struct{})
	}
	g.mu.Unlock()
	if inside > 0 {
		<-g.empty
	}
}
