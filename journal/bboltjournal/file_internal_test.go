package bboltjournal

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/money"
)

// moded is a file on a file system that changes modes in its own way.
type moded struct {
	fs.FileInfo
	mode    fs.FileMode
	becomes fs.FileMode
	stat    []error // by call
	chmod   error
}

func (m *moded) Mode() fs.FileMode { return m.mode }

func (m *moded) Stat() (fs.FileInfo, error) {
	var err error
	if len(m.stat) > 0 {
		err, m.stat = m.stat[0], m.stat[1:]
	}
	return m, err
}

func (m *moded) Chmod(fs.FileMode) error {
	m.mode = m.becomes
	return m.chmod
}

func TestAModeThatCannotBeTightenedIsRefused(t *testing.T) {
	if !hasModes {
		require.NoError(t, tighten("path", &moded{mode: 0o666, becomes: 0o666}))
		return
	}
	denied := errors.New("denied")
	const unchanged = "its file system does not change its mode to -rw-------"
	for name, c := range map[string]struct {
		file moded
		err  string // empty: none
	}{
		"tightened":         {moded{mode: 0o666, becomes: 0o600}, ""},
		"private already":   {moded{mode: 0o600, chmod: denied}, ""},
		"read only":         {moded{mode: 0o400, chmod: denied}, ""},
		"refused":           {moded{mode: 0o640, becomes: 0o640, chmod: denied}, "denied"},
		"without effect":    {moded{mode: 0o777, becomes: 0o777}, unchanged},
		"with half of it":   {moded{mode: 0o666, becomes: 0o604}, unchanged},
		"unknown before":    {moded{mode: 0o666, stat: []error{denied}}, "bboltjournal: denied"},
		"unknown afterward": {moded{mode: 0o666, stat: []error{nil, denied}}, "bboltjournal: denied"},
	} {
		mode := c.file.mode
		err := tighten("path", &c.file)
		if c.err == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.err, name)
		if c.file.stat == nil {
			var refused *UnsafeError
			require.ErrorAs(t, err, &refused, name)
			assert.Equal(t, "path", refused.Path)
			assert.Equal(t, mode, refused.Mode, "as it was found")
		}
	}
}

func TestAFileOfAnotherUserIsRefusedWhateverItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	info, err := os.Stat(path)
	require.NoError(t, err)
	user := os.Geteuid()
	require.NoError(t, checkOwner(path, info, user))
	err = checkOwner(path, info, user+1)
	if !hasModes {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, ErrUnsafe)
}

// Whoever has waited for another process to close the file may find that it is no longer the one at the path.
func TestAFileReplacedBeforeItWasLockedIsNotUsed(t *testing.T) {
	if !hasModes {
		t.Skip("an open file cannot be moved here")
	}
	path := filepath.Join(t.TempDir(), "journal")
	j := &Journal{path: path, location: path, writing: make(chan struct{}, 1)}
	require.NoError(t, j.open(0))
	defer func() { assert.NoError(t, j.Close()) }()
	require.NoError(t, os.Rename(path, path+".1"))
	require.ErrorIs(t, j.prepare(defaultRetention), ErrReplaced)
	require.NoFileExists(t, path)
}

func TestAWriteRemovedWhileItWasMadeIsNoticed(t *testing.T) {
	if !hasModes {
		t.Skip("an open file cannot be removed here")
	}
	path := filepath.Join(t.TempDir(), "journal")
	j, err := Open(path)
	require.NoError(t, err)
	defer func() { assert.NoError(t, j.Close()) }()
	require.NoError(t, j.update(t.Context(), func(*bbolt.Bucket) error { return nil }))
	err = j.update(t.Context(), func(*bbolt.Bucket) error { return os.Remove(path) })
	require.ErrorIs(t, err, ErrReplaced)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestAContextEndsTheWaitForAnotherWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, err := Open(filepath.Join(t.TempDir(), "journal"))
		require.NoError(t, err)
		defer func() { assert.NoError(t, j.Close()) }()
		entry := &journal.Entry{
			Version: journal.Version,
			Key:     "key",
			State:   journal.Requested,
			Amount:  money.Must("1"),
		}
		j.writing <- struct{}{} // a write on a busy disk
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		require.ErrorIs(t, j.Put(ctx, entry), context.DeadlineExceeded)
		require.ErrorIs(t, j.Delete(ctx, "key"), context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second, time.Since(begun))
		_, err = j.Get(t.Context(), "key")
		require.NoError(t, err, "reading does not wait")
		<-j.writing

		got, err := j.Get(t.Context(), "key")
		require.NoError(t, err)
		assert.Nil(t, got, "nothing was written")
		require.NoError(t, j.Put(t.Context(), entry))
	})
}

// A new file's name is made durable in the folder that has it, not in that of a link to it.
func TestTheFolderOfALinkIsThatOfItsTarget(t *testing.T) {
	if !hasModes {
		t.Skip("links need a privilege here")
	}
	folder, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	target, link := filepath.Join(folder, "journal"), filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(target, link))
	j, err := Open(link)
	require.NoError(t, err)
	require.NoError(t, j.Close())
	for _, path := range []string{target, link} {
		got, err := folderOf(path)
		require.NoError(t, err)
		assert.Equal(t, folder, got)
	}
}
