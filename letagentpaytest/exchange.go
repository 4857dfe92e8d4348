package letagentpaytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody bounds what the server reads of a request.
const maxBody = 4 << 20

// errDropped is what becomes of a call whose connection a fault drops.
var errDropped = fmt.Errorf("letagentpaytest: connection dropped: %w", io.ErrUnexpectedEOF)

// errClosed is what an in-memory call meets after Close.
var errClosed = errors.New("letagentpaytest: the server is closed")

// arrival is a call that has reached the server.
type arrival struct {
	op      Op
	id      string // in the path
	body    []byte
	refusal *answer // where there is no such operation
	record  *Call
}

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

// outlive carries out a call in a goroutine of its own, which continues when the client has gone or the gateway has
// given up. Close ends it.
func (s *Server) outlive(
	r *http.Request, gateway Fault, carryOut func(*http.Request) (*answer, error),
) (*answer, error) {
	if !s.handlers.enter() {
		return nil, errClosed
	}
	type outcome struct {
		reply *answer
		err   error
	}
	done := make(chan outcome, 1)
	apart := r.Clone(context.Background()) // the caller may reuse its request when it has given up
	go func() {
		defer s.handlers.leave()
		defer close(done)
		s.watched(r.Method+" "+apart.URL.Path, func() {
			reply, err := carryOut(apart)
			done <- outcome{reply, err}
		})
	}()
	var gaveUp <-chan time.Time
	if gateway.GatewayTimeout > 0 {
		timer := time.NewTimer(gateway.GatewayTimeout)
		defer timer.Stop()
		gaveUp = timer.C
	}
	select {
	case end, ok := <-done:
		if !ok {
			return nil, errDropped // the handler failed, which watched has reported
		}
		return end.reply, end.err
	case <-gaveUp:
		return gateway.giveUp()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-s.life.Done():
		return nil, errClosed
	}
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

// call is one request to the server while it is carried out.
type call struct {
	world  *world
	agent  *agent
	now    time.Time
	header http.Header
	query  url.Values
	body   payload

	race    *race    // nil: the call is carried out at one instant
	pending *request // set when a purchase became pending
}

// handle carries out one call and returns its answer, or nil when Close has ended it.
func (s *Server) handle(r *http.Request, a arrival, race *race) *answer {
	if a.refusal != nil {
		return a.refusal
	}
	c := &call{world: s.world.Load(), header: r.Header, race: race}
	if r.URL.RawQuery != "" {
		c.query, _ = url.ParseQuery(r.URL.RawQuery) // what cannot be read is left out
	}
	if r.Method == http.MethodPost {
		var refusal *answer
		if c.body, refusal = parsePayload(r.Header, a.body); refusal != nil {
			return refusal // even before authentication
		}
	}
	// What a body says is checked without the lock, and reported after authentication.
	work, refusal := s.prepare(a.op, a.id, c)
	reply := s.locked(c, work, refusal)
	if c.pending != nil && reply != nil {
		s.askHuman(c)
	}
	return reply
}

// locked authenticates the call and does its work under the account's lock.
func (s *Server) locked(c *call, work func() *answer, refusal *answer) *answer {
	token, ok := strings.CutPrefix(c.header.Get("Authorization"), "Bearer ")
	if !ok {
		return errorAnswer(http.StatusUnauthorized, "Missing bearer token")
	}
	c.agent = c.world.directory().byToken[token]
	if c.agent == nil {
		return errorAnswer(http.StatusUnauthorized, "Invalid agent token")
	}
	acc := c.agent.account
	acc.mu.Lock()
	defer acc.mu.Unlock()
	c.now = c.world.clock.now()
	acc.catchUp(c.now)
	switch {
	case acc.config.Blocked:
		return errorAnswer(http.StatusForbidden, "Account is blocked")
	case acc.config.AllAgentsPaused:
		return errorAnswer(http.StatusForbidden, "All agents are paused by account owner")
	case c.agent.config.Status == AgentArchived:
		return errorAnswer(http.StatusForbidden, "Agent is archived")
	case c.agent.config.Status != AgentActive:
		return errorAnswer(http.StatusForbidden, "Agent is paused")
	case refusal != nil:
		return refusal
	}
	return work()
}
