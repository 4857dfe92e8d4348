package letagentpay_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// TestModel plays random programs of guarded purchases, outages, owners, cancellations and crashes against the service
// in a box, and holds what the service has booked against what the guarded functions themselves know that they did:
//
//   - Nothing runs without an approval of its own, and nothing runs twice.
//   - Once connectivity is back, every run is confirmed as what it was, and nothing that did not run is.
//   - The books balance, and no hold is left.
//   - Errors are of the documented types and true; without outages, none speaks of one.
//   - No goroutine is left.
//
// -rapid.checks sets the number of programs; -short plays a fifth of them.
func TestModel(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if checks.Value.String() == checks.DefValue && os.Getenv("RAPID_CHECKS") == "" {
		require.NoError(t, checks.Value.Set("10000"))
		t.Cleanup(func() { require.NoError(t, checks.Value.Set(checks.DefValue)) })
	}
	var last failure
	defer last.show(t)
	rapid.Check(t, func(t *rapid.T) {
		p := anyProgram.Draw(t, "program")
		rapid.SyncTest(t, func(t *rapid.T) {
			w := newWorld(t, p.journal)
			defer w.server.Close()
			for i, s := range p.steps {
				s.play(w)
				w.overhear(s)
				w.check(t, &last, p, fmt.Sprintf("step %d", i+1))
			}
			w.conclude()
			w.check(t, &last, p, "the end")
		})
	})
}

// failure is the latest program that failed. Jitter makes programs differ from run to run, and one that fails now and
// then would else not be shown.
type failure struct{ text string }

func (f *failure) show(t *testing.T) {
	if f.text != "" {
		t.Log("the latest program to fail: " + f.text)
	}
}

// world is a service, an agent of it, and what its guarded functions know.
type world struct {
	server  *letagentpaytest.Server
	journal *processJournal // nil: none
	process *process
	before  *process // the process that process has taken over from, if that lives
	turn    *turn    // that the call under way is part of; nil: none
	calm    bool     // nothing is out of order
	calls   int      // that may have made a purchase each
	traffic letagentpaytest.CallList

	identical map[letagentpay.PurchaseParams]int // how many identical purchases a turn made at most

	mu         sync.Mutex
	diskFailed bool
	diskFails  int             // how often the journal's disk will still fail
	warned     map[string]bool // purchases that the log calls unconfirmed
	runs       []*run
	keys       []letagentpay.PurchaseParams // what errors gave keys for
	log        []string
	wrong      []string // what must not be
}

// run is one run of a guarded function, as it knows itself.
type run struct {
	number    int
	requestID string
	process   *process
	turn      *turn                     // nil: outside
	truth     letagentpay.ConfirmParams // what it has done
	failed    bool                      // it returned an error, or not at all
	approval  *letagentpay.Approval     // of a call in two phases
	confirm   *letagentpay.ConfirmError // as long as its confirmation has not got through
}

var tokens atomic.Int64 // worlds share nothing in memory if their agents differ

