package letagentpay_test

import (
	"context"
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

// named is a purchase of 60, which awaits approval, under a name of a category.
func named(category string) letagentpay.PurchaseParams {
	p := price("60")
	p.Category = category
	return p
}

// A request that was asked for under one name is resumed under another.
func TestResumedUnderAnotherNameOfACategory(t *testing.T) {
	aliased := letagentpaytest.WithAliases(map[string]string{"food": "groceries"})
	for name, c := range map[string]struct {
		asked, described string
		journal          bool // which another process resumes with; else the same process, which knows where food leads
		same             bool
	}{
		"the alias, says the journal":                {"food", "food", true, true},
		"an unknown name, says the journal":          {"yachts", "yachts", true, true},
		"another unknown name than in the journal":   {"yachts", "boats", true, false},
		"another category than in the journal":       {"food", "taxi", true, false},
		"an alias of it":                             {"groceries", "food", false, true},
		"an alias of another category":               {"taxi", "food", false, false},
		"an alias, where an unknown name was asked":  {"yachts", "food", false, false},
		"an unknown name, where one leads to other":  {"other", "yachts", false, true},
		"an unknown name, where a category was said": {"taxi", "yachts", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t, aliased)
				var opts []letagentpay.GuardOption
				asking := server.Client(elsewhere())
				resuming := server.Client(elsewhere())
				if c.journal {
					opts = append(opts, letagentpay.WithJournal(new(memoryJournal)))
				} else {
					_, err := resuming.Purchase(t.Context(), named("food"))
					require.NoError(t, err)
				}
				_, err := asking.Authorize(t.Context(), named(c.asked), append(opts, letagentpay.OnPendingFail())...)
				var pending *letagentpay.NotApprovedError
				require.ErrorAs(t, err, &pending)
				require.Equal(t, letagentpay.StatusPending, pending.Status)
				require.NoError(t, server.Approve(pending.RequestID))

				var runs atomic.Int64
				guarded := guardGroceries(resuming, &runs, succeed, opts...)
				_, err = guarded(letagentpay.ResumeApproval(t.Context(), pending.RequestID), named(c.described))
				if c.same {
					require.NoError(t, err)
					assert.EqualValues(t, 1, runs.Load())
					return
				}
				var mismatch *letagentpay.MismatchError
				require.ErrorAs(t, err, &mismatch)
				assert.Equal(t, "Category", mismatch.Field)
				assert.Zero(t, runs.Load())
			})
		})
	}
}

func TestOneRefInTwoScopesIsTwoPurchases(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, succeed)
		for _, scope := range []string{"message 17", "message 18"} {
			p := price("30")
			p.Ref = "the groceries"
			_, err := guarded(letagentpay.WithPurchaseScope(t.Context(), scope), p)
			require.NoError(t, err)
		}
		assert.EqualValues(t, 2, runs.Load())
	})
}

// Which keys two purchases of one scope have that differ in their category alone shows only when the first is answered.
func TestPurchaseThatWaitsForTheCategoryOfAnother(t *testing.T) {
	for name, patience := range map[string]time.Duration{
		"no longer than half a minute": time.Hour,
		"no longer than its context":   5 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests", hangs).on("GET", "/requests", list(""))
				ctx, cancel := context.WithCancel(letagentpay.WithPurchaseScope(t.Context(), "message 17"))
				client := s.client()
				var group sync.WaitGroup
				group.Go(func() {
					_, err := client.Authorize(ctx, named("groceries"))
					assert.ErrorIs(t, err, context.Canceled)
				})
				synctest.Wait()
				patient, end := context.WithTimeout(ctx, patience)
				defer end()
				begun := time.Now()
				_, err := client.Authorize(patient, named("taxi"))
				if patience < 30*time.Second {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				} else {
					require.ErrorIs(t, err, letagentpay.ErrInProgress)
				}
				assert.Equal(t, min(patience, 30*time.Second), time.Since(begun))
				assert.Len(t, s.posts(), 1, "the other one's")
				cancel()
				group.Wait()
			})
		})
	}
}

func TestKeyOfAPurchaseUnderAnotherUnknownName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		under := func(category string) error {
			p := underKey("30", "turn-7")
			p.Category = category
			var runs atomic.Int64
			_, err := guardGroceries(server.Client(elsewhere()), &runs, succeed)(t.Context(), p)
			return err
		}
		require.NoError(t, under("yachts"))
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, under("Yachts"), &handled)
		var mismatch *letagentpay.MismatchError
		require.ErrorAs(t, under("boats"), &mismatch, "both lead to other")
	})
}

func TestRefusedPurchaseLeavesItsKeyToAnotherCategory(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		var runs atomic.Int64
		ctx := letagentpay.WithPurchaseScope(t.Context(), "message 17")
		p := price("30")
		server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Status: 403})
		_, err := guardGroceries(server.Client(), &runs, succeed)(ctx, p)
		require.ErrorIs(t, err, letagentpay.ErrForbidden)

		p.Category = "taxi"
		_, err = guardGroceries(server.Client(), &runs, succeed)(ctx, p)
		require.NoError(t, err)
		again := letagentpay.WithPurchaseScope(t.Context(), "message 17") // which nothing was refused in
		_, err = guardGroceries(server.Client(elsewhere()), &runs, succeed)(again, p)
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.Len(t, server.Requests(), 1)
	})
}
