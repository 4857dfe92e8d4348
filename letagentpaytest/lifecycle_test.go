package letagentpaytest_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const autoApprove = `{"auto_approve": {"enabled": true}}`

var groceries = letagentpay.PurchaseParams{Amount: money.Must("40"), Category: "groceries"}

func purchase(t *testing.T, client *letagentpay.Client, p letagentpay.PurchaseParams) *letagentpay.Purchase {
	t.Helper()
	bought, err := client.Purchase(t.Context(), p)
	require.NoError(t, err)
	return bought
}

func budget(spent, held string) letagentpaytest.Budget {
	b := letagentpaytest.Budget{Budget: money.Must("1000"), Spent: money.Must(spent), Held: money.Must(held)}
	b.Remaining = b.Budget.Sub(b.Spent).Sub(b.Held)
	return b
}

func TestLifecycle(t *testing.T) {
	type server = letagentpaytest.Server
	approve := func(t *testing.T, srv *server, id string) { require.NoError(t, srv.Approve(id)) }
	reject := func(t *testing.T, srv *server, id string) { require.NoError(t, srv.Reject(id)) }
	confirm := func(p letagentpay.ConfirmParams) func(*testing.T, *server, string) {
		return func(t *testing.T, srv *server, id string) {
			_, err := srv.Client().Confirm(t.Context(), id, p)
			require.NoError(t, err)
		}
	}
	for name, test := range map[string]struct {
		policy string
		steps  []func(*testing.T, *server, string)
		status letagentpay.Status
		budget letagentpaytest.Budget
		actual string
	}{
		"auto-approved": {policy: autoApprove, status: letagentpay.StatusAutoApproved, budget: budget("40", "0")},
		"rejected by the policy": {
			policy: `{"blocked_categories": ["groceries"]}`,
			status: letagentpay.StatusRejected,
			budget: budget("0", "0"),
		},
		"pending": {status: letagentpay.StatusPending, budget: budget("0", "40")},
		"approved": {
			steps:  []func(*testing.T, *server, string){approve},
			status: letagentpay.StatusApproved,
			budget: budget("40", "0"),
		},
		"rejected by a human": {
			steps:  []func(*testing.T, *server, string){reject},
			status: letagentpay.StatusRejected,
			budget: budget("0", "0"),
		},
		"completed": {
			steps:  []func(*testing.T, *server, string){approve, confirm(letagentpay.ConfirmParams{Success: true})},
			status: letagentpay.StatusCompleted, budget: budget("40", "0"),
		},
		"completed for less": {
			policy: autoApprove,
			steps: []func(*testing.T, *server, string){
				confirm(letagentpay.ConfirmParams{
					Success:      true,
					ActualAmount: money.Must("38.50"),
					ReceiptURL:   "https://shop.example/r",
				}),
			},
			status: letagentpay.StatusCompleted, budget: budget("38.50", "0"), actual: "38.50",
		},
		"failed": {
			steps:  []func(*testing.T, *server, string){approve, confirm(letagentpay.ConfirmParams{})},
			status: letagentpay.StatusFailed, budget: budget("0", "0"),
		},
		"expired by the sweep": {
			steps: []func(*testing.T, *server, string){
				func(_ *testing.T, srv *server, _ string) { srv.Advance(32 * time.Minute) },
			},
			status: letagentpay.StatusExpired, budget: budget("0", "0"),
		},
		"overdue, not swept yet": {
			steps: []func(*testing.T, *server, string){func(_ *testing.T, srv *server, _ string) {
				srv.Advance(30*time.Minute + 30*time.Second)
			}},
			status: letagentpay.StatusPending, budget: budget("0", "40"),
		},
		"expired by hand": {
			steps: []func(*testing.T, *server, string){func(_ *testing.T, srv *server, _ string) {
				srv.Advance(30*time.Minute + 30*time.Second)
				srv.Sweep()
			}},
			status: letagentpay.StatusExpired, budget: budget("0", "0"),
		},
		"expired by a read": {
			steps: []func(*testing.T, *server, string){func(t *testing.T, srv *server, id string) {
				srv.Advance(30*time.Minute + 30*time.Second)
				r, err := srv.Client().Request(t.Context(), id)
				require.NoError(t, err)
				assert.Equal(t, letagentpay.StatusExpired, r.Status)
			}},
			status: letagentpay.StatusExpired, budget: budget("0", "0"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(test.policy))
			id := purchase(t, srv.Client(), groceries).RequestID
			for _, step := range test.steps {
				step(t, srv, id)
			}
			r, ok := srv.Request(id)
			require.True(t, ok)
			assert.Equal(t, test.status, r.Status)
			assert.Equal(t, test.budget, srv.Budget())
			if test.actual != "" {
				assert.Equal(t, test.actual, r.ActualAmount.String())
			} else {
				assert.Zero(t, r.ActualAmount)
			}
			assert.Equal(t, test.status != letagentpay.StatusPending && test.status != letagentpay.StatusExpired,
				!r.ReviewedAt.IsZero())
		})
	}
}

