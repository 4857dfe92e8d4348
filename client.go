package letagentpay

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Version is the version of this SDK. It is sent to the service in the User-Agent header.
const Version = "0.1.0"

// DefaultBaseURL is the address of the service's Agent API, used unless [WithBaseURL] or LETAGENTPAY_BASE_URL sets
// another.
const DefaultBaseURL = "https://letagentpay.com/api/v1/agent-api"

// The environment variables that [New] reads if no option sets the value.
const (
	envToken   = "LETAGENTPAY_TOKEN"
	envBaseURL = "LETAGENTPAY_BASE_URL"
)

const (
	defaultMaxRetries     = 4
	defaultAttemptTimeout = time.Minute // generous: after a timeout it is unknown whether the attempt took effect
)

// Client calls the LetAgentPay service on behalf of one agent. Create it with [New]; the zero value is not usable. It
// is safe for concurrent use. One Client per agent is enough. All clients of a process share what they know of
// requests, and calls that the service cannot distinguish run one after another, whichever client makes them.
type Client struct {
	// X402 authorises and reports payments for paid HTTP APIs.
	X402 *X402Client

	transport *transport
	service   string // the base URL in canonical form
	agent     string // the digest of the token
	identity  string // the service and the agent, which own idempotency keys, aliases and journal entries
	process   *process
	poller    *poller
	observers []Observer
}

// Option configures a [Client]; see [New].
type Option func(*config) error

type config struct {
	token        string
	baseURL      string
	httpClient   *http.Client
	maxRetries   int
	logger       *slog.Logger
	appInfo      string
	insecureHTTP bool
	observers    []Observer
	process      *process
	tokenField   string // the option or variable that set the token, named in errors
	baseURLField string // the same for the base URL
}

// New returns a client for the agent that the token belongs to. It sends nothing.
//
// The token comes from [WithToken], or else from the environment variable LETAGENTPAY_TOKEN. The base URL comes from
// [WithBaseURL], or else from LETAGENTPAY_BASE_URL, or else it is [DefaultBaseURL]. An invalid or missing value is a
// [*ParamError] that names its option or variable.
func New(opts ...Option) (*Client, error) {
	c := config{
		token:        os.Getenv(envToken),
		tokenField:   envToken,
		baseURL:      os.Getenv(envBaseURL),
		baseURLField: envBaseURL,
		maxRetries:   defaultMaxRetries,
		process:      thisProcess,
	}
	for i, option := range opts {
		if option == nil {
			return nil, paramError("Option", "", "option "+strconv.Itoa(i)+" is nil")
		}
		if err := option(&c); err != nil {
			return nil, err
		}
	}
	if c.token == "" {
		reason := "want the agent's token, from WithToken or the environment variable " + envToken
		return nil, paramError("WithToken", "", reason)
	}
	if reason := checkToken(c.token); reason != "" {
		return nil, paramError(c.tokenField, "", reason)
	}
	if c.baseURL == "" {
		c.baseURL, c.baseURLField = DefaultBaseURL, "DefaultBaseURL"
	}
	base, err := parseBaseURL(c.baseURLField, c.baseURL, c.insecureHTTP)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(c.token))
	client := &Client{
		transport: newTransport(&c, base),
		service:   identityOf(base),
		agent:     hex.EncodeToString(digest[:]),
		process:   c.process,
	}
	client.identity = client.service + " " + client.agent + " "
	client.X402, client.observers = &X402Client{client}, c.observers
	client.poller = &poller{client: client}
	return client, nil
}

// WithToken sets the agent's bearer token, which starts with "agt_". Printing the client does not show it, and no error
// or log line contains it.
func WithToken(token string) Option {
	return func(c *config) error {
		c.token, c.tokenField = token, "WithToken"
		return nil
	}
}

