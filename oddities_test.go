package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// A function that has run without a successful confirmation leaves its request approved. The service does not know of
// the run, but this client does.
func TestUnconfirmedIsNotRunAgain(t *testing.T) {
	t.Run("under the key that its first answer named", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := serve(t)
			var runs atomic.Int64
			guarded := guardGroceries(server.Client(), &runs, succeed, letagentpay.OnPendingFail())
			_, err := guarded(t.Context(), price("80"))
			var pending *letagentpay.NotApprovedError
			require.ErrorAs(t, err, &pending)
			require.Equal(t, letagentpay.StatusPending, pending.Status)
			require.NoError(t, server.Approve(pending.RequestID))
			server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 503, Times: -1})
			var confirm *letagentpay.UnconfirmedError
			_, err = guarded(letagentpay.ResumeApproval(t.Context(), pending.RequestID), price("80"))
			require.ErrorAs(t, err, &confirm)
			server.ClearFaults()
			p := price("80")
			p.IdempotencyKey = pending.IdempotencyKey
			_, err = guarded(t.Context(), p)
			var handled *letagentpay.AlreadyHandledError
			require.ErrorAs(t, err, &handled)
			assert.EqualValues(t, 1, runs.Load())
		})
	})
	t.Run("by those who resume it together", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := serve(t)
			client := server.Client()
			purchase, err := client.Purchase(t.Context(), price("30"))
			require.NoError(t, err)
			server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 503, Times: -1})
			var runs atomic.Int64
			guarded := guardGroceries(client, &runs, succeed)
			var group sync.WaitGroup
			for range 3 {
				group.Go(func() {
					_, _ = guarded(letagentpay.ResumeApproval(t.Context(), purchase.RequestID), price("30"))
				})
			}
			group.Wait()
			assert.EqualValues(t, 1, runs.Load())
		})
	})
}

