package letagentpaytest_test

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
)

var one = letagentpay.PurchaseParams{Amount: money.Must("1"), Category: "taxi"}

// In a bubble time passes only when the test waits, so an instant can be hit exactly.

func TestARequestOutlivesTheInstantOfItsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		id := purchase(t, srv.Client(), groceries).RequestID
		status := func() letagentpay.Status {
			r, err := srv.Client().Request(t.Context(), id)
			require.NoError(t, err)
			return r.Status
		}
		srv.Advance(30 * time.Minute)
		srv.Sweep()
		assert.Equal(t, letagentpay.StatusPending, status())
		srv.Advance(time.Microsecond)
		assert.Equal(t, letagentpay.StatusExpired, status())
	})
}

func TestTheSweepComesEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		srv.Advance(20 * time.Second)
		id := purchase(t, srv.Client(), groceries).RequestID
		srv.Advance(30*time.Minute + 39*time.Second)
		r, _ := srv.Request(id)
		assert.Equal(t, letagentpay.StatusPending, r.Status)
		srv.Advance(time.Second)
		r, _ = srv.Request(id)
		assert.Equal(t, letagentpay.StatusExpired, r.Status)
	})
}

func TestTheRateLimitEndsAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove))
		client := srv.Client(letagentpay.WithMaxRetries(0))
		for range 60 {
			purchase(t, client, one)
			srv.Advance(time.Second / 2)
		}
		_, err := client.Purchase(t.Context(), one)
		require.ErrorIs(t, err, letagentpay.ErrRateLimited)
		srv.Advance(30*time.Second - time.Microsecond)
		_, err = client.Purchase(t.Context(), one)
		require.ErrorIs(t, err, letagentpay.ErrRateLimited)
		srv.Advance(time.Microsecond)
		purchase(t, client, one)
	})
}

func TestAKeyIsForgottenAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove))
		keyed := one
		keyed.IdempotencyKey = "once a day"
		first := purchase(t, srv.Client(), keyed).RequestID
		srv.Advance(24*time.Hour - time.Microsecond)
		assert.Equal(t, first, purchase(t, srv.Client(), keyed).RequestID)
		srv.Advance(time.Microsecond)
		assert.NotEqual(t, first, purchase(t, srv.Client(), keyed).RequestID)
	})
}

func TestALimitDoesNotCountThePeriodOfTheSameNumberBefore(t *testing.T) {
	march := time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC) // a Wednesday, of the 11th week
	for name, test := range map[string]struct {
		limit string
		next  time.Time
	}{
		"day, a month later":   {"daily_limit", time.Date(2026, 4, 11, 12, 0, 0, 0, time.UTC)},
		"day, a year later":    {"daily_limit", time.Date(2027, 3, 11, 12, 0, 0, 0, time.UTC)},
		"week, a year later":   {"weekly_limit", time.Date(2027, 3, 17, 12, 0, 0, 0, time.UTC)},
		"month, a year later":  {"monthly_limit", time.Date(2027, 3, 11, 12, 0, 0, 0, time.UTC)},
		"month, 4 years later": {"monthly_limit", time.Date(2030, 3, 11, 12, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithStart(march),
				letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}, "`+test.limit+`": 50}`))
			assert.Equal(t, letagentpay.StatusAutoApproved, purchase(t, srv.Client(), groceries).Status)
			assert.Equal(t, letagentpay.StatusRejected, purchase(t, srv.Client(), groceries).Status, "80 of 50")
			srv.Advance(test.next.Sub(march))
			assert.Equal(t, letagentpay.StatusAutoApproved, purchase(t, srv.Client(), groceries).Status)
			assert.Equal(t, letagentpay.StatusRejected, purchase(t, srv.Client(), groceries).Status,
				"the new one counts")
		})
	}
}

func TestADayThatReturnsWithAnotherTimezoneIsStillCounted(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithTimezone("Asia/Tokyo"),
		letagentpaytest.WithStart(time.Date(2026, 3, 11, 22, 0, 0, 0, time.UTC)), // the 12th in Tokyo
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}, "daily_limit": 50}`))
	for _, step := range []struct {
		timezone string
		want     letagentpay.Status
	}{
		{"Asia/Tokyo", letagentpay.StatusAutoApproved},
		{"UTC", letagentpay.StatusAutoApproved},
		{"Asia/Tokyo", letagentpay.StatusRejected},
		{"UTC", letagentpay.StatusRejected},
	} {
		require.NoError(t, srv.Account("main").Patch([]byte(`{"timezone": "`+step.timezone+`"}`)))
		assert.Equal(t, step.want, purchase(t, srv.Client(), groceries).Status, step.timezone)
	}
}

