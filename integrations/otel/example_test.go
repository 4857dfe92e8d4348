package otelletagentpay_test

import (
	"context"
	"fmt"
	"log"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/letagentpay/letagentpay-go"
	otelletagentpay "github.com/letagentpay/letagentpay-go/integrations/otel"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func Example() {
	exporter := tracetest.NewInMemoryExporter() // in production: OTLP, and the global providers
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))

	observer, err := otelletagentpay.New(
		otelletagentpay.WithTracerProvider(provider),
		otelletagentpay.WithAttributes(attribute.String("gen_ai.agent.name", "shopper")),
	)
	if err != nil {
		log.Fatal(err)
	}
	server, err := letagentpaytest.Start(
		letagentpaytest.InMemory(),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := letagentpay.New(
		letagentpay.WithToken(server.Token),
		letagentpay.WithBaseURL(server.URL),
		letagentpay.WithHTTPClient(server.HTTPClient()),
		letagentpay.WithObserver(observer),
	)
	if err != nil {
		log.Fatal(err)
	}

	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:      letagentpay.MustAmount("4.50"),
			Category:    "groceries",
			Description: item,
		}
	}
	buy := letagentpay.Guard(client, describe, func(_ context.Context, item string) (string, error) {
		return "bought " + item, nil
	})
	if _, err := buy(context.Background(), "bread"); err != nil {
		log.Fatal(err)
	}

	for _, span := range exporter.GetSpans() { // as they ended
		for _, a := range span.Attributes {
			if a.Key == "letagentpay.decision" || a.Key == "letagentpay.outcome" {
				fmt.Println(span.Name, a.Key, a.Value.AsString())
			}
		}
	}
	// Output:
	// letagentpay.purchase letagentpay.decision auto_approved
	// letagentpay.confirm letagentpay.outcome completed
	// letagentpay.guard letagentpay.decision approved
	// letagentpay.guard letagentpay.outcome completed
}
