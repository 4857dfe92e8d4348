package letagentpay_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

func TestFailedRunOfTheJournalMayHaveRun(t *testing.T) {
	server := serve(t)
	var runs atomic.Int64
	fails := func(context.Context) (string, error) { return "", errShop }
	guarded := guardGroceries(server.Client(), &runs, fails, letagentpay.WithJournal(new(memoryJournal)))
	p := price("30")
	p.IdempotencyKey = "turn-7"
	_, err := guarded(t.Context(), p)
	require.ErrorIs(t, err, errShop)
	_, err = guarded(t.Context(), p)
	var handled *letagentpay.AlreadyHandledError
	require.ErrorAs(t, err, &handled)
	assert.Equal(t, letagentpay.StatusFailed, handled.Request.Status)
	assert.True(t, handled.MayHaveRun)
	assert.EqualError(t, handled.Err, errShop.Error())
	assert.EqualError(t, handled, "letagentpay: purchase "+handled.Request.RequestID+
		" was not run by this call: the journal shows that an earlier call ran it (status failed): the shop is closed")
	assert.EqualValues(t, 1, runs.Load())
}
