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

// Interrupted is a guarded purchase that a crash has cut off before its function was known to have returned, or whose
// function failed in a way that can hide a payment, or a duplicate of a purchase.
type Interrupted struct {
	Entry *journal.Entry
	// Request is its state; nil when no answer to the purchase had arrived, so that it is not known whether there is
	// one.
	Request *Request
	// MayHaveRun: the function had been started. Otherwise it has surely not run.
	MayHaveRun bool
	// Duplicate: Request seems to be a further request of the entry's purchase, under which nothing of this process and
	// this journal runs. It was found by its content and time: where other processes use the agent, it may be an
	// identical purchase of theirs; see [DuplicateError].
	Duplicate bool
}

// Params returns what the entry says was requested, with its idempotency key: a guarded call that describes it
// continues the purchase.
func (i Interrupted) Params() PurchaseParams {
	if i.Entry == nil {
		return PurchaseParams{}
	}
	return purchaseOfEntry(i.Entry)
}

// Recover brings a journal and the service together after a crash. Call it once at start, before guarded calls.
//
// What has returned but is not confirmed is confirmed. For a failure whose confirmation may have been sent less than a
// minute ago, Recover waits until that minute is over, because the service may still be handling it, unless it shows
// that it was handled. What was cut off before is returned, for the caller to decide: without MayHaveRun, calling the
// guarded function again under Entry.IdempotencyKey continues it; with it, look into your own books, then run it with
// [ResumeApproval] or confirm it with [Client.Confirm]. An entry whose request turns out rejected, expired, completed
// or failed needs no decision and is forgotten. A Duplicate that is approved has money booked: once it is certain that
// no other process of the agent runs under it, give it back with [Client.Confirm] and a zero [ConfirmParams].
//
// Entries of another token of the same service are this agent's if the service shows their requests to it, as it does
// after the token was rotated; then they are dealt with like the others, but are to be continued with [ResumeApproval],
// because keys are kept by token. Entries of calls that are under way in this process are left to them. Entries of
// another address are left alone; those that have returned and are not confirmed are reported to the client's logger,
// or to [slog.Default].
//
// The error joins what could not be confirmed or read; the entries concerned stay, and another Recover tries again. One
// entry that cannot be read does not keep the others from being dealt with.
func (c *Client) Recover(ctx context.Context, store journal.Store) ([]Interrupted, error) {
	if ctx == nil {
		return nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
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
		r.entry(ctx, entry)
	}
	return r.interrupted, errors.Join(r.errs...)
}

// recovery is one call of Recover.
type recovery struct {
	client      *Client
	journal     journal.Store
	unclear     bool                // there are entries of purchases that may have duplicates
	listed      []Request           // the requests that such duplicates are among
	journaled   map[string]struct{} // ids of listed requests that the journal has entries of
	undecidedOf []content           // purchases of which it is not known which request they are
	interrupted []Interrupted
	errs        []error
}

func (r *recovery) fail(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// entry deals with one entry, unless a call of this process does so now.
func (r *recovery) entry(ctx context.Context, entry *journal.Entry) {
	for _, key := range r.client.locksOf(entry) {
		held := r.client.process.locks.TryLock(key)
		if held == nil {
			return
		}
		defer held.Release()
	}
	read := &record{journal: r.journal, entry: journal.Entry{Key: entry.Key}}
	switch now, err := read.find(ctx); { // a call may have written it since
	case err != nil: // as it was listed
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
		r.duplicates(ctx, record)
	}
	switch {
	case entry.State == journal.Returned:
		r.fail(r.client.confirmRecorded(ctx, record))
	case entry.State != journal.Settled:
		r.undecided(ctx, record, request)
	}
}

// locksOf returns what calls hold that write an entry.
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

// undecided is about an entry whose function was not known to have returned.
func (r *recovery) undecided(ctx context.Context, record *record, request *Request) {
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
		if len(record.entry.Duplicates) == 0 { // else they are reported until their money is back
			r.fail(record.drop(ctx))
		}
		return
	}
	r.interrupted = append(r.interrupted, found)
}

