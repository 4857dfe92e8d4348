package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/operation"
)

// awaitApproval returns the category once the request is approved and this call may run under it.
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

// awaitNew is for a random key: the request is this call's, and its answer is fresh, unless this process knows the
// id already.
func (auth *authorization) awaitNew(ctx context.Context) (category string, err error) {
	state := &Request{RequestID: auth.requestID, Status: auth.purchase.Status, ExpiresAt: auth.purchase.ExpiresAt}
	if state.Status == StatusRejected {
		return "", auth.decisionError(state)
	}
	if auth.known || auth.client.progress(auth.requestID) != askedFor {
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

// knownRequestError is the error of a new purchase that was answered with an old request.
func (auth *authorization) knownRequestError(ctx context.Context) error {
	if err := auth.checkNotStarted(); err != nil {
		return err
	}
	request, err := auth.client.Request(ctx, auth.requestID)
	if err != nil {
		return &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: auth.params.IdempotencyKey, RequestID: auth.requestID, Err: err}
	}
	return auth.handled(request, reasonOtherCall)
}

// awaitUnderCallerKey is for a key that may have been used before: the answer may be an old one repeated, so only a read shows
// the state, and the request may be another call's.
//
//	the request                           is pending or approved      is final
//	rejected, says the answer             *RejectedError, before anything else
//	started or finished by this process   *AlreadyHandledError
//	is another purchase                   *MismatchError
//	came after the baseline               this call's                 says so
//	asked for here, never started         this call's                 says so
//	any other                             *AlreadyHandledError        says so
func (auth *authorization) awaitUnderCallerKey(ctx context.Context) (category string, err error) {
	if auth.purchase.Status == StatusRejected {
		return "", auth.decisionError(&Request{RequestID: auth.requestID, Status: StatusRejected})
	}
	if asked := strings.ToUpper(auth.params.Currency); asked != "" && asked != strings.ToUpper(auth.purchase.Currency) {
		return "", &MismatchError{RequestID: auth.requestID, Field: "Currency", Requested: auth.purchase.Currency, Described: asked}
	}
	started := auth.checkNotStarted()
	state, err := auth.read(ctx, auth.requestID)
	switch {
	case started == nil:
	case err != nil || !state.Status.Final():
		return "", started
	default: // somebody has confirmed it since
		auth.client.process.rememberFinished(auth.client.requestKey(auth.requestID))
	}
	if err != nil {
		return "", &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: auth.params.IdempotencyKey, RequestID: auth.requestID, Err: err}
	}
	if err := auth.checkNotFinished(state); err != nil {
		return "", err
	}
	if err := auth.checkNotRunUnderKey(ctx, state); err != nil {
		return "", err
	}
	asked, mine := auth.oursToRun(state)
	if err := auth.checkContent(ctx, state, asked, mine); err != nil {
		return "", err
	}
	if !mine && !state.Status.Final() {
		if state.Status.Approved() {
			return "", auth.mayHaveRun(state, reasonOtherMayRun)
		}
		return "", auth.handled(state, reasonOtherProcess)
	}
	if state.Status == StatusFailed || state.Status == StatusExpired {
		return "", &errMovesOn{ended: true, err: auth.decisionError(state)}
	}
	if mine && !state.Status.Final() {
		auth.rememberRequest()
	}
	if !state.Status.Decided() {
		if state, err = auth.awaitDecision(ctx, state); err != nil {
			return "", err
		}
		if err := auth.checkMatch(ctx, state); err != nil {
			return "", plainly(err) // it has changed, and is no other purchase of the scope
		}
	}
	return state.Category, auth.decisionError(state)
}

// keyLifetime is how long the service remembers an idempotency key.
const keyLifetime = 24 * time.Hour

// checkNotRunUnderKey refuses a request when this process has run another one under the key: the service repeats whichever of
// several it stored last.
func (auth *authorization) checkNotRunUnderKey(ctx context.Context, answered *Request) error {
	ran := auth.client.process.ranUnder(auth.client.identity, auth.params.IdempotencyKey)
	if ran == "" || ran == auth.requestID {
		return nil
	}
	state, err := auth.read(ctx, ran)
	switch {
	case err != nil:
		return &OutcomeUnknownError{
			Op: operation.Purchase, IdempotencyKey: auth.params.IdempotencyKey, RequestID: auth.requestID,
			Err: fmt.Errorf("reading purchase %s, which ran under the key: %w", ran, err),
		}
	case answered.CreatedAt.Sub(state.CreatedAt) >= keyLifetime:
		return nil // the service has forgotten the key in between
	}
	auth.client.alertDuplicate(ctx, auth.requestID, ran, auth.params.IdempotencyKey)
	if state.Status == StatusFailed {
		return &errMovesOn{ended: true, err: auth.duplicateOf(state)}
	}
	return auth.duplicateOf(state)
}

