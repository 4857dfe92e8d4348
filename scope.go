package letagentpay

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"sync"
)

type scopeKey struct{}

// purchaseScope is a unit of work that may be retried as a whole.
type purchaseScope struct {
	name string

	mu    sync.Mutex
	taken map[[sha256.Size]byte]map[int]bool // ordinals of each purchase's content that are used up or under way
}

// WithPurchaseScope returns a context for one run of a unit of work that may be retried as a whole: an agent's turn, a
// task, the handling of a message. Name it by what stays the same when it is retried, such as the message's id; the
// name must not be empty.
//
// Purchases under the context that bring no idempotency key of their own get one that is derived from the scope's
// name, the purchase's content (amount, currency, category, merchant and description) and how many identical purchases
// this run has made before. A retried run, in this process or another, thus asks under the same keys in the same
// order: the service answers for the first run, and [Guard] does not run its function again. Two identical purchases
// in one run stay two. Descriptions that a model words anew each time make new purchases: leave them out, or make them
// from the task.
//
// A purchase that got no answer is not counted, nor a guarded one that is still pending: asking again continues it.
// Concurrent use is safe: identical purchases at the same time get different keys, always out of the same set,
// whichever comes first.
//
// In a rerun, an [*AlreadyHandledError] stands for what the first run has bought, and counts: whoever answers it by asking
// once more, asks for one more. A [Journal] gives the first run's result back instead.
//
// The service remembers keys for 24 hours. Call WithPurchaseScope once for each run; calling it again begins a rerun.
func WithPurchaseScope(ctx context.Context, scope string) context.Context {
	return context.WithValue(ctx, scopeKey{}, &purchaseScope{name: scope, taken: make(map[[sha256.Size]byte]map[int]bool)})
}

// scoped gives p a key of the scope of ctx, if there is one and p has no key of its own. used must be called when the
// outcome is known: whether the key is used up, or free for the same purchase asked again.
func scoped(ctx context.Context, p *PurchaseParams) (used func(bool), err error) {
	scope, ok := ctx.Value(scopeKey{}).(*purchaseScope)
	if !ok || p.IdempotencyKey != "" {
		return func(bool) {}, nil
	}
	if scope.name == "" {
		return nil, paramError("scope", "", "want a name that stays the same when the work is retried, not an empty one")
	}
	digest := sha256.New()
	for _, part := range []string{"letagentpay purchase scope 1", scope.name, p.Amount.String(), strings.ToUpper(p.Currency), normalCategory(p.Category), p.MerchantName, p.Description} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		digest.Write(length[:])
		digest.Write([]byte(part))
	}
	content := [sha256.Size]byte(digest.Sum(nil))

	scope.mu.Lock()
	defer scope.mu.Unlock()
	taken := scope.taken[content]
	if taken == nil {
		taken = make(map[int]bool)
		scope.taken[content] = taken
	}
	ordinal := 0
	for taken[ordinal] {
		ordinal++
	}
	taken[ordinal] = true
	var count [8]byte
	binary.BigEndian.PutUint64(count[:], uint64(ordinal))
	key := sha256.Sum256(append(content[:], count[:]...))
	p.IdempotencyKey = "scope-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(key[:]))
	return func(used bool) {
		if !used {
			scope.mu.Lock()
			delete(taken, ordinal)
			scope.mu.Unlock()
		}
	}, nil
}
