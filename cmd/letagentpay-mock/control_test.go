package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/internal/conformance"
)

var taxiRide = letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("30"), Category: "taxi"}

// controlled drives the program through its control API.
type controlled struct {
	control string
	root    string
	tokens  map[string]string
}

func (c *controlled) send(method, path string, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequest(method, c.control+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

func (c *controlled) order(method, path string, body any) error {
	raw, ok := body.([]byte)
	if !ok {
		raw, _ = json.Marshal(body)
	}
	status, answer, err := c.send(method, path, raw)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s answered %d: %s", path, status, answer)
	}
	return err
}

func (c *controlled) Reset(setup json.RawMessage) error {
	status, answer, err := c.send(http.MethodPut, "/scenario", setup)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%d: %s", status, answer)
	}
	var begun overview
	err = json.Unmarshal(answer, &begun)
	c.root, c.tokens = strings.TrimSuffix(begun.BaseURL, "/agent-api"), begun.Agents
	if c.tokens["main"] != begun.Token {
		return fmt.Errorf("the token is not that of main: %s", answer)
	}
	return err
}

func (c *controlled) Root() string                               { return c.root }
func (c *controlled) Token(agent string) string                  { return c.tokens[agent] }
func (c *controlled) Do(r *http.Request) (*http.Response, error) { return http.DefaultClient.Do(r) }

func (c *controlled) Sweep() error { return c.order(http.MethodPost, "/sweep", struct{}{}) }

func (c *controlled) Patch(target string, fields []byte) error {
	return c.order(http.MethodPatch, "/"+target, fields)
}

func (c *controlled) SetRate(pair, rate string) error {
	return c.order(http.MethodPost, "/rates", map[string]string{"pair": pair, "rate": rate})
}

func (c *controlled) Advance(seconds json.Number) error {
	return c.order(http.MethodPost, "/clock", map[string]json.Number{"advance_seconds": seconds})
}

func (c *controlled) Decide(requestID string, approve bool) (refused bool, err error) {
	verdict := "reject"
	if approve {
		verdict = "approve"
	}
	status, answer, err := c.send(http.MethodPost, "/requests/"+requestID+"/"+verdict, nil)
	if err == nil && status != http.StatusOK && status != http.StatusConflict {
		err = fmt.Errorf("%d: %s", status, answer)
	}
	return status != http.StatusOK, err
}

func TestConformanceThroughTheControlAPI(t *testing.T) {
	scenarios, err := conformance.Load("../../letagentpaytest/testdata/conformance")
	require.NoError(t, err)
	require.Len(t, scenarios, 253)
	mock := launch(t)
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			require.NoError(t, conformance.Play(&controlled{control: mock.ControlURL}, s))
		})
	}
}

func TestScenarioStartsOver(t *testing.T) {
	mock := launch(t)
	response, first := send(t, "PUT", mock.ControlURL+"/scenario", `{"name": "a recorded one", "steps": [{}],
		"start": "2026-03-11T12:00:00Z", "account": {"currency": "EUR"}, "agent": {"budget": 500},
		"agents": {"second": {"budget": 5, "account": "theirs"}}, "accounts": {"theirs": {}},
		"rates": {"USDC/USD": "1"}}`)
	require.Equal(t, 200, response.StatusCode)
	assert.Equal(t, mock.BaseURL, first["base_url"])
	assert.Contains(t, first["now"], "2026-03-11T12:00:0")
	tokens := first["agents"].(map[string]any)
	assert.Len(t, tokens, 2)
	assert.Equal(t, first["token"], tokens["main"])

	for name, want := range map[string]string{"main": "EUR", "second": "USD"} {
		mock.Token = tokens[name].(string)
		budget, err := mock.client(t).Budget(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, budget.Currency)
	}
	_, second := send(t, "PUT", mock.ControlURL+"/scenario", `{}`)
	assert.NotEqual(t, first["token"], second["token"])
	_, err := mock.client(t).Budget(t.Context())
	assert.ErrorIs(t, err, letagentpay.ErrUnauthorized, "a token of the earlier scenario")
}

