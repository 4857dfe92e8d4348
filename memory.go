package letagentpay

import (
	"hash/maphash"
	"sync"
	"time"
)

// How much a process remembers. A request that is forgotten counts as another process's, and is not run. The exception
// is a run that was never confirmed: after maxStarted later ones, resuming its request by id can run it a second time.
const (
	maxRequested  = 4 << 10
	maxStarted    = 128 << 10
	maxFinished   = 16 << 10
	maxAliases    = 1 << 10
	maxRefunds    = 4 << 10
	maxDuplicates = 4 << 10
)

// requestKey is a request, and the service that gave the id.
type requestKey struct{ service, id string }

func (c *Client) requestKey(requestID string) requestKey { return requestKey{c.service, requestID} }

// progress is how far a request has come in this process.
type progress int

const (
	unknownHere     progress = iota // neither requested nor run here, or forgotten
	requestedByHand                 // requested by Client.Purchase, whose caller decides whether to pay
	requestedHere                   // requested by a guarded call, and not started
	startedHere                     // a function runs or has run under it, and the service does not know the outcome
	finishedHere                    // the service knows the outcome
)

// memory remembers requests, within bounds. It does not distinguish agents, because a service gives no id twice. It is
// safe for concurrent use.
type memory struct {
	mu        sync.Mutex
	seed      maphash.Seed
	requested *recent[requestKey, *requestedPurchase]
	byHand    *recent[uint64, struct{}]
	// by fingerprint of an idempotency key: an attempt under it may have made a request
	unclear    *recent[uint64, struct{}]
	keys       *recent[uint64, string] // by fingerprint of an idempotency key: the request that was run under it
	started    *recent[requestKey, struct{}]
	finished   *recent[uint64, struct{}] // by fingerprint, as byHand: there are many
	aliases    *recent[aliasKey, string]
	refunds    *recent[requestKey, time.Time]
	duplicates *recent[requestKey, countedRequest]
}

// countedRequest is the request of a purchase that is not a duplicate, and the purchase's idempotency key.
type countedRequest struct{ requestID, idempotencyKey string }

// requestedPurchase is what a guarded call has requested. It is immutable.
type requestedPurchase struct {
	content content
	name    string    // of the category, as the caller described it
	since   *baseline // if set, the request is this process's only if it was created after that
}

type aliasKey struct{ identity, name string }

func newMemory() *memory {
	return &memory{
		seed:       maphash.MakeSeed(),
		requested:  newRecent[requestKey, *requestedPurchase](maxRequested),
		keys:       newRecent[uint64, string](maxFinished),
		byHand:     newRecent[uint64, struct{}](maxFinished),
		unclear:    newRecent[uint64, struct{}](maxFinished),
		started:    newRecent[requestKey, struct{}](maxStarted),
		finished:   newRecent[uint64, struct{}](maxFinished),
		aliases:    newRecent[aliasKey, string](maxAliases),
		refunds:    newRecent[requestKey, time.Time](maxRefunds),
		duplicates: newRecent[requestKey, countedRequest](maxDuplicates),
	}
}

// progressOf returns how far a request has come, and what was requested if a guarded call of this process did that.
func (m *memory) progressOf(key requestKey) (progress, *requestedPurchase) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.started.get(key); ok {
		return startedHere, nil
	}
	print := m.fingerprint(key)
	if _, ok := m.finished.get(print); ok {
		return finishedHere, nil
	}
	if asked, ok := m.requested.get(key); ok {
		return requestedHere, asked
	}
	if _, ok := m.byHand.get(print); ok {
		return requestedByHand, nil
	}
	return unknownHere, nil
}

// progress returns how far a request has come in this process.
func (c *Client) progress(requestID string) progress {
	standing, _ := c.process.progressOf(c.requestKey(requestID))
	return standing
}

// rememberRequested remembers what a guarded call has requested, unless the request has come further or was first
// requested by hand.
func (m *memory) rememberRequested(key requestKey, asked *requestedPurchase) {
	known, before := m.progressOf(key)
	if known >= startedHere || known == requestedByHand || before != nil && before.since == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requested.put(key, asked)
}

// rememberByHand remembers what Client.Purchase has requested, unless a guarded call has requested it before.
func (m *memory) rememberByHand(key requestKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.requested.get(key); !ok {
		m.byHand.put(m.fingerprint(key), struct{}{})
	}
}

// rememberStarted remembers that a function runs under a request.
func (m *memory) rememberStarted(key requestKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requested.drop(key)
	m.started.put(key, struct{}{})
}

// rememberStartedUnder remembers the request that is run under an idempotency key.
func (m *memory) rememberStartedUnder(identity, key, requestID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys.put(m.fingerprint(requestKey{identity, key}), requestID)
}

// ranUnder returns the request that was run under an idempotency key, empty when none is remembered.
func (m *memory) ranUnder(identity, key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, _ := m.keys.get(m.fingerprint(requestKey{identity, key}))
	return id
}

// rememberUnclear remembers that an attempt under an idempotency key may have made a request, or may still make it. The
// request may be for another purchase than the key is used for later.
func (m *memory) rememberUnclear(identity, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unclear.put(m.fingerprint(requestKey{identity, key}), struct{}{})
}

func (m *memory) isUnclear(identity, key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.unclear.get(m.fingerprint(requestKey{identity, key}))
	return ok
}

// rememberDuplicate remembers that a request is a duplicate, so that nothing runs under it.
func (m *memory) rememberDuplicate(key requestKey, of countedRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.duplicates.put(key, of)
}

// countsFor returns the request that counts when the answer under an idempotency key names a known duplicate of it, and
// otherwise an empty id.
func (m *memory) countsFor(answered requestKey, key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if of, ok := m.duplicates.get(answered); ok && of.idempotencyKey == key {
		return of.requestID
	}
	return ""
}

// duplicateOf returns the request that counts when another one is a known duplicate of it, and otherwise an empty id.
func (m *memory) duplicateOf(key requestKey) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	of, _ := m.duplicates.get(key)
	return of.requestID
}

// rememberFinished remembers that the service knows the outcome of a request.
func (m *memory) rememberFinished(key requestKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requested.drop(key)
	m.started.drop(key)
	m.refunds.drop(key)
	m.finished.put(m.fingerprint(key), struct{}{})
}

func (m *memory) fingerprint(key requestKey) uint64 { return maphash.Comparable(m.seed, key) }

func (m *memory) alias(key aliasKey) (category string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.aliases.get(key)
}

func (m *memory) rememberAlias(key aliasKey, category string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.aliases.put(key, category)
}

// minRefundCooldown is how long the service may take for a failure confirmation after the client has given up waiting.
// A second failure confirmation during that time may refund twice.
const minRefundCooldown = time.Minute

// coolDownRefund remembers that the service may still handle a failure confirmation whose attempt lasted for a time.
func (m *memory) coolDownRefund(key requestKey, lasted time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refunds.put(key, time.Now().Add(max(minRefundCooldown, 2*lasted)))
}

// rememberRefund remembers that a request is to be refunded, so that nothing runs under it.
func (m *memory) rememberRefund(key requestKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.refunds.get(key); !ok {
		m.refunds.put(key, time.Time{})
	}
}

// hasOpenRefund reports whether a failure confirmation has an unknown outcome or is still to be sent.
func (m *memory) hasOpenRefund(key requestKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.refunds.get(key)
	return ok
}

// coolingDown reports whether the service may still handle an earlier failure confirmation.
func (m *memory) coolingDown(key requestKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.refunds.get(key)
	return ok && time.Until(until) > 0
}
