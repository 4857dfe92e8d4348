package letagentpay_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// BenchmarkPurchase compares Client.Purchase with the minimum that a program needs by hand: net/http and encoding/json,
// the same post to the same server over loopback. At most 1.15 times the time and twice the allocations are acceptable.
func BenchmarkPurchase(b *testing.B) {
	start := func(b *testing.B) (*letagentpaytest.Server, func()) {
		server := letagentpaytest.NewServer(b, letagentpaytest.WithMaxHistory(1000),
			letagentpaytest.WithBudget(letagentpay.MustAmount("9999999")),
			letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
		n := 0
		return server, func() { // stays below the rate limit of 60 a minute
			if n++; n%60 == 0 {
				server.Advance(time.Minute)
			}
		}
	}
	params := letagentpay.PurchaseParams{
		Amount:       letagentpay.MustAmount("0.01"),
		Category:     "groceries",
		MerchantName: "Corner shop",
		Description:  "An apple",
	}
	b.Run("bare", func(b *testing.B) {
		server, pace := start(b)
		bare := bareClient(server)
		b.ReportAllocs()
		for b.Loop() {
			pace()
			if err := bare(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sdk", func(b *testing.B) {
		server, pace := start(b)
		client := server.Client()
		b.ReportAllocs()
		for b.Loop() {
			pace()
			if _, err := client.Purchase(b.Context(), params); err != nil {
				b.Fatal(err)
			}
		}
	})
	// Calls alternate, so that other load on the machine affects both alike.
	b.Run("ratio", func(b *testing.B) {
		server, pace := start(b)
		client, bare := server.Client(), bareClient(server)
		var bareTime, sdkTime time.Duration
		for b.Loop() {
			pace()
			begun := time.Now()
			if err := bare(b.Context()); err != nil {
				b.Fatal(err)
			}
			turned := time.Now()
			pace()
			if _, err := client.Purchase(b.Context(), params); err != nil {
				b.Fatal(err)
			}
			bareTime, sdkTime = bareTime+turned.Sub(begun), sdkTime+time.Since(turned)
		}
		b.ReportMetric(float64(sdkTime)/float64(bareTime), "sdk/bare")
	})
}

// bareClient returns a function that makes a purchase without retries, checks, limits and typed errors.
func bareClient(server *letagentpaytest.Server) func(context.Context) error {
	client := server.HTTPClient()
	type body struct {
		Amount       json.Number `json:"amount"`
		Category     string      `json:"category"`
		MerchantName string      `json:"merchant_name"`
		Description  string      `json:"description"`
	}
	type result struct {
		RequestID   string `json:"request_id"`
		Status      string `json:"status"`
		Currency    string `json:"currency"`
		Category    string `json:"category"`
		PolicyCheck struct {
			Passed bool `json:"passed"`
			Checks []struct {
				Rule   string `json:"rule"`
				Result string `json:"result"`
				Detail string `json:"detail"`
			} `json:"checks"`
		} `json:"policy_check"`
		AutoApproved    bool   `json:"auto_approved"`
		BudgetRemaining string `json:"budget_remaining"`
	}
	return func(ctx context.Context) error {
		encoded, err := json.Marshal(body{"0.01", "groceries", "Corner shop", "An apple"})
		if err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/requests",
			bytes.NewReader(encoded))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+server.Token)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", rand.Text())
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusCreated {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		var answer result
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return err
		}
		if answer.Status != "auto_approved" {
			return fmt.Errorf("status %s", answer.Status)
		}
		return nil
	}
}

// BenchmarkGuard compares a guarded call with the bare pair of Purchase and Confirm, in memory. At most 5 % more time
// and ten more allocations are acceptable.
func BenchmarkGuard(b *testing.B) {
	start := func(b *testing.B) (*letagentpay.Client, func()) {
		server := letagentpaytest.NewServer(b, letagentpaytest.InMemory(), letagentpaytest.WithMaxHistory(1000),
			letagentpaytest.WithBudget(letagentpay.MustAmount("9999999")),
			letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
		n := 0
		return server.Client(), func() {
			if n++; n%60 == 0 {
				server.Advance(time.Minute)
			}
		}
	}
	params := letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("0.01"), Category: "groceries"}
	pair := func(ctx context.Context, client *letagentpay.Client) error {
		purchase, err := client.Purchase(ctx, params)
		if err != nil {
			return err
		}
		_, err = client.Confirm(ctx, purchase.RequestID, letagentpay.ConfirmParams{Success: true})
		return err
	}
	guard := func(client *letagentpay.Client) func(context.Context, int) (int, error) {
		return letagentpay.Guard(client, func(int) letagentpay.PurchaseParams { return params },
			func(_ context.Context, n int) (int, error) { return n, nil })
	}
	b.Run("pair", func(b *testing.B) {
		client, pace := start(b)
		b.ReportAllocs()
		for b.Loop() {
			pace()
			if err := pair(b.Context(), client); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("guard", func(b *testing.B) {
		client, pace := start(b)
		guarded := guard(client)
		b.ReportAllocs()
		for b.Loop() {
			pace()
			if _, err := guarded(b.Context(), 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ratio", func(b *testing.B) {
		client, pace := start(b)
		guarded := guard(client)
		var pairTime, guardTime time.Duration
		for b.Loop() {
			pace()
			begun := time.Now()
			if err := pair(b.Context(), client); err != nil {
				b.Fatal(err)
			}
			turned := time.Now()
			pace()
			if _, err := guarded(b.Context(), 1); err != nil {
				b.Fatal(err)
			}
			pairTime, guardTime = pairTime+turned.Sub(begun), guardTime+time.Since(turned)
		}
		b.ReportMetric(float64(guardTime)/float64(pairTime), "guard/pair")
	})
}
