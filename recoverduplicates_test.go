package letagentpay_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// unclearPurchase leaves a journal entry of a purchase, r1, whose first attempt was lost.
func unclearPurchase(t *testing.T, s *service, journal *memoryJournal, fn func(context.Context) (string, error)) {
	t.Helper()
	s.on("POST", "/requests", lostPost(), answer(201, autoApproved)).
		on("GET", "/requests", datedList(none)).
		on("GET", "/requests/r1", answer(200, detail("auto_approved"))).
		on("POST", "/requests/r1/confirm", answer(200, confirmed))
	var runs atomic.Int64
	_, _ = guardGroceries(s.client(elsewhere()), &runs, fn, letagentpay.WithJournal(journal))(t.Context(), groceries())
	require.EqualValues(t, 1, runs.Load())
	require.True(t, only(t, journal).Unclear)
}

// about answers a read of one request.
func about(id, status string) httpmock.Responder {
	return answer(200, strings.Replace(detail(status), `"r1"`, `"`+id+`"`, 1))
}

func TestRecoverLooksForWhatCameLate(t *testing.T) {
	for name, c := range map[string]struct {
		status, merchant string
		after            time.Duration // how much later than the request that counts
		known            bool          // the process knows it as another call's
		journaled        string        // the request id of another entry; "-": an entry without one
		found            bool
	}{
		"approved":                             {status: "auto_approved", found: true},
		"awaiting approval":                    {status: "pending", found: true},
		"of four minutes later":                {status: "auto_approved", after: 4 * time.Minute, found: true},
		"of six minutes later":                 {status: "auto_approved", after: 6 * time.Minute},
		"of six minutes before":                {status: "auto_approved", after: -6 * time.Minute},
		"refunded":                             {status: "failed"},
		"completed":                            {status: "completed"},
		"from another merchant":                {status: "auto_approved", merchant: "Casino"},
		"of another call of this process":      {status: "auto_approved", known: true},
		"of another entry":                     {status: "auto_approved", journaled: "r9"},
		"perhaps of another entry":             {status: "auto_approved", journaled: "-"},
		"beside another entry of another time": {status: "auto_approved", journaled: "r8", found: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, journal := newService(t), new(memoryJournal)
				unclearPurchase(t, s, journal, succeed)
				if c.journaled != "" {
					other := *only(t, journal)
					other.Key = strings.Replace(other.Key, " key ", " key other ", 1)
					other.IdempotencyKey = "other " + other.IdempotencyKey
					other.RequestID, other.Unclear = c.journaled, false
					if c.journaled == "-" {
						other.RequestID, other.State = "", stateRequested
					}
					require.NoError(t, journal.Put(t.Context(), &other))
				}
				client := s.client(elsewhere())
				if c.known {
					s.on("POST", "/requests", answer(201, strings.Replace(autoApproved, `"r1"`, `"r9"`, 1)))
					_, err := client.Purchase(t.Context(), groceries())
					require.NoError(t, err)
				}
				listed := row("r9", c.status, at(c.after), c.merchant) + "," + row("r1", "completed", at(0), "")
				s.on("GET", "/requests", datedList(func() string { return listed })).
					on("GET", "/requests/r9", about("r9", c.status))
				log := defaultLog(t)
				interrupted, err := client.Recover(t.Context(), journal)
				require.NoError(t, err)
				assert.Equal(t, c.found, strings.Contains(log.String(), "letagentpay.duplicate"), log.String())
				var found []string
				for _, i := range interrupted {
					if i.Duplicate {
						found = append(found, i.Request.RequestID)
						assert.Equal(t, "r1", i.Entry.RequestID)
					}
				}
				if c.found {
					assert.Equal(t, []string{"r9"}, found)
				} else {
					assert.Empty(t, found)
				}
			})
		})
	}
}

