package letagentpaytest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// send makes one call without a client's retries, and returns what came of it. The path is below the Agent API, or
// begins with /x402.
func send(t *testing.T, srv *letagentpaytest.Server, method, path, body string) (status int, got string, err error) {
	t.Helper()
	base := srv.URL
	if strings.HasPrefix(path, "/x402/") {
		base = strings.TrimSuffix(base, "/agent-api")
	}
	request, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+srv.Token)
	request.Header.Set("Content-Type", "application/json")
	response, err := srv.HTTPClient().Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}

func buy(t *testing.T, srv *letagentpaytest.Server) (status int, got string, err error) {
	t.Helper()
	return send(t, srv, http.MethodPost, "/requests", `{"amount": 5, "category": "taxi"}`)
}

func eachMode(t *testing.T, test func(*testing.T, *letagentpaytest.Server)) {
	for name, options := range map[string][]letagentpaytest.Option{
		"in memory": {letagentpaytest.InMemory()},
		"over HTTP": nil,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, letagentpaytest.NewServer(t, append(options, letagentpaytest.WithPolicyJSON(autoApprove))...))
		})
	}
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault     letagentpaytest.Fault
		status    int
		body      string
		breaks    bool
		committed bool
	}{
		"status": {
			fault:  letagentpaytest.Fault{Status: 503},
			status: 503,
			body:   `{"detail":"Service Unavailable"}`,
		},
		"status and body": {
			fault:  letagentpaytest.Fault{Status: 500, Body: `{"detail": "oops"}`},
			status: 500,
			body:   `{"detail": "oops"}`,
		},
		"status after commit": {
			fault:     letagentpaytest.Fault{Status: 502, AfterCommit: true, Body: "x"},
			status:    502,
			body:      "x",
			committed: true,
		},
		"HTML": {fault: letagentpaytest.Fault{Status: 502, NonJSON: true}, status: 502, body: "<html>"},
		"HTML for an answer": {
			fault:     letagentpaytest.Fault{NonJSON: true},
			status:    201,
			body:      "<html>",
			committed: true,
		},
		"body for an answer": {fault: letagentpaytest.Fault{Body: "{"}, status: 201, body: "{", committed: true},
		"drop before":        {fault: letagentpaytest.Fault{Drop: letagentpaytest.DropBefore}, breaks: true},
		"drop after": {
			fault:     letagentpaytest.Fault{Drop: letagentpaytest.DropAfter},
			breaks:    true,
			committed: true,
		},
		"truncated": {
			fault:     letagentpaytest.Fault{Truncate: 10},
			status:    201,
			body:      `{"auto_app`,
			breaks:    true,
			committed: true,
		},
		"slow": {
			fault:     letagentpaytest.Fault{SlowBytes: time.Microsecond},
			status:    201,
			body:      `{"auto_app`,
			committed: true,
		},
		"late": {
			fault:     letagentpaytest.Fault{Delay: time.Millisecond},
			status:    201,
			body:      `{"auto_app`,
			committed: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, srv *letagentpaytest.Server) {
				srv.Fail(test.fault)
				status, got, err := buy(t, srv)
				assert.Equal(t, test.breaks, err != nil, "%v", err)
				if test.breaks {
					assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
				}
				assert.Equal(t, test.status, status)
				assert.True(t, strings.HasPrefix(got, test.body), got)
				assert.Equal(t, test.committed, len(srv.Requests()) == 1)
				require.Len(t, srv.Calls(), 1, "nothing repeats the call by itself")

				status, _, err = buy(t, srv)
				require.NoError(t, err, "a fault applies once")
				assert.Equal(t, http.StatusCreated, status)
			})
		})
	}
}

