package main

import (
	"context"
	"net/http"

	"github.com/stripe/stripe-go/v82"
)

// payWithStripe pays a bill. stripe-go retries a call up to twice, after a broken connection, 409, 429 for a lock, and
// 5xx. It sends an Idempotency-Key with every POST, the same on all its attempts, and the guard derives the purchase's
// key from it. By default that key is new for each call. A key of your own, made from what stays the same when the
// agent runs again, also makes the calls of both runs one purchase.
func payWithStripe(ctx context.Context, address string, guard http.RoundTripper) error {
	backends := stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		HTTPClient:    &http.Client{Transport: guard},
		URL:           stripe.String(address),
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	client := stripe.NewClient("sk_test_of_the_example", stripe.WithBackends(backends))
	_, err := client.V1PaymentIntents.Create(ctx, &stripe.PaymentIntentCreateParams{
		Params:   stripe.Params{IdempotencyKey: stripe.String("bill 17, payment")},
		Amount:   stripe.Int64(5),
		Currency: stripe.String(stripe.CurrencyUSD),
	})
	return err
}
