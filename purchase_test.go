package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/operation"
	"github.com/letagentpay/letagentpay-go/policy"
)

func TestStatus(t *testing.T) {
	for status, want := range map[letagentpay.Status][3]bool{ // approved, decided, final
		letagentpay.StatusPending:      {false, false, false},
		letagentpay.StatusAutoApproved: {true, true, false},
		letagentpay.StatusApproved:     {true, true, false},
		letagentpay.StatusRejected:     {false, true, true},
		letagentpay.StatusExpired:      {false, true, true},
		letagentpay.StatusCompleted:    {false, true, true},
		letagentpay.StatusFailed:       {false, true, true},
		"":                             {false, false, false},
		"APPROVED":                     {false, false, false},
		"approved_by_somebody":         {false, false, false},
	} {
		assert.Equal(t, want, [3]bool{status.Approved(), status.Decided(), status.Final()}, status)
	}
}

func TestPurchase(t *testing.T) {
	s := newService(t).on("POST", "/requests", answer(201, rejectedAnswer))
	purchase, err := s.client().Purchase(t.Context(), letagentpay.PurchaseParams{
		Amount:         letagentpay.MustAmount("1234.5"),
		Category:       "Yachts",
		Currency:       "usd",
		MerchantName:   "Wharf & Co <1>",
		Description:    "Ünï ☕\n2",
		AgentComment:   "wanted",
		IdempotencyKey: "turn 7/yacht",
	})
	require.NoError(t, err, "a rejection is an answer")
	assert.Equal(t, &letagentpay.Purchase{
		RequestID:        "r1",
		Status:           letagentpay.StatusRejected,
		Amount:           letagentpay.MustAmount("1234.5"),
		Currency:         "USD",
		Category:         "other",
		OriginalCategory: "Yachts",
		MerchantName:     "Wharf & Co <1>",
		Description:      "Ünï ☕\n2",
		IdempotencyKey:   "turn 7/yacht",
		PolicyCheck: letagentpay.PolicyCheck{Checks: []letagentpay.Check{
			{Rule: "status", Result: policy.Pass, Detail: "active"},
			{Rule: "budget", Result: policy.Fail, Detail: "500.00 left"},
		}},
	}, purchase)
	assert.Equal(t, []letagentpay.Check{
		{Rule: "budget", Result: policy.Fail, Detail: "500.00 left"},
	}, purchase.PolicyCheck.Failed())

	sent := s.recorded()[0]
	assert.Equal(t, "turn 7/yacht", sent.Header.Get("Idempotency-Key"))
	assert.Equal(t, "application/json", sent.Header.Get("Content-Type"))
	assert.JSONEq(t, `{"amount":1234.50,"category":"Yachts","currency":"USD","merchant_name":"Wharf & Co <1>",
		"description":"Ünï ☕\n2","agent_comment":"wanted"}`, sent.Body)
	assert.Contains(t, sent.Body, `"amount":1234.50`, "the literal keeps its decimals")
}

func TestPurchaseAnswers(t *testing.T) {
	client := newService(t).on("POST", "/requests", answer(201, autoApproved), answer(201, pendingAnswer),
		answer(201, `{"request_id":"r1","status":"escalated","currency":"USD","category":"groceries",
			"auto_approved":false,"policy_check":{"passed":false,"checks":[{"rule":"new","result":"ask","new":1}]},
			"new":{},"budget_remaining":-12.5,"expires_at":"2026-03-11 12:30:00.5"}`)).client()
	purchase, err := client.Purchase(t.Context(), groceries())
	require.NoError(t, err)
	assert.True(t, purchase.AutoApproved)
	assert.True(t, purchase.Status.Approved())
	assert.Equal(t, letagentpay.MustAmount("450.01"), *purchase.BudgetRemaining)
	assert.Zero(t, purchase.ExpiresAt)
	assert.NotEmpty(t, purchase.IdempotencyKey)

	purchase, err = client.Purchase(t.Context(), groceries())
	require.NoError(t, err)
	assert.Equal(t, time.Date(2026, 3, 11, 12, 30, 0, 0, time.UTC), purchase.ExpiresAt.UTC())
	assert.Nil(t, purchase.BudgetRemaining)

	purchase, err = client.Purchase(t.Context(), groceries())
	require.NoError(t, err, "unknown fields and values do not break decoding")
	assert.False(t, purchase.Status.Approved() || purchase.Status.Decided())
	assert.Equal(t, "-12.50", purchase.BudgetRemaining.String())
	assert.Equal(t, time.Date(2026, 3, 11, 12, 30, 0, 500_000_000, time.UTC), purchase.ExpiresAt.UTC())
}

