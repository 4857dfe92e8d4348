package letagentpay_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// priced returns a request with a price.
func priced(ctx context.Context, t *testing.T, method, address, amount string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	require.NoError(t, err)
	request.Header.Set("Price", amount)
	return request
}

// guarding returns a guard that prices requests by their Price header.
func guarding(client *letagentpay.Client, next http.RoundTripper) *letagentpay.GuardTransport {
	return &letagentpay.GuardTransport{Client: client, Price: priceHeader, Next: next}
}

// recovered returns the value with which do panics.
func recovered(do func()) (r any) {
	defer func() { r = recover() }()
	do()
	return nil
}

func TestGuardTransportTakesDoubtfulAnswersAsPaid(t *testing.T) {
	for status, paid := range map[int]bool{
		101: true, 200: true, 201: true, 202: true, 204: true, 206: true,
		300: false, 301: false, 302: false, 303: false, 304: false, 307: false, 308: false,
		400: false, 401: false, 402: false, 403: false, 404: false, 409: false, 422: false, 425: false, 429: false,
		408: true, 499: true,
		500: true, 501: true, 502: true, 503: true, 504: true, 520: true, 524: true, 599: true,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			server := serve(t)
			transport := guarding(server.Client(), roundTrip(answer(status, "{}")))
			response, err := transport.RoundTrip(priced(t.Context(), t, "POST", "https://api.example/v1", "30"))
			require.NoError(t, err)
			assert.Equal(t, status, response.StatusCode)
			spent := map[bool]string{true: "30.00", false: "0.00"}[paid]
			books(t, server, spent, "0.00")
			assert.True(t, server.Requests()[0].Status.Final())
		})
	}
}

func TestGuardTransportRefundsWhatWasNeverSent(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	deadURL := &url.URL{Scheme: "http", Host: dead.Addr().String()}
	require.NoError(t, dead.Close())
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	defer secure.Close()
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }
	refusing := httptest.NewServer(http.HandlerFunc(refuse))
	defer refusing.Close()
	refusingURL, err := url.Parse(refusing.URL)
	require.NoError(t, err)
	cutting := newRawServer(t, func(string) string { return "" })
	done := make(chan struct{})
	defer close(done)
	hanging := func(context.Context, string, string) (net.Conn, error) { // ignores the context
		<-done
		return nil, errRefused
	}

	plain := new(http.Transport)
	through := func(proxy *url.URL) http.RoundTripper { return &http.Transport{Proxy: http.ProxyURL(proxy)} }
	slow := &http.Transport{DialContext: hanging}
	always := func(next http.RoundTripper) func(func()) http.RoundTripper {
		return func(func()) http.RoundTripper { return next }
	}
	overTLS := func(address string) string { return strings.Replace(address, "http:", "https:", 1) }
	setHeader := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		next    func(cancel func()) http.RoundTripper
		address string
		change  func(*http.Request)
	}{
		"no connection":                 {always(plain), deadURL.String(), nil},
		"no connection to the proxy":    {always(through(deadURL)), "https://api.example/v1", nil},
		"the proxy refuses":             {always(through(refusingURL)), "https://api.example/v1", nil},
		"unknown scheme":                {always(plain), "htp://api.example/v1", nil},
		"invalid header":                {always(plain), deadURL.String(), setHeader("X-A", "a\nb")},
		"invalid method":                {always(plain), deadURL.String(), func(r *http.Request) { r.Method = "a b" }},
		"no host":                       {always(plain), "http:///v1", nil},
		"untrusted certificate":         {always(plain), secure.URL, nil},
		"no TLS at the far end":         {always(plain), overTLS(refusing.URL), nil},
		"the connection breaks in TLS":  {always(plain), overTLS(cutting.url("")), nil},
		"another transport cannot dial": {always(roundTrip(broken(errRefused))), "https://api.example/v1", nil},
		"cancelled before net/http": {func(cancel func()) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) { cancel(); return plain.RoundTrip(r) })
		}, deadURL.String(), nil},
		"cancelled while it connects": {func(cancel func()) http.RoundTripper {
			return &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				cancel()
				return hanging(ctx, network, address)
			}}
		}, "http://api.example/v1", nil},
		"abandoned while it connects": {always(givingUp{slow}), "http://api.example/v1", nil},
		"refused by the dialer's own proxy": {
			always(&http.Transport{DialContext: connecting(refusingURL.Host)}), "http://api.example/v1", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			request := priced(ctx, t, http.MethodGet, c.address, "30")
			if c.change != nil {
				c.change(request)
			}
			transport := guarding(server.Client(), c.next(cancel))
			_, err := transport.RoundTrip(request)
			require.Error(t, err)
			require.Len(t, server.Requests(), 1)
			assert.Equal(t, letagentpay.StatusFailed, server.Requests()[0].Status, "%v", err)
			books(t, server, "0.00", "0.00")
		})
	}
}

