package letagentpay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
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

// exchange is a function used as a transport.
type exchange func(*http.Request) (*http.Response, error)

func (e exchange) RoundTrip(r *http.Request) (*http.Response, error) { return e(r) }

// through returns the option to use a transport.
func through(next http.RoundTripper) letagentpay.Option {
	return letagentpay.WithHTTPClient(&http.Client{Transport: next})
}

// elsewhere returns the option to run a client in a process of its own.
func elsewhere() letagentpay.Option { return letagentpay.InProcess(letagentpay.NewProcess()) }

// underKey returns a purchase with a caller's own key.
func underKey(amount, key string) letagentpay.PurchaseParams {
	p := price(amount)
	p.IdempotencyKey = key
	return p
}

// spellings returns ways to write the id of a request that the service accepts.
func spellings(id string) map[string]string {
	bare := strings.ReplaceAll(id, "-", "")
	return map[string]string{
		"as given":           id,
		"upper case":         strings.ToUpper(id),
		"without hyphens":    bare,
		"upper, no hyphens":  strings.ToUpper(bare),
		"in braces":          "{" + id + "}",
		"URN":                "urn:uuid:" + id,
		"URN, upper case":    "URN:UUID:" + strings.ToUpper(id),
		"braces, no hyphens": "{" + strings.ToUpper(bare) + "}",
	}
}

// takingAnySpelling parses the ids in paths as the service does.
func takingAnySpelling(next http.RoundTripper) exchange {
	return func(r *http.Request) (*http.Response, error) {
		again := r.Clone(r.Context())
		parts := strings.Split(strings.ToLower(r.URL.Path), "/")
		for i, part := range parts {
			digits := strings.NewReplacer("urn:", "", "uuid:", "", "-", "", "{", "", "}", "").Replace(part)
			if len(digits) == 32 {
				groups := []string{digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]}
				parts[i] = strings.Join(groups, "-")
			}
		}
		again.URL.Path, again.URL.RawPath = strings.Join(parts, "/"), ""
		return next.RoundTrip(again)
	}
}

// inAnySpelling returns a client whose service accepts ids in any spelling.
func inAnySpelling(server *letagentpaytest.Server, opts ...letagentpay.Option) *letagentpay.Client {
	return server.Client(append([]letagentpay.Option{
		through(takingAnySpelling(server.HTTPClient().Transport)),
	}, opts...)...)
}

// withAndWithoutJournal runs a test twice.
func withAndWithoutJournal(t *testing.T, test func(t *testing.T, opts ...letagentpay.GuardOption)) {
	t.Run("no journal", func(t *testing.T) {
		inBubble(t, func(t *testing.T) { test(t) })
	})
	t.Run("journal", func(t *testing.T) {
		inBubble(t, func(t *testing.T) { test(t, letagentpay.WithJournal(new(memoryJournal))) })
	})
}

// inBubble runs a test in a bubble and waits until even calls that hang for an hour have ended.
func inBubble(t *testing.T, test func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(100 * time.Hour)
		test(t)
	})
}

func TestRequestResumedInSeveralSpellingsRunsOnce(t *testing.T) {
	for name, clients := range map[string]int{"one client": 1, "a client each": 8} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
				server := serve(t)
				purchase, err := inAnySpelling(server).Purchase(t.Context(), price("30"))
				require.NoError(t, err)
				var runs, calls atomic.Int64
				var made []*letagentpay.Client
				for range clients {
					made = append(made, inAnySpelling(server))
				}
				var group sync.WaitGroup
				for _, id := range spellings(purchase.RequestID) {
					group.Go(func() {
						guarded := guardGroceries(made[int(calls.Add(1))%clients], &runs,
							func(context.Context) (string, error) {
								time.Sleep(time.Second)
								return "receipt", nil
							}, opts...)
						_, _ = guarded(letagentpay.ResumeApproval(t.Context(), id), price("30"))
					})
				}
				group.Wait()
				assert.EqualValues(t, 1, runs.Load(), "one approval, one run")
				assert.Len(t, server.Calls().Of(operation.Confirm), 1)
			})
		})
	}
}

