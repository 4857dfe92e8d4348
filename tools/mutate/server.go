package main

// serverMutants cover the ledger of the embedded server, which users' tests rely on.
var serverMutants = []mutant{
	// purchase.go
	{
		name: "server-purchase/keys-not-replayed", file: "letagentpaytest/purchase.go",
		old: "if first := a.replays.find(key, x.now); first != nil {",
		new: "if first := a.replays.find(key, x.now); false {",
		why: "a purchase repeated under its key is made again",
	},
	{
		name: "server-purchase/answers-not-stored", file: "letagentpaytest/purchase.go",
		old: "a.replays.store(key, reply, x.now, acc.history)", new: "_ = acc.history",
		why: "a purchase repeated under its key is made again",
	},
	{
		name: "server-purchase/unlimited", file: "letagentpaytest/purchase.go",
		old: "if !a.purchases.allow(x.now) {", new: "if a.purchases.allow(x.now); false {",
		why: "an agent that exceeds the rate limit is not refused",
	},
	{
		name: "server-purchase/replays-free-of-the-limit", file: "letagentpaytest/purchase.go",
		old: "if !a.purchases.allow(x.now) {",
		new: "if a.replays.find(trimSpace(x.header.Get(\"Idempotency-Key\")), x.now) == nil && !a.purchases.allow(x.now) {",
		why: "a repetition does not count as a call, unlike at the service",
	},
	{
		name: "server-purchase/one-pending-more", file: "letagentpaytest/purchase.go",
		old: "if a.pending >= pendingCap {", new: "if a.pending > pendingCap {",
		why: "an agent has more undecided purchases than the service allows",
	},
	{
		name: "server-purchase/any-currency", file: "letagentpaytest/purchase.go",
		old: "if b.currency != nil && *b.currency != currency {", new: "if false {",
		why: "a purchase in a currency other than the account's is made",
	},
	{
		name: "server-purchase/rounded-half-to-even", file: "letagentpaytest/purchase.go",
		old: "amount:      amount.Round(),", new: "amount:      amount.RoundHalfEven(),",
		why: "half a cent is stored differently from the service",
	},
	{
		name: "server-purchase/rejected-is-booked", file: "letagentpaytest/purchase.go",
		old: "if r.status != letagentpay.StatusRejected {\n\t\ta.book", new: "if true {\n\t\ta.book",
		why: "a rejected purchase reduces the budget",
	},
	{
		name: "server-purchase/nothing-is-booked", file: "letagentpaytest/purchase.go",
		old: "if r.status != letagentpay.StatusRejected {\n\t\ta.book", new: "if false {\n\t\ta.book",
		why: "the budget is never used up",
	},
	{
		name: "server-purchase/pending-is-spent", file: "letagentpaytest/purchase.go",
		old: "a.hold(amount, r.currency, x.now)\n", new: "a.spend(amount, r.currency, x.now)\n",
		why: "an undecided purchase counts as spent, although its release treats it as held",
	},
	{
		name: "server-purchase/pending-is-not-held", file: "letagentpaytest/purchase.go",
		old: "a.hold(amount, r.currency, x.now)\n", new: "",
		why: "undecided purchases can use up the budget more than once",
	},
	{
		name: "server-purchase/pending-never-expires", file: "letagentpaytest/purchase.go",
		old: "a.account.noteExpiry(r.expires)\n", new: "",
		why: "a sweep does not find overdue requests",
	},
	{
		name: "server-purchase/velocity-not-counted", file: "letagentpaytest/purchase.go",
		old: "a.velocity.accept(x.now)\n", new: "",
		why: "rules about the number of purchases never apply",
	},
	{
		name: "server-purchase/each-runaway-call-recorded", file: "letagentpaytest/purchase.go",
		old: "if window := a.velocity.refusedIn(a.policy, x.now); window.rejected != \"\" {",
		new: "if window := a.velocity.refusedIn(a.policy, x.now); false {",
		why: "a runaway loop leaves a record for each of its calls",
	},
	{
		name: "server-purchase/temporal-rules-ignore-the-hold", file: "letagentpaytest/purchase.go",
		old: "t.held = t.held.Add(amount.RoundHalfEven())", new: "_ = t.held",
		why: "undecided purchases do not count towards a rule with both ends",
	},
	{
		name: "server-purchase/temporal-rules-round-half-up", file: "letagentpaytest/purchase.go",
		old: "t.spent = t.spent.Add(amount.RoundHalfEven())", new: "t.spent = t.spent.Add(amount.Round())",
		why: "half a cent counts differently from the service",
	},
	{
		name: "server-purchase/weeks-judged-by-days", file: "letagentpaytest/purchase.go",
		old: "ThisWeek:           periods[1].total()", new: "ThisWeek:           periods[0].total()",
		why: "a weekly limit restarts each day",
	},
	{
		name: "server-purchase/accounts-judged-by-agents", file: "letagentpaytest/purchase.go",
		old: "ruleFacts(currency, periods[3].total(), periods[4].total(), periods[5].total())",
		new: "ruleFacts(currency, periods[0].total(), periods[1].total(), periods[2].total())",
		why: "an account's rules consider only one agent",
	},
	{
		name: "server-purchase/holds-not-judged", file: "letagentpaytest/purchase.go",
		old: "Held:               a.held,\n", new: "",
		why: "undecided purchases can use up the budget more than once",
	},
	{
		name: "server-purchase/longest-category-off-by-one", file: "letagentpaytest/purchase.go",
		old: "f.requiredText(\"category\", textRule{max: 50})", new: "f.requiredText(\"category\", textRule{max: 51})",
		why: "a category that the service refuses is accepted",
	},

	// category.go
	{
		name: "server-category/aliases-are-categories", file: "letagentpaytest/category.go",
		old: "return target, &sent", new: "return target, nil",
		why: "an answer does not report which name was sent",
	},
	{
		name: "server-category/unknown-names-are-categories", file: "letagentpaytest/category.go",
		old: "return \"other\", &sent", new: "return name, &sent",
		why: "a category that the account does not have is accepted",
	},
	{
		name: "server-category/dashes-matter", file: "letagentpaytest/category.go",
		old: "strings.NewReplacer(\" \", \"_\", \"-\", \"_\")", new: "strings.NewReplacer(\" \", \"_\")",
		why: "a category that is written with a dash is not recognised",
	},

	// confirm.go
	{
		name: "server-confirm/any-status", file: "letagentpaytest/confirm.go",
		old: "case !r.status.Approved():", new: "case false:",
		why: "a request is confirmed, and refunded, more than once",
	},
	{
		name: "server-confirm/pending-confirmed", file: "letagentpaytest/confirm.go",
		old: "case !r.status.Approved():", new: "case r.status.Final():",
		why: "an undecided request is confirmed",
	},
	{
		name: "server-confirm/requests-of-other-agents", file: "letagentpaytest/confirm.go",
		old: "r := a.requests[x.id]\n",
		new: "r := a.requests[x.id]\n\tfor _, other := range a.account.agents {\n\t\tif r == nil {\n\t\t\tr = other.requests[x.id]\n\t\t}\n\t}\n",
		why: "an agent confirms the requests of another one",
	},
	{
		name: "server-confirm/failure-is-not-refunded", file: "letagentpaytest/confirm.go",
		old: "a.refund(r.amount, r.currency, x)\n", new: "",
		why: "a failed purchase keeps its money",
	},
	{
		name: "server-confirm/success-is-refunded", file: "letagentpaytest/confirm.go",
		old: "r.status = letagentpay.StatusCompleted\n",
		new: "r.status = letagentpay.StatusCompleted\n\ta.refund(r.amount, r.currency, x)\n",
		why: "a completed purchase returns its money",
	},
	{
		name: "server-confirm/failure-stays-approved", file: "letagentpaytest/confirm.go",
		old: "r.status = letagentpay.StatusFailed\n", new: "",
		why: "a refund can be repeated without limit",
	},
	{
		name: "server-confirm/actual-amount-not-booked", file: "letagentpaytest/confirm.go",
		old: "a.spend(b.actual.minus(r.amount), r.currency, x.now)\n", new: "",
		why: "the amount paid is not booked",
	},
	{
		name: "server-confirm/actual-amount-booked-on-top", file: "letagentpaytest/confirm.go",
		old: "a.spend(b.actual.minus(r.amount), r.currency, x.now)\n",
		new: "a.spend(b.actual.amount(), r.currency, x.now)\n",
		why: "a purchase counts twice when its actual amount is confirmed",
	},
	{
		name: "server-confirm/receipt-is-lost", file: "letagentpaytest/confirm.go",
		old: "r.receipt = b.receipt\n", new: "_ = b.receipt\n",
		why: "the receipt is not stored",
	},

	// ledger.go
	{
		name: "server-ledger/balances-below-zero", file: "letagentpaytest/ledger.go",
		old: "a.spent = floorZero(a.spent.Sub(amount))", new: "a.spent = a.spent.Sub(amount)",
		why: "refunds of more than was spent leave more than the budget",
	},
	{
		name: "server-ledger/account-is-not-refunded", file: "letagentpaytest/ledger.go",
		old: "a.account.spent = floorZero(a.account.spent.Sub(amount))\n", new: "",
		why: "an account's rules count refunded purchases",
	},
	{
		name: "server-ledger/periods-not-refunded", file: "letagentpaytest/ledger.go",
		old: "t.spent = t.spent.Sub(amount)", new: "_ = t.spent",
		why: "daily limits count refunded purchases",
	},
	{
		name: "server-ledger/periods-stop-at-zero", file: "letagentpaytest/ledger.go",
		old: "t.spent = t.spent.Sub(amount)", new: "t.spent = floorZero(t.spent.Sub(amount))",
		why: "a refund of another day's purchase does not show, unlike at the service",
	},
	{
		name: "server-ledger/holds-below-zero", file: "letagentpaytest/ledger.go",
		old: "t.held = floorZero(t.held.Sub(amount))", new: "t.held = t.held.Sub(amount)",
		why: "a hold of an earlier day allows more spending today",
	},
	{
		name: "server-ledger/total-without-holds", file: "letagentpaytest/ledger.go",
		old: "return t.spent.Add(t.held)", new: "return t.spent",
		why: "undecided purchases can exceed a limit together",
	},
	{
		name: "server-ledger/top-up-beyond-the-maximum", file: "letagentpaytest/ledger.go",
		old: "room.Less(topUp) {", new: "topUp.Less(room) {",
		why: "a budget exceeds its maximum",
	},

	// counters.go
	{
		name: "server-counters/days-of-all-months-alike", file: "letagentpaytest/counters.go",
		old: "c.days.at(year*10000 + int(month)*100 + day)", new: "c.days.at(day)",
		why: "the limit of a day counts the same day of the month before",
	},
	{
		name: "server-counters/weeks-by-calendar-year", file: "letagentpaytest/counters.go",
		old: "c.weeks.at(isoYear*100 + isoWeek)", new: "c.weeks.at(isoYear*0 + year*100 + isoWeek)",
		why: "a week that spans New Year is counted as two",
	},
	{
		name: "server-counters/months-of-all-years-alike", file: "letagentpaytest/counters.go",
		old: "c.months.at(year*100 + int(month))", new: "c.months.at(int(month))",
		why: "the limit of a month counts the same month of the year before",
	},
	{
		name: "server-counters/days-in-utc", file: "letagentpaytest/counters.go",
		old: "local := now.In(location)", new: "local := now.In(location).UTC()",
		why: "a day does not begin at midnight in the account's timezone",
	},
	{
		name: "server-counters/earlier-periods-forgotten", file: "letagentpaytest/counters.go",
		old: "copy(p.keys[1:], p.keys[:])\n", new: "",
		why: "a change of the timezone restarts the day's limit",
	},
	{
		name: "server-counters/currencies-counted-together", file: "letagentpaytest/counters.go",
		old: "c := byCurrency[currency]\n", new: "currency = \"\"\n\tc := byCurrency[currency]\n",
		why: "amounts of two currencies are added",
	},

	// account.go
	{
		name: "server-account/main-account-listed-twice", file: "letagentpaytest/account.go",
		old: "if name != mainName {", new: "if name != \"\" {",
		why: "a test that iterates over all accounts gets the main one twice",
	},
	{
		name: "server-account/sweeps-nothing", file: "letagentpaytest/account.go",
		old: "case r.overdue(now):\n", new: "case false:\n",
		why: "a request that is not read never expires",
	},

	// idempotency.go
	{
		name: "server-idempotency/keys-forgotten-a-moment-late", file: "letagentpaytest/idempotency.go",
		old: "!now.Before(c.order[n].expires)", new: "now.After(c.order[n].expires)",
		why: "a key is still replayed when its day is over",
	},
	{
		name: "server-idempotency/keys-never-forgotten", file: "letagentpaytest/idempotency.go",
		old: "(!now.Before(c.order[n].expires) || limit > 0 &&",
		new: "(false && !now.Before(c.order[n].expires) || limit > 0 &&",
		why: "a key is replayed indefinitely",
	},
	{
		name: "server-idempotency/short-memory", file: "letagentpaytest/idempotency.go",
		old: "replayLifetime = 24 * time.Hour", new: "replayLifetime = 23 * time.Hour",
		why: "a key is forgotten before its day is over",
	},
	{
		name: "server-idempotency/without-limit", file: "letagentpaytest/idempotency.go",
		old: "|| limit > 0 && len(c.order)-n > limit)", new: "|| false && len(c.order)-n > limit)",
		why: "the memory of a long-running server grows without limit",
	},
	{
		name: "server-idempotency/one-answer-less", file: "letagentpaytest/idempotency.go",
		old: "|| limit > 0 && len(c.order)-n > limit)", new: "|| limit > 0 && len(c.order)-n >= limit)",
		why: "fewer answers are kept than documented",
	},
	{
		name: "server-idempotency/older-answer-ends-the-newer", file: "letagentpaytest/idempotency.go",
		old: "if oldest := c.order[n]; c.answers[oldest.key] == oldest.answer {",
		new: "if oldest := c.order[n]; true {",
		why: "a key that was stored twice is forgotten with the first answer",
	},

	// races.go
	{
		name: "server-races/no-time-between-check-and-commit", file: "letagentpaytest/races.go",
		old: "func (x *exchange) pauseBeforeCommit(usual func(*Races) time.Duration) bool {\n\tif x.race == nil {",
		new: "func (x *exchange) pauseBeforeCommit(usual func(*Races) time.Duration) bool {\n\tif true {",
		why: "calls never overlap, and tests of overlaps prove nothing",
	},
	{
		name: "server-races/no-time-before-the-answer-is-stored", file: "letagentpaytest/races.go",
		old: "if x.race == nil || x.race.Store == 0 {", new: "if true {",
		why: "a purchase is never listed before its key is known",
	},
	{
		name: "server-races/locked-during-the-wait", file: "letagentpaytest/races.go",
		old: "acc.mu.Unlock()\n\tdefer func() { // also when pause panics: the lock's holder unlocks it\n\t\tacc.mu.Lock()\n",
		new: "defer func() {\n",
		why: "calls never overlap, and tests of overlaps prove nothing",
	},
	{
		name: "server-races/decided-at-the-check", file: "letagentpaytest/races.go",
		old: "x.now = x.world.clock.now()\n", new: "",
		why: "a purchase is dated when it was checked instead of when it was committed",
	},
	{
		name: "server-races/fault-delay-ignored", file: "letagentpaytest/races.go",
		old: "case x.race.delay > 0:\n\t\t\treturn x.race.delay\n", new: "",
		why: "a fault that requests a delay has no effect",
	},
	{
		name: "server-races/choice-ignored", file: "letagentpaytest/races.go",
		old: "case x.race.Choose != nil:\n\t\t\treturn x.race.Choose(x.race.call)\n", new: "",
		why: "a test cannot control the order of its calls",
	},
	{
		name: "server-races/committed-after-the-end", file: "letagentpaytest/races.go",
		old: "return x.race.server.wait(x.race.server.life, pause()) == nil",
		new: "_ = x.race.server.wait(x.race.server.life, pause())\n\treturn true",
		why: "a closed server still books",
	},
	{
		name: "server-races/ended-with-nil-continues", file: "letagentpaytest/races.go",
		old: "s.races.Store(nil)\n", new: "",
		why: "the mode cannot be ended",
	},
	{
		name: "server-races/times-below-zero-accepted", file: "letagentpaytest/races.go",
		old: "if field.time < 0 {", new: "if false {",
		why: "a negative time is not reported",
	},

	// agent.go
	{
		name: "server-agent/hold-is-not-released", file: "letagentpaytest/agent.go",
		old: "a.release(r.amount)\n\ta.account.release", new: "a.account.release",
		why: "a decided request never releases its money",
	},
	{
		name: "server-agent/pending-count-stays", file: "letagentpaytest/agent.go",
		old: "a.pending--\n", new: "",
		why: "decided purchases count towards the agent's limit of undecided ones",
	},
	{
		name: "server-agent/approval-is-not-spent", file: "letagentpaytest/agent.go",
		old: "r.reviewed = now\n\ta.spend(r.amount, r.currency, now)\n", new: "r.reviewed = now\n",
		why: "a purchase that a human approves does not reduce the budget",
	},

	// request.go
	{
		name: "server-request/expires-a-moment-early", file: "letagentpaytest/request.go",
		old: "r.expires.Before(now)", new: "!r.expires.After(now)",
		why: "a request expires in the last instant of its validity",
	},
}
