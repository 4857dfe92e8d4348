package letagentpaytest

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// assertEachFieldSet fails for a field that the code under test has left out: it is zero although nothing here is.
func assertEachFieldSet(t *testing.T, value any) {
	t.Helper()
	for field, v := range reflect.ValueOf(value).Fields() {
		assert.False(t, v.IsZero(), "%T.%s is not set", value, field.Name)
	}
}

func TestDecisionsKnowEachFact(t *testing.T) {
	start := time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)
	srv := NewServer(t, InMemory(), WithStart(start), WithTimezone("Europe/Berlin"),
		WithPolicyJSON(`{"auto_approve": {"enabled": true, "max_amount": 50}}`),
		WithBudgetRules(BudgetRule{
			Name:     "trip",
			Type:     policy.Total,
			Limit:    money.Must("500"),
			Priority: 1,
			Inactive: true,
			Days:     []int{0},
			Start:    start,
			End:      start.Add(time.Hour),
		}))
	for _, amount := range []string{"10", "60"} { // one is spent, one is held
		_, err := srv.Client().Purchase(t.Context(),
			letagentpay.PurchaseParams{Amount: money.Must(amount), Category: "taxi"})
		require.NoError(t, err)
	}

	w := srv.world.Load()
	a := w.directory().byName[mainName]
	w.locked(a.account, func(now time.Time) {
		facts := a.facts(money.Must("5"), "taxi", "USD", &exchange{now: now})
		assertEachFieldSet(t, facts)
		require.Len(t, facts.Rules, 1)
		assertEachFieldSet(t, facts.Rules[0])
	})
}

func TestRequestsShowEachField(t *testing.T) {
	text, now := "x", time.Now()
	state := requestState{
		agent:       &agentState{name: mainName},
		id:          "1",
		status:      letagentpay.StatusCompleted,
		amount:      money.Must("5"),
		actual:      money.Must("4"),
		currency:    "USD",
		category:    "taxi",
		original:    &text,
		merchant:    &text,
		description: &text,
		comment:     &text,
		key:         "k",
		receipt:     &text,
		checks:      []policy.Check{{Rule: policy.RuleStatus}},
		created:     now,
		expires:     now,
		reviewed:    now,
		txHash:      "0x1",
	}
	assertEachFieldSet(t, state.snapshot())
}