// An answer to another request, from a cache for example, must not let a function run.
func TestAnswersAboutSomethingElse(t *testing.T) {
	other := strings.Replace(detail("approved"), "r1", "r2", 1)
	for name, c := range map[string]struct{ post, get string }{
		"a read of another request": {pendingAnswer, other},
		"approved, although a check fails": {
			strings.Replace(rejectedAnswer, `"status":"rejected"`, `"status":"approved"`, 1), detail("approved"),
		},
		"an id that is a path": {strings.Replace(autoApproved, "r1", "../../x", 1), detail("approved")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests", answer(201, c.post)).
					on("GET", "/requests/r1", answer(200, c.get))
				var runs atomic.Int64
				_, err := guardGroceries(s.client(), &runs, succeed)(t.Context(), groceries())
				require.Error(t, err)
				assert.Zero(t, runs.Load())
			})
		})
	}
	for _, body := range []string{
		`{"request_id":"r1","status":"approved"}`, `{"request_id":"r1","status":"failed"}`,
		`{"request_id":"r9","status":"completed"}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t).on("POST", "/requests/r1/confirm", answer(200, body)).
				on("GET", "/requests/r1", answer(200, detail("completed")))
			_, err := s.client().Confirm(t.Context(), "r1", completed())
			require.NoError(t, err)
			assert.Equal(t, []string{postConfirm, getRequest}, s.paths(), "a read shows the outcome")
		})
	}
}

type panickingCodec struct{}

func (panickingCodec) Encode(any) ([]byte, error) { panic("gob: cannot encode nil pointer") }
func (panickingCodec) Decode([]byte, any) error   { return nil }

func TestPanickingCodecDoesNotPreventTheConfirmation(t *testing.T) {
	server := serve(t)
	journal := new(memoryJournal)
	var runs atomic.Int64
	for _, fn := range []func(context.Context) (string, error){
		succeed, func(context.Context) (string, error) { return "", errShop },
	} {
		_, err := guardGroceries(server.Client(), &runs, fn, letagentpay.WithJournal(journal),
			letagentpay.WithResultCodec(panickingCodec{}))(t.Context(), price("5"))
		assert.True(t, err == nil || errors.Is(err, errShop))
	}
	assert.PanicsWithValue(t, "out of cheese", func() {
		_, _ = guardGroceries(server.Client(), &runs, func(context.Context) (string, error) { panic("out of cheese") },
			letagentpay.WithJournal(journal), letagentpay.WithResultCodec(panickingCodec{}))(t.Context(), price("5"))
	})
	books(t, server, "5.00", "0.00")
	assert.Equal(t, []string{"settled", "settled", "settled"}, journal.states())
}

func TestApprovedButUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		server.Fail(letagentpaytest.Fault{Op: operation.Request, Status: 503, Times: 5})
		p := price("30")
		p.IdempotencyKey = "turn-7"
		_, err := server.Client().Authorize(t.Context(), p)
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown, "the purchase is made, so the error must name it")
		assert.Equal(t, "turn-7", unknown.IdempotencyKey)
		assert.Equal(t, server.Requests()[0].RequestID, unknown.RequestID)
		var runs atomic.Int64
		_, err = guardGroceries(server.Client(), &runs, succeed)(
			letagentpay.ResumeApproval(t.Context(), unknown.RequestID), p)
		require.NoError(t, err)
	})
}

func TestResumedFunctionAsksUnderTheKeyOfItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t)
		client := server.Client()
		p := price("30")
		p.IdempotencyKey = "turn-7"
		purchase, err := client.Purchase(t.Context(), p)
		require.NoError(t, err)
		var runs atomic.Int64
		_, err = guardGroceries(client, &runs, func(ctx context.Context) (string, error) {
			_, err := client.Authorize(ctx, p)
			var handled *letagentpay.AlreadyHandledError
			assert.ErrorAs(t, err, &handled, "it must not wait for itself")
			return "", nil
		})(letagentpay.ResumeApproval(t.Context(), purchase.RequestID), price("30"))
		require.NoError(t, err)
	})
	var none letagentpay.Approval
	require.ErrorIs(t, none.Settle(t.Context(), nil), letagentpay.ErrInvalid)
}

func TestResumeUnderAnAlias(t *testing.T) {
	server := serve(t, letagentpaytest.WithAliases(map[string]string{"uber": "taxi"}))
	client := server.Client()
	p := price("30")
	p.Category = "Uber"
	purchase, err := client.Purchase(t.Context(), p)
	require.NoError(t, err)
	elsewhere := server.Client(letagentpay.InProcess(letagentpay.NewProcess()))
	_, err = elsewhere.Authorize(letagentpay.ResumeApproval(t.Context(), purchase.RequestID), p)
	var mismatch *letagentpay.MismatchError
	require.ErrorAs(t, err, &mismatch, "another process cannot know where the alias leads")
	approval, err := client.Authorize(letagentpay.ResumeApproval(t.Context(), purchase.RequestID), p)
	require.NoError(t, err)
	require.NoError(t, approval.Settle(t.Context(), nil))
}

func TestWaitIsNotEndedByAnothersLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
		ids := pendingPurchases(t, server, 2)
		client := server.Client()
		var group sync.WaitGroup
		results := make([]*letagentpay.Request, 2)
		group.Go(func() {
			begun := time.Now()
			_, err := client.WaitForDecision(t.Context(), ids[0], letagentpay.WaitTimeout(10*time.Minute),
				letagentpay.WaitInterval(time.Hour, time.Hour))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.InDelta(t, 600, time.Since(begun).Seconds(), 1)
		})
		for i := range results {
			group.Go(func() {
				time.Sleep(2 * time.Second)
				results[i], _ = client.WaitForDecision(t.Context(), ids[1])
			})
		}
		time.Sleep(time.Minute)
		require.NoError(t, server.Approve(ids[1]))
		group.Wait()
		assert.NotSame(t, results[0], results[1], "each has a request of its own")
		assert.Equal(t, results[0], results[1])
	})
}

func TestOnlyTheServiceIsCertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t).on("POST", "/requests", answer(504, ``),
			answer(400, `<html>bad request</html>`, "Content-Type", "text/html"))
		_, err := s.client().Purchase(t.Context(), groceries())
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown, "a proxy's 400 proves nothing about the first attempt")
	})
}

// bare returns a response without fields that a response should have.
type bare struct{ response *http.Response }

func (b bare) RoundTrip(*http.Request) (*http.Response, error) { return b.response, nil }

func TestOddTransports(t *testing.T) {
	for name, transport := range map[string]http.RoundTripper{
		"neither":   bare{},
		"no body":   bare{&http.Response{StatusCode: 200, Header: http.Header{}}},
		"no header": bare{&http.Response{StatusCode: 503}},
	} {
		_, err := newClient(t, transport, letagentpay.WithMaxRetries(0)).Budget(t.Context())
		var failure *letagentpay.APIError
		require.ErrorAs(t, err, &failure, name)
	}
	client, err := letagentpay.New(letagentpay.WithToken(testToken), letagentpay.WithBaseURL(testBase),
		letagentpay.WithHTTPClient(&http.Client{Transport: fixed{200, "", "", someBudget}, Timeout: -1}))
	require.NoError(t, err)
	_, err = client.Budget(t.Context())
	require.NoError(t, err, "a negative timeout means no timeout, as in net/http")
}

func TestTokenIsNotEchoed(t *testing.T) {
	pad := strings.Repeat("x", 195-len("Authorization: Bearer "))
	for name, responder := range map[string]httpmock.Responder{
		"at the edge of the sample": answer(502, pad+"Authorization: Bearer "+testToken, "Content-Type", "text/plain"),
		"in the content type":       answer(200, `{}`, "Content-Type", testToken),
		"in a field's name": answer(422,
			`{"detail":[{"type":"`+testToken+`","loc":["body","`+testToken+`"],"msg":"m"}]}`),
		"in a decimal":  answer(200, `{"budget":"`+testToken+`","currency":"USD"}`),
		"in a redirect": answer(302, ``, "Location", "https://"+testToken+".example/"),
	} {
		_, err := newService(t).on("GET", "/budget", responder).
			client(letagentpay.WithMaxRetries(0)).Budget(t.Context())
		require.Error(t, err, name)
		for ; err != nil; err = errors.Unwrap(err) {
			assert.NotContains(t, fmt.Sprintf("%v %+v", err, err), "secret-of", name)
		}
	}
}

func TestSpentAtTheEdges(t *testing.T) {
	for actual, sent := range map[string]string{"0.004": "0.01", "9999999.999": "9999999.00"} {
		s := approving(t)
		approval, err := s.client().Authorize(t.Context(), groceries())
		require.NoError(t, err)
		err = approval.Spent(letagentpay.MustAmount(actual), strings.Repeat("u", 2001))
		require.ErrorIs(t, err, letagentpay.ErrInvalid, "the receipt's address is too long")
		assert.Equal(t, actual != "0.004", overspent(err))
		require.NoError(t, approval.Settle(t.Context(), nil))
		assert.JSONEq(t, `{"success":true,"actual_amount":`+sent+`}`, s.recorded()[1].Body)
	}
}

func TestListWithoutEnd(t *testing.T) {
	s := newService(t).on("GET", "/requests", list(item("r1", "2026-03-11T12:00:00Z")))
	var last error
	for _, err := range s.client().Requests(t.Context(), letagentpay.ListParams{PageSize: 1}) {
		last = err
	}
	require.ErrorIs(t, last, letagentpay.ErrMalformedResponse)
	assert.Less(t, len(s.recorded()), 20)
}

func TestOneServiceHoweverItIsSpelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var under, most atomic.Int64
		transport := roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				return list(item("r1", "2026-03-11T12:00:00Z"))(r)
			}
			most.Store(max(most.Load(), under.Add(1)))
			time.Sleep(time.Second)
			under.Add(-1)
			return &http.Response{
				StatusCode: 201,
				Header:     http.Header{},
				Body:       io.NopCloser(strings.NewReader(autoApproved)),
				Request:    r,
			}, nil
		})
		var group sync.WaitGroup
		for _, base := range []string{
			"https://spelled.example/agent-api", "https://SPELLED.example:443/agent-api/",
			"HTTPS://spelled.example./agent-api",
		} {
			client := newClient(t, transport, letagentpay.WithBaseURL(base))
			group.Go(func() {
				p := groceries()
				p.IdempotencyKey = "one"
				_, err := client.Purchase(t.Context(), p)
				assert.NoError(t, err)
			})
		}
		group.Wait()
		assert.EqualValues(t, 1, most.Load())
	})
}
