package main

// memoryMutants cover the memory of a process, and the calls that must not overlap in it.
var memoryMutants = []mutant{
	// memory.go
	{
		name: "memory/services-not-distinguished", file: "memory.go",
		old: "return requestKey{c.service, requestID}", new: "return requestKey{\"\", requestID}",
		why: "a request of one service counts as that of another one with the same id",
	},
	{
		name: "memory/agents-distinguished", file: "memory.go",
		old: "return requestKey{c.service, requestID}", new: "return requestKey{c.identity, requestID}",
		why: "after a token rotation a request that has run runs again",
	},
	{
		name: "memory/started-is-forgotten", file: "memory.go",
		old: "m.started.put(key, struct{}{})", new: "_ = key",
		why: "a request that ran unconfirmed runs again",
	},
	{
		name: "memory/finished-is-forgotten", file: "memory.go",
		old: "m.finished.put(m.fingerprint(key), struct{}{})", new: "_ = key",
		why: "a stale read makes a confirmed request run again",
	},
	{
		name: "memory/finished-counts-as-started", file: "memory.go",
		old: "m.started.drop(key)\n", new: "",
		why: "a confirmed request is reported as still to be confirmed",
	},
	{
		name: "memory/cooldown-outlives-the-end", file: "memory.go",
		old: "m.refunds.drop(key)\n", new: "",
		why: "a refund that is known to have arrived counts as still in progress",
	},
	{
		name: "memory/requested-again-overrules", file: "memory.go",
		old: "|| known == requestedByHand || before != nil", new: "|| before != nil",
		why: "a guarded call under the key of a Client.Purchase call lets guards run that request",
	},
	{
		name: "memory/read-is-unread-again", file: "memory.go",
		old: "|| before != nil && before.since == nil {", new: "|| before != nil && false {",
		why: "a request that this process made counts as another process's once a read of it fails",
	},
	{
		name: "memory/by-hand-again-overrules", file: "memory.go",
		old: "if _, ok := m.requested.get(key); !ok {\n\t\tm.byHand",
		new: "if _, ok := m.requested.get(key); ok || !ok {\n\t\tm.byHand",
		why: "a Client.Purchase call under the key of a finished guarded call keeps guards from running its request",
	},
	{
		name: "memory/keys-of-runs-forgotten", file: "memory.go",
		old: "m.keys.put(m.fingerprint(requestKey{identity, key}), requestID)", new: "_ = m.keys",
		why: "a second request that a lost attempt made under the key of a run also runs",
	},
	{
		name: "memory/keys-of-agents-not-distinguished", file: "memory.go",
		old: "m.keys.put(m.fingerprint(requestKey{identity, key}), requestID)",
		new: "m.keys.put(m.fingerprint(requestKey{identity[:0], key}), requestID)",
		why: "the run under an agent's key is not found again",
	},
	{
		name: "memory/by-hand-is-forgotten", file: "memory.go",
		old: "m.byHand.put(m.fingerprint(key), struct{}{})", new: "_ = m.byHand",
		why: "a guarded call runs under a request that a caller of Client.Purchase spends",
	},
	{
		name: "memory/services-share-fingerprints", file: "memory.go",
		old: "maphash.Comparable(m.seed, key) }", new: "maphash.Comparable(m.seed, key.id) }",
		why: "a request of one service counts as finished because another service's with the same id is",
	},
	{
		name: "recent/forgets-at-once", file: "recent.go",
		old: "if rc.young == nil || len(rc.young) >= rc.limit/2 {", new: "if rc.young == nil || len(rc.young) >= 1 {",
		why: "only the latest two runs are remembered",
	},
	{
		name: "recent/never-forgets", file: "recent.go",
		old: "if rc.young == nil || len(rc.young) >= rc.limit/2 {", new: "if rc.young == nil {",
		why: "the memory of a long-running process grows without limit",
	},
	{
		name: "recent/forgets-the-older-half", file: "recent.go",
		old: "value, ok = rc.old[key]\n", new: "_ = rc.old\n",
		why: "when the memory is full, it is emptied at once",
	},
	{
		name: "recent/drops-the-younger-half-only", file: "recent.go",
		old: "func (rc *recent[K, V]) drop(key K) {\n\tdelete(rc.young, key)\n\tdelete(rc.old, key)",
		new: "func (rc *recent[K, V]) drop(key K) {\n\tdelete(rc.young, key)",
		why: "a request confirmed long after its start counts as unconfirmed",
	},

	// inflight.go
	{
		name: "process/no-cooldown", file: "process.go",
		old: "err = c.process.cooldowns.wait(ctx, key, totalLimit, began); err == nil {", new: "_ = began; err == nil {",
		why: "a write repeated after a lost one overlaps it",
	},
	{
		name: "cooldown/waits-beyond-the-limit", file: "cooldown.go",
		old: "case limit > 0 && pause > time.Until(began.Add(limit)):", new: "case false:",
		why: "a call with a time limit of ten seconds waits two minutes for a cooldown",
	},
	{
		name: "memory/sent-refunds-forgotten", file: "memory.go",
		old: "_, ok := m.refunds.get(key)\n\treturn ok\n", new: "_, ok := m.refunds.get(key)\n\treturn ok && false\n",
		why: "a request runs although the service may still be handling its refund",
	},
	{
		name: "process/lock-kept-after-an-interrupted-cooldown", file: "process.go",
		old: "held.Release()\n\t}\n\tif ctx.Err()", new: "_ = held\n\t}\n\tif ctx.Err()",
		why: "a call that is cancelled during a cooldown locks its key permanently",
	},
	{
		name: "process/waits-without-limit", file: "process.go",
		old: "if limit > 0 {", new: "if limit < 0 {",
		why: "a call waits indefinitely for one that hangs",
	},
	{
		name: "process/busy-is-a-deadline", file: "process.go",
		old: "err = ErrInProgress", new: "_ = ErrInProgress",
		why: "a caller mistakes another call's slowness for its own deadline",
	},
	{
		name: "process/known-outcomes-cool-down", file: "process.go",
		old: "if _, unknown := errors.AsType[*OutcomeUnknownError](err); unknown {",
		new: "if _, unknown := errors.AsType[*OutcomeUnknownError](err); unknown || err == nil {",
		why: "the second of two calls under a key waits without need",
	},
	{
		name: "process/cooldown-not-in-proportion", file: "process.go",
		old: "now.Add(min(max(settlePause, now.Sub(began)), maxCooldown))",
		new: "now.Add(min(settlePause, maxCooldown))",
		why: "a write repeated after a slow one overlaps it",
	},
	{
		name: "process/no-minimum-cooldown", file: "process.go",
		old: "now.Add(min(max(settlePause, now.Sub(began)), maxCooldown))",
		new: "now.Add(min(now.Sub(began), maxCooldown))",
		why: "a write repeated after one that broke at once overlaps it",
	},
	{
		name: "cooldown/cooldowns-without-limit", file: "cooldown.go",
		old: "min(time.Until(until), maxCooldown)", new: "time.Until(until) + 0*maxCooldown",
		why: "the cooldown of a key lasts as long as the error of another clock",
	},
	{
		name: "cooldown/cooldowns-are-kept", file: "cooldown.go",
		old: "maps.DeleteFunc(cd.until, func(_ lockKey, until time.Time) bool { return until.Before(now) })",
		new: "maps.DeleteFunc(cd.until, func(_ lockKey, until time.Time) bool { return false && until.Before(now) })",
		why: "each unknown outcome uses memory permanently",
	},
	{
		name: "cooldown/cooldowns-end-early", file: "cooldown.go",
		old: "return until.Before(now) })", new: "return !until.Before(now) })",
		why: "an unknown outcome ends the cooldowns of all others",
	},
	{
		name: "memory/short-cooldown", file: "memory.go",
		old: "max(minRefundCooldown, 2*lasted)", new: "max(0, 2*lasted)",
		why: "a refund is sent although one that broke at once may still be handled",
	},
	{
		name: "memory/cooldown-not-in-proportion", file: "memory.go",
		old: "max(minRefundCooldown, 2*lasted)", new: "max(minRefundCooldown, 0*lasted)",
		why: "a refund is sent although a slow service may still be handling the first",
	},
	{
		name: "memory/cooldown-never-ends", file: "memory.go",
		old: "return ok && time.Until(until) > 0", new: "_ = until\n\treturn ok",
		why: "a refund that never arrived is never sent again",
	},

	// internal/keylock/keylock.go
	{
		name: "internal/keylock/keylock/released-twice", file: "internal/keylock/keylock.go",
		old: "if !h.released.Swap(true) {", new: "if h.released.Swap(true); true {",
		why: "a lock that is released twice releases that of the next holder",
	},
	{
		name: "internal/keylock/keylock/not-taken", file: "internal/keylock/keylock.go",
		old: "l.held[key] = nil\n\treturn &Held", new: "return &Held",
		why: "no call ever waits",
	},
	{
		name: "internal/keylock/keylock/taken-twice", file: "internal/keylock/keylock.go",
		old: "if _, taken := l.held[key]; taken {\n\t\treturn nil",
		new: "if _, taken := l.held[key]; taken && false {\n\t\treturn nil",
		why: "a lock that is held is given to every caller that requests it",
	},
	{
		name: "internal/keylock/keylock/last-comes-first", file: "internal/keylock/keylock.go",
		old: "l.held[key] = append(queue, turn)", new: "l.held[key] = append([]chan struct{}{turn}, queue...)",
		why: "a call that waits longest is overtaken by all others",
	},
	{
		name: "internal/keylock/keylock/abandoned-place-kept", file: "internal/keylock/keylock.go",
		old: "l.held[key] = slices.Delete(l.held[key], i, i+1)", new: "_ = i",
		why: "the lock is handed to a cancelled call and never released",
	},
	{
		name: "internal/keylock/keylock/late-turn-kept", file: "internal/keylock/keylock.go",
		old: "if i < 0 {\n\t\tl.pass(key)", new: "if false {\n\t\tl.pass(key)",
		why: "a lock handed over as the call gives up is lost and never free again",
	},
	{
		name: "internal/keylock/keylock/names-are-kept", file: "internal/keylock/keylock.go",
		old: "if len(queue) == 0 {\n\t\tdelete(l.held, key)", new: "if len(queue) == 0 {\n\t\tl.held[key] = nil",
		why: "a lock without waiters is never free again",
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
		why: "a request spelled in capitals runs at the same time as itself",
	},
	{
		name: "requestid/hyphens-matter", file: "requestid.go",
		old: "digits := strings.ReplaceAll(bare, \"-\", \"\")", new: "digits := bare",
		why: "a request spelled without hyphens runs at the same time as itself",
	},
	{
		name: "requestid/braces-matter", file: "requestid.go",
		old: "if strings.HasPrefix(bare, \"{\") && strings.HasSuffix(bare, \"}\") {", new: "if false {",
		why: "a request spelled in braces runs at the same time as itself",
	},
	{
		name: "requestid/urns-matter", file: "requestid.go",
		old: "strings.TrimPrefix(lower, \"urn:uuid:\")", new: "lower",
		why: "a request spelled as a URN runs at the same time as itself",
	},
	{
		name: "requestid/capitals-are-canonical", file: "requestid.go",
		old: "(c < 'a' || c > 'f'):", new: "(c < 'a' || c > 'f') && (c < 'A' || c > 'F'):",
		why: "a request spelled in capitals runs at the same time as itself",
	},
	{
		name: "requestid/canonical-without-hyphens", file: "requestid.go",
		old: "if c != '-' {\n\t\t\t\treturn false", new: "if c == 0 {\n\t\t\t\treturn false",
		why: "an id with other characters in place of the hyphens is sent unchecked",
	},
	{
		name: "requestid/any-32-characters", file: "requestid.go",
		old: "if len(digits) != 32 || strings.Trim(digits, \"0123456789abcdef\") != \"\" {",
		new: "if len(digits) != 32 {",
		why: "an id that is not a UUID is changed into another one",
	},
}
