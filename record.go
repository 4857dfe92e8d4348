package letagentpay

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/letagentpay/letagentpay-go/journal"
)

// record is the journal's entry of one guarded purchase; without a journal it does nothing. It is not safe for
// concurrent use.
type record struct {
	journal journal.Store
	process *process
	entry   journal.Entry
}

// setPurchase sets what the record is of.
func (rec *record) setPurchase(c *Client, kind, name string, p *PurchaseParams, function string) {
	if rec.journal != nil {
		rec.entry.Key, rec.entry.Service, rec.entry.Agent = c.entryKey(kind, name), c.service, c.agent
		rec.entry.Function = function
		setPurchase(&rec.entry, p)
	}
}

// find returns the entry with the record's key, nil if there is none.
func (rec *record) find(ctx context.Context) (*journal.Entry, error) {
	if rec.journal == nil {
		return nil, nil
	}
	entry, err := contained(journalLimit, func() (*journal.Entry, error) {
		entry, err := rec.journal.Get(ctx, rec.entry.Key)
		switch {
		case err != nil || entry == nil:
			return nil, err
		case entry.Key != rec.entry.Key:
			return nil, errors.New("it returned the entry of the key " + quoted(entry.Key, sampleText))
		}
		return entry, checkValid(entry)
	})
	if err != nil {
		return nil, &JournalError{Op: "get", IdempotencyKey: rec.entry.IdempotencyKey, Err: err}
	}
	return entry, nil
}

func (rec *record) put(ctx context.Context, state journal.State) error {
	if rec.journal == nil {
		return nil
	}
	rec.entry.Version, rec.entry.State, rec.entry.UpdatedAt = journal.Version, state, time.Now().UTC()
	entry := rec.entry
	entry.BaselineIDs, entry.Found, entry.Duplicates = slices.Clone(entry.BaselineIDs), slices.Clone(entry.Found), slices.Clone(entry.Duplicates)
	if err := rec.write(func() error { return rec.journal.Put(ctx, &entry) }); err != nil {
		return &JournalError{Op: "put", State: state, RequestID: entry.RequestID, IdempotencyKey: entry.IdempotencyKey, Err: err}
	}
	return nil
}

func (rec *record) drop(ctx context.Context) error {
	if rec.journal == nil {
		return nil
	}
	if err := rec.write(func() error { return rec.journal.Delete(ctx, rec.entry.Key) }); err != nil {
		return &JournalError{Op: "delete", RequestID: rec.entry.RequestID, IdempotencyKey: rec.entry.IdempotencyKey, Err: err}
	}
	return nil
}

// write does one write and waits for it no longer than journalLimit. It begins after all earlier writes of the entry in
// this process, which may be slow: one that came late would undo what was written since.
func (rec *record) write(do func() error) error {
	before, ended := rec.process.writes.enqueue(rec.entry.Key)
	_, err := contained(journalLimit, func() (struct{}, error) {
		defer ended()
		if before != nil {
			<-before
		}
		return struct{}{}, do()
	})
	return err
}

// entryWrites are the writes under way of each journal entry. The zero value is ready.
type entryWrites struct {
	mu   sync.Mutex
	last map[string]chan struct{} // by the entry's key; closed when the write has ended
}

// enqueue puts a write after those under way. before is closed when it may begin, nil when that is now; ended must be called
// when it has ended.
func (ew *entryWrites) enqueue(key string) (before <-chan struct{}, ended func()) {
	ew.mu.Lock()
	defer ew.mu.Unlock()
	if earlier, ok := ew.last[key]; ok {
		before = earlier
	}
	if ew.last == nil {
		ew.last = make(map[string]chan struct{})
	}
	own := make(chan struct{})
	ew.last[key] = own
	return before, func() {
		ew.mu.Lock()
		defer ew.mu.Unlock()
		close(own)
		if ew.last[key] == own {
			delete(ew.last, key)
		}
	}
}

// requestRecords are what a journal says of a request.
type requestRecords struct {
	entry       *journal.Entry // its own, that has come furthest; nil if there is none
	foundUnder  *journal.Entry // of a purchase that may have led to it; nil if there is none
	duplicateOf string         // the request that counts in its place; empty if there is none
}

// entriesOfRequest finds what a journal says of a request, but for the entry with a key. An entry that cannot be read may be the
// one sought, so without another there is an error.
func (c *Client) entriesOfRequest(ctx context.Context, store journal.Store, requestID, exceptKey string) (found requestRecords, err error) {
	if store == nil {
		return found, nil
	}
	err = eachEntry(ctx, store, searchLimit, func(entry *journal.Entry) {
		if !c.sameService(entry) {
			return
		}
		if canonicalID(entry.RequestID) == requestID && entry.Key != exceptKey && (found.entry == nil || found.entry.State.Before(entry.State)) {
			found.entry = entry
		}
		if slices.Contains(entry.Found, requestID) && (found.foundUnder == nil || entry.Key < found.foundUnder.Key) {
			found.foundUnder = entry
		}
		if slices.Contains(entry.Duplicates, requestID) {
			found.duplicateOf = canonicalID(entry.RequestID)
		}
	})
	if err != nil && (found.entry == nil || found.entry.State == journal.Requested) {
		return requestRecords{}, &JournalError{Op: "entries", RequestID: requestID, Err: err}
	}
	return found, nil
}

const (
	mostUnreadable = 1000         // errors of a journal after which it is taken to have no end
	entriesLimit   = time.Hour    // how long a journal may take for all of its entries in Recover
	searchLimit    = mostLockWait // and in a guarded call
)

// eachEntry calls do for a journal's entries. It passes over those that cannot be read or are not valid, and joins their
// errors. It ends with ctx, and after limit.
func eachEntry(ctx context.Context, store journal.Store, limit time.Duration, do func(*journal.Entry)) error {
	var mu sync.Mutex // a journal that takes too long is left alone, and may come back
	over := false
	_, err := containedWithin(ctx, limit, func() (struct{}, error) {
		var unreadable []error
		for entry, err := range store.Entries(ctx) {
			if err == nil && entry != nil {
				err = checkValid(entry)
			}
			mu.Lock()
			switch {
			case over:
			case err != nil:
				unreadable = append(unreadable, err)
				over = len(unreadable) == mostUnreadable || ctx.Err() != nil
			case entry != nil:
				do(entry)
			}
			ended := over
			mu.Unlock()
			if ended {
				break
			}
		}
		return struct{}{}, errors.Join(unreadable...)
	})
	mu.Lock()
	defer mu.Unlock()
	over = true
	return err
}
