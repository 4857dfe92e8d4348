package letagentpay

import (
	"hash/maphash"
	"sync"
	"time"
)

// How much a process remembers. What is forgotten is treated as somebody else's, which is the safe side, but for runs
// whose confirmation never got through: a request is only then in danger of a second run when it is resumed by its id
// after as many later runs have stayed unconfirmed.
const (
	mostAsked      = 4 << 10
	mostStarted    = 128 << 10
	mostFinished   = 16 << 10
	mostAliases    = 1 << 10
	mostRefunds    = 4 << 10
	mostDuplicates = 4 << 10
)

// requestKey names a request in this process.
type requestKey struct{ service, id string }

func (c *Client) requestKey(requestID string) requestKey { return requestKey{c.service, requestID} }

// progress is how far a request has come, as this process knows it.
type progress int

const (
	unknownHere  progress = iota // neither asked for nor run here, or forgotten
	askedByHand                  // the answer to a Client.Purchase, whose caller spends or does not
	askedFor                     // asked for by a guarded call, and surely not started
	startedHere                  // something runs or has run under it, and the service does not know how it ended
	finishedHere                 // the service knows
)

// memory remembers requests, within bounds. A request's id names it at its service; agents need not be told apart,
// because the service gives no id twice. It is safe for concurrent use.
type memory struct {
	mu         sync.Mutex
	seed       maphash.Seed
	asked      *recent[requestKey, *askedRequest]
	byHand     *recent[uint64, struct{}]
	unclear    *recent[uint64, struct{}] // by fingerprint of an idempotency key: what an attempt under it has made is not known
	keys       *recent[uint64, string]   // by fingerprint of an idempotency key: the request that was run under it
	started    *recent[requestKey, struct{}]
	finished   *recent[uint64, struct{}] // by fingerprint, as byHand: there are many
	aliases    *recent[aliasKey, string]
	refunds    *recent[requestKey, time.Time]
	duplicates *recent[requestKey, countedRequest] // duplicates
}

// countedRequest is the request that counts among those of a purchase, and the purchase's key.
type countedRequest struct{ requestID, key string }

// askedRequest is what a guarded call has asked for. It is not changed.
type askedRequest struct {
	content content
	name    string    // of the category, as it was asked under
	since   *baseline // the request could not be read: it is this process's if it came after that; nil: it is
}

type aliasKey struct{ identity, name string }

func newMemory() *memory {
	return &memory{
		seed:       maphash.MakeSeed(),
		asked:      newRecent[requestKey, *askedRequest](mostAsked),
		keys:       newRecent[uint64, string](mostFinished),
		byHand:     newRecent[uint64, struct{}](mostFinished),
		unclear:    newRecent[uint64, struct{}](mostFinished),
		started:    newRecent[requestKey, struct{}](mostStarted),
		finished:   newRecent[uint64, struct{}](mostFinished),
		aliases:    newRecent[aliasKey, string](mostAliases),
		refunds:    newRecent[requestKey, time.Time](mostRefunds),
		duplicates: newRecent[requestKey, countedRequest](mostDuplicates),
	}
}

// lookUp returns how far a request has come, and what was asked for where that is remembered.
func (m *memory) lookUp(key requestKey) (progress, *askedRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.started.get(key); ok {
		return startedHere, nil
	}
	print := m.fingerprint(key)
	if _, ok := m.finished.get(print); ok {
		return finishedHere, nil
	}
	if asked, ok := m.asked.get(key); ok {
		return askedFor, asked
	}
	if _, ok := m.byHand.get(print); ok {
		return askedByHand, nil
	}
	return unknownHere, nil
}

// progress returns how far a request has come in this process.
func (c *Client) progress(requestID string) progress {
	standing, _ := c.process.lookUp(c.requestKey(requestID))
	return standing
}

// rememberAsked remembers a request that a guarded call has asked for, unless more is known of it. Who asked first, by hand or by
// a guarded call, decides which it is.
func (m *memory) rememberAsked(key requestKey, asked *askedRequest) {
	known, before := m.lookUp(key)
	if known >= startedHere || known == askedByHand || before != nil && before.since == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked.put(key, asked)
}

// rememberByHand remembers the answer to a Client.Purchase, unless a guarded call has asked first.
func (m *memory) rememberByHand(key requestKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.asked.get(key); !ok {
		m.byHand.put(m.fingerprint(key), struct{}{})
	}
}

// rememberStarted remembers that something runs under a request.
func (m *memory) rememberStarted(key requestKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked.drop(key)
	m.started.put(key, struct{}{})
}

// rememberStartedUnder remembers which request was run under an idempotency key.
func (m *memory) rememberStartedUnder(identity, key, requestID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys.put(m.fingerprint(requestKey{identity, key}), requestID)
}

// ranUnder returns the request that was run under an idempotency key, empty if none is remembered.
func (m *memory) ranUnder(identity, key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, _ := m.keys.get(m.fingerprint(requestKey{identity, key}))
	return id
}

// rememberUnclear remembers that an attempt under an idempotency key may have made a request, or make it yet, for whatever
// the key was used for then.
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

// rememberDuplicate remembers a duplicate, under which nothing runs.
func (m *memory) rememberDuplicate(key requestKey, of countedRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.duplicates.put(key, of)
}

// countsFor returns the request that counts when the answer under an idempotency key is a known duplicate of it, empty
// otherwise.
func (m *memory) countsFor(answered requestKey, key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if of, ok := m.duplicates.get(answered); ok && of.key == key {
		return of.requestID
	}
	return ""
}

// duplicateOf returns the request that counts when one is a known duplicate, empty otherwise.
func (m *memory) duplicateOf(key requestKey) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	of, _ := m.duplicates.get(key)
	return of.requestID
}

// rememberFinished remembers that the service knows how a request ended.
func (m *memory) rememberFinished(key requestKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked.drop(key)
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

// leastCooldown is how long a service is given to end the handling of a failure confirmation that nobody waits for any
// more. A second one beside it refunds twice.
const leastCooldown = time.Minute

// coolDownRefund notes that an attempt at a failure confirmation, which lasted for a time, may still be handled.
func (m *memory) coolDownRefund(key requestKey, lasted time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refunds.put(key, time.Now().Add(max(leastCooldown, 2*lasted)))
}

// rememberRefund notes that a request is to be given back, so that nothing runs under it.
func (m *memory) rememberRefund(key requestKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.refunds.get(key); !ok {
		m.refunds.put(key, time.Time{})
	}
}

// refundSent reports whether a failure confirmation was sent whose outcome is unknown, or is still to be sent.
func (m *memory) refundSent(key requestKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.refunds.get(key)
	return ok
}

// coolingDown reports whether an earlier failure confirmation may still be handled.
func (m *memory) coolingDown(key requestKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.refunds.get(key)
	return ok && time.Until(until) > 0
}
