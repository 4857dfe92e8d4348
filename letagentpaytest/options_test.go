package letagentpaytest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorder stands in for a test and keeps what a server reports to it.
type recorder struct {
	failures []string
	cleanups []func()
}

func (r *recorder) Helper()                           {}
func (r *recorder) Cleanup(f func())                  { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) { r.Fatalf(format, args...) }
func (r *recorder) Fatalf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func TestNilOptionIsReported(t *testing.T) {
	for want, options := range map[string][]letagentpaytest.Option{
		"letagentpay: invalid letagentpaytest.Option: option 0 is nil": {nil},
		"letagentpay: invalid letagentpaytest.Option: option 1 is nil": {letagentpaytest.InMemory(), nil},
		"letagentpay: invalid WithAgent(a): option 0 is nil":           {letagentpaytest.WithAgent("a", nil)},
		"letagentpay: invalid WithAccount(b): option 1 is nil": {
			letagentpaytest.WithAccount("b", letagentpaytest.WithCurrency("EUR"), nil),
		},
		"letagentpay: invalid WithAgent(c): option 0 is nil": {
			letagentpaytest.WithAccount("b", letagentpaytest.WithAgent("c", nil)),
		},
	} {
		_, err := letagentpaytest.Start(options...)
		_, ok := errors.AsType[*letagentpay.ParamError](err)
		assert.True(t, ok, want)
		assert.ErrorIs(t, err, letagentpay.ErrInvalid)
		assert.EqualError(t, err, want)

		tb := &recorder{}
		assert.Nil(t, letagentpaytest.NewServer(tb, options...))
		assert.Equal(t, []string{want}, tb.failures)
	}
}

func TestBadOptions(t *testing.T) {
	rule := letagentpaytest.BudgetRule{Name: "r", Type: policy.Daily, Limit: money.Must("1")}
	changed := func(change func(*letagentpaytest.BudgetRule)) letagentpaytest.Option {
		r := rule
		change(&r)
		return letagentpaytest.WithBudgetRules(r)
	}
	for want, options := range map[string][]letagentpaytest.Option{
		"WithPolicyJSON":        {letagentpaytest.WithPolicyJSON(`{"daily_limit": "much"}`)},
		"is below zero":         {letagentpaytest.WithBudget(money.Must("5").Sub(money.Must("6")))},
		"is beyond":             {letagentpaytest.WithBudget(money.FromHundredths(1_000_000_000_000))},
		"amounts must be above": {letagentpaytest.WithAutoReplenish(money.Amount{}, money.Must("1"), money.Amount{})},
		"Unsupported":           {letagentpaytest.WithCurrency("XXX")},
		"the code is empty":     {letagentpaytest.WithCurrency("")},
		"unknown timezone":      {letagentpaytest.WithTimezone("Moon/Base")},
		"the name is empty":     {letagentpaytest.WithTimezone("")},
		"has no name":           {letagentpaytest.WithCategories("food", "")},
		"lower case":            {letagentpaytest.WithAliases(map[string]string{"Uber": "taxi"})},
		"no category":           {letagentpaytest.WithAliases(map[string]string{"uber": "rides"})},
		"rule has no name":      {changed(func(r *letagentpaytest.BudgetRule) { r.Name = "" })},
		"is not one of":         {changed(func(r *letagentpaytest.BudgetRule) { r.Type = "yearly" })},
		"limit must be above":   {changed(func(r *letagentpaytest.BudgetRule) { r.Limit = money.Amount{} })},
		"0 (Monday)":            {changed(func(r *letagentpaytest.BudgetRule) { r.Days = []int{7} })},
		"whole number of min":   {letagentpaytest.WithRequestExpiry(90 * time.Second)},
		"not between 1 and":     {letagentpaytest.WithRequestExpiry(400 * 24 * time.Hour)},
		"taken or empty":        {letagentpaytest.WithAgent("main")},
		`"twice" is taken`:      {letagentpaytest.WithAgent("twice"), letagentpaytest.WithAgent("twice")},
		"inside WithAgent":      {letagentpaytest.WithAgent("a", letagentpaytest.WithCurrency("EUR"))},
		"whole server":          {letagentpaytest.WithAgent("a", letagentpaytest.InMemory())},
		"belongs in":            {letagentpaytest.WithAccount("a", letagentpaytest.WithBudget(money.Must("1")))},
		"does not belong":       {letagentpaytest.WithAgent("a", letagentpaytest.WithAgent("b"))},
		`"main" is taken`:       {letagentpaytest.WithAccount("main")},
		"a token begins with":   {letagentpaytest.WithToken("secret-token")},
		"rate of":               {letagentpaytest.WithRates(map[string]string{"USDC/USD": "-1"})},
		"is not above zero":     {letagentpaytest.WithMaxHistory(0)},
	} {
		t.Run(want, func(t *testing.T) {
			_, err := letagentpaytest.Start(append(options, letagentpaytest.InMemory())...)
			require.Error(t, err)
			assert.ErrorContains(t, err, "letagentpaytest: ")
			assert.ErrorContains(t, err, want)
			assert.NotContains(t, err.Error(), "secret-token")

			var tb recorder
			assert.Nil(t, letagentpaytest.NewServer(&tb, options...))
			require.Len(t, tb.failures, 1)
			assert.Contains(t, tb.failures[0], want)
			assert.Empty(t, tb.cleanups)
		})
	}
}

