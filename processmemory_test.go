package letagentpay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
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

// twoGuards are two clients of one agent in one process, each with a journal or without one.
var twoGuards = map[string]func(shared *memoryJournal) (first, second []letagentpay.GuardOption){
	"without journals": func(*memoryJournal) (first, second []letagentpay.GuardOption) { return nil, nil },
	"the first with one": func(j *memoryJournal) (first, second []letagentpay.GuardOption) {
		return []letagentpay.GuardOption{letagentpay.WithJournal(j)}, nil
	},
	"the second with one": func(j *memoryJournal) (first, second []letagentpay.GuardOption) {
		return nil, []letagentpay.GuardOption{letagentpay.WithJournal(j)}
	},
	"one each": func(j *memoryJournal) (first, second []letagentpay.GuardOption) {
		return []letagentpay.GuardOption{letagentpay.WithJournal(j)},
			[]letagentpay.GuardOption{letagentpay.WithJournal(new(memoryJournal))}
	},
	"one together": func(j *memoryJournal) (first, second []letagentpay.GuardOption) {
		return []letagentpay.GuardOption{letagentpay.WithJournal(j)},
			[]letagentpay.GuardOption{letagentpay.WithJournal(j)}
	},
}

func TestWhatOneClientRanTheOtherDoesNotRunAgain(t *testing.T) {
	for name, guards := range twoGuards {
		for _, key := range []string{"", "turn-7"} {
			for again, how := range map[string]func(ctx context.Context, id string) context.Context{
				"resumed":       letagentpay.ResumeApproval,
				"under its key": func(ctx context.Context, _ string) context.Context { return ctx },
			} {
				if key == "" && again == "under its key" {
					continue
				}
				t.Run(name+", "+again+", key "+key, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						server := serve(t)
						first, second := guards(new(memoryJournal))
						var runs atomic.Int64
						server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: 503})
						_, err := guardGroceries(server.Client(), &runs, succeed, first...)(
							t.Context(), underKey("30", key))
						var unconfirmed *letagentpay.UnconfirmedError
						require.ErrorAs(t, err, &unconfirmed)
						server.ClearFaults()
						for range 2 {
							_, _ = guardGroceries(server.Client(), &runs, succeed, second...)(
								how(t.Context(), unconfirmed.RequestID), underKey("30", key))
							assert.EqualValues(t, 1, runs.Load())
						}
						_, err = server.Client().Confirm(t.Context(), unconfirmed.RequestID, unconfirmed.Params)
						if name != "one together" { // the second call of the other cases has confirmed the run
							require.NoError(t, err)
						}
						_, _ = guardGroceries(server.Client(), &runs, succeed, second...)(
							how(t.Context(), unconfirmed.RequestID), underKey("30", key))
						assert.EqualValues(t, 1, runs.Load())
						books(t, server, "30.00", "0.00")
					})
				})
			}
		}
	}
}

// The purchase is approved later, run through a client with other options, not confirmed, and then requested under its
// key again.
func TestResumedByOneClientIsNotRunUnderItsKeyByTheOther(t *testing.T) {
	for name, guards := range twoGuards {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				first, second := guards(new(memoryJournal))
				var runs atomic.Int64
				p := underKey("60", "turn-7")
				asks := guardGroceries(server.Client(), &runs, succeed, append(first, letagentpay.OnPendingFail())...)
				_, err := asks(t.Context(), p)
				var pending *letagentpay.NotApprovedError
				require.ErrorAs(t, err, &pending)
				require.Equal(t, letagentpay.StatusPending, pending.Status)
				require.NoError(t, server.Approve(pending.RequestID))
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: 503})
				_, err = guardGroceries(server.Client(), &runs, succeed, second...)(
					letagentpay.ResumeApproval(t.Context(), pending.RequestID), p)
				var unconfirmed *letagentpay.UnconfirmedError
				require.ErrorAs(t, err, &unconfirmed)
				server.ClearFaults()
				_, err = asks(t.Context(), p) // without resuming
				assert.EqualValues(t, 1, runs.Load())
				if name != "one together" {
					var handled *letagentpay.AlreadyHandledError
					require.ErrorAs(t, err, &handled)
					assert.True(t, handled.MayHaveRun)
				}
			})
		})
	}
}

// The same purchase is made by hand between the guarded call's first read of the list and its purchase.
func TestGuardDoesNotTakeAnApprovalThatWasAskedForByHandMeanwhile(t *testing.T) {
	withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
		server := serve(t)
		p := underKey("30", "turn-7")
		inner := server.HTTPClient().Transport
		var requested atomic.Bool
		var byHand *letagentpay.Purchase
		var client *letagentpay.Client
		client = server.Client(through(exchange(func(r *http.Request) (*http.Response, error) {
			response, err := inner.RoundTrip(r)
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/requests") && !requested.Swap(true) {
				var err error // of another goroutine of this process
				byHand, err = client.Purchase(context.Background(), p)
				assert.NoError(t, err)
			}
			return response, err
		})))
		var runs atomic.Int64
		for range 2 {
			_, err := guardGroceries(client, &runs, succeed, opts...)(t.Context(), p)
			require.True(t, byHand.Status.Approved(), "the caller that made it by hand may spend it")
			assert.Zero(t, runs.Load(), "the approval belongs to the other caller")
			var handled *letagentpay.AlreadyHandledError
			require.ErrorAs(t, err, &handled)
		}
		_, err := client.Confirm(t.Context(), byHand.RequestID, letagentpay.ConfirmParams{Success: true})
		require.NoError(t, err)
		books(t, server, "30.00", "0.00")
	})
}

