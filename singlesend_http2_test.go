package letagentpay_test

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

// The constants of HTTP/2 that the tests use.
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing, frameGoAway = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7

	flagEndStream, flagAck, flagEndHeaders = 0x1, 0x1, 0x4

	errorNone, errorProtocol, errorInternal, errorRefused = 0x0, 0x1, 0x2, 0x7

	status200 = "\x88"             // in HPACK's static table
	status103 = "\x08\x03" + "103" // a literal with the name ":status"
)

func frame(kind, flags byte, stream uint32, payload string) string {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))[1:]
	head = append(head, kind, flags)
	return string(binary.BigEndian.AppendUint32(head, stream)) + payload
}

func number(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

func reset(stream, code uint32) string { return frame(frameReset, 0, stream, number(code)) }

func respond200(stream uint32) string {
	return frame(frameHeaders, flagEndHeaders|flagEndStream, stream, status200)
}

// rawServer2 is an HTTP/2 server on a bare socket, with TLS or, for clients that expect it, without. It keeps the
// frames of every request. It answers the nth request of all connections with frames; hangUp then ends the connection.
type rawServer2 struct {
	listener net.Listener
	scheme   string
	answer   func(n int, stream uint32) (frames string, hangUp bool)

	mu       sync.Mutex
	requests []string // the frames of each, without the stream's number
	conns    []net.Conn
}

func newRawServer2(
	t *testing.T, secure bool, answer func(n int, stream uint32) (frames string, hangUp bool),
) *rawServer2 {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &rawServer2{listener: listener, scheme: "http", answer: answer}
	if secure {
		lender := httptest.NewTLSServer(nil)
		certificates := lender.TLS.Certificates
		lender.Close()
		s.scheme = "https"
		s.listener = tls.NewListener(listener, &tls.Config{Certificates: certificates, NextProtos: []string{"h2"}})
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := s.listener.Accept()
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

func (s *rawServer2) serve(conn net.Conn) {
	defer conn.Close()
	preface := make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	_, _ = io.WriteString(conn, frame(frameSettings, 0, 0, ""))
	open := make(map[uint32]string)
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(append([]byte{0}, head[:3]...)))
		if _, err := io.ReadFull(conn, payload); err != nil {
			return
		}
		kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		out, hangUp := "", false
		switch {
		case kind == frameSettings && flags&flagAck == 0:
			out = frame(frameSettings, flagAck, 0, "")
		case kind == framePing && flags&flagAck == 0:
			out = frame(framePing, flagAck, 0, string(payload))
		case kind == frameHeaders || kind == frameData:
			open[stream] += frame(kind, flags, 0, string(payload))
			if flags&flagEndStream != 0 {
				s.mu.Lock()
				s.requests = append(s.requests, open[stream])
				n := len(s.requests)
				s.mu.Unlock()
				out, hangUp = s.answer(n, stream)
			}
		}
		if _, err := io.WriteString(conn, out); err != nil || hangUp {
			return
		}
	}
}

func (s *rawServer2) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

func (s *rawServer2) url(path string) string {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	return s.scheme + "://localhost:" + port + path
}

// http2Transport speaks HTTP/2 with a rawServer2.
func http2Transport(t *testing.T) *http.Transport {
	base := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	base.Protocols.SetHTTP2(true)
	base.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(base.CloseIdleConnections)
	return base
}

func TestGuardTransportSendsTheFramesOfAPlainTransport(t *testing.T) {
	requestKinds(func(name string, build func(*testing.T, string) *http.Request) {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			var sent []string
			for _, guarded := range []bool{false, true} { // each on a new connection, because of header compression
				far := newRawServer2(t, false, func(_ int, stream uint32) (string, bool) {
					return respond200(stream), false
				})
				far.scheme = "http"
				base := http2Transport(t)
				request := build(t, far.url("/paid"))
				request.Host = "api.example"
				transport := http.RoundTripper(base)
				if guarded {
					transport = &letagentpay.GuardTransport{Client: server.Client(), Price: pathPrice, Next: base}
				}
				status, err := sendAndRead(transport, request)
				require.NoError(t, err)
				require.Equal(t, 200, status)
				sent = append(sent, far.received()...)
			}
			require.Len(t, server.Requests(), 1)
			require.Len(t, sent, 2)
			assert.Equal(t, sent[0], sent[1])
		})
	})
}

