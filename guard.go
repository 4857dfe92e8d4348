package letagentpay

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"time"

	"github.com/letagentpay/letagentpay-go/journal"
)

// Guard returns fn gated on approval: each call requests the purchase that describe returns, runs fn only when it is
// approved, and reports the outcome to the service.
//
// fn does not run without an approval, nor in doubt. The error is then a [*NotApprovedError], [*AlreadyHandledError],
// [*MismatchError], [*ParamError], [*JournalError], [*OutcomeUnknownError] or [*APIError]. A purchase that is approved
// but cannot run, because ctx has ended or the journal cannot be written, is confirmed as failed, which refunds it.
//
// What is confirmed after fn:
//
//	fn called Approval.Spent           completed for the amount spent, even if fn then fails
//	fn returned no error               completed for the amount requested
//	an error that can hide a payment   nothing: the money stays booked; the error is joined with an
//	                                   *UnconfirmedError with MayHaveSpent
//	any other error                    failed: the money returns to the budget
//	fn panicked or ended its goroutine failed; a panic continues afterwards
//
// fn reaches its [Approval] with [ApprovalFromContext]. [MayHavePaid] decides which errors can hide a payment;
// [NotPaid] and [OnError] override it.
//
// If the confirmation does not succeed within 10 seconds, fn's result is returned all the same, with its error joined
// with an [*UnconfirmedError]. The confirmation does not depend on ctx, so a call may return 10 seconds after ctx has
// ended. It takes up to 5 seconds more to look for further requests that its attempts may have made, and 5 seconds more
// for each journal, observer or codec that hangs. A [*DuplicateError] is joined when the attempts have made another
// request.
//
// Under an idempotency key of the caller or of a scope, a purchase that an earlier call has run is not run again: the
// error is an [*AlreadyHandledError]. This costs two small reads a call. A request that this process made and never
// started is continued; a request of another process is left to that process. Calls of a process under one key and
// token run one after another, and a call that waits for more than 30 seconds, or the pending wait, fails with
// [ErrInProgress]. Calls of two processes under one key at the same moment are not distinguished. The service remembers
// keys for 24 hours.
//
// A nil client, describe or fn, or an invalid option, is a [*ParamError] from each call. The returned function is safe
// for concurrent use if describe and fn are.
func Guard[In, Out any](
	c *Client, describe func(In) PurchaseParams, fn func(context.Context, In) (Out, error), opts ...GuardOption,
) func(context.Context, In) (Out, error) {
	g, optionErr := newGuardConfig(opts)
	if optionErr == nil {
		g.function = nameOf(fn, reflect.TypeFor[Out]())
	}
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
		p := describe(in)
		approval, earlier, err := c.authorize(ctx, p, g, g.resumption(ctx, &p))
		if err != nil {
			return out, err
		}
		if earlier != nil {
			out, err = replay[Out](ctx, c, g, earlier.Entry)
			earlier.scoped.done(err == nil, false)
			if err == nil {
				earlier.resumption.useUp(&earlier.params)
			}
			return out, err
		}
		fnErr, settled := errDidNotReturn, false
		defer func() {
			if settled {
				return
			}
			// fn panicked or ended its goroutine; either continues afterwards.
			if err := approval.Settle(approval.callContext, fnErr); err != nil {
				c.alert(ctx, "letagentpay.unconfirmed", slog.String("request_id", approval.RequestID()),
					slog.String("error", err.Error()))
			}
		}()
		out, err = fn(approval.context(), in)
		fnErr = err
		recordResult(approval, g, out)
		settleErr := approval.Settle(approval.callContext, err)
		settled = true
		switch {
		case settleErr == nil:
			return out, err
		case err == nil || mayHaveSpent(settleErr): // it wraps err
			return out, settleErr
		default:
			return out, errors.Join(err, settleErr)
		}
	}
}

// mayHaveSpent reports whether an error says that the function's own outcome is in doubt.
func mayHaveSpent(settleErr error) bool {
	unconfirmed := as[*UnconfirmedError](settleErr)
	return unconfirmed != nil && unconfirmed.MayHaveSpent
}

// nameOf returns the name of a guarded function and the type of its results. The journal records it, so that a function
// never gets the result of another one.
func nameOf(fn any, out reflect.Type) string {
	name := ""
	if value := reflect.ValueOf(fn); !value.IsNil() {
		name = runtime.FuncForPC(value.Pointer()).Name()
	}
	return name + " " + out.String()
}

var errDidNotReturn = errors.New("the guarded function did not return")

const (
	defaultPendingWait = 5 * time.Minute
	// maxLockWait bounds how long a guarded call waits for another call under the same key or request.
	maxLockWait = 30 * time.Second
)

// GuardOption adjusts [Guard] and [Client.Authorize].
type GuardOption func(*guardConfig) error

