package letagentpaytest

import (
	"slices"
	"time"
)

// Verdict is what a scripted human does about a pending request. The zero value leaves it pending.
type Verdict struct {
	decides bool
	approve bool
	after   time.Duration
}

// Approve is the verdict that approves a request.
func Approve() Verdict { return Verdict{decides: true, approve: true} }

// Reject is the verdict that rejects a request.
func Reject() Verdict { return Verdict{decides: true} }

// After returns v, given d later on the server's clock: the human takes a while. A request that expires first has
// expired.
func (v Verdict) After(d time.Duration) Verdict {
	v.after = d
	return v
}

// verdictDue is a verdict that waits for its time.
type verdictDue struct {
	at      time.Time
	request *requestState
	approve bool
}

// OnPending lets human decide every purchase that becomes pending from now on; nil ends that. It is called once for
// each, before the agent has its answer, without any lock, so it may use the server, but not close it; calls at the
// same time make it run at the same time. The answer still says pending: the agent learns of a decision when it asks
// again, as it would from a real owner. A verdict with a delay comes due on the server's clock, without a goroutine
// waiting for it.
//
// In memory it runs in the goroutine of the call. Over sockets, and where a call may outlive its client, it runs in a
// goroutine of the server: a panic or t.FailNow there fails the test with the place where it happened, or ends the
// program where there is no test, and the call ends without an answer.
func (s *Server) OnPending(human func(Request) Verdict) {
	if human == nil {
		s.human.Store(nil)
		return
	}
	s.human.Store(&human)
}

// askHuman gets the verdict on a request that has just become pending.
func (s *Server) askHuman(x *exchange) {
	human := s.human.Load()
	if human == nil || x.world != s.world.Load() { // a call that outlives its scenario is not the new one's
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
		_ = r.decide(verdict.approve, now) // refused when the human has used Approve or Reject itself
		return
	}
	due := verdictDue{at: now.Add(verdict.after), request: r, approve: verdict.approve}
	place, _ := slices.BinarySearchFunc(acc.verdicts, due, func(a, b verdictDue) int {
		if a.at.After(b.at) {
			return 1
		}
		return -1 // equal times stay in the order they were given
	})
	acc.verdicts = slices.Insert(acc.verdicts, place, due)
}
