package bboltjournal_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// guarded is a purchase approved for 30.
func guarded(
	server *letagentpaytest.Server, journal journalStore, fn func(context.Context, string) (string, error),
) func(context.Context, string) (string, error) {
	return letagentpay.Guard(server.Client(), func(key string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("30"), Category: "other", IdempotencyKey: key}
	}, fn, letagentpay.WithJournal(journal))
}

func approving(t *testing.T) *letagentpaytest.Server {
	t.Helper()
	return letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
}

// A shop's answer of any length in an error must not keep what was spent out of the journal.
func TestWhatWasSpentIsRecoveredAfterAnErrorOfAnyLength(t *testing.T) {
	journal, server := open(t, journalPath(t)), approving(t)
	server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: 403})
	_, err := guarded(server, journal, func(ctx context.Context, _ string) (string, error) {
		approval, _ := letagentpay.ApprovalFromContext(ctx)
		assert.NoError(t, approval.Spent(letagentpay.MustAmount("25"), ""))
		return "", errors.New("the shop answered " + strings.Repeat("x", 17<<20))
	})(t.Context(), "turn-7")
	require.Error(t, err)
	require.Equal(t, letagentpay.StatusAutoApproved, server.Requests()[0].Status)

	server.ClearFaults() // the process has died here, and another one starts
	_, err = server.Client().Recover(t.Context(), journal)
	require.NoError(t, err)
	assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status)
	assert.Equal(t, "25.00", server.Requests()[0].ActualAmount.String())
}

func TestNothingRunsWhenTheJournalIsNoLongerAtItsPath(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be removed here")
	}
	path, server := journalPath(t), approving(t)
	journal := open(t, path)
	require.NoError(t, os.Remove(path))
	_, err := guarded(server, journal, func(context.Context, string) (string, error) {
		t.Error("it has run")
		return "", nil
	})(t.Context(), "turn-7")
	var journalError *letagentpay.JournalError
	require.ErrorAs(t, err, &journalError)
	require.ErrorIs(t, err, bboltjournal.ErrReplaced)
	assert.Equal(t, "0.00", server.Budget().Spent.String())
}

func TestTheServiceLearnsWhatRanWhenTheJournalIsRemovedMeanwhile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be removed here")
	}
	path, server := journalPath(t), approving(t)
	journal := open(t, path)
	receipt, _ := guarded(server, journal, func(context.Context, string) (string, error) {
		return "receipt", os.Remove(path)
	})(t.Context(), "turn-7")
	assert.Equal(t, "receipt", receipt)
	require.Len(t, server.Requests(), 1)
	assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status)
}
