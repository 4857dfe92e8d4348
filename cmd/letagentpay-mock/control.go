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
	maxDelay       = 5 * time.Minute            // of a fault or a race, so that the answer fits into exchangeTimeout
	maxAdvance     = 100 * 365 * 24 * time.Hour // which a Duration holds without loss
)

// clockEnd is as far as the clock goes: comfortably inside what timestamps can say.
var (
	clockEnd    = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	errClockEnd = fmt.Errorf("the clock ends at %s", clockEnd.Format(time.RFC3339))
)

// control is the control API. Its calls run one at a time, so that what one of them looks up stays true while it acts.
type control struct {
	service *letagentpaytest.Server
	mu      sync.Mutex
}

// action carries out one control call. The result is sent as JSON; an error that is no *statusError means a 400.
type action func(r *http.Request, body []byte) (any, error)

// statusError is an error with the status it is answered with.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

func newControl(service *letagentpaytest.Server) http.Handler {
	c, mux := &control{service: service}, http.NewServeMux()
	for path, actions := range c.actions() {
		mux.Handle(controlPrefix+path, c.route(actions))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "the control API has no "+r.URL.Path+"; see letagentpay-mock -help")
	})
	// A web page open on this machine must not drive the server through the browser.
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusForbidden, "the call comes from a web page of another origin")
	}))
	return sameOrigin.Handler(mux)
}

// actions lists what there is, by path and method.
func (c *control) actions() map[string]map[string]action {
	return map[string]map[string]action{
		"/scenario":              {http.MethodPut: c.putScenario},
		"/requests/{id}/approve": {http.MethodPost: c.decide(c.service.Approve)},
		"/requests/{id}/reject":  {http.MethodPost: c.decide(c.service.Reject)},
		"/clock":                 {http.MethodPost: c.setClock},
		"/sweep":                 {http.MethodPost: c.sweep},
		"/agent":                 {http.MethodPatch: c.patchAgent},
		"/agents":                {http.MethodPost: c.addAgent},
		"/agents/{name}":         {http.MethodPatch: c.patchAgent},
		"/account":               {http.MethodPatch: c.patchAccount},
		"/accounts/{name}":       {http.MethodPatch: c.patchAccount},
		"/rates":                 {http.MethodPost: c.setRate},
		"/faults":                {http.MethodPost: c.addFault, http.MethodDelete: c.clearFaults},
		"/races":                 {http.MethodPut: c.setRaces, http.MethodDelete: c.endRaces},
		"/state":                 {http.MethodGet: c.state},
	}
}

// requireToken lets only callers through that know the token.
func requireToken(token string, next http.Handler) http.Handler {
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeError(w, http.StatusUnauthorized, "the control API wants Authorization: Bearer and the token given with -token")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// route serves one path.
func (c *control) route(actions map[string]action) http.Handler {
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
		result, err := act(r, body)
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

// plain is the text of an error without the name of the package that it is about: here it is about the program.
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

// decodeScenario reads a scenario. It may be one that was recorded, whose name and steps it passes over.
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
		BaseURL: "http://" + r.Host + agentAPI, // as the caller reached it, through whatever mapping of ports
		Token:   agents[0].Token, Now: c.service.Now(), Agents: map[string]string{},
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

func (c *control) decide(decide func(id string) error) action {
	return func(r *http.Request, _ []byte) (any, error) {
		id := r.PathValue("id")
		switch err := decide(id); {
		case errors.Is(err, letagentpaytest.ErrNotFound):
			return nil, &statusError{http.StatusNotFound, err.Error()}
		case err != nil:
			return nil, &statusError{http.StatusConflict, err.Error()}
		}
		request, _ := c.service.Request(id)
		return request, nil
	}
}

// clockAnswer tells the time.
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
			"the clock shows %s and does not go back; begin again with a scenario and its start", now.Format(time.RFC3339Nano))}
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

// done is the answer where there is nothing to tell.
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

// patch hands over a body that is an object; which keys there are is up to apply.
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

// checkRaces reports times below zero, or so long that an answer would not fit into exchangeTimeout.
func checkRaces(r letagentpaytest.Races) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if max(r.Purchase, r.Confirm, r.Store) > maxDelay || r.Purchase+r.Store > maxDelay {
		return fmt.Errorf("races: a call takes at most %v", maxDelay)
	}
	return nil
}

// state is everything there is to see.
type state struct {
	overview
	Budgets  map[string]letagentpaytest.Budget `json:"budgets"`  // by the agent's name
	Requests []letagentpaytest.Request         `json:"requests"` // of all agents, the oldest first
	Calls    letagentpaytest.CallList          `json:"calls"`    // the oldest first
}

func (c *control) state(r *http.Request, _ []byte) (any, error) {
	s := state{
		overview: c.overview(r), Budgets: map[string]letagentpaytest.Budget{},
		Requests: c.service.Requests(), Calls: c.service.Calls(),
	}
	for _, agent := range c.service.Agents() {
		s.Budgets[agent.Name] = agent.Budget()
	}
	return s, nil
}