func TestALimitCountsEachCurrencyByItself(t *testing.T) {
	for _, limit := range []string{"daily_limit", "weekly_limit", "monthly_limit"} {
		t.Run(limit, func(t *testing.T) {
			srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
				letagentpaytest.WithStart(time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)),
				letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}, "`+limit+`": 50}`))
			for _, step := range []struct {
				currency string
				want     letagentpay.Status
			}{
				{"USD", letagentpay.StatusAutoApproved},
				{"EUR", letagentpay.StatusAutoApproved},
				{"EUR", letagentpay.StatusRejected},
				{"USD", letagentpay.StatusRejected},
			} {
				require.NoError(t, srv.Account("main").Patch([]byte(`{"currency": "`+step.currency+`"}`)))
				bought := purchase(t, srv.Client(), groceries)
				assert.Equal(t, step.currency, bought.Currency)
				assert.Equal(t, step.want, bought.Status, step.currency)
			}
		})
	}
}

func TestALateRejectionFindsTheRequestExpired(t *testing.T) {
	for name, human := range map[string]func(*letagentpaytest.Server) letagentpaytest.Verdict{
		"given late": func(*letagentpaytest.Server) letagentpaytest.Verdict {
			return letagentpaytest.Reject().After(40 * time.Minute)
		},
		"thought about for long": func(srv *letagentpaytest.Server) letagentpaytest.Verdict {
			srv.Advance(40 * time.Minute)
			return letagentpaytest.Reject()
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
			srv.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict { return human(srv) })
			id := purchase(t, srv.Client(), groceries).RequestID
			srv.Advance(time.Hour)
			r, _ := srv.Request(id)
			assert.Equal(t, letagentpay.StatusExpired, r.Status)
		})
	}
}

func TestTheClockShowsUTC(t *testing.T) {
	start := time.Date(2026, 3, 11, 12, 0, 0, 0, time.FixedZone("here", 3600))
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithStart(start))
	assert.Equal(t, time.UTC, srv.Now().Location())
	assert.WithinDuration(t, start, srv.Now(), time.Minute)
}

// authorize asks for an x402 payment in USDC, of no particular resource.
func authorize(
	t *testing.T, srv *letagentpaytest.Server, dollars string,
) (authorized bool, reason string, expires time.Time) {
	t.Helper()
	status, got, err := send(t, srv, http.MethodPost, "/x402/authorize",
		`{"payment_requirements": {"scheme": "exact", "network": "base", "amount": "1", "asset": "USDC",
			"pay_to": "0xb"}, "max_amount_usd": `+dollars+`}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, got)
	var answer struct {
		Authorized bool      `json:"authorized"`
		Reason     string    `json:"reason"`
		ExpiresAt  time.Time `json:"expires_at"`
	}
	require.NoError(t, json.Unmarshal([]byte(got), &answer))
	return answer.Authorized, answer.Reason, answer.ExpiresAt
}

func TestPaymentsCountInAnAccountsTotalOnly(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove),
		letagentpaytest.WithBudgetRules(
			letagentpaytest.BudgetRule{Name: "day", Type: "daily", Limit: money.Must("60")},
			letagentpaytest.BudgetRule{Name: "ever", Type: "total", Limit: money.Must("100")}))
	authorized, reason, expires := authorize(t, srv, "50")
	require.True(t, authorized, reason)
	assert.WithinDuration(t, srv.Now().Add(2*time.Minute), expires, time.Minute/2)

	rejected := purchase(t, srv.Client(), letagentpay.PurchaseParams{Amount: money.Must("50.01"), Category: "taxi"})
	require.Len(t, rejected.PolicyCheck.Failed(), 1)
	assert.Equal(t, "account_budget:ever", rejected.PolicyCheck.Failed()[0].Rule)
	assert.Equal(t, letagentpay.StatusAutoApproved,
		purchase(t, srv.Client(), letagentpay.PurchaseParams{Amount: money.Must("50"), Category: "taxi"}).Status)
}

