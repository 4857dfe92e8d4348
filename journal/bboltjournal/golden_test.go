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
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
)

// The files in testdata are what the versions of this module have written, and journals like them are on disks. They
// never change. A new field of [journal.Entry] gets an entry and a line of its own at the end of goldenEntries and
// entries_v2.jsonl.

const (
	inTheFirstForm = 6 // goldenEntries in entries_v1.jsonl
	inTheJournals  = 5 // and in journal_v1.gz and journal_v2.gz
)

// goldenEntries are the entries that the files hold, in the order of their keys.
func goldenEntries() []*journal.Entry {
	purchase := journal.Entry{
		Version:        journal.Version,
		IdempotencyKey: "turn-7",
		Amount:         letagentpay.MustAmount("49.90"),
		Category:       "groceries",
		Currency:       "USD",
		MerchantName:   "Späti <24h>",
		Description:    "milk\n& bread",
		AgentComment:   "for \"breakfast\"",
		UpdatedAt:      time.Date(2026, 2, 3, 4, 6, 7, 890_123_456, time.UTC),
	}
	other := journal.Entry{
		Version:   journal.Version,
		Amount:    letagentpay.MustAmount("1"),
		Category:  "other",
		UpdatedAt: purchase.UpdatedAt,
	}
	baseline := time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC)

	requested := purchase
	requested.Key, requested.Service, requested.State = "1 asked", "1", journal.Requested
	requested.BaselineAt = baseline
	requested.BaselineIDs = []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000001", "0b6f6a3e-1f0e-4a55-9d3b-000000000002"}

	started := purchase
	started.Key, started.Service, started.State = "2 started", "2", journal.Started
	started.RequestID, started.ResolvedCategory = "0b6f6a3e-1f0e-4a55-9d3b-000000000003", "groceries"
	started.BaselineAt = baseline

	returned := purchase
	returned.Key, returned.Service, returned.State = "3 executed", "3", journal.Returned
	returned.RequestID, returned.ResolvedCategory = "0b6f6a3e-1f0e-4a55-9d3b-000000000004", "other"
	returned.Success, returned.ActualAmount = true, letagentpay.MustAmount("47.5")
	returned.ReceiptURL = "https://shop.example/1?a=b&c=d"
	returned.Result, returned.Error = []byte("{\"Seat\":\"12A\"}\x00\xff"), "paid, then the printer failed"
	returned.BaselineAt, returned.BaselineIDs = baseline, []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000001"}

	settled := purchase
	settled.Key, settled.Service, settled.State = "4 settled", "4", journal.Settled
	settled.RequestID, settled.ResolvedCategory = "0b6f6a3e-1f0e-4a55-9d3b-000000000005", "groceries"
	settled.Success, settled.Result = true, []byte(`"seat"`)

	failed := other
	failed.Key, failed.Service, failed.State = "5 settled", "5", journal.Settled
	failed.RequestID, failed.Error = "0b6f6a3e-1f0e-4a55-9d3b-000000000006", "the shop is closed"

	duplicated := other
	duplicated.Key, duplicated.Service, duplicated.State = "6 settled", "6", journal.Settled
	duplicated.RequestID, duplicated.Success = "0b6f6a3e-1f0e-4a55-9d3b-000000000007", true
	duplicated.Amount, duplicated.Ref = letagentpay.MustAmount("2"), "line-3"
	duplicated.ResolvedCurrency, duplicated.Function, duplicated.Unclear = "USD", "shop.Buy string", true
	duplicated.Found = []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000009"}
	duplicated.Duplicates = []string{"0b6f6a3e-1f0e-4a55-9d3b-000000000008"}

	owned := purchase
	owned.Service, owned.Agent = "https://letagentpay.com:443/api/v1/agent-api", "c0ffee"
	owned.Key = owned.Service + " " + owned.Agent + " key turn-7"
	owned.State, owned.RequestID = journal.Returned, "0b6f6a3e-1f0e-4a55-9d3b-000000000010"
	owned.Success, owned.Result = true, []byte{} // empty, and not lost
	owned.BaselineIDs = []string{}

	return []*journal.Entry{&requested, &started, &returned, &settled, &failed, &duplicated, &owned}
}

// goldenLines are the entries as they are stored in a form, without their checksums.
func goldenLines(t *testing.T, form int) [][]byte {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("testdata/entries_v%d.jsonl", form))
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

func assertEntries(t *testing.T, want []*journalEntry, journal *bboltjournal.Journal) {
	t.Helper()
	var got []*journalEntry
	for e, err := range journal.Entries(t.Context()) {
		require.NoError(t, err)
		got = append(got, e)
	}
	assert.Equal(t, want, got)
}

