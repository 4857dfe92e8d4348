package letagentpaytest

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/letagentpay/letagentpay-go/operation"
)

// Drop states whether and when a fault cuts the connection without an answer.
type Drop string

// When a connection is dropped. DropAfter is the dangerous case: the call has been carried out, the client gets no
// answer, and it must not buy twice.
const (
	DropNone   Drop = ""
	DropBefore Drop = "before" // before the call is carried out
	DropAfter  Drop = "after"  // after it
)

// Fault is a fault to inject into the next calls of an operation. At most one fault applies to a call: the first that
// matches, in the order of [Server.Fail].
type Fault struct {
	Op    operation.Op `json:"op,omitzero"`    // the operation it applies to; empty: any call
	Times int          `json:"times,omitzero"` // how many calls it applies to; 0 is once, -1 is until ClearFaults

	// Status is the status of the answer. The call is not carried out, unless AfterCommit is set.
	Status int `json:"status,omitzero"`
	// AfterCommit carries the call out before the Delay and the Status, as when a gateway loses the answer.
	AfterCommit bool `json:"after_commit,omitzero"`
	// Body replaces the body of the answer. With a Status, the default is an error in the service's form.
	Body string `json:"body,omitzero"`
	// NonJSON replaces the body with a page of HTML, as a proxy does.
	NonJSON bool `json:"non_json,omitzero"`
	// Header is added to the answer and replaces fields of the same name.
	Header http.Header `json:"header,omitzero"`

	// Drop cuts the connection instead of answering.
	Drop Drop `json:"drop,omitzero"`
	// Delay is a wait before the call is carried out; with AfterCommit or DropAfter, after it. It passes on the real
	// clock, or on that of a synctest bubble, and ends with the call's context. With a GatewayTimeout or under
	// [WithServiceRaces] it does not end with the context: the call continues without its client.
	Delay time.Duration `json:"delay,omitzero"`
	// GatewayTimeout, above zero, is how long a gateway waits for the service. When a call takes longer, the client
	// then gets the Status (0: 504) with Body, NonJSON and Header, or with a Drop the connection is cut. The service
	// continues and carries the call out at its own time. A call takes the Delay plus the time of [WithServiceRaces]
	// and [Server.OnPending]. Status, Body, NonJSON, Header and Drop do not change an answer that comes in time.
	GatewayTimeout time.Duration `json:"gateway_timeout,omitzero"`
	// Truncate, above zero, is the number of bytes of the answer's body after which the connection is cut.
	Truncate int `json:"truncate,omitzero"`
	// SlowBytes, above zero, is the pause before each byte of the answer's body.
	SlowBytes time.Duration `json:"slow_bytes,omitzero"`
}

// Validate returns an error for a fault that contradicts itself or has no effect.
func (f Fault) Validate() error {
	answers := f.altersAnswer() || f.Truncate > 0 || f.SlowBytes > 0
	reason := ""
	switch {
	case f.Op != "" && !slices.ContainsFunc(endpoints, func(e endpoint) bool { return e.op == f.Op }):
		reason = fmt.Sprintf("no operation is named %q", f.Op)
	case f.Times < -1:
		reason = "Times is below -1"
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		reason = fmt.Sprintf("the status %d is not between 200 and 599", f.Status)
	case f.Drop != DropNone && f.Drop != DropBefore && f.Drop != DropAfter:
		reason = fmt.Sprintf("Drop is %q", f.Drop)
	case f.Delay < 0 || f.SlowBytes < 0 || f.Truncate < 0 || f.GatewayTimeout < 0:
		reason = "Delay, GatewayTimeout, SlowBytes or Truncate is negative"
	case f.Drop != DropNone && answers:
		reason = "a dropped connection carries no answer"
	case f.Body != "" && f.NonJSON:
		reason = "Body and NonJSON both give the body"
	case f.Drop == DropNone && f.Delay == 0 && f.GatewayTimeout == 0 && !answers:
		reason = "it does nothing"
	default:
		return nil
	}
	return errors.New("letagentpaytest: fault: " + reason)
}

// UnmarshalJSON reads a fault with the names of its fields in snake_case, delay, gateway_timeout and slow_bytes as Go
// durations ("1.5s"). Another name is an error.
func (f *Fault) UnmarshalJSON(data []byte) error { return decodeStruct(data, f) }

// MarshalJSON writes what UnmarshalJSON reads, without fields that are zero.
func (f Fault) MarshalJSON() ([]byte, error) { return encodeStruct(f) }

// behindGateway returns the part of f that applies behind the gateway: all of f without a gateway.
func (f Fault) behindGateway() Fault {
	if f.GatewayTimeout == 0 {
		return f
	}
	return Fault{Delay: f.Delay, AfterCommit: f.AfterCommit}
}

// delaysCommit reports whether the call is carried out and the Delay passes before its commit.
func (f Fault) delaysCommit() bool {
	return f.Delay > 0 && f.Drop == DropNone && f.Status == 0 && !f.AfterCommit
}

// gatewayAnswer returns what the client gets when the gateway gives up.
func (f Fault) gatewayAnswer() (*answer, error) {
	if f.Drop != DropNone {
		return nil, errDropped
	}
	f.Status = cmp.Or(f.Status, http.StatusGatewayTimeout)
	return f.alter(nil), nil
}

// altersAnswer reports whether the client gets a different answer from the service's.
func (f Fault) altersAnswer() bool {
	return f.Status != 0 || f.Body != "" || f.NonJSON || f.Header != nil
}

const proxyPage = "<html>\r\n<head><title>Bad Gateway</title></head>\r\n" +
	"<body><center><h1>Bad Gateway</h1></center></body>\r\n</html>\r\n"

// alter returns the answer that the client gets instead of reply, which is nil when the call was not carried out.
func (f Fault) alter(reply *answer) *answer {
	altered := &answer{status: f.Status}
	switch {
	case f.Status == 0:
		*altered = *reply
	case f.Body == "" && !f.NonJSON:
		altered = errorAnswer(f.Status, http.StatusText(f.Status))
	}
	altered.header = altered.header.Clone()
	if altered.header == nil {
		altered.header = http.Header{}
	}
	switch {
	case f.NonJSON:
		altered.body = []byte(proxyPage)
		altered.header.Set("Content-Type", "text/html")
	case f.Body != "":
		altered.body = []byte(f.Body)
	}
	for name, values := range f.Header {
		altered.header[http.CanonicalHeaderKey(name)] = values
	}
	return altered
}

// faultList holds the faults that still apply, in order.
type faultList struct {
	mu     sync.Mutex
	queued []Fault
}

// Fail injects a fault. A fault that [Fault.Validate] refuses fails the test.
func (s *Server) Fail(f Fault) {
	s.helper()
	if err := f.Validate(); err != nil {
		s.fatalf("%v", err)
		return
	}
	if f.Times == 0 {
		f.Times = 1
	}
	f.Header = f.Header.Clone()
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.queued = append(s.faults.queued, f)
}

// ClearFaults removes all faults.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.queued = nil
}

// take returns the fault that applies to a call of op, or the zero Fault.
func (l *faultList) take(op operation.Op) Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.queued {
		if f.Op != "" && f.Op != op {
			continue
		}
		if f.Times > 0 {
			l.queued[i].Times--
			if f.Times == 1 {
				l.queued = slices.Delete(l.queued, i, i+1)
			}
		}
		return f
	}
	return Fault{}
}
