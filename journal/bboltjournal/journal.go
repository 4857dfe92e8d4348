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

// batchSize bounds the transactions that go through many entries.
const batchSize = 64

// Journal is a [journal.Store] in a file. Make one with [Open]. It is safe for concurrent use.
//
// Its methods return the error of a context that has ended, without doing anything; an error that matches [ErrClosed]
// after Close; a [*ReplacedError] when the file is no longer at its path; a [*CorruptError] for damage; a
// [*letagentpay.ParamError] for a value that makes no sense; and else the error of the file system.
//
// Writes come one after another. A context that ends while a write waits for others ends the wait, and nothing is
// written; a write that has begun is finished.
type Journal struct {
	path     string // as given to Open
	location string // the same, from the root
	db       *bbolt.DB
	file     *os.File    // the database's
	info     fs.FileInfo // which one it is
	closed   atomic.Bool
	broken   atomic.Pointer[CorruptError] // found on the way; nothing is done any more

	// writing holds a value while there is a write. Unlike bbolt's lock, it can be waited for with a context.
	writing chan struct{}
}

var _ journal.Store = (*Journal)(nil)

// Open opens the journal in the file at path, which is created if there is none; its folder must exist. It checks the
// whole file and removes the settled entries that are past their retention.
//
// A file that others may read or write is made its owner's alone (mode 0600), but not on Windows, which has no such
// modes. Symbolic links are followed, and the file they lead to is treated the same; one that leads nowhere makes the
// new file where it leads.
//
// The errors are those of the file system; a [*LockedError] when the file is open elsewhere; a [*CorruptError] or
// [*VersionError] for a file that cannot be used, and an [*UnsafeError] for one that belongs to another user or cannot
// be made its owner's alone, all of which leave what it holds as it is; a [*ReplacedError] when it is removed or
// replaced meanwhile; and a [*letagentpay.ParamError], also for what is no regular file.
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
		_ = j.Close() // the first error tells more
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
		Timeout:  max(lockTimeout, 1), // to bbolt, 0 is to wait forever
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

// prepare makes a new file a journal, and checks and upgrades an old one.
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
		if err := syncFolder(j.location); err != nil { // before it is a journal, so that it is made up for after a crash
			return err
		}
		if err := j.transact(j.db.Update, initialize); err != nil {
			return err
		}
	} else if found < version { // before the first entry that an older program would not understand
		if err := j.transact(j.db.Update, func(tx *bbolt.Tx) error { return putVersion(tx.Bucket(metaBucket)) }); err != nil {
			return err
		}
	}
	_, err := j.Prune(context.Background(), time.Now().Add(-retention))
	var corrupt *CorruptError
	if errors.As(err, &corrupt) && corrupt.Key != "" {
		return nil // whoever needs the entry learns of it
	}
	return err
}

// check reads the whole file, so that damage shows now and not during a purchase. It returns the version of the file's
// layout, 0 for an empty file.
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

// Close closes the file, after the calls under way. Closing again does nothing.
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

// abandon gives the file up where bbolt has panicked and may hold its own locks for ever.
func (j *Journal) abandon() {
	if j.file != nil {
		unlock(j.file)
		_ = j.file.Close()
	}
}

// recoverDamage returns what to defer around calls of bbolt: it turns the panics by which bbolt reports damage, and
// faults of the file's memory map, into j.broken.
func (j *Journal) recoverDamage() func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			j.broken.CompareAndSwap(nil, &CorruptError{Path: j.path, Err: fmt.Errorf("%v", r)})
		}
	}
}

// transact runs fn in a transaction, if the file is still at its path. An error of fn's own is returned as it is.
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
		return paramError("ctx", "", "want a context; use context.Background() where there is none")
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

// Get returns the entry with a key, or nil without an error when there is none.
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

// Put stores an entry in place of an earlier one with the same key. When it returns without an error, the entry is on
// the disk, in the file at the path. One that encodes to more than 16 MiB is a [*letagentpay.ParamError], and the
// earlier one stays.
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

// Delete forgets the entry with a key, a damaged one, too; forgetting what is not there is no error. When it returns
// without an error, that is on the disk.
func (j *Journal) Delete(ctx context.Context, key string) error {
	return j.update(ctx, func(entries *bbolt.Bucket) error { return entries.Delete([]byte(key)) })
}

// Entries goes through all entries in the order of their keys. Entries may be put and deleted meanwhile: what was there
// all the time comes once, what came or went meanwhile once or not at all. Entries are read in batches, a few ahead.
//
// In the place of a damaged entry comes a [*CorruptError] with its key, and the next entry after it. Any other error,
// such as a [*CorruptError] without a key, concerns the whole and is the last that comes.
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

// batch calls fn for the next entries after a key, batchSize of them if there are so many.
func (j *Journal) batch(ctx context.Context, after string, fn func(key string, value []byte)) error {
	return j.view(ctx, func(entries *bbolt.Bucket) error {
		cursor := entries.Cursor()
		key, value := cursor.Seek([]byte(after))
		if string(key) == after {
			key, value = cursor.Next()
		}
		for n := 0; key != nil && n < batchSize; n++ {
			if string(key) <= after { // or damage that came since Open could lead in a circle
				return &CorruptError{Path: j.path, Err: fmt.Errorf("the key %q is out of order", key)}
			}
			after = string(key)
			fn(after, value)
			key, value = cursor.Next()
		}
		return nil
	})
}

// Prune removes the settled entries that were last changed before a time, and returns how many. [Open] does so with the
// retention; a process that runs for weeks may call it now and then. A time within the last 24 hours is refused with a
// [*letagentpay.ParamError], for the reason given at [WithRetention].
//
// Damaged entries stay. The first of them is reported as a [*CorruptError] after the others have been dealt with.
func (j *Journal) Prune(ctx context.Context, before time.Time) (pruned int, err error) {
	if latest := time.Now().Add(-keyLifetime); before.After(latest) {
		return 0, paramError("Prune before", before.Format(time.RFC3339), "want a time at least "+keyLifetime.String()+" ago, for which the service remembers idempotency keys")
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
					continue // changed meanwhile
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
