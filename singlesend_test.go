package letagentpay_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

// rawServer is an HTTP/1 server on a bare socket. It keeps the bytes of every request and sends the given answers; an
// empty answer breaks the connection.
type rawServer struct {
	listener net.Listener
	answer   func(path string) string

	mu       sync.Mutex
	requests []string
	conns    []net.Conn
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func newRawServer(t *testing.T, answer func(path string) string) *rawServer {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &rawServer{listener: listener, answer: answer}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			serving.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		s.mu.Lock()
		for _, conn := range s.conns {
			conn.Close()
		}
		s.mu.Unlock()
		serving.Wait()
	})
	return s
}

func (s *rawServer) serve(conn net.Conn) {
	defer conn.Close()
	var raw bytes.Buffer
	buffered := bufio.NewReader(io.TeeReader(conn, &raw))
	for {
		request, err := http.ReadRequest(buffered)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return
		}
		s.mu.Lock()
		s.requests = append(s.requests, raw.String())
		s.mu.Unlock()
		raw.Reset()
		answer := s.answer(request.URL.Path)
		if request.Method == http.MethodHead {
			answer = strings.TrimSuffix(answer, "ok")
		}
		if answer == "" {
			return
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

// paid returns the requests for /paid.
func (s *rawServer) paid() (paid []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, request := range s.requests {
		if head, _, _ := strings.Cut(request, "\r\n"); strings.Contains(head, "/paid") {
			paid = append(paid, request)
		}
	}
	return paid
}

func (s *rawServer) url(path string) string { return "http://" + s.listener.Addr().String() + path }

// pathPrice puts a price on /paid.
func pathPrice(r *http.Request) (*letagentpay.PurchaseParams, error) {
	if r.URL.Path != "/paid" {
		return nil, nil
	}
	p := price("0.05")
	return &p, nil
}

// requestKinds calls do with every kind of request that net/http sends or resends in a way of its own.
func requestKinds(do func(name string, build func(t *testing.T, address string) *http.Request)) {
	bodies := map[string]func() io.Reader{
		"no body":    func() io.Reader { return nil },
		"NoBody":     func() io.Reader { return http.NoBody },
		"rewindable": func() io.Reader { return strings.NewReader("content") },
		"stream": func() io.Reader {
			return io.MultiReader(strings.NewReader("con"), strings.NewReader("tent"))
		},
		"empty stream":  func() io.Reader { return io.MultiReader() },
		"empty, in mem": func() io.Reader { return bytes.NewReader(nil) },
	}
	methods := []string{"GET", "HEAD", "OPTIONS", "TRACE", "DELETE", "PROPFIND", "POST", "PUT", "PATCH", "BUY"}
	for _, method := range methods {
		for body, reader := range bodies {
			for _, header := range []string{"", "Idempotency-Key", "X-Idempotency-Key"} {
				do(fmt.Sprintf("%s %s %s", method, body, header), func(t *testing.T, address string) *http.Request {
					request, err := http.NewRequestWithContext(t.Context(), method, address, reader())
					require.NoError(t, err)
					if header != "" {
						request.Header.Set(header, "order 17")
					}
					return request
				})
			}
		}
	}
}

// sendAndRead sends a request and reads the answer to its end.
func sendAndRead(client http.RoundTripper, request *http.Request) (status int, err error) {
	response, err := client.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func TestGuardTransportSendsTheBytesOfAPlainTransport(t *testing.T) {
	requestKinds(func(name string, build func(*testing.T, string) *http.Request) {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			far := newRawServer(t, func(string) string { return okAnswer })
			base := &http.Transport{}
			defer base.CloseIdleConnections()
			guard := &letagentpay.GuardTransport{Client: server.Client(), Price: pathPrice, Next: base}
			for _, transport := range []http.RoundTripper{base, guard} {
				status, err := sendAndRead(transport, build(t, far.url("/paid")))
				require.NoError(t, err)
				require.Equal(t, 200, status)
			}
			require.Len(t, server.Requests(), 1)
			sent := far.paid()
			require.Len(t, sent, 2)
			assert.Equal(t, sent[0], sent[1])
		})
	})
}

func TestGuardTransportIsChargedOnceWhenAKeptAliveConnectionDies(t *testing.T) {
	repeated := 0
	requestKinds(func(name string, build func(*testing.T, string) *http.Request) {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			cut := func(path string) string {
				if path == "/paid" {
					return "" // the request is carried out, then the connection breaks
				}
				return okAnswer
			}
			send := func(wrap func(http.RoundTripper) http.RoundTripper) (far *rawServer, err error) {
				far = newRawServer(t, cut)
				base := &http.Transport{}
				t.Cleanup(base.CloseIdleConnections)
				warm, err := http.NewRequestWithContext(t.Context(), http.MethodGet, far.url("/free"), nil)
				require.NoError(t, err)
				_, err = sendAndRead(wrap(base), warm)
				require.NoError(t, err)
				_, err = sendAndRead(wrap(base), build(t, far.url("/paid")))
				return far, err
			}
			plain, err := send(func(base http.RoundTripper) http.RoundTripper { return base })
			require.Error(t, err)
			if len(plain.paid()) > 1 {
				repeated++
			}

			far, err := send(func(base http.RoundTripper) http.RoundTripper {
				return &letagentpay.GuardTransport{Client: server.Client(), Price: pathPrice, Next: base}
			})
			require.Error(t, err)
			assert.Len(t, far.paid(), 1, "times charged")
			require.Len(t, server.Requests(), 1)
			assert.Equal(t, letagentpay.StatusCompleted, server.Requests()[0].Status)
			books(t, server, "0.05", "0.00")
		})
	})
	assert.GreaterOrEqual(t, repeated, 20, "without the guard, net/http repeats many of these")
}

