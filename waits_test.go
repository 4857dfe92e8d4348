package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
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

// Without sweeps, an overdue request expires when it is read.
func TestWaitsReadWhatNobodySweeps(t *testing.T) {
	for _, waits := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(waits), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				require.NoError(t, server.ApplyScenario(letagentpaytest.Scenario{ // no sweeps
					Agent:   letagentpaytest.AgentConfig{Budget: letagentpay.MustAmount("900")},
					Account: letagentpaytest.AccountConfig{RequestExpiryMinutes: 1},
				}))
				client := server.Client()
				ended := make(chan letagentpay.Status, waits)
				for range waits {
					p, err := client.Purchase(t.Context(), price("80"))
					require.NoError(t, err)
					go func() {
						r, err := client.WaitForDecision(t.Context(), p.RequestID,
							letagentpay.WaitTimeout(5*time.Minute))
						if assert.NoError(t, err) {
							ended <- r.Status
							return
						}
						ended <- ""
					}()
				}
				for range waits {
					assert.Equal(t, letagentpay.StatusExpired, <-ended)
				}
			})
		})
	}
}

func TestWaitBesideASleepingOneLooksAtOnce(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Minute, time.Hour} {
		t.Run(interval.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t, letagentpaytest.WithRequestExpiry(10*time.Hour))
				client := server.Client()
				first, err := client.Purchase(t.Context(), price("80"))
				require.NoError(t, err)
				second, err := client.Purchase(t.Context(), price("81"))
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					_, _ = client.WaitForDecision(ctx, first.RequestID, letagentpay.WaitInterval(interval, interval))
				}()
				time.Sleep(time.Second)
				require.NoError(t, server.Approve(second.RequestID))
				begun := time.Now()
				r, err := client.WaitForDecision(t.Context(), second.RequestID)
				require.NoError(t, err)
				assert.Equal(t, letagentpay.StatusApproved, r.Status)
				assert.Less(t, time.Since(begun), time.Second)
				cancel()
			})
		})
	}
}

// A human who has decided one request usually decides the others soon.
func TestOtherRequestsAreLookedAtSoonAfterADecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t, letagentpaytest.WithRequestExpiry(10*time.Hour))
		client := server.Client()
		var ids []string
		for _, amount := range []string{"80", "81", "82"} {
			p, err := client.Purchase(t.Context(), price(amount))
			require.NoError(t, err)
			ids = append(ids, p.RequestID)
		}
		done, begun := make(chan time.Duration, len(ids)), time.Now()
		for _, id := range ids {
			go func() {
				_, err := client.WaitForDecision(t.Context(), id, letagentpay.WaitInterval(time.Second, time.Hour))
				assert.NoError(t, err)
				done <- time.Since(begun)
			}()
		}
		time.Sleep(2 * time.Hour)
		require.NoError(t, server.Approve(ids[0]))
		last := <-done
		for _, id := range ids[1:] {
			time.Sleep(100 * time.Millisecond)
			require.NoError(t, server.Approve(id))
			next := <-done
			assert.Less(t, next-last, 10*time.Second)
			last = next
		}
	})
}

func TestWaitsThatBeginWithinAMomentAreLookedAtTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t, letagentpaytest.WithBudget(letagentpay.MustAmount("5000")))
		client := server.Client()
		ctx, cancel := context.WithCancel(t.Context())
		waits := 0
		for i := range 20 {
			p, err := client.Purchase(t.Context(), price(fmt.Sprint(60+i)))
			if err != nil || p.Status != letagentpay.StatusPending {
				break
			}
			waits++
			go func() { _, _ = client.WaitForDecision(ctx, p.RequestID) }()
			time.Sleep(time.Millisecond)
		}
		require.GreaterOrEqual(t, waits, 8)
		time.Sleep(200 * time.Millisecond)
		calls := server.Calls()
		assert.Less(t, len(calls.Of(operation.Requests))+len(calls.Of(operation.Request)), 8)
		cancel()
	})
}

