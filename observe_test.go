package letagentpay_test

import (
	"context"
	"fmt"
	"strings"
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

// notes is an observer that records what it observes, indented as operations nest.
type notes struct {
	mu    sync.Mutex
	lines []string
}

type depthKey struct{}

func (n *notes) add(depth int, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, strings.Repeat("  ", depth)+fmt.Sprintf(format, args...))
}

func (n *notes) Begin(ctx context.Context, op operation.Op) (context.Context, func(letagentpay.Observation)) {
	depth, _ := ctx.Value(depthKey{}).(int)
	n.add(depth, "%s", op)
	return context.WithValue(ctx, depthKey{}, depth+1), func(o letagentpay.Observation) {
		failed := ""
		if o.Err != nil {
			failed = " failed"
		}
		n.add(depth, "%s %s %v %s%s after %v", o.Op, o.Status, o.Amount, o.Currency, failed,
			o.Duration.Round(time.Minute))
	}
}

func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines := n.lines
	n.lines = nil
	return lines
}

func TestObserverIsToldOfEveryOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			return letagentpaytest.Approve().After(3 * time.Minute)
		})
		observer := new(notes)
		client := server.Client(letagentpay.WithObserver(observer))
		var runs atomic.Int64
		_, err := guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
			depth, _ := ctx.Value(depthKey{}).(int)
			observer.add(depth, "function")
			return spending("75", nil)(ctx)
		})(t.Context(), price("80"))
		require.NoError(t, err)
		assert.Equal(t, []string{
			"guard",
			"  purchase",
			"  purchase pending 80.00 USD after 0s",
			"  wait",
			"  wait approved 80.00  after 3m0s",
			"  function",
			"  confirm",
			"  confirm completed 75.00  after 0s",
			"guard completed 75.00 USD after 3m0s",
		}, observer.take())

		_, err = client.Authorize(t.Context(), price("300"))
		require.Error(t, err)
		assert.Equal(t, []string{
			"guard", "  purchase", "  purchase rejected 300.00 USD after 0s",
			"guard rejected 300.00 USD failed after 0s",
		}, observer.take())

		approval, err := client.Authorize(t.Context(), price("10"))
		require.NoError(t, err)
		require.NoError(t, approval.Settle(t.Context(), errShop))
		require.NoError(t, approval.Settle(t.Context(), errShop))
		assert.Equal(t, []string{
			"guard", "  purchase", "  purchase auto_approved 10.00 USD after 0s",
			"confirm", "confirm failed 0.00  after 0s", // under the caller's own context
			"guard failed 10.00 USD failed after 0s",
		}, observer.take())

		server.OnPending(nil)
		_, err = client.Authorize(t.Context(), price("80"), letagentpay.OnPendingFail())
		require.Error(t, err)
		assert.Equal(t, "guard pending 80.00 USD failed after 0s", observer.take()[3])
		server.Pause()
		_, err = client.Purchase(t.Context(), price("10"))
		require.Error(t, err)
		assert.Equal(t, []string{"purchase", "purchase  10.00  failed after 0s"}, observer.take())
	})
	_, err := letagentpay.New(letagentpay.WithToken(testToken), letagentpay.WithObserver(nil))
	require.ErrorIs(t, err, letagentpay.ErrInvalid)
}
