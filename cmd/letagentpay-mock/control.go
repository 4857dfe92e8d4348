package main

import (
	"bytes"
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

const (
	controlPrefix = "/_control"
	agentAPI      = "/api/v1/agent-api"

	maxControlBody = 4 << 20
	maxDelay       = 5 * time.Minute            // of a fault or a race: the answer must fit into exchangeTimeout
	maxAdvance     = 100 * 365 * 24 * time.Hour // a time.Duration holds it without loss
)

// clockEnd is the latest time of the clock, well inside the range of timestamps.
var (
	clockEnd    = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	errClockEnd = fmt.Errorf("the clock ends at %s", clockEnd.Format(time.RFC3339))
)

// control is the control API. Its calls run one at a time: what a call looks up is still true when it acts.
type control struct {
	service *letagentpaytest.Server
	mu      sync.Mutex
}

// action carries out one control call. The result is sent as JSON. An error is sent with the status of its
// *statusError, or else with 400.
type action func(c *control, r *http.Request, body []byte) (any, error)

// controlRoute is one call of the control API.
type controlRoute struct {
	method string
	path   string // below controlPrefix
	act    action
	help   string // for the usage text: what the call takes, then what it does
}

// controlRoutes is the control API: the calls that it serves, and the list of them in the usage text.
var controlRoutes = []controlRoute{
	{
		method: http.MethodPut,
		path:   "/scenario",
		act:    (*control).putScenario,
		help: `{"start"?, "account"?, "agent"?, "agents"?, "accounts"?, "rates"?}
			Starts over with these. Answers base_url, token, now, agents (tokens by name).`,
	},
	{
		method: http.MethodPost,
		path:   "/requests/{id}/approve",
		act:    decide((*letagentpaytest.Server).Approve),
		help: `Approves a pending request, as its owner would. 409 when the request is not
			pending, or expired.`,
	},
	{
		method: http.MethodPost,
		path:   "/requests/{id}/reject",
		act:    decide((*letagentpaytest.Server).Reject),
		help:   `Rejects a pending request in the same way.`,
	},
	{
		method: http.MethodPost,
		path:   "/clock",
		act:    (*control).setClock,
		help: `{"advance_seconds": 1800} or {"set": "2026-03-11T12:00:00Z"}
			Moves the clock, forward only.`,
	},
	{
		method: http.MethodPost,
		path:   "/sweep",
		act:    (*control).sweep,
		help: `Expires what is overdue. Without this call it happens every minute. After a
			scenario it happens only here, on a read, or on an approval that comes too
			late.`,
	},
	{
		method: http.MethodPatch,
		path:   "/agent",
		act:    (*control).patchAgent,
		help: `{"status"?, "budget"?, "spent"?, "held"?, "policy"?, "auto_replenish"?}
			Changes any of these of the agent "main".`,
	},
	{
		method: http.MethodPatch,
		path:   "/agents/{name}",
		act:    (*control).patchAgent,
		help:   `The same for another agent.`,
	},
	{
		method: http.MethodPatch,
		path:   "/account",
		act:    (*control).patchAccount,
		help: `{"currency"?, "timezone"?, "request_expiry_minutes"?, "categories"?,
			"aliases"?, "budget_rules"?, "blocked"?, "all_agents_paused"?}
			Changes any of these of the account "main".`,
	},
	{
		method: http.MethodPatch,
		path:   "/accounts/{name}",
		act:    (*control).patchAccount,
		help:   `The same for another account.`,
	},
	{
		method: http.MethodPost,
		path:   "/agents",
		act:    (*control).addAgent,
		help: `{"name"?, "account"?, "budget"?, "policy"?, ...}
			Adds an agent, and answers its token.`,
	},
	{
		method: http.MethodPost,
		path:   "/rates",
		act:    (*control).setRate,
		help: `{"pair": "EURC/USD", "rate": "1.08"}
			Sets an exchange rate.`,
	},
	{
		method: http.MethodPost,
		path:   "/faults",
		act:    (*control).addFault,
		help: `{"op"?, "times"?, "status"?, "after_commit"?, "body"?, "non_json"?, "header"?,
			"drop"?: "before" | "after", "delay"?: "1.5s", "truncate"?,
			"slow_bytes"?: "10ms", "gateway_timeout"?: "3s"}
			Injects a fault. op is purchase, confirm, request, requests, budget, policy,
			categories or x402_*; times -1 lasts until the faults are cleared. When a call
			takes longer than gateway_timeout, by its delay or by races, the client gets
			the status (504) or the drop at that time, and the call is carried out later.`,
	},
	{
		method: http.MethodDelete,
		path:   "/faults",
		act:    (*control).clearFaults,
		help:   `Clears all faults.`,
	},
	{
		method: http.MethodPut,
		path:   "/races",
		act:    (*control).setRaces,
		help: `{"purchase"?: "6s", "confirm"?: "50ms", "store"?: "10ms"}
			Lets overlapping calls race, as -races does. A purchase checks its
			Idempotency-Key, waits, commits, waits for "store" and stores its answer, so
			overlapping ones under one key each buy. A confirmation checks the status,
			waits and commits, so overlapping failures each refund. Calls continue without
			their clients. A new scenario keeps this setting.`,
	},
	{
		method: http.MethodDelete,
		path:   "/races",
		act:    (*control).endRaces,
		help:   `Carries out each call at one instant again.`,
	},
	{
		method: http.MethodGet,
		path:   "/state",
		act:    (*control).state,
		help:   `Answers now, agents, budgets, requests, calls.`,
	},
}

// statusError is an error that is answered with its status.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

func newControl(service *letagentpaytest.Server) http.Handler {
	c, mux := &control{service: service}, http.NewServeMux()
	actions := map[string]map[string]action{} // by path and method
	for _, route := range controlRoutes {
		if actions[route.path] == nil {
			actions[route.path] = map[string]action{}
		}
		actions[route.path][route.method] = route.act
	}
	for path, byMethod := range actions {
		mux.Handle(controlPrefix+path, c.servePath(byMethod))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "the control API has no "+r.URL.Path+"; see letagentpay-mock -help")
	})
	// A web page that is open on this machine must not control the server through the browser.
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusForbidden, "the call comes from a web page of another origin")
	}))
	return sameOrigin.Handler(mux)
}

