package bboltjournal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// version is that of the file's layout. A change that an older program would misread needs the next one. In version 1
// all entries have the first form; in version 2 they have the first or the present one.
const version = 2

var (
	metaBucket    = []byte("meta")    // versionKey → version, 8 bytes big endian
	entriesBucket = []byte("entries") // key → entry, see encodeEntry
	versionKey    = []byte("version")
)

// batchSize is how many entries one transaction reads or deletes at most.
const batchSize = 64

// Journal is a [journal.Store] in a file. Make one with [Open]. It is safe for concurrent use.
//
// If the context has ended, a method does nothing and returns the context's error. After Close the error matches
// [ErrClosed]. It is a [*ReplacedError] when the file is no longer at its path, a [*CorruptError] for damage, a
// [*letagentpay.ParamError] for an invalid value, and otherwise the error of the file system.
//
// Writes come one after another. If the context ends while a write waits for others, nothing is written. A write that
// has begun is finished.
type Journal struct {
	path     string // as given to Open
	location string // the same, from the root
	db       *bbolt.DB
	file     *os.File    // the database's
	info     fs.FileInfo // identifies the file
	closed   atomic.Bool
	broken   atomic.Pointer[CorruptError] // damage at which bbolt panicked; every call returns it

	// writing holds a value during a write. Unlike a wait for bbolt's lock, a wait for it can end with a context.
	writing chan struct{}
}

var _ journal.Store = (*Journal)(nil)

// Open opens the journal in the file at path, or creates it; its folder must exist. It checks the whole file, upgrades
// a file of an earlier version, which that version then refuses, and removes the settled entries that are past their
// retention.
//
// If other users may read or write the file, Open changes its mode to 0600, except on Windows, which has no such modes.
// Symbolic links are followed, and the file they lead to is treated the same. A link that leads nowhere creates the
// file where it leads.
//
// The error is a [*LockedError] when the file is open elsewhere; a [*CorruptError] or [*VersionError] for a file that
// cannot be used; an [*UnsafeError] for one that belongs to another user or whose mode cannot be changed; a
// [*ReplacedError] when the file is removed or replaced while Open runs; a [*letagentpay.ParamError] for an invalid
// option, and for a path that leads to something other than a regular file; and otherwise the error of the file system.
// A file that is refused keeps its content.
func Open(path string, opts ...Option) (*Journal, error) {
	if path == "" {
		return nil, paramError("Open path", "", "want the path of a file")
	}
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	location, err := locate(path)
	if err != nil {
		return nil, fmt.Errorf("bboltjournal: %w", err)
	}
	j := &Journal{path: path, location: location, writing: make(chan struct{}, 1)}
	if err := j.open(c.lockTimeout); err != nil {
		return nil, err
	}
	if err := j.prepare(c.retention); err != nil {
		_ = j.Close() // err is the cause
		return nil, err
	}
	return j, nil
}

func (j *Journal) open(lockTimeout time.Duration) (err error) {
	defer func() {
		if broken := j.broken.Load(); broken != nil {
			j.abandon()
			err = broken
		}
	}()
	defer j.recoverDamage()()
	j.db, err = bbolt.Open(j.location, fileMode, &bbolt.Options{
		Timeout:  max(lockTimeout, 1), // with 0, bbolt waits without a limit
		OpenFile: j.openFile,
	})
	var refused *UnsafeError
	var pathError *fs.PathError
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bbolterrors.ErrTimeout):
		return &LockedError{Path: j.path}
	case errors.As(err, &refused) || errors.Is(err, letagentpay.ErrInvalid):
		return err
	case errors.As(err, &pathError) || errors.As(err, &errno):
		return fmt.Errorf("bboltjournal: %w", err)
	default:
		return &CorruptError{Path: j.path, Err: err}
	}
}

// prepare turns a new file into a journal, and checks and upgrades an existing one.
func (j *Journal) prepare(retention time.Duration) error {
	var found uint64
	if err := j.transact(j.db.View, func(tx *bbolt.Tx) (err error) {
		found, err = j.check(tx)
		return err
	}); err != nil {
		return err
	}
	if err := tighten(j.path, j.file); err != nil {
		return err
	}
	if found == 0 {
		if err := syncFolder(j.location); err != nil { // first, because after a crash only a new file is synced again
			return err
		}
		if err := j.transact(j.db.Update, initialize); err != nil {
			return err
		}
	} else if found < version { // before the first entry that an older program would not understand
		upgrade := func(tx *bbolt.Tx) error { return putVersion(tx.Bucket(metaBucket)) }
		if err := j.transact(j.db.Update, upgrade); err != nil {
			return err
		}
	}
	_, err := j.Prune(context.Background(), time.Now().Add(-retention))
	var corrupt *CorruptError
	if errors.As(err, &corrupt) && corrupt.Key != "" {
		return nil // Get and Entries report the entry
	}
	return err
}