// A sweeper of the same process resumes an approved request before the guarded call has its answer.
func TestGuardDoesNotRunWhatWasResumedBeforeItsAnswerArrived(t *testing.T) {
	for _, key := range []string{"", "turn-7"} {
		for confirmation, status := range map[string]int{"confirmed": 0, "unconfirmed": 503} {
			t.Run(confirmation+" key "+key, func(t *testing.T) {
				withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
					server := serve(t)
					if status != 0 {
						server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: status})
					}
					inner := server.HTTPClient().Transport
					var runs atomic.Int64
					var guarded func(context.Context, letagentpay.PurchaseParams) (string, error)
					var once sync.Once
					client := server.Client(through(exchange(func(r *http.Request) (*http.Response, error) {
						response, err := inner.RoundTrip(r)
						if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/requests") {
							once.Do(func() {
								_, err := guarded(letagentpay.ResumeApproval(context.Background(),
									server.Requests()[0].RequestID), price("30"))
								assert.Equal(t, status != 0, err != nil)
							})
						}
						return response, err
					})))
					guarded = guardGroceries(client, &runs, succeed, opts...)
					_, _ = guarded(t.Context(), underKey("30", key))
					assert.EqualValues(t, 1, runs.Load())
					books(t, server, "30.00", "0.00")
				})
			})
		}
	}
}

// A queue delivers a message to a second worker while a human decides the purchase of the first.
func TestRedeliveryWhilePendingRunsOnce(t *testing.T) {
	for name, scoped := range map[string]bool{"scope": true, "own key": false} {
		for _, journals := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", journals ", journals), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serve(t)
					var runs atomic.Int64
					var group sync.WaitGroup
					errs := make([]error, 3)
					for i := range errs {
						var opts []letagentpay.GuardOption
						if journals {
							opts = append(opts, letagentpay.WithJournal(new(memoryJournal)))
						}
						client := server.Client(elsewhere())
						group.Go(func() {
							ctx, p := t.Context(), price("60")
							if scoped {
								ctx = letagentpay.WithPurchaseScope(ctx, "message 17")
							} else {
								p.IdempotencyKey = "message 17"
							}
							_, errs[i] = guardGroceries(client, &runs, func(context.Context) (string, error) {
								time.Sleep(20 * time.Second)
								return "receipt", nil
							}, opts...)(ctx, p)
						})
						time.Sleep(30 * time.Second)
					}
					require.Len(t, server.Requests(), 1)
					require.NoError(t, server.Approve(server.Requests()[0].RequestID))
					group.Wait()
					assert.EqualValues(t, 1, runs.Load())
					require.NoError(t, errs[0])
					for _, err := range errs[1:] {
						var handled *letagentpay.AlreadyHandledError
						require.ErrorAs(t, err, &handled)
						assert.Equal(t, letagentpay.StatusPending, handled.Request.Status)
						assert.False(t, handled.MayHaveRun)
						require.ErrorContains(t, err, "resume it")
					}
					books(t, server, "60.00", "0.00")
				})
			})
		}
	}
}

// A process remembers one service under two names as two services. The request's state then decides.
func TestRedeliveryToAClientOfAnotherHostNameRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		inner := server.HTTPClient().Transport
		home := strings.TrimPrefix(strings.TrimSuffix(server.URL, "/api/v1/agent-api"), "https://")
		other := server.Client(letagentpay.WithBaseURL("https://other-name.example/api/v1/agent-api"),
			through(exchange(func(r *http.Request) (*http.Response, error) {
				again := r.Clone(r.Context())
				again.URL.Host, again.Host = home, home
				return inner.RoundTrip(again)
			})))
		var runs atomic.Int64
		var group sync.WaitGroup
		for _, client := range []*letagentpay.Client{server.Client(), other} {
			group.Go(func() {
				scope := letagentpay.WithPurchaseScope(t.Context(), "message 17")
				_, _ = guardGroceries(client, &runs, func(context.Context) (string, error) {
					time.Sleep(20 * time.Second)
					return "receipt", nil
				})(scope, price("60"))
			})
			time.Sleep(30 * time.Second)
		}
		for _, r := range server.Requests() {
			require.NoError(t, server.Approve(r.RequestID))
		}
		group.Wait()
		assert.EqualValues(t, 1, runs.Load())
	})
}

// The process that made the request is gone. The other process returns an error, and runs it once when it is resumed.
func TestAnotherProcessRunsWhatIsPendingWhenItIsResumed(t *testing.T) {
	for _, journals := range []bool{false, true} {
		t.Run(fmt.Sprint("journals ", journals), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				var opts []letagentpay.GuardOption
				if journals {
					opts = append(opts, letagentpay.WithJournal(new(memoryJournal)))
				}
				var runs atomic.Int64
				p := underKey("60", "turn-7")
				_, err := guardGroceries(server.Client(elsewhere()), &runs, succeed, letagentpay.OnPendingFail())(
					t.Context(), p)
				var pending *letagentpay.NotApprovedError
				require.ErrorAs(t, err, &pending)
				require.Equal(t, letagentpay.StatusPending, pending.Status)

				guarded := guardGroceries(server.Client(elsewhere()), &runs, succeed, opts...)
				var handled *letagentpay.AlreadyHandledError
				for range 2 {
					_, err = guarded(t.Context(), p)
					require.ErrorAs(t, err, &handled)
					assert.Equal(t, letagentpay.StatusPending, handled.Request.Status)
					assert.Equal(t, pending.RequestID, handled.Request.RequestID)
					assert.False(t, handled.MayHaveRun)
				}
				require.NoError(t, server.Approve(pending.RequestID))
				_, err = guarded(t.Context(), p)
				require.ErrorAs(t, err, &handled)
				assert.True(t, handled.Request.Status.Approved())
				assert.True(t, handled.MayHaveRun, "the other process may be running it")
				assert.Zero(t, runs.Load())

				_, err = guarded(letagentpay.ResumeApproval(t.Context(), handled.Request.RequestID), p)
				require.NoError(t, err)
				for range 2 {
					_, _ = guarded(letagentpay.ResumeApproval(t.Context(), handled.Request.RequestID), p)
					_, _ = guarded(t.Context(), p)
				}
				assert.EqualValues(t, 1, runs.Load())
				books(t, server, "60.00", "0.00")
			})
		})
	}
}

