package letagentpay

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// Journal remembers guarded purchases across crashes; see [WithJournal]. The module journal/bboltjournal keeps one in a
// file. Implementations must be safe for concurrent use, and what Put and Delete have done when they return without an
// error must survive a crash.
type Journal interface {
	// Get returns the entry with a key, or nil without an error when there is none.
	Get(ctx context.Context, key string) (*JournalEntry, error)
	// Put stores an entry in place of an earlier one with the same key. It does not keep the pointer.
	Put(ctx context.Context, entry *JournalEntry) error
	// Delete forgets the entry with a key; forgetting what is not there is no error.
	Delete(ctx context.Context, key string) error
	// Entries goes through all entries, in any order. Entries may be put and deleted meanwhile. An error with a nil entry
	// is about one entry, after which others may follow, or about the journal, and then it is the last.
	Entries(ctx context.Context) iter.Seq2[*JournalEntry, error]
}

// JournalState is how far a guarded purchase has come.
type JournalState string

// The states of a journal entry, in their order.
const (
	// JournalAsked: the purchase is about to be asked for, or awaits approval. The function has not run.
	JournalAsked JournalState = "asked"
	// JournalStarted: the purchase is approved, and the function is about to run, or runs.
	JournalStarted JournalState = "started"
	// JournalExecuted: the function has returned, or will not run because the approval is being given back, and the
	// confirmation is about to be sent.
	JournalExecuted JournalState = "executed"
	// JournalSettled: the purchase is confirmed.
	JournalSettled JournalState = "settled"
)

// JournalEntry is what a [Journal] holds about one guarded purchase. It encodes to JSON and back without loss.
type JournalEntry struct {
	Key       string         // the entry's, of service, agent and idempotency key
	State     JournalState   //
	Purchase  PurchaseParams // what was asked for, with the idempotency key it was asked under
	RequestID string         // once it is known
	Category  string         // as the service resolved it, once it is known
	Confirm   ConfirmParams  // from JournalExecuted on: how it ended
	Result    []byte         // from JournalExecuted on: what the function returned, encoded; nil when it could not be kept
	Error     string         // from JournalExecuted on: the text of the function's error, or why it did not run; empty: it succeeded. In JournalStarted: an error that can hide a payment
	UpdatedAt time.Time      //

	// NewestAt is when the agent's newest request was created, and NewestIDs are all of that instant, before the key was
	// first asked under; zero if there was none. What came into being since is this purchase's, what is older is not.
	NewestAt  time.Time
	NewestIDs []string

	Currency string `json:",omitempty"` // as the service resolved it, once it is known
	Function string `json:",omitempty"` // the name of the guarded function and the type of its results
	// Unclear: an attempt at the purchase may have made a request without an answer. Found are the ids of requests that
	// may be the purchase, as long as RequestID is not known; see [OutcomeUnknownError]. Duplicates are those of further
	// requests of the purchase; see [DuplicateError].
	Unclear    bool     `json:",omitempty"`
	Found      []string `json:",omitempty"`
	Duplicates []string `json:",omitempty"`
}

// maxJournalResult is how much of a function's result a journal keeps.
const maxJournalResult = 64 << 10

// ResultCodec turns the results of guarded functions into bytes and back, for the journal.
type ResultCodec interface {
	Encode(result any) ([]byte, error)
	Decode(data []byte, result any) error // result is a pointer
}

type jsonCodec struct{}

func (jsonCodec) Encode(result any) ([]byte, error)    { return json.Marshal(result) }
func (jsonCodec) Decode(data []byte, result any) error { return json.Unmarshal(data, result) }

