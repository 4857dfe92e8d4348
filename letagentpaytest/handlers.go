package letagentpaytest

import (
	"context"
	"net/http"
	"time"
)

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
