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
	maxOrdinals  = 64               // identical purchases in one scope, including failed and expired ones
	ordinalLimit = 30 * time.Second // how long a purchase waits for an identical one to learn its category
)

type scopeKey struct{}

// WithPurchaseScope returns a context for a unit of work that may be retried as a whole: an agent's turn, a task, or
// the handling of a message. scope must be a name that stays the same when the work is retried, such as the message's
// id; with an empty one, purchases fail with a [*ParamError]. The context may be created outside a retry loop or inside
// it.
//
// Descriptions that a model words differently each time make new purchases. Leave them out, derive them from the task,
// or name the purchase with [PurchaseParams.Ref].
//
// A purchase under the context without its own idempotency key gets a key derived from the scope and the purchase's
// content: amount, merchant, description, and the category as the service resolves it. A retry, in this process or
// another, has the same key, so the service returns the first purchase, and [Guard] does not run its function again.
//
// Under the context an identical purchase is the same purchase, however often it is requested. An error does not use it
// up:
//
//   - A purchase that was made, or may have been, is an [*AlreadyHandledError]; with a journal, a purchase that was
//     made returns the first result instead.
//   - A purchase that the policy or a human rejected stays rejected, and no human is asked again.
//   - A pending purchase is continued.
//   - A purchase that failed and was refunded, or that expired, is requested again.
//
// If two identical purchases are both wanted, give them different Refs, or count them within one run: see
// [WithScopeRun].
//
// After n identical purchases of the scope failed or expired, the next one sends n more requests to the service to
// reach its own key, and there are at most 64: give up after a few, or use another scope. A category that the service
// does not know is compared by its name. Next to purchases in other categories, use the service's own name for it, or
// Ref.
//
// The service remembers keys for 24 hours. The context is safe for concurrent use.
func WithPurchaseScope(ctx context.Context, scope string) context.Context {
	return context.WithValue(ctx, scopeKey{}, &purchaseScope{name: scope})
}

// WithScopeRun returns a context for one run of the scope of ctx: one attempt at the unit of work. Call it once for
// each attempt, inside the retry loop. If ctx has no scope, purchases under the context fail with a [*ParamError].
//
// Within one run identical purchases are counted. After a success in this run, the next identical purchase is another
// one, and identical purchases at the same time are several. The next run uses the same keys in the same order. An
// error does not count: the purchase repeated after it is the same purchase.
//
// A success is a guarded call that returns no error, an [Approval.Settle] with a nil error, or a [Client.Purchase] that
// returns an approval. A resumed purchase, see [ResumeApproval], does not count.
func WithScopeRun(ctx context.Context) context.Context {
	name := ""
	if scope, ok := ctx.Value(scopeKey{}).(*purchaseScope); ok {
		name = scope.name
	}
	return context.WithValue(ctx, scopeKey{}, &purchaseScope{name: name, run: true})
}

// purchaseScope is a unit of work that may be retried as a whole, or one run of it.
type purchaseScope struct {
	name string
	run  bool // count identical purchases

	mu        sync.Mutex
	purchases map[scopedContent][]*ordinal
}

// scopedContent identifies identical purchases of one agent. The digest does not include the category, because only a
// response shows the category to which a name resolves.
type scopedContent struct {
	agent  string
	digest [sha256.Size]byte
}

// ordinal is one of the identical purchases of a scope, in order.
type ordinal struct {
	names    []string      // of the category: as requested, and as resolved
	answered chan struct{} // closed when names hold the service's answer; nil: not requested yet
	calls    int           // calls in progress
	usedUp   bool          // the key leads to nothing more: bought in this run, failed and refunded, or expired
}

// scopedPurchase is a purchase whose key comes from a scope. A nil pointer is a purchase without a scope.
type scopedPurchase struct {
	scope    *purchaseScope
	content  scopedContent
	category string // normalised
	client   *Client
	named    bool         // by a Ref
	taken    int          // the index of the current ordinal; -1: none
	released bool         // the current ordinal has turned out to be another purchase
	skipped  map[int]bool // ordinals that are another purchase
}

// scoped gives p a key from the scope of ctx. It returns nil if ctx has no scope or p has its own key. The caller must
// call done when the outcome is known.
func (c *Client) scoped(ctx context.Context, p *PurchaseParams) (*scopedPurchase, error) {
	scope, ok := ctx.Value(scopeKey{}).(*purchaseScope)
	if !ok || p.IdempotencyKey != "" {
		if p.Ref != "" {
			return nil, paramError("PurchaseParams.Ref", p.Ref,
				"want a purchase scope in the context and no idempotency key, or no Ref")
		}
		return nil, nil
	}
	if scope.name == "" {
		return nil, paramError("scope", "",
			"want a name that stays the same when the work is retried, not an empty one")
	}
	const version = "letagentpay purchase scope 2"
	content := contentOf(p)
	parts := []string{version, scope.name, "content", content.amount.String(), content.merchant, content.description}
	if p.Ref != "" {
		parts = []string{version, scope.name, "ref", p.Ref}
	}
	s := &scopedPurchase{
		scope:    scope,
		client:   c,
		category: content.category,
		named:    p.Ref != "",
		taken:    -1,
		content:  scopedContent{c.identity, digestOf(parts...)},
	}
	return s, s.take(ctx, p)
}

