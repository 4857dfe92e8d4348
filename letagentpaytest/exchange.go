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

// maxBody is the size up to which the server reads a request.
const maxBody = 4 << 20

// errDropped is the error of a call whose connection a fault drops.
var errDropped = fmt.Errorf("letagentpaytest: connection dropped: %w", io.ErrUnexpectedEOF)

// errClosed is the error of a call after Close, or during it.
var errClosed = errors.New("letagentpaytest: the server is closed")

// arrival is a call that has reached the server, before it is handled.
type arrival struct {
	endpoint
	id      string // in the path
	body    []byte
	refusal *answer // nil, unless the path or the method is not the service's
	record  *Call
}

// exchange carries out one call, with the fault that applies to it, over sockets and in memory alike. On an error, the
// connection ends without an answer.
func (s *Server) exchange(r *http.Request) (delivery, error) {
	var body []byte
	if r.Body != nil && r.Body != http.NoBody {
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody)); err != nil {
			return delivery{}, err
		}
	}
	in := arrival{body: body}
	in.endpoint, in.id, in.refusal = route(r)
	fault := s.faults.take(in.op)
	in.record = s.calls.begin(s.world.Load(), r, in.op, body)
	reply, err := s.respond(r, in, &fault)
	if err != nil {
		return delivery{}, err
	}
	s.calls.end(in.record, reply)
	d := delivery{
		answer: reply,
		date:   in.record.Time,
		cut:    len(reply.body),
		pause:  fault.SlowBytes,
	}
	if fault.Truncate > 0 {
		d.cut = min(d.cut, fault.Truncate)
	}
	return d, nil
}

// respond returns the answer to a call. The error says why there is no answer.
func (s *Server) respond(r *http.Request, in arrival, fault *Fault) (*answer, error) {
	races := s.races.Load()
	if races == nil && fault.GatewayTimeout == 0 {
		return s.carryOut(r.Context(), fault, func() *answer { return s.handle(r, in, nil) })
	}
	behind, run := fault.behindGateway(), (*race)(nil)
	if races != nil {
		run = &race{Races: *races, server: s, call: *in.record}
		if behind.delaysCommit() && hasChecks(in.op) {
			run.delay, behind.Delay = behind.Delay, 0
		}
	}
	return s.runDetached(r, *fault, func(r *http.Request) (*answer, error) {
		return s.carryOut(context.Background(), &behind, func() *answer { return s.handle(r, in, run) })
	})
}

// runDetached carries out a call in its own goroutine, which continues when the client or the gateway has given up.
// Close ends it.
func (s *Server) runDetached(
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
	apart := r.Clone(context.Background()) // the caller may reuse its request after giving up
	go func() {
		defer s.handlers.leave()
		defer close(done)
		s.runWatched(r.Method+" "+apart.URL.Path, func() {
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
			return nil, errDropped // the handler did not return, as runWatched has reported
		}
		return end.reply, end.err
	case <-gaveUp:
		return gateway.gatewayAnswer()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-s.life.Done():
		return nil, errClosed
	}
}

// carryOut handles a call as the fault says. Its waits end with ctx. The error says why there is no answer.
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

// wait returns after d, or with an error when ctx or the server ends first.
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

// exchange is one call while it is carried out.
type exchange struct {
	world  *world
	agent  *agentState
	now    time.Time
	id     string // in the path
	header http.Header
	query  url.Values
	body   payload

	race    *race         // nil: the call is carried out at one instant
	pending *requestState // set when a purchase became pending
}

// handle carries out one call and returns its answer, or nil when Close has ended it.
func (s *Server) handle(r *http.Request, in arrival, race *race) *answer {
	if in.refusal != nil {
		return in.refusal
	}
	x := &exchange{
		world:  s.world.Load(),
		id:     in.id,
		header: r.Header,
		race:   race,
	}
	if r.URL.RawQuery != "" {
		x.query, _ = url.ParseQuery(r.URL.RawQuery) // an unreadable parameter is left out
	}
	if r.Method == http.MethodPost {
		var refusal *answer
		if x.body, refusal = parsePayload(r.Header, in.body); refusal != nil {
			return refusal // a syntax error is reported before authentication
		}
	}
	// The fields of a body are checked without the lock, and reported after authentication.
	reply := s.runLocked(x, in.handle(handlers{s}, x))
	if x.pending != nil && reply != nil {
		s.askHuman(x)
	}
	return reply
}

// runLocked authenticates the call and does its work while the account is locked.
func (s *Server) runLocked(x *exchange, t task) *answer {
	token, ok := strings.CutPrefix(x.header.Get("Authorization"), "Bearer ")
	if !ok {
		return errorAnswer(http.StatusUnauthorized, "Missing bearer token")
	}
	x.agent = x.world.directory().byToken[token]
	if x.agent == nil {
		return errorAnswer(http.StatusUnauthorized, "Invalid agent token")
	}
	acc := x.agent.account
	acc.mu.Lock()
	defer acc.mu.Unlock()
	x.now = x.world.clock.now()
	acc.catchUp(x.now)
	switch {
	case acc.config.Blocked:
		return errorAnswer(http.StatusForbidden, "Account is blocked")
	case acc.config.AllAgentsPaused:
		return errorAnswer(http.StatusForbidden, "All agents are paused by account owner")
	case x.agent.config.Status == AgentArchived:
		return errorAnswer(http.StatusForbidden, "Agent is archived")
	case x.agent.config.Status != AgentActive:
		return errorAnswer(http.StatusForbidden, "Agent is paused")
	case t.refusal != nil:
		return t.refusal
	}
	return t.work()
}
