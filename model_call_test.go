package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// run is one run of a guarded function, or the use of a purchase made by hand, as recorded by the code that did it.
type run struct {
	number    int
	requestID string
	process   *process
	turn      *turn // nil: outside a scope
	of        subject
	journaled bool
	byHand    bool
	params    letagentpay.PurchaseParams
	truth     letagentpay.ConfirmParams     // what it did
	doubtful  bool                          // it returned an error that may hide a payment
	succeeded bool                          // its call returned no error
	failed    bool                          // it returned an error, or not at all
	err       error                         // that error
	approval  *letagentpay.Approval         // of a call in two phases
	confirm   *letagentpay.UnconfirmedError // until its confirmation succeeds
}

// subject is the content of a purchase: in a scope, two calls with one subject are one purchase.
type subject struct {
	scope, ref, amount, category, merchant, description string
}

// resolved holds the category that the service resolves each name to.
var resolved = map[string]string{
	"groceries": "groceries", "Uber Ride": "taxi", "taxi": "taxi", "yachts": "other", "other": "other",
}

func subjectOf(scope string, p letagentpay.PurchaseParams) subject {
	if p.Ref != "" {
		return subject{scope: scope, ref: p.Ref}
	}
	return subject{
		scope:       scope,
		amount:      p.Amount.String(),
		category:    resolved[p.Category],
		merchant:    strings.TrimSpace(p.MerchantName),
		description: strings.TrimSpace(p.Description),
	}
}

// spell spells a request's id in one of the ways that the service accepts.
func spell(id string, n int) string {
	switch n % 5 {
	case 1:
		return strings.ToUpper(id)
	case 2:
		return strings.ReplaceAll(id, "-", "")
	case 3:
		return "{" + id + "}"
	case 4:
		return "urn:uuid:" + id
	}
	return id
}

// params returns the purchase of a call, its context and its turn. It reports false when there is nothing to call.
func (c *guardedCall) params(w *world, s *slot) (ctx context.Context, p letagentpay.PurchaseParams, t *turn, ok bool) {
	ctx = s.process.life
	p = letagentpay.PurchaseParams{
		Amount:       letagentpay.MustAmount(c.amount),
		Category:     c.category,
		MerchantName: c.merchant,
		Description:  c.description,
	}
	switch c.key {
	case ownKey, otherKey:
		p.IdempotencyKey = string(c.key) + w.place(s, !c.unjournaled)
	case scopedKey:
		p.Ref = c.ref
		t = s.process.turn(c.scope, w.place(s, !c.unjournaled), c.inRun)
		return t.ctx, p, t, true
	case knownKey:
		keys := w.keysOf(w.place(s, !c.unjournaled))
		if len(keys) == 0 {
			return nil, p, nil, false
		}
		p = keys[c.pick%len(keys)]
	case resumedKey:
		requests := w.server.Requests()
		if len(requests) == 0 {
			return nil, p, nil, false
		}
		request := requests[c.pick%len(requests)]
		if !w.mayResume(s, &request, s.journal != nil && !c.unjournaled) {
			return nil, p, nil, false
		}
		p.Category, p.MerchantName, p.Description = request.Category, request.MerchantName, request.Description
		switch {
		case !c.mismatch:
			p.Amount = request.Amount
		case c.merchant != "":
			p.Amount, p.MerchantName = request.Amount, request.MerchantName+c.merchant
		}
		w.report(request.RequestID)
		c.underKey = w.underKey(w.place(s, !c.unjournaled), &request)
		ctx = letagentpay.ResumeApproval(ctx, spell(request.RequestID, c.spelling))
	}
	return ctx, p, nil, true
}

// place names the calls that share keys and scopes: each journal has keys and scopes of its own.
func (w *world) place(s *slot, journaled bool) string {
	switch {
	case s.journal == nil:
		return ""
	case !journaled: // a new process does not know what was done without the journal
		return "-" + s.name + " without a journal"
	default:
		return "-" + s.name
	}
}

// keysOf returns the purchases whose keys are known in a place.
func (w *world) keysOf(place string) []letagentpay.PurchaseParams {
	var keys []letagentpay.PurchaseParams
	for _, known := range w.keys {
		if known.place == place {
			keys = append(keys, known.PurchaseParams)
		}
	}
	return keys
}

// turn returns a purchase scope of the process.
func (p *process) turn(scope int, place string, run bool) *turn {
	name := turnName{fmt.Sprintf("turn-%d%s", scope, place), run}
	t := p.turns[name]
	if t == nil {
		ctx := letagentpay.WithPurchaseScope(p.life, name.scope)
		if run {
			ctx = letagentpay.WithScopeRun(ctx)
		}
		t = &turn{
			turnName: name,
			ctx:      ctx,
			bought:   make(map[subject]int),
			width:    make(map[subject]int),
		}
		p.turns[name] = t
		p.world.turns = append(p.world.turns, t)
	}
	return t
}

