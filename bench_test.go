package letagentpay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// BenchmarkPurchase compares Client.Purchase with the least a program could do by hand: net/http and encoding/json,
// the same post to the same server over loopback. At most 1.15 times the time and twice the allocations are acceptable.
func BenchmarkPurchase(b *testing.B) {
	start := func(b *testing.B) (*letagentpaytest.Server, func()) {
		server := letagentpaytest.NewServer(b, letagentpaytest.WithMaxHistory(1000), letagentpaytest.WithBudget(letagentpay.MustAmount("9999999")),
			letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
		n := 0
		return server, func() { // keeps the rate limit of 60 a minute away
			if n++; n%60 == 0 {
				server.Advance(time.Minute)
			}
		}
	}
	b.Run("bare", func(b *testing.B) {
		server, pace := start(b)
		purchase := bareClient(server)
		b.ReportAllocs()
		for b.Loop() {
			pace()
			if answer, err := purchase(b.Context()); err != nil || answer["status"] != "auto_approved" {
				b.Fatal(answer, err)
			}
		}
	})
	b.Run("sdk", func(b *testing.B) {
		server, pace := start(b)
		client := server.Client()
		params := letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("0.01"), Category: "groceries", MerchantName: "Corner shop", Description: "An apple"}
		b.ReportAllocs()
		for b.Loop() {
			pace()
			if purchase, err := client.Purchase(b.Context(), params); err != nil || !purchase.AutoApproved {
				b.Fatal(purchase, err)
			}
		}
	})
}

// bareClient returns a purchase without keys, retries, checks, limits and errors worth the name.
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
		if response.StatusCode != http.StatusCreated {
			return nil, fmt.Errorf("status %d", response.StatusCode)
		}
		var answer map[string]any
		return answer, json.NewDecoder(response.Body).Decode(&answer)
	}
}
