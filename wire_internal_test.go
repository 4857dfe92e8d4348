package letagentpay

import (
	"encoding/json"
	"testing"

	"github.com/letagentpay/letagentpay-go/internal/api"
)

const wholePurchase = `{"request_id":"0b0e9c1e-64a6-4b9f-a5d4-4f2a9c1e0007","status":"auto_approved","currency":"USD","category":"groceries",
	"original_category":null,"policy_check":{"passed":true,"checks":[{"rule":"status","result":"pass","detail":"Agent is active"},
	{"rule":"category","result":"pass","detail":"Category 'groceries' is allowed"},{"rule":"per_request_limit","result":"pass","detail":"No limit"},
	{"rule":"budget","result":"pass","detail":"Budget remaining: 490.00"}]},"auto_approved":true,"budget_remaining":"450.01","expires_at":null}`

func BenchmarkDecodeObject(b *testing.B) {
	data := []byte(wholePurchase)
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var body api.PurchaseResult
			if err := json.Unmarshal(data, &body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := checkShape(data, purchaseShape); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkX(b *testing.B) {
	data := []byte(wholePurchase)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodePurchase(data, "k"); err != nil {
			b.Fatal(err)
		}
	}
}
