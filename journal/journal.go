// Package journal defines what a guarded purchase leaves behind for the next process: an [Entry] with its [State], and
// the [Store] that keeps entries. The module journal/bboltjournal is a Store in a file.
//
// An application opens a Store and passes it to letagentpay.WithJournal and Client.Recover. It reads entries where
// Recover reports an interrupted purchase. Only an application with a database of its own implements Store.
package journal

import (
	"context"
	"iter"
)

// Store keeps the journal's entries. Money depends on three things that it promises:
//
//   - Durability: what Put and Delete did before they returned nil survives a crash of the process and of the machine.
//     A Put that fails, or that a crash interrupts, leaves either the earlier entry or the new one, never a mixture.
//   - Consistency: a Get or Entries that begins after a Put or Delete has returned sees its effect.
//   - Fidelity: an entry is returned as it was put, with every field. An entry that cannot be read is an error, never
//     an entry with zero fields and never an absent one: a lost outcome would refund a purchase that was paid. The
//     client checks what it reads with [Entry.Validate], which cannot notice every loss, and treats what is not valid
//     as an entry that cannot be read.
//
// A Store is safe for concurrent use. Calls for one key come one after another within a process, except that Get and
// Entries may overlap a write. Use one Store per process: Put replaces any earlier entry, so two processes
// that share entries could both run one purchase.
//
// A call waits at most 5 seconds for Get, Put and Delete, 30 seconds for Entries, and an hour for Entries in Recover.
// Put and Delete can outlast that: they keep running, and later writes of the same key wait for them. Put and Delete
// may get a context that is never cancelled, because an outcome must be recorded even after the caller has left.
//
// Keys and entries are not secret, but results and texts in them can be: keep the Store as private as the application's
// own data. A Store may drop entries in [Settled] that were last updated more than 24 hours ago, for which the service
// remembers idempotency keys. An entry in any other state stays until it is deleted.
type Store interface {
	// Get returns the entry with a key. Without such an entry it returns nil and a nil error.
	//
	// It is called before a purchase under the caller's or a scope's idempotency key is requested, and by Recover.
	Get(ctx context.Context, key string) (*Entry, error)

	// Put stores an entry and replaces an earlier one with the same key. It keeps neither the pointer nor the slices.
	//
	// It is called with an entry in [Requested] before the purchase is requested, in [Started] before the function
	// runs, in [Returned] before the outcome is confirmed and in [Settled] afterwards. It may be called more than once
	// for a state. If a Put before the function fails, the function does not run.
	Put(ctx context.Context, entry *Entry) error

	// Delete removes the entry with a key. Without such an entry it returns nil.
	//
	// It is called when a purchase ended before the function ran, for example because it was rejected.
	Delete(ctx context.Context, key string) error

	// Entries returns all entries, in any order. Entries may be put and deleted while the sequence is read: an entry
	// that is stored throughout comes once, one that is added or deleted at most once.
	//
	// An error with a nil entry concerns either one entry, after which others may follow, or the whole journal, and
	// then it is the last. After 1000 errors the sequence is not read further.
	//
	// It is called by Recover, and when a request is resumed by its id or requested again under its key.
	Entries(ctx context.Context) iter.Seq2[*Entry, error]
}