func TestDecisionErrors(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	var refused *letagentpaytest.DecisionError

	err := srv.Approve("no-such-request")
	require.ErrorAs(t, err, &refused)
	assert.ErrorIs(t, err, letagentpaytest.ErrNotFound)
	assert.Equal(t, "no-such-request", refused.RequestID)
	assert.EqualError(t, err, "letagentpaytest: request no-such-request: no such request")

	id := purchase(t, srv.Client(), groceries).RequestID
	require.NoError(t, srv.Reject(id))
	for _, decide := range []func(string) error{srv.Approve, srv.Reject} {
		err := decide(id)
		require.ErrorAs(t, err, &refused)
		assert.ErrorIs(t, err, letagentpaytest.ErrNotPending)
		assert.Equal(t, letagentpay.StatusRejected, refused.Status)
		assert.EqualError(t, err, "letagentpaytest: request "+id+" (rejected): the request is not pending")
	}

	late := purchase(t, srv.Client(), groceries).RequestID
	srv.Advance(30*time.Minute + time.Second)
	assert.ErrorIs(t, srv.Approve(late), letagentpaytest.ErrExpired)
	assert.ErrorIs(t, srv.Approve(late), letagentpaytest.ErrNotPending)

	tooLate := purchase(t, srv.Client(), groceries).RequestID
	srv.Advance(30*time.Minute + time.Second)
	assert.NoError(t, srv.Reject(tooLate), "the service takes a late rejection")
	assert.Zero(t, srv.Budget().Held)
}

func TestServerRemembersWhatAnAgentSent(t *testing.T) {
	start := time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove),
		letagentpaytest.WithStart(start), letagentpaytest.WithAliases(map[string]string{"supermarket": "groceries"}))
	bought := purchase(t, srv.Client(), letagentpay.PurchaseParams{
		Amount:         money.Must("12.35"),
		Category:       "Supermarket",
		MerchantName:   "Whole Foods",
		Description:    "fruit",
		AgentComment:   "for the party",
		IdempotencyKey: "party-1",
	})
	_, err := srv.Client().Confirm(t.Context(), bought.RequestID, letagentpay.ConfirmParams{
		Success:    true,
		ReceiptURL: "https://r.example",
	})
	require.NoError(t, err)

	requests := srv.Requests()
	require.Len(t, requests, 1)
	r := requests[0]
	assert.WithinDuration(t, start, r.CreatedAt, time.Minute)
	assert.WithinDuration(t, start, r.ReviewedAt, time.Minute)
	assert.NotEmpty(t, r.Checks)
	r.CreatedAt, r.ReviewedAt, r.ExpiresAt, r.Checks = time.Time{}, time.Time{}, time.Time{}, nil
	assert.Equal(t, letagentpaytest.Request{
		RequestID:        bought.RequestID,
		Agent:            "main",
		Status:           letagentpay.StatusCompleted,
		Amount:           money.Must("12.35"),
		Currency:         "USD",
		Category:         "groceries",
		OriginalCategory: "Supermarket",
		MerchantName:     "Whole Foods",
		Description:      "fruit",
		AgentComment:     "for the party",
		IdempotencyKey:   "party-1",
		ReceiptURL:       "https://r.example",
	}, r)

	_, found := srv.Request("another")
	assert.False(t, found)
}

