package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/policy"
)

const (
	postPurchase = "POST /requests"
	postConfirm  = "POST /requests/r1/confirm"
	getRequest   = "GET /requests/r1"
	getNewest    = "GET /requests"
)

var errShop = errors.New("the shop is closed")

// approving returns a scripted service that approves at once and accepts confirmations.
func approving(t *testing.T) *service {
	return newService(t).on("POST", "/requests", answer(201, autoApproved)).
		on("POST", "/requests/r1/confirm", answer(200, confirmed))
}

// guardGroceries guards fn and counts its runs.
func guardGroceries(
	c *letagentpay.Client,
	runs *atomic.Int64,
	fn func(context.Context) (string, error),
	opts ...letagentpay.GuardOption,
) func(context.Context, letagentpay.PurchaseParams) (string, error) {
	return letagentpay.Guard(c, func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p },
		func(ctx context.Context, _ letagentpay.PurchaseParams) (string, error) {
			runs.Add(1)
			return fn(ctx)
		}, opts...)
}

func succeed(context.Context) (string, error) { return "receipt", nil }

func TestGuardRunsAndConfirms(t *testing.T) {
	for name, c := range map[string]struct {
		fn      func(context.Context) (string, error)
		err     any
		confirm string
	}{
		"success": {succeed, nil, `{"success":true}`},
		"failure": {
			func(context.Context) (string, error) { return "partial", errShop },
			errShop,
			`{"success":false}`,
		},
		"spent": {
			spending("47.50", nil),
			nil,
			`{"success":true,"actual_amount":47.50,"receipt_url":"https://shop.example/r"}`,
		},
		"spent, failed": {
			spending("47.50", errShop),
			errShop,
			`{"success":true,"actual_amount":47.50,"receipt_url":"https://shop.example/r"}`,
		},
		"overspent": {
			spending("60", nil),
			new(*letagentpay.OverspendError),
			`{"success":true,"actual_amount":60.00,"receipt_url":"https://shop.example/r"}`,
		},
		"cent fraction": {
			spending("0.125", nil),
			nil,
			`{"success":true,"actual_amount":0.13,"receipt_url":"https://shop.example/r"}`,
		},
		"spent nothing": {spending("0", nil), letagentpay.ErrInvalid, `{"success":true}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := approving(t)
			if name == "failure" {
				s.on("POST", "/requests/r1/confirm", answer(200, failedAnswer))
			}
			var runs atomic.Int64
			result, err := guardGroceries(s.client(), &runs, c.fn)(t.Context(), groceries())
			requireError(t, err, c.err)
			var unconfirmed *letagentpay.UnconfirmedError
			require.NotErrorAs(t, err, &unconfirmed)
			assert.EqualValues(t, 1, runs.Load())
			assert.NotEmpty(t, result, "the result of fn is returned")
			require.Equal(t, []string{postPurchase, postConfirm}, s.paths())
			assert.JSONEq(t, c.confirm, s.recorded()[1].Body)
		})
	}
}

// spending returns a function that reports an amount as spent and returns err joined with the error of the report.
func spending(amount string, err error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		approval, ok := letagentpay.ApprovalFromContext(ctx)
		if !ok {
			return "", errors.New("no approval in the context")
		}
		return "receipt", errors.Join(err, approval.Spent(letagentpay.MustAmount(amount), "https://shop.example/r"))
	}
}

func TestGuardNeverRunsUnapproved(t *testing.T) {
	pending, unknown := answer(201, pendingAnswer), answer(201, undecided("escalated"))
	rateLimited := answer(429, `{"detail":"Too many pending requests. Wait for existing requests to be resolved."}`)
	reads := func(status int, body string) []httpmock.Responder {
		return []httpmock.Responder{answer(status, body)}
	}
	as := func(target any) func(error) bool { return func(err error) bool { return errors.As(err, target) } }
	is := func(targets ...error) func(error) bool {
		return func(err error) bool {
			for _, target := range targets {
				if !errors.Is(err, target) {
					return false
				}
			}
			return true
		}
	}
	for name, c := range map[string]struct {
		answer httpmock.Responder
		reads  []httpmock.Responder
		want   func(error) bool
		opts   []letagentpay.GuardOption
	}{
		"rejected": {
			answer: answer(201, rejectedAnswer),
			want:   is(letagentpay.ErrNotApproved),
		},
		"rejected, typed": {
			answer: answer(201, rejectedAnswer),
			want:   refusedAs(letagentpay.StatusRejected),
		},
		"rejected on review": {
			answer: pending,
			reads:  reads(200, detail("rejected")),
			want:   refusedAs(letagentpay.StatusRejected),
		},
		"expired": {
			answer: pending,
			reads:  reads(200, detail("expired")),
			want:   refusedAs(letagentpay.StatusExpired),
		},
		"pending, not waiting": {
			answer: pending,
			want:   refusedAs(letagentpay.StatusPending),
			opts:   []letagentpay.GuardOption{letagentpay.OnPendingFail()},
		},
		"unknown status, not waiting": {
			answer: unknown,
			want:   is(letagentpay.ErrNotApproved),
			opts:   []letagentpay.GuardOption{letagentpay.OnPendingFail()},
		},
		"pending for too long": {
			answer: pending,
			reads:  reads(200, detail("pending")),
			want:   is(letagentpay.ErrNotApproved, context.DeadlineExceeded),
		},
		"unknown for too long": {
			answer: unknown,
			reads:  reads(200, detail("escalated")),
			want:   is(letagentpay.ErrNotApproved, context.DeadlineExceeded),
		},
		"paused while waiting": {
			answer: pending,
			reads:  reads(403, `{"detail":"Agent is paused"}`),
			want:   is(letagentpay.ErrNotApproved, letagentpay.ErrForbidden),
		},
		"confirmed by another caller": {
			answer: pending,
			reads:  reads(200, detail("completed")),
			want:   as(new(*letagentpay.AlreadyHandledError)),
		},
		"refused": {
			answer: answer(403, `{"detail":"Agent is paused"}`),
			want:   is(letagentpay.ErrForbidden),
		},
		"too many pending": {
			answer: rateLimited,
			want:   is(letagentpay.ErrTooManyPending),
		},
		"unknown outcome": {
			answer: answer(500, ``),
			want:   as(new(*letagentpay.OutcomeUnknownError)),
		},
		"malformed answer": {
			answer: answer(201, `{"status":"approved"}`),
			want:   as(new(*letagentpay.OutcomeUnknownError)),
		},
		"status in another case": {
			answer: answer(201, undecided("AUTO_APPROVED")),
			want:   is(letagentpay.ErrNotApproved),
			opts:   []letagentpay.GuardOption{letagentpay.OnPendingFail()},
		},
		"no wait at all": {
			answer: answer(201, autoApproved),
			want:   is(letagentpay.ErrInvalid),
			opts:   []letagentpay.GuardOption{letagentpay.OnPendingWait(0)},
		},
		"nil option": {
			answer: answer(201, autoApproved),
			want:   is(letagentpay.ErrInvalid),
			opts:   []letagentpay.GuardOption{nil},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests", c.answer)
				if c.reads != nil {
					s.on("GET", "/requests/r1", c.reads...)
				}
				var runs atomic.Int64
				result, err := guardGroceries(s.client(), &runs, succeed, c.opts...)(t.Context(), groceries())
				assert.Zero(t, runs.Load())
				assert.Empty(t, result)
				require.Error(t, err)
				assert.True(t, c.want(err), "%v", err)
				assert.NotContains(t, s.paths(), postConfirm, "a purchase that did not run is not confirmed")
			})
		})
	}
}

func TestRejectedErrorNamesTheRule(t *testing.T) {
	s := newService(t).on("POST", "/requests", answer(201, rejectedAnswer))
	_, err := s.client().Authorize(t.Context(), groceries())
	var rejected *letagentpay.NotApprovedError
	require.ErrorAs(t, err, &rejected)
	require.Equal(t, letagentpay.StatusRejected, rejected.Status)
	assert.Equal(t, []letagentpay.Check{{Rule: "budget", Result: policy.Fail, Detail: "500.00 left"}}, rejected.Checks)
	assert.Equal(t, "r1", rejected.RequestID)
	assert.NotEmpty(t, rejected.IdempotencyKey)
	assert.EqualError(t, err, "letagentpay: purchase r1 was rejected: budget (500.00 left)")
}

func TestGuardWaitsForTheHuman(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stillPending := answer(200, detail("pending"))
		s := approving(t).on("POST", "/requests", answer(201, pendingAnswer)).
			on("GET", "/requests/r1", stillPending, stillPending, answer(200, detail("approved")))
		var runs atomic.Int64
		guarded := guardGroceries(s.client(), &runs, succeed, letagentpay.OnPendingWait(time.Hour))
		_, err := guarded(t.Context(), groceries())
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
		assert.Equal(t, []string{postPurchase, getRequest, getRequest, getRequest, postConfirm}, s.paths())
	})
}

func TestGuardCancelledWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("POST", "/requests", answer(201, pendingAnswer)).
			on("GET", "/requests/r1", answer(200, detail("pending")))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(90*time.Second, cancel)
		begun := time.Now()
		var runs atomic.Int64
		_, err := guardGroceries(s.client(), &runs, succeed)(ctx, groceries())
		assert.Equal(t, 90*time.Second, time.Since(begun))
		assert.Zero(t, runs.Load())
		require.ErrorIs(t, err, context.Canceled)
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending, "the error names the request to resume")
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		assert.Equal(t, "r1", pending.RequestID)
		assert.False(t, pending.ExpiresAt.IsZero())
	})
}

func TestGuardRefundsOnPanicAndGoexit(t *testing.T) {
	const (
		refund     = `{"success":false}`
		completion = `{"success":true,"actual_amount":47.50,"receipt_url":"https://shop.example/r"}`
	)
	for confirmation, spent := range map[string]bool{refund: false, completion: true} {
		status := "completed"
		if !spent {
			status = "failed"
		}
		posted := 0
		s := newService(t).on("POST", "/requests", func(r *http.Request) (*http.Response, error) {
			posted++
			return answer(201, strings.ReplaceAll(autoApproved, `"r1"`, fmt.Sprintf(`"r%d"`, posted)))(r)
		})
		for _, id := range []string{"r1", "r2"} {
			body := `{"request_id":"` + id + `","status":"` + status + `","actual_amount":null}`
			s.on("POST", "/requests/"+id+"/confirm", answer(200, body))
		}
		var runs atomic.Int64
		end := func(how func()) func(context.Context) (string, error) {
			return func(ctx context.Context) (string, error) {
				if spent {
					_, _ = spending("47.50", nil)(ctx)
				}
				how()
				return "", nil
			}
		}
		assert.PanicsWithValue(t, "out of cheese", func() {
			_, _ = guardGroceries(s.client(), &runs, end(func() { panic("out of cheese") }))(t.Context(), groceries())
		})
		var group sync.WaitGroup
		group.Go(func() {
			_, _ = guardGroceries(s.client(), &runs, end(runtime.Goexit))(t.Context(), groceries())
		})
		group.Wait()
		calls := s.recorded()
		require.Len(t, calls, 4)
		assert.JSONEq(t, confirmation, calls[1].Body)
		assert.JSONEq(t, confirmation, calls[3].Body)
	}
}

func TestGuardConfirmsAfterTheContextEnded(t *testing.T) {
	s := newService(t).on("POST", "/requests", answer(201, autoApproved)).
		on("POST", "/requests/r1/confirm", answer(200, failedAnswer))
	ctx, cancel := context.WithCancel(t.Context())
	var runs atomic.Int64
	_, err := guardGroceries(s.client(), &runs, func(context.Context) (string, error) {
		cancel()
		return "", errShop
	})(ctx, groceries())
	require.ErrorIs(t, err, errShop)
	require.Equal(t, []string{postPurchase, postConfirm}, s.paths())
	assert.JSONEq(t, `{"success":false}`, s.recorded()[1].Body)
}

func TestGuardReturnsTheResultWithConfirmError(t *testing.T) {
	for name, c := range map[string]struct {
		fn      func(context.Context) (string, error)
		confirm httpmock.Responder
		params  letagentpay.ConfirmParams
	}{
		"success, refused": {
			spending("47.5", nil),
			answer(403, `{"detail":"Agent is paused"}`),
			letagentpay.ConfirmParams{
				Success:      true,
				ActualAmount: letagentpay.MustAmount("47.5"),
				ReceiptURL:   "https://shop.example/r",
			},
		},
		"failure, refused": {
			func(context.Context) (string, error) { return "receipt", errShop },
			answer(403, `{"detail":"Agent is paused"}`),
			letagentpay.ConfirmParams{},
		},
		"success, hangs": {succeed, hangs, letagentpay.ConfirmParams{Success: true}},
		"success, lost":  {succeed, broken(errReset), letagentpay.ConfirmParams{Success: true}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).
					on("POST", "/requests", answer(201, autoApproved)).
					on("POST", "/requests/r1/confirm", c.confirm).
					on("GET", "/requests/r1", answer(200, detail("auto_approved")))
				var runs atomic.Int64
				begun := time.Now()
				result, err := guardGroceries(s.client(), &runs, c.fn)(t.Context(), groceries())
				assert.LessOrEqual(t, time.Since(begun), 10*time.Second)
				assert.Equal(t, "receipt", result)
				var confirm *letagentpay.UnconfirmedError
				require.ErrorAs(t, err, &confirm)
				assert.Equal(t, "r1", confirm.RequestID)
				assert.Equal(t, c.params, confirm.Params, "what to send again")
				if _, fnErr := c.fn(context.Background()); errors.Is(fnErr, errShop) {
					require.ErrorIs(t, err, errShop, "fn's own error is kept")
				}
			})
		})
	}
}

func TestGuardWithoutItsParts(t *testing.T) {
	client := newService(t).client()
	describe := func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p }
	fn := func(context.Context, letagentpay.PurchaseParams) (string, error) { return "ran", nil }
	for field, guarded := range map[string]func(context.Context, letagentpay.PurchaseParams) (string, error){
		"Guard client":   letagentpay.Guard(nil, describe, fn),
		"Guard describe": letagentpay.Guard(client, nil, fn),
		"Guard fn":       letagentpay.Guard[letagentpay.PurchaseParams, string](client, describe, nil),
	} {
		result, err := guarded(t.Context(), groceries())
		var param *letagentpay.ParamError
		require.ErrorAs(t, err, &param)
		assert.Equal(t, field, param.Field)
		assert.Empty(t, result)
	}
}

func TestSettle(t *testing.T) {
	t.Run("the first outcome stands", func(t *testing.T) {
		s := approving(t)
		approval, err := s.client().Authorize(t.Context(), groceries())
		require.NoError(t, err)
		assert.Equal(t, "r1", approval.RequestID())
		assert.Equal(t, groceries().Amount, approval.Amount())
		assert.Equal(t, "groceries", approval.Category())
		assert.Equal(t, s.recorded()[0].Header.Get("Idempotency-Key"), approval.IdempotencyKey())
		require.NoError(t, approval.Settle(t.Context(), nil))
		require.NoError(t, approval.Settle(t.Context(), errShop))
		require.ErrorIs(t, approval.Spent(letagentpay.MustAmount("1"), ""), letagentpay.ErrSettled)
		assert.Equal(t, []string{postPurchase, postConfirm}, s.paths())
		assert.JSONEq(t, `{"success":true}`, s.recorded()[1].Body)
	})
	t.Run("concurrently", func(t *testing.T) {
		s := approving(t)
		approval, err := s.client().Authorize(t.Context(), groceries())
		require.NoError(t, err)
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				if i%2 == 0 {
					_ = approval.Spent(letagentpay.MustAmount("1"), "")
				}
				assert.NoError(t, approval.Settle(t.Context(), nil))
			})
		}
		group.Wait()
		assert.Equal(t, []string{postPurchase, postConfirm}, s.paths())
	})
	t.Run("again after an unclear confirmation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests", answer(201, autoApproved)).
				on("POST", "/requests/r1/confirm", hangs).
				on("GET", "/requests/r1", answer(403, `{"detail":"Agent is paused"}`), answer(200, detail("completed")))
			approval, err := s.client().Authorize(t.Context(), groceries())
			require.NoError(t, err)
			var confirm *letagentpay.UnconfirmedError
			require.ErrorAs(t, approval.Settle(t.Context(), nil), &confirm)
			require.NoError(t, approval.Settle(t.Context(), errShop),
				"the first confirmation took effect")
			require.NoError(t, approval.Settle(t.Context(), nil))
			assert.Equal(t, []string{postPurchase, postConfirm, getRequest, getRequest}, s.paths(),
				"the retry reads first")
		})
	})
	t.Run("with a nil context", func(t *testing.T) {
		s := approving(t)
		approval, err := s.client().Authorize(t.Context(), groceries())
		require.NoError(t, err)
		var none context.Context
		require.NoError(t, approval.Settle(none, nil), "a confirmation is sent without a context")
	})
	t.Run("with a receipt too long", func(t *testing.T) {
		s := approving(t)
		approval, err := s.client().Authorize(t.Context(), groceries())
		require.NoError(t, err)
		receipt := string(make([]byte, 2001))
		require.ErrorIs(t, approval.Spent(letagentpay.MustAmount("3"), receipt), letagentpay.ErrInvalid)
		require.NoError(t, approval.Settle(t.Context(), errShop))
		assert.JSONEq(t, `{"success":true,"actual_amount":3.00}`, s.recorded()[1].Body,
			"the amount is still reported")
	})
}
