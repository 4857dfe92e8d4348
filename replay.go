package letagentpay

import (
	"context"
	"errors"
	"fmt"
)

// replay gives the result of an earlier run back, and reports it to the service if that is still to be done.
func replay[Out any](ctx context.Context, c *Client, g *guardConfig, earlier *JournalEntry) (out Out, err error) {
	err = c.confirmEarlier(ctx, g, earlier)
	decodeErr := errors.New("its result could not be kept")
	switch {
	case earlier.Function != "" && earlier.Function != g.function:
		decodeErr = fmt.Errorf("its result is of another function, %s", earlier.Function)
	case earlier.Result != nil:
		out, decodeErr = contained(hookLimit, func() (decoded Out, err error) {
			err = g.codec.Decode(earlier.Result, &decoded)
			return decoded, err
		})
	}
	if earlier.Error == "" && decodeErr == nil {
		return out, err
	}
	handled := earlier.handled()
	if handled.Err == nil {
		handled.Err = decodeErr
	}
	return out, withCleanup(handled, err)
}

// confirmEarlier reports an earlier run to the service if that is still to be done.
func (c *Client) confirmEarlier(ctx context.Context, g *guardConfig, earlier *JournalEntry) error {
	if earlier.State != JournalExecuted {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	return c.confirmRecorded(ctx, &record{journal: g.journal, process: c.process, entry: *earlier})
}

// handled is the error of a call that an earlier one has made needless.
func (e *JournalEntry) handled() *AlreadyHandledError {
	handled := &AlreadyHandledError{
		Request:        &Request{RequestID: e.RequestID, Status: e.Confirm.status(), Amount: e.Purchase.Amount, Category: e.Category},
		IdempotencyKey: e.Purchase.IdempotencyKey,
	}
	if e.Error != "" {
		handled.Err = errors.New(e.Error)
	}
	return handled
}
