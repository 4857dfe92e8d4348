package journal

import "slices"

// State is how far a guarded purchase has come.
type State string

// The states of an entry, in order.
const (
	// Requested means that the purchase is about to be requested, or awaits approval. The function has not run.
	Requested State = "requested"
	// Started means that the purchase is approved and the function is about to run, or runs. After a crash it may have
	// run. With Entry.Error set, it returned an error that can hide a payment.
	Started State = "started"
	// Returned means that the function has returned and the outcome is about to be confirmed. It also stands for an
	// approved purchase that is about to be refunded without a run; then Success is false.
	Returned State = "returned"
	// Settled means that the service knows the outcome.
	Settled State = "settled"
)

var states = []State{Requested, Started, Returned, Settled}

// Before reports whether s comes before other. It is false if either is not one of the four states.
func (s State) Before(other State) bool {
	at := slices.Index(states, s)
	return at >= 0 && at < slices.Index(states, other)
}

// hasOutcome reports whether an entry in this state says how the purchase ended.
func (s State) hasOutcome() bool { return s == Returned || s == Settled }