func newWorld(t *rapid.T, journal bool) *world {
	server, err := letagentpaytest.Start(
		letagentpaytest.InMemory(), letagentpaytest.WithSeed(1), letagentpaytest.WithToken("agt_model-"+strconv.FormatInt(tokens.Add(1), 10)),
		letagentpaytest.WithPolicyJSON(approveUpTo50), letagentpaytest.WithAliases(map[string]string{"uber_ride": "taxi"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{server: server, calm: true, warned: make(map[string]bool), identical: make(map[letagentpay.PurchaseParams]int)}
	if journal {
		w.journal = &processJournal{world: w}
	}
	w.start()
	return w
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

// violated records what must not be. The text must be the same in every run of a program.
func (w *world) violated(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// check fails the test with the first thing that is wrong.
func (w *world) check(t *rapid.T, last *failure, p program, where string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) == 0 {
		return
	}
	story := strings.Join(w.log, "\n") + "\n" + strings.Join(w.wrong, "\n") + "\n" + append(w.traffic, w.server.Calls()...).String()
	last.text = fmt.Sprintf("%#v\nat %s: %s\n%s", p, where, w.wrong[0], story)
	t.Fatalf("%s", w.wrong[0])
}

// overhear checks what a step has sent, if it is of one call.
func (w *world) overhear(s step) {
	calls := w.server.Calls()
	w.server.ResetCalls()
	w.traffic = append(w.traffic, calls...)
	if c, ok := s.(*guardedCall); ok && c.twice {
		return
	}
	unclear := make(map[string]time.Time) // writes that may have taken effect
	for _, call := range calls {
		what := call.Path
		if call.Op == letagentpaytest.OpPurchase {
			what = call.Header.Get("Idempotency-Key")
		}
		lost, before := unclear[what]
		switch call.Op {
		case letagentpaytest.OpRequest:
			delete(unclear, call.Path+"/confirm")
			continue
		case letagentpaytest.OpConfirm:
			if before {
				w.violated("a confirmation is sent again without a look at the request")
			}
		case letagentpaytest.OpPurchase:
			if before && call.Time.Sub(lost) < 2*time.Second {
				w.violated("a purchase is sent again before the first attempt is surely over")
			}
		default:
			continue
		}
		if call.Status == 0 || call.Status >= 500 || call.Status == 408 {
			unclear[what] = call.Time
		}
	}
}

// name is a request's in the log: its place among all.
func (w *world) name(id string) string {
	for i, r := range w.server.Requests() {
		if r.RequestID == id {
			return "request " + strconv.Itoa(i+1)
		}
	}
	return "an unknown request"
}

func (w *world) options(wait time.Duration) []letagentpay.GuardOption {
	options := []letagentpay.GuardOption{letagentpay.OnPendingFail()}
	if wait > 0 {
		options[0] = letagentpay.OnPendingWait(wait)
	}
	if w.journal != nil {
		options = append(options, letagentpay.WithJournal(w.journal))
	}
	return options
}

// runsOf returns the runs under a request.
func (w *world) runsOf(id string) []*run {
	w.mu.Lock()
	defer w.mu.Unlock()
	var runs []*run
	for _, r := range w.runs {
		if r.requestID == id {
			runs = append(runs, r)
		}
	}
	return runs
}

// mayResume reports whether the agent may resume a request: only the agent knows what has run, unless the service, the
// journal or the client does, which has run it itself.
func (w *world) mayResume(r *letagentpaytest.Request) bool {
	elsewhere := func(r *run) bool { return r.process != w.process }
	if !slices.ContainsFunc(w.runsOf(r.RequestID), elsewhere) || r.Status.Final() {
		return true
	}
	if w.journal != nil {
		for entry := range w.journal.memoryJournal.Entries(context.Background()) {
			if entry.RequestID == r.RequestID && (entry.State == letagentpay.JournalExecuted || entry.State == letagentpay.JournalSettled) {
				return true
			}
		}
	}
	return false
}

// play makes the call.
func (c *guardedCall) play(w *world) {
	p := letagentpay.PurchaseParams{Amount: letagentpay.MustAmount(c.amount), Category: c.category}
	if c.other {
		w.swap()
	}
	w.turn = nil
	ctx, resumed, times := w.process.life, false, 1
	if c.twice {
		times = 2
	}
	switch c.key {
	case ownKey, otherKey:
		p.IdempotencyKey = string(c.key)
	case scopedKey:
		p.Description = "turn-" + strconv.Itoa(c.scope)
		now := w.process.scopes[c.scope]
		if now == nil {
			now = &turn{letagentpay.WithPurchaseScope(ctx, p.Description), make(map[letagentpay.PurchaseParams]int)}
			w.process.scopes[c.scope] = now
		}
		ctx, w.turn = now.ctx, now
		now.calls[p] += times
		w.identical[p] = max(w.identical[p], now.calls[p])
	case knownKey:
		if len(w.keys) == 0 {
			return
		}
		p = w.keys[c.pick%len(w.keys)]
	case resumedKey:
		requests := w.server.Requests()
		if len(requests) == 0 {
			return
		}
		request := requests[c.pick%len(requests)]
		if !w.mayResume(&request) {
			return
		}
		resumed = true
		if p.Category = request.Category; !c.mismatch {
			p.Amount = request.Amount
		}
		ctx = letagentpay.ResumeApproval(ctx, request.RequestID)
	}
	if !resumed {
		w.calls += times
	}
	if c.unconfirmed {
		w.calm = false
		w.server.Fail(letagentpaytest.Fault{Op: letagentpaytest.OpConfirm, Status: 403})
	}
	w.mu.Lock()
	first := len(w.runs)
	w.mu.Unlock()
	var mu sync.Mutex
	var answers []answered
	outcomes := w.run(ctx, c.interrupted, times, func(ctx context.Context) {
		a := c.make(ctx, w, p)
		mu.Lock()
		defer mu.Unlock()
		answers = append(answers, *a)
	})
	w.mu.Lock()
	runs := slices.Clone(w.runs[first:])
	w.mu.Unlock()
	for i, o := range outcomes {
		switch {
		case o.panicked == died{}:
			w.note("call %d: the process has died", i+1)
		case o.panicked != nil && o.panicked != errPanic:
			w.violated("the call panicked with %v", o.panicked)
		case o.returned:
		case c.twoPhase:
			w.violated("a call in two phases did not return")
		case c.fn != panics && c.fn != spendsAndPanics && c.fn != endsItsGoroutine:
			w.violated("the call did not return although its function did")
		default:
			w.note("call %d: the function did not return", i+1)
		}
	}
	if outcomes[0].panicked == (died{}) {
		return
	}
	for i := range answers {
		w.judge(c, &answers[i], p, resumed)
	}
	for _, r := range runs {
		if r.confirm == nil && !w.warned[r.requestID] {
			w.confirmed(r)
		}
	}
}

// answered is what a call came back with.
type answered struct {
	result string
	err    error
	run    *run // nil: its function did not run
}

// make makes the call, once.
func (c *guardedCall) make(ctx context.Context, w *world, p letagentpay.PurchaseParams) *answered {
	a := new(answered)
	if !c.twoPhase {
		guarded := letagentpay.Guard(w.process.client, func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p },
			func(ctx context.Context, p letagentpay.PurchaseParams) (string, error) {
				approval, ok := letagentpay.ApprovalFromContext(ctx)
				if !ok {
					w.violated("a function ran without an approval in its context")
					return "", nil
				}
				return c.function(ctx, w, approval, p, &a.run)
			}, w.options(c.wait)...)
		a.result, a.err = guarded(ctx, p)
		return a
	}
	approval, err := w.process.client.Authorize(ctx, p, w.options(c.wait)...)
	if err != nil {
		a.err = err
		return a
	}
	func() {
		defer func() {
			if reason := recover(); reason != nil && reason != errPanic {
				// It has died, and the memory that its locks are in is that of the next process, too.
				_ = approval.Settle(ctx, errPanic)
				panic(reason)
			}
		}()
		a.err = errPanic
		a.result, a.err = c.function(ctx, w, approval, p, &a.run)
	}()
	a.run.approval = approval
	settleErr := approval.Settle(ctx, a.err)
	if settleErr != nil {
		a.err = errors.Join(a.err, settleErr)
	} else if again := approval.Settle(ctx, errShop); again != nil { // as a deferred one would
		w.violated("Settle after Settle fails: %T", again)
	}
	return a
}

var errPanic = errors.New("the function panicked")

// function is the guarded function: it enters in the ledger what it does.
func (c *guardedCall) function(ctx context.Context, w *world, approval *letagentpay.Approval, p letagentpay.PurchaseParams, own **run) (result string, err error) {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	a.event(func() {
		id := approval.RequestID()
		if ran := w.runsOf(id); len(ran) > 0 {
			w.violated("%s ran twice", w.name(id))
		}
		w.mu.Lock()
		r := &run{number: len(w.runs) + 1, requestID: id, process: a.process, turn: w.turn, failed: true}
		w.runs = append(w.runs, r)
		w.mu.Unlock()
		*own = r
		request, found := w.server.Request(id)
		switch {
		case !found || !request.Status.Approved():
			w.violated("%s ran although it was %q", w.name(id), request.Status)
		case request.Amount != p.Amount || approval.Amount() != p.Amount || approval.Category() != request.Category:
			w.violated("%s was for %s %s and ran for %s %s", w.name(id), request.Amount, request.Category, p.Amount, p.Category)
		}
		result = "receipt " + strconv.Itoa(r.number)
		w.note("run %d, under %s: the function %s", r.number, w.name(id), c.fn)
		time.Sleep(c.takes)
		if a.process.dead.Load() {
			panic(died{})
		}
		err = c.behave(approval, r)
	})
	r := *own
	r.failed = err != nil
	return result, err
}

func (c *guardedCall) behave(approval *letagentpay.Approval, r *run) error {
	spend := func(amount letagentpay.Amount) error {
		r.truth = letagentpay.ConfirmParams{Success: true, ActualAmount: amount}
		return approval.Spent(amount, "")
	}
	less := letagentpay.MustAmount("15")
	switch c.fn {
	case succeeds:
		r.truth.Success = true
	case spendsLess:
		return spend(less)
	case spendsMore:
		return spend(approval.Amount().Add(letagentpay.MustAmount("1")))
	case spendsNothing:
		return spend(letagentpay.Amount{})
	case fails:
		return errShop
	case spendsAndFails:
		return errors.Join(errShop, spend(less))
	case panics:
		panic(errPanic)
	case spendsAndPanics:
		_ = spend(less)
		panic(errPanic)
	case endsItsGoroutine:
		runtime.Goexit()
	}
	return nil
}

// judge holds what a call came back with against the truth.
func (w *world) judge(c *guardedCall, a *answered, p letagentpay.PurchaseParams, resumed bool) {
	w.note("result %q, error %v", a.result, a.err)
	if a.err != nil && strings.Contains(a.err.Error(), w.server.Token) {
		w.violated("an error tells the token")
	}
	w.documented(a.err, a.run != nil)
	w.honest(c, a)
	confirm, unconfirmed := errors.AsType[*letagentpay.ConfirmError](a.err)
	if r := a.run; r != nil {
		if !r.failed && a.result != "receipt "+strconv.Itoa(r.number) {
			w.violated("run %d's result was lost", r.number)
		}
		if unconfirmed {
			r.confirm = confirm
			if confirm.RequestID != r.requestID || confirm.Params != r.truth {
				w.violated("the error of run %d tells another truth to confirm", r.number)
			}
		}
		if r.failed && a.err == nil {
			w.violated("run %d failed and its call did not", r.number)
		}
	} else if a.err == nil {
		w.replayed(a)
	}
	if w.calm && unconfirmed {
		w.violated("a confirmation did not get through although nothing was wrong") // not even a cancelled context
	}
	if w.calm && c.interrupted.kind == "" {
		w.smooth(c, a, resumed)
	}
	if c.key == randomKey || c.key == scopedKey {
		w.remember(a.err, p)
	}
}

// remember keeps the key that an error gives, to ask again under it.
func (w *world) remember(err error, p letagentpay.PurchaseParams) {
	if pending, ok := errors.AsType[*letagentpay.PendingError](err); ok {
		p.IdempotencyKey = pending.IdempotencyKey
	}
	if unknown, ok := errors.AsType[*letagentpay.OutcomeUnknownError](err); ok {
		p.IdempotencyKey = unknown.IdempotencyKey
	}
	if p.IdempotencyKey != "" {
		w.keys = append(w.keys, p)
	}
}

// replayed checks a success without a run: the journal's.
func (w *world) replayed(a *answered) {
	for _, r := range w.runs {
		if w.turn != nil && r.turn == w.turn {
			continue // in one turn, what is identical is another purchase
		}
		if w.journal != nil && !r.failed && a.result == "receipt "+strconv.Itoa(r.number) {
			w.confirmed(r)
			return
		}
	}
	w.violated("a call succeeded, and nothing has run")
}

// documented checks that an error is of the types that Guard names, and of those that say that nothing ran, that
// nothing has.
func (w *world) documented(err error, ran bool) {
	switch e := err.(type) { // the types themselves are looked at
	case nil:
	case *letagentpay.ConfirmError, *letagentpay.OverspendError: // of a run, or of the journal's replay of one
	case *letagentpay.JournalError:
		if late := e.State == letagentpay.JournalExecuted || e.State == letagentpay.JournalSettled; ran && !late {
			w.violated("a run comes with an error that says it did not run: %T", err)
		}
	case *letagentpay.RejectedError, *letagentpay.PendingError, *letagentpay.ExpiredError, *letagentpay.MismatchError,
		*letagentpay.AlreadyHandledError, *letagentpay.OutcomeUnknownError, *letagentpay.APIError:
		if ran {
			w.violated("a run comes with an error that says it did not run: %T", err)
		}
	case *letagentpay.ParamError:
		if !ran {
			w.violated("a sound call is refused: %v", err)
		}
	default:
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, part := range joined.Unwrap() {
				w.documented(part, ran)
			}
			return
		}
		if !ran || err != errShop && err != errPanic { // as above
			w.violated("an undocumented error: %T", err)
		}
	}
}

// honest checks that what an error says of a request is so.
func (w *world) honest(c *guardedCall, a *answered) {
	is := func(id string, want letagentpay.Status) {
		request, found := w.server.Request(id)
		if !found {
			w.violated("an error speaks of an unknown request")
		} else if want != "" && request.Status != want {
			w.violated("an error says that %s is %s, and it is %s", w.name(id), want, request.Status)
		}
	}
	if e, ok := errors.AsType[*letagentpay.RejectedError](a.err); ok {
		is(e.RequestID, letagentpay.StatusRejected)
	}
	if e, ok := errors.AsType[*letagentpay.ExpiredError](a.err); ok {
		is(e.RequestID, letagentpay.StatusExpired)
	}
	if e, ok := errors.AsType[*letagentpay.PendingError](a.err); ok {
		is(e.RequestID, "")
	}
	if e, ok := errors.AsType[*letagentpay.AlreadyHandledError](a.err); ok {
		is(e.Request.RequestID, "")
		for _, r := range w.runsOf(e.Request.RequestID) {
			if w.turn != nil && r.turn == w.turn {
				w.violated("a turn's second purchase is taken for its first")
			}
		}
		_, unconfirmed := errors.AsType[*letagentpay.ConfirmError](a.err)
		if request, _ := w.server.Request(e.Request.RequestID); e.Request.Status.Final() && request.Status != e.Request.Status && !unconfirmed && !c.twoPhase {
			w.violated("an error says that %s was %s, and it is %s", w.name(e.Request.RequestID), e.Request.Status, request.Status)
		}
	}
	if e, ok := errors.AsType[*letagentpay.OutcomeUnknownError](a.err); ok && e.Op == "purchase" && e.IdempotencyKey == "" {
		w.violated("nothing tells how to find out what became of a purchase")
	}
	if e, ok := errors.AsType[*letagentpay.ConfirmError](a.err); ok && len(w.runsOf(e.RequestID)) == 0 {
		w.violated("%s did not run and is to be confirmed", w.name(e.RequestID))
	}
}

// smooth checks a call that nothing has interfered with.
func (w *world) smooth(c *guardedCall, a *answered, resumed bool) {
	if errors.Is(a.err, letagentpay.ErrRateLimited) {
		return // many attempts, with little time between
	}
	_, refused := errors.AsType[*letagentpay.APIError](a.err)
	_, unknown := errors.AsType[*letagentpay.OutcomeUnknownError](a.err)
	_, disk := errors.AsType[*letagentpay.JournalError](a.err)
	if refused || unknown || disk {
		w.violated("a call failed although nothing was wrong: %T", a.err)
	}
	_, handled := errors.AsType[*letagentpay.AlreadyHandledError](a.err)
	_, mismatch := errors.AsType[*letagentpay.MismatchError](a.err)
	if c.key == randomKey && (handled || mismatch) {
		w.violated("a new purchase is taken for another: %T", a.err)
	}
	if resumed && a.run == nil && a.err == nil && w.journal == nil {
		w.violated("a resumed purchase did not run")
	}
}

// confirmed checks that the service knows of a run what the run knows.
func (w *world) confirmed(r *run) {
	request, _ := w.server.Request(r.requestID)
	want := letagentpay.StatusFailed
	if r.truth.Success {
		want = letagentpay.StatusCompleted
	}
	if request.Status != want || request.ActualAmount != r.truth.ActualAmount {
		w.violated("run %d was to end as %s with %s, and the service holds %s with %s", r.number, want, r.truth.ActualAmount, request.Status, request.ActualAmount)
	}
}

// reconnect puts everything in order.
func (w *world) reconnect() {
	w.server.ClearFaults()
	w.server.Resume()
	w.mu.Lock()
	w.diskFails = 0
	w.mu.Unlock()
	w.calm = true
}

// recover is what a process does at its start, if it keeps a journal.
func (w *world) recover(interrupted interruption) (found []letagentpay.Interrupted, err error) {
	if w.journal == nil {
		return nil, nil
	}
	outcomes := w.run(w.process.life, interrupted, 1, func(ctx context.Context) {
		found, err = w.process.client.Recover(ctx, w.journal)
	})
	switch {
	case outcomes[0].panicked == died{}:
		return nil, nil
	case outcomes[0].panicked != nil:
		w.violated("Recover panicked with %v", outcomes[0].panicked)
		return nil, nil
	}
	w.note("Recover: %d interrupted, error %v", len(found), err)
	for _, cut := range found {
		if !cut.MayHaveRun && cut.Request != nil && len(w.runsOf(cut.Request.RequestID)) > 0 {
			w.violated("Recover says that %s surely has not run", w.name(cut.Request.RequestID))
		}
	}
	return found, err
}

// confirmAgain does what a *ConfirmError of this process asks for.
func (w *world) confirmAgain(interrupted interruption) {
	for _, r := range slices.Backward(w.runs) {
		if r.confirm != nil && r.process == w.process {
			w.confirmRun(r, interrupted)
			return
		}
	}
}

// confirmRun confirms a run again, and reports whether the service knows of it then.
func (w *world) confirmRun(r *run, interrupted interruption) bool {
	var err error
	settling := r.approval != nil && r.process == w.process
	outcomes := w.run(w.process.life, interrupted, 1, func(ctx context.Context) {
		if settling {
			err = r.approval.Settle(ctx, nil)
		} else {
			_, err = w.process.client.Confirm(ctx, r.requestID, r.truth)
		}
	})
	switch {
	case outcomes[0].panicked == died{}:
		return false
	case outcomes[0].panicked != nil:
		w.violated("a confirmation panicked with %v", outcomes[0].panicked)
		return false
	}
	w.note("run %d is confirmed again, error %v", r.number, err)
	if _, disk := errors.AsType[*letagentpay.JournalError](err); err != nil && !disk && !(w.calm && !settling && errors.Is(err, letagentpay.ErrConflict)) {
		return false
	}
	r.confirm = nil
	w.confirmed(r)
	return true
}

// conclude puts everything in order, does what an agent does then, and looks at the books.
func (w *world) conclude() {
	w.reconnect()
	w.server.OnPending(nil)
	calm := interruption{}
	if w.journal == nil {
		w.note("the end: what is known to be unconfirmed is confirmed")
		for _, r := range w.runs {
			if w.process = r.process; r.confirm != nil && !r.process.dead.Load() && !w.confirmRun(r, calm) {
				w.violated("run %d cannot be confirmed", r.number)
			}
		}
	}
	w.start()
	if w.journal != nil {
		w.settleJournal()
	}
	for _, r := range w.runs {
		// What died, or did not return, is known from the function's own books alone.
		if request, _ := w.server.Request(r.requestID); request.Status.Approved() && w.journal == nil && (r.process.dead.Load() || w.warned[r.requestID]) {
			if !w.confirmRun(r, calm) {
				w.violated("run %d cannot be confirmed", r.number)
			}
		}
		w.confirmed(r)
	}
	w.balance()
	w.server.Advance(time.Hour)
	w.server.Sweep()
	w.balance()
	if held := w.server.Budget().Held; !held.IsZero() {
		w.violated("%v is held for ever", held)
	}
}

// settleJournal does what is to be done after a crash when there is a journal.
func (w *world) settleJournal() {
	w.note("the end: Recover")
	interrupted, err := w.recover(interruption{})
	if err != nil {
		w.violated("Recover fails although nothing is wrong: %T", err)
	}
	mayHaveRun := make(map[string]bool)
	for _, cut := range interrupted {
		mayHaveRun[cut.Entry.RequestID] = cut.MayHaveRun
	}
	for _, r := range w.runs {
		if !mayHaveRun[r.requestID] {
			w.confirmed(r)
		}
	}
	slices.SortStableFunc(interrupted, func(a, b letagentpay.Interrupted) int { // what may have run first: one request may have two entries
		switch {
		case a.MayHaveRun == b.MayHaveRun:
			return 0
		case a.MayHaveRun:
			return -1
		default:
			return 1
		}
	})
	for _, cut := range interrupted {
		id := cut.Entry.RequestID
		ran := w.runsOf(id)
		switch {
		case !cut.MayHaveRun && cut.Entry.Purchase.IdempotencyKey == "":
			w.violated("Recover gives no key to continue %s under", w.name(id))
		case !cut.MayHaveRun:
			w.note("the interrupted purchase is continued")
			c := &guardedCall{key: ownKey, fn: succeeds}
			w.calls++
			w.finish(c, w.process.life, cut.Entry.Purchase, false)
		case len(ran) == 0:
			w.note("%s, which has not run, is resumed", w.name(id))
			c := &guardedCall{key: resumedKey, fn: succeeds}
			w.finish(c, letagentpay.ResumeApproval(w.process.life, id), cut.Entry.Purchase, true)
		case !ran[0].process.dead.Load() && !w.diskFailed:
			w.violated("Recover does not know how run %d ended", ran[0].number)
		case !w.confirmRun(ran[0], interruption{}):
			w.violated("run %d cannot be confirmed", ran[0].number)
		}
	}
	interrupted, err = w.recover(interruption{})
	if err != nil {
		w.violated("Recover fails although nothing is wrong: %T", err)
	}
	for _, cut := range interrupted {
		if cut.MayHaveRun {
			w.violated("Recover still says that %s may have run", w.name(cut.Entry.RequestID))
		}
	}
}

// finish makes a call that ends an interrupted purchase.
func (w *world) finish(c *guardedCall, ctx context.Context, p letagentpay.PurchaseParams, must bool) {
	var a *answered
	w.turn = nil
	w.run(ctx, interruption{}, 1, func(ctx context.Context) { a = c.make(ctx, w, p) })
	if a == nil {
		w.violated("a call did not return although its function did")
		return
	}
	w.judge(c, a, p, must)
	if a.run != nil {
		w.confirmed(a.run)
		return
	}
	var id string
	if rejected, ok := errors.AsType[*letagentpay.RejectedError](a.err); ok {
		id = rejected.RequestID
	}
	if handled, ok := errors.AsType[*letagentpay.AlreadyHandledError](a.err); ok {
		if id = handled.Request.RequestID; len(w.runsOf(id)) == 0 {
			w.violated("%s surely has not run and cannot be continued", w.name(id))
		}
	}
	if must {
		w.violated("%s has not run and cannot be resumed", w.name(id))
	}
}

// balance looks at the service's books.
func (w *world) balance() {
	var spent, held letagentpay.Amount
	requests := w.server.Requests()
	created := make(map[string]time.Time)
	for _, r := range requests {
		switch r.Status {
		case letagentpay.StatusPending:
			held = held.Add(r.Amount)
		case letagentpay.StatusApproved, letagentpay.StatusAutoApproved:
			spent = spent.Add(r.Amount)
		case letagentpay.StatusCompleted:
			if paid := r.ActualAmount; paid.IsZero() {
				spent = spent.Add(r.Amount)
			} else {
				spent = spent.Add(paid)
			}
		}
		confirmed := r.Status == letagentpay.StatusCompleted || r.Status == letagentpay.StatusFailed
		if confirmed && len(w.runsOf(r.RequestID)) == 0 {
			w.violated("%s never ran and is %s", w.name(r.RequestID), r.Status)
		}
		if before, ok := created[r.IdempotencyKey]; ok && r.CreatedAt.Sub(before) < 24*time.Hour {
			w.violated("%s was bought again under its key", w.name(r.RequestID))
		}
		created[r.IdempotencyKey] = r.CreatedAt
	}
	keys := make(map[letagentpay.PurchaseParams]map[string]bool)
	for _, r := range requests {
		p := letagentpay.PurchaseParams{Amount: r.Amount, Category: cmp.Or(r.OriginalCategory, r.Category), Description: r.Description}
		if keys[p] == nil {
			keys[p] = make(map[string]bool)
		}
		if keys[p][r.IdempotencyKey] = true; p.Description != "" && len(keys[p]) > w.identical[p] {
			w.violated("%s was bought again by a retried turn", w.name(r.RequestID))
		}
	}
	if len(requests) > w.calls {
		w.violated("%d calls have made %d purchases", w.calls, len(requests))
	}
	if budget := w.server.Budget(); budget.Spent != spent || budget.Held != held {
		w.violated("the requests amount to %v spent and %v held, the balances to %v and %v", spent, held, budget.Spent, budget.Held)
	}
}
