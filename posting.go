package letagentpay

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/operation"
)

// posting is a purchase that is being sent: its attempts, and what they may have left behind.
//
// The service looks for the idempotency key before it handles a post and stores the key at the end, and it continues
// after a client or a gateway has given up. So a post that overlaps an earlier one makes a second request. After an
// attempt that lasted for d, the posting pauses for d, at least settlePause, and reads the list of requests. If the
// request is there, the attempt is over, and the next post is answered with it. If not, it pauses for as long again. A
// service that needs up to three times as long as the attempt was given therefore makes one request. A slower one makes
// a second one, which is found and reported as a duplicate; see [DuplicateError].
type posting struct {
	client   *Client
	params   *PurchaseParams
	since    baseline  // from before the first attempt; if not taken, the service's clock takes its place
	first    time.Time // when the first attempt began
	began    time.Time // when the last attempt began
	ended    time.Time // when the last attempt ended
	counted  bool      // the process counts it as under way
	attempts int
	status   int  // the HTTP status of the answer
	unclear  bool // an attempt may have made a request without an answer
	running  bool // the service may still handle an attempt
}

// postParams says how a purchase is posted.
type postParams struct {
	since     baseline        // see posting
	freshKey  bool            // the key is random, so the answer must be about this purchase
	lockLimit time.Duration   // how long another post under the key is waited for; 0: as long as ctx allows
	answered  func(*Purchase) // called with the answer before the next post can begin
}

// post sends a purchase under its idempotency key. No other client of the process posts under the key at the same time.
// Its deferred functions report to the observers, and then release the lock, with a cooldown after an unknown outcome.
func (c *Client) post(ctx context.Context, p *PurchaseParams, how postParams) (purchase *Purchase, err error) {
	key := lockKey{c.identity, postLock, p.IdempotencyKey}
	held, err := c.lockWithin(ctx, operation.Purchase, key, how.lockLimit, 0)
	if err != nil {
		return nil, err
	}
	posting := &posting{client: c, params: p, since: how.since}
	posting.enter()
	defer func() {
		posting.leave()
		c.unlock(held, key, posting.began, err)
	}()
	ctx, end := c.observe(ctx, operation.Purchase)
	defer func() {
		o := Observation{Amount: p.Amount, Currency: strings.ToUpper(p.Currency), Category: p.Category, Err: err}
		if purchase != nil {
			o.RequestID, o.Status = purchase.RequestID, purchase.Status
			o.Currency, o.Category = purchase.Currency, purchase.Category
		}
		end(o)
	}()
	if purchase, err = posting.run(ctx); err != nil {
		return nil, err
	}
	if err := purchase.checkAgainst(p, posting.status); how.freshKey && err != nil {
		return nil, &OutcomeUnknownError{
			Op:             operation.Purchase,
			IdempotencyKey: p.IdempotencyKey,
			RequestID:      purchase.RequestID,
			Err:            err,
		}
	}
	if original := normalCategory(purchase.OriginalCategory); original != "" {
		c.process.rememberAlias(aliasKey{c.identity, original}, purchase.Category)
	}
	if counts := c.process.countsFor(c.requestKey(purchase.RequestID), p.IdempotencyKey); counts != "" {
		// Under a key with several requests, the service repeats the one that it stored last.
		purchase.RequestID, purchase.Duplicates = counts, []string{purchase.RequestID}
	}
	how.answered(purchase)
	posting.leave()
	if posting.unclear {
		purchase.posting = posting
		for _, id := range posting.reportDuplicates(ctx, purchase.RequestID) {
			if !slices.Contains(purchase.Duplicates, id) {
				purchase.Duplicates = append(purchase.Duplicates, id)
			}
		}
	}
	return purchase, nil
}

// run posts until there is an answer, or until another attempt is not allowed.
func (po *posting) run(ctx context.Context) (*Purchase, error) {
	for n := 0; ; n++ {
		if po.began = time.Now(); n == 0 {
			po.first = po.began
		}
		purchase, attempt, err := po.attempt(ctx)
		po.ended = time.Now()
		if err == nil {
			po.status = attempt.status
			return purchase, nil
		}
		po.attempts = attempt.attempts
		po.unclear = po.unclear || attempt.unclear
		po.running = po.running || attempt.unclear && attempt.last.fate() == mayStillRun
		switch {
		case !po.unclear || po.isConclusive(attempt.last) && po.listIsEmpty(ctx):
			return nil, err
		case !attempt.unclear || attempt.attempts > po.client.transport.maxRetries || !attempt.last.isRetryable():
			return nil, po.outcomeUnknown(ctx, err)
		}
		if pauseErr := po.pause(ctx, n, attempt); pauseErr != nil {
			return nil, po.outcomeUnknown(ctx, attempt.failure(attempt.last.because(pauseErr)))
		}
	}
}