func TestConfirmationsInSeveralSpellingsDoNotOverlap(t *testing.T) {
	for name, ids := range map[string]map[string]string{
		"a UUID": spellings("3f2a9c1e-0b7d-4c55-9e21-aa01bb02cc03"),
		"no UUID": {
			"lower": "ab-1",
			"upper": "AB-1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				canonical := ids["as given"] + ids["lower"]
				var under, most atomic.Int64
				client := newService(t).client(through(exchange(func(r *http.Request) (*http.Response, error) {
					most.Store(max(most.Load(), under.Add(1)))
					defer under.Add(-1)
					time.Sleep(time.Second)
					return answer(200, `{"request_id":"`+canonical+`","status":"failed","actual_amount":null}`)(r)
				})))
				var group sync.WaitGroup
				for _, id := range ids {
					group.Go(func() {
						confirmation, err := client.Confirm(t.Context(), id, letagentpay.ConfirmParams{})
						if assert.NoError(t, err, id) {
							assert.Equal(t, canonical, confirmation.RequestID)
						}
					})
				}
				group.Wait()
				assert.EqualValues(t, 1, most.Load(), "confirmations of one request at the same time")
			})
		})
	}
}

func TestUnconfirmedRunIsKnownInAnySpelling(t *testing.T) {
	withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
		server := serve(t)
		client := inAnySpelling(server)
		var runs atomic.Int64
		guarded := guardGroceries(client, &runs, succeed, opts...)
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: 503})
		_, err := guarded(t.Context(), price("30"))
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		for name, id := range spellings(unconfirmed.RequestID) {
			_, err = guarded(letagentpay.ResumeApproval(t.Context(), id), price("30"))
			require.Error(t, err, name)
			if len(opts) == 0 {
				var handled *letagentpay.AlreadyHandledError
				require.ErrorAs(t, err, &handled, name)
				assert.True(t, handled.MayHaveRun)
			}
			assert.EqualValues(t, 1, runs.Load(), name)
		}
		server.ClearFaults()
		_, err = client.Confirm(t.Context(), spellings(unconfirmed.RequestID)["URN, upper case"], unconfirmed.Params)
		require.NoError(t, err)
		_, _ = guarded(letagentpay.ResumeApproval(t.Context(), strings.ToUpper(unconfirmed.RequestID)), price("30"))
		assert.EqualValues(t, 1, runs.Load())
		books(t, server, "30.00", "0.00")
	})
}

func TestReadsTakeAnySpellingAndAnswerInOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client() // its service accepts only the spelling that is sent
		purchase, err := client.Purchase(t.Context(), price("80"))
		require.NoError(t, err)
		ended := make(chan string)
		for _, id := range spellings(purchase.RequestID) {
			request, err := client.Request(t.Context(), id)
			require.NoError(t, err, id)
			assert.Equal(t, purchase.RequestID, request.RequestID)
			go func() {
				decided, err := client.WaitForDecision(t.Context(), id)
				if assert.NoError(t, err, id) {
					assert.Equal(t, letagentpay.StatusApproved, decided.Status)
					ended <- decided.RequestID
					return
				}
				ended <- ""
			}()
		}
		time.Sleep(time.Minute)
		require.NoError(t, server.Approve(purchase.RequestID))
		for range spellings(purchase.RequestID) {
			assert.Equal(t, purchase.RequestID, <-ended)
		}
	})
}

func TestAnswersInAnotherSpellingAreUnderstood(t *testing.T) {
	const id = "3f2a9c1e-0b7d-4c55-9e21-aa01bb02cc03"
	for name, spelled := range spellings(id) {
		for key, reads := range map[string]bool{"": false, "turn-7": true} {
			t.Run(name+" "+key, func(t *testing.T) {
				as := func(body string) string { return strings.ReplaceAll(body, `"r1"`, `"`+spelled+`"`) }
				s := newService(t).on("POST", "/requests", answer(201, as(autoApproved))).
					on("GET", "/requests", list("")).
					on("GET", "/requests/"+id, answer(200, as(detail("auto_approved")))).
					on("POST", "/requests/"+id+"/confirm", answer(200, as(confirmed)))
				var runs atomic.Int64
				p := groceries()
				p.IdempotencyKey = key
				_, err := guardGroceries(s.client(), &runs, func(ctx context.Context) (string, error) {
					approval, _ := letagentpay.ApprovalFromContext(ctx)
					assert.Equal(t, id, approval.RequestID())
					return "receipt", nil
				})(t.Context(), p)
				require.NoError(t, err)
				assert.EqualValues(t, 1, runs.Load())
				assert.Contains(t, s.paths(), "POST /requests/"+id+"/confirm")
				assert.Equal(t, reads, len(s.paths()) > 2)
			})
		}
	}
}