func TestStateShowsAll(t *testing.T) {
	mock := launch(t)
	_, err := mock.client(t).Purchase(t.Context(), taxiRide)
	require.NoError(t, err)
	response, _ := send(t, "GET", mock.ControlURL+"/state", "")
	var seen state
	require.NoError(t, json.NewDecoder(response.Body).Decode(&seen))
	assert.Equal(t, mock.Token, seen.Token)
	assert.Equal(t, map[string]string{"main": mock.Token}, seen.Agents)
	assert.False(t, seen.Now.IsZero())
	assert.Equal(t, letagentpay.MustAmount("30"), seen.Budgets["main"].Held)
	assert.Equal(t, letagentpay.MustAmount("970"), seen.Budgets["main"].Remaining)
	require.Len(t, seen.Requests, 1)
	assert.Equal(t, letagentpay.StatusPending, seen.Requests[0].Status)
	assert.Equal(t, "taxi", seen.Requests[0].Category)
	require.Len(t, seen.Calls, 1)
	assert.Equal(t, 201, seen.Calls[0].Status)
	assert.NotContains(t, fmt.Sprint(seen.Calls), mock.Token)

	send(t, "PUT", mock.ControlURL+"/scenario", `{}`)
	_, fresh := send(t, "GET", mock.ControlURL+"/state", "")
	assert.Equal(t, []any{}, fresh["requests"], "a list even when empty")
	assert.Equal(t, []any{}, fresh["calls"])
}

func TestDecisions(t *testing.T) {
	mock := launch(t)
	client := mock.client(t)
	ask := func() string {
		purchase, err := client.Purchase(t.Context(), taxiRide)
		require.NoError(t, err)
		return mock.ControlURL + "/requests/" + purchase.RequestID
	}
	request := ask()
	response, answer := send(t, "POST", request+"/reject", "")
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, "rejected", answer["status"])
	response, answer = send(t, "POST", request+"/approve", "")
	assert.Equal(t, 409, response.StatusCode)
	assert.Contains(t, answer["error"], "(rejected): the request is not pending")

	request = ask()
	send(t, "POST", mock.ControlURL+"/clock", `{"advance_seconds": 1800.5}`)
	response, answer = send(t, "POST", request+"/approve", "")
	assert.Equal(t, 409, response.StatusCode)
	assert.Contains(t, answer["error"], "expired now")

	response, answer = send(t, "POST", mock.ControlURL+"/requests/nobody/approve", "")
	assert.Equal(t, 404, response.StatusCode)
	assert.Equal(t, map[string]any{"error": "request nobody: no such request"}, answer)
}

func TestClockAndSweep(t *testing.T) {
	mock := launch(t)
	clock := func(body string) (int, map[string]any) {
		response, answer := send(t, "POST", mock.ControlURL+"/clock", body)
		return response.StatusCode, answer
	}
	begin := func(start string) {
		response, _ := send(t, "PUT", mock.ControlURL+"/scenario", `{"start": "`+start+`", "agent": {"budget": 100}}`)
		require.Equal(t, 200, response.StatusCode)
	}
	begin("2026-03-11T12:00:00Z")
	status, answer := clock(`{"advance_seconds": 86400}`)
	assert.Equal(t, 200, status)
	assert.Contains(t, answer["now"], "2026-03-12T12:00:0")
	status, answer = clock(`{"set": "2026-04-01T00:00:00+02:00"}`)
	assert.Equal(t, 200, status)
	assert.Contains(t, answer["now"], "2026-03-31T22:00:0")
	status, _ = clock(`{"advance_seconds": 0}`)
	assert.Equal(t, 200, status)
	status, _ = clock(`{"set": "2200-01-01T00:00:00Z"}`)
	assert.Equal(t, 200, status)

	for body, want := range map[string]struct {
		status int
		text   string
	}{
		`{}`: {400, "want either advance_seconds or set"},
		`{"advance_seconds": 1, "set": "2027-01-01T00:00:00Z"}`: {400, "want either advance_seconds or set"},
		`{"advance_seconds": -1}`:                               {409, "does not go back"},
		`{"advance_seconds": -1e300}`:                           {400, "advance_seconds is at most"},
		`{"advance_seconds": 1e300}`:                            {400, "advance_seconds is at most"},
		`{"advance_seconds": 3153600000}`:                       {400, "the clock ends at 2200-01-01T00:00:00Z"},
		`{"set": "2201-01-01T00:00:00Z"}`:                       {400, "the clock ends at 2200-01-01T00:00:00Z"},
		`{"set": "2026-03-11T11:00:00Z"}`:                       {409, "does not go back"},
		`{"advance_seconds": "1"}`:                              {400, "advance_seconds"},
		`{"set": "tomorrow"}`:                                   {400, "tomorrow"},
		`{"advance": 1}`:                                        {400, `unknown field "advance"`},
	} {
		begin("2150-03-11T12:00:00Z")
		status, answer := clock(body)
		assert.Equal(t, want.status, status, body)
		assert.Contains(t, answer["error"], want.text, body)
	}

	begin("2026-03-11T12:00:00Z")
	_, state := send(t, "GET", mock.ControlURL+"/state", "")
	mock.Token = state["token"].(string)
	_, err := mock.client(t).Purchase(t.Context(), taxiRide)
	require.NoError(t, err)
	clock(`{"advance_seconds": 1801}`)
	held := func() any {
		_, state := send(t, "GET", mock.ControlURL+"/state", "")
		return state["budgets"].(map[string]any)["main"].(map[string]any)["held"]
	}
	assert.EqualValues(t, 30, held(), "nobody has looked")
	response, answer := send(t, "POST", mock.ControlURL+"/sweep", "")
	assert.Equal(t, 200, response.StatusCode)
	assert.Contains(t, answer, "now")
	assert.EqualValues(t, 0, held())
}

