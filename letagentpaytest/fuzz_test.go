package letagentpaytest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// FuzzBodies sends any bytes as the body of each operation that takes one. Whatever they are, the answer is a JSON
// object of one of the service's statuses, a refusal says where the fault is, and the books balance.
func FuzzBodies(f *testing.F) {
	paths := []string{"/requests", "/requests/x/confirm", "/x402/authorize", "/x402/report", "/x402/wallets"}
	for i, body := range []string{
		`{"amount": 12.5, "category": "taxi", "merchant_name": "x", "currency": "usd"}`,
		`{"success": "yes", "actual_amount": "1e2", "receipt_url": null}`,
		`{"payment_requirements": {"scheme": "exact", "network": "base", "amount": "1", "asset": "USDC",
			"pay_to": "0xb", "resource": "https://a@b:1/"}, "max_amount_usd": 1.0000001}`,
		`{"authorization_id": "x", "tx_hash": "0x", "actual_amount_usd": 1}`,
		`{"wallet_address": "0x12", "chain": "base"}`,
		`{"amount": "1_0E-7", "category": "\ud800"}`, `[1]`, `null`, ``, `{"amount":NaN}`, "\xff",
		`{"amount": 1e400, "category": 5}`,
	} {
		f.Add(i%len(paths), body)
	}
	srv, err := letagentpaytest.Start(letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove),
		letagentpaytest.WithMaxHistory(50))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(srv.Close)
	f.Fuzz(func(t *testing.T, path int, body string) {
		srv.Advance(61e9) // past the rate limit
		before := srv.Budget()
		status, got, err := send(t, srv, http.MethodPost, paths[uint(path)%uint(len(paths))], body)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Detail json.RawMessage
		}
		if err := json.Unmarshal([]byte(got), &answer); err != nil || !utf8.ValidString(got) {
			t.Fatalf("%d %q: %v", status, got, err)
		}
		switch status {
		case 200, 201:
			if answer.Detail != nil {
				t.Fatalf("%d %s", status, got)
			}
		case 400, 404, 409:
			if !strings.HasPrefix(string(answer.Detail), `"`) {
				t.Fatalf("%d %s", status, got)
			}
		case 422:
			if len(complaints(t, got)) == 0 {
				t.Fatalf("%s", got)
			}
		default:
			t.Fatalf("%d %s", status, got)
		}
		after := srv.Budget()
		if status >= 400 && before != after {
			t.Fatalf("a refused call changed %v to %v", before, after)
		}
		if after.Budget.Less(after.Spent.Add(after.Held)) {
			t.Fatalf("more than the budget: %v", after)
		}
	})
}
