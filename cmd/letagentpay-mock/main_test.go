package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// beTheProgram makes the test binary run as the program itself.
const beTheProgram = "LETAGENTPAY_MOCK_BE_THE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beTheProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// ready is the line that the program prints when it serves.
type ready struct {
	BaseURL    string `json:"base_url"`
	Token      string `json:"token"`
	ControlURL string `json:"control_url"`
}

// launch runs the program until the test ends, on a free loopback port unless args say otherwise.
func launch(t *testing.T, args ...string) ready {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	var complaints bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), in, &complaints)
		_ = in.Close()
	}()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		assert.Zero(t, <-code)
		assert.Empty(t, complaints.String())
	})
	return readReady(t, out)
}

func readReady(t *testing.T, out io.Reader) (r ready) {
	t.Helper()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(line), &r), line)
	return r
}

// send makes a call and returns the answer, with its body decoded when that is an object.
func send(t *testing.T, method, url, body string, header ...string) (*http.Response, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	response.Body = io.NopCloser(bytes.NewReader(data))
	var object map[string]any
	_ = json.Unmarshal(data, &object)
	return response, object
}

func (r ready) client(t *testing.T) *letagentpay.Client {
	t.Helper()
	client, err := letagentpay.New(
		letagentpay.WithBaseURL(r.BaseURL),
		letagentpay.WithToken(r.Token),
		letagentpay.WithMaxRetries(0),
	)
	require.NoError(t, err)
	return client
}

func TestAnAgentLivesOnIt(t *testing.T) {
	mock := launch(t)
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+/api/v1/agent-api$`, mock.BaseURL)
	assert.Equal(t, strings.TrimSuffix(mock.BaseURL, "/api/v1/agent-api")+"/_control", mock.ControlURL)
	client := mock.client(t)

	purchase, err := client.Purchase(t.Context(), letagentpay.PurchaseParams{
		Amount:   letagentpay.MustAmount("120"),
		Category: "electronics",
	})
	require.NoError(t, err)
	require.Equal(t, letagentpay.StatusPending, purchase.Status)
	response, answer := send(t, "POST", mock.ControlURL+"/requests/"+purchase.RequestID+"/approve", "")
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, "application/json", response.Header.Get("Content-Type"))
	assert.Equal(t, "approved", answer["status"])
	decided, err := client.WaitForDecision(t.Context(), purchase.RequestID)
	require.NoError(t, err)
	assert.Equal(t, letagentpay.StatusApproved, decided.Status)
	_, err = client.Confirm(t.Context(), purchase.RequestID, letagentpay.ConfirmParams{Success: true})
	require.NoError(t, err)

	response, answer = send(t, "GET", strings.Replace(mock.BaseURL, "agent-api", "no-api", 1), "")
	assert.Equal(t, 404, response.StatusCode)
	assert.Equal(t, map[string]any{"detail": "Not Found"}, answer, "as the service says it")
}

func TestScenarioAndTokenFromTheCommandLine(t *testing.T) {
	mock := launch(t, "-scenario", "testdata/scenario.json", "-token", "agt_mine")
	assert.Equal(t, "agt_mine", mock.Token)
	budget, err := mock.client(t).Budget(t.Context())
	require.NoError(t, err)
	assert.Equal(t, letagentpay.MustAmount("500"), budget.Budget)
	assert.Equal(t, "EUR", budget.Currency)
	_, state := send(t, "GET", mock.ControlURL+"/state", "")
	assert.Contains(t, state["now"], "2026-03-11T12:0")
}

func TestRacesFromTheCommandLine(t *testing.T) {
	assert.Equal(t, 201, behindAGateway(t, launch(t), "1m", "/requests", tenDollars), "no time passes by default")
	mock := launch(t, "-races", "5m", "-token", "agt_mine")
	send(t, "PUT", mock.ControlURL+"/scenario", approvingScenario) // which the races outlast
	assert.Equal(t, 504, behindAGateway(t, mock, "1ms", "/requests", tenDollars), "the purchase takes longer")
}

const (
	approvingScenario = `{"agent": {"budget": 100, "policy": {"auto_approve": {"enabled": true}}}}`
	tenDollars        = `{"amount": 10, "category": "other"}`
)

// behindAGateway makes a call through a gateway, and returns the status of the answer: 504 where the call takes longer
// than the gateway waits.
func behindAGateway(t *testing.T, mock ready, patience, path, body string) int {
	t.Helper()
	send(t, "POST", mock.ControlURL+"/faults", `{"gateway_timeout": "`+patience+`"}`)
	response, _ := send(t, "POST", mock.BaseURL+path, body,
		"Authorization", "Bearer "+mock.Token, "Content-Type", "application/json")
	return response.StatusCode
}

func TestAwayFromLoopbackTheControlAPIAsksForTheToken(t *testing.T) {
	mock := launch(t, "-addr", "0.0.0.0:0", "-token", "agt_mine")
	assert.Regexp(t, `^http://localhost:\d+/`, mock.BaseURL)
	for _, header := range [][]string{
		nil, {"Authorization", "Bearer agt_other"}, {"Authorization", "agt_mine"}, {"Authorization", "Bearer "},
	} {
		for _, path := range []string{"/state", "/no-such-thing", ""} {
			response, answer := send(t, "GET", mock.ControlURL+path, "", header...)
			assert.Equal(t, 401, response.StatusCode)
			assert.Equal(t, "Bearer", response.Header.Get("WWW-Authenticate"))
			assert.Contains(t, answer["error"], "-token")
			assert.NotContains(t, answer["error"], "agt_")
		}
	}
	response, _ := send(t, "PUT", mock.ControlURL+"/scenario", `{"agent": {"budget": 7}}`,
		"Authorization", "Bearer agt_mine")
	assert.Equal(t, 200, response.StatusCode)
	budget, err := mock.client(t).Budget(t.Context())
	require.NoError(t, err, "the token outlives a scenario")
	assert.Equal(t, letagentpay.MustAmount("7"), budget.Budget)
}