func TestAgentsAndAccountsArePatched(t *testing.T) {
	mock := launch(t)
	_, begun := send(t, "PUT", mock.ControlURL+"/scenario", `{"agent": {"budget": 100},
		"agents": {"second": {"budget": 50, "account": "theirs"}}, "accounts": {"theirs": {}}}`)
	of := func(name string) *letagentpay.Client {
		mock.Token = begun["agents"].(map[string]any)[name].(string)
		return mock.client(t)
	}
	response, answer := send(t, "PATCH", mock.ControlURL+"/agent", `{"budget": "200", "spent": 20}`)
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, map[string]any{"budget": 200.0, "spent": 20.0, "held": 0.0, "remaining": 180.0}, answer)
	response, _ = send(t, "PATCH", mock.ControlURL+"/agents/second", `{"status": "paused"}`)
	assert.Equal(t, 200, response.StatusCode)
	_, err := of("second").Budget(t.Context())
	assert.ErrorIs(t, err, letagentpay.ErrForbidden)
	budget, err := of("main").Budget(t.Context())
	require.NoError(t, err)
	assert.Equal(t, letagentpay.MustAmount("180"), budget.Remaining)
	send(t, "PATCH", mock.ControlURL+"/agents/second", `{"status": "active"}`)

	response, answer = send(t, "PATCH", mock.ControlURL+"/account", `{"blocked": true}`)
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, map[string]any{}, answer)
	_, err = of("main").Budget(t.Context())
	assert.ErrorContains(t, err, "blocked")
	_, err = of("second").Budget(t.Context())
	assert.NoError(t, err)
	send(t, "PATCH", mock.ControlURL+"/accounts/theirs", `{"all_agents_paused": true}`)
	_, err = of("second").Budget(t.Context())
	assert.ErrorContains(t, err, "paused by account owner")

	for _, test := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/agent", `{"budgett": 1}`, 400, "budgett"},
		{"/agent", `{"budget": "much"}`, 400, "much"},
		{"/agent", `{"status": "asleep"}`, 400, "asleep"},
		{"/agent", `{"policy": 7}`, 400, "policy"},
		{"/agent", `null`, 400, "want a JSON object"},
		{"/agents/nobody", `{}`, 404, `no agent is named "nobody"`},
		{"/account", `{"currency": "moons"}`, 400, "MOONS"},
		{"/account", `{"status": "paused"}`, 400, "status"},
		{"/account", ``, 400, "want a JSON object"},
		{"/accounts/nobody", `{}`, 404, `no account is named "nobody"`},
	} {
		response, answer := send(t, "PATCH", mock.ControlURL+test.path, test.body)
		assert.Equal(t, test.status, response.StatusCode, test)
		assert.Contains(t, answer["error"], test.want)
		assert.NotContains(t, answer["error"], "letagentpaytest")
	}
}

func TestFurtherAgents(t *testing.T) {
	mock := launch(t)
	for _, body := range []string{
		`{"name": "buyer", "budget": 30, "policy": {"auto_approve": {"enabled": true}}}`, `{"budget": 30}`,
		`{"name": "agent-4"}`, `{"budget": 30}`,
	} {
		response, answer := send(t, "POST", mock.ControlURL+"/agents", body)
		require.Equal(t, 201, response.StatusCode, body)
		assert.Contains(t, answer["token"], "agt_")
		assert.NotEmpty(t, answer["id"])
		if answer["name"] == "buyer" {
			mock.Token = answer["token"].(string)
		}
	}
	_, state := send(t, "GET", mock.ControlURL+"/state", "")
	for _, name := range []string{"main", "buyer", "agent-3", "agent-4", "agent-5"} {
		assert.Contains(t, state["agents"], name)
	}
	purchase, err := mock.client(t).Purchase(t.Context(), taxiRide)
	require.NoError(t, err)
	assert.Equal(t, letagentpay.StatusAutoApproved, purchase.Status)

	for body, want := range map[string]int{
		`{"name": "buyer"}`:        409,
		`{"name": "main"}`:         409,
		`{"account": "nobody's"}`:  400,
		`{"status": "asleep"}`:     400,
		`{"bugdet": 3}`:            400,
		`[]`:                       400,
		`{"name": 7}`:              400,
		`{"name": "x"} {"y": "z"}`: 400,
	} {
		response, answer := send(t, "POST", mock.ControlURL+"/agents", body)
		assert.Equal(t, want, response.StatusCode, body)
		assert.NotEmpty(t, answer["error"])
	}
}

