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
	key := lockKey{c.identity, "key", p.IdempotencyKey}
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
	ctx, end := c.begin(ctx, operation.Purchase)
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
	if err := purchase.answers(p, posting.status); fresh && err != nil {
		return nil, &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: p.IdempotencyKey, RequestID: purchase.RequestID, Err: err}
	}
	if original := normalCategory(purchase.OriginalCategory); original != "" {
		c.process.learnAlias(aliasKey{c.identity, original}, purchase.Category)
	}
	if counts := c.process.countsFor(c.requestKey(purchase.RequestID), p.IdempotencyKey); counts != "" {
		purchase.RequestID, purchase.Duplicates = counts, []string{purchase.RequestID} // the service repeats the one it stored last
	}
	answered(purchase)
	posting.leave()
	if posting.unclear {
		purchase.posting = posting
		for _, id := range posting.duplicates(ctx, purchase.RequestID) {
			if !slices.Contains(purchase.Duplicates, id) {
				purchase.Duplicates = append(purchase.Duplicates, id)
			}
		}
	}
	return purchase, nil
}

// run posts until there is an answer, or none can be had within bounds.
func (p *posting) run(ctx context.Context) (*Purchase, error) {
	for n := 0; ; n++ {
		if p.began = time.Now(); n == 0 {
			p.first = p.began
		}
		purchase, attempt, err := p.attempt(ctx)
		p.ended = time.Now()
		if err == nil {
			p.status = attempt.status
			return purchase, nil
		}
		p.attempts = attempt.attempts
		p.unclear = p.unclear || attempt.unclear
		p.running = p.running || attempt.unclear && attempt.last.fate() == mayStillRun
		switch {
		case !p.unclear || p.certain(attempt.last) && p.foundNothing(ctx):
			return nil, err
		case !attempt.unclear || attempt.attempts > p.client.transport.maxRetries || !attempt.last.worthRepeating():
			return nil, p.unknown(ctx, err)
		}
		if pauseErr := p.pause(ctx, n, attempt); pauseErr != nil {
			return nil, p.unknown(ctx, attempt.failure(attempt.last.because(pauseErr)))
		}
	}
}

// enter counts the posting among those under way whose requests are not known. leave ends that, once the answer is
// remembered.
func (p *posting) enter() {
	if !p.counted {
		p.counted = true
		p.client.process.postings.add(p.content(), 1)
	}
}

func (p *posting) leave() {
	if p.counted {
		p.counted = false
		p.client.process.postings.add(p.content(), -1)
	}
}

// attempt posts once, and again only after what surely never arrived and when the service says that it is too busy.
func (p *posting) attempt(ctx context.Context) (purchase *Purchase, attempt *call, err error) {
	key := p.params.IdempotencyKey
	attempt = &call{op: operation.Purchase, body: p.params.body(), idempotencyKey: key, attempts: p.attempts}
	_, err = fetch(ctx, p.client.transport, attempt, purchaseShape, func(body *api.PurchaseResult) (err error) {
		purchase, err = newPurchase(body, key)
		return err
	})
	return purchase, attempt, err
}

// certain is the function certain. How many requests are pending says nothing about an attempt that has not come that
// far yet.
func (p *posting) certain(e *APIError) bool {
	return certain(e) && !(p.running && e.Is(ErrTooManyPending))
}

// certain reports whether an answer is certain about all earlier attempts under its key: one that the service gives after
// it has looked for the key, or that every attempt would have got.
func certain(e *APIError) bool {
	return e != nil && e.explained && !e.mayHaveTakenEffect() && (e.Is(ErrInvalid) || e.Is(ErrTooManyPending))
}

// pause waits until the next attempt may be made. It fails when there is no time left for another.
func (p *posting) pause(ctx context.Context, n int, attempt *call) error {
	wait := max(settlePause, backoff(n, retryBase, retryCap), attempt.last.retryAfter)
	if attempt.last.fate() == mayStillRun {
		wait = max(wait, attempt.lasted)
	}
	p.client.transport.log(ctx, slog.LevelWarn, "letagentpay.retry", attempt, attempt.last.StatusCode, attempt.last, slog.Duration("wait", wait))
	if err := sleepWithin(ctx, wait); err != nil {
		return err
	}
	if attempt.last.fate() != mayStillRun {
		return nil
	}
	if ids, _ := p.found(ctx, ""); len(ids) > 0 {
		return nil
	}
	return sleepWithin(ctx, max(settlePause, attempt.lasted))
}

var errNoTime = fmt.Errorf("no time left for another attempt: %w", context.DeadlineExceeded)

// sleepWithin waits for d, or fails at once where ctx ends before.
func sleepWithin(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return errNoTime
	}
	return sleep(ctx, d)
}