// mayResume reports whether the agent may resume a request. Only the agent knows what has run or will run, unless the
// process that resumes it, or its journal, knows as well.
func (w *world) mayResume(s *slot, r *letagentpaytest.Request, journaled bool) bool {
	if r.Status.Final() {
		return true
	}
	w.mu.Lock()
	posted := slices.Clone(w.posted[r.IdempotencyKey])
	duplicate := w.duplicates[r.RequestID] || w.refunded[r.RequestID] || w.refunded[r.IdempotencyKey]
	known := w.resumable[r.RequestID]
	ran := slices.Clone(w.runs)
	w.mu.Unlock()
	for _, other := range ran { // a caller with its key knows if another request has run under that key
		request, _ := w.server.Request(other.requestID)
		if other.requestID != r.RequestID && request.IdempotencyKey == r.IdempotencyKey {
			return false
		}
	}
	if duplicate || (w.races || w.forgets) && !known {
		return false // the agent does not resume a duplicate, or what may be one
	}
	for _, a := range posted {
		if a.process.slot != s || w.mortal && a.journaled != journaled {
			return false
		}
	}
	for _, ran := range w.runsOf(r.RequestID) {
		if ran.byHand || ran.process != s.process && (!journaled || !s.journal.knows(r.RequestID)) {
			return false
		}
	}
	return true
}

// play makes the call, up to three times if it is repeated after errors.
func (c *guardedCall) play(w *world) {
	s := w.slots[0]
	if c.other {
		s = w.slots[1]
	}
	w.await(c, s)
	once := *c
	for n := range 3 {
		ctx, p, t, ok := once.params(w, s)
		if !ok || !once.playOnce(w, s.process, ctx, p, t) || !c.repeated || n == 2 {
			return
		}
		once.interrupted, once.unconfirmed = interruption{}, false
	}
}

// playOnce makes the call and reports whether it is to be repeated.
func (c *guardedCall) playOnce(
	w *world, p *process, ctx context.Context, params letagentpay.PurchaseParams, t *turn,
) (again bool) {
	if c.unconfirmed {
		w.disturb()
		w.server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
	}
	w.mu.Lock()
	first := len(w.runs)
	w.mu.Unlock()
	answers, outcomes := c.calls(w, p, ctx, params, t)
	for i, a := range answers {
		switch {
		case outcomes[i].died:
			w.note("call %d: the process has died", i+1)
		case a == nil:
			w.didNotReturn(c, i, outcomes[i])
		case !a.skipped:
			if a.params == nil {
				w.judge(c, a, params)
			} else {
				w.judge(a.call, a, *a.params)
			}
			again = again || a.err != nil
		}
	}
	w.mu.Lock()
	runs := slices.Clone(w.runs[first:])
	w.mu.Unlock()
	for _, r := range runs {
		if !r.process.isDead() && r.confirm == nil && !w.isWarned(r.requestID) {
			w.confirmed(r)
		}
	}
	return again && !p.gone
}

func (w *world) isWarned(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.warned[id]
}

// await gives a service whose calls overlap the time to finish its work for another process: it cannot distinguish
// processes that make a call under one key at the same moment.
func (w *world) await(c *guardedCall, s *slot) {
	if c.key == randomKey || c.key == resumedKey {
		return
	}
	if w.lastSlot != nil && w.lastSlot != s {
		time.Sleep(3 * time.Minute)
	}
	w.lastSlot = s
}

func (w *world) didNotReturn(c *guardedCall, i int, o outcome) {
	switch {
	case o.panicked != nil && o.panicked != errPanic:
		w.violated("the call panicked with %v", o.panicked)
	case c.twoPhase:
		w.violated("a call in two phases did not return")
	case c.fn != panics && c.fn != spendsAndPanics && c.fn != endsItsGoroutine:
		w.violated("the call did not return although its function did")
	default:
		w.note("call %d: the function did not return", i+1)
	}
}

// answered is what a call returned.
type answered struct {
	attempt *attempt
	skipped bool // the call was not made
	result  string
	err     error
	run     *run // nil: its function did not run

	call   *guardedCall                // set for a call beside the one that the program names
	params *letagentpay.PurchaseParams // likewise
}

