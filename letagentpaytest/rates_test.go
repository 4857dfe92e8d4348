package letagentpaytest_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func TestRatesAreSetTogetherOrNotAtAll(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	reason := func(asset string) string {
		status, body, err := send(t, srv, "POST", "/x402/authorize", `{"payment_requirements": {"scheme": "exact",
			"network": "base", "amount": "1", "asset": "`+asset+`", "pay_to": "x"}, "max_amount_usd": 1}`)
		require.NoError(t, err)
		if status != 200 {
			return "no rate"
		}
		var answer struct{ Reason string }
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		return answer.Reason
	}
	require.Equal(t, "no rate", reason("EURC"))

	err := srv.SetRates(map[string]string{"EURC/USD": "1.08", "USDC/USD": "0.5", "USDT/USD": "-1"})
	require.EqualError(t, err, `letagentpaytest: rate of "USDT/USD": "-1" is not a number between 0 and 1000000.00`)
	assert.Equal(t, "no rate", reason("EURC"))
	assert.Empty(t, reason("USDC"))

	require.NoError(t, srv.SetRates(map[string]string{"EURC/USD": "1.08", "USDC/USD": "0.5"}))
	assert.Empty(t, reason("EURC"))
	assert.Contains(t, reason("USDC"), "STABLECOIN_DEPEG")
	assert.Empty(t, reason("USDT"), "another pair's rate stays")
}

func TestAccountsAreTheMainOneAndTheOthersByName(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithAccount("zoo"), letagentpaytest.WithAccount("bar", letagentpaytest.WithAgent("barkeeper")))
	var names []string
	for _, account := range srv.Accounts() {
		names = append(names, account.Name)
	}
	assert.Equal(t, []string{"main", "bar", "zoo"}, names)

	srv.Accounts()[1].Block()
	_, err := srv.Agent("barkeeper").Client().Budget(t.Context())
	assert.ErrorContains(t, err, "Account is blocked")
	_, err = srv.Client().Budget(t.Context())
	assert.NoError(t, err)
}