func TestRecoverLooksAsLongAsSomethingMayCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, journal := newService(t), new(memoryJournal)
		unclearPurchase(t, s, journal, succeed)
		counts := row("r1", "completed", at(0), "")
		s.on("GET", "/requests", datedList(func() string { return counts }))
		recovered := func() int {
			before := len(s.paths())
			_, err := s.client(elsewhere()).Recover(t.Context(), journal)
			require.NoError(t, err)
			return len(s.paths()) - before
		}
		assert.Equal(t, 1, recovered())
		assert.True(t, only(t, journal).Unclear)
		time.Sleep(time.Hour)
		assert.Equal(t, 1, recovered())
		assert.False(t, only(t, journal).Unclear)
		assert.Zero(t, recovered(), "no calls once nothing more can come")
	})
}

func TestDuplicateIsReportedUntilItIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, journal := newService(t), new(memoryJournal)
		unclearPurchase(t, s, journal, succeed)
		both := row("r9", "auto_approved", at(0), "") + "," + row("r1", "completed", at(0), "")
		s.on("GET", "/requests", datedList(func() string { return both })).
			on("GET", "/requests/r9", about("r9", "auto_approved"), answer(403, `{"detail":"Agent is paused"}`),
				about("r9", "auto_approved"), about("r9", "failed"))
		client := s.client(elsewhere())
		reported := func() bool {
			interrupted, err := client.Recover(t.Context(), journal)
			require.NoError(t, err)
			return len(interrupted) == 1 && interrupted[0].Duplicate
		}
		assert.True(t, reported())
		time.Sleep(time.Hour) // after the search for duplicates has ended
		_, err := client.Recover(t.Context(), journal)
		require.ErrorIs(t, err, letagentpay.ErrForbidden)
		assert.Equal(t, []string{"r9"}, only(t, journal).Duplicates, "an unreadable duplicate is not forgotten")
		assert.True(t, reported())
		assert.False(t, reported(), "it has been refunded")
		assert.Empty(t, only(t, journal).Duplicates)
	})
}

func TestDuplicateThatWasGivenBackLeavesThePurchaseAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, journal := newService(t), new(memoryJournal)
		unclearPurchase(t, s, journal, failing(context.DeadlineExceeded))
		rewrite(t, journal, func(e *journalEntry) { e.Duplicates = []string{"r9"} })
		s.on("GET", "/requests/r9", about("r9", "failed"))
		interrupted, err := s.client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		require.Len(t, interrupted, 1)
		assert.True(t, interrupted[0].MayHaveRun)
		entry := only(t, journal)
		assert.Equal(t, stateStarted, entry.State)
		assert.Empty(t, entry.Duplicates)
	})
}

func TestDuplicateThatLeavesNoBudgetForThePurchaseIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t, letagentpaytest.WithBudget(letagentpay.MustAmount("40")))
		journal := new(memoryJournal)
		var n atomic.Int64
		server.SetServiceRaces(&letagentpaytest.Races{Choose: func(letagentpaytest.Call) time.Duration {
			if n.Add(1) == 1 {
				return 10 * time.Second
			}
			return 2 * time.Second
		}})
		client := server.Client(letagentpay.WithHTTPClient(&http.Client{
			Transport: server.HTTPClient().Transport,
			Timeout:   3 * time.Second,
		}))
		var runs atomic.Int64
		_, err := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))(
			t.Context(), underKey("30", "k"))
		var rejected *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &rejected)
		require.Equal(t, letagentpay.StatusRejected, rejected.Status)
		var duplicate *letagentpay.DuplicateError
		assert.ErrorAs(t, err, &duplicate)
		assert.Zero(t, runs.Load())
		books(t, server, "30.00", "0.00")
		interrupted, err := server.Client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.NotEmpty(t, interrupted, "30.00 are booked, and nothing else reports it")
	})
}

func TestDuplicateOfAGivenBackPurchaseIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := new(memoryJournal)
		journal.fail = func(op string, e *journalEntry) error {
			if op == "put" && e.State == stateStarted {
				return errDead
			}
			return nil
		}
		s := newService(t)
		s.on("POST", "/requests", lostPost(), answer(201, autoApproved)).
			on("GET", "/requests", datedList(func() string { return row("r9", "auto_approved", at(0), "") })).
			on("GET", "/requests/r9", about("r9", "auto_approved")).
			on("POST", "/requests/r1/confirm", answer(200, failedAnswer))
		var runs atomic.Int64
		_, err := guardGroceries(s.client(elsewhere()), &runs, succeed, letagentpay.WithJournal(journal))(
			t.Context(), groceries())
		var duplicate *letagentpay.DuplicateError
		assert.ErrorAs(t, err, &duplicate)
		journal.fail = nil
		interrupted, err := s.client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.NotEmpty(t, interrupted)
	})
}

