package letagentpaytest_test

import (
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func panicking(letagentpaytest.Request) letagentpaytest.Verdict { panic("the human is ill") }

func ending(letagentpaytest.Request) letagentpaytest.Verdict {
	runtime.Goexit() // as t.FailNow does
	return letagentpaytest.Verdict{}
}

// What a function of the test does in a goroutine of the server fails the test, with the place where it happened.
func TestAHumanThatPanicsOrExitsFailsTheTest(t *testing.T) {
	for mode, options := range map[string][]letagentpaytest.Option{
		"over sockets":             nil,
		"over sockets under races": {letagentpaytest.WithServiceRaces(letagentpaytest.Races{})},
		"in memory under races": {
			letagentpaytest.WithServiceRaces(letagentpaytest.Races{}), letagentpaytest.InMemory(),
		},
	} {
		for name, test := range map[string]struct {
			human func(letagentpaytest.Request) letagentpaytest.Verdict
			want  []string
		}{
			"panic": {panicking, []string{"panic: the human is ill", "failures_test.go", "panicking"}},
			"exit":  {ending, []string{"runtime.Goexit", "t.FailNow", "failures_test.go", "ending"}},
		} {
			t.Run(mode+", "+name, func(t *testing.T) {
				var tb recorder
				srv := letagentpaytest.NewServer(&tb, options...)
				srv.OnPending(test.human)
				_, _, err := buy(t, srv)
				assert.Error(t, err, "the call ends without an answer")
				assert.Len(t, srv.Calls(), 1)
				srv.Close()
				require.Len(t, tb.failures, 1)
				for _, part := range append(test.want, "POST /api/v1/agent-api/requests") {
					assert.Contains(t, tb.failures[0], part)
				}
				assert.NotContains(t, tb.failures[0], srv.Token)
				require.Len(t, srv.Requests(), 1)
			})
		}
	}
}

func TestATimeChosenForARaceThatPanicsFailsTheTest(t *testing.T) {
	var tb recorder
	races := letagentpaytest.Races{Choose: func(letagentpaytest.Call) time.Duration { panic("no time") }}
	srv := letagentpaytest.NewServer(&tb, letagentpaytest.InMemory(), letagentpaytest.WithServiceRaces(races))
	_, _, err := buy(t, srv)
	assert.Error(t, err)
	srv.SetServiceRaces(nil)
	status, _, err := buy(t, srv)
	require.NoError(t, err, "the account is not left locked")
	assert.Equal(t, http.StatusCreated, status)
	srv.Close()
	require.Len(t, tb.failures, 1)
	assert.Contains(t, tb.failures[0], "panic: no time")
}

// In memory and without races, OnPending runs in the goroutine of the caller, whose own panic it is.
func TestAHumanThatPanicsInMemoryPanicsInTheCaller(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	srv.OnPending(panicking)
	assert.PanicsWithValue(t, "the human is ill", func() { _, _, _ = buy(t, srv) })
	assert.NotEmpty(t, srv.Budget(), "the account is not left locked")
}

// crashWithoutTest makes the test below run the program that it is about.
const crashWithoutTest = "LETAGENTPAYTEST_CRASH_WITHOUT_TEST"

func TestWithoutATestAHumanThatPanicsEndsTheProgram(t *testing.T) {
	if os.Getenv(crashWithoutTest) != "" {
		srv, err := letagentpaytest.Start()
		require.NoError(t, err)
		srv.OnPending(panicking)
		_, _, _ = buy(t, srv)
		select {} // until the program ends
	}
	program := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=1m")
	program.Env = append(os.Environ(), crashWithoutTest+"=1")
	out, err := program.CombinedOutput()
	assert.ErrorAs(t, err, new(*exec.ExitError))
	assert.Contains(t, string(out), "panic: the human is ill")
	assert.NotContains(t, string(out), "timed out")
}
