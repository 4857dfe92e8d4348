package letagentpay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
)

// singleSend prevents net/http from sending a request twice, and records whether any of it was sent.
//
// On HTTP/1, net/http retries a request when a kept-alive connection ends before the response, if the request has no
// body or one that can be rewound, and its method or a header promises idempotence. On HTTP/2, it retries every request
// that can be rewound when the server resets the stream with REFUSED_STREAM or PROTOCOL_ERROR, or excludes it in a
// GOAWAY. A body that cannot be rewound would prevent most of that, but changes requests without a body: a POST becomes
// chunked on HTTP/1, and every method gets another frame on HTTP/2.
//
// So singleSend leaves the request unchanged and follows the attempts through [httptrace]. It allows a new attempt
// while nothing was sent, and after a response (a Next that pays after a 402 sends twice on purpose), but not while a
// request that was sent has no response.
//
// To stop an attempt, singleSend cancels the context, which keeps HTTP/2 from writing, and closes an HTTP/1 connection
// before anything is written to it, because HTTP/1 starts to write without checking the context again. The connection
// belongs to that attempt alone, and net/http treats it as broken.
type singleSend struct {
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc

	mu                 sync.Mutex
	connRequested      bool // net/http has requested a connection
	ctxEnded           bool // the context had ended before net/http requested a connection
	hasConn            bool // the request had a connection
	http2              bool // the request was written as HTTP/2
	sent               bool // the header of the request was written, so the server may have it
	attemptSent        bool // the same, of the current attempt
	answered           bool // the current attempt has a response
	informationalBytes int  // the size of the informational responses
	resendRefused      bool // another attempt was stopped
	finished           bool // the RoundTripper has returned without a response
}

// errNotRepeated replaces net/http's error, which net/http drops when it starts to retry the request.
var errNotRepeated = fmt.Errorf("letagentpay: the connection failed after the request was sent; it is not sent again, "+
	"because it may have been paid for: %w", io.ErrUnexpectedEOF)

// maxInformationalBytes limits the informational responses to one request, as net/http does without a trace.
const maxInformationalBytes = 1 << 20

func newSingleSend(ctx context.Context) *singleSend {
	s := new(singleSend)
	ctx, s.cancel = context.WithCancelCause(ctx)
	s.ctx = watchedContext{httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(string) { s.onGetConn() },
		GotConn:              func(info httptrace.GotConnInfo) { s.onGotConn(info.Conn) },
		WroteHeaderField:     s.onHeaderField,
		WroteHeaders:         s.onWroteHeaders,
		GotFirstResponseByte: s.onFirstByte,
		Got1xxResponse:       s.onInformational,
	}), s}
	return s
}

// onRoundTrip is called when net/http starts with the request, before it checks the context. ended reports whether the
// context has ended.
func (send *singleSend) onRoundTrip(ended bool) {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.ctxEnded = send.ctxEnded || ended && !send.connRequested
}

// onGetConn is called when net/http requests a connection, for the first attempt and for each retry.
func (send *singleSend) onGetConn() {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.connRequested = true
	send.allowAttempt()
}

// onGotConn is called when an attempt has a connection, before anything is written to it.
func (send *singleSend) onGotConn(conn net.Conn) {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.connRequested = true
	if !send.allowAttempt() {
		if !send.isShared(conn) {
			closeAtOnce(conn)
		}
		return
	}
	send.hasConn, send.attemptSent, send.answered = true, false, false
}

// onHeaderField is called for each header field written. Only HTTP/2 has names that start with a colon.
func (send *singleSend) onHeaderField(field string, _ []string) {
	if strings.HasPrefix(field, ":") {
		send.mu.Lock()
		send.http2 = true
		send.mu.Unlock()
	}
}

// onWroteHeaders is called when the request's header is complete, in a buffer or on the wire.
func (send *singleSend) onWroteHeaders() {
	send.mu.Lock()
	defer send.mu.Unlock()
	if send.hasConn { // otherwise the header belongs to another request, such as a dialer's own
		send.sent, send.attemptSent = true, true
	}
}

// onFirstByte is called when a response begins.
func (send *singleSend) onFirstByte() {
	send.mu.Lock()
	send.answered = true
	send.mu.Unlock()
}

// onInformational is called for responses such as 100 and 103, which precede the final response.
func (send *singleSend) onInformational(_ int, header textproto.MIMEHeader) error {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.answered = false
	for name, values := range header {
		send.informationalBytes += len(name) + len(strings.Join(values, ""))
	}
	if send.informationalBytes > maxInformationalBytes {
		return errors.New("letagentpay: too many informational responses")
	}
	return nil
}

