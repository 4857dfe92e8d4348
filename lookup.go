package letagentpay

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/letagentpay/letagentpay-go/journal"
)

// lookUpKey finds out what is known of an own key before anything is asked under it.
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
		auth.baseline, auth.askedBefore = baseline{!entry.BaselineAt.IsZero(), entry.BaselineAt, entry.BaselineIDs}, entry.State == journal.Requested
		return auth.checkEarlierRun(ctx, entry)
	}
	auth.baseline, err = auth.client.currentBaseline(ctx)
	return nil, err
}

// lookUpRequest finds out whether a request that an earlier call had asked for was resumed by its id meanwhile,
// before the journal knew which request the key had led to.
func (auth *authorization) lookUpRequest(ctx context.Context) (earlier *journal.Entry, err error) {
	if auth.config.journal == nil || !auth.callerKey || !auth.askedBefore && !auth.known {
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
		auth.client.process.rememberStarted(auth.client.requestKey(auth.requestID)) // the key's own entry says so no more
		if dropErr := auth.record.drop(ctx); dropErr != nil {                       // the other entry is the one that counts
			return nil, dropErr
		}
	}
	return earlier, err
}

// lookUpResumed finds out what this process knows of a resumed request, and the journal, which has an entry of it if
// that is not nil.
func (auth *authorization) lookUpResumed(ctx context.Context, entry *journal.Entry) (earlier *journal.Entry, err error) {
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
	auth.record.entry.Function = auth.config.function // the one that runs, whichever has asked
	return nil, nil
}

// takeOverEntry takes over what an entry says of the requests that an earlier call under the key has made.
func (auth *authorization) takeOverEntry(entry *journal.Entry) {
	known := &auth.record.entry
	known.Found, known.Unclear, known.Duplicates = slices.Clone(entry.Found), entry.Unclear, slices.Clone(entry.Duplicates)
	if entry.RequestID == "" {
		return
	}
	known.Found = append(known.Found, entry.RequestID) // it is a stray one, should the key lead to another now
	if len(entry.Duplicates) > 0 {
		known.RequestID = entry.RequestID
	}
	for _, id := range entry.Duplicates {
		auth.client.process.rememberDuplicate(auth.client.requestKey(id), countedRequest{entry.RequestID, auth.params.IdempotencyKey})
	}
}

// checkEntry holds what the journal says was asked for against what the call describes.
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

// checkEarlierRun refuses what was started, and may have run, and returns the entry of what has run.
func (auth *authorization) checkEarlierRun(ctx context.Context, entry *journal.Entry) (earlier *journal.Entry, err error) {
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
			return nil, &errMovesOn{ended: true, err: handled}
		}
		return nil, handled
	default:
		return entry, nil
	}
}

// lookUpNamed takes hold of a request that the caller has named, and of the key that the journal says it was made under: calls
// under that key write the same entry.
func (auth *authorization) lookUpNamed(ctx context.Context) (earlier *journal.Entry, err error) {
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
			return auth.lookUpResumed(ctx, found.entry)
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

// checkNotDuplicate refuses a request that is known as a further one of a purchase, unless that itself has come to nothing. The
// journal says that it is a duplicate of the request named, if it is not empty.
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
	return auth.duplicateOf(state)
}

// duplicateOf is the error of a request beside another one that counts.
func (auth *authorization) duplicateOf(counts *Request) error {
	key := auth.params.IdempotencyKey
	handled := auth.handled(counts, reasonDuplicate)
	handled.MayHaveRun = !counts.Status.Final() && counts.Status != StatusPending
	return errors.Join(
		handled,
		&DuplicateError{RequestID: counts.RequestID, Duplicates: []string{auth.requestID}, IdempotencyKey: key},
	)
}
