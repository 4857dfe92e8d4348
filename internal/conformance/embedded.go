package conformance

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// Embedded is the embedded server as a Server to play against. Client makes the calls.
type Embedded struct {
	Server *letagentpaytest.Server
	Client *http.Client
}

// Reset implements [Server].
func (e Embedded) Reset(setup json.RawMessage) error {
	var scenario letagentpaytest.Scenario
	if err := json.Unmarshal(setup, &scenario); err != nil {
		return err
	}
	return e.Server.ApplyScenario(scenario)
}

// Root implements [Server].
func (e Embedded) Root() string { return strings.TrimSuffix(e.Server.URL, "/agent-api") }

// Token implements [Server].
func (e Embedded) Token(agent string) string { return e.Server.Agent(agent).Token }

// Do implements [Server].
func (e Embedded) Do(r *http.Request) (*http.Response, error) { return e.Client.Do(r) }

// Decide implements [Server].
func (e Embedded) Decide(requestID string, approve bool) (refused bool, _ error) {
	decide := e.Server.Reject
	if approve {
		decide = e.Server.Approve
	}
	return decide(requestID) != nil, nil
}

// Advance implements [Server].
func (e Embedded) Advance(seconds json.Number) error {
	d, err := time.ParseDuration(seconds.String() + "s")
	if err == nil {
		e.Server.Advance(d)
	}
	return err
}

// Sweep implements [Server].
func (e Embedded) Sweep() error {
	e.Server.Sweep()
	return nil
}

// Patch implements [Server].
func (e Embedded) Patch(target string, fields []byte) error {
	if target == "account" {
		return e.Server.Account("main").Patch(fields)
	}
	return e.Server.Agent("main").Patch(fields)
}

// SetRate implements [Server].
func (e Embedded) SetRate(pair, rate string) error {
	return e.Server.SetRates(map[string]string{pair: rate})
}
