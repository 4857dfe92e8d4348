package letagentpay

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/letagentpay/letagentpay-go/internal/keylock"
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
	approval, earlier, err := c.authorize(ctx, p, g)
	if earlier != nil {
		earlier.scoped.done(false, false)
		return nil, withCleanup(earlier.handled(), c.confirmEarlier(ctx, g, earlier.JournalEntry))
	}
	return approval, err
}

// earlierRun is a run that the journal knows to have returned.
type earlierRun struct {
	*JournalEntry
	scoped *scopedPurchase // done when it is known whether the run's result can be given back
}

// authorize is Authorize; earlier is of a call whose function has returned before.
func (c *Client) authorize(ctx context.Context, p PurchaseParams, g *guardConfig) (approval *Approval, earlier *earlierRun, err error) {
	if ctx == nil {
		return nil, nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	if err := p.validate(); err != nil {
		return nil, nil, err
	}
	resumed, isResumed := ctx.Value(resumeKey{}).(string)
	requestID := ""
	if isResumed {
		if requestID, err = requestIDOf(resumed); err != nil {
			return nil, nil, err
		}
	}
	ctx, end := c.begin(ctx, operation.Guard)
	claim := &claim{client: c, config: g, requestID: requestID, resumed: isResumed, params: p}
	defer func() { // reports, when there is no approval whose end is to be reported
		if approval == nil {
			end(claim.observation(earlier, err))
		}
	}()
	var entry *JournalEntry
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
		*claim = newClaim(c, g, p, requestID, isResumed)
		approval, entry, err = claim.run(ctx, scoped)
		reason := scoped.movesOn(err)
		if reason == nil {
			break
		}
		if err = scoped.next(ctx, &p, reason.ended); err != nil {
			return nil, nil, err
		}
	}
	if approval != nil {
		approval.end, approval.scoped = end, scoped
	}
	if entry != nil {
		earlier = &earlierRun{entry, scoped}
	}
	return approval, earlier, claim.withDuplicates(plainly(err))
}

// claim is a call's claim to run under a purchase request.
type claim struct {
	client    *Client
	params    PurchaseParams
	config    *guardConfig
	record    record
	requestID string
	purchase  *Purchase // the answer to this call's own purchase; nil when resumed
	own       bool      // the key is the caller's or a scope's: the answer may be an earlier call's
	resumed   bool

	baseline baseline // what there was before the key was first asked under
	asked    bool     // an earlier call has asked under the key, says the journal
	known    bool     // the answer names a request that this process knew
	recorded bool     // the record is the journal's entry of the resumed request
	entryKey string   // the key that the journal's entry of the resumed request is of

	held [2]*keylock.Held[lockKey] // the key and the request
}

func newClaim(c *Client, g *guardConfig, p PurchaseParams, requestID string, resumed bool) claim {
	own := p.IdempotencyKey != "" && !resumed
	switch {
	case resumed:
		p.IdempotencyKey = "" // the request was made under a key of its own
	case !own:
		p.IdempotencyKey = rand.Text()
	}
	return claim{client: c, config: g, params: p, own: own, requestID: requestID, resumed: resumed, record: record{journal: g.journal, process: c.process}}
}

// run brings the claim to an approval under which the function may run. Without one, all locks are free again.
func (c *claim) run(ctx context.Context, scoped *scopedPurchase) (approval *Approval, earlier *JournalEntry, err error) {
	defer func() {
		if approval == nil {
			c.release()
		}
	}()
	if earlier, err = c.ask(ctx, scoped); err == nil && earlier != nil {
		return c.passOver(ctx, scoped, earlier)
	}
	if err != nil {
		return nil, nil, err
	}
	category, err := c.approved(ctx)
	if err = c.forget(ctx, err); err != nil {
		return nil, nil, err
	}
	if err := c.start(ctx, category); err != nil {
		return nil, nil, err
	}
	return &Approval{
		client: c.client, requestID: c.requestID, amount: c.params.Amount, category: category, idempotencyKey: c.params.IdempotencyKey,
		claim: c, turn: make(chan struct{}, 1), callContext: ctx,
	}, nil, nil
}

// passOver makes way for the next purchase of a scope where the journal knows that this one failed and was refunded.
func (c *claim) passOver(ctx context.Context, scoped *scopedPurchase, earlier *JournalEntry) (*Approval, *JournalEntry, error) {
	if scoped == nil || earlier.Confirm.Success {
		return nil, earlier, nil
	}
	if err := c.client.confirmEarlier(ctx, c.config, earlier); err != nil {
		return nil, nil, errors.Join(earlier.handled(), err)
	}
	return nil, nil, &errMovesOn{ended: true, err: earlier.handled()}
}