func TestRates(t *testing.T) {
	mock := launch(t)
	authorize := func() any {
		_, answer := send(t, "POST", strings.Replace(mock.BaseURL, "agent-api", "x402", 1)+"/authorize",
			`{"payment_requirements": {
				"scheme": "exact", "network": "base", "amount": "1", "asset": "USDC", "pay_to": "x"
			}, "max_amount_usd": 1}`,
			"Authorization", "Bearer "+mock.Token, "Content-Type", "application/json")
		return answer["authorized"]
	}
	assert.Equal(t, true, authorize())
	for _, rate := range []string{`0.5`, `"0.5"`} {
		response, _ := send(t, "POST", mock.ControlURL+"/rates", `{"pair": "USDC/USD", "rate": `+rate+`}`)
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, false, authorize(), "off its peg")
	}
	for body, want := range map[string]string{
		`{"pair": "USDC/USD", "rate": -1}`:     `"-1" is not a number between`,
		`{"pair": "USDC/USD", "rate": "one"}`:  "one",
		`{"pair": "USDC/USD"}`:                 "is not a number",
		`{"pair": "USDC", "rate": 1}`:          "the pair is",
		`{"pair": "/USD", "rate": 1}`:          "the pair is",
		`{"rate": 1}`:                          "the pair is",
		`{"pair": "USDC/USD", "rates": "1.0"}`: "unknown field",
	} {
		response, answer := send(t, "POST", mock.ControlURL+"/rates", body)
		assert.Equal(t, 400, response.StatusCode, body)
		assert.Contains(t, answer["error"], want, body)
	}
}

func TestFaults(t *testing.T) {
	mock := launch(t)
	client := mock.client(t)
	response, answer := send(t, "POST", mock.ControlURL+"/faults",
		`{"op": "budget", "times": -1, "status": 503, "non_json": true}`)
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, map[string]any{}, answer)
	for range 3 {
		_, err := client.Budget(t.Context())
		assert.ErrorIs(t, err, letagentpay.ErrServer)
	}
	response, _ = send(t, "DELETE", mock.ControlURL+"/faults", "")
	assert.Equal(t, 200, response.StatusCode)
	_, err := client.Budget(t.Context())
	assert.NoError(t, err)

	send(t, "POST", mock.ControlURL+"/faults", `{"op": "purchase", "drop": "after", "delay": "1ms"}`)
	_, err = client.Purchase(t.Context(), taxiRide)
	assert.ErrorAs(t, err, new(*letagentpay.OutcomeUnknownError))
	_, state := send(t, "GET", mock.ControlURL+"/state", "")
	assert.Len(t, state["requests"], 1, "it was carried out all the same")

	for body, want := range map[string]string{
		`{}`:                                 "it does nothing",
		`{"op": "dance", "status": 500}`:     `no operation is named "dance"`,
		`{"stauts": 500}`:                    "stauts",
		`{"delay": "soon"}`:                  "soon",
		`{"delay": 1}`:                       "delay",
		`{"delay": "6m"}`:                    "at most 5m0s",
		`{"slow_bytes": "6m"}`:               "at most 5m0s",
		`{"gateway_timeout": "6m"}`:          "at most 5m0s",
		`{"status": 500, "drop": "before"}`:  "a dropped connection carries no answer",
		`{"status": 99}`:                     "99",
		`{"status": 500`:                     "unexpected EOF",
		`{"status": 500}, {"status": 500}`:   "nothing after it",
		`[{"status": 500}]`:                  "want a JSON object",
		`"` + strings.Repeat("x", 100) + `"`: "want a JSON object",
	} {
		response, answer := send(t, "POST", mock.ControlURL+"/faults", body)
		assert.Equal(t, 400, response.StatusCode, body)
		assert.Contains(t, answer["error"], want, body)
	}
	_, err = client.Budget(t.Context())
	assert.NoError(t, err, "none of them was taken")
}

