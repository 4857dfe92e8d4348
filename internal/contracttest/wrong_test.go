package contracttest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/internal/docs"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// A server that answers wrongly, in one way at a time, is caught.
func TestWrongAnswersAreCaught(t *testing.T) {
	w := newWorld(t, loadContract(t))
	purchased, err := w.client(t).Purchase(t.Context(), of("60"))
	require.NoError(t, err)
	w.transport.Take()
	ask := func(method, path string) *Exchange {
		body := ""
		if method == http.MethodPost {
			body = `{"amount": 1, "category": "taxi"}`
		}
		request, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+w.Token)
		request.Header.Set("Content-Type", "application/json")
		response, err := w.transport.RoundTrip(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		exchanges := w.transport.Take()
		require.Len(t, exchanges, 1)
		return exchanges[0]
	}
	read := "/requests/" + purchased.RequestID
	for kind, test := range map[string]struct {
		method, path string
		fault        letagentpaytest.Fault
		want         string
	}{
		"wrong type: text for a number": {
			"GET", read,
			letagentpaytest.Fault{Body: `{"request_id": "x", "status": "pending", "amount": "1.00",
				"category": "taxi", "created_at": "2026-03-11T12:00:00+00:00", "reviewed_at": null}`},
			"/amount",
		},
		"wrong type: a number for text": {
			"GET", "/budget",
			letagentpaytest.Fault{
				Body: `{"budget": 1, "spent": "0.00", "held": "0.00", "remaining": "1.00", "currency": "USD"}`,
			},
			"/budget",
		},
		"wrong type: null for text": {
			"GET", "/budget",
			letagentpaytest.Fault{
				Body: `{"budget": "1.00", "spent": "0.00", "held": "0.00", "remaining": "1.00", "currency": null}`,
			},
			"/currency",
		},
		"wrong type: an object for a list": {
			"GET", "/categories", letagentpaytest.Fault{Body: `{"categories": {}}`}, "/categories",
		},
		"missing field": {
			"GET", "/budget",
			letagentpaytest.Fault{Body: `{"budget": "1.00", "spent": "0.00", "held": "0.00", "currency": "USD"}`},
			`property "remaining" is missing`,
		},
		"undocumented field": {
			"GET", "/categories",
			letagentpaytest.Fault{Body: `{"categories": [], "total": 0}`},
			`property "total" is unsupported`,
		},
		"malformed decimal": {
			"GET", "/budget",
			letagentpaytest.Fault{
				Body: `{"budget": "1,00", "spent": "0.00", "held": "0.00", "remaining": "1.00", "currency": "USD"}`,
			},
			"/budget",
		},
		"malformed time": {
			"GET", read,
			letagentpaytest.Fault{Body: `{"request_id": "x", "status": "pending", "amount": 1,
				"category": "taxi", "created_at": "yesterday+00:00", "reviewed_at": null}`},
			"/created_at",
		},
		"the other form of a time": {
			"GET", read,
			letagentpaytest.Fault{Body: `{"request_id": "x", "status": "pending", "amount": 1,
				"category": "taxi", "created_at": "2026-03-11T12:00:00Z", "reviewed_at": null}`},
			"/created_at",
		},
		"unknown state of a request": {
			"GET", read,
			letagentpaytest.Fault{Body: `{"request_id": "x", "status": "lost", "amount": 1,
				"category": "taxi", "created_at": "2026-03-11T12:00:00+00:00", "reviewed_at": null}`},
			"/status",
		},
		"the answer of another operation": {
			"GET", "/budget", letagentpaytest.Fault{Body: `{"categories": []}`}, `property "budget" is missing`,
		},
		"undocumented status": {
			"GET", "/budget", letagentpaytest.Fault{Status: 418}, "the status 418 is not documented",
		},
		"status of another operation": {
			"GET", "/budget", letagentpaytest.Fault{Status: 409}, "the status 409 is not documented",
		},
		"another success": {
			"POST", "/requests",
			letagentpaytest.Fault{Status: 200, AfterCommit: true},
			"the status 200 is not documented",
		},
		"redirect": {
			"GET", "/budget",
			letagentpaytest.Fault{Status: 307, Header: http.Header{"Location": {"/"}}},
			"the status 307 is not documented",
		},
		"an error without a detail": {
			"GET", "/budget",
			letagentpaytest.Fault{Status: 403, Body: `{"error": "no"}`},
			`property "detail" is missing`,
		},
		"an error with a list for a text": {
			"GET", "/budget", letagentpaytest.Fault{Status: 403, Body: `{"detail": []}`}, "/detail",
		},
		"a 422 with a text for a list": {
			"POST", "/requests", letagentpaytest.Fault{Status: 422, Body: `{"detail": "no"}`}, "/detail",
		},
		"a 422 with an empty list": {
			"POST", "/requests", letagentpaytest.Fault{Status: 422, Body: `{"detail": []}`}, "/detail",
		},
		"a 422 that does not say where": {
			"POST", "/requests",
			letagentpaytest.Fault{Status: 422, Body: `{"detail": [{"type": "missing", "msg": "x"}]}`},
			`property "loc" is missing`,
		},
		"a 422 with an object as a place": {
			"POST", "/requests",
			letagentpaytest.Fault{Status: 422, Body: `{"detail": [{"type": "missing", "msg": "x", "loc": [{}]}]}`},
			"/loc",
		},
		"no JSON": {
			"GET", "/budget", letagentpaytest.Fault{Body: `{"budget": `}, "response body",
		},
		"HTML": {
			"GET", "/budget", letagentpaytest.Fault{NonJSON: true}, "Content-Type",
		},
		"another content type": {
			"GET", "/categories",
			letagentpaytest.Fault{Header: http.Header{"Content-Type": {"text/plain"}}},
			"Content-Type",
		},
		"a path there is not, as if it were": {
			"GET", "/nothing", letagentpaytest.Fault{Status: 200}, "the status is 200, want 404",
		},
		"a path there is not, without an explanation": {
			"GET", "/nothing", letagentpaytest.Fault{Status: 404, Body: `{}`}, `property "detail" is missing`,
		},
		"a path there is not, without JSON": {
			"GET", "/nothing", letagentpaytest.Fault{Status: 404, Body: `no`}, "invalid character",
		},
		"a method there is not, as if there were no path": {
			"DELETE", "/budget", letagentpaytest.Fault{Status: 404}, "the status is 404, want 405",
		},
	} {
		t.Run(kind, func(t *testing.T) {
			healthy := ask(test.method, test.path)
			require.NoError(t, healthy.CheckResponse(), healthy)
			w.Fail(test.fault)
			wrong := ask(test.method, test.path)
			assert.ErrorContains(t, wrong.CheckResponse(), test.want, wrong)
		})
	}
}