func TestBadPurchasesAreNotSent(t *testing.T) {
	type params = letagentpay.PurchaseParams
	client := newService(t).client() // any call would fail the test with an unexpected request
	for name, c := range map[string]struct {
		change func(*params)
		field  string
	}{
		"zero":             {func(p *params) { p.Amount = letagentpay.Amount{} }, "Amount"},
		"negative":         {func(p *params) { p.Amount = p.Amount.Neg() }, "Amount"},
		"three decimals":   {func(p *params) { p.Amount = letagentpay.MustAmount("0.125") }, "Amount"},
		"too much":         {func(p *params) { p.Amount = letagentpay.MustAmount("9999999.01") }, "Amount"},
		"no category":      {func(p *params) { p.Category = "" }, "Category"},
		"blank category":   {func(p *params) { p.Category = " \t" }, "Category"},
		"long category":    {func(p *params) { p.Category = strings.Repeat("ü", 51) }, "Category"},
		"currency words":   {func(p *params) { p.Currency = "dollars" }, "Currency"},
		"currency symbol":  {func(p *params) { p.Currency = "US$" }, "Currency"},
		"long merchant":    {func(p *params) { p.MerchantName = strings.Repeat("m", 256) }, "MerchantName"},
		"long description": {func(p *params) { p.Description = strings.Repeat("d", 2001) }, "Description"},
		"long comment":     {func(p *params) { p.AgentComment = strings.Repeat("c", 2001) }, "AgentComment"},
		"bad UTF-8":        {func(p *params) { p.Description = "\xff" }, "Description"},
		"NUL":              {func(p *params) { p.Description = "a\x00b" }, "Description"},
		"key on two lines": {func(p *params) { p.IdempotencyKey = "a\r\nX: y" }, "IdempotencyKey"},
		"key not ASCII":    {func(p *params) { p.IdempotencyKey = "schlüssel" }, "IdempotencyKey"},
		"key in spaces":    {func(p *params) { p.IdempotencyKey = " k " }, "IdempotencyKey"},
		"long key":         {func(p *params) { p.IdempotencyKey = strings.Repeat("k", 256) }, "IdempotencyKey"},
	} {
		t.Run(name, func(t *testing.T) {
			p := groceries()
			c.change(&p)
			ran := false
			guarded := letagentpay.Guard(client,
				func(letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p },
				func(context.Context, letagentpay.PurchaseParams) (int, error) { ran = true; return 0, nil })
			_, purchaseErr := client.Purchase(t.Context(), p)
			_, guardErr := guarded(t.Context(), p)
			for _, err := range []error{purchaseErr, guardErr} {
				var param *letagentpay.ParamError
				require.ErrorAs(t, err, &param)
				assert.Equal(t, "PurchaseParams."+c.field, param.Field)
				assert.LessOrEqual(t, len([]rune(param.Value)), 81)
			}
			assert.False(t, ran)
		})
	}
	for _, p := range []letagentpay.PurchaseParams{
		{Amount: letagentpay.MustAmount("9999999"), Category: strings.Repeat("ü", 50)},
		{
			Amount:         letagentpay.MustAmount("0.01"),
			Category:       "x",
			MerchantName:   strings.Repeat("ü", 255),
			Description:    strings.Repeat("ü", 2000),
			IdempotencyKey: strings.Repeat("~", 255),
		},
	} {
		row := fmt.Sprintf(`{"request_id":"r1","status":"auto_approved","amount":%v,"currency":"USD","category":%q,
			"merchant":%q,"description":%q,"created_at":"2026-03-11T12:00:00Z"}`,
			p.Amount, p.Category, p.MerchantName, p.Description)
		_, err := newService(t).on("POST", "/requests",
			answer(201, strings.ReplaceAll(autoApproved, "groceries", p.Category))).
			on("GET", "/requests", list(row)).client().Purchase(t.Context(), p)
		require.NoError(t, err, "the limits are inclusive and count characters")
	}
}

func TestOnePurchaseOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("POST", "/requests", answer(503, ``), broken(errReset), answer(201, autoApproved[:30]),
			answer(429, `{"detail":"Too many requests. Please try again later."}`), answer(201, autoApproved))
		purchase, err := s.client().Purchase(t.Context(), groceries())
		require.NoError(t, err)
		calls := s.recorded()
		require.Len(t, calls, 5)
		for i, call := range calls {
			assert.Equal(t, purchase.IdempotencyKey, call.Header.Get("Idempotency-Key"), "one key on all retries")
			assert.Equal(t, calls[0].Body, call.Body)
			if i > 0 && i < 4 {
				assert.GreaterOrEqual(t, call.At.Sub(calls[i-1].At), 2*time.Second,
					"an unclear attempt gets time to end")
			}
		}
		again, err := s.client().Purchase(t.Context(), groceries())
		require.NoError(t, err)
		assert.NotEqual(t, purchase.IdempotencyKey, again.IdempotencyKey, "another purchase, another key")
	})
}

func TestPurchaseWithUnknownOutcome(t *testing.T) {
	type answers = []httpmock.Responder
	rateLimited := answer(429, `{"detail":"Too many requests. Please try again later."}`)
	for name, c := range map[string]struct {
		answers answers
		unknown bool
		is      error
	}{
		"lost for good": {answers{broken(errReset)}, true, letagentpay.ErrNoResponse},
		"server fails":  {answers{answer(500, ``)}, true, letagentpay.ErrServer},
		"malformed":     {answers{answer(201, `{}`)}, true, letagentpay.ErrMalformedResponse},
		"wrong content type": {
			answers{answer(201, autoApproved, "Content-Type", "text/plain")}, true, letagentpay.ErrMalformedResponse,
		},
		"lost, then forbidden": {
			answers{broken(errReset), answer(403, `{"detail":"Agent is paused"}`)}, true, letagentpay.ErrForbidden,
		},
		"lost, then rate limited": {answers{broken(errReset), rateLimited}, true, letagentpay.ErrRateLimited},
		"lost, then no connection": {
			answers{broken(errReset), broken(errRefused)}, true, letagentpay.ErrNoResponse,
		},
		"lost, then refused as too many": {
			answers{
				broken(errReset),
				answer(429, `{"detail":"Too many pending requests. Wait for existing requests to be resolved."}`),
			},
			true, letagentpay.ErrTooManyPending,
		},
		"lost, then refused as invalid": {
			answers{broken(errReset), answer(400, `{"detail":"Currency mismatch: expected EUR"}`)},
			false,
			letagentpay.ErrInvalid,
		},
		"never connected": {answers{broken(errRefused)}, false, letagentpay.ErrNoResponse},
		"rate limited":    {answers{rateLimited}, false, letagentpay.ErrRateLimited},
		"forbidden": {
			answers{answer(403, `{"detail":"Agent is paused"}`)}, false, letagentpay.ErrForbidden,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests", c.answers...).on("GET", "/requests", list(""))
				purchase, err := s.client(letagentpay.WithMaxRetries(2)).Purchase(t.Context(), groceries())
				assert.Nil(t, purchase)
				require.ErrorIs(t, err, c.is)
				var unknown *letagentpay.OutcomeUnknownError
				if assert.Equal(t, c.unknown, assert.ErrorAs(discard{}, err, &unknown)) && c.unknown {
					assert.Equal(t, s.recorded()[0].Header.Get("Idempotency-Key"), unknown.IdempotencyKey)
					assert.Contains(t, err.Error(), unknown.IdempotencyKey)
				}
				var failure *letagentpay.APIError
				require.ErrorAs(t, err, &failure)
				assert.NotEmpty(t, failure.IdempotencyKey, "the key is in every error")
			})
		})
	}
}

