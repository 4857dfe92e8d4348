package letagentpay

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	defaultPendingWait = 5 * time.Minute
	settleLimit        = 10 * time.Second // how long a confirmation is tried for, whatever becomes of the caller's context
)

// GuardOption adjusts [Guard] and [Client.Authorize].
type GuardOption func(*guardConfig) error

type guardConfig struct {
	pendingWait time.Duration // 0: do not wait
	journal     Journal       // nil: none
	codec       ResultCodec
}

func newGuardConfig(opts []GuardOption) (*guardConfig, error) {
	g := &guardConfig{pendingWait: defaultPendingWait, codec: jsonCodec{}}
	for _, option := range opts {
		if option == nil {
			return nil, paramError("GuardOption", "", "want an option, not nil")
		}
		if err := option(g); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// OnPendingWait waits up to d for a human when the policy neither approves nor rejects; the default is 5 minutes. The
// context's deadline bounds the wait too. When it ends undecided, the error is a [*PendingError] that wraps a
// [*WaitTimeoutError], and the purchase can be resumed later with [ResumeApproval].
func OnPendingWait(d time.Duration) GuardOption {
	return func(g *guardConfig) error {
		if d <= 0 {
			return paramError("OnPendingWait", d.String(), "want a duration above zero; use OnPendingFail not to wait")
		}
		g.pendingWait = d
		return nil
	}
}

// OnPendingFail does not wait for a human: a pending purchase is a [*PendingError] at once, with the request id to
// resume it by; see [ResumeApproval].
func OnPendingFail() GuardOption {
	return func(g *guardConfig) error {
		g.pendingWait = 0
		return nil
	}
}

type (
	approvalKey struct{}
	resumeKey   struct{}
)

// ResumeApproval returns a context under which the next [Guard] call or [Client.Authorize] does not ask anew but
// continues the purchase request with the given id, for example one that an earlier call reported in a
// [*PendingError]. The request's amount and category must be those that the call describes now; otherwise the error is
// a [*MismatchError]. (A category described by an alias is recognised by the client that has asked under it before;
// elsewhere describe it by the name that the service resolved it to.) An approved request is run, a pending one waited for, and one that was confirmed already is an
// [*AlreadyHandledError].
//
// Resuming says that the earlier call did not and will not run: the service cannot tell.
func ResumeApproval(ctx context.Context, requestID string) context.Context {
	return context.WithValue(ctx, resumeKey{}, requestID)
}

// ApprovalFromContext returns the approval that a guarded function runs under.
func ApprovalFromContext(ctx context.Context) (*Approval, bool) {
	approval, ok := ctx.Value(approvalKey{}).(*Approval)
	return approval, ok
}

// Guard returns fn gated on approval: each call asks for what describe says it will buy, runs fn only when that is
// approved, and tells the service how it ended.
//
//   - Anything but an approval, and any doubt, is an error, and fn does not run: [*RejectedError], [*PendingError] and
//     [*ExpiredError], which match [ErrNotApproved]; [*MismatchError], [*AlreadyHandledError], [*ParamError],
//     [*OutcomeUnknownError] and [*APIError].
//   - fn returns no error: the purchase is confirmed as completed, for the amount requested unless fn has called
//     [Approval.Spent] on the approval that [ApprovalFromContext] gives it.
//   - fn returns an error, panics or ends its goroutine: the purchase is confirmed as failed and the money returns to
//     the budget, unless fn has called Spent: then what was spent is confirmed. A panic goes on.
//   - The confirmation does not get through within 10 seconds: fn's result is returned all the same, its error joined
//     with a [*ConfirmError]. The confirmation does not depend on ctx, so a call may return up to that much after ctx
//     has ended.
//
// With a caller's own [PurchaseParams.IdempotencyKey], a call that was made before is not run again:
// [*AlreadyHandledError]. That costs two small reads a call. Calls under one key at the same time run one after another
// within a process, so one may wait for another even with [OnPendingFail]; processes that share keys must see to that
// themselves. The service remembers keys for 24 hours.
//
// A nil client, describe or fn, or a bad option, is a [*ParamError] from each call. The function returned is safe for
// concurrent use if describe and fn are.
func Guard[In, Out any](c *Client, describe func(In) PurchaseParams, fn func(context.Context, In) (Out, error), opts ...GuardOption) func(context.Context, In) (Out, error) {
	g, optionErr := newGuardConfig(opts)
	return func(ctx context.Context, in In) (out Out, err error) {
		switch {
		case c == nil:
			return out, paramError("Guard client", "", "want a client, not nil")
		case describe == nil:
			return out, paramError("Guard describe", "", "want a function, not nil")
		case fn == nil:
			return out, paramError("Guard fn", "", "want a function, not nil")
		case optionErr != nil:
			return out, optionErr
		}
		approval, earlier, err := c.authorize(ctx, describe(in), g)
		if err != nil {
			return out, err
		}
		if earlier != nil {
			return out, c.replay(ctx, g, earlier, &out)
		}
		returned := false
		defer func() {
			if returned {
				return
			}
			// fn panicked or ended its goroutine; that goes on when this is done.
			approval.keepFailure(errDidNotReturn)
			if err := approval.Settle(approval.callContext, errDidNotReturn); err != nil {
				c.transport.warn(ctx, "letagentpay.unconfirmed", slog.String("request_id", approval.RequestID()), slog.String("error", err.Error()))
			}
		}()
		out, err = fn(approval.context(), in)
		returned = true
		approval.keep(g, out, err)
		if settleErr := approval.Settle(approval.callContext, err); settleErr != nil {
			if err == nil {
				return out, settleErr
			}
			return out, errors.Join(err, settleErr)
		}
		return out, err
	}
}

var errDidNotReturn = errors.New("the guarded function did not return")

// Approval is the permission to spend up to an amount once, as [Client.Authorize] gives it. It ends with
// [Approval.Settle]. It is safe for concurrent use.
type Approval struct {
	client         *Client
	requestID      string
	amount         Amount
	category       string
	idempotencyKey string
	turn           chan struct{} // holds a value while a Settle is under way
	claim          *claim        // whoever has the turn writes its record
	callContext    context.Context
	end            func(Observation) // tells the observers; nil when they have been told

	mu       sync.Mutex
	spending *ConfirmParams // what Spent recorded
	outcome  *ConfirmParams // what the first Settle decided
	doubt    bool           // an earlier confirmation may have got through
	settled  bool
	result   []byte // what the guarded function returned, for the journal
	failure  string // the text of its error
}

// RequestID returns the id of the purchase request.
func (a *Approval) RequestID() string { return a.requestID }

// Amount returns the amount approved.
func (a *Approval) Amount() Amount { return a.amount }

// Category returns the category that the purchase was approved under, as the service resolved it.
func (a *Approval) Category() string { return a.category }

// IdempotencyKey returns the key that the purchase was sent under; empty for a resumed purchase.
func (a *Approval) IdempotencyKey() string { return a.idempotencyKey }

// context returns the context for the guarded function: that of the call, with the approval and what observers have
// added, and without the id that this call resumed.
func (a *Approval) context() context.Context {
	ctx := context.WithValue(a.callContext, approvalKey{}, a)
	if ctx.Value(resumeKey{}) != nil {
		ctx = context.WithValue(ctx, resumeKey{}, nil)
	}
	return ctx
}

// Authorize asks for the approval of a purchase and returns once it is approved: the two-phase form of [Guard], for
// code that is no single function, such as middleware and workflows. Every Approval must be ended with
// [Approval.Settle]. The errors are Guard's; with any of them nothing may be bought.
func (c *Client) Authorize(ctx context.Context, p PurchaseParams, opts ...GuardOption) (*Approval, error) {
	g, err := newGuardConfig(opts)
	if err != nil {
		return nil, err
	}
	approval, earlier, err := c.authorize(ctx, p, g)
	if earlier != nil {
		return nil, earlier.handled()
	}
	return approval, err
}

// authorize is Authorize; earlier is the journal's entry of a call whose function has returned before.
func (c *Client) authorize(ctx context.Context, p PurchaseParams, g *guardConfig) (approval *Approval, earlier *JournalEntry, err error) {
	if ctx == nil {
		return nil, nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	if err := p.validate(); err != nil {
		return nil, nil, err
	}
	ctx, end := c.begin(ctx, OpGuard)
	claim := &claim{client: c, config: g, record: record{journal: g.journal}}
	defer func() {
		if approval == nil {
			end(claim.observation(earlier, err))
		}
	}()
	if claim.requestID, claim.resumed = ctx.Value(resumeKey{}).(string); claim.resumed {
		if err := checkRequestID(claim.requestID); err != nil {
			return nil, nil, err
		}
	} else {
		used, scopeErr := scoped(ctx, &p)
		if scopeErr != nil {
			return nil, nil, scopeErr
		}
		defer func() { used(err == nil || settled(err)) }()
	}
	claim.params, claim.own = p, p.IdempotencyKey != ""
	if !claim.own && !claim.resumed {
		claim.params.IdempotencyKey = rand.Text()
	}
	defer func() {
		if approval == nil {
			claim.release()
		}
	}()
	if earlier, err = claim.ask(ctx); err != nil || earlier != nil {
		return nil, earlier, err
	}
	category, err := claim.approved(ctx)
	if err == nil {
		claim.record.entry.RequestID, claim.record.entry.Category = claim.requestID, category
		err = claim.record.put(ctx, JournalStarted)
	}
	if err = claim.forget(ctx, err); err != nil {
		return nil, nil, err
	}
	c.started.add(claim.requestID)
	return &Approval{
		client: c, requestID: claim.requestID, amount: p.Amount, category: category, idempotencyKey: claim.params.IdempotencyKey,
		claim: claim, turn: make(chan struct{}, 1), callContext: ctx, end: end,
	}, nil, nil
}

// observation says how a call ended that did not come to an approval.
func (c *claim) observation(earlier *JournalEntry, err error) Observation {
	o := Observation{RequestID: c.requestID, Amount: c.params.Amount, Currency: strings.ToUpper(c.params.Currency), Category: c.params.Category, Err: err}
	if c.purchase != nil {
		o.Currency, o.Category = c.purchase.Currency, c.purchase.Category
	}
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
		o.Status = handled.Request.Status
	}
	return o
}

// settled reports whether an error is the last word on a purchase, so that asking again would be asking anew.
func settled(err error) bool {
	_, rejected := errors.AsType[*RejectedError](err)
	_, expired := errors.AsType[*ExpiredError](err)
	_, handled := errors.AsType[*AlreadyHandledError](err)
	return rejected || expired || handled
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
	recorded bool     // the record is the journal's entry of the resumed request

	held [2]*heldLock // the key and the request
}

// baseline is when the newest request was created, at a moment, and all requests of that instant; zero if there was none.
type baseline struct {
	createdAt time.Time
	ids       []string
}

func (c *claim) hold(ctx context.Context, name string) error {
	held, err := c.client.lock(ctx, "authorize", name)
	if err != nil {
		return err
	}
	c.held[slices.Index(c.held[:], nil)] = held
	return nil
}

// holdRequest takes hold of the request, once its id is known. What this client has started, and could not tell the
// service about, is not started again.
func (c *claim) holdRequest(ctx context.Context) error {
	if err := c.within(ctx); err != nil {
		return err
	}
	if err := c.hold(ctx, "run "+c.requestID); err != nil {
		return err
	}
	if c.client.started.has(c.requestID) {
		running := &Request{RequestID: c.requestID, Status: StatusApproved, Amount: c.params.Amount, Category: c.params.Category}
		return &AlreadyHandledError{Request: running, IdempotencyKey: c.params.IdempotencyKey, Err: errors.New("it has run, and is still to be confirmed")}
	}
	return nil
}

func (c *claim) release() {
	for _, held := range slices.Backward(c.held[:]) {
		if held != nil {
			held.release()
		}
	}
}

// within refuses a claim to what the calling function itself runs under: it would wait for itself for ever.
func (c *claim) within(ctx context.Context) error {
	for {
		outer, ok := ApprovalFromContext(ctx)
		if !ok {
			return nil
		}
		if outer.requestID == c.requestID || c.own && outer.idempotencyKey == c.params.IdempotencyKey && outer.client.identity == c.client.identity {
			running := &Request{RequestID: outer.requestID, Status: StatusApproved, Amount: outer.amount, Category: outer.category}
			return &AlreadyHandledError{Request: running, IdempotencyKey: outer.idempotencyKey, Err: errors.New("it is running now")}
		}
		ctx = outer.callContext
	}
}

// ask asks for the purchase, unless it is resumed, and takes hold of the request.
func (c *claim) ask(ctx context.Context) (earlier *JournalEntry, err error) {
	if err := c.within(ctx); err != nil {
		return nil, err
	}
	if c.resumed {
		if err := c.holdRequest(ctx); err != nil {
			return nil, err
		}
		return c.consultAboutResumed(ctx)
	}
	c.record.describe(c.client, c.params.IdempotencyKey, &c.params)
	if c.own {
		if err := c.hold(ctx, "authorize key "+c.params.IdempotencyKey); err != nil {
			return nil, err
		}
		if earlier, err := c.consult(ctx); err != nil || earlier != nil {
			return earlier, err
		}
	} // else nobody can have asked under the key before, as if there were no requests
	c.record.entry.NewestAt, c.record.entry.NewestIDs = c.baseline.createdAt, c.baseline.ids
	if err := c.record.put(ctx, JournalAsked); err != nil {
		return nil, err
	}
	if c.own {
		c.purchase, err = c.client.Purchase(ctx, c.params)
	} else {
		c.purchase, err = c.client.purchaseAnew(ctx, &c.params)
	}
	if err != nil {
		return nil, c.refused(ctx, err)
	}
	c.requestID = c.purchase.RequestID
	if err := c.holdRequest(ctx); err != nil {
		return nil, c.forget(ctx, err)
	}
	return c.consultAboutOthers(ctx)
}

// consultAboutOthers finds out whether a request that an earlier call had asked for was resumed by its id meanwhile,
// before the journal knew which request the key had led to.
func (c *claim) consultAboutOthers(ctx context.Context) (earlier *JournalEntry, err error) {
	if !c.asked {
		return nil, nil
	}
	entry, err := c.client.ofRequest(ctx, c.config.journal, c.requestID, c.record.entry.Key)
	if err != nil || entry == nil {
		return nil, err
	}
	if earlier, err = c.past(ctx, entry); err != nil || earlier != nil {
		if dropErr := c.record.drop(ctx); dropErr != nil { // the other entry is the one that counts
			return nil, dropErr
		}
	}
	return earlier, err
}

// refused forgets the journal's entry of a purchase that certainly was not accepted.
func (c *claim) refused(ctx context.Context, err error) error {
	if _, unknown := errors.AsType[*OutcomeUnknownError](err); unknown || c.asked {
		return err
	}
	if dropErr := c.record.drop(context.WithoutCancel(ctx)); dropErr != nil {
		return errors.Join(err, dropErr)
	}
	return err
}

// consult finds out what is known of an own key before anything is asked under it.
func (c *claim) consult(ctx context.Context) (earlier *JournalEntry, err error) {
	entry, err := c.record.find(ctx)
	if err != nil {
		return nil, err
	}
	if entry != nil {
		if entry.Purchase.Amount != c.params.Amount {
			return nil, &MismatchError{RequestID: entry.RequestID, Field: "Amount", Requested: entry.Purchase.Amount.String(), Described: c.params.Amount.String()}
		}
		if normalCategory(entry.Purchase.Category) != normalCategory(c.params.Category) {
			return nil, &MismatchError{RequestID: entry.RequestID, Field: "Category", Requested: entry.Purchase.Category, Described: c.params.Category}
		}
		c.baseline, c.asked = baseline{entry.NewestAt, entry.NewestIDs}, entry.State == JournalAsked
		return c.past(ctx, entry)
	}
	c.baseline, err = c.client.newest(ctx)
	return nil, err
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
		return nil, &AlreadyHandledError{Request: request, IdempotencyKey: c.params.IdempotencyKey}
	default:
		return entry, nil
	}
}

// consultAboutResumed finds out what the journal knows of a resumed request.
func (c *claim) consultAboutResumed(ctx context.Context) (earlier *JournalEntry, err error) {
	c.record.describe(c.client, "request "+c.requestID, &c.params)
	if c.config.journal == nil {
		return nil, nil
	}
	entry, err := c.client.ofRequest(ctx, c.config.journal, c.requestID, "")
	if err != nil || entry == nil {
		return nil, err
	}
	if entry.State == JournalExecuted || entry.State == JournalSettled {
		return entry, nil
	}
	c.record.entry, c.recorded = *entry, true
	return nil, nil
}

// forget drops the journal's entry of a purchase about which err is the last word.
func (c *claim) forget(ctx context.Context, err error) error {
	_, mismatch := errors.AsType[*MismatchError](err) // the entry is of this call, and the key another purchase's
	if err == nil || c.resumed || !settled(err) && (!mismatch || c.asked) {
		return err
	}
	if dropErr := c.record.drop(context.WithoutCancel(ctx)); dropErr != nil {
		return errors.Join(err, dropErr)
	}
	return err
}

// approved returns the category once the request is approved and this call may run under it.
func (c *claim) approved(ctx context.Context) (category string, err error) {
	if !c.own && !c.resumed {
		// A random key: the request is this call's beyond doubt, and its answer is fresh.
		state := &Request{RequestID: c.requestID, Status: c.purchase.Status, ExpiresAt: c.purchase.ExpiresAt}
		if !state.Status.Decided() {
			if state, err = c.wait(ctx, state); err != nil {
				return "", err
			}
		}
		return c.purchase.Category, c.verdict(state)
	}
	// The answer may be an old one repeated, so only a read tells the state.
	state, err := c.client.Request(ctx, c.requestID)
	if err != nil && !c.resumed {
		return "", &OutcomeUnknownError{Op: "purchase", IdempotencyKey: c.params.IdempotencyKey, RequestID: c.requestID, Err: err}
	}
	if err != nil {
		return "", err
	}
	if err := c.matches(ctx, state); err != nil {
		return "", err
	}
	// Seen pending, it has not been run under. Seen approved, it is this call's only if it did not exist before.
	mine := c.resumed || state.Status == StatusPending || c.baseline.precedes(state)
	if !state.Status.Decided() {
		if state, err = c.wait(ctx, state); err != nil {
			return "", err
		}
	}
	if state.Status.Approved() && !mine {
		return "", &AlreadyHandledError{Request: state, IdempotencyKey: c.params.IdempotencyKey}
	}
	return state.Category, c.verdict(state)
}

// wait waits for a decision as the options say.
func (c *claim) wait(ctx context.Context, state *Request) (*Request, error) {
	if !c.resumed && c.record.entry.RequestID == "" { // so that whoever resumes the request finds the entry
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

// names is a set of strings. The zero value is ready.
type names struct {
	mu  sync.Mutex
	set map[string]struct{}
}

func (n *names) has(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, has := n.set[name]
	return has
}

func (n *names) add(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.set == nil {
		n.set = make(map[string]struct{})
	}
	n.set[name] = struct{}{}
}

func (n *names) drop(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.set, name)
}

// matches checks that the request is for what this call describes: a repeated key gets the first answer whatever is
// asked under it later, and a resumed id is whatever the caller says it is.
func (c *claim) matches(ctx context.Context, state *Request) error {
	mismatch := func(field, approved, described string) error {
		return &MismatchError{RequestID: c.requestID, Field: field, Requested: approved, Described: described}
	}
	if state.Amount != c.params.Amount {
		return mismatch("Amount", state.Amount.String(), c.params.Amount.String())
	}
	if same, err := c.sameCategory(ctx, state.Category); err != nil {
		return err
	} else if !same {
		return mismatch("Category", state.Category, c.params.Category)
	}
	if c.resumed && c.params.Currency != "" { // a purchase has it checked by the service
		budget, err := c.client.Budget(ctx)
		if err != nil {
			return err
		}
		if !strings.EqualFold(budget.Currency, c.params.Currency) {
			return mismatch("Currency", budget.Currency, c.params.Currency)
		}
	}
	return nil
}

// sameCategory reports whether what the call describes may have been resolved to category. An answer to a purchase
// tells what name it was asked under. For a resumed request that is not known: names of the account's categories
// resolve to themselves; other names are aliases or unknown, and no read tells which. An alias counts when the journal or
// an answer to this client has shown where it leads, and an unknown name leads to "other".
func (c *claim) sameCategory(ctx context.Context, category string) (bool, error) {
	described := normalCategory(c.params.Category)
	if described == category {
		return true, nil
	}
	if c.purchase != nil {
		return described == normalCategory(c.purchase.OriginalCategory), nil
	}
	if c.recorded { // the request came of what was described then
		return described == normalCategory(c.record.entry.Purchase.Category), nil
	}
	names, err := c.client.Categories(ctx)
	if err != nil {
		return false, err
	}
	if slices.Contains(names, described) {
		return false, nil
	}
	if known, ok := c.client.aliases.Load(described); ok {
		return known == category, nil
	}
	return category == "other", nil
}

// normalCategory brings the name of a category into the form in which the service compares names.
func normalCategory(name string) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(strings.TrimSpace(name)))
}

