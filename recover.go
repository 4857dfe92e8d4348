package letagentpay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/letagentpay/letagentpay-go/journal"
)

// Interrupted is a guarded purchase that needs a decision after a crash: its function is not known to have returned, or
// returned an error that can hide a payment, or it has a duplicate.
type Interrupted struct {
	// Entry is the journal's entry of the purchase.
	Entry *journal.Entry
	// Request is the request as the service shows it. It is nil if no answer to the purchase arrived: then there may be
	// no request.
	Request *Request
	// MayHaveRun reports whether the function was started. Otherwise it has not run.
	MayHaveRun bool
	// Duplicate reports that Request seems to be a duplicate of the purchase: nothing of this process and this journal
	// runs under it. It was found by content and creation time, so when other processes use the agent, it may be an
	// identical purchase of theirs; see [DuplicateError].
	Duplicate bool
}

// Params returns the purchase of the entry with its idempotency key. A guarded call that describes it continues the
// purchase. It is zero without an Entry.
func (i Interrupted) Params() PurchaseParams {
	if i.Entry == nil {
		return PurchaseParams{}
	}
	return purchaseOfEntry(i.Entry)
}

// Recover brings a journal and the service together after a crash. Call it once at start, before guarded calls. It
// confirms the purchases whose function has returned, and returns those that need a decision:
//
//   - With MayHaveRun, the function may have paid. Look into your own books first; then confirm the purchase with
//     [Client.Confirm], or run it with [ResumeApproval].
//   - A Duplicate holds money when it is approved. Make sure that no other process of the agent runs under it; then
//     refund it with [Client.Confirm] and a zero [ConfirmParams].
//   - Otherwise the function has not run. A guarded call for Params continues the purchase.
//
// Recover may take a minute: when a failure confirmation may have been sent less than a minute ago, the service may
// still handle it, so Recover waits, unless the request shows the outcome. An entry whose request is rejected, expired,
// completed or failed needs no decision and is dropped.
//
// Entries of calls under way in this process are left to those calls. Entries of another token of the same service are
// handled if the service shows their requests to this agent, as it does after the token was rotated; continue them with
// [ResumeApproval], because idempotency keys belong to a token. Entries of another address stay as they are; those that
// have returned and are not confirmed are reported to the client's logger, or to [slog.Default].
//
// The error joins what could not be confirmed or read. Those entries stay, another Recover tries again, and the other
// entries are handled all the same.
func (c *Client) Recover(ctx context.Context, store journal.Store) ([]Interrupted, error) {
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	if store == nil {
		return nil, paramError("store", "", "want a journal, not nil")
	}
	r := &recovery{client: c, journal: store}
	var open []*journal.Entry
	if err := eachEntry(ctx, store, entriesLimit, func(entry *journal.Entry) {
		if entry.Unclear {
			r.unclear = true
		}
		if entry.State != journal.Settled || len(entry.Duplicates) > 0 || entry.Unclear {
			open = append(open, entry)
		}
	}); err != nil {
		r.fail(&JournalError{Op: "entries", Err: err})
	}
	r.readList(ctx)
	for _, entry := range open {
		r.handleEntry(ctx, entry)
	}
	return r.interrupted, errors.Join(r.errs...)
}

// recovery is one call of Recover.
type recovery struct {
	client       *Client
	journal      journal.Store
	unclear      bool                // there are entries of purchases that may have duplicates
	listed       []Request           // the requests that such duplicates are among
	journaled    map[string]struct{} // ids of listed requests that the journal has entries of
	unidentified []content           // purchases whose request is not known
	interrupted  []Interrupted
	errs         []error
}

