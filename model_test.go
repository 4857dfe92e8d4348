package letagentpay_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// TestModel plays random programs of guarded purchases, outages, owners, cancellations and crashes against the service
// in a bubble, and compares the service's books with what the guarded functions recorded themselves:
//
//   - Nothing runs without an approval of its own, for another purchase than the one approved, or for a request that
//     another process made. Nothing runs twice.
//   - Once connectivity is back, every run is confirmed with its outcome, and nothing that did not run is completed.
//   - What was approved and has not run is refunded or reported. Duplicates are reported.
//   - The books balance, and nothing stays held.
//   - Errors are of the documented types and true. Without outages, none reports one.
//   - No two writes overlap that must not.
//   - No goroutine is left.
//
// In half of the programs the service carries out each call at one instant. In the other half calls overlap, as they do
// at the running service. -rapid.checks sets the number of programs; -short plays a fifth of them.
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
			w := newWorld(t, &p)
			defer w.close()
			for i, s := range p.steps {
				time.Sleep(3 * time.Second) // so that the next step is not at the same moment
				w.forgetCreators()
				s.play(w)
				w.check(t, &last, p, fmt.Sprintf("step %d", i+1))
			}
			w.conclude()
			w.check(t, &last, p, "the end")
		})
	})
}

// failure is the latest program that failed. Jitter makes programs differ from run to run, so rapid does not show one
// that fails only sometimes.
type failure struct{ text string }

func (f *failure) show(t *testing.T) {
	if f.text != "" {
		t.Log("the latest program to fail: " + f.text)
	}
}

// world is a service, an agent of it, and the records of the agent's guarded functions.
type world struct {
	server    *letagentpaytest.Server
	races     bool // the service's calls overlap
	mortal    bool // processes end during the program
	forgets   bool // the service has forgotten keys, so that a scope may find its purchases under others
	detached  bool // the service may carry out a purchase after its caller has left and its key is forgotten
	slots     [2]*slot
	processes []*process
	calm      bool // no fault is set
	calmSince time.Time
	disturbed bool // a fault was set before
	calls     int  // each may have made a purchase
	turns     []*turn
	playing   sync.WaitGroup
	over      chan struct{} // closed when the program is over
	lastSlot  *slot         // the last to call under a key other than a random one

	mu         sync.Mutex
	diskFailed bool
	warned     map[string]bool // purchases that the log reports as unconfirmed
	duplicates map[string]bool // requests that were reported as duplicates
	reported   map[string]bool // requests and keys that were reported to the agent
	resumable  map[string]bool // requests that an error names as the purchase's own
	refunded   map[string]bool // requests and keys of purchases reported as not run and refunded
	posted     map[string][]*attempt
	// By request: how many confirmations of another amount the service may have carried out.
	adjusted map[string]int
	creators map[string]*attempt // by request
	runs     []*run
	keys     []knownPurchase // purchases whose keys an error named
	log      []string
	wrong    []string // violations
}

func newWorld(t *rapid.T, p *program) *world {
	options := []letagentpaytest.Option{
		letagentpaytest.InMemory(), letagentpaytest.WithSeed(1), letagentpaytest.WithToken("agt_model"),
		letagentpaytest.WithPolicyJSON(approveUpTo50),
		letagentpaytest.WithAliases(map[string]string{"uber_ride": "taxi"}),
	}
	if p.races != nil {
		options = append(options, letagentpaytest.WithServiceRaces(*p.races))
	}
	server, err := letagentpaytest.Start(options...)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		server:     server,
		calm:       true,
		races:      p.races != nil,
		mortal:     p.isMortal(),
		over:       make(chan struct{}),
		warned:     make(map[string]bool),
		duplicates: make(map[string]bool),
		reported:   make(map[string]bool),
		resumable:  make(map[string]bool),
		refunded:   make(map[string]bool),
		posted:     make(map[string][]*attempt),
		adjusted:   make(map[string]int),
		creators:   make(map[string]*attempt),
	}
	for i := range w.slots {
		w.slots[i] = &slot{number: i, name: string(rune('a' + i))}
		if p.journal {
			w.slots[i].journal = &processJournal{world: w}
		}
		w.start(w.slots[i])
	}
	return w
}

