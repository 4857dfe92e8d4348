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

// The bounds within which a purchase is posted again after an attempt that the service may still be working on. The
// service carries on after a client or a gateway has given up, and it looks for the idempotency key before it begins and
// stores it at the end, so a post that overlaps an earlier one makes a second request. An attempt that lasted for d is
// followed by a pause of d, but at least settlePause, and a look at the list of requests. When the request is there, the
// attempt is over, and the next post is answered with it. When it is not, there is a second pause of the same length.
// So a service that needs no more than three times as long as the attempt was given makes one request; what a slower one
// makes beside it is found and named; see [DuplicateError].

// posting is one purchase on its way: its attempts, and what they may have left behind.
type posting struct {
	client   *Client
	params   *PurchaseParams
	since    baseline  // what there was before the first attempt; not taken: estimated from the service's own clock
	first    time.Time // when the first attempt began
	began    time.Time // when the last attempt began
	ended    time.Time // and ended
	counted  bool      // among the postings under way
	attempts int
	status   int  // of the answer
	unclear  bool // an attempt may have made a request without an answer
	running  bool // an attempt may still be handled
}

// post makes a purchase under the key of p. While it lasts, no other client of the process posts under the key. fresh says
// that the key is a random one, so that the answer must be about this purchase. limit bounds the wait for another post
// under the key, when above 0. answered is called with the answer before the next post can begin.
func (c *Client) post(ctx context.Context, p *PurchaseParams, since baseline, fresh bool, limit time.Duration, answered func(*Purchase)) (purchase *Purchase, err error) {
	key := lockKey{c.identity, postLock, p.IdempotencyKey}
	held, err := c.lockWithin(ctx, operation.Purchase, key, limit, 0)
	if err != nil {
		return nil, err
	}
	posting := &posting{client: c, params: p, since: since}
	posting.enter()
	defer func() {
		posting.leave()
		c.unlock(held, key, posting.began, err)
	}()
	ctx, end := c.observe(ctx, operation.Purchase)
	defer func() {
		o := Observation{Amount: p.Amount, Currency: strings.ToUpper(p.Currency), Category: p.Category, Err: err}
		if purchase != nil {
			o.RequestID, o.Status, o.Currency, o.Category = purchase.RequestID, purchase.Status, purchase.Currency, purchase.Category
		}
		end(o)
	}()
	if purchase, err = posting.run(ctx); err != nil {
		return nil, err
	}
	if err := purchase.checkAgainst(p, posting.status); fresh && err != nil {
		return nil, &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: p.IdempotencyKey, RequestID: purchase.RequestID, Err: err}
	}
	if original := normalCategory(purchase.OriginalCategory); original != "" {
		c.process.rememberAlias(aliasKey{c.identity, original}, purchase.Category)
	}
	if counts := c.process.countsFor(c.requestKey(purchase.RequestID), p.IdempotencyKey); counts != "" {
		purchase.RequestID, purchase.Duplicates = counts, []string{purchase.RequestID} // the service repeats the one it stored last
	}
	answered(purchase)
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

// run posts until there is an answer, or none can be had within bounds.
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
			return nil, po.unknown(ctx, err)
		}
		if pauseErr := po.pause(ctx, n, attempt); pauseErr != nil {
			return nil, po.unknown(ctx, attempt.failure(attempt.last.because(pauseErr)))
		}
	}
}

// enter counts the posting among those under way whose requests are not known. leave ends that, once the answer is
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

// attempt posts once, and again only after what surely never arrived and when the service says that it is too busy.
func (po *posting) attempt(ctx context.Context) (purchase *Purchase, attempt *call, err error) {
	key := po.params.IdempotencyKey
	attempt = &call{op: operation.Purchase, body: po.params.body(), idempotencyKey: key, attempts: po.attempts}
	_, err = fetch(ctx, po.client.transport, attempt, purchaseShape, func(body *api.PurchaseResult) (err error) {
		purchase, err = newPurchase(body, po.params)
		return err
	})
	return purchase, attempt, err
}

// isConclusive is the function certain. How many requests are pending says nothing about an attempt that has not come that
// far yet.
func (po *posting) isConclusive(e *APIError) bool {
	return isConclusive(e) && !(po.running && e.Is(ErrTooManyPending))
}

// isConclusive reports whether an answer is certain about all earlier attempts under its key: one that the service gives after
// it has looked for the key, or that every attempt would have got.
func isConclusive(e *APIError) bool {
	return e != nil && e.explained && !e.mayHaveTakenEffect() && (e.Is(ErrInvalid) || e.Is(ErrTooManyPending))
}

