package letagentpay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

func TestErrorTextsAndCategories(t *testing.T) {
	cause := &letagentpay.APIError{
		Op:         "confirm",
		StatusCode: 503,
		Detail:     "down",
		Attempts:   3,
	}
	for _, c := range []struct {
		err  error
		text string
		is   []error
	}{
		{
			&letagentpay.ParamError{Field: "PurchaseParams.Amount", Value: "0.00", Reason: "want an amount above zero"},
			`letagentpay: invalid PurchaseParams.Amount "0.00": want an amount above zero`,
			[]error{letagentpay.ErrInvalid},
		},
		{
			&letagentpay.ParamError{Field: "ctx", Reason: "want a context"},
			"letagentpay: invalid ctx: want a context",
			[]error{letagentpay.ErrInvalid},
		},
		{
			cause,
			"letagentpay: confirm: 503 Service Unavailable: down (after 3 attempts)",
			[]error{letagentpay.ErrServer},
		},
		{&letagentpay.APIError{Op: "budget", StatusCode: 299}, "letagentpay: budget: 299", nil},
		{
			&letagentpay.APIError{Op: "budget", Err: io.ErrUnexpectedEOF},
			"letagentpay: budget: no response: unexpected EOF",
			[]error{letagentpay.ErrNoResponse, io.ErrUnexpectedEOF},
		},
		{
			&letagentpay.NotApprovedError{
				Status:    letagentpay.StatusRejected,
				RequestID: "r1",
				Checks: []letagentpay.Check{
					{Rule: "budget", Result: policy.Fail},
					{Rule: "category", Result: policy.Fail, Detail: "blocked"},
				},
			},
			"letagentpay: purchase r1 was rejected: budget; category (blocked)",
			[]error{letagentpay.ErrNotApproved},
		},
		{
			&letagentpay.NotApprovedError{Status: letagentpay.StatusRejected, RequestID: "r1"},
			"letagentpay: purchase r1 was rejected",
			[]error{letagentpay.ErrNotApproved},
		},
		{
			&letagentpay.NotApprovedError{Status: letagentpay.StatusPending, RequestID: "r1"},
			"letagentpay: purchase r1 awaits approval",
			[]error{letagentpay.ErrNotApproved},
		},
		{
			&letagentpay.NotApprovedError{Status: letagentpay.StatusPending, RequestID: "r1", Err: context.Canceled},
			"letagentpay: purchase r1 awaits approval: context canceled",
			[]error{letagentpay.ErrNotApproved, context.Canceled},
		},
		{
			&letagentpay.NotApprovedError{Status: letagentpay.StatusExpired, RequestID: "r1"},
			"letagentpay: purchase r1 expired before it was approved",
			[]error{letagentpay.ErrNotApproved},
		},
		{
			&letagentpay.MismatchError{
				RequestID: "r1",
				Field:     "Amount",
				Requested: "4.00",
				Described: "5.00",
			},
			`letagentpay: purchase r1 is for another amount: requested "4.00", described "5.00"`,
			[]error{letagentpay.ErrConflict},
		},
		{
			&letagentpay.NotApprovedError{RequestID: "r1"},
			"letagentpay: purchase r1 is not approved",
			[]error{letagentpay.ErrNotApproved},
		},
		{
			&letagentpay.AlreadyHandledError{Request: &letagentpay.Request{RequestID: "r1", Status: "completed"}},
			"letagentpay: purchase r1 belongs to another call (status completed)",
			nil,
		},
		{
			&letagentpay.AlreadyHandledError{MayHaveRun: true},
			"letagentpay: a purchase belongs to another call, which may have run",
			nil,
		},
		{
			&letagentpay.AlreadyHandledError{
				Request:    &letagentpay.Request{RequestID: "r1", Status: "approved"},
				MayHaveRun: true,
				Reason:     "another call runs it now",
				Err:        errShop,
			},
			"letagentpay: purchase r1 was not run by this call: another call runs it now (status approved): " +
				errShop.Error(),
			[]error{errShop},
		},
		{
			&letagentpay.WaitTimeoutError{RequestID: "r1", Last: &letagentpay.Request{Status: "pending"}, Err: cause},
			"letagentpay: request r1 was not decided in time, last seen pending; last poll: " + cause.Error(),
			[]error{context.DeadlineExceeded, letagentpay.ErrServer},
		},
		{
			&letagentpay.UnconfirmedError{
				RequestID: "r1",
				Params:    letagentpay.ConfirmParams{Success: true},
				Err:       cause,
			},
			"letagentpay: purchase r1 completed but could not be confirmed: " + cause.Error(),
			[]error{letagentpay.ErrServer},
		},
		{
			&letagentpay.UnconfirmedError{RequestID: "r1", Err: cause},
			"letagentpay: purchase r1 failed but could not be confirmed: " + cause.Error(),
			[]error{letagentpay.ErrServer},
		},
		{
			&letagentpay.OutcomeUnknownError{Op: "purchase", IdempotencyKey: "k", Err: cause},
			`letagentpay: purchase: outcome unknown, repeat with idempotency key "k": ` + cause.Error(),
			[]error{letagentpay.ErrServer},
		},
		{
			&letagentpay.OutcomeUnknownError{Op: "confirm", RequestID: "r1", Err: cause},
			"letagentpay: confirm: outcome unknown, request r1: " + cause.Error(),
			[]error{letagentpay.ErrServer},
		},
		{
			&letagentpay.OverspendError{
				RequestID: "r1",
				Approved:  letagentpay.MustAmount("5"),
				Actual:    letagentpay.MustAmount("6"),
			},
			"letagentpay: purchase r1: spent 6.00, approved 5.00",
			nil,
		},
	} {
		assert.EqualError(t, c.err, c.text)
		for _, category := range []error{
			letagentpay.ErrInvalid, letagentpay.ErrServer, letagentpay.ErrNoResponse,
			letagentpay.ErrNotApproved, letagentpay.ErrConflict,
			context.DeadlineExceeded, context.Canceled, io.ErrUnexpectedEOF,
		} {
			want := false
			for _, is := range c.is {
				want = want || is == category
			}
			assert.Equal(t, want, errors.Is(c.err, category), "%v is %v", c.err, category)
		}
	}
	_, err := letagentpay.ParseAmount("1e3")
	require.ErrorIs(t, err, money.ErrSyntax, "the cause stays reachable")
}

