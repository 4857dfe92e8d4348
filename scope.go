package letagentpay

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/letagentpay/letagentpay-go/operation"
)

const (
	mostOrdinals = 64               // identical purchases of one scope, those that failed or expired included
	ordinalLimit = 30 * time.Second // how long a purchase waits to learn which category an identical one is resolved to
)

type scopeKey struct{}

// purchaseScope is a unit of work that may be retried as a whole, or one run of it.
type purchaseScope struct {
	name string
	run  bool // identical purchases are counted

	mu        sync.Mutex
	purchases map[scopedContent][]*ordinal
}

// scopedContent names identical purchases of one agent. The category is no part of the digest, because only an answer
// shows what a name is resolved to.
type scopedContent struct {
	agent  string
	digest [sha256.Size]byte
}

// ordinal is one of the identical purchases of a scope, in the order of their numbers.
type ordinal struct {
	names    []string      // of the category: what was asked under, and what it was resolved to
	answered chan struct{} // closed when names hold what the service says; nil when nobody has asked yet
	calls    int           // calls under way
	closed   bool          // it cannot be asked for again: bought in this run, failed and refunded, or expired
}

// WithPurchaseScope returns a context for a unit of work that may be retried as a whole: an agent's turn, a task, the
// handling of a message. Name it by what stays the same when it is retried, such as the message's id; the name must not
// be empty. It may be placed around a retry loop or inside it.
//
// A purchase under the context that brings no idempotency key of its own gets one that is derived from the scope's name
// and the purchase's content: amount, merchant, description and the category that the service resolves. A retry, in this
// process or another, asks under the same key, so that the service answers for the first purchase, and [Guard] does not
// run its function again. Descriptions that a model words differently each time make new purchases: leave them out, or
// derive them from the task, or name the purchase with [PurchaseParams.Ref].
//
// Under the context an identical purchase is the same purchase however often it is made, and an error does not use it
// up: what was bought, or may have been, is an [*AlreadyHandledError]; what the policy or a human refused stays refused,
// without asking a human again; what is pending is continued; what failed and was refunded, or expired, is asked for
// again. With a journal, what was bought gives the first result back instead. Two purchases that are identical and both
// meant differ in Ref, or are counted within one run: see [WithScopeRun].
//
// After n identical purchases of the scope that failed or expired, the next one makes n more requests of the service to
// reach its own key: give up, or use another scope, after a few. A category that the service does not know is compared by
// its name; beside purchases in other categories name it as the service does, or use Ref.
//
// The service remembers keys for 24 hours. The context is safe for concurrent use.
func WithPurchaseScope(ctx context.Context, scope string) context.Context {
	return context.WithValue(ctx, scopeKey{}, &purchaseScope{name: scope})
}

// WithScopeRun returns a context for one run of the scope of ctx: one attempt at the unit of work. Call it once for each
// attempt, inside the retry loop. Without a scope in ctx, purchases under the context are refused with a [*ParamError].
//
// Within one run identical purchases are counted: after a success of this run the next identical purchase is another
// one, and identical purchases at the same time are several. The next run asks under the same keys in the same order. An
// error does not count: the purchase repeated after it is the same purchase.
//
// A success is a guarded call that returns no error, an [Approval.Settle] with a nil error, or a [Client.Purchase] that
// is answered with an approval. One of a resumed purchase, see [ResumeApproval], is not counted.
func WithScopeRun(ctx context.Context) context.Context {
	name := ""
	if scope, ok := ctx.Value(scopeKey{}).(*purchaseScope); ok {
		name = scope.name
	}
	return context.WithValue(ctx, scopeKey{}, &purchaseScope{name: name, run: true})
}

// scopedPurchase is a purchase whose key comes from a scope. A nil one is a purchase without a scope.
type scopedPurchase struct {
	scope    *purchaseScope
	content  scopedContent
	category string // normal form
	client   *Client
	named    bool         // by a Ref
	taken    int          // the number of the ordinal taken; -1: none
	released bool         // the ordinal taken has turned out to be another purchase
	left     map[int]bool // ordinals that are another purchase
}

// scoped gives p a key of the scope of ctx, if there is one and p has no key of its own. done must be called when the
// outcome is known.
func (c *Client) scoped(ctx context.Context, p *PurchaseParams) (*scopedPurchase, error) {
	scope, ok := ctx.Value(scopeKey{}).(*purchaseScope)
	if !ok || p.IdempotencyKey != "" {
		if p.Ref != "" {
			return nil, paramError("PurchaseParams.Ref", p.Ref, "want a purchase scope in the context and no idempotency key, or no Ref")
		}
		return nil, nil
	}
	if scope.name == "" {
		return nil, paramError("scope", "", "want a name that stays the same when the work is retried, not an empty one")
	}
	asked := contentOf(p)
	parts := []string{"letagentpay purchase scope 2", scope.name, "content", asked.amount.String(), asked.merchant, asked.description}
	if p.Ref != "" {
		parts = []string{"letagentpay purchase scope 2", scope.name, "ref", p.Ref}
	}
	s := &scopedPurchase{
		scope: scope, client: c, category: asked.category, named: p.Ref != "", taken: -1,
		content: scopedContent{c.identity, digestOf(parts...)},
	}
	return s, s.take(ctx, p)
}

