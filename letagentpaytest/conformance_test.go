package letagentpaytest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/stretchr/testify/require"
)

// recordedScenario is one scenario that was played against the real service, with what it answered.
type recordedScenario struct {
	letagentpaytest.Scenario
	Name  string
	Steps []recordedStep
}

type recordedStep struct {
	Op      string // http, approve, reject, advance, expire, set, rate
	Method  string
	Path    string
	As      string
	Headers map[string]*string
	Body    json.RawMessage
	RawBody *string `json:"raw_body"`
	Ref     string
	Seconds json.Number
	Target  string
	Values  json.RawMessage
	Pair    string
	Rate    string
	Expect  *struct {
		Status int
		Body   json.RawMessage
	}
}

func (s *recordedScenario) UnmarshalJSON(data []byte) error {
	rest := struct {
		Name  string
		Steps []recordedStep
	}{}
	if err := json.Unmarshal(data, &rest); err != nil {
		return err
	}
	s.Name, s.Steps = rest.Name, rest.Steps
	return json.Unmarshal(data, &s.Scenario)
}

func recordedScenarios(t *testing.T) []recordedScenario {
	t.Helper()
	files, err := filepath.Glob("testdata/conformance/*.jsonl.gz")
	require.NoError(t, err)
	var all []recordedScenario
	for _, name := range files {
		file, err := os.Open(name)
		require.NoError(t, err)
		defer file.Close()
		unzipped, err := gzip.NewReader(file)
		require.NoError(t, err)
		lines := bufio.NewScanner(unzipped)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var s recordedScenario
			require.NoError(t, json.Unmarshal(lines.Bytes(), &s), name)
			all = append(all, s)
		}
		require.NoError(t, lines.Err())
	}
	return all
}

func TestConformance(t *testing.T) {
	scenarios := recordedScenarios(t)
	steps := 0
	for _, s := range scenarios {
		steps += len(s.Steps)
	}
	require.Equal(t, 253, len(scenarios))
	require.Equal(t, 2857, steps)

	for mode, options := range map[string][]letagentpaytest.Option{
		"in memory": {letagentpaytest.InMemory()},
		"over HTTP": nil,
	} {
		t.Run(mode, func(t *testing.T) {
			server := letagentpaytest.NewServer(t, options...)
			for _, s := range scenarios {
				t.Run(s.Name, func(t *testing.T) {
					require.NoError(t, server.ApplyScenario(s.Scenario))
					p := player{server: server, http: server.HTTPClient(), ids: map[string]string{}, names: map[string]string{}}
					for i, step := range s.Steps {
						if difference := p.play(step); difference != "" {
							t.Fatalf("step %d, %s %s %s: %s", i, step.Op, step.Method, step.Path, difference)
						}
					}
				})
			}
		})
	}
}

// player plays one scenario.
type player struct {
	server *letagentpaytest.Server
	http   *http.Client
	ids    map[string]string // "$req0" to the id it stands for
	names  map[string]string // and back
}

