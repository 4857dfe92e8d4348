package letagentpay_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

func TestRetriedTurnBuysNothingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		turn := func() (handled int) {
			ctx := letagentpay.WithScopeRun(letagentpay.WithPurchaseScope(t.Context(), "message 17"))
			guarded := guardGroceries(server.Client(letagentpay.InProcess(letagentpay.NewProcess())), &runs, succeed)
			for _, amount := range []string{"10", "20", "10"} { // two of them are identical on purpose
				_, err := guarded(ctx, price(amount))
				var already *letagentpay.AlreadyHandledError
				if assert.True(t, err == nil || assert.ErrorAs(discard{}, err, &already), "%v", err) && err != nil {
					handled++
				}
			}
			return handled
		}
		assert.Zero(t, turn())
		assert.EqualValues(t, 3, runs.Load())
		assert.Equal(t, 3, turn())
		assert.Equal(t, 3, turn())
		assert.EqualValues(t, 3, runs.Load())
		require.Len(t, server.Requests(), 3)
		books(t, server, "40.00", "0.00")

		_, err := guardGroceries(server.Client(), &runs, succeed)(
			letagentpay.WithPurchaseScope(t.Context(), "message 18"), price("10"))
		require.NoError(t, err, "another turn is another purchase")
	})
}

func TestScopeTellsPurchasesApart(t *testing.T) {
	server := serve(t)
	client := server.Client()
	keyOf := func(ctx context.Context, change func(*letagentpay.PurchaseParams)) string {
		p := letagentpay.PurchaseParams{
			Amount:       letagentpay.MustAmount("1"),
			Category:     "groceries",
			MerchantName: "m",
			Description:  "d",
			Currency:     "USD",
		}
		change(&p)
		purchase, err := client.Purchase(ctx, p)
		require.NoError(t, err)
		return purchase.IdempotencyKey
	}
	same := func(*letagentpay.PurchaseParams) {}
	fresh := func(name string) context.Context {
		return letagentpay.WithScopeRun(letagentpay.WithPurchaseScope(t.Context(), name))
	}
	first := keyOf(fresh("a"), same)
	assert.Regexp(t, `^scope-[a-z2-7]{52}$`, first)
	for name, change := range map[string]func(*letagentpay.PurchaseParams){
		"same":             same,
		"comment":          func(p *letagentpay.PurchaseParams) { p.AgentComment = "a model's words" },
		"case":             func(p *letagentpay.PurchaseParams) { p.Currency, p.Category = "usd", " Groceries" },
		"decimals written": func(p *letagentpay.PurchaseParams) { p.Amount = letagentpay.MustAmount("1.00") },
		"no currency":      func(p *letagentpay.PurchaseParams) { p.Currency = "" },
		"spaces around":    func(p *letagentpay.PurchaseParams) { p.MerchantName, p.Description = " m\n", "\u200bd " },
	} {
		assert.Equal(t, first, keyOf(fresh("a"), change), name)
	}
	seen := map[string]string{first: "first"}
	for name, change := range map[string]func(*letagentpay.PurchaseParams){
		"amount":       func(p *letagentpay.PurchaseParams) { p.Amount = letagentpay.MustAmount("2") },
		"category":     func(p *letagentpay.PurchaseParams) { p.Category = "other" },
		"merchant":     func(p *letagentpay.PurchaseParams) { p.MerchantName = "md" },
		"shifted text": func(p *letagentpay.PurchaseParams) { p.MerchantName, p.Description = "", "md" },
		"description":  func(p *letagentpay.PurchaseParams) { p.Description = "" },
	} {
		key := keyOf(fresh("a"), change)
		assert.Empty(t, seen[key], name)
		seen[key] = name
	}
	assert.Empty(t, seen[keyOf(fresh("b"), same)], "another scope")
	ctx := fresh("a")
	assert.Equal(t, first, keyOf(ctx, same))
	assert.Empty(t, seen[keyOf(ctx, same)], "the second identical one")
	assert.Equal(t, "mine", keyOf(ctx, func(p *letagentpay.PurchaseParams) {
		p.IdempotencyKey = "mine"
	}), "an own key is left alone")

	for _, call := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := client.Purchase(ctx, price("1")); return err },
		func(ctx context.Context) error { _, err := client.Authorize(ctx, price("1")); return err },
	} {
		var param *letagentpay.ParamError
		require.ErrorAs(t, call(fresh("")), &param)
		assert.Equal(t, "scope", param.Field)
	}
}

func TestConcurrentScopeAsksUnderTheSameKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		for range 3 {
			ctx := letagentpay.WithScopeRun(letagentpay.WithPurchaseScope(t.Context(), "task"))
			guarded := guardGroceries(server.Client(letagentpay.InProcess(letagentpay.NewProcess())), &runs,
				func(context.Context) (string, error) { time.Sleep(time.Second); return "", nil })
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() { _, _ = guarded(ctx, price("5")) })
			}
			group.Wait()
		}
		assert.EqualValues(t, 8, runs.Load())
		assert.Len(t, server.Requests(), 8)
	})
}

func TestUnansweredPurchaseIsContinuedInItsScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: letagentpaytest.DropAfter})
		client := server.Client(letagentpay.WithMaxRetries(0))
		ctx := letagentpay.WithPurchaseScope(t.Context(), "task")
		_, err := client.Purchase(ctx, price("5"))
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		purchase, err := client.Purchase(ctx, price("5"))
		require.NoError(t, err)
		assert.Equal(t, unknown.IdempotencyKey, purchase.IdempotencyKey)
		assert.Len(t, server.Requests(), 1)

		// A guarded purchase that is pending is continued too.
		var runs atomic.Int64
		guarded := guardGroceries(client, &runs, succeed, letagentpay.OnPendingFail())
		_, err = guarded(ctx, price("80"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		_, err = guarded(ctx, price("80"))
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		assert.Len(t, server.Requests(), 2)
	})
}

// The error of an unknown outcome names the random key. Repeating the guarded call under it runs only if the lost
// purchase was never made. Otherwise another process may have received the key and run.
func TestRepeatingUnderTheKeyOfAnUnknownOutcome(t *testing.T) {
	for drop, made := range map[letagentpaytest.Drop]bool{
		letagentpaytest.DropBefore: false,
		letagentpaytest.DropAfter:  true,
	} {
		synctest.Test(t, func(t *testing.T) {
			server := serve(t)
			server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: drop})
			var runs atomic.Int64
			guarded := guardGroceries(server.Client(letagentpay.WithMaxRetries(0)), &runs, succeed)
			p := price("5")
			_, err := guarded(t.Context(), p)
			var unknown *letagentpay.OutcomeUnknownError
			require.ErrorAs(t, err, &unknown)
			p.IdempotencyKey = unknown.IdempotencyKey
			_, err = guarded(t.Context(), p)
			if made {
				var handled *letagentpay.AlreadyHandledError
				require.ErrorAs(t, err, &handled)
				assert.Zero(t, runs.Load())
				_, err = guarded(letagentpay.ResumeApproval(t.Context(), handled.Request.RequestID), p)
			}
			require.NoError(t, err)
			assert.EqualValues(t, 1, runs.Load())
			assert.Len(t, server.Requests(), 1)
		})
	}
}
