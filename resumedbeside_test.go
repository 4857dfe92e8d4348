package letagentpay_test

import (
	"context"
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
)

// A webhook resumes a pending purchase and waits for the human while the turn is retried.
func TestCallUnderTheKeyOfAResumedRunLeavesItsRecord(t *testing.T) {
	for name, c := range map[string]struct {
		result error
		want   journalState
	}{"in doubt": {context.DeadlineExceeded, stateStarted}, "success": {nil, stateSettled}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server, journal := serve(t), new(memoryJournal)
				client := server.Client(elsewhere())
				var runs atomic.Int64
				fn := func(context.Context) (string, error) {
					time.Sleep(5 * time.Second)
					return "receipt", c.result
				}
				_, err := guardGroceries(client, &runs, fn, letagentpay.WithJournal(journal),
					letagentpay.OnPendingFail())(t.Context(), underKey("60", "k"))
				var pending *letagentpay.NotApprovedError
				require.ErrorAs(t, err, &pending)
				require.Equal(t, letagentpay.StatusPending, pending.Status)
				guarded := guardGroceries(client, &runs, fn, letagentpay.WithJournal(journal))
				var group sync.WaitGroup
				group.Go(func() {
					_, _ = guarded(letagentpay.ResumeApproval(t.Context(), pending.RequestID), price("60"))
				})
				time.Sleep(time.Second)
				group.Go(func() {
					_, _ = guarded(t.Context(), underKey("60", "k"))
				})
				time.Sleep(time.Second)
				require.NoError(t, server.Approve(pending.RequestID))
				group.Wait()
				require.EqualValues(t, 1, runs.Load())
				assert.Equal(t, []string{string(c.want)}, journal.states())
				interrupted, err := server.Client(elsewhere()).Recover(t.Context(), journal)
				require.NoError(t, err)
				if c.result != nil {
					require.Len(t, interrupted, 1, "60.00 may have been paid")
				}
				result, err := guardGroceries(server.Client(elsewhere()), &runs, fn, letagentpay.WithJournal(journal))(
					t.Context(), underKey("60", "k"))
				if c.result == nil {
					require.NoError(t, err)
					assert.Equal(t, "receipt", result)
				} else {
					var handled *letagentpay.AlreadyHandledError
					require.ErrorAs(t, err, &handled)
					assert.True(t, handled.MayHaveRun)
				}
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}

// A call repeats the purchase and does not know yet that its answer is the request being resumed.
func TestRequestIsNotResumedWhileItsPurchaseIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		client := server.Client(elsewhere())
		var runs atomic.Int64
		opts := []letagentpay.GuardOption{letagentpay.WithJournal(journal), letagentpay.OnPendingFail()}
		_, err := guardGroceries(client, &runs, succeed, opts...)(t.Context(), underKey("60", "k"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		require.NoError(t, server.Approve(pending.RequestID))
		inner := server.HTTPClient().Transport
		var once sync.Once
		var group sync.WaitGroup
		p := letagentpay.InProcess(letagentpay.NewProcess())
		resumer := server.Client(p)
		repeater := server.Client(p, through(exchangePost(inner, func() {
			once.Do(func() {
				group.Go(func() {
					result, err := guardGroceries(resumer, &runs, succeed, opts...)(
						letagentpay.ResumeApproval(t.Context(), pending.RequestID), price("60"))
					assert.NoError(t, err)
					assert.Equal(t, "receipt", result, "the result of the run under the key")
				})
				time.Sleep(time.Second)
			})
		})))
		_, err = guardGroceries(repeater, &runs, succeed, opts...)(t.Context(), underKey("60", "k"))
		require.NoError(t, err)
		group.Wait()
		assert.EqualValues(t, 1, runs.Load())
		entry := only(t, journal)
		assert.Equal(t, stateSettled, entry.State)
		assert.True(t, strings.HasSuffix(entry.Key, "key k"), entry.Key)
	})
}

func exchangePost(next http.RoundTripper, before func()) exchange {
	return func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/requests") {
			before()
		}
		return next.RoundTrip(r)
	}
}

func TestJournalKeepsAResultAsThatOfTheFunctionThatRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		describe := func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p }
		flights, hotels := 0, 0
		flight := letagentpay.Guard(server.Client(), describe,
			func(context.Context, letagentpay.PurchaseParams) (string, error) {
				flights++
				return "flight ticket", nil
			}, letagentpay.WithJournal(journal), letagentpay.OnPendingFail())
		hotel := letagentpay.Guard(server.Client(), describe,
			func(context.Context, letagentpay.PurchaseParams) (string, error) {
				hotels++
				return "hotel voucher", nil
			}, letagentpay.WithJournal(journal), letagentpay.OnPendingFail())
		_, err := flight(t.Context(), underKey("60", "k"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		require.NoError(t, server.Approve(pending.RequestID))
		_, err = hotel(letagentpay.ResumeApproval(t.Context(), pending.RequestID), price("60"))
		require.NoError(t, err)
		got, err := flight(t.Context(), underKey("60", "k"))
		assert.NotEqual(t, "hotel voucher", got)
		var handled *letagentpay.AlreadyHandledError
		assert.ErrorAs(t, err, &handled)
	})
}

