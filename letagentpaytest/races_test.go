package letagentpaytest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/operation"
)

// outcome is what one call came to.
type outcome struct {
	status int
	id     string // of the request it made or is about
	err    error
}

// try makes one call without any retry. The path is below the Agent API.
func try(ctx context.Context, srv *letagentpaytest.Server, path, key, body string) (o outcome) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+path, strings.NewReader(body))
	if err != nil {
		return outcome{err: err}
	}
	request.Header.Set("Authorization", "Bearer "+srv.Token)
	request.Header.Set("Content-Type", "application/json")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := srv.HTTPClient().Do(request)
	if err != nil {
		return outcome{err: err}
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	var answer struct {
		RequestID string `json:"request_id"`
	}
	_ = json.Unmarshal(data, &answer) // a refusal has none
	return outcome{response.StatusCode, answer.RequestID, err}
}

const tenDollars = `{"amount": 10, "category": "other"}`

func tryPurchase(ctx context.Context, srv *letagentpaytest.Server, key string) outcome {
	return try(ctx, srv, "/requests", key, tenDollars)
}

// tryWithin gives up after d.
func tryWithin(t *testing.T, srv *letagentpaytest.Server, d time.Duration, path, key, body string) outcome {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return try(ctx, srv, path, key, body)
}

// atOnce makes n calls at the same time.
func atOnce(n int, call func() outcome) []outcome {
	outcomes := make([]outcome, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { outcomes[i] = call() })
	}
	group.Wait()
	return outcomes
}

// racing starts a server in memory that approves everything, under races.
func racing(t *testing.T, r letagentpaytest.Races) *letagentpaytest.Server {
	return letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove),
		letagentpaytest.WithServiceRaces(r))
}

// meeting returns a time for Races that holds each call until n have come, and then takes none.
func meeting(n int32) func(letagentpaytest.Call) time.Duration {
	var come atomic.Int32
	all := make(chan struct{})
	return func(letagentpaytest.Call) time.Duration {
		if come.Add(1) == n {
			close(all)
		}
		<-all
		return 0
	}
}

func spent(srv *letagentpaytest.Server) string { return srv.Budget().Spent.String() }

func TestOverlappingPurchasesUnderOneKeyEachBuyUnderRaces(t *testing.T) {
	check := func(t *testing.T, srv *letagentpaytest.Server, want int) {
		ids := map[string]bool{}
		for _, o := range atOnce(6, func() outcome { return tryPurchase(t.Context(), srv, "one") }) {
			require.NoError(t, o.err)
			assert.Equal(t, http.StatusCreated, o.status)
			ids[o.id] = true
		}
		assert.Len(t, ids, want)
		require.Len(t, srv.Requests(), want)
		assert.Equal(t, money.FromHundredths(int64(want)*1000), srv.Budget().Spent)

		replayed := tryPurchase(t.Context(), srv, "one")
		require.NoError(t, replayed.err)
		assert.True(t, ids[replayed.id], "the key replays one of them")
		assert.Len(t, srv.Requests(), want)
	}
	t.Run("in memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			check(t, racing(t, letagentpaytest.Races{Purchase: 6 * time.Second}), 6)
		})
	})
	t.Run("in memory without races", func(t *testing.T) {
		srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove))
		check(t, srv, 1)
	})
	t.Run("over sockets", func(t *testing.T) {
		check(t, letagentpaytest.NewServer(t, letagentpaytest.WithPolicyJSON(autoApprove),
			letagentpaytest.WithServiceRaces(letagentpaytest.Races{Choose: meeting(6)})), 6)
	})
	t.Run("over sockets without races", func(t *testing.T) {
		check(t, letagentpaytest.NewServer(t, letagentpaytest.WithPolicyJSON(autoApprove)), 1)
	})
}

