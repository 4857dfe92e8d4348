package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStoryGoesAsTold(t *testing.T) {
	t.Setenv("LETAGENTPAY_TOKEN", "")
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	for _, line := range []string{
		"is auto_approved.",
		"Paid 47.50 and confirmed: completed.",
		"47.50 spent, 0.00 held, 452.50 of 500.00 USD left.",
		"for the human: approved.",
		"Rule per_request_limit:",
		"The function runs, under approval",
		"Refused by per_request_limit; the function did not run.",
		"195.90 spent, 0.00 held, 304.10 of 500.00 USD left.",
		"Done:",
	} {
		assert.Contains(t, out.String(), line)
	}
	assert.Regexp(t, regexp.MustCompile(`(?m)^5\. `), out.String())
}

// With a token the program talks to that service, and is content with what its policy decides.
func TestStoryTalksToTheServiceItIsGiven(t *testing.T) {
	server := letagentpaytest.NewServer(t, letagentpaytest.WithBudget(letagentpay.MustAmount("10")))
	t.Setenv("LETAGENTPAY_TOKEN", server.Token)
	t.Setenv("LETAGENTPAY_BASE_URL", server.URL)
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	assert.Contains(t, out.String(), "Talking to "+server.URL)
	assert.Contains(t, out.String(), "is rejected.")
	assert.Len(t, server.Requests(), 5)
	assert.Zero(t, server.Budget().Spent)
}
