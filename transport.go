package letagentpay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	maxFields        = 20 // at most so many refused fields are listed in an error

	retryBase, retryCap         = 500 * time.Millisecond, 8 * time.Second
	rateLimitBase, rateLimitCap = 2 * time.Second, 30 * time.Second // the service counts calls by the minute
	retryAfterCap               = time.Minute

	// settlePause is the least time between a write whose outcome is unknown and the next step about that write. The
	// service may need longer to finish the write: see posting.pause and confirmer.pauseAndRead.
	settlePause = 2 * time.Second

	agentPrefix     = "/agent-api"
	x402Prefix      = "/x402"
	requestIDInPath = "{request_id}"
)

// transport is the only place that speaks HTTP. It resolves addresses, authenticates, retries, limits, redacts and
// decodes.
type transport struct {
	httpClient *http.Client
	token      secret
	agentBase  *url.URL
	x402Base   *url.URL
	userAgent  []string
	maxRetries int
	logger     *slog.Logger

	loggerPausedUntil atomic.Int64 // Unix nanoseconds; the logger is not called before

	authorization func() []string // returns the header; a function, so that printing does not show the token
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
	// attemptTransport applies the client's time limit to each attempt. It also keeps retryablehttp from closing the
	// idle connections of a transport that is shared with other clients.
	if httpClient.Transport == nil {
		httpClient.Transport = http.DefaultTransport
	}
	httpClient.Transport = &attemptTransport{
		next:   httpClient.Transport,
		limits: attemptLimits{limit: cmp.Or(max(httpClient.Timeout, 0), defaultAttemptTimeout)},
	}
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
		httpClient:    &httpClient,
		token:         newSecret(config.token),
		agentBase:     base,
		x402Base:      &x402Base,
		userAgent:     []string{userAgent},
		maxRetries:    config.maxRetries,
		logger:        config.logger,
		authorization: func() []string { return authorization },
	}
}

// redirectPolicy follows redirects of a read within its host, and no others: following one would turn a write into a
// read, and another host must not get the token. A redirect that is not followed is reported with its 3xx status.
func redirectPolicy(
	next func(*http.Request, []*http.Request) error,
) func(*http.Request, []*http.Request) error {
	return func(request *http.Request, via []*http.Request) (err error) {
		defer panicAsError("the redirect policy", &err)
		const maxRedirects = 3
		first := via[0]
		sameOrigin := request.URL.Host == first.URL.Host && request.URL.Scheme == first.URL.Scheme
		if first.Method != http.MethodGet || !sameOrigin || len(via) > maxRedirects {
			return http.ErrUseLastResponse
		}
		if next != nil {
			return next(request, via)
		}
		return nil
	}
}

// do makes a call: it sends the request, retries it as the rules for its operation allow, and decodes the response. The
// error is a [*ParamError] or an [*APIError].
//
// The loop is retryablehttp's. For each attempt it calls beginAttempt, sends the request, then calls shouldRetry (which
// does nothing yet) and receive if there is a response, shouldRetry with the failure if there is one, and backoff.
func (t *transport) do(ctx context.Context, c *call) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	request, err := t.newRequest(ctx, c)
	if err != nil {
		return fmt.Errorf("letagentpay: %s: %w", c.op, err)
	}
	c.transport, c.request = t, request.Request
	if err := ctx.Err(); err != nil {
		c.last = c.failure(&APIError{Err: err, unsent: true})
		return c.last
	}
	request.SetResponseHandler(c.receive)
	client := retryablehttp.Client{
		HTTPClient:     t.httpClient,
		RetryMax:       t.maxRetries,
		RequestLogHook: c.beginAttempt,
		CheckRetry:     c.shouldRetry,
		Backoff:        c.backoff,
		ErrorHandler:   retryablehttp.PassthroughErrorHandler,
	}
	if _, err = client.Do(request); err == nil {
		return nil
	}
	if c.last == nil || ctx.Err() != nil && !errors.Is(c.last, ctx.Err()) {
		// Cancelled while waiting for the next attempt.
		c.last = c.failure(c.last.because(t.redactError(cmp.Or(ctx.Err(), err))))
	}
	return c.last
}

