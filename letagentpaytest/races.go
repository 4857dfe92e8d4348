package letagentpaytest

import (
	"errors"
	"fmt"
	"time"

	"github.com/letagentpay/letagentpay-go/operation"
)

// Races is how long calls take from their checks to their commits under [WithServiceRaces]. With the zero value they
// take no time, and overlap only by chance.
//
// The times pass on the real clock, or on that of a synctest bubble, not on the server's.
type Races struct {
	// Purchase is how long a purchase takes from the check of its Idempotency-Key to its commit.
	Purchase time.Duration `json:"purchase,omitzero"`
	// Confirm is how long a confirmation takes from the check of the request's status to its commit.
	Confirm time.Duration `json:"confirm,omitzero"`
	// Store is how long a purchase takes from its commit, when it can be listed, until its answer is stored under its
	// Idempotency-Key and sent.
	Store time.Duration `json:"store,omitzero"`
	// Choose, when set, returns the time of each purchase and confirmation in place of Purchase and Confirm. It is
	// called after the check, in a goroutine of the server and without a lock, concurrently for concurrent calls. It
	// may block: the call stays between its check and its commit until Choose returns. A Delay of a [Fault] takes
	// precedence. A negative time counts as zero.
	Choose func(Call) time.Duration `json:"-"`
}

// Validate returns an error for a time below zero.
func (races Races) Validate() error {
	if reason := races.fieldReason(); reason != "" {
		return errors.New("letagentpaytest: races: " + reason)
	}
	return nil
}

func (races Races) fieldReason() string {
	for _, field := range []struct {
		name string
		time time.Duration
	}{{"Purchase", races.Purchase}, {"Confirm", races.Confirm}, {"Store", races.Store}} {
		if field.time < 0 {
			return fmt.Sprintf("%s is %v; want zero or more", field.name, field.time)
		}
	}
	return ""
}

// UnmarshalJSON reads races with purchase, confirm and store as Go durations ("1.5s"). Another name is an error.
func (races *Races) UnmarshalJSON(data []byte) error { return decodeStruct(data, races) }

// MarshalJSON writes what UnmarshalJSON reads, without fields that are zero. Choose has no form in JSON.
func (races Races) MarshalJSON() ([]byte, error) { return encodeStruct(races) }

// WithServiceRaces makes overlapping calls race as they do at the real service, instead of carrying out each call at
// one instant:
//
//   - A purchase checks its Idempotency-Key, takes its time, commits, and only then stores its answer under the key. So
//     overlapping purchases under one key each make a request, and the key then replays the answer stored last.
//   - A confirmation checks that the request is approved, takes its time, and commits without checking again. So
//     overlapping failure confirmations each refund.
//   - A call continues when its client has given up, and commits at its own time.
//
// A replay or a refusal takes no time. A [Fault] with a Delay sets the time of the calls it applies to, as in Fault{Op:
// operation.Purchase, Times: 2, Delay: 6 * time.Second}. For operations other than purchase and confirm, that time
// passes before the call is carried out. [Server.SetServiceRaces] changes the mode while the server runs.
func WithServiceRaces(races Races) Option {
	return onServer("WithServiceRaces", func(o *settings) error {
		if reason := races.fieldReason(); reason != "" {
			return errors.New("WithServiceRaces: " + reason)
		}
		o.races = &races
		return nil
	})
}

// SetServiceRaces does what [WithServiceRaces] does, for the calls that arrive from now on. nil ends the races. The
// mode stays after [Server.ApplyScenario]. A time below zero fails the test.
func (s *Server) SetServiceRaces(races *Races) {
	s.helper()
	if races == nil {
		s.races.Store(nil)
		return
	}
	if err := races.Validate(); err != nil {
		s.fatalf("%v", err)
		return
	}
	copied := *races
	s.races.Store(&copied)
}

// race is the timing of one call under Races.
type race struct {
	Races
	server *Server
	call   Call          // for Choose
	delay  time.Duration // of a fault, in place of the time of Races; 0: none
}

// hasChecks reports whether the calls of an operation take their time between a check and a commit.
func hasChecks(op operation.Op) bool { return op == operation.Purchase || op == operation.Confirm }

// pauseBeforeCommit waits for the time between a call's check and its commit, which is zero without races. The account
// is locked before and after, but not during the wait. It returns false when the server is closed, and then the call
// must not commit.
func (x *exchange) pauseBeforeCommit(usual func(*Races) time.Duration) bool {
	if x.race == nil {
		return true
	}
	return x.pauseUnlocked(func() time.Duration {
		switch {
		case x.race.delay > 0:
			return x.race.delay
		case x.race.Choose != nil:
			return x.race.Choose(x.race.call)
		}
		return usual(&x.race.Races)
	})
}

// pauseBeforeStore waits for the time between a purchase's commit and the storing of its answer, as pauseBeforeCommit
// does.
func (x *exchange) pauseBeforeStore() bool {
	if x.race == nil || x.race.Store == 0 {
		return true
	}
	return x.pauseUnlocked(func() time.Duration { return x.race.Store })
}

// pauseUnlocked waits while the account is unlocked, and locks it again.
func (x *exchange) pauseUnlocked(pause func() time.Duration) bool {
	acc := x.agent.account
	acc.mu.Unlock()
	defer func() { // also when pause panics: the lock's holder unlocks it
		acc.mu.Lock()
		x.now = x.world.clock.now()
		acc.catchUp(x.now)
	}()
	return x.race.server.wait(x.race.server.life, pause()) == nil
}