// pause waits until the next attempt may be made. It fails when there is no time left for another.
func (po *posting) pause(ctx context.Context, n int, attempt *call) error {
	wait := max(settlePause, backoff(n, retryBase, retryCap), attempt.last.retryAfter)
	if attempt.last.fate() == mayStillRun {
		wait = max(wait, attempt.lasted)
	}
	po.client.transport.log(ctx, slog.LevelWarn, "letagentpay.retry", attempt, attempt.last.StatusCode, attempt.last, slog.Duration("wait", wait))
	if err := pauseWithin(ctx, wait); err != nil {
		return err
	}
	if attempt.last.fate() != mayStillRun {
		return nil
	}
	if ids, _ := po.listedRequests(ctx, ""); len(ids) > 0 {
		return nil
	}
	return pauseWithin(ctx, max(settlePause, attempt.lasted))
}

var errNoTime = fmt.Errorf("no time left for another attempt: %w", context.DeadlineExceeded)

// pauseWithin waits for d, or fails at once where ctx ends before.
func pauseWithin(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return errNoTime
	}
	return sleep(ctx, d)
}

// unknown is the outcome of a purchase of which nobody knows whether it was made.
func (po *posting) unknown(ctx context.Context, err error) error {
	po.client.process.postings.addUnknown(po.content(), unknownPosting{po.params.IdempotencyKey, po.first, po.latestEnd()})
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
	return &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: po.params.IdempotencyKey, Err: err, Found: found, alone: alone}
}

// reportDuplicates returns the ids of further requests of this purchase than the one that is known, and reports them to the
// log. Where another call of this process makes an identical purchase at the same time, nobody can tell whose they are.
func (po *posting) reportDuplicates(ctx context.Context, known string) []string {
	ids := po.lateRequests(context.WithoutCancel(ctx), known)
	for _, id := range ids {
		po.client.process.rememberDuplicate(po.client.requestKey(id), countedRequest{known, po.params.IdempotencyKey})
		po.client.alertDuplicate(ctx, id, known, po.params.IdempotencyKey)
	}
	return ids
}

// lateRequests is duplicates without a report.
func (po *posting) lateRequests(ctx context.Context, known string) []string {
	if !po.isAlone() {
		return nil
	}
	ids, _ := po.listedRequests(ctx, known)
	return ids
}

func (c *Client) alertDuplicate(ctx context.Context, id, of, key string) {
	c.alert(ctx, "letagentpay.duplicate", slog.String("request_id", id), slog.String("of", of), slog.String("idempotency_key", key))
}

const (
	listSample = 20              // how many of the newest requests a look reads
	clockSlack = 2 * time.Second // the service's Date header has whole seconds
	leastLate  = time.Minute     // how long after an attempt its request may still come, and longer if the attempt lasted longer
)

// listIsEmpty reports whether the list was read and shows no request that may be this purchase.
func (po *posting) listIsEmpty(ctx context.Context) bool {
	ids, ok := po.listedRequests(ctx, "")
	return ok && len(ids) == 0
}

// listedRequests returns the ids of requests of the same content that came of the attempts, as it seems, but for the one known and
// those that this process knows to be other calls'. ok is false when the list could not be read.
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
		if row.RequestID != known && po.client.progress(row.RequestID) == unknownHere && (row.Status.Approved() || !row.Status.Decided()) &&
			described.mismatch(row.RequestID, contentOfRequest(row)) == nil && po.cameFromAttempts(row, date) {
			ids = append(ids, row.RequestID)
		}
	}
	return ids, true
}

// cameFromAttempts reports whether a request came into being between the beginning of the first attempt and the time at which the
// service must be done with the last. The service's own stamps are compared, with its clock where that is needed.
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

// isAlone reports whether no identical purchase of this process can have made the requests that are found: none is under
// way, and none whose outcome stayed unknown was at the same time.
func (po *posting) isAlone() bool {
	po.client.process.postings.mu.Lock()
	defer po.client.process.postings.mu.Unlock()
	postings, content := &po.client.process.postings, po.content()
	if postings.underWay[content] > 0 {
		return false
	}
	unknown, _ := postings.unknown.get(content)
	return !slices.ContainsFunc(unknown, func(other unknownPosting) bool {
		return other.key != po.params.IdempotencyKey && !other.first.After(po.latestEnd()) && !other.latest.Before(po.first)
	})
}

// latestEnd is when the service must be done with the last attempt.
func (po *posting) latestEnd() time.Time { return po.ended.Add(max(po.ended.Sub(po.began), leastLate)) }

func (po *posting) content() postingContent {
	return postingContent{po.client.identity, po.params.Amount, trimText(po.params.MerchantName), trimText(po.params.Description)}
}