func TestMisuseFailsTheTest(t *testing.T) {
	for name, misuse := range map[string]func(*letagentpaytest.Server){
		"clock":   func(s *letagentpaytest.Server) { s.Advance(-time.Second) },
		"policy":  func(s *letagentpaytest.Server) { s.SetPolicyJSON(`[]`) },
		"rate":    func(s *letagentpaytest.Server) { s.SetRate("USDC/USD", "one") },
		"agent":   func(s *letagentpaytest.Server) { s.Agent("nobody") },
		"account": func(s *letagentpaytest.Server) { s.Account("nobody") },
		"fault":   func(s *letagentpaytest.Server) { s.Fail(letagentpaytest.Fault{}) },
		"client":  func(s *letagentpaytest.Server) { s.Client(letagentpay.WithToken("")) },
	} {
		t.Run(name, func(t *testing.T) {
			var tb recorder
			srv := letagentpaytest.NewServer(&tb, letagentpaytest.InMemory())
			misuse(srv)
			assert.Len(t, tb.failures, 1)
			for _, cleanup := range tb.cleanups {
				cleanup()
			}

			alone, err := letagentpaytest.Start(letagentpaytest.InMemory())
			require.NoError(t, err)
			defer alone.Close()
			assert.Panics(t, func() { misuse(alone) })
		})
	}
}

func TestFixedToken(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithToken("agt_fixed"))
	assert.Equal(t, "agt_fixed", srv.Token)
	require.NoError(t, srv.ApplyScenario(letagentpaytest.Scenario{}))
	assert.Equal(t, "agt_fixed", srv.Token)
	_, err := srv.Client().Budget(t.Context())
	assert.NoError(t, err)
}

func TestDefaults(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	b, err := srv.Client().Budget(t.Context())
	require.NoError(t, err)
	assert.Equal(t, money.Must("1000"), b.Remaining)
	assert.Equal(t, "USD", b.Currency)
	categories, err := srv.Client().Categories(t.Context())
	require.NoError(t, err)
	assert.Len(t, categories, 16)
	assert.Contains(t, categories, "other")
	p, err := srv.Client().Policy(t.Context())
	require.NoError(t, err)
	assert.Nil(t, p)
	bought := purchase(t, srv.Client(), groceries)
	assert.WithinDuration(t, srv.Now().Add(30*time.Minute), bought.ExpiresAt, time.Minute)
}

func TestApplyScenario(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	old := srv.Token
	purchase(t, srv.Client(), groceries)
	srv.Fail(letagentpaytest.Fault{Status: 500, Times: -1})
	srv.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict { return letagentpaytest.Approve() })

	var scenario letagentpaytest.Scenario
	require.NoError(t, json.Unmarshal([]byte(`{
		"start": "2026-03-11T12:00:00Z",
		"account": {"currency": "EUR", "timezone": "Asia/Tokyo", "request_expiry_minutes": 5,
			"categories": ["food", {"name": "old", "is_active": false}], "aliases": {"meal": "food", "gone": "old"},
			"budget_rules": [{"name": "off", "limit_type": "daily", "limit_amount": "1", "is_active": false}]},
		"agent": {"budget": "80", "policy": null},
		"agents": {"b": {"budget": "1", "status": "paused"}},
		"rates": {"EURC/USD": "1.08"}}`), &scenario))
	require.NoError(t, srv.ApplyScenario(scenario))
	assert.NotEqual(t, old, srv.Token)
	assert.Empty(t, srv.Requests())
	assert.WithinDuration(t, time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC), srv.Now(), time.Minute)

	for category, want := range map[string]string{"meal": "food", "food": "food", "gone": "other", "old": "other"} {
		bought := purchase(t, srv.Client(), letagentpay.PurchaseParams{Amount: money.Must("5"), Category: category})
		assert.Equal(t, want, bought.Category)
		assert.Equal(t, "EUR", bought.Currency)
		assert.Equal(t, letagentpay.StatusPending, bought.Status)
	}
	srv.Advance(time.Hour)
	assert.Equal(t, money.Must("20"), srv.Budget().Held, "a scenario says itself when to sweep")
	srv.Sweep()
	assert.Zero(t, srv.Budget().Held)

	for _, wrong := range []letagentpaytest.Scenario{
		{Account: letagentpaytest.AccountConfig{Currency: "nope"}},
		{Agent: letagentpaytest.AgentConfig{Policy: json.RawMessage(`{"daily_limit": []}`)}},
		{Agents: map[string]letagentpaytest.AgentConfig{"main": {}}},
		{Agents: map[string]letagentpaytest.AgentConfig{"x": {Account: "nowhere"}}},
		{Accounts: map[string]letagentpaytest.AccountConfig{"main": {}}},
		{Rates: map[string]string{"USDC/USD": ""}},
	} {
		assert.Error(t, srv.ApplyScenario(wrong))
	}
	assert.Len(t, srv.Requests(), 4, "an error changes nothing")
}

