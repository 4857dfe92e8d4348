package letagentpay_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// Names of package journal for tests with a variable called journal.
type (
	journalStore = journal.Store
	journalEntry = journal.Entry
	journalState = journal.State
)

const (
	stateRequested = journal.Requested
	stateStarted   = journal.Started
	stateReturned  = journal.Returned
	stateSettled   = journal.Settled
)

// memoryJournal keeps entries encoded, as a file would, and fails or crashes on demand.
type memoryJournal struct {
	mu      sync.Mutex
	entries map[string][]byte
	fail    func(op string, entry *journalEntry) error
}

func (j *memoryJournal) check(op string, entry *journalEntry) error {
	if j.fail == nil {
		return nil
	}
	return j.fail(op, entry)
}

func (j *memoryJournal) Get(_ context.Context, key string) (*journalEntry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.check("get", nil); err != nil {
		return nil, err
	}
	data, ok := j.entries[key]
	if !ok {
		return nil, nil
	}
	entry := new(journalEntry)
	return entry, json.Unmarshal(data, entry)
}

func (j *memoryJournal) Put(_ context.Context, entry *journalEntry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := errors.Join(j.check("put", entry), entry.Validate()); err != nil {
		return err
	}
	data, err := json.Marshal(entry)
	if j.entries == nil {
		j.entries = make(map[string][]byte)
	}
	j.entries[entry.Key] = data
	return err
}

func (j *memoryJournal) Delete(_ context.Context, key string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.check("delete", nil); err != nil {
		return err
	}
	delete(j.entries, key)
	return nil
}

func (j *memoryJournal) Entries(ctx context.Context) iter.Seq2[*journalEntry, error] {
	return func(yield func(*journalEntry, error) bool) {
		j.mu.Lock()
		keys := slices.Sorted(maps.Keys(j.entries))
		err := j.check("entries", nil)
		j.mu.Unlock()
		if err != nil {
			yield(nil, err)
			return
		}
		for _, key := range keys {
			if entry, err := j.Get(ctx, key); entry != nil && !yield(entry, err) {
				return
			}
		}
	}
}

func (j *memoryJournal) states() []string {
	var states []string
	for entry := range j.Entries(context.Background()) {
		states = append(states, string(entry.State))
	}
	return states
}

func TestJournalGivesTheFirstResultBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		journal := new(memoryJournal)
		var runs atomic.Int64
		for range 3 {
			guarded := guardGroceries(server.Client(), &runs, spending("25", nil), letagentpay.WithJournal(journal))
			p := price("30")
			p.IdempotencyKey = "turn-7"
			result, err := guarded(t.Context(), p)
			require.NoError(t, err)
			assert.Equal(t, "receipt", result)
		}
		assert.EqualValues(t, 1, runs.Load())
		books(t, server, "25.00", "0.00")
		assert.Equal(t, []string{"settled"}, journal.states())

		// Authorize has no result to return.
		p := price("30")
		p.IdempotencyKey = "turn-7"
		_, err := server.Client().Authorize(t.Context(), p, letagentpay.WithJournal(journal))
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled)
		assert.Equal(t, letagentpay.StatusCompleted, handled.Request.Status)

		for _, change := range []func(*letagentpay.PurchaseParams){
			func(p *letagentpay.PurchaseParams) { p.Amount = letagentpay.MustAmount("31") },
			func(p *letagentpay.PurchaseParams) { p.Category = "taxi" },
		} {
			other := p
			change(&other)
			guarded := guardGroceries(server.Client(), &runs, succeed, letagentpay.WithJournal(journal))
			_, err = guarded(t.Context(), other)
			var mismatch *letagentpay.MismatchError
			require.ErrorAs(t, err, &mismatch)
		}
	})
}

