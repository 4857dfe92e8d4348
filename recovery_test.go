package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// unconfirmedRun leaves the journal entry of a run whose confirmation failed.
func unconfirmedRun(t *testing.T, server *letagentpaytest.Server, client *letagentpay.Client, journal journalStore,
	amount string,
) string {
	t.Helper()
	server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
	var runs atomic.Int64
	_, err := guardGroceries(client, &runs, spending(amount, nil), letagentpay.WithJournal(journal))(
		t.Context(), price(amount))
	var unconfirmed *letagentpay.UnconfirmedError
	require.ErrorAs(t, err, &unconfirmed)
	return unconfirmed.RequestID
}

// rotated returns a client with another token, which the service accepts for the same agent.
func rotated(server *letagentpaytest.Server, opts ...letagentpay.Option) *letagentpay.Client {
	inner := server.HTTPClient().Transport
	return server.Client(append([]letagentpay.Option{
		letagentpay.WithToken("agt_the-next-one-of-the-same-agent"),
		through(exchange(func(r *http.Request) (*http.Response, error) {
			again := r.Clone(r.Context())
			again.Header.Set("Authorization", "Bearer "+server.Token)
			return inner.RoundTrip(again)
		})),
	}, opts...)...)
}

func TestRecoverAfterTheTokenWasRotated(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprint("restarted ", restarted), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				journal := new(memoryJournal)
				unconfirmedRun(t, server, server.Client(), journal, "25")
				var runs atomic.Int64
				_, err := guardGroceries(server.Client(), &runs, failing(context.DeadlineExceeded),
					letagentpay.WithJournal(journal))(t.Context(), price("7"))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				_, err = guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(journal),
					letagentpay.OnPendingFail())(t.Context(), price("60"))
				var pending *letagentpay.NotApprovedError
				require.ErrorAs(t, err, &pending)
				require.Equal(t, letagentpay.StatusPending, pending.Status)
				// This entry is settled.
				_, err = guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(journal))(
					t.Context(), price("3"))
				require.NoError(t, err)

				var opts []letagentpay.Option
				if restarted {
					opts = append(opts, elsewhere())
				}
				interrupted, err := rotated(server, opts...).Recover(t.Context(), journal)
				require.NoError(t, err)
				books(t, server, "35.00", "60.00")
				confirmed, _ := server.Request(server.Requests()[0].RequestID)
				assert.Equal(t, letagentpay.StatusCompleted, confirmed.Status, "25 were spent")
				require.Len(t, interrupted, 2)
				for _, found := range interrupted {
					assert.Equal(t, found.Request.RequestID != pending.RequestID, found.MayHaveRun)
				}
				require.NoError(t, server.Reject(pending.RequestID))
				_, err = rotated(server, opts...).Confirm(t.Context(), server.Requests()[1].RequestID,
					letagentpay.ConfirmParams{})
				require.NoError(t, err)
				interrupted, err = rotated(server, opts...).Recover(t.Context(), journal)
				require.NoError(t, err)
				assert.Empty(t, interrupted)
				books(t, server, "28.00", "0.00")
			})
		})
	}
}

// The service cannot be reached to read what the other token has left: Recover returns an error.
func TestRecoverReportsWhatItCannotReadOfAnotherToken(t *testing.T) {
	for _, status := range []int{503, 401, 403} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				journal := new(memoryJournal)
				id := unconfirmedRun(t, server, server.Client(), journal, "25")
				server.Fail(letagentpaytest.Fault{Op: operation.Request, Status: status, Times: -1})
				_, err := rotated(server).Recover(t.Context(), journal)
				require.ErrorContains(t, err, id)
				assert.Equal(t, []string{"returned"}, journal.states())
				server.ClearFaults()
				_, err = rotated(server).Recover(t.Context(), journal)
				require.NoError(t, err)
				assert.Equal(t, []string{"settled"}, journal.states())
			})
		})
	}
	inBubble(t, func(t *testing.T) { // confirmations are refused
		journal := new(memoryJournal)
		s := newService(t).on("POST", "/requests", answer(201, autoApproved)).
			on("POST", "/requests/r1/confirm", answer(503, "{}")).
			on("GET", "/requests/r1", answer(200, detail("auto_approved")))
		var runs atomic.Int64
		_, err := guardGroceries(s.client(), &runs, spending("47.50", nil), letagentpay.WithJournal(journal))(
			t.Context(), groceries())
		require.Error(t, err)
		interrupted, err := s.client(letagentpay.WithToken("agt_the-next-one-of-the-same-agent")).Recover(t.Context(),
			journal)
		assert.Empty(t, interrupted)
		var unconfirmed *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		assert.Equal(t, "r1", unconfirmed.RequestID)
		assert.Equal(t, letagentpay.MustAmount("47.50"), unconfirmed.Params.ActualAmount)
	})
}

