package letagentpay

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/operation"
)

// Authorize requests the approval of a purchase and returns once it is approved: the two-phase form of [Guard], for
// code that is not a single function, such as middleware and workflows. Pay nothing when it returns an error; the
// errors are those of Guard. End every Approval with [Approval.Settle].
func (c *Client) Authorize(ctx context.Context, p PurchaseParams, opts ...GuardOption) (*Approval, error) {
	g, err := newGuardConfig(opts)
	if err != nil {
		return nil, err
	}
	return c.authorizeOnce(ctx, p, g, g.resumption(ctx, &p))
}

// authorizeOnce is Authorize with the options applied. An earlier run is an error, because there is no result to
// return.
func (c *Client) authorizeOnce(
	ctx context.Context, p PurchaseParams, g *guardConfig, resumption *resumption,
) (*Approval, error) {
	approval, earlier, err := c.authorize(ctx, p, g, resumption)
	if earlier != nil {
		earlier.scoped.done(false, false)
		return nil, withCleanup(alreadyHandled(earlier.Entry), c.confirmEarlier(ctx, g, earlier.Entry))
	}
	return approval, err
}

// earlierRun is a run of the same purchase that the journal shows to have returned.
type earlierRun struct {
	*journal.Entry
	scoped     *scopedPurchase // done is called once it is known whether the result can be returned
	resumption *resumption
	params     PurchaseParams
}

// authorize obtains an approval, or finds an earlier run whose result the call returns. In a scope it takes the next
// key when a key leads to a request that failed or expired, or is another purchase.
//
// Its deferred functions run only without an approval, the last one first: the scope's key is freed, unless the earlier
// run needs it, and then the observers get the outcome. Otherwise Approval.Settle and the caller do both.
func (c *Client) authorize(
	ctx context.Context, p PurchaseParams, g *guardConfig, resumption *resumption,
) (approval *Approval, earlier *earlierRun, err error) {
	if err := checkContext(ctx); err != nil {
		return nil, nil, err
	}
	if err := p.validate(); err != nil {
		return nil, nil, err
	}
	requestID, isResumed := "", resumption != nil
	if isResumed {
		if requestID, err = requestIDOf(resumption.requestID); err != nil {
			return nil, nil, err
		}
	}
	ctx, end := c.observe(ctx, operation.Guard)
	auth := &authorization{client: c, config: g, requestID: requestID, resumed: isResumed, params: p}
	defer func() {
		if approval == nil {
			end(auth.observation(earlier, err))
		}
	}()
	var entry *journal.Entry
	var scoped *scopedPurchase
	if !isResumed {
		if scoped, err = c.scoped(ctx, &p); err != nil {
			return nil, nil, err
		}
	}
	defer func() {
		if approval == nil && earlier == nil {
			scoped.done(false, false)
		}
	}()
	for {
		*auth = newAuthorization(c, g, p, requestID, isResumed)
		approval, entry, err = auth.obtain(ctx, scoped)
		reason := scoped.nextKeyReason(err)
		if reason == nil {
			break
		}
		if err = scoped.next(ctx, &p, reason.ended); err != nil {
			return nil, nil, err
		}
	}
	if approval != nil {
		approval.finish, approval.scoped, approval.resumption = end, scoped, resumption
	}
	if entry != nil {
		earlier = &earlierRun{entry, scoped, resumption, p}
	}
	return approval, earlier, auth.joinDuplicates(withoutNextKey(err))
}

// authorization is one guarded call on its way to an approval. Its stages, each in a file of its own:
//
//	lookup.go           what the journal and this process know of the key or the request
//	requestapproval.go  the purchase is requested, and the request is locked
//	decision.go         the decision is awaited, and the request is checked to be this call's and for this purchase
//	authorize.go        the start is recorded; what cannot run is refunded
type authorization struct {
	client    *Client
	params    PurchaseParams
	config    *guardConfig
	record    record
	requestID string
	purchase  *Purchase // the answer to this call's own purchase; nil when resumed
	callerKey bool      // the key is the caller's or a scope's, so that the answer may be an earlier call's
	resumed   bool

	baseline        baseline // from before the first request under the key
	requestedBefore bool     // the journal shows that an earlier call has requested the purchase under the key
	known           bool     // the answer names a request that this process knew
	fromJournal     bool     // the record is the journal's entry of the resumed request
	entryKey        string   // the idempotency key of that entry

	held [2]*heldLock // keyLock and runLock; nil when not held
}

func newAuthorization(c *Client, g *guardConfig, p PurchaseParams, requestID string, resumed bool) authorization {
	callerKey := p.IdempotencyKey != "" && !resumed
	switch {
	case resumed:
		p.IdempotencyKey = "" // the request has a key of its own
	case !callerKey:
		p.IdempotencyKey = rand.Text()
	}
	return authorization{
		client:    c,
		config:    g,
		params:    p,
		callerKey: callerKey,
		requestID: requestID,
		resumed:   resumed,
		record:    record{journal: g.journal, process: c.process},
	}
}

