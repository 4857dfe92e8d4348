package bboltjournal_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
)

// The files in testdata are what the first version has written, and journals like them are on disks. They are not
// written anew: what is added to [letagentpay.JournalEntry] gets an entry and a line of its own at the end of both
// goldenEntries and entries_v1.jsonl; journal_v1.gz stays as it is, and holds the first five.

const inTheJournal = 5

// goldenEntries are the entries that the files hold, in the order of their keys.
func goldenEntries() []*letagentpay.JournalEntry {
	purchase := letagentpay.PurchaseParams{
		Amount: letagentpay.MustAmount("49.90"), Category: "groceries", Currency: "USD", MerchantName: "Späti <24h>",
		Description: "milk\n& bread", AgentComment: "for \"breakfast\"", IdempotencyKey: "turn-7",
	}
	baseline := time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC)
	updated := time.Date(2026, 2, 3, 4, 6, 7, 890_123_456, time.UTC)
	return []*letagentpay.JournalEntry{
		{
			Key: "1 asked", State: letagentpay.JournalAsked, Purchase: purchase, UpdatedAt: updated,
			NewestAt:  baseline,
			NewestIDs: []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000001", "0b6f6a3e-1f0e-4a55-9d3b-000000000002"},
		},
		{
			Key: "2 started", State: letagentpay.JournalStarted, Purchase: purchase, UpdatedAt: updated,
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000003", Category: "groceries", NewestAt: baseline,
		},
		{
			Key: "3 executed", State: letagentpay.JournalExecuted, Purchase: purchase, UpdatedAt: updated,
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000004", Category: "other",
			Confirm: letagentpay.ConfirmParams{
				Success: true, ActualAmount: letagentpay.MustAmount("47.5"), ReceiptURL: "https://shop.example/1?a=b&c=d",
			},
			Result: []byte("{\"Seat\":\"12A\"}\x00\xff"), Error: "paid, then the printer failed",
			NewestAt: baseline, NewestIDs: []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000001"},
		},
		{
			Key: "4 settled", State: letagentpay.JournalSettled, Purchase: purchase, UpdatedAt: updated,
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000005", Category: "groceries",
			Confirm: letagentpay.ConfirmParams{Success: true}, Result: []byte(`"seat"`),
		},
		{
			Key: "5 settled", State: letagentpay.JournalSettled,
			Purchase:  letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("1"), Category: "other"},
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000006", Error: "the shop is closed", UpdatedAt: updated,
		},
		{
			Key: "6 settled", State: letagentpay.JournalSettled,
			Purchase:  letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("2"), Category: "other", Ref: "line-3"},
			RequestID: "0b6f6a3e-1f0e-4a55-9d3b-000000000007", Confirm: letagentpay.ConfirmParams{Success: true}, UpdatedAt: updated,
			Currency: "USD", Function: "shop.Buy string", Unclear: true,
			Found:      []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000009"},
			Duplicates: []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000008"},
		},
	}
}

// goldenLines are the entries as they are stored, without their checksums.
func goldenLines(t *testing.T) [][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/entries_v1.jsonl")
	require.NoError(t, err)
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// stored is what an entry is stored as: the checksum of its key and its JSON, and its JSON.
func stored(key string, line []byte) []byte {
	sum := crc32.Checksum(append([]byte(key), line...), crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32(nil, sum), line...)
}

// always keeps entries of any age.
var always = bboltjournal.WithRetention(math.MaxInt64)

func assertEntries(t *testing.T, want []*letagentpay.JournalEntry, journal *bboltjournal.Journal) {
	t.Helper()
	var got []*letagentpay.JournalEntry
	for e, err := range journal.Entries(t.Context()) {
		require.NoError(t, err)
		got = append(got, e)
	}
	assert.Equal(t, want, got)
}

func TestAJournalOfTheFirstVersionIsReadExactly(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the file has the byte order of another machine")
	}
	file, err := os.Open("testdata/journal_v1.gz")
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	data, err := io.ReadAll(unzipped)
	require.NoError(t, err)
	path := journalPath(t)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	assertEntries(t, goldenEntries()[:inTheJournal], open(t, path, always))
}

