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

// named returns a purchase of 60, which awaits approval, with a category under any of its names.
func named(category string) letagentpay.PurchaseParams {
	p := price("60")
	p.Category = category
	return p
}

// A request is made under one name of a category and resumed under another.
func TestResumedUnderAnotherNameOfACategory(t *testing.T) {
	aliased := letagentpaytest.WithAliases(map[string]string{"food": "groceries"})
	for name, c := range map[string]struct {
		requested, described string
		journal              bool // true: another process resumes; false: this one, which knows the alias
		same                 bool
	}{
		"the same alias, by the journal":                  {"food", "food", true, true},
		"the same unknown name, by the journal":           {"yachts", "yachts", true, true},
		"another unknown name than in the journal":        {"yachts", "boats", true, false},
		"another category than in the journal":            {"food", "taxi", true, false},
		"an alias of it":                                  {"groceries", "food", false, true},
		"an alias of another category":                    {"taxi", "food", false, false},
		"an alias, where an unknown name was requested":   {"yachts", "food", false, false},
		"an unknown name, where other was requested":      {"other", "yachts", false, true},
		"an unknown name, where a category was requested": {"taxi", "yachts", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t, aliased)
				var opts []letagentpay.GuardOption
				requesting := server.Client(elsewhere())
				resuming := server.Client(elsewhere())
				if c.journal {
					opts = append(opts, letagentpay.WithJournal(new(memoryJournal)))
				} else {
					_, err := resuming.Purchase(t.Context(), named("food"))
					require.NoError(t, err)
				}
				impatient := append(opts, letagentpay.OnPendingFail())
				_, err := requesting.Authorize(t.Context(), named(c.requested), impatient...)
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

// The keys of two purchases of one scope that differ in their category alone depend on the answer to the first.
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
				assert.Len(t, s.posts(), 1, "the other purchase's")
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
		again := letagentpay.WithPurchaseScope(t.Context(), "message 17") // a new context, without a refusal
		_, err = guardGroceries(server.Client(elsewhere()), &runs, succeed)(again, p)
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.Len(t, server.Requests(), 1)
	})
}
