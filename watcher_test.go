package letagentpay_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
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
	"github.com/letagentpay/letagentpay-go/operation"
)

// pendingPurchases makes n pending requests and clears the recorded calls.
func pendingPurchases(t testing.TB, server *letagentpaytest.Server, n int) []string {
	t.Helper()
	client := server.Client()
	ids := make([]string, n)
	for i := range ids {
		if i > 0 && i%60 == 0 {
			server.Advance(time.Minute) // the rate limit
		}
		purchase, err := client.Purchase(t.Context(), letagentpay.PurchaseParams{
			Amount:   letagentpay.MustAmount("1"),
			Category: "groceries",
		})
		require.NoError(t, err)
		require.Equal(t, letagentpay.StatusPending, purchase.Status)
		ids[i] = purchase.RequestID
	}
	server.ResetCalls()
	return ids
}

func TestWaitsShareOnePoller(t *testing.T) {
	cost := func(t *testing.T, waits int) (calls, decided int) {
		synctest.Test(t, func(t *testing.T) {
			server := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
				letagentpaytest.WithRequestExpiry(24*time.Hour))
			ids := pendingPurchases(t, server, waits)
			client := server.Client()
			var group sync.WaitGroup
			for _, id := range ids {
				group.Go(func() {
					request, err := client.WaitForDecision(t.Context(), id)
					assert.NoError(t, err)
					assert.Equal(t, letagentpay.StatusApproved, request.Status)
				})
			}
			time.Sleep(time.Minute)
			for _, id := range ids {
				require.NoError(t, server.Approve(id))
			}
			group.Wait()
			calls = len(server.Calls())
		})
		return calls, waits
	}
	single, many := 0, 0
	for range 10 {
		calls, _ := cost(t, 1)
		single += calls
		calls, decided := cost(t, 100)
		many += calls - decided // one GET a decision
	}
	assert.LessOrEqual(t, float64(many), 1.3*float64(single), "a hundred waits of a minute cost little more than one")
}

func TestWaitsEndEachInItsOwnWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		ids := pendingPurchases(t, server, 6)
		client := server.Client()
		before := runtime.NumGoroutine()
		type end struct {
			status letagentpay.Status
			err    error
			after  time.Duration
		}
		ends := make([]end, 7)
		var group sync.WaitGroup
		wait := func(i int, ctx context.Context, id string, opts ...letagentpay.WaitOption) {
			group.Go(func() {
				begun := time.Now()
				request, err := client.WaitForDecision(ctx, id, opts...)
				ends[i] = end{err: err, after: time.Since(begun)}
				if err == nil {
					ends[i].status = request.Status
				}
			})
		}
		cancelled, cancel := context.WithCancel(t.Context())
		wait(0, t.Context(), ids[0])
		wait(1, t.Context(), ids[1])
		wait(2, t.Context(), ids[2], letagentpay.WaitTimeout(90*time.Second))
		wait(3, cancelled, ids[3])
		wait(4, t.Context(), ids[4])
		wait(5, t.Context(), "no-such-request")
		wait(6, t.Context(), ids[0]) // two waits may share a request
		time.Sleep(10 * time.Second)
		require.NoError(t, server.Approve(ids[0]))
		time.Sleep(20 * time.Second)
		require.NoError(t, server.Reject(ids[1]))
		cancel()
		group.Wait()

		assert.Equal(t, letagentpay.StatusApproved, ends[0].status)
		assert.Equal(t, letagentpay.StatusApproved, ends[6].status)
		assert.Equal(t, letagentpay.StatusRejected, ends[1].status)
		assert.Less(t, ends[1].after, 46*time.Second)
		var timeout *letagentpay.WaitTimeoutError
		require.ErrorAs(t, ends[2].err, &timeout)
		assert.Equal(t, letagentpay.StatusPending, timeout.Last.Status)
		assert.InDelta(t, 90, ends[2].after.Seconds(), 1)
		require.ErrorIs(t, ends[3].err, context.Canceled)
		assert.Equal(t, 30*time.Second, ends[3].after)
		assert.Equal(t, letagentpay.StatusExpired, ends[4].status)
		assert.InDelta(t, 30*60, ends[4].after.Seconds(), 75)
		require.ErrorIs(t, ends[5].err, letagentpay.ErrNotFound)
		assert.Less(t, ends[5].after, time.Second)
		synctest.Wait()
		assert.LessOrEqual(t, runtime.NumGoroutine(), before, "the poller ends with the last wait")
	})
}

func TestWaitsSurviveOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		ids := pendingPurchases(t, server, 5)
		client := server.Client()
		server.Fail(letagentpaytest.Fault{Op: operation.Requests, Times: 3, Status: 503})
		server.Fail(letagentpaytest.Fault{Op: operation.Requests, Times: 2, Drop: letagentpaytest.DropAfter})
		server.Fail(letagentpaytest.Fault{Op: operation.Requests, Truncate: 30})
		server.Fail(letagentpaytest.Fault{Op: operation.Request, Times: 4, NonJSON: true})
		time.AfterFunc(5*time.Second, func() {
			for _, id := range ids {
				assert.NoError(t, server.Approve(id))
			}
		})
		var group sync.WaitGroup
		for _, id := range ids {
			group.Go(func() {
				request, err := client.WaitForDecision(t.Context(), id, letagentpay.WaitTimeout(10*time.Minute))
				if assert.NoError(t, err) {
					assert.Equal(t, letagentpay.StatusApproved, request.Status)
				}
			})
		}
		group.Wait()
	})
}

func TestPausedAgentEndsAllWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		ids := pendingPurchases(t, server, 3)
		client := server.Client()
		var group sync.WaitGroup
		for _, id := range ids {
			group.Go(func() {
				_, err := client.WaitForDecision(t.Context(), id)
				assert.ErrorIs(t, err, letagentpay.ErrForbidden)
			})
		}
		time.Sleep(5 * time.Second)
		server.Pause()
		group.Wait()
	})
}

// hanging is a transport on which reads of one request hang.
type hanging struct {
	next http.RoundTripper
	id   string
}

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, h.id) {
		return hangs(r)
	}
	return h.next.RoundTrip(r)
}

func TestOneHangingReadDoesNotStarveTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		ids := pendingPurchases(t, server, 10)
		client := server.Client(letagentpay.WithHTTPClient(&http.Client{
			Transport: hanging{server.HTTPClient().Transport, ids[0]},
		}))
		for _, id := range ids {
			require.NoError(t, server.Approve(id))
		}
		var group sync.WaitGroup
		for i, id := range ids {
			group.Go(func() {
				begun := time.Now()
				_, err := client.WaitForDecision(t.Context(), id, letagentpay.WaitTimeout(5*time.Minute))
				if i == 0 {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.LessOrEqual(t, time.Since(begun), 5*time.Minute)
					return
				}
				assert.NoError(t, err)
				assert.Less(t, time.Since(begun), time.Minute)
			})
		}
		group.Wait()
	})
}

func TestOneHangingListDoesNotStarveTheWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		ids := pendingPurchases(t, server, 3)
		client := server.Client()
		var group sync.WaitGroup
		for _, id := range ids {
			group.Go(func() {
				request, err := client.WaitForDecision(t.Context(), id)
				if assert.NoError(t, err) {
					assert.Equal(t, letagentpay.StatusApproved, request.Status)
				}
			})
		}
		time.Sleep(200 * time.Millisecond) // until all are polled together, by the list
		server.Fail(letagentpaytest.Fault{Op: operation.Requests, Delay: time.Hour})
		for _, id := range ids {
			require.NoError(t, server.Approve(id))
		}
		begun := time.Now()
		group.Wait()
		assert.Less(t, time.Since(begun), 20*time.Second)
	})
}

func TestManyHangingReadsDoNotStarveTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		ids := pendingPurchases(t, server, 21)
		client := server.Client()
		const lasts = 3 * time.Minute
		polls := []time.Duration{0}
		pace := letagentpay.WaitInterval(time.Second, time.Second)
		var group sync.WaitGroup
		for i, id := range ids {
			group.Go(func() {
				opts := []letagentpay.WaitOption{pace, letagentpay.WaitTimeout(lasts)}
				if i == 0 {
					opts = append(opts, letagentpay.WaitProgress(func(event letagentpay.WaitEvent) {
						if event.Err == nil {
							polls = append(polls, event.Elapsed)
						}
					}))
				}
				_, err := client.WaitForDecision(t.Context(), id, opts...)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		time.Sleep(200 * time.Millisecond) // until all are polled together
		server.Fail(letagentpaytest.Fault{Op: operation.Request, Times: -1, Delay: time.Hour})
		for _, id := range ids[1:] { // a decided request leaves the list and is read
			require.NoError(t, server.Approve(id))
		}
		group.Wait()
		for i, poll := range append(polls, lasts)[1:] {
			assert.LessOrEqual(t, poll-polls[i], 45*time.Second, "%v", polls)
		}
	})
}

// The service allows an agent a hundred pending requests, but a client need not rely on that.
func TestWaitsForMoreThanAPageOfRequestsAreLookedAtByPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waits, size = 250, 100
		s := newService(t)
		var ids, items []string
		for i := range waits {
			id := fmt.Sprintf("r%d", 1000+i)
			pending := strings.NewReplacer("completed", "pending", `"r1"`, `"`+id+`"`)
			ids, items = append(ids, id), append(items, pending.Replace(item(id, "2026-03-11T12:00:00.123456+00:00")))
			s.on("GET", "/requests/"+id, answer(200, pending.Replace(detail("pending"))))
		}
		s.on("GET", "/requests", func(r *http.Request) (*http.Response, error) {
			offset, err := strconv.Atoi(r.URL.Query().Get("offset"))
			require.NoError(t, err)
			return list(strings.Join(items[min(offset, waits):min(offset+size, waits)], ","))(r)
		})
		client := s.client()
		var group sync.WaitGroup
		for _, id := range ids {
			group.Go(func() {
				_, err := client.WaitForDecision(t.Context(), id, letagentpay.WaitTimeout(20*time.Second))
				var timeout *letagentpay.WaitTimeoutError
				if assert.ErrorAs(t, err, &timeout) && assert.NotNil(t, timeout.Last) {
					assert.Equal(t, id, timeout.Last.RequestID)
				}
			})
		}
		group.Wait()
		reads := 0
		for _, path := range s.paths() {
			if path != "GET /requests" {
				reads++
			}
		}
		assert.LessOrEqual(t, reads, 1, "by the first wait, if it was polled alone")
	})
}

func TestSlowProgressDoesNotHoldOtherWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		ids := pendingPurchases(t, server, 2)
		client := server.Client()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var events []time.Duration
		var group sync.WaitGroup
		group.Go(func() {
			_, err := client.WaitForDecision(ctx, ids[0], letagentpay.WaitProgress(func(event letagentpay.WaitEvent) {
				if events = append(events, event.Elapsed); len(events) == 1 {
					time.Sleep(10 * time.Minute)
				}
			}))
			assert.NoError(t, err)
		})
		time.AfterFunc(time.Minute, func() { assert.NoError(t, server.Approve(ids[1])) })
		begun := time.Now()
		_, err := client.WaitForDecision(t.Context(), ids[1])
		require.NoError(t, err)
		assert.Less(t, time.Since(begun), 2*time.Minute)

		time.Sleep(15*time.Minute - time.Since(begun))
		require.NoError(t, server.Approve(ids[0]))
		group.Wait()
		require.Greater(t, len(events), 2)
		assert.Less(t, 10*time.Minute, events[2])
		assert.Less(t, events[1], events[2], "only the latest of the polls in between is reported")
	})
}

func TestWaitProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		id := pendingPurchases(t, server, 1)[0]
		server.Fail(letagentpaytest.Fault{Op: operation.Request, Status: 500})
		time.AfterFunc(20*time.Second, func() { assert.NoError(t, server.Approve(id)) })
		var events []letagentpay.WaitEvent
		_, err := server.Client().WaitForDecision(t.Context(), id,
			letagentpay.WaitProgress(func(event letagentpay.WaitEvent) {
				events = append(events, event)
				time.Sleep(time.Millisecond)
			}))
		require.NoError(t, err)
		require.Greater(t, len(events), 3)
		require.ErrorIs(t, events[0].Err, letagentpay.ErrServer)
		assert.Nil(t, events[0].Request)
		for i, event := range events[1:] {
			assert.Equal(t, id, event.RequestID)
			assert.Equal(t, letagentpay.StatusPending, event.Request.Status)
			assert.Greater(t, event.Elapsed, events[i].Elapsed)
		}
		_, err = server.Client().WaitForDecision(t.Context(), id, letagentpay.WaitProgress(nil))
		require.ErrorIs(t, err, letagentpay.ErrInvalid)
	})
}

