package letagentpay

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	maxResponseBytes = 1 << 20
	maxFields        = 20 // refused fields that an error lists

	retryBase, retryCap         = 500 * time.Millisecond, 8 * time.Second
	rateLimitBase, rateLimitCap = 2 * time.Second, 30 * time.Second // the service's window is a minute long
	retryAfterCap               = time.Minute

	// settlePause is the least time between a write whose outcome is unknown and the next step about it. It is not
	// enough for the service to be done with the first: see posting.pause and confirming.settle.
	settlePause = 2 * time.Second

	// placeholder is the server that generated request builders are given; resolve puts the real one in its place.
	placeholder = "https://placeholder.invalid/"
	agentPrefix = "/agent-api"
	x402Prefix  = "/x402"
)

// transport is the one place that speaks HTTP: it resolves addresses, authenticates, repeats, bounds, redacts and
// decodes.
type transport struct {
	httpClient *http.Client
	token      secret
	agentBase  *url.URL
	x402Base   *url.URL
	userAgent  []string
	maxRetries int
	logger     *slog.Logger

	loggerHangs atomic.Int64 // until when, in Unix nanoseconds, the logger is not called

	authorization func() []string // the header, out of reach like the token itself
}

var acceptJSON = []string{"application/json"}

func newTransport(c *config, base *url.URL) *transport {
	var httpClient http.Client
	if c.httpClient != nil {
		httpClient = *c.httpClient
	}
	// The attempt's time limit moves into attemptTransport, which also keeps retryablehttp from closing idle
	// connections that a shared transport holds for others.
	if httpClient.Transport == nil {
		httpClient.Transport = http.DefaultTransport
	}
	httpClient.Transport = &attemptTransport{next: httpClient.Transport, timeout: cmp.Or(max(httpClient.Timeout, 0), defaultAttemptTimeout)}
	httpClient.Timeout = 0
	httpClient.CheckRedirect = redirectPolicy(httpClient.CheckRedirect)

	x402Base := *base
	x402Base.Path = strings.TrimSuffix(base.Path, agentPrefix) + x402Prefix
	if base.RawPath != "" {
		x402Base.RawPath = strings.TrimSuffix(base.RawPath, agentPrefix) + x402Prefix
	}
	userAgent := "letagentpay-go/" + Version + " (" + runtime.Version() + "; " + runtime.GOOS + ")"
	if c.appInfo != "" {
		userAgent += " " + c.appInfo
	}
	authorization := []string{"Bearer " + c.token}
	return &transport{
		httpClient: &httpClient, token: newSecret(c.token), agentBase: base, x402Base: &x402Base,
		userAgent: []string{userAgent}, maxRetries: c.maxRetries, logger: c.logger,
		authorization: func() []string { return authorization },
	}
}

// call is one operation on its way through the transport, with all its attempts.
type call struct {
	op             string
	idempotencyKey string                  // set on a purchase
	maxRetries     int                     // -1: the client's
	decode         func(data []byte) error // reads the body of a 2xx answer
	dated          bool                    // the date of the answer is wanted

	transport *transport
	request   *http.Request
	attempts  int
	started   time.Time     // of the attempt under way
	lasted    time.Duration // how long the last attempt took, to the last byte of its answer or its failure
	wait      time.Duration
	last      *APIError // how the last attempt failed
	unclear   bool      // an attempt may have taken effect without telling
	status    int       // of the last answer
	date      time.Time // the service's clock at the last answer; zero when it was not given
}

