package letagentpay

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/internal/api"
)

// The x402 API is the sibling of the Agent API, wherever that is.
func TestAddressesAreResolved(t *testing.T) {
	for base, want := range map[string][2]string{
		DefaultBaseURL: {"https://letagentpay.com/api/v1/agent-api", "https://letagentpay.com/api/v1/x402"},
		"http://localhost:8000/api/v1/agent-api/": {"http://localhost:8000/api/v1/agent-api", "http://localhost:8000/api/v1/x402"},
		"https://pay.example/a%2Fb/agent-api":     {"https://pay.example/a%2Fb/agent-api", "https://pay.example/a%2Fb/x402"},
		"https://pay.example":                     {"https://pay.example", "https://pay.example/x402"},
	} {
		client, err := New(WithToken("agt_x"), WithBaseURL(base))
		require.NoError(t, err)
		agent, err := api.NewConfirmRequestRequest(placeholder, "ü 1", api.ConfirmRequest{})
		require.NoError(t, err)
		x402, err := api.NewGetX402BudgetRequest(placeholder)
		require.NoError(t, err)
		for request, address := range map[*http.Request]string{agent: want[0] + "/requests/%C3%BC%201/confirm", x402: want[1] + "/budget"} {
			client.transport.resolve(request)
			assert.Equal(t, address, request.URL.String())
			assert.Equal(t, request.URL.Host, request.Host)
		}
	}
}

// Posts are as the contract has them.
func TestPostsAreThoseOfTheGeneratedBuilders(t *testing.T) {
	client, err := New(WithToken("agt_x"))
	require.NoError(t, err)
	same := func(t *testing.T, made *http.Request, generated *http.Request) {
		t.Helper()
		client.transport.resolve(made)
		client.transport.resolve(generated)
		assert.Equal(t, generated.Method, made.Method)
		assert.Equal(t, generated.URL.String(), made.URL.String())
		assert.Equal(t, generated.Host, made.Host)
		assert.Equal(t, generated.Header, made.Header)
		assert.Equal(t, generated.ContentLength, made.ContentLength)
		assert.Equal(t, [3]any{generated.Proto, generated.ProtoMajor, generated.ProtoMinor}, [3]any{made.Proto, made.ProtoMajor, made.ProtoMinor})
		want, err := io.ReadAll(generated.Body)
		require.NoError(t, err)
		got, err := io.ReadAll(made.Body)
		require.NoError(t, err)
		assert.Equal(t, string(want), string(got))
	}
	receipt, actual, merchant, key := "https://shop.example/?a=1&b=<2>", MustAmount("47.50"), "Ü & Söhne", "key 1 /ü"
	for _, id := range []string{"3f2a9c1e-0b7d-4c55-9e21-aa01bb02cc03", "ü 1", "r1"} {
		for _, body := range []api.ConfirmRequest{{}, {Success: true, ActualAmount: &actual, ReceiptURL: &receipt}} {
			made, err := newConfirmation(id, body)
			require.NoError(t, err)
			generated, err := api.NewConfirmRequestRequest(placeholder, id, body)
			require.NoError(t, err)
			same(t, made, generated)
		}
	}
	for _, body := range []api.PurchaseRequest{{Amount: actual, Category: "groceries"}, {Amount: actual, Category: "x", MerchantName: &merchant}} {
		made, err := newPost("/agent-api/requests", body)
		require.NoError(t, err)
		made.Header["Idempotency-Key"] = []string{key}
		generated, err := api.NewCreateRequestRequest(placeholder, &api.CreateRequestParams{IdempotencyKey: &key}, body)
		require.NoError(t, err)
		same(t, made, generated)
	}
}
