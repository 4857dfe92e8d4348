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

// singleSend keeps net/http from sending a request a second time, and knows whether any of it was sent.
//
// On HTTP/1, net/http repeats a request when a kept-alive connection ends before the answer and the request has no
// body, or one that it can rewind, and a method or a header that promises idempotence. On HTTP/2 it repeats whatever
// it can rewind when the server resets the stream with REFUSED_STREAM or PROTOCOL_ERROR, or leaves it out of a GOAWAY.
// A body that cannot be rewound stops most of that, but changes what is sent where a request has no body: a POST
// becomes chunked on HTTP/1, and every method gets another frame on HTTP/2. So singleSend leaves the request as it is
// and follows the attempts through [httptrace]: a new attempt may begin while nothing was sent, or after an answer (a
// Next that pays after a 402 sends twice on purpose), but not while a request that was sent has no answer.
//
// When such an attempt begins, the context ends, which keeps HTTP/2 from writing, and an HTTP/1 connection is closed
// before anything is written on it: HTTP/1 begins to write without looking at the context again. The connection
// belongs to this attempt alone, and net/http takes it for broken.
type singleSend struct {
	ctx    context.Context // for the request
	cancel context.CancelCauseFunc

	mu                 sync.Mutex
	connRequested      bool // net/http has looked for a connection
	ctxEnded           bool // the context had ended when net/http began
	hasConn            bool // there was a connection for the request
	http2              bool // it has been written as HTTP/2
	sent               bool // the head of the request was written, so the far end may have it
	attemptSent        bool // the same, of the attempt under way
	answered           bool // the attempt under way has an answer
	informationalBytes int  // bytes of informational responses
	resendRefused      bool // another attempt was refused
	finished           bool // the RoundTripper has returned without a response
}

// errNotRepeated takes the place of net/http's error, which is lost when net/http tries to repeat the request.
var errNotRepeated = fmt.Errorf("letagentpay: the connection failed after the request was sent; it is not sent again, "+
	"because it may have been paid for: %w", io.ErrUnexpectedEOF)

// maxEarlyBytes bounds the informational responses to one request, as net/http does when nobody looks at them.
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

// entered is called when net/http begins with the request, before it looks at the context.
func (send *singleSend) onRoundTrip(ended bool) {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.ctxEnded = send.ctxEnded || ended && !send.connRequested
}

// begin is called when net/http looks for a connection, for the first attempt and for each repetition.
func (send *singleSend) onGetConn() {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.connRequested = true
	send.allowAttempt()
}

// connected is called when there is a connection for an attempt, before anything is written on it.
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

func (send *singleSend) onHeaderField(field string, _ []string) {
	if strings.HasPrefix(field, ":") {
		send.mu.Lock()
		send.http2 = true
		send.mu.Unlock()
	}
}

// written is called when the head of the request is complete, in a buffer or on the wire.
func (send *singleSend) onWroteHeaders() {
	send.mu.Lock()
	defer send.mu.Unlock()
	if send.hasConn { // else it is the head of something else, such as a dialer's own request
		send.sent, send.attemptSent = true, true
	}
}

func (send *singleSend) onFirstByte() {
	send.mu.Lock()
	send.answered = true
	send.mu.Unlock()
}

// informed is called for responses such as 100 and 103, which the answer proper follows.
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

func (send *singleSend) allowAttempt() bool {
	if !send.finished && (!send.attemptSent || send.answered) {
		return true
	}
	send.resendRefused = true
	send.cancel(errNotRepeated)
	return false
}

// shared reports whether other requests may be under way on conn, as they may on HTTP/2.
func (send *singleSend) isShared(conn net.Conn) bool {
	secure, ok := conn.(*tls.Conn)
	return send.http2 || ok && secure.ConnectionState().NegotiatedProtocol == "h2"
}

// closeAtOnce closes a connection without the farewell of TLS, which may wait for the far end.
func closeAtOnce(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

// body returns a response's body that releases the request's context when it is over.
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
	// After 101 Switching Protocols. Proxies close the two directions one by one.
	switched := switchedBody{released, writer}
	if closer, ok := body.(writeCloser); ok {
		return struct {
			switchedBody
			writeCloser
		}{switched, closer}
	}
	return switched
}

// failed ends the sending without a response: what is still under way somewhere sends nothing any more. It returns the
// error to return in the place of err, and whether it is certain that nothing was sent.
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

// certainlyUnsent judges an error that came before the head of the request was written. The error may be of a caller's
// type: a panic of its methods leaves the doubt.
func (send *singleSend) certainlyUnsent(request *http.Request, err error) (unsent bool) {
	defer func() { _ = recover() }()
	switch {
	case send.hasConn: // a request that is given up on HTTP/2 may be written a moment later
		return !isInterruption(request, err)
	case send.connRequested, send.ctxEnded:
		return true
	}
	return neverConnected(err)
}

// interrupted reports whether err says that somebody did not wait any longer.
func isInterruption(request *http.Request, err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return request.Context().Err() != nil || errors.Is(err, context.Canceled) || ok && timeout.Timeout() ||
		strings.Contains(err.Error(), "request canceled") // the words for [http.Request.Cancel]
}

// neverConnected reports whether an error says by itself that there was no connection.
func neverConnected(err error) bool {
	refused := func(text string) bool { return strings.HasPrefix(err.Error(), text) }
	return neverSent(err) || slices.ContainsFunc(unsentErrorPrefixes, refused)
}

// refusedUnsent are the beginnings of net/http's errors for requests that it does not send; they have no types.
var unsentErrorPrefixes = []string{"unsupported protocol scheme", "net/http: invalid ", "http: no Host in request URL"}

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

type switchedBody struct {
	*releasingBody
	io.Writer
}

type writeCloser interface{ CloseWrite() error }

// watchedContext notices that net/http begins with a request: it then looks for the trace.
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

// traceKey is the key under which [httptrace] keeps a trace in a context.
var traceKey = func() any {
	asked := keyOf{Context: context.Background()}
	httptrace.ContextClientTrace(&asked)
	return asked.key
}()

// keyOf notes what it is asked for.
type keyOf struct {
	context.Context
	key any
}

func (k *keyOf) Value(key any) any {
	k.key = key
	return nil
}
