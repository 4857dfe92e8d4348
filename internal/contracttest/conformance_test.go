package contracttest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/internal/conformance"
	"github.com/letagentpay/letagentpay-go/internal/docs"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func loadContract(t *testing.T) *Contract {
	t.Helper()
	contract, err := Parse(docs.OpenAPI)
	require.NoError(t, err)
	return contract
}

// replay plays all recorded scenarios in process, and hands each exchange to check.
func replay(t *testing.T, check func(scenario string, e *Exchange)) {
	t.Helper()
	scenarios, err := conformance.Load("../../letagentpaytest/testdata/conformance")
	require.NoError(t, err)
	server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	transport := &Transport{Contract: loadContract(t), Next: server.HTTPClient().Transport}
	target := conformance.Embedded{Server: server, Client: &http.Client{Transport: transport}}
	for _, s := range scenarios {
		require.NoError(t, conformance.Play(target, s), s.Name)
		for _, e := range transport.Take() {
			check(s.Name, e)
		}
	}
}

// lenient are the scenarios in which the service takes what its contract does not promise to take, with the number of
// such calls.
var lenient = map[string]int{
	"lifecycle/confirm_body_validation":      4, // "yes" and 1 for true, an unknown field
	"validation/content_types":               2, // none, and another kind of JSON
	"validation/extra_and_duplicate_keys":    1, // an unknown field
	"auth/invalid_body_while_paused":         1, // refused before the body is looked at
	"lifecycle/confirm_bad_json_and_unknown": 1, // a path without an id
}

func TestRecordedScenariosKeepToTheContract(t *testing.T) {
	answers, requests, refusals := map[int]int{}, 0, 0
	operations, deviations := map[string]bool{}, map[string]int{}
	replay(t, func(scenario string, e *Exchange) {
		answers[e.Status]++
		operations[e.Operation()] = true
		assert.NoError(t, e.CheckResponse(), "%s: %v", scenario, e)
		err := e.CheckRequest()
		switch {
		case e.Status == http.StatusUnauthorized: // without a token, or with the token and the body of nobody
		case e.Status == http.StatusUnprocessableEntity:
			if strings.Contains(string(e.ResponseBody), "Unsupported currency") {
				break // a list of currencies is not in the contract
			}
			refusals++
			assert.Error(t, err, "the service refused what the contract allows: %s: %v", scenario, e)
		case err != nil:
			deviations[scenario]++
			assert.Contains(t, lenient, scenario, "%v: %v", err, e)
		default:
			requests++
		}
	})
	assert.Equal(t, lenient, deviations)
	for _, operation := range loadContract(t).Operations() {
		assert.True(t, operations[operation], "%s is never called", operation)
	}
	total := 0
	for _, n := range answers {
		total += n
	}
	assert.Equal(t, 2618, total, "exchanges")
	assert.Equal(t, 2431, requests)
	assert.Equal(t, 150, refusals)
	t.Logf("%d answers by status %v; %d valid requests, %d refused by service and contract alike", total, answers,
		requests, refusals)
}
