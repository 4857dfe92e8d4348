package bboltjournal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// The tests of this file run an agent in a process of its own, which kills itself at a point of a guarded purchase, and
// then in another on the same journal. The service runs in the test's process, and so outlives both.

// plan is what a process is to do: recover, then make guarded purchases.
type plan struct {
	Folder    string   // of the journal and the ledger
	DieAt     string   // the event to die at; empty: live
	DieAfter  int64    // the number of events to die after; 0: live
	Keys      []string // make one purchase under each of these keys at the same time
	Scope     string   // or one in this scope
	Wait      bool     // for a human
	Resolve   bool     // decide about what may have run, by the ledger
	Purchases bool     // whether to make the purchases at all
}

// report is what a process that lived writes to its standard output.
type report struct {
	Recovered []interrupted // what Recover returned at first
	Left      []interrupted // and at the end
	Calls     []call
	Errors    []string
}

type interrupted struct {
	RequestID  string
	State      journalState
	MayHaveRun bool
	Status     letagentpay.Status
}

type call struct {
	Result    string
	Kind      string // of error; empty: none
	RequestID string // of the error
}

// life is a process's run of its plan.
type life struct {
	plan
	events  atomic.Int64
	reads   atomic.Int64
	client  *letagentpay.Client
	journal journalStore
	report  report
}

const envPlan = "BBOLTJOURNAL_PLAN"

func purchaseChild() {
	l := new(life)
	if err := json.Unmarshal([]byte(os.Getenv(envPlan)), &l.plan); err != nil {
		panic(err)
	}
	file, err := bboltjournal.Open(filepath.Join(l.Folder, "journal"))
	if err != nil {
		panic(err)
	}
	l.journal = &dyingJournal{file, l}
	transport := &dyingTransport{l} // to LETAGENTPAY_BASE_URL
	l.client, err = letagentpay.New(letagentpay.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		panic(err)
	}
	l.run(context.Background())
	if err := file.Close(); err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(l.report); err != nil {
		panic(err)
	}
}

// event is a point at which the process may die, as the kernel kills one: nothing is cleaned up, nothing flushed.
func (l *life) event(name string) {
	if n := l.events.Add(1); name != l.DieAt && n != l.DieAfter {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // until it takes effect
}

type dyingJournal struct {
	journalStore
	*life
}

func (j *dyingJournal) Put(ctx context.Context, entry *journalEntry) error {
	j.event("before put " + string(entry.State))
	err := j.journalStore.Put(ctx, entry)
	j.event("after put " + string(entry.State))
	return err
}

func (j *dyingJournal) Delete(ctx context.Context, key string) error {
	j.event("before delete")
	err := j.journalStore.Delete(ctx, key)
	j.event("after delete")
	return err
}

type dyingTransport struct{ *life }

func (d *dyingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	op := "list"
	switch {
	case strings.HasSuffix(r.URL.Path, "/confirm"):
		op = "confirmation"
	case r.Method == http.MethodPost:
		op = "purchase"
	case !strings.HasSuffix(r.URL.Path, "/requests"):
		op = fmt.Sprint("read ", d.reads.Add(1))
	}
	d.event(op + " sent")
	response, err := http.DefaultTransport.RoundTrip(r)
	d.event(op + " answered")
	return response, err
}

func (l *life) run(ctx context.Context) {
	l.report.Recovered = l.recover(ctx)
	if l.Resolve {
		for _, found := range l.report.Recovered {
			if found.MayHaveRun {
				l.resolve(ctx, found.RequestID)
			}
		}
	}
	if l.Purchases {
		calls := make([]call, max(1, len(l.Keys)))
		var group sync.WaitGroup
		for i := range calls {
			group.Go(func() {
				key := ""
				ctx := ctx
				if l.Scope != "" {
					ctx = letagentpay.WithPurchaseScope(ctx, l.Scope)
				} else {
					key = l.Keys[i]
				}
				calls[i] = outcome(l.guarded()(ctx, key))
			})
		}
		group.Wait()
		l.report.Calls = calls
	}
	if l.DieAt == "" { // else the event must come before this
		l.report.Left = l.recover(ctx)
	}
}

// guarded is the purchase that all is about: approved for 30, paid with 25.
func (l *life) guarded() func(context.Context, string) (string, error) {
	option := letagentpay.OnPendingFail()
	if l.Wait {
		option = letagentpay.OnPendingWait(time.Minute)
	}
	return letagentpay.Guard(l.client, func(key string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:         letagentpay.MustAmount("30"),
			Category:       "groceries",
			IdempotencyKey: key,
		}
	}, func(ctx context.Context, _ string) (string, error) {
		approval, _ := letagentpay.ApprovalFromContext(ctx)
		l.event("before paying")
		if err := l.pay(approval.RequestID()); err != nil {
			return "", err
		}
		l.event("after paying")
		return "receipt of " + approval.RequestID(), approval.Spent(letagentpay.MustAmount("25"), "")
	}, letagentpay.WithJournal(l.journal), option)
}