// goldenJournal returns the path of a journal that a version wrote.
func goldenJournal(t *testing.T, version int) string {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the file has the byte order of another machine")
	}
	file, err := os.Open(fmt.Sprintf("testdata/journal_v%d.gz", version))
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	data, err := io.ReadAll(unzipped)
	require.NoError(t, err)
	path := journalPath(t)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestJournalsOfEachVersionAreReadExactly(t *testing.T) {
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			path := goldenJournal(t, version)
			for range 2 {
				journal := open(t, path, always)
				assertEntries(t, goldenEntries()[:inTheJournals], journal)
				require.NoError(t, journal.Close())
			}
		})
	}
}

func TestEntriesOfEachFormAreReadExactly(t *testing.T) {
	for form, count := range map[int]int{1: inTheFirstForm, 2: len(goldenEntries())} {
		t.Run(fmt.Sprint(form), func(t *testing.T) {
			path, want := journalPath(t), goldenEntries()[:count]
			require.NoError(t, open(t, path).Close())
			lines := goldenLines(t, form)
			require.Len(t, lines, count)
			edit(t, path, func(tx *bbolt.Tx) error {
				for i, line := range lines {
					require.NoError(t, tx.Bucket([]byte("entries")).Put([]byte(want[i].Key), stored(want[i].Key, line)))
				}
				return nil
			})
			assertEntries(t, want, open(t, path, always))
		})
	}
}

func TestEntriesAreWrittenInTheFormOfTheGoldenFile(t *testing.T) {
	path := journalPath(t)
	journal := open(t, path)
	for _, e := range goldenEntries() {
		require.NoError(t, journal.Put(t.Context(), e))
	}
	require.NoError(t, journal.Close())
	want := goldenLines(t, 2)
	edit(t, path, func(tx *bbolt.Tx) error {
		assert.Equal(t, binary.BigEndian.AppendUint64(nil, 2), tx.Bucket([]byte("meta")).Get([]byte("version")))
		for i, e := range goldenEntries() {
			value := tx.Bucket([]byte("entries")).Get([]byte(e.Key))
			require.Greater(t, len(value), 4)
			assert.Equal(t, string(want[i]), string(value[4:]))
			assert.Equal(t, stored(e.Key, want[i]), value)
		}
		return nil
	})
}

// A program that calls its fields otherwise must not make a paid purchase one that failed, one of nothing, or nobody's.
func TestAnEntryThatDoesNotSayWhatMoneyDependsOnIsDamaged(t *testing.T) {
	const returned = 2
	first := map[string][2]string{
		"outcome renamed":      {`"Success":`, `"Succeeded":`},
		"outcome null":         {`"Success":true`, `"Success":null`},
		"confirmation renamed": {`"Confirm":`, `"confirm_params":`},
		"amount renamed":       {`"Amount":`, `"Price":`},
		"amount null":          {`"Amount":49.90`, `"Amount":null`},
		"purchase renamed":     {`"Purchase":`, `"purchase_params":`},
		"state renamed":        {`"State":`, `"Stage":`},
		"key renamed":          {`"Key":`, `"Name":`},
	}
	present := map[string][2]string{
		"outcome contradicted":  {`"success":true`, `"success":false`},
		"state of the first":    {`"state":"returned"`, `"state":"executed"`},
		"amount zero":           {`"amount":49.90`, `"amount":0`},
		"version of the future": {`"version":2`, `"version":3`},
		"version of the past":   {`"version":2`, `"version":1`},
	}
	for _, name := range []string{
		"version", "key", "service", "agent", "state",
		"amount", "success", "actual_amount", "baseline_at", "updated_at",
	} {
		present[name+" renamed"] = [2]string{`"` + name + `":`, `"` + name + `s":`}
		present[name+" in capitals"] = [2]string{`"` + name + `":`, `"` + strings.ToUpper(name) + `":`}
		present[name+" null"] = [2]string{`"` + name + `":`, `"` + name + `":null,"was":`}
	}
	for form, changes := range map[int]map[string][2]string{1: first, 2: present} {
		for name, change := range changes {
			path, e := journalPath(t), goldenEntries()[returned]
			line := bytes.Replace(goldenLines(t, form)[returned], []byte(change[0]), []byte(change[1]), 1)
			require.NotEqual(t, goldenLines(t, form)[returned], line, name)
			require.NoError(t, open(t, path).Close())
			edit(t, path, func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte("entries")).Put([]byte(e.Key), stored(e.Key, line))
			})
			got, err := open(t, path).Get(t.Context(), e.Key)
			require.ErrorIs(t, err, bboltjournal.ErrCorrupt, name)
			assert.Nil(t, got, name)
		}
	}
}

// Also the fields that are added later.
func TestEveryFieldOfAnEntryIsKept(t *testing.T) {
	want, n := new(journalEntry), 0
	fill(t, reflect.ValueOf(want).Elem(), &n)
	want.Version, want.State = formVersion, stateReturned
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
