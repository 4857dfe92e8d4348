package letagentpay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

const (
	someTx  = "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	otherTx = "0xcccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

func weather(usd string) letagentpay.X402AuthorizeParams {
	return letagentpay.X402AuthorizeParams{
		MaxAmountUSD: letagentpay.MustAmount(usd),
		Requirements: letagentpay.PaymentRequirements{
			Scheme:   "exact",
			Network:  "eip155:8453",
			Amount:   "1000000",
			Asset:    "USDC",
			PayTo:    "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
			Resource: "https://api.example.com/v1/weather",
		},
	}
}

func serveX402(t *testing.T) *letagentpaytest.Server {
	return letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithBudget(letagentpay.MustAmount("100")),
		letagentpaytest.WithRates(map[string]string{"USDC/USD": "1"}),
		letagentpaytest.WithPolicyJSON(`{
			"daily_limit": 50, "x402": {"max_per_request": 20, "allowed_chains": ["base"]}
		}`))
}

func TestX402Lifecycle(t *testing.T) {
	server := serveX402(t)
	x402 := server.Client().X402
	authorization, err := x402.Authorize(t.Context(), weather("5.5"))
	require.NoError(t, err)
	assert.True(t, authorization.Authorized)
	assert.Equal(t, letagentpay.MustAmount("44.5"), *authorization.RemainingDailyBudget)
	assert.Nil(t, authorization.RemainingMonthlyBudget)
	assert.WithinDuration(t, server.Now().Add(2*time.Minute), authorization.ExpiresAt, time.Second)

	declined, err := x402.Authorize(t.Context(), weather("21"))
	require.NoError(t, err, "a decline is an answer")
	assert.False(t, declined.Authorized)
	assert.Equal(t, "AMOUNT_EXCEEDS_PER_REQUEST_LIMIT", declined.Reason)

	report, err := x402.Report(t.Context(), letagentpay.X402ReportParams{
		AuthorizationID: authorization.AuthorizationID,
		TxHash:          someTx,
		ActualAmountUSD: letagentpay.MustAmount("4.75"),
	})
	require.NoError(t, err)
	assert.Equal(t, authorization.AuthorizationID, report.TransactionID)
	for tx, id := range map[string]string{
		otherTx: authorization.AuthorizationID,
		someTx:  authorization.AuthorizationID,
	} {
		_, err = x402.Report(t.Context(), letagentpay.X402ReportParams{AuthorizationID: id, TxHash: tx})
		require.ErrorIs(t, err, letagentpay.ErrConflict, "a first attempt is never mistaken for a repeated one")
	}
	_, err = x402.Report(t.Context(), letagentpay.X402ReportParams{AuthorizationID: "nobody", TxHash: otherTx})
	require.ErrorIs(t, err, letagentpay.ErrNotFound)

	wallet := letagentpay.X402Wallet{
		Address:  "0xaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaB",
		Chain:    "base",
		Provider: "metamask",
	}
	registered, err := x402.RegisterWallet(t.Context(), wallet)
	require.NoError(t, err)
	assert.False(t, registered.CreatedAt.IsZero())
	assert.True(t, registered.Active)
	_, err = x402.RegisterWallet(t.Context(), wallet)
	require.ErrorIs(t, err, letagentpay.ErrConflict)
	wallets, err := x402.Wallets(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []letagentpay.X402Wallet{*registered}, wallets)

	budget, err := x402.Budget(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "100.00 4.75 95.25 50.00 4.75 20.00 [base] [metamask]",
		fmt.Sprint(budget.Budget, " ", budget.Spent, " ", budget.Remaining, " ", *budget.DailyLimit, " ",
			budget.DailySpent, " ", *budget.MaxPerRequest, " ", budget.AllowedChains,
			" [", budget.Wallets[0].Provider, "]"))
	assert.Nil(t, budget.MonthlyLimit)
	assert.Nil(t, budget.AllowedDomains)
}