// check reads the whole file, so that damage is found now and not during a purchase. It returns the version of the
// file's layout, or 0 for an empty file.
func (j *Journal) check(tx *bbolt.Tx) (found uint64, err error) {
	if err := checkPages(j.file, tx); err != nil {
		return 0, &CorruptError{Path: j.path, Err: err}
	}
	if name, _ := tx.Cursor().First(); name == nil {
		return 0, nil
	}
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		return 0, &CorruptError{Path: j.path, Err: errors.New("it is a database, but not a journal")}
	}
	stored := meta.Get(versionKey)
	if len(stored) != 8 {
		return 0, &CorruptError{Path: j.path, Err: fmt.Errorf("its version is %q", stored)}
	}
	found = binary.BigEndian.Uint64(stored)
	switch {
	case found > version:
		return 0, &VersionError{Path: j.path, Version: found, Supported: version}
	case found == 0:
		return 0, &CorruptError{Path: j.path, Err: errors.New("its version is 0")}
	case tx.Bucket(entriesBucket) == nil:
		return 0, &CorruptError{Path: j.path, Err: errors.New("it has no entries bucket")}
	}
	return found, nil
}

func initialize(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucket(metaBucket)
	if err != nil {
		return err
	}
	if err := putVersion(meta); err != nil {
		return err
	}
	_, err = tx.CreateBucket(entriesBucket)
	return err
}

// putVersion marks a file as one of the present layout.
func putVersion(meta *bbolt.Bucket) error {
	return meta.Put(versionKey, binary.BigEndian.AppendUint64(nil, version))
}

// Close closes the file once the calls under way have returned. Closing again does nothing.
func (j *Journal) Close() error {
	if !j.closed.CompareAndSwap(false, true) {
		return nil
	}
	if j.broken.Load() != nil {
		j.abandon()
		return nil
	}
	if err := j.db.Close(); err != nil {
		return fmt.Errorf("bboltjournal: %w", err)
	}
	return nil
}

// abandon closes the file after bbolt has panicked, when it may still hold its own locks.
func (j *Journal) abandon() {
	if j.file != nil {
		unlock(j.file)
		_ = j.file.Close()
	}
}

// recoverDamage returns the function to defer around calls of bbolt. It turns the panics by which bbolt reports damage,
// and faults of the file's memory map, into j.broken. A function deferred before it runs after it, and can return
// j.broken.
func (j *Journal) recoverDamage() func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			j.broken.CompareAndSwap(nil, &CorruptError{Path: j.path, Err: fmt.Errorf("%v", r)})
		}
	}
}

// transact runs fn in a transaction, if the file is still at its path. It returns an error of fn's as it is.
func (j *Journal) transact(begin func(func(*bbolt.Tx) error) error, fn func(*bbolt.Tx) error) (err error) {
	if j.closed.Load() {
		return fmt.Errorf("%w: %s", ErrClosed, j.path)
	}
	if broken := j.broken.Load(); broken != nil {
		return broken
	}
	defer func() {
		if broken := j.broken.Load(); broken != nil {
			err = broken
		}
	}()
	defer j.recoverDamage()()
	var own error
	err = begin(func(tx *bbolt.Tx) error {
		if own = j.present(tx.Size()); own == nil {
			own = fn(tx)
		}
		return own
	})
	switch {
	case err == nil || own != nil:
		return own
	case errors.Is(err, bbolterrors.ErrDatabaseNotOpen):
		return fmt.Errorf("%w: %s", ErrClosed, j.path)
	default:
		return fmt.Errorf("bboltjournal: %s: %w", j.path, err)
	}
}

func (j *Journal) view(ctx context.Context, fn func(entries *bbolt.Bucket) error) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	return j.transact(j.db.View, func(tx *bbolt.Tx) error { return fn(tx.Bucket(entriesBucket)) })
}

func (j *Journal) update(ctx context.Context, fn func(entries *bbolt.Bucket) error) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	select {
	case j.writing <- struct{}{}:
		defer func() { <-j.writing }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := j.transact(j.db.Update, func(tx *bbolt.Tx) error { return fn(tx.Bucket(entriesBucket)) }); err != nil {
		return err
	}
	return j.present(0) // it may have been removed during the write
}

func checkContext(ctx context.Context) error {
	if ctx == nil {
		return paramError("ctx", "", "want a context; use context.Background() if you have none")
	}
	return ctx.Err()
}

func (j *Journal) decode(key string, value []byte) (*journal.Entry, error) {
	entry, err := decodeEntry(key, value)
	if err != nil {
		return nil, &CorruptError{Path: j.path, Key: key, Err: err}
	}
	return entry, nil
}