// WithJournal keeps a record of each guarded purchase, written before the function runs and after it returns, so that a
// crash at any point leaves no doubt that the journal cannot settle:
//
//   - A call under an idempotency key whose function has returned before, in this process or an earlier one, gets that
//     run's result back, without an error and without a second run; if the function had failed, an
//     [*AlreadyHandledError] with the text of its error. Results are kept up to 64 KiB, as JSON unless [WithResultCodec]
//     says otherwise. A result that could not be kept, or would come back changed (JSON drops unexported fields), is an
//     [*AlreadyHandledError], too, and so is the result of another function than the one that is called now.
//   - A call whose function was started and never known to have returned is an [*AlreadyHandledError]: it may have run.
//   - A call that was asked for and never started is simply continued.
//
// Call [Client.Recover] once at start. When the journal cannot be written, the function does not run, an approval is given
// back, and the error is a [*JournalError]. A write of the journal has 5 seconds; after the function has run, the
// confirmation is sent whatever becomes of the journal.
//
// Several processes may share an agent's token, but each needs a journal of its own, and keys and scopes of its own: a
// call that was cut off while it asked takes the request that was made under its key since then for its own. For the same
// reason all guarded calls under one key or scope use the same journal.
func WithJournal(journal Journal) GuardOption {
	return func(g *guardConfig) error {
		if journal == nil {
			return paramError("WithJournal", "", "want a journal; leave the option out to keep none")
		}
		g.journal = journal
		return nil
	}
}

// WithResultCodec sets how the journal encodes what guarded functions return; the default is JSON.
func WithResultCodec(codec ResultCodec) GuardOption {
	return func(g *guardConfig) error {
		if codec == nil {
			return paramError("WithResultCodec", "", "want a codec; leave the option out for JSON")
		}
		g.codec = codec
		return nil
	}
}

// JournalError reports that the journal could not be read or written. Unless State is JournalExecuted or
// JournalSettled, the function did not run.
type JournalError struct {
	Op             string       // "get", "put", "delete" or "entries"
	State          JournalState // the state that was to be written
	RequestID      string       // once it is known
	IdempotencyKey string
	Err            error
}

func (e *JournalError) Error() string {
	text := "letagentpay: journal: " + e.Op
	if e.State != "" {
		text += " " + string(e.State)
	}
	if e.RequestID != "" {
		text += ", " + purchaseOf(e.RequestID)
	}
	return text + becauseOf(e.Err)
}

// Unwrap returns the journal's own error.
func (e *JournalError) Unwrap() error { return e.Err }

// record is the journal's entry of one guarded purchase; without a journal it does nothing. It is not safe for
// concurrent use.
type record struct {
	journal Journal
	process *process
	entry   JournalEntry
}

// describe says what the record is of. Entries of different kinds have different keys, whatever the names are.
func (r *record) describe(c *Client, kind, name string, p *PurchaseParams, function string) {
	if r.journal != nil {
		r.entry.Key, r.entry.Purchase, r.entry.Function = c.identity+kind+" "+name, *p, function
		r.entry.Purchase.Ref = "" // it is in the key, with which the purchase can be made again
	}
}

// find returns the entry with the record's key, nil if there is none.
func (r *record) find(ctx context.Context) (*JournalEntry, error) {
	if r.journal == nil {
		return nil, nil
	}
	entry, err := contained(journalLimit, func() (*JournalEntry, error) { return r.journal.Get(ctx, r.entry.Key) })
	if err != nil {
		return nil, &JournalError{Op: "get", IdempotencyKey: r.entry.Purchase.IdempotencyKey, Err: err}
	}
	return entry, nil
}

func (r *record) put(ctx context.Context, state JournalState) error {
	if r.journal == nil {
		return nil
	}
	r.entry.State, r.entry.UpdatedAt = state, time.Now().UTC()
	entry := r.entry
	entry.NewestIDs, entry.Found, entry.Duplicates = slices.Clone(entry.NewestIDs), slices.Clone(entry.Found), slices.Clone(entry.Duplicates)
	if err := r.write(func() error { return r.journal.Put(ctx, &entry) }); err != nil {
		return &JournalError{Op: "put", State: state, RequestID: entry.RequestID, IdempotencyKey: entry.Purchase.IdempotencyKey, Err: err}
	}
	return nil
}

