package letagentpaytest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/internal/conformance"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func TestConformance(t *testing.T) {
	scenarios, err := conformance.Load("testdata/conformance")
	require.NoError(t, err)
	steps := 0
	for _, s := range scenarios {
		steps += len(s.Steps)
	}
	require.Equal(t, 253, len(scenarios))
	require.Equal(t, 2857, steps)

	for mode, options := range map[string][]letagentpaytest.Option{
		"in memory": {letagentpaytest.InMemory()},
		"over HTTP": nil,
		"in memory under races, one call after the other": {
			letagentpaytest.InMemory(), letagentpaytest.WithServiceRaces(letagentpaytest.Races{}),
		},
	} {
		t.Run(mode, func(t *testing.T) {
			server := letagentpaytest.NewServer(t, options...)
			target := conformance.Embedded{Server: server, Client: server.HTTPClient()}
			for _, s := range scenarios {
				t.Run(s.Name, func(t *testing.T) {
					require.NoError(t, conformance.Play(target, s))
				})
			}
		})
	}
}