// obtain returns an approval under which the function may run, or an earlier run. Without an approval it releases all
// locks.
func (auth *authorization) obtain(
	ctx context.Context, scoped *scopedPurchase,
) (approval *Approval, earlier *journal.Entry, err error) {
	defer func() {
		if approval == nil {
			auth.release()
		}
	}()
	if earlier, err = auth.requestApproval(ctx, scoped); err == nil && earlier != nil {
		return auth.skipRefunded(ctx, scoped, earlier)
	}
	if err != nil {
		return nil, nil, err
	}
	category, err := auth.awaitApproval(ctx)
	if err = auth.dropIfFinal(ctx, err); err != nil {
		return nil, nil, err
	}
	if err := auth.start(ctx, category); err != nil {
		return nil, nil, err
	}
	return &Approval{
		client:         auth.client,
		requestID:      auth.requestID,
		amount:         auth.params.Amount,
		category:       category,
		idempotencyKey: auth.params.IdempotencyKey,
		authorization:  auth,
		settling:       make(chan struct{}, 1),
		callContext:    ctx,
	}, nil, nil
}

// skipRefunded returns the earlier run, or in a scope a nextKeyError when that run failed: its money is refunded, and
// the purchase can be requested again under the next key.
func (auth *authorization) skipRefunded(
	ctx context.Context, scoped *scopedPurchase, earlier *journal.Entry,
) (*Approval, *journal.Entry, error) {
	if scoped == nil || earlier.Success {
		return nil, earlier, nil
	}
	if err := auth.client.confirmEarlier(ctx, auth.config, earlier); err != nil {
		return nil, nil, errors.Join(alreadyHandled(earlier), err)
	}
	return nil, nil, &nextKeyError{ended: true, err: alreadyHandled(earlier)}
}

// start is the last step before the function runs. It refunds a purchase that can no longer run.
func (auth *authorization) start(ctx context.Context, category string) error {
	if err := ctx.Err(); err != nil {
		return auth.refund(ctx, &APIError{
			Op:             operation.Guard,
			IdempotencyKey: auth.params.IdempotencyKey,
			Err:            err,
			withdrawn:      !auth.resumed,
			waiting:        auth.resumed,
		})
	}
	if err := auth.checkNotBeingConfirmed(); err != nil {
		return auth.dropIfFinal(ctx, err)
	}
	auth.record.entry.RequestID, auth.record.entry.ResolvedCategory = auth.requestID, category
	if err := auth.record.put(ctx, journal.Started); err != nil {
		return auth.refund(ctx, err)
	}
	auth.client.process.rememberStarted(auth.client.requestKey(auth.requestID))
	if auth.keyMayLeadElsewhere() {
		auth.client.process.rememberStartedUnder(auth.client.identity, auth.params.IdempotencyKey, auth.requestID)
	}
	return nil
}

// keyMayLeadElsewhere reports whether a later answer under the key may name another request than the one that runs:
//
//	the caller's or a scope's key                          yes: it may be used again
//	a random key, and an attempt got no response           yes: that attempt may have made another request
//	a random key otherwise, or a resumed request           no
func (auth *authorization) keyMayLeadElsewhere() bool {
	return auth.callerKey || auth.purchase != nil && auth.purchase.posting != nil
}

// checkNotBeingConfirmed returns an error while a confirmation of the request is under way or the service may still
// handle one. The request reads as approved until then, but its money may be refunded.
func (auth *authorization) checkNotBeingConfirmed() error {
	held := auth.client.process.locks.TryLock(lockKey{auth.client.service, confirmLock, auth.requestID})
	if held != nil {
		held.Release()
		if !auth.client.process.hasOpenRefund(auth.client.requestKey(auth.requestID)) {
			return nil
		}
	}
	handled := auth.handled(auth.approvedRequest(), reasonBeingConfirmed)
	handled.MayHaveRun = held == nil
	return handled
}

