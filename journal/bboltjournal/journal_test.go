package bboltjournal_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
)

// The names of package journal, for tests whose journal is a variable of that name.
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

	formVersion = journal.Version
)

// children are what this test binary does when it is run again with their name in envChild.
var children = map[string]func(){
	"lock":     lockChild,
	"purchase": purchaseChild,
}

const envChild = "BBOLTJOURNAL_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(envChild); name != "" {
		children[name]()
		return
	}
	goleak.VerifyTestMain(m)
}

// child is this test binary as another process.
func child(t testing.TB, name string, env ...string) *exec.Cmd {
	command := exec.CommandContext(t.Context(), os.Args[0])
	race := os.Getenv("GORACE") + " atexit_sleep_ms=0" // the race detector would make each exit last a second
	command.Env = append(append(os.Environ(), envChild+"="+name, "GORACE="+race), env...)
	return command
}

func open(t testing.TB, path string, opts ...bboltjournal.Option) *bboltjournal.Journal {
	t.Helper()
	journal, err := bboltjournal.Open(path, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, journal.Close()) })
	return journal
}

func journalPath(t testing.TB) string { return filepath.Join(t.TempDir(), "purchases.journal") }

// entry is one with most fields set.
func entry(key string, state journalState, updatedAt time.Time) *journalEntry {
	return &journalEntry{
		Version:          journal.Version,
		Key:              key,
		Service:          "https://letagentpay.com:443/api/v1/agent-api",
		Agent:            "c0ffee",
		State:            state,
		RequestID:        "r-" + key,
		IdempotencyKey:   "turn-7",
		Amount:           letagentpay.MustAmount("49.90"),
		Category:         "food",
		ResolvedCategory: "groceries",
		Currency:         "usd",
		ResolvedCurrency: "USD",
		MerchantName:     "Späti",
		Description:      "milk\x00\n",
		AgentComment:     "for <breakfast>",
		Success:          true,
		ActualAmount:     letagentpay.MustAmount("47.5"),
		ReceiptURL:       "https://shop.example/1",
		Result:           []byte{0, 1, 0xff},
		Error:            "the shop is closed",
		BaselineAt:       updatedAt.Add(-time.Hour).UTC().Round(0),
		BaselineIDs:      []string{"a", "b"},
		UpdatedAt:        updatedAt.UTC().Round(0),
	}
}

func keys(t testing.TB, entries iter.Seq2[*journalEntry, error]) []string {
	t.Helper()
	var keys []string
	for entry, err := range entries {
		require.NoError(t, err)
		keys = append(keys, entry.Key)
	}
	return keys
}

func TestEntriesSurviveReopening(t *testing.T) {
	path, now := journalPath(t), time.Now()
	journal := open(t, path)
	got, err := journal.Get(t.Context(), "one")
	require.NoError(t, err)
	assert.Nil(t, got)
	assert.Empty(t, keys(t, journal.Entries(t.Context())))

	states := []journalState{stateRequested, stateStarted, stateReturned, stateSettled}
	for i, state := range states {
		require.NoError(t, journal.Put(t.Context(), entry(fmt.Sprintf("key %d", i), state, now)))
	}
	sparse := &journalEntry{
		Version: formVersion,
		Key:     "sparse",
		State:   stateRequested,
		Amount:  letagentpay.MustAmount("1"),
	}
	require.NoError(t, journal.Put(t.Context(), sparse))
	require.NoError(t, journal.Put(t.Context(), entry("gone", stateRequested, now)))
	require.NoError(t, journal.Delete(t.Context(), "gone"))
	require.NoError(t, journal.Delete(t.Context(), "gone"), "forgetting what is not there")
	require.NoError(t, journal.Delete(t.Context(), ""))

	for range 2 {
		for i, state := range states {
			key := fmt.Sprintf("key %d", i)
			got, err := journal.Get(t.Context(), key)
			require.NoError(t, err)
			assert.Equal(t, entry(key, state, now), got)
		}
		got, err := journal.Get(t.Context(), "sparse")
		require.NoError(t, err)
		assert.Equal(t, sparse, got)
		assert.Equal(t, []string{"key 0", "key 1", "key 2", "key 3", "sparse"}, keys(t, journal.Entries(t.Context())))
		require.NoError(t, journal.Close())
		journal = open(t, path)
	}

	later := entry("key 0", stateStarted, now.Add(time.Second))
	require.NoError(t, journal.Put(t.Context(), later))
	later.RequestID = "changed after Put"
	got, err = journal.Get(t.Context(), "key 0")
	require.NoError(t, err)
	assert.Equal(t, entry("key 0", stateStarted, now.Add(time.Second)), got)
}

