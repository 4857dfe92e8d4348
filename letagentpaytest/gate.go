package letagentpaytest

import "sync"

// gate counts handlers, so that none outlives the server.
type gate struct {
	mu     sync.Mutex
	inside int
	closed bool
	empty  chan struct{} // when closed with some inside; ends when the last has left
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

// close lets nobody in any more, and waits for those inside.
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