// do sends request, repeats it as the rules for its operation allow, and decodes the answer. The error is a
// [*ParamError] or an [*APIError].
func (t *transport) do(ctx context.Context, request *http.Request, c *call) error {
	if ctx == nil {
		return paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	t.resolve(request)
	c.transport, c.request = t, request
	if c.maxRetries < 0 {
		c.maxRetries = t.maxRetries
	}
	if err := ctx.Err(); err != nil {
		c.last = c.failure(&APIError{Err: err, unsent: true})
		return c.last
	}
	// The values are shared by all requests; net/http, like everyone who sends a request, only reads them.
	header := request.Header
	header["Authorization"], header["Accept"], header["User-Agent"] = t.authorization(), acceptJSON, t.userAgent
	// With GetBody, net/http would by itself resend a POST that carries an Idempotency-Key when a kept-alive connection
	// turns out to be dead; repeating is for the loop below alone, after a pause.
	request.GetBody = nil

	retryable, err := retryablehttp.FromRequest(request.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("letagentpay: %s: %w", c.op, err)
	}
	retryable.SetResponseHandler(c.receive)
	client := retryablehttp.Client{
		HTTPClient:     t.httpClient,
		RetryMax:       c.maxRetries,
		RequestLogHook: c.begin,
		CheckRetry:     c.shouldRetry,
		Backoff:        c.backoff,
		ErrorHandler:   retryablehttp.PassthroughErrorHandler,
	}
	if _, err = client.Do(retryable); err == nil {
		return nil
	}
	if c.last == nil || ctx.Err() != nil && !errors.Is(c.last, ctx.Err()) {
		// Cancelled while waiting for the next attempt.
		c.last = c.failure(c.last.because(t.foreign(cmp.Or(ctx.Err(), err))))
	}
	return c.last
}

// newPost makes what the generated builders make, for the two posts of each guarded call: they parse an address three
// times each. The path needs no escaping.
func newPost(path string, body any) (*http.Request, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: path}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(data)), ContentLength: int64(len(data)),
	}, nil
}

// resolve replaces the placeholder by the address of the API that the path belongs to.
func (t *transport) resolve(request *http.Request) {
	base, prefix := t.agentBase, agentPrefix
	if strings.HasPrefix(request.URL.Path, x402Prefix) {
		base, prefix = t.x402Base, x402Prefix
	}
	escaped := strings.TrimPrefix(request.URL.EscapedPath(), prefix)
	target := *base
	target.RawPath = base.EscapedPath() + escaped
	target.Path = base.Path + strings.TrimPrefix(request.URL.Path, prefix)
	target.RawQuery = request.URL.RawQuery
	request.URL, request.Host = &target, target.Host
}

func (c *call) begin(retryablehttp.Logger, *http.Request, int) {
	c.attempts++
	c.started = time.Now()
}

// receive reads an answer; what it returns goes to shouldRetry.
func (c *call) receive(response *http.Response) error {
	defer response.Body.Close()
	if c.dated {
		c.date, _ = http.ParseTime(response.Header.Get("Date"))
	}
	c.status = response.StatusCode
	data, err := readAll(response)
	c.lasted = time.Since(c.started)
	failure := &APIError{StatusCode: response.StatusCode, retryAfter: retryAfter(response.Header, time.Now())}
	switch {
	case response.StatusCode/100 != 2:
		failure.answered = err == nil && isJSON(response.Header) && isObject(data)
		c.readRefusal(failure, response, data)
		return failure
	case err != nil:
		failure.Err = c.transport.foreign(err)
	case !isJSON(response.Header):
		contentType := c.transport.cleaned(response.Header.Get("Content-Type"), shortText)
		failure.Err = fmt.Errorf("want application/json, got content type %q", contentType)
		failure.Detail = c.transport.sample(data)
	default:
		err := c.decode(data)
		if err == nil {
			c.transport.log(c.request.Context(), slog.LevelDebug, "letagentpay.attempt", c, response.StatusCode, nil)
			return nil
		}
		failure.Err, failure.Detail = c.transport.foreign(err), c.transport.sample(data)
		failure.answered = speaksForService(data)
	}
	failure.malformed = true
	return failure
}

var errTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxResponseBytes)

// readAll reads a body up to the limit, in as many bytes as it says it has and one more to see its end.
func readAll(response *http.Response) ([]byte, error) {
	size := int64(512)
	if response.ContentLength > 0 {
		size = min(response.ContentLength, maxResponseBytes)
	}
	data := make([]byte, 0, size+1)
	for {
		n, err := response.Body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case len(data) > maxResponseBytes:
			return data[:maxResponseBytes], errTooLarge
		case err == io.EOF:
			return data, nil
		case err != nil:
			return data, err
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data)+1)
		}
	}
}

// isProblem reports whether an answer is a gateway's problem details (RFC 9457), which the service does not write.
func isProblem(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && mediaType == "application/problem+json"
}

