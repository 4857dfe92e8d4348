package letagentpay_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// program is what happens in one test of the model: a few steps, one after another.
type program struct {
	journal bool                   // guarded calls keep a journal, each place of a process its own
	races   *letagentpaytest.Races // nil: the service carries out each call at one instant
	steps   []step
}

// isMortal reports whether processes end in the program, or purchases are made by hand. Calls without the journal then
// use keys of their own.
func (p *program) isMortal() bool {
	for _, s := range p.steps {
		if text := s.String(); strings.Contains(text, dies) || strings.Contains(text, "another process") ||
			strings.Contains(text, "by hand") {
			return true
		}
	}
	return false
}

// GoString returns the text in which a failing program is printed.
func (p program) GoString() string {
	var b strings.Builder
	b.WriteString("agent without a journal:")
	if p.journal {
		b.Reset()
		b.WriteString("agent with a journal:")
	}
	if r := p.races; r != nil {
		fmt.Fprintf(&b, " calls overlap, purchases take %v and then %v, confirmations %v", r.Purchase, r.Store,
			r.Confirm)
	}
	for i, s := range p.steps {
		fmt.Fprintf(&b, "\n%2d. %v", i+1, s)
	}
	return b.String()
}

// step is one step of a program. String describes it in words.
type step interface {
	play(w *world)
	fmt.Stringer
}

// behaviour is what a guarded function does.
type behaviour string

const (
	succeeds         behaviour = "succeeds"
	spendsLess       behaviour = "spends 15.00"
	spendsMore       behaviour = "spends 1.00 more than approved"
	spendsNothing    behaviour = "reports that it spent 0.00"
	fails            behaviour = "fails"
	spendsAndFails   behaviour = "spends 15.00 and fails"
	panics           behaviour = "panics"
	spendsAndPanics  behaviour = "spends 15.00 and panics"
	endsItsGoroutine behaviour = "ends its goroutine"

	timesOut         behaviour = "times out, having paid nothing"
	paysAndTimesOut  behaviour = "pays and times out"
	certainlyNotPaid behaviour = "times out and reports that it has certainly not paid"
	returnsTypedNil  behaviour = "pays and returns a nil pointer as its error"
	errorPanics      behaviour = "fails with an error whose text panics"
	spendsErrorExits behaviour = "spends 15.00 and fails with an error whose text ends the goroutine"
	errorIsSlow      behaviour = "fails with an error whose text takes 11s"
)

var behaviours = []behaviour{
	succeeds, fails, spendsLess, spendsMore, spendsNothing, spendsAndFails, panics, spendsAndPanics, endsItsGoroutine,
	timesOut, paysAndTimesOut, certainlyNotPaid, returnsTypedNil, errorPanics, spendsErrorExits, errorIsSlow,
}

// interruption cancels a call's context or kills its process: at one of the call's events or after some time. Events
// are its exchanges with the service and with its journal, and the run of the guarded function.
type interruption struct {
	kind  string // "", "is cancelled", "dies"
	event int    // from 1; 0: after the time
	after bool   // after the event, not before it
	time  time.Duration
}

const (
	cancelled = "is cancelled"
	dies      = "dies with its process"
)

func (i interruption) String() string {
	switch {
	case i.kind == "":
		return ""
	case i.event == 0:
		return fmt.Sprintf(", %s after %v", i.kind, i.time)
	case i.after:
		return fmt.Sprintf(", %s after its event %d", i.kind, i.event)
	default:
		return fmt.Sprintf(", %s before its event %d", i.kind, i.event)
	}
}

func (p *palette) interruption(t *rapid.T) interruption {
	i := interruption{kind: rapid.SampledFrom(p.interruptions).Draw(t, "interruption")}
	switch {
	case i.kind == "":
	case rapid.IntRange(0, 3).Draw(t, "by time") == 3:
		i.time = rapid.SampledFrom([]time.Duration{
			0, time.Second, 3 * time.Second, 8 * time.Second, 20 * time.Second, 70 * time.Second,
		}).Draw(t, "time")
	default:
		i.event, i.after = rapid.IntRange(1, 9).Draw(t, "event"), rapid.Bool().Draw(t, "after")
	}
	return i
}