// unknown is the outcome of a purchase of which nobody knows whether it was made.
func (p *posting) unknown(ctx context.Context, err error) error {
	p.client.process.postings.addUnknown(p.content(), unknownPosting{p.params.IdempotencyKey, p.first, p.latest()})
	p.client.process.noteUnclear(p.client.identity, p.params.IdempotencyKey)
	p.leave()
	alone := p.alone()
	found, _ := p.found(context.WithoutCancel(ctx), "")
	alone = alone && p.alone()
	for _, id := range found {
		if alone {
			p.client.alertDuplicate(ctx, id, "", p.params.IdempotencyKey)
		}
	}
	return &OutcomeUnknownError{Op: operation.Purchase, IdempotencyKey: p.params.IdempotencyKey, Err: err, Found: found, alone: alone}
}

// duplicates returns the ids of further requests of this purchase than the one that is known, and reports them to the
// log. Where another call of this process makes an identical purchase at the same time, nobody can tell whose they are.
func (p *posting) duplicates(ctx context.Context, known string) []string {
	ids := p.late(context.WithoutCancel(ctx), known)
	for _, id := range ids {
		p.client.process.noteDuplicate(p.client.requestKey(id), counted{known, p.params.IdempotencyKey})
		p.client.alertDuplicate(ctx, id, known, p.params.IdempotencyKey)
	}
	return ids
}

// late is duplicates without a report.
func (p *posting) late(ctx context.Context, known string) []string {
	if !p.alone() {
		return nil
	}
	ids, _ := p.found(ctx, known)
	return ids
}

func (c *Client) alertDuplicate(ctx context.Context, id, of, key string) {
	c.alert(ctx, "letagentpay.duplicate", slog.String("request_id", id), slog.String("of", of), slog.String("idempotency_key", key))
}

const (
	lookPage   = 20              // how many of the newest requests a look reads
	clockSlack = 2 * time.Second // the service's Date header has whole seconds
	leastLate  = time.Minute     // how long after an attempt its request may still come, and longer if the attempt lasted longer
)

// foundNothing reports whether the list was read and shows no request that may be this purchase.
func (p *posting) foundNothing(ctx context.Context) bool {
	ids, ok := p.found(ctx, "")
	return ok && len(ids) == 0
}

// found returns the ids of requests of the same content that came of the attempts, as it seems, but for the one known and
// those that this process knows to be other calls'. ok is false when the list could not be read.
func (p *posting) found(ctx context.Context, known string) (ids []string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, hookLimit)
	defer cancel()
	page, date, err := p.client.datedPage(ctx, pageParams{limit: lookPage, once: true}, true)
	if err != nil {
		return nil, false
	}
	described := contentOf(p.params)
	for i := range page {
		row := &page[i]
		if row.RequestID != known && p.client.standing(row.RequestID) == unknownHere && (row.Status.Approved() || !row.Status.Decided()) &&
			described.mismatch(row.RequestID, contentOfRequest(row)) == nil && p.came(row, date) {
			ids = append(ids, row.RequestID)
		}
	}
	return ids, true
}

// came reports whether a request came into being between the beginning of the first attempt and the time at which the
// service must be done with the last. The service's own stamps are compared, with its clock where that is needed.
func (p *posting) came(row *Request, date time.Time) bool {
	if latest := date.Add(time.Until(p.latest()) + clockSlack); !date.IsZero() && row.CreatedAt.After(latest) {
		return false
	}
	if p.since.taken && !p.since.precedes(row) {
		return false
	}
	if date.IsZero() {
		return p.since.taken
	}
	return row.CreatedAt.After(date.Add(-time.Since(p.first) - clockSlack))
}

// alone reports whether no identical purchase of this process can have made the requests that are found: none is under
// way, and none whose outcome stayed unknown was at the same time.
func (p *posting) alone() bool {
	p.client.process.postings.mu.Lock()
	defer p.client.process.postings.mu.Unlock()
	postings, content := &p.client.process.postings, p.content()
	if postings.underWay[content] > 0 {
		return false
	}
	unknown, _ := postings.unknown.get(content)
	return !slices.ContainsFunc(unknown, func(other unknownPosting) bool {
		return other.key != p.params.IdempotencyKey && !other.first.After(p.latest()) && !other.latest.Before(p.first)
	})
}

// latest is when the service must be done with the last attempt.
func (p *posting) latest() time.Time { return p.ended.Add(max(p.ended.Sub(p.began), leastLate)) }

func (p *posting) content() postingContent {
	return postingContent{p.client.identity, p.params.Amount, trimText(p.params.MerchantName), trimText(p.params.Description)}
}
