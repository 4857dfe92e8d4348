package letagentpay_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/letagentpay/letagentpay-go"
)

// process is one process of the agent: what it keeps in memory ends with it.
type process struct {
	world  *world
	client *letagentpay.Client
	next   http.RoundTripper
	life   context.Context
	end    context.CancelFunc
	dead   atomic.Bool
	scopes map[int]*turn // under way
}

// turn is one run of a unit of work.
type turn struct {
	ctx   context.Context
	calls map[letagentpay.PurchaseParams]int
}

// start starts a process, from which on the program's steps are this one's.
func (w *world) start() {
	p := &process{world: w, next: w.server.HTTPClient().Transport, scopes: make(map[int]*turn)}
	p.life, p.end = context.WithCancel(context.Background())
	p.client = w.server.Client(letagentpay.WithHTTPClient(&http.Client{Transport: p}), letagentpay.WithLogger(slog.New(&warnings{world: w})))
	w.before, w.process = w.process, p
}

// swap goes on with the process before, or with a new one if that does not live.
func (w *world) swap() {
	if w.before == nil || w.before.dead.Load() {
		w.start()
		return
	}
	w.before, w.process = w.process, w.before
}

// died is what goroutines of a dying process panic with, at the first event that they come to. Real ones just stop:
// nothing but the locks of this process's memory may be moved by what a panic unwinds, so events refuse everything.
type died struct{}

func (p *process) die() {
	p.dead.Store(true)
	p.end()
}

// attempt is an operation of a process under way, of one goroutine or two.
type attempt struct {
	process     *process
	interrupted interruption
	cancel      context.CancelFunc
	events      atomic.Int64
}

type attemptKey struct{}

// run runs do in so many goroutines of the process and waits for them. The context ends, or the process dies, as the
// interruption says. Each outcome is what do panicked with, and whether do returned.
func (w *world) run(ctx context.Context, interrupted interruption, times int, do func(ctx context.Context)) []outcome {
	a := &attempt{process: w.process, interrupted: interrupted}
	ctx, a.cancel = context.WithCancel(context.WithValue(ctx, attemptKey{}, a))
	defer a.cancel()
	ended := func() {}
	switch {
	case interrupted.kind == "" || interrupted.event > 0:
	case interrupted.time == 0:
		a.interrupt()
	default:
		over := make(chan struct{})
		timer := time.AfterFunc(interrupted.time, func() { a.interrupt(); close(over) })
		ended = func() { // an interruption at the very instant of the end comes before it
			if !timer.Stop() {
				<-over
			}
		}
	}
	outcomes := make([]outcome, times)
	group := new(sync.WaitGroup)
	for i := range outcomes {
		group.Go(func() { // of its own, because it may end by itself
			defer func() { outcomes[i].panicked = recover() }()
			do(ctx)
			outcomes[i].returned = true
		})
	}
	group.Wait()
	ended()
	if a.process.dead.Load() {
		for i := range outcomes {
			outcomes[i] = outcome{panicked: died{}}
		}
		before := w.before
		w.start()
		w.before = before
	}
	return outcomes
}

type outcome struct {
	panicked any
	returned bool
}

func (a *attempt) interrupt() {
	if a.interrupted.kind == dies {
		a.process.die()
		return
	}
	a.cancel()
}

// event is passed before and after everything that a process does to the world outside it.
func (a *attempt) event(do func()) {
	n := int(a.events.Add(1))
	a.pass(n, false)
	do()
	a.pass(n, true)
}

func (a *attempt) pass(n int, after bool) {
	if n == a.interrupted.event && after == a.interrupted.after && a.interrupted.kind != "" {
		a.interrupt()
	}
	if a.process.dead.Load() {
		panic(died{})
	}
}

// RoundTrip is how the process reaches the service.
func (p *process) RoundTrip(r *http.Request) (response *http.Response, err error) {
	do := func() { response, err = p.next.RoundTrip(r) } // the caller closes it
	if a, ok := r.Context().Value(attemptKey{}).(*attempt); ok {
		a.event(do)
		return response, err
	}
	// The client's own goroutine, which looks at pending requests; a panic there would end the test.
	if !p.dead.Load() {
		do()
	}
	if p.dead.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return response, err
}

// processJournal is the journal as a process uses it.
type processJournal struct {
	world *world
	memoryJournal
}

var errDisk = errors.New("the disk has failed")

func (j *processJournal) event(ctx context.Context, do func()) (err error) {
	work := func() {
		j.world.mu.Lock()
		failing := j.world.diskFails > 0
		if failing {
			j.world.diskFails--
		}
		j.world.mu.Unlock()
		if err = errDisk; !failing {
			err = nil
			do()
		}
	}
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.event(work)
	} else {
		work()
	}
	return err
}

func (j *processJournal) Get(ctx context.Context, key string) (entry *letagentpay.JournalEntry, err error) {
	failure := j.event(ctx, func() { entry, err = j.memoryJournal.Get(ctx, key) })
	return entry, errors.Join(err, failure)
}

func (j *processJournal) Put(ctx context.Context, entry *letagentpay.JournalEntry) (err error) {
	failure := j.event(ctx, func() { err = j.memoryJournal.Put(ctx, entry) })
	return errors.Join(err, failure)
}

func (j *processJournal) Delete(ctx context.Context, key string) (err error) {
	failure := j.event(ctx, func() { err = j.memoryJournal.Delete(ctx, key) })
	return errors.Join(err, failure)
}

func (j *processJournal) Entries(ctx context.Context) iter.Seq2[*letagentpay.JournalEntry, error] {
	if err := j.event(ctx, func() {}); err != nil {
		return func(yield func(*letagentpay.JournalEntry, error) bool) { yield(nil, err) }
	}
	return j.memoryJournal.Entries(ctx)
}

// warnings notes the purchases that the log says are unconfirmed, which nothing else tells when a function panics.
type warnings struct{ world *world }

func (*warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (h *warnings) WithAttrs([]slog.Attr) slog.Handler             { return h }
func (h *warnings) WithGroup(string) slog.Handler                  { return h }

func (h *warnings) Handle(_ context.Context, record slog.Record) error {
	if record.Message != "letagentpay.unconfirmed" {
		return nil
	}
	record.Attrs(func(attribute slog.Attr) bool {
		if attribute.Key == "request_id" {
			h.world.mu.Lock()
			h.world.warned[attribute.Value.String()] = true
			h.world.mu.Unlock()
			return false
		}
		return true
	})
	return nil
}
