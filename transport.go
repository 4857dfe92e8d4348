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

func (c *call) begin(retryablehttp.Logger, *http.Request, int) {
	c.attempts++
	c.started = time.Now()
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

// outcome turns the failure of an authorisation into an *OutcomeUnknownError unless it is certain that it was not made.
func (c *call) outcome(err error) error {
	if !c.unclear || certain(c.last) {
		return err
	}
	return &OutcomeUnknownError{Op: c.op, Err: err}
}