// unreliable is a dialer whose connections fail on demand.
type unreliable struct {
	mu    sync.Mutex
	dials int
	dial  func(dial int) error              // fails a dial, counted from 1
	write func(dial int, data string) error // fails a write on the connection of a dial
}

type unreliableConn struct {
	net.Conn
	dial  int
	write func(dial int, data string) error
}

func (u *unreliable) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	u.mu.Lock()
	u.dials++
	dial := u.dials
	u.mu.Unlock()
	if u.dial != nil {
		if err := u.dial(dial); err != nil {
			return nil, err
		}
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return &unreliableConn{conn, dial, u.write}, err
}

func (c *unreliableConn) Write(data []byte) (int, error) {
	if c.write != nil {
		if err := c.write(c.dial, string(data)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(data)
}

// freeThenPaid sends a free request and then a paid one through a guard. It returns the result of the paid one.
func freeThenPaid(t *testing.T, guard *letagentpay.GuardTransport, far *rawServer, header string) (err error) {
	for _, path := range []string{"/free", "/paid"} {
		require.NoError(t, err)
		request, requestErr := http.NewRequestWithContext(t.Context(), http.MethodGet, far.url(path), nil)
		require.NoError(t, requestErr)
		request.Header.Set("X-Long", header)
		_, err = sendAndRead(guard, request)
	}
	return err
}

func TestGuardTransportThatCannotConnectAgainHasPaid(t *testing.T) {
	far := newRawServer(t, func(path string) string {
		return map[string]string{"/free": okAnswer}[path]
	})
	dialer := &unreliable{dial: func(dial int) error {
		return map[int]error{2: errRefused}[dial]
	}}
	server := serve(t)
	base := &http.Transport{DialContext: dialer.DialContext}
	defer base.CloseIdleConnections()
	guard := &letagentpay.GuardTransport{Client: server.Client(), Price: pathPrice, Next: base}
	err := freeThenPaid(t, guard, far, "")
	require.Error(t, err)
	assert.Len(t, far.paid(), 1)
	books(t, server, "0.05", "0.00")
}

func TestGuardTransportSendsAgainWhileNothingWasSent(t *testing.T) {
	long := strings.Repeat("x", 8<<10) // more than a buffer, so that the write fails before the head is complete
	broken := func(dials int) *unreliable {
		return &unreliable{write: func(dial int, data string) error {
			if dial <= dials && strings.Contains(data, "/paid") {
				return io.ErrClosedPipe
			}
			return nil
		}}
	}
	for name, c := range map[string]struct {
		dialer *unreliable
		paid   int
		spent  string
	}{
		"the next connection is sound": {broken(1), 1, "0.05"},
		"no connection is":             {broken(100), 0, "0.00"},
	} {
		t.Run(name, func(t *testing.T) {
			far := newRawServer(t, func(string) string { return okAnswer })
			server := serve(t)
			base := &http.Transport{DialContext: c.dialer.DialContext}
			defer base.CloseIdleConnections()
			guard := &letagentpay.GuardTransport{Client: server.Client(), Price: pathPrice, Next: base}
			err := freeThenPaid(t, guard, far, long)
			assert.Equal(t, c.paid == 0, err != nil, "%v", err)
			assert.Len(t, far.paid(), c.paid)
			require.Len(t, server.Requests(), 1)
			books(t, server, c.spent, "0.00")
		})
	}
}

// A caller that gives up a request does not know how much of it is written, or whether the rest is written later.
func TestGuardTransportTakesWhatIsGivenUpAsItIsWrittenAsPaid(t *testing.T) {
	long := strings.Repeat("x", 8<<10) // more than a buffer, so that the head is not complete
	for name, c := range map[string]struct {
		write func(ctx context.Context, cancel func()) error
		spent string
	}{
		"cancelled": {
			func(_ context.Context, cancel func()) error { cancel(); return io.ErrClosedPipe }, "0.05",
		},
		"out of time": {
			func(ctx context.Context, _ func()) error { <-ctx.Done(); return io.ErrClosedPipe }, "0.05",
		},
		"the write times out":  {func(context.Context, func()) error { return os.ErrDeadlineExceeded }, "0.05"},
		"the connection fails": {func(context.Context, func()) error { return io.ErrClosedPipe }, "0.00"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					t.Cleanup(func() { far.Close() })
					return &unreliableConn{near, 1, func(int, string) error { return c.write(ctx, cancel) }}, nil
				}}
				defer base.CloseIdleConnections()
				guard := &letagentpay.GuardTransport{Client: server.Client(), Price: pathPrice, Next: base}
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example/paid", nil)
				require.NoError(t, err)
				request.Header.Set("X-Long", long)
				_, err = sendAndRead(guard, request)
				require.Error(t, err)
				require.Len(t, server.Requests(), 1)
				books(t, server, c.spent, "0.00")
			})
		})
	}
}