// key is the source of a call's idempotency key.
type key string

const (
	randomKey  key = ""
	ownKey     key = "key-1"
	otherKey   key = "key-2"
	scopedKey  key = "a scope"
	knownKey   key = "a key from an earlier error"
	resumedKey key = "none: a request is resumed"
)

// guardedCall makes a guarded call, or two at the same time.
type guardedCall struct {
	twoPhase    bool // Authorize and Settle in place of Guard
	twice       bool
	other       bool // by the process of the other place
	redelivered bool // by the process of the other place as well, 20 s later, if it awaits the owner
	repeated    bool // up to 3 times, until it returns no error
	beside      bool // resumes a request a moment before or after a call under the request's key
	sooner      bool // that call begins first
	client      int  // which of the process's clients
	unjournaled bool // without the journal
	inRun       bool // in a run of the scope
	ref         string
	merchant    string
	description string
	spelling    int // of the request's id
	codec       string
	unconfirmed bool // the service refuses its confirmation
	key         key
	scope       int // which of the scopes
	pick        int // which of the known keys or requests
	amount      string
	category    string
	mismatch    bool          // a resumed request is described wrongly
	wait        time.Duration // 0: OnPendingFail
	fn          behaviour
	takes       time.Duration
	interrupted interruption

	// While it plays: the purchase that the resumed request was made as, nil when its key is not known.
	underKey *letagentpay.PurchaseParams
}

func (c *guardedCall) String() string {
	var b strings.Builder
	b.WriteString("call")
	if c.twice {
		b.WriteString(" twice at once")
	}
	if c.twoPhase {
		b.WriteString(" in two phases")
	}
	if c.other {
		b.WriteString(" by the other process")
	}
	if c.client > 0 {
		b.WriteString(" through another client")
	}
	if c.unjournaled {
		b.WriteString(" without the journal")
	}
	switch c.key {
	case knownKey:
		fmt.Fprintf(&b, " again under known key %d", c.pick)
	case resumedKey:
		fmt.Fprintf(&b, " resuming request %d", c.pick)
		if c.mismatch {
			b.WriteString(", described wrongly")
		}
	case scopedKey:
		fmt.Fprintf(&b, " for %s %s in scope turn-%d", c.amount, c.category, c.scope)
		if c.inRun {
			b.WriteString(", in this run of it")
		}
	case randomKey:
		fmt.Fprintf(&b, " for %s %s", c.amount, c.category)
	default:
		fmt.Fprintf(&b, " for %s %s under %s", c.amount, c.category, c.key)
	}
	for _, text := range []struct{ name, value string }{
		{"ref", c.ref}, {"merchant", c.merchant}, {"description", c.description}, {"codec that", c.codec},
	} {
		if text.value != "" {
			fmt.Fprintf(&b, ", %s %s", text.name, text.value)
		}
	}
	if c.wait > 0 {
		fmt.Fprintf(&b, ", waiting %v", c.wait)
	}
	fmt.Fprintf(&b, "; the function %s", c.fn)
	if c.takes > 0 {
		fmt.Fprintf(&b, " after %v", c.takes)
	}
	if c.unconfirmed {
		b.WriteString(", and the next confirmation is refused")
	}
	b.WriteString(c.interrupted.String())
	switch {
	case c.beside && c.sooner:
		b.WriteString("; 1s after a call under the request's key")
	case c.beside:
		b.WriteString("; 1s before a call under the request's key")
	}
	if c.redelivered {
		b.WriteString("; the other process gets the same task 20s later")
	}
	if c.repeated {
		b.WriteString("; up to 3 times until there is no error")
	}
	return b.String()
}

const (
	automatic = "20.00"  // approved by the initial policy
	reviewed  = "80.00"  // by a human
	refused   = "300.00" // by the policy
)

