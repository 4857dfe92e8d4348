package bboltjournal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
)

// filled returns the bytes of a journal with some entries, several pages of them.
func filled(t testing.TB) (file []byte, want map[string]*journalEntry) {
	path := journalPath(t)
	journal, err := bboltjournal.Open(path)
	require.NoError(t, err)
	want = make(map[string]*journalEntry)
	for i := range 12 {
		e := entry(fmt.Sprintf("key %d", i), stateRequested, time.Now())
		want[e.Key] = e
		require.NoError(t, journal.Put(t.Context(), e))
	}
	require.NoError(t, journal.Close())
	file, err = os.ReadFile(path)
	require.NoError(t, err)
	return file, want
}

// edit changes a journal's file as another program would.
func edit(t *testing.T, path string, fn func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(fn))
	require.NoError(t, db.Close())
}

func assertCorrupt(t *testing.T, path string) {
	t.Helper()
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	for range 2 { // the file is not left locked
		_, err := bboltjournal.Open(path)
		var corrupt *bboltjournal.CorruptError
		require.ErrorAs(t, err, &corrupt)
		require.ErrorIs(t, err, bboltjournal.ErrCorrupt)
		assert.Equal(t, path, corrupt.Path)
		assert.Empty(t, corrupt.Key)
		assert.ErrorContains(t, err, path)
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after, "it is left as it is")
}

