package letagentpaytest

import (
	"fmt"
)

// SetRate sets an exchange rate of the x402 API, for a pair such as "USDC/USD". A rate that is no positive number
// fails the test.
func (s *Server) SetRate(pair, rate string) {
	s.helper()
	if err := s.SetRates(map[string]string{pair: rate}); err != nil {
		s.fatalf("%v", err)
	}
}

// SetRates sets exchange rates of the x402 API by pair, as [WithRates] does at the start; the rates of other pairs
// stay. A rate that is no positive number is an error, and changes nothing.
func (s *Server) SetRates(rateByPair map[string]string) error {
	if err := s.world.Load().setRates(rateByPair); err != nil {
		return fmt.Errorf("letagentpaytest: %w", err)
	}
	return nil
}