// duplicateSpan is how far a duplicate's creation may lie from that of the request that counts.
const duplicateSpan = 5 * time.Minute

// readList reads the newest requests, where there may be duplicates among them, and notes which the journal knows.
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
			r.undecidedOf = append(r.undecidedOf, contentOfEntry(entry))
		}
	})
}

// findDuplicates looks for further requests of a purchase whose attempts were unclear: they may have come after the
// call had ended.
func (r *recovery) findDuplicates(ctx context.Context, record *record) {
	entry := &record.entry
	at := slices.IndexFunc(r.listed, func(request Request) bool { return request.RequestID == canonicalID(entry.RequestID) })
	if at < 0 {
		return
	}
	counts, content := &r.listed[at], contentOfEntry(entry)
	for _, other := range r.undecidedOf {
		if content.mismatch("", other) == nil {
			return // what is found may be that one
		}
	}
	before := len(entry.Duplicates)
	for i := range r.listed {
		other := &r.listed[i]
		_, journaled := r.journaled[other.RequestID]
		if i != at && !journaled && r.client.progress(other.RequestID) == unknownHere && (other.Status.Approved() || !other.Status.Decided()) &&
			content.mismatch(other.RequestID, contentOfRequest(other)) == nil &&
			other.CreatedAt.Sub(counts.CreatedAt).Abs() <= duplicateSpan && !slices.Contains(entry.Duplicates, other.RequestID) {
			entry.Duplicates = append(entry.Duplicates, other.RequestID)
			r.client.alertDuplicate(ctx, other.RequestID, entry.RequestID, entry.IdempotencyKey)
		}
	}
	settled := entry.State == journal.Settled && time.Since(entry.UpdatedAt) > 2*duplicateSpan
	if settled {
		entry.Unclear = false // nothing comes any more
	}
	if len(entry.Duplicates) > before || settled {
		r.fail(record.put(ctx, entry.State))
	}
}

// duplicates reports the further requests of a purchase whose money is still booked, and forgets the others.
func (r *recovery) duplicates(ctx context.Context, record *record) {
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

// confirmRecorded reports to the service what a returned entry says; an earlier attempt may have got through.
func (c *Client) confirmRecorded(ctx context.Context, r *record) error {
	params := outcomeOfEntry(&r.entry)
	if err := c.awaitEarlierRefund(ctx, r); err != nil {
		return &UnconfirmedError{RequestID: r.entry.RequestID, Params: params, Err: err}
	}
	options := confirmOptions{mayHaveConfirmed: true, attemptLimit: attemptLimit}
	if !params.Success { // another process waits from then on, should this one end
		options.beforeSend = func() error { return r.put(ctx, journal.Returned) }
	}
	if _, err := c.confirm(ctx, r.entry.RequestID, params, options); err != nil {
		return &UnconfirmedError{RequestID: r.entry.RequestID, Params: params, Err: err}
	}
	if err := r.put(ctx, journal.Settled); err != nil { // all is well but for the record
		c.alertJournal(ctx, r.entry.RequestID, err)
	}
	return nil
}

// awaitEarlierRefund waits until a failure confirmation that another process may have sent is not handled any more.
func (c *Client) awaitEarlierRefund(ctx context.Context, r *record) error {
	rest := min(time.Until(r.entry.UpdatedAt.Add(leastCooldown)), leastCooldown)
	if r.entry.Success || rest <= 0 {
		return nil
	}
	request, err := c.Request(ctx, r.entry.RequestID)
	if err != nil {
		return err
	}
	if request.Status.Final() {
		return nil
	}
	if pauseWithin(ctx, rest) != nil {
		return cmp.Or(ctx.Err(), errCoolingDown)
	}
	return nil
}