func TestOverlappingFailureConfirmationsEachRefundUnderRaces(t *testing.T) {
	for name, test := range map[string]struct {
		races *letagentpaytest.Races
		ok    int
		spent string
	}{
		"races":   {&letagentpaytest.Races{Confirm: 50 * time.Millisecond}, 4, "60"},
		"default": {nil, 1, "90"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := racing(t, letagentpaytest.Races{})
				var id string
				for range 10 {
					id = tryPurchase(t.Context(), srv, "").id
				}
				srv.SetServiceRaces(test.races)
				statuses := map[int]int{}
				for _, o := range atOnce(4, func() outcome {
					return try(t.Context(), srv, "/requests/"+id+"/confirm", "", `{"success": false}`)
				}) {
					require.NoError(t, o.err)
					statuses[o.status]++
				}
				assert.Equal(t, test.ok, statuses[http.StatusOK])
				assert.Equal(t, 4-test.ok, statuses[http.StatusBadRequest])
				assert.Equal(t, money.Must(test.spent), srv.Budget().Spent)
				r, _ := srv.Request(id)
				assert.Equal(t, letagentpay.StatusFailed, r.Status)
			})
		})
	}
}

func TestRefundsBeyondWhatWasSpentStopAtZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := racing(t, letagentpaytest.Races{Confirm: time.Second})
		id := tryPurchase(t.Context(), srv, "").id
		atOnce(3, func() outcome { return try(t.Context(), srv, "/requests/"+id+"/confirm", "", `{"success": false}`) })
		assert.Zero(t, srv.Budget().Spent)
		assert.Equal(t, money.Must("1000"), srv.Budget().Remaining)
	})
}

func TestOverlappingSuccessConfirmationsEachCorrectUnderRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := racing(t, letagentpaytest.Races{Confirm: time.Second})
		id := tryPurchase(t.Context(), srv, "").id
		for _, o := range atOnce(3, func() outcome {
			return try(t.Context(), srv, "/requests/"+id+"/confirm", "", `{"success": true, "actual_amount": 8}`)
		}) {
			assert.Equal(t, http.StatusOK, o.status)
		}
		assert.Equal(t, money.Must("4"), srv.Budget().Spent, "ten less two for each")
		after := try(t.Context(), srv, "/requests/"+id+"/confirm", "", `{"success": false}`)
		assert.Equal(t, http.StatusBadRequest, after.status, "the status is checked once it is written")
	})
}

// A client gives up on a purchase and posts it again under the same key: two requests, and the key replays the answer
// that was stored last, be it the one that its client never saw.
func TestAPurchaseRepeatedWhileTheFirstIsStillOnItsWayBuysTwice(t *testing.T) {
	for name, test := range map[string]struct {
		took     []time.Duration
		replayed int
	}{
		"the second ends last": {[]time.Duration{6 * time.Second, 6 * time.Second}, 1},
		"the first ends last":  {[]time.Duration{20 * time.Second, 6 * time.Second}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				srv := racing(t, letagentpaytest.Races{
					Choose: func(letagentpaytest.Call) time.Duration { return test.took[calls.Add(1)-1] },
				})
				first := tryWithin(t, srv, 3*time.Second, "/requests", "k", tenDollars)
				assert.ErrorIs(t, first.err, context.DeadlineExceeded)
				assert.Empty(t, srv.Requests(), "nothing has been committed when the client gives up")
				second := tryPurchase(t.Context(), srv, "k")
				require.NoError(t, second.err)
				time.Sleep(time.Minute) // both have ended

				requests := srv.Requests()
				require.Len(t, requests, 2)
				assert.Equal(t, "20.00", spent(srv))
				assert.Equal(t, second.id == requests[1].RequestID, test.replayed == 1)
				replay := tryPurchase(t.Context(), srv, "k")
				assert.Equal(t, requests[1].RequestID, replay.id, "the one stored last")
				assert.Equal(t, test.replayed == 1, replay.id == second.id)
				assert.Len(t, srv.Requests(), 2, "from then on the key holds")
			})
		})
	}
}

func TestHandlersOutliveTheirClientsUnderRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := racing(t, letagentpaytest.Races{Purchase: 6 * time.Second, Confirm: 4 * time.Second})
		began := srv.Now()
		assert.ErrorIs(t, tryWithin(t, srv, 3*time.Second, "/requests", "k", tenDollars).err, context.DeadlineExceeded)
		assert.Empty(t, srv.Requests())
		time.Sleep(4 * time.Second)
		requests := srv.Requests()
		require.Len(t, requests, 1)
		assert.Equal(t, began.Add(6*time.Second), requests[0].CreatedAt, "at its own time")
		assert.Equal(t, "k", requests[0].IdempotencyKey)

		confirm := "/requests/" + requests[0].RequestID + "/confirm"
		assert.ErrorIs(t, tryWithin(t, srv, time.Second, confirm, "", `{"success": false}`).err,
			context.DeadlineExceeded)
		assert.Equal(t, "10.00", spent(srv))
		time.Sleep(4 * time.Second)
		assert.Equal(t, "0.00", spent(srv))
		assert.Zero(t, srv.Calls().Of(operation.Confirm)[0].Status, "its client got no answer")
	})
}

func TestAHandlerOutlivesItsConnectionUnderRaces(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	srv := letagentpaytest.NewServer(t, letagentpaytest.WithServiceRaces(letagentpaytest.Races{
		Choose: func(letagentpaytest.Call) time.Duration {
			close(arrived)
			<-release
			return 0
		},
	}))
	committed := make(chan struct{})
	srv.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
		close(committed)
		return letagentpaytest.Approve()
	})
	ctx, hangUp := context.WithCancel(t.Context())
	go func() {
		<-arrived
		hangUp()
	}()
	assert.ErrorIs(t, tryPurchase(ctx, srv, "").err, context.Canceled)
	assert.Empty(t, srv.Requests())
	close(release)
	<-committed
	assert.Len(t, srv.Requests(), 1)
}

func TestAPurchaseIsListedBeforeItsKeyIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := racing(t, letagentpaytest.Races{Purchase: time.Second, Store: time.Second})
		first := make(chan outcome, 1)
		go func() { first <- tryPurchase(t.Context(), srv, "k") }()
		time.Sleep(1500 * time.Millisecond)
		require.Len(t, srv.Requests(), 1)
		second := tryPurchase(t.Context(), srv, "k")
		assert.Len(t, srv.Requests(), 2, "the key was not known yet")
		assert.NotEqual(t, second.id, (<-first).id)
		assert.Equal(t, second.id, tryPurchase(t.Context(), srv, "k").id)
	})
}

func TestAKeyIsReplayedForADayFromWhenItWasStoredLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := racing(t, letagentpaytest.Races{Purchase: 10 * time.Second})
		go tryPurchase(t.Context(), srv, "k")
		time.Sleep(5 * time.Second)
		last := tryPurchase(t.Context(), srv, "k") // stored five seconds after the other
		srv.Advance(24*time.Hour - time.Second)
		assert.Equal(t, last.id, tryPurchase(t.Context(), srv, "k").id, "the other's day is over, this one's is not")
		srv.Advance(time.Second)
		assert.NotEqual(t, last.id, tryPurchase(t.Context(), srv, "k").id)
	})
}

func TestWhatTheChecksAnswerTakesNoTimeUnderRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := racing(t, letagentpaytest.Races{Purchase: time.Hour, Confirm: time.Hour, Store: time.Hour})
		first := tryPurchase(t.Context(), srv, "k")
		began := time.Now()
		assert.Equal(t, first.id, tryPurchase(t.Context(), srv, "k").id)
		assert.Equal(t, http.StatusUnprocessableEntity, try(t.Context(), srv, "/requests", "", `{}`).status)
		assert.Equal(t, http.StatusNotFound,
			try(t.Context(), srv, "/requests/x/confirm", "", `{"success": true}`).status)
		assert.Equal(t, http.StatusNotFound, try(t.Context(), srv, "/nothing", "", `{}`).status)
		_, err := srv.Client().Budget(t.Context())
		require.NoError(t, err)
		assert.Zero(t, time.Since(began))
	})
}