// newRequest builds the request of a call. It sets no GetBody, so that net/http does not resend a POST that carries an
// Idempotency-Key when a kept-alive connection turns out to be dead: only the loop in do retries, after a pause.
func (t *transport) newRequest(ctx context.Context, c *call) (*retryablehttp.Request, error) {
	method, path := c.op.Endpoint()
	// The values are shared by all requests. That is safe because a sender of a request only reads them.
	header := http.Header{"Authorization": t.authorization(), "Accept": acceptJSON, "User-Agent": t.userAgent}
	if c.idempotencyKey != "" {
		header["Idempotency-Key"] = []string{c.idempotencyKey}
	}
	address := t.address(path, c)
	plain := http.Request{
		Method:     method,
		URL:        address,
		Host:       address.Host,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     header,
	}
	request := &retryablehttp.Request{Request: plain.WithContext(ctx)}
	if c.body == nil {
		return request, nil
	}
	data, err := json.Marshal(c.body)
	if err != nil {
		return nil, err
	}
	header["Content-Type"] = contentJSON
	err = request.SetBody(data)
	request.GetBody = nil // SetBody sets it
	return request, err
}

// address returns the address of a path: below the base of the x402 API or of the agent API.
func (t *transport) address(path string, c *call) *url.URL {
	base, rest := t.agentBase, strings.TrimPrefix(path, agentPrefix)
	if x402Path, ok := strings.CutPrefix(path, x402Prefix); ok {
		base, rest = t.x402Base, x402Path
	}
	target, id := *base, url.PathEscape(c.requestID)
	target.Path = base.Path + strings.Replace(rest, requestIDInPath, c.requestID, 1)
	if base.RawPath != "" || id != c.requestID { // otherwise the default encoding of Path is right, and costs less
		target.RawPath = base.EscapedPath() + strings.Replace(rest, requestIDInPath, id, 1)
	}
	target.RawQuery = c.query.Encode()
	return &target
}

// call is one operation on its way through the transport, with all its attempts. The caller sets the fields of the
// first block; only op is required.
type call struct {
	op             operation.Op
	requestID      string // replaces {request_id} in the path
	query          url.Values
	body           any                     // sent as JSON; nil: no body
	idempotencyKey string                  // set on a purchase
	once           bool                    // no retries; otherwise up to the client's maximum
	dated          bool                    // keep the date of the response
	decode         func(data []byte) error // decodes the body of a 2xx response

	transport    *transport
	request      *http.Request
	attempts     int
	started      time.Time     // when the current attempt began
	lastDuration time.Duration // how long the last attempt took, until the last byte of its response or its failure
	wait         time.Duration // the pause before the next attempt
	last         *APIError     // how the last attempt failed
	unclear      bool          // an attempt may have taken effect although it failed
	status       int           // of the last response
	date         time.Time     // the service's time in the last response; zero: not known
}

func (cl *call) beginAttempt(retryablehttp.Logger, *http.Request, int) {
	cl.attempts++
	cl.started = time.Now()
}

// failure adds to e what the call knows, and returns e.
func (cl *call) failure(e *APIError) *APIError {
	e.Op, e.Method, e.Path = cl.op, cl.request.Method, cl.path()
	e.Attempts, e.IdempotencyKey = cl.attempts, cl.idempotencyKey
	return e
}

// path returns the path of the request for errors and log lines. It is redacted, because a token may have been passed
// as an id.
func (cl *call) path() string {
	return redact(cl.transport.token.reveal(), cl.request.URL.Path)
}

// classify returns an *OutcomeUnknownError in place of the failure of an authorisation that may have been made.
func (cl *call) classify(err error) error {
	if !cl.unclear || isConclusive(cl.last) {
		return err
	}
	return &OutcomeUnknownError{Op: cl.op, Err: err}
}