// connecting returns a dialer that sends CONNECT to a proxy, under the context of the dial, and is refused.
func connecting(proxy string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, proxy)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address}
		if err := request.WithContext(ctx).Write(conn); err != nil {
			return nil, err
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		return nil, errors.New("the proxy answers " + response.Status)
	}
}

// A Next that makes several attempts returns the errors of all of them.
func TestGuardTransportKeepsBookedWhatOneOfSeveralAttemptsMayHavePaid(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errRefused}
	for name, c := range map[string]struct {
		err    error
		booked string
	}{
		"timeout, then no connection":         {errors.Join(context.DeadlineExceeded, dial), "30.00"},
		"cut off, then no connection":         {errors.Join(io.ErrUnexpectedEOF, dial), "30.00"},
		"cut off, then an untrusted server":   {errors.Join(io.ErrUnexpectedEOF, x509Error()), "30.00"},
		"something, then no connection":       {fmt.Errorf("%w, %w", errors.New("first way"), dial), "30.00"},
		"no connection, then no connection":   {errors.Join(dial, fmt.Errorf("second way: %w", dial)), "0.00"},
		"untrusted server, then no such host": {errors.Join(x509Error(), &net.DNSError{Err: "no such host"}), "0.00"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			transport := guarding(server.Client(), roundTrip(broken(c.err)))
			_, err := transport.RoundTrip(priced(t.Context(), t, http.MethodPost, "https://api.example/v1", "30"))
			require.ErrorIs(t, err, errors.Unwrap(fmt.Errorf("%w", c.err)))
			books(t, server, c.booked, "0.00")
		})
	}
}

// givingUp is a transport that returns as soon as next connects, while the request continues.
type givingUp struct{ next http.RoundTripper }

func (g givingUp) RoundTrip(r *http.Request) (*http.Response, error) {
	connects := make(chan struct{})
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GetConn: func(string) { close(connects) }})
	go func() {
		if response, err := g.next.RoundTrip(r.WithContext(ctx)); err == nil {
			response.Body.Close()
		}
	}()
	<-connects
	return nil, errors.New("too slow")
}

// leaving are the moments before a run at which its caller cancels.
var leaving = map[string]func(leave func()) ([]letagentpay.Option, []letagentpay.GuardOption){
	"during the purchase": func(leave func()) ([]letagentpay.Option, []letagentpay.GuardOption) {
		return []letagentpay.Option{letagentpay.WithObserver(ending{operation.Purchase, leave})}, nil
	},
	"when the journal records the start": func(leave func()) ([]letagentpay.Option, []letagentpay.GuardOption) {
		return nil, []letagentpay.GuardOption{letagentpay.WithJournal(&troubledJournal{
			trouble: func(op string, state journalState) {
				if op == "put" && state == stateStarted {
					leave()
				}
			},
		})}
	},
}

func TestGuardTransportDoesNotSendWhatNobodyWaitsFor(t *testing.T) {
	for name, leaves := range leaving {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			clientOptions, options := leaves(cancel)
			never := func(*http.Request) (*http.Response, error) {
				t.Error("sent")
				return nil, errReset
			}
			transport := guarding(server.Client(clientOptions...), roundTrip(never))
			transport.Options = options
			body := &closing{Reader: strings.NewReader("body")}
			request := priced(ctx, t, http.MethodPost, "https://api.example/v1", "30")
			request.Body = body
			_, err := transport.RoundTrip(request)
			require.ErrorIs(t, err, context.Canceled)
			assert.True(t, body.closed)
			require.Len(t, server.Requests(), 1)
			assert.Equal(t, letagentpay.StatusFailed, server.Requests()[0].Status)
			books(t, server, "0.00", "0.00")
		})
	}
}

// ending is an observer that does something when an operation ends.
type ending struct {
	op operation.Op
	do func()
}

