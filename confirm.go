package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/operation"
)

// ConfirmParams says how an approved purchase ended.
type ConfirmParams struct {
	// Success: the money was spent. Otherwise the purchase failed and its whole amount returns to the budget.
	Success bool
	// ActualAmount is what was really paid, at most 9,999,999, with at most two decimals; zero: as requested. It may be
	// more or less than the amount requested, and must be zero when Success is false.
	ActualAmount Amount
	// ReceiptURL points to the receipt, at most 2000 characters.
	ReceiptURL string
}

func (p *ConfirmParams) validate() error {
	if !p.ActualAmount.IsZero() {
		if !p.Success {
			return paramError("ConfirmParams.ActualAmount", p.ActualAmount.String(), "want zero when Success is false: a failed purchase returns the whole amount")
		}
		if err := checkAmount("ConfirmParams.ActualAmount", p.ActualAmount); err != nil {
			return err
		}
	}
	return checkText("ConfirmParams.ReceiptURL", p.ReceiptURL, 2000)
}

// status returns the state that the confirmation leads to.
func (p *ConfirmParams) status() Status {
	if p.Success {
		return StatusCompleted
	}
	return StatusFailed
}

// body returns what is sent.
func (p *ConfirmParams) body() *api.ConfirmRequest {
	body := &api.ConfirmRequest{Success: p.Success, ReceiptURL: optional(p.ReceiptURL)}
	if !p.ActualAmount.IsZero() {
		body.ActualAmount = &p.ActualAmount
	}
	return body
}

// Confirmation is the service's answer to a confirmation.
type Confirmation struct {
	RequestID string
	Status    Status // completed or failed
	// ActualAmount is what was confirmed as paid. It is zero for the amount requested, and where it is not known because
	// the service's answer was lost and the request was read instead: a read has the state alone.
	ActualAmount Amount
}

// Confirm reports to the service how an approved purchase ended: completed, for the amount requested or another, or
// failed, which returns the whole amount to the budget. It works once per request: a second confirmation, or one of a
// request that is not approved, is an [*APIError] that matches [ErrConflict].
//
// A confirmation whose answer is lost is never repeated blindly. The request is read after a pause that is at least as
// long as the attempt lasted: if it shows the state confirmed, Confirm succeeds. If it is still approved, a success is
// sent again, and a failure only when the service itself has answered the attempt. Otherwise a failure is only read again,
// because a second failure confirmation beside the first may return the money twice; within a minute of such an attempt,
// Confirm does not send another. Two success confirmations of another amount than requested that the service handles at
// the same time correct its books twice: that can happen when it takes more than twice as long as an attempt was given.
// What stays unclear, or is unclear when ctx ends, is an [*OutcomeUnknownError]. The service itself cannot tell two
// failure confirmations apart that it handles at the same time, so one that it is still handling after that minute remains
// a risk.
func (c *Client) Confirm(ctx context.Context, requestID string, p ConfirmParams) (*Confirmation, error) {
	return c.confirm(ctx, requestID, p, confirmOptions{})
}

type confirmOptions struct {
	mayHaveConfirmed bool          // an earlier confirmation may have taken effect, so the request is read first
	attemptLimit     time.Duration // how long one attempt may take; 0: as long as the client's
	totalLimit       time.Duration // how long all may take together; 0: as long as ctx allows
	beforeSend       func() error  // called before something is sent, unless its error forbids it; nil: nothing
}

func (c *Client) confirm(ctx context.Context, id string, p ConfirmParams, o confirmOptions) (confirmation *Confirmation, err error) {
	if ctx == nil {
		return nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
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
	cf := &confirmer{client: c, requestID: requestID, params: &p, confirmOptions: o, began: began}
	confirmation, err = cf.run(ctx)
	if err == nil || errors.Is(err, ErrConflict) && c.progress(requestID) == startedHere { // its status says from now on that it has run
		c.process.rememberFinished(c.requestKey(requestID))
	}
	return confirmation, err
}

// confirmer is one confirmation on its way.
type confirmer struct {
	client    *Client
	requestID string
	params    *ConfirmParams
	began     time.Time
	confirmOptions
}

var errCoolingDown = errors.New("an earlier failure confirmation may still be handled, and another beside it may return the money twice")

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
		if n == 0 && cf.totalLimit > 0 { // not before: mostly there is but one attempt
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
			cf.client.process.coolDownRefund(key, attempt.lasted)
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

// send sends the confirmation once.
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

// check compares an answer with the confirmation.
func (cf *confirmer) check(body *api.Confirmation) error {
	if canonicalID(body.RequestID) != cf.requestID || Status(body.Status) != cf.params.status() {
		return fmt.Errorf("want a confirmation of request %s as %s, got one of %s as %s", cf.requestID, cf.params.status(),
			quoted(body.RequestID, shortText), quoted(body.Status, shortText))
	}
	return nil
}

// pollRefund reads a request after an unclear failure confirmation until it shows that it has failed, within bounds.
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

// pauseAndRead pauses and reads the request, which may show how an unclear attempt ended. Without a confirmation and an error
// the request is still approved; fullPause is false when ctx left too little time for the pause.
func (cf *confirmer) pauseAndRead(ctx context.Context, n int, attempt *call, failure error) (confirmation *Confirmation, fullPause bool, err error) {
	fullPause = true
	if attempt.unclear {
		var cancelled error
		if fullPause, cancelled = pauseWithinHalf(ctx, n, attempt.lasted); cancelled != nil {
			return nil, false, cf.outcomeUnknown(failure)
		}
	}
	read, readErr := cf.read(ctx)
	switch {
	case readErr != nil:
		return nil, false, cf.outcomeUnknown(fmt.Errorf("%w; reading the request: %w", failure, readErr))
	case read.Status == cf.params.status():
		return &Confirmation{RequestID: cf.requestID, Status: read.Status}, fullPause, nil
	case !attempt.unclear && read.Status.Approved(): // the service contradicts itself: an earlier attempt may still be handled
		return nil, false, cf.outcomeUnknown(failure)
	case !attempt.unclear:
		return nil, false, failure // confirmed, but otherwise, and by somebody else
	}
	return nil, fullPause, nil
}

func (cf *confirmer) read(ctx context.Context) (*Request, error) {
	ctx, cancel := cf.withinAttemptLimit(ctx)
	defer cancel()
	return cf.client.Request(ctx, cf.requestID)
}

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
