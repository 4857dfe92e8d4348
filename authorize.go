package letagentpay

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/letagentpay/letagentpay-go/internal/keylock"
	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/operation"
)

// Authorize requests the approval of a purchase and returns once it is approved: the two-phase form of [Guard], for
// code that is no single function, such as middleware and workflows. Every Approval must be ended with
// [Approval.Settle]. The errors are Guard's; with any of them nothing may be bought.
func (c *Client) Authorize(ctx context.Context, p PurchaseParams, opts ...GuardOption) (*Approval, error) {
	g, err := newGuardConfig(opts)
	if err != nil {
		return nil, err
	}
	return c.authorizeOnce(ctx, p, g)
}

// authorizeOnce is Authorize with its options read. An earlier run is an error here: there is no result to return.
func (c *Client) authorizeOnce(ctx context.Context, p PurchaseParams, g *guardConfig) (*Approval, error) {
	approval, earlier, err := c.authorize(ctx, p, g)
	if earlier != nil {
		earlier.scoped.done(false, false)
		return nil, withCleanup(alreadyHandled(earlier.Entry), c.confirmEarlier(ctx, g, earlier.Entry))
	}
	return approval, err
}

// earlierRun is a run that the journal knows to have returned.
type earlierRun struct {
	*journal.Entry
	scoped     *scopedPurchase // done when it is known whether the run's result can be given back
	resumption *resumption
	params     PurchaseParams
}

