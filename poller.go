package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	callLimit = 10 * time.Second // how long one call of a look may take before it counts as missed
	pollLimit = 20 * time.Second // how long the reads of a look may take together; what is left over has the next look

	// A last look begins so long before the deadline that an answer can arrive, judged by the look before.
	minLastPoll, maxLastPoll = 50 * time.Millisecond, time.Second

	// Between two looks passes so much time at least, so that waits which begin together are looked at together.
	minPollPause = 100 * time.Millisecond
)

// poller looks at requests on behalf of all waits of a client. Its goroutine runs while there are waits.
type poller struct {
	client *Client

	mu          sync.Mutex
	waits       map[*wait]struct{}
	wake        chan struct{}      // tells the goroutine that a wait wants a look earlier than it sleeps
	stop        context.CancelFunc // of the goroutine; nil while there is none
	latency     time.Duration      // of the look before
	lastPollEnd time.Time          // when it ended
}

func (pl *poller) add(added *wait) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.waits == nil {
		pl.waits = make(map[*wait]struct{})
	}
	added.next = time.Now()
	pl.waits[added] = struct{}{}
	if pl.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		pl.stop, pl.wake = cancel, make(chan struct{}, 1)
		go pl.run(ctx, pl.wake)
		return
	}
	select {
	case pl.wake <- struct{}{}:
	default:
	}
}

func (pl *poller) remove(removed *wait) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	delete(pl.waits, removed)
	if len(pl.waits) == 0 && pl.stop != nil {
		pl.stop()
		pl.stop = nil
	}
}

// await blocks until the wait is over. Ten thousand goroutines may stand here, so what they hold is kept small.
func (pl *poller) await(ctx context.Context, wait *wait) (*Request, error) {
	var over <-chan time.Time
	if !wait.deadline.IsZero() {
		timer := time.NewTimer(time.Until(wait.deadline))
		defer timer.Stop()
		over = timer.C
	}
	for {
		select {
		case <-wait.done:
			return wait.decided, wait.failure
		case <-over:
			return nil, pl.timeoutError(wait)
		case <-ctx.Done():
			return nil, pl.contextError(ctx, wait)
		case event := <-wait.events:
			wait.report(event)
		}
	}
}

// interrupted is the error of a wait whose context has ended.
func (pl *poller) contextError(ctx context.Context, wait *wait) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return pl.timeoutError(wait)
	}
	return fmt.Errorf("letagentpay: wait for request %s: %w", wait.requestID, ctx.Err())
}

// timeout describes how far a wait got whose time is over.
func (pl *poller) timeoutError(of *wait) error {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	return of.timeoutError()
}

// run looks whenever a look is due.
func (pl *poller) run(ctx context.Context, sooner <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Stop()
		if next, any := pl.nextPoll(); any {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-sooner:
		case <-timer.C:
			pl.poll(ctx)
		}
	}
}

// nextPoll returns when the first look is due, if any wait wants one.
func (pl *poller) nextPoll() (next time.Time, any bool) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	for wait := range pl.waits {
		due := wait.next
		if earliest := pl.lastPollEnd.Add(min(minPollPause, wait.config.min)); due.Before(earliest) && !wait.final {
			due = earliest
		}
		if !any || due.Before(next) {
			next, any = due, true
		}
	}
	return next, any
}

// poll looks at all requests that are waited for, for the waits that have not had their look yet at its beginning.
func (pl *poller) poll(ctx context.Context) {
	pl.mu.Lock()
	waits := make([]*wait, 0, len(pl.waits))
	ids := make(map[string]bool)
	for wait := range pl.waits {
		waits = append(waits, wait)
		ids[wait.requestID] = true
	}
	pl.mu.Unlock()
	begun := time.Now()
	found := pl.find(ctx, ids)
	if ctx.Err() != nil {
		return // nobody waits any more
	}
	now := time.Now()

	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.latency, pl.lastPollEnd = now.Sub(begun), now
	decided := false
	for _, wait := range waits {
		if _, waiting := pl.waits[wait]; waiting && !wait.finished && wait.apply(found, begun) {
			decided = true
		}
	}
	jitter := waitJitter() // one for all, or the shortest of many would set the pace
	for wait := range pl.waits {
		if wait.finished {
			delete(pl.waits, wait) // its remove may come late, and it needs no looks until then
			continue
		}
		if decided {
			wait.polls = 0
		}
	}
	for _, wait := range waits {
		if _, waiting := pl.waits[wait]; waiting {
			pl.plan(wait, now, jitter)
		}
	}
}

// plan sets when a wait is due for its next look.
func (pl *poller) plan(wait *wait, now time.Time, jitter float64) {
	pause := wait.config.delay(wait.polls, jitter)
	wait.polls++
	if failure, ok := errors.AsType[*APIError](wait.err); ok {
		pause = max(pause, failure.retryAfter)
	}
	wait.next, wait.final = now.Add(pause), false
	if wait.deadline.IsZero() {
		return
	}
	remaining := wait.deadline.Sub(now)
	last := wait.deadline.Add(-min(max(2*pl.latency, minLastPoll), maxLastPoll, remaining/2))
	if !wait.next.Before(last) {
		wait.next, wait.final = last, true
	}
}

// pollResult is what a look saw: of each request its state or why it could not be read, or neither if its turn did not
// come.
type pollResult struct {
	requests map[string]*Request
	errs     map[string]error
	all      error // of all requests
}

// find reads the states of requests: a single one by itself; of several, those that are still in the list of pending
// ones and not overdue are pending, and only the others are read, because reading is also what lets one expire.
func (pl *poller) find(ctx context.Context, ids map[string]bool) pollResult {
	found := pollResult{requests: make(map[string]*Request, len(ids)), errs: make(map[string]error)}
	if len(ids) > 1 {
		if found.all = pl.list(ctx, ids, found.requests); found.all != nil {
			return found
		}
	}
	begun := time.Now()
	for id := range ids { // in random order, so that nobody waits for ever behind reads that hang
		if found.requests[id] != nil {
			continue
		}
		if time.Since(begun) > pollLimit {
			break
		}
		limited, cancel := context.WithTimeout(ctx, callLimit)
		request, err := pl.client.request(limited, id, true)
		cancel()
		if err != nil {
			found.errs[id] = err
			continue
		}
		found.requests[id] = request
	}
	return found
}

// list adds those of ids to requests that are pending and not overdue.
func (pl *poller) list(ctx context.Context, ids map[string]bool, requests map[string]*Request) error {
	for offset := 0; ; {
		limited, cancel := context.WithTimeout(ctx, callLimit)
		page, err := pl.client.page(limited, pageParams{status: StatusPending, limit: maxPageSize, offset: offset, once: true})
		cancel()
		if err != nil {
			return err
		}
		now := time.Now()
		for i := range page {
			if request := &page[i]; ids[request.RequestID] && request.Status == StatusPending && (request.ExpiresAt.IsZero() || now.Before(request.ExpiresAt)) {
				requests[request.RequestID] = request
			}
		}
		if len(page) < maxPageSize || len(requests) == len(ids) {
			return nil
		}
		offset += len(page)
	}
}
