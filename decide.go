package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/operation"
)

// approved returns the category once the request is approved and this call may run under it.
func (c *claim) approved(ctx context.Context) (category string, err error) {
	switch {
	case c.resumed:
		return c.approvedResumed(ctx)
	case c.own:
		return c.approvedOwn(ctx)
	default:
		return c.approvedNew(ctx)
	}
}

// approvedNew is for a random key: the request is this call's, and its answer is fresh, unless this process knows the
// id already.
func (c *claim) approvedNew(ctx context.Context) (category string, err error) {
	state := &Request{RequestID: c.requestID, Status: c.purchase.Status, ExpiresAt: c.purchase.ExpiresAt}
	if state.Status == StatusRejected {
		return "", c.verdict(state)
	}
	if c.known || c.client.standing(c.requestID) != askedFor {
		return "", c.knownBefore(ctx)
	}
	if !state.Status.Decided() {
		if state, err = c.wait(ctx, state); err != nil {
			return "", err
		}
		if err := c.matches(ctx, state); err != nil {
			return "", err
		}
	}
	return c.purchase.Category, c.verdict(state)
}

// knownBefore is the error of a new purchase that was answered with an old request.
func (c *claim) knownBefore(ctx context.Context) error {
	if err := c.startedHere(); err != nil {
		return err
	}
	request, err := c.client.Request(ctx, c.requestID)
	if err != nil {
		return &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: c.params.IdempotencyKey, RequestID: c.requestID, Err: err}
	}
	return &AlreadyHandledError{
		Request: request, IdempotencyKey: c.params.IdempotencyKey,
		Err: errors.New("the answer names a request that another call of this process has made"),
	}
}

// approvedOwn is for a key that may have been used before: the answer may be an old one repeated, so only a read shows
// the state, and the request may be another call's.
//
//	the request                           is pending or approved      is final
//	rejected, says the answer             *RejectedError, before anything else
//	started or finished by this process   *AlreadyHandledError
//	is another purchase                   *MismatchError
//	came after the baseline               this call's                 says so
//	asked for here, never started         this call's                 says so
//	any other                             *AlreadyHandledError        says so
func (c *claim) approvedOwn(ctx context.Context) (category string, err error) {
	if c.purchase.Status == StatusRejected {
		return "", c.verdict(&Request{RequestID: c.requestID, Status: StatusRejected})
	}
	if asked := strings.ToUpper(c.params.Currency); asked != "" && asked != strings.ToUpper(c.purchase.Currency) {
		return "", &MismatchError{RequestID: c.requestID, Field: "Currency", Requested: c.purchase.Currency, Described: asked}
	}
	started := c.startedHere()
	state, err := c.read(ctx, c.requestID)
	switch {
	case started == nil:
	case err != nil || !state.Status.Final():
		return "", started
	default: // somebody has confirmed it since
		c.client.process.finish(c.client.requestKey(c.requestID))
	}
	if err != nil {
		return "", &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: c.params.IdempotencyKey, RequestID: c.requestID, Err: err}
	}
	if err := c.notFinishedHere(state); err != nil {
		return "", err
	}
	if err := c.ranUnderKey(ctx, state); err != nil {
		return "", err
	}
	asked, mine := c.mine(state)
	if err := c.sameContent(ctx, state, asked, mine); err != nil {
		return "", err
	}
	if !mine && !state.Status.Final() {
		return "", &AlreadyHandledError{Request: state, IdempotencyKey: c.params.IdempotencyKey, MayHaveRun: state.Status.Approved(), Err: errNotOurs}
	}
	if state.Status == StatusFailed || state.Status == StatusExpired {
		return "", &errMovesOn{ended: true, err: c.verdict(state)}
	}
	if mine && !state.Status.Final() {
		c.remember()
	}
	if !state.Status.Decided() {
		if state, err = c.wait(ctx, state); err != nil {
			return "", err
		}
		if err := c.matches(ctx, state); err != nil {
			return "", plainly(err) // it has changed, and is no other purchase of the scope
		}
	}
	return state.Category, c.verdict(state)
}

// keyLifetime is how long the service remembers an idempotency key.
const keyLifetime = 24 * time.Hour

var errNotOurs = errors.New("neither this process nor its journal has asked for it; use ResumeApproval with its id if whoever has will not run it")

// ranUnderKey refuses a request when this process has run another one under the key: the service repeats whichever of
// several it stored last.
func (c *claim) ranUnderKey(ctx context.Context, answered *Request) error {
	ran := c.client.process.ranUnder(c.client.identity, c.params.IdempotencyKey)
	if ran == "" || ran == c.requestID {
		return nil
	}
	state, err := c.read(ctx, ran)
	switch {
	case err != nil:
		return &OutcomeUnknownError{
			Op: operation.Purchase, IdempotencyKey: c.params.IdempotencyKey, RequestID: c.requestID,
			Err: fmt.Errorf("reading purchase %s, which ran under the key: %w", ran, err),
		}
	case answered.CreatedAt.Sub(state.CreatedAt) >= keyLifetime:
		return nil // the service has forgotten the key in between
	}
	c.client.alertDuplicate(ctx, c.requestID, ran, c.params.IdempotencyKey)
	if state.Status == StatusFailed {
		return &errMovesOn{ended: true, err: c.duplicateOf(state)}
	}
	return c.duplicateOf(state)
}

