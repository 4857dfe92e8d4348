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

// Version is the version of this SDK, which is sent to the service in the User-Agent header.
const Version = "0.1.0"

// DefaultBaseURL is the address of the service's Agent API, used unless [WithBaseURL] or LETAGENTPAY_BASE_URL names
// another.
const DefaultBaseURL = "https://letagentpay.com/api/v1/agent-api"

// The environment variables that [New] reads where no option says otherwise.
const (
	envToken   = "LETAGENTPAY_TOKEN"
	envBaseURL = "LETAGENTPAY_BASE_URL"
)

const (
	defaultMaxRetries     = 4
	defaultAttemptTimeout = time.Minute // generous: giving up early means not knowing
)

// Client talks to the LetAgentPay service on behalf of one agent. Make one with [New]. It is safe for concurrent use,
// and one per agent is best: its calls know of each other and never overlap where the service could not tell them
// apart.
type Client struct {
	// X402 authorises and reports payments of paid HTTP APIs.
	X402 *X402Client

	transport *transport
	service   string // the address in one form, however it is spelled
	agent     string // the digest of the token
	identity  string // of service and agent, to tell this agent's keys from another's
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
	tokenField   string // what to call the token and the base URL in an error: the option or the variable
	baseURLField string
}

// New returns a client for the agent that the token belongs to.
//
// The token comes from [WithToken], else from the environment variable LETAGENTPAY_TOKEN; the base URL from
// [WithBaseURL], else from LETAGENTPAY_BASE_URL, else it is [DefaultBaseURL]. Nothing is sent. A bad or missing value
// is a [*ParamError] that names it.
func New(opts ...Option) (*Client, error) {
	c := config{
		token: os.Getenv(envToken), tokenField: envToken,
		baseURL: os.Getenv(envBaseURL), baseURLField: envBaseURL,
		maxRetries: defaultMaxRetries, process: thisProcess,
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
		return nil, paramError("WithToken", "", "want the agent's token, from WithToken or the environment variable "+envToken)
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

// WithToken sets the agent's bearer token, "agt_…". It is kept where printing the client cannot reach it, and appears
// in no error and no log line.
func WithToken(token string) Option {
	return func(c *config) error {
		c.token, c.tokenField = token, "WithToken"
		return nil
	}
}

// WithBaseURL sets the address of the Agent API, for self-hosted services and test servers. It must be an https URL
// with a host; plain http is accepted for loopback hosts, and for others with [WithInsecureHTTP]. The x402 API is
// taken to be its sibling: the same address with /x402 in place of a final /agent-api.
func WithBaseURL(baseURL string) Option {
	return func(c *config) error {
		if baseURL == "" {
			return paramError("WithBaseURL", "", "want a URL; leave the option out for the default")
		}
		c.baseURL, c.baseURLField = baseURL, "WithBaseURL"
		return nil
	}
}

// WithHTTPClient sets the HTTP client that carries the calls; the default is a client of [http.DefaultTransport]. The
// client is copied and its transport is used as it is; the transport must not repeat requests, because an error of its
// last attempt says nothing of the others. Its Timeout bounds each attempt; 0 means one minute. Keep it
// generous: an attempt given up early leaves open whether it took effect. Redirects to other hosts are refused
// whatever the client says.
func WithHTTPClient(client *http.Client) Option {
	return func(c *config) error {
		if client == nil {
			return paramError("WithHTTPClient", "", "want a client; leave the option out for the default")
		}
		c.httpClient = client
		return nil
	}
}

// WithMaxRetries sets how often a call is repeated after rate limits, server errors and broken connections; the
// default is 4, and 0 turns repeating off. Confirmations are never repeated blindly, but only when the request shows that
// they did not take effect.
//
// Purchases are repeated under one idempotency key, strictly one after another. The service may still be at work on an
// attempt that got no answer of its own: it carries on after a client or a gateway has given up, and two attempts that
// overlap there are two requests. So after an attempt that lasted for d, the client pauses for d, at least 2 seconds, and
// looks at the list of requests. If the purchase is not there, it pauses for as long again before it posts. A service
// that takes more than three times as long as the attempt was given can still make a second request: that one is found
// and named, in [Purchase.Duplicates] and a [*DuplicateError], and nothing runs under it.
func WithMaxRetries(n int) Option {
	return func(c *config) error {
		const most = 100
		if n < 0 || n > most {
			return paramError("WithMaxRetries", strconv.Itoa(n), "want 0 to "+strconv.Itoa(most))
		}
		c.maxRetries = n
		return nil
	}
}

// WithLogger sets the logger for every attempt, at debug level, and for what went wrong, at warn level. Without it only
// what must not stay unknown is logged, at warn level to [slog.Default]: an outcome that was not confirmed and that no
// caller gets as an error, a request made twice, a journal that could not be tidied. Neither tokens nor bodies are ever
// logged.
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) error {
		if logger == nil {
			return paramError("WithLogger", "", "want a logger; leave the option out to log nothing")
		}
		c.logger = logger
		return nil
	}
}

// WithAppInfo adds the name and version of your agent, such as "my-agent/1.2", to the User-Agent header.
func WithAppInfo(info string) Option {
	return func(c *config) error {
		if info == "" || len(info) > 200 || !printableASCII(info) || strings.TrimSpace(info) != info {
			return paramError("WithAppInfo", info, "want 1 to 200 printable ASCII characters, such as my-agent/1.2")
		}
		c.appInfo = info
		return nil
	}
}

// WithInsecureHTTP accepts a plain http base URL for hosts other than loopback. The token then travels readable by
// everyone on the way: use it only inside a network you trust.
func WithInsecureHTTP() Option {
	return func(c *config) error {
		c.insecureHTTP = true
		return nil
	}
}

// WithObserver adds an observer of operations. It may be given more than once; the first given is the outermost.
func WithObserver(observer Observer) Option {
	return func(c *config) error {
		if observer == nil {
			return paramError("WithObserver", "", "want an observer; leave the option out to have none")
		}
		c.observers = append(c.observers, observer)
		return nil
	}
}

// BaseURL returns the address of the Agent API that the client talks to.
func (c *Client) BaseURL() string { return c.transport.agentBase.String() }

// String describes the client without its token.
func (c *Client) String() string { return "letagentpay.Client(" + c.BaseURL() + ")" }
