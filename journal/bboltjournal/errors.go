package bboltjournal

import (
	"errors"
	"strconv"
)

// What is wrong with a journal, to be asked for with [errors.Is].
var (
	// ErrLocked: another journal, of this process or another, has the file open; matched by [*LockedError].
	ErrLocked = errors.New("bboltjournal: locked")
	// ErrCorrupt: the file or an entry is damaged, or no journal at all; matched by [*CorruptError].
	ErrCorrupt = errors.New("bboltjournal: corrupt")
	// ErrVersion: a later version of this package has written the file; matched by [*VersionError].
	ErrVersion = errors.New("bboltjournal: unknown version")
	// ErrClosed: the journal was closed.
	ErrClosed = errors.New("bboltjournal: closed")
)

// LockedError reports that a journal's file is open elsewhere, in this process or another. It matches [ErrLocked].
type LockedError struct {
	Path string
}

func (e *LockedError) Error() string {
	return "bboltjournal: " + e.Path + " is open elsewhere, in this process or another; each process needs a journal of its own"
}

// Is reports whether target is [ErrLocked].
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// CorruptError reports damage to a journal. It matches [ErrCorrupt].
type CorruptError struct {
	Path string
	Key  string // of the entry that cannot be read; empty when the file as a whole is damaged
	Err  error  // what is wrong
}

func (e *CorruptError) Error() string {
	text := "bboltjournal: " + e.Path + " is damaged"
	if e.Key != "" {
		text = "bboltjournal: " + e.Path + ": the entry " + strconv.Quote(e.Key) + " is damaged"
	}
	return text + ": " + e.Err.Error()
}

// Is reports whether target is [ErrCorrupt].
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns what is wrong.
func (e *CorruptError) Unwrap() error { return e.Err }

// VersionError reports that a later version of this package has written the file. It matches [ErrVersion].
type VersionError struct {
	Path      string
	Version   uint64 // of the file
	Supported uint64 // the latest that this package reads
}

func (e *VersionError) Error() string {
	return "bboltjournal: " + e.Path + " has version " + strconv.FormatUint(e.Version, 10) + ", and this program reads up to version " +
		strconv.FormatUint(e.Supported, 10) + "; use a later one"
}

// Is reports whether target is [ErrVersion].
func (e *VersionError) Is(target error) bool { return target == ErrVersion }