func (e ending) Begin(ctx context.Context, op operation.Op) (context.Context, func(letagentpay.Observation)) {
	return ctx, func(letagentpay.Observation) {
		if op == e.op {
			e.do()
		}
	}
}

func TestGuardTransportTakesWhatWasSentAsPaid(t *testing.T) {
	arrived := make(chan struct{})
	far := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	defer far.Close()
	plain := &http.Transport{}
	defer plain.CloseIdleConnections()
	for name, next := range map[string]func(cancel func()) http.RoundTripper{
		"cancelled in net/http": func(cancel func()) http.RoundTripper {
			go func() { <-arrived; cancel() }()
			return plain
		},
		"cancelled in another transport": func(cancel func()) http.RoundTripper {
			return roundTrip(func(*http.Request) (*http.Response, error) { cancel(); return nil, context.Canceled })
		},
		"timed out in another transport": func(func()) http.RoundTripper {
			return roundTrip(broken(context.DeadlineExceeded))
		},
		"neither answer nor error": func(func()) http.RoundTripper { return roundTrip(broken(nil)) },
		"an error without a text":  func(func()) http.RoundTripper { return roundTrip(broken((*textless)(nil))) },
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			transport := guarding(server.Client(), next(cancel))
			response, err := transport.RoundTrip(priced(ctx, t, http.MethodGet, far.URL, "30"))
			assert.Nil(t, response)
			assert.True(t, err != nil)
			require.Len(t, server.Requests(), 1)
			books(t, server, "30.00", "0.00")
		})
	}
}

// textless is an error whose Error method panics for nil.
type textless struct{ text string }

func (e *textless) Error() string { return e.text }

func TestGuardTransportReturnsAResponseOrAnError(t *testing.T) {
	server := serve(t)
	body := &closing{Reader: strings.NewReader("body")}
	transport := guarding(server.Client(), roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: body}, errReset
	}))
	response, err := transport.RoundTrip(priced(t.Context(), t, http.MethodGet, "https://api.example/v1", "30"))
	assert.Nil(t, response)
	require.ErrorIs(t, err, errReset)
	assert.True(t, body.closed)
	books(t, server, "30.00", "0.00")
}

func TestGuardTransportConfirmsBeforeAPanicContinues(t *testing.T) {
	ok := func() roundTrip { return roundTrip(answer(200, "{}")) }
	for name, c := range map[string]struct {
		next    roundTrip
		charged func(*http.Response, error) (letagentpay.Amount, bool)
		spent   string
	}{
		"Charged panics": {ok(), func(r *http.Response, _ error) (letagentpay.Amount, bool) {
			return letagentpay.MustAmount(r.Header.Get("X-Cost")), true
		}, "30.00"},
		"Charged ends the goroutine": {ok(), func(*http.Response, error) (letagentpay.Amount, bool) {
			runtime.Goexit()
			return letagentpay.Amount{}, false
		}, "30.00"},
		"Next panics": {func(*http.Request) (*http.Response, error) { panic("a bug in a wrapper") }, nil, "30.00"},
		"Next ends the goroutine": {func(*http.Request) (*http.Response, error) {
			runtime.Goexit()
			return nil, nil
		}, nil, "30.00"},
		"Next has paid, and panics": {func(r *http.Request) (*http.Response, error) {
			approval, _ := letagentpay.ApprovalFromContext(r.Context())
			assert.NoError(t, approval.Spent(letagentpay.MustAmount("12"), ""))
			panic("after paying")
		}, nil, "12.00"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			body := &closing{Reader: strings.NewReader("body")}
			next := func(r *http.Request) (*http.Response, error) {
				response, err := c.next(r)
				response.Body = body
				return response, err
			}
			transport := guarding(server.Client(), roundTrip(next))
			transport.Charged = c.charged
			returned := false
			var panicked any
			var gone sync.WaitGroup
			gone.Go(func() {
				panicked = recovered(func() {
					_, _ = transport.RoundTrip(priced(t.Context(), t, http.MethodGet, "https://api.example/v1", "30"))
					returned = true
				})
			})
			gone.Wait()
			assert.False(t, returned)
			assert.Equal(t, strings.Contains(name, "panics"), panicked != nil)
			assert.Equal(t, c.charged != nil, body.closed)
			assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status)
			books(t, server, c.spent, "0.00")
		})
	}
}

