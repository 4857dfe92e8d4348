package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	callLimit = 10 * time.Second // of one call; a longer one counts as failed
	pollLimit = 20 * time.Second // of all reads of a poll; requests not read by then are read in the next poll

	// The last poll of a wait begins this long before the deadline, depending on the latency of the poll before, so
	// that the response can arrive in time.
	minLastPoll, maxLastPoll = 50 * time.Millisecond, time.Second

	// minPollPause is the least time between polls, so that waits that start together share one.
	minPollPause = 100 * time.Millisecond
)

// poller polls requests for all waits of a client. Its goroutine runs while there are waits.
type poller struct {
	client *Client

	mu          sync.Mutex
	waits       map[*wait]struct{}
	wake        chan struct{}      // wakes the goroutine when a poll is due earlier than planned
	stop        context.CancelFunc // ends the goroutine; nil: not running
	latency     time.Duration      // of the last poll
	lastPollEnd time.Time          // when the last poll ended
}

// add adds a wait, and starts the goroutine if necessary.
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

// remove removes a wait, and stops the goroutine after the last one.
func (pl *poller) remove(removed *wait) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	delete(pl.waits, removed)
	if len(pl.waits) == 0 && pl.stop != nil {
		pl.stop()
		pl.stop = nil
	}
}

// await blocks until the wait is over. Ten thousand goroutines may block here, so it holds little memory.
func (pl *poller) await(ctx context.Context, wait *wait) (*Request, error) {
	var deadline <-chan time.Time
	if !wait.deadline.IsZero() {
		timer := time.NewTimer(time.Until(wait.deadline))
		defer timer.Stop()
		deadline = timer.C
	}
	for {
		select {
		case <-wait.done:
			return wait.decided, wait.failure
		case <-deadline:
			return nil, pl.timeoutError(wait)
		case <-ctx.Done():
			return nil, pl.contextError(ctx, wait)
		case event := <-wait.events:
			wait.report(event)
		}
	}
}

// contextError returns the error of a wait whose context has ended.
func (pl *poller) contextError(ctx context.Context, wait *wait) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return pl.timeoutError(wait)
	}
	return fmt.Errorf("letagentpay: wait for request %s: %w", wait.requestID, ctx.Err())
}

// timeoutError returns the error of a wait whose deadline has passed.
func (pl *poller) timeoutError(wait *wait) error {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	return wait.timeoutError()
}

// run polls whenever a poll is due.
func (pl *poller) run(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Stop()
		if next, ok := pl.nextPoll(); ok {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
			pl.poll(ctx)
		}
	}
}

// nextPoll returns when the next poll is due. ok is false if no wait needs one.
func (pl *poller) nextPoll() (next time.Time, ok bool) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	for wait := range pl.waits {
		due := wait.next
		if earliest := pl.lastPollEnd.Add(min(minPollPause, wait.config.min)); due.Before(earliest) && !wait.final {
			due = earliest
		}
		if !ok || due.Before(next) {
			next, ok = due, true
		}
	}
	return next, ok
}

// poll polls the requests of all current waits once and applies the results.
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
		return // there are no waits left
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
	jitter := waitJitter() // one for all waits; otherwise the shortest of many would set the pace
	for wait := range pl.waits {
		if wait.finished {
			delete(pl.waits, wait) // its goroutine may call remove late; until then it needs no polls
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

// plan sets when a wait needs its next poll.
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

// pollResult is the result of a poll: for each request its state or an error, or neither if there was no time to read
// it.
type pollResult struct {
	requests map[string]*Request
	errs     map[string]error
	all      error // applies to all requests
}

// find reads the states of requests. It reads a single request directly. Of several, those in the list of pending
// requests that are not past their expiry are pending, and only the others are read: reading is also what makes the
// service expire a request.
func (pl *poller) find(ctx context.Context, ids map[string]bool) pollResult {
	found := pollResult{requests: make(map[string]*Request, len(ids)), errs: make(map[string]error)}
	if len(ids) > 1 {
		if found.all = pl.list(ctx, ids, found.requests); found.all != nil {
			return found
		}
	}
	begun := time.Now()
	for id := range ids { // in random order, so that reads that hang do not always delay the same requests
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

// list adds to requests those of ids that are pending and not past their expiry.
func (pl *poller) list(ctx context.Context, ids map[string]bool, requests map[string]*Request) error {
	for offset := 0; ; {
		limited, cancel := context.WithTimeout(ctx, callLimit)
		page, err := pl.client.page(limited, pageParams{
			status: StatusPending,
			limit:  maxPageSize,
			offset: offset,
			once:   true,
		})
		cancel()
		if err != nil {
			return err
		}
		now := time.Now()
		for i := range page {
			request := &page[i]
			overdue := !request.ExpiresAt.IsZero() && !now.Before(request.ExpiresAt)
			if ids[request.RequestID] && request.Status == StatusPending && !overdue {
				requests[request.RequestID] = request
			}
		}
		if len(page) < maxPageSize || len(requests) == len(ids) {
			return nil
		}
		offset += len(page)
	}
}
