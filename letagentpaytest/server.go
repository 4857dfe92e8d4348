package letagentpaytest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/letagentpay/letagentpay-go"
)

// TB is the part of [testing.TB] that a server needs.
type TB interface {
	// Helper marks the caller as a test helper.
	Helper()
	// Cleanup registers a function to be called when the test ends.
	Cleanup(func())
	// Errorf reports a failure of the test, which continues.
	Errorf(format string, args ...any)
	// Fatalf reports a failure of the test, and ends it.
	Fatalf(format string, args ...any)
}

// Server is a LetAgentPay service for tests: one owner's account with its agents, or several. All methods are safe for
// concurrent use.
type Server struct {
	// URL is the base URL of the Agent API, for [letagentpay.WithBaseURL]. It ends in /api/v1/agent-api.
	URL string
	// Token is the token of the main agent, until [Server.ApplyScenario].
	Token string

	tb       TB
	options  *settings
	ids      *idSource
	sequence atomic.Uint64
	world    atomic.Pointer[world]
	faults   faultList
	calls    callLog
	human    atomic.Pointer[func(Request) Verdict]
	races    atomic.Pointer[Races] // nil: each call is carried out at one instant

	life       context.Context // ends with the server
	end        context.CancelFunc
	memory     bool
	memoryHost string
	listener   *http.Server
	served     chan struct{} // closed when the listener has ended
	handlers   gate
	transport  http.RoundTripper
	closing    sync.Once
}

// NewServer starts a server and closes it when the test ends. A wrong option fails the test. If the test fails, its log
// shows the last calls to the server.
func NewServer(t TB, options ...Option) *Server {
	t.Helper()
	s, err := startServer(t, options)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(func() {
		s.Close()
		s.showCalls(t)
	})
	return s
}

// Start starts a server outside a test, for programs and examples. The caller must close it.
func Start(options ...Option) (*Server, error) { return startServer(nil, options) }

func startServer(t TB, options []Option) (*Server, error) {
	o, err := newSettings(options)
	if err != nil {
		return nil, err
	}
	s := &Server{
		tb:      t,
		options: o,
		ids:     &idSource{seed: o.seed},
		memory:  o.memory,
	}
	s.calls.limit = o.history
	s.races.Store(o.races)
	s.life, s.end = context.WithCancel(context.Background())
	if err := s.reset(o.scenario, true); err != nil {
		s.end()
		return nil, err
	}
	if s.memory {
		s.memoryHost = fmt.Sprintf("https://mock-%d.letagentpay.test", memoryServers.Add(1))
		s.URL = s.memoryHost + agentAPI
		s.transport = memoryTransport{s}
		return s, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.end()
		return nil, fmt.Errorf("letagentpaytest: %w", err)
	}
	s.URL = "http://" + listener.Addr().String() + agentAPI
	s.transport = &http.Transport{MaxIdleConnsPerHost: 64}
	s.listener = &http.Server{
		Handler:     s.gated(s.serve(s.exchangeWatched)),
		BaseContext: func(net.Listener) context.Context { return s.life },
		ErrorLog:    log.New(io.Discard, "", 0), // connections are dropped only for a fault
	}
	s.served = make(chan struct{})
	go func() {
		defer close(s.served)
		_ = s.listener.Serve(listener) // returns when the server is closed
	}()
	return s, nil
}

// Close stops the server and ends all calls in progress, including those that continue without their clients. A
// purchase or confirmation that waits for its commit is not carried out. Close waits for the calls in goroutines of the
// server: over sockets all calls, in memory those under [WithServiceRaces] or a [Fault] with a GatewayTimeout. A
// function that the server calls, such as that of [Server.OnPending], must therefore return, and must not call Close. A
// second Close has no effect.
func (s *Server) Close() {
	s.closing.Do(func() {
		s.end()
		if !s.memory {
			s.transport.(*http.Transport).CloseIdleConnections()
			_ = s.listener.Close()
			<-s.served
		}
		s.handlers.close()
	})
}

// HTTPClient returns an HTTP client for the server, for [letagentpay.WithHTTPClient]. Only such a client reaches an
// in-memory server.
func (s *Server) HTTPClient() *http.Client { return &http.Client{Transport: s.transport} }

// Client returns a client of the main agent. The options are applied after those that connect the client.
func (s *Server) Client(options ...letagentpay.Option) *letagentpay.Client {
	s.helper()
	return s.newClient(s.Token, options)
}

func (s *Server) newClient(token string, options []letagentpay.Option) *letagentpay.Client {
	s.helper()
	client, err := letagentpay.New(append([]letagentpay.Option{
		letagentpay.WithToken(token), letagentpay.WithBaseURL(s.URL), letagentpay.WithHTTPClient(s.HTTPClient()),
	}, options...)...)
	if err != nil {
		s.fatalf("letagentpaytest: client: %v", err)
	}
	return client
}

// fatalf ends the test with an error of the caller. Outside a test it panics.
func (s *Server) fatalf(format string, args ...any) {
	if s.tb == nil {
		panic(fmt.Sprintf(format, args...))
	}
	s.tb.Helper()
	s.tb.Fatalf(format, args...)
}

func (s *Server) helper() {
	if s.tb != nil {
		s.tb.Helper()
	}
}