// take takes the first ordinal that the purchase can be, and gives p its key.
func (sp *scopedPurchase) take(ctx context.Context, p *PurchaseParams) error {
	for n := 0; n < mostOrdinals; {
		of, wait, fits := sp.tryTake(n)
		switch {
		case wait != nil:
			if err := sp.await(ctx, wait); err != nil {
				return err
			}
			continue // it is looked at again, now that it is known which purchase it is
		case fits:
			p.IdempotencyKey = sp.key(n)
			return nil
		case of != nil: // named otherwise
			relation, err := sp.client.relateToAny(ctx, sp.category, of)
			if err != nil {
				return err
			}
			if relation != otherNames { // the answer decides
				sp.force(n)
				p.IdempotencyKey = sp.key(n)
				return nil
			}
		}
		n++
	}
	return paramError("scope", sp.scope.name, "want at most 64 identical purchases in one scope")
}

// tryTake takes an ordinal if it fits. Otherwise it returns the category names of one that is another purchase, or what
// to wait for; neither when the ordinal is used up.
func (sp *scopedPurchase) tryTake(n int) (names []string, wait <-chan struct{}, fits bool) {
	sp.scope.mu.Lock()
	defer sp.scope.mu.Unlock()
	if sp.scope.purchases == nil {
		sp.scope.purchases = make(map[scopedContent][]*ordinal)
	}
	list := sp.scope.purchases[sp.content]
	if n == len(list) {
		list = append(list, new(ordinal))
		sp.scope.purchases[sp.content] = list
	}
	o := list[n]
	known := sp.named || o.names == nil || slices.Contains(o.names, sp.category)
	switch {
	case o.closed, sp.left[n]:
		return nil, nil, false
	case !known && o.calls > 0 && !isClosed(o.answered):
		return nil, o.answered, false
	case sp.scope.run && !sp.named && o.calls > 0: // at the same time: another one
		return nil, nil, false
	case !known:
		return o.names, nil, false
	}
	sp.occupy(n, o)
	return nil, nil, true
}

func (sp *scopedPurchase) occupy(n int, o *ordinal) {
	if o.names == nil {
		o.names, o.answered = []string{sp.category}, make(chan struct{})
	}
	o.calls++
	sp.taken, sp.released = n, false
}

// force takes an ordinal whose category may be this purchase's under another name.
func (sp *scopedPurchase) force(n int) {
	sp.scope.mu.Lock()
	defer sp.scope.mu.Unlock()
	sp.occupy(n, sp.scope.purchases[sp.content][n])
}

func (sp *scopedPurchase) await(ctx context.Context, answered <-chan struct{}) error {
	timer := time.NewTimer(ordinalLimit)
	defer timer.Stop()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return &APIError{Op: operation.Guard, Err: ctx.Err(), waiting: true}
	case <-timer.C:
		return &APIError{Op: operation.Guard, Err: ErrInProgress, waiting: true}
	}
}

// key derives the idempotency key of an ordinal.
func (sp *scopedPurchase) key(n int) string {
	var count [8]byte
	binary.BigEndian.PutUint64(count[:], uint64(n))
	key := sha256.Sum256(append(sp.content.digest[:], count[:]...))
	return "scope-" + textOfDigest(key)
}

// answered notes what the request under the key is resolved to, and what name it was asked under.
func (sp *scopedPurchase) answered(category, original string) {
	if sp == nil || sp.taken < 0 {
		return
	}
	sp.scope.mu.Lock()
	defer sp.scope.mu.Unlock()
	o := sp.scope.purchases[sp.content][sp.taken]
	names := []string{normalCategory(category)}
	if original != "" {
		names = append(names, normalCategory(original))
	}
	if !sp.named && !slices.Contains(names, sp.category) && !sp.released {
		o.calls-- // it is another purchase, which a call that waits may be
		sp.released = true
	}
	o.names = names
	closeOnce(o.answered)
}

// done ends a call. used: it was bought in this run, or its request failed or expired, so that the key leads to
// nothing more; then the next call takes the next ordinal.
func (sp *scopedPurchase) done(bought, ended bool) {
	if sp == nil || sp.taken < 0 {
		return
	}
	sp.scope.mu.Lock()
	defer sp.scope.mu.Unlock()
	o := sp.scope.purchases[sp.content][sp.taken]
	sp.taken = -1
	if !sp.released {
		o.calls--
	}
	o.closed = o.closed || ended || bought && sp.scope.run && !sp.named
	if o.calls == 0 && !isClosed(o.answered) { // nobody knows what it is
		closeOnce(o.answered)
		o.names, o.answered = nil, nil
	}
}

// next leaves a request that failed or expired, or is another purchase, and takes the key after it.
func (sp *scopedPurchase) next(ctx context.Context, p *PurchaseParams, ended bool) error {
	if !ended {
		if sp.left == nil {
			sp.left = make(map[int]bool)
		}
		sp.left[sp.taken] = true
	}
	sp.done(false, ended)
	return sp.take(ctx, p)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func closeOnce(c chan struct{}) {
	if c != nil && !isClosed(c) {
		close(c)
	}
}

// nextKeyError is returned by a claim whose key leads to a request that is not, or no longer, this purchase: it failed or
// expired earlier, or its category is another one.
type nextKeyError struct {
	ended bool
	err   error // what to return where there is no next key
}

func (e *nextKeyError) Error() string { return e.err.Error() }

func (e *nextKeyError) Unwrap() error { return e.err }

// nextKeyReason returns the reason to take the next key of a scope, nil when err is final.
func (sp *scopedPurchase) nextKeyReason(err error) *nextKeyError {
	var reason *nextKeyError
	if sp == nil || !errors.As(err, &reason) || sp.named && !reason.ended {
		return nil
	}
	return reason
}

// withoutNextKey strips what is only for the scope.
func withoutNextKey(err error) error {
	var reason *nextKeyError
	if errors.As(err, &reason) {
		return reason.err
	}
	return err
}