// failing is a writer that nobody reads from.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("nobody reads this") }

func TestWrongArgumentsAndFailuresToServe(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	file := func(content string) string {
		name := filepath.Join(t.TempDir(), "scenario.json")
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
		return name
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-port", "80"}, 2, "flag provided but not defined: -port"},
		{[]string{"serve"}, 2, `unexpected argument "serve"`},
		{[]string{"-addr", "8787"}, 2, `-addr "8787": address 8787: missing port in address`},
		{[]string{"-addr", "127.0.0.1:http:80"}, 2, "too many colons"},
		{[]string{"-addr", ":0"}, 2, `-addr ":0" is not loopback`},
		{[]string{"-addr", "0.0.0.0:0"}, 2, "give a -token"},
		{[]string{"-addr", "[::]:0"}, 2, "give a -token"},
		{[]string{"-addr", "192.0.2.1:8787"}, 2, "give a -token"},
		{[]string{"-token", "secret"}, 2, `a token begins with "agt_"`},
		{[]string{"-races", "soon"}, 2, `invalid value "soon" for flag -races: time: invalid duration "soon"`},
		{[]string{"-races", "-1s"}, 2, "want a time from 0s to 5m0s"},
		{[]string{"-races", "6m"}, 2, "want a time from 0s to 5m0s"},
		{[]string{"-scenario", "no/such/file.json"}, 2, "-scenario: open no/such/file.json"},
		{[]string{"-scenario", file(`{"agent": {"status": "asleep"}}`)}, 2, `status "asleep" is not one of`},
		{[]string{"-scenario", file(`{"agnet": {}}`)}, 2, `unknown field "agnet"`},
		{[]string{"-scenario", file(`[]`)}, 2, "want a JSON object"},
		{[]string{"-addr", taken.Addr().String()}, 1, "address already in use"},
	} {
		var out, complaints bytes.Buffer
		assert.Equal(t, test.code, run(t.Context(), test.args, &out, &complaints), test.args)
		assert.Empty(t, out.String())
		assert.Contains(t, complaints.String(), "letagentpay-mock: ")
		assert.Contains(t, complaints.String(), test.want)
		assert.NotContains(t, complaints.String(), "secret")
		assert.NotContains(t, complaints.String(), "letagentpaytest")
		assert.Equal(t, test.code == 2, strings.Contains(complaints.String(), "-help"), "a hint where it helps")
	}
	var complaints bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"-addr", "127.0.0.1:0"}, failing{}, &complaints))
	assert.Contains(t, complaints.String(), "nobody reads this")
}

func TestHelp(t *testing.T) {
	for _, flag := range []string{"-help", "--help", "-h"} {
		var out, complaints bytes.Buffer
		assert.Zero(t, run(t.Context(), []string{flag}, &out, &complaints))
		assert.Empty(t, complaints.String())
		assert.Equal(t, usage(), out.String())
	}
	for _, word := range []string{
		"-addr", "-scenario", "-token", "-races", "gateway_timeout", "curl", "/openapi.yaml", "/llms.txt",
	} {
		assert.Contains(t, usage(), word)
	}
	for _, route := range controlRoutes {
		described := `(?m)^  ` + route.method + ` +` + regexp.QuoteMeta(controlPrefix+route.path) + ` +\S`
		assert.Regexp(t, described, usage(), "every call is described")
	}
	for _, line := range strings.Split(usage(), "\n") {
		assert.LessOrEqual(t, len(line), 120, line)
		assert.Equal(t, strings.TrimRight(line, " "), line)
	}
}

