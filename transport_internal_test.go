package letagentpay

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/operation"
)

// The x402 API is the sibling of the Agent API, wherever that is.
func TestAddressesAreResolved(t *testing.T) {
	for base, want := range map[string][2]string{
		DefaultBaseURL: {"https://letagentpay.com/api/v1/agent-api", "https://letagentpay.com/api/v1/x402"},
		"http://localhost:8000/api/v1/agent-api/": {
			"http://localhost:8000/api/v1/agent-api", "http://localhost:8000/api/v1/x402",
		},
		"https://pay.example/a%2Fb/agent-api": {
			"https://pay.example/a%2Fb/agent-api", "https://pay.example/a%2Fb/x402",
		},
		"https://pay.example": {"https://pay.example", "https://pay.example/x402"},
	} {
		client, err := New(WithToken("agt_x"), WithBaseURL(base))
		require.NoError(t, err)
		for call, address := range map[*call]string{
			{op: operation.Confirm, requestID: "ü 1"}: want[0] + "/requests/%C3%BC%201/confirm",
			{op: operation.X402Budget}:                want[1] + "/budget",
		} {
			request, err := client.transport.newRequest(t.Context(), call)
			require.NoError(t, err)
			assert.Equal(t, address, request.URL.String())
			assert.Equal(t, request.URL.Host, request.Host)
		}
	}
}

func TestRequestsAreBuiltAsTheContractSays(t *testing.T) {
	client, err := New(WithToken("agt_x"), WithBaseURL("https://pay.example/api/v1/agent-api"))
	require.NoError(t, err)
	const id = "3f2a9c1e-0b7d-4c55-9e21-aa01bb02cc03"
	actual, receipt := MustAmount("47.50"), "https://shop.example/?a=1&b=<2>"
	purchase := PurchaseParams{
		Amount:       actual,
		Category:     "x",
		Currency:     "usd",
		MerchantName: "Ü & Söhne",
	}
	for name, c := range map[string]struct {
		call               call
		method, path, body string
	}{
		"purchase": {
			call{op: operation.Purchase, body: purchase.body(), idempotencyKey: "key 1 /ü"},
			"POST", "/agent-api/requests",
			`{"amount":47.50,"category":"x","currency":"USD","merchant_name":"Ü \u0026 Söhne"}`,
		},
		"success": {
			call{
				op:        operation.Confirm,
				requestID: id,
				body:      (&ConfirmParams{Success: true, ActualAmount: actual, ReceiptURL: receipt}).body(),
			},
			"POST", "/agent-api/requests/" + id + "/confirm",
			`{"actual_amount":47.50,"receipt_url":"https://shop.example/?a=1\u0026b=\u003c2\u003e","success":true}`,
		},
		"failure": {
			call{op: operation.Confirm, requestID: "ü 1", body: (&ConfirmParams{}).body()},
			"POST", "/agent-api/requests/%C3%BC%201/confirm", `{"success":false}`,
		},
		"read": {call{op: operation.Request, requestID: id}, "GET", "/agent-api/requests/" + id, ""},
		"list": {
			call{op: operation.Requests, query: url.Values{"limit": {"5"}}}, "GET", "/agent-api/requests?limit=5", "",
		},
		"wallet": {
			call{op: operation.X402RegisterWallet, body: (&X402Wallet{Address: "0x", Chain: "base"}).body()},
			"POST",
			"/x402/wallets", `{"chain":"base","wallet_address":"0x"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := client.transport.newRequest(t.Context(), &c.call)
			require.NoError(t, err)
			assert.Equal(t, c.method, request.Method)
			assert.Equal(t, "https://pay.example/api/v1"+c.path, request.URL.String())
			assert.Nil(t, request.GetBody, "net/http must not resend it")
			want := http.Header{
				"Authorization": {"Bearer agt_x"},
				"Accept":        {"application/json"},
				"User-Agent":    client.transport.userAgent,
			}
			if c.call.idempotencyKey != "" {
				want["Idempotency-Key"] = []string{c.call.idempotencyKey}
			}
			if c.body == "" {
				assert.Zero(t, request.ContentLength)
				assert.Equal(t, want, request.Header)
				return
			}
			want["Content-Type"] = []string{"application/json"}
			assert.Equal(t, want, request.Header)
			body, err := request.BodyBytes()
			require.NoError(t, err)
			assert.Equal(t, c.body, string(body))
			assert.Equal(t, int64(len(body)), request.ContentLength)
		})
	}
}