// calls makes the call, or two at the same time. The answer of a call that did not return is nil.
func (c *guardedCall) calls(
	w *world, p *process, ctx context.Context, params letagentpay.PurchaseParams, t *turn,
) ([]*answered, []outcome) {
	a := c.attempt(p, ctx, t, params)
	a.interrupted = c.interrupted
	w.disturbed = w.disturbed || c.interrupted.kind != ""
	answers := make([]*answered, 2)
	answering := func(n int) func(ctx context.Context) func() {
		return func(ctx context.Context) func() {
			answer := c.make(ctx, w, params)
			return func() { answers[n] = answer }
		}
	}
	players := []player{{attempt: a, do: answering(0)}}
	switch {
	case c.twice:
		players = append(players, player{attempt: a, do: answering(1)})
	case c.redelivered && p.slot.journal == nil: // else the other process has keys of its own
		players = append(players, c.redelivery(w, a, params, func(answer *answered) { answers[1] = answer }))
	case c.beside && c.underKey != nil:
		beside := c.neighbour(w, p, func(answer *answered) { answers[1] = answer })
		if c.sooner {
			players[0].after = time.Second
		} else {
			beside.after = time.Second
		}
		players = append(players, beside)
		w.calls++
	}
	if c.key != resumedKey {
		w.calls += len(players)
	}
	if t != nil {
		t.width[a.subject] = max(t.width[a.subject], len(players))
	}
	outcomes := w.run(players...)
	return answers[:len(players)], outcomes
}

// attempt returns a new attempt at the call.
func (c *guardedCall) attempt(p *process, ctx context.Context, t *turn, params letagentpay.PurchaseParams) *attempt {
	a := &attempt{
		process:   p,
		ctx:       ctx,
		turn:      t,
		journaled: p.slot.journal != nil && !c.unjournaled,
		resumed:   c.key == resumedKey,
		began:     p.world.server.Now(),
	}
	if t != nil {
		a.subject = subjectOf(t.scope, params)
	}
	return a
}

// neighbour returns a call under the key of the request that is resumed.
func (c *guardedCall) neighbour(w *world, p *process, publish func(*answered)) player {
	call, params := *c, *c.underKey
	call.key, call.mismatch, call.interrupted = knownKey, false, interruption{}
	a := call.attempt(p, p.life, nil, params)
	return player{attempt: a, do: func(ctx context.Context) func() {
		answer := call.make(ctx, w, params)
		answer.call, answer.params = &call, &params
		return func() { publish(answer) }
	}}
}

// underKey returns the purchase that a request was made for, or nil when its key is not known.
func (w *world) underKey(place string, r *letagentpaytest.Request) *letagentpay.PurchaseParams {
	for _, p := range w.keysOf(place) {
		if p.IdempotencyKey == r.IdempotencyKey {
			return &p
		}
	}
	if r.IdempotencyKey != string(ownKey)+place && r.IdempotencyKey != string(otherKey)+place {
		return nil
	}
	return &letagentpay.PurchaseParams{
		Amount:         r.Amount,
		Category:       r.Category,
		MerchantName:   r.MerchantName,
		Description:    r.Description,
		IdempotencyKey: r.IdempotencyKey,
	}
}

// redelivery returns the same call by the other process, made while the first one awaits its approval.
func (c *guardedCall) redelivery(
	w *world, first *attempt, params letagentpay.PurchaseParams, publish func(*answered),
) player {
	p := w.slots[1-first.process.slot.number].process
	ctx, t := p.life, (*turn)(nil)
	if first.turn != nil {
		t = p.turn(c.scope, "", first.turn.run)
		ctx = t.ctx
	}
	a := c.attempt(p, ctx, t, params)
	if t != nil {
		t.width[a.subject] = max(t.width[a.subject], 1)
	}
	return player{attempt: a, after: 20 * time.Second, do: func(ctx context.Context) func() {
		answer := &answered{attempt: a, skipped: true}
		if w.calm && w.awaitsOwner(first) {
			a.began = w.server.Now()
			answer = c.make(ctx, w, params)
		}
		return func() { publish(answer) }
	}}
}

// awaitsOwner reports whether a call's purchase is known to be pending.
func (w *world) awaitsOwner(a *attempt) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, creator := range w.creators {
		if creator == a {
			request, _ := w.server.Request(id)
			return request.Status == letagentpay.StatusPending
		}
	}
	return false
}