// mine reports whether the request is this call's: it came after the baseline, or this process has asked for it by a
// guarded call and never started it. asked is what this process has asked for then.
func (c *claim) mine(state *Request) (asked *askedRequest, mine bool) {
	standing, asked := c.client.process.of(c.client.requestKey(c.requestID))
	switch {
	case standing == askedByHand: // whoever has asked for it spends
		return nil, false
	case asked == nil:
		return nil, c.baseline.precedes(state)
	case asked.since != nil: // it could not be read then
		return asked, asked.since.precedes(state) || c.baseline.precedes(state)
	default:
		return asked, true
	}
}

// sameContent compares the request with what the call describes. What a read by id does not show is known from this
// process's memory, or was compared with the journal, or is this call's own; else the list shows it. An attempt of an
// earlier call under the key, for whatever it was, may have made the request since the baseline.
func (c *claim) sameContent(ctx context.Context, state *Request, asked *askedRequest, mine bool) error {
	described := contentOf(&c.params)
	switch {
	case described.amount != state.Amount:
	case mine && (asked == nil || asked.since != nil) && c.client.process.isUnclear(c.client.identity, c.params.IdempotencyKey):
		if err := c.matchesListed(ctx, ""); err != nil {
			if _, mismatch := errors.AsType[*MismatchError](err); mismatch {
				return err
			}
			return &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: c.params.IdempotencyKey, RequestID: c.requestID, Err: err}
		}
	case mine && asked != nil:
		if err := described.mismatch(c.requestID, asked.content); err != nil {
			return err
		}
	case !mine:
		if row, err := c.client.row(ctx, c.requestID, ""); err == nil && row != nil {
			if err := described.mismatch(c.requestID, contentOfRequest(row)); err != nil {
				return err
			}
		}
	}
	return c.matches(ctx, state)
}

// approvedResumed is for a request that the caller has named.
func (c *claim) approvedResumed(ctx context.Context) (category string, err error) {
	state, err := c.client.Request(ctx, c.requestID)
	if err != nil {
		return "", err
	}
	if err := c.notFinishedHere(state); err != nil {
		return "", err
	}
	if err := c.matches(ctx, state); err != nil {
		return "", err
	}
	if !c.recorded && !state.Status.Final() {
		if err := c.matchesRequested(ctx, state); err != nil {
			return "", err
		}
	}
	if !state.Status.Decided() {
		if state, err = c.wait(ctx, state); err != nil {
			return "", err
		}
		if err := c.matches(ctx, state); err != nil {
			return "", err
		}
	}
	return state.Category, c.verdict(state)
}

// matchesRequested compares what a read by id does not show: with this process's memory, or else with the list.
func (c *claim) matchesRequested(ctx context.Context, state *Request) error {
	described := contentOf(&c.params)
	if _, asked := c.client.process.of(c.client.requestKey(c.requestID)); asked != nil && asked.since == nil {
		return described.mismatch(c.requestID, asked.content)
	}
	return c.matchesListed(ctx, state.Status)
}

// matchesListed compares what a read by id does not show with the list of requests, first of those of a status.
func (c *claim) matchesListed(ctx context.Context, status Status) error {
	described := contentOf(&c.params)
	row, err := c.client.row(ctx, c.requestID, status)
	if err == nil && row == nil && status != "" {
		row, err = c.client.row(ctx, c.requestID, "") // decided meanwhile
	}
	if err != nil {
		return err
	}
	if row == nil {
		return &APIError{Op: operation.Requests, malformed: true, Err: errors.New("the list does not show request " + c.requestID)}
	}
	return described.mismatch(c.requestID, contentOfRequest(row))
}

// matches checks that the request as it was read is for what this call describes.
func (c *claim) matches(ctx context.Context, state *Request) error {
	if state.Amount != c.params.Amount {
		return &MismatchError{RequestID: c.requestID, Field: "Amount", Requested: state.Amount.String(), Described: c.params.Amount.String()}
	}
	if c.purchase != nil {
		return c.sameCategory(ctx, state.Category, c.purchase.OriginalCategory)
	}
	if c.recorded { // the request came of what was described then
		return c.sameCategory(ctx, state.Category, c.record.entry.Purchase.Category)
	}
	if _, asked := c.client.process.of(c.client.requestKey(c.requestID)); asked != nil && asked.content.category == normalCategory(state.Category) {
		return c.sameCategory(ctx, state.Category, asked.name)
	}
	return c.sameCategory(ctx, state.Category)
}

// sameCategory refuses a category that is not shown to be the one described.
func (c *claim) sameCategory(ctx context.Context, category string, askedUnder ...string) error {
	return c.client.sameCategory(ctx, c.requestID, category, c.params.Category, askedUnder...)
}