// An entry written by another version of the program may spell the id differently.
func TestJournalEntriesAreFoundInAnySpelling(t *testing.T) {
	for name := range spellings("3f2a9c1e-0b7d-4c55-9e21-aa01bb02cc03") {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				journal := new(memoryJournal)
				var runs atomic.Int64
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: 503})
				_, err := guardGroceries(server.Client(), &runs, spending("25", nil), letagentpay.WithJournal(journal))(
					t.Context(), price("30"))
				var unconfirmed *letagentpay.UnconfirmedError
				require.ErrorAs(t, err, &unconfirmed)
				server.ClearFaults()
				rewrite(t, journal, func(e *journalEntry) { e.RequestID = spellings(e.RequestID)[name] })

				other := server.Client(elsewhere())
				guarded := guardGroceries(other, &runs, spending("25", nil), letagentpay.WithJournal(journal))
				result, err := guarded(letagentpay.ResumeApproval(t.Context(), unconfirmed.RequestID), price("30"))
				require.NoError(t, err)
				assert.Equal(t, "receipt", result, "the result of the run in the journal")
				assert.EqualValues(t, 1, runs.Load())
				books(t, server, "25.00", "0.00")
			})
		})
	}
}

// rewrite changes each entry of a journal.
func rewrite(t *testing.T, journal *memoryJournal, change func(*journalEntry)) {
	t.Helper()
	for entry, err := range journal.Entries(t.Context()) {
		require.NoError(t, err)
		change(entry)
		require.NoError(t, journal.Put(t.Context(), entry))
	}
}

func TestRecoverConfirmsAnEntryInAnySpelling(t *testing.T) {
	for name := range spellings("3f2a9c1e-0b7d-4c55-9e21-aa01bb02cc03") {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				journal := new(memoryJournal)
				var runs atomic.Int64
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Times: -1, Status: 503})
				guarded := guardGroceries(server.Client(), &runs, spending("25", nil), letagentpay.WithJournal(journal),
					letagentpay.OnPendingFail())
				_, err := guarded(t.Context(), price("30"))
				require.Error(t, err)
				_, err = guarded(t.Context(), price("80"))
				var pending *letagentpay.NotApprovedError
				require.ErrorAs(t, err, &pending)
				require.Equal(t, letagentpay.StatusPending, pending.Status)
				server.ClearFaults()
				rewrite(t, journal, func(e *journalEntry) { e.RequestID = spellings(e.RequestID)[name] })

				interrupted, err := server.Client(elsewhere()).Recover(t.Context(), journal)
				require.NoError(t, err)
				books(t, server, "25.00", "80.00")
				require.Len(t, interrupted, 1)
				assert.Equal(t, pending.RequestID, interrupted[0].Request.RequestID)
				assert.False(t, interrupted[0].MayHaveRun)
			})
		})
	}
}

// whole returns a purchase with all fields that a human sees.
func whole(amount string) letagentpay.PurchaseParams {
	p := price(amount)
	p.MerchantName, p.Description, p.Currency = "Whole Foods", "weekly groceries", "USD"
	return p
}

// changes make another purchase of whole, by the field that differs.
var changes = map[string]func(*letagentpay.PurchaseParams){
	"Amount":       func(p *letagentpay.PurchaseParams) { p.Amount = letagentpay.MustAmount("61") },
	"Category":     func(p *letagentpay.PurchaseParams) { p.Category = "transport" },
	"Currency":     func(p *letagentpay.PurchaseParams) { p.Currency = "EUR" },
	"MerchantName": func(p *letagentpay.PurchaseParams) { p.MerchantName = "Evil Corp" },
	"Description":  func(p *letagentpay.PurchaseParams) { p.Description = "gift cards" },
}

