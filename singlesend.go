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

	mu       sync.Mutex
	asked    bool // net/http has looked for a connection
	ended    bool // the context had ended when net/http began
	got      bool // there was a connection for the request
	http2    bool // it has been written as HTTP/2
	sent     bool // the head of the request was written, so the far end may have it
	wrote    bool // the same, of the attempt under way
	answered bool // the attempt under way has an answer
	early    int  // bytes of informational responses
	refused  bool // another attempt was refused
	over     bool // the RoundTripper has returned without a response
}

// errNotRepeated takes the place of net/http's error, which is lost when net/http tries to repeat the request.
var errNotRepeated = fmt.Errorf("letagentpay: the connection failed after the request was sent; it is not sent again, "+
	"because it may have been paid for: %w", io.ErrUnexpectedEOF)

// maxEarlyBytes bounds the informational responses to one request, as net/http does when nobody looks at them.
const maxEarlyBytes = 1 << 20

func newSingleSend(ctx context.Context) *singleSend {
	s := new(singleSend)
	ctx, s.cancel = context.WithCancelCause(ctx)
	s.ctx = watchedContext{httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(string) { s.begin() },
		GotConn:              func(info httptrace.GotConnInfo) { s.connected(info.Conn) },
		WroteHeaderField:     s.writing,
		WroteHeaders:         s.written,
		GotFirstResponseByte: s.gotAnswer,
		Got1xxResponse:       s.informed,
	}), s}
	return s
}

// begin is called when net/http looks for a connection, for the first attempt and for each repetition.
func (send *singleSend) begin() {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.asked = true
	send.mayBegin()
}

// connected is called when there is a connection for an attempt, before anything is written on it.
func (send *singleSend) connected(conn net.Conn) {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.asked = true
	if !send.mayBegin() {
		if !send.shared(conn) {
			closeAtOnce(conn)
		}
		return
	}
	send.got, send.wrote, send.answered = true, false, false
}

func (send *singleSend) mayBegin() bool {
	if !send.over && (!send.wrote || send.answered) {
		return true
	}
	send.refused = true
	send.cancel(errNotRepeated)
	return false
}

// shared reports whether other requests may be under way on conn, as they may on HTTP/2.
func (send *singleSend) shared(conn net.Conn) bool {
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

func (send *singleSend) writing(field string, _ []string) {
	if strings.HasPrefix(field, ":") {
		send.mu.Lock()
		send.http2 = true
		send.mu.Unlock()
	}
}

// written is called when the head of the request is complete, in a buffer or on the wire.
func (send *singleSend) written() {
	send.mu.Lock()
	defer send.mu.Unlock()
	if send.got { // else it is the head of something else, such as a dialer's own request
		send.sent, send.wrote = true, true
	}
}

func (send *singleSend) gotAnswer() {
	send.mu.Lock()
	send.answered = true
	send.mu.Unlock()
}

// informed is called for responses such as 100 and 103, which the answer proper follows.
func (send *singleSend) informed(_ int, header textproto.MIMEHeader) error {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.answered = false
	for name, values := range header {
		send.early += len(name) + len(strings.Join(values, ""))
	}
	if send.early > maxEarlyBytes {
		return errors.New("letagentpay: too many informational responses")
	}
	return nil
}

// entered is called when net/http begins with the request, before it looks at the context.
func (send *singleSend) entered(ended bool) {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.ended = send.ended || ended && !send.asked
}

// failed ends the sending without a response: what is still under way somewhere sends nothing any more. It returns the
// error to return in the place of err, and whether it is certain that nothing was sent.
func (send *singleSend) failed(request *http.Request, err error) (_ error, unsent bool) {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.over = true
	send.cancel(nil)
	if send.refused {
		return errNotRepeated, false
	}
	return err, !send.sent && send.certainlyUnsent(request, err)
}

// certainlyUnsent judges an error that came before the head of the request was written. The error may be of a caller's
// type: a panic of its methods leaves the doubt.
func (send *singleSend) certainlyUnsent(request *http.Request, err error) (unsent bool) {
	defer func() { _ = recover() }()
	switch {
	case send.got: // a request that is given up on HTTP/2 may be written a moment later
		return !interrupted(request, err)
	case send.asked, send.ended:
		return true
	}
	return neverConnected(err)
}

// interrupted reports whether err says that somebody did not wait any longer.
func interrupted(request *http.Request, err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return request.Context().Err() != nil || errors.Is(err, context.Canceled) || ok && timeout.Timeout() ||
		strings.Contains(err.Error(), "request canceled") // the words for [http.Request.Cancel]
}

// neverConnected reports whether an error says by itself that there was no connection.
func neverConnected(err error) bool {
	refused := func(text string) bool { return strings.HasPrefix(err.Error(), text) }
	return neverSent(err) || slices.ContainsFunc(refusedUnsent, refused)
}

// refusedUnsent are the beginnings of net/http's errors for requests that it does not send; they have no types.
var refusedUnsent = []string{"unsupported protocol scheme", "net/http: invalid ", "http: no Host in request URL"}

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

type switchedBody struct {
	*releasingBody
	io.Writer
}

type writeCloser interface{ CloseWrite() error }

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

// watchedContext notices that net/http begins with a request: it then looks for the trace.
type watchedContext struct {
	context.Context
	send *singleSend
}

func (wc watchedContext) Value(key any) any {
	if key == traceKey {
		wc.send.entered(wc.Err() != nil)
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
