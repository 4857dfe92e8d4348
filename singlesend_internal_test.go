package letagentpay

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// closed reports whether an end of a pipe was closed.
func closed(conn net.Conn) bool {
	return conn.SetDeadline(time.Time{}) == io.ErrClosedPipe
}

func TestConnectionForARefusedAttemptIsClosedBeforeItIsUsed(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(s *singleSend, trace *httptrace.ClientTrace)
		refused bool
	}{
		"nothing was sent": {func(*singleSend, *httptrace.ClientTrace) {}, false},
		"sent and answered": {func(_ *singleSend, trace *httptrace.ClientTrace) {
			trace.WroteHeaders()
			trace.GotFirstResponseByte()
		}, false},
		"answered early": {func(_ *singleSend, trace *httptrace.ClientTrace) {
			trace.GotFirstResponseByte()
			trace.WroteHeaders()
		}, false},
		"sent and not answered": {func(_ *singleSend, trace *httptrace.ClientTrace) { trace.WroteHeaders() }, true},
		"given up": {func(s *singleSend, _ *httptrace.ClientTrace) {
			err, unsent := s.fail(httptest.NewRequest(http.MethodGet, "/", nil), io.EOF)
			assert.Equal(t, io.EOF, err)
			assert.True(t, unsent)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSingleSend(t.Context())
			trace := httptrace.ContextClientTrace(s.ctx)
			first, far := net.Pipe()
			defer far.Close()
			defer first.Close()
			trace.GetConn("far.example:80")
			trace.GotConn(httptrace.GotConnInfo{Conn: first})
			c.happens(s, trace)
			second, far2 := net.Pipe()
			defer far2.Close()
			defer second.Close()
			trace.GotConn(httptrace.GotConnInfo{Conn: second})
			assert.False(t, closed(first))
			assert.Equal(t, c.refused, closed(second))
			assert.Equal(t, c.refused, s.ctx.Err() != nil)
			s.cancel(nil)
		})
	}
}

func TestConnectionWithTLSIsClosedWithoutAWordToTheFarEnd(t *testing.T) {
	s := newSingleSend(t.Context())
	trace := httptrace.ContextClientTrace(s.ctx)
	first, far := net.Pipe() // its far end does not read: a TLS alert would block
	defer far.Close()
	trace.GotConn(httptrace.GotConnInfo{Conn: tls.Client(first, &tls.Config{ServerName: "far.example"})})
	trace.WroteHeaders()
	trace.GotConn(httptrace.GotConnInfo{Conn: tls.Client(first, &tls.Config{ServerName: "far.example"})})
	assert.True(t, closed(first))
}

func TestTraceKeyIsTheOneOfHTTPTrace(t *testing.T) {
	require.NotNil(t, traceKey, "the first write of a request would go unnoticed")
	trace := new(httptrace.ClientTrace)
	assert.Same(t, trace, httptrace.WithClientTrace(t.Context(), trace).Value(traceKey))
}