func TestGuardTransportKeepsWhatNextHasSpent(t *testing.T) {
	server := serve(t)
	transport := guarding(server.Client(), roundTrip(func(r *http.Request) (*http.Response, error) {
		approval, _ := letagentpay.ApprovalFromContext(r.Context())
		assert.NoError(t, approval.Spent(letagentpay.MustAmount("12"), ""))
		return answer(200, "{}")(r)
	}))
	_, err := transport.RoundTrip(priced(t.Context(), t, http.MethodGet, "https://api.example/v1", "30"))
	require.NoError(t, err)
	books(t, server, "12.00", "0.00")
}

// panickingHandler panics on the record of a lost confirmation.
type panickingHandler struct{ slog.Handler }

func (panickingHandler) Handle(_ context.Context, record slog.Record) error {
	if record.Message == "letagentpay.unconfirmed" {
		panic("the log is full")
	}
	return nil
}

func TestLostConfirmationsReachSomebody(t *testing.T) {
	const record = "level=WARN msg=letagentpay.unconfirmed request_id="
	broken := slog.New(panickingHandler{slog.NewTextHandler(io.Discard, nil)})
	for name, c := range map[string]struct {
		opts   []letagentpay.Option
		report func(*http.Request, error)
		logged bool
	}{
		"defaults":                {nil, nil, true},
		"a log that panics":       {[]letagentpay.Option{letagentpay.WithLogger(broken)}, nil, true},
		"a callback that panics":  {nil, func(*http.Request, error) { panic("callback") }, true},
		"a callback that returns": {nil, func(*http.Request, error) {}, false},
	} {
		for _, what := range []string{"transport", "transport and panic", "handler", "handler and panic"} {
			t.Run(name+", "+what, func(t *testing.T) {
				logged := defaultLog(t)
				synctest.Test(t, func(t *testing.T) {
					server := serve(t)
					server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: 503})
					reported := 0
					report := c.report
					if report != nil {
						report = func(r *http.Request, err error) {
							reported++
							assert.NotNil(t, r)
							var confirm *letagentpay.UnconfirmedError
							assert.ErrorAs(t, err, &confirm)
							c.report(r, err)
						}
					}
					request := priced(t.Context(), t, http.MethodGet, "https://api.example/v1", "30")
					panics := strings.HasSuffix(what, "panic")
					run := func() {
						if strings.HasPrefix(what, "transport") {
							next := roundTrip(answer(200, "{}"))
							if panics {
								next = func(*http.Request) (*http.Response, error) { panic("after paying") }
							}
							transport := guarding(server.Client(c.opts...), next)
							transport.Unconfirmed = report
							response, err := transport.RoundTrip(request)
							assert.NoError(t, err)
							assert.Equal(t, 200, response.StatusCode)
							return
						}
						handler := &letagentpay.GuardHandler{
							Client:      server.Client(c.opts...),
							Price:       priceHeader,
							Unconfirmed: report,
							Next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
								w.WriteHeader(200)
								if panics {
									panic("after paying")
								}
							}),
						}
						recorder := httptest.NewRecorder()
						handler.ServeHTTP(recorder, request)
						assert.Equal(t, 200, recorder.Code)
					}
					if panics {
						assert.PanicsWithValue(t, "after paying", run)
					} else {
						run()
					}
					assert.Equal(t, c.report != nil, reported == 1)
					line := record + server.Requests()[0].RequestID
					assert.Equal(t, c.logged, strings.Contains(logged.String(), line), logged.String())
				})
			})
		}
	}
}

func TestLostConfirmationsAreLoggedWithoutTheToken(t *testing.T) {
	logged := defaultLog(t)
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("POST", "/requests", answer(201, autoApproved)).
			on("POST", "/requests/r1/confirm", answer(403, `{"detail":"no, `+testToken+`"}`))
		transport := guarding(s.client(), roundTrip(answer(200, "{}")))
		_, err := transport.RoundTrip(priced(t.Context(), t, http.MethodGet, "https://api.example/v1", "49.99"))
		require.NoError(t, err)
		assert.Contains(t, logged.String(), "request_id=r1")
		assert.NotContains(t, logged.String(), testToken)
	})
}