func TestX402LostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serveX402(t)
		client := server.Client()
		lost := func(op operation.Op, times int) {
			server.ResetCalls()
			server.Fail(letagentpaytest.Fault{Op: op, Drop: letagentpaytest.DropAfter, Times: times})
		}
		lost(operation.X402Authorize, 1)
		_, err := client.X402.Authorize(t.Context(), weather("5"))
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		assert.Len(t, server.Calls(), 1, "without a key it is not retried")

		authorization, err := client.X402.Authorize(t.Context(), weather("5"))
		require.NoError(t, err)
		lost(operation.X402Report, 1)
		begun := time.Now()
		report, err := client.X402.Report(t.Context(), letagentpay.X402ReportParams{
			AuthorizationID: authorization.AuthorizationID,
			TxHash:          someTx,
		})
		require.NoError(t, err, "the payment was already reported: that answer was lost")
		assert.Equal(t, authorization.AuthorizationID, report.TransactionID)
		assert.GreaterOrEqual(t, time.Since(begun), 2*time.Second)
		assert.Len(t, server.Calls(), 2)

		authorization, err = client.X402.Authorize(t.Context(), weather("5"))
		require.NoError(t, err)
		server.Fail(letagentpaytest.Fault{Op: operation.X402Report, Drop: letagentpaytest.DropBefore})
		_, err = client.X402.Report(t.Context(), letagentpay.X402ReportParams{
			AuthorizationID: authorization.AuthorizationID,
			TxHash:          someTx,
		})
		require.ErrorIs(t, err, letagentpay.ErrConflict, "the hash belongs to another authorization")

		lost(operation.X402Report, 100)
		_, err = client.X402.Report(t.Context(), letagentpay.X402ReportParams{
			AuthorizationID: authorization.AuthorizationID,
			TxHash:          otherTx,
		})
		require.ErrorAs(t, err, &unknown)
		assert.Equal(t, authorization.AuthorizationID, unknown.RequestID)
		server.ClearFaults()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = client.X402.Report(ctx, letagentpay.X402ReportParams{
			AuthorizationID: authorization.AuthorizationID,
			TxHash:          otherTx,
		})
		require.ErrorIs(t, err, context.Canceled)

		lost(operation.X402RegisterWallet, 2)
		wallet, err := client.X402.RegisterWallet(t.Context(), letagentpay.X402Wallet{
			Address: "0xaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaB",
			Chain:   "base",
		})
		require.NoError(t, err)
		assert.False(t, wallet.CreatedAt.IsZero())
		server.ClearFaults()
		server.Fail(letagentpaytest.Fault{Op: operation.X402RegisterWallet, Drop: letagentpaytest.DropBefore})
		_, err = client.X402.RegisterWallet(t.Context(), letagentpay.X402Wallet{
			Address: "0xaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaB",
			Chain:   "ethereum",
		})
		require.ErrorAs(t, err, &unknown)
		server.Fail(letagentpaytest.Fault{Op: operation.X402RegisterWallet, Drop: letagentpaytest.DropBefore})
		server.Fail(letagentpaytest.Fault{Op: operation.X402Wallets, Status: 403})
		_, err = client.X402.RegisterWallet(t.Context(), letagentpay.X402Wallet{
			Address: "0xaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaB",
			Chain:   "ethereum",
		})
		require.ErrorAs(t, err, &unknown)
		require.ErrorIs(t, err, letagentpay.ErrForbidden)
	})
}

