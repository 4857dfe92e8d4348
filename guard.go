package letagentpay

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"runtime"
	"time"

	"github.com/letagentpay/letagentpay-go/journal"
)

// Guard returns fn gated on approval: each call requests what describe says it will buy, runs fn only when that is
// approved, and reports to the service how it ended.
//
//   - Anything but an approval, and any doubt, is an error, and fn does not run: [*RejectedError], [*PendingError],
//     [*ExpiredError] and [*MismatchError], which match [ErrNotApproved]; [*AlreadyHandledError], [*ParamError],
//     [*JournalError], [*OutcomeUnknownError] and [*APIError]. What was approved and can no longer run, because the
//     context has ended or the journal cannot be written, is confirmed as failed, so that its money returns.
//   - fn returns no error: the purchase is confirmed as completed, for the amount requested unless fn has called
//     [Approval.Spent] on the approval that [ApprovalFromContext] gives it.
//   - fn calls Spent and returns an error, panics or ends its goroutine: what was spent is confirmed.
//   - fn returns an error that can hide a payment, see [MayHavePaid], and has not called Spent: nothing is confirmed, the
//     money stays booked, and the error is joined with an [*UnconfirmedError] with MayHaveSpent. [NotPaid] and [OnError]
//     decide otherwise.
//   - fn returns any other error, panics or ends its goroutine without Spent: the purchase is confirmed as failed and the
//     money returns to the budget. A panic continues.
//   - The confirmation does not get through within 10 seconds: fn's result is returned all the same, its error joined
//     with an [*UnconfirmedError]. The confirmation does not depend on ctx, so a call may return up to that much after ctx
//     has ended; up to 5 seconds later when the attempts at the purchase may have made further requests, which are
//     looked for; and up to 5 seconds more for each journal, observer or codec that hangs.
//   - A [*DuplicateError] is joined when the attempts at the purchase have made another request of it.
//
// With a caller's own [PurchaseParams.IdempotencyKey], or one of a scope, a call that was made before is not run again:
// [*AlreadyHandledError]. That costs two small reads a call. A request that this process asked for and never started is
// continued when it was approved since; one that another process asked for is that process's. Calls under one key and
// token at the same time run one after another within a process; one that waits for more than 30 seconds, or the
// pending wait, fails with an error that matches [ErrInProgress]. Calls that two processes make under one key at the
// very same moment are not distinguished. The service remembers keys for 24 hours.
//
// A nil client, describe or fn, or a bad option, is a [*ParamError] from each call. The function returned is safe for
// concurrent use if describe and fn are.
func Guard[In, Out any](c *Client, describe func(In) PurchaseParams, fn func(context.Context, In) (Out, error), opts ...GuardOption) func(context.Context, In) (Out, error) {
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
		approval, earlier, err := c.authorize(ctx, describe(in), g)
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
		outcome, settled := errDidNotReturn, false
		defer func() {
			if settled {
				return
			}
			// fn panicked or ended its goroutine, which continues when this is done.
			if err := approval.Settle(approval.callContext, outcome); err != nil {
				c.alert(ctx, "letagentpay.unconfirmed", slog.String("request_id", approval.RequestID()), slog.String("error", err.Error()))
			}
		}()
		out, err = fn(approval.context(), in)
		outcome = err
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

// nameOf names a guarded function and the type of its results, so that the journal gives no function the result of
// another.
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
	// mostLockWait bounds how long a guarded call waits for another one of the process under the same key or request.
	mostLockWait = 30 * time.Second
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
		return min(g.pendingWait, mostLockWait)
	}
	return mostLockWait
}

// hidesPayment judges an error of the guarded function. It calls code of the user's: the error's methods and OnError.
func (g *guardConfig) hidesPayment(err error) bool {
	if err == errDidNotReturn {
		return false
	}
	doubt, failure := contained(hookLimit, func() (bool, error) {
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
// [WaitInterval]. When the wait ends undecided, the error is a [*NotApprovedError] that is pending and wraps a
// [*WaitTimeoutError]; [Resume] or [ResumeApproval] continues the purchase later.
func OnPendingWait(d time.Duration, opts ...WaitOption) GuardOption {
	return func(g *guardConfig) error {
		if d <= 0 {
			return paramError("OnPendingWait", d.String(), "want a duration above zero; use OnPendingFail not to wait")
		}
		wait, err := newWaitConfig(opts)
		if err != nil {
			return err
		}
		if wait.timeout != 0 {
			return paramError("OnPendingWait", "WaitTimeout", "want no WaitTimeout: OnPendingWait bounds the wait itself")
		}
		g.pendingWait, g.waitOptions = d, opts
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

// OnError sets which errors of a guarded function can hide a payment. After such an error the purchase stays booked and
// unconfirmed, and the call returns an [*UnconfirmedError] with MayHaveSpent; after any other the money returns to the budget.
// [NotPaid] and [Approval.Spent] have precedence over it.
//
// The default, [MayHavePaid], takes timeouts, cancellations, broken connections and unknown outcomes for such errors. A
// function that returns false for every error refunds after all of them. When mayHavePaid panics, ends its goroutine or
// takes more than 5 seconds, the error counts as one that can hide a payment, and so does a nil pointer returned as an
// error, whatever mayHavePaid says. Calls of the guarded function at the same time call mayHavePaid at the same time.
func OnError(mayHavePaid func(error) bool) GuardOption {
	return func(g *guardConfig) error {
		if mayHavePaid == nil {
			return paramError("OnError", "", "want a function; leave the option out for MayHavePaid")
		}
		g.mayHavePaid = mayHavePaid
		return nil
	}
}

// WithJournal keeps a record of each guarded purchase, written before the function runs and after it returns, so that a
// crash at any point leaves no doubt that the journal cannot settle:
//
//   - A call under an idempotency key whose function has returned before, in this process or an earlier one, gets that
//     run's result back, without an error and without a second run; if the function had failed, an
//     [*AlreadyHandledError] with the text of its error. Results are kept up to 64 KiB, as JSON unless [WithResultCodec]
//     says otherwise. A result that could not be kept, or would come back changed (JSON drops unexported fields), is an
//     [*AlreadyHandledError], too, and so is the result of another function than the one that is called now.
//   - A call whose function was started and never known to have returned is an [*AlreadyHandledError]: it may have run.
//   - A call that was asked for and never started is simply continued.
//
// Call [Client.Recover] once at start. When the journal cannot be written, the function does not run, an approval is given
// back, and the error is a [*JournalError]. A write of the journal has 5 seconds; after the function has run, the
// confirmation is sent whatever becomes of the journal.
//
// Several processes may share an agent's token, but each needs a journal of its own, and keys and scopes of its own: a
// call that was cut off while it asked takes the request that was made under its key since then for its own. For the same
// reason all guarded calls under one key or scope use the same journal.
func WithJournal(store journal.Store) GuardOption {
	return func(g *guardConfig) error {
		if store == nil {
			return paramError("WithJournal", "", "want a journal; leave the option out to keep none")
		}
		g.journal = store
		return nil
	}
}

// WithResultCodec sets how the journal encodes what guarded functions return; the default is JSON.
func WithResultCodec(codec ResultCodec) GuardOption {
	return func(g *guardConfig) error {
		if codec == nil {
			return paramError("WithResultCodec", "", "want a codec; leave the option out for JSON")
		}
		g.codec = codec
		return nil
	}
}

type approvalKey struct{}

// ApprovalFromContext returns the approval that a guarded function runs under.
func ApprovalFromContext(ctx context.Context) (*Approval, bool) {
	approval, ok := ctx.Value(approvalKey{}).(*Approval)
	return approval, ok
}