func (p *palette) call(t *rapid.T) step {
	c := &guardedCall{
		key:      rapid.SampledFrom(p.keys).Draw(t, "key"),
		amount:   rapid.SampledFrom(p.amounts).Draw(t, "amount"),
		category: rapid.SampledFrom(p.categories).Draw(t, "category"),
		fn:       rapid.SampledFrom(p.behaviours).Draw(t, "function"),
		twoPhase: rapid.IntRange(0, 3).Draw(t, "two phases") == 3,
		twice:    rapid.IntRange(0, 7).Draw(t, "twice") == 7,
		other:    rapid.IntRange(0, 3).Draw(t, "other") == 3,
		wait:     rapid.SampledFrom([]time.Duration{0, 0, 20 * time.Second, 2 * time.Minute}).Draw(t, "wait"),
		takes:    rapid.SampledFrom([]time.Duration{0, 0, 5 * time.Second}).Draw(t, "takes"),

		unconfirmed: rapid.IntRange(0, 5).Draw(t, "unconfirmed") == 5,
	}
	if c.fn == endsItsGoroutine {
		c.twoPhase = false // because its caller would be gone and could not settle
	}
	p.addTraits(t, c)
	switch c.key {
	case scopedKey:
		c.scope = rapid.IntRange(1, 2).Draw(t, "scope")
	case resumedKey:
		c.mismatch = rapid.IntRange(0, 7).Draw(t, "mismatch") == 7
		c.pick = rapid.IntRange(1, 3).Draw(t, "pick")
	case knownKey:
		c.pick = rapid.IntRange(1, 3).Draw(t, "pick")
	}
	c.interrupted = p.interruption(t)
	return c
}

// addTraits draws the properties of a call that only some programs have.
func (p *palette) addTraits(t *rapid.T, c *guardedCall) {
	c.inRun = p.sometimes(t, hasRuns)
	c.repeated = p.sometimes(t, hasRepeats)
	c.unjournaled = p.sometimes(t, hasUnjournaled)
	c.redelivered = p.sometimes(t, hasRedeliveries) && !c.twice && !c.other
	if c.key == resumedKey && p.sometimes(t, hasNeighbours) {
		c.beside, c.sooner, c.twice = true, rapid.Bool().Draw(t, "sooner"), false
		c.wait = rapid.SampledFrom([]time.Duration{c.wait, time.Minute}).Draw(t, "wait beside")
	}
	if p.sometimes(t, hasClients) {
		c.client = 1
	}
	if p.sometimes(t, hasContents) {
		c.merchant = rapid.SampledFrom([]string{"Whole Foods", " Whole Foods ", "Evil Corp"}).Draw(t, "merchant")
		c.description = rapid.SampledFrom([]string{"", "weekly shopping", "gift cards"}).Draw(t, "description")
	}
	if c.key == scopedKey && p.sometimes(t, hasRefs) {
		c.ref = rapid.SampledFrom([]string{"first", "second"}).Draw(t, "ref")
	}
	if p.sometimes(t, hasSpellings) {
		c.spelling = rapid.IntRange(1, 4).Draw(t, "spelling")
	}
	if p.sometimes(t, hasCodecs) {
		c.codec = rapid.SampledFrom([]string{
			encodingFails, encodingPanics, encodingExits, encodingIsSlow, decodingFails, decodingPanics, decodingExits,
		}).Draw(t, "codec")
	}
}

// outage is a step that injects a fault.
type outage struct{ fault letagentpaytest.Fault }

func (o *outage) String() string {
	f := o.fault
	var b strings.Builder
	switch {
	case f.Op == "":
		b.WriteString("any call")
	default:
		fmt.Fprintf(&b, "%s", f.Op)
	}
	switch f.Times {
	case -1:
		b.WriteString(" from now on")
	default:
		fmt.Fprintf(&b, ", the next %d", f.Times)
	}
	b.WriteString(": ")
	switch {
	case f.GatewayTimeout > 0:
		fmt.Fprintf(&b, "the gateway answers %d after %v", f.Status, f.GatewayTimeout)
		if f.NonJSON {
			b.WriteString(" with a web page")
		}
		fmt.Fprintf(&b, ", and it is carried out after %v", f.Delay)
		return b.String()
	case f.Drop != "":
		fmt.Fprintf(&b, "the connection drops %s it is carried out", f.Drop)
	case f.Status != 0 && f.AfterCommit:
		fmt.Fprintf(&b, "carried out, and answered %d", f.Status)
	case f.Status != 0:
		fmt.Fprintf(&b, "answered %d", f.Status)
	case f.NonJSON:
		b.WriteString("carried out, and answered with a web page")
	case f.Truncate > 0:
		b.WriteString("carried out, and the answer breaks off")
	}
	if f.Delay > 0 {
		fmt.Fprintf(&b, " after %v", f.Delay)
	}
	return b.String()
}

