package letagentpay_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

// item is an entry of the request list.
func item(id, createdAt string) string {
	return `{"request_id":"` + id + `","status":"completed","amount":49.99,"currency":"USD","category":"groceries","merchant":null,"description":null,"created_at":"` +
		createdAt + `","reviewed_at":null,"expires_at":null}`
}

func list(items string) httpmock.Responder {
	return answer(200, `{"requests":[`+items+`],"total":1,"limit":1,"offset":0}`)
}

func keyed() letagentpay.PurchaseParams {
	p := groceries()
	p.IdempotencyKey = "turn-7"
	return p
}

// The service answers a repeated key with its first answer, even after that purchase was completed. With a caller's own
// key, only what the request is now, and whether it is older than the call, tells whether the function may run.
func TestGuardDoesNotRunAgainUnderAnOwnKey(t *testing.T) {
	const before, after = "2026-03-11T11:59:59.999999+00:00", "2026-03-11T12:00:00.123457+00:00" // the request is of 12:00:00.123456
	for name, c := range map[string]struct {
		newest string
		reads  []httpmock.Responder
		runs   bool
		want   any
	}{
		"the first of all":                  {"", []httpmock.Responder{answer(200, detail("auto_approved"))}, true, nil},
		"new":                               {item("r0", before), []httpmock.Responder{answer(200, detail("auto_approved"))}, true, nil},
		"approved in between":               {item("r0", before), []httpmock.Responder{answer(200, detail("approved"))}, true, nil},
		"approved by an earlier call":       {item("r1", "2026-03-11T12:00:00.123456+00:00"), []httpmock.Responder{answer(200, detail("auto_approved"))}, false, new(*letagentpay.AlreadyHandledError)},
		"approved by a call long ago":       {item("r9", after), []httpmock.Responder{answer(200, detail("approved"))}, false, new(*letagentpay.AlreadyHandledError)},
		"at the same instant as another":    {item("r0", "2026-03-11T12:00:00.123456+00:00"), []httpmock.Responder{answer(200, detail("approved"))}, true, nil},
		"at the same instant, among others": {item("r0", "2026-03-11T12:00:00.123456+00:00") + "," + item("r1", "2026-03-11T12:00:00.123456+00:00"), []httpmock.Responder{answer(200, detail("approved"))}, false, new(*letagentpay.AlreadyHandledError)},
		"without a time of creation":        {item("r0", before), []httpmock.Responder{answer(200, `{"request_id":"r1","status":"approved","amount":49.99,"category":"groceries"}`)}, false, new(*letagentpay.AlreadyHandledError)},
		"completed":                         {item("r1", before), []httpmock.Responder{answer(200, detail("completed"))}, false, new(*letagentpay.AlreadyHandledError)},
		"completed by whoever":              {item("r0", before), []httpmock.Responder{answer(200, detail("completed"))}, false, new(*letagentpay.AlreadyHandledError)},
		"failed":                            {item("r1", before), []httpmock.Responder{answer(200, detail("failed"))}, false, new(*letagentpay.AlreadyHandledError)},
		"rejected":                          {item("r1", before), []httpmock.Responder{answer(200, detail("rejected"))}, false, letagentpay.StatusRejected},
		"expired":                           {item("r1", before), []httpmock.Responder{answer(200, detail("expired"))}, false, letagentpay.StatusExpired},
		"pending of old, then approved":     {item("r1", "2026-03-11T12:00:00.123456+00:00"), []httpmock.Responder{answer(200, detail("pending")), answer(200, detail("approved"))}, false, new(*letagentpay.AlreadyHandledError)},
		"pending, then completed":           {item("r0", before), []httpmock.Responder{answer(200, detail("pending")), answer(200, detail("completed"))}, false, new(*letagentpay.AlreadyHandledError)},
		"unheard of, then approved, old":    {item("r9", after), []httpmock.Responder{answer(200, detail("escalated")), answer(200, detail("approved"))}, false, new(*letagentpay.AlreadyHandledError)},
		"cannot be read":                    {item("r0", before), []httpmock.Responder{answer(404, `{"detail":"Request not found"}`)}, false, new(*letagentpay.APIError)},
		"for another amount":                {item("r0", before), []httpmock.Responder{answer(200, `{"request_id":"r1","status":"approved","amount":4.99,"category":"groceries","created_at":"2026-03-11T12:00:00.123456+00:00"}`)}, false, new(*letagentpay.MismatchError)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := approving(t).on("GET", "/requests", list(c.newest)).on("GET", "/requests/r1", c.reads...)
				var runs atomic.Int64
				_, err := guardGroceries(s.client(), &runs, succeed)(t.Context(), keyed())
				assert.Equal(t, c.runs, runs.Load() == 1)
				if c.want == nil {
					require.NoError(t, err)
				} else {
					requireError(t, err, c.want)
				}
				assert.Equal(t, []string{getNewest, postPurchase, getRequest}, s.paths()[:3])
			})
		})
	}
}