func TestTruncatedAndForeignFilesAreRefused(t *testing.T) {
	file, want := filled(t)
	write := func(data []byte) string {
		path := journalPath(t)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	cut := 0
	for size := 1; size < len(file); size += 1 + min(size, 1000) {
		path := write(file[:size])
		if journal, err := bboltjournal.Open(path); err == nil { // there is room at the end that is not used yet
			assert.Len(t, keys(t, journal.Entries(t.Context())), len(want))
			require.NoError(t, journal.Close())
			continue
		}
		assertCorrupt(t, path)
		cut = size
	}
	assert.Greater(t, cut, len(file)/2)
	assertCorrupt(t, write([]byte("this is no journal")))
	assertCorrupt(t, write(make([]byte, 1<<16)))
	open(t, write(nil)) // as a crash leaves it that comes between creating the file and writing to it
}

// Whatever byte is damaged, nothing panics, and no entry is silently another.
func TestDamagedBytes(t *testing.T) {
	file, want := filled(t)
	path := journalPath(t)
	refused, reported := 0, 0
	for at := range file {
		const head = 64 // of each page: where references are
		if in := at % os.Getpagesize(); in >= head && in%61 != 0 {
			continue
		}
		for _, bits := range []byte{0x01, 0xff}[at%2:] {
			file[at] ^= bits
			require.NoError(t, os.WriteFile(path, file, 0o600))
			file[at] ^= bits
			journal, err := bboltjournal.Open(path)
			if err != nil {
				refused++
				continue
			}
			found := 0
			for key, e := range want {
				got, err := journal.Get(t.Context(), key)
				switch {
				case err != nil:
					require.ErrorIs(t, err, bboltjournal.ErrCorrupt, "byte %d", at)
					require.ErrorContains(t, err, key)
					reported++
				case got != nil:
					require.Equal(t, e, got, "byte %d", at)
					found++
				}
			}
			// Without its newest meta page the database is as it was before the last entry.
			require.GreaterOrEqual(t, found, len(want)-1, "byte %d", at)
			require.NoError(t, journal.Close())
		}
	}
	assert.Positive(t, refused)
	assert.Positive(t, reported)
}

func TestOneDamagedEntry(t *testing.T) {
	path := journalPath(t)
	journal := open(t, path)
	for _, key := range []string{"a", "b", "c"} {
		require.NoError(t, journal.Put(t.Context(), entry(key, stateSettled, time.Now())))
	}
	require.NoError(t, journal.Put(t.Context(), entry("old", stateSettled, time.Now().Add(-48*time.Hour))))
	require.NoError(t, journal.Close())
	edit(t, path, func(tx *bbolt.Tx) error {
		entries := tx.Bucket([]byte("entries"))
		return entries.Put([]byte("b"), entries.Get([]byte("a"))) // whole, but in another's place
	})

	journal = open(t, path)
	var corrupt *bboltjournal.CorruptError
	_, err := journal.Get(t.Context(), "b")
	require.ErrorAs(t, err, &corrupt)
	assert.Equal(t, "b", corrupt.Key)
	assert.ErrorContains(t, err, `the entry "b" is damaged: the checksum does not match`)
	_, err = journal.Get(t.Context(), "a")
	require.NoError(t, err)

	var seen []string
	for e, err := range journal.Entries(t.Context()) {
		if err != nil {
			require.ErrorAs(t, err, &corrupt)
			break
		}
		seen = append(seen, e.Key)
	}
	assert.Equal(t, []string{"a"}, seen, "whoever stops at the error sees what is before it")
	seen = nil
	for e, err := range journal.Entries(t.Context()) {
		if err != nil {
			require.Nil(t, e)
			require.ErrorAs(t, err, &corrupt)
			assert.Equal(t, path, corrupt.Path)
			seen = append(seen, "damaged "+corrupt.Key)
			continue
		}
		seen = append(seen, e.Key)
	}
	assert.Equal(t, []string{"a", "damaged b", "c", "old"}, seen)
	pruned, err := journal.Prune(t.Context(), time.Now().Add(-25*time.Hour))
	require.ErrorAs(t, err, &corrupt)
	assert.Equal(t, 1, pruned, "the others are dealt with all the same")

	require.NoError(t, journal.Delete(t.Context(), "b"))
	assert.Equal(t, []string{"a", "c"}, keys(t, journal.Entries(t.Context())))
}

// Wherever in the batches they are, also when all of one are damaged, and when they are mended on the way.
func TestEntriesGoOnPastDamagedOnes(t *testing.T) {
	const n = 200
	for name, damaged := range map[string]func(i int) bool{
		"none":            func(int) bool { return false },
		"all":             func(int) bool { return true },
		"first":           func(i int) bool { return i == 0 },
		"last":            func(i int) bool { return i == n-1 },
		"about a border":  func(i int) bool { return i == 63 || i == 64 },
		"a whole batch":   func(i int) bool { return i >= 64 && i < 128 },
		"every third one": func(i int) bool { return i%3 == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			path := journalPath(t)
			require.NoError(t, open(t, path).Close())
			edit(t, path, func(tx *bbolt.Tx) error {
				for i := range n {
					const form = `{"Key":%q,"State":"started","Purchase":{"Amount":1},"Confirm":{"Success":false}}`
					key := fmt.Sprintf("%03d", i)
					value := stored(key, fmt.Appendf(nil, form, key))
					if damaged(i) {
						value[len(value)-1] = '?'
					}
					if err := tx.Bucket([]byte("entries")).Put([]byte(key), value); err != nil {
						return err
					}
				}
				return nil
			})
			journal := open(t, path)
			i := 0
			for e, err := range journal.Entries(t.Context()) {
				key := fmt.Sprintf("%03d", i)
				if damaged(i) {
					var corrupt *bboltjournal.CorruptError
					require.ErrorAs(t, err, &corrupt)
					require.Equal(t, key, corrupt.Key)
					require.Nil(t, e)
					require.NoError(t, journal.Delete(t.Context(), key))
				} else {
					require.NoError(t, err)
					require.Equal(t, key, e.Key)
				}
				i++
			}
			assert.Equal(t, n, i)
			for _, err := range journal.Entries(t.Context()) {
				require.NoError(t, err, "the damaged ones were deleted")
			}
		})
	}
}