func TestGuardTransportReportsOverspending(t *testing.T) {
	logged := defaultLog(t)
	server := serve(t)
	transport := &letagentpay.GuardTransport{
		Client:  server.Client(),
		Price:   priceHeader,
		Next:    roundTrip(answer(200, "{}")),
		Charged: func(*http.Response, error) (letagentpay.Amount, bool) { return letagentpay.MustAmount("42"), true },
	}
	_, err := transport.RoundTrip(priced(t.Context(), t, http.MethodGet, "https://api.example/v1", "30"))
	require.NoError(t, err)
	assert.Contains(t, logged.String(), "msg=letagentpay.spent")
	assert.Contains(t, logged.String(), "spent 42.00, approved 30.00")
	books(t, server, "42.00", "0.00")
}

func TestGuardTransportReleasesTheContextWithTheBody(t *testing.T) {
	server := serve(t)
	var seen context.Context
	body := io.NopCloser(strings.NewReader("body"))
	transport := guarding(server.Client(), roundTrip(func(r *http.Request) (*http.Response, error) {
		seen = r.Context()
		assert.Nil(t, r.GetBody)
		return &http.Response{StatusCode: 200, Body: body}, nil
	}))
	send := func() *http.Response {
		request := priced(t.Context(), t, http.MethodPost, "https://api.example/v1", "1")
		request.GetBody = func() (io.ReadCloser, error) { return nil, errShop }
		response, err := transport.RoundTrip(request)
		require.NoError(t, err)
		assert.NotNil(t, request.GetBody, "the caller's request does not change")
		return response
	}
	response := send()
	require.NoError(t, seen.Err(), "the body is not read yet")
	_, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Error(t, seen.Err(), "read to the end")

	body = io.NopCloser(strings.NewReader("body"))
	response = send()
	require.NoError(t, seen.Err())
	require.NoError(t, response.Body.Close())
	require.Error(t, seen.Err(), "closed")

	body = http.NoBody
	assert.Equal(t, http.NoBody, send().Body)
	require.Error(t, seen.Err(), "nothing to read")
}

func TestGuardTransportSwitchesProtocols(t *testing.T) {
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = buffered.Flush()
		text, _ := io.ReadAll(buffered) // until this direction is closed
		_, _ = buffered.Write(text)
		_ = buffered.Flush()
	}))
	defer far.Close()
	server := serve(t)
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	transport := guarding(server.Client(), base)
	request := priced(t.Context(), t, http.MethodGet, far.URL, "30")
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "echo")
	response, err := transport.RoundTrip(request)
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = io.WriteString(response.Body.(io.Writer), "hello\n")
	require.NoError(t, err)
	require.NoError(t, response.Body.(interface{ CloseWrite() error }).CloseWrite())
	echo, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(echo))
	books(t, server, "30.00", "0.00")
}

// keysOf sends requests through a guard and returns the keys of the purchases that it made.
func keysOf(t *testing.T, own string, requests ...*http.Request) (keys []string) {
	server := serve(t)
	transport := &letagentpay.GuardTransport{
		Client: server.Client(),
		Next:   roundTrip(answer(200, "{}")),
		Price: func(*http.Request) (*letagentpay.PurchaseParams, error) {
			p := price("1")
			p.IdempotencyKey = own
			return &p, nil
		},
	}
	for _, request := range requests {
		_, err := transport.RoundTrip(request)
		require.NoError(t, err)
	}
	for _, call := range server.Calls() {
		if call.Op == operation.Purchase {
			keys = append(keys, call.Header.Get("Idempotency-Key"))
		}
	}
	require.Len(t, keys, len(requests))
	return keys
}

