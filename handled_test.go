package letagentpay_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
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

// losingStore is a user's own store that loses a field.
type losingStore struct {
	*memoryJournal
	lose func(*journal.Entry)
}

func (s losingStore) Put(ctx context.Context, entry *journal.Entry) error {
	stored := *entry
	s.lose(&stored)
	return s.memoryJournal.Put(ctx, &stored)
}

func TestStoreThatLosesAFieldRunsNothingTwice(t *testing.T) {
	for name, lose := range map[string]func(*journal.Entry){
		"nothing":        func(*journal.Entry) {},
		"Service":        func(e *journal.Entry) { e.Service = "" },
		"Agent":          func(e *journal.Entry) { e.Agent = "" },
		"IdempotencyKey": func(e *journal.Entry) { e.IdempotencyKey = "" },
		"Function":       func(e *journal.Entry) { e.Function = "" },
		"Result":         func(e *journal.Entry) { e.Result = nil },
		"Amount":         func(e *journal.Entry) { e.Amount = letagentpay.Amount{} },
		"Version":        func(e *journal.Entry) { e.Version = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				store := losingStore{new(memoryJournal), lose}
				var runs atomic.Int64
				guarded := func() (string, error) {
					client := server.Client(elsewhere())
					p := price("30")
					p.IdempotencyKey = "turn-7"
					return guardGroceries(client, &runs, succeed, letagentpay.WithJournal(store))(t.Context(), p)
				}
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
				_, err := guarded()
				require.Error(t, err)
				requests := server.Requests()
				if len(requests) == 0 { // the store refuses the entry before anything is requested
					assert.Zero(t, runs.Load())
					return
				}
				ctx := letagentpay.ResumeApproval(t.Context(), requests[0].RequestID)
				resuming := server.Client(elsewhere())
				_, _ = guardGroceries(resuming, &runs, succeed, letagentpay.WithJournal(store))(ctx, price("30"))
				assert.EqualValues(t, 1, runs.Load(), "the journal shows that it has returned")
			})
		})
	}
}

// confusedStore is a user's own store that returns the entry of another key.
type confusedStore struct {
	*memoryJournal
	other *journal.Entry
}

func (s confusedStore) Get(context.Context, string) (*journal.Entry, error) { return s.other, nil }

func TestEntryOfAnotherKeyIsNotUsed(t *testing.T) {
	server := serve(t)
	store := new(memoryJournal)
	var runs atomic.Int64
	p := price("30")
	p.IdempotencyKey = "turn-7"
	_, err := guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(store))(t.Context(), p)
	require.NoError(t, err)
	confused := letagentpay.WithJournal(confusedStore{store, only(t, store)})
	p.IdempotencyKey = "turn-8"
	_, err = guardGroceries(server.Client(), &runs, succeed, confused)(t.Context(), p)
	var failed *letagentpay.JournalError
	require.ErrorAs(t, err, &failed)
	assert.EqualValues(t, 1, runs.Load())
}

func TestErrorTextInTheJournalIsBounded(t *testing.T) {
	server := serve(t)
	store := new(memoryJournal)
	var runs atomic.Int64
	fn := failing(errors.New(strings.Repeat("a\xff", 40<<10)))
	_, err := guardGroceries(server.Client(), &runs, fn, letagentpay.WithJournal(store))(t.Context(), price("30"))
	require.Error(t, err)
	text := only(t, store).Error
	assert.LessOrEqual(t, len(text), 64<<10+len("…"))
	assert.True(t, utf8.ValidString(text))
}

func TestBudgetRemainingIsThatOfAnApproval(t *testing.T) {
	server := serve(t)
	client := server.Client()
	p := price("30")
	p.IdempotencyKey = "turn-7"
	bought, err := client.Purchase(t.Context(), p)
	require.NoError(t, err)
	assert.Equal(t, letagentpay.MustAmount("470"), *bought.BudgetRemaining)
	_, err = client.Confirm(t.Context(), bought.RequestID, letagentpay.ConfirmParams{})
	require.NoError(t, err)
	again, err := client.Purchase(t.Context(), p)
	require.NoError(t, err)
	assert.Equal(t, letagentpay.StatusFailed, again.Status)
	assert.Nil(t, again.BudgetRemaining, "the purchase was refunded since")
}