// WithBaseURL sets the address of the Agent API, for a self-hosted service or a test server. It must be an https URL
// with a host. Plain http is accepted for loopback hosts, and for other hosts with [WithInsecureHTTP]. The x402 API has
// the same address with /x402 in place of a final /agent-api.
func WithBaseURL(baseURL string) Option {
	return func(c *config) error {
		if baseURL == "" {
			return paramError("WithBaseURL", "", "want a URL; leave the option out for the default")
		}
		c.baseURL, c.baseURLField = baseURL, "WithBaseURL"
		return nil
	}
}

// WithHTTPClient sets the HTTP client that sends the calls. The default uses [http.DefaultTransport].
//
// The client's transport must not retry requests: the error of its last attempt says nothing about the earlier ones.
// Its Timeout limits each attempt; 0 means one minute. Keep it generous: after a timeout it is unknown whether the
// attempt took effect. WithHTTPClient copies the client and uses its transport unchanged. Redirects to other hosts are
// refused, even if the client's CheckRedirect allows them.
func WithHTTPClient(client *http.Client) Option {
	return func(c *config) error {
		if client == nil {
			return paramError("WithHTTPClient", "", "want a client; leave the option out for the default")
		}
		c.httpClient = client
		return nil
	}
}

// WithMaxRetries sets how many times a call is retried after rate limits, server errors and broken connections, at most
// 100. The default is 4; 0 turns retries off. A confirmation is never retried blindly, but only when the request shows
// that the confirmation did not take effect.
//
// A purchase is retried under the same idempotency key, strictly one attempt after another. The service may still be
// working on an attempt that got no response of its own: it continues after a client or a gateway has given up, and two
// attempts that overlap there make two requests. So after an attempt that lasted for d, the client pauses for d, but at
// least 2 seconds, and reads the list of requests. If the purchase is not in it, the client pauses for as long again
// before the next attempt. A service that takes more than three times as long as the attempt lasted can still make a
// second request. The client finds that duplicate and reports it in [Purchase.Duplicates] and a [*DuplicateError], and
// nothing runs under it.
func WithMaxRetries(n int) Option {
	return func(c *config) error {
		const maximum = 100
		if n < 0 || n > maximum {
			return paramError("WithMaxRetries", strconv.Itoa(n), "want 0 to "+strconv.Itoa(maximum))
		}
		c.maxRetries = n
		return nil
	}
}

// WithLogger sets the logger of every attempt, at debug level, and of failures, at warn level. Without it, only what
// must not go unnoticed is logged, at warn level to [slog.Default]: an unconfirmed outcome that no caller receives as
// an error, a duplicate request, a journal that could not be cleaned up. Tokens and bodies are never logged.
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) error {
		if logger == nil {
			return paramError("WithLogger", "", "want a logger; leave the option out to log nothing")
		}
		c.logger = logger
		return nil
	}
}

// WithAppInfo adds the name and version of your agent, such as "my-agent/1.2", to the User-Agent header: 1 to 200
// printable ASCII characters.
func WithAppInfo(info string) Option {
	return func(c *config) error {
		if info == "" || len(info) > 200 || !printableASCII(info) || strings.TrimSpace(info) != info {
			return paramError("WithAppInfo", info, "want 1 to 200 printable ASCII characters, such as my-agent/1.2")
		}
		c.appInfo = info
		return nil
	}
}

// WithInsecureHTTP accepts a plain http base URL for hosts other than loopback. The token then travels unencrypted: use
// it only inside a network that you trust.
func WithInsecureHTTP() Option {
	return func(c *config) error {
		c.insecureHTTP = true
		return nil
	}
}

// WithObserver adds an observer of the client's operations; see [Observer]. If it is given more than once, the first
// observer is the outermost.
func WithObserver(observer Observer) Option {
	return func(c *config) error {
		if observer == nil {
			return paramError("WithObserver", "", "want an observer; leave the option out to have none")
		}
		c.observers = append(c.observers, observer)
		return nil
	}
}

// BaseURL returns the address of the Agent API that the client calls.
func (c *Client) BaseURL() string { return c.transport.agentBase.String() }

// String returns the client's base URL in a form for logs, without the token.
func (c *Client) String() string { return "letagentpay.Client(" + c.BaseURL() + ")" }