type guardConfig struct {
	pendingWait time.Duration // 0: do not wait
	waitOptions []WaitOption  // of the wait, besides its timeout
	journal     journal.Store // nil: none
	codec       ResultCodec
	mayHavePaid func(error) bool // nil: MayHavePaid
	resumed     *resumption      // of the option Resume; nil: none
	function    string           // what is guarded, for the journal; empty with Authorize
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

// lockWait is how long a call waits for another one that it must not overlap.
func (g *guardConfig) lockWait() time.Duration {
	if g.pendingWait > 0 {
		return min(g.pendingWait, maxLockWait)
	}
	return maxLockWait
}

// hidesPayment judges an error of the guarded function. It calls code of the user's: the error's methods and OnError.
func (g *guardConfig) hidesPayment(err error) bool {
	if err == errDidNotReturn {
		return false
	}
	doubt, failure := runContained(hookLimit, func() (bool, error) {
		if _, ok := errors.AsType[*notPaidError](err); ok {
			return false, nil
		}
		if g.mayHavePaid != nil {
			return g.mayHavePaid(err), nil
		}
		return MayHavePaid(err), nil
	})
	return doubt || failure != nil || isTypedNil(err)
}

// OnPendingWait waits up to d for a human when the policy neither approves nor rejects; the default is 5 minutes. The
// context's deadline bounds the wait too. The options adjust the wait, for example to show progress: [WaitProgress],
// whose function delays the call while it runs, and [WaitInterval]. When the wait ends undecided, the error is a
// [*NotApprovedError] that is pending and wraps a [*WaitTimeoutError]; [Resume] or [ResumeApproval] continues the
// purchase later.
func OnPendingWait(d time.Duration, opts ...WaitOption) GuardOption {
	opts = slices.Clone(opts)
	return func(g *guardConfig) error {
		if d <= 0 {
			return paramError("OnPendingWait", d.String(), "want a duration above zero; use OnPendingFail not to wait")
		}
		wait, err := newWaitConfig(opts)
		if err != nil {
			return err
		}
		if wait.timeout != 0 {
			return paramError("OnPendingWait", "WaitTimeout",
				"want no WaitTimeout: OnPendingWait bounds the wait itself")
		}
		g.pendingWait, g.waitOptions = d, opts
		return nil
	}
}

// OnPendingFail does not wait for a human: a pending purchase is a [*NotApprovedError] at once. [Resume] or
// [ResumeApproval] with its RequestID continues the purchase later.
func OnPendingFail() GuardOption {
	return func(g *guardConfig) error {
		g.pendingWait = 0
		return nil
	}
}

// OnError sets the function that decides which errors of a guarded function can hide a payment; the default is
// [MayHavePaid]. A function that returns false for an error that hides a payment refunds what was paid.
//
// After an error that can hide a payment the purchase stays booked and unconfirmed, and the call returns an
// [*UnconfirmedError] with MayHaveSpent. After any other error the money returns to the budget. [NotPaid] and
// [Approval.Spent] take precedence.
//
// An error also counts as one that can hide a payment if mayHavePaid panics, ends its goroutine or takes more than 5
// seconds, or if the error is a nil pointer. mayHavePaid must be safe for concurrent use if the guarded function is.
func OnError(mayHavePaid func(error) bool) GuardOption {
	return func(g *guardConfig) error {
		if mayHavePaid == nil {
			return paramError("OnError", "", "want a function; leave the option out for MayHavePaid")
		}
		g.mayHavePaid = mayHavePaid
		return nil
	}
}

// WithJournal records each guarded purchase before the function runs and after it returns, so that after a crash the
// journal shows what happened. Call [Client.Recover] once at start.
//
// Do not share a journal between processes. Several processes may share an agent's token if each has a journal, keys
// and scopes of its own. Under a shared key, a call that is repeated after a crash can take a request that another
// process has made since then for its own. Use one journal for all guarded calls under a key or scope.
//
// What a call under an idempotency key returns when the journal has an entry for it:
//
//   - The function has returned without an error: its result, without a second run. Results up to 64 KiB are kept, as
//     JSON unless [WithResultCodec] sets another codec. A result that would change, because JSON drops unexported
//     fields, is not kept. If the result was not kept, or is another function's: an [*AlreadyHandledError].
//   - The function has returned an error: an [*AlreadyHandledError] with the text of the error.
//   - The function was started, and the journal does not show that it returned: an [*AlreadyHandledError] with
//     MayHaveRun.
//   - The purchase was requested, and the function not started: the call continues the purchase.
//
// When the journal cannot be written, the function does not run, an approved purchase is refunded, and the error is a
// [*JournalError]. Each write may take 5 seconds. After the function has run, the confirmation is sent even if the
// journal fails.
func WithJournal(store journal.Store) GuardOption {
	return func(g *guardConfig) error {
		if store == nil {
			return paramError("WithJournal", "", "want a journal; leave the option out to keep none")
		}
		g.journal = store
		return nil
	}
}

// WithResultCodec sets the codec by which the journal keeps the results of guarded functions; the default is JSON.
func WithResultCodec(codec ResultCodec) GuardOption {
	return func(g *guardConfig) error {
		if codec == nil {
			return paramError("WithResultCodec", "", "want a codec; leave the option out for JSON")
		}
		g.codec = codec
		return nil
	}
}