// discard evaluates an assertion without failing the test.
type discard struct{}

func (discard) Errorf(string, ...any) {}

func TestCancelledPurchaseReturnsAtOnceWithItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begun := time.Now()
		_, err := newService(t).on("POST", "/requests", hangs).client().Purchase(ctx, groceries())
		assert.Equal(t, time.Second, time.Since(begun))
		require.ErrorIs(t, err, context.Canceled)
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		assert.Equal(t, operation.Purchase, unknown.Op)
	})
}

func TestPurchasesUnderOneKeyNeverOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		under, most := map[string]int{}, map[string]int{}
		s := newService(t).on("POST", "/requests", func(r *http.Request) (*http.Response, error) {
			key := r.Header.Get("Idempotency-Key")
			mu.Lock()
			under[key]++
			most[key] = max(most[key], under[key])
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			under[key]--
			mu.Unlock()
			return answer(201, autoApproved)(r)
		}).on("GET", "/requests", list(item("r1", "2026-03-11T12:00:00Z")))
		clients := []*letagentpay.Client{s.client(), s.client()} // two clients of one agent count as one
		begun := time.Now()
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() {
				p := groceries()
				p.IdempotencyKey = fmt.Sprint("key ", i%2)
				_, err := clients[i/2%2].Purchase(t.Context(), p)
				assert.NoError(t, err)
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		p := groceries()
		p.IdempotencyKey = "key 0"
		_, err := clients[0].Purchase(ctx, p)
		require.ErrorIs(t, err, context.DeadlineExceeded, "the wait for the lock ends with the context")
		var unknown *letagentpay.OutcomeUnknownError
		assert.NotErrorAs(t, err, &unknown, "and nothing was sent")
		group.Wait()
		assert.Equal(t, map[string]int{"key 0": 1, "key 1": 1}, most)
		assert.Equal(t, 5*time.Second, time.Since(begun), "different keys do overlap")
	})
}

func TestRequest(t *testing.T) {
	s := newService(t).on("GET", "/requests/r1",
		answer(200, `{"request_id":"r1","status":"approved","amount":49.9,"category":"groceries",
			"created_at":"2026-03-11T12:00:00+00:00","reviewed_at":"2026-03-11T12:01:00.250000+00:00"}`))
	request, err := s.client().Request(t.Context(), "r1")
	require.NoError(t, err)
	assert.Equal(t, letagentpay.MustAmount("49.90"), request.Amount)
	assert.True(t, request.CreatedAt.Equal(time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)))
	assert.True(t, request.ReviewedAt.Equal(time.Date(2026, 3, 11, 12, 1, 0, 250_000_000, time.UTC)))
	assert.Zero(t, request.ExpiresAt)
}

func TestBadRequestIDsAreNotSent(t *testing.T) {
	client := newService(t).client()
	for _, id := range []string{
		"", ".", "..", "a/b", "../budget", `a\b`, "a?b", "a#b", "a%2fb", "a b", "a\nb", "a\x00b",
		strings.Repeat("x", 256), "x..y", "3f2a9c1e/0b7d/4c55/9e21/aa01bb02cc03",
	} {
		for name, call := range map[string]func() error{
			"Request":         func() error { _, err := client.Request(t.Context(), id); return err },
			"Confirm":         func() error { _, err := client.Confirm(t.Context(), id, completed()); return err },
			"WaitForDecision": func() error { _, err := client.WaitForDecision(t.Context(), id); return err },
			"Authorize": func() error {
				_, err := client.Authorize(letagentpay.ResumeApproval(t.Context(), id), groceries())
				return err
			},
		} {
			var param *letagentpay.ParamError
			require.ErrorAs(t, call(), &param, "%s %q", name, id)
			assert.Equal(t, "requestID", param.Field)
		}
	}
	word := strings.Repeat("purchase", 4) // as long as a UUID without hyphens
	s := newService(t).on("GET", "/requests/%C3%BC-1",
		answer(200, strings.Replace(detail("approved"), "r1", "ü-1", 1))).
		on("GET", "/requests/"+word, answer(200, strings.Replace(detail("approved"), "r1", word, 1)))
	for _, id := range []string{"ü-1", word} {
		_, err := s.client().Request(t.Context(), id)
		require.NoError(t, err, "an id may be any word")
	}
}