// pay writes a line into the agent's own ledger, which nothing but paying does.
func (l *life) pay(requestID string) error {
	file, err := os.OpenFile(l.ledger(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(requestID + "\n")
	return errors.Join(err, file.Sync(), file.Close())
}

func (p plan) ledger() string { return filepath.Join(p.Folder, "ledger") }

// paid returns the request ids in the ledger, one for each run.
func (p plan) paid() ([]string, error) {
	data, err := os.ReadFile(p.ledger())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return strings.Fields(string(data)), err
}

func (l *life) recover(ctx context.Context) []interrupted {
	found, err := l.client.Recover(ctx, l.journal)
	l.failed(err)
	reported := make([]interrupted, len(found))
	for i, f := range found {
		reported[i] = interrupted{RequestID: f.Entry.RequestID, State: f.Entry.State, MayHaveRun: f.MayHaveRun}
		if f.Request != nil {
			reported[i].Status = f.Request.Status
		}
	}
	return reported
}

// resolve does what Recover's caller is told to do: look into one's own books, and confirm or run.
func (l *life) resolve(ctx context.Context, requestID string) {
	paid, err := l.paid()
	l.failed(err)
	if slices.Contains(paid, requestID) {
		params := letagentpay.ConfirmParams{Success: true, ActualAmount: letagentpay.MustAmount("25")}
		_, err = l.client.Confirm(ctx, requestID, params)
	} else {
		_, err = l.guarded()(letagentpay.ResumeApproval(ctx, requestID), "")
	}
	l.failed(err)
}

func (l *life) failed(err error) {
	if err != nil {
		l.report.Errors = append(l.report.Errors, err.Error())
	}
}

func outcome(result string, err error) call {
	var (
		handled *letagentpay.AlreadyHandledError
		refused *letagentpay.NotApprovedError
	)
	switch {
	case err == nil:
		return call{Result: result}
	case errors.As(err, &handled):
		return call{Kind: "handled", RequestID: handled.Request.RequestID}
	case errors.As(err, &refused):
		return call{Kind: string(refused.Status), RequestID: refused.RequestID}
	}
	return call{Kind: err.Error()}
}

// agent lives and dies by plans, against one service.
type agent struct {
	*testing.T
	plan
	server *letagentpaytest.Server
}

func newAgent(t *testing.T, p plan, options ...letagentpaytest.Option) *agent {
	t.Parallel()
	p.Folder, p.Purchases = t.TempDir(), true
	return &agent{t, p, letagentpaytest.NewServer(t, options...)}
}

// start runs a process that follows the agent's plan, changed; died tells whether it was killed.
func (a *agent) start(change func(*plan)) (r report, died bool) {
	a.Helper()
	p := a.plan
	change(&p)
	encoded, err := json.Marshal(p)
	require.NoError(a, err)
	command := child(a, "purchase", envPlan+"="+string(encoded),
		"LETAGENTPAY_BASE_URL="+a.server.URL, "LETAGENTPAY_TOKEN="+a.server.Token)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	if err != nil {
		killed := command.ProcessState.String() == "signal: killed"
		if runtime.GOOS == "windows" { // where a process that is killed exits with 1, and one that panics with 2
			killed = command.ProcessState.ExitCode() == 1
		}
		require.True(a, killed, "%v: %s", err, stderr.String())
		require.Empty(a, stdout.String())
		return report{}, true
	}
	require.NoError(a, json.Unmarshal(stdout.Bytes(), &r), stderr.String())
	require.Empty(a, r.Errors)
	return r, false
}

// dies runs a process up to an event.
func (a *agent) dies(event string) {
	a.Helper()
	_, died := a.start(func(p *plan) { p.DieAt, p.Wait = event, true })
	require.True(a, died, "the process did not come to the event %q", event)
}

// lives runs a process to its end.
func (a *agent) lives(change func(*plan)) report {
	a.Helper()
	r, died := a.start(change)
	require.False(a, died)
	return r
}

// runs returns the ledger, after checking that no approval has two runs.
func (a *agent) runs() []string {
	a.Helper()
	paid, err := a.paid()
	require.NoError(a, err)
	slices.Sort(paid)
	require.Equal(a, slices.Compact(slices.Clone(paid)), paid, "two runs under one approval")
	return paid
}

// assertBooksAgree checks that all purchases, n, were run and confirmed once each, and nothing is left.
func (a *agent) assertBooksAgree(n int) {
	a.Helper()
	var requested []string
	for _, request := range a.server.Requests() {
		requested = append(requested, request.RequestID)
		assert.Equal(a, letagentpay.StatusCompleted, request.Status)
		assert.Equal(a, "25.00", request.ActualAmount.String())
	}
	slices.Sort(requested)
	assert.Len(a, requested, n)
	assert.Equal(a, requested, a.runs())
	confirmed := 0
	for _, call := range a.server.Calls().Of(operation.Confirm) {
		if call.Status == http.StatusOK {
			confirmed++
		}
	}
	assert.Equal(a, n, confirmed, "each is confirmed once")
	a.assertBudget(fmt.Sprintf("%d.00", 25*n), "0.00")
}

func (a *agent) assertBudget(spent, held string) {
	a.Helper()
	budget := a.server.Budget()
	assert.Equal(a, spent, budget.Spent.String())
	assert.Equal(a, held, budget.Held.String())
}

func unchanged(*plan) {}

var keyings = map[string]plan{
	"own key": {Keys: []string{"turn-7"}},
	"scope":   {Scope: "turn-7"},
}

var approvals = map[string]func(*letagentpaytest.Server){
	"approved by policy": func(s *letagentpaytest.Server) { s.SetPolicyJSON(`{"auto_approve": {"enabled": true}}`) },
	"approved by a human": func(s *letagentpaytest.Server) {
		s.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict { return letagentpaytest.Approve() })
	},
}

func TestProcessIsKilledAtEveryPoint(t *testing.T) {
	for _, c := range []struct {
		event      string
		runs       int          // when it dies
		recovered  journalState // what Recover returns; empty: nothing
		mayHaveRun bool
	}{
		{"before put requested", 0, "", false},
		{"after put requested", 0, stateRequested, false},
		{"purchase sent", 0, stateRequested, false},
		{"purchase answered", 0, stateRequested, false},
		{"read 1 answered", 0, stateRequested, false},
		{"before put started", 0, stateRequested, false},
		{"after put started", 0, stateStarted, true},
		{"before paying", 0, stateStarted, true},
		{"after paying", 1, stateStarted, true},
		{"before put returned", 1, stateStarted, true},
		{"after put returned", 1, "", false},
		{"confirmation sent", 1, "", false},
		{"confirmation answered", 1, "", false},
		{"before put settled", 1, "", false},
		{"after put settled", 1, "", false},
	} {
		for keying, p := range keyings {
			for approval, approve := range approvals {
				t.Run(c.event+", "+keying+", "+approval, func(t *testing.T) {
					a := newAgent(t, p)
					approve(a.server)
					a.dies(c.event)
					require.Len(t, a.runs(), c.runs)

					r := a.lives(unchanged)
					requests := a.server.Requests()
					require.Len(t, requests, 1)
					id := requests[0].RequestID
					if c.recovered == "" {
						assert.Empty(t, r.Recovered)
					} else {
						require.Len(t, r.Recovered, 1)
						assert.Equal(t, c.recovered, r.Recovered[0].State)
						assert.Equal(t, c.mayHaveRun, r.Recovered[0].MayHaveRun)
					}
					require.Len(t, r.Calls, 1)
					if c.mayHaveRun {
						assert.Equal(t, id, r.Recovered[0].RequestID)
						assert.True(t, r.Recovered[0].Status.Approved())
						assert.Equal(t, call{Kind: "handled", RequestID: id}, r.Calls[0])
						assert.Len(t, a.runs(), c.runs, "nothing is run in doubt")
						assert.Equal(t, r.Recovered, r.Left, "and nothing is forgotten")

						r = a.lives(func(p *plan) { p.Resolve, p.Purchases = true, false })
						assert.Len(t, r.Recovered, 1)
					} else {
						assert.Equal(t, call{Result: "receipt of " + id}, r.Calls[0])
					}
					assert.Empty(t, r.Left)
					a.assertBooksAgree(1)

					// And once more, when all is settled: nothing happens.
					r = a.lives(unchanged)
					assert.Empty(t, r.Recovered)
					if c.mayHaveRun && c.runs == 1 { // by whose hand it was confirmed, the journal does not know
						assert.Equal(t, []call{{Kind: "handled", RequestID: id}}, r.Calls)
					} else {
						assert.Equal(t, []call{{Result: "receipt of " + id}}, r.Calls)
					}
					a.assertBooksAgree(1)
				})
			}
		}
	}
}

func TestProcessIsKilledWhilePending(t *testing.T) {
	for event, known := range map[string]bool{ // whether the journal knows the request's id
		"purchase answered": false,
		"read 1 answered":   false,
		"read 2 answered":   true, // the wait's
	} {
		for keying, p := range keyings {
			start := func(t *testing.T) (a *agent, id string) {
				a = newAgent(t, p)
				a.dies(event)
				requests := a.server.Requests()
				require.Len(t, requests, 1)
				require.Equal(t, letagentpay.StatusPending, requests[0].Status)
				a.assertBudget("0.00", "30.00")
				return a, requests[0].RequestID
			}
			found := func(known bool, id string, status letagentpay.Status) []interrupted {
				if !known {
					return []interrupted{{State: stateRequested}}
				}
				return []interrupted{{RequestID: id, State: stateRequested, Status: status}}
			}
			t.Run(event+", "+keying+", approved meanwhile", func(t *testing.T) {
				a, id := start(t)
				require.NoError(t, a.server.Approve(id))
				r := a.lives(unchanged)
				assert.Equal(t, found(known, id, letagentpay.StatusApproved), r.Recovered)
				assert.Equal(t, []call{{Result: "receipt of " + id}}, r.Calls)
				assert.Empty(t, r.Left)
				a.assertBooksAgree(1)
			})
			t.Run(event+", "+keying+", still pending", func(t *testing.T) {
				a, id := start(t)
				for i := range 2 {
					r := a.lives(unchanged)
					assert.Equal(t, found(known || i > 0, id, letagentpay.StatusPending), r.Recovered)
					assert.Equal(t, []call{{Kind: "pending", RequestID: id}}, r.Calls)
					assert.Equal(t, found(true, id, letagentpay.StatusPending), r.Left)
					a.assertBudget("0.00", "30.00")
				}
				require.NoError(t, a.server.Approve(id))
				r := a.lives(unchanged)
				assert.Equal(t, []call{{Result: "receipt of " + id}}, r.Calls)
				assert.Empty(t, r.Left)
				a.assertBooksAgree(1)
			})
			for kind, decide := range map[string]func(*agent, string){
				"rejected": func(a *agent, id string) { require.NoError(a, a.server.Reject(id)) },
				"expired":  func(a *agent, _ string) { a.server.Advance(time.Hour) },
			} {
				t.Run(event+", "+keying+", "+kind+" meanwhile", func(t *testing.T) {
					a, id := start(t)
					decide(a, id)
					r := a.lives(unchanged)
					if known { // then Recover sees that nothing is left to decide
						assert.Empty(t, r.Recovered)
					} else {
						assert.Equal(t, found(false, "", ""), r.Recovered)
					}
					assert.Empty(t, a.runs())
					if p.Scope != "" && kind == "expired" { // in a scope, what expired makes way for a new purchase
						requests := a.server.Requests()
						require.Len(t, requests, 2)
						assert.Equal(t, []call{{Kind: "pending", RequestID: requests[1].RequestID}}, r.Calls)
						a.assertBudget("0.00", "30.00")
						return
					}
					assert.Equal(t, []call{{Kind: kind, RequestID: id}}, r.Calls)
					assert.Empty(t, r.Left)
					assert.Len(t, a.server.Requests(), 1)
					a.assertBudget("0.00", "0.00")
				})
			}
		}
	}
}

// Several purchases at once, killed twice after any number of events, the second time perhaps while recovering.
func TestProcessIsKilledAgainAndAgain(t *testing.T) {
	keys := []string{"turn-1", "turn-2", "turn-3", "turn-4"}
	for first := int64(1); first <= 70; first += 3 {
		second := first*7%41 + 1
		t.Run(fmt.Sprintf("after %d and %d events", first, second), func(t *testing.T) {
			a := newAgent(t, plan{Keys: keys, Resolve: true})
			approvals["approved by policy"](a.server)
			_, died := a.start(func(p *plan) { p.DieAfter = first })
			require.True(t, died)
			a.runs()
			a.start(func(p *plan) { p.DieAfter = second }) // which may have less to do, and live
			a.runs()
			r := a.lives(unchanged)
			for _, c := range r.Calls {
				if c.Kind != "handled" { // one that was confirmed by hand
					assert.Empty(t, c.Kind)
					assert.NotEmpty(t, c.Result)
				}
			}
			assert.Empty(t, r.Left)
			a.assertBooksAgree(len(keys))
		})
	}
}