// take takes the first ordinal that the purchase can be, and gives p its key.
func (sp *scopedPurchase) take(ctx context.Context, p *PurchaseParams) error {
	for n := 0; n < maxOrdinals; {
		names, wait, fits := sp.tryTake(n)
		switch {
		case wait != nil:
			if err := sp.await(ctx, wait); err != nil {
				return err
			}
			continue // try the same ordinal again: its category is known now
		case fits:
			p.IdempotencyKey = sp.key(n)
			return nil
		case names != nil: // another name, perhaps of the same category
			relation, err := sp.client.relateToAny(ctx, sp.category, names)
			if err != nil {
				return err
			}
			if relation != otherNames { // only the response to this purchase decides
				sp.takeUnchecked(n)
				p.IdempotencyKey = sp.key(n)
				return nil
			}
		}
		n++
	}
	return paramError("scope", sp.scope.name, "want at most 64 identical purchases in one scope")
}

// tryTake takes ordinal n if it fits. If the ordinal is another purchase, it returns the names of its category. If that
// is not known yet, it returns a channel to wait for. If the ordinal is used up, all results are zero.
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
	case o.usedUp, sp.skipped[n]:
		return nil, nil, false
	case !known && o.calls > 0 && !isClosed(o.answered):
		return nil, o.answered, false
	case sp.scope.run && !sp.named && o.calls > 0: // at the same time, it is another purchase
		return nil, nil, false
	case !known:
		return o.names, nil, false
	}
	sp.assign(n, o)
	return nil, nil, true
}

// takeUnchecked takes an ordinal whose category may be this purchase's under another name.
func (sp *scopedPurchase) takeUnchecked(n int) {
	sp.scope.mu.Lock()
	defer sp.scope.mu.Unlock()
	sp.assign(n, sp.scope.purchases[sp.content][n])
}

// assign makes o, with index n, the current ordinal. The caller holds the lock.
func (sp *scopedPurchase) assign(n int, o *ordinal) {
	if o.names == nil {
		o.names, o.answered = []string{sp.category}, make(chan struct{})
	}
	o.calls++
	sp.taken, sp.released = n, false
}

// await waits until the category of an identical purchase is known.
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
	return "scope-" + encodeDigest(key)
}

// answered records the resolved category of the request under the key, and the name under which it was requested.
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
		o.calls-- // another purchase, perhaps that of a waiting call
		sp.released = true
	}
	o.names = names
	closeOnce(o.answered)
}

// next leaves the current ordinal, which has ended (failed or expired) or is another purchase, and takes the next one.
func (sp *scopedPurchase) next(ctx context.Context, p *PurchaseParams, ended bool) error {
	if !ended {
		if sp.skipped == nil {
			sp.skipped = make(map[int]bool)
		}
		sp.skipped[sp.taken] = true
	}
	sp.done(false, ended)
	return sp.take(ctx, p)
}

// done ends a call. After it the next call takes the next ordinal if the key leads to nothing more: because the
// purchase was bought in this run, or because its request ended, that is, failed or expired.
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
	o.usedUp = o.usedUp || ended || bought && sp.scope.run && !sp.named
	if o.calls == 0 && !isClosed(o.answered) { // still unknown which purchase it is
		closeOnce(o.answered)
		o.names, o.answered = nil, nil
	}
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

// nextKeyError is returned by an authorization if its key leads to a request that is not this purchase, or no longer:
// the request failed or expired earlier, or its category is another one.
type nextKeyError struct {
	ended bool  // the key leads to nothing more; otherwise its category is another one
	err   error // the error to return if there is no next key
}

func (e *nextKeyError) Error() string { return e.err.Error() }

func (e *nextKeyError) Unwrap() error { return e.err }

// nextKeyReason returns the reason to take the next key of the scope, or nil if err is final.
func (sp *scopedPurchase) nextKeyReason(err error) *nextKeyError {
	var reason *nextKeyError
	if sp == nil || !errors.As(err, &reason) || sp.named && !reason.ended {
		return nil
	}
	return reason
}

// withoutNextKey returns the error to report to the caller: err without a nextKeyError.
func withoutNextKey(err error) error {
	var reason *nextKeyError
	if errors.As(err, &reason) {
		return reason.err
	}
	return err
}