func TestOwnersMeasures(t *testing.T) {
	for name, test := range map[string]struct {
		on, off func(*letagentpaytest.Server)
		detail  string
	}{
		"pause":   {(*letagentpaytest.Server).Pause, (*letagentpaytest.Server).Resume, "Agent is paused"},
		"archive": {(*letagentpaytest.Server).Archive, (*letagentpaytest.Server).Resume, "Agent is archived"},
		"block":   {(*letagentpaytest.Server).Block, (*letagentpaytest.Server).Unblock, "Account is blocked"},
		"pause all": {
			(*letagentpaytest.Server).PauseAll, (*letagentpaytest.Server).ResumeAll,
			"All agents are paused by account owner",
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
			test.on(srv)
			_, err := srv.Client().Budget(t.Context())
			require.ErrorIs(t, err, letagentpay.ErrForbidden)
			var refused *letagentpay.APIError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, test.detail, refused.Detail)
			test.off(srv)
			_, err = srv.Client().Budget(t.Context())
			assert.NoError(t, err)
		})
	}
}

func TestMeasuresHoldInTheServicesOrder(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	detail := func() string {
		_, err := srv.Client().Budget(t.Context())
		var refused *letagentpay.APIError
		require.ErrorAs(t, err, &refused)
		return refused.Detail
	}
	srv.Archive()
	assert.Equal(t, "Agent is archived", detail())
	srv.PauseAll()
	assert.Equal(t, "All agents are paused by account owner", detail())
	srv.Block()
	assert.Equal(t, "Account is blocked", detail())
}

func TestPolicyAndBudgetChange(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	client := srv.Client()
	assert.Equal(t, letagentpay.StatusPending, purchase(t, client, groceries).Status,
		"without a policy a human decides")

	srv.SetPolicyJSON(autoApprove)
	assert.Equal(t, letagentpay.StatusAutoApproved, purchase(t, client, groceries).Status)
	p, err := client.Policy(t.Context())
	require.NoError(t, err)
	require.NotNil(t, p)
	assert.True(t, p.AutoApprove.Enabled)

	srv.SetBudget(money.Must("100"))
	rejected := purchase(t, client, groceries)
	assert.Equal(t, letagentpay.StatusRejected, rejected.Status)
	require.Len(t, rejected.PolicyCheck.Failed(), 1)
	assert.Equal(t, "budget", rejected.PolicyCheck.Failed()[0].Rule)

	limit := money.Must("10")
	p.PerRequestLimit = &limit
	srv.SetPolicy(*p)
	assert.Equal(t, letagentpay.StatusRejected, purchase(t, client, groceries).Status)

	srv.SetPolicyJSON("null")
	p, err = client.Policy(t.Context())
	require.NoError(t, err)
	assert.Nil(t, p)
}

