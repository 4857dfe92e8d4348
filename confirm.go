package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/operation"
)

// ConfirmParams is the outcome of an approved purchase. The zero value refunds the purchase.
type ConfirmParams struct {
	// Success reports that the money was spent. Otherwise the purchase failed, and its whole amount is refunded.
	Success bool
	// ActualAmount is the amount really paid, more or less than requested: at most 9,999,999, with at most two
	// decimals. Zero means the amount requested. It must be zero if Success is false.
	ActualAmount Amount
	// ReceiptURL is the address of the receipt, at most 2000 characters.
	ReceiptURL string
}

func (p *ConfirmParams) validate() error {
	if !p.ActualAmount.IsZero() {
		if !p.Success {
			reason := "want zero when Success is false: a failed purchase is refunded in full"
			return paramError("ConfirmParams.ActualAmount", p.ActualAmount.String(), reason)
		}
		if err := checkAmount("ConfirmParams.ActualAmount", p.ActualAmount); err != nil {
			return err
		}
	}
	return checkText("ConfirmParams.ReceiptURL", p.ReceiptURL, 2000)
}

// status returns the status after the confirmation.
func (p *ConfirmParams) status() Status {
	if p.Success {
		return StatusCompleted
	}
	return StatusFailed
}

// body returns the body of the request.
func (p *ConfirmParams) body() *api.ConfirmRequest {
	body := &api.ConfirmRequest{Success: p.Success, ReceiptURL: optional(p.ReceiptURL)}
	if !p.ActualAmount.IsZero() {
		body.ActualAmount = &p.ActualAmount
	}
	return body
}

// Confirmation is the service's response to a confirmation.
type Confirmation struct {
	RequestID string
	Status    Status // StatusCompleted or StatusFailed
	// ActualAmount is the amount confirmed as paid. Zero means the amount requested, or unknown because the response
	// was lost and the request was read instead: a read returns only the status.
	ActualAmount Amount
}

// Confirm reports the outcome of an approved purchase: completed, for the amount requested or another, or failed, which
// refunds the whole amount. It works once per request: a second confirmation, or one of a request that is not approved,
// is an [*APIError] that matches [ErrConflict].
//
// The service refunds twice if it handles two failure confirmations of one request at the same time. Confirm therefore
// sends no other for at least a minute after one that the service may still be handling. If the service still handles
// it after that, the risk remains. Likewise, two success confirmations handled at the same time, for another amount
// than requested, correct the service's books twice. That can happen if the service takes more than twice as long as an
// attempt lasted.
//
// A confirmation whose response is lost is never retried blindly. Confirm pauses for at least as long as the attempt
// lasted, and reads the request. If the request has the status confirmed, Confirm succeeds. If it is still approved, a
// success is sent again. A failure is sent again only if the service itself has answered the attempt; otherwise the
// request is only read again. If the outcome is still unclear after all retries or when ctx ends, the error is an
// [*OutcomeUnknownError].
func (c *Client) Confirm(ctx context.Context, requestID string, p ConfirmParams) (*Confirmation, error) {
	return c.confirm(ctx, requestID, p, confirmOptions{})
}

type confirmOptions struct {
	mayHaveConfirmed bool          // an earlier confirmation may have taken effect, so the request is read first
	attemptLimit     time.Duration // the maximum duration of one attempt; 0: the client's
	totalLimit       time.Duration // the maximum duration of all attempts together; 0: until ctx ends
	beforeSend       func() error  // called before the first attempt, which an error prevents; may be nil
}

// confirm is Confirm with options. Its deferred functions release the lock, with a cooldown after an unknown outcome,
// and then report to the observers.
func (c *Client) confirm(
	ctx context.Context, id string, p ConfirmParams, o confirmOptions,
) (confirmation *Confirmation, err error) {
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	requestID, err := requestIDOf(id)
	if err != nil {
		return nil, err
	}
	if err := p.validate(); err != nil {
		return nil, err
	}
	ctx, end := c.observe(ctx, operation.Confirm)
	defer func() {
		o := Observation{RequestID: requestID, Amount: p.ActualAmount, Err: err}
		if confirmation != nil {
			o.Status = confirmation.Status
		}
		end(o)
	}()
	key, began := lockKey{c.service, confirmLock, requestID}, time.Now()
	held, err := c.lock(ctx, operation.Confirm, key, o.totalLimit)
	if err != nil {
		return nil, err
	}
	defer func() { c.unlock(held, key, began, err) }()
	cf := &confirmer{
		client:         c,
		requestID:      requestID,
		params:         &p,
		began:          began,
		confirmOptions: o,
	}
	confirmation, err = cf.run(ctx)
	// After a success or a conflict, the status of the request shows from now on that it has run.
	if err == nil || errors.Is(err, ErrConflict) && c.progress(requestID) == startedHere {
		c.process.rememberFinished(c.requestKey(requestID))
	}
	return confirmation, err
}

// confirmer makes one confirmation.
type confirmer struct {
	client    *Client
	requestID string
	params    *ConfirmParams
	began     time.Time
	confirmOptions
}

var errCoolingDown = errors.New("the service may still be handling an earlier failure confirmation, " +
	"and another one could refund twice")