func TestPendingPurchaseIsContinuedUnderItsKey(t *testing.T) {
	for name, guards := range twoGuards {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				first, second := guards(new(memoryJournal))
				var runs atomic.Int64
				p := underKey("60", "turn-7")
				one := guardGroceries(server.Client(), &runs, succeed, append(first, letagentpay.OnPendingFail())...)
				two := guardGroceries(server.Client(), &runs, succeed, append(second, letagentpay.OnPendingFail())...)
				var pending *letagentpay.NotApprovedError
				for range 2 {
					_, err := one(t.Context(), p)
					require.ErrorAs(t, err, &pending)
					require.Equal(t, letagentpay.StatusPending, pending.Status)
					_, err = two(t.Context(), p)
					require.ErrorAs(t, err, &pending)
					require.Equal(t, letagentpay.StatusPending, pending.Status)
				}
				require.NoError(t, server.Approve(pending.RequestID))
				result, err := two(t.Context(), p)
				require.NoError(t, err, "this process requested it and never started it")
				assert.Equal(t, "receipt", result)
				for range 2 {
					_, _ = one(t.Context(), p)
					_, _ = two(t.Context(), p)
				}
				assert.EqualValues(t, 1, runs.Load())
				assert.Len(t, server.Requests(), 1)
				books(t, server, "60.00", "0.00")
			})
		})
	}
}

// The service answers a new purchase with the id of an old request.
func TestNewPurchaseAnsweredWithAnOldRequestDoesNotRun(t *testing.T) {
	for name, status := range map[string]string{
		"confirmed":   "completed",
		"unconfirmed": "auto_approved",
		"failed":      "failed",
	} {
		for who, client := range map[string]func(*service) *letagentpay.Client{
			"the same client": func(s *service) *letagentpay.Client { return s.client() },
			"with a journal":  func(s *service) *letagentpay.Client { return s.client() },
		} {
			t.Run(name+", "+who, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService(t).on("POST", "/requests", answer(201, autoApproved)).
						on("GET", "/requests/r1", answer(200, detail(status)))
					fn := succeed
					switch name {
					case "confirmed":
						s.on("POST", "/requests/r1/confirm", answer(200, confirmed),
							answer(400, `{"detail":"Cannot confirm request with status 'completed'"}`))
					case "unconfirmed":
						s.on("POST", "/requests/r1/confirm", answer(403, `{"detail":"Agent is paused"}`))
					default:
						s.on("POST", "/requests/r1/confirm",
							answer(200, `{"request_id":"r1","status":"failed","actual_amount":null}`))
						fn = func(context.Context) (string, error) { return "", errShop }
					}
					var opts []letagentpay.GuardOption
					if who == "with a journal" {
						opts = append(opts, letagentpay.WithJournal(new(memoryJournal)))
					}
					var runs atomic.Int64
					_, _ = guardGroceries(client(s), &runs, fn, opts...)(t.Context(), groceries())
					for range 2 {
						_, err := guardGroceries(client(s), &runs, fn, opts...)(t.Context(), groceries())
						var handled *letagentpay.AlreadyHandledError
						require.ErrorAs(t, err, &handled)
						assert.Equal(t, name == "unconfirmed", handled.MayHaveRun)
						assert.EqualValues(t, 1, runs.Load(), "a run under r1 exists: the answer is an old one")
					}
				})
			})
		}
	}
}

func TestNewPurchaseAnsweredWithAPendingRequestOfAnotherCallDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("POST", "/requests", answer(201, pendingAnswer), answer(201, autoApproved)).
			on("GET", "/requests/r1", answer(200, detail("approved"))).
			on("POST", "/requests/r1/confirm", answer(200, confirmed))
		var runs atomic.Int64
		_, err := guardGroceries(s.client(), &runs, succeed, letagentpay.OnPendingFail())(t.Context(), groceries())
		require.ErrorIs(t, err, letagentpay.ErrNotApproved)
		_, err = guardGroceries(s.client(), &runs, succeed)(t.Context(), groceries())
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.Zero(t, runs.Load(), "the other call knows r1 and may resume it")
	})
}

// The decision is for another purchase than the one requested.
func TestPurchaseThatChangesWhileItIsWaitedForDoesNotRun(t *testing.T) {
	for what, replaced := range changedBeforeApproval {
		for name, begin := range keySources {
			if name == "scope" {
				continue // see TestScopedPurchaseThatChangesWhileItIsWaitedForDoesNotRun
			}
			listed := ""
			if name == "resumed" {
				asOurs := strings.NewReplacer("r0", "r1", `"completed"`, `"pending"`, `"other"`, `"groceries"`,
					"1.0,", "49.99,")
				listed = asOurs.Replace(item("r0", "2026-03-11T12:00:00.123456+00:00"))
			}
			t.Run(what+", "+name, func(t *testing.T) { changesWhileWaitedFor(t, replaced, listed, begin) })
		}
	}
}