func TestTheFileIsItsOwnersAlone(t *testing.T) {
	path := journalPath(t)
	open(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	want := fs.FileMode(0o600)
	if runtime.GOOS == "windows" { // has no such modes
		want = 0o666
	}
	assert.Equal(t, want, info.Mode().Perm())
}

func TestEntriesMayChangeWhileTheyAreReadOneByOne(t *testing.T) {
	journal := open(t, journalPath(t))
	var want []string
	for i := range 200 { // several batches
		key := fmt.Sprintf("%03d", i)
		want = append(want, key)
		require.NoError(t, journal.Put(t.Context(), entry(key, stateRequested, time.Now())))
	}
	var got []string
	for e, err := range journal.Entries(t.Context()) {
		require.NoError(t, err)
		got = append(got, e.Key)
		e.State = stateStarted
		require.NoError(t, journal.Put(t.Context(), e))
		if e.Key > "100" {
			require.NoError(t, journal.Delete(t.Context(), e.Key))
		}
	}
	assert.Equal(t, want, got)
	assert.Equal(t, want[:101], keys(t, journal.Entries(t.Context())))

	for e := range journal.Entries(t.Context()) {
		assert.Equal(t, "000", e.Key)
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	for e, err := range journal.Entries(ctx) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			assert.Nil(t, e)
			break
		}
		seen++
		cancel()
	}
	assert.Equal(t, 1, seen)
}

func TestConcurrentUse(t *testing.T) {
	journal := open(t, journalPath(t))
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 10 {
				key := fmt.Sprintf("%d/%d", worker, i)
				for _, state := range []journalState{stateRequested, stateStarted} {
					assert.NoError(t, journal.Put(t.Context(), entry(key, state, time.Now())))
					got, err := journal.Get(t.Context(), key)
					if assert.NoError(t, err) && assert.NotNil(t, got) {
						assert.Equal(t, state, got.State)
					}
				}
				if i%2 == 0 {
					assert.NoError(t, journal.Delete(t.Context(), key))
				}
				for _, err := range journal.Entries(t.Context()) {
					assert.NoError(t, err)
				}
				_, err := journal.Prune(t.Context(), time.Now().Add(-48*time.Hour))
				assert.NoError(t, err)
			}
		})
	}
	group.Wait()
	assert.Len(t, keys(t, journal.Entries(t.Context())), 40)
}

func TestCloseWhileInUse(t *testing.T) {
	path := journalPath(t)
	for range 10 {
		journal := open(t, path)
		begun := make(chan struct{})
		var group sync.WaitGroup
		for worker := range 4 {
			group.Go(func() {
				for i := 0; ; i++ {
					if worker == 0 && i == 1 {
						close(begun)
					}
					key := fmt.Sprint(worker)
					err := journal.Put(t.Context(), entry(key, stateRequested, time.Now()))
					if err == nil {
						_, err = journal.Get(t.Context(), key)
					}
					for _, each := range journal.Entries(t.Context()) {
						err = cmp.Or(err, each)
					}
					if err != nil {
						assert.ErrorIs(t, err, bboltjournal.ErrClosed)
						return
					}
				}
			})
		}
		<-begun
		require.NoError(t, journal.Close())
		group.Wait()
	}
}

func TestOperationsAfterClose(t *testing.T) {
	journal := open(t, journalPath(t))
	require.NoError(t, journal.Close())
	require.NoError(t, journal.Close(), "closing again")
	for name, err := range everyOperation(t.Context(), journal) {
		require.ErrorIs(t, err, bboltjournal.ErrClosed, name)
	}
}

