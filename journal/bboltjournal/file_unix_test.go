//go:build unix

package bboltjournal_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
)

func writeWithMode(t *testing.T, path string, data []byte, mode fs.FileMode) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.NoError(t, os.Chmod(path, mode)) // whatever the umask
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Mode().Perm()
}

func TestAnExistingFileIsMadeItsOwnersAlone(t *testing.T) {
	for _, mode := range []fs.FileMode{0o666, 0o644, 0o640, 0o604, 0o620, 0o602, 0o700, 0o601} {
		t.Run(mode.String(), func(t *testing.T) {
			path := journalPath(t)
			journal := open(t, path)
			require.NoError(t, journal.Put(t.Context(), entry("key", stateReturned, time.Now())))
			require.NoError(t, journal.Close())
			require.NoError(t, os.Chmod(path, mode))

			journal = open(t, path)
			assert.Equal(t, fs.FileMode(0o600), modeOf(t, path))
			assert.Equal(t, []string{"key"}, keys(t, journal.Entries(t.Context())))
		})
	}
	for _, mode := range []fs.FileMode{0o666, 0o600} {
		path := journalPath(t)
		writeWithMode(t, path, nil, mode)
		require.NoError(t, open(t, path).Put(t.Context(), entry("key", stateRequested, time.Now())))
		assert.Equal(t, fs.FileMode(0o600), modeOf(t, path), "an empty file of mode %v", mode)
	}
}

func TestSymbolicLinksAreFollowedAndTheirTargetIsMadeItsOwnersAlone(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, target string){
		"empty":   func(t *testing.T, target string) { writeWithMode(t, target, nil, 0o666) },
		"missing": func(*testing.T, string) {},
		"journal": func(t *testing.T, target string) {
			require.NoError(t, open(t, target).Close())
			require.NoError(t, os.Chmod(target, 0o664))
		},
	} {
		t.Run(name, func(t *testing.T) {
			target, path := filepath.Join(t.TempDir(), "target"), journalPath(t)
			prepare(t, target)
			require.NoError(t, os.Symlink(target, path))
			journal := open(t, path)
			require.NoError(t, journal.Put(t.Context(), entry("key", stateRequested, time.Now())))
			assert.Equal(t, fs.FileMode(0o600), modeOf(t, target))
			require.NoError(t, journal.Close())
			assert.Equal(t, []string{"key"}, keys(t, open(t, target).Entries(t.Context())))
		})
	}
}

// A path that is mistaken, or a link that somebody else has placed, must not change another program's file.
func TestWhatIsNoJournalKeepsItsMode(t *testing.T) {
	text := journalPath(t)
	writeWithMode(t, text, []byte("this is no journal"), 0o644)
	database := journalPath(t)
	db, err := bbolt.Open(database, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("another's"))
		return err
	}))
	require.NoError(t, db.Close())
	require.NoError(t, os.Chmod(database, 0o644))
	for _, path := range []string{text, database} {
		link := journalPath(t)
		require.NoError(t, os.Symlink(path, link))
		assertCorrupt(t, path)
		assertCorrupt(t, link)
		assert.Equal(t, fs.FileMode(0o644), modeOf(t, path))
	}
}