var changedBeforeApproval = map[string]string{
	"amount":              strings.Replace(detail("approved"), "49.99", "4.99", 1),
	"category":            strings.Replace(detail("approved"), "groceries", "taxi", 1),
	"amount and category": strings.NewReplacer("49.99", "4.99", "groceries", "other").Replace(detail("approved")),
}

var keySources = map[string]func(ctx context.Context) (_ context.Context, key string){
	"random key": func(ctx context.Context) (context.Context, string) { return ctx, "" },
	"own key":    func(ctx context.Context) (context.Context, string) { return ctx, "turn-7" },
	"scope": func(ctx context.Context) (context.Context, string) {
		return letagentpay.WithPurchaseScope(ctx, "message 17"), ""
	},
	"resumed": func(ctx context.Context) (context.Context, string) { return letagentpay.ResumeApproval(ctx, "r1"), "" },
}

// changesWhileWaitedFor makes a guarded call whose pending request has other contents once it is approved.
func changesWhileWaitedFor(t *testing.T, replaced string, listed string,
	begin func(ctx context.Context) (_ context.Context, key string),
) {
	synctest.Test(t, func(t *testing.T) {
		ctx, key := begin(t.Context())
		s := newService(t).on("POST", "/requests", answer(201, pendingAnswer)).on("GET", "/requests", list(listed)).
			on("GET", "/categories", answer(200, `{"categories":["groceries","other","taxi"]}`)).
			on("GET", "/requests/r1", answer(200, detail("pending")), answer(200, detail("pending")),
				answer(200, replaced)).
			on("POST", "/requests/r1/confirm", answer(200, confirmed))
		var runs atomic.Int64
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		p := groceries()
		p.IdempotencyKey = key
		_, err := guardGroceries(s.client(through(atMost(30, cancel, s.mock))), &runs, succeed)(ctx, p)
		var mismatch *letagentpay.MismatchError
		require.ErrorAs(t, err, &mismatch)
		assert.Zero(t, runs.Load(), "49.99 in groceries is described")
		assert.Less(t, len(s.paths()), 20)
	})
}

func TestPurchaseByHandUnderAUsedKeyTellsTheCurrentStatus(t *testing.T) {
	for _, other := range []bool{false, true} {
		t.Run(fmt.Sprint("by another process ", other), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				first, second := server.Client(), server.Client()
				if other {
					second = server.Client(elsewhere())
				}
				again := func(p letagentpay.PurchaseParams) *letagentpay.Purchase {
					purchase, err := second.Purchase(t.Context(), p)
					require.NoError(t, err)
					return purchase
				}
				p := underKey("60", "turn-7")
				requested, err := first.Purchase(t.Context(), p)
				require.NoError(t, err)
				assert.Equal(t, letagentpay.StatusPending, again(p).Status)
				require.NoError(t, server.Approve(requested.RequestID))
				approved := again(p)
				assert.Equal(t, letagentpay.StatusApproved, approved.Status)
				assert.Equal(t, requested.RequestID, approved.RequestID)
				assert.False(t, approved.AutoApproved)
				assert.True(t, approved.ExpiresAt.IsZero())
				_, err = first.Confirm(t.Context(), requested.RequestID, letagentpay.ConfirmParams{Success: true})
				require.NoError(t, err)
				assert.Equal(t, letagentpay.StatusCompleted, again(p).Status, "the money is spent")

				p = underKey("30", "turn-8")
				var runs atomic.Int64
				_, err = guardGroceries(first, &runs, func(context.Context) (string, error) { return "", errShop })(
					t.Context(), p)
				require.ErrorIs(t, err, errShop)
				failed := again(p)
				assert.Equal(t, letagentpay.StatusFailed, failed.Status)
				assert.False(t, failed.AutoApproved)

				p = underKey("61", "turn-9")
				requested, err = first.Purchase(t.Context(), p)
				require.NoError(t, err)
				require.NoError(t, server.Reject(requested.RequestID))
				assert.Equal(t, letagentpay.StatusRejected, again(p).Status)
				p = underKey("62", "turn-10")
				_, err = first.Purchase(t.Context(), p)
				require.NoError(t, err)
				time.Sleep(40 * time.Minute)
				assert.Equal(t, letagentpay.StatusExpired, again(p).Status)
			})
		})
	}
}

func TestPurchaseByHandUnderTheKeyOfAnotherPurchaseIsAMismatch(t *testing.T) {
	for field, change := range changes {
		for who, other := range map[string]bool{"this process": false, "another process": true} {
			for amount, decide := range map[string]bool{"60": true, "30": false} {
				t.Run(who+", "+field+", "+amount, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						server := serve(t)
						p := whole(amount)
						p.IdempotencyKey = "turn-7"
						requested, err := server.Client().Purchase(t.Context(), p)
						require.NoError(t, err)
						if decide {
							require.NoError(t, server.Approve(requested.RequestID))
						}
						client := server.Client()
						if other {
							client = server.Client(elsewhere())
						}
						change(&p)
						purchase, err := client.Purchase(t.Context(), p)
						var mismatch *letagentpay.MismatchError
						require.ErrorAs(t, err, &mismatch)
						assert.Equal(t, field, mismatch.Field)
						assert.Nil(t, purchase)
						assert.Len(t, server.Requests(), 1)
					})
				})
			}
		}
	}
}