// mutants yields what becomes of a value when one thing anywhere in it is wrong, by what that is.
func mutants(place string, value any, yield func(what string, mutant any)) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			here := place + "/" + key
			without := maps.Clone(value)
			delete(without, key)
			yield("without "+here, without)
			with := func(what string, changed any) {
				mutant := maps.Clone(value)
				mutant[key] = changed
				yield(what, mutant)
			}
			with("a wrong type at "+here, map[string]any{"of": "another type"})
			mutants(here, inner, with)
		}
		more := maps.Clone(value)
		more["undocumented"] = true
		yield("more than documented at "+place+"/", more)
	case []any:
		for i, inner := range value {
			with := func(what string, changed any) {
				mutant := append([]any(nil), value...)
				mutant[i] = changed
				yield(what, mutant)
			}
			here := fmt.Sprintf("%s/%d", place, i)
			with("a wrong type at "+here, map[string]any{"of": "another type"})
			mutants(here, inner, with)
		}
	}
}

// free tells the places where the contract allows anything.
func free(what string) bool {
	for _, place := range []string{"/policy", "/input", "/ctx"} {
		if strings.Contains(what, place+"/") {
			return true
		}
	}
	return strings.HasSuffix(what, "/input") || strings.HasSuffix(what, "/ctx") || what == "a wrong type at /policy"
}

// Of every kind of answer that was recorded, each field is left out, given another type, and joined by one that is not
// documented: the contract catches each.
func TestEveryFieldOfEveryAnswerCounts(t *testing.T) {
	seen, caught := map[string]int{}, 0
	replay(t, func(scenario string, e *Exchange) {
		kind := fmt.Sprint(e.Operation(), " ", e.Status)
		if e.Operation() == "" || seen[kind] == 10 {
			return
		}
		seen[kind]++
		var body any
		require.NoError(t, json.Unmarshal(e.ResponseBody, &body))
		mutants("", body, func(what string, mutant any) {
			if free(what) {
				return
			}
			data, err := json.Marshal(mutant)
			require.NoError(t, err)
			wrong := *e
			wrong.ResponseBody = data
			caught++
			assert.Error(t, wrong.CheckResponse(), "%s: %s: %v", kind, what, &wrong)
		})
	})
	assert.Greater(t, len(seen), 35, "kinds of answers: %v", seen)
	assert.Greater(t, caught, 3000)
	t.Logf("%d wrong answers of %d kinds caught", caught, len(seen))
}

