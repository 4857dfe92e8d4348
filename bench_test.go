package letagentpay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// BenchmarkPurchase compares Client.Purchase with the least a program could do by hand: net/http and encoding/json,
// the same post to the same server over loopback.
func BenchmarkPurchase(b *testing.B) {
	server := letagentpaytest.NewServer(b, letagentpaytest.WithMaxHistory(1000))
	params := letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("0.01"), Category: "groceries", MerchantName: "Corner shop", Description: "An apple"}

	b.Run("bare", func(b *testing.B) {
		purchase := bareClient(server)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := purchase(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sdk", func(b *testing.B) {
		client := server.Client()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.Purchase(b.Context(), params); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// bareClient returns a purchase without retries, checks, limits and errors worth the name.
func bareClient(server *letagentpaytest.Server) func(context.Context) (map[string]any, error) {
	client := server.HTTPClient()
	type body struct {
		Amount       json.Number `json:"amount"`
		Category     string      `json:"category"`
		MerchantName string      `json:"merchant_name"`
		Description  string      `json:"description"`
	}
	return func(ctx context.Context) (map[string]any, error) {
		encoded, err := json.Marshal(body{"0.01", "groceries", "Corner shop", "An apple"})
		if err != nil {
			return nil, err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/requests", bytes.NewReader(encoded))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+server.Token)
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		var answer map[string]any
		return answer, json.NewDecoder(response.Body).Decode(&answer)
	}
}
