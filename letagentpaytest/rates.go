package letagentpaytest

import (
	"fmt"
	"maps"

	"github.com/letagentpay/letagentpay-go/money"
)

var maxRate = money.Must("1000000")

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

func (w *world) setRates(rateByPair map[string]string) error {
	parsed := make(map[string]decimal, len(rateByPair))
	for pair, rate := range rateByPair {
		value, finite, ok := parseDecimal(rate)
		if !ok || !finite || value.cmp(money.Amount{}) <= 0 || value.cmp(maxRate) > 0 {
			return fmt.Errorf("rate of %q: %q is not a number between 0 and %v", pair, rate, maxRate)
		}
		parsed[pair] = value
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.rates, parsed)
	return nil
}

func (w *world) rate(pair string) (decimal, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rate, ok := w.rates[pair]
	return rate, ok
}