// Get returns the entry with a key. Without such an entry it returns nil and a nil error.
func (j *Journal) Get(ctx context.Context, key string) (entry *journal.Entry, err error) {
	err = j.view(ctx, func(entries *bbolt.Bucket) (err error) {
		if value := entries.Get([]byte(key)); value != nil {
			entry, err = j.decode(key, value)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return entry, nil
}

// Put stores an entry and replaces an earlier one with the same key. When it returns nil, the entry is on the disk, in
// the file at the path. An entry that [journal.Entry.Validate] refuses, or that encodes to more than 16 MiB, is a
// [*letagentpay.ParamError], and the earlier one stays.
func (j *Journal) Put(ctx context.Context, entry *journal.Entry) error {
	if entry == nil {
		return paramError("Put entry", "", "want an entry, not nil")
	}
	value, err := encodeEntry(entry)
	if err != nil {
		return err
	}
	return j.update(ctx, func(entries *bbolt.Bucket) error { return entries.Put([]byte(entry.Key), value) })
}

// Delete removes the entry with a key, also a damaged one. Without such an entry it returns nil. When it returns nil,
// the change is on the disk.
func (j *Journal) Delete(ctx context.Context, key string) error {
	return j.update(ctx, func(entries *bbolt.Bucket) error { return entries.Delete([]byte(key)) })
}

// Entries returns all entries in the order of their keys. Entries may be put and deleted while the sequence is read: an
// entry that is stored throughout comes once, one that is added or deleted at most once. Entries are read ahead, in
// batches.
//
// A damaged entry is reported as a [*CorruptError] with its key, and the next entry follows. Any other error, such as a
// [*CorruptError] without a key, concerns the whole journal and ends the sequence.
func (j *Journal) Entries(ctx context.Context) iter.Seq2[*journal.Entry, error] {
	type found struct {
		key   string
		entry *journal.Entry
		err   error
	}
	return func(yield func(*journal.Entry, error) bool) {
		for after, more := "", true; more; {
			var batch []found
			failed := j.batch(ctx, after, func(key string, value []byte) {
				entry, err := j.decode(key, value)
				batch = append(batch, found{key, entry, err})
			})
			for _, next := range batch {
				if err := checkContext(ctx); err != nil {
					yield(nil, err)
					return
				}
				if !yield(next.entry, next.err) {
					return
				}
				after = next.key
			}
			if failed != nil {
				yield(nil, failed)
				return
			}
			more = len(batch) == batchSize
		}
	}
}

// batch calls fn for the next entries after a key, at most batchSize of them.
func (j *Journal) batch(ctx context.Context, after string, fn func(key string, value []byte)) error {
	return j.view(ctx, func(entries *bbolt.Bucket) error {
		cursor := entries.Cursor()
		key, value := cursor.Seek([]byte(after))
		if string(key) == after {
			key, value = cursor.Next()
		}
		for n := 0; key != nil && n < batchSize; n++ {
			if string(key) <= after { // damage since Open could make the cursor run in a circle
				return &CorruptError{Path: j.path, Err: fmt.Errorf("the key %q is out of order", key)}
			}
			after = string(key)
			fn(after, value)
			key, value = cursor.Next()
		}
		return nil
	})
}

// Prune removes the settled entries that were last changed before a time, and returns how many it removed. [Open] does
// so with the retention; a process that runs for weeks may call it from time to time. A time within the last 24 hours
// is refused with a [*letagentpay.ParamError], for the reason given at [WithRetention].
//
// Damaged entries stay. The first of them is reported as a [*CorruptError] after the others have been removed.
func (j *Journal) Prune(ctx context.Context, before time.Time) (pruned int, err error) {
	if latest := time.Now().Add(-keyLifetime); before.After(latest) {
		reason := "want a time at least " + keyLifetime.String() + " ago" + forKeys
		return 0, paramError("Prune before", before.Format(time.RFC3339), reason)
	}
	var damaged error
	old := func(key string, value []byte) bool {
		entry, err := j.decode(key, value)
		if err != nil && damaged == nil {
			damaged = err
		}
		return err == nil && entry.State == journal.Settled && entry.UpdatedAt.Before(before)
	}
	for after, more := "", true; more; {
		var keys []string
		seen := 0
		if err := j.batch(ctx, after, func(key string, value []byte) {
			seen++
			after = key
			if old(key, value) {
				keys = append(keys, key)
			}
		}); err != nil {
			return pruned, err
		}
		more = seen == batchSize
		if len(keys) == 0 {
			continue
		}
		removed := 0
		if err := j.update(ctx, func(entries *bbolt.Bucket) error {
			for _, key := range keys {
				if value := entries.Get([]byte(key)); value == nil || !old(key, value) {
					continue // it has changed since
				}
				if err := entries.Delete([]byte(key)); err != nil {
					return err
				}
				removed++
			}
			return nil
		}); err != nil {
			return pruned, err
		}
		pruned += removed
	}
	return pruned, damaged
}