func TestFaultsMatchByOperationAndCount(t *testing.T) {
	eachMode(t, func(t *testing.T, srv *letagentpaytest.Server) {
		statusOf := func(method, path, body string) int {
			status, _, err := send(t, srv, method, path, body)
			require.NoError(t, err)
			return status
		}
		get := func(path string) int { return statusOf(http.MethodGet, path, "") }

		srv.Fail(letagentpaytest.Fault{Op: operation.Budget, Times: 2, Status: 500})
		srv.Fail(letagentpaytest.Fault{Op: operation.Policy, Times: -1, Status: 501})
		srv.Fail(letagentpaytest.Fault{Op: operation.Budget, Status: 502})
		assert.Equal(t, 200, get("/categories"))
		assert.Equal(t, []int{500, 500, 502, 200},
			[]int{get("/budget"), get("/budget"), get("/budget"), get("/budget")})
		for range 5 {
			assert.Equal(t, 501, get("/policy"))
		}
		srv.ClearFaults()
		assert.Equal(t, 200, get("/policy"))

		srv.Fail(letagentpaytest.Fault{Status: 599}) // any operation, and paths that are none
		assert.Equal(t, 599, get("/nonsense"))
		assert.Equal(t, 404, get("/nonsense"))

		srv.Fail(letagentpaytest.Fault{Status: 429, Header: http.Header{"retry-after": {"7"}}})
		request, err := http.NewRequest(http.MethodGet, srv.URL+"/budget", nil)
		require.NoError(t, err)
		response, err := srv.HTTPClient().Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		assert.Equal(t, "7", response.Header.Get("Retry-After"))
	})
}

func TestDelaysEndWithTheCall(t *testing.T) {
	for name, fault := range map[string]letagentpaytest.Fault{
		"before":     {Delay: time.Hour},
		"after":      {Delay: time.Hour, AfterCommit: true},
		"drop after": {Delay: time.Hour, Drop: letagentpaytest.DropAfter},
		"slow bytes": {SlowBytes: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
					letagentpaytest.WithPolicyJSON(autoApprove))
				srv.Fail(fault)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/requests",
					strings.NewReader(`{"amount":5,"category":"taxi"}`))
				require.NoError(t, err)
				request.Header.Set("Authorization", "Bearer "+srv.Token)
				began := time.Now()
				response, err := srv.HTTPClient().Do(request)
				if err == nil {
					_, err = io.ReadAll(response.Body)
					response.Body.Close()
				}
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, time.Second, time.Since(began))
				assert.Equal(t, name != "before", len(srv.Requests()) == 1)
			})
		})
	}
}

func TestDelaysEndWithTheServer(t *testing.T) {
	eachMode(t, func(t *testing.T, srv *letagentpaytest.Server) {
		srv.Fail(letagentpaytest.Fault{Delay: time.Hour})
		failed := make(chan error)
		go func() {
			response, err := srv.HTTPClient().Get(srv.URL + "/budget")
			if err == nil {
				response.Body.Close()
			}
			failed <- err
		}()
		for len(srv.Calls()) == 0 { // until the call is under way
			select {
			case err := <-failed:
				t.Fatalf("the call ended early: %v", err)
			default:
				runtime.Gosched()
			}
		}
		srv.Close()
		assert.Error(t, <-failed)
	})
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	for name, fault := range map[string]letagentpaytest.Fault{
		"nothing":           {},
		"unknown operation": {Op: "refund", Status: 500},
		"count":             {Times: -2, Status: 500},
		"status":            {Status: 42},
		"drop":              {Drop: "during"},
		"drop and status":   {Drop: letagentpaytest.DropAfter, Status: 500},
		"negative delay":    {Delay: -1},
		"negative patience": {GatewayTimeout: -1},
		"gateway's drop":    {GatewayTimeout: 1, Drop: letagentpaytest.DropAfter, Status: 502},
		"two bodies":        {Body: "x", NonJSON: true},
		"only after commit": {AfterCommit: true},
	} {
		assert.Error(t, fault.Validate(), name)
		srv, err := letagentpaytest.Start(letagentpaytest.InMemory())
		require.NoError(t, err)
		assert.Panics(t, func() { srv.Fail(fault) }, name)
		srv.Close()
	}
}

func TestFaultFromJSON(t *testing.T) {
	var f letagentpaytest.Fault
	require.NoError(t, json.Unmarshal([]byte(`{"op": "purchase", "times": 3, "status": 502, "after_commit": true,
		"body": "x", "header": {"Retry-After": ["1"]}, "delay": "1.5s", "truncate": 4, "slow_bytes": "10ms",
		"gateway_timeout": "3s"}`), &f))
	assert.Equal(t, letagentpaytest.Fault{
		Op:             operation.Purchase,
		Times:          3,
		Status:         502,
		AfterCommit:    true,
		Body:           "x",
		Header:         http.Header{"Retry-After": {"1"}},
		Delay:          1500 * time.Millisecond,
		Truncate:       4,
		SlowBytes:      10 * time.Millisecond,
		GatewayTimeout: 3 * time.Second,
	}, f)
	require.NoError(t, json.Unmarshal([]byte(`{"drop": "after", "non_json": false}`), &f))
	assert.Equal(t, letagentpaytest.Fault{Drop: letagentpaytest.DropAfter}, f)
	assert.Error(t, json.Unmarshal([]byte(`{"delay": "soon"}`), &f))
	assert.Error(t, json.Unmarshal([]byte(`[]`), &f))
	assert.ErrorContains(t, json.Unmarshal([]byte(`{"status": 502, "after-commit": true}`), &f), "after-commit")
}