// requireToken refuses callers that do not send the token.
func requireToken(token string, next http.Handler) http.Handler {
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeError(w, http.StatusUnauthorized,
				"the control API wants Authorization: Bearer and the token given with -token")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// servePath serves the calls of one path, by method.
func (c *control) servePath(actions map[string]action) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		act, ok := actions[r.Method]
		if !ok {
			refuseMethod(w, slices.Sorted(maps.Keys(actions))...)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControlBody))
		if err != nil {
			status := http.StatusBadRequest
			if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
				status = http.StatusRequestEntityTooLarge
			}
			writeError(w, status, err.Error())
			return
		}
		c.mu.Lock()
		result, err := act(c, r, body)
		c.mu.Unlock()
		if err != nil {
			status := http.StatusBadRequest
			if refusal, ok := errors.AsType[*statusError](err); ok {
				status = refusal.status
			}
			writeError(w, status, plain(err))
			return
		}
		status := http.StatusOK
		if _, isNew := result.(newAgent); isNew {
			status = http.StatusCreated
		}
		writeJSON(w, status, result)
	})
}

func refuseMethod(w http.ResponseWriter, allowed ...string) {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeError(w, http.StatusMethodNotAllowed, "method not allowed; there is "+strings.Join(allowed, " and "))
}

// plain returns the text of an error without the prefix of package letagentpaytest, which users of the program do not
// know.
func plain(err error) string { return strings.ReplaceAll(err.Error(), "letagentpaytest: ", "") }

func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"error": message})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // the caller may be gone
}

// decode reads a body that must be one object without unknown keys.
func decode(body []byte, into any) error {
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return errors.New("want a JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("want a JSON object as documented: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("want one JSON object and nothing after it")
	}
	return nil
}

// decodeScenario reads a scenario. It ignores the name and the steps of a recorded one.
func decodeScenario(data []byte) (*letagentpaytest.Scenario, error) {
	var read struct {
		letagentpaytest.Scenario
		Name  json.RawMessage `json:"name"`
		Steps json.RawMessage `json:"steps"`
	}
	if err := decode(data, &read); err != nil {
		return nil, err
	}
	if read.Start.After(clockEnd) {
		return nil, errClockEnd
	}
	return &read.Scenario, nil
}