func TestAnotherUsersFileIsRefused(t *testing.T) {
	path, other := journalPath(t), os.Geteuid()+1
	writeWithMode(t, path, nil, 0o666)
	if err := os.Chown(path, other, -1); err != nil {
		t.Skip("only root can give a file away: ", err)
	}
	for range 2 { // the file is not left locked
		_, err := bboltjournal.Open(path)
		var refused *bboltjournal.UnsafeError
		require.ErrorAs(t, err, &refused)
		require.ErrorIs(t, err, bboltjournal.ErrUnsafe)
		assert.Equal(t, path, refused.Path)
		assert.Equal(t, fs.FileMode(0o666), refused.Mode)
		assert.ErrorContains(t, err, path+" (mode -rw-rw-rw-) cannot be kept from other users")
		assert.ErrorContains(t, err, fmt.Sprint("it belongs to the user ", other))
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Empty(t, data, "it is left as it is")
}

func TestWhatIsNoRegularFileIsRefused(t *testing.T) {
	_, err := bboltjournal.Open(os.DevNull)
	var param *letagentpay.ParamError
	require.ErrorAs(t, err, &param)
	assert.Equal(t, "bboltjournal.Open path", param.Field)
	assert.Equal(t, os.DevNull, param.Value)
	assert.NotErrorIs(t, err, bboltjournal.ErrCorrupt)
}

func TestAHardLinkIsTheSameJournal(t *testing.T) {
	path := journalPath(t)
	open(t, path)
	require.NoError(t, os.Link(path, path+".link"))
	_, err := bboltjournal.Open(path + ".link")
	require.ErrorIs(t, err, bboltjournal.ErrLocked)
}

// displaced are the ways by which the file of an open journal ceases to be the one at its path.
var displaced = map[string]func(t *testing.T, path string){
	"removed": func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
	"moved":   func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+".1")) },
	"replaced": func(t *testing.T, path string) {
		require.NoError(t, open(t, path+".new").Close())
		require.NoError(t, os.Rename(path+".new", path))
	},
	"removed and made again": func(t *testing.T, path string) {
		require.NoError(t, os.Rename(path, path+".1"))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	},
	"moved behind a link": func(t *testing.T, path string) {
		require.NoError(t, os.Rename(path, path+".1"))
		require.NoError(t, os.WriteFile(path+".2", nil, 0o600))
		require.NoError(t, os.Symlink(path+".2", path))
	},
	"its folder removed": func(t *testing.T, path string) {
		require.NoError(t, os.RemoveAll(filepath.Dir(path)))
	},
	"its folder a file": func(t *testing.T, path string) {
		require.NoError(t, os.RemoveAll(filepath.Dir(path)))
		require.NoError(t, os.WriteFile(filepath.Dir(path), nil, 0o600))
	},
}

func TestAFileThatIsNoLongerAtItsPathIsNoticed(t *testing.T) {
	for name, displace := range displaced {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "folder", "journal")
			require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
			journal := open(t, path)
			require.NoError(t, journal.Put(t.Context(), entry("key", stateStarted, time.Now())))
			displace(t, path)
			for operation, err := range everyOperation(t.Context(), journal) {
				var replaced *bboltjournal.ReplacedError
				require.ErrorAs(t, err, &replaced, operation)
				require.ErrorIs(t, err, bboltjournal.ErrReplaced, operation)
				assert.Equal(t, path, replaced.Path)
				assert.ErrorContains(t, err, path+" was removed or replaced while it was open")
				_, missing := os.Stat(path)
				assert.Equal(t, missing, replaced.Err, operation)
			}
			require.NoError(t, journal.Close())
		})
	}
}

func TestNothingIsWrittenToAFileThatIsNoLongerAtItsPath(t *testing.T) {
	path := journalPath(t)
	journal := open(t, path)
	require.NoError(t, journal.Put(t.Context(), entry("before", stateStarted, time.Now())))
	require.NoError(t, os.Rename(path, path+".1"))
	err := journal.Put(t.Context(), entry("away", stateRequested, time.Now()))
	require.ErrorIs(t, err, bboltjournal.ErrReplaced)
	require.ErrorIs(t, journal.Delete(t.Context(), "before"), bboltjournal.ErrReplaced)

	second := open(t, path) // as a later start would
	assert.Empty(t, keys(t, second.Entries(t.Context())))
	require.NoError(t, second.Close())

	require.NoError(t, os.Rename(path+".1", path))
	assert.Equal(t, []string{"before"}, keys(t, journal.Entries(t.Context())), "it is back")
	require.NoError(t, journal.Put(t.Context(), entry("back", stateRequested, time.Now())))
	require.NoError(t, journal.Close())
	assert.Equal(t, []string{"back", "before"}, keys(t, open(t, path).Entries(t.Context())))
}

