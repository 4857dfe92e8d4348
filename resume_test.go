package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// approvedByOwner makes a purchase that the owner approves. It returns its id.
func approvedByOwner(t *testing.T, server *letagentpaytest.Server, p letagentpay.PurchaseParams) string {
	t.Helper()
	_, err := server.Client().Authorize(t.Context(), p, letagentpay.OnPendingFail())
	pending, ok := notApproved(err, letagentpay.StatusPending)
	require.True(t, ok, "got %v", err)
	require.NoError(t, server.Approve(pending.RequestID))
	return pending.RequestID
}

func TestResumedContextIsUsedUpForOtherPurchases(t *testing.T) {
	server := serve(t)
	var runs atomic.Int64
	guarded := guardGroceries(server.Client(), &runs, succeed)
	ctx := letagentpay.ResumeApproval(t.Context(), approvedByOwner(t, server, price("80")))

	_, err := guarded(ctx, price("30"))
	var mismatch *letagentpay.MismatchError
	require.ErrorAs(t, err, &mismatch, "not before a call has succeeded")
	_, err = guarded(ctx, price("80"))
	require.NoError(t, err)
	_, err = guarded(ctx, price("30"))
	require.NoError(t, err, "another purchase makes a request of its own")
	_, err = guarded(ctx, price("80"))
	var handled *letagentpay.AlreadyHandledError
	require.ErrorAs(t, err, &handled, "the same purchase is not bought again")
	assert.Equal(t, letagentpay.StatusCompleted, handled.Request.Status)
	assert.EqualValues(t, 2, runs.Load())
	books(t, server, "110.00", "0.00")
}

func TestResumedContextIsNotUsedUpByAnError(t *testing.T) {
	server := serve(t)
	var runs atomic.Int64
	guarded := guardGroceries(server.Client(letagentpay.WithMaxRetries(0)), &runs, succeed)
	ctx := letagentpay.ResumeApproval(t.Context(), approvedByOwner(t, server, price("80")))
	server.Fail(letagentpaytest.Fault{Op: operation.Request, Status: 503})
	_, err := guarded(ctx, price("80"))
	require.ErrorIs(t, err, letagentpay.ErrServer)
	_, err = guarded(ctx, price("80"))
	require.NoError(t, err)
	assert.EqualValues(t, 1, runs.Load())
	assert.Len(t, server.Requests(), 1, "nothing else was requested")
}

func TestResumedContextIsUsedUpByAFailedFunction(t *testing.T) {
	server := serve(t)
	var runs atomic.Int64
	guarded := guardGroceries(server.Client(), &runs, func(context.Context) (string, error) { return "", errShop })
	id := approvedByOwner(t, server, price("80"))
	ctx := letagentpay.ResumeApproval(t.Context(), id)
	_, err := guarded(ctx, price("80"))
	require.ErrorIs(t, err, errShop)
	server.CheckStatus(t, id, letagentpay.StatusFailed)
	_, err = guarded(ctx, price("80"))
	var handled *letagentpay.AlreadyHandledError
	require.ErrorAs(t, err, &handled, "the same purchase is not requested again")
	assert.Len(t, server.Requests(), 1)
	_, err = guarded(ctx, price("30"))
	require.ErrorIs(t, err, errShop, "another purchase runs")
	assert.EqualValues(t, 2, runs.Load())
}

func TestFirstSettleDecidesForTheResumption(t *testing.T) {
	for name, outcome := range map[string]error{"completed": nil, "failed": errShop} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				client := server.Client()
				ctx := letagentpay.ResumeApproval(t.Context(), approvedByOwner(t, server, price("80")))
				approval, err := client.Authorize(ctx, price("80"))
				require.NoError(t, err)
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
				require.Error(t, approval.Settle(ctx, outcome))
				_, err = client.Authorize(ctx, price("30"))
				var handled *letagentpay.AlreadyHandledError
				require.ErrorAs(t, err, &handled, "nothing is confirmed yet")
				require.NoError(t, approval.Settle(ctx, errors.New("ignored")))
				server.CheckStatus(t, approval.RequestID(), letagentpay.Status(name))
				_, err = client.Authorize(ctx, price("30"))
				require.NoError(t, err)
			})
		})
	}
}