// sameWords are other ways to describe the purchase of whole.
var sameWords = map[string]func(*letagentpay.PurchaseParams){
	"spaces around the merchant":    func(p *letagentpay.PurchaseParams) { p.MerchantName = "  Whole Foods\t" },
	"spaces around the description": func(p *letagentpay.PurchaseParams) { p.Description = "\n weekly groceries \r\n" },
	"invisible characters around":   func(p *letagentpay.PurchaseParams) { p.MerchantName = "\u200bWhole Foods\ufeff" },
	"category in upper case":        func(p *letagentpay.PurchaseParams) { p.Category = " GROCERIES " },
	"currency in lower case":        func(p *letagentpay.PurchaseParams) { p.Currency = "usd" },
	"currency left out":             func(p *letagentpay.PurchaseParams) { p.Currency = "" },
	"amount with decimals":          func(p *letagentpay.PurchaseParams) { p.Amount = letagentpay.MustAmount("60.00") },
	"another comment":               func(p *letagentpay.PurchaseParams) { p.AgentComment = "because I am hungry" },
}

// rememberers are the places that may know of an earlier purchase.
var rememberers = map[string]struct{ journal, otherProcess bool }{
	"this process":                   {false, false},
	"this process and its journal":   {true, false},
	"the list alone":                 {false, true},
	"the journal of another process": {true, true},
}

// approvedBefore requests whole(60) under a context and a key and has it approved. It returns the request's id and the
// guarded function for the next call.
func approvedBefore(
	t *testing.T, server *letagentpaytest.Server, ctx context.Context, key, ref string, journal, otherProcess bool,
	paid *[]string,
) (string, func(context.Context, letagentpay.PurchaseParams) (string, error)) {
	t.Helper()
	opts := []letagentpay.GuardOption{letagentpay.OnPendingFail()}
	if journal {
		opts = append(opts, letagentpay.WithJournal(new(memoryJournal)))
	}
	guardWith := func(client *letagentpay.Client) func(context.Context, letagentpay.PurchaseParams) (string, error) {
		return letagentpay.Guard(client, func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p },
			func(_ context.Context, p letagentpay.PurchaseParams) (string, error) {
				*paid = append(*paid, p.MerchantName)
				return "receipt", nil
			}, opts...)
	}
	p := whole("60")
	p.IdempotencyKey, p.Ref = key, ref
	_, err := guardWith(server.Client())(ctx, p)
	var pending *letagentpay.NotApprovedError
	require.ErrorAs(t, err, &pending)
	require.Equal(t, letagentpay.StatusPending, pending.Status)
	require.NoError(t, server.Approve(pending.RequestID))
	if otherProcess {
		return pending.RequestID, guardWith(server.Client(elsewhere()))
	}
	return pending.RequestID, guardWith(server.Client())
}

func TestAnotherPurchaseIsNotResumed(t *testing.T) {
	for who, r := range rememberers {
		for field, change := range changes {
			t.Run(who+", "+field, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serve(t)
					var paid []string
					id, guarded := approvedBefore(t, server, t.Context(), "", "", r.journal, r.otherProcess, &paid)
					p := whole("60")
					change(&p)
					_, err := guarded(letagentpay.ResumeApproval(t.Context(), id), p)
					var mismatch *letagentpay.MismatchError
					require.ErrorAs(t, err, &mismatch)
					assert.Equal(t, field, mismatch.Field)
					assert.Equal(t, id, mismatch.RequestID)
					assert.Empty(t, paid)

					_, err = guarded(letagentpay.ResumeApproval(t.Context(), id), whole("60"))
					require.NoError(t, err, "the approved purchase can still be made")
					assert.Equal(t, []string{"Whole Foods"}, paid)
				})
			})
		}
	}
}

