package letagentpaytest_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestScriptedHuman(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	var asked []letagentpaytest.Request
	srv.OnPending(func(r letagentpaytest.Request) letagentpaytest.Verdict {
		asked = append(asked, r)
		switch r.Category {
		case "groceries":
			return letagentpaytest.Approve()
		case "taxi":
			return letagentpaytest.Reject()
		}
		return letagentpaytest.Verdict{}
	})
	for category, want := range map[string]letagentpay.Status{
		"groceries": letagentpay.StatusApproved,
		"taxi":      letagentpay.StatusRejected,
		"flights":   letagentpay.StatusPending,
	} {
		bought := purchase(t, srv.Client(), letagentpay.PurchaseParams{Amount: money.Must("5"), Category: category})
		assert.Equal(t, letagentpay.StatusPending, bought.Status, "the answer comes before the decision")
		assert.Equal(t, bought.RequestID, asked[len(asked)-1].RequestID)
		r, _ := srv.Request(bought.RequestID)
		assert.Equal(t, want, r.Status)
	}

	// A purchase that is repeated, or decided by the policy, is nobody's business.
	key := letagentpay.PurchaseParams{Amount: money.Must("5"), Category: "groceries", IdempotencyKey: "once"}
	purchase(t, srv.Client(), key)
	purchase(t, srv.Client(), key)
	srv.SetPolicyJSON(autoApprove)
	purchase(t, srv.Client(), groceries)
	assert.Len(t, asked, 4)

	srv.SetPolicyJSON("")
	srv.OnPending(nil)
	purchase(t, srv.Client(), groceries)
	assert.Len(t, asked, 4)
}

func TestScriptedHumanMayUseTheServer(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	srv.OnPending(func(r letagentpaytest.Request) letagentpaytest.Verdict {
		assert.Equal(t, money.Must("40"), srv.Budget().Held)
		assert.NoError(t, srv.Approve(r.RequestID))
		srv.Advance(time.Minute)
		return letagentpaytest.Reject() // too late, and ignored
	})
	id := purchase(t, srv.Client(), groceries).RequestID
	r, _ := srv.Request(id)
	assert.Equal(t, letagentpay.StatusApproved, r.Status)
}

func TestVerdictsComeDueInOrder(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithStart(time.Date(2026, 3, 11, 23, 50, 0, 0, time.UTC)))
	delays := map[string]letagentpaytest.Verdict{
		"taxi":  letagentpaytest.Approve().After(20 * time.Minute),
		"gas":   letagentpaytest.Reject().After(10 * time.Minute),
		"other": letagentpaytest.Approve().After(40 * time.Minute),
	}
	srv.OnPending(func(r letagentpaytest.Request) letagentpaytest.Verdict { return delays[r.Category] })
	ids := map[string]string{}
	start := srv.Now()
	for category := range delays {
		ids[category] = purchase(t, srv.Client(),
			letagentpay.PurchaseParams{Amount: money.Must("5"), Category: category}).RequestID
	}
	status := func(category string) letagentpay.Status {
		r, _ := srv.Request(ids[category])
		return r.Status
	}
	srv.Advance(9 * time.Minute)
	assert.Equal(t, letagentpay.StatusPending, status("gas"))
	srv.Advance(2 * time.Minute)
	assert.Equal(t, letagentpay.StatusRejected, status("gas"))
	assert.Equal(t, letagentpay.StatusPending, status("taxi"))
	srv.Advance(24 * time.Hour)
	assert.Equal(t, letagentpay.StatusApproved, status("taxi"))
	assert.Equal(t, letagentpay.StatusExpired, status("other"), "it expired before the human was back")

	// Each was decided at its own time, although nobody looked until the next day.
	r, _ := srv.Request(ids["taxi"])
	assert.WithinDuration(t, start.Add(20*time.Minute), r.ReviewedAt, 30*time.Second)
}

func TestExpiryInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		client := srv.Client()
		id := purchase(t, client, groceries).RequestID
		began := time.Now()
		r, err := client.WaitForDecision(t.Context(), id, letagentpay.WaitTimeout(time.Hour))
		require.NoError(t, err)
		assert.Equal(t, letagentpay.StatusExpired, r.Status)
		assert.InDelta(t, 30*time.Minute, time.Since(began), float64(time.Minute))
		assert.WithinDuration(t, time.Now(), srv.Now(), time.Microsecond, "the server's clock is the bubble's")
		assert.Zero(t, srv.Budget().Held)
	})
}

func TestSlowHumanInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		srv.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			return letagentpaytest.Approve().After(17 * time.Minute)
		})
		client := srv.Client()
		id := purchase(t, client, groceries).RequestID
		r, err := client.WaitForDecision(t.Context(), id, letagentpay.WaitTimeout(time.Hour))
		require.NoError(t, err)
		assert.Equal(t, letagentpay.StatusApproved, r.Status)
		assert.WithinDuration(t, r.CreatedAt.Add(17*time.Minute), r.ReviewedAt, 0)
	})
}

func TestHumanIsAskedWithoutALock(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	const callers = 8
	var inside atomic.Int32
	all := make(chan struct{})
	srv.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
		if inside.Add(1) == callers {
			close(all) // every caller is being asked at the same time
		}
		<-all
		return letagentpaytest.Approve()
	})
	client := srv.Client()
	done := make(chan error, callers)
	for range callers {
		go func() {
			_, err := client.Purchase(t.Context(),
				letagentpay.PurchaseParams{Amount: money.Must("1"), Category: "taxi"})
			done <- err
		}()
	}
	for range callers {
		require.NoError(t, <-done)
	}
	assert.Equal(t, money.Must("8"), srv.Budget().Spent)
}