// atMost is a transport that ends a context after a number of calls.
func atMost(calls int64, end context.CancelFunc, next http.RoundTripper) exchange {
	var n atomic.Int64
	return func(r *http.Request) (*http.Response, error) {
		if n.Add(1) > calls {
			end()
		}
		return next.RoundTrip(r)
	}
}

// heapAfter returns by how much a number of calls grows the heap.
func heapAfter(calls int, do func(i int)) (grown int64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range calls {
		do(i)
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// cheapService makes a request for each purchase and remembers only the newest, so that any growth is the client's.
type cheapService struct {
	status  string                             // of each purchase
	confirm func(id string) (int, string)      // answers confirmations
	lose    func(*http.Request) bool           // selects the answers that are lost; nil: none
	made    int64                              // requests so far
	newest  struct{ id, state, shared string } // shared holds the fields that a row and a read by id share
}

func (s *cheapService) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent struct {
		Amount   json.Number
		Category string
	}
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			return nil, err
		}
	}
	code, body := http.StatusOK, ""
	switch id, isRequest := strings.CutPrefix(r.URL.Path, "/api/v1/agent-api/requests/"); {
	case strings.HasSuffix(id, "/confirm"):
		id = strings.TrimSuffix(id, "/confirm")
		if code, body = s.confirm(id); code == http.StatusOK && id == s.newest.id {
			s.newest.state = "completed"
		}
	case r.Method == http.MethodPost:
		s.made++
		category := "groceries"
		if sent.Category != category {
			category = "other"
		}
		s.newest.id, s.newest.state = fmt.Sprintf("00000000-0000-4000-8000-%012d", s.made), s.status
		s.newest.shared = fmt.Sprintf(`"request_id":%q,"amount":%s,"category":%q,"created_at":%q,"reviewed_at":null`,
			s.newest.id, sent.Amount, category, time.Now().UTC().Format("2006-01-02T15:04:05.000000+00:00"))
		code = http.StatusCreated
		body = fmt.Sprintf(`{"request_id":%q,"status":%q,"currency":"USD","category":%q,"original_category":%q,`+
			`"policy_check":{"passed":%t,"checks":[]},"auto_approved":%t,"budget_remaining":null,"expires_at":null}`,
			s.newest.id, s.status, category, sent.Category, s.status != "rejected", s.status == "auto_approved")
	case isRequest && id == s.newest.id:
		body = fmt.Sprintf(`{%s,"status":%q}`, s.newest.shared, s.newest.state)
	case isRequest:
		code, body = http.StatusNotFound, `{"detail":"Request not found"}`
	case strings.HasSuffix(r.URL.Path, "/categories"):
		body = `{"categories":["groceries","other"]}`
	default:
		row := ""
		if s.newest.id != "" {
			row = fmt.Sprintf(`{%s,"status":%q,"currency":"USD","merchant":null,"description":null,"expires_at":null}`,
				s.newest.shared, s.newest.state)
		}
		body = `{"requests":[` + row + `],"total":1,"limit":1,"offset":0}`
	}
	if s.lose != nil && s.lose(r) {
		return nil, errReset
	}
	return &http.Response{
		StatusCode: code,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(body)),
		Request:    r,
	}, nil
}