func (r *recovery) fail(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// handleEntry handles one entry, unless a call of this process uses it now.
func (r *recovery) handleEntry(ctx context.Context, entry *journal.Entry) {
	for _, key := range r.client.locksOf(entry) {
		held := r.client.process.locks.TryLock(key)
		if held == nil {
			return
		}
		defer held.Release()
	}
	read := &record{journal: r.journal, entry: journal.Entry{Key: entry.Key}}
	switch now, err := read.find(ctx); { // a call may have written it since it was listed
	case err != nil: // use it as it was listed
	case now == nil:
		return
	default:
		entry = now
	}
	var request *Request
	if !r.client.owns(entry) {
		if request = r.adopted(ctx, entry); request == nil {
			return
		}
	}
	record := &record{journal: r.journal, process: r.client.process, entry: *entry}
	if entry.Unclear && entry.RequestID != "" {
		r.findDuplicates(ctx, record)
	}
	if len(record.entry.Duplicates) > 0 {
		r.handleDuplicates(ctx, record)
	}
	switch {
	case entry.State == journal.Returned:
		r.fail(r.client.confirmRecorded(ctx, record))
	case entry.State != journal.Settled:
		r.handleInterrupted(ctx, record, request)
	}
}

// locksOf returns the locks that calls hold when they write an entry.
func (c *Client) locksOf(entry *journal.Entry) []lockKey {
	var locks []lockKey
	if key := c.keyOf(entry); key != "" {
		locks = append(locks, lockKey{c.identity, keyLock, key})
	}
	if entry.RequestID != "" {
		locks = append(locks, lockKey{c.service, runLock, canonicalID(entry.RequestID)})
	}
	return locks
}

// adopted returns the state of the request of an entry that was written under another token, if the service shows it to
// this one.
func (r *recovery) adopted(ctx context.Context, entry *journal.Entry) *Request {
	if !r.client.sameService(entry) {
		if entry.State == journal.Returned {
			r.client.alert(ctx, "letagentpay.unconfirmed_elsewhere", slog.String("request_id", entry.RequestID),
				slog.String("address", entry.Service))
		}
		return nil
	}
	if entry.RequestID == "" {
		return nil
	}
	request, err := r.client.Request(ctx, entry.RequestID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		r.fail(fmt.Errorf("%w (purchase %s of another token)", err, entry.RequestID))
	}
	return request
}

// handleInterrupted handles an entry whose function is not known to have returned.
func (r *recovery) handleInterrupted(ctx context.Context, record *record, request *Request) {
	entry := record.entry
	found := Interrupted{Entry: &entry, MayHaveRun: entry.State == journal.Started, Request: request}
	if entry.RequestID != "" && request == nil {
		var err error
		if found.Request, err = r.client.Request(ctx, entry.RequestID); err != nil {
			r.fail(fmt.Errorf("%w (interrupted purchase %s)", err, entry.RequestID))
			return
		}
	}
	if found.Request != nil && found.Request.Status.Final() {
		if len(record.entry.Duplicates) == 0 { // duplicates are reported until they are refunded
			r.fail(record.drop(ctx))
		}
		return
	}
	r.interrupted = append(r.interrupted, found)
}

// duplicateSpan is how far a duplicate's creation may lie from that of the request that counts.
const duplicateSpan = 5 * time.Minute

// readList reads the newest requests if there may be duplicates among them, and which of them the journal has.
func (r *recovery) readList(ctx context.Context) {
	if !r.unclear {
		return
	}
	for request, err := range r.client.Requests(ctx, ListParams{}) {
		if err != nil {
			r.fail(err)
			return
		}
		if r.listed = append(r.listed, *request); len(r.listed) == maxListed {
			break
		}
	}
	ids := make(map[string]bool, len(r.listed))
	for i := range r.listed {
		ids[r.listed[i].RequestID] = true
	}
	r.journaled = make(map[string]struct{})
	_ = eachEntry(ctx, r.journal, entriesLimit, func(entry *journal.Entry) { // what cannot be read was reported before
		if id := canonicalID(entry.RequestID); ids[id] {
			r.journaled[id] = struct{}{}
		}
		if entry.RequestID == "" {
			r.unidentified = append(r.unidentified, contentOfEntry(entry))
		}
	})
}

// findDuplicates looks for duplicates of a purchase with unclear attempts: they may have been made after the call
// ended.
func (r *recovery) findDuplicates(ctx context.Context, record *record) {
	entry := &record.entry
	at := slices.IndexFunc(r.listed, func(request Request) bool {
		return request.RequestID == canonicalID(entry.RequestID)
	})
	if at < 0 {
		return
	}
	counts, content := &r.listed[at], contentOfEntry(entry)
	for _, other := range r.unidentified {
		if content.mismatch("", other) == nil {
			return // a request that is found may be that purchase
		}
	}
	before := len(entry.Duplicates)
	for i := range r.listed {
		other := &r.listed[i]
		_, journaled := r.journaled[other.RequestID]
		isKnown := i == at || journaled || slices.Contains(entry.Duplicates, other.RequestID)
		if !isKnown && r.client.mayBeDuplicate(other, content) &&
			other.CreatedAt.Sub(counts.CreatedAt).Abs() <= duplicateSpan {
			entry.Duplicates = append(entry.Duplicates, other.RequestID)
			r.client.alertDuplicate(ctx, other.RequestID, entry.RequestID, entry.IdempotencyKey)
		}
	}
	settled := entry.State == journal.Settled && time.Since(entry.UpdatedAt) > 2*duplicateSpan
	if settled {
		entry.Unclear = false // no more requests can be made
	}
	if len(entry.Duplicates) > before || settled {
		r.fail(record.put(ctx, entry.State))
	}
}

// handleDuplicates reports the duplicates of a purchase that hold money, and drops the others from the entry.
func (r *recovery) handleDuplicates(ctx context.Context, record *record) {
	var open []string
	for _, id := range record.entry.Duplicates {
		request, err := r.client.Request(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			r.fail(fmt.Errorf("%w (duplicate %s of purchase %s)", err, id, record.entry.RequestID))
		case request.Status.Final():
			continue
		default:
			entry := record.entry
			r.interrupted = append(r.interrupted, Interrupted{Entry: &entry, Request: request, Duplicate: true})
		}
		open = append(open, id)
	}
	if len(open) < len(record.entry.Duplicates) {
		record.entry.Duplicates = open
		r.fail(record.put(ctx, record.entry.State))
	}
}

// confirmRecorded confirms the outcome of an entry. An earlier confirmation may have taken effect.
func (c *Client) confirmRecorded(ctx context.Context, record *record) error {
	params := outcomeOfEntry(&record.entry)
	if err := c.awaitEarlierRefund(ctx, record); err != nil {
		return &UnconfirmedError{RequestID: record.entry.RequestID, Params: params, Err: err}
	}
	options := confirmOptions{mayHaveConfirmed: true, attemptLimit: attemptLimit}
	if !params.Success { // if this process ends, another one waits from then on
		options.beforeSend = func() error { return record.put(ctx, journal.Returned) }
	}
	if _, err := c.confirm(ctx, record.entry.RequestID, params, options); err != nil {
		return &UnconfirmedError{RequestID: record.entry.RequestID, Params: params, Err: err}
	}
	if err := record.put(ctx, journal.Settled); err != nil { // only the record is wrong
		c.alertJournal(ctx, record.entry.RequestID, err)
	}
	return nil
}

// awaitEarlierRefund waits until the service has handled a failure confirmation that another process may have sent.
func (c *Client) awaitEarlierRefund(ctx context.Context, record *record) error {
	remaining := min(time.Until(record.entry.UpdatedAt.Add(minRefundCooldown)), minRefundCooldown)
	if record.entry.Success || remaining <= 0 {
		return nil
	}
	request, err := c.Request(ctx, record.entry.RequestID)
	if err != nil {
		return err
	}
	if request.Status.Final() {
		return nil
	}
	if pauseWithin(ctx, remaining) != nil {
		return cmp.Or(ctx.Err(), errCoolingDown)
	}
	return nil
}
