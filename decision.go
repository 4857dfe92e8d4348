package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/operation"
)

// awaitApproval returns the resolved category once the request is approved and this call may run under it.
func (auth *authorization) awaitApproval(ctx context.Context) (category string, err error) {
	switch {
	case auth.resumed:
		return auth.awaitResumed(ctx)
	case auth.callerKey:
		return auth.awaitUnderCallerKey(ctx)
	default:
		return auth.awaitNew(ctx)
	}
}

// awaitNew is awaitApproval under a random key. The request is this call's, and the answer shows its state, unless this
// process knew the id before.
func (auth *authorization) awaitNew(ctx context.Context) (category string, err error) {
	state := &Request{RequestID: auth.requestID, Status: auth.purchase.Status, ExpiresAt: auth.purchase.ExpiresAt}
	if state.Status == StatusRejected {
		return "", auth.decisionError(state)
	}
	if auth.known || auth.client.progress(auth.requestID) != requestedHere {
		return "", auth.knownRequestError(ctx)
	}
	if !state.Status.Decided() {
		if state, err = auth.awaitDecision(ctx, state); err != nil {
			return "", err
		}
		if err := auth.checkMatch(ctx, state); err != nil {
			return "", err
		}
	}
	return auth.purchase.Category, auth.decisionError(state)
}

// knownRequestError is the error of a purchase under a random key that was answered with an earlier request.
func (auth *authorization) knownRequestError(ctx context.Context) error {
	if err := auth.checkNotStarted(); err != nil {
		return err
	}
	request, err := auth.client.Request(ctx, auth.requestID)
	if err != nil {
		return auth.outcomeUnknown(err)
	}
	return auth.handled(request, reasonOtherCall)
}

// awaitUnderCallerKey is awaitApproval under a key that may have been used before. The answer may repeat an earlier
// one, so only a read shows the state, and the request may be another call's:
//
//	the request                           while pending or approved   when final
//	is rejected, by the answer            *NotApprovedError           *NotApprovedError
//	this process has started it           *AlreadyHandledError        by its status
//	this process has confirmed it         *AlreadyHandledError        by its status
//	is another purchase                   *MismatchError              *MismatchError
//	is this call's, see oursToRun         awaited, then run           by its status
//	any other                             *AlreadyHandledError        by its status
//
// By its status: a failed or expired request leads a scope to its next key; see decisionError for the errors.
func (auth *authorization) awaitUnderCallerKey(ctx context.Context) (category string, err error) {
	if auth.purchase.Status == StatusRejected {
		return "", auth.decisionError(&Request{RequestID: auth.requestID, Status: StatusRejected})
	}
	if described := strings.ToUpper(auth.params.Currency); described != "" &&
		described != strings.ToUpper(auth.purchase.Currency) {
		return "", auth.mismatch("Currency", auth.purchase.Currency, described)
	}
	started := auth.checkNotStarted()
	state, err := auth.read(ctx, auth.requestID)
	switch {
	case started == nil:
	case err != nil || !state.Status.Final():
		return "", started
	default: // it was confirmed since then
		auth.client.process.rememberFinished(auth.client.requestKey(auth.requestID))
	}
	if err != nil {
		return "", auth.outcomeUnknown(err)
	}
	if err := auth.checkNotFinished(state); err != nil {
		return "", err
	}
	if err := auth.checkNotRunUnderKey(ctx, state); err != nil {
		return "", err
	}
	requested, ours := auth.oursToRun(state)
	if err := auth.checkContent(ctx, state, requested, ours); err != nil {
		return "", err
	}
	if !ours && !state.Status.Final() {
		if state.Status.Approved() {
			return "", auth.mayHaveRun(state, reasonOtherMayRun)
		}
		return "", auth.handled(state, reasonOtherProcess)
	}
	if state.Status == StatusFailed || state.Status == StatusExpired {
		return "", &nextKeyError{ended: true, err: auth.decisionError(state)}
	}
	if ours && !state.Status.Final() {
		auth.rememberOurs()
	}
	if !state.Status.Decided() {
		if state, err = auth.awaitDecision(ctx, state); err != nil {
			return "", err
		}
		if err := auth.checkMatch(ctx, state); err != nil {
			return "", withoutNextKey(err) // the request has changed; the next key of the scope is no remedy
		}
	}
	return state.Category, auth.decisionError(state)
}

// keyLifetime is how long the service remembers an idempotency key.
const keyLifetime = 24 * time.Hour