func TestHeapOfALongLife(t *testing.T) {
	type inContext = func(i int) (context.Context, letagentpay.PurchaseParams)
	completed := func(id string) (int, string) {
		return 200, `{"request_id":"` + id + `","status":"completed","actual_amount":null}`
	}
	already := func(string) (int, string) { return 400, `{"detail":"Cannot confirm request with status 'completed'"}` }
	refused := func(string) (int, string) { return 403, `{"detail":"Agent is paused"}` }
	posts := func(r *http.Request) bool { return r.Method == http.MethodPost }
	confirmations := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/confirm") }
	same := func(int) (context.Context, letagentpay.PurchaseParams) { return context.Background(), price("5") }
	worded := func(i int) (context.Context, letagentpay.PurchaseParams) {
		return context.Background(), letagentpay.PurchaseParams{
			Amount:   letagentpay.MustAmount("5"),
			Category: fmt.Sprintf("gift for friend number %026d", i),
		}
	}
	keyed := func(next inContext) inContext {
		return func(i int) (context.Context, letagentpay.PurchaseParams) {
			ctx, p := next(i)
			p.IdempotencyKey = fmt.Sprint("order ", i)
			return ctx, p
		}
	}
	scoped := func(next inContext) inContext {
		return func(i int) (context.Context, letagentpay.PurchaseParams) {
			ctx, p := next(i)
			return letagentpay.WithPurchaseScope(ctx, fmt.Sprint("message ", i)), p
		}
	}
	const million = 1_000_000
	approving := cheapService{status: "auto_approved", confirm: completed}
	confirming := cheapService{status: "auto_approved", confirm: already} // confirmed by another caller
	refusing := cheapService{status: "auto_approved", confirm: refused}
	rejecting := cheapService{status: "rejected", confirm: completed}
	reviewing := cheapService{status: "pending", confirm: completed}
	losingPosts := cheapService{status: "auto_approved", confirm: completed, lose: posts}
	losingConfirmations := cheapService{status: "auto_approved", confirm: completed, lose: confirmations}
	for name, c := range map[string]struct {
		calls, long int // long is for LETAGENTPAY_LONG_TESTS
		next        cheapService
		describe    inContext
		limit       int64
		runs        bool // each call runs its function
	}{
		"ordinary calls":                          {50_000, million, approving, same, 1 << 20, true},
		"category names of a model's words":       {40_000, million, approving, worded, 1 << 20, true},
		"own keys":                                {20_000, million, approving, keyed(same), 3 << 20, true},
		"own keys and a model's words":            {0, million, approving, keyed(worded), 3 << 20, true},
		"scopes":                                  {20_000, million, approving, scoped(same), 3 << 20, true},
		"scopes and a model's words":              {0, million, approving, scoped(worded), 3 << 20, true},
		"confirmed by another caller":             {40_000, million, confirming, same, 1 << 20, true},
		"own keys, confirmed by another caller":   {20_000, million, confirming, keyed(same), 3 << 20, true},
		"rejected":                                {40_000, million, rejecting, same, 1 << 20, false},
		"pending and left":                        {40_000, million, reviewing, worded, 4 << 20, false},
		"own keys, pending and left":              {20_000, million, reviewing, keyed(worded), 6 << 20, false},
		"own keys, each purchase's answer lost":   {5_000, million, losingPosts, keyed(same), 3 << 20, false},
		"scopes, each confirmation's answer lost": {5_000, million, losingConfirmations, scoped(same), 3 << 20, true},
		"never confirmed, and so remembered":      {0, 300_000, refusing, same, 48 << 20, true},
	} {
		t.Run(name, func(t *testing.T) {
			const long = "LETAGENTPAY_LONG_TESTS"
			calls := c.calls
			if os.Getenv(long) != "" {
				calls = c.long
			} else if calls == 0 {
				t.Skipf("%d calls take longer than 10 s, so they are made only when %s is set", c.long, long)
			}
			synctest.Test(t, func(t *testing.T) {
				var runs atomic.Int64
				client := newClient(t, &c.next, letagentpay.WithBaseURL("https://pay.example/api/v1/agent-api"),
					letagentpay.WithLogger(slog.New(slog.DiscardHandler)), elsewhere())
				guarded := guardGroceries(client, &runs, succeed, letagentpay.OnPendingFail())
				before := runtime.NumGoroutine()
				grown := heapAfter(calls, func(i int) {
					ctx, p := c.describe(i)
					_, _ = guarded(ctx, p)
				})
				t.Logf("%d KiB after %d calls", grown>>10, calls)
				assert.Less(t, grown, c.limit, "after %d calls", calls)
				assert.LessOrEqual(t, runtime.NumGoroutine(), before+2)
				if c.runs {
					assert.EqualValues(t, calls, runs.Load())
				} else {
					assert.Zero(t, runs.Load())
				}
				runtime.KeepAlive(client)
			})
		})
	}
}

// The purchase can have only the ordinal that it has.
func TestScopedPurchaseThatChangesWhileItIsWaitedForDoesNotRun(t *testing.T) {
	for what, replaced := range changedBeforeApproval {
		t.Run(what, func(t *testing.T) { changesWhileWaitedFor(t, replaced, "", keySources["scope"]) })
	}
}

func TestRequestThatTakesOverTheKeyOfARunIsNotRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := defaultLog(t)
		server, begun := serve(t), time.Now()
		var posts atomic.Int64
		server.SetServiceRaces(&letagentpaytest.Races{Choose: func(c letagentpaytest.Call) time.Duration {
			if c.Op == operation.Purchase && posts.Add(1) == 1 {
				return 100 * time.Second // the first attempt commits last
			}
			return 0
		}})
		inner := server.HTTPClient().Transport
		var repeated atomic.Bool
		client := server.Client(letagentpay.WithHTTPClient(&http.Client{
			Timeout: 10 * time.Second,
			Transport: exchange(func(r *http.Request) (*http.Response, error) {
				if repeated.Load() && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/requests") {
					time.Sleep(time.Until(begun.Add(101 * time.Second))) // between the list and the post
				}
				return inner.RoundTrip(r)
			}),
		}))
		var runs atomic.Int64
		buy := guardGroceries(client, &runs, succeed)
		_, err := buy(t.Context(), underKey("30", "turn-7"))
		require.NoError(t, err)
		time.Sleep(time.Until(begun.Add(99 * time.Second)))
		repeated.Store(true)
		_, err = buy(t.Context(), underKey("30", "turn-7"))
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		var duplicate *letagentpay.DuplicateError
		require.ErrorAs(t, err, &duplicate)
		requests := server.Requests()
		require.Len(t, requests, 2)
		assert.Equal(t, letagentpay.StatusCompleted, handled.Request.Status)
		assert.Equal(t, handled.Request.RequestID, duplicate.RequestID)
		require.Len(t, duplicate.Duplicates, 1)
		stray, _ := server.Request(duplicate.Duplicates[0])
		assert.Equal(t, letagentpay.StatusAutoApproved, stray.Status)
		assert.EqualValues(t, 1, runs.Load(), "one key, one run")
		assert.Contains(t, log.String(), "letagentpay.duplicate")

		server.Advance(25 * time.Hour) // the service forgets the key
		repeated.Store(false)
		_, err = buy(t.Context(), underKey("30", "turn-7"))
		require.NoError(t, err)
		assert.EqualValues(t, 2, runs.Load())
	})
}