func TestJournalOfFailuresAndOfResultsThatCannotBeKept(t *testing.T) {
	server := serve(t)
	journal := new(memoryJournal)
	var runs atomic.Int64
	fails := func(context.Context) (string, error) { return "", errShop }
	returnsMuch := func(context.Context) (string, error) { return strings.Repeat("x", 70_000), nil }
	for key, c := range map[string]struct {
		fn   func(context.Context) (string, error)
		text string
	}{
		"failed":            {fails, "the shop is closed"},
		"failed after pay":  {spending("5", errShop), "the shop is closed"},
		"too large to keep": {returnsMuch, "its result could not be kept"},
	} {
		guarded := guardGroceries(server.Client(), &runs, c.fn, letagentpay.WithJournal(journal))
		p := price("5")
		p.IdempotencyKey = key
		runs.Store(0)
		_, _ = guarded(t.Context(), p)
		_, err := guarded(t.Context(), p)
		var handled *letagentpay.AlreadyHandledError
		require.ErrorAs(t, err, &handled, key)
		assert.Contains(t, err.Error(), c.text)
		assert.EqualValues(t, 1, runs.Load())
	}
}

// reversing is a user's codec.
type reversing struct{}

func (reversing) Encode(result any) ([]byte, error) {
	if result == "unspeakable" {
		return nil, errors.New("cannot encode")
	}
	data := []byte(result.(string))
	slices.Reverse(data)
	return data, nil
}

func (reversing) Decode(data []byte, result any) error {
	text := slices.Clone(data)
	slices.Reverse(text)
	switch *result.(*string) = string(text); {
	case string(text) == "garbled":
		return errors.New("cannot decode")
	case string(text) == "changed":
		*result.(*string) = "another"
	}
	return nil
}

func TestResultCodec(t *testing.T) {
	server := serve(t)
	journal := new(memoryJournal)
	var runs atomic.Int64
	for result, want := range map[string]string{"receipt": "receipt", "unspeakable": "", "garbled": "", "changed": ""} {
		guarded := guardGroceries(server.Client(), &runs, func(context.Context) (string, error) { return result, nil },
			letagentpay.WithJournal(journal), letagentpay.WithResultCodec(reversing{}))
		p := price("5")
		p.IdempotencyKey = result
		_, err := guarded(t.Context(), p)
		require.NoError(t, err)
		again, err := guarded(t.Context(), p)
		assert.Equal(t, want, again)
		assert.Equal(t, want == "", err != nil)
	}
	for _, option := range []letagentpay.GuardOption{letagentpay.WithJournal(nil), letagentpay.WithResultCodec(nil)} {
		_, err := server.Client().Authorize(t.Context(), price("5"), option)
		require.ErrorIs(t, err, letagentpay.ErrInvalid)
	}
}

func TestJournalThatFailsRunsNothing(t *testing.T) {
	errDisk := errors.New("disk full")
	for _, c := range []struct {
		op    string
		state journalState
		runs  int64
		spent string
	}{
		{"get", "", 0, "0.00"},
		{"put", stateRequested, 0, "0.00"},
		{"put", stateStarted, 0, "0.00"}, // approved, not run and refunded
		{"put", stateReturned, 1, "25.00"},
		{"put", stateSettled, 1, "25.00"},
	} {
		t.Run(c.op+" "+string(c.state), func(t *testing.T) {
			server := serve(t)
			journal := &memoryJournal{fail: func(op string, entry *journalEntry) error {
				if op == c.op && (entry == nil || entry.State == c.state) {
					return errDisk
				}
				return nil
			}}
			var runs atomic.Int64
			guarded := guardGroceries(server.Client(), &runs, spending("25", nil), letagentpay.WithJournal(journal))
			ctx := letagentpay.WithPurchaseScope(t.Context(), "turn 7")
			_, err := guarded(ctx, price("30"))
			assert.Equal(t, c.runs, runs.Load())
			books(t, server, c.spent, "0.00")
			if c.runs > 0 {
				require.NoError(t, err, "the service knows the outcome")
			} else {
				require.ErrorIs(t, err, errDisk)
				var journalError *letagentpay.JournalError
				require.ErrorAs(t, err, &journalError)
				assert.NotEmpty(t, journalError.IdempotencyKey)
				assert.Contains(t, err.Error(), "letagentpay: journal: "+c.op)
			}
			journal.fail = nil
			_, err = guarded(ctx, price("30"))
			require.NoError(t, err, "a purchase that did not run runs now, and one that ran returns its result")
			assert.EqualValues(t, 1, runs.Load())
			books(t, server, "25.00", "0.00")
		})
	}
}

