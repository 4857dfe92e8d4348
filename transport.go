package letagentpay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/letagentpay/letagentpay-go/operation"
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

	agentPrefix     = "/agent-api"
	x402Prefix      = "/x402"
	requestIDInPath = "{request_id}"
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

	loggerPausedUntil atomic.Int64 // until when, in Unix nanoseconds, the logger is not called

	authorization func() []string // the header, out of reach like the token itself
}

var (
	acceptJSON  = []string{"application/json"}
	contentJSON = []string{"application/json"}
)

func newTransport(config *config, base *url.URL) *transport {
	var httpClient http.Client
	if config.httpClient != nil {
		httpClient = *config.httpClient
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
	if config.appInfo != "" {
		userAgent += " " + config.appInfo
	}
	authorization := []string{"Bearer " + config.token}
	return &transport{
		httpClient: &httpClient, token: newSecret(config.token), agentBase: base, x402Base: &x402Base,
		userAgent: []string{userAgent}, maxRetries: config.maxRetries, logger: config.logger,
		authorization: func() []string { return authorization },
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

// do makes a call: it sends the request, repeats it as the rules for its operation allow, and decodes the answer. The
// error is a [*ParamError] or an [*APIError].
//
// The loop is retryablehttp's, and calls back in this order for each attempt: begin; then the request is sent; with an
// answer shouldRetry (which does nothing) and receive; shouldRetry with the failure, if there is one; backoff.
func (t *transport) do(ctx context.Context, c *call) error {
	if ctx == nil {
		return paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	request, err := t.newRequest(c)
	if err != nil {
		return fmt.Errorf("letagentpay: %s: %w", c.op, err)
	}
	c.transport, c.request = t, request
	if err := ctx.Err(); err != nil {
		c.last = c.failure(&APIError{Err: err, unsent: true})
		return c.last
	}
	retryable, err := retryablehttp.FromRequest(request.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("letagentpay: %s: %w", c.op, err)
	}
	retryable.SetResponseHandler(c.receive)
	client := retryablehttp.Client{
		HTTPClient:     t.httpClient,
		RetryMax:       t.maxRetries,
		RequestLogHook: c.beginAttempt,
		CheckRetry:     c.shouldRetry,
		Backoff:        c.backoff,
		ErrorHandler:   retryablehttp.PassthroughErrorHandler,
	}
	if _, err = client.Do(retryable); err == nil {
		return nil
	}
	if c.last == nil || ctx.Err() != nil && !errors.Is(c.last, ctx.Err()) {
		// Cancelled while waiting for the next attempt.
		c.last = c.failure(c.last.because(t.redactError(cmp.Or(ctx.Err(), err))))
	}
	return c.last
}

// newRequest builds the request of a call. Without a GetBody, net/http does not resend a POST that carries an
// Idempotency-Key when a kept-alive connection turns out to be dead; repeating is for the loop in do alone, after a pause.
func (t *transport) newRequest(c *call) (*http.Request, error) {
	method, path := c.op.Endpoint()
	// The values are shared by all requests; net/http, like everyone who sends a request, only reads them.
	header := http.Header{"Authorization": t.authorization(), "Accept": acceptJSON, "User-Agent": t.userAgent}
	if c.idempotencyKey != "" {
		header["Idempotency-Key"] = []string{c.idempotencyKey}
	}
	request := &http.Request{Method: method, URL: t.address(path, c), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header}
	request.Host = request.URL.Host
	if c.body != nil {
		data, err := json.Marshal(c.body)
		if err != nil {
			return nil, err
		}
		header["Content-Type"] = contentJSON
		request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	}
	return request, nil
}

// address returns the address of a path in the API that it belongs to.
func (t *transport) address(path string, c *call) *url.URL {
	base, below := t.agentBase, strings.TrimPrefix(path, agentPrefix)
	if of, ok := strings.CutPrefix(path, x402Prefix); ok {
		base, below = t.x402Base, of
	}
	target := *base
	target.Path = base.Path + strings.Replace(below, requestIDInPath, c.requestID, 1)
	target.RawPath = base.EscapedPath() + strings.Replace(below, requestIDInPath, url.PathEscape(c.requestID), 1)
	target.RawQuery = c.query.Encode()
	return &target
}

// call is one operation on its way through the transport, with all its attempts. The first block is what the caller
// sets; only op is required.
type call struct {
	op             operation.Op
	requestID      string // replaces {request_id} in the path
	query          url.Values
	body           any                     // encoded as JSON; nil: none
	idempotencyKey string                  // set on a purchase
	once           bool                    // no retries; otherwise the client's number of them
	dated          bool                    // the date of the answer is wanted
	decode         func(data []byte) error // reads the body of a 2xx answer

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

func (cl *call) beginAttempt(retryablehttp.Logger, *http.Request, int) {
	cl.attempts++
	cl.started = time.Now()
}

// failure completes e with what the call knows.
func (cl *call) failure(e *APIError) *APIError {
	e.Op, e.Method, e.Path = cl.op, cl.request.Method, cl.path()
	e.Attempts, e.IdempotencyKey = cl.attempts, cl.idempotencyKey
	return e
}

// path is the path called, as an error and a log line may show it: an id in it may be a token in the wrong place.
func (cl *call) path() string {
	return redact(cl.transport.token.reveal(), cl.request.URL.Path)
}

// classify turns the failure of an authorisation into an *OutcomeUnknownError unless it is certain that it was not made.
func (cl *call) classify(err error) error {
	if !cl.unclear || isConclusive(cl.last) {
		return err
	}
	return &OutcomeUnknownError{Op: cl.op, Err: err}
}