// The request that ran under the key cannot be read, so it is unknown whether the answer is a duplicate or another
// purchase.
func TestKeyOfTheDayBeforeWhoseRunCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := defaultLog(t)
		server := serve(t)
		inner := server.HTTPClient().Transport
		var unreadable atomic.Value // an id
		unreadable.Store("none")
		client := server.Client(through(exchange(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/"+unreadable.Load().(string)) {
				return answer(403, `{"detail":"Forbidden"}`)(r)
			}
			return inner.RoundTrip(r)
		})))
		var runs atomic.Int64
		buy := guardGroceries(client, &runs, succeed)
		_, err := buy(t.Context(), underKey("30", "turn-7"))
		require.NoError(t, err)
		first := server.Requests()[0].RequestID
		server.Advance(25 * time.Hour) // the service forgets the key
		unreadable.Store(first)

		_, err = buy(t.Context(), underKey("30", "turn-7"))
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		require.ErrorIs(t, err, letagentpay.ErrForbidden)
		assert.Contains(t, err.Error(), first)
		assert.Equal(t, "turn-7", unknown.IdempotencyKey)
		_, named := errors.AsType[*letagentpay.DuplicateError](err)
		assert.False(t, named, "%v", err)
		assert.NotContains(t, log.String(), "letagentpay.duplicate")
		assert.EqualValues(t, 1, runs.Load())

		unreadable.Store("none")
		_, err = buy(t.Context(), underKey("30", "turn-7"))
		require.NoError(t, err)
		assert.EqualValues(t, 2, runs.Load())
	})
}

// A purchase whose answer was lost is found and resumed by its id. A day later its key leads to another request.
func TestFoundPurchaseThatHasRunIsNoDuplicate(t *testing.T) {
	for name, afterRestart := range map[string]bool{"same process": false, "another process": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				defaultLog(t)
				server := serve(t)
				journal := new(memoryJournal)
				client := server.Client(letagentpay.WithMaxRetries(0), letagentpay.InProcess(letagentpay.NewProcess()))
				var runs atomic.Int64
				buy := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))
				server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: letagentpaytest.DropAfter, Times: 1})
				_, err := buy(t.Context(), underKey("30", "turn-7"))
				var unknown *letagentpay.OutcomeUnknownError
				require.ErrorAs(t, err, &unknown)
				require.Len(t, unknown.Found, 1)
				found := unknown.Found[0]
				_, err = buy(letagentpay.ResumeApproval(t.Context(), found), price("30"))
				require.NoError(t, err)

				server.Advance(25 * time.Hour) // the service forgets the key
				if afterRestart {
					client = server.Client(letagentpay.InProcess(letagentpay.NewProcess()))
					buy = guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))
				}
				_, err = buy(t.Context(), underKey("30", "turn-7"))
				_, named := errors.AsType[*letagentpay.DuplicateError](err)
				assert.False(t, named, "%v", err)
				request, _ := server.Request(found)
				assert.Equal(t, letagentpay.StatusCompleted, request.Status)
			})
		})
	}
}

// A purchase whose answer was lost is resumed by its id and may have run. It does not run again, however often its key
// is repeated.
func TestResumedPurchaseDoesNotRunUnderItsKey(t *testing.T) {
	for name, outcome := range map[string]error{
		"may have run": context.DeadlineExceeded,
		"has run":      nil,
		"has failed":   errShop,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				defaultLog(t)
				server := serve(t)
				journal := new(memoryJournal)
				var runs atomic.Int64
				type call = func(context.Context, letagentpay.PurchaseParams) (string, error)
				buy := func(of *letagentpay.Process, opts ...letagentpay.GuardOption) call {
					client := server.Client(letagentpay.WithMaxRetries(0), letagentpay.InProcess(of))
					return guardGroceries(client, &runs, func(context.Context) (string, error) {
						return "receipt", outcome
					}, opts...)
				}
				first, later := letagentpay.NewProcess(), letagentpay.NewProcess()
				server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: letagentpaytest.DropAfter, Times: 1})
				_, err := buy(first, letagentpay.WithJournal(journal))(t.Context(), underKey("30", "turn-7"))
				var unknown *letagentpay.OutcomeUnknownError
				require.ErrorAs(t, err, &unknown)
				require.Len(t, unknown.Found, 1)
				_, err = buy(first, letagentpay.WithJournal(journal))(
					letagentpay.ResumeApproval(t.Context(), unknown.Found[0]), price("30"))
				require.Equal(t, outcome == nil, err == nil, "%v", err)

				for range 3 {
					receipt, err := buy(later, letagentpay.WithJournal(journal))(t.Context(), underKey("30", "turn-7"))
					if outcome == nil {
						require.NoError(t, err)
						assert.Equal(t, "receipt", receipt)
					} else {
						require.Error(t, err)
					}
				}
				_, err = buy(later, letagentpay.WithJournal(journal))(t.Context(), underKey("40", "turn-7"))
				var mismatch *letagentpay.MismatchError
				require.ErrorAs(t, err, &mismatch)
				assert.Equal(t, "Amount", mismatch.Field)
				_, err = buy(later)(t.Context(), underKey("30", "turn-7"))
				var handled *letagentpay.AlreadyHandledError
				require.ErrorAs(t, err, &handled)
				assert.EqualValues(t, 1, runs.Load())
				assert.Len(t, server.Requests(), 1)
			})
		})
	}
}

