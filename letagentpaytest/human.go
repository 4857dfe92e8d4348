package letagentpaytest

import (
	"slices"
	"time"
)

// Verdict is the decision of a scripted human on a pending request. The zero value leaves it pending.
type Verdict struct {
	decides bool
	approve bool
	after   time.Duration
}

// Approve is the verdict that approves a request.
func Approve() Verdict { return Verdict{decides: true, approve: true} }

// Reject is the verdict that rejects a request.
func Reject() Verdict { return Verdict{decides: true} }

// After returns v with a delay of d on the server's clock. A request that expires earlier stays expired.
func (v Verdict) After(d time.Duration) Verdict {
	v.after = d
	return v
}

// verdictDue is a delayed verdict.
type verdictDue struct {
	at      time.Time
	request *requestState
	approve bool
}

// OnPending lets human decide every purchase that becomes pending from now on. nil ends that. It is called once for
// each purchase, before the agent has its answer, concurrently for concurrent calls. No lock is held, so human may use
// the server, but it must not close it. The answer still says pending: the agent sees the decision when it reads the
// request, as with a real owner. A delayed verdict comes due on the server's clock, and no goroutine waits for it.
//
// In memory, human runs in the goroutine of the call. Over sockets, and for calls that may outlive their client, it
// runs in a goroutine of the server. There a panic or t.FailNow fails the test with a stack trace, or crashes the
// program outside a test, and the call ends without an answer.
func (s *Server) OnPending(human func(Request) Verdict) {
	if human == nil {
		s.human.Store(nil)
		return
	}
	s.human.Store(&human)
}

// askHuman applies the verdict on a request that has just become pending.
func (s *Server) askHuman(x *exchange) {
	human := s.human.Load()
	if human == nil || x.world != s.world.Load() { // a call of an earlier scenario is not for this human
		return
	}
	r, acc := x.pending, x.agent.account
	acc.mu.Lock()
	snapshot := r.snapshot()
	acc.mu.Unlock()
	verdict := (*human)(snapshot)
	if !verdict.decides {
		return
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	now := x.world.clock.now()
	acc.catchUp(now)
	if verdict.after <= 0 {
		_ = r.decide(verdict.approve, now) // fails if human has called Approve or Reject itself
		return
	}
	due := verdictDue{at: now.Add(verdict.after), request: r, approve: verdict.approve}
	place, _ := slices.BinarySearchFunc(acc.verdicts, due, func(a, b verdictDue) int {
		if a.at.After(b.at) {
			return 1
		}
		return -1 // equal times keep their order
	})
	acc.verdicts = slices.Insert(acc.verdicts, place, due)
}