var errDead = errors.New("the process is dead")

// crashing runs a guarded purchase in a process that dies at one write of the journal: nothing that it does afterwards
// has an effect.
func crashing(
	t *testing.T,
	server *letagentpaytest.Server,
	journal *memoryJournal,
	c crashPoint,
	runs *atomic.Int64,
	p letagentpay.PurchaseParams,
) {
	t.Helper()
	var dead atomic.Bool
	dying := &memoryJournal{entries: journal.entries}
	dying.fail = func(op string, entry *journalEntry) error {
		if op == "put" && entry.State == c.state && !dead.Swap(true) && c.after {
			data, err := json.Marshal(entry)
			require.NoError(t, err)
			dying.entries[entry.Key] = data
		}
		if dead.Load() {
			return errDead
		}
		return nil
	}
	inner := server.HTTPClient().Transport
	client := server.Client(
		letagentpay.InProcess(letagentpay.NewProcess()),
		letagentpay.WithMaxRetries(0),
		letagentpay.WithLogger(slog.New(slog.DiscardHandler)),
		letagentpay.WithHTTPClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if dead.Load() {
				return nil, errDead
			}
			return inner.RoundTrip(r)
		})}),
	)
	_, _ = guardGroceries(client, runs, spending("25", nil), letagentpay.WithJournal(dying))(t.Context(), p)
	require.True(t, dead.Load(), "the process did not reach the write")
	journal.entries = dying.entries
}

func TestCrashAtEveryStepOfTheJournal(t *testing.T) {
	for key, own := range map[string]bool{"own key,": true, "random key,": false} {
		for _, c := range []crashPoint{
			{state: stateRequested, rerun: true},
			{state: stateRequested, after: true, rerun: true},
			{state: stateStarted, rerun: true},
			{state: stateStarted, after: true}, // may have run
			{state: stateReturned, runs: 1},
			{state: stateReturned, after: true, runs: 1, replay: true},
			{state: stateSettled, runs: 1, replay: true},
			{state: stateSettled, after: true, runs: 1, replay: true},
		} {
			when := map[bool]string{false: " before ", true: " after "}[c.after]
			t.Run(key+when+string(c.state), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { c.crashAndContinue(t, own) })
			})
		}
	}
}

// crashPoint is a write of the journal before or after which a process dies.
type crashPoint struct {
	state  journalState
	after  bool
	runs   int64 // before the crash
	rerun  bool  // a repeated call runs it
	replay bool  // a repeated call returns the first result
}

func (c crashPoint) crashAndContinue(t *testing.T, own bool) {
	server := serve(t)
	journal := &memoryJournal{entries: map[string][]byte{}}
	var runs atomic.Int64
	p := price("30")
	if own {
		p.IdempotencyKey = "turn-7"
	}
	crashing(t, server, journal, c, &runs, p)
	assert.Equal(t, c.runs, runs.Load())

	client := server.Client()
	interrupted, err := client.Recover(t.Context(), journal)
	require.NoError(t, err)
	again := p
	switch {
	case c.replay:
		assert.Empty(t, interrupted)
		books(t, server, "25.00", "0.00")
	case len(interrupted) == 0:
		assert.Equal(t, stateRequested, c.state)
		assert.False(t, c.after, "only an entry that was not written is missing")
	default:
		require.Len(t, interrupted, 1)
		assert.Equal(t, !c.rerun, interrupted[0].MayHaveRun)
		assert.Equal(t, !c.rerun, interrupted[0].Request != nil)
		again = interrupted[0].Params()
	}
	if !own && len(interrupted) == 0 {
		return // a lost random key cannot be repeated
	}
	guarded := guardGroceries(client, &runs, spending("25", nil), letagentpay.WithJournal(journal))
	result, err := guarded(t.Context(), again)
	var handled *letagentpay.AlreadyHandledError
	switch {
	case c.rerun:
		require.NoError(t, err)
		assert.EqualValues(t, 1, runs.Load())
	case c.replay:
		require.NoError(t, err)
		assert.Equal(t, "receipt", result)
		assert.EqualValues(t, 1, runs.Load())
	default:
		require.ErrorAs(t, err, &handled)
		assert.Equal(t, c.runs, runs.Load())
		// The explicit way, after the caller has checked its own records.
		ctx := letagentpay.ResumeApproval(t.Context(), handled.Request.RequestID)
		_, err = guarded(ctx, again)
		require.NoError(t, err)
	}
	books(t, server, "25.00", "0.00")
	require.Len(t, server.Requests(), 1)
	interrupted, err = client.Recover(t.Context(), journal)
	require.NoError(t, err)
	assert.Empty(t, interrupted)
}

func TestRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		journal := new(memoryJournal)
		var runs atomic.Int64
		var confirm *letagentpay.UnconfirmedError

		// Run but not confirmed: Recover confirms it as soon as the service accepts that.
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403, Times: 2})
		p := price("30")
		p.IdempotencyKey = "unconfirmed"
		_, err := guardGroceries(client, &runs, spending("25", nil), letagentpay.WithJournal(journal))(t.Context(), p)
		require.ErrorAs(t, err, &confirm)
		_, err = client.Recover(t.Context(), journal)
		require.ErrorAs(t, err, &confirm)
		_, err = client.Recover(t.Context(), journal)
		require.NoError(t, err)
		books(t, server, "25.00", "0.00")

		// The same, confirmed by the call that replays it.
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Drop: letagentpaytest.DropAfter, Times: 1})
		server.Fail(letagentpaytest.Fault{Op: operation.Request, Status: 404, Times: 2})
		p.IdempotencyKey = "replayed"
		guarded := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))
		_, err = guarded(t.Context(), p)
		require.Error(t, err, "the fault hits the read before the run")
		_, err = guarded(t.Context(), p)
		require.Error(t, err)
		result, err := guarded(t.Context(), p)
		require.NoError(t, err)
		assert.Equal(t, "receipt", result)
		books(t, server, "55.00", "0.00")

		// Pending when the process died, rejected since: nothing is left to decide.
		pending := price("80")
		impatient := guardGroceries(client, &runs, succeed,
			letagentpay.WithJournal(journal), letagentpay.OnPendingFail())
		_, err = impatient(t.Context(), pending)
		require.ErrorIs(t, err, letagentpay.ErrNotApproved)
		interrupted, err := client.Recover(t.Context(), journal)
		require.NoError(t, err)
		require.Len(t, interrupted, 1)
		assert.False(t, interrupted[0].MayHaveRun)
		require.NoError(t, server.Reject(interrupted[0].Request.RequestID))
		interrupted, err = client.Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.Empty(t, interrupted)

		// Refused for certain: nothing to recover.
		server.Pause()
		_, err = guarded(t.Context(), price("5"))
		require.ErrorIs(t, err, letagentpay.ErrForbidden)
		server.Resume()
		interrupted, err = client.Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.Empty(t, interrupted)

		// The journal entries of one agent are not those of another.
		other := letagentpaytest.NewServer(t, letagentpaytest.InMemory()).Client()
		interrupted, err = other.Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.Empty(t, interrupted)

		_, err = client.Recover(t.Context(), nil)
		require.ErrorIs(t, err, letagentpay.ErrInvalid)
		errDisk := errors.New("disk full")
		_, err = client.Recover(t.Context(), &memoryJournal{fail: func(string, *journalEntry) error { return errDisk }})
		require.ErrorIs(t, err, errDisk)
	})
}

func TestResumedPurchaseIsJournaled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		journal := new(memoryJournal)
		var runs atomic.Int64
		guarded := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal), letagentpay.OnPendingFail())
		_, err := guarded(t.Context(), price("80"))
		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, letagentpay.StatusPending, pending.Status)
		require.NoError(t, server.Approve(pending.RequestID))
		time.Sleep(time.Second)
		for range 2 {
			result, err := guarded(letagentpay.ResumeApproval(t.Context(), pending.RequestID), price("80"))
			require.NoError(t, err)
			assert.Equal(t, "receipt", result, "the second call returns the first result")
		}
		assert.EqualValues(t, 1, runs.Load())
		assert.Equal(t, []string{"settled"}, journal.states())
	})
}