// Many waits begin and end at the same time on two clients. Nothing is left behind, and no wait is forgotten.
func TestCrowdOfWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithRequestExpiry(time.Hour))
		ids := pendingPurchases(t, server, 40)
		clients := []*letagentpay.Client{server.Client(), server.Client()}
		var group sync.WaitGroup
		var approved, timeouts atomic.Int64
		for i := range 400 {
			group.Go(func() {
				time.Sleep(time.Duration(i%37) * time.Second)
				_, err := clients[i%2].WaitForDecision(t.Context(), ids[i%40],
					letagentpay.WaitTimeout(time.Duration(1+i%90)*time.Second))
				if err == nil {
					approved.Add(1)
					return
				}
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				timeouts.Add(1)
			})
		}
		for _, id := range ids {
			time.Sleep(2 * time.Second)
			require.NoError(t, server.Approve(id))
		}
		group.Wait()
		assert.EqualValues(t, 400, approved.Load()+timeouts.Load())
		assert.Greater(t, approved.Load(), int64(100))
		assert.Greater(t, timeouts.Load(), int64(20))
	})
}

// BenchmarkWaits reports the memory that each of ten thousand waits holds, its goroutine included.
func BenchmarkWaits(b *testing.B) {
	const waits = 10_000
	server := letagentpaytest.NewServer(b, letagentpaytest.InMemory(), letagentpaytest.WithRequestExpiry(24*time.Hour))
	ids := pendingPurchases(b, server, 100)
	client := server.Client()
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		before := memory()
		var group sync.WaitGroup
		for i := range waits {
			group.Go(func() {
				_, _ = client.WaitForDecision(ctx, ids[i%len(ids)], letagentpay.WaitInterval(time.Hour, time.Hour))
			})
		}
		for runtime.NumGoroutine() < waits {
			runtime.Gosched()
		}
		b.ReportMetric(float64(memory()-before)/waits, "B/wait")
		cancel()
		group.Wait()
	}
}

// BenchmarkWaitCalls compares the calls of a hundred waits with those of a single one, a hundred times faster than by
// default: 0.6 seconds at intervals of 10 to 150 milliseconds. One read for each decision is not counted. At most 1.3
// times the calls are acceptable.
func BenchmarkWaitCalls(b *testing.B) {
	calls := func(b *testing.B, waits int) int {
		server := letagentpaytest.NewServer(b, letagentpaytest.InMemory())
		ids := pendingPurchases(b, server, waits)
		client := server.Client()
		var group sync.WaitGroup
		for _, id := range ids {
			group.Go(func() {
				if _, err := client.WaitForDecision(b.Context(), id,
					letagentpay.WaitInterval(10*time.Millisecond, 150*time.Millisecond)); err != nil {
					b.Error(err)
				}
			})
		}
		<-time.After(600 * time.Millisecond)
		for _, id := range ids {
			if err := server.Approve(id); err != nil {
				b.Error(err)
			}
		}
		group.Wait()
		return len(server.Calls()) - waits
	}
	single, hundred := 0, 0
	for b.Loop() {
		single += calls(b, 1)
		hundred += calls(b, 100)
	}
	b.ReportMetric(float64(single)/float64(b.N), "calls/1-wait")
	b.ReportMetric(float64(hundred)/float64(b.N), "calls/100-waits")
	b.ReportMetric(float64(hundred)/float64(single), "100/1")
}

// memory returns the bytes in use by heap and stacks.
func memory() int64 {
	for range 3 { // the stacks of goroutines shrink step by step
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc + stats.StackInuse)
}