func TestAlreadyHandledErrorSaysWhatIsKnown(t *testing.T) {
	for status, doubt := range map[string]bool{"completed": false, "approved": true} {
		s := approving(t).on("GET", "/requests", list(item("r1", "2026-03-11T12:00:00.123456+00:00"))).on("GET", "/requests/r1", answer(200, detail(status)))
		_, err := s.client().Authorize(t.Context(), keyed())
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.Equal(t, letagentpay.Status(status), handled.Request.Status)
		assert.Equal(t, "turn-7", handled.IdempotencyKey)
		if doubt {
			assert.Contains(t, err.Error(), "may have run")
		}
	}
}

func TestOneKeyRunsOnceHoweverManyAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state atomic.Value
		state.Store("auto_approved")
		newest := ""
		s := approving(t).
			on("GET", "/requests", func() httpmock.Responder {
				return func(r *http.Request) (*http.Response, error) { return list(newest)(r) }
			}()).
			on("GET", "/requests/r1", func(r *http.Request) (*http.Response, error) {
				newest = item("r1", "2026-03-11T12:00:00.123456+00:00")
				return answer(200, detail(state.Load().(string)))(r)
			})
		var runs atomic.Int64
		guarded := guardGroceries(s.client(), &runs, func(context.Context) (string, error) {
			time.Sleep(time.Second)
			state.Store("completed")
			return "receipt", nil
		})
		var group sync.WaitGroup
		var handled atomic.Int64
		for range 6 {
			group.Go(func() {
				if _, err := guarded(t.Context(), keyed()); err != nil {
					var already *letagentpay.AlreadyHandledError
					assert.ErrorAs(t, err, &already)
					handled.Add(1)
				}
			})
		}
		group.Wait()
		assert.EqualValues(t, 1, runs.Load())
		assert.EqualValues(t, 5, handled.Load())
	})
}

