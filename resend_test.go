package letagentpay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// overlapping is a service that handles posts under one key as the real one does. It looks up the key at the beginning
// of a post and stores it at the end, even if its client has given up.
type overlapping struct {
	next   http.RoundTripper
	lasts  []time.Duration // how long the service handles the nth post; 0 after the last
	mu     sync.Mutex
	stored map[string]bool
	posts  []time.Time // when each began
	ends   []time.Time // when each was answered or given up
}

func (o *overlapping) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/requests") {
		return o.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	key := r.Header.Get("Idempotency-Key")
	o.mu.Lock()
	n := len(o.posts)
	o.posts = append(o.posts, time.Now())
	known := o.stored[key]
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.ends = append(o.ends, time.Now())
	}()
	answered := make(chan *http.Response, 1)
	go func() {
		if n < len(o.lasts) && !known {
			time.Sleep(o.lasts[n])
		}
		answered <- o.commit(r, key, fmt.Sprint(key, " of post ", n), body, known)
	}()
	select {
	case response := <-answered:
		return response, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// commit makes the request: a second one if another post has stored the key since this one looked it up.
func (o *overlapping) commit(r *http.Request, key, second string, body []byte, known bool) *http.Response {
	o.mu.Lock()
	defer o.mu.Unlock()
	again := r.Clone(context.WithoutCancel(r.Context()))
	again.Body = io.NopCloser(bytes.NewReader(body))
	if o.stored[key] && !known {
		again.Header.Set("Idempotency-Key", second)
	}
	response, err := o.next.RoundTrip(again)
	if err != nil {
		panic(err)
	}
	if response.StatusCode == http.StatusCreated {
		o.stored[key] = true
	}
	return response
}

// impatient returns a client that gives up a post after 3 seconds.
func impatient(server *letagentpaytest.Server, o *overlapping, opts ...letagentpay.Option) *letagentpay.Client {
	o.next, o.stored = server.HTTPClient().Transport, make(map[string]bool)
	return server.Client(append([]letagentpay.Option{
		letagentpay.WithHTTPClient(&http.Client{Transport: o, Timeout: 3 * time.Second}),
	}, opts...)...)
}

// apart checks the pause before each post: 2 seconds, and at least as long as the previous post lasted.
func (o *overlapping) apart(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := 1; i < len(o.posts); i++ {
		lasted := o.ends[i-1].Sub(o.posts[i-1])
		assert.GreaterOrEqual(t, o.posts[i].Sub(o.ends[i-1]), max(2*time.Second, lasted), "post %d", i)
	}
}

// others returns the ids of the server's requests except one.
func others(server *letagentpaytest.Server, id string) []string {
	var ids []string
	for _, r := range server.Requests() {
		if r.RequestID != id {
			ids = append(ids, r.RequestID)
		}
	}
	return ids
}

func TestPostsThatOverlapRunOneRequestAndNameTheOther(t *testing.T) {
	ways := map[string]func(ctx context.Context) (context.Context, letagentpay.PurchaseParams){
		"random key": func(ctx context.Context) (context.Context, letagentpay.PurchaseParams) {
			return ctx, whole("30")
		},
		"own key": func(ctx context.Context) (context.Context, letagentpay.PurchaseParams) {
			p := whole("30")
			p.IdempotencyKey = "turn-7"
			return ctx, p
		},
		"scope": func(ctx context.Context) (context.Context, letagentpay.PurchaseParams) {
			return letagentpay.WithPurchaseScope(ctx, "message 17"), whole("30")
		},
	}
	for name, begin := range ways {
		for _, c := range []struct {
			lasts []time.Duration
			late  int
		}{
			{nil, 0},
			{[]time.Duration{3500 * time.Millisecond}, 0},
			{[]time.Duration{4 * time.Second}, 0},
			{[]time.Duration{6 * time.Second}, 0},
			{[]time.Duration{8 * time.Second}, 0},
			{[]time.Duration{9500 * time.Millisecond}, 1},
			{[]time.Duration{11 * time.Second}, 1},
			{[]time.Duration{20 * time.Second}, 1},
			{[]time.Duration{6 * time.Second, 6 * time.Second}, 0},
			{[]time.Duration{11 * time.Second, 2500 * time.Millisecond}, 1},
			{[]time.Duration{20 * time.Second, 20 * time.Second}, 2},
		} {
			t.Run(fmt.Sprint(name, " ", c.lasts), func(t *testing.T) {
				standard := defaultLog(t)
				withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
					server := serve(t)
					service := &overlapping{lasts: c.lasts}
					client := impatient(server, service)
					ctx, p := begin(t.Context())
					var runs atomic.Int64
					var ran string
					result, err := guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
						approval, _ := letagentpay.ApprovalFromContext(ctx)
						ran = approval.RequestID()
						time.Sleep(time.Minute)
						return "receipt", nil
					}, opts...)(ctx, p)
					assert.Equal(t, "receipt", result)
					assert.EqualValues(t, 1, runs.Load())
					service.apart(t)
					request, _ := server.Request(ran)
					assert.Equal(t, letagentpay.StatusCompleted, request.Status)
					assert.Len(t, server.Calls().Of(operation.Confirm), 1)

					late := others(server, ran)
					require.Len(t, late, c.late)
					if c.late == 0 {
						require.NoError(t, err)
						return
					}
					var duplicate *letagentpay.DuplicateError
					require.ErrorAs(t, err, &duplicate)
					assert.Equal(t, ran, duplicate.RequestID)
					assert.NotEmpty(t, duplicate.IdempotencyKey)
					assert.ElementsMatch(t, late, duplicate.Duplicates)
					for _, id := range late {
						assert.Contains(t, standard.String(), id)
						_, err := client.Confirm(t.Context(), id, letagentpay.ConfirmParams{})
						require.NoError(t, err, "its money can be refunded")
					}
					assert.Contains(t, standard.String(), "letagentpay.duplicate")
					books(t, server, "30.00", "0.00")
				})
			})
		}
	}
}