func TestGuardTransportTakesTheKeyOfTheRequest(t *testing.T) {
	build := func(ctx context.Context, method, address string, header ...string) *http.Request {
		request, err := http.NewRequestWithContext(ctx, method, address, nil)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			request.Header[header[i]] = append(request.Header[header[i]], header[i+1])
		}
		return request
	}
	const address = "https://api.example/v1/answers"
	scope := letagentpay.WithPurchaseScope(t.Context(), "turn 17")
	key := func(own string, request *http.Request) string { return keysOf(t, own, request)[0] }
	plain := key("", build(t.Context(), "POST", address, "Idempotency-Key", "order-17"))
	assert.Regexp(t, "^http-[a-z2-7]{52}$", plain)

	for name, same := range map[string]*http.Request{
		"again":         build(t.Context(), "POST", address, "Idempotency-Key", "order-17"),
		"in a scope":    build(scope, "POST", address, "Idempotency-Key", "order-17"),
		"another query": build(t.Context(), "POST", address+"?api_key=secret", "Idempotency-Key", "order-17"),
		"another case": build(t.Context(), "POST", "HTTPS://API.example/v1/answers",
			"idempotency-key", " order-17 "),
		"the other header": build(t.Context(), "POST", address, "X-Idempotency-Key", "order-17"),
		"both headers": build(t.Context(), "POST", address,
			"X-Idempotency-Key", "no", "Idempotency-Key", "order-17"),
		"another empty one": build(t.Context(), "POST", address,
			"Idempotency-Key", "", "X-Idempotency-Key", "order-17"),
		"another header": build(t.Context(), "POST", address,
			"Idempotency-Key", "order-17", "X-Retry-Count", "2"),
	} {
		assert.Equal(t, plain, key("", same), name)
	}
	get := build(t.Context(), "GET", address, "Idempotency-Key", "order-17")
	unnamed := get.Clone(t.Context())
	unnamed.Method = ""
	assert.Equal(t, key("", get), key("", unnamed), "an empty method is GET")
	seen := map[string]string{plain: "the first"}
	for name, other := range map[string]*http.Request{
		"another value":  build(t.Context(), "POST", address, "Idempotency-Key", "order-18"),
		"another method": build(t.Context(), "PUT", address, "Idempotency-Key", "order-17"),
		"another path":   build(t.Context(), "POST", address+"/", "Idempotency-Key", "order-17"),
		"another host": build(t.Context(), "POST", "https://api.example:8443/v1/answers",
			"Idempotency-Key", "order-17"),
		"another scheme": build(t.Context(), "POST", "http://api.example/v1/answers", "Idempotency-Key", "order-17"),
		"shifted":        build(t.Context(), "POST", address+"order", "Idempotency-Key", "-17"),
		"no header":      build(t.Context(), "POST", address),
		"empty header":   build(t.Context(), "POST", address, "Idempotency-Key", " "),
	} {
		got := key("", other)
		assert.Empty(t, seen[got], "%s is %s", name, seen[got])
		seen[got] = name
	}
	assert.Equal(t, "own", key("own", build(scope, "POST", address, "Idempotency-Key", "order-17")),
		"Price takes precedence")
	assert.Regexp(t, "^scope-", key("", build(scope, "POST", address)))
	assert.Regexp(t, "^[A-Z2-7]{26}$", key("", build(t.Context(), "POST", address)))
}

func TestRequestRepeatedUnderItsIdempotencyKeyBuysOnce(t *testing.T) {
	type far = func(*http.Request) (*http.Response, error)
	ok, unreachable := far(answer(200, "{}")), far(broken(errRefused))
	const completed, failed = letagentpay.StatusCompleted, letagentpay.StatusFailed
	for name, c := range map[string]struct {
		answers []far
		sent    int
		status  []letagentpay.Status // of the purchases
		err     bool                 // of the last request
	}{
		"lost":    {[]far{broken(errReset), ok}, 1, []letagentpay.Status{completed}, true},
		"gateway": {[]far{answer(503, "{}"), ok}, 1, []letagentpay.Status{completed}, true},
		"bought":  {[]far{ok, ok}, 1, []letagentpay.Status{completed}, true},
		"limited": {[]far{answer(429, "{}"), ok, ok}, 2, []letagentpay.Status{completed, failed}, true},
		"never connected": {
			answers: []far{unreachable, unreachable, ok},
			sent:    3,
			status:  []letagentpay.Status{completed, failed, failed},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			sent := 0
			transport := guarding(server.Client(), roundTrip(func(r *http.Request) (*http.Response, error) {
				sent++
				return c.answers[sent-1](r)
			}))
			var err error
			for range c.answers {
				request := priced(t.Context(), t, http.MethodPost, "https://api.example/v1", "5")
				request.Header.Set("Idempotency-Key", "order 17")
				_, err = transport.RoundTrip(request)
			}
			var handled *letagentpay.AlreadyHandledError
			assert.Equal(t, c.err, errors.As(err, &handled), "%v", err)
			assert.Equal(t, c.sent, sent)
			var statuses []letagentpay.Status
			for _, request := range server.Requests() {
				statuses = append(statuses, request.Status)
			}
			assert.ElementsMatch(t, c.status, statuses)
			books(t, server, "5.00", "0.00")
		})
	}
}