// A page that counts fewer elements than it holds would lose the entries behind them without a sign.
func TestAPageThatCountsFewerElementsIsDamage(t *testing.T) {
	file, _ := filled(t)
	seen := 0
	for at := 2 * os.Getpagesize(); at < len(file); at += os.Getpagesize() {
		const branchOrLeaf = 0x03
		if binary.NativeEndian.Uint16(file[at+8:])&branchOrLeaf == 0 {
			continue
		}
		count := file[at+10:]
		elements := binary.NativeEndian.Uint16(count)
		for fewer := elements - 1; elements > 1 && fewer > 0; fewer-- {
			binary.NativeEndian.PutUint16(count, fewer)
			path := journalPath(t)
			require.NoError(t, os.WriteFile(path, file, 0o600))
			journal, err := bboltjournal.Open(path)
			if err == nil { // the page is free
				require.Len(t, keys(t, journal.Entries(t.Context())), 12)
				require.NoError(t, journal.Close())
				continue
			}
			assertCorrupt(t, path)
			seen++
		}
		binary.NativeEndian.PutUint16(count, elements)
	}
	assert.Positive(t, seen)
}

func TestAnEntryWithoutAKeyIsDamage(t *testing.T) {
	file, _ := filled(t)
	path := journalPath(t)
	at := bytes.LastIndex(file, []byte("entries")) // in the root page: an element, whose header says 7 bytes of key
	for i := 0; i < at; i += 4 {
		if binary.NativeEndian.Uint32(file[i:]) == 7 && binary.NativeEndian.Uint32(file[i+4:]) == 16 {
			binary.NativeEndian.PutUint32(file[i:], 0)
		}
	}
	require.NoError(t, os.WriteFile(path, file, 0o600))
	_, err := bboltjournal.Open(path)
	require.ErrorContains(t, err, "an element without a key")
	assertCorrupt(t, path)
}

func TestOtherVersionsAndOtherDatabasesAreRefused(t *testing.T) {
	meta, version := []byte("meta"), []byte("version")
	path := journalPath(t)
	require.NoError(t, open(t, path).Close())
	edit(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket(meta).Put(version, binary.BigEndian.AppendUint64(nil, 3))
	})
	_, err := bboltjournal.Open(path)
	var versionError *bboltjournal.VersionError
	require.ErrorAs(t, err, &versionError)
	require.ErrorIs(t, err, bboltjournal.ErrVersion)
	assert.Equal(t, bboltjournal.VersionError{Path: path, Version: 3, Supported: 2}, *versionError)
	assert.ErrorContains(t, err, "has version 3, and this program reads up to version 2")

	for name, change := range map[string]func(tx *bbolt.Tx) error{
		"version 0":   func(tx *bbolt.Tx) error { return tx.Bucket(meta).Put(version, make([]byte, 8)) },
		"odd version": func(tx *bbolt.Tx) error { return tx.Bucket(meta).Put(version, []byte("one")) },
		"no version":  func(tx *bbolt.Tx) error { return tx.Bucket(meta).Delete(version) },
		"no entries":  func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("entries")) },
		"no meta":     func(tx *bbolt.Tx) error { return tx.DeleteBucket(meta) },
		"another's db": func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("other"))
			_ = tx.DeleteBucket(meta)
			return err
		},
	} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, open(t, path).Close())
		edit(t, path, change)
		assertCorrupt(t, path)
	}
}

// What bbolt writes, whatever has come and gone, is sound.
func TestSoundFilesAreOpened(t *testing.T) {
	path := journalPath(t)
	require.NoError(t, open(t, path).Close())
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
				entries := tx.Bucket([]byte("entries"))
				put := random.IntN(3) > 0
				for range random.IntN(150) {
					key := fmt.Appendf(nil, "%0*d", 1+random.IntN(3)*random.IntN(200), random.IntN(500))
					if put {
						require.NoError(t, entries.Put(key, make([]byte, random.IntN(2)*random.IntN(20_000))))
					} else if found, _ := entries.Cursor().Seek(key); found != nil {
						require.NoError(t, entries.Delete(found))
					}
				}
				return nil
			}))
		}
		require.NoError(t, db.Close())
		journal, err := bboltjournal.Open(path)
		require.NoError(t, err)
		require.NoError(t, journal.Close())
	}
}