func TestPatch(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithAutoReplenish(money.Must("1"), money.Must("2"), money.Amount{}))
	agent, account := srv.Agent("main"), srv.Account("main")
	require.NoError(t, agent.Patch([]byte(`{"budget": "50", "spent": 10, "held": "0.50",
		"policy": {"auto_approve": {"enabled": true}}}`)))
	assert.Equal(t, "39.50", srv.Budget().Remaining.String())
	require.NoError(t, agent.Patch([]byte(`{"auto_replenish": {"enabled": true, "threshold": "40", "amount": "5"}}`)))
	require.NoError(t, account.Patch([]byte(`{"currency": "EUR", "aliases": {"cab": "taxi"},
		"request_expiry_minutes": 60,
		"budget_rules": [{"name": "cap", "limit_type": "total", "limit_amount": "30"}]}`)))
	bought := purchase(t, srv.Client(), letagentpay.PurchaseParams{Amount: money.Must("4"), Category: "cab"})
	assert.Equal(t, letagentpay.StatusAutoApproved, bought.Status)
	assert.Equal(t, "taxi", bought.Category)
	assert.Equal(t, "55.00", srv.Budget().Budget.String())
	assert.Equal(t, letagentpay.StatusRejected,
		purchase(t, srv.Client(),
			letagentpay.PurchaseParams{Amount: money.Must("27"), Category: "cab"}).Status, "the rule counts")

	for _, patch := range []string{
		`{"colour": "red"}`, `{"status": "gone"}`, `{"policy": 5}`, `{"account": "other"}`, `{"budget": 1e12}`, `[`,
	} {
		assert.Error(t, agent.Patch([]byte(patch)), patch)
	}
	for _, patch := range []string{
		`{"colour": "red"}`, `{"currency": "X"}`, `{"budget_rules": [{}]}`, `{"timezone": "Nowhere"}`, `7`,
	} {
		assert.Error(t, account.Patch([]byte(patch)), patch)
	}
	require.NoError(t, account.Patch([]byte(`{"blocked": true}`)))
	_, err := srv.Client().Budget(t.Context())
	assert.ErrorIs(t, err, letagentpay.ErrForbidden)
}

// failing is a recorder that says whether it has failed, as a test does.
type failing struct {
	recorder
	logs []string
}

func (f *failing) Failed() bool { return len(f.failures) > 0 }
func (f *failing) Logf(format string, args ...any) {
	f.logs = append(f.logs, fmt.Sprintf(format, args...))
}

func TestAFailedTestLogsTheCalls(t *testing.T) {
	for _, fails := range []bool{false, true} {
		var tb failing
		srv := letagentpaytest.NewServer(&tb, letagentpaytest.InMemory())
		for range 25 {
			_, err := srv.Client().Budget(t.Context())
			require.NoError(t, err)
		}
		if fails {
			tb.Errorf("the agent did not do its job")
		}
		for _, cleanup := range tb.cleanups {
			cleanup()
		}
		if !fails {
			assert.Empty(t, tb.logs)
			continue
		}
		require.Len(t, tb.logs, 1)
		assert.Contains(t, tb.logs[0], "the last of 25 calls to the server:\n20 calls\n")
		assert.NotContains(t, tb.logs[0], srv.Token)
	}
}

func TestWithPolicy(t *testing.T) {
	limit := money.Must("50")
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithPolicy(policy.Policy{
			PerRequestLimit: &limit,
			AutoApprove:     &policy.AutoApprove{Enabled: true},
		}))
	assert.Equal(t, letagentpay.StatusAutoApproved, purchase(t, srv.Client(), groceries).Status)
	p, err := srv.Client().Policy(t.Context())
	require.NoError(t, err)
	assert.Equal(t, &limit, p.PerRequestLimit)
	assert.Equal(t, letagentpay.StatusRejected,
		purchase(t, srv.Client(), letagentpay.PurchaseParams{Amount: money.Must("50.01"), Category: "taxi"}).Status)
}