func TestALinkThatLeadsElsewhereIsNoticed(t *testing.T) {
	path := journalPath(t)
	require.NoError(t, open(t, path+".other").Close())
	require.NoError(t, os.Symlink(path+".target", path))
	journal := open(t, path)
	require.NoError(t, journal.Put(t.Context(), entry("key", stateRequested, time.Now())))
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink(path+".other", path))
	err := journal.Put(t.Context(), entry("key", stateStarted, time.Now()))
	require.ErrorIs(t, err, bboltjournal.ErrReplaced)
}

func TestARelativePathHoldsAfterTheWorkingFolderChanged(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "real", "sub"), 0o700))
	require.NoError(t, os.Symlink(filepath.Join("real", "sub"), filepath.Join(folder, "link")))
	for path, real := range map[string]string{"journal": "journal", "link/../behind": "real/behind"} {
		t.Chdir(folder)
		journal := open(t, path)
		require.FileExists(t, filepath.Join(folder, real))
		require.NoError(t, journal.Put(t.Context(), entry("key", stateRequested, time.Now())))
		t.Chdir(t.TempDir())
		require.NoError(t, journal.Put(t.Context(), entry("key", stateStarted, time.Now())))
		require.NoError(t, os.Remove(filepath.Join(folder, real)))
		var replaced *bboltjournal.ReplacedError
		require.ErrorAs(t, journal.Put(t.Context(), entry("key", stateReturned, time.Now())), &replaced)
		assert.Equal(t, path, replaced.Path, "as it was given")
	}
}

func TestAFileThatIsCutWhileItIsOpenIsDamaged(t *testing.T) {
	page := int64(os.Getpagesize())
	for _, size := range []int64{0, 1, page, 2 * page, 3 * page, 4 * page} {
		path := journalPath(t)
		journal := open(t, path)
		for _, key := range []string{"a", "b", "c"} {
			require.NoError(t, journal.Put(t.Context(), entry(key, stateStarted, time.Now())))
		}
		require.NoError(t, os.Truncate(path, size))
		for operation, err := range everyOperation(t.Context(), journal) {
			var corrupt *bboltjournal.CorruptError
			require.ErrorAs(t, err, &corrupt, "%s of %d bytes", operation, size)
			assert.Empty(t, corrupt.Key)
		}
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, size, info.Size(), "nothing is written")
		require.NoError(t, journal.Close())
	}
}

// Keys that damage has put out of their order must not lead the iteration in a circle.
func TestEntriesEndWhereTheirOrderIsLost(t *testing.T) {
	for lost, want := range map[string][]string{
		"key of the third": {"key of the first", "key of the other"},
		"key of the other": {"key of the first"},
	} {
		t.Run(lost, func(t *testing.T) {
			path := journalPath(t)
			journal := open(t, path)
			for _, key := range []string{"key of the first", "key of the other", "key of the third"} {
				require.NoError(t, journal.Put(t.Context(), entry(key, stateStarted, time.Now())))
			}
			overwrite(t, path, lost, "key of the first")

			var seen []string
			var last error
			for e, err := range journal.Entries(t.Context()) {
				if last = err; err == nil {
					seen = append(seen, e.Key)
				}
			}
			assert.Equal(t, want, seen)
			var corrupt *bboltjournal.CorruptError
			require.ErrorAs(t, last, &corrupt)
			assert.Empty(t, corrupt.Key)
			require.ErrorContains(t, last, `the key "key of the first" is out of order`)
		})
	}
}

// overwrite replaces a text in a file that may be open.
func overwrite(t *testing.T, path, old, text string) {
	t.Helper()
	require.Len(t, text, len(old))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteAt(bytes.ReplaceAll(data, []byte(old), []byte(text)), 0)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}
