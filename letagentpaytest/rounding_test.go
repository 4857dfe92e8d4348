package letagentpaytest_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestRoundingIsExact sends amounts with any number of digits, and holds the balance, the counter of the day and the
// decision against rational arithmetic: the balance rounds each amount half up, the counter half to even, and a limit
// is compared with what was sent.
func TestRoundingIsExact(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	limit := big.NewRat(3, 10)
	rapid.Check(t, func(rt *rapid.T) {
		require.NoError(t, srv.ApplyScenario(letagentpaytest.Scenario{
			Start: time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC),
			Agent: letagentpaytest.AgentConfig{
				Budget: money.Must("1000"),
				Policy: json.RawMessage(`{"auto_approve": {"enabled": true}, "per_request_limit": "0.30"}`),
			},
		}))
		spent, today := new(big.Rat), new(big.Rat)
		for range rapid.IntRange(1, 20).Draw(rt, "purchases") {
			digits := rapid.StringMatching(`0\.[0-3][0-9][0-9]{0,12}`).Draw(rt, "amount")
			if rapid.Bool().Draw(rt, "near half a cent") {
				digits = rapid.StringMatching(`0\.[0-3][0-9](5|50{1,9}1|49{1,9}|30{1,9}1|29{1,9})`).Draw(rt,
					"amount near half a cent")
			}
			amount, _ := new(big.Rat).SetString(digits)
			if amount.Sign() == 0 {
				continue
			}
			status, got, err := send(t, srv, http.MethodPost, "/requests",
				fmt.Sprintf(`{"amount": %q, "category": "taxi"}`, digits))
			require.NoError(t, err)
			require.Equal(t, http.StatusCreated, status)
			var answer struct{ Status string }
			require.NoError(t, json.Unmarshal([]byte(got), &answer))
			require.Equal(t, amount.Cmp(limit) <= 0, answer.Status == "auto_approved", "%s: %s", digits, got)
			if answer.Status == "auto_approved" {
				spent.Add(spent, roundedToCents(amount, false))
				today.Add(today, roundedToCents(amount, true))
			}
		}
		require.Equal(t, spent.FloatString(2), srv.Budget().Spent.String())
		_, got, err := send(t, srv, http.MethodGet, "/x402/budget", "")
		require.NoError(t, err)
		var answer struct {
			Policy struct {
				DailySpent string `json:"daily_spent"`
			} `json:"x402_policy"`
		}
		require.NoError(t, json.Unmarshal([]byte(got), &answer))
		require.Equal(t, today.FloatString(2), answer.Policy.DailySpent)
	})
}

// roundedToCents rounds a positive number, halves up or to the even cent.
func roundedToCents(r *big.Rat, toEven bool) *big.Rat {
	cents := new(big.Rat).Mul(r, big.NewRat(100, 1))
	doubled := new(big.Int).Quo(new(big.Int).Mul(cents.Num(), big.NewInt(2)), cents.Denom()) // floor of twice the cents
	whole := new(big.Int).Rsh(doubled, 1)
	if doubled.Bit(0) == 1 {
		tie := new(big.Rat).SetFrac(doubled, big.NewInt(2)).Cmp(cents) == 0
		if !tie || !toEven || whole.Bit(0) == 1 {
			whole.Add(whole, big.NewInt(1))
		}
	}
	return new(big.Rat).SetFrac(whole, big.NewInt(100))
}

// A total rule with both ends counts for itself, each purchase rounded half to even: half up, the second would not fit.
func TestATotalRuleWithBothEndsRoundsHalfToEven(t *testing.T) {
	at := time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithStart(at),
		letagentpaytest.WithPolicyJSON(autoApprove), letagentpaytest.WithBudgetRules(letagentpaytest.BudgetRule{
			Name:  "march",
			Type:  policy.Total,
			Limit: money.Must("1.12"),
			Start: at.Add(-time.Hour),
			End:   at.Add(time.Hour),
		}))
	for _, amount := range []string{"0.125", "1"} {
		_, got, err := send(t, srv, http.MethodPost, "/requests", `{"amount": `+amount+`, "category": "taxi"}`)
		require.NoError(t, err)
		assert.Contains(t, got, `"auto_approved":true`, amount)
	}
}
