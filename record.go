package letagentpay

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/letagentpay/letagentpay-go/journal"
)

// record is the journal's entry of one guarded purchase. Without a journal its methods do nothing. It is not safe for
// concurrent use.
type record struct {
	journal journal.Store
	process *process
	entry   journal.Entry
}

// setPurchase sets the key and the purchase of the record.
func (rec *record) setPurchase(c *Client, kind, name string, p *PurchaseParams, function string) {
	if rec.journal != nil {
		rec.entry.Key, rec.entry.Service, rec.entry.Agent = c.entryKey(kind, name), c.service, c.agent
		rec.entry.Function = function
		setPurchase(&rec.entry, p)
	}
}

// find returns the entry with the record's key, or nil.
func (rec *record) find(ctx context.Context) (*journal.Entry, error) {
	if rec.journal == nil {
		return nil, nil
	}
	entry, err := runContained(journalLimit, func() (*journal.Entry, error) {
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
	entry.BaselineIDs = slices.Clone(entry.BaselineIDs)
	entry.Found, entry.Duplicates = slices.Clone(entry.Found), slices.Clone(entry.Duplicates)
	if err := rec.write(func() error { return rec.journal.Put(ctx, &entry) }); err != nil {
		return rec.failure("put", state, err)
	}
	return nil
}

func (rec *record) drop(ctx context.Context) error {
	if rec.journal == nil {
		return nil
	}
	if err := rec.write(func() error { return rec.journal.Delete(ctx, rec.entry.Key) }); err != nil {
		return rec.failure("delete", "", err)
	}
	return nil
}

func (rec *record) failure(op string, state journal.State, err error) error {
	return &JournalError{
		Op:             op,
		State:          state,
		RequestID:      rec.entry.RequestID,
		IdempotencyKey: rec.entry.IdempotencyKey,
		Err:            err,
	}
}

// write makes one write, and waits for it for at most journalLimit. It starts after all earlier writes of the entry in
// this process, which may be slow: an earlier write that ends later would undo it.
func (rec *record) write(do func() error) error {
	before, ended := rec.process.writes.enqueue(rec.entry.Key)
	_, err := runContained(journalLimit, func() (struct{}, error) {
		defer ended()
		if before != nil {
			<-before
		}
		return struct{}{}, do()
	})
	return err
}

// entryWrites are the writes under way of each journal entry. The zero value is ready to use. It is safe for concurrent
// use.
type entryWrites struct {
	mu   sync.Mutex
	last map[string]chan struct{} // by the entry's key; closed when the write has ended
}

// enqueue puts a write after those under way. before is closed when the write may start, and nil when it may start now.
// The caller calls ended when the write has ended.
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

// requestRecords is what a journal shows of a request.
type requestRecords struct {
	entry       *journal.Entry // the request's own, with the latest state; nil: none
	foundUnder  *journal.Entry // of a purchase that the request may be; nil: none
	duplicateOf string         // the request that counts, if this one is its duplicate; empty: none
}

// entriesOfRequest returns what a journal shows of a request, except the entry with exceptKey. An entry that cannot be
// read may be of the request: unless another entry shows that it was started, that is an error.
func (c *Client) entriesOfRequest(
	ctx context.Context, store journal.Store, requestID, exceptKey string,
) (found requestRecords, err error) {
	if store == nil {
		return found, nil
	}
	err = eachEntry(ctx, store, searchLimit, func(entry *journal.Entry) {
		if !c.sameService(entry) {
			return
		}
		isOfRequest := canonicalID(entry.RequestID) == requestID && entry.Key != exceptKey
		if isOfRequest && (found.entry == nil || found.entry.State.Before(entry.State)) {
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
	maxUnreadable = 1000        // errors after which a journal counts as endless
	entriesLimit  = time.Hour   // how long a journal may take to list its entries in Recover
	searchLimit   = maxLockWait // the same in a guarded call
)

// eachEntry calls do for each entry of a journal. It skips entries that cannot be read or are invalid, and joins their
// errors. It ends when ctx ends, and after limit.
func eachEntry(ctx context.Context, store journal.Store, limit time.Duration, do func(*journal.Entry)) error {
	var mu sync.Mutex // a journal that takes too long may still call back later
	over := false
	_, err := runContainedWithin(ctx, limit, func() (struct{}, error) {
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
				over = len(unreadable) == maxUnreadable || ctx.Err() != nil
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