func (o *outage) play(w *world) {
	w.detached = w.detached || o.fault.GatewayTimeout > 0
	w.disturb()
	w.server.Fail(o.fault)
}

func (p *palette) outage(t *rapid.T) step {
	f := letagentpaytest.Fault{
		Op:    rapid.SampledFrom(p.operations).Draw(t, "operation"),
		Times: rapid.SampledFrom([]int{1, -1, 3, 2, -1, 5}).Draw(t, "times"),
	}
	switch rapid.SampledFrom(p.faults).Draw(t, "kind") {
	case dropped:
		drops := []letagentpaytest.Drop{letagentpaytest.DropAfter, letagentpaytest.DropBefore}
		f.Drop = rapid.SampledFrom(drops).Draw(t, "drop")
	case answerLost:
		f.Status, f.AfterCommit = rapid.SampledFrom([]int{500, 502, 408}).Draw(t, "status"), true
	case refusal:
		f.Status = rapid.SampledFrom([]int{403, 500, 503, 429, 404, 409, 422}).Draw(t, "status")
	case webPage:
		f.NonJSON = true
	case brokenOff:
		f.Truncate = 10
	case gateway:
		f.Delay = rapid.SampledFrom([]time.Duration{
			4 * time.Second, 5 * time.Second, 20 * time.Second,
		}).Draw(t, "delay")
		f.GatewayTimeout = 3 * time.Second
		f.NonJSON = rapid.Bool().Draw(t, "page")
		f.Status = rapid.SampledFrom([]int{504, 502}).Draw(t, "status")
		return &outage{f}
	case delayed:
		f.Delay = rapid.SampledFrom([]time.Duration{
			2 * time.Second, 7 * time.Second, 90 * time.Second,
		}).Draw(t, "delay")
		if f.Op == "" || f.Op == operation.Confirm {
			// A failure confirmation that takes more than a minute is at the caller's risk.
			f.Delay = min(f.Delay, 50*time.Second)
		}
		return &outage{f}
	}
	if rapid.IntRange(0, 5).Draw(t, "delayed") == 5 {
		f.Delay = 3 * time.Second
	}
	return &outage{f}
}

// verdict decides one of the pending requests.
type verdict struct {
	approve bool
	pick    int
}

func (v *verdict) String() string {
	if v.approve {
		return fmt.Sprintf("the owner approves pending request %d", v.pick)
	}
	return fmt.Sprintf("the owner rejects pending request %d", v.pick)
}

func (v *verdict) play(w *world) {
	var pending []string
	for _, r := range w.server.Requests() {
		if r.Status == letagentpay.StatusPending {
			pending = append(pending, r.RequestID)
		}
	}
	if len(pending) == 0 {
		return
	}
	id := pending[v.pick%len(pending)]
	if v.approve {
		_ = w.server.Approve(id) // refused when it has expired
	} else {
		_ = w.server.Reject(id)
	}
}

func (*palette) verdict(t *rapid.T) step {
	return &verdict{approve: rapid.IntRange(0, 3).Draw(t, "verdict") < 3, pick: rapid.IntRange(0, 2).Draw(t, "pick")}
}

// human sets how the owner decides pending requests from now on.
type human struct {
	verdict string
	after   time.Duration
}

func (h *human) String() string {
	if h.verdict == "" {
		return "the owner leaves"
	}
	return fmt.Sprintf("the owner %s whatever becomes pending, %v later", h.verdict, h.after)
}

func (h *human) play(w *world) {
	w.server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
		switch h.verdict {
		case "approves":
			return letagentpaytest.Approve().After(h.after)
		case "rejects":
			return letagentpaytest.Reject().After(h.after)
		}
		return letagentpaytest.Verdict{}
	})
}

