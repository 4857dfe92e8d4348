package main

import (
	"context"
	"net/http"

	"github.com/stripe/stripe-go/v82"
)

// payWithStripe pays a bill. stripe-go repeats a call twice after a broken connection, 409, 429 for a lock, and 5xx,
// and sends an Idempotency-Key with every POST that stays the same when it does: the guard derives the purchase's key
// from it. Left to itself it makes a new one for each call. One of your own, made from what stays the same when the
// agent runs again, covers that as well.
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
