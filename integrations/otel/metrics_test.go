package otelletagentpay_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			return letagentpaytest.Approve().After(3 * time.Minute)
		})
		ctx := t.Context()
		require.NoError(t, r.guard(succeed)(ctx, price("80")))
		require.NoError(t, r.guard(succeed)(ctx, price("10.01")))
		require.NoError(t, r.guard(succeed)(ctx, price("0.10")))
		require.Error(t, r.guard(succeed)(ctx, price("300")))
		require.Error(t, r.guard(func(context.Context) error { return errShop })(ctx, price("20")))
		r.server.Pause()
		require.Error(t, r.guard(succeed)(ctx, price("10")))

		assert.ElementsMatch(t, []string{
			"decision=pending operation=purchase: 1",
			"decision=auto_approved operation=purchase: 3",
			"decision=rejected operation=purchase: 1",
			"error.type=forbidden operation=purchase: 1",
			"decision=approved operation=wait: 1",
			"operation=confirm outcome=completed: 3",
			"operation=confirm outcome=failed: 1",
			"decision=approved operation=guard outcome=completed: 3",
			"decision=rejected operation=guard outcome=rejected: 1",
			"error.type=*errors.errorString decision=approved operation=guard outcome=failed: 1",
			"error.type=forbidden operation=guard outcome=error: 1",
		}, r.measured("letagentpay.operations"))
		assert.ElementsMatch(t, []string{
			"outcome=completed: 3", "outcome=rejected: 1", "outcome=failed: 1", "outcome=error: 1",
		}, r.measured("letagentpay.guard.calls"))
		assert.ElementsMatch(t, []string{
			"currency=USD decision=pending: 1, 80",
			"currency=USD decision=auto_approved: 3, 30.11",
			"currency=USD decision=rejected: 1, 300",
		}, r.measured("letagentpay.purchase.amount"))

		duration, ok := r.instrument("letagentpay.operation.duration")
		require.True(t, ok)
		assert.Equal(t, "s", duration.Unit)
		waits := 0
		for _, point := range duration.Data.(metricdata.Histogram[float64]).DataPoints {
			if op, _ := point.Attributes.Value("letagentpay.operation"); op.AsString() != string(operation.Wait) {
				continue
			}
			waits++
			assert.InDelta(t, 180, point.Sum, 16,
				"the wait takes the human's three minutes, and up to the longest pause between two polls")
			assert.Equal(t, uint64(1), point.BucketCounts[16], "above 60 and up to 300 seconds")
			assert.Equal(t, []float64{60, 300}, point.Bounds[15:17])
		}
		assert.Equal(t, 1, waits)
	})
}