// A process may die before the journal records which request belongs to a key. A call that resumes the request by its
// id writes an entry of its own, which counts when the key is repeated.
func TestRequestResumedBehindTheBackOfItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		journal := new(memoryJournal)
		var runs atomic.Int64
		guarded := guardGroceries(client, &runs, spending("75", nil), letagentpay.WithJournal(journal),
			letagentpay.OnPendingFail())
		p := price("80")
		p.IdempotencyKey = "turn-7"
		errDisk := errors.New("disk full")
		journal.fail = func(op string, entry *journalEntry) error {
			if op == "put" && entry.RequestID != "" {
				return errDisk
			}
			return nil
		}
		_, err := guarded(t.Context(), p)
		require.ErrorIs(t, err, errDisk)
		journal.fail = nil
		require.Equal(t, []string{"requested"}, journal.states())

		id := server.Requests()[0].RequestID
		require.NoError(t, server.Approve(id))
		server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403})
		_, err = guarded(letagentpay.ResumeApproval(t.Context(), id), price("80"))
		var confirm *letagentpay.UnconfirmedError
		require.ErrorAs(t, err, &confirm)
		require.ElementsMatch(t, []string{"requested", "returned"}, journal.states())

		// Another client, as in the next process.
		again := guardGroceries(server.Client(), &runs, spending("75", nil), letagentpay.WithJournal(journal))
		result, err := again(t.Context(), p)
		require.NoError(t, err)
		assert.Equal(t, "receipt", result)
		assert.EqualValues(t, 1, runs.Load())
		assert.Equal(t, []string{"settled"}, journal.states())
		books(t, server, "75.00", "0.00")
	})
}

func TestKeyOfAnotherPurchaseLeavesNoEntry(t *testing.T) {
	server := serve(t)
	client := server.Client()
	journal := new(memoryJournal)
	p := price("30")
	p.IdempotencyKey = "turn-7"
	_, err := client.Purchase(t.Context(), p) // without the journal
	require.NoError(t, err)
	wrong := p
	wrong.Amount = letagentpay.MustAmount("31")
	var mismatch *letagentpay.MismatchError
	_, err = client.Authorize(t.Context(), wrong, letagentpay.WithJournal(journal))
	require.ErrorAs(t, err, &mismatch)
	assert.Empty(t, journal.states())
	var handled *letagentpay.AlreadyHandledError
	_, err = client.Authorize(t.Context(), p, letagentpay.WithJournal(journal))
	require.ErrorAs(t, err, &handled, "the wrong amount is not recorded")
}

func TestErrorOfAnAuthorizedPurchaseIsJournaled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		client := server.Client()
		approval, err := client.Authorize(t.Context(), underKey("30", "k"), letagentpay.WithJournal(journal))
		require.NoError(t, err)
		require.NoError(t, approval.Settle(t.Context(), errors.New("card declined")))
		assert.Equal(t, "card declined", only(t, journal).Error)
		_, err = client.Authorize(t.Context(), underKey("30", "k"), letagentpay.WithJournal(journal))
		assert.ErrorContains(t, err, "card declined")
	})
}

func TestEntryThatCannotBeDroppedIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, journal := serve(t), new(memoryJournal)
		journal.fail = func(op string, _ *journalEntry) error {
			if op == "delete" {
				return errDead
			}
			return nil
		}
		var runs atomic.Int64
		guarded := guardGroceries(server.Client(), &runs, succeed, letagentpay.OnPendingFail(),
			letagentpay.WithJournal(journal))
		_, err := guarded(t.Context(), underKey("60", "k"))
		require.Error(t, err)
		time.Sleep(time.Hour)
		_, err = guarded(t.Context(), underKey("60", "k"))
		assert.ErrorIs(t, err, errDead)
	})
}