func TestRecoverLeavesOtherAgentsEntriesAlone(t *testing.T) {
	t.Run("of another service", func(t *testing.T) {
		standard := defaultLog(t)
		inBubble(t, func(t *testing.T) {
			server := serve(t)
			journal := new(memoryJournal)
			id := unconfirmedRun(t, server, server.Client(), journal, "30")
			other := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
			interrupted, err := other.Client().Recover(t.Context(), journal)
			require.NoError(t, err)
			assert.Empty(t, interrupted)
			assert.Empty(t, other.Calls())
			assert.Equal(t, []string{"returned"}, journal.states())
			assert.Contains(t, standard.String(), id, "the money is spent, and the service does not know it")
		})
	})
	t.Run("of the same service", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			server := serve(t, letagentpaytest.WithAgent("second",
				letagentpaytest.WithBudget(letagentpay.MustAmount("500"))))
			journal := new(memoryJournal)
			unconfirmedRun(t, server, server.Client(), journal, "30")
			interrupted, err := server.Agent("second").Client().Recover(t.Context(), journal)
			require.NoError(t, err)
			assert.Empty(t, interrupted)
			assert.Equal(t, []string{"returned"}, journal.states())
			_, err = server.Client().Recover(t.Context(), journal)
			require.NoError(t, err)
			assert.Equal(t, []string{"settled"}, journal.states())
		})
	})
}

// One request that cannot be read does not prevent the recovery of the others.
func TestRecoverGoesOnAfterARequestThatCannotBeRead(t *testing.T) {
	for struck := range 4 {
		t.Run(fmt.Sprint(struck), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				client, journal := server.Client(), new(memoryJournal)
				var runs atomic.Int64
				for i := range 4 {
					_, err := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal),
						letagentpay.OnPendingFail())(t.Context(), price(fmt.Sprint(80+i)))
					require.ErrorIs(t, err, letagentpay.ErrNotApproved)
				}
				n, inner := 0, server.HTTPClient().Transport
				unlucky := server.Client(through(exchange(func(r *http.Request) (*http.Response, error) {
					if n++; n == struck+1 {
						return answer(404, `{"detail":"Request not found"}`)(r)
					}
					return inner.RoundTrip(r)
				})))
				interrupted, err := unlucky.Recover(t.Context(), journal)
				require.ErrorIs(t, err, letagentpay.ErrNotFound)
				assert.Len(t, interrupted, 3)
				interrupted, err = client.Recover(t.Context(), journal)
				require.NoError(t, err)
				assert.Len(t, interrupted, 4, "the entry is kept")
			})
		})
	}
}

// damagedJournal has entries that cannot be read at the given places.
type damagedJournal struct {
	*memoryJournal
	at []int
}

var errDamaged = errors.New("the entry x is damaged")

func (d damagedJournal) Entries(ctx context.Context) iter.Seq2[*journalEntry, error] {
	return func(yield func(*journalEntry, error) bool) {
		n := 0
		damage := func() bool {
			for _, at := range d.at {
				if at == n && !yield(nil, errDamaged) {
					return false
				}
			}
			n++
			return true
		}
		for entry, err := range d.memoryJournal.Entries(ctx) {
			if !damage() || !yield(entry, err) {
				return
			}
		}
		damage()
	}
}