func TestRaces(t *testing.T) {
	mock := launch(t, "-token", "agt_mine")
	send(t, "PUT", mock.ControlURL+"/scenario", approvingScenario)
	purchase, err := mock.client(t).Purchase(t.Context(), letagentpay.PurchaseParams{
		Amount:         letagentpay.MustAmount("10"),
		Category:       "other",
		IdempotencyKey: "k",
	})
	require.NoError(t, err)
	confirm := "/requests/" + purchase.RequestID + "/confirm"

	response, answer := send(t, "PUT", mock.ControlURL+"/races", `{"confirm": "5m"}`)
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, map[string]any{}, answer)
	assert.Equal(t, 504, behindAGateway(t, mock, "1ms", confirm, `{"success": true}`), "it takes longer")
	assert.Equal(t, 201, behindAGateway(t, mock, "1m", "/requests", tenDollars), "a purchase does not")

	response, _ = send(t, "DELETE", mock.ControlURL+"/races", "")
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, 200, behindAGateway(t, mock, "1m", confirm, `{"success": true}`), "the other has not committed yet")

	for body, want := range map[string]string{
		`{"purchase": "-1s"}`:               "Purchase is -1s",
		`{"purchase": "6m"}`:                "at most 5m0s",
		`{"purchase": "4m", "store": "2m"}`: "at most 5m0s",
		`{"purchase": 6}`:                   "want a JSON object as documented",
		`{"refund": "1s"}`:                  `unknown field "refund"`,
		`[]`:                                "want a JSON object",
	} {
		response, answer := send(t, "PUT", mock.ControlURL+"/races", body)
		assert.Equal(t, 400, response.StatusCode, body)
		assert.Contains(t, answer["error"], want, body)
	}
}

func TestWhatTheControlAPIRefuses(t *testing.T) {
	mock := launch(t)
	for _, test := range []struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		{"GET", "", "", nil, 404, "the control API has no /_control"},
		{"GET", "/", "", nil, 404, "the control API has no /_control/"},
		{"POST", "/requests/x/cancel", "", nil, 404, "letagentpay-mock -help"},
		{"GET", "/clock", "", nil, 405, "there is POST"},
		{"PUT", "/faults", "", nil, 405, "there is DELETE and POST"},
		{"PUT", "/scenario", `{"agents": {"main": {}}}`, nil, 400, "main"},
		{"PUT", "/scenario", `{"start": "today"}`, nil, 400, "today"},
		{"PUT", "/scenario", `{"start": "2201-01-01T00:00:00Z"}`, nil, 400, "the clock ends"},
		{"PUT", "/scenario", `{"agent": {"bugdet": 1}}`, nil, 400, `unknown field "bugdet"`},
		{"PUT", "/scenario", `{"rates": {"USDC/USD": "x"}}`, nil, 400, `rate of "USDC/USD"`},
		{"PUT", "/scenario", `{"agent": {"policy": ` + strings.Repeat("[", 20000), nil, 400, "max depth"},
		{"PUT", "/scenario", `{"name": "` + strings.Repeat("x", maxControlBody) + `"}`, nil, 413, "too large"},
		{"POST", "/sweep", "", []string{"Origin", "https://evil.example"}, 403, "another origin"},
		{"POST", "/sweep", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "another origin"},
	} {
		response, answer := send(t, test.method, mock.ControlURL+test.path, test.body, test.header...)
		assert.Equal(t, test.status, response.StatusCode, "%s %s", test.method, test.path)
		assert.Contains(t, answer["error"], test.want)
		assert.Len(t, answer, 1)
		assert.Equal(t, "application/json", response.Header.Get("Content-Type"))
		if test.status == 405 {
			assert.NotEmpty(t, response.Header.Get("Allow"))
		}
	}
	_, err := mock.client(t).Budget(t.Context())
	assert.NoError(t, err, "a scenario that is refused changes nothing")
}

// brokenBody is a body that ends with an error.
type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestABodyThatBreaksOff(t *testing.T) {
	request, err := http.NewRequest("POST", "/_control/sweep", brokenBody{})
	require.NoError(t, err)
	recorder := httptest.NewRecorder()
	newControl(newService(t)).ServeHTTP(recorder, request)
	assert.Equal(t, 400, recorder.Code)
	assert.JSONEq(t, `{"error": "unexpected EOF"}`, recorder.Body.String())
}