// everyOperation is how each of a journal's operations fails.
func everyOperation(ctx context.Context, journal *bboltjournal.Journal) map[string]error {
	errs := make(map[string]error)
	_, errs["get"] = journal.Get(ctx, "key")
	errs["put"] = journal.Put(ctx, entry("key", stateRequested, time.Now()))
	errs["delete"] = journal.Delete(ctx, "key")
	_, errs["prune"] = journal.Prune(ctx, time.Now().Add(-48*time.Hour))
	errs["entries"] = nil
	for _, err := range journal.Entries(ctx) {
		errs["entries"] = err
	}
	return errs
}

func TestContextIsHonoured(t *testing.T) {
	journal := open(t, journalPath(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range everyOperation(ctx, journal) {
		require.ErrorIs(t, err, context.Canceled, name)
	}
	assert.Empty(t, keys(t, journal.Entries(t.Context())), "nothing was done")
	//lint:ignore SA1012 what is not to be done is what is tested
	for name, err := range everyOperation(nil, journal) {
		require.ErrorIs(t, err, letagentpay.ErrInvalid, name)
	}
}

func TestBadValuesAreRefused(t *testing.T) {
	path := journalPath(t)
	for name, c := range map[string]struct {
		path string
		opt  bboltjournal.Option
		text string
	}{
		"no path":       {"", bboltjournal.WithLockTimeout(0), "Open path"},
		"nil option":    {path, nil, "option 0 is nil"},
		"negative wait": {path, bboltjournal.WithLockTimeout(-time.Second), `WithLockTimeout "-1s"`},
		"short retention": {
			path, bboltjournal.WithRetention(24*time.Hour - 1),
			`WithRetention "23h59m59.999999999s": want at least 24h0m0s`,
		},
		"retention of none": {path, bboltjournal.WithRetention(0), "WithRetention"},
	} {
		_, err := bboltjournal.Open(c.path, c.opt)
		var param *letagentpay.ParamError
		require.ErrorAs(t, err, &param, name)
		assert.ErrorContains(t, err, c.text, name)
		assert.NoFileExists(t, path)
	}

	journal := open(t, path)
	now := time.Now()
	odd := entry("key", stateRequested, now)
	odd.UpdatedAt = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) // beyond JSON
	large := entry("key", stateRequested, now)
	large.Result = make([]byte, 16<<20)
	for name, bad := range map[string]*journalEntry{
		"nil":           nil,
		"no key":        entry("", stateRequested, now),
		"long key":      entry(strings.Repeat("k", 40_000), stateRequested, now),
		"no text":       entry("\xff", stateRequested, now),
		"no state":      entry("key", "", now),
		"unknown state": entry("key", "lost", now),
		"no version":    {Key: "key", State: stateRequested, Amount: letagentpay.MustAmount("1")},
		"no amount":     {Version: formVersion, Key: "key", State: stateRequested},
		"not JSON":      odd,
		"too large":     large,
	} {
		require.ErrorIs(t, journal.Put(t.Context(), bad), letagentpay.ErrInvalid, name)
	}
	_, err := journal.Prune(t.Context(), now.Add(-23*time.Hour))
	require.ErrorIs(t, err, letagentpay.ErrInvalid)
	assert.Empty(t, keys(t, journal.Entries(t.Context())))
	require.NoError(t, journal.Put(t.Context(), entry("key", stateRequested, now)))
	require.ErrorIs(t, journal.Put(t.Context(), large), letagentpay.ErrInvalid)
	got, err := journal.Get(t.Context(), "key")
	require.NoError(t, err)
	assert.Equal(t, entry("key", stateRequested, now), got, "the earlier one stays")
	require.NoError(t, journal.Delete(t.Context(), "key"))
	longest := strings.Repeat("k", 32<<10)
	require.NoError(t, journal.Put(t.Context(), entry(longest, stateRequested, now)))
	assert.Equal(t, []string{longest}, keys(t, journal.Entries(t.Context())))
}

func TestErrorsOfTheFileSystem(t *testing.T) {
	folder := t.TempDir()
	_, err := bboltjournal.Open(filepath.Join(folder, "missing", "journal"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = bboltjournal.Open(folder)
	require.ErrorContains(t, err, folder)
	require.NotErrorIs(t, err, bboltjournal.ErrCorrupt)
}

func TestOneJournalHasTheFile(t *testing.T) {
	path := journalPath(t)
	journal := open(t, path)
	for _, timeout := range []time.Duration{0, 60 * time.Millisecond} {
		_, err := bboltjournal.Open(path, bboltjournal.WithLockTimeout(timeout))
		var locked *bboltjournal.LockedError
		require.ErrorAs(t, err, &locked)
		require.ErrorIs(t, err, bboltjournal.ErrLocked)
		assert.Equal(t, path, locked.Path)
		assert.ErrorContains(t, err, path)
	}
	output, err := child(t, "lock", envPath+"="+path).CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "locked", string(output))

	// One that waits gets it when the other closes.
	opened := make(chan error)
	go func() {
		second, err := bboltjournal.Open(path, bboltjournal.WithLockTimeout(time.Minute))
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	require.NoError(t, journal.Close())
	require.NoError(t, <-opened)

	output, err = child(t, "lock", envPath+"="+path).CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "opened", string(output))
}

const envPath = "BBOLTJOURNAL_PATH"

func lockChild() {
	journal, err := bboltjournal.Open(os.Getenv(envPath))
	switch {
	case err == nil:
		fmt.Print("opened")
		_ = journal.Close()
	case errors.Is(err, bboltjournal.ErrLocked):
		fmt.Print("locked")
	default:
		fmt.Print(err)
	}
}

func TestRetention(t *testing.T) {
	path, now, day := journalPath(t), time.Now(), 24*time.Hour
	journal := open(t, path)
	fill := func() {
		for i := range 150 { // several batches
			old := entry(fmt.Sprintf("old %03d", i), stateSettled, now.Add(-8*day))
			require.NoError(t, journal.Put(t.Context(), old))
		}
	}
	fill()
	for _, state := range []journalState{stateRequested, stateStarted, stateReturned} {
		require.NoError(t, journal.Put(t.Context(), entry("kept "+string(state), state, now.Add(-100*day))))
	}
	require.NoError(t, journal.Put(t.Context(), entry("kept of 2 days", stateSettled, now.Add(-2*day))))
	require.NoError(t, journal.Put(t.Context(), entry("kept of 6 days", stateSettled, now.Add(-6*day))))
	kept := []string{"kept of 2 days", "kept of 6 days", "kept requested", "kept returned", "kept started"}

	reopen := func(opts ...bboltjournal.Option) {
		require.NoError(t, journal.Close())
		journal = open(t, path, opts...)
	}
	reopen()
	assert.Equal(t, kept, keys(t, journal.Entries(t.Context())))
	fill()
	pruned, err := journal.Prune(t.Context(), now.Add(-7*day))
	require.NoError(t, err)
	assert.Equal(t, 150, pruned)
	assert.Equal(t, kept, keys(t, journal.Entries(t.Context())))
	reopen(bboltjournal.WithRetention(3 * day))
	kept = []string{"kept of 2 days", "kept requested", "kept returned", "kept started"}
	assert.Equal(t, kept, keys(t, journal.Entries(t.Context())))
	pruned, err = journal.Prune(t.Context(), now.Add(-day))
	require.NoError(t, err)
	assert.Equal(t, 1, pruned)
}

func BenchmarkPut(b *testing.B) {
	journal := open(b, journalPath(b))
	e := entry("key", stateRequested, time.Now())
	b.ReportAllocs()
	for b.Loop() {
		if err := journal.Put(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen10000(b *testing.B) {
	path := journalPath(b)
	journal := open(b, path)
	for i := range 10_000 {
		if err := journal.Put(b.Context(), entry(fmt.Sprintf("key %d", i), stateSettled, time.Now())); err != nil {
			b.Fatal(err)
		}
	}
	if err := journal.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		journal, err := bboltjournal.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := journal.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