func TestSamePurchaseInOtherWordsIsResumed(t *testing.T) {
	for who, r := range rememberers {
		for name, reword := range sameWords {
			t.Run(who+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serve(t)
					var paid []string
					id, guarded := approvedBefore(t, server, t.Context(), "", "", r.journal, r.otherProcess, &paid)
					p := whole("60")
					reword(&p)
					_, err := guarded(letagentpay.ResumeApproval(t.Context(), id), p)
					require.NoError(t, err)
					assert.Len(t, paid, 1)
				})
			})
		}
	}
}

func TestKeyOfAnotherPurchaseIsAMismatch(t *testing.T) {
	for who, r := range rememberers {
		for field, change := range changes {
			t.Run(who+", "+field, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serve(t)
					var paid []string
					id, guarded := approvedBefore(t, server, t.Context(), "turn-7", "", r.journal, r.otherProcess,
						&paid)
					p := whole("60")
					p.IdempotencyKey = "turn-7"
					change(&p)
					_, err := guarded(t.Context(), p)
					var mismatch *letagentpay.MismatchError
					require.ErrorAs(t, err, &mismatch)
					assert.Equal(t, field, mismatch.Field)
					assert.Empty(t, paid)
					assert.Len(t, server.Requests(), 1, "nothing else was requested")
					request, _ := server.Request(id)
					assert.Equal(t, letagentpay.StatusApproved, request.Status)
				})
			})
		}
	}
}

func TestSamePurchaseInOtherWordsContinuesUnderItsKey(t *testing.T) {
	for _, journal := range []bool{false, true} {
		for name, reword := range sameWords {
			t.Run(fmt.Sprint(name, ", journal ", journal), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serve(t)
					var paid []string
					_, guarded := approvedBefore(t, server, t.Context(), "turn-7", "", journal, false, &paid)
					p := whole("60")
					p.IdempotencyKey = "turn-7"
					reword(&p)
					_, err := guarded(t.Context(), p)
					require.NoError(t, err)
					assert.Len(t, paid, 1)
					assert.Len(t, server.Requests(), 1)
				})
			})
		}
	}
}

func TestSamePurchaseInOtherWordsIsTheSameInAScope(t *testing.T) {
	for name, reword := range sameWords {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := serve(t)
				var paid []string
				ctx := letagentpay.WithPurchaseScope(t.Context(), "message 17")
				_, guarded := approvedBefore(t, server, ctx, "", "", false, false, &paid)
				p := whole("60")
				reword(&p)
				_, err := guarded(letagentpay.WithPurchaseScope(t.Context(), "message 17"), p)
				require.NoError(t, err)
				assert.Len(t, paid, 1)
				assert.Len(t, server.Requests(), 1)
			})
		})
	}
}

func TestRefOfAnotherPurchaseIsAMismatch(t *testing.T) {
	for who, r := range rememberers {
		for _, field := range []string{"Amount", "Currency", "MerchantName", "Description"} {
			t.Run(who+", "+field, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := serve(t)
					var paid []string
					ctx := letagentpay.WithPurchaseScope(t.Context(), "message 17")
					_, guarded := approvedBefore(t, server, ctx, "", "lunch", r.journal, r.otherProcess, &paid)
					p := whole("60")
					p.Ref = "lunch"
					changes[field](&p)
					_, err := guarded(letagentpay.WithPurchaseScope(t.Context(), "message 17"), p)
					var mismatch *letagentpay.MismatchError
					require.ErrorAs(t, err, &mismatch)
					assert.Equal(t, field, mismatch.Field)
					assert.Empty(t, paid)
					assert.Len(t, server.Requests(), 1)
				})
			})
		}
	}
}

// The journal keeps results by key, and the key may now belong to another purchase.
func TestJournalDoesNotGiveAnotherPurchasesResult(t *testing.T) {
	for field, change := range changes {
		t.Run(field, func(t *testing.T) {
			server := serve(t)
			journal := new(memoryJournal)
			guarded := letagentpay.Guard(server.Client(),
				func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p },
				func(_ context.Context, p letagentpay.PurchaseParams) (string, error) {
					return "receipt of " + p.MerchantName, nil
				}, letagentpay.WithJournal(journal))
			p := whole("5")
			p.IdempotencyKey = "turn-7"
			_, err := guarded(t.Context(), p)
			require.NoError(t, err)
			again, err := guarded(t.Context(), p)
			require.NoError(t, err)
			assert.Equal(t, "receipt of Whole Foods", again)
			change(&p)
			receipt, err := guarded(t.Context(), p)
			var mismatch *letagentpay.MismatchError
			require.ErrorAs(t, err, &mismatch)
			assert.Equal(t, field, mismatch.Field)
			assert.Empty(t, receipt)
		})
	}
}