// lookup calls do at the nth lookup of the id to resume: it stands for another goroutine that runs at that moment.
type lookup struct {
	context.Context
	n  *int
	at int
	do func()
}

func (l lookup) Value(key any) any {
	if fmt.Sprintf("%T", key) == "letagentpay.resumeKey" {
		if *l.n++; *l.n == l.at {
			l.do()
		}
	}
	return l.Context.Value(key)
}

// A request that resumed nothing is paid under the key of its header, even if another call uses the id up meanwhile.
func TestIDThatIsUsedUpMeanwhileLeavesTheKeyOfTheHeader(t *testing.T) {
	for at := 1; at <= 3; at++ {
		server := serve(t)
		client := server.Client()
		ctx := letagentpay.ResumeApproval(t.Context(), approvedByOwner(t, server, price("80")))
		var runs, sent atomic.Int64
		transport := &letagentpay.GuardTransport{
			Client: client,
			Price: func(*http.Request) (*letagentpay.PurchaseParams, error) {
				p := price("30")
				return &p, nil
			},
			Next: exchange(func(r *http.Request) (*http.Response, error) {
				sent.Add(1)
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
			}),
		}
		send := func(ctx context.Context) {
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://paid.example/order", nil)
			require.NoError(t, err)
			request.Header.Set("Idempotency-Key", "order-7")
			if response, err := transport.RoundTrip(request); err == nil {
				require.NoError(t, response.Body.Close())
			}
		}
		lookups := 0
		send(lookup{ctx, &lookups, at, func() {
			_, err := guardGroceries(client, &runs, succeed)(ctx, price("80"))
			require.NoError(t, err)
		}})
		send(ctx)
		assert.LessOrEqual(t, sent.Load(), int64(1), "order-7 is sent once")
	}
}

func TestResumeOptionOfATransportIsUsedUpByAPayment(t *testing.T) {
	server := serve(t)
	status, amount := http.StatusInternalServerError, "80"
	transport := &letagentpay.GuardTransport{
		Client: server.Client(),
		Price: func(*http.Request) (*letagentpay.PurchaseParams, error) {
			p := price(amount)
			return &p, nil
		},
		Next: exchange(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: http.NoBody, Request: r}, nil
		}),
		Options: []letagentpay.GuardOption{letagentpay.Resume(approvedByOwner(t, server, price("80")))},
	}
	client := &http.Client{Transport: transport}
	_, err := client.Get("https://paid.example/a")
	require.NoError(t, err)
	status, amount = http.StatusOK, "30"
	_, err = client.Get("https://paid.example/b")
	require.NoError(t, err, "the server charged for the first request; this is another purchase")
}

func TestResumedRequestThatHasEndedIsComparedAsWell(t *testing.T) {
	server := serve(t)
	client := server.Client()
	bought, wanted := price("80"), price("80")
	bought.Description, wanted.Description = "shoes", "a flight"
	id := approvedByOwner(t, server, bought)
	_, err := client.Confirm(t.Context(), id, letagentpay.ConfirmParams{Success: true})
	require.NoError(t, err)
	_, err = client.Authorize(letagentpay.ResumeApproval(t.Context(), id), wanted)
	var mismatch *letagentpay.MismatchError
	require.ErrorAs(t, err, &mismatch)
	_, err = client.Authorize(letagentpay.ResumeApproval(t.Context(), id), bought)
	var handled *letagentpay.AlreadyHandledError
	require.ErrorAs(t, err, &handled)
}