// allowAttempt reports whether a new attempt may begin. If not, it cancels the context. The caller holds the lock.
func (send *singleSend) allowAttempt() bool {
	if !send.finished && (!send.attemptSent || send.answered) {
		return true
	}
	send.resendRefused = true
	send.cancel(errNotRepeated)
	return false
}

// isShared reports whether conn may carry other requests, as on HTTP/2.
func (send *singleSend) isShared(conn net.Conn) bool {
	secure, ok := conn.(*tls.Conn)
	return send.http2 || ok && secure.ConnectionState().NegotiatedProtocol == "h2"
}

// closeAtOnce closes a connection without TLS's closing alert, which may block.
func closeAtOnce(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

// body returns the body of a response. The body releases the request's context when it ends or is closed.
func (send *singleSend) body(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		send.cancel(nil)
		return body
	}
	released := &releasingBody{body, send}
	writer, ok := body.(io.Writer)
	if !ok {
		return released
	}
	// After 101 Switching Protocols, the body can be written. Proxies close the two directions separately.
	switched := switchedBody{released, writer}
	if closer, ok := body.(writeCloser); ok {
		return struct {
			switchedBody
			writeCloser
		}{switched, closer}
	}
	return switched
}

// fail ends the request without a response; nothing more is sent. It returns the error to return instead of err, and
// whether it is certain that nothing was sent.
func (send *singleSend) fail(request *http.Request, err error) (_ error, unsent bool) {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.finished = true
	send.cancel(nil)
	if send.resendRefused {
		return errNotRepeated, false
	}
	return err, !send.sent && send.certainlyUnsent(request, err)
}

// certainlyUnsent reports whether err, which came before the request's header was written, proves that nothing was
// sent. The error may be of a type of the caller's: if one of its methods panics, the result is false.
func (send *singleSend) certainlyUnsent(request *http.Request, err error) (unsent bool) {
	defer func() { _ = recover() }()
	switch {
	case send.hasConn: // on HTTP/2, a cancelled request may still be written a moment later
		return !isInterruption(request, err)
	case send.connRequested, send.ctxEnded:
		return true
	}
	return neverConnected(err)
}

// isInterruption reports whether err means that the request was cancelled or timed out.
func isInterruption(request *http.Request, err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return request.Context().Err() != nil || errors.Is(err, context.Canceled) || ok && timeout.Timeout() ||
		strings.Contains(err.Error(), "request canceled") // net/http's text for [http.Request.Cancel]
}

// neverConnected reports whether err proves that there was no connection.
func neverConnected(err error) bool {
	hasPrefix := func(prefix string) bool { return strings.HasPrefix(err.Error(), prefix) }
	return neverSent(err) || slices.ContainsFunc(unsentErrorPrefixes, hasPrefix)
}

// unsentErrorPrefixes are the first words of net/http's errors for requests that it does not send. They have no types.
var unsentErrorPrefixes = []string{"unsupported protocol scheme", "net/http: invalid ", "http: no Host in request URL"}

// releasingBody is the body of a response. It releases the request's context when it ends or is closed.
type releasingBody struct {
	io.ReadCloser
	send *singleSend
}

func (b *releasingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.send.cancel(nil)
	}
	return n, err
}

func (b *releasingBody) Close() error {
	defer b.send.cancel(nil)
	return b.ReadCloser.Close()
}

// switchedBody is a releasingBody that can be written.
type switchedBody struct {
	*releasingBody
	io.Writer
}

type writeCloser interface{ CloseWrite() error }

// watchedContext is the request's context. It notices that net/http starts with the request, because net/http then
// looks up the trace.
type watchedContext struct {
	context.Context
	send *singleSend
}

func (wc watchedContext) Value(key any) any {
	if key == traceKey {
		wc.send.onRoundTrip(wc.Err() != nil)
	}
	return wc.Context.Value(key)
}

// traceKey is the context key under which [httptrace] stores a trace.
var traceKey = func() any {
	recorder := keyOf{Context: context.Background()}
	httptrace.ContextClientTrace(&recorder)
	return recorder.key
}()

// keyOf records the key that is looked up in it.
type keyOf struct {
	context.Context
	key any
}

func (k *keyOf) Value(key any) any {
	k.key = key
	return nil
}