// overview is the answer to a scenario, and a part of the state.
type overview struct {
	BaseURL string            `json:"base_url"`
	Token   string            `json:"token"`
	Now     time.Time         `json:"now"`
	Agents  map[string]string `json:"agents"` // tokens by name
}

func (c *control) overview(r *http.Request) overview {
	agents := c.service.Agents()
	o := overview{
		BaseURL: "http://" + r.Host + agentAPI, // as the caller reached it, which a mapping of ports may change
		Token:   agents[0].Token,
		Now:     c.service.Now(),
		Agents:  map[string]string{},
	}
	for _, agent := range agents {
		o.Agents[agent.Name] = agent.Token
	}
	return o
}

func (c *control) putScenario(r *http.Request, body []byte) (any, error) {
	scenario, err := decodeScenario(body)
	if err == nil {
		err = c.service.ApplyScenario(*scenario)
	}
	if err != nil {
		return nil, err
	}
	return c.overview(r), nil
}

// decide returns the action that approves or rejects a request.
func decide(decide func(s *letagentpaytest.Server, id string) error) action {
	return func(c *control, r *http.Request, _ []byte) (any, error) {
		id := r.PathValue("id")
		switch err := decide(c.service, id); {
		case errors.Is(err, letagentpaytest.ErrNotFound):
			return nil, &statusError{http.StatusNotFound, err.Error()}
		case err != nil:
			return nil, &statusError{http.StatusConflict, err.Error()}
		}
		request, _ := c.service.Request(id)
		return request, nil
	}
}

// clockAnswer is the answer of a call that may change the time.
type clockAnswer struct {
	Now time.Time `json:"now"`
}

func (c *control) setClock(_ *http.Request, body []byte) (any, error) {
	var order struct {
		AdvanceSeconds *float64   `json:"advance_seconds"`
		Set            *time.Time `json:"set"`
	}
	if err := decode(body, &order); err != nil {
		return nil, err
	}
	now := c.service.Now()
	target := now
	switch {
	case (order.AdvanceSeconds == nil) == (order.Set == nil):
		return nil, errors.New("want either advance_seconds or set")
	case order.Set != nil:
		target = *order.Set
	case math.Abs(*order.AdvanceSeconds) > maxAdvance.Seconds():
		return nil, fmt.Errorf("advance_seconds is at most %.0f", maxAdvance.Seconds())
	default:
		target = now.Add(time.Duration(*order.AdvanceSeconds * float64(time.Second)).Round(time.Microsecond))
	}
	switch {
	case target.Before(now):
		return nil, &statusError{http.StatusConflict, fmt.Sprintf(
			"the clock shows %s and does not go back; start over with a scenario and its start",
			now.Format(time.RFC3339Nano),
		)}
	case target.After(clockEnd):
		return nil, errClockEnd
	}
	c.service.Advance(target.Sub(now))
	return clockAnswer{c.service.Now()}, nil
}

func (c *control) sweep(*http.Request, []byte) (any, error) {
	c.service.Sweep()
	return clockAnswer{c.service.Now()}, nil
}

// done is the answer of a call without a result.
type done struct{}

// agentOf finds the agent that a path names; a path without a name means the main one.
func (c *control) agentOf(r *http.Request) (*letagentpaytest.Agent, error) {
	name := cmp.Or(r.PathValue("name"), "main")
	for _, agent := range c.service.Agents() {
		if agent.Name == name {
			return agent, nil
		}
	}
	return nil, &statusError{http.StatusNotFound, fmt.Sprintf("no agent is named %q", name)}
}

func (c *control) patchAgent(r *http.Request, body []byte) (any, error) {
	agent, err := c.agentOf(r)
	if err == nil {
		err = patch(body, agent.Patch)
	}
	if err != nil {
		return nil, err
	}
	return agent.Budget(), nil
}