func TestResumeOption(t *testing.T) {
	server := serve(t)
	client := server.Client()
	for _, id := range []string{"", "a/b"} {
		_, err := client.Authorize(t.Context(), price("80"), letagentpay.Resume(id))
		var param *letagentpay.ParamError
		require.ErrorAs(t, err, &param)
		assert.Equal(t, "requestID", param.Field)
	}
	assert.Empty(t, server.Requests(), "a bad id makes no request")

	id, other := approvedByOwner(t, server, price("80")), approvedByOwner(t, server, price("90"))
	approval, err := client.Authorize(letagentpay.ResumeApproval(t.Context(), other), price("80"),
		letagentpay.Resume(id))
	require.NoError(t, err, "the option takes precedence over the context")
	assert.Equal(t, id, approval.RequestID())
	require.NoError(t, approval.Settle(t.Context(), nil))
	server.CheckStatus(t, id, letagentpay.StatusCompleted)
	server.CheckStatus(t, other, letagentpay.StatusApproved)
}

func TestResumeOptionOfAGuardTransport(t *testing.T) {
	server := serve(t)
	paid := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/old" {
			http.Redirect(w, r, "/new", http.StatusTemporaryRedirect)
		}
	}))
	defer paid.Close()
	id := approvedByOwner(t, server, price("80"))
	transport := &letagentpay.GuardTransport{
		Client: server.Client(),
		Price: func(r *http.Request) (*letagentpay.PurchaseParams, error) {
			p := price("80")
			if r.URL.Path == "/new" {
				p = price("30")
			}
			return &p, nil
		},
		Options: []letagentpay.GuardOption{letagentpay.Resume(id)},
	}
	response, err := (&http.Client{Transport: transport}).Get(paid.URL + "/old")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	server.CheckStatus(t, id, letagentpay.StatusFailed) // a redirect charges nothing
	require.Len(t, server.Requests(), 2, "the redirected request is a purchase of its own")
	server.CheckSpent(t, letagentpay.MustAmount("30"))
}

func TestGuardedCallShowsItsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			return letagentpaytest.Approve().After(10 * time.Second)
		})
		var polls []letagentpay.WaitEvent
		var runs atomic.Int64
		wait := letagentpay.OnPendingWait(time.Minute,
			letagentpay.WaitInterval(2*time.Second, 2*time.Second),
			letagentpay.WaitProgress(func(event letagentpay.WaitEvent) { polls = append(polls, event) }))
		_, err := guardGroceries(server.Client(), &runs, succeed, wait)(t.Context(), price("80"))
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
		require.Len(t, polls, 5, "one every two seconds until the approval")
		assert.Equal(t, letagentpay.StatusPending, polls[0].Request.Status)
	})
}

func TestOptionsOfAPendingWaitAreChecked(t *testing.T) {
	server := serve(t)
	for name, option := range map[string]letagentpay.GuardOption{
		"OnPendingWait": letagentpay.OnPendingWait(time.Minute, letagentpay.WaitTimeout(time.Second)),
		"WaitInterval":  letagentpay.OnPendingWait(time.Minute, letagentpay.WaitInterval(0, 0)),
		"WaitOption":    letagentpay.OnPendingWait(time.Minute, nil),
	} {
		_, err := server.Client().Authorize(context.Background(), price("80"), option)
		var param *letagentpay.ParamError
		require.ErrorAs(t, err, &param)
		assert.Equal(t, name, param.Field)
	}
	assert.Empty(t, server.Requests())
}

func TestOptionsOfAPendingWaitAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		opts := []letagentpay.WaitOption{letagentpay.WaitInterval(time.Second, time.Second)}
		option := letagentpay.OnPendingWait(time.Minute, opts...)
		opts[0] = nil
		_, err := server.Client().Authorize(t.Context(), price("80"), option)
		var timeout *letagentpay.WaitTimeoutError
		require.ErrorAs(t, err, &timeout)
	})
}
