package letagentpay_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/letagentpay/letagentpay-go"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testToken = "agt_secret-of-this-test"
	testBase  = "https://pay.example/api/v1/agent-api"
)

// service is a scripted service on httpmock: each method and path has a list of answers, the last of which repeats.
type service struct {
	t    *testing.T
	base string // unique, since the memory of a process is shared by all clients of one service
	mock *httpmock.MockTransport

	mu    sync.Mutex
	calls []recorded
}

type recorded struct {
	Method, Path, Query, Body string
	Header                    http.Header
	At                        time.Time
}

var services atomic.Int64

func newService(t *testing.T) *service {
	return &service{
		t:    t,
		base: fmt.Sprintf("https://pay-%d.example/api/v1/agent-api", services.Add(1)),
		mock: httpmock.NewMockTransport(),
	}
}

// on scripts the answers to one method and path, relative to the base URL.
func (s *service) on(method, path string, answers ...httpmock.Responder) *service {
	s.mock.RegisterResponder(method, s.base+path, func(r *http.Request) (*http.Response, error) {
		body := ""
		if r.Body != nil {
			data, err := io.ReadAll(r.Body)
			require.NoError(s.t, err)
			body = string(data)
		}
		s.mu.Lock()
		s.calls = append(s.calls, recorded{r.Method, r.URL.Path, r.URL.RawQuery, body, r.Header.Clone(), time.Now()})
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		s.mu.Unlock()
		return answer(r)
	})
	return s
}

func (s *service) recorded() []recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]recorded(nil), s.calls...)
}

// paths returns the calls made as "METHOD path".
func (s *service) paths() []string {
	var paths []string
	for _, call := range s.recorded() {
		paths = append(paths, call.Method+" "+strings.TrimPrefix(call.Path, "/api/v1/agent-api"))
	}
	return paths
}

func (s *service) client(opts ...letagentpay.Option) *letagentpay.Client {
	return newClient(s.t, s.mock, append([]letagentpay.Option{letagentpay.WithBaseURL(s.base)}, opts...)...)
}

func newClient(t testing.TB, transport http.RoundTripper, opts ...letagentpay.Option) *letagentpay.Client {
	t.Helper()
	client, err := letagentpay.New(append([]letagentpay.Option{
		letagentpay.WithToken(testToken), letagentpay.WithBaseURL(testBase),
		letagentpay.WithHTTPClient(&http.Client{Transport: transport}),
	}, opts...)...)
	require.NoError(t, err)
	return client
}

// answer responds with JSON, and with header as names and values in turn.
func answer(status int, body string, header ...string) httpmock.Responder {
	return func(r *http.Request) (*http.Response, error) {
		response := httpmock.NewStringResponse(status, body)
		response.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			response.Header.Set(header[i], header[i+1])
		}
		response.Request = r
		return response, nil
	}
}

// broken responds with err in place of an answer.
func broken(err error) httpmock.Responder {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// hangs blocks until the request's context ends.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

const (
	autoApproved = `{"request_id":"r1","status":"auto_approved","currency":"USD","category":"groceries",
		"original_category":null,"auto_approved":true,"budget_remaining":"450.01","expires_at":null,
		"policy_check":{"passed":true,"checks":[{"rule":"status","result":"pass","detail":"ok"}]}}`
	pendingAnswer = `{"request_id":"r1","status":"pending","currency":"USD","category":"groceries",
		"original_category":null,"auto_approved":false,"budget_remaining":null,"expires_at":"2026-03-11T12:30:00Z",
		"policy_check":{"passed":true,"checks":[]}}`
	rejectedAnswer = `{"request_id":"r1","status":"rejected","currency":"USD","category":"other",
		"original_category":"Yachts","auto_approved":false,"budget_remaining":null,"expires_at":null,
		"policy_check":{"passed":false,"checks":[{"rule":"status","result":"pass","detail":"active"},
			{"rule":"budget","result":"fail","detail":"500.00 left"}]}}`
	confirmed = `{"request_id":"r1","status":"completed","actual_amount":"47.50"}`

	failedAnswer = `{"request_id":"r1","status":"failed","actual_amount":null}`
)

// undecided returns the answer to a purchase with any status that is not a decision.
func undecided(status string) string {
	return strings.Replace(pendingAnswer, `"pending"`, `"`+status+`"`, 1)
}

func detail(status string) string {
	return `{"request_id":"r1","status":"` + status + `","amount":49.99,"category":"groceries",` +
		`"created_at":"2026-03-11T12:00:00.123456+00:00","reviewed_at":null}`
}

func groceries() letagentpay.PurchaseParams {
	return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("49.99"), Category: "groceries"}
}

// notApproved returns the *NotApprovedError of a status in err.
func notApproved(err error, status letagentpay.Status) (*letagentpay.NotApprovedError, bool) {
	refused, ok := errors.AsType[*letagentpay.NotApprovedError](err)
	if !ok || refused.Status != status {
		return nil, false
	}
	return refused, true
}

// refusedAs returns a check for a *NotApprovedError of a status.
func refusedAs(status letagentpay.Status) func(error) bool {
	return func(err error) bool {
		_, ok := notApproved(err, status)
		return ok
	}
}

// requireError requires no error for nil, a *NotApprovedError for a status, a match by [errors.Is] for an error, and a
// match by [errors.As] for a target.
func requireError(t *testing.T, err error, want any) {
	t.Helper()
	switch want := want.(type) {
	case nil:
		require.NoError(t, err)
	case letagentpay.Status:
		require.True(t, refusedAs(want)(err), "got %v", err)
	case error:
		require.ErrorIs(t, err, want)
	default:
		require.ErrorAs(t, err, want)
	}
}

func overspent(err error) bool {
	_, ok := errors.AsType[*letagentpay.OverspendError](err)
	return ok
}