// knownPurchase is a purchase whose key is known.
type knownPurchase struct {
	letagentpay.PurchaseParams
	place string
}

// close ends the program. Goroutines of dead processes continue without effect and end.
func (w *world) close() {
	close(w.over)
	for _, p := range w.processes {
		p.end()
	}
	w.playing.Wait()
	time.Sleep(time.Minute) // for work that no caller waits for, such as that of a slow codec
	w.server.Close()
}

func (w *world) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, text)
}

// violated records a violation. Its text must be the same in every run of a program.
func (w *world) violated(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, text)
}

// check fails the test with the first violation.
func (w *world) check(t *rapid.T, last *failure, p program, where string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) == 0 {
		return
	}
	story := strings.Join(w.log, "\n") + "\n" + strings.Join(w.wrong, "\n") + "\n" + w.server.Calls().String()
	last.text = fmt.Sprintf("%#v\nat %s: %s\n%s", p, where, w.wrong[0], story)
	t.Fatalf("%s", w.wrong[0])
}

// name returns the name of a request in the log: its place among all requests.
func (w *world) name(id string) string {
	for i, r := range w.server.Requests() {
		if r.RequestID == id {
			return "request " + strconv.Itoa(i+1)
		}
	}
	return "an unknown request"
}

// alerted records an entry of the log.
func (w *world) alerted(p *process, message string, said map[string]string) {
	id := said["request_id"]
	switch message {
	case "letagentpay.unconfirmed":
		w.mu.Lock()
		defer w.mu.Unlock()
		w.warned[id], w.reported[id] = true, true
	case "letagentpay.duplicate":
		w.mu.Lock()
		w.reported[id] = true
		w.mu.Unlock()
		if said["of"] != "" {
			w.recordDuplicate(p, id, said["of"])
		}
	}
}

