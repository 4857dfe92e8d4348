package letagentpay_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

// goldenEntries are the entries that testdata/journal_entries_v1.jsonl holds, one a line.
func goldenEntries() []*letagentpay.JournalEntry {
	purchase := letagentpay.PurchaseParams{
		Amount:         letagentpay.MustAmount("49.90"),
		Category:       "groceries",
		Currency:       "USD",
		MerchantName:   "Späti <24h>",
		Description:    "milk\n& bread",
		AgentComment:   "for \"breakfast\"",
		IdempotencyKey: "turn-7",
	}
	baseline := time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC)
	updated := time.Date(2026, 2, 3, 4, 6, 7, 890_123_456, time.UTC)
	return []*letagentpay.JournalEntry{
		{
			Key:       "1 asked",
			State:     letagentpay.JournalAsked,
			Purchase:  purchase,
			UpdatedAt: updated,
			NewestAt:  baseline,
			NewestIDs: []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000001", "0b6f6a3e-1f0e-4a55-9d3b-000000000002"},
		},
		{
			Key:       "2 started",
			State:     letagentpay.JournalStarted,
			Purchase:  purchase,
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000003",
			Category:  "groceries",
			UpdatedAt: updated,
			NewestAt:  baseline,
		},
		{
			Key:       "3 executed",
			State:     letagentpay.JournalExecuted,
			Purchase:  purchase,
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000004",
			Category:  "other",
			Confirm: letagentpay.ConfirmParams{
				Success:      true,
				ActualAmount: letagentpay.MustAmount("47.5"),
				ReceiptURL:   "https://shop.example/1?a=b&c=d",
			},
			Result:    []byte("{\"Seat\":\"12A\"}\x00\xff"),
			Error:     "paid, then the printer failed",
			UpdatedAt: updated,
			NewestAt:  baseline,
			NewestIDs: []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000001"},
		},
		{
			Key:       "4 settled",
			State:     letagentpay.JournalSettled,
			Purchase:  purchase,
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000005",
			Category:  "groceries",
			Confirm:   letagentpay.ConfirmParams{Success: true},
			Result:    []byte(`"seat"`),
			UpdatedAt: updated,
		},
		{
			Key:       "5 settled",
			State:     letagentpay.JournalSettled,
			Purchase:  letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("1"), Category: "other"},
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000006",
			Error:     "the shop is closed",
			UpdatedAt: updated,
		},
		{
			Key:        "6 settled",
			State:      letagentpay.JournalSettled,
			Purchase:   letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("2"), Category: "other", Ref: "line-3"},
			RequestID:  "0b6f6a3e-1f0e-4a55-9d3b-000000000007",
			Confirm:    letagentpay.ConfirmParams{Success: true},
			UpdatedAt:  updated,
			Currency:   "USD",
			Function:   "shop.Buy string",
			Unclear:    true,
			Found:      []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000009"},
			Duplicates: []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000008"},
		},
		{
			Key:       "7 executed",
			State:     letagentpay.JournalExecuted,
			Purchase:  letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("9999999"), Category: "other"},
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000010",
			Category:  "other",
			Confirm:   letagentpay.ConfirmParams{Success: true, ActualAmount: letagentpay.MustAmount("0.01")},
			Result:    []byte{}, // empty, and not lost
			UpdatedAt: updated,
			NewestIDs: []string{},
		},
	}
}

// Journals hold entries in this form, so it must stay readable: a change needs another version.
func TestJournalEntriesHaveTheFormOfTheGoldenFile(t *testing.T) {
	data, err := os.ReadFile("testdata/journal_entries_v1.jsonl")
	require.NoError(t, err)
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	entries := goldenEntries()
	require.Len(t, lines, len(entries))
	for i, want := range entries {
		encoded, err := json.Marshal(want)
		require.NoError(t, err)
		assert.Equal(t, string(lines[i]), string(encoded))
		got := new(letagentpay.JournalEntry)
		require.NoError(t, json.Unmarshal(lines[i], got))
		assert.Equal(t, want, got)
	}
}