// fill sets every field of the struct that value points to, and fails for a type that it does not know.
func fill(t *testing.T, value any) {
	for field, target := range reflect.ValueOf(value).Elem().Fields() {
		switch target.Kind() {
		case reflect.String:
			target.SetString("x")
		case reflect.Bool:
			target.SetBool(true)
		case reflect.Int, reflect.Int64:
			target.SetInt(7)
		case reflect.Map:
			target.Set(reflect.ValueOf(http.Header{"X": {"y"}}))
		case reflect.Func: // has no form in JSON
		default:
			require.Fail(t, "no value for "+field.Name)
		}
	}
}

func TestFaultsAndRacesKeepEachFieldInJSON(t *testing.T) {
	var fault letagentpaytest.Fault
	fill(t, &fault)
	text, err := json.Marshal(fault)
	require.NoError(t, err)
	assert.JSONEq(t, `{"op": "x", "times": 7, "status": 7, "after_commit": true, "body": "x", "non_json": true,
		"header": {"X": ["y"]}, "drop": "x", "delay": "7ns", "gateway_timeout": "7ns", "truncate": 7,
		"slow_bytes": "7ns"}`,
		string(text))
	var again letagentpaytest.Fault
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, fault, again)

	var races letagentpaytest.Races
	fill(t, &races)
	text, err = json.Marshal(&races)
	require.NoError(t, err)
	assert.JSONEq(t, `{"purchase": "7ns", "confirm": "7ns", "store": "7ns"}`, string(text))
	var readBack letagentpaytest.Races
	require.NoError(t, json.Unmarshal(text, &readBack))
	assert.Equal(t, races, readBack)
}

func TestFaultInJSONHasNoZeroFields(t *testing.T) {
	text, err := json.Marshal(letagentpaytest.Fault{Status: 503})
	require.NoError(t, err)
	assert.Equal(t, `{"status":503}`, string(text))
}

func TestCallsShowWhatHappened(t *testing.T) {
	eachMode(t, func(t *testing.T, srv *letagentpaytest.Server) {
		request, err := http.NewRequest(http.MethodPost, srv.URL+"/requests",
			strings.NewReader(`{"amount":5,"category":"taxi"}`))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+srv.Token)
		request.Header.Set("Idempotency-Key", "k-1")
		response, err := srv.HTTPClient().Do(request)
		require.NoError(t, err)
		response.Body.Close()
		srv.Fail(letagentpaytest.Fault{Drop: letagentpaytest.DropAfter})
		_, _, err = send(t, srv, http.MethodGet, "/budget", "")
		require.Error(t, err)
		_, _, err = send(t, srv, http.MethodGet, "/requests?limit=1", "")
		require.NoError(t, err)

		calls := srv.Calls()
		require.Len(t, calls, 3)
		assert.Equal(t, operation.Purchase, calls[0].Op)
		assert.Equal(t, "main", calls[0].Agent)
		assert.Equal(t, "k-1", calls[0].Header.Get("Idempotency-Key"))
		assert.Equal(t, `{"amount":5,"category":"taxi"}`, calls[0].Body)
		assert.Equal(t, http.StatusCreated, calls[0].Status)
		assert.Contains(t, calls[0].ResponseBody, `"auto_approved"`)
		assert.Zero(t, calls[1].Status)
		assert.Equal(t, "/api/v1/agent-api/requests?limit=1", calls[2].Path)
		assert.Len(t, calls.Of(operation.Budget), 1)

		text := calls.String()
		for _, part := range []string{"3 calls", `POST /api/v1/agent-api/requests key "k-1"`, "no answer", "< 201 {"} {
			assert.Contains(t, text, part)
		}
		encoded, err := json.Marshal(calls)
		require.NoError(t, err)
		for _, shown := range []string{text, string(encoded)} {
			assert.NotContains(t, shown, srv.Token)
		}
		srv.ResetCalls()
		assert.Empty(t, srv.Calls())
	})
}