func TestTheDelayOfAFaultIsTheTimeOfACallUnderRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := racing(t, letagentpaytest.Races{Purchase: time.Second})
		srv.Fail(letagentpaytest.Fault{Op: operation.Purchase, Times: 2, Delay: 6 * time.Second})
		began := time.Now()
		took := func() time.Duration { return time.Since(began) }
		outcomes := atOnce(2, func() outcome { return tryPurchase(t.Context(), srv, "k") })
		assert.NotEqual(t, outcomes[0].id, outcomes[1].id, "the key was checked before the delay")
		assert.Equal(t, 6*time.Second, took())
		tryPurchase(t.Context(), srv, "other")
		assert.Equal(t, 7*time.Second, took(), "the next takes its usual time")

		// An operation without a check is held up before it is carried out, and carried out all the same.
		srv.Fail(letagentpaytest.Fault{Op: operation.X402Authorize, Delay: 6 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := srv.Client(letagentpay.WithMaxRetries(0)).X402.Authorize(ctx, letagentpay.X402AuthorizeParams{
			MaxAmountUSD: money.Must("5"),
			Requirements: letagentpay.PaymentRequirements{
				Scheme:  "exact",
				Network: "base",
				Amount:  "1",
				Asset:   "USDC",
				PayTo:   "0xbb",
			},
		})
		require.Error(t, err)
		assert.Equal(t, "30.00", spent(srv))
		time.Sleep(6 * time.Second)
		assert.Equal(t, "35.00", spent(srv))
	})
}

func TestCloseEndsHandlersThatOutliveTheirClients(t *testing.T) {
	for name, order := range map[string]func(*letagentpaytest.Server){
		"races": func(srv *letagentpaytest.Server) {
			srv.SetServiceRaces(&letagentpaytest.Races{Purchase: time.Hour})
		},
		"the storing of a key": func(srv *letagentpaytest.Server) {
			srv.SetServiceRaces(&letagentpaytest.Races{Store: time.Hour})
		},
		"a fault under races": func(srv *letagentpaytest.Server) {
			srv.SetServiceRaces(new(letagentpaytest.Races))
			srv.Fail(letagentpaytest.Fault{Delay: time.Hour})
		},
		"a gateway": func(srv *letagentpaytest.Server) {
			srv.Fail(letagentpaytest.Fault{Delay: time.Hour, GatewayTimeout: time.Minute})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
					letagentpaytest.WithPolicyJSON(autoApprove))
				order(srv)
				gone := tryWithin(t, srv, time.Second, "/requests", "k", tenDollars)
				assert.ErrorIs(t, gone.err, context.DeadlineExceeded)
				order(srv)
				waiting := make(chan outcome, 1)
				go func() { waiting <- tryPurchase(t.Context(), srv, "other") }()
				synctest.Wait()
				began := time.Now()
				srv.Close()
				assert.ErrorContains(t, (<-waiting).err, "the server is closed")
				assert.Zero(t, time.Since(began))
				time.Sleep(2 * time.Hour)
				if name == "the storing of a key" {
					assert.Len(t, srv.Requests(), 2, "those were committed before")
				} else {
					assert.Empty(t, srv.Requests())
				}
				assert.ErrorContains(t, tryPurchase(t.Context(), srv, "").err, "the server is closed")
			})
		})
	}
}

func TestCloseWaitsForHandlersThatOutliveTheirClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		srv := racing(t, letagentpaytest.Races{Choose: func(letagentpaytest.Call) time.Duration {
			<-release
			return 0
		}})
		assert.Error(t, tryWithin(t, srv, time.Second, "/requests", "", tenDollars).err)
		waiting := make(chan outcome, 1)
		go func() { waiting <- tryPurchase(t.Context(), srv, "") }()
		synctest.Wait()
		var closed atomic.Bool
		go func() {
			srv.Close()
			closed.Store(true)
		}()
		synctest.Wait()
		assert.False(t, closed.Load(), "goroutines of the server are still running")
		assert.ErrorContains(t, (<-waiting).err, "the server is closed", "but their clients wait no longer")
		close(release)
		synctest.Wait()
		assert.True(t, closed.Load())
		assert.Empty(t, srv.Requests(), "it did not commit any more")
	})
}

func TestNobodyIsAskedAboutACallThatCloseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := racing(t, letagentpaytest.Races{Store: time.Hour})
		srv.SetPolicyJSON("")
		asked := 0
		srv.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			asked++
			return letagentpaytest.Approve()
		})
		assert.Error(t, tryWithin(t, srv, time.Second, "/requests", "k", tenDollars).err)
		srv.Close()
		assert.Zero(t, asked)
		assert.Len(t, srv.Requests(), 1)
	})
}

