package journal_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/money"
)

// goldenEntries returns the entries that testdata/entries_v2.jsonl holds, one a line.
func goldenEntries() []*journal.Entry {
	const service, agent = "https://letagentpay.com:443/api/v1/agent-api", "c0ffee"
	baseline := time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC)
	updated := time.Date(2026, 2, 3, 4, 6, 7, 890_123_456, time.UTC)
	return []*journal.Entry{
		{
			Version:        journal.Version,
			Key:            service + " " + agent + " key turn-7",
			Service:        service,
			Agent:          agent,
			State:          journal.Requested,
			IdempotencyKey: "turn-7",
			Amount:         money.Must("49.90"),
			Category:       "groceries",
			Currency:       "USD",
			MerchantName:   "Späti <24h>",
			Description:    "milk\n& bread",
			AgentComment:   "for \"breakfast\"",
			BaselineAt:     baseline,
			BaselineIDs:    []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000001", "0b6f6a3e-1f0e-4a55-9d3b-000000000002"},
			Unclear:        true,
			Found:          []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000003"},
			UpdatedAt:      updated,
		},
		{
			Version:   journal.Version,
			Key:       "2 started",
			State:     journal.Started,
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000004",
			Amount:    money.Must("0.000001"),
			Category:  "api",
			Ref:       "line-3",
			Error:     "context deadline exceeded",
			UpdatedAt: updated,
		},
		{
			Version:          journal.Version,
			Key:              "3 returned",
			State:            journal.Returned,
			RequestID:        "0b6f6a3e-1f0e-4a55-9d3b-000000000005",
			Amount:           money.Must("49.90"),
			Category:         "food",
			ResolvedCategory: "groceries",
			ResolvedCurrency: "USD",
			Success:          true,
			ActualAmount:     money.Must("47.5"),
			ReceiptURL:       "https://shop.example/1?a=b&c=d",
			Result:           []byte("{\"Seat\":\"12A\"}\x00\xff"),
			Error:            "paid, then the printer failed",
			Function:         "shop.Buy string",
			Duplicates:       []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000006"},
			UpdatedAt:        updated,
		},
		{
			Version:     journal.Version,
			Key:         "4 settled",
			State:       journal.Settled,
			RequestID:   "0b6f6a3e-1f0e-4a55-9d3b-000000000007",
			Amount:      money.Must("9999999"),
			Category:    "other",
			Success:     true,
			Result:      []byte{}, // empty, and not lost
			BaselineIDs: []string{},
			UpdatedAt:   updated,
		},
		{
			Version:   journal.Version,
			Key:       "5 settled",
			State:     journal.Settled,
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000008",
			Amount:    money.Must("1"),
			Category:  "other",
			Error:     "the shop is closed",
			UpdatedAt: updated,
		},
	}
}

func lines(t *testing.T, path string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// Stores hold entries in this form, so it must stay readable: a change needs another Version and another file.
func TestEntriesHaveTheFormOfTheGoldenFile(t *testing.T) {
	golden, entries := lines(t, "testdata/entries_v2.jsonl"), goldenEntries()
	require.Len(t, golden, len(entries))
	for i, want := range entries {
		require.NoError(t, want.Validate())
		encoded, err := json.Marshal(want)
		require.NoError(t, err)
		assert.Equal(t, string(golden[i]), string(encoded))
		got := new(journal.Entry)
		require.NoError(t, json.Unmarshal(golden[i], got))
		assert.Equal(t, want, got)
	}
}

// Read as an entry of this form, one of the first form would be a purchase of nothing, or one that failed.
func TestEntriesOfTheFirstFormAreNotValid(t *testing.T) {
	for _, line := range lines(t, "testdata/entries_v1.jsonl") {
		entry := new(journal.Entry)
		require.NoError(t, json.Unmarshal(line, entry))
		var invalid *journal.EntryError
		require.ErrorAs(t, entry.Validate(), &invalid)
		assert.Equal(t, "Version", invalid.Field)
	}
}

func TestEveryFieldHasATag(t *testing.T) {
	written := map[string]bool{ // whatever their values are
		"version": true, "key": true, "service": true, "agent": true, "state": true, "amount": true, "success": true,
		"actual_amount": true, "baseline_at": true, "updated_at": true,
	}
	for field := range reflect.TypeFor[journal.Entry]().Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		assert.NotEmpty(t, name, field.Name)
		assert.Equal(t, name, strings.ToLower(name))
		want := "omitzero"
		if written[name] {
			want = ""
		}
		assert.Equal(t, want, options, field.Name)
	}
}
