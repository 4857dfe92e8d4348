package letagentpaytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds what the server reads of a request.
const maxBody = 4 << 20

// delivery is an answer on its way to the client, and what befalls it there.
type delivery struct {
	*answer
	date  time.Time
	cut   int           // the body ends after so many bytes; its length when nothing is cut
	pause time.Duration // before each byte
}

func (d delivery) head() http.Header {
	header := http.Header{
		"Content-Type":   {"application/json"},
		"Date":           {d.date.Format(http.TimeFormat)},
		"Content-Length": {strconv.Itoa(len(d.body))},
	}
	for name, values := range d.answer.header {
		header[name] = values
	}
	return header
}

// errDropped is what becomes of a call whose connection a fault drops.
var errDropped = fmt.Errorf("letagentpaytest: connection dropped: %w", io.ErrUnexpectedEOF)

// exchange carries out one call with whatever faults strike it. It is the same for sockets and in memory. Without a
// delivery, the connection ends without an answer.
func (s *Server) exchange(r *http.Request) (delivery, error) {
	var body []byte
	if r.Body != nil && r.Body != http.NoBody {
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody)); err != nil {
			return delivery{}, err
		}
	}
	a := arrival{body: body}
	a.op, a.id, a.refusal = route(r)
	fault := s.faults.take(a.op)
	a.record = s.calls.begin(s.world.Load(), r, a.op, body)
	reply, err := s.reply(r, a, &fault)
	if err != nil {
		return delivery{}, err
	}
	s.calls.end(a.record, reply)
	d := delivery{answer: reply, date: a.record.Time, cut: len(reply.body), pause: fault.SlowBytes}
	if fault.Truncate > 0 {
		d.cut = min(d.cut, fault.Truncate)
	}
	return d, nil
}

// arrival is a call that has reached the server.
type arrival struct {
	op      Op
	id      string // in the path
	body    []byte
	refusal *answer // where there is no such operation
	record  *Call
}

// reply returns the answer to a call, or why the connection ends without one.
func (s *Server) reply(r *http.Request, a arrival, fault *Fault) (*answer, error) {
	races := s.races.Load()
	if races == nil && fault.GatewayTimeout == 0 {
		return s.carryOut(r.Context(), fault, func() *answer { return s.handle(r, a, nil) })
	}
	service, run := fault.service(), (*race)(nil)
	if races != nil {
		run = &race{Races: *races, server: s, call: *a.record}
		if service.delaysHandling() && hasChecks(a.op) {
			run.delay, service.Delay = service.Delay, 0
		}
	}
	return s.outlive(r, *fault, func(r *http.Request) (*answer, error) {
		return s.carryOut(context.Background(), &service, func() *answer { return s.handle(r, a, run) })
	})
}

// carryOut handles a call as a fault wants it. Its waits end with ctx. Without an answer, the error says why.
func (s *Server) carryOut(ctx context.Context, fault *Fault, handle func() *answer) (*answer, error) {
	var reply *answer
	var err error
	switch {
	case fault.Drop == DropBefore:
		err = s.wait(ctx, fault.Delay)
	case fault.AfterCommit || fault.Drop == DropAfter:
		reply = handle()
		err = s.wait(ctx, fault.Delay)
	default:
		if err = s.wait(ctx, fault.Delay); err == nil && fault.Status == 0 {
			reply = handle()
		}
	}
	switch {
	case err != nil:
		return nil, err
	case fault.Drop != DropNone:
		return nil, errDropped
	case reply == nil && fault.Status == 0:
		return nil, errClosed
	case fault.altersAnswer():
		return fault.alter(reply), nil
	}
	return reply, nil
}

// watchedExchange is exchange in a goroutine of the server.
func (s *Server) watchedExchange(r *http.Request) (d delivery, err error) {
	err = errDropped // unless exchange returns
	s.watched(r.Method+" "+r.URL.Path, func() { d, err = s.exchange(r) })
	return d, err
}

// wait lets d pass unless ctx or the server ends first.
func (s *Server) wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.life.Done():
		return errClosed
	}
}

// Handler returns the service as a handler, for a server of one's own. It serves the paths below /api/v1.
func (s *Server) Handler() http.Handler { return s.serve(s.exchange) }

func (s *Server) serve(exchange func(*http.Request) (delivery, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := exchange(r)
		if err != nil {
			abort(w)
		}
		for name, values := range d.head() {
			w.Header()[name] = values
		}
		w.WriteHeader(d.status)
		if d.pause == 0 {
			_, _ = w.Write(d.body[:d.cut]) // the client may be gone
		}
		for i := 0; d.pause > 0 && i < d.cut; i++ {
			if s.wait(r.Context(), d.pause) != nil {
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(d.body[i : i+1])
			_ = http.NewResponseController(w).Flush()
		}
		if d.cut < len(d.body) {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
}

// abort ends a connection without an answer. It begins one first: a client's transport takes a connection that ends
// without a byte for a stale one, and repeats the call by itself, unseen by the test.
func abort(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\n")
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// memoryTransport is the way to an in-memory server. It carries a call out in the caller's goroutine, unless the call
// may outlive the caller.
type memoryTransport struct{ server *Server }

// RoundTrip implements [http.RoundTripper].
func (t memoryTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if !strings.EqualFold(r.URL.Scheme+"://"+r.URL.Host, t.server.memoryHost) {
		return nil, fmt.Errorf("letagentpaytest: the client of an in-memory server reaches %s only, not %s", t.server.memoryHost, r.URL.Host)
	}
	if t.server.life.Err() != nil {
		return nil, errClosed
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	d, err := t.server.exchange(r)
	if err == nil {
		err = r.Context().Err() // carried out, but the caller has gone
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status:     strconv.Itoa(d.status) + " " + http.StatusText(d.status),
		StatusCode: d.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        d.head(),
		ContentLength: int64(len(d.body)),
		Body:          &memoryBody{server: t.server, ctx: r.Context(), delivery: d, rest: bytes.NewReader(d.body[:d.cut])},
		Request:       r,
	}, nil
}

// memoryBody is the body of an answer that may be slow or cut short.
type memoryBody struct {
	delivery
	server *Server
	ctx    context.Context
	rest   *bytes.Reader
	closed bool
}

func (b *memoryBody) Read(p []byte) (int, error) {
	if b.closed {
		return 0, errors.New("letagentpaytest: read of a closed body")
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.pause > 0 && b.rest.Len() > 0 {
		p = p[:1]
		if err := b.server.wait(b.ctx, b.pause); err != nil {
			return 0, err
		}
	} else if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.rest.Read(p)
	if err == io.EOF && b.cut < len(b.body) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *memoryBody) Close() error {
	b.closed = true
	return nil
}
