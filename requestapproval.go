package letagentpay

import (
	"context"
	"errors"
	"slices"

	"github.com/letagentpay/letagentpay-go/journal"
)

// requestApproval makes the purchase, unless a request is resumed, and takes hold of the request.
func (auth *authorization) requestApproval(ctx context.Context, scoped *scopedPurchase) (earlier *journal.Entry, err error) {
	if err := auth.checkNotNested(ctx); err != nil {
		return nil, err
	}
	if auth.resumed {
		return auth.lookUpNamed(ctx)
	}
	auth.record.setPurchase(auth.client, "key", auth.params.IdempotencyKey, &auth.params, auth.config.function)
	if auth.callerKey {
		if err := auth.holdKey(ctx); err != nil {
			return nil, err
		}
		if earlier, err := auth.lookUpKey(ctx, scoped); err != nil || earlier != nil {
			return earlier, err
		}
	} // else nobody can have asked under the key before, as if there were no requests
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

// rememberAnswer notes the request before anybody else can take it for a stray one. Under a random key it is this process's,
// unless the process knows it; under another key it is if it came after the baseline, which only a read shows.
func (auth *authorization) rememberAnswer(purchase *Purchase) {
	if purchase.Status == StatusRejected {
		return
	}
	if auth.known = auth.client.progress(purchase.RequestID) != unknownHere; auth.known {
		return
	}
	asked := &askedRequest{content: purchase.content(&auth.params), name: auth.params.Category}
	if auth.callerKey {
		since := auth.baseline
		asked.since = &since
	}
	auth.client.process.rememberAsked(auth.client.requestKey(purchase.RequestID), asked)
}

// recordAnswer puts into the record what the answer says, and which of the requests that an earlier call found, without
// knowing which was the purchase, are not. The journal learns of them before the caller does, so that the purchase is not
// continued under one of them.
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
		auth.client.process.rememberDuplicate(auth.client.requestKey(id), countedRequest{auth.purchase.RequestID, auth.params.IdempotencyKey})
	}
	entry.RequestID = auth.purchase.RequestID
	if auth.record.put(context.WithoutCancel(ctx), journal.Requested) != nil {
		entry.RequestID = "" // wait and start write it again, and fail if they cannot
	}
}

// isOver reports whether a request that was found earlier has run since, resumed by its id, or has no money booked any
// more. Then it is no duplicate to be given back.
func (auth *authorization) isOver(ctx context.Context, requestID string) bool {
	switch auth.client.progress(requestID) {
	case startedHere, finishedHere:
		return true
	}
	if found, err := auth.client.entriesOfRequest(ctx, auth.config.journal, requestID, auth.record.entry.Key); err != nil || found.entry != nil {
		return true
	}
	state, err := auth.client.Request(ctx, requestID)
	return err == nil && state.Status.Final()
}

// rememberRequest notes that this process has asked for the request, and has surely not started it.
func (auth *authorization) rememberRequest() {
	auth.client.process.rememberAsked(auth.client.requestKey(auth.requestID), &askedRequest{content: auth.purchase.content(&auth.params), name: auth.params.Category})
}

// dropIfRefused forgets the journal's entry of a purchase that certainly was not accepted.
func (auth *authorization) dropIfRefused(ctx context.Context, err error) error {
	if unknown, ok := errors.AsType[*OutcomeUnknownError](err); ok || auth.askedBefore {
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

// dropIfFinal drops the journal's entry of a purchase about which err is the last word.
func (auth *authorization) dropIfFinal(ctx context.Context, err error) error {
	_, mismatch := errors.AsType[*MismatchError](err) // the entry is of this call, and the key another purchase's
	if err == nil || auth.resumed || !isFinal(err) && (!mismatch || auth.askedBefore) {
		return err
	}
	if len(auth.record.entry.Duplicates) > 0 {
		return err // Recover reports them until their money is back
	}
	dropErr := auth.record.drop(context.WithoutCancel(ctx))
	if reason, ok := errors.AsType[*errMovesOn](err); ok {
		return &errMovesOn{reason.ended, withCleanup(reason.err, dropErr)}
	}
	return withCleanup(err, dropErr)
}

// checkNotStarted refuses what this process has started and the service does not know to have ended.
func (auth *authorization) checkNotStarted() error {
	if auth.client.progress(auth.requestID) != startedHere {
		return nil
	}
	return auth.mayHaveRun(auth.approvedRequest(), reasonUnconfirmed)
}

// checkNotFinished refuses what this process has confirmed, should a read be so old that it does not show it.
func (auth *authorization) checkNotFinished(state *Request) error {
	if auth.client.progress(auth.requestID) != finishedHere || state.Status.Final() {
		return nil
	}
	return auth.mayHaveRun(state, reasonConfirmed)
}
