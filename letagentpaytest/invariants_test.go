package letagentpaytest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// checkBooks holds the balances of every agent against its requests, and against its budget when overspent is false.
func checkBooks(t *testing.T, srv *letagentpaytest.Server, overspent bool) {
	t.Helper()
	spent, held := map[string]money.Amount{}, map[string]money.Amount{}
	for _, r := range srv.Requests() {
		switch r.Status {
		case letagentpay.StatusPending:
			held[r.Agent] = held[r.Agent].Add(r.Amount)
		case letagentpay.StatusApproved, letagentpay.StatusAutoApproved:
			spent[r.Agent] = spent[r.Agent].Add(r.Amount)
		case letagentpay.StatusCompleted:
			paid := r.ActualAmount
			if paid.IsZero() {
				paid = r.Amount
			}
			spent[r.Agent] = spent[r.Agent].Add(paid)
		}
	}
	for _, a := range srv.Agents() {
		b := a.Budget()
		assert.Equal(t, spent[a.Name], b.Spent, "spent by %s", a.Name)
		assert.Equal(t, held[a.Name], b.Held, "held for %s", a.Name)
		assert.Equal(t, b.Budget.Sub(b.Spent).Sub(b.Held), b.Remaining)
		if !overspent {
			assert.False(t, b.Budget.Less(b.Spent.Add(b.Held)), "%s: %v", a.Name, b)
		}
	}
}

func TestBooksBalanceUnderConcurrency(t *testing.T) {
	const agents, workers, rounds = 4, 3, 150
	options := []letagentpaytest.Option{
		letagentpaytest.InMemory(),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true, "max_amount": 20}}`),
	}
	for i := range agents - 1 {
		account := []letagentpaytest.Option{letagentpaytest.WithAgent(fmt.Sprint("agent", i),
			letagentpaytest.WithBudget(money.Must("300")),
			letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true, "max_amount": 20},
				"daily_limit": 200}`))}
		if i%2 == 0 {
			options = append(options, letagentpaytest.WithAccount(fmt.Sprint("account", i), account...))
		} else {
			options = append(options, account...)
		}
	}
	srv := letagentpaytest.NewServer(t, options...)
	srv.OnPending(func(r letagentpaytest.Request) letagentpaytest.Verdict {
		switch r.Category {
		case "taxi":
			return letagentpaytest.Approve().After(time.Minute)
		case "gas":
			return letagentpaytest.Reject().After(2 * time.Minute)
		}
		return letagentpaytest.Verdict{}
	})

	var group sync.WaitGroup
	for n, agent := range srv.Agents() {
		for w := range workers {
			group.Go(func() {
				random := rand.New(rand.NewPCG(uint64(n), uint64(w)))
				client := agent.Client(letagentpay.WithMaxRetries(0))
				var ids []string
				pick := func() string { return ids[random.IntN(len(ids))] }
				for range rounds {
					switch action := random.IntN(12); {
					case action < 6 || len(ids) == 0:
						p := letagentpay.PurchaseParams{
							Amount:   money.FromHundredths(1 + random.Int64N(3000)),
							Category: []string{"taxi", "groceries", "gas"}[random.IntN(3)],
						}
						if random.IntN(3) == 0 {
							p.IdempotencyKey = fmt.Sprint("key", random.IntN(20))
						}
						bought, err := client.Purchase(t.Context(), p)
						switch {
						case err == nil:
							ids = append(ids, bought.RequestID)
						case errors.Is(err, letagentpay.ErrRateLimited):
							srv.Advance(20 * time.Second)
						default:
							var mismatch *letagentpay.MismatchError // of a key that was used before
							if !errors.As(err, &mismatch) {
								assert.ErrorIs(t, err, letagentpay.ErrTooManyPending)
							}
						}
					case action == 6:
						_ = srv.Approve(pick()) // refused unless it is pending
					case action == 7:
						_ = srv.Reject(pick())
					case action == 8:
						_, _ = client.Confirm(t.Context(), pick(), letagentpay.ConfirmParams{Success: true})
					case action == 9:
						_, _ = client.Confirm(t.Context(), pick(), letagentpay.ConfirmParams{})
					case action == 10:
						srv.Advance(time.Duration(random.IntN(600)) * time.Second)
					default:
						_, err := client.Request(t.Context(), pick())
						assert.NoError(t, err)
						srv.Sweep()
					}
				}
			})
		}
	}
	group.Wait()
	checkBooks(t, srv, false)

	// Whatever is still held is released exactly once when everything has expired.
	srv.Advance(time.Hour)
	srv.Sweep()
	checkBooks(t, srv, false)
	for _, a := range srv.Agents() {
		assert.Zero(t, a.Budget().Held)
	}
	statuses := map[letagentpay.Status]int{}
	for _, r := range srv.Requests() {
		statuses[r.Status]++
	}
	for _, status := range []letagentpay.Status{
		letagentpay.StatusAutoApproved, letagentpay.StatusApproved, letagentpay.StatusRejected,
		letagentpay.StatusExpired, letagentpay.StatusCompleted, letagentpay.StatusFailed,
	} {
		assert.NotZero(t, statuses[status], "the test has to reach %s", status)
	}
}

func TestConfirmationsMayOverspend(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove))
	id := purchase(t, srv.Client(), groceries).RequestID
	_, err := srv.Client().Confirm(t.Context(), id,
		letagentpay.ConfirmParams{Success: true, ActualAmount: money.Must("1500.25")})
	require.NoError(t, err)
	checkBooks(t, srv, true)
	assert.Equal(t, "-500.25", srv.Budget().Remaining.String())
}

func TestOneOfManyConfirmationsCounts(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove))
	id := purchase(t, srv.Client(), groceries).RequestID
	purchase(t, srv.Client(), groceries)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() { _, _, _ = send(t, srv, "POST", "/requests/"+id+"/confirm", `{"success": false}`) })
	}
	group.Wait()
	checkBooks(t, srv, false)
	assert.Equal(t, money.Must("40"), srv.Budget().Spent, "refunded once")
}

func TestManyServersLeakNothing(t *testing.T) {
	// What runs on after a server is closed is found by the leak check of TestMain.
	for i := range 1000 {
		options := []letagentpaytest.Option{letagentpaytest.InMemory()}
		if i%20 == 0 {
			options = nil // sockets are slower
		}
		srv, err := letagentpaytest.Start(options...)
		require.NoError(t, err)
		status, _, err := send(t, srv, "GET", "/budget", "")
		require.NoError(t, err)
		require.Equal(t, 200, status)
		srv.Close()
	}
}
