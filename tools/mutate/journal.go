package main

// journalMutants cover the journal, recovery and replay from it, and user code.
var journalMutants = []mutant{
	// entry.go, record.go
	{
		name: "entry/agents-not-distinguished", file: "entry.go",
		old: "return c.identity + kind + \" \" + name", new: "return c.service + \" \" + kind + \" \" + name",
		why: "two agents that share a journal get each other's results",
	},
	{
		name: "entry/kinds-not-distinguished", file: "entry.go",
		old: "return c.identity + kind + \" \" + name", new: "return c.identity + \" \" + name",
		why: "a key that is spelled like a request id finds that request's entry",
	},
	{
		name: "entry/entries-of-any-agent-owned", file: "entry.go",
		old: "return c.sameService(entry) && entry.Agent == c.agent", new: "return c.sameService(entry)",
		why: "an agent acts on the entries of another agent",
	},
	{
		name: "entry/entries-of-any-service-owned", file: "entry.go",
		old: "return entry.Service == c.service", new: "return c.service != \"\"",
		why: "an agent acts on the entries of another service",
	},
	{
		name: "entry/keys-of-other-agents-held", file: "entry.go",
		old: "if entry == nil || entry.Key != c.entryKey(\"key\", entry.IdempotencyKey) {", new: "if entry == nil {",
		why: "a resumed request of a rotated token waits for unrelated calls",
	},
	{
		name: "entry/merchant-is-not-recorded", file: "entry.go",
		old: "p.MerchantName, p.Description, p.AgentComment", new: "\"\", p.Description, p.AgentComment",
		why: "a purchase from another merchant gets the result of this one",
	},
	{
		name: "entry/description-is-not-recorded", file: "entry.go",
		old: "p.MerchantName, p.Description, p.AgentComment", new: "p.MerchantName, \"\", p.AgentComment",
		why: "a purchase of something else gets the result of this one",
	},
	{
		name: "entry/comment-is-not-recorded", file: "entry.go",
		old: "p.MerchantName, p.Description, p.AgentComment", new: "p.MerchantName, p.Description, \"\"",
		why: "a purchase that is continued after a crash loses the comment for the reviewer",
	},
	{
		name: "entry/currency-is-not-recorded", file: "entry.go",
		old: "p.Amount, p.Currency, p.Category", new: "p.Amount, \"\", p.Category",
		why: "a purchase in another currency is continued as this one",
	},
	{
		name: "entry/outcome-is-not-recorded", file: "entry.go",
		old: "p.Success, p.ActualAmount, p.ReceiptURL", new: "false, p.ActualAmount, p.ReceiptURL",
		why: "a payment made before a crash is refunded after it",
	},
	{
		name: "entry/actual-amount-is-not-recorded", file: "entry.go",
		old: "p.Success, p.ActualAmount, p.ReceiptURL", new: "p.Success, Amount{}, p.ReceiptURL",
		why: "an amount other than the one paid is confirmed after a crash",
	},
	{
		name: "entry/receipt-is-not-recorded", file: "entry.go",
		old: "p.Success, p.ActualAmount, p.ReceiptURL", new: "p.Success, p.ActualAmount, \"\"",
		why: "a receipt is lost in a crash",
	},
	{
		name: "entry/recorded-outcome-ignored", file: "entry.go",
		old: "ConfirmParams{Success: entry.Success, ActualAmount", new: "ConfirmParams{Success: false, ActualAmount",
		why: "a payment made before a crash is refunded after it",
	},
	{
		name: "entry/recorded-receipt-ignored", file: "entry.go",
		old: "ReceiptURL: entry.ReceiptURL}", new: "ReceiptURL: \"\"}",
		why: "a receipt is lost in a crash",
	},
	{
		name: "record/function-is-not-recorded", file: "record.go",
		old: "rec.entry.Function = function", new: "rec.entry.Function = \"\"",
		why: "a function returns the result of another one",
	},
	{
		name: "record/error-of-a-read-ignored", file: "record.go",
		old: "if err != nil {\n\t\treturn nil, &JournalError{Op: \"get\"",
		new: "if false {\n\t\treturn nil, &JournalError{Op: \"get\"",
		why: "a purchase whose entry cannot be read is made again",
	},
	{
		name: "record/entry-of-another-key-found", file: "record.go",
		old: "case entry.Key != rec.entry.Key:", new: "case false:",
		why: "a call returns the result of another purchase",
	},
	{
		name: "record/entry-that-lost-its-outcome-found", file: "record.go",
		old: "return entry, checkValid(entry)", new: "return entry, nil",
		why: "a call under the key of a purchase refunds a payment because its entry is misread",
	},
	{
		name: "record/entry-that-lost-its-outcome-listed", file: "record.go",
		old: "if err == nil && entry != nil {", new: "if false {",
		why: "Recover refunds a payment because its entry is misread",
	},
	{
		name: "record/time-is-not-recorded", file: "record.go",
		old: "journal.Version, state, time.Now().UTC()", new: "journal.Version, state, time.Time{}",
		why: "Recover does not wait before it repeats a refund that was just sent",
	},
	{
		name: "record/writes-overtake-each-other", file: "record.go",
		old: "if before != nil {\n\t\t\t<-before\n\t\t}", new: "_ = before",
		why: "a slow write replaces a later one, and the journal reverts to an earlier state",
	},
	{
		name: "record/waits-for-a-hanging-read", file: "record.go",
		old: "runContained(journalLimit, func() (*journal.Entry, error) {",
		new: "runContained(journalLimit*1000, func() (*journal.Entry, error) {",
		why: "a journal that hangs blocks each call",
	},
	{
		name: "record/waits-for-a-hanging-write", file: "record.go",
		old: "runContained(journalLimit, func() (struct{}, error) {",
		new: "runContained(journalLimit*1000, func() (struct{}, error) {",
		why: "a journal that hangs prevents the confirmation",
	},
	{
		name: "record/entry-of-another-service-found", file: "record.go",
		old: "if !c.sameService(entry) {\n\t\t\treturn", new: "if false {\n\t\t\treturn",
		why: "a request of another service with the same id counts as run",
	},
	{
		name: "record/least-advanced-entry-found", file: "record.go",
		old: "found.entry.State.Before(entry.State)", new: "entry.State.Before(found.entry.State)",
		why: "of two entries of a request, the one that does not record the run is used",
	},
	{
		name: "record/ids-compared-as-spelled", file: "record.go",
		old: "isOfRequest := canonicalID(entry.RequestID) == requestID",
		new: "isOfRequest := entry.RequestID == requestID",
		why: "an entry that spells its request id differently is not found, and its request runs again",
	},
	{
		name: "record/unreadable-entry-ignored", file: "record.go",
		old: "if err != nil && (found.entry == nil || found.entry.State == journal.Requested) {", new: "if false {",
		why: "a resumed request runs again if the entry that records its run cannot be read",
	},
	{
		name: "record/unreadable-entry-outweighs-a-known-one", file: "record.go",
		old: "if err != nil && (found.entry == nil || found.entry.State == journal.Requested) {",
		new: "if err != nil {",
		why: "one damaged entry prevents the results of all others from being replayed",
	},
	{
		name: "record/ends-at-the-first-unreadable-entry", file: "record.go",
		old: "over = len(unreadable) == maxUnreadable || ctx.Err() != nil", new: "over = true",
		why: "one damaged entry hides all entries after it",
	},
	{
		name: "record/endless-errors-followed", file: "record.go",
		old: "over = len(unreadable) == maxUnreadable ||", new: "over = len(unreadable) < 0 ||",
		why: "a journal that yields errors endlessly is read endlessly",
	},
	{
		name: "record/empty-entries-passed-on", file: "record.go",
		old: "case entry != nil:\n\t\t\t\tdo(entry)", new: "default:\n\t\t\t\tdo(entry)",
		why: "a nil entry causes a panic",
	},
	{
		name: "guard/nil-accepted", file: "guard.go",
		old: "if store == nil {\n\t\t\treturn paramError(\"WithJournal\"",
		new: "if false {\n\t\t\treturn paramError(\"WithJournal\"",
		why: "a nil journal passed by mistake is not reported",
	},

	// recover.go
	{
		name: "recover/one-bad-entry-ends-it", file: "recover.go",
		old: "r.fail(&JournalError{Op: \"entries\", Err: err})",
		new: "return nil, &JournalError{Op: \"entries\", Err: err}",
		why: "one damaged entry prevents the recovery of all others",
	},
	{
		name: "recover/bad-entries-are-silent", file: "recover.go",
		old: "r.fail(&JournalError{Op: \"entries\", Err: err})", new: "_ = err",
		why: "Recover does not report that the journal is damaged",
	},
	{
		name: "recover/settled-duplicates-forgotten", file: "recover.go",
		old: "if entry.State != journal.Settled || len(entry.Duplicates) > 0 || entry.Unclear {",
		new: "if entry.State != journal.Settled || entry.Unclear {",
		why: "the money of a duplicate stays booked permanently",
	},
	{
		name: "recover/entries-of-other-agents-recovered", file: "recover.go",
		old: "if !r.client.owns(entry) {", new: "if false {",
		why: "an agent confirms or reports purchases of another agent",
	},
	{
		name: "recover/entries-of-a-rotated-token-left", file: "recover.go",
		old: "if request = r.adopted(ctx, entry); request == nil {\n\t\t\treturn\n\t\t}", new: "return",
		why: "after a token rotation no purchase is confirmed",
	},
	{
		name: "recover/entries-of-another-address-sent-here", file: "recover.go",
		old: "if !r.client.sameService(entry) {", new: "if false {",
		why: "a request of another service is looked up at this one",
	},
	{
		name: "recover/unconfirmed-elsewhere-is-silent", file: "recover.go",
		old: "if entry.State == journal.Returned {\n\t\t\tr.client.alert", new: "if false {\n\t\t\tr.client.alert",
		why: "a purchase at another address that was never confirmed is not reported",
	},
	{
		name: "recover/unknown-requests-are-errors", file: "recover.go",
		old: "if err != nil && !errors.Is(err, ErrNotFound) {", new: "if err != nil {",
		why: "Recover always fails for a journal that agents share",
	},
	{
		name: "recover/unread-requests-are-silent", file: "recover.go",
		old: "if err != nil && !errors.Is(err, ErrNotFound) {", new: "if false {",
		why: "Recover does not report that an entry of a rotated token could not be recovered",
	},
	{
		name: "recover/returned-is-not-confirmed", file: "recover.go",
		old: "r.fail(r.client.confirmRecorded(ctx, record))", new: "_ = r.client.confirmRecorded",
		why: "a purchase completed before a crash is never confirmed",
	},
	{
		name: "recover/unconfirmed-is-silent", file: "recover.go",
		old: "r.fail(r.client.confirmRecorded(ctx, record))", new: "_ = r.client.confirmRecorded(ctx, record)",
		why: "Recover does not report that a purchase could not be confirmed",
	},
	{
		name: "recover/started-is-reported-as-not-run", file: "recover.go",
		old: "MayHaveRun: entry.State == journal.Started", new: "MayHaveRun: entry.State == journal.Requested",
		why: "a purchase that may have run is reported as not run, and runs again",
	},
	{
		name: "recover/ended-entries-stay", file: "recover.go",
		old: "if found.Request != nil && found.Request.Status.Final() {", new: "if false {",
		why: "the caller is asked to decide about a finished purchase",
	},
	{
		name: "recover/ended-entries-not-dropped", file: "recover.go",
		old: "r.fail(record.drop(ctx))", new: "_ = record.drop",
		why: "the journal holds finished purchases permanently",
	},
	{
		name: "recover/unread-interruptions-are-silent", file: "recover.go",
		old: "r.fail(fmt.Errorf(\"%w (interrupted purchase %s)\", err, entry.RequestID))", new: "_ = err",
		why: "an interrupted purchase that cannot be read is not reported",
	},
	{
		name: "recover/duplicates-not-reported", file: "recover.go",
		old: "Interrupted{Entry: &entry, Request: request, Duplicate: true}",
		new: "Interrupted{Entry: &entry, Request: request}",
		why: "a duplicate is mistaken for the purchase itself, and runs",
	},
	{
		name: "recover/ended-duplicates-reported", file: "recover.go",
		old: "case request.Status.Final():\n\t\t\tcontinue\n\t\tdefault:\n\t\t\tentry := record.entry",
		new: "default:\n\t\t\tentry := record.entry",
		why: "the caller is asked to refund a duplicate that is already refunded",
	},
	{
		name: "recover/unread-duplicates-forgotten", file: "recover.go",
		old: "open = append(open, id)", new: "if err == nil {\n\t\t\topen = append(open, id)\n\t\t}",
		why: "a duplicate that fails to be read once is never reported again",
	},
	{
		name: "recover/ended-duplicates-kept", file: "recover.go",
		old: "r.fail(record.put(ctx, record.entry.State))", new: "_ = record.put",
		why: "each Recover reads duplicates that have ended",
	},
	{
		name: "recover/duplicates-advance-the-entry", file: "recover.go",
		old: "r.fail(record.put(ctx, record.entry.State))", new: "r.fail(record.put(ctx, journal.Settled))",
		why: "an entry whose duplicates have ended counts as confirmed",
	},
	{
		name: "recover/confirms-without-a-read", file: "recover.go",
		old: "confirmOptions{mayHaveConfirmed: true, attemptLimit: attemptLimit}",
		new: "confirmOptions{attemptLimit: attemptLimit}",
		why: "a refund that arrived before the crash is sent again",
	},
	{
		name: "recover/confirms-at-once", file: "recover.go",
		old: "if err := c.awaitEarlierRefund(ctx, record); err != nil {", new: "if err := error(nil); err != nil {",
		why: "a refund overlaps that of the process that has just crashed, and returns the money twice",
	},
	{
		name: "recover/successes-wait-too", file: "recover.go",
		old: "if record.entry.Success || remaining <= 0 {", new: "if remaining <= 0 {",
		why: "the start of a process with many purchases takes seconds for each",
	},
	{
		name: "recover/ended-refunds-wait-too", file: "recover.go",
		old: "if request.Status.Final() {\n\t\treturn nil", new: "if request == nil {\n\t\treturn nil",
		why: "the start of a process waits a minute for a refund that the service shows as done",
	},
	{
		name: "recover/waits-without-limit", file: "recover.go",
		old: "remaining := min(time.Until(record.entry.UpdatedAt.Add(minRefundCooldown)), minRefundCooldown)",
		new: "remaining := time.Until(record.entry.UpdatedAt.Add(minRefundCooldown))",
		why: "the start of a process waits for as long as the clock that dated the entry was wrong",
	},
	{
		name: "recover/sent-when-there-is-no-time-to-wait", file: "recover.go",
		old: "return cmp.Or(ctx.Err(), errCoolingDown)", new: "return cmp.Or(ctx.Err(), error(nil))",
		why: "a refund overlaps that of the process that has just crashed, and returns the money twice",
	},
	{
		name: "recover/late-duplicates-not-looked-up", file: "recover.go",
		old: "if entry.State != journal.Settled || len(entry.Duplicates) > 0 || entry.Unclear {",
		new: "if entry.State != journal.Settled || len(entry.Duplicates) > 0 {",
		why: "a request that a lost attempt made after the confirmation is never found",
	},
	{
		name: "recover/list-not-read", file: "recover.go",
		old: "if !r.unclear {\n\t\treturn", new: "if true {\n\t\treturn",
		why: "a request that a lost attempt made after the call is never found",
	},
	{
		name: "recover/list-read-without-need", file: "recover.go",
		old: "if !r.unclear {\n\t\treturn", new: "if false {\n\t\treturn",
		why: "each start of a process reads a thousand requests",
	},
	{
		name: "recover/other-entries-are-duplicates", file: "recover.go",
		old: "i == at || journaled ||", new: "i == at || journaled && false ||",
		why: "the error asks the caller to refund another purchase that the journal knows",
	},
	{
		name: "recover/other-purchases-are-duplicates", file: "recover.go",
		old: "!isKnown && r.client.mayBeDuplicate(other, content) &&",
		new: "!isKnown && (true || r.client.mayBeDuplicate(other, content)) &&",
		why: "the error asks the caller to refund another purchase of the same amount",
	},
	{
		name: "recover/distant-requests-are-duplicates", file: "recover.go",
		old: "other.CreatedAt.Sub(counts.CreatedAt).Abs() <= duplicateSpan {", new: "counts != nil {",
		why: "the error asks the caller to refund an identical purchase of another day",
	},
	{
		name: "recover/purchase-in-doubt-is-a-duplicate", file: "recover.go",
		old: "if content.mismatch(\"\", other) == nil {", new: "if content.mismatch(\"\", other) == nil && false {",
		why: "the error asks the caller to refund an identical purchase whose request is not known yet",
	},
	{
		name: "recover/lookup-never-ends", file: "recover.go",
		old: "entry.Unclear = false", new: "_ = entry.Unclear",
		why: "each start of a process looks for duplicates of very old purchases",
	},
	{
		name: "recover/single-lookup", file: "recover.go",
		old: "time.Since(entry.UpdatedAt) > 2*duplicateSpan", new: "time.Since(entry.UpdatedAt) >= 0",
		why: "a duplicate that appears a minute after a restart is never found",
	},
	{
		name: "recover/confirmed-entry-stays-returned", file: "recover.go",
		old: "if err := record.put(ctx, journal.Settled); err != nil { // only the record is wrong\n\t\tc.alert",
		new: "if err := error(nil); err != nil {\n\t\tc.alert",
		why: "a confirmed purchase is confirmed again at each start",
	},

	// replay.go
	{
		name: "replay/returned-is-not-confirmed", file: "replay.go",
		old: "if earlier.State != journal.Returned {", new: "if true {",
		why: "a result is replayed although the purchase was never confirmed",
	},
	{
		name: "replay/confirmed-under-the-ended-context", file: "replay.go",
		old: "context.WithTimeout(context.WithoutCancel(ctx), settleLimit)",
		new: "context.WithTimeout(ctx, settleLimit)",
		why: "a purchase whose caller is cancelled is not confirmed",
	},
	{
		name: "replay/result-of-another-function", file: "replay.go",
		old: "case earlier.Function != \"\" && earlier.Function != g.function:", new: "case false:",
		why: "a function returns the result of another one",
	},
	{
		name: "replay/lost-result-is-empty", file: "replay.go",
		old: "decodeErr := errors.New(\"its result could not be kept\")", new: "_ = errors.New\n\tvar decodeErr error",
		why: "a result that could not be stored is replayed as an empty one, without an error",
	},
	{
		name: "replay/failure-is-success", file: "replay.go",
		old: "if earlier.Error == \"\" && decodeErr == nil {", new: "if decodeErr == nil {",
		why: "a call under the key of a failed one succeeds",
	},
	{
		name: "replay/unconfirmed-result-is-silent", file: "replay.go",
		old: "if earlier.Error == \"\" && decodeErr == nil {\n\t\treturn out, err",
		new: "if earlier.Error == \"\" && decodeErr == nil {\n\t\treturn out, nil",
		why: "the error does not report that the service still does not know of the purchase",
	},
	{
		name: "replay/unconfirmed-failure-is-silent", file: "replay.go",
		old: "return out, withCleanup(handled, err)", new: "return out, handled",
		why: "the error does not report that the refund of an earlier failure did not arrive",
	},
	{
		name: "replay/text-of-the-failure-lost", file: "replay.go",
		old: "handled.Err = errors.New(entry.Error)", new: "_ = errors.New(entry.Error)",
		why: "the error does not report why the first call failed",
	},

	// samevalue.go
	{
		name: "samevalue/times-compared-by-clock-reading", file: "samevalue.go",
		old: "if a.Type() == timeType &&", new: "if false && a.Type() == timeType &&",
		why: "a result that holds a time is never replayed",
	},
	{
		name: "samevalue/types-not-compared", file: "samevalue.go",
		old: "if a.Type() != b.Type() {\n\t\treturn false\n\t}\n",
		new: "if a.Type() != b.Type() {\n\t\treturn true\n\t}\n",
		why: "the value of an interface is replayed as a map, and counts as unchanged",
	},
	{
		name: "samevalue/fields-not-compared", file: "samevalue.go",
		old: "for i := range a.NumField() {\n\t\t\tif !equalValues",
		new: "for i := range a.NumField() {\n\t\t\tif a.Field(i).CanInterface() && !equalValues",
		why: "unexported fields, which JSON drops, are empty in the replayed result",
	},
	{
		name: "samevalue/empty-and-nil-slices-are-the-same", file: "samevalue.go",
		old: "if a.IsNil() != b.IsNil() {\n\t\t\treturn false\n\t\t}\n\t\treturn equalElements",
		new: "return equalElements",
		why: "a nil slice is replayed as an empty one, or the reverse",
	},
	{
		name: "samevalue/lengths-not-compared", file: "samevalue.go",
		old: "if a.Len() != b.Len() {", new: "if a.Len() > b.Len() {",
		why: "a result with more elements than the first one counts as unchanged",
	},
	{
		name: "samevalue/elements-not-compared", file: "samevalue.go",
		old: "if !equalValues(a.Index(i), b.Index(i), depth+1) {", new: "if i < 0 {",
		why: "a result whose elements have changed counts as unchanged",
	},
	{
		name: "samevalue/entries-not-compared", file: "samevalue.go",
		old: "if !equalValues(entries.Value(), b.MapIndex(entries.Key()), depth+1) {", new: "if false {",
		why: "a result whose map has changed counts as unchanged",
	},
	{
		name: "samevalue/functions-are-the-same", file: "samevalue.go",
		old: "return a.IsZero() && b.IsZero()", new: "return true",
		why: "a function or a channel of a result is replayed as nil",
	},
	{
		name: "samevalue/cycles-followed", file: "samevalue.go",
		old: "if depth > maxValueDepth {", new: "if depth > maxValueDepth*maxValueDepth*maxValueDepth {",
		why: "a result with a cycle, which a codec may support, crashes the process",
	},

	// contained.go
	{
		name: "contained/panics-pass", file: "contained.go",
		old: "if r := recover(); r != nil {\n\t\t\t\to.err", new: "if r := any(nil); r != nil {\n\t\t\t\to.err",
		why: "a panic in a journal or a codec ends the process before the confirmation",
	},
	{
		name: "contained/exit-is-success", file: "contained.go",
		old: "o := outcome{err: errExited}", new: "o := outcome{}",
		why: "a write by a journal that ends its goroutine counts as successful",
	},
	{
		name: "contained/slowness-is-success", file: "contained.go",
		old: "return none, errTooSlow", new: "return none, nil",
		why: "a write by a journal that hangs counts as successful",
	},
	{
		name: "contained/no-limit", file: "contained.go",
		old: "timer := time.NewTimer(limit)", new: "timer := time.NewTimer(limit * 1000)",
		why: "user code that hangs prevents the confirmation",
	},

	// doubt.go
	{
		name: "guard/not-paid-ignored", file: "guard.go",
		old: "if _, ok := errors.AsType[*notPaidError](err); ok {\n\t\t\treturn false, nil",
		new: "if false {\n\t\t\treturn false, nil",
		why: "money that a function reports as not paid stays booked",
	},
	{
		name: "doubt/broken-connections-cannot-hide-a-payment", file: "doubt.go",
		old: "return !neverSent(err), true", new: "return false, true",
		why: "a payment whose connection broke is refunded",
	},
	{
		name: "doubt/unknown-outcomes-cannot-hide-a-payment", file: "doubt.go",
		old: "case *OutcomeUnknownError, *OverspendError, *DuplicateError:\n\t\treturn true, true",
		new: "case *OutcomeUnknownError, *OverspendError, *DuplicateError:\n\t\treturn false, true",
		why: "a payment of unknown outcome is refunded",
	},
	{
		name: "doubt/unconfirmed-purchases-inside-cannot-hide-a-payment", file: "doubt.go",
		old: "return e.MayHaveSpent || e.Params.Success, true", new: "return e.MayHaveSpent, true",
		why: "a function that paid through another guarded call is refunded because that call was not confirmed",
	},
	{
		name: "doubt/doubt-inside-cannot-hide-a-payment", file: "doubt.go",
		old: "return e.MayHaveSpent || e.Params.Success, true", new: "return !e.MayHaveSpent && e.Params.Success, true",
		why: "a function that may have paid through another guarded call is refunded",
	},
	{
		name: "doubt/journals-errors-inside-cannot-hide-a-payment", file: "doubt.go",
		old: "return e.State == journal.Returned || e.State == journal.Settled, true",
		new: "return e.State == journal.Settled, true",
		why: "a function that paid through another guarded call is refunded because the journal failed",
	},
	{
		name: "doubt/waiting-can-hide-a-payment", file: "doubt.go",
		old: "return !e.waiting && !e.withdrawn && e.mayHaveTakenEffect(), true",
		new: "return !e.withdrawn && e.mayHaveTakenEffect(), true",
		why: "a call that was never sent leaves the money booked",
	},
	{
		name: "doubt/answers-cannot-hide-a-payment", file: "doubt.go",
		old: "return !e.waiting && !e.withdrawn && e.mayHaveTakenEffect(), true", new: "return false, true",
		why: "a payment through another guarded service whose answer was lost is refunded",
	},
	{
		name: "doubt/exchanges-cannot-hide-a-payment", file: "doubt.go",
		old: "if hides, decided := hidesPayment(e.Err); decided || e.Op == \"parse\" {\n\t\t\treturn hides, true\n\t\t}\n\t\treturn true, true",
		new: "hides, _ := hidesPayment(e.Err)\n\t\treturn hides, true",
		why: "an HTTP exchange that broke for an unknown reason is refunded",
	},
	{
		name: "doubt/bad-addresses-can-hide-a-payment", file: "doubt.go",
		old: "decided || e.Op == \"parse\" {", new: "decided {",
		why: "a payment to an invalid address stays booked",
	},
	{
		name: "doubt/timeouts-cannot-hide-a-payment", file: "doubt.go",
		old: "if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {\n\t\treturn true\n\t}\n",
		new: "",
		why: "a payment that timed out is refunded",
	},
	{
		name: "doubt/deadlines-cannot-hide-a-payment", file: "doubt.go",
		old: "context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded,",
		new: "context.Canceled, os.ErrDeadlineExceeded,",
		why: "a payment that a custom error type reports as timed out is refunded",
	},
	{
		name: "doubt/cancellations-cannot-hide-a-payment", file: "doubt.go",
		old: "context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded,",
		new: "context.DeadlineExceeded, os.ErrDeadlineExceeded,",
		why: "a payment that was cancelled in transit is refunded",
	},
	{
		name: "doubt/cut-off-answers-cannot-hide-a-payment", file: "doubt.go",
		old: "io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe,", new: "io.ErrClosedPipe,",
		why: "a payment whose answer was cut off is refunded",
	},
	{
		name: "doubt/resets-cannot-hide-a-payment", file: "doubt.go",
		old: "syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,", new: "syscall.ECONNABORTED,",
		why: "a payment whose connection was reset is refunded",
	},
	{
		name: "doubt/wrapped-errors-not-examined", file: "doubt.go",
		old: "case interface{ Unwrap() error }:\n\t\treturn hidesPayment(e.Unwrap())",
		new: "case interface{ Unwrap() error }:\n\t\treturn false, false",
		why: "a timeout that a function wraps is refunded",
	},
	{
		name: "doubt/joined-errors-not-examined", file: "doubt.go",
		old: "hides, decided = hides || h && d, decided || d", new: "hides, decided = h && d, decided || d",
		why: "a timeout that is joined with a harmless error is refunded",
	},
	{
		name: "doubt/joined-not-paid-ignored", file: "doubt.go",
		old: "if _, ok := errors.AsType[*notPaidError](err); ok {", new: "if false {",
		why: "money that a function reports as not paid stays booked if the function joins its errors",
	},
	{
		name: "guard/users-judgement-ignored", file: "guard.go",
		old: "if g.mayHavePaid != nil {", new: "if false {",
		why: "OnError has no effect",
	},
	{
		name: "guard/panicking-judgement-refunds", file: "guard.go",
		old: "return doubt || failure != nil || isTypedNil(err)", new: "_ = failure\n\treturn doubt || isTypedNil(err)",
		why: "a payment is refunded when the code that judges its error panics",
	},
	{
		name: "guard/typed-nil-refunds", file: "guard.go",
		old: "return doubt || failure != nil || isTypedNil(err)", new: "return doubt || failure != nil",
		why: "a payment is refunded because the function returned a nil pointer as its error",
	},
	{
		name: "guard/panicking-function-stays-booked", file: "guard.go",
		old: "if err == errDidNotReturn {\n\t\treturn false\n\t}\n",
		new: "if err == errDidNotReturn {\n\t\treturn true\n\t}\n",
		why: "a function that panics without having paid keeps its money booked",
	},
	{
		name: "contained/texts-of-any-length-kept", file: "contained.go",
		old: "if isLong || len(text) > maxErrorText {", new: "if isLong && false {",
		why: "an error's text makes a journal entry of unlimited size",
	},
	{
		name: "contained/errors-without-a-text-succeed", file: "contained.go",
		old: "if text == \"\" {\n\t\treturn \"failed\"", new: "if false {\n\t\treturn \"failed\"",
		why: "a failure whose text is empty is journaled as a success",
	},
	{
		name: "recover/entries-of-calls-in-progress", file: "recover.go",
		old: "\treturn locks\n", new: "\t_ = locks\n\treturn nil\n",
		why: "Recover overwrites the entry that a call is writing",
	},
	{
		name: "recover/refund-not-renewed", file: "recover.go",
		old: "options.beforeSend = func() error {", new: "_ = func() error {",
		why: "a refund overlaps that of a process that has just ended",
	},
	{
		name: "recover/decided-purchase-forgets-its-duplicates", file: "recover.go",
		old: "if len(record.entry.Duplicates) == 0 {", new: "if true { // else",
		why: "the money of a duplicate is reported once and then forgotten",
	},
	{
		name: "recover/settled-of-another-token-forgotten", file: "recover.go",
		old: "if entry.RequestID == \"\" {\n\t\treturn nil",
		new: "if entry.RequestID == \"\" || entry.State == journal.Settled {\n\t\treturn nil",
		why: "after a token rotation the money of a duplicate is not found",
	},
	{
		name: "doubt/withdrawn-can-hide-a-payment", file: "doubt.go",
		old: "!e.waiting && !e.withdrawn &&", new: "!e.waiting &&",
		why: "a purchase that made no payment stays booked",
	},

	// the packages journal and bboltjournal
	{
		name: "journal/any-version-valid", file: "journal/entry.go",
		old: "case e.Version != Version:",
		new: "case e.Version > Version:",
		why: "an entry of the first version counts as a purchase that failed",
	},
	{
		name: "journal/any-state-valid", file: "journal/entry.go",
		old: "case e.State != Requested && e.State != Started && !e.State.hasOutcome():",
		new: "case e.State == \"\":",
		why: "an entry in an unknown state counts as a purchase that has not run",
	},
	{
		name: "journal/zero-amount-valid", file: "journal/entry.go",
		old: "case e.Amount.Sign() <= 0:",
		new: "case e.Amount.Sign() < 0:",
		why: "an entry that lost its amount counts as a purchase of nothing",
	},
	{
		name: "journal/refund-of-a-payment-valid", file: "journal/entry.go",
		old: "case e.State.hasOutcome() && !e.Success && !e.ActualAmount.IsZero():",
		new: "case e.Amount.IsZero():",
		why: "an entry that lost its outcome refunds a payment",
	},
	{
		name: "journal/refund-without-a-reason-valid", file: "journal/entry.go",
		old: "case e.State.hasOutcome() && !e.Success && e.Error == \"\":",
		new: "case e.Amount.IsZero():",
		why: "an entry that lost its outcome refunds a payment",
	},
	{
		name: "journal/settled-without-a-reason-valid", file: "journal/state.go",
		old: "return s == Returned || s == Settled",
		new: "return s == Returned",
		why: "a settled entry that lost its outcome is replayed as a failure",
	},
	{
		name: "journal/unknown-states-come-first", file: "journal/state.go",
		old: "return at >= 0 && at <",
		new: "return at <",
		why: "an entry in an unknown state ranks below one that has not run",
	},
	{
		name: "bboltjournal/first-form-refunds", file: "journal/bboltjournal/firstform.go",
		old: "*stored.Confirm.Success,",
		new: "false,",
		why: "a payment recorded by an earlier version is refunded",
	},
	{
		name: "bboltjournal/first-form-without-an-outcome", file: "journal/bboltjournal/firstform.go",
		old: "case stored.Confirm.Success == nil:\n\t\treturn nil, errors.New(\"it does not say how the purchase ended\")",
		new: "case stored.Confirm.Success == nil:\n\t\tstored.Confirm.Success = new(bool)",
		why: "an entry that lost its outcome refunds a payment",
	},
	{
		name: "bboltjournal/first-form-without-an-amount", file: "journal/bboltjournal/firstform.go",
		old: "return nil, errors.New(\"it has no amount\")",
		new: "one := money.Must(\"1\")\n\t\tstored.Purchase.Amount = &one",
		why: "an entry that lost its amount counts as another purchase",
	},
	{
		name: "bboltjournal/first-form-confirms-the-amount-requested", file: "journal/bboltjournal/firstform.go",
		old: "ActualAmount:     stored.Confirm.ActualAmount,",
		new: "ActualAmount:     money.Amount{},",
		why: "the confirmed amount differs from the one that an earlier version paid",
	},
	{
		name: "bboltjournal/first-form-has-no-owner", file: "journal/bboltjournal/firstform.go",
		old: "Agent:            agent,",
		new: "Agent:            agent[:0],",
		why: "a payment recorded by an earlier version is never confirmed by a call under its key",
	},
	{
		name: "bboltjournal/first-form-of-another-service", file: "journal/bboltjournal/firstform.go",
		old: "return service, agent\n",
		new: "return \"\", agent\n",
		why: "a payment recorded by an earlier version is never confirmed",
	},
	{
		name: "bboltjournal/executed-has-not-run", file: "journal/bboltjournal/firstform.go",
		old: "\"executed\": journal.Returned,",
		new: "\"executed\": journal.Requested,",
		why: "a purchase that an earlier version paid runs again",
	},
	{
		name: "bboltjournal/category-treated-as-resolved", file: "journal/bboltjournal/firstform.go",
		old: "ResolvedCategory: stored.Category,",
		new: "ResolvedCategory: stored.Purchase.Category,",
		why: "a repetition under another name of the category is refused",
	},
	{
		name: "bboltjournal/refusal-without-a-reason-is-damage", file: "journal/bboltjournal/firstform.go",
		old: "stored.Error = \"the reason was not recorded\"",
		new: "stored.Error = \"\"",
		why: "a refund that an earlier version recorded is never made",
	},
	{
		name: "bboltjournal/fields-may-be-missing", file: "journal/bboltjournal/entry.go",
		old: "if value, ok := fields[name]; !ok || string(value) == \"null\" {",
		new: "if false {",
		why: "an entry that lost its actual amount confirms the amount requested",
	},
	{
		name: "bboltjournal/fields-may-be-null", file: "journal/bboltjournal/entry.go",
		old: "!ok || string(value) == \"null\" {",
		new: "!ok && value == nil {",
		why: "an entry that lost its actual amount confirms the amount requested",
	},
	{
		name: "bboltjournal/later-forms-are-read", file: "journal/bboltjournal/entry.go",
		old: "if entry.Version != journal.Version {",
		new: "if entry.Version < journal.Version {",
		why: "an entry of a later version is misread",
	},
	{
		name: "bboltjournal/invalid-entries-are-returned", file: "journal/bboltjournal/entry.go",
		old: "if err := entry.Validate(); err != nil {\n\t\treturn nil, err\n\t}\n\treturn entry, nil",
		new: "return entry, nil",
		why: "an entry that contradicts itself is used",
	},
	{
		name: "bboltjournal/entry-of-another-key", file: "journal/bboltjournal/entry.go",
		old: "if entry.Key != key {",
		new: "if false {",
		why: "a call returns the result of another purchase",
	},
	{
		name: "bboltjournal/file-is-not-upgraded", file: "journal/bboltjournal/journal.go",
		old: "} else if found < version {",
		new: "} else if false {",
		why: "an older program opens a file whose entries it treats as damaged",
	},
	{
		name: "bboltjournal/later-files-are-opened", file: "journal/bboltjournal/journal.go",
		old: "case found > version:",
		new: "case found > version+1:",
		why: "a file of a later version is misread",
	},
	{
		name: "bboltjournal/gaps-in-a-page-are-valid", file: "journal/bboltjournal/check.go",
		old: "if at+int(pos) != next {",
		new: "if at+int(pos) < next-1<<20 {",
		why: "a damaged page loses entries without an error, and purchases that they record as run twice",
	},
}
