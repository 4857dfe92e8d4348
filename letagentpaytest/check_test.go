package letagentpaytest_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
)

func TestChecksReportWhatDiffers(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithAgent("other"))
	bought, err := srv.Client().Purchase(t.Context(), ticket)
	require.NoError(t, err)

	srv.CheckSpent(t, money.Amount{})
	srv.CheckStatus(t, bought.RequestID, letagentpay.StatusPending)
	require.NoError(t, srv.Approve(bought.RequestID))
	srv.CheckSpent(t, ticket.Amount)
	srv.CheckStatus(t, bought.RequestID, letagentpay.StatusApproved)
	srv.Agent("other").CheckSpent(t, money.Amount{})

	tb := &recorder{}
	srv.CheckSpent(tb, money.Must("7"))
	srv.Agent("other").CheckSpent(tb, money.Must("7"))
	srv.CheckStatus(tb, bought.RequestID, letagentpay.StatusCompleted)
	srv.CheckStatus(tb, "no-such-id", letagentpay.StatusCompleted)
	assert.Equal(t, []string{
		"letagentpaytest: agent main has spent 120.00, want 7.00 (held: 0.00, remaining: 880.00)",
		"letagentpaytest: agent other has spent 0.00, want 7.00 (held: 0.00, remaining: 1000.00)",
		"letagentpaytest: request " + bought.RequestID + " has status approved, want completed",
		`letagentpaytest: request "no-such-id" is not known, want status completed`,
	}, tb.failures)
}

func TestChecksRunBesideCalls(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	client := srv.Client()
	bought, err := client.Purchase(t.Context(), ticket)
	require.NoError(t, err)

	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			_, err := client.Request(t.Context(), bought.RequestID)
			assert.NoError(t, err)
		})
		calls.Go(func() {
			srv.CheckSpent(t, money.Amount{})
			srv.CheckStatus(t, bought.RequestID, letagentpay.StatusPending)
		})
	}
	calls.Wait()
}