// The service may change which of several requests a key leads to. A request reported as a duplicate stays one.
func TestDuplicateStaysOneWhenItsKeyLeadsToIt(t *testing.T) {
	for name, test := range map[string]struct{ journal, restarted, byHand bool }{
		"same process":               {},
		"with a journal":             {journal: true},
		"with a journal, restarted":  {journal: true, restarted: true},
		"made by hand":               {byHand: true},
		"made by hand, then guarded": {journal: true, byHand: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				log := defaultLog(t)
				server := serve(t)
				inner := server.HTTPClient().Transport
				var unreadable atomic.Bool
				client := func(of *letagentpay.Process) *letagentpay.Client {
					return server.Client(letagentpay.InProcess(of),
						through(exchange(func(r *http.Request) (*http.Response, error) {
							if unreadable.Load() && r.Method == http.MethodGet &&
								!strings.HasSuffix(r.URL.Path, "/requests") {
								return answer(403, `{"detail":"Forbidden"}`)(r)
							}
							return inner.RoundTrip(r)
						})))
				}
				var opts []letagentpay.GuardOption
				if test.journal {
					opts = append(opts, letagentpay.WithJournal(new(memoryJournal)))
				}
				server.SetServiceRaces(&letagentpaytest.Races{Store: 1500 * time.Millisecond})
				server.Fail(letagentpaytest.Fault{
					Op:             operation.Purchase,
					Times:          2,
					Status:         502,
					NonJSON:        true,
					GatewayTimeout: 3 * time.Second,
					Delay:          5 * time.Second,
				})
				of := letagentpay.NewProcess()
				var runs atomic.Int64
				var counts, duplicate string
				if test.byHand {
					purchase, err := client(of).Purchase(t.Context(), underKey("30", "turn-7"))
					require.NoError(t, err)
					require.Len(t, purchase.Duplicates, 1)
					counts, duplicate = purchase.RequestID, purchase.Duplicates[0]
				} else {
					unreadable.Store(true)
					_, err := guardGroceries(client(of), &runs, succeed, opts...)(t.Context(), underKey("30", "turn-7"))
					var unknown *letagentpay.OutcomeUnknownError
					require.ErrorAs(t, err, &unknown)
					require.Len(t, server.Requests(), 2)
					for _, request := range server.Requests() {
						if request.RequestID == unknown.RequestID {
							counts = request.RequestID
						} else {
							duplicate = request.RequestID
						}
					}
					assert.Contains(t, log.String(), duplicate)
					unreadable.Store(false)
				}
				time.Sleep(time.Minute)
				if test.restarted { // twice, and the first restart fails
					server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Status: 403})
					_, err := guardGroceries(client(letagentpay.NewProcess()), &runs, succeed, opts...)(
						t.Context(), underKey("30", "turn-7"))
					require.ErrorIs(t, err, letagentpay.ErrForbidden)
					of = letagentpay.NewProcess()
				}
				again, err := client(letagentpay.NewProcess()).Purchase(t.Context(), underKey("30", "turn-7"))
				require.NoError(t, err)
				require.Equal(t, duplicate, again.RequestID, "the key now leads to the other one")

				if test.byHand && !test.journal {
					purchase, err := client(of).Purchase(t.Context(), underKey("30", "turn-7"))
					require.NoError(t, err)
					assert.Equal(t, counts, purchase.RequestID)
					assert.Equal(t, []string{duplicate}, purchase.Duplicates)
					return
				}
				_, err = guardGroceries(client(of), &runs, succeed, opts...)(t.Context(), underKey("30", "turn-7"))
				if test.byHand {
					var handled *letagentpay.AlreadyHandledError
					require.ErrorAs(t, err, &handled)
					assert.Equal(t, counts, handled.Request.RequestID)
					assert.Zero(t, runs.Load())
					return
				}
				var named *letagentpay.DuplicateError
				require.ErrorAs(t, err, &named)
				assert.Equal(t, counts, named.RequestID)
				assert.Equal(t, []string{duplicate}, named.Duplicates)
				assert.EqualValues(t, 1, runs.Load())
				ran, _ := server.Request(counts)
				assert.Equal(t, letagentpay.StatusCompleted, ran.Status)
				stray, _ := server.Request(duplicate)
				assert.Equal(t, letagentpay.StatusAutoApproved, stray.Status)
			})
		})
	}
}

// A purchase whose answer was lost expires before its key is repeated.
func TestFoundPurchaseThatIsOverIsNoDuplicate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		defaultLog(t)
		server, journal := serve(t), new(memoryJournal)
		client := server.Client(letagentpay.WithMaxRetries(0))
		var runs atomic.Int64
		buy := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal), letagentpay.OnPendingFail())
		server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: letagentpaytest.DropAfter, Times: 1})
		_, err := buy(t.Context(), underKey("60", "turn-7"))
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		require.Len(t, unknown.Found, 1)
		server.Advance(25 * time.Hour) // it expires, and the service forgets the key
		_, err = buy(t.Context(), underKey("60", "turn-7"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		assert.NotEqual(t, unknown.Found[0], pending.RequestID)
		assert.Empty(t, only(t, journal).Duplicates)
	})
}

// A pending purchase that was requested under an alias is resumed under the name that the service resolved it to.
func TestPurchaseUnderAnAliasIsResumedElsewhereAsWhatItWasResolvedTo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t, letagentpaytest.WithAliases(map[string]string{"supermarket": "groceries"}))
		journal := new(memoryJournal)
		var runs atomic.Int64
		buy := func() func(context.Context, letagentpay.PurchaseParams) (string, error) {
			client := server.Client(letagentpay.InProcess(letagentpay.NewProcess()))
			return guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal), letagentpay.OnPendingFail())
		}
		alias, resolved := price("60"), price("60")
		alias.Category = "supermarket"
		_, err := buy()(t.Context(), alias)
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		request, _ := server.Request(pending.RequestID)
		require.Equal(t, resolved.Category, request.Category)
		require.NoError(t, server.Approve(pending.RequestID))
		_, err = buy()(letagentpay.ResumeApproval(t.Context(), pending.RequestID), resolved)
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
	})
}