// isJSON accepts a missing content type: the body then speaks for itself.
func isJSON(header http.Header) bool {
	contentType := header.Get("Content-Type")
	if contentType == "" || contentType == "application/json" {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

// readRefusal fills in what an answer other than 2xx says.
func (c *call) readRefusal(failure *APIError, response *http.Response, data []byte) {
	if response.StatusCode/100 == 3 {
		failure.Detail = "redirect refused"
		if location, err := response.Location(); err == nil {
			failure.Detail = "redirect to " + c.transport.cleaned(location.Host, idText) + " refused"
		}
		return
	}
	var body struct {
		Detail json.RawMessage `json:"detail"`
	}
	var items []refusedField
	switch {
	case decodeObject(data, &body, refusalShape) != nil:
	case json.Unmarshal(body.Detail, &failure.Detail) == nil:
		failure.Detail, failure.explained = c.transport.cleaned(failure.Detail, longText), failure.Detail != "" && !isProblem(response.Header)
		return
	case json.Unmarshal(body.Detail, &items) == nil:
		c.readFields(failure, items)
		failure.explained = len(items) > 0
		return
	}
	failure.Detail = c.transport.sample(data)
}

// refusedField is one entry of a 422.
type refusedField struct {
	Type string            `json:"type"`
	Loc  []json.RawMessage `json:"loc"`
	Msg  string            `json:"msg"`
}

func (c *call) readFields(failure *APIError, items []refusedField) {
	if len(items) > maxFields {
		failure.Detail = fmt.Sprintf("%d fields, the first %d of them", len(items), maxFields)
		items = items[:maxFields]
	}
	for _, item := range items {
		failure.Fields = append(failure.Fields, FieldError{
			Field:   c.transport.cleaned(fieldPath(item.Loc), shortText),
			Type:    c.transport.cleaned(item.Type, shortText),
			Message: c.transport.cleaned(item.Msg, sampleText),
		})
	}
}

// fieldPath joins a validation error's location, less the leading "body", with points.
func fieldPath(loc []json.RawMessage) string {
	var parts []string
	for i, raw := range loc {
		part := string(raw)
		var text string
		if json.Unmarshal(raw, &text) == nil {
			part = text
		}
		if i > 0 || part != "body" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ".")
}

// sample returns the beginning of data, whose white space is of no importance, on one line.
func (t *transport) sample(data []byte) string {
	text := string(data[:min(len(data), 2*utf8.UTFMax*sampleText)])
	text = t.cleaned(strings.Join(strings.Fields(text), " "), sampleText)
	if len(data) > 2*utf8.UTFMax*sampleText && !strings.HasSuffix(text, "…") {
		text += "…"
	}
	return text
}

// retryAfter reads the Retry-After header, in seconds or as a date; 0 when there is none that makes sense.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(max(seconds, 0), int64(retryAfterCap/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), retryAfterCap)
	}
	return 0
}

// shouldRetry is called with the answer alone when one arrived, and once more with what receive made of it.
func (c *call) shouldRetry(ctx context.Context, _ *http.Response, err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	failure, received := err.(*APIError) // as receive returns it; a network error may wrap one of another client
	if !received {
		c.lasted = time.Since(c.started)
		failure = c.networkFailure(err)
	}
	c.last = c.failure(failure)
	if c.last.mayHaveTakenEffect() {
		c.unclear = true
	}
	c.transport.log(ctx, slog.LevelDebug, "letagentpay.attempt", c, failure.StatusCode, c.last)
	if ctx.Err() != nil || c.attempts > c.maxRetries || !c.repeatable() {
		return false, c.last
	}
	c.wait = c.nextWait()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= c.wait {
		c.last = c.failure(c.last.because(errNoTime))
		return false, c.last
	}
	c.transport.log(ctx, slog.LevelWarn, "letagentpay.retry", c, failure.StatusCode, c.last, slog.Duration("wait", c.wait))
	return true, nil
}

// networkFailure describes an attempt that got no answer.
func (c *call) networkFailure(err error) *APIError {
	if wrapped, ok := err.(*url.Error); ok { // http.Client's own wrapping, which repeats the method and the URL
		err = wrapped.Err
	}
	err = sound(err)
	unsent := neverSent(err)
	return &APIError{Err: c.transport.foreign(err), unsent: unsent, untrusted: unsent && untrusted(err)}
}

// neverSent reports whether an error says by itself that nothing was sent: there was no connection, or the server could
// not prove who it is. Joined errors may be of several attempts, so each of them must say so.
func neverSent(err error) bool {
	switch e := err.(type) { // each error of the tree is looked at by itself
	case *net.OpError:
		return e.Op == "dial" || e.Op == "proxyconnect"
	case *net.DNSError, *tls.CertificateVerificationError:
		return true
	case interface{ Unwrap() []error }:
		errs := e.Unwrap()
		return len(errs) > 0 && !slices.ContainsFunc(errs, func(err error) bool { return !neverSent(err) })
	case interface{ Unwrap() error }:
		return neverSent(e.Unwrap())
	}
	return false
}