func TestListThatFailsIsNoReasonToReadEachRequest(t *testing.T) {
	for name, fault := range map[string]letagentpaytest.Fault{
		"error":     {Status: 500},
		"no answer": {Drop: letagentpaytest.DropBefore},
		"no JSON":   {NonJSON: true},
		"cut off":   {Truncate: 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				client := server.Client()
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				fault.Op, fault.Times = operation.Requests, -1
				server.Fail(fault)
				for i := range 4 {
					p, err := client.Purchase(t.Context(), price(fmt.Sprint(60+i)))
					require.NoError(t, err)
					go func() { _, _ = client.WaitForDecision(ctx, p.RequestID) }()
				}
				synctest.Wait()
				time.Sleep(31 * time.Second)
				assert.LessOrEqual(t, len(server.Calls().Of(operation.Request)), 2)
			})
		})
	}
}

// A guarded call inside the function of a resumed call does not resume again.
func TestPurchaseInsideAResumedCallIsItsOwn(t *testing.T) {
	withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
		server := serve(t)
		client := server.Client()
		var runs, inner atomic.Int64
		_, err := guardGroceries(client, &runs, succeed, append(opts, letagentpay.OnPendingFail())...)(
			t.Context(), price("80"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		require.NoError(t, server.Approve(pending.RequestID))
		nested := func(ctx context.Context) (string, error) {
			return guardGroceries(client, &inner, succeed, opts...)(ctx, price("5"))
		}
		_, err = guardGroceries(client, &runs, nested, opts...)(
			letagentpay.ResumeApproval(t.Context(), pending.RequestID), price("80"))
		require.NoError(t, err)
		assert.EqualValues(t, 1, inner.Load())
		assert.EqualValues(t, 1, runs.Load())
		books(t, server, "85.00", "0.00")
	})
}

// There are more requests of one instant than a page holds: none counts as later.
func TestMoreRequestsOfOneInstantThanAPageHolds(t *testing.T) {
	for _, of := range []int{5, 99, 100} {
		t.Run(fmt.Sprint(of), func(t *testing.T) {
			var items []string
			for i := range of {
				items = append(items, item(fmt.Sprintf("r%d", i+100), "2026-03-11T12:00:00.123456+00:00"))
			}
			s := newService(t).on("GET", "/requests", list(strings.Join(items[:5], ",")),
				list(strings.Join(items, ","))).
				on("POST", "/requests", answer(201, autoApproved)).
				on("GET", "/requests/r1", answer(200, detail("auto_approved"))).
				on("POST", "/requests/r1/confirm", answer(200, confirmed))
			var runs atomic.Int64
			_, err := guardGroceries(s.client(), &runs, succeed)(t.Context(), keyed())
			if of < 100 { // all requests of that instant are known, and r1 is not among them
				require.NoError(t, err)
				assert.EqualValues(t, 1, runs.Load())
				return
			}
			var handled *letagentpay.AlreadyHandledError
			require.ErrorAs(t, err, &handled)
			assert.Zero(t, runs.Load())
		})
	}
}

// Guarded calls that wait for each other, each inside the other's, end with an error in bounded time.
func TestNestedCallsUnderCrossingKeysEnd(t *testing.T) {
	for name, c := range map[string]struct {
		opts  []letagentpay.GuardOption
		limit time.Duration
	}{
		"default":                 {nil, 35 * time.Second},
		"not waiting for a human": {[]letagentpay.GuardOption{letagentpay.OnPendingFail()}, 35 * time.Second},
		"a short wait": {
			[]letagentpay.GuardOption{letagentpay.OnPendingWait(5 * time.Second)}, 10 * time.Second,
		},
		"a long wait": {
			[]letagentpay.GuardOption{letagentpay.OnPendingWait(24 * time.Hour)}, 35 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				client := server.Client()
				results, begun := make(chan error, 2), time.Now()
				for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
					go func() {
						var runs atomic.Int64
						_, err := guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
							time.Sleep(time.Second)
							_, err := guardGroceries(client, &runs, succeed, c.opts...)(ctx, underKey("5", order[1]))
							return "", err
						}, c.opts...)(context.Background(), underKey("5", order[0]))
						results <- err
					}()
				}
				first, second := <-results, <-results
				assert.Less(t, time.Since(begun), c.limit)
				assert.True(t, errors.Is(first, letagentpay.ErrInProgress) ||
					errors.Is(second, letagentpay.ErrInProgress), "%v, %v", first, second)
				for _, r := range server.Requests() {
					assert.True(t, r.Status.Final(), "nothing stays booked: %v", r)
				}
				usableNow(t, client, "a", "b")
			})
		})
	}
}