func TestALimitOfZeroForbidsPurchasesAndNotPayments(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}, "daily_limit": 0,
			"weekly_limit": 0, "monthly_limit": 0}`))
	assert.Equal(t, letagentpay.StatusRejected, purchase(t, srv.Client(), one).Status)
	authorized, reason, _ := authorize(t, srv, "1")
	assert.True(t, authorized, reason)
	srv.SetPolicyJSON(`{"per_request_limit": 0}`)
	_, reason, _ = authorize(t, srv, "0.01")
	assert.Equal(t, "AMOUNT_EXCEEDS_PER_REQUEST_LIMIT", reason)
}

func TestAPatchReplacesAndARefusedOneChangesNothing(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}, "daily_limit": 500}`),
		letagentpaytest.WithAutoReplenish(money.Must("999"), money.Must("5"), money.Must("2000")),
		letagentpaytest.WithAliases(map[string]string{"cab": "taxi"}))
	agent, account := srv.Agent("main"), srv.Account("main")
	policy := func() string {
		_, got, err := send(t, srv, http.MethodGet, "/policy", "")
		require.NoError(t, err)
		return got
	}
	category := func(sent string) string {
		return purchase(t, srv.Client(), letagentpay.PurchaseParams{Amount: money.Must("1"), Category: sent}).Category
	}

	before := policy()
	require.Error(t, agent.Patch([]byte(`{"policy": {"daily_limit": 1}, "auto_replenish": {"amount": "400"},
		"status": "gone"}`)))
	assert.Equal(t, before, policy())
	category("taxi")
	category("taxi")
	assert.Equal(t, "1005.00", srv.Budget().Budget.String(), "topped up as before")
	require.NoError(t, agent.Patch([]byte(`{"auto_replenish": {"enabled": true, "amount": "400"}}`)))
	srv.SetBudget(money.Must("500"))
	category("taxi")
	assert.Equal(t, "500.00", srv.Budget().Budget.String(), "the new rule has no threshold")
	require.NoError(t, agent.Patch([]byte(`{"spent": "10.005"}`)))
	assert.Equal(t, "10.01", srv.Budget().Spent.String())

	require.Error(t, account.Patch([]byte(`{"aliases": {"bus": "taxi"}, "categories": ["x"], "currency": "nope"}`)))
	require.NoError(t, account.Patch([]byte(`{"request_expiry_minutes": 7}`)))
	assert.Equal(t, "other", category("bus"))
	assert.Equal(t, "taxi", category("cab"))
	require.NoError(t, account.Patch([]byte(`{"aliases": {"bus": "taxi"}}`)))
	assert.Equal(t, "taxi", category("bus"))
	assert.Equal(t, "other", category("cab"))
	require.NoError(t, account.Patch([]byte(`{"categories": ["boats", "other"]}`)))
	assert.Equal(t, "boats", category("boats"))
	assert.Equal(t, "other", category("taxi"))

	another, err := letagentpaytest.NewServer(t, letagentpaytest.InMemory()).Client().Categories(t.Context())
	require.NoError(t, err)
	assert.Contains(t, another, "accommodation", "the defaults are not the first server's")
	assert.NotContains(t, strings.Join(another, " "), "boats")
}

func TestCloseWaitsForCallsInFlight(t *testing.T) {
	srv, err := letagentpaytest.Start()
	require.NoError(t, err)
	asked, released := make(chan struct{}), make(chan struct{})
	var done atomic.Bool
	srv.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
		close(asked)
		<-released
		for range 1000 {
			runtime.Gosched() // give Close every chance to be early
		}
		done.Store(true)
		return letagentpaytest.Verdict{}
	})
	failed := make(chan error)
	go func() {
		_, _, err := send(t, srv, http.MethodPost, "/requests", `{"amount": 5, "category": "taxi"}`)
		failed <- err
	}()
	<-asked
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		srv.Close()
	}()
	require.Error(t, <-failed, "the connection is cut at once")
	close(released)
	<-closed
	assert.True(t, done.Load())
}