// refund confirms a purchase that is approved and will not run as failed. A resumed request stays as it is, because its
// caller knows the id.
func (auth *authorization) refund(ctx context.Context, reason error) error {
	if auth.resumed {
		return reason
	}
	ctx = context.WithoutCancel(ctx)
	// The service may still handle the confirmation after this call has given up. The entry keeps every call from
	// running under the request, and Recover confirms it.
	auth.record.entry.RequestID, auth.record.entry.Error = auth.requestID, userErrorText(reason)
	putErr := auth.record.put(ctx, journal.Returned)
	if putErr != nil {
		// The stored entry shows a purchase to continue. Without it, the request counts as another process's.
		_ = auth.record.drop(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	options := confirmOptions{attemptLimit: attemptLimit}
	if _, err := auth.client.confirm(ctx, auth.requestID, ConfirmParams{}, options); err != nil {
		auth.client.process.rememberRefund(auth.client.requestKey(auth.requestID))
		return errors.Join(reason, &UnconfirmedError{RequestID: auth.requestID, Err: err}, putErr)
	}
	if len(auth.record.entry.Duplicates) > 0 { // Recover reports them until they are refunded
		return withCleanup(reason, auth.record.put(ctx, journal.Settled))
	}
	return withCleanup(reason, auth.record.drop(ctx))
}

// joinDuplicates joins an error with a DuplicateError when the purchase has duplicates.
func (auth *authorization) joinDuplicates(err error) error {
	if err == nil || auth.purchase == nil || len(auth.purchase.Duplicates) == 0 {
		return err
	}
	return errors.Join(err, &DuplicateError{
		RequestID:      auth.purchase.RequestID,
		Duplicates:     auth.purchase.Duplicates,
		IdempotencyKey: auth.params.IdempotencyKey,
	})
}

// observation is the observation of a call without an approval.
func (auth *authorization) observation(earlier *earlierRun, err error) Observation {
	o := auth.newObservation(err)
	if earlier != nil {
		confirmed := outcomeOfEntry(earlier.Entry)
		o.RequestID, o.Status = earlier.RequestID, confirmed.status()
	}
	if status := decisionOf(err).status; status != "" {
		o.Status = status
	}
	return o
}

// newObservation is the common part of the call's observations. It does not look into err, which may be the function's.
func (auth *authorization) newObservation(err error) Observation {
	o := Observation{
		RequestID: auth.requestID,
		Amount:    auth.params.Amount,
		Currency:  strings.ToUpper(auth.params.Currency),
		Category:  auth.params.Category,
		Err:       err,
	}
	if auth.purchase != nil {
		o.Currency, o.Category = auth.purchase.Currency, auth.purchase.Category
	}
	return o
}

// checkNotNested returns an error for a key or request that ctx already runs under. Waiting for it would deadlock.
func (auth *authorization) checkNotNested(ctx context.Context) error {
	for {
		outer, ok := ApprovalFromContext(ctx)
		if !ok {
			return nil
		}
		key := auth.heldKey()
		sameKey := key != "" && key == outer.authorization.heldKey() && outer.client.identity == auth.client.identity
		if sameKey || outer.requestID == auth.requestID {
			return &AlreadyHandledError{
				Request: &Request{
					RequestID: outer.requestID,
					Status:    StatusApproved,
					Amount:    outer.amount,
					Category:  outer.category,
				},
				IdempotencyKey: outer.idempotencyKey,
				MayHaveRun:     true,
				Reason:         reasonRunning,
			}
		}
		ctx = outer.callContext
	}
}

// heldKey returns the idempotency key that this call locks: the caller's, a scope's, or that of the resumed request's
// entry. It is empty for a random key.
func (auth *authorization) heldKey() string {
	if auth.callerKey {
		return auth.params.IdempotencyKey
	}
	return auth.entryKey
}

func (auth *authorization) holdKey(ctx context.Context) error {
	return auth.hold(ctx, lockKey{auth.client.identity, keyLock, auth.heldKey()})
}

// hold takes a lock and keeps it until the approval is settled.
func (auth *authorization) hold(ctx context.Context, key lockKey) error {
	held, err := auth.client.lock(ctx, operation.Guard, key, auth.config.lockWait())
	if err != nil {
		return err
	}
	auth.held[slices.Index(auth.held[:], nil)] = held
	return nil
}

// holdRequest locks the request, once its id is known.
func (auth *authorization) holdRequest(ctx context.Context) error {
	if err := auth.checkNotNested(ctx); err != nil {
		return err
	}
	return auth.hold(ctx, lockKey{auth.client.service, runLock, auth.requestID})
}

func (auth *authorization) release() {
	for i, held := range slices.Backward(auth.held[:]) {
		if held != nil {
			held.Release()
			auth.held[i] = nil
		}
	}
}

// read reads a request, even if ctx has ended since it was made: a purchase that can no longer run is refunded.
func (auth *authorization) read(ctx context.Context, requestID string) (*Request, error) {
	state, err := auth.client.Request(ctx, requestID)
	if err == nil || ctx.Err() == nil {
		return state, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptLimit)
	defer cancel()
	return auth.client.Request(ctx, requestID)
}

// handled is the error of a request that another call handles and has not run.
func (auth *authorization) handled(request *Request, reason string) *AlreadyHandledError {
	return &AlreadyHandledError{Request: request, IdempotencyKey: auth.params.IdempotencyKey, Reason: reason}
}

// mayHaveRun is the error of a request under which the function may have run.
func (auth *authorization) mayHaveRun(request *Request, reason string) *AlreadyHandledError {
	handled := auth.handled(request, reason)
	handled.MayHaveRun = true
	return handled
}

// approvedRequest is the request as this process knows it without reading it.
func (auth *authorization) approvedRequest() *Request {
	return &Request{
		RequestID: auth.requestID,
		Status:    StatusApproved,
		Amount:    auth.params.Amount,
		Category:  auth.params.Category,
	}
}

// withCleanup joins err with the error of the cleanup after it.
func withCleanup(err, cleanupErr error) error {
	if cleanupErr == nil {
		return err
	}
	return errors.Join(err, cleanupErr)
}
