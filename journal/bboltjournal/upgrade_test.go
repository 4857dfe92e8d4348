package bboltjournal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// raw returns the version of a journal's file, and what it stores by key.
func raw(t *testing.T, path string) (version uint64, values map[string]string) {
	t.Helper()
	values = make(map[string]string)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	require.NoError(t, err)
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		version = binary.BigEndian.Uint64(tx.Bucket([]byte("meta")).Get([]byte("version")))
		return tx.Bucket([]byte("entries")).ForEach(func(key, value []byte) error {
			values[string(key)] = string(value)
			return nil
		})
	}))
	require.NoError(t, db.Close())
	return version, values
}

func TestAnUpgradedFileKeepsItsEntriesUntilTheyAreWritten(t *testing.T) {
	path := goldenJournal(t, 1)
	version, before := raw(t, path)
	require.EqualValues(t, 1, version)
	require.Len(t, before, inTheJournals)
	for range 2 {
		require.NoError(t, open(t, path, always).Close())
		version, after := raw(t, path)
		assert.EqualValues(t, 2, version, "an older program refuses the file from now on")
		assert.Equal(t, before, after)
	}

	journal, golden := open(t, path, always), goldenEntries()
	require.NoError(t, journal.Put(t.Context(), golden[2]))
	assertEntries(t, golden[:inTheJournals], journal)
	require.NoError(t, journal.Close())
	_, after := raw(t, path)
	assert.NotEqual(t, before[golden[2].Key], after[golden[2].Key])
	delete(before, golden[2].Key)
	delete(after, golden[2].Key)
	assert.Equal(t, before, after, "the others are still in the first form")
}

// Whichever pages a crash lets reach the disk, and wherever it cuts one off. bbolt writes its meta page last.
func TestAnUpgradeThatACrashInterruptsLosesNothing(t *testing.T) {
	path := goldenJournal(t, 1)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, open(t, path, always).Close())
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	size := int(binary.NativeEndian.Uint32(after[24:])) // of a page, as the first meta page says
	before = append(before, make([]byte, len(after)-len(before))...)

	var changed []int // offsets of pages
	for at := 0; at < len(after); at += size {
		if !bytes.Equal(before[at:at+size], after[at:at+size]) {
			changed = append(changed, at)
		}
	}
	isMeta := func(at int) bool { return at < 2*size }
	data := slices.DeleteFunc(slices.Clone(changed), isMeta)
	changed = append(data, slices.DeleteFunc(changed, func(at int) bool { return !isMeta(at) })...)
	require.True(t, isMeta(changed[len(changed)-1]))
	versions := make(map[uint64]int)
	file := before
	for _, at := range changed {
		for _, written := range []int{0, 16, 64, size / 2, size} {
			copy(file[at:at+written], after[at:at+written])
			require.NoError(t, os.WriteFile(path, file, 0o600))
			version, values := raw(t, path)
			versions[version]++
			require.Len(t, values, inTheJournals)
			journal := open(t, path, always)
			assertEntries(t, goldenEntries()[:inTheJournals], journal)
			require.NoError(t, journal.Close())
			version, again := raw(t, path)
			require.EqualValues(t, 2, version)
			require.Equal(t, values, again)
		}
	}
	assert.Len(t, versions, 2, "some crashes come before the upgrade, and some after it")
}

// inFirstForm rewrites all entries of a journal's file as the first version would have stored them.
func inFirstForm(t *testing.T, path string, entries []*journalEntry) {
	t.Helper()
	states := map[journalState]string{
		stateRequested: "asked", stateStarted: "started", stateReturned: "executed", stateSettled: "settled",
	}
	edit(t, path, func(tx *bbolt.Tx) error {
		for _, e := range entries {
			type object = map[string]any
			line, err := json.Marshal(object{
				"Key":   e.Key,
				"State": states[e.State],
				"Purchase": object{
					"Amount":         e.Amount,
					"Category":       e.Category,
					"Currency":       e.Currency,
					"MerchantName":   e.MerchantName,
					"Description":    e.Description,
					"AgentComment":   e.AgentComment,
					"IdempotencyKey": e.IdempotencyKey,
				},
				"RequestID": e.RequestID,
				"Category":  e.ResolvedCategory,
				"Confirm":   object{"Success": e.Success, "ActualAmount": e.ActualAmount, "ReceiptURL": e.ReceiptURL},
				"Result":    e.Result,
				"Error":     e.Error,
				"UpdatedAt": e.UpdatedAt,
				"NewestAt":  e.BaselineAt,
				"NewestIDs": e.BaselineIDs,
				"Currency":  e.ResolvedCurrency,
				"Function":  e.Function,
			})
			require.NoError(t, err)
			require.NoError(t, tx.Bucket([]byte("entries")).Put([]byte(e.Key), stored(e.Key, line)))
		}
		return tx.Bucket([]byte("meta")).Put([]byte("version"), binary.BigEndian.AppendUint64(nil, 1))
	})
}

// The process that paid was one of an earlier version, and could not confirm it.
func TestWhatAnEarlierVersionPaidIsConfirmedAsPaid(t *testing.T) {
	errPrinter := errors.New("paid, then the printer failed")
	for _, failed := range []error{nil, errPrinter} {
		for again, how := range map[string]func(*letagentpaytest.Server, *bboltjournal.Journal) error{
			"Recover": func(server *letagentpaytest.Server, journal *bboltjournal.Journal) error {
				interrupted, err := server.Client().Recover(t.Context(), journal)
				assert.Empty(t, interrupted)
				return err
			},
			"a call under the key": func(server *letagentpaytest.Server, journal *bboltjournal.Journal) error {
				result, err := guarded(server, journal, func(context.Context, string) (string, error) {
					t.Error("it has run again")
					return "", nil
				})(t.Context(), "turn-7")
				if failed != nil {
					assert.ErrorContains(t, err, failed.Error())
					return nil
				}
				assert.NoError(t, err)
				assert.Equal(t, "receipt", result)
				return nil
			},
		} {
			t.Run(again, func(t *testing.T) {
				path, server := journalPath(t), approving(t)
				journal := open(t, path)
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: 403})
				_, err := guarded(server, journal, func(ctx context.Context, _ string) (string, error) {
					approval, _ := letagentpay.ApprovalFromContext(ctx)
					assert.NoError(t, approval.Spent(letagentpay.MustAmount("25"), ""))
					return "receipt", failed
				})(t.Context(), "turn-7")
				require.Error(t, err)
				server.ClearFaults()
				entries := slices.Collect(maps.Values(byKey(t, journal)))
				require.NoError(t, journal.Close())
				entries[0].Function = ""
				require.Equal(t, stateReturned, entries[0].State)
				inFirstForm(t, path, entries)

				journal = open(t, path)
				assert.Equal(t, entries[0], byKey(t, journal)[entries[0].Key])
				require.NoError(t, how(server, journal))
				assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status)
				assert.Equal(t, "25.00", server.Budget().Spent.String())
				assert.Equal(t, stateSettled, byKey(t, journal)[entries[0].Key].State)
			})
		}
	}
}

func byKey(t *testing.T, journal *bboltjournal.Journal) map[string]*journalEntry {
	t.Helper()
	entries := make(map[string]*journalEntry)
	for e, err := range journal.Entries(t.Context()) {
		require.NoError(t, err)
		entries[e.Key] = e
	}
	return entries
}
