package journal_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/money"
)

func TestValidateNamesTheField(t *testing.T) {
	for name, c := range map[string]struct {
		field  string // empty: valid
		change func(*journal.Entry)
	}{
		"as it is":              {"", func(*journal.Entry) {}},
		"longest key":           {"", func(e *journal.Entry) { e.Key = strings.Repeat("k", 32<<10) }},
		"outcome not known yet": {"", func(e *journal.Entry) { e.State, e.Success = journal.Started, false }},
		"failed": {"", func(e *journal.Entry) {
			e.Success, e.ActualAmount, e.Error = false, money.Amount{}, "closed"
		}},
		"paid, then failed":       {"", func(e *journal.Entry) { e.Error = "closed" }},
		"paid as requested":       {"", func(e *journal.Entry) { e.ActualAmount = money.Amount{} }},
		"no version":              {"Version", func(e *journal.Entry) { e.Version = 0 }},
		"first version":           {"Version", func(e *journal.Entry) { e.Version = 1 }},
		"later version":           {"Version", func(e *journal.Entry) { e.Version = 3 }},
		"no key":                  {"Key", func(e *journal.Entry) { e.Key = "" }},
		"long key":                {"Key", func(e *journal.Entry) { e.Key = strings.Repeat("k", 32<<10+1) }},
		"key that is no text":     {"Key", func(e *journal.Entry) { e.Key = "\xff" }},
		"no state":                {"State", func(e *journal.Entry) { e.State = "" }},
		"state of the first form": {"State", func(e *journal.Entry) { e.State = "executed" }},
		"no amount":               {"Amount", func(e *journal.Entry) { e.Amount = money.Amount{} }},
		"negative amount":         {"Amount", func(e *journal.Entry) { e.Amount = money.Must("1").Neg() }},
		"negative actual amount":  {"ActualAmount", func(e *journal.Entry) { e.ActualAmount = money.Must("1").Neg() }},
		"failed, but paid":        {"ActualAmount", func(e *journal.Entry) { e.Success, e.Error = false, "closed" }},
		"failed without a reason": {"Error", func(e *journal.Entry) {
			e.Success, e.ActualAmount = false, money.Amount{}
		}},
		"settled without either": {"Error", func(e *journal.Entry) {
			e.State, e.Success, e.ActualAmount = journal.Settled, false, money.Amount{}
		}},
	} {
		entry := &journal.Entry{
			Version:      journal.Version,
			Key:          "key",
			State:        journal.Returned,
			Amount:       money.Must("30"),
			Success:      true,
			ActualAmount: money.Must("25"),
		}
		c.change(entry)
		err := entry.Validate()
		if c.field == "" {
			require.NoError(t, err, name)
			continue
		}
		var invalid *journal.EntryError
		require.ErrorAs(t, err, &invalid, name)
		assert.Equal(t, c.field, invalid.Field, name)
		assert.ErrorContains(t, err, "journal: invalid Entry."+c.field, name)
		assert.Less(t, len(err.Error()), 500, name)
	}
	require.EqualError(t, &journal.EntryError{}, "journal: invalid Entry")
	require.EqualError(t, (&journal.Entry{Version: 1}).Validate(), `journal: invalid Entry.Version "1": want 2`)
	require.Error(t, new(journal.Entry).Validate())
}

func TestStatesHaveAnOrder(t *testing.T) {
	states := []journal.State{journal.Requested, journal.Started, journal.Returned, journal.Settled}
	for i, s := range states {
		for j, other := range states {
			assert.Equal(t, i < j, s.Before(other), "%s, %s", s, other)
		}
		for _, unknown := range []journal.State{"", "asked", "executed"} {
			assert.False(t, s.Before(unknown))
			assert.False(t, unknown.Before(s))
		}
	}
}
