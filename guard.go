package letagentpay

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"runtime"
	"time"
)

const (
	defaultPendingWait = 5 * time.Minute
	// mostLockWait bounds how long a guarded call waits for another one of the process under the same key or request.
	mostLockWait = 30 * time.Second
)

// GuardOption adjusts [Guard] and [Client.Authorize].
type GuardOption func(*guardConfig) error

type guardConfig struct {
	pendingWait time.Duration // 0: do not wait
	journal     Journal       // nil: none
	codec       ResultCodec
	mayHavePaid func(error) bool // nil: MayHavePaid
	function    string           // what is guarded, for the journal; empty with Authorize
}

// lockWait is how long a call waits for another one that it must not overlap.
func (g *guardConfig) lockWait() time.Duration {
	if g.pendingWait > 0 {
		return min(g.pendingWait, mostLockWait)
	}
	return mostLockWait
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

// ResumeApproval returns a context under which the next [Guard] call or [Client.Authorize] makes no request but
// continues the one with the given id, for example one that an earlier call reported in a [*PendingError].
//
// The caller asserts that no other process runs or will run it, and that nothing has: the service cannot know. What this
// process has started, and what the journal knows to have returned, is not run again; what the journal knows only to have
// been started is, so look into your own books first. A duplicate, see [DuplicateError], is refused as long as the request
// that counts may run or has run.
//
// Where the journal has the request under an idempotency key, the call waits for calls under that key, and they for it.
//
// The request must be the purchase that the call describes now: amount, category, currency, merchant and description;
// otherwise the error is a [*MismatchError]. A category described by an alias is recognised where this process, or the
// journal, knows where the alias leads; elsewhere describe it by the name that the service resolved it to. An approved
// request is run, a pending one waited for, and one that was confirmed already is an [*AlreadyHandledError].
func ResumeApproval(ctx context.Context, requestID string) context.Context {
	return context.WithValue(ctx, resumeKey{}, requestID)
}

// ApprovalFromContext returns the approval that a guarded function runs under.
func ApprovalFromContext(ctx context.Context) (*Approval, bool) {
	approval, ok := ctx.Value(approvalKey{}).(*Approval)
	return approval, ok
}

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
//     money stays booked, and the error is joined with a [*ConfirmError] with MayHaveSpent. [NotPaid] and [OnError]
//     decide otherwise.
//   - fn returns any other error, panics or ends its goroutine without Spent: the purchase is confirmed as failed and the
//     money returns to the budget. A panic continues.
//   - The confirmation does not get through within 10 seconds: fn's result is returned all the same, its error joined
//     with a [*ConfirmError]. The confirmation does not depend on ctx, so a call may return up to that much after ctx
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
			out, err = replay[Out](ctx, c, g, earlier.JournalEntry)
			earlier.scoped.done(err == nil, false)
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
		keepResult(approval, g, out)
		settleErr := approval.Settle(approval.callContext, err)
		settled = true
		switch {
		case settleErr == nil:
			return out, err
		case err == nil || isDoubt(settleErr): // it wraps err
			return out, settleErr
		default:
			return out, errors.Join(err, settleErr)
		}
	}
}

// isDoubt reports whether an error says that the function's own outcome is in doubt.
func isDoubt(settleErr error) bool {
	unconfirmed := as[*ConfirmError](settleErr)
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