// The service does not know that the first attempt failed. A second purchase would book the money twice.
func TestRequestWhoseRefundDidNotGetThroughIsNotAskedForAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 503, Times: -1})
		sent, reported := 0, 0
		transport := guarding(server.Client(), roundTrip(func(r *http.Request) (*http.Response, error) {
			if sent++; sent == 1 {
				return answer(429, "{}")(r)
			}
			return answer(200, "{}")(r)
		}))
		transport.Options = []letagentpay.GuardOption{letagentpay.WithJournal(new(memoryJournal))}
		transport.Unconfirmed = func(*http.Request, error) { reported++ }
		send := func() error {
			request := priced(t.Context(), t, http.MethodPost, "https://api.example/v1", "5")
			request.Header.Set("Idempotency-Key", "order 17")
			_, err := transport.RoundTrip(request)
			return err
		}
		require.NoError(t, send())
		require.Equal(t, 1, reported)
		time.Sleep(10 * time.Minute)
		err := send()
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		assert.Len(t, server.Requests(), 1)
		assert.Equal(t, 1, sent)
		books(t, server, "5.00", "0.00")

		server.ClearFaults()
		time.Sleep(10 * time.Minute)
		require.NoError(t, send(), "the refund takes effect, and a new purchase follows")
		assert.Len(t, server.Requests(), 2)
		assert.Equal(t, 2, sent)
		books(t, server, "5.00", "0.00")
	})
}

func TestRequestRepeatedInARunOfAScopePaysAgainOnlyAfterASuccess(t *testing.T) {
	charged := func(*http.Response, error) (letagentpay.Amount, bool) { return letagentpay.Amount{}, true }
	for name, c := range map[string]struct {
		first   func(*http.Request) (*http.Response, error)
		charged func(*http.Response, error) (letagentpay.Amount, bool)
		sent    int
		spent   string
	}{
		"bought":                   {answer(200, "{}"), nil, 2, "10.00"},
		"redirected, and charged":  {answer(303, "{}"), charged, 2, "10.00"},
		"a gateway gave up":        {answer(503, "{}"), nil, 1, "5.00"},
		"the answer was lost":      {broken(errReset), nil, 1, "5.00"},
		"timed out at the far end": {answer(408, "{}"), nil, 1, "5.00"},
		"bad request, and charged": {answer(400, "{}"), charged, 1, "5.00"},
		"limited, and not charged": {answer(429, "{}"), nil, 2, "5.00"},
		"never sent":               {broken(errRefused), nil, 2, "5.00"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			sent := 0
			transport := guarding(server.Client(), roundTrip(func(r *http.Request) (*http.Response, error) {
				if sent++; sent == 1 {
					return c.first(r)
				}
				return answer(200, "{}")(r)
			}))
			transport.Charged = c.charged
			ctx := oneRun(t.Context())
			_, _ = transport.RoundTrip(priced(ctx, t, http.MethodPost, "https://api.example/v1", "5"))
			_, err := transport.RoundTrip(priced(ctx, t, http.MethodPost, "https://api.example/v1", "5"))
			var handled *letagentpay.AlreadyHandledError
			assert.Equal(t, c.sent == 1, errors.As(err, &handled), "%v", err)
			assert.Equal(t, c.sent, sent)
			books(t, server, c.spent, "0.00")
		})
	}
}

func TestRequestsUnderOneIdempotencyKeyAtTheSameTimeAreSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		var sent atomic.Int64
		transport := guarding(client, roundTrip(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			if sent.Add(1) == 1 {
				return answer(429, "{}")(r)
			}
			return answer(200, "{}")(r)
		}))
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				request := priced(t.Context(), t, http.MethodPost, "https://api.example/v1", "5")
				request.Header.Set("Idempotency-Key", "order 17")
				_, _ = transport.RoundTrip(request)
			})
		}
		group.Wait()
		assert.EqualValues(t, 2, sent.Load(), "one without a charge, and one with it")
		books(t, server, "5.00", "0.00")
	})
}

