package main

// guardMutants are about who may run, how that ends, and what the service is told.
var guardMutants = []mutant{
	// authorize.go
	{
		name: "authorize/locks-kept-after-a-refusal", file: "authorize.go",
		old: "if approval == nil {\n\t\t\tauth.release()", new: "if approval == nil && err == nil {\n\t\t\tauth.release()",
		why: "a call that came to no approval keeps its locks, so the next call under the key waits in vain",
	},
	{
		name: "authorize/no-lock-on-the-key", file: "authorize.go",
		old: `lockKey{auth.client.identity, keyLock, auth.heldKey()}`, new: `lockKey{auth.client.identity, keyLock, rand.Text()}`,
		why: "two calls under one key ask and run at the same time",
	},
	{
		name: "authorize/no-lock-on-the-request", file: "authorize.go",
		old: `lockKey{auth.client.service, runLock, auth.requestID}`, new: `lockKey{auth.client.service, runLock, rand.Text()}`,
		why: "two calls that resume one request run at the same time",
	},
	{
		name: "authorize/lock-on-the-request-by-token", file: "authorize.go",
		old: `lockKey{auth.client.service, runLock, auth.requestID}`, new: `lockKey{auth.client.identity, runLock, auth.requestID}`,
		why: "clients of two tokens of one agent run one request at the same time",
	},
	{
		name: "lookup/started-here-is-run-again-when-resumed", file: "lookup.go",
		old: "if entry == nil {\n\t\treturn nil, auth.checkNotStarted()", new: "if entry == nil {\n\t\treturn nil, nil",
		why: "a resumed request whose confirmation was lost runs a second time",
	},
	{
		name: "lookup/started-here-is-run-again-beside-a-journal", file: "lookup.go",
		old: "if entry == nil {\n\t\treturn nil, auth.checkNotStarted()", new: "if entry == nil {\n\t\treturn nil, nil",
		why: "a request that ran without the journal runs again when it is resumed with one",
	},
	{
		name: "lookup/started-here-is-run-again-although-journaled", file: "lookup.go",
		old: "if err := auth.checkNotStarted(); err != nil {\n\t\treturn nil, err\n\t}\n\tauth.record.entry, auth.fromJournal", new: "auth.record.entry, auth.fromJournal",
		why: "a request that the journal holds as started runs again when it is resumed in the same process",
	},
	{
		name: "decision/started-here-is-run-again-under-its-key", file: "decision.go",
		old: "started := auth.checkNotStarted()", new: "started := error(nil)",
		why: "a request whose confirmation was lost runs a second time under its key",
	},
	{
		name: "requestapproval/started-has-surely-not-run", file: "requestapproval.go",
		old: "return auth.mayHaveRun(auth.approvedRequest(), reasonUnconfirmed)", new: "return auth.handled(auth.approvedRequest(), reasonUnconfirmed)",
		why: "the caller of a purchase that has run is told that it has not",
	},
	{
		name: "decision/finished-here-is-run-again-under-its-key", file: "decision.go",
		old: "if err := auth.checkNotFinished(state); err != nil {\n\t\treturn \"\", err\n\t}\n\tif err := auth.checkNotRunUnderKey", new: "if err := auth.checkNotRunUnderKey",
		why: "an old read makes a confirmed request run again under its key",
	},
	{
		name: "decision/finished-here-is-run-again-when-resumed", file: "decision.go",
		old: "if err := auth.checkNotFinished(state); err != nil {\n\t\treturn \"\", err\n\t}\n\tif err := auth.checkMatch", new: "if err := auth.checkMatch",
		why: "an old read makes a confirmed request run again when it is resumed",
	},
	{
		name: "authorize/nested-call-waits-for-itself", file: "authorize.go",
		old: "outer, ok := ApprovalFromContext(ctx)\n\t\tif !ok {", new: "outer, ok := ApprovalFromContext(ctx)\n\t\tif ok || !ok {",
		why: "a function that claims what it runs under waits for its own end",
	},
	{
		name: "authorize/nested-call-sees-the-innermost-approval-only", file: "authorize.go",
		old: "ctx = outer.callContext\n\t}", new: "return nil\n\t}",
		why: "a function two levels down that claims what the outermost runs under waits for its own end",
	},
	{
		name: "requestapproval/asked-before-the-journal-knows", file: "requestapproval.go",
		old: "if err := auth.record.put(ctx, journal.Requested); err != nil {\n\t\treturn nil, err\n\t}\n\tauth.purchase, err = auth.client.post(ctx, &auth.params, postParams{\n\t\tsince:     auth.baseline,\n\t\tfreshKey:  !auth.callerKey,\n\t\tlockLimit: auth.config.lockWait(),\n\t\tanswered:  auth.rememberAnswer,\n\t})\n\tif err != nil {\n\t\treturn nil, auth.dropIfRefused(ctx, err)\n\t}",
		new: "auth.purchase, err = auth.client.post(ctx, &auth.params, postParams{\n\t\tsince:     auth.baseline,\n\t\tfreshKey:  !auth.callerKey,\n\t\tlockLimit: auth.config.lockWait(),\n\t\tanswered:  auth.rememberAnswer,\n\t})\n\tif err != nil {\n\t\treturn nil, auth.dropIfRefused(ctx, err)\n\t}\n\tif err := auth.record.put(ctx, journal.Requested); err != nil {\n\t\treturn nil, err\n\t}",
		why: "a crash after the purchase leaves no entry, and a journal that fails leaves the money booked",
	},
	{
		name: "authorize/runs-before-the-journal-knows", file: "authorize.go",
		old: "if err := auth.record.put(ctx, journal.Started); err != nil {", new: "if err := error(nil); err != nil {",
		why: "a crash while the function runs looks as if it had never started, and it runs again",
	},
	{
		name: "authorize/start-is-not-remembered", file: "authorize.go",
		old: "auth.client.process.rememberStarted(auth.client.requestKey(auth.requestID))\n", new: "",
		why: "what runs unconfirmed is not known to have started, and runs again",
	},
	{
		name: "authorize/runs-after-the-context-has-ended", file: "authorize.go",
		old: "if err := ctx.Err(); err != nil {\n\t\treturn auth.refund", new: "if err := error(nil); err != nil {\n\t\treturn auth.refund",
		why: "the function runs for a caller who has gone",
	},
	{
		name: "authorize/what-cannot-run-stays-booked", file: "authorize.go",
		old: "if auth.resumed {\n\t\treturn reason", new: "if true {\n\t\treturn reason",
		why: "an approval that is not used keeps its money for ever",
	},
	{
		name: "authorize/resumed-request-is-given-back", file: "authorize.go",
		old: "if auth.resumed {\n\t\treturn reason", new: "if false {\n\t\treturn reason",
		why: "a resumed request whose caller is cancelled is refunded, although its caller may resume it again",
	},
	{
		name: "authorize/refunds-under-the-dead-context", file: "authorize.go",
		old: "ctx = context.WithoutCancel(ctx)\n\t// The service may", new: "// The service may",
		why: "what is given back because the context has ended cannot be given back under it",
	},
	{
		name: "authorize/refunds-by-completing", file: "authorize.go",
		old: "auth.client.confirm(ctx, auth.requestID, ConfirmParams{}, options)", new: "auth.client.confirm(ctx, auth.requestID, ConfirmParams{Success: true}, options)",
		why: "what never ran is confirmed as bought",
	},
	{
		name: "authorize/entry-of-what-was-given-back-stays", file: "authorize.go",
		old: "return withCleanup(reason, auth.record.drop(ctx))", new: "return reason",
		why: "the journal holds a purchase as open that was given back",
	},
	{
		name: "authorize/no-entry-of-what-could-not-be-given-back", file: "authorize.go",
		old: "putErr := auth.record.put(ctx, journal.Returned)", new: "putErr := error(nil)",
		why: "booked money that could not be given back is forgotten, and Recover does not find it",
	},
	{
		name: "authorize/executed-failure-passed-over-unconfirmed", file: "authorize.go",
		old: "if err := auth.client.confirmEarlier(ctx, auth.config, earlier); err != nil {", new: "if err := error(nil); err != nil {",
		why: "a scope asks for the next purchase while the money of the failed one is still booked",
	},
	{
		name: "authorize/success-passed-over", file: "authorize.go",
		old: "if scoped == nil || earlier.Success {", new: "if scoped == nil {",
		why: "what a scope has bought is bought again in place of its result",
	},
	{
		name: "authorize/journaled-failure-is-not-passed-over", file: "authorize.go",
		old: "if scoped == nil || earlier.Success {", new: "if true {",
		why: "a failed and refunded purchase blocks its scope for ever",
	},
	{
		name: "requestapproval/entry-dropped-after-an-unknown-outcome", file: "requestapproval.go",
		old: "if unknown, ok := errors.AsType[*OutcomeUnknownError](err); ok || auth.requestedBefore {", new: "if unknown, ok := errors.AsType[*OutcomeUnknownError](err); ok && auth.requestedBefore {",
		why: "the journal forgets a purchase of which nobody knows whether it was made",
	},
	{
		name: "requestapproval/entry-of-an-earlier-call-dropped", file: "requestapproval.go",
		old: "if unknown, ok := errors.AsType[*OutcomeUnknownError](err); ok || auth.requestedBefore {", new: "if unknown, ok := errors.AsType[*OutcomeUnknownError](err); ok {",
		why: "a refused repetition makes the journal forget the purchase that an earlier call may have made",
	},
	{
		name: "requestapproval/duplicates-found-in-doubt-not-journaled", file: "requestapproval.go",
		old: "if ok && unknown.alone && len(unknown.Found) > 0 {", new: "if false {",
		why: "after a crash nobody finds the requests that lost attempts have made",
	},
	{
		name: "lookup/key-of-another-purchase-accepted-from-the-journal", file: "lookup.go",
		old: "if err := auth.checkEntry(ctx, entry); err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t\tauth.takeOverEntry", new: "auth.takeOverEntry",
		why: "a call gets the result of another purchase under the same key",
	},
	{
		name: "lookup/resumed-as-another-purchase-than-journaled", file: "lookup.go",
		old: "if err := auth.checkEntry(ctx, entry); err != nil {\n\t\treturn nil, err\n\t}\n\tif entry.State", new: "if entry.State",
		why: "a resumed request runs a function that describes another purchase",
	},
	{
		name: "lookup/no-baseline", file: "lookup.go",
		old: "auth.baseline, err = auth.client.currentBaseline(ctx)", new: "auth.baseline, err = baseline{taken: true}, nil",
		why: "another process's request under the key counts as this call's, and runs here as well",
	},
	{
		name: "lookup/baseline-of-the-journal-ignored", file: "lookup.go",
		old: "auth.baseline, auth.requestedBefore = baseline{\n\t\t\t!entry.BaselineAt.IsZero(), entry.BaselineAt, entry.BaselineIDs,\n\t\t}, entry.State == journal.Requested", new: "auth.baseline, auth.requestedBefore = baseline{true, entry.UpdatedAt, nil}, entry.State == journal.Requested",
		why: "a purchase that was asked for before a crash is not continued after it",
	},
	{
		name: "requestapproval/baseline-is-not-journaled", file: "requestapproval.go",
		old: "auth.record.entry.BaselineAt, auth.record.entry.BaselineIDs = auth.baseline.createdAt, auth.baseline.ids", new: "auth.record.entry.BaselineAt = time.Time{}",
		why: "after a crash every request counts as this call's, other processes' too",
	},
	{
		name: "lookup/other-entries-of-the-request-not-consulted", file: "lookup.go",
		old: "if auth.config.journal == nil || !auth.callerKey || !auth.requestedBefore && !auth.known {", new: "if true {",
		why: "a request that was resumed by its id behind the back of its key runs again under the key",
	},
	{
		name: "decision/categories-not-compared", file: "decision.go",
		old: "return auth.client.sameCategory(ctx, auth.requestID, category, auth.params.Category, requestedAs...)", new: "return nil",
		why: "a request that was approved under one category is spent on another",
	},
	{
		name: "category/other-category-ends-the-scope", file: "category.go",
		old: "if relation == otherNames {\n\t\treturn &nextKeyError{err: mismatch}", new: "if false {\n\t\treturn &nextKeyError{err: mismatch}",
		why: "two purchases of a scope that differ in their category alone are refused instead of told apart",
	},
	{
		name: "lookup/started-entry-runs-again", file: "lookup.go",
		old: "return nil, handled\n\tdefault:", new: "return nil, nil\n\tdefault:",
		why: "after a crash within the function it runs a second time",
	},
	{
		name: "lookup/started-entry-has-surely-not-run", file: "lookup.go",
		old: "auth.mayHaveRun(request, reasonStarted)", new: "auth.handled(request, reasonStarted)",
		why: "the caller is told that nothing has run where a crash has cut the function off",
	},
	{
		name: "lookup/started-and-refunded-blocks-the-scope", file: "lookup.go",
		old: "if request.Status == StatusFailed {\n\t\t\treturn nil, &nextKeyError", new: "if false {\n\t\t\treturn nil, &nextKeyError",
		why: "a purchase that was given back after a crash is never asked for again in its scope",
	},
	{
		name: "requestapproval/rejected-entry-stays", file: "requestapproval.go",
		old: "return isFinal(err) || mismatch && !auth.requestedBefore", new: "return false && mismatch",
		why: "the journal holds rejected purchases as open for ever",
	},
	{
		name: "errors/entry-dropped-while-pending", file: "errors.go",
		old: "return decision{refused.RequestID, refused.Status, refused.Status != StatusPending}", new: "return decision{refused.RequestID, refused.Status, true}",
		why: "a purchase that awaits a human is forgotten by the journal, and not continued after a restart",
	},
	{
		name: "decision/known-id-runs-under-a-new-key", file: "decision.go",
		old: "if auth.known || auth.client.progress(auth.requestID) != requestedHere {", new: "if auth.client.progress(auth.requestID) > finishedHere {",
		why: "a new purchase that is answered with an old request's id runs under that request",
	},
	{
		name: "requestapproval/found-requests-that-are-duplicates-forgotten", file: "requestapproval.go",
		old: "if id != auth.purchase.RequestID && !slices.Contains(auth.purchase.Duplicates, id) && !auth.isOver(ctx, id) {", new: "if false {",
		why: "of the requests that an earlier call has found nobody learns that all but one are duplicates",
	},
	{
		name: "requestapproval/found-requests-that-are-the-purchase-are-duplicates", file: "requestapproval.go",
		old: "if id != auth.purchase.RequestID && !slices.Contains(auth.purchase.Duplicates, id) && !auth.isOver(ctx, id) {", new: "if !slices.Contains(auth.purchase.Duplicates, id) && !auth.isOver(ctx, id) {",
		why: "the caller is told to give its own purchase's money back",
	},
	{
		name: "requestapproval/found-request-that-has-run-is-a-duplicate", file: "requestapproval.go",
		old: " && !auth.isOver(ctx, id) {", new: " {",
		why: "the caller is told to give back the money of a purchase that was resumed and paid",
	},
	{
		name: "lookup/resumed-result-of-another-purchase", file: "lookup.go",
		old: "if err := auth.checkEntry(ctx, entry); err != nil {\n\t\treturn nil, auth.dropIfFinal(ctx, err)\n\t}\n", new: "",
		why: "a call gets the result of another purchase under a key that it shares with it",
	},
	{
		name: "lookup/resumed-request-not-remembered", file: "lookup.go",
		old: "auth.client.process.rememberStarted(auth.client.requestKey(auth.requestID))\n", new: "",
		why: "what was resumed by its id runs again under its key, for a call without the journal",
	},
	{
		name: "lookup/duplicates-of-an-earlier-call-not-recalled", file: "lookup.go",
		old: "auth.client.process.rememberDuplicate(auth.client.requestKey(id), countedRequest{\n\t\t\tentry.RequestID, auth.params.IdempotencyKey,\n\t\t})", new: "_ = id",
		why: "after a restart a purchase runs under the request that was named its duplicate",
	},
	{
		name: "requestapproval/found-requests-stay-found", file: "requestapproval.go",
		old: "entry.Duplicates, entry.Found = auth.purchase.Duplicates, nil", new: "entry.Duplicates = auth.purchase.Duplicates",
		why: "the journal still holds requests as possible purchases when it is known which one is",
	},
	{
		name: "lookup/found-requests-not-carried-over", file: "lookup.go",
		old: "auth.takeOverEntry(entry)\n", new: "",
		why: "a repetition forgets the requests that an earlier call has found",
	},
	{
		name: "decision/decided-request-not-compared-new", file: "decision.go", nth: 1,
		old: "if err := auth.checkMatch(ctx, state); err != nil {\n\t\t\treturn \"\", err\n\t\t}\n\t}", new: "}",
		why: "what a human has approved is not compared with what the call describes",
	},
	{
		name: "decision/decided-request-not-compared-resumed", file: "decision.go", nth: 2,
		old: "if err := auth.checkMatch(ctx, state); err != nil {\n\t\t\treturn \"\", err\n\t\t}\n\t}", new: "}",
		why: "what a human has approved is not compared with what the resuming call describes",
	},
	{
		name: "decision/runs-what-is-anothers", file: "decision.go",
		old: "if !ours && !state.Status.Final() {", new: "if false {",
		why: "a request that another process has asked for and may run is run here as well",
	},
	{
		name: "decision/anothers-has-surely-not-run", file: "decision.go",
		old: "return \"\", auth.mayHaveRun(state, reasonOtherMayRun)", new: "return \"\", auth.handled(state, reasonOtherMayRun)",
		why: "the caller is told that nothing has run where another process may have",
	},
	{
		name: "decision/expired-blocks-the-scope", file: "decision.go",
		old: "if state.Status == StatusFailed || state.Status == StatusExpired {", new: "if state.Status == StatusFailed {",
		why: "a purchase that expired undecided is never asked for again in its scope",
	},
	{
		name: "decision/failed-blocks-the-scope", file: "decision.go",
		old: "if state.Status == StatusFailed || state.Status == StatusExpired {", new: "if state.Status == StatusExpired {",
		why: "a purchase that failed and was refunded is never asked for again in its scope",
	},
	{
		name: "decision/guard-takes-what-was-bought-by-hand", file: "decision.go",
		old: "return nil, false\n\tcase requested == nil:", new: "return nil, true\n\tcase requested == nil:",
		why: "a guarded call runs under a request whose caller of Client.Purchase spends by itself",
	},
	{
		name: "decision/unread-request-counts-as-anothers", file: "decision.go",
		old: "return requested, requested.since.isBefore(state) || auth.baseline.isBefore(state)", new: "return requested, false",
		why: "a request that could not be read once is never continued",
	},
	{
		name: "requestapproval/unread-request-counts-as-ours", file: "requestapproval.go",
		old: "asked.since = &since", new: "_ = &since",
		why: "another process's request that could not be read once is run here as well",
	},
	{
		name: "baseline/baseline-inverted", file: "baseline.go",
		old: "return state.CreatedAt.After(b.createdAt) ||", new: "return state.CreatedAt.Before(b.createdAt) ||",
		why: "others' requests are taken for this call's, and this call's for others'",
	},
	{
		name: "requestapproval/unread-is-not-remembered", file: "requestapproval.go",
		old: "auth.client.process.rememberRequested(auth.client.requestKey(purchase.RequestID), asked)", new: "_ = asked",
		why: "a request that could not be read right after its approval is never continued, and stays booked",
	},
	{
		name: "decision/remembered-content-not-compared", file: "decision.go",
		old: "case ours && requested != nil:\n", new: "case false:\n",
		why: "a call for another merchant runs under a request of this process's memory",
	},
	{
		name: "decision/listed-content-not-compared", file: "decision.go",
		old: "case !ours:\n\t\tif row", new: "case false:\n\t\tif row",
		why: "a key of another purchase is not reported as a mismatch",
	},
	{
		name: "decision/resumed-content-not-compared", file: "decision.go",
		old: "if !auth.fromJournal && !state.Status.Final() {", new: "if false {",
		why: "a resumed request for another merchant is run",
	},
	{
		name: "decision/resumed-and-unlisted-accepted", file: "decision.go",
		old: "if row == nil {\n\t\tnotListed", new: "if row == nil {\n\t\treturn nil\n\t}\n\tif false {\n\t\tnotListed",
		why: "a resumed request whose merchant nobody knows is run",
	},
	{
		name: "decision/list-of-one-status-only", file: "decision.go",
		old: "if err == nil && row == nil && status != \"\" {", new: "if false {",
		why: "a resumed request that is decided between the read and the list is refused",
	},
	{
		name: "authorize/completed-runs", file: "authorize.go",
		old: "case state.Status.Final():\n\t\treturn auth.handled(state, reasonDecided)", new: "case state.Status.Final():\n\t\treturn nil",
		why: "what is completed runs again",
	},
	{
		name: "decision/unknown-status-counts-as-decided", file: "decision.go",
		old: "if !state.Status.Decided() {\n\t\tif state, err = auth.awaitDecision(ctx, state); err != nil {", nth: 1, new: "if state.Status == StatusPending {\n\t\tif state, err = auth.awaitDecision(ctx, state); err != nil {",
		why: "a purchase in a state that is not known yet is not waited for",
	},
	{
		name: "authorize/rejection-without-its-reasons", file: "authorize.go",
		old: "rejected.Checks = auth.purchase.PolicyCheck.Failed()", new: "rejected.Checks = nil",
		why: "nobody learns why the policy has rejected a purchase",
	},
	{
		name: "authorize/expired-counts-as-handled", file: "authorize.go",
		old: "case state.Status == StatusExpired:\n\t\treturn auth.notApproved", new: "case false:\n\t\treturn auth.notApproved",
		why: "a request whose time is over is reported as another call's",
	},
	{
		name: "authorize/request-id-not-journaled-before-the-wait", file: "authorize.go",
		old: "if !auth.resumed && auth.record.entry.RequestID != auth.requestID {", new: "if false {",
		why: "whoever resumes a pending request by its id does not find the entry of its key",
	},
	{
		name: "authorize/waits-although-told-not-to", file: "authorize.go",
		old: "if auth.config.pendingWait == 0 {\n\t\treturn nil, pending\n\t}", new: "if auth.config.pendingWait == 0 {\n\t\tauth.config.pendingWait = defaultPendingWait\n\t}",
		why: "OnPendingFail waits for a human",
	},
	{
		name: "authorize/pending-wait-unbounded", file: "authorize.go",
		old: "append([]WaitOption{WaitTimeout(auth.config.pendingWait)}, auth.config.waitOptions...)", new: "auth.config.waitOptions",
		why: "the wait for a human lasts longer than the call allows",
	},
	{
		name: "baseline/same-instant-counts-as-later", file: "baseline.go",
		old: "state.CreatedAt.Equal(b.createdAt) &&\n\t\t!slices.Contains(b.ids, state.RequestID)", new: "state.CreatedAt.Equal(b.createdAt)",
		why: "the newest request before the call counts as made by the call",
	},
	{
		name: "baseline/same-instant-counts-as-earlier", file: "baseline.go",
		old: "return state.CreatedAt.After(b.createdAt) || state.CreatedAt.Equal(b.createdAt) &&\n\t\t!slices.Contains(b.ids, state.RequestID)", new: "return state.CreatedAt.After(b.createdAt)",
		why: "a purchase made in the same instant as another one is never this call's",
	},
	{
		name: "decision/read-amount-not-compared", file: "decision.go",
		old: "if state.Amount != auth.params.Amount {\n\t\treturn auth.mismatch", new: "if false {\n\t\treturn auth.mismatch",
		why: "an approval of another amount is spent",
	},
	{
		name: "baseline/baseline-of-one-request", file: "baseline.go",
		old: "b.ids = append(b.ids, page[i].RequestID)", new: "b.ids = []string{page[i].RequestID}",
		why: "of several requests in the instant before the call, all but one count as made by it",
	},
	{
		name: "baseline/full-page-of-one-instant-trusted", file: "baseline.go",
		old: "b.createdAt = b.createdAt.Add(1)", new: "b.createdAt = b.createdAt.Add(0)",
		why: "of more requests in one instant than a page holds, the rest count as made by the call",
	},
	{
		name: "authorize/scope-key-kept-after-a-refusal", file: "authorize.go",
		old: "if approval == nil && earlier == nil {\n\t\t\tscoped.done(false, false)", new: "if false {\n\t\t\tscoped.done(false, false)",
		why: "a purchase that was refused once is taken for one under way, and a run of the scope asks for another one",
	},
	{
		name: "authorize/scope-key-kept-after-an-earlier-run", file: "authorize.go",
		old: "earlier.scoped.done(false, false)\n", new: "",
		why: "a purchase that has run is taken for one under way, and a run of the scope asks for another one",
	},
	{
		name: "authorize/unread-when-the-context-has-ended", file: "authorize.go",
		old: "if err == nil || ctx.Err() == nil {\n\t\treturn state, err", new: "if true {\n\t\treturn state, err",
		why: "what was approved as its caller went is not given back, and stays booked",
	},
	{
		name: "decision/changed-request-is-another-purchase", file: "decision.go",
		old: `return "", withoutNextKey(err)`, new: "return \"\", err",
		why: "a request whose category changes while a human decides makes the scope ask for another one",
	},
	{
		name: "authorize/earlier-run-stays-unconfirmed", file: "authorize.go",
		old: "withCleanup(alreadyHandled(earlier.Entry), c.confirmEarlier(ctx, g, earlier.Entry))", new: "alreadyHandled(earlier.Entry)",
		why: "a purchase that ran before a crash is not confirmed by the next Authorize under its key",
	},
	{
		name: "authorize/runs-while-it-is-confirmed", file: "authorize.go",
		old: "if err := auth.checkNotBeingConfirmed(); err != nil {", new: "if err := error(nil); err != nil {",
		why: "a request runs whose refund is under way",
	},
	{
		name: "authorize/runs-after-an-unclear-refund", file: "authorize.go",
		old: "if !auth.client.process.refundSent(auth.client.requestKey(auth.requestID)) {", new: "if true {",
		why: "a request runs whose refund the service may still be handling",
	},
	{
		name: "authorize/key-of-a-run-is-not-remembered", file: "authorize.go",
		old: "auth.client.process.rememberStartedUnder(auth.client.identity, auth.params.IdempotencyKey, auth.requestID)", new: "_ = auth.callerKey",
		why: "a second request that a lost attempt has made under the key of a run is run as well",
	},
	{
		name: "decision/runs-beside-another-of-its-key", file: "decision.go",
		old: `if ran == "" || ran == auth.requestID {`, new: "if ran != auth.requestID || ran == auth.requestID {",
		why: "a second request that a lost attempt has made under the key of a run is run as well",
	},
	{
		name: "decision/forgotten-keys-refused", file: "decision.go",
		old: "case answered.CreatedAt.Sub(state.CreatedAt) >= keyLifetime:", new: "case false:",
		why: "a key that the service has forgotten after a day cannot be used again",
	},
	{
		name: "decision/forgets-the-key-of-a-run-too-early", file: "decision.go",
		old: "keyLifetime = 24 * time.Hour", new: "keyLifetime = 0 * time.Hour",
		why: "a second request that a lost attempt has made under the key of a run is run as well",
	},
	{
		name: "decision/failed-run-blocks-its-scope", file: "decision.go",
		old: "if state.Status == StatusFailed {\n\t\treturn &nextKeyError{ended: true, err: auth.duplicateOf(state)}", new: "if false {\n\t\treturn &nextKeyError{ended: true, err: auth.duplicateOf(state)}",
		why: "a purchase that failed, and has a second request under its key, is never asked for again in its scope",
	},
	{
		name: "lookup/second-request-of-a-key-is-silent", file: "lookup.go",
		old: "&DuplicateError{RequestID: counts.RequestID, Duplicates: []string{auth.requestID}, IdempotencyKey: key},\n", new: "",
		why: "nobody learns that a second request of a purchase holds money",
	},
	{
		name: "decision/confirmed-elsewhere-counts-as-running", file: "decision.go",
		old: "case err != nil || !state.Status.Final():\n\t\treturn \"\", started", new: "case true:\n\t\treturn \"\", started",
		why: "a request that somebody else has confirmed counts as running for ever",
	},
	{
		name: "requestapproval/found-by-several-is-journaled", file: "requestapproval.go",
		old: "if ok && unknown.alone && len(unknown.Found) > 0 {", new: "if ok && len(unknown.Found) > 0 {",
		why: "of two identical purchases in doubt, each takes the other's request for its duplicate",
	},

	// guard.go
	{
		name: "guard/waits-for-others-too-long", file: "guard.go",
		old: "return min(g.pendingWait, mostLockWait)", new: "return max(g.pendingWait, mostLockWait)",
		why: "a call waits minutes for another one under its key",
	},
	{
		name: "guard/no-pending-wait-of-zero", file: "guard.go",
		old: "if d <= 0 {\n\t\t\treturn paramError(\"OnPendingWait\"", new: "if d < 0 {\n\t\t\treturn paramError(\"OnPendingWait\"",
		why: "a wait of zero is taken for OnPendingFail instead of refused",
	},
	{
		name: "guard/panic-counts-as-success", file: "guard.go",
		old: "outcome, settled := errDidNotReturn, false", new: "outcome, settled := error(nil), false",
		why: "a function that panics without having paid is confirmed as completed",
	},
	{
		name: "guard/panic-leaves-it-unsettled", file: "guard.go",
		old: "if settled {\n\t\t\t\treturn\n\t\t\t}", new: "if settled || !settled {\n\t\t\t\treturn\n\t\t\t}",
		why: "a function that panics keeps its money booked and its key locked",
	},
	{
		name: "approval/failure-is-not-journaled", file: "approval.go",
		old: "if first && err != nil && outcome.doubt == nil {", new: "if false {",
		why: "nobody learns from the journal why a purchase failed",
	},
	{
		name: "guard/unconfirmed-panic-is-silent", file: "guard.go",
		old: "c.alert(ctx, \"letagentpay.unconfirmed\"", new: "_ = slog.GroupValue // \"letagentpay.unconfirmed\"",
		why: "nobody learns that a panicking function's money is still booked",
	},
	{
		name: "guard/function-does-not-find-its-approval", file: "guard.go",
		old: "out, err = fn(approval.context(), in)", new: "out, err = fn(ctx, in)",
		why: "a function cannot say what it has spent",
	},
	{
		name: "guard/result-given-back-does-not-count", file: "guard.go",
		old: "earlier.scoped.done(err == nil, false)", new: "earlier.scoped.done(false, false)",
		why: "the second of two identical purchases of a repeated run gets the first one's result",
	},
	{
		name: "guard/failure-given-back-counts", file: "guard.go",
		old: "earlier.scoped.done(err == nil, false)", new: "earlier.scoped.done(true, false)",
		why: "in a run, the repetition of a purchase whose result cannot be given back buys another one",
	},
	{
		name: "guard/result-is-not-kept", file: "guard.go",
		old: "recordResult(approval, g, out)\n", new: "_ = out\n",
		why: "a repeated call under the key does not get the first result back",
	},
	{
		name: "guard/failure-confirmed-as-success", file: "guard.go",
		old: "settleErr := approval.Settle(approval.callContext, err)", new: "settleErr := approval.Settle(approval.callContext, nil)",
		why: "a function that failed is confirmed as completed, and its money is gone",
	},
	{
		name: "guard/unconfirmed-failure-is-silent", file: "guard.go",
		old: "return out, errors.Join(err, settleErr)", new: "return out, err",
		why: "a caller whose function failed does not learn that the refund did not get through",
	},
	{
		name: "guard/unconfirmed-success-is-silent", file: "guard.go",
		old: "case err == nil || mayHaveSpent(settleErr): // it wraps err\n\t\t\treturn out, settleErr", new: "case err == nil:\n\t\t\treturn out, nil\n\t\tcase mayHaveSpent(settleErr):\n\t\t\treturn out, settleErr",
		why: "a caller whose function succeeded does not learn that the confirmation did not get through",
	},
	{
		name: "guard/functions-not-told-apart", file: "guard.go",
		old: "return name + \" \" + out.String()", new: "return name[:0] + out.String()",
		why: "a function gets back the result of another one that was guarded under the same key",
	},
	{
		name: "guard/types-of-results-not-told-apart", file: "guard.go",
		old: "return name + \" \" + out.String()", new: "return name",
		why: "a generic function gets back a result of another type",
	},

	// resume.go
	{
		name: "resume/used-up-for-its-own-purchase", file: "resume.go",
		old: "return bought == nil || contentOf(p).mismatch(r.requestID, *bought) == nil", new: "return bought == nil",
		why: "a resumed call that is repeated after its success buys again",
	},
	{
		name: "resume/never-used-up", file: "resume.go",
		old: "r.bought.CompareAndSwap(nil, &bought)", new: "_ = bought",
		why: "another purchase under a resumed context is refused for ever",
	},
	{
		name: "resume/option-ignored", file: "resume.go",
		old: "if g.resumed.appliesTo(p) {", new: "if false {",
		why: "a call that is to resume a request makes another one",
	},
	{
		name: "approval/resumption-used-up-by-an-error", file: "approval.go",
		old: "if settleErr == nil && err == nil {\n\t\ta.resumption", new: "if true {\n\t\ta.resumption",
		why: "another purchase follows a resumed one that failed",
	},
	{
		name: "guardtransport/redirect-resumes", file: "guardtransport.go",
		old: "ctx, g.resumed = withoutResumption(ctx), nil", new: "_ = withoutResumption",
		why: "a redirected request runs under the request that paid for the one before it",
	},
	{
		name: "purchase/fraction-of-a-yen-accepted", file: "purchase.go",
		old: "slices.Contains(zeroDecimalCurrencies, code) &&", new: "false &&",
		why: "an amount that the currency cannot have is sent",
	},

	// approval.go
	{
		name: "approval/resumed-id-inherited", file: "approval.go",
		old: "return withoutResumption(context.WithValue(a.callContext, approvalKey{}, a))",
		new: "return context.WithValue(a.callContext, approvalKey{}, a)",
		why: "a guarded call within a resumed function claims the function's own request",
	},
	{
		name: "approval/spent-after-the-end-recorded", file: "approval.go",
		old: "return fmt.Errorf(\"%w: purchase %s\", ErrSettled, a.requestID)", new: "_ = fmt.Errorf",
		why: "a caller who says too late what was spent believes that it is recorded",
	},
	{
		name: "approval/spent-too-late-is-silent", file: "approval.go",
		old: "a.client.alert(a.callContext, \"letagentpay.spent_late\"", new: "_ = append([]any{}, \"letagentpay.spent_late\"",
		why: "nobody learns of money that was spent after the purchase was confirmed",
	},
	{
		name: "approval/bad-amount-counts-as-unpaid", file: "approval.go",
		old: "if a.spent == nil {\n\t\t\ta.spent = &ConfirmParams{Success: true}\n\t\t}\n", new: "",
		why: "what was paid and reported with a bad amount is refunded when the function fails",
	},
	{
		name: "approval/bad-amount-replaces-a-good-one", file: "approval.go",
		old: "if a.spent == nil {\n\t\t\ta.spent = &ConfirmParams{Success: true}", new: "if true {\n\t\t\ta.spent = &ConfirmParams{Success: true}",
		why: "a bad amount takes the place of the true one that was reported before",
	},
	{
		name: "approval/zero-counts-as-spent", file: "approval.go",
		old: "if actual.Sign() <= 0 {", new: "if actual.Sign() < 0 {",
		why: "nothing spent is recorded as a cent",
	},
	{
		name: "approval/rounded-to-nothing", file: "approval.go",
		old: "if rounded.IsZero() {\n\t\trounded = leastAmount\n\t}\n", new: "",
		why: "an amount below half a cent is confirmed as the whole amount approved",
	},
	{
		name: "approval/rounded-half-to-even", file: "approval.go",
		old: "rounded = actual.Round()", new: "rounded = actual.RoundHalfEven()",
		why: "half a cent is rounded otherwise than the service does",
	},
	{
		name: "approval/beyond-the-most-sent-as-it-is", file: "approval.go",
		old: "if actual.Less(maxAmount) {\n\t\trounded", new: "if true {\n\t\trounded",
		why: "an amount that the service does not accept cannot be confirmed at all",
	},
	{
		name: "approval/overspending-is-silent", file: "approval.go",
		old: "if a.amount.Less(rounded) {", new: "if false {",
		why: "nobody learns that more was spent than approved",
	},
	{
		name: "approval/receipt-too-long-sent", file: "approval.go",
		old: "case receiptErr == nil:\n\t\tspending.ReceiptURL", new: "case true:\n\t\tspending.ReceiptURL",
		why: "a receipt that the service does not accept prevents the confirmation",
	},
	{
		name: "approval/settled-twice", file: "approval.go",
		old: "if settled {\n\t\treturn nil\n\t}", new: "_ = settled",
		why: "a deferred Settle after a success confirms again, and reports a conflict",
	},
	{
		name: "approval/settled-at-the-same-time", file: "approval.go",
		old: "a.settling <- struct{}{}\n\tdefer func() { <-a.settling }()\n", new: "",
		why: "two calls of Settle confirm at the same time",
	},
	{
		name: "approval/locks-kept-after-the-end", file: "approval.go",
		old: "defer a.authorization.release()\n", new: "",
		why: "the next call under the key waits for one that is over",
	},
	{
		name: "approval/confirmed-under-the-dead-context", file: "approval.go",
		old: "ctx = context.WithoutCancel(ctx)\n\tif outcome.doubt", new: "if outcome.doubt",
		why: "a purchase whose caller has gone is not confirmed",
	},
	{
		name: "approval/spent-and-failed-is-refunded", file: "approval.go",
		old: "case a.spent != nil:\n\t\t\ta.outcome", new: "case a.spent != nil && err == nil:\n\t\t\ta.outcome",
		why: "money that is gone is refunded because the function failed afterwards",
	},
	{
		name: "approval/doubt-is-refunded", file: "approval.go",
		old: "case a.authorization.config.hidesPayment(err):", new: "case false:",
		why: "a payment whose answer was lost is refunded",
	},
	{
		name: "approval/doubt-is-confirmed", file: "approval.go",
		old: "a.outcome = &outcome{params: ConfirmParams{Success: true}, doubt: err}", new: "a.outcome = &outcome{params: ConfirmParams{Success: true}}",
		why: "a payment of which nobody knows is confirmed as made, and the error is not told as a doubt",
	},
	{
		name: "approval/failure-is-not-refunded", file: "approval.go",
		old: "default:\n\t\t\ta.outcome = &outcome{}", new: "default:\n\t\t\ta.outcome = &outcome{params: ConfirmParams{Success: true}}",
		why: "a purchase that failed is confirmed as completed",
	},
	{
		name: "approval/decided-anew-at-each-settle", file: "approval.go",
		old: "if a.outcome == nil {\n\t\tfirst = true", new: "if true {\n\t\tfirst = true",
		why: "a second Settle turns a success that may have been confirmed into a refund",
	},
	{
		name: "approval/doubt-is-not-journaled", file: "approval.go",
		old: "a.authorization.record.entry.Error = userErrorText(o.doubt)\n", new: "",
		why: "after a restart nobody knows what the function's error was",
	},
	{
		name: "approval/confirmed-before-the-journal-knows", file: "approval.go",
		old: "journalErr := a.recordOutcome(ctx, o.params)\n\t_, confirmErr := a.client.confirm(ctx, a.requestID, o.params, confirmOptions{\n\t\tmayHaveConfirmed: a.mayConfirmTwice(),\n\t\tattemptLimit:     attemptLimit,\n\t\ttotalLimit:       settleLimit,\n\t})",
		new: "_, confirmErr := a.client.confirm(ctx, a.requestID, o.params, confirmOptions{mayHaveConfirmed: a.mayConfirmTwice(), attemptLimit: attemptLimit, totalLimit: settleLimit})\n\tjournalErr := a.recordOutcome(ctx, o.params)",
		why: "a crash during the confirmation loses the function's result",
	},
	{
		name: "approval/journals-error-is-silent", file: "approval.go",
		old: "return a.authorization.record.put(ctx, journal.Returned)", new: "_ = a.authorization.record.put(ctx, journal.Returned)\n\treturn nil",
		why: "nobody learns that neither the service nor the journal knows how a purchase ended",
	},
	{
		name: "approval/doubtful-confirmation-sent-blindly", file: "approval.go",
		old: "confirmOptions{\n\t\tmayHaveConfirmed: a.mayConfirmTwice(),\n\t\tattemptLimit:     attemptLimit,\n\t\ttotalLimit", new: "confirmOptions{attemptLimit: attemptLimit, totalLimit",
		why: "a confirmation that may have got through is sent again without a look",
	},
	{
		name: "approval/hanging-confirmation-takes-all-the-time", file: "approval.go",
		old: "confirmOptions{\n\t\tmayHaveConfirmed: a.mayConfirmTwice(),\n\t\tattemptLimit:     attemptLimit,\n\t\ttotalLimit", new: "confirmOptions{mayHaveConfirmed: a.mayConfirmTwice(), totalLimit",
		why: "an attempt that hangs leaves no time for another one",
	},
	{
		name: "approval/confirmation-without-a-limit", file: "approval.go",
		old: "attemptLimit:     attemptLimit,\n\t\ttotalLimit:       settleLimit,\n\t})\n\tduplicates", new: "attemptLimit: attemptLimit})\n\tduplicates",
		why: "a call whose confirmation does not get through returns only after minutes",
	},
	{
		name: "approval/confirmed-entry-stays-open", file: "approval.go",
		old: "if err := a.authorization.record.put(ctx, journal.Settled); err != nil {", new: "if err := error(nil); err != nil {",
		why: "the journal holds what the service knows as unconfirmed for ever",
	},
	{
		name: "approval/failure-uses-up-the-scope", file: "approval.go",
		old: "a.scoped.done(settleErr == nil && err == nil, ", new: "a.scoped.done(true, ",
		why: "a purchase that is in doubt counts as bought in a run, and the repetition buys another one",
	},
	{
		name: "approval/refund-does-not-end-the-key", file: "approval.go",
		old: "settleErr == nil && !outcome.params.Success)", new: "false)",
		why: "the next attempt at a failed purchase asks under the used key first",
	},
	{
		name: "approval/scope-key-kept", file: "approval.go",
		old: "a.scoped.done(settleErr == nil && err == nil, settleErr == nil && !outcome.params.Success)\n", new: "",
		why: "a purchase that is over is taken for one under way, and a run of the scope asks for another one",
	},
	{
		name: "approval/late-duplicates-not-sought", file: "approval.go",
		old: "range purchase.posting.lateRequests(ctx, a.requestID) {", new: "range purchase.posting.lateRequests(ctx, a.requestID)[:0] {",
		why: "a request that a lost attempt makes while the function runs is never found",
	},
	{
		name: "approval/duplicates-counted-twice", file: "approval.go",
		old: "if !slices.Contains(duplicates, id) {", new: "if true {",
		why: "one duplicate is reported as two",
	},
	{
		name: "approval/others-requests-stay-duplicates", file: "approval.go",
		old: "return a.client.progress(id) != unknownHere", new: "return a.client.progress(id) > finishedHere",
		why: "the caller is told to give the money of another call's purchase back",
	},
	{
		name: "approval/duplicates-are-silent", file: "approval.go",
		old: "return duplicates\n}\n\nfunc (a *Approval) mayConfirmTwice", new: "return nil\n}\n\nfunc (a *Approval) mayConfirmTwice",
		why: "a caller whose purchase succeeded does not learn that it was made twice",
	},
	{
		name: "approval/duplicates-not-journaled", file: "approval.go",
		old: "a.authorization.record.entry.Duplicates = a.authorization.purchase.Duplicates", new: "a.authorization.record.entry.Duplicates = nil",
		why: "after a crash nobody finds the money of a duplicate",
	},
	{
		name: "approval/reported-at-each-settle", file: "approval.go",
		old: "a.finish = nil\n", new: "",
		why: "observers count one purchase more than once",
	},
	{
		name: "approval/doubt-observed-as-completed", file: "approval.go",
		old: "if o.doubt != nil {\n\t\tobserved.Status = StatusApproved\n\t}\n", new: "",
		why: "observers count money in doubt as confirmed",
	},
	{
		name: "approval/actual-amount-not-observed", file: "approval.go",
		old: "observed.Amount = o.params.ActualAmount", new: "_ = o.params.ActualAmount",
		why: "observers count what was approved in place of what was spent",
	},
	{
		name: "replay/changed-result-kept", file: "replay.go",
		old: "if !sameValue(reflect.ValueOf(&result).Elem(), reflect.ValueOf(&back).Elem()) {", new: "if false && !sameValue(reflect.ValueOf(&result).Elem(), reflect.ValueOf(&back).Elem()) {",
		why: "a repeated call gets a result back that differs from the first",
	},
	{
		name: "replay/any-size-of-result-kept", file: "replay.go",
		old: "if encodeErr == nil && len(encoded) <= maxJournalResult {", new: "if encodeErr == nil {",
		why: "the journal's entries grow without a bound",
	},
	{
		name: "lookup/resumed-without-the-lock-of-its-key", file: "lookup.go",
		old: `if auth.entryKey = key; key == "" {`, new: "if auth.entryKey = key; true {",
		why: "a call under the key of a resumed run deletes the record of that run",
	},
	{
		name: "lookup/resumed-while-it-is-repeated", file: "lookup.go",
		old: "cmp.Or(auth.client.keyOf(found.entry), auth.client.keyOf(found.foundUnder))", new: "cmp.Or(auth.client.keyOf(found.entry), auth.client.keyOf(nil))",
		why: "a request is resumed while a call that asks under its key again writes its record",
	},
	{
		name: "lookup/resumed-keeps-the-function", file: "lookup.go",
		old: "auth.record.entry.Function = auth.config.function", new: "_ = auth.config.function // the one that runs",
		why: "the journal gives a function the result of another one",
	},
	{
		name: "lookup/duplicate-is-resumed", file: "lookup.go",
		old: "case StatusFailed, StatusRejected, StatusExpired:\n\t\treturn nil\n\t}\n\treturn auth.duplicateOf(state)", new: "}\n\treturn nil",
		why: "a purchase is paid again under its duplicate",
	},
	{
		name: "lookup/duplicate-of-nothing-is-refused", file: "lookup.go",
		old: "case StatusFailed, StatusRejected, StatusExpired:\n\t\treturn nil\n\t}\n\treturn auth.duplicateOf(state)", new: "}\n\treturn auth.duplicateOf(state)",
		why: "a purchase that came to nothing cannot be made under its duplicate",
	},
	{
		name: "authorize/duplicates-of-what-did-not-run-untold", file: "authorize.go",
		old: "if err == nil || auth.purchase == nil || len(auth.purchase.Duplicates) == 0 {", new: "if true {",
		why: "money that a duplicate holds is not told to whose purchase was rejected",
	},
	{
		name: "requestapproval/duplicates-of-what-was-refused-forgotten", file: "requestapproval.go",
		old: "if err == nil || auth.resumed || len(auth.record.entry.Duplicates) > 0 {", new: "if err == nil || auth.resumed {",
		why: "after a restart nobody knows of the money that a duplicate holds",
	},
	{
		name: "authorize/duplicates-of-what-was-given-back-forgotten", file: "authorize.go",
		old: "if len(auth.record.entry.Duplicates) > 0 { // Recover", new: "if false { // Recover",
		why: "after a restart nobody knows of the money that a duplicate holds",
	},
	{
		name: "authorize/unrecorded-give-back-is-continued", file: "authorize.go",
		old: "\t\t_ = auth.record.drop(ctx)\n", new: "",
		why: "what is being given back is run after a restart",
	},
	{
		name: "authorize/refused-leaves-its-entry", file: "authorize.go",
		old: "if err := auth.checkNotBeingConfirmed(); err != nil {\n\t\treturn auth.dropIfFinal(ctx, err)", new: "if err := auth.checkNotBeingConfirmed(); err != nil {\n\t\treturn err",
		why: "Recover says that a purchase can be continued that cannot",
	},
	{
		name: "requestapproval/error-of-the-cleanup-dropped", file: "requestapproval.go",
		old: "withCleanup(reason.err, dropErr)", new: "withCleanup(reason.err, nil)",
		why: "nobody learns that the journal cannot forget a purchase",
	},
	{
		name: "authorize/resumed-uses-a-key-up", file: "authorize.go",
		old: "\t\tp.IdempotencyKey = \"\" // the request", new: "\t\t_ = p // the request",
		why: "a key that was given with a resumed request cannot be used for a purchase",
	},
	{
		name: "authorize/nested-under-the-entrys-key", file: "authorize.go",
		old: "key == outer.authorization.heldKey()", new: "key == outer.idempotencyKey",
		why: "a resumed function that calls under its own key waits for itself",
	},
	{
		name: "decision/late-request-not-compared", file: "decision.go",
		old: "case ours && (requested == nil || requested.since != nil) && auth.keyIsUnclear():", new: "case false && auth.keyIsUnclear():",
		why: "a request that an earlier attempt under the key has made late runs for another purchase",
	},
}
