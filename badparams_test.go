package letagentpay_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

func TestParametersThatTheServiceWouldReadOtherwiseAreNotSent(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*letagentpay.PurchaseParams)
		field  string
	}{
		"an invisible category": {
			func(p *letagentpay.PurchaseParams) { p.Category = "\u200b\u2060" }, "PurchaseParams.Category",
		},
		"a fraction of a yen": {
			func(p *letagentpay.PurchaseParams) { p.Amount, p.Currency = letagentpay.MustAmount("100.50"), "jpy" },
			"PurchaseParams.Amount",
		},
		"a key with a token in it": {
			func(p *letagentpay.PurchaseParams) { p.IdempotencyKey = "of " + testToken },
			"PurchaseParams.IdempotencyKey",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			p := groceries()
			c.change(&p)
			_, err := s.client(letagentpay.WithMaxRetries(0)).Purchase(t.Context(), p)
			var bad *letagentpay.ParamError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, c.field, bad.Field)
			assert.NotContains(t, err.Error(), testToken)
			assert.Empty(t, s.paths())
		})
	}
}