// recordDuplicate records a request under which nothing may have run and nothing may run later. Two processes that make
// identical purchases within a few minutes may mistake each other's requests for duplicates.
func (w *world) recordDuplicate(p *process, id, of string) {
	w.report(id)
	duplicate, _ := w.server.Request(id)
	counts, _ := w.server.Request(of)
	w.mu.Lock()
	creator := w.creators[id]
	w.mu.Unlock()
	near := duplicate.CreatedAt.Sub(counts.CreatedAt).Abs() < 6*time.Minute
	elsewhere := creator == nil || creator.process.slot != p.slot || creator.process != p && !creator.journaled
	if near && elsewhere {
		return
	}
	if len(w.runsOf(id)) > 0 {
		w.violated("%s has run and is reported as a duplicate", w.name(id))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.duplicates[id] = true
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

// forgetCreators marks requests that were created while no call was under way: their creator stays unknown.
func (w *world) forgetCreators() {
	requests := w.server.Requests()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range requests {
		if _, known := w.creators[r.RequestID]; !known {
			w.creators[r.RequestID] = nil
		}
	}
}

// confirmed checks that the service holds the outcome that a run recorded.
func (w *world) confirmed(r *run) {
	request, _ := w.server.Request(r.requestID)
	want := letagentpay.StatusFailed
	if r.truth.Success {
		want = letagentpay.StatusCompleted
	}
	if request.Status != want || request.ActualAmount != r.truth.ActualAmount {
		w.violated("run %d ended as %s with %s, and the service holds %s with %s",
			r.number, want, r.truth.ActualAmount, request.Status, request.ActualAmount)
	}
}

func (w *world) disturb() { w.calm, w.disturbed = false, true }

// reconnect ends all faults.
func (w *world) reconnect() {
	w.server.ClearFaults()
	w.server.Resume()
	w.mu.Lock()
	for _, s := range w.slots {
		if s.journal != nil {
			s.journal.faults = nil
		}
	}
	w.mu.Unlock()
	if !w.calm {
		w.calm, w.calmSince = true, time.Now()
	}
}

// alone runs one operation of a process.
func (w *world) alone(p *process, interrupted interruption, do func(ctx context.Context) (publish func())) outcome {
	a := &attempt{process: p, ctx: p.life, interrupted: interrupted}
	return w.run(player{attempt: a, do: do})[0]
}

// recover does what a process with a journal does at its start.
func (w *world) recover(s *slot, interrupted interruption) (found []letagentpay.Interrupted, err error) {
	if s.journal == nil {
		return nil, nil
	}
	p := s.process
	o := w.alone(p, interrupted, func(ctx context.Context) func() {
		cut, failure := p.client(0).Recover(ctx, s.journal)
		return func() { found, err = cut, failure }
	})
	switch {
	case o.died:
		return nil, nil
	case !o.returned:
		w.violated("Recover did not return, or panicked with %v", o.panicked)
		return nil, nil
	}
	w.note("Recover: %d interrupted, error %v", len(found), err)
	w.recordError(p, err, false)
	for _, cut := range found {
		switch {
		case cut.Request == nil:
			w.report(cut.Entry.RequestID)
		case cut.Duplicate:
			w.recordDuplicate(p, cut.Request.RequestID, cut.Entry.RequestID)
		default:
			w.report(cut.Request.RequestID)
			if ran := w.runsOf(cut.Request.RequestID); !cut.MayHaveRun && len(ran) > 0 && ran[0].journaled {
				w.violated("Recover reports that %s has not run", w.name(cut.Request.RequestID))
			}
		}
	}
	if err == nil && !w.diskFailed {
		w.knowsDoubt(s, found)
	}
	return found, err
}

// knowsDoubt checks that Recover has found the runs that may have paid.
func (w *world) knowsDoubt(s *slot, found []letagentpay.Interrupted) {
	for _, r := range w.runs {
		request, _ := w.server.Request(r.requestID)
		if !r.doubtful || !r.journaled || r.process.slot != s || !request.Status.Approved() {
			continue
		}
		if !slices.ContainsFunc(found, func(i letagentpay.Interrupted) bool {
			return i.MayHaveRun && !i.Duplicate && i.Request != nil && i.Request.RequestID == r.requestID
		}) {
			w.violated("%s may have been paid, and Recover does not report it", w.name(r.requestID))
		}
	}
}

// confirmAgain confirms the run of an *UnconfirmedError, as its process is still alive.
func (w *world) confirmAgain(interrupted interruption) {
	for _, r := range slices.Backward(w.runs) {
		if r.confirm != nil && !r.process.gone {
			w.confirmRun(r, interrupted)
			return
		}
	}
}

// confirmRun confirms a run again and reports whether it succeeded.
func (w *world) confirmRun(r *run, interrupted interruption) bool {
	var err error
	p := r.process
	settling := r.approval != nil && !p.gone && !r.doubtful
	if p.gone {
		p = p.slot.process
	}
	o := w.alone(p, interrupted, func(ctx context.Context) func() {
		var failure error
		if settling {
			failure = r.approval.Settle(ctx, nil)
		} else {
			_, failure = p.client(0).Confirm(ctx, spell(r.requestID, r.number), r.truth)
		}
		return func() { err = failure }
	})
	switch {
	case o.died:
		return false
	case !o.returned:
		w.violated("a confirmation did not return, or panicked with %v", o.panicked)
		return false
	}
	w.note("run %d is confirmed again, error %v", r.number, err)
	w.recordError(p, err, false)
	if err != nil && !(w.calm && !settling && errors.Is(err, letagentpay.ErrConflict)) && !onlyDuplicates(err) {
		return false
	}
	r.confirm = nil
	w.confirmed(r)
	return true
}

// refund confirms that the money of a request was not spent.
func (w *world) refund(id string) {
	var err error
	p := w.slots[0].process
	w.alone(p, interruption{}, func(ctx context.Context) func() {
		_, failure := p.client(0).Confirm(ctx, id, letagentpay.ConfirmParams{})
		return func() { err = failure }
	})
	if err != nil {
		w.violated("%s cannot be refunded", w.name(id))
	}
}

// conclude ends all faults, does what an agent does after an outage, and checks the books.
func (w *world) conclude() {
	w.reconnect()
	w.server.OnPending(nil)
	time.Sleep(5 * time.Minute) // for the work that the service has not finished
	w.forgetCreators()
	w.note("the end: unconfirmed runs are confirmed")
	for _, r := range w.runs {
		if r.confirm != nil && !r.journaled && !r.process.isDead() && !w.confirmRun(r, interruption{}) {
			w.violated("run %d cannot be confirmed", r.number)
		}
	}
	for _, s := range w.slots {
		w.start(s)
		if s.journal != nil {
			w.settleJournal(s)
		}
	}
	for _, r := range w.runs {
		// The runs of a dead process, and those that did not return, are known from the ledger only.
		request, _ := w.server.Request(r.requestID)
		silent := !r.journaled && (r.process.isDead() || w.warned[r.requestID])
		if request.Status.Approved() && silent && !w.confirmRun(r, interruption{}) {
			w.violated("run %d cannot be confirmed", r.number)
		}
		w.confirmed(r)
	}
	w.accountFor()
	w.balance()
	w.server.Advance(time.Hour)
	w.server.Sweep()
	w.balance()
	if held := w.server.Budget().Held; !held.IsZero() {
		w.violated("%v stays held", held)
	}
}

// settleJournal does what an agent with a journal does after a crash.
func (w *world) settleJournal(s *slot) {
	w.note("the end: Recover")
	interrupted, err := w.recover(s, interruption{})
	if err != nil {
		w.violated("Recover fails although nothing is wrong: %T", err)
	}
	mayHaveRun := make(map[string]bool)
	for _, cut := range interrupted {
		if cut.MayHaveRun && !cut.Duplicate {
			mayHaveRun[cut.Entry.RequestID] = true
		}
	}
	for _, r := range w.runs {
		if r.process.slot == s && r.journaled && !mayHaveRun[r.requestID] {
			w.confirmed(r)
		}
	}
	// What may have run comes first: one request may have two entries.
	slices.SortStableFunc(interrupted, func(a, b letagentpay.Interrupted) int {
		return cmp.Compare(strconv.FormatBool(b.MayHaveRun), strconv.FormatBool(a.MayHaveRun))
	})
	for _, cut := range interrupted {
		w.settleEntry(s, &cut)
	}
	interrupted, err = w.recover(s, interruption{})
	if err != nil {
		w.violated("Recover fails although nothing is wrong: %T", err)
	}
	for _, cut := range interrupted {
		if cut.MayHaveRun && !cut.Duplicate {
			w.violated("Recover still says that %s may have run", w.name(cut.Entry.RequestID))
		}
	}
}

func (w *world) settleEntry(s *slot, cut *letagentpay.Interrupted) {
	id := cut.Entry.RequestID
	ran := w.runsOf(id)
	switch {
	case cut.Duplicate, !cut.MayHaveRun && w.ranWithoutJournal(cut.Entry.IdempotencyKey):
	case !cut.MayHaveRun && cut.Entry.IdempotencyKey == "":
		w.violated("Recover gives no key to continue %s under", w.name(id))
	case !cut.MayHaveRun:
		w.note("the interrupted purchase is continued")
		w.finish(s, &guardedCall{key: ownKey, fn: succeeds}, s.process.life, cut.Params(), false)
	case len(ran) == 0:
		w.note("%s, which has not run, is resumed", w.name(id))
		ctx := letagentpay.ResumeApproval(s.process.life, id)
		w.finish(s, &guardedCall{key: resumedKey, fn: succeeds}, ctx, cut.Params(), true)
	case !ran[0].process.isDead() && !ran[0].doubtful && !w.diskFailed:
		w.violated("Recover does not know the outcome of run %d", ran[0].number)
	case !w.confirmRun(ran[0], interruption{}):
		w.violated("run %d cannot be confirmed", ran[0].number)
	}
}

// ranWithoutJournal reports whether a purchase has run without the journal. The agent knows such runs, the journal does
// not.
func (w *world) ranWithoutJournal(key string) bool {
	if key == "" {
		return false
	}
	for id := range w.idsOf(key) {
		for _, r := range w.runsOf(id) {
			if !r.journaled {
				return true
			}
		}
	}
	return false
}

// finish makes a call that ends an interrupted purchase.
func (w *world) finish(s *slot, c *guardedCall, ctx context.Context, p letagentpay.PurchaseParams, must bool) {
	answers, _ := c.calls(w, s.process, ctx, p, nil)
	if answers[0] == nil {
		w.violated("a call did not return although its function did")
		return
	}
	a := answers[0]
	w.judge(c, a, p)
	if a.run != nil {
		w.confirmed(a.run)
		return
	}
	id := idOf(a.err)
	request, _ := w.server.Request(id)
	_, handled := errors.AsType[*letagentpay.AlreadyHandledError](a.err)
	refunded := request.Status == letagentpay.StatusFailed
	if handled && !refunded && len(w.runsOf(id)) == 0 && !w.requestedElsewhere(s, id) {
		w.violated("%s has not run and cannot be continued", w.name(id))
	}
	if must {
		w.violated("%s has not run and cannot be resumed", w.name(id))
	}
}

// requestedElsewhere reports whether a request was made by a process of another slot, or without the journal by an
// earlier process of this slot.
func (w *world) requestedElsewhere(s *slot, id string) bool {
	creator := w.creators[id]
	return creator != nil && (creator.process.slot != s || !creator.journaled && creator.process != s.process)
}

// accountFor checks that each request that is approved and has not run was reported, and refunds it.
func (w *world) accountFor() {
	for _, r := range w.server.Requests() {
		if !r.Status.Approved() || len(w.runsOf(r.RequestID)) > 0 {
			continue
		}
		creator, posted := w.creators[r.RequestID], w.posted[r.IdempotencyKey]
		cut := slices.ContainsFunc(posted, func(a *attempt) bool { return a.process.isDead() })
		// Its call ended before it was created, or may have: another call has posted under the key since.
		late := creator == nil || len(posted) > 1
		if !cut && !late && !w.reported[r.RequestID] && !w.reported[r.IdempotencyKey] {
			w.violated("%s is approved and has not run, and nothing reports it", w.name(r.RequestID))
		}
		w.refund(r.RequestID)
		w.refunded[r.IdempotencyKey] = true
	}
}

// balance checks the service's books.
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
		if len(w.runsOf(r.RequestID)) == 0 {
			cut := slices.ContainsFunc(w.posted[r.IdempotencyKey], func(a *attempt) bool { return a.process.isDead() })
			refunded := cut || w.refunded[r.IdempotencyKey] || w.refunded[r.RequestID]
			if r.Status == letagentpay.StatusCompleted || r.Status == letagentpay.StatusFailed && !refunded {
				w.violated("%s never ran and is %s", w.name(r.RequestID), r.Status)
			}
		}
		if before, ok := created[r.IdempotencyKey]; ok && !w.races && r.CreatedAt.Sub(before) < 24*time.Hour {
			w.violated("%s was bought again under its key", w.name(r.RequestID))
		}
		created[r.IdempotencyKey] = r.CreatedAt
	}
	w.countPurchases(requests)
	if len(requests) > w.calls && !w.races && !w.detached {
		w.violated("%d calls have made %d purchases", w.calls, len(requests))
	}
	budget := w.server.Budget()
	if !w.balanced(budget.Spent, spent, requests) || budget.Held != held {
		w.violated("the requests amount to %v spent and %v held, the balances to %v and %v",
			spent, held, budget.Spent, budget.Held)
	}
}