func TestRecoverConfirmsWhatItCanReadBesideDamagedEntries(t *testing.T) {
	for _, at := range [][]int{{0}, {1}, {2}, {3}, {0, 1, 2, 3}, {1, 1, 1}} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				journal := new(memoryJournal)
				for _, amount := range []string{"25", "26", "27"} {
					unconfirmedRun(t, server, server.Client(), journal, amount)
				}
				_, err := server.Client().Recover(t.Context(), damagedJournal{journal, at})
				require.ErrorIs(t, err, errDamaged)
				var journalError *letagentpay.JournalError
				require.ErrorAs(t, err, &journalError)
				assert.Equal(t, "entries", journalError.Op)
				for _, r := range server.Requests() {
					assert.Equal(t, letagentpay.StatusCompleted, r.Status)
				}
				books(t, server, "78.00", "0.00")
			})
		})
	}
}

// A damaged entry may be that of the resumed request. Nothing runs unless another entry shows its state.
func TestResumedRequestBesideDamagedEntries(t *testing.T) {
	for _, at := range [][]int{{0}, {1}} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				journal := new(memoryJournal)
				id := unconfirmedRun(t, server, server.Client(), journal, "25")
				damaged := damagedJournal{journal, at}
				var runs atomic.Int64
				restarted := server.Client(elsewhere())
				guarded := guardGroceries(restarted, &runs, succeed, letagentpay.WithJournal(damaged))
				result, err := guarded(letagentpay.ResumeApproval(t.Context(), id), price("25"))
				require.NoError(t, err)
				assert.Equal(t, "receipt", result, "the result of the run in the journal")

				purchase, err := restarted.Purchase(t.Context(), price("30"))
				require.NoError(t, err)
				_, err = guarded(letagentpay.ResumeApproval(t.Context(), purchase.RequestID), price("30"))
				require.ErrorIs(t, err, errDamaged)
				assert.Zero(t, runs.Load())
			})
		})
	}
}

// Recover ends although the journal yields errors without end.
func TestRecoverOfAJournalThatCannotBeRead(t *testing.T) {
	server := serve(t)
	endless := &endlessJournal{}
	done := make(chan error, 1)
	go func() {
		_, err := server.Client().Recover(t.Context(), endless)
		done <- err
	}()
	select {
	case err := <-done:
		require.ErrorIs(t, err, errDamaged)
	case <-time.After(time.Minute):
		t.Fatal("Recover does not end")
	}
}

type endlessJournal struct{ memoryJournal }

func (*endlessJournal) Entries(context.Context) iter.Seq2[*journalEntry, error] {
	return func(yield func(*journalEntry, error) bool) {
		for yield(nil, errDamaged) {
		}
	}
}

// A call with the agent's next token does not run again what ran with the previous one.
func TestRotatedTokenRunsNothingAgain(t *testing.T) {
	for _, fails := range []bool{false, true} {
		for again, how := range map[string]func(ctx context.Context, id string) context.Context{
			"resumed":       letagentpay.ResumeApproval,
			"under its key": func(ctx context.Context, _ string) context.Context { return ctx },
		} {
			t.Run(fmt.Sprint(again, ", in doubt ", fails), func(t *testing.T) {
				withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
					server := serve(t)
					server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
					var runs atomic.Int64
					fn := succeed
					if fails {
						fn = failing(context.DeadlineExceeded)
					}
					_, err := guardGroceries(server.Client(), &runs, fn, opts...)(t.Context(), underKey("30", "turn-7"))
					var unconfirmed *letagentpay.UnconfirmedError
					require.ErrorAs(t, err, &unconfirmed)
					server.ClearFaults()
					for range 2 {
						_, _ = guardGroceries(rotated(server), &runs, succeed, opts...)(
							how(t.Context(), unconfirmed.RequestID), underKey("30", "turn-7"))
						assert.EqualValues(t, 1, runs.Load())
					}
				})
			})
		}
	}
}