// newest returns the baseline of this moment.
func (c *Client) newest(ctx context.Context) (baseline, error) {
	var b baseline
	for _, limit := range []int{5, maxPageSize} { // several requests in one microsecond are rare, and more than five rarer
		page, err := c.page(ctx, "", limit, 0, -1)
		if err != nil || len(page) == 0 {
			return baseline{}, err
		}
		b = baseline{createdAt: page[0].CreatedAt}
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

// Spent records what was really paid, and with it that the money is gone: [Approval.Settle] then confirms this
// purchase as completed even when the function failed afterwards. The last call counts. Fractions of a cent are
// rounded, halves away from zero, as the service does, but never to nothing; what is beyond 9,999,999, the most that the
// service takes, is told as that.
//
// More than the approved amount is recorded as well, because it is the truth, and reported as an [*OverspendError],
// which matches [ErrOverspend]. An amount that is not positive is a [*ParamError]; the purchase then counts as paid
// for the approved amount, because something was paid. A receipt URL beyond 2000 characters is a [*ParamError] and
// dropped. After Settle the error matches [ErrSettled] and nothing is recorded.
func (a *Approval) Spent(actual Amount, receiptURL string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.outcome != nil {
		return fmt.Errorf("%w: purchase %s", ErrSettled, a.requestID)
	}
	a.spending = &ConfirmParams{Success: true}
	if actual.Sign() <= 0 {
		return paramError("actual", actual.String(), "want an amount above zero; a function that paid nothing returns an error and does not call Spent")
	}
	rounded := actual.RoundHalfUp()
	switch { // what the service takes
	case rounded.IsZero():
		rounded = leastAmount
	case maxAmount.Less(rounded):
		rounded = maxAmount
	}
	a.spending.ActualAmount = rounded
	receiptErr := checkText("receiptURL", receiptURL, 2000)
	if receiptErr == nil {
		a.spending.ReceiptURL = receiptURL
	}
	if a.amount.Less(rounded) {
		return errors.Join(&OverspendError{RequestID: a.requestID, Approved: a.amount, Actual: actual}, receiptErr)
	}
	return receiptErr
}

// Settle ends the approval and tells the service how: with a nil err the purchase is completed, for the amount that
// [Approval.Spent] recorded or else the one approved. With an error it failed and the money returns to the budget,
// unless Spent was called: then it is completed for what was spent.
//
// The confirmation does not depend on ctx being alive; it is tried for at most 10 seconds. When it does not get
// through, the error is a [*ConfirmError], and Settle may be called again. What the first call decided stands, whatever
// err later calls bring; after a success they return nil without doing anything. So Settle may be deferred.
func (a *Approval) Settle(ctx context.Context, err error) (settleErr error) {
	if a.claim == nil {
		return paramError("Approval", "", "want one that Client.Authorize has given")
	}
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	params, doubt, settled := a.decide(err)
	if settled {
		return nil
	}
	defer a.claim.release()
	if ctx == nil {
		ctx = context.Background()
	}
	if a.end != nil { // once, however often it takes
		end := a.end
		a.end = nil
		defer func() {
			o := a.claim.observation(nil, errors.Join(err, settleErr))
			o.Status, o.Category = params.status(), a.category
			if !params.ActualAmount.IsZero() {
				o.Amount = params.ActualAmount
			}
			end(o)
		}()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	journalErr := a.recordOutcome(ctx, params)
	_, confirmErr := a.client.confirm(ctx, a.requestID, params, doubt)

	a.mu.Lock()
	defer a.mu.Unlock()
	if confirmErr != nil {
		if _, unknown := errors.AsType[*OutcomeUnknownError](confirmErr); unknown {
			a.doubt = true
		}
		confirmErr = &ConfirmError{RequestID: a.requestID, Params: params, Err: confirmErr}
		if journalErr != nil {
			return errors.Join(confirmErr, journalErr)
		}
		return confirmErr
	}
	a.settled = true
	return a.claim.record.put(ctx, JournalSettled)
}

// recordOutcome writes down how it ended before the service is told. The service is told in any case.
func (a *Approval) recordOutcome(ctx context.Context, params ConfirmParams) error {
	a.mu.Lock()
	a.claim.record.entry.Confirm, a.claim.record.entry.Result, a.claim.record.entry.Error = params, a.result, a.failure
	a.mu.Unlock()
	return a.claim.record.put(ctx, JournalExecuted)
}

// keep holds what a guarded function returned, for the journal.
func (a *Approval) keep(g *guardConfig, result any, err error) {
	if g.journal == nil {
		return
	}
	encoded, encodeErr := encode(g.codec, result)
	a.mu.Lock()
	if encodeErr == nil && len(encoded) <= maxJournalResult {
		a.result = encoded
	}
	a.mu.Unlock()
	if err != nil {
		a.keepFailure(err)
	}
}

func (a *Approval) keepFailure(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failure = cmp.Or(err.Error(), "failed")
}

// encode turns a panic into an error: some codecs panic at a nil pointer, and the purchase is to be confirmed first of
// all.
func encode(codec ResultCodec, result any) (encoded []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the codec panicked: %v", r)
		}
	}()
	return codec.Encode(result)
}

// replay gives the result of an earlier run back, and tells the service of it if that is still to be done.
func (c *Client) replay(ctx context.Context, g *guardConfig, earlier *JournalEntry, out any) error {
	var err error
	if earlier.State == JournalExecuted {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
		defer cancel()
		err = c.confirmRecorded(limited, &record{journal: g.journal, entry: *earlier})
	}
	decodeErr := errors.New("its result could not be kept")
	if earlier.Result != nil {
		decodeErr = g.codec.Decode(earlier.Result, out)
	}
	if earlier.Error == "" && decodeErr == nil {
		return err
	}
	handled := earlier.handled()
	if handled.Err == nil {
		handled.Err = decodeErr
	}
	if err != nil {
		return errors.Join(handled, err)
	}
	return handled
}

// handled is the error of a call that an earlier one has made needless.
func (e *JournalEntry) handled() *AlreadyHandledError {
	handled := &AlreadyHandledError{
		Request:        &Request{RequestID: e.RequestID, Status: e.Confirm.status(), Amount: e.Purchase.Amount, Category: e.Category},
		IdempotencyKey: e.Purchase.IdempotencyKey,
	}
	if e.Error != "" {
		handled.Err = errors.New(e.Error)
	}
	return handled
}

// decide fixes how the purchase ended, the first time it is asked.
func (a *Approval) decide(err error) (params ConfirmParams, doubt, settled bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.outcome == nil {
		a.outcome = a.spending
		if a.outcome == nil {
			a.outcome = &ConfirmParams{Success: err == nil}
		}
	}
	return *a.outcome, a.doubt, a.settled
}