func TestWrongRequestsAreCaught(t *testing.T) {
	contract := loadContract(t)
	for kind, test := range map[string]struct{ method, path, body, header, want string }{
		"missing field": {
			"POST", "/agent-api/requests", `{"amount": 1}`, "", `property "category" is missing`,
		},
		"wrong type": {
			"POST", "/agent-api/requests", `{"amount": true, "category": "taxi"}`, "", "/amount",
		},
		"amount of nothing": {"POST", "/agent-api/requests", `{"amount": 0, "category": "taxi"}`, "", "/amount"},
		"amount of nothing, text": {
			"POST", "/agent-api/requests", `{"amount": "0.00", "category": "taxi"}`, "", "/amount",
		},
		"too much": {
			"POST", "/agent-api/requests", `{"amount": 10000000, "category": "taxi"}`, "", "/amount",
		},
		"too long": {
			"POST", "/agent-api/requests", `{"amount": 1, "category": "` + strings.Repeat("x", 51) + `"}`, "",
			"/category",
		},
		"undocumented field": {
			"POST", "/agent-api/requests", `{"amount": 1, "category": "taxi", "merchant": "x"}`, "",
			`"merchant" is unsupported`,
		},
		"no body":         {"POST", "/agent-api/requests", "", "", "body"},
		"a body too many": {"GET", "/agent-api/budget", "{}", "", "body"},
		"another content type": {
			"POST", "/agent-api/requests", `{"amount": 1, "category": "taxi"}`, "Content-Type: text/plain",
			"Content-Type",
		},
		"no token":               {"GET", "/agent-api/budget", "", "Authorization: ", "no bearer token"},
		"undocumented parameter": {"GET", "/agent-api/requests?page=2", "", "", `"page" is not documented`},
		"wrong parameter":        {"GET", "/agent-api/requests?limit=all", "", "", "limit"},
		"unknown path":           {"GET", "/agent-api/request", "", "", "no matching operation"},
		"unknown method":         {"PUT", "/agent-api/requests", "", "", "method not allowed"},
	} {
		request, err := http.NewRequest(test.method, "https://pay.example/api/v1"+test.path,
			strings.NewReader(test.body))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer agt_test")
		request.Header.Set("Content-Type", "application/json")
		if name, value, ok := strings.Cut(test.header, ": "); ok {
			request.Header.Set(name, value)
		}
		e := contract.Exchange(request, []byte(test.body), 200, nil, nil)
		assert.ErrorContains(t, e.CheckRequest(), test.want, kind)
		assert.NotContains(t, e.String(), "agt_test")
	}
}

func TestUnsoundContractsAreRefused(t *testing.T) {
	for what, change := range map[string][2]string{
		"not YAML":               {"openapi: 3.0.3", "openapi: [3.0.3"},
		"a reference to nothing": {"$ref: \"#/components/schemas/Budget\"", "$ref: \"#/components/schemas/Bucket\""},
		"no version":             {`  version: "1"`, ""},
		"an example that is off": {`{budget: "500.00", spent: "47.50"`, `{budget: 500, spent: "47.50"`},
	} {
		changed := strings.Replace(string(docs.OpenAPI), change[0], change[1], 1)
		require.NotEqual(t, string(docs.OpenAPI), changed, what)
		_, err := Parse([]byte(changed))
		assert.Error(t, err, what)
	}
}

// brokenTransport fails, or answers with a body that does.
type brokenTransport struct{ response *http.Response }

func (b brokenTransport) RoundTrip(*http.Request) (*http.Response, error) {
	if b.response == nil {
		return nil, io.ErrClosedPipe
	}
	return b.response, nil
}

type brokenBody struct{ io.Closer }

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestTransportKeepsWhatIsWhole(t *testing.T) {
	contract := loadContract(t)
	request, err := http.NewRequest("GET", "https://pay.example/api/v1/agent-api/budget", nil)
	require.NoError(t, err)
	failing := &Transport{Contract: contract, Next: brokenTransport{}}
	_, err = failing.RoundTrip(request)
	assert.ErrorIs(t, err, io.ErrClosedPipe)
	failing.Next = brokenTransport{&http.Response{Body: brokenBody{io.NopCloser(nil)}}}
	_, err = failing.RoundTrip(request)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	request.Body = brokenBody{io.NopCloser(nil)}
	_, err = failing.RoundTrip(request)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Empty(t, failing.Take())
}
