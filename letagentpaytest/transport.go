package letagentpaytest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
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
