package letagentpaytest_test

import (
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
)

// With a bounded history, a server that is loaded for long holds no more memory than one that was loaded for a while.
func TestMemoryStaysFlatWithABoundedHistory(t *testing.T) {
	server := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithMaxHistory(200),
		letagentpaytest.WithBudget(money.Must("9999999")),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
	client, err := letagentpay.New(letagentpay.WithToken(server.Token), letagentpay.WithBaseURL(server.URL),
		letagentpay.WithHTTPClient(&http.Client{Transport: server.HTTPClient().Transport}))
	require.NoError(t, err)
	load := func(purchases int) uint64 {
		for i := range purchases {
			if i%60 == 0 {
				server.Advance(time.Minute) // the rate limit
			}
			purchase, err := client.Purchase(t.Context(),
				letagentpay.PurchaseParams{Amount: money.Must("1"), Category: "groceries"})
			require.NoError(t, err)
			_, err = client.Confirm(t.Context(), purchase.RequestID, letagentpay.ConfirmParams{})
			require.NoError(t, err)
		}
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before, after := load(2_000), load(10_000)
	assert.Less(t, after, before+1<<20, "from %d KiB to %d KiB", before>>10, after>>10)
}
