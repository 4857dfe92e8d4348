package main

// purchaseMutants cover the content of a purchase, its posting and confirmation, and the keys of scopes.
var purchaseMutants = []mutant{
	// purchase.go
	{
		name: "request/approved-without-automatic", file: "request.go",
		old: "return s == StatusApproved || s == StatusAutoApproved", new: "return s == StatusApproved",
		why: "a purchase that the policy approves does not run",
	},
	{
		name: "request/pending-is-approved", file: "request.go",
		old: "return s == StatusApproved || s == StatusAutoApproved",
		new: "return s == StatusApproved || s == StatusAutoApproved || s == StatusPending",
		why: "a purchase that awaits a human runs",
	},
	{
		name: "request/unknown-status-is-decided", file: "request.go",
		old: "return s.Approved() || s.Final()", new: "return s != StatusPending",
		why: "a status added to the service later counts as a decision",
	},
	{
		name: "request/expired-is-not-final", file: "request.go",
		old: "return s == StatusRejected || s == StatusExpired ||", new: "return s == StatusRejected ||",
		why: "an expired request is waited for until the end of the call",
	},
	{
		name: "purchase/passed-checks-count-as-failed", file: "purchase.go",
		old: "if item.Result == policy.Fail {", new: "if item.Result != policy.Fail {",
		why: "a rejection lists rules that passed as failed",
	},
	{
		name: "purchase/rejected-uses-up-the-scope", file: "purchase.go",
		old: "scoped.done(purchase != nil && purchase.Status.Approved(), false)",
		new: "scoped.done(purchase != nil, false)",
		why: "in a run, a rejected purchase is requested again as another purchase",
	},
	{
		name: "purchase/approved-does-not-count", file: "purchase.go",
		old: "scoped.done(purchase != nil && purchase.Status.Approved(), false)", new: "scoped.done(false, false)",
		why: "the second of two identical purchases of a run is mistaken for the first",
	},
	{
		name: "purchase/category-is-not-recorded", file: "purchase.go",
		old: "if purchase != nil {\n\t\t\tscoped.answered", new: "if false {\n\t\t\tscoped.answered",
		why: "two purchases of a scope in two categories are not distinguished",
	},
	{
		name: "purchase/by-hand-is-not-recorded", file: "purchase.go",
		old: "c.process.rememberByHand(c.requestKey(purchase.RequestID))",
		new: "c.process.rememberRequested(c.requestKey(purchase.RequestID), &requestedPurchase{content: purchase.content(p), name: p.Category})",
		why: "a guarded call runs under a request that a caller of Client.Purchase spends",
	},
	{
		name: "purchase/repeated-answer-treated-as-current", file: "purchase.go",
		old: "if err == nil && reusable && purchase.Status != StatusRejected {", new: "if false {",
		why: "a repeated purchase that has completed since is reported as approved",
	},
	{
		name: "purchase/by-hand-takes-what-is-guarded", file: "purchase.go",
		old: "err = c.checkNotGuarded(p, purchase)", new: "_ = c.checkNotGuarded",
		why: "a caller of Client.Purchase spends a request that a guarded call of the same process may run under",
	},
	{
		name: "purchase/by-hand-takes-what-runs", file: "purchase.go",
		old: "if known != requestedHere && known != startedHere {", new: "if known != requestedHere {",
		why: "a caller of Client.Purchase spends a request that a guarded call of the same process is spending",
	},
	{
		name: "purchase/guarded-is-reported-as-not-run", file: "purchase.go",
		old: "MayHaveRun:     known == startedHere,", new: "MayHaveRun:     known == requestedHere,",
		why: "the error reports that nothing has run although a guarded call has",
	},
	{
		name: "validate/keys-with-tokens-accepted", file: "validate.go",
		old: "if holdsToken(key) {", new: "if false {",
		why: "a token that is used as a key appears in errors and journals",
	},
	{
		name: "purchase/repetition-not-compared", file: "purchase.go",
		old: "if err := c.checkSamePurchase(ctx, p, read, purchase.OriginalCategory); err != nil {",
		new: "if err := error(nil); err != nil {",
		why: "another purchase under the same key gets the approval of the first one",
	},
	{
		name: "purchase/state-of-a-repetition-is-old", file: "purchase.go",
		old: "purchase.Status, purchase.AutoApproved = read.Status, read.Status == StatusAutoApproved\n", new: "",
		why: "a repeated purchase that has completed since is reported as approved",
	},
	{
		name: "purchase/expiry-of-a-decided-one-kept", file: "purchase.go",
		old: "if read.Status != StatusPending {\n\t\tpurchase.ExpiresAt = time.Time{}\n\t}\n", new: "",
		why: "a decided purchase that is repeated has an expiry time",
	},
	{
		name: "purchase/failed-or-expired-blocks-the-scope", file: "purchase.go",
		old: "if read.Status == StatusFailed || read.Status == StatusExpired {", new: "if false {",
		why: "a purchase that failed and was refunded, or expired, is never requested again in its scope",
	},
	{
		name: "purchase/merchants-not-compared", file: "purchase.go",
		old: "if read.Currency == \"\" { // a read by id returns neither merchant nor description", new: "if true {",
		why: "the key of a purchase from another merchant is answered with that purchase",
	},
	{
		name: "purchase/category-of-a-repetition-not-compared", file: "purchase.go",
		old: "return c.sameCategory(ctx, read.RequestID, read.Category, p.Category, requestedAs...)", new: "return nil",
		why: "the key of a purchase in another category is answered with that purchase",
	},
	{
		name: "purchase/id-is-not-canonical", file: "purchase.go",
		old: "canonicalID(body.RequestID),", new: "body.RequestID,",
		why: "an id that an answer spells differently is not found in the memory and the journal",
	},
	{
		name: "purchase/any-id-accepted", file: "purchase.go",
		old: "if err := checkAnsweredID(body.RequestID); err != nil {", new: "if err := error(nil); err != nil {",
		why: "an answer whose id points elsewhere counts as a purchase",
	},
	{
		name: "purchase/contradictions-accepted", file: "purchase.go",
		old: "if err := purchase.checkConsistent(); err != nil {", new: "if err := error(nil); err != nil {",
		why: "an answer that approves a purchase with a failed policy check is spent",
	},
	{
		name: "request/read-about-another-request", file: "request.go",
		old: "if canonicalID(body.RequestID) != requestID {\n\t\t\treturn errors.New(\"it is about another request\")\n\t\t}\n",
		new: "_ = errors.New\n",
		why: "the state of another request is used for this one",
	},
	{
		name: "requestid/id-not-checked-before-sending", file: "requestid.go",
		old: "if err := checkRequestID(id); err != nil {\n\t\treturn \"\", err\n\t}\n", new: "",
		why: "an id with a slash or dots sends a call to another path",
	},
	{
		name: "request/list-repeats-requests", file: "request.go",
		old: "if seen[page[i].RequestID] {", new: "if false {",
		why: "a request made while the pages are read makes another one appear twice",
	},
	{
		name: "request/repeating-list-followed", file: "request.go",
		old: "if stale == maxStalePages {", new: "if stale == 100*maxStalePages {",
		why: "a service that repeats one page is called a thousand times",
	},
	{
		name: "request/last-page-not-recognised", file: "request.go",
		old: "if len(page) < size {\n\t\t\t\treturn", new: "if len(page) == 0 {\n\t\t\t\treturn",
		why: "each list takes one more call than it has pages",
	},
	{
		name: "request/only-the-newest-are-compared", file: "request.go",
		old: "if len(page) < size {\n\t\t\tbreak", new: "if true {\n\t\t\tbreak",
		why: "a request that is not among the newest is not compared with the one that a call describes",
	},
	{
		name: "request/pages-overlap", file: "request.go", nth: 2,
		old: "offset += len(page)\n", new: "offset += len(page) + 1\n",
		why: "a request at the border between two pages is not found",
	},
	{
		name: "request/list-ignores-the-status", file: "request.go",
		old: "query.Set(\"status\", string(p.status))", new: "_ = p.status",
		why: "a list of one status holds requests of all",
	},
	{
		name: "purchase/amount-not-checked", file: "purchase.go",
		old: "if err := checkAmount(\"PurchaseParams.Amount\", p.Amount); err != nil {\n\t\treturn err\n\t}\n", new: "",
		why: "an amount that is negative or has fractions of a cent is sent",
	},
	{
		name: "purchase/category-not-checked", file: "purchase.go",
		old: "if trimText(p.Category) == \"\" {", new: "if false {",
		why: "a purchase without a category is sent",
	},
	{
		name: "purchase/currency-not-checked", file: "purchase.go",
		old: "if p.Currency != \"\" && !isCurrency(p.Currency) {", new: "if false {",
		why: "an invalid currency is sent",
	},
	{
		name: "purchase/longest-category-off-by-one", file: "purchase.go",
		old: "{\"PurchaseParams.Category\", p.Category, 50, true}",
		new: "{\"PurchaseParams.Category\", p.Category, 51, true}",
		why: "a category that the service refuses is sent",
	},
	{
		name: "purchase/longest-merchant-off-by-one", file: "purchase.go",
		old: "p.MerchantName, 255, false}", new: "p.MerchantName, 254, false}",
		why: "a merchant's name that the service accepts is refused",
	},
	{
		name: "purchase/longest-description-off-by-one", file: "purchase.go",
		old: "p.Description, 2000, false}", new: "p.Description, 2001, false}",
		why: "a description that the service refuses is sent",
	},
	{
		name: "validate/largest-amount-refused", file: "validate.go",
		old: "case maxAmount.Less(a):", new: "case !a.Less(maxAmount):",
		why: "the largest amount that the service accepts is refused",
	},
	{
		name: "validate/three-decimals-accepted", file: "validate.go",
		old: "case a.Decimals() > 2:", new: "case a.Decimals() > 3:",
		why: "the service rounds the amount to be approved",
	},
	{
		name: "validate/free-of-charge-accepted", file: "validate.go",
		old: "case a.Sign() <= 0:", new: "case a.Sign() < 0:",
		why: "a purchase of nothing is sent",
	},
	{
		name: "validate/keys-with-spaces-accepted", file: "validate.go",
		old: "|| strings.TrimSpace(key) != key {", new: "{",
		why: "two keys that differ only in leading or trailing spaces are one to the service",
	},
	{
		name: "validate/longest-key-off-by-one", file: "validate.go",
		old: "if len(key) > longest ||", new: "if len(key) > longest+1 ||",
		why: "a key that is too long for the service is sent",
	},
	{
		name: "request/page-size-off-by-one", file: "request.go",
		old: "p.PageSize > maxPageSize", new: "p.PageSize > maxPageSize+1",
		why: "a page size that the service refuses is sent",
	},

	// post.go
	{
		name: "posting/no-lock-on-the-key", file: "posting.go",
		old: "key := lockKey{c.identity, postLock, p.IdempotencyKey}",
		new: "key := lockKey{c.identity, postLock, fmt.Sprintf(\"%p\", p)}",
		why: "two purchases under one key overlap, and the service makes two requests",
	},
	{
		name: "posting/no-cooldown-after-an-unknown-outcome", file: "posting.go",
		old: "c.unlock(held, key, posting.began, err)", new: "held.Release()",
		why: "a purchase repeated under its key overlaps the lost attempt, and is made twice",
	},
	{
		name: "posting/answers-about-other-purchases-accepted", file: "posting.go",
		old: "how.freshKey && err != nil {", new: "false && how.freshKey && err != nil {",
		why: "an answer about another purchase counts as the approval",
	},
	{
		name: "purchase/answer-in-another-currency", file: "purchase.go",
		old: "case expected.currency != \"\" && expected.currency != strings.ToUpper(purchase.Currency):\n\t\tcontradiction",
		new: "case false:\n\t\tcontradiction",
		why: "an approval in a currency other than the requested one is spent",
	},
	{
		name: "purchase/answer-in-another-category", file: "purchase.go",
		old: "case expected.category != normalCategory(purchase.Category) &&",
		new: "case false && expected.category != normalCategory(purchase.Category) &&",
		why: "an approval in a category other than the requested one is spent",
	},
	{
		name: "purchase/rejections-must-agree", file: "purchase.go",
		old: "case purchase.Status == StatusRejected:\n\t\treturn nil\n", new: "",
		why: "a rejection of a runaway loop, which repeats an earlier answer, is reported as an unknown outcome",
	},
	{
		name: "posting/refusals-certain-although-found", file: "posting.go",
		old: "isConclusive(attempt.last) && po.listIsEmpty(ctx):", new: "isConclusive(attempt.last):",
		why: "a purchase that was made is reported as refused because a later attempt was refused",
	},
	{
		name: "posting/aliases-not-remembered", file: "posting.go",
		old: "c.process.rememberAlias(aliasKey{c.identity, original}, purchase.Category)",
		new: "_ = aliasKey{c.identity, original}",
		why: "a purchase described by an alias is not recognised when it is resumed",
	},
	{
		name: "posting/duplicates-not-looked-up", file: "posting.go",
		old: "if posting.unclear {\n", new: "if false {\n",
		why: "a request that a lost attempt made is never found",
	},
	{
		name: "posting/doubt-forgotten-at-the-next-attempt", file: "posting.go",
		old: "po.unclear = po.unclear || attempt.unclear", new: "po.unclear = attempt.unclear",
		why: "a purchase that may have been made is reported as refused because a later attempt was refused",
	},
	{
		name: "posting/refusals-never-certain", file: "posting.go",
		old: "return e != nil && e.explained && !e.mayHaveTakenEffect() &&",
		new: "return false && e != nil && e.explained && !e.mayHaveTakenEffect() &&",
		why: "a refusal that every attempt would have received is reported as an unknown outcome",
	},
	{
		name: "posting/every-refusal-certain", file: "posting.go",
		old: "(e.Is(ErrInvalid) || e.Is(ErrTooManyPending))",
		new: "(true || e.Is(ErrInvalid) || e.Is(ErrTooManyPending))",
		why: "a refusal of a later attempt, such as of its token, counts as the refusal of the lost one",
	},
	{
		name: "posting/proxies-refusals-certain", file: "posting.go",
		old: "return e != nil && e.explained && !e.mayHaveTakenEffect()",
		new: "return e != nil && !e.mayHaveTakenEffect()",
		why: "a proxy's refusal counts as the service's answer to a lost attempt",
	},
	{
		name: "posting/one-attempt-too-many", file: "posting.go",
		old: "attempt.attempts > po.client.transport.maxRetries",
		new: "attempt.attempts > po.client.transport.maxRetries+1",
		why: "a purchase is posted more often than allowed",
	},
	{
		name: "posting/one-attempt-too-few", file: "posting.go",
		old: "attempt.attempts > po.client.transport.maxRetries",
		new: "attempt.attempts >= po.client.transport.maxRetries",
		why: "a purchase is abandoned before its last attempt",
	},
	{
		name: "apierror/hopeless-attempts-repeated", file: "apierror.go",
		old: "return e.StatusCode != http.StatusNotImplemented && e.StatusCode/100 != 3 && !errors.Is(e, errTooLarge)", new: "return e.StatusCode != http.StatusNotImplemented || e.StatusCode/100 != 3 || !errors.Is(e, errTooLarge)",
		why: "a purchase is sent again although each attempt may make another request and none can be answered",
	},
	{
		name: "posting/no-minimum-pause", file: "posting.go",
		old: "wait := max(settlePause, backoff(n, retryBase, retryCap), attempt.last.retryAfter)",
		new: "wait := max(backoff(n, retryBase, retryCap), attempt.last.retryAfter)",
		why: "the next attempt overlaps the lost one, and the purchase is made twice",
	},
	{
		name: "posting/pause-shorter-than-retry-after", file: "posting.go",
		old: "wait := max(settlePause, backoff(n, retryBase, retryCap), attempt.last.retryAfter)",
		new: "wait := max(settlePause, backoff(n, retryBase, retryCap))",
		why: "the service's Retry-After is not respected",
	},
	{
		name: "posting/pause-not-in-proportion", file: "posting.go",
		old: "wait = max(wait, attempt.lastDuration)", new: "wait = max(wait, 0)",
		why: "the next attempt overlaps one that a slow service is still handling",
	},
	{
		name: "posting/pause-halved", file: "posting.go",
		old: "wait = max(wait, attempt.lastDuration)", new: "wait = max(wait, attempt.lastDuration/2)",
		why: "the next attempt overlaps one that a slow service is still handling",
	},
	{
		name: "posting/no-lookup-before-the-next-attempt", file: "posting.go",
		old: "if ids, _ := po.listedRequests(ctx, \"\"); len(ids) > 0 {\n\t\treturn nil",
		new: "if ids, _ := po.listedRequests(ctx, \"\"); len(ids) > 1000 {\n\t\treturn nil",
		why: "a purchase whose request already exists waits as if it did not",
	},
	{
		name: "posting/no-second-pause", file: "posting.go",
		old: "return pauseWithin(ctx, max(settlePause, attempt.lastDuration))", new: "return nil",
		why: "a service that needs twice as long as an attempt makes two requests",
	},
	{
		name: "posting/second-pause-halved", file: "posting.go",
		old: "return pauseWithin(ctx, max(settlePause, attempt.lastDuration))",
		new: "return pauseWithin(ctx, max(settlePause, attempt.lastDuration)/2)",
		why: "a service that needs almost three times as long as an attempt makes two requests",
	},
	{
		name: "posting/waits-beyond-the-deadline", file: "posting.go",
		old: "if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {",
		new: "if deadline, ok := ctx.Deadline(); false && ok && time.Until(deadline) <= d {",
		why: "a call waits until its deadline although no attempt can follow",
	},
	{
		name: "posting/found-in-doubt-not-reported", file: "posting.go",
		old: "Err:            err,\n\t\tFound:          found,\n\t\talone:          alone,\n\t}",
		new: "Err: err, alone: alone}",
		why: "a caller whose purchase is in doubt does not learn which request may be the purchase",
	},
	{
		name: "posting/lookup-under-the-ended-context", file: "posting.go",
		old: `found, _ := po.listedRequests(context.WithoutCancel(ctx), "")`,
		new: `found, _ := po.listedRequests(ctx, "")`,
		why: "after a cancellation the requests that lost attempts made are not looked up",
	},
	{
		name: "posting/requests-of-other-calls-are-duplicates", file: "posting.go",
		old: "return c.progress(row.RequestID) == unknownHere &&",
		new: "return c.progress(row.RequestID) <= finishedHere &&",
		why: "the error asks the caller to refund another call's purchase",
	},
	{
		name: "posting/rejected-requests-are-duplicates", file: "posting.go",
		old: "!row.Status.Final() &&", new: "row.Status != \"\" &&",
		why: "a request that holds no money is reported as a duplicate",
	},
	{
		name: "posting/other-purchases-are-duplicates", file: "posting.go",
		old: "purchase.mismatch(row.RequestID, contentOfRequest(row)) == nil\n}",
		new: "purchase.amount == row.Amount\n}",
		why: "the error asks the caller to refund another purchase of the same amount",
	},
	{
		name: "posting/older-requests-are-duplicates", file: "posting.go",
		old: "if po.since.taken && !po.since.isBefore(row) {", new: "if false {",
		why: "the error asks the caller to refund an earlier purchase",
	},
	{
		name: "posting/older-requests-are-duplicates-without-a-baseline", file: "posting.go",
		old: "return row.CreatedAt.After(date.Add(-time.Since(po.first) - clockSlack))", new: "return true",
		why: "the error asks the caller to refund an earlier purchase",
	},
	{
		name: "posting/later-requests-are-duplicates", file: "posting.go",
		old: "!date.IsZero() && row.CreatedAt.After(latest) {",
		new: "!date.IsZero() && row.CreatedAt.After(latest) && false {",
		why: "the error asks the caller to refund a later purchase",
	},
	{
		name: "posting/found-without-any-clock", file: "posting.go",
		old: "return po.since.taken\n", new: "return true\n",
		why: "the error asks the caller to refund an earlier purchase because the service sends no date",
	},
	{
		name: "posting/unread-list-shows-nothing", file: "posting.go",
		old: "return ok && len(ids) == 0", new: "return (ok || !ok) && len(ids) == 0",
		why: "a purchase that may have been made is reported as refused because the list could not be read",
	},
	{
		name: "posting/identical-purchases-take-each-other-for-duplicates", file: "posting.go",
		old: "if postings.underWay[content] > 0 {\n\t\treturn false",
		new: "if postings.underWay[content] > 0 {\n\t\treturn true",
		why: "the error asks the caller to refund an identical purchase that is still in progress",
	},
	{
		name: "posting/own-earlier-doubt-counts-as-of-another-call", file: "posting.go",
		old: "return other.key != po.params.IdempotencyKey && !other", new: "return !other",
		why: "a purchase repeated under the key of an unknown outcome never reports its duplicates",
	},
	{
		name: "posting/every-earlier-doubt-counts", file: "posting.go",
		old: "&& !other.first.After(po.latestEnd()) &&\n\t\t\t!other.latest.Before(po.first)", new: "",
		why: "after one unknown outcome the duplicates of identical purchases are never reported again",
	},
	{
		name: "posting/counted-permanently", file: "posting.go",
		old: "po.client.process.postings.add(po.content(), -1)", new: "_ = po.content()",
		why: "after one unclear attempt the duplicates of identical purchases are never reported again",
	},
	{
		name: "posting/unclear-is-not-counted", file: "posting.go",
		old: "po.client.process.postings.add(po.content(), 1)", new: "_ = po.content()",
		why: "the error asks the caller to refund an identical purchase that is still in progress",
	},
	{
		name: "posting/unknown-outcome-is-not-recorded", file: "posting.go",
		old: "po.client.process.postings.addUnknown(po.content(), unknownPosting{\n\t\tpo.params.IdempotencyKey, po.first, po.latestEnd(),\n\t})\n",
		new: "",
		why: "of two identical purchases in doubt, each takes the other's request as its duplicate",
	},
	{
		name: "posting/late-requests-expected-too-short", file: "posting.go",
		old: "po.ended.Add(max(po.ended.Sub(po.began), minLateSpan))",
		new: "po.ended.Add(min(po.ended.Sub(po.began), minLateSpan))",
		why: "a request that a lost attempt makes half a minute later is not found",
	},
	{
		name: "posting/whole-seconds-not-allowed-for", file: "posting.go",
		old: "date.Add(-time.Since(po.first) - clockSlack)", new: "date.Add(-time.Since(po.first) + clockSlack)",
		why: "a duplicate made at once is not found because the service's date has whole seconds",
	},

	// content.go
	{
		name: "content/texts-not-trimmed", file: "content.go",
		old: "merchant:    trimText(p.MerchantName),\n\t\tdescription: trimText(p.Description),",
		new: "merchant:    p.MerchantName,\n\t\tdescription: p.Description,",
		why: "a repetition with an extra space is another purchase, or a mismatch with the text trimmed by the service",
	},
	{
		name: "content/invisible-characters-kept", file: "content.go",
		old: "return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf)", new: "return unicode.IsSpace(r)",
		why: "a category that differs in an invisible character is another one",
	},
	{
		name: "content/trimmed-at-neither-end", file: "content.go",
		old: "plain(text[0]) && plain(text[len(text)-1])", new: "(plain(text[0]) || plain(text[len(text)-1]))",
		why: "a text with a space at one end only is another one",
	},
	{
		name: "category/case-of-categories-matters", file: "category.go",
		old: "Replace(strings.ToLower(trimText(name)))", new: "Replace(trimText(name))",
		why: "a category that differs in case is another one, although the service ignores case",
	},
	{
		name: "category/dashes-in-categories-matter", file: "category.go",
		old: "strings.NewReplacer(\" \", \"_\", \"-\", \"_\")", new: "strings.NewReplacer(\" \", \"_\")",
		why: "a category written with a dash is another one, although the service accepts both forms",
	},
	{
		name: "content/amounts-not-compared", file: "content.go",
		old: "case described.amount != requested.amount:", new: "case false:",
		why: "a purchase of another amount counts as the same",
	},
	{
		name: "content/currencies-not-compared", file: "content.go",
		old: "case described.currency != \"\" && requested.currency != \"\" && described.currency != requested.currency:",
		new: "case false:",
		why: "a purchase in another currency counts as the same",
	},
	{
		name: "content/omitted-currency-is-another", file: "content.go",
		old: "case described.currency != \"\" && requested.currency != \"\" && described.currency != requested.currency:",
		new: "case described.currency != requested.currency:",
		why: "a purchase that omits the account's currency counts as another one",
	},
	{
		name: "content/merchants-not-compared", file: "content.go",
		old: "case described.merchant != requested.merchant:", new: "case false:",
		why: "a purchase from another merchant counts as the same",
	},
	{
		name: "content/descriptions-not-compared", file: "content.go",
		old: "case described.description != requested.description:", new: "case false:",
		why: "a purchase with another description counts as the same",
	},
	{
		name: "category/requested-name-forgotten", file: "category.go",
		old: "if requested != \"\" && normalCategory(requested) == name {", new: "if requested != requested {",
		why: "a repetition under the alias of the first request is a mismatch",
	},
	{
		name: "category/categories-of-the-account-not-distinguished", file: "category.go",
		old: "if slices.Contains(names, name) {\n\t\treturn otherNames, nil",
		new: "if slices.Contains(names, name) {\n\t\treturn notSame, nil",
		why: "two purchases of a scope in two categories are refused instead of distinguished",
	},
	{
		name: "category/aliases-not-recognised", file: "category.go",
		old: "if isAlias && known == category ||", new: "if false && known == category ||",
		why: "a resumed purchase described by an alias is a mismatch",
	},
	{
		name: "category/any-alias-recognised", file: "category.go",
		old: "if isAlias && known == category ||", new: "if isAlias && known != \"\" ||",
		why: "an alias counts as every category",
	},
	{
		name: "category/unknown-names-not-recognised", file: "category.go",
		old: "!isAlias && len(requestedAs) == 0 && category == \"other\"", new: "false",
		why: "a resumed purchase under a name unknown to the account is a mismatch",
	},
	{
		name: "category/aliases-counted-as-unknown-names", file: "category.go",
		old: "!isAlias && len(requestedAs) == 0 && category == \"other\"",
		new: "len(requestedAs) == 0 && category == \"other\"",
		why: "an alias of another category counts as the category other",
	},
	{
		name: "category/unknown-names-are-all-the-same", file: "category.go",
		old: "!isAlias && len(requestedAs) == 0 && category == \"other\"", new: "!isAlias && category == \"other\"",
		why: "a purchase requested under another unknown name counts as the same",
	},

	// scope.go
	{
		name: "scope/key-ignores-the-scope", file: "scope.go",
		old: "scope.name, \"content\", content.amount", new: "\"\", \"content\", content.amount",
		why: "identical purchases of two scopes count as one",
	},
	{
		name: "scope/key-ignores-the-amount", file: "scope.go",
		old: "content.amount.String(), content.merchant, content.description}",
		new: "\"\", content.merchant, content.description}",
		why: "purchases of two amounts in one scope share a key, and the second is refused",
	},
	{
		name: "scope/key-ignores-the-merchant", file: "scope.go",
		old: "content.amount.String(), content.merchant, content.description}",
		new: "content.amount.String(), \"\", content.description}",
		why: "purchases from two merchants in one scope share a key, and the second is refused",
	},
	{
		name: "scope/key-ignores-the-description", file: "scope.go",
		old: "content.amount.String(), content.merchant, content.description}",
		new: "content.amount.String(), content.merchant, \"\"}",
		why: "purchases of two things in one scope share a key, and the second is refused",
	},
	{
		name: "digest/parts-concatenated", file: "digest.go",
		old: "digest.Write(length[:])\n", new: "",
		why: "a merchant and a description that are the same when concatenated count as one purchase",
	},
	{
		name: "scope/ref-ignores-the-scope", file: "scope.go",
		old: "scope.name, \"ref\", p.Ref}", new: "\"\", \"ref\", p.Ref}",
		why: "purchases of two scopes under one Ref count as one",
	},
	{
		name: "scope/ref-treated-as-content", file: "scope.go",
		old: "if p.Ref != \"\" {\n\t\tparts", new: "if false {\n\t\tparts",
		why: "two identical purchases that differ in their Ref count as one",
	},
	{
		name: "scope/ref-without-a-scope-ignored", file: "scope.go",
		old: "if p.Ref != \"\" {\n\t\t\treturn nil, paramError", new: "if false {\n\t\t\treturn nil, paramError",
		why: "a Ref that has no effect is not reported",
	},
	{
		name: "scope/named-by-ref-is-counted", file: "scope.go",
		old: "named:    p.Ref != \"\",", new: "",
		why: "in a run, the same Ref names a second purchase after a success",
	},
	{
		name: "scope/nameless-scope-accepted", file: "scope.go",
		old: "if scope.name == \"\" {", new: "if false {",
		why: "all units of work without a name share one scope",
	},
	{
		name: "scope/agents-not-distinguished", file: "scope.go",
		old: "content:  scopedContent{c.identity, digestOf(parts...)}",
		new: "content:  scopedContent{\"\", digestOf(parts...)}",
		why: "in a run, one agent's purchase counts as another agent's",
	},
	{
		name: "scope/ordinals-share-a-key", file: "scope.go",
		old: "binary.BigEndian.PutUint64(count[:], uint64(n))",
		new: "binary.BigEndian.PutUint64(count[:], uint64(min(n, 0)))",
		why: "two identical purchases of a run count as one",
	},
	{
		name: "scope/run-does-not-count", file: "scope.go",
		old: "&purchaseScope{name: name, run: true}", new: "&purchaseScope{name: name}",
		why: "two identical purchases of a run count as one",
	},
	{
		name: "scope/counts-without-a-run", file: "scope.go",
		old: "&purchaseScope{name: scope})", new: "&purchaseScope{name: scope, run: true})",
		why: "a repetition in a scope placed around the retry loop makes another purchase",
	},
	{
		name: "scope/run-without-a-scope-accepted", file: "scope.go",
		old: "name := \"\"\n\tif scope, ok", new: "name := \"run\"\n\tif scope, ok",
		why: "the runs of all units of work share one scope",
	},
	{
		name: "scope/closed-ordinal-taken", file: "scope.go",
		old: "case o.usedUp, sp.skipped[n]:", new: "case sp.skipped[n]:",
		why: "a completed purchase of a run is returned for the next identical one",
	},
	{
		name: "scope/closed-by-an-error", file: "scope.go",
		old: "o.usedUp = o.usedUp || ended || bought && sp.scope.run && !sp.named",
		new: "o.usedUp = o.usedUp || ended || sp.scope.run && !sp.named",
		why: "an error uses up a purchase, and its repetition makes another one",
	},
	{
		name: "scope/closed-without-a-run", file: "scope.go",
		old: "o.usedUp = o.usedUp || ended || bought && sp.scope.run && !sp.named",
		new: "o.usedUp = o.usedUp || ended || bought",
		why: "without a run, repeating a completed purchase makes another one",
	},
	{
		name: "scope/never-closed-by-an-end", file: "scope.go",
		old: "o.usedUp = o.usedUp || ended || bought && sp.scope.run && !sp.named",
		new: "o.usedUp = o.usedUp || bought && sp.scope.run && !sp.named",
		why: "a failed purchase is requested under its used key indefinitely",
	},
	{
		name: "scope/concurrent-purchases-of-a-run-are-one", file: "scope.go",
		old: "case sp.scope.run && !sp.named && o.calls > 0: // at the same time, it is another purchase\n",
		new: "case false:\n",
		why: "concurrent identical purchases in a run make only one",
	},
	{
		name: "scope/does-not-wait-for-the-category", file: "scope.go",
		old: "case !known && o.calls > 0 && !isClosed(o.answered):", new: "case false:",
		why: "the keys of purchases in two categories depend on which call is faster",
	},
	{
		name: "scope/waits-for-the-category-without-limit", file: "scope.go",
		old: "case <-timer.C:\n\t\treturn &APIError{Op: operation.Guard, Err: ErrInProgress, waiting: true}\n", new: "",
		why: "a call hangs as long as another one of its scope",
	},
	{
		name: "scope/wait-ignores-the-context", file: "scope.go",
		old: "case <-ctx.Done():\n\t\treturn &APIError{Op: operation.Guard, Err: ctx.Err(), waiting: true}\n", new: "",
		why: "a cancelled call waits for another one of its scope",
	},
	{
		name: "scope/unanswered-name-kept", file: "scope.go",
		old: "o.names, o.answered = nil, nil\n", new: "",
		why: "a purchase without an answer blocks its number for other categories",
	},
	{
		name: "scope/one-identical-purchase-too-many", file: "scope.go",
		old: "maxOrdinals  = 64 ", new: "maxOrdinals = 65 ",
		why: "more identical purchases are allowed than documented",
	},
	{
		name: "scope/category-decided-before-the-response", file: "scope.go",
		old: "if relation != otherNames { // only the response",
		new: "if relation == sameCategory { // only the response",
		why: "a repetition under a name of unknown category makes another purchase",
	},
	{
		name: "scope/takes-a-skipped-ordinal", file: "scope.go",
		old: "case o.usedUp, sp.skipped[n]:", new: "case o.usedUp:",
		why: "a purchase alternates between keys that belong to other purchases",
	},
	{
		name: "scope/ref-continues-in-another-category", file: "scope.go",
		old: "|| sp.named && !reason.ended {", new: "{",
		why: "one Ref in two categories makes two purchases instead of a mismatch",
	},
	{
		name: "scope/another-purchase-holds-the-key", file: "scope.go",
		old: "if !sp.named && !slices.Contains(names, sp.category) && !sp.released {", new: "if false {",
		why: "a purchase answered with another category blocks the key for the purchase that it belongs to",
	},
	{
		name: "scope/another-purchase-counted-twice", file: "scope.go",
		old: "if !sp.released {\n\t\to.calls--", new: "if true {\n\t\to.calls--",
		why: "a finished call makes another one in progress count as finished as well",
	},
	{
		name: "scope/caller-key-overruled", file: "scope.go",
		old: "if !ok || p.IdempotencyKey != \"\" {", new: "if !ok {",
		why: "a caller's own key is replaced by the scope's",
	},

	// confirm.go
	{
		name: "confirm/no-lock-on-the-request", file: "confirm.go",
		old: "key, began := lockKey{c.service, confirmLock, requestID}, time.Now()",
		new: "key, began := lockKey{c.service, confirmLock, fmt.Sprintf(\"%p\", &p)}, time.Now()",
		why: "two confirmations of one request overlap, and two refunds return the money twice",
	},
	{
		name: "confirm/lock-by-token", file: "confirm.go",
		old: "lockKey{c.service, confirmLock, requestID}", new: "lockKey{c.identity, confirmLock, requestID}",
		why: "clients of two tokens of one agent confirm one request at the same time",
	},
	{
		name: "confirm/no-cooldown-after-an-unknown-outcome", file: "confirm.go",
		old: "defer func() { c.unlock(held, key, began, err) }()", new: "_ = began\n\tdefer held.Release()",
		why: "a confirmation repeated after a lost one overlaps it",
	},
	{
		name: "confirm/end-is-not-remembered", file: "confirm.go",
		old: "c.process.rememberFinished(c.requestKey(requestID))\n", new: "_ = requestID\n",
		why: "a request that the service reports as ended counts as running, and memory grows",
	},
	{
		name: "confirm/any-conflict-is-an-end", file: "confirm.go",
		old: "errors.Is(err, ErrConflict) && c.progress(requestID) == startedHere {",
		new: "errors.Is(err, ErrConflict) {",
		why: "a confirmation of a request that is still pending makes it one that never runs",
	},
	{
		name: "confirm/doubt-without-a-read", file: "confirm.go",
		old: "if cf.mayHaveConfirmed || onlyRead {", new: "if onlyRead {",
		why: "a confirmation that may have arrived is sent again without a read first",
	},
	{
		name: "confirm/second-refund-overlaps-the-first", file: "confirm.go",
		old: "onlyRead := refund && cf.client.process.coolingDown(key)", new: "onlyRead := refund && false",
		why: "a refund is sent again while the service may still handle the first, and returns the money twice",
	},
	{
		name: "confirm/successes-are-only-read-too", file: "confirm.go",
		old: "onlyRead := refund && cf.client.process.coolingDown(key)",
		new: "_ = refund\n\tonlyRead := cf.client.process.coolingDown(key)",
		why: "for a minute a purchase cannot be confirmed as completed",
	},
	{
		name: "confirm/any-end-is-success", file: "confirm.go", nth: 1,
		old: "case read.Status == cf.params.status():", new: "case read.Status.Final():",
		why: "a refund is reported as made although the request is completed",
	},
	{
		name: "confirm/any-end-is-success-after-a-lost-answer", file: "confirm.go", nth: 2,
		old: "case read.Status == cf.params.status():", new: "case read.Status.Final():",
		why: "a refund is reported as made although the request is completed",
	},
	{
		name: "confirm/unclear-refund-sent-again", file: "confirm.go",
		old: "if attempt.unclear && refund && attempt.last.fate() == mayStillRun {", new: "if false {",
		why: "a refund is sent again while the service may still handle the first, and returns the money twice",
	},
	{
		name: "confirm/unclear-success-only-read", file: "confirm.go",
		old: "if attempt.unclear && refund && attempt.last.fate() == mayStillRun {",
		new: "if attempt.unclear && attempt.last.fate() == mayStillRun {",
		why: "a confirmation of a success that never arrived is not sent again",
	},
	{
		name: "confirm/refused-refund-only-read", file: "confirm.go",
		old: "if attempt.unclear && refund && attempt.last.fate() == mayStillRun {",
		new: "if attempt.unclear && refund {",
		why: "a refund that the service answered with an error of its own is not sent again",
	},
	{
		name: "confirm/unclear-refund-not-remembered", file: "confirm.go",
		old: "cf.client.process.coolDownRefund(key, attempt.lastDuration)\n", new: "",
		why: "the next call sends a refund while an earlier one may still be handled",
	},
	{
		name: "confirm/conflict-after-doubt-is-final", file: "confirm.go",
		old: "case attempt.unclear, cf.mayHaveConfirmed && errors.Is(err, ErrConflict):", new: "case attempt.unclear:",
		why: "a confirmation that arrived at the first attempt is reported as a conflict after the second",
	},
	{
		name: "confirm/refusal-after-doubt-is-final", file: "confirm.go",
		old: "case unclear: // an earlier attempt may have taken effect", new: "case false:",
		why: "a confirmation that may have arrived at the first attempt is reported as refused after the second",
	},
	{
		name: "confirm/no-pause-before-the-read", file: "confirm.go",
		old: "if fullPause, cancelled = pauseWithinHalf(ctx, n, attempt.lastDuration); cancelled != nil {",
		new: "if fullPause, cancelled = true, ctx.Err(); cancelled != nil {",
		why: "the read precedes the end of the lost attempt, and the next attempt overlaps it",
	},
	{
		name: "retry/pause-not-in-proportion", file: "retry.go",
		old: "wait, full := max(settlePause, backoff(n, retryBase, retryCap), lasted), true",
		new: "wait, full := max(settlePause, backoff(n, retryBase, retryCap)), true",
		why: "the next attempt overlaps one that a slow service is still handling",
	},
	{
		name: "retry/pause-takes-all-the-time", file: "retry.go",
		old: "if half := time.Until(deadline) / 2; half < wait {",
		new: "if half := time.Until(deadline); half < wait {",
		why: "no time is left for the read that may show that the confirmation arrived",
	},
	{
		name: "confirm/sent-again-after-half-a-pause", file: "confirm.go", nth: 1,
		old: "if !fullPause || n >= cf.client.transport.maxRetries {",
		new: "_ = fullPause\n\t\tif n >= cf.client.transport.maxRetries {",
		why: "the next attempt overlaps one that the service is still handling",
	},
	{
		name: "confirm/one-attempt-too-many", file: "confirm.go", nth: 1,
		old: "n >= cf.client.transport.maxRetries {", new: "n > cf.client.transport.maxRetries {",
		why: "a confirmation is sent more often than allowed",
	},
	{
		name: "confirm/one-attempt-too-few", file: "confirm.go", nth: 1,
		old: "n >= cf.client.transport.maxRetries {", new: "n+1 >= cf.client.transport.maxRetries {",
		why: "a confirmation is abandoned before its last attempt",
	},
	{
		name: "confirm/refund-read-once", file: "confirm.go", nth: 2,
		old: "if !fullPause || n >= cf.client.transport.maxRetries {", new: "if fullPause || !fullPause {",
		why: "a refund that takes long is reported as an unknown outcome",
	},
	{
		name: "confirm/unclear-counts-as-done", file: "confirm.go",
		old: "case readErr != nil:\n\t\treturn nil, false, cf.outcomeUnknown(",
		new: "case readErr != nil && false:\n\t\treturn nil, false, cf.outcomeUnknown(",
		why: "a failed read counts as the state of the request",
	},
	{
		name: "confirm/all-attempts-without-a-limit", file: "confirm.go",
		old: "if n == 0 && cf.totalLimit > 0 {", new: "if n == 0 && cf.totalLimit < 0 {",
		why: "a guarded call whose confirmation fails returns only after minutes",
	},
	{
		name: "confirm/waits-for-others-without-a-limit", file: "confirm.go",
		old: "held, err := c.lock(ctx, operation.Confirm, key, o.totalLimit)",
		new: "held, err := c.lock(ctx, operation.Confirm, key, 0)",
		why: "a guarded call waits indefinitely for another confirmation that hangs",
	},
	{
		name: "confirm/attempts-without-a-limit", file: "confirm.go",
		old: "if cf.attemptLimit == 0 {", new: "if cf.attemptLimit >= 0 {",
		why: "an attempt that hangs leaves no time for another one",
	},
	{
		name: "confirm/answer-about-another-request", file: "confirm.go",
		old: "if canonicalID(body.RequestID) != cf.requestID || Status(body.Status) != cf.params.status() {",
		new: "if Status(body.Status) != cf.params.status() {",
		why: "the confirmation of another request counts as this one's",
	},
	{
		name: "confirm/answer-of-another-outcome", file: "confirm.go",
		old: "if canonicalID(body.RequestID) != cf.requestID || Status(body.Status) != cf.params.status() {",
		new: "if canonicalID(body.RequestID) != cf.requestID {",
		why: "a confirmation as failed counts as one as completed",
	},
	{
		name: "confirm/actual-amount-not-sent", file: "confirm.go",
		old: "body.ActualAmount = &p.ActualAmount", new: "_ = &p.ActualAmount",
		why: "the amount paid is not sent",
	},
	{
		name: "confirm/amount-of-a-failure-accepted", file: "confirm.go",
		old: "if !p.Success {\n\t\t\treason := \"want zero when Success is false",
		new: "if false {\n\t\t\treason := \"want zero when Success is false",
		why: "a failed purchase is sent with an amount paid",
	},
	{
		name: "confirm/longest-receipt-off-by-one", file: "confirm.go",
		old: "p.ReceiptURL, 2000)", new: "p.ReceiptURL, 2001)",
		why: "a receipt that the service refuses is sent",
	},
	{
		name: "confirm/contradictions-are-conflicts", file: "confirm.go",
		old: "case !attempt.unclear && read.Status.Approved():", new: "case false:",
		why: "a confirmation that may still be handled counts as refused",
	},
	{
		name: "confirm/limit-not-for-the-first-attempt", file: "confirm.go",
		old: "if cf.totalLimit > 0 {\n\t\tlimit = min(", new: "if false {\n\t\tlimit = min(",
		why: "Settle takes longer than documented",
	},
	{
		name: "confirm/sent-without-the-record", file: "confirm.go",
		old: "if err := cf.beforeSend(); err != nil {\n\t\t\treturn nil, err",
		new: "if err := cf.beforeSend(); false {\n\t\t\treturn nil, err",
		why: "a refund is sent that another process does not know about",
	},
}
