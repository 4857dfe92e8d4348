package letagentpay

import (
	"context"
	"iter"
	"slices"
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

func (s JournalState) before(other JournalState) bool {
	order := []JournalState{JournalAsked, JournalStarted, JournalExecuted, JournalSettled}
	return slices.Index(order, s) < slices.Index(order, other)
}

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