func TestNothingBeginsUnderRacesOnceTheServerIsClosed(t *testing.T) {
	srv := racing(t, letagentpaytest.Races{})
	srv.Close()
	request := httptest.NewRequest(http.MethodPost, srv.URL+"/requests", strings.NewReader(tenDollars))
	request.Header.Set("Authorization", "Bearer "+srv.Token)
	request.Header.Set("Content-Type", "application/json")
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() { srv.Handler().ServeHTTP(httptest.NewRecorder(), request) })
	assert.Empty(t, srv.Requests())
}

func TestRacesOutlastAScenarioAndItsCallsDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := racing(t, letagentpaytest.Races{Purchase: 6 * time.Second})
		srv.SetPolicyJSON("")
		before := make(chan outcome, 1)
		go func() { before <- tryPurchase(t.Context(), srv, "k") }()
		synctest.Wait()
		agent := letagentpaytest.AgentConfig{Budget: money.Must("50")}
		require.NoError(t, srv.ApplyScenario(letagentpaytest.Scenario{Agent: agent}))
		asked := 0
		srv.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			asked++
			return letagentpaytest.Verdict{}
		})
		assert.Equal(t, http.StatusCreated, (<-before).status, "it was carried out where it began")
		assert.Empty(t, srv.Requests())
		assert.Zero(t, asked)

		began := time.Now()
		tryPurchase(t.Context(), srv, "k")
		assert.Equal(t, 6*time.Second, time.Since(began))
		assert.Equal(t, 1, asked)
		srv.SetServiceRaces(nil)
		tryPurchase(t.Context(), srv, "other")
		assert.Equal(t, 6*time.Second, time.Since(began))
	})
}

// What changes while a purchase takes its time counts at its commit.
func TestAPurchaseIsDecidedAtItsCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := racing(t, letagentpaytest.Races{Purchase: 6 * time.Second})
		bought := make(chan outcome, 1)
		go func() { bought <- tryPurchase(t.Context(), srv, "") }()
		synctest.Wait()
		srv.SetBudget(money.Must("9.99"))
		<-bought
		require.Len(t, srv.Requests(), 1)
		assert.Equal(t, letagentpay.StatusRejected, srv.Requests()[0].Status)
		assert.Zero(t, srv.Budget().Spent)
	})
}

func TestRacesThatMakeNoSense(t *testing.T) {
	for want, races := range map[string]letagentpaytest.Races{
		"Purchase is -1s": {Purchase: -time.Second},
		"Confirm is -1s":  {Confirm: -time.Second},
		"Store is -1s":    {Store: -time.Second},
	} {
		assert.ErrorContains(t, races.Validate(), want)
		_, err := letagentpaytest.Start(letagentpaytest.InMemory(), letagentpaytest.WithServiceRaces(races))
		assert.ErrorContains(t, err, want)
		var tb recorder
		srv := letagentpaytest.NewServer(&tb, letagentpaytest.InMemory())
		srv.SetServiceRaces(&races)
		srv.Close()
		require.Len(t, tb.failures, 1)
		assert.Contains(t, tb.failures[0], want)
	}
	assert.NoError(t, letagentpaytest.Races{}.Validate())
	races := letagentpaytest.WithServiceRaces(letagentpaytest.Races{})
	_, err := letagentpaytest.Start(letagentpaytest.WithAgent("a", races))
	assert.ErrorContains(t, err, "whole server")
}

func TestRacesFromJSON(t *testing.T) {
	var r letagentpaytest.Races
	require.NoError(t, json.Unmarshal([]byte(`{"purchase": "6s", "confirm": "50ms", "store": "10ms"}`), &r))
	assert.Equal(t, letagentpaytest.Races{
		Purchase: 6 * time.Second,
		Confirm:  50 * time.Millisecond,
		Store:    10 * time.Millisecond,
	}, r)
	require.NoError(t, json.Unmarshal([]byte(`{"confirm": "1s"}`), &r))
	assert.Equal(t, letagentpaytest.Races{Confirm: time.Second}, r)
	for _, wrong := range []string{`{"purchase": "soon"}`, `{"purchase": 6}`, `{"choose": "1s"}`, `[]`} {
		assert.Error(t, json.Unmarshal([]byte(wrong), &r), wrong)
	}
}