// The process restarts while the service is still handling the first failure confirmation.
func TestRecoverAfterARestartDoesNotRefundBesideAnEarlierConfirmation(t *testing.T) {
	for _, commit := range []time.Duration{20 * time.Second, 50 * time.Second} {
		t.Run(commit.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, journal := &slowRefunds{status: "auto_approved", commit: commit}, new(memoryJournal)
				client := s.client(t)
				var runs atomic.Int64
				_, err := guardGroceries(client, &runs, func(context.Context) (string, error) { return "", errShop },
					letagentpay.WithJournal(journal))(t.Context(), groceries())
				require.ErrorIs(t, err, errShop)
				restarted := s.client(t, letagentpay.WithBaseURL(client.BaseURL()), elsewhere())
				_, _ = restarted.Recover(t.Context(), journal)
				time.Sleep(2 * time.Minute)
				_, err = restarted.Recover(t.Context(), journal)
				require.NoError(t, err)
				assert.Equal(t, 1, s.refunds)
				assert.Equal(t, []string{"settled"}, journal.states())
			})
		})
	}
}

// The process restarts with the agent's next token. The journal still knows what has run.
func TestJournalKnowsWhatRanBeforeTheTokenWasRotated(t *testing.T) {
	for again, how := range map[string]func(ctx context.Context, id string) context.Context{
		"resumed":       letagentpay.ResumeApproval,
		"under its key": func(ctx context.Context, _ string) context.Context { return ctx },
	} {
		t.Run(again, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				journal := new(memoryJournal)
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
				var runs atomic.Int64
				_, err := guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(journal))(
					t.Context(), underKey("30", "turn-7"))
				var unconfirmed *letagentpay.UnconfirmedError
				require.ErrorAs(t, err, &unconfirmed)
				guarded := guardGroceries(rotated(server, elsewhere()), &runs, succeed,
					letagentpay.WithJournal(journal))
				_, _ = guarded(how(t.Context(), unconfirmed.RequestID), underKey("30", "turn-7"))
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}

// A store that loses fields, or holds entries in another form, must not turn a paid purchase into a failed one.
func TestAnEntryThatWasMisreadRefundsAndRunsNothing(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"the outcome is lost": func(e string) string {
			return strings.Replace(e, `"success":true`, `"succeeded":true`, 1)
		},
		"the state is unknown":   func(e string) string { return strings.Replace(e, `"returned"`, `"executed"`, 1) },
		"the version is another": func(e string) string { return strings.Replace(e, `"version":2`, `"version":1`, 1) },
		"the amount is lost": func(e string) string {
			return strings.Replace(e, `"amount":25.00`, `"amount":0`, 1)
		},
		"the key is another's": func(e string) string {
			return strings.Replace(e, ` key turn-7"`, ` key turn-8"`, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				journal := new(memoryJournal)
				server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
				var runs atomic.Int64
				_, err := guardGroceries(server.Client(), &runs, spending("25", nil), letagentpay.WithJournal(journal))(
					t.Context(), underKey("25", "turn-7"))
				require.Error(t, err)
				server.ClearFaults()
				for key, entry := range journal.entries {
					require.NotEqual(t, string(entry), change(string(entry)))
					journal.entries[key] = []byte(change(string(entry)))
				}

				restarted := server.Client(elsewhere())
				interrupted, err := restarted.Recover(t.Context(), journal)
				assert.Empty(t, interrupted)
				var journalError *letagentpay.JournalError
				if name != "the key is another's" { // Recover looks up this entry again and does not find it
					require.ErrorAs(t, err, &journalError)
				}
				_, err = guardGroceries(restarted, &runs, succeed, letagentpay.WithJournal(journal))(
					t.Context(), underKey("25", "turn-7"))
				require.ErrorAs(t, err, &journalError)
				ctx := letagentpay.ResumeApproval(t.Context(), server.Requests()[0].RequestID)
				_, err = guardGroceries(restarted, &runs, succeed, letagentpay.WithJournal(journal))(ctx, price("25"))
				if name != "the key is another's" {
					require.ErrorAs(t, err, &journalError)
				}
				assert.EqualValues(t, 1, runs.Load())
				books(t, server, "25.00", "0.00")
				assert.NotEqual(t, letagentpay.StatusFailed, server.Requests()[0].Status)
			})
		})
	}
}
