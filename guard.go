package letagentpay

import (
	"context"
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
}

func newGuardConfig(opts []GuardOption) (*guardConfig, error) {
	g := &guardConfig{pendingWait: defaultPendingWait}
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
// a [*MismatchError]. An approved request is run, a pending one waited for, and one that was confirmed already is an
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
// [*AlreadyHandledError]. That costs two small reads a call.
//
// A nil client, describe or fn, or a bad option, is a [*ParamError] from each call. The function returned is safe for
// concurrent use if describe and fn are.
func Guard[In, Out any](c *Client, describe func(In) PurchaseParams, fn func(context.Context, In) (Out, error), opts ...GuardOption) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (out Out, err error) {
		switch {
		case c == nil:
			return out, paramError("Guard client", "", "want a client, not nil")
		case describe == nil:
			return out, paramError("Guard describe", "", "want a function, not nil")
		case fn == nil:
			return out, paramError("Guard fn", "", "want a function, not nil")
		}
		approval, err := c.Authorize(ctx, describe(in), opts...)
		if err != nil {
			return out, err
		}
		returned := false
		defer func() {
			if returned {
				return
			}
			// fn panicked or ended its goroutine; that goes on when this is done.
			if err := approval.Settle(ctx, errDidNotReturn); err != nil {
				c.transport.warn(ctx, "letagentpay.unconfirmed", slog.String("request_id", approval.RequestID()), slog.String("error", err.Error()))
			}
		}()
		out, err = fn(approval.context(ctx), in)
		returned = true
		if settleErr := approval.Settle(ctx, err); settleErr != nil {
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
	release        func()
	turn           chan struct{} // holds a value while a Settle is under way

	mu       sync.Mutex
	spending *ConfirmParams // what Spent recorded
	outcome  *ConfirmParams // what the first Settle decided
	doubt    bool           // an earlier confirmation may have got through
	settled  bool
}

// RequestID returns the id of the purchase request.
func (a *Approval) RequestID() string { return a.requestID }

// Amount returns the amount approved.
func (a *Approval) Amount() Amount { return a.amount }

// Category returns the category that the purchase was approved under, as the service resolved it.
func (a *Approval) Category() string { return a.category }

// IdempotencyKey returns the key that the purchase was sent under; empty for a resumed purchase.
func (a *Approval) IdempotencyKey() string { return a.idempotencyKey }

// context returns ctx for the guarded function: with the approval, and without the id that this call resumed.
func (a *Approval) context(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, approvalKey{}, a)
	if ctx.Value(resumeKey{}) != nil {
		ctx = context.WithValue(ctx, resumeKey{}, nil)
	}
	return ctx
}

// Authorize asks for the approval of a purchase and returns once it is approved: the two-phase form of [Guard], for
// code that is no single function, such as middleware and workflows. Every Approval must be ended with
// [Approval.Settle]. The errors are Guard's; with any of them nothing may be bought.
func (c *Client) Authorize(ctx context.Context, p PurchaseParams, opts ...GuardOption) (approval *Approval, err error) {
	if ctx == nil {
		return nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	g, err := newGuardConfig(opts)
	if err != nil {
		return nil, err
	}
	if err := p.validate(); err != nil {
		return nil, err
	}
	var releases []func()
	release := func() {
		for _, r := range slices.Backward(releases) {
			r()
		}
	}
	defer func() {
		if approval == nil {
			release()
		}
	}()
	hold := func(name string) error {
		r, err := c.lock(ctx, "authorize", name)
		if err == nil {
			releases = append(releases, r)
		}
		return err
	}

	approval = nil
	claim := claim{client: c, params: p, config: g}
	if id, ok := ctx.Value(resumeKey{}).(string); ok {
		if err := checkRequestID(id); err != nil {
			return nil, err
		}
		claim.requestID, claim.resumed = id, true
	} else {
		if p.IdempotencyKey != "" {
			if err := hold("authorize key " + p.IdempotencyKey); err != nil {
				return nil, err
			}
			if claim.newest, err = c.newest(ctx); err != nil {
				return nil, err
			}
		}
		if claim.purchase, err = c.Purchase(ctx, p); err != nil {
			return nil, err
		}
		claim.requestID = claim.purchase.RequestID
	}
	if err := hold("run " + claim.requestID); err != nil {
		return nil, err
	}
	category, err := claim.approved(ctx)
	if err != nil {
		return nil, err
	}
	approval = &Approval{
		client: c, requestID: claim.requestID, amount: p.Amount, category: category, release: release, turn: make(chan struct{}, 1),
	}
	if claim.purchase != nil {
		approval.idempotencyKey = claim.purchase.IdempotencyKey
	}
	return approval, nil
}

// claim is a call's claim to run under a purchase request.
type claim struct {
	client    *Client
	params    PurchaseParams
	config    *guardConfig
	requestID string
	purchase  *Purchase // the answer to this call's own purchase; nil when resumed
	newest    *Request  // with the caller's own key: the newest request before this call asked; nil if there was none
	resumed   bool
}

// approved returns the category once the request is approved and this call may run under it.
func (c *claim) approved(ctx context.Context) (category string, err error) {
	if !c.resumed && c.params.IdempotencyKey == "" {
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
	if err != nil {
		return "", err
	}
	if err := c.matches(ctx, state); err != nil {
		return "", err
	}
	// Seen pending, it has not been run under. Seen approved, it is this call's only if it did not exist before the call.
	mine := c.resumed || state.Status == StatusPending || c.createdSince(state)
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
	pending := &PendingError{RequestID: c.requestID, IdempotencyKey: c.idempotencyKey(), ExpiresAt: state.ExpiresAt}
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
		rejected := &RejectedError{RequestID: c.requestID, IdempotencyKey: c.idempotencyKey()}
		if c.purchase != nil {
			rejected.Checks = c.purchase.PolicyCheck.Failed()
		}
		return rejected
	case state.Status == StatusExpired:
		return &ExpiredError{RequestID: c.requestID, IdempotencyKey: c.idempotencyKey()}
	default:
		return &AlreadyHandledError{Request: state, IdempotencyKey: c.idempotencyKey()}
	}
}

func (c *claim) idempotencyKey() string {
	if c.purchase != nil {
		return c.purchase.IdempotencyKey
	}
	return ""
}

// createdSince reports whether the request surely came into being after this call looked at the newest one. All that
// is compared are the service's own stamps, so nobody's clock matters; any doubt counts as before.
func (c *claim) createdSince(state *Request) bool {
	return c.newest == nil || state.RequestID != c.newest.RequestID && state.CreatedAt.After(c.newest.CreatedAt)
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
// resolve to themselves, and other names may be aliases, which no read reveals; they are given the benefit of the
// doubt, the amount being right.
func (c *claim) sameCategory(ctx context.Context, category string) (bool, error) {
	described := normalCategory(c.params.Category)
	if described == category {
		return true, nil
	}
	if c.purchase != nil {
		return described == normalCategory(c.purchase.OriginalCategory), nil
	}
	names, err := c.client.Categories(ctx)
	if err != nil {
		return false, err
	}
	return !slices.Contains(names, described), nil
}

// normalCategory brings the name of a category into the form in which the service compares names.
func normalCategory(name string) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(strings.TrimSpace(name)))
}

// newest returns the agent's newest request, nil if there is none.
func (c *Client) newest(ctx context.Context) (*Request, error) {
	page, err := c.page(ctx, "", 1, 0, -1)
	if err != nil || len(page) == 0 {
		return nil, err
	}
	return &page[0], nil
}

// Spent records what was really paid, and with it that the money is gone: [Approval.Settle] then confirms this
// purchase as completed even when the function failed afterwards. The last call counts. Fractions of a cent are
// rounded, halves away from zero, as the service does.
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
	rounded := actual.RoundHalfUp()
	if rounded.Sign() <= 0 {
		return paramError("actual", actual.String(), "want an amount above zero; a function that paid nothing returns an error and does not call Spent")
	}
	a.spending.ActualAmount = rounded
	if err := checkText("receiptURL", receiptURL, 2000); err != nil {
		return err
	}
	a.spending.ReceiptURL = receiptURL
	if a.amount.Less(rounded) {
		return &OverspendError{RequestID: a.requestID, Approved: a.amount, Actual: rounded}
	}
	return nil
}

// Settle ends the approval and tells the service how: with a nil err the purchase is completed, for the amount that
// [Approval.Spent] recorded or else the one approved. With an error it failed and the money returns to the budget,
// unless Spent was called: then it is completed for what was spent.
//
// The confirmation does not depend on ctx being alive; it is tried for at most 10 seconds. When it does not get
// through, the error is a [*ConfirmError], and Settle may be called again. What the first call decided stands, whatever
// err later calls bring; after a success they return nil without doing anything. So Settle may be deferred.
func (a *Approval) Settle(ctx context.Context, err error) error {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	params, doubt, settled := a.decide(err)
	if settled {
		return nil
	}
	defer a.release()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	_, confirmErr := a.client.confirm(ctx, a.requestID, params, doubt)

	a.mu.Lock()
	defer a.mu.Unlock()
	if confirmErr == nil {
		a.settled = true
		return nil
	}
	if _, unknown := errors.AsType[*OutcomeUnknownError](confirmErr); unknown {
		a.doubt = true
	}
	return &ConfirmError{RequestID: a.requestID, Params: params, Err: confirmErr}
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
