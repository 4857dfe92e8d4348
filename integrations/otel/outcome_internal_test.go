package otelletagentpay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/operation"
)

type selfNamed struct{ error }

func (selfNamed) ErrorType() string { return "card_declined" }

func TestErrorTypes(t *testing.T) {
	api := func(status int, detail string) error {
		return &letagentpay.APIError{Op: "confirm", StatusCode: status, Detail: detail}
	}
	timedOut := &letagentpay.APIError{Err: context.DeadlineExceeded}
	for _, c := range []struct {
		want string
		err  error
	}{
		{"unauthorized", api(401, "")},
		{"forbidden", api(403, "")},
		{"not_found", api(404, "")},
		{"conflict", api(409, "")},
		{"conflict", api(400, "Cannot confirm request with status completed")},
		{"invalid", api(422, "")},
		{"invalid", &letagentpay.ParamError{Field: "PurchaseParams.Amount"}},
		{"rate_limited", api(429, "Rate limit exceeded")},
		{"too_many_pending", api(429, "Too many pending requests")},
		{"server", api(502, "")},
		{"no_response", &letagentpay.APIError{Err: io.ErrUnexpectedEOF}},
		{"deadline_exceeded", timedOut},
		{"canceled", &letagentpay.APIError{Err: context.Canceled}},
		{"outcome_unknown", &letagentpay.OutcomeUnknownError{Err: api(502, "")}},
		{
			"unconfirmed",
			errors.Join(io.EOF, &letagentpay.UnconfirmedError{Err: &letagentpay.OutcomeUnknownError{Err: timedOut}}),
		},
		{"mismatch", &letagentpay.MismatchError{}},
		{"rejected", fmt.Errorf("buying: %w", &letagentpay.NotApprovedError{Status: letagentpay.StatusRejected})},
		{"expired", errors.Join(&letagentpay.NotApprovedError{Status: letagentpay.StatusExpired}, io.EOF)},
		{
			"pending",
			errors.Join(&letagentpay.NotApprovedError{
				Status: letagentpay.StatusPending,
				Err:    &letagentpay.WaitTimeoutError{},
			}),
		},
		{
			"server",
			&letagentpay.NotApprovedError{
				Status: letagentpay.StatusPending,
				Err:    &letagentpay.WaitTimeoutError{Err: api(503, "")},
			},
		},
		{"overspend", errors.Join(&letagentpay.OverspendError{})},
		{"settled", fmt.Errorf("%w: purchase r1", letagentpay.ErrSettled)},
		{"already_handled", &letagentpay.AlreadyHandledError{Request: &letagentpay.Request{}, Err: io.EOF}},
		{"*errors.errorString", io.EOF},
		{
			"*fs.PathError",
			errors.Join(fmt.Errorf("a: %w", fmt.Errorf("b: %w, %w",
				errors.Join(nil, &fs.PathError{Err: fs.ErrExist}), io.EOF))),
		},
		{"*fmt.wrapError", fmt.Errorf("no cause: %w", error(nil))},
		{"card_declined", fmt.Errorf("paying: %w", selfNamed{io.EOF})},
	} {
		assert.Equal(t, c.want, errorType(c.err), "%v", c.err)
	}
}

func TestEnds(t *testing.T) {
	confirmError := &letagentpay.UnconfirmedError{RequestID: "r1", Err: io.EOF}
	timeout := &letagentpay.WaitTimeoutError{RequestID: "r1"}
	for name, c := range map[string]struct {
		o    letagentpay.Observation
		want end
	}{
		"a status of the future": {
			letagentpay.Observation{Op: operation.Purchase, Status: "escalated-to-42"}, end{decision: "_OTHER"},
		},
		"a repeated answer": {
			letagentpay.Observation{Op: operation.Purchase, Status: letagentpay.StatusExpired},
			end{decision: "expired"},
		},
		"waited for a completed request": {
			letagentpay.Observation{Op: operation.Wait, Status: letagentpay.StatusCompleted}, end{decision: "approved"},
		},
		"a wait that timed out": {
			letagentpay.Observation{Op: operation.Wait, Err: timeout}, end{decision: "pending"},
		},
		"a wait whose last poll failed": {
			letagentpay.Observation{
				Op:  operation.Wait,
				Err: &letagentpay.WaitTimeoutError{Err: &letagentpay.APIError{StatusCode: 503}},
			},
			end{errorType: "server"},
		},
		"a rejection with a journal that failed": {
			letagentpay.Observation{
				Op:     operation.Guard,
				Status: letagentpay.StatusRejected,
				Err:    errors.Join(&letagentpay.NotApprovedError{Status: letagentpay.StatusRejected}, io.EOF),
			},
			end{decision: "rejected", outcome: "rejected", errorType: "rejected"},
		},
		"not confirmed after the function failed": {
			letagentpay.Observation{
				Op:        operation.Guard,
				RequestID: "r1",
				Status:    letagentpay.StatusFailed,
				Err:       errors.Join(io.EOF, confirmError),
			},
			end{decision: "approved", outcome: "unconfirmed", errorType: "unconfirmed"},
		},
		"another guarded call in the function was not confirmed": {
			letagentpay.Observation{
				Op:        operation.Guard,
				RequestID: "r2",
				Status:    letagentpay.StatusFailed,
				Err:       errors.Join(confirmError),
			},
			end{decision: "approved", outcome: "failed", errorType: "unconfirmed"},
		},
		"an operation of the future": {
			letagentpay.Observation{Op: "authorize_x402", Status: letagentpay.StatusApproved},
			end{decision: "approved"},
		},
	} {
		assert.Equal(t, c.want, endOf(&c.o), name)
	}
}
