package letagentpay_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/letagentpay/letagentpay-go"
)

// slot is a place where one process of the agent runs at a time, with a disk of its own.
type slot struct {
	number  int
	name    string
	journal *processJournal // nil: none
	process *process
}

// process is one process of the agent: what it keeps in memory ends with it.
type process struct {
	world   *world
	slot    *slot
	memory  *letagentpay.Process
	clients [2]*letagentpay.Client // made when they are used
	next    http.RoundTripper
	life    context.Context
	end     context.CancelFunc
	dying   sync.Once
	dead    chan struct{} // closed when it dies
	gone    bool          // dead, or replaced
	turns   map[turnName]*turn
	wire    map[string]*sentWrite // the last write about a key or a request
}

// turnName names a purchase scope of a process, as it stands or one run of it.
type turnName struct {
	scope string
	run   bool
}

// turn is a purchase scope of a process, or one run of it.
type turn struct {
	turnName
	ctx    context.Context
	bought map[subject]int // calls that returned no error
	width  map[subject]int // how many of them were made at once
}

// start starts a process in a slot, in place of the one before.
func (w *world) start(s *slot) *process {
	if s.process != nil {
		s.process.gone = true
	}
	p := &process{
		world:  w,
		slot:   s,
		memory: letagentpay.NewProcess(),
		next:   w.server.HTTPClient().Transport,
		dead:   make(chan struct{}),
		turns:  make(map[turnName]*turn),
		wire:   make(map[string]*sentWrite),
	}
	p.life, p.end = context.WithCancel(context.Background())
	w.processes, s.process = append(w.processes, p), p
	return p
}

// client returns one of the process's two clients.
func (p *process) client(n int) *letagentpay.Client {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	if p.clients[n] == nil {
		base := p.world.server.URL
		if n > 0 { // the same service, spelled otherwise
			base = strings.Replace(base, "mock", "MOCK", 1) + "/"
		}
		p.clients[n] = p.world.server.Client(
			letagentpay.InProcess(p.memory), letagentpay.WithHTTPClient(&http.Client{Transport: p}),
			letagentpay.WithLogger(slog.New(&alerts{p})), letagentpay.WithBaseURL(base),
		)
	}
	return p.clients[n]
}

func (p *process) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

func (p *process) die() {
	p.dying.Do(func() {
		close(p.dead)
		p.end() // and with it its connections
	})
}

// errDied is what the goroutines of a dead process get once the program is over. Until then they stop where they are.
var errDied = errors.New("the process has died")

// attempt is an operation of a process under way, of one goroutine or two.
type attempt struct {
	process     *process
	ctx         context.Context
	turn        *turn
	subject     subject   // in a scope
	began       time.Time // on the service's clock
	journaled   bool
	resumed     bool
	byHand      bool
	interrupted interruption
	cancel      context.CancelFunc
	events      atomic.Int64
	once        sync.Once // interrupts
}

type attemptKey struct{}

// player is one goroutine of an operation.
type player struct {
	attempt *attempt
	after   time.Duration
	do      func(ctx context.Context) (publish func()) // what it leads to is published if its process lives
}

type outcome struct {
	panicked any
	returned bool
	died     bool // with its process; what it has done is not known
	publish  func()
}

// run runs players at the same time and waits for them. The context of each ends, or its process dies, as the
// interruption of its attempt says.
func (w *world) run(players ...player) []outcome {
	outcomes := make([]outcome, len(players))
	ended := make([]chan struct{}, len(players))
	var stops []func()
	begun := make(map[*attempt]context.Context)
	for i, player := range players {
		a := player.attempt
		playing, ok := begun[a]
		if !ok {
			playing, a.cancel = context.WithCancel(context.WithValue(a.ctx, attemptKey{}, a))
			begun[a] = playing
			stops = append(stops, a.interruptByTime())
		}
		ended[i] = make(chan struct{})
		w.playing.Go(func() { // of its own, because it may end by itself
			defer close(ended[i])
			defer func() { outcomes[i].panicked = recover() }()
			time.Sleep(player.after)
			outcomes[i].publish = player.do(playing)
			outcomes[i].returned = true
		})
	}
	results := make([]outcome, len(players))
	for i, player := range players {
		select {
		case <-ended[i]:
			results[i] = outcomes[i]
		case <-player.attempt.process.dead:
		}
	}
	for _, stop := range stops {
		stop()
	}
	for i, player := range players {
		if player.attempt.process.isDead() {
			results[i] = outcome{died: true}
		}
		if s := player.attempt.process.slot; s.process.isDead() {
			synctest.Wait() // until nothing of it moves
			w.calmSince = time.Now()
			w.start(s)
		}
	}
	for a := range begun {
		if !a.process.isDead() {
			a.cancel()
		}
	}
	for _, result := range results {
		if result.publish != nil {
			result.publish()
		}
	}
	return results
}

