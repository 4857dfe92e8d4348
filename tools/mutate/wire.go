package main

// wireMutants cover HTTP, the required content of answers, the text of errors, and waiting for a decision.
var wireMutants = []mutant{
	// transport.go
	{
		name: "transport/purchase-resent-by-nethttp", file: "transport.go",
		old: "request.GetBody = nil // SetBody sets it\n", new: "",
		why: "net/http resends a purchase at once when a kept-alive connection turns out to be closed",
	},
	{
		name: "transport/users-timeout-ignored", file: "transport.go",
		old: "limits: attemptLimits{limit: cmp.Or(max(httpClient.Timeout, 0), defaultAttemptTimeout)}", new: "limits: attemptLimits{limit: cmp.Or(0*httpClient.Timeout, defaultAttemptTimeout)}",
		why: "the time limit that the user's client sets for an attempt has no effect",
	},
	{
		name: "transport/timeout-bounds-all-attempts", file: "transport.go",
		old: "httpClient.Timeout = 0\n", new: "",
		why: "an attempt that takes too long cannot be distinguished from a context that has ended",
	},
	{
		name: "transport/x402-under-the-wrong-path", file: "transport.go",
		old: "strings.TrimSuffix(base.Path, agentPrefix) + x402Prefix", new: "base.Path + x402Prefix",
		why: "x402 calls go to a path that does not exist",
	},
	{
		name: "transport/sent-under-the-ended-context", file: "transport.go",
		old: "if err := ctx.Err(); err != nil {\n\t\tc.last", new: "if err := ctx.Err(); false {\n\t\tc.last",
		why: "a call whose context has ended is in doubt although nothing was sent",
	},
	{
		name: "response/answers-of-any-size-read", file: "response.go",
		old: "case len(data) > maxResponseBytes:", new: "case len(data) > 1000*maxResponseBytes:",
		why: "an endless answer exhausts the memory",
	},
	{
		name: "response/largest-answer-refused", file: "response.go",
		old: "case len(data) > maxResponseBytes:", new: "case len(data) >= maxResponseBytes:",
		why: "an answer of exactly the maximum size is refused",
	},
	{
		name: "response/any-media-type-is-json", file: "response.go",
		old: "return err == nil && (mediaType == \"application/json\"",
		new: "return err == nil || (mediaType == \"application/json\"",
		why: "a proxy's page is decoded as an answer",
	},
	{
		name: "response/parameters-of-the-media-type-refused", file: "response.go",
		old: "mediaType, _, err := mime.ParseMediaType(contentType)",
		new: "mediaType, _, err := mime.ParseMediaType(contentType)\n\tmediaType = contentType",
		why: "an answer that specifies its charset is refused",
	},
	{
		name: "response/cut-off-answers-accepted", file: "response.go",
		old: "if err == nil && response.StatusCode/100 == 2 && isJSON(response.Header) {", new: "if response.StatusCode/100 == 2 && isJSON(response.Header) {",
		why: "a truncated answer is accepted",
	},
	{
		name: "response/bad-answers-are-clear", file: "response.go",
		old: "failure.malformed = true\n", new: "",
		why: "a purchase that receives an invalid answer is not in doubt, and not looked up",
	},
	{
		name: "response/refusals-not-explained", file: "response.go",
		old: `failure.explained = failure.Detail != ""`, new: "failure.explained = false",
		why: "the service's own refusal of a lost attempt is not accepted",
	},
	{
		name: "response/problem-details-explain", file: "response.go",
		old: "failure.Detail != \"\" && !isProblem(response.Header)", new: "failure.Detail != \"\"",
		why: "a gateway's explanation counts as the service's answer, and the next attempt overlaps the first",
	},
	{
		name: "response/refusals-shown-as-they-are", file: "response.go",
		old: "failure.Detail = cl.transport.cleaned(failure.Detail, longText)\n", new: "",
		why: "an echoed token and control characters appear in errors and logs",
	},
	{
		name: "response/samples-shown-as-they-are", file: "response.go",
		old: "text = t.cleaned(strings.Join(strings.Fields(text), \" \"), sampleText)",
		new: "text = strings.Join(strings.Fields(text), \" \")",
		why: "an echoed token and a page of any length appear in errors and logs",
	},
	{
		name: "response/fields-shown-as-they-are", file: "response.go",
		old: "Message: cl.transport.cleaned(item.Msg, sampleText),", new: "Message: item.Msg,",
		why: "a token that the service repeats in a refused field appears in errors and logs",
	},
	{
		name: "response/any-number-of-fields", file: "response.go",
		old: "if len(items) > maxFields {", new: "if len(items) > 100*maxFields {",
		why: "an error's text has no limit",
	},
	{
		name: "response/fields-named-with-the-body", file: "response.go",
		old: "if i > 0 || part != \"body\" {", new: "if i >= 0 || part != \"body\" {",
		why: "the path of a refused field starts with a word that the caller did not use",
	},
	{
		name: "response/retry-after-without-limit", file: "response.go",
		old: "min(max(seconds, 0), int64(retryAfterCap/time.Second))", new: "max(seconds, 0)",
		why: "a service can make a call wait for days",
	},
	{
		name: "response/retry-after-dates-ignored", file: "response.go",
		old: "return min(max(at.Sub(now), 0), retryAfterCap)", new: "return 0 * at.Sub(now)",
		why: "a Retry-After that holds a date is not respected",
	},
	{
		name: "retry/repeats-once-more", file: "retry.go",
		old: "cl.attempts > cl.transport.maxRetries ||", new: "cl.attempts > cl.transport.maxRetries+1 ||",
		why: "a call is sent more often than allowed",
	},
	{
		name: "retry/repeats-once-less", file: "retry.go",
		old: "cl.attempts > cl.transport.maxRetries ||", new: "cl.attempts >= cl.transport.maxRetries ||",
		why: "a call is abandoned before its last attempt",
	},
	{
		name: "retry/repeats-beyond-the-deadline", file: "retry.go",
		old: "if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= cl.wait {",
		new: "if deadline, ok := ctx.Deadline(); false && ok && time.Until(deadline) <= cl.wait {",
		why: "a call waits until its deadline although no attempt can follow",
	},
	{
		name: "retry/failed-dials-are-unclear", file: "retry.go",
		old: "return e.Op == \"dial\" || e.Op == \"proxyconnect\"", new: "return e.Op == \"proxyconnect\"",
		why: "a purchase that was never sent is in doubt",
	},
	{
		name: "retry/untrusted-servers-called-again", file: "retry.go",
		old: "untrusted: unsent && isUntrusted(err)", new: "untrusted: false",
		why: "a server with an invalid certificate is called again and again",
	},
	{
		name: "retry/untrusted-servers-may-have-acted", file: "retry.go",
		old: "case *net.DNSError, *tls.CertificateVerificationError:\n\t\treturn true",
		new: "case *net.DNSError:\n\t\treturn true",
		why: "a purchase that an invalid certificate kept from being sent is in doubt",
	},
	{
		name: "retry/failed-proxy-connections-are-unclear", file: "retry.go",
		old: "return e.Op == \"dial\" || e.Op == \"proxyconnect\"", new: "return e.Op == \"dial\"",
		why: "a payment that never left the proxy stays booked",
	},
	{
		name: "retry/unknown-hosts-are-unclear", file: "retry.go",
		old: "case *net.DNSError, *tls.CertificateVerificationError:\n\t\treturn true",
		new: "case *tls.CertificateVerificationError:\n\t\treturn true",
		why: "a payment to a host that does not exist stays booked",
	},
	{
		name: "retry/one-attempt-decides-for-all", file: "retry.go",
		old: "return len(errs) > 0 && !slices.ContainsFunc(errs, func(err error) bool { return !neverSent(err) })",
		new: "return slices.ContainsFunc(errs, neverSent)",
		why: "a possible payment of one attempt is refunded because another attempt failed",
	},
	{
		name: "transport/ids-in-paths-shown-as-they-are", file: "transport.go",
		old: "return redact(cl.transport.token.reveal(), cl.request.URL.Path)", new: "return cl.request.URL.Path",
		why: "a token in place of an id appears in errors and logs",
	},
	{
		name: "apierror/redirected-writes-are-clear", file: "apierror.go",
		old: "return e.Method != http.MethodGet\n", new: "return false\n",
		why: "a purchase answered with a redirect is not in doubt, although it may have been accepted",
	},
	{
		name: "apierror/server-errors-are-clear", file: "apierror.go",
		old: "e.StatusCode == 0 || e.StatusCode >= 500 ||", new: "e.StatusCode == 0 ||",
		why: "a purchase answered with a 504 is not in doubt",
	},
	{
		name: "apierror/lost-answers-are-clear", file: "apierror.go",
		old: "e.StatusCode == 0 || e.StatusCode >= 500 ||", new: "e.StatusCode >= 500 ||",
		why: "a purchase whose answer was lost is not in doubt",
	},
	{
		name: "apierror/request-timeouts-are-clear", file: "apierror.go",
		old: "|| e.StatusCode == http.StatusRequestTimeout || e.malformed", new: "|| e.malformed",
		why: "a purchase answered with a 408 is not in doubt",
	},
	{
		name: "retry/hopeless-reads-repeated", file: "retry.go",
		old: "cl.request.Method == http.MethodGet && cl.last.isRetryable()", new: "cl.request.Method == http.MethodGet",
		why: "a call that the service does not support is sent again and again",
	},
	{
		name: "retry/unclear-writes-repeated", file: "retry.go",
		old: "cl.request.Method == http.MethodGet && cl.last.isRetryable()", new: "cl.last.isRetryable()",
		why: "a confirmation or a purchase that may have taken effect is sent again at once",
	},
	{
		name: "retry/rate-limits-are-final", file: "retry.go",
		old: "return cl.last.Is(ErrRateLimited)", new: "return false",
		why: "a rate-limited call fails instead of waiting",
	},
	{
		name: "retry/refusals-repeated", file: "retry.go",
		old: "return cl.last.Is(ErrRateLimited)", new: "return true",
		why: "a refused call is sent again and again",
	},
	{
		name: "retry/short-waits-at-the-rate-limit", file: "retry.go",
		old: "wait = backoff(cl.attempts-1, rateLimitBase, rateLimitCap)", new: "_ = rateLimitBase + rateLimitCap",
		why: "all attempts are over before the service's rate-limit window ends",
	},
	{
		name: "retry/waits-less-than-retry-after", file: "retry.go",
		old: "return max(wait, cl.last.retryAfter)", new: "return wait",
		why: "the service's Retry-After is not respected",
	},
	{
		name: "retry/waits-do-not-grow", file: "retry.go",
		old: "full = min(base<<n, limit)", new: "full = min(base, limit)",
		why: "an overloaded service is called at a constant rate",
	},
	{
		name: "retry/waits-grow-without-limit", file: "retry.go",
		old: "full = min(base<<n, limit)", new: "full = base << n",
		why: "a call waits for hours",
	},
	{
		name: "log/logs-shown-as-they-are", file: "log.go",
		old: "attributes[i].Value = slog.StringValue(t.cleaned(attribute.Value.String(), loggedText))", new: "_ = i",
		why: "a token in an error's text appears in the log",
	},
	{
		name: "log/panicking-loggers-break-calls", file: "log.go",
		old: "_, err := runContained(logLimit, func() (struct{}, error) {\n\t\tdo(t.logger)\n\t\treturn struct{}{}, nil\n\t})",
		new: "var err error\n\tdo(t.logger)",
		why: "a logger that panics or hangs breaks a purchase",
	},
	{
		name: "log/hanging-loggers-called-again", file: "log.go",
		old: "t.loggerPausedUntil.Store(time.Now().Add(time.Minute).UnixNano())", new: "_ = t.loggerPausedUntil.Load()",
		why: "a logger that hangs slows down each step of a purchase",
	},
	{
		name: "transport/token-sent-to-other-hosts", file: "transport.go",
		old: "sameOrigin := request.URL.Host == first.URL.Host && ", new: "sameOrigin := ",
		why: "a redirect sends the token to another host",
	},
	{
		name: "transport/token-sent-in-the-clear", file: "transport.go",
		old: " && request.URL.Scheme == first.URL.Scheme\n", new: "\n",
		why: "a redirect from https to http exposes the token to the network",
	},
	{
		name: "transport/writes-follow-redirects", file: "transport.go",
		old: "if first.Method != http.MethodGet ||", new: "if",
		why: "a redirected purchase turns into a read, and its answer is accepted",
	},
	{
		name: "transport/one-redirect-more", file: "transport.go",
		old: "len(via) > maxRedirects {", new: "len(via) > maxRedirects+1 {",
		why: "more redirects are followed than documented",
	},
	{
		name: "transport/users-redirect-policy-ignored", file: "transport.go",
		old: "return next(request, via)", new: "_ = next",
		why: "a user's client follows redirects that the user forbids",
	},
	{
		name: "attemptlimits/never-set", file: "attemptlimits.go",
		old: "if left := l.fires.Sub(now); l.fires.IsZero() || left <= 0 || left > l.limit {",
		new: "if left := l.fires.Sub(now); left > l.limit {",
		why: "a service that hangs blocks a call indefinitely",
	},
	{
		name: "attemptlimits/late-timers-end-nothing", file: "attemptlimits.go",
		old: "now.Sub(a.deadline) < otherClock", new: "now.Sub(a.deadline) <= 2*l.limit",
		why: "in a process that was stopped for a while, a call that hangs is never ended",
	},
	{
		name: "attemptlimits/set-once", file: "attemptlimits.go",
		old: "a = next\n\t}\n\tl.set(now)\n", new: "a = next\n\t}\n",
		why: "an attempt that began after the one for which the timer was set has no limit",
	},
	{
		name: "attemptlimits/clocks-not-distinguished", file: "attemptlimits.go",
		old: "|| left > l.limit {", new: "{",
		why: "a client that was used outside of a synctest bubble has no limits in it",
	},
	{
		name: "attemptlimits/newest-first", file: "attemptlimits.go",
		old: "a.deadline.Before(l.fires)", new: "a.deadline.After(l.fires)",
		why: "an attempt is ended after its limit",
	},
	{
		name: "attemptlimits/ended-attempts-kept", file: "attemptlimits.go",
		old: "l.mu.Lock()\n\tl.remove(a)\n", new: "l.mu.Lock()\n",
		why: "each call leaves memory behind until a timer fires",
	},
	{
		name: "attemptlimits/contexts-kept", file: "attemptlimits.go",
		old: "a.cancel(nil)\n", new: "",
		why: "each call leaves a context behind under the caller's",
	},
	{
		name: "attemptlimits/deadline-not-shown", file: "attemptlimits.go",
		old: "return c.deadline, true", new: "return c.Context.Deadline()",
		why: "a transport does not learn when an attempt ends",
	},
	{
		name: "attempt/attempts-without-a-limit", file: "attempt.go",
		old: "request = request.WithContext(at.limits.start(a.caller, a))", new: "request = request.WithContext(a.caller)",
		why: "a service that hangs blocks a call indefinitely",
	},
	{
		name: "attempt/attempt-timeout-ends-the-context", file: "attempt.go",
		old: "return &attemptTimeoutError{la.limits.limit}", new: "return err",
		why: "an attempt that takes too long looks as if the caller's context had ended",
	},
	{
		name: "attempt/stalled-bodies-end-the-context", file: "attempt.go",
		old: "err != nil && err != io.EOF {\n\t\terr = la.explainTimeout(err)",
		new: "err != nil && err == io.ErrNoProgress {\n\t\terr = la.explainTimeout(err)",
		why: "an answer that stalls looks as if the caller's context had ended",
	},
	{
		name: "attempt/limit-ends-with-the-head", file: "attempt.go",
		old: "a.body, response.Body = response.Body, a\n", new: "a.end()\n\ta.body, response.Body = response.Body, a\n",
		why: "each answer is truncated after its header",
	},
	{
		name: "attempt/panicking-transports-break-calls", file: "attempt.go",
		old: "defer panicAsError(\"the transport\", &err)\n", new: "",
		why: "a transport that panics leaves a purchase without a reported outcome",
	},
	{
		name: "attempt/panicking-bodies-break-calls", file: "attempt.go", nth: 1,
		old: "defer panicAsError(\"the body of the response\", &err)\n", new: "",
		why: "a body that panics leaves a purchase without a reported outcome",
	},
	{
		name: "attempt/empty-responses-panic", file: "attempt.go",
		old: "case response == nil:\n", new: "case false:\n",
		why: "a transport that returns nothing is reported as having panicked",
	},

	// fate.go
	{
		name: "apierror/client-closed-requests-have-ended", file: "apierror.go",
		old: "case e.StatusCode == http.StatusRequestTimeout || e.StatusCode == statusClientClosed:", new: "case e.StatusCode == http.StatusRequestTimeout:",
		why: "a refund that a gateway has abandoned is sent again while the service is handling it",
	},
	{
		name: "apierror/timed-out-requests-have-ended", file: "apierror.go",
		old: "case e.StatusCode == http.StatusRequestTimeout || e.StatusCode == statusClientClosed:", new: "case e.StatusCode == statusClientClosed && e.StatusCode != http.StatusRequestTimeout:",
		why: "a refund that a gateway has abandoned is sent again while the service is handling it",
	},
	{
		name: "apierror/unsent-may-still-run", file: "apierror.go",
		old: "case e.unsent || e.waiting:\n\t\treturn neverArrived", new: "case false:\n\t\treturn neverArrived",
		why: "a write that was never sent is waited for",
	},
	{
		name: "apierror/gateways-explanations-have-ended", file: "apierror.go",
		old: "case gatewayStatus(e.StatusCode):", new: "case false:",
		why: "a gateway's explanation counts as the service's answer, and the next attempt overlaps the first",
	},
	{
		name: "apierror/gateway-timeouts-are-the-services", file: "apierror.go",
		old: "status == http.StatusBadGateway || status == http.StatusGatewayTimeout ||", new: "status == http.StatusBadGateway ||",
		why: "a gateway's explained 504 counts as the service's answer, and the next attempt overlaps the first",
	},
	{
		name: "apierror/explained-may-still-run", file: "apierror.go",
		old: "case e.explained:\n\t\treturn ended", new: "case false:\n\t\treturn ended",
		why: "a refund that the service answered with an error of its own is not sent again",
	},
	{
		name: "apierror/gateways-pages-have-ended", file: "apierror.go",
		old: "case e.answered && (e.StatusCode/100 == 2 || e.StatusCode/100 == 4):", new: "case e.StatusCode != 0:",
		why: "a gateway's error page counts as the service's answer, and the next attempt overlaps the first",
	},
	{
		name: "response/any-object-counts-as-the-service", file: "response.go",
		old: "return body.RequestID != nil && *body.RequestID != \"\" || len(body.Detail) > 0 && string(body.Detail) != \"null\"",
		new: "return true",
		why: "the JSON of an intermediary counts as the service's answer",
	},

	// redact.go
	{
		name: "cleantext/tokens-shown", file: "cleantext.go",
		old: "text = redact(token, visible(text))", new: "text = visible(text)",
		why: "tokens appear in errors and logs",
	},
	{
		name: "cleantext/control-characters-shown", file: "cleantext.go",
		old: "text = redact(token, visible(text))", new: "text = redact(token, text)",
		why: "a service's text can forge log lines and hide the text that follows",
	},
	{
		name: "cleantext/texts-of-any-length", file: "cleantext.go",
		old: "cut := len(text) > longest*mostBytes", new: "cut := false && len(text) > longest*mostBytes",
		why: "a text of a megabyte is searched for each error, or shown",
	},
	{
		name: "cleantext/one-character-too-many", file: "cleantext.go",
		old: "text = string(runes[:longest])", new: "text = string(runes[:longest+1])",
		why: "texts are longer than documented",
	},
	{
		name: "cleantext/cut-without-a-mark", file: "cleantext.go",
		old: "return text + \"…\"\n", new: "return text\n",
		why: "the reader cannot see that a text was cut",
	},
	{
		name: "cleantext/writing-direction-kept", file: "cleantext.go",
		old: "case unicode.In(r, unicode.Cc, unicode.Cf):\n\t\t\tcontinue",
		new: "case unicode.In(r, unicode.Cc):\n\t\t\tcontinue",
		why: "characters that change the writing direction make a text look like another one",
	},
	{
		name: "cleantext/line-ends-kept", file: "cleantext.go",
		old: "case unicode.In(r, unicode.Zl, unicode.Zp) || unicode.Is(unicode.Cc, r) && unicode.IsSpace(r):",
		new: "case unicode.Is(unicode.Cc, r) && unicode.IsSpace(r):",
		why: "line and paragraph separators forge log lines",
	},
	{
		name: "redact/capital-tokens-shown", file: "redact.go",
		old: "return r < utf8.RuneSelf && asciiLower(byte(r)) == asciiLower(c)",
		new: "return r < utf8.RuneSelf && byte(r) == c",
		why: "a token repeated in capitals is shown",
	},
	{
		name: "redact/only-the-first-token", file: "redact.go",
		old: "from = at\n\t}", new: "from = at\n\t\tbreak\n\t}",
		why: "the second token of a text is shown",
	},
	{
		name: "redact/tokens-in-urls-shown", file: "redact.go",
		old: "case '%':\n\t\treturn decodePercent(text)\n", new: "",
		why: "a token escaped as in a URL is shown",
	},
	{
		name: "redact/tokens-in-json-shown", file: "redact.go",
		old: "case 'u':\n\t\tdigits = 4\n", new: "",
		why: "a token escaped as in JSON is shown",
	},
	{
		name: "redact/tokens-in-html-shown", file: "redact.go",
		old: "if end := strings.IndexByte(text[:min(len(text), 12)], ';'); end > 0 {",
		new: "if end := strings.IndexByte(text[:min(len(text), 12)], ';'); end > 12 {",
		why: "a token escaped as in HTML is shown",
	},
	{
		name: "redact/quotes-within-tokens-end-them", file: "redact.go",
		old: `case r == '"' && !startsWithTokenCharacter(text[n+size:]):`, new: "case r == '\"':",
		why: "the rest of a token after a quotation mark is shown",
	},
	{
		name: "redact/folded-tokens-shown", file: "redact.go",
		old: `if next, _ := decodeCharacter(text[n+gap:]); rest == "" || !sameLetter(next, rest[0]) {`,
		new: `if next, _ := decodeCharacter(text[n+gap:]); rest == "" || !sameLetter(next, rest[0]) || true {`,
		why: "the rest of a token after white space is shown",
	},
	{
		name: "redact/quick-check-misses-escapes", file: "redact.go",
		old: "strings.ContainsAny(text, `_\\%&`)", new: "strings.ContainsAny(text, `_`)",
		why: "a token whose underscore is escaped is shown",
	},
	{
		name: "redacterror/errors-without-a-text-panic", file: "redacterror.go",
		old: "if recover() != nil {\n\t\t\ttext = fmt", new: "if any(nil) != nil {\n\t\t\ttext = fmt",
		why: "an error whose text panics makes the call panic",
	},
	{
		name: "redacterror/causes-expose-the-token", file: "redacterror.go",
		old: "if shown == err.Error() && !errorHoldsToken(err) {", new: "if shown == err.Error() {",
		why: "an error whose text is harmless exposes a cause that contains the token",
	},
	{
		name: "redacterror/as-exposes-the-token", file: "redacterror.go",
		old: "return errors.As(err, target.Addr().Interface()) && !clearIfHoldsToken(target)",
		new: "return errors.As(err, target.Addr().Interface())",
		why: "errors.As exposes an error that contains the token",
	},
	{
		name: "redacterror/causes-are-lost", file: "redacterror.go",
		old: "for _, cause := range causes(err) {\n\t\tif asWithoutToken(cause, target) {\n\t\t\treturn true\n\t\t}\n\t}\n\treturn false",
		new: "return false",
		why: "errors.As does not find a harmless cause of a redacted error",
	},
	{
		name: "redacterror/redacted-timeouts-are-not-timeouts", file: "redacterror.go",
		old: "if network, ok := errors.AsType[net.Error](err); ok {",
		new: "if network, ok := errors.AsType[net.Error](err); false && ok {",
		why: "a timeout whose text was redacted no longer counts as a timeout",
	},

	// wire.go
	{
		name: "shape/missing-members-accepted", file: "shape.go",
		old: "m.required && present&(1<<i) == 0 {", new: "m.required && present&(1<<i) == 0 && i > 64 {",
		why: "an answer without a required field is read as zero",
	},
	{
		name: "scanner/null-members-accepted", file: "scanner.go",
		old: "if m >= 0 && (!null || want.members[m].nullable) {", new: "_ = null\n\t\tif m >= 0 {",
		why: "a null in place of a required field is read as zero",
	},
	{
		name: "scanner/null-in-lists-accepted", file: "scanner.go",
		old: "if null && want != nil {", new: "if null && want == nil && depth < 0 {",
		why: "a list that holds a null is read as one with an empty request",
	},
	{
		name: "scanner/members-beyond-the-first-forgotten", file: "scanner.go",
		old: "sc.moreNames = append(sc.moreNames[:sc.nameCount-len(sc.names)], k)",
		new: "sc.moreNames = append(sc.moreNames[:sc.nameCount-len(sc.names)], nameSpan{})",
		why: "a member that is given twice among many members is accepted",
	},
	{
		name: "scanner/members-given-twice-accepted", file: "scanner.go",
		old: "if other := sc.nameAt(i); other.hash == k.hash && folded",
		new: "if other := sc.nameAt(i); false && other.hash == k.hash && folded",
		why: "an answer that gives a member twice is ambiguous",
	},
	{
		name: "scanner/misspelled-members-accepted", file: "scanner.go",
		old: "case folded(name) == folded(m.name):", new: "case false:",
		why: "a member spelled in capitals is read by encoding/json and not checked",
	},
	{
		name: "scanner/any-depth-accepted", file: "scanner.go",
		old: "if depth > maxDepth {", new: "if depth > maxDepth*maxDepth {",
		why: "an answer of nested brackets exhausts the stack",
	},
	{
		name: "scanner/any-number-of-members-accepted", file: "scanner.go",
		old: "if sc.nameCount-first >= maxMembers {", new: "if sc.nameCount-first >= 1000*maxMembers {",
		why: "an answer with a hundred thousand members takes minutes to check",
	},
	{
		name: "wire/non-objects-accepted", file: "wire.go",
		old: "case !want.array && first != '{':", new: "case !want.array && first == '[':",
		why: "an answer of null is read as an object of zeros",
	},
	{
		name: "purchase/failed-policy-check-approved", file: "purchase.go",
		old: "case purchase.Status.Approved() && !purchase.PolicyCheck.Passed:", new: "case false:",
		why: "an approval with a failed policy check is spent",
	},
	{
		name: "purchase/failed-rule-approved", file: "purchase.go",
		old: "case purchase.Status.Approved() && failed:", new: "case false:",
		why: "an approval with a failed rule is spent",
	},
	{
		name: "purchase/failed-rule-pending", file: "purchase.go",
		old: "case purchase.Status == StatusPending && failed && purchase.PolicyCheck.Passed:", new: "case false:",
		why: "a purchase that a rule forbids awaits a human as if it had passed",
	},
	{
		name: "purchase/automatic-contradiction-accepted", file: "purchase.go",
		old: "case purchase.AutoApproved != automatic &&", new: "case false && purchase.AutoApproved != automatic &&",
		why: "a pending purchase that is also marked as approved is accepted",
	},
	{
		name: "purchase/case-of-results-matters", file: "purchase.go",
		old: "return strings.EqualFold(string(check.Result), string(policy.Fail))",
		new: "return check.Result == policy.Fail",
		why: "a rule whose failure is spelled in capitals counts as passed",
	},

	// watcher.go
	{
		name: "poller/one-reader-for-each-wait", file: "poller.go",
		old: "if len(ids) > 1 {", new: "if len(ids) > 1000000 {",
		why: "each of many waits reads its request separately",
	},
	{
		name: "poller/overdue-counts-as-pending", file: "poller.go",
		old: "&& !overdue {", new: "&& (!overdue || true) {",
		why: "an overdue request is never read, and never expires",
	},
	{
		name: "poller/hanging-reads-without-limit", file: "poller.go", nth: 1,
		old: "limited, cancel := context.WithTimeout(ctx, callLimit)",
		new: "limited, cancel := context.WithCancel(ctx)",
		why: "one read that hangs blocks all waits",
	},
	{
		name: "poller/hanging-lists-without-limit", file: "poller.go", nth: 2,
		old: "limited, cancel := context.WithTimeout(ctx, callLimit)",
		new: "limited, cancel := context.WithCancel(ctx)",
		why: "a list that hangs blocks all waits",
	},
	{
		name: "poller/polls-without-limit", file: "poller.go",
		old: "if time.Since(begun) > pollLimit {\n\t\t\tbreak\n\t\t}\n", new: "_ = begun\n",
		why: "many slow reads block all waits",
	},
	{
		name: "poller/only-the-first-page", file: "poller.go",
		old: "if len(page) < maxPageSize || len(requests) == len(ids) {", new: "if true {",
		why: "if more than a page of requests is pending, each is read separately",
	},
	{
		name: "poller/no-last-poll", file: "poller.go",
		old: "wait.next, wait.final = last, true", new: "_ = last",
		why: "a decision shortly before the deadline is missed",
	},
	{
		name: "wait/last-poll-does-not-end-the-wait", file: "wait.go",
		old: "if w.final && !begun.Before(w.next) {", new: "if false && !begun.Before(w.next) {",
		why: "a wait lasts until its deadline although no poll can follow",
	},
	{
		name: "wait/poll-of-another-wait-ends-the-wait", file: "wait.go",
		old: "if w.final && !begun.Before(w.next) {", new: "_ = begun\n\tif w.final {",
		why: "a wait ends before its deadline because another one has begun",
	},
	{
		name: "wait/state-is-shared", file: "wait.go",
		old: "state = &copied", new: "_ = copied",
		why: "a caller that changes its request changes another caller's",
	},
	{
		name: "wait/transient-failures-end-the-wait", file: "wait.go",
		old: "case err != nil:\n\t\tw.err = err", new: "case err != nil:\n\t\tw.finish(nil, err)\n\t\treturn false",
		why: "one failed poll ends a wait of minutes",
	},
	{
		name: "wait/permanent-failures-retried", file: "wait.go",
		old: "errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden), errors.Is(err, ErrNotFound):",
		new: "errors.Is(err, ErrUnauthorized), errors.Is(err, ErrNotFound):",
		why: "the wait of a paused agent lasts until its deadline",
	},
	{
		name: "wait/failure-outlives-the-next-poll", file: "wait.go",
		old: "w.last, w.err = state, nil", new: "w.last = state",
		why: "a wait that ends undecided reports a failure that is over",
	},
	{
		name: "poller/polls-before-retry-after", file: "poller.go",
		old: "pause = max(pause, failure.retryAfter)", new: "_ = failure",
		why: "the service's Retry-After is not respected",
	},
	{
		name: "poller/runs-without-waits", file: "poller.go",
		old: "pl.stop()\n\t\tpl.stop = nil\n", new: "_ = pl.stop\n",
		why: "the poller continues indefinitely after its last wait",
	},
	{
		name: "wait/slow-reports-block", file: "wait.go",
		old: "case <-w.events:\n\t\tdefault:\n\t\t}", new: "default:\n\t\t}",
		why: "a slow progress callback blocks all waits",
	},
	{
		name: "poller/new-wait-is-not-polled", file: "poller.go",
		old: "case pl.wake <- struct{}{}:\n\tdefault:\n\t}", new: "default:\n\t}",
		why: "a wait that joins others is first polled only with their next poll",
	},

	// wait.go
	{
		name: "wait/pauses-do-not-grow", file: "wait.go",
		old: "math.Pow(waitGrowth, float64(n))", new: "math.Pow(waitGrowth, float64(0*n))",
		why: "a wait of hours polls every second",
	},
	{
		name: "wait/pauses-grow-without-limit", file: "wait.go",
		old: "float64(config.max))", new: "1e18)",
		why: "a decision is noticed hours later",
	},
	{
		name: "wait/pauses-below-the-shortest", file: "wait.go",
		old: "return max(config.min, time.Duration(span*jitter))", new: "return time.Duration(span * jitter)",
		why: "the service is polled more often than the caller allows",
	},
	{
		name: "wait/later-deadline-counts", file: "wait.go",
		old: "w.deadline.IsZero() || deadline.Before(w.deadline)",
		new: "w.deadline.IsZero() || deadline.After(w.deadline)",
		why: "of two deadlines the later one limits the wait",
	},
	{
		name: "wait/timeout-ignored", file: "wait.go",
		old: "if config.timeout > 0 {", new: "if config.timeout < 0 {",
		why: "WaitTimeout has no effect",
	},
	{
		name: "poller/cancellation-is-a-timeout", file: "poller.go",
		old: "if errors.Is(ctx.Err(), context.DeadlineExceeded) {",
		new: "if errors.Is(ctx.Err(), context.DeadlineExceeded) || true {",
		why: "a cancelled wait is reported as timed out",
	},
	{
		name: "wait/intervals-not-checked", file: "wait.go",
		old: "if shortest <= 0 || longest < shortest {", new: "if shortest <= 0 {",
		why: "an interval whose maximum is below its minimum is accepted",
	},

	// guardtransport.go
	{
		name: "guardtransport/priced-requests-sent-unapproved", file: "guardtransport.go",
		old: "if params == nil {\n\t\tpassedOn = true",
		new: "if params == nil || params.IdempotencyKey == \"\" {\n\t\tpassedOn = true",
		why: "a request that costs money is sent without an approval",
	},
	{
		name: "guardtransport/sent-under-the-ended-context", file: "guardtransport.go",
		old: "if err := request.Context().Err(); err != nil {", new: "if err := request.Context().Err(); false {",
		why: "a paid request is sent although its context has ended",
	},
	{
		name: "guardtransport/never-confirmed", file: "guardtransport.go",
		old: "defer p.settle()\n", new: "",
		why: "a paid request keeps its money booked and is never confirmed",
	},
	{
		name: "guardtransport/refused-bodies-stay-open", file: "guardtransport.go",
		old: "if !passedOn && request.Body != nil {", new: "if passedOn && request.Body == nil {",
		why: "the body of a request that is not sent is never closed",
	},
	{
		name: "guardtransport/redirects-resume-again", file: "guardtransport.go",
		old: "if request.Response != nil { // a redirect", new: "if false { // a redirect",
		why: "a redirect of a resumed request claims the request that was just used up",
	},
	{
		name: "guardtransport/header-overrules-the-key", file: "guardtransport.go",
		old: "if resumption != nil || p.IdempotencyKey != \"\" || header == \"\" {",
		new: "if resumption != nil || header == \"\" {",
		why: "the key that Price sets has no effect",
	},
	{
		name: "guardtransport/headers-ignored", file: "guardtransport.go",
		old: "if resumption != nil || p.IdempotencyKey != \"\" || header == \"\" {",
		new: "if resumption != nil || p.IdempotencyKey != \"\" || header != \"\" || header == \"\" {",
		why: "an SDK that retries under its idempotency header pays twice",
	},
	{
		name: "guardtransport/uncharged-requests-block-their-header", file: "guardtransport.go",
		old: "if !endedUnpaid(err) || failed == maxFurtherPurchases {",
		new: "if true || failed == maxFurtherPurchases {",
		why: "a request that was not charged cannot be repeated under its header",
	},
	{
		name: "guardtransport/charged-requests-are-repeated", file: "guardtransport.go",
		old: "return status == StatusFailed || status == StatusExpired", new: "return status.Final()",
		why: "a request that was paid for is sent and paid again under its header",
	},
	{
		name: "guardtransport/unconfirmed-requests-are-repeated", file: "guardtransport.go",
		old: "if as[*UnconfirmedError](err) != nil {\n\t\treturn false", new: "if false {\n\t\treturn false",
		why: "a request whose refund did not arrive is requested and sent again",
	},
	{
		name: "guardtransport/repeated-without-limit", file: "guardtransport.go",
		old: "failed == maxFurtherPurchases {", new: "failed == 100*maxFurtherPurchases {",
		why: "a header whose requests always fail is requested indefinitely",
	},
	{
		name: "guardtransport/panics-are-not-charged", file: "guardtransport.go",
		old: "pay.charged, pay.outcome = true, errNeverReturned\n", new: "pay.outcome = errNeverReturned\n",
		why: "a request that was sent before the transport panicked is refunded",
	},
	{
		name: "guardtransport/repeated-by-nethttp", file: "guardtransport.go",
		old: "request.GetBody = nil // with it, net/http could rewind the body and send it again\n", new: "",
		why: "net/http sends a paid request again on another connection",
	},
	{
		name: "guardtransport/response-with-an-error-leaks", file: "guardtransport.go",
		old: "closeBody(response)\n\t\tresponse = nil", new: "response = nil",
		why: "a transport that returns a response and an error leaks a connection",
	},
	{
		name: "guardtransport/charged-is-ignored", file: "guardtransport.go",
		old: "case charged != nil:\n\t\tpay.charged = true\n",
		new: "case charged != nil && false:\n\t\tpay.charged = true\n",
		why: "the user's function that reports whether a payment was made has no effect",
	},
	{
		name: "guardtransport/lost-answers-are-not-charged", file: "guardtransport.go",
		old: "pay.charged = !unsent\n", new: "pay.charged = false\n",
		why: "a request whose answer was lost is refunded although it may have been paid for",
	},
	{
		name: "guardtransport/unsent-is-charged", file: "guardtransport.go",
		old: "pay.charged = !unsent\n", new: "pay.charged = true\n",
		why: "a request that was never sent counts as paid",
	},
	{
		name: "guardtransport/charged-failures-are-successes", file: "guardtransport.go",
		old: "case pay.charged && err == nil && response.StatusCode >= 400:",
		new: "case pay.charged && err == nil && response.StatusCode >= 1000:",
		why: "in a run of a scope, the retry of a failed request that may have been paid pays again",
	},
	{
		name: "guardtransport/redirects-are-charged", file: "guardtransport.go",
		old: "return status < 300 ||", new: "return status < 400 ||",
		why: "each hop of a redirect counts as paid",
	},
	{
		name: "guardtransport/gateway-errors-are-not-charged", file: "guardtransport.go",
		old: "status >= 500 || status == http.StatusRequestTimeout", new: "status == http.StatusRequestTimeout",
		why: "a request that a gateway abandoned is refunded although the service behind it has charged",
	},
	{
		name: "guardtransport/timeouts-are-not-charged", file: "guardtransport.go",
		old: "|| status == http.StatusRequestTimeout ||", new: "||",
		why: "a request answered with a 408 is refunded although it may have been paid for",
	},
	{
		name: "guardtransport/client-closed-requests-are-not-charged", file: "guardtransport.go",
		old: "|| status == statusClientClosed", new: "|| status == statusClientClosed && status < 300",
		why: "a request that a gateway abandoned is refunded although the service behind it has charged",
	},
	{
		name: "guardtransport/spent-is-overwritten", file: "guardtransport.go",
		old: "if pay.approval.hasSpent() {\n\t\t\treturn\n\t\t}\n", new: "",
		why: "the price replaces the amount that the underlying transport recorded as spent",
	},
	{
		name: "guardtransport/overspending-is-silent", file: "guardtransport.go",
		old: `c.alert(pay.request.Context(), "letagentpay.spent",`, new: "_ = append([]any{c}, \"letagentpay.spent\",",
		why: "a request that cost more than approved is not reported",
	},

	// guardhttp.go, guardhandler.go, statuswriter.go, httpkey.go
	{
		name: "guardhttp/unconfirmed-is-silent", file: "guardhttp.go",
		old: "if reported {\n\t\t\treturn\n\t\t}\n", new: "if reported || !reported {\n\t\t\treturn\n\t\t}\n",
		why: "a paid request that could not be confirmed is not reported",
	},
	{
		name: "guardhttp/reported-and-logged", file: "guardhttp.go",
		old: "reported = true\n", new: "reported = false\n",
		why: "a failure that was reported to the user's function raises an alert as well",
	},
	{
		name: "guardhandler/serves-under-the-ended-context", file: "guardhandler.go",
		old: "if err := r.Context().Err(); err != nil { // the client",
		new: "if err := r.Context().Err(); false { // nobody",
		why: "a request whose client left during the approval is served and paid",
	},
	{
		name: "guardhandler/refuses-and-keeps-the-money", file: "guardhandler.go",
		old: "h.settle(r, approval, errNotServed)\n", new: "",
		why: "an approval for a client that has left stays booked",
	},
	{
		name: "guardhandler/approval-is-not-found", file: "guardhandler.go",
		old: "r.WithContext(approval.context())", new: "r",
		why: "a handler cannot record the amount spent",
	},
	{
		name: "guardhandler/return-is-not-recorded", file: "guardhandler.go",
		old: "returned = true\n", new: "",
		why: "a handler that returns without writing is refunded although it served the request",
	},
	{
		name: "guardhandler/not-approved-is-unavailable", file: "guardhandler.go",
		old: "case as[*NotApprovedError](err) != nil:", new: "case false:",
		why: "a client cannot distinguish a refusal from an outage",
	},
	{
		name: "statuswriter/failures-are-successes", file: "statuswriter.go",
		old: "case sw.status >= 400:", new: "case sw.status >= 500:",
		why: "a request answered with a refusal is confirmed as paid",
	},
	{
		name: "statuswriter/panics-are-successes", file: "statuswriter.go",
		old: "case sw.status == 0 && !returned:", new: "case false:",
		why: "a handler that panics before it answers is confirmed as paid",
	},
	{
		name: "statuswriter/last-status-counts", file: "statuswriter.go",
		old: "if sw.status == 0 && !informational {", new: "if !informational {",
		why: "a status that is written too late decides whether the payment counts",
	},
	{
		name: "statuswriter/informational-status-counts", file: "statuswriter.go",
		old: "if sw.status == 0 && !informational {", new: "_ = informational\n\tif sw.status == 0 {",
		why: "early hints decide whether the payment counts",
	},
	{
		name: "statuswriter/body-without-status-is-ignored", file: "statuswriter.go",
		old: "func (sw *statusWriter) Write(p []byte) (int, error) {\n\tsw.noteStatus(http.StatusOK)\n",
		new: "func (sw *statusWriter) Write(p []byte) (int, error) {\n",
		why: "a handler that panics after it answers is refunded",
	},
	{
		name: "httpkey/ignores-the-method", file: "httpkey.go",
		old: "\"letagentpay http request 1\", method,", new: "\"letagentpay http request 1\" + method[:0],",
		why: "two requests under one header that differ in their method count as one purchase",
	},
	{
		name: "httpkey/ignores-the-host", file: "httpkey.go",
		old: "strings.ToLower(request.URL.Host),", new: "",
		why: "two requests under one header to two hosts count as one purchase",
	},
	{
		name: "httpkey/ignores-the-path", file: "httpkey.go",
		old: "request.URL.EscapedPath(), header,", new: "header,",
		why: "two requests under one header to two paths count as one purchase",
	},
	{
		name: "httpkey/ignores-the-failures", file: "httpkey.go",
		old: "strconv.Itoa(failed),", new: "strconv.Itoa(0 * failed),",
		why: "a request that was not charged cannot be repeated under its header",
	},
	{
		name: "httpkey/other-header-ignored", file: "httpkey.go",
		old: "[]string{\"Idempotency-Key\", \"X-Idempotency-Key\"}", new: "[]string{\"Idempotency-Key\"}",
		why: "an SDK that retries under the other header pays twice",
	},

	// singlesend.go
	{
		name: "singlesend/repeated-after-it-was-sent", file: "singlesend.go",
		old: "if !send.finished && (!send.attemptSent || send.answered) {", new: "if !send.finished {",
		why: "net/http sends a paid request again if its connection fails",
	},
	{
		name: "singlesend/sent-after-the-end", file: "singlesend.go",
		old: "if !send.finished && (!send.attemptSent || send.answered) {",
		new: "if !send.attemptSent || send.answered {",
		why: "a lingering attempt sends a request whose caller has already received an error",
	},
	{
		name: "singlesend/not-repeated-after-an-answer", file: "singlesend.go",
		old: "if !send.finished && (!send.attemptSent || send.answered) {",
		new: "if !send.finished && !send.attemptSent {",
		why: "a transport that pays after a 402 cannot send the request again",
	},
	{
		name: "singlesend/shared-connections-closed", file: "singlesend.go",
		old: "if !send.isShared(conn) {\n\t\t\tcloseAtOnce", new: "if true {\n\t\t\tcloseAtOnce",
		why: "the failure of one request ends all others on an HTTP/2 connection",
	},
	{
		name: "singlesend/own-connection-left-open", file: "singlesend.go",
		old: "if !send.isShared(conn) {\n\t\t\tcloseAtOnce(conn)\n\t\t}\n", new: "",
		why: "HTTP/1 writes a paid request again without checking the context",
	},
	{
		name: "singlesend/sent-is-not-recorded", file: "singlesend.go",
		old: "send.sent, send.attemptSent = true, true", new: "send.attemptSent = true",
		why: "a request that was sent counts as not sent, and is refunded",
	},
	{
		name: "singlesend/early-answers-are-answers", file: "singlesend.go",
		old: "send.answered = false\n\tfor name", new: "for name",
		why: "after early hints a paid request may be sent again",
	},
	{
		name: "singlesend/other-heads-count", file: "singlesend.go",
		old: "if send.hasConn { // otherwise", new: "if send.hasConn || !send.hasConn { // else",
		why: "a proxy's handshake counts as the request, and a request that was never sent counts as paid",
	},
	{
		name: "singlesend/refusal-shown-as-cancellation", file: "singlesend.go",
		old: "if send.resendRefused {\n\t\treturn errNotRepeated, false",
		new: "if false {\n\t\treturn errNotRepeated, false",
		why: "the error does not report that a request that may have been paid for was not sent again",
	},
	{
		name: "singlesend/interrupted-is-unsent", file: "singlesend.go",
		old: "return !isInterruption(request, err)", new: "return true || isInterruption(request, err)",
		why: "a request that is cancelled while being written is refunded although it may still be sent",
	},
	{
		name: "singlesend/context-outlives-the-body", file: "singlesend.go",
		old: "if err != nil {\n\t\tb.send.cancel(nil)\n\t}\n\treturn n, err", new: "return n, err",
		why: "a fully read body holds the request's context until it is closed",
	},
	{
		name: "guardtransport/charged-without-limit", file: "guardtransport.go",
		old: "timer := time.NewTimer(limit)", new: "timer := time.NewTimer(1000 * limit)",
		why: "a function that hangs prevents the confirmation",
	},
	{
		name: "guardtransport/charged-panics-are-swallowed", file: "guardtransport.go",
		old: "panic(r.panicked)", new: "return Amount{}, true",
		why: "a panic of the user's function is lost",
	},
	{
		name: "guardtransport/charged-exits-are-swallowed", file: "guardtransport.go",
		old: "runtime.Goexit()\n", new: "_ = runtime.NumCPU\n",
		why: "a goroutine that should end continues",
	},
}