// untrusted reports whether the server could not prove who it is, so that repeating is in vain.
func untrusted(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	return certificate
}

// failure completes e with what the call knows.
func (c *call) failure(e *APIError) *APIError {
	e.Op, e.Method, e.Path = c.op, c.request.Method, c.path()
	e.Attempts, e.IdempotencyKey = c.attempts, c.idempotencyKey
	return e
}

// path is the path called, as an error and a log line may show it: an id in it may be a token in the wrong place.
func (c *call) path() string {
	return redact(c.transport.token.reveal(), c.request.URL.Path)
}

// because returns a copy of e, which may be nil, with one more cause.
func (e *APIError) because(cause error) *APIError {
	if e == nil {
		return &APIError{Err: cause}
	}
	again := *e
	again.Err = cause
	if e.Err != nil {
		again.Err = fmt.Errorf("%w (last: %w)", cause, e.Err)
	}
	return &again
}

// mayHaveTakenEffect reports whether the service may have done what was asked although it did not say so. A redirect is
// how a form is answered that was taken.
func (e *APIError) mayHaveTakenEffect() bool {
	if e.unsent {
		return false
	}
	if e.StatusCode/100 == 3 {
		return e.Method != http.MethodGet
	}
	return e.StatusCode == 0 || e.StatusCode >= 500 || e.StatusCode == http.StatusRequestTimeout || e.malformed
}

func (c *call) repeatable() bool {
	switch {
	case c.last.unsent:
		return !c.last.untrusted
	case c.last.StatusCode/100 == 3:
		return false // the next attempt would be sent elsewhere as well
	case c.last.mayHaveTakenEffect():
		return c.request.Method == http.MethodGet && c.last.worthRepeating() // what becomes of a write is its caller's to find out
	default:
		return c.last.Is(ErrRateLimited)
	}
}

// nextWait returns the pause before the next attempt: exponential with jitter, never shorter than the server asks
// (up to a cap).
func (c *call) nextWait() time.Duration {
	wait := backoff(c.attempts-1, retryBase, retryCap)
	if c.last.Is(ErrRateLimited) {
		wait = backoff(c.attempts-1, rateLimitBase, rateLimitCap)
	}
	return max(wait, c.last.retryAfter)
}

// backoff returns a random duration between half and the whole of base·2ⁿ, at most limit.
func backoff(n int, base, limit time.Duration) time.Duration {
	full := limit
	if n < 20 {
		full = min(base<<n, limit)
	}
	return full/2 + rand.N(full/2+1)
}

func (c *call) backoff(time.Duration, time.Duration, int, *http.Response) time.Duration {
	return c.wait
}

func (t *transport) log(ctx context.Context, level slog.Level, message string, c *call, status int, err error, more ...slog.Attr) {
	if !t.logs(ctx, level) {
		return
	}
	attributes := append([]slog.Attr{
		slog.String("operation", c.op), slog.String("method", c.request.Method), slog.String("path", c.path()),
		slog.Int("attempt", c.attempts), slog.Int("status", status), slog.Duration("duration", time.Since(c.started)),
	}, more...)
	if err != nil {
		attributes = append(attributes, slog.String("error", errorText(err)))
	}
	t.emit(ctx, level, message, attributes...)
}

// logs reports whether the logger wants records of a level. A handler that does not return wants none.
func (t *transport) logs(ctx context.Context, level slog.Level) bool {
	if t.logger == nil {
		return false
	}
	enabled := make(chan bool, 1)
	t.withLogger(func(logger *slog.Logger) { enabled <- logger.Enabled(ctx, level) })
	select {
	case e := <-enabled:
		return e
	default:
		return false
	}
}

// withLogger lets do use the logger. A logger that hangs is left alone for a
// while, because each call of it would take time from what is logged.
func (t *transport) withLogger(do func(*slog.Logger)) {
	if time.Now().UnixNano() < t.loggerHangs.Load() {
		return
	}
	_, err := contained(logLimit, func() (struct{}, error) {
		do(t.logger)
		return struct{}{}, nil
	})
	if errors.Is(err, errTooSlow) {
		t.loggerHangs.Store(time.Now().Add(time.Minute).UnixNano())
	}
}