func TestEntriesOfTheFirstVersionAreReadExactly(t *testing.T) {
	path, want := journalPath(t), goldenEntries()
	require.NoError(t, open(t, path).Close())
	edit(t, path, func(tx *bbolt.Tx) error {
		for i, line := range goldenLines(t) {
			require.NoError(t, tx.Bucket([]byte("entries")).Put([]byte(want[i].Key), stored(want[i].Key, line)))
		}
		return nil
	})
	assertEntries(t, want, open(t, path, always))
}

// An older program must find what it needs in what this one writes.
func TestEntriesAreWrittenAsTheFirstVersionReadsThem(t *testing.T) {
	path := journalPath(t)
	journal := open(t, path)
	for _, e := range goldenEntries() {
		require.NoError(t, journal.Put(t.Context(), e))
	}
	require.NoError(t, journal.Close())
	want := goldenLines(t)
	edit(t, path, func(tx *bbolt.Tx) error {
		assert.Equal(t, binary.BigEndian.AppendUint64(nil, 1), tx.Bucket([]byte("meta")).Get([]byte("version")))
		for i, e := range goldenEntries() {
			value := tx.Bucket([]byte("entries")).Get([]byte(e.Key))
			require.Greater(t, len(value), 4)
			assert.Equal(t, string(want[i]), string(value[4:]))
			assert.Equal(t, stored(e.Key, want[i]), value)
		}
		return nil
	})
}

// A program that calls its fields otherwise must not make a paid purchase one that failed, or one of nothing.
func TestAnEntryThatDoesNotSayWhatMoneyDependsOnIsDamaged(t *testing.T) {
	for name, change := range map[string][2]string{
		"outcome renamed":      {`"Success":`, `"Succeeded":`},
		"outcome null":         {`"Success":true`, `"Success":null`},
		"confirmation renamed": {`"Confirm":`, `"confirm_params":`},
		"amount renamed":       {`"Amount":`, `"Price":`},
		"amount null":          {`"Amount":49.90`, `"Amount":null`},
		"purchase renamed":     {`"Purchase":`, `"purchase_params":`},
		"state renamed":        {`"State":`, `"Stage":`},
		"key renamed":          {`"Key":`, `"Name":`},
	} {
		path, executed := journalPath(t), goldenEntries()[2]
		line := bytes.Replace(goldenLines(t)[2], []byte(change[0]), []byte(change[1]), 1)
		require.NotEqual(t, goldenLines(t)[2], line, name)
		require.NoError(t, open(t, path).Close())
		edit(t, path, func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("entries")).Put([]byte(executed.Key), stored(executed.Key, line))
		})
		got, err := open(t, path).Get(t.Context(), executed.Key)
		require.ErrorIs(t, err, bboltjournal.ErrCorrupt, name)
		assert.Nil(t, got, name)
	}
}

// Also the fields that are added later.
func TestEveryFieldOfAnEntryIsKept(t *testing.T) {
	want, n := new(letagentpay.JournalEntry), 0
	fill(t, reflect.ValueOf(want).Elem(), &n)
	want.State = letagentpay.JournalExecuted
	path := journalPath(t)
	journal := open(t, path)
	require.NoError(t, journal.Put(t.Context(), want))
	require.NoError(t, journal.Close())
	got, err := open(t, path).Get(t.Context(), want.Key)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// fill gives a value, and all within it, something other than zero.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, 1, 0, 0, *n, *n, time.UTC)))
		return
	case letagentpay.Amount:
		v.Set(reflect.ValueOf(letagentpay.MustAmount(fmt.Sprint(*n, ".25"))))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	default:
		t.Fatalf("how to fill a %v?", v.Type())
	}
}