// The README's commands are run against the program, by bash and curl.
func TestReadme(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)
	assert.Contains(t, string(page), "```text\n"+controlUsage()+"```\n", "the list of -help")

	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.Len(t, blocks, 2, "the command that starts the program, and a session")
	command, session := strings.Fields(blocks[0][1]), blocks[1][1]
	require.Equal(t, []string{"go", "run", "./cmd/letagentpay-mock"}, command[:3])
	mock := launch(t, command[3:]...)

	const address = "http://127.0.0.1:8787" // of the default -addr
	root := strings.TrimSuffix(mock.ControlURL, controlPrefix)
	require.Contains(t, session, address)
	config := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(config, ".curlrc"), []byte("silent\nfail\n"), 0o600))
	session = strings.ReplaceAll(session, address, root)
	bash := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", session)
	bash.Env = append(os.Environ(), "CURL_HOME="+config)
	output, err := bash.CombinedOutput()
	require.NoError(t, err, "%s", output)

	rest := string(output)
	for _, answer := range []string{
		`"status":"auto_approved"`,
		`"status":"rejected"`,
		`"status":"pending"`,
		`"status":"approved"`,
		`"status":"completed"`,
		`"spent":"165.49"`,
		`{"now":`,
		`"spent":"170.49"`,
		`"calls":[`,
		`"now":"2026-03-11T12:00:`,
		`"second":"agt_`,
		"openapi: ",
		"# LetAgentPay",
	} {
		_, after, found := strings.Cut(rest, answer)
		require.True(t, found, "%s is not in the rest of the output: %.2000s", answer, rest)
		rest = after
	}
}

func newService(t *testing.T) *letagentpaytest.Server {
	return letagentpaytest.NewServer(t, letagentpaytest.InMemory())
}

// held starts a server with one call in it that a fault delays by d. It returns a function that ends the server, the
// server's error, and the status of the answer to the call.
func held(t *testing.T, d, grace time.Duration) (stop func(), served <-chan error, status <-chan int) {
	t.Helper()
	service := newService(t)
	service.Fail(letagentpaytest.Fault{Delay: d})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	arrived := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		service.Handler().ServeHTTP(w, r)
	})}
	ended, answered := make(chan error, 1), make(chan int, 1)
	go func() { ended <- serve(ctx, server, listener, grace, service.Close) }()
	go func() {
		response, err := http.Get("http://" + listener.Addr().String() + agentAPI + "/budget")
		if err != nil {
			answered <- 0
			return
		}
		_ = response.Body.Close()
		answered <- response.StatusCode
	}()
	<-arrived
	return stop, ended, answered
}

func TestCallsInFlightEndBeforeTheServerDoes(t *testing.T) {
	stop, served, status := held(t, 50*time.Millisecond, time.Minute)
	stop()
	assert.NoError(t, <-served)
	assert.Equal(t, 401, <-status, "the answer, not a broken connection")
}

func TestCallsInFlightAreCutOffWhenTheGraceIsOver(t *testing.T) {
	stop, served, status := held(t, time.Hour, time.Millisecond)
	stop()
	assert.NoError(t, <-served)
	assert.Zero(t, <-status)
}

func TestAServerThatCannotGoOnSaysSo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	assert.ErrorIs(t, serve(t.Context(), &http.Server{}, listener, time.Second, func() {}), net.ErrClosed)
}

// The program itself, with a signal.
func TestSignalsEndIt(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		program := exec.CommandContext(t.Context(), os.Args[0], "-addr", "127.0.0.1:0")
		program.Env = append(os.Environ(), beTheProgram+"=1")
		var complaints bytes.Buffer
		program.Stderr = &complaints
		out, err := program.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, program.Start())
		mock := readReady(t, out)
		_, err = mock.client(t).Budget(t.Context())
		assert.NoError(t, err)
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, program.Process.Signal(signal))
		assert.NoError(t, program.Wait(), "exit code 0")
		assert.Empty(t, complaints.String())
	}
}

func TestDocumentsAreThoseOfTheRepository(t *testing.T) {
	mock := launch(t)
	for name, contentType := range map[string]string{
		"openapi.yaml": "application/yaml",
		"llms.txt":     "text/plain; charset=utf-8",
	} {
		original, err := os.ReadFile(filepath.Join("..", "..", name))
		require.NoError(t, err)
		url := strings.Replace(mock.ControlURL, "_control", name, 1)
		response, _ := send(t, "GET", url, "")
		served, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, contentType, response.Header.Get("Content-Type"))
		assert.True(t, string(original) == string(served), "%s has changed: go generate ./internal/docs", name)

		response, _ = send(t, "HEAD", url, "")
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, int64(len(original)), response.ContentLength)
		response, answer := send(t, "POST", url, "")
		assert.Equal(t, 405, response.StatusCode)
		assert.Equal(t, "GET, HEAD", response.Header.Get("Allow"))
		assert.Contains(t, answer["error"], "GET and HEAD")
	}
}