type (
	flight struct{ Booking string }
	hotel  struct{ Room int }
)

func TestJournalDoesNotGiveAnotherFunctionsResult(t *testing.T) {
	server := serve(t)
	journal := letagentpay.WithJournal(new(memoryJournal))
	describe := func(struct{}) letagentpay.PurchaseParams { return price("5") }
	bookFlight := letagentpay.Guard(server.Client(), describe, func(context.Context, struct{}) (flight, error) {
		return flight{"LH17"}, nil
	}, journal)
	bookHotel := letagentpay.Guard(server.Client(), describe,
		func(context.Context, struct{}) (hotel, error) { return hotel{12}, nil }, journal)
	run := func() context.Context {
		return letagentpay.WithScopeRun(letagentpay.WithPurchaseScope(t.Context(), "message 17"))
	}
	ctx := run()
	f, err := bookFlight(ctx, struct{}{})
	require.NoError(t, err)
	h, err := bookHotel(ctx, struct{}{})
	require.NoError(t, err)

	ctx = run()
	h2, err := bookHotel(ctx, struct{}{})
	if err == nil {
		assert.Equal(t, h, h2, "the hotel's result")
	}
	f2, err := bookFlight(ctx, struct{}{})
	if err == nil {
		assert.Equal(t, f, f2, "the flight's result")
	}
	assert.Len(t, server.Requests(), 2)
}

// Both results have one type: only the function distinguishes them.
func TestJournalTellsFunctionsOfOneTypeApart(t *testing.T) {
	server := serve(t)
	journal := letagentpay.WithJournal(new(memoryJournal))
	self := func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p }
	one := letagentpay.Guard(server.Client(), self,
		func(context.Context, letagentpay.PurchaseParams) (string, error) { return "one", nil }, journal)
	two := letagentpay.Guard(server.Client(), self,
		func(context.Context, letagentpay.PurchaseParams) (string, error) { return "two", nil }, journal)
	_, err := one(t.Context(), underKey("5", "turn-7"))
	require.NoError(t, err)
	result, err := two(t.Context(), underKey("5", "turn-7"))
	var handled *letagentpay.AlreadyHandledError
	require.ErrorAs(t, err, &handled)
	assert.Empty(t, result)
	assert.Equal(t, letagentpay.StatusCompleted, handled.Request.Status)
	result, err = one(t.Context(), underKey("5", "turn-7"))
	require.NoError(t, err)
	assert.Equal(t, "one", result)

	// The journal's text is the same for another type.
	number := letagentpay.Guard(server.Client(), self, numbered[int], journal)
	_, err = number(t.Context(), underKey("5", "turn-8"))
	require.NoError(t, err)
	wide, err := letagentpay.Guard(server.Client(), self, numbered[float64], journal)(
		t.Context(), underKey("5", "turn-8"))
	require.ErrorAs(t, err, &handled)
	assert.Zero(t, wide)
}

func numbered[N int | float64](context.Context, letagentpay.PurchaseParams) (N, error) { return 7, nil }

// Results that survive encoding are returned. For the others, a call returns an error.
type (
	hidden struct{ number string }
	tagged struct {
		Number string
		Secret string `json:"-"`
	}
	lossy   struct{ A, B string }
	dated   struct{ At time.Time }
	embeds  struct{ *tagged }
	nothing struct{}
)

func (l lossy) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]string{"A": l.A}) }