// If the first post is finished when the list is read, the second is answered with its request.
func TestSlowPostIsWaitedForBeforeTheNext(t *testing.T) {
	for _, lasts := range []time.Duration{
		3500 * time.Millisecond, 4 * time.Second, 5 * time.Second, 6 * time.Second, 7 * time.Second, 8 * time.Second,
	} {
		t.Run(lasts.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				service := &overlapping{lasts: []time.Duration{lasts}}
				var runs atomic.Int64
				_, err := guardGroceries(impatient(server, service), &runs, spending("25", nil))(
					t.Context(), price("30"))
				require.NoError(t, err)
				assert.Len(t, server.Requests(), 1)
				assert.Len(t, service.posts, 2)
				books(t, server, "25.00", "0.00")
			})
		})
	}
}

func TestPurchaseByHandNamesItsDuplicates(t *testing.T) {
	for _, key := range []string{"", "turn-7"} {
		t.Run("key "+key, func(t *testing.T) {
			own := new(lockedBuffer)
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				// the second is under way when the first commits
				service := &overlapping{lasts: []time.Duration{11 * time.Second, 2500 * time.Millisecond}}
				client := impatient(server, service, letagentpay.WithLogger(logTo(own)))
				p := whole("30")
				p.IdempotencyKey = key
				purchase, err := client.Purchase(t.Context(), p)
				require.NoError(t, err)
				late := others(server, purchase.RequestID)
				require.Len(t, late, 1)
				assert.Equal(t, late, purchase.Duplicates)
				assert.Contains(t, own.String(), late[0])
				_, err = client.Confirm(t.Context(), late[0], letagentpay.ConfirmParams{})
				require.NoError(t, err)
				books(t, server, "30.00", "0.00")
			})
		})
	}
}

func TestJournalKeepsDuplicatesUntilTheirMoneyIsBack(t *testing.T) {
	_ = defaultLog(t)
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		service, journal := &overlapping{lasts: []time.Duration{11 * time.Second}}, new(memoryJournal)
		var runs atomic.Int64
		guarded := guardGroceries(impatient(server, service), &runs, func(context.Context) (string, error) {
			time.Sleep(time.Minute)
			return "receipt", nil
		}, letagentpay.WithJournal(journal))
		_, err := guarded(t.Context(), underKey("30", "turn-7"))
		var duplicate *letagentpay.DuplicateError
		require.ErrorAs(t, err, &duplicate)
		require.Len(t, duplicate.Duplicates, 1)

		restarted := server.Client(elsewhere())
		for range 2 {
			interrupted, err := restarted.Recover(t.Context(), journal)
			require.NoError(t, err)
			require.Len(t, interrupted, 1)
			assert.True(t, interrupted[0].Duplicate)
			assert.False(t, interrupted[0].MayHaveRun)
			assert.Equal(t, duplicate.Duplicates[0], interrupted[0].Request.RequestID)
			assert.True(t, interrupted[0].Request.Status.Approved())
		}
		_, err = restarted.Confirm(t.Context(), duplicate.Duplicates[0], letagentpay.ConfirmParams{})
		require.NoError(t, err)
		interrupted, err := restarted.Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.Empty(t, interrupted)
		books(t, server, "30.00", "0.00")
		result, err := guardGroceries(restarted, &runs, succeed, letagentpay.WithJournal(journal))(
			t.Context(), underKey("30", "turn-7"))
		require.NoError(t, err)
		assert.Equal(t, "receipt", result)
	})
}