// oursToRun reports whether the request is this call's: it came after the baseline, or this process has asked for it by a
// guarded call and never started it. asked is what this process has asked for then.
func (auth *authorization) oursToRun(state *Request) (asked *askedRequest, mine bool) {
	standing, asked := auth.client.process.lookUp(auth.client.requestKey(auth.requestID))
	switch {
	case standing == askedByHand: // whoever has asked for it spends
		return nil, false
	case asked == nil:
		return nil, auth.baseline.isBefore(state)
	case asked.since != nil: // it could not be read then
		return asked, asked.since.isBefore(state) || auth.baseline.isBefore(state)
	default:
		return asked, true
	}
}

// checkContent compares the request with what the call describes. What a read by id does not show is known from this
// process's memory, or was compared with the journal, or is this call's own; else the list shows it. An attempt of an
// earlier call under the key, for whatever it was, may have made the request since the baseline.
func (auth *authorization) checkContent(ctx context.Context, state *Request, asked *askedRequest, mine bool) error {
	described := contentOf(&auth.params)
	switch {
	case described.amount != state.Amount:
	case mine && (asked == nil || asked.since != nil) && auth.client.process.isUnclear(auth.client.identity, auth.params.IdempotencyKey):
		if err := auth.checkListedContent(ctx, ""); err != nil {
			if _, mismatch := errors.AsType[*MismatchError](err); mismatch {
				return err
			}
			return &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: auth.params.IdempotencyKey, RequestID: auth.requestID, Err: err}
		}
	case mine && asked != nil:
		if err := described.mismatch(auth.requestID, asked.content); err != nil {
			return err
		}
	case !mine:
		if row, err := auth.client.findInList(ctx, auth.requestID, ""); err == nil && row != nil {
			if err := described.mismatch(auth.requestID, contentOfRequest(row)); err != nil {
				return err
			}
		}
	}
	return auth.checkMatch(ctx, state)
}

// awaitResumed is for a request that the caller has named.
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
	if !auth.fromJournal && !state.Status.Final() {
		if err := auth.checkResumedContent(ctx, state); err != nil {
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

// checkResumedContent compares what a read by id does not show: with this process's memory, or else with the list.
func (auth *authorization) checkResumedContent(ctx context.Context, state *Request) error {
	described := contentOf(&auth.params)
	if _, asked := auth.client.process.lookUp(auth.client.requestKey(auth.requestID)); asked != nil && asked.since == nil {
		return described.mismatch(auth.requestID, asked.content)
	}
	return auth.checkListedContent(ctx, state.Status)
}

// checkListedContent compares what a read by id does not show with the list of requests, first of those of a status.
func (auth *authorization) checkListedContent(ctx context.Context, status Status) error {
	described := contentOf(&auth.params)
	row, err := auth.client.findInList(ctx, auth.requestID, status)
	if err == nil && row == nil && status != "" {
		row, err = auth.client.findInList(ctx, auth.requestID, "") // decided meanwhile
	}
	if err != nil {
		return err
	}
	if row == nil {
		return &APIError{Op: operation.Requests, malformed: true, Err: errors.New("the list does not show request " + auth.requestID)}
	}
	return described.mismatch(auth.requestID, contentOfRequest(row))
}

// checkMatch checks that the request as it was read is for what this call describes.
func (auth *authorization) checkMatch(ctx context.Context, state *Request) error {
	if state.Amount != auth.params.Amount {
		return &MismatchError{RequestID: auth.requestID, Field: "Amount", Requested: state.Amount.String(), Described: auth.params.Amount.String()}
	}
	if auth.purchase != nil {
		return auth.checkCategory(ctx, state.Category, auth.purchase.OriginalCategory)
	}
	if auth.fromJournal { // the request came of what was described then
		return auth.checkCategory(ctx, state.Category, auth.record.entry.Category)
	}
	if _, asked := auth.client.process.lookUp(auth.client.requestKey(auth.requestID)); asked != nil && asked.content.category == normalCategory(state.Category) {
		return auth.checkCategory(ctx, state.Category, asked.name)
	}
	return auth.checkCategory(ctx, state.Category)
}

// checkCategory refuses a category that is not shown to be the one described.
func (auth *authorization) checkCategory(ctx context.Context, category string, askedUnder ...string) error {
	return auth.client.sameCategory(ctx, auth.requestID, category, auth.params.Category, askedUnder...)
}