func (c *control) patchAccount(r *http.Request, body []byte) (any, error) {
	name := cmp.Or(r.PathValue("name"), "main")
	for _, account := range c.service.Accounts() {
		if account.Name == name {
			return done{}, patch(body, account.Patch)
		}
	}
	return nil, &statusError{http.StatusNotFound, fmt.Sprintf("no account is named %q", name)}
}

// patch checks that a body is an object, and hands it to apply, which checks its keys.
func patch(body []byte, apply func([]byte) error) error {
	if err := decode(body, new(map[string]json.RawMessage)); err != nil {
		return err
	}
	return apply(body)
}

// newAgent is the answer to a new agent.
type newAgent struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	Token string `json:"token"`
}

func (c *control) addAgent(_ *http.Request, body []byte) (any, error) {
	var order struct {
		Name string `json:"name"`
		letagentpaytest.AgentConfig
	}
	if err := decode(body, &order); err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, agent := range c.service.Agents() {
		taken[agent.Name] = true
	}
	for n := len(taken) + 1; order.Name == ""; n++ {
		if name := fmt.Sprintf("agent-%d", n); !taken[name] {
			order.Name = name
		}
	}
	if taken[order.Name] {
		return nil, &statusError{http.StatusConflict, fmt.Sprintf("there is an agent named %q already", order.Name)}
	}
	agent, err := c.service.AddAgent(order.Name, order.AgentConfig)
	if err != nil {
		return nil, err
	}
	return newAgent{agent.Name, agent.ID, agent.Token}, nil
}

func (c *control) setRate(_ *http.Request, body []byte) (any, error) {
	var order struct {
		Pair string      `json:"pair"`
		Rate json.Number `json:"rate"` // a number, or a string that holds one
	}
	if err := decode(body, &order); err != nil {
		return nil, err
	}
	if from, to, ok := strings.Cut(order.Pair, "/"); !ok || from == "" || to == "" {
		return nil, fmt.Errorf(`the pair is %q; want one such as "EURC/USD"`, order.Pair)
	}
	return done{}, c.service.SetRates(map[string]string{order.Pair: order.Rate.String()})
}

func (c *control) addFault(_ *http.Request, body []byte) (any, error) {
	var fault letagentpaytest.Fault
	err := decode(body, &fault)
	if err == nil {
		err = fault.Validate()
	}
	if err == nil && max(fault.Delay, fault.SlowBytes, fault.GatewayTimeout) > maxDelay {
		err = fmt.Errorf("fault: delay, gateway_timeout and slow_bytes are at most %v", maxDelay)
	}
	if err != nil {
		return nil, err
	}
	c.service.Fail(fault)
	return done{}, nil
}

func (c *control) clearFaults(*http.Request, []byte) (any, error) {
	c.service.ClearFaults()
	return done{}, nil
}

func (c *control) setRaces(_ *http.Request, body []byte) (any, error) {
	var races letagentpaytest.Races
	err := decode(body, &races)
	if err == nil {
		err = checkRaces(races)
	}
	if err != nil {
		return nil, err
	}
	c.service.SetServiceRaces(&races)
	return done{}, nil
}

func (c *control) endRaces(*http.Request, []byte) (any, error) {
	c.service.SetServiceRaces(nil)
	return done{}, nil
}

// checkRaces refuses times below zero, and times so long that an answer would not fit into exchangeTimeout.
func checkRaces(r letagentpaytest.Races) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if max(r.Purchase, r.Confirm, r.Store) > maxDelay || r.Purchase+r.Store > maxDelay {
		return fmt.Errorf("races: a call takes at most %v", maxDelay)
	}
	return nil
}

// state is the whole state of the service.
type state struct {
	overview
	Budgets  map[string]letagentpaytest.Budget `json:"budgets"`  // by the agent's name
	Requests []letagentpaytest.Request         `json:"requests"` // of all agents, the oldest first
	Calls    letagentpaytest.CallList          `json:"calls"`    // the oldest first
}

func (c *control) state(r *http.Request, _ []byte) (any, error) {
	s := state{
		overview: c.overview(r), Budgets: map[string]letagentpaytest.Budget{},
		Requests: c.service.Requests(),
		Calls:    c.service.Calls(),
	}
	for _, agent := range c.service.Agents() {
		s.Budgets[agent.Name] = agent.Budget()
	}
	return s, nil
}