// leaky is a transport whose errors reveal the request's headers.
type leaky struct{}

var errNoSpace = errors.New("disk full")

func (leaky) RoundTrip(r *http.Request) (*http.Response, error) {
	full := &os.PathError{Op: "write", Path: "/log", Err: errNoSpace}
	cannot := fmt.Errorf("cannot write %s: %w", r.Header.Get("Authorization"), full)
	return nil, &net.OpError{Op: "write", Net: "tcp", Err: cannot}
}

func TestErrorsOfLeakyTransportsAreRedacted(t *testing.T) {
	client := newClient(t, leaky{}, letagentpay.WithMaxRetries(0))
	_, err := client.Budget(t.Context())
	require.ErrorIs(t, err, letagentpay.ErrNoResponse)
	assert.NotContains(t, err.Error(), "secret-of")
	assert.Contains(t, err.Error(), "cannot write Bearer [token]")
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", cause, cause, cause), "secret-of")
	}
	var leak *net.OpError
	assert.NotErrorAs(t, err, &leak, "a cause that contains the token is not exposed")
	var path *os.PathError
	require.ErrorAs(t, err, &path, "a cause below it without the token is exposed")
	assert.Equal(t, "/log", path.Path)
	require.ErrorIs(t, err, errNoSpace)
	var network net.Error
	require.ErrorAs(t, err, &network, "the kind of the failure stays known")
	assert.NotContains(t, network.Error(), "secret-of")
	assert.False(t, network.Timeout())
}

func TestErrorsPrintAtTheirZeroValue(t *testing.T) {
	var typedNil *net.ParseError // whose Error method panics
	for _, err := range []error{
		&letagentpay.ParamError{},
		&letagentpay.APIError{},
		&letagentpay.NotApprovedError{},
		&letagentpay.NotApprovedError{Status: letagentpay.StatusRejected},
		&letagentpay.NotApprovedError{Status: letagentpay.StatusPending},
		&letagentpay.NotApprovedError{Status: letagentpay.StatusExpired},
		&letagentpay.WaitTimeoutError{},
		&letagentpay.UnconfirmedError{},
		&letagentpay.OutcomeUnknownError{},
		&letagentpay.AlreadyHandledError{},
		&letagentpay.MismatchError{},
		&letagentpay.OverspendError{},
		&letagentpay.JournalError{},
		&letagentpay.DuplicateError{},
		&letagentpay.UnconfirmedError{Err: typedNil},
		&letagentpay.AlreadyHandledError{Err: typedNil},
		&letagentpay.APIError{Err: typedNil},
	} {
		assert.NotPanics(t, func() {
			assert.Contains(t, err.Error(), "letagentpay: ")
			assert.NotContains(t, err.Error(), "%!")
			assert.NotErrorIs(t, err, io.EOF)
		}, "%T", err)
	}
	assert.EqualError(t, &letagentpay.UnconfirmedError{}, "letagentpay: a purchase failed but could not be confirmed")
	assert.EqualError(t, &letagentpay.AlreadyHandledError{}, "letagentpay: a purchase belongs to another call")
	assert.Empty(t, letagentpay.FieldError{}.String())
}

func TestUnconfirmedPanicIsLogged(t *testing.T) {
	var logged bytes.Buffer
	s := newService(t).on("POST", "/requests", answer(201, autoApproved)).
		on("POST", "/requests/r1/confirm", answer(403, `{"detail":"Agent is paused"}`))
	var runs atomic.Int64
	client := s.client(letagentpay.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	panics := func(context.Context) (string, error) { panic("out of cheese") }
	guarded := guardGroceries(client, &runs, panics)
	assert.Panics(t, func() { _, _ = guarded(t.Context(), groceries()) })
	assert.Contains(t, logged.String(), "level=WARN msg=letagentpay.unconfirmed request_id=r1")
}

func TestAttemptTimeoutsAreTimeouts(t *testing.T) {
	s := newService(t).on("GET", "/budget", hangs)
	client, err := letagentpay.New(
		letagentpay.WithToken(testToken),
		letagentpay.WithBaseURL(s.base),
		letagentpay.WithMaxRetries(0),
		letagentpay.WithHTTPClient(&http.Client{Transport: s.mock, Timeout: time.Millisecond}),
	)
	require.NoError(t, err)
	_, err = client.Budget(t.Context())
	var network net.Error
	require.ErrorAs(t, err, &network)
	assert.True(t, network.Timeout())
}