func TestAgentsAndAccounts(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithPolicyJSON(autoApprove),
		letagentpaytest.WithBudgetRules(letagentpaytest.BudgetRule{
			Name:  "family",
			Type:  "daily",
			Limit: money.Must("100"),
		}),
		letagentpaytest.WithAgent("second", letagentpaytest.WithPolicyJSON(autoApprove),
			letagentpaytest.WithBudget(money.Must("70"))),
		letagentpaytest.WithAccount("other", letagentpaytest.WithCurrency("EUR"),
			letagentpaytest.WithAgent("foreign", letagentpaytest.WithPolicyJSON(autoApprove))),
	)
	second, foreign := srv.Agent("second"), srv.Agent("foreign")
	id := purchase(t, srv.Client(), groceries).RequestID

	// Two agents of one account share its rules, and nothing else.
	_, err := second.Client().Request(t.Context(), id)
	assert.ErrorIs(t, err, letagentpay.ErrNotFound)
	assert.Equal(t, money.Must("70"), second.Budget().Remaining)
	rejected := purchase(t, second.Client(), letagentpay.PurchaseParams{Amount: money.Must("60.01"), Category: "taxi"})
	require.Equal(t, letagentpay.StatusRejected, rejected.Status)
	assert.Equal(t, "account_budget:family", rejected.PolicyCheck.Failed()[0].Rule)
	assert.Equal(t, letagentpay.StatusAutoApproved,
		purchase(t, second.Client(), letagentpay.PurchaseParams{Amount: money.Must("60"), Category: "taxi"}).Status)

	// Another account shares nothing.
	bought := purchase(t, foreign.Client(), letagentpay.PurchaseParams{Amount: money.Must("500"), Category: "flights"})
	assert.Equal(t, letagentpay.StatusAutoApproved, bought.Status)
	assert.Equal(t, "EUR", bought.Currency)
	srv.Account("other").Block()
	_, err = foreign.Client().Budget(t.Context())
	assert.ErrorIs(t, err, letagentpay.ErrForbidden)
	_, err = second.Client().Budget(t.Context())
	assert.NoError(t, err)

	var names []string
	for _, a := range srv.Agents() {
		names = append(names, a.Name)
	}
	assert.Equal(t, []string{"main", "foreign", "second"}, names)
	var buyers []string
	for _, r := range srv.Requests() {
		buyers = append(buyers, r.Agent)
	}
	assert.Equal(t, []string{"main", "second", "second", "foreign"}, buyers, "in the order they were made")

	added, err := srv.AddAgent("third", letagentpaytest.AgentConfig{Budget: money.Must("5")})
	require.NoError(t, err)
	_, err = added.Client().Budget(t.Context())
	require.NoError(t, err)
	for name, config := range map[string]letagentpaytest.AgentConfig{
		"third": {}, "": {}, "fourth": {Account: "nobody's"}, "fifth": {Status: "asleep"},
	} {
		_, err := srv.AddAgent(name, config)
		assert.Error(t, err, name)
	}
}

func TestAutoReplenish(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithBudget(money.Must("100")),
		letagentpaytest.WithAutoReplenish(money.Must("50"), money.Must("100"), money.Must("250")))
	id := purchase(t, srv.Client(), letagentpay.PurchaseParams{Amount: money.Must("60"), Category: "taxi"}).RequestID
	assert.Equal(t, money.Must("100"), srv.Budget().Budget, "a hold does not replenish")
	require.NoError(t, srv.Approve(id))
	assert.Equal(t, money.Must("200"), srv.Budget().Budget)
	id = purchase(t, srv.Client(), letagentpay.PurchaseParams{Amount: money.Must("100"), Category: "taxi"}).RequestID
	require.NoError(t, srv.Approve(id))
	assert.Equal(t, money.Must("250"), srv.Budget().Budget, "not above its maximum")
}

func TestClockStartsAndRuns(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithStart(start))
	assert.WithinDuration(t, start, srv.Now(), time.Minute)
	before := srv.Now()
	srv.Advance(36 * time.Hour)
	assert.WithinDuration(t, before.Add(36*time.Hour), srv.Now(), time.Minute)

	response, err := srv.HTTPClient().Get(srv.URL + "/budget")
	require.NoError(t, err)
	defer response.Body.Close()
	date, err := http.ParseTime(response.Header.Get("Date"))
	require.NoError(t, err)
	assert.WithinDuration(t, srv.Now(), date, time.Minute)
	assert.Equal(t, "application/json", response.Header.Get("Content-Type"))
}

