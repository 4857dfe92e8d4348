package letagentpay

import (
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
