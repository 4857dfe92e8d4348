package otelletagentpay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/letagentpay/letagentpay-go"
	otelletagentpay "github.com/letagentpay/letagentpay-go/integrations/otel"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server, an observed client of it, and what the observer recorded.
type rig struct {
	t        *testing.T
	server   *letagentpaytest.Server
	client   *letagentpay.Client
	recorder *tracetest.SpanRecorder
	reader   *sdkmetric.ManualReader
	tracer   trace.Tracer // for spans of the test's own
}

// newRig starts a server that approves up to 50.00 at once, refuses more than 200.00, and has 500.00 to spend.
func newRig(t *testing.T, opts ...otelletagentpay.Option) *rig {
	t.Helper()
	r := &rig{t: t, recorder: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.recorder))
	r.tracer = tracers.Tracer("test")
	observer, err := otelletagentpay.New(append([]otelletagentpay.Option{
		otelletagentpay.WithTracerProvider(tracers),
		otelletagentpay.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader))),
	}, opts...)...)
	require.NoError(t, err)
	const limits = `{"per_request_limit": 200, "auto_approve": {"enabled": true, "max_amount": 50}}`
	r.server = letagentpaytest.NewServer(t,
		letagentpaytest.InMemory(),
		letagentpaytest.WithBudget(letagentpay.MustAmount("500")),
		letagentpaytest.WithPolicyJSON(limits),
	)
	r.client = r.server.Client(letagentpay.WithObserver(observer), letagentpay.WithMaxRetries(0))
	return r
}

// guard returns fn gated on the client's approval.
func (r *rig) guard(
	fn func(context.Context) error, opts ...letagentpay.GuardOption,
) func(context.Context, letagentpay.PurchaseParams) error {
	describe := func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p }
	run := func(ctx context.Context, _ letagentpay.PurchaseParams) (struct{}, error) { return struct{}{}, fn(ctx) }
	guarded := letagentpay.Guard(r.client, describe, run, opts...)
	return func(ctx context.Context, p letagentpay.PurchaseParams) error {
		_, err := guarded(ctx, p)
		return err
	}
}

func price(amount string) letagentpay.PurchaseParams {
	return letagentpay.PurchaseParams{
		Amount:       letagentpay.MustAmount(amount),
		Category:     "groceries",
		MerchantName: "private-merchant",
		Description:  "private-description",
		AgentComment: "private-comment",
	}
}

func succeed(context.Context) error { return nil }

// spans returns the trees of the spans that have ended, one a line, in the order of their start: kind, status and
// attributes. "id" stands for the attribute with the request's id.
func (r *rig) spans() []string {
	r.t.Helper()
	ended := r.recorder.Ended()
	require.Len(r.t, ended, len(r.recorder.Started()), "every span ends")
	byID := map[trace.SpanID]sdktrace.ReadOnlySpan{}
	for _, span := range ended {
		byID[span.SpanContext().SpanID()] = span
	}
	var lines []string
	for _, started := range r.recorder.Started() {
		span := byID[started.SpanContext().SpanID()]
		depth := 0
		for parent := span.Parent(); parent.IsValid(); parent = byID[parent.SpanID()].Parent() {
			depth++
		}
		name := strings.TrimPrefix(span.Name(), "letagentpay.")
		line := strings.Repeat("  ", depth) + name + " " + span.SpanKind().String()
		if span.Status().Code == codes.Error {
			line += " ERROR"
			if span.Status().Description != "" {
				line += fmt.Sprintf("(%s)", span.Status().Description)
			}
		}
		for _, a := range span.Attributes() {
			key := strings.TrimPrefix(string(a.Key), "letagentpay.")
			if key == "request.id" {
				require.NotEmpty(r.t, a.Value.AsString())
				line += " id"
				continue
			}
			line += " " + key + "=" + a.Value.String()
		}
		lines = append(lines, line)
	}
	return lines
}

// measured returns the values of one instrument, as "attributes: value", a histogram's value being its count and sum.
func (r *rig) measured(name string) []string {
	r.t.Helper()
	var lines []string
	line := func(set attribute.Set, value string) {
		var attributes []string
		for _, a := range set.ToSlice() {
			attributes = append(attributes, strings.TrimPrefix(string(a.Key), "letagentpay.")+"="+a.Value.String())
		}
		lines = append(lines, strings.Join(attributes, " ")+": "+value)
	}
	instrument, ok := r.instrument(name)
	if !ok {
		return nil
	}
	switch data := instrument.Data.(type) {
	case metricdata.Sum[int64]:
		require.True(r.t, data.IsMonotonic)
		for _, point := range data.DataPoints {
			line(point.Attributes, fmt.Sprint(point.Value))
		}
	case metricdata.Histogram[float64]:
		for _, point := range data.DataPoints {
			line(point.Attributes, fmt.Sprintf("%d, %.4g", point.Count, point.Sum))
		}
	default:
		r.t.Fatalf("%s is a %T", name, data)
	}
	return lines
}

func (r *rig) instrument(name string) (metricdata.Metrics, bool) {
	r.t.Helper()
	var collected metricdata.ResourceMetrics
	require.NoError(r.t, r.reader.Collect(r.t.Context(), &collected))
	for _, scope := range collected.ScopeMetrics {
		for _, instrument := range scope.Metrics {
			if instrument.Name == name {
				return instrument, true
			}
		}
	}
	return metricdata.Metrics{}, false
}