// usableNow checks that no lock is held under some keys.
func usableNow(t *testing.T, client *letagentpay.Client, keys ...string) {
	t.Helper()
	for _, key := range keys {
		begun := time.Now()
		_, err := client.Authorize(t.Context(), underKey("5", key))
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.Less(t, time.Since(begun), 5*time.Second)
	}
}

// A function that calls itself under its own key or request, with a context that does not show it, does not wait for
// itself forever.
func TestRecursionWithADroppedContextEnds(t *testing.T) {
	for name, again := range map[string]func(id string) (context.Context, letagentpay.PurchaseParams){
		"own key": func(string) (context.Context, letagentpay.PurchaseParams) {
			return context.Background(), underKey("5", "turn-7")
		},
		"resumed": func(id string) (context.Context, letagentpay.PurchaseParams) {
			return letagentpay.ResumeApproval(context.Background(), id), price("5")
		},
		"resumed, spelled differently": func(id string) (context.Context, letagentpay.PurchaseParams) {
			return letagentpay.ResumeApproval(context.Background(), strings.ToUpper(id)), price("5")
		},
		"resumed and keyed": func(id string) (context.Context, letagentpay.PurchaseParams) {
			return letagentpay.ResumeApproval(context.Background(), id), underKey("5", "turn-7")
		},
	} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
				server := serve(t)
				client := server.Client()
				var runs atomic.Int64
				begun := time.Now()
				_, err := guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
					approval, _ := letagentpay.ApprovalFromContext(ctx)
					inner, p := again(approval.RequestID())
					_, err := guardGroceries(client, &runs, succeed, opts...)(inner, p)
					assert.ErrorIs(t, err, letagentpay.ErrInProgress)
					var failure *letagentpay.APIError
					assert.ErrorAs(t, err, &failure)
					return "", err
				}, opts...)(t.Context(), underKey("5", "turn-7"))
				require.ErrorIs(t, err, letagentpay.ErrInProgress)
				assert.LessOrEqual(t, time.Since(begun), 31*time.Second)
				assert.EqualValues(t, 1, runs.Load())
				confirmedOnce(t, server, letagentpay.StatusFailed, "0.00")
			})
		})
	}
	t.Run("in a scope", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			server := serve(t)
			client := server.Client()
			scope := letagentpay.WithPurchaseScope(t.Context(), "message 17") // the function closes over it
			var runs atomic.Int64
			begun := time.Now()
			_, err := guardGroceries(client, &runs, func(context.Context) (string, error) {
				return guardGroceries(client, &runs, succeed)(scope, price("5"))
			})(scope, price("5"))
			require.ErrorIs(t, err, letagentpay.ErrInProgress)
			assert.LessOrEqual(t, time.Since(begun), 31*time.Second)
			assert.EqualValues(t, 1, runs.Load())
		})
	})
}

// With its own context, a function gets an error at once if it requests the purchase that it runs under.
func TestRecursionWithItsContextIsRefusedAtOnce(t *testing.T) {
	for name, begin := range map[string]func(ctx context.Context) (context.Context, letagentpay.PurchaseParams){
		"own key": func(ctx context.Context) (context.Context, letagentpay.PurchaseParams) {
			return ctx, underKey("5", "turn-7")
		},
		"scope": func(ctx context.Context) (context.Context, letagentpay.PurchaseParams) {
			return letagentpay.WithPurchaseScope(ctx, "message 17"), price("5")
		},
	} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
				server := serve(t)
				client := server.Client()
				ctx, p := begin(t.Context())
				var runs atomic.Int64
				begun := time.Now()
				_, err := guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
					for _, spelled := range spellings(server.Requests()[0].RequestID) {
						_, err := client.Authorize(letagentpay.ResumeApproval(ctx, spelled), price("5"), opts...)
						var handled *letagentpay.AlreadyHandledError
						assert.ErrorAs(t, err, &handled)
					}
					_, err := client.Authorize(ctx, p, opts...)
					return "", err
				}, opts...)(ctx, p)
				var handled *letagentpay.AlreadyHandledError
				require.ErrorAs(t, err, &handled)
				assert.Less(t, time.Since(begun), time.Second)
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}

