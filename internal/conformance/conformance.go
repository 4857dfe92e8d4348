// Package conformance plays recorded scenarios against a server and reports where its answers differ. A scenario is a
// set-up, calls of the service, and the answers of the service.
package conformance

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// Scenario is a scenario as it was recorded at the real service.
type Scenario struct {
	Name  string
	Steps []Step
	// Setup is the JSON of the initial accounts and agents, the clock and the rates. It is the whole record, including
	// the name and the steps.
	Setup json.RawMessage
}

// Step is one step of a scenario.
type Step struct {
	Op      string // http, approve, reject, advance, expire, set or rate
	Method  string
	Path    string             // below /api/v1
	As      string             // the agent that calls; empty: main; "none": a call without a token
	Headers map[string]*string // null: not sent
	Body    json.RawMessage
	RawBody *string `json:"raw_body"`
	Ref     string  // the request to approve or reject
	Seconds json.Number
	Target  string // of a set: agent or account
	Values  json.RawMessage
	Pair    string
	Rate    string
	Expect  *struct {
		Status int
		Body   json.RawMessage
	}
}

// Load reads all scenarios of a folder: gzipped files with one scenario a line.
func Load(folder string) ([]Scenario, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl.gz"))
	if err != nil {
		return nil, err
	}
	var all []Scenario
	for _, name := range files {
		if all, err = appendFile(all, name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(all) == 0 {
		return nil, errors.New(folder + ": no scenarios")
	}
	return all, nil
}

func appendFile(all []Scenario, name string) ([]Scenario, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		s := Scenario{Setup: bytes.Clone(lines.Bytes())}
		if err := json.Unmarshal(s.Setup, &s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, lines.Err()
}

// Server is a server to play scenarios against, with the owner's side of it.
type Server interface {
	// Reset replaces everything with a set-up.
	Reset(setup json.RawMessage) error
	// Root returns the address below which the paths of steps are.
	Root() string
	// Token returns the token of an agent.
	Token(agent string) string
	// Do makes a call.
	Do(*http.Request) (*http.Response, error)
	// Decide approves or rejects a request. A refusal by the server is not an error.
	Decide(requestID string, approve bool) (refused bool, err error)
	// Advance moves the clock.
	Advance(seconds json.Number) error
	// Sweep expires overdue requests.
	Sweep() error
	// Patch overwrites fields of the main agent or account.
	Patch(target string, fields []byte) error
	// SetRate sets an exchange rate.
	SetRate(pair, rate string) error
}

// Play plays a scenario. It ends with an error at the first difference between the record and the server.
func Play(server Server, scenario Scenario) error {
	if err := server.Reset(scenario.Setup); err != nil {
		return fmt.Errorf("set-up: %w", err)
	}
	p := player{Server: server, ids: map[string]string{}, names: map[string]string{}}
	for i, step := range scenario.Steps {
		if err := p.play(step); err != nil {
			return fmt.Errorf("step %d, %s %s %s: %w", i, step.Op, step.Method, step.Path, err)
		}
	}
	return nil
}

// player plays one scenario.
type player struct {
	Server
	ids   map[string]string // "$req0" to the id it stands for
	names map[string]string // and back
}

func (p *player) play(step Step) error {
	switch step.Op {
	case "http":
		return p.call(step)
	case "approve", "reject":
		refused, err := p.Decide(p.resolve(step.Ref), step.Op == "approve")
		if err == nil && step.Expect != nil && refused != (step.Expect.Status >= 300) {
			err = fmt.Errorf("refused: %t, want status %d", refused, step.Expect.Status)
		}
		return err
	case "advance":
		return p.Advance(step.Seconds)
	case "expire":
		return p.Sweep()
	case "set":
		return p.Patch(step.Target, step.Values)
	case "rate":
		return p.SetRate(step.Pair, step.Rate)
	}
	return errors.New("unknown step")
}

func (p *player) call(step Step) error {
	request, err := p.request(step)
	if err != nil {
		return err
	}
	response, err := p.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if step.Expect == nil {
		return nil
	}
	if response.StatusCode != step.Expect.Status {
		return fmt.Errorf("status %d, want %d: %.500s", response.StatusCode, step.Expect.Status, got)
	}
	if len(step.Expect.Body) == 0 {
		return nil
	}
	if difference := p.compare("", decode(step.Expect.Body), decode(got)); difference != "" {
		return fmt.Errorf("%s\n%.1000s", difference, got)
	}
	return nil
}

func (p *player) request(step Step) (*http.Request, error) {
	var body io.Reader
	switch {
	case step.RawBody != nil:
		body = strings.NewReader(p.resolve(*step.RawBody))
	case len(step.Body) > 0 && string(step.Body) != "null":
		body = strings.NewReader(p.resolve(string(step.Body)))
	}
	request, err := http.NewRequest(step.Method, p.Root()+p.resolve(step.Path), body)
	if err != nil {
		return nil, err
	}
	if step.As != "none" {
		request.Header.Set("Authorization", "Bearer "+p.Token(cmp.Or(step.As, "main")))
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range step.Headers {
		if value == nil {
			request.Header.Del(name)
		} else {
			request.Header.Set(name, strings.ReplaceAll(*value, "$token", p.Token("main")))
		}
	}
	return request, nil
}
