package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
)

// Confirm tells the service how an approved purchase ended: completed, for the amount requested or another, or failed,
// which returns the whole amount to the budget. It works once per request: a second confirmation, or one of a request
// that is not approved, is an [*APIError] that matches [ErrConflict].
//
// A confirmation whose answer is lost is never repeated blindly. The request is read after a pause: if it shows the
// state asked for, Confirm succeeds; if it is still approved, the confirmation is sent again. What stays unclear, or
// is when ctx ends, is an [*OutcomeUnknownError].
func (c *Client) Confirm(ctx context.Context, requestID string, p ConfirmParams) (*Confirmation, error) {
	return c.confirm(ctx, requestID, p, false)
}

// confirm is Confirm; doubt says that an earlier confirmation by the same caller may have taken effect, so that a
// refusal because of the request's state is settled by reading it.
func (c *Client) confirm(ctx context.Context, requestID string, p ConfirmParams, doubt bool) (confirmation *Confirmation, err error) {
	if ctx == nil {
		return nil, paramError("ctx", "", "want a context; use context.Background() where there is none")
	}
	if err := checkRequestID(requestID); err != nil {
		return nil, err
	}
	if err := p.validate(); err != nil {
		return nil, err
	}
	ctx, end := c.begin(ctx, OpConfirm)
	defer func() {
		o := Observation{RequestID: requestID, Amount: p.ActualAmount, Err: err}
		if confirmation != nil {
			o.Status = confirmation.Status
			c.started.drop(requestID) // from now on its status says that it has run
		}
		end(o)
	}()
	name := "confirm " + requestID
	held, err := c.lock(ctx, "confirm", name)
	if err != nil {
		return nil, err
	}
	defer func() { c.unlock(held, name, err) }()

	unknown := func(err error) error {
		return &OutcomeUnknownError{Op: "confirm", RequestID: requestID, Err: err}
	}
	if doubt { // a look first: sending is the way to refund twice
		read, err := c.Request(ctx, requestID)
		switch {
		case err != nil:
			return nil, unknown(err)
		case read.Status == p.status():
			return &Confirmation{RequestID: requestID, Status: read.Status}, nil
		}
	}
	for n := 0; ; n++ {
		confirmation, unclear, err := c.sendConfirm(ctx, requestID, p)
		if err == nil {
			return confirmation, nil
		}
		doubt = doubt || unclear
		if !unclear && !(doubt && errors.Is(err, ErrConflict)) {
			return nil, err
		}
		rested := true
		if unclear {
			var cancelled error
			if rested, cancelled = rest(ctx, n); cancelled != nil {
				return nil, unknown(err)
			}
		}
		read, readErr := c.Request(ctx, requestID)
		switch {
		case readErr != nil:
			return nil, unknown(fmt.Errorf("%w; reading the request: %w", err, readErr))
		case read.Status == p.status():
			return &Confirmation{RequestID: requestID, Status: read.Status}, nil
		case !unclear:
			return nil, err // confirmed, but otherwise, and by somebody else
		case !rested || n >= c.transport.maxRetries:
			return nil, unknown(fmt.Errorf("%w; the request was %s a moment later", err, read.Status))
		}
	}
}

// sendConfirm sends one confirmation. unclear: it may have taken effect although the answer is an error.
func (c *Client) sendConfirm(ctx context.Context, requestID string, p ConfirmParams) (confirmation *Confirmation, unclear bool, err error) {
	body := api.ConfirmRequest{Success: p.Success, ReceiptURL: optional(p.ReceiptURL)}
	if !p.ActualAmount.IsZero() {
		body.ActualAmount = &p.ActualAmount
	}
	request, err := api.NewConfirmRequestRequest(placeholder, requestID, body)
	if err != nil {
		return nil, false, err
	}
	attempt := call{op: "confirm", onlyOnce: true, maxRetries: -1, decode: func(data []byte) error {
		var body api.Confirmation
		if err := decodeObject(data, &body, confirmationShape); err != nil {
			return err
		}
		if !strings.EqualFold(body.RequestID, requestID) || Status(body.Status) != p.status() {
			return fmt.Errorf("want a confirmation of request %s as %s, got one of %s as %s", requestID, p.status(),
				quoted(body.RequestID, shortText), quoted(body.Status, shortText))
		}
		confirmation = &Confirmation{RequestID: body.RequestID, Status: Status(body.Status)}
		if body.ActualAmount != nil {
			confirmation.ActualAmount = body.ActualAmount.Amount
		}
		return nil
	}}
	if err := c.transport.do(ctx, request, &attempt); err != nil {
		return nil, attempt.unclear, err
	}
	return confirmation, false, nil
}

// rest pauses until a write with an unclear outcome is surely over, and longer the more often that has happened. Where
// ctx leaves less time, it takes half of it, so that the other half is there for a look, and says that it is not sure.
func rest(ctx context.Context, n int) (sure bool, err error) {
	wait, sure := max(settlePause, backoff(n, retryBase, retryCap)), true
	if deadline, ok := ctx.Deadline(); ok {
		if half := time.Until(deadline) / 2; half < wait {
			wait, sure = half, false
		}
	}
	return sure, sleep(ctx, wait)
}

// sleep waits for d or until ctx ends, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// status returns the state that the confirmation leads to.
func (p *ConfirmParams) status() Status {
	if p.Success {
		return StatusCompleted
	}
	return StatusFailed
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
