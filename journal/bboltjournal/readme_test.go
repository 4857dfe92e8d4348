package bboltjournal_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// The snippet of the README.
func TestReadme(t *testing.T) {
	server := letagentpaytest.NewServer(t,
		letagentpaytest.InMemory(),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`),
	)
	client, ctx := server.Client(), letagentpay.WithPurchaseScope(t.Context(), "message 17")
	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:      letagentpay.MustAmount("5"),
			Category:    "groceries",
			Description: item,
		}
	}
	paid := 0
	pay := func(context.Context, string) (string, error) {
		paid++
		return "receipt", nil
	}
	t.Chdir(t.TempDir())
	runAgent := func() error {
		journal, err := bboltjournal.Open("purchases.journal")
		if err != nil {
			return err
		}
		defer journal.Close()

		interrupted, err := client.Recover(ctx, journal) // once, at start
		if err != nil {
			return err
		}
		// decide about each interrupted purchase, then:
		buy := letagentpay.Guard(client, describe, pay, letagentpay.WithJournal(journal))

		assert.Empty(t, interrupted)
		_, err = buy(ctx, "apples")
		return err
	}
	require.NoError(t, runAgent())
	require.NoError(t, runAgent())
	assert.Equal(t, 1, paid)
}