func TestBadX402ValuesAreNotSent(t *testing.T) {
	x402 := newService(t).client().X402
	authorize := func(change func(*letagentpay.X402AuthorizeParams)) func() error {
		return func() error {
			p := weather("5")
			change(&p)
			_, err := x402.Authorize(t.Context(), p)
			return err
		}
	}
	report := func(p letagentpay.X402ReportParams) func() error {
		return func() error { _, err := x402.Report(t.Context(), p); return err }
	}
	wallet := func(w letagentpay.X402Wallet) func() error {
		return func() error { _, err := x402.RegisterWallet(t.Context(), w); return err }
	}
	for name, c := range map[string]struct {
		call  func() error
		field string
	}{
		"no amount": {
			authorize(func(p *letagentpay.X402AuthorizeParams) { p.MaxAmountUSD = letagentpay.Amount{} }),
			"X402AuthorizeParams.MaxAmountUSD",
		},
		"too much": {
			authorize(func(p *letagentpay.X402AuthorizeParams) { p.MaxAmountUSD = letagentpay.MustAmount("10000.01") }),
			"X402AuthorizeParams.MaxAmountUSD",
		},
		"no scheme": {
			authorize(func(p *letagentpay.X402AuthorizeParams) { p.Requirements.Scheme = "" }),
			"PaymentRequirements.Scheme",
		},
		"long network": {
			authorize(func(p *letagentpay.X402AuthorizeParams) { p.Requirements.Network = strings.Repeat("n", 31) }),
			"PaymentRequirements.Network",
		},
		"fractional units": {
			authorize(func(p *letagentpay.X402AuthorizeParams) { p.Requirements.Amount = "1.5" }),
			"PaymentRequirements.Amount",
		},
		"no authorisation": {report(letagentpay.X402ReportParams{TxHash: someTx}), "X402ReportParams.AuthorizationID"},
		"no hash": {
			report(letagentpay.X402ReportParams{AuthorizationID: "a", TxHash: "0x12"}), "X402ReportParams.TxHash",
		},
		"negative": {
			report(letagentpay.X402ReportParams{
				AuthorizationID: "a",
				TxHash:          someTx,
				ActualAmountUSD: letagentpay.MustAmount("1").Neg(),
			}),
			"X402ReportParams.ActualAmountUSD",
		},
		"long resource": {
			report(letagentpay.X402ReportParams{
				AuthorizationID: "a",
				TxHash:          someTx,
				ResourceURL:     strings.Repeat("u", 2001),
			}),
			"X402ReportParams.ResourceURL",
		},
		"no address": {wallet(letagentpay.X402Wallet{Chain: "base"}), "X402Wallet.Address"},
		"no chain":   {wallet(letagentpay.X402Wallet{Address: "0x"}), "X402Wallet.Chain"},
	} {
		var param *letagentpay.ParamError
		require.ErrorAs(t, c.call(), &param, name)
		assert.Equal(t, c.field, param.Field, name)
	}
}

func TestOddX402Answers(t *testing.T) {
	x402 := newClient(t, fixed{200, "application/json", "", `{"authorized":true}`}, letagentpay.WithMaxRetries(0)).X402
	_, err := x402.Authorize(t.Context(), weather("5"))
	require.ErrorIs(t, err, letagentpay.ErrMalformedResponse, "authorised, but no id")
	_, err = x402.Budget(t.Context())
	require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)
	_, err = x402.Wallets(t.Context())
	require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)
	x402 = newClient(t, fixed{200, "application/json", "", `null`}, letagentpay.WithMaxRetries(0)).X402
	_, err = x402.Wallets(t.Context())
	require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)
}

func ExampleX402Client_Authorize() {
	server, err := letagentpaytest.Start(letagentpaytest.InMemory(),
		letagentpaytest.WithBudget(letagentpay.MustAmount("100")),
		letagentpaytest.WithRates(map[string]string{"USDC/USD": "1"}))
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client := server.Client()
	ctx := context.Background()

	authorization, err := client.X402.Authorize(ctx, letagentpay.X402AuthorizeParams{
		MaxAmountUSD: letagentpay.MustAmount("0.05"),
		Requirements: letagentpay.PaymentRequirements{ // as in the paid API's 402 answer
			Scheme:  "exact",
			Network: "eip155:8453",
			Amount:  "50000",
			Asset:   "USDC",
			PayTo:   "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
		},
	})
	if err != nil {
		panic(err)
	}
	if !authorization.Authorized {
		fmt.Println("declined:", authorization.Reason)
		return
	}
	// Sign and send the payment here. Then:
	_, err = client.X402.Report(ctx, letagentpay.X402ReportParams{
		AuthorizationID: authorization.AuthorizationID,
		TxHash:          someTx,
	})
	fmt.Println("reported:", err == nil)
	// Output: reported: true
}