var (
	reference = regexp.MustCompile(`\$req\d+`)
	timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\d[T ]\d\d:\d\d`)
	number    = regexp.MustCompile(`^[-+]?\d*\.?\d+([eE][-+]?\d+)?$`)
)

// play plays a step and returns how the server differs from the record, or "".
func (p *player) play(step recordedStep) string {
	switch step.Op {
	case "http":
		return p.call(step)
	case "approve", "reject":
		decide := p.server.Approve
		if step.Op == "reject" {
			decide = p.server.Reject
		}
		if err := decide(p.resolve(step.Ref)); step.Expect != nil && (err == nil) != (step.Expect.Status < 300) {
			return fmt.Sprintf("error %v, want status %d", err, step.Expect.Status)
		}
	case "advance":
		seconds, err := time.ParseDuration(step.Seconds.String() + "s")
		if err != nil {
			return err.Error()
		}
		p.server.Advance(seconds)
	case "expire":
		p.server.Sweep()
	case "set":
		patch := p.server.Agent("main").Patch
		if step.Target == "account" {
			patch = p.server.Account("main").Patch
		}
		if err := patch(step.Values); err != nil {
			return err.Error()
		}
	case "rate":
		p.server.SetRate(step.Pair, step.Rate)
	default:
		return "unknown step"
	}
	return ""
}

func (p *player) call(step recordedStep) string {
	var body io.Reader
	switch {
	case step.RawBody != nil:
		body = strings.NewReader(p.resolve(*step.RawBody))
	case len(step.Body) > 0 && string(step.Body) != "null":
		body = strings.NewReader(p.resolve(string(step.Body)))
	}
	request, err := http.NewRequest(step.Method, strings.TrimSuffix(p.server.URL, "/agent-api")+p.resolve(step.Path), body)
	if err != nil {
		return err.Error()
	}
	if step.As != "none" {
		name := step.As
		if name == "" {
			name = "main"
		}
		request.Header.Set("Authorization", "Bearer "+p.server.Agent(name).Token)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range step.Headers {
		if value == nil {
			request.Header.Del(name)
		} else {
			request.Header.Set(name, strings.ReplaceAll(*value, "$token", p.server.Token))
		}
	}
	response, err := p.http.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	if step.Expect == nil {
		return ""
	}
	if response.StatusCode != step.Expect.Status {
		return fmt.Sprintf("status %d, want %d: %.500s", response.StatusCode, step.Expect.Status, got)
	}
	if len(step.Expect.Body) == 0 {
		return ""
	}
	if difference := p.compare("", decode(step.Expect.Body), decode(got)); difference != "" {
		return difference + fmt.Sprintf("\n%.1000s", got)
	}
	return ""
}

// compare returns how a live value differs from a recorded one, or "". Objects may hold more than was recorded; numbers,
// and decimals in strings, compare by value; $names stand for ids, and others for any text of a kind.
func (p *player) compare(path string, want, got any) string {
	differs := fmt.Sprintf("%s: want %.200v (%T), got %.200v (%T)", path, want, want, got, got)
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return differs
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			value, ok := object[key]
			if !ok {
				return path + "." + key + ": missing"
			}
			if difference := p.compare(path+"."+key, want[key], value); difference != "" {
				return difference
			}
		}
		return ""
	case []any:
		items, ok := got.([]any)
		if !ok || len(items) != len(want) {
			return differs
		}
		for i := range want {
			if difference := p.compare(fmt.Sprintf("%s[%d]", path, i), want[i], items[i]); difference != "" {
				return difference
			}
		}
		return ""
	case json.Number:
		if got, ok := got.(json.Number); ok && sameNumber(want.String(), got.String()) {
			return ""
		}
	case string:
		text, ok := got.(string)
		switch {
		case want == "$any":
			return ""
		case !ok:
			return differs
		case want == "$text", want == "$agent", want == "$account":
			ok = text != ""
		case want == "$time":
			ok = timestamp.MatchString(text)
		case reference.FindString(want) == want && want != "":
			ok = p.bind(want, text)
		default:
			ok = text == p.resolve(want) || number.MatchString(want) && number.MatchString(text) && sameNumber(want, text)
		}
		if ok {
			return ""
		}
	default:
		if want == got {
			return ""
		}
	}
	return differs
}

// bind makes a name stand for an id, and reports whether both are new or belong together already.
func (p *player) bind(name, id string) bool {
	if known, ok := p.ids[name]; ok {
		return known == id
	}
	if _, taken := p.names[id]; taken || id == "" {
		return false
	}
	p.ids[name], p.names[id] = id, name
	return true
}

// resolve replaces the names of known ids.
func (p *player) resolve(text string) string {
	return reference.ReplaceAllStringFunc(text, func(name string) string {
		if id, ok := p.ids[name]; ok {
			return id
		}
		return name
	})
}

func decode(data []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return string(data)
	}
	return value
}

func sameNumber(a, b string) bool {
	x, okX := new(big.Rat).SetString(a)
	y, okY := new(big.Rat).SetString(b)
	return okX && okY && x.Cmp(y) == 0
}