func TestGuardTransportIsChargedOnceWhenAStreamFails(t *testing.T) {
	failures := map[string]struct {
		answer   func(stream uint32) (frames string, hangUp bool)
		repeated bool // by net/http, without a guard
	}{
		"refused":        {func(stream uint32) (string, bool) { return reset(stream, errorRefused), false }, true},
		"protocol error": {func(stream uint32) (string, bool) { return reset(stream, errorProtocol), false }, true},
		"protocol error after early hints": {func(stream uint32) (string, bool) {
			return frame(frameHeaders, flagEndHeaders, stream, status103) + reset(stream, errorProtocol), false
		}, true},
		"internal error": {func(stream uint32) (string, bool) { return reset(stream, errorInternal), false }, false},
		"going away": {func(uint32) (string, bool) {
			return frame(frameGoAway, 0, 0, number(0)+number(errorNone)), false
		}, true},
		"connection lost": {func(uint32) (string, bool) { return "", true }, false},
	}
	for failure, c := range failures {
		for _, secure := range []bool{false, true} {
			for _, kind := range []struct{ method, body, header string }{
				{"GET", "", ""},
				{"POST", "", ""},
				{"POST", "content", ""},
				{"POST", "content", "Idempotency-Key"},
				{"DELETE", "", "X-Idempotency-Key"},
			} {
				name := fmt.Sprintf("%s, TLS %v, %s %s %s", failure, secure, kind.method, kind.body, kind.header)
				t.Run(name, func(t *testing.T) {
					send := func(wrap func(http.RoundTripper) http.RoundTripper) (charged int, err error) {
						far := newRawServer2(t, secure, func(n int, stream uint32) (string, bool) {
							if n == 2 {
								return c.answer(stream)
							}
							return respond200(stream), false
						})
						transport := wrap(http2Transport(t))
						for _, path := range []string{"/free", "/paid"} {
							body := strings.NewReader(kind.body)
							request, err := http.NewRequestWithContext(t.Context(), kind.method, far.url(path), body)
							require.NoError(t, err)
							if kind.header != "" {
								request.Header.Set(kind.header, "order 17")
							}
							if _, err = sendAndRead(transport, request); path == "/paid" {
								return len(far.received()) - 1, err
							}
							require.NoError(t, err)
						}
						panic("unreachable")
					}
					charged, err := send(func(base http.RoundTripper) http.RoundTripper { return base })
					assert.Equal(t, c.repeated, charged > 1 && err == nil, "without the guard: %v", err)

					server := serve(t)
					charged, err = send(func(base http.RoundTripper) http.RoundTripper {
						return &letagentpay.GuardTransport{Client: server.Client(), Price: pathPrice, Next: base}
					})
					require.Error(t, err)
					assert.Equal(t, 1, charged, "times charged")
					require.Len(t, server.Requests(), 1)
					books(t, server, "0.05", "0.00")
				})
			}
		}
	}
}

func TestGuardTransportLeavesOtherStreamsOfTheConnectionAlone(t *testing.T) {
	for _, secure := range []bool{false, true} {
		var held uint32
		far := newRawServer2(t, secure, func(n int, stream uint32) (string, bool) {
			switch n {
			case 1: // hangs until the next one is refused
				held = stream
				return "", false
			case 2:
				return reset(stream, errorRefused), false
			default:
				return respond200(held) + respond200(stream), false
			}
		})
		server := serve(t)
		base := http2Transport(t)
		guard := &letagentpay.GuardTransport{Client: server.Client(), Price: pathPrice, Next: base}
		get := func(path string) error {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, far.url(path), nil)
			require.NoError(t, err)
			_, err = sendAndRead(guard, request)
			return err
		}
		other := make(chan error, 1)
		go func() { other <- get("/free") }()
		require.Eventually(t, func() bool { return len(far.received()) == 1 }, 10e9, 1e6)
		require.ErrorIs(t, get("/paid"), io.ErrUnexpectedEOF)
		require.NoError(t, get("/free"))
		require.NoError(t, <-other)
		assert.Len(t, far.conns, 1)
		assert.Len(t, far.received(), 3)
	}
}