// balanced reports whether the balance equals the total of the requests. Where calls overlap, the service books the
// difference between the amounts paid and requested once for each confirmation made at the same time. It stops at zero.
func (w *world) balanced(balance, spent letagentpay.Amount, requests []letagentpaytest.Request) bool {
	least, most := spent, spent
	for _, r := range requests {
		if !w.races || r.Status != letagentpay.StatusCompleted || r.ActualAmount.IsZero() {
			continue
		}
		for range w.adjusted[r.RequestID] - 1 {
			if difference := r.ActualAmount.Sub(r.Amount); difference.Sign() < 0 {
				least = least.Add(difference)
			} else {
				most = most.Add(difference)
			}
		}
	}
	return !balance.Less(least) && !most.Less(balance)
}

// countPurchases checks that nothing was paid twice under one key, or more often in a scope than its turns bought it.
func (w *world) countPurchases(requests []letagentpaytest.Request) {
	want := make(map[subject]int)
	for _, t := range w.turns {
		for of, width := range t.width {
			n := 1
			if t.run && of.ref == "" {
				n = width + t.bought[of]
			}
			want[of] = max(want[of], n)
		}
	}
	var paid []letagentpaytest.Request
	for _, r := range requests {
		for _, run := range w.runsOf(r.RequestID) {
			if run.truth.Success {
				paid = append(paid, r)
			}
		}
	}
	for i, r := range paid {
		of := w.subjectOf(r.RequestID)
		n := 1
		for _, before := range paid[:i] {
			switch {
			case r.CreatedAt.Sub(before.CreatedAt) >= 24*time.Hour: // the service remembers keys for that long
			case before.IdempotencyKey == r.IdempotencyKey:
				w.violated("%s was paid for again under its key", w.name(r.RequestID))
			case of.scope != "" && w.subjectOf(before.RequestID) == of:
				n++
			}
		}
		if of.scope != "" && n > want[of] && !w.forgets {
			w.violated("%s was paid for again by a retried turn", w.name(r.RequestID))
		}
	}
}