// Requests of other calls and requests with other contents are no duplicates, however unclear an attempt was.
func TestOtherPurchasesAreNoDuplicates(t *testing.T) {
	standard := defaultLog(t)
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		var runs, inner atomic.Int64
		server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: letagentpaytest.DropAfter})
		result, err := guardGroceries(client, &runs, func(context.Context) (string, error) {
			others := []letagentpay.PurchaseParams{whole("30"), whole("31"), price("30")} // one of them identical
			for _, p := range others {
				_, err := guardGroceries(client, &inner, succeed)(context.Background(), p)
				require.NoError(t, err)
				p.Description = "another"
				_, err = server.Client(elsewhere()).Purchase(t.Context(), p)
				require.NoError(t, err)
			}
			return "receipt", nil
		})(t.Context(), whole("30"))
		require.NoError(t, err)
		assert.Equal(t, "receipt", result)
		assert.Len(t, server.Requests(), 7)
		assert.NotContains(t, standard.String(), "duplicate")
	})
}

func TestUnknownOutcomeNamesWhatTheListShows(t *testing.T) {
	for drop, made := range map[letagentpaytest.Drop]bool{
		letagentpaytest.DropBefore: false,
		letagentpaytest.DropAfter:  true,
	} {
		for _, key := range []string{"", "turn-7"} {
			t.Run(string(drop)+" "+key, func(t *testing.T) {
				standard := defaultLog(t)
				withAndWithoutJournal(t, func(t *testing.T, opts ...letagentpay.GuardOption) {
					server := serve(t)
					client := server.Client(letagentpay.WithMaxRetries(0))
					// earlier, with the same contents, and no duplicate
					_, err := client.Purchase(t.Context(), whole("30"))
					require.NoError(t, err)
					time.Sleep(time.Hour)
					server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: drop})
					p := whole("30")
					p.IdempotencyKey = key
					var runs atomic.Int64
					_, err = guardGroceries(client, &runs, succeed, opts...)(t.Context(), p)
					var unknown *letagentpay.OutcomeUnknownError
					require.ErrorAs(t, err, &unknown)
					assert.Zero(t, runs.Load())
					if !made {
						assert.Empty(t, unknown.Found)
						return
					}
					require.Len(t, server.Requests(), 2)
					assert.Equal(t, []string{server.Requests()[1].RequestID}, unknown.Found)
					assert.Contains(t, standard.String(), unknown.Found[0])
					assert.Contains(t, err.Error(), unknown.Found[0])
				})
			})
		}
	}
}

// An attempt that the service itself has answered is over. The next one needs no read of the list before it.
func TestAttemptThatTheServiceAnsweredIsRepeatedWithoutALook(t *testing.T) {
	for status, op := range map[int]operation.Op{
		500: operation.Purchase,
		503: operation.Purchase,
		429: operation.Purchase,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				server.Fail(letagentpaytest.Fault{Op: op, Status: status, Times: 2})
				var runs atomic.Int64
				_, err := guardGroceries(server.Client(), &runs, spending("25", nil))(t.Context(), price("30"))
				require.NoError(t, err)
				calls := server.Calls()
				for i, call := range calls[:3] {
					require.Equal(t, operation.Purchase, call.Op)
					if i > 0 {
						assert.GreaterOrEqual(t, call.Time.Sub(calls[i-1].Time), time.Second)
					}
				}
				assert.Len(t, calls.Of(operation.Purchase), 3)
				books(t, server, "25.00", "0.00")
			})
		})
	}
}

