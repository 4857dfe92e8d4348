package letagentpay

import (
	"context"
	"sync/atomic"
)

// resumption is an instruction to continue a request in place of making one. The first call whose purchase is confirmed
// uses it up for all other purchases. A call for the same purchase keeps resuming, so that a repeated call buys nothing
// more.
type resumption struct {
	requestID string
	bought    atomic.Pointer[content] // by the call whose purchase is confirmed; nil: none yet
}

type resumeKey struct{}

// ResumeApproval returns a context under which a [Guard] call or a [Client.Authorize] makes no request but continues
// the one with the given id, such as the RequestID of a [*NotApprovedError] that is pending.
//
// By resuming you assert that no other call has run this purchase, and that none will. The service cannot check that.
// This process does not run again what it has started, nor what the journal shows to have returned. It does run again
// what the journal shows only as started: look into your own books first.
//
// The first call whose purchase is confirmed, completed or failed, uses the id up: calls for other purchases then make
// requests of their own. A call for the same purchase does not buy it again: it is an [*AlreadyHandledError], as is any
// request that was confirmed already, or with a journal it returns the first result. After any other error the next
// call resumes the same request again. A duplicate, see [DuplicateError], is refused while the request that counts may
// run or has run.
//
// The request must be the purchase that the call describes: amount, category, currency, merchant and description.
// Otherwise the error is a [*MismatchError]. A category described by an alias is recognised where this process or the
// journal knows what the alias resolves to; elsewhere describe it by the resolved name. An approved request is run, and
// a pending one is waited for. Where the journal has the request under an idempotency key, the call and calls under
// that key wait for each other.
func ResumeApproval(ctx context.Context, requestID string) context.Context {
	return context.WithValue(ctx, resumeKey{}, &resumption{requestID: requestID})
}

// Resume makes a call continue the request with the given id: [ResumeApproval] as an option, for [Client.Authorize],
// [GuardTransport] and [GuardHandler]. By resuming you assert what ResumeApproval's caller asserts. The option takes
// precedence over the context until it is used up.
func Resume(requestID string) GuardOption {
	resumed := &resumption{requestID: requestID}
	return func(g *guardConfig) error {
		if _, err := requestIDOf(requestID); err != nil {
			return err
		}
		g.resumed = resumed
		return nil
	}
}

// resumption returns what a call for a purchase resumes under ctx, nil when it makes a request of its own.
func (g *guardConfig) resumption(ctx context.Context, p *PurchaseParams) *resumption {
	if g.resumed.appliesTo(p) {
		return g.resumed
	}
	if ctx == nil { // an error later
		return nil
	}
	if resumed, ok := ctx.Value(resumeKey{}).(*resumption); ok && resumed.appliesTo(p) {
		return resumed
	}
	return nil
}

// appliesTo reports whether a call for a purchase resumes the request: until it is used up any call does, and from then
// on those for the purchase that was bought. The category is left out, since it may be described by another name.
func (r *resumption) appliesTo(p *PurchaseParams) bool {
	if r == nil {
		return false
	}
	bought := r.bought.Load()
	return bought == nil || contentOf(p).mismatch(r.requestID, *bought) == nil
}

// withoutResumption returns a context under which nothing is resumed.
func withoutResumption(ctx context.Context) context.Context {
	if ctx.Value(resumeKey{}) == nil {
		return ctx
	}
	return context.WithValue(ctx, resumeKey{}, nil)
}

// useUp notes that the purchase of a call is confirmed. A nil resumption is that of a call that resumed nothing.
func (r *resumption) useUp(p *PurchaseParams) {
	if r != nil {
		bought := contentOf(p)
		r.bought.CompareAndSwap(nil, &bought)
	}
}