// repeating resends a request until it succeeds, like a transport that pays or one that retries.
type repeating struct{ next http.RoundTripper }

func (r repeating) RoundTrip(request *http.Request) (response *http.Response, err error) {
	for range 3 {
		response, err = r.next.RoundTrip(request.Clone(request.Context()))
		if err == nil && response.StatusCode == http.StatusOK {
			break
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	}
	return response, err
}

func TestGuardTransportLetsNextSendAgainOnlyAfterAnAnswer(t *testing.T) {
	const (
		demand = "HTTP/1.1 402 Payment Required\r\nContent-Length: 2\r\n\r\nok"
		early  = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
	)
	for name, c := range map[string]struct {
		answers []string // an incomplete one is the last of its connection
		sends   int
	}{
		"paid on demand":           {[]string{demand, okAnswer}, 2},
		"paid on demand, and lost": {[]string{demand, "", okAnswer}, 2},
		"no answer":                {[]string{"", okAnswer}, 1},
		"no answer but a hint":     {[]string{early, okAnswer}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			far := newRawServer(t, nil)
			n := 0
			far.answer = func(string) string {
				n++
				if c.answers[n-1] == early {
					far.mu.Lock()
					defer far.mu.Unlock()
					_, err := io.WriteString(far.conns[0], early)
					assert.NoError(t, err)
					return ""
				}
				return c.answers[n-1]
			}
			server := serve(t)
			base := &http.Transport{}
			defer base.CloseIdleConnections()
			guard := &letagentpay.GuardTransport{Client: server.Client(), Price: pathPrice, Next: repeating{base}}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, far.url("/paid"), nil)
			require.NoError(t, err)
			_, err = sendAndRead(guard, request)
			if c.sends == len(c.answers) {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			}
			assert.Len(t, far.paid(), c.sends)
			books(t, server, "0.05", "0.00")
		})
	}
}

func TestGuardTransportIsChargedOnceWithOtherConnectionsAtHand(t *testing.T) {
	const idle = 8
	for range 10 { // by chance, the transport takes one of them or checks the context
		var arrived, answer sync.WaitGroup
		arrived.Add(idle)
		answer.Add(1)
		far := newRawServer(t, func(path string) string {
			if path == "/paid" {
				return ""
			}
			arrived.Done()
			answer.Wait()
			return okAnswer
		})
		server := serve(t)
		base := &http.Transport{MaxIdleConnsPerHost: idle}
		guard := &letagentpay.GuardTransport{Client: server.Client(), Price: pathPrice, Next: base}
		get := func(path string) error {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, far.url(path), nil)
			require.NoError(t, err)
			_, err = sendAndRead(guard, request)
			return err
		}
		var warming sync.WaitGroup
		for range idle {
			warming.Go(func() { assert.NoError(t, get("/free")) })
		}
		arrived.Wait()
		answer.Done()
		warming.Wait()
		require.ErrorIs(t, get("/paid"), io.ErrUnexpectedEOF)
		assert.Len(t, far.paid(), 1)
		books(t, server, "0.05", "0.00")
		base.CloseIdleConnections()
	}
}

func TestGuardTransportBoundsInformationalResponses(t *testing.T) {
	const hints = 2000
	early := strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 1000)+"\r\n\r\n", hints)
	far := newRawServer(t, func(string) string { return early + okAnswer })
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	send := func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, far.url("/paid"), nil)
		require.NoError(t, err)
		_, err = sendAndRead(&letagentpay.GuardTransport{
			Client: serve(t).Client(),
			Price:  pathPrice,
			Next:   base,
		}, request)
		return err
	}
	require.ErrorContains(t, send(t.Context()), "too many informational responses")

	seen := 0
	require.NoError(t, send(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { seen++; return nil },
	})), "a caller with a hook sets its own limit")
	assert.Equal(t, hints, seen)
}
