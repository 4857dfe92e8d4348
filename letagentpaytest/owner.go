package letagentpaytest

import (
	"errors"
	"fmt"
	"time"

	"github.com/letagentpay/letagentpay-go"
)

// The errors that a [*DecisionError] matches.
var (
	ErrNotFound   = errors.New("no such request")
	ErrNotPending = errors.New("the request is not pending")
	ErrExpired    = errors.New("the request was past its expiry, and has expired now")
)

// DecisionError reports a request that could not be approved or rejected. It matches [ErrNotFound], [ErrNotPending] or
// [ErrExpired] with [errors.Is].
type DecisionError struct {
	RequestID string
	Status    letagentpay.Status // of the request; empty if there is no such request
	Err       error              // ErrNotFound, ErrNotPending or ErrExpired
}

func (e *DecisionError) Error() string {
	if e.Status == "" {
		return fmt.Sprintf("letagentpaytest: request %s: %v", e.RequestID, e.Err)
	}
	return fmt.Sprintf("letagentpaytest: request %s (%s): %v", e.RequestID, e.Status, e.Err)
}

// Unwrap returns the sentinel.
func (e *DecisionError) Unwrap() error { return e.Err }

// Approve approves a pending request as its owner would. A request past its expiry expires instead. The error is a
// [*DecisionError].
func (s *Server) Approve(requestID string) error { return s.decide(requestID, true) }

// Reject rejects a pending request as its owner would. It also rejects a request past its expiry that is still pending.
// The error is a [*DecisionError].
func (s *Server) Reject(requestID string) error { return s.decide(requestID, false) }

func (s *Server) decide(id string, approve bool) error {
	var err error
	if !s.world.Load().find(id, func(r *requestState, now time.Time) { err = r.decide(approve, now) }) {
		return &DecisionError{RequestID: id, Err: ErrNotFound}
	}
	return err
}

// Now returns the time of the server's clock.
func (s *Server) Now() time.Time { return s.world.Load().clock.now() }

// Advance moves the server's clock forward by d. Everything that depends on time follows: expiry, budgets of the day,
// rate limits, schedules, delayed verdicts, the lifetime of idempotency keys. It moves no other clock: a client that
// waits for its own timer still waits. A negative d fails the test.
func (s *Server) Advance(d time.Duration) {
	s.helper()
	if d < 0 {
		s.fatalf("letagentpaytest: Advance(%v): the clock does not go back", d)
		return
	}
	s.world.Load().clock.advance(d)
}

// Sweep expires every overdue request at once. The service does so within a minute.
func (s *Server) Sweep() {
	w := s.world.Load()
	for _, acc := range w.accounts {
		w.locked(acc, acc.sweep)
	}
}

// SetRate sets an exchange rate of the x402 API, for a pair such as "USDC/USD". A rate that is not a positive number
// fails the test.
func (s *Server) SetRate(pair, rate string) {
	s.helper()
	if err := s.SetRates(map[string]string{pair: rate}); err != nil {
		s.fatalf("%v", err)
	}
}

// SetRates sets exchange rates of the x402 API by pair, as [WithRates] does at the start. Other rates stay. A rate that
// is not a positive number is an error and changes nothing.
func (s *Server) SetRates(rateByPair map[string]string) error {
	if err := s.world.Load().setRates(rateByPair); err != nil {
		return fmt.Errorf("letagentpaytest: %w", err)
	}
	return nil
}
