package letagentpaytest

import (
	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/money"
)

// CheckSpent does what [Agent.CheckSpent] does, for the main agent.
func (s *Server) CheckSpent(t TB, want money.Amount) {
	t.Helper()
	s.main().CheckSpent(t, want)
}

// CheckSpent reports an error to t unless the agent has spent want. What a pending request holds is not spent. It is
// safe for concurrent use.
func (a *Agent) CheckSpent(t TB, want money.Amount) {
	t.Helper()
	if got := a.Budget(); got.Spent != want {
		t.Errorf("letagentpaytest: agent %s has spent %v, want %v (held: %v, remaining: %v)",
			a.Name, got.Spent, want, got.Held, got.Remaining)
	}
}

// CheckStatus reports an error to t unless the request with an id has the status want, whichever agent made it. It is
// safe for concurrent use.
func (s *Server) CheckStatus(t TB, requestID string, want letagentpay.Status) {
	t.Helper()
	got, ok := s.Request(requestID)
	switch {
	case !ok:
		t.Errorf("letagentpaytest: request %q is not known, want status %s", requestID, want)
	case got.Status != want:
		t.Errorf("letagentpaytest: request %s has status %s, want %s", requestID, got.Status, want)
	}
}
