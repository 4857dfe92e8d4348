package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
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
	attempts int
	unclear  bool // an attempt may have made a request without an answer
}

// post makes a purchase under the key of p. While it lasts, no other client of the process posts under the key. fresh says
// that the key is a random one, so that the answer must be about this purchase. answered is called with the answer before
// the next post can begin.
func (c *Client) post(ctx context.Context, p *PurchaseParams, since baseline, fresh bool, answered func(*Purchase)) (purchase *Purchase, err error) {
	key := lockKey{c.identity, "key", p.IdempotencyKey}
	held, err := c.lock(ctx, "purchase", key, 0)
	if err != nil {
		return nil, err
	}
	posting := &posting{client: c, params: p, since: since}
	defer func() { c.unlock(held, key, posting.began, err) }()
	ctx, end := c.begin(ctx, OpPurchase)
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
	if err := purchase.answers(p); fresh && err != nil {
		return nil, &OutcomeUnknownError{Op: "purchase", IdempotencyKey: p.IdempotencyKey, RequestID: purchase.RequestID, Err: err}
	}
	if original := normalCategory(purchase.OriginalCategory); original != "" {
		c.process.learnAlias(aliasKey{c.identity, original}, purchase.Category)
	}
	answered(purchase)
	if posting.unclear {
		purchase.posting, purchase.Duplicates = posting, posting.duplicates(ctx, purchase.RequestID)
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
		if err == nil {
			return purchase, nil
		}
		p.attempts = attempt.attempts
		p.unclear = p.unclear || attempt.unclear
		switch {
		case !p.unclear || certain(attempt.last) && len(p.found(ctx, "")) == 0:
			return nil, err
		case !attempt.unclear || attempt.attempts > attempt.maxRetries || !attempt.last.worthRepeating():
			return nil, p.unknown(ctx, err)
		}
		if pauseErr := p.pause(ctx, n, attempt); pauseErr != nil {
			return nil, p.unknown(ctx, attempt.failure(attempt.last.because(pauseErr)))
		}
	}
}

// attempt posts once, and again only after what surely never arrived and when the service says that it is too busy.
func (p *posting) attempt(ctx context.Context) (purchase *Purchase, attempt *call, err error) {
	asked := p.params
	attempt = &call{
		op: "purchase", idempotencyKey: asked.IdempotencyKey, onlyOnce: true, maxRetries: -1, attempts: p.attempts,
		decode: func(data []byte) (err error) {
			purchase, err = decodePurchase(data, asked.IdempotencyKey)
			return err
		},
	}
	currency := strings.ToUpper(asked.Currency)
	request, err := api.NewCreateRequestRequest(placeholder, &api.CreateRequestParams{IdempotencyKey: &asked.IdempotencyKey}, api.PurchaseRequest{
		Amount: asked.Amount, Category: asked.Category, Currency: optional(currency), MerchantName: optional(asked.MerchantName),
		Description: optional(asked.Description), AgentComment: optional(asked.AgentComment),
	})
	if err != nil {
		return nil, attempt, err
	}
	err = p.client.transport.do(ctx, request, attempt)
	return purchase, attempt, err
}

// certain reports whether an answer is certain about all earlier attempts under its key: one that the service gives after
// it has looked for the key, or that every attempt would have got.
func certain(e *APIError) bool {
	return e != nil && e.explained && !e.mayHaveTakenEffect() && (e.Is(ErrInvalid) || e.Is(ErrTooManyPending))
}

// worthRepeating reports whether another attempt may fare better.
func (e *APIError) worthRepeating() bool {
	return e.StatusCode != http.StatusNotImplemented && e.StatusCode/100 != 3 && !errors.Is(e, errTooLarge)
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
	if attempt.last.fate() != mayStillRun || len(p.found(ctx, "")) > 0 {
		return nil
	}
	return sleepWithin(ctx, max(settlePause, attempt.lasted))
}

// sleepWithin waits for d, or fails at once where ctx ends before.
func sleepWithin(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return fmt.Errorf("no time left for another attempt: %w", context.DeadlineExceeded)
	}
	return sleep(ctx, d)
}

// unknown is the outcome of a purchase of which nobody knows whether it was made.
func (p *posting) unknown(ctx context.Context, err error) error {
	return &OutcomeUnknownError{Op: "purchase", IdempotencyKey: p.params.IdempotencyKey, Err: err, Found: p.duplicates(ctx, "")}
}

// duplicates returns the ids of further requests of this purchase than the one that is known, and reports them to the
// log.
func (p *posting) duplicates(ctx context.Context, known string) []string {
	ids := p.found(context.WithoutCancel(ctx), known)
	for _, id := range ids {
		p.client.alertDuplicate(ctx, id, known, p.params.IdempotencyKey)
	}
	return ids
}

func (c *Client) alertDuplicate(ctx context.Context, id, of, key string) {
	c.alert(ctx, "letagentpay.duplicate", slog.String("request_id", id), slog.String("of", of), slog.String("idempotency_key", key))
}

const (
	lookPage   = 20              // how many of the newest requests a look reads
	clockSlack = 2 * time.Second // the service's Date header has whole seconds
)

// found returns the ids of requests of the same content that came after the first attempt, but for the one known and
// those that this process knows to be other calls'. A look that fails finds nothing.
func (p *posting) found(ctx context.Context, known string) []string {
	ctx, cancel := context.WithTimeout(ctx, hookLimit)
	defer cancel()
	var date time.Time
	page, err := p.client.datedPage(ctx, "", lookPage, 0, 0, &date)
	if err != nil {
		return nil
	}
	described := contentOf(p.params)
	var ids []string
	for i := range page {
		row := &page[i]
		standing, _ := p.client.process.of(p.client.requestKey(row.RequestID))
		if row.RequestID != known && standing == unknownHere && row.Status != StatusRejected &&
			described.mismatch(row.RequestID, contentOfRequest(row)) == nil && p.came(row, date) {
			ids = append(ids, row.RequestID)
		}
	}
	return ids
}

// came reports whether a request came into being after the first attempt began. All that is compared are the service's
// own stamps.
func (p *posting) came(row *Request, date time.Time) bool {
	if p.since.taken {
		return p.since.precedes(row)
	}
	return !date.IsZero() && row.CreatedAt.After(date.Add(-time.Since(p.first)-clockSlack))
}

// answers compares an answer with the question. A rejection need not agree: nothing runs, and beyond a velocity limit the
// service repeats the first one of the minute.
func (p *Purchase) answers(asked *PurchaseParams) error {
	question, contradiction := contentOf(asked), ""
	switch {
	case p.Status == StatusRejected:
		return nil
	case question.currency != "" && question.currency != strings.ToUpper(p.Currency):
		contradiction = "it is in another currency"
	case question.category != normalCategory(p.Category) && question.category != normalCategory(p.OriginalCategory):
		contradiction = "it is in another category"
	default:
		return nil
	}
	return &APIError{
		Op: "purchase", IdempotencyKey: p.IdempotencyKey, StatusCode: http.StatusCreated, malformed: true,
		Err: errors.New("the answer contradicts the question: " + contradiction),
	}
}