func replayed[Out any](t *testing.T, name string, kept bool, out Out) {
	t.Run(name, func(t *testing.T) {
		server := serve(t)
		guarded := letagentpay.Guard(server.Client(),
			func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p },
			func(context.Context, letagentpay.PurchaseParams) (Out, error) { return out, nil },
			letagentpay.WithJournal(new(memoryJournal)))
		_, err := guarded(t.Context(), underKey("5", "turn-7"))
		require.NoError(t, err)
		again, err := guarded(t.Context(), underKey("5", "turn-7"))
		if kept {
			require.NoError(t, err)
			if at, ok := any(out).(time.Time); ok {
				assert.True(t, at.Equal(any(again).(time.Time)))
				return
			}
			assert.Equal(t, asJSON(t, out), asJSON(t, again))
			return
		}
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled, "got %v for %v", again, out)
		assert.Equal(t, letagentpay.StatusCompleted, handled.Request.Status)
		var zero Out
		assert.Equal(t, any(zero), any(again))
	})
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	require.NoError(t, err)
	return fmt.Sprintf("%T %s", value, data)
}

func TestResultsAreGivenBackUnchangedOrNotAtAll(t *testing.T) {
	at := time.Now() // includes a reading of the monotonic clock
	replayed(t, "a text", true, "receipt")
	replayed(t, "an empty text", true, "")
	replayed(t, "an empty struct", true, nothing{})
	replayed(t, "a time", true, at)
	replayed(t, "a time elsewhere", true, at.In(time.FixedZone("there", 3600)))
	replayed(t, "a time in a struct", true, dated{at})
	replayed(t, "times in a map", true, map[string]*dated{"a": {at}, "b": nil})
	replayed(t, "bytes", true, []byte("\xff\xfe"))
	replayed(t, "no bytes", true, []byte(nil))
	replayed(t, "nil pointer", true, (*tagged)(nil))
	replayed(t, "pointer", true, &flight{"LH17"})
	replayed(t, "a list", true, []flight{{"LH17"}, {"LH18"}})
	replayed(t, "an array", true, [2]int64{math.MaxInt64, math.MinInt64})
	replayed[any](t, "a text in an interface", true, "receipt")
	replayed[any](t, "nothing in an interface", true, nil)
	replayed(t, "raw JSON", true, json.RawMessage(`{"a":1}`))

	replayed(t, "unexported field", false, hidden{"receipt 17"})
	replayed(t, "left out", false, tagged{"17", "voucher"})
	replayed(t, "left out behind a pointer", false, &tagged{"17", "voucher"})
	replayed(t, "left out in a list", false, []tagged{{"17", "voucher"}})
	replayed(t, "embedded", false, embeds{&tagged{"17", "voucher"}})
	replayed(t, "bytes in a string", false, "\xff\xfevoucher")
	replayed[any](t, "a struct in an interface", false, tagged{Number: "17"})
	replayed[any](t, "a large number in an interface", false, int64(9007199254740993))
	replayed[any](t, "a number in an interface", false, 17)
	replayed[any](t, "a time in an interface", false, at)
	replayed(t, "numbers in a map", false, map[string]any{"a": 1})
	replayed(t, "lossy", false, lossy{"a", "b"})
	replayed(t, "no number", false, math.NaN())
	replayed[error](t, "an error", false, errors.New("x"))
}

func TestResultsThatCannotBeEncodedAreNotGivenBack(t *testing.T) {
	server := serve(t)
	self := func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p }
	channel := letagentpay.Guard(server.Client(), self,
		func(context.Context, letagentpay.PurchaseParams) (chan int, error) {
			return make(chan int), nil
		}, letagentpay.WithJournal(new(memoryJournal)))
	first, err := channel(t.Context(), underKey("5", "turn-7"))
	require.NoError(t, err)
	assert.NotNil(t, first)
	again, err := channel(t.Context(), underKey("5", "turn-7"))
	var handled *letagentpay.AlreadyHandledError
	require.ErrorAs(t, err, &handled)
	assert.Nil(t, again)
}