// start is the last step before the function runs. What can no longer run is given back.
func (c *claim) start(ctx context.Context, category string) error {
	if err := ctx.Err(); err != nil {
		return c.giveBack(ctx, &APIError{Op: operation.Guard, IdempotencyKey: c.params.IdempotencyKey, Err: err, withdrawn: !c.resumed, waiting: c.resumed})
	}
	if err := c.beingConfirmed(); err != nil {
		return c.forget(ctx, err)
	}
	c.record.entry.RequestID, c.record.entry.Category = c.requestID, category
	if err := c.record.put(ctx, JournalStarted); err != nil {
		return c.giveBack(ctx, err)
	}
	c.client.process.start(c.client.requestKey(c.requestID))
	if c.own || c.purchase != nil && c.purchase.posting != nil {
		c.client.process.startUnder(c.client.identity, c.params.IdempotencyKey, c.requestID)
	}
	return nil
}

// beingConfirmed refuses a request whose confirmation is under way, or may still be handled by the service: it is still
// approved, and the money would return while it is spent.
func (c *claim) beingConfirmed() error {
	held := c.client.process.locks.TryLock(lockKey{c.client.service, "confirm", c.requestID})
	if held != nil {
		held.Release()
		if !c.client.process.refundSent(c.client.requestKey(c.requestID)) {
			return nil
		}
	}
	known := &Request{RequestID: c.requestID, Status: StatusApproved, Amount: c.params.Amount, Category: c.params.Category}
	return &AlreadyHandledError{
		Request: known, IdempotencyKey: c.params.IdempotencyKey, MayHaveRun: held == nil,
		Err: errors.New("its confirmation is under way, or may still be handled"),
	}
}

