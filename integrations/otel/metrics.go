package otelletagentpay

import (
	"context"
	"errors"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/operation"
)

type metrics struct {
	operations metric.Int64Counter
	duration   metric.Float64Histogram
	amount     metric.Float64Histogram
	guardCalls metric.Int64Counter
}

func newMetrics(provider metric.MeterProvider) (*metrics, error) {
	meter := provider.Meter(
		scopeName,
		metric.WithInstrumentationVersion(letagentpay.Version),
		metric.WithSchemaURL(semconv.SchemaURL),
	)
	operations, err1 := meter.Int64Counter("letagentpay.operations",
		metric.WithDescription("Operations ended."), metric.WithUnit("{operation}"))
	duration, err2 := meter.Float64Histogram("letagentpay.operation.duration",
		metric.WithDescription("Duration of operations."), metric.WithUnit("s"),
		// Those of HTTP in the semantic conventions, and beyond them the time that humans take.
		metric.WithExplicitBucketBoundaries(
			0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 300, 900, 1800, 3600,
		))
	amount, err3 := meter.Float64Histogram("letagentpay.purchase.amount",
		metric.WithDescription("Amounts of purchases that were decided about or are pending; approximate."),
		metric.WithUnit("{currency}"),
		metric.WithExplicitBucketBoundaries(
			0.01, 0.1, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 100_000, 1_000_000,
		))
	guardCalls, err4 := meter.Int64Counter("letagentpay.guard.calls",
		metric.WithDescription("Guarded calls by how they ended."), metric.WithUnit("{call}"))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	return &metrics{operations: operations, duration: duration, amount: amount, guardCalls: guardCalls}, nil
}

func (m *metrics) record(ctx context.Context, o *letagentpay.Observation, ending end, constant []attribute.KeyValue) {
	if m.operations.Enabled(ctx) || m.duration.Enabled(ctx) {
		set := metric.WithAttributeSet(with(
			constant,
			operationKey.String(string(o.Op)),
			decisionKey.String(ending.decision),
			outcomeKey.String(ending.outcome),
			semconv.ErrorTypeKey.String(ending.errorType),
		))
		m.operations.Add(ctx, 1, set)
		m.duration.Record(ctx, o.Duration.Seconds(), set)
	}
	if o.Op == operation.Purchase && o.Err == nil && m.amount.Enabled(ctx) {
		set := with(constant, currencyKey.String(o.Currency), decisionKey.String(ending.decision))
		m.amount.Record(ctx, approximate(o.Amount), metric.WithAttributeSet(set))
	}
	if o.Op == operation.Guard && m.guardCalls.Enabled(ctx) {
		m.guardCalls.Add(ctx, 1, metric.WithAttributeSet(with(constant, outcomeKey.String(ending.outcome))))
	}
}

// with returns the constant attributes and those of one measurement that have a value.
func with(constant []attribute.KeyValue, attributes ...attribute.KeyValue) attribute.Set {
	all := append(make([]attribute.KeyValue, 0, len(constant)+len(attributes)), constant...)
	for _, a := range attributes {
		if a.Value.AsString() != "" {
			all = append(all, a)
		}
	}
	return attribute.NewSet(all...)
}

// approximate returns an amount as a float. Nowhere else does money become one; metrics know no other numbers.
func approximate(a letagentpay.Amount) float64 {
	value, _ := strconv.ParseFloat(a.String(), 64) // an amount prints as a plain decimal
	return value
}