func TestResumeApproval(t *testing.T) {
	as := func(amount, category, status string) httpmock.Responder {
		return answer(200, `{"request_id":"r1","status":"`+status+`","amount":`+amount+`,"category":"`+category+`","created_at":"2026-03-11T12:00:00+00:00","reviewed_at":null}`)
	}
	for name, c := range map[string]struct {
		reads    []httpmock.Responder
		category string
		currency string
		runs     bool
		want     any
	}{
		"approved":               {[]httpmock.Responder{as("49.99", "groceries", "approved")}, "groceries", "", true, nil},
		"auto-approved":          {[]httpmock.Responder{as("49.99", "groceries", "auto_approved")}, "groceries", "", true, nil},
		"spelled otherwise":      {[]httpmock.Responder{as("49.99", "food_delivery", "approved")}, " Food-Delivery", "", true, nil},
		"filed under other":      {[]httpmock.Responder{as("49.99", "other", "approved")}, "Casino chips", "", true, nil},
		"by an unknown alias":    {[]httpmock.Responder{as("49.99", "taxi", "approved")}, "uber", "", false, new(*letagentpay.MismatchError)},
		"currency, too":          {[]httpmock.Responder{as("49.99", "groceries", "approved")}, "groceries", "usd", true, nil},
		"pending, then approved": {[]httpmock.Responder{as("49.99", "groceries", "pending"), as("49.99", "groceries", "approved")}, "groceries", "", true, nil},
		"another amount":         {[]httpmock.Responder{as("50", "groceries", "approved")}, "groceries", "", false, new(*letagentpay.MismatchError)},
		"another category":       {[]httpmock.Responder{as("49.99", "taxi", "approved")}, "groceries", "", false, new(*letagentpay.MismatchError)},
		"another currency":       {[]httpmock.Responder{as("49.99", "groceries", "approved")}, "groceries", "EUR", false, new(*letagentpay.MismatchError)},
		"rejected":               {[]httpmock.Responder{as("49.99", "groceries", "rejected")}, "groceries", "", false, letagentpay.StatusRejected},
		"expired":                {[]httpmock.Responder{as("49.99", "groceries", "expired")}, "groceries", "", false, letagentpay.StatusExpired},
		"completed":              {[]httpmock.Responder{as("49.99", "groceries", "completed")}, "groceries", "", false, new(*letagentpay.AlreadyHandledError)},
		"failed":                 {[]httpmock.Responder{as("49.99", "groceries", "failed")}, "groceries", "", false, new(*letagentpay.AlreadyHandledError)},
		"unknown":                {[]httpmock.Responder{answer(404, `{"detail":"Request not found"}`)}, "groceries", "", false, new(*letagentpay.APIError)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/requests/r1", c.reads...).on("POST", "/requests/r1/confirm", answer(200, confirmed)).
					on("GET", "/requests", list(item("r1", "2026-03-11T12:00:00+00:00"))).on("GET", "/categories", answer(200, `{"categories":["groceries","other","taxi"]}`)).on("GET", "/budget", answer(200, someBudget))
				var runs atomic.Int64
				p := groceries()
				p.Category, p.Currency = c.category, c.currency
				ctx := letagentpay.ResumeApproval(t.Context(), "r1")
				_, err := guardGroceries(s.client(), &runs, func(ctx context.Context) (string, error) {
					if _, err := s.client(letagentpay.WithMaxRetries(0)).Authorize(ctx, p); err == nil || errors.Is(err, letagentpay.ErrNotFound) {
						return "", errors.New("a purchase inside does not resume again")
					}
					return "receipt", nil
				})(ctx, p)
				assert.Equal(t, c.runs, runs.Load() == 1)
				if c.want == nil {
					require.NoError(t, err)
				} else {
					requireError(t, err, c.want)
				}
			})
		})
	}
}

func TestOneRequestRunsOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := atomic.Value{}
		status.Store("approved")
		s := newService(t).on("GET", "/requests", list(item("r1", "2026-03-11T12:00:00+00:00"))).on("GET", "/requests/r1", func(r *http.Request) (*http.Response, error) { return answer(200, detail(status.Load().(string)))(r) }).
			on("POST", "/requests/r1/confirm", answer(200, confirmed))
		var runs atomic.Int64
		guarded := guardGroceries(s.client(), &runs, func(context.Context) (string, error) {
			time.Sleep(time.Minute)
			status.Store("completed")
			return "receipt", nil
		})
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() { _, _ = guarded(letagentpay.ResumeApproval(t.Context(), "r1"), groceries()) })
		}
		group.Wait()
		assert.EqualValues(t, 1, runs.Load())
	})
}

func TestFunctionCannotClaimWhatItRunsUnder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		var runs atomic.Int64
		p := price("5")
		p.IdempotencyKey = "turn-7"
		_, err := guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
			_, err := guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
				approval, _ := letagentpay.ApprovalFromContext(ctx)
				for _, inner := range []context.Context{ctx, letagentpay.ResumeApproval(ctx, approval.RequestID())} {
					_, err := client.Authorize(inner, p)
					var handled *letagentpay.AlreadyHandledError
					assert.ErrorAs(t, err, &handled)
					assert.ErrorContains(t, err, "runs it now")
				}
				return "", nil
			})(ctx, price("5"))
			return "", err
		})(t.Context(), p)
		require.NoError(t, err)
		assert.EqualValues(t, 2, runs.Load())
	})
}