func (*palette) human(t *rapid.T) step {
	return &human{
		rapid.SampledFrom([]string{"approves", "approves", "rejects", ""}).Draw(t, "verdict"),
		rapid.SampledFrom([]time.Duration{0, 5 * time.Second, 40 * time.Second, 31 * time.Minute}).Draw(t, "after"),
	}
}

// event is a step without parameters, or with its parameters in its text.
type event struct {
	text string
	do   func(w *world)
}

func (e *event) String() string { return e.text }
func (e *event) play(w *world)  { e.do(w) }

func passing(d time.Duration) *event {
	// The bubble's clock passes at no cost.
	return &event{fmt.Sprintf("%v pass", d), func(*world) { time.Sleep(d) }}
}

func jumping(d time.Duration) *event {
	return &event{fmt.Sprintf("the service's clock jumps by %v", d), func(w *world) {
		w.forgets = w.forgets || d >= 24*time.Hour
		w.server.Advance(d)
	}}
}

func approvingUpTo(limit string) *event {
	return &event{"the policy approves up to " + limit, func(w *world) {
		w.server.SetPolicyJSON(
			`{"per_request_limit": 200, "auto_approve": {"enabled": true, "max_amount": ` + limit + `}}`)
	}}
}

var reconnect = &event{"connectivity returns", (*world).reconnect}

func (*palette) time(t *rapid.T) step {
	return rapid.SampledFrom([]step{
		passing(3 * time.Second), passing(time.Minute), passing(31 * time.Minute),
		jumping(time.Minute), jumping(31 * time.Minute), jumping(25 * time.Hour),
	}).Draw(t, "time")
}

func (p *palette) change(t *rapid.T) step {
	if p.sometimes(t, hasJournalFaults) {
		fault := &journalFault{
			op: rapid.SampledFrom([]string{
				"put", "put", "put", "", "get", "delete", "entries",
			}).Draw(t, "journal's call"),
			kind: rapid.SampledFrom([]string{
				diskFails, failsHavingly, callPanics, callExits, callIsSlow,
			}).Draw(t, "mishap"),
			times: rapid.IntRange(1, 3).Draw(t, "times"),
		}
		if fault.op == "put" {
			fault.state = rapid.SampledFrom([]journalState{
				"", stateRequested, stateStarted, stateReturned, stateSettled,
			}).Draw(t, "state")
		}
		return fault
	}
	return rapid.SampledFrom([]step{
		reconnect,
		&event{"the agent is paused", func(w *world) {
			w.server.Pause()
			w.disturb()
		}},
		&event{"the sweep expires what is overdue", func(w *world) { w.server.Sweep() }},
		approvingUpTo("10"), approvingUpTo("100"),
		&journalFault{kind: diskFails, times: 1}, &journalFault{kind: diskFails, times: 2},
	}).Draw(t, "change")
}

func (p *palette) process(t *rapid.T) step {
	interrupted := p.interruption(t)
	return rapid.SampledFrom([]step{
		&event{"another process begins", func(w *world) { w.start(w.slots[0]) }},
		&event{"the turns are retried", func(w *world) { clear(w.slots[0].process.turns) }},
		&event{"Recover" + interrupted.String(), func(w *world) { w.recover(w.slots[0], interrupted) }},
		&event{"the last unconfirmed purchase is confirmed again" + interrupted.String(), func(w *world) {
			w.confirmAgain(interrupted)
		}},
	}).Draw(t, "process")
}

// palette holds what the steps of one program are drawn from. It is small, so that the steps affect each other: a
// mistake that needs four particular steps is found when there are few others to draw.
type palette struct {
	kinds         []func(*rapid.T) step
	keys          []key
	amounts       []string
	categories    []string
	behaviours    []behaviour
	interruptions []string
	operations    []operation.Op
	faults        []faultKind
	traits        []trait
}

// trait is a property that calls of a program may have.
type trait string

