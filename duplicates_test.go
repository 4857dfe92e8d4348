package letagentpay_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// datedList answers with a list of requests, and with the service's time in the Date header.
func datedList(rows func() string) httpmock.Responder {
	return func(r *http.Request) (*http.Response, error) {
		body := `{"requests":[` + rows() + `],"total":1,"limit":20,"offset":0}`
		return answer(200, body, "Date", time.Now().UTC().Format(http.TimeFormat))(r)
	}
}

func none() string { return "" }

// at formats a time of the bubble's clock as the service does.
func at(after time.Duration) string { return time.Now().UTC().Add(after).Format(time.RFC3339Nano) }

func lostPost() httpmock.Responder { return broken(syscall.ECONNRESET) }

func TestLookFindsWhatALostAttemptMayHaveMade(t *testing.T) {
	dated := func(status string, after time.Duration) func() string {
		return func() string { return row("r9", status, at(after), "") }
	}
	for name, c := range map[string]struct {
		row   func() string
		found bool
	}{
		"approved":                 {dated("auto_approved", 0), true},
		"awaiting approval":        {dated("pending", 0), true},
		"in an unknown state":      {dated("escalated", 0), true},
		"within the second before": {dated("approved", -time.Second), true},
		"half a minute later":      {dated("approved", 30*time.Second), true},
		"made before":              {dated("approved", -5*time.Second), false},
		"made after the attempt":   {dated("approved", 5*time.Minute), false},
		"from another merchant":    {func() string { return row("r9", "approved", at(0), "Casino") }, false},
		"rejected":                 {dated("rejected", 0), false},
		"expired":                  {dated("expired", 0), false},
		"refunded":                 {dated("failed", 0), false},
		"completed":                {dated("completed", 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests", lostPost()).on("GET", "/requests", datedList(c.row))
				_, err := s.client(letagentpay.WithMaxRetries(0)).Purchase(t.Context(), groceries())
				var unknown *letagentpay.OutcomeUnknownError
				require.ErrorAs(t, err, &unknown)
				if c.found {
					assert.Equal(t, []string{"r9"}, unknown.Found)
				} else {
					assert.Empty(t, unknown.Found)
				}
			})
		})
	}
}

func TestLookKnowsWhatIsNotOfTheAttempt(t *testing.T) {
	t.Run("a request of another call", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests", answer(201, autoApproved), lostPost()).
				on("GET", "/requests", datedList(func() string { return row("r1", "auto_approved", at(0), "") }))
			client := s.client(letagentpay.WithMaxRetries(0))
			_, err := client.Purchase(t.Context(), groceries())
			require.NoError(t, err)
			_, err = client.Purchase(t.Context(), groceries())
			var unknown *letagentpay.OutcomeUnknownError
			require.ErrorAs(t, err, &unknown)
			assert.Empty(t, unknown.Found)
		})
	})
	t.Run("the newest before the call", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			earlier := row("r9", "approved", at(-time.Second), "")
			s := newService(t).on("POST", "/requests", lostPost()).
				on("GET", "/requests", datedList(func() string { return earlier }))
			var runs atomic.Int64
			_, err := guardGroceries(s.client(letagentpay.WithMaxRetries(0)), &runs, succeed)(t.Context(), keyed())
			var unknown *letagentpay.OutcomeUnknownError
			require.ErrorAs(t, err, &unknown)
			assert.Empty(t, unknown.Found)
		})
	})
	t.Run("anything, without a Date header", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests", lostPost()).
				on("GET", "/requests", list(row("r9", "approved", at(0), "")))
			_, err := s.client(letagentpay.WithMaxRetries(0)).Purchase(t.Context(), groceries())
			var unknown *letagentpay.OutcomeUnknownError
			require.ErrorAs(t, err, &unknown)
			assert.Empty(t, unknown.Found)
		})
	})
}

func TestRefusalAfterALostAttempt(t *testing.T) {
	type responders = []httpmock.Responder
	refused := answer(400, `{"detail":"Currency mismatch: expected USD"}`)
	foreign := answer(400, "<html>Bad Request</html>", "Content-Type", "text/html")
	failure := answer(500, `{"detail":"Internal error"}`)
	made := func() string { return row("r9", "auto_approved", at(0), "") }
	for name, c := range map[string]struct {
		second  httpmock.Responder
		lists   []httpmock.Responder
		certain bool
	}{
		"the list shows nothing":     {refused, responders{datedList(none)}, true},
		"the list shows the request": {refused, responders{datedList(none), datedList(made)}, false},
		"the list cannot be read":    {refused, responders{datedList(none), failure}, false},
		"the answer is a gateway's":  {foreign, responders{datedList(none)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests", lostPost(), c.second).on("GET", "/requests", c.lists...)
				_, err := s.client().Purchase(t.Context(), groceries())
				var unknown *letagentpay.OutcomeUnknownError
				if c.certain {
					require.NotErrorAs(t, err, &unknown)
				} else {
					require.ErrorAs(t, err, &unknown)
				}
				require.ErrorIs(t, err, letagentpay.ErrInvalid)
			})
		})
	}
}