// A gateway may answer in the service's form for an attempt that the service is still handling. The status and the
// media type distinguish the two.
func TestAttemptThatAGatewayExplainsIsLookedForBeforeItIsRepeated(t *testing.T) {
	const problem, plain = "application/problem+json", "application/json"
	for _, c := range []struct {
		status      int
		contentType string
		searched    bool
	}{
		{500, plain, false},
		{500, problem, true},
		{502, plain, true},
		{503, plain, false},
		{503, problem, true},
		{503, problem + "; charset=utf-8", true},
		{504, plain, true},
		{519, plain, false},
		{520, plain, true},
		{530, plain, true},
		{531, plain, false},
		{597, plain, false},
		{598, plain, true},
		{599, plain, true},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.contentType), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/requests", list("")).
					on("POST", "/requests", func(r *http.Request) (*http.Response, error) {
						time.Sleep(10 * time.Second)
						return answer(c.status, `{"detail":"no upstream"}`, "Content-Type", c.contentType)(r)
					}, answer(201, autoApproved))
				_, err := s.client().Purchase(t.Context(), groceries())
				require.NoError(t, err)
				calls := s.recorded()
				second := 1 + slices.IndexFunc(calls[1:], func(r recorded) bool { return r.Method == http.MethodPost })
				assert.Equal(t, c.searched, second > 1, "a read of the list between the posts: %v", s.paths())
				pause := calls[second].At.Sub(calls[0].At) - 10*time.Second
				assert.Equal(t, c.searched, pause >= 20*time.Second, "twice as long as the attempt lasted: %s", pause)
			})
		})
	}
}

// There is no time for the pause: the purchase is not posted again.
func TestUnclearPurchaseIsNotRepeatedWithoutTimeForAPause(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		service := &overlapping{lasts: []time.Duration{4 * time.Second}}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var runs atomic.Int64
		guarded := guardGroceries(impatient(server, service), &runs, succeed)
		_, err := guarded(ctx, price("30"))
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Len(t, service.posts, 1)
		assert.Zero(t, runs.Load())

		// Repeated under the key that the error names, it is one request.
		_, _ = guarded(t.Context(), underKey("30", unknown.IdempotencyKey))
		service.apart(t)
		assert.Len(t, server.Requests(), 1)
	})
}

// opsOf returns the operations of calls.
func opsOf(calls letagentpaytest.CallList) []operation.Op {
	var ops []operation.Op
	for _, call := range calls {
		ops = append(ops, call.Op)
	}
	return ops
}

func TestBrokenPurchaseIsLookedForBeforeItIsRepeated(t *testing.T) {
	for drop, made := range map[letagentpaytest.Drop]bool{
		letagentpaytest.DropBefore: false,
		letagentpaytest.DropAfter:  true,
	} {
		t.Run(string(drop), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t)
				server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: drop})
				_, err := server.Client().Purchase(t.Context(), price("30"))
				require.NoError(t, err)
				assert.Len(t, server.Requests(), 1)
				ops := opsOf(server.Calls())
				second := slices.Index(ops[1:], operation.Purchase)
				require.Positive(t, second, "a read of the list comes first: %v", ops)
				begun := server.Calls()[0].Time
				assert.GreaterOrEqual(t, server.Calls()[second+1].Time.Sub(begun), 2*time.Second)
				if made {
					assert.Len(t, server.Calls().Of(operation.Purchase), 2)
				}
			})
		})
	}
}

// Whatever part of an answer arrives, there is one purchase, one run and one confirmation.
func TestAnswerThatIsCutOffAtAnyByte(t *testing.T) {
	for _, op := range []operation.Op{operation.Purchase, operation.Confirm, operation.Request, operation.Requests} {
		t.Run(string(op), func(t *testing.T) {
			for cut := 1; cut < 500; cut += 7 {
				for _, key := range []string{"turn-7", ""} {
					inBubble(t, func(t *testing.T) {
						server := serve(t)
						server.Fail(letagentpaytest.Fault{Op: op, Truncate: cut})
						var runs atomic.Int64
						_, err := guardGroceries(server.Client(), &runs, spending("25", nil))(
							t.Context(), underKey("30", key))
						require.NoError(t, err, "cut after %d bytes, key %q", cut, key)
						require.EqualValues(t, 1, runs.Load())
						require.Len(t, server.Requests(), 1)
						books(t, server, "25.00", "0.00")
					})
				}
			}
		})
	}
}

// The caller's context ends before or after each exchange, and the purchase is then repeated under its key until it
// succeeds. It never runs twice, and never without either a confirmation or an error that reports the lack of one.
func TestContextThatEndsAtAnyStep(t *testing.T) {
	_ = defaultLog(t)
	for _, withJournal := range []bool{false, true} {
		for how, amount := range map[string]string{"approved at once": "30", "approved by a human": "60"} {
			for _, key := range []string{"turn-7", ""} {
				t.Run(fmt.Sprint("journal ", withJournal, ", ", how, ", key ", key), func(t *testing.T) {
					for step := range 9 {
						for _, when := range []string{"before", "during", "after"} {
							inBubble(t, func(t *testing.T) { endsAtStep(t, withJournal, amount, key, step, when) })
						}
					}
				})
			}
		}
	}
}