// emit logs to the client's logger, which must be there. Texts are cleaned; a handler that does not return breaks no
// call.
func (t *transport) emit(ctx context.Context, level slog.Level, message string, attributes ...slog.Attr) {
	t.cleanAttributes(attributes)
	t.withLogger(func(logger *slog.Logger) { logger.LogAttrs(ctx, level, message, attributes...) })
}

// cleanAttributes cleans the texts of attributes in place.
func (t *transport) cleanAttributes(attributes []slog.Attr) {
	for i, attribute := range attributes {
		if attribute.Value.Kind() == slog.KindString {
			attributes[i].Value = slog.StringValue(t.cleaned(attribute.Value.String(), loggedText))
		}
	}
}

// redirectPolicy lets a read follow redirects within its host, and nothing else: a write would turn into a read, and
// another host has no business with the token. What is not followed is reported with its 3xx status.
func redirectPolicy(users func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(request *http.Request, via []*http.Request) (err error) {
		defer panicAsError("the redirect policy", &err)
		const most = 3
		first := via[0]
		if first.Method != http.MethodGet || request.URL.Host != first.URL.Host || request.URL.Scheme != first.URL.Scheme || len(via) > most {
			return http.ErrUseLastResponse
		}
		if users != nil {
			return users(request, via)
		}
		return nil
	}
}

// attemptTransport bounds the time of one attempt, from connecting to the last byte of the body.
type attemptTransport struct {
	next    http.RoundTripper
	timeout time.Duration
}

func (t *attemptTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	a := &limitedAttempt{caller: request.Context(), timeout: t.timeout, end: func() {}}
	if deadline, ok := a.caller.Deadline(); !ok || time.Until(deadline) > t.timeout {
		a.limited, a.end = context.WithTimeout(a.caller, t.timeout)
		request = request.WithContext(a.limited)
	}
	response, err := t.roundTrip(request)
	if err != nil {
		err = a.explained(err)
		a.end()
		return nil, err
	}
	a.body, response.Body = response.Body, a
	return response, nil
}

// roundTrip makes errors of what the caller's transport may do wrong.
func (t *attemptTransport) roundTrip(request *http.Request) (response *http.Response, err error) {
	defer panicAsError("the transport", &err)
	response, err = t.next.RoundTrip(request)
	switch {
	case err != nil:
		return nil, err
	case response == nil:
		return nil, errors.New("the transport returned neither a response nor an error")
	case response.Body == nil:
		response.Body = http.NoBody
	}
	return response, nil
}

// panicAsError makes an error of a panic in code of the caller's. It is to be deferred.
func panicAsError(who string, err *error) {
	if value := recover(); value != nil {
		*err = &panicError{who: who, value: value}
	}
}

// panicError is a panic of the transport that [WithHTTPClient] has set.
type panicError struct {
	who   string
	value any
}

func (e *panicError) Error() string { return fmt.Sprintf("%s panicked: %v", e.who, e.value) }

// Unwrap returns the value that was panicked with, if it is an error.
func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

// limitedAttempt is one attempt under its time limit, and the body of its response, with which it ends.
type limitedAttempt struct {
	caller  context.Context
	limited context.Context // nil: the caller's deadline comes first
	timeout time.Duration
	end     func()
	body    io.ReadCloser
}

// explained tells the end of the time limit apart from that of the caller's context.
func (a *limitedAttempt) explained(err error) error {
	if a.limited != nil && a.limited.Err() != nil && a.caller.Err() == nil {
		return &attemptTimeoutError{a.timeout}
	}
	return err
}

func (a *limitedAttempt) Read(p []byte) (n int, err error) {
	defer panicAsError("the body of the response", &err)
	if n, err = a.body.Read(p); err != nil && err != io.EOF {
		err = a.explained(err)
	}
	return n, err
}

func (a *limitedAttempt) Close() (err error) {
	defer a.end()
	defer panicAsError("the body of the response", &err)
	return a.body.Close()
}

// attemptTimeoutError says that one attempt took too long, as opposed to the caller's context ending.
type attemptTimeoutError struct {
	limit time.Duration
}

func (e *attemptTimeoutError) Error() string { return "no answer within " + e.limit.String() }

// Timeout and Temporary make it a [net.Error].
func (e *attemptTimeoutError) Timeout() bool   { return true }
func (e *attemptTimeoutError) Temporary() bool { return true }
