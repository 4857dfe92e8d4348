package main

// memoryMutants are about what a process remembers, and what must not overlap in it.
var memoryMutants = []mutant{
	// memory.go
	{
		name: "memory/services-not-told-apart", file: "memory.go",
		old: "return requestKey{c.service, requestID}", new: "return requestKey{\"\", requestID}",
		why: "a request of one service counts as that of another one with the same id",
	},
	{
		name: "memory/agents-told-apart", file: "memory.go",
		old: "return requestKey{c.service, requestID}", new: "return requestKey{c.identity, requestID}",
		why: "after the token was rotated a request that has run runs again",
	},
	{
		name: "memory/started-is-forgotten", file: "memory.go",
		old: "m.started.put(key, struct{}{})", new: "_ = key",
		why: "what has run unconfirmed runs again",
	},
	{
		name: "memory/finished-is-forgotten", file: "memory.go",
		old: "m.finished.put(m.fingerprint(key), struct{}{})", new: "_ = key",
		why: "an old read makes what was confirmed run again",
	},
	{
		name: "memory/finished-counts-as-started", file: "memory.go",
		old: "m.started.drop(key)\n", new: "",
		why: "what was confirmed is reported as still to be confirmed",
	},
	{
		name: "memory/cooldown-outlives-the-end", file: "memory.go",
		old: "m.refunds.drop(key)\n", new: "",
		why: "a refund that is known to have got through counts as still on its way",
	},
	{
		name: "memory/asked-again-overrules", file: "memory.go",
		old: "|| known == requestedByHand || before != nil", new: "|| before != nil",
		why: "a guarded call under the key of a purchase by hand makes it one that guards may run",
	},
	{
		name: "memory/read-is-unread-again", file: "memory.go",
		old: "|| before != nil && before.since == nil {", new: "|| before != nil && false {",
		why: "a request that this process has asked for counts as another's once it could not be read",
	},
	{
		name: "memory/by-hand-again-overrules", file: "memory.go",
		old: "if _, ok := m.requested.get(key); !ok {\n\t\tm.byHand",
		new: "if _, ok := m.requested.get(key); ok || !ok {\n\t\tm.byHand",
		why: "a purchase by hand under the key of a guarded call that is over counts as one that guards never run",
	},
	{
		name: "memory/keys-of-runs-forgotten", file: "memory.go",
		old: "m.keys.put(m.fingerprint(requestKey{identity, key}), requestID)", new: "_ = m.keys",
		why: "a second request that a lost attempt has made under the key of a run is run as well",
	},
	{
		name: "memory/keys-of-agents-not-told-apart", file: "memory.go",
		old: "m.keys.put(m.fingerprint(requestKey{identity, key}), requestID)",
		new: "m.keys.put(m.fingerprint(requestKey{identity[:0], key}), requestID)",
		why: "the run under an agent's key is not found again",
	},
	{
		name: "memory/by-hand-is-forgotten", file: "memory.go",
		old: "m.byHand.put(m.fingerprint(key), struct{}{})", new: "_ = m.byHand",
		why: "a guarded call takes what a caller of Client.Purchase spends by itself",
	},
	{
		name: "memory/services-share-fingerprints", file: "memory.go",
		old: "maphash.Comparable(m.seed, key) }", new: "maphash.Comparable(m.seed, key.id) }",
		why: "a request of one service counts as finished because another's with the same id is",
	},
	{
		name: "recent/forgets-at-once", file: "recent.go",
		old: "if rc.young == nil || len(rc.young) >= rc.limit/2 {", new: "if rc.young == nil || len(rc.young) >= 1 {",
		why: "of all that has run only the latest two are remembered",
	},
	{
		name: "recent/never-forgets", file: "recent.go",
		old: "if rc.young == nil || len(rc.young) >= rc.limit/2 {", new: "if rc.young == nil {",
		why: "a process that runs for long needs memory without a bound",
	},
	{
		name: "recent/forgets-the-older-half", file: "recent.go",
		old: "value, ok = rc.old[key]\n", new: "_ = rc.old\n",
		why: "when the memory is full, all of it is forgotten at once",
	},
	{
		name: "recent/drops-the-younger-half-only", file: "recent.go",
		old: "func (rc *recent[K, V]) drop(key K) {\n\tdelete(rc.young, key)\n\tdelete(rc.old, key)",
		new: "func (rc *recent[K, V]) drop(key K) {\n\tdelete(rc.young, key)",
		why: "what was confirmed long after it was started counts as unconfirmed",
	},

	// inflight.go
	{
		name: "process/no-rest", file: "process.go",
		old: "err = c.process.cooldowns.wait(ctx, key, totalLimit, began); err == nil {", new: "_ = began; err == nil {",
		why: "a write repeated after a lost one overlaps it",
	},
	{
		name: "cooldown/rests-beyond-the-limit", file: "cooldown.go",
		old: "case limit > 0 && pause > time.Until(began.Add(limit)):", new: "case false:",
		why: "a call that may wait for ten seconds rests for two minutes",
	},
	{
		name: "memory/sent-refunds-forgotten", file: "memory.go",
		old: "_, ok := m.refunds.get(key)\n\treturn ok\n", new: "_, ok := m.refunds.get(key)\n\treturn ok && false\n",
		why: "a request runs whose refund the service may still be handling",
	},
	{
		name: "process/lock-kept-after-an-interrupted-rest", file: "process.go",
		old: "held.Release()\n\t}\n\tif ctx.Err()", new: "_ = held\n\t}\n\tif ctx.Err()",
		why: "a call that is cancelled while it rests locks its key for ever",
	},
	{
		name: "process/waits-for-ever", file: "process.go",
		old: "if limit > 0 {", new: "if limit < 0 {",
		why: "a call waits without end for one that hangs",
	},
	{
		name: "process/busy-is-a-deadline", file: "process.go",
		old: "err = ErrInProgress", new: "_ = ErrInProgress",
		why: "a caller takes another call's slowness for its own deadline",
	},
	{
		name: "process/known-outcomes-rest", file: "process.go",
		old: "if _, unknown := errors.AsType[*OutcomeUnknownError](err); unknown {",
		new: "if _, unknown := errors.AsType[*OutcomeUnknownError](err); unknown || err == nil {",
		why: "the second of two calls under a key waits for nothing",
	},
	{
		name: "process/rest-not-in-proportion", file: "process.go",
		old: "now.Add(min(max(settlePause, now.Sub(began)), longestCooldown))",
		new: "now.Add(min(settlePause, longestCooldown))",
		why: "a write repeated after a slow one overlaps it",
	},
	{
		name: "process/no-least-rest", file: "process.go",
		old: "now.Add(min(max(settlePause, now.Sub(began)), longestCooldown))",
		new: "now.Add(min(now.Sub(began), longestCooldown))",
		why: "a write repeated after one that broke at once overlaps it",
	},
	{
		name: "cooldown/rests-without-a-bound", file: "cooldown.go",
		old: "min(time.Until(until), longestCooldown)", new: "time.Until(until) + 0*longestCooldown",
		why: "a key rests as long as another clock says",
	},
	{
		name: "cooldown/rests-are-kept", file: "cooldown.go",
		old: "maps.DeleteFunc(cd.until, func(_ lockKey, until time.Time) bool { return until.Before(now) })",
		new: "maps.DeleteFunc(cd.until, func(_ lockKey, until time.Time) bool { return false && until.Before(now) })",
		why: "each unknown outcome needs memory for ever",
	},
	{
		name: "cooldown/rests-end-early", file: "cooldown.go",
		old: "return until.Before(now) })", new: "return !until.Before(now) })",
		why: "an unknown outcome ends the rest of all others",
	},
	{
		name: "memory/short-cooldown", file: "memory.go",
		old: "max(leastCooldown, 2*lasted)", new: "max(0, 2*lasted)",
		why: "a refund is sent beside one that broke at once and may still be handled",
	},
	{
		name: "memory/cooldown-not-in-proportion", file: "memory.go",
		old: "max(leastCooldown, 2*lasted)", new: "max(leastCooldown, 0*lasted)",
		why: "a refund is sent beside one that a slow service may still handle",
	},
	{
		name: "memory/cooldown-without-end", file: "memory.go",
		old: "return ok && time.Until(until) > 0", new: "_ = until\n\treturn ok",
		why: "a refund that never arrived is never sent again",
	},

	// internal/keylock/keylock.go
	{
		name: "internal/keylock/keylock/released-twice", file: "internal/keylock/keylock.go",
		old: "if !h.released.Swap(true) {", new: "if h.released.Swap(true); true {",
		why: "a lock that is released twice frees that of the next holder",
	},
	{
		name: "internal/keylock/keylock/not-taken", file: "internal/keylock/keylock.go",
		old: "l.held[key] = nil\n\treturn &Held", new: "return &Held",
		why: "nobody ever waits",
	},
	{
		name: "internal/keylock/keylock/taken-twice", file: "internal/keylock/keylock.go",
		old: "if _, taken := l.held[key]; taken {\n\t\treturn nil",
		new: "if _, taken := l.held[key]; taken && false {\n\t\treturn nil",
		why: "a lock that is taken is given to everyone who asks",
	},
	{
		name: "internal/keylock/keylock/last-comes-first", file: "internal/keylock/keylock.go",
		old: "l.held[key] = append(queue, turn)", new: "l.held[key] = append([]chan struct{}{turn}, queue...)",
		why: "the call that waits longest is overtaken by all others",
	},
	{
		name: "internal/keylock/keylock/abandoned-place-kept", file: "internal/keylock/keylock.go",
		old: "l.held[key] = slices.Delete(l.held[key], i, i+1)", new: "_ = i",
		why: "the lock is handed to a call that has gone, and never comes back",
	},
	{
		name: "internal/keylock/keylock/late-turn-kept", file: "internal/keylock/keylock.go",
		old: "if i < 0 {\n\t\tl.pass(key)", new: "if false {\n\t\tl.pass(key)",
		why: "a turn that comes as the call gives up is lost, and the lock is never free again",
	},
	{
		name: "internal/keylock/keylock/names-are-kept", file: "internal/keylock/keylock.go",
		old: "if len(queue) == 0 {\n\t\tdelete(l.held, key)", new: "if len(queue) == 0 {\n\t\tl.held[key] = nil",
		why: "a lock that nobody waits for is never free again",
	},
	{
		name: "internal/keylock/keylock/wait-ignores-the-context", file: "internal/keylock/keylock.go",
		old: "case <-ctx.Done():\n\t}", new: "}",
		why: "a cancelled call waits for the lock",
	},

	// requestid.go
	{
		name: "requestid/case-matters", file: "requestid.go",
		old: "lower := strings.ToLower(id)", new: "lower := id",
		why: "a request that is spelled in capitals runs at the same time as itself",
	},
	{
		name: "requestid/hyphens-matter", file: "requestid.go",
		old: "digits := strings.ReplaceAll(bare, \"-\", \"\")", new: "digits := bare",
		why: "a request that is spelled without hyphens runs at the same time as itself",
	},
	{
		name: "requestid/braces-matter", file: "requestid.go",
		old: "if strings.HasPrefix(bare, \"{\") && strings.HasSuffix(bare, \"}\") {", new: "if false {",
		why: "a request that is spelled in braces runs at the same time as itself",
	},
	{
		name: "requestid/urns-matter", file: "requestid.go",
		old: "strings.TrimPrefix(lower, \"urn:uuid:\")", new: "lower",
		why: "a request that is spelled as a URN runs at the same time as itself",
	},
	{
		name: "requestid/capitals-are-canonical", file: "requestid.go",
		old: "(c < 'a' || c > 'f'):", new: "(c < 'a' || c > 'f') && (c < 'A' || c > 'F'):",
		why: "a request that is spelled in capitals runs at the same time as itself",
	},
	{
		name: "requestid/canonical-without-hyphens", file: "requestid.go",
		old: "if c != '-' {\n\t\t\t\treturn false", new: "if c == 0 {\n\t\t\t\treturn false",
		why: "an id of any characters where the hyphens belong is sent unchecked",
	},
	{
		name: "requestid/any-32-characters", file: "requestid.go",
		old: "if len(digits) != 32 || strings.Trim(digits, \"0123456789abcdef\") != \"\" {",
		new: "if len(digits) != 32 {",
		why: "an id that is no UUID is changed into another one",
	},
}