// make makes the call once.
func (c *guardedCall) make(ctx context.Context, w *world, p letagentpay.PurchaseParams) *answered {
	a := &answered{attempt: attemptOf(ctx)}
	client := a.attempt.process.client(c.client)
	if !c.twoPhase {
		guarded := letagentpay.Guard(client, func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p },
			func(ctx context.Context, p letagentpay.PurchaseParams) (string, error) {
				approval, ok := letagentpay.ApprovalFromContext(ctx)
				if !ok {
					w.violated("a function ran without an approval in its context")
					return "", nil
				}
				return c.function(ctx, w, approval, p, &a.run)
			}, c.options(a.attempt)...)
		a.result, a.err = guarded(ctx, p)
		return a
	}
	approval, err := client.Authorize(ctx, p, c.options(a.attempt)...)
	if err != nil {
		a.err = err
		return a
	}
	func() {
		defer func() {
			if reason := recover(); reason != nil && reason != errPanic {
				panic(reason)
			}
		}()
		a.err = errPanic
		a.result, a.err = c.function(ctx, w, approval, p, &a.run)
	}()
	if a.run == nil {
		return a // its process has died
	}
	a.run.approval = approval
	settleErr := approval.Settle(ctx, a.err)
	confirm, _ := errors.AsType[*letagentpay.UnconfirmedError](settleErr)
	switch {
	case settleErr != nil && confirm != nil && confirm.MayHaveSpent:
		a.err = settleErr
	case settleErr != nil:
		a.err = errors.Join(a.err, settleErr)
	default:
		if again := approval.Settle(ctx, errShop); again != nil { // as a deferred one would
			w.violated("Settle after Settle fails: %T", again)
		}
	}
	return a
}

func (c *guardedCall) options(a *attempt) []letagentpay.GuardOption {
	options := []letagentpay.GuardOption{letagentpay.OnPendingFail()}
	if c.wait > 0 {
		options[0] = letagentpay.OnPendingWait(c.wait)
	}
	if a.journaled {
		options = append(options, letagentpay.WithJournal(a.process.slot.journal))
		if c.codec != "" {
			options = append(options, letagentpay.WithResultCodec(&hostileCodec{c.codec}))
		}
	}
	return options
}

// function is the guarded function. It records in the ledger what it does.
func (c *guardedCall) function(
	ctx context.Context, w *world, approval *letagentpay.Approval, p letagentpay.PurchaseParams, own **run,
) (result string, err error) {
	a := attemptOf(ctx)
	var r *run
	alive := a.process.event(a, func() {
		r = w.begin(a, approval.RequestID(), p)
		*own = r
		if approval.Amount() != p.Amount || approval.Category() != resolved[p.Category] {
			w.violated("the approval is for %s %s, and the call for %s %s",
				approval.Amount(), approval.Category(), p.Amount, p.Category)
		}
		result = "receipt " + strconv.Itoa(r.number)
		w.note("run %d, under %s: the function %s", r.number, w.name(r.requestID), c.fn)
		if time.Sleep(c.takes); !a.process.isDead() {
			err = c.behave(approval, r)
		}
	})
	if !alive {
		return "", errDied
	}
	r.failed, r.err = err != nil, err
	return result, err
}

// begin records a run in the ledger and checks that it is allowed.
func (w *world) begin(a *attempt, id string, p letagentpay.PurchaseParams) *run {
	if ran := w.runsOf(id); len(ran) > 0 {
		w.violated("%s ran twice", w.name(id))
	}
	request, found := w.server.Request(id)
	requested := subject{
		amount:      request.Amount.String(),
		category:    request.Category,
		merchant:    strings.TrimSpace(request.MerchantName),
		description: strings.TrimSpace(request.Description),
	}
	called := p
	called.Ref = ""
	w.mu.Lock()
	creator, duplicate := w.creators[id], w.duplicates[id]
	w.mu.Unlock()
	journaled := creator != nil && creator.process.slot == a.process.slot && creator.journaled && a.journaled
	switch {
	case !found || !request.Status.Approved():
		w.violated("%s ran although it was %q", w.name(id), request.Status)
	case requested != subjectOf("", called):
		w.violated("%s was for %+v and ran for %+v", w.name(id), requested, subjectOf("", called))
	case duplicate:
		w.violated("%s was reported as a duplicate and ran", w.name(id))
	case a.resumed || creator == nil || creator == a:
	case creator.byHand && request.CreatedAt.Before(a.began):
		w.violated("%s, a purchase made by hand, ran in a guarded call", w.name(id))
	case creator.process != a.process && !journaled && request.CreatedAt.Before(a.began):
		w.violated("%s, which another process requested, ran", w.name(id))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &run{
		number:    len(w.runs) + 1,
		requestID: id,
		process:   a.process,
		turn:      a.turn,
		of:        a.subject,
		journaled: a.journaled,
		params:    p,
		failed:    true,
	}
	w.runs = append(w.runs, r)
	return r
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
	default:
		return c.misbehave(approval, r)
	}
	return nil
}

var errPanic = errors.New("the function panicked")