// enter counts the posting as under way: its requests are not known yet. leave ends that, once the answer is
// remembered.
func (po *posting) enter() {
	if !po.counted {
		po.counted = true
		po.client.process.postings.add(po.content(), 1)
	}
}

func (po *posting) leave() {
	if po.counted {
		po.counted = false
		po.client.process.postings.add(po.content(), -1)
	}
}

// attempt posts once. The transport retries only a post that never reached the service, and one that is rate limited.
func (po *posting) attempt(ctx context.Context) (purchase *Purchase, attempt *call, err error) {
	key := po.params.IdempotencyKey
	attempt = &call{op: operation.Purchase, body: po.params.body(), idempotencyKey: key, attempts: po.attempts}
	_, err = fetch(ctx, po.client.transport, attempt, purchaseShape, func(body *api.PurchaseResult) (err error) {
		purchase, err = newPurchase(body, po.params)
		return err
	})
	return purchase, attempt, err
}

// isConclusive is the function isConclusive for this posting. The refusal of too many pending requests does not cover
// an attempt that the service still handles.
func (po *posting) isConclusive(e *APIError) bool {
	return isConclusive(e) && !(po.running && e.Is(ErrTooManyPending))
}

// isConclusive reports whether a failure proves that no attempt under its key has made a request:
//
//	the service's own 400 or 422                 every attempt gets the same answer
//	the service's own 429, too many pending      it is given after the service has looked for the key
//	any other failure, or one of a gateway       proves nothing
func isConclusive(e *APIError) bool {
	return e != nil && e.explained && !e.mayHaveTakenEffect() && (e.Is(ErrInvalid) || e.Is(ErrTooManyPending))
}

// pause waits until the next attempt may be sent. It fails when ctx leaves no time for one.
func (po *posting) pause(ctx context.Context, n int, attempt *call) error {
	wait := max(settlePause, backoff(n, retryBase, retryCap), attempt.last.retryAfter)
	if attempt.last.fate() == mayStillRun {
		wait = max(wait, attempt.lastDuration)
	}
	po.client.transport.log(ctx, slog.LevelWarn, "letagentpay.retry", attempt, attempt.last.StatusCode, attempt.last,
		slog.Duration("wait", wait))
	if err := pauseWithin(ctx, wait); err != nil {
		return err
	}
	if attempt.last.fate() != mayStillRun {
		return nil
	}
	if ids, _ := po.listedRequests(ctx, ""); len(ids) > 0 {
		return nil
	}
	return pauseWithin(ctx, max(settlePause, attempt.lastDuration))
}

var errNoTime = fmt.Errorf("no time left for another attempt: %w", context.DeadlineExceeded)

// pauseWithin waits for d, or fails at once when ctx ends before that.
func pauseWithin(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return errNoTime
	}
	return sleep(ctx, d)
}

// outcomeUnknown is the error of a purchase that may or may not have been made. It lists the requests that may be it.
func (po *posting) outcomeUnknown(ctx context.Context, err error) error {
	po.client.process.postings.addUnknown(po.content(), unknownPosting{
		po.params.IdempotencyKey, po.first, po.latestEnd(),
	})
	po.client.process.rememberUnclear(po.client.identity, po.params.IdempotencyKey)
	po.leave()
	alone := po.isAlone()
	found, _ := po.listedRequests(context.WithoutCancel(ctx), "")
	alone = alone && po.isAlone()
	for _, id := range found {
		if alone {
			po.client.alertDuplicate(ctx, id, "", po.params.IdempotencyKey)
		}
	}
	return &OutcomeUnknownError{
		Op:             operation.Purchase,
		IdempotencyKey: po.params.IdempotencyKey,
		Err:            err,
		Found:          found,
		alone:          alone,
	}
}