// checkNotRunUnderKey returns an error if this process has run another request under the key: of several, the service
// repeats the one that it stored last.
func (auth *authorization) checkNotRunUnderKey(ctx context.Context, answered *Request) error {
	ran := auth.client.process.ranUnder(auth.client.identity, auth.params.IdempotencyKey)
	if ran == "" || ran == auth.requestID {
		return nil
	}
	state, err := auth.read(ctx, ran)
	switch {
	case err != nil:
		return auth.outcomeUnknown(fmt.Errorf("reading purchase %s, which ran under the key: %w", ran, err))
	case answered.CreatedAt.Sub(state.CreatedAt) >= keyLifetime:
		return nil // the service had forgotten the key by then
	}
	auth.client.alertDuplicate(ctx, auth.requestID, ran, auth.params.IdempotencyKey)
	if state.Status == StatusFailed {
		return &nextKeyError{ended: true, err: auth.duplicateError(state)}
	}
	return auth.duplicateError(state)
}

// oursToRun reports whether the request is this call's to run. requested is what a guarded call of this process
// requested under it, nil if none did.
//
//	requested by                                     ours
//	Client.Purchase in this process                  no: its caller pays
//	a guarded call of this process, not started      yes
//	the same, but its request could not be read      if created after the baseline of either call
//	anything else                                    if created after the baseline: only this call can have made it
func (auth *authorization) oursToRun(state *Request) (requested *requestedPurchase, ours bool) {
	known, requested := auth.client.process.progressOf(auth.client.requestKey(auth.requestID))
	switch {
	case known == requestedByHand:
		return nil, false
	case requested == nil:
		return nil, auth.baseline.isBefore(state)
	case requested.since != nil:
		return requested, requested.since.isBefore(state) || auth.baseline.isBefore(state)
	default:
		return requested, true
	}
}

// checkContent returns an error if the request is for another purchase than the call describes. A read by id does not
// show merchant and description. They are compared with:
//
//	ours, and an unclear attempt may have made it    the list: the attempt may have been for another purchase
//	ours, and requested by this process              this process's memory
//	ours otherwise                                   nothing: this call made it, or the journal was compared before
//	another call's                                   the list, if it can be read: the call does not run anyway
func (auth *authorization) checkContent(
	ctx context.Context, state *Request, requested *requestedPurchase, ours bool,
) error {
	described := contentOf(&auth.params)
	switch {
	case described.amount != state.Amount: // checkMatch reports it
	case ours && (requested == nil || requested.since != nil) && auth.keyIsUnclear():
		if err := auth.checkListedContent(ctx, ""); err != nil {
			if _, mismatch := errors.AsType[*MismatchError](err); mismatch {
				return err
			}
			return auth.outcomeUnknown(err)
		}
	case ours && requested != nil:
		if err := described.mismatch(auth.requestID, requested.content); err != nil {
			return err
		}
	case !ours:
		if row, err := auth.client.findInList(ctx, auth.requestID, ""); err == nil && row != nil {
			if err := described.mismatch(auth.requestID, contentOfRequest(row)); err != nil {
				return err
			}
		}
	}
	return auth.checkMatch(ctx, state)
}

// awaitResumed is awaitApproval for a request that the caller resumes.
func (auth *authorization) awaitResumed(ctx context.Context) (category string, err error) {
	state, err := auth.client.Request(ctx, auth.requestID)
	if err != nil {
		return "", err
	}
	if err := auth.checkNotFinished(state); err != nil {
		return "", err
	}
	if err := auth.checkMatch(ctx, state); err != nil {
		return "", err
	}
	if !auth.fromJournal {
		err := auth.checkResumedContent(ctx, state)
		if _, mismatch := errors.AsType[*MismatchError](err); mismatch || err != nil && !state.Status.Final() {
			return "", err
		}
	}
	if !state.Status.Decided() {
		if state, err = auth.awaitDecision(ctx, state); err != nil {
			return "", err
		}
		if err := auth.checkMatch(ctx, state); err != nil {
			return "", err
		}
	}
	return state.Category, auth.decisionError(state)
}

// checkResumedContent compares what a read by id does not show with this process's memory, or else with the list.
func (auth *authorization) checkResumedContent(ctx context.Context, state *Request) error {
	described := contentOf(&auth.params)
	_, requested := auth.client.process.progressOf(auth.client.requestKey(auth.requestID))
	if requested != nil && requested.since == nil {
		return described.mismatch(auth.requestID, requested.content)
	}
	return auth.checkListedContent(ctx, state.Status)
}