// posts returns the times at which purchases were posted.
func (s *service) posts() (at []time.Time) {
	for _, call := range s.recorded() {
		if call.Method == http.MethodPost && strings.HasSuffix(call.Path, "/requests") {
			at = append(at, call.At)
		}
	}
	return at
}

func TestPurchaseIsPostedAsOftenAsAllowed(t *testing.T) {
	for retries := range 4 {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests", lostPost()).on("GET", "/requests", datedList(none))
			_, err := s.client(letagentpay.WithMaxRetries(retries)).Purchase(t.Context(), groceries())
			require.Error(t, err)
			assert.Len(t, s.posts(), retries+1)
		})
	}
}

func TestPurchaseIsRepeatedWhenTheServiceWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unavailable := answer(503, `{"detail":"Maintenance"}`, "Retry-After", "20")
		s := newService(t).on("POST", "/requests", unavailable, answer(201, autoApproved)).
			on("GET", "/requests", datedList(none))
		_, err := s.client().Purchase(t.Context(), groceries())
		require.NoError(t, err)
		posts := s.posts()
		require.Len(t, posts, 2)
		assert.GreaterOrEqual(t, posts[1].Sub(posts[0]), 20*time.Second)
	})
}

func TestPurchaseWithoutTimeForAnotherAttempt(t *testing.T) {
	t.Run("ends at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests", lostPost()).on("GET", "/requests", datedList(none))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begun := time.Now()
			_, err := s.client().Purchase(ctx, groceries())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Zero(t, time.Since(begun))
		})
	})
	t.Run("is still searched for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests", hangs).
				on("GET", "/requests", datedList(func() string { return row("r9", "auto_approved", at(0), "") }))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := s.client().Purchase(ctx, groceries())
			var unknown *letagentpay.OutcomeUnknownError
			require.ErrorAs(t, err, &unknown)
			assert.Equal(t, []string{"r9"}, unknown.Found)
		})
	})
}

func TestDuplicatesOfPurchasesThatWereInDoubtApart(t *testing.T) {
	made := func() string { return row("r9", "auto_approved", at(0), "") }
	for apart, want := range map[time.Duration][]string{0: nil, time.Hour: {"r9"}} {
		t.Run(apart.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests", lostPost(), lostPost(), answer(201, autoApproved)).
					on("GET", "/requests", datedList(none), datedList(made))
				_, err := s.client(letagentpay.WithMaxRetries(0)).Purchase(t.Context(), groceries())
				require.Error(t, err)
				time.Sleep(apart)
				purchase, err := s.client().Purchase(t.Context(), groceries())
				require.NoError(t, err)
				assert.Equal(t, want, purchase.Duplicates, "the other request can be attributed only after a while")
			})
		})
	}
}

func TestIdenticalPurchaseUnderWayIsNoDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		// The request is listed long before it is answered.
		server.SetServiceRaces(&letagentpaytest.Races{Store: 10 * time.Second})
		lose := true
		inner := server.HTTPClient().Transport
		unlucky := server.Client(through(exchange(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost && lose {
				lose = false
				return nil, syscall.ECONNRESET
			}
			return inner.RoundTrip(r)
		})))
		var group sync.WaitGroup
		buy := func(client *letagentpay.Client) {
			purchase, err := client.Purchase(t.Context(), price("30"))
			if assert.NoError(t, err) {
				assert.Empty(t, purchase.Duplicates)
			}
		}
		group.Go(func() { buy(unlucky) })
		time.Sleep(9 * time.Second) // the first is posted again and not answered yet
		group.Go(func() { buy(server.Client()) })
		group.Wait()
		assert.Len(t, server.Requests(), 2)
	})
}

func TestAnswerMustBeAboutWhatWasAsked(t *testing.T) {
	for name, c := range map[string]string{
		"in another currency": strings.Replace(autoApproved, `"USD"`, `"EUR"`, 1),
		"in another category": strings.Replace(autoApproved, `"groceries"`, `"casino"`, 1),
	} {
		for _, guarded := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", guarded ", guarded), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := approving(t).on("POST", "/requests", answer(201, c)).on("GET", "/requests", datedList(none))
					p := groceries()
					p.Currency = "USD"
					var runs atomic.Int64
					var err error
					if guarded {
						_, err = guardGroceries(s.client(), &runs, succeed)(t.Context(), p)
					} else {
						_, err = s.client().Purchase(t.Context(), p)
					}
					var unknown *letagentpay.OutcomeUnknownError
					require.ErrorAs(t, err, &unknown)
					require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)
					assert.Equal(t, "r1", unknown.RequestID)
					assert.Zero(t, runs.Load())
				})
			})
		}
	}
}
