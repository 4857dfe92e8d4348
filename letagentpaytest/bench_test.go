package letagentpaytest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
)

// BenchmarkPurchase measures purchases in memory, each minute's sixty in a row: the clock is advanced before the rate
// limit applies. 20,000 a second are the least that is acceptable on two cores.
func BenchmarkPurchase(b *testing.B) {
	server := letagentpaytest.NewServer(b, letagentpaytest.InMemory(), letagentpaytest.WithMaxHistory(1000),
		letagentpaytest.WithBudget(money.Must("9999999")),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}, "per_request_limit": 50,
			"daily_limit": 9999999}`))
	client := server.HTTPClient()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if n++; n%60 == 0 {
			server.Advance(time.Minute)
		}
		if status := post(b, client, server, server.Token,
			`{"amount": 0.01, "category": "groceries", "merchant_name": "Shop"}`); status != http.StatusCreated {
			b.Fatalf("status %d", status)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "purchases/s")
}

func post(b *testing.B, client *http.Client, server *letagentpaytest.Server, token, body string) int {
	request, err := http.NewRequest(http.MethodPost, server.URL+"/requests", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		b.Fatal(err)
	}
	return response.StatusCode
}

// BenchmarkPurchaseParallel is the same by an agent for each core, all of one account.
func BenchmarkPurchaseParallel(b *testing.B) {
	const policy = `{"auto_approve": {"enabled": true}}`
	server := letagentpaytest.NewServer(b, letagentpaytest.InMemory(), letagentpaytest.WithMaxHistory(1000))
	client := server.HTTPClient()
	var names atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		agent, err := server.AddAgent(fmt.Sprint("agent", names.Add(1)),
			letagentpaytest.AgentConfig{Budget: money.Must("9999999"), Policy: json.RawMessage(policy)})
		if err != nil {
			b.Error(err)
			return
		}
		for n := 1; pb.Next(); n++ {
			if n%60 == 0 {
				server.Advance(time.Minute)
			}
			if status := post(b, client, server, agent.Token,
				`{"amount": 0.01, "category": "groceries"}`); status != http.StatusCreated {
				b.Errorf("status %d", status)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "purchases/s")
}

// BenchmarkNewServer measures what a test pays for a server of its own; a millisecond is the most that is acceptable.
func BenchmarkNewServer(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		server, err := letagentpaytest.Start(letagentpaytest.InMemory())
		if err != nil {
			b.Fatal(err)
		}
		server.Close()
	}
}