// checkListedContent compares what a read by id does not show with the list of requests: of those with a status first,
// then of all.
func (auth *authorization) checkListedContent(ctx context.Context, status Status) error {
	described := contentOf(&auth.params)
	row, err := auth.client.findInList(ctx, auth.requestID, status)
	if err == nil && row == nil && status != "" {
		row, err = auth.client.findInList(ctx, auth.requestID, "") // decided since it was read
	}
	if err != nil {
		return err
	}
	if row == nil {
		notListed := errors.New("the list does not show request " + auth.requestID)
		return &APIError{Op: operation.Requests, malformed: true, Err: notListed}
	}
	return described.mismatch(auth.requestID, contentOfRequest(row))
}

// checkMatch returns an error if the request, as it was read by id, is for another amount or category than the call
// describes.
func (auth *authorization) checkMatch(ctx context.Context, state *Request) error {
	if state.Amount != auth.params.Amount {
		return auth.mismatch("Amount", state.Amount.String(), auth.params.Amount.String())
	}
	if auth.purchase != nil {
		return auth.checkCategory(ctx, state.Category, auth.purchase.OriginalCategory)
	}
	if auth.fromJournal { // the entry holds what the request was made for
		return auth.checkCategory(ctx, state.Category, auth.record.entry.Category)
	}
	_, requested := auth.client.process.progressOf(auth.client.requestKey(auth.requestID))
	if requested != nil && requested.content.category == normalCategory(state.Category) {
		return auth.checkCategory(ctx, state.Category, requested.name)
	}
	return auth.checkCategory(ctx, state.Category)
}

// checkCategory returns an error unless category is shown to be the one that the call describes.
func (auth *authorization) checkCategory(ctx context.Context, category string, requestedAs ...string) error {
	return auth.client.sameCategory(ctx, auth.requestID, category, auth.params.Category, requestedAs...)
}

// awaitDecision waits for the decision as OnPendingWait and OnPendingFail set.
func (auth *authorization) awaitDecision(ctx context.Context, state *Request) (*Request, error) {
	if !auth.resumed && auth.record.entry.RequestID != auth.requestID { // so that a call that resumes finds the entry
		auth.record.entry.RequestID = auth.requestID
		if err := auth.record.put(ctx, journal.Requested); err != nil {
			return nil, err
		}
	}
	pending := auth.notApproved(StatusPending)
	pending.ExpiresAt = state.ExpiresAt
	if auth.config.pendingWait == 0 {
		return nil, pending
	}
	opts := append([]WaitOption{WaitTimeout(auth.config.pendingWait)}, auth.config.waitOptions...)
	decided, err := auth.client.WaitForDecision(ctx, auth.requestID, opts...)
	if err != nil {
		pending.Err = err
		return nil, pending
	}
	return decided, nil
}

// decisionError returns nil for an approved request, and the error of the call for every other one.
func (auth *authorization) decisionError(state *Request) error {
	switch {
	case state.Status.Approved():
		return nil
	case state.Status == StatusRejected:
		rejected := auth.notApproved(StatusRejected)
		if auth.purchase != nil {
			rejected.Checks = auth.purchase.PolicyCheck.Failed()
		}
		return rejected
	case state.Status == StatusExpired:
		return auth.notApproved(StatusExpired)
	case state.Status.Final():
		return auth.handled(state, reasonDecided)
	default:
		return auth.handled(state, reasonUnknownStatus)
	}
}

func (auth *authorization) notApproved(status Status) *NotApprovedError {
	return &NotApprovedError{RequestID: auth.requestID, IdempotencyKey: auth.params.IdempotencyKey, Status: status}
}

// checkNotStarted returns an error if this process has started the request and the service does not know the outcome.
func (auth *authorization) checkNotStarted() error {
	if auth.client.progress(auth.requestID) != startedHere {
		return nil
	}
	return auth.mayHaveRun(auth.approvedRequest(), reasonUnconfirmed)
}

// checkNotFinished returns an error if this process has confirmed the request, and the state read is older than that.
func (auth *authorization) checkNotFinished(state *Request) error {
	if auth.client.progress(auth.requestID) != finishedHere || state.Status.Final() {
		return nil
	}
	return auth.mayHaveRun(state, reasonConfirmed)
}

// keyIsUnclear reports whether an attempt under the key, for this purchase or another, may have made a request without
// an answer.
func (auth *authorization) keyIsUnclear() bool {
	return auth.client.process.isUnclear(auth.client.identity, auth.params.IdempotencyKey)
}

func (auth *authorization) mismatch(field, requested, described string) error {
	return &MismatchError{RequestID: auth.requestID, Field: field, Requested: requested, Described: described}
}

// outcomeUnknown is the error of a purchase that was answered and could not be judged.
func (auth *authorization) outcomeUnknown(err error) error {
	return &OutcomeUnknownError{
		Op:             operation.Purchase,
		IdempotencyKey: auth.params.IdempotencyKey,
		RequestID:      auth.requestID,
		Err:            err,
	}
}
