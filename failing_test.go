package letagentpay_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

func TestRefOfAnotherCategoryIsAMismatch(t *testing.T) {
	for name, buy := range map[string]func(context.Context, *letagentpay.Client, letagentpay.PurchaseParams) error{
		"guarded": func(ctx context.Context, client *letagentpay.Client, p letagentpay.PurchaseParams) error {
			_, err := guardGroceries(client, new(atomic.Int64), succeed, letagentpay.OnPendingFail())(ctx, p)
			return err
		},
		"with a journal": func(ctx context.Context, client *letagentpay.Client, p letagentpay.PurchaseParams) error {
			_, err := guardGroceries(client, new(atomic.Int64), succeed, letagentpay.OnPendingFail(),
				letagentpay.WithJournal(new(memoryJournal)))(ctx, p)
			return err
		},
		"by hand": func(ctx context.Context, client *letagentpay.Client, p letagentpay.PurchaseParams) error {
			_, err := client.Purchase(ctx, p)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			ctx, cancel := context.WithCancel(letagentpay.WithPurchaseScope(t.Context(), "message 17"))
			defer cancel()
			client := server.Client(through(atMost(30, cancel, server.HTTPClient().Transport)))
			p := whole("60")
			p.Ref = "lunch"
			_ = buy(ctx, client, p)
			p.Category = "transport"
			var mismatch *letagentpay.MismatchError
			require.ErrorAs(t, buy(ctx, client, p), &mismatch)
			assert.Equal(t, "Category", mismatch.Field)
			assert.Less(t, len(server.Calls()), 20, "it is not asked for again and again")
			assert.Len(t, server.Requests(), 1)
		})
	}
}

// The ordinal that the purchase has is the only one that it can have.
func TestScopedPurchaseThatChangesWhileItIsWaitedForDoesNotRun(t *testing.T) {
	for what, replaced := range changedMeanwhile {
		t.Run(what, func(t *testing.T) { changesWhileWaitedFor(t, replaced, "", waysToAsk["scope"]) })
	}
}