// A call that waits for another one under the same key gets its outcome, or an error if that takes too long.
func TestCallsUnderOneKeyWaitForEachOtherWithinBounds(t *testing.T) {
	for _, lasts := range []time.Duration{10 * time.Second, 2 * time.Minute} {
		t.Run(lasts.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				client := server.Client()
				var runs atomic.Int64
				var group sync.WaitGroup
				var mu sync.Mutex
				var errs []error
				for range 4 {
					group.Go(func() {
						_, err := guardGroceries(client, &runs, func(context.Context) (string, error) {
							time.Sleep(lasts)
							return "receipt", nil
						})(context.Background(), underKey("5", "turn-7"))
						mu.Lock()
						defer mu.Unlock()
						errs = append(errs, err)
					})
				}
				group.Wait()
				assert.EqualValues(t, 1, runs.Load())
				succeeded := 0
				for _, err := range errs {
					var handled *letagentpay.AlreadyHandledError
					switch {
					case err == nil:
						succeeded++
					case lasts < 30*time.Second:
						require.ErrorAs(t, err, &handled)
					default:
						require.ErrorIs(t, err, letagentpay.ErrInProgress)
					}
				}
				assert.Equal(t, 1, succeeded)
			})
		})
	}
}

// This holds for a purchase made by hand as well, however long its attempts take.
func TestGuardedCallWaitsForAPurchaseByHandWithinBounds(t *testing.T) {
	withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
		server := serve(t)
		inner := server.HTTPClient().Transport
		client := server.Client(through(exchange(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return inner.RoundTrip(r)
		})))
		byHand, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			_, err := client.Purchase(byHand, underKey("30", "turn-7"))
			var unknown *letagentpay.OutcomeUnknownError
			assert.ErrorAs(t, err, &unknown)
		})
		time.Sleep(time.Second)
		var runs atomic.Int64
		begun := time.Now()
		_, err := guardGroceries(client, &runs, succeed, opts...)(t.Context(), underKey("30", "turn-7"))
		require.ErrorIs(t, err, letagentpay.ErrInProgress)
		assert.Equal(t, 30*time.Second, time.Since(begun))
		assert.Zero(t, runs.Load())
		cancel()
		group.Wait()
	})
}

// silentJournal does not return from Entries before it is released.
type silentJournal struct {
	*memoryJournal
	released chan struct{}
}

func (j silentJournal) Entries(context.Context) iter.Seq2[*journalEntry, error] {
	return func(func(*journalEntry, error) bool) { <-j.released }
}

func TestSearchOfAJournalThatHangsEnds(t *testing.T) {
	for name, c := range map[string]struct{ limit, most time.Duration }{
		"with the context":     {10 * time.Second, 10 * time.Second},
		"within its own bound": {time.Hour, 31 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				purchase, err := server.Client().Purchase(t.Context(), price("30"))
				require.NoError(t, err)
				journal := silentJournal{new(memoryJournal), make(chan struct{})}
				defer close(journal.released)
				ctx, cancel := context.WithTimeout(t.Context(), c.limit)
				defer cancel()
				begun := time.Now()
				var runs atomic.Int64
				_, err = guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(journal))(
					letagentpay.ResumeApproval(ctx, purchase.RequestID), price("30"))
				var journalError *letagentpay.JournalError
				require.ErrorAs(t, err, &journalError)
				assert.LessOrEqual(t, time.Since(begun), c.most)
				assert.Zero(t, runs.Load())

				ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				begun = time.Now()
				_, err = server.Client().Recover(ctx, journal)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.LessOrEqual(t, time.Since(begun), 11*time.Second)
			})
		})
	}
}
