package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

const recordings = "../../letagentpaytest/testdata/conformance"

func TestCompareTellsDifferencesFromMereForms(t *testing.T) {
	for _, same := range [][2]string{
		{`{"a": 1}`, `{"a": 1.0, "more": true}`},
		{`"12.50"`, `"12.5"`},
		{`12.50`, `1.25e1`},
		{`["$req0", "$req1", "$req0"]`, `["x", "y", "x"]`},
		{`"Cannot confirm $req0"`, `"Cannot confirm $req0"`},
		{`"$text"`, `"anything"`},
		{`"$any"`, `null`},
		{`"$time"`, `"2026-03-11T12:00:00Z"`},
		{`[null, true, "", []]`, `[null, true, "", []]`},
	} {
		p := player{ids: map[string]string{}, names: map[string]string{}}
		assert.Empty(t, p.compare("", decode([]byte(same[0])), decode([]byte(same[1]))), same)
	}
	for _, different := range [][2]string{
		{`{"a": 1}`, `{"b": 1}`},
		{`{"a": 1}`, `[1]`},
		{`{"a": {"b": null}}`, `{"a": {"b": 0}}`},
		{`[1, 2]`, `[1]`},
		{`[1, 2]`, `[2, 1]`},
		{`"12.50"`, `12.50`},
		{`12.50`, `"12.50"`},
		{`12.50`, `12.51`},
		{`"12.50"`, `"12.51"`},
		{`["$req0", "$req1"]`, `["x", "x"]`},
		{`["$req0", "$req0"]`, `["x", "y"]`},
		{`"$req0"`, `""`},
		{`"$text"`, `""`},
		{`"$time"`, `"soon"`},
		{`"$agent"`, `7`},
		{`true`, `false`},
		{`"pass"`, `"fail"`},
		{`{"a": 1}`, `<html>`},
	} {
		p := player{ids: map[string]string{}, names: map[string]string{}}
		assert.NotEmpty(t, p.compare("", decode([]byte(different[0])), decode([]byte(different[1]))), different)
	}
}

// liar changes what the server answers.
type liar struct{ old, new string }

func (l liar) change(response *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(body, []byte(l.old), []byte(l.new))))
	return response, err
}

type lyingServer struct {
	Embedded
	liar
}

func (s lyingServer) Do(r *http.Request) (*http.Response, error) { return s.change(s.Embedded.Do(r)) }

func TestPlayTellsWhereTheServerDiffers(t *testing.T) {
	server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	honest := Embedded{server, server.HTTPClient()}
	var scenario Scenario
	require.NoError(t, json.Unmarshal([]byte(`{"steps": [
		{"op": "http", "method": "POST", "path": "/agent-api/requests", "body": {"amount": 5, "category": "taxi"},
			"expect": {"status": 201, "body": {"request_id": "$req0", "status": "pending"}}},
		{"op": "approve", "ref": "$req0", "expect": {"status": 200}},
		{"op": "approve", "ref": "$req0", "expect": {"status": 400}},
		{"op": "http", "method": "GET", "path": "/agent-api/requests/$req0",
			"expect": {"status": 200, "body": {"request_id": "$req0", "status": "approved",
				"amount": 5}}}]}`), &scenario))
	scenario.Setup = []byte(`{"agent": {"budget": 100}}`)
	require.NoError(t, Play(honest, scenario))

	assert.ErrorContains(t, Play(lyingServer{honest, liar{`"approved"`, `"completed"`}}, scenario),
		"step 3, http GET /agent-api/requests/$req0: .status: want approved")
	assert.ErrorContains(t, Play(lyingServer{honest, liar{`"request_id"`, `"id"`}}, scenario),
		"step 0, http POST /agent-api/requests: .request_id: missing")

	change := func(step int, change func(*Step)) Scenario {
		changed := scenario
		changed.Steps = append([]Step(nil), scenario.Steps...)
		expect := *changed.Steps[step].Expect
		changed.Steps[step].Expect = &expect
		change(&changed.Steps[step])
		return changed
	}
	assert.ErrorContains(t, Play(honest, change(0, func(s *Step) { s.Expect.Status = 200 })), "status 201, want 200")
	assert.ErrorContains(t, Play(honest, change(1, func(s *Step) { s.Expect.Status = 400 })),
		"step 1, approve  : refused: false, want status 400")
	assert.ErrorContains(t, Play(honest, change(2, func(s *Step) { s.Expect.Status = 200 })),
		"refused: true, want status 200")
	assert.ErrorContains(t, Play(honest, change(1, func(s *Step) { s.Op = "dance" })), "unknown step")
	assert.ErrorContains(t, Play(honest, change(1, func(s *Step) { s.Op, s.Values = "set", []byte(`{"hue": 1}`) })),
		"hue")
	assert.ErrorContains(t, Play(honest, change(1, func(s *Step) { s.Op, s.Pair = "rate", "USDC/USD" })), "rate of")
	scenario.Setup = []byte(`{"agent": {"status": "asleep"}}`)
	assert.ErrorContains(t, Play(honest, scenario), "set-up: ")
}

func TestLoad(t *testing.T) {
	scenarios, err := Load(recordings)
	require.NoError(t, err)
	steps := 0
	for _, s := range scenarios {
		steps += len(s.Steps)
		assert.NotEmpty(t, s.Name)
	}
	assert.Equal(t, 253, len(scenarios))
	assert.Equal(t, 2857, steps)

	folder := t.TempDir()
	_, err = Load(folder)
	assert.ErrorContains(t, err, "no scenarios")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "plain.jsonl.gz"), []byte(`{"name": "not zipped"}`), 0o600))
	_, err = Load(folder)
	assert.ErrorContains(t, err, "plain.jsonl.gz: ")
}