const (
	hasRuns          trait = "calls in runs of scopes"
	hasRepeats       trait = "calls that are repeated after errors"
	hasClients       trait = "calls through another client"
	hasUnjournaled   trait = "calls without the journal"
	hasContents      trait = "merchants and descriptions"
	hasRefs          trait = "refs"
	hasSpellings     trait = "ids in other spellings"
	hasRedeliveries  trait = "tasks that are delivered again"
	hasNeighbours    trait = "resumed calls beside calls under the request's key"
	hasCodecs        trait = "hostile codecs"
	hasJournalFaults trait = "hostile journals"
)

// sometimes reports whether a call has a trait of the program.
func (p *palette) sometimes(t *rapid.T, of trait) bool {
	return slices.Contains(p.traits, of) && rapid.Bool().Draw(t, string(of))
}

type faultKind int

const (
	dropped faultKind = iota
	answerLost
	refusal
	webPage
	brokenOff
	delayed
	gateway
)

// few draws one to most elements of all.
func few[E any](t *rapid.T, label string, most int, all ...E) []E {
	return rapid.SliceOfN(rapid.SampledFrom(all), 1, most).Draw(t, label)
}

var anyTrait = []trait{
	"", "", hasRuns, hasRepeats, hasClients, hasUnjournaled, hasContents, hasRefs, hasSpellings, hasRedeliveries,
	hasNeighbours, hasCodecs, hasJournalFaults,
}

var anyPalette = rapid.Custom(func(t *rapid.T) *palette {
	p := &palette{
		keys:    few(t, "keys", 3, randomKey, ownKey, scopedKey, otherKey),
		amounts: append(few(t, "amounts", 2, automatic, automatic, reviewed, reviewed, refused), automatic),
		categories: few(t, "categories", 2, "groceries", "groceries", "groceries", "groceries", "Uber Ride",
			"yachts"),
		behaviours:    few(t, "behaviours", 3, behaviours...),
		interruptions: few(t, "interruptions", 4, "", "", "", "", "", cancelled, dies),
		operations: few(t, "operations", 2,
			operation.Confirm, operation.Confirm, operation.Confirm,
			operation.Purchase, operation.Purchase, operation.Request, operation.Request,
			operation.Requests, operation.Categories, ""),
		faults: few(t, "faults", 3, dropped, answerLost, refusal, webPage, brokenOff, delayed, gateway),
		traits: few(t, "traits", 2, anyTrait...),
	}
	p.keys = append(p.keys, few(t, "known", 2, knownKey, resumedKey)...)
	p.kinds = few(t, "kinds", 4, p.outage, p.outage, p.verdict, p.human, p.time, p.change, p.process, p.handmade)
	p.kinds = append(p.kinds, p.call, p.call, p.call)
	if slices.Contains(p.traits, hasNeighbours) {
		p.keys, p.amounts = []key{ownKey, resumedKey}, []string{reviewed}
		p.behaviours = append(p.behaviours, paysAndTimesOut)
		p.kinds = append(p.kinds[:1], p.human, p.call, p.call)
	}
	if slices.Contains(p.traits, hasJournalFaults) {
		p.kinds = append(p.kinds, p.change)
	}
	return p
})

// anyRaces draws nil in half of the programs: the service then carries out each call at one instant.
var anyRaces = rapid.Custom(func(t *rapid.T) *letagentpaytest.Races {
	if rapid.Bool().Draw(t, "one instant") {
		return nil
	}
	times := rapid.SampledFrom([]time.Duration{0, time.Second, 4 * time.Second})
	return &letagentpaytest.Races{
		Purchase: times.Draw(t, "purchase"),
		Confirm:  times.Draw(t, "confirm"),
		Store:    rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "store"),
	}
})

var anyProgram = rapid.Custom(func(t *rapid.T) program {
	p := anyPalette.Draw(t, "palette")
	anyStep := rapid.Custom(func(t *rapid.T) step { return rapid.SampledFrom(p.kinds).Draw(t, "kind")(t) })
	least := rapid.SampledFrom([]int{4, 1, 6, 8}).Draw(t, "least") // by default, rapid draws one or two
	steps := rapid.SliceOfN(anyStep, least, 12)
	return program{rapid.Bool().Draw(t, "journal"), anyRaces.Draw(t, "races"), steps.Draw(t, "steps")}
})
