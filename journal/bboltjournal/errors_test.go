package bboltjournal_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
)

func TestErrorsPrintAndMatchWhateverTheyHold(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		err  error
		is   error
		text string
	}{
		{&bboltjournal.LockedError{}, bboltjournal.ErrLocked, "bboltjournal: the file is open elsewhere"},
		{&bboltjournal.CorruptError{}, bboltjournal.ErrCorrupt, "bboltjournal: the file is damaged"},
		{
			&bboltjournal.CorruptError{Key: "k"},
			bboltjournal.ErrCorrupt,
			`bboltjournal: the file: the entry "k" is damaged`,
		},
		{
			&bboltjournal.CorruptError{Path: "p", Key: "k", Err: cause}, cause,
			`bboltjournal: p: the entry "k" is damaged: cause`,
		},
		{&bboltjournal.VersionError{}, bboltjournal.ErrVersion, "bboltjournal: the file has version 0"},
		{
			&bboltjournal.UnsafeError{}, bboltjournal.ErrUnsafe,
			"bboltjournal: the file (mode ----------) cannot be kept from other users",
		},
		{
			&bboltjournal.UnsafeError{Path: "p", Mode: 0o640, Err: cause}, cause,
			"bboltjournal: p (mode -rw-r-----) cannot be kept from other users: cause",
		},
		{
			&bboltjournal.ReplacedError{}, bboltjournal.ErrReplaced,
			"bboltjournal: the file was removed or replaced while it was open",
		},
		{
			&bboltjournal.ReplacedError{Path: "p", Err: fs.ErrNotExist}, fs.ErrNotExist,
			"bboltjournal: p was removed or replaced while it was open: file does not exist",
		},
	} {
		require.ErrorIs(t, c.err, c.is)
		assert.ErrorContains(t, c.err, c.text)
		sentinels := 0
		for _, sentinel := range []error{
			bboltjournal.ErrLocked, bboltjournal.ErrCorrupt, bboltjournal.ErrVersion, bboltjournal.ErrUnsafe,
			bboltjournal.ErrReplaced, bboltjournal.ErrClosed,
		} {
			if errors.Is(c.err, sentinel) {
				sentinels++
			}
		}
		assert.Equal(t, 1, sentinels, c.text)
	}
}