// listService answers the list as the service does: newest first, with the page's length as the total.
type listService struct {
	mu     sync.Mutex
	ids    []string // oldest first
	arrive int      // how many new ones arrive between two pages
}

func (l *listService) answer(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var limit, offset int
	_, _ = fmt.Sscan(r.URL.Query().Get("limit"), &limit)
	_, _ = fmt.Sscan(r.URL.Query().Get("offset"), &offset)
	var items []string
	for i := len(l.ids) - 1 - offset; i >= 0 && len(items) < limit; i-- {
		items = append(items, `{"request_id":"`+l.ids[i]+`","status":"pending","amount":1.0,"currency":"USD",
			"category":"other","merchant":"m","description":null,"created_at":"2026-03-11T12:00:00+00:00",
			"reviewed_at":null,"expires_at":"2026-03-11T12:30:00+00:00"}`)
	}
	for range l.arrive {
		l.ids = append(l.ids, fmt.Sprint("new", len(l.ids)))
	}
	return answer(200, fmt.Sprintf(`{"requests":[%s],"total":%d,"limit":%d,"offset":%d}`, strings.Join(items, ","),
		len(items), limit, offset))(r)
}

func TestRequestsPages(t *testing.T) {
	for _, arrive := range []int{0, 1, 3, 7} {
		list := &listService{arrive: arrive}
		for i := range 20 {
			list.ids = append(list.ids, fmt.Sprint("r", i))
		}
		s := newService(t).on("GET", "/requests", list.answer)
		var got []string
		for request, err := range s.client().Requests(t.Context(), letagentpay.ListParams{PageSize: 8}) {
			require.NoError(t, err)
			got = append(got, request.RequestID)
			assert.Equal(t, "USD", request.Currency)
			assert.Equal(t, "m", request.MerchantName)
			assert.False(t, request.ExpiresAt.IsZero())
			if len(got) > 1000 {
				t.Fatal("the list does not end")
			}
			if len(got) == 15 {
				list.mu.Lock()
				list.arrive = 0
				list.mu.Unlock()
			}
		}
		want := make([]string, 20)
		for i := range want {
			want[i] = fmt.Sprint("r", 19-i)
		}
		assert.Equal(t, want, got, "%d arriving: each once, newest first", arrive)
	}
}

func TestRequestsStops(t *testing.T) {
	list := &listService{ids: []string{"a", "b", "c", "d"}}
	s := newService(t).on("GET", "/requests", list.answer)
	sequence := s.client().Requests(t.Context(), letagentpay.ListParams{PageSize: 2, Status: letagentpay.StatusPending})
	assert.Empty(t, s.recorded(), "nothing is sent before the loop")
	for range 2 {
		for request, err := range sequence {
			require.NoError(t, err)
			if request.RequestID == "d" {
				break
			}
		}
	}
	assert.Len(t, s.recorded(), 2, "a loop left early reads no more pages, and the sequence may be used again")
	assert.Equal(t, "limit=2&offset=0&status=pending", s.recorded()[0].Query)

	var errs []error
	s = newService(t).on("GET", "/requests", list.answer, answer(403, `{"detail":"Agent is paused"}`))
	for request, err := range s.client().Requests(t.Context(), letagentpay.ListParams{PageSize: 4}) {
		if err != nil {
			assert.Nil(t, request)
			errs = append(errs, err)
		}
	}
	require.Len(t, errs, 1, "an error ends the list")
	require.ErrorIs(t, errs[0], letagentpay.ErrForbidden)

	for _, p := range []letagentpay.ListParams{{PageSize: -1}, {PageSize: 101}, {Status: "PENDING"}} {
		for _, err := range newService(t).client().Requests(t.Context(), p) {
			require.ErrorIs(t, err, letagentpay.ErrInvalid)
		}
	}
	for _, body := range []string{`{"requests":null}`, `{"requests":[{}]}`, `[]`} {
		client := newService(t).on("GET", "/requests", answer(200, body)).client(letagentpay.WithMaxRetries(0))
		for _, err := range client.Requests(t.Context(), letagentpay.ListParams{}) {
			require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)
		}
	}
}

