package letagentpay

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/letagentpay/letagentpay-go/journal"
)

// lookUpKey looks the key of the caller or of the scope up in the journal, and takes the baseline if there is no entry.
// It returns an earlier run.
func (auth *authorization) lookUpKey(ctx context.Context, scoped *scopedPurchase) (earlier *journal.Entry, err error) {
	entry, err := auth.record.find(ctx)
	if err != nil {
		return nil, err
	}
	if entry != nil {
		if entry.ResolvedCategory != "" {
			scoped.answered(entry.ResolvedCategory, entry.Category)
		}
		if err := auth.checkEntry(ctx, entry); err != nil {
			return nil, err
		}
		auth.takeOverEntry(entry)
		auth.baseline, auth.requestedBefore = baseline{
			!entry.BaselineAt.IsZero(), entry.BaselineAt, entry.BaselineIDs,
		}, entry.State == journal.Requested
		return auth.checkEarlierRun(ctx, entry)
	}
	auth.baseline, err = auth.client.currentBaseline(ctx)
	return nil, err
}

// lookUpRequest looks for a run of this request under its id: it may have been resumed before the entry of the key
// named the request.
func (auth *authorization) lookUpRequest(ctx context.Context) (earlier *journal.Entry, err error) {
	if auth.config.journal == nil || !auth.callerKey || !auth.requestedBefore && !auth.known {
		return nil, nil
	}
	found, err := auth.client.entriesOfRequest(ctx, auth.config.journal, auth.requestID, auth.record.entry.Key)
	entry := found.entry
	if err != nil || entry == nil {
		return nil, err
	}
	if err := auth.checkEntry(ctx, entry); err != nil {
		return nil, auth.dropIfFinal(ctx, err)
	}
	if earlier, err = auth.checkEarlierRun(ctx, entry); err != nil || earlier != nil {
		// the key's own entry no longer shows it
		auth.client.process.rememberStarted(auth.client.requestKey(auth.requestID))
		if dropErr := auth.record.drop(ctx); dropErr != nil { // the other entry counts
			return nil, dropErr
		}
	}
	return earlier, err
}

// lookUpResumed looks up the request that the caller resumes. It locks the request, and the key under which the journal
// shows that it was made, because calls under that key write the same entry.
func (auth *authorization) lookUpResumed(ctx context.Context) (earlier *journal.Entry, err error) {
	auth.record.setPurchase(auth.client, "request", auth.requestID, &auth.params, auth.config.function)
	for {
		if err := auth.holdRequest(ctx); err != nil {
			return nil, err
		}
		found, err := auth.client.entriesOfRequest(ctx, auth.config.journal, auth.requestID, "")
		if err != nil {
			return nil, err
		}
		key := cmp.Or(auth.client.keyOf(found.entry), auth.client.keyOf(found.foundUnder))
		if key == auth.entryKey {
			if err := auth.checkNotDuplicate(ctx, found.duplicateOf); err != nil {
				return nil, err
			}
			return auth.checkResumed(ctx, found.entry)
		}
		auth.release()
		if auth.entryKey = key; key == "" {
			continue
		}
		if err := auth.checkNotNested(ctx); err != nil {
			return nil, err
		}
		if err := auth.holdKey(ctx); err != nil {
			return nil, err
		}
	}
}

// checkResumed judges a resumed request by this process's memory and by its entry of the journal, nil if there is none.
// It returns an earlier run, or takes over an entry of a run that may be continued.
func (auth *authorization) checkResumed(
	ctx context.Context, entry *journal.Entry,
) (earlier *journal.Entry, err error) {
	if entry == nil {
		return nil, auth.checkNotStarted()
	}
	if err := auth.checkEntry(ctx, entry); err != nil {
		return nil, err
	}
	if entry.State == journal.Returned || entry.State == journal.Settled {
		return entry, nil
	}
	if err := auth.checkNotStarted(); err != nil {
		return nil, err
	}
	auth.record.entry, auth.fromJournal = *entry, true
	auth.record.entry.Function = auth.config.function // the function that runs now
	return nil, nil
}

// takeOverEntry takes over what an entry shows of the requests that an earlier call under the key has made.
func (auth *authorization) takeOverEntry(entry *journal.Entry) {
	known := &auth.record.entry
	known.Found, known.Duplicates = slices.Clone(entry.Found), slices.Clone(entry.Duplicates)
	known.Unclear = entry.Unclear
	if entry.RequestID == "" {
		return
	}
	known.Found = append(known.Found, entry.RequestID) // a duplicate, if the key leads to another request now
	if len(entry.Duplicates) > 0 {
		known.RequestID = entry.RequestID
	}
	for _, id := range entry.Duplicates {
		auth.client.process.rememberDuplicate(auth.client.requestKey(id), countedRequest{
			entry.RequestID, auth.params.IdempotencyKey,
		})
	}
}

// checkEntry returns an error if the entry is of another purchase than the call describes.
func (auth *authorization) checkEntry(ctx context.Context, entry *journal.Entry) error {
	described, requested := contentOf(&auth.params), contentOfEntry(entry)
	if requested.currency == "" {
		requested.currency = entry.ResolvedCurrency
	}
	if err := described.mismatch(entry.RequestID, requested); err != nil {
		return err
	}
	if described.category == requested.category {
		return nil
	}
	return auth.checkCategory(ctx, cmp.Or(entry.ResolvedCategory, entry.Category), entry.Category)
}

// checkEarlierRun judges an entry by its state:
//
//	requested            nil: the purchase is continued
//	started              *AlreadyHandledError with MayHaveRun
//	returned, settled    the entry: its result is returned
func (auth *authorization) checkEarlierRun(
	ctx context.Context, entry *journal.Entry,
) (earlier *journal.Entry, err error) {
	switch entry.State {
	case journal.Requested:
		return nil, nil
	case journal.Started:
		request, err := auth.client.Request(ctx, entry.RequestID)
		if err != nil {
			return nil, err
		}
		handled := auth.mayHaveRun(request, reasonStarted)
		if entry.Error != "" {
			handled.Err = errors.New(entry.Error)
		}
		if request.Status == StatusFailed {
			return nil, &nextKeyError{ended: true, err: handled}
		}
		return nil, handled
	default:
		return entry, nil
	}
}

// checkNotDuplicate returns an error if the request is a known duplicate, unless the request that counts has come to
// nothing. of is that request, as the journal shows it; if it is empty, this process's memory decides.
func (auth *authorization) checkNotDuplicate(ctx context.Context, of string) error {
	if of == "" {
		of = auth.client.process.duplicateOf(auth.client.requestKey(auth.requestID))
	}
	if of == "" {
		return nil
	}
	state, err := auth.client.Request(ctx, of)
	if err != nil {
		return err
	}
	switch state.Status {
	case StatusFailed, StatusRejected, StatusExpired:
		return nil
	}
	return auth.duplicateError(state)
}

// duplicateError is the error of a request that duplicates another one, which counts.
func (auth *authorization) duplicateError(counts *Request) error {
	handled := auth.handled(counts, reasonDuplicate)
	handled.MayHaveRun = !counts.Status.Final() && counts.Status != StatusPending
	return errors.Join(handled, &DuplicateError{
		RequestID:      counts.RequestID,
		Duplicates:     []string{auth.requestID},
		IdempotencyKey: auth.params.IdempotencyKey,
	})
}