func (r *record) drop(ctx context.Context) error {
	if r.journal == nil {
		return nil
	}
	if err := r.write(func() error { return r.journal.Delete(ctx, r.entry.Key) }); err != nil {
		return &JournalError{Op: "delete", RequestID: r.entry.RequestID, IdempotencyKey: r.entry.Purchase.IdempotencyKey, Err: err}
	}
	return nil
}

// write does one write and waits for it no longer than journalLimit. It begins after all earlier writes of the entry in
// this process, which may be slow: one that came late would undo what was written since.
func (r *record) write(do func() error) error {
	before, ended := r.process.writes.begin(r.entry.Key)
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

// begin puts a write after those under way. before is closed when it may begin, nil when that is now; ended must be called
// when it has ended.
func (w *entryWrites) begin(key string) (before <-chan struct{}, ended func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if earlier, ok := w.last[key]; ok {
		before = earlier
	}
	if w.last == nil {
		w.last = make(map[string]chan struct{})
	}
	own := make(chan struct{})
	w.last[key] = own
	return before, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		close(own)
		if w.last[key] == own {
			delete(w.last, key)
		}
	}
}

// keyOf returns the idempotency key that an entry is of, empty for none, a resumed request, and another token.
func (c *Client) keyOf(entry *JournalEntry) string {
	if entry == nil {
		return ""
	}
	key, ok := strings.CutPrefix(entry.Key, c.identity+"key ")
	if !ok {
		return ""
	}
	return key
}

// requestRecords are what a journal says of a request.
type requestRecords struct {
	entry       *JournalEntry // its own, that has come furthest; nil if there is none
	foundUnder  *JournalEntry // of a purchase that may have led to it; nil if there is none
	duplicateOf string        // the request that counts in its place; empty if there is none
}

// ofRequest finds what a journal says of a request, but for the entry with a key. An entry that cannot be read may be the
// one sought, so without another there is an error.
func (c *Client) ofRequest(ctx context.Context, journal Journal, requestID, but string) (found requestRecords, err error) {
	if journal == nil {
		return found, nil
	}
	err = eachEntry(ctx, journal, searchLimit, func(entry *JournalEntry) {
		if !c.sameService(entry) {
			return
		}
		if canonicalID(entry.RequestID) == requestID && entry.Key != but && (found.entry == nil || found.entry.State.before(entry.State)) {
			found.entry = entry
		}
		if slices.Contains(entry.Found, requestID) && (found.foundUnder == nil || entry.Key < found.foundUnder.Key) {
			found.foundUnder = entry
		}
		if slices.Contains(entry.Duplicates, requestID) {
			found.duplicateOf = canonicalID(entry.RequestID)
		}
	})
	if err != nil && (found.entry == nil || found.entry.State == JournalAsked) {
		return requestRecords{}, &JournalError{Op: "entries", RequestID: requestID, Err: err}
	}
	return found, nil
}

const (
	mostUnreadable = 1000         // errors of a journal after which it is taken to have no end
	entriesLimit   = time.Hour    // how long a journal may take for all of its entries in Recover
	searchLimit    = mostLockWait // and in a guarded call
)

// eachEntry calls do for a journal's entries, past those that cannot be read, whose errors it joins. It ends with ctx, and
// after limit.
func eachEntry(ctx context.Context, journal Journal, limit time.Duration, do func(*JournalEntry)) error {
	var mu sync.Mutex // a journal that takes too long is left alone, and may come back
	over := false
	_, err := containedWithin(ctx, limit, func() (struct{}, error) {
		var unreadable []error
		for entry, err := range journal.Entries(ctx) {
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

func (s JournalState) before(other JournalState) bool {
	order := []JournalState{JournalAsked, JournalStarted, JournalExecuted, JournalSettled}
	return slices.Index(order, s) < slices.Index(order, other)
}

// sameService reports whether an entry is of the client's service. Where a request's id is known, that is enough: it may
// have been written under an earlier token.
func (c *Client) sameService(entry *JournalEntry) bool {
	return strings.HasPrefix(entry.Key, c.service+" ")
}

func (c *Client) owns(entry *JournalEntry) bool { return strings.HasPrefix(entry.Key, c.identity) }