func TestAccount(t *testing.T) {
	s := newService(t).
		on("GET", "/budget",
			answer(200, `{"budget":"500.00","spent":"510.5","held":0,"remaining":"-10.50","currency":"EUR",
				"later":1}`)).
		on("GET", "/policy",
			answer(200, `{"policy":null}`),
			answer(200, `{"policy":{"daily_limit":"100.50","auto_approve":{"enabled":true,"max_amount":20}}}`),
			answer(200, `{"policy":{"daily_limit":[]}}`)).
		on("GET", "/categories",
			answer(200, `{"categories":["groceries","other"]}`),
			answer(200, `{"categories":[]}`),
			answer(200, `{"categories":null}`))
	client := s.client(letagentpay.WithMaxRetries(0))
	budget, err := client.Budget(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "500.00 510.50 0.00 -10.50 EUR",
		fmt.Sprint(budget.Budget, " ", budget.Spent, " ", budget.Held, " ", budget.Remaining, " ", budget.Currency))

	rules, err := client.Policy(t.Context())
	require.NoError(t, err)
	assert.Nil(t, rules, "no rules set")
	rules, err = client.Policy(t.Context())
	require.NoError(t, err)
	assert.Equal(t, letagentpay.MustAmount("100.5"), *rules.DailyLimit)
	_, err = client.Policy(t.Context())
	require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)

	categories, err := client.Categories(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"groceries", "other"}, categories)
	categories, err = client.Categories(t.Context())
	require.NoError(t, err)
	assert.Empty(t, categories)
	_, err = client.Categories(t.Context())
	require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)
}

// The caller that cancels a purchase does not know when the service finishes it. A repeat under its key must not
// overlap it.
func TestRepeatedPurchaseWaitsForTheCancelledOne(t *testing.T) {
	for name, key := range map[string]string{"random key": "", "own key": "turn-7"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests", hangs, answer(201, autoApproved)).
					on("GET", "/requests", list(item("r1", "2026-03-11T12:00:00Z")))
				client := s.client()
				p := groceries()
				p.IdempotencyKey = key
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := client.Purchase(ctx, p)
				var unknown *letagentpay.OutcomeUnknownError
				require.ErrorAs(t, err, &unknown)
				p.IdempotencyKey = unknown.IdempotencyKey
				_, err = client.Purchase(t.Context(), p)
				require.NoError(t, err)
				var posts []time.Time
				for _, call := range s.recorded() {
					if call.Method == http.MethodPost {
						posts = append(posts, call.At)
					}
				}
				require.Len(t, posts, 2)
				assert.Equal(t, 3*time.Second, posts[1].Sub(posts[0]), "two seconds after the end of the first")
			})
		})
	}
}

// A user's transport that tries several ways returns all of their errors. The outcome is unknown if one attempt may
// have arrived.
func TestOutcomeIsUnknownWhenOneOfSeveralAttemptsMayHaveArrived(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errRefused}
	for name, failure := range map[string]error{
		"no connection":    errors.Join(io.ErrUnexpectedEOF, dial),
		"untrusted server": errors.Join(context.DeadlineExceeded, x509Error()),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				defaultLog(t)
				server := serve(t)
				inner := server.HTTPClient().Transport
				client := server.Client(letagentpay.WithMaxRetries(0),
					through(exchange(func(r *http.Request) (*http.Response, error) {
						response, err := inner.RoundTrip(r)
						if r.Method == http.MethodGet || err != nil {
							return response, err
						}
						response.Body.Close()
						return nil, failure
					})))
				_, err := client.Purchase(t.Context(), price("30"))
				var unknown *letagentpay.OutcomeUnknownError
				require.ErrorAs(t, err, &unknown)
				approved := server.Requests()[0].RequestID
				_, err = client.Confirm(t.Context(), approved, letagentpay.ConfirmParams{})
				require.NoError(t, err, "the request was read")
				assert.Len(t, server.Calls().Of(operation.Confirm), 1)
			})
		})
	}
}
