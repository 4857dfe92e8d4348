package letagentpaytest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/letagentpay/letagentpay-go/operation"
)

// Call is one request that reached the server, with its answer.
type Call struct {
	Time         time.Time    `json:"time"`            // by the server's clock
	Agent        string       `json:"agent,omitempty"` // by its token; empty without a valid one
	Op           operation.Op `json:"op,omitempty"`    // empty when the path or method is not the service's
	Method       string       `json:"method"`
	Path         string       `json:"path"`   // with the query
	Header       http.Header  `json:"header"` // Idempotency-Key, Content-Type and User-Agent, never the token
	Body         string       `json:"body,omitempty"`
	Status       int          `json:"status,omitempty"` // 0 when the connection ended without an answer
	ResponseBody string       `json:"response_body,omitempty"`
}

// String returns the call in at most three lines, for failure messages.
func (c Call) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", c.Time.Format("15:04:05.000"), c.Method, c.Path)
	if c.Agent != "" && c.Agent != mainName {
		fmt.Fprintf(&b, " by %s", c.Agent)
	}
	if key := c.Header.Get("Idempotency-Key"); key != "" {
		fmt.Fprintf(&b, " key %q", key)
	}
	if c.Body != "" {
		fmt.Fprintf(&b, "\n  > %s", c.Body)
	}
	if c.Status == 0 {
		b.WriteString("\n  < no answer")
	} else {
		fmt.Fprintf(&b, "\n  < %d %s", c.Status, c.ResponseBody)
	}
	return b.String()
}

// CallList is a list of calls that prints as one call below the other.
type CallList []Call

// String returns the number of calls and each call as [Call.String] prints it.
func (l CallList) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d calls", len(l))
	for _, c := range l {
		b.WriteString("\n" + c.String())
	}
	return b.String()
}

// Of returns the calls of one operation.
func (l CallList) Of(op operation.Op) CallList {
	var of CallList
	for _, c := range l {
		if c.Op == op {
			of = append(of, c)
		}
	}
	return of
}

// callLog keeps the latest calls.
type callLog struct {
	mu    sync.Mutex
	calls []*Call
	limit int
}

var shownHeaders = []string{"Idempotency-Key", "Content-Type", "User-Agent"}

// begin adds a call when it arrives, so the log is in the order of arrival.
func (l *callLog) begin(w *world, r *http.Request, op operation.Op, body []byte) *Call {
	c := &Call{
		Time:   w.clock.now(),
		Op:     op,
		Method: r.Method,
		Path:   r.URL.RequestURI(),
		Header: http.Header{},
		Body:   string(body),
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if a := w.directory().byToken[token]; a != nil {
			c.Agent = a.name
		}
	}
	for _, name := range shownHeaders {
		if values, ok := r.Header[name]; ok {
			c.Header[name] = slices.Clone(values)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
	if len(l.calls) > l.limit+l.limit/4 { // deletes in batches, because each deletion shifts the list
		kept := copy(l.calls, l.calls[len(l.calls)-l.limit:])
		clear(l.calls[kept:])
		l.calls = l.calls[:kept]
	}
	return c
}

// end adds the answer to a call.
func (l *callLog) end(c *Call, reply *answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if reply != nil {
		c.Status, c.ResponseBody = reply.status, string(reply.body)
	}
}

// Calls returns the calls that reached the server, in the order of their arrival and without their tokens. A call in
// progress has no answer yet.
func (s *Server) Calls() CallList {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	list := make(CallList, len(s.calls.calls))
	for i, c := range s.calls.calls {
		list[i] = *c
	}
	return list
}

// ResetCalls deletes the recorded calls.
func (s *Server) ResetCalls() {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	s.calls.calls = nil
}

// shownCalls is the number of calls that a failed test logs.
const shownCalls = 20

// showCalls logs the last calls if t reports that it has failed.
func (s *Server) showCalls(t TB) {
	failed, ok := t.(interface {
		Failed() bool
		Logf(format string, args ...any)
	})
	if !ok || !failed.Failed() {
		return
	}
	calls := s.Calls()
	if len(calls) == 0 {
		return
	}
	t.Helper()
	shown := calls[max(0, len(calls)-shownCalls):]
	failed.Logf("letagentpaytest: the last of %d calls to the server:\n%v", len(calls), shown)
}