func TestDuplicateOfAPurchaseThatWasDecidedIsReportedUntilItIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, journal := newService(t), new(memoryJournal)
		unclearPurchase(t, s, journal, failing(context.DeadlineExceeded))
		rewrite(t, journal, func(e *journalEntry) { e.Duplicates = []string{"r9"} })
		s.on("GET", "/requests/r9", about("r9", "auto_approved")).on("GET", "/requests/r1", about("r1", "completed"))
		for i := range 2 {
			interrupted, err := s.client(elsewhere()).Recover(t.Context(), journal)
			require.NoError(t, err)
			assert.Len(t, interrupted, 1, "Recover %d", i)
		}
	})
}

func TestDuplicateIsReportedAfterTheTokenWasRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, journal := newService(t), new(memoryJournal)
		unclearPurchase(t, s, journal, succeed)
		rewrite(t, journal, func(e *journalEntry) { e.Duplicates = []string{"r9"} })
		both := row("r9", "auto_approved", at(0), "") + "," + row("r1", "completed", at(0), "")
		s.on("GET", "/requests", datedList(func() string { return both })).
			on("GET", "/requests/r9", about("r9", "auto_approved")).on("GET", "/requests/r1", about("r1", "completed"))
		interrupted, err := s.client(elsewhere(), letagentpay.WithToken("agt_the-next-one")).Recover(t.Context(),
			journal)
		require.NoError(t, err)
		assert.Len(t, interrupted, 1)
		interrupted, err = s.client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.Len(t, interrupted, 1, "with the old token")
	})
}

func TestDuplicateOfAPurchaseThatIsNotApprovedIsTold(t *testing.T) {
	for name, second := range map[string]string{"rejected": rejectedAnswer, "pending": pendingAnswer} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				journal := new(memoryJournal)
				s := newService(t)
				s.on("POST", "/requests", lostPost(), answer(201, second)).
					on("GET", "/requests", datedList(func() string { return row("r9", "auto_approved", at(0), "") })).
					on("GET", "/requests/r9", about("r9", "auto_approved"))
				var runs atomic.Int64
				_, err := guardGroceries(s.client(elsewhere()), &runs, succeed, letagentpay.WithJournal(journal),
					letagentpay.OnPendingFail())(t.Context(), groceries())
				require.ErrorIs(t, err, letagentpay.ErrNotApproved)
				var duplicate *letagentpay.DuplicateError
				assert.ErrorAs(t, err, &duplicate)
				s.on("GET", "/requests/r1", about("r1", name))
				interrupted, err := s.client(elsewhere()).Recover(t.Context(), journal)
				require.NoError(t, err)
				var found []string
				for _, i := range interrupted {
					if i.Duplicate {
						found = append(found, i.Request.RequestID)
					}
				}
				assert.Equal(t, []string{"r9"}, found)
			})
		})
	}
}

func TestDuplicateOfAPendingPurchaseIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.on("POST", "/requests", lostPost(), answer(201, pendingAnswer)).
			on("GET", "/requests", datedList(func() string { return row("r9", "pending", at(0), "") })).
			on("GET", "/requests/r1", answer(200, detail("pending"))).
			on("POST", "/requests/r1/confirm", answer(200, confirmed))
		var runs atomic.Int64
		guarded := guardGroceries(s.client(elsewhere()), &runs, succeed, letagentpay.OnPendingFail())
		_, err := guarded(t.Context(), groceries())
		require.ErrorIs(t, err, letagentpay.ErrNotApproved)
		var duplicate *letagentpay.DuplicateError
		require.ErrorAs(t, err, &duplicate)
		assert.Equal(t, []string{"r9"}, duplicate.Duplicates)
		s.on("GET", "/requests/r1", answer(200, detail("approved")))
		_, err = guarded(letagentpay.ResumeApproval(t.Context(), "r1"), groceries())
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
	})
}