// reportDuplicates returns the ids of the requests that the attempts seem to have made besides the known one, and logs
// them. It returns none while another call of this process makes an identical purchase, whose they may be.
func (po *posting) reportDuplicates(ctx context.Context, known string) []string {
	ids := po.lateRequests(context.WithoutCancel(ctx), known)
	for _, id := range ids {
		po.client.process.rememberDuplicate(po.client.requestKey(id), countedRequest{known, po.params.IdempotencyKey})
		po.client.alertDuplicate(ctx, id, known, po.params.IdempotencyKey)
	}
	return ids
}

// lateRequests is reportDuplicates without the report.
func (po *posting) lateRequests(ctx context.Context, known string) []string {
	if !po.isAlone() {
		return nil
	}
	ids, _ := po.listedRequests(ctx, known)
	return ids
}

func (c *Client) alertDuplicate(ctx context.Context, id, of, key string) {
	c.alert(ctx, "letagentpay.duplicate", slog.String("request_id", id), slog.String("of", of),
		slog.String("idempotency_key", key))
}

const (
	listSample = 20              // how many of the newest requests are read to find one
	clockSlack = 2 * time.Second // the service's Date header has whole seconds
	// for how long after an attempt its request may appear; longer when the attempt lasted longer
	minLateSpan = time.Minute
)

// listIsEmpty reports whether the list of requests was read and shows none that may be this purchase.
func (po *posting) listIsEmpty(ctx context.Context) bool {
	ids, ok := po.listedRequests(ctx, "")
	return ok && len(ids) == 0
}

// listedRequests returns the ids of the listed requests that the attempts seem to have made, without the known one. ok
// is false when the list could not be read.
func (po *posting) listedRequests(ctx context.Context, known string) (ids []string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, hookLimit)
	defer cancel()
	page, date, err := po.client.datedPage(ctx, pageParams{limit: listSample, once: true}, true)
	if err != nil {
		return nil, false
	}
	described := contentOf(po.params)
	for i := range page {
		row := &page[i]
		if row.RequestID != known && po.client.mayBeDuplicate(row, described) && po.cameFromAttempts(row, date) {
			ids = append(ids, row.RequestID)
		}
	}
	return ids, true
}

// mayBeDuplicate reports whether a listed request may be another request of a purchase, with money booked for nothing:
//
//	this process knows whose it is    no
//	rejected, expired or confirmed    no: no money is booked
//	of another content                no
//	otherwise                         yes; when it was created decides
func (c *Client) mayBeDuplicate(row *Request, purchase content) bool {
	return c.progress(row.RequestID) == unknownHere &&
		!row.Status.Final() &&
		purchase.mismatch(row.RequestID, contentOfRequest(row)) == nil
}

// cameFromAttempts reports whether a request was created between the start of the first attempt and the time at which
// the service has ended the last one. It compares the service's own stamps, with the service's clock where that is
// needed.
func (po *posting) cameFromAttempts(row *Request, date time.Time) bool {
	if latest := date.Add(time.Until(po.latestEnd()) + clockSlack); !date.IsZero() && row.CreatedAt.After(latest) {
		return false
	}
	if po.since.taken && !po.since.isBefore(row) {
		return false
	}
	if date.IsZero() {
		return po.since.taken
	}
	return row.CreatedAt.After(date.Add(-time.Since(po.first) - clockSlack))
}

// isAlone reports whether no other identical purchase of this process can have made the requests that are found: none
// is under way, and none with an unknown outcome was under way at the same time.
func (po *posting) isAlone() bool {
	po.client.process.postings.mu.Lock()
	defer po.client.process.postings.mu.Unlock()
	postings, content := &po.client.process.postings, po.content()
	if postings.underWay[content] > 0 {
		return false
	}
	unknown, _ := postings.unknown.get(content)
	return !slices.ContainsFunc(unknown, func(other unknownPosting) bool {
		return other.key != po.params.IdempotencyKey && !other.first.After(po.latestEnd()) &&
			!other.latest.Before(po.first)
	})
}

// latestEnd returns when the service has ended the last attempt at the latest.
func (po *posting) latestEnd() time.Time {
	return po.ended.Add(max(po.ended.Sub(po.began), minLateSpan))
}

func (po *posting) content() postingContent {
	return postingContent{po.client.identity, contentOf(po.params).withoutNames()}
}
