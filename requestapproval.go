package letagentpay

import (
	"context"
	"errors"
	"slices"

	"github.com/letagentpay/letagentpay-go/journal"
)

// requestApproval requests the purchase, unless a request is resumed, and locks the request. It returns an earlier run
// that the journal shows.
func (auth *authorization) requestApproval(
	ctx context.Context, scoped *scopedPurchase,
) (earlier *journal.Entry, err error) {
	if err := auth.checkNotNested(ctx); err != nil {
		return nil, err
	}
	if auth.resumed {
		return auth.lookUpResumed(ctx)
	}
	auth.record.setPurchase(auth.client, "key", auth.params.IdempotencyKey, &auth.params, auth.config.function)
	if auth.callerKey {
		if err := auth.holdKey(ctx); err != nil {
			return nil, err
		}
		if earlier, err := auth.lookUpKey(ctx, scoped); err != nil || earlier != nil {
			return earlier, err
		}
	} // a random key is new, so the zero baseline holds
	auth.record.entry.BaselineAt, auth.record.entry.BaselineIDs = auth.baseline.createdAt, auth.baseline.ids
	if err := auth.record.put(ctx, journal.Requested); err != nil {
		return nil, err
	}
	auth.purchase, err = auth.client.post(ctx, &auth.params, postParams{
		since:     auth.baseline,
		freshKey:  !auth.callerKey,
		lockLimit: auth.config.lockWait(),
		answered:  auth.rememberAnswer,
	})
	if err != nil {
		return nil, auth.dropIfRefused(ctx, err)
	}
	auth.recordAnswer(ctx)
	scoped.answered(auth.purchase.Category, auth.purchase.OriginalCategory)
	auth.requestID = auth.purchase.RequestID
	if err := auth.holdRequest(ctx); err != nil {
		return nil, auth.dropIfFinal(ctx, err)
	}
	return auth.lookUpRequest(ctx)
}

// rememberAnswer remembers the request before another call can take it for a duplicate. Under a random key it is this
// process's, unless the process knew it before. Under another key it is this process's if it was created after the
// baseline, which only a read shows.
func (auth *authorization) rememberAnswer(purchase *Purchase) {
	if purchase.Status == StatusRejected {
		return
	}
	if auth.known = auth.client.progress(purchase.RequestID) != unknownHere; auth.known {
		return
	}
	asked := &requestedPurchase{content: purchase.content(&auth.params), name: auth.params.Category}
	if auth.callerKey {
		since := auth.baseline
		asked.since = &since
	}
	auth.client.process.rememberRequested(auth.client.requestKey(purchase.RequestID), asked)
}

// recordAnswer puts the answer into the record. The requests that an earlier call found and that are not the purchase
// are its duplicates. They are written to the journal before the caller sees them, so that no call continues the
// purchase under one of them.
func (auth *authorization) recordAnswer(ctx context.Context) {
	entry := &auth.record.entry
	known := len(entry.Duplicates)
	for _, id := range entry.Found {
		if id != auth.purchase.RequestID && !slices.Contains(auth.purchase.Duplicates, id) && !auth.isOver(ctx, id) {
			auth.purchase.Duplicates = append(auth.purchase.Duplicates, id)
		}
	}
	for _, id := range entry.Duplicates {
		if id != auth.purchase.RequestID && !slices.Contains(auth.purchase.Duplicates, id) {
			auth.purchase.Duplicates = append(auth.purchase.Duplicates, id)
		}
	}
	entry.ResolvedCurrency, entry.ResolvedCategory = auth.purchase.Currency, auth.purchase.Category
	entry.Duplicates, entry.Found = auth.purchase.Duplicates, nil
	entry.Unclear = entry.Unclear || auth.purchase.posting != nil
	if len(entry.Duplicates) == known && (known == 0 || entry.RequestID == auth.purchase.RequestID) {
		return
	}
	for _, id := range entry.Duplicates {
		counts := countedRequest{auth.purchase.RequestID, auth.params.IdempotencyKey}
		auth.client.process.rememberDuplicate(auth.client.requestKey(id), counts)
	}
	entry.RequestID = auth.purchase.RequestID
	if auth.record.put(context.WithoutCancel(ctx), journal.Requested) != nil {
		entry.RequestID = "" // awaitDecision and start write it again, and fail if they cannot
	}
}

// isOver reports whether a request that an earlier call found is not a duplicate to refund: it was resumed by its id
// and has run, or it has no money booked.
func (auth *authorization) isOver(ctx context.Context, requestID string) bool {
	switch auth.client.progress(requestID) {
	case startedHere, finishedHere:
		return true
	}
	found, err := auth.client.entriesOfRequest(ctx, auth.config.journal, requestID, auth.record.entry.Key)
	if err != nil || found.entry != nil {
		return true
	}
	state, err := auth.client.Request(ctx, requestID)
	return err == nil && state.Status.Final()
}

// rememberOurs remembers that this process has requested the purchase and not started it.
func (auth *authorization) rememberOurs() {
	ours := &requestedPurchase{content: auth.purchase.content(&auth.params), name: auth.params.Category}
	auth.client.process.rememberRequested(auth.client.requestKey(auth.requestID), ours)
}

// dropIfRefused handles the journal's entry after a purchase that failed. An entry is kept if the outcome is unknown,
// with the requests that may be the purchase, and if an earlier call wrote it. Otherwise nothing was made, and it is
// dropped.
func (auth *authorization) dropIfRefused(ctx context.Context, err error) error {
	if unknown, ok := errors.AsType[*OutcomeUnknownError](err); ok || auth.requestedBefore {
		if ok && unknown.alone && len(unknown.Found) > 0 {
			for _, id := range unknown.Found {
				if !slices.Contains(auth.record.entry.Found, id) {
					auth.record.entry.Found = append(auth.record.entry.Found, id)
				}
			}
			auth.record.entry.Unclear = true
			return withCleanup(err, auth.record.put(context.WithoutCancel(ctx), journal.Requested))
		}
		return err
	}
	return withCleanup(err, auth.record.drop(context.WithoutCancel(ctx)))
}

// shouldDropEntry reports whether the journal need not keep the record of a call that ended with err:
//
//	err                       entry of this call  of an earlier call  of a resumed request  with duplicates
//	nil: approved             keep                keep                keep                  keep
//	final, see isFinal        drop                drop                keep                  keep
//	*MismatchError            drop                keep                keep                  keep
//	any other                 keep                keep                keep                  keep
//
// After a mismatch, this call wrote the entry and the key belongs to another purchase. Recover reports duplicates until
// they are refunded.
func (auth *authorization) shouldDropEntry(err error) bool {
	if err == nil || auth.resumed || len(auth.record.entry.Duplicates) > 0 {
		return false
	}
	_, mismatch := errors.AsType[*MismatchError](err)
	return isFinal(err) || mismatch && !auth.requestedBefore
}

// dropIfFinal drops the entry if shouldDropEntry reports that, which it returns.
func (auth *authorization) dropIfFinal(ctx context.Context, err error) error {
	if !auth.shouldDropEntry(err) {
		return err
	}
	dropErr := auth.record.drop(context.WithoutCancel(ctx))
	if reason, ok := errors.AsType[*nextKeyError](err); ok {
		return &nextKeyError{reason.ended, withCleanup(reason.err, dropErr)}
	}
	return withCleanup(err, dropErr)
}