// authorize is Authorize; earlier is of a call whose function has returned before.
func (c *Client) authorize(ctx context.Context, p PurchaseParams, g *guardConfig) (approval *Approval, earlier *earlierRun, err error) {
	if ctx == nil {
		return nil, nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	if err := p.validate(); err != nil {
		return nil, nil, err
	}
	resumption, requestID := g.resumption(ctx, &p), ""
	isResumed := resumption != nil
	if isResumed {
		if requestID, err = requestIDOf(resumption.requestID); err != nil {
			return nil, nil, err
		}
	}
	ctx, end := c.observe(ctx, operation.Guard)
	auth := &authorization{client: c, config: g, requestID: requestID, resumed: isResumed, params: p}
	defer func() { // reports, when there is no approval whose end is to be reported
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
	defer func() { // gives the key of the scope free, unless whoever has the approval or the earlier run does so
		if approval == nil && earlier == nil {
			scoped.done(false, false)
		}
	}()
	for {
		*auth = newAuthorization(c, g, p, requestID, isResumed)
		approval, entry, err = auth.obtain(ctx, scoped)
		reason := scoped.movesOn(err)
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
	return approval, earlier, auth.joinDuplicates(plainly(err))
}

// authorization is a call's claim to run under a purchase request.
type authorization struct {
	client    *Client
	params    PurchaseParams
	config    *guardConfig
	record    record
	requestID string
	purchase  *Purchase // the answer to this call's own purchase; nil when resumed
	callerKey bool      // the key is the caller's or a scope's: the answer may be an earlier call's
	resumed   bool

	baseline    baseline // what there was before the key was first asked under
	askedBefore bool     // an earlier call has asked under the key, says the journal
	known       bool     // the answer names a request that this process knew
	fromJournal bool     // the record is the journal's entry of the resumed request
	entryKey    string   // the key that the journal's entry of the resumed request is of

	held [2]*keylock.Held[lockKey] // the key and the request
}

func newAuthorization(c *Client, g *guardConfig, p PurchaseParams, requestID string, resumed bool) authorization {
	own := p.IdempotencyKey != "" && !resumed
	switch {
	case resumed:
		p.IdempotencyKey = "" // the request was made under a key of its own
	case !own:
		p.IdempotencyKey = rand.Text()
	}
	return authorization{client: c, config: g, params: p, callerKey: own, requestID: requestID, resumed: resumed, record: record{journal: g.journal, process: c.process}}
}

// obtain brings the claim to an approval under which the function may run. Without one, all locks are free again.
func (auth *authorization) obtain(ctx context.Context, scoped *scopedPurchase) (approval *Approval, earlier *journal.Entry, err error) {
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
		client: auth.client, requestID: auth.requestID, amount: auth.params.Amount, category: category, idempotencyKey: auth.params.IdempotencyKey,
		authorization: auth, settling: make(chan struct{}, 1), callContext: ctx,
	}, nil, nil
}

// skipRefunded makes way for the next purchase of a scope where the journal knows that this one failed and was refunded.
func (auth *authorization) skipRefunded(ctx context.Context, scoped *scopedPurchase, earlier *journal.Entry) (*Approval, *journal.Entry, error) {
	if scoped == nil || earlier.Success {
		return nil, earlier, nil
	}
	if err := auth.client.confirmEarlier(ctx, auth.config, earlier); err != nil {
		return nil, nil, errors.Join(alreadyHandled(earlier), err)
	}
	return nil, nil, &errMovesOn{ended: true, err: alreadyHandled(earlier)}
}

// start is the last step before the function runs. What can no longer run is given back.
func (auth *authorization) start(ctx context.Context, category string) error {
	if err := ctx.Err(); err != nil {
		return auth.giveBack(ctx, &APIError{Op: operation.Guard, IdempotencyKey: auth.params.IdempotencyKey, Err: err, withdrawn: !auth.resumed, waiting: auth.resumed})
	}
	if err := auth.checkNotBeingConfirmed(); err != nil {
		return auth.dropIfFinal(ctx, err)
	}
	auth.record.entry.RequestID, auth.record.entry.ResolvedCategory = auth.requestID, category
	if err := auth.record.put(ctx, journal.Started); err != nil {
		return auth.giveBack(ctx, err)
	}
	auth.client.process.rememberStarted(auth.client.requestKey(auth.requestID))
	if auth.callerKey || auth.purchase != nil && auth.purchase.posting != nil {
		auth.client.process.rememberStartedUnder(auth.client.identity, auth.params.IdempotencyKey, auth.requestID)
	}
	return nil
}

// checkNotBeingConfirmed refuses a request whose confirmation is under way, or may still be handled by the service: it is still
// approved, and the money would return while it is spent.
func (auth *authorization) checkNotBeingConfirmed() error {
	held := auth.client.process.locks.TryLock(lockKey{auth.client.service, confirmLock, auth.requestID})
	if held != nil {
		held.Release()
		if !auth.client.process.refundSent(auth.client.requestKey(auth.requestID)) {
			return nil
		}
	}
	handled := auth.handled(auth.approvedRequest(), reasonBeingConfirmed)
	handled.MayHaveRun = held == nil
	return handled
}

// giveBack confirms as failed what was approved and will not run, so that its money returns. A resumed request stays:
// its id is in the caller's hands.
func (auth *authorization) giveBack(ctx context.Context, reason error) error {
	if auth.resumed {
		return reason
	}
	ctx = context.WithoutCancel(ctx)
	// The service may be handling the confirmation when nobody waits for it any more. So nobody runs under the request
	// from now on, and Recover confirms it.
	auth.record.entry.RequestID, auth.record.entry.Error = auth.requestID, textOfUsers(reason)
	putErr := auth.record.put(ctx, journal.Returned)
	if putErr != nil {
		// The entry says that the purchase is to be continued. Without it, another process takes it for somebody's.
		_ = auth.record.drop(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if _, err := auth.client.confirm(ctx, auth.requestID, ConfirmParams{}, confirmOptions{attemptLimit: attemptLimit}); err != nil {
		auth.client.process.rememberRefund(auth.client.requestKey(auth.requestID))
		return errors.Join(reason, &UnconfirmedError{RequestID: auth.requestID, Err: err}, putErr)
	}
	if len(auth.record.entry.Duplicates) > 0 { // Recover reports them until their money is back
		return withCleanup(reason, auth.record.put(ctx, journal.Settled))
	}
	return withCleanup(reason, auth.record.drop(ctx))
}

// joinDuplicates joins an error with the duplicates of the purchase that ended in it.
func (auth *authorization) joinDuplicates(err error) error {
	if err == nil || auth.purchase == nil || len(auth.purchase.Duplicates) == 0 {
		return err
	}
	duplicates := &DuplicateError{RequestID: auth.purchase.RequestID, Duplicates: auth.purchase.Duplicates, IdempotencyKey: auth.params.IdempotencyKey}
	return errors.Join(err, duplicates)
}

// observation says how a call ended that did not come to an approval.
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

// newObservation is what any observation of the call says. It asks nothing of err, which may be the function's.
func (auth *authorization) newObservation(err error) Observation {
	o := Observation{RequestID: auth.requestID, Amount: auth.params.Amount, Currency: strings.ToUpper(auth.params.Currency), Category: auth.params.Category, Err: err}
	if auth.purchase != nil {
		o.Currency, o.Category = auth.purchase.Currency, auth.purchase.Category
	}
	return o
}

// isFinal reports whether an error is the last word on a purchase, so that the journal need not know of it.
func isFinal(err error) bool { return decisionOf(err).final }

// checkNotNested refuses a claim to what the calling function itself runs under: it would wait for itself.
func (auth *authorization) checkNotNested(ctx context.Context) error {
	for {
		outer, ok := ApprovalFromContext(ctx)
		if !ok {
			return nil
		}
		key := auth.heldKey()
		if outer.requestID == auth.requestID || key != "" && key == outer.authorization.heldKey() && outer.client.identity == auth.client.identity {
			running := &Request{RequestID: outer.requestID, Status: StatusApproved, Amount: outer.amount, Category: outer.category}
			return &AlreadyHandledError{Request: running, IdempotencyKey: outer.idempotencyKey, MayHaveRun: true, Reason: reasonRunning}
		}
		ctx = outer.callContext
	}
}

// heldKey returns the idempotency key under which no other call can be while this one lasts, empty for a random one.
func (auth *authorization) heldKey() string {
	if auth.callerKey {
		return auth.params.IdempotencyKey
	}
	return auth.entryKey
}

func (auth *authorization) holdKey(ctx context.Context) error {
	return auth.hold(ctx, lockKey{auth.client.identity, keyLock, auth.heldKey()})
}

// hold takes a lock that is kept until the approval is settled.
func (auth *authorization) hold(ctx context.Context, key lockKey) error {
	held, err := auth.client.lock(ctx, operation.Guard, key, auth.config.lockWait())
	if err != nil {
		return err
	}
	auth.held[slices.Index(auth.held[:], nil)] = held
	return nil
}

// holdRequest takes hold of the request, once its id is known. What this process has started is not started again, nor
// what it knows to have ended.
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

// read reads a request, even when ctx has ended since it was made: what can no longer run is to be given back.
func (auth *authorization) read(ctx context.Context, requestID string) (*Request, error) {
	state, err := auth.client.Request(ctx, requestID)
	if err == nil || ctx.Err() == nil {
		return state, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptLimit)
	defer cancel()
	return auth.client.Request(ctx, requestID)
}

// awaitDecision waits for a decision as the options say.
func (auth *authorization) awaitDecision(ctx context.Context, state *Request) (*Request, error) {
	if !auth.resumed && auth.record.entry.RequestID != auth.requestID { // so that whoever resumes the request finds the entry
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
	decided, err := auth.client.WaitForDecision(ctx, auth.requestID, append([]WaitOption{WaitTimeout(auth.config.pendingWait)}, auth.config.waitOptions...)...)
	if err != nil {
		pending.Err = err
		return nil, pending
	}
	return decided, nil
}

// decisionError turns every state but an approval into an error.
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

// handled is the error of a request that another call handles, and has surely not run.
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

// withCleanup returns err, joined with the error of what was to be tidied up after it.
func withCleanup(err, cleanupErr error) error {
	if cleanupErr == nil {
		return err
	}
	return errors.Join(err, cleanupErr)
}
