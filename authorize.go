package letagentpay

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
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
	ctx, end := c.begin(ctx, OpGuard)
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

// withDuplicates joins an error with the duplicates of the purchase that ended in it.
func (c *claim) withDuplicates(err error) error {
	if err == nil || c.purchase == nil || len(c.purchase.Duplicates) == 0 {
		return err
	}
	duplicates := &DuplicateError{RequestID: c.purchase.RequestID, Duplicates: c.purchase.Duplicates, IdempotencyKey: c.params.IdempotencyKey}
	return errors.Join(err, duplicates)
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

	held [2]*heldLock[lockKey] // the key and the request
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
		return c.giveBack(ctx, &APIError{Op: OpGuard, IdempotencyKey: c.params.IdempotencyKey, Err: err, withdrawn: !c.resumed, waiting: c.resumed})
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
	held := c.client.process.inFlight.tryLock(lockKey{c.client.service, "confirm", c.requestID})
	if held != nil {
		held.release()
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

// baseline is when the newest request was created, at a moment, and all requests of that instant; zero if there was none.
type baseline struct {
	taken     bool
	createdAt time.Time
	ids       []string
}

// hold takes a lock that is kept until the approval is settled.
func (c *claim) hold(ctx context.Context, key lockKey) error {
	held, err := c.client.lock(ctx, OpGuard, key, c.config.lockWait())
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

// startedHere refuses what this process has started and the service does not know to have ended.
func (c *claim) startedHere() error {
	if c.client.standing(c.requestID) != startedHere {
		return nil
	}
	known := &Request{RequestID: c.requestID, Status: StatusApproved, Amount: c.params.Amount, Category: c.params.Category}
	return &AlreadyHandledError{
		Request: known, IdempotencyKey: c.params.IdempotencyKey, MayHaveRun: true,
		Err: errors.New("it has run, and is still to be confirmed"),
	}
}

// notFinishedHere refuses what this process has confirmed, should a read be so old that it does not show it.
func (c *claim) notFinishedHere(state *Request) error {
	if c.client.standing(c.requestID) != finishedHere || state.Status.Final() {
		return nil
	}
	return &AlreadyHandledError{
		Request: state, IdempotencyKey: c.params.IdempotencyKey, MayHaveRun: true,
		Err: errors.New("this process has confirmed it"),
	}
}

func (c *claim) release() {
	for i, held := range slices.Backward(c.held[:]) {
		if held != nil {
			held.release()
			c.held[i] = nil
		}
	}
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

// ask makes the purchase, unless a request is resumed, and takes hold of the request.
func (c *claim) ask(ctx context.Context, scoped *scopedPurchase) (earlier *JournalEntry, err error) {
	if err := c.notNested(ctx); err != nil {
		return nil, err
	}
	if c.resumed {
		return c.resume(ctx)
	}
	c.record.describe(c.client, "key", c.params.IdempotencyKey, &c.params, c.config.function)
	if c.own {
		if err := c.holdKey(ctx); err != nil {
			return nil, err
		}
		if earlier, err := c.consult(ctx, scoped); err != nil || earlier != nil {
			return earlier, err
		}
	} // else nobody can have asked under the key before, as if there were no requests
	c.record.entry.NewestAt, c.record.entry.NewestIDs = c.baseline.createdAt, c.baseline.ids
	if err := c.record.put(ctx, JournalAsked); err != nil {
		return nil, err
	}
	c.purchase, err = c.client.post(ctx, &c.params, c.baseline, !c.own, c.config.lockWait(), c.noteAnswer)
	if err != nil {
		return nil, c.refused(ctx, err)
	}
	c.noteInRecord(ctx)
	scoped.answered(c.purchase.Category, c.purchase.OriginalCategory)
	c.requestID = c.purchase.RequestID
	if err := c.holdRequest(ctx); err != nil {
		return nil, c.forget(ctx, err)
	}
	return c.consultAboutOthers(ctx)
}

// noteAnswer notes the request before anybody else can take it for a stray one. Under a random key it is this process's,
// unless the process knows it; under another key it is if it came after the baseline, which only a read shows.
func (c *claim) noteAnswer(purchase *Purchase) {
	if purchase.Status == StatusRejected {
		return
	}
	if c.known = c.client.standing(purchase.RequestID) != unknownHere; c.known {
		return
	}
	asked := &askedRequest{content: purchase.content(&c.params), name: c.params.Category}
	if c.own {
		since := c.baseline
		asked.since = &since
	}
	c.client.process.ask(c.client.requestKey(purchase.RequestID), asked)
}

// noteInRecord puts into the record what the answer says, and which of the requests that an earlier call found, without
// knowing which was the purchase, are not. The journal learns of them before the caller does, so that the purchase is not
// continued under one of them.
func (c *claim) noteInRecord(ctx context.Context) {
	entry := &c.record.entry
	known := len(entry.Duplicates)
	for _, id := range entry.Found {
		if id != c.purchase.RequestID && !slices.Contains(c.purchase.Duplicates, id) && !c.isOver(ctx, id) {
			c.purchase.Duplicates = append(c.purchase.Duplicates, id)
		}
	}
	for _, id := range entry.Duplicates {
		if id != c.purchase.RequestID && !slices.Contains(c.purchase.Duplicates, id) {
			c.purchase.Duplicates = append(c.purchase.Duplicates, id)
		}
	}
	entry.Currency, entry.Category = c.purchase.Currency, c.purchase.Category
	entry.Duplicates, entry.Found = c.purchase.Duplicates, nil
	entry.Unclear = entry.Unclear || c.purchase.posting != nil
	if len(entry.Duplicates) == known && (known == 0 || entry.RequestID == c.purchase.RequestID) {
		return
	}
	for _, id := range entry.Duplicates {
		c.client.process.noteDuplicate(c.client.requestKey(id), counted{c.purchase.RequestID, c.params.IdempotencyKey})
	}
	entry.RequestID = c.purchase.RequestID
	if c.record.put(context.WithoutCancel(ctx), JournalAsked) != nil {
		entry.RequestID = "" // wait and start write it again, and fail if they cannot
	}
}

// isOver reports whether a request that was found earlier has run since, resumed by its id, or has no money booked any
// more. Then it is no duplicate to be given back.
func (c *claim) isOver(ctx context.Context, requestID string) bool {
	switch c.client.standing(requestID) {
	case startedHere, finishedHere:
		return true
	}
	if found, err := c.client.ofRequest(ctx, c.config.journal, requestID, c.record.entry.Key); err != nil || found.entry != nil {
		return true
	}
	state, err := c.client.Request(ctx, requestID)
	return err == nil && state.Status.Final()
}

// consultAboutOthers finds out whether a request that an earlier call had asked for was resumed by its id meanwhile,
// before the journal knew which request the key had led to.
func (c *claim) consultAboutOthers(ctx context.Context) (earlier *JournalEntry, err error) {
	if c.config.journal == nil || !c.own || !c.asked && !c.known {
		return nil, nil
	}
	found, err := c.client.ofRequest(ctx, c.config.journal, c.requestID, c.record.entry.Key)
	entry := found.entry
	if err != nil || entry == nil {
		return nil, err
	}
	if err := c.compareEntry(ctx, entry); err != nil {
		return nil, c.forget(ctx, err)
	}
	if earlier, err = c.past(ctx, entry); err != nil || earlier != nil {
		c.client.process.start(c.client.requestKey(c.requestID)) // the key's own entry says so no more
		if dropErr := c.record.drop(ctx); dropErr != nil {       // the other entry is the one that counts
			return nil, dropErr
		}
	}
	return earlier, err
}

// refused forgets the journal's entry of a purchase that certainly was not accepted.
func (c *claim) refused(ctx context.Context, err error) error {
	if unknown, ok := errors.AsType[*OutcomeUnknownError](err); ok || c.asked {
		if ok && unknown.alone && len(unknown.Found) > 0 {
			for _, id := range unknown.Found {
				if !slices.Contains(c.record.entry.Found, id) {
					c.record.entry.Found = append(c.record.entry.Found, id)
				}
			}
			c.record.entry.Unclear = true
			return withCleanup(err, c.record.put(context.WithoutCancel(ctx), JournalAsked))
		}
		return err
	}
	return withCleanup(err, c.record.drop(context.WithoutCancel(ctx)))
}

// withCleanup returns err, joined with the error of what was to be tidied up after it.
func withCleanup(err, cleanupErr error) error {
	if cleanupErr == nil {
		return err
	}
	return errors.Join(err, cleanupErr)
}

// consult finds out what is known of an own key before anything is asked under it.
func (c *claim) consult(ctx context.Context, scoped *scopedPurchase) (earlier *JournalEntry, err error) {
	entry, err := c.record.find(ctx)
	if err != nil {
		return nil, err
	}
	if entry != nil {
		if entry.Category != "" {
			scoped.answered(entry.Category, entry.Purchase.Category)
		}
		if err := c.compareEntry(ctx, entry); err != nil {
			return nil, err
		}
		c.recall(entry)
		c.baseline, c.asked = baseline{!entry.NewestAt.IsZero(), entry.NewestAt, entry.NewestIDs}, entry.State == JournalAsked
		return c.past(ctx, entry)
	}
	c.baseline, err = c.client.newest(ctx)
	return nil, err
}

// recall takes over what an entry says of the requests that an earlier call under the key has made.
func (c *claim) recall(entry *JournalEntry) {
	known := &c.record.entry
	known.Found, known.Unclear, known.Duplicates = slices.Clone(entry.Found), entry.Unclear, slices.Clone(entry.Duplicates)
	if entry.RequestID == "" {
		return
	}
	known.Found = append(known.Found, entry.RequestID) // it is a stray one, should the key lead to another now
	if len(entry.Duplicates) > 0 {
		known.RequestID = entry.RequestID
	}
	for _, id := range entry.Duplicates {
		c.client.process.noteDuplicate(c.client.requestKey(id), counted{entry.RequestID, c.params.IdempotencyKey})
	}
}

// compareEntry holds what the journal says was asked for against what the call describes.
func (c *claim) compareEntry(ctx context.Context, entry *JournalEntry) error {
	described, requested := contentOf(&c.params), contentOf(&entry.Purchase)
	if requested.currency == "" {
		requested.currency = entry.Currency
	}
	if err := described.mismatch(entry.RequestID, requested); err != nil {
		return err
	}
	if described.category == requested.category {
		return nil
	}
	category := entry.Category
	if category == "" {
		category = entry.Purchase.Category
	}
	return c.sameCategory(ctx, category, entry.Purchase.Category)
}

// sameCategory refuses a category that is not shown to be the one described.
func (c *claim) sameCategory(ctx context.Context, category string, askedUnder ...string) error {
	return c.client.sameCategory(ctx, c.requestID, category, c.params.Category, askedUnder...)
}

// past refuses what was started, and may have run, and returns the entry of what has run.
func (c *claim) past(ctx context.Context, entry *JournalEntry) (earlier *JournalEntry, err error) {
	switch entry.State {
	case JournalAsked:
		return nil, nil
	case JournalStarted:
		request, err := c.client.Request(ctx, entry.RequestID)
		if err != nil {
			return nil, err
		}
		handled := &AlreadyHandledError{Request: request, IdempotencyKey: c.params.IdempotencyKey, MayHaveRun: true}
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

// resume takes hold of a request that the caller has named, and of the key that the journal says it was made under: calls
// under that key write the same entry.
func (c *claim) resume(ctx context.Context) (earlier *JournalEntry, err error) {
	c.record.describe(c.client, "request", c.requestID, &c.params, c.config.function)
	for {
		if err := c.holdRequest(ctx); err != nil {
			return nil, err
		}
		found, err := c.client.ofRequest(ctx, c.config.journal, c.requestID, "")
		if err != nil {
			return nil, err
		}
		key := cmp.Or(c.client.keyOf(found.entry), c.client.keyOf(found.foundUnder))
		if key == c.entryKey {
			if err := c.isNoDuplicate(ctx, found.duplicateOf); err != nil {
				return nil, err
			}
			return c.consultAboutResumed(ctx, found.entry)
		}
		c.release()
		if c.entryKey = key; key == "" {
			continue
		}
		if err := c.notNested(ctx); err != nil {
			return nil, err
		}
		if err := c.holdKey(ctx); err != nil {
			return nil, err
		}
	}
}

// isNoDuplicate refuses a request that is known as a further one of a purchase, unless that itself has come to nothing. The
// journal says that it is a duplicate of the request named, if it is not empty.
func (c *claim) isNoDuplicate(ctx context.Context, of string) error {
	if of == "" {
		of = c.client.process.duplicateOf(c.client.requestKey(c.requestID))
	}
	if of == "" {
		return nil
	}
	state, err := c.client.Request(ctx, of)
	if err != nil {
		return err
	}
	switch state.Status {
	case StatusFailed, StatusRejected, StatusExpired:
		return nil
	}
	return c.duplicateOf(state)
}

// duplicateOf is the error of a request beside another one that counts.
func (c *claim) duplicateOf(counts *Request) error {
	key := c.params.IdempotencyKey
	return errors.Join(
		&AlreadyHandledError{Request: counts, IdempotencyKey: key, MayHaveRun: !counts.Status.Final() && counts.Status != StatusPending},
		&DuplicateError{RequestID: counts.RequestID, Duplicates: []string{c.requestID}, IdempotencyKey: key},
	)
}

// consultAboutResumed finds out what this process knows of a resumed request, and the journal, which has an entry of it if
// that is not nil.
func (c *claim) consultAboutResumed(ctx context.Context, entry *JournalEntry) (earlier *JournalEntry, err error) {
	if entry == nil {
		return nil, c.startedHere()
	}
	if err := c.compareEntry(ctx, entry); err != nil {
		return nil, err
	}
	if entry.State == JournalExecuted || entry.State == JournalSettled {
		return entry, nil
	}
	if err := c.startedHere(); err != nil {
		return nil, err
	}
	c.record.entry, c.recorded = *entry, true
	c.record.entry.Function = c.config.function // the one that runs, whichever has asked
	return nil, nil
}

// forget drops the journal's entry of a purchase about which err is the last word.
func (c *claim) forget(ctx context.Context, err error) error {
	_, mismatch := errors.AsType[*MismatchError](err) // the entry is of this call, and the key another purchase's
	if err == nil || c.resumed || !settled(err) && (!mismatch || c.asked) {
		return err
	}
	if len(c.record.entry.Duplicates) > 0 {
		return err // Recover reports them until their money is back
	}
	dropErr := c.record.drop(context.WithoutCancel(ctx))
	if reason, ok := errors.AsType[*errMovesOn](err); ok {
		return &errMovesOn{reason.ended, withCleanup(reason.err, dropErr)}
	}
	return withCleanup(err, dropErr)
}

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
		return &OutcomeUnknownError{Op: "purchase", IdempotencyKey: c.params.IdempotencyKey, RequestID: c.requestID, Err: err}
	}
	return &AlreadyHandledError{
		Request: request, IdempotencyKey: c.params.IdempotencyKey,
		Err: errors.New("the answer names a request that another call of this process has made"),
	}
}

// remember notes that this process has asked for the request, and has surely not started it.
func (c *claim) remember() {
	c.client.process.ask(c.client.requestKey(c.requestID), &askedRequest{content: c.purchase.content(&c.params), name: c.params.Category})
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
		return "", &OutcomeUnknownError{Op: "purchase", IdempotencyKey: c.params.IdempotencyKey, RequestID: c.requestID, Err: err}
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
			Op: "purchase", IdempotencyKey: c.params.IdempotencyKey, RequestID: c.requestID,
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
			return &OutcomeUnknownError{Op: "purchase", IdempotencyKey: c.params.IdempotencyKey, RequestID: c.requestID, Err: err}
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
		return &APIError{Op: "requests", malformed: true, Err: errors.New("the list does not show request " + c.requestID)}
	}
	return described.mismatch(c.requestID, contentOfRequest(row))
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

// precedes reports whether a request surely came into being after the baseline. All that is compared are the service's
// own stamps, so nobody's clock matters; any doubt counts as before.
func (b baseline) precedes(state *Request) bool {
	return state.CreatedAt.After(b.createdAt) || state.CreatedAt.Equal(b.createdAt) && !slices.Contains(b.ids, state.RequestID)
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

// newest returns the baseline of this moment.
func (c *Client) newest(ctx context.Context) (baseline, error) {
	b := baseline{taken: true}
	for _, limit := range []int{5, maxPageSize} { // several requests in one microsecond are rare, and more than five rarer
		page, err := c.page(ctx, "", limit, 0, -1)
		if err != nil || len(page) == 0 {
			return b, err
		}
		b.createdAt, b.ids = page[0].CreatedAt, nil
		for i := range page {
			if !page[i].CreatedAt.Equal(b.createdAt) {
				return b, nil
			}
			b.ids = append(b.ids, page[i].RequestID)
		}
		if len(page) < limit {
			return b, nil
		}
	}
	b.createdAt = b.createdAt.Add(1) // not all of that instant are known, so none counts as later
	return b, nil
}
