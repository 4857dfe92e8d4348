package letagentpaytest

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

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

// gated serves the server's own listener.
func (s *Server) gated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.handlers.enter() {
			panic(http.ErrAbortHandler)
		}
		defer s.handlers.leave()
		next.ServeHTTP(w, r)
	})
}

// outlive carries out a call in a goroutine of its own, which continues when the client has gone or the gateway has
// given up. Close ends it.
func (s *Server) outlive(
	r *http.Request, gateway Fault, carryOut func(*http.Request) (*answer, error),
) (*answer, error) {
	if !s.handlers.enter() {
		return nil, errClosed
	}
	type outcome struct {
		reply *answer
		err   error
	}
	done := make(chan outcome, 1)
	apart := r.Clone(context.Background()) // the caller may reuse its request when it has given up
	go func() {
		defer s.handlers.leave()
		defer close(done)
		s.watched(r.Method+" "+apart.URL.Path, func() {
			reply, err := carryOut(apart)
			done <- outcome{reply, err}
		})
	}()
	var gaveUp <-chan time.Time
	if gateway.GatewayTimeout > 0 {
		timer := time.NewTimer(gateway.GatewayTimeout)
		defer timer.Stop()
		gaveUp = timer.C
	}
	select {
	case end, ok := <-done:
		if !ok {
			return nil, errDropped // the handler failed, which watched has reported
		}
		return end.reply, end.err
	case <-gaveUp:
		return gateway.giveUp()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-s.life.Done():
		return nil, errClosed
	}
}

// watched runs do, a part of the call that is named, in a goroutine of the server. A function of the test that panics
// there, or ends the goroutine as t.FailNow does, fails the test; without a test the program crashes. Otherwise it
// would go unnoticed: net/http recovers, the client repeats its call, and the test waits for a decision that never
// comes.
func (s *Server) watched(name string, do func()) {
	returned := false
	defer func() {
		if returned {
			return
		}
		reason := "runtime.Goexit, which t.FailNow and require use and which belongs in the test's own goroutine"
		if value := recover(); value != nil {
			reason = fmt.Sprintf("panic: %v", value)
		}
		s.failed(fmt.Sprintf("letagentpaytest: %s was not carried out to its end: %s\n\n%s", name, reason, debug.Stack()))
	}()
	do()
	returned = true
}

func (s *Server) failed(text string) {
	if s.tb == nil {
		go panic(text) // in a goroutine of its own: net/http may recover it here
		return
	}
	s.tb.Errorf("%s", text)
}