func TestRequestThatFailsForEverAsksABoundedNumberOfTimes(t *testing.T) {
	server := serve(t)
	sent := 0
	transport := guarding(server.Client(), roundTrip(func(r *http.Request) (*http.Response, error) {
		sent++
		return answer(429, "{}")(r)
	}))
	var err error
	for range 15 {
		server.Advance(time.Minute) // out of the service's rate limit
		request := priced(t.Context(), t, http.MethodPost, "https://api.example/v1", "5")
		request.Header.Set("Idempotency-Key", "order 17")
		_, err = transport.RoundTrip(request)
	}
	var handled *letagentpay.AlreadyHandledError
	require.ErrorAs(t, err, &handled)
	assert.Equal(t, letagentpay.StatusFailed, handled.Request.Status)
	assert.Equal(t, 11, sent)
	books(t, server, "0.00", "0.00")
}

func TestGuardTransportAsksAnewForARedirectOfAResumedRequest(t *testing.T) {
	far := newRawServer(t, func(path string) string {
		if path == "/paid" {
			return "HTTP/1.1 303 See Other\r\nLocation: /receipt\r\nContent-Length: 2\r\n\r\nok"
		}
		return okAnswer
	})
	server := serve(t)
	client := server.Client()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	requested, err := client.Purchase(t.Context(), price("5"))
	require.NoError(t, err)
	ctx := letagentpay.ResumeApproval(t.Context(), requested.RequestID)
	paying := &http.Client{Transport: guarding(client, base)}
	response, err := paying.Do(priced(ctx, t, http.MethodPost, far.url("/paid"), "5"))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Len(t, server.Requests(), 2)
	assert.Equal(t, "/receipt", response.Request.URL.Path)
	resumed, err := client.Request(t.Context(), requested.RequestID)
	require.NoError(t, err)
	assert.Equal(t, letagentpay.StatusFailed, resumed.Status, "a redirect is not a payment")
	books(t, server, "5.00", "0.00")
}

func TestResumedRequestIsTheOneNamed(t *testing.T) {
	server := serve(t)
	client := server.Client()
	requested, err := client.Purchase(t.Context(), price("5"))
	require.NoError(t, err)
	transport := guarding(client, roundTrip(answer(200, "{}")))
	ctx := letagentpay.ResumeApproval(t.Context(), requested.RequestID)
	request := priced(ctx, t, http.MethodPost, "https://api.example/v1", "5")
	request.Header.Set("Idempotency-Key", "order 17")
	_, err = transport.RoundTrip(request)
	require.NoError(t, err)
	require.Len(t, server.Requests(), 1)
	var handled *letagentpay.AlreadyHandledError
	_, err = transport.RoundTrip(request)
	require.ErrorAs(t, err, &handled)
	require.Len(t, server.Requests(), 1)
}

// An SDK that retries sends the same Idempotency-Key again. Here the answer to its first attempt is lost after the API
// has charged for it.
func ExampleGuardTransport_retry() {
	server := embedded()
	defer server.Close()
	var charged atomic.Int64
	paidAPI := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		charged.Add(1)
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}))
	defer paidAPI.Close()

	client := &http.Client{Transport: &letagentpay.GuardTransport{
		Client: server.Client(),
		Price: func(r *http.Request) (*letagentpay.PurchaseParams, error) {
			return &letagentpay.PurchaseParams{
				Amount:      letagentpay.MustAmount("0.05"),
				Category:    "subscriptions",
				Description: r.URL.Path,
			}, nil
		},
	}}
	for range 3 {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, paidAPI.URL+"/orders", nil)
		if err != nil {
			panic(err)
		}
		request.Header.Set("Idempotency-Key", "order 17")
		_, err = client.Do(request)
		var handled *letagentpay.AlreadyHandledError
		fmt.Println(errors.Is(err, io.EOF), errors.As(err, &handled))
	}
	fmt.Println("charged", charged.Load(), "spent", server.Budget().Spent)
	// Output:
	// true false
	// false true
	// false true
	// charged 1 spent 0.05
}

func TestChargedThatHangsDoesNotHoldTheConfirmation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		guard := guarding(server.Client(), roundTrip(answer(200, "{}")))
		guard.Charged = func(*http.Response, error) (letagentpay.Amount, bool) {
			time.Sleep(time.Hour)
			return letagentpay.Amount{}, true
		}
		var group sync.WaitGroup
		group.Go(func() {
			_, _ = guard.RoundTrip(priced(t.Context(), t, "GET", "https://api.example/x", "30"))
		})
		time.Sleep(5 * time.Minute)
		assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status)
		group.Wait()
	})
}
