package otelletagentpay_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/letagentpay/letagentpay-go"
	otelletagentpay "github.com/letagentpay/letagentpay-go/integrations/otel"
)

// approving answers every purchase with an approval, without a network, so that little else is measured.
type approving struct{}

func (approving) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	const body = `{"request_id":"r1","status":"auto_approved","currency":"USD","category":"groceries",
		"original_category":null,"policy_check":{"passed":true,"checks":[]},"auto_approved":true,
		"budget_remaining":"450.01","expires_at":null}`
	return &http.Response{
		StatusCode: http.StatusCreated,
		Request:    r,
		Body:       io.NopCloser(strings.NewReader(body)),
		Header:     http.Header{"Content-Type": {"application/json"}},
	}, nil
}

// BenchmarkPurchase compares a client without an observer with clients that have one. No network is involved.
func BenchmarkPurchase(b *testing.B) {
	reading := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	for _, c := range []struct {
		name string
		opts []otelletagentpay.Option
	}{
		{"no observer", nil},
		{"no-op providers", []otelletagentpay.Option{
			otelletagentpay.WithTracerProvider(nooptrace.NewTracerProvider()),
			otelletagentpay.WithMeterProvider(noopmetric.NewMeterProvider()),
		}},
		{"recording", []otelletagentpay.Option{
			otelletagentpay.WithTracerProvider(sdktrace.NewTracerProvider()),
			otelletagentpay.WithMeterProvider(reading),
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			opts := []letagentpay.Option{
				letagentpay.WithToken("agt_benchmark"), letagentpay.WithBaseURL("https://pay.example/api/v1/agent-api"),
				letagentpay.WithHTTPClient(&http.Client{Transport: approving{}}),
			}
			if c.opts != nil {
				observer, err := otelletagentpay.New(c.opts...)
				require.NoError(b, err)
				opts = append(opts, letagentpay.WithObserver(observer))
			}
			client, err := letagentpay.New(opts...)
			require.NoError(b, err)
			p := price("10")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Purchase(b.Context(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