// subjectOf returns the subject of a request. It is empty if the request was made outside a scope or its creator is not
// known.
func (w *world) subjectOf(id string) subject {
	if creator := w.creators[id]; creator != nil {
		return creator.subject
	}
	return subject{}
}

// The model cannot find mistakes in what it does not draw.
func TestModelDrawsAllThatItKnows(t *testing.T) {
	var texts strings.Builder
	spellings := make(map[int]bool)
	for seed := range 3000 {
		p := anyProgram.Example(seed)
		fmt.Fprintf(&texts, "%#v\n", p)
		for _, s := range p.steps {
			if c, ok := s.(*guardedCall); ok {
				spellings[c.spelling] = true
			}
		}
	}
	if len(spellings) != 5 {
		t.Errorf("ids in %d spellings", len(spellings))
	}
	known := []string{
		"agent with a journal:", "agent without a journal:", "calls overlap, purchases take 0s",
		"calls overlap, purchases take 4s", "call twice at once", "in two phases",
		"; 1s after a call under the request's key", "; 1s before a call under the request's key",
		"by the other process", "through another client", "without the journal", "under " + string(ownKey),
		"under " + string(otherKey), "again under known key", "resuming request", ", described wrongly",
		"in scope turn-1", "in scope turn-2", "in this run of it", "ref first", "ref second", "merchant Evil Corp",
		"description gift cards", "waiting 20s", "waiting 2m0s", "the next confirmation is refused",
		"the other process gets the same task", "up to 3 times until there is no error",
		", " + cancelled + " before its event", ", " + cancelled + " after its event",
		", " + dies + " before its event", ", " + dies + " after its event", ", " + dies + " after 8s", "by hand",
		"the connection drops before it is carried out", "the connection drops after it is carried out", "answered 500",
		"answered 503", "answered 403", "answered 429", "answered 404", "answered 409", "answered 422",
		"carried out, and answered 502", "answered with a web page", "the answer breaks off",
		"the gateway answers 504 after 3s", "after 1m30s", "the owner approves pending request",
		"the owner rejects pending request", "the owner leaves", "whatever becomes pending, 31m0s later", "31m0s pass",
		"the service's clock jumps by 25h0m0s", "another process begins", "the turns are retried", "Recover",
		"is confirmed again", "connectivity returns", "the agent is paused", "expires what is overdue",
		"approves up to 10", diskFails + ", 2 times", failsHavingly + ", 1 times", callPanics + ", 1 times",
		callExits + ", 1 times", callIsSlow + ", 1 times", encodingFails, encodingPanics, encodingExits, encodingIsSlow,
		decodingFails, decodingPanics, decodingExits,
	}
	for _, b := range behaviours {
		known = append(known, "the function "+string(b))
	}
	for _, what := range known {
		if !strings.Contains(texts.String(), what) {
			t.Errorf("3000 programs do not have %q", what)
		}
	}
}