func TestSeedRepeatsIDs(t *testing.T) {
	ids := func(seed uint64) []string {
		srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithSeed(seed))
		return []string{srv.Token, srv.Agent("main").ID, purchase(t, srv.Client(), groceries).RequestID}
	}
	assert.Equal(t, ids(7), ids(7))
	assert.NotEqual(t, ids(7), ids(8))
	seen := map[string]bool{}
	for range 3 {
		for _, id := range ids(9) {
			seen[id] = true
		}
	}
	assert.Len(t, seen, 3)
}

func TestMaxHistoryForgetsTheOldest(t *testing.T) {
	const most = 8
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithMaxHistory(most))
	pending := purchase(t, srv.Client(), groceries).RequestID
	srv.SetPolicyJSON(autoApprove)
	var last string
	for range 40 {
		last = purchase(t, srv.Client(), letagentpay.PurchaseParams{
			Amount:   money.Must("1"),
			Category: "taxi",
		}).RequestID
	}
	assert.LessOrEqual(t, len(srv.Requests()), most+most/4+1)
	assert.LessOrEqual(t, len(srv.Calls()), most+most/4)
	for _, id := range []string{pending, last} {
		_, found := srv.Request(id)
		assert.True(t, found)
	}
	assert.Equal(t, money.Must("40"), srv.Budget().Spent, "what was spent is not forgotten")
	require.NoError(t, srv.Approve(pending))
	_, err := srv.Client().Confirm(t.Context(), pending, letagentpay.ConfirmParams{Success: true})
	require.NoError(t, err, "the oldest purchase is the latest decision")

	// The answers under old keys go, too.
	keyed := func(key string) string {
		return purchase(t, srv.Client(), letagentpay.PurchaseParams{
			Amount:         money.Must("1"),
			Category:       "taxi",
			IdempotencyKey: key,
		}).RequestID
	}
	srv.Advance(time.Minute) // past the rate limit
	first, repeated := keyed("first"), keyed("first")
	assert.Equal(t, first, repeated)
	for i := range most {
		keyed(strconv.Itoa(i))
	}
	assert.NotEqual(t, first, keyed("first"))
}

func TestMaxHistoryKeepsTheAnswersUnderSoManyKeys(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithMaxHistory(3),
		letagentpaytest.WithPolicyJSON(autoApprove))
	keyed := func(key string) string {
		p := one
		p.IdempotencyKey = key
		return purchase(t, srv.Client(), p).RequestID
	}
	first, second, third := keyed("first"), keyed("second"), keyed("third")
	assert.Equal(t, []string{first, second, third}, []string{keyed("first"), keyed("second"), keyed("third")})
	fourth := keyed("fourth")
	assert.Equal(t, []string{second, third, fourth}, []string{keyed("second"), keyed("third"), keyed("fourth")})
	assert.NotEqual(t, first, keyed("first"), "only the oldest is forgotten")
}

func TestClosedServer(t *testing.T) {
	for name, options := range map[string][]letagentpaytest.Option{
		"in memory": {letagentpaytest.InMemory()},
		"over HTTP": nil,
	} {
		t.Run(name, func(t *testing.T) {
			srv, err := letagentpaytest.Start(options...)
			require.NoError(t, err)
			client := srv.HTTPClient()
			srv.Close()
			srv.Close()
			_, err = client.Get(srv.URL + "/budget")
			assert.Error(t, err)
		})
	}
}

func TestInMemoryClientReachesNothingElse(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	_, err := srv.HTTPClient().Get("https://letagentpay.com/api/v1/agent-api/budget")
	assert.ErrorContains(t, err, "in-memory server reaches")
}

func TestCallUnderACancelledContext(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/budget", nil)
	require.NoError(t, err)
	_, err = srv.HTTPClient().Do(request)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, srv.Calls())
}