func endsAtStep(t *testing.T, withJournal bool, amount, key string, step int, when string) {
	name := fmt.Sprint("step ", step, " ", when)
	server := serve(t)
	server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
		return letagentpaytest.Approve().After(5 * time.Second)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var opts []letagentpay.GuardOption
	if withJournal {
		opts = append(opts, letagentpay.WithJournal(new(memoryJournal)))
	}
	var runs atomic.Int64
	guarded := guardGroceries(server.Client(through(endingStep(server.HTTPClient().Transport, cancel, step, when))),
		&runs, spending("25", nil), opts...)
	p := underKey(amount, key)
	_, err := guarded(ctx, p)
	check := func(err error) {
		completed := 0
		for _, r := range server.Requests() {
			if r.Status == letagentpay.StatusCompleted {
				completed++
			}
		}
		var unconfirmed *letagentpay.UnconfirmedError
		assert.LessOrEqual(t, runs.Load(), int64(1), name)
		assert.True(t, runs.Load() == 0 || completed == 1 || errors.As(err, &unconfirmed),
			"%s: ran, and %d completed: %v", name, completed, err)
		assert.True(t, runs.Load() == 1 || completed == 0, "%s: not run, and completed", name)
	}
	check(err)
	var unknown *letagentpay.OutcomeUnknownError
	if errors.As(err, &unknown) && unknown.IdempotencyKey != "" {
		p.IdempotencyKey = unknown.IdempotencyKey
	}
	if p.IdempotencyKey != "" {
		for range 3 {
			_, err = guarded(t.Context(), p)
			check(err)
		}
	}
}

// endingStep is a transport that ends a context at one exchange.
func endingStep(next http.RoundTripper, end context.CancelFunc, step int, when string) exchange {
	n := -1
	return func(r *http.Request) (*http.Response, error) {
		n++
		if n == step && when == "before" {
			end()
			return nil, context.Canceled
		}
		response, err := next.RoundTrip(r)
		if n == step {
			end()
			if when == "during" && r.Context().Err() != nil {
				return nil, r.Context().Err()
			}
		}
		return response, err
	}
}

// The late post commits after the confirmation, when this call no longer reads the list. The journal knows that an
// attempt was unclear.
func TestRecoverFindsADuplicateThatCameAfterTheConfirmation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := serve(t)
		service, journal := &overlapping{lasts: []time.Duration{11 * time.Second}}, new(memoryJournal)
		var runs atomic.Int64
		_, err := guardGroceries(impatient(server, service), &runs, succeed, letagentpay.WithJournal(journal))(
			t.Context(), price("30"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Len(t, server.Requests(), 2)
		interrupted, err := server.Client(elsewhere()).Recover(t.Context(), journal)
		require.NoError(t, err)
		require.Len(t, interrupted, 1)
		assert.True(t, interrupted[0].Duplicate)
	})
}

func TestTooManyPendingIsNoWordOnAnAttemptThatMayStillRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		defaultLog(t)
		server, journal := serve(t), new(memoryJournal)
		var posts atomic.Int64
		server.SetServiceRaces(&letagentpaytest.Races{Choose: func(c letagentpaytest.Call) time.Duration {
			if c.Op == operation.Purchase {
				return time.Minute
			}
			return 0
		}})
		inner := server.HTTPClient().Transport
		client := server.Client(letagentpay.WithHTTPClient(&http.Client{
			Timeout: 5 * time.Second,
			Transport: exchange(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/requests") && posts.Add(1) == 2 {
					return answer(429,
						`{"detail":"Too many pending requests. Wait for existing requests to be resolved."}`)(r)
				}
				return inner.RoundTrip(r)
			}),
		}))
		var runs atomic.Int64
		_, err := guardGroceries(client, &runs, succeed, letagentpay.WithJournal(journal))(t.Context(), price("30"))
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown)
		require.ErrorIs(t, err, letagentpay.ErrTooManyPending)
		assert.Zero(t, runs.Load())
		time.Sleep(2 * time.Minute)
		assert.Len(t, server.Requests(), 1, "the first attempt made it late")
		interrupted, err := client.Recover(t.Context(), journal)
		require.NoError(t, err)
		assert.Len(t, interrupted, 1, "the journal knows that there may be a duplicate")
	})
}
