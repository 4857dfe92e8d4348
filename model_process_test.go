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

// slot is a place in which one process of the agent runs at a time. It has a disk of its own.
type slot struct {
	number  int
	name    string
	journal *processJournal // nil: none
	process *process
}

// process is one process of the agent. What it keeps in memory is lost when it ends.
type process struct {
	world   *world
	slot    *slot
	memory  *letagentpay.Process
	clients [2]*letagentpay.Client // made on first use
	next    http.RoundTripper
	life    context.Context
	end     context.CancelFunc
	dying   sync.Once
	dead    chan struct{} // closed when it dies
	gone    bool          // dead, or replaced
	turns   map[turnName]*turn
	wire    map[string]*sentWrite // the last write for a key or a request
}

// turnName names a purchase scope of a process, or one run of it.
type turnName struct {
	scope string
	run   bool
}

// turn is a purchase scope of a process, or one run of it.
type turn struct {
	turnName
	ctx    context.Context
	bought map[subject]int // calls that returned no error
	width  map[subject]int // how many of them were made at the same time
}

// start starts a process in a slot, in place of the previous one.
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
		if n > 0 { // the same service, spelled differently
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
		p.end() // which closes its connections
	})
}

// errDied is returned to the goroutines of a dead process once the program is over. Until then they are blocked.
var errDied = errors.New("the process has died")

// attempt is an operation of a process, run by one goroutine or two.
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
	once        sync.Once // guards the interruption
}

type attemptKey struct{}

// player is one goroutine of an operation.
type player struct {
	attempt *attempt
	after   time.Duration
	do      func(ctx context.Context) (publish func()) // publish is called if the process is still alive
}

type outcome struct {
	panicked any
	returned bool
	died     bool // with its process; its result is not known
	publish  func()
}

// run runs players at the same time and waits for them. The interruption of an attempt ends the context of its players
// or kills their process.
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
		w.playing.Go(func() { // a goroutine of its own, because the function may end it
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
			synctest.Wait() // until all goroutines are blocked
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

// interruptByTime starts the timer of an interruption. The function returned stops it; an interruption that is due at
// that instant still happens first.
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

// mostEvents is far more than any call needs.
const mostEvents = 300

// event wraps everything that a process does to the world outside it. It reports false when the process has died; it
// then blocks until the end of the program, and nothing that the process does has an effect.
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

// sentWrite is a write as the process that sent it sees it.
type sentWrite struct {
	attempt      *attempt
	began, ended time.Time
	unclear      bool // it may have taken effect
	mayStillRun  bool // the service may still be working on it
	refund       bool // a failure confirmation
	read         bool // the request was read after it
}

// RoundTrip sends a request of the process to the service.
func (p *process) RoundTrip(r *http.Request) (response *http.Response, err error) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(p.life, cancel)
	defer stop()
	alive := p.event(attemptOf(ctx), func() {
		answered := p.checkWrite(r)
		response, err = p.next.RoundTrip(r.WithContext(ctx)) // the caller closes it
		answered(response, err)
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

// cancellingBody cancels the call's context when the body is closed.
type cancellingBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancellingBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// alerts records what a client logs: some outcomes are reported only there.
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