// run confirms: it reads the request first if an earlier confirmation may have taken effect, and after each unclear
// attempt.
func (cf *confirmer) run(ctx context.Context) (*Confirmation, error) {
	key := cf.client.requestKey(cf.requestID)
	refund := !cf.params.Success
	onlyRead := refund && cf.client.process.coolingDown(key)
	if cf.mayHaveConfirmed || onlyRead {
		read, err := cf.read(ctx)
		switch {
		case err != nil:
			return nil, cf.outcomeUnknown(err)
		case read.Status == cf.params.status():
			return &Confirmation{RequestID: cf.requestID, Status: read.Status}, nil
		case onlyRead && read.Status.Approved():
			return nil, cf.outcomeUnknown(errCoolingDown)
		}
	}
	if cf.beforeSend != nil {
		if err := cf.beforeSend(); err != nil {
			return nil, err
		}
	}
	for n, unclear := 0, false; ; n++ {
		confirmation, attempt, err := cf.send(ctx)
		if err == nil {
			return confirmation, nil
		}
		if n == 0 && cf.totalLimit > 0 { // only now: usually the first attempt succeeds
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, cf.began.Add(cf.totalLimit))
			defer cancel()
		}
		switch {
		case attempt.unclear, cf.mayHaveConfirmed && errors.Is(err, ErrConflict):
		case unclear: // an earlier attempt may have taken effect
			return nil, cf.outcomeUnknown(err)
		default:
			return nil, err
		}
		unclear, cf.mayHaveConfirmed = unclear || attempt.unclear, true
		if attempt.unclear && refund && attempt.last.fate() == mayStillRun {
			cf.client.process.coolDownRefund(key, attempt.lastDuration)
			return cf.pollRefund(ctx, attempt, err)
		}
		confirmation, fullPause, err := cf.pauseAndRead(ctx, n, attempt, err)
		if confirmation != nil || err != nil {
			return confirmation, err
		}
		if !fullPause || n >= cf.client.transport.maxRetries {
			return nil, cf.outcomeUnknown(fmt.Errorf("%w; the request was still approved a moment later", attempt.last))
		}
	}
}

// send makes one attempt.
func (cf *confirmer) send(ctx context.Context) (confirmation *Confirmation, attempt *call, err error) {
	ctx, cancel := cf.withinAttemptLimit(ctx)
	defer cancel()
	attempt = &call{op: operation.Confirm, requestID: cf.requestID, body: cf.params.body()}
	body, err := fetch(ctx, cf.client.transport, attempt, confirmationShape, cf.check)
	if err != nil {
		return nil, attempt, err
	}
	confirmation = &Confirmation{RequestID: cf.requestID, Status: Status(body.Status)}
	if body.ActualAmount != nil {
		confirmation.ActualAmount = body.ActualAmount.Amount
	}
	return confirmation, attempt, nil
}

// check returns an error if a response is about another request or another outcome.
func (cf *confirmer) check(body *api.Confirmation) error {
	if canonicalID(body.RequestID) != cf.requestID || Status(body.Status) != cf.params.status() {
		return fmt.Errorf("want a confirmation of request %s as %s, got one of %s as %s",
			cf.requestID, cf.params.status(), quoted(body.RequestID, shortText), quoted(body.Status, shortText))
	}
	return nil
}

// pollRefund polls the request after an unclear failure confirmation until it has failed, at most as often as the
// client retries. It never sends another.
func (cf *confirmer) pollRefund(ctx context.Context, attempt *call, failure error) (*Confirmation, error) {
	for n := 0; ; n++ {
		confirmation, fullPause, err := cf.pauseAndRead(ctx, n, attempt, failure)
		if confirmation != nil || err != nil {
			return confirmation, err
		}
		if !fullPause || n >= cf.client.transport.maxRetries {
			return nil, cf.outcomeUnknown(fmt.Errorf("%w; the request was still approved a moment later", failure))
		}
	}
}

// pauseAndRead pauses and reads the request, which may show the outcome of an unclear attempt. If it returns neither a
// confirmation nor an error, the request is still approved. fullPause is false if ctx leaves too little time for the
// pause.
func (cf *confirmer) pauseAndRead(
	ctx context.Context, n int, attempt *call, failure error,
) (confirmation *Confirmation, fullPause bool, err error) {
	fullPause = true
	if attempt.unclear {
		var cancelled error
		if fullPause, cancelled = pauseWithinHalf(ctx, n, attempt.lastDuration); cancelled != nil {
			return nil, false, cf.outcomeUnknown(failure)
		}
	}
	read, readErr := cf.read(ctx)
	switch {
	case readErr != nil:
		return nil, false, cf.outcomeUnknown(fmt.Errorf("%w; reading the request: %w", failure, readErr))
	case read.Status == cf.params.status():
		return &Confirmation{RequestID: cf.requestID, Status: read.Status}, fullPause, nil
	case !attempt.unclear && read.Status.Approved():
		// The service contradicts itself: it may still be handling an earlier attempt.
		return nil, false, cf.outcomeUnknown(failure)
	case !attempt.unclear:
		return nil, false, failure // somebody else confirmed it with another outcome
	}
	return nil, fullPause, nil
}

func (cf *confirmer) read(ctx context.Context) (*Request, error) {
	ctx, cancel := cf.withinAttemptLimit(ctx)
	defer cancel()
	return cf.client.Request(ctx, cf.requestID)
}

// withinAttemptLimit limits ctx to the duration of one attempt.
func (cf *confirmer) withinAttemptLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	if cf.attemptLimit == 0 {
		return ctx, func() {}
	}
	limit := cf.attemptLimit
	if cf.totalLimit > 0 {
		limit = min(limit, time.Until(cf.began.Add(cf.totalLimit)))
	}
	return context.WithTimeout(ctx, limit)
}

func (cf *confirmer) outcomeUnknown(err error) error {
	return &OutcomeUnknownError{Op: operation.Confirm, RequestID: cf.requestID, Err: err}
}
