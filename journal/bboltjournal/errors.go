package bboltjournal

import (
	"errors"
	"io/fs"
	"strconv"
)

// Errors that a journal's errors match with [errors.Is].
var (
	// ErrLocked is returned when the file is open elsewhere, in this process or another. [*LockedError] matches it.
	ErrLocked = errors.New("bboltjournal: locked")
	// ErrCorrupt is returned when the file or an entry is damaged, or it is no journal. [*CorruptError] matches it.
	ErrCorrupt = errors.New("bboltjournal: corrupt")
	// ErrVersion is returned when a later version of this package has written the file. [*VersionError] matches it.
	ErrVersion = errors.New("bboltjournal: unknown version")
	// ErrUnsafe is returned when other users could read or change the file. [*UnsafeError] matches it.
	ErrUnsafe = errors.New("bboltjournal: unsafe file")
	// ErrReplaced is returned when the open file is no longer at its path. [*ReplacedError] matches it.
	ErrReplaced = errors.New("bboltjournal: replaced")
	// ErrClosed is returned when the journal was closed.
	ErrClosed = errors.New("bboltjournal: closed")
)

// LockedError reports that a journal's file is open elsewhere, in this process or another. It matches [ErrLocked].
type LockedError struct {
	Path string
}

func (e *LockedError) Error() string {
	return "bboltjournal: " + named(e.Path) + " is open elsewhere, in this process or another; " +
		"each process needs a journal of its own"
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
	text := "bboltjournal: " + named(e.Path) + " is damaged"
	if e.Key != "" {
		text = "bboltjournal: " + named(e.Path) + ": the entry " + strconv.Quote(e.Key) + " is damaged"
	}
	return because(text, e.Err)
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
	return "bboltjournal: " + named(e.Path) + " has version " + strconv.FormatUint(e.Version, 10) +
		", and this program reads up to version " + strconv.FormatUint(e.Supported, 10) + "; use a later one"
}

// Is reports whether target is [ErrVersion].
func (e *VersionError) Is(target error) bool { return target == ErrVersion }

// UnsafeError reports that a journal's file cannot be kept from other users: it belongs to a user other than the one
// the process runs as, or it is open to others and its mode cannot be changed. It matches [ErrUnsafe].
type UnsafeError struct {
	Path string
	Mode fs.FileMode // of the file, as it was found
	Err  error       // why it stays unsafe
}

func (e *UnsafeError) Error() string {
	return because("bboltjournal: "+named(e.Path)+" (mode "+e.Mode.String()+") cannot be kept from other users", e.Err)
}

// Is reports whether target is [ErrUnsafe].
func (e *UnsafeError) Is(target error) bool { return target == ErrUnsafe }

// Unwrap returns why the file stays unsafe.
func (e *UnsafeError) Unwrap() error { return e.Err }

// ReplacedError reports that the file of an open journal was removed, moved or replaced. What is written into it would
// not be found again, so nothing is read or written until it is back. Close the journal, look for the file, and open
// the one that holds the entries. The error matches [ErrReplaced], and [fs.ErrNotExist] when no file is at the path.
type ReplacedError struct {
	Path string
	Err  error // why no file is found at the path; nil when another file is there
}

func (e *ReplacedError) Error() string {
	text := "bboltjournal: " + named(e.Path) + " was removed or replaced while it was open"
	return because(text, e.Err)
}

// Is reports whether target is [ErrReplaced].
func (e *ReplacedError) Is(target error) bool { return target == ErrReplaced }

// Unwrap returns why no file is found at the path, or nil.
func (e *ReplacedError) Unwrap() error { return e.Err }

// named returns a path for a text. An error that a test has made may lack one.
func named(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

func because(text string, err error) string {
	if err == nil {
		return text
	}
	return text + ": " + err.Error()
}