// interruptByTime sets the time of an interruption. The function returned ends it; an interruption at the very instant
// of the end comes before it.
func (a *attempt) interruptByTime() (stop func()) {
	switch {
	case a.interrupted.kind == "" || a.interrupted.event > 0:
	case a.interrupted.time == 0:
		a.interrupt()
	default:
		over := make(chan struct{})
		timer := time.AfterFunc(a.interrupted.time, func() { a.interrupt(); close(over) })
		return func() {
			if !timer.Stop() {
				<-over
			}
		}
	}
	return func() {}
}

func (a *attempt) interrupt() {
	a.once.Do(func() {
		if a.interrupted.kind == dies {
			a.process.die()
			return
		}
		a.cancel()
	})
}

// mostEvents is far more than any call takes.
const mostEvents = 300

// event is passed through for everything that a process does to the world outside it. It reports false when the process
// has died; then it has stopped until the end of the program, and nothing that it does has an effect.
func (p *process) event(a *attempt, do func()) (alive bool) {
	n := 0
	if a != nil {
		if n = int(a.events.Add(1)); n == mostEvents {
			p.world.violated("a call does not end")
			a.once.Do(a.process.die)
		}
	}
	if !p.pass(a, n, false) {
		return false
	}
	do()
	return p.pass(a, n, true)
}

func (p *process) pass(a *attempt, n int, after bool) (alive bool) {
	if a != nil && n == a.interrupted.event && after == a.interrupted.after && a.interrupted.kind != "" {
		a.interrupt()
	}
	if p.isDead() {
		<-p.world.over
		return false
	}
	return true
}

func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

// sentWrite is a write of a process, as it looks from there.
type sentWrite struct {
	attempt      *attempt
	began, ended time.Time
	unclear      bool // it may have taken effect
	mayStillRun  bool // the service may be at work on it yet
	refund       bool // a failure confirmation
	read         bool // the request has been read since
}

// RoundTrip is how the process reaches the service.
func (p *process) RoundTrip(r *http.Request) (response *http.Response, err error) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(p.life, cancel)
	defer stop()
	alive := p.event(attemptOf(ctx), func() {
		heard := p.hear(r)
		response, err = p.next.RoundTrip(r.WithContext(ctx)) // the caller closes it
		heard(response, err)
	})
	if !alive {
		if response != nil {
			_ = response.Body.Close()
		}
		response, err = nil, errDied
	}
	if err != nil {
		cancel()
		return nil, err
	}
	response.Body = &cancellingBody{response.Body, cancel}
	return response, nil
}

// cancellingBody ends the call's context with the body.
type cancellingBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancellingBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// alerts hears what a client logs, which in some cases nothing else tells.
type alerts struct{ process *process }

func (*alerts) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (h *alerts) WithAttrs([]slog.Attr) slog.Handler             { return h }
func (h *alerts) WithGroup(string) slog.Handler                  { return h }

func (h *alerts) Handle(_ context.Context, record slog.Record) error {
	if h.process.isDead() {
		return nil
	}
	said := make(map[string]string)
	record.Attrs(func(attribute slog.Attr) bool {
		said[attribute.Key] = attribute.Value.String()
		return true
	})
	h.process.world.alerted(h.process, record.Message, said)
	return nil
}
