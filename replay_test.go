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
	return `{"request_id":"` + id + `","status":"completed","amount":49.99,"currency":"USD","category":"groceries",` +
		`"merchant":null,"description":null,"created_at":"` + createdAt + `","reviewed_at":null,"expires_at":null}`
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
// key, only the current state of the request, and whether it is older than the call, decide if the function may run.
func TestGuardDoesNotRunAgainUnderAnOwnKey(t *testing.T) {
	const (
		before = "2026-03-11T11:59:59.999999+00:00"
		at     = "2026-03-11T12:00:00.123456+00:00" // when the request was made
		after  = "2026-03-11T12:00:00.123457+00:00"
	)
	reads := func(statuses ...string) (answers []httpmock.Responder) {
		for _, status := range statuses {
			answers = append(answers, answer(200, detail(status)))
		}
		return answers
	}
	undated := []httpmock.Responder{
		answer(200, `{"request_id":"r1","status":"approved","amount":49.99,"category":"groceries"}`),
	}
	ofAnotherAmount := []httpmock.Responder{answer(200, `{"request_id":"r1","status":"approved","amount":4.99,`+
		`"category":"groceries","created_at":"`+at+`"}`)}
	unreadable := []httpmock.Responder{answer(404, `{"detail":"Request not found"}`)}
	handled, mismatch := new(*letagentpay.AlreadyHandledError), new(*letagentpay.MismatchError)
	for name, c := range map[string]struct {
		newest string
		reads  []httpmock.Responder
		runs   bool
		want   any
	}{
		"the first of all":                  {"", reads("auto_approved"), true, nil},
		"new":                               {item("r0", before), reads("auto_approved"), true, nil},
		"approved in between":               {item("r0", before), reads("approved"), true, nil},
		"approved by an earlier call":       {item("r1", at), reads("auto_approved"), false, handled},
		"approved by a call long ago":       {item("r9", after), reads("approved"), false, handled},
		"at the same instant as another":    {item("r0", at), reads("approved"), true, nil},
		"at the same instant, among others": {item("r0", at) + "," + item("r1", at), reads("approved"), false, handled},
		"without a time of creation":        {item("r0", before), undated, false, handled},
		"completed":                         {item("r1", before), reads("completed"), false, handled},
		"completed by another caller":       {item("r0", before), reads("completed"), false, handled},
		"failed":                            {item("r1", before), reads("failed"), false, handled},
		"rejected":                          {item("r1", before), reads("rejected"), false, letagentpay.StatusRejected},
		"expired":                           {item("r1", before), reads("expired"), false, letagentpay.StatusExpired},
		"pending before, then approved":     {item("r1", at), reads("pending", "approved"), false, handled},
		"pending, then completed":           {item("r0", before), reads("pending", "completed"), false, handled},
		"unheard of, then approved, old":    {item("r9", after), reads("escalated", "approved"), false, handled},
		"cannot be read":                    {item("r0", before), unreadable, false, new(*letagentpay.APIError)},
		"for another amount":                {item("r0", before), ofAnotherAmount, false, mismatch},
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
		s := approving(t).on("GET", "/requests", list(item("r1", "2026-03-11T12:00:00.123456+00:00"))).
			on("GET", "/requests/r1", answer(200, detail(status)))
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
	as := func(amount, category string, statuses ...string) (answers []httpmock.Responder) {
		for _, status := range statuses {
			answers = append(answers, answer(200, `{"request_id":"r1","status":"`+status+`","amount":`+amount+
				`,"category":"`+category+`","created_at":"2026-03-11T12:00:00+00:00","reviewed_at":null}`))
		}
		return answers
	}
	unknown := []httpmock.Responder{answer(404, `{"detail":"Request not found"}`)}
	const rejected, expired = letagentpay.StatusRejected, letagentpay.StatusExpired
	handled, mismatch := new(*letagentpay.AlreadyHandledError), new(*letagentpay.MismatchError)
	for name, c := range map[string]struct {
		reads    []httpmock.Responder
		category string
		currency string
		runs     bool
		want     any
	}{
		"approved":               {as("49.99", "groceries", "approved"), "groceries", "", true, nil},
		"auto-approved":          {as("49.99", "groceries", "auto_approved"), "groceries", "", true, nil},
		"spelled differently":    {as("49.99", "food_delivery", "approved"), " Food-Delivery", "", true, nil},
		"filed under other":      {as("49.99", "other", "approved"), "Casino chips", "", true, nil},
		"by an unknown alias":    {as("49.99", "taxi", "approved"), "uber", "", false, mismatch},
		"currency, too":          {as("49.99", "groceries", "approved"), "groceries", "usd", true, nil},
		"pending, then approved": {as("49.99", "groceries", "pending", "approved"), "groceries", "", true, nil},
		"another amount":         {as("50", "groceries", "approved"), "groceries", "", false, mismatch},
		"another category":       {as("49.99", "taxi", "approved"), "groceries", "", false, mismatch},
		"another currency":       {as("49.99", "groceries", "approved"), "groceries", "EUR", false, mismatch},
		"rejected":               {as("49.99", "groceries", "rejected"), "groceries", "", false, rejected},
		"expired":                {as("49.99", "groceries", "expired"), "groceries", "", false, expired},
		"completed":              {as("49.99", "groceries", "completed"), "groceries", "", false, handled},
		"failed":                 {as("49.99", "groceries", "failed"), "groceries", "", false, handled},
		"unknown":                {unknown, "groceries", "", false, new(*letagentpay.APIError)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/requests/r1", c.reads...).
					on("POST", "/requests/r1/confirm", answer(200, confirmed)).
					on("GET", "/requests", list(item("r1", "2026-03-11T12:00:00+00:00"))).
					on("GET", "/categories", answer(200, `{"categories":["groceries","other","taxi"]}`)).
					on("GET", "/budget", answer(200, someBudget))
				var runs atomic.Int64
				p := groceries()
				p.Category, p.Currency = c.category, c.currency
				ctx := letagentpay.ResumeApproval(t.Context(), "r1")
				_, err := guardGroceries(s.client(), &runs, func(ctx context.Context) (string, error) {
					if _, err := s.client(letagentpay.WithMaxRetries(0)).Authorize(ctx, p); err == nil ||
						errors.Is(err, letagentpay.ErrNotFound) {
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
		s := newService(t).on("GET", "/requests", list(item("r1", "2026-03-11T12:00:00+00:00"))).
			on("GET", "/requests/r1", func(r *http.Request) (*http.Response, error) {
				return answer(200, detail(status.Load().(string)))(r)
			}).
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