func TestNothingRunsUnderADuplicate(t *testing.T) {
	for name, c := range map[string]struct {
		restarted bool
		counts    string // status of the request that counts when the duplicate is resumed
		runs      bool
	}{
		"of a purchase that has run":              {counts: "completed"},
		"of a purchase whose end is not known":    {counts: "auto_approved"},
		"after a restart":                         {restarted: true, counts: "completed"},
		"after a restart, of one that is pending": {restarted: true, counts: "pending"},
		"unless the purchase has failed":          {restarted: true, counts: "failed", runs: true},
		"unless the purchase was rejected":        {counts: "rejected", runs: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, journal := newService(t), new(memoryJournal)
				s.on("POST", "/requests", lostPost(), answer(201, autoApproved)).
					on("GET", "/requests", datedList(func() string { return row("r9", "auto_approved", at(0), "") })).
					on("GET", "/requests/r1", answer(200, detail("auto_approved"))).
					on("GET", "/requests/r9", about("r9", "auto_approved")).
					on("POST", "/requests/r1/confirm", answer(200, confirmed)).
					on("POST", "/requests/r9/confirm", answer(200, strings.Replace(confirmed, `"r1"`, `"r9"`, 1)))
				var runs atomic.Int64
				client := s.client(elsewhere())
				_, err := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))(
					t.Context(), groceries())
				var duplicate *letagentpay.DuplicateError
				require.ErrorAs(t, err, &duplicate)
				s.on("GET", "/requests/r1", answer(200, detail(c.counts)))
				if c.restarted {
					client = s.client(elsewhere())
				}
				_, err = guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))(
					letagentpay.ResumeApproval(t.Context(), "r9"), groceries())
				if c.runs {
					require.NoError(t, err)
					assert.EqualValues(t, 2, runs.Load())
					return
				}
				assert.EqualValues(t, 1, runs.Load())
				duplicate = nil
				require.ErrorAs(t, err, &duplicate)
				assert.Equal(t, "r1", duplicate.RequestID)
				assert.Equal(t, []string{"r9"}, duplicate.Duplicates)
				var handled *letagentpay.AlreadyHandledError
				require.ErrorAs(t, err, &handled)
				assert.Equal(t, letagentpay.Status(c.counts), handled.Request.Status)
				assert.Equal(t, c.counts == "auto_approved", handled.MayHaveRun)
			})
		})
	}
}

// The function of a resumed request makes a guarded call under the key of that request.
func TestResumedRunThatCallsUnderItsKeyIsRefusedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		client := server.Client(elsewhere())
		var runs atomic.Int64
		opts := []letagentpay.GuardOption{letagentpay.WithJournal(journal), letagentpay.OnPendingFail()}
		_, err := guardGroceries(client, &runs, succeed, opts...)(t.Context(), underKey("60", "k"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		require.NoError(t, server.Approve(pending.RequestID))
		begun := time.Now()
		_, err = guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
			_, err := guardGroceries(client, &runs, succeed, opts...)(ctx, underKey("60", "k"))
			var handled *letagentpay.AlreadyHandledError
			assert.ErrorAs(t, err, &handled)
			return "receipt", nil
		}, opts...)(letagentpay.ResumeApproval(t.Context(), pending.RequestID), price("60"))
		require.NoError(t, err)
		assert.Zero(t, time.Since(begun))
		assert.EqualValues(t, 1, runs.Load())
	})
}

func TestRecoverLeavesTheEntriesOfCallsThatAreUnderWay(t *testing.T) {
	for name, resumed := range map[string]bool{"under a key": false, "resumed": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server, journal := serve(t), new(memoryJournal)
				client := server.Client(elsewhere())
				ctx, p := t.Context(), underKey("30", "k")
				if resumed {
					purchase, err := client.Purchase(ctx, price("30"))
					require.NoError(t, err)
					ctx, p = letagentpay.ResumeApproval(ctx, purchase.RequestID), price("30")
				}
				var runs atomic.Int64
				_, err := guardGroceries(client, &runs, func(context.Context) (string, error) {
					assert.Equal(t, []string{"started"}, journal.states())
					interrupted, err := client.Recover(context.Background(), journal)
					assert.NoError(t, err)
					assert.Empty(t, interrupted, "it is not interrupted")
					return "receipt", context.DeadlineExceeded
				}, letagentpay.WithJournal(journal))(ctx, p)
				require.Error(t, err)
				interrupted, err := client.Recover(context.Background(), journal)
				require.NoError(t, err)
				require.Len(t, interrupted, 1)
				assert.True(t, interrupted[0].MayHaveRun)
			})
		})
	}
}

func TestResumedPurchaseUsesUpNoOtherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		var runs atomic.Int64
		_, err := guardGroceries(client, &runs, succeed, letagentpay.OnPendingFail())(t.Context(), price("60"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		require.NoError(t, server.Approve(pending.RequestID))
		approval, err := client.Authorize(letagentpay.ResumeApproval(t.Context(), pending.RequestID),
			underKey("60", "order-2"))
		require.NoError(t, err)
		assert.Empty(t, approval.IdempotencyKey())
		require.NoError(t, approval.Settle(t.Context(), nil))

		// order-2 has never been requested
		server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict { return letagentpaytest.Approve() })
		_, err = guardGroceries(client, &runs, succeed)(t.Context(), underKey("60", "order-2"))
		assert.NoError(t, err)
	})
}
