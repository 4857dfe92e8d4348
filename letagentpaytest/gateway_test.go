package letagentpaytest_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

func TestTheServiceContinuesWhenTheGatewayGivesUp(t *testing.T) {
	const delay, patience = 6 * time.Second, 3 * time.Second
	for name, test := range map[string]struct {
		fault  letagentpaytest.Fault
		status int
		body   string
		breaks bool
		early  bool // committed before the gateway gives up
	}{
		"504":         {fault: letagentpaytest.Fault{}, status: 504, body: `{"detail":"Gateway Timeout"}`},
		"status":      {fault: letagentpaytest.Fault{Status: 502}, status: 502, body: `{"detail":"Bad Gateway"}`},
		"page":        {fault: letagentpaytest.Fault{NonJSON: true}, status: 504, body: "<html>"},
		"drop before": {fault: letagentpaytest.Fault{Drop: letagentpaytest.DropBefore}, breaks: true},
		"drop after":  {fault: letagentpaytest.Fault{Drop: letagentpaytest.DropAfter}, breaks: true},
		"after commit": {
			fault:  letagentpaytest.Fault{AfterCommit: true},
			status: 504,
			body:   `{"detail":"`,
			early:  true,
		},
	} {
		for mode, races := range map[string]*letagentpaytest.Races{"default": nil, "races": {}} {
			t.Run(name+", "+mode, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
						letagentpaytest.WithPolicyJSON(autoApprove))
					srv.SetServiceRaces(races)
					test.fault.Delay, test.fault.GatewayTimeout = delay, patience
					srv.Fail(test.fault)
					began := srv.Now()
					status, got, err := buy(t, srv)
					assert.Equal(t, patience, srv.Now().Sub(began))
					assert.Equal(t, test.breaks, err != nil, "%v", err)
					if test.breaks {
						assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
					}
					assert.Equal(t, test.status, status)
					assert.Contains(t, got, test.body)
					assert.Equal(t, test.status, srv.Calls()[0].Status)
					assert.Equal(t, test.early, len(srv.Requests()) == 1)

					time.Sleep(delay)
					requests := srv.Requests()
					require.Len(t, requests, 1, "the service has continued")
					if !test.early {
						assert.Equal(t, began.Add(delay), requests[0].CreatedAt)
					}
					assert.Equal(t, "5.00", spent(srv))
				})
			})
		}
	}
}

// A repetition while the first is on its way buys twice where the key is checked first, and once where each call is
// carried out at one instant.
func TestARepetitionAfterAGatewayTimeout(t *testing.T) {
	for mode, test := range map[string]struct {
		races *letagentpaytest.Races
		want  int
	}{"races": {&letagentpaytest.Races{Purchase: 6 * time.Second}, 2}, "default": {nil, 1}} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
					letagentpaytest.WithPolicyJSON(autoApprove))
				srv.SetServiceRaces(test.races)
				srv.Fail(letagentpaytest.Fault{
					Op:             operation.Purchase,
					Delay:          6 * time.Second,
					GatewayTimeout: 3 * time.Second,
				})
				assert.Equal(t, http.StatusGatewayTimeout, tryPurchase(t.Context(), srv, "k").status)
				assert.Equal(t, http.StatusCreated, tryPurchase(t.Context(), srv, "k").status)
				time.Sleep(time.Minute)
				assert.Len(t, srv.Requests(), test.want)
			})
		})
	}
}

func TestAnAnswerBeforeTheGatewayGivesUpPassesAsItIs(t *testing.T) {
	eachMode(t, func(t *testing.T, srv *letagentpaytest.Server) {
		srv.Fail(letagentpaytest.Fault{GatewayTimeout: time.Hour, Status: 502, NonJSON: true})
		status, got, err := buy(t, srv)
		require.NoError(t, err)
		assert.Equal(t, http.StatusCreated, status)
		assert.Contains(t, got, `"auto_approved"`)
		srv.Fail(letagentpaytest.Fault{GatewayTimeout: time.Hour, Drop: letagentpaytest.DropBefore})
		status, _, err = buy(t, srv)
		require.NoError(t, err)
		assert.Equal(t, http.StatusCreated, status)
	})
}

func TestAGatewayGivesUpOnAHumanWhoBlocks(t *testing.T) {
	eachMode(t, func(t *testing.T, srv *letagentpaytest.Server) {
		srv.SetPolicyJSON("")
		release, decided := make(chan struct{}), make(chan struct{})
		srv.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			defer close(decided)
			<-release
			return letagentpaytest.Approve()
		})
		srv.Fail(letagentpaytest.Fault{GatewayTimeout: time.Millisecond})
		status, _, err := buy(t, srv)
		require.NoError(t, err)
		assert.Equal(t, http.StatusGatewayTimeout, status)
		close(release)
		<-decided
		srv.Close()
		assert.Equal(t, "5.00", spent(srv), "Close has waited for the verdict")
	})
}

func TestAGatewayOverSocketsCutsTheConnection(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.WithPolicyJSON(autoApprove))
	srv.Fail(letagentpaytest.Fault{Delay: time.Hour, GatewayTimeout: time.Millisecond, Drop: letagentpaytest.DropAfter})
	_, _, err := buy(t, srv)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Len(t, srv.Calls(), 1, "nothing repeats the call by itself")
	srv.Close()
	assert.Empty(t, srv.Requests())
}

func TestACallBehindAGatewayOutlivesItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove))
		srv.Fail(letagentpaytest.Fault{Delay: 6 * time.Second, GatewayTimeout: 3 * time.Second})
		o := tryWithin(t, srv, time.Second, "/requests", "", tenDollars)
		assert.ErrorIs(t, o.err, context.DeadlineExceeded)
		time.Sleep(6 * time.Second)
		assert.Equal(t, "10.00", spent(srv))
	})
}