// A key never collides with the journal's names of another kind.
func TestKeysThatSpellTheJournalsNamesAreOtherPurchases(t *testing.T) {
	server := serve(t)
	journal := new(memoryJournal)
	var runs atomic.Int64
	client := server.Client()
	purchase, err := client.Purchase(t.Context(), price("5"))
	require.NoError(t, err)
	guarded := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))
	_, err = guarded(letagentpay.ResumeApproval(t.Context(), purchase.RequestID), price("5"))
	require.NoError(t, err)
	keys := []string{
		"request " + purchase.RequestID, purchase.RequestID, "key " + purchase.RequestID,
		"key request " + purchase.RequestID,
		"turn-7", "key turn-7", "key key turn-7", "request turn-7", "request key turn-7",
	}
	for i, key := range keys {
		_, err = guarded(t.Context(), underKey("5", key))
		require.NoError(t, err, key)
		assert.EqualValues(t, i+2, runs.Load(), "%q is a purchase of its own", key)
	}
	for _, key := range keys { // and each is recognised
		result, err := guarded(t.Context(), underKey("5", key))
		require.NoError(t, err, key)
		assert.Equal(t, "receipt", result)
	}
	assert.EqualValues(t, len(keys)+1, runs.Load())
	assert.Len(t, journal.states(), len(keys)+1)
}

func TestRefOfAnotherCategoryIsAMismatch(t *testing.T) {
	for name, buy := range map[string]func(context.Context, *letagentpay.Client, letagentpay.PurchaseParams) error{
		"guarded": func(ctx context.Context, client *letagentpay.Client, p letagentpay.PurchaseParams) error {
			_, err := guardGroceries(client, new(atomic.Int64), succeed, letagentpay.OnPendingFail())(ctx, p)
			return err
		},
		"with a journal": func(ctx context.Context, client *letagentpay.Client, p letagentpay.PurchaseParams) error {
			_, err := guardGroceries(client, new(atomic.Int64), succeed, letagentpay.OnPendingFail(),
				letagentpay.WithJournal(new(memoryJournal)))(ctx, p)
			return err
		},
		"by hand": func(ctx context.Context, client *letagentpay.Client, p letagentpay.PurchaseParams) error {
			_, err := client.Purchase(ctx, p)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			ctx, cancel := context.WithCancel(letagentpay.WithPurchaseScope(t.Context(), "message 17"))
			defer cancel()
			client := server.Client(through(atMost(30, cancel, server.HTTPClient().Transport)))
			p := whole("60")
			p.Ref = "lunch"
			_ = buy(ctx, client, p)
			p.Category = "transport"
			var mismatch *letagentpay.MismatchError
			require.ErrorAs(t, buy(ctx, client, p), &mismatch)
			assert.Equal(t, "Category", mismatch.Field)
			assert.Less(t, len(server.Calls()), 20, "the call does not repeat it without end")
			assert.Len(t, server.Requests(), 1)
		})
	}
}

// The first call is given up while the service handles it. Its request appears between the second call's read of the
// list and its post.
func TestLateRequestOfAnotherPurchaseUnderTheKeyDoesNotRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		inner := server.HTTPClient().Transport
		var listRead func()
		client := server.Client(elsewhere(), through(exchange(func(r *http.Request) (*http.Response, error) {
			response, err := inner.RoundTrip(r)
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/requests") && listRead != nil {
				act := listRead
				listRead = nil
				act()
			}
			return response, err
		})))
		var runs atomic.Int64
		guarded := guardGroceries(client, &runs, succeed)
		server.Fail(letagentpaytest.Fault{
			Op:             operation.Purchase,
			GatewayTimeout: 20 * time.Second,
			Delay:          20 * time.Second,
			Status:         http.StatusGatewayTimeout,
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := guarded(ctx, underKey("30", "k"))
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		time.Sleep(10 * time.Second)
		listRead = func() { time.Sleep(10 * time.Second) }
		other := underKey("30", "k")
		other.MerchantName = "Evil Corp"
		_, err = guarded(t.Context(), other)
		var mismatch *letagentpay.MismatchError
		require.ErrorAs(t, err, &mismatch)
		assert.Equal(t, "MerchantName", mismatch.Field)
		assert.Zero(t, runs.Load())
		_, err = guarded(t.Context(), underKey("30", "k"))
		require.NoError(t, err, "the request belongs to the first call")
		assert.EqualValues(t, 1, runs.Load())
		books(t, server, "30.00", "0.00")
	})
}