// giveBack confirms as failed what was approved and will not run, so that its money returns. A resumed request stays:
// its id is in the caller's hands.
func (c *claim) giveBack(ctx context.Context, reason error) error {
	if c.resumed {
		return reason
	}
	ctx = context.WithoutCancel(ctx)
	// The service may be handling the confirmation when nobody waits for it any more. So nobody runs under the request
	// from now on, and Recover confirms it.
	c.record.entry.RequestID, c.record.entry.Error = c.requestID, textOfUsers(reason)
	putErr := c.record.put(ctx, JournalExecuted)
	if putErr != nil {
		// The entry says that the purchase is to be continued. Without it, another process takes it for somebody's.
		_ = c.record.drop(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if _, err := c.client.confirm(ctx, c.requestID, ConfirmParams{}, confirmOptions{attempt: attemptLimit}); err != nil {
		c.client.process.noteRefund(c.client.requestKey(c.requestID))
		return errors.Join(reason, &ConfirmError{RequestID: c.requestID, Err: err}, putErr)
	}
	if len(c.record.entry.Duplicates) > 0 { // Recover reports them until their money is back
		return withCleanup(reason, c.record.put(ctx, JournalSettled))
	}
	return withCleanup(reason, c.record.drop(ctx))
}

// withDuplicates joins an error with the duplicates of the purchase that ended in it.
func (c *claim) withDuplicates(err error) error {
	if err == nil || c.purchase == nil || len(c.purchase.Duplicates) == 0 {
		return err
	}
	duplicates := &DuplicateError{RequestID: c.purchase.RequestID, Duplicates: c.purchase.Duplicates, IdempotencyKey: c.params.IdempotencyKey}
	return errors.Join(err, duplicates)
}

// observation says how a call ended that did not come to an approval.
func (c *claim) observation(earlier *earlierRun, err error) Observation {
	o := c.observed(err)
	if earlier != nil {
		o.RequestID, o.Status = earlier.RequestID, earlier.Confirm.status()
	}
	if _, ok := errors.AsType[*RejectedError](err); ok {
		o.Status = StatusRejected
	}
	if _, ok := errors.AsType[*ExpiredError](err); ok {
		o.Status = StatusExpired
	}
	if _, ok := errors.AsType[*PendingError](err); ok {
		o.Status = StatusPending
	}
	if handled, ok := errors.AsType[*AlreadyHandledError](err); ok {
		o.Status = handled.status()
	}
	return o
}

// observed is what any observation of the call says. It asks nothing of err, which may be the function's.
func (c *claim) observed(err error) Observation {
	o := Observation{RequestID: c.requestID, Amount: c.params.Amount, Currency: strings.ToUpper(c.params.Currency), Category: c.params.Category, Err: err}
	if c.purchase != nil {
		o.Currency, o.Category = c.purchase.Currency, c.purchase.Category
	}
	return o
}

// settled reports whether an error is the last word on a purchase, so that the journal need not know of it.
func settled(err error) bool {
	_, rejected := errors.AsType[*RejectedError](err)
	_, expired := errors.AsType[*ExpiredError](err)
	_, handled := errors.AsType[*AlreadyHandledError](err)
	return rejected || expired || handled
}

// notNested refuses a claim to what the calling function itself runs under: it would wait for itself.
func (c *claim) notNested(ctx context.Context) error {
	for {
		outer, ok := ApprovalFromContext(ctx)
		if !ok {
			return nil
		}
		key := c.lockedKey()
		if outer.requestID == c.requestID || key != "" && key == outer.claim.lockedKey() && outer.client.identity == c.client.identity {
			running := &Request{RequestID: outer.requestID, Status: StatusApproved, Amount: outer.amount, Category: outer.category}
			return &AlreadyHandledError{Request: running, IdempotencyKey: outer.idempotencyKey, MayHaveRun: true, Err: errors.New("it is running now")}
		}
		ctx = outer.callContext
	}
}

// lockedKey returns the idempotency key under which no other call can be while this one lasts, empty for a random one.
func (c *claim) lockedKey() string {
	if c.own {
		return c.params.IdempotencyKey
	}
	return c.entryKey
}

func (c *claim) holdKey(ctx context.Context) error {
	return c.hold(ctx, lockKey{c.client.identity, "authorize", c.lockedKey()})
}

// hold takes a lock that is kept until the approval is settled.
func (c *claim) hold(ctx context.Context, key lockKey) error {
	held, err := c.client.lock(ctx, operation.Guard, key, c.config.lockWait())
	if err != nil {
		return err
	}
	c.held[slices.Index(c.held[:], nil)] = held
	return nil
}

// holdRequest takes hold of the request, once its id is known. What this process has started is not started again, nor
// what it knows to have ended.
func (c *claim) holdRequest(ctx context.Context) error {
	if err := c.notNested(ctx); err != nil {
		return err
	}
	return c.hold(ctx, lockKey{c.client.service, "run", c.requestID})
}

func (c *claim) release() {
	for i, held := range slices.Backward(c.held[:]) {
		if held != nil {
			held.Release()
			c.held[i] = nil
		}
	}
}

// read reads a request, even when ctx has ended since it was made: what can no longer run is to be given back.
func (c *claim) read(ctx context.Context, requestID string) (*Request, error) {
	state, err := c.client.Request(ctx, requestID)
	if err == nil || ctx.Err() == nil {
		return state, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptLimit)
	defer cancel()
	return c.client.Request(ctx, requestID)
}

// wait waits for a decision as the options say.
func (c *claim) wait(ctx context.Context, state *Request) (*Request, error) {
	if !c.resumed && c.record.entry.RequestID != c.requestID { // so that whoever resumes the request finds the entry
		c.record.entry.RequestID = c.requestID
		if err := c.record.put(ctx, JournalAsked); err != nil {
			return nil, err
		}
	}
	pending := &PendingError{RequestID: c.requestID, IdempotencyKey: c.params.IdempotencyKey, ExpiresAt: state.ExpiresAt}
	if c.config.pendingWait == 0 {
		return nil, pending
	}
	decided, err := c.client.WaitForDecision(ctx, c.requestID, WaitTimeout(c.config.pendingWait))
	if err != nil {
		pending.Err = err
		return nil, pending
	}
	return decided, nil
}

// verdict turns every state but an approval into an error.
func (c *claim) verdict(state *Request) error {
	switch {
	case state.Status.Approved():
		return nil
	case state.Status == StatusRejected:
		rejected := &RejectedError{RequestID: c.requestID, IdempotencyKey: c.params.IdempotencyKey}
		if c.purchase != nil {
			rejected.Checks = c.purchase.PolicyCheck.Failed()
		}
		return rejected
	case state.Status == StatusExpired:
		return &ExpiredError{RequestID: c.requestID, IdempotencyKey: c.params.IdempotencyKey}
	default:
		return &AlreadyHandledError{Request: state, IdempotencyKey: c.params.IdempotencyKey}
	}
}

// withCleanup returns err, joined with the error of what was to be tidied up after it.
func withCleanup(err, cleanupErr error) error {
	if cleanupErr == nil {
		return err
	}
	return errors.Join(err, cleanupErr)
}
